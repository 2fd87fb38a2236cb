"""What the customers of each segment spend their money on, beside all customers; and somebody whom that tells apart."""

from datetime import date

import duckdb

from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.segments.tables import SEGMENT_CATEGORIES, SEGMENT_EXAMPLES


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
            SELECT segment_id, category, sum(spend) AS spend, count(*) FILTER (spend > 0) AS buyers
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


def write_segment_examples(connection: duckdb.DuckDBPyConnection, month: date) -> int:
    """Replace the month of segment_examples, from segment_categories; returns the number of rows, at most one for each
    segment."""
    of_month = month_literal(month)
    return replace_month(
        connection,
        SEGMENT_EXAMPLES,
        month,
        f"""
        WITH of_two AS (
            SELECT customer_id, segment_id, max_probability, second_segment_id, second_probability,
                is_between, position_to_second
            FROM monthly_assignments WHERE month = {of_month} AND (tier = 'hybrid' OR is_between)
        ),
        pairs AS (
            -- a probability of 0.5 may be doubt; who lies between does some of both
            SELECT *, row_number() OVER (
                PARTITION BY segment_id ORDER BY is_between DESC NULLS LAST, customers DESC, second_segment_id
            ) AS place
            FROM (
                SELECT segment_id, is_between, second_segment_id, count(*) AS customers FROM of_two
                GROUP BY segment_id, is_between, second_segment_id
            )
        ),
        hybrids AS (
            SELECT o.* FROM of_two AS o JOIN pairs AS p ON p.place = 1 AND p.segment_id = o.segment_id
                AND p.second_segment_id = o.second_segment_id AND p.is_between IS NOT DISTINCT FROM o.is_between
        ),
        spent AS (
            SELECT customer_id, CAST(sum(spend) AS DOUBLE) AS total
            FROM customer_categories JOIN hybrids USING (customer_id) WHERE month = {of_month} GROUP BY customer_id
        ),
        usual AS (
            -- the mean of whole hundredths, whose sum does not depend on the order of the rows
            SELECT segment_id, avg(CAST(round(100 * total) AS BIGINT)) / 100 AS total
            FROM hybrids JOIN spent USING (customer_id) GROUP BY segment_id
        ),
        bought AS (
            SELECT h.*, c.category, CAST(c.spend AS DOUBLE) / s.total AS share
            FROM hybrids AS h
            JOIN spent AS s ON s.customer_id = h.customer_id
            JOIN usual AS u ON u.segment_id = h.segment_id AND 2 * s.total >= u.total
            JOIN customer_categories AS c ON c.customer_id = h.customer_id AND c.month = {of_month}
            WHERE s.total > 0 AND c.category NOT IN ('(other)', '(none)')
        ),
        ranked AS (
            SELECT b.*, own.share AS segment_share, second.share AS second_segment_share,
                row_number() OVER (
                    PARTITION BY b.segment_id ORDER BY b.share - own.share DESC, b.customer_id, b.category
                ) AS place
            FROM bought AS b
            JOIN segment_categories AS own
                ON own.month = {of_month} AND own.segment_id = b.segment_id AND own.category = b.category
            LEFT JOIN segment_categories AS second
                ON second.month = {of_month} AND second.segment_id = b.second_segment_id
                AND second.category = b.category
            WHERE b.share > own.share
        )
        SELECT {of_month} AS month, segment_id, customer_id, max_probability, second_segment_id, second_probability,
            is_between, position_to_second, category, share, segment_share, second_segment_share
        FROM ranked WHERE place = 1 ORDER BY segment_id
        """,
    )
