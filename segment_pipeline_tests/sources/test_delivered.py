"""Whoever is forgotten or merged: nothing that a source delivers brings them back."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from segment_pipeline.config.config import Config
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.people import forget, merge
from segment_pipeline.sources.reconciliation import FORMER, Part, part
from segment_pipeline.sources.sources import load_categories, load_raw_customers
from segment_pipeline_tests.source_files import LINES, MARCH, configured, orders_from, snapshots_from, write


def read(config: Config, *, gone: tuple[str, ...] = (), merged: tuple[tuple[str, str], ...] = (), expression: str = ""):
    """What the month's source gives: its counts, and the customers with their features; of an expression, its texts."""
    with Warehouse(config.warehouse_path, 5, "1GB").transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        for old, new in merged:
            merge(connection, config, old, new)
        forget(connection, gone)
        counts = load_raw_customers(connection, config, MARCH)
        found = connection.execute("SELECT * EXCLUDE (month) FROM raw_customers ORDER BY customer_id").fetchall()
        rows = {row[0]: row[1:] for row in found}
        if not expression:
            return counts, rows
        load_categories(connection, config, MARCH, expression)
        return dict(connection.execute("FROM categories").fetchall())


def whole(parts: Sequence[Part]) -> int:
    return sum(one.lines for one in parts)


@pytest.fixture
def orders(tmp_path: Path) -> Config:
    write(tmp_path / "orders.parquet", LINES)
    return orders_from(tmp_path, "orders.parquet")


def test_lines_of_a_forgotten_customer_are_left_out_and_the_customer_is_counted(orders: Config) -> None:
    before, all_of_them = read(orders)
    counts, rest = read(orders, gone=("a", "nobody"))
    assert (before.forgotten, counts.forgotten) == (0, 1)
    assert rest == {name: row for name, row in all_of_them.items() if name != "a"}
    # and its lines and money are a part of their own, so that the parts are still the whole source
    gone = part(counts.parts, FORMER)
    amounts = [Decimal(str(line[3])) for line in LINES if line[0] == "a" and line[3] is not None]
    assert (gone.lines, gone.customers) == (sum(line[0] == "a" for line in LINES), 1)
    assert gone.money == sum(amounts)
    assert whole(counts.parts) == whole(before.parts) == len(LINES)
    assert part(before.parts, FORMER).lines == 0


def test_lines_of_a_merged_customer_are_folded_as_if_they_had_the_new_id(tmp_path: Path, orders: Config) -> None:
    renamed = [("c" if line[0] == "a" else line[0], *line[1:]) for line in LINES]
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "orders.parquet", renamed)
    _, expected = read(orders_from(tmp_path / "other", "orders.parquet"))
    counts, merged = read(orders, merged=(("a", "c"),))
    assert counts.forgotten == 0
    assert merged == expected


def test_a_chain_of_merges_leads_to_the_id_of_today(orders: Config) -> None:
    _, merged = read(orders, merged=(("a", "b"), ("b", "c")))
    assert set(merged) == {"c", "d", "e"}


def test_texts_of_a_line_are_those_of_the_customers_of_today(orders: Config) -> None:
    texts = read(orders, gone=("d",), merged=(("a", "new"),), expression="customer")
    assert texts == {"new": "a", "b": "b", "c": "c", "e": "e"}


def test_of_ready_made_rows_the_one_of_the_new_id_counts_where_both_are_delivered(tmp_path: Path) -> None:
    (tmp_path / "2023-03.csv").write_text("id,visits\nold,1\nnew,2\nolder,3\noldest,4\ngone,5\nstays,6\n")
    config = snapshots_from(tmp_path, "{month}.csv")
    merged = (("old", "new"), ("older", "other"), ("oldest", "other"))
    counts, rows = read(config, gone=("gone",), merged=merged)
    assert {name: row[-1] for name, row in rows.items()} == {"new": 2, "other": 3, "stays": 6}
    assert (counts.rows, counts.forgotten) == (3, 1)
    assert all(row[1] == 1 for row in rows.values())  # no copies
    assert (part(counts.parts, FORMER).lines, whole(counts.parts)) == (3, 6)


def test_a_file_may_call_its_columns_as_the_pipeline_calls_its_own(tmp_path: Path) -> None:
    columns = {"customer_id": "VARCHAR", "id_hash": "VARCHAR", "people": "TIMESTAMP", "source": "DOUBLE"}
    rows = [(name, f"{name}{day}", f"2023-03-{day:02}", 1.0) for name in ("a", "b") for day in (1, 2)]
    write(tmp_path / "orders.parquet", rows, columns)
    named = dict(zip(("customer_id", "order_id", "ordered_at", "amount"), columns, strict=True))
    config = configured(tmp_path, ["orders"], orders={"path": "orders.parquet", **named})
    _, found = read(config, gone=("b",))
    assert set(found) == {"a"}
