"""Which tables of the catalogue hold a month of which table: what the warehouse knows of its engine.

A month of customers is written as a table of its own, a writing, which nothing ever changes. Of which writings a table
consists says the warehouse, in its own transaction: so a month stands whole or not at all, whatever format the files
have and whoever is killed. Readers see those of the last publishing; what neither of them names is dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import uuid4

import duckdb

from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import is_there
from segment_pipeline.database.tables import MONTH, Column, Table

_TABLE = Column("table_name", "VARCHAR", "", "The table.")
_WRITING = Column("writing", "VARCHAR", "", "The table of the catalogue that holds these rows.")
_OF_A_TABLE = (
    _TABLE,
    MONTH,
    _WRITING,
    Column("columns", "VARCHAR[]", "", "The columns that it has."),
    Column("rows", "BIGINT", "rows", "How many rows it holds."),
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
    "engine_writings", "What the tables of the engine consist of now.", _OF_A_TABLE, ("table_name", "month"), False
)
READABLE = Table(
    "engine_readable", "What they consist of for readers of the catalogue.", _OF_A_TABLE, ("table_name", "month"), False
)
BEGUN = Table(
    "engine_begun",
    "Every writing that was begun and is not dropped, so that nothing that a killed run leaves is there for ever.",
    (_WRITING,),
    ("writing",),
    False,
)

IDENTITY = Table(
    "engine_identity",
    "By what the engine's database knows this warehouse, whatever its project and its file are called.",
    (Column("warehouse", "VARCHAR", "", "A random id, made once."),),
    ("warehouse",),
    False,
)


LEDGER = (LIVING_THERE, WRITINGS, READABLE, BEGUN, IDENTITY)
"""What the warehouse knows of the engine: only one that has an engine has these tables."""


@dataclass(frozen=True)
class Writing:
    """A month of a table, or a part of it, and where it is."""

    month: date
    name: str
    columns: Sequence[str]
    rows: int


class Writings:
    """The writings of all tables, as the warehouse's transaction sees them."""

    def __init__(self, warehouse: duckdb.DuckDBPyConnection, database: str) -> None:
        """database : what the warehouse is called among those that are attached to the connection."""
        self._warehouse = warehouse
        if not is_there(warehouse, IDENTITY.name):  # a warehouse of an earlier version has the others
            for table in [table for table in LEDGER if not is_there(warehouse, table.name)]:
                for statement in table.ddl():
                    warehouse.execute(statement)
        self._tables, self._writings, self._readable, self._begun, self._identity = (
            f"{identifier(database)}.main.{table.name}" for table in LEDGER
        )

    def identity(self) -> str:
        """The warehouse's own id; the first time it is made, in a transaction of its own: the engine's database keeps
        it, whatever becomes of ours."""
        with self._warehouse.cursor() as beside:
            none_yet = f"NOT EXISTS (FROM {self._identity})"
            beside.execute(f"INSERT INTO {self._identity} SELECT ? WHERE {none_yet}", [uuid4().hex[:12]])
            ((found,),) = beside.execute(f"FROM {self._identity}").fetchall()
        return str(found)

    def settle(self, table: Table) -> None:
        """From now on, the table lives in the engine."""
        self._warehouse.execute(
            f"INSERT INTO {self._tables} VALUES (?, ?, ?)", [table.name, table.month_column, table.published]
        )

    def living_there(self, *, published: bool = False) -> dict[str, str]:
        """The tables that live in the engine, and the column of each one's month. published : those with readers."""
        rows = self._warehouse.execute(
            f"SELECT table_name, month_column FROM {self._tables} WHERE published OR NOT ? ORDER BY table_name",
            [published],
        ).fetchall()
        return dict(rows)

    def of(self, table: str, *, readable: bool = False) -> list[Writing]:
        """What the table consists of, by month. readable : for readers of the catalogue."""
        rows = self._warehouse.execute(
            f"SELECT month, writing, columns, rows FROM {self._readable if readable else self._writings} "
            "WHERE table_name = ? ORDER BY month, writing",
            [table],
        ).fetchall()
        return [Writing(*row) for row in rows]

    def begin(self, name: str) -> None:
        """Remember a writing before it is made, in a transaction of its own."""
        with self._warehouse.cursor() as beside:
            beside.execute(f"INSERT INTO {self._begun} VALUES (?)", [name])

    def forget(self, names: Sequence[str]) -> None:
        """Those that are dropped, likewise."""
        with self._warehouse.cursor() as beside:
            beside.execute(f"DELETE FROM {self._begun} WHERE writing IN (SELECT unnest(?))", [names])

    def add(self, table: str, writings: Iterable[Writing]) -> int:
        """Make them a part of the table; returns their rows."""
        rows = 0
        for one in writings:
            self._warehouse.execute(
                f"INSERT INTO {self._writings} VALUES (?, ?, ?, ?, ?)",
                [table, one.month, one.name, list(one.columns), one.rows],
            )
            rows += one.rows
        return rows

    def remove(self, table: str, month: date) -> int:
        """Take the month out of the table; returns how many rows it had."""
        rows = sum(one.rows for one in self.of(table) if one.month == month)
        self._warehouse.execute(f"DELETE FROM {self._writings} WHERE table_name = ? AND month = ?", [table, month])
        return rows

    def give_up(self, writing: str) -> None:
        """Take what is lost out of the table that it is a part of, for readers as well."""
        for named in (self._writings, self._readable):
            self._warehouse.execute(f"DELETE FROM {named} WHERE writing = ?", [writing])

    def publish(self, months: Iterable[date]) -> None:
        """Let readers have these months as they are now; of others, what they had."""
        these = list(months)
        self._warehouse.execute(f"DELETE FROM {self._readable} WHERE month IN (SELECT unnest(?))", [these])
        self._warehouse.execute(
            f"INSERT INTO {self._readable} SELECT * FROM {self._writings} WHERE month IN (SELECT unnest(?))", [these]
        )

    def unneeded(self) -> list[str]:
        """Those that are of no table, neither now nor for readers."""
        rows = self._warehouse.execute(
            f"SELECT writing FROM {self._begun} WHERE writing NOT IN (SELECT writing FROM {self._writings}) "
            f"AND writing NOT IN (SELECT writing FROM {self._readable}) ORDER BY writing"
        ).fetchall()
        return [row[0] for row in rows]
