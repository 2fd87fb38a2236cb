"""Three groups that no single Gaussian describes (log-normal, Student's t of 3 and of 5 degrees), and four and five
Gaussian ones that overlap: how many segments the pipeline's choice has before and after merging, and how well they
agree with the groups.

`best`: every component goes to the group that it mostly describes, which only who knows the groups can do. `judges`:
the skewed or heavy-tailed groups that decided on the number, as if they were segments. `elbow`: what entropy alone
would merge to, at the elbow of Baudry et al. (2010), where two straight lines describe it best. `python merging.py`;
five minutes on one core.
`python merging.py real`: what merging changes in the months of two real shops, without memory; five more.
"""

import sys
from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
from real_months import MonthEnd, cdnow, demo, print_table, silence_auc

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.config.config import Config
from segment_pipeline.config.model import ModelSettings
from segment_pipeline.mixture.candidates import Candidate, adjusted_rand_index, fit_candidates
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Parts, summed
from segment_pipeline.mixture.merging import each_alone, entropy_path
from segment_pipeline.mixture.resolution import what_the_fit_sees
from segment_pipeline.mixture.skewed import KINDS, Rows, fit_groups
from segment_pipeline.models.selection import choose, examined_in_turn
from segment_pipeline_tests.hidden_states import made_from
from segment_pipeline_tests.skewed_groups import skewed_groups, standardised

CUSTOMERS, DRAWS, SIZES = 3000, 10, range(2, 11)

GAUSSIAN = {"4 Gaussians": (4, 1.0), "4 Gaussians, far": (4, 1.5), "5 Gaussians, far": (5, 1.5)}
"""Groups of `hidden_states.made_from`, and how far apart."""


def drawn(shape: str, seed: int) -> tuple[Labels, Array]:
    if shape not in GAUSSIAN:
        return skewed_groups(CUSTOMERS, shape, seed)
    mixture, random = made_from(*GAUSSIAN[shape]), np.random.default_rng(seed)
    truth = random.choice(mixture.n_components, CUSTOMERS, p=mixture.weights)
    return truth, mixture.means[truth] + random.normal(size=(CUSTOMERS, mixture.n_features))


def examined_unmerged(candidates: Sequence[Candidate]) -> list[Candidate]:
    """All of them, searched for again, with each component as a segment."""
    with patch("segment_pipeline.mixture.candidates.merge_components", lambda one, *_: each_alone(one.n_components)):
        return [one if one.examined is None else one.examined(0.0, 0.0) for one in candidates]


def chosen(Z: Array, seed: int) -> tuple[Candidate | None, Candidate | None]:
    """What the pipeline would take if it could not merge, and what it takes."""
    candidates, settings = (
        fit_candidates(Z, SIZES, variance_floor=np.full(Z.shape[1], 1e-3), seed=seed),
        ModelSettings(),
    )
    unmerged, merged = examined_unmerged(candidates), examined_in_turn(candidates, settings)
    return choose(unmerged, settings).candidate, choose(merged, settings).candidate


def elbow_of_entropy(R: Array) -> Parts:
    """The number of segments where two straight lines describe the entropy over the number best (Baudry et al. 2010,
    section 4); every component where there are fewer than four."""
    path = [*list(entropy_path(R))[::-1], each_alone(R.shape[1])]
    if len(path) < 4:
        return path[-1]
    P = [summed(R, parts) for parts in path]
    entropy = np.array([-(p * np.log(np.maximum(p, np.finfo(float).tiny))).sum() for p in P])

    def misfit(x: Array, y: Array) -> float:
        return float(((y - np.polyval(np.polyfit(x, y, 1), x)) ** 2).sum())

    k = np.arange(1.0, len(path) + 1)
    best = min(range(1, len(path) - 1), key=lambda c: misfit(k[: c + 1], entropy[: c + 1]) + misfit(k[c:], entropy[c:]))
    return path[best]


def judges(R: Array, parts: Parts, Z: Array) -> Array:
    """(n, m) what the better of the two kinds of group that decided on the number makes of the customers itself."""
    rows = Rows(Z, np.full(Z.shape[1], 1e-3))
    fitted = [groups for kind in KINDS if (groups := fit_groups(rows, summed(R, parts), kind)) is not None]
    return min(fitted, key=lambda groups: groups.bic(Z, len(Z))).memberships(Z)


def best_parts(R: Array, truth: Labels) -> Parts:
    home = (R.T @ np.eye(truth.max() + 1)[truth]).argmax(axis=1)
    return tuple(tuple(np.flatnonzero(home == group).tolist()) for group in np.unique(home))


def row(shape: str, seed: int) -> list[object]:
    truth, X = drawn(shape, seed)
    Z = standardised(X)
    before, after = chosen(Z, seed)

    def agreement(R: Array) -> float:
        return adjusted_rand_index(R.argmax(axis=1), truth)

    if after is None:
        return [shape, seed, before and before.n_components, *[None] * 8]
    R = after.mixture.unmerged.responsibilities(Z)
    elbow = elbow_of_entropy(R)
    return [
        shape,
        seed,
        before and before.n_components,
        before and agreement(before.mixture.responsibilities(Z)),
        after.n_components,
        after.n_segments,
        agreement(after.mixture.responsibilities(Z)),
        agreement(summed(R, best_parts(R, truth))),
        len(elbow),
        agreement(summed(R, elbow)),
        agreement(judges(R, after.mixture.parts or each_alone(after.n_components), Z)),
    ]


HEADER = ("groups", "seed", "today", "index", "components", "segments", "index", "best", "elbow", "index", "judges")


def summary(rows: Sequence[Sequence[object]], groups: int) -> list[object]:
    """Of one shape: how often the number is right, mean indices, and the largest lag behind the best merging."""
    figures = np.array([[np.nan if value is None else value for value in row[2:]] for row in rows], dtype=np.float64)
    right = [int((figures[:, column] == groups).sum()) for column in (0, 3, 6)]
    means = np.nanmean(figures, axis=0)
    lag = float(np.nanmax(figures[:, 5] - figures[:, 4]))
    return [rows[0][0], *right, *(float(means[column]) for column in (1, 4, 5, 7, 8)), lag]


REAL = ("shop", "month", "today", "stability", "AUC", "components", "segments", "stability", "AUC")


def real(title: str, config: Config, ends: Sequence[MonthEnd]) -> list[list[object]]:
    """What merging changes in months of a real shop: the choice without memory, its stability, and how well its
    memberships tell who then keeps silent for 90 days."""
    rows = []
    for end in ends:
        space = FeatureSpace.fit(config.model_features, end.X)
        seen, rounding_variance = what_the_fit_sees("spread", space, end.X, end.ids)
        candidates = fit_candidates(
            seen, SIZES, variance_floor=space.variance_floor, seed=42, rounding_variance=rounding_variance
        )
        row: list[object] = [title, f"{end.month:%Y-%m}"]
        unmerged = examined_unmerged(candidates)
        for asked in (unmerged, examined_in_turn(candidates, config.model)):
            taken = choose(asked, config.model).candidate
            if taken is None:
                row += [None, None, None] if asked is unmerged else [None, None, None, None]
                continue
            R = taken.mixture.responsibilities(space.transform(end.X))
            row += [taken.n_components] if asked is unmerged else [taken.n_components, taken.n_segments]
            row += [taken.stability, None if end.silent is None else silence_auc(R[:, 1:], end.silent)]
        rows.append(row)
    return rows


def main() -> None:
    if sys.argv[1:] == ["real"]:
        shops = {"CDNOW": cdnow(), "demo": demo()}
        rows = [row for title, (config, ends) in shops.items() for row in real(title, config, ends)]
        print_table("months of two real shops", REAL, rows)
        return
    sums, groups = [], dict.fromkeys(("log-normal", "t3", "t5"), 3) | {s: g for s, (g, _) in GAUSSIAN.items()}
    for shape, true in groups.items():
        rows = [row(shape, seed) for seed in range(1000, 1000 + DRAWS)]
        print_table(shape, HEADER, rows)
        sums.append(summary(rows, true))
    header = (
        "groups",
        "right today",
        "right merged",
        "right elbow",
        "today",
        "merged",
        "best",
        "elbow",
        "judges",
        "largest lag",
    )
    print_table(f"of {DRAWS} draws each: how often the number is right, and the mean index", header, sums)


if __name__ == "__main__":
    main()
