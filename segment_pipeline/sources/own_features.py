"""Whether the features that the user has written can be computed: asked before anything runs.

Every one that cannot is told with its line and key, what was found and what is allowed, as anything else that is wrong
in the user's file. What an expression may be stands in aggregates.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.errors_by_line import error_report
from segment_pipeline.config.yaml_text import KeyPath, Problem, show
from segment_pipeline.database.engines.engine import looking
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import reason
from segment_pipeline.errors import ConfigError
from segment_pipeline.months import month_key
from segment_pipeline.sources.aggregates import AS_OF, Names, UnfitError, refuse_no_number, refuse_unfit, settled
from segment_pipeline.sources.events import EVENT_COLUMNS, Feed, open_feeds, value_of
from segment_pipeline.sources.order_lines import LINE_COLUMNS, OrderLines, instant, open_order_lines, window_of

LOOKED_AT = 1000
"""Rows of each source over which a feature is computed before anything runs: what their types promise, their values may
not keep."""


def check_own_features(config: Config) -> None:
    """Raises ConfigError with every feature that is no feature of its rows, and SourceError where these cannot be
    opened. Without features of one's own, the source is not looked at."""
    if not any(feature.of_lines or feature.of_events for feature in config.features):
        return
    with looking(config) as connection, chdir(config.path.parent):
        connection.execute("SET python_enable_replacements = false")
        lines = open_order_lines(connection, config, categories=True)
        refuse_unfit_features(connection, config, lines, open_feeds(connection, config), looked_at=LOOKED_AT)


def refuse_unfit_features(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    lines: OrderLines,
    feeds: Sequence[Feed],
    *,
    looked_at: int = 0,
) -> None:
    """As `check_own_features`, of order lines and feeds that are open. looked_at : how many rows are computed with."""
    problems = []
    for own in _own(config, lines, feeds):
        try:
            refuse_unfit(own.text, own.names)
            refuse_no_number(connection, own.text, own.rows)
            if looked_at:
                some = f"(SELECT * FROM {own.rows} WHERE {own.counts} LIMIT {looked_at})"
                _compute(connection, own, some, date(2000, 1, 1))
        except UnfitError as error:
            problems.append(own.problem(config, error))
    if problems:
        raise ConfigError(error_report(config.path, problems))


def refuse_uncomputable(config: Config, month: date) -> None:
    """Once a month could not be read: raises ConfigError where that is a feature's doing, on a value of a row. The
    source is opened anew: the transaction that has failed answers nothing more. Be where the configuration lies."""
    if not any(feature.of_lines or feature.of_events for feature in config.features):
        return
    start, end = window_of(config, month)
    with looking(config) as connection:
        lines = open_order_lines(connection, config, categories=True)
        for own in _own(config, lines, open_feeds(connection, config)):
            window = f"{own.counts} AND {own.moment} >= {instant(start)} AND {own.moment} < {instant(end)}"
            try:
                _compute(connection, own, f"(SELECT * FROM {own.rows} WHERE {window})", end)
            except UnfitError as error:
                raise ConfigError(error_report(config.path, [own.problem(config, error)])) from error


def refuse_without_values(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """Raises ConfigError with the features of the user's own to which `source_customers` has no value for anybody, and
    which the model needs."""
    needed = [
        (index, one)
        for index, one in enumerate(config.features)
        if (one.of_lines or one.of_events) and one.use == "model" and one.missing is None
    ]
    counts = "".join(f", count({identifier(one.name)})" for _, one in needed)
    customers, *valued = connection.execute(f"SELECT count(*){counts} FROM source_customers").fetchone() or (0,)
    problems = [
        Problem(
            config.line_of("features", index, one.ways[0]),
            config.label_of("features", index, one.ways[0]),
            f"{show(one.definition or one.name)}, which has no value for any of the {customers} customers of "
            f"{month_key(month)}",
            "what has one for nearly every customer; for those who have none, `missing` says what stands for it",
        )
        for (index, one), count in zip(needed, valued, strict=True)
        if customers and not count
    ]
    if problems:
        raise ConfigError(error_report(config.path, problems))


@dataclass(frozen=True)
class _Own:
    """A feature of the user's own: where it stands in the file, and over which rows it is taken. counts, moment : of a
    row, whether it counts, and when it was."""

    key: KeyPath
    text: str
    names: Names
    rows: str
    counts: str
    moment: str

    def problem(self, config: Config, error: UnfitError) -> Problem:
        return Problem(config.line_of(*self.key), config.label_of(*self.key), error.found, error.allowed)


def _own(config: Config, lines: OrderLines, feeds: Sequence[Feed]) -> Iterator[_Own]:
    """Those over order lines, then those of each feed."""
    given = config.source.given
    settled_names = dict.fromkeys((*LINE_COLUMNS, AS_OF), "")
    settled_names |= {key: "" if key in given else f"source.orders.{key}" for key in ("product_id", "category")}
    names = Names(settled_names, [name for name in lines.source.columns if name not in settled_names])
    for index, feature in enumerate(config.features):
        if feature.of_lines is not None:
            yield _Own(
                ("features", index, "of_lines"), feature.of_lines, names, f"({lines.sql()})", "is_line", "ordered_at"
            )
    for feed in feeds:
        settled_names = dict.fromkeys((*EVENT_COLUMNS, AS_OF), "")
        names = Names(settled_names, [name for name in feed.source.columns if name not in settled_names])
        for index, feature in enumerate(config.features):
            if feature in feed.features:
                in_file = ("features", index, "of_events", "value")
                yield _Own(in_file, value_of(feature), names, f"({feed.sql()})", "is_event", "occurred_at")


def _compute(connection: duckdb.DuckDBPyConnection, own: _Own, rows: str, end: date) -> None:
    """Raises UnfitError where the feature cannot be computed of what each customer has of these rows, or of none."""
    value = f"CAST({settled(connection, own.text, rows, end)} AS DOUBLE)"
    try:
        connection.execute(f"""
            SELECT max(value) FROM (
                SELECT {value} AS value FROM {rows} GROUP BY customer_id
                UNION ALL SELECT {value} FROM {rows} WHERE false
            )
        """)
    except duckdb.Error as error:
        raise UnfitError(
            f"{show(own.text)}, of whose values DuckDB says: {reason(error)}",
            "what can be computed of any rows of a customer, or none; TRY_CAST(... AS ...) is NULL where CAST fails",
        ) from error
