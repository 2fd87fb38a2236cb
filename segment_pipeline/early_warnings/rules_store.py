"""Early warnings of a month: the named rules as SQL, their state over the months, and who is contacted first.

Changes are measured with the champion of the month before (`transition_deltas`), levels with the month's own. A rule
warns of customers who still order: one who does not is lapsed, which the transitions tell.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import duckdb

from segment_pipeline.config.stages import WarningSettings
from segment_pipeline.database.quoting import literal, number
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.early_warnings.rules import STANDING
from segment_pipeline.early_warnings.tables import EARLY_WARNINGS
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months

WARNINGS = ("mixed_signal_severe", "declining_engagement", "segment_downgrade", "mixed_signal")
"""The named rules, the most urgent first: that counts where churn risk does not tell customers apart."""


def write_early_warnings(
    connection: duckdb.DuckDBPyConnection,
    champion: SegmentModel,
    measuring_champion: SegmentModel | None,
    month: date,
    settings: WarningSettings,
) -> int:
    """Replace the month's warnings; returns the rows.

    champion : who serves the month. measuring_champion : who served the month before and measures movement; None where
    there is no such month. Every warning that stood last month and does not now has a row that says `resolved`, once.
    Whom a campaign of the month leaves alone (the arms of customer_actions) is warned of, and has no place in the
    queue: a contact would spoil what the campaign is measured by, and cost somebody else a place.
    """
    last = month_literal(add_months(month, -1))
    return replace_month(
        connection,
        EARLY_WARNINGS,
        month,
        f"""
        WITH levels AS ({_levels(champion, month)}),
        found AS ({_rules(measuring_champion, month, settings)}),
        standing AS (SELECT * FROM early_warnings WHERE month = {last} AND status <> 'resolved'),
        every AS (
            SELECT coalesce(f.customer_id, s.customer_id) AS customer_id, coalesce(f.warning, s.warning) AS warning,
                CASE WHEN f.warning IS NULL THEN 'resolved' WHEN s.warning IS NULL THEN 'new' ELSE 'ongoing' END
                    AS status,
                coalesce(s.first_month, {month_literal(month)}) AS first_month, f.evidence
            FROM found AS f FULL JOIN standing AS s ON s.customer_id = f.customer_id AND s.warning = f.warning
        ),
        measured AS (
            SELECT e.*, l.engaged_probability, l.dormant_probability, d.engaged_change, r.churn_risk,
                coalesce(c.arm <> 'control', true) AS contact_allowed
            FROM every AS e
            LEFT JOIN levels AS l ON l.customer_id = e.customer_id
            LEFT JOIN transition_deltas AS d ON d.month = {month_literal(month)} AND d.customer_id = e.customer_id
            LEFT JOIN churn_risk AS r ON r.month = {month_literal(month)} AND r.customer_id = e.customer_id
            LEFT JOIN customer_actions AS c ON c.month = {month_literal(month)} AND c.customer_id = e.customer_id
        ),
        -- a customer is contacted once, whatever the number of warnings
        queue AS (
            SELECT customer_id, row_number() OVER (ORDER BY max(churn_risk) DESC NULLS LAST, min({_urgency()}),
                min(engaged_change) NULLS LAST, customer_id) AS priority
            FROM measured WHERE status <> 'resolved' AND contact_allowed GROUP BY customer_id
        )
        SELECT {month_literal(month)} AS month, m.customer_id, m.warning, m.status, m.first_month,
            m.engaged_probability, m.dormant_probability, m.engaged_change, m.churn_risk, m.evidence,
            m.contact_allowed,
            CASE WHEN m.status <> 'resolved' THEN CAST(q.priority AS INTEGER) END AS priority,
            CASE WHEN m.status <> 'resolved' THEN m.contact_allowed AND {_within(settings.monthly_budget)} END
                AS within_budget
        FROM measured AS m LEFT JOIN queue AS q ON q.customer_id = m.customer_id
        ORDER BY m.customer_id, m.warning
        """,
    )


def warning_figures(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, int]:
    """How many warnings are new, ongoing, resolved; how many customers are to be contacted, how many the budget leaves
    out, and how many a campaign leaves alone."""
    cursor = connection.execute(
        """
        SELECT count(*) FILTER (status = 'new') AS new, count(*) FILTER (status = 'ongoing') AS ongoing,
            count(*) FILTER (status = 'resolved') AS resolved,
            count(DISTINCT customer_id) FILTER (within_budget) AS to_contact,
            count(DISTINCT customer_id) FILTER (status <> 'resolved' AND NOT within_budget AND contact_allowed)
                AS left_out,
            count(DISTINCT customer_id) FILTER (status <> 'resolved' AND NOT contact_allowed) AS left_alone
        FROM early_warnings WHERE month = ?
        """,
        [month],
    )
    names = [column[0] for column in cursor.description or []]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


def head_of_queue(connection: duckdb.DuckDBPyConnection, month: date, places: int = 10) -> list[dict[str, Any]]:
    """The most urgent customers of the month, a row for each, with what speaks for it."""
    cursor = connection.execute(
        """
        SELECT priority, customer_id, any_value(churn_risk) AS churn_risk, any_value(within_budget) AS within_budget,
            string_agg(warning || ': ' || evidence, '; ' ORDER BY warning) AS evidence
        FROM early_warnings WHERE month = ? AND priority <= ? GROUP BY priority, customer_id ORDER BY priority
        """,
        [month, places],
    )
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def probability_of(model: SegmentModel, roles: Sequence[str], probabilities: str = "probabilities") -> str:
    """The summed probability of the model's segments with these roles, as SQL; NULL where it has none of them."""
    terms = [f"{probabilities}[{k + 1}]" for k, segment in enumerate(model.segments) if segment.role in roles]
    return " + ".join(terms) if terms else "CAST(NULL AS DOUBLE)"


def _levels(champion: SegmentModel, month: date) -> str:
    return f"""
        SELECT customer_id, {probability_of(champion, ("engaged",))} AS engaged_probability,
            {probability_of(champion, ("at_risk", "dormant"))} AS dormant_probability
        FROM monthly_assignments WHERE month = {month_literal(month)}
    """


def _rules(measuring_champion: SegmentModel | None, month: date, settings: WarningSettings) -> str:
    """customer_id, warning and its evidence in words, a row for every rule that applies."""
    both = "least(engaged_probability, dormant_probability)"
    moves = f"""
        SELECT * FROM transition_deltas WHERE month = {month_literal(month)}
            AND from_segment_id IS NOT NULL AND to_segment_id IS NOT NULL
    """
    rules = [
        f"""
        SELECT customer_id, 'declining_engagement' AS warning,
            'engaged ' || {_points("-engaged_change")} || ' points less likely than last month' AS evidence
        FROM ({moves}) AS moves WHERE engaged_change < -{number(settings.declining_engagement)}
        """,
        *(
            f"""
            SELECT customer_id, {literal(name)} AS warning, 'engaged ' || {_points("engaged_probability")}
                || ' %, at risk or dormant ' || {_points("dormant_probability")} || ' %' AS evidence
            FROM levels WHERE {both} > {number(limit)}
            """
            for name, limit in (
                ("mixed_signal", settings.mixed_signal),
                ("mixed_signal_severe", settings.mixed_signal_severe),
            )
        ),
    ]
    if measuring_champion is not None and any(segment.role for segment in measuring_champion.segments):
        rules.append(f"""
            SELECT customer_id, 'segment_downgrade' AS warning,
                'from ' || {_of_segment(measuring_champion, "from_segment_id", "name")} || ' to '
                || {_of_segment(measuring_champion, "to_segment_id", "name")} AS evidence
            FROM ({moves}) AS moves
            WHERE {_of_segment(measuring_champion, "to_segment_id", "height")}
                < {_of_segment(measuring_champion, "from_segment_id", "height")}
        """)
    return " UNION ALL ".join(rules)


def _of_segment(model: SegmentModel, column: str, what: str) -> str:
    """A segment's name, or the height of its role, by the id in `column`."""
    values = {
        segment.segment_id: literal(segment.name)
        if what == "name"
        else ("NULL" if segment.role is None else str(STANDING[segment.role]))
        for segment in model.segments
    }
    return f"CASE {column} " + " ".join(f"WHEN {key} THEN {value}" for key, value in values.items()) + " END"


def _points(expression: str) -> str:
    """A probability as whole hundredths."""
    return f"CAST(CAST(round(100 * ({expression})) AS INTEGER) AS VARCHAR)"


def _urgency() -> str:
    return "CASE warning " + " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(WARNINGS)) + " END"


def _within(budget: int | None) -> str:
    return "true" if budget is None else f"q.priority <= {budget}"
