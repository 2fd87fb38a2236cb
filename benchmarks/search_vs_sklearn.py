"""The whole search for k = 2..10, with its defaults, on ten sets of simulated customers of varied shape, against
scikit-learn's loop.

scikit-learn: `GaussianMixture(k, n_init=10)`, twice: with its defaults, which stop where a step gains less than 1e-3
nats a customer, or after 100; and `converged`, with `tol=1e-5` and as many steps as that takes. Ours stops where all
that is still to be gained seems less than 1e-5. A fit of its counts where it passes the degeneracy check. Everything in
one thread, by processor time: on small products its threads wait for one another, on a machine that others use for
ever. Bars: our BIC no worse at every k of every set; at least 30 times as fast on each set, 50 in the median.

Of sets of more than FEW_ROWS rows the second time is no loop: the best of ten by scikit-learn's defaults goes on to
convergence, which says what BIC the rival can have, and nothing of its time. `--sets NAME ...` runs some of the sets;
the lines of the others stay in the table.

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
FEW_ROWS = 3_000
"""Up to here scikit-learn's ten starts are all run to convergence; beyond, that takes it minutes to hours."""
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
    fitted = _loop(X, seed, **how)
    return clock() - start, *_judged(fitted, X)


def continued(fitted: Sequence[GaussianMixture], X: Array) -> tuple[list[float], list[bool]]:
    """BIC at every k of the fits once they are converged, and whether they are sound."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        goes_on = [
            GaussianMixture(
                len(one.weights_),
                weights_init=one.weights_ / one.weights_.sum(),
                means_init=one.means_,
                precisions_init=one.precisions_,
                **CONVERGED,
            ).fit(X)
            for one in fitted
        ]
    return _judged(goes_on, X)


def _loop(X: Array, seed: int, **how: float) -> list[GaussianMixture]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [GaussianMixture(k, n_init=10, random_state=seed, **how).fit(X) for k in COMPONENTS]


def _judged(fitted: Sequence[GaussianMixture], X: Array) -> tuple[list[float], list[bool]]:
    names, no_floor = [str(j) for j in range(X.shape[1])], np.zeros(X.shape[1])
    mixtures = [Mixture(model.weights_, model.means_, model.covariances_) for model in fitted]
    sound = [find_degeneracy(mixture, X, no_floor, names) is None for mixture in mixtures]
    return [model.bic(X) for model in fitted], sound


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


def row(name: str, X: Array) -> list[object]:
    """A line of the table."""
    with threadpool_limits(1):
        runs = [ours(X, time.process_time, n_jobs=1) for _ in range(OURS_PER_REPEAT if len(X) <= FEW_ROWS else 1)]
        rivals: list[tuple[float | None, tuple[list[float], list[bool]]]]
        start = time.process_time()
        fitted = _loop(X, 0)
        rivals = [(time.process_time() - start, _judged(fitted, X))]
        if len(X) <= FEW_ROWS:
            their_seconds, *found = theirs(X, 0, time.process_time, **CONVERGED)
            rivals.append((their_seconds, (found[0], found[1])))
        else:
            rivals.append((None, continued(fitted, X)))
    seconds = statistics.median(run[0] for run in runs)
    told: list[object] = [name, f"{len(X):,} x {X.shape[1]}", f"{seconds:.2f}"]
    for their_seconds, (their_bic, sound) in rivals:
        gains = np.where(sound, np.array(their_bic) - runs[0][1], np.nan)
        print(name, dict(zip(COMPONENTS, gains.round(2), strict=True)), flush=True)
        told += [None, None] if their_seconds is None else [f"{their_seconds:.2f}", f"{their_seconds / seconds:.2f}"]
        told += [f"{np.nanmin(gains):.2f}", f"{np.nanmedian(gains):.2f}", sum(sound)]
    return told


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


def report(measured: Sequence[Sequence[object]]) -> None:
    """Print and keep the table, and say what it means for the bars."""
    of_theirs = ("s", "ratio", "BIC gained: least", "median", "of 9 sound")
    theirs_twice = (f"{how}: {what}" for how in ("defaults", "converged") for what in of_theirs)
    columns = ["data", "rows", "ours, s", *theirs_twice]
    rows = record("search_vs_sklearn", "k = 2..10, one thread, processor time", columns, measured, of=varied_sets())
    worst = max(-float(row[place]) for row in rows for place in (5, 10))
    print(f"BIC no worse at every k: {'yes' if worst <= WORSE else 'NO'} (worst {worst:+.2f})")
    for how, place in (("with its defaults", 4), ("converged", 9)):
        ratios = [float(row[place]) for row in rows if row[place] != "-"]
        print(f"ratio {how}: least {min(ratios):.1f} (bar 30), median {statistics.median(ratios):.1f} (bar 50)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", help="the names of those that are run; default: all")
    parser.add_argument("--cheaper", action="store_true", help="how far less search goes")
    chosen = parser.parse_args()
    sets = {name: X for name, X in varied_sets().items() if chosen.sets is None or name in chosen.sets}
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
