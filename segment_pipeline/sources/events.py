"""Feeds of events beside the orders, such as sessions or tickets: their rows, and what of them makes features.

Here: opening a feed, counting what it holds, and its part of a customer's row. Not here: which features there are
(the user's file, with the words of EVENT_FEATURES), and how an expression of one's own is read (aggregates.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.source import EVENT_FEATURES, EventsSource, Feature, resolve_source_path
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import SourceError
from segment_pipeline.months import month_key
from segment_pipeline.sources.aggregates import named_columns
from segment_pipeline.sources.expressions import (
    bound,
    columns_of_ids_alone,
    expression_types,
    is_finite,
    reading_failed,
    refuse_unfit_types,
    text_id,
    timestamp,
)
from segment_pipeline.sources.files import Relation, open_files, open_table
from segment_pipeline.sources.order_lines import instant, window_of
from segment_pipeline.sources.people.delivered import Delivered, delivered

EVENT_COLUMNS = ("customer_id", "occurred_at", "is_event")
"""The settled columns of an event, whatever the feed calls its own."""

ENOUGH_TO_MEET = 20
"""Of so many customers with orders and so many with events, one would be both if their ids were of the same people."""


@dataclass(frozen=True)
class EventCounts:
    """What became of a feed's events. `in_window` are those that features are made of; those `undated` and those
    `without_customer` in the window are left out. `begins` is the day of the first of all. `silent_customers` of the
    month have none in the window."""

    in_window: int
    undated: int
    without_customer: int
    begins: date | None = None
    silent_customers: int = 0


@dataclass(frozen=True)
class Feed:
    """An open feed: its rows, with their customers, the features that are made of them, and the columns of its own that
    these name."""

    name: str
    source: Relation
    people: Delivered
    expressions: Mapping[str, str]
    types: Mapping[str, str]
    features: tuple[Feature, ...]
    carried: tuple[str, ...]
    time_zone: str

    def sql(self, **more: str) -> str:
        """The feed's rows with settled names and types, and `is_event`; those at or after as_of are among them.

        more : expressions over a row of the source, by the names that they get.
        """
        of, kinds = self.expressions, self.types
        identity = self.people.customer_id
        return f"""
            SELECT CASE WHEN trim({identity}) <> '' THEN {identity} END AS customer_id,
                {timestamp(of["occurred_at"], kinds["occurred_at"], self.time_zone)} AS occurred_at,
                ({of.get("where", "true")}\n) AS is_event
                {"".join(f", source.{identifier(name)}" for name in self.carried)}
                {"".join(f", {text} AS {identifier(name)}" for name, text in more.items())}
            FROM {self.people.rows()}
        """

    def failed(self, error: duckdb.Error) -> SourceError:
        """What to raise where reading the events has failed."""
        self.source.refuse_changed()
        return reading_failed(self.source, "events", error)


def value_of(feature: Feature) -> str:
    """The aggregate over a feed's rows that a feature of events is."""
    if feature.of_events is None:
        raise AssertionError("not every feature is one of events")
    return EVENT_FEATURES.get(feature.of_events.value.strip(), feature.of_events.value)


def open_feeds(connection: duckdb.DuckDBPyConnection, config: Config) -> list[Feed]:
    """The feeds of the configuration, opened and typed. Be where it lies. Raises SourceError."""
    return [_open(connection, config, index, events) for index, events in enumerate(config.source.events)]


def _open(connection: duckdb.DuckDBPyConnection, config: Config, index: int, events: EventsSource) -> Feed:
    section = f"source.events[{index}]"
    given = {
        key: str(text) for key, text in events.model_dump(exclude={"feed", "path", "table"}, exclude_none=True).items()
    }
    if events.path is None:
        source = open_table(connection, str(events.table), section)
    else:
        path = resolve_source_path(events.path, config.path.parent)
        source = open_files(connection, path, columns_of_ids_alone(given, ("customer_id",)), f"{section}.path")
    expressions = bound(given, source)
    types = expression_types(connection, source, section, expressions)
    refuse_unfit_types(source, section, given, types)
    features = tuple(one for one in config.features if one.of_events is not None and one.of_events.feed == events.feed)
    named = named_columns([value_of(one) for one in features])
    carried = tuple(sorted(name for name in named if name in source.columns and name not in EVENT_COLUMNS))
    identity = text_id(expressions["customer_id"], types["customer_id"])
    people = delivered(connection, source, identity, events.feed)
    return Feed(events.feed, source, people, expressions, types, features, carried, config.source.time_zone)


def count_events(connection: duckdb.DuckDBPyConnection, feed: Feed, config: Config, month: date) -> EventCounts:
    """How many events there are of which kind. A month without a single one is a feed that is late: SourceError."""
    start, end = map(instant, window_of(config, month))
    dated = f"is_event AND {is_finite('occurred_at')}"
    in_window = f"is_event AND occurred_at >= {start} AND occurred_at < {end}"
    rows, undated, unknown, in_month, begins = connection.execute(f"""
        SELECT count(*) FILTER ({in_window}),
            count(*) FILTER (is_event AND (occurred_at IS NULL OR NOT {is_finite("occurred_at")})),
            count(*) FILTER ({in_window} AND customer_id IS NULL),
            count(*) FILTER (is_event AND occurred_at >= {instant(month)} AND occurred_at < {end}),
            min(CAST(occurred_at AS DATE)) FILTER ({dated})
        FROM ({feed.sql()})
    """).fetchone() or (0, 0, 0, 0, None)
    if in_month == 0:
        key = "first_month" if month == config.first_month else "last_month"
        raise SourceError(
            f"{feed.source.path} has no event in {month_key(month)}: without them nobody would have had any. Deliver "
            f"that month's data, or set {key} in the configuration, then run again."
        )
    return EventCounts(rows, undated, unknown, begins)


def refuse_strangers(connection: duckdb.DuckDBPyConnection, feed: Feed, table: str, customers: str) -> None:
    """Raises SourceError where nobody of a relation of customers has an event in a table of `fold_events`, though there
    are many of both: their ids are not the same people's."""
    people = f"(SELECT customer_id FROM {customers} WHERE customer_id IS NOT NULL)"
    in_feed = f"(SELECT customer_id FROM {table} WHERE customer_id IS NOT NULL)"
    known, ordered, came, of_orders, of_events = connection.execute(f"""
        SELECT (SELECT count(*) FROM {people} SEMI JOIN {in_feed} USING (customer_id)),
            (SELECT count(*) FROM {people}), (SELECT count(*) FROM {in_feed}),
            (SELECT min(customer_id) FROM {people}), (SELECT min(customer_id) FROM {in_feed})
    """).fetchone() or (0, 0, 0, None, None)
    if known == 0 and min(ordered, came) >= ENOUGH_TO_MEET:
        raise SourceError(
            f"{feed.source.path}: none of the {came} customers with an event in the window has an order in it, and "
            f"none of the {ordered} who ordered has an event: they have ids such as {of_events!r} there and "
            f"{of_orders!r} in the orders. Set customer_id of the feed {feed.name} (source.events) to what holds the "
            "ids of the orders, or drop the feed, then run the month again."
        )


def months_of_events(connection: duckdb.DuckDBPyConnection, feeds: Sequence[Feed], config: Config) -> set[date] | None:
    """The months that have an event of every feed, and whose whole window all of them cover; None without feeds."""
    covered: set[date] | None = None
    for feed in feeds:
        found = connection.execute(f"""
            SELECT CAST(date_trunc('month', occurred_at) AS DATE) AS month, min(CAST(occurred_at AS DATE))
            FROM ({feed.sql()}) WHERE is_event AND {is_finite("occurred_at")} GROUP BY month ORDER BY month
        """).fetchall()
        months = {month for month, _ in found if window_of(config, month)[0] >= found[0][1]}
        covered = months if covered is None else covered & months
    return covered


def fold_events(
    connection: duckdb.DuckDBPyConnection, feed: Feed, config: Config, month: date, table: str, made: Mapping[str, str]
) -> None:
    """Fill the temporary table with a row for each customer who has an event in the month's window: customer_id, the
    day of the "(first event)" ever where that makes a customer, and the features; and one whose customer_id is NULL,
    with those of who has none.

    made : the features as aggregates over the feed's rows, by name.
    """
    start, end = map(instant, window_of(config, month))
    of_window = "".join(f", CAST({sql} AS DOUBLE) AS {identifier(name)}" for name, sql in made.items())
    of_customer = "".join(f", w.{identifier(name)}" for name in made)
    events = f"({feed.sql()})"
    since_ever = "true" if config.source.customers == "any" else "false"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {table} AS
        WITH in_window AS (
            SELECT customer_id {of_window} FROM {events}
            WHERE is_event AND customer_id IS NOT NULL AND occurred_at >= {start} AND occurred_at < {end}
            GROUP BY customer_id
        ),
        ever AS (
            SELECT customer_id, CAST(min(occurred_at) AS DATE) AS "(first event)" FROM {events}
            WHERE {since_ever} AND is_event AND {is_finite("occurred_at")} AND occurred_at < {end} GROUP BY customer_id
        )
        SELECT w.customer_id {of_customer}, ever."(first event)"
        FROM in_window AS w LEFT JOIN ever ON ever.customer_id = w.customer_id
        UNION ALL
        SELECT max(customer_id) AS customer_id {of_window}, CAST(NULL AS DATE) AS "(first event)"
        FROM {events} WHERE false
    """)
