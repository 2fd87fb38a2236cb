"""States, types, flags and codes of order lines: each column of them is told, with the condition that leaves out what
is no sale, in many languages and where only the file's owner knows what a code stands for."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.quickstart.csv_table import read_table
from segment_pipeline.quickstart.lines.no_sales import lines_that_count
from segment_pipeline.quickstart.roles import Hints
from segment_pipeline_tests.quickstart.reading import HEADER, Rows, as_csv, figures, right, shop

Write = Callable[..., Path]


def said_of(path: Path, where: str | None = None, **said: object) -> list[str]:
    """What is said of lines that are told again, or may be no sales, without looking for segments."""
    with duckdb.connect() as connection:
        counting = lines_that_count(connection, read_table(connection, path, Hints(**said)), where)
        return [*counting.decided, *counting.warnings]


def with_column(usual: object, other: object, every: int = 10) -> Rows:
    """The shop's lines with a column more, of which each tenth has the other value."""
    return [[*row, other if i % every == 0 else usual] for i, row in enumerate(shop())]


def condition(sentence: str) -> str:
    """The condition that a sentence prints, as a shell would hand it over."""
    found = re.search(r'--where "((?:[^"\\]|\\.)*)"', sentence)
    assert found is not None, sentence
    return re.sub(r'\\(["\\$`])', r"\1", found[1])


def money(rows: Sequence[Sequence[object]]) -> str:
    return f"{sum(float(str(row[3])) for row in rows):,.2f}"


def kept(path: Path, where: str) -> int:
    with duckdb.connect() as connection:
        (lines,) = connection.execute(
            f"SELECT count(*) FROM read_csv('{path}', all_varchar = true) WHERE ({where})"
        ).fetchone() or (0,)
    return int(lines)


WORDS = [
    ("ステータス", "完了", "キャンセル"),
    ("状態", "発送済", "返品"),
    ("订单状态", "已完成", "已退款"),
    ("訂單狀態", "已出貨", "已取消"),
    ("Статус", "Доставлен", "Отменён"),
    ("Тип", "Продажа", "Возврат товара"),
    ("주문상태", "배송완료", "취소"),
    ("สถานะ", "สำเร็จ", "ยกเลิก"),
    ("Durum", "Teslim edildi", "İptal edildi"),
    ("Stav", "Vyřízeno", "Zrušeno"),
    ("Állapot", "Teljesítve", "Törölve"),
    ("Tila", "Toimitettu", "Peruttu"),
    ("Estado", "Entregado", "Abono"),
    ("Situação", "Entregue", "Estornado"),
    ("Stato", "Consegnato", "Reso"),
    ("Statut", "Livrée", "En attente de paiement"),
    ("Κατάσταση", "Ολοκληρώθηκε", "Ακυρώθηκε"),
    ("trang_thai", "Hoàn thành", "Đã hủy"),
    ("status_pesanan", "Selesai", "Dibatalkan"),
    ("الحالة", "مكتمل", "ملغي"),
    ("סטטוס", "הושלם", "בוטל"),
    ("Deal Stage", "Closed Won", "Closed Lost"),
    ("Document Type", "Sales Invoice", "Sales Quote"),
]


def side_by_side(write: Write, columns: Sequence[Sequence[str]]) -> tuple[Path, Rows, list[str]]:
    """A file with all these columns, each with its other value on every tenth line; its lines, and what is said."""
    rows = [[*row, *(one[2] if i % 10 == 0 else one[1] for one in columns)] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, *(one[0] for one in columns)], rows))
    *told, everything = said_of(path)
    assert kept(path, condition(everything)) == 1350
    return path, rows, told


def test_a_word_for_what_was_undone_is_told_in_many_languages(write: Write) -> None:
    path, rows, told = side_by_side(write, WORDS)
    for (column, _, state), sentence in zip(WORDS, told, strict=True):
        of = f"of 1,500 order lines 150 are {state!r}, 150 orders, {money(rows[::10])}; they count as orders, unless"
        assert sentence.startswith((f"{column}: {of}", f"{column!r}: {of}"))
        assert kept(path, condition(sentence)) == 1350


FLAGS = [
    ("is_test", "false", "true"),
    ("Test order", "No", "Yes"),
    ("captured", "true", "false"),
    ("Is Paid", "1", "0"),
    ("Storno", "", "X"),
    ("Cancelled", "", "Yes"),
    ("LOEKZ", "", "X"),
    ("deleted", "0", "1"),
    ("キャンセル", "いいえ", "はい"),
    ("livemode", "TRUE", "FALSE"),
]


def test_a_flag_is_told_also_where_the_other_lines_are_blank(write: Write) -> None:
    path, rows, told = side_by_side(write, FLAGS)
    for (column, _, other), sentence in zip(FLAGS, told, strict=True):
        of = f"of 1,500 order lines 150 are {other!r}, 150 orders, {money(rows[::10])}"
        assert sentence.startswith((f"{column}: {of}", f"{column!r}: {of}"))
        assert kept(path, condition(sentence)) == 1350


CODES = [
    ("Type", "INV", "CRN", "CRN"),
    ("TranType", "S", "R", "R"),
    ("FKART", "F2", "RE", "RE"),
    ("Belegart", "RE", "GU", "GU"),
    ("AUART", "TA", "G2", "G2"),
    ("SHKZG", "S", "H", "H"),
    ("Trans", "SI", "SC", "SC"),
    ("Status", "3", "9", ""),
    ("order_status", "Z01", "Z07", ""),
    ("Stage", "ZAKRYTO", "OTVALILOS", ""),
]


def test_codes_are_told_with_all_their_values_and_the_likeliest_in_the_condition(write: Write) -> None:
    path, rows, told = side_by_side(write, CODES)
    sold = money([row for i, row in enumerate(rows) if i % 10])
    for (column, usual, code, likely), sentence in zip(CODES, told, strict=True):
        values = f"1,350 are {usual!r} ({sold}), 150 are {code!r} ({money(rows[::10])})"
        assert sentence.startswith(
            (f"{column}: of the order lines {values}", f"{column!r}: of the order lines {values}")
        )
        assert (f"If {code!r} stand for no sales" in sentence) == bool(likely)
        assert kept(path, condition(sentence)) == 1350


def test_codes_whose_lines_are_all_below_zero_are_the_likeliest(write: Write) -> None:
    rows = [[*row[:3], -float(str(row[3])) if row[4] == "07" else row[3], row[4]] for row in with_column("01", "07")]
    (told,) = said_of(write("orders.csv", as_csv([*HEADER, "Document type"], rows)))
    assert f"150 are '07' ({money(rows[::10])}, all below zero)" in told
    assert "If '07' stand for no sales" in told


def test_what_says_nothing_of_no_sale_is_not_told(write: Write) -> None:
    columns = [
        ("Customer type", "New", "Returning"),
        ("Country", "DE", "FR"),
        ("Payment type", "CC", "CA"),
        ("VAT code", "S", "R"),
        ("Status", "Completed", "Shipped"),
        ("Refund status", "not refunded", "no refund"),
        ("is_cancelled", "0", "0"),
        ("Size", "M", "L"),
    ]
    rows = [[*row, *(one[2] if i % 10 == 0 else one[1] for one in columns)] for i, row in enumerate(shop())]
    assert said_of(write("orders.csv", as_csv([*HEADER, *(one[0] for one in columns)], rows))) == []


def test_a_state_of_a_country_is_none_of_an_order(write: Write) -> None:
    rows = [[*row, "Austin"] for row in with_column("TX", "CA")]
    assert said_of(write("orders.csv", as_csv([*HEADER, "State", "City"], rows))) == []


def test_each_column_is_told_and_one_condition_leaves_out_all(write: Write) -> None:
    rows = [[*row, "cancelled" if i % 7 == 0 else "paid"] for i, row in enumerate(with_column("INV", "CRN"))]
    path = write("orders.csv", as_csv([*HEADER, "Type", "Status"], rows))
    of_type, of_status, both = said_of(path)
    assert of_type.startswith("Type: ")
    assert of_status.startswith("Status: ")
    assert both.startswith("to leave out all of these at once:")
    sold = [row[:4] for i, row in enumerate(rows) if i % 10 and i % 7]
    assert figures(path, where=condition(both))[0] == right(sold)
    # who has seen to one is told of the other, among the lines that are left
    rest, beside = said_of(path, where=condition(of_type))
    undone = [row for i, row in enumerate(rows) if i % 7 == 0 and i % 10]
    assert f"Status: of 1,500 order lines {len(undone)} are 'cancelled', {len(undone)} orders, {money(undone)}" in rest
    assert kept(path, condition(beside)) == len(sold)
    assert said_of(path, where=condition(both)) == []


@pytest.mark.parametrize(("column", "value"), [("Cancel reason", "damaged on the way"), ("Storno-Nr", "S{i}")])
def test_a_reason_or_a_number_of_a_cancellation_is_told(write: Write, column: str, value: str) -> None:
    rows = [[*row, value.format(i=1000 + i) if i % 10 == 0 else ""] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, column], rows))
    (told,) = said_of(path)
    assert "150 of 1,500 order lines (150 orders" in told or "150 are 'damaged on the way'" in told
    assert kept(path, condition(told)) == 1350


@pytest.mark.parametrize(("sale", "back"), [("INV-", "CN-"), ("", "C")])
def test_numbers_of_orders_that_begin_as_those_of_credits_do_are_told(write: Write, sale: str, back: str) -> None:
    rows = [[who, f"{back if i % 10 == 0 else sale}{no}", *rest] for i, (who, no, *rest) in enumerate(shop())]
    path = write("orders.csv", as_csv(["customer_id", "invoice_no", *HEADER[2:]], rows))
    (told,) = said_of(path)
    letters = back.strip("-")
    assert told.startswith("invoice_no, by the letters before the number: of the order lines")
    assert f"150 are {letters!r} ({money(rows[::10])})" in told
    assert figures(path, where=condition(told))[0] == right([row for i, row in enumerate(rows) if i % 10])
