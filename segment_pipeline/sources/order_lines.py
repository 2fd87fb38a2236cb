"""The order lines of the user's files as one relation with settled names and types, and what is asked of it directly.

Here: opening and copying lines. Not here: the features that are made of them (folding.py), and what became of each
(reconciliation.py).

Amounts are exact decimals: a parallel sum of doubles depends on the order of the threads, and then the same month would
not give the same bits twice.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.source import OrdersSource, resolve_source_path
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import month_literal
from segment_pipeline.errors import SourceError
from segment_pipeline.months import add_months, as_of
from segment_pipeline.sources.aggregates import named_columns
from segment_pipeline.sources.expressions import (
    bound,
    category_text,
    columns_of_ids_alone,
    expression_types,
    is_date,
    mentions,
    reading_failed,
    refuse_unfit_types,
    text_id,
    timestamp,
    with_columns,
)
from segment_pipeline.sources.files import Form, Relation, open_files, open_table
from segment_pipeline.sources.people.delivered import Delivered, delivered
from segment_pipeline.sources.products import CATEGORY, PRODUCTS, Products, open_products
from segment_pipeline.sources.tables import FOLDED_MONTHS, FOLDED_ORDERS, SOURCE_MONTHS

# A clock that is ahead, or a time zone, is no wrong date.
CLOCK_TOLERANCE = timedelta(days=1)

ORDER_LINES = "order lines"
"""What they are called among the feeds of a source."""
AMOUNT = "DECIMAL(18, 4)"
"""Money as a line has it."""
LINE_COLUMNS = ("customer_id", "order_id", "ordered_at", "amount", "product_id", "category", "is_line")
"""The settled columns of a line, whatever the source calls its own."""


@dataclass(frozen=True)
class OrderLines:
    """The files, the configured expressions over a row of them with their types, and the source's own columns that are
    carried beside the settled ones, for the features that name them. products : where their categories come from, if
    not from the line, and somebody asks for them: to look up the product of each line takes its time. people : the
    source's rows with their customers. time_zone : whose local times moments become."""

    source: Relation
    people: Delivered
    expressions: Mapping[str, str]
    types: Mapping[str, str]
    carried: tuple[str, ...] = ()
    products: Products | None = None
    time_zone: str = "UTC"

    def sql(self, **more: str) -> str:
        """The source's rows with settled names and types, and `is_line`; rows at or after as_of are still among them.

        more : expressions over a row of the source, by the names that they get. The newline after each expression ends
        a comment in it.
        """
        of, kinds = self.expressions, self.types
        product_id = _key(of["product_id"], kinds["product_id"]) if "product_id" in of else "NULL"
        category = category_text(of["category"], kinds["category"]) if "category" in of else "NULL"
        joins = ""
        if self.products is not None:
            category = f"products.{identifier(CATEGORY)}"
            joins = f" LEFT JOIN {PRODUCTS} AS products ON {self.products.is_of(of['product_id'], kinds['product_id'])}"
        others = {name: f"source.{identifier(name)}" for name in self.carried} | more
        return f"""
            SELECT
                {self.people.customer_id} AS customer_id,
                {_key(of["order_id"], kinds["order_id"])} AS order_id,
                -- nothing but a cast: a filter on it then skips the parts of a Parquet file that hold other months
                {timestamp(of["ordered_at"], kinds["ordered_at"], self.time_zone)} AS ordered_at,
                TRY_CAST(({of["amount"]}\n) AS {AMOUNT}) AS amount,
                {product_id} AS product_id,
                {category} AS category,
                ({of.get("where", "true")}\n) AS is_line
                {"".join(f", {text} AS {identifier(name)}" for name, text in others.items())}
            FROM {self.people.rows(joins)}
        """

    def refuse_changed(self) -> None:
        """Raises SourceError if a file is not what it was when it was opened."""
        self.source.refuse_changed()
        if self.products is not None:
            self.products.source.refuse_changed()

    def failed(self, error: duckdb.Error) -> SourceError:
        """What to raise where reading the lines has failed."""
        self.refuse_changed()
        return reading_failed(self.source, "order lines", error)


def open_order_lines(connection: duckdb.DuckDBPyConnection, config: Config, *, categories: bool = False) -> OrderLines:
    """The files, opened, and the expressions over them, typed. Raises SourceError.

    Relative paths start in the current folder: be where the configuration lies. categories : whether the file of
    products that may give them is read; without it, the lines of such a source have none.
    """
    orders = orders_of(config)
    given = orders.expressions
    once = orders.repeats == "once"
    if orders.table is not None:
        source = open_table(connection, orders.table, "source.orders", once=once)
    else:
        source = open_files(
            connection,
            [resolve_source_path(path, config.path.parent) for path in orders.path],
            columns_of_ids_alone(given, ("customer_id", "order_id", "product_id")),
            form=Form(orders.as_text, orders.separator, once=once),
        )
    source = with_columns(connection, source, "source.orders", orders.columns)
    expressions = bound(given, source)
    types = expression_types(connection, source, "source.orders", expressions)
    refuse_unfit_types(source, "source.orders", given, types)
    named = named_columns([one.of_lines for one in config.features if one.of_lines is not None])
    carried = tuple(sorted(name for name in named if name in source.columns and name not in LINE_COLUMNS))
    products = (
        open_products(connection, config, config.source.products) if categories and config.source.products else None
    )
    identity = text_id(expressions["customer_id"], types["customer_id"])
    people = delivered(connection, source, identity, "order lines")
    return OrderLines(source, people, expressions, types, carried, products, config.source.time_zone)


def lost_by_rounding(connection: duckdb.DuckDBPyConnection, lines: OrderLines) -> float:
    """The share, 0..1, by which the amounts of the source differ from what is kept of them, AMOUNT: next to nothing for
    money, and all of it for prices of a hundred-thousandth. Raises duckdb.Error."""
    if re.match(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(\d+,[0-4]\))$", lines.types["amount"]):
        return 0.0
    found = connection.execute(f"""
        SELECT sum(abs(given - CAST(kept AS DOUBLE))) / nullif(sum(abs(given)), 0) FROM (
            SELECT given, TRY_CAST(given AS {AMOUNT}) AS kept FROM (
                SELECT CAST(({lines.expressions["amount"]}\n) AS DOUBLE) AS given FROM {lines.source.sql} AS source
            )
        ) WHERE kept IS NOT NULL
    """).fetchone()
    return float(found[0] or 0) if found else 0.0


def unreadable_date(connection: duckdb.DuckDBPyConnection, config: Config) -> str | None:
    """What is written where one of the order lines should have its date; None where nothing is.
    Raises SourceError."""
    with chdir(config.path.parent):
        lines = open_order_lines(connection, config)
        columns = [identifier(name) for name in lines.source.columns if mentions(lines.expressions["ordered_at"], name)]
        written = f"concat_ws(' ', {', '.join(['NULL', *(f'CAST({name} AS VARCHAR)' for name in columns)])})"
        try:
            found = connection.execute(f"""
                SELECT min(written) FROM ({lines.sql(written=written)})
                WHERE is_line AND NOT coalesce({is_date("ordered_at")}, false) AND trim(written) <> ''
            """).fetchone()
        except duckdb.Error as error:
            raise lines.failed(error) from error
    return None if found is None else found[0]


def orders_of(config: Config) -> OrdersSource:
    """The section `source.orders`, of a configuration that has it."""
    if config.source.orders is None:
        raise AssertionError("only order lines tell who ordered when")
    return config.source.orders


def window_of(config: Config, month: date) -> tuple[date, date]:
    """The days from which on, and before which, order lines count in the month's features."""
    return add_months(as_of(month), -config.source.window_months), as_of(month)


def instant(day: date) -> str:
    """The first instant of a day, as SQL."""
    return f"TIMESTAMP {literal(day.isoformat())}"


def covered_months(connection: duckdb.DuckDBPyConnection, config: Config) -> set[date]:
    """The months that have an order line, and whose whole window the source covers; a date later than the present, as
    9999-12-31 is, is none."""
    lines, present = open_order_lines(connection, config), datetime.now(UTC).date() + CLOCK_TOLERANCE
    try:
        found = connection.execute(f"""
            SELECT CAST(date_trunc('month', ordered_at) AS DATE) AS month, min(CAST(ordered_at AS DATE))
            FROM ({lines.sql()})
            WHERE is_line AND {is_date("ordered_at")} AND ordered_at < {instant(present)}
            GROUP BY month ORDER BY month
        """).fetchall()
    except duckdb.Error as error:
        raise lines.failed(error) from error
    lines.refuse_changed()
    return {month for month, _ in found if window_of(config, month)[0] >= found[0][1]}


def first_month_with(
    connection: duckdb.DuckDBPyConnection, config: Config, months: Sequence[date], enough: float
) -> date | None:
    """The first of the months in whose window so many customers have an order line; None where there is none, or no
    source of order lines. Raises SourceError."""
    if config.source.orders is None or not months:
        return None
    lines = open_order_lines(connection, config)
    windows = ", ".join(
        f"bool_or(ordered_at >= {instant(start)} AND ordered_at < {instant(end)}) AS window_{number}"
        for number, (start, end) in enumerate(window_of(config, month) for month in months)
    )
    counts = ", ".join(f"count(*) FILTER (window_{number})" for number in range(len(months)))
    people = f"SELECT {windows} FROM ({lines.sql()}) WHERE is_line AND trim(customer_id) <> '' GROUP BY customer_id"
    try:
        found = connection.execute(f"SELECT {counts} FROM ({people})").fetchone()
    except duckdb.Error as error:
        raise lines.failed(error) from error
    return next((month for month, customers in zip(months, found or (), strict=True) if customers >= enough), None)


def load_orderers(connection: duckdb.DuckDBPyConnection, config: Config, month: date, start: date, end: date) -> None:
    """Fill the temporary table `orderers` with the customers who have an order line from `start` until before `end`,
    at most that of `month`, and what they spent.

    The source must be one of order lines. Raises SourceError.
    """
    query = f"""
        SELECT customer_id, CAST(coalesce(sum(amount), 0) AS DOUBLE) AS spend
        FROM lines WHERE ordered_at >= {instant(start)} AND ordered_at < {instant(end)} GROUP BY customer_id
    """
    _load_of_days(connection, config, "orderers", query, month)


def load_order_days(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, customers: str | None = None
) -> None:
    """Fill the temporary table `order_days` with the days on which the customers in the relation `customers`, or all,
    have ordered, ever and before the end of `month`, and what they spent: customer_id, day, spend.

    The source must be one of order lines. Raises SourceError.
    """
    among = "" if customers is None else f"SEMI JOIN {customers} AS wanted USING (customer_id)"
    query = f"""
        SELECT customer_id, CAST(ordered_at AS DATE) AS day, CAST(coalesce(sum(amount), 0) AS DOUBLE) AS spend
        FROM lines {among} GROUP BY customer_id, day
    """
    _load_of_days(connection, config, "order_days", query, month)


def _load_of_days(connection: duckdb.DuckDBPyConnection, config: Config, table: str, query: str, month: date) -> None:
    """As `_load_of_lines`, where the query asks for nothing but amounts by customer and day: what `month` has folded
    tells it too, and is quicker to read."""
    if not is_folded(connection, month):
        _load_of_lines(connection, config, table, query, month)
        return
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {table} AS
        WITH lines AS (SELECT * FROM {FOLDED_ORDERS.name} WHERE ordered_at < {instant(as_of(month))})
        {query}
    """)


def is_folded(connection: duckdb.DuckDBPyConnection, month: date) -> bool:
    """Whether `folded_orders` has what the month stands on: not where an earlier version has run it, or where the
    source has changed since and a later month has folded that."""
    found = connection.execute(f"""
        SELECT count(*) > 0 AND count(*) = count(f.of_month) FROM {SOURCE_MONTHS.name} AS s
        LEFT JOIN {FOLDED_MONTHS.name} AS f USING (feed, of_month, fingerprint)
        WHERE s.month = {month_literal(month)} AND feed = {literal(ORDER_LINES)}
    """).fetchone()
    return found == (True,)


def load_order_lines(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, customers: str, *, categories: bool = True
) -> None:
    """Fill the temporary table `order_lines` with the lines before the end of `month` of the customers in the relation
    `customers`, by their customer_id. categories : whether somebody asks for them.

    The source must be one of order lines. Raises SourceError.
    """
    query = f"SELECT * FROM lines SEMI JOIN {customers} AS wanted USING (customer_id)"
    _load_of_lines(connection, config, "order_lines", query, month, categories=categories)


def _load_of_lines(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    table: str,
    query: str,
    month: date,
    *,
    categories: bool = False,
) -> None:
    """Fill a temporary table with what a query makes of `lines`, the order lines before the end of `month`."""
    with chdir(config.path.parent):
        lines = open_order_lines(connection, config, categories=categories)
        try:
            connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE {table} AS
                WITH lines AS (
                    SELECT * FROM ({lines.sql()})
                    WHERE is_line AND {is_date("ordered_at")} AND ordered_at < {instant(as_of(month))}
                )
                {query}
            """)
        except duckdb.Error as error:
            raise lines.failed(error) from error
        lines.refuse_changed()


def _key(expression: str, kind: str) -> str:
    """What tells orders, or products, apart: the value in its own type, which is quicker than text; blank is NULL."""
    value = f"({expression}\n)"
    if kind == "VARCHAR":
        return f"CASE WHEN trim({value}) <> '' THEN {value} END"
    return f"CASE WHEN isfinite({value}) THEN {value} END" if kind in ("DOUBLE", "FLOAT") else value
