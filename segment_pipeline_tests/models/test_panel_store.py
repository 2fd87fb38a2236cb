"""The months up to one as a panel: who is seen, lapsed, unknown or yet to come, whatever the warehouse looks like."""

from collections.abc import Iterator, Sequence
from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.chain.customer_months import CustomerMonths
from segment_pipeline.mixture.chain.panel import BEFORE, LAPSED, MISSING, SEEN
from segment_pipeline.models.panel_store import read_customer_months
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES

FIRST = date(2023, 1, 1)
STATES = {".": BEFORE, "s": SEEN, "l": LAPSED, "m": MISSING}


class Months:
    """A warehouse written by hand; month 0 is January 2023."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        prepare(connection, TABLES, ("x", "y"))

    def seen(self, customer: str, months: Sequence[int], *, first_seen: date | None = None, y: float | None = 2.0):
        for month in months:
            at = add_months(FIRST, month)
            self.connection.execute(
                "INSERT INTO validated_features BY NAME SELECT ? AS month, ? AS customer_id, ? AS x, ? AS y",
                [at, customer, float(month), y],
            )
            self._raw(customer, at, first_seen)

    def rejected(self, customer: str, months: Sequence[int], *, first_seen: date | None = None):
        for month in months:
            at = add_months(FIRST, month)
            self.connection.execute(
                "INSERT INTO rejected_customers BY NAME SELECT ? AS month, ? AS customer_id, ['odd'] AS reasons",
                [at, customer],
            )
            self._raw(customer, at, first_seen)

    def past(self, customer: str, months: Sequence[int], *, first_seen: date | None = None, rejected: bool = False):
        for month in months:
            self.connection.execute(
                "INSERT INTO past_features BY NAME SELECT ? AS month, ? AS customer_id, ? AS first_seen, "
                "? AS rejected, ? AS x, ? AS y",
                [add_months(FIRST, month), customer, first_seen, rejected, *([None] * 2 if rejected else [month, 2])],
            )

    def _raw(self, customer: str, month: date, first_seen: date | None) -> None:
        self.connection.execute(
            "INSERT INTO raw_customers BY NAME SELECT ? AS month, ? AS customer_id, ? AS first_seen",
            [month, customer, first_seen],
        )

    def read(self, month: int, *, months: int = 12, sample: int = 1000) -> CustomerMonths | None:
        return read_customer_months(self.connection, add_months(FIRST, month), ("x", "y"), months, sample)


@pytest.fixture
def warehouse() -> Iterator[Months]:
    with duckdb.connect() as connection:
        yield Months(connection)


def states(found: CustomerMonths | None) -> dict[str, str]:
    """Customer -> a letter for each month."""
    assert found is not None
    letters = {state: letter for letter, state in STATES.items()}
    return {
        str(customer): "".join(letters[int(state)] for state in row)
        for customer, row in zip(found.ids, found.panel.states, strict=True)
    }


def test_what_is_known_of_each_customer_in_each_month(warehouse: Months) -> None:
    long_ago = date(2020, 5, 5)
    warehouse.past("old", [0, 1], first_seen=long_ago)
    warehouse.past("odd then", [0], first_seen=long_ago, rejected=True)
    warehouse.seen("old", [2, 4], first_seen=long_ago)
    warehouse.seen("odd then", [2, 3, 4], first_seen=long_ago)
    warehouse.rejected("old", [3], first_seen=long_ago)
    warehouse.seen("new", [3, 4], first_seen=date(2023, 4, 30))
    warehouse.rejected("never", [2, 3, 4], first_seen=long_ago)
    found = warehouse.read(4)
    assert states(found) == {"new": "...ss", "odd then": "mlsss", "old": "sssms"}
    assert found is not None
    assert found.panel.is_new.tolist() == [True, False, False]
    assert found.months_known == 5
    # customer by customer and month by month, each with its own features
    np.testing.assert_array_equal(found.panel.rows[:, 0], [3, 4, 2, 3, 4, 0, 1, 2, 4])
    np.testing.assert_array_equal(found.last_features[:, 0], [4, 4, 4])
    assert found.ids[found.last].tolist() == ["new", "odd then", "old"]


def test_it_reaches_back_so_many_months_and_never_beyond_its_own(warehouse: Months) -> None:
    warehouse.seen("a", range(8), first_seen=date(2023, 1, 5))
    warehouse.seen("b", range(5, 8), first_seen=date(2023, 6, 5))
    found = warehouse.read(5, months=3)
    assert states(found) == {"a": "sss", "b": "..s"}
    assert found is not None
    assert found.panel.is_new.tolist() == [False, True]


def test_a_history_that_is_shorter_than_the_memory_begins_with_its_first_month(warehouse: Months) -> None:
    warehouse.seen("a", [3, 4], first_seen=date(2023, 4, 1))
    found = warehouse.read(4, months=12)
    assert states(found) == {"a": "ss"}
    assert found is not None
    assert found.months_known == 2


def test_it_begins_after_a_month_that_is_missing_for_everybody(warehouse: Months) -> None:
    warehouse.seen("a", [0, 1, 3, 4], first_seen=date(2020, 1, 1))
    warehouse.seen("b", [3, 4], first_seen=date(2023, 3, 9))  # its first order fell into the gap
    found = warehouse.read(4)
    assert states(found) == {"a": "ss", "b": "ss"}
    assert found is not None
    assert (found.months_known, found.panel.n_months) == (2, 2)


def test_a_customer_with_one_month_is_one(warehouse: Months) -> None:
    warehouse.seen("a", [0, 1, 2], first_seen=date(2020, 1, 1))
    warehouse.seen("once", [1], first_seen=date(2023, 2, 1))
    assert states(warehouse.read(2)) == {"a": "sss", "once": ".sl"}


def test_a_first_order_that_was_delivered_late_is_not_known(warehouse: Months) -> None:
    warehouse.seen("a", [0, 1, 2], first_seen=date(2020, 1, 1))
    warehouse.seen("late", [2], first_seen=date(2023, 1, 20))
    found = warehouse.read(2)
    assert states(found) == {"a": "sss", "late": "mls"}


def test_where_the_source_does_not_tell_a_customer_is_new_when_it_is_first_there(warehouse: Months) -> None:
    warehouse.seen("a", [0, 1, 2])
    warehouse.seen("b", [1, 2])
    found = warehouse.read(2)
    assert states(found) == {"a": "sss", "b": ".ss"}
    assert found is not None
    assert found.panel.is_new.tolist() == [False, True]
    shorter = warehouse.read(2, months=1)  # both were there before it begins
    assert shorter is not None
    assert shorter.panel.is_new.tolist() == [False, False]


def test_the_panel_begins_after_the_last_month_that_lacks_a_feature(warehouse: Months) -> None:
    warehouse.past("a", [0])
    warehouse.seen("a", [1, 2], y=None)
    warehouse.seen("a", [3, 4, 5])
    warehouse.seen("b", [2], y=None)
    warehouse.seen("b", [3, 4, 5])
    assert states(warehouse.read(5)) == {"a": "sss", "b": "sss"}


def test_a_month_that_lacks_a_feature_has_no_panel(warehouse: Months) -> None:
    warehouse.seen("a", [0, 1, 2])
    warehouse.seen("b", [2], y=None)
    assert warehouse.read(2) is None
    assert warehouse.read(3) is None
    assert read_customer_months(warehouse.connection, FIRST, ("x", "unheard_of"), 12, 100) is None


def test_of_many_customers_whole_ones_are_drawn_and_always_the_same(warehouse: Months) -> None:
    for number in range(200):
        warehouse.seen(f"c{number}", [0, 1, 2], first_seen=date(2020, 1, 1))
    few, again = warehouse.read(2, sample=150), warehouse.read(2, sample=150)
    assert few is not None
    assert again is not None
    assert 100 < len(few.panel.rows) < 200
    assert set(states(few).values()) == {"sss"}
    np.testing.assert_array_equal(few.ids, again.ids)
    later = warehouse.read(1, sample=100)
    assert later is not None
    assert set(later.ids) <= set(few.ids)
