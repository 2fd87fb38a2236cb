"""Months are folded once: what is merged from the parts has the bits of what is made of all lines, whatever changes."""

from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segment_pipeline.database.store import prepare
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.people import forget, leave_source, merge
from segment_pipeline.sources.order_lines import load_order_days, load_orderers
from segment_pipeline.sources.over_time import folded as folding_of_months
from segment_pipeline.sources.over_time.contents import write_contents
from segment_pipeline.sources.over_time.folded import fold_months
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline.sources.tables import TABLES as OF_SOURCES
from segment_pipeline_tests.source_files import MARCH, orders_from

FIRST = datetime(2022, 11, 28)
MONTHS = [add_months(MARCH, -back) for back in range(4, -1, -1)]

LINES = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cem", " ", None]),
        st.sampled_from(["1", "2", "3", None]),  # so few that orders span days and months, and are of several customers
        st.integers(0, 125).map(lambda days: FIRST + timedelta(days=days, hours=days % 24)),
        st.sampled_from([0.1, 12.3456, -4.2, 1e9, None, float("nan")]),
        st.sampled_from(["x", "y", "z", None]),
    ),
    min_size=1,
    max_size=40,
)


def write_lines(path: Path, lines: list[tuple]) -> None:
    # as everybody's file has it, a line of its own in the last month: without one, the feed is late
    rows = [*lines, ("dora", "9", datetime(2023, 3, 30), 5.0, "x")]
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE t (customer VARCHAR, basket VARCHAR, bought TIMESTAMP, paid DOUBLE, item VARCHAR)"
        )
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")


def made(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    tables = ("raw_customers", "customer_lines", "source_parts")
    found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in tables}
    return found | {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in ("order_days", "orderers")
    }


def run_month(connection: duckdb.DuckDBPyConnection, config, *, folded: bool) -> tuple[dict, list[date]]:
    """What a month makes, and the months that it folded for it."""
    prepare(connection, OF_SOURCES, config.raw_feature_names)
    months = fold_months(connection, config, MARCH) if folded else []
    load_raw_customers(connection, config, MARCH, folded=folded)
    if folded:
        write_contents(connection, config, MARCH)
    load_order_days(connection, config, MARCH)
    load_orderers(connection, config, MARCH, date(2023, 1, 1), date(2023, 3, 17))
    return made(connection), list(months)


def directly(config) -> dict[str, list[tuple]]:
    with duckdb.connect() as connection:
        return run_month(connection, config, folded=False)[0]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=LINES, late=LINES, gone=st.sets(st.integers(0, 39)), changed=st.integers(0, 39))
def test_whatever_arrives_late_goes_or_changes_the_merged_parts_are_the_lines(
    tmp_path_factory, first, late, gone, changed
):
    folder = tmp_path_factory.mktemp("folded")
    config, path = orders_from(folder, "lines.parquet"), folder / "lines.parquet"
    customer, order, at, _, item = first[changed % len(first)]
    states = [
        first,
        first + late,
        [line for number, line in enumerate(first + late) if number not in gone],
        [(customer, order, at, 77.7, item), *first[1:]],
    ]
    with duckdb.connect() as connection:
        for lines in states:
            write_lines(path, lines)
            assert run_month(connection, config, folded=True)[0] == directly(config)


def year(*, late: bool = False) -> list[tuple]:
    """A line every other day of four customers by turns, from November to March; an order is of several days."""
    days = [FIRST + timedelta(days=count) for count in range(0, 120, 2)]
    lines = [
        ("abcd"[number % 4], str(number // 8), day, 1.0 + number, "xyz"[number % 2]) for number, day in enumerate(days)
    ]
    return lines + [("a", "late", datetime(2023, 1, 9), 3.0, "x")] * late


@pytest.fixture
def shop(tmp_path):
    """A warehouse in which March was run, its configuration, and the file of its lines."""
    config, path = orders_from(tmp_path, "lines.parquet"), tmp_path / "lines.parquet"
    write_lines(path, year())
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        _, folded = run_month(connection, config, folded=True)
        assert folded == MONTHS
        yield connection, config, path


def test_a_month_folds_what_is_new_or_has_changed_and_nothing_else(shop):
    connection, config, path = shop
    assert run_month(connection, config, folded=True)[1] == []
    write_lines(path, year()[::-1])
    assert run_month(connection, config, folded=True)[1] == []
    write_lines(path, year(late=True))
    found, folded = run_month(connection, config, folded=True)
    assert folded == [date(2023, 1, 1)]
    assert found == directly(config)
    write_lines(path, [line for line in year() if line[2] >= datetime(2023, 1, 1)])
    found, folded = run_month(connection, config, folded=True)
    assert folded == [date(2023, 1, 1)]  # its late line is gone; of the months before, nothing is left to fold
    assert found == directly(config)


@pytest.mark.parametrize(("at_once", "statements"), [(1, 5), (20, 4), (30, 3), (1_000, 1)])
def test_many_lines_are_folded_in_turn_into_the_same_rows(tmp_path, monkeypatch, at_once, statements):
    config, inserted = orders_from(tmp_path, "lines.parquet"), []
    write_lines(tmp_path / "lines.parquet", year())
    insert = folding_of_months.insert_query
    monkeypatch.setattr(folding_of_months, "LINES_AT_ONCE", at_once)
    monkeypatch.setattr(
        folding_of_months, "insert_query", lambda *given: (inserted.append(given[1].name), insert(*given))
    )
    with duckdb.connect() as connection:
        found, months = run_month(connection, config, folded=True)
        order = connection.execute("SELECT of_month, customer_id FROM folded_orders").fetchall()
    assert (found, months) == (directly(config), MONTHS)
    assert order == sorted(order)
    assert inserted.count("folded_orders") == statements


def test_who_asks_for_days_later_in_the_month_reads_no_line(shop):
    connection, config, path = shop
    days = connection.execute("SELECT * FROM order_days ORDER BY ALL").fetchall()
    path.unlink()
    load_order_days(connection, config, MARCH)
    assert connection.execute("SELECT * FROM order_days ORDER BY ALL").fetchall() == days


def test_a_warehouse_of_before_there_were_folded_months_goes_on(shop):
    connection, config, _ = shop
    found = made(connection)
    for table in ("folded_orders", "folded_months"):
        connection.execute(f"DROP TABLE {table}")
    prepare(connection, TABLES, config.raw_feature_names)
    load_order_days(connection, config, MARCH)  # from the lines
    assert made(connection) == found
    assert run_month(connection, config, folded=True) == (found, MONTHS)


def test_a_person_is_forgotten_and_merged_in_the_folded_months_too(shop):
    connection, config, _ = shop
    leave_source(connection, config, ["a"])
    forget(connection, ["a"])
    assert not connection.execute("SELECT 1 FROM folded_orders WHERE customer_id = 'a'").fetchone()
    merge(connection, config, "b", "c")
    assert not connection.execute("SELECT 1 FROM folded_orders WHERE customer_id = 'b'").fetchone()
    found, folded = run_month(connection, config, folded=True)
    assert folded == MONTHS[:1]  # in which nobody else had a line, so that for a moment it had none
    assert found["raw_customers"]
    assert found == run_month(connection, config, folded=False)[0]
