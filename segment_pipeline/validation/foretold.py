"""Does next month come as a champion with memory expects it? Its forecast, and two that know less.

Here: how likely next month's features were, one month ahead, and whether the memberships that were expected came. Not
here: what memberships say of silence and spend (prediction.py).
"""

import math
from dataclasses import dataclass

import numpy as np

from segment_pipeline import words
from segment_pipeline.arrays import Array, Flags
from segment_pipeline.measures import Z95
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.validation.figures import METRICS_OF_MEMORY, Figure, Missing

LEAST = 1e-4
"""No membership of last month is taken for less as a forecast: one that is certain and wrong would be judged by that
alone."""

LOSS = 0.02
"""Nats a customer by which a simpler forecast may be better."""

OFF, TENTH_OFF = 0.05, 0.15
"""Probability by which forecasts may be off on average, and in one tenth of their range."""

FEWEST = 50
"""Forecasts in a tenth below which how far they are off is mostly chance."""


@dataclass(frozen=True, eq=False)
class Foretold:
    """Customers of the month before, and what became of what the champion of then, which has a memory, expected.

    model_version : that champion's.
    expected : (n, k + 1) memberships of this month, and last the probability of lapsing. came : (n, k + 1) memberships
    as the same champion found them; of who lapsed, 1 in the last column. log_scores : of those who are there, (m,) log
    density of their features in nats, given the forecast `memory`, and those that know less.
    """

    model_version: int
    expected: Array
    came: Array
    log_scores: dict[str, Array]


def foretell(champion: SegmentModel, before: Array, there: Flags, X: Array, expected: Array | None = None) -> Foretold:
    """before : (n, k) memberships of the month before. there : (n,) who is there this month; the others lapsed.
    X : (m, d) features of those who are, in original units. expected : (n, k + 1) what was published of this month,
    lapsing last, NaN of whom nothing was; there, and without it, it is what the champion's chain expects. Raises
    ValueError for a champion without memory."""
    if champion.memory is None:
        raise ValueError(f"model {champion.model_version} has no memory, and expects nothing of the next month")
    # a month is scored with what the chain expects, which knows nothing of silence
    by_chain = champion.memory.ahead(np.column_stack([before, np.zeros(len(before))]))
    inside = np.maximum(by_chain[there, :-1], np.finfo(float).tiny)
    prior = inside / inside.sum(axis=1, keepdims=True)
    expected = by_chain if expected is None else np.where(np.isnan(expected), by_chain, expected)
    came = np.zeros_like(expected)
    came[there, :-1] = champion.responsibilities(X, prior=prior)
    came[~there, -1] = 1.0
    stayed = np.maximum(before[there], LEAST)
    log_scores = {
        "memory": champion.log_likelihood(X, prior=prior),
        "mixture": champion.log_likelihood(X),
        "as last month": champion.log_likelihood(X, prior=stayed / stayed.sum(axis=1, keepdims=True)),
    }
    return Foretold(champion.model_version, expected, came, log_scores)


def foretold_figures(foretold: Foretold | Missing | None) -> list[Figure]:
    """How the forecast did, beside the mixture alone and beside "as last month", and its calibration; nothing of a
    champion that made none (None)."""
    if foretold is None:
        return []
    metrics = METRICS_OF_MEMORY
    if isinstance(foretold, Missing):
        return foretold.of(*metrics)
    if not len(foretold.log_scores["memory"]):
        return Missing("no customer was there in both months.").of(*metrics)
    own = foretold.log_scores["memory"]
    rivals = {name: scores for name, scores in foretold.log_scores.items() if name != "memory"}
    return [
        *(_score(metrics[0], name, scores) for name, scores in foretold.log_scores.items()),
        *(_gain(metrics[1], name, own - scores) for name, scores in rivals.items()),
        *_calibration(metrics[2], metrics[3], foretold.expected, foretold.came),
    ]


def _score(metric: str, forecast: str, scores: Array) -> Figure:
    mean, reach = float(scores.mean()), _reach(scores)
    said = f"Log density of {len(scores):,} customers' features a month ahead, by {forecast}: {mean:.3f} nats; "
    return Figure(metric, forecast, mean, f"{said}higher is better.", mean - reach, mean + reach)


def _gain(metric: str, rival: str, gains: Array) -> Figure:
    gain, reach = float(gains.mean()), _reach(gains)
    better = gain + reach >= -LOSS
    said = f"Against {rival}, memory foretells a customer {words.better(gain, 3)} (95 % interval of the gain "
    if gain > reach:
        verdict = "memory is worth having"
    else:
        verdict = f"{rival} would do" if gain < -reach else f"between memory and {rival} there is no telling"
    told = f"{said}{gain - reach:+.3f} to {gain + reach:+.3f}): {verdict}."
    return Figure(metric, rival, gain, told, gain - reach, gain + reach, -LOSS, better)


def _reach(values: Array) -> float:
    """Half the interval of 95 % of a mean."""
    return Z95 * float(values.std()) / math.sqrt(len(values))


def _calibration(whole: str, parts: str, expected: Array, came: Array) -> list[Figure]:
    """The mean distance of what was expected and what came, over tenths of the range of probability, and that of each:
    every customer counts with each segment and with lapsing."""
    tenth = np.minimum((expected.ravel() * 10).astype(np.intp), 9)
    counts = np.bincount(tenth, minlength=10)
    summed, true = (np.bincount(tenth, values.ravel(), 10) for values in (expected, came))
    error = float(np.abs(summed - true).sum() / counts.sum())
    said = f"Next month's memberships that were expected and those that came differ by {error:.3f} on average"
    near = error <= OFF
    figures = [Figure(whole, "", error, f"{said}{'' if near else ': too far'}.", threshold=OFF, passed=near)]
    for place in np.flatnonzero(counts):
        n, gap = int(counts[place]), float(abs(summed[place] - true[place]) / counts[place])
        told = f"Of {n:,} forecasts at {summed[place] / n:.2f} on average, {true[place] / n:.2f} came."
        limit = TENTH_OFF if n >= FEWEST else None
        passed = None if limit is None else gap <= limit
        subject = f"{place / 10:.1f}-{(place + 1) / 10:.1f}"
        figures.append(Figure(parts, subject, gap, told, threshold=limit, passed=passed))
    return figures
