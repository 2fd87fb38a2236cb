"""`segment-pipeline quickstart`: from a file that nobody has described to segments, in the order in which it happens;
and `inspect`, which stops after reading it.

Here: the order of things. Not here: what is found in the file (plan.py), what is said of it (messages.py), what is left
in the folder (folder.py). The month itself is the pipeline's ordinary first month: the same assets, checks and tables,
so that nothing here can differ from what a scheduled run would do with the file that quickstart leaves.
"""

import os
import sys
from dataclasses import replace
from datetime import date
from glob import glob
from itertools import chain

import numpy as np
from rich.console import Console

from segment_pipeline import helper
from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.customers.expectations import HELPERS_IMPORTS
from segment_pipeline.customers.simplest import simplest_segments
from segment_pipeline.database.store import RunLock, scratch
from segment_pipeline.errors import NothingFoundError, PipelineError, QuestionError, SearchesDisagreeError
from segment_pipeline.mixture.candidates import STABILITY_SEARCHES
from segment_pipeline.months import month_key
from segment_pipeline.publishing.catalogue import RESERVED_NAMES
from segment_pipeline.quickstart.csv_table import read_table
from segment_pipeline.quickstart.folder import (
    CUSTOMERS,
    SIMPLEST,
    refuse_foreign_folder,
    start_over,
    write_customers,
    write_simplest,
    writing,
)
from segment_pipeline.quickstart.lines.no_sales import lines_that_count
from segment_pipeline.quickstart.messages import (
    IN_WORDS,
    Outcome,
    Say,
    next_after_nothing,
    print_once_more,
    print_outcome,
    print_plan,
    print_simplest,
    print_table,
    progress_line,
    results_console,
    why_nothing,
)
from segment_pipeline.quickstart.plan import Plan, account_of_lines, explore
from segment_pipeline.quickstart.proposal import features_to_cut
from segment_pipeline.quickstart.request import Request

HELPED_BYTES = 200_000_000
"""Of larger files memory is what matters, of which a helper takes a quarter of a gigabyte, and not a few seconds."""


def quickstart(request: Request) -> int:
    """The whole command: read, propose, run, tell. Where no mixture is to be trusted, the simplest segmentation is
    delivered under its own name. Raises PipelineError."""
    refuse_foreign_folder(request.out)
    to_import = "great_expectations" not in sys.modules
    with helper.at_hand(HELPERS_IMPORTS, wanted=to_import and _bytes(request) <= HELPED_BYTES):
        return _quickstart(request)


def _quickstart(request: Request) -> int:
    console = results_console()
    with progress_line() as progress:
        progress(f"reading {request.file.name}")
        plan = _planned(request)
        print_plan(plan, console)

        def tell(step: str) -> None:
            progress(IN_WORDS.get(step, step))

        found = _tried(request, plan, tell, console.print)
        if isinstance(found, SearchesDisagreeError):
            progress("looking for a feature with which searches disagree")
            steadier = _planned(request, searches=STABILITY_SEARCHES)
            if steadier.obstacle is None and steadier.proposal != plan.proposal:
                plan = steadier
                print_once_more(found, plan, console)
                found = _tried(request, plan, tell, console.print)
        if isinstance(found, NothingFoundError):
            return _simplest(request, plan if plan.obstacle is not None else _explored(request), found, console)
    print_outcome(found, plan, request, console)
    return 0


def _bytes(request: Request) -> int:
    """The size of the files, 0 of those that are not there."""
    files = chain.from_iterable(glob(str(path)) or [str(path)] for path in (request.file, *request.more))
    return sum(os.path.getsize(file) for file in files if os.path.exists(file))


def _planned(request: Request, searches: int = 1) -> Plan:
    """What is to be done, without the customers where a mixture is to be fitted: a month of many needs the memory, and
    where it comes to nothing they are read again."""
    plan = _explored(request, searches)
    return plan if plan.obstacle is not None else replace(plan, ids=np.empty(0, dtype=np.str_), values={})


def _explored(request: Request, searches: int = 1) -> Plan:
    with scratch(request.memory_limit) as connection:
        return explore(connection, request, searches=searches)


def _tried(request: Request, plan: Plan, progress: Say, warn: Say) -> "Outcome | NothingFoundError":
    """The month of the plan, or why no mixture is to be trusted. Raises PipelineError."""
    if plan.obstacle is not None:
        return NothingFoundError(plan.obstacle)
    try:
        return run_quickstart(request, plan, progress, warn)
    except NothingFoundError as error:
        return error


def _simplest(request: Request, plan: Plan, why: NothingFoundError, console: Console) -> int:
    """Groups by rule in the place of a mixture. Raises `why` where there is nothing to cut by."""
    start_over(plan, request)
    plan = replace(plan, values=_of_known_customers(plan))
    found = simplest_segments(plan.values, features_to_cut(plan.proposal))
    if found is None:
        raise why
    with writing(request.out):
        write_simplest(plan, found, request.out / SIMPLEST)
    print_simplest(plan, found, str(why), request.out / SIMPLEST, console)
    return 0


def _of_known_customers(plan: Plan) -> dict[str, Array]:
    """The customers' numbers, none for who has no id or shares it with another row: a mixture's month rejects them."""
    _, inverse, counts = np.unique(plan.ids, return_inverse=True, return_counts=True)
    unknown = (plan.ids == "") | (counts[inverse] > 1)
    return {name: np.where(unknown, np.nan, values) for name, values in plan.values.items()}


def inspect(request: Request) -> int:
    """What each column would be taken for, and why; nothing is fitted or written. Raises PipelineError."""
    with scratch(request.memory_limit) as connection:
        table = read_table(connection, request.file, request.hints(), request.more)
        try:
            counting = lines_that_count(connection, table, request.where)
        except QuestionError:
            print_table(table, [], results_console())  # without sums of what is not to be added up
            raise
        account = account_of_lines(connection, replace(request, where=counting.where), table)
        print_table(table, [*counting.decided, *account, *counting.warnings], results_console())
    return 0


def run_quickstart(request: Request, plan: Plan, progress: Say, warn: Say) -> Outcome:
    """Run the month of the plan and write everything into the folder. `progress` is told what is being done.

    Raises PipelineError where the month cannot be published.
    """
    config = load_config(start_over(plan, request), RESERVED_NAMES)
    _run_month(config, plan.month, progress, warn)
    customers_file = request.out / CUSTOMERS
    with writing(request.out):
        write_customers(config.published_path, customers_file)
    report = config.output_dir / "reports" / f"{month_key(plan.month)}.html"
    return Outcome(config, plan.month, customers_file, report if report.exists() else None)


def _run_month(config: Config, month: date, progress: Say, warn: Say) -> None:
    from segment_pipeline import run_months
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
                raise why_nothing(config, month) or PipelineError(f"{result.error}\n{next_after_nothing(config)}")
