"""`segment-pipeline quickstart` and `init`: from a CSV that nobody has described to segments, or to a monthly project.

Here: the order of things, what is said of them, and what is left in the folder. Not here: reading (warehouse/
quickstart_source.py), what is proposed (segmentation/proposal.py), the text of the file (starter_file.py). The month
itself is the pipeline's ordinary first month: the same assets, checks and tables, so that nothing here can differ from
what a scheduled run would do with the file that quickstart leaves.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from segment_pipeline.config.config import Config, load_config, parse_config
from segment_pipeline.errors import InputError, PipelineError, SourceError
from segment_pipeline.months import add_months, as_of, month_key, months_between
from segment_pipeline.quickstart.starter_file import Starter, StarterFeature, scalar, starter_text
from segment_pipeline.words import figure, percent

if TYPE_CHECKING:
    import duckdb
    from rich.console import Console

    from segment_pipeline.arrays import Array
    from segment_pipeline.quickstart.csv_table import Table
    from segment_pipeline.quickstart.proposal import FeatureProposal, Proposal

Say = Callable[[str], None]
Given = TypeVar("Given")

FEWEST_CUSTOMERS = 100
"""Below this, a mixture of several features has more numbers than customers to learn them from."""

ENOUGH_CUSTOMERS = 500
"""What `quality.min_customers` asks of a monthly pipeline; with fewer, segments are a first impression."""

MOST_SEGMENTS = 8
"""As many as `model.max_segments` allows by default. More are never chosen, so a first look does not try them."""

FEW_SEGMENTS = 4
"""As many as are tried on less than ENOUGH_CUSTOMERS."""

LONGEST_WINDOW = 12
"""Months of order lines that a first look takes in at most."""

USUAL_WINDOW = 3
"""Months that a monthly pipeline looks back, where nothing else is said, as by default in `source.window_months`."""

_LEFT_BY_QUICKSTART = (
    "warehouse.duckdb",
    "warehouse.duckdb.wal",
    "segments.duckdb",
    "customers_with_probabilities.csv",
)
_FOLDERS_LEFT_BY_QUICKSTART = ("dagster_home", "reports")
_MARK = "# Made by segment-pipeline quickstart. Fingerprint of what follows: "

ORDER_MEANINGS = {
    "days_since_last_order": "How many days before the end of the month the customer last ordered.",
    "orders": "How many orders the customer placed in the window.",
    "total_spend": "How much the customer spent in the window.",
    "average_order_value": "How much the customer spends on an order, on average.",
    "products_per_order": "How many different products the customer puts into an order, on average.",
    "tenure_days": "How many days before the end of the month the customer first ordered.",
    "days_between_orders": "How many days pass between two orders, on average.",
}

_ORDER_RESOLUTIONS = {
    "days_since_last_order": 1.0,
    "orders": 1.0,
    "total_spend": 0.01,
    "average_order_value": 0.01,
    "products_per_order": 0.01,
    "tenure_days": 1.0,
    "days_between_orders": 0.01,
}
"""Of the features that are computed; an average has more decimals than its parts have steps."""

_ORDER_UNITS = {"orders": "orders", "products_per_order": "products", "distinct_products": "products"}


@dataclass(frozen=True)
class Request:
    """What the user asked for; None, or empty, is for quickstart to find out.

    where : SQL over an order line, which counts where it is true. segments : smallest and largest number to try.
    hurdle : "feature=value", or "none" for no segment by rule.
    """

    file: Path
    out: Path
    customer_id: str | None = None
    features: Sequence[str] | None = None
    ordered_at: str | None = None
    amount: str | None = None
    order_id: str | None = None
    product_id: str | None = None
    where: str | None = None
    month: date | None = None
    window_months: int | None = None
    transforms: Mapping[str, str] = field(default_factory=dict)
    resolutions: Mapping[str, float] = field(default_factory=dict)
    segments: tuple[int, int] | None = None
    hurdle: tuple[str, float] | None = None
    no_hurdle: bool = False
    separator: str | None = None
    decimal: str | None = None
    date_format: str | None = None
    seed: int = 42


@dataclass(frozen=True)
class Plan:
    """What is to be done: the file in words, the month, the features, and the configuration that says so. warnings :
    what in the file may not mean what it is taken for."""

    table: "Table"
    proposal: "Proposal"
    month: date
    customers: int
    starter: Starter
    columns: Mapping[str, str]
    guesses: Sequence[str]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """What a quickstart left: the configuration that it ran, and the customers with their probabilities."""

    config: Config
    month: date
    customers_file: Path
    report: Path | None


# --- what is in the file ----------------------------------------------------------------------------------------------


def explore(connection: "duckdb.DuckDBPyConnection", request: Request, *, monthly: bool = False) -> Plan:
    """Read the file and propose how to segment it. Raises InputError. monthly : for a project that goes on, and not for
    one month."""
    from segment_pipeline.quickstart.csv_table import (
        Hints,
        customer_columns,
        feature_columns,
        lines_that_are_no_orders,
        read_table,
        reference_day,
    )
    from segment_pipeline.quickstart.proposal import Overrides, propose_features, without_hurdle

    hints = Hints(
        request.customer_id,
        request.ordered_at,
        request.amount,
        request.order_id,
        request.product_id,
        request.separator,
        request.decimal,
        request.date_format,
    )
    table = read_table(connection, request.file, hints)
    guesses = list(table.guesses)
    columns: dict[str, str] = {}
    if table.orders is None:
        if request.where is not None:
            raise InputError(
                f"--where is for order lines, and {request.file} has one row per customer. Take rows out of the file "
                "itself; or, if these are order lines, name their columns: --date COLUMN --amount COLUMN."
            )
        columns = feature_columns(table)
        if not columns:
            raise InputError(
                f"{request.file} has no column of numbers beside {table.customer_id}: there is nothing to tell "
                "customers "
                "apart by. Add features such as orders, spend or days since the last order; or, if numbers are "
                "written "
                f"in a way that was not recognised, name the decimal mark: --decimal ,"
            )
        day = reference_day(table)
        month, said = _month_of_customers(request, None if day is None else day - timedelta(days=1))
        guesses.append(said)
        if day is not None:
            guesses.append(f"dates became days before {day}, the day after the latest")
        values = customer_columns(connection, columns)
    else:
        month, window, said = _month_of_orders(request, table, monthly=monthly)
        guesses.append(said)
        if request.where is not None:
            guesses.append(f"order lines count where  {request.where}  (--where)")
        values = _features_of_orders(connection, request, table, month, window)
    customers = len(next(iter(values.values())))
    _refuse_too_few(request, customers)
    resolutions = {**(_ORDER_RESOLUTIONS if table.orders is not None else {}), **_named_as(request.resolutions, values)}
    overrides = Overrides(_features_asked_for(request, values), _named_as(request.transforms, values), resolutions)
    _refuse_unknown(request, values)
    proposal = propose_features(values, overrides)
    if request.no_hurdle or request.hurdle is not None:
        proposal = without_hurdle(proposal)
    _refuse_too_few_features(request, table, proposal, values)
    source: dict[str, object]
    if table.orders is None:
        source = {"snapshots": {"path": "customers_{month}.csv", "customer_id": "customer_id"}}
    else:
        source = {"window_months": window, "orders": _orders_source(request, table)}
    starter = _starter(request, table, proposal, month, source, customers, monthly=monthly)
    warnings = lines_that_are_no_orders(connection, table, request.where)
    return Plan(table, proposal, month, customers, starter, columns, guesses, warnings)


def _refuse_too_few(request: Request, customers: int) -> None:
    if customers < FEWEST_CUSTOMERS:
        raise InputError(
            f"{request.file} has {customers:,} customers; at least {FEWEST_CUSTOMERS} are needed, and "
            f"{ENOUGH_CUSTOMERS} "
            "for segments to be trusted. With so few, groups are chance and gone a month later: take in more "
            "customers."
        )


def _features_asked_for(request: Request, values: Mapping[str, object]) -> list[str] | None:
    if request.features is None:
        return None
    by_name = {name.casefold(): name for name in values}
    return [by_name.get(name.casefold(), name) for name in request.features]


def _named_as(given: Mapping[str, Given], values: Mapping[str, object]) -> dict[str, Given]:
    """What was said of features, under their names in the file: upper and lower case count as the same."""
    by_name = {name.casefold(): name for name in values}
    return {by_name.get(name.casefold(), name): value for name, value in given.items()}


def _refuse_unknown(request: Request, values: Mapping[str, object]) -> None:
    known = {name.casefold() for name in values}
    for flag, names in (
        ("--features", request.features or ()),
        ("--transform", request.transforms),
        ("--resolution", request.resolutions),
        ("--hurdle", () if request.hurdle is None else (request.hurdle[0],)),
    ):
        unknown = [name for name in names if name.casefold() not in known]
        if unknown:
            raise InputError(f"{flag} {unknown[0]!r}: no such number of a customer. There are {', '.join(values)}.")


def _refuse_too_few_features(
    request: Request, table: "Table", proposal: "Proposal", values: Mapping[str, object]
) -> None:
    from segment_pipeline.quickstart.proposal import FEWEST_FEATURES

    if len(proposal.features) >= FEWEST_FEATURES:
        return
    reasons = "".join(f"\n  {left.name}: {left.reason}" for left in proposal.left_out)
    found = "one feature" if proposal.features else "no feature"
    raise InputError(
        f"{request.file} has {found} to segment by; at least {FEWEST_FEATURES} are needed. Left out:{reasons}\n"
        f"Add columns that tell customers apart; or insist on some of these with --features A,B."
    )


# --- which month ------------------------------------------------------------------------------------------------------


def last_closed_month() -> date:
    """A month that is not over cannot be segmented: which one that is, only the clock knows."""
    return add_months(datetime.now(UTC).date().replace(day=1), -1)


def _month_of_customers(request: Request, latest: date | None) -> tuple[date, str]:
    closed = last_closed_month()
    if request.month is not None:
        _refuse_open_month(request.month, closed)
        return request.month, f"month {month_key(request.month)}, as asked"
    if latest is None:
        return closed, f"month {month_key(closed)}, the last one that is over: the file has no dates  (--month)"
    month = min(latest.replace(day=1), closed)
    return month, f"month {month_key(month)}: the latest date in the file is {latest}  (--month)"


def _refuse_open_month(month: date, closed: date) -> None:
    if month > closed:
        raise InputError(f"--month {month_key(month)} is not over yet; the last month that is: {month_key(closed)}.")


def _month_of_orders(request: Request, table: "Table", *, monthly: bool) -> tuple[date, int, str]:
    """The last month that the order lines cover to its end, and how many months to look back: in a first look all that
    there are; in a project the usual few, or no earlier month would be left to segment."""
    assert_orders = table.orders
    if assert_orders is None:
        raise AssertionError("the rows are customers")
    when = table.columns[assert_orders.date]
    if when.first is None or when.last is None:
        raise InputError(
            f"{table.path}: {when.name} has no readable date. Say how they are written: --date-format '%d/%m/%Y'"
        )
    closed = last_closed_month()
    if request.month is not None:
        _refuse_open_month(request.month, closed)
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


# --- order lines ------------------------------------------------------------------------------------------------------


def _features_of_orders(
    connection: "duckdb.DuckDBPyConnection", request: Request, table: "Table", month: date, window: int
) -> "dict[str, Array]":
    """The features that the monthly pipeline makes of these order lines, by its own code."""
    import numpy as np

    from segment_pipeline.database.quoting import identifier
    from segment_pipeline.database.store import prepare
    from segment_pipeline.publishing.catalogue import TABLES
    from segment_pipeline.quickstart.csv_table import one_order_each
    from segment_pipeline.sources.sources import load_raw_customers

    names = list(ORDER_MEANINGS)  # all but the distinct products, which cost more than all the rest
    if table.orders is None or table.orders.product_id is None:
        names.remove("products_per_order")
    with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as folder:
        source = _orders_source(request, table, folder=Path(folder))
        _put_order_lines(connection, table, Path(folder))
        drafted = [StarterFeature(name, "", "", "none", 0.01, None, None) for name in names]
        text = starter_text(Starter("draft", month, month, {"window_months": window, "orders": source}, drafted))
        config = parse_config(text, Path(folder) / "segmentation.yaml")
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
    found = connection.execute(
        f"SELECT {chosen} FROM raw_customers WHERE trim(coalesce(customer_id, '')) <> '' ORDER BY customer_id"
    ).fetchnumpy()
    values = {name: np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan) for name, column in found.items()}
    if len(values["orders"]) and np.all(values["orders"] == 1):
        raise InputError(one_order_each(request.file))
    return values


def _orders_source(request: Request, table: "Table", folder: Path | None = None) -> dict[str, object]:
    from segment_pipeline.quickstart.csv_table import order_expressions

    folder = folder or request.out
    path = os.path.relpath(request.file.absolute(), folder.absolute()) if table.plain else "order_lines.csv"
    if table.plain and path.count("..") > 3:
        path = str(request.file.absolute())
    counted = {} if request.where is None else {"where": request.where}
    return {"path": path, **order_expressions(table), **counted}


def put_data(connection: "duckdb.DuckDBPyConnection", plan: Plan, folder: Path) -> None:
    """What the configuration of the plan reads, where that is not the user's file itself."""
    from segment_pipeline.quickstart.csv_table import write_snapshot

    if plan.table.orders is None:
        write_snapshot(connection, plan.table, plan.columns, folder / f"customers_{month_key(plan.month)}.csv")
    _put_order_lines(connection, plan.table, folder)


def _put_order_lines(connection: "duckdb.DuckDBPyConnection", table: "Table", folder: Path) -> None:
    """Beside the configuration, where the monthly reader does not take the file as it is."""
    from segment_pipeline.quickstart.csv_table import write_order_lines

    if table.orders is not None and not table.plain:
        write_order_lines(connection, folder / "order_lines.csv")


# --- the configuration ------------------------------------------------------------------------------------------------


def _starter(
    request: Request,
    table: "Table",
    proposal: "Proposal",
    month: date,
    source: dict[str, object],
    customers: int,
    *,
    monthly: bool,
) -> Starter:
    few = customers < ENOUGH_CUSTOMERS
    low, high = request.segments or (2, FEW_SEGMENTS if few else MOST_SEGMENTS)
    model = {"n_components": f"[{low}, {high}]", "max_segments": str(max(high, 2)), "seed": str(request.seed)}
    if monthly and request.segments is None:
        model = {"seed": str(request.seed)}
    hurdle = request.hurdle or proposal.hurdle
    if hurdle is not None:
        model["hurdle"] = f"{{feature: {scalar(hurdle[0])}, value: {scalar(float(hurdle[1]))}}}"
    settings: dict[str, dict[str, str]] = {"model": model}
    quality = {}
    if few:
        quality["min_customers"] = str(FEWEST_CUSTOMERS)
    if proposal.rejected > 0.05:
        quality["max_rejected_share"] = f"{min(1.0, proposal.rejected + 0.01):.2f}"
    if quality:
        settings["quality"] = quality
    roles = {"recency": proposal.recency, "frequency": proposal.frequency}
    if all(roles.values()):
        settings["roles"] = {key: scalar(name) for key, name in roles.items()}
    snapshots = table.orders is None
    after = month_key(add_months(month, 1))
    source_note = (
        f"One file a month, one row a customer; {{month}} becomes {month_key(month)} and so on. For the next month put "
        f"customers_{after}.csv with the same columns beside this file."
        if snapshots
        else "Each value but `path` is a column or a SQL expression over the row."
    )
    return Starter(
        name=_name_of(request.file),
        first_month=month,
        last_month=None if monthly and month >= last_closed_month() else month,
        source=source,
        features=[_starter_feature(one, table) for one in proposal.features],
        left_out=[
            (_starter_feature(left.proposal, table) if left.proposal is not None else left.name, left.reason)
            for left in proposal.left_out
        ],
        settings=settings,
        heading=[
            f"How the customers of {request.file.name} are segmented: what was found in the file, to be fixed "
            "where you "
            "know better. An unknown key, a wrong type or an impossible value is refused before anything runs, "
            "with its "
            "line, what was found and what is allowed."
        ],
        source_note=source_note,
    )


def _starter_feature(one: "FeatureProposal", table: "Table") -> StarterFeature:
    if table.orders is not None:
        meaning = ORDER_MEANINGS[one.name]
        unit = _ORDER_UNITS.get(one.name, "days" if "days" in one.name else table.columns[table.orders.amount].unit)
    else:
        column = table.columns.get(one.name)
        meaning = (
            f"The column {one.name}."
            if column is not None
            else f"Days before the day after the file's latest date ({one.name.replace('_', ' ')})."
        )
        unit = column.unit if column is not None and column.unit else _unit_by_name(one.name)
    return StarterFeature(one.name, unit, meaning, one.transform, one.resolution, one.low, one.high, one.why)


def _unit_by_name(name: str) -> str:
    if re.search(r"average|avg|mean|per_|_per|value|rate|share", name, re.IGNORECASE):
        return ""  # orders in average_order_value are not its unit
    for unit in ("days", "minutes", "hours", "seconds", "orders", "visits", "sessions"):
        if re.search(rf"(^|[^a-z]){unit[:-1]}s?($|[^a-z])", name, re.IGNORECASE):
            return unit
    return ""


def _name_of(file: Path) -> str:
    return re.sub(r"\W+", "_", file.stem).strip("_") or "customers"


# --- the folder -------------------------------------------------------------------------------------------------------


def refuse_foreign_folder(out: Path) -> None:
    """Raises InputError unless `out` is new, empty, or what a quickstart left and nobody has changed since."""
    try:
        if not out.exists() or not any(out.iterdir()):
            return
    except NotADirectoryError:
        raise InputError(f"{out} is a file. Name a folder with --out.") from None
    except OSError as error:
        raise InputError(f"{out} cannot be read: {error.strerror}. Name another folder with --out.") from error
    file = out / "segmentation.yaml"
    try:
        first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        first, rest = "", ""
    if not first.startswith(_MARK):
        raise InputError(f"{out} has files in it that quickstart did not make. Name another folder with --out.")
    if first != _MARK + _fingerprint(rest):
        raise InputError(
            f"{file} was changed since quickstart wrote it, and would be overwritten. To use it: segment-pipeline run "
            f"--config {file}. To start over, name another folder with --out."
        )


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _clear(out: Path) -> None:
    """Take away what an earlier quickstart left, so that this one starts from nothing."""
    for name in _LEFT_BY_QUICKSTART:
        (out / name).unlink(missing_ok=True)
    for name in _FOLDERS_LEFT_BY_QUICKSTART:
        shutil.rmtree(out / name, ignore_errors=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Whatever keeps us from writing there, in one sentence."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.IOException) as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(
            f"{out} cannot be written: {why}. Name with --out a folder in which you may create files."
        ) from error


# --- the run ----------------------------------------------------------------------------------------------------------


def run_quickstart(
    connection: "duckdb.DuckDBPyConnection", request: Request, plan: Plan, progress: Say, warn: Say
) -> Outcome:
    """Run the month of the plan and write everything into the folder. `progress` is told what is being done.

    Raises PipelineError where the month cannot be published.
    """
    body = starter_text(plan.starter)
    file = request.out / "segmentation.yaml"
    with writing(request.out):
        request.out.mkdir(parents=True, exist_ok=True)
        _clear(request.out)
        put_data(connection, plan, request.out)
        file.write_text(f"{_MARK}{_fingerprint(body)}\n{body}", encoding="utf-8")
    config = load_config(file)
    _run_month(config, plan.month, progress, warn)
    customers_file = request.out / "customers_with_probabilities.csv"
    with writing(request.out):
        write_customers(config.published_path, customers_file)
    report = config.output_dir / "reports" / f"{month_key(plan.month)}.html"
    return Outcome(config, plan.month, customers_file, report if report.exists() else None)


def _run_month(config: Config, month: date, progress: Say, warn: Say) -> None:
    from segment_pipeline import run_months
    from segment_pipeline.database.store import RunLock
    from segment_pipeline.orchestration.resources import run_lock_path

    # The run history belongs beside the result, and not into the instance of somebody's production.
    os.environ.pop("DAGSTER_HOME", None)
    run_months.enter(config)

    def listen(event: object) -> None:
        if isinstance(event, str):
            warn(event)
        elif getattr(event, "is_step_start", False):
            progress(str(getattr(event, "step_key", "")))

    with RunLock(run_lock_path(config), 60.0, "segment-pipeline quickstart", warn):
        for result in run_months.run_months(run_months.Work([month]), listen):
            if result.error is not None:
                raise PipelineError(_why_nothing(config, month) or f"{result.error}\n{_next_after_nothing(config)}")


def _why_nothing(config: Config, month: date) -> str | None:
    """Why no number of segments may serve: the commonest reasons, and every candidate on a line; None where it was
    something else that stopped the month."""
    import duckdb

    if not config.warehouse_path.exists():
        return None
    with duckdb.connect(str(config.warehouse_path), read_only=True) as connection:
        tried = connection.execute(
            "SELECT n_components, bic, stability, smallest_share, refusals "
            "FROM candidate_models JOIN candidate_parameters USING (month, n_components) "
            "WHERE month = ? ORDER BY n_components",
            [month],
        ).fetchall()
    if not tried or not all(refusals for *_, refusals in tried):
        return None
    why_not = [
        [words for begins, words in _REFUSALS.items() if any(one.startswith(begins) for one in refusals)]
        for *_, refusals in tried
    ]
    counted = Counter(words for reasons in why_not for words in reasons)
    commonest = ", ".join(f"{words} ({count})" for words, count in counted.most_common())
    lines = [
        f"{n:>8}  {bic:>12,.0f}  {stability:>9.2f}  {percent(smallest, 1):>8}  {', '.join(reasons)}"
        for (n, bic, stability, smallest, _), reasons in zip(tried, why_not, strict=True)
    ]
    table = "\n".join([f"{'segments':>8}  {'BIC':>12}  {'stability':>9}  {'smallest':>8}  why not", *lines])
    return (
        "No trustworthy segments were found, and nothing was published.\n"
        f"Why: of {len(tried)} numbers of segments tried, none may serve; {commonest}.\n\n"
        f"{table}\n\n{_next_after_nothing(config)}"
    )


_REFUSALS = {
    "independent searches disagree": "independent searches disagree",
    "its smallest segment": "the smallest segment is too small",
    "degenerate": "a segment is a single value or a handful of customers",
    "the fit did not converge": "the fit did not converge",
    "more than the": "more segments than a team can act on",
    "its figures": "its figures are not finite",
}
"""How the reason of a refusal (segmentation/selection.py) begins, and what to say of it where there are many."""


def _next_after_nothing(config: Config) -> str:
    return (
        "Next: other features (--features A,B,C), fewer segments (--segments 2..3), or more customers. The "
        f"configuration is in {os.path.relpath(config.path)}: change it, then  segment-pipeline run --config "
        f"{os.path.relpath(config.path)}"
    )


def write_customers(published: Path, file: Path) -> None:
    """Every customer of the published month with a probability per segment, as CSV."""
    from segment_pipeline.database.quoting import identifier, literal
    from segment_pipeline.publishing.publish import reading

    with reading(published) as connection:
        ids = [row[0] for row in connection.execute("SELECT segment_id FROM current_profiles ORDER BY 1").fetchall()]
        each = ", ".join(
            f"probabilities[list_position(segment_ids, {segment_id})] AS {identifier(f'probability_{segment_id}')}"
            for segment_id in ids
        )
        connection.execute(
            f"COPY (SELECT customer_id, segment_id, segment_name, max_probability, {each}, second_segment_id, "
            f"second_probability, tier, is_hybrid FROM current_assignments ORDER BY customer_id) "
            f"TO {literal(str(file))} (FORMAT csv, HEADER)"
        )


# --- what is said of it -----------------------------------------------------------------------------------------------


def quickstart(request: Request) -> int:
    """The whole command: read, propose, run, tell. Raises PipelineError."""
    import duckdb
    from rich.console import Console

    refuse_foreign_folder(request.out)
    # a pipe or a log has no width of its own, and 80 columns would break the table's names
    console = Console(width=None if sys.stdout.isatty() else 140)
    with duckdb.connect() as connection, _progress() as progress:
        progress(f"reading {request.file.name}")
        plan = explore(connection, request)
        print_plan(plan, console)
        outcome = run_quickstart(
            connection, request, plan, lambda step: progress(_IN_WORDS.get(step, step)), console.print
        )
    print_outcome(outcome, plan, console)
    return 0


_IN_WORDS = {
    "raw_customers": "reading the customers",
    "validated_features": "checking every customer",
    "scaled_matrix": "scaling the features",
    "candidate_models": "fitting segments",
    "selected_model": "choosing the number of segments",
    "monthly_assignments": "assigning every customer",
    "segment_report": "writing the report",
    "published_segments": "publishing",
}
"""What a step does, for somebody who does not know the assets; the others go by under their own names."""


@contextmanager
def _progress() -> Iterator[Say]:
    """Shows what is being done, on a terminal only; a log wants the results."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda text: progress.update(task, description=text)


def print_plan(plan: Plan, console: "Console") -> None:
    """What was found and decided, a line each, with the flag that overrules it."""

    def say(text: str = "") -> None:
        # names are data: brackets in them are not markup
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(str(plan.table.path))
    for guess in plan.guesses:
        say(f"  {guess}")
    say()
    say("Segmented by  (--features A,B,C, --transform A=log1p, --resolution A=1)")
    widest = max(len(one.name) for one in plan.proposal.features)
    for one in plan.proposal.features:
        say(f"  {one.name:<{widest}}  {one.transform}, in steps of {scalar(one.resolution)}  ({one.why})")
    if plan.proposal.left_out:
        say("Left out  (--features takes one in)")
        for left in plan.proposal.left_out:
            say(f"  {left.name}: {left.reason}")
    remarks = _remarks(plan)
    if remarks:
        say("To know")
        for remark in remarks:
            say(f"  {remark}")
    say()


def _remarks(plan: Plan) -> list[str]:
    found = list(plan.proposal.remarks)
    if plan.proposal.hurdle is not None:
        found[0] += "  (--hurdle none)"
    found += plan.warnings
    found += [
        f"{column.name}: {column.unreadable:,} values are not readable, such as "
        f"{', '.join(map(repr, column.samples))}; "
        f"these customers are rejected where the column is used"
        for column in plan.table.columns.values()
        if column.unreadable and column.samples
    ]
    if plan.proposal.rejected > 0:
        found.append(
            f"{percent(plan.proposal.rejected, 1)} of the customers lack a number and are rejected, with the reason"
        )
    if plan.table.repeated_rows:
        found.append(f"{plan.table.repeated_rows:,} rows repeat a customer; all rows of these customers are rejected")
    if plan.customers < ENOUGH_CUSTOMERS:
        found.append(
            f"{plan.customers:,} customers are few: take these segments for a first impression, from "
            f"{ENOUGH_CUSTOMERS} "
            f"on they can be trusted"
        )
    return found


def print_outcome(outcome: Outcome, plan: Plan, console: "Console") -> None:
    """The segments, where the files are, and what to do next."""
    from rich.table import Table as Grid

    features = [one.name for one in plan.proposal.features]
    lines, rejected = segment_lines(outcome.config.published_path, features)
    grid = Grid(box=None, pad_edge=False)
    for name in ("id", "segment"):
        grid.add_column(name)
    for name in ("customers", "share", *features):
        grid.add_column(_escaped(name.replace("_", " ")), justify="right")
    for line in lines:
        means = ("" if mean is None else figure(mean) for mean in line.means)
        grid.add_row(str(line.segment_id), _escaped(line.name), f"{line.customers:,}", percent(line.share, 1), *means)
    console.print(grid)

    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if rejected:
        say(f"{rejected:,} customers were rejected; each with its reason in the table rejected_customers.")
    fit = suitability(outcome.config.published_path)
    if fit is not None:
        say()
        say(f"Suitability    {fit[0].replace('_', ' ')}: {fit[1]}")
    say()
    file = outcome.config.path
    shown = os.path.relpath(file)
    if outcome.report is not None:
        say(f"Report         {os.path.relpath(outcome.report)}")
    say(f"Customers      {os.path.relpath(outcome.customers_file)}   (a probability per segment)")
    say(f"SQL            {os.path.relpath(outcome.config.published_path)}   (DuckDB)")
    say(f"Configuration  {shown}   (all of the above, to be changed)")
    say()
    say(f"Next: change the features in {shown}, then  segment-pipeline run --config {shown} --force")
    say(f"      see the run                           segment-pipeline ui --config {shown}")
    say(
        "      every month from now on               segment-pipeline init my_project --from "
        f"{os.path.relpath(plan.table.path)}"
    )


@dataclass(frozen=True)
class SegmentLine:
    """A segment in the closing table; means are of the features, in original units."""

    segment_id: int
    name: str
    customers: int
    share: float
    means: tuple[float | None, ...]


def segment_lines(published: Path, features: Sequence[str]) -> tuple[list[SegmentLine], int]:
    """The segments of the published month, the largest first, and how many customers were rejected."""
    from segment_pipeline.publishing.publish import reading

    with reading(published) as connection:
        found = connection.execute(
            "SELECT segment_id, name, customers, share FROM current_profiles ORDER BY share DESC, segment_id"
        ).fetchall()
        figures = connection.execute(
            "SELECT segment_id, feature, mean FROM segment_feature_profiles "
            "WHERE month = (SELECT max(month) FROM segment_profiles)"
        ).fetchall()
        rejected = connection.execute("SELECT count(*) FROM rejected_customers").fetchone()
    means = {(segment_id, feature): mean for segment_id, feature, mean in figures}
    lines = [
        SegmentLine(segment_id, name, customers, share, tuple(means.get((segment_id, feature)) for feature in features))
        for segment_id, name, customers, share in found
    ]
    return lines, int(rejected[0]) if rejected else 0


def suitability(published: Path) -> tuple[str, str] | None:
    """Whether a mixture is right for the published month: verdict and reason; None where that was not judged."""
    from segment_pipeline.publishing.publish import reading

    with reading(published) as connection:
        found = connection.execute("SELECT verdict, reason FROM suitability ORDER BY month DESC LIMIT 1").fetchone()
    return None if found is None else (found[0], found[1])


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
