"""Which forecast of spend is believed, and how far to believe it: by what became of the forecasts of earlier months.

Here: the choice and the interval around what is chosen. Not here: what each method says (buyers.py, value_store.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.value.methods import METHODS, OWN_WINDOW

LEVEL = 0.8
"""Of the customers, this share is to lie in the interval."""

BINS = 10

FEWEST = 200
"""Forecasts that have come true or not, below which nothing is known of how far off they are."""


def best_of(errors: Mapping[str, float], available: Collection[str]) -> str:
    """The method of the smallest mean absolute error, of those that this month has; while nothing has been judged, the
    simplest, OWN_WINDOW. Of equals the first of METHODS."""
    judged = [method for method in METHODS if method in errors and method in available]
    return min(judged, key=lambda method: errors[method]) if judged else OWN_WINDOW


@dataclass(frozen=True, eq=False)
class Intervals:
    """What came of forecasts, over what was forecast and `offset` more, by the size of the forecast.

    upper : (bins - 1,) the largest forecast of each bin but the last, ascending. low, high : (bins,) the quotients
    between which LEVEL of the customers of the bin came to lie. offset : money, so that a forecast of 0 has a quotient.
    """

    upper: Array
    low: Array
    high: Array
    offset: float


def fit_intervals(forecast: Array, came: Array) -> Intervals | None:
    """Split-conformal intervals (Lei et al. 2018, section 2.3) within bins of equally many customers. forecast, came :
    (n,) money, of earlier months; the first 0 or more. None with fewer than FEWEST.

    An interval leaves out equally many customers on either side. Where nobody can be left out below, because more than
    a tenth of a bin spent nothing and that is the least, all that is left out lies above.
    """
    if len(forecast) < FEWEST:
        return None
    offset = 0.01 * float(forecast.mean()) or 1.0
    bins = np.array_split(np.lexsort((came, forecast)), BINS)
    ends = [_ends(np.sort(came[one] / (forecast[one] + offset))) for one in bins]
    upper = np.array([forecast[one[-1]] for one in bins[:-1]])
    return Intervals(upper, np.array([low for low, _ in ends]), np.array([high for _, high in ends]), offset)


def _ends(quotients: Array) -> tuple[float, float]:
    """The quotients (n,), ascending, between which a further one lies with the probability LEVEL or a little more."""
    n = len(quotients)
    low = quotients[max(0, int(np.floor((n + 1) * (1 - LEVEL) / 2)) - 1)]
    below = int(np.searchsorted(quotients, low))
    high = quotients[min(n - 1, below + int(np.ceil((n + 1) * LEVEL)))]
    return float(low), float(high)
