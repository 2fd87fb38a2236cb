"""What a feature is worth: whether it repeats others, tells segments apart, lasts, and says something of what comes.

Here: figures from arrays, for features side by side. Not here: one feature's own distribution (features.py), where the
values come from (customers/worth_store.py), and what is advised (cli/features.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.mixture.candidates import agreement
from segment_pipeline.mixture.degeneracy import find_degeneracy
from segment_pipeline.mixture.estimator import one_blas_thread
from segment_pipeline.mixture.features import FeatureSpace, explain_dependence, find_dependence
from segment_pipeline.mixture.hurdle import hurdle_in
from segment_pipeline.mixture.resolution import rounding_variance
from segment_pipeline.mixture.search import search_mixtures

SEARCHED_ROWS = 2_000
"""Customers that the quick mixture sees, of which `separates` speaks: enough for six segments and six features."""

SEARCHED_COMPONENTS = range(2, 7)

AGREEING = 0.8
"""Mean adjusted Rand index from which independent searches agree, as `model.min_stability` is by default."""

ONLY_GROWS = 0.1
"""Spread of what a feature grew by, over its mean, below which it grew alike for everybody: with time, and not with
what customers do."""

FEWEST_CUSTOMERS = 50
"""Customers in both windows below which nothing is said of what lasts and what comes."""


@dataclass(frozen=True)
class FeatureWorth:
    """What one feature is worth beside the others, all in transformed units.

    known_from_others : R^2 on the others, 0..1; near 1 it repeats them. separates : share of its variance that lies
    between the segments of a quick mixture of all features, 0..1, higher is better; None where none could be fitted.
    persists : correlation with the same customer's value one window later, -1..1, higher is better. predicts : what it
    adds, beyond the others, to the R^2 of the other features one window later and of being there at all, on average,
    fitted to one half of the customers and measured on the other; near or below 0 it adds nothing. only_grows : whether
    it rose alike for nearly everybody, as the time since something does; a model on it is out of date each month. The
    last three are None without an earlier window.
    """

    feature: str
    known_from_others: float
    separates: float | None
    persists: float | None
    predicts: float | None
    only_grows: bool | None


@dataclass(frozen=True)
class LaterWindow:
    """The same customers one window apart, the two without a day in common. before : (m, d) of those who were there.
    after : (m, d) one window later, NaN in every feature for who was not there any more."""

    before: Array
    after: Array

    @property
    def stayed(self) -> Flags:
        """(m,) who was there in both."""
        return np.asarray(np.isfinite(self.after).all(axis=1))


def feature_worth(
    space: FeatureSpace,
    X: Array,
    seed: int,
    earlier: LaterWindow | None = None,
    beside: Sequence[str] | None = None,
) -> list[FeatureWorth]:
    """What each feature of the space is worth, in its order.

    X : (n, d) customers in original units. earlier : those of one window before, then and now, in the same units.
    beside : the features that are the segments' own, beside which all are judged; None for all. The same bits on any
    number of cores.
    """
    with one_blas_thread():
        return _feature_worth(space, X, seed, earlier, beside)


def _feature_worth(
    space: FeatureSpace, X: Array, seed: int, earlier: LaterWindow | None, beside: Sequence[str] | None
) -> list[FeatureWorth]:
    Z, d = space.transform(X), len(space.names)
    base = [j for j, name in enumerate(space.names) if beside is None or name in beside]
    between = _between_segments(Z, base, seed)
    persists: list[float | None] = [None] * d
    predicts: list[float | None] = [None] * d
    grows: list[bool | None] = [None] * d
    if earlier is not None and int(earlier.stayed.sum()) >= FEWEST_CUSTOMERS:
        before, after = space.transform(earlier.before), np.full_like(earlier.after, np.nan)
        after[earlier.stayed] = space.transform(earlier.after[earlier.stayed])
        scaled = LaterWindow(before, after)
        persists, predicts = _persistence(scaled), _prediction(scaled, base)
        grows = [only_grows(earlier.before[earlier.stayed, j], earlier.after[earlier.stayed, j]) for j in range(d)]
    return [
        FeatureWorth(
            name,
            explained(Z, j, [i for i in base if i != j]),
            None if between is None else float(between[j]),
            persists[j],
            predicts[j],
            grows[j],
        )
        for j, name in enumerate(space.names)
    ]


def why_none_is_sound(
    space: FeatureSpace,
    X: Array,
    seed: int,
    hurdle: tuple[str, float] | None = None,
    components: Sequence[int] = SEARCHED_COMPONENTS,
    searches: int = 1,
) -> str | None:
    """Why no quick mixture of these features is sound, in words, of the one with fewest components; None where one is.

    X : (n, d) customers in original units. hurdle : feature and value of those who are a segment by rule; the mixtures
    are of the others. components : the numbers that are tried. They are fitted to a sample, and judged by all, as the
    candidates of a month are. searches : with more than one, those of a sound mixture agree.
    """
    if hurdle is not None:
        X = X[~hurdle_in(space, *hurdle).holds(space.transform(X))]
    Z = space.transform(X)
    if len(Z) <= space.n_features or Z.std(axis=0).min() == 0:
        return "too few customers are left that differ from one another in every feature"
    dependence = find_dependence(space.names, Z, space)
    if dependence is not None:
        return explain_dependence(dependence)
    spread, rows = rounding_variance(space, X), _sampled(len(Z), seed)
    reason = None
    for k in components:
        if k + space.n_features >= len(rows):
            break
        mixtures = [
            search_mixtures(
                Z[rows],
                [k],
                random_state=seed if searches == 1 else (seed, search),
                variance_floor=space.variance_floor,
                rounding_variance=spread[rows],
                n_jobs=1,
            )[0].model.mixture_
            for search in range(searches)
        ]
        unsound = find_degeneracy(mixtures[0], Z, space.variance_floor, space.names)
        agree = agreement([one.responsibilities(Z[rows]).argmax(axis=1) for one in mixtures])
        if unsound is None and agree < AGREEING:
            unsound = f"independent searches for {k} segments agree to {agree:.2f} only, where 1 is the same"
        if unsound is None:
            return None
        reason = reason or unsound
    return reason or "too few customers are left for two segments"


def _sampled(n: int, seed: int) -> Labels:
    """Ascending indices of the customers that a quick mixture sees."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:SEARCHED_ROWS])


def only_grows(before: Array, after: Array) -> bool:
    """Whether a feature rose alike for nearly everybody between two windows. (m,) each, the same customers, in original
    units."""
    grown = after - before
    return bool(grown.mean() > 0 and grown.std() < ONLY_GROWS * grown.mean())


def explained(Z: Array, j: int, others: Sequence[int]) -> float:
    """R^2 of feature j on these others, 0..1."""
    if not others:
        return 0.0
    target = Z[:, j] - Z[:, j].mean()
    centred = Z[:, list(others)] - Z[:, list(others)].mean(axis=0)
    coefficients = np.linalg.lstsq(centred.T @ centred, centred.T @ target, rcond=None)[0]
    total = float(target @ target)
    return 0.0 if total == 0 else float(np.clip(1.0 - np.sum((target - centred @ coefficients) ** 2) / total, 0.0, 1.0))


def _between_segments(Z: Array, base: Sequence[int], seed: int) -> Array | None:
    """(d,) share of each feature's variance that lies between the segments of the best quick mixture, by BIC, of the
    features `base`; None where there is none."""
    rows = Z[_sampled(len(Z), seed)]
    try:
        found = search_mixtures(rows[:, base], SEARCHED_COMPONENTS, random_state=seed, n_jobs=1)
    except ValueError:  # features that repeat one another, or next to no customers
        return None
    sound = [one for one in found if not one.degenerate]
    if not sound:
        return None
    R = min(sound, key=lambda one: one.bic).model.mixture_.responsibilities(rows[:, base])
    shares = R.sum(axis=0)
    means = (R.T @ rows) / shares[:, None]
    between = shares @ (means - rows.mean(axis=0)) ** 2 / len(rows)
    return np.asarray(between / np.maximum(rows.var(axis=0), np.finfo(float).tiny))


def _persistence(later: LaterWindow) -> list[float | None]:
    before, after = later.before[later.stayed], later.after[later.stayed]
    return [correlation(before[:, j], after[:, j]) for j in range(before.shape[1])]


def correlation(a: Array, b: Array) -> float | None:
    """Of two (n,) arrays, -1..1; None where one of them does not vary."""
    return None if a.std() == 0 or b.std() == 0 else float(np.corrcoef(a, b)[0, 1])


def _prediction(later: LaterWindow, base: Sequence[int]) -> list[float | None]:
    """What each feature adds beyond those of `base` to the R^2 of what comes, on average over the outcomes: being there
    at all, and the features of `base` but itself."""
    stayed = later.stayed
    outcomes = [(j, stayed, later.after[:, j]) for j in base]
    if not stayed.all():
        outcomes.append((-1, np.ones(len(stayed), dtype=bool), stayed.astype(float)))
    added: list[float | None] = []
    for j in range(later.before.shape[1]):
        others = [i for i in base if i != j]
        gains = [
            _unseen_r2(later.before[rows][:, [*others, j]], y[rows])
            - _unseen_r2(later.before[rows][:, others], y[rows])
            for of, rows, y in outcomes
            if of != j
        ]
        added.append(float(np.mean(gains)) if gains else None)
    return added


def _unseen_r2(X: Array, y: Array) -> float:
    """R^2 of a linear regression on customers that it has not seen: fitted to every second one, and the other way
    round."""
    design = np.column_stack([np.ones(len(X)), X])
    half = np.arange(len(X)) % 2 == 0
    residual = np.empty(len(y))
    for fitted in (half, ~half):
        coefficients = np.linalg.lstsq(design[fitted], y[fitted], rcond=None)[0]
        residual[~fitted] = y[~fitted] - design[~fitted] @ coefficients
    total = float(np.sum((y - y.mean()) ** 2))
    return 0.0 if total == 0 else 1.0 - float(residual @ residual) / total
