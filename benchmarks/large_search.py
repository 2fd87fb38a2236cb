"""What it costs to search among 50,000 of many customers and to go on with everybody, beside searching among all of
them: processor seconds, BIC for every number of components, and the candidate that is chosen.

    python benchmarks/large_search.py [--rows 250000]

Simulated customers of six overlapping kinds (2 to 10 components), and a simulated shop's (`many_customers.py`), of whom
30 % share one value of a feature.
"""

import argparse
import time

import numpy as np
from datasets import overlapping_components

from segment_pipeline.arrays import Array
from segment_pipeline.config.model import ModelSettings
from segment_pipeline.mixture import candidates
from segment_pipeline.mixture.candidates import Candidate, fit_candidates
from segment_pipeline.models.selection import choose, examined_in_turn

SIZES = range(2, 11)
EVERYBODY = 10**9


def shop(rows: int) -> Array:
    """(rows, 4) log of recency, orders, value and products per order, standardised; the last 1 for a third of them."""
    random = np.random.default_rng(0)
    kind = random.choice(4, rows, p=[0.35, 0.3, 0.15, 0.2])
    orders = 1 + random.poisson(np.array([0.6, 3.5, 1.2, 0.3])[kind])
    each = np.array([2, 1, 3, 2])[kind]
    products = np.where(each == 1, 1.0, np.round(each + random.normal(0, 0.6, rows) / np.sqrt(orders), 2).clip(1))
    recency = np.ceil(random.exponential(np.array([40, 12, 30, 50])[kind])).clip(1, 92)
    value = np.round(np.exp(np.array([3.0, 2.6, 4.2, 2.2])[kind] + 0.5 * random.normal(size=rows)) * products, 2)
    X = np.log1p(np.column_stack([recency, orders, value, products]))
    return np.asarray((X - X.mean(axis=0)) / X.std(axis=0))


def searched(Z: Array, floor: Array, most: int) -> tuple[list[Candidate], str, float]:
    """The candidates, examined in turn, what is chosen, and processor seconds."""
    candidates.SEARCH_ROWS = most
    settings = ModelSettings()
    begun = time.process_time()
    found = fit_candidates(Z, SIZES, variance_floor=floor, seed=0)
    found = examined_in_turn(found, settings, customers=len(Z))
    chosen = choose(found, settings, [f"feature {j}" for j in range(Z.shape[1])], "").candidate
    return found, "none" if chosen is None else str(chosen.n_components), time.process_time() - begun


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--rows", type=int, default=250_000)
    rows = asked.parse_args().rows
    usual = candidates.SEARCH_ROWS
    for name, Z in {"six overlapping kinds": overlapping_components(rows, 4), "a shop": shop(rows)}.items():
        floor = np.full(Z.shape[1], 1e-5)
        all_of_them, chosen_of_all, seconds_of_all = searched(Z, floor, EVERYBODY)
        some, chosen, seconds = searched(Z, floor, usual)
        ratio = seconds / seconds_of_all
        print(f"{name}, {rows:,}: {seconds:.1f} CPU s, {seconds_of_all:.1f} among all; ratio {ratio:.2f}")
        print(f"  chosen {chosen}, {chosen_of_all} among all; BIC less that of searching among all, for each number:")
        told = (
            f"{a.n_components}: {a.bic - b.bic:+.1f}{' (degenerate)' if a.degenerate != b.degenerate else ''}"
            for a, b in zip(some, all_of_them, strict=True)
        )
        print("  ", "  ".join(told), flush=True)


if __name__ == "__main__":
    main()
