"""What the texts of a column are: numbers, dates or words, in which format, and how many of them cannot be read.

Here: one description of each column of `raw_rows`, and the SQL that makes values of its texts. Not here: which column
is the customer or the date (roles.py). A column is numeric if nearly all of its texts are numbers, so one "n/a" among
47,000 does not make it a column of words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from segment_pipeline.column_names import hints_of
from segment_pipeline.database.quoting import identifier, literal, string_list
from segment_pipeline.errors import InputError
from segment_pipeline.quickstart.text import CALENDARS, forms_of, plain_date, shown
from segment_pipeline.sources.expressions import NO_DATES

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
    "nat",
    "<na>",
    "(null)",
    "[null]",
    "<null>",
    "(blank)",
    "(leer)",
    "0000-00-00",
    "0000-00-00 00:00:00",
)
"""Texts, in lower case, that stand for no value."""

_VALUES = "column_values"
_FILLED = "bare <> ''"

_NO_VALUE = "|".join(map(re.escape, MISSING))

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
    "%a, %d %b %Y": "Tue, 31 Dec 2024",
    "%Y年%m月%d日": "2024年12月31日",
    "%Y%m%d": "20241231",
}
"""Days as people write them, besides ISO 8601; each also with a time of day."""

TIMES = (
    "",
    *(f"{gap} {time}" for time in ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p") for gap in ("", ",")),
)
ISO, EPOCH, EPOCH_MS = "ISO 8601", "seconds since 1970", "milliseconds since 1970"
SERIAL = "days since 1900, as spreadsheets count"

_IN = " in "
"""What stands between a format and a zone."""

_SERIALS = (32874, 55153)
"""1990 to 2050, as spreadsheets count days."""

_FIRST_FORM = 0.4
"""Share of a column's dates that have to be written in one form, where the others may be in a second."""

_DRESSED = {'="%"': r'="([^"]*)"', "'%": "'(.+)"}
"""How exports keep a spreadsheet from taking an id for a number, ="00123" and '00123: for LIKE, and with the id as a
group."""

_NO_DATE_NUMBERS = "(0, 99991231)"

FEW_IN_FUTURE = 0.05
"""Share of a column's dates that may be later than today and are mistakes; with more it is one of days to come."""

WHEN = re.compile(r"date|time|datum|day$|_at$|_on$|created|when|(^|_)ts$|month$", re.IGNORECASE)
"""How columns of times are called."""

_CURRENCY = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "₺": "TRY", "₽": "RUB", "₩": "KRW", "₪": "ILS"}
_CURRENCY |= {"฿": "THB", "₫": "VND", "₴": "UAH", "₱": "PHP", "円": "JPY", "元": "CNY", "원": "KRW"}
_CURRENCY_CODE = (
    "USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|AUD|CAD|NZD|HKD|SGD|TWD|KRW|THB|IDR|MYR|PHP|VND|HUF|RON|BGN|ISK"
    "|TRY|TL|RUB|UAH|ILS|AED|SAR|EGP|ZAR|BRL|MXN|ARS|CLP|COP|kr|Fr|Ft|Rp|RM|Rs"
)
_CURRENCY_WORD = "zł|kč|руб|грн|лв"
_DOLLARS = r"\b[A-Z]{1,2}\$"
"""US$ and R$: with these letters before it another dollar than that of the United States, or no dollar at all."""


@dataclass(frozen=True)
class Column:
    """One column. kind : "number", "date", "text" or "empty". known : texts that stand for a value; distinct : of
    these; example : the first of them in the alphabet. unreadable : known ones, over all rows, that are not of the
    kind, with some `samples`. unit : a currency, or "share" where the texts end in a percent sign, which are divided
    by 100. plain : whether the monthly reader takes all for what they are; simple : whether it would with a point for
    the decimal comma. padded : lines with blanks around the text.

    whole : all numbers are, so that they may be ids. pointed_ids : some are like 12345.0, all_pointed : all, and the
    others whole. rounded_ids : texts like
    1.23E+11, whose last digits are lost.

    date_format : of DATE_FORMATS with a time, ISO, EPOCH, EPOCH_MS or SERIAL; of moments that become local times, with
    the zone behind it, as in "ISO 8601 in Europe/Berlin". second_format : the same, of those that are not written so;
    "" where there is one form only, or a text could be of either. first, last : of the dates, without the `sentinels`
    that stand for none (NO_DATES) and without the few that are `future`, later than today."""

    name: str
    kind: str
    known: int
    distinct: int
    unreadable: int = 0
    samples: tuple[str, ...] = ()
    unit: str = ""
    date_format: str = ""
    second_format: str = ""
    ambiguous: bool = False
    first: date | None = None
    last: date | None = None
    plain: bool = False
    simple: bool = False
    padded: int = 0
    whole: bool = False
    pointed_ids: bool = False
    all_pointed: bool = False
    dressed: str = ""
    rounded_ids: int = 0
    example: str = ""
    sentinels: int = 0
    future: int = 0

    @property
    def with_offset(self) -> bool:
        """Whether the times of day say how far they are from UTC, as in 2024-12-31T23:59:00+02:00."""
        return self.kind == "date" and self.ends_in_offset

    @property
    def with_time(self) -> bool:
        """Whether dates say the time of day, too."""
        if self.date_format.partition(_IN)[0] in (ISO, SERIAL):
            return bool(re.search(r":\d\d|^\d+\.\d", self.example))
        return bool(re.search(r"%[HI]|since 1970", self.date_format + self.second_format))

    @property
    def ends_in_offset(self) -> bool:
        """The same of a text that may not be a date."""
        return re.search(r":\d\d(\.\d+)? ?([+-]\d\d(:?\d\d)?|Z)$", self.example) is not None


def describe_column(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    decimal: str,
    *,
    is_date: bool,
    date_format: str | None,
    time_zone: str | None = None,
) -> Column:
    """What the texts of one column are. decimal : the mark. is_date, date_format : what the user has said of it.
    time_zone : whose local times moments become; None to take times as they stand."""
    _list_values(connection, name)
    number = number_sql("value", decimal)
    counted = [
        "value IS NOT NULL",
        _FILLED,
        "number IS NOT NULL",
        r"value LIKE '%\%' ESCAPE '\'",
        f"regexp_full_match(value, {literal(_PLAIN_NUMBER['.' if decimal == '.' else 'whole'])})",
        f"regexp_full_match(value, {literal(_PLAIN_NUMBER[decimal])})",
        "number = floor(number)",
        r"value LIKE '%.0' AND regexp_full_match(value, '\d+\.0+')",
        r"regexp_full_match(value, '\d+')",
        r"value ILIKE '%e%' AND regexp_full_match(value, '\d([.,]\d+)?[eE]\+?\d+')",
        *(f"value LIKE {literal(like)}" for like in _DRESSED),
    ]
    (
        distinct,
        padded,
        example,
        low,
        high,
        known,
        filled,
        numbers,
        shares,
        plain,
        simple,
        whole,
        pointed,
        digits,
        rounded,
        *dressed,
    ) = only_row(
        connection,
        f"""
        SELECT count(value), CAST(coalesce(sum(padded), 0) AS BIGINT), min(value),
            min(number) FILTER (number NOT IN {_NO_DATE_NUMBERS}),
            max(number) FILTER (number NOT IN {_NO_DATE_NUMBERS}), {", ".join(map(_rows, counted))}
        FROM (SELECT value, bare, lines, padded, {number} AS number FROM {_VALUES})
        """,
    )
    if 0 < pointed < known and pointed + digits >= NEARLY_ALL * known:
        (distinct,) = only_row(connection, f"SELECT count(DISTINCT {without_point('value')}) FROM {_VALUES}")
    column = Column(
        name,
        "text",
        known,
        distinct,
        pointed_ids=pointed > 0 and pointed + digits >= NEARLY_ALL * known,
        all_pointed=0 < known == pointed,
        rounded_ids=rounded,
        dressed=next((of for of, rows in zip(_DRESSED.values(), dressed, strict=True) if 0 < known == rows), ""),
        padded=padded,
        example=example or "",
    )
    if known == 0:
        return replace(column, kind="empty")
    if is_date and date_format is not None:
        return _as_said(connection, column, _in_zone(column, date_format, time_zone))
    if numbers >= NEARLY_ALL * known:
        numeric_date = _numeric_date(connection, low, high) if is_date or _called_a_time(name) else ""
        if numeric_date:
            return _dated_in_all_forms(connection, column, _in_zone(column, numeric_date, time_zone))
        unit = "share" if shares >= NEARLY_ALL * known else _currency(connection)
        column = replace(
            column,
            kind="number",
            unreadable=known - numbers,
            unit=unit,
            plain=plain == filled,
            simple=simple == filled,
            whole=whole == numbers,
        )
        return _with_samples(connection, column, number)
    found, ambiguous = _text_date(connection, date_format)
    if not found:
        return column
    dated = replace(_dated_in_all_forms(connection, column, _in_zone(column, found, time_zone)), ambiguous=ambiguous)
    return dated if dated.unreadable <= (1 - NEARLY_ALL) * known else column


def _in_zone(column: Column, date_format: str, time_zone: str | None) -> str:
    """The format with the zone behind it where it is one of moments, and a zone is said."""
    if "%z" in date_format:
        return f"{date_format.partition(_IN)[0]}{_IN}{time_zone or 'UTC'}"
    moments = date_format in (EPOCH, EPOCH_MS) or (date_format == ISO and column.ends_in_offset)
    return f"{date_format}{_IN}{time_zone}" if moments and time_zone is not None else date_format


def tomorrow() -> date:
    """The latest day that may be over: it is already tomorrow somewhere."""
    return datetime.now(UTC).date() + timedelta(days=1)


def _called_a_time(name: str) -> bool:
    return WHEN.search(name) is not None or "date" in hints_of(name)


def _as_said(connection: duckdb.DuckDBPyConnection, column: Column, date_format: str) -> Column:
    """The column as one of dates that are written as the user said. Raises InputError where they are not."""
    found = _dated(connection, column, date_format)
    if found.unreadable > (1 - NEARLY_ALL) * column.known:
        raise InputError(
            f"--date-format {date_format!r}: {shown(column.name)} is not written so: {found.unreadable:,} of "
            f"{column.known:,} values do not match, such as {', '.join(map(repr, found.samples))}. Leave the flag out, "
            "or give the format of these."
        )
    return found


def decimal_mark(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> tuple[str, str]:
    """The decimal mark of the whole file, and the guess in words where there was something to guess.

    12.5 can only be a point, 12,5 only a comma; 1.234 can be both, and decides nothing.
    """
    profiled = profiled_rows(connection)
    counted = [_written_with(connection, profiled, name) for name in names]
    counts = dict(zip(_NUMBER, map(sum, zip(*counted, strict=True)), strict=True))
    if counts[","] > counts["."]:
        return ",", f"decimal comma, as in {_example_of_comma(connection, names)}  (--decimal)"
    if counts["."] == 0 and (example := _points_of_thousands(connection, names)):
        return ",", f"points are of thousands, as in {example}, for smaller numbers have none  (--decimal)"
    return ".", ""


def _written_with(connection: duckdb.DuckDBPyConnection, rows: str, name: str) -> tuple[int, ...]:
    """How many texts of a column are numbers with one decimal mark and with no other, for each of _NUMBER."""
    value = _bare_number(identifier(name))
    reads = {mark: f"regexp_full_match({value}, {literal(number)})" for mark, number in _NUMBER.items()}
    only = (
        " AND ".join([reads[mark], *(f"NOT {other}" for one, other in reads.items() if one != mark)]) for mark in reads
    )
    counted = ", ".join(f"count(*) FILTER ({condition})" for condition in only)
    return only_row(connection, f"SELECT {counted} FROM {rows}")


def _points_of_thousands(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> str:
    """A text such as 14.000 of a column in which all numbers from 1,000 on, and no smaller one, are written so; ""
    where there is no such column."""
    for name in names:
        value = known_sql(name)
        pointed, bare_small, others, example = only_row(
            connection,
            rf"""
            SELECT count(DISTINCT value) FILTER (regexp_full_match(value, '[+-]?[1-9]\d{{0,2}}(\.\d{{3}})+')),
                count(*) FILTER (regexp_full_match(value, '[+-]?\d{{1,3}}')),
                count(*) FILTER (NOT regexp_full_match(value, '[+-]?([1-9]\d{{0,2}}(\.\d{{3}})+|\d{{1,3}})')),
                min(value) FILTER (value LIKE '%.%')
            FROM (SELECT {value} AS value FROM {profiled_rows(connection)})
            """,
        )
        if pointed >= 20 and others == 0 and (bare_small or _ends_in_noughts(connection, name)):
            return str(example)
    return ""


def _ends_in_noughts(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether most numbers end in .000 or .500, as whole thousands of a small currency do and no measure does."""
    noughts = rf"regexp_matches({known_sql(name)}, '\.[05]00$')"
    (share,) = only_row(connection, f"SELECT avg(CAST({noughts} AS DOUBLE)) FROM {profiled_rows(connection)}")
    return bool(share is not None and share > 0.5)


def _example_of_comma(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> str:
    for name in names:
        found = connection.execute(
            f"SELECT {identifier(name)} FROM raw_rows WHERE regexp_full_match({_bare_number(identifier(name))}, "
            f"{literal(_NUMBER[','])}) AND {identifier(name)} LIKE '%,%' LIMIT 1"
        ).fetchone()
        if found is not None:
            return shown(str(found[0]))
    return "1,5"


def profiled_rows(connection: duckdb.DuckDBPyConnection) -> str:
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
    """The text of a column without the blanks around it; NULL where it stands for no value.

    No list for NOT IN: DuckDB joins with each that is longer than a few, and five of them for every column of a wide
    file are more joins than end.
    """
    value = bare_sql(name)
    return f"CASE WHEN NOT regexp_full_match(lower({value}), {literal(_NO_VALUE)}) THEN {value} END"


def without_point(text: str) -> str:
    """An expression of text as an id without the .0 that a spreadsheet or a program puts behind whole numbers with
    gaps."""
    return f"regexp_replace({text}, '^(\\d+)\\.0+$', '\\1')"


def _list_values(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Fill the temporary table _VALUES with the different texts of a column as `bare`, those that are known as `value`,
    how many `lines` have them, and of these how many `padded` with blanks: what a text is, is asked once of each."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {_VALUES} AS
        SELECT bare, {known_sql("bare")} AS value, lines, padded
        FROM (
            SELECT bare, count(*) AS lines, count(*) FILTER (strlen(given) <> strlen(bare)) AS padded
            FROM (SELECT {identifier(name)} AS given, {bare_sql(name)} AS bare FROM raw_rows) GROUP BY bare
        )
    """)


def _some_values(most: int) -> str:
    """So many of the known texts, whichever, and always the same."""
    return f"(SELECT value FROM {_VALUES} WHERE value IS NOT NULL ORDER BY hash(value), value LIMIT {most})"


def _rows(condition: str) -> str:
    """How many rows have a text of _VALUES of which the condition is true."""
    return f"CAST(coalesce(sum(lines) FILTER ({condition}), 0) AS BIGINT)"


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


def dates_sql(value: str, column: Column) -> str:
    """An expression of text of a date column as a timestamp; NULL where it is in none of its forms."""
    moment = time_sql(value, column.date_format)
    return f"coalesce({moment}, {time_sql(value, column.second_format)})" if column.second_format else moment


def moment_sql(column: Column) -> str:
    """An expression over `raw_rows` of a date column as a timestamp; NULL also for sentinels and few future dates."""
    moment = dates_sql(known_sql(column.name), column)
    if column.first is None or not (column.sentinels or column.future):
        return moment
    return f"CASE WHEN CAST({moment} AS DATE) BETWEEN DATE '{column.first}' AND DATE '{column.last}' THEN {moment} END"


def time_sql(value: str, date_format: str) -> str:
    """An expression of text as a timestamp, of a moment the local time of its zone; NULL where it is none."""
    _, _, zone = date_format.partition(_IN)
    moment = instant_sql(value, date_format)
    return f"timezone({literal(zone)}, {moment})" if zone else moment


def instant_sql(value: str, date_format: str) -> str:
    """As `time_sql`, of moments the TIMESTAMPTZ that they are in any zone."""
    rewritten = plain_date(value, date_format)
    if rewritten is not None:
        return f"try_strptime({rewritten[0]}, {literal(rewritten[1])})"
    date_format, _, zone = date_format.partition(_IN)
    if zone and date_format == ISO:
        # +0200 is no offset to DuckDB, and +02:00 is
        colon = f"regexp_replace({value}, ' ?([+-]\\d\\d):?(\\d\\d)$', '\\1:\\2')"
        return f"TRY_CAST({colon} AS TIMESTAMPTZ)"
    if zone and date_format in (EPOCH, EPOCH_MS):
        return f"timezone('UTC', {instant_sql(value, date_format)})"
    if date_format == SERIAL:
        seconds = f"CAST(round(TRY_CAST({value} AS DOUBLE) * 86400) AS BIGINT)"
        return f"TIMESTAMP '1899-12-30' + to_seconds({seconds})"
    if date_format == ISO:
        return f"TRY_CAST({value} AS TIMESTAMP)"
    if date_format in (EPOCH, EPOCH_MS):
        scale = 1_000_000 if date_format == EPOCH else 1_000
        return f"make_timestamp(CAST(TRY_CAST({value} AS DOUBLE) * {scale} AS BIGINT))"
    return f"try_strptime({value}, {literal(date_format)})"


_BLANKS = " \t\r\n\u00a0\u202f\ufeff"
_MONEY = (_DOLLARS, f"[{''.join(_CURRENCY)}]", rf"(?i:\b({_CURRENCY_CODE})\b)", f"(?i:{_CURRENCY_WORD})")
_SIGNS = "|".join(["[\\s\\x{00A0}\\x{2009}\\x{202F}'’]", *(f"{said}\\.?" if "?i" in said else said for said in _MONEY)])
_NUMBER = {
    ".": r"[+-]?(\d+|\d{1,3}(,\d{3})+|\d{1,2}(,\d\d)+,\d{3})?(\.\d*)?([eE][+-]?\d+)?%?",  # 12,34,567.00 in India
    ",": r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?([eE][+-]?\d+)?%?",
}
_PLAIN_NUMBER = {".": r"[+-]?\d+(\.\d+)?", ",": r"[+-]?\d+(,\d+)?", "whole": r"[+-]?\d+"}
_DAY = r"\d{4}-\d\d-\d\d"
_ZONE_LETTERS = r":\d\d(?: [AP]M)? ([A-Z]{3,5})$"
_OFFSET_OF_MAIL = r"^[A-Z][a-z]{2}, .*:\d\d [+-]\d{4}$"
_PLAIN_TIME = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?)?"


def _bare_number(value: str) -> str:
    """Without currency, blanks and apostrophes; (12.50) is an accountant's -12.50, and 12.50- that of a mainframe. A
    typeset minus is one."""
    signs = f"regexp_replace(translate({value}, '−–', '--'), {literal(_SIGNS)}, '', 'g')"
    return f"regexp_replace({signs}, '^(?:\\((.+)\\)|(.+)-)$', '-\\1\\2')"


def currency_of(text: str) -> str:
    """An expression of the text of an amount as what it says of its currency, as it stands there; "" where nothing."""
    return f"regexp_extract({text}, {literal('|'.join(_MONEY))})"


# --- numbers and dates ------------------------------------------------------------------------------------------------


def _currency(connection: duckdb.DuckDBPyConnection) -> str:
    """The currency that most of the column's texts name; "" for none."""
    named = ", ".join(_rows(f"contains(bare, {literal(sign)})") for sign in _CURRENCY)
    texts, *found = only_row(connection, f"SELECT {_rows('bare IS NOT NULL')}, {named} FROM {_VALUES}")
    return next((code for code, rows in zip(_CURRENCY.values(), found, strict=True) if rows > 0.5 * texts), "")


def _with_samples(connection: duckdb.DuckDBPyConnection, column: Column, number: str) -> Column:
    """number : an expression of `value`, NULL for what is not readable."""
    if not column.unreadable:
        return column
    found = connection.execute(
        f"SELECT value FROM {_VALUES} WHERE value IS NOT NULL AND {number} IS NULL ORDER BY value LIMIT 3"
    ).fetchall()
    return replace(column, samples=tuple(row[0] for row in found))


def _numeric_date(connection: duckdb.DuckDBPyConnection, low: float | None, high: float | None) -> str:
    """How numbers in a column of times are times: since 1970, between 1989 and 2036, or as 20241231; "" if not.

    low, high : of the numbers that may be dates; None where there is none.
    """
    if low is None or high is None:
        return ""
    if low >= 6e8 and high <= 2.1e9:
        return EPOCH
    if low >= 6e11 and high <= 2.1e12:
        return EPOCH_MS
    if low >= _SERIALS[0] and high <= _SERIALS[1]:
        return SERIAL
    for form, digits in (("%Y%m%d", 8), ("%Y%m%d%H%M", 12), ("%Y%m%d%H%M%S", 14)):
        if low >= 1900 * 10 ** (digits - 4) and high < 2101 * 10 ** (digits - 4):
            fails = only_row(
                connection,
                f"SELECT count(*) FROM {_VALUES} "
                f"WHERE value IS NOT NULL AND rtrim(value, '0') <> '' AND try_strptime(value, {literal(form)}) IS NULL",
            )
            return form if fails[0] == 0 else ""
    return ""


def _text_date(connection: duckdb.DuckDBPyConnection, given: str | None) -> tuple[str, bool]:
    """The format in which a column's texts are dates, and whether another one would read them as well.

    Where all days are below 13 day and month can be told apart by the span only: the wrong one scatters a few weeks
    over the whole year.
    """
    found = _date_of(connection, [ISO] + ([given] if given else _forms(connection)))
    return found if found[0] or given else _date_of(connection, _foreign_forms(connection))


def _date_of(connection: duckdb.DuckDBPyConnection, formats: Sequence[str]) -> tuple[str, bool]:
    """Which of the formats reads most, and whether another one reads as many; "" where none reads enough."""
    if not _may_be_dates(connection, formats):
        return "", False
    tried = ", ".join(
        f"count({moment}) FILTER (year({moment}) BETWEEN 1900 AND 2100 OR year({moment}) IN (1, 9999)), "
        f"date_diff('day', min({moment}), max({moment}))"
        for moment in (_strict("value", one) for one in formats)
    )
    total, *found = only_row(connection, f"SELECT count(*), {tried} FROM {_some_values(2000)}")
    reads = {one: (found[2 * i], found[2 * i + 1] or 0) for i, one in enumerate(formats)}
    best = max(count for count, _ in reads.values())
    if total == 0 or best < _FIRST_FORM * total:
        return "", False
    readers = [one for one, (count, _) in reads.items() if count == best]
    chosen = min(readers, key=lambda one: (reads[one][1], formats.index(one)))
    return chosen, len(readers) > 1


def _second_form(connection: duckdb.DuckDBPyConnection, first: str) -> str:
    """The form in which all dates are written that are not in the first; "" where there is none, where a text could be
    of both, or where two forms would make different days of them."""
    forms = [one for one in (ISO, SERIAL, *_forms(connection)) if one != first]
    rest = f"SELECT value FROM {_VALUES} WHERE value IS NOT NULL AND {time_sql('value', first)} IS NULL"
    for rows in (f"({rest} ORDER BY value LIMIT 2000)", f"({rest})"):  # most forms are out of the question soon
        counts = ", ".join(
            f"count({moment}), sum(epoch_us({moment}))" for moment in (_strict("value", one) for one in forms)
        )
        total, *found = only_row(connection, f"SELECT count(value), {counts} FROM {rows}")
        reads = {one: found[2 * i + 1] for i, one in enumerate(forms) if found[2 * i] == total}
        if total == 0 or len(set(reads.values())) != 1:
            return ""
        forms = list(reads)
    both = f"{time_sql('value', first)} IS NOT NULL AND {time_sql('value', forms[0])} IS NOT NULL"
    (of_both,) = only_row(connection, f"SELECT count(*) FROM {_VALUES} WHERE {both}")
    return "" if of_both else forms[0]


def _forms(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """DATE_FORMATS without a time and with one, and with the letters of a zone behind it where some texts have them:
    Jan 5, 2025 10:31 AM EST. Where some are dates of e-mail (RFC 2822), these, too."""
    forms = [day + time for day in DATE_FORMATS for time in TIMES]
    zones = connection.execute(
        f"SELECT regexp_extract(value, {literal(_ZONE_LETTERS)}, 1) AS zone FROM {_VALUES} "
        f"WHERE regexp_matches(value, {literal(_ZONE_LETTERS)}) GROUP BY zone ORDER BY count(*) DESC, zone LIMIT 2"
    ).fetchall()
    (mailed,) = only_row(
        connection, f"SELECT count(*) FROM {_VALUES} WHERE regexp_matches(value, {literal(_OFFSET_OF_MAIL)})"
    )
    of_mail = [f"%a, %d %b %Y %H:%M:%S %z{_IN}UTC"] if mailed else []
    return of_mail + forms + [f"{form} {zone}" for (zone,) in zones for form in forms if "%M" in form]


def _foreign_forms(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Formats in the calendar, or the language of months, in which most texts may be written; none where there is
    none."""
    signs = ", ".join(f"avg(CAST(regexp_matches(lower(value), {literal(of)}) AS DOUBLE))" for of in CALENDARS.values())
    shares = only_row(connection, f"SELECT {signs} FROM {_some_values(200)}")
    share, called = max(zip((one or 0 for one in shares), CALENDARS, strict=True), key=lambda one: one[0])
    return forms_of(called, _forms(connection)) if share >= _FIRST_FORM else []


def _strict(value: str, form: str) -> str:
    """As `time_sql`, of a text that is surely meant so."""
    if form == SERIAL:
        value = f"CASE WHEN TRY_CAST({value} AS DOUBLE) BETWEEN {_SERIALS[0]} AND {_SERIALS[1]} THEN {value} END"
    return time_sql(_iso_only(value) if form == ISO else value, form)


def _may_be_dates(connection: duckdb.DuckDBPyConnection, formats: Sequence[str]) -> bool:
    """Whether enough of some texts are dates in any of the formats: trying each on its own takes a second."""
    other = [time_sql("value", form) for form in formats if _IN in form or plain_date("value", form) is not None]
    plain = [form for form in formats if form != ISO and _IN not in form and plain_date("value", form) is None]
    known = [
        time_sql(_iso_only("value"), ISO),
        *([f"try_strptime(value, {string_list(plain)})"] if plain else []),
        *other,
    ]
    moment = f"coalesce({', '.join(known)})"
    share = only_row(
        connection,
        f"SELECT avg(CAST({moment} IS NOT NULL AS DOUBLE)) FROM {_some_values(200)}",
    )
    return bool((share[0] or 0) >= _FIRST_FORM)


def _iso_only(value: str) -> str:
    """DuckDB casts more than ISO 8601 to a timestamp; here only a year first makes it one."""
    return f"CASE WHEN regexp_matches({value}, '^\\d{{4}}-\\d{{1,2}}-\\d{{1,2}}') THEN {value} END"


def _dated_in_all_forms(connection: duckdb.DuckDBPyConnection, column: Column, first: str) -> Column:
    """The column as one of dates that are written so, and the others in a second form where there is one."""
    found = _dated(connection, column, first)
    second = _second_form(connection, first) if found.unreadable else ""
    return _dated(connection, column, first, second) if second else found


def _dated(connection: duckdb.DuckDBPyConnection, column: Column, date_format: str, second: str = "") -> Column:
    """The column as one of dates that are written so, or in a second form."""
    column = replace(column, kind="date", date_format=date_format, second_format=second)
    moment = dates_sql("value", column)
    believed, past = f"moment >= DATE '{NO_DATES[0]}' AND moment < DATE '{NO_DATES[1]}'", f"DATE '{tomorrow()}'"
    read, filled, days, plain, sentinels, future, first, last, last_past = only_row(
        connection,
        f"SELECT {_rows('moment IS NOT NULL')}, {_rows(_FILLED)}, "
        f"{_rows(f'regexp_full_match(value, {literal(_DAY)})')}, "
        f"{_rows(f'regexp_full_match(value, {literal(_PLAIN_TIME)})')}, "
        f"{_rows(f'NOT ({believed})')}, {_rows(f'{believed} AND moment > {past}')}, "
        f"CAST(min(moment) FILTER ({believed}) AS DATE), CAST(max(moment) FILTER ({believed}) AS DATE), "
        f"CAST(max(moment) FILTER ({believed} AND moment <= {past}) AS DATE) "
        f"FROM (SELECT value, bare, lines, {moment} AS moment FROM {_VALUES})",
    )
    few = 0 < future <= FEW_IN_FUTURE * read
    column = replace(
        column,
        unreadable=column.known - read,
        first=first,
        last=last_past if few else last,
        plain=(date_format, second) == (ISO, "") and plain == filled and days in (0, filled),
        sentinels=sentinels,
        future=future if few else 0,
    )
    return _with_samples(connection, column, moment)


def dates_in_words(column: Column) -> str:
    """What was taken for dates, and what of them is in doubt."""
    day = re.split(r",? %[HI]", column.date_format)[0]
    how = f"{column.date_format}{f', such as {DATE_FORMATS[day]}' if day in DATE_FORMATS else ''}"
    how += f", and some as {column.second_format}: both are read" if column.second_format else ""
    doubts = {
        "day and month could also be the other way round": column.ambiguous,
        "times of day are taken as they stand there, whatever their offset  (--time-zone)": column.with_offset
        and _IN not in column.date_format,
        "times of day are taken as they stand there, whatever the zone": re.search(_ZONE_LETTERS, column.example),
        f"{column.sentinels:,} stand for no date, such as 9999-12-31": column.sentinels,
        f"{column.future:,} later than today are left out": column.future,
    }
    doubt = "".join(f"; {said}" for said, holds in doubts.items() if holds)
    return f"{shown(column.name)}: dates, {column.first} to {column.last}, written as {how}{doubt}  (--date-format)"
