"""Order lines of closed months, folded once and kept: what a month reads of the past instead of the lines.

A calendar month's lines are folded into `folded_orders`, a row for each customer, order and day, and what the source
held of that month (contents.py) is kept with them. A month that is run folds those that are new, or of which the source
holds something else now; the others stand. All that is added up is counts and decimals, so what is merged from parts
has the bits of what is made of the lines.

Not here: what is merged from them (folding.py, order_lines.py). What counts different things, as aggregates of the
user's own may, and what is about categories, is made of the window's lines: no sum of parts tells it.
"""

from collections.abc import Iterator, Sequence
from contextlib import chdir
from datetime import date
from itertools import accumulate, groupby

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import insert_query, month_literal
from segment_pipeline.months import as_of
from segment_pipeline.sources.expressions import is_date
from segment_pipeline.sources.folding import FOLDED, HASHED
from segment_pipeline.sources.order_lines import ORDER_LINES, instant, open_order_lines
from segment_pipeline.sources.over_time.contents import definition_of, read_contents
from segment_pipeline.sources.tables import FOLDED_MONTHS, FOLDED_ORDERS

LINES_AT_ONCE = 4_000_000
"""About so many lines of Parquet files are folded in one statement, a month at least: to fold takes a gigabyte for 16
million of them. Of files that are read whole for every statement, as text is, all at once."""


def fold_months(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Sequence[date]:
    """Bring `folded_orders` up to what the source holds of all months until `month`, and leave that in
    `source_contents`; returns the months whose lines were folded, ascending. Nothing of ready-made customers,
    nor of lines that lie in the engine, which reads them where they are.

    Call it inside a transaction. Raises SourceError.
    """
    if config.source.orders is None:
        read_contents(connection, config)
        return []
    with chdir(config.path.parent):
        lines = open_order_lines(connection, config)
        read_contents(connection, config)
        if config.source.orders.table is not None:
            return []
        try:
            months = fold_contents(connection, config, lines.sql(), month)
        except duckdb.Error as error:
            raise lines.failed(error) from error
        lines.refuse_changed()
    return months


def fold_contents(connection: duckdb.DuckDBPyConnection, config: Config, lines: str, month: date) -> Sequence[date]:
    """As `fold_months`, where `source_contents` says already what the relation `lines` holds. Raises duckdb.Error."""
    until = f"of_month <= {month_literal(month)}"
    held = f"SELECT * EXCLUDE (days) FROM source_contents WHERE {until} AND feed = {literal(ORDER_LINES)}"
    kept = f"SELECT * EXCLUDE (definition) FROM {FOLDED_MONTHS.name}"
    stands = f"of_month IN (SELECT of_month FROM ({held} INTERSECT {kept}))"
    found = connection.execute(f"SELECT of_month, lines FROM ({held}) WHERE NOT {stands} ORDER BY of_month").fetchall()
    for table in (FOLDED_ORDERS, FOLDED_MONTHS):  # whose rows the condition asks for, and so go last
        connection.execute(f"DELETE FROM {table.name} WHERE {until} AND NOT {stands}")
    months = [of_month for of_month, _ in found]
    for some in _in_turn(found) if "read_parquet(" in lines else [months]:
        insert_query(connection, FOLDED_ORDERS, _folded(lines, some))
    if months:
        added = f"SELECT *, {literal(definition_of(config))} AS definition FROM ({held}) WHERE NOT {stands}"
        insert_query(connection, FOLDED_MONTHS, added)
    return months


def _in_turn(months: Sequence[tuple[date, int]]) -> Iterator[Sequence[date]]:
    """The months, each with its number of lines, in groups that are folded one after the other."""
    ends = accumulate(lines for _, lines in months)
    groups = groupby(zip(months, ends, strict=True), key=lambda one: one[1] // LINES_AT_ONCE)
    for _, group in groups:
        yield [of_month for (of_month, _), _ in group]


_DIFFERENT = "list_unique(list(CASE WHEN product_id IS NOT NULL THEN hash(product_id) END))"
"""How many products, as SQL over the lines of an order, which are few: a list of each takes half of the memory that
`count(DISTINCT)` does, and less time."""


def _folded(lines: str, months: Sequence[date]) -> str:
    """The rows of FOLDED_ORDERS of these months. A plain condition on the time comes first: with it, the parts of a
    Parquet file that hold other months are not read."""
    return f"""
        SELECT CAST(date_trunc('month', day) AS DATE) AS of_month, * EXCLUDE (day)
        FROM (
            SELECT customer_id, order_id, CAST(ordered_at AS DATE) AS day, {FOLDED}, {_DIFFERENT} AS products
            FROM (
                SELECT * REPLACE ({HASHED} AS order_id) FROM ({lines})
                WHERE ordered_at >= {instant(months[0])} AND ordered_at < {instant(as_of(months[-1]))}
                    AND is_line AND {is_date("ordered_at")}
                    AND date_trunc('month', ordered_at) IN ({", ".join(map(month_literal, months))})
            )
            GROUP BY customer_id, order_id, day
        )
        ORDER BY of_month, customer_id
    """
