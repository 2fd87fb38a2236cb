"""Exports that nobody thinks of: other languages and encodings, marks around numbers and ids, sums among the lines,
currencies within the amounts, names that the program uses itself. What is right is known; else it is asked or told."""

import io
import json
import re
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.errors import InputError, QuestionError
from segment_pipeline.quickstart.plan import Plan, explore
from segment_pipeline.quickstart.request import Request
from segment_pipeline_tests.quickstart.reading import (
    HEADER,
    Rows,
    as_csv,
    figures,
    looked_at,
    right,
    shop,
    table_of,
)
from segment_pipeline_tests.quickstart.test_reading import workbook

Write = Callable[..., Path]
Day = Callable[[datetime], str]
Amount = Callable[[float], str]


def comma(amount: float) -> str:
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


def written(rows: Rows, header: Sequence[str], day: Day, amount: Amount, separator: str = ",") -> str:
    return as_csv(header, [[who, order, day(at), amount(float(str(a)))] for who, order, at, a in rows], separator)


def packed(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(name, content)
    return archive.getvalue()


def planned(path: Path) -> Plan:
    with duckdb.connect() as connection:
        return explore(connection, Request(path, path.parent / "out"))


COUNTRIES: dict[str, tuple[str, Sequence[str], Day, Amount]] = {
    "Turkey": (
        "cp1254",
        ["Müşteri No", "Sipariş No", "Sipariş Tarihi", "Tutar"],
        lambda at: f"{at:%d.%m.%Y %H:%M}",
        lambda amount: f"{comma(amount)} TL",
    ),
    "Russia": (
        "cp1251",
        ["Код клиента", "Номер заказа", "Дата заказа", "Сумма"],
        lambda at: f"{at:%d.%m.%Y}",
        lambda amount: f"{comma(amount).replace('.', ' ')} руб.",
    ),
    "Poland": (
        "cp1250",
        ["Nr klienta", "Nr zamówienia", "Data zamówienia", "Kwota"],
        lambda at: f"{at:%Y-%m-%d}",
        lambda amount: f"{comma(amount)} zł",
    ),
    "Japan": (
        "cp932",
        ["顧客番号", "注文番号", "注文日", "金額"],
        lambda at: f"{at:%Y年%m月%d日}",
        lambda amount: f"{amount:,.2f}円",
    ),
    "China": (
        "gbk",
        ["买家会员名", "订单编号", "订单付款时间", "买家实际支付金额"],
        lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
        lambda amount: f"{amount:.2f}",
    ),
    "Korea": (
        "cp949",
        ["고객번호", "주문번호", "주문일", "금액"],
        lambda at: f"{at:%Y/%m/%d}",
        lambda amount: f"{amount:,.2f}원",
    ),
    "Thailand": (
        "cp874",
        ["รหัสลูกค้า", "เลขที่ใบสั่งซื้อ", "วันที่สั่งซื้อ", "ยอดรวม"],
        lambda at: f"{at:%d/%m/}{at.year + 543}",
        lambda amount: f"{amount:,.2f}",
    ),
    "India": (
        "utf-8",
        ["Party", "Voucher No", "Voucher Date", "Gross Total"],
        lambda at: f"{at:%d-%m-%Y}",
        lambda amount: f"₹12,34,{amount:06.2f}" if amount < 1000 else f"₹12,3{amount:,.2f}",
    ),
    "Greece, UTF-16 without its mark": (
        "utf-16-le",
        ["Πελάτης", "Παραγγελία", "Ημερομηνία", "Ποσό"],
        lambda at: f"{at:%d/%m/%Y}",
        lambda amount: f"{comma(amount)} €",
    ),
}


@pytest.mark.parametrize("country", COUNTRIES)
def test_exports_of_other_languages_are_read_in_their_encoding_and_calendar(write: Write, country: str) -> None:
    encoding, header, day, amount = COUNTRIES[country]
    rows = shop()
    path = write("export.csv", written(rows, header, day, amount, "," if country == "China" else ";"), encoding)
    found, plan = looked_at(path)
    orders = plan.table.orders
    assert orders is not None
    assert [plan.table.customer_id, orders.order_id, orders.date, orders.amount] == header
    more = 1_234_000 if country == "India" else 0
    expected = {who: (n, round(spend + n * more, 2), days) for who, (n, spend, days) in right(rows).items()}
    assert found == expected


@pytest.mark.parametrize(
    "header",
    [
        ["Клиент", "Номер заказа", "Дата", "Сумма"],
        ["Πελάτης", "Παραγγελία", "Ημερομηνία", "Ποσό"],
        ["Zákazník", "Číslo objednávky", "Datum", "Částka"],
    ],
)
def test_capitals_beyond_ascii_in_a_header_are_read_every_month(write: Write, header: Sequence[str]) -> None:
    rows = shop()
    path = write("export.csv", as_csv([*header, "Статус"], [[*row, "Выполнен"] for row in rows], ";"))
    assert figures(path)[0] == right(rows)
    assert figures(path, where="Статус = 'Выполнен'")[0] == right(rows)
    assert figures(path, where=f"{header[3]} > 30")[0] == right([row for row in rows if float(str(row[3])) > 30])


def test_a_leap_day_is_one_in_buddhist_years_too(write: Write) -> None:
    rows = [*shop(), ["40000", "999999", datetime(2024, 2, 29), 1.0]]
    path = write("export.csv", written(rows, HEADER, lambda at: f"{at.year + 543}-{at:%m-%d}", str))
    assert figures(path)[0] == right(rows)


MONTHS = {
    "German": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "French": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "Spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "Italian": "gen feb mar apr mag giu lug ago set ott nov dic",
    "Russian": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
}


@pytest.mark.parametrize("language", MONTHS)
def test_months_in_words_are_read_in_other_languages(write: Write, language: str) -> None:
    names, rows = MONTHS[language].split(), shop()
    for day in ("{0.day}. {1} {0.year} {0:%H:%M:%S} UTC", "{0:%d}-{1}-{0:%y}", "{1} {0.day}, {0.year}"):
        text = written(rows, HEADER, lambda at, day=day: day.format(at, names[at.month - 1]), str)
        found, said = figures(write("export.csv", text))
        assert found == right(rows), day
        assert any(f"with {language} months" in one for one in said)


def test_months_in_english_words_are_none_of_another_language(write: Write) -> None:
    found, said = figures(write("export.csv", written(shop(), HEADER, lambda at: f"{at:%d %b %Y}", str)))
    assert found == right(shop())
    assert any("written as %d %b %Y, such as" in one for one in said)


def dressed(rows: Rows, of: Callable[[int, str], str]) -> Rows:
    return [[of(i, str(who)), *rest] for i, (who, *rest) in enumerate(rows)]


SHAPES: dict[str, Callable[[Rows, Path], object]] = {
    "blanks around ids.csv": lambda rows, path: path.write_text(
        as_csv(HEADER, dressed(rows, lambda i, who: who + ("  ", "\u00a0", "", "\t")[i % 4]))
    ),
    "formulas as ids.csv": lambda rows, path: path.write_text(
        as_csv(HEADER, dressed(rows, lambda _, who: f'="{who}"'))
    ),
    "apostrophes before ids.csv": lambda rows, path: path.write_text(
        as_csv(HEADER, dressed(rows, lambda _, who: f"'{who}"))
    ),
    "exponents.csv": lambda rows, path: path.write_text(
        as_csv(HEADER, [[*r, f"{a:.8e}" if i % 9 == 0 else f"{a:,.2f}"] for i, (*r, a) in enumerate(rows)])
    ),
    "stamps.psv": lambda rows, path: path.write_text(
        as_csv(["CUST", "ORD", "TS", "AMT"], [[w, o, f"{at:%Y%m%d%H%M%S}", a] for w, o, at, a in rows], "|")
    ),
    "Swiss.csv": lambda rows, path: path.write_text(
        as_csv(HEADER, [[w, o, at, f"CHF {a:,.2f}".replace(",", "’")] for w, o, at, a in rows])
    ),
    "answer of a program.json": lambda rows, path: path.write_text(
        json.dumps(
            {
                "count": len(rows),
                "orders": [{"id": o, "customer": {"id": w}, "created_at": str(at), "total": a} for w, o, at, a in rows],
            }
        )
    ),
    "names of our own.csv": lambda rows, path: path.write_text(
        as_csv([*HEADER, *OURS], [[*row, *(f"{i}" for _ in OURS)] for i, row in enumerate(rows)])
    ),
    "numbers of Power BI.csv": lambda rows, path: path.write_text(
        as_csv(["CustomerKey", "SalesOrderNumber", "OrderDateKey", "SalesAmount"], rows)
    ),
    "line breaks.csv": lambda rows, path: path.write_bytes(
        as_csv([*HEADER, "note"], [[*row, 'Ring\r\nthe "bell"\n\n'] for row in rows], end="\r\n").encode()
    ),
}
OURS = (
    *("value", "text", "lines", "bare", "code", "given", "x", "k0", "v0", "moment", "number", "day", "rowid", "kept"),
    *("raw_rows", "padded", "line", "month", "source", "ways", "same", "segment_id", "as_of"),
)


@pytest.mark.parametrize("name", SHAPES)
def test_what_stands_around_ids_and_numbers_is_none_of_them(tmp_path: Path, name: str) -> None:
    rows = shop()
    SHAPES[name](rows, tmp_path / name)
    assert figures(tmp_path / name)[0] == right(rows)


def test_a_typeset_minus_is_one(write: Write) -> None:
    rows = [[*r, -float(str(a)) if i % 15 == 0 else a] for i, (*r, a) in enumerate(shop())]
    text = as_csv(HEADER, rows)
    for minus in ("\N{MINUS SIGN}", "\N{EN DASH}"):
        found, said = figures(write("export.csv", re.sub(r",-(?=[\d.]+\n)", f",{minus}", text)))
        assert found == right(rows)
        assert any("100 of 1,500 order lines (-" in one for one in said)


def test_a_number_with_another_decimal_mark_than_the_rest_is_told_and_not_a_hundred_times_as_much(write: Write) -> None:
    rows = shop()
    mixed = [[*r, f"{a:.2f}".replace(".", ",") if i % 30 == 0 else f"{a:.2f}"] for i, (*r, a) in enumerate(rows)]
    found, said = figures(write("export.csv", as_csv(HEADER, mixed)))
    known = right([row for i, row in enumerate(rows) if i % 30])
    assert {who: spend for who, (_, spend, _) in found.items()} == {who: spend for who, (_, spend, _) in known.items()}
    (told,) = (one for one in said if "no amount that can be read" in one)
    assert told.startswith("50 of 1,500 order lines (50 orders)")


def test_the_sheets_of_a_workbook_with_one_header_are_one_table_and_the_others_are_named(tmp_path: Path) -> None:
    rows = shop()
    months = {f"M{month}": [[*r[:2], str(r[2]), r[3]] for r in rows if r[2].month == month] for month in range(1, 13)}
    sheets = {name: [HEADER, *of] for name, of in months.items()}
    sheets["M5"] = [["Report of May"], *sheets["M5"]]
    first = sheets.pop("M1")
    people = [["Customer", "Name"], *([who, f"N{who}"] for who in sorted({row[0] for row in rows}))]
    found, said = figures(workbook(first, tmp_path / "book.xlsx", **sheets, People=people))
    assert found == right(rows)
    assert said[0].endswith("of an Excel workbook, without 'People'")
    merged = [["Sales 2024", "", "", ""], ["", "", "", ""], HEADER, *([*r[:2], str(r[2]), r[3]] for r in rows)]
    found, said = figures(workbook(merged, tmp_path / "merged.xlsx"))
    assert found == right(rows)
    assert "above the header, and not read: 'Sales 2024'" in said


@pytest.mark.parametrize(("one", "other"), [("${}", "{} €"), ("{} USD", "{} EUR"), ("${}", "A${}"), ("€{}", "£{}")])
def test_currencies_within_the_amounts_are_never_added_up(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], one: str, other: str
) -> None:
    rows = shop()
    of = [[w, o, at, (one if i % 3 else other).format(a)] for i, (w, o, at, a) in enumerate(rows)]
    path = write("two currencies.csv", as_csv(HEADER, of))
    assert main(["inspect", str(path)]) == 1
    (flags,) = re.findall(r'--where ".*"(?=  Or)', capsys.readouterr().err.replace("\n", " "))
    said = subprocess.run(["sh", "-c", f"printf '%s\\n' {flags}"], capture_output=True, text=True, check=True).stdout
    found, _ = figures(path, where=said.splitlines()[1])
    assert found == right([row for i, row in enumerate(rows) if i % 3])


@pytest.mark.parametrize("called", ["Total", "Grand Total", "Gesamtergebnis", "合計", "Sum:"])
def test_the_sum_below_the_lines_is_no_customer(write: Write, called: str) -> None:
    rows = shop()
    total = sum(float(str(row[3])) for row in rows)
    below = [called, "1500", "2024-12-31 00:00:00", f"{total:.2f}"]
    found, said = figures(write("export.csv", as_csv(HEADER, [*rows, below])))
    assert found == right(rows)
    (told,) = (one for one in said if "have no customer" in one)
    assert told.startswith(f"1 of 1,501 order lines (1 order, {total:,.2f})")
    assert repr(called.lower()) in told


def test_the_sum_below_the_customers_is_no_customer(write: Write) -> None:
    random = np.random.default_rng(1)
    rows: Rows = [
        [f"C{i}", int(random.poisson(5)) + 1, round(float(np.exp(random.normal(4, 1))), 2)] for i in range(400)
    ]
    below = ["Total", sum(row[1] for row in rows), round(sum(row[2] for row in rows), 2)]
    plan = planned(write("customers.csv", as_csv(["customer", "orders", "spend"], [*rows, below])))
    assert plan.customers == 400
    assert "total is no customer, but the sum of the others, and left out" in plan.guesses
    assert plan.values["spend"].max() == max(row[2] for row in rows)


def test_customers_that_are_written_in_two_ways_are_told(write: Write) -> None:
    rows = [[f"+49 {w[:3]} {w[3:]}" if i % 2 else f"+49{w}", o, at, a] for i, (w, o, at, a) in enumerate(shop())]
    _, said = figures(write("export.csv", as_csv(["Customer phone", *HEADER[1:]], rows)))
    (told,) = (one for one in said if "in capitals, blanks, signs and noughts only" in one)
    assert "such as '+49 400 " in told
    zeros = [[w.zfill(8) if i % 2 else w, *rest] for i, (w, *rest) in enumerate(shop())]
    _, said = figures(write("export.csv", as_csv(HEADER, zeros)))
    assert any("signs and noughts only, such as '00040" in one for one in said)
    _, said = figures(write("export.csv", as_csv(HEADER, shop())))
    assert not any("in capitals, blanks, signs and noughts only" in one for one in said)


def test_who_looks_after_customers_is_none_of_them(write: Write) -> None:
    random = np.random.default_rng(1)
    rows = [
        [
            f"A-{i}",
            f"Manager {i % 9}",
            random.poisson(5) + 1,
            f"{np.exp(random.normal(4, 1)):.2f}",
            f"2024-12-{1 + i % 28}",
        ]
        for i in range(400)
    ]
    for called in ("Account manager", "Customer service rep", "Kundenbetreuer", "Who"):
        table = table_of(write("export.csv", as_csv(["ref", called, "visits", "spend", "last_seen"], rows)))
        assert table.orders is None
        assert table.customer_id == "ref"


UNREADABLE: dict[str, tuple[Day, Amount, str, str]] = {
    "Finnish months": (lambda at: f"{at.day}. lokakuuta {at.year}", str, "write dates in digits", "--date-format"),
    "owed": (str, lambda amount: f"{amount:.2f} owed", "write amounts in digits alone", "--decimal"),
    "weekdays": (lambda at: f"{at:%A %d %b %Y %H.%M:%S}", str, "--date-format FORMAT", "in digits"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_refused_with_what_helps_and_no_flag_that_does_not(write: Write, name: str) -> None:
    day, amount, said, unsaid = UNREADABLE[name]
    with pytest.raises(InputError) as refused:
        table_of(write("export.csv", written(shop(), HEADER, day, amount)))
    assert said in str(refused.value)
    assert unsaid not in str(refused.value)


def test_dates_with_weekdays_are_read_in_the_format_that_is_said(write: Write) -> None:
    rows = shop()
    path = write("export.csv", written(rows, HEADER, UNREADABLE["weekdays"][0], str))
    assert figures(path, date_format="%A %d %b %Y %H.%M:%S")[0] == right(rows)


@pytest.mark.parametrize(
    "day",
    [
        lambda at: f"{at:%a, %d %b %Y %H:%M:%S} +0000",
        lambda at: f"{at:%a, %d %b %Y %H:%M:%S} GMT",
        lambda at: f"{at:%a, %d %b %Y %H:%M:%S}",
        lambda at: f"{at.month}/{at.day}/{at:%y} {at:%I:%M%p}".lower(),
    ],
)
def test_dates_of_mail_and_times_with_am_behind_them_are_read(write: Write, day: Day) -> None:
    rows = shop()
    path = write("export.csv", written(rows, ["customer", "id", "date", "amount"], day, str))
    assert figures(path)[0] == right(rows)


def test_a_customer_who_repeats_beside_an_unreadable_date_and_an_amount_is_no_row_each(write: Write) -> None:
    path = write("export.csv", written(shop(), ["customer", "id", "date", "amount"], UNREADABLE["weekdays"][0], str))
    with pytest.raises(InputError, match=r"customer repeats .* order lines.* say how it is written, --date-format"):
        table_of(path)


@pytest.mark.parametrize(
    ("day", "said"),
    [(str, "at one moment"), (lambda at: f"{at:%Y-%m-%d}", "on one day"), (lambda at: f"{at:%d.%m.%Y}", "on one day")],
)
def test_what_an_order_is_without_a_number_is_said_as_finely_as_the_dates_are(
    write: Write, day: Day, said: str
) -> None:
    rows = [[who, day(at), amount] for who, _, at, amount in shop()]
    table = table_of(write("export.csv", as_csv(["customer_id", "date", "amount"], rows)))
    assert any(f"an order is what a customer bought {said}, for" in one for one in table.guesses)


def test_lines_without_an_order_id_are_orders_by_their_moment_and_told(write: Write, tmp_path: Path) -> None:
    rows = shop()
    blank = [[who, "" if i % 33 == 0 else order, *rest] for i, (who, order, *rest) in enumerate(rows)]
    found, said = figures(write("export.csv", as_csv(HEADER, blank)))
    assert found == right(rows)
    lacking = sum(row[1] == "" for row in blank)
    pointed = tmp_path / "gaps.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT customer_id, coalesce(TRY_CAST(order_id AS DOUBLE), 'nan'::DOUBLE) AS order_id, order_date, "
            f"total FROM '{tmp_path / 'export.csv'}') TO '{pointed}'"
        )
    assert figures(pointed)[0] == found
    assert any(
        one.startswith(f"{lacking} of 1,500 order lines ({lacking} orders") and "no order_id" in one for one in said
    )


def test_a_row_that_is_an_id_beside_a_customer_who_comes_back_is_a_question(write: Write) -> None:
    rows = [[who, f"R{order}", at, f"{a:.2f} per piece"] for who, order, at, a in shop()]
    path = write("export.csv", as_csv(["Buyer", "ID", "Date", "Remark"], [[*row, i % 7] for i, row in enumerate(rows)]))
    path.write_text(path.read_text().replace("Remark", "Remark,Rating", 1))
    with pytest.raises(QuestionError, match=r"is a row a customer, or an order\?"):
        table_of(path)


def test_a_table_of_sums_by_month_says_that_it_is_one(write: Write) -> None:
    months = [f"{month} 2024" for month in ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug")]
    random = np.random.default_rng(2)
    rows = [[f"C{i}", *np.round(np.exp(random.normal(4, 1, len(months))), 2)] for i in range(400)]
    plan = planned(write("pivot.csv", as_csv(["customer", *months], rows)))
    assert any("'Jan 2024' to 'Aug 2024': 8 columns, one for each month" in one for one in plan.guesses)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "export.xls",
            b"\xef\xbb\xbf<html><body><table><tr><td>customer_id</td></tr></table>",
            "a page of HTML or XML",
        ),
        ("export.xml", b'<?xml version="1.0"?>\n<Workbook><Row/></Workbook>', "a page of HTML or XML"),
        ("orders.zip", packed("photo.png", b"\x89PNG\r\n\x1a\n\0\0"), "Unpack it, and name the file in it"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(write: Write, name: str, content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        table_of(write(name, content))
