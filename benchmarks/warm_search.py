"""The candidates with memory, month after month: going on from last month's and searching again for those alone that
may serve, as the pipeline does, against every candidate searched anew and searched again in every month.

Month-ends of CDNOW, and simulated customers of four and five groups (as in number_of_segments.py). `BIC more`: BIC of
the choice less that of the exhaustive search, the mean over months, and the worst month: below 0 the choice describes
the month better. `log score more`: of the choice, one month ahead, of customers that the fit has not seen; above 0 is
better. `time`: of the processor, as a ratio.
Bars: no more than 2 BIC worse on average, half of the time.

`python warm_search.py`; three minutes on two cores.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from memory import shop_of
from real_months import cdnow, record

from segment_pipeline.arrays import Array
from segment_pipeline.config.model import MemorySettings, ModelSettings
from segment_pipeline.mixture.candidates import Candidate
from segment_pipeline.mixture.chain.candidates import fit_memory_candidates
from segment_pipeline.mixture.chain.panel import Panel
from segment_pipeline.models.selection import choose, examined_in_turn
from segment_pipeline_tests.hidden_states import hidden_states

SIZES, LIMITS = range(2, 9), MemorySettings()

Known = Sequence[Candidate]


def as_served(panel: Panel, floor: Array, before: Known) -> Known:
    known = [(one.mixture.unmerged, one.memory.parted(one.mixture.segment_of, one.mixture.within)) for one in before]
    found = fit_memory_candidates(panel, SIZES, variance_floor=floor, seed=42, known=known)
    return examined_in_turn(found, ModelSettings(), limits=LIMITS)


def exhaustive(panel: Panel, floor: Array, _: Known) -> Known:
    found = fit_memory_candidates(panel, SIZES, variance_floor=floor, seed=42)
    return [one if one.examined is None else one.examined(LIMITS.min_kept, LIMITS.min_stay) for one in found]


def months(panels: Sequence[Panel], floor: Array, search: Callable[[Panel, Array, Known], Known]) -> list[list[object]]:
    """Of every month the choice's BIC, log score, number of components and of segments, and the seconds."""
    found: Known = exhaustive(panels[0], floor, ())
    rows = []
    for panel in panels[1:]:
        began = time.process_time()
        found = search(panel, floor, found)
        spent = time.process_time() - began
        choice = choose(found, ModelSettings(), limits=LIMITS).candidate
        rows.append(
            [
                *((np.nan, np.nan, 0) if choice is None else (choice.bic, choice.next_log_score, choice.n_segments)),
                spent,
            ]
        )
    return rows


def compared(shop: str, panels: Sequence[Panel], floor: Array) -> list[object]:
    mine, its = (np.array(months(panels, floor, search), dtype=float) for search in (as_served, exhaustive))
    gap, ahead = mine[:, 0] - its[:, 0], mine[:, 1] - its[:, 1]
    alike = int((mine[:, 2] == its[:, 2]).sum())
    told = [
        shop,
        len(mine),
        float(np.nanmean(gap)),
        float(np.nanmax(gap)),
        float(np.nanmean(ahead)),
        f"{alike} of {len(mine)}",
        f"{mine[:, 3].sum() / its[:, 3].sum():.2f}",
    ]
    print(told, flush=True)
    return told


def main() -> None:
    shop = shop_of(*cdnow(), fitted=5)
    rows = [compared("CDNOW", [shop.panel.until(t) for t in range(4, shop.panel.n_months + 1)], shop.floor)]
    for groups, lasting, seed in ((4, 0.0, 11), (4, 0.3, 12), (5, 0.3, 13)):
        panel = hidden_states(800, 8, groups, 0.035, persistence=0.5, lasting=lasting, seed=seed).panel
        title = f"{groups} groups, lasting {lasting}"
        rows.append(compared(title, [panel.until(t) for t in range(3, 9)], np.full(panel.n_features, 1e-3)))
    header = ("shop", "months", "BIC more, mean", "at most", "log score more", "as many segments", "time")
    record("warm_search", "warm and in turn, less everything anew", header, rows)


if __name__ == "__main__":
    main()
