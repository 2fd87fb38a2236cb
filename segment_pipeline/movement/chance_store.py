"""Movement of a month, counted in the warehouse, and in a world of its own where the same customers do not change.

That world is an attached database in memory with the stages' tables, in which the very same functions run as in real
months: features, contract, memory, transitions, warnings. Only its order lines are others (chance_lines_store.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import duckdb

from segment_pipeline.campaigns import tables as campaigns
from segment_pipeline.config.config import Config
from segment_pipeline.config.warning_rules import WARNING_RULES
from segment_pipeline.customers import tables as customers
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import split_customers
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import Row, hashed_below
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.early_warnings import tables as early_warnings
from segment_pipeline.early_warnings.rules_store import STANDING, write_early_warnings
from segment_pipeline.models import tables as models
from segment_pipeline.models.champions_store import measuring_champion, previous_champion, require_champion
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months, as_of
from segment_pipeline.movement.chance import Count, Movement, reference_rows
from segment_pipeline.movement.chance_lines_store import shuffle_lines
from segment_pipeline.segments import tables as segments
from segment_pipeline.segments.ahead.silence_store import known_by_silence
from segment_pipeline.segments.assignments_store import write_assignments, write_transitions
from segment_pipeline.segments.memory_store import months_before, remember
from segment_pipeline.sources import tables as sources
from segment_pipeline.sources.categories import drop_categories
from segment_pipeline.sources.folding import fold_order_lines, need_lines
from segment_pipeline.sources.order_lines import is_folded, load_order_lines
from segment_pipeline.sources.sources import fill_missing
from segment_pipeline.sources.tables import FOLDED_ORDERS, RAW_CUSTOMERS
from segment_pipeline.value import tables as value

COPIES = 5000
"""Copies of customers in random order, at most: with so many, a share of 10 % is known to half a point either way."""

LINES = 1_500_000
"""Order lines of these in the windows that the months look at: what they cost."""

STAGE_TABLES = (
    *sources.TABLES,
    *customers.TABLES,
    *models.TABLES,
    *segments.TABLES,
    *campaigns.TABLES,
    *value.TABLES,
    *early_warnings.TABLES,
)
NO_ORDER_LINES = "Chance is known of order lines only: ready-made rows do not tell a customer's gaps and baskets."
OF_EVENTS = "Chance is known of order lines only: of events, nobody knows what a customer who does not change would do."
FEATURE_GONE = (
    "The champions of the month and of the month before each have a feature that the other month lacks: no movement is "
    "known."
)


Chance = Movement | str | None
"""What the customers would do if they did not change, or why that is not known; None where nothing can have moved."""


def movement_rows(connection: duckdb.DuckDBPyConnection, config: Config, month: date, chance: Chance) -> list[Row]:
    """The rows of `movement_reference`, less the month; none in the first month, when nothing can have moved.
    chance : as of `chance_of`."""
    if chance is None:
        return []
    measuring = measuring_champion(connection, config, month)
    observed = movement_of(connection, measuring, month)
    rows = reference_rows(observed, chance, (config.model.seed, month.toordinal()))
    return [{"model_version": None if measuring is None else measuring.model_version, **row} for row in rows]


def chance_of(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Chance:
    """What the month's customers would do if they did not change. It stands on no later step than the month's
    assignments."""
    if previous_champion(connection, config, month) is None:
        return None
    measuring = measuring_champion(connection, config, month)
    if measuring is None:
        return FEATURE_GONE
    if config.source.orders is None:
        return NO_ORDER_LINES
    config = config.without_portraits(also=measuring.space.names)  # nobody moves by them
    if config.source.customers == "any" or any(feature.of_events for feature in config.features):
        return OF_EVENTS
    champion = require_champion(connection, config, month)
    return unchanging_movement(connection, config, champion, measuring, month)


def movement_of(connection: duckdb.DuckDBPyConnection, measuring: SegmentModel | None, month: date) -> Movement:
    """What the customers of the current database did, who can have been in this champion's segments; None where none
    measures the month."""
    segments = () if measuring is None else measuring.segments
    standings = {str(one.segment_id): STANDING[one.role] for one in segments if one.role is not None}
    of_month = f"month = {month_literal(month)}"
    moves = connection.execute(
        f"SELECT from_state, to_state, customers FROM transition_matrix WHERE {of_month} AND customers > 0"
    ).fetchall()
    warned = connection.execute(
        f"SELECT warning, count(*) FROM early_warnings WHERE {of_month} AND status <> 'resolved' GROUP BY warning"
    ).fetchall()
    there = connection.execute(f"SELECT count(*) FROM monthly_assignments WHERE {of_month}").fetchone()
    return Movement(
        {(before, now): count for before, now, count in moves},
        [str(one.segment_id) for one in segments],
        _came_back(connection, month),
        {rule.name: dict(warned).get(rule.name, 0) for rule in WARNING_RULES},
        int(there[0]) if there else 0,
        [(before, now) for before in standings for now in standings if standings[now] < standings[before]],
    )


def _came_back(connection: duckdb.DuckDBPyConnection, month: date) -> Count | None:
    """None where the two moves were not measured with one champion."""
    found = connection.execute(f"""
        SELECT count(*) FILTER (d.to_segment_id = p.from_segment_id), count(*),
            bool_and(d.model_version = p.model_version)
        FROM transition_deltas AS d JOIN transition_deltas AS p ON p.customer_id = d.customer_id
        WHERE d.month = {month_literal(month)} AND p.month = {month_literal(add_months(month, -1))}
            AND p.from_segment_id <> p.to_segment_id AND d.to_segment_id IS NOT NULL
    """).fetchone()
    return Count(int(found[0]), int(found[1])) if found and found[2] else None


def unchanging_movement(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, measuring: SegmentModel, month: date
) -> Movement | str:
    """What a sample of the customers would do if they did not change, or why that cannot be measured.

    A champion with memory was fitted to these very customers in the order in which they did things, and finds them a
    little calmer than their copies, even where nobody changes. What is above chance is so all the more.
    """
    before = add_months(month, -1)
    # as far as a memory goes back at a promotion; without one, to the month before the one that moves are counted from
    span = config.memory.months if measuring.memory is not None or champion.memory is not None else 3
    months = [one.month for one in months_before(connection, measuring, month, span)]
    if not months:
        return FEATURE_GONE
    folded = shuffle_sample(connection, config, month, add_months(months[0], 1 - config.source.window_months))
    ahead = known_by_silence(connection, config, champion, month)  # whom a rule warns of stands on what was published
    with _another_world(connection, config):
        contract = build_contract(config)
        for one in (*months, month):
            shuffled = "SELECT * FROM shuffled_lines"
            fold_order_lines(connection, config, shuffled, one, folded=folded, accounted=False)
            fill_missing(connection, config)
            of_month = f"SELECT {month_literal(one)} AS month, * FROM source_customers"
            replace_month(connection, RAW_CUSTOMERS, one, of_month, config.raw_feature_names)
            connection.execute("DROP TABLE source_customers")
            drop_categories(connection)
            split_customers(connection, config, contract, one)
        remember(connection, measuring, before, config.memory.months)
        remember(connection, champion, month, config.memory.months)  # a new one looks at the months before as well
        for one in (before, month):
            write_transitions(connection, measuring, one, has_previous=True)
        write_assignments(connection, champion, month, config.tiers, by_silence=ahead)
        write_early_warnings(connection, champion, measuring, month, config.warnings)
        found = movement_of(connection, measuring, month)
    connection.execute("DROP TABLE shuffled_lines")
    connection.execute("DROP TABLE IF EXISTS shuffled_orders")
    return found


def shuffle_sample(connection: duckdb.DuckDBPyConnection, config: Config, month: date, since: date) -> str:
    """Fill `shuffled_lines` with lines since the first of the windows, of customers of whom one was there in one of the
    months that a memory looks back to: who has been gone for longer would come back if nothing had changed.

    Customers are drawn by their hash, and as many copies are made of each, that there are no more than COPIES of them
    nor much more than LINES of their lines. Where the features allow it, the orders that the lines were folded into are
    shuffled in their place, a tenth as many rows: into `shuffled_orders`, whose name is returned, "" where not.
    """
    there = f"""
        SELECT DISTINCT customer_id FROM {RAW_CUSTOMERS.name}
        WHERE month BETWEEN {month_literal(add_months(month, 1 - config.memory.months))} AND {month_literal(month)}
    """
    share = min(1.0, COPIES / max(1, _count(connection, there)))
    drawn = "true" if share == 1.0 else hashed_below("customer_id", share)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE sampled_customers AS SELECT * FROM ({there}) WHERE {drawn}")
    folded = is_folded(connection, month) and not need_lines(config)
    if folded:
        _load_orders(connection, config, month)
    else:
        load_order_lines(connection, config, month, "sampled_customers")
    tables = {"sampled_orders": "shuffled_orders"} if folded else {}
    tables |= {"order_lines": "shuffled_lines"}
    of_lines = f"ordered_at >= {month_literal(since)}"
    found = connection.execute(
        f"SELECT coalesce(sum(lines), 0) FROM sampled_orders WHERE {of_lines}"
        if folded
        else f"SELECT count(*) FROM order_lines WHERE {of_lines}"
    ).fetchone()
    lines = int(found[0]) if found else 0
    if lines > LINES:
        share *= LINES / lines
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE NOT ({hashed_below('customer_id', share)})")
    copies = min(COPIES // max(1, _count(connection, "FROM sampled_customers")), LINES // max(1, lines))
    shuffle_lines(connection, month, max(1, copies), config.model.seed, since, tables)
    for table in (*tables, "sampled_customers"):
        connection.execute(f"DROP TABLE {table}")
    return tables.get("sampled_orders", "")


def _load_orders(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """Fill `sampled_orders` with what the lines of `sampled_customers` were folded into, and `order_lines` with the
    lines of who has an order in several of these rows: its products can only be counted together."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE sampled_orders AS
        SELECT * EXCLUDE (of_month) FROM {FOLDED_ORDERS.name} SEMI JOIN sampled_customers USING (customer_id)
        WHERE ordered_at < {month_literal(as_of(month))}
    """)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE of_several_days AS
        SELECT DISTINCT customer_id FROM (
            SELECT customer_id FROM sampled_orders GROUP BY customer_id, order_id HAVING count(*) > 1
        )
    """)
    load_order_lines(connection, config, month, "of_several_days", categories=False)
    connection.execute("DROP TABLE of_several_days")


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
    return int(found[0]) if found else 0


@contextmanager
def _another_world(connection: duckdb.DuckDBPyConnection, config: Config) -> Iterator[None]:
    """Within it, the stages' tables are those of an empty database, gone afterwards."""
    (home,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    connection.execute("ATTACH ':memory:' AS unchanging")
    connection.execute("USE unchanging")
    try:
        for table in STAGE_TABLES:  # without comments, which nobody reads there, and take longer than the tables
            connection.execute(table.creation(config.raw_feature_names))
        yield
    finally:
        connection.execute(f"USE {identifier(home)}")
        connection.execute("DETACH unchanging")
