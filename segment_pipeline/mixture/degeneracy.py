"""When a fit is a spike rather than a set of segments, and how to say so.

Here: the verdict on one fitted mixture, from its parameters and the rows. Not here: whether a sound one may serve
(selection.py).
"""

import re
from collections.abc import Sequence

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.covariances import pooled, shaped
from segment_pipeline.mixture.em import (
    GUARD_VARIANCE,
    OWN_SCATTER,
    Parameters,
    Rows,
    StackedEM,
    members_needed,
    scatter_of_one,
    unfold_products,
)
from segment_pipeline.mixture.features import MAX_VARIANCE_INFLATION, variance_inflation
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.words import figure, percent

ATOM_SHARE = 0.02
"""A component may be as narrow as one resolution step of a feature only where at least this share of all customers has
that value."""

_AT_FLOOR = 1e-3
"""How far above the floor, relatively, a variance still counts as held up by it."""


_ONE_VALUE = "Its members repeat one value"
_REPEATED = re.compile(rf" along (.+): .*{_ONE_VALUE}")


def find_degeneracy(mixture: Mixture, Z: Array, variance_floor: Array, names: Sequence[str]) -> str | None:
    """Why this fit is a spike rather than a set of segments, in words with figures; None when it is sound.

    Degenerate is: not finite; a component with too few effective members to carry its own covariance; one whose members
    have next to no scatter of their own along some direction, of that which its covariance can follow (a diagonal one
    sees no slant, one that all share sees all members); one among whose members features repeat one another as they may
    not among all customers (`MAX_VARIANCE_INFLATION`); one at the resolution floor along a combination of
    features, or along one feature whose value there few customers share. A component on a real atom (every one-order
    customer) is sound. Z : (n, d) every value as it is, whatever a fit was told of its rounding: so candidates are
    judged, and so the champion that one of them becomes. Of a mixture with a hurdle, the components that are no rule
    are judged, on the rows that are left to them.
    """
    if mixture.hurdle is not None:
        rest = ~mixture.hurdle.holds(Z)
        if not rest.any():
            return "every customer falls under the rule of the hurdle segment: nobody is left for the others"
        Z, mixture = Z[rest], mixture.without_hurdle
    return degeneracy_on(Rows(Z), mixture, variance_floor, names)


def degeneracy_on(rows: Rows, mixture: Mixture, variance_floor: Array, names: Sequence[str]) -> str | None:
    """`find_degeneracy` on rows that the kernel has already prepared, the mixture in their centered coordinates."""
    if not all(np.isfinite(values).all() for values in (mixture.weights, mixture.means, mixture.covariances)):
        return "the fit is not finite"
    d = mixture.n_features
    parameters = Parameters.of(mixture.weights[None], mixture.means[None], mixture.covariances[None])
    _, covariance = rows.moments()
    floor = np.maximum(variance_floor, GUARD_VARIANCE * np.diag(covariance))
    (moments,), _ = StackedEM(d, floor, None).expect(parameters, rows)
    if not np.isfinite(moments).all():
        return "the membership probabilities are not finite"
    needed = members_needed(d, mixture.covariance_type)
    members = rows.total * moments[:, 0]
    scale = shaped(scatter_of_one(covariance, mixture.n_components), mixture.covariance_type)
    followed = _scatter_followed(mixture, rows.total * moments, floor)
    repeated = _repeating(covariance, names) is not None  # by all customers: the gate before any fit says so
    for k in range(mixture.n_components):
        where = f"component {k + 1} of {mixture.n_components}"
        if members[k] < needed:
            return f"{where} has {members[k]:.0f} effective members, fewer than the {needed} its covariance needs"
        reason = (
            _flat_at_floor(mixture, k, rows, floor, names)
            or _without_scatter(followed[k], scale, names)
            or (None if repeated else _repeating(mixture.covariances[k], names))
        )
        if reason:
            return f"{where} {reason}"
    return None


def repeated(degeneracy: str | None) -> str:
    """Of what `find_degeneracy` says, the feature of which the members of a component repeat one value; empty where it
    says something else, or nothing."""
    found = _REPEATED.search(degeneracy or "")
    return found[1] if found else ""


def _scatter_followed(mixture: Mixture, sums: Array, floor: Array) -> Array:
    """(k, d, d) scatter of each component's members, with what their rounding adds, as far as covariances of the
    mixture's type follow it. sums : (k, P) over the members."""
    d = mixture.n_features
    members = sums[:, 0, None, None]
    centers = sums[:, 1 : d + 1] / np.maximum(sums[:, 0, None], np.finfo(float).tiny)
    scatter = unfold_products(sums[:, d + 1 :], d, False) - members * centers[:, :, None] * centers[:, None, :]
    scatter += members * np.diag(floor)
    return shaped(pooled(scatter[None], mixture.covariance_type)[0], mixture.covariance_type)


def _flat_at_floor(mixture: Mixture, k: int, rows: Rows, floor: Array, names: Sequence[str]) -> str | None:
    in_floors = mixture.covariances[k] / np.sqrt(np.outer(floor, floor))
    eigenvalues, vectors = np.linalg.eigh(in_floors)
    flat = vectors[:, eigenvalues <= 1.0 + _AT_FLOOR]
    # Several flat directions span a subspace whose basis is arbitrary: judge the subspace by its projections.
    along = np.sum(flat**2, axis=1)
    single = np.flatnonzero(along > 0.9).tolist()
    if flat.shape[1] > len(single):
        involved = " and ".join(names[j] for j in np.flatnonzero(along > 0.05).tolist())
        return f"is flat along a combination of {involved}: among its members they repeat one another"
    for j in single:
        half_step = np.sqrt(12.0 * floor[j]) / 2
        middle = rows.center[j] + mixture.means[k, j]
        share = float(np.mean(np.abs(rows.X[:, j] - middle) <= half_step))
        if share < ATOM_SHARE:
            return (
                f"is as narrow as one resolution step of {names[j]}, where only {percent(share, 1)} of the customers "
                f"lie (at least {percent(ATOM_SHARE)} for a value shared by many)"
            )
    return None


def _repeating(covariance: Array, names: Sequence[str]) -> str | None:
    """Among the members a feature is a combination of others but for next to nothing: of shops in which nearly
    everybody has bought once, the first order is the last."""
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    if variance_inflation(correlation).max() <= MAX_VARIANCE_INFLATION:
        return None
    loading = np.abs(np.linalg.eigh(correlation)[1][:, 0])
    involved = " and ".join(names[j] for j in np.flatnonzero(loading > 0.3 * loading.max()).tolist())
    return f"is flat along a combination of {involved}: among its members they repeat one another"


def _without_scatter(scatter: Array, scale: Array, names: Sequence[str]) -> str | None:
    """The members' own scatter is next to nothing beside that of a single customer: a spike."""
    factor = np.linalg.cholesky(scale)
    eigenvalues, vectors = np.linalg.eigh(np.linalg.solve(factor, np.linalg.solve(factor, scatter).T))
    if eigenvalues[0] >= OWN_SCATTER:
        return None
    direction = np.abs(np.linalg.solve(factor.T, vectors[:, 0]))
    involved = [names[j] for j in np.flatnonzero(direction > 0.3 * direction.max()).tolist()]
    why = (
        f"{_ONE_VALUE}; if that is rounding, give the feature its true resolution"
        if len(involved) == 1
        else "Among its members they repeat one another"
    )
    along = f"{' and '.join(involved)}: {figure(eigenvalues[0])} of one customer's scatter"
    return f"has next to no spread along {along}. {why}"
