"""The audit of the company's own segments and the unusual customers, of one month of 47,000 and of 1 million customers.

Customers overlap as they do in life; three labels follow their segments, 5 % of them shuffled, in a CSV file. Among
them are 0.2 % of very important customers, 0.1 % with exactly the same values and 0.1 % with one wild value. Beside
each step stands a plain scan (every value of every row is read and hashed) of the tables that it reads, in the same
run, and its processor time over all threads, which other programs on the machine do not change; the chart is not timed.
Bars: both steps together 0.5 s and 3 s. Prints how many of the 20 most mislabelled were
shuffled, or planted, for a planted customer has the label of another life.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.audit.audit_store import audit_segments, write_audit
from segment_pipeline.audit.outliers_store import write_outliers
from segment_pipeline.config.config import parse_config
from segment_pipeline.database.store import Warehouse
from segment_pipeline_tests.planted_customers import CONFIG, MONTH, fill, planted_customers

SIZES, REPEATS, LIMIT = (47_000, 1_000_000), 5, "4GB"


def scan(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    for table in ("validated_features", "scaled_matrix", "monthly_assignments"):
        connection.execute(f"SELECT bit_xor(hash(t)) FROM {table} AS t WHERE month = DATE '{MONTH}'").fetchall()
    connection.execute(f"SELECT bit_xor(hash(t)) FROM '{folder}/theirs.csv' AS t").fetchall()


@contextmanager
def timed(step: str, figures: dict[str, list[np.ndarray]]) -> Iterator[None]:
    """Adds [seconds, processor seconds] of the block."""
    started = time.perf_counter(), time.process_time()
    yield
    figures[step].append(np.array([time.perf_counter() - started[0], time.process_time() - started[1]]))


def measure(n: int) -> None:
    drawn = planted_customers(n, important=n // 500, bots=n // 1000, errors=n // 1000)
    ids, labels = drawn.ids, drawn.labels
    wrong = drawn.shuffled | (np.arange(n) < n // 500 + 2 * (n // 1000))
    figures: dict[str, list[np.ndarray]] = {"scan": [], "segment_audit": [], "outlier_groups": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = parse_config(CONFIG, folder / "segmentation.yaml")
        lines = (f"{who},{label}" for who, label in zip(ids, labels, strict=True))
        (folder / "theirs.csv").write_text("who,grade\n" + "\n".join(lines))
        warehouse = Warehouse(folder / "warehouse.duckdb", 60, LIMIT)
        with warehouse.transaction() as connection:
            model = fill(connection, config, drawn)
        for _ in range(REPEATS):
            with timed("scan", figures), warehouse.connect() as connection:
                scan(connection, folder)
            with timed("segment_audit", figures):
                with warehouse.connect() as connection:
                    audit = audit_segments(connection, config, model, MONTH)
                with warehouse.transaction() as connection:
                    write_audit(connection, MONTH, audit)
            with timed("outlier_groups", figures), warehouse.transaction() as connection:
                groups = write_outliers(connection, config, MONTH)
    figures["both"] = [a + b for a, b in zip(figures["segment_audit"], figures["outlier_groups"], strict=True)]
    print(f"{n:,} customers, medians of {REPEATS}; {sum(g.group.customers for g in groups):,} unusual")
    for step, runs in figures.items():
        ratios = np.array(runs) / np.array(figures["scan"])
        seconds, processor = np.median(runs, axis=0)
        print(f"  {step:16}{seconds:>6.2f} s, processor {processor:>5.2f} s; ", end="")
        print("{:.1f} and {:.1f} times the scan".format(*np.median(ratios, axis=0)))
    place = {who: number for number, who in enumerate(ids)}
    listed = [row["customer_id"] for row in audit.customers if row["list"] == "most_mislabelled"]
    found_wrong = sum(wrong[place[str(who)]] for who in listed)
    print(f"  of the {len(listed)} most mislabelled, {found_wrong} were shuffled or planted")
    for found in groups:
        print(
            f"  {found.group_id}: {found.judgement.kind}, {found.judgement.recommendation}, {found.group.customers:,}"
        )


if __name__ == "__main__":
    for size in SIZES:
        measure(size)
