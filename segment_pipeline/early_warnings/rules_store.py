"""Early warnings of a month: whom the rules name, their state over the months, and who is contacted first.

The rules themselves stand in config/warning_rules.py; here are the columns that they speak of.

Changes are measured with the champion of the month before (`transition_deltas`), levels with the month's own. A rule
warns of customers who still order: one who does not is lapsed, which the transitions tell.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import duckdb

from segment_pipeline.config.warning_rules import WARNING_RULES, WarningRule, WarningSettings
from segment_pipeline.database.quoting import literal, number
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.early_warnings.tables import EARLY_WARNINGS
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.months import add_months

STANDING = {"engaged": 3, "casual": 2, "at_risk": 1, "dormant": 0}
"""Role -> how high it stands; a move to a lower one is a downgrade."""


def write_early_warnings(
    connection: duckdb.DuckDBPyConnection,
    champion: SegmentModel,
    measuring_champion: SegmentModel | None,
    month: date,
    settings: WarningSettings,
    rules: Sequence[WarningRule] = WARNING_RULES,
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
        WITH customers AS ({_customers(champion, measuring_champion, month)}),
        found AS ({_found(rules, settings)}),
        standing AS (SELECT * FROM early_warnings WHERE month = {last} AND status <> 'resolved'),
        every AS (
            SELECT coalesce(f.customer_id, s.customer_id) AS customer_id, coalesce(f.warning, s.warning) AS warning,
                CASE WHEN f.warning IS NULL THEN 'resolved' WHEN s.warning IS NULL THEN 'new' ELSE 'ongoing' END
                    AS status,
                coalesce(s.first_month, {month_literal(month)}) AS first_month, f.evidence
            FROM found AS f FULL JOIN standing AS s ON s.customer_id = f.customer_id AND s.warning = f.warning
        ),
        measured AS (
            SELECT e.*, n.engaged_probability, n.dormant_probability, n.engaged_change, r.churn_risk,
                coalesce(c.arm <> 'control', true) AS contact_allowed
            FROM every AS e
            LEFT JOIN customers AS n ON n.customer_id = e.customer_id
            LEFT JOIN churn_risk AS r ON r.month = {month_literal(month)} AND r.customer_id = e.customer_id
            LEFT JOIN customer_actions AS c ON c.month = {month_literal(month)} AND c.customer_id = e.customer_id
        ),
        -- a customer is contacted once, whatever the number of warnings
        queue AS (
            SELECT customer_id, row_number() OVER (ORDER BY max(churn_risk) DESC NULLS LAST, min({_urgency(rules)}),
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


def _customers(champion: SegmentModel, measuring_champion: SegmentModel | None, month: date) -> str:
    """A row for every customer of the month, with the columns that a rule may speak of (`WarningRule`)."""
    return f"""
        SELECT a.customer_id, {probability_of(champion, ("engaged",), "a.probabilities")} AS engaged_probability,
            {probability_of(champion, ("at_risk", "dormant"), "a.probabilities")} AS dormant_probability,
            d.engaged_change,
            {_by_segment(measuring_champion, "d.from_segment_id", _name)} AS from_name,
            {_by_segment(measuring_champion, "d.to_segment_id", _name)} AS to_name,
            {_by_segment(measuring_champion, "d.from_segment_id", _standing)} AS from_standing,
            {_by_segment(measuring_champion, "d.to_segment_id", _standing)} AS to_standing
        FROM monthly_assignments AS a
        LEFT JOIN transition_deltas AS d ON d.month = a.month AND d.customer_id = a.customer_id
            AND d.from_segment_id IS NOT NULL AND d.to_segment_id IS NOT NULL
        WHERE a.month = {month_literal(month)}
    """


def _found(rules: Sequence[WarningRule], settings: WarningSettings) -> str:
    """customer_id, warning and its evidence in words, a row for every rule that applies."""
    return " UNION ALL ".join(
        f"""
        SELECT customer_id, {literal(rule.name)} AS warning, {rule.evidence} AS evidence
        FROM (SELECT *, {_threshold(rule, settings)} AS threshold FROM customers) AS c WHERE {rule.condition}
        """
        for rule in rules
    )


def _threshold(rule: WarningRule, settings: WarningSettings) -> str:
    return "NULL" if rule.key is None else number(getattr(settings, rule.key))


def _by_segment(model: SegmentModel | None, column: str, told: Callable[[Segment], str]) -> str:
    """What is told of the segment whose id stands in `column`; NULL without a model."""
    if model is None:
        return "NULL"
    return f"CASE {column} " + " ".join(f"WHEN {s.segment_id} THEN {told(s)}" for s in model.segments) + " END"


def _name(segment: Segment) -> str:
    return literal(segment.name)


def _standing(segment: Segment) -> str:
    return "NULL" if segment.role is None else str(STANDING[segment.role])


def _urgency(rules: Sequence[WarningRule]) -> str:
    places = " ".join(f"WHEN {literal(rule.name)} THEN {place}" for place, rule in enumerate(rules))
    return f"CASE warning {places} END"


def _within(budget: int | None) -> str:
    return "true" if budget is None else f"q.priority <= {budget}"
