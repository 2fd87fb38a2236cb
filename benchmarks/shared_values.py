"""What it saves to believe that more components end on a value that many customers share, where independent searches
for fewer have ended there (`examined_in_turn`), and whether the choice is the same.

Simulated customers of four kinds, of whom a share has one value of the last feature. Against: searching for every
candidate again that may be chosen. CPU seconds of what is asked after the first searches, which are made for both, as
later ones share their way.

    python benchmarks/shared_values.py
"""

import time
from collections.abc import Callable
from unittest import mock

import numpy as np
from real_months import record

from segment_pipeline.arrays import Array
from segment_pipeline.config.model import ModelSettings
from segment_pipeline.mixture.candidates import Candidate, fit_candidates
from segment_pipeline.models import selection

SHARES, ROWS, SIZES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5), (3_000, 20_000), range(2, 11)
KINDS, FEATURES = 4, 4


def customers(share: float, rows: int) -> Array:
    """(rows, FEATURES), of whom this share has one value of the last feature."""
    random = np.random.default_rng((1, int(share * 100), rows))
    centers = random.normal(size=(KINDS, FEATURES)) * 1.6
    X = centers[random.integers(0, KINDS, rows)] + random.normal(size=(rows, FEATURES)) * 0.7
    X[random.random(rows) < share, -1] = 0.3
    return np.asarray(X / X.std(axis=0))


def asked(X: Array, repeated: Callable[[str | None], str]) -> tuple[list[Candidate], float]:
    """The candidates in turn, and CPU seconds."""
    found = fit_candidates(X, SIZES, variance_floor=np.full(FEATURES, 1e-5), seed=1)
    began = time.process_time()
    with mock.patch.object(selection, "repeated", repeated):
        return selection.examined_in_turn(found, ModelSettings(), customers=len(X)), time.process_time() - began


def row(share: float, rows: int) -> list[object]:
    X = customers(share, rows)
    every, all_seconds = asked(X, lambda _: "")
    some, seconds = asked(X, selection.repeated)
    chosen = [selection.choose(one, ModelSettings()).candidate for one in (every, some)]
    believed = [one.n_components for one in some if one.examined is None and np.isnan(one.stability)]
    best = [None if one is None else one.n_components for one in chosen]
    costs = (f"{all_seconds:.1f}", f"{seconds:.1f}")
    return [f"{share:.0%}", f"{rows:,}", *best, ", ".join(map(str, believed)) or None, *costs]


def main() -> None:
    table = [row(share, rows) for share in SHARES for rows in ROWS]
    heads = ("with one value", "customers", "chosen, all asked", "chosen", "believed", "CPU s, all asked", "CPU s")
    record("shared_values", "A value that many customers share", heads, table)


if __name__ == "__main__":
    main()
