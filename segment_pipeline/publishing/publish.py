"""The consumers' file, read: which of its months are those of the warehouse, and which are not.

A consumer that holds the old file open keeps reading it; one that opens the new file sees whole months only.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import duckdb

from segment_pipeline.config.values import followed
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import Warehouse, first_line, lock_holder, month_literal, more_memory
from segment_pipeline.errors import PipelineError
from segment_pipeline.months import month_key
from segment_pipeline.orchestration.tables import PIPELINE_RUNS
from segment_pipeline.publishing.agreement import disagreements
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES
from segment_pipeline.publishing.passing_over import PASSED_OVER
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS
from segment_pipeline.sources.people.tables import REMOVED_ROWS

# A month stands in the published file once this asset has a row for it in pipeline_runs.
PUBLISHING_ASSET = "published_segments"


class PublishError(PipelineError):
    """The new file did not pass its checks; the published one is as it was."""


@contextmanager
def reading(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the published file, for reading. Raises PublishError when it cannot be read."""
    try:
        with _connection_to(published) as connection:
            yield connection
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise PublishError(
            f"{published} cannot be read ({first_line(error)}): another version of segment_pipeline made it, or "
            f"another program. Publish its latest month again (segment-pipeline run --months YYYY-MM --force); if it "
            f"is not ours, move it away and run again."
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise PublishError(
            f"{published} is as it was, and there was too little memory to read it ({first_line(error)}). "
            f"{more_memory(error)}, and run again."
        ) from error
    except duckdb.Error as error:
        raise PublishError(
            f"{published} cannot be read ({first_line(error)}). It is a copy of what the warehouse holds: "
            f"move it away and run again, and it is published again."
        ) from error


@contextmanager
def _connection_to(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    here = _opened(published)
    if here is not None:
        with here as connection:
            yield connection
        return
    with readable(published) as path, duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def published_months(published: Path) -> dict[date, datetime]:
    """The months that consumers can see, and when each was published last; empty when there is no file yet.

    Raises PublishError.
    """
    if not published.exists():
        return {}
    with reading(published) as connection:
        return publications(connection)


def is_as_published(published: Path) -> bool:
    """Whether nobody has written to the published file since: it has the time that it was given, and no log of changes
    lies beside it. Whoever puts that time back on purpose is not found: that would take reading all of it."""
    if write_ahead_log(published).exists():
        return False
    with reading(published) as connection:
        return int(published.stat().st_mtime) == stamp(connection)


def stamp(connection: duckdb.DuckDBPyConnection) -> int:
    """When the last of a published file's runs ended, in seconds: the file's time, as long as nobody else writes it.
    Even, as there are file systems that keep no odd ones."""
    found = connection.execute(f"SELECT 2 * floor(epoch(max(finished_at)) / 2) FROM {PIPELINE_RUNS.name}").fetchone()
    return int(found[0] or 0) if found else 0


def lacks_columns(published: Path) -> bool:
    """Whether an older version has made the published file: a table, or a column, is not there yet."""
    if not published.exists():
        return False
    with reading(published) as connection:
        return columns_lack(connection)


def columns_lack(connection: duckdb.DuckDBPyConnection) -> bool:
    """`lacks_columns` of a published file that is open."""
    found = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = 'main'"
    ).fetchall()
    declared = {(table.name, name) for table in PUBLISHED_TABLES for name in table.column_names}
    return not declared <= set(found)


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
    clock, database = "epoch_us(finished_at)", current_database(connection)
    has_sequence = "sequence" in columns_in(connection, f"{database}.main", PIPELINE_RUNS.name)
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


def known_months(connection: duckdb.DuckDBPyConnection, among: Collection[date] | None = None) -> dict[date, bool]:
    """Every month of which the warehouse has anything, and whether its run came to its end. among : these months alone.

    It did when nothing was written after the last time that it was published, or passed over, and its tables tell of
    the same customers; a run that failed or was killed, or some assets materialized by hand, leave one that did not.
    """
    ends = ", ".join(map(literal, (PUBLISHING_ASSET, PASSED_OVER)))
    published = f"max(sequence) FILTER (asset IN ({ends}))"
    rows = connection.execute(
        f"SELECT month, coalesce(max(sequence) <= {published}, false) "
        f"FROM {PIPELINE_RUNS.name} GROUP BY month ORDER BY month"
    ).fetchall()
    torn = disagreements(connection, among)
    return {month: whole and month not in torn for month, whole in rows if among is None or month in among}


def refuse_torn(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Raise PublishError if the tables of the month are of several runs."""
    said = disagreements(connection, [month]).get(month)
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


def months_with_people_again(published: Path, connection: duckdb.DuckDBPyConnection) -> list[date]:
    """The months of which the published file says that they have lost people to `forget` and `merge`, and of which the
    warehouse, though it has run them as the file has them, does not: it is a backup of before. Oldest first."""
    if not published.exists():
        return []
    with reading(published) as there:
        if not columns_in(there, f"{current_database(there)}.main", REMOVED_ROWS.name):
            return []  # a version has made it that knew of no such thing
        theirs = _gone(there)
    ours = _gone(connection)
    return sorted(
        month
        for month, (rows, run_id) in theirs.items()
        if month in ours and ours[month][0] < rows and ours[month][1] == run_id
    )


def _gone(connection: duckdb.DuckDBPyConnection) -> dict[date, tuple[int, str | None]]:
    """Month -> how many rows it has lost since it was run, and the last run of it."""
    rows = connection.execute(f"""
        SELECT month, coalesce((SELECT sum(rows) FROM {REMOVED_ROWS.name} AS r WHERE r.month = p.month), 0),
            arg_max(run_id, {_order(connection)})
        FROM {PIPELINE_RUNS.name} AS p GROUP BY month
    """).fetchall()
    return {month: (int(gone), run_id) for month, gone, run_id in rows}


def refuse_loss(published: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Raise PublishError if the published file has months as this warehouse has not published them: a new one would
    take them from its readers; or if people whom it lacks would come back."""
    lost = lost_months(published, connection)
    if lost:
        span = _span(lost)
        raise PublishError(
            f"{published} has {span} as runs have published them of which warehouse.duckdb knows nothing; publishing "
            f"would take them from its readers. Put the warehouse that has made them in its place. Or let this one "
            f"overwrite them: segment-pipeline run --accept-loss {span}; {published.name} is then kept under another "
            "name."
        )
    back = months_with_people_again(published, connection)
    if back:
        raise PublishError(
            f"{published} says that people of {_span(back)} were forgotten or merged, and warehouse.duckdb knows "
            "nothing of that: it is an older one, and they would come back. Put the warehouse of today in its place; "
            "or give the same segment-pipeline forget and merge commands again. Whoever cannot: segment-pipeline run "
            f"--accept-loss {_span(back)}."
        )


def _span(months: Sequence[date]) -> str:
    first, last = month_key(months[0]), month_key(months[-1])
    return first if first == last else f"{first}..{last}"


def accept_loss_of(published: Path, connection: duckdb.DuckDBPyConnection, accepted: Collection[date]) -> None:
    """Keep the published file under another name where all months that would be lost are accepted."""
    lost = lost_months(published, connection) + months_with_people_again(published, connection) if accepted else []
    if lost and set(lost) <= set(accepted):
        number = 1
        while (kept := _kept(published, str(number))).exists():
            number += 1
        os.replace(published, kept)


def kept_files(published: Path) -> list[Path]:
    """The published files that `accept_loss_of` has kept."""
    pattern = _kept(published, "*")
    return sorted(pattern.parent.glob(pattern.name))


def _kept(published: Path, number: str) -> Path:
    return published.with_name(f"{published.stem}.kept_{number}{published.suffix}")


def show_in_catalogue(warehouse: Warehouse, *, unfinished: bool = False) -> None:
    """Where the customers live in another engine, let the readers of its catalogue see what the published file says:
    the months whose runs have come to their end. unfinished : the others as well, whose rows somebody has left."""
    if warehouse.engine is not None:
        with warehouse.connect() as connection:
            known = known_months(connection)
            warehouse.engine.publish(connection, [month for month, whole in known.items() if whole or unfinished])


@contextmanager
def readable(published: Path) -> Iterator[Path]:
    """Where the published file can be read, whoever has it open.

    A program that opened it for writing bars every other process from it, and may have left a log of its own changes.
    A copy of the file itself then stands in: a run does not wait for a consumer.
    """
    if not is_somebody_elses(published):
        yield published
        return
    copy = beside(published, f"copy.{os.getpid()}")  # an export may read while a run does
    shutil.copyfile(published, copy)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)  # the run that is publishing takes it for a killed run's


def is_somebody_elses(published: Path) -> bool:
    """Whether a program has the file open for writing, or has left a log of changes."""
    here = _opened(published)
    if here is None:
        return True
    here.close()
    return False


def _opened(published: Path) -> duckdb.DuckDBPyConnection | None:
    """A connection for reading; None where the file is somebody else's."""
    if write_ahead_log(published).exists():
        return None
    try:
        return duckdb.connect(str(published), read_only=True)
    except duckdb.IOException as error:
        if lock_holder(str(error)) is None:
            raise
        return None


def beside(published: Path, purpose: str) -> Path:
    file = followed(published)  # on the disk on which it lies, so that it can be replaced in one step
    return file.with_name(f".{file.name}.{purpose}")


def write_ahead_log(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def current_database(connection: duckdb.DuckDBPyConnection) -> str:
    found = connection.execute("SELECT current_database()").fetchone()
    return str(found[0]) if found else "warehouse"


def columns_in(connection: duckdb.DuckDBPyConnection, source: str, table: str) -> set[str]:
    database, schema = source.split(".")
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [database.strip('"'), schema, table],
    ).fetchall()
    return {row[0] for row in rows}
