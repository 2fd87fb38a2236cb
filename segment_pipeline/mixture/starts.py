"""Where EM sets out: cheap partitions of a few rows, and mixtures with one component more or less than a
known one.

Here: k-means, random centers, Ward's hierarchy, splits, merges. Not here: EM itself (em.py), and which start wins
(search.py).
"""

import numpy as np
from scipy.cluster.hierarchy import fcluster, ward

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.gaussian import Mixture, bhattacharyya_distances

WARD_ROWS = 400
"""Ward's hierarchy is built on this many rows; its cost grows with their square."""

SPLITS = 4
"""How many components of a parent are split, each in its own start."""

MERGES = 8
"""How many pairs of a larger mixture's components are merged, each in its own start. Of the four closest pairs none may
be the right one: of eight groups at k = 5 that cost 1,000 BIC."""


def kmeans_labels(
    X: Array, k: int, runs: int, random: np.random.Generator, rounds: int, weights: Array | None = None
) -> Labels:
    """(runs, n) labels: k-means++ seeds (Arthur & Vassilvitskii 2007), then Lloyd's rounds; with 0 rounds, centers
    drawn at random and rows given to the nearest. weights : (n,) non-negative, None for 1 each."""
    n, d = X.shape
    shares = np.ones(n) if weights is None else weights
    if rounds == 0:
        centers = np.stack([X[random.choice(n, size=k, replace=False, p=shares / shares.sum())] for _ in range(runs)])
        return nearest_centers(X, centers)
    centers = _spread_centers(X, k, runs, random, shares)
    labels = nearest_centers(X, centers)
    for _ in range(rounds):
        membership = (labels[:, None, :] == np.arange(k)[None, :, None]) * shares
        sizes = membership.sum(axis=2)[..., None]
        sums = (membership.reshape(runs * k, n) @ X).reshape(runs, k, d)
        centers = np.where(sizes > 0, sums / np.where(sizes > 0, sizes, 1.0), centers)
        labels = nearest_centers(X, centers)
    return labels


def ward_tree(X: Array) -> Array:
    """Ward's hierarchy of these few rows, to be cut by `ward_labels`."""
    return np.asarray(ward(X))


def ward_labels(X: Array, few: Array, tree: Array, k: int) -> Labels:
    """(1, n) labels of X: nearest of the k centers (fewer where rows are equal) at which the tree of the rows
    `few` is cut."""
    branch = fcluster(tree, k, criterion="maxclust")
    centers = np.stack([few[branch == j].mean(axis=0) for j in np.unique(branch)])
    return nearest_centers(X, centers[None])


def splits(mixture: Mixture, random: np.random.Generator, most: int = SPLITS) -> list[Mixture]:
    """At most so many mixtures with one component more: one with much spread is cut in two across its longest axis."""
    eigenvalues, vectors = np.linalg.eigh(mixture.covariances)
    spread = mixture.weights * eigenvalues[:, -1]
    chosen = random.choice(len(spread), size=min(most, len(spread)), replace=False, p=spread / spread.sum())
    result = []
    for j in np.sort(chosen):
        shift = 0.8 * np.sqrt(eigenvalues[j, -1]) * vectors[j, :, -1]
        narrowed = mixture.covariances[j] - np.outer(shift, shift)  # the two halves together keep the old covariance
        keep = np.arange(mixture.n_components) != j
        halves = (mixture.weights[j] / 2, mixture.weights[j] / 2)
        result.append(
            Mixture(
                np.concatenate([mixture.weights[keep], halves]),
                np.vstack([mixture.means[keep], mixture.means[j] - shift, mixture.means[j] + shift]),
                np.concatenate([mixture.covariances[keep], [narrowed, narrowed]]),
                covariance_type=mixture.covariance_type,
            )
        )
    return result


def merges(mixture: Mixture) -> list[Mixture]:
    """Up to `MERGES` mixtures with one component less: two become one with their joint moments, those that overlap most
    first."""
    distances = bhattacharyya_distances(mixture)
    pairs = np.column_stack(np.triu_indices(mixture.n_components, 1))
    order = np.argsort(distances[pairs[:, 0], pairs[:, 1]], kind="stable")
    result = []
    for a, b in pairs[order[:MERGES]].tolist():
        both = [a, b]
        weight = mixture.weights[both].sum()
        shares = mixture.weights[both] / weight
        mean = shares @ mixture.means[both]
        offsets = mixture.means[both] - mean
        scatter = mixture.covariances[both] + offsets[:, :, None] * offsets[:, None, :]
        keep = ~np.isin(np.arange(mixture.n_components), both)
        result.append(
            Mixture(
                np.append(mixture.weights[keep], weight),
                np.vstack([mixture.means[keep], mean]),
                np.concatenate([mixture.covariances[keep], np.tensordot(shares, scatter, 1)[None]]),
                covariance_type=mixture.covariance_type,
            )
        )
    return result


def nearest_centers(X: Array, centers: Array) -> Labels:
    """X (n, d), centers (runs, k, d) -> (runs, n) index of the nearest."""
    runs, k, d = centers.shape
    closeness = (centers.reshape(runs * k, d) @ X.T).reshape(runs, k, -1) - 0.5 * np.sum(centers**2, axis=2)[..., None]
    return np.asarray(np.argmax(closeness, axis=1))


def _spread_centers(X: Array, k: int, runs: int, random: np.random.Generator, shares: Array) -> Array:
    """(runs, k, d) rows of X, each drawn with probability proportional to the squared distance from those before."""
    n, d = X.shape
    squares = np.einsum("ij,ij->i", X, X)
    centers = np.empty((runs, k, d))
    nearest = np.ones((runs, n))
    for j in range(k):
        cumulated = np.cumsum(nearest * shares, axis=1)
        draws = random.random(runs) * cumulated[:, -1]
        picks = [min(int(np.searchsorted(cumulated[s], draws[s], side="right")), n - 1) for s in range(runs)]
        centers[:, j] = X[picks]
        distance = squares - 2.0 * centers[:, j] @ X.T + np.sum(centers[:, j] ** 2, axis=1)[:, None]
        distance = np.maximum(distance, 0.0)
        nearest = distance if j == 0 else np.minimum(nearest, distance)
    return centers
