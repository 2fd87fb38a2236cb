"""Churn risk: how probable it is that a customer keeps silent, from memberships, their shifts and the features.

Here: which months a model may learn from, the model, how good its probabilities are. Not here: whom to alert
(config/warning_rules.py) and whether alerts are worth having (backtest.py).

The model is scikit-learn's logistic regression with a ridge penalty, found by Newton's method: no draw is in it, so the
same months give the same bits. On CDNOW's months up to October 1997 gradient boosting predicted no better and took far
longer (benchmarks/churn_risk.py has it beside the published risk on the later ones), and Platt's scaling on the latest
month, held out, made the log loss worse (0.608 against 0.605 and, on the demo, 0.128 against 0.126: what moves is the
base rate, and no past month knows of it), so there is none. Of the history, counts of all orders and the age of a
customer are left out: they grow with the calendar, so that what was learned of them a few months ago no longer holds.

The decaying counts grow with the calendar as well, while the source's history is short: three months of orders hold
half of what a count with a half-life of 90 days will once hold. Whether that is to be taken out cannot be known
beforehand. Where customers come all the time it is (demo: 2.9 % foretold, 4.1 % came, with it 4.0 %), where all came in
one season they have themselves become older (CDNOW: 0.596 nats, with it 0.604). So the months that are known decide.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from segment_pipeline.arrays import Array, Flags, Texts
from segment_pipeline.measures import settled
from segment_pipeline.mixture.estimator import one_blas_thread
from segment_pipeline.months import as_of, month_key

Group = Literal["memberships", "shifts", "features", "history"]

WITH_HISTORY: tuple[Group, ...] = ("memberships", "history")
"""What a model looks at where there are order lines. Beside these two, features and shifts predicted no better on CDNOW
(AUC 0.714 for 0.715) nor on the demo (0.895 for 0.895), and there are four times as many of them."""

READY_MADE: tuple[Group, ...] = ("memberships", "shifts", "features")
"""What it looks at where a source has one row per customer."""

HISTORY = (
    "days_since_last_order",
    "lately_30",
    "lately_60",
    "lately_90",
    "log_gap",
    "gap_spread",
    "log_spend",
)
"""What is known of all the orders of a customer, as the columns of `order_histories`, which says what they are."""

_GAPS = [HISTORY.index("log_gap"), HISTORY.index("gap_spread")]

_HALF_LIVES = np.array([30.0, 60.0, 90.0])
"""Days in which an order comes to count half, of lately_30, lately_60 and lately_90."""

_LONG_HISTORY = 600
"""Days of history from which the counts hold 99 % of what they ever will, so that its length does not matter."""

RIDGE = 1.0
"""Penalty on half the squared coefficients of standardised inputs: the weight of about four customers. It only has to
settle what inputs that repeat one another (memberships sum to 1) leave open."""

_BARELY = 1e-9
"""The ridge of a slope that is to be found as it is."""


@dataclass(frozen=True, eq=False)
class CustomerMonth:
    """The customers of one closed month, as the champion of the month that is scored sees them.

    month : first day of the closed month. customer_ids : (n,). Z : (n, d) features as `FeatureSpace.transform` gives
    them. R : (n, k) membership probabilities. R_before : (n, k) those of the same customers a month earlier; NaN in the
    rows of customers who were not there. silent : (n,) no order within the horizon after as_of; None until the horizon
    has been observed. history : (n, 7) HISTORY, NaN in log_gap and gap_spread of who has ordered once; None where the
    source has no order lines. history_days : how many days of history the source had at as_of; None where that is not
    known.
    """

    month: date
    customer_ids: Texts
    Z: Array
    R: Array
    R_before: Array
    silent: Flags | None
    history: Array | None = None
    history_days: int | None = None

    def __post_init__(self) -> None:
        n = len(self.customer_ids)
        parts = {"Z": self.Z, "R": self.R, "R_before": self.R_before, "silent": self.silent, "history": self.history}
        for name, part in parts.items():
            if part is not None and len(part) != n:
                raise ValueError(f"{month_key(self.month)}: {n} customers but {len(part)} rows of {name}")
        if self.R.shape != self.R_before.shape:
            raise ValueError(
                f"{month_key(self.month)}: memberships {self.R.shape} and those of the month before "
                f"{self.R_before.shape} are not of one champion"
            )
        told = None if self.history is None else np.delete(self.history, _GAPS, axis=1)
        for name, part in {"Z": self.Z, "R": self.R, "history": told}.items():
            if part is not None and not np.isfinite(part).all():
                raise ValueError(f"{month_key(self.month)}: {name} holds values that are not finite")


@dataclass(frozen=True)
class Refusal:
    """Why there is no churn risk, in words with figures."""

    reason: str


@dataclass(frozen=True, eq=False)
class ChurnRisk:
    """A fitted model. months : those it learned from, ascending. customers, events : rows, and how many kept silent.
    by_length : whether counts of orders are taken in proportion to what the length of the history lets them be.

    Each (p,): low, high : the range of an input in the fit; center, scale : its mean and spread. coefficients :
    (1 + p,) of the constant and of the standardised inputs, log odds; above 0 = more silent.
    """

    groups: tuple[Group, ...]
    by_length: bool
    months: tuple[date, ...]
    customers: int
    events: int
    low: Array
    high: Array
    center: Array
    scale: Array
    coefficients: Array

    def predict(self, month: CustomerMonth) -> Array:
        """(n,) probability that a customer keeps silent for the whole horizon, 0..1; its labels are not looked at.

        Raises ValueError when the month has other columns than the months of the fit.
        """
        inputs = _inputs(month, self.groups, by_length=self.by_length)
        if inputs.shape[1] != len(self.center):
            raise ValueError(
                f"{month_key(month.month)} has {inputs.shape[1]} inputs where the churn risk was fitted on "
                f"{len(self.center)}: score all months with one champion"
            )
        # What lies beyond all that the fit has seen is taken for the nearest that it has: a segment that had next to no
        # members then may have many now, and its slope, measured over 1e-10, would put all of them at exactly 1.
        inputs = np.clip(inputs, self.low, self.high)
        with one_blas_thread():
            return np.asarray(expit(self.coefficients[0] + (inputs - self.center) / self.scale @ self.coefficients[1:]))


@dataclass(frozen=True)
class ForecastQuality:
    """How good probabilities are, against what happened.

    auc : 0.5 = worthless, 1 = every silent customer above every other; NaN when all did the same. brier, log_loss (nats
    per customer) : lower is better. base_rate, mean_probability : 0..1, alike when calibrated in the large.
    calibration_error : mean distance between probability and frequency over tenths of the customers, weighted by their
    size (expected calibration error; Naeini et al. 2015), 0..1, lower is better. calibration_slope : of a logistic
    regression of what happened on the log odds; 1 = right, below 1 = too sure.
    """

    auc: float
    brier: float
    log_loss: float
    base_rate: float
    mean_probability: float
    calibration_error: float
    calibration_slope: float


def observed_before(month: date, scored_month: date, horizon_days: int) -> bool:
    """Whether all of `month`'s silence was known when `scored_month` closed: its horizon, which starts at its as_of,
    had ended by the as_of of the month that is scored. 90 days need three later months, and sometimes a fourth."""
    return as_of(month) + timedelta(days=horizon_days) <= as_of(scored_month)


def fit_churn_risk(
    training: Sequence[CustomerMonth],
    scored_month: date,
    horizon_days: int = 90,
    min_months: int = 2,
    min_events: int = 100,
    groups: Sequence[Group] | None = None,
    max_rows: int = 250_000,
    seed: int = 42,
) -> ChurnRisk | Refusal:
    """Learn silence from months that were over, horizon and all, before `scored_month` closed.

    training : in any order, all under the champion of the scored month; months whose labels are None are left out.
    min_months : with labels. min_events : customers who kept silent, and customers who ordered, over all months: the
    rarer outcome is what a model learns from. groups : of inputs, for measuring what each adds; by default
    WITH_HISTORY, or READY_MADE where the months have no history. max_rows : customers of all months together beyond
    which a reproducible sample of so many is learned from; the slopes have long settled by then.

    Raises ValueError for a month whose horizon reaches past the as_of of the scored month, whatever its labels: nothing
    may look ahead.
    """
    late = [month_key(m.month) for m in training if not observed_before(m.month, scored_month, horizon_days)]
    if late:
        raise ValueError(
            f"{', '.join(late)} cannot teach {month_key(scored_month)}: {horizon_days} days after their end were not "
            f"over at {as_of(scored_month)}"
        )
    months = sorted((m for m in training if m.silent is not None), key=lambda m: m.month)
    silent = np.concatenate([np.asarray(m.silent, dtype=bool) for m in months]) if months else np.zeros(0, dtype=bool)
    events = int(silent.sum())
    lacking = _lacking(len(months), events, len(silent) - events, horizon_days, min_months, min_events)
    if lacking:
        return Refusal(f"No churn risk for {month_key(scored_month)}: {'; '.join(lacking)}.")

    groups = groups or (READY_MADE if months[0].history is None else WITH_HISTORY)
    return _fitted(months, groups, max_rows, seed, by_length=_is_better_by_length(months, groups, max_rows, seed))


def _is_better_by_length(months: Sequence[CustomerMonth], groups: Sequence[Group], max_rows: int, seed: int) -> bool:
    """Whether counts in proportion to the length of the history would have foretold each of the months better, in log
    loss, from the months before it. months : labelled, ascending."""
    lengths = [m.history_days for m in months if m.history is not None and m.history_days]
    if "history" not in groups or len(lengths) < len(months) or min(lengths) >= _LONG_HISTORY:
        return False
    losses = [0.0, 0.0]
    for place in range(1, len(months)):
        before, now = months[:place], months[place]
        if len({bool(one) for m in before for one in np.unique(np.asarray(m.silent))}) < 2:
            continue
        for by_length in (False, True):
            told = _fitted(before, groups, max_rows, seed, by_length=by_length).predict(now)
            right = np.where(np.asarray(now.silent), told, 1.0 - told)
            losses[by_length] -= float(np.log(np.maximum(right, 1e-12)).sum())
    return losses[1] < losses[0]


def _fitted(
    months: Sequence[CustomerMonth], groups: Sequence[Group], max_rows: int, seed: int, *, by_length: bool
) -> ChurnRisk:
    """The model of these months, all labelled."""
    silent = np.concatenate([np.asarray(m.silent, dtype=bool) for m in months])
    kept = _sampled(len(silent), max_rows, seed)
    starts = np.cumsum([0, *(len(m.customer_ids) for m in months)])
    inputs = np.vstack(
        [
            _inputs(m, groups, by_length=by_length)[kept[start:end]]
            for m, start, end in zip(months, starts[:-1], starts[1:], strict=True)
        ]
    )
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    center, spread = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    with one_blas_thread():
        coefficients = _logistic((inputs - center) / scale, silent[kept], RIDGE)
    return ChurnRisk(
        tuple(groups),
        by_length,
        tuple(m.month for m in months),
        len(silent),
        int(silent.sum()),
        low,
        high,
        center,
        scale,
        coefficients,
    )


def forecast_quality(probability: Array, silent: Flags) -> ForecastQuality:
    """Probabilities (n,), 0..1, against what happened (n,)."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    p = np.clip(probability, 1e-12, 1 - 1e-12)
    placed = settled(p)
    y = silent.astype(np.float64)
    auc = slope = float("nan")
    if 0 < y.sum() < len(y):
        auc = float(roc_auc_score(silent, placed))
        slope = float(_logistic(logit(p)[:, None], silent, _BARELY)[1])
    tenths = np.array_split(np.argsort(placed, kind="stable"), 10)
    return ForecastQuality(
        auc=auc,
        brier=float(brier_score_loss(silent, p, labels=[False, True], pos_label=True)),
        log_loss=float(log_loss(silent, p, labels=[False, True])),
        base_rate=float(y.mean()),
        mean_probability=float(p.mean()),
        calibration_error=float(sum(abs(p[tenth].sum() - y[tenth].sum()) for tenth in tenths) / len(y)),
        calibration_slope=slope,
    )


def _sampled(n: int, most: int, seed: int) -> Flags:
    """(n,) which rows are learned from: all, or `most` of them."""
    kept = np.ones(n, dtype=bool)
    if n > most:
        kept[np.random.default_rng(seed).choice(n, n - most, replace=False)] = False
    return kept


def _lacking(months: int, events: int, others: int, horizon_days: int, min_months: int, min_events: int) -> list[str]:
    lacking = []
    if months < min_months:
        known = f"{months} month{'' if months == 1 else 's'}"
        lacking.append(f"the {horizon_days} days after {known} had been observed by then, and {min_months} are needed")
    if months and events < min_events:
        lacking.append(f"{events} customers kept silent in them, and {min_events} are needed")
    if months and others < min_events:
        lacking.append(f"{others} customers ordered again in them, and {min_events} are needed")
    return lacking


def _inputs(month: CustomerMonth, groups: Sequence[Group], *, by_length: bool) -> Array:
    """(n, p) what the model looks at, group by group; a customer who was not there a month ago has not shifted."""
    columns = [np.empty((len(month.R), 0))]
    if "memberships" in groups:
        columns.append(month.R)
    if "shifts" in groups:
        there = np.isfinite(month.R_before[:, :1])
        columns += [np.where(there, month.R - month.R_before, 0.0), np.where(there, 1.0, 0.0)]
    if "history" in groups and month.history is not None:
        columns.append(_history_inputs(month.history, month.history_days if by_length else None))
    if "features" in groups:
        # with squares and products: thirty days of silence mean less of a customer who orders twice a year
        i, j = np.triu_indices(month.Z.shape[1])
        columns += [month.Z, month.Z[:, i] * month.Z[:, j]]
    return np.hstack(columns)


def _history_inputs(history: Array, days: int | None) -> Array:
    """(n, 10) the history as the model looks at it. days : its length, by which counts are divided to be those of an
    endless one; None: they stay.

    Late is who is silent for longer than between two orders as a rule, early who is for less; of one order nobody can
    tell, and they are told apart.
    """
    silence, lately, (log_gap, gap_spread, log_spend) = np.log1p(history[:, 0]), history[:, 1:4], history[:, 4:].T
    if days is not None:
        lately = lately / (1.0 - 0.5 ** (days / _HALF_LIVES))
    has_gaps = np.isfinite(log_gap)
    late = np.where(has_gaps, silence - log_gap, 0.0)
    gaps = np.nan_to_num(np.column_stack([log_gap, gap_spread]))
    return np.column_stack([silence, np.log1p(5.0 * lately), has_gaps, gaps, late, late**2, log_spend])


def _logistic(inputs: Array, silent: Flags, ridge: float) -> Array:
    """(1 + p,) the constant and the slopes of greatest penalised likelihood; the constant is not penalised."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # what tells everybody apart has no steepest slope: without a penalty, any that is steep will do
        warnings.simplefilter("ignore")
        fit = LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-12).fit(inputs, silent)
    return np.concatenate([fit.intercept_, fit.coef_[0]])
