"""Two months of simulated customers from their order lines in Parquet on, which a Sail server reads itself: processor
time and memory of an ordinary month, and how both grow with the number of customers.

    python benchmarks/lines_on_spark.py --customers 100000 1000000 --folder SOMEWHERE

The lines are those of many_customers.py; the steps are all that touch every customer: the source, the contract, and
those of month_of_a_million.py. What is fitted is left out, as it costs the same with any number. The first month is
made and not measured. Against: DuckDB, in the same run, which keeps the lines of closed months folded; rows are
compared, and sums of what was published. Sail runs in local-cluster mode.
"""

import argparse
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from benchmarks.many_customers import CONFIG, FIRST, OF_A_TABLE, OF_FILES, ON_SAIL, size_of, write_lines
from benchmarks.month_of_a_million import LIMIT, Step, a_model, steps_of
from benchmarks.real_months import record
from benchmarks.steps_on_spark import Cost, cost
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.config.model import TierSettings
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import split_customers
from segment_pipeline.database.engines.engine import engine_of
from segment_pipeline.database.store import Warehouse, month_literal, prepare
from segment_pipeline.months import add_months, month_key
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.assignments_store import write_assignments
from segment_pipeline.sources.over_time.contents import write_contents
from segment_pipeline.sources.over_time.folded import fold_months
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline_tests.spark import Server
from segment_pipeline_tests.spark import server as running

MONTH = add_months(FIRST, 1)
HEADER = (
    *("customers", "lines", "DuckDB, CPU s", "Sail, CPU s: here + server", "times", "DuckDB, MB at most"),
    *("Sail, MB at most: here + server", "the lake, MB"),
)


class Totals(NamedTuple):
    """Of a month: processor seconds here and in the server, the most memory of each in MB, and sums of its results."""

    here: float
    there: float
    peak: float
    peak_there: float
    sums: Sequence[float]


def month_of(config: Config, warehouse: Warehouse, server: Server | None, name: str) -> Totals:
    """Both months of the project; what the second costs."""
    costs: list[Cost] = []
    for step in second_month(config, warehouse, server):
        costs.append(cost(warehouse, step, server))
        print(
            f"  {name:8}{step.name:28}{costs[-1].rows:>12,}{costs[-1].here:>9.2f} + {costs[-1].there:.2f} CPU s",
            flush=True,
        )
    with warehouse.connect() as connection:
        (found,) = connection.execute(f"""
            SELECT count(*), sum(segment_id), sum(max_probability), sum(entropy), sum(log_likelihood)
            FROM monthly_assignments WHERE month = {month_literal(MONTH)}
        """).fetchall()
    here, there = sum(one.here for one in costs), sum(one.there for one in costs)
    return Totals(here, there, max(one.peak for one in costs), max(one.peak_there for one in costs), found)


def second_month(config: Config, warehouse: Warehouse, server: Server | None) -> Sequence[Step]:
    """The steps of the second month, when the first has been made."""
    engine = warehouse.engine
    model = a_model(tuple(one.name for one in config.features if one.use == "model"))
    with warehouse.transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        if engine is not None:
            engine.move_in(connection, TABLES)
    for step in (*first_steps(config, FIRST), scored(config, model, FIRST)):
        cost(warehouse, step, server)
    with warehouse.transaction() as connection:
        connection.executemany(
            "INSERT INTO segment_profiles (month, segment_id, name, role, model_version) VALUES (?, ?, ?, ?, 1)",
            [[month, one.segment_id, one.name, one.role] for month in (FIRST, MONTH) for one in model.segments],
        )
    return (*first_steps(config, MONTH), *steps_of(model, 20_000, MONTH))


def first_steps(config: Config, month: date) -> Sequence[Step]:
    def source(connection):  # type: ignore[no-untyped-def]
        fold_months(connection, config, month)
        counts = load_raw_customers(connection, config, month, folded=True)
        write_contents(connection, config, month)
        return counts.rows

    return (
        Step("the source", source, ()),
        Step("the contract", lambda c: split_customers(c, config, build_contract(config), month).accepted, ()),
    )


def scored(config: Config, model, month: date) -> Step:  # type: ignore[no-untyped-def]
    return Step("scores", lambda c: write_assignments(c, model, month, TierSettings()), ())


def measure(folder: Path, customers: int, lines_each: float, limit: str) -> list[object]:
    lines = write_lines(folder, customers, lines_each)
    first, last = month_key(FIRST), month_key(MONTH)
    totals: dict[str, Totals] = {}
    with running("sail", folder / "server", SAIL_MODE="local-cluster") as server:
        for name, lying in (("duckdb", OF_FILES), ("sail", OF_A_TABLE.format(folder=folder))):
            (folder / name).mkdir()
            text = CONFIG.format(first=first, last=last, limit=limit, lines=lying, model="")
            if name == "sail":
                text += ON_SAIL.format(address=server.address, folder=folder)
            path = folder / name / "segmentation.yaml"
            path.write_text(text.replace('"lines/', f'"{folder}/lines/'))
            config = load_config(path)
            engine = engine_of(config)
            warehouse = Warehouse(config.warehouse_path, 60, limit, None, engine)
            totals[name] = month_of(config, warehouse, None if engine is None else server, name)
    one, other = totals["duckdb"], totals["sail"]
    assert all(abs(a - b) <= 1e-9 * max(1, abs(a)) for a, b in zip(one.sums, other.sums, strict=True)), totals
    return [
        *(f"{customers:,}", f"{lines:,}", f"{one.here:.1f}", f"{other.here:.1f} + {other.there:.1f}"),
        *(
            f"{(other.here + other.there) / one.here:.1f}",
            f"{one.peak:,.0f}",
            f"{other.peak:,.0f} + {other.peak_there:,.0f}",
        ),
        f"{size_of(folder / 'lake') / 1e6:,.0f}",
    ]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--customers", type=int, nargs="+", default=[100_000, 1_000_000])
    asked.add_argument("--lines", type=float, default=10, help="order lines a customer in twelve months")
    asked.add_argument("--memory-limit", default=LIMIT, help="of DuckDB's")
    asked.add_argument("--folder", type=Path, help="where there is room; a folder that is made there is removed again")
    chosen = asked.parse_args()
    rows = []
    for customers in chosen.customers:
        with tempfile.TemporaryDirectory(prefix="lines_on_spark_", dir=chosen.folder) as folder:
            rows.append(measure(Path(folder), customers, chosen.lines, chosen.memory_limit))
        record("lines_on_spark", "An ordinary month from order lines on", HEADER, rows)


if __name__ == "__main__":
    main()
