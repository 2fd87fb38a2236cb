"""One month of 1 million customers: tiers, what moved them, transitions, warnings, actions, audiences and journeys.

Each step runs as its asset runs it: in a connection of its own to a warehouse file, in one transaction, under a memory
limit of 4 GB. Beside it stands a plain scan (every value of every row is read and hashed) of the month's rows of the
tables that the step reads and writes, and what the whole process held at most meanwhile.
"""

import re
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np

from segment_pipeline.campaigns.actions_store import write_actions, write_audience_feed
from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.stages import Action
from segment_pipeline.config.warning_rules import WarningSettings
from segment_pipeline.database.store import Warehouse, month_literal, prepare
from segment_pipeline.early_warnings.rules_store import write_early_warnings
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.assignments_store import write_assignments, write_transitions
from segment_pipeline.segments.changes_store import write_changes
from segment_pipeline.segments.journeys_store import write_journeys

CUSTOMERS, FEATURES, COMPONENTS, REPEATS, LIMIT = 1_000_000, 6, 6, 3, "4GB"
NAMES = tuple(f"feature_{j}" for j in range(FEATURES))
MONTH = date(2023, 4, 1)
BEFORE = add_months(MONTH, -1)
ROLES = ("engaged", "engaged", "casual", "casual", "at_risk", "dormant")


class Figures(NamedTuple):
    """Of a step: rows written, seconds, seconds of the scan, and the most memory held, in MB."""

    name: str
    rows: int
    seconds: float
    scan: float
    peak: float


def a_model(names: tuple[str, ...] = NAMES) -> SegmentModel:
    """Segments that overlap as they do in life: a fifth to a third of the customers between two of them."""
    random, features = np.random.default_rng(1), len(names)
    roots = random.normal(size=(COMPONENTS, features, features)) * 0.4
    ones = np.ones(features)
    return SegmentModel(
        1,
        BEFORE,
        FeatureSpace(names, ("log1p",) * features, (0.01,) * features, 3.5 * ones, ones, 0.01 * ones),
        Mixture(
            np.full(COMPONENTS, 1 / COMPONENTS),
            random.normal(size=(COMPONENTS, features)),
            roots @ np.swapaxes(roots, 1, 2) + np.eye(features) * 0.3,
        ),
        tuple(Segment(k + 1, f"segment {k + 1}", role) for k, role in enumerate(ROLES)),
        atypical_below=-20.0,
    )


def an_action(action_id: str, **conditions: object) -> Action:
    return Action(action_id=action_id, what="w", owner="o", channel="c", kpi="k", measure_days=30, **conditions)


ACTIONS = (
    *(an_action(role, role=role) for role in ("engaged", "casual", "at_risk", "dormant")),
    an_action("between", pair=(1, 3)),
    an_action("undecided", tier="diffuse"),
    an_action("everybody"),
)


def fill(connection: duckdb.DuckDBPyConnection, model: SegmentModel, customers: int = CUSTOMERS) -> None:
    """Two months of customers: the second has 5 % new ones and lacks 5 % of the first; the rest have moved a little."""
    prepare(connection, TABLES, NAMES)
    connection.execute("SET threads = 1")  # or each run would draw other customers
    connection.execute("SELECT setseed(0.5)")
    names = ", ".join(NAMES)
    random_features = ", ".join(f"exp(2 + 3 * random()) AS {name}" for name in NAMES)
    moved = ", ".join(f"{name} * exp(0.5 * (random() - 0.5)) AS {name}" for name in NAMES)
    for month, drawn in (
        (BEFORE, f"SELECT CAST(range AS VARCHAR) AS customer_id, {random_features} FROM range({customers})"),
        (
            MONTH,
            f"SELECT customer_id, {moved} FROM validated_features WHERE CAST(customer_id AS BIGINT) % 20 > 0 UNION ALL "
            f"SELECT CAST({customers} + range AS VARCHAR), {random_features} FROM range({customers // 20})",
        ),
    ):
        connection.execute(
            f"INSERT INTO validated_features BY NAME "
            f"SELECT {month_literal(month)} AS month, * FROM ({drawn}) ORDER BY customer_id"
        )
        connection.execute(
            f"INSERT INTO raw_customers BY NAME SELECT month, customer_id, 1 AS copies, {names} "
            f"FROM validated_features WHERE month = {month_literal(month)}"
        )
        connection.execute(
            "INSERT INTO churn_risk SELECT month, customer_id, random() FROM validated_features WHERE month = ?",
            [month],
        )
        connection.executemany(
            "INSERT INTO segment_profiles (month, segment_id, name, role, model_version) VALUES (?, ?, ?, ?, 1)",
            [[month, segment.segment_id, segment.name, segment.role] for segment in model.segments],
        )
    connection.execute("RESET threads")


def peak_megabytes(*, since_now: bool = False) -> float:
    """The most memory this process has held, in MB, since it was last asked to start again (Linux)."""
    if since_now:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def scan(connection: duckdb.DuckDBPyConnection, tables: tuple[str, ...]) -> None:
    months = f"{month_literal(BEFORE)}, {month_literal(MONTH)}"
    for table in tables:
        connection.execute(f"SELECT bit_xor(hash(t)) FROM {table} AS t WHERE month IN ({months})").fetchall()


class Step(NamedTuple):
    """What is called, and the tables that it reads and writes."""

    name: str
    call: Callable[[duckdb.DuckDBPyConnection], int]
    tables: tuple[str, ...]


def steps_of(model: SegmentModel, customers: int = CUSTOMERS, month: date = MONTH) -> list[Step]:
    warnings, tiers = WarningSettings(monthly_budget=customers // 20), TierSettings()
    steps: tuple[tuple[str, Callable[[duckdb.DuckDBPyConnection], int], tuple[str, ...]], ...] = (
        (
            "write_assignments (tiers)",
            lambda c: write_assignments(c, model, month, tiers),
            ("validated_features", "monthly_assignments"),
        ),
        (
            "write_changes",
            lambda c: write_changes(c, model, month, seen_before=True),
            ("validated_features", "monthly_assignments", "customer_changes"),
        ),
        (
            "write_transitions",
            lambda c: write_transitions(c, model, month, has_previous=True)[0],
            ("validated_features", "raw_customers", "transition_deltas"),
        ),
        (
            "write_early_warnings",
            lambda c: write_early_warnings(c, model, model, month, warnings),
            ("monthly_assignments", "transition_deltas", "churn_risk", "early_warnings"),
        ),
        (
            "write_actions",
            lambda c: write_actions(c, model, month, ACTIONS),
            ("monthly_assignments", "customer_actions"),
        ),
        (
            "write_audience_feed",
            lambda c: write_audience_feed(c, model, month, TierSettings()),
            ("monthly_assignments", "transition_deltas", "audience_feed"),
        ),
        ("write_journeys", lambda c: write_journeys(c, model, month)[0], ("monthly_assignments",)),
    )
    return [Step(*step) for step in steps]


def begin(warehouse: Warehouse, model: SegmentModel, customers: int = CUSTOMERS) -> None:
    """Make a warehouse in which the steps can follow."""
    with warehouse.transaction() as connection:
        fill(connection, model, customers)
        write_assignments(connection, model, BEFORE, TierSettings())
        write_early_warnings(connection, model, None, BEFORE, WarningSettings(monthly_budget=customers // 20))


def one_month(model: SegmentModel) -> list[Figures]:
    """Every step once, in a warehouse of its own."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb", 60, LIMIT)
        begin(warehouse, model)
        for name, step, tables in steps_of(model):
            peak_megabytes(since_now=True)
            started = time.perf_counter()
            with warehouse.transaction() as connection:
                rows = step(connection)
            seconds, peak = time.perf_counter() - started, peak_megabytes()
            started = time.perf_counter()
            with warehouse.connect() as connection:
                scan(connection, tables)
            figures.append(Figures(name, rows, seconds, time.perf_counter() - started, peak))
    return figures


def main() -> None:
    model = a_model()
    print(f"medians of {REPEATS}{'rows':>24}{'time':>9}{'scan':>9}{'ratio':>8}{'peak':>10}")
    for runs in zip(*(with_total(one_month(model)) for _ in range(REPEATS)), strict=True):
        seconds, plain, ratio = (
            statistics.median(column)
            for column in zip(*((run.seconds, run.scan, run.seconds / run.scan) for run in runs), strict=True)
        )
        peak = max(run.peak for run in runs)
        print(f"{runs[0].name:26}{runs[0].rows:>10,}{seconds:>7.2f} s{plain:>7.2f} s{ratio:>8.1f}{peak:>7,.0f} MB")


def with_total(run: list[Figures]) -> list[Figures]:
    columns = list(zip(*((step.rows, step.seconds, step.scan) for step in run), strict=True))
    return [*run, Figures("all", *map(sum, columns), max(step.peak for step in run))]


if __name__ == "__main__":
    main()
