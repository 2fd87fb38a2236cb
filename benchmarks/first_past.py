"""What the months before a first month cost, from the order lines and from what the first month has folded of them.

Simulated customers with 40 order lines each in twelve months, a Parquet file a month (`many_customers.py`); how many
may be named. The same eleven months both times, by `fill_past`, in the same warehouse; once as if nothing were folded,
which is how a warehouse of before there were folded months does it. CPU seconds are those of all threads, memory the
most that the process held, DuckDB's limit 4 GB. Rows that differ are counted.

    python benchmarks/first_past.py 100000
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.many_customers import CONFIG, FIRST, OF_FILES, write_lines
from benchmarks.month_of_a_million import peak_megabytes
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.past_store import fill_past
from segment_pipeline.customers.split_store import split_customers
from segment_pipeline.customers.tables import PAST_FEATURES
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.months import month_key
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.over_time.contents import write_contents
from segment_pipeline.sources.over_time.folded import fold_months
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline.sources.tables import FOLDED_MONTHS

LINES_EACH, LIMIT = 40, "4GB"


def main() -> None:
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="first_past_") as name:
        folder, first = Path(name), month_key(FIRST)
        write_lines(folder, customers, LINES_EACH)
        (folder / "segmentation.yaml").write_text(
            CONFIG.format(first=first, last=first, limit=LIMIT, lines=OF_FILES, model="")
        )
        measure(load_config(folder / "segmentation.yaml"))


def measure(config: Config) -> None:
    warehouse = Warehouse(config.warehouse_path, 5, LIMIT)
    with warehouse.transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
    figures = {}
    with warehouse.transaction() as connection:
        figures["all months folded, once"] = taken(lambda: fold_months(connection, config, FIRST))
        load = taken(lambda: load_raw_customers(connection, config, FIRST, folded=True))
        figures["the first month's customers"] = load
        write_contents(connection, config, FIRST)
        split_customers(connection, config, build_contract(config), FIRST)
    figures["the months before, from folded orders"] = taken(lambda: fill_past(warehouse.transaction, config, FIRST))
    with warehouse.transaction() as connection:
        connection.execute(f"CREATE TABLE of_folded AS FROM {PAST_FEATURES.name}")
        connection.execute(f"DELETE FROM {FOLDED_MONTHS.name}")
    figures["the same from the lines"] = taken(lambda: fill_past(warehouse.transaction, config, FIRST))
    print("| | CPU | memory at most |\n|---|---|---|")
    for what, (seconds, megabytes) in figures.items():
        print(f"| {what} | {seconds:.1f} s | {megabytes:,.0f} MB |")
    (folded, _), (of_lines, _) = list(figures.values())[-2:]
    one, other = f"FROM {PAST_FEATURES.name}", "FROM of_folded"
    with warehouse.connect() as connection:
        (rows, differ) = connection.execute(f"""
            SELECT (SELECT count(*) {one}), count(*)
            FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))
        """).fetchall()[0]
    print(f"\n{folded / of_lines:.2f} of the CPU; {rows:,} rows, of which {differ:,} differ.")


def taken(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of all threads, and the most memory in MB."""
    peak_megabytes(since_now=True)
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, peak_megabytes()


if __name__ == "__main__":
    main()
