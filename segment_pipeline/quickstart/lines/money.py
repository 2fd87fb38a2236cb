"""Money that is written beside the amount of a line: given back, taken off before the customer paid; and amounts that
may be in cents.

Here: what is found of it, said with the flag that decides. Not here: amounts of several currencies, which are a
question (no_sales.py), and which column is the amount (roles.py).
"""

import re
import shlex

from segment_pipeline.column_names import words_of
from segment_pipeline.quickstart.columns import NEARLY_ALL, Column, known_sql, only_row
from segment_pipeline.quickstart.csv_table import CURRENCY_NAME, Table
from segment_pipeline.quickstart.lines.counting import Lines
from segment_pipeline.quickstart.lines.words import GIVEN_BACK, PERCENT_NAME, REDUCED
from segment_pipeline.quickstart.scores import GROWS, Evidence, rank_quantities
from segment_pipeline.quickstart.text import Made, shown
from segment_pipeline.sources.text.numbers import number_sql
from segment_pipeline.words import figure, percent

_WITH_CENTS = ("EUR", "USD", "GBP", "CHF", "CAD", "AUD", "NZD", "SGD", "HKD", "BRL", "MXN", "PLN", "DKK", "ILS", "ZAR")
"""Currencies in whose hundredths prices are made; those that are used whole, as JPY, HUF or SEK are, say nothing."""
_CENTS_AT_LEAST, _DIFFERENT_AMOUNTS, _PRICED = 300, 30, 0.3
"""The middle amount, and how many different ones there have to be, for whole amounts to be cents; and the share of them
that end as prices do, in 99, 95 or 49, where no currency is said."""


def refunds_beside(lines: Lines) -> list[str]:
    """What columns say that was given back, on the line of the sale."""
    found = []
    for column, count, money in _beside(lines, GIVEN_BACK):
        if column.whole and not lines.table.columns[lines.orders.amount].whole:
            continue  # a number of pieces, or of a document
        sign = "+" if money < 0 else "-"
        found.append(
            f"{shown(column.name)}: {count:,} of {lines.table.rows:,} order lines have an amount there, {money:,.2f} "
            f"in all; it is not taken off {_amount(lines)}. Where it was given back, say  "
            f"--amount {shlex.quote(_combined(lines, f'{sign} {{}}', column))}"
        )
    return found


def discounts_beside(lines: Lines) -> list[str]:
    """What columns say that was taken off, where the amount is price times quantity, or called gross, and so before
    it."""
    table, orders = lines.table, lines.orders
    before = orders.quantity is not None or "gross" in words_of(orders.amount)
    found = []
    for column, count, money in _beside(lines, REDUCED) if before else ():
        number = number_sql(known_sql(column.name), table.decimal)
        (most,) = only_row(lines.connection, f"SELECT max(abs({number})) FROM raw_rows")
        if column.unit == "share" or (most <= 1 and not column.whole):
            how, what = "* (1 - {})", f"a share, up to {percent(most)}"
        elif re.search(PERCENT_NAME, column.name, re.IGNORECASE) and most <= 100:
            how, what = "* (1 - {} / 100)", f"in per cent, up to {figure(most)}"
        else:
            how, what = ("+ {}" if money < 0 else "- {}"), f"{money:,.2f} in all"
        found.append(
            f"{shown(column.name)}: {count:,} of {table.rows:,} order lines have one, {what}; it is not taken off "
            f"{_amount(lines)}. Where customers paid less by it, say  "
            f"--amount {shlex.quote(_combined(lines, how, column))}"
        )
    return found


def perhaps_of_one_piece(lines: Lines) -> str:
    """The question whether the amount of each line is that of one piece, where it does not grow with the pieces; ""
    where it does, or the user has said what it is."""
    table, orders = lines.table, lines.orders
    said = any(one.role == "amount" and one.why.startswith("as you said") for one in table.roles.choices)
    several = orders.order_id is not None and table.columns[orders.order_id].distinct * 1.1 < table.rows
    if said or not several or orders.quantity is not None or orders.amount in table.made:
        return ""
    evidence = Evidence(lines.connection, table.columns, table.decimal, table.rows)
    quantity = next((one.column for one in rank_quantities(evidence, orders.amount)), None)
    power = None if quantity is None else evidence.grows_with(orders.amount, quantity)
    if quantity is None or power is None or power > GROWS:
        return ""
    product = Made((quantity, orders.amount), "{0} * {1}").name
    return (
        f"{shown(orders.amount)} is taken for that of the whole line, and does not grow with {shown(quantity)}. If it "
        f"is the price of one piece, say  --amount {shlex.quote(product)}"
    )


def perhaps_turned(lines: Lines) -> str:
    """The question whether amounts that the user has named, nearly all of them below zero, are credits in books of
    account; "" where they are not."""
    said = lines.orders.amount
    answered = any(one.role == "amount" and one.why.startswith("as you said") for one in lines.table.roles.choices)
    if not answered or said in lines.table.made:
        return ""
    below, known = only_row(
        lines.connection,
        f"SELECT count(*) FILTER (x < 0), count(*) FROM (SELECT {lines.amount} AS x FROM raw_rows) WHERE x <> 0",
    )
    if below < NEARLY_ALL * known or not known:
        return ""
    return (
        f"{shown(said)}: {below:,} of {known:,} amounts are below zero, and lower what a customer spent. Where books "
        f"write sales with a minus, say  --amount {shlex.quote(f'0 - {said}')}"
    )


def _beside(lines: Lines, called: str) -> list[tuple[Column, int, float]]:
    """Columns of numbers that are called so and are no part of the amount, with how many lines have one, and their
    sum."""
    table, orders, found = lines.table, lines.orders, []
    parts = table.made[orders.amount].columns if orders.amount in table.made else ()
    for column in table.columns.values():
        if column.kind != "number" or column.name in (orders.amount, orders.quantity, *parts, table.customer_id):
            continue
        if column.name in table.made or not re.search(called, column.name, re.IGNORECASE):
            continue
        number = number_sql(known_sql(column.name), table.decimal)
        count, money = only_row(
            lines.connection,
            f"SELECT count(*), sum(CAST(x AS DECIMAL(18, 4))) FROM (SELECT {number} AS x FROM raw_rows "
            f"WHERE ({lines.within}\n)) WHERE x <> 0",
        )
        if count:
            found.append((column, count, money))
    return found


def _amount(lines: Lines) -> str:
    """What a line costs, in words."""
    quantity = "" if lines.orders.quantity is None else f"{shown(lines.orders.quantity)} * "
    return f"{quantity}{shown(lines.orders.amount)}"


def _combined(lines: Lines, how: str, column: Column) -> str:
    """An amount, as --amount takes it, of what a line costs and a column."""
    orders, made = lines.orders, lines.table.made.get(lines.orders.amount)
    of = made.columns if made is not None else tuple(filter(None, (orders.quantity, orders.amount)))
    amount = made.written if made is not None else " * ".join(f"{{{place}}}" for place in range(len(of)))
    amount = f"({amount})" if made is not None and "*" in how else amount
    return Made((*of, column.name), f"{amount} {how.format(f'{{{len(of)}}}')}").name


def perhaps_in_cents(lines: Lines) -> str:
    """The question whether whole amounts are cents, as payment services keep them: in a currency that has cents, or
    with the endings of prices; "" where they are not, or the user has said what they are."""
    table, orders = lines.table, lines.orders
    amount = table.columns[orders.amount]
    answered = any(one.role == "amount" and one.why.startswith("as you said") for one in table.roles.choices)
    if answered or orders.amount in table.made or not amount.whole or amount.distinct < _DIFFERENT_AMOUNTS:
        return ""
    if amount.unit:
        return ""  # $703 is written for people
    currency = _only_currency(table)
    number = number_sql(known_sql(amount.name), table.decimal)
    middle, priced, example = only_row(
        lines.connection,
        f"SELECT median(x), avg(CAST(x % 100 IN (99, 95, 49) AS DOUBLE)), mode(x) FROM (SELECT {number} AS x "
        "FROM raw_rows) WHERE x > 0",
    )
    has_cents = currency in _WITH_CENTS or (currency == "" and priced > _PRICED)
    if not has_cents or middle < _CENTS_AT_LEAST:
        return ""
    of = f", in {currency}, which has cents" if currency else ", and many end as prices do"
    divided = shlex.quote(Made((amount.name,), "{0} / 100").name)
    return (
        f"{shown(amount.name)}: all amounts are whole numbers, such as {example:.0f}{of}; they are taken as they "
        f"stand, {example:,.0f}.00. If that is {example / 100:,.2f}, say  --amount {divided}"
    )


def _only_currency(table: Table) -> str:
    """The code of the currency that all lines are in; "" where there is none."""
    for column in table.columns.values():
        if column.kind == "text" and column.distinct == 1 and CURRENCY_NAME.search(column.name):
            return column.example.upper()
    return ""
