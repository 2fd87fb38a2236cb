"""Whether the tables of a month tell of the same customers, as those of one run do.

A month that was run again in part has tables of two runs. That something was written after its publication says so
(`publish.known_months`); this says it too where that does not, as in a warehouse of before, or where an asset was
materialized by hand in between.
"""

from collections.abc import Collection
from datetime import date

import duckdb

from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import month_literal
from segment_pipeline.sources.people.tables import REMOVED_ROWS

# month, and of how many customers a table tells; a table without rows of a month tells nothing, which is no
# contradiction: it may be of a newer version, or have nothing to tell
_STAYED = "to_state NOT IN ('lapsed', 'rejected')"  # the deltas hold who has lapsed or was rejected as well
_TOLD = {
    "validated_features": "SELECT month, count(*) FROM validated_features GROUP BY month",
    "segment_profiles": "SELECT month, sum(customers) FROM segment_profiles GROUP BY month",
    "customer_actions": "SELECT month, count(*) FROM customer_actions GROUP BY month",
    "transition_deltas": f"SELECT month, count(*) FILTER ({_STAYED}) FROM transition_deltas GROUP BY month",
    "transition_matrix": f"SELECT month, sum(customers) FILTER ({_STAYED}) FROM transition_matrix GROUP BY month",
}


def _removed(table: str, state: str) -> str:
    """A query of the rows that a table has lost since its months were run, by month and state."""
    return f"SELECT month, {state} AS state, rows FROM {REMOVED_ROWS.name} WHERE table_name = {literal(table)}"


def disagreements(connection: duckdb.DuckDBPyConnection, among: Collection[date] | None = None) -> dict[date, str]:
    """Of each month of the warehouse whose tables contradict one another, which do, in words. among : these months
    alone.

    Rows that `forget` and `merge` have removed count as if they were there: the figures have not changed.
    """
    if among is not None and not among:
        return {}
    chosen = "true" if among is None else f"month IN ({', '.join(map(month_literal, among))})"
    others = " UNION ALL ".join(
        f"""
        SELECT {literal(table)} AS table_name, month, told.customers + coalesce(lost.rows, 0) AS customers
        FROM ({query}) AS told(month, customers) LEFT JOIN (
            SELECT month, sum(rows) FROM ({_removed(table, "coalesce(state, '')")})
            WHERE state NOT IN ('lapsed', 'rejected') GROUP BY month
        ) AS lost(month, rows) USING (month)
        WHERE {chosen}
        """
        for table, query in _TOLD.items()
    )
    found = connection.execute(f"""
        WITH assigned AS (
            SELECT month, segment_id, CAST(sum(customers) AS BIGINT) AS customers FROM (
                SELECT month, segment_id, count(*) AS customers FROM monthly_assignments
                WHERE {chosen} GROUP BY ALL
                UNION ALL {_removed("monthly_assignments", "CAST(state AS INTEGER)")}
            ) GROUP BY ALL
        ),
        of_month AS (SELECT month, sum(customers) AS customers FROM assigned GROUP BY month),
        of_segments AS (
            SELECT month, sum(abs(coalesce(a.customers, 0) - coalesce(p.customers, 0))) AS customers
            FROM assigned AS a FULL JOIN segment_profiles AS p USING (month, segment_id) WHERE {chosen} GROUP BY month
        ),
        said AS (
            SELECT month, table_name || ' tells of ' || told.customers AS what
            FROM ({others}) AS told JOIN of_month USING (month)
            WHERE told.customers <> of_month.customers
            UNION ALL
            SELECT month, 'segment_profiles has other segments' FROM of_segments JOIN of_month USING (month)
            WHERE of_segments.customers > 0
        )
        SELECT month, 'monthly_assignments has ' || any_value(of_month.customers) || ' customers, '
            || string_agg(what, ', ' ORDER BY what)
        FROM said JOIN of_month USING (month) GROUP BY month ORDER BY month
    """).fetchall()
    return dict(found)
