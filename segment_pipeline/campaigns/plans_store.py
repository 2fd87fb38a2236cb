"""Which campaigns a month has, and their arms as plain SQL, so that no customer leaves the database.

Here: the campaigns as the file and the months before know them, and the expressions. Not here: what the arms mean and
how they are measured (lift.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import duckdb

from segment_pipeline.campaigns.lift import Arm, arm_limits, segment_salt
from segment_pipeline.campaigns.tables import CAMPAIGN_PLANS
from segment_pipeline.config.campaigns import ArmShares, Campaign, read_campaigns
from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.rows import write_rows


@dataclass(frozen=True)
class KnownCampaigns:
    """The campaigns of a month's run, and what is wrong with their file; `remembered` are the names of those that go
    on as they were, because of that. other_shares : those, with their shares in the file, whose arms were drawn with
    others, which they keep."""

    campaigns: tuple[Campaign, ...]
    fault: str = ""
    remembered: tuple[str, ...] = ()
    other_shares: Mapping[str, ArmShares] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What the user should fix, and what happens until then."""
        going_on = [f"until then campaign {name} goes on as it was when it was last read" for name in self.remembered]
        changed = [
            f"shares of campaign {campaign.campaign}: found {_in_words(self.other_shares[campaign.campaign])}; its "
            f"arms were drawn with {_in_words(campaign.shares)}, and stay as they are"
            for campaign in self.campaigns
            if campaign.campaign in self.other_shares
        ]
        return [*self.fault.splitlines(), *going_on, *changed]


def known_campaigns(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> KnownCampaigns:
    """The campaigns of the file and, while something in it is wrong, those that the months up to this one knew.

    A campaign is lost for good when its customers are given other actions, or its control any. So a mistake in the file
    takes back no arm: only a file that can be read whole ends a campaign, by not naming it. Nor do new shares move a
    customer from one arm to another: those count with which the arms were drawn, in the campaign's own month.
    """
    read = read_campaigns(config)
    drawn = {(plan.campaign, plan.month): plan.shares for plan in _plans(connection, month) if plan.month < month}
    other = {
        campaign.campaign: campaign.shares
        for campaign in read.campaigns
        if drawn.get((campaign.campaign, campaign.month), campaign.shares) != campaign.shares
    }
    campaigns = [
        each.model_copy(update={"shares": drawn[each.campaign, each.month]}) if each.campaign in other else each
        for each in read.campaigns
    ]
    if not read.fault:
        return KnownCampaigns(tuple(campaigns), other_shares=other)
    named = {campaign.campaign.casefold() for campaign in campaigns}
    before = [plan for plan in _plans(connection, month) if plan.campaign.casefold() not in named]
    remembered = tuple(plan.campaign for plan in before)
    return KnownCampaigns((*campaigns, *before), read.fault, remembered, other)


def months_to_renew(connection: duckdb.DuckDBPyConnection, campaigns: Sequence[Campaign]) -> dict[str, list[date]]:
    """The published months that have to be run again for a campaign: made while it runs and without it, or the first
    that ends after it and says nothing of it. By the campaign's name; only those that need any."""
    months = [
        month for (month,) in connection.execute("SELECT DISTINCT month FROM monthly_assignments ORDER BY 1").fetchall()
    ]
    with_it = set(connection.execute(f"SELECT month, campaign FROM {CAMPAIGN_PLANS.name}").fetchall())
    told = dict(connection.execute("SELECT campaign, max(month) FROM campaign_lift GROUP BY campaign").fetchall())
    found: dict[str, list[date]] = {}
    for campaign in campaigns:
        name = campaign.campaign
        needed = [month for month in months if campaign.runs_in(month) and (month, name) not in with_it]
        over = [month for month in months if campaign.is_over_in(month)]
        if over and (name not in told or told[name] < over[0]):
            needed.append(over[0])
        if needed:
            found[name] = needed
    return found


def _in_words(shares: ArmShares) -> str:
    return f"matched {shares.matched:g}, random {shares.random:g}, control {shares.control:g}"


def write_plans(connection: duckdb.DuckDBPyConnection, month: date, running: Sequence[Campaign]) -> None:
    """Keep the campaigns that run in the month as they are now, for months in which their file cannot be read."""
    write_rows(
        connection,
        CAMPAIGN_PLANS,
        month,
        [
            {
                "campaign": campaign.campaign,
                "campaign_month": campaign.month,
                "start": campaign.start,
                "measure_until": campaign.measure_until,
                "matched": campaign.shares.matched,
                "random": campaign.shares.random,
                "control": campaign.shares.control,
                "actions": None if campaign.actions is None else list(campaign.actions),
                "value_cap": campaign.value_cap,
            }
            for campaign in running
        ],
    )


def _plans(connection: duckdb.DuckDBPyConnection, month: date) -> list[Campaign]:
    """Every campaign that a month up to this one knew, as the latest of them did."""
    cursor = connection.execute(
        f"""
        SELECT campaign, campaign_month, "start", measure_until, matched, random, control, actions, value_cap
        FROM {CAMPAIGN_PLANS.name} WHERE month <= ?
        QUALIFY row_number() OVER (PARTITION BY campaign ORDER BY month DESC) = 1 ORDER BY campaign
        """,
        [month],
    )
    return [
        Campaign(
            campaign=name,
            month=campaign_month,
            start=start,
            measure_until=until,
            shares=ArmShares(matched=matched, random=random, control=control),
            actions=None if actions is None else tuple(actions),
            value_cap=cap,
        )
        for name, campaign_month, start, until, matched, random, control, actions, cap in cursor.fetchall()
    ]


def shares_of(campaign: Campaign) -> dict[Arm, float]:
    """The share of customers, 0..1, in each arm."""
    shares = campaign.shares
    return {"matched": shares.matched, "random": shares.random, "control": shares.control}


def arm_sql(campaign: str, shares: Mapping[Arm, float], customer_id_expression: str = "customer_id") -> str:
    """An expression for the customer's arm, VARCHAR: "matched", "random" or "control".

    Sticky for a campaign, independent between campaigns. ValueError on shares that do not add up.
    """
    limits = [(literal(arm), limit) for arm, limit in arm_limits(shares)]
    return _drawn_sql(campaign, limits, customer_id_expression)


def random_place_sql(campaign: str, customer_id_expression: str = "customer_id") -> str:
    """An expression for a whole number from 0, BIGINT, independent of the arm: of m segments, in the order of their
    ids, a customer draws the one at that number modulo m.

    Offered are the segments whose action, for a customer of the same tier, is another one than the matched: where
    several segments share an action, a draw from all of them gives many customers the very action with which they are
    compared (37.5 % of them on the demo), and the lift against random shrinks for no reason. Which are offered decides
    what is drawn, so the action matrix is fixed once a campaign begins.
    """
    return _place_sql(segment_salt(campaign), customer_id_expression)


def _drawn_sql(salt: str, limits: Sequence[tuple[str, int]], customer_id_expression: str) -> str:
    *inner, (last, _) = limits
    if not inner:
        return last
    place = _place_sql(salt, customer_id_expression)
    return f"CASE {' '.join(f'WHEN {place} < {limit} THEN {drawn}' for drawn, limit in inner)} ELSE {last} END"


def _place_sql(salt: str, customer_id_expression: str) -> str:
    hashed = f"md5({literal(salt + ':')} || CAST({customer_id_expression} AS VARCHAR))"
    # the first 13 hex digits are 52 bits: exact as a double, and the same on every engine that has md5
    return f"CAST('0x' || left({hashed}, 13) AS BIGINT)"
