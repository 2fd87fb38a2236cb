"""What a report says of a month, as plain rows of the published file: SQL in, lists of dicts out.

Nothing of a later month is read, so that the report of an older month comes out as it did then. What belongs here:
which rows. What does not: words, drawing, layout.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import duckdb

from segment_pipeline.database.rows import Row, is_there, read_rows
from segment_pipeline.early_warnings.rules_store import standings_of, warning_figures
from segment_pipeline.errors import PipelineError
from segment_pipeline.months import month_key
from segment_pipeline.movement.reference_store import chance_rows
from segment_pipeline.segments.assignments_store import movement_figures
from segment_pipeline.segments.charts_store import certainty_bins, drift_history, month_moves, share_history
from segment_pipeline.sources.reconciliation import read_account

Story = dict[str, Any]

QUEUE_ROWS = 10
SAMPLE_ROWS = 3
PATH_ROWS = 8
JUDGED_MONTHS = 5


class ReportError(PipelineError):
    """The report could not be made; the published month is as it was."""


def read_story(connection: duckdb.DuckDBPyConnection, month: date) -> Story:
    """Everything that the template needs of `month`, by name; a list is empty, and a row None, where nothing is known.

    Raises ReportError when the month is not in the published file.
    """
    months = [
        row["month"] for row in read_rows(connection, "SELECT DISTINCT month FROM segment_profiles ORDER BY month")
    ]
    if month not in months:
        there = f"{month_key(months[0])} to {month_key(months[-1])}" if months else "none"
        raise ReportError(
            f"There is no report to make of {month_key(month)}: it is not in the published file ({there}). "
            f"Run: segment-pipeline run --months {month_key(month)}"
        )
    versions = _versions(connection, month)
    base = _base(connection, month)
    champion = next((row for row in versions if row["model_version"] == base["model_version"]), None)
    limits = read_rows(connection, "SELECT * FROM feature_limits WHERE month = ?", month)
    return {
        "month": month,
        "months": [known for known in months if known <= month],
        "window_months": next((row.get("window_months") for row in limits), None),
        "base": base,
        "account": read_account(connection, month),
        "champion": champion,
        "versions": versions,
        "model_features": [row[0] for row in json.loads(champion["feature_schema"])] if champion else [],
        "candidates": _candidates(connection, champion["trained_month"] if champion else month),
        "challengers": _candidates(connection, month),
        # both empty in a file of before that was said
        "better": {row["feature"]: row["better"] for row in limits if "better" in row},
        "category_of": {row["feature"]: row["category"] for row in limits if row.get("category")},
        "money_of_segments": _money(connection, month),
        **_segments(connection, month),
        **_journeys(connection, month),
        **_attention(connection, month),
        **_model_health(connection, month),
        **_validation(connection, month),
    }


def _base(connection: duckdb.DuckDBPyConnection, month: date) -> Row:
    return read_rows(
        connection,
        """
        SELECT count(*) AS customers, any_value(model_version) AS model_version,
            avg(max_probability) AS mean_max_probability, avg(CAST(tier = 'hybrid' AS DOUBLE)) AS hybrid_share,
            count(*) FILTER (is_atypical) AS atypical,
            count(*) FILTER (tier = 'dominant') AS dominant, count(*) FILTER (tier = 'hybrid') AS hybrid,
            count(*) FILTER (tier = 'leaning') AS leaning, count(*) FILTER (tier = 'diffuse') AS diffuse
        FROM monthly_assignments WHERE month = ?
        """,
        month,
    )[0]


def _versions(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    rows = read_rows(
        connection,
        "SELECT * EXCLUDE (parameters), json_exists(parameters, '$.memory') AS has_memory FROM model_versions "
        "WHERE trained_month <= ? ORDER BY model_version",
        month,
    )
    # an earlier version had a segment for every component, and its file has no such column
    return [row | {"n_segments": row.get("n_segments") or row["n_components"]} for row in rows]


def _candidates(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    rows = read_rows(connection, "SELECT * FROM candidate_models WHERE month = ? ORDER BY n_components", month)
    return [{"n_segments": None, "covariance_type": "full"} | row for row in rows]


def _categories(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """What each segment spends on, that of which all customers spend most first; none in a file of before there was."""
    if not is_there(connection, "segment_categories"):
        return []
    return read_rows(
        connection,
        "SELECT * EXCLUDE (month) FROM segment_categories WHERE month = ? "
        "ORDER BY segment_id, category IN ('(other)', '(none)'), population_share DESC, category",
        month,
    )


def _examples(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """A hybrid of each segment whom its purchases tell apart; none in a file of before there was."""
    if not is_there(connection, "segment_examples"):
        return []
    return read_rows(connection, "SELECT * EXCLUDE (month) FROM segment_examples WHERE month = ?", month)


def _money(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """What each segment spent in every month so far, and what of the next twelve is at risk; none where the file does
    not tell it."""
    if not is_there(connection, "segment_value"):
        return []
    return read_rows(
        connection,
        "SELECT month, segment_id, month_revenue, revenue_at_risk FROM segment_value WHERE month <= ? "
        "ORDER BY month, segment_id",
        month,
    )


def _segments(connection: duckdb.DuckDBPyConnection, month: date) -> Story:
    is_between = "is_between" if is_there(connection, "monthly_assignments", "is_between") else "false"
    of_month = {
        "features": """
            SELECT * EXCLUDE (month) FROM segment_feature_profiles WHERE month = ? ORDER BY segment_id, feature
        """,
        "hybrids": """
            SELECT segment_id, second_segment_id, count(*) AS customers FROM monthly_assignments
            WHERE month = ? AND tier = 'hybrid' GROUP BY ALL ORDER BY segment_id, customers DESC, second_segment_id
        """,
        "between": f"""
            SELECT segment_id, count(*) AS customers FROM monthly_assignments
            WHERE month = ? AND {is_between} GROUP BY segment_id
        """,
        "samples": f"""
            WITH ranked AS (
                SELECT month, customer_id, segment_id, max_probability, second_segment_id, second_probability, tier,
                    CASE tier WHEN 'dominant' THEN 'typical' WHEN 'hybrid' THEN 'hybrid' END AS kind,
                    CASE WHEN tier = 'dominant' THEN log_likelihood ELSE second_probability END AS goodness,
                    -- of hybrids those of the commonest pair are the example
                    CASE WHEN tier = 'hybrid'
                        THEN count(*) OVER (PARTITION BY segment_id, tier, second_segment_id) END AS of_pair
                FROM monthly_assignments WHERE month = ?
            ),
            chosen AS (
                SELECT *, row_number() OVER (
                    PARTITION BY segment_id, kind
                    ORDER BY of_pair DESC, CASE kind WHEN 'hybrid' THEN second_segment_id END,
                        goodness DESC, customer_id
                ) AS place
                FROM ranked WHERE kind IS NOT NULL
            )
            SELECT s.* EXCLUDE (month, of_pair, place), r.churn_risk FROM chosen AS s
            LEFT JOIN churn_risk AS r ON r.month = s.month AND r.customer_id = s.customer_id
            WHERE s.place <= {SAMPLE_ROWS} ORDER BY s.segment_id, s.kind DESC, s.place
        """,
        # of each segment, and of all (segment_id NULL); without arms there is nobody to judge an action by
        "actions": """
            SELECT segment_id, action_id, any_value(what) AS what, any_value(owner) AS owner,
                any_value(channel) AS channel, any_value(kpi) AS kpi, max(measure_until) AS measure_until,
                count(*) AS customers, bool_or(arm IS NOT NULL) AS judged
            FROM customer_actions WHERE month = ? AND action_id IS NOT NULL
            GROUP BY GROUPING SETS ((segment_id, action_id), (action_id))
            QUALIFY row_number() OVER (PARTITION BY segment_id ORDER BY customers DESC, action_id) <= 4
            ORDER BY segment_id NULLS FIRST, customers DESC, action_id
        """,
    }
    history = share_history(connection, month)
    segments = [row for row in history if row["month"] == month]
    return {name: read_rows(connection, query, month) for name, query in of_month.items()} | {
        "segments": sorted(segments, key=lambda row: (-row["share"], row["segment_id"])),
        "categories": _categories(connection, month),
        "examples": _examples(connection, month),
        "history": history,
        "certainty": certainty_bins(connection, month),
    }


def _journeys(connection: duckdb.DuckDBPyConnection, month: date) -> Story:
    moves = month_moves(connection, month)
    measured_by = read_rows(
        connection, "SELECT any_value(model_version) AS version FROM transition_deltas WHERE month = ?", month
    )[0]
    return {
        "moves": moves,
        "movement": movement_figures(connection, month) if moves else None,
        "measured_by": measured_by["version"],
        "moved_by_refit": _moved_by_refit(connection, month),
        "chance": chance_rows(connection, month),
        "forecast": read_rows(
            connection,
            "SELECT * FROM segment_forecast WHERE month = ? AND months_ahead IN (1, 3) ORDER BY months_ahead, state",
            month,
        )
        if is_there(connection, "segment_forecast")
        else [],
        "conversion": read_rows(
            connection, "SELECT * FROM journey_conversion WHERE month = ? ORDER BY from_state, months_later", month
        ),
        "paths": read_rows(
            connection,
            f"""
            SELECT months, path, customers, share, crosses_refit FROM journey_paths
            WHERE month = ? AND months = (SELECT max(months) FROM journey_paths WHERE month = ? AND months <= 3)
            ORDER BY place LIMIT {PATH_ROWS}
            """,
            month,
            month,
        ),
    }


def _moved_by_refit(connection: duckdb.DuckDBPyConnection, month: date) -> int:
    """How many customers did not move, and stand in another segment than was published the month before."""
    query = (
        "SELECT count(*) AS customers FROM audience_feed "
        "WHERE month = ? AND audience_type = 'segment' AND change = 'left' AND by_refit"
    )
    return int(read_rows(connection, query, month)[0]["customers"])


def _attention(connection: duckdb.DuckDBPyConnection, month: date) -> Story:
    standings = standings_of(connection, month)
    valued = is_there(connection, "customer_value")
    value = "customer_value" if valued else "(SELECT NULL AS month, NULL AS customer_id, NULL AS revenue_at_risk)"
    return {
        "warned": warning_figures(connection, month),
        "list_stands_on": standings[-1].sentence if standings else None,
        "list_action": standings[-1] if standings and standings[-1].what else None,
        "standings": [vars(standing) for standing in standings[:-1]],
        "at_risk": _first(
            read_rows(
                connection,
                f"""
                SELECT sum(revenue_at_risk) AS of_all, sum(revenue_at_risk) FILTER (
                    customer_id IN (SELECT customer_id FROM early_warnings WHERE month = ? AND within_budget)
                ) AS of_list
                FROM {value} WHERE month = ? HAVING of_all IS NOT NULL
                """,
                month,
                month,
            )
        ),
        "value_quality": read_rows(
            connection,
            "SELECT month, horizon_months, bias FROM customer_value_quality WHERE is_served AND observed_in <= ?",
            month,
        )
        if is_there(connection, "customer_value_quality")
        else [],
        "contacts_by_action": _contacts_by_action(connection, month),
        "queue": read_rows(
            connection,
            f"""
            WITH urgent AS (
                SELECT customer_id, any_value(priority) AS priority, any_value(churn_risk) AS churn_risk,
                    min(first_month) AS first_month,
                    string_agg(concat_ws(': ', replace(warning, '_', ' '), evidence), '; ' ORDER BY warning) AS evidence
                FROM early_warnings
                WHERE month = ? AND status <> 'resolved' AND priority IS NOT NULL AND within_budget
                GROUP BY customer_id ORDER BY priority, customer_id LIMIT {QUEUE_ROWS}
            )
            SELECT u.*, m.segment_id, m.segment_name, a.action_id, a.what, v.revenue_at_risk FROM urgent AS u
            LEFT JOIN monthly_assignments AS m ON m.month = ? AND m.customer_id = u.customer_id
            LEFT JOIN customer_actions AS a ON a.month = ? AND a.customer_id = u.customer_id
            LEFT JOIN {value} AS v ON v.month = ? AND v.customer_id = u.customer_id
            ORDER BY u.priority, u.customer_id
            """,
            month,
            month,
            month,
            month,
        ),
        "backtest": read_rows(
            connection,
            "SELECT * FROM warning_backtest_history WHERE evaluated_month = ? AND month IS NULL "
            "AND judged = 'everybody' ORDER BY warning",
            month,
        ),
        "contact_list": _first(
            read_rows(
                connection,
                "SELECT * FROM warning_backtest_history WHERE evaluated_month = ? AND month IS NULL "
                "AND judged = 'within_budget' AND warning = 'any' AND alerts > 0",
                month,
            )
        ),
        "risk_model": _first(read_rows(connection, "SELECT * FROM churn_risk_models WHERE month = ?", month)),
        "risk_quality": read_rows(
            connection,
            "SELECT * FROM churn_risk_quality WHERE observed_in <= ? "
            f"QUALIFY dense_rank() OVER (ORDER BY month DESC) <= {JUDGED_MONTHS} ORDER BY month DESC, inputs",
            month,
        ),
        "campaigns": read_rows(
            connection,
            "SELECT * FROM campaign_lift WHERE month <= ? "
            "ORDER BY month DESC, campaign, segment_id NULLS FIRST, metric, against LIMIT 40",
            month,
        ),
    }


def _contacts_by_action(connection: duckdb.DuckDBPyConnection, month: date) -> Mapping[str, int]:
    """How many of the contact list each action is for."""
    rows = read_rows(
        connection,
        """
        SELECT action_id, count(*) AS customers FROM customer_actions
        WHERE month = ? AND action_id IS NOT NULL
            AND customer_id IN (SELECT customer_id FROM early_warnings WHERE month = ? AND within_budget)
        GROUP BY action_id
        """,
        month,
        month,
    )
    return {row["action_id"]: row["customers"] for row in rows}


def _model_health(connection: duckdb.DuckDBPyConnection, month: date) -> Story:
    return {
        "drift": drift_history(connection, month),
        "alerts": read_rows(
            connection,
            "SELECT * FROM drift_alerts WHERE month = ? AND status IS NOT NULL ORDER BY metric, segment_id, feature",
            month,
        ),
        "lineage": read_rows(
            connection,
            "SELECT * FROM segment_lineage WHERE month <= ? AND model_version > 1 "
            "ORDER BY month, segment_id NULLS LAST, previous_segment_id",
            month,
        ),
        "diagnostics": read_rows(
            connection, "SELECT * EXCLUDE (month) FROM feature_diagnostics WHERE month = ? ORDER BY feature", month
        ),
        "rejected": read_rows(
            connection,
            """
            SELECT reason, count(*) AS rows
            FROM (SELECT unnest(reasons) AS reason FROM rejected_customers WHERE month = ?)
            GROUP BY reason ORDER BY rows DESC, reason
            """,
            month,
        ),
    }


VALIDATION_TABLES = (
    "suitability",
    "suitability_findings",
    "model_validation",
    "alternative_segmentations",
    "outlier_groups",
    "segment_audit_summary",
)
"""Computed at a refit, each month, or on demand: the report shows what was known last."""


def _validation(connection: duckdb.DuckDBPyConnection, month: date) -> Mapping[str, Sequence[Row]]:
    return {
        table: read_rows(
            connection,
            f"SELECT * FROM {table} WHERE month = (SELECT max(month) FROM {table} WHERE month <= ?) ORDER BY ALL",
            month,
        )
        if is_there(connection, table)
        else []
        for table in VALIDATION_TABLES
    }


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None
