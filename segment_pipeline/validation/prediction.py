"""What are the memberships good for? Do they predict anything, come true, and are hybrids worth more?

Here: figures about what customers did, beside something simpler. Not here: the fit itself (fit.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from scipy.special import logit
from scipy.stats import rankdata

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.measures import Z95, k_means, settled, wilson
from segment_pipeline.months import month_key
from segment_pipeline.validation.figures import Figure, Missing
from segment_pipeline.words import percent

FOLDS = 5

FEWEST_EVENTS = 25
"""Customers of the rarer outcome, five in each fold, below which a cross-validated AUC is mostly chance."""

REMOTE = 0.05
"""Memberships below this are left out of calibration: most customers are certainly not in most segments, and to be
right about that would hide whether 0.7 means 0.7."""

NEAR = 0.05
"""How near the interval of what came true must come to the probability for it to be read as a forecast."""

LEAST_DOUBT = 1e-3
"""Memberships nearer to 0 or 1 count as this far from it where their log-odds predict something."""


FEATURES = "features"
"""The features in the same regression: what a segmentation gives up for being one."""


@dataclass(frozen=True, eq=False)
class Followed:
    """Customers of two months under one champion, the one that served the first of them.

    before : (n, k) membership probabilities then. now : (n,) position of the likeliest segment a month later.
    """

    before: Array
    now: Labels
    segment_ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What happened after a closed month to its customers, all of it before the as_of of the month that validates.

    Z : (n, d) features as `FeatureSpace.transform` gives them. R : (n, k) membership probabilities. recency : (n,) days
    since the last order, None where the source does not tell. happened : (n,) of bool for silence, of 0 or more for
    spend.
    """

    month: date
    Z: Array
    R: Array
    recency: Array | None
    happened: Flags | Array


@dataclass(frozen=True, eq=False)
class Hybrids:
    """spend : (n,) of the month's window, 0 or more. is_hybrid, is_single : (n,) of the tiers hybrid and dominant;
    the others are neither."""

    spend: Array
    is_hybrid: Flags
    is_single: Flags


# --- do they predict anything? ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Power:
    """How well something predicts an outcome. parts : (n,) what each customer contributes to the figure's error, so
    that the standard error is the root of their summed squares, and differences of two figures have theirs."""

    value: float
    parts: Array

    @property
    def error(self) -> float:
        return float(np.sqrt(np.sum(self.parts**2)))

    def less(self, other: "Power") -> "Power":
        """The difference, over the same customers."""
        return Power(self.value - other.value, self.parts - other.parts)


def silence_power(inputs: Array, silent: Flags, seed: int) -> Power:
    """Area under the ROC curve with which a logistic regression on the inputs (n, p) predicts silence (n,), out of
    fold (five stratified folds); 0.5 is worthless, 1 perfect. Its error is DeLong's (1988)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LogisticRegression(C=100.0, solver="newton-cholesky")
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(model, _standardised(inputs), silent, cv=folds, method="decision_function")
    predicted = settled(predicted)
    ranks = rankdata(predicted)
    events, others = int(silent.sum()), int((~silent).sum())
    # how many of the other outcome each customer is placed above (or below), as a share; scikit-learn has their mean,
    # which is the AUC, but not what each customer contributes
    above = (ranks[silent] - rankdata(predicted[silent])) / others
    below = 1.0 - (ranks[~silent] - rankdata(predicted[~silent])) / events
    auc = float(above.mean())
    parts = np.empty(len(silent))
    parts[silent] = (above - auc) / events
    parts[~silent] = (below - auc) / others
    return Power(auc, parts)


def spend_power(inputs: Array, spend: Array, seed: int) -> Power:
    """Share of the variance of log(1 + spend) that a linear regression on the inputs (n, p) explains, out of fold (five
    folds): 0 is no better than the mean, 1 perfect; below 0 is possible."""
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold, cross_val_predict

    y = np.log1p(spend)
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(LinearRegression(), _standardised(inputs), y, cv=folds)
    missed, spread = (y - predicted) ** 2, (y - y.mean()) ** 2
    unexplained = float(missed.sum() / spread.sum())
    return Power(1.0 - unexplained, -(missed - unexplained * spread) / spread.sum())


def silence_predicted(outcome: Outcome | Missing, seed: int, max_loss: float) -> list[Figure]:
    """AUC of the memberships for who keeps silent, beside k-means labels of the same number, recency alone, and the
    features."""
    metrics = ("silence_auc", "silence_auc_gain")
    if isinstance(outcome, Missing):
        return outcome.of(*metrics)
    silent = np.asarray(outcome.happened, dtype=bool)
    rarer = int(min(silent.sum(), (~silent).sum()))
    if rarer < FEWEST_EVENTS:
        told = f"{int(silent.sum()):,} of {len(silent):,} customers of {month_key(outcome.month)} kept silent"
        return Missing(f"{told}; at least {FEWEST_EVENTS} of either kind are needed.").of(*metrics)
    what = f"the silence of {len(silent):,} customers after {month_key(outcome.month)} (AUC, 0.5 is chance)"
    return _beside_simpler(outcome, lambda inputs: silence_power(inputs, silent, seed), metrics, what, 0.5, max_loss)


def spend_predicted(outcome: Outcome | Missing, seed: int, max_loss: float) -> list[Figure]:
    """Share of the next month's spend that memberships explain, beside k-means labels, recency alone, and the
    features."""
    metrics = ("spend_r2", "spend_r2_gain")
    if isinstance(outcome, Missing):
        return outcome.of(*metrics)
    spend = np.maximum(np.asarray(outcome.happened, dtype=np.float64), 0.0)  # refunds beyond all purchases count as 0
    if np.ptp(spend) == 0 or len(spend) < FEWEST_EVENTS:
        return Missing(f"all customers of {month_key(outcome.month)} spent the same afterwards.").of(*metrics)
    what = f"what {len(spend):,} customers spent in the month after {month_key(outcome.month)} (share of variance)"
    return _beside_simpler(outcome, lambda inputs: spend_power(inputs, spend, seed), metrics, what, 0.0, max_loss)


def log_odds(R: Array) -> Array:
    """(n, k) log of p / (1 - p) of memberships (n, k), no nearer to 0 or 1 than LEAST_DOUBT: what logistic and linear
    models are linear in. On the demo AUC 0.833 with them and 0.794 with the probabilities as they are."""
    return np.asarray(logit(np.clip(R, LEAST_DOUBT, 1.0 - LEAST_DOUBT)))


def _beside_simpler(
    outcome: Outcome,
    power: Callable[[Array], Power],
    metrics: tuple[str, str],
    what: str,
    chance: float,
    max_loss: float,
) -> list[Figure]:
    """The memberships' power, that of each simpler rival and of the features, and by how much the memberships are
    better.

    Memberships fail against a simpler rival only where they are surely worse by more than `max_loss`: where the whole
    interval of the difference lies below. The features are no simpler, and memberships are made of them: what they
    predict more is what segments leave out, and there is no limit to it.
    """
    clusters = k_means(outcome.Z, outcome.R.shape[1], 0)
    rivals = {"k-means": power(np.eye(outcome.R.shape[1])[clusters])}
    if outcome.recency is not None:
        rivals["recency"] = power(np.log1p(np.maximum(outcome.recency, 0.0))[:, None])
    rivals[FEATURES] = power(outcome.Z)
    own = power(log_odds(outcome.R))
    better_than_chance = own.value - Z95 * own.error > chance
    figures = [
        Figure(
            metrics[0],
            method,
            found.value,
            f"{method[:1].upper()}{method[1:]} predict {what}: {found.value:.3f}."
            if method == "memberships"
            else f"{method[:1].upper()}{method[1:]} alone: {found.value:.3f}.",
            found.value - Z95 * found.error,
            found.value + Z95 * found.error,
            chance if method == "memberships" else None,
            better_than_chance if method == "memberships" else None,
        )
        for method, found in {"memberships": own, **rivals}.items()
    ]
    for method, found in rivals.items():
        gain = own.less(found)
        low, high = gain.value - Z95 * gain.error, gain.value + Z95 * gain.error
        limit = None if method == FEATURES else -max_loss
        passed = None if limit is None else high >= limit
        figures.append(Figure(metrics[1], method, gain.value, _gain(method, low, high), low, high, limit, passed))
    return figures


def _gain(method: str, low: float, high: float) -> str:
    interval = f"(95 % interval of the difference {low:+.3f} to {high:+.3f})"
    if low > 0:
        return f"Memberships predict more than {method} alone {interval}."
    if high < 0 and method == FEATURES:
        return (
            f"Memberships predict less than the features that they are made of {interval}: segments are for acting and "
            "explaining, features for predicting."
        )
    if high < 0:
        return f"Memberships predict less than {method} alone {interval}: for this purpose {method} would do."
    return f"No difference between memberships and {method} alone that these customers could show {interval}."


def _standardised(inputs: Array) -> Array:
    spread = inputs.std(axis=0)
    return np.asarray((inputs - inputs.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0))


# --- do the probabilities come true? ----------------------------------------------------------------------------------


def calibration(followed: Followed | Missing, max_error: float) -> list[Figure]:
    """Are customers at 0.7 in a segment its members a month later 70 % of the time?

    `calibration_error` is the mean distance, 0..1, between probability and what came true, over tenths of the range of
    probability, weighted by the customers in each (expected calibration error; Naeini et al. 2015): for the whole and
    for each segment. `calibrated_share` is what came true in each tenth. Memberships below REMOTE are left out. People
    change in a month, so that this is more than the fit promises: it promises where a customer is now. The mean
    distance is an alarm only; a forecast they are called where besides every tenth with FEWEST_EVENTS memberships comes
    true about as often as it says.
    """
    metrics = ("calibration_error", "calibrated_share")
    if isinstance(followed, Missing):
        return followed.of(*metrics)
    near = followed.before >= REMOTE
    member = followed.now[:, None] == np.arange(followed.before.shape[1])
    p, came_true = followed.before[near], member[near]
    if not len(p):
        return Missing("no customer was there in both months.").of(*metrics)
    error = _calibration_error(p, came_true)
    close = error <= max_error
    shares = _tenths(p, came_true)
    forecast = close and _each_comes_true(p, shares)
    said = f"Memberships of {REMOTE} or more and what came true a month later differ by {error:.2f} on average"
    sure = shares[-1]
    if sure.subject == "0.9-1.0" and sure.value is not None:
        said += f"; of customers at 0.9 or more, {percent(sure.value)} were in that segment a month later"
    per_segment = []
    for k, segment_id in enumerate(followed.segment_ids):
        mine = near[:, k]
        if mine.any():
            own = _calibration_error(followed.before[mine, k], member[mine, k])
            sentence = f"Segment {segment_id}: memberships and what came true differ by {own:.2f} on average."
            per_segment.append(
                Figure(metrics[0], str(segment_id), own, sentence, threshold=max_error, passed=own <= max_error)
            )
    whole = Figure(
        metrics[0],
        "",
        error,
        f"{said}: "
        + (
            f"no tenth is further off than {NEAR} and chance explain; they can be read as a forecast."
            if forecast
            else "a membership says where a customer is, not where it will be."
        ),
        threshold=max_error,
        passed=close,
    )
    return [whole, *per_segment, *shares]


def _calibration_error(p: Array, came_true: Flags) -> float:
    tenth = _tenth(p)
    gaps = np.bincount(tenth, weights=p, minlength=10) - np.bincount(tenth, weights=came_true, minlength=10)
    return float(np.abs(gaps).sum() / len(p))


def _tenth(p: Array) -> Labels:
    return np.minimum((p * 10).astype(np.intp), 9)


def _tenths(p: Array, came_true: Flags) -> list[Figure]:
    """What came true in each tenth that has anybody, with Wilson's interval."""
    tenth, figures = _tenth(p), []
    for place in np.unique(tenth):
        mine = tenth == place
        n, hits = int(mine.sum()), int(came_true[mine].sum())
        share = hits / n
        sentence = f"Of {n:,} memberships at {p[mine].mean():.2f} on average, {percent(share)} came true a month later."
        figures.append(
            Figure(
                "calibrated_share",
                f"{place / 10:.1f}-{(place + 1) / 10:.1f}",
                share,
                sentence,
                *wilson(hits, n),
            )
        )
    return figures


def _each_comes_true(p: Array, shares: list[Figure]) -> bool:
    """Whether the interval of each tenth that has enough memberships comes within NEAR of their mean. shares : as of
    `_tenths`, for p."""
    tenth = _tenth(p)
    for place, share in zip(np.unique(tenth), shares, strict=True):
        mine = p[tenth == place]
        if len(mine) < FEWEST_EVENTS or share.low is None or share.high is None:
            continue
        if not share.low - NEAR <= mine.mean() <= share.high + NEAR:
            return False
    return True


# --- are hybrids worth more? ------------------------------------------------------------------------------------------


def hybrid_spend(hybrids: Hybrids | Missing) -> list[Figure]:
    """Mean spend of hybrid customers over that of all others, and (subject "dominant") over that of customers of a
    single segment; each with a 95 % interval."""
    if isinstance(hybrids, Missing):
        return hybrids.of("hybrid_spend_ratio")
    mixed = hybrids.spend[hybrids.is_hybrid]
    return [
        _worth(mixed, hybrids.spend[~hybrids.is_hybrid], "", "all others", "others"),
        _worth(
            mixed,
            hybrids.spend[hybrids.is_single],
            "dominant",
            "customers of a single segment (tier dominant)",
            "of a single segment",
        ),
    ]


def _worth(mixed: Array, others: Array, subject: str, than: str, counted: str) -> Figure:
    """The ratio of what hybrid customers and these others spend."""
    metric = "hybrid_spend_ratio"
    if min(len(mixed), len(others)) < FEWEST_EVENTS or not (mixed.mean() > 0 and others.mean() > 0):
        told = f"{len(mixed):,} hybrid customers and {len(others):,} {counted}"
        (missing,) = Missing(f"{told} are too few, or did not spend, to compare what they spend.").of(metric)
        return replace(missing, subject=subject)
    ratio, low, high = ratio_of_means(mixed, others)
    told = f"{_more_or_less(ratio)} than {than}" if low > 1 or high < 1 else f"about as much as {than}"
    sentence = f"Hybrid customers spend {told} (95 % interval: {_more_or_less(low)} to {_more_or_less(high)})."
    return Figure(metric, subject, ratio, sentence, low, high)


def ratio_of_means(x: Array, y: Array) -> tuple[float, float, float]:
    """mean(x) / mean(y) and its 95 % interval, normal on the log scale (delta method); both means above 0."""
    ratio = float(x.mean() / y.mean())
    variance = sum(float(sample.var(ddof=1)) / (len(sample) * float(sample.mean()) ** 2) for sample in (x, y))
    reach = math.exp(Z95 * math.sqrt(variance))
    return ratio, ratio / reach, ratio * reach


def _more_or_less(ratio: float) -> str:
    return f"{percent(abs(ratio - 1))} {'more' if ratio >= 1 else 'less'}"
