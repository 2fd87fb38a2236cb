"""Panels: what a table of customer-months says of each customer in each month, and what contradicts itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.mixture.chain import panel as core
from segment_pipeline.mixture.chain.panel import BEFORE, LAPSED, MISSING, SEEN, Panel


def small() -> Panel:
    """Three customers: one of always, one new in the second month who lapses, one who was there before and returns."""
    return Panel.of(
        np.array([0, 0, 0, 1, 2]),
        np.array([2, 0, 1, 1, 2]),
        np.array([[3.0], [1.0], [2.0], [10.0], [20.0]]),
        first_months=np.array([-1, 1, -5]),
        n_months=3,
    )


def test_a_month_without_a_row_is_before_it_is_known_or_lapsed() -> None:
    panel = small()
    assert panel.states.tolist() == [[SEEN, SEEN, SEEN], [BEFORE, SEEN, LAPSED], [BEFORE, BEFORE, SEEN]]
    assert panel.is_new.tolist() == [False, True, False]
    assert panel.rows[:, 0].tolist() == [1.0, 2.0, 3.0, 10.0, 20.0]


def test_a_rejected_month_is_missing_and_not_lapsed() -> None:
    panel = Panel.of(
        np.array([0]),
        np.array([0]),
        np.array([[1.0]]),
        first_months=np.array([-1, 2]),
        n_months=3,
        missing=(np.array([0, 1]), np.array([1, 2])),
    )
    assert panel.states.tolist() == [[SEEN, MISSING, LAPSED], [BEFORE, BEFORE, MISSING]]


def test_a_row_before_the_first_order_wins_over_that_date() -> None:
    panel = Panel.of(np.array([0]), np.array([0]), np.array([[1.0]]), first_months=np.array([2]), n_months=3)
    assert panel.states.tolist() == [[SEEN, LAPSED, LAPSED]]


def test_taking_customers_and_months_keeps_their_rows() -> None:
    panel = small()
    assert panel.take(np.array([2, 0])).rows[:, 0].tolist() == [20.0, 1.0, 2.0, 3.0]
    assert panel.take(np.array([False, True, False])).states.tolist() == [[BEFORE, SEEN, LAPSED]]
    assert panel.until(2).rows[:, 0].tolist() == [1.0, 2.0, 10.0]
    with pytest.raises(ValueError, match="from 1 to 3"):
        panel.until(4)


def test_a_first_order_that_was_delivered_late_is_missing_and_one_after_the_panel_is_of_nobody_yet() -> None:
    """The customer of number 0 ordered first in the panel's first month, number 1 in its last, number 2 after it."""
    panel = Panel.of(
        np.array([0, 1, 3]),
        np.array([1, 2, 0]),
        np.array([[1.0], [2.0], [3.0]]),
        first_months=np.array([0, 1, 3, -1]),
        n_months=3,
    )
    assert panel.states.tolist() == [
        [MISSING, SEEN, LAPSED],
        [BEFORE, MISSING, SEEN],
        [BEFORE, BEFORE, BEFORE],
        [SEEN, LAPSED, LAPSED],
    ]
    assert panel.is_new.tolist() == [True, True, True, False]


def test_who_was_a_customer_the_month_before_is_known() -> None:
    panel = small()
    assert panel.known_before.tolist() == [False, True, True, False, False]
    assert panel.months_of_rows.tolist() == [0, 1, 2, 1, 2]
    assert panel.customers_of_rows.tolist() == [0, 0, 0, 1, 2]


def test_the_variance_of_a_rounded_value_stays_with_its_row() -> None:
    rows = np.array([[3.0], [1.0], [2.0], [10.0], [20.0]])
    panel = Panel.of(
        np.array([0, 0, 0, 1, 2]),
        np.array([2, 0, 1, 1, 2]),
        rows,
        first_months=np.array([-1, 1, -5]),
        n_months=3,
        rounding_variance=rows / 100,
    )
    for one in (panel, panel.take(np.array([2, 0])), panel.take(np.array([], dtype=int)), panel.until(2)):
        assert one.rounding_variance is not None
        np.testing.assert_array_equal(one.rounding_variance, one.rows / 100)
    with pytest.raises(ValueError, match="rounding_variance must have the shape of rows"):
        Panel(panel.states, panel.rows, panel.is_new, rows[:4])


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 6), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_the_chunks_hold_every_row_once_in_the_order_of_months(seed: int, n: int, months: int, size: int) -> None:
    random = np.random.default_rng(seed)
    states = random.choice([SEEN, LAPSED, MISSING], size=(n, months)).astype(np.int8)
    rows = np.nonzero(states == SEEN)[1][:, None].astype(float)
    panel = Panel(states, rows, np.zeros(n, dtype=bool))
    chunks = list(panel.chunks(size))
    assert sorted(np.concatenate([chunk.order for chunk in chunks]).tolist()) == list(range(len(rows)))
    for chunk in chunks:
        of_row = rows[chunk.order, 0]
        assert (np.diff(of_row) >= 0).all()
        for t, month in enumerate(chunk.months):
            assert (of_row[month.rows] == t).all()
            assert month.rows.stop - month.rows.start == (states[chunk.first : chunk.last, t] == SEEN).sum()


def test_a_small_panel_is_built_once_and_a_large_one_for_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows of one feature, whose phi has three numbers."""
    monkeypatch.setattr(core, "_KEPT_NUMBERS", 15)
    kept = small().for_passes
    monkeypatch.setattr(core, "_KEPT_NUMBERS", 14)
    built = small().for_passes
    for rows, same in ((kept, True), (built, False)):
        (first,), (second,) = ([build() for build in rows.chunks()] for _ in range(2))
        assert (first[1] is second[1]) == same
        np.testing.assert_array_equal(first[1].X, [[1.0], [2.0], [10.0], [3.0], [20.0]])
        assert rows.center == 36 / 5


@pytest.mark.parametrize(
    ("states", "rows", "is_new", "message"),
    [
        ([[SEEN, BEFORE]], [[1.0]], [False], "BEFORE may not follow another state"),
        ([[SEEN, SEEN]], [[1.0]], [False], "2 customer-months are SEEN, but rows has shape"),
        ([[SEEN]], [[np.nan]], [False], "rows must be finite"),
        ([[7]], np.empty((0, 1)), [False], "states must be of BEFORE, SEEN, LAPSED and MISSING"),
        ([[SEEN]], [[1.0]], [False, True], "is_new has shape"),
        ([[BEFORE, LAPSED]], np.empty((0, 1)), [True], "cannot be LAPSED in its first month"),
    ],
)
def test_a_panel_that_contradicts_itself_is_refused(states, rows, is_new, message) -> None:
    with pytest.raises(ValueError, match=message):
        Panel(np.array(states, dtype=np.int8), np.array(rows, dtype=float), np.array(is_new))
