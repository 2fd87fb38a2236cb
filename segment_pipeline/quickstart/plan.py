"""From a file that nobody has described to a plan: which month, which features, and the configuration that says so.

Here: what is found in the file, of customers or of order lines, and how it becomes a plan. Not here: how the file is
read (csv_table.py), which features are worth it (proposal.py), how the configuration is put (starter.py).
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.arrays import Array, Texts
from segment_pipeline.config.config import parse_config
from segment_pipeline.config.order_features import FREQUENCY, ORDER_FEATURES
from segment_pipeline.customers.worth import FeatureWorth
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import prepare
from segment_pipeline.errors import InputError, SourceError
from segment_pipeline.months import add_months, as_of, month_key, months_between
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.quickstart.csv_table import (
    ORDER_LINES_FILE,
    Table,
    customer_columns,
    customer_ids,
    feature_columns,
    lines_that_are_no_orders,
    numbers_of,
    order_expressions,
    put_order_lines,
    read_table,
    reference_day,
    refuse_currencies,
    texts_of,
)
from segment_pipeline.quickstart.proposal import Proposal, propose_features, without_hurdle, worth_of
from segment_pipeline.quickstart.request import (
    Request,
    last_closed_month,
    refuse_open_month,
    refuse_where_of_customers,
    why_no_mixture,
)
from segment_pipeline.quickstart.roles import Orders, one_order_each
from segment_pipeline.quickstart.starter import starter_of
from segment_pipeline.quickstart.starter_file import Starter, StarterFeature, starter_text
from segment_pipeline.sources.sources import load_raw_customers

LONGEST_WINDOW = 12
"""Months of order lines that a first look takes in at most."""

USUAL_WINDOW = 3
"""Months that a monthly pipeline looks back, where nothing else is said, as by default in `source.window_months`."""


@dataclass(frozen=True)
class Plan:
    """What is to be done: the file in words, the month, the features, and the configuration that says so. warnings :
    what in the file may not mean what it is taken for. worth : of each feature, where they can be compared. ids,
    values : (n,) the customers, and their numbers by name. obstacle : why no mixture is to be fitted to them; None
    where one may be."""

    table: Table
    proposal: Proposal
    month: date
    customers: int
    starter: Starter
    columns: Mapping[str, str]
    guesses: Sequence[str]
    warnings: Sequence[str] = ()
    worth: Sequence[FeatureWorth] = ()
    ids: Texts = field(default_factory=lambda: np.empty(0, dtype=np.str_))
    values: Mapping[str, Array] = field(default_factory=dict)
    obstacle: str | None = None


@dataclass(frozen=True)
class _Found:
    """What the file holds of its customers: ids and numbers, each (n,), and where the configuration is to find them.
    columns : SQL of each number over `raw_rows`; empty where the pipeline computes them from order lines."""

    month: date
    ids: Texts
    values: Mapping[str, Array]
    source: Mapping[str, object]
    guesses: Sequence[str]
    columns: Mapping[str, str] = field(default_factory=dict)
    resolutions: Mapping[str, float] = field(default_factory=dict)


def explore(connection: duckdb.DuckDBPyConnection, request: Request, *, monthly: bool = False) -> Plan:
    """Read the file and propose how to segment it. monthly : for a project that goes on, and not for one month. Raises
    InputError, and QuestionError where only the owner of the file knows."""
    table = read_table(connection, request.file, request.hints(), request.more)
    refuse_currencies(connection, table, request.where)
    if table.orders is None:
        found = _found_of_customers(connection, request, table)
    else:
        found = _found_of_orders(connection, request, table, table.orders, monthly=monthly)
    customers = len(next(iter(found.values.values())))
    proposal = propose_features(found.values, request.overrides(list(found.values), found.resolutions))
    if request.no_hurdle or request.hurdle is not None:
        proposal = without_hurdle(proposal)
    obstacle = why_no_mixture(request, customers, proposal)
    if obstacle is not None and monthly:
        raise InputError(obstacle)
    starter = starter_of(request, table, proposal, found.month, found.source, customers, monthly=monthly)
    warnings = lines_that_are_no_orders(connection, table, request.where)
    guesses = [*table.guesses, *found.guesses]
    worth = () if obstacle is not None else worth_of(proposal, found.values, request.seed)
    return Plan(
        table,
        proposal,
        found.month,
        customers,
        starter,
        found.columns,
        guesses,
        warnings,
        worth,
        found.ids,
        found.values,
        obstacle,
    )


# --- customers --------------------------------------------------------------------------------------------------------


def _found_of_customers(connection: duckdb.DuckDBPyConnection, request: Request, table: Table) -> _Found:
    refuse_where_of_customers(request)
    columns = feature_columns(table)
    if not columns:
        raise InputError(
            f"{request.file} has no column of numbers beside {table.customer_id}: there is nothing to tell customers "
            "apart by. Add features such as orders, spend or days since the last order; or, if numbers are written in "
            "a way that was not recognised, name the decimal mark: --decimal ,"
        )
    day = reference_day(table)
    month, said = _month_of_customers(request, None if day is None else day - timedelta(days=1))
    guesses = [said]
    if day is not None:
        guesses.append(f"dates became days before {day}, the day after the latest")
    source = {"snapshots": {"path": "customers_{month}.csv", "customer_id": "customer_id"}}
    ids, values = customer_ids(connection, table), customer_columns(connection, columns)
    return _Found(month, ids, values, source, guesses, columns)


def _month_of_customers(request: Request, latest: date | None) -> tuple[date, str]:
    closed = last_closed_month()
    if request.month is not None:
        refuse_open_month(request.month, closed)
        return request.month, f"month {month_key(request.month)}, as asked"
    if latest is None:
        return closed, f"month {month_key(closed)}, the last one that is over: the file has no dates  (--month)"
    month = min(latest.replace(day=1), closed)
    return month, f"month {month_key(month)}: the latest date in the file is {latest}  (--month)"


# --- order lines ------------------------------------------------------------------------------------------------------


def _found_of_orders(
    connection: duckdb.DuckDBPyConnection, request: Request, table: Table, orders: Orders, *, monthly: bool
) -> _Found:
    month, window, said = _month_of_orders(request, table, orders, monthly=monthly)
    guesses = [said]
    if request.where is not None:
        guesses.append(f"order lines count where  {request.where}  (--where)")
    ids, values = _features_of_orders(connection, request, table, month, window)
    source = {"window_months": window, "orders": _orders_source(request, table, request.out)}
    if not monthly:
        source["feed_ends_early"] = "warn"  # a first look is at what is there
    resolutions = {name: ORDER_FEATURES[name].resolution for name in values}
    return _Found(month, ids, values, source, guesses, resolutions=resolutions)


def _month_of_orders(request: Request, table: Table, orders: Orders, *, monthly: bool) -> tuple[date, int, str]:
    """The last month that the order lines cover to its end, and how many months to look back: in a first look all that
    there are; in a project the usual few, or no earlier month would be left to segment."""
    when = table.columns[orders.date]
    if when.first is None or when.last is None:
        raise InputError(
            f"{table.path}: {when.name} has no readable date. Say how they are written: --date-format '%d/%m/%Y'"
        )
    closed = last_closed_month()
    if request.month is not None:
        refuse_open_month(request.month, closed)
        month, why = request.month, "as asked"
    else:
        month = when.last.replace(day=1)
        if when.last < as_of(month) - timedelta(days=3) and months_between(when.first, month) > 0:
            month = add_months(month, -1)
        month, why = min(month, closed), "the last that the file covers to its end  (--month)"
    available = months_between(when.first.replace(day=1), month) + 1
    all_there_are = max(1, min(LONGEST_WINDOW, available))
    window = request.window_months or (USUAL_WINDOW if monthly else all_there_are)
    looked_back = f"orders of {window} {'month' if window == 1 else 'months'} before its end"
    if request.window_months is None and monthly and window != all_there_are:
        looked_back += (
            f", as every month of a project looks back, so that earlier months can be segmented too; quickstart, with "
            f"one month, looks back {all_there_are}, and may choose other features"
        )
    return month, window, f"month {month_key(month)}, {why}; {looked_back}  (--window-months)"


def _features_of_orders(
    connection: duckdb.DuckDBPyConnection, request: Request, table: Table, month: date, window: int
) -> tuple[Texts, dict[str, Array]]:
    """The customers, and the features that the monthly pipeline makes of these order lines, by its own code."""
    with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as name:
        folder = Path(name)
        put_order_lines(connection, table, folder)
        orders = _orders_source(request, table, folder)
        names = [name for name, one in ORDER_FEATURES.items() if not one.costly and not one.lacks(orders)]
        source = {"window_months": window, "orders": orders}
        drafted = [StarterFeature(name, "", "", "none", 0.01, None, None) for name in names]
        text = starter_text(Starter("draft", month, month, source, drafted))
        config = parse_config(text, folder / "segmentation.yaml")
        prepare(connection, TABLES, config.raw_feature_names)
        try:
            load_raw_customers(connection, config, month)
        except SourceError as error:
            if request.where is None:
                raise
            raise InputError(
                f"--where {request.where!r}: {str(error).replace(str(config.path), 'the configuration')}"
            ) from error
    chosen = ", ".join(identifier(name) for name in names)
    known = "FROM raw_customers WHERE trim(coalesce(customer_id, '')) <> '' ORDER BY customer_id"
    ids = texts_of(connection, f"SELECT customer_id {known}")
    values = numbers_of(connection, f"SELECT {chosen} {known}")
    if len(values[FREQUENCY]) and np.all(values[FREQUENCY] == 1):
        raise InputError(one_order_each(request.file))
    return ids, values


def _orders_source(request: Request, table: Table, folder: Path) -> dict[str, object]:
    """`source.orders` of a configuration in this folder."""
    path = os.path.relpath(request.file.absolute(), folder.absolute()) if table.plain else ORDER_LINES_FILE
    if table.plain and path.count("..") > 3:
        path = str(request.file.absolute())
    counted = {} if request.where is None else {"where": request.where}
    return {"path": path, **order_expressions(table), **counted}
