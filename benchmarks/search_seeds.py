"""Two seeds of the month's whole choice: whether they end in the same fit, or stability says that they do not.

Ten sets of simulated customers, a month of the demo and of CDNOW (July 1997, half of whose customers are atoms) without
memory, and both with memory, on the months up to the middle of their data; of the demo also on six, where four segments
have one optimum that many starts lead to and a better one that few do. `chosen`: the number of components that each
seed chooses. `BIC apart`: of the two fits with a number that one of them has chosen, the larger where they have chosen
two. `before`: the same of what the searches had found before they were asked to look closer. `stability`: the lower of
the two at that number. `cost`: processor time of the whole, as a multiple of that of the searches alone. Bar: at most
2 BIC apart, or stability below 0.8.

`python search_seeds.py`; ten minutes on one core; `--sets NAME ...` runs some of them, and the lines of the others stay
in the table.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from datasets import varied_sets
from memory import shop_of
from real_months import cdnow, demo, record

from segment_pipeline.config.model import MemorySettings, ModelSettings
from segment_pipeline.mixture.candidates import SAME_BIC, Candidate, fit_candidates
from segment_pipeline.mixture.chain.candidates import fit_memory_candidates
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.resolution import what_the_fit_sees
from segment_pipeline.models.selection import choose, examined_in_turn

SIZES, SEEDS, LIMITS, STABLE = range(2, 11), (1, 2), MemorySettings(), 0.8

Search = Callable[[int], list[Candidate]]


def searches() -> Iterator[tuple[str, int, Search]]:
    """Name, rows, and the candidates that a seed gives."""
    for name, X in varied_sets().items():
        floor = np.zeros(X.shape[1])
        yield name, len(X), lambda seed, X=X, floor=floor: fit_candidates(X, SIZES, variance_floor=floor, seed=seed)
    for name, (config, ends) in {"demo": demo(), "CDNOW": cdnow()}.items():
        end = ends[0]
        space = FeatureSpace.fit(config.model_features, end.X)
        Z, spread = what_the_fit_sees("spread", space, end.X, [])
        how = {"rounding_variance": spread, "exact": space.transform(end.X), "variance_floor": space.variance_floor}
        yield f"{name}, a month", len(Z), lambda seed, Z=Z, how=how: fit_candidates(Z, SIZES, seed=seed, **how)
        for months in (5, 6) if name == "demo" else (5,):
            shop = shop_of(config, ends, fitted=months)
            panel, floor = shop.panel.until(months), shop.floor
            yield (
                f"{name}, memory" + (", six months" if months == 6 else ""),
                len(panel.rows),
                lambda seed, panel=panel, floor=floor: fit_memory_candidates(
                    panel, SIZES, variance_floor=floor, seed=seed
                ),
            )


def row(name: str, rows: int, search: Search) -> list[object]:
    chosen, before, after, whole, alone = [], [], [], 0.0, 0.0
    for seed in SEEDS:
        began = time.process_time()
        found = search(seed)
        alone += time.process_time() - began
        asked = examined_in_turn(found, ModelSettings(), limits=LIMITS)
        whole += time.process_time() - began
        choice = choose(asked, ModelSettings(), limits=LIMITS).candidate
        chosen.append(None if choice is None else choice.n_components)
        before.append(_by_size(found))
        after.append(_by_size(asked))
    of_choice = sorted({k for k in chosen if k is not None})
    stable = {k: min(found[k].stability for found in after) for k in of_choice}
    worst = max(of_choice, key=lambda k: _apart(after, k))
    told = [
        name,
        f"{rows:,}",
        ", ".join(map(str, chosen)),
        round(_apart(before, worst), 3),
        round(_apart(after, worst), 3),
        round(stable[worst], 3),
        f"{whole / alone:.2f}",
        "yes" if all(_apart(after, k) <= SAME_BIC or stable[k] < STABLE for k in of_choice) else "**no**",
    ]
    print(*told, flush=True)
    return told


def _by_size(candidates: Sequence[Candidate]) -> dict[int, Candidate]:
    return {one.n_components: one for one in candidates}


def _apart(seeds: Sequence[dict[int, Candidate]], k: int) -> float:
    scores = [found[k].bic for found in seeds]
    return max(scores) - min(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", help="the names of those that are run; default: all")
    wanted = parser.parse_args().sets
    rows = [row(*one) for one in searches() if wanted is None or one[0] in wanted]
    header = ("data", "rows", "chosen", "BIC apart, before", "BIC apart", "stability", "cost", "holds")
    record("search_seeds", "two seeds", header, rows, of=[name for name, *_ in searches()])


if __name__ == "__main__":
    main()
