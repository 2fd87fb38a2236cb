"""Forecasts of segment shares one and three months ahead, as `segment_forecast` serves them: how often the interval of
80 % holds what came, and how far off it was beside the memory alone, "as it is now" and a matrix counted from the same
memberships. Out of time: a champion fitted to the first months forecasts in its last month and in each one after it.

Demo and CDNOW: champions fitted to every number of months from 3 on, 3 to 6 segments. Simulated: chains of three
segments and `lapsed`, whose transition matrix is shaken every month for all customers alike; a shock is the standard
deviation of the logarithm of the odds of each move, `lasting` how much of it is there a month later.

`python forecasts.py` prints the table; a minute on two cores.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from memory import Shop, shop_of
from real_months import cdnow, demo, record

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.panel import LAPSED, SEEN, Panel
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.search import search_mixtures
from segment_pipeline.movement.forecast import KnownCustomers, counted_steps, forecasts

AHEAD = (1, 3)
SIZES = (3, 4, 5, 6)
SEEDS = 8
SHOCKS = ((0.0, 0.0), (0.3, 0.0), (0.6, 0.0), (0.4, 0.5))

MIXTURE = Mixture(
    np.array([0.5, 0.3, 0.2]),
    np.array([[-1.5, 0.0], [1.5, 0.5], [0.0, 2.0]]),
    np.array([np.eye(2), 0.5 * np.eye(2), [[1.0, 0.6], [0.6, 1.0]]]),
)
STEPS = np.array(
    [[0.90, 0.04, 0.02, 0.04], [0.02, 0.92, 0.02, 0.04], [0.05, 0.05, 0.80, 0.10], [0.10, 0.05, 0.05, 0.80]]
)


@dataclass(frozen=True, eq=False)
class Champion:
    """A fitted chain over all months of a panel. sums : (T, T, k + 1) as of KnownCustomers. labels : (n, T) the
    likeliest state of who is known, -1 before."""

    model: MarkovMixture
    fitted: int
    sums: Array
    labels: Array

    @classmethod
    def of(cls, model: MarkovMixture, panel: Panel, fitted: int) -> "Champion":
        memberships, seen = model.filter(panel), panel.states == SEEN
        _, months, states = memberships.shape
        known_since = np.where(seen.any(axis=1), seen.argmax(axis=1), months)
        sums = np.full((months, months, states), np.nan)
        for m in range(months):
            sums[m, m:] = memberships[known_since <= m, m:].sum(axis=0)
        labels = np.where(
            np.arange(months) >= known_since[:, None], np.nan_to_num(memberships, nan=-1.0).argmax(axis=2), -1
        )
        return cls(model, fitted, sums, labels)

    def known(self, today: int) -> KnownCustomers:
        """What is known at the end of a month."""
        return KnownCustomers(
            self.sums[: today + 1, : today + 1], self.model.memory_.transitions, min(self.fitted, today + 1)
        )

    def counted(self, today: int) -> Array:
        """(k + 1, k + 1) transition matrix counted from the likeliest states up to a month."""
        before, now = self.labels[:, :today], self.labels[:, 1 : today + 1]
        moves = np.zeros((self.sums.shape[2],) * 2)
        np.add.at(moves, (before[before >= 0], now[before >= 0]), 1.0)
        return counted_steps(moves)


def real_champions(shop: Shop) -> Iterator[Champion]:
    """Of every number of months from 3 on that leaves an outcome, and every number of segments."""
    for fitted in range(3, shop.panel.n_months):
        train = shop.panel.until(fitted)
        found = search_mixtures(
            train.rows,
            range(2, max(SIZES) + 1),
            random_state=0,
            variance_floor=shop.floor,
            rounding_variance=train.rounding_variance,
        )
        for k in SIZES:
            start = found[k - 2].model.mixture_
            model = MarkovMixture(k, variance_floor=shop.floor, mixture_init=start).fit(train)
            yield Champion.of(model, shop.panel, fitted)


def simulated_champions(shock: float, lasting: float) -> Iterator[Champion]:
    """Fitted to 6 and to 12 of 24 months."""
    for seed in range(SEEDS):
        panel = shaken_panel(seed, shock, lasting)
        for fitted in (6, 12):
            model = MarkovMixture(3, mixture_init=MIXTURE).fit(panel.until(fitted))
            yield Champion.of(model, panel, fitted)


def shaken_panel(seed: int, shock: float, lasting: float, customers: int = 1500, months: int = 24) -> Panel:
    """Customers whose months have something in common."""
    random = np.random.default_rng(seed)
    truth = np.empty((customers, months), dtype=int)
    truth[:, 0] = random.choice(4, customers, p=(0.35, 0.3, 0.2, 0.15))
    shaken = np.zeros((4, 4))
    for t in range(1, months):
        shaken = lasting * shaken + np.sqrt(1 - lasting**2) * shock * random.normal(size=(4, 4))
        steps = STEPS * np.where(np.eye(4) > 0, 1.0, np.exp(shaken))
        steps /= steps.sum(axis=1, keepdims=True)
        truth[:, t] = (steps[truth[:, t - 1]].cumsum(axis=1) < random.random(customers)[:, None]).sum(axis=1)
    truth = truth[(truth < 3).any(axis=1)]
    states = np.where(truth == 3, LAPSED, SEEN).astype(np.int8)
    of_rows = truth[states == SEEN]
    roots = np.linalg.cholesky(MIXTURE.covariances)
    rows = MIXTURE.means[of_rows] + np.einsum("nij,nj->ni", roots[of_rows], random.normal(size=(len(of_rows), 2)))
    return Panel(states, rows, np.zeros(len(states), dtype=bool))


def judged(champions: Iterator[Champion]) -> dict[int, Array]:
    """Months ahead -> (forecasts, 7) of each forecast: states, coverage, half width, errors of what is served, of the
    memory, of as it is now and of counts, and whether the memory was served."""
    found = defaultdict(list)
    for champion in champions:
        months = len(champion.sums)
        for today in range(champion.fitted - 1, months - 1):
            known, steps = champion.known(today), champion.counted(today)
            for forecast in forecasts(known):
                if forecast.ahead not in AHEAD or today + forecast.ahead >= months:
                    continue
                came = champion.sums[today, today + forecast.ahead] / known.customers(today)
                by_counts = forecast.as_it_is_now @ np.linalg.matrix_power(steps, forecast.ahead)
                said = (forecast.share, forecast.by_memory, forecast.as_it_is_now, by_counts)
                found[forecast.ahead].append(
                    [
                        len(came),
                        ((forecast.low <= came) & (came <= forecast.high)).mean(),
                        50 * (forecast.high - forecast.low).mean(),
                        *(100 * np.abs(shares - came).mean() for shares in said),
                        forecast.served_by == "memory",
                    ]
                )
    return {ahead: np.array(rows, dtype=float) for ahead, rows in found.items()}


def main() -> None:
    worlds = {
        "demo": judged(real_champions(shop_of(*demo(), fitted=5))),
        "CDNOW": judged(real_champions(shop_of(*cdnow(), fitted=5))),
        **{
            f"simulated, shock {shock:g}, lasting {lasting:g}": judged(simulated_champions(shock, lasting))
            for shock, lasting in SHOCKS
        },
    }
    rows: list[list[object]] = []
    for ahead in AHEAD:
        of_ahead = {name: found[ahead] for name, found in worlds.items()}
        simulated = [found for name, found in of_ahead.items() if name.startswith("simulated")]
        means = {name: found.mean(axis=0) for name, found in of_ahead.items()}
        # the three kinds of data count alike, whatever the number of their months
        pooled = np.mean([means["demo"], means["CDNOW"], np.concatenate(simulated).mean(axis=0)], axis=0)
        counts = {name: int(found[:, 0].sum()) for name, found in of_ahead.items()}
        for name, mean in {**means, "pooled": pooled}.items():
            rows.append([ahead, name, counts.get(name, sum(counts.values())), *(float(value) for value in mean[1:])])
    header = ("ahead", "data", "outcomes", "coverage", "half width", "served", "memory", "as it is now", "counted")
    record("forecasts", "errors and half widths in percentage points", (*header, "memory serves"), rows)


if __name__ == "__main__":
    main()
