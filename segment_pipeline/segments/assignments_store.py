"""Assignments, profiles and transitions of a month: set-based SQL under a given champion.

Sums over customers are taken of decimals: unlike a parallel sum of doubles they do not depend on the order of the
threads, so a month that is run twice gives the same bits.
"""

from datetime import date

import duckdb

from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.rows import exact_mean
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.scoring import assignment_sql, membership_sql
from segment_pipeline.models.tables import CHAMPIONS, PRIOR
from segment_pipeline.months import add_months
from segment_pipeline.segments.ahead.silence_store import BySilence
from segment_pipeline.segments.memory_store import customers_of, scored_rows, seen_memberships
from segment_pipeline.segments.soft_moves import expected_moves_sql, moved_sql
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS, TRANSITION_DELTAS, TRANSITION_MATRIX


def write_assignments(
    connection: duckdb.DuckDBPyConnection,
    model: SegmentModel,
    month: date,
    tiers: TierSettings,
    seen_before: str | None = None,
    by_silence: BySilence | None = None,
) -> int:
    """Score every accepted customer of the month; returns how many. A model with memory needs its states of the month
    before: see `memory_store.remember`. seen_before : as of `month_before_store.seen_before`. by_silence : how
    the customers of each silence go on; without it, what is expected of the next month is the chain's."""
    rows = scored_rows(connection, model, customers_of(month))
    if by_silence is not None:
        rows = by_silence.told(model, rows, month)
    ahead = None if by_silence is None else by_silence.transitions
    nobody = "SELECT CAST(NULL AS VARCHAR) AS customer_id, CAST(NULL AS INTEGER) AS segment_id WHERE false"
    query = f"""
        SELECT {month_literal(month)} AS month, now.*, before.segment_id AS previous_segment_id
        FROM ({assignment_sql(model, rows, tiers, by_silence=ahead)}) AS now
        LEFT JOIN ({seen_before or nobody}) AS before ON before.customer_id = now.customer_id
        ORDER BY now.customer_id
    """
    return replace_month(connection, MONTHLY_ASSIGNMENTS, month, query)


def passed_over(connection: duckdb.DuckDBPyConnection) -> list[date]:
    """The months that have a champion and no customers."""
    found = connection.execute(f"""
        SELECT month FROM {CHAMPIONS.name}
        ANTI JOIN (SELECT DISTINCT month FROM {MONTHLY_ASSIGNMENTS.name}) USING (month)
    """)
    return [row[0] for row in found.fetchall()]


def assignment_figures(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, float]:
    """The month's key figures: certainty, hybrids, tiers, and the largest distance of a row of probabilities from 1."""
    cursor = connection.execute(
        f"""
        SELECT {exact_mean("max_probability")} AS mean_max_probability, {exact_mean("entropy")} AS mean_entropy,
            avg(CAST(tier = 'hybrid' AS INTEGER)) AS hybrid_share, avg(CAST(is_atypical AS INTEGER)) AS atypical_share,
            avg(CAST(tier = 'dominant' AS INTEGER)) AS dominant_share,
            coalesce(max(abs(list_sum(probabilities) - 1)), 0E0) AS largest_sum_error
        FROM monthly_assignments WHERE month = ?
        """,
        [month],
    )
    names = [column[0] for column in cursor.description or []]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


def movement_figures(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, int]:
    """How many customers stayed in their segment, moved to another, came, came back, and fell silent; and of how many
    who were there in both months nothing is known, as no champion can see both."""
    cursor = connection.execute(
        """
        SELECT count(*) FILTER (model_version IS NOT NULL AND from_segment_id = to_segment_id) AS stayed,
            count(*) FILTER (model_version IS NOT NULL AND from_segment_id <> to_segment_id) AS moved,
            count(*) FILTER (model_version IS NULL AND from_segment_id <> to_segment_id) AS unmeasured,
            count(*) FILTER (from_state = 'new') AS new, count(*) FILTER (from_state = 'returned') AS returned,
            count(*) FILTER (to_state = 'lapsed') AS lapsed
        FROM transition_deltas WHERE month = ?
        """,
        [month],
    )
    names = [column[0] for column in cursor.description or []]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


def write_transitions(
    connection: duckdb.DuckDBPyConnection, measuring_champion: SegmentModel | None, month: date, *, has_previous: bool
) -> tuple[int, int]:
    """Where every customer of this month or the month before came from and went; returns customers and matrix rows.

    `measuring_champion` (`champions_store.measuring_champion`) measures both months, so that a refit never looks like
    movement. It measures with its own memory, where it has one. Without it, as no champion can see both months, the
    states are each month's own segments and the shift is NULL. Without a month before (`has_previous` False) the tables
    stay empty for this month.
    """
    before = add_months(month, -1)
    _score_both_months(connection, measuring_champion, before, month)
    deltas = f"""
        SELECT {month_literal(month)} AS month, customer_id, from_state, to_state, from_segment_id, to_segment_id,
            shift, {_role_change(measuring_champion, ("engaged",))} AS engaged_change,
            {_role_change(measuring_champion, ("at_risk", "dormant"))} AS dormant_change, moved_probability,
            CASE WHEN changes IS NOT NULL THEN {_ids(measuring_champion)} END AS segment_ids, changes,
            {measuring_champion.model_version if measuring_champion is not None else "NULL"} AS model_version
        FROM ({_states_sql(before, month, measuring_champion)})
        WHERE {"true" if has_previous else "false"}
        ORDER BY customer_id
    """
    customers = replace_month(connection, TRANSITION_DELTAS, month, deltas)
    moves = replace_month(connection, TRANSITION_MATRIX, month, _matrix_sql(measuring_champion, month))
    connection.execute("DROP TABLE scored_before")
    connection.execute("DROP TABLE scored_now")
    return customers, moves


def _score_both_months(
    connection: duckdb.DuckDBPyConnection, measuring_champion: SegmentModel | None, before: date, month: date
) -> None:
    for name, of_month in (("scored_before", before), ("scored_now", month)):
        ids = _ids(measuring_champion)
        if measuring_champion is None:
            scored = f"""
                SELECT customer_id, segment_id, probabilities FROM monthly_assignments
                WHERE month = {month_literal(of_month)}
            """
        else:
            if measuring_champion.memory is None or of_month == before:
                members, prior = seen_memberships(measuring_champion, of_month), ""
            else:
                rows = scored_rows(connection, measuring_champion, customers_of(of_month))
                members, prior = membership_sql(measuring_champion, rows, ("customer_id", PRIOR)), f", {PRIOR}"
            scored = f"""
                SELECT customer_id, {ids}[list_position(probabilities, list_max(probabilities))] AS segment_id,
                    probabilities{prior}
                FROM ({members})
            """
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {scored}")


def _states_sql(before: date, month: date, measuring_champion: SegmentModel | None) -> str:
    """One row per customer of either month. A customer both accepted and rejected does not exist: ids are unique."""
    rejected_before, rejected_now = customers_of(before).rejected, customers_of(month).rejected
    k = len(measuring_champion.segments) if measuring_champion is not None else 0
    differences = ", ".join(f"n.probabilities[{a + 1}] - b.probabilities[{a + 1}]" for a in range(k))
    changes = (
        f"CASE WHEN b.probabilities IS NOT NULL AND n.probabilities IS NOT NULL THEN [{differences}] END"
        if measuring_champion is not None
        else "CAST(NULL AS DOUBLE[])"
    )
    return f"""
        SELECT *, list_sum(list_transform(changes, lambda change: abs(change))) / 2 AS shift FROM (
            SELECT s.customer_id,
                CASE WHEN b.segment_id IS NOT NULL THEN CAST(b.segment_id AS VARCHAR)
                    WHEN rb.customer_id IS NOT NULL THEN 'rejected'
                    WHEN k.customer_id IS NOT NULL THEN 'returned' ELSE 'new' END AS from_state,
                CASE WHEN n.segment_id IS NOT NULL THEN CAST(n.segment_id AS VARCHAR)
                    WHEN rn.customer_id IS NOT NULL THEN 'rejected' ELSE 'lapsed' END AS to_state,
                b.segment_id AS from_segment_id, n.segment_id AS to_segment_id, {changes} AS changes,
                {moved_sql(measuring_champion, "b.probabilities", "n.probabilities", f"n.{PRIOR}")} AS moved_probability
            FROM (
                SELECT customer_id FROM scored_before UNION SELECT customer_id FROM scored_now
                UNION SELECT customer_id FROM {rejected_before}
                UNION SELECT customer_id FROM {rejected_now}
            ) AS s
            LEFT JOIN scored_before AS b ON b.customer_id = s.customer_id
            LEFT JOIN scored_now AS n ON n.customer_id = s.customer_id
            LEFT JOIN {rejected_before} AS rb ON rb.customer_id = s.customer_id
            LEFT JOIN {rejected_now} AS rn ON rn.customer_id = s.customer_id
            LEFT JOIN (
                -- known before this month: to an earlier month of the pipeline or, where it can tell, to the source
                SELECT DISTINCT customer_id FROM raw_customers
                WHERE month < {month_literal(month)} OR (month = {month_literal(month)} AND first_seen < month)
            ) AS k ON k.customer_id = s.customer_id
        ) AS moves
    """


def _matrix_sql(measuring_champion: SegmentModel | None, month: date) -> str:
    """The rows of transition_matrix, counted from transition_deltas."""
    of_month = f"month = {month_literal(month)}"
    if measuring_champion is None or measuring_champion.memory is None:
        return f"""
            SELECT month, from_state, to_state, count(*) AS customers,
                CAST(count(*) AS DOUBLE) / sum(count(*)) OVER (PARTITION BY from_state) AS share,
                CAST(NULL AS DOUBLE) AS expected
            FROM transition_deltas WHERE {of_month}
            GROUP BY month, from_state, to_state ORDER BY from_state, to_state
        """
    moves = f"""(
        SELECT d.from_state, d.to_state, b.probabilities AS before, n.probabilities AS now, n.{PRIOR}
        FROM transition_deltas AS d LEFT JOIN scored_before AS b ON b.customer_id = d.customer_id
        LEFT JOIN scored_now AS n ON n.customer_id = d.customer_id WHERE d.{of_month}
    )"""
    return f"""
        SELECT {month_literal(month)} AS month, from_state, to_state, coalesce(customers, 0) AS customers,
            CAST(coalesce(customers, 0) AS DOUBLE)
                / nullif(sum(customers) OVER (PARTITION BY from_state), 0) AS share,
            coalesce(expected, 0E0) AS expected
        FROM (
            SELECT from_state, to_state, count(*) AS customers FROM transition_deltas WHERE {of_month} GROUP BY ALL
        ) AS counted
        FULL JOIN ({expected_moves_sql(measuring_champion, moves)}) AS soft USING (from_state, to_state)
        ORDER BY from_state, to_state
    """


def _ids(measuring_champion: SegmentModel | None) -> str:
    if measuring_champion is None:
        return "CAST(NULL AS INTEGER[])"
    return "[" + ", ".join(str(segment.segment_id) for segment in measuring_champion.segments) + "]"


def _role_change(measuring_champion: SegmentModel | None, roles: tuple[str, ...]) -> str:
    """Change of the summed probability of the measuring champion's segments with these roles; NULL if it has none."""
    segments = measuring_champion.segments if measuring_champion is not None else ()
    terms = [f"changes[{k + 1}]" for k, segment in enumerate(segments) if segment.role in roles]
    return " + ".join(terms) if terms else "CAST(NULL AS DOUBLE)"


def reconciliation(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, int]:
    """How far the transitions are from the populations of both months; every figure should be 0."""
    before = add_months(month, -1)
    population = (
        "(SELECT count(*) FROM monthly_assignments WHERE month = {0}) + "
        "(SELECT count(DISTINCT customer_id) FROM rejected_customers WHERE month = {0} AND trim(customer_id) <> '')"
    )
    found = connection.execute(
        f"""
        SELECT sum(customers) FILTER (from_state NOT IN ('new', 'returned'))
                - ({population.format(month_literal(before))}),
            sum(customers) FILTER (to_state <> {literal("lapsed")}) - ({population.format(month_literal(month))}),
            sum(customers) - (SELECT count(*) FROM transition_deltas WHERE month = {month_literal(month)})
        FROM transition_matrix WHERE month = {month_literal(month)}
        """
    ).fetchone()
    before_gap, now_gap, matrix_gap = found or (0, 0, 0)
    return {
        "month_before_difference": int(before_gap or 0),
        "this_month_difference": int(now_gap or 0),
        "matrix_difference": int(matrix_gap or 0),
    }
