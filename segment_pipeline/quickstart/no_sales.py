"""Order lines that may be no sales: cancelled or returned, without an amount, there twice, in another currency; and
amounts that may be in cents.

Here: what is found of them, said with the flag that decides, and the question where nothing can be assumed. Not here:
which column is what (roles.py), and which lines the pipeline leaves out by itself (sources/reconciliation.py).
"""

import re
import shlex
from dataclasses import replace
from decimal import Decimal

import duckdb

from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.errors import QuestionError
from segment_pipeline.quickstart.columns import (
    NEARLY_ALL,
    Column,
    bare_sql,
    currency_of,
    known_sql,
    number_sql,
    only_row,
)
from segment_pipeline.quickstart.csv_table import Table
from segment_pipeline.quickstart.roles import Orders
from segment_pipeline.quickstart.text import Made, shown
from segment_pipeline.sources.expressions import mentions
from segment_pipeline.sources.reconciliation import Part

_UNDONE = (
    "cancel|return|refund|storn|void|charge_?back|retour|reject|declined|failed|erstattet|widerruf|annul|pending|draft"
    "|devuelt|devol|reembols|anulad|annulat|rimbors|remboursé|avbruten|återbetal|zwrot|anulowan|abandon|on-hold"
    "|gutschrift|credit.?(note|memo)|^credit$|creditnota|kreditnota|nota de crédito|un-?paid|not.?paid|uncollect"
    "|dispute|expired|no.?show|unbezahlt"
)
_CURRENCY_NAME = re.compile(r"currency|curr$|währung|waehrung|devise|moneda|valuta|waluta|moeda", re.IGNORECASE)
_GIVEN_BACK = "refund|erstatt|rembours|reembols|rimbors|terugbeta|återbetal|zwrot"
_WITH_CENTS = ("EUR", "USD", "GBP", "CHF", "CAD", "AUD", "NZD", "SGD", "HKD", "BRL", "MXN", "PLN", "DKK", "ILS", "ZAR")
"""Currencies in whose hundredths prices are made; those that are used whole, as JPY, HUF or SEK are, say nothing."""
_CENTS_AT_LEAST, _DIFFERENT_AMOUNTS, _PRICED = 300, 30, 0.3
"""The middle amount, and how many different ones there have to be, for whole amounts to be cents; and the share of them
that end as prices do, in 99, 95 or 49, where no currency is said."""
_MOST_STATES = 20
"""Different texts up to which a column says in what state an order is."""


def lines_that_are_no_orders(
    connection: duckdb.DuckDBPyConnection, table: Table, where: str | None = None
) -> list[str]:
    """What among the order lines that are used may be no order, one sentence each with lines, orders and money. where :
    which lines the user lets count; who says so has seen to the states."""
    if table.orders is None:
        return []
    undone = "" if where is not None else _undone_lines(connection, table, table.orders)
    told = (
        undone,
        *([] if where is not None else _undone_at(connection, table, table.orders)),
        _without_number(connection, table, table.orders),
        *_refunds_beside(connection, table, table.orders),
        *_odd_orders(connection, table, table.orders),
        _perhaps_in_cents(connection, table, table.orders),
    )
    return [sentence for sentence in told if sentence]


def notes_on_lines(table: Table) -> dict[str, str]:
    """Reason of sources/reconciliation.py -> what more to say of the lines that are left out for it."""
    if table.orders is None:
        return {}
    day, amount = table.columns[table.orders.date], table.columns[table.orders.amount]
    named = f" (blank, {', '.join(map(repr, table.nobody))})" if table.nobody else ""

    def such_as(column: Column) -> str:
        return f" in {shown(column.name)}" + (
            f", such as {', '.join(map(repr, column.samples))}" if column.samples else ""
        )

    return {
        "below zero": "  (--where)",
        "repeated row": ": they are left out  (--repeats keep)",
        "before the window": "  (--window-months)",
        "after the month": "  (--month)",
        "left out by where": "  (--where)",
        "undecided by where": "  (--where)",
        "no readable date": f"{such_as(day)}: they are left out  (--date-format)",
        "no customer": f"{named}: they are left out",
        "no readable amount": f"{such_as(amount)}: their customers are rejected",
    }


def _amount_sql(table: Table, orders: Orders) -> str:
    """An expression over `raw_rows` of what a line cost."""
    parts = [part for part in (orders.quantity, orders.amount) if part is not None]
    return " * ".join(number_sql(known_sql(part), table.decimal) for part in parts)


def repeated_lines(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> Part:
    """The lines that were taken out because they repeat another in every column."""
    return _counted(connection, table, orders, "true", "repeated_rows")


def _counted(
    connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders, condition: str, rows: str = "raw_rows"
) -> Part:
    """The lines of which a condition is true, with their orders and money."""
    customer, moment = known_sql(table.customer_id), known_sql(orders.date)
    order = f"concat({customer}, ' ', {moment})"
    if orders.order_id is not None:
        order = f"coalesce({known_sql(orders.order_id)}, {order})"
    lines, of, customers, money = only_row(
        connection,
        f"SELECT count(*), count(DISTINCT {order}), count(DISTINCT {customer}), "
        f"sum(CAST({_amount_sql(table, orders)} AS DECIMAL(18, 4))) FROM {rows} WHERE {condition}",
    )
    return Part("repeated row", lines, of, customers, money)


def _told(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders, condition: str) -> str:
    """The lines of which a condition is true, in words; "" where there is none."""
    found = _counted(connection, table, orders, condition)
    return replace(found, money=found.money or Decimal(0)).told(table.rows) if found.lines else ""


def _odd_orders(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> list[str]:
    """What becomes of orders without an amount, and of lines that are there twice."""
    if orders.order_id is None:
        return []
    order, amount = known_sql(orders.order_id), _amount_sql(table, orders)
    lacking = f"(SELECT {order} FROM raw_rows GROUP BY 1 HAVING count({amount}) = 0)"
    several = "(SELECT hash(raw_rows) FROM raw_rows GROUP BY 1 HAVING count(*) > 1)"  # usually none
    repeated = (
        f"(SELECT rowid FROM raw_rows WHERE hash(raw_rows) IN {several} "
        "QUALIFY row_number() OVER (PARTITION BY hash(raw_rows)) > 1)"
    )
    blank = _told(connection, table, orders, f"{order} IN {lacking}") if table.blanks else ""
    twice = _told(connection, table, orders, f"rowid IN {repeated}")
    return [
        f"{lines} {what}"
        for lines, what in (
            (blank, f"have no {orders.amount}: they count as orders, and add nothing to what a customer spent"),
            (
                twice,
                "repeat another in every column: they count again, unless you say  --repeats once",
            ),
        )
        if lines
    ]


def _without_number(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> str:
    """What becomes of lines that do not say of which order they are; "" where all do."""
    if orders.order_id is None or table.columns[orders.order_id].known == table.rows:
        return ""
    lines = _told(connection, table, orders, f"lower(coalesce({bare_sql(orders.order_id)}, '')) IN ('', 'nan')")
    of = "an order of theirs is what a customer bought at one moment"
    return f"{lines} have no {shown(orders.order_id)}: {of}  (--order-id)" if lines else ""


def _refunds_beside(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> list[str]:
    """What columns say that was given back, on the line of the sale."""
    found = []
    for column in table.columns.values():
        if column.kind != "number" or column.name in (orders.amount, orders.quantity) or column.whole:
            continue
        if orders.amount in table.made and column.name in table.made[orders.amount].columns:
            continue
        if not re.search(_GIVEN_BACK, column.name, re.IGNORECASE):
            continue
        number = number_sql(known_sql(column.name), table.decimal)
        lines, money = only_row(
            connection,
            f"SELECT count(*), sum(CAST(x AS DECIMAL(18, 4))) FROM (SELECT {number} AS x FROM raw_rows) WHERE x <> 0",
        )
        if lines:
            net = Made((orders.amount, column.name), "+" if money < 0 else "-").name
            plain = orders.quantity is None and orders.amount not in table.made
            how = (
                f"say  --amount {shlex.quote(net)}"
                if plain
                else "put the difference into a column of its own, and name that: --amount COLUMN"
            )
            found.append(
                f"{shown(column.name)}: {lines:,} of {table.rows:,} order lines have an amount there, {money:,.2f} in "
                f"all; it is not taken off {shown(orders.amount)}. Where it was given back, {how}"
            )
    return found


def _perhaps_in_cents(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> str:
    """The question whether whole amounts are cents, as payment services keep them: in a currency that has cents, or
    with the endings of prices; "" where they are not, or the user has said what they are."""
    amount = table.columns[orders.amount]
    answered = any(one.role == "amount" and one.why.startswith("as you said") for one in table.roles.choices)
    if answered or orders.amount in table.made or not amount.whole or amount.distinct < _DIFFERENT_AMOUNTS:
        return ""
    if amount.unit:
        return ""  # $703 is written for people
    currency = _only_currency(table)
    number = number_sql(known_sql(amount.name), table.decimal)
    middle, priced, example = only_row(
        connection,
        f"SELECT median(x), avg(CAST(x % 100 IN (99, 95, 49) AS DOUBLE)), mode(x) FROM (SELECT {number} AS x "
        "FROM raw_rows) WHERE x > 0",
    )
    has_cents = currency in _WITH_CENTS or (currency == "" and priced > _PRICED)
    if not has_cents or middle < _CENTS_AT_LEAST:
        return ""
    of = f", in {currency}, which has cents" if currency else ", and many end as prices do"
    divided = shlex.quote(Made((amount.name,), in_cents=True).name)
    return (
        f"{shown(amount.name)}: all amounts are whole numbers, such as {example:.0f}{of}; they are taken as they "
        f"stand, {example:,.0f}.00. If that is {example / 100:,.2f}, say  --amount {divided}"
    )


def _only_currency(table: Table) -> str:
    """The code of the currency that all lines are in; "" where there is none."""
    for column in table.columns.values():
        if column.kind == "text" and column.distinct == 1 and _CURRENCY_NAME.search(column.name):
            return column.example.upper()
    return ""


def _undone_lines(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> str:
    """What the first column of states says of lines that were cancelled or came back; "" where none does."""
    of_orders = (table.customer_id, orders.order_id, orders.product_id, orders.date, orders.amount, orders.quantity)
    for column in table.columns.values():
        if column.name in of_orders or column.distinct > _MOST_STATES:
            continue
        name = identifier(column.name)
        undone = f"regexp_matches({name}, '{_UNDONE}', 'i')"
        if re.search(_UNDONE, column.name, re.IGNORECASE) and column.distinct == 2:  # is_cancelled
            undone = f"lower({bare_sql(column.name)}) IN ('1', 'true', 't', 'yes', 'y', 'x', 'ja', 'oui', 'si', 'tak')"
        elif column.kind != "text":
            continue
        states = connection.execute(
            f"SELECT {name}, count(*) FROM raw_rows WHERE {undone} GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        if states and len(states) < column.distinct:
            listed = ", ".join(f"{count:,} are {state!r}" for state, count in states)
            lines = _told(connection, table, orders, undone)
            written = column.name if shown(column.name) == column.name else name
            where = f"{written} NOT IN ({', '.join(literal(state) for state, _ in states)})"
            blank = column.known < table.rows
            of_first_line = blank and _stands_once(connection, orders, column.name)
            if blank and not of_first_line:
                where = f"{where} OR {written} IS NULL"
            given_back = (
                "  What was given back on them then counts as spent."
                if lines.partition("orders, ")[2].startswith("-")
                else ""
            )
            more = (
                "  It then reads the first line of each order only, and so not its products." if of_first_line else ""
            )
            return (
                f"{shown(column.name)}: of {table.rows:,} order lines {listed}, {lines.partition('(')[2][:-1]}; they "
                f"count as orders, unless you add  --where {_in_quotes(where)}{given_back}{more}"
            )
    return ""


def _undone_at(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> list[str]:
    """What columns with the day of a cancellation or return say, a sentence each: who has one was undone."""
    found = []
    for column in table.columns.values():
        seldom = 0 < column.known < table.rows / 2
        if column.kind != "date" or not seldom or not re.search(_UNDONE, column.name, re.IGNORECASE):
            continue
        written = column.name if shown(column.name) == column.name else identifier(column.name)
        marks = connection.execute(
            f"SELECT DISTINCT {identifier(column.name)} AS mark FROM raw_rows "
            f"WHERE {known_sql(column.name)} IS NULL AND {bare_sql(column.name)} <> '' ORDER BY mark"
        ).fetchall()
        where = f"{written} IS NULL"
        if marks:
            where += f" OR {written} IN ({', '.join(literal(mark) for (mark,) in marks)})"
        more = ""
        if _stands_once(connection, orders, orders.amount):  # and so does the date
            amount = orders.amount if shown(orders.amount) == orders.amount else identifier(orders.amount)
            where = f"{f'({where})' if marks else where} AND {amount} IS NOT NULL"
            more = "  It then reads the first line of each order only, and so not its products."
        lines = _told(connection, table, orders, f"{known_sql(column.name)} IS NOT NULL")
        found.append(
            f"{shown(column.name)}: {lines} have a date there; they count as orders, unless you add  "
            f"--where {_in_quotes(where)}{more}"
        )
    return found


def _in_quotes(condition: str) -> str:
    """As a shell takes it, with an eye to those who read it: SQL has apostrophes of its own."""
    return '"' + re.sub(r'(["\\$`])', r"\\\1", condition) + '"'


def _stands_once(connection: duckdb.DuckDBPyConnection, orders: Orders, name: str) -> bool:
    """Whether a column is blank because it stands on one line of an order of several only, as in Shopify's exports:
    nearly all lines without it are of an order that has it on another."""
    if orders.order_id is None:
        return False
    (share,) = only_row(
        connection,
        f"""
        SELECT sum(lines - filled) FILTER (filled > 0) / sum(lines - filled)
        FROM (SELECT count(*) AS lines, count({known_sql(name)}) AS filled FROM raw_rows
            GROUP BY {known_sql(orders.order_id)})
        """,
    )
    return bool((share or 0) >= NEARLY_ALL)


def _refuse_signs(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders, where: str | None) -> None:
    """Raises QuestionError where the amounts themselves name several currencies, as $12.50 and 12.50 € do."""
    of_amount = table.made[orders.amount].columns if orders.amount in table.made else (orders.amount,)
    for name in of_amount:
        bare = table.columns[name].plain or table.columns[name].simple
        if bare or (where is not None and mentions(where, as_named(name))):
            continue  # nothing but numbers, or who names the column has answered
        found = connection.execute(
            f"SELECT {currency_of(bare_sql(name))}, count(*) FROM raw_rows GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        signs = [(sign, lines) for sign, lines in found if sign]
        if len(signs) > 1:
            told = ", ".join(f"{lines:,} lines in {sign}" for sign, lines in signs)
            column = name if shown(name) == name else identifier(name)
            first, *others = (sign for sign, _ in signs)
            like = [f"{column} LIKE {literal(f'%{first}%')}"]
            like += [f"{column} NOT LIKE {literal(f'%{other}%')}" for other in others if first in other]
            condition = _in_quotes(" AND ".join(like))
            raise QuestionError(
                f"{table.path}: {shown(name)} has {told}; amounts of several currencies are not added up. Say which "
                f"lines count:  --where {condition}  Or convert them first, in a file in which all are the same."
            )


def refuse_currencies(connection: duckdb.DuckDBPyConnection, table: Table, where: str | None) -> None:
    """Raises QuestionError where the amounts are in several currencies, which cannot be added up. where : which lines
    count; of these, as far as that can be told of the file's texts."""
    if table.orders is None:
        return
    _refuse_signs(connection, table, table.orders, where)
    for column in table.columns.values():
        if column.kind != "text" or not _CURRENCY_NAME.search(column.name):
            continue
        text = bare_sql(column.name)
        coded = f"regexp_full_match({text}, '[A-Za-z]{{3}}')"
        counted = f"SELECT upper({text}), count(*) FROM raw_rows WHERE {coded}"
        ordered = "GROUP BY 1 ORDER BY 2 DESC, 1"
        try:
            found = connection.execute(f"{counted} AND ({where or 'true'}\n) {ordered}").fetchall()
        except duckdb.Error:  # it calculates with what is text here: who names the currency has answered
            named = where is not None and column.name.casefold() in where.casefold()
            found = [] if named else connection.execute(f"{counted} {ordered}").fetchall()
        if len(found) > 1:
            told = ", ".join(f"{lines:,} lines in {code}" for code, lines in found)
            where_name = column.name if shown(column.name) == column.name else f'\\"{column.name}\\"'
            raise QuestionError(
                f"{table.path}: {shown(column.name)} has {told}; amounts of several currencies are not added up. "
                f"Say which lines count:  --where \"{where_name} = '{found[0][0]}'\"  Or convert them first, in a "
                "file in which all are the same."
            )
