"""What to do with each customer this month: the action matrix as one SQL expression, and the feed of audiences.

Actions are tried from the most specific to the least: a pair of segments, a segment, a role, a tier, everybody; of two
that ask for the same kind the one that asks for more goes first, and then the one that stands first in the file. While
a campaign covers the action that a customer would get, the customer's arm decides whether it is that one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations

import duckdb

from segment_pipeline.campaigns.plans_store import arm_sql, random_place_sql, shares_of
from segment_pipeline.campaigns.tables import AUDIENCE_FEED, CUSTOMER_ACTIONS
from segment_pipeline.config.campaigns import Campaign
from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.stages import Action
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.scoring import tier_sql
from segment_pipeline.months import add_months, as_of, month_key


def by_specificity(actions: Sequence[Action]) -> list[Action]:
    """The order in which they are tried."""
    return sorted(actions, key=lambda action: [condition is None for condition in action.conditions])


def write_actions(
    connection: duckdb.DuckDBPyConnection,
    champion: SegmentModel,
    month: date,
    actions: Sequence[Action],
    campaigns: Sequence[Campaign] = (),
) -> int:
    """The month's action for every assigned customer; NULL where none applies. Returns the rows.

    campaigns : those that run in the month; no two of them cover one action. A customer is in the campaign that covers
    the action of its own segment; in which arm, depends on the two names alone, so it stays there from month to month.
    A customer of the random arm gets the action of a segment drawn at random from those with another action than the
    matched one; where all segments have the same for it, that one.
    """
    columns = ", ".join(
        f"{_of('action_id', {action.action_id: literal(getattr(action, name)) for action in actions})} AS {name}"
        for name in ("what", "owner", "channel", "kpi")
    )
    until = {action.action_id: month_literal(as_of(month) + timedelta(days=action.measure_days)) for action in actions}
    arms = {each.campaign: arm_sql(each.campaign, shares_of(each)) for each in campaigns}
    places = {each.campaign: random_place_sql(each.campaign) for each in campaigns}
    segments = ", ".join(f"({segment_id})" for segment_id in champion.segment_ids)
    return replace_month(
        connection,
        CUSTOMER_ACTIONS,
        month,
        f"""
        WITH matched AS (
            SELECT *, {_decided(actions, champion)} AS own_action
            FROM monthly_assignments WHERE month = {month_literal(month)}
        ),
        enrolled AS (
            SELECT *, {_campaign_of(campaigns, actions)} AS campaign
            FROM matched
        ),
        drawn AS (
            SELECT *, {_of("campaign", arms)} AS arm FROM enrolled
        ),
        -- the other actions that a customer of the random arm would get, were it in another segment
        offered AS (
            SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY random_segment_id) - 1 AS position,
                count(*) OVER (PARTITION BY customer_id) AS offers
            FROM (
                SELECT customer_id, own_action, random_segment_id, {_of("campaign", places, "BIGINT")} AS place,
                    {_decided(actions, champion, "random_segment_id")} AS random_action
                FROM drawn CROSS JOIN (VALUES {segments}) AS segments(random_segment_id)
                WHERE arm = 'random'
            ) AS every WHERE random_action <> own_action
        ),
        decided AS (
            SELECT drawn.*, CASE arm WHEN 'control' THEN NULL
                WHEN 'random' THEN coalesce(random_action, drawn.own_action)
                ELSE drawn.own_action END AS action_id
            FROM drawn
            LEFT JOIN (SELECT customer_id, random_action FROM offered WHERE position = place % offers) AS chosen
                ON chosen.customer_id = drawn.customer_id
        )
        SELECT month, customer_id, tier, action_id, segment_id, second_segment_id, campaign, arm,
            {columns}, {_of("action_id", until, "DATE")} AS measure_until
        FROM decided
        ORDER BY customer_id
        """,
    )


def write_audience_feed(
    connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date, tiers: TierSettings
) -> int:
    """Who entered and who left each segment and each tier since the month before; returns the rows.

    It compares what was published, so that a list elsewhere that follows the feed holds exactly the month's members. A
    change that the customer had no part in, because a refit gave the segment another id or draws the line between
    tiers elsewhere, is marked.
    """
    now, before = month_literal(month), month_literal(add_months(month, -1))
    # a customer of both months is compared once, and not as a member of two audiences: who has changed is few columns
    return replace_month(
        connection,
        AUDIENCE_FEED,
        month,
        f"""
        WITH changed AS (
            SELECT coalesce(n.customer_id, b.customer_id) AS customer_id, n.tier AS tier, b.tier AS tier_before,
                CAST(n.segment_id AS VARCHAR) AS segment, CAST(b.segment_id AS VARCHAR) AS segment_before,
                n.previous_segment_id = n.segment_id AS same_segment
            FROM (SELECT * FROM monthly_assignments WHERE month = {now}) AS n
            FULL JOIN (SELECT * FROM monthly_assignments WHERE month = {before}) AS b ON b.customer_id = n.customer_id
            WHERE n.customer_id IS NULL OR b.customer_id IS NULL OR n.segment_id <> b.segment_id OR n.tier <> b.tier
        ),
        explained AS (
            SELECT changed.*, coalesce(t.tier = changed.tier, false) AS tier_by_refit, coalesce(
                same_segment,
                -- what this month's champion cannot say, the one of then may; where neither can, all ids are others
                d.from_segment_id = d.to_segment_id
                    OR (d.model_version IS NULL AND d.from_segment_id <> d.to_segment_id),
                false
            ) AS segment_by_refit
            FROM changed
            LEFT JOIN transition_deltas AS d ON d.month = {now} AND d.customer_id = changed.customer_id
            LEFT JOIN ({_tiers_before(champion, month, tiers)}) AS t ON t.customer_id = changed.customer_id
        )
        SELECT {now} AS month, audience_type, audience, customer_id, change, by_refit
        FROM (
            SELECT customer_id, audience_type, change,
                CASE audience_type WHEN 'tier' THEN tier_by_refit ELSE segment_by_refit END AS by_refit,
                CASE audience_type
                    WHEN 'tier' THEN CASE change WHEN 'entered' THEN tier ELSE tier_before END
                    ELSE CASE change WHEN 'entered' THEN segment ELSE segment_before END END AS audience,
                CASE audience_type
                    WHEN 'tier' THEN coalesce(tier = tier_before, false)
                    ELSE coalesce(segment = segment_before, false) END AS stayed
            FROM explained CROSS JOIN (VALUES ('segment', 'entered'), ('segment', 'left'), ('tier', 'entered'),
                ('tier', 'left')) AS audiences(audience_type, change)
        )
        WHERE audience IS NOT NULL AND NOT stayed
        ORDER BY audience_type, audience, change, customer_id
        """,
    )


def _tiers_before(champion: SegmentModel, month: date, tiers: TierSettings) -> str:
    """A query of customer_id and the tier that the champion sees in the month before, of whom another published one."""
    now, before = month_literal(month), month_literal(add_months(month, -1))
    columns = [f"p{k}" for k in range(len(champion.segments))]
    were = ", ".join(f"n.probabilities[{k + 1}] - d.changes[{k + 1}] AS {p}" for k, p in enumerate(columns))
    smaller = [f"least({one}, {other})" for one, other in combinations(columns, 2)]  # the largest of them is the second
    return f"""
        SELECT customer_id, {tier_sql(tiers)} AS tier FROM (
            SELECT customer_id, greatest({", ".join(columns)}, 0E0) AS max_probability,
                greatest({", ".join([*smaller, "0E0"])}, 0E0) AS second_probability
            FROM (
                SELECT n.customer_id, {were}
                FROM monthly_assignments AS n
                JOIN transition_deltas AS d ON d.month = n.month AND d.customer_id = n.customer_id
                    AND d.model_version = n.model_version
                JOIN monthly_assignments AS b ON b.month = {before} AND b.customer_id = n.customer_id
                    AND b.model_version <> n.model_version
                WHERE n.month = {now} AND d.changes IS NOT NULL
            ) AS were
        ) AS ranked
    """


def action_gaps(
    connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date, actions: Sequence[Action]
) -> tuple[int, list[str]]:
    """How many customers of the month have no action, and, for each action that reaches nobody, why, by its key.

    Those whom a campaign leaves alone on purpose do not count.
    """
    rows = connection.execute(
        "SELECT action_id, count(*) FROM customer_actions "
        "WHERE month = ? AND arm IS DISTINCT FROM 'control' GROUP BY action_id",
        [month],
    ).fetchall()
    counts = dict(rows)
    unreached = [
        f"actions[{index}] ({action.action_id}): {_why_nobody(action, champion)}"
        for index, action in enumerate(actions)
        if not counts.get(action.action_id) and any(action.conditions)  # one for everybody is there for the others
    ]
    return without_action(connection, month) if actions else 0, unreached


def unknown_segments(
    connection: duckdb.DuckDBPyConnection, actions: Sequence[Action], named: Iterable[int] = ()
) -> list[str]:
    """Which actions ask for segments that the latest published month does not have, by their keys; and which of those
    that the user has named it does not have."""
    rows = connection.execute(
        "SELECT month, segment_id FROM segment_profiles WHERE month = (SELECT max(month) FROM segment_profiles) "
        "ORDER BY segment_id"
    ).fetchall()
    ids = [segment_id for _, segment_id in rows]
    has = f"{month_key(rows[0][0])} has {', '.join(map(str, ids))}" if rows else ""
    unnamed = [
        f"segments.{asked}: found segment {asked}; {has}. The name waits for a segment of that number."
        for asked in named
        if rows and asked not in ids
    ]
    return unnamed + [
        f"actions[{index}].{key} ({action.action_id}): found segment {asked}; {has}. Nobody gets this action while "
        "that is so."
        for index, action in enumerate(actions)
        for key, all_asked in (("pair", action.pair or ()), ("segment", [action.segment]))
        for asked in all_asked
        if rows and asked is not None and asked not in ids
    ]


def without_action(connection: duckdb.DuckDBPyConnection, month: date) -> int:
    """How many customers of the month have no action, but for those whom a campaign leaves alone on purpose."""
    found = connection.execute(
        "SELECT count(*) FROM customer_actions "
        "WHERE month = ? AND action_id IS NULL AND arm IS DISTINCT FROM 'control'",
        [month],
    ).fetchone()
    return int(found[0]) if found else 0


def _decided(actions: Sequence[Action], champion: SegmentModel, segment: str = "segment_id") -> str:
    """The action_id of a customer, were its segment the one in the column `segment`."""
    cases = " ".join(
        f"WHEN {_condition(action, champion, segment)} THEN {literal(action.action_id)}"
        for action in by_specificity(actions)
    )
    return f"CASE {cases} END" if cases else "CAST(NULL AS VARCHAR)"


def _campaign_of(campaigns: Sequence[Campaign], actions: Sequence[Action]) -> str:
    """The campaign that covers own_action."""
    # of two that want one action the last wins, where `known_campaigns` puts those whose arms are drawn
    covering = {
        action_id: literal(campaign.campaign) for campaign in campaigns for action_id in campaign.covered(actions)
    }
    return _of("own_action", covering)


def _of(column: str, values: Mapping[str, str], kind: str = "VARCHAR") -> str:
    """The expression that belongs to the value of a column, NULL for others."""
    cases = " ".join(f"WHEN {literal(name)} THEN {expression}" for name, expression in values.items())
    return f"CASE {column} {cases} END" if cases else f"CAST(NULL AS {kind})"


def _condition(action: Action, champion: SegmentModel, segment: str) -> str:
    terms = []
    if action.pair is not None:
        low, high = sorted(action.pair)
        terms.append(
            f"tier = 'hybrid' AND least({segment}, second_segment_id) = {low} "
            f"AND greatest({segment}, second_segment_id) = {high}"
        )
    if action.segment is not None:
        terms.append(f"{segment} = {action.segment}")
    if action.role is not None:
        ids = [str(each.segment_id) for each in champion.segments if each.role == action.role]
        terms.append(f"{segment} IN ({', '.join(ids)})" if ids else "false")
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
