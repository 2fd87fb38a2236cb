"""A made-up shop with known truth: customers of three habits, seeded, as order lines in a real file."""

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.months import add_months, month_range

FIRST_ORDERS = date(2023, 1, 1)
FIRST_MONTH = date(2023, 3, 1)

# habit -> (orders a month, mean amount of a line, mean products of an order); customers vary around them by these SDs
# of the logarithm, so that habits overlap as they do in life
HABITS = {"regular": (7.0, 9.0, 6.0), "occasional": (1.5, 11.0, 3.0), "big_basket": (2.5, 10.0, 13.0)}
SPREAD = (0.4, 0.25, 0.3)

CONFIG = """\
name: shop
first_month: {first_month}
last_month: {last_month}
source:
  window_months: 3
  orders:
    path: {path}
    customer_id: customer
    order_id: order_id
    ordered_at: ordered_at
    amount: amount
    product_id: product
features:
  - {{name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {{min: 0}},
      meaning: How recently the customer last ordered.}}
  - {{name: orders, unit: orders, transform: log1p, resolution: 1, valid: {{min: 1}}, meaning: How often.}}
  - {{name: average_order_value, unit: EUR, transform: log1p, resolution: 0.01, valid: {{min: 0}}, meaning: How much.}}
  - {{name: products_per_order, unit: items, transform: log1p, resolution: 0.01, valid: {{min: 1}}, meaning: Breadth.}}
model: {{n_components: [2, 4], seed: 7, memory: {memory}}}
{more}
"""


@dataclass(frozen=True)
class Shop:
    """A folder with order lines and a configuration."""

    folder: Path

    @property
    def config_path(self) -> Path:
        return self.folder / "segmentation.yaml"

    @property
    def orders_path(self) -> Path:
        return self.folder / "orders.parquet"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        return self.folder / "segments.duckdb"

    def configure(
        self,
        *,
        first_month: str = "2023-03",
        last_month: str = "2023-06",
        path: str = "orders.parquet",
        memory: bool = False,
        more: str = "",
    ) -> "Shop":
        self.config_path.write_text(
            CONFIG.format(
                first_month=first_month, last_month=last_month, path=path, memory=str(memory).lower(), more=more
            )
        )
        return self


def order_lines(customers: int = 700, months: int = 6, seed: int = 1) -> dict[str, list[object]]:
    """Columns customer, order_id, ordered_at, amount, product; customers keep their habit, some come and some leave."""
    random = np.random.default_rng(seed)
    lines: dict[str, list[object]] = {"customer": [], "order_id": [], "ordered_at": [], "amount": [], "product": []}
    names = list(HABITS)
    for number in range(customers):
        rate, amount, breadth = HABITS[names[number % 3]]
        rate, amount, breadth = np.array([rate, amount, breadth]) * np.exp(random.normal(0, SPREAD))
        arrives = int(random.integers(1, months)) if random.random() < 0.1 else 0
        leaves = int(random.integers(2, months)) if random.random() < 0.1 else months
        for index, month in enumerate(month_range(FIRST_ORDERS, add_months(FIRST_ORDERS, months - 1))):
            if not arrives <= index < leaves:
                continue
            for order in range(int(random.poisson(rate))):
                minutes = (add_months(month, 1) - month).days * 24 * 60
                at = datetime(month.year, month.month, 1) + timedelta(minutes=int(random.integers(0, minutes)))
                for _ in range(1 + int(random.poisson(max(0.2, breadth - 1)))):
                    lines["customer"].append(f"c{number:05d}")
                    lines["order_id"].append(f"{number}-{index}-{order}")
                    lines["ordered_at"].append(at)
                    lines["amount"].append(round(float(random.gamma(4, amount / 4)), 2))
                    lines["product"].append(int(random.integers(0, 500)))
    return lines


def write_parquet(lines: dict[str, list[object]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(lines), path)


def query(path: Path, sql: str) -> list[tuple]:  # type: ignore[type-arg]
    """Rows of a query on a DuckDB file, opened for reading and closed again."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def published_content(path: Path) -> dict[str, list[tuple]]:  # type: ignore[type-arg]
    """Every published table in a settled order, less the run log, whose times differ between runs, and what tells of
    it."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()]
        return {
            table: connection.execute(f'SELECT * FROM "{table}" ORDER BY ALL').fetchall()
            for table in tables
            if table not in {"pipeline_runs", "published_parts"}
        }


def distance(one: object, other: object) -> float:
    """0 where they are equal; of numbers, how far they are apart in parts of the larger; infinite otherwise."""
    if isinstance(one, float) and isinstance(other, float):
        return 0.0 if one == other else abs(one - other) / max(1.0, abs(one), abs(other))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(distance, one, other), default=0.0)
    return 0.0 if one == other else math.inf


def apart(one: Path, other: Path) -> dict[str, float]:
    """How far two published files are apart, by table: see `distance`; infinite where one has more rows."""
    contents = published_content(one), published_content(other)
    assert contents[0].keys() == contents[1].keys()
    both = {table: [[list(row) for row in content[table]] for content in contents] for table in contents[0]}
    return {table: distance(*rows) for table, rows in both.items()}
