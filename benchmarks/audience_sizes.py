"""Audiences that jump: how often a quiet one is told, and how often one that really jumped.

Simulated shops of 3 to 8 segments, where customers go on from month to month by a chain of their own, come and go;
three years each. What months have in common is drawn on top: nothing, seasons, or shocks that move everybody alike. In
one month of the last year a planted part of a segment's customers goes to the others, or comes from them. Beside the
rule stand a fixed limit of 20 %, and the way of a forecast: outside the interval of 80 % of past changes.
Takes a minute.
"""

from collections.abc import Callable

import numpy as np
from real_months import record

from segment_pipeline.arrays import Array
from segment_pipeline.config.model import DriftSettings
from segment_pipeline.segments.drift import size_change
from segment_pipeline.segments.drift_store import FEWEST_CHANGES

MONTHS, SHOPS = 36, 200
SMALLEST = DriftSettings().max_audience_change
WORLDS = {"quiet": (0.0, 0.0), "seasons": (0.0, 0.15), "shocks": (0.15, 0.0)}
"""Of the log-odds with which customers go to each segment: SD of what a month brings, and height of the season."""
PLANTED = (1.0, 0.5, -0.3, -0.5)
"""Share of a segment's customers that go (below 0), or of its size that comes from others, in one month."""

Rule = Callable[[Array, float], bool]


def own_past(past: Array, now: float) -> bool:
    value, limit = size_change(past, now, SMALLEST)
    return value > limit


def fixed(past: Array, now: float) -> bool:
    return bool(np.expm1(abs(now)) > SMALLEST)


def forecast(past: Array, now: float) -> bool:
    low, high = np.quantile(past, [0.1, 0.9])
    return not low <= now <= high


RULES: dict[str, Rule] = {"own past": own_past, "fixed 20 %": fixed, "interval of 80 %": forecast}


def sizes(random: np.random.Generator, customers: int, world: str, planted: float | None) -> tuple[Array, int, int]:
    """(months, segments) customers; and the month and segment of the jump that is planted."""
    shock, season = WORLDS[world]
    k = int(random.integers(3, 9))
    stay = random.uniform(0.6, 0.95, k)
    draw = random.normal(0, 0.5, k)
    phase = random.uniform(0, 2 * np.pi, k)
    at, where = int(random.integers(24, MONTHS)), int(random.integers(k))
    now = random.multinomial(customers, random.dirichlet(np.full(k, 4.0)))
    found = []
    for month in range(MONTHS):
        pull = draw + shock * random.normal(size=k) + season * np.sin(2 * np.pi * month / 12 + phase)
        to = np.exp(pull) / np.exp(pull).sum()
        moved = np.zeros(k, dtype=int)
        for segment, size in enumerate(now):
            chances = np.append(0.97 * ((1 - stay[segment]) * to), 0.03)  # the last lapses
            chances[segment] += 1 - chances.sum()
            moved += random.multinomial(size, chances)[:-1]
        now = moved + random.multinomial(random.poisson(0.03 * customers), to)
        if planted is not None and month == at:
            others = np.delete(np.arange(k), where)
            wanted = int(abs(planted) * now[where])
            if planted < 0:
                now[where] -= wanted
                now[others] += random.multinomial(wanted, now[others] / now[others].sum())
            else:
                taken = np.minimum(random.multinomial(wanted, now[others] / now[others].sum()), now[others])
                now[others] -= taken
                now[where] += taken.sum()
        found.append(now.copy())
    return np.array(found), at, where


def told(customers: int, world: str, planted: float | None) -> dict[str, list[bool]]:
    """By rule, of each segment and month with enough of a past, whether it is told; of the planted jump alone where
    there is one."""
    found: dict[str, list[bool]] = {name: [] for name in RULES}
    for seed in range(SHOPS):
        held, at, where = sizes(np.random.default_rng(seed), customers, world, planted)
        changes = np.diff(np.log(held + 0.5), axis=0)
        for month in range(FEWEST_CHANGES, MONTHS - 1):
            for segment in range(held.shape[1]):
                if planted is None or (month + 1, segment) == (at, where):
                    past = changes[max(0, month - 23) : month, segment]
                    for name, rule in RULES.items():
                        found[name].append(rule(past, changes[month, segment]))
    return found


def main() -> None:
    rows = []
    for customers in (600, 2400, 20_000):
        for world in WORLDS:
            quiet = told(customers, world, None)
            row = [f"{customers:,}", world, *(f"{12 * np.mean(hits):.3f}" for hits in quiet.values())]
            for planted in PLANTED:
                hits = told(customers, world, planted)
                row.append(" / ".join(f"{np.mean(hits[name]):.0%}" for name in ("own past", "fixed 20 %")))
            rows.append(row)
    columns = ["customers", "world", *(f"false, {name}" for name in RULES), *(f"{share:+.0%}" for share in PLANTED)]
    title = "False alerts a segment-year by rule; jumps found, own past / fixed 20 %"
    record("audience_sizes", title, columns, rows)


if __name__ == "__main__":
    main()
