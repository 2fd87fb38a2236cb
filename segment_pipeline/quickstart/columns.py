"""What the texts of a column are: numbers, dates or words, in which format, and how many of them cannot be read.

Here: one description of each column of `raw_rows`, and the SQL that makes values of its texts. Not here: which column
is the customer or the date (roles.py). A column is numeric if nearly all of its texts are numbers, so one "n/a" among
47,000 does not make it a column of words.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from segment_pipeline.column_names import hints_of
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.errors import InputError
from segment_pipeline.months import add_months
from segment_pipeline.quickstart.text import shown
from segment_pipeline.sources.expressions import NO_DATES
from segment_pipeline.sources.text.dates import (
    EXAMPLES,
    IN_ZONE,
    ISO,
    QUARTER,
    SERIAL,
    SERIALS,
    SINCE_1970,
    SPELLINGS,
    WEEK,
    ZONE_LETTERS,
    first_of,
    forms_like,
    forms_spelled,
    period_of,
    strict_sql,
    tells_time,
    time_sql,
)
from segment_pipeline.sources.text.numbers import CURRENCIES, NUMBER, PLAIN_NUMBER, bare_number, currency_of, number_sql

NEARLY_ALL = 0.9
"""Share of a column's texts that have to read as numbers, or as dates, for it to be one."""

PROFILED_ROWS = 200_000
"""Rows, evenly spread over the file, by which formats are judged; values are read from all of them."""

MISSING = (
    *("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--"),
    *("?", "unknown", "missing", "inf", "+inf", "-inf", "infinity", "-infinity", "\\n", "nat"),
    *("<na>", "(null)", "[null]", "<null>", "(blank)", "(leer)", "0000-00-00", "0000-00-00 00:00:00"),
)
"""Texts, in lower case, that stand for no value."""

_BLANKS = " \t\r\n\u00a0\u202f\ufeff"
_VALUES = "column_values"
_FILLED = "bare <> ''"

_NO_VALUE = "|".join(map(re.escape, MISSING))

_FIRST_FORM = 0.2
"""Share of a column's dates that have to be written in one form, where the others may be in others."""

_ENOUGH_DAYS = 20
"""Different numbers that are all days of a calendar, and are not so by chance."""

_MOST_FORMS = 5
"""Forms in which the dates of a column may be written."""

_DRESSED = {'="%"': r'="([^"]*)"', "'%": "'(.+)"}
"""How exports keep a spreadsheet from taking an id for a number, ="00123" and '00123: for LIKE, and with the id as a
group."""

_ENOUGH_THOUSANDS, _ENOUGH_LEADING = 20, 3
"""Different numbers like 14.000, and different ones before their points, that are thousands not by chance."""

_NO_DATE_NUMBERS = "(0, 99991231)"

FEW_IN_FUTURE = 0.05
"""Share of a column's dates that may be later than today and are mistakes; with more it is one of days to come."""

WHEN = re.compile(r"date|time|datum|day$|_at$|_on$|created|when|(^|_)ts$|month$", re.IGNORECASE)
"""How columns of times are called."""


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

    date_format : a form (sources/text/dates.py); of moments that become local times, with the zone behind it, as in
    "ISO 8601 in Europe/Berlin". other_formats : the same, of those that are not written so; none that a text could be
    of beside another. first, last : of the dates, without the `sentinels` that stand for none (NO_DATES) and without
    the few that are `future`, later than today. could_be : the form in which numbers, or few texts, would be dates if
    somebody said that they are. other_mark : the decimal mark with which texts would be numbers.
    contradiction : texts of which no form of dates reads all."""

    name: str
    kind: str
    known: int
    distinct: int
    unreadable: int = 0
    samples: tuple[str, ...] = ()
    unit: str = ""
    date_format: str = ""
    other_formats: tuple[str, ...] = ()
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
    could_be: str = ""
    other_mark: str = ""
    contradiction: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """How dates are written, the commonest first."""
        return (self.date_format, *self.other_formats)

    @property
    def period(self) -> str:
        """What the dates tell at most: "quarter", "week", "month", or "day" and less."""
        return period_of(self.date_format)

    @property
    def covered(self) -> date | None:
        """The last day of the last period that the dates tell."""
        if self.last is None:
            return None
        if self.period == "week":
            return self.last + timedelta(days=6)
        return self.last if self.period == "day" else add_months(self.last, 1) - timedelta(days=1)

    @property
    def with_offset(self) -> bool:
        """Whether the times of day say how far they are from UTC, as in 2024-12-31T23:59:00+02:00."""
        return self.kind == "date" and self.ends_in_offset

    @property
    def with_time(self) -> bool:
        """Whether dates say the time of day, too."""
        if self.date_format.partition(IN_ZONE)[0] in (ISO, SERIAL):
            return bool(re.search(r":\d\d|^\d+\.\d", self.example))
        return any(map(tells_time, self.forms))

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
        f"regexp_full_match(value, {literal(PLAIN_NUMBER['.' if decimal == '.' else 'whole'])})",
        f"regexp_full_match(value, {literal(PLAIN_NUMBER[decimal])})",
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
        numeric_date = _numeric_date(connection, low, high, date_format) if whole == numbers or low is None else ""
        numeric_date = numeric_date or (_serial_or_epoch(low, high) if low is not None else "")
        if numeric_date and (is_date or numeric_date == date_format or _is_a_time(name, numeric_date, distinct)):
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
            could_be=numeric_date,
        )
        return _with_samples(connection, column, number)
    tried = []
    for found, ambiguous in _text_dates(connection, date_format):
        dated = _dated_in_all_forms(connection, column, _in_zone(column, found, time_zone))
        if dated.unreadable <= (1 - NEARLY_ALL) * known:
            return replace(dated, ambiguous=ambiguous)
        tried.append(dated)
    if not tried:
        other = "," if decimal == "." else "."
        read_so = f"{number_sql('value', other)} IS NOT NULL"
        (read,) = only_row(connection, f"SELECT {_rows(read_so)} FROM {_VALUES}")
        return replace(column, other_mark=other if read >= NEARLY_ALL * known else "")
    dated = min(tried, key=lambda one: one.unreadable)
    return replace(column, contradiction=(_example_in(connection, dated), *dated.samples[:1]))


def _example_in(connection: duckdb.DuckDBPyConnection, column: Column) -> str:
    """A text that is written in the first form of a column of dates."""
    read = f"{strict_sql('value', column.date_format)} IS NOT NULL"
    return str(only_row(connection, f"SELECT max(value) FILTER ({read}) FROM {_VALUES}")[0])


def _in_zone(column: Column, date_format: str, time_zone: str | None) -> str:
    """The format with the zone behind it where it is one of moments, and a zone is said."""
    if "%z" in date_format:
        return f"{date_format.partition(IN_ZONE)[0]}{IN_ZONE}{time_zone or 'UTC'}"
    moments = date_format in SINCE_1970 or (date_format == ISO and column.ends_in_offset)
    return f"{date_format}{IN_ZONE}{time_zone}" if moments and time_zone is not None else date_format


def tomorrow() -> date:
    """The latest day that may be over: it is already tomorrow somewhere."""
    return datetime.now(UTC).date() + timedelta(days=1)


def _is_a_time(name: str, form: str, distinct: int) -> bool:
    """Whether numbers that may be dates are: as their name says, or as nothing else does, for numbers of eight digits
    or more that are all days of a calendar are days."""
    if WHEN.search(name) is not None or "date" in hints_of(name):
        return True
    return "%d" in form and distinct >= _ENOUGH_DAYS


def _as_said(connection: duckdb.DuckDBPyConnection, column: Column, date_format: str) -> Column:
    """The column as one of dates that are written as the user said, and others in other forms that no text of these
    could be of. Raises InputError where they are not."""
    found = _dated_in_all_forms(connection, column, date_format)
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
    counts = dict(zip(NUMBER, map(sum, zip(*counted, strict=True)), strict=True))
    if counts[","] > counts["."]:
        if example := _example_with(connection, names, ","):
            return ",", f"decimal comma, as in {example}  (--decimal)"
        return ",", f"points are of thousands, as in {_example_with(connection, names, '.')}  (--decimal)"
    if counts["."] == 0 and (thousands := _points_of_thousands(connection, names)):
        return ",", f"points are of thousands, as in {thousands[0]}, {thousands[1]}  (--decimal)"
    return ".", ""


def _written_with(connection: duckdb.DuckDBPyConnection, rows: str, name: str) -> tuple[int, ...]:
    """How many texts of a column are numbers with one decimal mark and with no other, for each of NUMBER."""
    value = bare_number(identifier(name))
    reads = {mark: f"regexp_full_match({value}, {literal(number)})" for mark, number in NUMBER.items()}
    only = (
        " AND ".join([reads[mark], *(f"NOT {other}" for one, other in reads.items() if one != mark)]) for mark in reads
    )
    counted = ", ".join(f"count(*) FILTER ({condition})" for condition in only)
    return only_row(connection, f"SELECT {counted} FROM {rows}")


def _points_of_thousands(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> tuple[str, str] | None:
    """A text such as 14.000 of a column in which all numbers from 1,000 on are written so, and why these are no
    decimals; None where there is no such column. A column that is called like money needs no smaller number to tell:
    prices have two decimals or none, and those with three (of dinars) are somewhere below one."""
    for name in names:
        value = known_sql(name)
        pointed, leading, bare_small, others, example = only_row(
            connection,
            rf"""
            SELECT count(DISTINCT value) FILTER (regexp_full_match(value, '[+-]?[1-9]\d{{0,2}}(\.\d{{3}})+')),
                count(DISTINCT split_part(value, '.', 1)) FILTER (value LIKE '%.%'),
                count(*) FILTER (regexp_full_match(value, '[+-]?\d{{1,3}}')),
                count(*) FILTER (NOT regexp_full_match(value, '[+-]?([1-9]\d{{0,2}}(\.\d{{3}})+|\d{{1,3}})')),
                min(given) FILTER (value LIKE '%.%')
            FROM (
                SELECT {bare_number(value)} AS value, {value} AS given
                FROM {profiled_rows(connection)} WHERE {value} IS NOT NULL
            )
            """,
        )
        if pointed < _ENOUGH_THOUSANDS or others > 0:
            continue
        if bare_small:
            return str(example), "for smaller numbers have none"
        money = bool({"total", "price"} & hints_of(name)) or bool(
            only_row(connection, f"SELECT bool_or({currency_of(value)} <> '') FROM {profiled_rows(connection)}")[0]
        )
        if _ends_in_noughts(connection, name) or (money and leading >= _ENOUGH_LEADING):
            return str(example), "for each has three digits behind it"
    return None


def _ends_in_noughts(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether most numbers end in .000 or .500, as whole thousands of a small currency do and no measure does."""
    noughts = rf"regexp_matches({known_sql(name)}, '\.[05]00$')"
    (share,) = only_row(connection, f"SELECT avg(CAST({noughts} AS DOUBLE)) FROM {profiled_rows(connection)}")
    return bool(share is not None and share > 0.5)


def _example_with(connection: duckdb.DuckDBPyConnection, names: Sequence[str], mark: str) -> str:
    """A text with this mark in it that is a number where the comma is of decimals; "" where there is none."""
    for name in names:
        found = connection.execute(
            f"SELECT {identifier(name)} FROM raw_rows WHERE regexp_full_match({bare_number(identifier(name))}, "
            f"{literal(NUMBER[','])}) AND contains({identifier(name)}, {literal(mark)}) LIMIT 1"
        ).fetchone()
        if found is not None:
            return shown(str(found[0]))
    return ""


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


def dates_sql(value: str, column: Column) -> str:
    """An expression of text of a date column as a timestamp; NULL where it is in none of its forms."""
    return first_of([time_sql(value, form) for form in column.forms])


def moment_sql(column: Column) -> str:
    """An expression over `raw_rows` of a date column as a timestamp; NULL also for sentinels and few future dates."""
    moment = dates_sql(known_sql(column.name), column)
    if column.first is None or not (column.sentinels or column.future):
        return moment
    return f"CASE WHEN CAST({moment} AS DATE) BETWEEN DATE '{column.first}' AND DATE '{column.last}' THEN {moment} END"


_DAY = r"\d{4}-\d\d-\d\d"
_PLAIN_TIME = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?)?"


# --- numbers and dates ------------------------------------------------------------------------------------------------


def _currency(connection: duckdb.DuckDBPyConnection) -> str:
    """The currency that most of the column's texts name; "" for none."""
    found = connection.execute(
        f"SELECT upper({currency_of('bare')}) AS named, sum(lines) AS of FROM {_VALUES} WHERE bare IS NOT NULL "
        "GROUP BY named ORDER BY of DESC, named"
    ).fetchall()
    named, most = found[0] if found else ("", 0)
    return CURRENCIES.get(named, "") if most > 0.5 * sum(of for _, of in found) else ""


def _with_samples(connection: duckdb.DuckDBPyConnection, column: Column, number: str) -> Column:
    """number : an expression of `value`, NULL for what is not readable."""
    if not column.unreadable:
        return column
    found = connection.execute(
        f"SELECT value FROM {_VALUES} WHERE value IS NOT NULL AND {number} IS NULL ORDER BY value LIMIT 3"
    ).fetchall()
    return replace(column, samples=tuple(row[0] for row in found))


def _serial_or_epoch(low: float, high: float) -> str:
    """How numbers may be times: since 1970, between 1989 and 2036, or as spreadsheets count days; "" if not."""
    for form, scale in SINCE_1970.items():
        if low >= 6e8 * scale and high <= 2.1e9 * scale:
            return form
    return SERIAL if low >= SERIALS[0] and high <= SERIALS[1] else ""


def _numeric_date(
    connection: duckdb.DuckDBPyConnection, low: float | None, high: float | None, given: str | None
) -> str:
    """How all whole numbers are days or moments of a calendar, as 20241231; "" if they are not.

    low, high : of the numbers that may be dates; None where there is none. given : the format that the user has said.
    """
    if low is None or high is None:
        return ""
    year_first = {"%Y%m%d": 4, "%Y%m%d%H%M": 8, "%Y%m%d%H%M%S": 10, "%Y%m": 2}
    forms = [form for form, more in year_first.items() if low >= 1900 * 10**more and high < 2101 * 10**more]
    forms += ["%d%m%Y"] if low >= 1_011_900 and high <= 31_122_100 else []
    forms += ["%y%m%d"] if low >= 101 and high <= 991_231 else []
    forms += ["%Y%j"] if low >= 1_900_001 and high <= 2_100_366 else []
    for form in forms if given is None else [given]:
        moment = time_sql("value", form)
        fails, first, last = only_row(
            connection,
            f"SELECT count(*) FILTER (moment IS NULL), min(year(moment)), max(year(moment)) FROM (SELECT {moment} AS "
            f"moment FROM {_VALUES} WHERE value IS NOT NULL AND rtrim(value, '0') <> '')",
        )
        if fails == 0 and first is not None and first >= 1900 and (last <= 2100 or last == 9999):
            return form
    return ""


def _text_dates(connection: duckdb.DuckDBPyConnection, given: str | None) -> Iterator[tuple[str, bool]]:
    """The form in which most of a column's texts are dates, and whether another one would read them as well; then, for
    four months have English names in German, too, the same of a spelling.

    Where all days are below 13 day and month can be told apart by the span only: the wrong one scatters a few weeks
    over the whole year. Firsts of months over years are the exception: the wrong one has them all in January.
    """
    # of two that read as many the first is taken: what the user has said
    forms = [given, ISO] if given else [ISO, *_forms(connection, _some_values(200))]
    form, doubtful = _date_of(connection, forms)
    if form:
        yield form, doubtful
    if not given:
        spelled, doubtful = _date_of(connection, _foreign_forms(connection))
        if spelled:
            yield spelled, doubtful


def _date_of(connection: duckdb.DuckDBPyConnection, forms: Sequence[str]) -> tuple[str, bool]:
    """The form that reads most of some texts, and whether another one reads as many; "" where none reads enough."""
    if not forms:
        return "", False
    tried = ", ".join(
        f"count({moment}) FILTER (year({moment}) BETWEEN 1900 AND 2100 OR year({moment}) IN (1, 9999)), "
        f"date_diff('day', min({moment}), max({moment})), count(DISTINCT year({moment})), "
        f"count(DISTINCT month({moment})), max(day({moment}))"
        for moment in (strict_sql("value", one) for one in forms)
    )
    total, *found = only_row(connection, f"SELECT count(*), {tried} FROM {_some_values(2000)}")
    reads = {one: found[5 * i : 5 * i + 5] for i, one in enumerate(forms)}
    best = max(count for count, *_ in reads.values())
    if total == 0 or best < _FIRST_FORM * total:
        return "", False
    readers = [one for one, (count, *_) in reads.items() if count == best]

    def unlikely(one: str) -> tuple[bool, int, int]:
        """First a reading by which all days of several years are of one month, where another has each month's first."""
        _, span, years, months, _ = reads[one]
        return firsts and years > 1 and months == 1, span or 0, forms.index(one)

    firsts = any(last_day == 1 and months > 1 for _, _, _, months, last_day in (reads[one] for one in readers))
    return min(readers, key=unlikely), len(readers) > 1


def _next_form(connection: duckdb.DuckDBPyConnection, known: Sequence[str]) -> str:
    """The form in which all texts of one shape are written, such as 9/9/9, that the known forms do not read; "" where
    there is none, where another form would make other days of them, or a text of the known ones could be of it too."""
    read = f"coalesce({', '.join(time_sql('value', form) for form in known)})"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE unread_values AS SELECT value, {_shape('value')} AS shape FROM {_VALUES} "
        f"WHERE value IS NOT NULL AND {read} IS NULL"
    )
    shapes = connection.execute(
        f"SELECT shape FROM unread_values GROUP BY shape ORDER BY count(*) DESC, shape LIMIT {_MOST_FORMS}"
    ).fetchall()
    for (shape,) in shapes:
        of_shape = f"(SELECT value FROM unread_values WHERE shape = {literal(shape)})"
        forms = [one for one in (ISO, SERIAL, *_forms(connection, f"{of_shape} LIMIT 200")) if one not in known]
        sums = ", ".join(
            f"count({moment}), sum(epoch_us({moment}))" for moment in (strict_sql("value", one) for one in forms)
        )
        total, *found = only_row(connection, f"SELECT count(*), {sums} FROM {of_shape}")
        reads = {one: found[2 * i + 1] for i, one in enumerate(forms) if found[2 * i] == total}
        if len(set(reads.values())) == 1:
            form = next(iter(reads))
            both = f"{read} <> {time_sql('value', form)}"
            (of_both,) = only_row(connection, f"SELECT count(*) FROM {_VALUES} WHERE {both}")
            if of_both == 0:
                return form
    return ""


def _shape(value: str) -> str:
    """What numbers and words stand between, in a text."""
    return f"regexp_replace(regexp_replace({value}, '\\d+', '9', 'g'), '\\pL+', 'a', 'g')"


def _forms(connection: duckdb.DuckDBPyConnection, texts: str) -> list[str]:
    """The forms besides ISO 8601 of which some of the texts of a relation may be."""
    return [*forms_like(str(text) for (text,) in connection.execute(f"FROM {texts}").fetchall()), QUARTER, WEEK]


def _foreign_forms(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Forms in the spelling in which most texts may be; none where there is none."""
    signs = ", ".join(f"avg(CAST(regexp_matches(lower(value), {literal(of)}) AS DOUBLE))" for of in SPELLINGS.values())
    shares = only_row(connection, f"SELECT {signs} FROM {_some_values(200)}")
    share, called = max(zip((one or 0 for one in shares), SPELLINGS, strict=True), key=lambda one: one[0])

    def usual(done: Callable[[str], str]) -> list[str]:
        found = connection.execute(f"SELECT {done('value')} FROM {_some_values(200)}").fetchall()
        return [str(text) for (text,) in found]

    return forms_spelled(called, usual) if share >= _FIRST_FORM else []


def _dated_in_all_forms(connection: duckdb.DuckDBPyConnection, column: Column, first: str) -> Column:
    """The column as one of dates that are written so, and the others in other forms where there are such."""
    forms = [first]
    found = _dated(connection, column, forms)
    while found.unreadable and len(forms) < _MOST_FORMS and (another := _next_form(connection, forms)):
        forms.append(another)
        found = _dated(connection, column, forms)
    return found


def _dated(connection: duckdb.DuckDBPyConnection, column: Column, forms: Sequence[str]) -> Column:
    """The column as one of dates that are written in one of these forms."""
    column = replace(column, kind="date", date_format=forms[0], other_formats=tuple(forms[1:]))
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
        plain=column.forms == (ISO,) and plain == filled and days in (0, filled),
        sentinels=sentinels,
        future=future if few else 0,
    )
    return _with_samples(connection, column, moment)


_LONGER = {"week": "week", "month": "month", "quarter": "quarter's last month"}


def dates_in_words(column: Column) -> str:
    """What was taken for dates, and what of them is in doubt."""
    how = _in_words(column.date_format)
    others = [form.partition(IN_ZONE)[0] for form in column.other_formats]
    if others:
        how += f", and some as {' or '.join(others)}: {'both' if len(others) == 1 else 'all'} are read"
    doubts = {
        "day and month could also be the other way round": column.ambiguous,
        "times of day are taken as they stand there, whatever their offset  (--time-zone)": column.with_offset
        and IN_ZONE not in column.date_format,
        "times of day are taken as they stand there, whatever the zone": re.search(ZONE_LETTERS, column.example),
        f"each date is the first of its {_LONGER.get(column.period)}, for no column has the day": column.period
        != "day",
        f"{column.sentinels:,} stand for no date, such as 9999-12-31": column.sentinels,
        f"{column.future:,} later than today are left out": column.future,
    }
    doubt = "".join(f"; {said}" for said, holds in doubts.items() if holds)
    return f"{shown(column.name)}: dates, {column.first} to {column.last}, written as {how}{doubt}  (--date-format)"


def _in_words(form: str) -> str:
    """A form, with an example where it is one of days or longer."""
    day = re.split(r"[^%\w]*[ :T,-]%[HI]", form)[0]
    return f"{form}{f', such as {EXAMPLES[day]}' if day in EXAMPLES else ''}"
