"""What the alternatives and the verdict cost a month with a refit, beside the fit of the month's challengers.

Customers of overlapping segments, five features; in the file a rule of the user's and two text columns, in the
warehouse an earlier month whose silence is known: nothing is left out. Each run is a process of its own, so that what
is imported on the way is in the time. Bar: 5 s at 47,000 customers, 8 s at 1 million, of which a sample is looked at.
The challengers are those of the 47,000, once.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

REPEATS = 3
BARS = {47_000: 5.0, 1_000_000: 8.0}
MONTH, BEFORE = date(2023, 6, 1), date(2023, 3, 1)
NAMES = ("days_since_last_order", "orders", "spend", "visits", "minutes")

CONFIG = """
name: alternatives
first_month: 2023-03
output_dir: .
source: {snapshots: {path: "{month}.parquet", customer_id: customer_id}}
features:
  - {name: days_since_last_order, transform: log, resolution: 0.01, valid: {min: 0.001}}
  - {name: orders, transform: log, resolution: 0.01, valid: {min: 0.001}}
  - {name: spend, transform: log, resolution: 0.01, valid: {min: 0.001}}
  - {name: visits, transform: log, resolution: 0.01, valid: {min: 0.001}}
  - {name: minutes, transform: log, resolution: 0.01, valid: {min: 0.001}}
alternatives:
  rules: {house: "CASE WHEN orders > 12 THEN 'vip' WHEN spend > 8 THEN 'big' ELSE 'rest' END"}
  categorical: [region, plan]
  monetary: spend
"""


def fill(folder: Path, customers: int) -> None:
    """A warehouse with both months, the champion and the observed silence, and the snapshot of the month."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import overlapping_components

    from segment_pipeline.config.config import load_config
    from segment_pipeline.database.rows import insert_rows
    from segment_pipeline.database.store import Warehouse, month_literal, prepare
    from segment_pipeline.mixture.candidates import fit_mixture
    from segment_pipeline.mixture.features import FeatureSpace
    from segment_pipeline.models.model import Segment, SegmentModel
    from segment_pipeline.models.tables import CHAMPIONS, MODEL_VERSIONS
    from segment_pipeline.publishing.catalogue import TABLES

    (folder / "segmentation.yaml").write_text(CONFIG)
    config = load_config(folder / "segmentation.yaml")
    X = np.exp(2.0 + 0.5 * overlapping_components(customers, len(NAMES)))
    space = FeatureSpace.fit(config.model_features, X)
    mixture = fit_mixture(space.transform(X[:50_000]), 6, variance_floor=space.variance_floor)
    segments = tuple(Segment(k + 1, f"segment {k + 1}", None) for k in range(6))
    champion = SegmentModel(1, MONTH, space, mixture, segments, atypical_below=-20.0)
    columns = {"customer_id": pa.array([f"c{i:07d}" for i in range(customers)])}
    columns |= {name: pa.array(X[:, j]) for j, name in enumerate(NAMES)}
    random = np.random.default_rng(1)
    texts = {name: pa.array([f"{name} {i}" for i in random.integers(0, 6, customers)]) for name in ("region", "plan")}
    pq.write_table(pa.table(columns | texts), folder / "2023-06.parquet")
    with Warehouse(config.warehouse_path, 60, "4GB").transaction() as connection:
        prepare(connection, TABLES, NAMES)
        connection.register("drawn", pa.table(columns))
        for month in (BEFORE, MONTH):
            connection.execute(
                f"INSERT INTO validated_features BY NAME SELECT {month_literal(month)} AS month, * FROM drawn"
            )
        connection.execute(
            f"INSERT INTO observed_silence SELECT month, customer_id, md5(customer_id) < '4', {month_literal(MONTH)} "
            f"FROM validated_features WHERE month = {month_literal(BEFORE)}"
        )
        insert_rows(connection, CHAMPIONS, [{"month": MONTH, "model_version": 1}])
        version = {"model_version": 1, "trained_month": MONTH, "parameters": champion.to_json()}
        insert_rows(connection, MODEL_VERSIONS, [dict.fromkeys(MODEL_VERSIONS.column_names) | version])


def run(folder: Path, what: str) -> None:
    """One of the two, once, and what it took; in a process of its own."""
    from segment_pipeline.config.config import load_config
    from segment_pipeline.database.rows import feature_matrix
    from segment_pipeline.database.store import Warehouse
    from segment_pipeline.mixture.candidates import fit_mixture  # noqa: F401 - a month has it before either begins
    from segment_pipeline.mixture.features import FeatureSpace

    config = load_config(folder / "segmentation.yaml")
    warehouse = Warehouse(config.warehouse_path, 60, "4GB")
    started, worked = time.perf_counter(), time.process_time()
    looked_at, verdict = 0, ""
    with warehouse.connect() as connection:
        if what == "alternatives":
            from segment_pipeline.alternatives.alternatives_store import find_alternatives, write_alternatives

            found = find_alternatives(connection, config, MONTH)
            looked_at, verdict = found.comparison.alternatives[0].customers, found.suitability.verdict
            write_alternatives(connection, MONTH, found)
        else:
            from segment_pipeline.models.challengers import fit_challengers

            ids, X = feature_matrix(connection, "validated_features", MONTH, NAMES, config.model.fit_sample)
            looked_at = len(ids)
            fit_challengers(FeatureSpace.fit(config.model_features, X), X, ids, config)
    print(time.perf_counter() - started, time.process_time() - worked, looked_at, verdict or "-")


def timed(folder: Path, what: str) -> tuple[float, float, int, str]:
    done = subprocess.run([sys.executable, __file__, str(folder), what], capture_output=True, text=True, check=True)
    seconds, worked, looked_at, verdict = done.stdout.split()
    return float(seconds), float(worked), int(looked_at), verdict


def main() -> None:
    if len(sys.argv) == 3:
        run(Path(sys.argv[1]), sys.argv[2])
        return
    against: tuple[float, float] | None = None
    for customers, bar in BARS.items():
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), customers)
            runs = [timed(Path(name), "alternatives") for _ in range(REPEATS)]
            if against is None:
                against = timed(Path(name), "challengers")[:2]
        seconds, worked = (statistics.median(run[i] for run in runs) for i in (0, 1))
        print(
            f"{customers:,} customers: alternatives and verdict ({runs[0][3]}) {seconds:.1f} s, {worked:.1f} CPU s "
            f"(bar {bar:.0f} s), looking at {runs[0][2]:,}; the challengers of 47,000 {against[0]:.1f} s, "
            f"{against[1]:.1f} CPU s; ratio {seconds / against[0]:.2f} in time, {worked / against[1]:.2f} in CPU time",
            flush=True,
        )


if __name__ == "__main__":
    main()
