"""Unusual customers as a group: do they belong together, like very important customers, or look like errors and bots?

Here: the groups among them, and what each group's figures say. Not here: who is unusual, and the figures (warehouse).

Groups by rule come first: customers with exactly the same values, and very many orders of next to no value. The rest
are described by a small mixture of their own, so that a tight group is told from those scattered around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import GaussianMixtureEM
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.words import counted, figure, percent

MOST_GROUPS = 8
FITTED = 1000
"""The mixture of the unusual is fitted to about so many of them at most; all are assigned."""

STARTS = 6
PATIENCE = 2
"""So many numbers of groups in a row that are no better end the search."""

TOLERANCE = 1e-4

SMALLEST_GROUP = 10
"""Fewer customers do not tell whether they cohere."""

COHERENT = 0.5
"""Cohesion, 1 - variance over the population's, from which customers who are all unusual are so in the same way."""

FAR = 1.5
"""A group whose customers lie, at the median, this many times quality.outlier_sd away is no tail of the others."""

EXTREME = 2.0
"""Times quality.outlier_sd: a value beyond, with all other features within, is extreme in one feature only."""

MOSTLY = 0.6
"""Share of a group's customers from which a trait is the group's."""

REPEATED = 5
"""So many unusual customers with exactly the same values in every feature are no coincidence ..."""

REPEATS_USUAL = 0.1
"""... unless this share of all customers repeats others as often: then values are coarse, and repeats mean nothing."""

REPEATED_VALUES = "repeated_values"
MANY_TINY_ORDERS = "many_tiny_orders"

_LOOK = {
    REPEATED_VALUES: "have exactly the same values in every feature as others of them, as bots, test accounts and rows "
    "written twice do",
    MANY_TINY_ORDERS: "place very many orders of next to no value and spend less than most, as bots and internal "
    "accounts do",
    "one_extreme_value": "are extreme in one feature and ordinary in all others, as typing errors are",
    "coherent": "are unusual in the same way: a group of customers, not a scatter of errors",
    "scattered": "lie far out and far from one another, as errors do",
    "tail": "are the ordinary tail of the others: not far out, and alike in nothing",
}
_ADVICE = {REPEATED_VALUES: "reject", MANY_TINY_ORDERS: "reject", "one_extreme_value": "cap", "scattered": "cap"}


@dataclass(frozen=True)
class FeatureOfGroup:
    """A feature of a group: medians in original units, mean in SDs of all customers; policy : keep, cap or reject."""

    feature: str
    unit: str
    policy: str
    median: float
    population_median: float
    z: float


@dataclass(frozen=True)
class PortraitOfGroup:
    """A feature of a group that is no part of the model: medians in original units; None where no value is known."""

    feature: str
    unit: str
    median: float | None
    population_median: float | None


@dataclass(frozen=True)
class OutlierGroup:
    """The figures of a group. rule : REPEATED_VALUES or MANY_TINY_ORDERS, None for a component of the mixture.

    share, spend_share : of all customers' number and spend, 0..1; the latter None where unknown. cohesion : 1 is all
    alike, 0 or less as spread out as everybody. distance : median of the customers' farthest feature, SDs.
    one_extreme_share : of its customers, extreme in one feature only, 0..1. farthest : the commonest farthest feature.
    """

    rule: str | None
    customers: int
    share: float
    spend_share: float | None
    cohesion: float
    distance: float
    one_extreme_share: float
    farthest: str
    features: Sequence[FeatureOfGroup]
    portraits: Sequence[PortraitOfGroup] = ()


@dataclass(frozen=True)
class Judgement:
    """kind : see OUTLIER_GROUPS. recommendation : keep, cap or reject. sentence : both in words, with figures."""

    kind: str
    recommendation: str
    sentence: str


@dataclass(frozen=True, eq=False)
class OutlierPoints:
    """What the chart of unusual customers shows: two features of everybody (a sample) and of each group.

    ordinary : (n, 2) original units. groups : (what the group is called, (m, 2) points). logarithmic : of each axis.
    """

    title: str
    axes: tuple[str, str]
    logarithmic: tuple[bool, bool]
    ordinary: Array
    groups: Sequence[tuple[str, Array]]


def group_outliers(Z: Array, variance_floor: Array, seed: int) -> Mixture | None:
    """The mixture whose components are the groups among unusual customers; None where they are too few to tell.

    Z : (n, d) their standardised features. variance_floor : (d,) of the features' resolution. The number of groups
    grows until BIC has stopped to fall; every component has more customers than features.
    """
    n, d = Z.shape
    if n < SMALLEST_GROUP or np.ptp(Z, axis=0).min() == 0:
        return None
    best, lowest, rises = None, np.inf, 0
    for k in range(1, MOST_GROUPS + 1):
        # k-means starts will do: the groups are a first look, and are found again every month
        fit = GaussianMixtureEM(k, tol=TOLERANCE, n_init=STARTS, variance_floor=variance_floor, random_state=seed)
        found, bic = fit.fit(Z).mixture_, fit.bic(Z)
        if bic < lowest and found.weights.min() * n > d:
            best, lowest, rises = found, bic, 0
        else:
            rises += 1
        if rises == PATIENCE:
            break
    return best


def judge(group: OutlierGroup, outlier_sd: float) -> Judgement:
    """What the group is and what to do with it."""
    kind = _kind(group, outlier_sd)
    policy = next((row.policy for row in group.features if row.feature == group.farthest), "keep")
    advice = _ADVICE.get(kind, "keep")
    if advice != "keep" and policy != "keep":
        advice = policy
    return Judgement(
        kind, advice, f"{_profile(group, kind)} Such customers {_LOOK[kind]}. {_advice(group, kind, advice, policy)}"
    )


def telling_features(groups: Sequence[OutlierGroup]) -> tuple[str, str] | None:
    """The two features in which the groups lie farthest from everybody; None where there are not two."""
    weights: dict[str, float] = {}
    for group in groups:
        for row in group.features:
            weights[row.feature] = weights.get(row.feature, 0.0) + group.customers * abs(row.z)
    ranked = sorted(weights, key=lambda name: -weights[name])
    return (ranked[0], ranked[1]) if len(ranked) >= 2 else None


def _kind(group: OutlierGroup, outlier_sd: float) -> str:
    if group.rule is not None:
        return group.rule
    if group.cohesion >= COHERENT and group.customers >= SMALLEST_GROUP:
        return "coherent"
    if group.one_extreme_share >= MOSTLY:
        return "one_extreme_value"
    return "scattered" if group.distance >= FAR * outlier_sd else "tail"


def _profile(group: OutlierGroup, kind: str) -> str:
    worth = f", {percent(group.spend_share)} of the spend" if group.spend_share is not None else ""
    ranked = sorted(group.features, key=lambda row: -abs(row.z))[:3]
    told = "; ".join(
        f"{row.feature.replace('_', ' ')} {figure(row.median)}"
        + (f" {row.unit}" if row.unit and row.unit not in row.feature else "")
        + f" (all customers: {figure(row.population_median)})"
        for row in ranked
    )
    return f"{counted(group.customers)}, {percent(group.share)} of all{worth}; at the median: {told}."


def _advice(group: OutlierGroup, kind: str, advice: str, policy: str) -> str:
    if kind == "coherent":
        rich = group.spend_share is not None and group.spend_share > 2 * group.share
        who = "they may be the most valuable customers" if rich else "they are real"
        return f"Keep them: {who} (cohesion {group.cohesion:.2f}; 0 is as spread out as everybody, 1 all alike)."
    if advice == "keep":
        return "Keep them."
    named = group.farthest.replace("_", " ")
    if policy == advice:
        return f"Nothing to do: `outliers: {policy}` of {named} sees to it."
    return (
        f"Look at some of them, and if they are not real write `outliers: {advice}` for {group.farthest}, now {policy}."
    )
