"""Closed months. A month is the `datetime.date` of its first day; nothing here ever asks what day it is today."""

from datetime import date


def parse_month(key: str) -> date:
    """`"2017-03"` -> `date(2017, 3, 1)`. Raises ValueError for anything else."""
    year, separator, month = key.partition("-")
    if separator != "-" or len(year) != 4 or len(month) != 2 or not (year + month).isdigit():
        raise ValueError(f"{key!r} is not a month; write it as YYYY-MM, for example 2017-03")
    return date(int(year), int(month), 1)


def month_key(month: date) -> str:
    """`date(2017, 3, 1)` -> `"2017-03"`, the partition key."""
    return f"{month.year:04d}-{month.month:02d}"


def add_months(month: date, count: int) -> date:
    """The month `count` months later (earlier when negative)."""
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def months_between(earlier: date, later: date) -> int:
    """How many months `later` comes after `earlier`; negative when it comes before."""
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def month_range(first: date, last: date) -> list[date]:
    """Every month from `first` to `last`, both included; empty when `last` comes before `first`."""
    return [add_months(first, i) for i in range(months_between(first, last) + 1)]


def as_of(month: date) -> date:
    """The first instant of the month after: every feature of `month` uses only rows before it."""
    return add_months(month, 1)
