"""Sources in files of every kind, the configuration that reads them, and what a month makes of them."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.months import parse_month
from segment_pipeline.sources.sources import SourceCounts, load_raw_customers
from segment_pipeline.sources.tables import TABLES

MARCH = parse_month("2023-03")  # the window of three months: from 2023-01-01 to before 2023-04-01
COLUMNS = {"customer": "VARCHAR", "basket": "VARCHAR", "bought": "TIMESTAMP", "paid": "DOUBLE", "item": "VARCHAR"}
ORDERS = {
    "customer_id": "customer",
    "order_id": "basket",
    "ordered_at": "bought",
    "amount": "paid",
    "product_id": "item",
}
Row = dict[str, object]


def configured(
    folder: Path, features: Sequence[str] = tuple(ORDER_FEATURES), out: Path | None = None, **source: object
) -> Config:
    """A configuration in `folder`; JSON is YAML, and quotes every name as it needs to be."""
    content = {
        "name": "t",
        "first_month": "2023-03",
        "output_dir": str(folder) if out is None else str(out),
        "source": {"window_months": 3, **source},
        "features": [{"name": name} for name in features],
    }
    return parse_config(json.dumps(content, ensure_ascii=False), folder / "segmentation.yaml")


def orders_from(folder: Path, path: str, **changed: object) -> Config:
    """A configuration with order lines in the columns of COLUMNS."""
    source = {key: value for key, value in ({**ORDERS, "path": path} | changed).items() if value is not None}
    names = [name for name, feature in ORDER_FEATURES.items() if not feature.lacks(source)]
    return configured(folder, names, orders=source)


def snapshots_from(folder: Path, path: str, out: Path | None = None) -> Config:
    return configured(folder, ["visits"], out, snapshots={"path": path, "customer_id": "id"})


def query_from(folder: Path, sql: str, features: Sequence[str] = ("visits",)) -> Config:
    (folder / "customers.sql").write_text(sql)
    return configured(folder, features, query={"file": "customers.sql"})


def load(
    config: Config, month: date = MARCH, *, threads: int = 2, memory_limit: str = "1GB"
) -> tuple[SourceCounts, list[Row]]:
    """What the month of `raw_customers` holds after reading the source into a real warehouse file."""
    warehouse = Warehouse(config.warehouse_path, 5, memory_limit, threads)
    with warehouse.transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        counts = load_raw_customers(connection, config, month)
        return counts, stored(connection, config, month)


def stored(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[Row]:
    names = ", ".join(identifier(name) for name in config.raw_feature_names)
    found = connection.execute(
        f"SELECT customer_id, first_seen, copies, unreadable_amounts, missing_order_ids, unreadable_values, {names} "
        f"FROM raw_customers WHERE month = ? ORDER BY ALL",
        [month],
    )
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def customers(rows: Sequence[Row]) -> list[object]:
    return [row["customer_id"] for row in rows]


def write(path: Path, rows: Sequence[Sequence[object]], columns: Mapping[str, str] | None = None) -> Path:
    """Order lines, or other rows, as a file of the kind that its name says; `columns` name -> DuckDB type."""
    columns = COLUMNS if columns is None else columns
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        declared = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns.items())
        connection.execute(f"CREATE TABLE rows ({declared})")
        if rows:
            marks = f"({', '.join('?' for _ in columns)})"
            connection.execute(
                f"INSERT INTO rows VALUES {', '.join(marks for _ in rows)}", [value for row in rows for value in row]
            )
        kind = "parquet" if "parquet" in path.suffix else "csv, header true"
        connection.execute(f"COPY rows TO {literal(str(path))} (FORMAT {kind})")
    return path


LINES: list[tuple[object, ...]] = [
    # a: from the first instant of the window to the last before as_of; what lies a microsecond outside does not count
    ("a", "o0", "2022-12-31 23:59:59.999999", 50.0, "p8"),
    ("a", "o1", "2023-01-01 00:00:00", 10.0, "p1"),
    ("a", "o1", "2023-01-01 00:00:00", 5.5, "p2"),
    ("a", "o2", "2023-03-31 23:59:59.999999", 4.5, "p1"),
    ("a", "o3", "2023-04-01 00:00:00", 100.0, "p9"),
    # b: one order, with a refund of more than it cost
    ("b", "o1", "2023-02-10 08:00:00", 10.0, "p1"),
    ("b", "o1", "2023-02-10 08:00:00", -13.5, "p1"),
    # c: an order that begins before the window, and one that ends after it: their lines inside count
    ("c", "c1", "2022-12-31 23:00:00", 7.0, "p1"),
    ("c", "c1", "2023-01-01 01:00:00", 8.0, "p2"),
    ("c", "c2", "2023-03-31 23:00:00", 1.0, "p3"),
    ("c", "c2", "2023-04-01 00:30:00", 9.0, "p4"),
    # d: two orders on one day, under an order id that a has as well; an order is a customer's
    ("d", "o1", "2023-02-28 12:00:00", 1.0, "p1"),
    ("d", "o2", "2023-02-28 15:00:00", 2.0, "p1"),
    # e: an order of several days is of its first day
    ("e", "o1", "2023-02-01 09:00:00", 3.0, "p1"),
    ("e", "o1", "2023-02-20 09:00:00", 3.0, "p2"),
    # f and g: before the window only, after it only: lapsed, and not yet a customer
    ("f", "o1", "2022-11-11 11:11:11", 1.0, "p1"),
    ("g", "o1", "2023-04-02 00:00:00", 1.0, "p1"),
]
