"""Early warnings of a month: whom the rules name, their state over the months, and who is contacted first.

The rules themselves stand in config/warning_rules.py; here are the columns that they speak of.

Changes are measured as `transition_deltas` has them, with one champion, levels with the month's own. A rule
warns of customers who still order: one who does not is lapsed, which the transitions tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import duckdb

from segment_pipeline.config.warning_rules import WARNING_RULES, WarningRule, WarningSettings, in_points
from segment_pipeline.database.quoting import literal, number
from segment_pipeline.database.rows import is_there, read_rows, write_rows
from segment_pipeline.database.store import month_literal, month_rows, replace_month
from segment_pipeline.early_warnings.backtest import WHOLE, BacktestRow
from segment_pipeline.early_warnings.contact_list import Standing, standings
from segment_pipeline.early_warnings.tables import (
    CHURN_RISK,
    CONTACT_LIST_RULES,
    EARLY_WARNINGS,
    HIGH_CHURN_RISK,
    REVENUE_AT_RISK,
    WARNING_BACKTEST_HISTORY,
)
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.months import add_months, as_of
from segment_pipeline.value.tables import CUSTOMER_VALUE

_BY_A_RULE = f"warning NOT IN ({literal(HIGH_CHURN_RISK)}, {literal(REVENUE_AT_RISK)})"

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
    """Replace the month's warnings and its contact list; returns the rows.

    champion : who serves the month. measuring_champion : who measures movement (`champions_store.measuring_champion`);
    None where none is known. Every warning that stood last month and does not now has a row that says `resolved`, once.
    Whom a campaign of the month leaves alone (the arms of customer_actions) is warned of, and has no place in the
    queue: a contact would spoil what the campaign is measured by, and cost somebody else a place.
    """
    last = month_literal(add_months(month, -1))
    names = [rule.name for rule in rules]
    ranked, by_money = (month_rows(connection, table, month) > 0 for table in (CHURN_RISK, CUSTOMER_VALUE))
    found = standings(names, _judged_before(connection, month), ranked=ranked, by_money=by_money)
    found[-1] = replace(found[-1], **_doing(settings, month))
    write_rows(connection, CONTACT_LIST_RULES, month, [vars(standing) for standing in found])
    proven = [standing.warning for standing in found if standing.takes_part and standing.warning != WHOLE]
    return replace_month(
        connection,
        EARLY_WARNINGS,
        month,
        f"""
        WITH customers AS ({_customers(champion, measuring_champion, month)}),
        named AS ({_found(rules, settings)}),
        proven AS (
            SELECT customer_id, min({_urgency(rules)}) AS urgency FROM named
            WHERE {_is_one_of("warning", proven)} GROUP BY customer_id
        ),
        queue AS ({_queue(settings.monthly_budget)}),
        found AS (
            SELECT * FROM named
            UNION ALL
            SELECT q.customer_id, {_placed_by("q")} FROM queue AS q WHERE q.is_chosen AND q.churn_risk IS NOT NULL
        ),
        standing AS (SELECT * FROM early_warnings WHERE month = {last} AND status <> 'resolved'),
        every AS (
            SELECT coalesce(f.customer_id, s.customer_id) AS customer_id, coalesce(f.warning, s.warning) AS warning,
                CASE WHEN f.warning IS NULL THEN 'resolved' WHEN s.warning IS NULL THEN 'new' ELSE 'ongoing' END
                    AS status,
                coalesce(s.first_month, {month_literal(month)}) AS first_month, f.evidence
            FROM found AS f FULL JOIN standing AS s ON s.customer_id = f.customer_id AND s.warning = f.warning
        )
        SELECT {month_literal(month)} AS month, e.customer_id, e.warning, e.status, e.first_month,
            n.engaged_probability, n.dormant_probability, n.engaged_change, n.churn_risk,
            n.revenue_at_risk, e.evidence,
            coalesce(n.contact_allowed, true) AS contact_allowed,
            CASE WHEN e.status <> 'resolved' THEN CAST(q.priority AS INTEGER) END AS priority,
            CASE WHEN e.status <> 'resolved' THEN coalesce(q.is_chosen, false) END AS within_budget
        FROM every AS e
        LEFT JOIN customers AS n ON n.customer_id = e.customer_id
        LEFT JOIN queue AS q ON q.customer_id = e.customer_id
        ORDER BY e.customer_id, e.warning
        """,
    )


def _doing(settings: WarningSettings, month: date) -> dict[str, Any]:
    """What is done with the month's contact list, as columns of contact_list_rules."""
    if settings.action is None:
        return {}
    told = settings.action.model_dump()
    return told | {"due": as_of(month) + timedelta(days=told.pop("within_days"))}


def warning_figures(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, int]:
    """How many warnings of rules are new, ongoing, resolved; how many customers are to be contacted, how many have a
    warning and are not on that list, and how many a campaign leaves alone."""
    cursor = connection.execute(
        f"""
        SELECT CAST(coalesce(sum(new), 0) AS BIGINT) AS new, CAST(coalesce(sum(ongoing), 0) AS BIGINT) AS ongoing,
            CAST(coalesce(sum(resolved), 0) AS BIGINT) AS resolved, count(*) FILTER (to_contact) AS to_contact,
            count(*) FILTER (left_out) AS left_out, count(*) FILTER (left_alone) AS left_alone
        FROM (
            SELECT count(*) FILTER (status = 'new' AND {_BY_A_RULE}) AS new,
                count(*) FILTER (status = 'ongoing' AND {_BY_A_RULE}) AS ongoing,
                count(*) FILTER (status = 'resolved' AND {_BY_A_RULE}) AS resolved,
                bool_or(within_budget) AS to_contact,
                bool_or(status <> 'resolved' AND NOT within_budget AND contact_allowed) AS left_out,
                bool_or(status <> 'resolved' AND NOT contact_allowed) AS left_alone
            FROM early_warnings WHERE month = ? GROUP BY customer_id
        )
        """,
        [month],
    )
    names = [column[0] for column in cursor.description or []]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


def standings_of(connection: duckdb.DuckDBPyConnection, month: date) -> list[Standing]:
    """Which rules take part in the month's contact list and why, the list itself last; none where nothing is known of
    it, as in a file of a version that had every warning on the list."""
    if not is_there(connection, CONTACT_LIST_RULES.name):
        return []
    doing = "what, owner, channel, due" if is_there(connection, CONTACT_LIST_RULES.name, "due") else "NULL AS what"
    rows = read_rows(
        connection,
        f"SELECT warning, takes_part, sentence, {doing} FROM {CONTACT_LIST_RULES.name} WHERE month = ? "
        f"ORDER BY warning = '{WHOLE}', warning",
        month,
    )
    return [Standing(**row) for row in rows]


def contact_list_told(connection: duckdb.DuckDBPyConnection, month: date) -> str | None:
    """What the month's contact list stands on, in words; None where nothing is known of it."""
    found = standings_of(connection, month)
    return found[-1].sentence if found else None


def head_of_queue(connection: duckdb.DuckDBPyConnection, month: date, places: int = 10) -> list[dict[str, Any]]:
    """The most urgent customers of the month, a row for each, with what speaks for it."""
    cursor = connection.execute(
        """
        SELECT priority, customer_id, any_value(churn_risk) AS churn_risk,
            any_value(revenue_at_risk) AS revenue_at_risk, any_value(within_budget) AS within_budget,
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
    """A row for every customer of the month, with the columns that a rule may speak of (`WarningRule`), the churn risk,
    what it puts at risk, and whether a campaign allows contact."""
    return f"""
        SELECT a.customer_id, {probability_of(champion, ("engaged",), "a.probabilities")} AS engaged_probability,
            {probability_of(champion, ("at_risk", "dormant"), "a.probabilities")} AS dormant_probability,
            {_decline(champion)} AS decline_probability, a.next_lapse_probability AS lapse_probability,
            d.engaged_change,
            {_by_segment(measuring_champion, "d.from_segment_id", _name)} AS from_name,
            {_by_segment(measuring_champion, "d.to_segment_id", _name)} AS to_name,
            {_by_segment(measuring_champion, "d.from_segment_id", _standing)} AS from_standing,
            {_by_segment(measuring_champion, "d.to_segment_id", _standing)} AS to_standing,
            r.churn_risk, v.expected_spend_12, v.revenue_at_risk,
            coalesce(c.arm <> 'control', true) AS contact_allowed
        FROM monthly_assignments AS a
        LEFT JOIN transition_deltas AS d ON d.month = a.month AND d.customer_id = a.customer_id
            AND d.from_segment_id IS NOT NULL AND d.to_segment_id IS NOT NULL
        LEFT JOIN churn_risk AS r ON r.month = a.month AND r.customer_id = a.customer_id
        LEFT JOIN {CUSTOMER_VALUE.name} AS v ON v.month = a.month AND v.customer_id = a.customer_id
        LEFT JOIN customer_actions AS c ON c.month = a.month AND c.customer_id = a.customer_id
        WHERE a.month = {month_literal(month)}
    """


def _decline(model: SegmentModel) -> str:
    """How probable a lower role than that of the likeliest segment now, or lapsing, is next month; NULL without memory.
    A segment without a role is neither higher nor lower than any."""

    def lower(segment: Segment) -> str:
        below = [
            f"a.next_probabilities[{k + 1}]"
            for k, other in enumerate(model.segments)
            if other.role is not None and segment.role is not None and STANDING[other.role] < STANDING[segment.role]
        ]
        return " + ".join(["a.next_lapse_probability", *below])

    return _by_segment(model, "a.segment_id", lower)


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


def _queue(budget: int | None) -> str:
    """Everybody who may be contacted, with the `priority`, and who `is_chosen` for the contact list: those whom a
    proven rule names, then all others, each by the revenue at risk or, where no value is known, by churn risk. Of
    whom neither a risk nor a rule tells is not in it.

    Without a budget it has as many places as there are customers with a warning.
    """
    by_risk = """revenue_at_risk DESC NULLS LAST, churn_risk DESC NULLS LAST, urgency NULLS LAST,
        engaged_change NULLS LAST, customer_id"""
    places = """(SELECT count(*) FROM customers AS c SEMI JOIN named AS n ON n.customer_id = c.customer_id
        WHERE c.contact_allowed)"""
    return f"""
        SELECT customer_id, churn_risk, expected_spend_12, revenue_at_risk, is_chosen,
            row_number() OVER (ORDER BY CASE WHEN is_chosen THEN 0 ELSE 1 END, {by_risk}) AS priority
        FROM (
            SELECT *, row_number() OVER (ORDER BY CASE WHEN is_proven THEN 0 ELSE 1 END, {by_risk})
                <= {places if budget is None else budget} AS is_chosen
            FROM (
                SELECT c.customer_id, c.churn_risk, c.expected_spend_12, c.revenue_at_risk, p.urgency,
                    p.customer_id IS NOT NULL AS is_proven,
                    CASE WHEN p.customer_id IS NOT NULL THEN c.engaged_change END AS engaged_change
                FROM customers AS c LEFT JOIN proven AS p ON p.customer_id = c.customer_id
                WHERE c.contact_allowed AND (c.churn_risk IS NOT NULL OR p.customer_id IS NOT NULL)
            ) AS candidates
        ) AS taken
    """


def _placed_by(queue: str) -> str:
    """`warning` and `evidence` of who is on the list: by what it is ranked there. Whom a proven rule names has it too,
    so that it is new when a customer comes to the list and resolved when it leaves, whatever the rules say."""
    risk = f"'churn risk ' || {in_points(f'{queue}.churn_risk')} || ' %'"
    at_risk, expected = (_money(f"{queue}.{column}") for column in ("revenue_at_risk", "expected_spend_12"))
    by_money = f"{queue}.revenue_at_risk IS NOT NULL"
    return f"""
        CASE WHEN {by_money} THEN {literal(REVENUE_AT_RISK)} ELSE {literal(HIGH_CHURN_RISK)} END AS warning,
        CASE WHEN {by_money} THEN {at_risk} || ' at risk: ' || {risk} || ' of ' || {expected} || ' expected in a year'
            ELSE {risk} END AS evidence
    """


def _money(amount: str) -> str:
    """An amount as text: whole from 100 on, with two decimals below."""
    whole, exact = (f"CAST(CAST({amount} AS DECIMAL(38, {decimals})) AS VARCHAR)" for decimals in (0, 2))
    return f"CASE WHEN abs({amount}) >= 100 THEN {whole} ELSE {exact} END"


def _judged_before(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, BacktestRow]:
    """What the month before knew of each rule's warnings, among all customers and over all months. The back-test of
    this month stands on its warnings, so theirs cannot stand on it."""
    rows = read_rows(
        connection,
        f"SELECT * EXCLUDE (evaluated_month) FROM {WARNING_BACKTEST_HISTORY.name} "
        "WHERE evaluated_month = ? AND month IS NULL AND judged = 'everybody'",
        add_months(month, -1),
    )
    return {row["warning"]: BacktestRow(**row) for row in rows}


def _is_one_of(column: str, names: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(map(literal, names))})" if names else "false"
