"""What to do with each customer this month: the action matrix as one SQL expression, and the feed of audiences.

Actions are tried from the most specific to the least: a pair of segments, a segment, a role, a tier, everybody; of two
that ask for the same kind the one that asks for more goes first, and then the one that stands first in the file.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import duckdb

from segment_pipeline.config import Action
from segment_pipeline.months import add_months, as_of
from segment_pipeline.segmentation.model import SegmentModel
from segment_pipeline.warehouse.quoting import literal
from segment_pipeline.warehouse.store import month_literal, replace_month
from segment_pipeline.warehouse.tables import AUDIENCE_FEED, CUSTOMER_ACTIONS


def by_specificity(actions: Sequence[Action]) -> list[Action]:
    """The order in which they are tried."""
    return sorted(actions, key=lambda action: [condition is None for condition in action.conditions])


def write_actions(
    connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date, actions: Sequence[Action]
) -> int:
    """The month's action for every assigned customer; NULL where none applies. Returns the rows."""
    tried = by_specificity(actions)

    def chosen(value: dict[str, str]) -> str:
        cases = " ".join(f"WHEN {literal(name)} THEN {text}" for name, text in value.items())
        return f"CASE action_id {cases} END" if cases else "NULL"

    decided = " ".join(f"WHEN {_condition(action, champion)} THEN {literal(action.action_id)}" for action in tried)
    columns = ", ".join(
        f"{chosen({action.action_id: literal(getattr(action, name)) for action in tried})} AS {name}"
        for name in ("owner", "channel", "kpi")
    )
    until = {action.action_id: month_literal(as_of(month) + timedelta(days=action.measure_days)) for action in tried}
    return replace_month(
        connection,
        CUSTOMER_ACTIONS,
        month,
        f"""
        SELECT month, customer_id, tier, action_id, segment_id, second_segment_id, CAST(NULL AS VARCHAR) AS arm,
            {columns}, {chosen(until)} AS measure_until
        FROM (
            SELECT *, {f"CASE {decided} END" if decided else "CAST(NULL AS VARCHAR)"} AS action_id
            FROM monthly_assignments WHERE month = {month_literal(month)}
        ) AS decided
        ORDER BY customer_id
        """,
    )


def write_audience_feed(connection: duckdb.DuckDBPyConnection, month: date) -> int:
    """Who entered and who left each segment and each tier since the month before; returns the rows.

    It compares what was published, so that a list elsewhere that follows the feed holds exactly the month's members. A
    change that the customer had no part in, because a refit gave the segment another id, is marked.
    """
    now, before = month_literal(month), month_literal(add_months(month, -1))
    members = " UNION ALL ".join(
        f"SELECT month, customer_id, '{kind}' AS audience_type, CAST({column} AS VARCHAR) AS audience "
        f"FROM monthly_assignments WHERE month IN ({now}, {before})"
        for kind, column in (("segment", "segment_id"), ("tier", "tier"))
    )
    return replace_month(
        connection,
        AUDIENCE_FEED,
        month,
        f"""
        WITH members AS ({members})
        SELECT {now} AS month, audience_type, audience, changes.customer_id, change,
            -- the states of a movement are both measured by the champion of the month before
            audience_type = 'segment' AND coalesce(d.from_segment_id = d.to_segment_id, false) AS by_refit
        FROM (
            SELECT coalesce(n.customer_id, b.customer_id) AS customer_id,
                coalesce(n.audience_type, b.audience_type) AS audience_type,
                coalesce(n.audience, b.audience) AS audience,
                CASE WHEN b.customer_id IS NULL THEN 'entered' ELSE 'left' END AS change
            FROM (SELECT * FROM members WHERE month = {now}) AS n
            FULL JOIN (SELECT * FROM members WHERE month = {before}) AS b
                ON b.customer_id = n.customer_id AND b.audience_type = n.audience_type AND b.audience = n.audience
            WHERE n.customer_id IS NULL OR b.customer_id IS NULL
        ) AS changes
        LEFT JOIN transition_deltas AS d ON d.month = {now} AND d.customer_id = changes.customer_id
        ORDER BY audience_type, audience, change, changes.customer_id
        """,
    )


def action_gaps(
    connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date, actions: Sequence[Action]
) -> tuple[int, list[str]]:
    """How many customers of the month have no action, and, for each action that reaches nobody, why, by its key."""
    rows = connection.execute(
        "SELECT action_id, count(*) FROM customer_actions WHERE month = ? GROUP BY action_id", [month]
    ).fetchall()
    counts = dict(rows)
    unreached = [
        f"actions[{index}] ({action.action_id}): {_why_nobody(action, champion)}"
        for index, action in enumerate(actions)
        if not counts.get(action.action_id)
    ]
    return int(counts.get(None, 0)) if actions else 0, unreached


def without_action(connection: duckdb.DuckDBPyConnection, month: date) -> int:
    """How many customers of the month have no action."""
    found = connection.execute(
        "SELECT count(*) FROM customer_actions WHERE month = ? AND action_id IS NULL", [month]
    ).fetchone()
    return int(found[0]) if found else 0


def _condition(action: Action, champion: SegmentModel) -> str:
    terms = []
    if action.pair is not None:
        low, high = sorted(action.pair)
        terms.append(
            f"tier = 'hybrid' AND least(segment_id, second_segment_id) = {low} "
            f"AND greatest(segment_id, second_segment_id) = {high}"
        )
    if action.segment is not None:
        terms.append(f"segment_id = {action.segment}")
    if action.role is not None:
        ids = [str(segment.segment_id) for segment in champion.segments if segment.role == action.role]
        terms.append(f"segment_id IN ({', '.join(ids)})" if ids else "false")
    if action.tier is not None:
        terms.append(f"tier = {literal(action.tier)}")
    return " AND ".join(terms) or "true"


def _why_nobody(action: Action, champion: SegmentModel) -> str:
    ids = champion.segment_ids
    asked = [*(action.pair or ()), *([action.segment] if action.segment is not None else [])]
    missing = [str(segment_id) for segment_id in asked if segment_id not in ids]
    if missing:
        listed = ", ".join(map(str, ids))
        return f"no segment {' or '.join(missing)} this month; model version {champion.model_version} has {listed}"
    if action.role is not None and action.role not in {segment.role for segment in champion.segments}:
        return f"no segment has the role {action.role} this month"
    return "no customer meets its conditions, or a more specific action takes them all"
