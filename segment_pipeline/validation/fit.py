"""Does the champion describe its customers well, those that it has not seen, next month, and segment by segment?

Here: does it fit customers that it has not seen, is it stable, are its segments apart. Not here: what the memberships
say of anything else (prediction.py).
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.measures import Z95
from segment_pipeline.mixture.candidates import Mixture, bhattacharyya_distances, heldout_rows
from segment_pipeline.mixture.em import Rows, StackedEM, moments_of_mixtures, spike_guard
from segment_pipeline.mixture.gaussian import logsumexp
from segment_pipeline.mixture.hurdle import rule_component, too_few_for, with_rule
from segment_pipeline.mixture.search import TOLERANCE
from segment_pipeline.models.alignment import soft_jaccard
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.validation.figures import METRICS, Figure, Missing
from segment_pipeline.words import better, percent

MOST_PASSES = 200
"""Of EM that sets out from a fit."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """The same customers under last month's champion and under this month's challenger.

    champion : (n, k) and challenger : (n, m) membership probabilities. segment_ids : of the champion's columns.
    """

    champion: Array
    challenger: Array
    segment_ids: tuple[int, ...]


# --- does it fit? -----------------------------------------------------------------------------------------------------


def heldout_fit(
    mixture: Mixture,
    Z: Array,
    rounding_variance: Array | None,
    variance_floor: Array,
    seed: int,
    max_gap: float,
    *,
    prior: Array | None = None,
    log_jacobian: float = 0.0,
) -> list[Figure]:
    """The same number of components fitted to 80 % of the customers, from the champion on, and measured on the rest.

    Z : (n, d). rounding_variance, variance_floor : as the champion was fitted with. prior : (n, k) what a champion with
    memory expects of them. log_jacobian : added to the log densities, which so are those of the month's candidates. The
    gap between the two is of other customers as well as of
    another fit, and a fifth of 2,000 differs by 0.1 nats from chance alone. The champion, which knows nothing of the
    split, differs by the same chance, so its own gap is taken off: what is left is what the fit owes to having seen
    them. That it sets out from the champion, who may have seen the fifth, makes the gap of a gross overfit smaller than
    a search from nothing would: 0.25 nats for 0.33 with 8 segments for 250 customers, the same with 1,500.
    """
    metrics = METRICS[:3]
    unseen = heldout_rows(len(Z), seed)
    seen = np.setdiff1d(np.arange(len(Z)), unseen)
    if mixture.hurdle is not None:
        few = too_few_for(mixture.hurdle, Z[seen])
        if few is not None:
            return Missing(few).of(*metrics)
    spread, expected = (None if rows is None else rows[seen] for rows in (rounding_variance, prior))
    refit = _refitted(mixture, Z[seen], spread, expected, variance_floor)
    likelihood = refit.log_likelihood(Z, rounding_variance, prior=prior)
    gain = likelihood - mixture.log_likelihood(Z, rounding_variance, prior=prior)
    raw = float(likelihood[seen].mean() - likelihood[unseen].mean())
    gap = float(gain[seen].mean() - gain[unseen].mean())
    error = math.sqrt(float(gain[seen].var()) / len(seen) + float(gain[unseen].var()) / len(unseen))
    heldout, train = (likelihood[rows] + log_jacobian for rows in (unseen, seen))
    small = gap <= max_gap
    return [
        _mean_figure("heldout_log_likelihood", heldout, f"that a fit on the other {len(seen):,} did not see"),
        _mean_figure("train_log_likelihood", train, "that the fit has seen"),
        Figure(
            "heldout_gap",
            "",
            gap,
            f"The fit describes each customer that it has seen {better(raw, 3)} than one that it has not. By chance it "
            f"would be {better(raw - gap, 3)}, for so the champion differs, which knows nothing of the split; that is "
            f"taken off. Having seen them makes it {better(gap, 3)}"
            + (": the fit does not merely repeat them." if small else ": too many segments for so few customers."),
            gap - Z95 * error,
            gap + Z95 * error,
            max_gap,
            small,
        ),
    ]


def _mean_figure(metric: str, likelihood: Array, what: str) -> Figure:
    mean, error = float(likelihood.mean()), float(likelihood.std()) / math.sqrt(len(likelihood))
    sentence = f"Mean log-likelihood of {len(likelihood):,} customers {what}: {mean:.3f} nats; higher is better."
    return Figure(metric, "", mean, sentence, mean - Z95 * error, mean + Z95 * error)


def _refitted(
    mixture: Mixture, Z: Array, rounding_variance: Array | None, prior: Array | None, floor: Array
) -> Mixture:
    """EM from this mixture on, on these rows; with a prior, which stands for the months before and stays as it is."""
    hurdle = mixture.hurdle
    if hurdle is not None:
        under = hurdle.holds(Z)
        parts = [
            (Z[chosen], None if rounding_variance is None else rounding_variance[chosen]) for chosen in (under, ~under)
        ]
        rest = _refitted(mixture.without_hurdle, *parts[1], None, floor)
        rule = rule_component(hurdle, parts[0][0], floor, parts[0][1], mixture.covariance_type)
        return with_rule(rest, hurdle, float(under.mean()), *rule)
    rows = Rows(Z, center=Z.mean(axis=0), rounding_variance=rounding_variance)
    covariance_type = mixture.covariance_type
    guard = spike_guard(rows.moments()[1], mixture.n_components, rows.total, covariance_type)
    em = StackedEM(rows.d, floor, guard, covariance_type=covariance_type)
    if prior is not None:
        return _refitted_given(mixture, rows, prior, em)
    start = moments_of_mixtures([replace(mixture, means=mixture.means - rows.center)])
    found = em.mixture(em.converge(start, rows, TOLERANCE).moments[0], rows.total)
    return replace(found, means=found.means + rows.center)


def _refitted_given(mixture: Mixture, rows: Rows, prior: Array, em: StackedEM) -> Mixture:
    """As `_refitted`, where each row has weights (n, k) of its own."""
    ((phi, _),) = rows.blocks(0, rows.n, rows.n)
    before = -math.inf
    for _ in range(MOST_PASSES):
        joint = mixture.log_joint(rows.X, rows.rounding_variance, prior=prior)
        likelihood = logsumexp(joint)
        if float(likelihood.mean()) - before < TOLERANCE:
            break
        before = float(likelihood.mean())
        moments = np.exp(joint - likelihood[:, None]).T @ phi.T / rows.total
        found = em.mixture(moments, rows.total)
        mixture = replace(found, means=found.means + rows.center)
    return mixture


# --- is it stable? ----------------------------------------------------------------------------------------------------


def stability_over_seeds(stability: float | Missing, at_least: float) -> list[Figure]:
    """How far independent searches agreed when the champion was chosen: mean adjusted Rand index, at most 1."""
    if isinstance(stability, Missing):
        return stability.of("stability_over_seeds")
    agree = stability >= at_least
    said = (
        f"Searches with other seeds {'found the same segments again' if agree else 'found other segments'}: agreement "
        f"{stability:.2f}, where 1 is the same."
    )
    return [Figure("stability_over_seeds", "", stability, said, threshold=at_least, passed=agree)]


def stability_over_time(overlap: Overlap | Missing, at_least: float) -> list[Figure]:
    """Would this month's customers, fitted afresh, give the champion's segments again?

    Of each segment the soft-Jaccard overlap with its partner among the challenger's components (0 without a partner; 1
    is the same segment), and their mean, weighted by the customers in each. The assignment is that of alignment.py.
    """
    metric = "stability_over_time"
    if isinstance(overlap, Missing):
        return overlap.of(metric)
    shared = soft_jaccard(overlap.champion, overlap.challenger)
    found = np.zeros(len(shared))
    for i, j in zip(*linear_sum_assignment(-shared), strict=True):
        found[i] = shared[i, j]
    shares = overlap.champion.mean(axis=0)
    mean = float(found @ shares / shares.sum())
    counts = f"{overlap.champion.shape[1]} segments, a fresh fit {overlap.challenger.shape[1]}"
    same = "about the same segments" if mean >= at_least else "other segments"
    return [
        Figure(
            metric,
            "",
            mean,
            f"A fresh fit to this month's customers gives {same}: overlap {mean:.2f}, where 1 is the same (the "
            f"champion has {counts}).",
            threshold=at_least,
            passed=mean >= at_least,
        ),
        *(
            Figure(
                metric,
                str(segment_id),
                float(one),
                f"Segment {segment_id} and its counterpart in a fresh fit overlap by {one:.2f}."
                if one > 0
                else f"Segment {segment_id} has no counterpart in a fresh fit.",
                threshold=at_least,
                passed=bool(one >= at_least),
            )
            for segment_id, one in zip(overlap.segment_ids, found, strict=True)
        ),
    ]


# --- are the segments different? --------------------------------------------------------------------------------------


def separation(champion: SegmentModel, R: Array, max_overlap: float) -> list[Figure]:
    """How far each pair of segments is apart, and which might as well be one.

    R : (n, k) membership probabilities of the month's customers. `separation` is the Bhattacharyya distance, higher is
    better: the overlap of the densities is exp of minus it. `misclassification` is the estimated share, 0..1, of the
    customers put into either of two segments who belong to the other; of the whole model, of all in a wrong segment.
    """
    mixture, segments = champion.mixture.moments, champion.segments
    distances = bhattacharyya_distances(mixture)
    limit = -math.log(max_overlap)
    likeliest = R.argmax(axis=1)
    wrong = float(1.0 - R.max(axis=1).mean())
    apart: list[Figure] = []
    sentence = f"By estimate {percent(wrong, 1)} of the customers belong to another segment."
    mistaken = [Figure("misclassification", "", wrong, sentence)]
    for a, b in combinations(range(len(segments)), 2):
        pair = f"{segments[a].segment_id}-{segments[b].segment_id}"
        names = f"Segments {_named(champion, a)} and {_named(champion, b)}"
        confused = _confused(R, likeliest, a, b)
        belong = "both are empty this month"
        if confused is not None:
            belong = f"by estimate {percent(confused, 1)} of the customers in either belong to the other"
        mistaken.append(Figure("misclassification", pair, confused, f"{names}: {belong}."))
        if not np.isfinite(distances[a, b]):
            apart.append(Figure("separation", pair, None, f"{names}: a rule tells them apart, and leaves no doubt."))
            continue
        distance = float(distances[a, b])
        separate = distance >= limit
        difference = np.abs(mixture.means[a] - mixture.means[b])
        widest = int(np.argmax(difference))
        said = (
            f"{names} overlap by {math.exp(-distance):.2f}, where 1 is the same segment; they differ most in "
            f"{champion.space.names[widest]}, by {difference[widest]:.1f} standard deviations."
        )
        if not separate:
            said += f" Consider merging them, or giving both the same action: {belong}."
        apart.append(Figure("separation", pair, distance, said, threshold=limit, passed=separate))
    if not apart:
        apart = Missing("there is only one segment.").of("separation")
    return [*apart, *mistaken]


def _named(champion: SegmentModel, k: int) -> str:
    return f"{champion.segments[k].segment_id} ({champion.segments[k].name})"


def _confused(R: Array, likeliest: Labels, a: int, b: int) -> float | None:
    """Estimated share of the customers put into a or b who belong to the other of the two; None when both are empty."""
    in_a, in_b = likeliest == a, likeliest == b
    members = int(in_a.sum() + in_b.sum())
    return float(R[in_a, b].sum() + R[in_b, a].sum()) / members if members else None
