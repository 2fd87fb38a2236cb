"""A Gaussian mixture as a value: its densities, its membership probabilities, its information criterion.

Here: what follows from weights, means and covariances alone. Not here: how they were found (em.py, estimator.py,
search.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.mixture.covariances import CovarianceType, free_numbers

LOG_2PI = float(np.log(2.0 * np.pi))

Parts = tuple[tuple[int, ...], ...]
"""The Gaussians of each segment, by position: every one stands in one segment."""


@dataclass(frozen=True)
class Hurdle:
    """A component by rule: rows whose `feature` lies from `low` to `high` are its members for certain, no others are.

    component : its position in the mixture. feature : position of the column. low, value, high : the step around the
    value, in the mixture's coordinates.
    """

    component: int
    feature: int
    low: float
    value: float
    high: float

    def moved(self, stretch: float, shift: float) -> "Hurdle":
        """The same rule in coordinates stretched and then shifted along its feature."""
        low, value, high = (bound * stretch + shift for bound in (self.low, self.value, self.high))
        return replace(self, low=low, value=value, high=high)

    def holds(self, Z: Array) -> Flags:
        """(n, d) -> (n,) to which rows the rule applies."""
        values = Z[:, self.feature]
        return np.asarray((values >= self.low) & (values <= self.high))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture.

    weights : (k,) positive, sum 1. means : (k, d). covariances : (k, d, d) symmetric positive definite. hurdle : the
    component that is a rule, None where all are found by their density alone (hurdle.py). parts : which of the k
    components are one segment (merging.py); None where each is one. Densities, memberships and priors are of the m
    segments; a segment's density is the sum of its components'. covariance_type : under which constraint it
    was fitted, for the parameters that it cost; in coordinates of another scale spheres are none any more.
    """

    weights: Array
    means: Array
    covariances: Array
    hurdle: Hurdle | None = None
    parts: Parts | None = None
    covariance_type: CovarianceType = "full"

    @property
    def n_components(self) -> int:
        return len(self.weights)

    @property
    def n_segments(self) -> int:
        return self.n_components if self.parts is None else len(self.parts)

    @property
    def shares(self) -> Array:
        """(m,) weights of the segments, sum 1."""
        return self.weights if self.parts is None else summed(self.weights, self.parts)

    @property
    def segment_of(self) -> Labels:
        """(k,) the segment of each component."""
        found = np.arange(self.n_components)
        for s, part in enumerate(self.parts or ()):
            found[list(part)] = s
        return found

    @property
    def within(self) -> Array:
        """(k,) share of each component in its segment; 1 where it is the segment."""
        within = np.ones(self.n_components)
        for part in self.parts or ():
            within[list(part)] = self.weights[list(part)] / self.weights[list(part)].sum()
        return within

    def with_shares(self, shares: Array) -> "Mixture":
        """The same with other weights (m,) of the segments, sum 1."""
        return replace(self, weights=shares[self.segment_of] * self.within)

    def of_components(self, prior: Array) -> Array:
        """(n, m) probabilities of the segments -> (n, k) of the components, by their shares within."""
        return np.asarray(prior[:, self.segment_of] * self.within)

    @property
    def unmerged(self) -> "Mixture":
        """The same, with every component a segment."""
        return self if self.parts is None else replace(self, parts=None)

    @property
    def moments(self) -> "Mixture":
        """One Gaussian for each segment, with its mean and covariance; itself where every component is a segment."""
        if self.parts is None:
            return self
        means, covariances = [], []
        for part in map(list, self.parts):
            within, centres = self.within[part], self.means[part]
            means.append(within @ centres)
            apart = centres - means[-1]
            covariances.append(np.tensordot(within, self.covariances[part], 1) + (apart * within[:, None]).T @ apart)
        hurdle = self.hurdle
        if hurdle is not None:
            rule = next(s for s, part in enumerate(self.parts) if hurdle.component in part)
            hurdle = replace(hurdle, component=rule)
        return Mixture(self.shares, np.array(means), np.array(covariances), hurdle)

    @property
    def n_features(self) -> int:
        return int(self.means.shape[1])

    @property
    def n_parameters(self) -> int:
        """Free parameters: k - 1 weights, k d means, and the covariances' (full: k d (d + 1) / 2). A hurdle's component
        has a weight, and a Gaussian of the other features; the rule gives the rest."""
        k, d = self.n_components, self.n_features
        if self.hurdle is not None:
            return self.without_hurdle.n_parameters + d + free_numbers(self.covariance_type, 1, d - 1)
        return k - 1 + k * d + free_numbers(self.covariance_type, k, d)

    @property
    def without_hurdle(self) -> "Mixture":
        """The mixture of those rows to which the rule does not apply, unmerged; itself where there is no rule."""
        if self.hurdle is None:
            return self
        keep = np.arange(self.n_components) != self.hurdle.component
        weights = self.weights[keep]
        return Mixture(
            weights / weights.sum(),
            self.means[keep],
            self.covariances[keep],
            covariance_type=self.covariance_type,
        )

    def log_joint(self, Z: Array, rounding_variance: Array | None = None, *, prior: Array | None = None) -> Array:
        """(n, d) -> (n, m): log of weight times density, nats. The whitened product, exact to rounding.

        rounding_variance : (n, d) variance of what each value was rounded from; the log densities are then means over
        it. For fitting only: see resolution.py. prior : (n, m) of each row, in place of the weights.
        """
        factors = precision_factors(self.covariances)
        logdet = 2.0 * np.sum(np.log(np.diagonal(factors, axis1=1, axis2=2)), axis=1)
        constant = np.log(self.weights) + 0.5 * (logdet - self.n_features * LOG_2PI)
        joint = np.empty((len(Z), self.n_components))
        for k, factor in enumerate(factors):
            whitened = (Z - self.means[k]) @ factor.T
            joint[:, k] = constant[k] - 0.5 * np.einsum("ij,ij->i", whitened, whitened)
            if rounding_variance is not None:
                joint[:, k] -= 0.5 * (rounding_variance @ np.sum(factor**2, axis=0))
        if self.hurdle is not None:
            of_rule = np.arange(self.n_components) == self.hurdle.component
            joint[self.hurdle.holds(Z)[:, None] != of_rule] = -np.inf
        if self.parts is not None:
            joint = np.column_stack([np.logaddexp.reduce(joint[:, list(part)], axis=1) for part in self.parts])
        if prior is not None:
            joint += np.log(np.maximum(prior, np.finfo(float).tiny)) - np.log(self.shares)
        return joint

    def log_likelihood(self, Z: Array, rounding_variance: Array | None = None, *, prior: Array | None = None) -> Array:
        """(n, d) -> (n,): log density of each row, nats; higher is more typical. prior : as in `log_joint`."""
        return logsumexp(self.log_joint(Z, rounding_variance, prior=prior))

    def responsibilities(
        self, Z: Array, rounding_variance: Array | None = None, *, prior: Array | None = None
    ) -> Array:
        """(n, d) -> (n, m): membership probability of each segment; rows sum to 1. prior : as in `log_joint`."""
        joint = self.log_joint(Z, rounding_variance, prior=prior)
        joint -= joint.max(axis=1, keepdims=True)
        np.exp(joint, out=joint)
        joint /= joint.sum(axis=1, keepdims=True)
        return joint

    def ordered(self, order: Sequence[int]) -> "Mixture":
        """The same mixture with its segments in another order."""
        if self.parts is not None:
            return replace(self, parts=tuple(self.parts[s] for s in order))
        index = np.asarray(order, dtype=np.intp)
        hurdle = self.hurdle
        if hurdle is not None:
            hurdle = replace(hurdle, component=int(np.flatnonzero(index == hurdle.component)[0]))
        return replace(
            self,
            weights=self.weights[index],
            means=self.means[index],
            covariances=self.covariances[index],
            hurdle=hurdle,
        )

    def to_plain(self) -> dict[str, Any]:
        """Lists and numbers for JSON; `from_plain` gives back the same doubles."""
        plain = {name: getattr(self, name).tolist() for name in ("weights", "means", "covariances")}
        if self.hurdle is not None:
            plain["hurdle"] = asdict(self.hurdle)
        if self.parts is not None:
            plain["parts"] = [list(part) for part in self.parts]
        return plain if self.covariance_type == "full" else plain | {"covariance_type": self.covariance_type}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Mixture":
        """The inverse of `to_plain`."""
        weights, means, covariances = (
            np.array(plain[name], dtype=np.float64) for name in ("weights", "means", "covariances")
        )
        hurdle = Hurdle(**plain["hurdle"]) if "hurdle" in plain else None
        parts = tuple(map(tuple, plain["parts"])) if "parts" in plain else None
        return cls(weights, means, covariances, hurdle, parts, plain.get("covariance_type", "full"))


def bic(mixture: Mixture, Z: Array, rounding_variance: Array | None = None) -> float:
    """Bayesian information criterion, -2 log-likelihood + parameters x log n; lower is better (Schwarz 1978)."""
    return -2.0 * float(mixture.log_likelihood(Z, rounding_variance).sum()) + mixture.n_parameters * float(
        np.log(len(Z))
    )


def summed(values: Array, parts: Parts) -> Array:
    """(..., k) of components -> (..., m) of segments: sums."""
    return np.stack([values[..., list(part)].sum(axis=-1) for part in parts], axis=-1)


def bhattacharyya_distances(mixture: Mixture) -> Array:
    """(m, m) distances between segments, 0 = identical, larger = better separated; infinite on the diagonal and to a
    segment that is a rule. One of several components counts as the Gaussian with its mean and covariance."""
    mixture = mixture.moments
    k = mixture.n_components
    distances = np.full((k, k), np.inf)
    logdets = np.linalg.slogdet(mixture.covariances)[1]
    for a, b in combinations(range(k), 2):
        middle = (mixture.covariances[a] + mixture.covariances[b]) / 2
        difference = mixture.means[a] - mixture.means[b]
        mahalanobis = float(difference @ np.linalg.solve(middle, difference))
        shape = float(np.linalg.slogdet(middle)[1]) - (logdets[a] + logdets[b]) / 2
        distances[a, b] = distances[b, a] = mahalanobis / 8 + shape / 2
    if mixture.hurdle is not None:
        distances[mixture.hurdle.component, :] = distances[:, mixture.hurdle.component] = np.inf
    return distances


@dataclass(frozen=True, eq=False)
class Line:
    """The line from the centre of one segment to that of another: a row z lies on it at `offset + weights @ z`, 0 at
    the one centre and 1 at the other. weights : (d,). spread, other_spread : standard deviations, in that unit, of the
    one segment's own rows around 0 and of the other's around 1."""

    offset: float
    weights: Array
    spread: float
    other_spread: float


def line_between(mixture: Mixture, a: int, b: int) -> Line:
    """From segment a to segment b: each row is projected in the metric of both, the mean of their covariances, in which
    Fisher's discriminant between the two is this line. mixture : of one component a segment (`moments`)."""
    difference = mixture.means[b] - mixture.means[a]
    direction = np.linalg.solve((mixture.covariances[a] + mixture.covariances[b]) / 2, difference)
    weights = direction / (difference @ direction)
    spread, other = (float(np.sqrt(weights @ mixture.covariances[k] @ weights)) for k in (a, b))
    return Line(-float(weights @ mixture.means[a]), weights, spread, other)


def precision_factors(covariances: Array) -> Array:
    """(k, d, d) lower triangular factors F with F' F = precision: the inverse Cholesky factor of each covariance."""
    return np.tril(np.linalg.inv(np.linalg.cholesky(covariances)))


def logsumexp(joint: Array) -> Array:
    """(n, k) -> (n,): log of the sum of exponentials of each row."""
    peak = joint.max(axis=1)
    return np.asarray(peak + np.log(np.sum(np.exp(joint - peak[:, None]), axis=1)))
