"""What the source holds of each month: what is kept, what a change of it is, where feeds end, what comes twice."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.store import prepare
from segment_pipeline.months import as_of, month_range
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.people import forget, leave_source
from segment_pipeline.sources.over_time.contents import changes, line_days, read_contents, write_contents
from segment_pipeline.sources.over_time.copies import copies_in_words
from segment_pipeline.sources.over_time.outlook import look_at_source
from segment_pipeline.sources.over_time.rhythm import feed_end
from segment_pipeline.sources.sources import load_raw_customers

MARCH, APRIL, MAY, JUNE = (date(2023, month, 1) for month in (3, 4, 5, 6))
FEATURES = """
features:
  - {name: orders, valid: {min: 1}}
  - {name: days_since_last_order, valid: {min: 0}}
"""
ORDERS = "orders: {path: 'orders*.csv', customer_id: who, order_id: id, ordered_at: at, amount: paid}"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def configured(folder: Path, source: str = ORDERS, features: str = FEATURES) -> Config:
    (folder / "segmentation.yaml").write_text(f"name: n\nfirst_month: 2023-03\nsource:\n  {source}\n{features}")
    return load_config(folder / "segmentation.yaml")


def daily_orders(first: date, last: date) -> list[str]:
    """An order a day, of two customers by turns."""
    days = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    return [f"c{number % 2},{number},{day},{number}.50" for number, day in enumerate(days)]


def write(path: Path, rows: list[str], header: str = "who,id,at,paid") -> None:
    path.write_text("\n".join([header, *rows]) + "\n")


def kept(connection: duckdb.DuckDBPyConnection, config: Config, *months: date) -> None:
    """What the months stand on, as their runs keep it."""
    prepare(connection, TABLES, config.raw_feature_names)
    for month in months:
        load_raw_customers(connection, config, month)
        read_contents(connection, config)
        write_contents(connection, config, month)


# --- what has changed -------------------------------------------------------------------------------------------------


def test_the_same_lines_in_another_order_and_other_files_are_no_change(connection, tmp_path):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 6, 30))
    write(tmp_path / "orders.csv", rows)
    kept(connection, config, MARCH, APRIL)
    write(tmp_path / "orders.csv", rows[100:][::-1])
    write(tmp_path / "orders2.csv", rows[:100])
    read_contents(connection, config)
    assert changes(connection, config, [MARCH, APRIL]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [*rows, "new,900,2023-02-03,7.25"], "order lines of 2023-02: +1 (+1 customers, +7.25 in money)"),
        (lambda rows: rows[:32] + rows[33:], "order lines of 2023-02: -1 (+0 customers, -32.50 in money)"),
        (
            lambda rows: [row.replace(",32,", ",x32,") for row in rows],
            "order lines of 2023-02: as many, with other values",
        ),
        (lambda rows: rows[59:], "order lines of 2023-01: -31 (-2 customers, -480.50 in money)"),
    ],
)
def test_what_has_changed_is_told_with_its_size(connection, tmp_path, change, said):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 6, 30))
    write(tmp_path / "orders.csv", rows)
    kept(connection, config, MARCH, APRIL)
    write(tmp_path / "orders.csv", change(rows))
    read_contents(connection, config)
    found = changes(connection, config, [MARCH, APRIL])
    assert str(found[0]) == said
    assert found[0].month == MARCH
    assert changes(connection, config, []) == []


def test_lines_that_another_file_chooses_are_read_again_though_their_own_file_is_as_it_was(connection, tmp_path):
    chosen = "who IN (SELECT who FROM 'members.csv')"
    config = configured(tmp_path, ORDERS.replace("paid}", f'paid, where: "{chosen}"}}'))
    write(tmp_path / "orders.csv", daily_orders(MARCH, date(2023, 3, 30)))
    lines = []
    for members in (["c0"], ["c0", "c1"]):
        write(tmp_path / "members.csv", members, header="who")
        read_contents(connection, config)
        lines += connection.execute("SELECT sum(lines) FROM source_contents").fetchall()
    assert lines == [(15,), (30,)]


def test_a_change_after_a_month_is_none_of_that_month(connection, tmp_path):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 6, 30))
    write(tmp_path / "orders.csv", rows)
    kept(connection, config, MARCH, APRIL)
    write(tmp_path / "orders.csv", [*rows, "c0,900,2023-04-03,7.25"])
    read_contents(connection, config)
    assert [(one.of_month, one.month) for one in changes(connection, config, [MARCH, APRIL])] == [(APRIL, APRIL)]
    assert changes(connection, config, [MARCH]) == []


def test_other_lines_by_another_definition_are_no_change_of_the_source(connection, tmp_path):
    config = configured(tmp_path)
    write(tmp_path / "orders.csv", daily_orders(date(2023, 1, 1), date(2023, 6, 30)))
    kept(connection, config, MARCH)
    other = configured(tmp_path, ORDERS.replace("}", ", where: paid > 40}"))
    read_contents(connection, other)
    assert changes(connection, other, [MARCH]) == []


def test_another_duckdb_may_print_another_finger_and_counts_still_tell(connection, tmp_path):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 6, 30))
    write(tmp_path / "orders.csv", rows)
    kept(connection, config, MARCH)
    connection.execute("UPDATE source_months SET fingerprint = '1.5.0:4711'")
    read_contents(connection, config)
    assert changes(connection, config, [MARCH]) == []
    write(tmp_path / "orders.csv", rows[1:])
    read_contents(connection, config)
    assert [one.lines for one in changes(connection, config, [MARCH])] == [-1]


@pytest.mark.parametrize(("lost_besides", "settled"), [(0, True), (1, False)])
def test_what_a_source_has_lost_of_a_person_is_settled_where_it_is_exactly_theirs(
    connection, tmp_path, lost_besides, settled
):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 6, 30))
    theirs = [
        f"gone,90{i},{day},{i}.25" for i, day in enumerate(["2022-12-31", "2023-02-20", "2023-03-30", "2023-03-31"])
    ]
    write(tmp_path / "orders.csv", [*rows, *theirs])
    kept(connection, config, MARCH, APRIL)
    write(tmp_path / "orders.csv", rows[lost_besides:])
    read_contents(connection, config)
    before = changes(connection, config, [MARCH, APRIL])
    assert {one.of_month for one in before} >= {date(2023, 2, 1), MARCH}
    assert leave_source(connection, config, ["gone"]) == settled
    read_contents(connection, config)
    assert changes(connection, config, [MARCH, APRIL]) == ([] if settled else before)


def test_whoever_alone_had_lines_in_a_month_leaves_without_a_change(connection, tmp_path):
    config = configured(tmp_path)
    write(tmp_path / "orders.csv", ["gone,900,2022-12-31,5.00", *daily_orders(date(2023, 1, 1), date(2023, 6, 30))])
    kept(connection, config, MARCH, APRIL)
    leave_source(connection, config, ["gone"])
    forget(connection, ["gone"])
    read_contents(connection, config)
    assert changes(connection, config, [MARCH, APRIL]) == []


def test_a_feed_of_events_is_followed_as_the_orders_are(connection, tmp_path):
    events = "events: [{feed: visits, path: visits.csv, customer_id: who, occurred_at: at}]"
    of_events = FEATURES + "  - {name: visits, of_events: {feed: visits, value: count}, missing: 0}\n"
    config = configured(tmp_path, f"{ORDERS}\n  {events}", of_events)
    write(tmp_path / "orders.csv", daily_orders(date(2023, 1, 1), date(2023, 6, 30)))
    visits = [f"c0,{date(2023, 1, 1) + timedelta(days=count)}" for count in range(181)]
    write(tmp_path / "visits.csv", visits, "who,at")
    kept(connection, config, MARCH)
    write(tmp_path / "visits.csv", [*visits[:140], "c0,2023-02-02", "c0,2023-02-02"], "who,at")
    outlook = look_at_source(connection, config, [MARCH], [APRIL, MAY])
    assert [str(one) for one in outlook.changes] == ["visits of 2023-02: +2 (+0 customers)"]
    assert outlook.waits is not None
    assert (outlook.waits[0], outlook.waits[1].feed, outlook.waits[1].silent) == (MAY, "visits", 11)


def test_snapshots_are_read_again_and_a_file_that_is_gone_is_no_change(connection, tmp_path):
    config = configured(tmp_path, "snapshots: {path: 'at_{month}.csv', customer_id: who}")
    for month in ("2023-03", "2023-04"):
        write(
            tmp_path / f"at_{month}.csv",
            [f"c{n},{n},{month[-1]}" for n in range(1, 5)],
            "who,orders,days_since_last_order",
        )
    kept(connection, config, MARCH, APRIL)
    assert look_at_source(connection, config, [MARCH, APRIL], []).changes == []
    write(tmp_path / "at_2023-03.csv", ["c1,9,9"], "who,orders,days_since_last_order")
    (tmp_path / "at_2023-04.csv").unlink()
    assert [str(one) for one in look_at_source(connection, config, [MARCH, APRIL], []).changes] == [
        "rows of 2023-03: -3 (-3 customers)"
    ]


# --- where feeds end --------------------------------------------------------------------------------------------------


def days(first: date, last: date, every: int = 1) -> list[date]:
    return [first + timedelta(days=count) for count in range(0, (last - first).days + 1, every)]


@pytest.mark.parametrize(
    ("known", "early"),
    [
        (days(date(2023, 1, 1), date(2023, 4, 30)), None),
        (days(date(2023, 1, 1), date(2023, 4, 29)), None),  # a holiday
        (days(date(2023, 1, 1), date(2023, 4, 28)), (2, 0, False)),
        (days(date(2023, 1, 1), date(2023, 3, 15)), (46, 0, False)),  # not a line in the month
        (days(date(2023, 1, 1), date(2023, 4, 23), every=7), None),  # once a week
        (days(date(2023, 1, 1), date(2023, 4, 18), every=7), (14, 6, False)),
        (month_range(date(2023, 1, 1), APRIL), None),  # billed on the first
        (days(date(2023, 1, 1), date(2023, 4, 20)) + days(MAY, date(2023, 5, 9)), (10, 0, True)),
        (days(date(2023, 1, 1), date(2023, 3, 31), every=44), (31, 43, False)),
        ([date(2023, 4, 1), date(2023, 4, 2)], None),  # nobody knows its rhythm
        ([], None),
    ],
)
def test_a_feed_ends_early_where_it_is_silent_for_longer_than_ever(known, early):
    found = feed_end("order lines", known, APRIL)
    assert (found and (found.silent, found.longest, found.goes_on)) == early
    if found is not None:
        assert found.last == max(day for day in known if day < as_of(APRIL))
        assert f"none after {found.last}" in str(found)


def test_it_is_told_whether_there_is_anything_to_wait_for():
    until = days(date(2023, 1, 1), date(2023, 4, 20))
    said = (
        "visits: none after 2023-04-20, 10 days before the month ends, and they {}; the longest silence before that was"
    )
    assert str(feed_end("visits", until, APRIL)) == f"{said.format('end there')} 0 days"
    goes_on = feed_end("visits", [*until[::2], *days(MAY, MAY)], APRIL)
    assert str(goes_on) == f"{said.format('go on only after it').replace('20, 10', '19, 11')} 1 day"


def test_the_days_of_the_lines_are_known(connection, tmp_path):
    config = configured(tmp_path)
    rows = ["a,1,2023-01-01,1", "b,2,2023-01-31,1", "a,3,2023-04-30,1", "a,4,9999-12-31,1", "a,5,,1"]
    write(tmp_path / "orders.csv", rows)
    read_contents(connection, config)
    assert line_days(connection) == {"order lines": [date(2023, 1, 1), date(2023, 1, 31), date(2023, 4, 30)]}


def test_a_month_without_a_line_between_others_is_empty_and_one_after_the_last_waits(connection, tmp_path):
    config = configured(tmp_path)
    rows = daily_orders(date(2023, 1, 1), date(2023, 3, 31)) + daily_orders(MAY, date(2023, 5, 31))
    write(tmp_path / "orders.csv", rows)
    prepare(connection, TABLES, config.raw_feature_names)
    outlook = look_at_source(connection, config, [], [MARCH, APRIL, MAY, JUNE])
    assert outlook.waits is not None  # though it was silent for a whole month before
    assert (outlook.empty, outlook.waits[0]) == ({APRIL}, JUNE)
    assert look_at_source(connection, config, [MARCH, APRIL], []).empty == {APRIL}  # it may have to be renewed


# --- what comes twice -------------------------------------------------------------------------------------------------


def test_a_file_that_a_glob_finds_twice_is_named_with_what_it_adds(connection, tmp_path):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 3, 31))
    write(tmp_path / "orders.csv", rows)
    kept(connection, config, MARCH)
    assert copies_in_words(connection, config, MARCH) == []
    write(tmp_path / "orders_again.csv", rows)
    (said,) = copies_in_words(connection, config, MARCH)
    assert said == (
        "order lines: 31 repeat another in every column (50 %, 2,309.50 in money); orders_again.csv is orders.csv again"
    )


def test_rows_differ_by_all_their_columns_whatever_one_is_called(connection, tmp_path):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 3, 31))
    path = tmp_path / "orders.csv"
    write(path, rows)
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},Source", *(f"{line},web" for line in lines)]) + "\n")
    kept(connection, config, MARCH)
    assert copies_in_words(connection, config, MARCH) == []


def test_one_line_in_many_that_repeats_another_is_a_purchase(connection, tmp_path):
    config, rows = configured(tmp_path), daily_orders(date(2023, 1, 1), date(2023, 3, 31)) * 1
    rows = [f"{row[:-3]}.{cents:02d}" for row in rows for cents in range(10)]
    write(tmp_path / "orders.csv", [*rows, *rows[-3:]])
    kept(connection, config, MARCH)
    assert copies_in_words(connection, config, MARCH) == []
    write(tmp_path / "orders.csv", [*rows, *rows[-4:]])
    assert len(copies_in_words(connection, config, MARCH)) == 1


def test_customers_who_are_those_of_the_month_before_to_the_last_value_are_told(connection, tmp_path):
    config = configured(tmp_path, "snapshots: {path: 'at_{month}.csv', customer_id: who}")
    rows = [f"c{n},{n},{n}" for n in range(1, 5)]
    for month, its in (("2023-03", rows), ("2023-04", rows[::-1]), ("2023-05", [*rows[:3], "c4,4,5"])):
        write(tmp_path / f"at_{month}.csv", its, "who,orders,days_since_last_order")
    kept(connection, config, MARCH, APRIL, MAY)
    assert copies_in_words(connection, config, APRIL) == ["all 4 rows are those of 2023-03"]
    assert copies_in_words(connection, config, MAY) == []
