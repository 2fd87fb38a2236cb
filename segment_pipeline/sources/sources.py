"""From the user's source to `raw_customers`, aggregated inside DuckDB and point-in-time.

Each of the three sources becomes one query that returns the columns of `raw_customers`; whatever a row's values are, it
comes out (the data contract decides later). What cannot be put into rows at all stops here with a SourceError. How a
file is read is for files.py, what is made of its rows for folding.py and ready_made.py.
"""

from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import takewhile

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.quoting import as_named, identifier, literal, number
from segment_pipeline.database.store import month_literal, reason, replace_month
from segment_pipeline.errors import SourceError
from segment_pipeline.months import add_months
from segment_pipeline.sources.categories import (
    lines_without_category,
    no_categories,
    refuse_unknown_categories,
    write_categories,
)
from segment_pipeline.sources.events import EventCounts, count_events, months_of_events, open_feeds
from segment_pipeline.sources.expressions import NUMERIC_TYPES, bound, expression_types, text_id
from segment_pipeline.sources.files import Relation, describe
from segment_pipeline.sources.folding import fold_order_lines
from segment_pipeline.sources.order_lines import (
    covered_months,
    instant,
    lost_by_rounding,
    open_order_lines,
    orders_of,
    window_of,
)
from segment_pipeline.sources.own_features import (
    LOOKED_AT,
    refuse_uncomputable,
    refuse_unfit_features,
    refuse_without_values,
)
from segment_pipeline.sources.people.delivered import delivered, made_anew
from segment_pipeline.sources.ready_made import (
    lies_here,
    open_ready_made,
    read_ready_made,
    ready_made_rows,
    refuse_unfit_columns,
)
from segment_pipeline.sources.reconciliation import Part, parts_of_lines, write_parts
from segment_pipeline.sources.tables import FOLDED_ORDERS, RAW_CUSTOMERS


@dataclass(frozen=True)
class SourceCounts:
    """What a month's reading of the source found. `rows` are raw customers; `parts` what became of the lines of the
    source, before customers are judged; `uncategorised` those of the window without a category, None where there are no
    order lines; `events` are those of each feed, `filled` the customers who got a feature's `missing` value, by
    feature. `forgotten` customers are delivered, and left out with all their rows. `lost_by_rounding` is the share of
    the amounts that is not kept."""

    rows: int
    parts: Sequence[Part]
    uncategorised: int | None = None
    events: Mapping[str, EventCounts] = field(default_factory=dict)
    filled: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0
    lost_by_rounding: float = 0.0


def load_raw_customers(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, *, folded: bool = False
) -> SourceCounts:
    """Read the configured source as it stood at the end of `month` and replace that month of `raw_customers`.

    Call it inside a transaction. folded : whether the months were folded (`fold_months`), so that the past need not be
    read. Raises SourceError, naming file, column, found and expected.
    """
    counts = read_customers(connection, config, month, folded=folded)
    customers = f"SELECT {month_literal(month)} AS month, * FROM source_customers"
    replace_month(connection, RAW_CUSTOMERS, month, customers, config.raw_feature_names)
    connection.execute("DROP TABLE source_customers")
    write_categories(connection, month)
    write_parts(connection, month, counts.parts)
    made_anew(connection, month)
    return counts


def read_customers(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    month: date,
    *,
    folded: bool = False,
    accounted: bool = True,
) -> SourceCounts:
    """Fill the temporary table `source_customers` with the source as it stood at the end of `month`: the columns of
    `raw_customers` but the month; those of categories.py with what each customer spent on which category, empty where
    there are none; and `source_accounts` with the lines of each that count. Raises SourceError.

    folded : see `load_raw_customers`. accounted : False where nobody asks what became of the order lines: then there is
    no `source_accounts`, and lines that are folded are not read."""
    if config.source.orders is None:
        no_categories(connection)
        parts, forgotten = read_ready_made(connection, config, month)
        (rows,) = connection.execute("SELECT count(*) FROM source_customers").fetchone() or (0,)
        return SourceCounts(rows, parts, filled=fill_missing(connection, config), forgotten=forgotten)
    # Relative paths in the user's SQL start where the configuration lies. DuckDB's own search path would come after
    # the current folder, and cannot hold a comma.
    with chdir(config.path.parent):
        return _read_orders(connection, config, month, folded=folded, accounted=accounted)


def check_source(connection: duckdb.DuckDBPyConnection, config: Config, months: Sequence[date]) -> None:
    """Open what the configuration names of the source, as a run would, and read no customers. months : those that may
    be run, at least one; of ready-made customers the latest that is there is looked at. Raises ConfigError where a
    feature is none of these rows, and SourceError."""
    snapshots = config.source.snapshots
    if config.source.orders is not None:
        with chdir(config.path.parent):
            lines = open_order_lines(connection, config, categories=True)
            refuse_unfit_features(connection, config, lines, open_feeds(connection, config), looked_at=LOOKED_AT)
        return
    with chdir(config.path.parent):
        there = [one for one in months if snapshots is None or lies_here(snapshots, config, one)]
    with ready_made_rows(connection, config, max(there, default=min(months))) as (rows, customer_id):
        refuse_unfit_columns(rows, customer_id, config.feature_names)


def numbers_of_source(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[str]:
    """Everything of a customer that could be a feature, beside the user's own: what order lines with these keys give,
    or the columns of numbers of ready-made rows, as text too. Raises SourceError."""
    if config.source.orders is not None:
        return [name for name, feature in ORDER_FEATURES.items() if not feature.lacks(config.source.given)]
    with ready_made_rows(connection, config, month) as (rows, customer_id):
        kinds = dict(describe(connection, rows.sql))
        kinds.pop(next(name for name in kinds if as_named(name) == as_named(customer_id)))
        written = _written_numbers(connection, rows, [name for name, kind in kinds.items() if kind == "VARCHAR"])
    return [name for name, kind in kinds.items() if NUMERIC_TYPES.match(kind) or name in written]


def _written_numbers(connection: duckdb.DuckDBPyConnection, rows: Relation, names: Sequence[str]) -> set[str]:
    """The columns of text of which nearly all are numbers, as in a source that is read as text."""
    if not names:
        return set()
    are_numbers = ", ".join(
        f"count(TRY_CAST({identifier(name)} AS DOUBLE)) > 0.9 * count({identifier(name)})" for name in names
    )
    (found,) = connection.execute(f"SELECT {are_numbers} FROM {rows.sql}").fetchall()
    return {name for name, is_number in zip(names, found, strict=True) if is_number}


def months_before(connection: duckdb.DuckDBPyConnection, config: Config, month: date, most: int) -> list[date]:
    """The months up to the one before `month`, at most so many, that the source shows as it would have then, without a
    gap; ascending.

    Of order lines: those with a line of their own, and an event of every feed, whose window begins no earlier than the
    source does. Of snapshots:
    those whose file lies on this machine. Of the user's own SQL: none, for nobody knows how far back its tables hold
    all rows. Raises SourceError.
    """
    source, wanted = config.source, [add_months(month, -back) for back in range(1, most + 1)]
    with chdir(config.path.parent):
        if source.orders is not None:
            covered = covered_months(connection, config)
            of_events = months_of_events(connection, open_feeds(connection, config), config)
            covered = covered if of_events is None else covered & of_events
        elif source.snapshots is not None:
            covered = {one for one in wanted if lies_here(source.snapshots, config, one)}
        else:
            covered = set()
    return list(takewhile(covered.__contains__, wanted))[::-1]


def _read_orders(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, *, folded: bool, accounted: bool
) -> SourceCounts:
    lines = open_order_lines(connection, config, categories=True)
    plain = replace(lines, products=None)
    feeds = open_feeds(connection, config)
    refuse_unfit_features(connection, config, lines, feeds)
    try:
        past = FOLDED_ORDERS.name if folded and orders_of(config).table is None else ""
        parts = parts_of_lines(connection, plain, window_of(config, month), month) if accounted else []
        events = {feed.name: count_events(connection, feed, config, month) for feed in feeds}
        silent = fold_order_lines(
            connection, config, lines.sql(), month, feeds, plain.sql(), folded=past, accounted=accounted
        )
        if accounted:  # of a month of the past, nobody need have a value of everything
            refuse_without_values(connection, config, month)
        filled = fill_missing(connection, config)
        events = {name: replace(one, silent_customers=silent[name]) for name, one in events.items()}
        (rows,) = connection.execute("SELECT count(*) FROM source_customers").fetchone() or (0,)
        uncategorised = lines_without_category(connection)
        rounded = lost_by_rounding(connection, lines) if accounted else 0.0
        refuse_unknown_categories(connection, config, lines.sql(), month)
    except duckdb.Error as error:
        lines.refuse_changed()
        if isinstance(error, duckdb.DataError | duckdb.ProgrammingError):  # of a value; not Ctrl-C, nor want of memory
            refuse_uncomputable(config, month)
        raise lines.failed(error) from error
    lines.refuse_changed()
    for feed in feeds:
        feed.source.refuse_changed()
    return SourceCounts(rows, parts, uncategorised, events, filled, lines.people.forgotten, rounded)


def fill_missing(connection: duckdb.DuckDBPyConnection, config: Config) -> dict[str, int]:
    """Put the `missing` of each feature that has one in the place of what is not there in `source_customers`; returns
    how many customers got it, by feature. Text that is no number is there, and stays for the contract to reject."""
    given = {one.name: one.missing for one in config.features if one.missing is not None}
    if not given:
        return {}
    absent = {
        name: f"{identifier(name)} IS NULL AND NOT map_contains(unreadable_values, {literal(name)})" for name in given
    }
    counts = ", ".join(f"count(*) FILTER ({condition})" for condition in absent.values())
    found = connection.execute(f"SELECT {counts} FROM source_customers").fetchone() or ()
    filled = ", ".join(
        f"{identifier(name)} = CASE WHEN {absent[name]} THEN {number(value)} ELSE {identifier(name)} END"
        for name, value in given.items()
    )
    connection.execute(f"UPDATE source_customers SET {filled} WHERE {' OR '.join(absent.values())}")
    return dict(zip(given, found, strict=True))


def load_categories(connection: duckdb.DuckDBPyConnection, config: Config, month: date, expression: str) -> None:
    """Fill the temporary table `categories` with each customer of the month and the text of an expression over the
    source: of ready-made rows, the row's; of order lines, the commonest in the window, of several the smallest text.

    Raises SourceError where the expression is none over the source's columns, or the source cannot be read.
    """
    source, key = config.source, {"categorical": expression}
    with chdir(config.path.parent):
        if source.orders is not None:
            lines = open_order_lines(connection, config)
            relation = lines.source
            start, end = map(instant, window_of(config, month))
            rows = f"""
                SELECT customer_id, value, count(*) AS lines
                FROM ({lines.sql(value=_text_of_row(connection, relation, key))})
                WHERE is_line AND ordered_at >= {start} AND ordered_at < {end} AND value IS NOT NULL
                GROUP BY customer_id, value
            """
        else:
            relation, customer_id = open_ready_made(connection, config, month)
            identity = text_id(identifier(customer_id), relation.columns[as_named(customer_id)])
            people = delivered(connection, relation, identity, "rows", row_each=True)
            value = _text_of_row(connection, relation, key)
            rows = f"SELECT {people.customer_id} AS customer_id, {value} AS value, 1 AS lines FROM {people.rows()}"
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
