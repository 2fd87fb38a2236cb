"""Texts in the place of a customer that are none: guests, walk-in customers, and the sums below the lines.

Here: which texts of a file these are. Not here: the words for guests (sources/text/guests.py), and what becomes of
their lines. A customer may be called Total: a row is a sum where it adds up others, or lacks what every line has.
"""

from collections.abc import Iterable, Mapping

import duckdb

from segment_pipeline.database.quoting import literal
from segment_pipeline.quickstart.columns import MISSING, NEARLY_ALL, Column, bare_sql, known_sql, moment_sql, only_row
from segment_pipeline.quickstart.roles import Roles
from segment_pipeline.sources.text.guests import PERHAPS_NOBODY, SURELY_NOBODY
from segment_pipeline.sources.text.numbers import number_sql

TOTALS = (
    *("total", "totals", "grand total", "subtotal", "sub-total", "sum", "gesamt", "gesamtergebnis", "gesamtsumme"),
    *("summe", "zwischensumme", "total général", "total general", "totaux", "totale", "totale complessivo", "totaal"),
    *("eindtotaal", "suma", "suma końcowa", "razem", "totalt", "summa", "yhteensä", "toplam", "genel toplam", "итого"),
    *("всего", "общий итог", "合計", "総計", "合计", "总计", "總計", "합계", "총합계", "รวม"),
)
"""Texts, in lower case, in the place of a customer that may stand for the sum of the lines above."""

_ZERO = ("0", "-1")
"""Texts that stand for nobody where many lines have them, and may be somebody's number where few do."""
_MANY = 0.01
"""Share of the lines from which on these are many."""
_EQUAL = 0.005
"""What a sum may differ by from what it adds up, for rounding."""


def nobodies(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column], roles: Roles, decimal: str
) -> tuple[str, ...]:
    """The texts, in lower case, that stand for no customer, of the table `spellings`. In a table of customers only sums
    do: who is called Guest there has a row of its own."""
    customer = columns[roles.customer_id]
    given = _literals(f"{total}{colon}" for total in TOTALS for colon in ("", ":"))
    sums = connection.execute(f"SELECT DISTINCT text FROM spellings WHERE text IN ({given})").fetchall()
    found = {text for (text,) in sums if _is_sum(connection, columns, roles, decimal, text)}
    if roles.orders is not None:
        surely = _is_called(SURELY_NOBODY)
        surely += f" OR text IN ({_literals(MISSING[1:])})"
        perhaps = f"{_is_called(PERHAPS_NOBODY)} OR text IN ({_literals(_ZERO)})"
        named = connection.execute(
            f"SELECT text FROM spellings WHERE {surely} OR {perhaps} GROUP BY text "
            f"HAVING {surely} OR sum(lines) > {_MANY} * {customer.known}"
        ).fetchall()
        found |= {text for (text,) in named}
    return tuple(sorted(found))


def _is_called(pattern: str) -> str:
    either = (f"regexp_full_match({one}, {literal(pattern)})" for one in ("text", "strip_accents(text)"))
    return f"({' OR '.join(either)})"


def _literals(texts: Iterable[str]) -> str:
    return ", ".join(map(literal, texts))


def _is_sum(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column], roles: Roles, decimal: str, text: str
) -> bool:
    """Whether the rows under this text add up others, or lack the date or the number that every line has."""
    named = f"coalesce(lower({bare_sql(roles.customer_id)}), '') = {literal(text)}"
    if roles.orders is None:
        numbers = [one for one in columns.values() if one.kind == "number" and one.name != roles.customer_id]
        return any(_adds_up(connection, named, number_sql(known_sql(one.name), decimal)) for one in numbers)
    orders = roles.orders
    every = [moment_sql(columns[orders.date])]
    if orders.order_id is not None and columns[orders.order_id].known > NEARLY_ALL * _rows(connection):
        every.append(known_sql(orders.order_id))
    lacking = " OR ".join(f"{one} IS NULL" for one in every)
    (share,) = only_row(connection, f"SELECT avg(CAST(({lacking}) AS DOUBLE)) FROM raw_rows WHERE {named}")
    amount = " * ".join(number_sql(known_sql(one), decimal) for one in (orders.quantity, orders.amount) if one)
    return bool(share >= NEARLY_ALL) or _adds_up(connection, named, amount)


def _rows(connection: duckdb.DuckDBPyConnection) -> int:
    return int(only_row(connection, "SELECT count(*) FROM raw_rows")[0])


def _adds_up(connection: duckdb.DuckDBPyConnection, named: str, number: str) -> bool:
    """Whether the number of each of the rows is the sum of the rows from the one before it on, or of all others."""
    (share,) = only_row(
        connection,
        f"""
        WITH numbered AS (
            SELECT rowid AS place, {named} AS is_sum, coalesce({number}, 0) AS number,
                count(*) FILTER ({named}) OVER above AS block
            FROM raw_rows
            WINDOW above AS (ORDER BY rowid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ),
        blocks AS (
            SELECT block, max(number) FILTER (is_sum) AS told, sum(number) FILTER (NOT is_sum) AS above,
                count(*) FILTER (NOT is_sum) AS lines, bool_or(is_sum) AS has_sum
            FROM numbered GROUP BY block
        ),
        all_others AS (SELECT sum(number) AS everything FROM numbered WHERE NOT is_sum)
        SELECT avg(CAST(
            (lines > 1 AND abs(told - above) <= {_EQUAL} * abs(above))
            OR abs(told - everything) <= {_EQUAL} * abs(everything) AS DOUBLE))
        FROM blocks, all_others WHERE has_sum AND (told <> 0 OR above <> 0)
        """,
    )
    return bool((share or 0) >= NEARLY_ALL)
