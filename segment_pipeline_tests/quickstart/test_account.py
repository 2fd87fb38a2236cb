"""What quickstart says of the lines of a file adds up to the file, in lines and in money, whatever is in it."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import parse_config
from segment_pipeline.config.starter_file import starter_text
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import split_customers
from segment_pipeline.database.store import in_memory, prepare
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.quickstart.plan import explore
from segment_pipeline.quickstart.request import Request
from segment_pipeline.sources.reconciliation import Part, read_account, write_reconciliation
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline_tests.quickstart.reading import HEADER, as_csv, figures, right, shop

COLUMNS = ["customer_id", "order_id", "order_date", "total", "status", "currency"]
WHERE = "status <> 'cancelled' AND currency = 'EUR'"
ROWS = [[who, order, f"{at}", f"{total:.2f}"] for who, order, at, total in shop(customers=60, orders=400)]

SENTENCE = re.compile(r"^([\d,]+)(?: of [\d,]+)? order lines? \([\d,]+ orders?(?:, (-?[\d,.]+))?\)")
SAYS = {
    "lie before the window": "before",
    "lie after the month": "after",
    "do not meet the condition under where": "where",
    "have no date that can be read": "undated",
    "are dated later than today": "future",
    "have no customer": "nobody",
    "have no amount that can be read": "unreadable",
    "repeat another in every column: they are left out": "repeated",
}


def account_of(said: Sequence[str]) -> dict[str, tuple[int, Decimal]]:
    """part -> lines and money, as the sentences have them."""
    found = {}
    for sentence in said:
        whole = re.match(r"the file: ([\d,]+) order lines, (-?[\d,.]+); used: (.*)", sentence)
        if whole is not None:
            found["file"] = number(whole[1]), Decimal(whole[2].replace(",", ""))
        told = SENTENCE.match(whole[3] if whole is not None else sentence)
        part = "used" if whole is not None else next((one for says, one in SAYS.items() if says in sentence), None)
        if told is not None and part is not None:
            found[part] = number(told[1]), Decimal((told[2] or "0").replace(",", ""))
    return found


def number(text: str) -> int:
    return int(text.replace(",", ""))


def fate(row: Sequence[str], seen: Counter[tuple[str, ...]], often: set[str], *, once: bool) -> str:
    """What becomes of a line of the file by the rules that quickstart states. often : ids that stand for nobody only
    where many lines have them, and do."""
    who, _, at, total, status, currency = row
    seen[tuple(row)] += 1
    if once and seen[tuple(row)] > 1:
        return "repeated"
    moment = None if at in ("", "soon", "0000-00-00") else datetime.fromisoformat(at)
    dated = moment is not None and 1902 <= moment.year < 2200
    if moment is not None and dated and moment < datetime(2024, 1, 1):
        return "before"
    if moment is not None and dated and datetime(2025, 1, 1) <= moment < datetime.now():
        return "after"
    if status == "cancelled" or currency != "EUR":
        return "where"
    if moment is None or not dated:
        return "undated"
    if moment >= datetime(2025, 1, 1):
        return "future"
    if who.strip().lower() in {"", "guest", "null", "none", *often}:
        return "nobody"
    return "unreadable" if total == "abc" else "used"


ODD = st.lists(
    st.tuples(
        st.sampled_from(["40001", "40002", "40003", "Guest", "GUEST", "NULL", "0", "", " ", "none"]),
        st.sampled_from(["7000001", "7000002", "7000003", "7000004"]),
        st.one_of(
            st.datetimes(datetime(2023, 11, 1), datetime(2025, 2, 1)).map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
            st.sampled_from(["9999-12-31", "1900-01-01", "2062-07-01 10:00:00", "0000-00-00", "", "soon"]),
        ),
        st.one_of(
            st.decimals(-500, 500, places=2).map(str), st.decimals(-500, 500, places=2).map(str),
            st.sampled_from(["", "n/a", "abc"]),
        ),
        st.sampled_from(["paid", "paid", "cancelled"]),
        st.sampled_from(["EUR", "EUR", "USD"]),
    ),
    max_size=20,
)  # fmt: skip


@example(odd=[("40001", "7000004", "2023-11-12 13:46:13", "n/a", "paid", "USD")], repeats=3, once=True)
@given(odd=ODD, repeats=st.integers(0, 4), once=st.booleans())
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes a second: to shrink one, minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_said_of_any_mixture_of_lines_adds_up_to_the_file(
    tmp_path: Path, odd: list[tuple[str, ...]], repeats: int, once: bool
) -> None:
    rows = [[*row, "paid", "EUR"] for row in ROWS] + [list(row) for row in odd]
    # one of each at least, so that the file has states and currencies
    for state in (("cancelled", "EUR"), ("paid", "USD")):
        rows.append(["40001", "7000009", "2024-06-01 10:00:00", "9.99", *state])
    rows += rows[-repeats:] if repeats else []
    path = tmp_path / "orders.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    _, said = figures(path, where=WHERE, repeats_once=once, ordered_at="order_date")
    seen: Counter[tuple[str, ...]] = Counter()
    often = {"0"} if sum(row[0] == "0" for row in rows) > 0.01 * len(rows) else set()
    fates = [fate(row, seen, often, once=once) for row in rows]
    money = [Decimal(row[3]) if row[3] not in ("", "n/a", "abc") else Decimal(0) for row in rows]
    expected = {
        one: (fates.count(one), sum((m for m, of in zip(money, fates, strict=True) if of == one), Decimal(0)))
        for one in set(fates)
    }
    assert account_of(said) == expected | {"file": (len(rows), sum(money, Decimal(0)))}


# --- the month that the configuration of a quickstart makes -----------------------------------------------------------


def month_of(path: Path) -> dict[str, Part]:
    """What the month that quickstart would run says of the lines, after the contract has judged the customers."""
    out = path.parent / "out"
    with in_memory() as connection:
        plan = explore(connection, Request(path, out))
    config = parse_config(starter_text(plan.starter), out / "segmentation.yaml")
    out.mkdir()
    with in_memory() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        load_raw_customers(connection, config, plan.month)
        split_customers(connection, config, build_contract(config), plan.month)
        assert write_reconciliation(connection, config, plan.month, "validated_features").lines == 0
        return {one.reason: one for one in read_account(connection, plan.month)}


def test_invoices_with_returns_and_nameless_customers_are_accounted_for_to_the_cent(tmp_path: Path) -> None:
    """As Online Retail has them, beside pandas: a quarter of the lines without a customer, returns as negative
    quantities under a C, and no amount but quantity times price."""
    random = np.random.default_rng(4)
    at = pd.Timestamp("2010-12-01 08:00") + pd.to_timedelta(np.sort(random.integers(0, 373 * 1440, 1600)), "min")
    orders = pd.DataFrame({"InvoiceDate": at, "CustomerID": random.integers(12_346, 12_546, 1600)})
    orders["returned"] = random.random(1600) < 0.03
    orders["InvoiceNo"] = [f"{'C' if back else ''}{536_365 + i}" for i, back in enumerate(orders["returned"])]
    orders["CustomerID"] = orders["CustomerID"].astype(str).where(random.random(1600) >= 0.25, "")
    lines = orders.loc[orders.index.repeat(random.integers(1, 6, 1600))].reset_index(drop=True)
    lines["StockCode"] = 84_000 + random.integers(0, 300, len(lines))
    lines["Quantity"] = random.integers(1, 13, len(lines)) * np.where(lines["returned"], -1, 1)
    lines["UnitPrice"] = random.integers(20, 2_000, len(lines)) / 100
    cents = lines["Quantity"] * (lines["UnitPrice"] * 100).round().astype(int)
    columns = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
    path = tmp_path / "online_retail.csv"
    lines[columns].assign(InvoiceDate=lines["InvoiceDate"].dt.strftime("%m/%d/%Y %H:%M")).to_csv(path, index=False)

    found = month_of(path)

    # the twelve months to the end of November 2011, the last that the file covers
    start, end = pd.Timestamp("2010-12-01"), pd.Timestamp("2011-12-01")
    inside = (lines["InvoiceDate"] >= start) & (lines["InvoiceDate"] < end)
    named = lines["CustomerID"] != ""
    net = lines.assign(cents=cents)[inside & named].groupby("CustomerID")["cents"].sum()
    rejected = lines["CustomerID"].isin(net[net < 0].index)  # an average order of less than nothing is impossible
    parts = {
        "used": inside & named & ~rejected,
        "customer rejected": inside & named & rejected,
        "no customer": inside & ~named,
        "after the month": ~inside,
    }
    assert found.keys() == {reason for reason, of in parts.items() if of.any()}
    for reason, one in found.items():
        of, below = parts[reason], parts[reason] & (cents < 0)
        assert (one.lines, one.orders) == (of.sum(), lines["InvoiceNo"][of].nunique())
        assert one.money == Decimal(int(cents[of].sum())) / 100
        assert (one.below_zero, one.below_zero_money or 0) == (below.sum(), Decimal(int(cents[below].sum())) / 100)
    assert found["no customer"].lines > 0.2 * len(lines)
    assert found["used"].below_zero


@pytest.mark.parametrize("blank", ["", "n/a"])
def test_orders_without_an_amount_count_as_the_plan_says_and_reject_nobody(tmp_path: Path, blank: str) -> None:
    rows = [[*row[:3], blank if i % 10 == 0 else row[3]] for i, row in enumerate(shop())]
    path = tmp_path / "orders.csv"
    path.write_text(as_csv(HEADER, rows))
    found, said = figures(path)
    assert found == right([[*row[:3], 0 if row[3] == blank else row[3]] for row in rows])
    assert any("(150 orders, 0.00) have no total: they count as orders, and add nothing" in one for one in said)
    assert {reason: one.lines for reason, one in month_of(path).items()} == {"used": 1500}


def test_an_amount_on_the_first_line_of_an_order_only_is_the_orders(tmp_path: Path) -> None:
    """As Shopify exports it: to the contract, the other lines had amounts that cannot be read."""
    rows = [
        [f"c{row[0]}@example.org", row[1], row[2], row[3] if line == 0 else "", f"SKU-{(i + line) % 90}"]
        for i, row in enumerate(shop())
        for line in range(1 + i % 3)
    ]
    path = tmp_path / "orders.csv"
    path.write_text(as_csv(["Email", "Name", "Created at", "Total", "Lineitem sku"], rows))
    found = month_of(path)
    assert {reason: one.lines for reason, one in found.items()} == {"used": len(rows)}
    assert found["used"].money == sum(Decimal(str(row[3])) for row in shop())
