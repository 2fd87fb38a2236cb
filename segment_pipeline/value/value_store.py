"""Expected spend in the warehouse: what each method says at a month's end, what came of it once that is known, and what
is said of every customer by the method that came nearest.

A month is judged by the first one at whose end its horizon is over, and never before; so everything that is said of a
month stands on what was known at its end. Not here: the methods' own mathematics (buyers.py) and how one is chosen
(forecast.py).
"""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import literal, number
from segment_pipeline.database.rows import Row, exact_sum, hashed_below, read_columns, read_rows
from segment_pipeline.database.store import insert_query, month_literal, replace_month
from segment_pipeline.models.champions_store import require_champion
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months, as_of
from segment_pipeline.segments.assignments_store import passed_over
from segment_pipeline.sources.order_lines import load_order_days
from segment_pipeline.value.buyers_store import expected_sql, fit_buyers, write_pasts
from segment_pipeline.value.forecast import Intervals, best_of, fit_intervals
from segment_pipeline.value.methods import HORIZONS, METHODS, OWN_WINDOW
from segment_pipeline.value.tables import (
    CUSTOMER_VALUE,
    CUSTOMER_VALUE_QUALITY,
    OBSERVED_SPEND,
    SEGMENT_VALUE,
    SEGMENT_VALUE_QUALITY,
    SPEND_FORECASTS,
)

JUDGED_MONTHS = 12
"""The latest months whose horizon is over decide; those before are another time."""

SAMPLED_ROWS = 100_000
"""Forecasts that an interval is made of, at most."""


@dataclass(frozen=True)
class Served:
    """By what a month's forecasts of one horizon are made. intervals : None while no such forecast has been judged."""

    method: str
    intervals: Intervals | None


def write_value(connection: duckdb.DuckDBPyConnection, config: Config, month: date, risks: str) -> int:
    """Replace the month's rows of the tables of this room; returns the customers of whom something is expected.

    risks : a table with month, customer_id and churn_risk. Months before that have no forecasts, because an earlier
    version has made them, get them now, by what was known at their end. Raises SourceError.
    """
    if config.source.orders is None:
        for table in (SPEND_FORECASTS, CUSTOMER_VALUE, SEGMENT_VALUE):
            connection.execute(f"DELETE FROM {table.name} WHERE month = ?", [month])
        return 0
    load_order_days(connection, config, month)
    rows = 0
    for one in [*_without_forecasts(connection, month), month]:
        write_pasts(connection, one, config.source.window_months)
        _write_forecasts(connection, config, require_champion(connection, config, one), one)
        _observe_spend(connection, one)
        _write_quality(connection, one)
        _write_quality_of_segments(connection, one)
        rows = _write_customers(connection, one, risks)
        _write_segments(connection, one)
    for left_over in ("order_days", "pasts", "purchases"):
        connection.execute(f"DROP TABLE IF EXISTS {left_over}")
    return rows


def money_of(connection: duckdb.DuckDBPyConnection, month: date) -> Row | None:
    """What all customers of the month are expected to spend, what of it is at risk, and by what it is said; None where
    nothing is known."""
    found = read_rows(
        connection,
        f"""
        SELECT count(*) AS customers, {exact_sum("expected_spend_3")} AS expected_spend_3,
            {exact_sum("expected_spend_12")} AS expected_spend_12, {exact_sum("revenue_at_risk")} AS revenue_at_risk,
            any_value(method) AS method, any_value(method_12) AS method_12
        FROM {CUSTOMER_VALUE.name} WHERE month = ?
        """,
        month,
    )
    return found[0] if found[0]["customers"] else None


def segments_money(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """The month's rows of segment_value."""
    return read_rows(connection, f"SELECT * FROM {SEGMENT_VALUE.name} WHERE month = ? ORDER BY segment_id", month)


def quality_of(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """How near each method came in the months that decide for this one, all together, the nearest first."""
    return read_rows(
        connection,
        f"""
        SELECT horizon_months, method, count(*) AS months,
            {exact_sum("mean_absolute_error * customers")} / sum(customers) AS mean_absolute_error
        FROM ({_judged(month)}) GROUP BY horizon_months, method ORDER BY horizon_months, mean_absolute_error, method
        """,
    )


def _judged(month: date) -> str:
    """A query of what is known at the month's end of the forecasts of the latest months, by horizon."""
    return f"""
        SELECT * FROM (
            SELECT *, dense_rank() OVER (PARTITION BY horizon_months ORDER BY month DESC) AS place
            FROM {CUSTOMER_VALUE_QUALITY.name} WHERE observed_in <= {month_literal(month)}
        ) WHERE place <= {JUDGED_MONTHS}
    """


def _without_forecasts(connection: duckdb.DuckDBPyConnection, month: date) -> list[date]:
    found = connection.execute(
        f"""
        SELECT DISTINCT month FROM monthly_assignments WHERE month < ?
        EXCEPT SELECT DISTINCT month FROM {SPEND_FORECASTS.name} ORDER BY month
        """,
        [month],
    )
    return [row[0] for row in found.fetchall()]


def _write_forecasts(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> None:
    """Replace the month's rows of SPEND_FORECASTS; none where nobody has ever bought anything."""
    model = fit_buyers(connection)
    if model is None:
        connection.execute(f"DELETE FROM {SPEND_FORECASTS.name} WHERE month = ?", [month])
        return
    window = config.source.window_months
    customers = f"(SELECT customer_id FROM monthly_assignments WHERE month = {month_literal(month)})"
    chain = _chain_sql(connection, champion, month, window)
    own = {horizon: f"greatest(p.in_window, 0E0) * {number(horizon / window)}" for horizon in HORIZONS}
    columns = ", ".join(
        f"b.bg_nbd_{horizon}, {own[horizon]} AS own_window_{horizon}, {chain[horizon]} AS chain_{horizon}, "
        f"0.5E0 * b.bg_nbd_{horizon} + 0.5E0 * {own[horizon]} * t.level_{horizon} AS blend_{horizon}"
        for horizon in HORIZONS
    )
    levels = ", ".join(
        f"{exact_sum(f'b.bg_nbd_{horizon}')} / nullif({exact_sum(own[horizon])}, 0E0) AS level_{horizon}"
        for horizon in HORIZONS
    )
    replace_month(
        connection,
        SPEND_FORECASTS,
        month,
        f"""
        WITH bought AS ({expected_sql(connection, model, month, customers)}),
        totals AS (SELECT {levels} FROM bought AS b JOIN pasts AS p USING (customer_id))
        SELECT {month_literal(month)} AS month, b.customer_id, {columns}
        FROM bought AS b
        JOIN pasts AS p ON p.customer_id = b.customer_id
        JOIN monthly_assignments AS a ON a.month = {month_literal(month)} AND a.customer_id = b.customer_id
        CROSS JOIN totals AS t ORDER BY b.customer_id
        """,
    )


def _chain_sql(
    connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date, window_months: int
) -> dict[int, str]:
    """Horizon -> what the segments in which a customer is expected spend, as SQL: month by month a segment's members
    spend what they spent in a month of the window, and who has lapsed nothing. NULL without a memory."""
    if champion.memory is None:
        return dict.fromkeys(HORIZONS, "CAST(NULL AS DOUBLE)")
    k = len(champion.segments)
    means = ", ".join(
        f"{exact_sum(f'a.probabilities[{j + 1}] * p.in_window')} / nullif({exact_sum(f'a.probabilities[{j + 1}]')}, 0)"
        for j in range(k)
    )
    found = connection.execute(
        f"SELECT {means} FROM monthly_assignments AS a JOIN pasts AS p ON p.customer_id = a.customer_id "
        f"WHERE a.month = {month_literal(month)}"
    ).fetchall()[0]
    a_month = np.array([max(0.0, value or 0.0) / window_months for value in found])
    steps = champion.memory.transitions[:k]
    spend: dict[int, str] = {}
    for horizon in HORIZONS:
        ahead = sum(
            (champion.memory.ahead(steps, months - 1)[:, :k] @ a_month for months in range(1, horizon + 1)),
            np.zeros(k),
        )
        spend[horizon] = " + ".join(f"a.probabilities[{j + 1}] * {number(value)}" for j, value in enumerate(ahead))
    return spend


def _observe_spend(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Write down what became of the customers whose horizon is over at the end of `month` and of whom it is not known
    yet: usually of one month; in a horizon with a month that was passed over nobody could buy, and it is never known.
    """
    connection.execute(f"DELETE FROM {OBSERVED_SPEND.name} WHERE observed_in = ?", [month])
    closed = passed_over(connection)
    for horizon in HORIZONS:
        unknown = f"""
            SELECT f.month, f.customer_id FROM {SPEND_FORECASTS.name} AS f
            ANTI JOIN {OBSERVED_SPEND.name} AS s
                ON s.month = f.month AND s.customer_id = f.customer_id AND s.horizon_months = {horizon}
            WHERE f.month <= {month_literal(add_months(month, -horizon))}
        """
        for (earlier,) in connection.execute(f"SELECT DISTINCT month FROM ({unknown}) ORDER BY month").fetchall():
            last = add_months(earlier, horizon)
            if any(earlier < one <= last for one in closed):
                continue
            insert_query(
                connection,
                OBSERVED_SPEND,
                f"""
                SELECT u.month, u.customer_id, {horizon} AS horizon_months, coalesce(d.spend, 0E0) AS spend,
                    {month_literal(month)} AS observed_in
                FROM ({unknown}) AS u
                LEFT JOIN (
                    SELECT customer_id, {exact_sum("spend")} AS spend FROM order_days
                    WHERE day >= DATE '{as_of(earlier)}' AND day < DATE '{as_of(last)}' GROUP BY customer_id
                ) AS d ON d.customer_id = u.customer_id
                WHERE u.month = {month_literal(earlier)} ORDER BY u.customer_id
                """,
            )


def _write_quality(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Judge the forecasts of which this month has come to know what became of them."""
    connection.execute(f"DELETE FROM {CUSTOMER_VALUE_QUALITY.name} WHERE observed_in = ?", [month])
    judged = " UNION ALL ".join(
        f"""
        SELECT f.month, {horizon} AS horizon_months, {literal(method)} AS method, count(*) AS customers,
            {exact_sum("s.spend")} / count(*) AS mean_spend,
            {exact_sum(f"abs(f.{method}_{horizon} - s.spend)")} / count(*) AS mean_absolute_error,
            {exact_sum(f"f.{method}_{horizon}")} / nullif({exact_sum("s.spend")}, 0E0) - 1E0 AS bias,
            CASE WHEN {_serves(method, horizon)}
                THEN CAST(count(*) FILTER (
                    s.spend BETWEEN v.expected_spend_{horizon}_low AND v.expected_spend_{horizon}_high
                ) AS DOUBLE) / nullif(count(v.expected_spend_{horizon}_low), 0) END AS coverage,
            {_serves(method, horizon)} AS is_served, {month_literal(month)} AS observed_in
        FROM {SPEND_FORECASTS.name} AS f
        JOIN {OBSERVED_SPEND.name} AS s ON s.month = f.month AND s.customer_id = f.customer_id
            AND s.horizon_months = {horizon} AND s.observed_in = {month_literal(month)}
        LEFT JOIN {CUSTOMER_VALUE.name} AS v ON v.month = f.month AND v.customer_id = f.customer_id
        WHERE f.{method}_{horizon} IS NOT NULL GROUP BY f.month
        """
        for method in METHODS
        for horizon in HORIZONS
    )
    insert_query(connection, CUSTOMER_VALUE_QUALITY, f"SELECT * FROM ({judged}) ORDER BY month, horizon_months, method")


def _write_quality_of_segments(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Judge what was served in the same months, by segment: there a bias shows that is none in all."""
    connection.execute(f"DELETE FROM {SEGMENT_VALUE_QUALITY.name} WHERE observed_in = ?", [month])
    judged = " UNION ALL ".join(
        f"""
        SELECT v.month, {horizon} AS horizon_months, a.segment_id, count(*) AS customers,
            {exact_sum(f"v.expected_spend_{horizon}")} / count(*) AS mean_expected,
            {exact_sum("s.spend")} / count(*) AS mean_spend,
            {exact_sum(f"abs(v.expected_spend_{horizon} - s.spend)")} / count(*) AS mean_absolute_error,
            {exact_sum(f"v.expected_spend_{horizon}")} / nullif({exact_sum("s.spend")}, 0E0) - 1E0 AS bias,
            {month_literal(month)} AS observed_in
        FROM {CUSTOMER_VALUE.name} AS v
        JOIN {OBSERVED_SPEND.name} AS s ON s.month = v.month AND s.customer_id = v.customer_id
            AND s.horizon_months = {horizon} AND s.observed_in = {month_literal(month)}
        JOIN monthly_assignments AS a ON a.month = v.month AND a.customer_id = v.customer_id
        WHERE v.expected_spend_{horizon} IS NOT NULL GROUP BY v.month, a.segment_id
        """
        for horizon in HORIZONS
    )
    insert_query(
        connection, SEGMENT_VALUE_QUALITY, f"SELECT * FROM ({judged}) ORDER BY month, horizon_months, segment_id"
    )


def _serves(method: str, horizon: int) -> str:
    """Whether customer_value had the method, as an aggregate over `v`."""
    column = "v.method" if horizon == HORIZONS[0] else f"v.method_{horizon}"
    return f"coalesce(bool_and({column} = {literal(method)}), false)"


def _serving(connection: duckdb.DuckDBPyConnection, month: date) -> dict[int, Served]:
    """What serves the month, by horizon: the method that came nearest in months that have all of this month's methods.
    A horizon of which nothing is judged has the method of the shorter one, and no interval."""
    has = connection.execute(
        f"SELECT {', '.join(f'count({method}_{HORIZONS[0]})' for method in METHODS)} "
        f"FROM {SPEND_FORECASTS.name} WHERE month = ?",
        [month],
    ).fetchall()[0]
    available = [method for method, rows in zip(METHODS, has, strict=True) if rows]
    quality = quality_of(connection, month)
    served: dict[int, Served] = {}
    method = OWN_WINDOW
    for horizon in HORIZONS:
        judged = [row for row in quality if row["horizon_months"] == horizon]
        most = max((row["months"] for row in judged), default=0)
        errors = {row["method"]: row["mean_absolute_error"] for row in judged if row["months"] == most}
        method = best_of(errors, available) if errors else method
        forecast, came = _came_of(connection, month, method, horizon)
        served[horizon] = Served(method, fit_intervals(forecast, came))
    return served


def _came_of(connection: duckdb.DuckDBPyConnection, month: date, method: str, horizon: int) -> tuple[Array, Array]:
    """(n,) each: what the method forecast in the latest months that are judged, and what came; of a reproducible sample
    of customers where they are many."""
    judged = f"(SELECT DISTINCT month FROM ({_judged(month)}) WHERE horizon_months = {horizon})"
    rows = f"""
        FROM {SPEND_FORECASTS.name} AS f SEMI JOIN {judged} AS j ON j.month = f.month
        JOIN {OBSERVED_SPEND.name} AS s ON s.month = f.month AND s.customer_id = f.customer_id
            AND s.horizon_months = {horizon} AND s.observed_in <= {month_literal(month)}
        WHERE f.{method}_{horizon} IS NOT NULL
    """
    ((total,),) = connection.execute(f"SELECT count(*) {rows}").fetchall()
    drawn = hashed_below("f.customer_id", SAMPLED_ROWS / total) if total > SAMPLED_ROWS else "true"
    found = read_columns(
        connection,
        f"SELECT f.{method}_{horizon} AS forecast, s.spend {rows} AND {drawn} ORDER BY f.month, f.customer_id",
    )
    return np.asarray(found["forecast"], dtype=np.float64), np.asarray(found["spend"], dtype=np.float64)


def _write_customers(connection: duckdb.DuckDBPyConnection, month: date, risks: str) -> int:
    served = _serving(connection, month)
    columns = ", ".join(_expected_sql(served[horizon], horizon) for horizon in HORIZONS)
    shorter, longer = (literal(served[horizon].method) for horizon in HORIZONS)
    return replace_month(
        connection,
        CUSTOMER_VALUE,
        month,
        f"""
        SELECT v.*, r.churn_risk * v.expected_spend_12 AS revenue_at_risk
        FROM (
            SELECT month, customer_id, {columns}, {shorter} AS method, {longer} AS method_12
            FROM {SPEND_FORECASTS.name} WHERE month = {month_literal(month)}
        ) AS v
        LEFT JOIN {risks} AS r ON r.month = v.month AND r.customer_id = v.customer_id
        ORDER BY v.customer_id
        """,
    )


def _expected_sql(served: Served, horizon: int) -> str:
    """The three columns of a horizon: what is expected always lies in its interval."""
    value, name = f"{served.method}_{horizon}", f"expected_spend_{horizon}"
    low = high = "CAST(NULL AS DOUBLE)"
    if served.intervals is not None:
        found = served.intervals
        offset = number(found.offset)
        low = f"least({value}, {_by_bin(value, found.upper, found.low)} * ({value} + {offset}))"
        high = f"greatest({value}, {_by_bin(value, found.upper, found.high)} * ({value} + {offset}))"
    return f"{value} AS {name}, {low} AS {name}_low, {high} AS {name}_high"


def _by_bin(value: str, upper: Array, quotients: Array) -> str:
    """The quotient of the bin that a forecast falls into."""
    bins = zip(upper, quotients[:-1], strict=True)
    cases = " ".join(f"WHEN {value} <= {number(end)} THEN {number(quotient)}" for end, quotient in bins)
    return f"CASE {cases} ELSE {number(quotients[-1])} END"


def _write_segments(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    replace_month(
        connection,
        SEGMENT_VALUE,
        month,
        f"""
        SELECT *, CASE WHEN sum(CAST(month_revenue AS DECIMAL(38, 4))) OVER () > 0
            THEN month_revenue / CAST(sum(CAST(month_revenue AS DECIMAL(38, 4))) OVER () AS DOUBLE) END
            AS month_revenue_share
        FROM (
            SELECT a.month, a.segment_id, count(*) AS customers,
                coalesce({exact_sum("p.in_month")}, 0E0) AS month_revenue,
                {exact_sum("v.expected_spend_3")} AS expected_spend_3,
                {exact_sum("v.expected_spend_12")} AS expected_spend_12,
                {exact_sum("v.revenue_at_risk")} AS revenue_at_risk
            FROM monthly_assignments AS a
            LEFT JOIN pasts AS p ON p.customer_id = a.customer_id
            LEFT JOIN {CUSTOMER_VALUE.name} AS v ON v.month = a.month AND v.customer_id = a.customer_id
            WHERE a.month = {month_literal(month)} GROUP BY a.month, a.segment_id
        ) ORDER BY segment_id
        """,
    )
