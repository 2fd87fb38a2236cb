"""A CSV that nobody has described: how it is written, what its columns are, and its customers as plain numbers.

Here: encoding, separator, decimal mark, date formats, which column is the id, and whether a row is a customer or an
order line; every guess with the reason for it. Not here: which columns are worth segmenting by
(segmentation/proposal.py), and the monthly sources, which guess nothing (sources.py).

Everything is read as text first, and DuckDB does the parsing: a column is numeric if nearly all of its texts are
numbers, so one "n/a" among 47,000 does not make it a column of words.
"""

import csv
import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import reason
from segment_pipeline.errors import InputError
from segment_pipeline.publishing.catalogue import RESERVED_NAMES
from segment_pipeline.sources.files import DELIMITERS

NEARLY_ALL = 0.9
"""Share of a column's texts that have to read as numbers, or as dates, for it to be one."""

PROFILED_ROWS = 200_000
"""Rows, evenly spread over the file, by which formats are judged; values are read from all of them."""

MISSING = (
    "",
    "na",
    "n/a",
    "#n/a",
    "nan",
    "null",
    "none",
    "nil",
    "-",
    "--",
    "?",
    "unknown",
    "missing",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "-infinity",
    "\\n",
)
"""Texts, in lower case, that stand for no value."""

DATE_FORMATS = {
    "%d/%m/%Y": "31/12/2024",
    "%m/%d/%Y": "12/31/2024",
    "%d.%m.%Y": "31.12.2024",
    "%d-%m-%Y": "31-12-2024",
    "%m-%d-%Y": "12-31-2024",
    "%Y/%m/%d": "2024/12/31",
    "%d/%m/%y": "31/12/24",
    "%m/%d/%y": "12/31/24",
    "%d.%m.%y": "31.12.24",
    "%d %b %Y": "31 Dec 2024",
    "%d %B %Y": "31 December 2024",
    "%b %d, %Y": "Dec 31, 2024",
    "%B %d, %Y": "December 31, 2024",
    "%d-%b-%Y": "31-Dec-2024",
    "%d-%b-%y": "31-Dec-24",
    "%Y%m%d": "20241231",
}
"""Days as people write them, besides ISO 8601; each also with a time of day."""

TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
ISO, EPOCH, EPOCH_MS = "ISO 8601", "seconds since 1970", "milliseconds since 1970"

_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
    b"SQLite": "a SQLite database",
}

_CUSTOMER = re.compile(
    r"customer|client|member|account|household|shopper|buyer|guest|subscriber|patient|donor|kunde|cliente|klant",
    re.IGNORECASE,
)
_USER = re.compile(r"user|person|contact|e_?-?mail|visitor", re.IGNORECASE)
_ID = re.compile(r"(^|[^a-z])id($|[^a-z])|Id$|ID$|_no$|number$|nummer$|^nr|_nr$|code$|key$|hash$", re.IGNORECASE)
_ORDER = re.compile(
    r"order|invoice|basket|transaction|receipt|purchase|bestell|rechnung|bill|ticket|booking", re.IGNORECASE
)
_PRODUCT = re.compile(r"product|sku|item|article|stock_?code|artikel|upc|ean", re.IGNORECASE)
_WHEN = re.compile(r"date|time|datum|day$|_at$|_on$|created|when|(^|_)ts$|month$", re.IGNORECASE)
_AMOUNT = re.compile(
    r"amount|total|revenue|sales|price|value|spend|spent|umsatz|betrag|gross|net|cost|paid|payment", re.IGNORECASE
)
_QUANTITY = re.compile(r"quantity|qty|units|count|menge|anzahl", re.IGNORECASE)
_UNDONE = "cancel|return|refund|storno|void|charge_?back|retour|reject|declined|failed|erstattet|widerruf|annul"
_MOST_STATES = 20
"""Different texts up to which a column says in what state an order is."""

_LAST = re.compile(r"last|latest|recent|letzte", re.IGNORECASE)
_CURRENCY = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CURRENCY_CODE = "USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|AUD|CAD|kr|zł|Kč|Fr"


@dataclass(frozen=True)
class Hints:
    """What the user has said of the file; None where it is for this module to find out."""

    customer_id: str | None = None
    date: str | None = None
    amount: str | None = None
    order_id: str | None = None
    product_id: str | None = None
    separator: str | None = None
    decimal: str | None = None
    date_format: str | None = None


@dataclass(frozen=True)
class Column:
    """One column. kind : "number", "date", "text" or "empty". known : texts that stand for a value; distinct : of
    these. unreadable : known ones, over all rows, that are not of the kind, with some `samples`. date_format : of
    DATE_FORMATS with a time, ISO, EPOCH or EPOCH_MS. unit : a currency, or "share" where the texts end in a percent
    sign, which are divided by 100. first, last : of a date column."""

    name: str
    kind: str
    known: int
    distinct: int
    unreadable: int = 0
    samples: tuple[str, ...] = ()
    unit: str = ""
    date_format: str = ""
    ambiguous: bool = False
    first: date | None = None
    last: date | None = None
    plain: bool = False


@dataclass(frozen=True)
class Orders:
    """The columns of order lines, and amount as an expression's parts: quantity is None where amount is the line's."""

    date: str
    amount: str
    order_id: str | None
    product_id: str | None
    quantity: str | None


@dataclass(frozen=True)
class Table:
    """The file, read: rows lie in the temporary table `raw_rows`, every column as text under its name here.

    orders : None where one row is one customer. plain : whether the pipeline's own reader takes the file as it is.
    guesses : one sentence each, with the flag that overrules it. renamed : name in the file -> name here.
    """

    path: Path
    rows: int
    separator: str
    encoding: str
    decimal: str
    columns: Mapping[str, Column]
    customer_id: str
    orders: Orders | None
    plain: bool
    renamed: Mapping[str, str] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()
    repeated_rows: int = 0

    def numbers(self) -> list[Column]:
        """Columns of numbers that describe a customer."""
        return [one for one in self.columns.values() if one.kind == "number" and one.name != self.customer_id]

    def dates(self) -> list[Column]:
        """Columns of dates."""
        return [one for one in self.columns.values() if one.kind == "date" and one.name != self.customer_id]


def read_table(connection: duckdb.DuckDBPyConnection, path: Path, hints: Hints) -> Table:
    """Read the file into `raw_rows` and find out what it is. Raises InputError with what, where, and what next."""
    text, encoding = _text_of(path)
    header, separator = _header(path, text, hints.separator)
    names, renamed = _column_names(path, header)
    rows = _load(connection, path, text, separator, names)
    if rows == 0:
        raise InputError(
            f"{path} has a header and no row below it. Export the customers with their rows, and try again."
        )
    decimal, decimal_guess = _decimal(connection, names, separator, hints.decimal)
    columns = {name: _column(connection, name, decimal, hints) for name in names}
    hints = _hints_as_named(path, hints, columns, renamed)
    guesses = [f"{rows:,} rows, separated by {_spoken_separator(separator)}, {encoding}  (--sep)"]
    if decimal_guess:
        guesses.append(decimal_guess)
    orders = _orders(path, columns, hints, rows)
    customer_id = _customer_id(path, columns, hints, rows, orders)
    repeated = rows - columns[customer_id].distinct
    if orders is not None and not _is_order_lines(columns, customer_id, orders, hints, rows):
        orders = None
    if orders is None:
        _refuse_repeated_ids(path, columns, customer_id, rows, hints)
    elif columns[orders.order_id or customer_id].distinct <= columns[customer_id].distinct:
        raise InputError(one_order_each(path))
    guesses.append(_shape_guess(columns, customer_id, orders, rows))
    if renamed:
        said = ", ".join(f"{_shown(old)} -> {_shown(new)}" for old, new in renamed.items())
        guesses.append(f"renamed: {said}")
    guesses += [_date_guess(one) for one in columns.values() if one.kind == "date"]
    plain = encoding.startswith("UTF-8") and not renamed and separator == _majority(header_line=_first_line(text))
    return Table(
        path,
        rows,
        separator,
        encoding,
        decimal,
        columns,
        customer_id,
        orders,
        plain,
        renamed,
        tuple(guesses),
        repeated if orders is None else 0,
    )


# --- the file as text -------------------------------------------------------------------------------------------------


def _text_of(path: Path) -> tuple[str, str]:
    """The whole text of the file, and in which encoding it was written."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a CSV file. Name the file.")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the name, or where you are: {Path.cwd()}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. See to its permissions, and try again.") from error
    if not content.strip():
        raise InputError(f"{path} is empty. Export the customers with a header and their rows, and try again.")
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            raise InputError(
                f"{path} is {kind}; expected text. Save it as CSV (in Excel: Save As, CSV UTF-8), and try again."
            )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(path, content, "utf-16"), "UTF-16"
    if b"\0" in content[:100_000]:
        raise InputError(f"{path} is a binary file; expected text. Save it as CSV (UTF-8), and try again.")
    try:
        return content.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        # not all bytes are letters in Windows-1252; Latin-1 knows every byte
        try:
            return content.decode("cp1252"), "Windows-1252"
        except UnicodeDecodeError:
            return content.decode("latin-1"), "Latin-1"


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} begins like {encoding.upper()} and is not. Save it as CSV (UTF-8), and try again."
        ) from error


def _first_line(text: str) -> str:
    return text.partition("\n")[0].rstrip("\r")


def _majority(header_line: str) -> str:
    bare = re.sub(r'"(?:[^"]|"")*"', "", header_line)
    return max(DELIMITERS, key=bare.count)


def _header(path: Path, text: str, separator: str | None) -> tuple[list[str], str]:
    """The names in the first line, and what stands between them."""
    line = _first_line(text)
    separator = separator or _majority(line)
    names = next(csv.reader(io.StringIO(text[: len(line) + 2]), delimiter=separator), [])
    if len(names) < 2:
        raise InputError(
            f"{path} has one column, {_shown(line[:60])}, as far as can be seen; expected an id and features "
            "beside it. "
            f"Where another character stands between the columns, name it: --sep ';'"
        )
    if sum(_looks_like_a_value(name) for name in names) > len(names) / 2:
        raise InputError(
            f"{path} has no header: its first line reads {_shown(line[:80])}. Put the columns' names into the "
            "first line, "
            f"and try again."
        )
    return names, separator


def _looks_like_a_value(name: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.,:/ -]+", name.strip()) is not None


def _column_names(path: Path, header: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The header's names as they can be used, and those that had to be changed."""
    names: list[str] = []
    renamed: dict[str, str] = {}
    taken: set[str] = set()
    for place, given in enumerate(header, 1):
        name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", given).strip()[:100] or f"column_{place}"
        if name.casefold() in RESERVED_NAMES - {"customer_id"}:
            name = f"{name}_in_file"
        stem, number = name, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        if name != given.strip():
            renamed[f"{given} (column {place})" if given in renamed else given] = name
        names.append(name)
    return names, renamed


def _load(connection: duckdb.DuckDBPyConnection, path: Path, text: str, separator: str, names: Sequence[str]) -> int:
    """Fill `raw_rows` with all rows as text."""
    options = {
        "header": "false",
        "skip": "1",
        "auto_detect": "false",
        "delim": literal(separator),
        "quote": "'\"'",
        "escape": "'\"'",
        "columns": "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names) + "}",
        "strict_mode": "true",
        "null_padding": "false",
    }
    said = ", ".join(f"{name} = {value}" for name, value in options.items())
    # As UTF-8, which is all that DuckDB reads without an extension; under a name that it cannot take for a pattern.
    with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as folder:
        draft = Path(folder) / "rows.csv"
        draft.write_text(text if "\n" in text else text.replace("\r", "\n"), encoding="utf-8", newline="")
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE raw_rows AS FROM read_csv([{literal(str(draft))}], {said})"
            )
        except duckdb.Error as error:
            found = reason(error).replace(str(draft), str(path))
            raise InputError(
                f"{path} cannot be read: {found} Fix that line, or name the separator with --sep, and try again."
            ) from error
    return _one(connection, "SELECT count(*) FROM raw_rows")[0]


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    """The only row of a query that has one."""
    found = connection.execute(query).fetchone()
    if found is None:
        raise AssertionError(f"no row from {query}")
    return found


# --- texts as values --------------------------------------------------------------------------------------------------


def known_sql(name: str) -> str:
    """The text of a column without the blanks around it; NULL where it stands for no value."""
    missing = ", ".join(literal(text) for text in MISSING)
    value = f"trim({identifier(name)}, {literal(_BLANKS)})"
    return f"CASE WHEN lower({value}) NOT IN ({missing}) THEN {value} END"


def number_sql(value: str, decimal: str) -> str:
    """An expression of text as a double; NULL where it is no number. decimal : the mark, "." or ","."""
    bare = _bare_number(value)
    plain = f"replace({bare}, ',', '')" if decimal == "." else f"replace(replace({bare}, '.', ''), ',', '.')"
    number = f"TRY_CAST(rtrim({plain}, '%') AS DOUBLE)"
    share = f"CASE WHEN {bare} LIKE '%\\%' ESCAPE '\\' THEN {number} / 100 ELSE {number} END"
    spelled = f"CASE WHEN regexp_full_match({bare}, {literal(_NUMBER[decimal])}) THEN {share} END"
    if decimal == ",":
        return spelled
    # most files are plain, and a cast is ten times quicker than what recognises the others
    return f"coalesce(TRY_CAST({value} AS DOUBLE), {spelled})"


def time_sql(value: str, date_format: str) -> str:
    """An expression of text as a timestamp; NULL where it is none."""
    if date_format == ISO:
        return f"TRY_CAST({value} AS TIMESTAMP)"
    if date_format in (EPOCH, EPOCH_MS):
        scale = 1_000_000 if date_format == EPOCH else 1_000
        return f"make_timestamp(CAST(TRY_CAST({value} AS DOUBLE) * {scale} AS BIGINT))"
    return f"try_strptime({value}, {literal(date_format)})"


_BLANKS = " \t\r\n\u00a0\u202f\ufeff"
_SIGNS = "[\\s\\x{00A0}\\x{202F}'’]|[" + "".join(_CURRENCY) + f"]|(?i:\\b({_CURRENCY_CODE})\\b\\.?)"
_NUMBER = {
    ".": r"[+-]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?([eE][+-]?\d+)?%?",
    ",": r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?([eE][+-]?\d+)?%?",
}
_PLAIN_NUMBER = r"[+-]?\d+(\.\d+)?"
_PLAIN_TIME = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?)?"


def _bare_number(value: str) -> str:
    """Without currency, blanks and apostrophes; (12.50) is an accountant's -12.50."""
    signs = f"regexp_replace({value}, {literal(_SIGNS)}, '', 'g')"
    return f"regexp_replace({signs}, '^\\((.+)\\)$', '-\\1')"


def _decimal(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], separator: str, given: str | None
) -> tuple[str, str]:
    """The decimal mark of the whole file, and the guess in words where there was something to guess.

    12.5 can only be a point, 12,5 only a comma; 1.234 can be both, and decides nothing.
    """
    if given is not None:
        return given, ""
    counts = {}
    for mark, other in ((".", ","), (",", ".")):
        only = " + ".join(
            f"count(*) FILTER (regexp_full_match({_bare_number(identifier(name))}, {literal(_NUMBER[mark])}) "
            f"AND NOT regexp_full_match({_bare_number(identifier(name))}, {literal(_NUMBER[other])}))"
            for name in names
        )
        counts[mark] = int(_one(connection, f"SELECT {only} FROM {_profiled(connection)}")[0])
    if counts[","] > counts["."]:
        return ",", f"decimal comma, as in {_example_of_comma(connection, names)}  (--decimal)"
    return ".", ""


def _example_of_comma(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> str:
    for name in names:
        found = connection.execute(
            f"SELECT {identifier(name)} FROM raw_rows WHERE regexp_full_match({_bare_number(identifier(name))}, "
            f"{literal(_NUMBER[','])}) AND {identifier(name)} LIKE '%,%' LIMIT 1"
        ).fetchone()
        if found is not None:
            return _shown(str(found[0]))
    return "1,5"


def _profiled(connection: duckdb.DuckDBPyConnection) -> str:
    """At most PROFILED_ROWS of the rows, evenly spread."""
    rows = int(_one(connection, "SELECT count(*) FROM raw_rows")[0])
    every = max(1, -(-rows // PROFILED_ROWS))
    return "raw_rows" if every == 1 else f"(SELECT * FROM raw_rows WHERE rowid % {every} = 0)"


def _column(connection: duckdb.DuckDBPyConnection, name: str, decimal: str, hints: Hints) -> Column:
    """What the texts of one column are."""
    known = known_sql(name)
    number = number_sql("value", decimal)
    counted, distinct, numbers, shares, plain, low, high = _one(
        connection,
        f"""
        SELECT count(value), count(DISTINCT value), count({number}),
            count(*) FILTER (value LIKE '%\\%' ESCAPE '\\'),
            count(*) FILTER (regexp_full_match(value, {literal(_PLAIN_NUMBER)})),
            min({number}), max({number})
        FROM (SELECT {known} AS value FROM raw_rows)
        """,
    )
    if counted == 0:
        return Column(name, "empty", 0, 0)
    asked = hints.date is not None and name.casefold() == hints.date.casefold()
    if numbers >= NEARLY_ALL * counted:
        date_format = _numeric_date(connection, name, low, high) if asked or _WHEN.search(name) else ""
        if not date_format:
            unit = "share" if shares >= NEARLY_ALL * counted else _currency(connection, name)
            return _with_samples(
                connection,
                Column(name, "number", counted, distinct, counted - numbers, unit=unit, plain=plain == counted),
                number,
            )
        return _dated(connection, Column(name, "date", counted, distinct, date_format=date_format))
    if asked and hints.date_format is not None:
        return _dated(connection, Column(name, "date", counted, distinct, date_format=hints.date_format))
    date_format, ambiguous = _text_date(connection, name, hints.date_format)
    if date_format:
        return _dated(connection, Column(name, "date", counted, distinct, date_format=date_format, ambiguous=ambiguous))
    return Column(name, "text", counted, distinct)


def _currency(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The currency that most of the column's texts name; "" for none."""
    for sign, code in _CURRENCY.items():
        found = _one(
            connection, f"SELECT avg(CAST(contains({identifier(name)}, {literal(sign)}) AS DOUBLE)) FROM raw_rows"
        )
        if (found[0] or 0) > 0.5:
            return code
    return ""


def _with_samples(connection: duckdb.DuckDBPyConnection, column: Column, number: str) -> Column:
    if not column.unreadable:
        return column
    found = connection.execute(
        f"SELECT DISTINCT value FROM (SELECT {known_sql(column.name)} AS value FROM raw_rows) "
        f"WHERE value IS NOT NULL AND {number} IS NULL ORDER BY 1 LIMIT 3"
    ).fetchall()
    return replace(column, samples=tuple(row[0] for row in found))


def _numeric_date(connection: duckdb.DuckDBPyConnection, name: str, low: float, high: float) -> str:
    """How numbers in a column of times are times: since 1970, between 1989 and 2036, or as 20241231; "" if not."""
    if low >= 6e8 and high <= 2.1e9:
        return EPOCH
    if low >= 6e11 and high <= 2.1e12:
        return EPOCH_MS
    if low >= 19000101 and high <= 21001231:
        fails = _one(
            connection,
            f"SELECT count(*) FROM (SELECT {known_sql(name)} AS value FROM raw_rows) "
            f"WHERE value IS NOT NULL AND try_strptime(value, '%Y%m%d') IS NULL",
        )
        return "%Y%m%d" if fails[0] == 0 else ""
    return ""


def _text_date(connection: duckdb.DuckDBPyConnection, name: str, given: str | None) -> tuple[str, bool]:
    """The format in which a column's texts are dates, and whether another one would read them as well.

    Where all days are below 13 day and month can be told apart by the span only: the wrong one scatters a few weeks
    over the whole year.
    """
    formats = [ISO] + ([given] if given else [day + time for day in DATE_FORMATS for time in TIMES])
    sampled = f"(SELECT DISTINCT {known_sql(name)} AS value FROM {_profiled(connection)} ORDER BY 1)"
    sample = (
        f"(SELECT value FROM (SELECT value, row_number() OVER () AS place, count(*) OVER () AS rows FROM {sampled} "
        f"WHERE value IS NOT NULL) WHERE place % greatest(1, rows // 2000) = 0)"
    )
    tried = ", ".join(
        f"count({moment}) FILTER (year({moment}) BETWEEN 1900 AND 2100), date_diff('day', min({moment}), max({moment}))"
        for moment in (time_sql(_iso_only("value", one) if one == ISO else "value", one) for one in formats)
    )
    total, *found = _one(connection, f"SELECT count(*), {tried} FROM {sample}")
    reads = {one: (found[2 * i], found[2 * i + 1] or 0) for i, one in enumerate(formats)}
    best = max(count for count, _ in reads.values())
    if total == 0 or best < NEARLY_ALL * total:
        return "", False
    readers = [one for one, (count, _) in reads.items() if count == best]
    chosen = min(readers, key=lambda one: (reads[one][1], formats.index(one)))
    return chosen, len(readers) > 1


def _iso_only(value: str, _: str) -> str:
    """DuckDB casts more than ISO 8601 to a timestamp; here only a year first makes it one."""
    return f"CASE WHEN regexp_matches({value}, '^\\d{{4}}-\\d{{1,2}}-\\d{{1,2}}') THEN {value} END"


def _dated(connection: duckdb.DuckDBPyConnection, column: Column) -> Column:
    moment = time_sql("value", column.date_format)
    read, plain, first, last = _one(
        connection,
        f"SELECT count({moment}), count(*) FILTER (regexp_full_match(value, {literal(_PLAIN_TIME)})), "
        f"CAST(min({moment}) AS DATE), CAST(max({moment}) AS DATE) "
        f"FROM (SELECT {known_sql(column.name)} AS value FROM raw_rows)",
    )
    return replace(
        column,
        unreadable=column.known - read,
        first=first,
        last=last,
        plain=column.date_format == ISO and plain == column.known,
    )


# --- which column is what ---------------------------------------------------------------------------------------------


def _hints_as_named(path: Path, hints: Hints, columns: Mapping[str, Column], renamed: Mapping[str, str]) -> Hints:
    """The columns that the user named, by their names here. Raises InputError for one that is not there."""
    found = {}
    by_name = {name.casefold(): name for name in columns} | {old.casefold(): new for old, new in renamed.items()}
    for flag in ("customer_id", "date", "amount", "order_id", "product_id"):
        given = getattr(hints, flag)
        if given is None:
            continue
        if given.casefold() not in by_name:
            raise InputError(
                f"--{flag.replace('_', '-')} {_shown(given)}: {path} has no such column. It has "
                f"{', '.join(_shown(name) for name in columns)}."
            )
        found[flag] = by_name[given.casefold()]
    if "amount" in found and columns[found["amount"]].kind != "number":
        raise InputError(_not_of_kind("amount", columns[found["amount"]], "numbers"))
    if "date" in found and columns[found["date"]].kind != "date":
        raise InputError(
            _not_of_kind("date", columns[found["date"]], "dates")
            + " Say how they are written: --date-format '%d/%m/%Y'"
        )
    return replace(hints, **found)


def _not_of_kind(flag: str, column: Column, expected: str) -> str:
    found = "words" if column.kind == "text" else column.kind
    return f"--{flag} {_shown(column.name)}: found {found}; expected {expected}."


def _orders(path: Path, columns: Mapping[str, Column], hints: Hints, rows: int) -> Orders | None:
    """The columns of order lines, if there are a date and an amount at all."""
    dates = [one.name for one in columns.values() if one.kind == "date"]
    numbers = [one.name for one in columns.values() if one.kind == "number"]
    ids = [name for name in columns if _ORDER.search(name) and name not in dates and _ID.search(name)]
    order_id = hints.order_id or next(iter(ids), None)
    product = hints.product_id or next(
        (name for name in columns if _PRODUCT.search(name) and _ID.search(name) and name not in (order_id, *dates)),
        next((name for name in columns if _PRODUCT.search(name) and columns[name].kind == "text"), None),
    )
    when = hints.date or next(
        (n for n in dates if _ORDER.search(n)), next((n for n in dates if _WHEN.search(n)), next(iter(dates), None))
    )
    money = [
        n
        for n in numbers
        if _AMOUNT.search(n) and n not in (order_id, product, hints.customer_id) and not _ID.search(n)
    ]
    amount = hints.amount or next(
        (n for n in money if not re.search("price", n, re.IGNORECASE)), next(iter(money), None)
    )
    if when is None or amount is None:
        return None
    quantity = None
    if hints.amount is None and re.search("price", amount, re.IGNORECASE):
        quantity = next((n for n in numbers if _QUANTITY.search(n) and n != order_id), None)
    return Orders(when, amount, order_id, product, quantity)


def _customer_id(path: Path, columns: Mapping[str, Column], hints: Hints, rows: int, orders: Orders | None) -> str:
    """The column that says who it is: by its name, or else by being different in every row."""
    if hints.customer_id is not None:
        return hints.customer_id
    order_parts = set() if orders is None else {orders.order_id, orders.product_id}
    named = [n for n in columns if columns[n].kind in ("number", "text") and n not in order_parts]
    for pattern in (_CUSTOMER, _USER):
        whose = [n for n in named if pattern.search(n)]
        best = [n for n in whose if _ID.search(n)] or [
            n for n in whose if columns[n].distinct >= 0.5 * rows and not _AMOUNT.search(n)
        ]
        if best:
            return best[0]
    if orders is not None:  # on order lines a customer comes often, so that the name alone has to do
        called = [n for n in named if _CUSTOMER.fullmatch(n) or _USER.fullmatch(n)]
        if called:
            return called[0]
    unique = [n for n in named if columns[n].distinct == columns[n].known >= 0.99 * rows]
    by_id = [n for n in unique if _ID.search(n)] or [n for n in unique if columns[n].kind == "text"]
    first = next(iter(columns))
    if by_id:
        return by_id[0]
    if first in unique:
        return first
    any_id = [n for n in named if _ID.search(n)]
    if any_id:
        return any_id[0]
    listed = ", ".join(_shown(name) for name in columns)
    if orders is not None:
        raise InputError(
            f"{path} has a date ({_shown(orders.date)}) and an amount ({_shown(orders.amount)}) as order lines do, and "
            "no column that is called like a customer, such as customer, client, buyer, account or user, or like an "
            f"id. Name it: --customer-id COLUMN. Columns: {listed}."
        )
    raise InputError(
        f"{path} has no column that tells customers apart: none is called like an id, and in none is every value "
        f"different. Name it: --customer-id COLUMN. Columns: {listed}."
    )


def _is_order_lines(columns: Mapping[str, Column], customer_id: str, orders: Orders, hints: Hints, rows: int) -> bool:
    """Whether customers come in several rows, as lines of orders do. A few repeated ids are a mistake in a table of
    customers; beside a date and an amount, more than 2 % of them are orders."""
    if hints.order_id is not None or (hints.date is not None and hints.amount is not None):
        return True
    if orders.order_id is not None and orders.order_id != customer_id:
        return True  # who has a number for the order is writing of orders
    return columns[customer_id].distinct < 0.98 * rows


def one_order_each(path: Path) -> str:
    """What to say of order lines in which nobody came back."""
    return (
        f"{path}: every customer has one order only, so there is neither a frequency nor a history to segment by. Take "
        f"in more months of orders, or give one row per customer with features of your own."
    )


def _refuse_repeated_ids(path: Path, columns: Mapping[str, Column], customer_id: str, rows: int, hints: Hints) -> None:
    repeated = rows - columns[customer_id].distinct
    if repeated <= 0.05 * rows:
        return
    raise InputError(
        f"{path}: {customer_id} is not different in every row ({columns[customer_id].distinct:,} customers in {rows:,} "
        f"rows), and without a date and an amount these are no order lines. For customers, give one row each, or name "
        f"the right id: --customer-id COLUMN. For order lines, name --date COLUMN --amount COLUMN."
    )


# --- customers as numbers ---------------------------------------------------------------------------------------------


def feature_columns(table: Table) -> dict[str, str]:
    """name -> SQL over `raw_rows`, of everything that describes a customer in a number: the numeric columns, and for
    each date how long before the latest day of the file it was."""
    found = {one.name: number_sql(known_sql(one.name), table.decimal) for one in table.numbers()}
    day_after = reference_day(table)
    for one in table.dates():
        name = days_since(one.name)
        while name.casefold() in {taken.casefold() for taken in (*found, *table.columns)}:
            name = f"{name}_"
        moment = f"CAST({time_sql(known_sql(one.name), one.date_format)} AS DATE)"
        found[name] = f"CAST(date_diff('day', {moment}, DATE {literal(str(day_after))}) AS DOUBLE)"
    return found


def reference_day(table: Table) -> date | None:
    """The day after the latest one in the file's dates, from which days are counted back; None without dates."""
    days = [one.last for one in table.dates() if one.last is not None and _LAST.search(one.name)] or [
        one.last for one in table.dates() if one.last is not None
    ]
    return max(days) + timedelta(days=1) if days else None


def days_since(column: str) -> str:
    """last_order_date -> days_since_last_order."""
    stem = re.sub(r"[ _-]*(date|time|timestamp|datetime|at|on)$", "", column, flags=re.IGNORECASE) or column
    return f"days_since_{stem}"


def customer_columns(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> dict[str, Array]:
    """name -> (n,) values of all rows, NaN where there is no number."""
    chosen = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in columns.items())
    found = connection.execute(f"SELECT {chosen} FROM raw_rows").fetchnumpy()
    return {name: np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan) for name, values in found.items()}


def write_snapshot(connection: duckdb.DuckDBPyConnection, table: Table, columns: Mapping[str, str], file: Path) -> None:
    """The customers as the monthly pipeline reads them: UTF-8, commas, decimal points. What is no number stays as it
    is, so that the data contract rejects it by its own words."""

    def shown(name: str, sql: str) -> str:
        if name in table.columns and table.columns[name].plain and table.columns[name].kind == "number":
            return known_sql(name)
        return (
            f"coalesce(CAST({sql} AS VARCHAR), {known_sql(name)})"
            if name in table.columns
            else f"CAST({sql} AS VARCHAR)"
        )

    chosen = ", ".join(f"{shown(name, sql)} AS {identifier(name)}" for name, sql in columns.items())
    identity = f"trim({identifier(table.customer_id)}, {literal(_BLANKS)}) AS customer_id"
    connection.execute(f"COPY (SELECT {identity}, {chosen} FROM raw_rows) TO {literal(str(file))} (FORMAT csv, HEADER)")


def order_expressions(table: Table) -> dict[str, str]:
    """The keys of source.orders for order lines, each as plain as the file allows."""
    orders = table.orders
    if orders is None:
        raise AssertionError("the rows are customers")

    def number(name: str) -> str:
        if table.columns[name].plain:
            return identifier(name) if orders.quantity is not None else name
        # shorter than `number_sql`, for people read it; (12.50) is an accountant's -12.50
        text = f"replace(CAST({identifier(name)} AS VARCHAR), '(', '-')"
        digits = f"regexp_replace({text}, '[^0-9{table.decimal}+-]', '', 'g')"
        point = digits if table.decimal == "." else f"replace({digits}, ',', '.')"
        return f"TRY_CAST({point} AS DOUBLE)"

    amount = number(orders.amount)
    if orders.quantity is not None:
        amount = f"{number(orders.quantity)} * {amount}"
    when = table.columns[orders.date]
    text = f"CAST({identifier(when.name)} AS VARCHAR)"
    ordered_at = when.name if when.plain else time_sql(text, when.date_format)
    order_id = orders.order_id or f"concat({identifier(table.customer_id)}, ' ', {identifier(orders.date)})"
    found = {"customer_id": table.customer_id, "order_id": order_id, "ordered_at": ordered_at, "amount": amount}
    return found | ({"product_id": orders.product_id} if orders.product_id is not None else {})


def lines_that_are_no_orders(
    connection: duckdb.DuckDBPyConnection, table: Table, where: str | None = None
) -> list[str]:
    """What among all order lines may not be an order, one sentence each: states such as cancelled, and amounts below
    zero. where : which lines the user lets count; who says so has seen to the states."""
    if table.orders is None:
        return []
    found = []
    of_orders = (table.customer_id, table.orders.order_id, table.orders.product_id)
    for column in table.columns.values():
        if where is not None or column.kind != "text" or column.distinct > _MOST_STATES or column.name in of_orders:
            continue
        name = identifier(column.name)
        states = connection.execute(
            f"SELECT {name}, count(*) FROM raw_rows WHERE regexp_matches({name}, '{_UNDONE}', 'i') "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        if states and len(states) < column.distinct:
            listed = ", ".join(f"{count:,} are {state!r}" for state, count in states)
            written = column.name if _shown(column.name) == column.name else name
            where = f"{written} NOT IN ({', '.join(literal(state) for state, _ in states)})"
            where = f"{where} OR {written} IS NULL" if column.known < table.rows else where
            quoted = where.replace("\\", "\\\\").replace('"', '\\"')
            found.append(
                f"{_shown(column.name)}: of {table.rows:,} order lines {listed}; they count as orders, unless you add  "
                f'--where "{quoted}"'
            )
    parts = [part for part in (table.orders.amount, table.orders.quantity) if part is not None]
    numbers = [number_sql(known_sql(part), table.decimal) for part in parts]
    negative = _one(connection, f"SELECT count(*) FROM raw_rows WHERE {' * '.join(numbers)} < 0")[0]
    if negative:
        low = f"{negative:,} of {table.rows:,} order lines have a {' x '.join(reversed(parts))} below zero"
        found.append(
            f"{low}: they count as orders, and lower what a customer spent  (--where)"
            if where is None
            else f"{low}, whatever --where says of them: those that it keeps count as orders, and lower what a "
            "customer spent"
        )
    return found


def write_order_lines(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """The rows as text under their names here, for a file that the monthly reader would not take as it is."""
    connection.execute(f"COPY raw_rows TO {literal(str(file))} (FORMAT csv, HEADER)")


# --- what to say ------------------------------------------------------------------------------------------------------


def _shape_guess(columns: Mapping[str, Column], customer_id: str, orders: Orders | None, rows: int) -> str:
    if orders is None:
        return f"one row per customer, told apart by {_shown(customer_id)}  (--customer-id)"
    amount = f"{orders.quantity} x {orders.amount}" if orders.quantity else orders.amount
    order = (
        f"order {_shown(orders.order_id)} (--order-id)"
        if orders.order_id
        else "an order is a customer's moment (--order-id)"
    )
    return (
        f"order lines of {columns[customer_id].distinct:,} customers: customer {_shown(customer_id)} (--customer-id), "
        f"date {_shown(orders.date)} (--date), amount {_shown(amount)} (--amount), {order}"
    )


def _date_guess(column: Column) -> str:
    example = DATE_FORMATS.get(column.date_format.partition(" %H")[0].partition(" %I")[0], "")
    how = f"{column.date_format}{f', such as {example}' if example else ''}"
    doubt = "; day and month could also be the other way round" if column.ambiguous else ""
    return f"{_shown(column.name)}: dates, {column.first} to {column.last}, written as {how}{doubt}  (--date-format)"


def _spoken_separator(separator: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(separator, repr(separator))


def _shown(text: str) -> str:
    return text if re.fullmatch(r"[\w.]+", text) else repr(text)
