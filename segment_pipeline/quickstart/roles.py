"""Which column is the customer, the date, the amount, the order, and whether a row is a customer or an order line.

Here: roles, from how well each column would do (scores.py) and from what the user has said; a tie is a question. Not
here: how the columns are read, and what is made of the roles (csv_table.py).
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segment_pipeline.column_names import hints_of, words_of
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.errors import InputError, QuestionError
from segment_pipeline.quickstart.columns import Column
from segment_pipeline.quickstart.scores import (
    COMES_BACK,
    ENOUGH,
    TIE,
    Evidence,
    Score,
    amount_name,
    customer_name,
    is_of_one_piece,
    numbered_per_customer,
    order_name,
    rank_amounts,
    rank_customers_of_lines,
    rank_customers_of_rows,
    rank_dates,
    rank_orders,
    rank_products,
    rank_quantities,
    repeated_on_lines,
    two_sided,
    unique,
)
from segment_pipeline.quickstart.text import shown

FLAGS = {
    "customer": "--customer-id",
    "date": "--date",
    "order": "--order-id",
    "amount": "--amount",
    "quantity": "--amount",
    "product": "--product-id",
}
"""role -> the flag that names its column."""

_NO_DATES = {"customer", "order", "product", "total", "price", "quantity", "id"}
"""What names hint at whose numbers are no dates, however they look."""

_NO_AMOUNTS = {"customer", "order", "product", "id", "count", "quantity", "person", "place"}
"""What names hint at whose numbers are worth nothing."""
_FEW_AMOUNTS = 12
"""Different numbers up to which they are steps of something and no amounts."""

_ENGLISH = {
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    *("mon", "tue", "wed", "thu", "fri", "sat", "sun", "gmt", "utc"),
}
"""How words begin that a format of dates may have."""


IN_ONE = {
    "moment": "at one moment",
    **{one: f"in one {one}" for one in ("week", "month", "quarter")},
    "day": "on one day",
}
"""What dates tell at most -> when an order is one."""


@dataclass(frozen=True)
class Hints:
    """What the user has said of the file; None where it is to be found out. repeats_once : whether rows that repeat
    another in every column count once. time_zone : whose local times moments become; None to take times as they
    stand."""

    customer_id: str | None = None
    date: str | None = None
    amount: str | None = None
    order_id: str | None = None
    product_id: str | None = None
    separator: str | None = None
    decimal: str | None = None
    date_format: str | None = None
    repeats_once: bool | None = None
    time_zone: str | None = None


@dataclass(frozen=True)
class Orders:
    """The columns of order lines, and amount as an expression's parts: quantity is None where amount is the line's.

    order_id : None where an order is what a customer bought at one moment. per_customer : whether its numbers begin
    again with each customer, so that customer and number are the order."""

    date: str
    amount: str
    order_id: str | None
    product_id: str | None
    quantity: str | None
    per_customer: bool = False


@dataclass(frozen=True)
class Choice:
    """Which column was taken for a role, None where none was good enough; others : how the next would have done."""

    role: str
    column: str | None
    why: str
    others: tuple[Score, ...] = ()


@dataclass(frozen=True)
class Roles:
    """The customer, and the columns of order lines; None for these where a row is a customer. choices : how each was
    come by."""

    customer_id: str
    orders: Orders | None
    choices: tuple[Choice, ...]

    def with_amount(self, column: str, why: str) -> "Roles":
        """The same with another column of amounts than was found, which is the line's."""
        if self.orders is None:
            raise AssertionError("the rows are customers")
        choices = (
            replace(one, column=column, why=why)
            if one.role == "amount"
            else replace(one, column=None, why="")
            if one.role == "quantity"
            else one
            for one in self.choices
        )
        return replace(self, orders=replace(self.orders, amount=column, quantity=None), choices=tuple(choices))

    def runner_up(self, choice: Choice) -> Score | None:
        """The best column that was not taken for anything."""
        taken = {one.column for one in self.choices}
        return next((one for one in choice.others if one.column not in taken), None)


def find_roles(path: Path, evidence: Evidence, hints: Hints, renamed: Mapping[str, str]) -> Roles:
    """Which column is what. renamed : name in the file -> name here.

    Raises InputError for a flag that cannot be met, and where neither reading makes sense; QuestionError where two
    columns would do equally well and are not the same.
    """
    hints = _hints_as_named(path, hints, evidence.columns, renamed)
    lines = _roles_of_lines(path, evidence, hints)
    if lines is None:
        return _roles_of_rows(path, evidence, hints)
    return lines


def _roles_of_rows(path: Path, evidence: Evidence, hints: Hints) -> Roles:
    """Roles where a row is a customer. Raises InputError."""
    choice = _choose(path, evidence, "customer", hints.customer_id, rank_customers_of_rows(evidence), enough=1.0)
    if choice.column is None:
        listed = ", ".join(shown(name) for name in evidence.columns)
        raise InputError(
            f"{path} has no column that tells customers apart: none is called like an id, and in none is every value "
            f"different. Name it: --customer-id COLUMN. Columns: {listed}."
        )
    _refuse_repeated_ids(path, evidence, choice.column, hints)
    if hints.customer_id is None and customer_name(choice.column)[0] < 1:
        _refuse_lines_of_nobody(path, evidence, choice.column)
        _refuse_unread_lines(path, evidence, hints)
    return Roles(choice.column, None, (choice,))


def _refuse_lines_of_nobody(path: Path, evidence: Evidence, customer: str) -> None:
    """Raises QuestionError where rows may as well be order lines: of what is different in each only that speaks for a
    customer, and something else comes back on other days; where it is at least an id, something called a customer."""
    dates = rank_dates(evidence)
    back = rank_customers_of_lines(evidence, dates[0].column) if dates else []
    is_id = customer_name(customer)[0] > 0
    if back and back[0].points >= COMES_BACK and (not is_id or customer_name(back[0].column)[0] >= 2):
        date, who = shlex.quote(dates[0].column), back[0].column
        raise QuestionError(
            f"{path}: is a row a customer, or an order? {shown(customer)} is different in every row, and is not called "
            f"like a customer; {shown(who)} comes back on other days. For orders say  --customer-id {shlex.quote(who)} "
            f"--date {date} --amount COLUMN  or for customers  --customer-id {shlex.quote(customer)}"
        )


def _refuse_unread_lines(path: Path, evidence: Evidence, hints: Hints) -> None:
    """Raises InputError where a column called a customer repeats beside one called a date and one called an amount:
    these are order lines, of which something cannot be read."""
    columns = evidence.columns.values()
    who = next((one for one in columns if customer_name(one.name)[0] >= 2 and one.distinct < 0.9 * one.known), None)
    dated = any(one.kind in ("text", "date") and "date" in hints_of(one.name) for one in columns)
    paid = any(one.kind in ("text", "number") and amount_name(one.name)[0] >= 2 for one in columns)
    why = _why_no_lines(evidence)
    if who is not None and dated and paid and why:
        raise InputError(
            f"{path}: {shown(who.name)} repeats ({who.distinct:,} in {who.known:,} rows) beside a date and an amount, "
            f"so these are order lines; as such they cannot be read. {why}"
        )


def _roles_of_lines(path: Path, evidence: Evidence, hints: Hints) -> Roles | None:
    """Roles where a row is an order line; None where rows are none. Raises InputError, QuestionError."""
    dates = rank_dates(evidence)
    if hints.date is None and not dates:
        return None
    moment = hints.date or dates[0].column
    customers = rank_customers_of_lines(evidence, moment)
    likely = hints.customer_id or next((one.column for one in customers if one.points >= ENOUGH["customer"]), None)
    orders = rank_orders(evidence, moment, likely)
    order = _choose(path, evidence, "order", hints.order_id, orders, ties=False)
    taken = (hints.customer_id or likely, order.column, hints.product_id)
    amounts = rank_amounts(evidence, order.column, taken)
    said_so = hints.order_id is not None or (hints.date is not None and hints.amount is not None)
    sides = two_sided(evidence, amounts)
    if not (hints.amount or sides or (amounts and amounts[0].points >= ENOUGH["amount"])):
        return None
    if not said_so and not _is_order_lines(evidence, likely, order.column, moment):
        return None
    if sides is not None and hints.amount is None:
        raise QuestionError(_which_side(path, *sides))
    date = _choose(path, evidence, "date", hints.date, dates)
    customer = _choose(path, evidence, "customer", hints.customer_id, customers)
    amount = _choose(path, evidence, "amount", hints.amount, amounts)
    if customer.column is None:
        once = (one.column for one in customers if customer_name(one.column)[0] >= 3 and unique(evidence, one.column))
        customer = replace(customer, column=next(once, None), why="called like a customer, each with one order")
    if customer.column is None:
        raise InputError(_nobody(path, evidence, date, amount))
    if repeated_on_lines(evidence, str(amount.column), order.column):
        if hints.amount is None:
            counting = evidence.counting_lines(str(order.column))
            advice = "Or give a file with one line per order."
            if counting is not None:
                name, first = counting
                condition = f"{name if shown(name) == name else identifier(name)} = {literal(first)}"
                advice = (
                    f"To count it once per order, take the first line of each:  --amount "
                    f"{shlex.quote(str(amount.column))} --where {shlex.quote(condition)}"
                )
            raise QuestionError(
                f"{path}: {shown(str(amount.column))} is {amount.why}. Is there an amount of the line? Name it: "
                f"--amount COLUMN. {advice}"
            )
        amount = replace(amount, why="as you said, though it is the same on all lines of an order, and each adds it")
    quantity = _quantity(evidence, hints, str(amount.column))
    product = _choose(
        path,
        evidence,
        "product",
        hints.product_id,
        rank_products(evidence, (customer.column, order.column, amount.column)),
        ties=False,
    )
    per_customer = order.column is not None and numbered_per_customer(
        evidence, order.column, str(date.column), customer.column
    )
    found = Orders(str(date.column), str(amount.column), order.column, product.column, quantity.column, per_customer)
    return Roles(customer.column, found, (customer, date, order, amount, quantity, product))


def _is_order_lines(evidence: Evidence, customer: str | None, order: str | None, date: str) -> bool:
    """Whether customers come in several rows, as lines of orders do. Who has a column for the order is writing of
    orders; without one, a table in which a customer's own number is different in every row is one of customers, and
    so is one with any such number whose dates are called that of the last order, or of birth."""
    if order is not None and order_name(order)[0] >= 3:
        return True
    own = 0.5 if "later" in hints_of(date) else 3
    if any(customer_name(name)[0] >= own and unique(evidence, name) for name in evidence.columns):
        return False
    return customer is not None and evidence.columns[customer].distinct < 0.98 * evidence.rows


def _choose(
    path: Path,
    evidence: Evidence,
    role: str,
    said: str | None,
    ranked: Sequence[Score],
    *,
    ties: bool = True,
    enough: float | None = None,
) -> Choice:
    """The column for a role: the one that the user named, or the best that is good enough. ties : whether a second one
    that is as good and says something else is a question. Raises QuestionError."""
    if said is not None:
        return Choice(role, said, "as you said")
    good = [one for one in ranked if one.points >= (ENOUGH[role] if enough is None else enough)]
    if not good:
        return Choice(role, None, "", tuple(ranked))
    first = good[0]
    near = [one for one in good[1:] if one.points > first.points - TIE]
    other = next((one for one in near if not evidence.same(first.column, one.column)), None) if ties else None
    if other is not None:
        flag = FLAGS[role]
        raise QuestionError(
            f"{path}: which column is the {role}? {shown(first.column)} ({first.why}) and {shown(other.column)} "
            f"({other.why}) would do equally well, and are not the same. Say which: {flag} "
            f"{shlex.quote(first.column)}  or  {flag} {shlex.quote(other.column)}"
        )
    return Choice(role, first.column, first.why, tuple(ranked))


def _quantity(evidence: Evidence, hints: Hints, amount: str) -> Choice:
    """The pieces by which a price is to be multiplied, unless it is already the line's."""
    ranked = rank_quantities(evidence, amount)
    best = next((one for one in ranked if one.points >= ENOUGH["quantity"]), None)
    if hints.amount is not None or best is None:
        return Choice("quantity", None, "")
    power = evidence.grows_with(amount, best.column)
    if not is_of_one_piece(amount, power):
        return Choice("quantity", None, "")
    if power is not None and power > 0.5:
        return Choice("quantity", None, f"{amount} grows with {best.column}, and so is already the line's")
    return Choice("quantity", best.column, f"{best.why}, and {amount} is of one piece")


def _which_side(path: Path, debit: str, credit: str) -> str:
    """The question of a file of debits and credits: nothing in it says which of them are sales."""

    def amount(said: str) -> str:
        return f"--amount {shlex.quote(said)}"

    condition = shlex.quote(f"{debit if shown(debit) == debit else identifier(debit)} > 0")
    return (
        f"{path}: amounts lie in two columns, {shown(debit)} and {shown(credit)}, and each line has one of them. Which "
        f"are sales? In a ledger of what customers owe the debits, less what was credited:  "
        f"{amount(f'{debit} - {credit}')}  or, where the credits are payments,  {amount(debit)} --where {condition}  "
        f"In a statement of what came in the credits:  {amount(f'{credit} - {debit}')}"
    )


def _nobody(path: Path, evidence: Evidence, date: Choice, amount: Choice) -> str:
    listed = ", ".join(shown(name) for name in evidence.columns)
    return (
        f"{path} has a date ({shown(str(date.column))}) and an amount ({shown(str(amount.column))}) as order lines do, "
        "and no column that is called like a customer, such as customer, client, buyer, account or user, and comes "
        f"back on other days. Name it: --customer-id COLUMN. Columns: {listed}."
    )


def _hints_as_named(path: Path, hints: Hints, columns: Mapping[str, Column], renamed: Mapping[str, str]) -> Hints:
    """The columns that the user named, by their names here. Raises InputError for one that is not there."""
    found: dict[str, Any] = {}
    by_name = {name.casefold(): name for name in columns} | {old.casefold(): new for old, new in renamed.items()}
    for flag in ("customer_id", "date", "amount", "order_id", "product_id"):
        given = getattr(hints, flag)
        if given is None:
            continue
        if given.casefold() not in by_name:
            raise InputError(
                f"--{flag.replace('_', '-')} {shown(given)}: {path} has no such column. It has "
                f"{', '.join(shown(name) for name in columns)}."
            )
        found[flag] = by_name[given.casefold()]
    if "amount" in found and columns[found["amount"]].kind != "number":
        raise InputError(_not_of_kind("amount", columns[found["amount"]], "numbers"))
    if "date" in found and columns[found["date"]].kind != "date":
        raise InputError(
            _not_of_kind("date", columns[found["date"]], "dates")
            + f" Say how they are written, such as {columns[found['date']].example!r}: --date-format FORMAT"
        )
    return replace(hints, **found)


def _not_of_kind(flag: str, column: Column, expected: str) -> str:
    found = "words" if column.kind == "text" else column.kind
    return f"--{flag} {shown(column.name)}: found {found}; expected {expected}."


def one_order_each(path: Path) -> str:
    """What to say of order lines in which nobody came back."""
    return (
        f"{path}: every customer has one order only, so there is neither a frequency nor a history to segment by. Take "
        f"in more months of orders, or give one row per customer with features of your own."
    )


def _refuse_repeated_ids(path: Path, evidence: Evidence, customer_id: str, hints: Hints) -> None:
    rows, different = evidence.rows, evidence.columns[customer_id].distinct
    if rows - different <= 0.05 * rows:
        return
    of_lines = _why_no_lines(evidence) or "For order lines, name --date COLUMN --amount COLUMN."
    of_customers = "" if ": " in of_lines else " For customers, give one row each, or name the right id."
    raise InputError(
        f"{path}: {shown(customer_id)} is not different in every row ({different:,} customers in {rows:,} rows), so "
        f"these are not customers with a row each; nor could they be read as order lines. {of_lines}{of_customers}"
    )


def _why_no_lines(evidence: Evidence) -> str:
    """What keeps rows from being order lines: the columns that are called like a date or an amount and cannot be read
    as one, or that there is none; "" where both are there."""
    columns = evidence.columns.values()
    found = []
    if not any(column.kind == "date" for column in columns):
        found.append(f"No column reads as a date{_what_may_be_dates([*columns])}.")
    if not any(column.kind == "number" and amount_name(column.name)[0] > 0 for column in columns):
        amounts = [one for one in columns if one.kind == "text" and amount_name(one.name)[0] > 0]
        told = ", ".join(f"{shown(one.name)} is called like one, and has {one.example!r}" for one in amounts[:2])
        flags = "  or  ".join(f"--amount {shlex.quote(name)}" for name in _what_may_be_amounts(columns))
        said = (
            f" ({told}): {_how_amounts_are_written(amounts)}"
            if told
            else f"; the nearest are  {flags}"
            if flags
            else ""
        )
        found.append(f"No column reads as an amount{said}.")
    return " ".join(found)


def _what_may_be_amounts(columns: Iterable[Column]) -> list[str]:
    """Numbers that might be what a line is worth, though nothing calls them so: no ids, counts or pieces."""
    numbers = [
        one.name
        for one in columns
        if one.kind == "number" and one.distinct > _FEW_AMOUNTS and not hints_of(one.name) & _NO_AMOUNTS
    ]
    return [name for name in numbers if not words_of(name)[-1:] or not words_of(name)[-1].endswith("code")][:3]


def _what_may_be_dates(columns: Sequence[Column]) -> str:
    """Which columns may be meant as dates, and what helps them to be; "" where there is none."""
    could = [one for one in columns if one.could_be and not hints_of(one.name) & _NO_DATES]
    if could:
        said = "  or  ".join(f"--date {shlex.quote(one.name)} ({one.could_be})" for one in could)
        return f"; numbers that would be, if you say so: {said}"
    mixed = next((one for one in columns if one.contradiction), None)
    if mixed is not None:
        texts = " beside ".join(map(repr, mixed.contradiction))
        return (
            f" ({shown(mixed.name)} has several forms, {texts}, and no saying which day all of them are): write them "
            "all in one form, such as 2024-12-31"
        )
    dates = [one for one in columns if one.kind in ("text", "number") and "date" in hints_of(one.name)]
    told = ", ".join(f"{shown(one.name)} is called like one, and has {one.example!r}" for one in dates[:2])
    return f" ({told}): {_how_dates_are_written(dates)}" if told else ""


def _how_dates_are_written(dates: Sequence[Column]) -> str:
    """The flag, where it can help: a format has the names of months and days in English only."""
    words = {word[:3] for one in dates[:2] for word in re.findall(r"[^\W\d_]{3,}\.?", one.example.casefold())}
    if words <= _ENGLISH:
        return "say how it is written, --date-format FORMAT"
    return "the words in it are not known; write dates in digits, such as 2024-12-31"


def _how_amounts_are_written(amounts: Sequence[Column]) -> str:
    """The flag, where it can help."""
    marks = {one.other_mark for one in amounts[:2]} - {""}
    return f"say --decimal '{min(marks)}'" if marks else "write amounts in digits alone, such as 1234.50 or -1234.50"


def roles_in_words(roles: Roles, people: int, moment: str) -> list[str]:
    """What the file is, and which column is what, a sentence each. people : how many customers there are. moment : what
    dates tell at most: a moment, a day or a month."""
    if roles.orders is None:
        return [f"one row per customer, told apart by {shown(roles.customer_id)}  (--customer-id)"]
    found = [f"order lines of {people:,} customers"]
    return found + [f"  {said}" for choice in roles.choices if (said := _role_in_words(choice, roles, moment))]


def _role_in_words(choice: Choice, roles: Roles, moment: str) -> str:
    """Which column a role is, why, and which would have been next; "" of a role that order lines may lack."""
    if choice.column is not None:
        said = f"{choice.role} {shown(choice.column)}: {choice.why}"
    elif choice.role == "order":
        said = f"an order is what a customer bought {IN_ONE[moment]}, for no column tells orders apart"
    elif choice.why:
        return f"{choice.role}: none, for {choice.why}  ({FLAGS[choice.role]})"
    else:
        return ""
    if choice.role == "order" and roles.orders is not None and roles.orders.per_customer:
        said += "; an order is customer and number"
    runner_up = roles.runner_up(choice)
    if runner_up is not None:
        said += f"; next {shown(runner_up.column)} ({runner_up.why})"
    return f"{said}  ({FLAGS[choice.role]})"
