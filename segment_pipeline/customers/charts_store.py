"""What the charts of this stage's assets are drawn from."""

from collections.abc import Sequence
from datetime import date

import duckdb

from segment_pipeline.database.rows import Row, read_rows


def feature_bins(
    connection: duckdb.DuckDBPyConnection, month: date, features: Sequence[str]
) -> tuple[list[Row], list[Row]]:
    """Each feature's customers in 24 steps, in original units and standardised, and where 3 SD from the mean lie.

    Reads the warehouse: the published file has no features of single customers.
    """
    bins, limits = [], []
    for stage, table in (("original", "validated_features"), ("standardised", "scaled_matrix")):
        for feature in features:
            column = '"' + feature.replace('"', '""') + '"'
            found = read_rows(
                connection,
                f"""
                WITH given AS (SELECT {column} AS value FROM {table} WHERE month = ? AND isfinite({column})),
                span AS (
                    SELECT min(value) AS low, nullif(max(value) - min(value), 0) / 24 AS step, avg(value) AS mean,
                        stddev_samp(value) AS sd FROM given
                )
                SELECT least(floor((value - low) / coalesce(step, 1)), 23) AS place, count(*) AS customers,
                    any_value(low) AS start, any_value(coalesce(step, 1)) AS step, any_value(mean) AS mean,
                    any_value(sd) AS sd
                FROM given CROSS JOIN span GROUP BY place ORDER BY place
                """,
                month,
            )
            for row in found:
                low = row["start"] + row["place"] * row["step"]
                bins.append(
                    {"feature": feature, "stage": stage, "low": low, "high": low + row["step"]}
                    | {"customers": row["customers"]}
                )
            if found and found[0]["sd"] is not None:
                limits += [
                    {"feature": feature, "stage": stage, "value": found[0]["mean"] + sign * 3 * found[0]["sd"]}
                    for sign in (-1, 1)
                ]
    return bins, limits
