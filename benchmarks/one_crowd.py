"""Are there segments at all? What is said of customers of one kind, and of planted groups, by the usual rival of a
mixture, one Gaussian by BIC, and by one crowd on top: features spread in any way with one peak, tied by a Gaussian
copula, on customers that neither has seen.

20 draws of each world, none of which was looked at when the rule was made. A share of draws in which segments are
claimed: of one kind 0 is right, of groups 1.
"""

import numpy as np

from segment_pipeline.alternatives.crowd import gain_over_one_crowd
from segment_pipeline.alternatives.suitability import CERTAIN_GAIN
from segment_pipeline.arrays import Array
from segment_pipeline.mixture.gaussian import Mixture, bic
from segment_pipeline.mixture.search import search_mixtures

DRAWS, CUSTOMERS = 20, 2000


def together(random: np.random.Generator, d: int, correlation: float = 0.4) -> Array:
    covariance = np.full((d, d), correlation) + (1 - correlation) * np.eye(d)
    return random.multivariate_normal(np.zeros(d), covariance, CUSTOMERS)


def groups(random: np.random.Generator, d: int, apart: float) -> Array:
    """Three round groups, centres this many standard deviations from one another."""
    centres = np.array([[0.0, 0.0], [apart, 0.0], [apart / 2, apart * 0.75**0.5]])
    X = random.normal(size=(CUSTOMERS, d))
    X[:, :2] += centres[random.choice(3, CUSTOMERS, p=[0.5, 0.3, 0.2])]
    return X


def on_one_axis(random: np.random.Generator, d: int) -> Array:
    X = random.normal(size=(CUSTOMERS, d))
    X[:, 0] += np.where(random.random(CUSTOMERS) < 0.4, 4.0, 0.0)
    return X


def one_time_buyers(random: np.random.Generator, d: int) -> Array:
    """The day of the one order is anywhere in the year."""
    return np.column_stack([random.integers(1, 366, CUSTOMERS), together(random, d - 1)])


WORLDS = {
    "one kind: uniform": lambda random, d: random.uniform(size=(CUSTOMERS, d)),
    "one kind: Gaussian": together,
    "one kind: log-normal": lambda random, d: np.exp(0.8 * together(random, d)),
    "one kind: skewed counts": lambda random, d: np.log1p(1 + random.poisson(np.exp(0.5 + 0.8 * together(random, d)))),
    "one kind: any day of the year": one_time_buyers,
    "one kind: heavy tails (t, 3)": lambda random, d: (
        together(random, d) / np.sqrt(random.chisquare(3, (CUSTOMERS, 1)) / 3)
    ),
    "3 groups, 2 SD apart": lambda random, d: groups(random, d, 2.0),
    "3 groups, 3 SD apart": lambda random, d: groups(random, d, 3.0),
    "3 groups, 4 SD apart": lambda random, d: groups(random, d, 4.0),
    "2 groups, 4 SD apart in one feature": on_one_axis,
}


def champion_of(Z: Array) -> Mixture:
    found = search_mixtures(Z, range(2, 8), random_state=0, variance_floor=1e-4, n_jobs=1)
    sound = [one for one in found if not one.degenerate] or found
    return min(sound, key=lambda one: one.bic).model.mixture_


def main() -> None:
    print(f"{'world':<38} {'one Gaussian (BIC)':>18} {'and one crowd':>14} {'gain, nats: lowest to highest':>31}")
    for name, world in WORLDS.items():
        by_bic, by_both, gains = 0, 0, []
        for draw in range(DRAWS):
            X = world(np.random.default_rng((2000 + draw, len(name))), (2, 3, 4)[draw % 3])
            Z = (X - X.mean(axis=0)) / X.std(axis=0)
            champion = champion_of(Z)
            one = Mixture(np.ones(1), np.zeros((1, Z.shape[1])), np.cov(Z.T, bias=True)[None])
            gain, error = gain_over_one_crowd(Z, champion) or (np.nan, np.nan)
            better = bic(champion, Z) < bic(one, Z)
            by_bic += better
            by_both += better and gain > CERTAIN_GAIN * error
            gains.append(gain)
        low, high = min(gains), max(gains)
        print(
            f"{name:<38} {by_bic / DRAWS:>18.2f} {by_both / DRAWS:>14.2f} {f'{low:+.3f} to {high:+.3f}':>31}",
            flush=True,
        )


if __name__ == "__main__":
    main()
