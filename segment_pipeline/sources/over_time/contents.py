"""What the source holds of each month, and how that differs from what it held when a month was run.

A month that has run stands on the lines of its own month and of all before it. What they were is kept with it, as
counts, a sum and a fingerprint, so that lines which arrive late, change or go are found by whatever run comes next. Of
the user's own SQL only the month that is run is known: it may read anything, and need not give an old month again.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import insert_query, month_literal
from segment_pipeline.months import month_key
from segment_pipeline.sources.events import Feed, open_feeds
from segment_pipeline.sources.expressions import is_finite, mentions
from segment_pipeline.sources.order_lines import CLOCK_TOLERANCE, ORDER_LINES, OrderLines, open_order_lines
from segment_pipeline.sources.ready_made import lies_here
from segment_pipeline.sources.sources import read_customers
from segment_pipeline.sources.tables import CUSTOMER_LINES, FOLDED_MONTHS, RAW_CUSTOMERS, SOURCE_MONTHS

ROWS = "rows"
NO_AMOUNT = "CAST(NULL AS DECIMAL(38, 4))"
"""What events have of an amount, of its type: not every engine adds up what has none."""
FINGERPRINTED = "fingerprinted_rows"
"""The temporary table of ready-made customers that a fingerprint is made of."""


@dataclass(frozen=True)
class Change:
    """What the source holds of a month more (below 0: less) than when a month that stands on it was run.

    customers : the change of how many have a line. amount : None where the feed has none. month : the first one run
    that stands on what was there before.
    """

    feed: str
    of_month: date
    month: date
    lines: int
    customers: int
    amount: Decimal | None

    def __str__(self) -> str:
        if not self.lines and not self.customers and not self.amount:
            size = "as many, with other values"
        else:
            money = "" if self.amount is None else f", {self.amount:+,.2f} in money"
            size = f"{self.lines:+,} ({self.customers:+,} customers{money})"
        return f"{self.feed} of {month_key(self.of_month)}: {size}"


def read_contents(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    months: Collection[date] = (),
    among: str | None = None,
    called: str | None = None,
) -> None:
    """Fill the temporary table `source_contents`: what the source holds now, a row for each feed and month, with the
    columns of SOURCE_MONTHS but the month and the definition, and `days`: bit d is set where the month's d-th has a
    line, NULL of rows.

    months : of ready-made customers, which months are read; their files must be on this machine. among : a relation
    with the customer_id of those of order lines and feeds who count; all where None. called : the id for which theirs
    is taken, where it is another. Lines whose date is missing or
    later than the present are in no month. Raises SourceError.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE source_contents AS {_no_contents()}")
    if config.source.orders is None:
        snapshots = config.source.snapshots
        for month in sorted(months):
            if snapshots is not None and lies_here(snapshots, config, month):
                read_customers(connection, config, month)
                rows = _of_rows(config, month_literal(month), "source_customers")
                connection.execute(f"INSERT INTO source_contents {rows}")
                connection.execute("DROP TABLE source_customers")
        return
    with chdir(config.path.parent):
        feeds: list[OrderLines | Feed] = [open_order_lines(connection, config), *open_feeds(connection, config)]
        for feed in feeds:
            try:
                if among is None and _can_be_known(config, feed):
                    _insert_known(connection, feed)
                else:
                    connection.execute(f"INSERT INTO source_contents {_of_feed(feed, among, called)}")
            except duckdb.Error as error:
                raise feed.failed(error) from error


def _can_be_known(config: Config, feed: OrderLines | Feed) -> bool:
    """Whether the stamps of its files tell that a feed holds what it held: nobody is left out of it, and no expression
    reads another file."""
    made = config.source.orders.columns.values() if config.source.orders else ()
    reads_more = any(mentions(text, "from") for text in (*feed.expressions.values(), *made))
    return bool(feed.source.stamps) and feed.people.table is None and not reads_more


def _insert_known(connection: duckdb.DuckDBPyConnection, feed: OrderLines | Feed) -> None:
    """Read what a feed holds once, as long as its files are what they were, and for the day, as lines later than the
    present do not count: who plans a month has asked before the month does, and of several months each asks."""
    state = feed.source.stamps, datetime.now(UTC).date()
    if feed.sql() not in _known or _known[feed.sql()][0] != state:
        found = connection.execute(_of_feed(feed, None, None)).fetchall()
        feed.source.refuse_changed()
        _known[feed.sql()] = state, found
    rows = _known[feed.sql()][1]
    if rows:
        listed = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
        connection.execute(f"INSERT INTO source_contents VALUES {listed}", [value for row in rows for value in row])


_known: dict[str, tuple[tuple[Mapping[str, tuple[int, int]], date], Sequence[tuple[object, ...]]]] = {}
"""The rows of a feed -> its files' stamps and the day, and what `source_contents` has of it."""


def write_contents(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """Keep what a month that is being run stands on. Call it when its `raw_customers` are written and, of order lines,
    `read_contents` was called."""
    held = "SELECT * FROM source_contents"
    if config.source.orders is None:
        _bring_home(connection, config, f"{RAW_CUSTOMERS.name} WHERE month = {month_literal(month)}")
        held = _of_rows(config, month_literal(month), FINGERPRINTED)
    connection.execute(f"DELETE FROM {SOURCE_MONTHS.name} WHERE month = ?", [month])
    insert_query(
        connection,
        SOURCE_MONTHS,
        f"""
        SELECT {month_literal(month)} AS month, * EXCLUDE (days), {literal(definition_of(config))} AS definition
        FROM ({held}) WHERE of_month <= {month_literal(month)} ORDER BY feed, of_month
        """,
    )


@dataclass(frozen=True)
class Contents:
    """What a month found in a feed: its own lines, who has one, and what order lines add up to.

    version : changes when anything changes of what the month stands on, its own lines or earlier ones.
    """

    feed: str
    lines: int
    customers: int
    amount: Decimal | None
    version: str


def contents_of(connection: duckdb.DuckDBPyConnection, month: date) -> list[Contents]:
    """What a month that is being run found in each feed, once `write_contents` was called."""
    rows = connection.execute(
        f"""
        SELECT feed, coalesce(sum(lines) FILTER (WHERE of_month = $month), 0),
            coalesce(sum(customers) FILTER (WHERE of_month = $month), 0), sum(amount) FILTER (WHERE of_month = $month),
            md5(string_agg(of_month || ' ' || fingerprint, ', ' ORDER BY of_month))
        FROM {SOURCE_MONTHS.name} WHERE month = $month GROUP BY feed ORDER BY feed
        """,
        {"month": month},
    ).fetchall()
    return [Contents(feed, int(lines), int(customers), *rest) for feed, lines, customers, *rest in rows]


def changes(
    connection: duckdb.DuckDBPyConnection, config: Config, run: Collection[date], now: str = "source_contents"
) -> list[Change]:
    """How what the source holds `now` differs from what the months of `run` stand on, by feed and month of the lines.

    A month that was run under another definition of the source, or by a version that did not keep what it stood on,
    says nothing.
    """
    if not run:
        return []
    listed = ", ".join(month_literal(month) for month in run)
    rows = connection.execute(
        f"""
        WITH held AS (
            SELECT * FROM {SOURCE_MONTHS.name} WHERE definition = $definition AND month IN ({listed})
        ),
        runs AS (SELECT DISTINCT month, feed FROM held),
        now AS (
            SELECT r.month, c.feed, c.of_month, c.lines, c.customers, c.amount, c.fingerprint
            FROM runs AS r JOIN {now} AS c ON c.feed = r.feed
                AND (c.of_month = r.month OR (c.of_month < r.month AND c.feed <> $rows))
        )
        SELECT feed, of_month, min(month),
            arg_min(coalesce(n.lines, 0) - coalesce(h.lines, 0), month),
            arg_min(coalesce(n.customers, 0) - coalesce(h.customers, 0), month),
            CASE WHEN feed = $orders
                THEN arg_min(coalesce(n.amount, 0) - coalesce(h.amount, 0), month) END
        FROM now AS n FULL JOIN held AS h USING (month, feed, of_month)
        WHERE (n.lines IS NOT NULL OR feed <> $rows) AND (
            n.lines IS DISTINCT FROM h.lines OR n.customers IS DISTINCT FROM h.customers
            OR n.amount IS DISTINCT FROM h.amount
            -- another DuckDB may compute another fingerprint
            OR (n.fingerprint <> h.fingerprint
                AND split_part(n.fingerprint, ':', 1) = split_part(h.fingerprint, ':', 1))
        )
        GROUP BY feed, of_month ORDER BY of_month, feed
        """,
        {"definition": definition_of(config), "orders": ORDER_LINES, "rows": ROWS},
    ).fetchall()
    return [Change(*row) for row in rows]


def changes_before(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[Change]:
    """How what the source held when `month` was run differs from what the months before it stand on."""
    earlier = connection.execute(f"SELECT DISTINCT month FROM {SOURCE_MONTHS.name} WHERE month < ?", [month]).fetchall()
    then = f"(FROM {SOURCE_MONTHS.name} WHERE month = {month_literal(month)})"
    return changes(connection, config, [row[0] for row in earlier], then)


def line_days(connection: duckdb.DuckDBPyConnection) -> dict[str, list[date]]:
    """The days on which each feed of `source_contents` has a line, ascending."""
    found = connection.execute(
        "SELECT feed, of_month, days FROM source_contents WHERE days IS NOT NULL ORDER BY feed, of_month"
    ).fetchall()
    days: dict[str, list[date]] = {}
    for feed, month, bits in found:
        days.setdefault(feed, []).extend(month.replace(day=day) for day in range(1, 32) if bits >> day & 1)
    return days


def rows_of_month_before(connection: duckdb.DuckDBPyConnection, month: date, before: date) -> int:
    """How many rows a month of ready-made customers has, if they are those of the month `before`; else 0."""
    found = connection.execute(
        f"""
        SELECT a.lines FROM {SOURCE_MONTHS.name} AS a JOIN {SOURCE_MONTHS.name} AS b USING (feed, fingerprint, lines)
        WHERE feed = ? AND a.month = ? AND b.month = ?
        """,
        [ROWS, month, before],
    ).fetchone()
    return int(found[0]) if found else 0


def _of_feed(feed: OrderLines | Feed, among: str | None, called: str | None) -> str:
    """A query of the contents of order lines, or of a feed of events. Lines are first folded into customers: a
    customer then counts once, and nothing has to be counted apart."""
    if isinstance(feed, OrderLines):
        name, rows, at, amount = ORDER_LINES, f"({feed.sql()}) WHERE is_line", "ordered_at", "amount"
        values = ["order_id", at, amount, "product_id", "category"]
    else:
        name, rows, at, amount = feed.name, f"({feed.sql()}) WHERE is_event", "occurred_at", NO_AMOUNT
        values = [at]
    who = "customer_id" if called is None else literal(called)
    listed = ", ".join([who, *values, *map(identifier, feed.carried)])
    condition = "true" if among is None else f"customer_id IN (SELECT customer_id FROM {among})"
    present = (datetime.now(UTC) + CLOCK_TOLERANCE).replace(tzinfo=None).isoformat(sep=" ")
    return f"""
        SELECT {literal(name)} AS feed, of_month, sum(lines), count(customer_id), sum(amount),
            {_printed("sum(content)")}, bit_or(days)
        FROM (
            SELECT CAST(date_trunc('month', {at}) AS DATE) AS of_month, customer_id, count(*) AS lines,
                sum({amount}) AS amount, sum(hash({listed})) AS content,
                bit_or(CAST(1 AS BIGINT) << CAST(day({at}) AS INTEGER)) AS days
            FROM {rows} AND {condition} AND {is_finite(at)} AND {at} < TIMESTAMP {literal(present)}
            GROUP BY of_month, customer_id
        ) GROUP BY of_month
    """


def shift_contents(
    connection: duckdb.DuckDBPyConnection, config: Config, customers: str, sign: int, called: str | None = None
) -> None:
    """Take (-1) what the source holds of some customers from what closed months stand on, or add it (+1): what a person
    has had removed is no change of the source.

    customers : a relation with their customer_id. called : the id that their lines had when those months were run,
    where that was another. Call it before they are forgotten or merged; and of a merged one again afterwards. Raises
    SourceError.
    """
    read_contents(connection, config, among=customers, called=called)
    if config.source.orders is None:
        _bring_home(connection, config, f"{RAW_CUSTOMERS.name} SEMI JOIN {customers} USING (customer_id)")
        connection.execute(f"INSERT INTO source_contents {_of_rows(config, 'month', FINGERPRINTED)} GROUP BY month")
    for table in (SOURCE_MONTHS, FOLDED_MONTHS):
        connection.execute(
            f"""
        UPDATE {table.name} AS s SET lines = s.lines + $sign * c.lines,
            customers = s.customers + $sign * c.customers,
            amount = CASE WHEN c.amount IS NULL THEN s.amount ELSE s.amount + $sign * c.amount END,
            fingerprint = CASE
                WHEN split_part(s.fingerprint, ':', 1) <> split_part(c.fingerprint, ':', 1) THEN s.fingerprint
                ELSE split_part(s.fingerprint, ':', 1) || ':' || (CAST(split_part(s.fingerprint, ':', 2) AS HUGEINT)
                    + $sign * CAST(split_part(c.fingerprint, ':', 2) AS HUGEINT)) END
        FROM source_contents AS c WHERE c.feed = s.feed AND c.of_month = s.of_month AND s.definition = $definition
        """,
            {"sign": sign, "definition": definition_of(config)},
        )
        connection.execute(f"DELETE FROM {table.name} WHERE lines = 0")


def settle_departure(connection: duckdb.DuckDBPyConnection, config: Config, customers: str) -> bool:
    """Take what the order lines and feeds have lost for what some customers had, where the source had dropped these
    before they are forgotten, and it is exactly theirs; returns whether it is.

    It is where each month that has run used as many lines of theirs, and as much money, as its window has lost since,
    and nowhere more customers are gone than these. customers : a relation with their customer_id. Call it before their
    rows go. Raises SourceError.
    """
    read_contents(connection, config, among=customers)
    if config.source.orders is None or connection.execute("SELECT 1 FROM source_contents").fetchone():
        return False
    read_contents(connection, config)
    held = f"(FROM {SOURCE_MONTHS.name} WHERE definition = {literal(definition_of(config))})"
    window = f"INTERVAL {config.source.window_months - 1} MONTH"
    found = connection.execute(f"""
        WITH lost AS (
            SELECT h.month, h.of_month, h.feed, h.lines - coalesce(c.lines, 0) AS lines,
                h.customers - coalesce(c.customers, 0) AS customers, h.amount - coalesce(c.amount, 0) AS money
            FROM {held} AS h LEFT JOIN source_contents AS c USING (feed, of_month)
        ),
        in_window AS (
            SELECT month, sum(lines) AS lines, sum(money) AS money FROM lost
            WHERE feed = {literal(ORDER_LINES)} AND of_month >= month - {window} GROUP BY month
        ),
        theirs AS (
            SELECT month, sum(lines) AS lines, sum(money) AS money
            FROM {CUSTOMER_LINES.name} SEMI JOIN {customers} USING (customer_id) GROUP BY month
        )
        SELECT coalesce(sum(in_window.lines), 0) > 0 AND bool_and(in_window.lines = coalesce(theirs.lines, 0)
            AND in_window.money = coalesce(theirs.money, 0)) AND NOT EXISTS (
                FROM lost WHERE lines < 0 OR customers NOT BETWEEN 0 AND (SELECT count(*) FROM {customers})
            )
        FROM in_window LEFT JOIN theirs USING (month)
    """).fetchone()
    if not found or not found[0]:
        return False
    connection.execute(f"""
        MERGE INTO {SOURCE_MONTHS.name} AS s USING (
            SELECT h.month, h.feed, h.of_month, c.* EXCLUDE (feed, of_month)
            FROM {held} AS h LEFT JOIN source_contents AS c USING (feed, of_month)
            WHERE h.lines IS DISTINCT FROM c.lines
        ) AS n ON s.month = n.month AND s.feed = n.feed AND s.of_month = n.of_month
        WHEN MATCHED AND n.lines IS NULL THEN DELETE
        WHEN MATCHED THEN UPDATE SET lines = n.lines, customers = n.customers, amount = n.amount,
            fingerprint = n.fingerprint
    """)
    return True


def _bring_home(connection: duckdb.DuckDBPyConnection, config: Config, rows: str) -> None:
    """Put what a fingerprint is made of into a temporary table: its hash is DuckDB's own. rows : as what stands behind
    FROM."""
    listed = ", ".join(["month", "customer_id", *map(identifier, config.feature_names)])
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {FINGERPRINTED} AS SELECT {listed} FROM {rows}")


def _of_rows(config: Config, month: str, relation: str) -> str:
    """The contents of a month of ready-made customers; month : as SQL."""
    listed = ", ".join(["customer_id", *map(identifier, config.feature_names)])
    return f"""
        SELECT {literal(ROWS)} AS feed, {month} AS of_month, count(*) AS lines,
            count(DISTINCT customer_id) AS customers, {NO_AMOUNT} AS amount,
            {_printed(f"sum(hash({listed}))")} AS fingerprint, CAST(NULL AS BIGINT) AS days
        FROM {relation} AS customers
    """


def _no_contents() -> str:
    columns = {column.name: column.type for column in SOURCE_MONTHS.columns} | {"days": "BIGINT"}
    kept = {name: kind for name, kind in columns.items() if name not in ("month", "definition")}
    return "SELECT " + ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in kept.items()) + " WHERE false"


def _printed(total: str) -> str:
    """The sum of hashes as a fingerprint, beside the version that has made them."""
    return f"{literal(duckdb.__version__)} || ':' || {total}"


def definition_of(config: Config) -> str:
    """Stands for what the configuration says of the source."""
    # less what decides whether a month is run or who reads, and not what is read
    source = config.source.model_dump(
        mode="json",
        exclude={
            **dict.fromkeys(("window_months", "late_data", "feed_ends_early"), True),
            **{"query": {"runs_on"}, "orders": {"known_values"}},
        },
    )
    features: Sequence[object] = (
        [(one.name, one.missing) for one in config.features]
        if config.source.orders is None
        # they name columns that are read beside the settled ones
        else [(one.of_lines, one.of_events and one.of_events.value) for one in config.features if one.is_own]
    )
    text = json.dumps([source, features], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
