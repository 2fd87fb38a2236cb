"""Whether the tables of a month tell of the same customers, as those of one run do.

A month that was run again in part has tables of two runs. That something was written after its publication says so
(`publish.known_months`); this says it too where that does not, as in a warehouse of before, or where an asset was
materialized by hand in between.
"""

from datetime import date

import duckdb

# month, and of how many customers a table tells; a table without rows of a month tells nothing, which is no
# contradiction: it may be of a newer version, or have nothing to tell
_TOLD = {
    "validated_features": "SELECT month, count(*) FROM validated_features GROUP BY month",
    "segment_profiles": "SELECT month, sum(customers) FROM segment_profiles GROUP BY month",
    "customer_actions": "SELECT month, count(*) FROM customer_actions GROUP BY month",
    # the deltas hold who has lapsed or was rejected as well
    "transition_deltas": """
        SELECT month, count(*) FILTER (to_state NOT IN ('lapsed', 'rejected')) FROM transition_deltas GROUP BY month
    """,
    "transition_matrix": """
        SELECT month, sum(customers) FILTER (to_state NOT IN ('lapsed', 'rejected'))
        FROM transition_matrix GROUP BY month
    """,
}


def disagreements(connection: duckdb.DuckDBPyConnection) -> dict[date, str]:
    """Of each month of the warehouse whose tables contradict one another, which do, in words."""
    others = " UNION ALL ".join(
        f"SELECT '{table}' AS table_name, month, customers FROM ({query}) AS told(month, customers)"
        for table, query in _TOLD.items()
    )
    found = connection.execute(f"""
        WITH assigned AS (SELECT month, segment_id, count(*) AS customers FROM monthly_assignments GROUP BY ALL),
        of_month AS (SELECT month, sum(customers) AS customers FROM assigned GROUP BY month),
        of_segments AS (
            SELECT month, sum(abs(coalesce(a.customers, 0) - coalesce(p.customers, 0))) AS customers
            FROM assigned AS a FULL JOIN segment_profiles AS p USING (month, segment_id) GROUP BY month
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
