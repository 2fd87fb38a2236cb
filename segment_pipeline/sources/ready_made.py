"""Ready-made customers: one row each in a file per month, or in what the user's own SQL returns.

Here: rows with the configured columns as features, whatever their values. Not here: features made of order lines.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.source import QuerySource, SnapshotsSource, resolve_source_path
from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.database.store import SPILL, in_memory, reason
from segment_pipeline.database.user_sql import what_it_does_beside_reading
from segment_pipeline.errors import SourceError
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline.sources.expressions import (
    NUMERIC_TYPES,
    columns_of_ids_alone,
    reading_failed,
    text_id,
    with_columns,
)
from segment_pipeline.sources.files import Form, Relation, describe, local_files, open_files
from segment_pipeline.sources.people.delivered import Delivered, delivered
from segment_pipeline.sources.reconciliation import Part, account_for_rows, parts_of_rows

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def ready_made_rows(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, text_columns: Collection[str] = ()
) -> Iterator[tuple[Relation, str]]:
    """The rows of a source of ready-made customers, with all their columns, and which column holds the customer.

    text_columns : columns, in lower case, that a CSV's reader takes as they stand. Raises SourceError.
    """
    with chdir(config.path.parent):
        yield open_ready_made(connection, config, month, text_columns)
        connection.execute("DROP TABLE IF EXISTS source_rows")


def open_ready_made(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, text_columns: Collection[str] = ()
) -> tuple[Relation, str]:
    """As `ready_made_rows`; the result of the user's SQL stays as the temporary table `source_rows`."""
    source = config.source
    if source.snapshots is not None:
        return _open_snapshot(connection, config, source.snapshots, month, text_columns), source.snapshots.customer_id
    if source.query is not None:
        return _run_query(connection, config, source.query, month), source.query.customer_id
    raise AssertionError("order lines are no ready-made customers")


def _open_snapshot(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    snapshots: SnapshotsSource,
    month: date,
    text_columns: Collection[str],
) -> Relation:
    """The month's file, with the columns that the user has made of its own. Raises SourceError."""
    rows = open_files(
        connection,
        _path_of(snapshots, config, month),
        {as_named(snapshots.customer_id), *text_columns, *columns_of_ids_alone(snapshots.columns, ())},
        form=Form(snapshots.as_text, snapshots.separator),
    )
    day = f"DATE {literal(as_of(month).isoformat())}"
    return with_columns(connection, rows, "source.snapshots", snapshots.columns, as_of=day)


def lies_here(snapshots: SnapshotsSource, config: Config, month: date) -> bool:
    """Whether the month's file of ready-made customers is on this machine."""
    path = _path_of(snapshots, config, month)
    return "://" not in path and bool(local_files(path))


def read_ready_made(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> tuple[list[Part], int]:
    """Fill `source_customers` with the month's ready-made customers, and `source_accounts` with what counts of them;
    returns what became of the rows, and how many of the ids are forgotten. Raises SourceError."""
    with ready_made_rows(connection, config, month) as (source, customer_id):
        refuse_unfit_columns(source, customer_id, config.feature_names)
        identity = text_id(identifier(customer_id), source.columns[as_named(customer_id)])
        people = delivered(connection, source, identity, "rows", row_each=True)
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE source_customers AS {_ready_made_features(people, config.feature_names)}"
            )
            account_for_rows(connection, config)
            parts = parts_of_rows(connection, config, people)
        except duckdb.Error as error:
            source.refuse_changed()
            raise reading_failed(source, "customers", error) from error
        source.refuse_changed()
    if not parts:
        raise SourceError(f"{source.path} holds no customers. Deliver the data, then run the month again.")
    return parts, people.forgotten


def _path_of(snapshots: SnapshotsSource, config: Config, month: date) -> str:
    return resolve_source_path(snapshots.path.replace("{month}", month_key(month)), config.path.parent)


def _run_query(connection: duckdb.DuckDBPyConnection, config: Config, source: QuerySource, month: date) -> Relation:
    """The result of the user's SQL as the temporary table `source_rows`."""
    file = config.path.parent / source.file
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(
            f"{file} cannot be read: {error.strerror}. Fix source.query.file in the configuration."
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} cannot be read: it is not UTF-8 text. Save it as UTF-8.") from error
    window_start = add_months(as_of(month), -config.source.window_months)
    dates = {"as_of": as_of(month), "month_start": month, "window_start": window_start}
    run = _rows_of_engine if source.runs_on == "engine" else _rows_of_duckdb
    with run(config, file, text, dates) as rows:
        connection.complete()  # a fetchone before leaves its statement open
        connection.register("rows_of_query", rows)
        connection.execute("CREATE OR REPLACE TEMP TABLE source_rows AS FROM rows_of_query")
        connection.unregister("rows_of_query")
    columns = {as_named(name): kind for name, kind in describe(connection, "source_rows")}
    return Relation("source_rows", str(file), columns)


@contextmanager
def _rows_of_duckdb(
    config: Config, file: Path, text: str, dates: Mapping[str, date]
) -> Iterator["pa.RecordBatchReader"]:
    with _query_connection(config) as alone:
        used = _dates_used(alone, text, str(file))
        try:
            alone.execute(f"CREATE TABLE found AS {text}", {name: dates[as_named(name)] for name in used})
        except duckdb.Error as error:
            raise SourceError(
                f"{file}{_line(error)} fails: {reason(error)} Fix the SQL, or the data it reads."
            ) from error
        yield alone.sql("FROM found").to_arrow_reader()


@contextmanager
def _rows_of_engine(config: Config, file: Path, text: str, dates: Mapping[str, date]) -> Iterator["pa.Table"]:
    """The user's SQL is the server's own there, and is sent as it is written. Raises EngineError as well."""
    from segment_pipeline.database.engines.engine import engine_of
    from segment_pipeline.database.engines.spark import ForeignSqlError
    from segment_pipeline.database.engines.spark_sql import reading_query

    engine = engine_of(config)
    assert engine is not None  # noqa: S101 - for mypy: such a configuration is refused
    try:
        query = reading_query(text, dates)
    except ForeignSqlError as error:
        raise SourceError(f"{file}: {error} Fix the SQL.") from error
    yield engine.fetch(query)


def _query_connection(config: Config) -> duckdb.DuckDBPyConnection:
    """Where the user's SQL runs: a database of its own, with no table of the pipeline's in reach."""
    settings: dict[str, str | int] = {"memory_limit": config.operation.memory_limit}
    if config.operation.threads is not None:
        settings["threads"] = config.operation.threads
    return in_memory(**settings, temp_directory=str(config.output_dir / SPILL), arrow_lossless_conversion=True)


def _dates_used(connection: duckdb.DuckDBPyConnection, text: str, path: str) -> set[str]:
    """Which of our dates the user's SQL names; SourceError when it is not one query, or asks for something else."""
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise SourceError(f"{path}{_line(error)} is not SQL: {reason(error)} Fix the SQL.") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "no statement"
        raise SourceError(
            f"{path}: found {kinds}; expected one query (SELECT or WITH ... SELECT) that returns a customer and its "
            f"features. Fix the SQL."
        )
    written = what_it_does_beside_reading(text)
    if written is not None:
        raise SourceError(f"{path}: found {written}; expected a query that only reads. Fix the SQL.")
    names = set(statements[0].named_parameters)
    unknown = sorted(name for name in names if as_named(name) not in ("as_of", "month_start", "window_start"))
    if unknown:
        raise SourceError(
            f"{path}: found the parameter {', '.join('$' + name for name in unknown)}; expected $as_of, $month_start "
            f"or $window_start. Fix the SQL."
        )
    return names


def _line(error: duckdb.Error) -> str:
    found = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    return f":{found[1]}" if found else ""


def refuse_unfit_columns(source: Relation, customer_id: str, feature_names: Sequence[str]) -> None:
    expected = (customer_id, *feature_names)
    missing = [name for name in expected if as_named(name) not in source.columns]
    if missing:
        raise SourceError(
            f"{source.path}: column {', '.join(missing)} is missing. Expected {', '.join(expected)}; "
            f"found {source.column_list}. Fix the source, or the names in the configuration."
        )
    for name in expected:
        if as_named(name) in source.incomplete:
            raise SourceError(
                f"{source.incomplete[as_named(name)]}: column {name} is missing; other files of {source.path} have it. "
                f"Deliver that file again, then run the month again."
            )
    for name in feature_names:
        found = source.columns[as_named(name)]
        if not (NUMERIC_TYPES.match(found) or found == "VARCHAR"):
            raise SourceError(
                f"{source.path}: column {name}: found {found}; expected a number. "
                f"Make it a number in the source (for a date: the days since it), then run again."
            )


def _ready_made_features(people: Delivered, feature_names: Sequence[str]) -> str:
    """One row per source row: the features as numbers where they read as numbers, their text where they do not."""
    numbers = ", ".join(f"TRY_CAST({identifier(name)} AS DOUBLE) AS {identifier(name)}" for name in feature_names)
    unreadable = ", ".join(
        f"CASE WHEN TRY_CAST({identifier(name)} AS DOUBLE) IS NULL AND {identifier(name)} IS NOT NULL "
        f"THEN {{'key': {literal(name)}, 'value': CAST({identifier(name)} AS VARCHAR)}} END"
        for name in feature_names
    )
    identity = people.customer_id
    return f"""
        SELECT {identity} AS customer_id, CAST(NULL AS DATE) AS first_seen,
            CASE WHEN {identity} IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY {identity}) END AS copies,
            CAST(0 AS BIGINT) AS unreadable_amounts, CAST(0 AS BIGINT) AS missing_order_ids,
            map_from_entries(list_filter([{unreadable}], lambda entry: entry IS NOT NULL)) AS unreadable_values,
            {numbers}
        FROM {people.rows()}
        ORDER BY ALL
    """
