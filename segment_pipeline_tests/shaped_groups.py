"""Gaussian customers of four known groups whose covariances are of a known type."""

import numpy as np

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.gaussian import Mixture

SHARES = np.array([0.4, 0.3, 0.2, 0.1])

FEATURES = 5


def groups_of(covariance_type: CovarianceType, seed: int) -> Mixture:
    """Centres and shapes are drawn anew for each seed; groups overlap."""
    random = np.random.default_rng((seed, 7))
    k, d = len(SHARES), FEATURES
    widths = np.exp(random.normal(scale=0.4, size=(k, d)))
    if covariance_type == "spherical":
        covariances = np.exp(random.normal(scale=0.4, size=(k, 1, 1))) * np.eye(d)
    elif covariance_type == "diagonal":
        covariances = widths[:, :, None] * np.eye(d)
    else:
        roots = random.normal(size=(1 if covariance_type == "tied" else k, d, 2 * d)) / np.sqrt(2 * d)
        covariances = np.repeat(roots @ np.swapaxes(roots, 1, 2), k // len(roots), axis=0)
    return Mixture(SHARES, random.normal(scale=1.6, size=(k, d)), covariances, covariance_type=covariance_type)


def customers_of(groups: Mixture, n: int, seed: int) -> tuple[Labels, Array]:
    """(n,) the group of each customer, and (n, d) what is seen of them."""
    random = np.random.default_rng((seed, n))
    truth = random.choice(groups.n_components, n, p=groups.weights)
    roots = np.linalg.cholesky(groups.covariances)[truth]
    return truth, groups.means[truth] + np.einsum("nij,nj->ni", roots, random.normal(size=(n, groups.n_features)))
