"""A statement that is shown only the months it asks for gives the rows that it gives of all of them."""

from datetime import date

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from segment_pipeline.database.engines.pruning import months_asked
from segment_pipeline.database.engines.spark_sql import AsWritten
from segment_pipeline.months import add_months

MONTHS = [add_months(date(2017, 10, 1), number) for number in range(5)]
TABLES = ("assigned", "known")


def shown_of(query: str) -> dict[str, list[str]]:
    """For each name in the query, the months that it is shown."""
    found = parse_one(query, read=AsWritten)
    shown = {}
    for table in found.find_all(exp.Table):
        asked = months_asked(table, "month")
        shown[table.alias_or_name] = [f"{month:%y-%m}" for month in MONTHS if asked(month)]
    return shown


def pruned(query: str) -> str:
    """The query with each table less the months that it does not ask for."""
    tree = parse_one(query, read=AsWritten)
    for table in list(tree.find_all(exp.Table)):
        asked = months_asked(table, "month")
        listed = ", ".join(f"DATE '{month}'" for month in MONTHS if asked(month)) or "NULL"
        part = parse_one(f"SELECT * FROM {table.name} WHERE month IN ({listed})", read=AsWritten)
        table.replace(part.subquery(table.alias_or_name))
    return str(tree.sql(AsWritten))


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT * FROM assigned WHERE month = DATE '2017-11-01' AND x > 1", {"assigned": ["17-11"]}),
        ("SELECT * FROM assigned AS a WHERE (a.month >= DATE '2018-01-01' AND (x > 1))", {"a": ["18-01", "18-02"]}),
        ("FROM assigned WHERE month BETWEEN DATE '2017-11-01' AND DATE '2017-12-01'", {"assigned": ["17-11", "17-12"]}),
        (
            "SELECT 1 FROM assigned AS a LEFT JOIN known AS k ON k.month = DATE '2017-10-01' AND a.x = k.x "
            "WHERE a.month < DATE '2017-12-01'",
            {"a": ["17-10", "17-11"], "k": ["17-10"]},
        ),
        (
            "SELECT 1 FROM assigned AS a ANTI JOIN known AS k ON k.month = DATE '2017-10-01' AND k.x = a.x",
            {"k": ["17-10"]},
        ),
        ("SELECT 1 FROM assigned AS a RIGHT JOIN known AS k ON k.month = DATE '2017-10-01'", {}),
        ("SELECT 1 FROM assigned AS a JOIN known AS k USING (x) WHERE month = DATE '2017-10-01'", {}),
        ("SELECT * FROM assigned WHERE month = DATE '2017-11-01' OR x > 1", {}),
        ("SELECT * FROM assigned WHERE NOT month = DATE '2017-11-01'", {}),
        ("SELECT * FROM assigned WHERE month = first OR x = 2", {}),
        ("SELECT * FROM assigned WHERE first = DATE '2017-11-01'", {}),
    ],
)
def test_what_a_statement_is_shown(query: str, shown: dict[str, list[str]]) -> None:
    everything = [f"{month:%y-%m}" for month in MONTHS]
    for name, months in shown_of(query).items():
        assert months == shown.get(name, everything)


def made() -> duckdb.DuckDBPyConnection:
    """Both tables, two rows a month."""
    connection = duckdb.connect()
    for table, step in zip(TABLES, (2, 3), strict=True):
        values = ", ".join(
            f"(DATE '{month}', {number % step + extra})" for number, month in enumerate(MONTHS) for extra in (0, 2)
        )
        connection.execute(f"CREATE TABLE {table} AS FROM (VALUES {values}) AS v(month, x)")
    return connection


literals = st.sampled_from([f"DATE '{month}'" for month in MONTHS])
compared = st.tuples(st.sampled_from("ak"), st.sampled_from(["=", "<", "<=", ">", ">="]), literals).map(
    lambda one: f"{one[0]}.month {one[1]} {one[2]}"
)
others = st.sampled_from(["a.x > 1", "k.x < 3", "a.month = k.month", "k.x IS NULL", "a.month IS NULL"])
between = st.tuples(st.sampled_from("ak"), literals, literals).map(
    lambda one: f"{one[0]}.month BETWEEN {one[1]} AND {one[2]}"
)
single = st.one_of(compared, others, between)
either = st.tuples(single, single).map(lambda two: f"({two[0]} OR {two[1]})")
negated = single.map(lambda one: f"NOT ({one})")
conditions = st.lists(st.one_of(single, either, negated), min_size=1, max_size=3).map(" AND ".join)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]), conditions, conditions)
def test_the_rows_are_the_same(join: str, on: str, where: str) -> None:
    query = f"SELECT a.month, a.x, k.month, k.x FROM assigned AS a {join} known AS k ON {on} WHERE {where}"
    with made() as connection:
        expected = connection.execute(f"FROM ({query}) ORDER BY ALL").fetchall()
        assert connection.execute(f"FROM ({pruned(query)}) ORDER BY ALL").fetchall() == expected


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["SEMI JOIN", "ANTI JOIN"]), conditions, literals)
def test_nor_do_those_differ_that_only_ask_whether_there_are_any(join: str, on: str, month: str) -> None:
    query = f"SELECT a.month, a.x FROM assigned AS a {join} known AS k ON {on} WHERE a.month <= {month}"
    with made() as connection:
        expected = connection.execute(f"FROM ({query}) ORDER BY ALL").fetchall()
        assert connection.execute(f"FROM ({pruned(query)}) ORDER BY ALL").fetchall() == expected
