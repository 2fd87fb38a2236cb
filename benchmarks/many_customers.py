"""A month of many customers, from their order lines to the report, as `segment-pipeline run` does it in a process of
its own: time, processor time, memory, what went over the disk; and a month of ten times as many beside it.

    python benchmarks/many_customers.py --customers 1000000 10000000 --folder SOMEWHERE [--engine sail]

Simulated shops of four kinds of customers who order again and again, 15 lines each in twelve months, one Parquet file a
month. The first month brings its past with it (eleven month-ends, the search, the fit of the memory); the one after is
an ordinary month. Against: reading the window's order lines into a DuckDB table, the least that any pipeline has to do.
What a size leaves behind is removed before the next.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb

from segment_pipeline.database.store import SPILL
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline_tests.spark import Server
from segment_pipeline_tests.spark import server as running

BEGIN, MONTHS = date(2023, 1, 1), 12
"""The month of the first order lines, and how many months there are before the ordinary one."""
FIRST = add_months(BEGIN, MONTHS - 1)
WINDOW = 3

CONFIG = """
name: many_customers
first_month: {first}
last_month: {last}
source:
  orders: {{{lines}, customer_id: customer, order_id: order_no, ordered_at: at, amount: amount,
           product_id: product}}
features:
  - {{name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {{min: 0}}}}
  - {{name: orders, unit: orders, transform: log1p, resolution: 1, valid: {{min: 1}}}}
  - {{name: average_order_value, unit: EUR, transform: log1p, resolution: 0.01, valid: {{min: 0}}}}
  - {{name: products_per_order, unit: products, transform: log1p, resolution: 0.01, valid: {{min: 0}}}}
  - {{name: total_spend, unit: EUR, transform: log1p, resolution: 0.01, valid: {{min: 0}}, use: portrait}}
{model}
actions:
  - {{action_id: thanks, role: engaged, what: Thanks., owner: CRM, channel: app, kpi: orders, measure_days: 60}}
  - {{action_id: letter, what: A letter., owner: CRM, channel: post, kpi: orders, measure_days: 60}}
operation: {{memory_limit: {limit}}}
"""
SMALL_FIT = """model: {n_components: [2, 4], fit_sample: 20000}
memory: {months: 4}
"""
"""A search that takes little, for it costs as much with ten customers as with ten million: a sample."""

OF_FILES, OF_A_TABLE = 'path: "lines/*.parquet"', 'table: "parquet.`{folder}/lines`"'
"""Where the lines are, which Sail reads itself."""

ON_SAIL = 'engine: {{spark: "{address}", location: "{folder}/lake"}}\n'

KINDS = """(VALUES
    (0, 0.35, 60, 2, 3.0), (1, 0.65, 21, 1, 2.6), (2, 0.80, 45, 3, 4.2), (3, 1.01, 75, 2, 2.2)
) AS kinds(kind, up_to, gap, lines, log_amount)"""
"""Cumulative shares, days between orders, lines an order, and the log of a line's amount: 15 lines a year."""


class Figures(NamedTuple):
    """Of one command: seconds by the clock and of the processors, most memory held in MB, most on disk in MB."""

    seconds: float
    cpu: float
    peak: float
    spilled: float


def uniform(what: str) -> str:
    """A number from 0 to 1 that only depends on `what`, so that any size is drawn the same every time."""
    return f"(hash({what}) % 1000003 / 1000003)"


def normal(customer: str, salt: int) -> str:
    """About standard normal: twelve uniforms less six would be; three do for a shop."""
    return f"(2 * ({' + '.join(uniform(f'{customer} * 31 + {salt + j}') for j in range(3))} - 1.5))"


def write_lines(folder: Path, customers: int, lines_each: float) -> int:
    """Order lines of all months, a file a month; returns how many of the last window there are."""
    (folder / "lines").mkdir(parents=True)
    more = lines_each / 15
    with duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(folder / "spill")}) as connection:
        for number in range(MONTHS + 1):
            month = add_months(BEGIN, number)
            begin, end = (month - BEGIN).days, (as_of(month) - BEGIN).days
            connection.execute(f"""
                COPY (
                    WITH people AS (
                        SELECT range AS customer, {uniform("range * 7 + 1")} AS drawn FROM range({customers})
                    ), habits AS (
                        SELECT customer, lines, gap * exp(0.3 * {normal("customer", 100)}) AS gap,
                            log_amount + 0.4 * {normal("customer", 200)} AS log_amount,
                            {uniform("customer * 7 + 2")} AS phase
                        FROM people JOIN {KINDS} ON kind = CASE WHEN drawn < 0.35 THEN 0 WHEN drawn < 0.65 THEN 1
                            WHEN drawn < 0.8 THEN 2 ELSE 3 END
                    ), orders AS (
                        SELECT customer, lines, log_amount, nth, customer * 1000 + nth AS order_no,
                            gap * (nth + phase + 0.6 * {uniform("customer * 1000 + nth")} - 0.3) AS day
                        FROM (SELECT *, unnest(range(CAST(greatest(0, {begin} / gap - 2) AS BIGINT),
                            CAST({end} / gap + 2 AS BIGINT))) AS nth FROM habits)
                    ), within AS (
                        SELECT *, floor({more} * lines + {uniform("order_no + 5")}) AS wanted
                        FROM orders WHERE day >= {begin} AND day < {end}
                    )
                    SELECT 'c' || customer AS customer, order_no,
                        TIMESTAMP '{BEGIN}' + to_seconds(CAST(day * 86400 AS BIGINT)) AS at,
                        round(exp(log_amount + 0.5 * {normal("order_no * 16 + line", 300)}), 2) AS amount,
                        CAST(hash(order_no * 16 + line) % 20000 AS INTEGER) AS product
                    FROM (SELECT *, unnest(range(CAST(wanted AS BIGINT))) AS line FROM within)
                ) TO '{folder}/lines/{month_key(month)}.parquet' (FORMAT parquet)
            """)
        window = [f"{folder}/lines/{month_key(add_months(FIRST, -back))}.parquet" for back in range(WINDOW)]
        (lines,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [window]).fetchone() or (0,)
        return int(lines)


def copy_lines(folder: Path, limit: str) -> float:
    """Processor seconds of reading the window's lines into a table."""
    window = [f"{folder}/lines/{month_key(add_months(FIRST, -back))}.parquet" for back in range(WINDOW)]
    path = folder / "copy.duckdb"
    with duckdb.connect(str(path), config={"memory_limit": limit}) as connection:
        started = time.process_time()
        connection.execute("CREATE TABLE lines AS SELECT * FROM read_parquet(?)", [window])
    path.unlink()
    return time.process_time() - started


def run(folder: Path, month: date, *options: str) -> Figures:
    """One month, in a process of its own. Raises SystemExit with what it said, where it fails."""
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(folder / "segmentation.yaml")]
    ended, most = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(0.5):
            most[0] = max(most[0], size_of(folder / SPILL))

    with (folder / "said.txt").open("w+") as said:
        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--months", month_key(month), *options], stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
        if process.returncode != 0:
            said.seek(0)
            raise SystemExit(said.read())
    return Figures(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, most[0] / 1e6)


def size_of(folder: Path) -> int:
    """Bytes of a folder's files that are there: DuckDB removes its own at any moment."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def show_assets(folder: Path) -> None:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        months = [month_key(month) for month in (FIRST, add_months(FIRST, 1))]
        found = connection.execute("SELECT strftime(month, '%Y-%m'), asset, seconds FROM pipeline_runs").fetchall()
    seconds = {(month, asset): took for month, asset, took in found}
    assets = sorted({asset for _, asset in seconds}, key=lambda one: -max(seconds.get((m, one), 0) for m in months))
    for asset in assets:
        print(f"  {asset:28}" + "".join(f"{seconds.get((month, asset), 0):>10.1f} s" for month in months))


def measure(
    folder: Path, customers: int, lines_each: float, limit: str, model: str, server: Server | None = None
) -> dict[str, Figures]:
    lines = write_lines(folder, customers, lines_each)
    months = {"first": FIRST, "ordinary": add_months(FIRST, 1)}
    first, last = (month_key(month) for month in months.values())
    engine = "" if server is None else ON_SAIL.format(address=server.address, folder=folder)
    lying = (OF_FILES if server is None else OF_A_TABLE).format(folder=folder)
    config = CONFIG.format(first=first, last=last, limit=limit, lines=lying, model=model)
    (folder / "segmentation.yaml").write_text(config + engine)
    copying = copy_lines(folder, limit)
    print(f"{customers:,} customers, {lines:,} lines in the window; reading these {copying:.1f} CPU s", flush=True)
    figures = {}
    for name, month in months.items():
        cpu_before, _ = (0.0, 0.0) if server is None else server.used()
        found = run(folder, month)
        if server is not None:
            cpu, peak = server.used()
            lake = size_of(folder / "lake") / 1e6
            print(
                f"  {name:10}of this the server{cpu - cpu_before:>8.1f} CPU s{peak:>8,.0f} MB at most, here "
                f"{found.cpu:.1f} CPU s{found.peak:>8,.0f} MB; the lake has {lake:,.0f} MB",
                flush=True,
            )
            found = found._replace(cpu=found.cpu + cpu - cpu_before, peak=found.peak + peak)
        figures[name] = found
        print(
            f"  {name:10}{found.seconds:>8.1f} s{found.cpu:>8.1f} CPU s{found.cpu / copying:>7.1f} times reading"
            f"{found.peak:>8,.0f} MB at most{found.spilled:>8,.0f} MB on disk",
            flush=True,
        )
    show_assets(folder)
    return figures


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--customers", type=int, nargs="+", default=[1_000_000])
    asked.add_argument("--lines", type=float, default=15, help="order lines a customer in twelve months")
    asked.add_argument("--memory-limit", default="8GB")
    asked.add_argument("--folder", type=Path, help="where there is room; a folder that is made there is removed again")
    asked.add_argument("--engine", choices=["duckdb", "sail"], default="duckdb", help="where the customers live")
    asked.add_argument("--mode", choices=["local", "local-cluster"], default="local-cluster", help="of Sail")
    asked.add_argument("--small-fit", action="store_true", help="2 to 4 components to 20,000 customers of four months")
    asked.add_argument("--keep", action="store_true", help="leave the last size's project there")
    chosen = asked.parse_args()
    found = []
    for customers in chosen.customers:
        folder = Path(tempfile.mkdtemp(prefix="many_customers_", dir=chosen.folder))
        try:
            with running("sail", folder, SAIL_MODE=chosen.mode) if chosen.engine == "sail" else nullcontext() as server:
                model = SMALL_FIT if chosen.small_fit else ""
                found.append(measure(folder, customers, chosen.lines, chosen.memory_limit, model, server))
        finally:
            if not chosen.keep:
                shutil.rmtree(folder, ignore_errors=True)
    for customers, figures in zip(chosen.customers[1:], found[1:], strict=True):
        ratios = ", ".join(
            f"{name} {now.seconds / before.seconds:.1f} times the time, {now.cpu / before.cpu:.1f} times the CPU time"
            for (name, now), before in zip(figures.items(), found[0].values(), strict=True)
        )
        print(f"{customers:,} : {chosen.customers[0]:,} customers: {ratios}")


if __name__ == "__main__":
    main()
