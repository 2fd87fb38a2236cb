"""What columns mean: ids that a program has given a point, customers who are nobody or one of two parties, discounts
beside prices, books that write credits with a minus, sums, and months that are not as the first was."""

import re
import shlex
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.errors import InputError, QuestionError
from segment_pipeline.quickstart.expressions import order_expressions
from segment_pipeline.quickstart.proposal import propose_features
from segment_pipeline_tests.quickstart.reading import HEADER, Figures, as_csv, figures, right, shop, table_of
from segment_pipeline_tests.quickstart.test_states import condition, kept, money, said_of

Write = Callable[..., Path]


def read_every_month(export: Path, first: Path) -> Figures:
    """customer -> orders and spend that the expressions for every month, made of the first export, read in another."""
    table = table_of(first)
    made = order_expressions(table)
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT {made['customer_id']} AS who, count(DISTINCT {made['order_id']}), sum({made['amount']}), 0 "
            f"FROM read_csv('{export}', all_varchar = true) GROUP BY who"
        ).fetchall()
    return {who: (orders, round(spend, 2), none) for who, orders, spend, none in found}


def by_hand(rows: list[list[object]]) -> Figures:
    return {who: (orders, spend, 0) for who, (orders, spend, _) in right(rows).items()}


def test_an_id_with_a_point_is_that_without_one(write: Write) -> None:
    rows = shop()
    pointed = [[f"{who}.0" if i % 3 == 0 else who, *rest] for i, (who, *rest) in enumerate(rows)]
    path = write("orders.csv", as_csv(HEADER, pointed))
    found, said = figures(path)
    assert found == right(rows)
    assert any("order lines of 150 customers" in one for one in said)
    assert any("customer_id: some end in .0" in one for one in said)


@pytest.mark.parametrize("gap", ["", "NULL", "n/a"])
def test_an_order_without_a_number_is_one_by_its_moment_also_where_the_first_export_had_all(
    write: Write, gap: str
) -> None:
    rows = shop()
    later = [[who, gap if i % 20 == 0 else order, *rest] for i, (who, order, *rest) in enumerate(rows)]
    path = write("later.csv", as_csv(HEADER, later))
    assert read_every_month(path, path) == by_hand(rows)
    if gap == "":
        assert read_every_month(path, write("first.csv", as_csv(HEADER, rows))) == by_hand(rows)


def test_what_an_order_without_a_number_is_is_said_as_finely_as_the_dates_are(write: Write) -> None:
    rows = [[who, "" if i % 20 == 0 else order, f"{at:%Y-%m-%d}", a] for i, (who, order, at, a) in enumerate(shop())]
    (told,) = said_of(write("orders.csv", as_csv(HEADER, rows)))
    assert "an order of theirs is what a customer bought on one day" in told


NOBODIES = [
    *("Walk-in", "Walk-In Customer", "Cash Sale", "POS customer", "Laufkundschaft", "Barverkauf", "Consumidor final"),
    *("Público en general", "Cliente mostrador", "Client de passage", "Cliente occasionale", "Klient detaliczny"),
    *(
        "Розничный покупатель",
        "散客",
        "現金客",
        "ゲスト",
        "비회원",
        "ลูกค้าทั่วไป",
        "Khách lẻ",
        "Perakende",
        "Losse verkoop",
    ),
]


def test_who_left_no_name_is_nobody_in_many_languages(write: Write) -> None:
    rows = shop()
    shown = [[NOBODIES[i % len(NOBODIES)] if i % 5 == 0 else f"C{who}", *r] for i, (who, *r) in enumerate(rows)]
    table = table_of(write("orders.csv", as_csv(["customer", *HEADER[1:]], shown)))
    assert set(table.nobody) == {one.lower() for one in NOBODIES}


def test_one_who_may_stand_for_many_is_told(write: Write) -> None:
    rows = [["ZZ-99" if i % 5 == 0 else f"C{who}", *rest] for i, (who, *rest) in enumerate(shop())]
    path = write("orders.csv", as_csv(["customer", *HEADER[1:]], rows))
    (told,) = said_of(path)
    assert told.startswith(f"customer: 300 of 1,500 order lines (300 orders, {money(rows[::5])}) are of 'ZZ-99'")
    assert kept(path, condition(told)) == 1200
    assert said_of(path, where=condition(told)) == []


def test_a_customer_called_total_is_one_unless_it_adds_up_the_others(write: Write) -> None:
    rows = [["Total" if i % 50 == 0 else f"C{who}", *rest] for i, (who, *rest) in enumerate(shop())]
    assert table_of(write("orders.csv", as_csv(HEADER, rows))).nobody == ()
    random = np.random.default_rng(1)
    people = [[f"C{i}", int(random.poisson(5)) + 1, round(float(np.exp(random.normal(4, 1))), 2)] for i in range(400)]
    people[7][0] = "Suma"
    table = table_of(write("customers.csv", as_csv(["customer", "orders", "spend"], people)))
    assert (table.nobody, table.rows) == ((), 400)


def test_a_sum_below_each_group_of_lines_is_no_customer(write: Write) -> None:
    lines: list[list[object]] = []
    for start in range(0, 1500, 100):
        block = [[f"C{row[0]}", *row[1:]] for row in shop()[start : start + 100]]
        lines += [*block, ["Subtotal", "", "", money(block).replace(",", "")]]
    path = write("orders.csv", as_csv(HEADER, lines))
    found, _ = figures(path)
    assert found == right([[f"C{row[0]}", *row[1:]] for row in shop()])


DISCOUNTS = [
    ("Discount", "12.50", "Quantity * UnitPrice - Discount", lambda gross: gross - 12.5),
    ("Rabatt", "-2.25", "Quantity * UnitPrice + Rabatt", lambda gross: gross - 2.25),
    ("Discount", "0.15", "Quantity * UnitPrice * (1 - Discount)", lambda gross: gross * 0.85),
    ("Discount %", "20", "Quantity * UnitPrice * (1 - Discount % / 100)", lambda gross: gross * 0.8),
]


@pytest.mark.parametrize(("column", "value", "answer", "paid"), DISCOUNTS)
def test_a_discount_beside_price_and_quantity_is_told_with_the_amount_that_takes_it_off(
    write: Write, column: str, value: str, answer: str, paid: Callable[[float], float]
) -> None:
    rows = [[*row[:3], i % 4 + 1, row[3], value if i % 3 == 0 else 0] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER[:3], "Quantity", "UnitPrice", column], rows))
    (told,) = said_of(path)
    assert "500 of 1,500 order lines have one" in told
    assert "it is not taken off Quantity * UnitPrice" in told
    assert shlex.split(told.partition("say  ")[2])[1] == answer
    made = order_expressions(table_of(path, amount=answer))
    with duckdb.connect() as connection:
        (spent,) = connection.execute(
            f"SELECT sum({made['amount']}) FROM read_csv('{path}', all_varchar = true)"
        ).fetchone() or (None,)
    gross = [int(str(row[3])) * float(str(row[4])) for row in rows]
    assert spent == pytest.approx(sum(paid(one) if i % 3 == 0 else one for i, one in enumerate(gross)))
    assert said_of(path, amount=answer) == []


@pytest.mark.parametrize("back", [0, 20])
def test_books_that_write_sales_with_a_minus_are_turned_and_that_is_said(write: Write, back: int) -> None:
    signs = [1 if back and i % back == 0 else -1 for i in range(1500)]
    rows = [[*row[:3], sign * float(str(row[3]))] for sign, row in zip(signs, shop(), strict=True)]
    path = write("ledger.csv", as_csv([*HEADER[:3], "Amount"], rows))
    table = table_of(path)
    (told,) = (one for one in table.guesses if "amount '0 - Amount'" in one)
    assert "its sign is turned; to take it as it stands say  --amount Amount" in told
    assert read_every_month(path, path) == by_hand([[*row[:3], -float(str(row[3]))] for row in rows])
    (told,) = said_of(path, amount="Amount")
    assert told.endswith("say  --amount '0 - Amount'")


def test_who_pays_and_who_receives_is_a_question_and_who_ordered_goes_before_both(write: Write) -> None:
    rows = [[who, str(int(str(who)) + 1000 * (i % 3)), *rest] for i, (who, *rest) in enumerate(shop())]
    header = ["Bill-to Customer No.", "Ship-to Customer No.", "Order No", "Order Date", "Amount"]
    path = write("orders.csv", as_csv(header, rows))
    with pytest.raises(QuestionError, match=re.escape("--customer-id 'Bill-to Customer No.'  or  --customer-id 'Ship")):
        table_of(path)
    ordered = write("sold.csv", as_csv(["Sold-to Customer No.", *header], [[row[0], *row] for row in rows]))
    table = table_of(ordered)
    assert table.customer_id == "Sold-to Customer No."
    assert any("next 'Bill-to Customer No.' (called like who pays or receives" in one for one in table.guesses)


def test_what_sap_calls_its_columns_is_known(write: Write) -> None:
    header = ["VBELN", "FKART", "FKDAT", "KUNAG", "KUNRG", "NETWR", "WAERK", "FKSTO"]
    rows = [
        [no, "G2" if i % 12 == 0 else "F2", f"{at:%Y%m%d}", who, str(int(str(who)) // 2), a, "EUR", "X" * (i % 30 == 0)]
        for i, (who, no, at, a) in enumerate(shop())
    ]
    path = write("vbrk.csv", as_csv(header, rows))
    table = table_of(path)
    assert (table.customer_id, table.orders.order_id, table.orders.date) == ("KUNAG", "VBELN", "FKDAT")  # type: ignore[union-attr]
    of_type, of_cancelled, both = said_of(path)
    assert "If 'G2' stand for no sales" in of_type
    assert of_cancelled.startswith("FKSTO: of 1,500 order lines 50 are 'X'")
    assert kept(path, condition(both)) == sum(1 for i in range(1500) if i % 12 and i % 30)


def test_an_id_of_the_row_is_no_feature() -> None:
    random = np.random.default_rng(4)
    columns = {
        "Record ID": random.choice(10**11, 600, replace=False).astype(float),
        "visits": random.poisson(6, 600).astype(float),
        "spend": np.round(np.exp(random.normal(4, 1, 600)), 2),
    }
    (left,) = propose_features(columns).left_out
    assert (left.name, left.reason) == ("Record ID", "it is called an id, and different for every customer")


# --- numbers and dates that could be others ---------------------------------------------------------------------------


def in_thousands(amount: int) -> str:
    """29839 as 29.839."""
    return f"{amount:,}".replace(",", ".")


@pytest.mark.parametrize(("called", "before"), [("Monto Total", ""), ("total", ""), ("paid", "$ ")])
def test_money_of_three_digits_behind_a_point_everywhere_is_thousands(write: Write, called: str, before: str) -> None:
    rows = [[*rest, 1000 + round(100 * float(str(amount)))] for *rest, amount in shop()]
    written = [[*rest, before + in_thousands(amount)] for *rest, amount in rows]
    found, said = figures(write("orders.csv", as_csv([*HEADER[:3], called], written)))
    assert found == right(rows)
    assert any("points are of thousands" in one and "--decimal" in one for one in said)


def test_money_of_three_decimals_that_goes_below_one_has_decimals(write: Write) -> None:
    rows = [[*rest, f"{float(str(amount)) / 20:.3f}"] for *rest, amount in shop()]
    assert min(float(str(row[-1])) for row in rows) < 1
    assert table_of(write("orders.csv", as_csv(HEADER, rows))).decimal == "."


def test_a_measure_of_three_decimals_is_no_thousands(write: Write) -> None:
    rows = [[f"c{i}", f"{1 + i % 7}.{100 + 7 * i % 900}", 3 + i % 90] for i in range(200)]
    assert table_of(write("customers.csv", as_csv(["customer_id", "distance", "visits"], rows))).decimal == "."


def firsts_of_months(form: str, months: int) -> list[list[object]]:
    """Bills on the first of each month from September 2024 on."""
    days = [datetime(2024 + (8 + month) // 12, 1 + (8 + month) % 12, 1) for month in range(months)]
    return [[f"c{i % 40}", f"{day:{form}}", 10.5 + i % 31] for day in days for i in range(40)]


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%d.%m.%y", "%m/%d/%Y"])
def test_days_that_are_all_the_first_of_a_month_are_not_all_in_january(write: Write, form: str) -> None:
    rows = firsts_of_months(form, 14)
    dated = table_of(write("bills.csv", as_csv(["customer", "bill date", "amount"], rows))).columns["bill date"]
    assert (dated.date_format, dated.first, dated.last) == (form, date(2024, 9, 1), date(2025, 10, 1))


def test_a_month_in_letters_may_stand_before_the_day(write: Write) -> None:
    rows = [[*rest[:2], f"{rest[2]:%b-%d-%y}", amount] for *rest, amount in shop()]
    found, said = figures(write("orders.csv", as_csv(HEADER, rows)))
    assert {who: (n, spend) for who, (n, spend, _) in found.items()} == {
        who: (n, spend) for who, (n, spend, _) in right(shop()).items()
    }
    assert not any("several forms" in one for one in said)


@pytest.mark.parametrize(
    "below",
    [
        '\n"1500","record(s) downloaded,","from"\n"Seller ID : myshop"\n',
        '\n"Tuesday, Nov 03, 2026 09:12:33 AM GMT-8 - Accrual Basis"\n',
        "----------------------------------------",
        "Exported by the back office on Monday\n-----\n",
    ],
)
def test_remarks_below_a_table_are_told_and_not_read(write: Write, below: str) -> None:
    rows = shop()
    found, said = figures(write("orders.csv", as_csv(HEADER, rows) + below))
    assert found == right(rows)
    words = [line.strip() for line in below.splitlines() if " " in line]
    told = next((one for one in said if one.startswith("below the table, and not read")), "")
    assert all(line in told for line in words)
    assert bool(told) == bool(words)


def test_a_line_that_is_cut_off_is_no_remark(write: Write) -> None:
    path = write("orders.csv", as_csv(HEADER, shop()) + '40001,"900')
    with pytest.raises(InputError):
        table_of(path)


# --- who it is: ids before names --------------------------------------------------------------------------------------

_FIRST, _LAST = ["Anna", "Ben", "Carla", "David", "Emma"], ["Abel", "Brandt", "Costa", "Dupont", "Ek", "Fox"]


def namesakes(tells: Callable[[int], str]) -> list[list[object]]:
    """Orders of 60 people who have 30 names: order, name, what tells them apart, moment, amount."""
    rows = shop(customers=60)
    people = [int(str(row[0])) - 40_000 for row in rows]
    names = [f"{_FIRST[who % 5]} {_LAST[who // 5 % 6]}" for who in people]
    return [[row[1], name, tells(who), *row[2:]] for row, name, who in zip(rows, names, people, strict=True)]


@pytest.mark.parametrize(
    ("called", "apart", "tells"),
    [
        ("Buyer Name", "Purchase Email", lambda who: f"mail{who}@mail.com"),
        ("Customer Name", "Phone", lambda who: f"+4917100{who:06}"),
        ("Customer Name", "Kontakt", lambda who: f"+49 171 00{who:06}"),
        ("FULL_NAME", "PROFILE_ID", lambda who: f"{55_000 + who}"),
        ("Customer Name", "Documento", lambda who: f"364.768.{who:03}-64"),
        ("PassengerName", "FFPNumber", lambda who: f"LH{99_000_000 + who}"),
    ],
)
def test_what_tells_namesakes_apart_is_the_customer(
    write: Write, called: str, apart: str, tells: Callable[[int], str]
) -> None:
    rows = namesakes(tells)
    table = table_of(write("orders.csv", as_csv(["Order", called, apart, "Date", "Total"], rows)))
    assert table.customer_id == apart
    assert any("order lines of 60 customers" in one for one in table.guesses)


def test_where_each_name_is_of_one_customer_the_name_stays(write: Write) -> None:
    rows = [
        [order, f"Anna Abel {mail}", mail, *rest] for order, _, mail, *rest in namesakes(lambda who: f"m{who}@x.de")
    ]
    header = ["Order", "Customer Name", "Contact", "Date", "Total"]
    assert table_of(write("orders.csv", as_csv(header, rows))).customer_id == "Customer Name"


def test_addresses_are_seen_whatever_their_column_is_called(write: Write) -> None:
    rows = [[order, mail, *rest] for order, _, mail, *rest in namesakes(lambda who: f"mail{who}@mail.com")]
    table = table_of(write("orders.csv", as_csv(["Order", "Order text", "Date", "Total"], rows)))
    assert table.customer_id == "Order text"


def test_an_id_beside_a_product_is_no_customer(write: Write) -> None:
    rows = [[row[1], f"thing {i % 60}", f"{100_000 + i % 60}", *row[2:]] for i, row in enumerate(shop())]
    header = ["Order number", "Product", "Ozon ID", "Date", "Total"]
    with pytest.raises(InputError, match="--customer-id COLUMN"):
        table_of(write("orders.csv", as_csv(header, rows)))


@pytest.mark.parametrize(
    ("written", "currency"), [("R$ {}", "BRL"), ("Rp{}", "IDR"), ("{} ₫", "VND"), ("฿{}", "THB"), ("$ {}", "USD")]
)
def test_a_currency_is_called_by_its_own_name(write: Write, written: str, currency: str) -> None:
    rows = [[*rest, written.format(f"{float(str(amount)):.2f}")] for *rest, amount in shop()]
    assert table_of(write("orders.csv", as_csv(HEADER, rows))).columns["total"].unit == currency


def test_debits_and_credits_say_so_behind_the_number(write: Write) -> None:
    rows = shop()
    signed = [[*rest, float(str(amount)) * (-1 if i % 10 == 0 else 1)] for i, (*rest, amount) in enumerate(rows)]
    written = [[*rest, f"{abs(x):,.2f} {'Cr' if x < 0 else 'Dr'}"] for *rest, x in signed]
    assert figures(write("orders.csv", as_csv(HEADER, written)))[0] == right(signed)


def test_an_amount_on_each_line_of_an_order_may_count_on_the_first(write: Write) -> None:
    rows = [[*row, line] for row in shop() for line in (1, 2)]
    path = write("orders.csv", as_csv([*HEADER, "CouponNo"], rows))
    with pytest.raises(QuestionError, match="once per order") as asked:
        table_of(path)
    flags = shlex.split(str(asked.value).partition("of each:  ")[2])
    assert flags == ["--amount", "total", "--where", "CouponNo = '1'"]
    assert figures(path, amount="total", where=flags[3])[0] == right(shop())


def test_numbers_that_nothing_calls_an_amount_are_offered(write: Write) -> None:
    header = ["MemberId", "ReferenceNo", "ActivityDate", "Points", "PartnerCode"]
    rows = [[*row, ("1", "2")[i % 2]] for i, row in enumerate(shop())]
    with pytest.raises(InputError, match="--amount Points") as refused:
        table_of(write("points.csv", as_csv(header, rows)))
    assert "PartnerCode is not" not in str(refused.value)


def test_vietnamese_names_are_words(write: Write) -> None:
    rows = [[*row[:3], in_thousands(1000 * round(100 * float(str(row[3])))) + " ₫"] for row in shop()]
    table = table_of(write("orders.csv", as_csv(["Khách hàng", "Mã đơn hàng", "Ngày đặt hàng", "Tổng tiền"], rows)))
    assert table.orders is not None
    assert (table.customer_id, table.orders.order_id, table.orders.amount) == ("Khách hàng", "Mã đơn hàng", "Tổng tiền")
    assert table.columns["Tổng tiền"].unit == "VND"
    assert not any("as in 1,5" in one for one in table.guesses)
