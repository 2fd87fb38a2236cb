"""A segment's profile in a sentence or two, from its figures beside the population's.

Not here: the figures (profiles_store.py, in original units), the segment's name and role (models/naming.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from segment_pipeline.words import ROLE_WORDS, counted, measured, percent, readable

_WORTH_TELLING = 0.1
"""Relative difference from the population's mean below which a narrative is silent."""


@dataclass(frozen=True)
class FeatureFigure:
    """A segment's mean of one feature beside the population's, both in `unit`."""

    feature: str
    unit: str
    mean: float
    population_mean: float


def narrative(
    name: str,
    role: str | None,
    customers: int,
    share: float,
    hybrid_share: float,
    figures: Sequence[FeatureFigure],
    portraits: Sequence[FeatureFigure] = (),
) -> str:
    """One to three plain sentences on a segment, with figures in original units.

    share : of all customers, 0..1. hybrid_share : of the segment's customers who also belong elsewhere, 0..1. figures :
    one per feature of the model; those that differ most from the population are told, at most three. portraits : of
    features that the model does not know; of those at most two.
    """
    rated = f", {ROLE_WORDS[role]}" if role is not None else ""
    first = (
        f"{name}{rated}: {counted(customers)}, {percent(share)} of all; "
        f"{percent(hybrid_share)} of them also lean to another segment."
    )
    told = _notable(figures, 3)
    said = f"On average: {told}." if told else "On average they behave like the population."
    beside = _notable(portraits, 2)
    return f"{first} {said} Beside that: {beside}." if beside else f"{first} {said}"


def _notable(figures: Sequence[FeatureFigure], most: int) -> str:
    """Those that differ most from the population, in words; "" where none does."""
    ranked = sorted(figures, key=lambda one: -_relative_difference(one))[:most]
    return "; ".join(_in_words(one) for one in ranked if _relative_difference(one) >= _WORTH_TELLING)


def _relative_difference(one: FeatureFigure) -> float:
    """How far the mean lies from the population's, as a ratio in either direction; 0 = the same."""
    if one.mean > 0 and one.population_mean > 0:
        ratio = one.mean / one.population_mean
        return max(ratio, 1.0 / ratio) - 1.0
    size = max(abs(one.mean), abs(one.population_mean))
    return abs(one.mean - one.population_mean) / size if size > 0 else 0.0


def _in_words(one: FeatureFigure) -> str:
    of_all = measured(one.population_mean, "share" if one.unit == "share" else "")
    return f"{readable(one.feature)} {measured(one.mean, one.unit, one.feature)} (all customers: {of_all})"
