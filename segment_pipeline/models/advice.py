"""What a person should know beside the choice: segments that are nearly one, and values that no component can carry.

Here: advice in words, which changes nothing by itself. Not here: what refuses a candidate (selection.py), and features
that repeat one another (features.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Mixture, bhattacharyya_distances
from segment_pipeline.mixture.em import OWN_SCATTER
from segment_pipeline.mixture.features import SHARED_VALUE, FeatureSpace
from segment_pipeline.words import figure, percent

CLOSE_OVERLAP = 0.6
"""Bhattacharyya coefficient (exp of minus the distance, 1 = the same component) from which a pair may be one segment.
Honest neighbours on grocery and music orders have 0.4 to 0.57; two that share a centre and differ in width, 0.6 to 0.8.
"""


@dataclass(frozen=True)
class ClosePair:
    """Two components, by position in the mixture, that overlap so much that they may be one segment.

    overlap : Bhattacharyya coefficient, 0..1. share : of the customers, in both together. apart_in : the feature in
    which their means differ most, by `apart` population standard deviations.
    """

    first: int
    second: int
    overlap: float
    share: float
    apart_in: str
    apart: float


def close_pairs(mixture: Mixture, names: Sequence[str]) -> list[ClosePair]:
    """Pairs that could be merged, the closest first. The mixture is in standardised coordinates of these features."""
    mixture = mixture.moments
    overlaps = np.exp(-bhattacharyya_distances(mixture))
    found = []
    for a, b in combinations(range(mixture.n_components), 2):
        if overlaps[a, b] >= CLOSE_OVERLAP:
            difference = np.abs(mixture.means[a] - mixture.means[b])
            widest = int(np.argmax(difference))
            share = float(mixture.weights[a] + mixture.weights[b])
            found.append(ClosePair(a, b, float(overlaps[a, b]), share, names[widest], float(difference[widest])))
    return sorted(found, key=lambda pair: -pair.overlap)


def merge_advice(mixture: Mixture, names: Sequence[str]) -> str:
    """Which segments could be treated as one, in a sentence or two; empty where all are well apart."""
    weights = mixture.shares
    pairs = [
        f"the ones of {percent(weights[pair.first])} and {percent(weights[pair.second])} of the customers (overlap "
        f"{pair.overlap:.2f}, where 1 is the same segment; they differ most in {pair.apart_in}, by {pair.apart:.1f} "
        "standard deviations)"
        for pair in close_pairs(mixture, names)
    ]
    if not pairs:
        return ""
    return f"Some segments nearly coincide and could be treated as one: {'; '.join(pairs)}."


_AROUND = 10
"""Steps to both sides of a value within which a measurement has more customers than on the value itself."""

SAME_FOR_MOST = 0.5
"""Share of customers for whom two features are equal from which segments of these customers are flat."""


def spoiling_advice(space: FeatureSpace, X: Array) -> str:
    """Which features leave no sound candidate, with value and share, and what to do; empty where none does by its
    values: a value that so many share, in such small steps, that a component on it has next to no spread, and two
    features that are equal for most. X : (n, d) the customers fitted, in original units."""
    found = []
    for j, name in enumerate(space.names):
        different, counts = np.unique(X[:, j], return_counts=True)
        most, value = int(counts.max()), different[counts.argmax()]
        around = int(np.sum(np.abs(X[:, j] - value) <= _AROUND * space.resolutions[j]))
        alone = most >= max(SHARED_VALUE * len(X), around / 2)
        if alone and most * space.variance_floor[j] < OWN_SCATTER:
            found.append(f"{percent(most / len(X), 1)} of the customers have {name} = {figure(float(value), 6)}")
    for i, j in combinations(range(space.n_features), 2):
        same = float(np.mean(X[:, i] == X[:, j]))
        if same >= SAME_FOR_MOST:
            found.append(f"{space.names[i]} and {space.names[j]} are equal for {percent(same, 1)} of the customers")
    if not found:
        return ""
    return (
        f"What no segment can be made of: {'; '.join(found)}. Take such a feature out of `features`, or show it only: "
        "`use: portrait`."
    )
