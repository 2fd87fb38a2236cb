"""Simulated customers whose hidden state is known: how many who did not move are reported as moved, and how many true
moves are seen, with memory and by the mixture alone with the same number of segments.

Twelve months of 1,500 customers in four or five groups that overlap; `moves`: share that really moves a month;
`persistence`: correlation of what is chance in a month with the month before, as windows that overlap make it. False:
share of the customers who moved neither this month nor the one before, and are reported as moved. Seen: share of the
true moves, of customers who then stay, after which the customer is in its new group within two months; `of those`: of
the moves that the mixture sees. Bars: false at most a third of the mixture's; of those at least 0.97.

`python hidden_states.py`; two seconds.
"""

from real_months import record

from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline_tests.hidden_states import hidden_states, made_from

CUSTOMERS, MONTHS = 1500, 12


def row(groups: int, apart: float, moves: float, persistence: float) -> list[object]:
    shown = hidden_states(CUSTOMERS, MONTHS, groups, moves, apart=apart, persistence=persistence, seed=7)
    truth = made_from(groups, apart)  # both rivals begin there, so that neither loses for want of a start
    memory = MarkovMixture(groups, mixture_init=truth).fit(shown.panel)
    alone = truth.responsibilities(shown.panel.rows).reshape(*shown.truth.shape, groups).argmax(axis=2)
    remembered = memory.filter(shown.panel)[:, :, :groups].argmax(axis=2)
    false = [shown.false_moves(labels) for labels in (alone, remembered)]
    found: list[object] = [groups, apart, moves, persistence, *false, false[1] / false[0]]
    if not moves:
        return [*found, None, None, None]
    seen, still_seen = (shown.moves_seen(labels) for labels in (alone, remembered))
    return [*found, float(seen.mean()), float(still_seen.mean()), float(still_seen[seen].mean())]


def main() -> None:
    worlds = [
        (groups, apart, moves, persistence)
        for groups in (4, 5)
        for apart in (1.0, 1.5)
        for moves, persistence in ((0.0, 0.0), (0.035, 0.0), (0.035, 0.5), (0.08, 0.0))
    ]
    header = (
        "groups", "apart", "moves", "persistence", "false: mixture", "false: memory", "ratio", "seen: mixture",
        "seen: memory", "of those",
    )  # fmt: skip
    record("hidden_states", "false moves and true ones", header, [row(*world) for world in worlds])


if __name__ == "__main__":
    main()
