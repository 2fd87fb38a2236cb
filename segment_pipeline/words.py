"""Figures and features in plain words, one way wherever people read them."""

import math
from collections.abc import Sequence

from segment_pipeline.config.order_features import ORDER_FEATURES

_ONE_OF = {"days": "day", "orders": "order", "products": "product"}
"""Unit -> what one of it is called, where a feature is told by its unit."""

_SMALLEST = 0.0001
"""Figures nearer to 0 are told as such: nobody reads 8.27e-07."""


def figure(value: float, digits: int = 2) -> str:
    """A figure with as many digits as a reader needs: 1,240; 84; 12.5; 0.031; under 0.0001.

    digits : how many tell something; from 10**digits on there are no decimals. What is not finite is unknown.
    """
    if not math.isfinite(value):
        return "unknown"
    size = abs(value)
    if 0 < size < _SMALLEST:
        return f"under {_SMALLEST}" if value > 0 else f"over -{_SMALLEST}"
    if size >= 10**digits or value == round(value):
        return f"{value:,.0f}"
    decimals = max(1, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def percent(share: float, decimals: int = 0) -> str:
    """A share, 0..1, in per cent; what is not all or nothing is not told as such: 21.5 %, under 1 %, over 99 %."""
    least, told = 10.0**-decimals, 100 * share
    if 0 < told < least:
        return f"under {least:.{decimals}f} %"
    return f"over {100 - least:.{decimals}f} %" if 100 - least < told < 100 else f"{told:.{decimals}f} %"


def measured(value: float, unit: str, feature: str = "") -> str:
    """A figure with its unit: 84, 24.9 days; a share in per cent. A unit that only repeats the feature is not told."""
    if unit == "share":
        return percent(value)
    return figure(value) + (f" {unit}" if unit and unit != feature else "")


def points(change: float) -> str:
    """A change of a share in percentage points, with its sign: 0.05 -> +5.0."""
    return f"{100 * change:+.1f}"


def traits_of(feature: str) -> tuple[str, str, str, str]:
    """What a segment is whose mean is far below, below, above, far above the population's."""
    if feature in ORDER_FEATURES:
        return ORDER_FEATURES[feature].words.traits
    what = readable(feature)
    return f"very low {what}", f"low {what}", f"high {what}", f"very high {what}"


def deed(feature: str, value: float, unit: str) -> str:
    """What a customer with this value did, as a verb and a figure in original units: as a feature of order lines is
    declared, any other by name and unit."""
    if feature in ORDER_FEATURES:
        declared, said = ORDER_FEATURES[feature], figure(value)
        money = f" {unit}" if declared.is_money and unit else ""
        return (declared.words.deed_of_one if said == "1" else declared.words.deed).format(said + money)
    said = f"has {readable(feature)} {measured(value, unit, feature)}"
    for many, one in _ONE_OF.items():
        said = said.replace(f" 1 {many}", f" 1 {one}")
    return said


def counted(number: int, thing: str = "customer") -> str:
    """So many customers, or other things whose plural is an s."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


ROLE_WORDS = {"engaged": "engaged", "casual": "casual", "at_risk": "at risk", "dormant": "dormant"}

ROLE_NOUNS = {
    "engaged": "Loyal regulars",
    "casual": "Occasional customers",
    "at_risk": "Slipping regulars",
    "dormant": "Sleeping customers",
}
"""What a marketer calls the customers of a role."""


def listed(things: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; nothing of nothing."""
    *others, last = things or [""]
    return f"{', '.join(others)} and {last}" if others else last


def readable(feature: str) -> str:
    return feature.replace("_", " ").strip() or feature


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
