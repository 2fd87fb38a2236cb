"""Figures and features in plain words, one way wherever people read them."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from segment_pipeline.config.order_features import ORDER_FEATURES

if TYPE_CHECKING:
    from segment_pipeline.config.source import Feature

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


def points(change: float) -> str:
    """A change of a share in percentage points, with its sign: 0.05 -> +5.0."""
    return f"{100 * change:+z.1f}"


def better(gain: float, decimals: int) -> str:
    """A difference in log-likelihood, which nobody has to read a sign of: 0.17 nats better, 0.17 nats worse."""
    return f"{abs(gain):.{decimals}f} nats {'better' if gain >= 0 else 'worse'}"


Kind = Literal["category", "share", "count", "days since", "measure"]
"""What a feature of the user's own counts, as far as its name in a segment depends on it."""

_TRAITS: dict[Kind, tuple[str, str, str, str]] = {
    "category": ("hardly any {}", "little {}", "a lot of {}", "a great deal of {}"),
    "share": ("very small {} share", "small {} share", "large {} share", "very large {} share"),
    "count": ("very few {}", "few {}", "many {}", "very many {}"),
    "days since": ("{} very recently", "{} recently", "{} long ago", "{} very long ago"),
    "measure": ("very low {}", "low {}", "high {}", "very high {}"),
}
"""What a segment is whose mean is far below, below, above, far above the population's: of such a thing."""


_A_COUNT = re.compile(r"count\s*\([^()]*\)(\s*filter\s*\([^()]*\))?$", re.IGNORECASE)


def kind_of(feature: "Feature") -> Kind:
    """Which of them a feature is that the file declares."""
    if feature.category is not None:
        return "category"
    if feature.of_events is not None and feature.of_events.value in ("count", "active_days"):
        return "count"
    if feature.of_lines is not None and _A_COUNT.match(feature.of_lines.strip()):
        return "count"
    return "share" if feature.unit == "share" else _kind_by_name(feature.name)


def _kind_by_name(feature: str) -> Kind:
    if feature.startswith("days_since_"):
        return "days since"
    return "share" if feature.endswith("_share") else "measure"


def traits_of(feature: str, kind: Kind | None = None) -> tuple[str, str, str, str]:
    """What a segment is whose mean is far below, below, above, far above the population's. kind : where the file tells
    it (`kind_of`); otherwise as the name has it."""
    if feature in ORDER_FEATURES:
        return ORDER_FEATURES[feature].words.traits
    kind = kind or _kind_by_name(feature)
    thing = readable(feature)
    if kind == "days since":
        thing = readable(feature.removeprefix("days_since_"))
    if kind in ("category", "share"):
        thing = readable(re.sub("_(share|ratio)$", "", feature))
    far_below, below, above, far_above = (trait.format(thing) for trait in _TRAITS[kind])
    return far_below, below, above, far_above


def all_traits_of(feature: str) -> list[str]:
    """Every word that a segment's name may have for a feature, whatever the file said of it when the name was given."""
    return [trait for kind in _TRAITS for trait in traits_of(feature, kind)]


def is_share(feature: str, unit: str) -> bool:
    """Whether its values are parts of a whole, 0..1, as its unit has it or, without one, its name."""
    return unit == "share" or (unit in ("", "0..1") and _kind_by_name(feature) == "share")


TOGETHER = "together spent"


def deed(feature: str, value: float, unit: str, category: str = "") -> str:
    """What a customer with this value did, as a verb and a figure in original units: as a feature of order lines is
    declared, any other as what it is. category : where the value is the share of what several spent, put together, that
    is on it: no customer's own, nor the mean of theirs."""
    if category:
        return f"{TOGETHER} {percent(value)} on {category}"
    if feature in ORDER_FEATURES:
        declared, said = ORDER_FEATURES[feature], figure(value)
        money = f" {unit}" if declared.is_money and unit else ""
        return (declared.words.deed_of_one if said == "1" else declared.words.deed).format(said + money)
    if is_share(feature, unit):
        thing = readable(re.sub("_(share|ratio)$", "", feature))
        return f"has {'an' if thing[:1].lower() in 'aeiou' else 'a'} {thing} share of {percent(value)}"
    if _kind_by_name(feature) == "days since" and unit in ("", "days"):
        days = "day" if figure(value) == "1" else "days"
        return f"had its {readable(feature.removeprefix('days_since_'))} {figure(value)} {days} ago"
    if unit in (feature, readable(feature)):
        return f"has {figure(value)} {unit}"
    said = f"has {readable(feature)} {figure(value)} {unit}".rstrip()
    for many, one in _ONE_OF.items():
        said = said.replace(f" 1 {many}", f" 1 {one}")
    return said


def counted(number: int, thing: str = "customer") -> str:
    """So many customers, or other things whose plural is an s."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def agreeing(number: int, one: str, several: str) -> str:
    """The word that goes with so many things: one month stands, two stand."""
    return one if number == 1 else several


ROLE_WORDS = {"engaged": "engaged", "casual": "casual", "at_risk": "at risk", "dormant": "dormant"}

ROLE_NOUNS = {
    "engaged": "Loyal regulars",
    "casual": "Occasional customers",
    "at_risk": "Slipping regulars",
    "dormant": "Sleeping customers",
}
"""What a marketer calls the customers of a role."""

ROLE_NOUNS_OF_ONE_ORDER = {
    **ROLE_NOUNS,
    "engaged": "Recent one-order customers",
    "casual": "One-order customers",
    "at_risk": "Slipping one-order customers",
}
"""The same where most of them have ordered once: nobody is a regular of one order."""


RARE_CUSTOMERS = "Rare customers"
"""What casual ones are called who order far less often than all, and more than once."""


def listed(things: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; nothing of nothing."""
    *others, last = things or [""]
    return f"{', '.join(others)} and {last}" if others else last


def readable(feature: str) -> str:
    return feature.replace("_", " ").strip() or feature


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
