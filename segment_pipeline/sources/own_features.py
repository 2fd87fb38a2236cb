"""Whether the features that the user has written can be computed: asked before anything runs.

Every one that cannot is told with its line and key, what was found and what is allowed, as anything else that is wrong
in the user's file. What an expression may be stands in aggregates.py.
"""

from contextlib import chdir

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.errors_by_line import error_report
from segment_pipeline.config.yaml_text import KeyPath, Problem
from segment_pipeline.errors import ConfigError
from segment_pipeline.sources.aggregates import AS_OF, Names, UnfitError, open_parser, refuse_no_number, refuse_unfit
from segment_pipeline.sources.order_lines import LINE_COLUMNS, OrderLines, open_order_lines


def check_own_features(config: Config) -> None:
    """Raises ConfigError with every feature that is no feature of its rows, and SourceError where these cannot be
    opened. Without features of one's own, the source is not looked at."""
    if not any(feature.of_lines for feature in config.features):
        return
    with duckdb.connect() as connection, chdir(config.path.parent):
        connection.execute("SET python_enable_replacements = false")
        refuse_unfit_features(connection, config, open_order_lines(connection, config))


def refuse_unfit_features(connection: duckdb.DuckDBPyConnection, config: Config, lines: OrderLines) -> None:
    """As `check_own_features`, of order lines that are open."""
    problems = _unfit_of_lines(connection, config, lines)
    if problems:
        raise ConfigError(error_report(config.path, problems))


def _unfit_of_lines(connection: duckdb.DuckDBPyConnection, config: Config, lines: OrderLines) -> list[Problem]:
    given = config.source.given
    settled = dict.fromkeys((*LINE_COLUMNS, AS_OF), "")
    settled |= {key: "" if key in given else f"source.orders.{key}" for key in ("product_id", "category")}
    names = Names(settled, [name for name in lines.source.columns if name not in settled])
    with open_parser() as parser:
        return [
            problem
            for index, feature in enumerate(config.features)
            if feature.of_lines is not None
            for problem in _unfit(
                parser, connection, config, ("features", index, "of_lines"), feature.of_lines, names, f"({lines.sql()})"
            )
        ]


def _unfit(
    parser: duckdb.DuckDBPyConnection,
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    key: KeyPath,
    text: str,
    names: Names,
    rows: str,
) -> list[Problem]:
    try:
        refuse_unfit(parser, text, names)
        refuse_no_number(parser, connection, text, rows)
    except UnfitError as error:
        return [Problem(config.line_of(*key), config.label_of(*key), error.found, error.allowed)]
    return []
