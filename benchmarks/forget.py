"""`segment-pipeline forget` and `merge` in a warehouse of 1 million customers and two months, from the command to the
last file.

The source has ten order lines a customer, in Parquet; DuckDB may take 4 GB. Beside it stands copying the warehouse
file, which is rewritten so that nothing of the customers is left in its blocks. CPU seconds are of all threads: on a
machine that does other work too, they say more than the clock.
"""

import contextlib
import io
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import duckdb
from month_of_a_million import ACTIONS, BEFORE, CUSTOMERS, LIMIT, MONTH, a_model, fill, peak_megabytes

from segment_pipeline.campaigns.actions_store import write_actions, write_audience_feed
from segment_pipeline.cli.main import main as segment_pipeline
from segment_pipeline.config.config import load_config
from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.store import Warehouse
from segment_pipeline.publishing.draft import put_in_place, write_beside
from segment_pipeline.segments.assignments_store import write_assignments, write_transitions

ASKED, REPEATS, LINES_EACH = (1, 100), 3, 10
CONFIG = """\
name: million
first_month: 2023-03
last_month: 2023-04
source:
  orders: {path: orders.parquet, customer_id: customer, order_id: line, ordered_at: at, amount: amount}
features: [{name: orders, unit: orders, transform: log1p, resolution: 1, valid: {min: 0},
            meaning: How often.}]
"""


class Figures(NamedTuple):
    """Seconds of the command, by the clock and of the processors, and of the copy; the warehouse in MB, and the most
    memory held, in MB."""

    seconds: float
    cpu: float
    copy: float
    size: float
    peak: float


def make(folder: Path) -> None:
    (folder / "segmentation.yaml").write_text(CONFIG)
    duckdb.execute(f"""
        COPY (SELECT CAST(range % {CUSTOMERS} AS VARCHAR) AS customer, range AS line, 10.0 AS amount,
            TIMESTAMP '2023-01-01' + INTERVAL (range % 2800) HOUR AS at FROM range({LINES_EACH * CUSTOMERS}))
        TO '{folder / "orders.parquet"}'
    """)
    model, tiers = a_model(), TierSettings()
    with Warehouse(folder / "warehouse.duckdb", 60, LIMIT).transaction() as connection:
        fill(connection, model)
        for month in (BEFORE, MONTH):
            write_assignments(connection, model, month, tiers)
            write_actions(connection, model, month, ACTIONS)
        write_transitions(connection, model, MONTH, has_previous=True)
        write_audience_feed(connection, model, MONTH, tiers)
    published = load_config(folder / "segmentation.yaml").published_path
    with Warehouse(folder / "warehouse.duckdb", 60, LIMIT).connect() as connection:
        draft = write_beside(connection, published, tiers)
    put_in_place(draft, published)


def forget(customers: int) -> list[str]:
    return ["forget", *(str(CUSTOMERS // 3 + 7 * one) for one in range(customers))]


def take(made: Path, command: list[str], says: str) -> Figures:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(made, Path(temporary) / "project"))
        warehouse = folder / "warehouse.duckdb"
        peak_megabytes(since_now=True)
        started, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = segment_pipeline([*command, "--config", str(folder / "segmentation.yaml")])
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        assert code == 0, said.getvalue()
        assert says in said.getvalue(), said.getvalue()
        peak, started = peak_megabytes(), time.perf_counter()
        copy = shutil.copyfile(warehouse, folder / "copy.duckdb")
        with copy.open() as file:
            os.fsync(file)
        return Figures(seconds, cpu, time.perf_counter() - started, copy.stat().st_size / 1e6, peak)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        print(f"medians of {REPEATS}{'time':>14}{'CPU':>10}{'copy':>10}{'ratio':>8}{'warehouse':>12}{'peak':>10}")
        commands = {f"forget {asked}": (forget(asked), f"rows of {asked:,} customers") for asked in ASKED}
        commands["merge 1"] = (["merge", str(CUSTOMERS // 3), "into", str(CUSTOMERS // 3 + 7)], "Now of ")
        for name, (command, says) in commands.items():
            runs = [take(Path(folder), command, says) for _ in range(REPEATS)]
            seconds, cpu, copy = (statistics.median(column) for column in zip(*(run[:3] for run in runs), strict=True))
            ratio = statistics.median(run.seconds / run.copy for run in runs)
            size, peak = runs[0].size, max(run.peak for run in runs)
            times = f"{seconds:>10.1f} s{cpu:>8.1f} s{copy:>8.2f} s{ratio:>8.1f}"
            print(f"{name:<12}{times}{size:>9,.0f} MB{peak:>7,.0f} MB")


if __name__ == "__main__":
    main()
