"""What champions with memory know, month after month in the warehouse, is what NumPy's filter knows; and who moved."""

from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.panel import BEFORE, MISSING, SEEN, Panel
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.assignments_store import reconciliation, write_assignments, write_transitions
from segment_pipeline.segments.memory_store import remember, remember_nobody
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated
from segment_pipeline_tests.models.test_scoring import random_memory

JANUARY, MONTHS, CUSTOMERS = date(2023, 1, 1), 7, 250
NAMES = ("visits", "spend")
SPACE = FeatureSpace(NAMES, ("none", "none"), (1.0, 1.0), np.array([1.0, -2.0]), np.array([2.0, 0.5]), np.ones(2))
ROLES = ("engaged", "dormant", "casual")
PANEL, _ = simulated(APART, QUIET, CUSTOMERS, MONTHS, seed=8, missing=0.1)


def champion(version: int, promoted: int, segment_ids: tuple[int, ...], memory) -> SegmentModel:
    """A model of these segments, of which APART has the shapes; promoted in the month of that number."""
    k = len(segment_ids)
    weights = APART.weights[:k] / APART.weights[:k].sum()
    mixture = Mixture(weights, APART.means[:k] + 0.1 * version, APART.covariances[:k])
    segments = tuple(Segment(i, f"segment {i}", role) for i, role in zip(segment_ids, ROLES, strict=False))
    return SegmentModel(version, add_months(JANUARY, promoted), SPACE, mixture, segments, -9.0, memory)


WITHOUT = champion(1, 0, (1, 2), None)
FIRST = champion(2, 2, (1, 2, 3), QUIET)
SECOND = champion(3, 4, (1, 3), random_memory(3, 2))
SERVES = (WITHOUT, WITHOUT, FIRST, FIRST, SECOND, SECOND, SECOND)


def filled(*, tells_first: bool = True, past: int = 0) -> duckdb.DuckDBPyConnection:
    """A warehouse with the customers of PANEL, and some whom nobody can name, up to the accepted and the rejected.

    tells_first : whether the source knows of a customer's first order. past : how many months lie before the first.
    """
    connection = duckdb.connect()
    prepare(connection, TABLES, NAMES)
    values = iter((PANEL.rows * SPACE.scale + SPACE.center).tolist())
    begins = (PANEL.states != BEFORE).argmax(axis=1)
    months = [add_months(JANUARY, t) for t in range(MONTHS)]
    raw, accepted, rejected, before = [], [], [], []
    for customer, states in enumerate(PANEL.states):
        first = months[begins[customer]] if PANEL.is_new[customer] else date(2022, 5, 17)
        for t, state in enumerate(states):
            row = (months[t], f"c{customer:04d}")
            features = next(values) if state == SEEN else [None, None]
            if state in {SEEN, MISSING} and t < past:
                before.append((*row, first if tells_first else None, bool(state == MISSING), *features))
            elif state in {SEEN, MISSING}:
                raw.append((*row, first if tells_first else None))
                (accepted if state == SEEN else rejected).append((*row, *features) if state == SEEN else row)
    for month in months[past:]:
        raw += [(month, None, None), (month, "  ", None)]
        rejected += [(month, None), (month, "  ")]
    for table, columns, rows in (
        ("raw_customers", "month, customer_id, first_seen", raw),
        ("validated_features", f"month, customer_id, {', '.join(NAMES)}", accepted),
        ("rejected_customers", "month, customer_id", rejected),
        ("past_features", f"month, customer_id, first_seen, rejected, {', '.join(NAMES)}", before),
    ):
        if rows:
            marks = ", ".join("?" for _ in rows[0])
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    return connection


def run(connection: duckdb.DuckDBPyConnection, t: int, months: int = 12) -> None:
    """The month of that number, as the assets run it."""
    month, model = add_months(JANUARY, t), SERVES[t]
    connection.execute("DELETE FROM model_versions WHERE trained_month = ?", [month])
    if model.trained_month == month:
        connection.execute(
            "INSERT INTO model_versions (model_version, trained_month) VALUES (?, ?)", [model.model_version, month]
        )
    remember(connection, model, month, months)
    write_assignments(connection, model, month, TierSettings())
    write_transitions(connection, SERVES[t - 1] if t else None, month, has_previous=t > 0)


def content(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    tables = ("monthly_assignments", "memory_states", "segment_dynamics", "transition_deltas", "transition_matrix")
    return {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables}


@pytest.fixture(scope="module")
def warehouse():
    with filled() as connection:
        for t in range(MONTHS):
            run(connection, t)
        yield connection


def rows_of(connection, table: str, t: int) -> dict[str, dict]:
    cursor = connection.execute(f"SELECT * FROM {table} WHERE month = ?", [add_months(JANUARY, t)])
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    found = {row["customer_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def known_to(model: SegmentModel, panel: Panel = PANEL) -> np.ndarray:
    """(n, T, k + 1) what the model knows of each customer, by NumPy."""
    return MarkovMixture.of(model.mixture, model.memory).filter(panel)


def states_of(connection, model: SegmentModel, t: int) -> dict[str, list[float]]:
    found = connection.execute(
        "SELECT customer_id, probabilities FROM memory_states WHERE model_version = ? AND month = ?",
        [model.model_version, add_months(JANUARY, t)],
    ).fetchall()
    assert len(dict(found)) == len(found)
    return dict(found)


def assert_knows(
    connection, model: SegmentModel, t: int, expected: np.ndarray, panel: Panel = PANEL, at: int = 0
) -> None:
    """expected : (n, T, k + 1), whose month `t` - `at` is that of `panel`."""
    found = states_of(connection, model, t)
    there = np.flatnonzero(np.isin(panel.states[:, t - at], (SEEN, MISSING)))
    assert set(found) == {f"c{customer:04d}" for customer in there}
    for customer in there:
        np.testing.assert_allclose(found[f"c{customer:04d}"], expected[customer, t - at], atol=1e-9)


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "months"), [(FIRST, range(2, 4)), (SECOND, range(7))])
def test_the_states_are_those_of_the_filter_before_and_after_the_promotion(warehouse, model, months):
    """Of a champion that has been replaced, the months before its promotion are not kept."""
    for t in months:
        assert_knows(warehouse, model, t, known_to(model))
    found = warehouse.execute(
        "SELECT DISTINCT month FROM memory_states WHERE model_version = ? ORDER BY 1", [model.model_version]
    ).fetchall()
    assert [month for (month,) in found] == [add_months(JANUARY, t) for t in months]


def test_a_new_champion_has_gone_over_the_months_before(warehouse):
    with filled() as connection:
        for t in range(3):
            run(connection, t)
        for t in range(3):
            assert_knows(connection, FIRST, t, known_to(FIRST))


def test_it_goes_back_as_far_as_it_is_told():
    later = Panel(
        PANEL.states[:, 3:],
        PANEL.rows[np.nonzero(PANEL.states == SEEN)[1] >= 3],
        PANEL.is_new & ((PANEL.states != BEFORE).argmax(axis=1) >= 3),
    )
    with filled() as connection:
        for t in range(6):
            run(connection, t, months=2)
        assert states_of(connection, SECOND, 2) == {}
        for t in (3, 4, 5):
            assert_knows(connection, SECOND, t, known_to(SECOND, later), later, at=3)


@pytest.mark.parametrize("past", [0, 2])
def test_where_the_source_cannot_tell_who_appears_after_the_first_month_is_new(past):
    seen = np.isin(PANEL.states, (SEEN, MISSING))
    first = np.where(seen.any(axis=1), seen.argmax(axis=1), MONTHS)
    states = np.where(np.arange(MONTHS) < first[:, None], BEFORE, PANEL.states).astype(np.int8)
    panel = Panel(states, PANEL.rows, (first > 0) & (first < MONTHS))
    with filled(tells_first=False, past=past) as connection:
        for t in range(2, 4):
            run(connection, t)
            assert_knows(connection, FIRST, t, known_to(FIRST, panel), panel)


def test_the_months_before_the_first_one_are_gone_over_as_well():
    with filled(past=4) as connection:
        for t in range(4, MONTHS):
            run(connection, t)
        for t in range(MONTHS):
            assert_knows(connection, SECOND, t, known_to(SECOND))


def test_a_month_of_another_feature_list_ends_the_way_back():
    later = Panel(
        PANEL.states[:, 2:],
        PANEL.rows[np.nonzero(PANEL.states == SEEN)[1] >= 2],
        PANEL.is_new & ((PANEL.states != BEFORE).argmax(axis=1) >= 2),
    )
    with filled(past=3) as connection:
        connection.execute(
            "UPDATE past_features SET spend = NULL WHERE customer_id = "
            "(SELECT min(customer_id) FROM past_features WHERE month = $month AND NOT rejected) AND month = $month",
            {"month": add_months(JANUARY, 1)},
        )
        run(connection, 4)
        assert states_of(connection, SECOND, 1) == {}
        for t in (2, 3, 4):
            assert_knows(connection, SECOND, t, known_to(SECOND, later), later, at=2)


def test_a_champion_that_lost_its_memory_goes_over_the_months_again():
    with filled() as connection:
        for t in range(6):
            run(connection, t)
        connection.execute("UPDATE memory_states SET probabilities = [0.5, 0.25, 0.25] WHERE model_version = 2")
        connection.execute("DELETE FROM memory_states WHERE month = ?", [add_months(JANUARY, 5)])
        run(connection, 6)
        assert_knows(connection, SECOND, 6, known_to(SECOND))


def test_a_month_that_is_run_again_has_the_same_bits(warehouse):
    before = content(warehouse)
    for t in (2, 5, 6):
        run(warehouse, t)
    run(warehouse, 4)  # takes back what the second run of 2, in which FIRST is promoted, went over
    assert content(warehouse) == before


def test_a_promotion_that_is_taken_back_leaves_nothing():
    with filled() as connection:
        for t in range(5):
            run(connection, t)
        remember(connection, FIRST, add_months(JANUARY, 4), 12)
        assert connection.execute("SELECT count(*) FROM segment_dynamics WHERE model_version = 3").fetchone() == (0,)
        assert_knows(connection, FIRST, 4, known_to(FIRST))


# --- assignments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", range(MONTHS))
def test_an_assignment_says_what_memory_what_the_month_and_what_the_next_month_say(warehouse, t):
    model, rows = SERVES[t], rows_of(warehouse, "monthly_assignments", t)
    here = np.flatnonzero(PANEL.states[:, t] == SEEN)
    assert set(rows) == {f"c{customer:04d}" for customer in here}
    positions = np.cumsum(PANEL.states == SEEN).reshape(PANEL.states.shape)[here, t] - 1
    month_only = model.mixture.responsibilities(PANEL.rows[positions])
    for customer, alone in zip(here, month_only, strict=True):
        row = rows[f"c{customer:04d}"]
        assert row["model_version"] == model.model_version
        if model.memory is None:
            np.testing.assert_allclose(row["probabilities"], alone, atol=1e-9)
            for name in ("month_only_probabilities", "next_probabilities", "next_lapse_probability"):
                assert row[name] is None
            continue
        now = known_to(model)[customer, t]
        np.testing.assert_allclose(row["probabilities"], now[:-1], atol=1e-9)
        np.testing.assert_allclose(row["month_only_probabilities"], alone, atol=1e-9)
        ahead = [*row["next_probabilities"], row["next_lapse_probability"]]
        np.testing.assert_allclose(ahead, now @ model.memory.transitions, atol=1e-9)
        assert sum(ahead) == pytest.approx(1, abs=1e-12)
        assert row["segment_id"] == model.segment_ids[int(np.argmax(row["probabilities"]))]


def test_the_dynamics_are_those_of_each_promoted_champion(warehouse):
    for model in (FIRST, SECOND):
        states = [*map(str, model.segment_ids), "lapsed"]
        found = warehouse.execute(
            "SELECT from_state, to_state, probability, expected_months, month FROM segment_dynamics "
            "WHERE model_version = ?",
            [model.model_version],
        ).fetchall()
        assert len(found) == len(states) ** 2
        for old, new, probability, months, month in found:
            a, b = states.index(old), states.index(new)
            assert probability == model.memory.transitions[a, b]
            assert months == (model.memory.expected_months[a] if a == b else None)
            assert month == model.trained_month
    assert warehouse.execute("SELECT count(*) FROM segment_dynamics WHERE model_version = 1").fetchone() == (0,)


# --- transitions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", range(1, MONTHS))
def test_the_moves_add_up_to_the_customers_of_both_months(warehouse, t):
    assert not any(reconciliation(warehouse, add_months(JANUARY, t)).values())


@pytest.mark.parametrize("t", range(1, 3))
def test_without_memory_nothing_is_expected(warehouse, t):
    rows = rows_of(warehouse, "transition_deltas", t)
    assert {row["moved_probability"] for row in rows.values()} == {None}
    expected = warehouse.execute(
        "SELECT DISTINCT expected FROM transition_matrix WHERE month = ?", [add_months(JANUARY, t)]
    )
    assert expected.fetchall() == [(None,)]


@pytest.mark.parametrize("t", range(3, MONTHS))
def test_movement_is_measured_with_the_memory_of_the_champion_of_the_month_before(warehouse, t):
    model, rows = SERVES[t - 1], rows_of(warehouse, "transition_deltas", t)
    known = known_to(model)
    moved = 0.0
    for customer in np.flatnonzero(np.isin(PANEL.states[:, t - 1 : t + 1], (SEEN, MISSING)).any(axis=1)):
        row = rows.pop(f"c{customer:04d}")
        assert row["model_version"] == model.model_version
        if (PANEL.states[customer, t - 1 : t + 1] != SEEN).any():
            assert row["moved_probability"] is None
            assert row["changes"] is None
            continue
        was, now = known[customer, t - 1, :-1], known[customer, t, :-1]
        assert row["from_segment_id"] == model.segment_ids[int(np.argmax(was))]
        assert row["to_segment_id"] == model.segment_ids[int(np.argmax(now))]
        np.testing.assert_allclose(row["changes"], now - was, atol=1e-9)
        joint = was[:, None] * model.memory.transitions[:-1, :-1] * now / (was @ model.memory.transitions[:-1, :-1])
        assert row["moved_probability"] == pytest.approx(1 - np.trace(joint), abs=1e-9)
        moved += row["moved_probability"]
    assert rows == {}
    assert moved > 0


@pytest.mark.parametrize("t", range(3, MONTHS))
def test_expected_moves_add_up_to_the_memberships_of_both_months(warehouse, t):
    """Of the month before as this month lets us see them, of this month as they stand in its scores."""
    model, month = SERVES[t - 1], add_months(JANUARY, t)
    known, k = known_to(model), len(model.segments)
    hindsight = MarkovMixture.of(model.mixture, model.memory).smooth(PANEL.until(t + 1))[:, t - 1]
    seen_before, seen_now = PANEL.states[:, t - 1] == SEEN, PANEL.states[:, t] == SEEN
    sums = {
        side: dict(
            warehouse.execute(
                f"SELECT {side}, sum(expected) FROM transition_matrix WHERE month = ? GROUP BY 1", [month]
            ).fetchall()
        )
        for side in ("from_state", "to_state")
    }
    for a, segment_id in enumerate(map(str, model.segment_ids)):
        assert sums["from_state"][segment_id] == pytest.approx(hindsight[seen_before, a].sum(), abs=1e-6)
        assert sums["to_state"][segment_id] == pytest.approx(known[seen_now, t, a].sum(), abs=1e-6)
    counted, expected, moves = warehouse.execute(
        "SELECT sum(customers), sum(expected), count(*) FROM transition_matrix WHERE month = ?", [month]
    ).fetchone()
    assert expected == pytest.approx(counted, abs=1e-6)
    assert moves >= k * k
    lapsed = warehouse.execute(
        "SELECT sum(customers), sum(expected) FROM transition_matrix WHERE month = ? AND to_state = 'lapsed'", [month]
    ).fetchone()
    assert lapsed[0] > 0
    assert lapsed[1] == pytest.approx(lapsed[0], abs=1e-6)


def test_a_month_in_which_nobody_is_seen_is_one_step_of_the_chain():
    def known(connection, t):
        rows = connection.execute(
            "SELECT customer_id, probabilities FROM memory_states WHERE month = ? AND model_version = 3 ORDER BY 1",
            [add_months(JANUARY, t)],
        ).fetchall()
        return [row[0] for row in rows], np.array([row[1] for row in rows])

    with filled() as connection:
        for t in range(MONTHS - 1):
            run(connection, t)
        remember_nobody(connection, SECOND, add_months(JANUARY, MONTHS - 1))
        remember_nobody(connection, WITHOUT, add_months(JANUARY, MONTHS))
        (who, before), (still, after) = known(connection, MONTHS - 2), known(connection, MONTHS - 1)
        assert who == still
        np.testing.assert_allclose(after, before @ SECOND.memory.transitions, rtol=1e-12)
        assert len(known(connection, MONTHS)[0]) == 0
