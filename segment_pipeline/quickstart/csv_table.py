"""A CSV that nobody has described, read and understood, and its customers as plain numbers.

Here: the order in which a file is found out, what is said of that, and what the pipeline is given of it. Not here: how
rows are read (text.py), what a column is (columns.py), which one is the customer (roles.py), which are worth
segmenting by (proposal.py), and the monthly sources, which guess nothing (sources/).
"""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.arrays import Array, Texts
from segment_pipeline.column_names import called_in_cents, hints_of
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.errors import InputError
from segment_pipeline.publishing.catalogue import RESERVED_NAMES
from segment_pipeline.quickstart.columns import (
    MISSING,
    NEARLY_ALL,
    WHEN,
    Column,
    bare_sql,
    dates_in_words,
    decimal_mark,
    describe_column,
    known_sql,
    moment_sql,
    only_row,
    profiled_rows,
    without_point,
)
from segment_pipeline.quickstart.lines.nobody import nobodies
from segment_pipeline.quickstart.roles import IN_ONE, Hints, Orders, Roles, find_roles, roles_in_words
from segment_pipeline.quickstart.scores import Evidence
from segment_pipeline.quickstart.text import (
    Made,
    joined_sql,
    load_rows,
    made_amount,
    parts_of_date,
    shown,
    take_out_repeats,
    time_beside,
)
from segment_pipeline.sources.files import Form, TextRows
from segment_pipeline.sources.text.dates import IN_ZONE, time_sql
from segment_pipeline.sources.text.numbers import number_sql

CURRENCY_NAME = re.compile(r"currency|curr$|währung|waehrung|devise|moneda|valuta|waluta|moeda", re.IGNORECASE)
"""How columns of currencies are called."""

_ALIKE = 0.01
"""Share of the customers that may be written as another is but for capitals and signs, and mean nothing by it."""

_LAST = re.compile(r"last|latest|recent|letzte", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """The file, read: rows lie in the temporary table `raw_rows`, every column as text under its name here.

    form : how every month is to read the file. time_zone : whose local times its moments are to become; None to take
    times as they stand. nobody : texts, in lower case, that stand for no customer in order lines; no_order :
    texts that stand for no order. folded : whether the customers are e-mail addresses that are written in several ways.
    blanks : column of amounts -> texts, in lower case,
    that stand for none there. joined : date that lies in several columns -> its text, as SQL over a row of the file.
    made : amount that is made of columns -> of which, and how. guesses : one sentence each, with the flag that
    overrules it. renamed : name in the file -> name here.
    """

    path: Path
    rows: int
    separator: str
    encoding: str
    decimal: str
    columns: Mapping[str, Column]
    roles: Roles
    form: Form
    time_zone: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()
    repeated_rows: int = 0
    nobody: tuple[str, ...] = ()
    no_order: tuple[str, ...] = ()
    folded: bool = False
    blanks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    joined: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)

    @property
    def typed(self) -> bool:
        """Whether the file itself says what is a number, a date or text, so that their texts do not."""
        return not self.form.as_text

    @property
    def customer_id(self) -> str:
        """The column that says who it is."""
        return self.roles.customer_id

    @property
    def orders(self) -> Orders | None:
        """The columns of order lines; None where one row is one customer."""
        return self.roles.orders

    @property
    def finest(self) -> str:
        """What the dates of orders tell at most, as in "on one day"."""
        return IN_ONE[_told_by(self.columns, self.roles)]

    def numbers(self) -> list[Column]:
        """Columns of numbers that describe a customer."""
        return [one for one in self.columns.values() if one.kind == "number" and one.name != self.customer_id]

    def dates(self) -> list[Column]:
        """Columns of dates."""
        return [one for one in self.columns.values() if one.kind == "date" and one.name != self.customer_id]


def read_table(connection: duckdb.DuckDBPyConnection, path: Path, hints: Hints, more: Sequence[Path] = ()) -> Table:
    """Read the file, or several, into `raw_rows` and find out what it is. Raises InputError with what, where, and what
    next, and QuestionError."""
    given, files = hints, load_rows(connection, path, more, hints.separator)
    file = files[0]
    taken_out = take_out_repeats(connection, file.names) if hints.repeats_once else 0
    rows = only_row(connection, "SELECT count(*) FROM raw_rows")[0]
    if rows == 0:
        raise InputError(
            f"{path} has a header and no row below it. Export the customers with their rows, and try again."
        )
    decimal, decimal_guess = (hints.decimal, "") if hints.decimal else decimal_mark(connection, file.names)
    columns = {
        name: describe_column(
            connection,
            name,
            decimal,
            is_date=hints.date is not None and name.casefold() == hints.date.casefold(),
            date_format=hints.date_format,
            time_zone=hints.time_zone,
        )
        for name in file.names
    }
    pointed = _take_off_points(connection, columns, hints)
    joined, hints = _joined_dates(connection, columns, hints)
    made, hints = _said_amount(connection, path, columns, hints, decimal, file.renamed)
    _refuse_unmet_format(connection, path, columns, hints.date_format)
    _refuse_rounded_ids(path, columns, hints)
    evidence = Evidence(connection, columns, decimal, rows)
    roles = find_roles(path, evidence, hints, file.renamed)
    orders = roles.orders
    order_id = None if orders is None else orders.order_id
    if given.repeats_once is None and orders and order_id and evidence.overlaps(order_id, orders.date):
        return read_table(connection, path, replace(given, repeats_once=True), more)
    if orders is None:
        columns = {name: column for name, column in columns.items() if name not in joined and name not in made}
    elif hints.amount is None and called_in_cents(orders.amount) and columns[orders.amount].whole:
        in_cents = Made((orders.amount,), "{0} / 100")
        made = _put_amount(connection, columns, in_cents, decimal, hints)
        roles = roles.with_amount(in_cents.name, "its name says that it is in cents")
    elif hints.amount is None and (turned := _turned(connection, orders, decimal)):
        made = _put_amount(connection, columns, turned, decimal, hints)
        roles = roles.with_amount(
            turned.name,
            f"nearly every amount is below zero, as books write what is credited, so its sign is turned; to take it as "
            f"it stands say  --amount {shlex.quote(orders.amount)}",
        )
    _refuse_other_format(path, columns, roles, hints.date_format)
    nobody, folded, people = _who(connection, columns, roles, decimal)
    if roles.orders is None and nobody:
        summed = f"lower({bare_sql(roles.customer_id)}) IN ({', '.join(map(literal, nobody))})"
        connection.execute(f"DELETE FROM raw_rows WHERE {summed}")
    alike = _alike(connection, roles, nobody, folded=folded)
    form = Form(any(_has_no_types(one) for one in files), hints.separator, once=hints.repeats_once is True)
    return Table(
        path,
        rows,
        "," if file.header is None else file.header.separator,
        file.written,
        decimal,
        columns,
        roles,
        form,
        hints.time_zone,
        file.renamed,
        tuple(
            _guesses(files, rows, decimal_guess, columns, roles, people, folded=folded, taken_out=taken_out)
            + alike
            + [
                f"{shown(name)}: some end in .0, such as 12.0, and others do not: 12.0 and 12 are the same"
                for name in pointed
                if name == roles.customer_id or (roles.orders is not None and name == roles.orders.order_id)
            ]
            + [
                f"{shown(one)} is no customer, but the sum of the others, and left out"
                for one in nobody
                if not roles.orders
            ]
        ),
        rows - len(nobody) - people if roles.orders is None else 0,
        nobody,
        () if orders is None else _no_order(connection, orders.order_id, typed=not form.as_text),
        folded,
        {} if roles.orders is None else _blanks(connection, roles.orders, made),
        joined,
        made,
    )


def _take_off_points(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column], hints: Hints) -> list[str]:
    """Take the .0 off ids that have it beside others that have not, for they are the same: 5393.0 and 5393. Returns the
    columns in which there are such."""
    found = [name for name, one in columns.items() if one.pointed_ids and not one.all_pointed]
    for rows in ("raw_rows", "repeated_rows") if hints.repeats_once else ("raw_rows",):
        for name in found:
            connection.execute(f"UPDATE {rows} SET {identifier(name)} = {without_point(bare_sql(name))}")
    return found


def _joined_dates(
    connection: duckdb.DuckDBPyConnection, columns: dict[str, Column], hints: Hints
) -> tuple[dict[str, str], Hints]:
    """A date whose year, month and day lie in columns of their own, where there is no other or the user names it or one
    of its parts: put among `columns`, and into `raw_rows`. Returns its SQL by its name, and the hints by that name."""
    days = [name for name, column in columns.items() if column.kind == "date" and not column.with_time]
    pair = time_beside(connection, days, list(columns)) if days else None
    if pair is not None:
        return _with_time(connection, columns, pair, hints)
    parts = parts_of_date(connection, list(columns))
    called = ", ".join(parts)
    said = hints.date is not None and hints.date.casefold() in {one.casefold() for one in (called, *parts)}
    others = any(column.kind == "date" for column in columns.values())
    if not parts or not (said or (hints.date is None and not others)):
        return {}, hints
    sql = joined_sql(parts)
    _put_column(connection, called, sql, hints)
    columns[called] = describe_column(connection, called, ".", is_date=True, date_format=None)
    return {called: sql}, replace(hints, date=called) if said else hints


def _with_time(
    connection: duckdb.DuckDBPyConnection, columns: dict[str, Column], pair: tuple[str, str, str], hints: Hints
) -> tuple[dict[str, str], Hints]:
    """A column of days with that of the times of day beside it, as one of moments that stands for the days."""
    day, time, sql = pair
    if hints.date is not None and hints.date.casefold() not in {day.casefold(), f"{day}, {time}".casefold()}:
        return {}, hints
    called = f"{day}, {time}"
    joined = f"concat_ws('T', {identifier(day)}, {sql})"  # a blank between digits would be one of a number
    _put_column(connection, called, joined, hints)
    found = describe_column(connection, called, ".", is_date=False, date_format=None)
    if found.kind != "date" or not found.with_time:
        return {}, hints
    for name, column in [
        (name, columns.pop(name)) for name in list(columns)
    ]:  # before the days alone, for of equals the first is taken
        columns.update({called: found, name: column} if name == day else {name: column})
    return {called: joined}, replace(hints, date=called) if hints.date is not None else hints


def _put_column(connection: duckdb.DuckDBPyConnection, name: str, sql: str, hints: Hints) -> None:
    for rows in ("raw_rows", "repeated_rows") if hints.repeats_once else ("raw_rows",):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {rows} AS SELECT *, {sql} AS {identifier(name)} FROM {rows}")


def _said_amount(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    columns: dict[str, Column],
    hints: Hints,
    decimal: str,
    renamed: Mapping[str, str],
) -> tuple[dict[str, Made], Hints]:
    """An amount that the user makes of columns, such as Debit - Credit: put among `columns`, and into `raw_rows`.
    Returns of which, by its name, and the hints by that name. Raises InputError where one has no numbers."""
    names = {name.casefold(): name for name in columns} | {old.casefold(): new for old, new in renamed.items()}
    made = None if hints.amount is None else made_amount(hints.amount, names)
    if made is None:
        return {}, hints
    made = replace(made, columns=tuple(names[name.casefold()] for name in made.columns))
    for name in made.columns:
        if columns[name].kind not in ("number", "empty"):
            raise InputError(
                f"--amount {hints.amount!r}: {shown(name)} of {path} has no numbers, but such as "
                f"{columns[name].example!r}. Name columns of numbers."
            )
    return _put_amount(connection, columns, made, decimal, hints), replace(hints, amount=made.name)


def _turned(connection: duckdb.DuckDBPyConnection, orders: Orders, decimal: str) -> Made | None:
    """The amount with its sign turned, where nearly all are below zero: sales are credits in books of account, and
    these write credits with a minus."""
    parts = tuple(filter(None, (orders.quantity, orders.amount)))
    amount = " * ".join(number_sql(known_sql(part), decimal) for part in parts)
    below, known = only_row(
        connection,
        f"SELECT count(*) FILTER (x < 0), count(*) FROM (SELECT {amount} AS x FROM {profiled_rows(connection)}) "
        "WHERE x <> 0",
    )
    if not known or below < NEARLY_ALL * known:
        return None
    return Made(parts, f"0 - {' * '.join(f'{{{place}}}' for place in range(len(parts)))}")


def _put_amount(
    connection: duckdb.DuckDBPyConnection, columns: dict[str, Column], made: Made, decimal: str, hints: Hints
) -> dict[str, Made]:
    """Put an amount that is made of columns beside them, written as these are; where one cannot be read, its text
    stands for both."""
    numbers = [number_sql(known_sql(name), decimal) for name in made.columns]
    amount = f"TRY_CAST({made.sql(f'coalesce({number}, 0)' for number in numbers)} AS DECIMAL(18, 4))"
    written = f"replace(CAST({amount} AS VARCHAR), '.', {literal(decimal)})"
    unreadable = [
        f"WHEN {number} IS NULL AND {known_sql(name)} IS NOT NULL THEN {identifier(name)}"
        for name, number in zip(made.columns, numbers, strict=True)
    ]
    nothing = " AND ".join(f"{number} IS NULL" for number in numbers)
    sql = f"CASE {' '.join(unreadable)} WHEN {nothing} THEN '' ELSE {written} END"
    _put_column(connection, made.name, sql, hints)
    columns[made.name] = describe_column(connection, made.name, decimal, is_date=False, date_format=None)
    return {made.name: made}


def _has_no_types(file: TextRows) -> bool:
    """Whether a file's values have to be taken as text: all but Parquet, and that where a name has to be changed."""
    return file.written != "Parquet" or bool(file.renamed)


def _who(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column], roles: Roles, decimal: str
) -> tuple[tuple[str, ...], bool, int]:
    """The texts that stand for nobody, whether addresses are written in several ways, and how many customers there are.
    In a table of customers only sums stand for nobody: who is called Guest there has a row of its own."""
    customer = columns[roles.customer_id]
    given = identifier(customer.name)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE spellings AS SELECT given, lower({bare_sql('given')}) AS text, lines "
        f"FROM (SELECT {given} AS given, count(*) AS lines FROM raw_rows GROUP BY ALL)"
    )
    nobody = nobodies(connection, columns, roles, decimal)
    known = customer.distinct - len(set(nobody) - set(MISSING))
    if roles.orders is None:
        return nobody, False, known
    excluded = ", ".join(literal(text) for text in ("", *nobody))
    addresses, spelled, people = only_row(
        connection,
        f"SELECT sum(lines) FILTER (contains(text, '@')) / sum(lines), count(given), count(DISTINCT text) "
        f"FROM spellings WHERE text NOT IN ({excluded})",
    )
    folded = (addresses or 0) > NEARLY_ALL and people < spelled
    return nobody, folded, people if folded else known


def _alike(connection: duckdb.DuckDBPyConnection, roles: Roles, nobody: Collection[str], *, folded: bool) -> list[str]:
    """What to say of customers that differ in how they are written only, and may be one: +49 151 23 and +4915123."""
    if folded or roles.orders is None:
        return []
    letters = r"ltrim(regexp_replace(text, '[^\pL\pN]', '', 'g'), '0')"
    excluded = ", ".join(literal(text) for text in ("", *nobody))
    people, written, one, other = only_row(
        connection,
        f"""
        SELECT count(*), coalesce(sum(ways - 1), 0), arg_max(first, ways), arg_max(last, ways)
        FROM (SELECT {letters} AS same, count(DISTINCT {bare_sql("given")}) AS ways, min({bare_sql("given")}) AS first,
            max({bare_sql("given")}) AS last FROM spellings WHERE text NOT IN ({excluded}) GROUP BY same)
        """,
    )
    if written <= _ALIKE * people:
        return []
    return [
        f"{shown(roles.customer_id)}: {written:,} customers differ from another in capitals, blanks, signs and "
        f"noughts only, such as {one!r} and {other!r}: each is taken for a customer of its own. If they are the same, "
        "write them the same"
    ]


def _blanks(
    connection: duckdb.DuckDBPyConnection, orders: Orders, made: Mapping[str, Made]
) -> dict[str, tuple[str, ...]]:
    """Of each column that an amount is made of, the texts that stand for none; no column without one."""
    missing = ", ".join(map(literal, MISSING))
    found = {}
    parts = made[orders.amount].columns if orders.amount in made else ()
    for name in filter(None, (orders.amount, *parts, orders.quantity)):
        texts = connection.execute(
            f"SELECT text FROM (SELECT DISTINCT coalesce(lower({bare_sql(name)}), '') AS text FROM raw_rows) "
            f"WHERE text IN ({missing}) ORDER BY text"
        ).fetchall()
        if texts:
            found[name] = tuple(str(text) for (text,) in texts)
    return found


def _refuse_unmet_format(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, Column], date_format: str | None
) -> None:
    """Raises InputError where no column is written as the user said that dates are."""
    found = {form.partition(IN_ZONE)[0] for column in columns.values() for form in column.forms}
    if date_format is None or date_format in found:
        return
    called = [name for name, column in columns.items() if column.kind == "date" or WHEN.search(name)]
    if not called:
        raise InputError(f"--date-format {date_format!r}: {path} has no column of dates. Leave the flag out.")
    value = known_sql(called[0])
    sample = only_row(connection, f"SELECT min({value}) FILTER ({time_sql(value, date_format)} IS NULL) FROM raw_rows")[
        0
    ]
    raise InputError(
        f"--date-format {date_format!r}: no column of {path} is written so; {shown(called[0])} has {sample!r}, for "
        "example. Leave the flag out, or give the format of these."
    )


def _refuse_other_format(path: Path, columns: Mapping[str, Column], roles: Roles, date_format: str | None) -> None:
    """Raises InputError where another column is written as the user said than that which tells when an order was."""
    if date_format is None or roles.orders is None:
        return
    written = {name: {form.partition(IN_ZONE)[0] for form in one.forms} for name, one in columns.items()}
    when = columns[roles.orders.date]
    if date_format not in written[when.name]:
        other = next(name for name, forms in written.items() if date_format in forms)
        raise InputError(
            f"--date-format {date_format!r}: {shown(when.name)} of {path}, which tells when an order was placed, is "
            f"not written so (such as {when.example!r}), and {shown(other)} is. Say which is meant: --date; or leave "
            "--date-format out."
        )


def _refuse_rounded_ids(path: Path, columns: Mapping[str, Column], hints: Hints) -> None:
    """Raises InputError where a spreadsheet has rounded the ids, for then different customers or orders are one."""
    said = {name.casefold() for name in (hints.customer_id, hints.order_id) if name is not None}
    for name, column in columns.items():
        is_id = name.casefold() in said or (hints.customer_id is None and "id" in hints_of(name))
        if is_id and column.rounded_ids > 0.5 * column.known:
            raise InputError(
                f"{path}: {shown(name)} has ids such as {column.example!r}, {column.distinct:,} different ones in "
                f"{column.known:,} lines: a spreadsheet has rounded them, and their last digits are lost. Export the "
                "file again without opening it in a spreadsheet, or name other columns: --customer-id COLUMN "
                "--order-id COLUMN."
            )


# --- customers as numbers ---------------------------------------------------------------------------------------------


def feature_columns(table: Table, day: date | None) -> dict[str, str]:
    """name -> SQL over `raw_rows`, of everything that describes a customer in a number: the numeric columns, and for
    each date how long before the day it was."""
    return {
        name: days_before(moment_sql(one), f"DATE {literal(str(day))}")
        if is_date(one)
        else number_sql(known_sql(one.name), table.decimal)
        for name, one in features_of(table).items()
    }


def features_of(table: Table) -> dict[str, Column]:
    """name -> the column that it is made of, of everything that describes a customer in a number. A column that is
    called like one of the pipeline's own has another name as a feature."""
    found: dict[str, Column] = {}
    for one in (*table.numbers(), *table.dates()):
        name = days_since(one.name) if is_date(one) else one.name
        if name.casefold() in RESERVED_NAMES - {"customer_id"}:
            name = f"{name}_in_file"
        while name != one.name and name.casefold() in {taken.casefold() for taken in (*found, *table.columns)}:
            name = f"{name}_"
        found[name] = one
    return found


def is_date(column: Column) -> bool:
    return column.kind == "date"


def days_before(moment: str, day: str) -> str:
    return f"CAST(date_diff('day', CAST({moment} AS DATE), {day}) AS DOUBLE)"


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
    return numbers_of(connection, f"SELECT {chosen} FROM raw_rows")


def customer_ids(connection: duckdb.DuckDBPyConnection, table: Table) -> Texts:
    """(n,) the customer of every row."""
    return texts_of(connection, f"SELECT {bare_sql(table.customer_id)} FROM raw_rows")


def texts_of(connection: duckdb.DuckDBPyConnection, query: str) -> Texts:
    """(n,) values of the query's one column; "" where there is none."""
    (values,) = connection.execute(query).fetchnumpy().values()
    return np.asarray(np.ma.filled(np.ma.asarray(values), ""), dtype=np.str_)


def numbers_of(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Array]:
    """name -> (n,) values of the query's columns, NaN where there is no number."""
    found = connection.execute(query).fetchnumpy()
    return {name: np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan) for name, values in found.items()}


def _no_order(connection: duckdb.DuckDBPyConnection, order: str | None, *, typed: bool) -> tuple[str, ...]:
    """The texts in the column of orders that stand for none: "" always, for a later month may have it."""
    if order is None:
        return ()
    value = bare_sql(order)
    found = connection.execute(
        f"SELECT DISTINCT {value} AS text FROM raw_rows WHERE {known_sql(order)} IS NULL AND {value} <> '' "
        "ORDER BY text"
    ).fetchall()
    gaps = ["nan"] if typed else []  # what a whole number with gaps has become
    return tuple(dict.fromkeys(["", *gaps, *(text for (text,) in found)]))


# --- what to say ------------------------------------------------------------------------------------------------------


def _guesses(
    files: Sequence[TextRows],
    rows: int,
    decimal_guess: str,
    columns: Mapping[str, Column],
    roles: Roles,
    people: int,
    *,
    folded: bool,
    taken_out: int,
) -> list[str]:
    file = files[0]
    of = f" of {len(files)} files" if len(files) > 1 else ""
    if file.header is None or "workbook" in file.written:
        found = [f"{rows:,} rows{of}, {file.written}"]
    else:
        found = [f"{rows:,} rows{of}, separated by {_spoken_separator(file.header.separator)}, {file.written}  (--sep)"]
    skipped = [line.strip(" ,;\t") for line in file.header.above] if file.header is not None else []
    titles = [repr(line[:60]) for line in skipped if line and not line.startswith("sep=")]
    if titles:
        found.append(f"above the header, and not read: {', '.join(titles)}")
    if file.below:
        found.append(f"below the table, and not read: {', '.join(repr(line[:60]) for line in file.below)}")
    if taken_out and roles.orders is None:
        found.append(f"{taken_out:,} rows that repeat another in every column were taken out  (--repeats keep)")
    if decimal_guess:
        found.append(decimal_guess)
    found += roles_in_words(roles, people, _told_by(columns, roles))
    if folded:
        found.append(
            f"{shown(roles.customer_id)}: {columns[roles.customer_id].distinct:,} ways of writing the addresses of "
            f"{people:,} people; upper and lower case, and blanks around, are the same"
        )
    if file.renamed:
        said = ", ".join(f"{shown(old)} -> {shown(new)}" for old, new in file.renamed.items())
        found.append(f"renamed: {said}")
    return found + [dates_in_words(one) for one in columns.values() if one.kind == "date"]


def _told_by(columns: Mapping[str, Column], roles: Roles) -> str:
    """What the dates of orders tell at most: a moment, a day, a week, a month or a quarter."""
    if roles.orders is None:
        return "moment"
    when = columns[roles.orders.date]
    return "moment" if when.with_time else when.period


def _spoken_separator(separator: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(separator, repr(separator))
