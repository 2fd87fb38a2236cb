"""The same orders in the shapes in which programs and people write files: whatever wrote them, they are the same."""

import gzip
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from segment_pipeline.errors import InputError
from segment_pipeline_tests.quickstart.reading import HEADER, Rows, as_csv, figures, looked_at, right, shop, without
from segment_pipeline_tests.quickstart.test_reading import serial, workbook

Put = Callable[[Path, Rows], object]
ROWS = shop(customers=60, orders=600)
NAMES = ("Anna", "Jürgen", "Zoë", "François")


def bytes_of(of: Callable[[str], bytes], separator: str = ",") -> Put:
    return lambda path, rows: path.write_bytes(of(as_csv(HEADER, rows, separator)))


def joined(by: str, around: str = "") -> Put:
    return lambda path, rows: path.write_text(
        "\n".join(by.join(f"{around}{value}{around}" for value in row) for row in [HEADER, *rows]) + "\n"
    )


def fixed(path: Path, rows: Rows) -> None:
    texts = (map(str, row) for row in [HEADER, *rows])
    path.write_text("".join(f"{who:<12}{order:<10}{at:<22}{total:>10}\n" for who, order, at, total in texts))


def two_encodings(path: Path, rows: Rows) -> None:
    text = as_csv([*HEADER, "name"], [[*row, NAMES[i % 4]] for i, row in enumerate(rows)])
    lines = text.splitlines(keepends=True)
    path.write_bytes("".join(lines[:400]).encode() + "".join(lines[400:]).encode("cp1252"))


def archive(path: Path, rows: Rows) -> None:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("orders/one.csv", as_csv(HEADER, rows[:300]).rstrip("\n"))
        target.writestr("orders/two.csv", as_csv(HEADER, rows[300:]))
        target.writestr("__MACOSX/orders/._one.csv", "x")


def page(path: Path, rows: Rows) -> None:
    cells = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in [HEADER, *rows])
    path.write_text(f"<html><body><table><tr><td>a menu</td></tr></table><table>{cells}</table></body></html>")


def spreadsheet_xml(path: Path, rows: Rows) -> None:
    of = "urn:schemas-microsoft-com:office:spreadsheet"
    cells = "".join(
        f"<Row>{''.join(f'<Cell><Data>{value}</Data></Cell>' for value in row)}</Row>" for row in [HEADER, *rows]
    )
    path.write_text(
        f'<?xml version="1.0"?><Workbook xmlns="{of}"><Worksheet><Table>{cells}</Table></Worksheet></Workbook>'
    )


def nested(path: Path, rows: Rows) -> None:
    columns = {
        "customer": [{"id": int(str(who)), "name": "x"} for who, *_ in rows],
        "order_id": [order for _, order, *_ in rows],
        "at": pa.array([at.replace(tzinfo=UTC) for *_, at, _ in rows], pa.timestamp("us", tz="Europe/Berlin")),
        "total": pa.array([Decimal(f"{total:.2f}") for *_, total in rows], pa.decimal128(38, 10)),
        "tags": [["a", "b"] for _ in rows],
    }
    parquet.write_table(pa.table(columns), path)


def objects(rows: Rows) -> list[dict[str, str]]:
    return [dict(zip(HEADER, map(str, row), strict=True)) for row in rows]


def lines_of(rows: Rows) -> str:
    return "\n".join(map(json.dumps, objects(rows)))


FILES: dict[str, Put] = {
    "two encodings.csv": two_encodings,
    "lines.jsonl.gz": lambda path, rows: path.write_bytes(gzip.compress(lines_of(rows).encode())),
    "lines of JSON.txt": lambda path, rows: path.write_text(lines_of(rows)),
    "array.json": lambda path, rows: path.write_text(json.dumps(objects(rows), indent=2)),
    "nested.parquet": nested,
    "tabs.txt": bytes_of(str.encode, "\t"),
    "fixed.txt": fixed,
    "rule and remark.txt": lambda path, rows: path.write_text(
        " | ".join(HEADER)
        + "\n------+-----\n"
        + "\n".join(" | ".join(map(str, row)) for row in rows)
        + "\n(600 rows)\n"
    ),
    "other end first.csv": bytes_of(lambda text: b"\xfe\xff" + text.encode("utf-16-be"), "\t"),
    "four bytes.csv": bytes_of(lambda text: text.encode("utf-32")),
    "archive.zip": archive,
    "a csv.xlsx": bytes_of(str.encode, ";"),
    "a csv.xls": bytes_of(str.encode, "\t"),
    "a csv.json": bytes_of(str.encode),
    "a csv.parquet": bytes_of(str.encode),
    "packed.csv": bytes_of(lambda text: gzip.compress(text.encode())),
    "a workbook.csv": lambda path, rows: workbook([HEADER, *([*r[:2], str(r[2]), r[3]] for r in rows)], path),
    "a page.xls": page,
    "spreadsheet.xml": spreadsheet_xml,
    "empty columns.csv": lambda path, rows: path.write_text(as_csv([*HEADER, "", ""], [[*r, "", ""] for r in rows])),
    "longer header.csv": lambda path, rows: path.write_text(as_csv([*HEADER, "", ""], rows)),
    "longer rows.csv": lambda path, rows: path.write_text(as_csv(HEADER, [[*r, ""] for r in rows])),
    "names twice.csv": lambda path, rows: path.write_text(
        as_csv(["customer_id", "id", "order_date", "total", "id", "total"], [[*r, "", ""] for r in rows])
    ),
    "header again.csv": lambda path, rows: path.write_text(as_csv(HEADER, rows[:200]) + as_csv(HEADER, rows[200:])),
    "breaks in cells.csv": lambda path, rows: path.write_text(as_csv([*HEADER, "to"], [[*r, "A\nB, C"] for r in rows])),
    "naughts.csv": lambda path, rows: path.write_text(as_csv([*HEADER, "note"], [[*r, "a\0b"] for r in rows])),
    "padded.csv": bytes_of(lambda text: text.encode() + b"\x1a" + b"\0" * 500),
    "three ends.csv": bytes_of(
        lambda text: "".join(line + ("\r\n", "\n", "\r")[i % 3] for i, line in enumerate(text.splitlines())).encode()
    ),
    "apostrophes.csv": lambda path, rows: path.write_text(
        as_csv(HEADER, [[*r[:3], f"{r[3]:,.2f}".replace(",", "'")] for r in rows])
    ),
    "single quotes.csv": joined(",", "'"),
    "blank after comma.csv": joined(", ", '"'),
    "carets.txt": joined("^"),
    "control characters.txt": joined("\x01"),
    "slashes before quotes.csv": lambda path, rows: path.write_text(
        "\n".join(
            ",".join(f'"{value}"' for value in row) for row in [[*HEADER, "is"], *([*r, r"a \"b\""] for r in rows)]
        )
    ),
    "lines in quotes.csv": lambda path, rows: path.write_text(
        "\n".join(f'"{",".join(map(str, row))}"' for row in [HEADER, *rows])
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_by_what_is_in_it_whatever_wrote_it(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name, ROWS)
    assert figures(tmp_path / name)[0] == right(ROWS)


def test_what_stands_below_a_table_is_said_and_a_line_that_is_cut_off_is_no_remark(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(as_csv(HEADER, ROWS) + "\n600 rows\nExported on 2025-01-02 by admin\n")
    found, said = figures(path)
    assert found == right(ROWS)
    assert "below the table, and not read: '600 rows', 'Exported on 2025-01-02 by admin'" in said
    for cut in ("40001", "40001,90", "Anna Maria"):
        path.write_text(as_csv(HEADER, ROWS) + cut)
        with pytest.raises(InputError, match="Line: 602"):
            figures(path)


def test_lines_of_two_encodings_are_told_and_a_letter_that_is_cut_off_is_damage(tmp_path: Path) -> None:
    two_encodings(tmp_path / "orders.csv", ROWS)
    assert "UTF-8, and some lines Windows-1252" in figures(tmp_path / "orders.csv")[1][0]
    cut = as_csv([*HEADER, "name"], [[*row, "Zoë"] for row in ROWS]).encode().replace("ë".encode(), b"\xc3", 1)
    (tmp_path / "cut.csv").write_bytes(as_csv([*HEADER, "name"], [[*ROWS[0], "é"]]).encode() + cut)
    with pytest.raises(InputError, match="something has damaged it"):
        figures(tmp_path / "cut.csv")


def test_an_archive_of_other_things_names_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as target:
        target.writestr("orders.csv", as_csv(HEADER, ROWS))
        target.writestr("people.csv", "customer_id,name\n1,Anna\n")
    with pytest.raises(InputError, match=r"archive of 'orders\.csv', 'people\.csv', which are no tables of one header"):
        figures(tmp_path / "all.zip")


# --- workbooks --------------------------------------------------------------------------------------------------------

Cells = list[list[object]]
BLOCKS = sorted(ROWS, key=lambda row: str(row[0]))


def cells(rows: Rows) -> Cells:
    return [[who, order, str(at), total] for who, order, at, total in rows]


def labelled_once(rows: Rows) -> Cells:
    """The customer in the first line of each block only."""
    return [["" if i and rows[i - 1][0] == row[0] else row[0], *cells([row])[0][1:]] for i, row in enumerate(rows)]


def blocks() -> dict[object, Rows]:
    return {who: [row for row in BLOCKS if row[0] == who] for who in dict.fromkeys(row[0] for row in BLOCKS)}


def merged() -> list[str]:
    found, first = [], 2
    for rows in blocks().values():
        found += [f"A{first}:A{first + len(rows) - 1}"] if len(rows) > 1 else []
        first += len(rows)
    return found


def grouped() -> Cells:
    """A row for the customer above the lines, and one with their sum below."""
    found: Cells = []
    for who, rows in blocks().items():
        total = round(sum(float(str(row[3])) for row in rows), 2)
        found += [[who, "", "", ""], *(["", *row[1:]] for row in cells(rows)), [f"Total {who}", "", "", total]]
    return found


WORKBOOKS: dict[str, Callable[[Path], object]] = {
    "merged": lambda path: workbook([HEADER, *labelled_once(BLOCKS)], path, merged=merged()),
    "once": lambda path: workbook([HEADER, *labelled_once(BLOCKS)], path),
    "groups and sums": lambda path: workbook([["Sales by customer"], HEADER, *grouped()], path),
    "hidden": lambda path: workbook([HEADER, *cells(ROWS)], path, hidden="Raw", Raw=[HEADER, *cells(ROWS) * 2]),
    "two tables": lambda path: workbook(
        [["Shop"], [""], ["Month", "Revenue"], ["2024-01", 100], ["2024-02", 200], [""], HEADER, *cells(ROWS)], path
    ),
    "gaps": lambda path: workbook([HEADER, *(row for one in cells(ROWS) for row in ([""], one))], path),
    "margin": lambda path: workbook([[""], *(["", *row] for row in [HEADER, *cells(ROWS)])], path),
    "texts beside serial days": lambda path: workbook(
        [HEADER, *([*r[:2], int(serial(r[2])) if i % 2 else f"{r[2]:%d.%m.%Y}", r[3]] for i, r in enumerate(ROWS))],
        path,
    ),
    "days and times": lambda path: workbook(
        [
            ["customer_id", "date", "time", "total"],
            *([r[0], f"{r[2]:%Y-%m-%d}", f"{r[2]:%H:%M:%S}", r[3]] for r in ROWS),
        ],
        path,
    ),
}


@pytest.mark.parametrize("name", WORKBOOKS)
def test_a_workbook_is_read_as_people_lay_it_out(tmp_path: Path, name: str) -> None:
    WORKBOOKS[name](tmp_path / "orders.xlsx")
    found, said = figures(tmp_path / "orders.xlsx")
    assert found == right(ROWS)
    assert ("without 'Raw', which is hidden" in said[0]) == (name == "hidden")
    assert ("without the table of Month, Revenue" in said[0]) == (name == "two tables")


def test_customers_who_are_missing_here_and_there_are_guests_and_no_labels(tmp_path: Path) -> None:
    rows = [["" if i % 3 == 0 else row[0], *row[1:]] for i, row in enumerate(cells(ROWS))]
    found, _ = figures(workbook([HEADER, *rows], tmp_path / "orders.xlsx"))
    assert found == right([row for i, row in enumerate(ROWS) if i % 3])


def test_formulas_without_values_are_named(tmp_path: Path) -> None:
    rows = [[*row[:3], "=A2*2"] for row in cells(ROWS)]
    with pytest.raises(InputError, match="600 formulas whose values were never computed"):
        figures(workbook([HEADER, *rows], tmp_path / "orders.xlsx"))


# --- days and moments -------------------------------------------------------------------------------------------------


def ordinal(day: int) -> str:
    return f"{day}{'th' if 11 <= day <= 13 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def digits(of: str) -> Callable[[datetime], str]:
    return lambda at: f"{at:%Y/%m/%d}".translate(str.maketrans("0123456789", of))


def seconds(at: datetime) -> float:
    return at.replace(tzinfo=UTC).timestamp()


FORMS: dict[str, Callable[[datetime], object]] = {
    "microseconds": lambda at: int(seconds(at) * 1_000_000),
    "milliseconds": lambda at: int(seconds(at) * 1000),
    "a fraction": lambda at: f"{seconds(at):.3f}",
    "Unix": lambda at: f"{at:%a %b %d %H:%M:%S} UTC {at:%Y}",
    "JavaScript": lambda at: f"{at:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)",
    "Apache": lambda at: f"{at:%d/%b/%Y:%H:%M:%S} +0000",
    "Oracle": lambda at: f"{at:%d-%b-%y %I.%M.%S}.000000 {at:%p}".upper(),
    "SAS": lambda at: f"{at:%d%b%Y:%H:%M:%S}".upper(),
    "DB2": lambda at: f"{at:%Y-%m-%d-%H.%M.%S}.000000",
    "SQL Server": lambda at: f"{at:%m/%d/%Y %H:%M:%S}.000",
    "ISO without signs": lambda at: f"{at:%Y%m%dT%H%M%SZ}",
    "points": lambda at: f"{at:%Y.%m.%d %H:%M:%S}",
    "French": lambda at: f"{at:%d/%m/%Y %Hh%M}",
    "weekdays": lambda at: f"{at:%A, %B %d, %Y}",
    "ordinals": lambda at: f"{at:%B} {ordinal(at.day)}, {at.year}",
    "noon": lambda at: f"{at.month}/{at.day}/{at:%y} {at:%I:%M} {'a.m.' if at.hour < 12 else 'p.m.'}",
    "day first, without signs": lambda at: f"{at:%d%m%Y}",
    "year of two digits, without signs": lambda at: f"{at:%y%m%d}",
    "days of the year": lambda at: f"{at:%Y%j}",
    "Arabic": digits("٠١٢٣٤٥٦٧٨٩"),
    "Persian": digits("۰۱۲۳۴۵۶۷۸۹"),
    "full width": digits("０１２３４５６７８９"),
    "zones": lambda at: at.replace(tzinfo=timezone(timedelta(hours=at.second % 3))).isoformat(),
    "three forms": lambda at: f"{at:{('%Y-%m-%d', '%d.%m.%Y', '%b %d, %Y')[at.second % 3]}}",
    "four forms": lambda at: f"{at:{('%Y-%m-%d', '%d.%m.%Y', '%b %d, %Y', '%Y/%m/%d %H:%M')[at.second % 4]}}",
    "with a time and without": lambda at: f"{at:{('%d/%m/%Y %H:%M', '%d/%m/%Y')[at.second % 2]}}",
}


@pytest.mark.parametrize("form", FORMS)
def test_days_and_moments_are_read_as_programs_write_them(tmp_path: Path, form: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(as_csv(HEADER, [[who, order, FORMS[form](at), total] for who, order, at, total in ROWS]))
    assert figures(path)[0] == right(ROWS)


@pytest.mark.parametrize("name", ["ORDER_DT", "FKDAT", "bestelt_op", "X7"])
def test_numbers_that_are_all_days_of_a_calendar_are_days_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "orders.csv"
    rows = [[who, order, f"{at:%Y%m%d}", total] for who, order, at, total in ROWS]
    path.write_text(as_csv(["customer_id", "order_id", name, "total"], rows))
    assert figures(path)[0] == right(ROWS)


PERIODS: dict[str, tuple[Callable[[datetime], str], str, Callable[[datetime], datetime]]] = {
    "quarters": (
        lambda at: f"{at.year}-Q{(at.month + 2) // 3}",
        "quarter's last month",
        lambda at: datetime(at.year, (at.month + 2) // 3 * 3, 1),
    ),
    "weeks": (lambda at: f"{at:%G-W%V}", "week", lambda at: at - timedelta(at.weekday())),
    "months": (lambda at: f"{at:%Y-%m}", "month", lambda at: at.replace(day=1)),
    "months in words": (lambda at: f"{at:%b %Y}", "month", lambda at: at.replace(day=1)),
    "months without signs": (lambda at: f"{at:%Y%m}", "month", lambda at: at.replace(day=1)),
}


@pytest.mark.parametrize("name", PERIODS)
def test_weeks_months_and_quarters_are_their_first_days_and_that_is_said(tmp_path: Path, name: str) -> None:
    form, period, day = PERIODS[name]
    path = tmp_path / "orders.csv"
    rows = [row for row in ROWS if row[2] < datetime(2024, 12, 30)]  # the week of which belongs to the next year
    path.write_text(as_csv([*HEADER[:2], "period", "total"], [[*row[:2], form(row[2]), row[3]] for row in rows]))
    found, plan = looked_at(path, date="period", month=None)
    assert found == right([[*row[:2], day(row[2]), row[3]] for row in rows])
    assert str(plan.month) == "2024-12-01"
    assert any(f"each date is the first of its {period}, for no column has the day" in one for one in plan.guesses)


@pytest.mark.parametrize(
    ("names", "day", "time"),
    [
        (("Date", "Time"), "%d.%m.%Y", "%H:%M:%S"),
        (("Order Date", "Order Time"), "%m/%d/%Y", "%I:%M:%S %p"),
        (("Bestelldatum", "Uhrzeit"), "%Y-%m-%d", "%H:%M"),
        (("ERDAT", "ERZET"), "%Y%m%d", "%H%M%S"),
    ],
)
def test_days_and_times_in_two_columns_are_the_moments_of_orders(
    tmp_path: Path, names: Sequence[str], day: str, time: str
) -> None:
    path = tmp_path / "orders.csv"
    rows = [[who, at.replace(second=0), total] for who, _, at, total in ROWS]
    columns = ["customer_id", *names, "total"]
    path.write_text(as_csv(columns, [[who, f"{at:{day}}", f"{at:{time}}", total] for who, at, total in rows]))
    found, said = figures(path)
    assert found == right([[who, at, at, total] for who, at, total in rows])
    assert any("an order is what a customer bought at one moment" in one for one in said)
    without_time = without([[who, at, f"{at:{day}}", total] for who, at, total in rows], 1)
    path.write_text(as_csv([columns[0], columns[1], "total"], without_time))
    assert sum(orders for orders, *_ in figures(path)[0].values()) < len(rows)
