"""Simulated shops in which nothing happens for 18 months, and one in which everybody begins to order half as often:
movement, ids and alerts, decided month by month as the pipeline does, with memory and without.

Customers with rates of their own around four habits; features from their orders in windows of three months, not from a
mixture. In the sparse shop they order 0.4 times as often, so that what a month shows of them is mostly chance. The age
trigger is on. `moved` is of months that a champion with memory measures (from the fourth on), and nobody really does;
`ids kept`: of the segments of the third month, still there in the last. Alerts: months with a soft or hard signal.
Bars: where the mixture alone reports at least 10 %, at most 3 % moved; 80 % of the ids; no alert beyond a soft one;
after the event, no second alert.

`python quiet_months.py`; twelve minutes on two cores.
"""

import numpy as np
from real_months import record

from segment_pipeline_tests.remembered_worlds import World, config
from segment_pipeline_tests.simulated_orders import FEATURES, Shoppers

MONTHS, EVENT = 18, 9
SHOPS = {"quiet": (800, 1.0, False), "sparse, quiet": (1500, 0.4, False), "half as often in month 10": (800, 1.0, True)}
"""Customers, how often they order, whether anything happens."""


def live(seed: int, memory: bool, customers: int, busy: float, event: bool) -> tuple[World, list[float]]:
    """A shop's months, decided; and the share that moved in each from the fourth on."""
    shoppers = Shoppers.begin(customers, seed, busy)
    settings = config(FEATURES, f"model: {{n_components: [2, 6], memory: {str(memory).lower()}}}\n")
    world, moved = None, []
    for month in range(MONTHS):
        if event and month == EVENT:
            shoppers.habits[:, 0] -= np.log(2.0)
        shoppers.month()
        world = world or World(shoppers.panel, settings)
        world.panel = shoppers.panel
        world.month()
        if month > 2:
            both, whose = world.moved()
            moved.append(float(whose.sum() / both.sum()))
    assert world is not None
    return world, moved


def row(shop: str, seed: int, memory: bool) -> list[object]:
    world, moved = live(seed, memory, *SHOPS[shop])
    then, now = (set(world.decisions[month].champion.segment_ids) for month in (2, -1))
    alerts = [  # the gravest of a month: hard comes before soft
        min((trigger.severity for trigger in decision.triggers if trigger.fired), default=None)
        for decision in world.decisions[3:]
    ]
    told = ", ".join(f"{month + 4}: {alert}" for month, alert in enumerate(alerts) if alert) or "none"
    refits = [str(month + 1) for month, decision in enumerate(world.decisions) if decision.promoted and month > 2]
    return [
        shop,
        seed,
        "memory" if memory else "alone",
        float(np.mean(moved)),
        float(np.max(moved)),
        f"{len(then & now)} of {len(then)}",
        told,
        ", ".join(refits) or "none",
    ]


def main() -> None:
    rows = [row(shop, seed, memory) for shop in SHOPS for seed in (1, 2, 3) for memory in (True, False)]
    header = ("shop", "seed", "model", "moved", "at most", "ids kept", "alerts in month", "refits in month")
    record("quiet_months", f"{MONTHS} months", header, rows)


if __name__ == "__main__":
    main()
