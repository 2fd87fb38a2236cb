"""Order lines folded into customers: one row each, with the features that order lines give.

A month is aggregated from the lines, or from what earlier months have folded of them (over_time/folded.py), to the same
bits: an order or a product that spans two months is counted once. Here: the statements. Not here: which features there
are (config/order_features.py), and how those of the user's own are checked (aggregates.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from string import Template
from typing import Literal

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import FREQUENCY, ORDER_FEATURES
from segment_pipeline.config.source import Feature
from segment_pipeline.database.quoting import identifier, literal, number, visible
from segment_pipeline.sources.aggregates import named_columns, settled
from segment_pipeline.sources.categories import fold_categories
from segment_pipeline.sources.events import Feed, fold_events, refuse_strangers, value_of
from segment_pipeline.sources.expressions import is_date
from segment_pipeline.sources.order_lines import instant, window_of

FOLDED = """
    min(ordered_at) AS ordered_at, sum(amount) AS amount,
    count(*) FILTER (amount IS NULL) AS unreadable_amounts, count(*) FILTER (order_id IS NULL) AS missing_order_ids,
    count(*) AS lines, count(*) FILTER (amount < 0) AS below_zero, sum(amount) FILTER (amount < 0) AS below_zero_money
"""
"""The lines of an order as one row, but for its products."""

HASHED = "CASE WHEN order_id IS NOT NULL THEN hash(order_id) END"
"""What stands for the id of an order in `folded_orders`, as SQL over a line."""

_ADDED = ("products", "unreadable_amounts", "missing_order_ids", "lines", "below_zero")
MERGED = f"""
    min(ordered_at) AS ordered_at, sum(amount) AS amount, sum(below_zero_money) AS below_zero_money,
    {", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in _ADDED)}
"""
"""Such rows of parts of an order as one row: the same, but of products, which may be in several of them."""


@dataclass(frozen=True)
class Made:
    """A feature as SQL: an aggregate over the rows that a customer has in one of these relations."""

    name: str
    over: Literal["orders", "lines", "categories", "history"]
    sql: str


def fold_order_lines(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    lines: str,
    month: date,
    feeds: Sequence[Feed] = (),
    plain: str = "",
    *,
    folded: str = "",
    accounted: bool = True,
) -> dict[str, int]:
    """Fill the temporary table `source_customers` with a row for every customer who has an order in the month's window,
    or as `source.customers` says an event: the columns of `raw_customers` but the month. Features that nobody asks for
    are NULL, and those of events where no feeds are given. Returns how many customers have no event of each feed.

    The lines of each known customer that have an amount are counted in the temporary table `source_accounts`, if the
    month is `accounted` for.

    lines : a query with the columns of `OrderLines.sql`. Of lines with categories, what each customer spent on which
    stays in the temporary tables of categories.py; they are empty otherwise. plain : the same lines without their
    categories, if these take time to look up. folded : a relation as `folded_orders` that has them all, up to the
    month's end, if there is one. Unless the features need lines (`need_lines`), it is enough then if `lines` has those
    of orders that stand in several of its rows.

    Lines are folded into orders, and orders into customers, one statement each, which spills to disk what does not fit
    into the memory limit; all at once would need room for every step together. Missing customer ids fold into one row:
    the contract rejects it, and the count stays honest.
    """
    start, end = map(instant, window_of(config, month))
    of_month = f"ordered_at >= {instant(month)}"
    in_window = f"ordered_at >= {start} AND ordered_at < {end}"
    made = _made(connection, config, lines, window_of(config, month)[1])
    of = {
        over: _columns(one for one in made if one.over == over) for over in ("orders", "lines", "categories", "history")
    }
    of_events = {f"source_events_{index}": feed for index, feed in enumerate(feeds)}
    for table, feed in of_events.items():
        fold_events(connection, feed, config, month, table, _made_of_events(connection, config, feed, month))
    has_categories = "category" in config.source.given
    plain = plain or lines
    past = folded or f"(FROM ({plain}) WHERE is_line)"
    named = named_columns([one.of_lines for one in config.features if one.of_lines is not None])
    steps = {
        "source_orders": f"""
            SELECT customer_id, order_id, {MERGED if folded else f"{FOLDED}, count(DISTINCT product_id) AS products"},
                count(*) AS rows
            FROM {past} WHERE {in_window} GROUP BY customer_id, order_id
        """,
        "source_accounts": f"""
            SELECT customer_id, CAST(sum(lines - unreadable_amounts) AS BIGINT) AS lines, count(*) AS orders,
                sum(amount) AS money, CAST(sum(below_zero) AS BIGINT) AS below_zero,
                sum(below_zero_money) AS below_zero_money, count(*) FILTER ({of_month}) AS month_orders,
                coalesce(sum(amount) FILTER ({of_month}), 0) AS month_money
            FROM source_orders WHERE lines > unreadable_amounts AND {visible("customer_id")} GROUP BY customer_id
            {_without_orders(config, of_events)}
        """,
        "source_history": f"""
            SELECT customer_id, CAST(min(ordered_at) AS DATE) AS first_seen {of["history"]}
            FROM {past} WHERE ordered_at < {end} AND {is_date("ordered_at")} GROUP BY customer_id
        """,
        "source_window": f"""
            SELECT customer_id {of["lines"]}
            FROM ({lines if "category" in named else plain})
            WHERE {in_window if of["lines"] else "false"} AND is_line GROUP BY customer_id
        """,
        # one row: what the user's own aggregates are over no lines
        "source_no_lines": f"SELECT count(*) AS customer_id {of['lines']} FROM ({lines}) WHERE false",
        "source_categories": f"""
            SELECT customer_id, category, greatest(coalesce(sum(amount), 0), 0) AS spend, count(*) AS lines
            FROM ({lines}) WHERE {in_window if has_categories else "false"} AND is_line GROUP BY customer_id, category
        """,
        "source_folded": f"""
            SELECT customer_id, CAST(sum(unreadable_amounts) AS BIGINT) AS unreadable_amounts,
                CAST(sum(missing_order_ids) AS BIGINT) AS missing_order_ids {of["orders"]}
            FROM source_orders GROUP BY customer_id
        """,
        "source_customers": f"""
            SELECT c.customer_id, {_first_seen(config, of_events)} AS first_seen, 1 AS copies,
                coalesce(unreadable_amounts, 0) AS unreadable_amounts,
                coalesce(missing_order_ids, 0) AS missing_order_ids,
                CAST(MAP {{}} AS MAP(VARCHAR, VARCHAR)) AS unreadable_values
                {_values(config, _of_orders(config, made) | _ratios(config.features) | _of_events(of_events))}
            FROM {_everybody(config, of_events, [one.name for one in made if one.over == "orders"])} AS c
            LEFT JOIN source_history AS h ON h.customer_id IS NOT DISTINCT FROM c.customer_id
            LEFT JOIN source_window AS w ON w.customer_id IS NOT DISTINCT FROM c.customer_id
            LEFT JOIN source_shares AS s ON s.customer_id IS NOT DISTINCT FROM c.customer_id
            {
            "".join(
                f"LEFT JOIN {table} ON {table}.customer_id = c.customer_id "
                f"CROSS JOIN (SELECT * FROM {table} WHERE customer_id IS NULL) AS {table}_none "
                for table in of_events
            )
        }
            CROSS JOIN source_no_lines AS n
            ORDER BY c.customer_id
        """,
    }
    if not accounted:
        del steps["source_accounts"]
    for table, query in steps.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}")
        if table == "source_orders" and folded and "product_id" in config.source.given:
            _count_products(connection, f"({plain}) WHERE {in_window} AND is_line")
        if table == "source_categories":
            fold_categories(connection, of["categories"] + _spent_columns(config.features))
    for table, feed in of_events.items() if accounted else ():
        refuse_strangers(connection, feed, table, "source_folded")
    silent = {feed.name: _silent(connection, table) for table, feed in of_events.items()}
    for table in (*steps, *of_events):
        if table not in ("source_customers", "source_categories", "source_accounts"):
            connection.execute(f"DROP TABLE {table}")
    return silent


def need_lines(config: Config) -> bool:
    """Whether a feature is made of the lines of the window, or of their categories: no sum of orders tells it."""
    return any(
        one.of_lines is not None
        or one.spend_share is not None
        or one.spend_ratio is not None
        or (one.name in ORDER_FEATURES and ORDER_FEATURES[one.name].over in ("lines", "categories"))
        for one in config.features
    )


def _count_products(connection: duckdb.DuckDBPyConnection, window: str) -> None:
    """Count the different products of orders that were merged from several rows: each of these has counted its own.
    window : the lines, as what stands behind FROM."""
    several = "SELECT customer_id, order_id FROM source_orders WHERE rows > 1"
    if not connection.execute(f"{several} LIMIT 1").fetchone():
        return
    connection.execute(f"""
        UPDATE source_orders AS o SET products = n.products FROM (
            SELECT l.customer_id, l.order_id, count(DISTINCT product_id) AS products
            FROM (SELECT customer_id, {HASHED} AS order_id, product_id FROM {window}) AS l
            JOIN ({several}) AS s ON s.customer_id IS NOT DISTINCT FROM l.customer_id
                AND s.order_id IS NOT DISTINCT FROM l.order_id
            GROUP BY l.customer_id, l.order_id
        ) AS n WHERE n.customer_id IS NOT DISTINCT FROM o.customer_id AND n.order_id IS NOT DISTINCT FROM o.order_id
    """)


def _made(connection: duckdb.DuckDBPyConnection, config: Config, lines: str, end: date) -> list[Made]:
    """The features that the source gives, and that somebody asks for."""
    given = config.source.given
    made = [
        Made(one.name, one.over, Template(one.sql).substitute(as_of=f"DATE {literal(end.isoformat())}"))
        for one in ORDER_FEATURES.values()
        if not one.lacks(given) and (not one.costly or one.name in config.feature_names)
    ]
    made += [
        Made(one.name, "categories", _share(one.spend_share)) for one in config.features if one.spend_share is not None
    ]
    own = {one.name: one.of_lines for one in config.features if one.of_lines is not None}
    return made + [Made(name, "lines", settled(connection, text, f"({lines})", end)) for name, text in own.items()]


def _share(category: str) -> str:
    """What part of a customer's spend is on the category, as an aggregate over `source_categories`; NULL where nothing
    was spent. Sums of decimals are exact."""
    return f"{_spent_on(category)} / nullif(CAST(sum(spend) AS DOUBLE), 0)"


def _spent_on(category: str) -> str:
    return f"CAST(coalesce(sum(spend) FILTER (category = {literal(category)}), 0) AS DOUBLE)"


def _centred(features: Sequence[Feature]) -> list[str]:
    """The categories that a feature is a ratio of, each once."""
    return sorted({one.spend_ratio for one in features if one.spend_ratio is not None})


def _spent_columns(features: Sequence[Feature]) -> str:
    """What ratios are made of, as more columns of a SELECT from `source_categories`. They stand in parentheses, so that
    no feature is likely to be called so."""
    spent = [f"{_spent_on(category)} AS {identifier(f'(spent on {category})')}" for category in _centred(features)]
    return "".join(f", {column}" for column in (*spent, 'CAST(sum(spend) AS DOUBLE) AS "(spent)"'))


def _ratios(features: Sequence[Feature]) -> dict[str, str]:
    """Features that are a ratio -> their value, from `_spent_columns` and the number of orders; NULL where nothing was
    spent.

    Ratios are centred: the logarithm of what was spent on each of the categories that have one, and on all others
    together, less the mean of these logarithms (Aitchison 1986), after half an order of the customer's usual value was
    added to each. So a category without spend is told as finely as the customer's orders can tell it.
    """
    on = {category: f"s.{identifier(f'(spent on {category})')}" for category in _centred(features)}
    half = f'(0.5E0 * s."(spent)" / c.{identifier(FREQUENCY)})'
    rest = " - ".join(['s."(spent)"', *on.values()])
    mean = " + ".join(f"ln({part} + {half})" for part in (*on.values(), f"({rest})"))
    return {
        one.name: f'CASE WHEN s."(spent)" > 0 THEN ln({on[one.spend_ratio]} + {half}) - ({mean}) / {len(on) + 1} END'
        for one in features
        if one.spend_ratio is not None
    }


def _columns(made: Iterable[Made]) -> str:
    """Features as more columns of a SELECT, doubles by their names."""
    return "".join(f", CAST({one.sql} AS DOUBLE) AS {identifier(one.name)}" for one in made)


def _made_of_events(connection: duckdb.DuckDBPyConnection, config: Config, feed: Feed, month: date) -> dict[str, str]:
    """The features of a feed as aggregates over its rows."""
    end = window_of(config, month)[1]
    return {one.name: settled(connection, value_of(one), f"({feed.sql()})", end) for one in feed.features}


def _silent(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(
        f"SELECT count(*) FROM source_customers ANTI JOIN {table} USING (customer_id)"
    ).fetchone()
    return int(found[0]) if found else 0


def _everybody(config: Config, of_events: Mapping[str, Feed], of_orders: Sequence[str]) -> str:
    """A relation with the customers of the month, and what their orders were folded into where they have any. of_orders
    : the features among that."""
    if config.source.customers == "orders":
        return "source_folded"
    counts = ("unreadable_amounts", "missing_order_ids")
    folded = "".join(f", {identifier(name)}" for name in (*counts, *of_orders))
    nothing = "".join(f", CAST(NULL AS {kind})" for kind in (*["BIGINT"] * len(counts), *["DOUBLE"] * len(of_orders)))
    return f"""(
        SELECT customer_id, true AS "(ordered)" {folded} FROM source_folded
        UNION ALL
        SELECT customer_id, false {nothing} FROM ({_with_events(of_events)}) ANTI JOIN source_folded USING (customer_id)
    )"""


def _with_events(of_events: Iterable[str]) -> str:
    return " UNION ".join(f"SELECT customer_id FROM {table} WHERE customer_id IS NOT NULL" for table in of_events)


def _without_orders(config: Config, of_events: Iterable[str]) -> str:
    """More rows of `source_accounts`: of customers who have events alone, who spent nothing."""
    if config.source.customers == "orders":
        return ""
    return f"""
        UNION ALL
        SELECT customer_id, 0 AS lines, 0 AS orders, 0 AS money, 0 AS below_zero, NULL AS below_zero_money,
            0 AS month_orders, 0 AS month_money
        FROM ({_with_events(of_events)}) ANTI JOIN source_orders USING (customer_id) WHERE {visible("customer_id")}
    """


def _first_seen(config: Config, of_events: Mapping[str, Feed]) -> str:
    """The day of the first order, or of the first event where that makes a customer."""
    if config.source.customers == "orders":
        return "first_seen"
    of_events_too = "".join(f', {table}."(first event)"' for table in of_events)
    return f"least(first_seen{of_events_too})"  # passes over NULL


def _of_orders(config: Config, made: Sequence[Made]) -> dict[str, str]:
    """Features of orders and their lines -> their value: of who has none in the window, of the user's own what the
    aggregate is over no lines, and of the others what they declare."""
    of = {one.name: f"w.{identifier(one.name)}" if one.over == "lines" else identifier(one.name) for one in made}
    if config.source.customers == "orders":
        return of
    for one in made:
        if one.name not in ORDER_FEATURES and one.over == "lines":
            of[one.name] = f'CASE WHEN "(ordered)" THEN {of[one.name]} ELSE n.{identifier(one.name)} END'
        elif one.name in ORDER_FEATURES and (value := ORDER_FEATURES[one.name].of_nothing) is not None:
            of[one.name] = f'CASE WHEN "(ordered)" THEN {of[one.name]} ELSE {number(value)} END'
    return of


def _of_events(of_events: Mapping[str, Feed]) -> dict[str, str]:
    """Features of events -> their value: of who has none in the window, what the aggregate is over no rows."""
    return {
        one.name: f"CASE WHEN {table}.customer_id IS NULL THEN {table}_none.{identifier(one.name)} "
        f"ELSE {table}.{identifier(one.name)} END"
        for table, feed in of_events.items()
        for one in feed.features
    }


def _values(config: Config, made: Mapping[str, str]) -> str:
    """All feature columns of `raw_customers`. Of a feature of the user's own, what is not finite is no value.

    made : the features that there are, with what they are in the statement.
    """
    values = {name: made.get(name, "CAST(NULL AS DOUBLE)") for name in config.raw_feature_names}
    for name in values.keys() - ORDER_FEATURES.keys():
        values[name] = f"CASE WHEN isfinite({values[name]}) THEN {values[name]} END"
    return "".join(f", {value} AS {identifier(name)}" for name, value in values.items())
