"""The hurdle segment: one value that very many customers share, as a rule, and a mixture for the rest.

Here: the rule in the coordinates of a month, and candidates for everybody made from candidates for the rest. Not here:
when to advise one (advice.py), and how a mixture with a rule gives memberships (gaussian.py).

Half of a music shop's customers have ordered once. No Gaussian describes them in that feature, and one that tries
bends the segments beside it. As a rule they are a segment of their own: they belong to it for certain, nobody else
does, and in the other features they are described by one Gaussian (hurdle models: Mullahy 1986). In the feature of the
rule they have a Gaussian as wide as the step to which the value was rounded, so that likelihoods stay close to those of
mixtures without a rule; they are not equal to a uniform step's.
"""

from dataclasses import replace

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.em import Rows, StackedEM, members_needed, moments_of_labels, spike_guard
from segment_pipeline.mixture.features import FeatureSpace, apply_transform, step_edges
from segment_pipeline.mixture.gaussian import Hurdle, Mixture

_MARGIN = 1e-9
"""Beyond the edges of the step, so that a value on an edge is on the same side in SQL as in NumPy."""


def hurdle_in(space: FeatureSpace, feature: str, value: float) -> Hurdle:
    """The rule "feature = value", up to the feature's resolution, in the coordinates of `space`; component 0.

    Raises ValueError where the space has no such feature, or its transform no such value.
    """
    j = space.names.index(feature)
    transform, resolution = space.transforms[j], space.resolutions[j]
    low, high = step_edges(np.array([value]), transform, resolution)
    places = apply_transform(np.concatenate([low, [value], high]), transform, resolution)
    if not np.isfinite(places).all():
        raise ValueError(f"{feature} = {value:g} has no {transform}")
    low, at, high = ((places - space.center[j]) / space.scale[j]).tolist()
    return Hurdle(0, j, low - _MARGIN, at, high + _MARGIN)


def too_few_for(hurdle: Hurdle, Z: Array) -> str | None:
    """Why the rule leaves too few customers on one of its sides, in words; None when both have enough."""
    under, needed = int(hurdle.holds(Z).sum()), members_needed(Z.shape[1])
    if under < needed:
        return f"The rule of model.hurdle applies to {under} of {len(Z)} customers; a segment needs at least {needed}."
    if len(Z) - under < 2 * needed:
        return f"The rule of model.hurdle applies to {under} of {len(Z)} customers; too few are left for a mixture."
    return None


def rule_component(
    hurdle: Hurdle,
    Z: Array,
    variance_floor: Array,
    rounding_variance: Array | None,
    covariance_type: CovarianceType = "full",
) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) of the rows under the rule: one Gaussian over the other features, and in the
    feature of the rule the step itself. covariance_type : of the others; where they share a covariance, this one is a
    matrix of its own, in one dimension less. Z, rounding_variance : (n, d), of those rows alone."""
    d, j = Z.shape[1], hurdle.feature
    mean, covariance = np.zeros(d), np.zeros((d, d))
    mean[j] = hurdle.value
    # at the edge of a transform's domain (a share of 0) the step has no width: the floor knows better
    covariance[j, j] = max((hurdle.high - hurdle.low) ** 2 / 12, float(variance_floor[j]))
    others = np.delete(np.arange(d), j)
    if len(others):
        rows = Rows(
            Z[:, others],
            center=Z[:, others].mean(axis=0),
            rounding_variance=None if rounding_variance is None else rounding_variance[:, others],
        )
        guard = spike_guard(rows.moments()[1], 1, rows.total)
        em = StackedEM(len(others), variance_floor[others], guard, covariance_type=covariance_type)
        one = em.mixture(moments_of_labels(np.zeros((1, rows.n), dtype=np.intp), 1, rows)[0], rows.total)
        mean[others] = one.means[0] + rows.center
        covariance[np.ix_(others, others)] = one.covariances[0]
    return mean, covariance


def with_rule(rest: Mixture, hurdle: Hurdle, share: float, mean: Array, covariance: Array) -> Mixture:
    """A mixture of the rest and the rule's component, which comes first. share : of the rows, under the rule."""
    return Mixture(
        np.concatenate([[share], (1.0 - share) * rest.weights]),
        np.vstack([mean[None], rest.means]),
        np.concatenate([covariance[None], rest.covariances]),
        replace(hurdle, component=0),
        None if rest.parts is None else ((0,), *(tuple(k + 1 for k in part) for part in rest.parts)),
        rest.covariance_type,
    )
