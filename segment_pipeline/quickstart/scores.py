"""How well each column would do as customer, date, order, amount, quantity or product, in points, with reasons.

Here: what the name hints at (column_names.py) beside what the values do. A name is where one begins to look;
whether a column is what it is called, the values have to bear out: a customer comes back on other days, an order lies
in one moment and is of one customer, an amount varies and is money. Not here: which column is taken (roles.py).

The points are few and whole where they can be: a plain name gives 3 or 4, what the values do gives 1 to 3, and a name
that says something else takes 4, so that no other single thing makes up for it.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import duckdb

from segment_pipeline.column_names import called_in_cents, hints_of, is_another_party, words_of
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.quickstart.columns import (
    NEARLY_ALL,
    PROFILED_ROWS,
    Column,
    known_sql,
    moment_sql,
    only_row,
    profiled_rows,
)
from segment_pipeline.quickstart.text import shown
from segment_pipeline.sources.text.numbers import number_sql

ENOUGH = {"customer": 2.5, "date": -math.inf, "order": 2.5, "amount": 1.5, "quantity": 2.0, "product": 1.5}
"""Points below which a column is not taken for that."""

TIE = 0.25
"""Points by which the best has to be ahead of another column that says something else."""

COMES_BACK = 2.0
"""Points of a column whose values come back on other days, as customers do."""

GROWS = 0.2
"""The power of the pieces with which the amount of a line grows at least; in a price of one piece it is about none."""

_SAME = 0.95
_OVERLAPPING = 20
"""Orders that are there twice from which on exports overlap, and not by chance."""
_TESTED = 12
"""Columns, those with the best names first, whose values are looked into."""
_VALUES_TESTED = 200
"""Different values at least, of which a share of all values is told."""


@dataclass(frozen=True)
class Score:
    """points : more is better. reasons : what gave and what took them, as parts of a sentence."""

    column: str
    points: float
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        return ", ".join(self.reasons) or "nothing speaks for it"


Part = tuple[float, str]


def _score(column: str, parts: Iterable[Part | None]) -> Score:
    told = [part for part in parts if part is not None]
    return Score(column, sum(points for points, _ in told), tuple(reason for _, reason in told))


def _ranked(scores: Iterable[Score]) -> list[Score]:
    """The best first; of equals the first in the file."""
    return sorted(scores, key=lambda score: -score.points)


class Evidence:
    """What the values of `raw_rows` do, looked up once each, in a large file on a part of its rows. rows : of the
    file."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column], decimal: str, rows: int
    ) -> None:
        self.columns, self.rows = columns, rows
        self._connection, self._decimal = connection, decimal
        self.returning = cache(self._returning)
        self.one_each = cache(self._one_each)
        self.level = cache(self._level)

    def number(self, name: str) -> str:
        return number_sql(known_sql(name), self._decimal)

    def day(self, name: str) -> str:
        return f"CAST({moment_sql(self.columns[name])} AS DATE)"

    def value(self, name: str) -> str:
        return self.day(name) if self.columns[name].kind == "date" else known_sql(name)

    def _some_rows(self, key: str) -> str:
        """About PROFILED_ROWS of the rows as `raw_rows`, of each value of a column all or none: what is asked of a
        value takes all its rows. Where too few values would be left, each has many rows, and any of them tell."""
        column = self.columns[key]
        every = column.known // PROFILED_ROWS
        if every < 2:
            return "raw_rows"
        if column.distinct < _VALUES_TESTED * every:
            return f"{profiled_rows(self._connection)} AS raw_rows"
        return f"(SELECT * FROM raw_rows WHERE hash({identifier(key)}) % {every} = 0) AS raw_rows"

    def _returning(self, name: str, date: str) -> tuple[float, float]:
        """Shares of the column's lines whose value comes on more than one day, and whose value is of the kind that its
        example is of, such as an e-mail address."""
        told = told_by_its_values(self.columns[name])
        alike = f"regexp_full_match(value, {literal(_ONE_PERSON[told])})" if told else "false"
        return self._two_shares(f"""
            SELECT sum(lines) FILTER (days > 1) / sum(lines), sum(lines) FILTER ({alike}) / sum(lines)
            FROM (
                SELECT {known_sql(name)} AS value, count(*) AS lines, count(DISTINCT {self.day(date)}) AS days
                FROM {self._some_rows(name)} GROUP BY 1
            ) WHERE value IS NOT NULL
        """)

    def _one_each(self, keys: tuple[str, ...], of: tuple[str, ...]) -> float:
        """Share of the combinations of `keys` that go with one value of each of `of`."""
        named = ", ".join(f"{self.value(key)} AS k{i}" for i, key in enumerate(keys))
        counted = ", ".join(f"{self.value(one)} AS v{i}" for i, one in enumerate(of))
        held = " AND ".join(f"count(DISTINCT v{i}) <= 1" for i in range(len(of)))
        groups = ", ".join(f"k{i}" for i in range(len(keys)))
        known = " AND ".join(f"k{i} IS NOT NULL" for i in range(len(keys)))
        found = only_row(
            self._connection,
            f"SELECT avg(CAST(one AS DOUBLE)) FROM (SELECT {held} AS one FROM (SELECT {named}, {counted} "
            f"FROM {self._some_rows(keys[0])}) WHERE {known} GROUP BY {groups})",
        )
        return float(found[0] or 0)

    def _level(self, name: str, order: str) -> tuple[float, float]:
        """Of the orders with several lines, the shares on which a number stands once, and on all lines the same. A line
        that is there twice is one."""
        return self._two_shares(f"""
            SELECT avg(CAST(known = 1 AS DOUBLE)), avg(CAST(known = lines AND different = 1 AS DOUBLE))
            FROM (
                SELECT count(*) AS lines, count(value) AS known, count(DISTINCT value) AS different
                FROM (
                    SELECT DISTINCT {known_sql(order)} AS number, {self.number(name)} AS value, hash(raw_rows) AS line
                    FROM {self._some_rows(order)}
                )
                WHERE number IS NOT NULL GROUP BY number HAVING count(*) > 1
            )
        """)

    def apart(self, one: str, other: str) -> float:
        """Of the lines that have either of two numbers, the share that has only one of them; 0 is none."""
        either, both = (f"coalesce({self.number(name)}, 0) <> 0" for name in (one, other))
        found = only_row(
            self._connection,
            f"SELECT avg(CAST(({either}) <> ({both}) AS DOUBLE)) FILTER ({either} OR {both}) "
            f"FROM {profiled_rows(self._connection)}",
        )
        return float(found[0] or 0)

    def equal(self, one: str, other: str) -> bool:
        """Whether two expressions of numbers are the same to the cent, on nearly all lines that have both."""
        found = only_row(
            self._connection,
            f"SELECT avg(CAST(abs(one - other) < 0.011 AS DOUBLE)) FROM (SELECT {one} AS one, {other} AS other "
            f"FROM {profiled_rows(self._connection)}) WHERE one IS NOT NULL AND other IS NOT NULL",
        )
        return float(found[0] or 0) >= _SAME

    def overlaps(self, order: str, date: str) -> bool:
        """Whether orders are there twice as two exports that overlap have them: with all their lines, and nearly all
        orders of some time. Equal lines of an order, as of several tickets, are here and there."""
        orders, share = only_row(
            self._connection,
            f"""
            WITH lines AS (
                SELECT {known_sql(order)} AS number, {moment_sql(self.columns[date])} AS moment, count(*) AS times
                FROM {self._some_rows(order)} GROUP BY 1, 2, hash(raw_rows) -- a column may be called as these are
            ),
            orders AS (
                SELECT min(moment) AS moment, min(times) > 1 AS again
                FROM lines WHERE number IS NOT NULL GROUP BY number
            ),
            span AS (SELECT min(moment) AS first, max(moment) AS last, count(*) AS orders FROM orders WHERE again)
            SELECT any_value(span.orders), avg(CAST(again AS DOUBLE))
            FROM orders, span WHERE moment BETWEEN first AND last
            """,
        )
        return bool((orders or 0) >= _OVERLAPPING and share >= _SAME)

    def lines_per_order(self, order: str) -> float:
        column = self.columns[order]
        return column.known / max(1, column.distinct)

    def counting_lines(self, order: str) -> tuple[str, str] | None:
        """The column that counts the lines of an order, as CouponNo, and the text of the first, which each order has on
        one line; None where there is no such column."""
        numbers = [one.name for one in self.columns.values() if one.whole and one.name != order]
        for name in (name for name in numbers if self.columns[name].distinct < self.columns[order].distinct / 2):
            value, of = known_sql(name), known_sql(order)
            first, least, most = only_row(
                self._connection,
                f"SELECT min(first), min(lines), max(lines) FROM (SELECT first, count(*) FILTER (value = first) AS "
                f"lines FROM (SELECT {of} AS number, {value} AS value, min({value}) OVER () AS first FROM raw_rows) "
                "WHERE number IS NOT NULL GROUP BY number, first)",
            )
            if least == most == 1:
                return name, str(first)
        return None

    def grows_with(self, price: str, quantity: str) -> float | None:
        """The power of the quantity with which a price grows: 0 for that of one piece, 1 for that of the line; None
        where too few lines have more than one piece."""
        lines, slope = only_row(
            self._connection,
            f"""
            SELECT count(*) FILTER (pieces > 1), regr_slope(ln(price), ln(pieces))
            FROM (SELECT {self.number(price)} AS price, {self.number(quantity)} AS pieces
                FROM {profiled_rows(self._connection)})
            WHERE price > 0 AND pieces > 0
            """,
        )
        return None if lines < 30 or slope is None else float(slope)

    def same(self, one: str, other: str) -> bool:
        """Whether two columns say the same: days and amounts where they are equal, all else where each value goes with
        one of the other's."""
        kinds = {self.columns[one].kind, self.columns[other].kind}
        if kinds == {"date"} or (kinds == {"number"} and not self.columns[one].whole):
            first, second = (self.day(name) if kinds == {"date"} else self.number(name) for name in (one, other))
            equal = only_row(
                self._connection,
                f"SELECT avg(CAST({first} IS NOT DISTINCT FROM {second} AS DOUBLE)) "
                f"FROM {profiled_rows(self._connection)}",
            )
            return float(equal[0] or 0) >= _SAME
        return self.one_each((one,), (other,)) >= _SAME and self.one_each((other,), (one,)) >= _SAME

    def _two_shares(self, query: str) -> tuple[float, float]:
        first, second = only_row(self._connection, query)
        return float(first or 0), float(second or 0)


def _judged(
    names: Sequence[str], prior: Callable[[str], Part], values: Callable[[str], Iterable[Part | None]]
) -> list[Score]:
    """The columns by their names, and the best of these by their values; the best first. One whose name says something
    else is left at that."""
    sensible = [name for name in names if prior(name)[0] > -1]
    others = [name for name in names if prior(name)[0] <= -1]
    best = sorted(sensible, key=lambda name: -prior(name)[0])[:_TESTED]
    by_values = [_score(name, [prior(name), *values(name)]) for name in sensible if name in best]
    return _ranked(by_values + [_score(name, [prior(name)]) for name in others])


def _may_be_id(column: Column) -> bool:
    """Text, or whole numbers, or two long numbers with a point between, as browsers are counted by."""
    numbered = column.whole or re.fullmatch(r"\d{6,}\.\d{6,}", column.example) is not None
    return column.known > 0 and (column.kind == "text" or (column.kind == "number" and numbered))


# --- customers --------------------------------------------------------------------------------------------------------

_NO_CUSTOMER = ("place", "trait", "product", "order", "total", "price", "quantity", "count", "extra", "date", "later")


_ONE_PERSON = {
    "e-mail addresses": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "phone numbers": r"(\+|00)[1-9]\d([ ()/.-]?\d){6,14}",
    "national ids": r"\d{3}\.\d{3}\.\d{3}-\d\d|\d\d\.\d{3}\.\d{3}/\d{4}-\d\d|"
    r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]|\d{3}-\d\d-\d{4}",
}
"""What tells one person or company from others, whatever its column is called -> a pattern of its texts: ids of Brazil,
Chile and the United States."""


def told_by_its_values(column: Column) -> str:
    """What of _ONE_PERSON the texts of a column may be; "" where they are nothing such."""
    return next((told for told, pattern in _ONE_PERSON.items() if re.fullmatch(pattern, column.example)), "")


def customer_name(name: str) -> Part:
    """What a name gives for the customer."""
    hints, words = hints_of(name), words_of(name)
    email = any(word.endswith("mail") for word in words)
    if "customer" in hints:
        points = 4.0 if "id" in hints else 3.5 if email else 2.5 if "person" in hints else 3.0
    elif "person" in hints:
        points = 3.0 if "id" in hints else 2.5 if email else 1.0
    else:
        points = 0.5 if "id" in hints else 0.0
    other = [hint for hint in _NO_CUSTOMER if hint in hints]
    if other:
        return points - 4, "called something else"
    if points >= 1 and is_another_party(name):
        return points - 0.5, "called like who pays or receives"
    return points, "called like a customer" if points >= 1 else "called an id" if points else "its name says nothing"


def rank_customers_of_lines(evidence: Evidence, date: str) -> list[Score]:
    """Columns as the customers of order lines: they come back on other days. A name that several people have stands
    behind what tells these apart."""
    ids = [name for name, column in evidence.columns.items() if _may_be_id(column) and column.distinct > 2]

    def called(name: str) -> Part:
        points, why = customer_name(name)
        if points <= -1 and "place" not in hints_of(name) and told_by_its_values(evidence.columns[name]):
            return 0.0, "its name says nothing"
        return points, why

    ranked = _judged(ids, called, lambda name: _as_customer_of_lines(evidence, name, date))
    if not ranked or not _of_names(evidence, ranked[0].column):
        return ranked
    name = ranked[0]
    apart = next((one for one in ranked[1:] if _tells_apart(evidence, one, name.column)), None)
    if apart is None:
        return ranked
    better = replace(
        apart,
        points=max(apart.points, name.points + 2 * TIE),
        reasons=(*apart.reasons, f"tells apart who has the same {shown(name.column)}"),
    )
    return [better, *(one for one in ranked if one is not apart)]


def _of_names(evidence: Evidence, name: str) -> bool:
    """Whether a column holds names, which several people may have."""
    column = evidence.columns[name]
    return column.kind == "text" and re.match(r"[^\W\d_][^\W\d_.'-]*( ?[/,] ?| )[^\W\d_]", column.example) is not None


def _tells_apart(evidence: Evidence, one: Score, name: str) -> bool:
    """Whether a column of customers goes with one name nearly always, and some names with several of its values."""
    return (
        one.points >= ENOUGH["customer"]
        and not _of_names(evidence, one.column)
        and evidence.columns[one.column].known >= NEARLY_ALL * evidence.columns[name].known
        and evidence.one_each((one.column,), (name,)) >= NEARLY_ALL
        and evidence.one_each((name,), (one.column,)) < _SAME
    )


def _as_customer_of_lines(evidence: Evidence, name: str, date: str) -> list[Part | None]:
    column = evidence.columns[name]
    returning, alike = evidence.returning(name, date)
    product = _beside_a_product(evidence, name)
    filled, lines_each = column.known / evidence.rows, column.known / column.distinct
    return [
        (COMES_BACK, "comes back on other days")
        if returning >= 0.3
        else (1.0, "sometimes comes back on other days")
        if returning >= 0.1
        else (-3.0, "does not come back on other days")
        if returning < 0.02
        else None,
        (1.5, f"holds {told_by_its_values(column)}") if alike > 0.9 and customer_name(name)[0] <= 1 else None,
        (-1.0, f"may be an id of {shown(product)}") if product is not None else None,
        (-2.0, f"has {column.distinct:,} different values only")
        if lines_each > 150 and column.distinct < 100
        else None,
        (-3.0, "is nearly empty") if filled < 0.1 else (-1.5, "is half empty") if filled < 0.5 else None,
    ]


def _beside_a_product(evidence: Evidence, name: str) -> str | None:
    """The product that an id may be of: one that is called an id of something that is no customer, beside a product."""
    hints, words = hints_of(name), words_of(name)
    if customer_name(name)[0] >= 1 or "id" not in hints or len(words) == 1:
        return None
    return next((other for other in evidence.columns if other != name and "product" in hints_of(other)), None)


def rank_customers_of_rows(evidence: Evidence) -> list[Score]:
    """Columns as the customers of a table with a row each: they are different in every row."""
    first = next(iter(evidence.columns))
    ids = [name for name, column in evidence.columns.items() if _may_be_id(column)]
    return _judged(
        ids,
        customer_name,
        lambda name: [
            (3.0, "different in every row") if unique(evidence, name) else None,
            (0.5, "of words") if evidence.columns[name].kind == "text" else None,
            (0.25, "the first column") if name == first else None,
            (-2.0, "few different values") if evidence.columns[name].distinct <= 12 < evidence.rows / 20 else None,
        ],
    )


def unique(evidence: Evidence, name: str) -> bool:
    column = evidence.columns[name]
    return column.distinct >= 0.98 * column.known and column.known >= 0.98 * evidence.rows


# --- dates ------------------------------------------------------------------------------------------------------------


def rank_dates(evidence: Evidence) -> list[Score]:
    """Columns as the time of an order."""
    dates = [name for name, column in evidence.columns.items() if column.kind == "date" and column.first is not None]
    return _ranked(_score(name, _as_date(evidence, name)) for name in dates)


def _as_date(evidence: Evidence, name: str) -> list[Part | None]:
    hints, words = hints_of(name), words_of(name)
    column = evidence.columns[name]
    filled = column.known / evidence.rows
    placed = "order" in hints or bool({"created", "placed", "close"} & set(words))
    return [
        (2.0, "called like a date") if "date" in hints else None,
        (1.0, "of an order") if placed else None,
        (-3.0, "called like something before or after the order") if "later" in hints else None,
        (-2.0, "often empty") if filled < 0.5 else None,
        (-2.0, "always the same day") if column.first == column.last else None,
    ]


# --- orders -----------------------------------------------------------------------------------------------------------


def order_name(name: str) -> Part:
    """What a name gives for the order."""
    hints = hints_of(name)
    points = (4.0 if "id" in hints else 3.0) if "order" in hints else 1.5 if "id" in hints else 0.0
    other = ("product", "place", "trait", "total", "price", "quantity", "count", "extra", "date", "later")
    if any(hint in hints for hint in other) or ("customer" in hints and "order" not in hints):
        return points - 4, "called something else"
    return points, "called like an order" if points >= 3 else "called an id" if points else "its name says nothing"


def rank_orders(evidence: Evidence, date: str, customer: str | None) -> list[Score]:
    """Columns as the order, which lies in one moment and is of one customer."""
    ids = [
        name
        for name, column in evidence.columns.items()
        if _may_be_id(column)
        and name != customer
        and (column.distinct >= 0.03 * column.known or order_name(name)[0] >= 3)
    ]
    return _judged(ids, order_name, lambda name: _as_order(evidence, name, date, customer))


def _as_order(evidence: Evidence, name: str, date: str, customer: str | None) -> list[Part | None]:
    of = (date,) if customer is None else (date, customer)
    filled = evidence.columns[name].known / evidence.rows
    holds = evidence.one_each((name,), of) >= _SAME
    again = not holds and numbered_per_customer(evidence, name, date, customer)
    return [
        (1.0, "each lies on one day and is of one customer")
        if holds
        else (0.0, "its numbers begin again with each customer")
        if again
        else (-6.0, "the same value is of several days or customers"),
        (1.0, "its lines belong together") if holds and evidence.lines_per_order(name) > 1.1 else None,
        (1.0, "never empty") if holds and filled > 0.98 and evidence.lines_per_order(name) > 1.1 else None,
        (-2.0, "often empty") if filled < 0.9 else None,
    ]


def numbered_per_customer(evidence: Evidence, order: str, date: str, customer: str | None) -> bool:
    """Whether only customer and number together are an order."""
    return (
        customer is not None
        and order_name(order)[0] >= 3
        and evidence.one_each((order,), (date, customer)) < _SAME
        and evidence.one_each((customer, order), (date,)) >= _SAME
    )


# --- amounts ----------------------------------------------------------------------------------------------------------


def rank_amounts(evidence: Evidence, order: str | None, taken: Sequence[str | None]) -> list[Score]:
    """Columns of numbers as what a line cost, or one piece of it. taken : those that are something else."""
    numbers = [name for name, column in evidence.columns.items() if column.kind == "number" and name not in taken]
    ranked = _judged(numbers, amount_name, lambda name: _as_amount(evidence, name, order))
    near = [one for one in ranked if one.points >= max(ENOUGH["amount"], ranked[0].points - _NEAR)] if ranked else []
    return _ranked([_related(evidence, one, near) for one in near] + ranked[len(near) :])


def _related(evidence: Evidence, one: Score, near: Sequence[Score]) -> Score:
    """An amount by what it has to do with the others that may be it: a price that pieces make another of, and what is
    left of another without a fee, are not what a customer paid."""
    others = [evidence.number(other.column) for other in near if other is not one]
    number, each = evidence.number(one.column), evidence.columns.values()
    pieces = [evidence.number(column.name) for column in each if "quantity" in hints_of(column.name)]
    fees = [evidence.number(column.name) for column in each if _FEES & set(words_of(column.name))]
    if any(
        evidence.equal(other, f"{number} * {by}") and not evidence.equal(other, number)
        for other in others
        for by in pieces
    ):
        return replace(one, points=one.points - 1, reasons=(*one.reasons, "of one piece"))
    if any(
        evidence.equal(number, f"{other} - abs({fee})") and not evidence.equal(other, number)
        for other in others
        for fee in fees
    ):
        return replace(one, points=one.points - _NEAR, reasons=(*one.reasons, "less a fee"))
    return one


_NEAR = 1.5
"""Points behind the best up to which an amount is compared with it."""
_FEES = {"fee", "fees", "commission", "gebuhr", "gebuhren", "provision", "frais", "comision", "tarifa", "commissione"}
_FEES |= {"comissao", "taxas", "commissie", "kosten", "avgift", "prowizja", "komisyon", "комиссия", "手数料", "手续费"}
"""How a column is called that a shop pays of what it sells, to who brings the buyer or the money."""


def amount_name(name: str) -> Part:
    """What a name gives for the amount."""
    hints = hints_of(name) - ({"quantity"} if called_in_cents(name) else set())  # in minor units
    points, called = (
        (3.0, "called like an amount")
        if "total" in hints and "unit" not in words_of(name)
        else (2.0, "called like a price")
        if "price" in hints
        else (1.0, "called like a cost")
        if "cost" in hints
        else (0.0, "its name says nothing")
    )
    other = {"extra": "a charge or a share", "quantity": "a quantity", "count": "a count", "id": "an id"}
    found = next((said for hint, said in other.items() if hint in hints), None)
    if found is not None:
        return points - 4, f"called like {found}"
    return points + 0.5 * ("whole" in hints) - 0.5 * ("part" in hints) - 2 * ("date" in hints), called


def _as_amount(evidence: Evidence, name: str, order: str | None) -> list[Part | None]:
    column = evidence.columns[name]
    once, repeated = (
        evidence.level(name, order) if order is not None and evidence.lines_per_order(order) > 1.1 else (0.0, 0.0)
    )
    several = order is not None and evidence.lines_per_order(order) > 1.1
    return [
        (-5.0, "always the same") if column.distinct == 1 else None,
        (1.0, "with decimals") if not column.whole else (-3.0, "few whole numbers") if column.distinct <= 12 else None,
        (1.0, f"in {column.unit}") if column.unit not in ("", "share") else None,
        (0.5, "of the order, on one of its lines")
        if once >= _SAME
        else (-3.0, "of the order, and repeated on each of its lines: a sum would count it several times")
        if repeated >= _SAME
        else (1.5, "of each line")
        if several
        else None,
    ]


_DEBIT = {"debit", "debits", "debet", "debe", "dare", "soll", "winien", "withdrawal", "withdrawals"}
_CREDIT = {"credit", "credits", "kredit", "haber", "avere", "haben", "deposit", "deposits"}


def two_sided(evidence: Evidence, amounts: Sequence[Score]) -> tuple[str, str] | None:
    """The columns of debits and of credits, of which each line has one; None where there are no two such, or another
    column is the better amount. amounts : the best first."""

    def called(words: set[str]) -> list[str]:
        numbers = [name for name, column in evidence.columns.items() if column.kind == "number"]
        return [name for name in numbers if words & set(words_of(name))]

    pairs = [(one, other) for one in called(_DEBIT) for other in called(_CREDIT) if one != other]
    found = next((pair for pair in pairs if evidence.apart(*pair) >= _SAME), None)
    better = amounts and amounts[0].points >= ENOUGH["amount"] and found is not None and amounts[0].column not in found
    return None if better else found


def repeated_on_lines(evidence: Evidence, amount: str, order: str | None) -> bool:
    """Whether an amount is the order's and stands on each of its lines."""
    return order is not None and evidence.lines_per_order(order) > 1.1 and evidence.level(amount, order)[1] >= _SAME


def is_of_one_piece(name: str, power: float | None) -> bool:
    """Whether an amount is called the price of a piece, and not a total; or that as well, and does not grow with the
    pieces. power : with which it grows, None where too few lines tell."""
    hints = hints_of(name)
    if "unit" in words_of(name) or (bool({"price", "cost"} & hints) and "total" not in hints):
        return True
    return "price" in hints and power is not None and power < GROWS


def rank_quantities(evidence: Evidence, amount: str) -> list[Score]:
    """Columns of numbers as the pieces of a line."""
    return _ranked(
        _score(
            name,
            [
                (3.0, "called like a quantity"),
                (-2.0, "not whole numbers") if not column.whole else None,
            ],
        )
        for name, column in evidence.columns.items()
        if column.kind == "number" and name != amount and "quantity" in hints_of(name)
    )


# --- products ---------------------------------------------------------------------------------------------------------


def rank_products(evidence: Evidence, taken: Sequence[str | None]) -> list[Score]:
    """Columns as the product of a line."""
    return _ranked(
        _score(
            name,
            [
                (2.0, "called like a product"),
                (1.0, "an id") if "id" in hints_of(name) or {"sku", "asin", "ean"} & set(words_of(name)) else None,
                (-1.0, "with few different values") if column.distinct < 10 else None,
                (-2.0, "always the same") if column.distinct == 1 else None,
                (-4.0, "different in every row") if unique(evidence, name) else None,
            ],
        )
        for name, column in evidence.columns.items()
        if _may_be_id(column)
        and name not in taken
        and "product" in hints_of(name)
        and not {"order", "price", "total", "quantity", "count", "extra", "trait", "place"} & hints_of(name)
    )
