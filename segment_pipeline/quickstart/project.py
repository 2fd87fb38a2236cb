"""`segment-pipeline init`: a folder in which `segment-pipeline run` and `dagster dev` work, month after month.

Here: which files a project has, and the few questions on a terminal. Not here: what is found in the user's data, which
is the same as for a quickstart (plan.py).
"""

import shutil
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from shlex import quote

import segment_pipeline
from segment_pipeline.config.order_features import FREQUENCY, ORDER_FEATURES, ORDER_VALUE, RECENCY
from segment_pipeline.database.store import in_memory
from segment_pipeline.errors import InputError
from segment_pipeline.months import add_months, month_key
from segment_pipeline.quickstart.csv_table import ORDER_LINES_FILE
from segment_pipeline.quickstart.folder import put_data, writing
from segment_pipeline.quickstart.messages import Say, plain_speech, print_plan, results_console
from segment_pipeline.quickstart.plan import USUAL_WINDOW, Plan, explore
from segment_pipeline.quickstart.request import Request, last_closed_month
from segment_pipeline.quickstart.starter_file import Starter, StarterFeature, starter_text

WORKSPACE = """\
# Found by `dagster dev` without flags.
load_from:
  - python_module:
      module_name: segment_pipeline.definitions
      working_directory: .
      location_name: segment_pipeline
"""

GITIGNORE = """\
data/*.duckdb
data/*.duckdb.wal
data/.*.lock
data/reports/
data/exports/
data/dagster_home/*
!data/dagster_home/dagster.yaml
"""

README = """\
# {name}

Who the customers are becoming, month after month, by `segment-pipeline`. `data/segmentation.yaml` says which customers,
seen through which features; every key is explained there.

    segment-pipeline check          read the configuration and say what is wrong with it
    segment-pipeline run            segment every month that is over and not yet published
    segment-pipeline ui             the same in the Dagster UI, on http://127.0.0.1:3000, with a schedule to switch on

{data}

Results: `data/segments.duckdb` for SQL, `data/reports/` for people. With `export DAGSTER_HOME=$PWD/data/dagster_home`,
`dagster dev` in this folder serves the same.
"""


def initialise(folder: Path, request: Request | None) -> int:
    """The whole command. request : about the file to start from; None for an example to be filled in."""
    console = results_console()
    asked = request is None and sys.stdin.isatty() and sys.stdout.isatty()
    _refuse_project(folder)
    if request is None and asked:
        request = _ask_for_file(folder)
    if request is None:
        starter = _example(folder)
        _write(folder, starter, "Put your order lines where `source` in that file looks for them, and fix its columns.")
        _say_next(
            plain_speech(console),
            folder,
            ["Fix data/segmentation.yaml: where your orders are, and what their columns are called."],
        )
        return 0
    with in_memory() as connection:
        plan = explore(connection, request, monthly=True)
        print_plan(plan, console)
        changed = _ask_for_features(request, plan) if asked else request
        if changed != request:
            plan = explore(connection, changed, monthly=True)
            print_plan(plan, console)
        starter = replace(plan.starter, first_month=_first_month(plan, request))
        _write(folder, starter, _about_data(plan, request))
        with writing(folder):
            put_data(connection, plan, folder / "data")
    _say_next(plain_speech(console), folder, [])
    return 0


def _first_month(plan: Plan, request: Request) -> date:
    """The first month whose window the order lines fill; of customers, the month that there is."""
    orders = plan.table.orders
    first = None if orders is None else plan.table.columns[orders.date].first
    if first is None:
        return plan.month
    window = request.window_months or USUAL_WINDOW
    return min(plan.month, add_months(first.replace(day=1), window - (first.day == 1)))


def _ask_for_file(folder: Path) -> Request | None:
    from rich.prompt import Prompt

    given = Prompt.ask(
        "A CSV of customers (one row each) or of order lines; nothing for an example", default="", show_default=False
    )
    return Request(Path(given).expanduser(), folder / "data") if given else None


def _ask_for_features(request: Request, plan: Plan) -> Request:
    from rich.prompt import Prompt

    proposed = ",".join(one.name for one in plan.proposal.features)
    given = Prompt.ask("Segment by", default=proposed)
    if given == proposed:
        return request
    return replace(request, features=[name.strip() for name in given.split(",") if name.strip()])


def _example(folder: Path) -> Starter:
    """Order lines, as most shops have them, under the names that most give their columns."""
    features = [ORDER_FEATURES[name] for name in (RECENCY, FREQUENCY, ORDER_VALUE)]
    return Starter(
        name=folder.resolve().name or "customers",
        first_month=last_closed_month(),
        last_month=None,
        source={
            "orders": {
                "path": "orders.csv",
                "customer_id": "customer_id",
                "order_id": "order_id",
                "ordered_at": "ordered_at",
                "amount": "amount",
            }
        },
        features=[
            StarterFeature(
                one.name,
                "EUR" if one.is_money else one.unit,
                one.meaning,
                one.transform,
                one.resolution,
                one.lowest,
                None,
            )
            for one in features
        ],
        heading=["An example to be filled in: where your order lines are, and what their columns are called."],
        month_note=(
            "first closed month to segment: three months after your first order, so that the first window is full"
        ),
        source_note=(
            "Each value but `path` is a column or a SQL expression over the row; the path is relative to this file."
        ),
    )


def _about_data(plan: Plan, request: Request) -> str:
    if plan.table.orders is not None and not plan.table.plain:
        return (
            f"It reads `data/{ORDER_LINES_FILE}`, in which the order lines of {request.file.name} were put as plain "
            "CSV, for the monthly reader does not take that file as it is. For a new month make it again from the new "
            "export: `segment-pipeline init OTHER_FOLDER --from NEW_EXPORT`, and copy its "
            f"`data/{ORDER_LINES_FILE}` over this one."
        )
    if plan.table.orders is not None:
        return (
            f"It reads the order lines in {request.file.name}: append to them, or deliver them again, before each run."
        )
    after = month_key(add_months(plan.month, 1))
    return (
        f"It reads one file of customers a month. {month_key(plan.month)} is there; for the next month put "
        f"`data/customers_{after}.csv` with the same columns beside it."
    )


def _refuse_project(folder: Path) -> None:
    for name in ("data/segmentation.yaml", "workspace.yaml", "README.md", ".gitignore"):
        if (folder / name).exists():
            raise InputError(
                f"{folder / name} is there already, and would be overwritten. Name another folder: "
                "segment-pipeline init "
                f"DIR"
            )


def _write(folder: Path, starter: Starter, about_data: str) -> None:
    """The project's files; the configuration last, for whoever sees it may run it."""
    home = folder / "data" / "dagster_home"
    with writing(folder):
        home.mkdir(parents=True, exist_ok=True)
        # the pools and limits without which two runs would write at once
        shutil.copyfile(
            Path(segment_pipeline.__file__).parent / "orchestration" / "dagster.yaml", home / "dagster.yaml"
        )
        (folder / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
        (folder / ".gitignore").write_text(GITIGNORE, encoding="utf-8")
        (folder / "README.md").write_text(README.format(name=starter.name, data=about_data), encoding="utf-8")
        (folder / "data" / "segmentation.yaml").write_text(starter_text(starter), encoding="utf-8")


def _say_next(say: Say, folder: Path, first: list[str]) -> None:
    say(f"A project is in {folder}: data/segmentation.yaml, workspace.yaml, README.md, .gitignore")
    for line in first:
        say(line)
    say("Next:")
    if folder.resolve() != Path.cwd().resolve():
        say(f"  cd {quote(str(folder))}")
    say("  segment-pipeline run     every month that is over and not yet published")
    say("  segment-pipeline ui      the same in the Dagster UI, with a schedule to switch on")
