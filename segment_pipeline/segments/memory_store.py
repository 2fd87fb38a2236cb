"""What a champion with memory knows of each customer: month after month, and over the months before its promotion.

Here: the states of `memory_states`, and the relation that a month is scored from. Not here: the scoring itself
(models/scoring.py), and how the memory was fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import drawn_sql, read_columns, write_rows
from segment_pipeline.database.store import insert_query, month_literal, month_rows
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.scoring import membership_sql, prior_sql
from segment_pipeline.models.tables import PRIOR
from segment_pipeline.months import add_months
from segment_pipeline.segments.soft_moves import LAPSED
from segment_pipeline.segments.tables import MEMORY_STATES, SEGMENT_DYNAMICS


@dataclass(frozen=True)
class CustomersOfMonth:
    """A closed month's customers, as relations. accepted : customer_id and features, in original units. rejected :
    customer_id of those who are customers, but of whom nothing can be used."""

    month: date
    accepted: str
    rejected: str


def customers_of(month: date) -> CustomersOfMonth:
    """A month that the pipeline has run."""
    of_month = f"month = {month_literal(month)}"
    return CustomersOfMonth(
        month,
        f"(SELECT * FROM validated_features WHERE {of_month})",
        f"(SELECT DISTINCT customer_id FROM rejected_customers WHERE {of_month} AND trim(customer_id) <> '')",
    )


def past_customers_of(month: date) -> CustomersOfMonth:
    """A month before the first that the pipeline has run."""
    of_month = f"month = {month_literal(month)}"
    return CustomersOfMonth(
        month,
        f"(SELECT * FROM past_features WHERE {of_month} AND NOT rejected)",
        f"(SELECT DISTINCT customer_id FROM past_features WHERE {of_month} AND rejected AND trim(customer_id) <> '')",
    )


def months_before(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, months: int
) -> list[CustomersOfMonth]:
    """The months before `month`, at most `months` - 1 and oldest first, whose customers `model` can score: no month is
    left out in between."""
    found: list[CustomersOfMonth] = []
    for back in range(1, months):
        earlier = add_months(month, -back)
        has_run = month_rows(connection, VALIDATED_FEATURES, earlier) > 0
        customers = customers_of(earlier) if has_run else past_customers_of(earlier)
        if not _can_be_scored(connection, model, customers):
            break
        found.append(customers)
    return found[::-1]


def _can_be_scored(connection: duckdb.DuckDBPyConnection, model: SegmentModel, customers: CustomersOfMonth) -> bool:
    """Whether there are any, and every feature of the model is there for every one of them."""
    columns = {row[0].lower() for row in connection.execute(f"DESCRIBE FROM {customers.accepted}").fetchall()}
    if not {name.lower() for name in model.space.names} <= columns:
        return False
    gaps = " OR ".join(f"{identifier(name)} IS NULL" for name in model.space.names)
    found = connection.execute(f"SELECT bool_or({gaps}) FROM {customers.accepted} AS customers").fetchone()
    return found == (False,)


def remember(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, months: int) -> None:
    """Write what the champion knows at the end of the month, and its dynamics where the month has promoted it.

    A champion that is new, or whose memory is lost, first goes over the months before, so that there are `months` at
    most. Of one without a memory nothing is written; what an earlier run of the month wrote is taken back.
    """
    promoted = model.trained_month == month
    if model.memory is not None and (promoted or not _has_states(connection, model, add_months(month, -1))):
        _forget(connection, model, f"month < {month_literal(month)}")
        # the source is asked once for all of them who was a customer since when
        connection.execute(f"CREATE OR REPLACE TEMP TABLE known_since AS {_known_since(month)}")
        for earlier in months_before(connection, model, month, months):
            _write_states(connection, model, earlier, "known_since")
        connection.execute("DROP TABLE known_since")
    _forget(connection, model, f"month = {month_literal(month)}")
    if model.memory is not None:
        _write_states(connection, model, customers_of(month), f"({_known_since(month)})")
    if promoted:
        _forget_before_serving(connection, model)
    write_rows(connection, SEGMENT_DYNAMICS, month, _dynamics(model) if promoted else [])


def _forget_before_serving(connection: duckdb.DuckDBPyConnection, model: SegmentModel) -> None:
    """What older champions were taken through before they served is read by nobody any more."""
    older = connection.execute(
        "SELECT model_version, trained_month FROM model_versions WHERE model_version < ? ORDER BY model_version",
        [model.model_version],
    ).fetchall()
    before = " OR ".join(f"(model_version = {version} AND month < {month_literal(since)})" for version, since in older)
    if before:
        connection.execute(f"DELETE FROM {MEMORY_STATES.name} WHERE {before}")


def remember_nobody(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date) -> None:
    """Write what the champion knows at the end of a month in which nobody could be seen: what it knew of each customer,
    one step of the chain later. Nothing is written of a champion without a memory."""
    if model.memory is None:
        return
    _forget(connection, model, f"month = {month_literal(month)}")
    insert_query(
        connection,
        MEMORY_STATES,
        f"""
        SELECT {month_literal(month)} AS month, customer_id, model_version,
            {prior_sql(model.memory, "s.probabilities", "true")} AS probabilities
        FROM {MEMORY_STATES.name} AS s WHERE {states_of(model, add_months(month, -1))} ORDER BY customer_id
        """,
    )


def scored_rows(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, customers: CustomersOfMonth, until: date | None = None
) -> str:
    """The accepted customers of a month as `model` scores them: as they are or, for a model with memory, with the
    column PRIOR. until : the last month whose customers may be looked at; the month itself."""
    if model.memory is None:
        return customers.accepted
    known_since = f"({_known_since(until or customers.month)})"
    return f"({_with_prior_sql(connection, model, customers.month, customers.accepted, known_since)})"


def expected_memberships(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, sample: int
) -> Array | None:
    """(n, k) what `model` expects, from the months before, of the customers whom `feature_matrix` gives of
    validated_features, in that order; the `prior` of its memberships. None for a model without memory."""
    if model.memory is None:
        return None
    drawn = drawn_sql(connection, VALIDATED_FEATURES.name, month, sample)
    rows = scored_rows(connection, model, customers_of(month))
    listed = ", ".join(prior_columns(model, "seen", "now"))
    found = read_columns(connection, f"SELECT {listed} FROM {rows} AS seen WHERE {drawn} ORDER BY customer_id")
    return prior_of(model, found, "now")


def prior_columns(model: SegmentModel, table: str, when: str) -> list[str]:
    """What is expected of the customers of `scored_rows`, a column for each segment, for `prior_of` to read; none of a
    model without memory."""
    if model.memory is None:
        return []
    return [f"{table}.{PRIOR}[{k + 1}] AS {identifier(f'{when} {PRIOR} {k}')}" for k in range(len(model.segments))]


def prior_of(model: SegmentModel, found: Mapping[str, NDArray[np.generic]], when: str) -> Array | None:
    """(n, k) the columns of `prior_columns`, of customers who are there: rows sum to 1."""
    if model.memory is None:
        return None
    columns = [np.asarray(found[f"{when} {PRIOR} {k}"], dtype=np.float64) for k in range(len(model.segments))]
    prior = np.maximum(np.column_stack(columns), np.finfo(float).tiny)
    return np.asarray(prior / prior.sum(axis=1, keepdims=True))


def has_seen(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date) -> bool:
    """Whether the memberships of a month's customers are known as `model` gives them to those of its own months: of a
    model with memory only since its memory begins."""
    return model.memory is None or _has_states(connection, model, month)


def _with_prior_sql(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, customers: str, known_since: str
) -> str:
    """A query of these customers of the month, with the column PRIOR. customers : a relation. known_since : likewise,
    as of `_known_since`."""
    assert model.memory is not None  # noqa: S101 - for mypy: the callers have looked
    before = add_months(month, -1)
    begins = not _has_states(connection, model, before)
    prior = prior_sql(model.memory, "s.probabilities", "k.customer_id IS NOT NULL", begins=begins)
    return f"""
        SELECT c.*, {prior} AS {PRIOR} FROM {customers} AS c
        LEFT JOIN (
            SELECT customer_id, probabilities FROM {MEMORY_STATES.name} WHERE {states_of(model, before)}
        ) AS s ON s.customer_id = c.customer_id
        LEFT JOIN ({_known_before(month, known_since)}) AS k ON k.customer_id = c.customer_id
    """


_EVERYBODY = """(
    SELECT month, customer_id, first_seen FROM raw_customers
    UNION ALL SELECT month, customer_id, first_seen FROM past_features
)"""


def _known_since(until: date) -> str:
    """A query of everybody's first month and first day as a customer, as far as the months up to this one tell."""
    return f"""
        SELECT customer_id, min(month) AS first_month, min(first_seen) AS first_seen FROM {_EVERYBODY} AS everybody
        WHERE month <= {month_literal(until)} GROUP BY customer_id
    """


def _known_before(month: date, known_since: str) -> str:
    """Who was a customer before the month: to an earlier month or, where it can tell, to the source. In the first month
    of all that cannot be known without the source, and they are taken for customers of any age."""
    return f"""
        SELECT customer_id FROM {known_since} AS known
        WHERE first_month < {month_literal(month)} OR first_seen < {month_literal(month)}
            OR (first_seen IS NULL AND {month_literal(month)} <= (SELECT min(month) FROM {_EVERYBODY} AS everybody))
    """


def _write_states(
    connection: duckdb.DuckDBPyConnection, model: SegmentModel, customers: CustomersOfMonth, known_since: str
) -> None:
    """known_since : as of `_with_prior_sql`."""
    accepted, rejected = (
        f"({_with_prior_sql(connection, model, customers.month, some, known_since)})"
        for some in (customers.accepted, customers.rejected)
    )
    insert_query(
        connection,
        MEMORY_STATES,
        f"""
        SELECT {month_literal(customers.month)} AS month, customer_id, {model.model_version} AS model_version,
            probabilities
        FROM (
            SELECT customer_id, list_append(probabilities, 0E0) AS probabilities
            FROM ({membership_sql(model, accepted)}) AS seen
            UNION ALL SELECT customer_id, {PRIOR} FROM {rejected} AS unseen
        ) AS states
        ORDER BY customer_id
        """,
    )


def seen_memberships(model: SegmentModel, month: date) -> str:
    """A query of customer_id and `probabilities` of the segments, of the accepted customers of a month that the model
    can see and, if it has a memory, remembers."""
    if model.memory is None:
        return membership_sql(model, customers_of(month).accepted)
    return f"""
        SELECT s.customer_id, s.probabilities[1:{len(model.segments)}] AS probabilities FROM {MEMORY_STATES.name} AS s
        SEMI JOIN {customers_of(month).accepted} AS a ON a.customer_id = s.customer_id
        WHERE {states_of(model, month)}
    """


def states_of(model: SegmentModel, month: date) -> str:
    """A condition: what this model knows at the end of the month, and no namesake with other segments."""
    return (
        f"model_version = {model.model_version} AND month = {month_literal(month)} "
        f"AND len(probabilities) = {len(model.segments) + 1}"
    )


def _has_states(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date) -> bool:
    found = connection.execute(f"SELECT 1 FROM {MEMORY_STATES.name} WHERE {states_of(model, month)} LIMIT 1")
    return found.fetchone() is not None


def _forget(connection: duckdb.DuckDBPyConnection, model: SegmentModel, condition: str) -> None:
    connection.execute(f"DELETE FROM {MEMORY_STATES.name} WHERE model_version = {model.model_version} AND {condition}")


def _dynamics(model: SegmentModel) -> Sequence[dict[str, object]]:
    """The rows of `segment_dynamics`; none for a model without memory."""
    memory = model.memory
    if memory is None:
        return []
    states = [*map(str, model.segment_ids), LAPSED]
    return [
        {
            "model_version": model.model_version,
            "from_state": before,
            "to_state": now,
            "probability": memory.transitions[a, b],
            "expected_months": memory.expected_months[a] if a == b else None,
        }
        for a, before in enumerate(states)
        for b, now in enumerate(states)
    ]
