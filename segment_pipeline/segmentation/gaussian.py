"""A Gaussian mixture as a value: its densities, its membership probabilities, its information criterion.

Here: what follows from weights, means and covariances alone. Not here: how they were found (em.py, estimator.py,
search.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]

LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture with full covariances.

    weights : (k,) positive, sum 1. means : (k, d). covariances : (k, d, d) symmetric positive definite.
    """

    weights: Array
    means: Array
    covariances: Array

    @property
    def n_components(self) -> int:
        return len(self.weights)

    @property
    def n_features(self) -> int:
        return int(self.means.shape[1])

    @property
    def n_parameters(self) -> int:
        """Free parameters: k - 1 weights, k d means, k d (d + 1) / 2 covariances."""
        k, d = self.means.shape
        return k - 1 + k * d + k * d * (d + 1) // 2

    def log_joint(self, Z: Array, spread: Array | None = None) -> Array:
        """(n, d) -> (n, k): log of weight times density, nats. The whitened product, exact to rounding.

        spread : (n, d) variance of what each value was rounded from; the log densities are then means over it. For
        fitting only: see resolution.py.
        """
        factors = precision_factors(self.covariances)
        logdet = 2.0 * np.sum(np.log(np.diagonal(factors, axis1=1, axis2=2)), axis=1)
        constant = np.log(self.weights) + 0.5 * (logdet - self.n_features * LOG_2PI)
        joint = np.empty((len(Z), self.n_components))
        for k, factor in enumerate(factors):
            whitened = (Z - self.means[k]) @ factor.T
            joint[:, k] = constant[k] - 0.5 * np.einsum("ij,ij->i", whitened, whitened)
            if spread is not None:
                joint[:, k] -= 0.5 * (spread @ np.sum(factor**2, axis=0))
        return joint

    def log_likelihood(self, Z: Array, spread: Array | None = None) -> Array:
        """(n, d) -> (n,): log density of each row, nats; higher is more typical."""
        return logsumexp(self.log_joint(Z, spread))

    def responsibilities(self, Z: Array, spread: Array | None = None) -> Array:
        """(n, d) -> (n, k): membership probability of each component; rows sum to 1."""
        joint = self.log_joint(Z, spread)
        joint -= joint.max(axis=1, keepdims=True)
        np.exp(joint, out=joint)
        joint /= joint.sum(axis=1, keepdims=True)
        return joint

    def ordered(self, order: Sequence[int]) -> "Mixture":
        """The same mixture with its components in another order."""
        index = np.asarray(order, dtype=np.intp)
        return Mixture(self.weights[index], self.means[index], self.covariances[index])

    def to_sklearn(self) -> "GaussianMixture":
        """A fitted scikit-learn estimator with the same probabilities."""
        from segment_pipeline.segmentation.estimator import GaussianMixtureEM

        return GaussianMixtureEM.from_mixture(self).to_sklearn()


def bic(mixture: Mixture, Z: Array, spread: Array | None = None) -> float:
    """Bayesian information criterion, -2 log-likelihood + parameters x log n; lower is better (Schwarz 1978)."""
    return -2.0 * float(mixture.log_likelihood(Z, spread).sum()) + mixture.n_parameters * float(np.log(len(Z)))


def bhattacharyya_distances(mixture: Mixture) -> Array:
    """(k, k) distances between components, 0 = identical, larger = better separated; the diagonal is infinite."""
    k = mixture.n_components
    distances = np.full((k, k), np.inf)
    logdets = np.linalg.slogdet(mixture.covariances)[1]
    for a, b in combinations(range(k), 2):
        middle = (mixture.covariances[a] + mixture.covariances[b]) / 2
        difference = mixture.means[a] - mixture.means[b]
        mahalanobis = float(difference @ np.linalg.solve(middle, difference))
        shape = float(np.linalg.slogdet(middle)[1]) - (logdets[a] + logdets[b]) / 2
        distances[a, b] = distances[b, a] = mahalanobis / 8 + shape / 2
    return distances


def precision_factors(covariances: Array) -> Array:
    """(k, d, d) lower triangular factors F with F' F = precision: the inverse Cholesky factor of each covariance."""
    return np.tril(np.linalg.inv(np.linalg.cholesky(covariances)))


def logsumexp(joint: Array) -> Array:
    """(n, k) -> (n,): log of the sum of exponentials of each row."""
    peak = joint.max(axis=1)
    return peak + np.log(np.sum(np.exp(joint - peak[:, None]), axis=1))
