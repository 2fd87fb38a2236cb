"""Rows meet their table by contract: every declared column, no other, in every row, however it is written."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import insert_rows, read_rows, without, write_rows
from segment_pipeline.database.store import Warehouse, insert_query, prepare, replace_month
from segment_pipeline.database.tables import MONTH, Column, Table, UnfitRowsError

JULY, AUGUST = date(2023, 7, 1), date(2023, 8, 1)
HABITS = Table(
    "habits",
    "What somebody does.",
    (MONTH, Column("name", "VARCHAR", "", "Who."), Column("times", "BIGINT", "", "How often."))
    + tuple(Column(f"habit {i}", "DOUBLE", "", "Which.") for i in range(4)),
    ("month", "name"),
)
CUSTOMERS = Table("customers", "With features.", (MONTH, HABITS.columns[1]), ("month", "name"), features=True)
FEATURES = ("visits", 'minutes "on" the phone', "Größe")
STRANGE = ("colour", "Month", "habit", "", 'a "b"', "TIMES ", "month; DROP TABLE habits")

some = st.sets(st.sampled_from(HABITS.column_names[1:]))
strange = st.sets(st.sampled_from(STRANGE), max_size=2)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        prepare(connection, (HABITS, CUSTOMERS), (*FEATURES, "of an older file"))
        yield connection


@pytest.fixture(autouse=True)
def july(connection):
    """Both tables with nothing in them but a row of July."""
    empty(connection)


def empty(connection):
    connection.execute("DELETE FROM habits; DELETE FROM customers")
    write_rows(connection, HABITS, JULY, [habit("reads")])


def habit(name, **others):
    return dict.fromkeys(HABITS.column_names[1:]) | {"name": name} | others


def names(connection, table="habits"):
    return [row["name"] for row in read_rows(connection, f"SELECT name FROM {table} ORDER BY month, name")]


def test_rows_come_back_as_they_were_written_with_null_where_it_was_said(connection):
    rows = [habit("runs", times=3, **{"habit 2": 0.5}), habit("sings")]
    assert write_rows(connection, HABITS, AUGUST, rows) == 2
    assert insert_rows(connection, HABITS, [habit("walks", month=AUGUST)]) == 1
    found = read_rows(connection, "SELECT * FROM habits WHERE month = ? ORDER BY name", AUGUST)
    assert found == [{"month": AUGUST, **row} for row in [*rows, habit("walks")]]
    assert write_rows(connection, HABITS, AUGUST, []) == 0
    assert names(connection) == ["reads"]


KINDS = {
    "VARCHAR": st.text(max_size=3),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "UBIGINT": st.integers(0, 2**64 - 1),
    "DOUBLE": st.floats() | st.integers(-(2**53), 2**53),
    "BOOLEAN": st.booleans(),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
    "DECIMAL(38,4)": st.decimals(-(10**20), 10**20, places=4),
    "VARCHAR[]": st.lists(st.none() | st.text(max_size=3), max_size=2),
    "DOUBLE[]": st.lists(st.floats(), max_size=2),
}


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(sorted(KINDS)))
def test_a_row_is_written_as_it_would_be_alone_whatever_stands_beside_it(data, kind):
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=5))
    table = Table("values", "", (Column("place", "BIGINT", "", ""), Column("value", kind, "", "")), ("place",))
    with duckdb.connect() as connection:
        prepare(connection, (table,), ())
        insert_rows(connection, table, [{"place": i, "value": value} for i, value in enumerate(values)])
        found = connection.execute('SELECT value FROM "values" ORDER BY place').fetchall()
        alone = [connection.execute(f"SELECT CAST(? AS {kind})", [value]).fetchone() for value in values]
    assert repr(found) == repr(alone)


@settings(max_examples=100, deadline=None)
@given(lacking=some, extra=strange, before=st.integers(0, 3), after=st.integers(0, 3), whole_month=st.booleans())
def test_one_unfit_row_anywhere_refuses_them_all(connection, lacking, extra, before, after, whole_month):
    unfit = {key: value for key, value in habit("sings").items() if key not in lacking} | dict.fromkeys(extra)
    rows = [*[habit("runs")] * before, unfit, *[habit("walks")] * after]
    empty(connection)

    def write():
        if whole_month:
            return write_rows(connection, HABITS, JULY, rows)
        return insert_rows(connection, HABITS, [{**row, "month": JULY} for row in rows])

    if not lacking and not extra:
        assert write() == len(rows)
        assert len(names(connection)) == len(rows) + (0 if whole_month else 1)
        return
    with pytest.raises(UnfitRowsError) as refused:
        write()
    said = str(refused.value)
    assert said.startswith("habits: found rows with")
    assert "declare a column that is new" in said
    assert all(key in said for key in lacking | extra)
    assert names(connection) == ["reads"]


def test_the_message_names_the_table_what_is_wrong_and_what_to_do(connection):
    row = habit("runs", colour="blue")
    del row["times"]
    with pytest.raises(UnfitRowsError) as refused:
        write_rows(connection, HABITS, JULY, [row])
    assert str(refused.value) == (
        "habits: found rows with colour and without times; a row of it has each declared column once, and no other. "
        "Say NULL where there is no value, and declare a column that is new in the table."
    )


def test_the_month_of_a_row_does_not_win_over_the_month_that_is_written(connection):
    with pytest.raises(UnfitRowsError, match="with month;"):
        write_rows(connection, HABITS, JULY, [habit("runs", month=AUGUST)])


@settings(max_examples=100, deadline=None)
@given(
    lacking=some,
    extra=strange,
    order=st.permutations(HABITS.column_names),
    upper=st.sets(st.sampled_from(HABITS.column_names)),
)
def test_a_query_meets_its_table_as_rows_do_in_any_order_and_case(connection, lacking, extra, order, upper):
    columns = [name.upper() if name in upper else name for name in order if name not in lacking]
    columns += [name for name in sorted(extra) if name and name != "Month"]
    values = ", ".join(
        f"{f'DATE {JULY.isoformat()!r}' if name.lower() == 'month' else 'NULL'} AS {identifier(name)}"
        for name in columns
    )
    query = f"\n  WITH one AS (SELECT {values}) SELECT * FROM one UNION ALL SELECT * FROM one ORDER BY ALL"
    empty(connection)
    if lacking or extra - {"", "Month"}:
        with pytest.raises(UnfitRowsError, match="habits: found rows with"):
            insert_query(connection, HABITS, query)
        assert names(connection) == ["reads"]
    else:
        assert replace_month(connection, HABITS, JULY, query) == 2
        assert names(connection) == [None, None]


def test_a_column_twice_in_a_query_is_refused(connection):
    listed = ", ".join(map(identifier, HABITS.column_names))
    with pytest.raises(UnfitRowsError, match="with times_1;"):
        insert_query(connection, HABITS, f"SELECT {listed}, 7 AS times FROM habits")


def test_features_are_part_of_the_contract_and_those_of_an_older_file_are_not(connection):
    features = ", ".join(f"1.5 AS {identifier(name)}" for name in FEATURES)
    query = f"SELECT DATE '2023-07-01' AS month, 'c1' AS name, {features}"
    assert replace_month(connection, CUSTOMERS, JULY, query, FEATURES) == 1
    found = read_rows(connection, "SELECT * FROM customers")
    assert found == [{"month": JULY, "name": "c1", **dict.fromkeys(FEATURES, 1.5), "of an older file": None}]
    for carried in (FEATURES[:2], (*FEATURES, "of an older file")):
        with pytest.raises(UnfitRowsError, match=r"customers: found rows with(out)? "):
            insert_query(connection, CUSTOMERS, query, carried)


def test_rows_of_a_table_with_features_say_which_and_others_have_none(connection):
    with pytest.raises(UnfitRowsError, match=r"customers: found rows without features; .* declared with them"):
        insert_query(connection, CUSTOMERS, "SELECT DATE '2023-07-01' AS month, 'c1' AS name")
    with pytest.raises(UnfitRowsError, match=r"customers: found rows without features"):
        insert_rows(connection, CUSTOMERS, [{"month": JULY, "name": "c1"}])
    with pytest.raises(UnfitRowsError, match=r"habits: found rows with features; .* declared without them"):
        insert_query(connection, HABITS, "SELECT * FROM habits", ["visits"])


def test_a_month_that_is_refused_stays_as_it_was(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", lock_timeout=1, memory_limit="1GB", threads=1)
    with warehouse.transaction() as connection:
        prepare(connection, (HABITS,), ())
        write_rows(connection, HABITS, JULY, [habit("reads")])
    with suppress(UnfitRowsError), warehouse.transaction() as connection:
        replace_month(connection, HABITS, JULY, "SELECT DATE '2023-07-01' AS month, 'runs' AS name")
    with warehouse.connect() as connection:
        assert names(connection) == ["reads"]


def test_a_table_of_an_older_version_takes_the_rows_of_this_one():
    with duckdb.connect() as connection:
        prepare(connection, (HABITS,), ())
        write_rows(connection, HABITS, JULY, [habit("reads", times=7)])
        connection.execute("ALTER TABLE habits DROP COLUMN times")
        connection.execute("ALTER TABLE habits ADD COLUMN given_up VARCHAR")
        prepare(connection, (HABITS,), ())
        write_rows(connection, HABITS, AUGUST, [habit("runs", times=3)])
        found = read_rows(connection, "SELECT name, times, given_up FROM habits ORDER BY month")
        assert found == [
            {"name": "reads", "times": None, "given_up": None},
            {"name": "runs", "times": 3, "given_up": None},
        ]


def test_a_record_without_a_field_that_it_has_not_is_a_mistake():
    @dataclass(frozen=True)
    class Record:
        name: str
        chart: object

    assert without(Record("runs", object()), "chart") == {"name": "runs"}
    with pytest.raises(KeyError):
        without(Record("runs", object()), "chart", "figure")
