"""Every line of the source and every unit of money, accounted for: used, or left out for one reason.

Here: which reasons there are, in which order they are asked, and the account of a month. The lines are counted from the
source, in one pass; those that are used and those of customers whom the data contract rejects are counted from what the
features are made of. So that the parts add up to the source says that no line was lost on the way. Not here: how the
source is read (order_lines.py, ready_made.py), and which customers are rejected (customers/).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal, visible
from segment_pipeline.database.rows import is_there, write_rows
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.errors import NoLinesError, SourceError
from segment_pipeline.months import month_key
from segment_pipeline.sources.expressions import is_date
from segment_pipeline.sources.order_lines import CLOCK_TOLERANCE, OrderLines
from segment_pipeline.sources.people.delivered import Delivered
from segment_pipeline.sources.tables import CUSTOMER_LINES, RAW_CUSTOMERS, SOURCE_PARTS, SOURCE_RECONCILIATION

USED = "used"
OUTSIDE = ("before the window", "after the month")
"""Reasons of lines that are of other months, and no loss."""

FORMER = "forgotten or merged"
WHERE = "left out by where"

REASONS = {
    "repeated row": "repeat another in every column",
    FORMER: "are of customers who are forgotten, or have another id now",
    OUTSIDE[0]: "lie before the window",
    OUTSIDE[1]: "lie after the month",
    WHERE: "do not meet the condition under where",
    "undecided by where": "make the condition under where neither true nor false",
    "no readable date": "have no date that can be read",
    "later than today": "are dated later than today",
    "no customer": "have no customer",
    "customer repeated": "are of customers who have several rows",
    "no readable amount": "have no amount that can be read",
    "customer rejected": "are of customers who are rejected",
}
"""Why a line is left out -> what to say of such lines. Each line has the first that holds of it."""


OF_REJECTED = ("customer repeated", "no readable amount", "customer rejected")
"""Reasons of lines whose customers stand in `rejected_customers`."""


@dataclass(frozen=True)
class Part:
    """The lines of the source that share a fate, or a reason; rows, where customers are ready-made. orders : None of
    rows. money : what the readable amounts come to, exactly; None where there is none, or nothing says what is spent.
    without_amount : lines that are not in the money; below_zero, below_zero_money : those that lower it, and by what.
    None where nothing says what is spent."""

    reason: str
    lines: int
    orders: int | None
    customers: int
    money: Decimal | None
    without_amount: int | None = None
    below_zero: int | None = None
    below_zero_money: Decimal | None = None

    def told(self, of: int | None = None) -> str:
        """2,178 of 8,654 order lines (2,178 orders, 158,684.12). of : how many lines there are."""
        among = "" if of is None else f" of {of:,}"
        unit = "row" if self.orders is None else "order line"
        several = "" if (self.lines if of is None else of) == 1 else "s"
        more = [] if self.orders is None else [f"{self.orders:,} {'order' if self.orders == 1 else 'orders'}"]
        more += [] if self.money is None else [f"{self.money:,.2f}"]
        return f"{self.lines:,}{among} {unit}{several}" + (f" ({', '.join(more)})" if more else "")


def account_in_words(parts: Sequence[Part], notes: Mapping[str, str] | None = None) -> list[str]:
    """What the source holds, what of it is used, and each part that is left out, a sentence each.

    notes : reason -> what more to say of such lines, where they are said to be left out.
    """
    lines, used = sum(one.lines for one in parts), part(parts, USED)
    known = [one.money for one in parts if one.money is not None]
    money = f", {sum(known):,.2f}" if known else ""
    unit = "rows" if all(one.orders is None for one in parts) else "order lines"
    said = [f"the file: {lines:,} {unit}{money}; used: {used.told()}"]
    if used.below_zero and used.below_zero_money is not None and used.orders is not None:
        said.append(
            f"{used.below_zero:,} of {lines:,} {unit} ({used.below_zero_money:,.2f}) are used with an amount below "
            f"zero: they count as orders, and lower what a customer spent{(notes or {}).get('below zero', '')}"
        )
    said += [
        f"{one.told(lines)} {REASONS[one.reason]}{(notes or {}).get(one.reason, ': they are left out')}"
        for one in parts
        if one.reason != USED
    ]
    by_where = part(parts, WHERE)
    if by_where.below_zero and by_where.below_zero_money is not None and by_where.orders is not None:
        said.append(
            f"of what where leaves out, {by_where.below_zero:,} {unit} are below zero: "
            f"{-by_where.below_zero_money:,.2f} that were given back count as spent"
        )
    return said


def part(parts: Iterable[Part], reason: str) -> Part:
    """The part with this reason; an empty one where no line has it."""
    return next((one for one in parts if one.reason == reason), Part(reason, 0, None, 0, None))


# --- what the source holds --------------------------------------------------------------------------------------------


def parts_of_lines(
    connection: duckdb.DuckDBPyConnection, lines: OrderLines, window: tuple[date, date], month: date
) -> list[Part]:
    """The order lines by what the lines themselves tell. Customers are judged later: until then all who are known are
    used. Raises SourceError for a month without a line, which is a feed that is late.

    What is later than today depends on when this is asked; all else does not.
    """
    grouped = f"""
        SELECT reason, customer_id, order_id, count(*) AS lines, count(amount) AS readable, sum(amount) AS money,
            count(*) FILTER (amount < 0) AS below_zero, sum(amount) FILTER (amount < 0) AS below_zero_money,
            count(*) FILTER (ordered_at >= $month) AS of_month
        FROM (SELECT *, {_REASON_OF_LINE} AS reason FROM ({lines.sql()}))
        GROUP BY reason, customer_id, order_id
    """
    # an order is a customer's, also where nobody knows whose; who counts is a row, as count(DISTINCT) of everybody
    # beside other figures is one message of all their ids on a cluster
    found = connection.execute(
        f"""
        SELECT part, CAST(sum(lines) AS BIGINT), CAST(sum(orders) AS BIGINT), count(somebody), sum(money),
            CAST(sum(unreadable) AS BIGINT), CAST(sum(below_zero) AS BIGINT), sum(below_zero_money),
            CAST(sum(priced) AS BIGINT), CAST(sum(unpriced) AS BIGINT),
            count(somebody) FILTER (priced > 0), count(somebody) FILTER (unpriced > 0),
            CAST(sum(of_month) AS BIGINT)
        FROM (
            SELECT coalesce(reason, CASE WHEN somebody IS NULL THEN 'no customer' ELSE '{USED}' END) AS part, somebody,
                sum(lines) AS lines, count(*) AS orders, sum(money) AS money, sum(lines - readable) AS unreadable,
                sum(below_zero) AS below_zero, sum(below_zero_money) AS below_zero_money,
                count(*) FILTER (readable > 0) AS priced, count(*) FILTER (readable < lines) AS unpriced,
                coalesce(sum(of_month) FILTER (reason IS NULL), 0) AS of_month
            FROM (SELECT *, CASE WHEN {visible("customer_id")} THEN customer_id END AS somebody FROM ({grouped}))
            GROUP BY part, somebody
        )
        GROUP BY part
        """,
        {
            "start": window[0],
            "end": window[1],
            "month": month,
            "present": (datetime.now(UTC) + CLOCK_TOLERANCE).replace(tzinfo=None),
        },
    ).fetchall()
    parts, of_month = [], 0
    for reason, of, orders, customers, money, unreadable, below, below_money, *split, in_month in found:
        one = Part(reason, of, orders, customers, money, unreadable, below, below_money)
        if reason == USED:
            parts.append(Part("no readable amount", unreadable, split[1], split[3], None, unreadable, 0))
            one = Part(USED, of - unreadable, split[0], split[2], money, 0, below, below_money)
        parts.append(one)
        of_month += in_month
    if of_month == 0:
        raise _no_lines(connection, lines, month)
    former = lines.people.left_out()
    if former is not None:
        parts.append(_of_former(connection, replace(lines, people=former)))
    return _in_order(parts)


def _of_former(connection: duckdb.DuckDBPyConnection, lines: OrderLines) -> Part:
    grouped = f"""
        SELECT customer_id, order_id, count(*) AS lines, count(amount) AS readable, sum(amount) AS money,
            count(*) FILTER (amount < 0) AS below_zero, sum(amount) FILTER (amount < 0) AS below_zero_money
        FROM ({lines.sql()}) GROUP BY customer_id, order_id
    """
    found = connection.execute(f"""
        SELECT CAST(coalesce(sum(lines), 0) AS BIGINT), CAST(coalesce(sum(orders), 0) AS BIGINT), count(customer_id),
            sum(money), CAST(coalesce(sum(unreadable), 0) AS BIGINT), CAST(coalesce(sum(below_zero), 0) AS BIGINT),
            sum(below_zero_money)
        FROM (
            SELECT customer_id, sum(lines) AS lines, count(*) AS orders, sum(money) AS money,
                sum(lines - readable) AS unreadable, sum(below_zero) AS below_zero,
                sum(below_zero_money) AS below_zero_money
            FROM ({grouped}) GROUP BY customer_id
        )
    """).fetchone()
    assert found is not None  # noqa: S101 - for mypy: an aggregate has a row
    return Part(FORMER, *found)


_REASON_OF_LINE = f"""
    CASE
        WHEN {is_date("ordered_at")} AND ordered_at < $start THEN 'before the window'
        WHEN {is_date("ordered_at")} AND ordered_at >= $end AND ordered_at < $present THEN 'after the month'
        WHEN is_line IS NULL THEN 'undecided by where'
        WHEN NOT is_line THEN 'left out by where'
        WHEN NOT coalesce({is_date("ordered_at")}, false) THEN 'no readable date'
        WHEN ordered_at >= $end THEN 'later than today'
    END
"""
"""Why a line is none of the window's; NULL of those that are."""


def _no_lines(connection: duckdb.DuckDBPyConnection, lines: OrderLines, month: date) -> SourceError:
    """What to say of a month without a line of its own."""
    path, dated = lines.source.path, is_date("ordered_at")
    try:
        count, first, last = connection.execute(f"""
            SELECT count(*), CAST(CAST(min(ordered_at) FILTER ({dated}) AS DATE) AS VARCHAR),
                CAST(CAST(max(ordered_at) FILTER ({dated}) AS DATE) AS VARCHAR)
            FROM ({lines.sql()}) WHERE is_line
        """).fetchone() or (0, None, None)
    except duckdb.ConversionException:
        # DuckDB has its CSV reader make dates of which nothing else is asked, and that fails where a text is none
        return SourceError(
            f"{path} has no order line in {month_key(month)} with a date that can be read by source.orders.ordered_at. "
            "Write the dates as before, or fix that expression, then run again."
        )
    if count == 0:
        return SourceError(
            f"{path} holds no order lines (after source.orders.where). Deliver the data, then run the month again."
        )
    span = f"its lines go from {first} to {last}" if first is not None else "no line has a readable date"
    latest = None if last is None else date.fromisoformat(last).replace(day=1)
    return NoLinesError(
        f"{path} has no order line in {month_key(month)}: {span}. "
        f"Deliver that month's data, or set last_month in the configuration, then run again. Where nothing was "
        f"sold in it, set quality.empty_month: skip, and it is passed over.",
        latest if latest is not None and latest < month else None,
    )


def parts_of_rows(connection: duckdb.DuckDBPyConnection, config: Config, people: Delivered) -> list[Part]:
    """The rows of ready-made customers by what the rows themselves tell; the contract judges them later."""
    former = people.left_out()
    found = _rows_by_reason(connection, config, people)
    if former is not None:
        found += [(FORMER, *one[1:]) for one in _rows_by_reason(connection, config, former)]
    spent = config.monetary_feature is not None
    return _in_order(
        Part(reason, rows, None, customers, *of_money) if spent else Part(reason, rows, None, customers, None)
        for reason, rows, customers, *of_money in found
    )


def _rows_by_reason(connection: duckdb.DuckDBPyConnection, config: Config, people: Delivered) -> list[tuple[Any, ...]]:
    return connection.execute(f"""
        SELECT CASE WHEN NOT {visible("customer_id")} THEN 'no customer' WHEN copies > 1 THEN 'customer repeated'
                ELSE '{USED}' END AS reason,
            CAST(sum(copies) AS BIGINT), count(*) FILTER ({visible("customer_id")}), sum(money),
            CAST(sum(copies - with_money) AS BIGINT), CAST(sum(below_zero) AS BIGINT), sum(below_zero_money)
        FROM (
            SELECT customer_id, count(*) AS copies, sum(money) AS money, count(money) AS with_money,
                count(*) FILTER (money < 0) AS below_zero, sum(money) FILTER (money < 0) AS below_zero_money
            FROM (SELECT {people.customer_id} AS customer_id, {_money_of_rows(config)} AS money FROM {people.rows()})
            GROUP BY customer_id
        )
        GROUP BY reason
    """).fetchall()


def account_for_rows(connection: duckdb.DuckDBPyConnection, config: Config) -> None:
    """Fill the temporary table `source_accounts` from `source_customers`, as these are of ready-made rows."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE source_accounts AS
        SELECT customer_id, CAST(1 AS BIGINT) AS lines, CAST(NULL AS BIGINT) AS orders,
            {_money_of_rows(config)} AS money, CAST(money < 0 AS BIGINT) AS below_zero,
            CASE WHEN money < 0 THEN money END AS below_zero_money,
            CAST(NULL AS BIGINT) AS month_orders, CAST(NULL AS DECIMAL(38, 4)) AS month_money
        FROM source_customers WHERE {visible("customer_id")} AND copies = 1
    """)


def _money_of_rows(config: Config) -> str:
    """What a row of ready-made customers says was spent, as an exact decimal."""
    name = config.monetary_feature
    return f"TRY_CAST({'NULL' if name is None else identifier(name)} AS DECIMAL(18, 4))"


def _in_order(parts: Iterable[Part]) -> list[Part]:
    """Those that have a line, what is used first, and then as the reasons are asked."""
    order = [USED, *REASONS]
    return sorted((one for one in parts if one.lines), key=lambda one: order.index(one.reason))


# --- the account of a month -------------------------------------------------------------------------------------------


def write_parts(connection: duckdb.DuckDBPyConnection, month: date, parts: Sequence[Part]) -> None:
    """Replace the month of `source_parts`, and of `customer_lines` by `source_accounts`, which is dropped. Call it when
    the month's `raw_customers` are written."""
    write_rows(connection, SOURCE_PARTS, month, [asdict(one) for one in parts])
    lines = f"""
        SELECT {month_literal(month)} AS month, a.*, c.first_seen FROM source_accounts AS a
        LEFT JOIN {RAW_CUSTOMERS.name} AS c ON c.month = {month_literal(month)} AND c.customer_id = a.customer_id
    """
    replace_month(connection, CUSTOMER_LINES, month, lines)
    connection.execute("DROP TABLE source_accounts")


def count_as_former(connection: duckdb.DuckDBPyConnection, condition: str) -> None:
    """Move the lines of some customers from those that are used to those of former customers, in the parts of all
    months, so that a month whose customers are judged again still adds up. condition : which rows of `customer_lines`
    are theirs, as SQL. Call it before these go."""
    amounts = ("lines", "orders", "customers", "money", "without_amount", "below_zero", "below_zero_money")
    shifted = ", ".join(f"{name} = coalesce(p.{name} + n.{name}, p.{name}, n.{name})" for name in amounts)
    taken = ", ".join(f"-{name}" for name in amounts)
    connection.execute(f"""
        MERGE INTO {SOURCE_PARTS.name} AS p USING (
            WITH theirs AS (
                SELECT month, CAST(sum(lines) AS BIGINT) AS lines, CAST(sum(orders) AS BIGINT) AS orders,
                    count(*) AS customers, sum(money) AS money,
                    CAST(sum(lines) FILTER (money IS NULL) AS BIGINT) AS without_amount,
                    CAST(sum(below_zero) AS BIGINT) AS below_zero, sum(below_zero_money) AS below_zero_money
                FROM {CUSTOMER_LINES.name} WHERE {condition} GROUP BY month
            )
            SELECT '{FORMER}' AS reason, * FROM theirs UNION ALL SELECT '{USED}', month, {taken} FROM theirs
        ) AS n ON p.month = n.month AND p.reason = n.reason
        WHEN MATCHED THEN UPDATE SET {shifted}
        WHEN NOT MATCHED THEN INSERT (month, reason, {", ".join(amounts)})
            VALUES (n.month, n.reason, {", ".join(f"n.{name}" for name in amounts)})
    """)


def read_account(connection: duckdb.DuckDBPyConnection, month: date) -> list[Part]:
    """The month's account; empty in a file from before there was one."""
    if not is_there(connection, SOURCE_RECONCILIATION.name):
        return []
    found = connection.execute(
        "SELECT reason, lines, orders, customers, money, without_amount, below_zero, below_zero_money "
        f"FROM {SOURCE_RECONCILIATION.name} WHERE month = ? ORDER BY place",
        [month],
    ).fetchall()
    return [Part(*row) for row in found]


@dataclass(frozen=True)
class Difference:
    """By how much the parts of the account differ from the source; nothing, or the account is wrong."""

    lines: int
    money: Decimal


def write_reconciliation(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, accepted: str
) -> Difference:
    """Replace the month of `source_reconciliation`, now that it is known who is accepted: the relation of that name.

    Call it inside a transaction, and roll back where there is a difference.
    """
    of_month = f"month = {month_literal(month)}"
    spent = config.source.orders is not None or config.monetary_feature is not None
    places = ", ".join(f"({literal(reason)}, {place})" for place, reason in enumerate([USED, *REASONS]))
    replace_month(
        connection,
        SOURCE_RECONCILIATION,
        month,
        f"""
        WITH customers AS (
            SELECT CASE WHEN a.customer_id IS NULL THEN 'customer rejected' ELSE '{USED}' END AS reason, l.*
            FROM {CUSTOMER_LINES.name} AS l
            LEFT JOIN (SELECT customer_id FROM {accepted} WHERE {of_month}) AS a ON a.customer_id = l.customer_id
            WHERE l.{of_month}
        ),
        parts AS (
            SELECT reason, lines, orders, customers, money, without_amount, below_zero, below_zero_money
            FROM {SOURCE_PARTS.name}
            WHERE {of_month} AND reason <> '{USED}'
            UNION ALL
            SELECT reason, CAST(sum(lines) AS BIGINT), CAST(sum(orders) AS BIGINT), count(*), sum(money),
                {"CAST(coalesce(sum(lines) FILTER (money IS NULL), 0) AS BIGINT)" if spent else "NULL"},
                {"CAST(coalesce(sum(below_zero), 0) AS BIGINT)" if spent else "NULL"}, sum(below_zero_money)
            FROM customers GROUP BY reason
        )
        SELECT {month_literal(month)} AS month, places.place, reason, reason = '{USED}' AS is_used, lines, orders,
            customers, money, without_amount, below_zero, below_zero_money
        FROM parts JOIN (VALUES {places}) AS places (reason, place) USING (reason)
        ORDER BY place
        """,
    )
    lines, money = connection.execute(f"""
        SELECT coalesce(sum(lines), 0), coalesce(sum(money), 0) FROM (
            SELECT lines, money FROM {SOURCE_RECONCILIATION.name} WHERE {of_month}
            UNION ALL
            SELECT -lines, -money FROM {SOURCE_PARTS.name} WHERE {of_month}
        )
    """).fetchone() or (0, Decimal(0))
    return Difference(int(lines), money)
