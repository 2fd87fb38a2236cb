"""Columns that tell what kind of line each is: all values are told, and what counts is one kind of document a sale."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.errors import QuestionError
from segment_pipeline.quickstart.csv_table import read_table
from segment_pipeline.quickstart.lines.no_sales import lines_that_count
from segment_pipeline.quickstart.roles import Hints
from segment_pipeline_tests.quickstart.reading import HEADER, Rows, as_csv, figures, right, shop
from segment_pipeline_tests.quickstart.test_states import condition, money, said_of

Write = Callable[..., Path]


def of_kinds(kinds: Mapping[int, str], usual: str, sign: Mapping[str, int] | None = None) -> Rows:
    """The shop's lines with a kind: that of each tenth's place, or the usual; with a minus where its sign says so."""
    rows = [[*row, kinds.get(i % 10, usual)] for i, row in enumerate(shop())]
    return [[*row[:3], float(str(row[3])) * (sign or {}).get(str(row[4]), 1), row[4]] for row in rows]


def told_again(kinds: Sequence[str], *, own_number: bool) -> Rows:
    """The shop's lines, each once as every kind, under one number or under numbers of their own."""
    return [
        [who, f"{place if own_number else ''}{order}", at, amount, kind]
        for who, order, at, amount in shop()
        for place, kind in enumerate(kinds)
    ]


def refused(path: Path, where: str | None = None) -> None:
    with duckdb.connect() as connection:
        lines_that_count(connection, read_table(connection, path, Hints()), where)


@pytest.mark.parametrize(
    ("column", "usual", "kinds", "below"),
    [
        ("Document Type", "Invoice", {0: "Credit Memo", 1: "Payment", 2: "Payment"}, {"Payment", "Credit Memo"}),
        ("Gift Type", "Cash", {0: "Pledge", 1: "Soft Credit", 2: "MG Write Off"}, set()),
        ("Type", "Sales invoice", {3: "Purchase Invoice"}, set()),
        ("event_type", "purchase", {0: "view", 1: "view", 2: "cart"}, set()),
        ("ActivityType", "Accrual", {0: "Redemption", 1: "Expiry"}, {"Redemption", "Expiry"}),
        ("Attendee Status", "Attending", {0: "Deleted", 1: "Not Attending"}, set()),
        ("Situação", "Pago", {0: "A vencer", 1: "Em atraso"}, set()),
        ("Belegart", "Rechnung", {0: "Gutschrift", 1: "Angebot", 2: "Eingangsrechnung"}, {"Gutschrift"}),
    ],
)
def test_all_values_are_told_and_the_condition_has_each_that_is_no_sale(write, column, usual, kinds, below):
    rows = of_kinds(kinds, usual, dict.fromkeys(below, -1))
    path = write("orders.csv", as_csv([*HEADER, column], rows))
    told = next(one for one in said_of(path) if one.startswith((f"{column}:", f"{column!r}:")))
    sold = [row for row in rows if row[4] == usual]
    for kind in {*kinds.values()} if len(set(kinds.values())) > 1 else ():
        of = [row for row in rows if row[4] == kind]
        assert f"{len(of)} are {kind!r} ({money(of)}{', all below zero' if kind in below else ''})" in told
    assert f"The others: {len(sold):,} are {usual!r} ({money(sold)})." in told
    assert figures(path, where=condition(told))[0] == right([row[:4] for row in sold])


@pytest.mark.parametrize("own_number", [True, False])
@pytest.mark.parametrize(
    ("column", "kinds", "stays"),
    [
        ("Type", ["Sales Order", "Invoice", "Payment"], "Invoice"),
        ("Line Type", ["Sale", "Payment"], "Sale"),
        ("Vorgang", ["Auftrag", "Lieferschein", "Rechnung"], "Rechnung"),
    ],
)
def test_a_sale_that_several_documents_tell_counts_once(write, column, kinds, stays, own_number):
    rows = told_again(kinds, own_number=own_number)
    path = write("orders.csv", as_csv([*HEADER, column], rows))
    found, told = figures(path, amount="total")
    counted = [row[:4] for row in rows if row[4] == stays]
    assert found == right(counted)
    others = [kind for kind in kinds if kind != stays]
    left_out = ", ".join(f"1,500 are {kind!r} ({money(shop())})" for kind in sorted(others))
    (of_column,) = (one for one in told if one.startswith((f"{column}:", f"{column!r}:")))
    assert f"sales of {stays!r} are told again by others" in of_column
    assert f"These are left out: {left_out}." in of_column
    again = [row for row in rows if row[4] != stays]
    orders = len({row[1] for row in again})
    assert any(
        f"{len(again):,} of {len(rows):,} order lines ({orders:,} orders, {money(again)}) do not meet the condition"
        in one
        for one in told
    )
    other = condition(of_column)
    assert figures(path, where=other, amount="total")[0] == right([row[:4] for row in rows if row[4] == others[0]])


def test_what_is_no_sale_beside_documents_that_tell_the_same_is_told_by_itself(write: Write) -> None:
    rows = told_again(["Sales Order", "Invoice", "Payment"], own_number=True)
    rows += [[*row[:3], -float(str(row[3])), "Credit Memo"] for row in shop()[::25]]
    path = write("orders.csv", as_csv([*HEADER, "Type"], rows))
    found, told = figures(path)
    assert found == right([row[:4] for row in rows if row[4] in ("Invoice", "Credit Memo")])
    (of_credits,) = (one for one in told if one.startswith("Type: of 4,560 order lines 60 are 'Credit Memo', 60"))
    assert "Sales Order" not in of_credits.partition("--where")[0]
    # who follows the advice names the column, and leaves out what was left out before
    assert figures(path, where=condition(of_credits))[0] == right([row[:4] for row in rows if row[4] == "Invoice"])


def test_who_lets_the_same_sale_count_several_times_is_told(write: Write) -> None:
    rows = told_again(["Sales Order", "Invoice"], own_number=True)
    path = write("orders.csv", as_csv([*HEADER, "Type"], rows))
    told, *_ = said_of(path, where="Type <> 'Quote'")
    assert told.startswith(f"Type: 1,500 are 'Sales Order' ({money(shop())}): all count, as --where says.")


def test_a_condition_of_another_column_leaves_what_is_told_again_out_all_the_same(write: Write) -> None:
    rows = [
        [*row, "web" if int(str(row[0])) % 3 else "till"] for row in told_again(["Sale", "Payment"], own_number=True)
    ]
    path = write("orders.csv", as_csv([*HEADER, "Line type", "Channel"], rows))
    kept = [row[:4] for row in rows if row[4] == "Sale" and row[5] == "web"]
    assert figures(path, where="Channel = 'web' -- not the till")[0] == right(kept)


def test_an_example_that_would_leave_no_sale_is_not_put_beside_the_advice(write: Write) -> None:
    rows = of_kinds(dict.fromkeys(range(3), "Sale"), "Returned")
    rows = [[*row, "X9" if row[4] == "Sale" else "Billed"] for row in rows]
    of_type, of_status = said_of(write("orders.csv", as_csv([*HEADER, "Type", "Status"], rows)))
    assert of_type.startswith("Type: ")
    assert of_status.startswith("Status: of the order lines")


def test_sales_that_are_told_twice_without_a_word_for_it_are_a_question(write: Write) -> None:
    path = write("orders.csv", as_csv([*HEADER, "Record type"], told_again(["Alpha", "Beta"], own_number=True)))
    with pytest.raises(QuestionError, match="'Record type' tells each sale several times") as asked:
        figures(path)
    refused(path, condition(str(asked.value)))
    assert figures(path, where=condition(str(asked.value)))[0] == right(
        [[who, f"0{order}", *rest] for who, order, *rest in shop()]
    )


def test_kinds_of_different_sales_are_added_up(write: Write) -> None:
    rows = [[*row[:3], 5.49 + int(str(row[0])) % 40, "Renewal" if i % 3 else "New"] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, "Order type"], rows))
    refused(path)
    assert said_of(path) == []


def test_what_only_sounds_like_a_kind_of_document_is_not_told(write: Write) -> None:
    columns = [
        ("Source type", "search", "direct"),
        ("Seat type", "Side view", "Front view"),
        ("Category", "Shipping", "Line art"),
        ("Payment type", "Invoice", "Receipt"),
        ("Order type", "Web order", "Phone order"),
    ]
    rows = [[*row, *(one[1 + (i % 10 == 0)] for one in columns)] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, *(one[0] for one in columns)], rows))
    refused(path)
    assert said_of(path) == []


@pytest.mark.parametrize("others", ["Lastschrift", "Überweisung"])
def test_a_credit_that_is_what_came_in_is_no_advice_to_leave_out_every_sale(write: Write, others: str) -> None:
    rows = of_kinds({0: others}, "Gutschrift", {others: -1})
    path = write("bank.csv", as_csv([*HEADER, "Buchungstext"], rows))
    (told,) = (one for one in said_of(path) if one.startswith("Buchungstext"))
    assert condition(told) == f"Buchungstext NOT IN ('{others}')"
    assert f"The others: 1,350 are 'Gutschrift' ({money([row for row in rows if row[4] == 'Gutschrift'])})." in told


def test_more_lost_than_won_is_still_lost(write: Write) -> None:
    rows = of_kinds(dict.fromkeys(range(3), "Closed Won"), "Closed Lost")
    (told,) = said_of(write("deals.csv", as_csv([*HEADER, "Stage"], rows)))
    assert condition(told) == "Stage NOT IN ('Closed Lost')"


@pytest.mark.parametrize(
    ("column", "gone", "stays"),
    [
        ("subscription_canceled_at", "2025-01-15", ""),
        ("subscription_status", "canceled", "active"),
        ("canceled", "true", "false"),
    ],
)
def test_what_is_said_of_a_customer_leaves_out_none_of_their_orders(
    write: Write, column: str, gone: str, stays: str
) -> None:
    rows = [[*row, gone if int(str(row[0])) % 3 == 0 else stays] for row in shop()]
    (told,) = said_of(write("orders.csv", as_csv([*HEADER, column], rows)))
    of = [row for row in rows if row[4] == gone]
    assert f"{len(of)} " in told
    assert money(of) in told
    assert told.endswith(
        "it is the same on all lines of a customer, and so says nothing of an order: all of them count"
    )
    assert "--where" not in told
