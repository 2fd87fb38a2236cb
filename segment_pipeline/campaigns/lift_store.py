"""From arms and outcomes to `campaign_lift`: who took part and what they did. The statistics are segmentation's.

Those who take part are the customers with an arm in the campaign's month, in the arm and segment of that month; whoever
comes later is treated like them and not counted.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array, Flags, Texts
from segment_pipeline.campaigns.lift import ARMS, CAP_QUANTILE, Arm, Metric, measure_lift, minimum_detectable_effect
from segment_pipeline.campaigns.outcomes_store import (
    USABLE,
    CampaignOutcomes,
    OutcomeCounts,
    campaign_outcomes,
    outcomes_table,
)
from segment_pipeline.campaigns.plans_store import KnownCampaigns, shares_of
from segment_pipeline.campaigns.tables import CAMPAIGN_LIFT
from segment_pipeline.config.campaigns import Campaign
from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.errors import SourceError
from segment_pipeline.months import as_of, month_key
from segment_pipeline.words import figure

METRICS: tuple[Metric, ...] = ("conversion", "value")

NO_OUTCOME = (
    "no outcome of its customers between start and measure_until is there yet; the next month that is run tries again"
)

OTHER_SHARES = "; the shares in the campaign file were changed since: those with which the arms were drawn count"

Row = dict[str, object]


@dataclass(frozen=True)
class _Participants:
    """(n,) each, one row per customer of the campaign; `values` are sums over the time asked for, 0 without outcome."""

    arms: Texts
    segment_ids: NDArray[np.int64]
    converted: Flags
    values: Array

    @property
    def arm_sizes(self) -> dict[Arm, int]:
        return {arm: int((self.arms == arm).sum()) for arm in ARMS}


@dataclass(frozen=True)
class Measured:
    """What a month has to tell of its campaigns: the rows of `campaign_lift`, and what became of the outcomes.

    unreadable : why the configured outcomes cannot be read. outcomes : None where none were needed, or none are there.
    """

    rows: list[Row]
    unreadable: str | None = None
    outcomes: OutcomeCounts | None = None
    by_campaign: Sequence[CampaignOutcomes] = ()

    @property
    def problems(self) -> list[str]:
        """What the user should fix."""
        empty = [
            f"campaign {found.campaign.campaign}: no outcome of its customers lies between start and measure_until; "
            "while that is so, each later month tries again"
            for found in self.by_campaign
            if not found.within
        ]
        return [
            *([self.unreadable] if self.unreadable else []),
            *(self.outcomes.problems if self.outcomes else []),
            *empty,
        ]

    @property
    def not_counted(self) -> list[str]:
        """Outcomes outside of the campaigns' time: no fault, an outcomes file may hold all there is."""
        return [remark for found in self.by_campaign for remark in found.remarks]

    @property
    def figures(self) -> dict[str, int]:
        counts = asdict(self.outcomes) if self.outcomes else {}
        totals = {
            key: sum(getattr(found, key) for found in self.by_campaign)
            for key in ("before_start", "within", "after_end")
            if self.by_campaign
        }
        return counts | totals

    @property
    def verdicts(self) -> list[str]:
        """Those of whole campaigns."""
        return [
            f"{row['campaign']}, {row['metric']}: {row['verdict']}" for row in self.rows if row["segment_id"] is None
        ]


def measured_campaigns(
    connection: duckdb.DuckDBPyConnection, config: Config, known: KnownCampaigns, month: date
) -> Measured:
    """The plans of the campaigns that test the month's actions, and the lifts of those that have ended and have none.

    So what could not be measured when a campaign ended is measured by a later month; and what this month has measured
    is not taken back by a run that cannot. Call it outside of a transaction: outcomes that cannot be read would abort
    it, and they cost no month.
    """
    campaigns = known.campaigns
    planned = [campaign for campaign in campaigns if campaign.month == month]
    done = _measured_before(connection, month)
    ended = [campaign for campaign in campaigns if campaign.is_over_in(month) and campaign.campaign not in done]
    standing = _measurements(connection, month)

    def rows(no_outcomes: str | None, empty: Collection[str] = ()) -> list[Row]:
        found = [row for campaign in planned for row in _planned(connection, campaign, no_outcomes)]
        for campaign in ended:
            why = NO_OUTCOME if campaign.campaign in empty else no_outcomes
            lifts = _lifts(connection, campaign, month, why)
            found += lifts if any(_is_measurement(row) for row in lifts) else standing.get(campaign.campaign, lifts)
        for row in found:
            if row["campaign"] in known.other_shares and not str(row["verdict"]).endswith(OTHER_SHARES):
                row["verdict"] = f"{row['verdict']}{OTHER_SHARES}"
        return found

    if config.outcomes is None or not (planned or ended):
        return Measured(rows("the configuration names no outcomes"))
    try:
        with outcomes_table(connection, config, config.outcomes, month) as counts:
            with_arms = [campaign for campaign in ended if _has_arms(connection, campaign)]
            by_campaign = [campaign_outcomes(connection, campaign) for campaign in with_arms]
            empty = {found.campaign.campaign for found in by_campaign if not found.within}
            return Measured(rows(None, empty), outcomes=counts, by_campaign=by_campaign)
    except SourceError as error:
        # the message names files of this machine, so it stands in the check and not in what is published
        said = "the outcomes cannot be read; the check outcomes_can_be_used says why"
        return Measured(rows(said), unreadable=str(error))


def _is_measurement(row: Row) -> bool:
    """Whether the row tells what came of a campaign, if only that its arms or its size are no good."""
    return row["sample_ratio_p"] is not None


def _measured_before(connection: duckdb.DuckDBPyConnection, month: date) -> set[str]:
    """The campaigns of which an earlier month tells what came of them."""
    found = connection.execute(
        f"SELECT DISTINCT campaign FROM {CAMPAIGN_LIFT.name} WHERE month < ? AND sample_ratio_p IS NOT NULL", [month]
    )
    return {name for (name,) in found.fetchall()}


def _measurements(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, list[Row]]:
    """What an earlier run of this month has measured, by campaign."""
    names = [name for name in CAMPAIGN_LIFT.column_names if name != "month"]
    found = connection.execute(
        f"SELECT {', '.join(map(identifier, names))} FROM {CAMPAIGN_LIFT.name} "
        f"WHERE month = ? AND sample_ratio_p IS NOT NULL ORDER BY {', '.join(map(identifier, CAMPAIGN_LIFT.key))}",
        [month],
    )
    rows: dict[str, list[Row]] = {}
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        rows.setdefault(str(row["campaign"]), []).append(row)
    return rows


def _has_arms(connection: duckdb.DuckDBPyConnection, campaign: Campaign) -> bool:
    found = connection.execute(
        "SELECT 1 FROM customer_actions WHERE month = ? AND campaign = ? LIMIT 1", [campaign.month, campaign.campaign]
    )
    return found.fetchone() is not None


def _planned(connection: duckdb.DuckDBPyConnection, campaign: Campaign, no_outcomes: str | None) -> list[Row]:
    """What it can find, judging by an equal time before the month's end: what is known when it is planned."""
    end = as_of(campaign.month)
    since = end - (campaign.measure_until - campaign.start)
    if no_outcomes is not None:
        reason = f"not measured yet; how small an effect it can find is not known: {no_outcomes}"
        return [_row(campaign, *of, reason) for of in _comparisons(campaign)]
    found = _participants(connection, campaign, since, end)
    if not len(found.arms):
        return [
            _row(campaign, *of, f"not measured yet; {_nobody(campaign, campaign.month)}")
            for of in _comparisons(campaign)
        ]
    values, cap = _capped(found.values, campaign.value_cap)
    rows = []
    for metric, against in _comparisons(campaign):
        base = found.converted.astype(np.float64) if metric == "conversion" else values
        sizes = (found.arm_sizes["matched"], found.arm_sizes[against])
        effect = _detectable(metric, base, sizes)
        said = (
            f"not measured yet; from {campaign.start} to {campaign.measure_until} it finds a lift of "
            f"{figure(effect, 3)}, in 80 % of cases, over {figure(float(base.mean()), 3)} from {since} to {end}"
            if effect is not None
            else f"not measured yet; the outcomes from {since} to {end} do not tell how small an effect it can find"
        )
        row = _row(campaign, metric, against, said, found.arm_sizes)
        rows.append(row | {"cap": cap if metric == "value" else None, "minimum_detectable_effect": effect})
    return rows


def _lifts(
    connection: duckdb.DuckDBPyConnection, campaign: Campaign, month: date, no_outcomes: str | None
) -> list[Row]:
    if no_outcomes is not None:
        return [_row(campaign, *of, f"not measured: {no_outcomes}") for of in _comparisons(campaign)]
    found = _participants(connection, campaign, campaign.start, campaign.measure_until)
    if not len(found.arms):
        return [_row(campaign, *of, f"not measured: {_nobody(campaign, month)}") for of in _comparisons(campaign)]
    lifts = measure_lift(
        found.arms, found.segment_ids, found.converted, found.values, shares_of(campaign), campaign.value_cap
    )
    return [_row(campaign, lift.metric, lift.against, lift.verdict) | asdict(lift) for lift in lifts]


def _participants(connection: duckdb.DuckDBPyConnection, campaign: Campaign, since: date, until: date) -> _Participants:
    start, end = (f"DATE {literal(day.isoformat())}" for day in (since, until))
    found = connection.execute(
        f"""
        SELECT a.arm, a.segment_id, count(o.customer_id) > 0 AS converted,
            CAST(coalesce(sum(o.value), 0) AS DOUBLE) AS value
        FROM customer_actions AS a
        LEFT JOIN (
            SELECT customer_id, value FROM outcomes
            WHERE {USABLE} AND occurred_at >= {start} AND occurred_at < {end}
        ) AS o ON o.customer_id = a.customer_id
        WHERE a.month = ? AND a.campaign = ?
        GROUP BY a.customer_id, a.arm, a.segment_id
        ORDER BY a.customer_id
        """,
        [campaign.month, campaign.campaign],
    ).fetchnumpy()
    return _Participants(
        np.asarray(found["arm"], dtype=np.str_),
        np.asarray(found["segment_id"], dtype=np.int64),
        np.asarray(found["converted"], dtype=np.bool_),
        np.asarray(found["value"], dtype=np.float64),
    )


def _capped(values: Array, cap: float | None) -> tuple[Array, float | None]:
    positive = values[values > 0]
    if cap is None and positive.size:
        cap = float(np.quantile(positive, CAP_QUANTILE))
    return (values if cap is None else np.minimum(values, cap)), cap


def _detectable(metric: Metric, base: Array, sizes: tuple[int, int]) -> float | None:
    """None where there is nothing to go by, or nothing that it could find."""
    if len(base) < 2 or base.min() == base.max():
        return None
    if metric == "conversion":
        return minimum_detectable_effect(sizes, base_rate=float(base.mean()))
    return minimum_detectable_effect(sizes, base_value=(float(base.mean()), float(base.std(ddof=1))))


def _nobody(campaign: Campaign, month: date) -> str:
    key, last = month_key(campaign.month), month_key(month)
    span = key if key == last else f"{key}..{last}"
    return (
        f"no customer has an arm in {key}: either none of its actions reached anybody, or {key} was run before the "
        "campaign stood in the file. Arms are given when that month is run, before its actions are carried out. To "
        f"have them: segment-pipeline run --months {span} --force"
    )


def _comparisons(campaign: Campaign) -> Iterator[tuple[Metric, Arm]]:
    shares = shares_of(campaign)
    for metric in METRICS:
        for against in ARMS[1:]:
            if shares[against] > 0:
                yield metric, against


def _row(campaign: Campaign, metric: Metric, against: Arm, verdict: str, sizes: dict[Arm, int] | None = None) -> Row:
    """A row of the whole campaign without figures; all rows have the same columns."""
    row: Row = dict.fromkeys(CAMPAIGN_LIFT.column_names)
    del row["month"]
    row |= {"campaign": campaign.campaign, "metric": metric, "against": against, "verdict": verdict}
    return row | {f"{arm}_customers": size for arm, size in (sizes or {}).items()}
