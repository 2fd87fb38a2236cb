"""Drift alerts of a month: the refit triggers and the health of the base, with the state of each alert."""

from collections.abc import Sequence
from datetime import date

import duckdb

from segment_pipeline.config import Config
from segment_pipeline.months import add_months
from segment_pipeline.warehouse.store import month_literal, month_rows, replace_month
from segment_pipeline.warehouse.tables import DRIFT_ALERTS, MONTHLY_ASSIGNMENTS

Figure = tuple[str, float, float, bool]


def base_figures(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[Figure]:
    """(metric, value, threshold, fired) of what is measured on the base and not on the champion."""
    now = month_rows(connection, MONTHLY_ASSIGNMENTS, month)
    before = month_rows(connection, MONTHLY_ASSIGNMENTS, add_months(month, -1))
    admissible = connection.execute(
        "SELECT count(*) FROM candidate_models WHERE month = ? AND admissible", [month]
    ).fetchone()
    count = admissible[0] if admissible else 0
    figures: list[Figure] = [("admissible_candidates", float(count), 1.0, count < 1)]
    if before:
        change, limit = abs(now - before) / before, config.quality.max_row_count_change
        figures.append(("customers_change", change, limit, change > limit))
    return figures


def write_drift_alerts(connection: duckdb.DuckDBPyConnection, month: date, figures: Sequence[Figure]) -> int:
    """Replace the month: one row per figure, and one for each alert of last month whose figure is not measured any more
    (its segment was retired, say), so that every alert that was new is seen to end."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE base_figures (metric VARCHAR, value DOUBLE, threshold DOUBLE, fired BOOLEAN)"
    )
    if figures:
        connection.executemany("INSERT INTO base_figures VALUES (?, ?, ?, ?)", [list(figure) for figure in figures])
    rows = replace_month(
        connection,
        DRIFT_ALERTS,
        month,
        f"""
        WITH measured AS (
            SELECT metric, segment_id, feature, value, threshold, fired FROM refit_triggers
            WHERE month = {month_literal(month)}
            UNION ALL
            SELECT metric, CAST(NULL AS INTEGER), CAST(NULL AS VARCHAR), value, threshold, fired FROM base_figures
        ),
        before AS (SELECT * FROM drift_alerts WHERE month = {month_literal(add_months(month, -1))} AND fired)
        SELECT {month_literal(month)} AS month,
            coalesce(m.metric, b.metric) AS metric, coalesce(m.segment_id, b.segment_id) AS segment_id,
            coalesce(m.feature, b.feature) AS feature, m.value, coalesce(m.threshold, b.threshold) AS threshold,
            coalesce(m.fired, false) AS fired,
            CASE WHEN m.fired AND b.metric IS NULL THEN 'new' WHEN m.fired THEN 'ongoing'
                WHEN b.metric IS NOT NULL THEN 'resolved' END AS status
        FROM measured AS m
        FULL JOIN before AS b ON b.metric = m.metric
            AND b.segment_id IS NOT DISTINCT FROM m.segment_id AND b.feature IS NOT DISTINCT FROM m.feature
        ORDER BY metric, segment_id, feature
        """,
    )
    connection.execute("DROP TABLE base_figures")
    return rows


def alert_counts(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, int]:
    """How many alerts of the month are new, ongoing and resolved."""
    rows = connection.execute(
        "SELECT status, count(*) FROM drift_alerts WHERE month = ? AND status IS NOT NULL GROUP BY status", [month]
    ).fetchall()
    return {"new": 0, "ongoing": 0, "resolved": 0} | dict(rows)


def fired_alerts(connection: duckdb.DuckDBPyConnection, month: date) -> list[str]:
    """The month's fired alerts as short lines, for the notifier."""
    rows = connection.execute(
        "SELECT status, metric, segment_id, feature, value, threshold FROM drift_alerts "
        "WHERE month = ? AND fired ORDER BY metric, segment_id, feature",
        [month],
    ).fetchall()
    return [
        f"{status} {metric}"
        + (f", segment {segment}" if segment is not None else "")
        + (f", {feature}" if feature is not None else "")
        + f": {value:.3g} (limit {threshold:.3g})"
        for status, metric, segment, feature, value, threshold in rows
    ]
