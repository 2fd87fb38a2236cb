"""The consumers' file: written beside, checked, then put in place in one step.

A consumer that holds the old file open keeps reading it; one that opens the new file sees whole months only. Whatever
kills the writer, the published file is the last good one.
"""

import os
from datetime import date
from pathlib import Path

import duckdb

from segment_pipeline.errors import PipelineError
from segment_pipeline.warehouse.quoting import identifier, literal
from segment_pipeline.warehouse.store import STORAGE_VERSION, month_literal
from segment_pipeline.warehouse.tables import (
    DATA_DICTIONARY,
    MONTHLY_ASSIGNMENTS,
    PIPELINE_RUNS,
    PUBLISHED_TABLES,
    VIEWS,
    Table,
    dictionary_rows,
)

# A month stands in the published file once this asset has a row for it in pipeline_runs.
PUBLISHING_ASSET = "published_segments"


class PublishError(PipelineError):
    """The new file did not pass its checks; the published one is as it was."""


def published_months(published: Path) -> set[date]:
    """The months that consumers can see; empty when there is no published file yet. Raises PublishError."""
    if not published.exists():
        return set()
    try:
        with duckdb.connect(str(published), read_only=True) as connection:
            rows = connection.execute(
                f"SELECT DISTINCT month FROM {PIPELINE_RUNS.name} WHERE asset = {literal(PUBLISHING_ASSET)}"
            ).fetchall()
    except duckdb.Error as error:
        raise PublishError(
            f"{published} cannot be read ({str(error).splitlines()[0]}). It is made from the warehouse: "
            f"move it away and run again, and it will be published anew."
        ) from error
    return {row[0] for row in rows}


def write_beside(connection: duckdb.DuckDBPyConnection, published: Path) -> Path:
    """Copy the published tables of the warehouse into a new file beside `published`; returns its path, checked.

    A month whose run has not come to its end (it failed, or only some of its assets were materialized) keeps the rows
    that consumers see now. Raises PublishError.
    """
    published.parent.mkdir(parents=True, exist_ok=True)
    for leftover in published.parent.glob(f".{published.name}.*"):
        leftover.unlink()  # a killed run's; we hold the run lock, so nobody is writing it
    draft = published.with_name(f".{published.name}.{os.getpid()}")
    warehouse = identifier(_current_database(connection))
    connection.execute(f"ATTACH {literal(str(draft))} AS draft (STORAGE_VERSION {literal(STORAGE_VERSION)})")
    try:
        connection.execute("USE draft")
        for table in PUBLISHED_TABLES:
            for statement in table.ddl():
                connection.execute(statement)
        counts = _copy(connection, warehouse, published)
        for view in VIEWS:
            for statement in view.ddl():
                connection.execute(statement)
    finally:
        connection.execute(f"USE {warehouse}")
        connection.execute("DETACH draft")
    _check(draft, counts)
    return draft


def put_in_place(draft: Path, published: Path) -> None:
    """Make `draft` the published file, durably and in one step."""
    _sync(draft)
    os.replace(draft, published)
    _sync(published.parent)


def _current_database(connection: duckdb.DuckDBPyConnection) -> str:
    found = connection.execute("SELECT current_database()").fetchone()
    return str(found[0]) if found else "warehouse"


def _copy(connection: duckdb.DuckDBPyConnection, warehouse: str, published: Path) -> dict[str, int]:
    unfinished = _unfinished_months(connection, warehouse)
    keep = bool(unfinished) and published.exists()
    if keep:
        connection.execute(f"ATTACH {literal(str(published))} AS published (READ_ONLY)")
    connection.begin()
    counts = {}
    for table in PUBLISHED_TABLES:
        if table is DATA_DICTIONARY:
            connection.executemany(
                f"INSERT INTO {identifier(table.name)} VALUES (?, ?, ?, ?, ?)",
                [[row[name] for name in table.column_names] for row in dictionary_rows()],
            )
            counts[table.name] = len(dictionary_rows())
            continue
        counts[table.name] = _copy_months(connection, f"{warehouse}.main", table, "NOT IN", unfinished)
        if keep:
            counts[table.name] += _copy_months(connection, "published.main", table, "IN", unfinished)
    connection.commit()
    if keep:
        connection.execute("DETACH published")
    return counts


def _unfinished_months(connection: duckdb.DuckDBPyConnection, warehouse: str) -> list[date]:
    """Months in which something was written after the last time that they were published, or never published."""
    of_publishing = f"max(finished_at) FILTER (asset = {literal(PUBLISHING_ASSET)})"
    rows = connection.execute(
        f"SELECT month FROM {warehouse}.main.{PIPELINE_RUNS.name} GROUP BY month "
        f"HAVING {of_publishing} IS NULL OR max(finished_at) > {of_publishing} ORDER BY month"
    ).fetchall()
    return [row[0] for row in rows]


def _copy_months(
    connection: duckdb.DuckDBPyConnection, source: str, table: Table, membership: str, months: list[date]
) -> int:
    """Copy the rows of `table` whose month is IN, or NOT IN, `months`. By name: an older file may lack columns."""
    columns = [name for name in table.column_names if name in _columns(connection, source, table.name)]
    if not columns:
        return 0
    listed = ", ".join(identifier(name) for name in columns)
    key = ", ".join(identifier(name) for name in table.key)
    chosen = ", ".join(month_literal(month) for month in months)
    condition = f"{identifier(table.month_column)} {membership} ({chosen})" if months else "true"
    copied = connection.execute(
        f"INSERT INTO {identifier(table.name)} ({listed}) "
        f"SELECT {listed} FROM {source}.{identifier(table.name)} WHERE {condition} ORDER BY {key}"
    ).fetchone()
    return int(copied[0]) if copied else 0


def _columns(connection: duckdb.DuckDBPyConnection, source: str, table: str) -> set[str]:
    database, schema = source.split(".")
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [database.strip('"'), schema, table],
    ).fetchall()
    return {row[0] for row in rows}


def _check(draft: Path, counts: dict[str, int]) -> None:
    """Open the file as a consumer would, and compare what stands in it with what was meant to."""
    with duckdb.connect(str(draft), read_only=True) as connection:
        for name, expected in counts.items():
            found = connection.execute(f"SELECT count(*) FROM {identifier(name)}").fetchone()
            if found is None or found[0] != expected:
                raise PublishError(f"{draft}: {name} holds {found} rows instead of {expected}; nothing was published.")
        for view in VIEWS:
            connection.execute(f"SELECT * FROM {identifier(view.name)} LIMIT 1").fetchall()
        twice = connection.execute(
            f"SELECT month, customer_id FROM {MONTHLY_ASSIGNMENTS.name} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        if twice is not None:
            raise PublishError(
                f"customer {twice[1]} stands twice in {twice[0]}; nothing was published. Run that month again "
                f"with --force."
            )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
