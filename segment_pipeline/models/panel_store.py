"""The months up to one out of the warehouse, as a panel. What may be asked of it: mixture/customer_months.py."""

from collections.abc import Sequence
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.arrays import Labels, Texts
from segment_pipeline.customers.tables import PAST_FEATURES, REJECTED_CUSTOMERS, VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import hashed_below
from segment_pipeline.database.store import month_literal
from segment_pipeline.mixture.chain.customer_months import CustomerMonths
from segment_pipeline.mixture.chain.panel import Panel
from segment_pipeline.months import add_months, months_between
from segment_pipeline.sources.tables import RAW_CUSTOMERS


def read_customer_months(
    connection: duckdb.DuckDBPyConnection, month: date, names: Sequence[str], months: int, sample: int
) -> CustomerMonths | None:
    """The accepted customers of the `months` month-ends up to `month`, with these features; of very many, a sample of
    whole customers with about `sample` customer-months, always the same ones.

    It begins with the first month since which there are customers in every month, and every one has every feature: one
    that was added to the file later is not known of earlier months. None where `month` itself lacks one.
    """
    first = add_months(month, 1 - months)
    draw = _draw(connection, first, month, sample)
    beginning = _beginning(connection, names, first, month)
    if beginning is None:
        return None
    n_months = months_between(beginning, month) + 1
    listed = ", ".join(identifier(name) for name in names)
    # customers of whom no month is known have nothing to say
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE panel_rows AS
        SELECT customer_id, datediff('month', {month_literal(beginning)}, month) AS position, {listed}
        FROM ({_accepted(listed)})
        WHERE month BETWEEN {month_literal(beginning)} AND {month_literal(month)} AND {draw}
    """)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE panel_customers AS
        SELECT customer_id, row_number() OVER (ORDER BY customer_id) - 1 AS customer
        FROM (SELECT DISTINCT customer_id FROM panel_rows)
    """)
    found = connection.execute(
        f"SELECT customer, position, {listed} "
        "FROM panel_rows JOIN panel_customers USING (customer_id) ORDER BY customer, position"
    ).fetchnumpy()
    customers, positions = (np.asarray(found.pop(name), dtype=np.intp) for name in ("customer", "position"))
    ids, begun = _beginnings(connection, beginning, month)
    panel = Panel.of(
        customers,
        positions,
        np.column_stack([np.asarray(values, dtype=np.float64) for values in found.values()]),
        first_months=begun,
        n_months=n_months,
        missing=_rejected(connection, beginning, month),
    )
    for table in ("panel_rows", "panel_customers"):
        connection.execute(f"DROP TABLE {table}")
    return CustomerMonths(ids, panel, n_months)


def _accepted(columns: str) -> str:
    return (
        f"SELECT month, customer_id, {columns} FROM {VALIDATED_FEATURES.name} "
        f"UNION ALL SELECT month, customer_id, {columns} FROM {PAST_FEATURES.name} WHERE NOT rejected"
    )


def _draw(connection: duckdb.DuckDBPyConnection, first: date, month: date, sample: int) -> str:
    """Which customer_id are taken, as SQL. It does not depend on the features that are asked for."""
    (total,) = connection.execute(
        f"SELECT count(*) FROM ({_accepted('1 AS one')}) WHERE month BETWEEN ? AND ?", [first, month]
    ).fetchone() or (0,)
    return hashed_below("customer_id", sample / total) if total > sample else "true"


def _beginning(connection: duckdb.DuckDBPyConnection, names: Sequence[str], first: date, month: date) -> date | None:
    """The first of the months up to `month`, without a gap, whose customers have every feature; None where `month` does
    not."""
    for table in (VALIDATED_FEATURES, PAST_FEATURES):
        columns = {row[0].lower() for row in connection.execute(f"DESCRIBE {table.name}").fetchall()}
        if not {name.lower() for name in names} <= columns:
            return None
    gaps = " OR ".join(f"{identifier(name)} IS NULL" for name in names)
    found = connection.execute(
        f"""
        SELECT month, bool_or({gaps}) FROM ({_accepted(", ".join(identifier(name) for name in names))})
        WHERE month BETWEEN ? AND ? GROUP BY month ORDER BY month DESC
        """,
        [first, month],
    ).fetchall()
    beginning = None
    for back, (one, lacks) in enumerate(found):
        if lacks or one != add_months(month, -back):
            break
        beginning = one
    return beginning


def _beginnings(connection: duckdb.DuckDBPyConnection, beginning: date, month: date) -> tuple[Texts, Labels]:
    """Ids, and the position of the month of each one's first order, negative for one before the panel.

    Where the source does not tell, that of the first month in which it was ever there; who was there in the first of
    all months may have come at any time before.
    """
    found = connection.execute(f"""
        WITH everybody AS (
            SELECT month, customer_id, first_seen FROM {RAW_CUSTOMERS.name}
            UNION ALL SELECT month, customer_id, first_seen FROM {PAST_FEATURES.name}
        )
        SELECT customer, customer_id, coalesce(
            datediff('month', {month_literal(beginning)}, min(first_seen)),
            CASE WHEN min(month) > (SELECT min(month) FROM everybody)
            THEN datediff('month', {month_literal(beginning)}, min(month)) END,
            -1
        ) AS begun
        FROM panel_customers JOIN everybody USING (customer_id) WHERE month <= {month_literal(month)}
        GROUP BY customer, customer_id ORDER BY customer
    """).fetchnumpy()
    return np.asarray(found["customer_id"]).astype(str), np.asarray(found["begun"], dtype=np.intp)


def _rejected(connection: duckdb.DuckDBPyConnection, beginning: date, month: date) -> tuple[Labels, Labels]:
    """The customers of the panel whose row was rejected, and the months."""
    found = connection.execute(f"""
        SELECT customer, datediff('month', {month_literal(beginning)}, month) AS position
        FROM (
            SELECT month, customer_id FROM {REJECTED_CUSTOMERS.name}
            UNION ALL SELECT month, customer_id FROM {PAST_FEATURES.name} WHERE rejected
        ) JOIN panel_customers USING (customer_id)
        WHERE month BETWEEN {month_literal(beginning)} AND {month_literal(month)} ORDER BY customer, position
    """).fetchnumpy()
    return np.asarray(found["customer"], dtype=np.intp), np.asarray(found["position"], dtype=np.intp)
