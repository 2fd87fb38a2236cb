"""Customers who differ only in what they buy: whether segments find their kinds, by what a mixture is fitted to.

Simulated (simulated_tastes.py): four kinds that order as often and spend as much, and 12 % of two kinds at once, whose
orders are each of one of them. From order lines to memberships by the pipeline's own steps, one month, without memory.
Medians of the draws; a draw in which no candidate may serve counts as agreement 0 and nobody right.

Bars, for the ratios, where customers place 13 orders: an adjusted Rand index of 0.8 for who has one kind, and of those
of two kinds 80 % with these as their two likeliest segments; without categories neither.

And who of two kinds is told from who has one (`--hybrids` for that alone): by the flag `is_hybrid` of the segments, by
two shares of the spend that are both large, and by what nobody has: Gaussians of each kind and each two kinds, fitted
to customers whose kinds are known. What these do not tell is hardly in the ratios.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.real_months import record
from segment_pipeline.arrays import Array, Flags
from segment_pipeline_tests.simulated_tastes import (
    FEATURES,
    KINDS,
    Found,
    Tastes,
    customers_of_tastes,
    found_kinds,
    memberships,
    seen_of,
)

CUSTOMERS, DRAWS, ORDERS = 3000, 3, (4.0, 8.0, 12.0)
ORDERS_OF_HYBRIDS = (4.0, 8.0, 12.0, 20.0, 32.0)

BOTH_SHARES = 0.25
"""Of the spend, in each of two categories: who buys of both. One kind has 0.6 in its own and 0.1 in each other."""


def main() -> None:
    if "--hybrids" not in sys.argv[1:]:
        kinds()
    hybrids()


def hybrids() -> None:
    rows: list[list[object]] = []
    for orders in ORDERS_OF_HYBRIDS:
        found = []
        for seed in range(10, 10 + DRAWS):
            tastes = customers_of_tastes(CUSTOMERS, seed, orders)
            with tempfile.TemporaryDirectory() as folder:
                of = memberships(tastes, "ratios", Path(folder))
                _, shares = seen_of(tastes, "shares", Path(folder))
                _, ratios = seen_of(tastes, "ratios", Path(folder))
            assert not isinstance(of, str), of
            kinds_found = found_kinds(tastes, of)
            both, known = np.sort(shares, axis=1)[:, -2] >= BOTH_SHARES, known_kinds(tastes, ratios)
            found.append(
                [kinds_found.right_two, kinds_found.hybrid, kinds_found.hybrid_of_one]
                + [float(flags[of_two].mean()) for flags in (both, known) for of_two in (tastes.of_two, ~tastes.of_two)]
            )
        rows.append([int(orders) + 1, *np.median(found, axis=0).tolist()])
        print(rows[-1], flush=True)
    told = ("`is_hybrid`", "two shares of 0.25", "kinds known")
    header = ("orders", "right two", *(f"{by}, {of}" for by in told for of in ("of two", "of one")))
    record("categories-hybrids", f"{CUSTOMERS} customers, medians of {DRAWS} draws", header, rows)


def known_kinds(tastes: Tastes, X: Array) -> Flags:
    """(n,) who is likelier of two kinds than of one, under a Gaussian for each kind and each two of them, fitted to
    the very customers, whose kinds are known. X : (n, d)."""
    low, high = np.minimum(tastes.kind, tastes.other), np.maximum(tastes.kind, tastes.other)
    classes = [(i, j) for i in range(KINDS) for j in range(i, KINDS)]
    joint = []
    for i, j in classes:
        of = (low == i) & (high == j)
        centred, lower = X - X[of].mean(axis=0), np.linalg.cholesky(np.cov(X[of].T))
        distances = np.square(np.linalg.solve(lower, centred.T)).sum(axis=0)
        joint.append(np.log(of.mean()) - 0.5 * distances - np.log(np.diag(lower)).sum())
    probabilities = np.exp(np.array(joint) - np.max(joint, axis=0))
    of_two = np.array([i != j for i, j in classes])
    return np.asarray(probabilities[of_two].sum(axis=0) > probabilities[~of_two].sum(axis=0))


def kinds() -> None:
    rows: list[list[object]] = []
    for orders in ORDERS:
        drawn = [customers_of_tastes(CUSTOMERS, seed, orders) for seed in range(10, 10 + DRAWS)]
        for features in FEATURES:
            found: list[Found] = []
            refused = 0
            for tastes in drawn:
                with tempfile.TemporaryDirectory() as folder:
                    of = memberships(tastes, features, Path(folder))
                refused += isinstance(of, str)
                found.append(Found(0, 0.0, 0.0, 0.0, 0.0) if isinstance(of, str) else found_kinds(tastes, of))
            medians = [
                float(np.median(list(column))) for column in zip(*(vars(one).values() for one in found), strict=True)
            ]
            rows.append([int(orders) + 1, features, int(medians[0]), *medians[1:], refused])
    header = (
        "orders",
        "fitted to",
        "segments",
        "agreement",
        "right two",
        "hybrid, of two",
        "hybrid, of one",
        "refused",
    )
    record("categories", f"{CUSTOMERS} customers, medians of {DRAWS} draws", header, rows)


if __name__ == "__main__":
    main()
