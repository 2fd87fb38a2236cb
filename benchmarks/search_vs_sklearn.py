"""The whole search for k = 2..10 on 47,000 simulated customers x 5 features, against scikit-learn's loop.

scikit-learn: `GaussianMixture(k, n_init=10)`, its defaults, all cores. Ours without prior, and with scikit-learn's
`reg_covar` as the floor, so that both climb the same likelihood. Takes about four minutes a repeat.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
from datasets import overlapping_components
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import search_mixtures

COMPONENTS = range(2, 11)
OURS_PER_REPEAT = 3


def ours(X: Array, *, shun_spikes: bool) -> tuple[float, list[float]]:
    """Seconds, and BIC at every k."""
    start = time.perf_counter()
    found = search_mixtures(X, COMPONENTS, random_state=0, prior=None, variance_floor=1e-6, shun_spikes=shun_spikes)
    return time.perf_counter() - start, [one.bic for one in found]


def theirs(X: Array, seed: int) -> tuple[float, list[float]]:
    """Seconds, and BIC at every k."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = [GaussianMixture(k, n_init=10, random_state=seed).fit(X) for k in COMPONENTS]
    return time.perf_counter() - start, [model.bic(X) for model in fitted]


def race(X: Array, repeats: int, bar: float, *, shun_spikes: bool) -> None:
    """Print times, their ratio and the BIC of both."""
    ratios = []
    for repeat in range(repeats):
        runs = [ours(X, shun_spikes=shun_spikes) for _ in range(OURS_PER_REPEAT)]
        seconds = statistics.median(run[0] for run in runs)
        their_seconds, their_bic = theirs(X, repeat)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1)
    race(overlapping_components(47_000, 5), parser.parse_args().repeats, 50, shun_spikes=True)


if __name__ == "__main__":
    main()
