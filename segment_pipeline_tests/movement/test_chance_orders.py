"""Customers who do not change are the same, whether lines are moved or the orders that these were folded into."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.config.config import Config
from segment_pipeline.months import add_months
from segment_pipeline.movement.chance_store import shuffle_sample
from segment_pipeline.sources.folding import fold_order_lines
from segment_pipeline_tests.source_files import MARCH, ORDERS, configured
from segment_pipeline_tests.sources.test_folded import FIRST, run_month, write_lines, year

OF_ORDERS = ["days_since_last_order", "orders", "average_order_value", "products_per_order", "tenure_days"]
NAMED = [
    *(("ann", "7", FIRST.replace(month=12, day=day), 2.5, item) for day in (1, 9, 31) for item in "xy"),  # over days
    *(("bob", None, FIRST.replace(month=12, day=day), 1.0, "z") for day in (2, 3)),  # and orders without an id are one
    *((" ", "8", FIRST.replace(month=12, day=day), 4.0, "x") for day in (5, 6)),
    ("cem", "9", FIRST.replace(month=12, day=30), None, "y"),
]


def copies(config: Config, *, folded: bool) -> tuple[str, list[list[tuple[object, ...]]]]:
    """The table of orders that were moved, if any, and the customers that months make of what was moved."""
    columns = ", ".join(["customer_id", "first_seen", "unreadable_amounts", "missing_order_ids", *config.feature_names])
    with duckdb.connect() as connection:
        run_month(connection, config, folded=folded)
        moved = shuffle_sample(connection, config, MARCH, date(2022, 12, 1))
        found = []
        for month in (add_months(MARCH, -1), MARCH):
            fold_order_lines(connection, config, "SELECT * FROM shuffled_lines", month, folded=moved)
            found.append(connection.execute(f"SELECT {columns} FROM source_customers ORDER BY ALL").fetchall())
    return moved, found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "lines.parquet", [*year(), *NAMED])
    return tmp_path


def test_orders_are_moved_as_their_lines_are(folder):
    config = configured(folder, OF_ORDERS, orders={**ORDERS, "path": "lines.parquet"})
    of_lines, expected = copies(config, folded=False)
    of_orders, found = copies(config, folded=True)
    assert (of_lines, of_orders) == ("", "shuffled_orders")
    assert found == expected
    assert all(len(customers) > 1000 for customers in found)


def test_lines_are_moved_where_a_feature_is_made_of_them(folder):
    config = configured(folder, [*OF_ORDERS, "distinct_products"], orders={**ORDERS, "path": "lines.parquet"})
    assert copies(config, folded=True) == copies(config, folded=False)
    assert copies(config, folded=True)[0] == ""
