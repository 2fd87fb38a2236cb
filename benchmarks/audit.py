"""The audit of the company's own segments and the unusual customers, of one month of 47,000 and of 1 million customers.

Customers overlap as they do in life; three labels follow their segments, 5 % of them shuffled, in a CSV file. Among
them are 0.2 % of very important customers, 0.1 % with exactly the same values and 0.1 % with one wild value. Beside
each step stands a plain scan (every value of every row is read and hashed) of the tables that it reads, in the same
run, and its processor time over all threads, which other programs on the machine do not change; the chart is not timed.
Bars: both steps together 0.5 s and 3 s. Prints how many of the 20 most mislabelled were shuffled.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from segment_pipeline.config import Config, TierSettings, parse_config
from segment_pipeline.segmentation.features import FeatureSpace
from segment_pipeline.segmentation.mixture import Mixture
from segment_pipeline.segmentation.model import Segment, SegmentModel
from segment_pipeline.warehouse.assignments import write_assignments
from segment_pipeline.warehouse.models import write_feature_space, write_scaled_matrix
from segment_pipeline.warehouse.outliers import write_outliers
from segment_pipeline.warehouse.segment_audit import audit_segments, write_audit
from segment_pipeline.warehouse.store import Warehouse, prepare

SIZES, REPEATS, LIMIT = (47_000, 1_000_000), 5, "4GB"
MONTH = date(2023, 4, 1)
NAMES = ("days_since_last_order", "orders", "average_order_value", "products_per_order")
MEANS = np.array([[1.0, 3.0, 3.5, 2.0], [2.5, 1.8, 3.0, 1.5], [4.0, 0.9, 2.6, 1.0], [2.0, 1.5, 4.3, 2.6]])
SPREAD = 0.45
LABELS = ("Gold", "Silver", "Lapsed", "Silver")
CONFIG = """\
name: audit
first_month: 2023-04
source: {snapshots: {path: none.csv, customer_id: id}}
features:
  - {name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: orders, unit: orders, transform: log1p, resolution: 1, valid: {min: 1}}
  - {name: average_order_value, unit: EUR, transform: log1p, valid: {min: 0}}
  - {name: products_per_order, unit: products, transform: log1p, valid: {min: 0}}
audit: {path: theirs.csv, customer_id: who, segment: grade}
"""


def customers(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 4) features in original units, (n,) labels, (n,) whether the label was shuffled."""
    random = np.random.default_rng(1)
    component = random.integers(0, len(MEANS), n)
    T = MEANS[component] + SPREAD * random.normal(size=(n, 4))
    few, fewer = n // 500, n // 1000
    T[:few] = [0.2, 5.2, 6.0, 3.5] + 0.1 * random.normal(size=(few, 4))
    T[few : few + fewer] = np.log1p([1, 900, 1, 1])
    T[few + fewer : few + 2 * fewer, random.integers(0, 4)] += random.uniform(6, 9, fewer)
    X = np.maximum(0.0, np.expm1(T))
    X[:, :2] = np.maximum([0, 1], np.round(X[:, :2]))
    labels = np.array(LABELS)[component]
    shuffled = random.random(n) < 0.05
    wrong = (np.searchsorted(("Gold", "Lapsed", "Silver"), labels) + random.integers(1, 3, n)) % 3
    labels[shuffled] = np.array(("Gold", "Lapsed", "Silver"))[wrong[shuffled]]
    return X, labels, shuffled


def fill(connection: duckdb.DuckDBPyConnection, config: Config, X: np.ndarray, ids: list[str]) -> SegmentModel:
    prepare(connection, NAMES)
    columns = pa.table({"customer_id": ids, **{name: X[:, j] for j, name in enumerate(NAMES)}})
    connection.register("drawn", columns)
    for table in ("validated_features", "raw_customers"):
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT DATE '{MONTH}' AS month, * FROM drawn ORDER BY customer_id"
        )
    connection.unregister("drawn")
    space = FeatureSpace.fit(config.features, X)
    write_feature_space(connection, MONTH, space, [])
    write_scaled_matrix(connection, MONTH, space)
    mixture = Mixture(
        np.full(len(MEANS), 1 / len(MEANS)),
        (MEANS - space.center) / space.scale,
        np.array([np.diag((SPREAD / space.scale) ** 2)] * len(MEANS)),
    )
    segments = tuple(Segment(k + 1, f"segment {k + 1}", None) for k in range(len(MEANS)))
    model = SegmentModel(1, MONTH, space, mixture, segments, atypical_below=-7.0)
    write_assignments(connection, model, MONTH, TierSettings())
    return model


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
    X, labels, shuffled = customers(n)
    ids = [f"c{number:08d}" for number in range(n)]
    figures: dict[str, list[np.ndarray]] = {"scan": [], "segment_audit": [], "outlier_groups": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = parse_config(CONFIG, folder / "segmentation.yaml")
        lines = (f"{who},{label}" for who, label in zip(ids, labels, strict=True))
        (folder / "theirs.csv").write_text("who,grade\n" + "\n".join(lines))
        warehouse = Warehouse(folder / "warehouse.duckdb", 60, LIMIT)
        with warehouse.transaction() as connection:
            model = fill(connection, config, X, ids)
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
    print(f"  of the {len(listed)} most mislabelled, {sum(shuffled[place[str(who)]] for who in listed)} were shuffled")
    for found in groups:
        print(
            f"  {found.group_id}: {found.judgement.kind}, {found.judgement.recommendation}, {found.group.customers:,}"
        )


if __name__ == "__main__":
    for size in SIZES:
        measure(size)
