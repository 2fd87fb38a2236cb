"""One E+M pass over 10 million x 6 with six components, against the matrix products and exponentials that it needs.

The bare work is phi @ coefficients, the exponentials, R.T @ phi: on one block again and again, everything already in
the processor's cache; the same with phi(x) built from the rows, which a pass has to do too; and as one would write it,
on a whole phi of 2.2 GB held in memory. One thread everywhere.
"""

import argparse
import time
import tracemalloc

import numpy as np
from datasets import overlapping_components
from threadpoolctl import threadpool_limits

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.em import _BLOCK_ROWS, Parameters, Rows, StackedEM

ROWS, FEATURES, COMPONENTS = 10_000_000, 6, 6


def the_pass(em: StackedEM, moments: Array, rows: Rows) -> float:
    start = time.perf_counter()
    em.step(moments, rows)
    return time.perf_counter() - start


def bare_work(X: Array, *, build: bool) -> float:
    """Seconds for the same number of rows, one block after another."""
    size = _BLOCK_ROWS
    rows = Rows(X[:size])
    (phi, _), *_ = rows.blocks(0, size, size)
    phi = np.ascontiguousarray(phi)
    random = np.random.default_rng(0)
    coefficients = -0.1 * random.random((COMPONENTS, len(phi)))
    joint = np.empty((COMPONENTS, size))
    start = time.perf_counter()
    for first in range(0, len(X) - size + 1, size):
        if build:
            x = phi[1 : FEATURES + 1]
            x[:] = X[first : first + size].T
            position = FEATURES + 1
            for i in range(FEATURES):
                np.multiply(x[i:], x[i], out=phi[position : position + FEATURES - i])
                position += FEATURES - i
        np.matmul(coefficients, phi, out=joint)
        np.exp(joint, out=joint)
        joint @ phi.T
    return time.perf_counter() - start


def bare_on_whole_matrices(X: Array) -> float:
    """Seconds for the three operations, phi(x) of all rows being there already."""
    pairs = np.triu_indices(FEATURES)
    phi = np.ones((1 + FEATURES + len(pairs[0]), len(X)))
    phi[1 : FEATURES + 1] = X.T
    for row, (i, j) in enumerate(zip(*pairs, strict=True)):
        np.multiply(phi[1 + i], phi[1 + j], out=phi[1 + FEATURES + row])
    coefficients = -0.1 * np.random.default_rng(0).random((COMPONENTS, len(phi)))
    start = time.perf_counter()
    joint = coefficients @ phi
    np.exp(joint, out=joint)
    joint @ phi.T
    return time.perf_counter() - start


def peak_memory(em: StackedEM, moments: Array, X: Array) -> float:
    """MB that NumPy holds at most during a pass, beyond the matrix."""
    tracemalloc.start()
    em.step(moments, Rows(X))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    X = overlapping_components(ROWS, FEATURES)
    rows, em = Rows(X), StackedEM(FEATURES, np.full(FEATURES, 1e-6), None)
    means = np.random.default_rng(1).normal(size=(1, COMPONENTS, FEATURES))
    rounding_variance = np.broadcast_to(np.eye(FEATURES), (1, COMPONENTS, FEATURES, FEATURES))
    with threadpool_limits(limits=1, user_api="blas"):
        moments, _ = em.expect(Parameters.of(np.full((1, COMPONENTS), 1 / COMPONENTS), means, rounding_variance), rows)
        times = np.array(
            [
                (
                    the_pass(em, moments, rows),
                    bare_work(X, build=False),
                    bare_work(X, build=True),
                    bare_on_whole_matrices(X),
                )
                for _ in range(repeats)
            ]
        )
        memory = peak_memory(em, moments, X)
    ours, *bare = np.median(times, axis=0)
    ratios = np.median(times[:, :1] / times[:, 1:], axis=0)
    print(f"one E+M pass over {ROWS:,} x {FEATURES}, {COMPONENTS} components: {ours:.2f} s (median of {repeats})")
    for what, seconds, ratio in zip(
        ("bare work, everything in cache", "the same, phi(x) built from rows", "bare work on whole matrices"),
        bare,
        ratios,
        strict=True,
    ):
        print(f"  {what:34s} {seconds:.2f} s, ratio {ratio:.2f} (bar: at most 1.5)")
    print(f"  peak memory beyond the input {memory:.0f} MB (bar: at most 500 MB)")


if __name__ == "__main__":
    main()
