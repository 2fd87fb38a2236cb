"""What a month asks of its order lines, from what earlier months have folded against from the lines: CPU, and bits.

Two years of simulated lines, a Parquet file a month, five lines an order, a window of three months. A month asks for
its customers' features, for all days on which customers have ordered (what they will spend), for those of its own ones
(the risk that they leave), and for who ordered in a month. Before that its own lines are folded, which counts. What the
source holds of each month is read on both sides (`source_months.py`). 15 million lines, or as many as are named.
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.months import add_months, as_of, parse_month
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.folding import fold_order_lines
from segment_pipeline.sources.order_lines import load_order_days, load_orderers, open_order_lines
from segment_pipeline.sources.over_time.contents import read_contents, write_contents
from segment_pipeline.sources.over_time.folded import fold_contents
from segment_pipeline.sources.tables import FOLDED_ORDERS

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
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 15_000_000
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
        lines = open_order_lines(connection, config).sql()
        contents = cpu_seconds(lambda: read_contents(connection, config))
        past = cpu_seconds(lambda: fold_contents(connection, config, lines, add_months(LAST, -1)))
        of_lines = ask(connection, config, lines, "of_lines", folded=False)
        new = cpu_seconds(lambda: fold_contents(connection, config, lines, LAST))
        write_contents(connection, config, LAST)
        merged = ask(connection, config, lines, "merged", folded=True)
        (read,), (folded,) = connection.execute("""
            SELECT sum(lines) FROM folded_months UNION ALL SELECT count(*) FROM folded_orders
        """).fetchall()
        print(f"{read:,} order lines, {folded:,} folded orders; contents read in {contents:.1f} CPU s, the 23 months")
        print(f"before the last folded in {past:.1f} CPU s, once.\n")
        print("| asked for | rows | that differ | from the lines | folded | ratio |\n|---|---|---|---|---|---|")
        print(f"| the month's lines folded | | | | {new:.1f} s | |")
        for question, seconds in of_lines.items():
            rows, differ = compared(connection, question)
            taken = merged[question]
            print(f"| {question} | {rows:,} | {differ:,} | {seconds:.1f} s | {taken:.1f} s | {taken / seconds:.2f} |")
    whole, total = sum(of_lines.values()), new + sum(merged.values())
    print(f"| all | | | {whole:.1f} s | {total:.1f} s | {total / whole:.2f} |")
    features = (new + merged["source_customers"]) / of_lines["source_customers"]
    print(f"\nFeatures alone, with the month folded: {features:.2f}")


def ask(
    connection: duckdb.DuckDBPyConnection, config: Config, lines: str, kept_as: str, *, folded: bool
) -> dict[str, float]:
    """The CPU seconds of each question, by the table that answers it; which stays under a name of its own."""
    questions: dict[str, Callable[[], object]] = {
        "source_customers": lambda: fold_order_lines(
            connection, config, lines, LAST, folded=FOLDED_ORDERS.name if folded else ""
        ),
        "order_days": lambda: load_order_days(connection, config, LAST),
        "order_days of the month's customers": lambda: load_order_days(connection, config, LAST, "source_customers"),
        "orderers": lambda: load_orderers(connection, config, LAST, LAST, as_of(LAST)),
    }
    taken = {}
    for question, answer in questions.items():
        taken[question] = cpu_seconds(answer)
        table = question.partition(" ")[0]
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {identifier(f'{question}, {kept_as}')} AS FROM {table}")
    return taken


def compared(connection: duckdb.DuckDBPyConnection, question: str) -> tuple[int, int]:
    """How many rows the answer has, and how many of either answer the other has not."""
    one, other = (f"FROM {identifier(f'{question}, {kept_as}')}" for kept_as in ("of_lines", "merged"))
    found = connection.execute(f"""
        SELECT (SELECT count(*) {one}), count(*) FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))
    """).fetchone()
    return found or (0, 0)


def cpu_seconds(what: Callable[[], object]) -> float:
    """Of all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    what()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
