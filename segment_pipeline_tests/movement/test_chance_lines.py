"""A customer in random order is the same customer: its first day, gaps, orders and baskets, at other times."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from itertools import pairwise

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.movement.chance_lines_store import shuffle_lines

MONTH, END = date(2023, 5, 1), date(2023, 6, 1)

Line = tuple[str, int | None, datetime, float | None, int | None]
"""customer_id, order_id, ordered_at, amount, product_id."""

moments = st.builds(
    lambda days, minutes: datetime.combine(END, time()) - timedelta(days=days, minutes=minutes),
    st.integers(0, 800),
    st.integers(1, 24 * 60),
)
lines = st.lists(
    st.tuples(
        st.sampled_from(["a", "b/0", "c's", ""]),
        st.none() | st.integers(0, 30),
        moments,
        st.none() | st.integers(0, 10**6).map(lambda cents: cents / 100),
        st.none() | st.integers(0, 5),
    ),
    min_size=1,
    max_size=60,
)


def shuffled(
    given_lines: Iterable[Line], copies: int = 1, seed: int = 0, since: date = date.min, threads: int = 2
) -> list[Line]:
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute("""
            CREATE TEMP TABLE order_lines (customer_id VARCHAR, order_id INTEGER, ordered_at TIMESTAMP,
                amount DECIMAL(18, 4), product_id INTEGER, value VARCHAR, is_line BOOLEAN)
        """)
        rows = [[*line, None, True] for line in given_lines]
        connection.executemany("INSERT INTO order_lines VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        shuffle_lines(connection, MONTH, copies, seed, since)
        return connection.execute(
            "SELECT customer_id, order_id, ordered_at, amount, product_id FROM shuffled_lines ORDER BY ALL"
        ).fetchall()


def by_customer(of: Iterable[Line]) -> dict[str, list[Line]]:
    found = defaultdict(list)
    for line in of:
        found[line[0]].append(line)
    return found


def gaps(of: Iterable[Line]) -> Counter[timedelta]:
    days = sorted({line[2].date() for line in of})
    return Counter(later - earlier for earlier, later in pairwise([*days, END]))


def baskets(of: Iterable[Line]) -> Counter[tuple]:
    """What was bought on each day, and at what time."""
    days = defaultdict(list)
    for _, order_id, at, amount, product_id in of:
        days[at.date()].append((order_id, at.time(), float(amount or -1), product_id))
    return Counter(tuple(sorted(bought, key=str)) for bought in days.values())


@settings(max_examples=60, deadline=None)
@given(lines, st.integers(1, 3), st.integers(0, 99))
def test_every_copy_keeps_first_day_gaps_orders_and_baskets_and_nothing_lies_after_the_month(before, copies, seed):
    own, after = by_customer(before), by_customer(shuffled(before, copies, seed))
    assert set(after) == {f"{customer}/{copy}" for customer in own for copy in range(copies)}
    for name, now in after.items():
        then = own[name.rpartition("/")[0]]
        assert min(line[2].date() for line in now) == min(line[2].date() for line in then)
        assert max(line[2] for line in now) < datetime.combine(END, time())
        assert Counter(line[1] for line in now) == Counter(line[1] for line in then)
        assert gaps(now) == gaps(then)
        assert baskets(now) == baskets(then)


def one_a_day(days: Iterable[int], customer: str = "a") -> list[Line]:
    """An order on each of these days before the end, of as many cents as the days."""
    return [(customer, day, datetime.combine(END, time(9)) - timedelta(days=day), day / 100, None) for day in days]


@settings(max_examples=30, deadline=None)
@given(lines, st.dates(date(2021, 1, 1), END))
def test_lines_that_come_to_lie_before_a_day_are_left_out_but_for_the_first_days(before, since):
    first = {customer: min(line[2].date() for line in own) for customer, own in by_customer(before).items()}
    kept = [
        line
        for line in shuffled(before)
        if line[2].date() >= since or line[2].date() == first[line[0].rpartition("/")[0]]
    ]
    assert shuffled(before, since=since) == kept


def test_every_order_of_the_gaps_and_of_the_baskets_is_as_likely_as_any_other():
    """Three days give six orders of the gaps, and six of the baskets: 36 histories, of 7,200 each some 200."""
    before = one_a_day((100, 70, 10))
    found = Counter(
        tuple(sorted((at, float(amount)) for _, _, at, amount, _ in own))
        for own in by_customer(shuffled(before, copies=7200)).values()
    )
    assert len(found) == 36
    assert sum((count - 200) ** 2 / 200 for count in found.values()) < 66.6  # chi-square, 35 degrees, 0.001


def test_the_same_seed_gives_the_same_order_whatever_the_threads_and_another_one_another():
    before = [line for customer in "abcdefgh" for line in one_a_day(range(5, 305, 7), customer)]
    once = shuffled(before, copies=3)
    assert once == shuffled(before[::-1], copies=3, threads=1)
    assert once != shuffled(before, copies=3, seed=1)


@pytest.mark.parametrize("days", [(1,), (40,)])
def test_a_customer_of_one_day_stays_as_it_is(days):
    assert [line[1:3] for line in shuffled(one_a_day(days))] == [line[1:3] for line in one_a_day(days)]
