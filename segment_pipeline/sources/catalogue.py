"""Tables of the engine's catalogue as sources: named in DuckDB's SQL as files are, and read where they lie.

Here: how one is opened. Not here: how what is asked of it is sent there (database/engines/routing.py).
"""

import difflib
from typing import TYPE_CHECKING, cast

import duckdb

from segment_pipeline.database.engines.spark import OF_THE_CATALOGUE, EngineError, RefusedError
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.files import Relation, describe

if TYPE_CHECKING:
    from segment_pipeline.database.engines.routing import SparkConnection

SHOWN = 20


def open_table(connection: duckdb.DuckDBPyConnection, table: str, section: str, *, once: bool = False) -> Relation:
    """A table of the catalogue as a relation with at least one row. section : the key that names it.

    once : of rows that are the same in every column, only one. Raises SourceError, and EngineError where the server
    cannot be reached.
    """
    sql = identifier(OF_THE_CATALOGUE + table)
    try:
        found = describe(connection, sql)
        filled = connection.execute(f"SELECT 1 AS one FROM {sql} LIMIT 1").fetchone()
    except RefusedError as error:
        raise SourceError(
            f"{table} cannot be read: {_nearest(connection, table)}Fix {section}.table. {error}"
        ) from error
    if filled is None:
        raise SourceError(f"{table} holds no rows. Deliver the data, then run the month again.")
    # a map is no value that rows are told apart by
    columns = {name.lower(): kind for name, kind in found if not kind.startswith("MAP")}
    if once:
        sql = f"(SELECT DISTINCT {', '.join(map(identifier, columns))} FROM {sql})"
    return Relation(sql, table, columns)


def _nearest(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """The table that may have been meant, or what there is."""
    try:
        beside = cast("SparkConnection", connection).tables_beside(table)
    except EngineError:
        return ""
    nearest = difflib.get_close_matches(table, beside, 1)
    if nearest:
        return f"did you mean {nearest[0]}? "
    return f"found beside it {', '.join(beside[:SHOWN])}. " if beside else ""
