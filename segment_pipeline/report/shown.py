"""How a value is shown on the page: one way for each kind of figure, wherever it stands."""

import math
from datetime import date
from decimal import Decimal
from typing import Any

from segment_pipeline import words

MISSING = "–"


def whole(value: Any) -> str:
    """1234.0 -> 1,234"""
    return MISSING if unknown(value) else f"{value:,.0f}"


def percent(value: Any, digits: int = 0) -> str:
    """0.256 -> 26 %"""
    return MISSING if unknown(value) else words.percent(value, digits)


def points(value: Any) -> str:
    """A change of a share, in percentage points: 0.05 -> +5.0"""
    return MISSING if unknown(value) else _with_minus(words.points(value))


def change(now: Any, before: Any) -> str:
    """How much more or less there is than before, in per cent: 110, 100 -> +10.0 %"""
    if unknown(now) or unknown(before) or before <= 0:
        return MISSING
    return _with_minus(f"{100 * (float(now) / float(before) - 1):+z.1f} %")


def figure(value: Any) -> str:
    """A number in as many digits as a reader needs; text, yes or no as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unknown(value):
        return MISSING
    return _with_minus(words.figure(value, 3))


def fixed(value: Any, digits: int = 2) -> str:
    """A number in a column of its kind: 0.9 -> 0.90"""
    return MISSING if unknown(value) else _with_minus(f"{float(value):z,.{digits}f}")


def spoken(value: str) -> str:
    """days_since_last_order -> days since last order"""
    return str(value).replace("_", " ")


def month_name(month: date) -> str:
    """December 2017"""
    return f"{month:%B} {month.year}"


def day_name(day: date) -> str:
    """2 March 2018"""
    return f"{day.day} {day:%B} {day.year}"


def unknown(value: Any) -> bool:
    return not isinstance(value, int | float | Decimal) or not math.isfinite(value)


def _with_minus(text: str) -> str:
    """With the minus that is as wide as a plus."""
    return text.replace("-", "−")
