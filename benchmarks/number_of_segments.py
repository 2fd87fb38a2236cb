"""How many segments a panel says there are, and how many its last month: BIC of the panel, the log score one month
ahead of customers that the fit has not seen, and BIC of the last month, of the candidates with memory for k = 2..9,
refused or not.

On month-ends of two real shops, and on simulated customers of four and five groups. `lasting`: standard deviation of
the differences between customers of a group that never change (the variance within a group is 1 in all);
`persistence`: correlation of what is chance in a month with the month before, as windows that overlap make it. `stay`:
of the segment that most leave, the share who are in it a month later; below 0.1 the pipeline refuses the candidate.

`python number_of_segments.py`; three minutes on two cores.
"""

from collections.abc import Sequence

import numpy as np
from memory import shop_of
from real_months import cdnow, demo, record

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Candidate
from segment_pipeline.mixture.chain.candidates import fit_memory_candidates
from segment_pipeline.mixture.chain.panel import Panel
from segment_pipeline_tests.hidden_states import hidden_states

SIZES = range(2, 10)


def fitted(panel: Panel, floor: Array) -> Sequence[Candidate]:
    found = fit_memory_candidates(panel, SIZES, variance_floor=floor, seed=42)
    return [one.examined(0.0, 0.0) for one in found if one.examined is not None]


def chosen(found: Sequence[Candidate]) -> list[object]:
    return [
        min(found, key=lambda candidate: candidate.panel_bic or np.inf).n_components,
        max(found, key=lambda candidate: candidate.next_log_score or -np.inf).n_components,
        min(found, key=lambda candidate: candidate.bic).n_components,
    ]


def main() -> None:
    rows: list[list[object]] = []
    for title, ends, months in (("demo", demo(), 6), ("CDNOW", cdnow(), 5)):
        shop = shop_of(*ends, fitted=months)
        for c in fitted(shop.panel.until(months), shop.floor):
            stay = None if c.memory is None else float(c.memory.stays.min())
            bic = round(c.panel_bic or 0), c.next_log_score, round(c.bic)
            rows.append([title, c.n_components, *bic, c.stability, stay])
    header = ("shop", "k", "BIC of the panel", "log score ahead", "BIC of the last month", "stability", "stay")
    record("number_of_segments", "real shops", header, rows)

    rows = []
    for customers in (1000, 4000):
        for groups in (4, 5):
            for lasting, persistence in ((0.0, 0.0), (0.3, 0.5), (0.6, 0.0)):
                shown = hidden_states(
                    customers, 12, groups, 0.035, persistence=persistence, lasting=lasting, seed=customers
                )
                found = fitted(shown.panel, np.full(shown.panel.n_features, 1e-3))
                rows.append([customers, groups, lasting, persistence, *chosen(found)])
    header = ("customers", "groups", "lasting", "persistence", "BIC of the panel", "log score", "BIC of the last month")
    record("number_of_segments-simulated", "the k that each takes", header, rows)


if __name__ == "__main__":
    main()
