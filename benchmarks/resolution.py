"""Resolution: the variance floor alone against dequantised counts, on all month-ends of CDNOW and of the demo.

Both fit the same standardised space under the same floor and score the real values; they differ in what the fit sees.
BIC of the two is not comparable with one another (one is of values, the other of values with their rounding undone),
so each is judged by its own curve and by what the memberships are good for. k-means labels are the alternative. Takes
about N minutes on two cores; `benchmarks/resolution.py 3` takes every third month only.
"""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from real_months import MonthEnd, cdnow, demo, keep_their_segment, kmeans_labels, print_table, silence_auc

from segment_pipeline.config import Config
from segment_pipeline.segmentation.features import FeatureSpace, dequantise
from segment_pipeline.segmentation.mixture import Mixture, fit_candidates
from segment_pipeline.segmentation.selection import choose

Array = NDArray[np.float64]

MODES = ("floor", "dequantise")
HEADER = ("month", "mode", "k", "inside", "BIC", "stability", "max prob", "hybrid", "eigenvalue", "day-1", "AUC", "k-means", "stay")
EDGE = 0.5
"""A component is a single day's when its members' days since the last order all but coincide: at most this many."""


@dataclass(frozen=True, eq=False)
class Outcome:
    space: FeatureSpace
    mixture: Mixture
    row: list[object]

    def labels(self, X: Array) -> NDArray[np.intp]:
        return np.argmax(self.mixture.responsibilities(self.space.transform(X)), axis=1)


def one_month(end: MonthEnd, config: Config, mode: str) -> Outcome | None:
    """The month's own choice under one mode, with its figures."""
    space = FeatureSpace.fit(config.features, end.X)
    Z = space.transform(end.X)
    seen = space.transform(dequantise(end.X, end.ids, config.features)) if mode == "dequantise" else Z
    first, last = config.model.n_components
    ks = range(first, last + 1)
    candidates = fit_candidates(
        seen, ks, variance_floor=space.variance_floor, seed=config.model.seed, names=space.names
    )
    choice = choose(candidates, config.model)
    minimum = min(candidates, key=lambda c: c.bic if not c.degenerate else np.inf).n_components
    best = choice.candidate
    if best is None:
        return None
    R = best.mixture.responsibilities(Z)
    second = np.sort(R, axis=1)[:, -2]
    auc = silence_auc(R[:, 1:], end.silent) if end.silent is not None else None
    against = silence_auc(kmeans_labels(Z, best.n_components)[:, 1:], end.silent) if end.silent is not None else None
    row = [
        f"{end.month:%Y-%m}",
        mode,
        best.n_components,
        "yes" if minimum < last else f"no ({minimum})",
        round(best.bic),
        best.stability,
        float(R.max(axis=1).mean()),
        float(np.mean(second > config.tiers.is_hybrid)),
        float(min(np.linalg.eigvalsh(covariance)[0] for covariance in best.mixture.covariances)),
        single_day_share(end.X[:, 0], R),
        auc,
        against,
    ]
    return Outcome(space, best.mixture, row)


def single_day_share(days: Array, R: Array) -> float:
    """Share of the customers in components whose members all but share one value of days since the last order."""
    weights = R / R.sum(axis=0)
    means = weights.T @ days
    spread = np.sqrt(np.maximum(weights.T @ days**2 - means**2, 0.0))
    return float(R.mean(axis=0)[spread < EDGE].sum())


def compare(title: str, config: Config, ends: list[MonthEnd], step: int) -> None:
    rows = []
    for mode in MODES:
        for i in range(0, len(ends), step):
            outcome = one_month(ends[i], config, mode)
            if outcome is None:
                rows.append([f"{ends[i].month:%Y-%m}", mode, "none admissible"] + [None] * (len(HEADER) - 3))
                continue
            stay = None
            if i + 1 < len(ends):
                after = ends[i + 1]
                stay = keep_their_segment(ends[i], after, outcome.labels(ends[i].X), outcome.labels(after.X))
            rows.append([*outcome.row, stay])
    print_table(title, HEADER, rows)
    for mode in MODES:
        mine = [row for row in rows if row[1] == mode and len(row) == len(HEADER) and row[3] is not None]
        medians = [_median([row[c] for row in mine]) for c in range(5, len(HEADER))]
        figures = ", ".join(f"{name} {value:.3f}" for name, value in zip(HEADER[5:], medians, strict=True))
        inside = sum(row[3] == "yes" for row in mine)
        print(f"median {mode}: {len(mine)} months with a choice, optimum inside in {inside}; {figures}")


def _median(values: list[object]) -> float:
    return float(np.median([value for value in values if value is not None]))


def main() -> None:
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("inside: the BIC minimum of the sound fits lies below the largest k tried; eigenvalue: the smallest of all")
    print("covariances, standardised; day-1: customers in components that sit on a single day since the last order; AUC:")
    print("of 90 days' silence, from memberships and from k-means labels; stay: share that keeps its segment next month")
    print("under the same frozen model.")
    compare("CDNOW", *cdnow(), step)
    compare("demo", *demo(), step)


if __name__ == "__main__":
    main()
