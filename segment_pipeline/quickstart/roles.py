"""Which column is the customer, the date, the amount, the order, and whether a row is a customer or an order line.

Here: roles, from the names of columns, from what is in them (columns.py) and from what the user has said. Not here: how
the columns are read, and what is made of the roles (csv_table.py).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segment_pipeline.errors import InputError
from segment_pipeline.quickstart.columns import WHEN, Column
from segment_pipeline.quickstart.text import shown

_CUSTOMER = re.compile(
    r"customer|client|member|account|household|shopper|buyer|guest|subscriber|patient|donor|kunde|cliente|klant",
    re.IGNORECASE,
)
_USER = re.compile(r"user|person|contact|e_?-?mail|visitor", re.IGNORECASE)
_ID = re.compile(r"(^|[^a-z])id($|[^a-z])|Id$|ID$|_no$|number$|nummer$|^nr|_nr$|code$|key$|hash$", re.IGNORECASE)
_ORDER = re.compile(
    r"order|invoice|basket|transaction|receipt|purchase|bestell|rechnung|bill|ticket|booking", re.IGNORECASE
)
_PRODUCT = re.compile(r"product|sku|item|article|stock_?code|artikel|upc|ean", re.IGNORECASE)
_AMOUNT = re.compile(
    r"amount|total|revenue|sales|price|value|spend|spent|umsatz|betrag|gross|net|cost|paid|payment", re.IGNORECASE
)
_QUANTITY = re.compile(r"quantity|qty|units|count|menge|anzahl", re.IGNORECASE)
_PRICE = re.compile("price", re.IGNORECASE)


@dataclass(frozen=True)
class Hints:
    """What the user has said of the file; None where it is to be found out."""

    customer_id: str | None = None
    date: str | None = None
    amount: str | None = None
    order_id: str | None = None
    product_id: str | None = None
    separator: str | None = None
    decimal: str | None = None
    date_format: str | None = None


@dataclass(frozen=True)
class Orders:
    """The columns of order lines, and amount as an expression's parts: quantity is None where amount is the line's."""

    date: str
    amount: str
    order_id: str | None
    product_id: str | None
    quantity: str | None


def find_roles(
    path: Path, columns: Mapping[str, Column], hints: Hints, renamed: Mapping[str, str], rows: int
) -> tuple[str, Orders | None]:
    """The column that says who it is, and those of order lines; None for these where a row is a customer.

    renamed : name in the file -> name here. Raises InputError for a flag that cannot be met, and where neither reading
    makes sense.
    """
    hints = _hints_as_named(path, hints, columns, renamed)
    orders = _orders(columns, hints)
    customer_id = hints.customer_id or _customer_id(path, columns, rows, orders)
    if orders is None or not _is_order_lines(columns, customer_id, orders, hints, rows):
        _refuse_repeated_ids(path, columns, customer_id, rows)
        return customer_id, None
    if columns[orders.order_id or customer_id].distinct <= columns[customer_id].distinct:
        raise InputError(one_order_each(path))
    return customer_id, orders


def _hints_as_named(path: Path, hints: Hints, columns: Mapping[str, Column], renamed: Mapping[str, str]) -> Hints:
    """The columns that the user named, by their names here. Raises InputError for one that is not there."""
    found = {}
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
            + " Say how they are written: --date-format '%d/%m/%Y'"
        )
    return replace(hints, **found)


def _not_of_kind(flag: str, column: Column, expected: str) -> str:
    found = "words" if column.kind == "text" else column.kind
    return f"--{flag} {shown(column.name)}: found {found}; expected {expected}."


def _orders(columns: Mapping[str, Column], hints: Hints) -> Orders | None:
    """The columns of order lines, if there are a date and an amount at all."""
    dates = [one.name for one in columns.values() if one.kind == "date"]
    numbers = [one.name for one in columns.values() if one.kind == "number"]
    ids = [name for name in columns if _ORDER.search(name) and name not in dates and _ID.search(name)]
    order_id = hints.order_id or next(iter(ids), None)
    product = hints.product_id or _product(columns, (order_id, *dates))
    when = hints.date or _first_called(dates, _ORDER, WHEN) or next(iter(dates), None)
    money = [
        n
        for n in numbers
        if _AMOUNT.search(n) and n not in (order_id, product, hints.customer_id) and not _ID.search(n)
    ]
    amount = hints.amount or next((n for n in money if not _PRICE.search(n)), next(iter(money), None))
    if when is None or amount is None:
        return None
    quantity = None
    if hints.amount is None and _PRICE.search(amount):
        quantity = _first_called([n for n in numbers if n != order_id], _QUANTITY)
    return Orders(when, amount, order_id, product, quantity)


def _product(columns: Mapping[str, Column], other_roles: Collection[str | None]) -> str | None:
    """The column of products: one that is called like their id, or else one of words."""
    called = [name for name in columns if _PRODUCT.search(name)]
    ids = [name for name in called if _ID.search(name) and name not in other_roles]
    words = [name for name in called if columns[name].kind == "text"]
    return next(iter(ids + words), None)


def _first_called(names: Sequence[str], *patterns: re.Pattern[str]) -> str | None:
    """The first name of the first pattern that any has."""
    return next((name for pattern in patterns for name in names if pattern.search(name)), None)


def _customer_id(path: Path, columns: Mapping[str, Column], rows: int, orders: Orders | None) -> str:
    """The column that says who it is: by its name, or else by being different in every row."""
    order_parts = set() if orders is None else {orders.order_id, orders.product_id}
    candidates = [n for n in columns if columns[n].kind in ("number", "text") and n not in order_parts]
    found = _called_like_a_customer(columns, candidates, rows, one_word_will_do=orders is not None)
    found = found or _different_in_every_row(columns, candidates, rows)
    found = found or _first_called(candidates, _ID)
    if found is not None:
        return found
    listed = ", ".join(shown(name) for name in columns)
    if orders is not None:
        raise InputError(
            f"{path} has a date ({shown(orders.date)}) and an amount ({shown(orders.amount)}) as order lines do, and "
            "no column that is called like a customer, such as customer, client, buyer, account or user, or like an "
            f"id. Name it: --customer-id COLUMN. Columns: {listed}."
        )
    raise InputError(
        f"{path} has no column that tells customers apart: none is called like an id, and in none is every value "
        f"different. Name it: --customer-id COLUMN. Columns: {listed}."
    )


def _called_like_a_customer(
    columns: Mapping[str, Column], candidates: Sequence[str], rows: int, *, one_word_will_do: bool
) -> str | None:
    """one_word_will_do : on order lines a customer comes often, so that the name alone has to do."""
    for pattern in (_CUSTOMER, _USER):
        whose = [n for n in candidates if pattern.search(n)]
        best = [n for n in whose if _ID.search(n)] or [
            n for n in whose if columns[n].distinct >= 0.5 * rows and not _AMOUNT.search(n)
        ]
        if best:
            return best[0]
    called = [n for n in candidates if _CUSTOMER.fullmatch(n) or _USER.fullmatch(n)]
    return called[0] if called and one_word_will_do else None


def _different_in_every_row(columns: Mapping[str, Column], candidates: Sequence[str], rows: int) -> str | None:
    """An id if there is one, or else words, or else the first column."""
    unique = [n for n in candidates if columns[n].distinct == columns[n].known >= 0.99 * rows]
    ids = [n for n in unique if _ID.search(n)]
    words = [n for n in unique if columns[n].kind == "text"]
    first = [n for n in unique if n == next(iter(columns))]
    return next(iter(ids + words + first), None)


def _is_order_lines(columns: Mapping[str, Column], customer_id: str, orders: Orders, hints: Hints, rows: int) -> bool:
    """Whether customers come in several rows, as lines of orders do. A few repeated ids are a mistake in a table of
    customers; beside a date and an amount, more than 2 % of them are orders."""
    if hints.order_id is not None or (hints.date is not None and hints.amount is not None):
        return True
    if orders.order_id is not None and orders.order_id != customer_id:
        return True  # who has a number for the order is writing of orders
    return columns[customer_id].distinct < 0.98 * rows


def one_order_each(path: Path) -> str:
    """What to say of order lines in which nobody came back."""
    return (
        f"{path}: every customer has one order only, so there is neither a frequency nor a history to segment by. Take "
        f"in more months of orders, or give one row per customer with features of your own."
    )


def _refuse_repeated_ids(path: Path, columns: Mapping[str, Column], customer_id: str, rows: int) -> None:
    repeated = rows - columns[customer_id].distinct
    if repeated <= 0.05 * rows:
        return
    raise InputError(
        f"{path}: {customer_id} is not different in every row ({columns[customer_id].distinct:,} customers in {rows:,} "
        f"rows), and without a date and an amount these are no order lines. For customers, give one row each, or name "
        f"the right id: --customer-id COLUMN. For order lines, name --date COLUMN --amount COLUMN."
    )
