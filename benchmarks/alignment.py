"""Identity over 24 months of simulated customers whose real segments are known, decided by `champion.decide`, by a
mixture with memory and by the mixture alone.

Stationary customers, with and without routine refits; then, after four quiet months, a drift, a split, a merge
and a migration. Found means found in that very month. The alternative is the textbook's monthly refit, whose labels are
compared with those of the month before. Takes some ten minutes a seed; the argument is their number (1).

Stationary: shift is the largest that any segment's centre moved, SD (limit 0.5); gain the largest of a challenger, nats
(limit 0.05); stayed the smallest share of customers in the segment of the month before, none of whom really moved.
Events: left segment is the share of the segment's customers whom the old champion puts elsewhere in that month, and by
the month after; turnover at its borders is part of it.
"""

import statistics
import sys

import numpy as np
from real_months import record

from segment_pipeline_tests.simulated_customers import (
    Event,
    History,
    Month,
    drift,
    id_of,
    merge,
    migration,
    never_for_age,
    new_behaviour,
    split,
)

CUSTOMERS = 3000
MONTHS = 24
BEGUN = 3
"""Months after which memory, if there is any, has taken over."""

N_COMPONENTS = range(2, 7)


def stationary(seed: int, memory: bool, routine: bool) -> list[object]:
    history = History.begin(CUSTOMERS, seed, N_COMPONENTS, memory=memory)
    if not routine:
        history.config = never_for_age(history.config)
    months, kept = [], []
    for number in range(MONTHS):
        months.append(history.month())
        if number >= BEGUN:
            before, now = history.labels(months[-2].decision.champion).T
            kept.append(float(np.mean(before == now)))
    later = months[BEGUN:]
    refits = [month for month in later if month.decision.promoted]
    by_age = sum("champion_age" in month.decision.reason for month in refits)
    shifts = [t.value for m in later for t in m.decision.triggers if t.metric == "component_mean_shift"]
    gains = [t.value for m in later for t in m.decision.triggers if t.metric == "challenger_gain"]
    told = sum(any(trigger.fired for trigger in month.decision.triggers) for month in later)
    changes = sorted(set().union(*(month.changes for month in later)))
    row = [seed, "memory" if memory else "alone", "yes" if routine else "no", len(refits) - by_age, by_age, told]
    return [*row, ", ".join(changes) or "none", max(shifts), max(gains), min(kept)]


def textbook_labels(seed: int) -> float:
    """Median share of customers with the same label when scikit-learn refits every month."""
    from sklearn.mixture import GaussianMixture

    history = History.begin(CUSTOMERS, seed, range(4, 5))
    base, kept, before = history.base, [], None
    for number in range(MONTHS):
        base = base.a_month_later(history.random)
        model = GaussianMixture(4, random_state=number).fit(base.X)
        if before is not None:
            kept.append(float(np.mean(before.predict(base.X) == model.predict(base.X))))
        before = model
    return statistics.median(kept)


def at_event(past: History, name: str, event: Event, segment: int, forced: str | None = None) -> list[object]:
    history = past.branch()
    before = past.months[-1]
    old = before.decision.champion
    source = id_of(old, past.base.centres[segment])
    members = past.labels(old)[:, 1] == source
    month = history.month(event, forced)
    left = float(np.mean(history.labels(old)[members, 1] != source))
    after = history.month()
    left_then = float(np.mean(history.labels(old)[members, 1] != source))
    fired = {trigger.metric for trigger in month.decision.triggers if trigger.fired}
    shift = max(
        t.value for t in month.decision.triggers if t.metric == "component_mean_shift" and t.segment_id == source
    )
    return [
        name,
        ", ".join(sorted(fired)) or "none",
        shift,
        "yes" if month.decision.promoted else "no",
        ", ".join(sorted(month.changes)) or "none",
        _kept_ids(before, month),
        "refit" if after.decision.promoted else "quiet",
        left,
        left_then,
    ]


def appearance(past: History) -> list[object]:
    """12 % of all customers begin something new: when it has become a segment with an id of its own, whom it holds."""
    history = past.branch()
    known = set(past.months[-1].decision.champion.segment_ids)
    for number in range(1, 4):
        month = history.month(new_behaviour(0.12, np.array([-2.8, 3.0, -2.0])) if number == 1 else None)
        champion = month.decision.champion
        segment = id_of(champion, history.base.centres[-1])
        if segment not in known:
            there, theirs = history.labels(champion)[:, 1] == segment, month.truth == len(past.base.centres)
            kept = f"{len(known & set(champion.segment_ids))} of {len(known)}"
            return [number, float(there[theirs].mean()), float(theirs[there].mean()), kept]
    return [None, None, None, None]


def _kept_ids(before: Month, month: Month) -> str:
    old, new = before.decision.champion.segment_ids, month.decision.champion.segment_ids
    return f"{len(set(old) & set(new))} of {len(old)}"


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    ways = [(memory, routine) for memory in (True, False) for routine in (False, True)]
    rows = [stationary(seed, *way) for seed in seeds for way in ways]
    header = ("seed", "model", "refits for age", "false refits", "refits by age", "months with alerts")
    header = (*header, "births, deaths, splits", "shift", "gain", "stayed")
    record("alignment-stationary", f"{MONTHS} stationary months", header, rows)
    print(f"a monthly scikit-learn refit labels alike: {textbook_labels(0):.3f} (median of {MONTHS - 1} months)")

    happened, appeared = [], []
    for seed, memory in ((seed, memory) for seed in seeds for memory in (True, False)):
        past = History.begin(CUSTOMERS, seed, N_COMPONENTS, memory=memory)
        past.config = never_for_age(past.config)
        for _ in range(BEGUN + 1):
            past.month()
        sd = past.months[-1].decision.champion.space.scale
        x, y, z = np.diag(sd)
        events = [
            ("drift 0.5 SD", drift(0, -0.5 * x), 0, None),
            ("drift 0.5 SD", drift(1, -0.5 * y), 1, None),
            ("drift 0.5 SD", drift(2, 0.5 * z), 2, None),
            ("drift 1 SD", drift(0, -x), 0, None),
            ("drift 1 SD", drift(1, -y), 1, None),
            ("drift 1 SD", drift(2, z), 2, None),
            ("split", split(0, np.array([0.0, 0.0, 1.8])), 0, None),
            ("split", split(1, np.array([0.0, -1.7, 0.0])), 1, None),
            ("merge", merge(0, 2), 0, None),
            ("merge", merge(1, 3), 1, None),
            ("60 % migrate", migration(0, 1, 0.6), 0, None),
            ("60 % migrate, forced refit", migration(0, 1, 0.6), 0, "to see the ids"),
            ("20 % migrate", migration(0, 1, 0.2), 0, None),
        ]
        model = "memory" if memory else "alone"
        happened += [[seed, model, *at_event(past, *event)] for event in events]
        appeared.append([seed, model, *appearance(past)])
    header = ("seed", "model", "event", "triggers", "shift", "refit", "lineage", "ids kept", "month after")
    title = f"what happens in month {BEGUN + 2}"
    record("alignment-events", title, (*header, "left segment", "by the month after"), happened)
    header = ("seed", "model", "a segment in month", "of them in it", "of it are they", "ids kept")
    record("alignment-new", "12 % of all customers begin something new", header, appeared)


if __name__ == "__main__":
    main()
