"""Every line and every unit of money is accounted for: the parts are right and add up, or the month stops."""

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import Config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import split_customers
from segment_pipeline.database.store import in_memory, prepare
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.reconciliation import Difference, Part, read_account, write_reconciliation
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline_tests.shop import Shop, query
from segment_pipeline_tests.source_files import MARCH, configured, query_from, snapshots_from, write

START, AS_OF = datetime(2023, 1, 1), datetime(2023, 4, 1)
NOTHING = Difference(0, Decimal(0))
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


def account(config: Config) -> tuple[list[Part], Difference]:
    """The month's account, after the contract has judged, and what it differs from the source by."""
    with in_memory() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        load_raw_customers(connection, config, MARCH)
        split_customers(connection, config, build_contract(config), MARCH)
        difference = write_reconciliation(connection, config, MARCH, "validated_features")
        return read_account(connection, MARCH), difference


# --- order lines, beside a judge in plain Python ----------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of the file, all text."""

    who: str
    order: str
    at: str
    amount: str
    state: str
    currency: str

    @property
    def money(self) -> Decimal | None:
        try:
            amount = Decimal(self.amount)
        except InvalidOperation:
            return None
        return amount if amount.is_finite() else None

    @property
    def reason(self) -> str:
        """Why the line itself is left out; "used" where nothing speaks against it."""
        try:
            at = datetime.fromisoformat(self.at)
        except ValueError:
            at = None
        dated = at is not None and 1902 <= at.year < 2200
        if at is not None and dated and at < START:
            return "before the window"
        if at is not None and dated and AS_OF <= at < datetime.now() + timedelta(days=1):
            return "after the month"
        if not self.state and self.currency == "EUR":
            return "undecided by where"
        if self.state == "cancelled" or self.currency != "EUR":
            return "left out by where"
        if at is None or not dated:
            return "no readable date"
        if at >= AS_OF:
            return "later than today"
        if self.who.lower().strip(" \u200b") in ("", "guest", "null", "0"):
            return "no customer"
        return "used" if self.money is not None else "no readable amount"


def judged(lines: Sequence[Line]) -> dict[str, tuple[int, int, int, Decimal | None, int]]:
    """reason -> lines, orders, customers, money, lines without an amount, counted one by one."""
    rejected = {line.who for line in lines if line.reason == "no readable amount"}
    rejected |= {line.who for line in lines if line.reason == "used" and not line.order}
    parts: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        parts["customer rejected" if line.reason == "used" and line.who in rejected else line.reason].append(line)

    def customer(line: Line) -> str | None:
        return None if line.who.lower() in ("", "guest", "null", "0") else line.who

    return {
        reason: (
            len(of),
            len({(customer(line), line.order.strip()) for line in of}),
            len({customer(line) for line in of} - {None, " ", "\u200b"}),
            sum((line.money for line in of if line.money is not None), Decimal(0))
            if any(line.money is not None for line in of)
            else None,
            sum(line.money is None for line in of),
        )
        for reason, of in parts.items()
    }


WHO = 'CAST("who" AS VARCHAR)'
CUSTOMER = f"CASE WHEN lower({WHO}) NOT IN ('', 'guest', 'null', '0') THEN {WHO} END"
WHERE = "nullif(CAST(\"state\" AS VARCHAR), '') <> 'cancelled' AND currency = 'EUR'"
MOMENTS = st.datetimes(START - timedelta(days=40), AS_OF + timedelta(days=40)).map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}")
NO_DATES = st.sampled_from(["9999-12-31", "1900-01-01", "2062-07-01 10:00:00", "0000-00-00", "", "soon"])
MONEY = st.decimals(-500, 5000, places=2, allow_nan=False).map(str)
ODD_LINES = st.builds(
    Line,
    who=st.sampled_from(["ann", "bob", "cleo", "Guest", "GUEST", "NULL", "0", "", " ", "\u200b"]),
    order=st.sampled_from(["1", "2", "3", "4", ""]),
    at=st.one_of(MOMENTS, MOMENTS, MOMENTS, NO_DATES),
    amount=st.one_of(MONEY, MONEY, MONEY, st.sampled_from(["", "abc", "nan", "inf", "12,5"])),
    state=st.sampled_from(["paid", "paid", "paid", "cancelled", ""]),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
)


@given(
    lines=st.lists(ODD_LINES, max_size=30).map(lambda lines: [*lines, *lines[:3]]),
    money=st.lists(MONEY, min_size=1, max_size=5),
)
@settings(max_examples=60, **SLOW)
def test_each_line_of_any_mixture_is_used_or_left_out_for_one_reason(
    tmp_path: Path, lines: list[Line], money: list[str]
) -> None:
    known = [Line("sure", "s1", "2023-03-15 12:00:00", amount, "paid", "EUR") for amount in money]
    lines = [*lines, *known]
    with (tmp_path / "orders.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["who", "order_no", "placed", "amount", "state", "currency"])
        rows.writerows(vars(line).values() for line in lines)
    orders = {
        "path": "orders.csv",
        "customer_id": CUSTOMER,
        "order_id": "nullif(CAST(\"order_no\" AS VARCHAR), '')",
        "ordered_at": 'TRY_CAST(CAST("placed" AS VARCHAR) AS TIMESTAMP)',
        "amount": 'TRY_CAST(CAST("amount" AS VARCHAR) AS DOUBLE)',
        "where": WHERE,
    }
    parts, difference = account(configured(tmp_path, ["orders"], orders=orders))
    found = {one.reason: (one.lines, one.orders, one.customers, one.money, one.without_amount) for one in parts}
    assert found == judged(lines)
    assert difference == NOTHING
    assert sum(one.lines for one in parts) == len(lines)
    in_all = sum((line.money for line in lines if line.money is not None), Decimal(0))
    assert sum((one.money for one in parts if one.money is not None), Decimal(0)) == in_all


# --- ready-made customers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["snapshots", "query"])
def test_rows_of_customers_are_accounted_for_with_what_they_spent(tmp_path: Path, kind: str) -> None:
    rows = [
        ("a", 3, 10.25),
        ("b", 2, -1.5),
        ("c", None, 7.0),
        ("d", 1, 20.0),
        ("d", 1, 20.0),
        (None, 1, 5.0),
        ("", 1, None),
    ]
    write(tmp_path / "s.parquet", rows, {"id": "VARCHAR", "visits": "DOUBLE", "total_spend": "DOUBLE"})
    source = {"snapshots": {"path": "s.parquet", "customer_id": "id"}}
    if kind == "query":
        (tmp_path / "customers.sql").write_text("SELECT id AS customer_id, visits, total_spend FROM 's.parquet'")
        source = {"query": {"file": "customers.sql"}}
    parts, difference = account(configured(tmp_path, ["visits", "total_spend"], **source))
    assert [(one.reason, one.lines, one.orders, one.customers, one.money) for one in parts] == [
        ("used", 2, None, 2, Decimal("8.75")),
        ("no customer", 2, None, 0, Decimal("5")),
        ("customer repeated", 2, None, 1, Decimal("40")),
        ("customer rejected", 1, None, 1, Decimal("7")),
    ]
    assert [one.without_amount for one in parts] == [0, 1, 0, 0]
    assert difference == NOTHING


def test_rows_that_do_not_say_what_was_spent_have_no_money(tmp_path: Path) -> None:
    write(tmp_path / "s.parquet", [("a", 3.0), ("b", None)], {"id": "VARCHAR", "visits": "DOUBLE"})
    expected = [("used", 1, None, None), ("customer rejected", 1, None, None)]
    for config in (
        snapshots_from(tmp_path, "s.parquet"),
        query_from(tmp_path, "SELECT id AS customer_id, visits FROM 's.parquet'"),
    ):
        parts, difference = account(config)
        assert [(one.reason, one.lines, one.money, one.without_amount) for one in parts] == expected
        assert difference == NOTHING


# --- the check --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sign"),
    [
        ("DELETE FROM customer_lines WHERE customer_id = 'c00000'", -1),
        ("UPDATE customer_lines SET money = money + 0.01 WHERE customer_id = 'c00000'", 0),
        ("INSERT INTO customer_lines FROM customer_lines WHERE customer_id = 'c00000'", 1),
    ],
)
def test_a_month_of_which_a_line_or_a_cent_is_lost_is_not_written(
    shop: Shop, materialize: Callable[..., object], wrong: str, sign: int
) -> None:
    materialize(shop, "2023-03", selection=["raw_customers"])
    with duckdb.connect(str(shop.warehouse)) as connection:
        connection.execute(wrong)
    result = materialize(shop, "2023-03", selection=["validated_features"], raise_on_error=False)
    assert not result.success
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "source_is_accounted_for"]
    assert not check.passed
    lines, money = (check.metadata[f"observed/{name}"].value for name in ("lines", "money"))
    assert (lines > 0) - (lines < 0) == sign
    assert money != 0
    assert query(shop.warehouse, "SELECT count(*) FROM validated_features, source_reconciliation") == [(0,)]
    materialize(shop, "2023-03", selection=["raw_customers", "validated_features"])
    of_file = query(shop.warehouse, f"SELECT count(*), sum(CAST(amount AS DECIMAL(18, 4))) FROM '{shop.orders_path}'")
    assert query(shop.warehouse, "SELECT sum(lines), sum(money) FROM source_reconciliation") == of_file
