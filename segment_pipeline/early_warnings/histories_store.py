"""All that a customer has ever ordered, up to a month's end, in a few figures: what the window of the features forgets.

Only order lines tell it. Here: the rows of `order_histories`, one statement a month. Not here: what is made of them
(churn.py).
"""

from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.rows import exact_mean
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.early_warnings.churn import HISTORY
from segment_pipeline.early_warnings.tables import ORDER_HISTORIES
from segment_pipeline.months import as_of
from segment_pipeline.sources.order_lines import load_order_days


def write_histories(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """Replace the month's rows: its accepted customers, by what the source shows of them before the month's end."""
    accepted = f"(SELECT customer_id FROM {VALIDATED_FEATURES.name} WHERE month = {month_literal(month)})"
    load_order_days(connection, config, month, accepted)
    replace_month(connection, ORDER_HISTORIES, month, _histories_sql(month, accepted))
    connection.execute("DROP TABLE order_days")


def histories_tell(connection: duckdb.DuckDBPyConnection, config: Config, month: date, drawn: str = "true") -> bool:
    """Whether `order_histories` tells of every accepted customer of the month who is drawn.

    A month that lacks them, because an earlier version has made it, gets them now. Nothing tells them where the source
    has no order lines, or has lost those of some of the customers. drawn : a condition on customer_id.
    """
    if config.source.orders is None:
        return False
    if not _are_there(connection, month):
        write_histories(connection, config, month)
    unknown = f"month = {month_literal(month)} AND days_since_last_order IS NULL AND {drawn}"
    return not connection.execute(f"SELECT 1 FROM {ORDER_HISTORIES.name} WHERE {unknown} LIMIT 1").fetchall()


def _are_there(connection: duckdb.DuckDBPyConnection, month: date) -> bool:
    """Whether the month's histories are those of its customers, no more and no fewer."""
    rows = "(SELECT customer_id FROM {} WHERE month = " + month_literal(month) + ")"
    found = connection.execute(
        f"SELECT count(*) FROM {rows.format(VALIDATED_FEATURES.name)} AS v "
        f"FULL JOIN {rows.format(ORDER_HISTORIES.name)} AS h ON h.customer_id = v.customer_id "
        "WHERE h.customer_id IS NULL OR v.customer_id IS NULL"
    ).fetchone()
    return found == (0,)


def _histories_sql(month: date, accepted: str) -> str:
    """A query of ORDER_HISTORIES of the customers in `accepted`, from `order_days`.

    Sums are of decimals: those of doubles would depend on the order of the rows.
    """
    known = ", ".join(f"h.{name}" for name in HISTORY)
    end, gap = f"DATE '{as_of(month).isoformat()}'", f"({exact_mean('log_gap')})"
    lately = ", ".join(
        f"CAST(sum(CAST(pow(0.5E0, silence / {days}E0) AS DECIMAL(38, 9))) AS DOUBLE) AS {name}"
        for name, days in (("lately_30", 30), ("lately_60", 60), ("lately_90", 90))
    )
    return f"""
        SELECT {month_literal(month)} AS month, c.customer_id, {known}
        FROM {accepted} AS c
        LEFT JOIN (
            SELECT customer_id, CAST(min(silence) AS DOUBLE) AS days_since_last_order, {lately},
                {gap} AS log_gap,
                CASE WHEN count(log_gap) > 0
                    THEN sqrt(greatest({exact_mean("log_gap * log_gap")} - {gap} * {gap}, 0E0)) END AS gap_spread,
                {exact_mean("ln(1E0 + greatest(spend, 0E0))")} AS log_spend
            FROM (
                SELECT customer_id, spend, date_diff('day', day, {end}) AS silence,
                    ln(CAST(date_diff('day', lag(day) OVER (PARTITION BY customer_id ORDER BY day), day) AS DOUBLE))
                        AS log_gap
                FROM order_days
            )
            GROUP BY customer_id
        ) AS h ON h.customer_id = c.customer_id
        ORDER BY c.customer_id
    """
