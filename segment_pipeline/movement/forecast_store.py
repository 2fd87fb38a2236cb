"""Forecasts in and out of the warehouse: where the customers known at a month's end were from then on, what is expected
of them, and what came of earlier forecasts.

Known is who was there by then, accepted or rejected, in a month of the pipeline or of the panel before it. Who of them
has no row in a month has lapsed. What is expected of the next month is summed over all of them: of the month's
customers it is what `next_probabilities` and `next_lapse_probability` say of each, so that both tables agree.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.rows import Row, insert_rows, read_rows, write_rows
from segment_pipeline.database.store import month_literal
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.tables import SILENCE
from segment_pipeline.months import add_months, months_between
from segment_pipeline.movement.forecast import MONTHS_AHEAD, Forecast, KnownCustomers, counted_steps, forecasts
from segment_pipeline.movement.tables import (
    FORECAST_OUTCOMES,
    FORECAST_QUALITY,
    KNOWN_CUSTOMER_STATES,
    SEGMENT_FORECAST,
)
from segment_pipeline.segments.ahead.silence_store import BySilence, silence_sql
from segment_pipeline.segments.soft_moves import LAPSED
from segment_pipeline.segments.tables import MEMORY_STATES


def write_forecast(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, by_silence: BySilence | None = None
) -> Sequence[Row]:
    """The month's forecast, and the outcomes of earlier ones; returns the rows of `segment_forecast`. Without a memory
    there are none. by_silence : what the month's assignments were written with."""
    if model.memory is None:
        # a version's number may have been another's, which a month that was run again has taken back
        connection.execute(f"DELETE FROM {KNOWN_CUSTOMER_STATES.name} WHERE model_version = {model.model_version}")
        write_rows(connection, FORECAST_OUTCOMES, month, [])
        write_rows(connection, SEGMENT_FORECAST, month, [])
        return []
    _write_states(connection, model, month, by_silence)
    known = known_customers(connection, model, month)
    rows = _forecast_rows(connection, model, month, known)
    write_rows(connection, SEGMENT_FORECAST, month, rows)
    write_rows(connection, FORECAST_OUTCOMES, month, _outcomes(connection, model, month, known))
    return rows


def quality(connection: duckdb.DuckDBPyConnection) -> Sequence[Row]:
    """The pooled rows of `forecast_quality`, as the warehouse has them."""
    return read_rows(connection, f"SELECT * FROM ({FORECAST_QUALITY.sql}) WHERE month IS NULL ORDER BY months_ahead")


def known_customers(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date) -> KnownCustomers:
    """Where customers were under the model, up to the month, in all months before it without a gap."""
    assert model.memory is not None  # noqa: S101 - for mypy: the callers have looked
    found = connection.execute(
        f"SELECT month, known_since, state, customers, next_customers FROM {KNOWN_CUSTOMER_STATES.name} "
        f"WHERE model_version = {model.model_version} AND month <= {month_literal(month)} ORDER BY ALL"
    ).fetchall()
    there = {one for one, *_ in found}
    first = month
    while add_months(first, -1) in there:
        first = add_months(first, -1)
    states = {state: position for position, state in enumerate(_states(model))}
    months = months_between(first, month) + 1
    sums, next_month = np.zeros((months, months, len(states))), np.zeros((months, len(states)))
    for one, since, state, customers, expected in found:
        at = months_between(first, one)
        if at >= 0:
            sums[max(0, months_between(first, since)) : at + 1, at, states[state]] += customers
            next_month[at, states[state]] += np.nan if expected is None else expected
    sums[np.tril_indices(months, -1)] = np.nan
    transitions = model.memory.transitions
    # months that an older version wrote did not keep it: they were forecast by the matrix
    by_matrix = np.einsum("mma->ma", sums) @ transitions
    next_month = np.where(np.isnan(next_month), by_matrix, next_month)
    return KnownCustomers(sums, next_month, transitions, months_between(first, model.trained_month) + 1)


def _states(model: SegmentModel) -> list[str]:
    return [*map(str, model.segment_ids), LAPSED]


def _write_states(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, by_silence: BySilence | None
) -> None:
    """The month's rows and, of a champion of which nothing is known of the month before, those of all before it."""
    of_model, before = f"model_version = {model.model_version}", month_literal(add_months(month, -1))
    has_past = connection.execute(
        f"SELECT 1 FROM {KNOWN_CUSTOMER_STATES.name} WHERE {of_model} AND month = {before} LIMIT 1"
    ).fetchone()
    begins = model.trained_month == month or has_past is None
    of_months = f"month {'<=' if begins else '='} {month_literal(month)}"
    connection.execute(f"DELETE FROM {KNOWN_CUSTOMER_STATES.name} WHERE {of_model} AND {of_months}")
    months = connection.execute(
        f"SELECT DISTINCT month FROM {MEMORY_STATES.name} WHERE {of_model} AND {of_months} ORDER BY month"
    ).fetchall()
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE known_customers AS SELECT customer_id, min(month) AS known_since FROM (
            SELECT month, customer_id FROM raw_customers
            UNION ALL SELECT month, customer_id FROM past_features
        ) AS everybody
        WHERE month <= {month_literal(month)} AND trim(customer_id) <> '' GROUP BY customer_id
    """)
    for (one,) in months:
        insert_rows(connection, KNOWN_CUSTOMER_STATES, _states_rows(connection, model, one, by_silence))
    connection.execute("DROP TABLE known_customers")


def _states_rows(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, by_silence: BySilence | None
) -> list[Row]:
    """The rows of a month: where customers are, and where they are expected a month later."""
    assert model.memory is not None  # noqa: S101 - for mypy: the callers have looked
    found = connection.execute(_states_sql(model, month, by_silence)).fetchall()
    now: dict[date, Array] = defaultdict(lambda: np.zeros(len(model.segments) + 1))
    ahead: dict[date, Array] = defaultdict(lambda: np.zeros(len(model.segments) + 1))
    for since, silence, *sums in found:
        steps = model.memory.transitions
        if by_silence is not None and silence is not None:
            steps = by_silence.transitions[silence]
        now[since] += sums
        ahead[since] += sums @ steps
    return [
        {
            "month": month,
            "model_version": model.model_version,
            "known_since": since,
            "state": state,
            "customers": now[since][a],
            "next_customers": ahead[since][a],
        }
        for since in now
        for a, state in enumerate(_states(model))
    ]


def _states_sql(model: SegmentModel, month: date, by_silence: BySilence | None) -> str:
    """A query of known_since, SILENCE and how many of `known_customers` are in each state: sums of decimals, so that
    the threads' order does not matter. Of who has lapsed, and where it is not known, the silence is NULL."""
    k = len(model.segments)
    summed = ", ".join(
        f"CAST(sum(CAST(coalesce(s.probabilities[{a + 1}], {1 if a == k else 0}E0) AS DECIMAL(38, 12))) AS DOUBLE)"
        for a in range(k + 1)
    )
    nobody = f"SELECT CAST(NULL AS VARCHAR) AS customer_id, CAST(NULL AS INTEGER) AS {SILENCE} WHERE false"
    silences = nobody if by_silence is None else silence_sql(by_silence.window_months, month)
    return f"""
        SELECT known_since, silent.{SILENCE}, {summed}
        FROM known_customers AS known
        LEFT JOIN (
            SELECT customer_id, probabilities FROM {MEMORY_STATES.name}
            WHERE model_version = {model.model_version} AND month = {month_literal(month)}
        ) AS s ON s.customer_id = known.customer_id
        LEFT JOIN ({silences}) AS silent ON silent.customer_id = known.customer_id
        WHERE known_since <= {month_literal(month)}
        GROUP BY known_since, silent.{SILENCE}
        ORDER BY known_since, silent.{SILENCE}
    """


def _forecast_rows(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, known: KnownCustomers
) -> list[Row]:
    steps = counted_steps(_moves(connection, model, month, known))
    return [row for forecast in forecasts(known) for row in _rows_of(forecast, model, month, known, steps)]


def _rows_of(forecast: Forecast, model: SegmentModel, month: date, known: KnownCustomers, steps: Array) -> list[Row]:
    by_counts = forecast.as_it_is_now @ np.linalg.matrix_power(steps, forecast.ahead)
    judged, customers = forecast.judged, known.customers(known.today)
    return [
        {
            "state": state,
            "months_ahead": forecast.ahead,
            "forecast_month": add_months(month, forecast.ahead),
            "share": forecast.share[a],
            "share_low": forecast.low[a],
            "share_high": forecast.high[a],
            "customers": forecast.share[a] * customers,
            "known_customers": round(customers),
            "served_by": forecast.served_by,
            "share_now": forecast.as_it_is_now[a],
            "share_by_memory": forecast.by_memory[a],
            "share_by_counts": by_counts[a],
            "past_forecasts": 0 if judged is None else len(judged.chance),
            "past_months_ahead": None if judged is None else judged.ahead,
            "memory_error": None if judged is None else judged.memory_error,
            "as_it_is_now_error": None if judged is None else judged.as_it_is_now_error,
            "model_version": model.model_version,
        }
        for a, state in enumerate(_states(model))
    ]


def _moves(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, known: KnownCustomers) -> Array:
    """(k + 1, k + 1) customers who made each move in the months that the model has measured, up to this one."""
    measured = f"""
        SELECT DISTINCT month FROM transition_deltas
        WHERE model_version = {model.model_version} AND month <= {month_literal(month)}
    """
    found = connection.execute(f"""
        SELECT CASE m.from_state WHEN 'returned' THEN {literal(LAPSED)} ELSE m.from_state END, m.to_state, m.customers
        FROM transition_matrix AS m SEMI JOIN ({measured}) AS measured USING (month)
    """).fetchall()
    states = _states(model)
    moves = np.zeros((len(states), len(states)))
    for before, now, customers in found:
        if before in states and now in states:
            moves[states.index(before), states.index(now)] += customers
    ago = [months_between(one, month) for (one,) in connection.execute(measured).fetchall()]
    had_lapsed = sum(known.sums[t, t, -1] for t in (known.today - months - 1 for months in ago) if t >= 0)
    moves[-1, -1] = max(0.0, had_lapsed - moves[-1].sum())  # who stays away makes no move that is listed
    return moves


def _outcomes(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, known: KnownCustomers
) -> list[Row]:
    """What came of the forecasts of this month."""
    states = _states(model)
    made = read_rows(
        connection,
        f"SELECT * FROM {SEGMENT_FORECAST.name} WHERE forecast_month = ? AND month BETWEEN ? AND ? "
        "ORDER BY month, state",
        month,
        add_months(month, -MONTHS_AHEAD),
        add_months(month, -1),
    )
    rows = []
    for said in made:
        made_in = known.today - said["months_ahead"]
        if made_in < 0 or said["state"] not in states:
            continue
        actual = float(known.shares(made_in, known.today)[states.index(said["state"])])
        rows.append(
            {
                "made_in": said["month"],
                "months_ahead": said["months_ahead"],
                "state": said["state"],
                "forecast": said["share"],
                "actual": actual,
                "error": abs(said["share"] - actual),
                "in_interval": said["share_low"] <= actual <= said["share_high"],
                "served_by": said["served_by"],
                "memory_error": abs(said["share_by_memory"] - actual),
                "as_it_is_now_error": abs(said["share_now"] - actual),
                "counts_error": abs(said["share_by_counts"] - actual),
                "crosses_refit": said["model_version"] != model.model_version,
            }
        )
    return rows
