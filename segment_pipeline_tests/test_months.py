"""Closed months: parsing, arithmetic, and the instant at which a month's features stop looking."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.months import add_months, as_of, month_key, month_range, months_between, parse_month

# as_of of 9999-12 would be the year 10000; the configuration stops long before
months = st.dates(date(1900, 1, 1), date(2199, 12, 31)).map(lambda day: day.replace(day=1))
counts = st.integers(-1200, 1200)


def test_a_month_is_the_date_of_its_first_day() -> None:
    assert parse_month("2017-03") == date(2017, 3, 1)
    assert month_key(date(2017, 3, 1)) == "2017-03"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "2017",
        "2017-3",
        "2017-03-01",
        "2017-13",
        "2017-00",
        "17-03",
        "2017/03",
        "201703",
        "0000-01",
        " 2017-03",
        "2017-03 ",
        "2017-0x",
        "-2017-03",
        "2017--3",
        "2017-+3",
        "month",
    ],
)
def test_anything_else_is_not_a_month(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_month(key)


@given(months)
def test_keys_and_months_are_the_same_thing(month: date) -> None:
    assert parse_month(month_key(month)) == month


@given(months, months)
def test_keys_sort_as_months_do(a: date, b: date) -> None:
    assert (month_key(a) < month_key(b)) == (a < b)


@given(months, counts)
def test_adding_months_and_counting_them_are_inverse(month: date, count: int) -> None:
    later = add_months(month, count)
    assert later.day == 1
    assert months_between(month, later) == count
    assert add_months(later, -count) == month


def test_the_year_turns_after_december() -> None:
    assert add_months(date(2017, 12, 1), 1) == date(2018, 1, 1)
    assert add_months(date(2017, 1, 1), -1) == date(2016, 12, 1)


@given(months)
def test_as_of_is_the_day_after_the_months_last_day(month: date) -> None:
    last_day = as_of(month) - timedelta(days=1)
    assert (last_day.year, last_day.month) == (month.year, month.month)
    assert as_of(month).day == 1


@given(months, st.integers(0, 40))
def test_a_range_holds_both_ends_and_every_month_between(first: date, count: int) -> None:
    found = month_range(first, add_months(first, count))
    assert len(found) == count + 1
    assert [months_between(first, month) for month in found] == list(range(count + 1))


def test_a_range_that_ends_before_it_starts_is_empty() -> None:
    assert month_range(date(2017, 3, 1), date(2017, 2, 1)) == []
