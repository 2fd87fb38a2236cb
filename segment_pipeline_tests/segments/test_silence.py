"""What customers of each silence do next, counted in the warehouse, is what NumPy counts; and who cannot lapse."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline.config.config import parse_config
from segment_pipeline.config.model import TierSettings
from segment_pipeline.mixture.chain.memory import TYPICAL, Memory
from segment_pipeline.mixture.chain.panel import LAPSED, SEEN
from segment_pipeline.models.tables import SILENCE
from segment_pipeline.months import add_months, as_of
from segment_pipeline.segments.ahead.silence_store import (
    known_by_silence,
    silence_sql,
    silences,
    write_silence_dynamics,
)
from segment_pipeline.segments.assignments_store import write_assignments
from segment_pipeline.segments.memory_store import remember
from segment_pipeline_tests.segments.test_memory import (
    FIRST,
    JANUARY,
    MONTHS,
    PANEL,
    SECOND,
    SERVES,
    filled,
    known_to,
    rows_of,
)

WINDOW = 3
FILE = "name: shop\nfirst_month: 2023-01\nsource: {}\nfeatures:\n  - {{name: orders}}\n  - {{name: total_spend}}\n"
ORDERS = "{orders: {path: o.csv, customer_id: c, order_id: o, ordered_at: t, amount: a}}"
CONFIG = parse_config(FILE.format(ORDERS), Path("orders.yaml"))
READY_MADE = parse_config(FILE.format('{snapshots: {path: "{month}.csv", customer_id: id}}'), Path("rows.yaml"))
LAST = np.random.default_rng(4).integers(1, 92, PANEL.states.shape)
"""(n, T) days since the last order; of some it is not known."""
UNKNOWN = LAST % 17 == 5


def told(past: int = 0):
    """The warehouse of test_memory, which also knows when each customer last ordered."""
    connection = filled(past=past)
    rows = [
        (add_months(JANUARY, t), f"c{customer:04d}", None if UNKNOWN[customer, t] else float(LAST[customer, t]))
        for customer in range(len(LAST))
        for t in range(MONTHS)
    ]
    connection.execute("CREATE TEMP TABLE last_orders (month DATE, customer_id VARCHAR, days DOUBLE)")
    connection.executemany("INSERT INTO last_orders VALUES (?, ?, ?)", rows)
    for table in ("raw_customers", "past_features"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN days_since_last_order DOUBLE")
        connection.execute(f"""
            UPDATE {table} SET days_since_last_order = days FROM last_orders AS l
            WHERE l.month = {table}.month AND l.customer_id = {table}.customer_id
        """)
    return connection


def run(connection, t: int, source=CONFIG):
    month, model = add_months(JANUARY, t), SERVES[t]
    remember(connection, model, month, 12)
    by_silence = write_silence_dynamics(connection, source, model, month)
    write_assignments(connection, model, month, TierSettings(), by_silence=by_silence)
    return by_silence


def silence_of(t: int) -> np.ndarray:
    """(n,) whole months since that of the last order, by the calendar."""
    month, end = add_months(JANUARY, t), as_of(add_months(JANUARY, t))
    ordered = [end - timedelta(days=int(days)) for days in LAST[:, t]]
    months = np.array([12 * (month.year - day.year) + month.month - day.month for day in ordered])
    return np.where(UNKNOWN[:, t], -1, np.minimum(months, WINDOW - 1))


def counted(model, until: int) -> np.ndarray:
    """(w, k, k + 1) the expected moves of the months up to this one, customer by customer."""
    T, known, k = model.memory.transitions, known_to(model), len(model.segments)
    moves = np.zeros((WINDOW, k, k + 1))
    for t in range(1, until + 1):
        for customer, silence in enumerate(silence_of(t - 1)):
            if PANEL.states[customer, t - 1] != SEEN or silence < 0:
                continue
            before, now = known[customer, t - 1, :k], known[customer, t, :k]
            if PANEL.states[customer, t] == SEEN:
                pair = before[:, None] * T[:k, :k] / (before @ T[:k, :k]) * now
                moves[silence, :, :k] += pair
            elif PANEL.states[customer, t] == LAPSED:
                moves[silence, :, k] += before * T[:k, k] / (before @ T[:k, k])
    return moves


@pytest.mark.parametrize("past", [0, 4])
def test_the_moves_of_each_silence_are_those_of_the_filter(past):
    with told(past) as connection:
        for t in range(past, MONTHS):
            found = run(connection, t)
            model = SERVES[t]
            if model.memory is None:
                assert found is None
                continue
            expected = counted(model, t)
            np.testing.assert_allclose(found.transitions, model.memory.by_silence(expected), atol=1e-9)
            rows = connection.execute(
                "SELECT months_silent, from_state, to_state, customers, probability FROM silence_dynamics "
                "WHERE month = ? AND model_version = ?",
                [add_months(JANUARY, t), model.model_version],
            ).fetchall()
            states = [*map(str, model.segment_ids), "lapsed"]
            assert len(rows) == expected.size
            for silence, before, now, customers, probability in rows:
                a, b = states.index(before), states.index(now)
                assert customers == pytest.approx(expected[silence, a, b], abs=1e-6)
                assert probability == found.transitions[silence, a, b]
            again = known_by_silence(connection, CONFIG, model, add_months(JANUARY, t))
            assert np.array_equal(again.transitions, found.transitions)


def test_an_assignment_expects_what_customers_of_its_silence_did():
    with told() as connection:
        for t in range(MONTHS):
            found = run(connection, t)
        t, T = MONTHS - 1, SECOND.memory.transitions
        rows = rows_of(connection, "monthly_assignments", t)
        for customer, silence in enumerate(silence_of(t)):
            row = rows.get(f"c{customer:04d}")
            if row is None:
                continue
            transitions = T if silence < 0 else found.transitions[silence]
            ahead = [*row["next_probabilities"], row["next_lapse_probability"]]
            np.testing.assert_allclose(ahead, [*row["probabilities"], 0.0] @ transitions, atol=1e-12)
            assert sum(ahead) == pytest.approx(1, abs=1e-12)


def content(connection) -> list[list[tuple]]:
    tables = ("silence_dynamics", "monthly_assignments")
    return [connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables]


def test_a_month_that_is_run_again_expects_the_same_to_the_bit():
    with told() as connection:
        for t in range(MONTHS):
            run(connection, t)
        before = content(connection)
        for t in (MONTHS - 2, MONTHS - 1):
            run(connection, t)
        assert content(connection) == before


def test_a_warehouse_of_before_counts_the_months_that_its_champion_remembers():
    with told() as connection:
        for t in range(MONTHS - 1):
            run(connection, t)
        connection.execute("DELETE FROM silence_dynamics")
        found = run(connection, MONTHS - 1)
    expected = SECOND.memory.by_silence(counted(SECOND, MONTHS - 1))
    np.testing.assert_allclose(found.transitions, expected, atol=1e-9)


def test_ready_made_customers_are_expected_to_do_what_all_do():
    with told() as connection:
        for t in range(3):
            assert run(connection, t, READY_MADE) is None
        assert connection.execute("SELECT count(*) FROM silence_dynamics").fetchone() == (0,)
        row = next(iter(rows_of(connection, "monthly_assignments", 2).values()))
        ahead = [*row["next_probabilities"], row["next_lapse_probability"]]
        np.testing.assert_allclose(ahead, [*row["probabilities"], 0.0] @ FIRST.memory.transitions, atol=1e-9)


@pytest.mark.parametrize("window", [1, 2, 3, 12, 13, 120])
def test_only_who_last_ordered_in_the_first_month_of_the_window_has_the_last_silence(window):
    month = date(2024, 3, 1)
    with told() as connection:
        connection.execute("DELETE FROM past_features; DELETE FROM raw_customers")
        first = add_months(month, 1 - window)
        days = (as_of(month) - first).days
        connection.execute(
            "INSERT INTO raw_customers (month, customer_id, days_since_last_order) "
            "SELECT DATE '2024-03-01', CAST(d AS VARCHAR), d FROM range(1, ? + 1) AS t(d)",
            [days],
        )
        found = connection.execute(
            f"SELECT CAST(customer_id AS INTEGER), {SILENCE} FROM ({silence_sql(window, month)})"
        )
        positions = dict(found.fetchall())
    least = list(silences(window))
    for since, position in positions.items():
        ordered = as_of(month) - timedelta(days=since)
        months = 12 * (month.year - ordered.year) + month.month - ordered.month
        assert position == max(place for place, one in enumerate(least) if one <= months)
        assert (position == len(least) - 1) == (ordered < add_months(first, 1))


MEMORY = Memory(
    np.array([0.5, 0.5]), np.array([0.4, 0.4, 0.2]), np.array([[0.8, 0.1, 0.1], [0.0, 0.0, 1.0], [0.2, 0.1, 0.7]])
)


def test_who_cannot_lapse_goes_on_as_those_who_stay():
    moves = np.zeros((2, 2, 3))
    moves[1, 0] = [10.0, 0.0, 30.0]
    found = MEMORY.by_silence(moves)
    np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-15)
    np.testing.assert_allclose(found[0, 0], [8 / 9, 1 / 9, 0.0])
    np.testing.assert_allclose(found[0, 1], [0.5, 0.5, 0.0])  # of those of whom all lapse, nothing tells where
    np.testing.assert_allclose(found[1, 0, 2], (30.0 + TYPICAL * 0.75) / (40.0 + TYPICAL))
    np.testing.assert_allclose(found[1, 1, 2], 0.75)  # of a segment of which nobody was seen, as many as of all
    np.testing.assert_allclose(found[:, 2], [MEMORY.transitions[2]] * 2)


def test_without_a_move_silence_says_nothing():
    assert MEMORY.by_silence(np.zeros((3, 2, 3))).tolist() == [MEMORY.transitions.tolist()] * 3
