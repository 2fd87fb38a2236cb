"""What the charts of this stage's assets, and of the report, are drawn from."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import duckdb

from segment_pipeline.database.rows import Row, read_rows
from segment_pipeline.months import add_months

HISTORY_MONTHS = 24


# The tables of the warehouse have the same names and columns, so the pictures in the Dagster UI are read by the same
# functions.
def share_history(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """Every row of segment_profiles up to `month`, and its `change`: of the share since the month before, both as the
    champion of the row's month sees them; None where that is not known."""
    rows = read_rows(connection, "SELECT * FROM segment_profiles WHERE month <= ? ORDER BY month, segment_id", month)
    shares = {(row["month"], row["segment_id"], row["model_version"]): row["share"] for row in rows}
    for row in rows:
        # of before there was the column, where both months had one champion
        published = shares.get((add_months(row["month"], -1), row["segment_id"], row["model_version"]))
        before = published if row.get("share_before") is None else row["share_before"]
        row["change"] = None if before is None else row["share"] - before
    return rows


def share_trend(history: Sequence[Mapping[str, Any]], segment_id: int) -> list[float]:
    """The segment's share as its latest champion sees it: since that serves, and in the month before. history : of
    `share_history`."""
    own = [row for row in history if row["segment_id"] == segment_id]
    served = [row for row in own if row["model_version"] == own[-1]["model_version"]]
    first = served[0]
    before = [] if first["change"] is None else [first["share"] - first["change"]]
    return [*before, *(row["share"] for row in served)]


def certainty_bins(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """Customers by their largest probability and by their entropy, in steps of 0.05."""
    return read_rows(
        connection,
        """
        SELECT measure, least(floor(value * 20), 19) / 20 AS low, least(floor(value * 20), 19) / 20 + 0.05 AS high,
            count(*) AS customers
        FROM (
            SELECT shown.measure AS measure, shown.value AS value FROM (
                SELECT unnest([{'measure': 'max_probability', 'value': max_probability},
                    {'measure': 'entropy', 'value': entropy}]) AS shown
                FROM monthly_assignments WHERE month = ?
            ) AS both_measures
        ) GROUP BY ALL ORDER BY measure, low
        """,
        month,
    )


def month_moves(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """The transition matrix of `month`; empty in the first."""
    return read_rows(
        connection,
        "SELECT from_state, to_state, customers, share FROM transition_matrix WHERE month = ? AND customers > 0 "
        "ORDER BY 1, 2",
        month,
    )


def drift_history(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """The last two years of each drift metric; of one for each segment or feature, that which is farthest
    beyond its limit, or nearest to it."""
    return read_rows(
        connection,
        """
        SELECT month, metric, arg_max(value, reached) AS value,
            coalesce(arg_max(threshold, reached), any_value(threshold)) AS threshold, bool_or(fired) AS fired
        FROM (SELECT *, coalesce(value / nullif(threshold, 0), value - threshold) AS reached FROM drift_alerts)
        WHERE month BETWEEN ? AND ? AND metric <> 'feature_schema_changed'
        GROUP BY month, metric ORDER BY metric, month
        """,
        add_months(month, 1 - HISTORY_MONTHS),
        month,
    )
