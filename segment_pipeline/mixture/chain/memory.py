"""Memory: with what probability a customer of one segment is in each segment a month later.

Here: the transition matrix and the two beginnings as a value, and what follows from them alone. Not here: densities
(gaussian.py), and how all of it is fitted to a panel (forward_backward.py, markov.py).

A mixture with memory is a hidden Markov model (Baum et al. 1970; of customers: Netzer, Lattin & Srinivasan 2008). Its
k + 1 states are the segments, in the mixture's order, and last the one that can be observed: `lapsed`, no order in the
window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.gaussian import Parts, summed

EXCHANGED = 0.05
"""Two segments exchange customers when of each at least this share goes over to the other in a month."""

TYPICAL = 20.0
"""For so many customers counts, beside those who were seen, what the chain says of how customers of a silence go on: 5
and 50 predict as well on both real shops (benchmarks/memory.py)."""


@dataclass(frozen=True, eq=False)
class Memory:
    """Two beginnings and the way from month to month.

    new : (k,) membership of a customer in the month of the first order. before : (k + 1,) of one who was there before
    the panel begins, in its first month. transitions : (k + 1, k + 1) from a row's state to a column's in a month. All
    sum to 1 (row by row), and the last state is `lapsed`.
    """

    new: Array
    before: Array
    transitions: Array

    @property
    def n_components(self) -> int:
        return len(self.new)

    def ahead(self, memberships: Array, months: int = 1) -> Array:
        """(n, k + 1) probabilities of the states -> (n, k + 1) the same so many months later, 0 or more."""
        if months < 0:
            raise ValueError(f"months must be 0 or more, got {months}")
        return np.asarray(memberships @ np.linalg.matrix_power(self.transitions, months))

    def by_silence(self, moves: Array) -> Array:
        """(w, k + 1, k + 1) the transitions of customers who are there, told apart by how long ago they last ordered;
        rows sum to 1.

        moves : (w, k, k + 1) how many were seen to go from a segment to a state, of who last ordered in the latest
        month of the window, of longer silences, and last of who did in its first month: they alone can lapse. A
        segment's rows are those of `transitions` given that nobody lapses, or of the last as many as did of all
        segments, as of TYPICAL customers, together with the moves. Where none was seen, silence says nothing.
        """
        w, k, _ = moves.shape
        if not moves.sum():
            return np.tile(self.transitions, (w, 1, 1))
        lapse = np.zeros((w, 1))
        lapse[-1] = moves[-1, :, k].sum() / max(moves[-1].sum(), 1.0)
        staying = 1.0 - self.transitions[:k, k]
        rows = np.tile(self.transitions, (w, 1, 1))
        # where all lapse, the chain's row says nothing of where those go who do not
        stays = np.where(staying[:, None] > 0.0, self.transitions[:k, :k], 1.0)
        stays /= stays.sum(axis=1, keepdims=True)
        rows[:, :k, :k] = (1.0 - lapse)[:, :, None] * stays
        rows[:, :k, k] = lapse
        rows[:, :k] = (moves + TYPICAL * rows[:, :k]) / (moves.sum(axis=2, keepdims=True) + TYPICAL)
        return rows

    @property
    def returning(self) -> Array:
        """(k,) membership of a customer who is there again in the month after having lapsed; sums to 1."""
        back = self.transitions[-1, :-1]
        return np.asarray(back / np.maximum(back.sum(), np.finfo(float).tiny))

    @property
    def stays(self) -> Array:
        """(k,) the share of a segment's customers who are in it a month later, 0..1."""
        return np.asarray(np.diag(self.transitions)[:-1])

    @property
    def expected_months(self) -> Array:
        """(k + 1,) months that a customer is expected to stay in a state, the first included; at least 1."""
        return np.asarray(1.0 / np.maximum(1.0 - np.diag(self.transitions), np.finfo(float).tiny))

    def flicker(self) -> Array:
        """(k, k) how much it says of a customer of either of two segments in which of them it was a month before: half
        the sum of the absolute differences of their rows of `transitions`. 1 = all, 0 = nothing: they exchange
        customers as if by chance. In a pair that nobody leaves it is 1 - a - b, with a and b the shares that go over.
        1 on the diagonal, and for two that do not exchange customers both ways (`EXCHANGED`): who is on a way that all
        go, as customers do who age, does not flicker."""
        rows, k = self.transitions[:-1], self.n_components
        kept = 0.5 * np.abs(rows[:, None, :] - rows[None, :, :]).sum(axis=2)
        both_ways = np.minimum(rows[:, :k], rows[:, :k].T) >= EXCHANGED
        return np.where(both_ways & ~np.eye(k, dtype=bool), kept, 1.0)

    def merged(self, parts: Parts, weights: Array) -> "Memory":
        """The same of segments of several components. weights : (k,) of the components, by which those of a segment
        count in its row; of who was in a segment, the memory then no longer knows in which component."""
        rows = np.zeros((len(parts) + 1, self.n_components + 1))
        for s, part in enumerate(map(list, parts)):
            rows[s, part] = weights[part] / weights[part].sum()
        rows[-1, -1] = 1.0
        states = (*parts, (self.n_components,))
        return Memory(summed(self.new, parts), summed(self.before, states), summed(rows @ self.transitions, states))

    def parted(self, segment_of: Labels, within: Array) -> "Memory":
        """A memory of components from that of their segments. segment_of, within : (k,) the segment of each, and its
        share there."""
        states, shares = np.append(segment_of, self.n_components), np.append(within, 1.0)
        transitions = self.transitions[np.ix_(states, states)] * shares
        return Memory(self.new[segment_of] * within, self.before[states] * shares, transitions)

    def ordered(self, order: Sequence[int]) -> "Memory":
        """The same with the segments in another order."""
        index = np.asarray(order, dtype=np.intp)
        states = np.append(index, self.n_components)
        return Memory(self.new[index], self.before[states], self.transitions[np.ix_(states, states)])

    def to_plain(self) -> dict[str, Any]:
        """Lists of numbers for JSON; `from_plain` gives back the same doubles."""
        return {name: getattr(self, name).tolist() for name in ("new", "before", "transitions")}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Memory":
        """The inverse of `to_plain`."""
        return cls(*(np.array(plain[name], dtype=np.float64) for name in ("new", "before", "transitions")))
