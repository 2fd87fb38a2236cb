"""The user's SQL expressions over a row of a source: columns by name, their types, and what is refused.

What belongs here: what every source made of expressions needs, under whatever key of the configuration it stands. What
does not: which files are read (files.py), and what is made of the rows (sources.py, and campaigns/outcomes_store.py).

`section` is the key under which the expressions stand, such as source.orders, for errors.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

import duckdb

from segment_pipeline.database.engines.spark import RefusedError
from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.database.store import more_memory, reason
from segment_pipeline.database.user_sql import what_it_does_beside_reading
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.files import Relation

WHOLE_TYPES = re.compile(r"^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$")
NUMERIC_TYPES = re.compile(r"^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL(\(\d+,\d+\))?|BOOLEAN)$")

NO_DATES = ("1902-01-01", "2200-01-01")
"""Days outside of these stand for no date: 0000-00-00, 1900-01-01 and 9999-12-31 are what systems write for none."""

_AS_TEXT = re.compile(r'\bCAST\(\s*"((?:[^"]|"")+)"\s+AS\s+VARCHAR\s*\)', re.IGNORECASE)

NUMBER_KEYS = frozenset({"amount", "value"})
TIME_KEYS = frozenset({"ordered_at", "occurred_at"})


def bound(given: Mapping[str, str], source: Relation) -> dict[str, str]:
    """The expressions; one that is a column's name as it stands, such as `order` or `customer no`, is that column."""
    return {
        key: identifier(text.strip()) if as_named(text.strip()) in source.columns else text
        for key, text in given.items()
    }


def columns_of_ids_alone(given: Mapping[str, str], id_keys: Collection[str]) -> set[str]:
    """Columns, in lower case, that are an id as they stand, or that are taken as text, CAST("day" AS VARCHAR), and
    that no other expression calculates with: what a file has in these is wanted as it is written there."""
    names = {key: _unquoted(text) for key, text in given.items()}
    as_text = {as_named(name.replace('""', '"')) for text in given.values() for name in _AS_TEXT.findall(text)}
    wanted = as_text | {names[key] for key in id_keys if key in names}
    others = {key: _AS_TEXT.sub("", text) for key, text in given.items()}
    return {
        name
        for name in wanted
        if not any(mentions(text, name) for key, text in others.items() if key not in id_keys or names[key] != name)
    }


def expression_types(
    connection: duckdb.DuckDBPyConnection, source: Relation, section: str, expressions: Mapping[str, str]
) -> dict[str, str]:
    """The DuckDB type of each expression. Raises SourceError where one is none."""
    return {key: _known_type(connection, source, f"{section}.{key}", text) for key, text in expressions.items()}


def refuse_unfit_types(source: Relation, section: str, given: Mapping[str, str], types: Mapping[str, str]) -> None:
    """Raises SourceError where a number, a time or a condition is something else."""
    for key, kind in types.items():
        expected = _expected_instead(key, kind)
        if expected is not None:
            raise SourceError(
                f"{source.path}: {section}.{key} ({given[key]}): found {kind}; expected {expected}. Fix the source, "
                f"or {_hint(key, bound(given, source)[key], kind)}."
            )


def with_columns(
    connection: duckdb.DuckDBPyConnection, source: Relation, section: str, columns: Mapping[str, str], **beside: str
) -> Relation:
    """The source with columns that the user has made of its own, by name, in the place of those of the same name.

    beside : what these expressions may name besides the source's columns, as SQL. Raises SourceError.
    """
    if not columns:
        return source
    of_rows = {name: identifier(name) for name in source.columns} | beside
    rows = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in of_rows.items())
    seen = replace(source, sql=f"(SELECT {rows} FROM {source.sql})") if beside else source
    made = bound(columns, source)
    types = expression_types(connection, seen, f"{section}.columns", made)
    made_of = {as_named(name): f"({text}\n)" for name, text in made.items()}
    chosen = {name: f"source.{identifier(name)}" for name in source.columns} | made_of
    listed = ", ".join(f"{text} AS {identifier(name)}" for name, text in chosen.items())
    return replace(
        source,
        sql=f"(SELECT {listed} FROM {seen.sql} AS source)",
        columns={**source.columns, **{as_named(name): kind for name, kind in types.items()}},
        incomplete={name: file for name, file in source.incomplete.items() if name not in made_of},
    )


def text_id(expression: str, kind: str) -> str:
    """An id as text. A column of whole numbers that has become one of doubles, as gaps make it in pandas, keeps its
    ids: 12 and not 12.0; and its NaN is a missing id."""
    value = f"({expression}\n)"
    if kind not in ("DOUBLE", "FLOAT"):
        return f"CAST({value} AS VARCHAR)"
    return (
        f"CASE WHEN {value} = round({value}) AND abs({value}) < 9007199254740992 "
        f"THEN CAST(CAST(round({value}) AS BIGINT) AS VARCHAR) "
        f"WHEN isfinite({value}) THEN CAST({value} AS VARCHAR) END"
    )


def category_text(expression: str, kind: str) -> str:
    """A category as text; blank is NULL."""
    return f"nullif(trim({text_id(expression, kind)}), '')"


def timestamp(expression: str, kind: str, zone: str) -> str:
    """A time as a TIMESTAMP, of a moment in any zone the local time of this one; NULL where it cannot be read."""
    value = f"({expression}\n)"
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"):
        value = f"timezone({literal(zone)}, CAST({value} AS TIMESTAMPTZ))"
    return f"{'CAST' if kind == 'TIMESTAMP' else 'TRY_CAST'}({value} AS TIMESTAMP)"


def is_finite(moment: str) -> str:
    """A condition: the timestamp is neither of DuckDB's infinite ones. NULL where there is none. Written as what says
    by itself that it is a moment: Apache Spark makes no number of one."""
    return f"isfinite(CAST({moment} AS TIMESTAMP))"


def is_date(moment: str) -> str:
    """A condition: the timestamp is one at which something can have happened. NULL where there is none."""
    return f"({moment} >= TIMESTAMP '{NO_DATES[0]}' AND {moment} < TIMESTAMP '{NO_DATES[1]}')"


def reading_failed(source: Relation, what: str, error: duckdb.Error) -> SourceError:
    """What to say when rows could not be read to their end."""
    if isinstance(error, duckdb.OutOfMemoryException):
        advice = f"{more_memory(error)}."
    else:
        advice = (
            "Deliver the data again, or fix the expressions under `source` and `features`, then run the month again."
        )
    return SourceError(f"{source.path}: reading the {what} failed: {source.complaint(error)} {advice}")


def _unquoted(text: str) -> str:
    """What the expression is called if it is a column, in lower case."""
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"', text.strip())
    return as_named(quoted[1].replace('""', '"') if quoted else text.strip())


def mentions(expression: str, column: str) -> bool:
    """Whether an expression may name the column."""
    return re.search(rf"(?<!\w){re.escape(column)}(?!\w)", as_named(expression)) is not None


def _known_type(connection: duckdb.DuckDBPyConnection, source: Relation, key: str, expression: str) -> str:
    """The type of the expression, asked once of files that are what they were. One that reads a file of its own is
    asked again: that one may have changed."""
    known = _types.get((source.sql, expression))
    if known is not None and known[0] == source.stamps:
        return known[1]
    kind = _type_of(connection, source, key, expression)
    if source.stamps and not mentions(expression, "from"):
        _types[source.sql, expression] = source.stamps, kind
    return kind


_types: dict[tuple[str, str], tuple[Mapping[str, tuple[int, int]], str]] = {}
"""Relation and expression -> the stamps of its files, and the expression's type."""


def _type_of(connection: duckdb.DuckDBPyConnection, source: Relation, key: str, expression: str) -> str:
    for name in (name for name in source.incomplete if mentions(expression, name)):
        raise SourceError(
            f"{source.incomplete[name]}: column {name} is missing. {key} expects it, and other files of "
            f"{source.path} have it. Deliver that file again, then run the month again."
        )
    written = what_it_does_beside_reading(f"SELECT ({expression}\n)", names_tables=False)
    if written is not None:
        raise SourceError(
            f"{source.path}: {key} is {expression!r}; found {written}, expected an expression that reads the row, and "
            "at most files. Fix that key in the configuration."
        )
    # beside the row itself no aggregate of many rows can stand
    row = f"source.{identifier(next(iter(source.columns)))}"
    query = f"SELECT ({expression}\n) AS value, {row} AS row FROM {source.sql} AS source"
    try:
        one_statement = len(connection.extract_statements(query)) == 1
        found = connection.execute(f"DESCRIBE {query}").fetchall() if one_statement else []
    except (duckdb.Error, RefusedError) as error:
        quoting = " A column called like a word of SQL stands in double quotes."
        raise SourceError(
            f"{source.path}: {key} is {expression!r}; expected a column, or a SQL expression over the "
            f"columns {source.column_list}. Found: {reason(error)} Fix the source, or that key in the configuration."
            f"{quoting if isinstance(error, duckdb.ParserException) else ''}"
        ) from error
    if len(found) != 2:
        raise SourceError(
            f"{source.path}: {key} is {expression!r}; expected one SQL expression, found several. "
            f"Fix that key in the configuration."
        )
    return str(found[0][1])


def _expected_instead(key: str, kind: str) -> str | None:
    """What the key needs, None where the type will do."""
    if key in NUMBER_KEYS:
        return None if NUMERIC_TYPES.match(kind) and kind != "BOOLEAN" else "a number"
    if key in TIME_KEYS:
        return None if kind.startswith(("TIMESTAMP", "DATE")) else "a date or timestamp"
    if key == "where":
        return None if kind == "BOOLEAN" else "true or false (BOOLEAN)"
    return None


def _hint(key: str, expression: str, kind: str) -> str:
    counted = "in the configuration, and what cannot be read will be counted and rejected"
    if key in NUMBER_KEYS:
        return f"write TRY_CAST({expression} AS DOUBLE) {counted}"
    if key in TIME_KEYS and NUMERIC_TYPES.match(kind):
        return f"write to_timestamp({expression}) in the configuration if these are seconds since 1970"
    if key in TIME_KEYS:
        return (
            f"write TRY_CAST({expression} AS TIMESTAMP), or for dates such as 31/12/2024 "
            f"try_strptime({expression}, '%d/%m/%Y'), {counted}"
        )
    return "write a comparison in the configuration"
