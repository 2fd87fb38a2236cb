"""Order lines that may be no sales: cancelled or returned, without an amount, there twice, in another currency; and
amounts that may be in cents.

Here: what is found of them, said with the flag that decides, and the question where nothing can be assumed. Not here:
which column is what (roles.py), and which lines the pipeline leaves out by itself (sources/reconciliation.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.errors import QuestionError
from segment_pipeline.quickstart.columns import Column, bare_sql, known_sql
from segment_pipeline.quickstart.csv_table import CURRENCY_NAME, Table
from segment_pipeline.quickstart.lines.counting import Lines, in_quotes, written
from segment_pipeline.quickstart.lines.money import (
    discounts_beside,
    perhaps_in_cents,
    perhaps_of_one_piece,
    perhaps_turned,
    refunds_beside,
)
from segment_pipeline.quickstart.lines.states import all_of, counted_once, undone_lines
from segment_pipeline.quickstart.roles import Orders
from segment_pipeline.quickstart.text import shown
from segment_pipeline.sources.expressions import mentions
from segment_pipeline.sources.reconciliation import Part
from segment_pipeline.sources.text.numbers import currency_of

_TOO_MANY, _TIMES_THE_NEXT, _FEWEST_CUSTOMERS = 0.05, 5, 50
"""Share of all lines, and times as many as the next customer has, from which on one may stand for many; and among how
many customers at least."""


@dataclass(frozen=True)
class Counting:
    """Which order lines count, and what is said of it. where : the user's condition, and what is decided here; None
    where all count. decided : a sentence on each column whose values tell the same sales; warnings : one on what among
    the lines that count may be no order, with lines, orders and money."""

    where: str | None
    decided: Sequence[str] = ()
    warnings: Sequence[str] = ()


def lines_that_count(connection: duckdb.DuckDBPyConnection, table: Table, where: str | None = None) -> Counting:
    """Which order lines count, of those that the user lets count by a condition; who names a column there has seen to
    it. Raises QuestionError where amounts cannot be added up: they are in several currencies, or tell the same sales,
    and no word says which are to count."""
    if table.orders is None:
        return Counting(where)
    refuse_currencies(connection, table, where)
    given = Lines(connection, table, table.orders, _within(connection, where))
    lines, again = counted_once(given, where)
    counted = all_of(where, [one for one in again if one.keeps])
    told = (
        *undone_lines(lines, where, counted),
        _without_number(lines),
        *refunds_beside(lines),
        *discounts_beside(lines),
        perhaps_of_one_piece(lines),
        perhaps_turned(lines),
        *_odd_orders(lines),
        perhaps_in_cents(lines),
        _one_for_many(lines, where),
    )
    return Counting(counted, [one.sentence for one in again], [sentence for sentence in told if sentence])


def _within(connection: duckdb.DuckDBPyConnection, where: str | None) -> str:
    """The user's condition, where it can be asked of the file's texts: one that calculates with them cannot."""
    if where is None:
        return "true"
    try:
        connection.execute(f"SELECT count(*) FROM raw_rows WHERE ({where}\n)")
    except duckdb.Error:
        return "true"
    return where


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


def repeated_lines(connection: duckdb.DuckDBPyConnection, table: Table, orders: Orders) -> Part:
    """The lines that were taken out because they repeat another in every column."""
    return Lines(connection, table, orders).counted("true", "repeated_rows")


def _odd_orders(lines: Lines) -> list[str]:
    """What becomes of orders without an amount, and of lines that are there twice."""
    orders = lines.orders
    if orders.order_id is None:
        return []
    order = known_sql(orders.order_id)
    lacking = f"(SELECT {order} FROM raw_rows GROUP BY 1 HAVING count({lines.amount}) = 0)"
    several = "(SELECT hash(raw_rows) FROM raw_rows GROUP BY 1 HAVING count(*) > 1)"  # usually none
    repeated = (
        f"(SELECT rowid FROM raw_rows WHERE hash(raw_rows) IN {several} "
        "QUALIFY row_number() OVER (PARTITION BY hash(raw_rows)) > 1)"
    )
    blank = lines.told(f"{order} IN {lacking}") if lines.table.blanks else ""
    twice = lines.told(f"rowid IN {repeated}")
    return [
        f"{told} {what}"
        for told, what in (
            (blank, f"have no {orders.amount}: they count as orders, and add nothing to what a customer spent"),
            (
                twice,
                "repeat another in every column: they count again, unless you say  --repeats once",
            ),
        )
        if told
    ]


def _one_for_many(lines: Lines, where: str | None) -> str:
    """A customer with so many lines, and so many more than the next, that it may be what all go under who leave no
    name; "" where there is none, or the user's condition names the column."""
    name = lines.table.customer_id
    if where is not None and mentions(where, as_named(name)):
        return ""
    excluded = ", ".join(map(literal, ("", *lines.table.nobody)))
    most = lines.connection.execute(
        f"SELECT {bare_sql(name)} AS who, count(*) AS lines FROM raw_rows "
        f"WHERE coalesce(lower({bare_sql(name)}), '') NOT IN ({excluded}) AND ({lines.within}\n) "
        "GROUP BY who ORDER BY lines DESC, who LIMIT 2"
    ).fetchall()
    few = lines.table.columns[name].distinct < _FEWEST_CUSTOMERS
    if len(most) < 2 or few or most[0][1] < max(_TOO_MANY * lines.table.rows, _TIMES_THE_NEXT * most[1][1]):
        return ""
    who, condition = most[0][0], f"coalesce({bare_sql(name)}, '') = {literal(most[0][0])}"
    keeps = f"{written(name)} <> {literal(who)}"
    return (
        f"{shown(name)}: {lines.told(condition)} are of {who!r}, and of nobody else more than {most[1][1]:,}. If "
        f"that is no one customer, but all who leave no name, add  --where {in_quotes(keeps)}"
    )


def _without_number(lines: Lines) -> str:
    """What becomes of lines that do not say of which order they are; "" where all do."""
    order, table = lines.orders.order_id, lines.table
    if order is None or table.columns[order].known == table.rows:
        return ""
    told = lines.told(f"{known_sql(order)} IS NULL")
    of = f"an order of theirs is what a customer bought {table.finest}"
    return f"{told} have no {shown(order)}: {of}  (--order-id)" if told else ""


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
            condition = in_quotes(" AND ".join(like))
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
        if column.kind != "text" or not CURRENCY_NAME.search(column.name):
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
