"""The engine that a configuration names, as the warehouse knows it. What only its users need is imported with them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, cast

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.engines.spark import EngineError, Session, Sessions, Spark
from segment_pipeline.database.store import Connection, Warehouse, WarehouseError, refuse_without_engine, scratch
from segment_pipeline.database.tables import Table
from segment_pipeline.errors import WarehouseBusyError

if TYPE_CHECKING:
    import pyarrow as pa

    from segment_pipeline.database.engines.routing import SparkConnection


@dataclass(frozen=True)
class SparkEngine:
    """A Spark server beneath the warehouse. Whatever it does raises EngineError where the server does not do it.

    project : whose database it is to be, and was_ours : whether what an earlier version has called so there is this.
    counted : the tables there whose rows this process has counted. sessions : with the server; it is asked in no other.
    """

    spark: Spark
    project: str = "a project without a name"
    was_ours: Callable[[str], bool] = "a project without a name".__eq__
    counted: set[str] = field(default_factory=set, compare=False)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.spark)

    def over(self, warehouse: Connection) -> Connection:
        """The connection to the warehouse, with Spark beneath it for whatever is about customers."""
        from segment_pipeline.database.engines.routing import SparkConnection

        return cast("duckdb.DuckDBPyConnection", SparkConnection(warehouse, self.sessions, self.counted))

    def move_in(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Let the customers of these tables live there, with what the warehouse has of them."""
        theirs = cast("SparkConnection", connection)
        self._claim(theirs.identity)
        theirs.move_in(tables)

    def publish(self, connection: Connection, months: Iterable[date]) -> None:
        """Let the readers of the catalogue see these months as they are now."""
        theirs = cast("SparkConnection", connection)
        self._claim(theirs.identity)
        theirs.publish(months)

    def fetch(self, query: str) -> "pa.Table":
        """What the server makes of a query in its own SQL."""
        with self._session() as session:
            return session.fetch(query)

    def give_up_lost(self, connection: Connection, months: Iterable[date]) -> list[str]:
        """Take out of the tables what of these months is lost there, so that their runs can make it anew; returns what
        that was, in words."""
        return cast("SparkConnection", connection).give_up_lost(months)

    def _claim(self, warehouse: str | None) -> None:
        with self._session() as session:
            self.spark.claim(session, self.project, warehouse, self.was_ours)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = self.sessions.take()
        try:
            yield session
        finally:
            self.sessions.leave(session)

    def hold(self) -> None:
        """Keep the sessions of its connections for those that follow, until it is closed."""
        self.sessions.hold()

    def close(self) -> None:
        self.sessions.close()

    def problems(self, warehouse: Connection | None = None) -> list[str]:
        """What keeps it from being used, in sentences. warehouse : a connection with it beneath; None where there is no
        warehouse yet."""
        try:
            self._claim(None if warehouse is None else cast("SparkConnection", warehouse).identity)
            self.spark.try_out()
        except EngineError as error:
            return [str(error)]
        return []


@contextmanager
def looking(config: Config) -> Iterator[Connection]:
    """A database in memory to look at the source with, as `scratch` is; with the engine beneath, where the source names
    tables of its catalogue."""
    with scratch(config.operation.memory_limit) as connection:
        engine = engine_of(config) if config.source.tables else None
        if engine is None:
            yield connection
        else:
            with closing(engine.over(connection)) as over:
                yield over


def problems_of(config: Config) -> list[str]:
    """What keeps the customers from living where the configuration says, in sentences."""
    engine = engine_of(config)
    if not config.warehouse_path.exists():
        return [] if engine is None else engine.problems()
    operation = config.operation
    # without an engine whoever holds it says the same
    patience = 0 if engine is None else operation.lock_timeout_minutes * 60
    warehouse = Warehouse(config.warehouse_path, patience, operation.memory_limit, operation.threads, engine)
    try:
        with warehouse.connect() as connection:
            refuse_without_engine(connection)
            return [] if engine is None else engine.problems(connection)
    except WarehouseBusyError as error:
        return [] if engine is None else [str(error)]
    except WarehouseError as error:
        return [str(error)]


def engine_of(config: Config) -> SparkEngine | None:
    """None where the customers stay in the warehouse."""
    engine = config.engine
    if engine.spark is None:
        return None
    table_format = engine.table_format or ("parquet" if engine.location is not None else None)
    spark = Spark(engine.spark, engine.database, table_format, engine.location, engine.statement_minutes)
    return SparkEngine(spark, config.project, lambda called: called.startswith(f"{config.name} ("))
