"""Back-test: were the warnings right, and were they better than the obvious?

Here: precision, recall, lift, lead time and lost money of alerts against the silence that followed, beside churn risk,
revenue at risk, the longest silent and chance, all at the same volume and over the same customers. Not here: who is
alerted (rules_store.py) and how risk is learned (churn.py).

The rivals of a rule may choose only among customers about whom the rule was asked, and name as many of them as it did,
month by month. A month whose horizon has not been observed counts nowhere.

Three questions are judged, each among its own customers. `engaged`: do the rules tell who of those that can still be
lost will be, who were engaged this month or the month before (probability above `WarningSettings.engaged_above`)?
Mixed signals and a fall that matters start there. `everybody`: all that the rules say, among all customers, as it
stands in the table. `within_budget`: the list of those to be contacted (`any`), warned or not, which is what people act
on, and the warnings on it, among all customers that may be contacted. The last two may be won by a ranking that names
customers who are as good as gone (on CDNOW two in three of the whole base keep silent, and a list of them tells nobody
anything); that is for the reader to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from segment_pipeline.arrays import Array, Flags, Texts
from segment_pipeline.measures import Z95, wilson
from segment_pipeline.months import month_key

Judged = Literal["engaged", "everybody", "within_budget"]

JUDGED: tuple[Judged, ...] = ("engaged", "everybody", "within_budget")

WHOLE = "any"
"""In the place of a rule: any of them, or the contact list as a whole."""


@dataclass(frozen=True, eq=False)
class WarnedMonth:
    """One closed month: who was alerted, by what they could have been ranked, and what then happened.

    customer_ids : (n,) unique. eligible : (n,) about whom the rules are judged. alerts : warning -> (n,).
    contact_allowed : (n,) who may be contacted; None: all of them. to_contact : (n,) who is on the contact list, warned
    or not; None: everybody with a warning.
    days_since_last_order : (n,) at as_of. churn_risk : (n,) probability of silence, 0..1; None where it was refused.
    silent : (n,) no order within the horizon after as_of; None until that has been observed.
    revenue_at_risk : (n,) money, what ranks the contact list, below 0 where it is not known; yearly_spend : (n,) money,
    0 or more, what a customer spends in a year at the pace of the last window; None where no order lines tell them.
    """

    month: date
    customer_ids: Texts
    eligible: Flags
    alerts: Mapping[str, Flags]
    days_since_last_order: Array
    churn_risk: Array | None
    silent: Flags | None
    contact_allowed: Flags | None = None
    to_contact: Flags | None = None
    revenue_at_risk: Array | None = None
    yearly_spend: Array | None = None

    def judged_on(self, judged: Judged) -> "WarnedMonth":
        """The month with the customers and the alerts that a question of the back-test is about."""
        if judged == "engaged":
            return self
        everybody = np.ones(len(self.customer_ids), dtype=bool)
        if judged == "everybody":
            return replace(self, eligible=everybody)
        allowed = everybody if self.contact_allowed is None else self.contact_allowed
        chosen = everybody if self.to_contact is None else self.to_contact
        alerts = {warning: flags & allowed & chosen for warning, flags in self.alerts.items()}
        if self.to_contact is not None and WHOLE in alerts:
            alerts[WHOLE] = allowed & chosen
        return replace(self, eligible=allowed, alerts=alerts)


@dataclass(frozen=True)
class BacktestRow:
    """One row of `warning_backtest`. Shares are 0..1; None where nothing can be said (no alerts, no churn risk).

    judged : what is judged, among whom (JUDGED). month : None = pooled over the observed months in which churn risk
    ranked too, or over all observed months where it never did, so that all figures of a row are of the same customers.
    months : how many. alerts, alerts_elsewhere : on the customers judged, which all other figures are about, and on
    others. eligible : customers, summed over months. base_rate : share of the eligible who kept silent, which is the
    precision of naming them at random. precision : share of the alerted who did, with its interval of 95 % (`wilson`;
    pooled, customers who return in other months are not counted as if they were others). recall : share of the silent
    who were alerted. lift : precision / base_rate.
    churn_risk_precision, recency_precision : of as many eligible customers of highest risk, and longest silent.
    difference : the first less the second, with its interval of 95 % over customers (`difference_interval`).
    lead_time_days : median over the true alerts of how long before the naive rule "no order for horizon_days" they
    came, 0 or more; churn_risk_lead_time_days, recency_lead_time_days : that of the rivals' true alerts.
    money_lost : yearly spend of the alerted who kept silent, which is what a contact in time could have kept;
    random_money_lost, churn_risk_money_lost, revenue_at_risk_money_lost : that of as many customers by these rankings,
    at random on average. revenue_at_risk_precision : of the last of them.
    """

    judged: Judged
    month: date | None
    warning: str
    months: int
    alerts: int
    alerts_elsewhere: int
    eligible: int
    base_rate: float | None
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    lift: float | None
    churn_risk_precision: float | None
    recency_precision: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    lead_time_days: float | None
    churn_risk_lead_time_days: float | None
    recency_lead_time_days: float | None
    horizon_days: int
    revenue_at_risk_precision: float | None = None
    money_lost: float | None = None
    random_money_lost: float | None = None
    churn_risk_money_lost: float | None = None
    revenue_at_risk_money_lost: float | None = None


def backtest(months: Sequence[WarnedMonth], horizon_days: int = 90, judged: Judged = "engaged") -> list[BacktestRow]:
    """Rows of each observed month and of all of them pooled (month None), for every warning that any month names.

    Months in time, warnings as the months name them; a month in which a warning was silent has a row of 0 alerts.
    Nothing is drawn: same months, same rows.
    """
    observed = sorted((m.judged_on(judged) for m in months if m.silent is not None), key=lambda m: m.month)
    warnings = list(dict.fromkeys(warning for m in observed for warning in m.alerts))
    ranked = [m for m in observed if m.churn_risk is not None]
    rows = [_row(judged, m.month, warning, [m], horizon_days) for m in observed for warning in warnings]
    if observed:
        rows += [_row(judged, None, warning, ranked or observed, horizon_days) for warning in warnings]
    return rows


def most_urgent(ranking: Array, eligible: Flags, volume: int, customer_ids: Texts) -> Flags:
    """(n,) the `volume` eligible customers who rank highest; of equals, those whose id comes first as text.

    ranking : (n,) higher = more urgent. Fewer than `volume` only where fewer are eligible.
    """
    candidates = np.flatnonzero(eligible)
    order = np.lexsort((customer_ids[candidates], -ranking[candidates]))
    chosen = np.zeros(len(eligible), dtype=bool)
    chosen[candidates[order[:volume]]] = True
    return chosen


def difference_interval(hits: Array, chosen: Array, rival_hits: Array, rival_chosen: Array) -> tuple[float, float]:
    """Interval of 95 % for the precision of one choice less that of its rival, over customers.

    Each (c,): how often a customer was chosen over all months, and how often rightly. Customers are the units: the same
    one may be chosen by both and in many months, which makes the two precisions depend on each other and on themselves.
    Linearised (Taylor) variance of a difference of two ratios (Särndal, Swensson and Wretman 1992, section 5.5), which
    is where a paired bootstrap over customers goes, without its draws.
    """
    first, second = hits.sum() / chosen.sum(), rival_hits.sum() / rival_chosen.sum()
    influence = _influence(hits, chosen) - _influence(rival_hits, rival_chosen)
    half = Z95 * float(np.sqrt((influence**2).sum()))
    return float(first - second) - half, float(first - second) + half


@dataclass(frozen=True, eq=False)
class _Choice:
    """Whom somebody chose, over some months: (c,) times per customer, times rightly; lead times of the right ones, and
    their yearly spend together, None where it is not known of every month."""

    chosen: Array
    hits: Array
    lead_times: Array
    money: float | None

    @property
    def precision(self) -> float:
        return float(self.hits.sum() / self.chosen.sum())

    @property
    def median_lead_time(self) -> float | None:
        return float(np.median(self.lead_times)) if len(self.lead_times) else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, at the number of independent alerts that were as uncertain as these (Korn and Graubard 1998)."""
        n, share = self.chosen.sum(), self.precision
        variance = float((_influence(self.hits, self.chosen) ** 2).sum())
        effective = min(n, share * (1 - share) / variance) if variance > 0 else n
        return wilson(share * effective if 0 < share < 1 else share * n, effective if 0 < share < 1 else n)


def _row(
    judged: Judged, month: date | None, warning: str, months: Sequence[WarnedMonth], horizon_days: int
) -> BacktestRow:
    everyone = [m.alerts.get(warning, np.zeros(len(m.eligible), dtype=bool)) for m in months]
    alerts = [flags & m.eligible for flags, m in zip(everyone, months, strict=True)]
    volume = sum(int(flags.sum()) for flags in alerts)
    eligible = sum(int(m.eligible.sum()) for m in months)
    silent = sum(int((m.eligible & _labels(m)).sum()) for m in months)
    base_rate = silent / eligible if eligible else None
    rule = risk = recency = value = None
    interval = difference = None
    if volume:
        rule = _choice(months, alerts, horizon_days)
        interval = rule.interval
        recency = _choice(months, _rivals(months, alerts, [m.days_since_last_order for m in months]), horizon_days)
        risks = [m.churn_risk for m in months if m.churn_risk is not None]
        if len(risks) == len(months):
            risk = _choice(months, _rivals(months, alerts, risks), horizon_days)
            difference = difference_interval(risk.hits, risk.chosen, recency.hits, recency.chosen)
        values = [m.revenue_at_risk for m in months if m.revenue_at_risk is not None]
        if len(values) == len(months):
            value = _choice(months, _rivals(months, alerts, values), horizon_days)
    return BacktestRow(
        judged=judged,
        month=month,
        warning=warning,
        months=len(months),
        alerts=volume,
        alerts_elsewhere=sum(int(flags.sum()) for flags in everyone) - volume,
        eligible=eligible,
        base_rate=base_rate,
        precision=rule.precision if rule else None,
        precision_low=interval[0] if interval else None,
        precision_high=interval[1] if interval else None,
        recall=float(rule.hits.sum()) / silent if rule and silent else None,
        lift=rule.precision / base_rate if rule and base_rate else None,
        churn_risk_precision=risk.precision if risk else None,
        recency_precision=recency.precision if recency else None,
        difference=risk.precision - recency.precision if risk and recency else None,
        difference_low=difference[0] if difference else None,
        difference_high=difference[1] if difference else None,
        lead_time_days=rule.median_lead_time if rule else None,
        churn_risk_lead_time_days=risk.median_lead_time if risk else None,
        recency_lead_time_days=recency.median_lead_time if recency else None,
        horizon_days=horizon_days,
        revenue_at_risk_precision=value.precision if value else None,
        money_lost=rule.money if rule else None,
        random_money_lost=_money_at_random(months, alerts) if rule and rule.money is not None else None,
        churn_risk_money_lost=risk.money if risk else None,
        revenue_at_risk_money_lost=value.money if value else None,
    )


def _rivals(months: Sequence[WarnedMonth], alerts: Sequence[Flags], rankings: Sequence[Array]) -> list[Flags]:
    """As many as the rule alerted in each month, the first of the ranking."""
    return [
        most_urgent(ranking, m.eligible, int(flags.sum()), m.customer_ids)
        for m, flags, ranking in zip(months, alerts, rankings, strict=True)
    ]


def _choice(months: Sequence[WarnedMonth], flags: Sequence[Flags], horizon_days: int) -> _Choice:
    known, customer = np.unique(np.concatenate([m.customer_ids for m in months]), return_inverse=True)
    chosen = np.concatenate(flags)
    hits = chosen & np.concatenate([_labels(m) for m in months])
    # who keeps silent after as_of has been silent for the horizon when what is left of it has passed
    left = np.maximum(horizon_days - np.concatenate([m.days_since_last_order for m in months])[hits], 0.0)
    return _Choice(
        np.bincount(customer, chosen, len(known)).astype(np.float64),
        np.bincount(customer, hits, len(known)).astype(np.float64),
        left,
        _money(months, flags),
    )


def _money(months: Sequence[WarnedMonth], flags: Sequence[Flags]) -> float | None:
    """What the customers of these flags who kept silent spend in a year; None where it is not known of every month."""
    lost = [
        float(m.yearly_spend[chosen & _labels(m)].sum())
        for m, chosen in zip(months, flags, strict=True)
        if m.yearly_spend is not None
    ]
    return sum(lost) if len(lost) == len(months) else None


def _money_at_random(months: Sequence[WarnedMonth], alerts: Sequence[Flags]) -> float:
    """What is lost with as many of the eligible in each month, drawn at random, on average."""
    drawn = [
        (_money([m], [m.eligible]) or 0.0) * float(flags.sum() / max(1, m.eligible.sum()))
        for m, flags in zip(months, alerts, strict=True)
    ]
    return sum(drawn)


def _influence(hits: Array, chosen: Array) -> Array:
    """(c,) how much each customer moves the ratio hits / chosen, to first order."""
    return np.asarray((hits - hits.sum() / chosen.sum() * chosen) / chosen.sum())


def _labels(m: WarnedMonth) -> Flags:
    if m.silent is None:
        raise ValueError(f"{month_key(m.month)} has no labels yet and must not be counted")
    return m.silent
