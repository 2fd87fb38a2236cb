"""Simulated customers whose hidden state is known: how many who did not move are reported as moved, and how many true
moves are seen, with memory and by the mixture alone with the same number of segments.

Twelve months of 1,500 customers in four or five groups that overlap; `moves`: share that really moves a month;
`persistence`: correlation of what is chance in a month with the month before, as windows that overlap make it. False:
share of the customers who moved neither this month nor the one before, and are reported as moved. Seen: share of the
true moves, of customers who then stay, after which the customer is in its new group within two months; `of those`: of
the moves that the mixture sees. Bars: false at most a third of the mixture's; of those at least 0.97.

Oracle: the same of labels by the most probable group for who knows everything but where the customers are: the groups,
how many move from each to each, and the persistence. Where even these are below a bar, the groups overlap so far that
no labels by the most probable group reach it.

`python hidden_states.py`; some seconds.
"""

import numpy as np
from real_months import record
from scipy.special import log_softmax, logsumexp

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline_tests.hidden_states import CENTRES, SHARES, HiddenStates, hidden_states, made_from

CUSTOMERS, MONTHS = 1500, 12


def oracle(shown: HiddenStates, groups: int, apart: float, moves: float, persistence: float) -> Array:
    """(n, T, k) probability of each group given the months so far, with the world's true parameters: what is chance in
    a month goes on into the next, so that a month's features are judged given both groups and those of before."""
    shares = SHARES[groups]
    others = np.where(np.eye(groups, dtype=bool), 0.0, shares)
    steps = moves * others / others.sum(axis=1, keepdims=True) + (1.0 - moves) * np.eye(groups)
    log_steps = np.log(np.maximum(steps, np.finfo(float).tiny))
    chance = shown.X[:, :, None, :] - apart * CENTRES[groups]
    found = [log_softmax(np.log(shares) - 0.5 * (chance[:, 0] ** 2).sum(axis=2), axis=1)]
    for t in range(1, shown.X.shape[1]):
        new = chance[:, t, None, :, :] - persistence * chance[:, t - 1, :, None, :]
        log_density = -0.5 * (new**2).sum(axis=3) / (1.0 - persistence**2)
        found.append(log_softmax(logsumexp(found[-1][:, :, None] + log_steps + log_density, axis=1), axis=1))
    return np.exp(np.stack(found, axis=1))


def row(groups: int, apart: float, moves: float, persistence: float) -> list[object]:
    shown = hidden_states(CUSTOMERS, MONTHS, groups, moves, apart=apart, persistence=persistence, seed=7)
    truth = made_from(groups, apart)  # both rivals begin there, so that neither loses for want of a start
    memory = MarkovMixture(groups, mixture_init=truth).fit(shown.panel)
    alone = truth.responsibilities(shown.panel.rows).reshape(*shown.truth.shape, groups).argmax(axis=2)
    remembered = memory.filter(shown.panel)[:, :, :groups].argmax(axis=2)
    known = oracle(shown, groups, apart, moves, persistence).argmax(axis=2)
    false = [shown.false_moves(labels) for labels in (alone, remembered, known)]
    found: list[object] = [groups, apart, moves, persistence, *false, false[1] / false[0]]
    if not moves:
        return [*found, None, None, None, None]
    seen, still_seen, seen_by_oracle = (shown.moves_seen(labels) for labels in (alone, remembered, known))
    of_those = (float(others[seen].mean()) for others in (still_seen, seen_by_oracle))
    return [*found, float(seen.mean()), float(still_seen.mean()), *of_those]


def main() -> None:
    worlds = [
        (groups, apart, moves, persistence)
        for groups in (4, 5)
        for apart in (1.0, 1.5)
        for moves, persistence in ((0.0, 0.0), (0.035, 0.0), (0.035, 0.5), (0.08, 0.0))
    ]
    header = (
        "groups", "apart", "moves", "persistence", "false: mixture", "false: memory", "false: oracle", "ratio",
        "seen: mixture", "seen: memory", "of those", "of those: oracle",
    )  # fmt: skip
    record("hidden_states", "false moves and true ones", header, [row(*world) for world in worlds])


if __name__ == "__main__":
    main()
