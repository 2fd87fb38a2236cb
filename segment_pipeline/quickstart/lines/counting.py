"""How many order lines a condition is true of, with their orders and their money, and how a condition is written.

Here: counting over `raw_rows`, and words for it. Not here: which lines are looked for (states.py, money.py).
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal

import duckdb

from segment_pipeline.database.quoting import identifier
from segment_pipeline.quickstart.columns import NEARLY_ALL, known_sql, number_sql, only_row
from segment_pipeline.quickstart.csv_table import Table
from segment_pipeline.quickstart.roles import Orders
from segment_pipeline.quickstart.text import shown
from segment_pipeline.sources.reconciliation import Part


@dataclass(frozen=True)
class Lines:
    """The order lines of a file, of which those count that meet the user's condition. within : that condition, as far
    as it can be asked of the file's texts; "true" where there is none."""

    connection: duckdb.DuckDBPyConnection
    table: Table
    orders: Orders
    within: str = "true"

    @property
    def amount(self) -> str:
        """An expression over `raw_rows` of what a line cost."""
        parts = [part for part in (self.orders.quantity, self.orders.amount) if part is not None]
        return " * ".join(number_sql(known_sql(part), self.table.decimal) for part in parts)

    def counted(self, condition: str, rows: str = "raw_rows") -> Part:
        """Those of which a condition is true."""
        customer, moment = known_sql(self.table.customer_id), known_sql(self.orders.date)
        order = f"concat({customer}, ' ', {moment})"
        if self.orders.order_id is not None:
            order = f"coalesce({known_sql(self.orders.order_id)}, {order})"
        lines, of, customers, money = only_row(
            self.connection,
            f"SELECT count(*), count(DISTINCT {order}), count(DISTINCT {customer}), "
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
