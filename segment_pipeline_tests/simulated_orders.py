"""Customers who order: each has rates of its own around those of a habit. What a month shows of them is what the
pipeline's SQL would make of their orders in the three months up to its end.

Nothing here comes from a mixture: a customer's features vary because orders fall on some days and not on others, and
windows of successive months share two months of orders.
"""

from dataclasses import dataclass, field

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.mixture.chain.panel import LAPSED, SEEN, Panel

WINDOW = 3
"""Months of orders that a customer's features are made of."""

DAYS = 30
"""Days of a month; all have the same."""

HABITS = np.log([[6.0, 12.0, 3.0], [1.6, 18.0, 5.0], [2.6, 60.0, 12.0], [8.0, 30.0, 8.0]])
"""(4, 3) log of orders a month, amount of an order, products of an order."""

SHARES = np.array([0.35, 0.30, 0.20, 0.15])

OWN = np.array([0.35, 0.25, 0.20])
"""Standard deviations of the logs of a customer's own rates around those of the habit: differences that last."""

FEATURES = """
features:
  - {name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: orders, unit: orders, transform: log1p, resolution: 1, valid: {min: 1}}
  - {name: average_order_value, unit: EUR, transform: log1p, resolution: 0.01, valid: {min: 0}}
  - {name: products_per_order, unit: products, transform: log1p, resolution: 0.01, valid: {min: 1}}
"""


@dataclass
class Shoppers:
    """n customers whose months are made one after another. habit : (n,) what they are at heart, now. own : (n, 3) their
    own rates beside the habit's, in logs. months : of each, the number of orders of every customer, what they cost,
    their products, and the day of the last one (0..29, -1 for none); all (n,)."""

    random: np.random.Generator
    habit: Labels
    own: Array
    habits: Array
    months: list[tuple[Array, Array, Array, Array]] = field(default_factory=list)

    @classmethod
    def begin(cls, n: int, seed: int, busy: float = 1.0) -> "Shoppers":
        """Customers with the orders of a first window, less its last month. busy : what the orders of every habit are
        multiplied by; the fewer there are, the more of what a month shows is chance."""
        random = np.random.default_rng(seed)
        habit = random.choice(len(HABITS), n, p=SHARES)
        shoppers = cls(random, habit, OWN * random.normal(size=(n, 3)), HABITS + np.log([busy, 1.0, 1.0]))
        for _ in range(WINDOW - 1):
            shoppers.month()
        return shoppers

    def month(self) -> None:
        """One month of orders more."""
        rate, amount, products = np.exp(self.habits[self.habit] + self.own).T
        n, orders = len(rate), self.random.poisson(rate)
        # of so many orders on days at random, the last one
        last = np.floor(DAYS * self.random.random(n) ** (1 / np.maximum(orders, 1)))
        spent = self.random.gamma(4.0 * np.maximum(orders, 1)) * amount / 4.0
        things = orders + self.random.poisson(orders * np.maximum(products - 1.0, 0.1))
        some = orders > 0
        self.months.append(
            (orders, np.where(some, np.round(spent, 2), 0.0), np.where(some, things, 0), np.where(some, last, -1))
        )

    def features(self, end: int) -> tuple[Flags, Array]:
        """(n,) who has an order in the window up to month `end` - 1, and (n, 4) features in original units."""
        window = self.months[end - WINDOW : end]
        orders, spent, things = (sum(month[i] for month in window) for i in range(3))
        ago = np.full(len(orders), WINDOW * DAYS, dtype=float)
        for back, (_, _, _, last) in enumerate(reversed(window)):
            here = (last >= 0) & (ago == WINDOW * DAYS)
            ago[here] = back * DAYS + DAYS - last[here]
        count = np.maximum(orders, 1)
        return orders > 0, np.column_stack([ago, orders, np.round(spent / count, 2), things / count])

    @property
    def panel(self) -> Panel:
        """All month-ends so far; everybody was a customer before the first, the silent are lapsed."""
        seen, X = zip(*(self.features(end) for end in range(WINDOW, len(self.months) + 1)), strict=True)
        there = np.column_stack(seen)
        rows = np.stack(X, axis=1)[there]
        return Panel(np.where(there, SEEN, LAPSED).astype(np.int8), rows, np.zeros(len(there), dtype=bool))
