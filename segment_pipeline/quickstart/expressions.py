"""A file as the monthly runs read it: what `init` writes under `source`, expressions over the columns as they come.

Here: each role and feature of a table that was found out, as SQL for every later export. Not here: how they were found
out (csv_table.py), and the file that they are written into (starter.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

import duckdb

from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.quickstart.columns import Column, dates_sql, without_point
from segment_pipeline.quickstart.csv_table import Table, days_before, features_of, is_date
from segment_pipeline.quickstart.roles import Orders
from segment_pipeline.sources.expressions import NO_DATES, mentions
from segment_pipeline.sources.text.dates import instant_sql
from segment_pipeline.sources.text.numbers import number_sql


def snapshot_columns(table: Table, names: Sequence[str], day: date | None) -> dict[str, str]:
    """source.snapshots.columns: who it is, and those of these features that are not a column as it stands. What is no
    number stays as it is, so that the data contract rejects it by its own words. day : that days are counted back
    from; None for the end of the month, whichever it is."""
    who = _customer_expression(table)
    made = {"customer_id": f"trim({_text(table, who)})" if who == table.customer_id else who}
    counted_from = "as_of" if day is None else f"DATE {literal(str(day))}"
    for name, one in features_of(table).items():
        if name not in names or (one.kind == "number" and one.plain and name == one.name):
            continue
        if is_date(one):
            made[name] = days_before(_moment_in_file(table, one), counted_from)
        elif one.plain:
            made[name] = identifier(one.name)
        else:
            made[name] = f"coalesce(CAST({_number_in_file(table, one.name)} AS VARCHAR), {_text(table, one.name)})"
    return made


def _moment_in_file(table: Table, column: Column) -> str:
    """A date of the file as a timestamp, local where that was said; NULL where it stands for none."""
    if table.encoding == "Parquet" and column.with_offset:
        moment = f"timezone({literal(table.time_zone or 'UTC')}, {identifier(column.name)})"
    else:
        moment = dates_sql(_text(table, column.name), column)
    if not (column.sentinels or column.future):
        return moment
    return f"CASE WHEN {moment} >= DATE '{NO_DATES[0]}' AND {moment} < DATE '{NO_DATES[1]}' THEN {moment} END"


def order_expressions(table: Table, made: Collection[str] = ()) -> dict[str, str]:
    """The keys of source.orders for order lines, each as plain as the file allows. made : columns that are numbers or
    dates already."""
    orders = table.orders
    if orders is None:
        raise AssertionError("the rows are customers")
    parts = [part for part in (orders.quantity, orders.amount) if part is not None]
    amount = " * ".join(identifier(part) if part in made else _amount_in_file(table, part) for part in parts)
    when = table.columns[orders.date]
    # a moment of a Parquet file is one in any zone; its text would be that of the machine's
    as_it_is = when.name in made or (table.typed and when.with_offset)
    found = {
        "customer_id": _customer_expression(table),
        "order_id": _order_expression(table, orders),
        "ordered_at": when.name if as_it_is else _dates_in_file(table, when),
        "amount": amount,
    }
    return found | ({"product_id": orders.product_id} if orders.product_id is not None else {})


def columns_for_where(connection: duckdb.DuckDBPyConnection, table: Table, where: str | None) -> dict[str, str]:
    """source.orders.columns that make numbers and dates of the columns which the user's condition names, where it is
    none over text; no ids, which stay as they are written."""
    orders = table.orders
    if where is None or orders is None or table.typed or _binds(connection, where):
        return {}
    ids = (table.customer_id, orders.order_id, orders.product_id)
    made = {}
    for name, column in table.columns.items():
        if name in ids or not mentions(where, as_named(name)):
            continue
        if column.kind == "number":
            made[name] = _amount_in_file(table, name) if name in table.made else _number_in_file(table, name)
        elif column.kind == "date":
            made[name] = dates_sql(_text(table, name), column)
    return made


def _binds(connection: duckdb.DuckDBPyConnection, where: str) -> bool:
    try:
        connection.execute(f"DESCRIBE SELECT 1 FROM raw_rows WHERE ({where}\n)")
    except duckdb.Error:
        return False
    return True


def _dates_in_file(table: Table, when: Column) -> str:
    """A column of dates in one form or two; moments in one form stay the ones that they are in any zone."""
    text = _text(table, when.name)
    return dates_sql(text, when) if when.other_formats else instant_sql(text, when.date_format)


def _amount_in_file(table: Table, name: str) -> str:
    """As `_number_in_file`; an order whose amount is not given adds nothing, and a text that is no number is for the
    data contract."""
    if name in table.made:
        return table.made[name].sql(_amount_in_file(table, part) for part in table.made[name].columns)
    number = _number_in_file(table, name)
    if name not in table.blanks:
        return number
    blanks = ", ".join(map(literal, table.blanks[name]))
    return f"CASE WHEN coalesce(lower(trim({_text(table, name)})), '') IN ({blanks}) THEN 0 ELSE {number} END"


def _number_in_file(table: Table, name: str) -> str:
    """A column of the file as a double, NULL for what is no number; in short where all are plain, for people read it,
    and else by what has read them here."""
    column, text = table.columns[name], _text(table, name)
    if column.plain:
        return f"TRY_CAST({identifier(name)} AS DOUBLE)"
    if column.simple:
        return f"TRY_CAST(replace({text}, ',', '.') AS DOUBLE)"
    return number_sql(text, table.decimal)


def _id_expression(table: Table, name: str) -> str:
    """A column of ids; without the .0 that a spreadsheet or a program puts behind whole numbers with gaps, and without
    blanks or ="..." around it."""
    column = table.columns[name]
    if column.pointed_ids:
        return without_point(_bare_text(table, name))
    return _bare_text(table, name) if column.padded or column.dressed else name


def _bare_text(table: Table, name: str) -> str:
    """The text of a column of the file without what is around it: blanks, of which DuckDB's trim knows one only, and
    what keeps spreadsheets from taking it for a number."""
    column, text, blank = table.columns[name], _text(table, name), r"[\s\x{A0}\x{202F}\x{FEFF}]+"
    bare = f"regexp_replace({text}, '^{blank}|{blank}$', '', 'g')" if column.padded else f"trim({text})"
    return f"regexp_replace({bare}, {literal(f'^{column.dressed}$')}, '\\1')" if column.dressed else bare


def _customer_expression(table: Table) -> str:
    """Who it is; NULL for the texts that stand for nobody, and one for the ways in which an address is written."""
    name = table.customer_id
    if not (table.nobody or table.folded):
        return _id_expression(table, name)
    value = _bare_text(table, name)
    pointed = table.columns[name].pointed_ids
    who = f"lower({value})" if table.folded else _id_expression(table, name) if pointed else value
    if not table.nobody:
        return who
    nobody = ", ".join(literal(text) for text in table.nobody)
    return f"CASE WHEN lower({value}) NOT IN ({nobody}) THEN {who} END"


def _order_expression(table: Table, orders: Orders) -> str:
    """What tells orders apart: their number, with the customer where it begins again with each; else, and of the lines
    that have none, this month or another, the moment."""
    customer = _customer_expression(replace(table, nobody=()))  # whose an order is, is said elsewhere
    customer = _text(table, customer) if customer == table.customer_id else customer
    moment = table.joined.get(orders.date, identifier(orders.date))
    by_moment = f"concat({customer}, ' ', {moment})"
    if orders.order_id is None:
        return by_moment
    number = _id_expression(table, orders.order_id)
    number = f"trim({_text(table, number)})" if number == orders.order_id else number
    for text in table.no_order:
        number = f"nullif({number}, {literal(text)})"
    if orders.per_customer:
        return f"concat({customer}, ' ', coalesce({number}, CAST({moment} AS VARCHAR)))"
    return f"coalesce({number}, {by_moment})"


def _text(table: Table, name: str) -> str:
    """A column of the file as text."""
    if name in table.joined:
        return table.joined[name]
    return f"CAST({identifier(name)} AS VARCHAR)" if table.typed else identifier(name)
