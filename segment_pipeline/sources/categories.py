"""What customers bought from which category: what a month keeps of it, and what is wrong with it.

Here: what is done with the temporary table `source_categories` (folding.py): customer_id, category (NULL: none), spend
(a decimal, at least 0) and lines.
"""

import difflib
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.errors import SourceError
from segment_pipeline.months import as_of, month_key
from segment_pipeline.sources.order_lines import instant
from segment_pipeline.sources.tables import CUSTOMER_CATEGORIES

KEPT = 10
"""Categories that are told apart, those on which most is spent: the portraits show as many."""

SHOWN = 30


def no_categories(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `source_categories` as it is of a source that has none."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE source_categories "
        "(customer_id VARCHAR, category VARCHAR, spend DECIMAL(38, 4), lines BIGINT)"
    )


def write_categories(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Replace the month of `customer_categories` by `source_categories`, which is dropped."""
    rows = f"""
        WITH most AS (
            SELECT category FROM (
                SELECT category, sum(spend) AS spend FROM source_categories WHERE category IS NOT NULL GROUP BY category
            ) AS each ORDER BY spend DESC, category LIMIT {KEPT}
        )
        SELECT {month_literal(month)} AS month, customer_id, coalesce(category, '(none)') AS category, spend
        FROM source_categories
        WHERE customer_id IS NOT NULL AND (category IS NULL OR category IN (FROM most))
        UNION ALL
        SELECT {month_literal(month)}, customer_id, '(other)', sum(spend) FROM source_categories
        WHERE customer_id IS NOT NULL AND category NOT IN (FROM most) GROUP BY customer_id
    """
    replace_month(connection, CUSTOMER_CATEGORIES, month, rows)
    connection.execute("DROP TABLE source_categories")


def lines_without_category(connection: duckdb.DuckDBPyConnection) -> int:
    found = connection.execute(
        "SELECT CAST(coalesce(sum(lines), 0) AS BIGINT) FROM source_categories WHERE category IS NULL"
    ).fetchone()
    return int(found[0]) if found else 0


def refuse_unknown_categories(connection: duckdb.DuckDBPyConnection, config: Config, lines: str, month: date) -> None:
    """Raises SourceError where a feature is about a category that no line has had until the end of the month."""
    wanted = {one.category: index for index, one in enumerate(config.features) if one.category is not None}
    if not wanted:
        return
    seen = _texts(connection, "SELECT DISTINCT category FROM source_categories WHERE category IS NOT NULL")
    if not wanted.keys() - seen:
        return
    seen |= _texts(
        connection,
        f"""
        SELECT DISTINCT category FROM ({lines})
        WHERE is_line AND ordered_at < {instant(as_of(month))} AND category IS NOT NULL
        """,
    )
    for category in sorted(wanted.keys() - seen):
        index = wanted[category]
        key = config.features[index].ways[0]
        known = sorted(seen)
        nearest = difflib.get_close_matches(category, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        raise SourceError(
            f"{config.path}:{config.line_of('features', index, key)}: features[{index}].{key}: found "
            f"{category}, of which there is no order line until the end of {month_key(month)}; allowed: "
            f"{', '.join(known[:SHOWN])}{more}{hint}"
        )


def _texts(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {str(text) for (text,) in connection.execute(query).fetchall()}
