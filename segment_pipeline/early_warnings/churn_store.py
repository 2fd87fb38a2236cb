"""Silence, its predicting and the back-test in the warehouse: labels when they are due, arrays in, rows out.

A label of month t says whether the customer had no order in the horizon after its as_of. It is written by the first
month at whose as_of that horizon is over, and never before; everything here reads what was known at the as_of of the
month that runs. Not here: the model (churn.py) and the judgement of alerts (backtest.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta

import duckdb
import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.config.warning_rules import WARNING_RULES, WarningRule
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier, literal, number
from segment_pipeline.database.rows import drawn_sql, insert_rows, read_columns, write_rows
from segment_pipeline.database.store import insert_query, month_literal
from segment_pipeline.early_warnings.backtest import (
    JUDGED,
    WHOLE,
    BacktestRow,
    Judged,
    JudgedMonth,
    WarnedMonth,
    judge,
    rows_of,
)
from segment_pipeline.early_warnings.churn import (
    HISTORY,
    ChurnRisk,
    CustomerMonth,
    ForecastQuality,
    Group,
    Refusal,
    fit_churn_risk,
    forecast_quality,
    observed_before,
)
from segment_pipeline.early_warnings.histories_store import histories_tell, write_histories
from segment_pipeline.early_warnings.rules_store import probability_of
from segment_pipeline.early_warnings.tables import (
    CHURN_RISK,
    CHURN_RISK_MODELS,
    CHURN_RISK_QUALITY,
    OBSERVED_SILENCE,
    ORDER_HISTORIES,
    WARNING_BACKTEST_HISTORY,
)
from segment_pipeline.models.champions_store import require_champion, scores_in
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months, as_of
from segment_pipeline.segments.assignments_store import passed_over
from segment_pipeline.segments.memory_store import customers_of, has_seen, prior_columns, prior_of, scored_rows
from segment_pipeline.sources.order_lines import load_orderers
from segment_pipeline.value.tables import CUSTOMER_VALUE, SPEND_FORECASTS

TRAINING_MONTHS = 12
"""The latest observed months teach; those before are another time."""

TRAINING_ROWS = 100_000
"""Customers of one month that are learned from, at most."""

SCORED_ROWS = 100_000
"""Customers predicted at once: each has some dozens of inputs."""

INPUTS: dict[str, tuple[Group, ...]] = {
    "memberships": ("memberships",),
    "memberships and shifts": ("memberships", "shifts"),
    "features": ("features",),
    "history": ("history",),
}
"""Parts of the inputs whose worth is measured beside that of all of them."""


_LABEL = f"SELECT 1 FROM {OBSERVED_SILENCE.name} AS s WHERE s.month = a.month AND s.customer_id = a.customer_id"


def observe_silence(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[date]:
    """Label the customers whose horizon is over at the as_of of `month` and who have no label yet; returns the months.

    Usually that is one month; a month that was made again with other customers has those labelled here. One whose
    horizon reaches into a month that was passed over is never labelled: nobody could order then.
    """
    connection.execute(f"DELETE FROM {OBSERVED_SILENCE.name} WHERE observed_in = ?", [month])
    known = connection.execute(
        f"SELECT DISTINCT month FROM monthly_assignments AS a WHERE month < ? AND NOT EXISTS ({_LABEL}) ORDER BY month",
        [month],
    ).fetchall()
    if config.recency_feature is None:
        return []
    horizon = timedelta(days=config.warnings.horizon_days)
    closed = passed_over(connection)
    due = [
        earlier
        for (earlier,) in known
        if observed_before(earlier, month, config.warnings.horizon_days)
        and not any(earlier < one < as_of(earlier) + horizon for one in closed)
    ]
    for earlier in due:
        start, end = as_of(earlier), as_of(earlier) + horizon
        if config.source.orders is not None:
            load_orderers(connection, config, month, start, end)
        else:
            _orderers_of_snapshots(connection, config, start, end)
        insert_query(
            connection,
            OBSERVED_SILENCE,
            f"""
            SELECT a.month, a.customer_id, o.customer_id IS NULL AS silent, {month_literal(month)} AS observed_in
            FROM monthly_assignments AS a LEFT JOIN orderers AS o ON o.customer_id = a.customer_id
            WHERE a.month = {month_literal(earlier)} AND NOT EXISTS ({_LABEL}) ORDER BY a.customer_id
            """,
        )
        connection.execute("DROP TABLE orderers")
    return due


def write_churn_risk(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date
) -> tuple[int, ChurnRisk | Refusal]:
    """The month's churn risk of every assigned customer, or why there is none; returns the rows and the model."""
    champion = require_champion(connection, config, month)
    model: ChurnRisk | Refusal = Refusal(
        "No churn risk: no feature tells how long ago the last order was; name it under roles.recency."
    )
    if config.recency_feature is not None:
        if config.source.orders is not None:
            write_histories(connection, config, month)
        training = _training(connection, config, champion, month)
        model = fit_churn_risk(training, month, config.warnings.horizon_days, seed=config.model.seed)
    connection.execute(f"DELETE FROM {CHURN_RISK.name} WHERE month = ?", [month])
    rows = 0
    if isinstance(model, ChurnRisk):
        for part in _everybody(connection, config, champion, month):
            found = {"customer_id": part.customer_ids, "churn_risk": model.predict(part)}
            connection.register("predicted", _arrow(found))
            rows += insert_query(connection, CHURN_RISK, f"SELECT {month_literal(month)} AS month, * FROM predicted")
            connection.unregister("predicted")
    write_rows(connection, CHURN_RISK_MODELS, month, [_as_row(model, config)])
    return rows, model


def write_quality(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, observed: Sequence[date]
) -> list[tuple[date, str, ForecastQuality]]:
    """How good the predicting of these months was, whose silence is now known: as it stood then, and with fewer
    inputs."""
    connection.execute(f"DELETE FROM {CHURN_RISK_QUALITY.name} WHERE observed_in = ?", [month])
    found = []
    for earlier in observed:
        rows = connection.execute(
            f"""
            SELECT r.churn_risk, s.silent FROM {CHURN_RISK.name} AS r
            JOIN {OBSERVED_SILENCE.name} AS s ON s.month = r.month AND s.customer_id = r.customer_id
            WHERE r.month = ? ORDER BY r.customer_id
            """,
            [earlier],
        ).fetchnumpy()
        if not len(rows["churn_risk"]):
            continue
        silent = np.asarray(rows["silent"], dtype=bool)
        found.append((earlier, "all", forecast_quality(np.asarray(rows["churn_risk"], dtype=np.float64), silent)))
        champion = require_champion(connection, config, earlier)
        judged = _labelled(connection, config, champion, earlier)
        training = _training(connection, config, champion, earlier)
        for name, groups in INPUTS.items():
            if name == "history" and judged.history is None:
                continue
            model = fit_churn_risk(
                training, earlier, config.warnings.horizon_days, groups=groups, seed=config.model.seed
            )
            if isinstance(model, ChurnRisk) and judged.silent is not None:
                found.append((earlier, name, forecast_quality(model.predict(judged), judged.silent)))
    insert_rows(
        connection,
        CHURN_RISK_QUALITY,
        [
            {"month": earlier, "inputs": name, **_finite(asdict(quality)), "observed_in": month}
            for earlier, name, quality in found
        ],
    )
    return found


def write_backtest(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, rules: Sequence[WarningRule] = WARNING_RULES
) -> list[BacktestRow]:
    """Judge the warnings of every month whose silence was known when `month` closed, and the list of those to be
    contacted; returns the rows."""
    known = connection.execute(
        f"SELECT DISTINCT month FROM {OBSERVED_SILENCE.name} WHERE observed_in <= ? ORDER BY month", [month]
    ).fetchall()
    horizon = config.warnings.horizon_days
    months: dict[Judged, list[JudgedMonth]] = {judged: [] for judged in JUDGED}
    for (earlier,) in known:  # one at a time: all customers of all months do not fit
        month_then = _warned_month(connection, config, earlier, rules)
        for judged, found in months.items():
            found.append(judge(month_then, horizon, judged))
    rows = [row for judged, found in months.items() for row in rows_of(found, horizon, judged)]
    connection.execute(f"DELETE FROM {WARNING_BACKTEST_HISTORY.name} WHERE evaluated_month = ?", [month])
    insert_rows(
        connection,
        WARNING_BACKTEST_HISTORY,
        [{**asdict(row), "horizon_days": horizon, "evaluated_month": month} for row in rows],
    )
    return rows


def _orderers_of_snapshots(connection: duckdb.DuckDBPyConnection, config: Config, start: date, end: date) -> None:
    """Who ordered from `start` until `end`, as the snapshots of the months between tell by their days since the last
    order: what a month shows is its last order only, so of two the earlier may be hidden by one after `end`."""
    recency = identifier(config.recency_feature or "")
    last = f"(month + INTERVAL 1 MONTH) - to_days(CAST({recency} AS INTEGER))"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE orderers AS
        SELECT DISTINCT customer_id FROM raw_customers
        WHERE month >= {month_literal(start)} AND month < {month_literal(end)} AND isfinite({recency})
            AND {last} >= {month_literal(start)} AND {last} < {month_literal(end)}
    """)


def _training(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> list[CustomerMonth]:
    """The latest months whose silence was known when `month` closed, and of which as much is known as of its own:
    memberships from before the champion's memory begins are of another kind, and a source may have lost old orders."""
    known = connection.execute(
        f"SELECT DISTINCT month FROM {OBSERVED_SILENCE.name} WHERE observed_in <= ? ORDER BY month DESC LIMIT ?",
        [month, TRAINING_MONTHS],
    ).fetchall()
    found = [
        _labelled(connection, config, champion, earlier)
        for (earlier,) in known
        if observed_before(earlier, month, config.warnings.horizon_days)
        and scores_in(connection, champion, earlier)
        and has_seen(connection, champion, earlier)
    ]
    return [customers for customers in found if config.source.orders is None or customers.history is not None]


def _labelled(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> CustomerMonth:
    """Those of the month's customers whose silence is known, with it; of very many, a sample."""
    drawn = drawn_sql(connection, VALIDATED_FEATURES.name, month, TRAINING_ROWS)
    told = histories_tell(connection, config, month, drawn)
    found = read_columns(
        connection, f"{_seen_sql(connection, champion, month, drawn, told=told, shifts=True)} ORDER BY customer_id"
    )
    silent = np.ma.asarray(found["silent"])
    known = ~np.ma.getmaskarray(silent)
    customers = _customers(champion, month, {name: values[known] for name, values in found.items()})
    return replace(customers, silent=np.asarray(silent[known], dtype=bool))


def _everybody(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> Iterator[CustomerMonth]:
    """All customers of the month, by their ids, SCORED_ROWS at once: of more, each has some dozens of inputs."""
    told = histories_tell(connection, config, month)
    # with a history shifts are only measured beside it
    seen = _seen_sql(connection, champion, month, told=told, shifts=not told)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE to_predict AS
        SELECT row_number() OVER (ORDER BY customer_id) - 1 AS place, * FROM ({seen}) ORDER BY place
    """)
    (customers,) = connection.execute("SELECT count(*) FROM to_predict").fetchone() or (0,)
    for start in range(0, customers, SCORED_ROWS):
        part = f"SELECT * FROM to_predict WHERE place >= {start} AND place < {start + SCORED_ROWS} ORDER BY place"
        yield _customers(champion, month, read_columns(connection, part))
    connection.execute("DROP TABLE to_predict")


def _seen_sql(
    connection: duckdb.DuckDBPyConnection,
    champion: SegmentModel,
    month: date,
    drawn: str = "true",
    *,
    told: bool,
    shifts: bool,
) -> str:
    """A query of what `_customers` reads of those of the month's customers who are drawn. told : with their histories.
    shifts : with what the champion saw of them a month earlier, where it can."""
    before, names, of_month = add_months(month, -1), champion.space.names, f"month = {month_literal(month)}"
    columns = ["n.customer_id", *(f"n.{identifier(name)} AS now_{j}" for j, name in enumerate(names))]
    columns += [*prior_columns(champion, "n", "now"), "s.silent"]
    joins = f"LEFT JOIN {OBSERVED_SILENCE.name} AS s ON s.{of_month} AND s.customer_id = n.customer_id"
    if shifts and scores_in(connection, champion, before) and has_seen(connection, champion, before):
        columns += ["b.customer_id IS NOT NULL AS was_there", *prior_columns(champion, "b", "before")]
        columns += [f"b.{identifier(name)} AS before_{j}" for j, name in enumerate(names)]
        then = scored_rows(connection, champion, customers_of(before))
        joins += f" LEFT JOIN {then} AS b ON b.customer_id = n.customer_id"
    if told:
        columns += [f"h.{name} AS history_{j}" for j, name in enumerate(HISTORY)]
        columns.append(f"({_history_days_sql(month)}) AS history_days")
        joins += f" JOIN {ORDER_HISTORIES.name} AS h ON h.{of_month} AND h.customer_id = n.customer_id"
    now = f"(SELECT * FROM {scored_rows(connection, champion, customers_of(month))} AS seen WHERE {drawn})"
    return f"SELECT {', '.join(columns)} FROM {now} AS n {joins}"


def _customers(champion: SegmentModel, month: date, found: Mapping[str, NDArray[np.generic]]) -> CustomerMonth:
    """Rows of `_seen_sql` as arrays, without labels."""
    d = len(champion.space.names)
    X = _matrix(found, "now", d)
    R_before = np.full((len(X), len(champion.segments)), np.nan)
    if "was_there" in found and found["was_there"].any():
        there = np.asarray(found["was_there"], dtype=bool)
        then = {name: values[there] for name, values in found.items()}
        R_before[there] = champion.responsibilities(
            _matrix(then, "before", d), prior=prior_of(champion, then, "before")
        )
    return CustomerMonth(
        month,
        found["customer_id"].astype(str),
        champion.space.transform(X),
        champion.responsibilities(X, prior=prior_of(champion, found, "now")),
        R_before,
        None,
        _matrix(found, "history", len(HISTORY)) if "history_0" in found else None,
        _days(found["history_days"]) if "history_days" in found else None,
    )


def _history_days_sql(month: date) -> str:
    """A query of how many days the source's orders went back at the end of the month, as far as its customers tell."""
    return (
        f"SELECT date_diff('day', min(first_seen), DATE '{as_of(month).isoformat()}') FROM raw_customers "
        f"WHERE month <= {month_literal(month)}"
    )


def _days(column: NDArray[np.generic]) -> int | None:
    """What stands in every row of the column; None where nothing does."""
    known = np.ma.compressed(np.ma.asarray(column))
    return int(known[0]) if len(known) else None


def _matrix(found: Mapping[str, NDArray[np.generic]], which: str, columns: int) -> Array:
    parts = [np.ma.filled(np.ma.asarray(found[f"{which}_{j}"], dtype=np.float64), np.nan) for j in range(columns)]
    return np.column_stack(parts)


def _warned_month(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, rules: Sequence[WarningRule]
) -> WarnedMonth:
    """The warnings of one month beside what could have been used in their place, over its assigned customers."""
    champion = require_champion(connection, config, month)
    before = add_months(month, -1)
    engaged_before = f"(SELECT customer_id, engaged FROM ({_engaged(champion, month)}) WHERE false)"
    if connection.execute("SELECT 1 FROM monthly_assignments WHERE month = ? LIMIT 1", [before]).fetchone():
        engaged_before = f"({_engaged(require_champion(connection, config, before), before)})"
    flags = ", ".join(
        f"coalesce(bool_or(w.warning = {literal(rule.name)}), false) AS {identifier(rule.name)}" for rule in rules
    )
    recency, limit = identifier(config.recency_feature or ""), number(config.warnings.engaged_above)
    found = read_columns(
        connection,
        f"""
        SELECT e.customer_id, greatest(e.engaged, coalesce(any_value(b.engaged), 0)) > {limit} AS eligible,
            any_value(v.{recency}) AS days_since_last_order, any_value(r.churn_risk) AS churn_risk,
            coalesce(any_value(m.revenue_at_risk), -1E0) AS revenue_at_risk,
            coalesce(any_value(y.own_window_12), 0E0) AS yearly_spend,
            any_value(s.silent) AS silent, coalesce(bool_or(w.within_budget), false) AS to_contact,
            coalesce(any_value(c.arm) <> 'control', true) AS contact_allowed, {flags}
        FROM ({_engaged(champion, month)}) AS e
        LEFT JOIN {engaged_before} AS b ON b.customer_id = e.customer_id
        LEFT JOIN raw_customers AS v ON v.month = {month_literal(month)} AND v.customer_id = e.customer_id
        LEFT JOIN {CHURN_RISK.name} AS r ON r.month = {month_literal(month)} AND r.customer_id = e.customer_id
        LEFT JOIN {CUSTOMER_VALUE.name} AS m ON m.month = {month_literal(month)} AND m.customer_id = e.customer_id
        LEFT JOIN {SPEND_FORECASTS.name} AS y ON y.month = {month_literal(month)} AND y.customer_id = e.customer_id
        JOIN {OBSERVED_SILENCE.name} AS s ON s.month = {month_literal(month)} AND s.customer_id = e.customer_id
        LEFT JOIN customer_actions AS c ON c.month = {month_literal(month)} AND c.customer_id = e.customer_id
        LEFT JOIN early_warnings AS w
            ON w.month = {month_literal(month)} AND w.customer_id = e.customer_id AND w.status <> 'resolved'
        GROUP BY e.customer_id, e.engaged ORDER BY e.customer_id
        """,
    )
    alerts = {rule.name: np.asarray(found[rule.name], dtype=bool) for rule in rules}
    risk = np.asarray(np.ma.filled(found["churn_risk"].astype(np.float64), np.nan))
    at_risk, yearly = (np.asarray(found[name], dtype=np.float64) for name in ("revenue_at_risk", "yearly_spend"))
    return WarnedMonth(
        month,
        found["customer_id"].astype(str),
        np.asarray(found["eligible"], dtype=bool),
        {WHOLE: np.logical_or.reduce(list(alerts.values())), **alerts},
        np.asarray(np.ma.filled(np.ma.asarray(found["days_since_last_order"], dtype=np.float64), np.nan)),
        risk if np.isfinite(risk).all() else None,
        np.asarray(found["silent"], dtype=bool),
        np.asarray(found["contact_allowed"], dtype=bool),
        np.asarray(found["to_contact"], dtype=bool),
        at_risk if (at_risk >= 0).any() else None,
        yearly if yearly.any() else None,
    )


def _engaged(champion: SegmentModel, month: date) -> str:
    engaged = probability_of(champion, ("engaged",))
    return (
        f"SELECT customer_id, coalesce({engaged}, 0E0) AS engaged FROM monthly_assignments "
        f"WHERE month = {month_literal(month)}"
    )


def _as_row(model: ChurnRisk | Refusal, config: Config) -> dict[str, object]:
    row: dict[str, object] = {"horizon_days": config.warnings.horizon_days}
    if isinstance(model, Refusal):
        unknown = dict.fromkeys(("months", "customers", "events", "by_length"))
        return {**row, **unknown, "refused": model.reason}
    known = {"customers": model.customers, "events": model.events, "by_length": model.by_length}
    return {**row, "months": list(model.months), **known, "refused": None}


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def _arrow(columns: dict[str, NDArray[np.generic]]) -> object:
    import pyarrow as pa

    return pa.table({name: pa.array(values) for name, values in columns.items()})
