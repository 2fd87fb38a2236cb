"""Files as people have them: shapes, kinds, roles told from values, and what cannot be an order line."""

import gzip
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.cli.main import main
from segment_pipeline.errors import InputError, QuestionError
from segment_pipeline.months import as_of
from segment_pipeline.quickstart import columns, scores
from segment_pipeline.quickstart.plan import explore
from segment_pipeline.quickstart.request import Request
from segment_pipeline.sources.expressions import columns_of_ids_alone
from segment_pipeline.sources.files import open_files
from segment_pipeline.sources.text.headers import find_header
from segment_pipeline_tests.quickstart.exports import EXPORTS, export, lines, truth
from segment_pipeline_tests.quickstart.reading import (
    HEADER,
    Rows,
    as_csv,
    figures,
    looked_at,
    right,
    shop,
    table_of,
    without,
)

# --- shapes -----------------------------------------------------------------------------------------------------------


def workbook(
    rows: Sequence[Sequence[object]],
    path: Path,
    merged: Sequence[str] = (),
    hidden: str = "",
    **others: Sequence[Sequence[object]],
) -> Path:
    """The rows as a workbook with nothing in it but what a spreadsheet needs to find them, and other sheets. merged :
    cells of the first sheet, as A2:A5. hidden : a sheet. A text that begins with = is a formula without a value."""
    import zipfile

    def cell(value: object) -> str:
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        if str(value).startswith("="):
            return f"<c><f>{str(value)[1:]}</f></c>"
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    space = "http://schemas.openxmlformats.org"
    relation, main = f"{space}/officeDocument/2006/relationships", f"{space}/spreadsheetml/2006/main"
    sheets = {"Orders": rows, **others}
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"

    def related(*of: tuple[str, str]) -> str:
        each = "".join(
            f'<Relationship Id="rId{i}" Type="{relation}/{what}" Target="{target}"/>'
            for i, (what, target) in enumerate(of, 1)
        )
        return f'<Relationships xmlns="{space}/package/2006/relationships">{each}</Relationships>'

    parts = [f"worksheets/sheet{i}.xml" for i, _ in enumerate(sheets, 1)]
    overrides = "".join(f'<Override PartName="/xl/{part}" ContentType="{kind}.worksheet+xml"/>' for part in parts)
    of_hidden = " state='hidden'"
    named = "".join(
        f'<sheet name="{name}" sheetId="{i}"{of_hidden * (name == hidden)} r:id="rId{i}"/>'
        for i, name in enumerate(sheets, 1)
    )
    cells = "".join(f'<mergeCell ref="{one}"/>' for one in merged)
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{space}/package/2006/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override '
            f'PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>{overrides}</Types>',
        )
        book.writestr("_rels/.rels", related(("officeDocument", "xl/workbook.xml")))
        book.writestr("xl/_rels/workbook.xml.rels", related(*(("worksheet", part) for part in parts)))
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relation}"><sheets>{named}</sheets></workbook>',
        )
        for part, of in zip(parts, sheets.values(), strict=True):
            data = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in of)
            below = f"<mergeCells>{cells}</mergeCells>" * (bool(cells) and of is rows)
            book.writestr(f"xl/{part}", f'<worksheet xmlns="{main}"><sheetData>{data}</sheetData>{below}</worksheet>')
    return path


def serial(at: datetime) -> float:
    return (at - datetime(1899, 12, 30)) / timedelta(days=1)


def shaped(name: str, rows: Rows, folder: Path) -> Path:
    """The shop's orders in one of the shapes in which files come."""
    text = as_csv(HEADER, rows)
    comma = [
        [who, order, f"{at:%d.%m.%Y %H:%M:%S}", f"{total:.2f}".replace(".", ",")] for who, order, at, total in rows
    ]
    columns = dict(zip(HEADER, zip(*rows, strict=True), strict=True))
    written: Mapping[str, Callable[[Path], object]] = {
        "plain.csv": lambda path: path.write_text(text),
        "break in a header.csv": lambda path: path.write_bytes(
            as_csv(["customer_id", "order_id", "order\ndate", "total"], rows, end="\r\n").encode()
        ),
        "break in a header, unix.csv": lambda path: path.write_text(
            as_csv(["customer_id", "order_id", "order\ndate", "total"], rows)
        ),
        "sep line.csv": lambda path: path.write_bytes(b"sep=;\r\n" + as_csv(HEADER, comma, ";", "\r\n").encode()),
        "title.csv": lambda path: path.write_text(f"Orders report\nGenerated 2025-01-02,,,\n\n{text}"),
        "title;.csv": lambda path: path.write_text(f"Report\n\n{as_csv(HEADER, comma, ';')}"),
        "utf16.csv": lambda path: path.write_text(as_csv(HEADER, rows, "\t"), encoding="utf-16"),
        "packed.csv.gz": lambda path: path.write_bytes(gzip.compress(text.encode())),
        "orders.parquet": lambda path: parquet.write_table(pa.table(columns), path),
        "orders.jsonl": lambda path: path.write_text(
            "\n".join(json.dumps(dict(zip(HEADER, map(str, row), strict=True))) for row in rows)
        ),
        "objects.jsonl": lambda path: path.write_text(
            "\n".join(
                json.dumps({"customer": {"id": int(who)}, "order": {"id": n, "at": str(at), "total": total}})
                for who, n, at, total in rows
            )
        ),
        "orders.xlsx": lambda path: workbook(
            [["Orders of 2024"], HEADER, *([int(who), int(n), serial(at), total] for who, n, at, total in rows)], path
        ),
        "serial.csv": lambda path: path.write_text(
            as_csv(HEADER, [[who, order, f"{serial(at):.5f}", total] for who, order, at, total in rows])
        ),
        "floats as ids.csv": lambda path: path.write_text(
            as_csv(HEADER, [[f"{who}.0", f"{order}.0", at, total] for who, order, at, total in rows])
        ),
        "compact date.csv": lambda path: path.write_text(
            as_csv(HEADER, [[who, order, f"{at:%Y%m%d}", total] for who, order, at, total in rows])
        ),
        "magento date.csv": lambda path: path.write_text(
            as_csv(HEADER, [[who, order, f"{at:%b %d, %Y, %I:%M:%S %p}", total] for who, order, at, total in rows])
        ),
    }
    path = folder / name
    written[name](path)
    return path


SHAPES = (
    *("plain.csv", "break in a header.csv", "break in a header, unix.csv", "sep line.csv", "title.csv", "title;.csv"),
    *("utf16.csv", "packed.csv.gz", "orders.parquet", "orders.jsonl", "objects.jsonl", "orders.xlsx"),
    *("serial.csv", "floats as ids.csv", "compact date.csv", "magento date.csv"),
)


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_of_any_shape_gives_the_same_customers(tmp_path, name):
    rows = shop()
    found, _ = figures(shaped(name, rows, tmp_path))
    assert found == right(rows)


def test_what_stands_above_the_header_is_said(tmp_path):
    _, said = figures(shaped("title.csv", shop(), tmp_path))
    assert "above the header, and not read: 'Orders report', 'Generated 2025-01-02'" in said


@pytest.mark.parametrize("name", ["sep line.csv", "title.csv", "break in a header.csv"])
def test_the_monthly_reader_finds_the_same_rows_below_the_same_header(tmp_path, name):
    rows = shop()
    with duckdb.connect() as connection:
        relation = open_files(connection, str(shaped(name, rows, tmp_path)), {"customer_id"})
        found = connection.execute(f"SELECT count(*), count(DISTINCT customer_id) FROM {relation.sql}").fetchone()
    assert found == (len(rows), len(right(rows)))
    assert list(relation.columns)[2] in ("order_date", "order date")


def test_several_files_are_one_and_so_are_those_of_a_pattern(write, tmp_path):
    rows = shop()
    first = write("orders_1.csv", as_csv(HEADER, rows[:700]))
    second = write("orders_2.csv", as_csv(HEADER, rows[700:]))
    assert figures(first, second)[0] == right(rows)
    assert figures(tmp_path / "orders_*.csv")[0] == right(rows)
    other = write("other.csv", as_csv([*HEADER[:3], "sum"], rows))
    with pytest.raises(InputError, match=r"other\.csv and .*orders_1\.csv have not the same columns"):
        table_of(first, other)
    with pytest.raises(InputError, match="matches no file"):
        table_of(tmp_path / "nothing_*.csv")


def test_leading_zeros_stay_also_where_an_order_is_made_of_its_customer(write):
    rows = [[f"00{who}", order, at, total] for who, order, at, total in shop()]
    path = write("orders.csv", as_csv(["customer_id", "date", "amount"], without(rows, 1)))
    assert figures(path)[0] == right([[who, at, at, total] for who, _, at, total in rows])


def test_an_id_that_is_taken_as_text_is_read_as_text():
    as_text = {"customer_id": "no", "order_id": 'concat(CAST("no" AS VARCHAR), \' \', "day")', "amount": "total"}
    assert columns_of_ids_alone(as_text, ("customer_id", "order_id")) == {"no", as_text["order_id"].lower()}
    assert "no" not in columns_of_ids_alone({**as_text, "amount": "total * no"}, ("customer_id", "order_id"))


def test_a_minus_behind_the_number_is_a_minus(write):
    rows = shop()
    rows[5][3] = -float(str(rows[5][3]))
    shown = [
        [who, order, at, f"{-float(str(total)):.2f}-" if float(str(total)) < 0 else total]
        for who, order, at, total in rows
    ]
    found, said = figures(write("orders.csv", as_csv(HEADER, shown)))
    assert found == right(rows)
    assert any("below zero" in sentence for sentence in said)


def test_points_are_of_thousands_where_smaller_numbers_have_none(write):
    rows = [[who, order, at, int(float(str(total)) * 30)] for who, order, at, total in shop()]
    assert {len(str(total)) for *_, total in rows} >= {3, 4}
    shown = [[who, order, at, f"{int(str(total)):,}".replace(",", ".")] for who, order, at, total in rows]
    found, said = figures(write("orders.csv", as_csv(HEADER, shown, ";")))
    assert found == right(rows)
    assert any("points are of thousands" in sentence for sentence in said)


def test_three_decimals_beside_numbers_of_that_size_are_decimals(write):
    rows = [[who, order, at, f"{float(str(total)):.3f}"] for who, order, at, total in shop()]
    rows[0][3] = "12.5"
    assert table_of(write("orders.csv", as_csv(HEADER, rows))).decimal == "."


@given(
    st.lists(st.sampled_from(["a", "b c", 'd"e', "f\ng", "Größe"]), min_size=2, max_size=5),
    st.sampled_from(",;\t|"),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_header_is_found_whatever_stands_between_its_names(names, separator, titled):
    table = as_csv(names, [["1"] * len(names)] * 5, separator)
    text = f"A title\n{table}" if titled else table
    found = find_header(text.split("\n"))
    assert (list(found.names), found.separator, len(found.above)) == (names, separator, int(titled))


# --- dates that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_times_with_an_offset_are_the_same_on_every_machine(tmp_path, monkeypatch, zone):
    rows = shop()
    text = tmp_path / "orders.csv"
    text.write_text(as_csv(HEADER, [[who, order, f"{at.isoformat()}+02:00", total] for who, order, at, total in rows]))
    table = pa.table(dict(zip(HEADER, zip(*rows, strict=True), strict=True)))
    moments = table["order_date"].cast(pa.timestamp("us", tz="UTC"))
    parquet.write_table(table.set_column(2, "order_date", moments), tmp_path / "orders.parquet")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        found, said = figures(text)
        assert found == figures(tmp_path / "orders.parquet")[0] == right(rows)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert any("whatever their offset" in sentence for sentence in said)


@pytest.mark.parametrize("wrong", ["9999-12-31", "1900-01-01", "2062-07-01 10:00:00", "0000-00-00", ""])
def test_a_date_that_is_none_is_left_out_and_told_with_its_orders_and_money(write, wrong):
    rows = shop()
    bad, good = rows[:30], rows[30:]
    path = write("orders.csv", as_csv(HEADER, [[*row[:2], wrong, row[3]] for row in bad] + good))
    found, said = figures(path)
    assert found == right(good)
    money = f"30 of 1,500 order lines (30 orders, {sum(float(str(row[3])) for row in bad):,.2f})"
    assert any(sentence.startswith(money) and "left out" in sentence for sentence in said), said


def test_a_date_to_come_moves_neither_the_month_nor_anybodys_recency(write):
    header = ["customer_id", "last_order_date", "orders", "average_order_value"]
    rows = [
        [f"C{i}", f"{date(2024, 5, 1) + timedelta(days=i % 200)}", 1 + i % 9, round(10 + i % 37 * 1.7, 2)]
        for i in range(600)
    ]
    plain = write("customers.csv", as_csv(header, rows))
    rows[3][1], rows[4][1] = "2099-01-01", "9999-12-31"
    odd = write("odd.csv", as_csv(header, rows))
    with duckdb.connect() as connection:
        expected = explore(connection, Request(plain, plain.parent))
        found = explore(connection, Request(odd, odd.parent))
        days = connection.execute(f"SELECT {found.columns['days_since_last_order']} FROM raw_rows").fetchall()
    assert (found.month, found.columns.keys()) == (expected.month, expected.columns.keys())
    assert [days[3][0], days[4][0]] == [None, None]
    assert max(value for (value,) in days if value is not None) == 200


def test_a_date_format_that_does_not_fit_is_an_error_that_names_a_value(write):
    rows = [[who, order, f"{at:%d/%m/%Y}", total] for who, order, at, total in shop()]
    path = write("orders.csv", as_csv(HEADER, rows))
    for said in ({}, {"date": "order_date"}):
        with pytest.raises(InputError, match=r"--date-format '%m/%d/%Y'.*order_date.*\d\d/\d\d/2024"):
            table_of(path, date_format="%m/%d/%Y", **said)
    assert table_of(path, date_format="%d/%m/%Y").columns["order_date"].unreadable == 0


# --- two forms of dates in one column --------------------------------------------------------------------------------


def spreadsheet_day(at: datetime) -> str:
    return f"{(at - datetime(1899, 12, 30)) / timedelta(days=1):.8f}"


FORMS = {
    "%d.%m.%Y %H:%M:%S": lambda at: f"{at:%d.%m.%Y %H:%M:%S}",
    "%d/%m/%Y %H:%M:%S": lambda at: f"{at:%d/%m/%Y %H:%M:%S}",
    "1899-12-30": spreadsheet_day,
}


@pytest.mark.parametrize("every", [25, 2])
@pytest.mark.parametrize("form", FORMS)
def test_dates_in_two_forms_are_both_read_and_that_is_said(write, form, every):
    rows = shop()
    written = [[*row[:2], FORMS[form](row[2]) if i % every == 1 else row[2], row[3]] for i, row in enumerate(rows)]
    path = write("orders.csv", as_csv(HEADER, written))
    found, said = figures(path)
    assert found == right(rows)
    assert any("order_date: dates" in sentence and "both are read" in sentence for sentence in said), said
    with duckdb.connect() as connection:
        source = explore(connection, Request(path, path.parent / "out")).starter.source
    assert form in str(source["orders"])  # as the configuration that is left reads them


def test_dates_that_could_be_of_two_forms_are_left_out_and_told(write):
    """Day first or month first: of the few that are written so, no day says which."""
    rows = shop()
    odd = [i for i, row in enumerate(rows) if i % 25 == 1 and row[2].day <= 12]
    written = [[*row[:2], f"{row[2]:%d/%m/%Y}" if i in odd else row[2], row[3]] for i, row in enumerate(rows)]
    found, said = figures(write("orders.csv", as_csv(HEADER, written)))
    assert found == right([row for i, row in enumerate(rows) if i not in odd])
    money = sum(float(str(rows[i][3])) for i in odd)
    told = next(
        one for one in said if one.startswith(f"{len(odd)} of 1,500 order lines ({len(odd)} orders, {money:,.2f})")
    )
    assert "have no date that can be read in order_date, such as" in told
    assert "(--date-format)" in told


# --- roles ------------------------------------------------------------------------------------------------------------


ASKED = {
    "salesforce": (
        r"which column is the date.*'Close Date'.*--date 'Created Date'",
        {"ordered_at": "Close Date"},
    )
}
"""Export -> the question that it is, and the flag that answers it."""


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_of_a_known_system_gives_the_right_figures_without_a_flag_or_asks_for_one(write, name):
    header, rows, roles = export(name)
    path, said = write("export.csv", as_csv(header, rows, ";")), {}
    if name in ASKED:
        question, said = ASKED[name]
        with pytest.raises(QuestionError, match=question):
            table_of(path)
    last = lines()[-1]["at"]
    assert isinstance(last, datetime)
    month = last.date().replace(day=1)
    found, plan = looked_at(path, month=month, **said)
    orders = plan.table.orders
    assert orders is not None
    of_lines = (orders.date, orders.amount, orders.order_id, orders.product_id, orders.quantity)
    assert {plan.table.customer_id, *(one for one in of_lines if one is not None)} == set(roles)
    assert found == truth(name, as_of(month))


@pytest.mark.parametrize(
    "called",
    [
        ("year", "month", "day"),
        ("Jahr", "Monat", "Tag"),
        ("order_year", "order_month", "order_day_of_week", "order_day"),
    ],
)
@pytest.mark.parametrize("numbered", [True, False])
def test_a_date_whose_parts_have_columns_of_their_own_is_read(write, called, numbered):
    rows = shop()
    header, shown = ["customer_id", *called, *(["order_id"] if numbered else []), "total"], []
    for who, order, at, amount in rows:
        weekday = [3] if len(called) > 3 else []
        shown.append([who, at.year, at.month, *weekday, at.day, *([order] if numbered else []), amount])
    found, said = figures(write("orders.csv", as_csv(header, shown)))
    by_day = [[who, order if numbered else at.date(), at, amount] for who, order, at, amount in rows]
    assert found == right(by_day)
    whole = ", ".join(name for name in called if "week" not in name)
    assert any(sentence.startswith(f"'{whole}': dates, 2024-01-01 to 2024-12-3") for sentence in said), said


def test_a_month_without_a_day_is_taken_for_its_first_day_and_that_is_said(write):
    rows = [[who, order, at.replace(day=1), amount] for who, order, at, amount in shop()]
    shown = [[who, order, at.year, at.month, amount] for who, order, at, amount in rows]
    path = write("orders.csv", as_csv(["customer_id", "order_id", "year", "month", "total"], shown))
    found, said = figures(path)
    assert found == right(rows)
    assert any("each date is the first of its month" in sentence for sentence in said), said


def test_a_table_of_customers_has_no_date_in_parts(write):
    rows = [[f"c{i}", 2020 + i % 4, 1 + i % 12, i * 7 % 113, i * 13 % 97] for i in range(200)]
    table = table_of(write("customers.csv", as_csv(["customer_id", "year", "month", "visits", "spend"], rows)))
    assert table.orders is None
    assert list(table.columns) == ["customer_id", "year", "month", "visits", "spend"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("order_date", lambda row: f"{row[2]:%d~%m~%Y}", r"No column reads as a date \(order_date .*--date-format"),
        (
            "total",
            lambda row: f"{row[3]:.2f}".replace(".", ","),
            r"No column reads as an amount \(total .*--decimal ','",
        ),
    ],
)
def test_what_keeps_rows_from_being_order_lines_is_named(write, column, value, said):
    place = HEADER.index(column)
    rows = [[*row[:place], value(row), *row[place + 1 :]] for row in shop()]
    path = write("orders.csv", as_csv(HEADER, rows, ";"))
    with pytest.raises(InputError, match=said):
        table_of(path, **({"decimal": "."} if column == "total" else {}))


@pytest.mark.parametrize("name", ["shopify", "olist items", "sap", "online retail", "french", "klaviyo"])
def test_of_a_large_file_a_part_of_the_rows_tells_the_same_roles(write, monkeypatch, name):
    for module in (columns, scores):
        monkeypatch.setattr(module, "PROFILED_ROWS", 300)
    monkeypatch.setattr(scores, "_VALUES_TESTED", 20)
    header, rows, roles = export(name)
    table = table_of(write("export.csv", as_csv(header, rows, ";")))
    orders = table.orders
    assert orders is not None
    of_lines = (orders.date, orders.amount, orders.order_id, orders.product_id, orders.quantity)
    assert {table.customer_id, *(one for one in of_lines if one is not None)} == set(roles)
    assert table.rows == len(rows) == table.columns[orders.date].known


def test_without_an_order_id_an_order_is_what_a_customer_bought_at_one_moment(write):
    rows = shop()
    path = write("orders.csv", as_csv(["customer_id", "date", "amount"], without(rows, 1)))
    found, said = figures(path)
    assert found == right(rows)
    assert any("an order is what a customer bought at one moment" in sentence for sentence in said)


def test_an_order_number_that_begins_again_with_each_customer_needs_its_customer(write):
    counted: dict[str, int] = {}
    rows = shop()
    for row in rows:
        counted[str(row[0])] = counted.get(str(row[0]), 0) + 1
        row[1] = str(counted[str(row[0])])
    found, said = figures(write("orders.csv", as_csv(["customer_id", "order_number", "order_date", "total"], rows)))
    assert found == right(rows)
    assert any("an order is customer and number" in sentence for sentence in said)


def test_an_empty_column_is_nothing_whatever_it_is_called(write):
    header = ["Receipt Number", "Customer Number", "Total Amount", *HEADER]
    table = table_of(write("orders.csv", as_csv(header, [["", "", "", *row] for row in shop()])))
    assert table.orders is not None
    assert (table.customer_id, table.orders.order_id, table.orders.amount) == ("customer_id", "order_id", "total")


def test_every_role_is_said_with_the_next_best_and_why(write):
    header = ["freight", "cust_id", "store_id", *HEADER[1:]]
    rows = [[round(2 + i % 5 * 0.7, 2), row[0], i % 9, *row[1:]] for i, row in enumerate(shop())]
    said = "\n".join(table_of(write("orders.csv", as_csv(header, rows))).guesses)
    assert re.search(r"customer cust_id: called like a customer, .*; next store_id \(.*\)  \(--customer-id\)", said)
    assert re.search(r"amount total: .*; next freight \(called like a charge or a share\)  \(--amount\)", said)


def test_rows_without_anything_called_a_customer_are_a_question_and_not_customers(write):
    header = ["text", "IBAN", "booked", "in"]
    rows = [[f"no. {order}", f"DE{who}", at, total] for who, order, at, total in shop()]
    path = write("account.csv", as_csv(header, rows))
    with pytest.raises(QuestionError, match=r"--customer-id IBAN --date booked --amount COLUMN .* --customer-id text"):
        table_of(path)
    assert figures(path, customer_id="IBAN", ordered_at="booked", amount="in")[0] == right(
        [[f"DE{who}", order, at, total] for who, order, at, total in shop()]
    )
    assert table_of(path, customer_id="text").orders is None


def test_a_column_for_each_month_is_no_missing_header(write):
    months = [f"2024-{month:02}" for month in range(1, 13)]
    rows = [[f"k{i}", *(round(10 + i / (month + 1), 2) for month in range(12))] for i in range(200)]
    table = table_of(write("customers.csv", as_csv(["client", *months], rows)))
    assert [one.name for one in table.numbers()] == months


def test_two_customers_of_one_order_are_a_question_with_the_flag_that_answers_it(write, tmp_path, capsys):
    header = ["household_id", "customer_id", *HEADER[1:]]
    rows = [[f"h{int(str(row[0])) % 60}", *row] for row in shop()]
    path = write("orders.csv", as_csv(header, rows))
    assert main(["inspect", str(path)]) == 1
    said = capsys.readouterr().err
    assert "which column is the customer?" in said
    assert "--customer-id household_id  or  --customer-id customer_id" in said
    assert table_of(path, customer_id="household_id").customer_id == "household_id"


def test_columns_that_say_the_same_are_no_question(write):
    rows = [[row[0], f"M{row[0]}", *row[1:]] for row in shop()]
    table = table_of(write("orders.csv", as_csv(["customer_id", "member_id", *HEADER[1:]], rows)))
    assert table.customer_id == "customer_id"


def test_an_amount_that_stands_on_every_line_of_an_order_is_not_added_up(write, capsys):
    rows = [[f"{line['who']}", f"{line['order']}", line["at"], f"P{line['line']}", line["total"]] for line in lines()]
    path = write("orders.csv", as_csv(["customer_id", "order_id", "order_date", "product", "order_total"], rows))
    with pytest.raises(QuestionError, match=r"order_total is .*repeated on each of its lines.*--amount"):
        table_of(path)
    assert main(["inspect", str(path), "--amount", "order_total"]) == 0
    assert "as you said, though it is the same on all lines of an order, and each adds it" in capsys.readouterr().out


def test_a_price_that_grows_with_the_pieces_is_the_lines(write):
    one, line = (
        [[f"{x['who']}", f"{x['order']}", x["at"], x["pieces"], amount(x)] for x in lines()]
        for amount in (lambda x: x["price"], lambda x: round(x["price"] * x["pieces"], 2))
    )
    header = ["customer_id", "order_id", "order_date", "quantity", "price"]
    of_piece, of_line = (table_of(write(f"{i}.csv", as_csv(header, rows))).orders for i, rows in enumerate((one, line)))
    assert of_piece is not None
    assert of_line is not None
    assert (of_piece.quantity, of_line.quantity) == ("quantity", None)


# --- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_says_what_each_column_is_taken_for_and_writes_nothing(write, tmp_path, capsys, monkeypatch):
    path = write("orders.csv", as_csv([*HEADER, "note"], [[*row, ""] for row in shop()]))
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    for line in (
        r"^customer_id +customer +numbers +100\.0 % +150 +40000",
        r"^order_id +order +numbers",
        r"^order_date +date +dates",
        r"^total +amount +numbers",
        r"^note +none +0\.0 % +0 *$",
        r"customer customer_id: called like a customer, comes back on other days",
    ):
        assert re.search(line, said, re.MULTILINE), line
    assert [file.name for file in tmp_path.iterdir()] == ["orders.csv"]
