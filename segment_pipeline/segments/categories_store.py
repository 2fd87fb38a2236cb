"""What the customers of each segment spend their money on, beside all customers."""

from datetime import date

import duckdb

from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.segments.tables import SEGMENT_CATEGORIES


def write_segment_categories(connection: duckdb.DuckDBPyConnection, month: date) -> int:
    """Replace the month of segment_categories; returns the number of rows, 0 where the source has no categories.

    Every segment that somebody is in has a row for each category. Spend is summed as decimals, so that the same month
    has the same bits whatever the order of the rows.
    """
    of_month = month_literal(month)
    return replace_month(
        connection,
        SEGMENT_CATEGORIES,
        month,
        f"""
        WITH members AS (SELECT customer_id, segment_id FROM monthly_assignments WHERE month = {of_month}),
        bought AS (
            SELECT segment_id, category, sum(spend) AS spend, count(*) AS buyers
            FROM customer_categories JOIN members USING (customer_id) WHERE month = {of_month}
            GROUP BY segment_id, category
        ),
        everybody AS (
            SELECT category, sum(spend) AS spend, sum(buyers) AS buyers FROM bought GROUP BY category
        ),
        sizes AS (
            SELECT segment_id, count(*) AS customers, sum(count(*)) OVER () AS population FROM members
            GROUP BY segment_id
        ),
        shares AS (
            SELECT s.segment_id, e.category, s.customers, s.population, coalesce(b.buyers, 0) AS buyers,
                e.buyers AS all_buyers,
                CAST(coalesce(b.spend, 0) AS DOUBLE)
                    / nullif(CAST(sum(b.spend) OVER (PARTITION BY s.segment_id) AS DOUBLE), 0) AS share,
                CAST(e.spend AS DOUBLE) / nullif(CAST(sum(b.spend) OVER () AS DOUBLE), 0) AS population_share
            FROM sizes AS s CROSS JOIN everybody AS e
            LEFT JOIN bought AS b ON b.segment_id = s.segment_id AND b.category = e.category
        )
        SELECT {of_month} AS month, segment_id, category, share, population_share,
            100 * share / nullif(population_share, 0) AS index,
            CAST(buyers AS DOUBLE) / customers AS buyers,
            CAST(all_buyers AS DOUBLE) / population AS population_buyers
        FROM shares ORDER BY segment_id, category
        """,
    )
