"""Journeys of a month: the paths that customers took to it over the last two to six months, and where they led.

A customer's state in a month is the role of its segment as the last month's champion sees it; where segments have no
roles, their name. Of a month that this champion cannot see it is that of the segment which was published: a state may
then change although the customer did not move, and such rows are marked. A month without the customer is `lapsed`, or
`rejected`. Set-based SQL, one pass over six months.
"""

from datetime import date
from itertools import takewhile

import duckdb

from segment_pipeline.database.rows import Row, read_rows
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.segments.month_before_store import seen_in
from segment_pipeline.segments.tables import JOURNEY_CONVERSION, JOURNEY_PATHS

LENGTHS = range(2, 7)
"""Months of a path, both ends included."""

COMMON_PATHS = 100
"""Paths kept of each length: the commonest."""


def write_journeys(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date) -> tuple[int, int]:
    """Paths and conversions that end with `month`, which `champion` serves; returns the rows of both. Empty as long as
    there is one month, or the one before was passed over: nobody was seen then, and nobody had lapsed."""
    there = {row[0] for row in connection.execute("SELECT DISTINCT month FROM monthly_assignments").fetchall()}
    unbroken = list(takewhile(lambda ago: add_months(month, -ago) in there, range(LENGTHS[-1])))
    lengths = [length for length in LENGTHS if length <= len(unbroken)]
    unseen = _gather_states(connection, champion, month)
    refits = {length: any(ago < length for ago in unseen) for length in lengths}
    paths = " UNION ALL ".join(_paths(month, length, refits[length]) for length in lengths)
    conversions = " UNION ALL ".join(_conversions(month, length, refits[length]) for length in lengths)
    rows = (
        replace_month(connection, JOURNEY_PATHS, month, paths or f"SELECT * FROM {JOURNEY_PATHS.name} LIMIT 0"),
        replace_month(
            connection,
            JOURNEY_CONVERSION,
            month,
            conversions or f"SELECT * FROM {JOURNEY_CONVERSION.name} LIMIT 0",
        ),
    )
    connection.execute("DROP TABLE journey_states")
    return rows


def common_paths(connection: duckdb.DuckDBPyConnection, month: date) -> list[Row]:
    """The ten commonest paths of three months that end with `month`: path, customers, share."""
    return read_rows(
        connection,
        "SELECT array_to_string(path, ' > ') AS path, customers, share FROM journey_paths "
        "WHERE month = ? AND months = 3 AND place <= 10 ORDER BY place",
        month,
    )


def _gather_states(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date) -> list[int]:
    """A temporary table with a row per customer of the last six months, and its state in each: ago_0 is `month`.
    Returns how many months ago those are that the champion cannot see."""
    longest, states, unseen = LENGTHS[-1], [], []
    for ago in range(longest):
        earlier, of_profiles = add_months(month, -ago), month
        seen = seen_in(connection, champion, earlier)
        if seen is None:
            unseen.append(ago)
            seen = f"SELECT customer_id, segment_id FROM monthly_assignments WHERE month = {month_literal(earlier)}"
            of_profiles = earlier
        states.append(f"""
            SELECT {ago} AS ago, s.customer_id, coalesce(p.role, p.name) AS state FROM ({seen}) AS s
            LEFT JOIN segment_profiles AS p
                ON p.month = {month_literal(of_profiles)} AND p.segment_id = s.segment_id
        """)
    columns = ", ".join(f"max(state) FILTER (ago = {ago}) AS ago_{ago}" for ago in range(longest))
    since = month_literal(add_months(month, 1 - longest))
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE journey_states AS
        SELECT customer_id, {columns} FROM (
            {" UNION ALL ".join(states)}
            UNION ALL
            SELECT DISTINCT datediff('month', month, {month_literal(month)}), customer_id, 'rejected'
            FROM rejected_customers
            WHERE month BETWEEN {since} AND {month_literal(month)} AND trim(customer_id) <> ''
        ) AS months GROUP BY customer_id
    """)
    return unseen


def _state(ago: int) -> str:
    return f"coalesce(ago_{ago}, 'lapsed')"


def _starters(length: int) -> str:
    """The customers who were in a segment when the path begins."""
    return f"journey_states WHERE ago_{length - 1} IS NOT NULL AND ago_{length - 1} <> 'rejected'"


def _paths(month: date, length: int, crosses_refit: bool) -> str:
    steps = ", ".join(_state(ago) for ago in range(length - 1, -1, -1))
    return f"""
        SELECT {month_literal(month)} AS month, {length} AS months, path, from_state, to_state, customers, share,
            CAST(place AS INTEGER) AS place, {crosses_refit} AS crosses_refit
        FROM (
            SELECT path, from_state, to_state, count(*) AS customers,
                CAST(count(*) AS DOUBLE) / sum(count(*)) OVER (PARTITION BY from_state) AS share,
                row_number() OVER (ORDER BY count(*) DESC, path) AS place
            FROM (
                SELECT [{steps}] AS path, {_state(length - 1)} AS from_state, {_state(0)} AS to_state
                FROM {_starters(length)}
            ) AS taken
            GROUP BY path, from_state, to_state
        ) AS counted
        WHERE place <= {COMMON_PATHS}
    """


def _conversions(month: date, length: int, crosses_refit: bool) -> str:
    later = [_state(ago) for ago in range(length - 2, -1, -1)]

    def reached(states: tuple[str, ...], unless: str) -> str:
        listed = ", ".join(f"'{state}'" for state in states)
        ever = " OR ".join(f"{step} IN ({listed})" for step in later)
        return f"CASE WHEN ago_{length - 1} <> '{unless}' THEN avg(CAST(({ever}) AS INTEGER)) END"

    return f"""
        SELECT {month_literal(month)} AS month, ago_{length - 1} AS from_state, {length - 1} AS months_later,
            count(*) AS customers,
            {reached(("engaged",), "engaged")} AS reached_engaged,
            {reached(("dormant", "lapsed"), "dormant")} AS reached_dormant,
            avg(CAST({later[-1]} = 'lapsed' AS INTEGER)) AS lapsed, {crosses_refit} AS crosses_refit
        FROM {_starters(length)}
        GROUP BY ago_{length - 1}
    """
