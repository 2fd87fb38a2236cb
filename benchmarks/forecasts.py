"""Forecasts of segment shares one and three months ahead, as `segment_forecast` serves them: how often the interval of
80 % holds what came, and how far off it was beside the memory alone, "as it is now" and a matrix counted from the same
memberships. Out of time: a champion fitted to the first months forecasts in its last month and in each one after it.

Demo and CDNOW: champions fitted to every number of months from 3 on, of 2 to 6 segments, but for those that would be
refused, whose segments exchange customers as if by chance or are only passed through; what is expected of a customer's
next month stands, as in the pipeline, on when it last ordered; `matrix alone` does without. Simulated:
chains of three segments and `lapsed`, whose transition matrix is shaken every month for all customers alike; a shock is
the standard deviation of the logarithm of the odds of each move, `lasting` how much of it is there a month later.

`python forecasts.py` prints the table; a minute on two cores.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from memory import Shop, moves_by_silence, shop_of
from real_months import cdnow, demo, record

from segment_pipeline.arrays import Array
from segment_pipeline.config.model import MemorySettings
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.panel import LAPSED, SEEN, Panel
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.search import search_mixtures
from segment_pipeline.movement.forecast import KnownCustomers, counted_steps, forecasts

AHEAD = (1, 3)
SIZES = (2, 3, 4, 5, 6)
LIMITS = MemorySettings()
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
    """A fitted chain over all months of a panel. sums, next_month : (T, T, k + 1) and (T, k + 1) as of KnownCustomers.
    labels : (n, T) the likeliest state of who is known, -1 before."""

    model: MarkovMixture
    fitted: int
    sums: Array
    next_month: Array
    labels: Array

    @classmethod
    def of(cls, model: MarkovMixture, panel: Panel, fitted: int, shop: Shop | None = None) -> "Champion":
        """shop : where orders tell of silence."""
        memberships, seen = model.filter(panel), panel.states == SEEN
        _, months, states = memberships.shape
        known_since = np.where(seen.any(axis=1), seen.argmax(axis=1), months)
        sums = np.full((months, months, states), np.nan)
        for m in range(months):
            sums[m, m:] = memberships[known_since <= m, m:].sum(axis=0)
        labels = np.where(
            np.arange(months) >= known_since[:, None], np.nan_to_num(memberships, nan=-1.0).argmax(axis=2), -1
        )
        next_month = np.einsum("mma->ma", sums) @ model.memory_.transitions
        if shop is not None:
            next_month += more_by_silence(shop, model, memberships, fitted)
        return cls(model, fitted, sums, next_month, labels)

    def known(self, today: int) -> KnownCustomers:
        """What is known at the end of a month."""
        return KnownCustomers(
            self.sums[: today + 1, : today + 1],
            self.next_month[: today + 1],
            self.model.memory_.transitions,
            min(self.fitted, today + 1),
        )

    def by_matrix(self, today: int, ahead: int) -> Array:
        """(k + 1,) shares by the transition matrix alone."""
        now = self.sums[today, today]
        return np.asarray(now @ np.linalg.matrix_power(self.model.memory_.transitions, ahead) / now.sum())

    def counted(self, today: int) -> Array:
        """(k + 1, k + 1) transition matrix counted from the likeliest states up to a month."""
        before, now = self.labels[:, :today], self.labels[:, 1 : today + 1]
        moves = np.zeros((self.sums.shape[2],) * 2)
        np.add.at(moves, (before[before >= 0], now[before >= 0]), 1.0)
        return counted_steps(moves)


def more_by_silence(shop: Shop, model: MarkovMixture, memberships: Array, fitted: int) -> Array:
    """(T, k + 1) how many customers more than by the matrix are expected in each state a month after each, by the moves
    of their silence up to then; in the months of the fit, by all of these."""
    panel, transitions = shop.panel, model.memory_.transitions
    moves = [moves_by_silence(shop, model, memberships, t) for t in range(1, panel.n_months)]
    more = np.zeros((panel.n_months, len(transitions)))
    for t in range(panel.n_months):
        there = panel.states[:, t] == SEEN
        steps = model.memory_.by_silence(np.sum(moves[: max(t, fitted - 1)], axis=0))
        more[t] = np.einsum("na,nab->b", memberships[there, t], steps[shop.silence[there, t]] - transitions)
    return more


def real_champions(shop: Shop) -> Iterator[Champion]:
    """Of every number of months from 3 on that leaves an outcome, and every number of segments that may serve."""
    for fitted in range(3, shop.panel.n_months):
        train = shop.panel.until(fitted)
        found = search_mixtures(
            train.rows,
            SIZES,
            random_state=0,
            variance_floor=shop.floor,
            rounding_variance=train.rounding_variance,
        )
        for k, one in zip(SIZES, found, strict=True):
            model = MarkovMixture(k, variance_floor=shop.floor, mixture_init=one.model.mixture_).fit(train)
            memory = model.memory_
            if memory.flicker().min() >= LIMITS.min_kept and memory.stays.min() >= LIMITS.min_stay:
                yield Champion.of(model, shop.panel, fitted, shop)


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
    """Months ahead -> (forecasts, 9) of each forecast: states, coverage, half width, errors of what is served, of the
    memory, of the matrix alone, of as it is now and of counts, and whether the memory was served."""
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
                by_matrix = champion.by_matrix(today, forecast.ahead)
                said = (forecast.share, forecast.by_memory, by_matrix, forecast.as_it_is_now, by_counts)
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
    header = ("ahead", "data", "outcomes", "coverage", "half width", "served", "memory", "matrix alone", "as it is now")
    record("forecasts", "errors and half widths in percentage points", (*header, "counted", "memory serves"), rows)


if __name__ == "__main__":
    main()
