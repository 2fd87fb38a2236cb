"""What the charts of this stage's assets, and of the report, are drawn from."""

from datetime import date

import duckdb

from segment_pipeline.database.rows import Row, read_rows
from segment_pipeline.months import add_months

HISTORY_MONTHS = 24


# The tables of the warehouse have the same names and columns, so the pictures in the Dagster UI are read by the same
# functions.
def share_history(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """Every segment's name, share and customers up to `month`."""
    return read_rows(
        connection,
        "SELECT month, segment_id, name, share, customers FROM segment_profiles WHERE month <= ? "
        "ORDER BY month, segment_id",
        month,
    )


def certainty_bins(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """Customers by their largest probability and by their entropy, in steps of 0.05."""
    return read_rows(
        connection,
        """
        SELECT measure, least(floor(value * 20), 19) / 20 AS low, least(floor(value * 20), 19) / 20 + 0.05 AS high,
            count(*) AS customers
        FROM (
            SELECT unnest(['max_probability', 'entropy']) AS measure, unnest([max_probability, entropy]) AS value
            FROM monthly_assignments WHERE month = ?
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
    """The last two years of each drift metric; the largest, where it has a figure for each segment or feature."""
    return read_rows(
        connection,
        """
        SELECT month, metric, max(value) AS value, any_value(threshold) AS threshold, bool_or(fired) AS fired
        FROM drift_alerts WHERE month BETWEEN ? AND ? AND metric <> 'feature_schema_changed'
        GROUP BY month, metric ORDER BY metric, month
        """,
        add_months(month, 1 - HISTORY_MONTHS),
        month,
    )
