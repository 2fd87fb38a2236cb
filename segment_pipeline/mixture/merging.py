"""Parts: components of a Gaussian mixture that together describe one group, which is skewed or has heavy tails.

Here: which components are one segment. Not here: the fit, which stays as it is, and what a segment of several
components publishes, which is sums over them.

Components are merged one pair after the other, always the two between which customers are least decided (Baudry et al.
2010). How far, entropy alone does not say: of Gaussian groups that overlap it would merge some too, and so would any
rule that asks for two modes, which two Gaussians have only from two standard deviations apart. So every step is put to
those who would describe a merged group as one: mixtures of as many groups that are skewed, or have heavy tails
(skewed.py). The number of segments is that at which BIC of these is clearly lowest, if it is clearly lower than BIC of
the Gaussian mixture itself too; where that describes the customers better, every component is a segment. Then every
component goes to the group that most of its members are in.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.gaussian import Mixture, Parts, summed
from segment_pipeline.mixture.skewed import KINDS, Group, Groups, Rows, fit_groups

FIT_ROWS, JUDGED_ROWS = 3_000, 20_000
"""At most so many customers to whom groups are fitted, and on whom they are judged."""

CLEARLY = 10.0
"""By so much BIC has to be lower with fewer segments: what Kass & Raftery (1995) call very strong evidence. Where the
values are rounded, another draw of their places moves it by as much."""

PATIENCE = 2
"""After so many steps that have made it no better, further merging is not tried."""


def each_alone(n_components: int) -> Parts:
    """Every component is a segment."""
    return tuple((k,) for k in range(n_components))


def merge_components(
    mixture: Mixture,
    Z: Array,
    floor: Array,
    rounding_variance: Array | None = None,
    memberships: Array | None = None,
    stands_for: float = 1.0,
) -> Parts:
    """Which components of the mixture are one segment: ascending, segments in the order of their first ones.

    Z : (n, d) standardised rows that the mixture describes. floor : (d,) smallest variance along each feature.
    rounding_variance : (n, d) of what each value was rounded from; values are then judged at a place within their
    steps. memberships : (n, k), where more is known of the rows than the mixture says. stands_for : how many customers
    each row counts for, where Z is a sample. Same arguments, same bits.
    """
    k, customers = mixture.n_components, len(Z) * stands_for
    random = np.random.default_rng((len(Z), k))
    judged = random.permutation(len(Z))[:JUDGED_ROWS]
    rows = Z[judged]
    if rounding_variance is not None:
        rows = rows + np.sqrt(3.0 * rounding_variance[judged]) * random.uniform(-1.0, 1.0, rows.shape)
    R = mixture.responsibilities(rows) if memberships is None else memberships[judged]
    own = mixture.n_parameters * np.log(customers) - 2.0 * customers * mixture.log_likelihood(rows).mean()
    path = [each_alone(k), *entropy_path(R)]
    best = min((_best_of_kind(rows, R, path, kind, floor, customers) for kind in KINDS), key=lambda found: found[0])
    if best[1] is None or len(best[1].groups) == k or best[0] >= own:
        return each_alone(k)
    return _parts_of(best[1].memberships(rows), R)


def merge_flickering(parts: Parts, memory: Memory, weights: Array, least: float) -> Parts:
    """The same parts, with those as one between which customers flicker, the worst first, until `Memory.flicker` is
    `least` or more for every two, or only two are left. memory, weights (k,) : of the components."""
    while len(parts) > 2:
        kept = memory.merged(parts, weights).flicker()
        if kept.min() >= least:
            break
        one, other = sorted(np.unravel_index(kept.argmin(), kept.shape))
        both = tuple(sorted(parts[one] + parts[other]))
        parts = tuple(sorted([both, *(part for s, part in enumerate(parts) if s not in (one, other))]))
    return parts


def entropy_path(R: Array) -> Iterator[Parts]:
    """From R (n, k), what is left after each merger, down to one segment: k - 1 of them.

    The next pair is always that whose merger lowers the entropy of the memberships most, for each member of the smaller
    of the two: a small component that lies all within a large one goes before two large ones that touch.
    """
    segments = list(each_alone(R.shape[1]))
    while len(segments) > 1:
        one, other = max(combinations(segments, 2), key=lambda pair: _undecided(R, *pair))
        segments = sorted(tuple(sorted(one + other)) if parts == one else parts for parts in segments if parts != other)
        yield tuple(segments)


def _undecided(R: Array, one: Sequence[int], other: Sequence[int]) -> float:
    """Entropy, nats, that merging the two takes away, per member of the smaller."""
    a, b = R[:, list(one)].sum(axis=1), R[:, list(other)].sum(axis=1)
    return float((_xlogx(a + b) - _xlogx(a) - _xlogx(b)).sum() / max(min(a.sum(), b.sum()), np.finfo(float).tiny))


def _xlogx(p: Array) -> Array:
    return np.asarray(p * np.log(np.maximum(p, np.finfo(float).tiny)))


def _best_of_kind(
    rows: Array, R: Array, path: Sequence[Parts], kind: type[Group], floor: Array, customers: float
) -> tuple[float, Groups | None]:
    """The lowest BIC of groups of a kind along the path, to which fewer than there are components come at a cost of
    CLEARLY; and those groups."""
    fitted = Rows(rows[:FIT_ROWS], floor)
    best: tuple[float, Groups | None] = (np.inf, None)
    worse = 0
    for parts in path:
        groups = fit_groups(fitted, summed(R[:FIT_ROWS], parts), kind)
        score = np.inf if groups is None else groups.bic(rows, customers)
        if len(parts) < R.shape[1]:
            score += CLEARLY
        worse = 0 if score < best[0] else worse + 1
        if score < best[0]:
            best = score, groups
        if worse == PATIENCE:
            break
    return best


def _parts_of(groups: Array, R: Array) -> Parts:
    """Every component goes to the group that most of its members are in. groups : (n, m), R : (n, k)."""
    home = (R.T @ groups).argmax(axis=1)
    return tuple(sorted(tuple(np.flatnonzero(home == g).tolist()) for g in np.unique(home)))
