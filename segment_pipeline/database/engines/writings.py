"""Which tables of the catalogue hold a month of which table: what the warehouse knows of Spark.

A month of customers is written as a table of its own, a writing, which nothing ever changes. Which writings a table
consists of says the warehouse, in its own transaction: so a month stands whole or not at all, whatever file format the
catalogue keeps and whoever is killed. Readers see those of the last publishing; what neither names is dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from segment_pipeline.database.tables import MONTH, Column, Table

_TABLE = Column("table_name", "VARCHAR", "", "The table.")
_OF_A_TABLE = (
    _TABLE,
    MONTH,
    Column("writing", "VARCHAR", "", "The table of the catalogue that holds these rows."),
    Column("columns", "VARCHAR[]", "", "The columns that it has."),
    Column("rows", "BIGINT", "rows", "How many rows of the month it holds."),
)
LIVING_THERE = Table(
    "engine_tables",
    "The tables that live in the engine and not in the warehouse: those with a row for each customer.",
    (
        _TABLE,
        Column("month_column", "VARCHAR", "", "The column that says which month's run has written a row."),
        Column("published", "BOOLEAN", "", "Whether readers of the catalogue see it."),
    ),
    ("table_name",),
    False,
)
WRITINGS = Table(
    "engine_writings", "What the customer-level tables consist of now.", _OF_A_TABLE, ("table_name", "month"), False
)
READABLE = Table(
    "engine_readable", "What they consist of for readers of the catalogue.", _OF_A_TABLE, ("table_name", "month"), False
)
BEGUN = Table(
    "engine_begun",
    "Every writing that was begun and not dropped yet, so that nothing that a killed run leaves is there for ever.",
    (_OF_A_TABLE[2],),
    ("writing",),
    False,
)


@dataclass(frozen=True)
class Writing:
    """A month of a table, or a part of it, and where it is."""

    month: date
    name: str
    columns: Sequence[str]
    rows: int


def prepare_writings(warehouse: duckdb.DuckDBPyConnection) -> None:
    for table in (LIVING_THERE, WRITINGS, READABLE, BEGUN):
        for statement in table.ddl():
            warehouse.execute(statement)


def settle(warehouse: duckdb.DuckDBPyConnection, table: Table) -> None:
    """From now on, the table lives in the engine."""
    warehouse.execute(
        f"INSERT INTO {LIVING_THERE.name} VALUES (?, ?, ?)", [table.name, table.month_column, table.published]
    )


def living_there(warehouse: duckdb.DuckDBPyConnection, *, published: bool = False) -> dict[str, str]:
    """The tables that live in the engine, and of each the column of its month. published : only those with readers."""
    rows = warehouse.execute(
        f"SELECT table_name, month_column FROM {LIVING_THERE.name} WHERE published OR NOT ? ORDER BY table_name",
        [published],
    ).fetchall()
    return dict(rows)


def writings_of(warehouse: duckdb.DuckDBPyConnection, table: str, kept: Table = WRITINGS) -> list[Writing]:
    """What the table consists of, by month."""
    rows = warehouse.execute(
        f"SELECT month, writing, columns, rows FROM {kept.name} WHERE table_name = ? ORDER BY month, writing", [table]
    ).fetchall()
    return [Writing(*row) for row in rows]


def begin_writing(warehouse: duckdb.DuckDBPyConnection, name: str) -> None:
    """Remember it before it is made, in a transaction of its own."""
    with warehouse.cursor() as beside:
        beside.execute(f"INSERT INTO {BEGUN.name} VALUES (?)", [name])


def end_writings(warehouse: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    """Forget those that are dropped."""
    with warehouse.cursor() as beside:
        beside.execute(f"DELETE FROM {BEGUN.name} WHERE writing IN (SELECT unnest(?))", [list(names)])


def add_writing(warehouse: duckdb.DuckDBPyConnection, table: str, writing: Writing) -> None:
    warehouse.execute(
        f"INSERT INTO {WRITINGS.name} VALUES (?, ?, ?, ?, ?)",
        [table, writing.month, writing.name, list(writing.columns), writing.rows],
    )


def remove_month(warehouse: duckdb.DuckDBPyConnection, table: str, month: date) -> None:
    warehouse.execute(f"DELETE FROM {WRITINGS.name} WHERE table_name = ? AND month = ?", [table, month])


def make_readable(warehouse: duckdb.DuckDBPyConnection, months: Iterable[date]) -> None:
    """Let readers have these months as they are now; of others, what they had."""
    these = list(months)
    warehouse.execute(f"DELETE FROM {READABLE.name} WHERE month IN (SELECT unnest(?))", [these])
    warehouse.execute(
        f"INSERT INTO {READABLE.name} SELECT * FROM {WRITINGS.name} WHERE month IN (SELECT unnest(?))", [these]
    )


def unneeded(warehouse: duckdb.DuckDBPyConnection) -> list[str]:
    """The writings that are of no table, neither now nor for readers."""
    rows = warehouse.execute(
        f"SELECT writing FROM {BEGUN.name} WHERE writing NOT IN (SELECT writing FROM {WRITINGS.name}) "
        f"AND writing NOT IN (SELECT writing FROM {READABLE.name}) ORDER BY writing"
    ).fetchall()
    return [row[0] for row in rows]
