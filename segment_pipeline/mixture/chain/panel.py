"""Customers over months, as a chain sees them: where each was seen, lapsed, unknown, or not yet a customer.

Here: the states of a panel and its rows in an order that a pass can stream. Not here: the chain (chain.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.mixture.em import Rows

BEFORE, SEEN, LAPSED, MISSING = range(4)
"""What is known of a customer in a month: nothing yet, for the first order is still to come; its features; that it has
no order in the window; nothing, though it is a customer (its row was rejected, or the month is not there)."""

CHUNK_CUSTOMERS = 4096
"""Customers whose months are passed through together: a month of them stays in the processor's cache."""


_KEPT_NUMBERS = 12_000_000
"""phi of a panel is kept, not rebuilt in every pass, up to this many numbers (96 MB)."""


@dataclass(frozen=True, eq=False)
class Panel:
    """n customers over T months.

    states : (n, T) int8, of BEFORE, SEEN, LAPSED and MISSING. BEFORE comes first or not at all. rows : (N, d) features
    of the SEEN, customer by customer and month by month. is_new : (n,) whether the customer's first month that is not
    BEFORE is the first of all, so that its chain begins as those of new customers do. False for who was there before
    the panel begins; where its months begin with BEFORE, it had lapsed then and has come back: who had lapsed and did
    not is in no panel. rounding_variance : (N, d) variance of what each value was rounded from, None for exact values.
    """

    states: NDArray[np.int8]
    rows: Array
    is_new: Flags
    rounding_variance: Array | None = None

    def __post_init__(self) -> None:
        states = self.states
        if states.ndim != 2 or states.shape[1] < 1:
            raise ValueError(f"states must be (customers, months), got shape {states.shape}")
        if not np.isin(states, (BEFORE, SEEN, LAPSED, MISSING)).all():
            raise ValueError("states must be of BEFORE, SEEN, LAPSED and MISSING")
        seen = int((states == SEEN).sum())
        if self.rows.ndim != 2 or len(self.rows) != seen:
            raise ValueError(f"{seen} customer-months are SEEN, but rows has shape {self.rows.shape}")
        if not np.isfinite(self.rows).all():
            raise ValueError("rows must be finite; a customer-month that cannot be used is MISSING")
        if len(self.is_new) != len(states):
            raise ValueError(f"{len(states)} customers, but is_new has shape {self.is_new.shape}")
        if self.rounding_variance is not None and self.rounding_variance.shape != self.rows.shape:
            raise ValueError(f"rounding_variance must have the shape of rows, {self.rows.shape}")
        begun = states != BEFORE
        if (begun[:, :-1] & ~begun[:, 1:]).any():
            raise ValueError("BEFORE may not follow another state: a customer who has begun stays one")
        first = np.take_along_axis(states, begun.argmax(axis=1)[:, None], axis=1)[:, 0]
        if (self.is_new & (first == LAPSED)).any():
            raise ValueError("a new customer cannot be LAPSED in its first month: the first order lies in the window")

    def __reduce__(self) -> tuple[type["Panel"], tuple[object, ...]]:
        """For another process, without what is made of it for passes."""
        return Panel, (self.states, self.rows, self.is_new, self.rounding_variance)

    @classmethod
    def of(
        cls,
        customers: Labels,
        months: Labels,
        rows: Array,
        *,
        first_months: Labels,
        n_months: int,
        missing: tuple[Labels, Labels] | None = None,
        rounding_variance: Array | None = None,
    ) -> "Panel":
        """A panel from a table of customer-months, in any order.

        customers : (N,) 0..n-1. months : (N,) 0..n_months-1. rows : (N, d). first_months : (n,) the month of each
        customer's first order ever, negative for one before the panel. missing : customers (M,) and months (M,) that
        were rejected; a month without a row and without such a mark is one without an order: LAPSED.
        """
        n = len(first_months)
        states = np.full((n, n_months), LAPSED, dtype=np.int8)
        if missing is not None:
            states[missing] = MISSING
        states[customers, months] = SEEN
        known = states != LAPSED
        there = np.where(known.any(axis=1), known.argmax(axis=1), n_months)
        # A row before the first order is a contradiction of the source; the row wins.
        begins = np.where(first_months < 0, there, np.minimum(first_months, there))
        states[np.arange(n_months) < begins[:, None]] = BEFORE
        # A first order without a row of its month was delivered late: what it was like is not known.
        first = np.flatnonzero((first_months >= 0) & (begins < n_months))
        late = first[states[first, begins[first]] == LAPSED]
        states[late, begins[late]] = MISSING
        order = np.lexsort((months, customers))
        return cls(
            states,
            np.ascontiguousarray(rows[order], dtype=np.float64),
            first_months >= 0,
            None if rounding_variance is None else rounding_variance[order],
        )

    @property
    def n_customers(self) -> int:
        return len(self.states)

    @property
    def n_months(self) -> int:
        return int(self.states.shape[1])

    @property
    def n_features(self) -> int:
        return int(self.rows.shape[1])

    @property
    def months_of_rows(self) -> Labels:
        """(N,) the month of each row, 0..T-1."""
        return np.nonzero(self.states == SEEN)[1]

    @property
    def customers_of_rows(self) -> Labels:
        """(N,) the customer of each row, 0..n-1."""
        return np.nonzero(self.states == SEEN)[0]

    @property
    def known_before(self) -> Flags:
        """(N,) whether the customer of a row was one in the month before, so that there is something to remember."""
        months = self.months_of_rows
        before = self.states[self.customers_of_rows, np.maximum(months - 1, 0)]
        return np.asarray((months > 0) & (before != BEFORE))

    def take(self, customers: Labels | Flags) -> "Panel":
        """The panel of these customers (indices or flags), in that order."""
        chosen = np.flatnonzero(customers) if customers.dtype == bool else np.asarray(customers)
        counts = (self.states == SEEN).sum(axis=1)
        ends = np.cumsum(counts)
        rows = (
            np.concatenate([np.arange(ends[i] - counts[i], ends[i]) for i in chosen]) if len(chosen) else np.arange(0)
        )
        return Panel(
            self.states[chosen],
            self.rows[rows],
            self.is_new[chosen],
            None if self.rounding_variance is None else self.rounding_variance[rows],
        )

    def until(self, months: int) -> "Panel":
        """The first so many months."""
        if not 1 <= months <= self.n_months:
            raise ValueError(f"months must be from 1 to {self.n_months}, got {months}")
        keep = np.nonzero(self.states == SEEN)[1] < months
        return Panel(
            self.states[:, :months],
            self.rows[keep],
            self.is_new,
            None if self.rounding_variance is None else self.rounding_variance[keep],
        )

    @cached_property
    def for_passes(self) -> "PanelRows":
        """The panel as the kernel sees it: to build it takes as long as three passes over it."""
        return PanelRows(self)

    def chunks(self, size: int = CHUNK_CUSTOMERS) -> Iterator["Chunk"]:
        """The customers, some at a time, each with its rows in the order of months."""
        counts = np.concatenate([[0], np.cumsum((self.states == SEEN).sum(axis=1))])
        for first in range(0, self.n_customers, size):
            last = min(first + size, self.n_customers)
            yield Chunk.of(self, first, last, int(counts[first]), int(counts[last]))


@dataclass(frozen=True, eq=False)
class Month:
    """One month of a chunk: what is known, and who begins: new, there before the panel, and back from having lapsed
    before it. Each is an index of customers; `before` are those who have not begun, `unseen` all but the seen. rows :
    of the chunk. place : (c,) which of its rows is each customer's; any, of the unseen."""

    before: Labels
    seen: Labels
    unseen: Labels
    rows: slice
    place: Labels
    lapsed: Labels
    missing: Labels
    new: Labels
    old: Labels
    back: Labels


@dataclass(frozen=True, eq=False)
class Chunk:
    """Customers first..last of a panel. order : where the rows of the chunk, sorted by month, stand in the panel."""

    first: int
    last: int
    order: Labels
    months: tuple[Month, ...]

    @classmethod
    def of(cls, panel: Panel, first: int, last: int, row_first: int, row_last: int) -> "Chunk":
        states = panel.states[first:last]
        _, month_of_row = np.nonzero(states == SEEN)
        order = row_first + np.argsort(month_of_row, kind="stable")
        begins = np.where((states != BEFORE).any(axis=1), (states != BEFORE).argmax(axis=1), states.shape[1])
        is_new = panel.is_new[first:last]
        nobody = np.arange(0)
        months, position = [], 0
        for t in range(states.shape[1]):
            is_seen = states[:, t] == SEEN
            seen = np.flatnonzero(is_seen)
            place = np.zeros(len(states), dtype=np.intp)
            place[seen] = np.arange(position, position + len(seen))
            starting = begins == t
            months.append(
                Month(
                    np.flatnonzero(states[:, t] == BEFORE),
                    seen,
                    np.flatnonzero(~is_seen),
                    slice(position, position + len(seen)),
                    place,
                    np.flatnonzero(states[:, t] == LAPSED),
                    np.flatnonzero(states[:, t] == MISSING),
                    np.flatnonzero(starting & is_new),
                    np.flatnonzero(starting & ~is_new) if t == 0 else nobody,
                    np.flatnonzero(starting & ~is_new) if t > 0 else nobody,
                )
            )
            position += len(seen)
        assert position == row_last - row_first  # noqa: S101 - every row has its month
        return cls(first, last, order, tuple(months))

    @property
    def size(self) -> int:
        return self.last - self.first


class PanelRows:
    """A panel as the kernel sees it: chunks of customers, each with its rows by month and their phi."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.center = panel.rows.mean(axis=0)
        self.total = float(len(panel.rows))
        self._chunks = list(panel.chunks())
        d = panel.n_features
        keep = len(panel.rows) * (1 + d + d * (d + 1) // 2) <= _KEPT_NUMBERS
        self._kept = [self._rows(chunk) for chunk in self._chunks] if keep else None

    def chunks(self) -> Iterator[Callable[[], tuple[Chunk, Rows]]]:
        """Each chunk when it is called for, so that only the phi of those at work are held in memory."""
        for index, chunk in enumerate(self._chunks):
            kept = None if self._kept is None else self._kept[index]
            yield lambda chunk=chunk, kept=kept: (chunk, kept or self._rows(chunk))  # type: ignore[misc]

    def _rows(self, chunk: Chunk) -> Rows:
        variance = self.panel.rounding_variance
        return Rows(
            self.panel.rows[chunk.order],
            center=self.center,
            rounding_variance=None if variance is None else variance[chunk.order],
        )
