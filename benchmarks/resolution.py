"""Resolution: the variance floor alone, counts dequantised by a hash, and values spread over their steps, on all
month-ends of CDNOW and of the demo.

All fit the same standardised space under the same floor and score the real values; they differ in what the fit sees.
BIC of the floor is not comparable with the others' (one is of values, the others of values with their rounding undone),
so each is judged by its own curve and by what the memberships are good for. k-means labels are the alternative. Takes
some seven minutes on two cores; `benchmarks/resolution.py 3` takes every third month only.
"""

import sys
from dataclasses import dataclass

import numpy as np
from merging import examined_unmerged
from real_months import MonthEnd, cdnow, demo, keep_their_segment, kmeans_labels, print_table, silence_auc

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.mixture.candidates import Candidate, Mixture, adjusted_rand_index, fit_candidates, fit_mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.resolution import dequantise, what_the_fit_sees
from segment_pipeline.models.selection import choose

MODES = ("floor", "dequantise", "spread")
FIGURES = ("stability", "max prob", "second > 0.25", "eigenvalue", "one day", "AUC", "k-means", "stay")
HEADER = ("month", "mode", "k", "minimum", "BIC", *FIGURES)
N_COMPONENTS = range(2, 13)
"""Beyond the ten of the default, to see whether the BIC curve turns at all."""

COMMON_K = (4, 5, 6)
"""The modes choose different numbers of segments; here they are held to the same."""

ONE_DAY = 0.5
"""Days: a component is a single day's when its members' days since the last order have less standard deviation."""


@dataclass(frozen=True, eq=False)
class Month:
    """What one mode saw of a month and found there."""

    end: MonthEnd
    space: FeatureSpace
    candidates: list[Candidate]

    def memberships(self, mixture: Mixture, X: Array) -> Array:
        return mixture.responsibilities(self.space.transform(X))


def fit_month(end: MonthEnd, config: Config, mode: str) -> Month:
    space = FeatureSpace.fit(config.model_features, end.X)
    seen, rounding_variance = what_the_fit_sees(mode, space, end.X, end.ids)
    candidates = fit_candidates(
        seen,
        N_COMPONENTS,
        variance_floor=space.variance_floor,
        seed=config.model.seed,
        names=space.names,
        rounding_variance=rounding_variance,
    )
    return Month(end, space, examined_unmerged(candidates))


def figures(month: Month, candidate: Candidate, after: MonthEnd | None, config: Config) -> list[float | None]:
    """The columns `FIGURES` of one candidate."""
    end, mixture = month.end, candidate.mixture
    R = month.memberships(mixture, end.X)
    auc = against = stay = None
    if end.silent is not None:
        auc = silence_auc(R[:, 1:], end.silent)
        against = silence_auc(kmeans_labels(month.space.transform(end.X), mixture.n_components)[:, 1:], end.silent)
    if after is not None:
        stay = keep_their_segment(end, after, R.argmax(axis=1), month.memberships(mixture, after.X).argmax(axis=1))
    return [
        candidate.stability,
        float(R.max(axis=1).mean()),
        float(np.mean(np.sort(R, axis=1)[:, -2] > 0.25)),
        float(min(np.linalg.eigvalsh(covariance)[0] for covariance in mixture.covariances)),
        single_day_share(end.X[:, 0], R),
        auc,
        against,
        stay,
    ]


def agreement_of_draws(month: Month, candidate: Candidate, config: Config) -> float:
    """Adjusted Rand index with a fit to another draw of the places within the steps, both scoring the real values."""
    others = [f"another draw {customer}" for customer in month.end.ids]
    seen = month.space.transform(dequantise(month.end.X, others, month.space))
    other = fit_mixture(seen, candidate.n_components, seed=config.model.seed, variance_floor=month.space.variance_floor)
    labels = [month.memberships(mixture, month.end.X).argmax(axis=1) for mixture in (candidate.mixture, other)]
    return adjusted_rand_index(*labels)


def single_day_share(days: Array, R: Array) -> float:
    """Share of the customers in components whose members all but share one value of days since the last order."""
    weights = R / R.sum(axis=0)
    means = weights.T @ days
    rounding_variance = np.sqrt(np.maximum(weights.T @ days**2 - means**2, 0.0))
    return float(R.mean(axis=0)[rounding_variance < ONE_DAY].sum())


def compare(title: str, config: Config, ends: list[MonthEnd], step: int) -> None:
    chosen, common, draws, summary = [], [], [], []
    for mode in MODES:
        mine = []
        at_k: dict[int, list[list[float | None]]] = {k: [] for k in COMMON_K}
        turned = 0
        for i in range(0, len(ends), step):
            after = ends[i + 1] if i + 1 < len(ends) else None
            month = fit_month(ends[i], config, mode)
            minimum = min(month.candidates, key=lambda c: np.inf if c.degenerate else c.bic).n_components
            turned += minimum < N_COMPONENTS[-1]
            best = choose(month.candidates, config.model).candidate
            if best is None:
                chosen.append([f"{ends[i].month:%Y-%m}", mode, "none", minimum, *[None] * (len(HEADER) - 4)])
            else:
                mine.append(figures(month, best, after, config))
                chosen.append([f"{ends[i].month:%Y-%m}", mode, best.n_components, minimum, round(best.bic), *mine[-1]])
                if mode == "dequantise":
                    draws.append(agreement_of_draws(month, best, config))
            for candidate in month.candidates:
                if candidate.n_components in at_k:
                    at_k[candidate.n_components].append(figures(month, candidate, after, config))
        summary.append([mode, len(mine), turned, *_medians(mine)])
        common += [[k, mode, *_medians(rows)] for k, rows in at_k.items()]
    print_table(f"{title}: each month's own choice", HEADER, chosen)
    print_table(f"{title}: medians of the months", ("mode", "months with a choice", "curve turns", *FIGURES), summary)
    print_table(f"{title}: medians at the same k", ("k", "mode", *FIGURES), sorted(common))
    print(f"another draw of the dequantisation gives the same segments to {np.median(draws):.3f} (median, Rand index)")


def _medians(rows: list[list[float | None]]) -> list[float | None]:
    columns = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    return [float(np.median(column)) if column else None for column in columns]


def main() -> None:
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("minimum: the k of the lowest BIC among sound fits, of 2 to 12; eigenvalue: the smallest of all covariances,")
    print("standardised; one day: customers in components that sit on a single day since the last order; AUC: of 90")
    print("days' silence, from memberships and from k-means labels of the same k; stay: share in the same segment next")
    print("month under the same frozen model.")
    compare("CDNOW", *cdnow(), step)
    compare("demo", *demo(), step)


if __name__ == "__main__":
    main()
