"""Measures that several rooms take and that the libraries have, each as the house needs it.

Here: Wilson's interval, the rival k-means, scores for ranks. Not here: what one room alone measures. The libraries are
imported inside the functions, for whoever only loads the code location measures nothing.
"""

import numpy as np

from segment_pipeline.arrays import Array, Labels

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal: two-sided intervals of 95 %."""

KMEANS_STARTS = 4


def wilson(hits: float, of: float) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share (Wilson 1927), 0..1. of : trials, above 0, whole or effective."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, of, method="wilson")
    # at the ends the bounds are 0 and 1 themselves, which rounding misses
    return (0.0 if hits == 0 else low), (1.0 if hits == of else high)


def k_means(Z: Array, k: int, seed: int) -> Labels:
    """(n,) the k-means cluster of each row of Z (n, d), at most k; fewer where fewer rows differ."""
    from sklearn.cluster import KMeans

    k = min(k, len(np.unique(Z, axis=0)))
    return np.asarray(KMeans(k, n_init=KMEANS_STARTS, random_state=seed).fit_predict(Z), dtype=np.intp)


def settled(scores: Array) -> Array:
    """(n,) scores by which customers are ranked, to ten decimals: those that rounding alone tells apart are equals, or
    the order in which an engine has added something up would say who stands before whom."""
    return np.round(scores, 10)
