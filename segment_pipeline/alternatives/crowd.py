"""One crowd: the plainest rival of a mixture, customers of one kind whose features are spread in any way with one peak.

Here: whether a mixture foretells customers that it has not seen better than that. Not here: what follows from it
(suitability.py). Mixtures of Gaussians also describe a feature that is evenly spread, skewed, or peaked, by cutting it
into pieces; beside one Gaussian, the usual rival, that always looks like segments.

Of the crowd each feature has a density with one peak (Grenander's estimator to both sides of it, on bins of equal
counts), and a Gaussian copula says how features go together. Groups that stand clear of one another in a feature have
two peaks there, which one crowd lacks; groups that overlap without a second peak anywhere it takes for what it is told.
"""

from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.search import refitted

BINS = 40
"""Bins of equal counts of a feature, from which its density is made."""

LOOKED_AT = 20_000
"""Customers, by a seeded draw, that are looked at."""

_LEAST_VARIANCE = 1e-4
"""Of a component, in standardised units: rounded values are spread over their steps before, so none sits on one."""

_LEAST_DENSITY = 1e-6


@dataclass(frozen=True, eq=False)
class _Margin:
    """One feature's density and distribution function at ascending places, linear in between."""

    places: Array
    density: Array
    below: Array

    @classmethod
    def fit(cls, x: Array) -> "_Margin":
        """The likeliest with one peak. x : (n,), not all alike."""
        from sklearn.isotonic import isotonic_regression

        edges = np.unique(np.quantile(x, np.linspace(0.0, 1.0, BINS + 1)))
        widths, counts = np.diff(edges), np.histogram(x, edges)[0]
        raw = counts / widths
        best, likeliest = raw, -np.inf
        for peak in range(len(raw)):
            up = isotonic_regression(raw[: peak + 1], sample_weight=widths[: peak + 1])
            down = isotonic_regression(raw[peak:], sample_weight=widths[peak:], increasing=False)
            shape = np.concatenate([up[:-1], [max(up[-1], down[0])], down[1:]])
            shape /= shape @ widths
            likely = float(counts @ np.log(np.maximum(shape, _LEAST_DENSITY)))
            if likely > likeliest:
                best, likeliest = shape, likely
        middles = (edges[1:] + edges[:-1]) / 2
        places = np.unique(np.concatenate([np.linspace(edges[0], edges[-1], 10 * BINS + 1), edges, middles]))
        density = np.interp(places, middles, best)
        below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(places))])
        return cls(places, density / below[-1], below / below[-1])

    def log_density(self, x: Array) -> Array:
        return np.asarray(np.log(np.maximum(np.interp(x, self.places, self.density), _LEAST_DENSITY)))

    def normal_score(self, x: Array, least: float) -> Array:
        """What a standard normal has at the same share of customers below. least : share nearest to 0 and 1."""
        from scipy.special import ndtri

        return np.asarray(ndtri(np.clip(np.interp(x, self.places, self.below), least, 1.0 - least)))


def gain_over_one_crowd(Z: Array, mixture: Mixture, seed: int = 0) -> tuple[float, float] | None:
    """By how many nats a customer the mixture foretells those better whom it has not seen, above 0 where it does, and
    the standard error of that; None where a feature has too few values to tell.

    Z : (n, d). Each half of the customers is foretold by what is fitted to the other. The mixture starts from where it
    is, which it has from all of them: that little is in its favour. Those beyond the values of the other half count for
    neither.
    """
    random = np.random.default_rng(seed)
    rows = Z[np.sort(random.permutation(len(Z))[:LOOKED_AT])]
    if min(len(np.unique(column)) for column in rows.T) < 3:
        return None
    spread = np.column_stack([_spread(column, random) for column in rows.T])
    first = random.permutation(len(rows)) < len(rows) // 2
    gains = np.concatenate([_gains(spread[half], spread[~half], mixture) for half in (first, ~first)])
    return float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))


def _gains(known: Array, unseen: Array, mixture: Mixture) -> Array:
    d = known.shape[1]
    unseen = unseen[np.all((unseen >= known.min(axis=0)) & (unseen <= known.max(axis=0)), axis=1)]
    margins = [_Margin.fit(column) for column in known.T]
    least = 0.5 / len(known)
    scores, unseen_scores = (
        np.column_stack([margin.normal_score(x, least) for margin, x in zip(margins, rows.T, strict=True)])
        for rows in (known, unseen)
    )
    correlation = np.corrcoef(scores.T).reshape(d, d)
    together = -0.5 * np.linalg.slogdet(correlation)[1] - 0.5 * np.einsum(
        "ni,ij,nj->n", unseen_scores, np.linalg.inv(correlation) - np.eye(d), unseen_scores
    )
    crowd = together + sum(margin.log_density(x) for margin, x in zip(margins, unseen.T, strict=True))
    again = refitted(mixture.unmerged, known, np.full(d, _LEAST_VARIANCE))
    return np.asarray(again.log_likelihood(unseen) - crowd)


def _spread(x: Array, random: np.random.Generator) -> Array:
    """Values that many share, each anywhere between the middles to the next ones: neither side may sit on them."""
    values, where = np.unique(x, return_inverse=True)
    middles = (values[1:] + values[:-1]) / 2
    low = np.concatenate([[2 * values[0] - middles[0]], middles])
    high = np.concatenate([middles, [2 * values[-1] - middles[-1]]])
    return np.asarray(low[where] + random.random(len(x)) * (high - low)[where])
