"""What share of today's customers each state will hold in the months ahead, how far off that may be, and what serves.

Here: the forecast of a champion with memory, its interval, and the choice between it and "as it is now", from sums over
customers. Not here: the sums (forecast_store.py), and what is expected of a single customer (`next_probabilities`).

The champion's forecast of the next month is what it expects of each customer then, summed: where order lines tell when
each last ordered, it knows that (segments/ahead). From there on it is the transition matrix, applied once a month. How
far off it may be, past forecasts of the same number of months ahead tell: they hold what months have in common (a
season, a campaign, a mild spring), which sampling alone does not know. They are those of the months since the champion
was fitted. Until there are `UNSEEN_FORECASTS` of them, it forecasts the months of its panel too, so that a first month
has some: to those it was fitted, so its errors there are too small by a known factor (`optimism`), which is put back.

Whether the champion or "as it is now" serves is decided once, by the forecasts of one month ahead, of which most have
come: where few forecasts of far months decided for themselves, a state's path would jump from the one to the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from segment_pipeline.arrays import Array

MONTHS_AHEAD = 6

COVERAGE = 0.8
"""What share of the outcomes an interval is made to hold."""

POOLED_MONTHS = 3.0
"""For so many past forecasts counts what all states tell together of how much errors exceed chance, beside each state's
own past: with few months behind it, a state that was lucky twice is not taken to be certain."""

INDEPENDENT_ERRORS = 2.0
"""So many errors of one month count as independent: its states share what the month has in common, and no more."""

UNSEEN_FORECASTS = 3
"""With so many past forecasts made since the champion was fitted, the others are left out: at the beginning of the
months next to nobody is known who has lapsed."""

ServedBy = Literal["memory", "as it is now"]


@dataclass(frozen=True, eq=False)
class KnownCustomers:
    """Where customers were, under one champion, in the T months up to the present one; k + 1 states, `lapsed` last.

    sums : (T, T, k + 1), sums[m, s] over the customers known by the end of month m of their probabilities at the end
    of month s; NaN where s < m. next_month : (T, k + 1) over the customers known by the end of a month, what was
    expected of them a month later. transitions : (k + 1, k + 1) the champion's, rows sum to 1. fitted : how many of the
    months the champion was fitted to; they come first.
    """

    sums: Array
    next_month: Array
    transitions: Array
    fitted: int

    @property
    def today(self) -> int:
        """The position of the present month."""
        return len(self.sums) - 1

    def customers(self, month: int) -> float:
        """How many were known by the end of the month."""
        return float(self.sums[month, month].sum())

    def shares(self, known_by: int, month: int) -> Array:
        """(k + 1,) of the customers known by one month, the share in each state in another, the same or a later one."""
        return np.asarray(self.sums[known_by, month] / self.customers(known_by))

    def expected(self, month: int, ahead: int) -> Array:
        """(k + 1,) what the champion expects of the customers known by a month so many months later; sums to 1."""
        a_month_later = self.next_month[month] / self.customers(month)
        return np.asarray(a_month_later @ np.linalg.matrix_power(self.transitions, ahead - 1))

    def chance(self, month: int, ahead: int) -> Array:
        """(k + 1,) standard deviation of these shares if customers moved independently of each other, by the transition
        matrix: of a sum of multinomials. Never less than one customer."""
        steps = np.linalg.matrix_power(self.transitions, ahead)
        variance = self.sums[month, month] @ (steps * (1.0 - steps))
        return np.asarray(np.sqrt(np.maximum(variance, 1.0)) / self.customers(month))

    def turnover(self, month: int, ahead: int) -> Array:
        """(k + 1,) share of the customers expected to leave a state or to come into it."""
        flows = self.shares(month, month)[:, None] * np.linalg.matrix_power(self.transitions, ahead)
        return np.asarray(flows.sum(axis=0) + flows.sum(axis=1) - 2.0 * np.diag(flows))

    @property
    def optimism(self) -> float:
        """By how much variance of errors is larger in months that a fit has not seen: of a mean over n months, a month
        within is off by (1 - 1/n) of the months' variance, one beyond by (1 + 1/n)."""
        n = self.fitted - 1
        return (n + 1.0) / max(n - 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class PastForecasts:
    """Forecasts of so many months ahead whose month has come, oldest first, n of them.

    by_memory, as_it_is_now : (n, k + 1) what came less what was said, shares; the former with the champion's optimism
    put back. chance : (n, k + 1) what these would be by chance, standard deviations.
    """

    ahead: int
    by_memory: Array
    as_it_is_now: Array
    chance: Array

    @classmethod
    def of(cls, known: KnownCustomers, ahead: int) -> "PastForecasts":
        all_of_them = range(known.today - ahead + 1)
        unseen = all_of_them[known.fitted - 1 :]
        made_in = unseen if len(unseen) >= UNSEEN_FORECASTS else all_of_them

        def each(of_month: Callable[[int], Array]) -> Array:
            return np.array([of_month(month) for month in made_in]).reshape(len(made_in), known.sums.shape[2])

        came = each(lambda month: known.shares(month, month + ahead))
        optimism = np.array([known.optimism if month + ahead < known.fitted else 1.0 for month in made_in])
        return cls(
            ahead,
            (came - each(lambda month: known.expected(month, ahead))) * np.sqrt(optimism)[:, None],
            came - each(lambda month: known.shares(month, month)),
            each(lambda month: known.chance(month, ahead)),
        )

    @property
    def memory_error(self) -> float:
        """Mean absolute error of the champion's forecasts, a share."""
        return float(np.abs(self.by_memory).mean())

    @property
    def as_it_is_now_error(self) -> float:
        """The same of taking the shares of then."""
        return float(np.abs(self.as_it_is_now).mean())

    @property
    def serves(self) -> ServedBy:
        """Which was less wrong; without any nothing tells that the memory was."""
        if not len(self.chance):
            return "as it is now"
        return "memory" if self.memory_error < self.as_it_is_now_error else "as it is now"

    def reach(self, served_by: ServedBy) -> Array:
        """(k + 1,) how far to either side of a forecast its interval goes, in standard deviations of chance.

        Errors are as large as they were, whatever made them (overdispersion: McCullagh & Nelder 1989, section 4.5), and
        what few errors leave open is in Student's t. Forecasts of h months ahead share all but one of their months with
        the next, so of h of them one is independent. Of the shares of now it is each state's own drift that counts.
        """
        n, errors = len(self.chance), self.by_memory if served_by == "memory" else self.as_it_is_now
        own = ((errors / self.chance) ** 2).mean(axis=0)
        pooled = POOLED_MONTHS if served_by == "memory" else 0.0
        squared = (n * own + pooled * own.mean()) / (n + pooled)
        freedom = max(1.0, INDEPENDENT_ERRORS * n / self.ahead)
        return np.asarray(stdtrit(freedom, (1.0 + COVERAGE) / 2.0) * np.sqrt(squared))


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is expected so many months ahead, as shares of the customers known today.

    share, low, high : (k + 1,) what is served, with its interval; the shares sum to 1. by_memory, as_it_is_now :
    (k + 1,) both forecasts. judged : the past forecasts that the interval stands on: of as many months ahead or, where
    none of those has come, of the most of which one has; None in a first month.
    """

    ahead: int
    served_by: ServedBy
    share: Array
    low: Array
    high: Array
    by_memory: Array
    as_it_is_now: Array
    judged: PastForecasts | None


def forecasts(known: KnownCustomers) -> Sequence[Forecast]:
    """The present month's forecasts, of 1 to MONTHS_AHEAD months."""
    past = [PastForecasts.of(known, ahead) for ahead in range(1, MONTHS_AHEAD + 1)]
    served_by = past[0].serves
    return [_forecast(known, ahead, past[:ahead], served_by) for ahead in range(1, MONTHS_AHEAD + 1)]


def _forecast(known: KnownCustomers, ahead: int, pasts: Sequence[PastForecasts], served_by: ServedBy) -> Forecast:
    by_memory, now = known.expected(known.today, ahead), known.shares(known.today, known.today)
    judged = next((past for past in reversed(pasts) if len(past.chance)), None)
    if judged is None:
        # nothing tells how far off it is: all that moves may move one way
        half = known.turnover(known.today, ahead)
    else:
        # errors that all go one way grow with the months, those of chance with their square root
        farther = np.sqrt(ahead / judged.ahead)
        half = judged.reach(served_by) * known.chance(known.today, ahead) * farther
    share = by_memory if served_by == "memory" else now
    low, high = np.maximum(share - half, 0.0), np.minimum(share + half, 1.0)
    return Forecast(ahead, served_by, share, low, high, by_memory, now, judged)


def counted_steps(moves: Array) -> Array:
    """(k + 1, k + 1) transition matrix counted from customers who moved (k + 1, k + 1) from a row's state to a
    column's. Nobody moves out of a state from which nobody was seen to go on."""
    total = moves.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, moves / np.maximum(total, 1.0), np.eye(len(moves))))
