"""What the months up to one have shown of how customers go on, told apart by how long ago they last ordered.

A champion's chain knows in which segments a customer may be, and nothing of the day of the last order. Yet that decides
much of the next month: who has an order that the next window still holds cannot lapse, and of who has not ordered for
two months it is known that it will be three, or none. So what is expected of a customer's next month stands on the
moves of customers of the same silence, as the champion saw them (`Memory.by_silence`). Memberships do not: what is
published of this month, and what the next one is scored from, is the chain's.

Orders alone tell it: of ready-made customers nobody knows what keeps them in the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import duckdb
import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.customers.tables import PAST_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import write_rows
from segment_pipeline.database.store import month_literal
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.scoring import prior_sql
from segment_pipeline.models.tables import PRIOR, SILENCE
from segment_pipeline.months import add_months, as_of
from segment_pipeline.segments.memory_store import CustomersOfMonth, customers_of, months_before, states_of
from segment_pipeline.segments.soft_moves import LAPSED, moves_by_silence_sql
from segment_pipeline.segments.tables import MEMORY_STATES, SILENCE_DYNAMICS
from segment_pipeline.sources.tables import RAW_CUSTOMERS

LAST_ORDER = "days_since_last_order"
"""The feature that order lines always give."""

MOST = 12
"""So many silences are told apart; in longer windows the longer ones are taken together, but for the last."""


@dataclass(frozen=True, eq=False)
class BySilence:
    """The transitions of each silence of a window of so many months: (w, k + 1, k + 1), as of `Memory.by_silence`."""

    window_months: int
    transitions: Array

    def told(self, model: SegmentModel, rows: str, month: date) -> str:
        """The relation `rows` of a month's customers as `model` scores them, with the column SILENCE."""
        columns = ", ".join(
            f"scored.{column}" for column in ("customer_id", *map(identifier, model.space.names), PRIOR)
        )
        silence = f"({silence_sql(self.window_months, month)}) AS silent ON silent.customer_id = scored.customer_id"
        return f"(SELECT {columns}, silent.{SILENCE} FROM {rows} AS scored LEFT JOIN {silence})"


def write_silence_dynamics(
    connection: duckdb.DuckDBPyConnection, config: Config, model: SegmentModel, month: date
) -> BySilence | None:
    """Replace the month's rows of `silence_dynamics`: the moves since the month before, added to those that were known
    then, or all that the champion remembers where it is new; call it once the champion `remember`s the month.

    Returns what they tell of the next month; None where silence is not known, or the champion has no memory.
    """
    memory = model.memory
    if memory is None or config.source.orders is None or config.source.customers != "orders":
        write_rows(connection, SILENCE_DYNAMICS, month, [])
        return None
    window = config.source.window_months
    # of a champion that the month has promoted, what another of that number knew is not asked for
    moves = (
        None if model.trained_month == month else _known(connection, model, f"month < {month_literal(month)}", window)
    )
    span = 2
    if moves is None:
        span = config.memory.months
        moves = np.zeros((len(silences(window)), memory.n_components, memory.n_components + 1))
    months = [*months_before(connection, model, month, span), customers_of(month)]
    for earlier, later in pairwise(months):
        moves = moves + _moves(connection, model, earlier, later, window)
    transitions = memory.by_silence(moves)
    write_rows(connection, SILENCE_DYNAMICS, month, _rows(model, window, moves, transitions))
    return BySilence(window, transitions)


def silences(window_months: int) -> Sequence[int]:
    """The least months of each silence that is told apart, ascending: of who last ordered in the window's first month
    alone, last."""
    return range(window_months) if window_months <= MOST else [*range(MOST - 1), window_months - 1]


def silence_sql(window_months: int, month: date) -> str:
    """A query of customer_id and SILENCE of the customers of a month."""
    of_month = f"month = {month_literal(month)}"
    end = as_of(month)
    least = silences(window_months)
    # a silence ends with the day before the first of the month in which the next one's last order lies
    cases = "".join(
        f"WHEN {LAST_ORDER} <= {(end - add_months(month, 1 - following)).days} THEN {position} "
        for position, following in enumerate(least[1:])
    )
    return f"""
        SELECT customer_id, CASE WHEN {LAST_ORDER} IS NULL THEN NULL {cases}ELSE {len(least) - 1} END AS {SILENCE}
        FROM (
            SELECT customer_id, {LAST_ORDER} FROM {RAW_CUSTOMERS.name} WHERE {of_month}
            UNION ALL SELECT customer_id, {LAST_ORDER} FROM {PAST_FEATURES.name} WHERE {of_month}
        ) AS last_orders
    """


def known_by_silence(
    connection: duckdb.DuckDBPyConnection, config: Config, model: SegmentModel, month: date
) -> BySilence | None:
    """What a month that was written tells of the next one; None as of `write_silence_dynamics`."""
    window = config.source.window_months
    moves = _known(connection, model, f"month = {month_literal(month)}", window)
    return None if moves is None or model.memory is None else BySilence(window, model.memory.by_silence(moves))


def _known(connection: duckdb.DuckDBPyConnection, model: SegmentModel, months: str, window: int) -> Array | None:
    """(w, k, k + 1) the moves that were known under this champion in the latest of the months that a condition names;
    None where it has no such month."""
    of_model = f"{SILENCE_DYNAMICS.name} WHERE model_version = {model.model_version} AND {months}"
    found = connection.execute(
        "SELECT months_silent, from_state, to_state, customers "
        f"FROM {of_model} AND month = (SELECT max(month) FROM {of_model})"
    ).fetchall()
    known = {(silence, before, now): customers for silence, before, now, customers in found}
    cells = _cells(model, window)
    if set(known) != set(cells):  # a version's number may have been another's, and the window another
        return None
    return np.array([known[cell] for cell in cells]).reshape(-1, len(model.segments), len(model.segments) + 1)


def _cells(model: SegmentModel, window: int) -> list[tuple[int, str, str]]:
    """months_silent, from_state and to_state of the rows of a month."""
    states = [*map(str, model.segment_ids), LAPSED]
    return [(silence, before, now) for silence in silences(window) for before in states[:-1] for now in states]


def _moves(
    connection: duckdb.DuckDBPyConnection,
    model: SegmentModel,
    earlier: CustomersOfMonth,
    later: CustomersOfMonth,
    window: int,
) -> Array:
    """(w, k, k + 1) how many of a month's customers are expected to have gone from a segment to a state by the next
    one. Of who is rejected in either nothing is known."""
    memory = model.memory
    assert memory is not None  # noqa: S101 - for mypy: the caller has looked
    states = f"SELECT customer_id, probabilities FROM {MEMORY_STATES.name} WHERE {{}}"
    moves = f"""(
        SELECT silent.{SILENCE}, b.probabilities AS before, n.probabilities AS now,
            {prior_sql(memory, "b.probabilities", "true")} AS {PRIOR}
        FROM ({states.format(states_of(model, earlier.month))}) AS b
        JOIN {earlier.accepted} AS a ON a.customer_id = b.customer_id
        JOIN ({silence_sql(window, earlier.month)}) AS silent ON silent.customer_id = b.customer_id
        LEFT JOIN ({states.format(states_of(model, later.month))}) AS n ON n.customer_id = b.customer_id
        ANTI JOIN {later.rejected} AS r ON r.customer_id = b.customer_id
    )"""
    found = connection.execute(moves_by_silence_sql(model, moves)).fetchall()
    names = [*map(str, model.segment_ids), LAPSED]
    counts = np.zeros((len(silences(window)), memory.n_components, memory.n_components + 1))
    for silence, before, now, customers in found:
        counts[silence, names.index(before), names.index(now)] = customers
    return counts


def _rows(model: SegmentModel, window: int, moves: Array, transitions: Array) -> list[dict[str, object]]:
    k = len(model.segments)
    return [
        {
            "model_version": model.model_version,
            "months_silent": silence,
            "from_state": before,
            "to_state": now,
            "customers": customers,
            "probability": probability,
        }
        for (silence, before, now), customers, probability in zip(
            _cells(model, window), moves.ravel(), transitions[:, :k].ravel(), strict=True
        )
    ]
