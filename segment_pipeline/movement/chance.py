"""What was seen of movement, beside what customers who do not change would show.

Here: counts in, rows of `movement_reference` out. Not here: where the counts come from (chance_store.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.segments.soft_moves import LAPSED

LEVEL = 0.8
"""Of months in which chance alone is at work, at least this share lies in the interval."""

DRAWS = 10_000

NOBODY = "Of the customers in random order nobody came into question."


class Subject(NamedTuple):
    """What was counted: one row of the table, less its month."""

    measure: str
    from_state: str | None = None
    to_state: str | None = None
    warning: str | None = None


class Count(NamedTuple):
    """Of `customers`, as many as did it."""

    did: int
    customers: int

    @property
    def share(self) -> float:
        return self.did / self.customers


MOVED, CAME_BACK, BASE_SHIFT = Subject("moved"), Subject("came_back"), Subject("base_shift")
DOWNGRADE = Subject("warning", warning="segment_downgrade")


@dataclass(frozen=True)
class Movement:
    """What a month's customers did.

    moves : from_state and to_state -> customers, of those who were in a segment the month before. segments : the states
    that are segments, of the champion that measures. came_back : of those who moved the month before, those who are
    back; None without such a month, and where that was measured with another champion. warned : rule -> customers whom
    it names, of the month's `customers`. downwards : from_state and to_state of the moves to a lower role.
    """

    moves: Mapping[tuple[str, str], int]
    segments: Sequence[str]
    came_back: Count | None
    warned: Mapping[str, int]
    customers: int
    downwards: Sequence[tuple[str, str]] = ()

    @property
    def flows(self) -> Array:
        """(k, k) customers who were there in both months, by segment before and now."""
        counts = [self.moves.get((a, b), 0) for a in self.segments for b in self.segments]
        return np.array(counts, dtype=np.float64).reshape(len(self.segments), len(self.segments))

    def counts(self) -> dict[Subject, Count]:
        """Everything that is a share of customers, of whom there are any."""
        flows = self.flows
        there = int(flows.sum())
        found = {MOVED: Count(there - int(flows.trace()), there), BASE_SHIFT: Count(int(base_shift(flows)), there)}
        if self.came_back is not None:
            found[CAME_BACK] = self.came_back
        found |= {Subject("warning", warning=rule): Count(named, self.customers) for rule, named in self.warned.items()}
        for before in self.segments:
            left = sum(customers for (state, _), customers in self.moves.items() if state == before)
            for now in (*self.segments, LAPSED):
                found[Subject("transition", before, now)] = Count(self.moves.get((before, now), 0), left)
        return {subject: count for subject, count in found.items() if count.customers}


def base_shift(flows: Array) -> Array:
    """(..., k, k) flows -> (...) how many customers must have moved for the segments' sizes to change as they did: half
    the sum of the absolute changes."""
    return np.asarray(np.abs(flows.sum(axis=-2) - flows.sum(axis=-1)).sum(axis=-1) / 2)


def in_words(row: Mapping[str, Any]) -> str:
    """A row of `movement_reference`: `196 of 2,284; by chance alone 170 to 190`, or why that is not known."""
    seen = f"{row['observed_customers']:,} of {row['customers']:,}"
    if row["reason"] is not None:
        return f"{seen}. {row['reason']}"
    return f"{seen}; by chance alone {_from_to(row)}"


def chance_in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """What stands beside how many moved: `chance alone moves 170 to 190`. rows : of a month of `movement_reference`."""
    moved = next((row for row in rows if row["measure"] == MOVED.measure), None)
    if moved is None or moved["reason"] is not None:
        return "what chance alone moves is not known"
    return f"chance alone moves {_from_to(moved)}"


def warned_in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """Of each rule that has warned of somebody: `declining engagement 72 (chance alone 34 to 57)`. rows : of a month of
    `movement_reference`; "" where chance is not known."""
    told = [
        f"{str(row['warning']).replace('_', ' ')} {row['observed_customers']:,} (chance alone {_from_to(row)})"
        for row in rows
        if row["measure"] == "warning" and row["observed_customers"] and row["reason"] is None
    ]
    return ", ".join(told)


def _from_to(row: Mapping[str, Any]) -> str:
    low, high = (round(row[end] * row["customers"]) for end in ("chance_low", "chance_high"))
    return f"{low:,} to {high:,}"


def reference_rows(observed: Movement, chance: Movement | str, seed: Sequence[int]) -> list[dict[str, object]]:
    """The rows of a month, less month and model_version: what was seen beside the same of customers in random order or,
    where there are none, beside the reason.

    The interval takes customers as independent. What as many of them as were seen would do has the variance
    p (1 - p) / customers, and to it comes what the sample leaves open of p: rates are drawn from what the sample says
    of them (Beta, of all flows at once Dirichlet), then counts from the rates; the interval leaves out a tenth of the
    draws on either side. Customers differ, and copies of one are more alike than customers are: where everybody is in
    the sample, the interval is rather too wide.
    """
    seen = observed.counts()
    by_chance = {} if isinstance(chance, str) else chance.counts()
    rows = []
    for subject, count in seen.items():
        sample = by_chance.get(subject)
        if sample is None or isinstance(chance, str):
            beside = _unknown(chance if isinstance(chance, str) else NOBODY)
        elif subject == BASE_SHIFT:
            # sizes change by chance the more, the fewer customers there are: the sample's own change is not expected
            draws = _drawn_shifts(chance.flows, count.customers, _own_random(subject, seed))
            beside = _beside(count, float(draws.mean()) / count.customers, draws, sample.customers)
        elif subject == DOWNGRADE and (moves := _its_moves(count, observed, seen, by_chance)):
            draws = np.sum([_drawn(move, seen[move], by_chance[move], seed) for move in moves], axis=0)
            expected = sum(by_chance[move].share * seen[move].customers for move in moves) / count.customers
            there = {move.from_state: by_chance[move].customers for move in moves}
            beside = _beside(count, expected, draws, sum(there.values()))
        else:
            beside = _beside(count, sample.share, _drawn(subject, count, sample, seed), sample.customers)
        rows.append(
            subject._asdict()
            | {"customers": count.customers, "observed_customers": count.did, "observed": count.share}
            | beside
        )
    return rows


def _its_moves(
    count: Count, observed: Movement, seen: Mapping[Subject, Count], by_chance: Mapping[Subject, Count]
) -> list[Subject]:
    """The moves that the rule of a downgrade names, so that one event has one range by chance; none where the rule does
    not name just these, or chance is not known of one."""
    moves = [move for pair in observed.downwards if (move := Subject("transition", *pair)) in seen]
    named = sum(seen[move].did for move in moves)
    return moves if named == count.did and all(move in by_chance for move in moves) else []


def _own_random(subject: Subject, seed: Sequence[int]) -> np.random.Generator:
    """A row stays as it is whatever other rows there are, such as those of a new warning."""
    return np.random.default_rng([*seed, crc32(repr(tuple(subject)).encode())])


def _drawn(subject: Subject, count: Count, sample: Count, seed: Sequence[int]) -> Array:
    """(DRAWS,) how many of so many customers do it, at the rates that the sample leaves open."""
    random = _own_random(subject, seed)
    rates = random.beta(sample.did + 0.5, sample.customers - sample.did + 0.5, DRAWS)
    return random.binomial(count.customers, rates).astype(np.float64)


def _drawn_shifts(flows: Array, customers: int, random: np.random.Generator) -> Array:
    """(DRAWS,) base shifts of so many customers, by the rates that these flows (k, k) leave open."""
    rates = random.dirichlet(flows.ravel() + 1 / flows.size, DRAWS)
    return base_shift(random.multinomial(customers, rates).reshape(DRAWS, *flows.shape).astype(np.float64))


def _beside(count: Count, expected: float, draws: Array, sample: int) -> dict[str, object]:
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = (float(end) for end in np.quantile(draws, tails, method="inverted_cdf"))
    return {
        "expected_by_chance": expected,
        "chance_low": low / count.customers,
        "chance_high": high / count.customers,
        "beside_chance": "below" if count.did < low else "above" if count.did > high else "within",
        "sample": sample,
        "reason": None,
    }


def _unknown(reason: str) -> dict[str, object]:
    names = ("expected_by_chance", "chance_low", "chance_high", "beside_chance", "sample")
    return {**dict.fromkeys(names), "reason": reason}
