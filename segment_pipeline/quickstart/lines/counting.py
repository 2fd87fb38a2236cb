"""How many order lines a condition is true of, with their orders and their money, and how a condition is written.

Here: counting over `raw_rows`, and words for it. Not here: which lines are looked for (states.py, money.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import duckdb

from segment_pipeline.database.quoting import identifier
from segment_pipeline.quickstart.columns import NEARLY_ALL, known_sql, only_row
from segment_pipeline.quickstart.csv_table import Table
from segment_pipeline.quickstart.roles import Orders
from segment_pipeline.quickstart.text import shown
from segment_pipeline.sources.reconciliation import Part
from segment_pipeline.sources.text.numbers import number_sql

_SEVERAL = 10
"""Customers from which on what all of them have in common is no chance."""


@dataclass(frozen=True)
class Value:
    """One text of a column, as it is written there; None where it is blank. below : lines with an amount below zero;
    gained : the sum of the amounts above it."""

    text: str | None
    lines: int
    money: Decimal | None
    below: int
    gained: Decimal

    @property
    def is_below(self) -> bool:
        """Whether all of its lines are below zero."""
        return 0 < self.lines == self.below

    @property
    def told(self) -> str:
        """Its lines and their money, in words."""
        below = ", all below zero" if self.is_below else ""
        return f"{self.lines:,} are {'blank' if self.text is None else repr(self.text)} ({self.money or 0:,.2f}{below})"


@dataclass(frozen=True)
class Lines:
    """The order lines of a file, of which those count that meet a condition. within : that of the user, as far as it
    can be asked of the file's texts, and of what is decided here; "true" where there is none. told_again : column ->
    its values that are left out, as they tell sales of another."""

    connection: duckdb.DuckDBPyConnection
    table: Table
    orders: Orders
    within: str = "true"
    told_again: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def amount(self) -> str:
        """An expression over `raw_rows` of what a line cost."""
        parts = [part for part in (self.orders.quantity, self.orders.amount) if part is not None]
        return " * ".join(number_sql(known_sql(part), self.table.decimal) for part in parts)

    @property
    def customer(self) -> str:
        """An expression over `raw_rows` of whose a line is."""
        return known_sql(self.table.customer_id)

    @property
    def order(self) -> str:
        """An expression over `raw_rows` of which order a line is."""
        order = f"concat({self.customer}, ' ', {known_sql(self.orders.date)})"
        if self.orders.order_id is not None:
            order = f"coalesce({known_sql(self.orders.order_id)}, {order})"
        return order

    def values(self, name: str) -> list[Value]:
        """What stands in a column, the commonest first."""
        return self.grouped(identifier(name), known_sql(name))

    def grouped(self, text: str, known: str) -> list[Value]:
        """The same of a text that is made of a column. text, known : expressions over `raw_rows`; where known is NULL,
        the text is blank."""
        found = self.connection.execute(
            f"""
            SELECT text, count(*) AS lines, sum(money), count(*) FILTER (money < 0),
                coalesce(sum(money) FILTER (money > 0), 0)
            FROM (SELECT CASE WHEN {known} IS NOT NULL THEN {text} END AS text,
                    CAST({self.amount} AS DECIMAL(18, 4)) AS money
                FROM raw_rows WHERE ({self.within}\n))
            GROUP BY text ORDER BY lines DESC, text
            """
        ).fetchall()
        return [Value(*one) for one in found]

    def of_whole_customers(self, condition: str) -> bool:
        """Whether a condition is true of all lines of a customer or of none, and so says nothing of a single order:
        judged by those who ordered more than once."""
        some, every = only_row(
            self.connection,
            f"""
            SELECT count(*) FILTER (marked > 0), count(*) FILTER (marked = lines)
            FROM (SELECT count(*) AS lines, count(*) FILTER ({condition}) AS marked FROM raw_rows
                WHERE {self.customer} IS NOT NULL AND ({self.within}\n)
                GROUP BY {self.customer} HAVING count(DISTINCT {self.order}) > 1)
            """,
        )
        return bool(some >= _SEVERAL and every >= NEARLY_ALL * some)

    def counted(self, condition: str, rows: str = "raw_rows") -> Part:
        """Those of which a condition is true."""
        lines, of, customers, money = only_row(
            self.connection,
            f"SELECT count(*), count(DISTINCT {self.order}), count(DISTINCT {self.customer}), "
            f"sum(CAST({self.amount} AS DECIMAL(18, 4))) FROM {rows} WHERE ({condition}) AND ({self.within}\n)",
        )
        return Part("repeated row", lines, of, customers, money)

    def told(self, condition: str) -> str:
        """The same in words; "" where there is none."""
        found = self.counted(condition)
        return replace(found, money=found.money or Decimal(0)).told(self.table.rows) if found.lines else ""

    def stands_once(self, name: str) -> bool:
        """Whether a column is blank because it stands on one line of an order of several only, as in Shopify's exports:
        nearly all lines without it are of an order that has it on another."""
        if self.orders.order_id is None:
            return False
        (share,) = only_row(
            self.connection,
            f"""
            SELECT sum(lines - filled) FILTER (filled > 0) / sum(lines - filled)
            FROM (SELECT count(*) AS lines, count({known_sql(name)}) AS filled FROM raw_rows
                GROUP BY {known_sql(self.orders.order_id)})
            """,
        )
        return bool((share or 0) >= NEARLY_ALL)


def written(name: str) -> str:
    """A column as a condition names it."""
    return name if shown(name) == name else identifier(name)


def in_quotes(condition: str) -> str:
    """As a shell takes it, with an eye to those who read it: SQL has apostrophes of its own."""
    return '"' + re.sub(r'(["\\$`])', r"\\\1", condition) + '"'
