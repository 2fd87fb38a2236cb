"""`segment-pipeline quickstart` on 47,000 simulated customers x 5, as a fresh process, imports included.

The customers have five habits; a third have one order, and total spend is orders times average order value, to the
cent. Against: the textbook loop on the same five columns: log1p, StandardScaler, scikit-learn's
`GaussianMixture(k, n_init=10)` for k = 2..10, all cores, without reading, checking, choosing, naming, storing or
reporting anything. It fits the collinear column too, which quickstart leaves out, and it tries k = 9 and 10, which
quickstart does not: eight segments are the most that are ever chosen.

Takes about five minutes; `--without-textbook` about half a minute. `--against FOLDER` is the checkout of another:
CPU seconds of both versions, in turn, which a busy machine changes less, and of reading alone (`inspect`).
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from segment_pipeline.arrays import Array
from segment_pipeline.words import percent

ROWS = 47_000
BAR_SECONDS, BAR_RATIO = 30, 6
COLUMNS = ("customer_id", "recency_days", "orders", "total_spend", "average_order_value", "session_minutes")


def customers(rows: int = ROWS, seed: int = 7) -> Array:
    """(rows, 5) in the order of COLUMNS, without the id."""
    random = np.random.default_rng(seed)
    habit = random.choice(5, size=rows, p=[0.22, 0.25, 0.20, 0.18, 0.15])

    def around(centres: list[float], spreads: list[float]) -> Array:
        return np.exp(random.normal(np.array(centres)[habit], np.array(spreads)[habit]))

    recency = np.ceil(around([1.8, 3.0, 3.8, 4.4, 3.0], [0.6, 0.5, 0.4, 0.35, 0.7]))
    orders = 1.0 + random.poisson(around([2.4, 1.4, 0.3, -1.5, -1.8], [0.4] * 5))
    average = np.round(around([3.4, 3.9, 3.3, 3.1, 4.6], [0.35, 0.3, 0.4, 0.4, 0.4]), 2)
    minutes = np.round(around([2.6, 2.0, 1.6, 1.0, 2.2], [0.4] * 5), 1)
    return np.column_stack([recency, orders, np.round(orders * average, 2), average, minutes])


def write(X: Array, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, (recency, orders, spend, average, minutes) in enumerate(X):
            row = (
                f"C{number:06d}",
                f"{recency:.0f}",
                f"{orders:.0f}",
                f"{spend:.2f}",
                f"{average:.2f}",
                f"{minutes:.1f}",
            )
            writer.writerow(row)


def quickstart(file: Path, *, show: bool) -> float:
    """Seconds from the shell's call to its return."""
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "quickstart", file.name]
    start = time.perf_counter()
    ended = subprocess.run(
        command, cwd=file.parent, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - start
    if show:
        print(ended.stdout)
    return seconds


def cpu_seconds(checkout: Path, command: str, file: Path) -> float:
    """CPU seconds of a command of a version, imports included. Raises CalledProcessError where it fails."""
    asked = [sys.executable, "-m", "segment_pipeline.cli.main", command, file.name]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    before = os.times()
    subprocess.run(asked, cwd=file.parent, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=environment)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def compare(other: Path, file: Path, rounds: int = 3) -> None:
    """Medians of a few rounds of this version and another, one after the other."""
    here = Path(__file__).resolve().parents[1]
    for command in ("quickstart", "inspect"):
        taken: dict[Path, list[float]] = {here: [], other: []}
        for _ in range(rounds):
            for checkout, seconds in taken.items():
                try:
                    seconds.append(cpu_seconds(checkout, command, file))
                except subprocess.CalledProcessError as error:
                    print(f"{command} of {checkout.name} ended with exit code {error.returncode}")
        ours, theirs = (statistics.median(seconds) if seconds else float("nan") for seconds in taken.values())
        print(f"{command:<12}{ours:>6.1f} s of CPU, the other version {theirs:.1f} s, ratio {ours / theirs:.2f}")


def textbook(X: Array) -> float:
    """Seconds of the loop alone."""
    start = time.perf_counter()
    Z = StandardScaler().fit_transform(np.log1p(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k in range(2, 11):
            GaussianMixture(k, n_init=10, random_state=0).fit(Z).bic(Z)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-textbook", action="store_true")
    parser.add_argument("--against", type=Path, help="checkout of another version: compare CPU seconds, and no more")
    chosen = parser.parse_args()
    X = customers()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "customers.csv"
        write(X, file)
        if chosen.against is not None:
            compare(chosen.against.resolve(), file)
            return
        ours = quickstart(file, show=True)
    print(f"{len(X):,} x {X.shape[1]}, {percent(np.mean(X[:, 1] == 1))} with one order")
    print(f"quickstart, imports included  {ours:.1f} s (bar: at most {BAR_SECONDS} s on two cores)")
    if not chosen.without_textbook:
        loop = textbook(X)
        print(f"the textbook loop alone       {loop:.1f} s")
        print(f"ratio                         {loop / ours:.1f} (bar: at least {BAR_RATIO})")


if __name__ == "__main__":
    main()
