"""Lines that are no sales, or are there twice: told with their orders and money, and never added up unasked."""

import csv
import re
import shlex
import time
from datetime import date, datetime

import duckdb
import numpy as np
import pytest

from segment_pipeline.errors import InputError, QuestionError
from segment_pipeline.quickstart.columns import known_sql
from segment_pipeline.quickstart.plan import explore
from segment_pipeline.quickstart.request import Request
from segment_pipeline.sources.text.numbers import number_sql
from segment_pipeline_tests.quickstart.reading import (
    HEADER,
    as_csv,
    figures,
    right,
    shop,
    table_of,
)


@pytest.mark.parametrize("nobody", ["", "Guest", "NULL", "0"])
def test_orders_of_nobody_are_left_out_and_told_as_orders_and_money(write, nobody):
    rows = shop()
    anonymous, named = rows[::5], [row for i, row in enumerate(rows) if i % 5]
    shown = [[nobody if i % 5 == 0 else row[0], *row[1:]] for i, row in enumerate(rows)]
    found, said = figures(write("orders.csv", as_csv(HEADER, shown)))
    assert found == right(named)
    money = (
        f"300 of 1,500 order lines (300 orders, {sum(float(str(row[3])) for row in anonymous):,.2f}) have no customer"
    )
    assert any(sentence.startswith(money) for sentence in said), said


def test_an_address_is_the_same_however_it_is_written(write):
    rows = [[f"c{row[0]}@example.org", *row[1:]] for row in shop()]
    ways = (str.upper, str.title, lambda text: f" {text}", str)
    shown = [[ways[i % 4](str(row[0])), *row[1:]] for i, row in enumerate(rows)]
    found, said = figures(write("orders.csv", as_csv(["email", *HEADER[1:]], shown)))
    assert found == right(rows)
    assert any("ways of writing the addresses of 150 people" in sentence for sentence in said)


def test_ids_that_a_spreadsheet_has_rounded_are_refused_by_their_column(write):
    rows = [[f"5.0{int(str(row[0])) % 9}E+12", *row[1:]] for row in shop()]
    with pytest.raises(InputError, match=r"customer_id has ids such as '5\.0\dE\+12'.*rounded"):
        table_of(write("orders.csv", as_csv(HEADER, rows)))


def test_several_currencies_are_never_added_up(write):
    rows = [[*row, ("EUR", "USD", "EUR")[i % 3]] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, "currency"], rows))
    with pytest.raises(QuestionError, match=r"1,000 lines in EUR, 500 lines in USD.*--where \"currency = 'EUR'\""):
        figures(path)
    found, _ = figures(path, where="currency = 'EUR'")
    assert found == right([row[:4] for row in rows if row[4] == "EUR"])
    with pytest.raises(QuestionError, match=r"1,000 lines in EUR, 500 lines in USD"):
        figures(path, where="currency IN ('EUR', 'USD')")  # to name the column is no answer
    with pytest.raises(QuestionError, match=r"1,000 lines in EUR, 500 lines in USD"):
        figures(path, where="currency <> 'GBP'")


def test_returns_that_where_leaves_out_are_said_to_count_as_spent(write):
    rows = [[*row[:3], -float(str(row[3])) if i % 10 == 0 else row[3]] for i, row in enumerate(shop())]
    states = [[*row, "returned" if i % 10 == 0 else "sold"] for i, row in enumerate(rows)]
    path = write("orders.csv", as_csv([*HEADER, "state"], states))
    told = next(sentence for sentence in figures(path)[1] if sentence.startswith("state: of 1,500"))
    assert told.endswith("What was given back on them then counts as spent.")
    found, said = figures(path, where="total > 0")
    assert found == right([row for row in rows if float(str(row[3])) > 0])
    back = -sum(float(str(row[3])) for row in rows[::10])
    sentence = (
        f"of what where leaves out, 150 order lines are below zero: {back:,.2f} that were given back count as spent"
    )
    assert sentence in said


def test_what_was_given_back_in_a_column_of_its_own_is_told(write):
    rows = [[*row, f"{-float(str(row[3])):.2f}" if i % 10 == 0 else "0.00"] for i, row in enumerate(shop())]
    _, said = figures(write("orders.csv", as_csv([*HEADER, "Refunds Total"], rows)))
    money = f"{sum(float(row[4]) for row in rows):,.2f}"
    told = next(sentence for sentence in said if sentence.startswith("'Refunds Total'"))
    assert f"150 of 1,500 order lines have an amount there, {money} in all; it is not taken off total" in told


@pytest.mark.parametrize(
    ("column", "state", "usual"),
    [
        ("is_cancelled", "1", "0"),
        ("Status", "Not Paid", "Paid"),
        ("Belegart", "Gutschrift", "Rechnung"),
        ("Status", "No Show", "Checked out"),
        ("status", "draft", "completed"),
        ("Status", "storniert", "versandt"),
        ("estado", "devuelto", "entregado"),
        ("status", "anulowane", "wysłane"),
    ],
)
def test_what_looks_like_no_sale_is_told_with_its_money_and_how_to_leave_it_out(write, column, state, usual):
    rows = [[*row, state if i % 10 == 0 else usual] for i, row in enumerate(shop())]
    _, said = figures(write("orders.csv", as_csv([*HEADER, column], rows)))
    money = f"{sum(float(str(row[3])) for row in rows[::10]):,.2f}"
    told = next(sentence for sentence in said if sentence.startswith(f"{column}: of 1,500"))
    assert f"150 are '{state}', 150 orders, {money}; they count as orders, unless you add  --where" in told
    where = told.partition('--where "')[2].partition('"')[0]
    found, _ = figures(write("orders.csv", as_csv([*HEADER, column], rows)), where=where)
    assert found == right([row[:4] for row in rows if row[4] == usual])


def test_where_only_the_first_line_of_an_order_has_its_state_that_is_said_with_the_advice(write):
    rows = [
        [*order[:3], order[3] if line == 0 else "", ("refunded" if i % 10 == 0 else "paid") if line == 0 else ""]
        for i, order in enumerate(shop())
        for line in range(2)
    ]
    path = write("orders.csv", as_csv([*HEADER, "Financial Status"], rows))
    told = next(sentence for sentence in figures(path)[1] if sentence.startswith("'Financial Status'"))
    assert told.endswith("It then reads the first line of each order only, and so not its products.")
    where = told.partition('--where "')[2].partition(')"')[0].replace('\\"', '"') + ")"
    assert figures(path, where=where)[0] == right([row[:4] for row in rows if row[4] == "paid"])


def test_lines_with_a_blank_state_stay_where_each_order_has_one_line(write):
    rows = [[*row, "Cancelled" if i % 10 == 0 else "" if i % 10 == 1 else "Complete"] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, "State"], rows))
    told = next(sentence for sentence in figures(path)[1] if sentence.startswith("State: of 1,500"))
    assert "first line" not in told
    where = told.partition('--where "')[2].partition('"')[0]
    assert figures(path, where=where)[0] == right([row[:4] for row in rows if row[4] != "Cancelled"])


@pytest.mark.parametrize(("column", "none"), [("cancelled_at", ""), ("Cancel Date", "0000-00-00 00:00:00")])
def test_a_date_of_cancellation_is_told_with_its_money_and_how_to_leave_it_out(write, column, none):
    rows = [[*row, str(row[2]) if i % 10 == 0 else none] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, column], rows))
    money = f"{sum(float(str(row[3])) for row in rows[::10]):,.2f}"
    (told,) = (sentence for sentence in figures(path)[1] if "have a date there" in sentence)
    assert f"150 of 1,500 order lines (150 orders, {money}) have a date there; they count as orders" in told
    where = told.partition('--where "')[2].removesuffix('"').replace('\\"', '"')
    assert figures(path, where=where)[0] == right([row[:4] for row in rows if row[4] == none])


def test_a_date_of_cancellation_on_the_first_line_of_an_order_leaves_out_its_other_lines(write):
    rows = [
        [*order[:3], order[3] if line == 0 else "", str(order[2]) if i % 10 == 0 and line == 0 else ""]
        for i, order in enumerate(shop())
        for line in range(2)
    ]
    path = write("orders.csv", as_csv([*HEADER, "Cancelled at"], rows))
    (told,) = (sentence for sentence in figures(path)[1] if "have a date there" in sentence)
    where = told.partition('--where "')[2].partition('"  It')[0].replace('\\"', '"')
    assert figures(path, where=where)[0] == right([row[:4] for row in rows if row[3] != "" and row[4] == ""])


def test_lines_that_are_there_twice_and_orders_without_an_amount_are_told(write):
    rows = shop()
    twice = write("twice.csv", as_csv(HEADER, rows + rows[:1000:5]))
    money = sum(float(str(row[3])) for row in rows[:1000:5])
    told = f"200 of 1,700 order lines (200 orders, {money:,.2f}) repeat another in every column"
    assert any(sentence.startswith(told) for sentence in figures(twice)[1])
    blank = write("blank.csv", as_csv(HEADER, [[*row[:3], "" if i < 40 else row[3]] for i, row in enumerate(rows)]))
    assert any("40 of 1,500 order lines (40 orders, 0.00) have no total" in sentence for sentence in figures(blank)[1])


def test_lines_of_invoices_with_returns_and_nameless_customers_come_out_to_the_cent(write):
    """As Online Retail has them: price times quantity, a C before the number of a return, a quarter without a
    customer, and dates such as 12/1/2010 8:26."""
    random = np.random.default_rng(2)
    rows: list[list[object]] = []
    expected: dict[str, tuple[set[str], float, date]] = {}
    for number, row in enumerate(shop(orders=2500)):
        who, at = str(row[0]), row[2]
        assert isinstance(at, datetime)
        returned, named = number % 50 == 7, number % 4 != 1
        invoice = f"{'C' if returned else ''}{536_000 + number}"
        for _ in range(int(random.integers(1, 5))):
            pieces, price = (
                int(random.integers(1, 13)) * (-1 if returned else 1),
                float(random.integers(20, 2000)) / 100,
            )
            moment = f"{at.month}/{at.day}/{at.year} {at.hour}:{at.minute:02}"
            sku = int(random.integers(0, 300))
            rows.append([invoice, f"{84_000 + sku}", f"THING {sku}", pieces, moment, price, who if named else "", "UK"])
            if named:
                orders, spend, last = expected.get(who, (set(), 0.0, at.date()))
                expected[who] = (orders | {invoice}, spend + pieces * price, max(last, at.date()))
    header = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    found, said = figures(write("online_retail.csv", as_csv(header, rows)))
    assert found == {
        who: (len(orders), round(spend, 2), (date(2025, 1, 1) - last).days)
        for who, (orders, spend, last) in expected.items()
    }
    nameless = [row for row in rows if row[6] == ""]
    money = sum(int(str(row[3])) * float(str(row[5])) for row in nameless)
    orders = len({row[0] for row in nameless})
    told = f"{len(nameless):,} of {len(rows):,} order lines ({orders:,} orders, {money:,.2f}) have no customer"
    assert any(sentence.startswith(told) for sentence in said), said
    back = sum(int(str(row[3])) < 0 and row[6] != "" for row in rows)
    assert any(sentence.startswith(f"{back:,} of") and "below zero" in sentence for sentence in said), said


def test_lines_of_exports_that_overlap_count_once_and_are_told(write):
    rows = shop()
    overlapping = write("orders.csv", as_csv(HEADER, [*rows, *rows[900:1200]]))
    with duckdb.connect() as connection:
        plain = explore(connection, Request(write("once.csv", as_csv(HEADER, rows)), overlapping.parent))
        twice = explore(connection, Request(overlapping, overlapping.parent, repeats_once=False))
        once = explore(connection, Request(overlapping, overlapping.parent))
    assert any(one.startswith("300 of 1,800 order lines") and "--repeats once" in one for one in twice.warnings)
    assert not any("--repeats once" in one for one in once.warnings)
    assert any(
        one.startswith("300 of 1,800 order lines (300 orders") and "--repeats keep" in one for one in once.guesses
    )
    assert (once.ids == plain.ids).all()
    np.testing.assert_array_equal(once.values["total_spend"], plain.values["total_spend"])
    assert twice.values["total_spend"].sum() > plain.values["total_spend"].sum()
    assert [one.starter.source["orders"].get("repeats") for one in (plain, twice, once)] == [None, None, "once"]


def test_tickets_of_one_order_are_no_exports_that_overlap(write):
    """An order of several tickets has a line for each, all the same; such orders are here and there."""
    tickets = [row for i, row in enumerate(shop()) for _ in range(1 + (i % 3 == 0) * (1 + i % 2))]
    found, said = figures(write("tickets.csv", as_csv(HEADER, tickets)))
    assert found == right(tickets)
    assert any("they count again, unless you say  --repeats once" in one for one in said)


def test_a_table_of_266_numbers_a_customer_is_understood_within_a_minute(tmp_path):
    random = np.random.default_rng(11)
    columns = {f"spend_{i}": np.round(np.exp(random.normal(3, 1, 600)), 2) for i in range(266)}
    path = tmp_path / "wide.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["customer_id", *columns])
        rows.writerows([f"c{i}", *values] for i, values in enumerate(zip(*columns.values(), strict=True)))
    began = time.process_time()
    plan = explore(duckdb.connect(), Request(path, tmp_path / "out"))
    assert time.process_time() - began < 60
    assert len(plan.proposal.features) + len(plan.proposal.left_out) == 266
    assert np.allclose(plan.values["spend_265"], columns["spend_265"])


def test_the_numbers_of_many_columns_are_read_without_a_join():
    """A list of texts that stand for no value is a join for every time that it is named: five for each number."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE raw_rows AS SELECT '1' AS a, 'n/a' AS b")
    numbers = ", ".join(number_sql(known_sql(name), ",") for name in "ab")
    assert connection.execute(f"SELECT {numbers} FROM raw_rows").fetchall() == [(1.0, None)]
    (plan,) = connection.execute(f"EXPLAIN SELECT {numbers} FROM raw_rows").fetchall()
    assert "join" not in str(plan).casefold()


# --- amounts in two columns, and in cents -----------------------------------------------------------------------------


def _sides(rows, debit, credit, empty="", comma=False):
    """A tenth of the lines are returns, in a column of their own; header, rows, and the lines as they count."""

    def written(amount):
        return f"{amount:.2f}".replace(".", ",") if comma else f"{amount:.2f}"

    back = [i % 10 == 0 for i in range(len(rows))]
    shown = [
        [*row[:3], *([empty, written(row[3])] if b else [written(row[3]), empty])]
        for row, b in zip(rows, back, strict=True)
    ]
    counted = [[*row[:3], -row[3] if b else row[3]] for row, b in zip(rows, back, strict=True)]
    return [*HEADER[:3], debit, credit], shown, counted


@pytest.mark.parametrize(
    ("debit", "credit", "empty", "comma"), [("Debit", "Credit", "", False), ("Soll (EUR)", "Haben (EUR)", "0,00", True)]
)
def test_debits_and_credits_are_a_question_and_their_difference_is_its_answer(write, debit, credit, empty, comma):
    header, rows, counted = _sides(shop(), debit, credit, empty, comma)
    path = write("ledger.csv", as_csv(header, rows, ";"))
    with pytest.raises(QuestionError, match=r"amounts lie in two columns.*Which are sales\?") as asked:
        table_of(path)
    told = shlex.split(str(asked.value).partition("credited:")[2])
    assert told[told.index("--amount") + 1] == f"{debit} - {credit}"
    found, said = figures(path, amount=f"{debit} - {credit}")
    assert found == right(counted)
    assert any(f"amount '{debit} - {credit}': as you said" in sentence for sentence in said)
    back, _ = figures(path, amount=f"{credit}-{debit.upper()}")
    assert back == {who: (orders, -spend, days) for who, (orders, spend, days) in right(counted).items()}


def test_payments_beside_what_is_owed_are_left_out_with_the_condition_that_is_printed(write):
    header, rows, _ = _sides(shop(), "Debit", "Credit")
    path = write("ledger.csv", as_csv(header, rows))
    with pytest.raises(QuestionError, match=re.escape("--amount Debit --where 'Debit > 0'")):
        table_of(path)
    found, _ = figures(path, amount="Debit", where="Debit > 0")
    assert found == right([row for i, row in enumerate(shop()) if i % 10])


def test_an_amount_beside_debits_and_credits_is_the_amount(write):
    header, rows, counted = _sides(shop(), "Debit", "Credit")
    net = [[*row, f"{one[3]:.2f}"] for row, one in zip(rows, counted, strict=True)]
    found, _ = figures(write("ledger.csv", as_csv([*header, "Amount"], net)))
    assert found == right(counted)


def _in_cents(rows):
    return [[*row[:3], round(float(str(row[3])) * 100)] for row in rows]


@pytest.mark.parametrize("name", ["amount_cents", "Amount (minor units)", "totalInPence"])
def test_amounts_that_are_called_cents_are_divided_and_that_is_said(write, name):
    path = write("charges.csv", as_csv([*HEADER[:3], name], _in_cents(shop())))
    found, said = figures(path)
    assert found == right(shop())
    assert any(f"amount '{name} / 100': its name says that it is in cents" in sentence for sentence in said)
    as_it_stands, _ = figures(path, amount=name)
    assert as_it_stands == right(_in_cents(shop()))


@pytest.mark.parametrize("currency", ["eur", "USD"])
def test_whole_amounts_in_a_currency_with_cents_are_asked_about_with_the_flag_that_divides(write, currency):
    rows = [[*row, currency] for row in _in_cents(shop())]
    path = write("charges.csv", as_csv([*HEADER[:3], "amount", "currency"], rows))
    _, said = figures(path)
    asked = next(sentence for sentence in said if "all amounts are whole numbers" in sentence)
    assert f"in {currency.upper()}, which has cents; they are taken as they stand" in asked
    answer = shlex.split(asked.partition("say  ")[2])
    assert answer == ["--amount", "amount / 100"]
    found, said = figures(path, amount=answer[1])
    assert found == right(shop())
    assert not any("all amounts are whole numbers" in sentence for sentence in said)
    assert not any("all amounts are whole numbers" in sentence for sentence in figures(path, amount="amount")[1])


def test_prices_of_a_hundred_times_their_size_are_asked_about_without_a_currency(write):
    rows = [[*row[:3], 100 * round(float(str(row[3]))) + (99 if i % 2 else 0)] for i, row in enumerate(shop())]
    _, said = figures(write("charges.csv", as_csv([*HEADER[:3], "amount"], rows)))
    assert any("many end as prices do" in sentence for sentence in said)


@pytest.mark.parametrize(("times", "currency"), [(100, "JPY"), (100, ""), (1, "EUR")])
def test_whole_amounts_of_a_currency_without_cents_or_of_their_usual_size_are_no_question(write, times, currency):
    rows = [[*row[:3], round(times * float(str(row[3]))), currency] for row in shop()]
    _, said = figures(write("orders.csv", as_csv([*HEADER[:3], "amount", "currency"], rows)))
    assert not any("whole numbers" in sentence for sentence in said)


def test_a_debit_that_is_no_number_is_told_and_not_counted_as_nothing(write):
    header, rows, counted = _sides(shop(), "Debit", "Credit")
    rows[1][3] = "see note"
    found, said = figures(write("ledger.csv", as_csv(header, rows)), amount="Debit - Credit")
    who = counted[1][0]
    assert {one: it for one, it in found.items() if one != who} == {
        one: it for one, it in right(counted).items() if one != who
    }
    assert any(
        "have no amount that can be read in 'Debit - Credit', such as 'see note'" in sentence for sentence in said
    )


def test_what_was_given_back_is_taken_off_by_the_flag_that_is_printed(write):
    rows = [[*row, f"{float(str(row[3])) / 2:.2f}" if i % 10 == 0 else ""] for i, row in enumerate(shop())]
    path = write("orders.csv", as_csv([*HEADER, "Amount Refunded"], rows))
    told = next(sentence for sentence in figures(path)[1] if sentence.startswith("'Amount Refunded'"))
    _, answer = shlex.split(told.partition("say  ")[2])
    assert answer == "total - Amount Refunded"
    found, _ = figures(path, amount=answer)
    net = [[*row[:3], float(str(row[3])) - float(row[4] or 0)] for row in rows]
    assert found == right(net)


def test_what_is_no_number_makes_no_amount(write):
    path = write("orders.csv", as_csv([*HEADER, "note"], [[*row, "a word"] for row in shop()]))
    with pytest.raises(InputError, match=r"--amount 'total - note': note .* has no numbers, but such as 'a word'"):
        table_of(path, amount="total - note")
    with pytest.raises(InputError, match=r"--amount 'total - nothing': .* has no such column"):
        table_of(path, amount="total - nothing")
