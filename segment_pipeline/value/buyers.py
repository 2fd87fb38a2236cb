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
from scipy.special import betaln, gammaln, hyp2f1

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
        the hypergeometric function, so that many repeats do not overflow.
        """
        # at a = 1 the form is 0 / 0; no likelihood tells the ninth digit of a
        beyond = self.a - 1.0 if abs(self.a - 1.0) > 1e-9 else 1e-9
        third = self.a + self.b + repeats - 1.0
        left = (self.alpha + age) / (self.alpha + age + weeks)
        found = hyp2f1(self.a + self.b - 1.0 - self.r, beyond, third, 1.0 - left)
        return np.asarray(third / beyond * (1.0 - left**beyond * found))

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
    again = repeats > 0

    def surprise(logs: Array) -> float:
        r, alpha, a, b = np.exp(logs)
        alive = -(r + repeats) * np.log(alpha + age)
        lost = np.log(a / (b + np.maximum(repeats, 1.0) - 1.0)) - (r + repeats) * np.log(alpha + recency)
        of_customer = gammaln(r + repeats) + betaln(a, b + repeats) + np.where(again, np.logaddexp(alive, lost), alive)
        return -float(of_customer.mean() - gammaln(r) + r * np.log(alpha) - betaln(a, b))

    start = np.array([0.0, np.log(max(1.0, float(np.median(age)) / 4.0)), 0.0, 1.0])
    return PurchaseModel(*_most_likely(surprise, start))


def fit_spend(purchases: Array, mean: Array) -> SpendModel:
    """The Gamma-Gamma of highest likelihood. purchases : (n,) how many a customer made, at least 1. mean : (n,) money
    of one, on average, above 0."""
    unit = float(mean.mean())
    money = mean / unit

    def surprise(logs: Array) -> float:
        p, beyond, scale = np.exp(logs)
        q, shape = 1.0 + beyond, p * purchases  # with q at or below 1 a purchase of nobody's would be worth infinity
        of_customer = gammaln(shape + q) - gammaln(shape) + shape * np.log(purchases) + (shape - 1.0) * np.log(money)
        of_customer -= (shape + q) * np.log(scale + purchases * money)
        return -float(of_customer.mean() - gammaln(q) + q * np.log(scale))

    p, beyond, scale = _most_likely(surprise, np.array([1.0, 0.5, 0.0]))
    return SpendModel(p, 1.0 + beyond, scale * unit)


def _most_likely(surprise: Callable[[Array], float], start: Array) -> list[float]:
    """The parameters whose logarithms make this least."""
    found = minimize(surprise, start, method="L-BFGS-B", bounds=[_LOG_RANGE] * len(start), options={"ftol": 1e-13})
    return [float(value) for value in np.exp(found.x)]
