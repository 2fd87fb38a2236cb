"""Drift alerts of a month: the refit triggers, how the base has changed, and the state of each alert."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.config.config import Config
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.rows import feature_matrix, read_rows, write_rows
from segment_pipeline.database.store import month_literal, month_rows, replace_month
from segment_pipeline.models.champions_store import previous_champion, scores_in
from segment_pipeline.months import add_months, month_key
from segment_pipeline.segments.charts_store import HISTORY_MONTHS
from segment_pipeline.segments.drift import feature_drift, in_words, largest_shifts, size_change
from segment_pipeline.segments.tables import DRIFT_ALERTS, FEATURE_DRIFT, MONTHLY_ASSIGNMENTS
from segment_pipeline.sources.over_time.contents import changes_before
from segment_pipeline.words import figure

FEWEST_CHANGES = 6
"""Past changes of an audience's size from which on one more is judged: from fewer, chance reaches any limit."""


@dataclass(frozen=True)
class Figure:
    """A row of `drift_alerts` before its state is known; has fired, unless it says otherwise, beyond its threshold."""

    metric: str
    value: float
    threshold: float
    fired: bool
    feature: str | None = None
    segment_id: int | None = None


def base_figures(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[Figure]:
    """What is measured on the base and not on the champion, its features aside."""
    now = month_rows(connection, MONTHLY_ASSIGNMENTS, month)
    before = month_rows(connection, MONTHLY_ASSIGNMENTS, add_months(month, -1))
    admissible = connection.execute(
        "SELECT count(*) FROM candidate_models WHERE month = ? AND admissible", [month]
    ).fetchone()
    count = admissible[0] if admissible else 0
    figures = [Figure("admissible_candidates", float(count), 1.0, count < 1)]
    if before:
        change, limit = abs(now - before) / before, config.quality.max_row_count_change
        figures.append(Figure("customers_change", change, limit, change > limit))
    changed = {one.of_month for one in changes_before(connection, config, month)}
    if changed:
        figures.append(Figure("changed_months", float(len(changed)), 0.0, True))
    return figures


def audience_figures(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date
) -> tuple[list[Figure], list[str]]:
    """How each segment and tier has changed in size, beside its own past changes; and of those that have jumped, what
    their customers were and are, in words. None of an audience of which too few changes are known.

    Both sizes of a change are one model's: a refit is no jump, and none stands in an audience's past.
    """
    rows = read_rows(
        connection,
        """
        WITH assigned AS (
            SELECT month, tier, model_version, count(*) AS customers FROM monthly_assignments
            WHERE month BETWEEN ? AND ? GROUP BY ALL
        ),
        of_month AS (
            SELECT month, any_value(model_version) AS model_version, sum(customers) AS customers FROM assigned
            GROUP BY month
        ),
        of_tiers AS (
            SELECT m.month, m.model_version, t.tier, coalesce(a.customers, 0) AS customers
            FROM of_month AS m CROSS JOIN (SELECT DISTINCT tier FROM assigned) AS t
            LEFT JOIN assigned AS a ON a.month = m.month AND a.tier = t.tier
        )
        SELECT p.month, p.segment_id, CAST(NULL AS VARCHAR) AS tier, 'segment ' || p.segment_id AS audience,
            p.customers AS now, CAST(round(p.share_before * b.customers) AS BIGINT) AS before
        FROM segment_profiles AS p
        JOIN of_month AS m ON m.month = p.month
        JOIN of_month AS b ON b.month = p.month - INTERVAL 1 MONTH
        WHERE p.share_before IS NOT NULL
        UNION ALL
        SELECT n.month, NULL, n.tier, 'the tier ' || n.tier, n.customers, b.customers
        FROM of_tiers AS n
        JOIN of_tiers AS b ON b.month = n.month - INTERVAL 1 MONTH AND b.tier = n.tier
            AND b.model_version = n.model_version
        ORDER BY audience, month
        """,
        add_months(month, -HISTORY_MONTHS),
        month,
    )
    changes = defaultdict(list)
    for row in rows:
        changes[row["audience"]].append(np.log((row["now"] + 0.5) / (row["before"] + 0.5)))
    figures, jumped = [], []
    for row in rows:
        *past, now = changes[row["audience"]]
        if row["month"] != month or len(past) < FEWEST_CHANGES:
            continue
        value, limit = size_change(np.array(past), now, config.drift.max_audience_change)
        figures.append(Figure("audience_size", value, limit, value > limit, row["tier"], row["segment_id"]))
        if value > limit:
            jumped.append(f"{row['audience']} has {row['now']:,} customers, {row['before']:,} the month before")
    return figures, jumped


def write_feature_drift(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[Figure]:
    """Replace the month's feature_drift; returns its figures for drift_alerts.

    None at bootstrap, and when this month has not all features of the month before's champion, or no customers are left
    of the month that it was fitted to.
    """
    champion = previous_champion(connection, config, month)
    rows: list[dict[str, object]] = []
    figures: list[Figure] = []
    if champion is not None and scores_in(connection, champion, month):
        then, now = (
            feature_matrix(connection, VALIDATED_FEATURES.name, when, champion.space.names, config.model.fit_sample)[1]
            for when in (champion.trained_month, month)
        )
        if len(then) and np.isfinite(then).all():
            moved = largest_shifts(
                connection.execute(
                    "SELECT segment_id, feature, value FROM refit_triggers "
                    "WHERE month = ? AND metric = 'component_mean_shift' ORDER BY segment_id",
                    [month],
                ).fetchall()
            )
            limits = config.drift
            for drift in feature_drift(champion.space, then, now, limits.max_psi, limits.max_wasserstein):
                segment_id, shift = moved.get(drift.feature, (None, None))
                rows.append(
                    {
                        "model_version": champion.model_version,
                        "reference_month": champion.trained_month,
                        **vars(drift),
                        "drifted": drift.drifted,
                        "segment_id": segment_id,
                        "component_mean_shift": shift,
                        "sentence": in_words(drift, month_key(champion.trained_month), segment_id, shift),
                    }
                )
                for metric, value, limit in (
                    ("population_psi", drift.psi, drift.psi_limit),
                    ("population_wasserstein", drift.wasserstein, drift.wasserstein_limit),
                ):
                    figures.append(Figure(metric, value, limit, value > limit, drift.feature))
    write_rows(connection, FEATURE_DRIFT, month, rows)
    return figures


def write_drift_alerts(connection: duckdb.DuckDBPyConnection, month: date, figures: Sequence[Figure]) -> int:
    """Replace the month: one row per figure, and one for each alert of last month whose figure is not measured any more
    (its segment was retired, say), so that every alert that was new is seen to end."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE base_figures (metric VARCHAR, value DOUBLE, threshold DOUBLE, fired BOOLEAN, "
        "feature VARCHAR, segment_id INTEGER)"
    )
    if figures:
        rows_of = [list(vars(figure).values()) for figure in figures]
        connection.executemany("INSERT INTO base_figures VALUES (?, ?, ?, ?, ?, ?)", rows_of)
    rows = replace_month(
        connection,
        DRIFT_ALERTS,
        month,
        f"""
        WITH measured AS (
            SELECT metric, segment_id, feature, value, threshold, fired, severity, months_fired FROM refit_triggers
            WHERE month = {month_literal(month)}
            UNION ALL
            SELECT metric, segment_id, feature, value, threshold, fired,
                CASE WHEN fired THEN 'alert' END, CAST(NULL AS INTEGER)
            FROM base_figures
        ),
        before AS (SELECT * FROM drift_alerts WHERE month = {month_literal(add_months(month, -1))} AND fired)
        SELECT {month_literal(month)} AS month,
            coalesce(m.metric, b.metric) AS metric, coalesce(m.segment_id, b.segment_id) AS segment_id,
            coalesce(m.feature, b.feature) AS feature, m.value, coalesce(m.threshold, b.threshold) AS threshold,
            coalesce(m.fired, false) AS fired,
            CASE WHEN m.fired AND b.metric IS NULL THEN 'new' WHEN m.fired THEN 'ongoing'
                WHEN b.metric IS NOT NULL THEN 'resolved' END AS status,
            m.severity,
            -- a trigger's own count starts again with a champion; the base has none
            coalesce(m.months_fired, CASE WHEN m.fired THEN 1 + coalesce(b.months_fired, 0) ELSE 0 END) AS months_fired
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
        "SELECT status, metric, segment_id, feature, value, threshold, severity FROM drift_alerts "
        "WHERE month = ? AND fired ORDER BY metric, segment_id, feature",
        [month],
    ).fetchall()
    return [
        f"{status} {metric}"
        + (f", segment {segment}" if segment is not None else "")
        + (f", {feature}" if feature is not None else "")
        + f": {figure(value, 3)} (limit {figure(threshold, 3)})"
        + (", refits if it lasts" if severity == "soft" else "")
        for status, metric, segment, feature, value, threshold, severity in rows
    ]
