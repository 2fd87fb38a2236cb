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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels, Texts
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
    days_since_last_order : (n,) at as_of; NaN where it is not known, as of a column that the source has got since, and
    nothing is then said of the longest silent. churn_risk : (n,) probability of silence, 0..1; None where it was
    refused.
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


@dataclass(frozen=True, eq=False)
class _Choice:
    """Whom somebody chose, in a month or in several. customer_ids (k,) one for each time; hits (k,) whether that
    customer then kept silent; lead_times (h,) days, of those who did; money : their yearly spend together, None where
    it is not known of every month."""

    customer_ids: Texts
    hits: Flags
    lead_times: Array
    money: float | None

    @property
    def precision(self) -> float:
        return float(self.hits.sum() / len(self.hits))

    @property
    def median_lead_time(self) -> float | None:
        return float(np.median(self.lead_times)) if len(self.lead_times) else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, at the number of independent alerts that were as uncertain as these (Korn and Graubard 1998)."""
        n, share = len(self.hits), self.precision
        known, customer = np.unique(self.customer_ids, return_inverse=True)
        variance = float((_influence(*self._per_customer(customer, len(known))) ** 2).sum())
        effective = min(n, share * (1 - share) / variance) if variance > 0 else n
        return wilson(share * effective if 0 < share < 1 else share * n, effective if 0 < share < 1 else n)

    def difference_from(self, rival: "_Choice") -> tuple[float, float]:
        known, customer = np.unique(np.concatenate([self.customer_ids, rival.customer_ids]), return_inverse=True)
        ours, theirs = customer[: len(self.hits)], customer[len(self.hits) :]
        return difference_interval(
            *self._per_customer(ours, len(known)),
            *rival._per_customer(theirs, len(known)),
        )

    def _per_customer(self, customer: Labels, customers: int) -> tuple[Array, Array]:
        """(c,) how often each was chosen rightly, and how often at all. customer (k,) 0..c-1: who was, each time."""
        times = np.bincount(customer, minlength=customers).astype(np.float64)
        return np.bincount(customer, self.hits, customers).astype(np.float64), times


@dataclass(frozen=True, eq=False)
class _Alerts:
    """A warning in a month. elsewhere : alerts on customers who are not judged. The rest: whom it named among the
    others, and whom as many by each ranking are; None where the month has not that ranking."""

    elsewhere: int
    rule: _Choice
    recency: _Choice | None
    risk: _Choice | None
    value: _Choice | None


@dataclass(frozen=True, eq=False)
class JudgedMonth:
    """What the back-test keeps of a month: of its customers, only those whom somebody chose.

    is_ranked : whether it has a churn risk. eligible, silent : customers. money : yearly spend of those who kept silent
    among them, None where it is not known. alerts : by warning. nobody : of a warning that the month does not name.
    """

    month: date
    is_ranked: bool
    eligible: int
    silent: int
    money: float | None
    alerts: Mapping[str, _Alerts]
    nobody: _Alerts


def backtest(months: Iterable[WarnedMonth], horizon_days: int = 90, judged: Judged = "engaged") -> list[BacktestRow]:
    """Rows of each observed month and of all of them pooled (month None), for every warning that any month names.

    Months in time, warnings as the months name them; a month in which a warning was silent has a row of 0 alerts.
    Nothing is drawn: same months, same rows.
    """
    return rows_of([judge(m, horizon_days, judged) for m in months if m.silent is not None], horizon_days, judged)


def judge(m: WarnedMonth, horizon_days: int, judged: Judged) -> JudgedMonth:
    """One observed month of the back-test, so that no two months' customers have to be held at once."""
    m = m.judged_on(judged)
    recency = None if np.isnan(m.days_since_last_order).any() else m.days_since_last_order
    by_recency, by_risk, by_value = (
        None if ranking is None else _ranked(ranking, m.eligible, m.customer_ids)
        for ranking in (recency, m.churn_risk, m.revenue_at_risk)
    )

    def alerts(flags: Flags) -> _Alerts:
        named = np.flatnonzero(flags & m.eligible)
        volume = len(named)
        return _Alerts(
            int(flags.sum()) - volume,
            _choice(m, named, horizon_days),
            None if by_recency is None else _choice(m, np.sort(by_recency[:volume]), horizon_days),
            None if by_risk is None else _choice(m, np.sort(by_risk[:volume]), horizon_days),
            None if by_value is None else _choice(m, np.sort(by_value[:volume]), horizon_days),
        )

    eligible = np.flatnonzero(m.eligible)
    return JudgedMonth(
        m.month,
        m.churn_risk is not None,
        len(eligible),
        int(_labels(m)[eligible].sum()),
        _money(m, eligible),
        {warning: alerts(flags) for warning, flags in m.alerts.items()},
        alerts(np.zeros(len(m.eligible), dtype=bool)),
    )


def rows_of(months: Sequence[JudgedMonth], horizon_days: int, judged: Judged) -> list[BacktestRow]:
    """The rows of `backtest`, of months that were judged on the same question."""
    observed = sorted(months, key=lambda m: m.month)
    warnings = list(dict.fromkeys(warning for m in observed for warning in m.alerts))
    ranked = [m for m in observed if m.is_ranked]
    rows = [_row(judged, m.month, warning, [m], horizon_days) for m in observed for warning in warnings]
    if observed:
        rows += [_row(judged, None, warning, ranked or observed, horizon_days) for warning in warnings]
    return rows


def most_urgent(ranking: Array, eligible: Flags, volume: int, customer_ids: Texts) -> Flags:
    """(n,) the `volume` eligible customers who rank highest; of equals, those whose id comes first as text.

    ranking : (n,) higher = more urgent. Fewer than `volume` only where fewer are eligible.
    """
    chosen = np.zeros(len(eligible), dtype=bool)
    chosen[_ranked(ranking, eligible, customer_ids)[:volume]] = True
    return chosen


def _ranked(ranking: Array, eligible: Flags, customer_ids: Texts) -> Labels:
    """(e,) places of the eligible, the most urgent first, as `most_urgent` has them."""
    candidates = np.flatnonzero(eligible)
    return np.asarray(candidates[np.lexsort((customer_ids[candidates], -ranking[candidates]))])


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


def _row(
    judged: Judged, month: date | None, warning: str, months: Sequence[JudgedMonth], horizon_days: int
) -> BacktestRow:
    alerts = [m.alerts.get(warning, m.nobody) for m in months]
    volume = sum(len(a.rule.hits) for a in alerts)
    eligible, silent = sum(m.eligible for m in months), sum(m.silent for m in months)
    base_rate = silent / eligible if eligible else None
    rule = risk = recency = value = None
    interval = difference = None
    if volume:
        rule, recency = _together([a.rule for a in alerts]), _together([a.recency for a in alerts])
        risk, value = _together([a.risk for a in alerts]), _together([a.value for a in alerts])
        interval = rule.interval if rule else None
        difference = risk.difference_from(recency) if risk and recency else None
    return BacktestRow(
        judged=judged,
        month=month,
        warning=warning,
        months=len(months),
        alerts=volume,
        alerts_elsewhere=sum(a.elsewhere for a in alerts),
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


def _together(choices: Sequence[_Choice | None]) -> _Choice | None:
    """The choices of several months as one; None where a month has none."""
    known = [choice for choice in choices if choice is not None]
    if len(known) < len(choices):
        return None
    money = [choice.money for choice in known if choice.money is not None]
    return _Choice(
        np.concatenate([choice.customer_ids for choice in known]),
        np.concatenate([choice.hits for choice in known]),
        np.concatenate([choice.lead_times for choice in known]),
        sum(money) if len(money) == len(known) else None,
    )


def _choice(m: WarnedMonth, places: Labels, horizon_days: int) -> _Choice:
    """places (k,) of the customers who are chosen."""
    hits = _labels(m)[places]
    # who keeps silent after as_of has been silent for the horizon when what is left of it has passed
    left = np.maximum(horizon_days - m.days_since_last_order[places][hits], 0.0)
    return _Choice(m.customer_ids[places], hits, left[~np.isnan(left)], _money(m, places))


def _money(m: WarnedMonth, places: Labels) -> float | None:
    """What the customers at these places who kept silent spend in a year; None where it is not known."""
    return None if m.yearly_spend is None else float(m.yearly_spend[places][_labels(m)[places]].sum())


def _money_at_random(months: Sequence[JudgedMonth], alerts: Sequence[_Alerts]) -> float:
    """What is lost with as many of the eligible in each month, drawn at random, on average."""
    drawn = [(m.money or 0.0) * (len(a.rule.hits) / max(1, m.eligible)) for m, a in zip(months, alerts, strict=True)]
    return sum(drawn)


def _influence(hits: Array, chosen: Array) -> Array:
    """(c,) how much each customer moves the ratio hits / chosen, to first order."""
    return np.asarray((hits - hits.sum() / chosen.sum() * chosen) / chosen.sum())


def _labels(m: WarnedMonth) -> Flags:
    if m.silent is None:
        raise ValueError(f"{month_key(m.month)} has no labels yet and must not be counted")
    return m.silent
