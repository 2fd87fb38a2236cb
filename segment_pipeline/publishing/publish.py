"""The consumers' file: written beside, checked, then put in place in one step.

A consumer that holds the old file open keeps reading it; one that opens the new file sees whole months only. Whatever
kills the writer, the published file is the last good one.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date, datetime
from pathlib import Path

import duckdb

from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.values import followed
from segment_pipeline.customers.tables import FEATURE_LIMITS, VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.rows import insert_rows
from segment_pipeline.database.store import (
    STORAGE_VERSION,
    Warehouse,
    first_line,
    lock_holder,
    month_literal,
    put_durably,
)
from segment_pipeline.database.tables import Table
from segment_pipeline.errors import PipelineError
from segment_pipeline.months import month_key
from segment_pipeline.orchestration.tables import PIPELINE_RUNS
from segment_pipeline.publishing.agreement import disagreements
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES, VIEWS, dictionary_rows, published_views
from segment_pipeline.publishing.passing_over import PASSED_OVER
from segment_pipeline.publishing.score_sql import latest_scoring, macro_ddl
from segment_pipeline.publishing.tables import DATA_DICTIONARY
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS
from segment_pipeline.sources.people.delivered import hashed
from segment_pipeline.sources.people.tables import FORMER_CUSTOMERS

# A month stands in the published file once this asset has a row for it in pipeline_runs.
PUBLISHING_ASSET = "published_segments"


class PublishError(PipelineError):
    """The new file did not pass its checks; the published one is as it was."""


@contextmanager
def reading(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the published file, for reading. Raises PublishError when it cannot be read."""
    try:
        with _readable(published) as path, duckdb.connect(str(path), read_only=True) as connection:
            yield connection
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise PublishError(
            f"{published} cannot be read ({first_line(error)}): another version of segment_pipeline made it, or "
            f"another program. Publish its latest month again (segment-pipeline run --months YYYY-MM --force); if it "
            f"is not ours, move it away and run again."
        ) from error
    except duckdb.Error as error:
        raise PublishError(
            f"{published} cannot be read ({first_line(error)}). It is a copy of what the warehouse holds: "
            f"move it away and run again, and it is published again."
        ) from error


def published_months(published: Path) -> dict[date, datetime]:
    """The months that consumers can see, and when each was published last; empty when there is no file yet.

    Raises PublishError.
    """
    if not published.exists():
        return {}
    with reading(published) as connection:
        return publications(connection)


def lacks_columns(published: Path) -> bool:
    """Whether an older version has made the published file: a table, or a column, is not there yet."""
    if not published.exists():
        return False
    with reading(published) as connection:
        main = f"{_current_database(connection)}.main"
        return any(not set(table.column_names) <= _columns(connection, main, table.name) for table in PUBLISHED_TABLES)


def publications(connection: duckdb.DuckDBPyConnection) -> dict[date, datetime]:
    """When each month was published last, as the warehouse, or the published file, has it.

    A run that is killed between the two leaves the warehouse ahead of the file.
    """
    rows = connection.execute(
        f"SELECT month, arg_max(finished_at, {_order(connection)}) FROM {PIPELINE_RUNS.name} "
        f"WHERE asset = {literal(PUBLISHING_ASSET)} GROUP BY month"
    ).fetchall()
    return dict(rows)


def _order(connection: duckdb.DuckDBPyConnection) -> str:
    """By what the rows of pipeline_runs follow one another, as SQL: the clock may have been wrong. Rows of a published
    file that an older version has made, or that were taken over from one, have nothing else."""
    clock, database = "epoch_us(finished_at)", _current_database(connection)
    has_sequence = "sequence" in _columns(connection, f"{database}.main", PIPELINE_RUNS.name)
    return f"coalesce(sequence, {clock})" if has_sequence else clock


def months_of_other_settings(published: Path, config_hash: str) -> list[date]:
    """Published months that were made with another configuration than this one, oldest first."""
    if not published.exists():
        return []
    with reading(published) as connection:
        # publishing only copies: it says nothing of the settings with which a month was made
        rows = connection.execute(
            f"SELECT month FROM {PIPELINE_RUNS.name} WHERE asset <> {literal(PUBLISHING_ASSET)} "
            f"GROUP BY month HAVING arg_max(config_hash, {_order(connection)}) <> ? ORDER BY month",
            [config_hash],
        ).fetchall()
    return [row[0] for row in rows]


def month_fingerprints(published: Path, months: Collection[date]) -> dict[date, int]:
    """A number for each of these published months that changes when any assignment of the month does."""
    if not months:
        return {}
    listed = ", ".join(month_literal(month) for month in months)
    with reading(published) as connection:
        rows = connection.execute(
            f"SELECT month, bit_xor(hash(a)) FROM {MONTHLY_ASSIGNMENTS.name} AS a WHERE month IN ({listed}) GROUP BY 1"
        ).fetchall()
    return dict(rows)


def known_months(connection: duckdb.DuckDBPyConnection) -> dict[date, bool]:
    """Every month of which the warehouse has anything, and whether its run came to its end.

    It did when nothing was written after the last time that it was published, or passed over, and its tables tell of
    the same customers; a run that failed or was killed, or some assets materialized by hand, leave one that did not.
    """
    ends = ", ".join(map(literal, (PUBLISHING_ASSET, PASSED_OVER)))
    published = f"max(sequence) FILTER (asset IN ({ends}))"
    rows = connection.execute(
        f"SELECT month, coalesce(max(sequence) <= {published}, false) "
        f"FROM {PIPELINE_RUNS.name} GROUP BY month ORDER BY month"
    ).fetchall()
    torn = disagreements(connection)
    return {month: whole and month not in torn for month, whole in rows}


def refuse_torn(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Raise PublishError if the tables of the month are of several runs."""
    said = disagreements(connection).get(month)
    if said is not None:
        raise PublishError(
            f"The tables of {month_key(month)} are not of one run, and nothing was published: {said}. "
            f"Run the whole month again: segment-pipeline run --months {month_key(month)} --force"
        )


def lost_months(published: Path, connection: duckdb.DuckDBPyConnection) -> list[date]:
    """The months that the published file has from runs of which the warehouse knows nothing: it is newer than a backup
    that was put in the warehouse's place, or another's. Oldest first."""
    if not published.exists():
        return []
    with reading(published) as there:
        found = there.execute(
            f"SELECT month, run_id FROM {PIPELINE_RUNS.name} WHERE asset = {literal(PUBLISHING_ASSET)}"
        ).fetchall()
    ours = {row[0] for row in connection.execute(f"SELECT DISTINCT run_id FROM {PIPELINE_RUNS.name}").fetchall()}
    return sorted({month for month, run_id in found if run_id not in ours})


def refuse_loss(published: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Raise PublishError if the published file has months as this warehouse has not published them: a new one would
    take them from its readers."""
    lost = lost_months(published, connection)
    if lost:
        first, last = month_key(lost[0]), month_key(lost[-1])
        span = first if first == last else f"{first}..{last}"
        raise PublishError(
            f"{published} has {span} as runs have published them of which warehouse.duckdb knows nothing; publishing "
            f"would take them from its readers. Put the warehouse that has made them in its place. Or let this one "
            f"overwrite them: segment-pipeline run --accept-loss {span}; {published.name} is then kept under another "
            "name."
        )


def accept_loss_of(published: Path, connection: duckdb.DuckDBPyConnection, accepted: Collection[date]) -> None:
    """Keep the published file under another name where all months that would be lost are accepted."""
    lost = lost_months(published, connection) if accepted else []
    if lost and set(lost) <= set(accepted):
        number = 1
        while (kept := published.with_name(f"{published.stem}.kept_{number}{published.suffix}")).exists():
            number += 1
        os.replace(published, kept)


def write_beside(connection: duckdb.DuckDBPyConnection, published: Path, tiers: TierSettings) -> Path:
    """Copy the published tables of the warehouse into a new file beside `published`; returns its path, checked.

    With them go the views, and the macro that scores new customers as the latest month's were. A month whose run has
    not come to its end keeps the rows that consumers see now. Raises PublishError. After any
    error, close the connection: it still has the draft attached.
    """
    beside = _beside(published, "*")
    for leftover in beside.parent.glob(beside.name):
        leftover.unlink()  # a killed run's; we hold the run lock, so nobody is writing it
    known = known_months(connection)
    refuse_loss(published, connection)
    draft = _beside(published, "draft")
    warehouse = identifier(_current_database(connection))
    connection.execute(f"ATTACH {literal(str(draft))} AS draft (STORAGE_VERSION {literal(STORAGE_VERSION)})")
    connection.execute("USE draft")
    features = _features(connection, warehouse)
    for table in PUBLISHED_TABLES:
        for statement in table.ddl(features):
            connection.execute(statement)
    unfinished = [month for month, finished in known.items() if not finished]
    counts = _copy(connection, warehouse, published, unfinished, features)
    for view in published_views(features):
        for statement in view.ddl():
            connection.execute(statement)
    scoring = latest_scoring(connection, tiers)
    if scoring is not None:
        for statement in macro_ddl(scoring):
            connection.execute(statement)
    connection.execute(f"USE {warehouse}")
    connection.execute("DETACH draft")
    _check(draft, counts)
    return draft


def put_in_place(draft: Path, published: Path) -> None:
    """Make `draft` the published file, durably and in one step."""
    # Readers only: one program that opens the file for writing, as some BI tools do with every file, locks all the
    # others out of it.
    draft.chmod(draft.stat().st_mode & ~0o222)
    # Left by such a program when it crashed. It belongs to the old file, and the new one could not be opened beside it.
    _write_ahead_log(published).unlink(missing_ok=True)
    put_durably(draft, followed(published))


def show_in_catalogue(warehouse: Warehouse, *, unfinished: bool = False) -> None:
    """Where the customers live in another engine, let the readers of its catalogue see what the published file says:
    the months whose runs have come to their end. unfinished : the others as well, whose rows somebody has left."""
    if warehouse.engine is not None:
        with warehouse.connect() as connection:
            known = known_months(connection)
            warehouse.engine.publish(connection, [month for month, whole in known.items() if whole or unfinished])


@contextmanager
def _readable(published: Path) -> Iterator[Path]:
    """Where the published file can be read, whoever has it open.

    A program that opened it for writing bars every other process from it, and may have left a log of its own changes.
    A copy of the file itself then stands in: a run does not wait for a consumer.
    """
    if not _write_ahead_log(published).exists() and not _held_for_writing(published):
        yield published
        return
    copy = _beside(published, f"copy.{os.getpid()}")  # an export may read while a run does
    shutil.copyfile(published, copy)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)  # the run that is publishing takes it for a killed run's


def _held_for_writing(published: Path) -> bool:
    try:
        duckdb.connect(str(published), read_only=True).close()
    except duckdb.IOException as error:
        if lock_holder(str(error)) is None:
            raise
        return True
    return False


def _beside(published: Path, purpose: str) -> Path:
    file = followed(published)  # on the disk on which it lies, so that it can be replaced in one step
    return file.with_name(f".{file.name}.{purpose}")


def _write_ahead_log(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _current_database(connection: duckdb.DuckDBPyConnection) -> str:
    found = connection.execute("SELECT current_database()").fetchone()
    return str(found[0]) if found else "warehouse"


def _copy(
    connection: duckdb.DuckDBPyConnection,
    warehouse: str,
    published: Path,
    unfinished: list[date],
    features: Sequence[str],
) -> dict[str, int]:
    """Fill the draft in one transaction; returns the rows of each table. features : columns of those that have any."""
    counts = {}
    keep = bool(unfinished) and published.exists()
    with _readable(published) if keep else nullcontext() as now:
        if now is not None:
            connection.execute(f"ATTACH {literal(str(now))} AS published (READ_ONLY)")
        connection.begin()
        for table in PUBLISHED_TABLES:
            if table is DATA_DICTIONARY:
                continue
            names = [*table.column_names, *(features if table.features else ())]
            counts[table.name] = _copy_months(connection, f"{warehouse}.main", table, names, "NOT IN", unfinished)
            if now is not None:
                counts[table.name] += _copy_months(
                    connection, "published.main", table, names, "IN", unfinished, f"{warehouse}.main"
                )
        counts[DATA_DICTIONARY.name] = insert_rows(connection, DATA_DICTIONARY, dictionary_rows(features))
        connection.commit()
        if now is not None:
            connection.execute("DETACH published")
    return counts


def _copy_months(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    table: Table,
    names: Sequence[str],
    membership: str,
    months: list[date],
    former_in: str | None = None,
) -> int:
    """Copy the columns `names` of the rows of `table` whose month is IN, or NOT IN, `months`; an older file may lack
    some.
    former_in : the schema that knows the ids that are nobody's now, where the source may still have rows of theirs."""
    there = _columns(connection, source, table.name)
    columns = [name for name in names if name in there]
    if not columns:
        return 0
    listed = ", ".join(identifier(name) for name in columns)
    key = ", ".join(identifier(name) for name in table.key)
    chosen = ", ".join(month_literal(month) for month in months)
    condition = f"{identifier(table.month_column)} {membership} ({chosen})" if months else "true"
    if former_in is not None and "customer_id" in columns:
        former = f"{former_in}.{FORMER_CUSTOMERS.name}"
        condition += f" AND coalesce({hashed('customer_id', former)} NOT IN (SELECT id_hash FROM {former}), true)"
    copied = connection.execute(
        f"INSERT INTO {identifier(table.name)} ({listed}) "
        f"SELECT {listed} FROM {source}.{identifier(table.name)} WHERE {condition} ORDER BY {key}"
    ).fetchone()
    return int(copied[0]) if copied else 0


def _features(connection: duckdb.DuckDBPyConnection, warehouse: str) -> list[str]:
    """The features that any month has segmented or described its customers by, as columns of validated_features."""
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = 'main' AND table_name = ? "
        f"AND lower(column_name) IN (SELECT lower(feature) FROM {warehouse}.main.{FEATURE_LIMITS.name}) "
        "ORDER BY column_index",
        [warehouse.strip('"'), VALIDATED_FEATURES.name],
    ).fetchall()
    return [row[0] for row in rows]


def _columns(connection: duckdb.DuckDBPyConnection, source: str, table: str) -> set[str]:
    database, schema = source.split(".")
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [database.strip('"'), schema, table],
    ).fetchall()
    return {row[0] for row in rows}


def _check(draft: Path, counts: dict[str, int]) -> None:
    """Open the file as a consumer would, and compare what stands in it with what was meant to."""
    if _write_ahead_log(draft).exists():
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
            connection.execute(f"SELECT * FROM {identifier(view.name)} LIMIT 1").fetchall()
        twice = connection.execute(
            f"SELECT month, customer_id FROM {MONTHLY_ASSIGNMENTS.name} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        if twice is not None:
            raise PublishError(
                f"A customer stands twice in {month_key(twice[0])}; nothing was published. Run that month again with "
                f"--force."
            )
