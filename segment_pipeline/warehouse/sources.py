"""From the user's source to `raw_customers`, aggregated inside DuckDB and point-in-time.

Each of the three sources becomes one query that returns `SOURCE_COLUMNS` and the raw features; whatever a row's values
are, it comes out (the data contract decides later). What cannot be put into rows at all stops here with a SourceError.

Sums of money are exact decimals: a parallel sum of doubles depends on the order of the threads, and then the same
month would not give the same bits twice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import duckdb

from segment_pipeline.config import (
    ORDER_FEATURES,
    Config,
    OrdersSource,
    QuerySource,
    SnapshotsSource,
    resolve_source_path,
)
from segment_pipeline.errors import SourceError
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline.warehouse.quoting import identifier, literal
from segment_pipeline.warehouse.store import month_literal, replace_month
from segment_pipeline.warehouse.tables import RAW_CUSTOMERS

NUMERIC_TYPES = re.compile(r"^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*|BOOLEAN)$")


def raw_feature_names(config: Config) -> tuple[str, ...]:
    """The feature columns of `raw_customers`: all eight from order lines, so that profiles can show what the model
    leaves out; otherwise those of the configuration."""
    return tuple(ORDER_FEATURES) if config.source.orders is not None else config.feature_names


@dataclass(frozen=True)
class SourceCounts:
    """What a month's reading of the source found.

    `rows` are raw customers. `order_lines` are those of the window, `undated_lines` those of the whole source whose
    date cannot be read (they are in no month); both None for sources that have no order lines.
    """

    rows: int
    order_lines: int | None = None
    undated_lines: int | None = None


def load_raw_customers(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> SourceCounts:
    """Read the configured source as it stood at the end of `month` and replace that month of `raw_customers`.

    Call it inside a transaction. Raises SourceError, naming file, column, found and expected.
    """
    source = config.source
    # Paths inside the user's own SQL and the file's own relative paths start where the file lies.
    connection.execute(f"SET file_search_path = {literal(str(config.path.parent))}")
    if source.orders is not None:
        counts = _read_orders(connection, config, source.orders, month)
    elif source.snapshots is not None:
        counts = _read_snapshot(connection, config, source.snapshots, month)
    elif source.query is not None:
        counts = _read_query(connection, config, source.query, month)
    else:  # the configuration admits exactly one
        raise AssertionError("a source without orders, snapshots or query")
    replace_month(connection, RAW_CUSTOMERS, month, f"SELECT {month_literal(month)} AS month, * FROM source_customers")
    connection.execute("DROP TABLE source_customers")
    return counts


# --- order lines ------------------------------------------------------------------------------------------------------


def _read_orders(
    connection: duckdb.DuckDBPyConnection, config: Config, orders: OrdersSource, month: date
) -> SourceCounts:
    path = resolve_source_path(orders.path, config.path.parent)
    relation = _file_relation(path)
    columns = _describe_file(connection, relation, path)
    _check_expression(connection, relation, path, columns, "where", orders.where, "BOOLEAN")
    _check_expression(connection, relation, path, columns, "customer_id", orders.customer_id, None)
    _check_expression(connection, relation, path, columns, "order_id", orders.order_id, None)
    _check_expression(connection, relation, path, columns, "product_id", orders.product_id, None)
    _check_expression(connection, relation, path, columns, "amount", orders.amount, "number")
    ordered_at = _check_expression(connection, relation, path, columns, "ordered_at", orders.ordered_at, "timestamp")

    month_end, window_start = as_of(month), add_months(as_of(month), -config.source.window_months)
    lines = _order_lines(orders, relation, ordered_at or "TIMESTAMP")
    try:
        _check_span(connection, lines, path, month, window_start, month_end)
        distinct = "distinct_products" in config.feature_names
        query = _order_features(lines, window_start, month_end, orders.product_id is not None, distinct)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE source_customers AS {query}")
        counts = connection.execute(
            f"SELECT count(*) FILTER (ordered_at >= ? AND ordered_at < ?), count(*) FILTER (ordered_at IS NULL) "
            f"FROM ({lines})",
            [window_start, month_end],
        ).fetchone()
    except duckdb.Error as error:
        raise SourceError(f"{path}: reading the order lines failed: {_first_line(error)}") from error
    order_lines, undated_lines = counts or (0, 0)
    return SourceCounts(_count(connection, "source_customers"), int(order_lines), int(undated_lines))


def _order_lines(orders: OrdersSource, relation: str, ordered_at_type: str) -> str:
    """The source's rows as order lines with settled names and types; rows at or after as_of are still among them."""
    ordered_at = f"({orders.ordered_at})"
    if ordered_at_type == "TIMESTAMP WITH TIME ZONE":
        ordered_at = f"timezone('UTC', {ordered_at})"
    product = f"CAST(({orders.product_id}) AS VARCHAR)" if orders.product_id is not None else "NULL"
    return f"""
        SELECT
            CAST(({orders.customer_id}) AS VARCHAR) AS customer_id,
            CAST(({orders.order_id}) AS VARCHAR) AS order_id,
            CASE WHEN isfinite(CAST({ordered_at} AS TIMESTAMP)) THEN CAST({ordered_at} AS TIMESTAMP) END AS ordered_at,
            TRY_CAST(({orders.amount}) AS DECIMAL(18, 4)) AS amount,
            {product} AS product_id
        FROM {relation}
        WHERE {f"({orders.where})" if orders.where is not None else "true"}
    """


def _order_features(
    lines: str, window_start: date, month_end: date, has_products: bool, distinct_products: bool
) -> str:
    """The eight features of a customer with at least one order in the window, from lines before `month_end` only.

    Lines are folded into orders, and orders into customers, so that nothing larger than the window's orders is held.
    Blank and missing customer ids fold into one row each: the contract rejects it, and the count stays honest.
    """
    start, end = f"TIMESTAMP {literal(window_start.isoformat())}", f"TIMESTAMP {literal(month_end.isoformat())}"
    end_day = f"DATE {literal(month_end.isoformat())}"
    products_per_order = "CAST(sum(products) AS DOUBLE) / count(*)" if has_products else "NULL"
    distinct = (
        f"""(SELECT customer_id, count(DISTINCT product_id) AS products FROM ({lines})
             WHERE ordered_at >= {start} AND ordered_at < {end} GROUP BY customer_id)"""
        if distinct_products
        else "(SELECT NULL AS customer_id, NULL AS products WHERE false)"
    )
    return f"""
        WITH orders AS (
            SELECT customer_id, order_id, min(ordered_at) AS ordered_at, sum(amount) AS amount,
                count(DISTINCT product_id) AS products,
                count(*) FILTER (amount IS NULL) AS unreadable_amounts,
                count(*) FILTER (order_id IS NULL) AS missing_order_ids
            FROM ({lines})
            WHERE ordered_at >= {start} AND ordered_at < {end}
            GROUP BY customer_id, order_id
        ),
        customers AS (
            SELECT customer_id, count(*) AS orders, sum(amount) AS amount,
                CAST(min(ordered_at) AS DATE) AS first_day, CAST(max(ordered_at) AS DATE) AS last_day,
                {products_per_order} AS products_per_order,
                sum(unreadable_amounts) AS unreadable_amounts, sum(missing_order_ids) AS missing_order_ids
            FROM orders GROUP BY customer_id
        ),
        history AS (
            SELECT customer_id, CAST(min(ordered_at) AS DATE) AS first_seen
            FROM ({lines}) WHERE ordered_at < {end} GROUP BY customer_id
        ),
        assortment AS {distinct}
        SELECT c.customer_id, h.first_seen, 1 AS copies,
            CAST(c.unreadable_amounts AS BIGINT) AS unreadable_amounts,
            CAST(c.missing_order_ids AS BIGINT) AS missing_order_ids,
            CAST(MAP {{}} AS MAP(VARCHAR, VARCHAR)) AS unreadable_values,
            CAST(date_diff('day', c.last_day, {end_day}) AS DOUBLE) AS days_since_last_order,
            CAST(c.orders AS DOUBLE) AS orders,
            CAST(c.amount AS DOUBLE) AS total_spend,
            CAST(c.amount AS DOUBLE) / c.orders AS average_order_value,
            c.products_per_order AS products_per_order,
            CAST(a.products AS DOUBLE) AS distinct_products,
            CAST(date_diff('day', h.first_seen, {end_day}) AS DOUBLE) AS tenure_days,
            -- the gap that is still open counts, so that a customer of one order has a value too
            CAST(date_diff('day', c.first_day, {end_day}) AS DOUBLE) / c.orders AS days_between_orders
        FROM customers AS c
        LEFT JOIN history AS h ON h.customer_id IS NOT DISTINCT FROM c.customer_id
        LEFT JOIN assortment AS a ON a.customer_id IS NOT DISTINCT FROM c.customer_id
        ORDER BY c.customer_id
    """


def _check_span(
    connection: duckdb.DuckDBPyConnection, lines: str, path: str, month: date, window_start: date, month_end: date
) -> None:
    """A month without a single order line is a feed that is late, not a month without customers."""
    found = connection.execute(
        f"SELECT count(*), min(ordered_at), max(ordered_at), count(*) FILTER (ordered_at >= ? AND ordered_at < ?) "
        f"FROM ({lines})",
        [month, month_end],
    ).fetchone()
    rows, first, last, in_month = found or (0, None, None, 0)
    if rows == 0:
        raise SourceError(
            f"{path} holds no order lines (after source.orders.where). Deliver the data, then run the month again."
        )
    if in_month == 0:
        span = (
            f"its lines go from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
            if isinstance(first, datetime)
            else "no line has a readable date"
        )
        raise SourceError(
            f"{path} has no order line in {month_key(month)}: {span}. "
            f"Deliver that month's data, or set last_month in the configuration, then run again."
        )


# --- ready-made customer snapshots and the user's own SQL -------------------------------------------------------------


def _read_snapshot(
    connection: duckdb.DuckDBPyConnection, config: Config, snapshots: SnapshotsSource, month: date
) -> SourceCounts:
    path = resolve_source_path(snapshots.path.replace("{month}", month_key(month)), config.path.parent)
    relation = _file_relation(path)
    columns = _describe_file(connection, relation, path)
    query = _ready_made_features(relation, path, columns, snapshots.customer_id, config.feature_names)
    return _store_ready_made(connection, query, path)


def _read_query(
    connection: duckdb.DuckDBPyConnection, config: Config, source: QuerySource, month: date
) -> SourceCounts:
    file = config.path.parent / source.file
    try:
        text = file.read_text(encoding="utf-8").strip().rstrip(";")
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}. source.query.file names it.") from error
    relation = f"({_with_dates(text, config, month)}\n)"
    columns = _describe(connection, relation, str(file))
    query = _ready_made_features(relation, str(file), columns, source.customer_id, config.feature_names)
    return _store_ready_made(connection, query, str(file))


def _with_dates(text: str, config: Config, month: date) -> str:
    """The user's SQL with $as_of, $month_start and $window_start as dates."""
    dates = {
        "$as_of": as_of(month),
        "$month_start": month,
        "$window_start": add_months(as_of(month), -config.source.window_months),
    }
    return re.sub(
        r"\$(as_of|month_start|window_start)\b", lambda found: f"DATE {literal(dates[found[0]].isoformat())}", text
    )


def _ready_made_features(
    relation: str, path: str, columns: Mapping[str, str], customer_id: str, feature_names: Sequence[str]
) -> str:
    """One row per source row: the features as numbers where they read as numbers, their text where they do not."""
    missing = [name for name in (customer_id, *feature_names) if name.lower() not in columns]
    if missing:
        raise SourceError(
            f"{path}: column {', '.join(missing)} is missing. Expected {', '.join((customer_id, *feature_names))}; "
            f"found {', '.join(columns)}. Mend the source, or the names in the configuration."
        )
    for name in feature_names:
        found = columns[name.lower()]
        if not (NUMERIC_TYPES.match(found) or found == "VARCHAR"):
            raise SourceError(
                f"{path}: column {name}: found {found}; expected a number. "
                f"Make it a number in the source (for a date: the days since it), then run again."
            )
    numbers = ", ".join(f"TRY_CAST({identifier(name)} AS DOUBLE) AS {identifier(name)}" for name in feature_names)
    unreadable = ", ".join(
        f"CASE WHEN TRY_CAST({identifier(name)} AS DOUBLE) IS NULL AND {identifier(name)} IS NOT NULL "
        f"THEN {{'key': {literal(name)}, 'value': CAST({identifier(name)} AS VARCHAR)}} END"
        for name in feature_names
    )
    identity = f"CAST({identifier(customer_id)} AS VARCHAR)"
    return f"""
        SELECT {identity} AS customer_id, CAST(NULL AS DATE) AS first_seen,
            CASE WHEN {identity} IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY {identity}) END AS copies,
            CAST(0 AS BIGINT) AS unreadable_amounts, CAST(0 AS BIGINT) AS missing_order_ids,
            map_from_entries(list_filter([{unreadable}], lambda entry: entry IS NOT NULL)) AS unreadable_values,
            {numbers}
        FROM {relation} AS source
        ORDER BY ALL
    """


def _store_ready_made(connection: duckdb.DuckDBPyConnection, query: str, path: str) -> SourceCounts:
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE source_customers AS {query}")
    except duckdb.Error as error:
        raise SourceError(f"{path}: reading the customers failed: {_first_line(error)}") from error
    rows = _count(connection, "source_customers")
    if rows == 0:
        raise SourceError(f"{path} holds no customers. Deliver the data, then run the month again.")
    return SourceCounts(rows)


# --- what all of them need --------------------------------------------------------------------------------------------


def _file_relation(path: str) -> str:
    """The file as a table. The whole of a CSV decides on its column types, not its first rows."""
    if not re.search(r"[*?\[]", path) and not Path(path).exists():
        raise SourceError(f"{path} does not exist. Check the path under `source` in the configuration.")
    if re.search(r"\.(csv|tsv|txt)(\.gz|\.zst)?$", path, re.IGNORECASE):
        return f"read_csv({literal(path)}, sample_size = -1)"
    return literal(path)


def _describe_file(connection: duckdb.DuckDBPyConnection, relation: str, path: str) -> dict[str, str]:
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes). Deliver the file again, then run the month again.")
    return _describe(connection, relation, path)


def _describe(connection: duckdb.DuckDBPyConnection, relation: str, path: str) -> dict[str, str]:
    """Column name in lower case (DuckDB's names are case-insensitive) -> DuckDB type."""
    try:
        found = connection.execute(f"DESCRIBE SELECT * FROM {relation} AS source").fetchall()
    except duckdb.Error as error:
        raise SourceError(f"{path} cannot be read: {_first_line(error)}") from error
    return {str(row[0]).lower(): str(row[1]) for row in found}


def _check_expression(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    path: str,
    columns: Mapping[str, str],
    key: str,
    expression: str | None,
    expected: str | None,
) -> str | None:
    """The type of the user's expression over a source row; SourceError when it does not bind or is of another type."""
    if expression is None:
        return None
    try:
        found = connection.execute(f"DESCRIBE SELECT ({expression}) AS value FROM {relation} AS source").fetchone()
    except duckdb.Error as error:
        raise SourceError(
            f"{path}: source.orders.{key} is {expression!r}, which this file does not have: {_first_line(error)} "
            f"Its columns are {', '.join(columns)}."
        ) from error
    kind = str(found[1]) if found else "nothing"
    fits = {
        None: True,
        "number": bool(NUMERIC_TYPES.match(kind)),
        "timestamp": kind.startswith(("TIMESTAMP", "DATE")),
        "BOOLEAN": kind == "BOOLEAN",
    }[expected]
    if not fits:
        hint = {
            "number": f"TRY_CAST({expression} AS DOUBLE)",
            "timestamp": f"TRY_CAST({expression} AS TIMESTAMP)",
        }.get(expected or "", "a comparison")
        raise SourceError(
            f"{path}: source.orders.{key} ({expression}): found {kind}; expected {expected}. Mend the source, or write "
            f"{hint} in the configuration, and what cannot be read will be counted and rejected."
        )
    return kind


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") + "."
