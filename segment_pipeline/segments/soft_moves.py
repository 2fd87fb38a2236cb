"""Who went where, as a model with memory sees it: the probability of each move instead of the likeliest segments.

Given all that was seen of a customer up to this month, it was in segment a the month before and is in b with the
probability P(a before) x P(b a month after a) / P(b expected) x P(b now): what it was expected to do, times what this
month says of it. Expressions here name lists of probabilities of the segments, in the model's order: `before` of the
month before, `prior` of what was expected of this month, `now`.
"""

from collections.abc import Sequence

from segment_pipeline.database.quoting import literal, number
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.scoring import SMALLEST_PRIOR
from segment_pipeline.models.tables import PRIOR, SILENCE

LAPSED = "lapsed"
"""The state of a customer without an order in the window."""

Move = tuple[str, str, str]
"""Expressions of from_state, to_state, and how much of a customer made that move, 0..1."""


def moved_sql(model: SegmentModel | None, before: str, now: str, prior: str) -> str:
    """The probability that a customer is in another segment than the month before, as an expression; NULL without a
    memory, and for who has no probabilities in one of the months."""
    if model is None or model.memory is None:
        return "CAST(NULL AS DOUBLE)"
    stayed = " + ".join(_pair(model.memory, a, a, before, now, prior) for a in range(len(model.segments)))
    known = " AND ".join(f"{one} IS NOT NULL" for one in (before, now, prior))
    return f"CASE WHEN {known} THEN least(1E0, greatest(0E0, 1E0 - ({stayed}))) END"


def expected_moves_sql(model: SegmentModel, moves: str) -> str:
    """A query of from_state, to_state and `expected`, how many customers are expected to have made the move: above 0.

    moves : a relation of customers with from_state and to_state as text, and `before`, `now` and PRIOR, NULL where the
    state is no segment. A customer counts as one in such a state, and on the move's other side in the segments as far
    as is known: that it has lapsed says something of where it was; that it was rejected says nothing.
    """
    memory = model.memory
    assert memory is not None  # noqa: S101 - for mypy: the caller has looked
    segments = list(enumerate(literal(str(segment_id)) for segment_id in model.segment_ids))
    lapse = [f"before[{a + 1}] * {number(memory.transitions[a, -1])}" for a, _ in segments]
    lapsed = f"greatest({SMALLEST_PRIOR}, {' + '.join(lapse)})"
    stayed_on: list[Move] = [
        (old, new, _pair(memory, a, b, "before", "now", PRIOR)) for a, old in segments for b, new in segments
    ]
    left: list[Move] = [
        (old, "to_state", f"CASE to_state WHEN '{LAPSED}' THEN {lapse[a]} / {lapsed} ELSE before[{a + 1}] END")
        for a, old in segments
    ]
    came: list[Move] = [("from_state", new, f"now[{b + 1}]") for b, new in segments]
    parts = (
        _summed_sql(moves, "before IS NOT NULL AND now IS NOT NULL", stayed_on),
        _summed_sql(moves, "before IS NOT NULL AND now IS NULL", left, "to_state"),
        _summed_sql(moves, "before IS NULL AND now IS NOT NULL", came, "from_state"),
        _summed_sql(moves, "before IS NULL AND now IS NULL", [("from_state", "to_state", "1")], "from_state, to_state"),
    )
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS summed WHERE expected > 0"


def moves_by_silence_sql(model: SegmentModel, moves: str) -> str:
    """A query of SILENCE, from_state, to_state and `expected`, how many customers are expected to have gone from a
    segment to a state in a month: above 0.

    moves : a relation of customers with SILENCE and `before` of the earlier month, and of the later one `now` and
    PRIOR, NULL of who has lapsed.
    """
    memory = model.memory
    assert memory is not None  # noqa: S101 - for mypy: the caller has looked
    segments = list(enumerate(literal(str(segment_id)) for segment_id in model.segment_ids))
    lapse = [f"before[{a + 1}] * {number(memory.transitions[a, -1])}" for a, _ in segments]
    # NULL of who has lapsed, and so not in the sums: within a CASE, DuckDB would make PRIOR anew for every pair
    made: list[Move] = [
        (old, new, _pair(memory, a, b, "before", "now", PRIOR)) for a, old in segments for b, new in segments
    ]
    made += [
        (
            old,
            literal(LAPSED),
            f"CASE WHEN now IS NULL THEN {lapse[a]} / greatest({SMALLEST_PRIOR}, {' + '.join(lapse)}) ELSE 0E0 END",
        )
        for a, old in segments
    ]
    summed = _summed_sql(moves, f"{SILENCE} IS NOT NULL AND before IS NOT NULL", made, SILENCE, shown=f"{SILENCE}, ")
    return f"SELECT * FROM ({summed}) AS summed WHERE expected > 0"


def _pair(memory: Memory, a: int, b: int, before: str, now: str, prior: str) -> str:
    """The probability of the move from segment a to b, as an expression."""
    expected = f"{before}[{a + 1}] * {number(memory.transitions[a, b])}"
    return f"{expected} / greatest({SMALLEST_PRIOR}, {prior}[{b + 1}]) * {now}[{b + 1}]"


def _summed_sql(moves: str, where: str, made: Sequence[Move], group: str = "", shown: str = "") -> str:
    """A query of from_state, to_state and expected, after the columns of the group that are shown: each of the moves
    made, summed over the customers `where`, in decimals, so that the threads' order does not matter."""
    listed = ", ".join(
        f"{{'from_state': {old}, 'to_state': {new}, 'expected': e{move}}}" for move, (old, new, _) in enumerate(made)
    )
    sums = ", ".join(
        f"CAST(sum(CAST({weight} AS DECIMAL(38, 12))) AS DOUBLE) AS e{move}" for move, (_, _, weight) in enumerate(made)
    )
    summed = f"SELECT {', '.join(filter(None, [group, sums]))} FROM {moves} AS moves WHERE {where}"
    return f"""
        SELECT {shown}move.from_state AS from_state, move.to_state AS to_state, move.expected AS expected FROM (
            SELECT {shown}unnest([{listed}]) AS move FROM ({summed} {f"GROUP BY {group}" if group else ""}) AS sums
        ) AS made
    """
