"""Customers who differ only in what they buy: whether segments find their kinds, by what a mixture is fitted to.

Simulated (simulated_tastes.py): four kinds that order as often and spend as much, and 12 % of two kinds at once, whose
orders are each of one of them. From order lines to memberships by the pipeline's own steps, one month, without memory.
Medians of the draws; a draw in which no candidate may serve counts as agreement 0 and nobody right.

Bars, for the ratios, where customers place 13 orders: an adjusted Rand index of 0.8 for who has one kind, and of those
of two kinds 80 % with these as their two likeliest segments; without categories neither.

And who of two kinds is told from who has one (`--hybrids` for that alone): by a second probability above 0.25 and by
`is_between` of
the segments, by two shares of the spend that are both large, and by what nobody has: Gaussians of each kind and each
two kinds, fitted to customers whose kinds are known, as strict with those of one kind as `is_between` is. What these do
not tell is hardly in the ratios. And what is in the orders themselves, each of one kind: how likely they are, one by
one, if the tastes that they are drawn from are known. The draws are others than those on which `is_between` was chosen
(seeds 10 to 15 of these customers).
"""

import sys
import tempfile
from collections.abc import Callable
from itertools import combinations, combinations_with_replacement
from pathlib import Path

import numpy as np

from benchmarks.real_months import record
from segment_pipeline.arrays import Array
from segment_pipeline_tests.simulated_tastes import (
    CATEGORIES,
    FEATURES,
    KINDS,
    Found,
    Tastes,
    assigned,
    customers_of_tastes,
    found_kinds,
    own_tastes,
    seen_of,
)

CUSTOMERS, DRAWS, ORDERS = 3000, 3, (4.0, 8.0, 12.0)
ORDERS_OF_HYBRIDS = (4.0, 8.0, 12.0, 20.0, 32.0)
HYBRID_DRAWS = range(100, 105)
TASTES_DRAWN = 200
"""Of each kind, to mean the likelihood of a customer's orders over what its own tastes may be."""

SHOWN_OF_KINDS = ("agreement", "right_two", "second", "second_of_one")

BOTH_SHARES = 0.25
"""Of the spend, in each of two categories: who buys of both. One kind has 0.6 in its own and 0.1 in each other."""


def main() -> None:
    if "--hybrids" not in sys.argv[1:]:
        kinds()
    of_two()


def of_two() -> None:
    rows: list[list[object]] = []
    for orders in ORDERS_OF_HYBRIDS:
        found = []
        for seed in HYBRID_DRAWS:
            tastes = customers_of_tastes(CUSTOMERS, seed, orders)
            with tempfile.TemporaryDirectory() as folder:
                of = assigned(tastes, "ratios", Path(folder))
                _, shares = seen_of(tastes, "shares", Path(folder))
                _, ratios = seen_of(tastes, "ratios", Path(folder))
            assert not isinstance(of, str), of
            told = found_kinds(tastes, of)
            both, wrong = np.sort(shares, axis=1)[:, -2] >= BOTH_SHARES, told.between_of_one
            found.append(
                [told.right_two, told.second, told.second_of_one]
                + [told.between, told.between_right_two, told.between_of_one]
                + [float(both[tastes.of_two].mean()), float(both[~tastes.of_two].mean())]
                + [_told(odds, tastes, wrong) for odds in (odds_of_ratios(tastes, ratios), odds_of_orders(tastes))]
            )
        rows.append([int(orders) + 1, *np.median(found, axis=0).tolist()])
        print(rows[-1], flush=True)
    header = (
        *("orders", "right two", "second > 0.25, of two", "second > 0.25, of one"),
        *("`is_between`, of two", "and the right two", "`is_between`, of one"),
        *("two shares of 0.25, of two", "two shares of 0.25, of one"),
        *("kinds known, of two", "kinds and orders known, of two"),
    )
    record("categories-hybrids", f"{CUSTOMERS} customers, medians of {len(HYBRID_DRAWS)} draws", header, rows)


def _told(odds: Array, tastes: Tastes, wrong: float) -> float:
    """The share of those of two kinds whose log-odds (n,) of having two are above those of all but so many of one."""
    limit = np.quantile(odds[~tastes.of_two], 1 - wrong)
    return float((odds[tastes.of_two] > limit).mean())


def odds_of_ratios(tastes: Tastes, X: Array) -> Array:
    """(n,) log-odds of two kinds against one, under a Gaussian for each kind and each two of them, fitted to the very
    customers, whose kinds are known. X : (n, d)."""
    low, high = np.minimum(tastes.kind, tastes.other), np.maximum(tastes.kind, tastes.other)
    of_one, of_two = [], []
    for i, j in combinations_with_replacement(range(KINDS), 2):
        of = (low == i) & (high == j)
        centred, lower = X - X[of].mean(axis=0), np.linalg.cholesky(np.cov(X[of].T))
        distances = np.square(np.linalg.solve(lower, centred.T)).sum(axis=0)
        joint = np.log(of.mean()) - 0.5 * distances - np.log(np.diag(lower)).sum()
        (of_one if i == j else of_two).append(joint)
    return np.asarray(np.logaddexp.reduce(of_two) - np.logaddexp.reduce(of_one))


def odds_of_orders(tastes: Tastes) -> Array:
    """(n,) log-odds of two kinds against one, of the number of lines of each category in each order, where the tastes
    of each kind, and how customers differ from them, are known."""
    lines = tastes.lines
    order, category = np.asarray(lines["order_no"]), np.asarray(lines["category"].to_pylist())
    counts = np.zeros((order.max() + 1, len(CATEGORIES)))
    for j, name in enumerate(CATEGORIES):
        np.add.at(counts[:, j], order[category == name], 1.0)
    customer = np.zeros(len(counts), dtype=np.intp)
    customer[order] = np.asarray(lines["customer"])
    random, n = np.random.default_rng(0), len(tastes.kind)

    def mean(likelihood: Callable[[], Array]) -> Array:
        """(n,) log of the mean over tastes of the likelihood of all orders; of each order the logarithm is given."""
        drawn = [np.bincount(customer, likelihood(), minlength=n) for _ in range(TASTES_DRAWN)]
        return np.asarray(np.logaddexp.reduce(drawn))

    def by(kind: int) -> Array:
        """(orders,) of each order, of one customer's tastes of that kind."""
        return np.asarray(counts @ np.log(np.maximum(own_tastes(random, kind), 1e-9)))

    of_one = [mean(lambda i=i: by(i)) for i in range(KINDS)]
    of_two = [mean(lambda i=i, j=j: np.logaddexp(by(i), by(j)) - np.log(2)) for i, j in combinations(range(KINDS), 2)]
    return np.asarray(np.logaddexp.reduce(of_two) - np.logaddexp.reduce(of_one))


def kinds() -> None:
    rows: list[list[object]] = []
    for orders in ORDERS:
        drawn = [customers_of_tastes(CUSTOMERS, seed, orders) for seed in range(10, 10 + DRAWS)]
        for features in FEATURES:
            found: list[Found] = []
            refused = 0
            for tastes in drawn:
                with tempfile.TemporaryDirectory() as folder:
                    of = assigned(tastes, features, Path(folder))
                refused += isinstance(of, str)
                found.append(Found(0, *[0.0] * 7) if isinstance(of, str) else found_kinds(tastes, of))
            medians = {
                name: float(np.median([getattr(one, name) for one in found])) for name in ("segments", *SHOWN_OF_KINDS)
            }
            rows.append([int(orders) + 1, features, int(medians.pop("segments")), *medians.values(), refused])
    header = (
        "orders",
        "fitted to",
        "segments",
        "agreement",
        "right two",
        "second > 0.25, of two",
        "second > 0.25, of one",
        "refused",
    )
    record("categories", f"{CUSTOMERS} customers, medians of {DRAWS} draws", header, rows)


if __name__ == "__main__":
    main()
