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
from segment_pipeline.database.store import Connection, scratch
from segment_pipeline.database.tables import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from segment_pipeline.database.engines.routing import SparkConnection


@dataclass(frozen=True)
class SparkEngine:
    """A Spark server beneath the warehouse. Whatever it does raises EngineError where the server does not do it.

    project : whose database it is to be, and is_ours : whether what another run has called it there is this one.
    counted : the tables there whose rows this process has counted. sessions : with the server; it is asked in no other.
    """

    spark: Spark
    project: str = "a project without a name"
    is_ours: Callable[[str], bool] = "a project without a name".__eq__
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
        if theirs.is_new_there:
            self._claim()
        theirs.move_in(tables)

    def publish(self, connection: Connection, months: Iterable[date]) -> None:
        """Let the readers of the catalogue see these months as they are now."""
        self._claim()
        cast("SparkConnection", connection).publish(months)

    def fetch(self, query: str) -> "pa.Table":
        """What the server makes of a query in its own SQL."""
        with self._session() as session:
            return session.fetch(query)

    def give_up_lost(self, connection: Connection, months: Iterable[date]) -> list[str]:
        """Take out of the tables what of these months is lost there, so that their runs can make it anew; returns what
        that was, in words."""
        return cast("SparkConnection", connection).give_up_lost(months)

    def _claim(self) -> None:
        with self._session() as session:
            self.spark.claim(session, self.project, self.is_ours)

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

    def problems(self) -> list[str]:
        """What keeps it from being used, in sentences."""
        try:
            self.spark.try_out()
            self._claim()
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


def engine_of(config: Config) -> SparkEngine | None:
    """None where the customers stay in the warehouse."""
    engine = config.engine
    if engine.spark is None:
        return None
    table_format = engine.table_format or ("parquet" if engine.location is not None else None)
    spark = Spark(engine.spark, engine.database, table_format, engine.location, engine.statement_minutes)
    return SparkEngine(spark, config.project, config.is_project)
