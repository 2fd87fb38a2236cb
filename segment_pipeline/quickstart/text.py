"""The rows of files that nobody has described, as text in DuckDB, by the reader of every month (sources/files.py).

Here: which files are meant, what is refused before anything is found out, columns that only together are a date or an
amount, and names for people. Not here: what the texts of a column mean (columns.py).
"""

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from segment_pipeline.column_names import words_of
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import reason
from segment_pipeline.errors import InputError, SourceError
from segment_pipeline.sources.files import TextRows, local_files, rows_as_text

_YEARS = ["year", "yr", "jahr", "annee", "ano", "anno", "jaar", "rok", "ar", "vuosi"]
_MONTHS = ["month", "monat", "mois", "mes", "mese", "maand", "miesiac", "manad", "maned", "kuukausi", "mm"]
_DAYS = ["day", "dom", "mday", "tag", "jour", "dia", "giorno", "dag", "dzien", "paiva", "dd"]
_PARTS = ((_YEARS, 1990, 2100), (_MONTHS, 1, 12), (_DAYS, 1, 31))
"""How columns of a year, a month and a day are called, without accents, and what lies in them."""
_SEEN = 2000
"""Rows by which it is judged whether columns are parts of a date."""


def load_rows(
    connection: duckdb.DuckDBPyConnection, path: Path, more: Sequence[Path], separator: str | None
) -> list[TextRows]:
    """Fill the temporary table `raw_rows` with all rows of the file, or the files of a pattern, and more of them, as
    text; returns what each is. separator : None where it is to be found out. Raises InputError, also where one has
    other columns than the first, or a line is not as the header has it."""
    with _in_terms_of_input():
        files = rows_as_text(connection, [file for given in (path, *more) for file in files_of(given)], separator)
    for file in files:
        _refuse_one_column(file)
    _refuse_other_columns(files)
    for file in files:
        into = "CREATE OR REPLACE TEMP TABLE raw_rows AS" if file is files[0] else "INSERT INTO raw_rows BY NAME"
        try:
            connection.execute(f"{into} FROM {file.sql}")
        except duckdb.Error as error:
            found = reason(error).replace(file.draft or file.file, file.file)
            raise InputError(
                f"{file.file} cannot be read: {found} Fix that line, or name the separator with --sep, and try again."
            ) from error
    _refuse_no_header(connection, files[0])
    return files


@contextmanager
def _in_terms_of_input() -> Iterator[None]:
    """What cannot be read was named on the command line, and nothing has run."""
    try:
        yield
    except SourceError as error:
        raise InputError(f"{error} Then try again.") from error


def files_of(path: Path) -> list[str]:
    """The file under this very name, or those that a pattern stands for. Raises InputError where there is none."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file. Name the file, or all in it: '{path / '*.csv'}'")
    found = local_files(str(path.absolute()))
    if not found:
        wrong = "matches no file" if re.search(r"[*?\[]", str(path)) else "does not exist"
        raise InputError(f"{path} {wrong}. Check the name, or where you are: {Path.cwd()}")
    return found


def parts_of_date(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> tuple[str, ...]:
    """The columns of `raw_rows` of a year, a month and, where there is one, a day that together are a date, as
    order_year, order_month and order_day; none where there are no such columns."""
    found: dict[tuple[str, ...], dict[int, str]] = {}
    for name in names:
        words = words_of(name)
        places = [place for place, (called, _, _) in enumerate(_PARTS) if set(called) & set(words)]
        if len(places) == 1:
            of = tuple(word for word in words if word not in _PARTS[places[0]][0])
            if _lies_between(connection, name, *_PARTS[places[0]][1:]):
                found.setdefault(of, {}).setdefault(places[0], name)
    whole = [tuple(parts[place] for place in sorted(parts)) for parts in found.values() if {0, 1} <= set(parts)]
    return max(whole, key=len, default=())


def _lies_between(connection: duckdb.DuckDBPyConnection, name: str, low: int, high: int) -> bool:
    number = f"TRY_CAST({identifier(name)} AS DOUBLE)"
    found = connection.execute(
        f"SELECT avg(CAST({number} BETWEEN {low} AND {high} AND {number} = floor({number}) AS DOUBLE)) "
        f"FROM (FROM raw_rows LIMIT {_SEEN})"
    ).fetchone()
    return found is not None and (found[0] or 0) > 0.9


def joined_sql(parts: Sequence[str]) -> str:
    """2024-3-9 of the columns of a year, a month and a day, over a row of the file; 2024-3 without one."""
    written = ", '-', ".join(map(identifier, parts))
    return f"concat({written})"


_DAY_TIMES = r"(?i)\d{1,2}[:.h]\d\d([:.]\d\d([.,]\d+)?)? ?([AP]M)?"
_DIGIT_TIMES = r"([01]?\d|2[0-3])[0-5]\d[0-5]\d"


def time_beside(
    connection: duckdb.DuckDBPyConnection, dates: Sequence[str], names: Sequence[str]
) -> tuple[str, str, str] | None:
    """The column of days and that of times of day that together are moments, as `Order Date` and `Order Time`, and the
    SQL of the times over a row of the file as digits or with colons; None where there are no such columns, or several.
    dates : the columns of days."""
    found = []
    for name in names:
        if name in dates or not _called_time(name):
            continue
        value = f"trim({identifier(name)})"
        pattern = f"'{_DAY_TIMES}'"
        colons, digits = _share(connection, name, f"regexp_full_match({value}, {pattern})"), 0.0
        if colons < 0.9:
            digits = _share(connection, name, f"regexp_full_match(lpad({value}, 6, '0'), '{_DIGIT_TIMES}')")
        if max(colons, digits) >= 0.9:
            padded = f"CASE WHEN {value} <> '' THEN lpad({value}, 6, '0') END"
            found.append((name, value if colons >= 0.9 else padded))
    pairs = [
        (day, name, sql)
        for name, sql in found
        for day in dates
        if _of(day) == _of(name) or (len(dates) == 1 and len(found) == 1)
    ]
    return pairs[0] if len(pairs) == 1 else None


_TIME_WORDS = {"time", "hour", "uhrzeit", "zeit", "heure", "hora", "ora", "tijd", "godzina", "tid", "erzet", "uzeit"}
_DATE_WORDS = {"date", "datum", "day", "tag", "jour", "fecha", "data", "dato", "erdat", "on", "at"}


def _called_time(name: str) -> bool:
    return bool(_TIME_WORDS & set(words_of(name))) or name.casefold().endswith(("zeit", "time"))


def _of(name: str) -> frozenset[str]:
    """What a column of days or times is of, by its other words."""
    return frozenset(words_of(name)) - _TIME_WORDS - _DATE_WORDS


def _share(connection: duckdb.DuckDBPyConnection, name: str, condition: str) -> float:
    """The share of the first rows with a text in a column of which a condition is true."""
    some = f"(FROM raw_rows LIMIT {_SEEN}) WHERE trim({identifier(name)}) <> ''"
    found = connection.execute(f"SELECT avg(CAST({condition} AS DOUBLE)) FROM {some}").fetchone()
    return 0.0 if found is None else found[0] or 0.0


@dataclass(frozen=True)
class Made:
    """An amount that is made of columns. written : how, with {0} for the first of them, as in "{0} - {1}" or
    "{0} * {1} / 100"."""

    columns: tuple[str, ...]
    written: str

    @property
    def name(self) -> str:
        """As --amount takes it."""
        return self.written.format(*self.columns)

    def sql(self, numbers: Iterable[str]) -> str:
        """The same over an expression of a number for each of the columns."""
        return self.written.format(*numbers)


_MARKS = re.compile(r"[-+*/]|[()]|\d+(\.\d+)?")


def made_amount(said: str, names: Iterable[str]) -> Made | None:
    """What an amount such as `Debit - Credit`, `amount / 100` or `Quantity * Price * (1 - Discount)` is made of; None
    where it is no such thing of these columns, or one of them as it stands."""
    by_name = {name.casefold(): name for name in names}
    if said.strip().casefold() in by_name:
        return None
    longest_first = sorted(by_name, key=len, reverse=True)
    columns: list[str] = []
    written, rest = "", said.strip()
    while rest:
        name = next((one for one in longest_first if _begins_with(rest, one)), None)
        mark = _MARKS.match(rest)
        if name is not None:
            columns += [by_name[name]] if by_name[name] not in columns else []
            written += f"{{{columns.index(by_name[name])}}}"
            rest = rest[len(name) :].lstrip()
        elif mark is not None:
            written += f" {mark[0]} " if mark[0] in "+-*/" else mark[0]
            rest = rest[mark.end() :].lstrip()
        else:
            return None
    return Made(tuple(columns), written.strip()) if columns and _is_arithmetic(written, len(columns)) else None


def _begins_with(text: str, name: str) -> bool:
    """Whether a text begins with the name of a column, and not with a longer word."""
    following = text[len(name) : len(name) + 1]
    whole = not (name[-1:].isalnum() and (following.isalnum() or following == "_"))
    return text[: len(name)].casefold() == name and whole


def _is_arithmetic(written: str, columns: int) -> bool:
    try:
        tree = ast.parse(written.strip().format(*(f"x{place}" for place in range(columns))), mode="eval")
    except SyntaxError:
        return False
    signs = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub)
    parts = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Constant, *signs)
    return all(isinstance(node, parts) for node in ast.walk(tree))


def _refuse_one_column(file: TextRows) -> None:
    """Raises InputError where there is but one column."""
    if len(file.names) < 2:
        raise InputError(
            f"{file.file} has one column, {shown(file.names[0][:60]) if file.names else 'without a name'}, as far as "
            "can be seen; expected an id and features beside it."
            + (_another_separator(file.names) if file.header else "")
        )


def _another_separator(names: Sequence[str]) -> str:
    """The flag, with the character that may stand between columns; nothing where there is none."""
    signs = Counter(re.findall(r"[^\w\s\"'.-]", "".join(names)))
    if not signs:
        return ""
    ((likely, _),) = signs.most_common(1)
    return f" If {likely} stands between the columns, say so: --sep {shlex.quote(likely)}"


def _refuse_no_header(connection: duckdb.DuckDBPyConnection, file: TextRows) -> None:
    """Raises InputError where most names are written as the values below them are: 12.50, but not 2025-01 above it."""
    below = zip(*connection.execute("FROM raw_rows LIMIT 100").fetchall(), strict=True)
    shapes = zip(file.names, map(set, below), strict=False)  # no row at all is for the reader of the table to tell
    alike = sum(
        _looks_like_a_value(name) and _shape(name) in {_shape(value) for value in values if value is not None}
        for name, values in shapes
    )
    if alike > len(file.names) / 2:
        raise InputError(
            f"{file.file} has no header: its first line reads {shown(' '.join(file.names)[:80])}. Put the columns' "
            "names into the first line, and try again."
        )


def _refuse_other_columns(files: Sequence[TextRows]) -> None:
    first, *others = files
    for other in others:
        if set(other.names) != set(first.names):
            differing = sorted(set(other.names) ^ set(first.names))
            raise InputError(
                f"{other.file} and {first.file} have not the same columns: only one has {shown(differing[0])}. Give "
                "files of the same columns, or one of them."
            )


def _looks_like_a_value(name: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.,:/ -]+", name.strip()) is not None


def _shape(text: str) -> str:
    return re.sub(r"\d+", "9", text.strip())


def shown(text: str) -> str:
    """A name or value for people, in quotation marks where it is more than a word."""
    return text if re.fullmatch(r"[\w.]+", text) else repr(text)


def take_out_repeats(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> int:
    """Keep the first of rows that are the same in every column; the others go into `repeated_rows`. Returns how many
    these are."""
    columns = ", ".join(map(identifier, names))
    kept = f"(SELECT min(rowid) AS kept FROM raw_rows GROUP BY {columns})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE repeated_rows AS FROM raw_rows ANTI JOIN {kept} ON rowid = kept")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE raw_rows AS FROM raw_rows SEMI JOIN {kept} ON rowid = kept ORDER BY rowid"
    )
    return len(connection.execute("SELECT 1 FROM repeated_rows").fetchall())
