"""The end of a month from what earlier months have folded, against the same from all order lines: CPU, and bits.

Two years of simulated lines, a Parquet file a month, five lines an order, a window of three months. Of the past nothing
is read but `folded_orders`; the month's own lines are folded first, which counts. Not counted on either side: what the
source holds of each month (`source_months.py`), which every month reads. 150 million lines, or as many as are named.
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.months import add_months, parse_month
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.folding import fold_order_lines
from segment_pipeline.sources.order_lines import open_order_lines
from segment_pipeline.sources.over_time.contents import read_contents
from segment_pipeline.sources.over_time.folded import fold_contents

MONTHS, LINES_AN_ORDER, LINES_A_CUSTOMER = 24, 5, 15
LAST = parse_month("2024-12")
CONFIG = """\
name: simulated
first_month: 2024-12
source:
  window_months: 3
  orders: {path: 'lines_*.parquet', customer_id: who, order_id: id, ordered_at: at, amount: paid, product_id: item}
features:
  - {name: days_since_last_order}
  - {name: orders}
  - {name: average_order_value}
  - {name: products_per_order}
  - {name: tenure_days}
"""


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 150_000_000
    with tempfile.TemporaryDirectory(prefix="folded_months_") as folder:
        simulate(Path(folder), lines)
        (Path(folder) / "segmentation.yaml").write_text(CONFIG)
        measure(load_config(Path(folder) / "segmentation.yaml"))


def simulate(folder: Path, lines: int) -> None:
    """Customers by a power law, so that some order every week and most a few times in two years; days at random."""
    for back in range(MONTHS):
        month = add_months(LAST, -back)
        duckdb.execute(f"""
            COPY (
                SELECT o AS id, CAST(pow(hash(o, 1) / pow(2, 64), 2) * {lines // LINES_A_CUSTOMER} AS INTEGER) AS who,
                    DATE '{month}' + to_hours(CAST(hash(o, 2) % (28 * 24) AS INTEGER)) AS at,
                    CAST(hash(o, n, 3) % 5000 / 100 AS DECIMAL(8, 2)) AS paid, hash(o, n, 4) % 20000 AS item
                FROM (SELECT range * {MONTHS} + {back} AS o FROM range({lines // MONTHS // LINES_AN_ORDER})),
                    range({LINES_AN_ORDER}) AS line(n)
            ) TO {literal(str(folder / f"lines_{month:%Y-%m}.parquet"))} (FORMAT parquet)
        """)


def measure(config: Config) -> None:
    with Warehouse(config.warehouse_path, 5, "4GB").transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        contents = cpu_seconds(lambda: read_contents(connection, config))
        lines = open_order_lines(connection, config).sql()
        past = cpu_seconds(lambda: fold_contents(connection, config, lines, add_months(LAST, -1)))
        new = cpu_seconds(lambda: fold_contents(connection, config, lines, LAST))
        merged = cpu_seconds(lambda: fold_order_lines(connection, config, lines, LAST, folded=True))
        connection.execute("CREATE TEMP TABLE merged AS FROM source_customers")
        direct = cpu_seconds(lambda: fold_order_lines(connection, config, lines, LAST))
        (differences,) = connection.execute("""
            SELECT count(*) FROM ((FROM merged EXCEPT FROM source_customers) UNION ALL (FROM source_customers EXCEPT
            FROM merged))
        """).fetchone() or (None,)
        (read, customers, folded) = connection.execute("""
            SELECT (SELECT sum(lines) FROM folded_months), (SELECT count(*) FROM merged), (SELECT count(*) FROM
            folded_orders)
        """).fetchone() or (0, 0, 0)
    print(
        "| order lines | folded orders | customers of the month | from all lines | month folded | merged | ratio "
        "| customers that differ | once: 23 months folded | contents read |"
    )
    print("|---" * 10 + "|")
    print(
        f"| {read:,} | {folded:,} | {customers:,} | {direct:.1f} s | {new:.1f} s | {merged:.1f} s "
        f"| {(new + merged) / direct:.2f} | {differences} | {past:.1f} s | {contents:.1f} s |"
    )


def cpu_seconds(what: Callable[[], object]) -> float:
    """Of all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    what()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
