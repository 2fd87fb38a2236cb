"""The month's candidates with memory against those without: seconds and memory of k = 2..10 on 47,000 customers x 12
months, and on as many rows of theirs, which is what a search saw before there was memory.

The customers are made up: they come from a chain of six segments that was fitted to the demo, lapse and return.

`python memory_search.py`; one minute on two cores.
"""

import resource
import time

import numpy as np
from memory import Shop, shop_of
from real_months import demo, print_table

from segment_pipeline.config.model import ModelSettings
from segment_pipeline.mixture.candidates import fit_candidates
from segment_pipeline.mixture.chain.candidates import fit_memory_candidates
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.panel import LAPSED, SEEN, Panel
from segment_pipeline.models.selection import examined_in_turn

CUSTOMERS, MONTHS, K = 47_000, 12, 6


def made_up(shop: Shop, seed: int = 0) -> Panel:
    model = MarkovMixture(K, variance_floor=shop.floor, random_state=0).fit(shop.panel)
    random = np.random.default_rng(seed)
    states = np.empty((CUSTOMERS, MONTHS), dtype=int)
    shares = np.tile(model.memory_.before, (CUSTOMERS, 1))
    for t in range(MONTHS):
        if t:
            shares = model.memory_.transitions[states[:, t - 1]]
        states[:, t] = (shares.cumsum(axis=1) < random.random((CUSTOMERS, 1))).sum(axis=1).clip(0, K)
    seen = states < K
    of_rows = states[seen]
    noise = random.normal(size=(len(of_rows), shop.panel.n_features))
    roots = np.linalg.cholesky(model.mixture_.covariances)
    rows = model.mixture_.means[of_rows] + np.einsum("nij,nj->ni", roots[of_rows], noise)
    there = seen.any(axis=1)
    # who was never there is in no panel
    panel = Panel.of(*np.nonzero(seen[there]), rows, first_months=np.full(int(there.sum()), -1), n_months=MONTHS)
    assert set(np.unique(panel.states)) >= {SEEN, LAPSED}
    return panel


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    shop = shop_of(*demo(), fitted=10)
    panel = made_up(shop)
    random = np.random.default_rng(1)
    some = panel.rows[np.sort(random.choice(len(panel.rows), CUSTOMERS, replace=False))]
    settings = {"variance_floor": shop.floor, "seed": 42}
    fits = {
        f"{len(some):,} customers of one month": lambda: fit_candidates(some, range(2, 11), **settings),
        f"{panel.n_customers:,} x {MONTHS} months, {len(panel.rows):,} rows": lambda: examined_in_turn(
            fit_memory_candidates(panel, range(2, 11), **settings), ModelSettings()
        ),
    }
    rows, seconds = [], []
    for name, fit in fits.items():
        before, began = peak_gigabytes(), time.perf_counter()
        found = fit()
        seconds.append(time.perf_counter() - began)
        best = min(found, key=lambda candidate: candidate.bic)
        rows.append([name, seconds[-1], peak_gigabytes() - before, best.n_components])
    print_table("k = 2..10", ("customers", "seconds", "GB more at the peak", "lowest BIC at k"), rows)
    print(f"ratio {seconds[1] / seconds[0]:.2f}")


if __name__ == "__main__":
    main()
