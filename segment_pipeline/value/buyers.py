"""What a customer will buy and spend, from how often, how recently and for how much it has bought: BG/NBD, Gamma-Gamma.

Fader, Hardie and Lee (2005, "Counting your customers" the easy way, Marketing Science 24) for the purchases: while
alive a customer buys at random at a rate of its own (gamma over customers), and after each purchase is lost for good
with a probability of its own (beta). Fader and Hardie (2013, The gamma-gamma model of monetary value) for what one is
worth. A purchase is a day with an order.

Here: maximum likelihood, and expectations in closed form. Not here: which method is believed (forecast.py), and the
expectations of all customers, which are SQL (buyers_store.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1, psi

from segment_pipeline.arrays import Array

_LOG_RANGE = (-7.0, 12.0)
"""Logarithms of parameters, smallest and largest: beyond, a model is as good as at the border. Where nobody is ever
lost, the likelihood tells a / b, which is near 0, and neither of them."""


@dataclass(frozen=True)
class PurchaseModel:
    """BG/NBD. r, alpha : shape and rate (weeks) of the gamma of purchase rates. a, b : of the beta of being lost."""

    r: float
    alpha: float
    a: float
    b: float

    def if_alive(self, repeats: Array, age: Array, weeks: float) -> Array:
        """(n,) purchases that are expected within so many weeks, before it counts whether the customer is still alive:
        the numerator of equation 10 of the paper, of which 1 + `lost_odds` is the denominator.

        repeats : (n,) purchases after the first. age : (n,) weeks from the first to now. By Euler's transformation of
        the hypergeometric function, so that many repeats do not overflow; as the paper has it where that overflows, as
        it does where next to everybody is lost at once. NaN where both give what cannot be: less than nothing, or more
        than of a customer who is never lost.
        """
        # at a = 1 the form is 0 / 0; no likelihood tells the ninth digit of a
        beyond = self.a - 1.0 if abs(self.a - 1.0) > 1e-9 else 1e-9
        third = self.a + self.b + repeats - 1.0
        left = (self.alpha + age) / (self.alpha + age + weeks)
        most = (self.r + repeats) / (self.alpha + age) * weeks

        def unless_it_cannot_be(missed: Array) -> Array:
            found = third / beyond * (1.0 - missed)
            return np.where((found > -1e-9) & (found < most * (1.0 + 1e-9) + 1e-9), found, np.nan)

        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            euler = hyp2f1(self.a + self.b - 1.0 - self.r, beyond, third, 1.0 - left)
            found = unless_it_cannot_be(left**beyond * euler)
            if np.isnan(found).any():
                as_written = hyp2f1(self.r + repeats, self.b + repeats, third, 1.0 - left)
                found = np.where(np.isnan(found), unless_it_cannot_be(left ** (self.r + repeats) * as_written), found)
        return np.asarray(found)

    def lost_odds(self, repeats: Array, recency: Array, age: Array) -> Array:
        """(n,) odds that a customer is lost. recency : (n,) weeks from the first purchase to the last. 0 of who has
        bought once, for it takes a repeat to be lost."""
        odds = self.a / (self.b + np.maximum(repeats, 1.0) - 1.0)
        silence = (self.r + repeats) * np.log((self.alpha + age) / (self.alpha + recency))
        return np.asarray(np.where(repeats > 0, odds * np.exp(np.minimum(silence, MOST_SILENCE)), 0.0))


MOST_SILENCE = 500.0
"""An exponent from which on a customer is as good as lost, and beyond which e to it is no double any more."""


@dataclass(frozen=True)
class SpendModel:
    """Gamma-Gamma. p, q : shapes. scale : of the gamma of the customers' own rates, in money."""

    p: float
    q: float
    scale: float

    def expected(self, purchases: Array, mean: Array) -> Array:
        """(n,) money of a purchase to come, of customers who have made so many, worth so much on average: between that
        and the average of all customers, the nearer to their own, the more purchases there were."""
        return np.asarray(self.p * (self.scale + purchases * mean) / (self.p * purchases + self.q - 1.0))


def fit_purchases(repeats: Array, recency: Array, age: Array) -> PurchaseModel:
    """The BG/NBD of highest likelihood; arrays (n,), n at least 1, as of `PurchaseModel`."""
    # of the few numbers of repeats that there are, what depends on nothing else is computed once
    x, which, customers = np.unique(repeats, return_inverse=True, return_counts=True)
    again, n = repeats > 0, len(repeats)

    def surprise(logs: Array) -> tuple[float, Array]:
        r, alpha, a, b = np.exp(logs)
        until_now, until_last = np.log(alpha + age), np.log(alpha + recency)
        before = b + np.maximum(x, 1.0) - 1.0
        alive = -(r + repeats) * until_now
        lost = np.log(a / before)[which] - (r + repeats) * until_last
        either = np.where(again, np.logaddexp(alive, lost), alive)
        is_lost = np.where(again, np.exp(lost - either), 0.0)
        gained = either.sum() + customers @ (gammaln(r + x) + betaln(a, b + x))
        gained += n * (r * np.log(alpha) - gammaln(r) - betaln(a, b))
        lost_of = np.bincount(which, is_lost)
        both, of_both = n * psi(a + b), customers @ psi(a + b + x)
        slopes = np.array(
            [
                customers @ psi(r + x) - until_now.sum() + is_lost @ (until_now - until_last)
                + n * (np.log(alpha) - psi(r)),
                n * r / alpha - (r + repeats) @ ((1.0 - is_lost) / (alpha + age) + is_lost / (alpha + recency)),
                both - of_both + lost_of.sum() / a,
                both - of_both + customers @ psi(b + x) - n * psi(b) - lost_of @ (1.0 / before),
            ]
        )  # fmt: skip
        return -float(gained / n), -slopes * np.exp(logs) / n

    start = np.array([0.0, np.log(max(1.0, float(np.median(age)) / 4.0)), 0.0, 1.0])
    return PurchaseModel(*_most_likely(surprise, start))


def fit_spend(purchases: Array, mean: Array) -> SpendModel:
    """The Gamma-Gamma of highest likelihood. purchases : (n,) how many a customer made, at least 1. mean : (n,) money
    of one, on average, above 0."""
    unit, n = float(mean.mean()), len(mean)
    money = mean / unit
    total = purchases * money
    x, customers = np.unique(purchases, return_counts=True)
    logs_of_money, logs_of_totals = np.log(money).sum(), purchases @ np.log(total)

    def surprise(logs: Array) -> tuple[float, Array]:
        p, beyond, scale = np.exp(logs)
        q, shape = 1.0 + beyond, p * x  # with q at or below 1 a purchase of nobody's would be worth infinity
        weights, logs_of_sums = p * purchases + q, np.log(scale + total)
        gained = customers @ (gammaln(shape + q) - gammaln(shape)) + p * logs_of_totals - logs_of_money
        gained += n * (q * np.log(scale) - gammaln(q)) - weights @ logs_of_sums
        slopes = np.array(
            [
                (customers * x) @ (psi(shape + q) - psi(shape)) + logs_of_totals - purchases @ logs_of_sums,
                customers @ psi(shape + q) - logs_of_sums.sum() + n * (np.log(scale) - psi(q)),
                n * q / scale - weights @ (1.0 / (scale + total)),
            ]
        )
        return -float(gained / n), -slopes * np.exp(logs) / n

    p, beyond, scale = _most_likely(surprise, np.array([1.0, 0.5, 0.0]))
    return SpendModel(p, 1.0 + beyond, scale * unit)


def _most_likely(surprise: Callable[[Array], tuple[float, Array]], start: Array) -> list[float]:
    """The parameters whose logarithms make this least. surprise : its value there, and its slope in each of them."""
    bounds = [_LOG_RANGE] * len(start)
    found = minimize(surprise, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13})
    return [float(value) for value in np.exp(found.x)]
