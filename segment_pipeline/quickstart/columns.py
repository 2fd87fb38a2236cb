"""What the texts of a column are: numbers, dates or words, in which format, and how many of them cannot be read.

Here: one description of each column of `raw_rows`, and the SQL that makes values of its texts. Not here: which column
is the customer or the date (roles.py). A column is numeric if nearly all of its texts are numbers, so one "n/a" among
47,000 does not make it a column of words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import duckdb

from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.quickstart.text import shown

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

WHEN = re.compile(r"date|time|datum|day$|_at$|_on$|created|when|(^|_)ts$|month$", re.IGNORECASE)
"""How columns of times are called."""

_CURRENCY = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CURRENCY_CODE = "USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|AUD|CAD|kr|zł|Kč|Fr"


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


def describe_column(
    connection: duckdb.DuckDBPyConnection, name: str, decimal: str, *, is_date: bool, date_format: str | None
) -> Column:
    """What the texts of one column are. decimal : the mark. is_date, date_format : what the user has said of it."""
    number = number_sql("value", decimal)
    known, distinct, numbers, shares, plain, low, high = only_row(
        connection,
        f"""
        SELECT count(value), count(DISTINCT value), count({number}),
            count(*) FILTER (value LIKE '%\\%' ESCAPE '\\'),
            count(*) FILTER (regexp_full_match(value, {literal(_PLAIN_NUMBER)})),
            min({number}), max({number})
        FROM {_known_values(name)}
        """,
    )
    column = Column(name, "text", known, distinct)
    if known == 0:
        return replace(column, kind="empty")
    if numbers >= NEARLY_ALL * known:
        numeric_date = _numeric_date(connection, name, low, high) if is_date or WHEN.search(name) else ""
        if numeric_date:
            return _dated(connection, column, numeric_date)
        unit = "share" if shares >= NEARLY_ALL * known else _currency(connection, name)
        column = replace(column, kind="number", unreadable=known - numbers, unit=unit, plain=plain == known)
        return _with_samples(connection, column, number)
    if is_date and date_format is not None:
        return _dated(connection, column, date_format)
    found, ambiguous = _text_date(connection, name, date_format)
    return replace(_dated(connection, column, found), ambiguous=ambiguous) if found else column


def decimal_mark(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> tuple[str, str]:
    """The decimal mark of the whole file, and the guess in words where there was something to guess.

    12.5 can only be a point, 12,5 only a comma; 1.234 can be both, and decides nothing.
    """
    counts = {}
    for mark, other in ((".", ","), (",", ".")):
        only = " + ".join(
            f"count(*) FILTER (regexp_full_match({_bare_number(identifier(name))}, {literal(_NUMBER[mark])}) "
            f"AND NOT regexp_full_match({_bare_number(identifier(name))}, {literal(_NUMBER[other])}))"
            for name in names
        )
        counts[mark] = int(only_row(connection, f"SELECT {only} FROM {_profiled(connection)}")[0])
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
            return shown(str(found[0]))
    return "1,5"


def _profiled(connection: duckdb.DuckDBPyConnection) -> str:
    """At most PROFILED_ROWS of the rows, evenly spread."""
    rows = int(only_row(connection, "SELECT count(*) FROM raw_rows")[0])
    every = max(1, -(-rows // PROFILED_ROWS))
    return "raw_rows" if every == 1 else f"(SELECT * FROM raw_rows WHERE rowid % {every} = 0)"


def only_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of a query that has one."""
    (row,) = connection.execute(query).fetchall()
    return row


# --- texts as values --------------------------------------------------------------------------------------------------


def bare_sql(name: str) -> str:
    """The text of a column without the blanks around it."""
    return f"trim({identifier(name)}, {literal(_BLANKS)})"


def known_sql(name: str) -> str:
    """The text of a column without the blanks around it; NULL where it stands for no value."""
    missing = ", ".join(literal(text) for text in MISSING)
    value = bare_sql(name)
    return f"CASE WHEN lower({value}) NOT IN ({missing}) THEN {value} END"


def _known_values(name: str) -> str:
    """The known texts of a column as `value`, a row of `raw_rows` each."""
    return f"(SELECT {known_sql(name)} AS value FROM raw_rows)"


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


# --- numbers and dates ------------------------------------------------------------------------------------------------


def _currency(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The currency that most of the column's texts name; "" for none."""
    for sign, code in _CURRENCY.items():
        found = only_row(
            connection, f"SELECT avg(CAST(contains({identifier(name)}, {literal(sign)}) AS DOUBLE)) FROM raw_rows"
        )
        if (found[0] or 0) > 0.5:
            return code
    return ""


def _with_samples(connection: duckdb.DuckDBPyConnection, column: Column, number: str) -> Column:
    if not column.unreadable:
        return column
    found = connection.execute(
        f"SELECT DISTINCT value FROM {_known_values(column.name)} "
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
        fails = only_row(
            connection,
            f"SELECT count(*) FROM {_known_values(name)} "
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
        for moment in (time_sql(_iso_only("value") if one == ISO else "value", one) for one in formats)
    )
    total, *found = only_row(connection, f"SELECT count(*), {tried} FROM {sample}")
    reads = {one: (found[2 * i], found[2 * i + 1] or 0) for i, one in enumerate(formats)}
    best = max(count for count, _ in reads.values())
    if total == 0 or best < NEARLY_ALL * total:
        return "", False
    readers = [one for one, (count, _) in reads.items() if count == best]
    chosen = min(readers, key=lambda one: (reads[one][1], formats.index(one)))
    return chosen, len(readers) > 1


def _iso_only(value: str) -> str:
    """DuckDB casts more than ISO 8601 to a timestamp; here only a year first makes it one."""
    return f"CASE WHEN regexp_matches({value}, '^\\d{{4}}-\\d{{1,2}}-\\d{{1,2}}') THEN {value} END"


def _dated(connection: duckdb.DuckDBPyConnection, column: Column, date_format: str) -> Column:
    """The column as one of dates that are written so."""
    moment = time_sql("value", date_format)
    read, plain, first, last = only_row(
        connection,
        f"SELECT count({moment}), count(*) FILTER (regexp_full_match(value, {literal(_PLAIN_TIME)})), "
        f"CAST(min({moment}) AS DATE), CAST(max({moment}) AS DATE) "
        f"FROM {_known_values(column.name)}",
    )
    return replace(
        column,
        kind="date",
        date_format=date_format,
        unreadable=column.known - read,
        first=first,
        last=last,
        plain=date_format == ISO and plain == column.known,
    )
