"""How far this month's customers, feature by feature, are from those that the champion was fitted to; and whether an
audience has jumped.

Here: two distances between a feature's distribution then and now, and the change of an audience's size beside its past
changes; and how large each is by chance alone. They say that the base has changed, and not that the model has become
wrong: what it means to the model is measured by models/refit.py, and stands beside it. So they raise an alert, and
never a refit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.features import FeatureSpace

BY_CHANCE = 0.001
"""Share of stationary months in which one feature exceeds a limit that its sample size sets."""

JUMPS_BY_CHANCE = 1 / 240
"""Share of quiet months in which an audience's size is beyond what its own past sets as its limit: once in 20 years."""

_BINS = 10
_GRID = 256
_BRIDGES = 4000


@dataclass(frozen=True)
class FeatureDrift:
    """A feature now, against the customers that the champion was fitted to.

    psi : population stability index over the tenths of then, 0 or more, lower is more alike. wasserstein : how far, on
    average, a customer's transformed value would have to move to turn then into now, in standard deviations. Each limit
    is the configured one, or what chance alone reaches with so few customers, whichever is larger. mean_change : of the
    transformed feature, in standard deviations, signed.
    """

    feature: str
    psi: float
    psi_limit: float
    wasserstein: float
    wasserstein_limit: float
    mean_change: float

    @property
    def drifted(self) -> bool:
        return self.psi > self.psi_limit or self.wasserstein > self.wasserstein_limit


def feature_drift(
    space: FeatureSpace, then: Array, now: Array, max_psi: float, max_wasserstein: float, seed: int = 42
) -> list[FeatureDrift]:
    """One row per feature of the champion's `space`; then (n, d) and now (m, d) in original units."""
    from scipy.stats import wasserstein_distance

    before, after = space.transform(then), space.transform(now)
    bridges = _bridges(seed)
    found = []
    for j, feature in enumerate(space.names):
        old, new = before[:, j], after[:, j]
        psi, by_chance = population_stability_index(old, new)
        found.append(
            FeatureDrift(
                feature,
                psi,
                max(max_psi, by_chance),
                float(wasserstein_distance(old, new)),
                max(max_wasserstein, _wasserstein_by_chance(old, new, bridges)),
                float(new.mean() - old.mean()),
            )
        )
    return found


def population_stability_index(then: Array, now: Array) -> tuple[float, float]:
    """The index of `now` (m,) against `then` (n,), and what it exceeds by chance in one stationary month of a thousand.

    Bins are the tenths of `then`; values that many share make fewer and wider ones. Half a customer is added to each
    bin, so that an empty one is not infinitely far. By chance the index follows (1/n + 1/m) chi-squared with one degree
    of freedom less than bins (Yurdakul and Naranjo 2020), so a fixed limit such as 0.1 means nothing in a small base.
    """
    from scipy.stats import chi2

    edges = np.unique(np.quantile(then, np.arange(1, _BINS) / _BINS))
    p, q = (
        (np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5)
        / (len(values) + 0.5 * (len(edges) + 1))
        for values in (then, now)
    )
    index = float(np.sum((q - p) * np.log(q / p)))
    return index, float(chi2.ppf(1 - BY_CHANCE, len(edges)) * (1 / len(then) + 1 / len(now)))


def _bridges(seed: int) -> Array:
    """(draws, grid) absolute values of Brownian bridges between 0 and 1."""
    steps = np.random.default_rng(seed).normal(size=(_BRIDGES, _GRID)) / np.sqrt(_GRID)
    walk = np.cumsum(steps, axis=1)
    return np.asarray(np.abs(walk[:, :-1] - np.arange(1, _GRID) / _GRID * walk[:, -1:]))


def _wasserstein_by_chance(then: Array, now: Array, bridges: Array) -> float:
    """What two samples of one population exceed once in a thousand times.

    Their distance is then the area under |B(F(x))|, B a Brownian bridge, times sqrt(1/n + 1/m) (del Barrio, Gine and
    Matran 1999); F is that of both months together.
    """
    widths = np.diff(np.quantile(np.concatenate([then, now]), np.arange(1, _GRID + 1) / _GRID))
    return float(np.quantile(bridges @ widths, 1 - BY_CHANCE) * np.sqrt(1 / len(then) + 1 / len(now)))


def size_change(past: Array, now: float, smallest: float) -> tuple[float, float]:
    """By what share an audience has grown, or was larger, beside how it changes as a rule; and the limit of that.

    past (n,), now : changes of the logarithm of its size from a month to the next, n of 2 or more. smallest : the share
    from which on a change matters; the limit is that, or what its own past sets if larger. As a rule is the median of
    the past, whose mean distance from it is the spread: one jump of before moves the first not at all, and the second
    by its n-th part, where a standard deviation would hide the next jump for years.
    """
    usual = np.median(past)
    by_chance = _spreads_by_chance(len(past)) * np.mean(np.abs(past - usual))
    return float(np.expm1(abs(now - usual))), max(smallest, float(np.expm1(by_chance)))


@cache
def _spreads_by_chance(n: int) -> float:
    """What the distance of one more normal number from the median of n others exceeds in JUMPS_BY_CHANCE of cases, in
    mean distances of those from it: found by drawing them."""
    drawn = np.random.default_rng(n).normal(size=(100_000, n + 1))
    past, now = drawn[:, :-1], drawn[:, -1]
    usual = np.median(past, axis=1)
    spread = np.mean(np.abs(past - usual[:, None]), axis=1)
    return float(np.quantile(np.abs(now - usual) / spread, 1 - JUMPS_BY_CHANCE))


def in_words(drift: FeatureDrift, since: str, moved_segment: int | None, moved_by: float | None) -> str:
    """What a person should know of a feature: whether its distribution has changed, and whether the model feels it."""
    verb = "has changed" if drift.drifted else "is much as it was"
    base = (
        f"{drift.feature} {verb} since {since}: stability index {drift.psi:.3f} (limit {drift.psi_limit:.3f}), "
        f"distance {drift.wasserstein:.2f} SD (limit {drift.wasserstein_limit:.2f}), mean {drift.mean_change:+.2f} SD."
    )
    if moved_segment is None or moved_by is None:
        return base
    return f"{base} The centre that moved most in it is that of segment {moved_segment}, by {moved_by:.2f} SD."


def largest_shifts(shifts: Sequence[tuple[int, str, float]]) -> dict[str, tuple[int, float]]:
    """feature -> the segment whose centre moved most in it, and by how much, from (segment_id, feature, shift)."""
    largest: dict[str, tuple[int, float]] = {}
    for segment_id, feature, shift in shifts:
        if feature not in largest or shift > largest[feature][1]:
            largest[feature] = segment_id, shift
    return largest
