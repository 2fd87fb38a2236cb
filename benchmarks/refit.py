"""When does the champion give way? Stationary customers for 36 months, and planted shifts of 0.5 and 1 SD.

The alternative is the rule without memory, by which every month beyond the limit of a lasting signal would refit.
Stationary months are run without the age trigger, which would hide what the others do by giving them new champions.
Takes some five minutes with `--seeds 2`.
"""

import argparse
from collections import Counter

import numpy as np

from segment_pipeline.segments.drift import feature_drift
from segment_pipeline_tests.simulated_customers import History, Month, drift, id_of, never_for_age

MONTHS = 36
SHIFTS = (0.5, 1.0)


def population_alerts(history: History, first: Month, month: Month) -> int:
    """Features whose distribution is called changed, against the month that the champion was fitted to."""
    limits = history.config.drift
    space = month.decision.champion.space
    found = feature_drift(space, first.X, month.X, limits.max_psi, limits.max_wasserstein)
    return sum(row.drifted for row in found)


def stationary(customers: int, seed: int) -> Counter[str]:
    history = History.begin(customers, seed, range(3, 7))
    history.config = never_for_age(history.config)
    first = history.month()
    counts: Counter[str] = Counter()
    for _ in range(MONTHS):
        month = history.month()
        fired = [trigger for trigger in month.decision.triggers if trigger.fired]
        counts["months with a soft alert"] += any(trigger.severity == "soft" for trigger in fired)
        counts["months with a hard alert"] += any(trigger.severity == "hard" for trigger in fired)
        counts["months with a population alert"] += population_alerts(history, first, month) > 0
        counts["refits without memory"] += bool(fired)
        counts["refits"] += month.decision.promoted
    return counts


def months_until(past: History, place: tuple[int, int, int], size: float) -> tuple[int | None, int | None]:
    """Months, the shift's own included, until its alert, and until the refit; None after three.

    place : segment, feature and direction of the shift, which is of `size` SD and stays.
    """
    segment, feature, sign = place
    history = past.branch()
    champion = past.months[-1].decision.champion
    shift = np.zeros(3)
    shift[feature] = sign * size * champion.space.scale[feature]
    subject = ("component_mean_shift", id_of(champion, history.base.centres[segment]), champion.space.names[feature])
    told = None
    for number in range(1, 4):
        month = history.month(drift(segment, shift) if number == 1 else None)
        if told is None and any(trigger.fired and trigger.subject == subject for trigger in month.decision.triggers):
            told = number
        if month.decision.promoted:
            return told, number
    return told, None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--customers", type=int, nargs="*", default=[600, 1500, 3000])
    arguments = parser.parse_args()

    print(f"stationary: {MONTHS} months each, no age trigger")
    print("customers  seed  soft  hard  population  refits  refits without memory")
    for customers in arguments.customers:
        for seed in range(100, 100 + arguments.seeds):
            c = stationary(customers, seed)
            print(
                f"{customers:9}  {seed:4}  {c['months with a soft alert']:4}  {c['months with a hard alert']:4}  "
                f"{c['months with a population alert']:10}  {c['refits']:6}  {c['refits without memory']:21}",
                flush=True,
            )

    # away from the neighbours: one that drifts into its neighbour is merged with it, and rightly
    places = ((0, 0, -1), (0, 2, -1), (1, 1, -1), (1, 2, 1), (2, 0, -1), (2, 2, 1), (3, 0, 1), (3, 2, -1))
    print("planted shifts, away from the neighbours: months until it is told, and until the refit")
    for size in SHIFTS:
        told: Counter[int | None] = Counter()
        refitted: Counter[int | None] = Counter()
        for seed in range(200, 200 + arguments.seeds):
            past = History.begin(1500, seed, range(3, 6))
            past.config = never_for_age(past.config)
            for _ in range(3):
                past.month()
            for place in places:
                alerted, promoted = months_until(past, place, size)
                told[alerted] += 1
                refitted[promoted] += 1
        print(f"{size} SD: told in month {dict(told)}, refitted in month {dict(refitted)}", flush=True)


if __name__ == "__main__":
    main()
