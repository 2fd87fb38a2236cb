"""The next published file: made beside the one that stands, checked, then put in its place in one step.

It begins as a copy of that one, and the months are replaced that have been run since: a publication costs a month, and
not the history. Wherever it is in doubt that the others are what the warehouse has, all of them are written anew.
Whatever kills the writer, the published file is the last good one.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.values import followed
from segment_pipeline.customers.tables import FEATURE_LIMITS, VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.rows import insert_rows, read_rows
from segment_pipeline.database.store import STORAGE_VERSION, cannot_write, insert_query, month_literal, put_durably
from segment_pipeline.database.tables import Table
from segment_pipeline.months import month_key
from segment_pipeline.orchestration.tables import PIPELINE_RUNS
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES, VIEWS, dictionary_rows, published_views
from segment_pipeline.publishing.publish import (
    PublishError,
    beside,
    columns_in,
    columns_lack,
    current_database,
    is_as_published,
    is_somebody_elses,
    known_months,
    readable,
    reading,
    refuse_loss,
    stamp,
    write_ahead_log,
)
from segment_pipeline.publishing.score_sql import latest_scoring, macro_ddl
from segment_pipeline.publishing.tables import DATA_DICTIONARY, PUBLISHED_PARTS
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS
from segment_pipeline.sources.people.delivered import hashed
from segment_pipeline.sources.people.tables import FORMER_CUSTOMERS, PEOPLE_OPERATIONS

COPIED_TABLES = tuple(table for table in PUBLISHED_TABLES if table not in (DATA_DICTIONARY, PUBLISHED_PARTS))
"""Those whose rows the warehouse has: the others tell of the file itself."""

FREE_SHARE = 1 / 2
"""Where more of its blocks are free, a copy is not worth it: twice as long as what is in it."""


def write_beside(connection: duckdb.DuckDBPyConnection, published: Path, tiers: TierSettings) -> Path:
    """Bring the published tables of the warehouse into a new file beside `published`; returns its path, checked.

    With them go the views, and the macro that scores new customers as the latest month's were. A month whose run has
    not come to its end keeps the rows that consumers see now. Raises PublishError. After any
    error, close the connection: it still has the draft attached.
    """
    leftovers = beside(published, "*")
    for leftover in leftovers.parent.glob(leftovers.name):
        leftover.unlink()  # a killed run's; we hold the run lock, so nobody is writing it
    warehouse = identifier(current_database(connection))
    features = published_features(connection)
    # opened once for all that is asked of it: its catalogue takes longer to read than any answer
    with reading(published) if published.exists() else nullcontext():
        refuse_loss(published, connection)
        changed = changed_months(connection, published, features)
    known = known_months(connection, changed)
    unfinished = [month for month, finished in known.items() if not finished]
    draft = beside(published, "draft")
    try:
        if changed is not None:
            _copy_file(published, draft)
        connection.execute(f"ATTACH {literal(str(draft))} AS draft (STORAGE_VERSION {literal(STORAGE_VERSION)})")
        connection.execute("USE draft")
        if changed is None:
            counts = _write_all(connection, warehouse, published, unfinished, features)
        else:
            counts = _replace(connection, warehouse, sorted(changed.difference(unfinished)), features)
        _define(connection, tiers, features)
        written = stamp(connection)
        connection.execute(f"USE {warehouse}")
        connection.execute("DETACH draft")
        _check(draft, counts, [month for month, finished in known.items() if finished])
        os.utime(draft, (written, written))
    except BaseException:
        # or it would keep the disk full that it has filled: nothing could be written any more, not even why
        draft.unlink(missing_ok=True)
        write_ahead_log(draft).unlink(missing_ok=True)
        raise
    return draft


def _define(connection: duckdb.DuckDBPyConnection, tiers: TierSettings, features: Sequence[str]) -> None:
    """Make the views and the macro of a draft, as this version and its latest month have them."""
    with _at_once(connection):
        _run(connection, (statement for view in published_views(features) for statement in view.ddl()))
        scoring = latest_scoring(connection, tiers)
        if scoring is not None:
            _run(connection, macro_ddl(scoring))


def put_in_place(draft: Path, published: Path) -> None:
    """Make `draft` the published file, durably and in one step."""
    # Readers only: one program that opens the file for writing, as some BI tools do with every file, locks all the
    # others out of it.
    draft.chmod(draft.stat().st_mode & ~0o222)
    # Left by such a program when it crashed. It belongs to the old file, and the new one could not be opened beside it.
    write_ahead_log(published).unlink(missing_ok=True)
    put_durably(draft, followed(published))


def published_features(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The features that any month has segmented or described its customers by, as columns of validated_features."""
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = 'main' "
        f"AND table_name = ? AND lower(column_name) IN (SELECT lower(feature) FROM {FEATURE_LIMITS.name}) "
        "ORDER BY column_index",
        [VALIDATED_FEATURES.name],
    ).fetchall()
    return [row[0] for row in rows]


def changed_months(connection: duckdb.DuckDBPyConnection, published: Path, features: Sequence[str]) -> set[date] | None:
    """The months of which the warehouse and the published file do not have the same runs; None where the others need
    not be the same in both, or a copy of the file is of no use.

    Whatever a run writes of a month stands in pipeline_runs as soon as it stands anywhere, so that the same runs have
    left the same rows. `forget` and `merge` change rows besides, and whoever writes to the file itself changes its
    time. features : the columns of features that it is to have.
    """
    if not published.exists() or is_somebody_elses(published):
        return None
    with reading(published) as there:
        if columns_lack(there) or read_rows(there, f"FROM {DATA_DICTIONARY.name}") != dictionary_rows(features):
            return None  # another version has made it, or for other features
        months = {month for month, _ in _runs(there) ^ _runs(connection)}
        relied_on = (
            is_as_published(published)
            and not _people_have_changed(connection, stamp(there))
            and _free_share(there) <= FREE_SHARE
            and _rows_of_others(there, months) == _rows_of_others(connection, months)
        )
        return months if relied_on else None


def tell_parts(connection: duckdb.DuckDBPyConnection, months: Collection[date] | None = None) -> None:
    """Let `published_parts` say of these months what stands in the tables; None is all."""

    def chosen(table: Table) -> str:
        return "true" if months is None else _of_months(table, months)

    _delete(connection, PUBLISHED_PARTS, chosen(PUBLISHED_PARTS))
    parts = " UNION ALL ".join(parts_sql(table, chosen(table)) for table in COPIED_TABLES)
    insert_query(connection, PUBLISHED_PARTS, parts)


def parts_sql(table: Table, condition: str = "true") -> str:
    """A query with the rows of `published_parts` about those of a table."""
    month = identifier(table.month_column) if table.month_column in table.column_names else "NULL"
    return (
        f"SELECT {literal(table.name)} AS table_name, CAST({month} AS DATE) AS month, count(*) AS rows, "
        f"CAST(sum(hash(t)) AS VARCHAR) AS fingerprint FROM {identifier(table.name)} AS t WHERE {condition} GROUP BY 2"
    )


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file; where the file system lets files share their blocks, none is written. Raises WarehouseError."""
    try:
        with source.open("rb") as there, target.open("wb") as here:
            while os.copy_file_range(there.fileno(), here.fileno(), 2**30):
                pass
    except (AttributeError, OSError):  # not every system has it, and not for every disk
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise cannot_write(target, error) from error


def _runs(connection: duckdb.DuckDBPyConnection) -> set[tuple[date, Any]]:
    columns = ", ".join(name for name in PIPELINE_RUNS.column_names if name != "month")
    return set(connection.execute(f"SELECT month, ({columns}) FROM {PIPELINE_RUNS.name}").fetchall())


def _people_have_changed(connection: duckdb.DuckDBPyConnection, since: int) -> bool:
    """Whether somebody was forgotten or merged after that time, or is being so."""
    return (
        connection.execute(
            f'SELECT 1 FROM {PEOPLE_OPERATIONS.name} WHERE NOT finished OR epoch("at") >= ? LIMIT 1', [since]
        ).fetchone()
        is not None
    )


def _free_share(connection: duckdb.DuckDBPyConnection) -> float:
    """Of the blocks of a file, those in which nothing is."""
    found = connection.execute("SELECT free_blocks / total_blocks FROM pragma_database_size()").fetchone()
    return float(found[0]) if found else 0.0


def _rows_of_others(connection: duckdb.DuckDBPyConnection, months: Collection[date]) -> set[tuple[str, int]]:
    """How many rows each table has of other months than these: told by what DuckDB knows of its blocks, not counted."""
    counts = " UNION ALL ".join(
        f"SELECT {literal(table.name)}, (SELECT count(*) FROM {identifier(table.name)}) - "
        f"(SELECT count(*) FROM {identifier(table.name)} WHERE {_of_months(table, months)})"
        for table in COPIED_TABLES
    )
    return set(connection.execute(counts).fetchall())


def _of_months(table: Table, months: Collection[date]) -> str:
    """A condition that chooses the rows of these months."""
    listed = ", ".join(month_literal(month) for month in sorted(months))
    return f"{identifier(table.month_column)} IN ({listed})" if months else "false"


def _run(connection: duckdb.DuckDBPyConnection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement)


@contextmanager
def _at_once(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A transaction, which is faster than one for each statement; a draft that fails is not used."""
    connection.begin()
    yield
    connection.commit()


def _write_all(
    connection: duckdb.DuckDBPyConnection,
    warehouse: str,
    published: Path,
    unfinished: list[date],
    features: Sequence[str],
) -> dict[str, int]:
    """Fill an empty draft; returns the rows of each table. features : columns of those that have any."""
    counts = {}
    keep = bool(unfinished) and published.exists()
    with readable(published) if keep else nullcontext() as now:
        if now is not None:
            connection.execute(f"ATTACH {literal(str(now))} AS published (READ_ONLY)")
        with _at_once(connection):
            for table in PUBLISHED_TABLES:
                _run(connection, table.ddl(features))
            for table in COPIED_TABLES:
                kept = _of_months(table, unfinished)
                names = [column.name for column in table.with_features(features)]
                counts[table.name] = _copy(connection, warehouse, table, names, f"({kept}) IS NOT TRUE")
                if now is not None:
                    counts[table.name] += _keep(connection, warehouse, table, names, kept)
            tell_parts(connection)
            counts[DATA_DICTIONARY.name] = insert_rows(connection, DATA_DICTIONARY, dictionary_rows(features))
        if now is not None:
            connection.execute("DETACH published")
    return counts


def _replace(
    connection: duckdb.DuckDBPyConnection, warehouse: str, months: Sequence[date], features: Sequence[str]
) -> dict[str, int]:
    """Replace months in a draft that is a copy of the published file; returns the rows of each table."""
    counts = {}
    with _at_once(connection):
        for table in COPIED_TABLES:
            theirs = _of_months(table, months)
            names = [column.name for column in table.with_features(features)]
            (before,) = connection.execute(f"SELECT count(*) FROM {identifier(table.name)}").fetchone() or (0,)
            gone = _delete(connection, table, theirs)
            counts[table.name] = before - gone + _copy(connection, warehouse, table, names, theirs)
        tell_parts(connection, months)
    return counts


def _delete(connection: duckdb.DuckDBPyConnection, table: Table, condition: str) -> int:
    deleted = connection.execute(f"DELETE FROM {identifier(table.name)} WHERE {condition}").fetchone()
    return int(deleted[0]) if deleted else 0


def _keep(
    connection: duckdb.DuckDBPyConnection, warehouse: str, table: Table, names: Sequence[str], condition: str
) -> int:
    """Copy rows from the published file, as `_copy` does: an older one may lack columns, and have rows of those who
    are nobody now."""
    there = columns_in(connection, "published.main", table.name)
    common = [name for name in names if name in there]
    if "customer_id" in common:
        former = f"{warehouse}.main.{FORMER_CUSTOMERS.name}"
        condition += f" AND coalesce({hashed('customer_id', former)} NOT IN (SELECT id_hash FROM {former}), true)"
    return _copy(connection, "published", table, common, condition) if common else 0


def _copy(
    connection: duckdb.DuckDBPyConnection, database: str, table: Table, names: Sequence[str], condition: str
) -> int:
    """Copy these columns of the rows of `table` that meet the condition; returns how many."""
    listed = ", ".join(identifier(name) for name in names)
    key = ", ".join(identifier(name) for name in table.key)
    copied = connection.execute(
        f"INSERT INTO {identifier(table.name)} ({listed}) "
        f"SELECT {listed} FROM {database}.main.{identifier(table.name)} WHERE {condition} ORDER BY {key}"
    ).fetchone()
    return int(copied[0]) if copied else 0


def _check(draft: Path, counts: dict[str, int], months: Collection[date]) -> None:
    """Open the file as a consumer would, and compare what stands in it with what was meant to. months : the new ones
    among its months."""
    if write_ahead_log(draft).exists():
        raise PublishError(f"{draft} was not written out to its end; nothing was published. Run again.")
    with duckdb.connect(str(draft), read_only=True) as connection:
        for name, expected in counts.items():
            found = connection.execute(f"SELECT count(*) FROM {identifier(name)}").fetchone()
            rows = found[0] if found else 0
            if rows != expected:
                raise PublishError(
                    f"{draft}: {name} holds {rows} rows, not {expected}; nothing was published. Run again."
                )
        for view in VIEWS:
            connection.execute(f"SELECT * FROM {identifier(view.name)} LIMIT 0")
        twice = connection.execute(
            f"SELECT month, customer_id FROM {MONTHLY_ASSIGNMENTS.name} "
            f"WHERE {_of_months(MONTHLY_ASSIGNMENTS, months)} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        if twice is not None:
            raise PublishError(
                f"A customer stands twice in {month_key(twice[0])}; nothing was published. Run that month again with "
                f"--force."
            )
