"""Whether the features that the user has written can be computed: asked before anything runs.

Every one that cannot is told with its line and key, what was found and what is allowed, as anything else that is wrong
in the user's file. What an expression may be stands in aggregates.py.
"""

from collections.abc import Sequence
from contextlib import chdir

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.errors_by_line import error_report
from segment_pipeline.config.yaml_text import KeyPath, Problem
from segment_pipeline.database.engines.engine import looking
from segment_pipeline.errors import ConfigError
from segment_pipeline.sources.aggregates import AS_OF, Names, UnfitError, refuse_no_number, refuse_unfit
from segment_pipeline.sources.events import EVENT_COLUMNS, Feed, open_feeds, value_of
from segment_pipeline.sources.order_lines import LINE_COLUMNS, OrderLines, open_order_lines


def check_own_features(config: Config) -> None:
    """Raises ConfigError with every feature that is no feature of its rows, and SourceError where these cannot be
    opened. Without features of one's own, the source is not looked at."""
    if not any(feature.of_lines or feature.of_events for feature in config.features):
        return
    with looking(config) as connection, chdir(config.path.parent):
        connection.execute("SET python_enable_replacements = false")
        lines = open_order_lines(connection, config, categories=True)
        refuse_unfit_features(connection, config, lines, open_feeds(connection, config))


def refuse_unfit_features(
    connection: duckdb.DuckDBPyConnection, config: Config, lines: OrderLines, feeds: Sequence[Feed]
) -> None:
    """As `check_own_features`, of order lines and feeds that are open."""
    problems = _unfit_of_lines(connection, config, lines)
    for feed in feeds:
        problems += _unfit_of_events(connection, config, feed)
    if problems:
        raise ConfigError(error_report(config.path, problems))


def _unfit_of_lines(connection: duckdb.DuckDBPyConnection, config: Config, lines: OrderLines) -> list[Problem]:
    given = config.source.given
    settled = dict.fromkeys((*LINE_COLUMNS, AS_OF), "")
    settled |= {key: "" if key in given else f"source.orders.{key}" for key in ("product_id", "category")}
    names = Names(settled, [name for name in lines.source.columns if name not in settled])
    return [
        problem
        for index, feature in enumerate(config.features)
        if feature.of_lines is not None
        for problem in _unfit(
            connection, config, ("features", index, "of_lines"), feature.of_lines, names, f"({lines.sql()})"
        )
    ]


def _unfit_of_events(connection: duckdb.DuckDBPyConnection, config: Config, feed: Feed) -> list[Problem]:
    settled = dict.fromkeys((*EVENT_COLUMNS, AS_OF), "")
    names = Names(settled, [name for name in feed.source.columns if name not in settled])
    return [
        problem
        for index, feature in enumerate(config.features)
        if feature in feed.features
        for problem in _unfit(
            connection, config, ("features", index, "of_events", "value"), value_of(feature), names, f"({feed.sql()})"
        )
    ]


def _unfit(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    key: KeyPath,
    text: str,
    names: Names,
    rows: str,
) -> list[Problem]:
    try:
        refuse_unfit(text, names)
        refuse_no_number(connection, text, rows)
    except UnfitError as error:
        return [Problem(config.line_of(*key), config.label_of(*key), error.found, error.allowed)]
    return []
