"""What features of one's own and categories cost: a month of 20 million order lines through `load_raw_customers`.

Once with the eight features of orders and products, once with ten aggregates of one's own besides, and the categories
of a file of products: the two built-in features, two shares, two ratios, and what the portraits need. In turn, in a
warehouse of its own each time, under the usual memory limit of 4 GB and with the threads that DuckDB takes. Seconds are
those of the processor, of all threads: what else runs on the machine disturbs the clock. Bar: the whole costs at most
1.5 times what the eight do.
"""

import statistics
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks.month_of_a_million import peak_megabytes
from benchmarks.real_months import record
from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.months import parse_month
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.sources import load_raw_customers

LINES, CUSTOMERS, PRODUCTS, CATEGORIES = 20_000_000, 1_000_000, 50_000, 30
REPEATS, LIMIT = 3, "4GB"
MONTH = parse_month("2023-06")

CONFIG = """
name: cost
first_month: 2023-06
source:
  orders: {path: lines.parquet, customer_id: customer, order_id: order_no, ordered_at: at, amount: amount,
           product_id: product}
"""
PRODUCTS_FILE = "  products: {path: products.parquet, product_id: product, category: department}\n"
OWN = {
    "night_share": "count(*) FILTER (WHERE hour(ordered_at) < 6) / count(*)",
    "weekend_share": "count(*) FILTER (WHERE isodow(ordered_at) >= 6) / count(*)",
    "largest_line": "max(amount)",
    "discount_share": "sum(amount) FILTER (WHERE discount > 0) / sum(amount)",
    "pieces": "sum(pieces)",
    "pieces_a_line": "avg(pieces)",
    "weight": "sum(kilos)",
    "days_between_first_and_last": "date_diff('day', CAST(min(ordered_at) AS DATE), CAST(max(ordered_at) AS DATE))",
    "days_since_discount": "date_diff('day', CAST(max(ordered_at) FILTER (WHERE discount > 0) AS DATE), as_of)",
    "spend_of_last_month": "coalesce(sum(amount) FILTER (WHERE ordered_at >= as_of - INTERVAL 1 MONTH), 0)",
}
OF_CATEGORIES = [
    *("  - {name: categories}", "  - {name: category_concentration}"),
    *(f"  - {{name: share_{number}, spend_share: d{number}}}" for number in range(2)),
    *(f"  - {{name: ratio_{number}, spend_ratio: d{number}}}" for number in range(2, 4)),
]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        built_in = [f"  - {{name: {one.name}}}" for one in ORDER_FEATURES.values() if not one.lacks({"product_id"})]
        own = [f'  - {{name: {one}, of_lines: "{sql}"}}' for one, sql in OWN.items()]
        ways = {
            f"the {len(built_in)} built-in ones": CONFIG + "features:\n" + "\n".join(built_in),
            f"and {len(own)} of one's own": CONFIG + "features:\n" + "\n".join(built_in + own),
            "and categories": CONFIG + PRODUCTS_FILE + "features:\n" + "\n".join(built_in + own + OF_CATEGORIES),
        }
        figures: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(REPEATS):
            for way, text in ways.items():
                figures[way].append(seconds_and_peak(parse_config(text, folder / "segmentation.yaml"), folder))
    plain = statistics.median(seconds for seconds, _ in next(iter(figures.values())))
    rows = []
    for way, found in figures.items():
        seconds = statistics.median(one for one, _ in found)
        rows.append([way, f"{seconds:.1f}", f"{seconds / plain:.2f}", f"{max(peak for _, peak in found):,.0f}"])
    record(
        "own_features",
        f"{LINES:,} lines, medians of {REPEATS}",
        ("features", "processor seconds", "ratio", "MB at most"),
        rows,
    )


def write_files(folder: Path) -> None:
    """Six months of lines, four an order, and the products' departments."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # or each run would draw other lines
        connection.execute("SELECT setseed(0.5)")
        connection.execute(f"""
            COPY (
                SELECT CAST(range // 4 % {CUSTOMERS} AS BIGINT) AS customer, range // 4 AS order_no,
                    TIMESTAMP '2023-01-01' + to_seconds(CAST(hash(range // 4) % (181 * 86400) AS BIGINT)) AS at,
                    round(exp(2 + 2 * (random() - 0.5)), 2) AS amount,
                    CAST(random() * {PRODUCTS} AS INTEGER) AS product,
                    CAST(1 + 5 * random() AS INTEGER) AS pieces, random() * 3 AS kilos, random() - 0.8 AS discount
                FROM range({LINES})
            ) TO '{folder / "lines.parquet"}' (FORMAT parquet)
        """)
        connection.execute(f"""
            COPY (SELECT CAST(range AS INTEGER) AS product, 'd' || hash(range) % {CATEGORIES} AS department
            FROM range({PRODUCTS + 1})) TO '{folder / "products.parquet"}' (FORMAT parquet)
        """)


def seconds_and_peak(config: Config, folder: Path) -> tuple[float, float]:
    """Processor seconds of the month, in a new warehouse; the peak is of the whole process, in MB."""
    path = folder / "warehouse.duckdb"
    path.unlink(missing_ok=True)
    peak_megabytes(since_now=True)
    started = time.process_time()
    with Warehouse(path, 5, LIMIT).transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        load_raw_customers(connection, config, MONTH)
    return time.process_time() - started, peak_megabytes()


if __name__ == "__main__":
    main()
