"""The steps of a month that touch every customer, with the customers in a Sail server and in DuckDB: processor time,
memory, and how both grow with the number of customers.

    python benchmarks/steps_on_spark.py --customers 100000 1000000 --folder SOMEWHERE

The steps and their customers are those of month_of_a_million.py: scores and tiers, what moved them, transitions,
warnings, actions, audiences, journeys. Each runs once in a warehouse of DuckDB's own, and once in a copy of it whose
customers have moved to a Sail server, a process beside this one in local-cluster mode: processor seconds of both
processes together, the most memory that each held, and what lies in the lake. Against: DuckDB, in the same run.
"""

import argparse
import gc
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.many_customers import size_of
from benchmarks.month_of_a_million import LIMIT, MONTH, Step, a_model, begin, peak_megabytes, steps_of
from segment_pipeline.database.engines.engine import SparkEngine
from segment_pipeline.database.engines.spark import Spark
from segment_pipeline.database.store import Warehouse
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.spark import Server
from segment_pipeline_tests.spark import server as running


class Cost(NamedTuple):
    """Of a step: rows, processor seconds here and in the server, and the most memory held by each in MB."""

    rows: int
    here: float
    there: float
    peak: float
    peak_there: float


def cost(warehouse: Warehouse, step: Step, server: Server | None = None) -> Cost:
    gc.collect()
    before, _ = (0.0, 0.0) if server is None else server.used()
    peak_megabytes(since_now=True)
    started = time.process_time()
    with warehouse.transaction() as connection:
        rows = step.call(connection)
    here = time.process_time() - started
    after, peak_there = (0.0, 0.0) if server is None else server.used()
    return Cost(rows, here, after - before, peak_megabytes(), peak_there)


def measure(folder: Path, customers: int, mode: str) -> tuple[float, float]:
    """Processor seconds of all steps, by DuckDB and with Sail."""
    model = a_model()
    alone = Warehouse(folder / "alone" / "warehouse.duckdb", 60, LIMIT)
    begin(alone, model, customers)
    with running("sail", folder, SAIL_MODE=mode) as server:
        engine = SparkEngine(Spark(server.address, "segments", "parquet", str(folder / "lake")))
        (folder / "there").mkdir()
        shutil.copyfile(alone.path, folder / "there" / "warehouse.duckdb")
        there = Warehouse(folder / "there" / "warehouse.duckdb", 60, LIMIT, None, engine)
        with there.transaction() as connection:
            engine.move_in(connection, TABLES)
        print(f"{customers:,} customers, moved there: {size_of(folder / 'lake') / 1e6:,.0f} MB", flush=True)
        totals = [0.0, 0.0]
        for step in steps_of(model, customers):
            one, other = cost(alone, step), cost(there, step, server)
            assert one.rows == other.rows
            totals[0] += one.here
            totals[1] += other.here + other.there
            print(
                f"  {step.name:26}{one.rows:>11,}{one.here:>8.2f} CPU s, {one.peak:,.0f} MB; "
                f"{other.here:.2f} + {other.there:.2f} CPU s, {other.peak:,.0f} + {other.peak_there:,.0f} MB",
                flush=True,
            )
        print(
            f"  all{totals[0]:>42.2f} CPU s; {totals[1]:.2f} CPU s, {totals[1] / totals[0]:.1f} times; after "
            f"{MONTH} the lake has {size_of(folder / 'lake') / 1e6:,.0f} MB",
            flush=True,
        )
    return totals[0], totals[1]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--customers", type=int, nargs="+", default=[100_000, 1_000_000])
    asked.add_argument("--folder", type=Path, help="where there is room; a folder that is made there is removed again")
    asked.add_argument("--mode", choices=["local", "local-cluster"], default="local-cluster", help="of Sail")
    chosen = asked.parse_args()
    found = []
    for customers in chosen.customers:
        with tempfile.TemporaryDirectory(prefix="steps_on_spark_", dir=chosen.folder) as folder:
            found.append(measure(Path(folder), customers, chosen.mode))
    for customers, (alone, there) in zip(chosen.customers[1:], found[1:], strict=True):
        print(
            f"{customers:,} : {chosen.customers[0]:,} customers: DuckDB {alone / found[0][0]:.1f} times the CPU time, "
            f"Sail {there / found[0][1]:.1f} times"
        )


if __name__ == "__main__":
    main()
