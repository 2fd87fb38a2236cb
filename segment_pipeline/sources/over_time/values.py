"""What the order lines of a month say that was not known of them: a new state, kind or currency, and customers who may
be nobody.

Here: what is new of a month, in words. Not here: which columns are looked at (`source.orders.known_values`, which
`init` writes), and which lines count (`source.orders.where`, which the user writes).
"""

from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.source import OrdersSource
from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.database.store import month_literal
from segment_pipeline.months import as_of
from segment_pipeline.sources.expressions import mentions
from segment_pipeline.sources.order_lines import OrderLines, instant, open_order_lines, orders_of
from segment_pipeline.sources.tables import CUSTOMER_LINES
from segment_pipeline.sources.text.guests import is_called_nobody
from segment_pipeline.sources.text.numbers import currency_of

_MOST_NAMED = 5
_FIRST = 100
"""Customers with the most orders of a month: who stands for many is among them."""
_MANY, _TIMES_THE_NEXT, _FEWEST = 0.05, 5, 50
"""Share of the month's orders, and times as many as the next customer has, from which on a new one may be many; and
among how many customers at least."""


def new_values_in_words(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[str]:
    """What is new in the month, a sentence each with the lines, their money and the key that decides. Call it when the
    month's `customer_lines` are written. Raises SourceError."""
    if config.source.orders is None:
        return []
    return [*_of_columns(connection, config, month), *_of_customers(connection, config.source.orders, month)]


@dataclass(frozen=True)
class _Said:
    """A text that stands in lines of the month, and what they come to."""

    text: str
    lines: int
    money: Decimal | None

    def __str__(self) -> str:
        return f"{self.lines:,} are {self.text!r} ({self.money or 0:,.2f})"


# --- states, kinds and currencies -------------------------------------------------------------------------------------


def _of_columns(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[str]:
    source = orders_of(config)
    known = {name: of for name, of in source.known_values.items() if not _is_customer(name, source.customer_id)}
    if not known and not _reads_signs(source.amount):
        return []
    with chdir(config.path.parent):
        lines = open_order_lines(connection, config)
        there = {name: texts for name, texts in known.items() if as_named(name) in lines.source.columns}
        amounts = _with_signs(lines)
        values = {name: _unknown(identifier(name), texts) for name, texts in there.items()}
        signs = {f"the currency in {name}": currency_of(identifier(name)) for name in amounts}
        found = _counted(connection, lines, month, values | signs)
    said = [
        f"{name}: the source has no such column (source.orders.known_values)" for name in known if name not in there
    ]
    said += [
        f"{name}: {_listed(found[name])}, which was not known. What is no sale leave out (source.orders.where), and "
        "put what is one beside the known values (source.orders.known_values)"
        for name in values
        if found[name]
    ]
    return said + [
        f"{name}: {_listed(found[name])} are added up. Let one currency count (source.orders.where)"
        for name in signs
        if len(found[name]) > 1
    ]


def _unknown(column: str, known: Sequence[str]) -> str:
    """What a column says; NULL where that is known."""
    text = f"trim(CAST({column} AS VARCHAR))"
    return f"CASE WHEN {text} NOT IN ({', '.join(map(literal, known))}) THEN {text} END" if known else text


def _with_signs(lines: OrderLines) -> list[str]:
    """Columns of text that amounts are made of; numbers say nothing of a currency."""
    amount = lines.expressions["amount"]
    texts = (name for name, kind in lines.source.columns.items() if kind == "VARCHAR" and mentions(amount, name))
    return list(texts) if _reads_signs(amount) else []


def _reads_signs(amount: str) -> bool:
    """Whether an expression takes amounts out of texts, in which a currency may stand."""
    return "regexp" in amount


def _counted(
    connection: duckdb.DuckDBPyConnection, lines: OrderLines, month: date, texts: Mapping[str, str]
) -> dict[str, list[_Said]]:
    """Name -> what an expression over a row says of the lines of the month, the commonest first; blank is nothing."""
    found: dict[str, list[_Said]] = {name: [] for name in texts}
    if not texts:
        return found
    places = [f"said_{place}" for place in range(len(texts))]
    said = lines.sql(**{place: f"nullif({text}, '')" for place, text in zip(places, texts.values(), strict=True)})
    # there are engines that do not know a single set
    sets = places[0] if len(places) == 1 else f"GROUPING SETS ({', '.join(f'({place})' for place in places)})"
    try:
        rows = connection.execute(
            f"""
            SELECT {", ".join(places)}, count(*) AS lines, sum(amount) AS money FROM ({said})
            WHERE is_line AND ordered_at >= {instant(month)} AND ordered_at < {instant(as_of(month))}
            GROUP BY {sets} HAVING coalesce({", ".join(places)}, NULL) IS NOT NULL
            """
        ).fetchall()
    except duckdb.Error as error:
        raise lines.failed(error) from error
    for *values, count, money in rows:
        name, text = next((name, text) for name, text in zip(texts, values, strict=True) if text is not None)
        found[name].append(_Said(text, count, money))
    return {name: sorted(of, key=lambda one: (-one.lines, one.text)) for name, of in found.items()}


def _listed(said: Sequence[_Said]) -> str:
    rest = f", and {len(said) - _MOST_NAMED:,} more" if len(said) > _MOST_NAMED else ""
    return "order lines of the month: " + ", ".join(map(str, said[:_MOST_NAMED])) + rest


# --- customers --------------------------------------------------------------------------------------------------------


def _of_customers(connection: duckdb.DuckDBPyConnection, source: OrdersSource, month: date) -> list[str]:
    """Who of the month's customers may be nobody: called as guests are; or new, and with so many orders, and so many
    more than the next, that all may be there who leave no name."""
    found = connection.execute(
        f"""
        SELECT customer_id, month_orders, month_money, first_seen, sum(month_orders) OVER () AS every
        FROM {CUSTOMER_LINES.name} WHERE month = {month_literal(month)} AND month_orders > 0
        ORDER BY month_orders DESC, customer_id LIMIT {_FIRST}
        """
    ).fetchall()
    names = [texts for name, texts in source.known_values.items() if _is_customer(name, source.customer_id)]
    somebody = {text for texts in names for text in texts}
    said = []
    for place, (who, orders, money, first_seen, every) in enumerate(found):
        is_new = first_seen is not None and first_seen >= month
        is_first = place == 0 and len(found) >= _FEWEST and orders >= max(_MANY * every, _TIMES_THE_NEXT * found[1][1])
        called = is_called_nobody(who)
        if who not in somebody and (called or (is_new and is_first)):
            # somebody's id is not for a log, from which nobody takes it when they are forgotten
            which = repr(who) if called else "with the most orders in customer_months, who is new"
            said.append(
                f"customer {which}: {orders:,} orders of the month ({money or 0:,.2f}), as one customer. If that is "
                "nobody, make it NULL in source.orders.customer_id; if it is somebody, name it under "
                "source.orders.known_values, by the column of the customer"
            )
    return said


def _is_customer(name: str, expression: str) -> bool:
    return mentions(expression, as_named(name))
