"""What customers bought from which category: what a month keeps of it, and what is wrong with it.

Here: what is done with three temporary tables. `source_categories` (folding.py): customer_id, category (NULL: none),
spend (a decimal, at least 0) and lines; a row for each customer and category, nearly as many as there are lines.
`source_category_totals`: category, spend and lines of all customers. `source_shares`: a row for each customer. What
can be told from the last two is asked of these.
"""

import difflib
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.errors import SourceError
from segment_pipeline.months import as_of, month_key
from segment_pipeline.sources.order_lines import instant, open_order_lines, window_of
from segment_pipeline.sources.tables import CUSTOMER_CATEGORIES

KEPT = 10
"""Categories that are told apart, those on which most is spent: the portraits show as many."""

SHOWN = 30


def no_categories(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the three tables as they are of a source that has none."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE source_categories "
        "(customer_id VARCHAR, category VARCHAR, spend DECIMAL(38, 4), lines BIGINT)"
    )
    fold_categories(connection, "")


def fold_categories(connection: duckdb.DuckDBPyConnection, columns: str) -> None:
    """Make the other two of `source_categories`. columns : of `source_shares`, aggregates over the rows of a customer,
    each after a comma. It has one more, (spent on others): on all but the categories that are told apart, NULL without
    any."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE source_category_totals AS
        SELECT category, sum(spend) AS spend, CAST(sum(lines) AS BIGINT) AS lines
        FROM source_categories GROUP BY category
    """)
    # of the totals, so that the grouping for the features is the one for the portraits as well
    kept = ", ".join(map(literal, kept_categories(connection))) or "NULL"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE source_shares AS
        SELECT customer_id {columns}, sum(spend) FILTER (category NOT IN ({kept})) AS "(spent on others)"
        FROM source_categories GROUP BY customer_id
    """)


def kept_categories(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The categories that are told apart, that with the largest spend first."""
    found = connection.execute(
        "SELECT category FROM source_category_totals WHERE category IS NOT NULL "
        f"ORDER BY spend DESC, category LIMIT {KEPT}"
    ).fetchall()
    return [category for (category,) in found]


def largest_categories(connection: duckdb.DuckDBPyConnection, config: Config, month: date, most: int) -> list[str]:
    """The categories on which most is spent in the window of the month, at most so many; none of a source without.
    Raises SourceError."""
    if "category" not in config.source.given:
        return []
    lines = open_order_lines(connection, config, categories=True)
    start, end = map(instant, window_of(config, month))
    try:
        found = connection.execute(f"""
            SELECT category FROM (
                SELECT category, sum(amount) AS spend FROM ({lines.sql()})
                WHERE is_line AND category IS NOT NULL AND ordered_at >= {start} AND ordered_at < {end}
                GROUP BY category
            ) ORDER BY spend DESC NULLS LAST, category LIMIT {most}
        """).fetchall()
    except duckdb.Error as error:
        raise lines.failed(error) from error
    return [category for (category,) in found]


def write_categories(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Replace the month of `customer_categories`; the three tables are dropped."""
    kept = ", ".join(map(literal, kept_categories(connection))) or "NULL"
    rows = f"""
        SELECT {month_literal(month)} AS month, customer_id, coalesce(category, '(none)') AS category, spend
        FROM source_categories
        WHERE customer_id IS NOT NULL AND (category IS NULL OR category IN ({kept}))
        UNION ALL
        SELECT {month_literal(month)}, customer_id, '(other)', "(spent on others)" FROM source_shares
        WHERE customer_id IS NOT NULL AND "(spent on others)" IS NOT NULL
    """
    replace_month(connection, CUSTOMER_CATEGORIES, month, rows)
    drop_categories(connection)


def drop_categories(connection: duckdb.DuckDBPyConnection) -> None:
    for table in ("source_categories", "source_category_totals", "source_shares"):
        connection.execute(f"DROP TABLE {table}")


def lines_without_category(connection: duckdb.DuckDBPyConnection) -> int:
    found = connection.execute("SELECT lines FROM source_category_totals WHERE category IS NULL").fetchone()
    return int(found[0]) if found else 0


def refuse_unknown_categories(connection: duckdb.DuckDBPyConnection, config: Config, lines: str, month: date) -> None:
    """Raises SourceError where a feature is about a category that no line has had until the end of the month."""
    wanted = {one.category: index for index, one in enumerate(config.features) if one.category is not None}
    if not wanted:
        return
    seen = _texts(connection, "SELECT category FROM source_category_totals WHERE category IS NOT NULL")
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
