"""Customers of which it is known what describes them best: each generator makes the data for one verdict.

Sizes, shares, distances and, where it makes sense, the number of features and of groups are drawn from the seed too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.datasets import make_moons

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.search import search_mixtures


@dataclass(frozen=True, eq=False)
class Known:
    """X : (n, d). truth : (n,). rules : labels of the user's own rules. categories : (n, c) codes of text columns."""

    X: Array
    truth: Labels
    rules: dict[str, Labels] = field(default_factory=dict)
    categories: Labels | None = None

    @property
    def Z(self) -> Array:  # noqa: N802 - the name of the mathematics
        return (self.X - self.X.mean(axis=0)) / self.X.std(axis=0)


def separated_balls(seed: int) -> Known:
    """3 to 6 round segments of one size, at least seven standard deviations apart."""
    random = np.random.default_rng((seed, 1))
    n, d, k = int(random.integers(1200, 4000)), int(random.integers(2, 6)), int(random.integers(3, 7))
    centres = _apart(random, k, d, 7.0)
    truth = random.choice(k, size=n, p=random.dirichlet(np.full(k, 20.0)))
    return Known(centres[truth] + random.normal(size=(n, d)), truth)


def nested_groups(seed: int) -> Known:
    """2 or 3 groups far apart, each of 2 or 3 subgroups that stand close together but clear of one another."""
    random = np.random.default_rng((seed, 2))
    n, d, groups = int(random.integers(1200, 4000)), int(random.integers(2, 6)), int(random.integers(2, 4))
    centres = np.vstack(
        [
            middle + _apart(random, int(random.integers(2, 4)), d, 5.0, most=8.0)
            for middle in _apart(random, groups, d, 30.0)
        ]
    )
    truth = random.choice(len(centres), size=n, p=random.dirichlet(np.full(len(centres), 20.0)))
    return Known(centres[truth] + random.normal(size=(n, d)), truth)


def two_moons_with_noise(seed: int) -> Known:
    """Two crescents, and 3 to 12 % of the customers anywhere."""
    random = np.random.default_rng((seed, 3))
    n = int(random.integers(1200, 4000))
    stray = int(random.uniform(0.03, 0.12) * n)
    X, truth = make_moons(n - stray, noise=random.uniform(0.04, 0.09), random_state=seed)
    low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    X = np.vstack([X, random.uniform(low, high, size=(stray, 2))])
    return Known(X, np.append(truth, np.full(stray, -1)))


def categorical_classes(seed: int) -> Known:
    """2 to 4 classes that differ in how often each of five to eight answers is given; nothing in them is a quantity."""
    random = np.random.default_rng((seed, 4))
    n, c, k = int(random.integers(1200, 4000)), int(random.integers(5, 9)), int(random.integers(2, 5))
    truth = random.choice(k, size=n, p=random.dirichlet(np.full(k, 20.0)))
    columns = []
    for _ in range(c):
        levels = int(random.integers(2, 5))
        tables = random.dirichlet(np.full(levels, 0.4), size=k)
        columns.append(np.array([random.choice(levels, p=tables[t]) for t in truth]))
    codes = np.column_stack(columns)
    # half of them stand among the features as codes, half are text columns: in the first seeds all are codes
    if seed % 2:
        return Known(codes.astype(np.float64) + 0.0, truth)
    few = max(2, c // 3)
    return Known(codes[:, :few].astype(np.float64), truth, categories=codes[:, few:])


def cut_by_a_rule(seed: int) -> Known:
    """Customers spread evenly within limits on each feature: a table of thresholds made them, with a gap or none."""
    random = np.random.default_rng((seed, 5))
    n, d = int(random.integers(1200, 4000)), int(random.integers(2, 5))
    limit = random.uniform(0.35, 0.65, size=2)
    gap = random.uniform(0.1, 0.25)
    kinds = [(0, 0), (0, 1), (1, 0), (1, 1)]
    shares = random.dirichlet(np.full(4, 20.0))
    truth = random.choice(4, size=n, p=shares)
    X = random.uniform(size=(n, d))
    for j in range(2):
        upper = np.array([kinds[t][j] for t in truth], dtype=bool)
        X[:, j] = np.where(upper, limit[j] + gap / 2 + X[:, j] * (1 - limit[j]), X[:, j] * limit[j] - gap / 2)
    rule = (X[:, 0] > limit[0]) * 2 + (X[:, 1] > limit[1])
    return Known(X, truth, rules={"own": rule} if seed % 2 == 0 else {})


def overlapping_gaussians(seed: int) -> Known:
    """3 or 4 segments of different shapes, drawn together until the true mixture itself is in doubt: the customers'
    largest membership probability is 0.80 to 0.93 on average."""
    random = np.random.default_rng((seed, 6))
    n, d, k = int(random.integers(1500, 4000)), int(random.integers(2, 6)), int(random.integers(3, 5))
    centres, doubt = _apart(random, k, d, 6.0, most=10.0), random.uniform(0.80, 0.93)
    roots = random.normal(size=(k, d, d)) * 0.5
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.5 * np.eye(d)
    weights = random.dirichlet(np.full(k, 20.0))
    truth = random.choice(k, size=n, p=weights)
    within = np.einsum("nij,nj->ni", np.linalg.cholesky(covariances)[truth], random.normal(size=(n, d)))
    while Mixture(weights, centres, covariances).responsibilities(centres[truth] + within).max(axis=1).mean() > doubt:
        centres = centres * 0.95
    return Known(centres[truth] + within, truth)


KINDS: dict[str, Callable[[int], Known]] = {
    "k_means_would_serve": separated_balls,
    "nested_groups": nested_groups,
    "density_based": two_moons_with_noise,
    "latent_classes": categorical_classes,
    "rules_would_do": cut_by_a_rule,
    "mixture": overlapping_gaussians,
}
"""The verdict that each generator's data deserve."""


def champion_of(known: Known, most: int = 8, seed: int = 0) -> Mixture:
    """The sound mixture of lowest BIC, or of all where none is sound."""
    found = search_mixtures(known.Z, range(2, most + 1), random_state=seed, variance_floor=1e-8, finalists=1, n_jobs=1)
    sound = [one for one in found if not one.degenerate]
    return min(sound or found, key=lambda one: one.bic).model.mixture_


def _apart(random: np.random.Generator, k: int, d: int, least: float, most: float | None = None) -> Array:
    """(k, d) centres, the nearest two `least` apart, no two more than `most` where that is given."""
    while True:
        centres = random.normal(size=(k, d))
        distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        nearest = distance[np.triu_indices(k, 1)].min()
        centres *= least / nearest
        if distance.max() / nearest <= (np.inf if most is None else most / least) and distance.max() / nearest < 4:
            return centres
