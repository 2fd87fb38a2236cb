"""What it costs to publish a month of a million customers, the second and the 24th.

Run as `publishing.py FOLDER [CUSTOMERS [MONTHS]]`. FOLDER is a project that has run, such as the demo's: the last month
of its segments.duckdb stands in the benchmark's warehouse again and again, under ids and months of its own, in every
published table; the pipeline is not run. The first publication writes one month's rows and nothing else. Beside the
second and the last stand the copy of the file as a file, and the way before: all months written anew.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.draft import COPIED_TABLES, put_in_place, write_beside

FIRST = date(2020, 1, 1)
COUNTING = {"segment_profiles", "transition_matrix"}


def cost_of(what: str, work: Callable[[], object]) -> float:
    """CPU seconds of the work, which are printed."""
    cpu, started = time.process_time(), time.perf_counter()
    work()
    spent = time.process_time() - cpu
    print(f"{what:<40} {spent:6.1f} CPU s {time.perf_counter() - started:6.1f} s", flush=True)
    return spent


def add_month(connection: duckdb.DuckDBPyConnection, number: int, customers: int) -> None:
    """The rows that the run of a month leaves, with so many customers."""
    last, there = connection.execute(
        "SELECT max(month), count(*) FILTER (month = (SELECT max(month) FROM template.monthly_assignments)) "
        "FROM template.monthly_assignments"
    ).fetchone() or (FIRST, 1)
    copies = -(-customers // there)
    month = f"DATE '{add_months(FIRST, number - 1)}'"
    connection.begin()
    for table in COPIED_TABLES:
        values = dict.fromkeys({"month", table.month_column}.intersection(table.column_names), month)
        if "customer_id" in table.column_names:
            values["customer_id"] = "customer_id || '-' || n"
        elif table.name in COUNTING:
            values["customers"] = f"customers * {copies}"
        elif table.name == "pipeline_runs":
            values |= {"run_id": f"'run {number}'", "sequence": f"sequence + {1000 * number}"}
        replaced = ", ".join(f"{value} AS {name}" for name, value in values.items())
        connection.execute(
            f"INSERT INTO {table.name} BY NAME SELECT * EXCLUDE (n) REPLACE ({replaced}) FROM template.{table.name}, "
            f"range({copies if 'customer_id' in values else 1}) AS r(n) WHERE {table.month_column} = ?",
            [last],
        )
    connection.commit()


def measure(config: Config, folder: Path, customers: int, months: int) -> None:
    warehouse = Warehouse(folder / "warehouse.duckdb", 5, "4GB")
    published, anew = folder / "segments.duckdb", folder / "anew.duckdb"

    def publish(file: Path) -> None:
        with warehouse.connect() as connection:
            draft = write_beside(connection, file, config.tiers)
        put_in_place(draft, file)

    copied, spent = {}, {}
    for number in range(1, months + 1):
        with warehouse.connect() as connection:
            prepare(connection, TABLES, config.raw_feature_names)
            connection.execute(f"ATTACH {literal(str(config.published_path))} AS template (READ_ONLY)")
            add_month(connection, number, customers)
            connection.execute("DETACH template")
        if number == 1:
            spent[1] = cost_of("month 1, alone in its file", lambda: publish(published))
        elif number == months - 1:
            publish(published)
        if number in (2, months):
            copied[number] = cost_of(
                f"copy of the file before month {number}", lambda: shutil.copyfile(published, anew)
            )
            anew.unlink()
            spent[number] = cost_of(f"month {number}", lambda: publish(published))
            cost_of(f"all months anew, with month {number}", lambda: publish(anew))
            anew.unlink()
    beyond = {number: spent[number] - copied[number] for number in copied}
    print(
        f"{customers:,} customers: beyond the copy of the file, month {months} costs {beyond[months] / beyond[2]:.2f} "
        f"times month 2, and {beyond[months] / spent[1]:.2f} times one month alone in its file."
    )


def main(project: Path, customers: int, months: int) -> None:
    with tempfile.TemporaryDirectory(dir=project.parent) as folder:
        measure(load_config(project / "segmentation.yaml"), Path(folder), customers, months)


if __name__ == "__main__":
    sizes = [int(size) for size in sys.argv[2:]] + [1_000_000, 24][len(sys.argv) - 2 :]
    main(Path(sys.argv[1]).absolute(), *sizes)
