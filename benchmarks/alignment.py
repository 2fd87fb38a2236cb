"""Identity over 24 months of simulated customers whose real segments are known, decided by `champion.decide`.

Stationary customers, with and without routine refits; then, after three quiet months, a drift, a split, a merge
and a migration. Found means found in that very month. The alternative is the textbook's monthly refit, whose labels are
compared with those of the month before. Takes some two minutes a seed; the argument is their number (3).
"""

import statistics
import sys

import numpy as np
from real_months import print_table

from segment_pipeline_tests.simulated_customers import (
    Event,
    History,
    Month,
    drift,
    id_of,
    merge,
    migration,
    never_for_age,
    segment_of,
    split,
)

CUSTOMERS = 3000
MONTHS = 24
N_COMPONENTS = range(2, 7)


def stationary(seed: int, routine: bool) -> list[object]:
    history = History.begin(CUSTOMERS, seed, N_COMPONENTS)
    if not routine:
        history.config = never_for_age(history.config)
    months = [history.month() for _ in range(MONTHS)]
    later = months[1:]
    refits = [month for month in later if month.decision.promoted]
    by_age = sum("champion_age" in month.decision.reason for month in refits)
    shifts = [t.value for m in later for t in m.decision.triggers if t.metric == "component_mean_shift"]
    gains = [t.value for m in later for t in m.decision.triggers if t.metric == "challenger_gain"]
    # the labels of two neighbouring months for the same customers, who persist
    kept = [
        float(np.mean(segment_of(a.decision.champion, b.X) == segment_of(b.decision.champion, b.X)))
        for a, b in zip(months, later, strict=False)
    ]
    changes = sorted(set().union(*(month.changes for month in later)))
    row = [seed, "yes" if routine else "no", len(refits) - by_age, by_age, ", ".join(changes) or "none"]
    return [*row, max(shifts), max(gains), min(kept)]


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
    month = history.month(event, forced)
    after = history.month()
    fired = [
        trigger.metric + (f" {trigger.segment_id}/{trigger.feature}" if trigger.segment_id else "")
        for trigger in month.decision.triggers
        if trigger.fired
    ]
    source = id_of(old, history_centre(past, segment))
    shift = max(
        t.value for t in month.decision.triggers if t.metric == "component_mean_shift" and t.segment_id == source
    )
    return [
        name,
        "; ".join(fired) or "none",
        shift,
        "yes" if month.decision.promoted else "no",
        ", ".join(sorted(month.changes)) or "none",
        _kept_ids(before, month),
        "quiet" if not after.decision.promoted else after.decision.reason[:40],
        moved_share(old, before, month, source),
    ]


def history_centre(past: History, segment: int) -> np.ndarray:
    return past.base.centres[segment]


def moved_share(old: object, before: Month, month: Month, source: int) -> float:
    """Share of the segment's customers who are in another one a month later, both under the old champion."""
    was, now = (segment_of(old, X) for X in (before.X, month.X))  # type: ignore[arg-type]
    return float(np.mean(now[was == source] != source))


def _kept_ids(before: Month, month: Month) -> str:
    old, new = before.decision.champion.segment_ids, month.decision.champion.segment_ids
    return f"{len(set(old) & set(new))} of {len(old)}"


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    rows = [stationary(seed, routine) for seed in seeds for routine in (False, True)]
    print_table(
        f"{MONTHS} stationary months",
        (
            "seed",
            "age refits",
            "false refits",
            "refits by age",
            "births, deaths, splits",
            "shift",
            "gain",
            "same label",
        ),
        rows,
    )
    print(
        "shift: the largest any segment's centre moved, SD (limit 0.5); gain: the largest of a challenger, nats (limit"
    )
    print("0.05); same label: the smallest share of customers whom two neighbouring months' champions label alike")
    print(f"a monthly scikit-learn refit labels alike: {textbook_labels(0):.3f} (median of {MONTHS - 1} months)")

    for seed in seeds:
        past = History.begin(CUSTOMERS, seed, N_COMPONENTS)
        past.config = never_for_age(past.config)
        for _ in range(3):
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
        ]
        header = ("event", "triggers", "shift", "refit", "lineage", "ids kept", "month after", "left segment")
        print_table(f"what happens in month 3, seed {seed}", header, [at_event(past, *event) for event in events])
    print(
        "left segment: share of the segment's customers whom the old champion puts elsewhere a month later (turnover at"
    )
    print("its borders is part of it)")


if __name__ == "__main__":
    main()
