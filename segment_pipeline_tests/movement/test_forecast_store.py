"""Forecasts in the warehouse are those of NumPy's filter, and are judged on the very same customers."""

from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.chain.panel import MISSING, SEEN
from segment_pipeline.months import add_months
from segment_pipeline.movement.forecast_store import known_customers, quality, write_forecast
from segment_pipeline.movement.tables import (
    FORECAST_OUTCOMES,
    FORECAST_QUALITY,
    KNOWN_CUSTOMER_STATES,
    SEGMENT_FORECAST,
)
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.ahead.silence_store import known_by_silence
from segment_pipeline_tests.segments import test_memory, test_silence
from segment_pipeline_tests.segments.test_memory import FIRST, JANUARY, MONTHS, NAMES, PANEL, SECOND, SERVES, filled

HERE = np.isin(PANEL.states, (SEEN, MISSING))
KNOWN_SINCE = np.where(HERE.any(axis=1), HERE.argmax(axis=1), MONTHS)


def month(t: int) -> date:
    return add_months(JANUARY, t)


def run(connection: duckdb.DuckDBPyConnection, t: int) -> None:
    """The month of that number up to the forecast, as the assets run it."""
    connection.execute("DELETE FROM champions WHERE month = ?", [month(t)])
    connection.execute("INSERT INTO champions VALUES (?, ?)", [month(t), SERVES[t].model_version])
    test_memory.run(connection, t)
    write_forecast(connection, SERVES[t], month(t))


def content(connection: duckdb.DuckDBPyConnection, up_to: int = MONTHS) -> dict[str, list[tuple]]:
    return {
        table.name: connection.execute(
            f"SELECT * FROM {table.name} WHERE month <= ? ORDER BY ALL", [month(up_to)]
        ).fetchall()
        for table in (KNOWN_CUSTOMER_STATES, SEGMENT_FORECAST, FORECAST_OUTCOMES)
    }


@pytest.fixture(scope="module")
def warehouse():
    with filled() as connection:
        for t in range(MONTHS):
            run(connection, t)
        yield connection


def run_with_orders(connection: duckdb.DuckDBPyConnection, t: int) -> None:
    """The month of a source that tells when each customer last ordered."""
    by_silence = test_silence.run(connection, t)
    write_forecast(connection, SERVES[t], month(t), by_silence)


def rows_of(connection, table: str, condition: str) -> list[dict]:
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {condition} ORDER BY ALL")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def sums(model, known_by: int, t: int) -> np.ndarray:
    """(k + 1,) of the customers known by a month, by NumPy. Who is known and not there has lapsed."""
    states = test_memory.known_to(model)[:, t]
    states[~HERE[:, t]] = np.eye(states.shape[1])[-1]
    return states[known_by >= KNOWN_SINCE].sum(axis=0)


@pytest.mark.parametrize(("model", "today"), [(FIRST, 2), (FIRST, 3), (SECOND, 4), (SECOND, 6)])
def test_the_customers_known_are_those_of_the_filter(warehouse, model, today):
    found = known_customers(warehouse, model, month(today))
    assert found.today == today
    assert found.fitted == {FIRST: 3, SECOND: 5}[model]
    for t in range(today + 1):
        for known_by in range(today + 1):
            expected = sums(model, known_by, t) if known_by <= t else np.full(found.sums.shape[2], np.nan)
            np.testing.assert_allclose(found.sums[known_by, t], expected, atol=1e-6)


@pytest.mark.parametrize("today", range(2, MONTHS))
def test_a_month_says_what_is_expected_of_whom_it_knows(warehouse, today):
    model = SERVES[today]
    rows = rows_of(warehouse, "segment_forecast", f"month = DATE '{month(today)}'")
    now = sums(model, today, today)
    states = [*map(str, model.segment_ids), "lapsed"]
    assert len(rows) == 6 * len(states)
    for ahead in range(1, 7):
        of_ahead = {row["state"]: row for row in rows if row["months_ahead"] == ahead}
        assert set(of_ahead) == set(states)
        expected = now @ np.linalg.matrix_power(model.memory.transitions, ahead) / now.sum()
        for a, state in enumerate(states):
            row = of_ahead[state]
            assert row["share_by_memory"] == pytest.approx(expected[a], abs=1e-9)
            assert row["share_now"] == pytest.approx(now[a] / now.sum(), abs=1e-9)
            assert row["share"] == row[{"memory": "share_by_memory", "as it is now": "share_now"}[row["served_by"]]]
            assert row["known_customers"] == (today >= KNOWN_SINCE).sum()
            assert row["customers"] == pytest.approx(row["share"] * row["known_customers"], rel=1e-9)
            assert row["share_low"] <= row["share"] <= row["share_high"]
            assert row["forecast_month"] == month(today + ahead)
        for column in ("share", "share_by_memory", "share_now", "share_by_counts"):
            assert sum(row[column] for row in of_ahead.values()) == pytest.approx(1, abs=1e-9)


def test_counts_are_those_of_the_months_that_the_champion_has_measured(warehouse):
    """In its first month a champion has counted nothing; in the next, one month of moves."""
    for today, differs in ((2, False), (3, True), (4, False), (5, True)):
        rows = rows_of(warehouse, "segment_forecast", f"month = DATE '{month(today)}' AND months_ahead = 1")
        assert any(abs(row["share_by_counts"] - row["share_now"]) > 1e-9 for row in rows) == differs
    matrix = warehouse.execute(
        "SELECT CASE from_state WHEN 'returned' THEN 'lapsed' ELSE from_state END, to_state, sum(customers) "
        "FROM transition_matrix WHERE month = ? GROUP BY ALL",
        [month(3)],
    ).fetchall()
    states = [*map(str, FIRST.segment_ids), "lapsed"]
    moves = np.zeros((4, 4))
    for before, now, customers in matrix:
        if before in states and now in states:
            moves[states.index(before), states.index(now)] = customers
    moves[-1, -1] = sums(FIRST, 2, 2)[-1] - moves[-1].sum()
    expected = sums(FIRST, 3, 3) @ (moves / moves.sum(axis=1, keepdims=True))
    rows = rows_of(warehouse, "segment_forecast", f"month = DATE '{month(3)}' AND months_ahead = 1")
    found = {row["state"]: row["share_by_counts"] * row["known_customers"] for row in rows}
    np.testing.assert_allclose([found[state] for state in states], expected, atol=1e-6)


def test_a_forecast_is_judged_on_the_customers_that_it_was_about(warehouse):
    for row in rows_of(warehouse, "forecast_outcomes", "NOT crosses_refit"):
        made_in = (row["made_in"].year - JANUARY.year) * 12 + row["made_in"].month - 1
        came, model = made_in + row["months_ahead"], SERVES[made_in]
        assert row["month"] == month(came)
        assert SERVES[came] is model
        found = sums(model, made_in, came)
        state = [*map(str, model.segment_ids), "lapsed"].index(row["state"])
        assert row["actual"] == pytest.approx(found[state] / found.sum(), abs=1e-9)
        (said,) = rows_of(
            warehouse,
            "segment_forecast",
            f"month = DATE '{row['made_in']}' AND forecast_month = DATE '{row['month']}' AND state = '{row['state']}'",
        )
        assert (row["forecast"], row["served_by"]) == (said["share"], said["served_by"])
        assert row["in_interval"] == (said["share_low"] <= row["actual"] <= said["share_high"])
        for error, share in (
            ("error", "share"),
            ("memory_error", "share_by_memory"),
            ("as_it_is_now_error", "share_now"),
            ("counts_error", "share_by_counts"),
        ):
            assert row[error] == abs(said[share] - row["actual"])
    judged = {(row["month"], row["made_in"]) for row in rows_of(warehouse, "forecast_outcomes", "NOT crosses_refit")}
    assert judged == {(month(b), month(a)) for a, b in ((2, 3), (4, 5), (4, 6), (5, 6))}


def test_over_a_refit_only_states_that_both_champions_have_are_judged(warehouse):
    rows = rows_of(warehouse, "forecast_outcomes", "crosses_refit")
    assert {row["state"] for row in rows} == {"1", "3", "lapsed"}
    assert {(row["month"], row["made_in"]) for row in rows} == {(month(b), month(a)) for a in (2, 3) for b in (4, 5, 6)}


def test_pooled_is_every_horizon_without_refits(warehouse):
    found = {row["months_ahead"]: row for row in quality(warehouse)}
    assert set(found) == {1, 2}
    view = warehouse.execute(f"DESCRIBE {FORECAST_QUALITY.sql}").fetchall()
    assert [row[0] for row in view] == [column.name for column in FORECAST_QUALITY.columns]
    assert [row[1] for row in view] == [column.type for column in FORECAST_QUALITY.columns]
    for ahead, row in found.items():
        rows = rows_of(warehouse, "forecast_outcomes", f"NOT crosses_refit AND months_ahead = {ahead}")
        assert row["month"] is row["state"] is row["forecast"] is None
        assert row["months"] == {1: 3, 2: 1}[ahead]
        assert row["coverage"] == pytest.approx(np.mean([one["in_interval"] for one in rows]))
        for error in ("error", "memory_error", "as_it_is_now_error", "counts_error"):
            assert row[error] == pytest.approx(np.mean([one[error] for one in rows]))


def test_a_champion_without_memory_says_nothing(warehouse):
    for table in ("segment_forecast", "forecast_outcomes"):
        assert rows_of(warehouse, table, f"month < DATE '{month(2)}'") == []
    with filled() as connection:
        for t in range(5):
            run(connection, t)
        write_forecast(connection, SERVES[0], month(4))  # as if that month were run again without
        assert rows_of(connection, "segment_forecast", f"month = DATE '{month(4)}'") == []
        assert rows_of(connection, "forecast_outcomes", f"month = DATE '{month(4)}'") == []


def test_a_month_that_is_run_again_has_the_same_bits_and_does_not_look_ahead(warehouse):
    whole = content(warehouse)
    with filled() as connection:
        for t in range(MONTHS):
            run(connection, t)
            known_then, known_later = content(connection), content(warehouse, t)
            for table in ("segment_forecast", "forecast_outcomes"):
                assert known_then[table] == known_later[table]
    for t in (2, 5, 3, 6, 4):
        run(warehouse, t)
        assert content(warehouse) == whole


def test_a_warehouse_without_the_tables_opens_and_goes_on():
    with filled() as connection:
        for t in range(4):
            run(connection, t)
        expected = content(connection)
        for table in (KNOWN_CUSTOMER_STATES, SEGMENT_FORECAST, FORECAST_OUTCOMES):
            connection.execute(f"DROP TABLE {table.name}")
        prepare(connection, TABLES, NAMES)
        run(connection, 3)
        found = content(connection)
        # the states of the months before are gone over again; of what nobody said, nothing came
        assert found["known_customer_states"] == expected["known_customer_states"]
        assert found["segment_forecast"] == [row for row in expected["segment_forecast"] if row[0] == month(3)]
        assert found["forecast_outcomes"] == []
        run(connection, 4)
        assert {row["made_in"] for row in rows_of(connection, "forecast_outcomes", "true")} == {month(3)}


@pytest.mark.parametrize("past", [0, 4])
def test_the_forecast_of_the_next_month_is_what_its_customers_are_expected_to_do_summed(past):
    """Of who is there and rejected nothing is published: it counts by its silence; of who has lapsed, by the matrix."""
    with test_silence.told(past) as connection:
        for t in range(past, MONTHS):
            run_with_orders(connection, t)
        for t in range(max(past, 2), MONTHS):
            model = SERVES[t]
            k, T = len(model.segments), model.memory.transitions
            by_silence = known_by_silence(connection, test_silence.CONFIG, model, month(t)).transitions
            knows, silence, known = test_memory.known_to(model)[:, t], test_silence.silence_of(t), t >= KNOWN_SINCE
            others = np.zeros(k + 1)
            for customer in np.flatnonzero(known & (PANEL.states[:, t] != SEEN)):
                if PANEL.states[customer, t] != MISSING:
                    others += T[-1]
                else:
                    others += knows[customer] @ (T if silence[customer] < 0 else by_silence[silence[customer]])
            expected = published_sum(connection, t) + others
            rows = rows_of(connection, "segment_forecast", f"month = DATE '{month(t)}' AND months_ahead = 1")
            found = {row["state"]: row["share_by_memory"] * row["known_customers"] for row in rows}
            states = [*map(str, model.segment_ids), "lapsed"]
            np.testing.assert_allclose([found[state] for state in states], expected, atol=1e-6)
            assert not np.allclose(expected, sums(model, t, t) @ T, atol=0.1)  # the matrix alone says something else


def published_sum(connection: duckdb.DuckDBPyConnection, t: int) -> np.ndarray:
    """(k + 1,) of the published rows of a month."""
    rows = connection.execute(
        "SELECT next_probabilities, next_lapse_probability FROM monthly_assignments WHERE month = ?", [month(t)]
    ).fetchall()
    return np.array([[*ahead, lapse] for ahead, lapse in rows]).sum(axis=0)


def test_months_of_before_the_sum_was_kept_stay_as_they_are_and_count_by_the_matrix():
    with test_silence.told() as connection:
        for t in range(5):
            run_with_orders(connection, t)
        said = rows_of(connection, "segment_forecast", "true")
        connection.execute(f"ALTER TABLE {KNOWN_CUSTOMER_STATES.name} DROP COLUMN next_customers")
        prepare(connection, TABLES, NAMES)
        run_with_orders(connection, 5)
        found = known_customers(connection, SECOND, month(5))
        for t in range(5):
            np.testing.assert_allclose(found.next_month[t], sums(SECOND, t, t) @ SECOND.memory.transitions, atol=1e-6)
        assert not np.allclose(found.next_month[5], sums(SECOND, 5, 5) @ SECOND.memory.transitions, atol=0.1)
        assert rows_of(connection, "segment_forecast", f"month < DATE '{month(5)}'") == said
