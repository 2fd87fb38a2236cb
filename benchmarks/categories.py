"""Customers who differ only in what they buy: whether segments find their kinds, by what a mixture is fitted to.

Simulated (simulated_tastes.py): four kinds that order as often and spend as much, and 12 % of two kinds at once, whose
orders are each of one of them. From order lines to memberships by the pipeline's own steps, one month, without memory.
Medians of the draws; a draw in which no candidate may serve counts as agreement 0 and nobody right.

Bars, for the ratios, where customers place 13 orders: an adjusted Rand index of 0.8 for who has one kind, and of those
of two kinds 80 % with these as their two likeliest segments; without categories neither.
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.real_months import record
from segment_pipeline_tests.simulated_tastes import FEATURES, Found, customers_of_tastes, found_kinds, memberships

CUSTOMERS, DRAWS, ORDERS = 3000, 3, (4.0, 8.0, 12.0)


def main() -> None:
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
