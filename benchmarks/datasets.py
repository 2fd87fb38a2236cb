"""The customers of the mixture benchmarks: simulated ones of which the truth is known, and CDNOW's."""

import importlib.util
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def overlapping_components(rows: int, features: int, *, components: int = 6, seed: int = 0) -> Array:
    """(rows, features) standardised customers of a mixture whose components overlap, in random order."""
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(components, 5.0))
    means = random.normal(size=(components, features)) * 1.2
    roots = random.normal(size=(components, features, features)) * 0.5 + 0.3 * np.eye(features)
    X = random.normal(size=(rows, features))
    labels = random.choice(components, size=rows, p=weights)
    for k in range(components):
        mine = labels == k
        X[mine] = means[k] + X[mine] @ roots[k].T
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    return X


def cdnow_features(as_of: date, window_months: int = 9) -> Array:
    """(n, 3) days since the last order, orders, average order value of CDNOW's customers with an order in the window."""
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or spec.origin is None:
        raise SystemExit("CDNOW comes with the package lifetimes: pip install lifetimes")
    first = _months_before(as_of, window_months)
    orders: dict[str, list[tuple[date, float]]] = defaultdict(list)
    for line in (Path(spec.origin).parent / "datasets" / "CDNOW_master.txt").read_text().splitlines()[1:]:
        customer, day, _, amount = line.split()
        ordered = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        if first <= ordered < as_of and float(amount) > 0:
            orders[customer].append((ordered, float(amount)))
    return np.array(
        [
            [(as_of - max(day for day, _ in mine)).days, len(mine), sum(amount for _, amount in mine) / len(mine)]
            for mine in orders.values()
        ]
    )


def _months_before(day: date, months: int) -> date:
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(years, month + 1, day.day)
