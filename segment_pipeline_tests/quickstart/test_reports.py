"""Reports for people and answers of programs: labels that stand once above their lines, remarks that are wider than the
table, items within orders, money without a blank before its currency, and amounts that are known by the others."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from segment_pipeline.quickstart.csv_table import Table
from segment_pipeline_tests.quickstart.reading import HEADER, Rows, as_csv, figures, right, shop, table_of

Write = Callable[..., Path]


def amount_of(table: Table) -> str:
    """How the amount of a line is made."""
    assert table.orders is not None
    return " * ".join(part for part in (table.orders.quantity, table.orders.amount) if part is not None)


# --- labels -----------------------------------------------------------------------------------------------------------


def by_customer(rows: Rows) -> Mapping[str, Rows]:
    found: dict[str, Rows] = {}
    for row in sorted(rows, key=lambda row: str(row[0])):
        found.setdefault(f"Client {row[0]}", []).append([row[1], f"{row[2]:%m/%d/%Y}", f"{row[3]:.2f}"])
    return found


def expected(rows: Rows) -> Mapping[str, tuple[int, float, int]]:
    return right([[f"Client {who}", *rest] for who, *rest in rows])


def test_a_customer_who_stands_on_the_first_line_of_a_group_is_that_of_all(write: Write) -> None:
    rows = [[who if i == 0 else "", *row] for who, of in by_customer(shop()).items() for i, row in enumerate(of)]
    found, said = figures(write("report.csv", as_csv(["Customer", "Invoice", "Date", "Amount"], rows)))
    assert found == expected(shop())
    assert "labels of groups in all of their lines" in said[0]


def test_a_report_by_customer_is_read_with_its_titles_and_its_sums(write: Write) -> None:
    """The name alone above its lines, its sum below, and no name for the column: the title says whose lines these
    are."""
    rows: Rows = []
    for who, of in by_customer(shop()).items():
        total = sum(float(str(row[2])) for row in of)
        rows += [
            [who, "", "", "", ""],
            *(["", *row, "x"] for row in of),
            [f"Total for {who}", "", "", f"${total:,.2f}", ""],
        ]
    titles = "Sales by Customer Detail,,,,\nMy Company,,,,\n"
    end = '\n"Friday, Jan 03, 2025 08:00:00 AM GMT-8 - Accrual Basis",,,,\n'
    text = titles + as_csv(["", "Num", "Date", "Amount", "Memo"], rows) + end
    found, said = figures(write("Sales by Customer Detail.csv", text))
    assert found == expected(shop())
    assert any("150 of 1,650 order lines" in one and "have no date that can be read" in one for one in said)


def test_numbers_that_are_missing_here_and_there_are_no_labels(write: Write) -> None:
    rows = [["" if i % 3 == 1 else f"PO-{(i * 7919) % 10_007}", *row] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv(["PO number", *HEADER], rows))
    found, said = figures(path)
    assert found == right(shop())
    assert "labels" not in said[0]


# --- remarks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "below",
    [
        "\nFilters: status, region, channel, and more, applied by user, on request\n",
        "\nNote, one, two, three\n\nExported by Sam, for internal use, only, please, thanks\n",
        "\nTotal,,,999999.00\n",
    ],
)
def test_remarks_below_a_gap_may_be_as_wide_as_the_table_or_wider(write: Write, below: str) -> None:
    found, said = figures(write("orders.csv", as_csv(HEADER, shop()) + below))
    assert found == right(shop())
    told = next(one for one in said if one.startswith("below the table, and not read"))
    assert all(line[:40] in told for line in below.splitlines() if line)


def test_rows_below_a_gap_are_rows(write: Write) -> None:
    text = as_csv(HEADER, shop()).splitlines(keepends=True)
    found, said = figures(write("orders.csv", "".join([*text[:-5], "\n", *text[-5:]])))
    assert found == right(shop())
    assert not any("below the table" in one for one in said)


# --- items within orders ----------------------------------------------------------------------------------------------


def as_objects(rows: Rows, *, with_total: bool) -> str:
    found = []
    for who, order, at, amount in rows:
        total = float(str(amount))
        items = [{"sku": "A1", "line_total": round(total - 1, 2)}, {"sku": "B2", "line_total": 1.0}]
        assert isinstance(at, datetime)
        one = {"id": order, "user": {"uid": who}, "placed_at": at.isoformat(), "items": items}
        found.append(json.dumps(one | ({"total_price": f"{total:.2f}"} if with_total else {})))
    return "\n".join(found)


@pytest.mark.parametrize("with_total", [False, True])
def test_items_within_orders_are_lines_where_nothing_else_tells_of_money(write: Write, with_total: bool) -> None:
    found, said = figures(write("orders.jsonl", as_objects(shop(), with_total=with_total)))
    assert found == right(shop())
    lines = "1,500 rows, JSON" if with_total else "3,000 rows, JSON, a row for each of items"
    assert said[0] == lines


# --- amounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["EUR{}", "{}EUR", "{} EUR", "CHF{}", "{}kr", "Rs.{}", "USD {}"])
def test_a_code_of_a_currency_needs_no_blank_and_keeps_the_sign(write: Write, written: str) -> None:
    rows = [[*row[:3], float(str(row[3])) * (-1 if i % 10 == 0 else 1)] for i, row in enumerate(shop())]
    texts = [
        [*row[:3], ("-" if float(str(row[3])) < 0 else "") + written.format(f"{abs(float(str(row[3]))):.2f}")]
        for row in rows
    ]
    assert figures(write("orders.csv", as_csv(HEADER, texts)))[0] == right(rows)


def test_rupiahs_given_back_are_thousands_as_the_others_are(write: Write) -> None:
    rows = [[*row[:3], round(float(str(row[3])) * 1000) * (-1 if i % 10 == 0 else 1)] for i, row in enumerate(shop())]
    texts = [[*row[:3], f"{'-' if row[3] < 0 else ''}Rp{abs(row[3]):,}".replace(",", ".")] for row in rows]
    assert figures(write("orders.csv", as_csv(HEADER, texts)))[0] == right(rows)


def test_ids_that_begin_as_currencies_do_are_ids(write: Write) -> None:
    rows = [[f"RM{who}", f"FR{order}", *rest] for who, order, *rest in shop()]
    table = table_of(write("orders.csv", as_csv(HEADER, rows)))
    assert [table.columns[name].kind for name in HEADER[:2]] == ["text", "text"]


@pytest.mark.parametrize(
    ("net", "fee", "gross"),
    [
        ("Net Total ($)", "Fees ($)", "Sale Price ($)"),
        ("Real amount", "Fee amount", "Transaction amount"),
        ("Auszahlungsbetrag", "Gebühr", "Betrag"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_shop_is_paid_out_less_a_fee_is_not_what_customers_paid(
    write: Write, net: str, fee: str, gross: str, sign: int
) -> None:
    rows = [
        [*row[:3], float(str(row[3])) - 0.3 - i % 5 / 10, sign * (0.3 + i % 5 / 10), row[3]]
        for i, row in enumerate(shop())
    ]
    texts = [[*row[:3], *(f"{one:.2f}" for one in row[3:])] for row in rows]
    path = write("orders.csv", as_csv([*HEADER[:3], net, fee, gross], texts))
    assert amount_of(table_of(path)) == gross


def pieces(rows: Rows, header: list[str], values: Callable[[int, float], list[object]]) -> str:
    """Two lines an order, each of one to three pieces. values : of the pieces and the price of one."""
    lines = [
        [*row[:3], *values(1 + (i + part) % 3, 4.99 + (i * 7 + part) % 40)]
        for i, row in enumerate(rows)
        for part in range(2)
    ]
    return as_csv([*HEADER[:3], *header], lines)


def test_a_price_that_pieces_make_another_amount_of_is_that_of_one(write: Write) -> None:
    text = pieces(shop(), ["Qty", "Sales Price", "Amount"], lambda n, price: [n, f"{price:.2f}", f"{n * price:.2f}"])
    assert amount_of(table_of(write("orders.csv", text))) == "Amount"


def test_a_price_that_does_not_grow_with_the_pieces_is_of_one_whatever_it_is_called(write: Write) -> None:
    text = pieces(shop(), ["Quantity", "PriceAmount"], lambda n, price: [n, f"{price:.2f}"])
    assert amount_of(table_of(write("orders.csv", text))) == "Quantity * PriceAmount"
    text = pieces(shop(), ["Quantity", "PriceAmount"], lambda n, price: [n, f"{n * price:.2f}"])
    assert amount_of(table_of(write("lines.csv", text))) == "PriceAmount"


def test_a_register_of_vouchers_is_one_of_orders(write: Write) -> None:
    rows = [[f"{at:%d-%b-%y}", f"Client {who}", "Sales", f"S/{order}", amount] for who, order, at, amount in shop()]
    titles = "My Company\nSales Register\n1-Jan-24 to 31-Dec-24\n\n"
    text = (
        titles + as_csv(["Date", "Particulars", "Vch Type", "Vch No.", "Gross Total"], rows) + ",Grand Total,,,99.00\n"
    )
    assert figures(write("Sales Register.csv", text))[0] == expected(shop())
