"""The ten months of the demo from nothing, as `make run` does them, in a folder of their own: time, and CPU seconds.

Against: reading the window's order lines of each month from the Parquet file into a DuckDB table, which is the least
that any pipeline on these data has to do. How often it is repeated may be named; on a machine that does other things
the clock says little, and CPU seconds, up to a third too many.

    python benchmarks/demo_run.py 1
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from segment_pipeline.config.config import load_config
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.months import add_months, as_of, month_range

REPEATS = 3
CONFIG = Path(__file__).parents[1] / "data" / "segmentation.yaml"
MOST_SECONDS, MOST_COPIES = 45, 25
"""The bars: of the clock on two quiet cores, and in CPU seconds of copying the lines."""


def run_demo() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / CONFIG.name
        shutil.copyfile(CONFIG, config)
        command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(config), "--quiet"]
        subprocess.run(command, check=True)


def copy_lines() -> None:
    config = load_config(CONFIG)
    path = resolve_source_path(config.source.orders.path[0], CONFIG.parent)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "lines.duckdb")) as connection:
        for month in month_range(config.first_month, config.last_month):
            connection.execute(
                "CREATE OR REPLACE TABLE lines AS SELECT * FROM read_parquet(?) "
                "WHERE transaction_timestamp >= ? AND transaction_timestamp < ?",
                [path, add_months(as_of(month), -config.source.window_months), as_of(month)],
            )


def taken(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, of this process and those that it has started."""
    clock, cpu = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - clock, sum(os.times()[:4]) - cpu


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    runs, copies = zip(*[(taken(run_demo), taken(copy_lines)) for _ in range(repeats)], strict=True)
    (clock, cpu), (clock_of_copy, cpu_of_copy) = (
        [statistics.median(column) for column in zip(*measured, strict=True)] for measured in (runs, copies)
    )
    ratio = statistics.median(run[1] / copy[1] for run, copy in zip(runs, copies, strict=True))
    print(f"| median of {repeats} | by the clock | CPU |")
    print("|---|---|---|")
    print(f"| ten months, imports included | {clock:.1f} s (bar: {MOST_SECONDS} s) | {cpu:.1f} s |")
    print(f"| copying their order lines | {clock_of_copy:.2f} s | {cpu_of_copy:.2f} s |")
    print(f"| ratio | {clock / clock_of_copy:.0f} | {ratio:.0f} (bar: {MOST_COPIES}) |")


if __name__ == "__main__":
    main()
