"""What the tests of reading share: a shop's orders, what the pipeline makes of a file of them, and the truth."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.quickstart.csv_table import Table, read_table
from segment_pipeline.quickstart.plan import Plan, explore
from segment_pipeline.quickstart.request import Request
from segment_pipeline.quickstart.roles import Hints

Rows = list[list[object]]
HEADER = ["customer_id", "order_id", "order_date", "total"]


def shop(customers: int = 150, orders: int = 1500, seed: int = 8) -> Rows:
    """Orders of the year 2024, in the order of time: customer, order, moment, amount."""
    random = np.random.default_rng(seed)
    seconds = np.sort(random.integers(0, 366 * 86400, orders))
    whose = random.integers(0, customers, orders)
    amounts = np.round(np.exp(random.normal(3.5, 0.7, orders)), 2)
    return [
        [f"{40_000 + who}", f"{900_000 + i}", datetime(2024, 1, 1) + timedelta(seconds=int(at)), float(amount)]
        for i, (who, at, amount) in enumerate(zip(whose, seconds, amounts, strict=True))
    ]


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]], separator: str = ",", end: str = "\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end).writerows([header, *rows])
    return text.getvalue()


def table_of(path: Path, *more: Path, **said: object) -> Table:
    with duckdb.connect() as connection:
        return read_table(connection, path, Hints(**said), more)


Figures = Mapping[str, tuple[int, float, int]]


def looked_at(path: Path, *more: Path, **said: object) -> tuple[Figures, Plan]:
    """customer -> orders, spend and days since the last order at the end of 2024, or of the month that is said, as the
    pipeline makes them of the file; and what is to be done with it."""
    asked = {"month": date(2024, 12, 1), "window_months": 12, "features": FEATURES, **said}
    if "date" in asked:
        asked["ordered_at"] = asked.pop("date")
    with duckdb.connect() as connection:
        plan = explore(connection, Request(path, path.parent / "out", more=more, **asked))
        found = connection.execute(
            "SELECT customer_id, orders, total_spend, days_since_last_order FROM raw_customers "
            "WHERE trim(coalesce(customer_id, '')) <> ''"
        ).fetchall()
    # of who has no amount that can be read, no spend is known
    return {who: (int(n), None if spend is None else round(spend, 2), int(days)) for who, n, spend, days in found}, plan


def figures(path: Path, *more: Path, **said: object) -> tuple[Figures, list[str]]:
    """As `looked_at`, and what is said of the file."""
    found, plan = looked_at(path, *more, **said)
    return found, [*plan.guesses, *plan.warnings]


FEATURES = ["orders", "average_order_value", "days_since_last_order"]


def right(rows: Rows) -> Figures:
    """The same by hand."""
    found: dict[str, list[tuple[object, datetime, float]]] = {}
    for who, order, at, amount in rows:
        assert isinstance(at, datetime)
        found.setdefault(str(who), []).append((order, at, float(str(amount))))
    return {
        who: (
            len({order for order, _, _ in of}),
            round(sum(amount for *_, amount in of), 2),
            (date(2025, 1, 1) - max(at for _, at, _ in of).date()).days,
        )
        for who, of in found.items()
    }


def without(rows: Rows, *places: int) -> Rows:
    return [[value for place, value in enumerate(row) if place not in places] for row in rows]
