"""What a month sends between the nodes of a cluster: bytes that Apache Spark shuffled, wrote and spilled.

    SPARK_HOME=... python benchmarks/shuffles.py --customers 100000 300000 --folder SOMEWHERE

The month and its steps are those of lines_on_spark.py, its order lines in Parquet that the server reads. The bytes are
those of the server's own log of events, each task's told to the step in which it ended. On one machine a shuffle goes
over its disk; on a cluster it goes between nodes, but for the share of it that stays where it is. A table of less than
10 MB is sent to every node instead, which the log does not count; nor does it know what is read from local files.
Against: itself, with more customers.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.lines_on_spark import MONTH, second_month
from benchmarks.many_customers import CONFIG, FIRST, OF_A_TABLE, write_lines
from benchmarks.month_of_a_million import LIMIT
from benchmarks.real_months import record
from benchmarks.steps_on_spark import cost
from segment_pipeline.config.config import load_config
from segment_pipeline.database.engines.engine import engine_of
from segment_pipeline.database.store import Warehouse
from segment_pipeline.months import month_key
from segment_pipeline_tests.spark import server as running

HEADER = ("customers", "step", "rows", "shuffled, MB", "a customer, bytes", "written, MB", "spilled, MB")
LOGGED = """
spark.eventLog.enabled true
spark.eventLog.compress false
spark.eventLog.dir file://{log}
spark.driver.memory 4g
"""


def measure(folder: Path, customers: int, lines_each: float) -> list[list[str]]:
    """A row of the table for each step, and one for all."""
    write_lines(folder, customers, lines_each)
    (folder / "log").mkdir()
    (folder / "spark-defaults.conf").write_text(LOGGED.format(log=folder / "log"))
    ended: list[tuple[str, int, float]] = []
    with running("java", folder / "server", SPARK_CONF_DIR=str(folder)) as server:
        text = CONFIG.format(
            first=month_key(FIRST), last=month_key(MONTH), limit=LIMIT, lines=OF_A_TABLE.format(folder=folder), model=""
        )
        path = folder / "segmentation.yaml"
        path.write_text(text + server.key(folder / "lake"))
        config = load_config(path)
        warehouse = Warehouse(config.warehouse_path, 60, LIMIT, None, engine_of(config))
        steps = second_month(config, warehouse, server)
        begun = time.time()
        for step in steps:
            rows = cost(warehouse, step, server).rows
            ended.append((step.name, rows, time.time()))
            print(f"  {step.name:28}{rows:>12,}", flush=True)
        time.sleep(5)  # its log is written as it goes, and the server has to be killed
    moved: dict[str, Counter[str]] = {name: Counter() for name, _, _ in ended}
    for finished, of_task in tasks(folder / "log"):
        if finished > begun:
            moved[next((name for name, _, until in ended if finished <= until), ended[-1][0])].update(of_task)
    together = sum(moved.values(), Counter())
    table = [(name, f"{rows:,}", moved[name]) for name, rows, _ in ended] + [("all", "", together)]
    return [
        [
            *(f"{customers:,}", name, rows, megabytes(one["shuffled"])),
            *(f"{one['shuffled'] / customers:,.0f}", megabytes(one["written"]), megabytes(one["spilled"])),
        ]
        for name, rows, one in table
    ]


def tasks(log: Path) -> Iterator[tuple[float, Counter[str]]]:
    """When each task ended, in seconds since 1970, and its bytes."""
    for path in log.rglob("*"):
        if not path.is_file():
            continue
        for line in path.read_text().splitlines():
            if '"SparkListenerTaskEnd"' not in line:
                continue
            event = json.loads(line)
            told = event.get("Task Metrics") or {}
            yield (
                event["Task Info"]["Finish Time"] / 1000,
                Counter(
                    shuffled=told["Shuffle Write Metrics"]["Shuffle Bytes Written"],
                    written=told["Output Metrics"]["Bytes Written"],
                    spilled=told["Disk Bytes Spilled"],
                ),
            )


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--customers", type=int, nargs="+", default=[100_000, 300_000])
    asked.add_argument("--lines", type=float, default=10, help="order lines a customer in twelve months")
    asked.add_argument("--folder", type=Path, help="where there is room; a folder that is made there is removed again")
    chosen = asked.parse_args()
    rows = []
    for customers in chosen.customers:
        with tempfile.TemporaryDirectory(prefix="shuffles_", dir=chosen.folder) as folder:
            rows += measure(Path(folder), customers, chosen.lines)
        record("shuffles", "What a month shuffles on Apache Spark", HEADER, rows)


if __name__ == "__main__":
    main()
