"""A segment's profile in a sentence or two, from its figures beside the population's.

Not here: the figures (profiles_store.py, in original units), the segment's name and role (models/naming.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segment_pipeline.config.order_features import FREQUENCY, MONETARY
from segment_pipeline.words import ROLE_WORDS, TOGETHER, capitalised, counted, deed, figure, is_share, listed, percent

_WORTH_TELLING = 0.1
"""Relative difference from the population's mean below which a narrative is silent."""

_AS_GOOD_AS_EQUAL = 0.03
"""Relative difference that no reader would act on."""


@dataclass(frozen=True)
class FeatureFigure:
    """A segment's mean of one feature beside the population's, both in `unit`; where it is about a category, the share
    of all that its customers spent together that is on it."""

    feature: str
    unit: str
    mean: float
    population_mean: float
    category: str = ""


def narrative(
    name: str,
    role: str | None,
    customers: int,
    share: float,
    revenue_share: float | None,
    figures: Sequence[FeatureFigure],
    portraits: Sequence[FeatureFigure] = (),
) -> str:
    """Two plain sentences on a segment: who they are, with figures in original units, and why they are worth what they
    are, where the source tells that, with what else is known of them.

    share : of all customers, 0..1. revenue_share : of what all customers spent, 0..1; None where it is not known.
    figures : one per feature of the model; those that differ most from the population are told, at most three.
    portraits : of features that the model does not know; of those at most two.
    """
    rated = f", {ROLE_WORDS[role]}" if role is not None else ""
    spent = "" if revenue_share is None else f" and {percent(revenue_share)} of what was spent"
    told = _notable(figures, 3)
    average = _in_words(told, "on average one of them") or "on average they behave like all customers"
    first = f"{name}{rated}: {counted(customers)}, {percent(share)} of all{spent}; {average}."
    why = _why(revenue_share, share, [*figures, *portraits])
    known = {one.category for one in told}
    others = [one for one in portraits if not (why and one.feature == MONETARY) and one.category not in known - {""}]
    beside = _in_words(_notable(others, 2), "beside that, one")
    second = "; ".join(text for text in (why, beside) if text)
    return f"{first} {capitalised(second)}." if second else first


def _why(revenue_share: float | None, share: float, figures: Sequence[FeatureFigure]) -> str:
    """What a customer of the segment spends beside the average one, and which explains more of it, how often they order
    or what their orders together are worth; "" where that is not known, or they spend as much."""
    often = next((one for one in figures if one.feature == FREQUENCY), None)
    if not revenue_share or often is None or min(often.mean, often.population_mean) <= 0:
        return ""
    spend, orders = revenue_share / share, often.mean / often.population_mean
    if abs(spend - 1) < _WORTH_TELLING:
        return ""
    causes = [
        (orders, f"they order {_compared(orders, 'often')}"),
        (spend / orders, f"their orders are worth {_compared(spend / orders, '')}"),
    ]
    # the other is not told: a mean of all orders may lie on another side than that of the customers' own means
    _, main = max(causes, key=lambda cause: abs(math.log(cause[0])))
    return f"they spend {_compared(spend, '')} than the average customer, mostly because {main}"


def _compared(ratio: float, how: str) -> str:
    """97 % more, 75 % less often, about as often."""
    if abs(ratio - 1) < _AS_GOOD_AS_EQUAL:
        return f"about as {how or 'much'}"
    return f"{percent(abs(ratio - 1))} {'more' if ratio > 1 else 'less'} {how}".strip()


def _notable(figures: Sequence[FeatureFigure], most: int) -> list[FeatureFigure]:
    """Those that differ most from the population; of several about one category, which have one figure, the first."""
    ranked = sorted(figures, key=lambda one: -_relative_difference(one))
    different = {one.category or one.feature: one for one in reversed(ranked)}
    return [one for one in ranked if one in different.values() and _relative_difference(one) >= _WORTH_TELLING][:most]


def _relative_difference(one: FeatureFigure) -> float:
    """How far the mean lies from the population's, as a ratio in either direction; 0 = the same."""
    if one.mean > 0 and one.population_mean > 0:
        ratio = one.mean / one.population_mean
        return max(ratio, 1.0 / ratio) - 1.0
    size = max(abs(one.mean), abs(one.population_mean))
    return abs(one.mean - one.population_mean) / size if size > 0 else 0.0


def _in_words(told: Sequence[FeatureFigure], one_of_them: str) -> str:
    """What the average customer did, and then what all of them spent their money on, which is no average of customers;
    "" of nothing. one_of_them : who did, in words."""
    deeds: dict[bool, list[str]] = {False: [], True: []}
    for one in sorted(told, key=lambda one: bool(one.category)):
        of_whom = "" if any(deeds.values()) else "all customers: "
        of_all = percent(one.population_mean) if is_share(one.feature, one.unit) else figure(one.population_mean)
        did = deed(one.feature, one.mean, one.unit, one.category)
        did = did.removeprefix(f"{TOGETHER} ") if deeds[True] else did
        deeds[bool(one.category)].append(f"{did} ({of_whom}{of_all})")
    average = f"{one_of_them} {listed(deeds[False])}" if deeds[False] else ""
    together = f"they {listed(deeds[True])}" if deeds[True] else ""
    return "; ".join(text for text in (average, together) if text)
