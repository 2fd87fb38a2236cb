"""Customers of known groups that no single Gaussian describes: log-normal ones, and Student's t of a few degrees."""

import numpy as np

from segment_pipeline.arrays import Array, Labels

CENTRES = np.array([[0.0, 0.0, 0.0], [3.0, 0.4, 0.6], [0.6, 3.0, -0.5]])
"""Of three groups, whose customers vary by 1 in each feature."""

SHARES = np.array([0.45, 0.33, 0.22])

LOG_SPREAD = 0.8
"""Standard deviation of the logarithm in log-normal groups: skewness 3.7."""


def skewed_groups(n: int, shape: str, seed: int, truth: Labels | None = None) -> tuple[Labels, Array]:
    """(n,) the group of each customer, and (n, 3) what is seen of them. shape : "log-normal", "t3" or "t5"; the
    features of a group are correlated by 0.3 on the scale on which they are Gaussian. truth : drawn when left out."""
    random = np.random.default_rng((seed, n))
    truth = random.choice(len(SHARES), n, p=SHARES) if truth is None else truth
    gaussian = random.normal(size=(n, 3)) @ np.linalg.cholesky(0.3 + 0.7 * np.eye(3)).T
    if shape == "log-normal":
        mean = np.exp(LOG_SPREAD**2 / 2)
        chance = (np.exp(LOG_SPREAD * gaussian) - mean) / (mean * np.sqrt(np.expm1(LOG_SPREAD**2)))
    else:
        degrees = float(shape.removeprefix("t"))
        chance = gaussian * np.sqrt((degrees - 2) / random.chisquare(degrees, n))[:, None]
    return truth, CENTRES[truth] + chance


def standardised(X: Array) -> Array:
    """(n, d) as a fit sees it: mean 0 and standard deviation 1 in every feature."""
    return np.asarray((X - X.mean(axis=0)) / X.std(axis=0))
