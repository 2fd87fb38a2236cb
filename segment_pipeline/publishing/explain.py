"""One customer's story, in words: where it is, what moved it there, what is expected of it, and on what that stands.

Read from the published file only. The figures are those of `customer_months` and `customer_changes`.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb

from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import read_rows
from segment_pipeline.errors import PipelineError
from segment_pipeline.months import add_months, month_key
from segment_pipeline.words import ROLE_WORDS, capitalised, figure, percent, readable

Row = dict[str, Any]


class ExplainError(PipelineError):
    """There is nothing to tell of this customer."""


def explain(connection: duckdb.DuckDBPyConnection, customer_id: str, month: date | None = None) -> list[str]:
    """The lines of a customer's story in a published month. month : default the customer's latest.

    Raises ExplainError, where the customer is not there, with the months in which it is.
    """
    found = read_rows(
        connection,
        "SELECT * FROM customer_months WHERE customer_id = ? AND month = coalesce(?, month) "
        "AND segment_id IS NOT NULL ORDER BY month DESC LIMIT 1",
        customer_id,
        month,
    )
    if not found:
        raise _nobody(connection, customer_id, month)
    now = found[0]
    changes = read_rows(
        connection, "SELECT * FROM customer_changes WHERE customer_id = ? AND month = ?", customer_id, now["month"]
    )
    return [
        f"{customer_id} in {month_key(now['month'])}",
        *_whether_it_left(connection, now, month),
        "",
        *_where(connection, now),
        *_why(connection, now, changes[0] if changes else None),
        *_what_it_did(now),
        *_what_comes(connection, now),
        *_what_it_stands_on(connection, now),
    ]


def _whether_it_left(connection: duckdb.DuckDBPyConnection, now: Row, asked: date | None) -> Iterator[str]:
    """That the latest month of the customer is not the latest of all, where nobody has asked for a month."""
    (latest,) = connection.execute("SELECT max(month) FROM monthly_assignments").fetchone() or (None,)
    if asked is None and latest is not None and now["month"] < latest:
        yield (
            f"Not there any more: in {month_key(add_months(now['month'], 1))} no order in the window, or rejected. "
            f"What follows is of {month_key(now['month'])}."
        )


def _nobody(connection: duckdb.DuckDBPyConnection, customer_id: str, month: date | None) -> ExplainError:
    found = connection.execute(
        "SELECT min(month), max(month) FROM monthly_assignments WHERE customer_id = ?", [customer_id]
    ).fetchone()
    first, last = found or (None, None)
    if first is None or month is None:
        return ExplainError(
            f"{customer_id} stands in no published month. Name a customer as the source does: SELECT customer_id FROM "
            "customer_now has them all."
        )
    return ExplainError(
        f"{customer_id} has no segment in {month_key(month)}: no order in its window, or rejected (see "
        f"rejected_customers), or the month is not published. The customer is there from {month_key(first)} to "
        f"{month_key(last)}, if not in every month."
    )


def _where(connection: duckdb.DuckDBPyConnection, now: Row) -> Iterator[str]:
    (journey,) = read_rows(
        connection,
        "SELECT j.changed_at, min(a.month) AS since FROM customer_journey AS j JOIN monthly_assignments AS a "
        "ON a.customer_id = j.customer_id AND a.segment_id = j.segment_id AND a.month BETWEEN j.changed_at AND j.month "
        "WHERE j.customer_id = ? AND j.month = ? GROUP BY ALL",
        now["customer_id"],
        now["month"],
    )
    role = f", {ROLE_WORDS[now['role']]}" if now["role"] else ""
    yield f"Segment: {now['segment_name']} ({now['segment_id']}{role}), with {percent(now['max_probability'], 1)}."
    if now["second_segment_name"] is not None:
        yield f"Next to it: {now['second_segment_name']}, with {percent(now['second_probability'], 1)}."
    if now.get("is_between"):  # a file of before there was such a column has none
        yield (
            f"Between the two: {percent(now['position_to_second'])} of the way from what is usual in "
            f"{now['segment_name']} to what is usual in {now['second_segment_name']}."
        )
    movement = now["movement"]
    if movement is not None and movement.startswith("moved"):
        was = f" from {now['previous_segment_name']}" if now["previous_segment_name"] else ""
        yield f"{capitalised(movement)} this month{was}."
    elif journey["changed_at"] is not None:
        made_anew = (
            f", when a new model made its segments; it has not moved since {month_key(journey['changed_at'])}"
            if journey["since"] > journey["changed_at"]
            else ""
        )
        yield f"There since {month_key(journey['since'])}{made_anew}{f', {movement} this month' if movement else ''}."


def _why(connection: duckdb.DuckDBPyConnection, now: Row, change: Row | None) -> Iterator[str]:
    yield ""
    if change is None:
        yield (
            "What moved it: not known. It was not there the month before, or this champion cannot see it then, or an "
            "earlier version has made the month."
        )
        return
    before = add_months(now["month"], -1)
    if change["change_of_log_odds"] is None:
        yield f"What moved it: a rule decides (model.hurdle), by {readable(change['reason_1'])}."
        return
    by = change["change_of_log_odds"]
    yield (
        f"What moved it since {month_key(before)}: the log-odds of {now['segment_name']} went from "
        f"{change['log_odds'] - by:.2f} to {change['log_odds']:.2f}."
    )
    values = _values(connection, now, change["reasons"])
    parts = sorted(zip(change["reasons"], change["contributions"], strict=True), key=lambda part: -abs(part[1]))
    for reason, contribution in parts:
        yield f"  {contribution:+8.2f}  {readable(reason)}{values.get(reason, '')}"
    yield f"  {by:+8.2f}  in all"


def _values(connection: duckdb.DuckDBPyConnection, now: Row, reasons: list[str]) -> dict[str, str]:
    """How each feature among the reasons has changed, in words."""
    units = dict(
        connection.execute("SELECT feature, unit FROM feature_limits WHERE month = ?", [now["month"]]).fetchall()
    )
    features = [reason for reason in reasons if reason in units]
    columns = ", ".join(identifier(feature) for feature in features)
    then, today = connection.execute(
        f"SELECT {columns} FROM validated_features WHERE customer_id = ? AND month IN (?, ?) ORDER BY month",
        [now["customer_id"], add_months(now["month"], -1), now["month"]],
    ).fetchall()
    return {
        feature: f": {_from_to(was, is_now, units[feature])}"
        for feature, was, is_now in zip(features, then, today, strict=True)
    }


def _from_to(was: float, is_now: float, unit: str) -> str:
    if unit == "share":
        return f"{percent(was, 1)} to {percent(is_now, 1)}"
    return f"{figure(was, 3)} to {figure(is_now, 3)} {unit}".rstrip()


def _what_it_did(now: Row) -> Iterator[str]:
    if now["window_spend"] is None:
        return
    yield ""
    of_month = f"{figure(float(now['month_spend']), 3)} in the month, " if now["month_spend"] is not None else ""
    yield f"Spent: {of_month}{figure(float(now['window_spend']), 3)} in the window."


def _what_comes(connection: duckdb.DuckDBPyConnection, now: Row) -> Iterator[str]:
    expected = []
    if now["next_segment_name"] is not None:
        expected.append(f"{now['next_segment_name']} next month with {percent(now['next_probability'], 1)}")
    if now["next_lapse_probability"] is not None:
        expected.append(f"no order left in the window next month with {percent(now['next_lapse_probability'], 1)}")
    if now["churn_risk"] is not None:
        expected.append(f"no order {_until_silent(connection, now['month'])} with {percent(now['churn_risk'], 1)}")
    if now["expected_spend_3"] is not None:
        expected.append(f"spend of {figure(now['expected_spend_3'], 3)} in 3 months")
    yield ""
    yield f"Expected: {'; '.join(expected) or 'nothing, as neither a memory nor a churn risk is there to tell'}."
    yield f"Warnings: {now['warnings'] or 'none'}. Action: {now['action_id'] or 'none'}."


def _until_silent(connection: duckdb.DuckDBPyConnection, month: date) -> str:
    """The time without an order of which churn risk tells."""
    (model,) = read_rows(connection, "SELECT max(horizon_days) AS days FROM churn_risk_models WHERE month = ?", month)
    return f"in the {model['days']} days after the month" if model["days"] is not None else "for long after the month"


def _what_it_stands_on(connection: duckdb.DuckDBPyConnection, now: Row) -> Iterator[str]:
    (model,) = read_rows(
        connection,
        "SELECT trained_month, n_segments, customers_fitted FROM model_versions WHERE model_version = ?",
        now["model_version"],
    )
    yield ""
    yield (
        f"It stands on: model version {now['model_version']} of {month_key(model['trained_month'])}, "
        f"{model['n_segments']} segments, fitted to {model['customers_fitted']:,} customers. How sure: tier "
        f"{now['tier']}{', and more unusual than 99 % of these' if now['is_atypical'] else ''}."
    )
