"""The months before as this month's champion sees them: what a figure of this month may be compared with.

In the month of a refit the figures that were published a month earlier are another model's, and a difference from them
is mostly the model's step, not the customers'. So who compares a segment, or a customer's segment, with the month
before asks here. Movement is measured by the same champion for the same reason (`champions_store.measuring_champion`).
"""

from datetime import date

import duckdb

from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.store import month_literal, month_rows
from segment_pipeline.models.champions_store import scores_in
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.segments.memory_store import has_seen, seen_memberships
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS


def seen_before(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date) -> str | None:
    """A query of customer_id and segment_id, of the customers of the month before as the champion of `month` sees them;
    None where there is no such month, or it lacks a feature of the champion."""
    return seen_in(connection, champion, add_months(month, -1))


def seen_in(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, earlier: date) -> str | None:
    """The same of any month up to the present one."""
    published = f"{MONTHLY_ASSIGNMENTS.name} WHERE month = {month_literal(earlier)}"
    served = f"SELECT 1 FROM {published} AND model_version = {champion.model_version} LIMIT 1"
    if connection.execute(served).fetchone() is not None:
        return f"SELECT customer_id, segment_id FROM {published}"
    if not month_rows(connection, VALIDATED_FEATURES, earlier) or not scores_in(connection, champion, earlier):
        return None
    if not has_seen(connection, champion, earlier):
        return None
    ids = f"[{', '.join(map(str, champion.segment_ids))}]"
    return f"""
        SELECT customer_id, {ids}[list_position(probabilities, list_max(probabilities))] AS segment_id
        FROM ({seen_memberships(champion, earlier)}) AS seen
    """


def shares_before(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date) -> dict[int, float]:
    """Each segment's share, 0..1, of the customers of the month before as the champion of `month` sees them; empty
    where it does not."""
    seen = seen_before(connection, champion, month)
    if seen is None:
        return {}
    counts = dict(connection.execute(f"SELECT segment_id, count(*) FROM ({seen}) GROUP BY segment_id").fetchall())
    everybody = sum(counts.values())
    return {segment_id: counts.get(segment_id, 0) / everybody for segment_id in champion.segment_ids}
