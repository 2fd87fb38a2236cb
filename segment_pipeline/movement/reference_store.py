"""What `movement_reference` says of a month, for those who tell of movement. How it is made: chance_store.py."""

from datetime import date

import duckdb

from segment_pipeline.database.rows import Row, is_there, read_rows
from segment_pipeline.movement.chance import chance_in_words, warned_in_words
from segment_pipeline.movement.tables import MOVEMENT_REFERENCE


def chance_rows(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """The month's rows; none in a file from before there was such a table."""
    if not is_there(connection, MOVEMENT_REFERENCE.name):
        return []
    return read_rows(connection, f"SELECT * FROM {MOVEMENT_REFERENCE.name} WHERE month = ? ORDER BY ALL", month)


def chance_moved(connection: duckdb.DuckDBPyConnection, month: date) -> str:
    """What chance alone moves in a month, in words, to stand beside how many moved."""
    return chance_in_words(chance_rows(connection, month))


def chance_warned(connection: duckdb.DuckDBPyConnection, month: date) -> str:
    """How many customers each rule warns of, and of how many by chance alone, in words; "" where that is not known."""
    return warned_in_words(chance_rows(connection, month))
