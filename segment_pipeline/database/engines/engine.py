"""The engine that a configuration names, as the warehouse knows it. What only its users need is imported with them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, cast

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.engines.spark import EngineError, Spark
from segment_pipeline.database.store import Connection
from segment_pipeline.database.tables import Table

if TYPE_CHECKING:
    from segment_pipeline.database.engines.routing import SparkConnection


@dataclass(frozen=True)
class SparkEngine:
    """A Spark server beneath the warehouse. Whatever it does raises EngineError where the server does not do it."""

    spark: Spark

    def over(self, warehouse: Connection) -> Connection:
        """The connection to the warehouse, with Spark beneath it for whatever is about customers."""
        from segment_pipeline.database.engines.routing import SparkConnection

        return cast("duckdb.DuckDBPyConnection", SparkConnection(warehouse, self.spark))

    def move_in(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Let the customers of these tables live there, with what the warehouse has of them."""
        cast("SparkConnection", connection).move_in(tables)

    def publish(self, connection: Connection, months: Iterable[date]) -> None:
        """Let the readers of the catalogue see these months as they are now."""
        cast("SparkConnection", connection).publish(months)

    def problems(self) -> list[str]:
        """What keeps it from being used, in sentences."""
        try:
            self.spark.try_out()
        except EngineError as error:
            return [str(error)]
        return []


def engine_of(config: Config) -> SparkEngine | None:
    """None where the customers stay in the warehouse."""
    engine = config.engine
    if engine.spark is None:
        return None
    return SparkEngine(Spark(engine.spark, engine.database, engine.table_format, engine.location))
