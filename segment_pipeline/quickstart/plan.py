"""From a file that nobody has described to a plan: which month, which features, and the configuration that says so.

Here: what is found in the file, of customers or of order lines, and how it becomes a plan. Not here: how the file is
read (csv_table.py), which features are worth it (proposal.py), how the configuration is put (starter.py).
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.arrays import Array, Texts
from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.config.order_features import FREQUENCY, MONETARY, ORDER_FEATURES
from segment_pipeline.config.starter_file import Starter, StarterFeature, starter_text
from segment_pipeline.customers.worth import FeatureWorth
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import prepare
from segment_pipeline.errors import InputError, SourceError
from segment_pipeline.months import add_months, as_of, month_key, months_between
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.quickstart.csv_table import (
    Table,
    customer_columns,
    customer_ids,
    feature_columns,
    features_of,
    numbers_of,
    read_table,
    reference_day,
    texts_of,
)
from segment_pipeline.quickstart.expressions import columns_for_where, order_expressions, snapshot_columns
from segment_pipeline.quickstart.lines.counting import Lines
from segment_pipeline.quickstart.lines.no_sales import lines_that_count, notes_on_lines, repeated_lines
from segment_pipeline.quickstart.lines.states import known_values
from segment_pipeline.quickstart.proposal import (
    Proposal,
    propose_features,
    without_hurdle,
    without_what_spoils,
    worth_of,
)
from segment_pipeline.quickstart.request import (
    Request,
    last_closed_month,
    refuse_open_month,
    refuse_where_of_customers,
    why_no_mixture,
)
from segment_pipeline.quickstart.roles import Orders, one_order_each
from segment_pipeline.quickstart.starter import starter_of
from segment_pipeline.quickstart.text import files_of, shown
from segment_pipeline.sources.order_lines import open_order_lines, window_of
from segment_pipeline.sources.reconciliation import Part, account_in_words, parts_of_lines
from segment_pipeline.sources.sources import load_raw_customers

LONGEST_WINDOW = 12
"""Months of order lines that a first look takes in at most."""

USUAL_WINDOW = 3
"""Months that a monthly pipeline looks back, where nothing else is said, as by default in `source.window_months`."""

_MONTH_NAME = re.compile(
    r"(20)?\d\d[-/._ ]?(0?[1-9]|1[0-2])|(0?[1-9]|1[0-2])[-/._ ](20)?\d\d"
    r"|(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])\w{0,6}\.?([-/_ ]?(20)?\d\d)?",
    re.IGNORECASE,
)
_A_PIVOT = 6
"""Columns called like months from which on a table is one of sums by month."""


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


def explore(
    connection: duckdb.DuckDBPyConnection, request: Request, *, monthly: bool = False, searches: int = 1
) -> Plan:
    """Read the file and propose how to segment it. monthly : for a project that goes on, and not for one month.
    searches : with more than one, a feature with which independent ones disagree is left out. Raises InputError, and
    QuestionError where only the owner of the file knows."""
    table = read_table(connection, request.file, request.hints(), request.more)
    # before the customers: what is asked of all lines takes what memory there may be
    counting = lines_that_count(connection, table, request.where)
    request = replace(request, where=counting.where)
    if table.orders is None:
        found = _found_of_customers(connection, request, table, monthly=monthly)
    else:
        found = _found_of_orders(connection, request, table, table.orders, monthly=monthly)
    customers = len(next(iter(found.values.values())))
    proposal = propose_features(found.values, request.overrides(list(found.values), found.resolutions))
    if request.no_hurdle or request.hurdle is not None:
        proposal = without_hurdle(proposal)
    if request.features is None:
        proposal = without_what_spoils(proposal, found.values, request.seed, request.hurdle, request.segments, searches)
    once = table.orders is not None and customers > 0 and bool(np.all(found.values[FREQUENCY] == 1))
    obstacle = one_order_each(request.file) if once else why_no_mixture(request, customers, proposal)
    if obstacle is not None and monthly:
        raise InputError(obstacle)
    starter = starter_of(request, table, proposal, found.month, found.source, customers, monthly=monthly)
    guesses = [*table.guesses, *counting.decided, *found.guesses]
    worth = () if obstacle is not None else worth_of(proposal, found.values, request.seed)
    return Plan(
        table,
        proposal,
        found.month,
        customers,
        starter,
        found.columns,
        guesses,
        counting.warnings,
        worth,
        found.ids,
        found.values,
        obstacle,
    )


# --- customers --------------------------------------------------------------------------------------------------------


def _found_of_customers(
    connection: duckdb.DuckDBPyConnection, request: Request, table: Table, *, monthly: bool
) -> _Found:
    refuse_where_of_customers(request)
    latest = reference_day(table)
    month, said = _month_of_customers(request, None if latest is None else latest - timedelta(days=1))
    day = as_of(month) if monthly and latest is not None else latest
    columns = feature_columns(table, day)
    if not columns:
        raise InputError(
            f"{request.file} has no column of numbers beside {table.customer_id}: there is nothing to tell customers "
            "apart by. Add features such as orders, spend or days since the last order."
        )
    guesses = [said]
    of_numbers = {name: one for name, one in features_of(table).items() if one.kind == "number"}
    renamed = [f"{shown(one.name)} -> {shown(name)}" for name, one in of_numbers.items() if name != one.name]
    if renamed:
        guesses.append(f"renamed: {', '.join(renamed)}")
    months = [one.name for one in table.numbers() if _MONTH_NAME.fullmatch(one.name.strip())]
    if len(months) >= _A_PIVOT:
        guesses.append(
            f"{shown(months[0])} to {shown(months[-1])}: {len(months)} columns, one for each month; each is taken for "
            "a number of its own, and empty for unknown. Who came when is told by a file of the orders, one line each, "
            "with their dates"
        )
    if day is not None:
        guesses.append(f"dates became days before {day}, the day after {'the month' if monthly else 'the latest'}")
    made = snapshot_columns(table, list(columns), None if monthly else day)
    snapshots = {"path": copies_of(request)[0], **_form_keys(table), "customer_id": "customer_id", "columns": made}
    ids, values = customer_ids(connection, table), customer_columns(connection, columns)
    return _Found(month, ids, values, {**_zone_key(table), "snapshots": snapshots}, guesses, columns)


def copies_of(request: Request) -> tuple[str, dict[Path, str]]:
    """The path of a source of customers, with the place of the month, and which copy of which file it means: a file of
    customers is of one month, and the next export under the same name would take its place."""
    files = [Path(file) for given in (request.file, *request.more) for file in files_of(given)]
    packed = re.search(r"(\.\w+)?(\.gz|\.zst)$", files[0].name)
    ending = packed.group() if packed else files[0].suffix
    if len(files) == 1:
        return f"customers_{{month}}{ending}", {files[0]: f"customers_{{month}}{ending}"}
    return f"customers_{{month}}_*{ending}", {
        file: f"customers_{{month}}_{place}{ending}" for place, file in enumerate(files, 1)
    }


def put_customers(plan: "Plan", request: Request, folder: Path) -> None:
    """What the configuration reads of customers: the files as they are, under the name of their month."""
    if plan.table.orders is None:
        for file, copy in copies_of(request)[1].items():
            shutil.copyfile(file, folder / copy.replace("{month}", month_key(plan.month)))


def _form_keys(table: Table) -> dict[str, object]:
    """The keys of a source that say how its files are read."""
    form = table.form
    keys = {"as_text": True if form.as_text else None, "separator": form.separator}
    keys["repeats"] = "once" if form.once and table.orders is not None else None
    return {key: value for key, value in keys.items() if value is not None}


def _zone_key(table: Table) -> dict[str, object]:
    return {} if table.time_zone is None else {"time_zone": table.time_zone}


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
    ids, values, parts = _features_of_orders(connection, request, table, month, window)
    guesses += _account(connection, request, table, orders, parts)
    below = values[MONETARY][values[MONETARY] < 0]
    if len(below):
        guesses.append(f"{len(below):,} customers got more back than they paid, {below.sum():,.2f} in all")
    orders_source = _orders_source(connection, request, table)
    source = {"window_months": window, **_zone_key(table), "orders": orders_source}
    if monthly:
        known = known_values(Lines(connection, table, orders))
        orders_source |= {"known_values": known} if known else {}
    else:
        source["feed_ends_early"] = "warn"  # a first look is at what is there
    resolutions = {name: ORDER_FEATURES[name].resolution for name in values}
    return _Found(month, ids, values, source, guesses, resolutions=resolutions)


def _month_of_orders(request: Request, table: Table, orders: Orders, *, monthly: bool) -> tuple[date, int, str]:
    """The last month that the order lines cover to its end, and how many months to look back: in a first look all that
    there are; in a project the usual few, or no earlier month would be left to segment."""
    when = table.columns[orders.date]
    if when.first is None or when.last is None:
        raise InputError(
            f"{table.path}: {when.name} has no readable date, but such as {when.example!r}. Say how they are written: "
            "--date-format FORMAT, which is %d/%m/%Y for 31/12/2024"
        )
    closed = last_closed_month()
    if request.month is not None:
        refuse_open_month(request.month, closed)
        month, why = request.month, "as asked"
    else:
        covered = when.covered or when.last
        month = covered.replace(day=1)
        if covered < as_of(month) - timedelta(days=3) and months_between(when.first, month) > 0:
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
) -> tuple[Texts, dict[str, Array], Sequence[Part]]:
    """The customers, the features that the monthly pipeline makes of these order lines, by its own code, and what
    became of the lines."""
    with _drafted(connection, request, table, month, window) as config:
        prepare(connection, TABLES, config.raw_feature_names)
        counts = load_raw_customers(connection, config, month)
        names = config.feature_names
    chosen = ", ".join(identifier(name) for name in names)
    known = "FROM raw_customers WHERE trim(coalesce(customer_id, '')) <> '' ORDER BY customer_id"
    ids = texts_of(connection, f"SELECT customer_id {known}")
    values = numbers_of(connection, f"SELECT {chosen} {known}")
    return ids, values, counts.parts


def account_of_lines(connection: duckdb.DuckDBPyConnection, request: Request, table: Table) -> list[str]:
    """What a first look would make of the lines of the file, a sentence each; nothing of a file of customers. Raises
    InputError."""
    if table.orders is None:
        return []
    month, window, _ = _month_of_orders(request, table, table.orders, monthly=False)
    with _drafted(connection, request, table, month, window) as config, chdir(config.path.parent):
        lines = open_order_lines(connection, config)
        parts = parts_of_lines(connection, lines, window_of(config, month), month)
    return _account(connection, request, table, table.orders, parts)


def _account(
    connection: duckdb.DuckDBPyConnection, request: Request, table: Table, orders: Orders, parts: Sequence[Part]
) -> list[str]:
    """What became of the lines of the file, those included that were taken out before the pipeline saw them."""
    repeated = [repeated_lines(connection, table, orders)] if table.form.once else []
    return account_in_words([*parts, *(one for one in repeated if one.lines)], notes_on_lines(table))


@contextmanager
def _drafted(
    connection: duckdb.DuckDBPyConnection, request: Request, table: Table, month: date, window: int
) -> Iterator[Config]:
    """A configuration that reads the order lines of the file, with all features that they give at once. Raises
    InputError where what the user lets count is to blame."""
    with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as name:
        folder = Path(name)
        orders = {**_orders_source(connection, request, table), "path": _paths(request, folder)}
        names = [name for name, one in ORDER_FEATURES.items() if not one.costly and not one.lacks(orders)]
        source = {"window_months": window, **_zone_key(table), "orders": orders}
        drafted = [StarterFeature(name, "", "", "none", 0.01, None, None) for name in names]
        text = starter_text(Starter("draft", month, month, source, drafted))
        config = parse_config(text, folder / "segmentation.yaml")
        try:
            yield config
        except SourceError as error:
            if request.where is None:
                raise
            raise InputError(
                f"--where {request.where!r}: {str(error).replace(str(config.path), 'the configuration')}"
            ) from error


def _orders_source(connection: duckdb.DuckDBPyConnection, request: Request, table: Table) -> dict[str, object]:
    """`source.orders` of the configuration: the files as they lie there, and what is made of their columns."""
    made = columns_for_where(connection, table, request.where)
    columns = {"columns": made} if made else {}
    counted = {} if request.where is None else {"where": request.where}
    path = _paths(request, request.out)
    return {"path": path, **_form_keys(table), **columns, **order_expressions(table, made), **counted}


def _paths(request: Request, folder: Path) -> str | list[str]:
    """The user's files as a configuration in this folder names them."""
    found = [path_from(folder, file) for file in (request.file, *request.more)]
    return found[0] if len(found) == 1 else found


def path_from(folder: Path, file: Path) -> str:
    """The file as a configuration in this folder names it."""
    path = os.path.relpath(file.absolute(), folder.absolute())
    return str(file.absolute()) if path.count("..") > 3 else path
