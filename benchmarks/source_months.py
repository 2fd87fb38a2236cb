"""What it takes to compare the source with what closed months stand on: the demo's order lines, and ten times as many.

Against: reading the month's customers from the same lines, which every month does besides.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import prepare
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.over_time import contents
from segment_pipeline.sources.over_time.contents import changes, read_contents, write_contents
from segment_pipeline.sources.over_time.copies import find_copies
from segment_pipeline.sources.sources import load_raw_customers

DEMO = Path(__file__).parents[1] / "data" / "segmentation.yaml"
MONTH = date(2017, 12, 1)
REPEATS = 5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="source_months_") as folder:
        print("| order lines | a month's customers read | contents compared | ratio | copies looked for | ratio |")
        print("|---|---|---|---|---|---|")
        for times in (1, 10):
            measure(more_of_the_demo(times, Path(folder)))


def more_of_the_demo(times: int, folder: Path) -> Config:
    """The demo's configuration, over its lines so many times, each time of other households."""
    config = load_config(DEMO)
    assert config.source.orders is not None
    path = folder / f"lines_{times}.parquet"
    whole = literal(resolve_source_path(config.source.orders.path, DEMO.parent))
    duckdb.execute(f"""
        COPY (
            SELECT * REPLACE (household_id || '-' || n AS household_id, basket_id || '-' || n AS basket_id)
            FROM {whole} CROSS JOIN range({times}) AS copy(n) ORDER BY transaction_timestamp
        ) TO {literal(str(path))} (FORMAT parquet)
    """)
    orders = config.source.orders.model_copy(update={"path": str(path)})
    source = config.source.model_copy(update={"orders": orders})
    return config.model_copy(update={"source": source})


def measure(config: Config) -> None:
    config._path = DEMO
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)

        def compare() -> None:
            contents._known.clear()  # or a process reads what has not changed but once
            read_contents(connection, config)
            write_contents(connection, config, MONTH)
            assert changes(connection, config, [MONTH]) == []

        read = seconds(lambda: load_raw_customers(connection, config, MONTH))
        compared = seconds(compare)
        copies = seconds(lambda: find_copies(connection, config, MONTH))
        found = connection.execute("SELECT sum(lines) FROM source_contents").fetchone()
    assert found is not None
    print(
        f"| {found[0]:,} | {read:.2f} s | {compared:.2f} s | {compared / read:.2f} "
        f"| {copies:.2f} s | {copies / read:.2f} |",
        flush=True,
    )


def seconds(what: Callable[[], object]) -> float:
    """The median of a few runs, after one that is not counted."""
    taken = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        what()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
