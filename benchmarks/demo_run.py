"""The ten months of the demo from nothing, as `make run` does them, in a folder of their own.

Against: reading the window's order lines of each month from the Parquet file into a DuckDB table, which is the least
that any pipeline on these data has to do.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from segment_pipeline.config.config import load_config
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.months import add_months, as_of, month_range

REPEATS = 3
CONFIG = Path("data/segmentation.yaml")


def run_demo() -> float:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / CONFIG.name
        shutil.copyfile(CONFIG, config)
        start = time.perf_counter()
        command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(config), "--quiet"]
        subprocess.run(command, check=True)
        return time.perf_counter() - start


def copy_lines() -> float:
    config = load_config(CONFIG)
    path = resolve_source_path(config.source.orders.path[0], CONFIG.parent)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "lines.duckdb")) as connection:
        start = time.perf_counter()
        for month in month_range(config.first_month, config.last_month):
            connection.execute(
                "CREATE OR REPLACE TABLE lines AS SELECT * FROM read_parquet(?) "
                "WHERE transaction_timestamp >= ? AND transaction_timestamp < ?",
                [path, add_months(as_of(month), -config.source.window_months), as_of(month)],
            )
        return time.perf_counter() - start


def main() -> None:
    pairs = [(run_demo(), copy_lines()) for _ in range(REPEATS)]
    ours, copying = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"ten months, imports included  {ours:.1f} s (median of {REPEATS}; bar: at most 60 s on two cores)")
    print(f"copying their order lines     {copying:.2f} s")
    print(f"ratio                         {statistics.median(a / b for a, b in pairs):.0f}")


if __name__ == "__main__":
    main()
