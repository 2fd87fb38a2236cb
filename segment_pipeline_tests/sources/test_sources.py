"""From files as users have them to `raw_customers`: values, point-in-time, and names and values that are data."""

import json
import math
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import load_config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import prepare
from segment_pipeline.errors import SourceError
from segment_pipeline.months import parse_month
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.order_lines import unreadable_date
from segment_pipeline.sources.reconciliation import Part, part
from segment_pipeline.sources.sources import SourceCounts, load_raw_customers, months_before
from segment_pipeline_tests.shop import Shop, query
from segment_pipeline_tests.source_files import (
    COLUMNS,
    LINES,
    MARCH,
    ORDERS,
    Row,
    configured,
    customers,
    load,
    orders_from,
    query_from,
    snapshots_from,
    stored,
    write,
)

# --- the features, by hand --------------------------------------------------------------------------------------------

BY_HAND: dict[str, dict[object, object]] = {
    # of LINES at the end of March; a feature that is declared has its line here
    "days_since_last_order": {"a": 1, "b": 50, "c": 1, "d": 32, "e": 59},
    "orders": {"a": 2, "b": 1, "c": 2, "d": 2, "e": 1},
    "total_spend": {"a": 20.0, "b": -3.5, "c": 9.0, "d": 3.0, "e": 6.0},
    "average_order_value": {"a": 10.0, "b": -3.5, "c": 4.5, "d": 1.5, "e": 6.0},
    "products_per_order": {"a": 1.5, "b": 1, "c": 1, "d": 1, "e": 2},
    "distinct_products": {"a": 2, "b": 1, "c": 2, "d": 1, "e": 2},
    "tenure_days": {"a": 91, "b": 50, "c": 91, "d": 32, "e": 59},
    "days_between_orders": {"a": 45, "b": 50, "c": 45, "d": 16, "e": 59},
    "categories": {"a": 2, "b": 1, "c": 2, "d": 1, "e": 2},
    "category_concentration": {"a": (14.5**2 + 5.5**2) / 400, "b": None, "c": (8**2 + 1) / 81, "d": 1, "e": 0.5},
}


def test_every_feature_is_computed_by_hand() -> None:
    assert set(BY_HAND) == set(ORDER_FEATURES)


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "tsv", "tz", "nanoseconds", "globs", "csv globs", "json"])
def test_features_are_those_computed_by_hand(tmp_path: Path, kind: str) -> None:
    path, columns = f"orders.{kind}", dict(COLUMNS)
    if kind == "tsv":
        header = "\t".join(COLUMNS)
        (tmp_path / path).write_text("\n".join([header, *("\t".join(map(str, line)) for line in LINES)]))
    elif "globs" in kind:
        ending = "csv" if "csv" in kind else "parquet"
        path = f"**/orders_*.{ending}"
        for number in range(3):
            write(tmp_path / "data" / f"{number}" / f"orders_{number}.{ending}", LINES[number::3])
    elif kind == "json":
        rows = [json.dumps(dict(zip(COLUMNS, line, strict=True))) for line in LINES]
        (tmp_path / path).write_text("\n".join(rows))
    else:
        if kind in ("tz", "nanoseconds"):
            path = "orders.parquet"
            columns["bought"] = "TIMESTAMP WITH TIME ZONE" if kind == "tz" else "TIMESTAMP_NS"
        write(tmp_path / path, LINES, columns)
    ordered_at = "CAST(bought AS TIMESTAMP)" if kind == "json" else "bought"
    category = "CASE item WHEN 'p2' THEN 'fresh' ELSE ' dry ' END"
    counts, rows = load(orders_from(tmp_path, path, ordered_at=ordered_at, category=category))
    found = {name: {row["customer_id"]: row[name] for row in rows} for name in BY_HAND}
    assert found == BY_HAND
    assert {row["customer_id"]: str(row["first_seen"]) for row in rows} == {
        "a": "2022-12-31", "b": "2023-02-10", "c": "2022-12-31", "d": "2023-02-28", "e": "2023-02-01"
    }  # fmt: skip
    assert counts.rows == 5
    assert [(one.reason, one.lines, one.orders, one.customers, one.money) for one in counts.parts] == [
        ("used", 11, 8, 5, Decimal("34.5")), ("before the window", 3, 3, 3, 58), ("after the month", 3, 3, 3, 110)
    ]  # fmt: skip
    assert counts.uncategorised == 0


def test_days_without_a_time_count_from_the_first_of_the_window_to_the_last_before_as_of(tmp_path: Path) -> None:
    days = ["2022-12-31", "2023-01-01", "2023-03-31", "2023-04-01"]
    write(tmp_path / "o.parquet", [("a", day, day, 1.0, "p") for day in days], {**COLUMNS, "bought": "DATE"})
    write(tmp_path / "o.csv", [("a", day, day, 1.0, "p") for day in days], {**COLUMNS, "bought": "DATE"})
    _, rows = load(orders_from(tmp_path, "o.parquet"))
    assert rows == load(orders_from(tmp_path, "o.csv"))[1]
    (a,) = rows
    assert a == a | {
        "customer_id": "a", "days_since_last_order": 1, "orders": 2, "total_spend": 2.0, "average_order_value": 1.0,
        "products_per_order": 1, "distinct_products": 1, "tenure_days": 91, "days_between_orders": 45,
    }  # fmt: skip


def test_times_with_a_zone_are_taken_in_utc(tmp_path: Path) -> None:
    """23:30 in New York on the last of March is April in UTC; half past midnight in Berlin on 1 April is March."""
    lines = [
        ("new_york", "1", "2023-03-31 23:30:00-04:00", 1.0, "p"),
        ("berlin", "2", "2023-04-01 00:30:00+02:00", 1.0, "p"),
    ]
    write(tmp_path / "o.parquet", lines, {**COLUMNS, "bought": "TIMESTAMP WITH TIME ZONE"})
    assert customers(load(orders_from(tmp_path, "o.parquet"))[1]) == ["berlin"]
    local = orders_from(tmp_path, "o.parquet", ordered_at="timezone('America/New_York', bought)")
    assert customers(load(local)[1]) == ["berlin", "new_york"]


@pytest.mark.parametrize("months", [1, 2, 12])
def test_the_window_is_as_long_as_configured(tmp_path: Path, months: int) -> None:
    write(tmp_path / "o.parquet", [(str(m), "1", datetime(2022, m, 15), 1.0, "p") for m in range(1, 13)])
    config = configured(tmp_path, ["orders"], window_months=months, orders={**ORDERS, "path": "o.parquet"})
    _, rows = load(config, parse_month("2022-12"))
    assert {int(str(row["customer_id"])) for row in rows} == set(range(13 - months, 13))


def test_each_value_may_be_an_expression_over_the_row(tmp_path: Path) -> None:
    columns = {"first": "VARCHAR", "last": "VARCHAR", "day": "VARCHAR", "pieces": "INTEGER", "price": "DECIMAL(8,2)"}
    rows = [("Ann", "Lee", "31/01/2023", 2, "1.25"), ("Ann", "Lee", "28.02.2023", 4, "0.50"),
            ("Ann", "Lee", "15/03/2023", 1, "9.99"), ("Bob", "Lee", "15/03/2023", 0, "9.99")]  # fmt: skip
    write(tmp_path / "o.parquet", rows, columns)
    config = orders_from(
        tmp_path,
        "o.parquet",
        customer_id="first || ' ' || last -- the whole name",
        order_id="day",
        ordered_at="coalesce(try_strptime(day, '%d/%m/%Y'), try_strptime(day, '%d.%m.%Y'))",
        amount="pieces * price  /* net */",
        product_id=None,
        where="pieces > 0 -- returns are elsewhere",
    )
    _, loaded = load(config)
    assert [(row["customer_id"], row["orders"], row["total_spend"]) for row in loaded] == [("Ann Lee", 3.0, 14.49)]
    assert loaded[0]["products_per_order"] is None


def test_where_may_read_a_file_beside_the_configuration(tmp_path: Path) -> None:
    write(tmp_path / "o.parquet", LINES)
    write(tmp_path / "staff.csv", [("a",), ("b",)], {"who": "VARCHAR"})
    config = orders_from(tmp_path, "o.parquet", where="customer NOT IN (SELECT who FROM 'staff.csv')")
    assert customers(load(config)[1]) == ["c", "d", "e"]


@pytest.mark.parametrize("kind", ["INTEGER", "UBIGINT", "DOUBLE", "VARCHAR", "DECIMAL(12,0)"])
def test_whole_number_ids_keep_their_digits_whatever_their_type(tmp_path: Path, kind: str) -> None:
    """A column of whole numbers with a gap becomes one of doubles in pandas: the customer must not become 12.0."""
    write(tmp_path / "o.parquet", [("12", "1", "2023-03-01", 1.0, "p")], {**COLUMNS, "customer": kind})
    write(tmp_path / "s.parquet", [("12", 1.0)], {"id": kind, "visits": "DOUBLE"})
    assert customers(load(orders_from(tmp_path, "o.parquet"))[1]) == ["12"]
    assert customers(load(snapshots_from(tmp_path, "s.parquet"))[1]) == ["12"]


def test_ids_of_doubles_that_are_no_number_are_missing(tmp_path: Path) -> None:
    lines = [(math.nan, 1.0, "2023-03-01", 1.0, "p"), (7.0, math.nan, "2023-03-01", 1.0, "p")]
    write(tmp_path / "o.parquet", lines, {**COLUMNS, "customer": "DOUBLE", "basket": "DOUBLE"})
    counts, rows = load(orders_from(tmp_path, "o.parquet"))
    assert [(row["customer_id"], row["missing_order_ids"]) for row in rows] == [("7", 1), (None, 0)]
    assert part(counts.parts, "no customer").orders == 1


def test_ids_in_a_csv_are_text_as_they_stand(tmp_path: Path) -> None:
    """007 is not 7, also in a file whose ids all look like numbers; and the next file's ids look the same."""
    (tmp_path / "s.csv").write_text("id,visits\n007,1\n8,2\n1e5,3\n2023-01-01,4\n#9,5\ntrue,6\n")
    assert set(customers(load(snapshots_from(tmp_path, "s.csv"))[1])) == {"007", "8", "1e5", "2023-01-01", "#9", "true"}
    (tmp_path / "o.csv").write_text(
        "customer,basket,bought,paid,item\n007,01,2023-03-01,1,5\n007,1,2023-03-01,1,05\n7,1,2023-03-02,1,5\n"
    )
    _, rows = load(orders_from(tmp_path, "o.csv"))
    assert [(row["customer_id"], row["orders"], row["distinct_products"]) for row in rows] == [
        ("007", 2.0, 2.0), ("7", 1.0, 1.0)
    ]  # fmt: skip
    # a column that an expression calculates with stays the number it is
    (tmp_path / "o.csv").write_text("customer,basket,bought,paid,item\n7,1,2023-03-01,1,5\n107,1,2023-03-02,1,5\n")
    assert customers(load(orders_from(tmp_path, "o.csv", where="customer < 100"))[1]) == ["7"]


def test_customers_whose_id_looks_like_a_comment_are_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,visits\n#1,1\n#2,2\n3,3\n")
    assert customers(load(snapshots_from(tmp_path, "s.csv"))[1]) == ["#1", "#2", "3"]


def test_days_in_a_csv_that_could_be_either_are_refused_and_not_guessed(tmp_path: Path) -> None:
    """DuckDB would read 02/03/2023 as 2 March until a 02/13/2023 arrives, and as 3 February from then on."""
    (tmp_path / "o.csv").write_text("customer,basket,bought,paid,item\na,1,02/03/2023,1,p\n")
    with pytest.raises(
        SourceError, match=r"ordered_at \(bought\): found VARCHAR; expected a date or timestamp.*strptime"
    ):
        load(orders_from(tmp_path, "o.csv"))
    for order, month, day in (("%d/%m/%Y", "2023-03", "2023-03-02"), ("%m/%d/%Y", "2023-02", "2023-02-03")):
        config = orders_from(tmp_path, "o.csv", ordered_at=f"try_strptime(bought, '{order}')")
        assert str(load(config, parse_month(month))[1][0]["first_seen"]) == day


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_files_of_a_glob_are_read_by_name_with_types_that_hold_all_values(tmp_path: Path, ending: str) -> None:
    """Under the first file's type, DuckDB would round 2.7 to 3 and cut the time off the last day of March."""
    write(
        tmp_path / f"1.{ending}",
        [("a", "1", "2023-03-01", 1, "p")],
        {**COLUMNS, "paid": "INTEGER", "bought": "TIMESTAMP"},
    )
    turned = {name: COLUMNS.get(name, "VARCHAR") for name in ("paid", "item", "bought", "customer", "basket", "new")}
    write(tmp_path / f"2.{ending}", [(2.7, "p", "2023-03-31 23:00:00", "b", "1", "x")], turned)
    _, rows = load(orders_from(tmp_path, f"?.{ending}"))
    assert [(row["customer_id"], row["total_spend"], row["orders"]) for row in rows] == [
        ("a", 1.0, 1.0),
        ("b", 2.7, 1.0),
    ]


def test_source_columns_may_be_called_as_ours(tmp_path: Path) -> None:
    """amount is not the amount here, customer_id not the customer, and so on."""
    columns = {"customer_id": "INTEGER", "order_id": "VARCHAR", "amount": "VARCHAR", "ordered_at": "DATE",
               "month": "VARCHAR", "orders": "INTEGER", "is_line": "BOOLEAN", "source": "VARCHAR", "value": "TIMESTAMP",
               "product_id": "VARCHAR", "start": "DOUBLE"}  # fmt: skip
    rows = [(1, "first", "text", "1999-01-01", "2023-03", 17, False, "ann", "2023-03-05", "x", 4.5),
            (1, "second", "text", "1999-01-01", "2023-03", 18, False, "ann", "2023-03-06", "x", 1.5),
            (2, "third", "text", "1999-01-01", "2023-03", 19, True, "bob", "2023-03-06", "x", 1.5)]  # fmt: skip
    write(tmp_path / "o.parquet", rows, columns)
    config = orders_from(
        tmp_path, "o.parquet", customer_id="source", order_id="orders", ordered_at="value", amount="start",
        product_id="order_id", where="amount = 'text' AND customer_id = 1 AND NOT is_line AND ordered_at < value",
    )  # fmt: skip
    (ann,) = load(config)[1]
    assert ann == ann | {
        "customer_id": "ann", "days_since_last_order": 26, "orders": 2, "total_spend": 6.0, "average_order_value": 3.0,
        "products_per_order": 1.0, "distinct_products": 2, "tenure_days": 27, "days_between_orders": 13.5,
    }  # fmt: skip


# --- lines that are not in order --------------------------------------------------------------------------------------


def lines_of(counts: SourceCounts) -> dict[str, int]:
    return {one.reason: one.lines for one in counts.parts}


@pytest.mark.parametrize(
    ("amounts", "lost"),
    [
        ((19.99, 0.07, -3.5, 1e9), (0.0, 1e-12)),
        ((1.23456, 7.65432), (1e-6, 1e-4)),
        ((0.00002, 0.00003), (1.0, 1.0)),
        ((0.00015, math.nan, math.inf, None), (0.3, 0.4)),
    ],
)
def test_what_four_decimals_lose_of_the_amounts_is_known(
    tmp_path: Path, amounts: tuple[float | None, ...], lost: tuple[float, float]
) -> None:
    write(tmp_path / "o.parquet", [("a", "1", "2023-03-01", amount, "p") for amount in amounts])
    counts, _ = load(orders_from(tmp_path, "o.parquet"))
    assert lost[0] <= counts.lost_by_rounding <= lost[1]
    counts, _ = load(orders_from(tmp_path, "o.parquet", amount="TRY_CAST(round(paid * 1000) AS DECIMAL(18, 2))"))
    assert counts.lost_by_rounding == 0


def test_amounts_that_are_no_number_are_counted(tmp_path: Path) -> None:
    amounts = [1.0, None, math.nan, math.inf, -math.inf, 1e15]
    write(tmp_path / "o.parquet", [("a", "1", "2023-03-01", amount, "p") for amount in amounts])
    _, rows = load(orders_from(tmp_path, "o.parquet"))
    assert [(row["unreadable_amounts"], row["total_spend"]) for row in rows] == [(5, 1.0)]
    texts = [("a", "1", "2023-03-01", text, "p") for text in ("1.5", "12 EUR", "")]
    write(tmp_path / "t.parquet", texts, {**COLUMNS, "paid": "VARCHAR"})
    _, rows = load(orders_from(tmp_path, "t.parquet", amount="TRY_CAST(paid AS DOUBLE)"))
    assert [(row["unreadable_amounts"], row["total_spend"]) for row in rows] == [(2, 1.5)]


def test_lines_without_a_readable_date_are_counted_and_in_no_month(tmp_path: Path) -> None:
    days = ["2023-03-01", None, "infinity", "-infinity", "20230-03-01"]
    write(tmp_path / "o.parquet", [("a", day, day, 1.0, "p") for day in days])
    counts, rows = load(orders_from(tmp_path, "o.parquet"))
    assert [(row["orders"], str(row["first_seen"])) for row in rows] == [(1.0, "2023-03-01")]
    assert part(counts.parts, "no readable date").lines == 4
    texts = [("a", day, day, 1.0, "p") for day in ("2023-03-01", "soon", "", "2023-02-30")]
    write(tmp_path / "t.csv", texts, {**COLUMNS, "bought": "VARCHAR"})
    counts, _ = load(orders_from(tmp_path, "t.csv", ordered_at="TRY_CAST(bought AS DATE)"))
    assert lines_of(counts) == {"used": 1, "no readable date": 3}


def test_days_that_no_timestamp_can_hold_are_undated(tmp_path: Path) -> None:
    days = ["2023-03-01", "5874897-12-31", "infinity"]
    write(tmp_path / "o.parquet", [("a", day, day, 1.0, "p") for day in days], {**COLUMNS, "bought": "DATE"})
    counts, rows = load(orders_from(tmp_path, "o.parquet"))
    assert (lines_of(counts), rows[0]["orders"]) == ({"used": 1, "no readable date": 2}, 1.0)


def test_lines_in_the_future_are_counted_and_those_of_later_months_are_not(tmp_path: Path) -> None:
    ahead = datetime.now() + timedelta(days=10)
    lines = [("a", "1", "2023-03-01", 1.0, "p"), ("a", "2", "2023-09-01", 1.0, "p"), ("b", "3", ahead, 1.0, "p")]
    write(tmp_path / "o.parquet", lines)
    counts, rows = load(orders_from(tmp_path, "o.parquet"))
    assert (lines_of(counts), customers(rows)) == ({"used": 1, "after the month": 1, "later than today": 1}, ["a"])


def test_missing_and_blank_order_ids_and_customers_are_counted(tmp_path: Path) -> None:
    ids = [("a", None), ("a", " "), ("a", "1"), (None, "1"), (None, "2"), ("  ", "1")]
    write(tmp_path / "o.parquet", [(*both, "2023-03-01", 1.0, "p") for both in ids])
    counts, rows = load(orders_from(tmp_path, "o.parquet"))
    assert [(row["customer_id"], row["missing_order_ids"], row["orders"]) for row in rows] == [
        ("  ", 0, 1.0), ("a", 2, 2.0), (None, 0, 2.0)
    ]  # fmt: skip
    assert part(counts.parts, "no customer").orders == 3


def test_lines_of_which_where_says_neither_are_counted(tmp_path: Path) -> None:
    lines = [
        ("a", "1", "2023-03-01", 1.0, "p"),
        ("a", "2", "2023-03-01", None, "p"),
        ("a", "3", "2022-03-01", None, "p"),
    ]
    write(tmp_path / "o.parquet", lines)
    counts, rows = load(orders_from(tmp_path, "o.parquet", where="paid > 0"))
    assert lines_of(counts) == {"used": 1, "before the window": 1, "undecided by where": 1}
    assert rows[0]["orders"] == 1.0


# --- point-in-time, and the same bits again ---------------------------------------------------------------------------

START, AS_OF = datetime(2023, 1, 1), datetime(2023, 4, 1)
IDS = st.sampled_from(["a", "b", "c", "", " ", "ä;'\"", None])
AMOUNTS = st.one_of(st.none(), st.sampled_from([math.nan, math.inf]), st.decimals(-999, 999, places=2).map(float))


def lines_between(start: datetime, end: datetime, **sizes: int) -> st.SearchStrategy[list[tuple[object, ...]]]:
    at = st.datetimes(start, end - timedelta(microseconds=1))
    order = st.sampled_from(["1", "2", "3", None])
    return st.lists(st.tuples(IDS, order, at, AMOUNTS, st.sampled_from(["p", "q", None])), **sizes)


IN_WINDOW = lines_between(START, AS_OF, max_size=12).map(
    lambda lines: [*lines, ("a", "m", AS_OF - timedelta(1), 1.0, "p")]
)
LATER = lines_between(AS_OF, datetime(2090, 1, 1), max_size=6)
EARLIER = lines_between(datetime(1990, 1, 1), START, max_size=6)
UNDATED = st.lists(st.tuples(IDS, st.just("1"), st.none(), AMOUNTS, st.just("p")), max_size=3)
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@given(inside=IN_WINDOW, earlier=EARLIER, later=LATER, undated=UNDATED)
@settings(max_examples=15, **SLOW)
def test_no_line_from_after_the_month_changes_it_and_earlier_ones_only_the_tenure(
    tmp_path: Path, inside: list, earlier: list, later: list, undated: list
) -> None:
    with duckdb.connect() as connection:
        config = orders_from(tmp_path, "o.parquet")
        prepare(connection, TABLES, config.raw_feature_names)

        def rows_of(lines: list) -> list[Row]:
            write(tmp_path / "o.parquet", lines)
            load_raw_customers(connection, config, MARCH)
            return stored(connection, config, MARCH)

        known = rows_of([*earlier, *inside])
        assert repr(rows_of([*later, *undated, *reversed(inside), *reversed(earlier)])) == repr(known)
        unknown = rows_of(inside)
        for row in (*known, *unknown):
            del row["first_seen"], row["tenure_days"]
        assert repr(unknown) == repr(known)


def test_rows_that_arrive_later_do_not_change_how_a_csv_is_read(tmp_path: Path) -> None:
    header, march = "customer,basket,bought,paid,item\n", "007,01,2023-03-05,1.50,0005\n08,02,2023-03-06,2,6\n"
    later = 'A-9,"x;y",2023-04-05 10:00:00,1e2,"p\nq"\n"#1",z,2023-04-06 11:00:00.5,-7,é😀\n'
    (tmp_path / "o.csv").write_text(header + march)
    before = load(orders_from(tmp_path, "o.csv"))[1]
    (tmp_path / "o.csv").write_text(header + later + march)
    assert load(orders_from(tmp_path, "o.csv"))[1] == before
    assert customers(before) == ["007", "08"]


def test_neither_the_order_of_rows_nor_the_threads_change_a_bit(tmp_path: Path) -> None:
    lines = """
        SELECT 'c' || hash(i) % 900 AS customer, hash(i // 3) % 40000 AS basket,
            TIMESTAMP '2022-12-01' + to_seconds(CAST(hash(i * 5) % 10368000 AS BIGINT)) AS bought,
            (hash(i * 7)::DOUBLE / 1.8446744073709552e19 - 0.1) * 10.0 ** (hash(i * 11) % 9) AS paid,
            hash(i) % 77 AS item
        FROM range(300000) AS t(i)
    """
    found = []
    for order, threads in (("i", 1), ("i", 2), ("hash(i * 13)", 2)):
        with duckdb.connect() as connection:
            path = literal(str(tmp_path / "o.parquet"))
            connection.execute(f"COPY ({lines} ORDER BY {order}) TO {path} (ROW_GROUP_SIZE 20000)")
        found.append(load(orders_from(tmp_path, "o.parquet"), threads=threads)[1])
    assert len(found[0]) == 900
    assert found[0] == found[1] == found[2]


def test_more_lines_than_memory_are_aggregated_on_disk(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            COPY (
                SELECT 'customer ' || hash(i // 8) % 250000 AS customer, i // 8 AS basket,
                    TIMESTAMP '2023-01-01' + to_seconds(CAST(i * 3 AS BIGINT)) AS bought, i % 977 / 100 AS paid,
                    hash(i) % 20000 AS item
                FROM range(2000000) AS t(i)
            ) TO {literal(str(tmp_path / "o.parquet"))}
            """
        )
    counts, _ = load(orders_from(tmp_path, "o.parquet"), memory_limit="100MB")
    assert lines_of(counts) == {"used": 2_000_000}
    assert 150_000 < counts.rows < 250_000
    with pytest.raises(SourceError, match=r"Raise operation\.memory_limit"):
        load(orders_from(tmp_path, "o.parquet"), memory_limit="12MB")


# --- ready-made customers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_snapshot_is_that_of_the_month(tmp_path: Path, ending: str) -> None:
    for month, visits in (("2023-03", 3), ("2023-04", 4)):
        write(tmp_path / "in" / f"customers {month}.{ending}", [("a", visits)], {"id": "VARCHAR", "visits": "INTEGER"})
    config = snapshots_from(tmp_path, f"in/customers {{month}}.{ending}")
    counts, rows = load(config)
    assert counts == SourceCounts(1, [Part("used", 1, None, 1, None, None)])
    assert [row["visits"] for row in rows] == [3.0]
    assert [row["visits"] for row in load(config, parse_month("2023-04"))[1]] == [4.0]
    with pytest.raises(SourceError, match=rf"customers 2023-05\.{ending} does not exist"):
        load(config, parse_month("2023-05"))


def test_values_of_a_snapshot_that_are_no_numbers_keep_their_text(tmp_path: Path) -> None:
    write(
        tmp_path / "s.parquet",
        [("a", "12"), ("b", " 1.5 "), ("c", "1,5"), ("d", ""), ("e", None), ("f", "nan"), ("g", "-inf"), ("a", "7")],
        {"id": "VARCHAR", "visits": "VARCHAR"},
    )
    _, rows = load(snapshots_from(tmp_path, "s.parquet"))
    found = {
        (row["customer_id"], str(row["visits"]), tuple(row["unreadable_values"].items()), row["copies"]) for row in rows
    }
    assert found == {
        ("a", "12.0", (), 2), ("a", "7.0", (), 2), ("b", "1.5", (), 1), ("c", "None", (("visits", "1,5"),), 1),
        ("d", "None", (("visits", ""),), 1), ("e", "None", (), 1), ("f", "nan", (), 1), ("g", "-inf", (), 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT customer_id, visits FROM 'visits.csv'",
        "FROM 'visits.csv';",
        "-- who\nSELECT customer_id, visits FROM 'visits.csv'; -- done; really\n",
        "WITH seen AS (FROM 'visits.csv') /* all; of them */ SELECT * FROM seen -- ;",
        "SELECT *, 'as of $as_of; \"' AS note FROM 'visits.csv' WHERE $as_of = DATE '2023-04-01'\n;\n\n",
        "FROM read_csv('vis*.csv') WHERE DATE '2023-03-01' = $month_start AND $WINDOW_START = '2023-01-01'",
        "SELECT customer_id, visits FROM read_csv('visits' || left(strftime($month_start, '%Y'), 0) || '.csv')",
    ],
)
def test_a_query_is_the_users_own_sql_beside_the_configuration(tmp_path: Path, sql: str) -> None:
    """Beside it, whatever the current folder holds, and though the folder's name has a comma and quotes."""
    folder = tmp_path / 'o\'brien, "and" sons'
    here = tmp_path / "current"
    here.mkdir()
    write(folder / "visits.csv", [("a", 2), ("b", 3)], {"customer_id": "VARCHAR", "visits": "INTEGER"})
    write(here / "visits.csv", [("wrong", 2)], {"customer_id": "VARCHAR", "visits": "INTEGER"})
    before = os.getcwd()
    os.chdir(here)
    try:
        counts, rows = load(query_from(folder, sql))
        assert Path.cwd() == here
    finally:
        os.chdir(before)
    assert [(row["customer_id"], row["visits"]) for row in rows] == [("a", 2.0), ("b", 3.0)]
    assert counts == SourceCounts(2, [Part("used", 2, None, 2, None, None)])


HOSTILE_SQL = "SELECT 1 AS customer_id, 1 AS visits) AS x; DROP TABLE raw_customers; --"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "found no statement; expected one query"),
        ("-- later", "found no statement; expected one query"),
        ("SELECT 1 AS customer_id, 2 AS visits; SELECT 3", "found SELECT, SELECT; expected one query"),
        ("DELETE FROM raw_customers", "found DELETE; expected one query"),
        (
            "WITH gone AS (DELETE FROM raw_customers RETURNING *) SELECT * FROM gone",
            "found a DELETE within a query; expected a query that only reads",
        ),
        ("WITH file AS (COPY (SELECT 1) TO 'out.csv') SELECT 1", "found a COPY within a query"),
        ("SELECT * FROM raw_customers", "fails: Catalog Error: Table with name raw_customers does not exist"),
        ("SELECT 1; DROP TABLE raw_customers", "found SELECT, DROP; expected one query"),
        (HOSTILE_SQL, r"customers\.sql:1 is not SQL: Parser Error: syntax error"),
        ("SELECT 1 AS customer_id,\n\n  FORM x", r"customers\.sql:\d"),
        ("SELECT 1 AS customer_id, $today AS visits", r"found the parameter \$today; expected \$as_of, \$month_start"),
        ("SELECT ? AS customer_id, 1 AS visits", r"found the parameter \$1; expected \$as_of"),
        ("SELECT * FROM config", r"customers\.sql:1 fails: Catalog Error: Table with name config does not exist"),
        ("SELECT *\nFROM 'gone.parquet'", r"customers\.sql.* fails: .*gone\.parquet"),
        ("SELECT 1 AS customer_id", r"column visits is missing\. Expected customer_id, visits; found customer_id"),
        ("SELECT 1 AS customer_id, DATE '2023-01-01' AS visits", "column visits: found DATE; expected a number"),
        ("SELECT 1 AS customer_id, [1] AS visits", r"column visits: found INTEGER\[\]; expected a number"),
        ("SELECT 1 AS customer_id, 2 AS visits WHERE false", "holds no customers"),
        ("SELECT 1 AS customer_id, CAST('x' AS INTEGER) AS visits", "fails: Conversion Error.*'x'"),
    ],
)
def test_a_query_that_is_none_is_refused(tmp_path: Path, sql: str, message: str) -> None:
    config = query_from(tmp_path, sql)
    with pytest.raises(SourceError, match=message) as caught:
        load(config)
    assert "customers.sql" in str(caught.value)


def test_query_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    config = query_from(tmp_path, "")
    (tmp_path / "customers.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    with pytest.raises(SourceError, match=r"customers\.sql cannot be read: it is not UTF-8 text"):
        load(config)
    (tmp_path / "customers.sql").write_text("\ufeffSELECT 1 AS customer_id, 2 AS visits")
    assert load(config)[0].rows == 1
    (tmp_path / "customers.sql").unlink()
    with pytest.raises(SourceError, match=r"customers\.sql cannot be read: No such file.*source\.query\.file"):
        load(config)


def test_the_three_sources_of_the_same_customers_give_the_same_features(
    tmp_path: Path, shop: Shop, materialize: Callable[..., object]
) -> None:
    def validated(shop: Shop) -> list[tuple]:
        materialize(shop, "2023-03", selection=["raw_customers", "validated_features"])
        names = "customer_id, days_since_last_order, orders, average_order_value, products_per_order"
        return query(shop.warehouse, f"SELECT month, {names} FROM validated_features ORDER BY ALL")

    expected = validated(shop)
    assert len(expected) > 500
    exported = query(
        shop.warehouse,
        f"COPY (FROM raw_customers) TO {literal(str(tmp_path / 'snapshot_2023-03.csv'))}",
    )
    assert exported
    sql = """
        WITH orders AS (
            SELECT customer, order_id, min(ordered_at)::DATE AS day, sum(amount::DECIMAL(18, 4)) AS amount,
                count(DISTINCT product) AS products
            FROM 'orders.parquet' WHERE ordered_at >= $window_start AND ordered_at < $as_of GROUP BY ALL
        )
        SELECT customer AS customer_id, $as_of - max(day) AS days_since_last_order, count(*) AS orders,
            sum(amount)::DOUBLE / count(*) AS average_order_value, sum(products) / count(*) AS products_per_order
        FROM orders GROUP BY customer;  -- one row per customer
    """
    for name, source in {
        "snapshots": {"path": "../snapshot_{month}.csv", "customer_id": "customer_id"},
        "query": {"file": "customers.sql"},
    }.items():
        other = Shop(tmp_path / name)
        other.folder.mkdir()
        (other.folder / "orders.parquet").symlink_to(shop.orders_path)
        (other.folder / "customers.sql").write_text(sql)
        text = shop.config_path.read_text()
        before, _, rest = text.partition("  orders:\n")
        features = rest[rest.index("features:") :]
        other.config_path.write_text(f"{before}  {name}: {json.dumps(source)}\n{features}")
        assert validated(other) == expected


# --- names and values are data ----------------------------------------------------------------------------------------

NAMES = [
    "o'brien", 'say "hi"', "a;b--c", "100 %s %d", "back\\slash", "😀 emoji", "[x]", "a*b?c", "{brace}", "$as_of",
    "tab\there", "new\nline", " spaces ", "SELECT", "é" * 60, "x" * 200,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_paths_are_data(tmp_path: Path, name: str, ending: str) -> None:
    folder = tmp_path / name
    write(folder / f"{name}.{ending}", [("a", 1)], {"id": "VARCHAR", "visits": "INTEGER"})
    write(folder / "more" / f"1.{ending}", [("b", 1)], {"id": "VARCHAR", "visits": "INTEGER"})
    if (
        "\n" not in name and "\t" not in name and "{" not in name
    ):  # control characters and braces: the file refuses them
        assert customers(load(snapshots_from(folder, f"{name}.{ending}", tmp_path))[1]) == ["a"]
    assert customers(load(snapshots_from(folder, f"more/?.{ending}", tmp_path))[1]) == ["b"]


def test_a_literal_name_comes_before_a_pattern(tmp_path: Path) -> None:
    columns = {"id": "VARCHAR", "visits": "INTEGER"}
    write(tmp_path / "day[1].csv", [("literal", 1)], columns)
    write(tmp_path / "day1.csv", [("pattern", 1)], columns)
    assert customers(load(snapshots_from(tmp_path, "day[1].csv"))[1]) == ["literal"]
    (tmp_path / "day[1].csv").unlink()
    assert customers(load(snapshots_from(tmp_path, "day[1].csv"))[1]) == ["pattern"]


def test_paths_and_ids_may_be_very_long(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*(["deep" * 40] * 5))
    long = "i" * 300
    write(folder / f"{'n' * 240}.parquet", [(long, 1)], {"id": "VARCHAR", "visits": "INTEGER"})
    assert customers(load(snapshots_from(folder, f"{'n' * 240}.parquet"))[1]) == [long]
    with pytest.raises(SourceError, match="does not exist"):
        load(snapshots_from(tmp_path, f"{'n' * 300}.parquet"))


def test_order_lines_with_hostile_columns_and_customers(tmp_path: Path) -> None:
    ids = [
        "'; DROP TABLE raw_customers; --",
        '"',
        "\\",
        "%s",
        "😀",
        "a\nb",
        "c,d",
        " lead",
        "NULL",
        "ﬀ",
        "a\x00b",
        "x" * 300,
    ]
    columns = dict(zip(['cu"st', "or'der", "a;t", "%s", "😀 item"], COLUMNS.values(), strict=True))
    for ending in ("parquet", "csv"):
        usable = ids if ending == "parquet" else [name for name in ids if "\x00" not in name]
        write(tmp_path / f"o.{ending}", [(name, name, "2023-03-01", "1", name) for name in usable], columns)
        config = orders_from(
            tmp_path, f"o.{ending}", customer_id='"cu""st"', order_id="\"or'der\"", ordered_at='"a;t"', amount='"%s"',
            product_id='"😀 item"', where="\"cu\"\"st\" <> ';'",
        )  # fmt: skip
        _, rows = load(config)
        assert sorted(map(str, customers(rows))) == sorted(usable)
        assert all(row["orders"] == 1.0 and row["total_spend"] == 1.0 for row in rows)


def test_sums_of_money_are_exact(tmp_path: Path) -> None:
    amounts = ["0.1", "0.2", "0.3", "99999999999.99", "-99999999999.99"]
    write(
        tmp_path / "o.parquet",
        [("a", "1", "2023-03-01", Decimal(x), "p") for x in amounts],
        {**COLUMNS, "paid": "DECIMAL(18,2)"},
    )
    assert load(orders_from(tmp_path, "o.parquet"))[1][0]["total_spend"] == 0.6  # fmt: skip


def test_a_date_of_the_year_9999_is_in_no_month_and_stops_none(tmp_path: Path) -> None:
    """`31/12/9999` means no date; read as one, its month has no end."""
    rows = ["customer,order,day,paid"]
    rows += [f"c{i},{month}-{i},15/{month:02d}/2023,{i}" for month in range(1, 5) for i in range(1, 4)]
    (tmp_path / "orders.csv").write_text("\n".join([*rows, "c1,never,31/12/9999,5"]))
    orders = {"path": "orders.csv", "customer_id": "customer", "order_id": "order", "amount": "paid"}
    orders["ordered_at"] = "try_strptime(\"day\", '%d/%m/%Y')"
    config = configured(tmp_path, ["orders", "total_spend"], orders=orders, window_months=1)
    with duckdb.connect() as connection:
        before = months_before(connection, config, parse_month("2023-04"), 5)
    assert before == [parse_month(key) for key in ("2023-02", "2023-03")]


def test_an_unreadable_date_is_shown_as_it_is_written(tmp_path: Path) -> None:
    """Its text stands in the columns of the expression, which makes nothing of it."""
    shop = Shop(tmp_path).configure()
    settings = shop.config_path.read_text().replace("orders.parquet", "orders.csv")
    written = "ordered_at: try_strptime(day || ' ' || hour, '%d.%m.%Y %H')"
    shop.config_path.write_text(settings.replace("ordered_at: ordered_at", written))
    rows = ["customer,order_id,day,hour,amount,product", "a,1,01.02.2023,10,5,p", "b,2,31.02.2023,11,5,p"]
    (tmp_path / "orders.csv").write_text("\n".join(rows))
    with duckdb.connect() as connection:
        assert unreadable_date(connection, load_config(shop.config_path)) == "31.02.2023 11"
        (tmp_path / "orders.csv").write_text("\n".join(rows[:2]))
        assert unreadable_date(connection, load_config(shop.config_path)) is None
