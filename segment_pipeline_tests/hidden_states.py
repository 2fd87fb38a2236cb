"""Customers over many months whose hidden state is known in each: overlapping groups, and moves from one to another.

What a customer shows in a month is the centre of the group, a place of its own that never changes (`lasting`), and
chance, a part of which goes on to the next month (`persistence`), as windows that overlap make it. The mixture with
memory knows neither of the two: its months are independent given the states.
"""

from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.mixture.chain.panel import SEEN, Panel
from segment_pipeline.mixture.gaussian import Mixture

CENTRES = {
    4: np.array([[0.0, 0.0, 0.0], [2.6, 0.4, 0.5], [0.4, 2.8, 1.0], [2.8, 2.9, -0.6]]),
    5: np.array([[0.0, 0.0, 0.0], [1.9, 0.3, 0.4], [0.3, 2.0, 0.7], [2.1, 2.2, -0.5], [1.1, 0.9, 2.2]]),
}
"""Centres of the groups, whose customers vary by 1 in each feature. Four: from a month alone about one in twenty is
taken for a member of another group; five: one in seven."""

SHARES = {4: np.array([0.35, 0.30, 0.20, 0.15]), 5: np.array([0.28, 0.24, 0.20, 0.16, 0.12])}

WITHIN = 2
"""Months after a move within which it counts as seen."""


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """n customers over T months. truth : (n, T) the group of each. X : (n, T, d) what is seen of them."""

    truth: Labels
    X: Array

    @property
    def panel(self) -> Panel:
        """Everybody was a customer before the first month, and is seen in every one."""
        n, months, d = self.X.shape
        return Panel(np.full((n, months), SEEN, dtype=np.int8), self.X.reshape(-1, d), np.zeros(n, dtype=bool))

    @property
    def moved(self) -> Flags:
        """(n, T) whether the customer's group is another than the month before; not known of the first month."""
        moved = np.zeros(self.truth.shape, dtype=bool)
        moved[:, 1:] = self.truth[:, 1:] != self.truth[:, :-1]
        return moved

    def false_moves(self, labels: Labels) -> float:
        """Share of the customers who moved neither in a month nor in the one before, and whose label (n, T) changed."""
        still = ~self.moved[:, 2:] & ~self.moved[:, 1:-1]
        return float((labels[:, 2:] != labels[:, 1:-1])[still].mean())

    def moves_seen(self, labels: Labels) -> Flags:
        """(m,) of the true moves after which the customer stays for WITHIN months, whether the label (n, T) is that of
        the new group within them."""
        moved = self.moved
        who, when = np.nonzero(moved[:, : moved.shape[1] - WITHIN])
        stays = ~np.any([moved[who, when + later] for later in range(1, WITHIN + 1)], axis=0)
        who, when = who[stays], when[stays]
        there = [labels[who, when + later] == self.truth[who, when] for later in range(WITHIN + 1)]
        return np.asarray(np.any(there, axis=0))


def made_from(groups: int, apart: float = 1.0) -> Mixture:
    """What the customers of `hidden_states` come from, as a mixture."""
    d = CENTRES[groups].shape[1]
    return Mixture(SHARES[groups], apart * CENTRES[groups], np.tile(np.eye(d), (groups, 1, 1)))


def hidden_states(
    n: int,
    months: int,
    groups: int,
    moves: float,
    *,
    apart: float = 1.0,
    persistence: float = 0.0,
    lasting: float = 0.0,
    seed: int = 0,
) -> HiddenStates:
    """Customers of 4 or 5 groups. moves : share of the customers of any group who go over to another in a month.
    persistence : correlation of what is chance in a month with the month before, 0..1. lasting : standard deviation of
    the differences between customers of a group that never change; the variance within a group is 1 in all."""
    random = np.random.default_rng(seed)
    centres, shares = CENTRES[groups], SHARES[groups]
    truth = np.empty((n, months), dtype=np.intp)
    truth[:, 0] = random.choice(groups, n, p=shares)
    for t in range(1, months):
        # to another group, by its share, so that the shares remain about as they are
        leave = random.random(n) < moves
        weight = np.where(np.arange(groups) == truth[:, t - 1, None], 0.0, shares)
        drawn = (weight.cumsum(axis=1) < random.random(n)[:, None] * weight.sum(axis=1)[:, None]).sum(axis=1)
        truth[:, t] = np.where(leave, drawn, truth[:, t - 1])
    d = centres.shape[1]
    place = np.empty((n, months, d))
    place[:, 0] = random.normal(size=(n, d))
    for t in range(1, months):
        place[:, t] = persistence * place[:, t - 1] + np.sqrt(1 - persistence**2) * random.normal(size=(n, d))
    own = random.normal(size=(n, 1, d))
    return HiddenStates(truth, apart * centres[truth] + lasting * own + np.sqrt(1 - lasting**2) * place)
