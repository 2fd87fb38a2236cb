"""Campaigns whose lift is known: few customers convert, and what they spend is skewed (lognormal)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segment_pipeline.campaigns.lift import ARMS, Arm, Lift, measure_lift

SPREAD = 1.2
"""SD of the log of an outcome's value: the mean is twice the median, one in a hundred is above sixteen medians."""


@dataclass(frozen=True)
class Campaign:
    """rate : conversion without the matched action, 0..1; the matched action adds `points` to it, and multiplies the
    median value of an outcome, 20, by `factor`. lost : share of matched customers who did not convert and of whom the
    data say nothing, which breaks the sample ratio and flatters the action."""

    customers: int
    shares: Mapping[Arm, float]
    segments: int = 5
    rate: float = 0.05
    points: float = 0.0
    factor: float = 1.0
    lost: float = 0.0

    def drawn(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """arms, segment_ids, converted, values of one repeat."""
        n = self.customers
        arms = random.choice(ARMS, n, p=[self.shares[arm] for arm in ARMS])
        segment_ids = random.integers(1, self.segments + 1, n)
        matched = arms == "matched"
        converted = random.random(n) < self.rate + self.points * matched
        values = np.where(converted, np.exp(random.normal(np.log(20 * np.where(matched, self.factor, 1)), SPREAD)), 0.0)
        kept = ~(matched & ~converted & (random.random(n) < self.lost))
        return arms[kept], segment_ids[kept], converted[kept], values[kept]

    def measured(self, random: np.random.Generator) -> list[Lift]:
        return measure_lift(*self.drawn(random), self.shares)

    def true_lift(self, metric: str, cap: float | None = None) -> float:
        """What the action adds to the metric; of values capped at `cap`, None for uncapped ones."""
        if metric == "conversion":
            return self.points
        with_it = (self.rate + self.points) * _mean_outcome(20 * self.factor, cap)
        return with_it - self.rate * _mean_outcome(20, cap)


def covers(row: Lift, truth: float) -> bool:
    return row.lift_low is not None and row.lift_high is not None and row.lift_low <= truth <= row.lift_high


def claimed(row: Lift) -> bool:
    """Whether the verdict says that the action changed something."""
    return row.verdict.startswith(("higher", "lower"))


def _mean_outcome(median: float, cap: float | None) -> float:
    from scipy.stats import norm

    mean = median * np.exp(SPREAD**2 / 2)
    if cap is None:
        return float(mean)
    above = np.log(cap / median) / SPREAD
    return float(mean * norm.cdf(above - SPREAD) + cap * norm.sf(above))
