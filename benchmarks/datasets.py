"""The customers of the mixture benchmarks: simulated ones of which the truth is known, and CDNOW's."""

import importlib.util
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.features import FeatureSpace

CHUNK_ROWS = 250_000


def overlapping_components(rows: int, features: int, *, components: int = 6, seed: int = 0) -> Array:
    """(rows, features) customers of a mixture whose components overlap, in random order; mean 0, variance 1.

    Made in chunks, so that the peak memory of a process that calls it is the matrix itself.
    """
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(components, 5.0))
    means = random.normal(size=(components, features)) * 1.2
    loadings = random.normal(size=(components, features, features)) * 0.5
    # Customers' features are rounded, so that no real component is flat: a tenth of a unit everywhere.
    roots = np.linalg.cholesky(loadings @ np.swapaxes(loadings, 1, 2) + 0.1 * np.eye(features))
    center = weights @ means
    scale = np.sqrt(weights @ (np.sum(roots**2, axis=2) + means**2) - center**2)
    X = np.empty((rows, features))
    for start in range(0, rows, CHUNK_ROWS):
        part = X[start : start + CHUNK_ROWS]
        labels = random.choice(components, size=len(part), p=weights)
        noise = random.normal(size=part.shape)
        for k in range(components):
            mine = labels == k
            part[mine] = (means[k] + noise[mine] @ roots[k].T - center) / scale
    return X


@dataclass(frozen=True)
class Shape:
    """Of simulated customers: rows and features; components, whose centres lie `apart` (in units of their own spread,
    0.4 to 1 in every direction); the least weight of one beside an equal share; the spread of the first one along one
    direction of its own, where it is `thin`, and still more than a spike's."""

    rows: int
    features: int
    components: int
    apart: float
    least: float = 1.0
    thin: float = 0.4


VARIED = {
    "small": Shape(500, 3, 3, 2.0),
    "small, overlapping": Shape(800, 2, 4, 1.2),
    "unequal": Shape(1_500, 4, 4, 2.0, least=0.2),
    "thin": Shape(2_000, 5, 3, 2.0, thin=0.05),
    "overlapping": Shape(4_000, 3, 5, 1.2),
    "thin and unequal": Shape(6_000, 4, 5, 1.6, least=0.2, thin=0.03),
    "many": Shape(10_000, 4, 8, 2.0, least=0.4),
    "wide": Shape(15_000, 8, 5, 1.2),
    "large, thin": Shape(30_000, 3, 6, 1.4, least=0.3, thin=0.01),
}


def varied_sets() -> dict[str, Array]:
    """Ten sets of simulated customers of different shape: those of `VARIED`, and 47,000 x 5 that overlap."""
    made = {name: _simulated(shape, seed) for seed, (name, shape) in enumerate(VARIED.items())}
    return made | {"large, overlapping": overlapping_components(47_000, 5)}


def _simulated(shape: Shape, seed: int) -> Array:
    random = np.random.default_rng((seed, 13))
    k, d = shape.components, shape.features
    weights = np.linspace(shape.least, 2.0 - shape.least, k)
    means = random.normal(size=(k, d)) * shape.apart
    directions, _ = np.linalg.qr(random.normal(size=(k, d, d)))
    spreads = random.uniform(0.4, 1.0, size=(k, d))
    spreads[0, 0] = min(shape.thin, spreads[0, 0])
    roots = directions * spreads[:, None, :]
    labels = random.choice(k, size=shape.rows, p=weights / weights.sum())
    X = means[labels] + np.einsum("nij,nj->ni", roots[labels], random.normal(size=(shape.rows, d)))
    return np.asarray((X - X.mean(axis=0)) / X.std(axis=0))


def cdnow_features(as_of: date, window_months: int = 9) -> Array:
    """(n, 3) days since the last order, orders, average order value of those with an order in the window."""
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or spec.origin is None:
        raise SystemExit("CDNOW comes with the package lifetimes: pip install lifetimes")
    years, month = divmod(as_of.year * 12 + as_of.month - 1 - window_months, 12)
    first = date(years, month + 1, 1)
    orders: dict[str, list[tuple[date, float]]] = defaultdict(list)
    for line in (Path(spec.origin).parent / "datasets" / "CDNOW_master.txt").read_text().splitlines()[1:]:
        customer, day, _, amount = line.split()
        ordered = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        if first <= ordered < as_of and float(amount) > 0:
            orders[customer].append((ordered, float(amount)))
    return np.array(
        [
            [
                (as_of - max(day for day, _ in mine)).days,
                len(mine),
                round(sum(amount for _, amount in mine) / len(mine), 2),
            ]
            for mine in orders.values()
        ]
    )


def cdnow_space(X: Array) -> FeatureSpace:
    """The feature space of `cdnow_features`: log1p, with the resolutions of days, orders and cents."""
    features = [
        SimpleNamespace(name=name, transform="log1p", resolution=resolution)
        for name, resolution in (("days_since_last_order", 1), ("orders", 1), ("average_order_value", 0.01))
    ]
    return FeatureSpace.fit(features, X)  # type: ignore[arg-type]
