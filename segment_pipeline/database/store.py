"""The warehouse file: short connections, whole-month transactions, and one writer at a time.

DuckDB lets one process write a file, and a process that only reads it blocks the writer too. So every connection here
is short, is closed whatever happens, and waits its turn with a jittered retry that says for whom it waits. The file may
stay open from one step of a run to the next, and not while a model is fitted. Above it stands the run lock, held
for a whole run, so that two runs never interleave their months.
"""

import fcntl
import json
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

import duckdb

from segment_pipeline.config.values import followed
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.tables import Table, comment
from segment_pipeline.errors import PipelineError, WarehouseBusyError

# Clients of DuckDB 1.5 read this format; 2.0's own they cannot. Same size and speed.
STORAGE_VERSION = "v1.5.0"

SPILL = ".duckdb_spill"
"""The folder beside the warehouse for what does not fit into memory."""

Report = Callable[[str], None]
# What to call a connection where DuckDB is not known by name.
Connection = duckdb.DuckDBPyConnection


class Engine(Protocol):
    """Where the tables with a row for each customer live, if not in the warehouse; see engines/."""

    def over(self, warehouse: Connection) -> Connection:
        """The connection with the engine beneath it."""

    def move_in(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Let the customers of these tables live there, with what the warehouse has of them."""

    def publish(self, connection: Connection, months: Iterable[date]) -> None:
        """Let the readers of its catalogue see these months as they are now."""

    def give_up_lost(self, connection: Connection, months: Iterable[date]) -> list[str]:
        """Take out of its tables what of these months is lost there; returns what that was, in words."""

    def hold(self) -> None:
        """Keep for the next connection what one has begun there, until it is closed."""

    def close(self) -> None:
        """Let go of that."""


class WarehouseError(PipelineError):
    """The warehouse, or the folder it lies in, cannot be used as it is."""


NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
"""A path such as s3://... would make DuckDB fetch an extension from the network by itself."""


def in_memory(**settings: str | bool | int | float | list[str]) -> duckdb.DuckDBPyConnection:
    """A database of its own that nobody else sees: for what is looked at before a run, and for SQL of the user's. The
    same on every machine: days are days in UTC, and nothing comes from the network by itself."""
    return _set_up(duckdb.connect(config=NO_EXTENSIONS | settings))


def _set_up(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    # A table that the user's SQL lacks must not be found among the variables of this program.
    connection.execute("SET python_enable_replacements = false")
    return connection


@contextmanager
def scratch(memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `in_memory`, to look at files with: what does not fit into the limit is on disk for as long. None : what
    a run has by default."""
    with (
        tempfile.TemporaryDirectory(prefix="segment_pipeline_") as folder,
        in_memory(memory_limit=memory_limit or "4GB", temp_directory=folder) as connection,
    ):
        yield connection


_NO_ROOM = re.compile(r'Could not write file "[^\n]*')
"""In what DuckDB says of a full disk; of a database that it detaches, on a second line."""


@dataclass(frozen=True)
class Warehouse:
    """The pipeline's own DuckDB file.

    `lock_timeout` is in seconds; `memory_limit` is DuckDB's, such as "4GB"; `threads` None lets DuckDB take all cores.
    `engine` is where the customers live, None : in this file.
    """

    path: Path
    lock_timeout: float
    memory_limit: str
    threads: int | None = None
    engine: Engine | None = None

    @contextmanager
    def connect(self, report: Report = print) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for a few statements.

        Raises WarehouseBusyError when another process keeps the file, WarehouseError when the file cannot be opened or
        written, or the memory limit does not do.
        """
        connection = self.open(report)
        try:
            if self.engine is not None:
                connection = self.engine.over(connection)
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise self._too_small(error) from error
        except duckdb.Error as error:
            if self._is_torn(first_line(error)):
                raise self._damaged(error) from error
            if no_room := _NO_ROOM.search(str(error)):
                raise self._no_room(no_room.group()) from error
            raise
        finally:
            connection.close()

    @contextmanager
    def transaction(self, report: Report = print) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in a transaction: all of what the block does, or, if it raises, nothing."""
        with self.connect(report) as connection:
            connection.begin()
            yield connection
            connection.commit()  # whatever raises before this line: closing the connection rolls back

    def has_spilled(self) -> bool:
        """Whether a connection of this process that is open has put on disk what did not fit into memory: DuckDB makes
        a file of its process's then, and keeps it until it is closed."""
        return any((self.path.parent / SPILL).glob(f"duckdb_temp_{os.getpid()}_*"))

    def rewrite(self, report: Report = print) -> None:
        """Copy everything into a fresh file, and put that in the place of this one in one step: what was deleted stays
        in blocks of the old one that DuckDB means to use again. Hold the run lock."""
        path = followed(self.path)
        draft = path.with_name(f".{path.name}.draft")
        for leftover in path.parent.glob(f"{draft.name}*"):
            leftover.unlink()  # a killed process's
        try:
            with self.connect(report) as connection:
                connection.execute("CHECKPOINT")
                connection.execute(
                    f"ATTACH {literal(str(draft))} AS draft (STORAGE_VERSION {literal(STORAGE_VERSION)})"
                )
                connection.execute(f"COPY FROM DATABASE {identifier(self.path.stem)} TO draft")
                connection.execute("DETACH draft")
        except BaseException:  # or it would keep the disk full that it has filled
            for half_made in path.parent.glob(f"{draft.name}*"):
                half_made.unlink()
            raise
        put_durably(draft, path)
        shutil.rmtree(self.path.parent / SPILL, ignore_errors=True)

    def open(self, report: Report = print) -> duckdb.DuckDBPyConnection:
        """A connection for its caller to close: as long as one is open, further ones cost next to nothing. Raises as
        `connect` does."""
        make_folder(self.path.parent)
        # One configuration for the whole process: DuckDB refuses a second one on the same file.
        settings = NO_EXTENSIONS | {
            "storage_compatibility_version": STORAGE_VERSION,
            "memory_limit": self.memory_limit,
            "temp_directory": str(self.path.parent / SPILL),
        }
        if self.threads is not None:
            settings["threads"] = self.threads
        try:
            connection = _patiently(
                lambda: duckdb.connect(str(self.path), config=settings), self.path, self.lock_timeout, report
            )
        except duckdb.OutOfMemoryException as error:
            raise self._too_small(error) from error
        except duckdb.Error as error:
            raise self._damaged(error) from error
        return _set_up(connection)

    def _is_torn(self, message: str) -> bool:
        """Whether DuckDB says that it cannot read on in the warehouse, and not in a file of the user's."""
        return message.startswith("Corrupt database file") or (
            "Could not read enough bytes" in message and self.path.name in message
        )

    def _too_small(self, error: duckdb.Error) -> WarehouseError:
        return WarehouseError(
            f"{self.path}: operation.memory_limit is {self.memory_limit}, and that does not do ({first_line(error)}). "
            f"{more_memory(error)}, and run again."
        )

    def _no_room(self, said: str) -> WarehouseError:
        return WarehouseError(
            f"{self.path} cannot be written ({said}). Free disk space there, and run again: what did not "
            "fit is not in the file, and all that was there before is."
        )

    def _damaged(self, error: duckdb.Error) -> WarehouseError:
        return WarehouseError(
            f"{self.path} cannot be opened ({first_line(error)}). If the file is damaged, put a backup in its place or "
            "move it and segments.duckdb away, and run again; without a backup all months are rebuilt."
        )


def _patiently(
    connect: Callable[[], duckdb.DuckDBPyConnection], path: Path, timeout: float, report: Report
) -> duckdb.DuckDBPyConnection:
    """Retry `connect` while another process holds the file; say who it is, once for each."""
    deadline = time.monotonic() + timeout
    told = None
    while True:
        try:
            return connect()
        except duckdb.IOException as error:
            holder = lock_holder(str(error))
            if holder is None:
                raise
            if time.monotonic() >= deadline:
                raise WarehouseBusyError(
                    f"{path} has been held by {holder} for {timeout / 60:g} minutes. "
                    f"Close that program (readers belong on the published file, not on the warehouse) and run again, "
                    f"or raise operation.lock_timeout_minutes."
                ) from error
            if holder != told:
                report(f"{path.name} is held by {holder}; waiting for it, at most {timeout / 60:g} minutes.")
                told = holder
            time.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - jitter, not a secret


def lock_holder(message: str) -> str | None:
    """Who holds the file, from DuckDB's message; None when the message is about something else."""
    if "Could not set lock on file" not in message:
        return None
    found = re.search(r"held in (.*?) ?\(PID (\d+)\)", message)
    return f"process {found[2]} ({Path(found[1]).name})" if found else "another process"


def more_memory(error: duckdb.Error) -> str:
    """What to do where memory did not do: DuckDB's own limit was reached, or the machine refused what that allows."""
    if re.search("bad allocation|Allocation failure", str(error)):
        return (
            "The machine itself has no more: end other programs there, or lower operation.memory_limit in the "
            "configuration, so that more of the work goes over the disk"
        )
    return "Raise operation.memory_limit in the configuration, or free disk space beside the warehouse"


def make_folder(folder: Path) -> None:
    """The folder and those above it, where they are missing. Raises WarehouseError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> WarehouseError:
    """What to say when the output folder does not take what a run has to write there."""
    return WarehouseError(
        f"{path} cannot be written: {error.strerror}. Make output_dir in the configuration a folder in which this user "
        f"may create files, on a disk with space left, and run again."
    )


def put_durably(draft: Path, path: Path) -> None:
    """Put a file in the place of another, in one step and on the disk."""
    _sync(draft)
    os.replace(draft, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def first_line(error: Exception) -> str:
    """DuckDB adds pointers into its own documentation after the first line."""
    return str(error).partition("\n")[0]


def prepare(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], feature_names: tuple[str, ...]) -> None:
    """Create the tables that are missing, add the columns of a newer version or a changed configuration, and renew the
    comments that say something else.

    Raises WarehouseError where a column has another type than it was made with: its values are not ours.
    """
    refuse_without_engine(connection)
    standing = _standing(connection)
    types = _as_duckdb_says(connection, {column.type for table in tables for column in table.with_features(["any"])})
    statements: list[str] = []
    for table in tables:
        there = standing.get(table.name)
        statements += table.ddl(feature_names) if there is None else _lacking(table, feature_names, there, types)
    for statement in statements:
        connection.execute(statement)


def refuse_without_engine(connection: duckdb.DuckDBPyConnection) -> None:
    """Raises WarehouseError where customers of the warehouse live in an engine, and the connection has none beneath."""
    if not isinstance(connection, duckdb.DuckDBPyConnection):
        return
    there = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE table_name = 'engine_tables' AND database_name = current_database()"
    ).fetchone()
    # one that was refused before anything moved there has the table, and no row
    if there and connection.execute("SELECT 1 FROM main.engine_tables LIMIT 1").fetchone():
        raise WarehouseError(
            "The customers of this warehouse live elsewhere, and the configuration does not say where: put "
            "engine.spark back."
        )


def _standing(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, tuple[str, str]]]:
    """Type and comment of each column that is there, by table and name in lower case; those of the table itself under
    an empty name."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    ours = "database_name = current_database() AND schema_name = 'main'"
    for table, column, kind, said in connection.execute(f"""
        SELECT table_name, '', 'TABLE', comment FROM duckdb_tables() WHERE {ours}
        UNION ALL SELECT table_name, lower(column_name), data_type, comment FROM duckdb_columns() WHERE {ours}
    """).fetchall():
        found.setdefault(table, {})[column] = kind, said
    return found


def _lacking(
    table: Table, feature_names: Iterable[str], there: Mapping[str, tuple[str, str]], types: Mapping[str, str]
) -> list[str]:
    """The statements that make what is there of a table what is declared."""
    statements = [] if there[""][1] == table.description else [table.comment_on_table]
    for column in table.with_features(feature_names):
        kind, said = there.get(column.name.lower(), (None, None))
        name = identifier(column.name)
        if kind is None:
            statements.append(f"ALTER TABLE {table.sql_name} ADD COLUMN {name} {column.type}")
            if column.before is not None:
                statements.append(f"UPDATE {table.sql_name} SET {name} = {column.before}")
        elif kind != types[column.type]:
            raise WarehouseError(
                f"The warehouse has {table.name}.{column.name} as {kind}, and it was made as {column.type}: "
                "another program has changed it. Put a backup in the warehouse's place, or move it and "
                "segments.duckdb away and run again; without a backup all months are rebuilt."
            )
        if said != comment(column):
            if kind is not None and column.now is not None:
                statements.append(f"UPDATE {table.sql_name} SET {name} = {column.now}")
            statements.append(table.comment_on(column))
    return statements


def _as_duckdb_says(connection: duckdb.DuckDBPyConnection, types: Iterable[str]) -> dict[str, str]:
    """Each of these types as `duckdb_columns` puts it: DECIMAL(38, 4) is DECIMAL(38,4) there."""
    declared = sorted(types)
    if not declared:
        return {}
    values = ", ".join(f"CAST(NULL AS {kind})" for kind in declared)
    said = connection.execute(f"DESCRIBE SELECT {values}").fetchall()
    return {kind: row[1] for kind, row in zip(declared, said, strict=True)}


def replace_month(
    connection: duckdb.DuckDBPyConnection, table: Table, month: date, query: str, features: Sequence[str] = ()
) -> int:
    """Delete the month's rows of `table` and insert those of `query`, as `insert_query` does; returns how many.

    Delete and insert are two statements: call it inside a transaction, so that nobody sees the month empty.
    """
    connection.execute(f"DELETE FROM {identifier(table.name)} WHERE month = ?", [month])
    return insert_query(connection, table, query, features)


def insert_query(connection: duckdb.DuckDBPyConnection, table: Table, query: str, features: Sequence[str] = ()) -> int:
    """Add the rows of `query` to `table`, by column name; returns how many.

    features : the feature columns of the query, for a table that has them. Raises UnfitRowsError unless it has the
    table's columns and these, exactly.
    """
    names = [*table.column_names, *features]
    table.require_fit(names, features)
    if isinstance(connection, duckdb.DuckDBPyConnection) and not table.features:
        # To be told of what is missing too, and in one statement: to describe a query first is to plan it twice. A
        # table with features may have more of them than these rows.
        each = ", ".join(f"{identifier(name)} AS {identifier(name)}" for name in names)
        query = f"SELECT * REPLACE ({each}) FROM ({query})"
    else:
        declared = {name.lower(): name for name in names}  # case is no difference
        found = [name for name, *_ in connection.execute(f"DESCRIBE {query}").fetchall()]
        table.require_fit([declared.get(name.lower(), name) for name in found], features)
    try:
        inserted = connection.execute(f"INSERT INTO {identifier(table.name)} BY NAME {query}").fetchone()
    except duckdb.BinderException as error:
        if lacking := _LACKING.match(str(error)):
            table.require_fit([name for name in names if name != lacking[1]], features)
        if strange := _STRANGE.match(str(error)):
            table.require_fit([*names, strange[1]], features)
        raise
    return int(inserted[0]) if inserted else 0


_LACKING = re.compile(r'Binder Error: Column "(.*?)" in REPLACE list not found', re.DOTALL)
_STRANGE = re.compile(r'Binder Error: Table ".*?" does not have a column with name "(.*?)"\n', re.DOTALL)
"""What DuckDB says of the first column that a query lacks, or has and the table does not."""


def month_rows(connection: duckdb.DuckDBPyConnection, table: Table, month: date) -> int:
    """How many rows of `table` belong to the month."""
    found = connection.execute(f"SELECT count(*) FROM {identifier(table.name)} WHERE month = ?", [month]).fetchone()
    return int(found[0]) if found else 0


def month_literal(month: date) -> str:
    """The month as an SQL date."""
    return f"DATE {literal(month.isoformat())}"


class RunLock:
    """Held by one process for a whole run. A killed process releases it: the kernel does.

    Entering it a second time in the same process is free, so that the command line can hold it over many months while
    each month's run asks for it as well.
    """

    _held: dict[Path, int] = {}  # noqa: RUF012 - shared by design: one count per file and process

    def __init__(self, path: Path, timeout: float, purpose: str, report: Report = print) -> None:
        self.path, self.timeout, self.purpose, self.report = path.absolute(), timeout, purpose, report
        self._file: int | None = None

    def __enter__(self) -> "RunLock":
        if self._held.get(self.path, 0) == 0:
            self._file = self._acquire()
        self._held[self.path] = self._held.get(self.path, 0) + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._held[self.path] -= 1
        if self._file is not None:
            os.ftruncate(self._file, 0)  # so that nobody is told to wait for a run that has ended
            os.close(self._file)
            self._file = None

    def _acquire(self) -> int:
        make_folder(self.path.parent)
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        deadline = time.monotonic() + self.timeout
        told = None
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = self._holder()
                if time.monotonic() >= deadline:
                    os.close(file)
                    raise WarehouseBusyError(
                        f"Another run, {holder}, has not ended within {self.timeout / 60:g} minutes. "
                        f"Wait for it or end it, then run again; or raise operation.lock_timeout_minutes."
                    ) from error
                if holder != told:
                    self.report(f"Another run is at work: {holder}; waiting for it to end.")
                    told = holder
                time.sleep(random.uniform(0.1, 0.4))  # noqa: S311 - jitter, not a secret
            else:
                holder_line = {"pid": os.getpid(), "purpose": self.purpose, "since": f"{datetime.now(UTC):%H:%M} UTC"}
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(holder_line).encode(), 0)
                return file

    def _holder(self) -> str:
        try:
            holder = json.loads(self.path.read_text())
        except (OSError, ValueError):  # the holder is between taking the lock and writing its name
            return "a process that has just started"
        return f"process {holder['pid']} ({holder['purpose']}, since {holder['since']})"


SHOWN_LINE = 200


TELLING_LINE = re.compile(
    r"Original Line:|Expected Number|Value with|Invalid unicode|Could not convert|Candidate|In file"
)


def reason(error: Exception) -> str:
    """What DuckDB complains of, as one line: without its advice on options that a user here cannot set."""
    first, *others = str(error).splitlines()
    told = (line.strip() for line in others if not line.rstrip().endswith(":"))  # no head of a list that is left out
    said = [first, *(line for line in told if TELLING_LINE.match(line))]
    return "; ".join(line[:SHOWN_LINE].rstrip(".;! ") for line in said) + "."
