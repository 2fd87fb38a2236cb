"""The whole search for k = 2..10, with its defaults, on ten sets of simulated customers of varied shape, against
scikit-learn's loop.

scikit-learn: `GaussianMixture(k, n_init=10)`, twice: with its defaults, which stop where a step gains less than 1e-3
nats a customer, or after 100; and `converged`, with `tol=1e-5` and as many steps as that takes. Ours stops where all
that is still to be gained seems less than 1e-5. A fit of its counts where it passes the degeneracy check. Everything in
one thread, by processor time: on small products its threads wait for one another, on a machine that others use for
ever. Bars: our BIC no worse at every k of every set; at least 30 times as fast on each set, 50 in the median. Half an
hour; `--most-rows 20000` leaves out the two largest sets.

`--cheaper` asks instead how far less search goes: with one full run per k, and with nothing but one run from k-means
per k, which is no search; each beside scikit-learn's loop run to convergence, with what it loses.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from datasets import varied_sets
from real_months import record
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Mixture, find_degeneracy, search_mixtures
from segment_pipeline.mixture.estimator import GaussianMixtureEM

COMPONENTS = range(2, 11)
OURS_PER_REPEAT = 3
CONVERGED = {"tol": 1e-5, "max_iter": 10_000}
WORSE = 0.5
"""BIC that counts as worse: fits are converged to 1e-5 nats per customer, and the guard may cost a tenth."""


Clock = Callable[[], float]


def ours(X: Array, clock: Clock = time.perf_counter, **how: object) -> tuple[float, list[float]]:
    """Seconds, and BIC at every k."""
    start = clock()
    found = search_mixtures(X, COMPONENTS, random_state=0, **how)  # type: ignore[arg-type]
    return clock() - start, [one.bic for one in found]


def theirs(
    X: Array, seed: int, clock: Clock = time.perf_counter, **how: float
) -> tuple[float, list[float], list[bool]]:
    """Seconds, BIC at every k, and whether the fit is sound. how : further arguments of theirs."""
    start = clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = [GaussianMixture(k, n_init=10, random_state=seed, **how).fit(X) for k in COMPONENTS]
    seconds = clock() - start
    names, no_floor = [str(j) for j in range(X.shape[1])], np.zeros(X.shape[1])
    mixtures = [Mixture(model.weights_, model.means_, model.covariances_) for model in fitted]
    sound = [find_degeneracy(mixture, X, no_floor, names) is None for mixture in mixtures]
    return seconds, [model.bic(X) for model in fitted], sound


def race(X: Array, repeats: int, bar: float, **how: object) -> None:
    """Print times, their ratio and the BIC of both, of one set."""
    ratios = []
    for repeat in range(repeats):
        runs = [ours(X, **how) for _ in range(OURS_PER_REPEAT)]
        seconds = statistics.median(run[0] for run in runs)
        their_seconds, their_bic, _ = theirs(X, repeat)
        ratios.append(their_seconds / seconds)
        differences = np.array(runs[0][1]) - their_bic
        print(
            f"{len(X):,} x {X.shape[1]}, k = 2..10: search_mixtures {seconds:.2f} s (median of {OURS_PER_REPEAT}), ",
            end="",
        )
        print(f"scikit-learn {their_seconds:.1f} s, ratio {ratios[-1]:.0f}")
        for k, bic, difference in zip(COMPONENTS, runs[0][1], differences, strict=True):
            print(f"  k = {k:2d}  BIC {bic:12,.1f}  ours - scikit-learn's {difference:+12,.2f}")
        print(f"  BIC no worse at every k: {'yes' if differences.max() <= 0.01 else 'NO'}")
    print(f"time ratio {statistics.median(ratios):.0f} (median of {repeats}; bar: at least {bar:.0f})")


def row(name: str, X: Array) -> tuple[list[object], list[float], float]:
    """A line of the table, the two ratios, and by how much BIC of ours is worse at its worst k."""
    with threadpool_limits(1):
        runs = [ours(X, time.process_time, n_jobs=1) for _ in range(OURS_PER_REPEAT)]
        rivals = [theirs(X, 0, time.process_time, **how) for how in ({}, CONVERGED)]
    seconds = statistics.median(run[0] for run in runs)
    told: list[object] = [name, f"{len(X):,} x {X.shape[1]}", f"{seconds:.2f}"]
    worst = -np.inf
    for their_seconds, their_bic, sound in rivals:
        gains = np.where(sound, np.array(their_bic) - runs[0][1], np.nan)
        figures = (their_seconds, their_seconds / seconds, np.nanmin(gains), np.nanmedian(gains))
        told += [*(f"{figure:.2f}" for figure in figures), sum(sound)]
        worst = max(worst, -float(np.nanmin(gains)))
    return told, [rival[0] / seconds for rival in rivals], worst


def cheaper_row(name: str, X: Array) -> list[object]:
    """A line of the other table: seconds, ratio to scikit-learn's converged loop, and BIC lost to the whole search at
    the worst k, of less and less search."""
    with threadpool_limits(1):
        whole, best = ours(X, time.process_time, n_jobs=1)
        fewer, one_run = ours(X, time.process_time, n_jobs=1, finalists=1)
        start = time.process_time()
        single = [GaussianMixtureEM(k, tol=1e-5, random_state=0).fit(X).bic(X) for k in COMPONENTS]
        least = time.process_time() - start
        their_seconds, _, _ = theirs(X, 0, time.process_time, **CONVERGED)
    told: list[object] = [name, f"{len(X):,} x {X.shape[1]}"]
    for seconds, found in ((whole, best), (fewer, one_run), (least, single)):
        lost = float(np.max(np.array(found) - best))
        told += [f"{seconds:.2f}", f"{their_seconds / seconds:.1f}", f"{max(lost, 0.0):.1f}"]
    return told


def report(measured: Sequence[tuple[list[object], list[float], float]]) -> None:
    """Print and keep the table."""
    rows, ratios, worst = zip(*measured, strict=True)
    of_theirs = ("s", "ratio", "BIC gained: least", "median", "of 9 sound")
    theirs_twice = (f"{how}: {what}" for how in ("defaults", "converged") for what in of_theirs)
    columns = ["data", "rows", "ours, s", *theirs_twice]
    record("search_vs_sklearn", "k = 2..10, one thread, processor time", columns, rows)
    print(f"BIC no worse at every k: {'yes' if max(worst) <= WORSE else 'NO'} (worst {max(worst):+.2f})")
    for how, of_sets in zip(("with its defaults", "converged"), zip(*ratios, strict=True), strict=True):
        print(f"ratio {how}: least {min(of_sets):.1f} (bar 30), median {statistics.median(of_sets):.1f} (bar 50)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most-rows", type=int, default=10**9, help="leave out larger sets")
    parser.add_argument("--cheaper", action="store_true", help="how far less search goes")
    chosen = parser.parse_args()
    sets = {name: X for name, X in varied_sets().items() if len(X) <= chosen.most_rows}
    if chosen.cheaper:
        of_each = (f"{how}: {what}" for how in ("whole", "one run", "no search") for what in ("s", "ratio", "lost"))
        columns = ["data", "rows", *of_each]
        record(
            "search_vs_sklearn-cheaper", "k = 2..10, one thread", columns, [cheaper_row(*one) for one in sets.items()]
        )
    else:
        report([row(name, X) for name, X in sets.items()])


if __name__ == "__main__":
    main()
