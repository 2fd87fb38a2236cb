"""From the user's source to `raw_customers`, aggregated inside DuckDB and point-in-time.

Each of the three sources becomes one query that returns the columns of `raw_customers`; whatever a row's values are, it
comes out (the data contract decides later). What cannot be put into rows at all stops here with a SourceError. How a
file is read is for files.py.

Sums of money are exact decimals: a parallel sum of doubles depends on the order of the threads, and then the same
month would not give the same bits twice. A month is aggregated from the raw lines themselves, not from stored partial
sums: it depends on nothing but the source, and an order or a product that spans two months is counted once.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from string import Template

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import FREQUENCY, ORDER_FEATURES, OrderFeature
from segment_pipeline.config.source import OrdersSource, QuerySource, SnapshotsSource, resolve_source_path
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import month_literal, reason, replace_month
from segment_pipeline.errors import SourceError
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline.sources.expressions import (
    NUMERIC_TYPES,
    bound,
    columns_of_ids_alone,
    expression_types,
    refuse_unfit_types,
    text_id,
    timestamp,
)
from segment_pipeline.sources.files import Relation, describe, local_files, open_files
from segment_pipeline.sources.tables import RAW_CUSTOMERS

# A clock that is ahead, or a time zone, is no wrong date.
CLOCK_TOLERANCE = timedelta(days=1)


@dataclass(frozen=True)
class LineCounts:
    """What became of the order lines. `in_window` are those that the features are made of.

    In no month at all, because their date is wrong: the source's `undated` lines, whose date is missing or cannot be
    read, and its `future` ones, later than the present. `undecided` lines of the window are left out because `where`
    is neither true nor false of them (NULL). The window's `anonymous_orders` have no customer id.
    """

    in_window: int
    undated: int
    future: int
    undecided: int
    anonymous_orders: int


@dataclass(frozen=True)
class SourceCounts:
    """What a month's reading of the source found. `rows` are raw customers; `lines` is None without order lines."""

    rows: int
    lines: LineCounts | None = None


def load_raw_customers(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> SourceCounts:
    """Read the configured source as it stood at the end of `month` and replace that month of `raw_customers`.

    Call it inside a transaction. Raises SourceError, naming file, column, found and expected.
    """
    counts = read_customers(connection, config, month)
    customers = f"SELECT {month_literal(month)} AS month, * FROM source_customers"
    replace_month(connection, RAW_CUSTOMERS, month, customers, config.raw_feature_names)
    connection.execute("DROP TABLE source_customers")
    return counts


def read_customers(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> SourceCounts:
    """Fill the temporary table `source_customers` with the source as it stood at the end of `month`: the columns of
    `raw_customers` but the month. Raises SourceError."""
    source = config.source
    # A table that the user's SQL lacks must not be found among the variables of this program.
    connection.execute("SET python_enable_replacements = false")
    # Relative paths in the user's SQL start where the configuration lies. DuckDB's own search path would come after
    # the current folder, and cannot hold a comma.
    with chdir(config.path.parent):
        if source.orders is not None:
            return _read_orders(connection, config, source.orders, month)
        if source.snapshots is not None:
            return _read_snapshot(connection, config, source.snapshots, month)
        if source.query is not None:
            return _read_query(connection, config, source.query, month)
        raise AssertionError("a source without orders, snapshots or query")  # the configuration admits exactly one


def numbers_of_source(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[str]:
    """Everything of a customer that could be a feature: what order lines with these keys give, or the columns of
    numbers of ready-made rows. Raises SourceError."""
    orders = config.source.orders
    if orders is not None:
        given = orders.model_dump(exclude_none=True)
        return [name for name, feature in ORDER_FEATURES.items() if not feature.lacks(given)]
    connection.execute("SET python_enable_replacements = false")
    with chdir(config.path.parent):
        relation, customer_id = _ready_made_rows(connection, config, month)
    described = describe(connection, f"SELECT * FROM {relation.sql} AS source")
    return [name for name, kind in described if NUMERIC_TYPES.match(kind) and name.lower() != customer_id.lower()]


def months_before(connection: duckdb.DuckDBPyConnection, config: Config, month: date, most: int) -> list[date]:
    """The months up to the one before `month`, at most so many, that the source shows as it would have then, without a
    gap; ascending.

    Of order lines: those with a line of their own whose window begins no earlier than the source does. Of snapshots:
    those whose file lies on this machine. Of the user's own SQL: none, for nobody knows how far back its tables hold
    all rows. Raises SourceError.
    """
    source, wanted = config.source, [add_months(month, -back) for back in range(1, most + 1)]
    with chdir(config.path.parent):
        if source.orders is not None:
            covered = _months_of_lines(connection, config, source.orders)
        elif source.snapshots is not None:
            covered = {one for one in wanted if _lies_here(source.snapshots, one, config)}
        else:
            covered = set()
    return list(takewhile(covered.__contains__, wanted))[::-1]


def _months_of_lines(connection: duckdb.DuckDBPyConnection, config: Config, orders: OrdersSource) -> set[date]:
    """The months that have an order line, and whose whole window the source covers."""
    path = resolve_source_path(orders.path, config.path.parent)
    source, expressions, types = _open_orders(connection, orders, path)
    try:
        found = connection.execute(f"""
            SELECT CAST(date_trunc('month', ordered_at) AS DATE) AS month, min(CAST(ordered_at AS DATE))
            FROM ({_order_lines(source, expressions, types)}) WHERE is_line AND isfinite(ordered_at)
            GROUP BY month ORDER BY month
        """).fetchall()
    except duckdb.Error as error:
        source.refuse_changed()
        raise _reading_failed(path, "order lines", error) from error
    source.refuse_changed()
    window = config.source.window_months
    return {month for month, _ in found if add_months(as_of(month), -window) >= found[0][1]}


def _lies_here(snapshots: SnapshotsSource, month: date, config: Config) -> bool:
    path = resolve_source_path(snapshots.path.replace("{month}", month_key(month)), config.path.parent)
    return "://" not in path and bool(local_files(path))


# --- order lines ------------------------------------------------------------------------------------------------------


def _read_orders(
    connection: duckdb.DuckDBPyConnection, config: Config, orders: OrdersSource, month: date
) -> SourceCounts:
    path = resolve_source_path(orders.path, config.path.parent)
    source, expressions, types = _open_orders(connection, orders, path)
    lines = _order_lines(source, expressions, types)
    window = (add_months(as_of(month), -config.source.window_months), as_of(month))
    try:
        counts = _count_lines(connection, lines, path, month, window)
        _fold_into_customers(connection, lines, window, _made(config, expressions))
        found = connection.execute(
            f"SELECT CAST(coalesce(sum({identifier(FREQUENCY)}), 0) AS BIGINT) "
            "FROM source_customers WHERE customer_id IS NULL OR trim(customer_id) = ''"
        ).fetchone()
    except duckdb.Error as error:
        source.refuse_changed()
        raise _reading_failed(path, "order lines", error) from error
    source.refuse_changed()
    anonymous = int(found[0]) if found else 0
    return SourceCounts(_count(connection, "source_customers"), LineCounts(**counts, anonymous_orders=anonymous))


def _made(config: Config, given: Collection[str]) -> list[OrderFeature]:
    """The features that a source with these keys of `source.orders` gives, and that somebody asks for."""
    return [
        feature
        for feature in ORDER_FEATURES.values()
        if not feature.lacks(given) and (not feature.costly or feature.name in config.feature_names)
    ]


def _open_orders(
    connection: duckdb.DuckDBPyConnection, orders: OrdersSource, path: str
) -> tuple[Relation, dict[str, str], dict[str, str]]:
    """The files, and the configured expressions over them with their types."""
    given = {key: str(text) for key, text in orders.model_dump(exclude={"path"}, exclude_none=True).items()}
    source = open_files(connection, path, columns_of_ids_alone(given, ("customer_id", "order_id", "product_id")))
    expressions = bound(given, source)
    types = expression_types(connection, source, "source.orders", expressions)
    refuse_unfit_types(source, "source.orders", given, types)
    return source, expressions, types


def load_orderers(connection: duckdb.DuckDBPyConnection, config: Config, start: date, end: date) -> None:
    """Fill the temporary table `orderers` with the customers who have an order line from `start` until before `end`,
    and what they spent.

    The source must be one of order lines. Raises SourceError.
    """
    query = f"""
        SELECT customer_id, CAST(coalesce(sum(amount), 0) AS DOUBLE) AS spend
        FROM lines WHERE ordered_at >= {_instant(start)} GROUP BY customer_id
    """
    _load_of_lines(connection, config, "orderers", query, end)


def load_order_lines(connection: duckdb.DuckDBPyConnection, config: Config, month: date, customers: str) -> None:
    """Fill the temporary table `order_lines` with the lines before the end of `month` of the customers in the relation
    `customers`, by their customer_id.

    The source must be one of order lines. Raises SourceError.
    """
    query = f"SELECT * FROM lines SEMI JOIN {customers} AS wanted USING (customer_id)"
    _load_of_lines(connection, config, "order_lines", query, as_of(month))


def load_order_days(connection: duckdb.DuckDBPyConnection, config: Config, month: date, customers: str) -> None:
    """Fill the temporary table `order_days` with the days on which the customers in the relation `customers` have
    ordered, ever and before the end of `month`, and what they spent: customer_id, day, spend.

    The source must be one of order lines. Raises SourceError.
    """
    query = f"""
        SELECT customer_id, CAST(ordered_at AS DATE) AS day, CAST(coalesce(sum(amount), 0) AS DOUBLE) AS spend
        FROM lines SEMI JOIN {customers} AS wanted USING (customer_id) GROUP BY customer_id, day
    """
    _load_of_lines(connection, config, "order_days", query, as_of(month))


def _load_of_lines(connection: duckdb.DuckDBPyConnection, config: Config, table: str, query: str, end: date) -> None:
    """Fill a temporary table with what a query makes of `lines`, the order lines before `end`."""
    orders = config.source.orders
    if orders is None:
        raise AssertionError("only order lines tell who ordered when")
    with chdir(config.path.parent):
        path = resolve_source_path(orders.path, config.path.parent)
        source, expressions, types = _open_orders(connection, orders, path)
        try:
            connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE {table} AS
                WITH lines AS (
                    SELECT * FROM ({_order_lines(source, expressions, types)})
                    WHERE is_line AND isfinite(ordered_at) AND ordered_at < {_instant(end)}
                )
                {query}
            """)
        except duckdb.Error as error:
            source.refuse_changed()
            raise _reading_failed(path, "order lines", error) from error
        source.refuse_changed()


def _instant(day: date) -> str:
    """The first instant of a day, as SQL."""
    return f"TIMESTAMP {literal(day.isoformat())}"


def fold_order_lines(connection: duckdb.DuckDBPyConnection, config: Config, lines: str, month: date) -> None:
    """Fill the temporary table `source_customers` as `read_customers` does, but from a relation of lines that has the
    columns of `order_lines`."""
    orders = config.source.orders
    if orders is None:
        raise AssertionError("only a source of order lines has features of them")
    window = (add_months(as_of(month), -config.source.window_months), as_of(month))
    _fold_into_customers(connection, lines, window, _made(config, orders.model_dump(exclude_none=True)))


def load_categories(connection: duckdb.DuckDBPyConnection, config: Config, month: date, expression: str) -> None:
    """Fill the temporary table `categories` with each customer of the month and the text of an expression over the
    source: of ready-made rows, the row's; of order lines, the commonest in the window, of several the smallest text.

    Raises SourceError where the expression is none over the source's columns, or the source cannot be read.
    """
    source, key = config.source, {"categorical": expression}
    connection.execute("SET python_enable_replacements = false")
    with chdir(config.path.parent):
        if source.orders is not None:
            path = resolve_source_path(source.orders.path, config.path.parent)
            relation, expressions, types = _open_orders(connection, source.orders, path)
            lines = _order_lines(relation, expressions, types, extra=_text_of_row(connection, relation, key))
            start, end = (_instant(day) for day in (add_months(as_of(month), -source.window_months), as_of(month)))
            rows = f"""
                SELECT customer_id, value, count(*) AS lines FROM ({lines})
                WHERE is_line AND ordered_at >= {start} AND ordered_at < {end} AND value IS NOT NULL
                GROUP BY customer_id, value
            """
        else:
            relation, customer_id = _ready_made_rows(connection, config, month)
            identity = text_id(identifier(customer_id), relation.columns[customer_id.lower()])
            value = _text_of_row(connection, relation, key)
            rows = f"SELECT {identity} AS customer_id, {value} AS value, 1 AS lines FROM {relation.sql} AS source"
        try:
            connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE categories AS SELECT customer_id, value FROM ({rows})
                QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY lines DESC, value) = 1
            """)
        except duckdb.Error as error:
            relation.refuse_changed()
            raise SourceError(
                f"{relation.path}: alternatives.categorical is {expression!r}; reading it failed: {reason(error)} "
                "Fix that key in the configuration, or the data."
            ) from error
        relation.refuse_changed()


def _text_of_row(connection: duckdb.DuckDBPyConnection, relation: Relation, key: Mapping[str, str]) -> str:
    """The expression as text, blank ones NULL. Raises SourceError where it is none over these columns."""
    given = bound(key, relation)
    expression_types(connection, relation, "alternatives", given)
    return f"nullif(trim(CAST(({given['categorical']}\n) AS VARCHAR)), '')"


def _ready_made_rows(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> tuple[Relation, str]:
    """The month's rows of a source of snapshots or of the user's own SQL, and the column that holds the customer."""
    source = config.source
    if source.snapshots is not None:
        return _open_snapshot(connection, config, source.snapshots, month), source.snapshots.customer_id
    if source.query is None:
        raise AssertionError("a source without orders, snapshots or query")
    return _run_query(connection, config, source.query, month), source.query.customer_id


def _order_lines(
    source: Relation, expressions: Mapping[str, str], types: Mapping[str, str], *, extra: str = "NULL"
) -> str:
    """The source's rows with settled names and types, and `is_line`; rows at or after as_of are still among them.

    extra : one more expression over the row, which becomes `value`. The newline after each expression ends a comment
    in it.
    """
    product_id = _key(expressions["product_id"], types["product_id"]) if "product_id" in expressions else "NULL"
    return f"""
        SELECT
            {text_id(expressions["customer_id"], types["customer_id"])} AS customer_id,
            {_key(expressions["order_id"], types["order_id"])} AS order_id,
            -- nothing but a cast: a filter on it then skips the parts of a Parquet file that hold other months
            {timestamp(expressions["ordered_at"], types["ordered_at"])} AS ordered_at,
            TRY_CAST(({expressions["amount"]}\n) AS DECIMAL(18, 4)) AS amount,
            {product_id} AS product_id,
            {extra} AS value,
            ({expressions.get("where", "true")}\n) AS is_line
        FROM {source.sql} AS source
    """


def _key(expression: str, kind: str) -> str:
    """What tells orders, or products, apart: the value in its own type, which is quicker than text; blank is NULL."""
    value = f"({expression}\n)"
    if kind == "VARCHAR":
        return f"CASE WHEN trim({value}) <> '' THEN {value} END"
    return f"CASE WHEN isfinite({value}) THEN {value} END" if kind in ("DOUBLE", "FLOAT") else value


def _fold_into_customers(
    connection: duckdb.DuckDBPyConnection, lines: str, window: tuple[date, date], made: Sequence[OrderFeature]
) -> None:
    """Fill `source_customers`: the features of a customer with at least one order in the window, from lines before its
    end only; NULL those that are not `made`.

    Lines are folded into orders, and orders into customers, one statement each, which spills to disk what does not fit
    into the memory limit; all at once would need room for every step together. Missing customer ids fold into one row:
    the contract rejects it, and the count stays honest.
    """
    start, end = map(_instant, window)
    in_window = f"is_line AND ordered_at >= {start} AND ordered_at < {end}"
    of = _aggregates(made, window[1])
    steps = {
        "source_orders": f"""
            SELECT customer_id, order_id, min(ordered_at) AS ordered_at, sum(amount) AS amount,
                count(DISTINCT product_id) AS products,
                count(*) FILTER (amount IS NULL) AS unreadable_amounts,
                count(*) FILTER (order_id IS NULL) AS missing_order_ids
            FROM ({lines}) WHERE {in_window} GROUP BY customer_id, order_id
        """,
        "source_history": f"""
            SELECT customer_id, CAST(min(ordered_at) AS DATE) AS first_seen {of["history"]}
            FROM ({lines}) WHERE is_line AND ordered_at < {end} AND isfinite(ordered_at) GROUP BY customer_id
        """,
        "source_window": f"""
            SELECT customer_id {of["lines"]}
            FROM ({lines}) WHERE {in_window if of["lines"] else "false"} GROUP BY customer_id
        """,
        "source_folded": f"""
            SELECT customer_id, CAST(sum(unreadable_amounts) AS BIGINT) AS unreadable_amounts,
                CAST(sum(missing_order_ids) AS BIGINT) AS missing_order_ids {of["orders"]}
            FROM source_orders GROUP BY customer_id
        """,
        "source_customers": f"""
            SELECT c.customer_id, first_seen, 1 AS copies, unreadable_amounts, missing_order_ids,
                CAST(MAP {{}} AS MAP(VARCHAR, VARCHAR)) AS unreadable_values
                {
            "".join(
                f", {'' if one in made else 'CAST(NULL AS DOUBLE) AS '}{identifier(name)}"
                for name, one in ORDER_FEATURES.items()
            )
        }
            FROM source_folded AS c
            LEFT JOIN source_history AS h ON h.customer_id IS NOT DISTINCT FROM c.customer_id
            LEFT JOIN source_window AS w ON w.customer_id IS NOT DISTINCT FROM c.customer_id
            ORDER BY c.customer_id
        """,
    }
    for table, query in steps.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")
    for table in steps:
        if table != "source_customers":
            connection.execute(f"DROP TABLE {table}")


def _aggregates(features: Iterable[OrderFeature], end: date) -> dict[str, str]:
    """What each feature is over -> those features as more columns of a SELECT from it, doubles by their names."""
    columns = {"orders": "", "lines": "", "history": ""}
    for feature in features:
        value = Template(feature.sql).substitute(as_of=f"DATE {literal(end.isoformat())}")
        columns[feature.over] += f", CAST({value} AS DOUBLE) AS {identifier(feature.name)}"
    return columns


def _count_lines(
    connection: duckdb.DuckDBPyConnection, lines: str, path: str, month: date, window: tuple[date, date]
) -> dict[str, int]:
    """How many lines there are of which kind. A month without a single one is a feed that is late: SourceError."""
    present = (datetime.now(UTC) + CLOCK_TOLERANCE).replace(tzinfo=None)
    dated = "is_line AND isfinite(ordered_at)"
    in_window = "ordered_at >= $start AND ordered_at < $end"
    found = connection.execute(
        f"""
        SELECT count(*) FILTER (is_line), count(*) FILTER (is_line AND {in_window}),
            count(*) FILTER (is_line AND ordered_at >= $month AND ordered_at < $end),
            count(*) FILTER (is_line AND (ordered_at IS NULL OR NOT isfinite(ordered_at))),
            -- counted only: what is in the features never depends on when they are made
            count(*) FILTER ({dated} AND ordered_at >= $present),
            count(*) FILTER (is_line IS NULL AND {in_window}),
            CAST(CAST(min(ordered_at) FILTER ({dated}) AS DATE) AS VARCHAR),
            CAST(CAST(max(ordered_at) FILTER ({dated}) AS DATE) AS VARCHAR)
        FROM ({lines})
        """,
        {"start": window[0], "end": window[1], "month": month, "present": present},
    ).fetchone()
    rows, in_window_count, in_month, undated, future, undecided, first, last = found or (0,) * 6 + (None, None)
    if rows == 0:
        raise SourceError(
            f"{path} holds no order lines (after source.orders.where). Deliver the data, then run the month again."
        )
    if in_month == 0:
        span = f"its lines go from {first} to {last}" if first is not None else "no line has a readable date"
        raise SourceError(
            f"{path} has no order line in {month_key(month)}: {span}. "
            f"Deliver that month's data, or set last_month in the configuration, then run again."
        )
    return {"in_window": in_window_count, "undated": undated, "future": future, "undecided": undecided}


# --- ready-made customer snapshots and the user's own SQL -------------------------------------------------------------


@contextmanager
def ready_made_rows(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, text_columns: Collection[str] = ()
) -> Iterator[tuple[Relation, str]]:
    """The rows of a source of ready-made customers, with all their columns, and which column holds the customer.

    text_columns : columns, in lower case, that a CSV's reader takes as they stand. Raises SourceError.
    """
    connection.execute("SET python_enable_replacements = false")
    source = config.source
    with chdir(config.path.parent):
        if source.snapshots is not None:
            customer_id = source.snapshots.customer_id
            yield _open_snapshot(connection, config, source.snapshots, month, text_columns), customer_id
        elif source.query is not None:
            relation = _run_query(connection, config, source.query, month)
            yield relation, source.query.customer_id
            connection.execute("DROP TABLE source_rows")
        else:
            raise AssertionError("order lines are no ready-made customers")


def _read_snapshot(
    connection: duckdb.DuckDBPyConnection, config: Config, snapshots: SnapshotsSource, month: date
) -> SourceCounts:
    source = _open_snapshot(connection, config, snapshots, month)
    return _store_ready_made(connection, source, snapshots.customer_id, config.feature_names)


def _open_snapshot(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    snapshots: SnapshotsSource,
    month: date,
    text_columns: Collection[str] = (),
) -> Relation:
    path = resolve_source_path(snapshots.path.replace("{month}", month_key(month)), config.path.parent)
    return open_files(connection, path, {snapshots.customer_id.lower(), *text_columns})


def _read_query(
    connection: duckdb.DuckDBPyConnection, config: Config, source: QuerySource, month: date
) -> SourceCounts:
    relation = _run_query(connection, config, source, month)
    counts = _store_ready_made(connection, relation, source.customer_id, config.feature_names)
    connection.execute("DROP TABLE source_rows")
    return counts


def _run_query(connection: duckdb.DuckDBPyConnection, config: Config, source: QuerySource, month: date) -> Relation:
    """The result of the user's SQL as the temporary table `source_rows`."""
    file = config.path.parent / source.file
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(
            f"{file} cannot be read: {error.strerror}. Fix source.query.file in the configuration."
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} cannot be read: it is not UTF-8 text. Save it as UTF-8.") from error
    window_start = add_months(as_of(month), -config.source.window_months)
    dates = {"as_of": as_of(month), "month_start": month, "window_start": window_start}
    used = _dates_used(connection, text, str(file))
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE source_rows AS {text}", {name: dates[name.lower()] for name in used}
        )
    except duckdb.Error as error:
        raise SourceError(f"{file}{_line(error)} fails: {reason(error)} Fix the SQL, or the data it reads.") from error
    columns = {name.lower(): kind for name, kind in describe(connection, "source_rows")}
    return Relation("source_rows", str(file), columns)


def _dates_used(connection: duckdb.DuckDBPyConnection, text: str, path: str) -> set[str]:
    """Which of our dates the user's SQL names; SourceError when it is not one query, or asks for something else."""
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise SourceError(f"{path}{_line(error)} is not SQL: {reason(error)} Fix the SQL.") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "no statement"
        raise SourceError(
            f"{path}: found {kinds}; expected one query (SELECT or WITH ... SELECT) that returns a customer and its "
            f"features. Fix the SQL."
        )
    names = set(statements[0].named_parameters)
    unknown = sorted(name for name in names if name.lower() not in ("as_of", "month_start", "window_start"))
    if unknown:
        raise SourceError(
            f"{path}: found the parameter {', '.join('$' + name for name in unknown)}; expected $as_of, $month_start "
            f"or $window_start. Fix the SQL."
        )
    return names


def _line(error: duckdb.Error) -> str:
    found = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    return f":{found[1]}" if found else ""


def _store_ready_made(
    connection: duckdb.DuckDBPyConnection, source: Relation, customer_id: str, feature_names: Sequence[str]
) -> SourceCounts:
    _refuse_unfit_columns(source, customer_id, feature_names)
    try:
        _create_source_customers(connection, _ready_made_features(source, customer_id, feature_names))
    except duckdb.Error as error:
        source.refuse_changed()
        raise _reading_failed(source.path, "customers", error) from error
    source.refuse_changed()
    rows = _count(connection, "source_customers")
    if rows == 0:
        raise SourceError(f"{source.path} holds no customers. Deliver the data, then run the month again.")
    return SourceCounts(rows)


def _refuse_unfit_columns(source: Relation, customer_id: str, feature_names: Sequence[str]) -> None:
    expected = (customer_id, *feature_names)
    missing = [name for name in expected if name.lower() not in source.columns]
    if missing:
        raise SourceError(
            f"{source.path}: column {', '.join(missing)} is missing. Expected {', '.join(expected)}; "
            f"found {source.column_list}. Fix the source, or the names in the configuration."
        )
    for name in expected:
        if name.lower() in source.incomplete:
            raise SourceError(
                f"{source.incomplete[name.lower()]}: column {name} is missing; other files of {source.path} have it. "
                f"Deliver that file again, then run the month again."
            )
    for name in feature_names:
        found = source.columns[name.lower()]
        if not (NUMERIC_TYPES.match(found) or found == "VARCHAR"):
            raise SourceError(
                f"{source.path}: column {name}: found {found}; expected a number. "
                f"Make it a number in the source (for a date: the days since it), then run again."
            )


def _ready_made_features(source: Relation, customer_id: str, feature_names: Sequence[str]) -> str:
    """One row per source row: the features as numbers where they read as numbers, their text where they do not."""
    numbers = ", ".join(f"TRY_CAST({identifier(name)} AS DOUBLE) AS {identifier(name)}" for name in feature_names)
    unreadable = ", ".join(
        f"CASE WHEN TRY_CAST({identifier(name)} AS DOUBLE) IS NULL AND {identifier(name)} IS NOT NULL "
        f"THEN {{'key': {literal(name)}, 'value': CAST({identifier(name)} AS VARCHAR)}} END"
        for name in feature_names
    )
    identity = text_id(identifier(customer_id), source.columns[customer_id.lower()])
    return f"""
        SELECT {identity} AS customer_id, CAST(NULL AS DATE) AS first_seen,
            CASE WHEN {identity} IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY {identity}) END AS copies,
            CAST(0 AS BIGINT) AS unreadable_amounts, CAST(0 AS BIGINT) AS missing_order_ids,
            map_from_entries(list_filter([{unreadable}], lambda entry: entry IS NOT NULL)) AS unreadable_values,
            {numbers}
        FROM {source.sql} AS source
        ORDER BY ALL
    """


# --- what all of them need --------------------------------------------------------------------------------------------


def _create_source_customers(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE source_customers AS {query}")


def _reading_failed(path: str, what: str, error: duckdb.Error) -> SourceError:
    if isinstance(error, duckdb.OutOfMemoryException):
        advice = "Raise operation.memory_limit in the configuration, or free disk space beside the warehouse."
    else:
        advice = "Deliver the data again, or fix the expressions under `source`, then run the month again."
    return SourceError(f"{path}: reading the {what} failed: {reason(error)} {advice}")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0
