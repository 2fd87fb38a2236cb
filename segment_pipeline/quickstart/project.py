"""`segment-pipeline init`: a folder in which `segment-pipeline run` and `dagster dev` work, month after month.

Here: which files a project has, and the few questions on a terminal. Not here: what is found in the user's data, which
is the same as for a quickstart (plan.py).
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from glob import has_magic
from pathlib import Path
from shlex import quote
from textwrap import fill

import duckdb

import segment_pipeline
from segment_pipeline.column_names import hints_of
from segment_pipeline.config.config import parse_config
from segment_pipeline.config.order_features import FREQUENCY, ORDER_FEATURES, ORDER_VALUE, RECENCY
from segment_pipeline.config.starter_file import Starter, StarterFeature, starter_text
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import scratch
from segment_pipeline.errors import InputError
from segment_pipeline.months import add_months, month_key, month_range
from segment_pipeline.quickstart.columns import WHEN
from segment_pipeline.quickstart.folder import CONFIGURATION, writing
from segment_pipeline.quickstart.messages import Say, plain_speech, print_plan, results_console
from segment_pipeline.quickstart.plan import USUAL_WINDOW, Plan, copies_of, explore, path_from, put_customers
from segment_pipeline.quickstart.request import Request, last_closed_month
from segment_pipeline.quickstart.scores import customer_name
from segment_pipeline.sources.events import months_of_events, open_feeds
from segment_pipeline.sources.files import describe, open_files
from segment_pipeline.sources.order_lines import first_month_with
from segment_pipeline.sources.products import open_products
from segment_pipeline.words import readable

WORKSPACE = """\
# Found by `dagster dev` without flags.
load_from:
  - python_module:
      module_name: segment_pipeline.definitions
      working_directory: .
      location_name: segment_pipeline
"""

# Everything beside the configuration may hold customers: the files that a run writes, and those that it reads.
GITIGNORE = """\
data/*
!data/*.yaml
!data/dagster_home/
data/dagster_home/*
!data/dagster_home/dagster.yaml
"""

README = """\
# {name}

Who the customers are becoming, month after month, by `segment-pipeline`. `data/segmentation.yaml` says which customers,
seen through which features; every key is explained there.

    segment-pipeline check          read the configuration and say what is wrong with it
    segment-pipeline features       measure what could be a feature: what separates, lasts, and adds to what comes
    segment-pipeline run            segment every month that is over and not yet published
    segment-pipeline ui             the same in the Dagster UI, on http://127.0.0.1:3000, with a schedule to switch on

{data}

Results: `data/segments.duckdb` for SQL, `data/reports/` for people. With `export DAGSTER_HOME=$PWD/data/dagster_home`,
`dagster dev` in this folder serves the same.
"""


_CATEGORY = ("category", "department", "group", "class", "family", "section", "type", "kategorie", "warengruppe")
"""What columns of categories are called, the likeliest first."""


@dataclass(frozen=True)
class Beside:
    """Files beside the order lines. products : what gives products their categories; category : its column of these,
    None to be found. events : the feeds, by what they are called."""

    products: Path | None = None
    category: str | None = None
    events: Sequence[tuple[str, Path]] = ()

    @property
    def flags(self) -> list[str]:
        """Those that were given."""
        said = {"--products": self.products, "--category": self.category, "--events": self.events}
        return [flag for flag, value in said.items() if value]


def initialise(folder: Path, request: Request | None, beside: Beside = Beside()) -> int:
    """The whole command. request : about the file to start from; None for an example to be filled in."""
    console = results_console()
    asked = request is None and sys.stdin.isatty() and sys.stdout.isatty()
    _refuse_project(folder)
    if request is None and asked:
        request = _ask_for_file(folder)
    if request is None and beside.flags:
        raise InputError(f"{beside.flags[0]} is for a file of order lines; name it: --from FILE")
    if request is None:
        starter = _example(folder)
        _write(folder, starter, "Put your order lines where `source` in that file looks for them, and fix its columns.")
        _say_next(
            plain_speech(console),
            folder,
            ["Fix data/segmentation.yaml: where your orders are, and what their columns are called."],
        )
        return 0
    with scratch(request.memory_limit) as connection:
        plan = explore(connection, request, monthly=True)
        print_plan(plan, console)
        changed = _ask_for_features(request, plan) if asked else request
        if changed != request:
            plan = explore(connection, changed, monthly=True)
            print_plan(plan, console)
        starter = replace(plan.starter, first_month=_first_month(connection, plan, changed))
        if beside.flags:
            starter, found = _with_files_beside(connection, replace(plan, starter=starter), changed, beside)
            for one in found:
                plain_speech(console)(one)
        _write(folder, starter, _about_data(plan, changed))
        with writing(folder):
            put_customers(plan, changed, folder / "data")
    _say_next(plain_speech(console), folder, [])
    return 0


def _with_files_beside(
    connection: duckdb.DuckDBPyConnection, plan: Plan, request: Request, beside: Beside
) -> tuple[Starter, list[str]]:
    """The starter with the files that lie beside the order lines, and what was found in them, a sentence each. Raises
    InputError where a column that is needed cannot be found, and SourceError where a file cannot be read."""
    orders = plan.table.orders
    if orders is None:
        raise InputError(f"{beside.flags[0]} is for order lines, and {request.file} has one row per customer.")
    if beside.products is None and beside.category is not None:
        raise InputError("--category is the column of a file of products; name that: --products FILE")
    source, said = dict(plan.starter.source), []
    if beside.products is not None:
        if orders.product_id is None:
            raise InputError(f"--products: no column of {request.file} is the product. Name it: --product-id COLUMN")
        keys, found = _products_in(connection, beside.products, beside.category, orders.product_id)
        source["products"] = {"path": path_from(request.out, beside.products)} | keys
        said.append(found)
    feeds, features = [], list(plan.starter.features)
    for name, file in beside.events:
        feed, found = _events_in(connection, name, file, plan.table.customer_id)
        feeds.append({"feed": name, "path": path_from(request.out, file)} | feed)
        features += _portraits_of(name)
        said.append(found)
    if feeds:
        source["events"] = feeds
    starter = replace(plan.starter, source=source, features=features)
    return replace(starter, first_month=_first_of_all(connection, starter, plan, request)), said


def _first_of_all(connection: duckdb.DuckDBPyConnection, starter: Starter, plan: Plan, request: Request) -> date:
    """The first month that the files beside can be read for as well: one without a single event of a feed, or before
    its window is full, is not run. Raises ConfigError and SourceError where they cannot be read at all."""
    config = parse_config(starter_text(starter), request.out / CONFIGURATION)
    if config.source.products is not None:
        open_products(connection, config, config.source.products)
    covered = months_of_events(connection, open_feeds(connection, config), config)
    if covered is None:
        return starter.first_month
    return min((month for month in covered if month >= starter.first_month), default=plan.month)


def _products_in(
    connection: duckdb.DuckDBPyConnection, file: Path, given: str | None, product_of_lines: str
) -> tuple[dict[str, object], str]:
    """The keys that say which columns of a file of products are what, and a sentence on it. given : the category."""
    columns = _columns_of(connection, file)
    product = _column_called(columns, product_of_lines, lambda name: "product" in hints_of(name))
    if product is None:
        raise _unclear(f"--products {file}: which column is the product", columns, "Call it as the order lines do")
    words = _CATEGORY if given is None else (given,)
    called = (name for word in words for name in columns if name != product and word.lower() in name.lower())
    category = next((name for name in columns if name == given), None) or next(called, None)
    if category is None:
        raise _unclear(f"--products {file}: which column is the category", columns, "Name it: --category COLUMN")
    keys: dict[str, object] = {"product_id": identifier(product), "category": identifier(category)}
    return keys, f"  the products of {file} by {product}: their category is {category}  (--category)"


def _events_in(
    connection: duckdb.DuckDBPyConnection, feed: str, file: Path, customer_of_lines: str
) -> tuple[dict[str, object], str]:
    """The same of a file of events."""
    columns = _columns_of(connection, file)
    customer = _column_called(columns, customer_of_lines, lambda name: customer_name(name)[0] >= 1)
    if customer is None:
        raise _unclear(
            f"--events {feed}={file}: which column is the customer", columns, "Call it as the order lines do"
        )
    typed = [name for name, kind in columns.items() if kind.startswith(("DATE", "TIMESTAMP"))]
    called = [name for name, kind in columns.items() if kind == "VARCHAR" and WHEN.search(name)]
    if not typed and not called:
        raise _unclear(f"--events {feed}={file}: which column is the date", columns, "Write it as 2024-12-31 18:30:00")
    moment = [*typed, *called][0]
    keys: dict[str, object] = {
        "customer_id": identifier(customer),
        "occurred_at": identifier(moment),
    }
    return keys, f"  the {feed} of {file}: the customer is {customer}, the date {moment}; two portraits tell of them"


def _columns_of(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, str]:
    """The columns of a file, with their types."""
    return dict(describe(connection, open_files(connection, str(file.absolute()), key="the flag").sql))


def _column_called(columns: Mapping[str, str], same: str, fits: Callable[[str], bool]) -> str | None:
    """The column that is called as that of the order lines is, or the only one whose name fits, or of these the only
    one that is an id; None where none is."""
    named = next((name for name in columns if name.casefold() == same.casefold()), None)
    fitting = [name for name in columns if fits(name)]
    ids = [name for name in fitting if "id" in hints_of(name)]
    return named or (fitting[0] if len(fitting) == 1 else ids[0] if len(ids) == 1 else None)


def _unclear(what: str, columns: Mapping[str, str], how: str) -> InputError:
    return InputError(
        f"{what} is not clear; there are {', '.join(columns)}. {how}; or leave the flag out, and write the keys into "
        "the configuration as docs/how-to/features.md shows."
    )


def _portraits_of(feed: str) -> list[StarterFeature]:
    """What every feed can say of a customer; they describe segments, and the mixture is not fitted to them."""
    said = {
        feed: ("count", feed, f"How many {readable(feed)} the customer had in the window."),
        f"days_since_{feed}": (
            "days_since_last",
            "days",
            f"How many days before the end of the month the last of its {readable(feed)} was.",
        ),
    }
    return [
        StarterFeature(
            name,
            unit,
            meaning,
            "none",
            1.0,
            0.0,
            None,
            more={"use": "portrait", "of_events": {"feed": feed, "value": way}},
        )
        for name, (way, unit, meaning) in said.items()
    ]


def _first_month(connection: duckdb.DuckDBPyConnection, plan: Plan, request: Request) -> date:
    """The first month whose window the order lines fill, and in which there are enough customers; of customers, the
    month that there is."""
    orders = plan.table.orders
    first = None if orders is None else plan.table.columns[orders.date].first
    if first is None:
        return plan.month
    window = request.window_months or USUAL_WINDOW
    months = month_range(min(plan.month, add_months(first.replace(day=1), window - (first.day == 1))), plan.month)
    config = parse_config(starter_text(plan.starter), request.out / CONFIGURATION)
    enough = config.quality.min_customers / (1 - min(plan.proposal.rejected, 0.9))
    return first_month_with(connection, config, months, enough) or plan.month


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
    after = month_key(add_months(plan.month, 1))
    if plan.table.orders is None:
        copies = [copy.replace("{month}", after) for copy in copies_of(request)[1].values()]
        return (
            f"It reads one export of customers a month, as it comes. {month_key(plan.month)} is there, a copy, for the "
            f"next export may have the same name: put that into `data/` as `{'` and `'.join(copies)}`"
            + ("." if plan.starter.last_month is None else ", and take `last_month` out of `data/segmentation.yaml`.")
        )
    said = plan.starter.source["orders"]
    paths = said["path"] if isinstance(said, Mapping) else ""
    if isinstance(paths, list):
        return (
            f"It reads the exports of order lines `{'`, `'.join(paths)}`, as they come: deliver them "
            "again before each run, or add the next one to `path` in `data/segmentation.yaml` (paths start there)."
        )
    if has_magic(str(paths)) and not request.file.exists():
        return (
            f"It reads all exports of order lines that `{paths}` stands for (from `data/`), as they come: before each "
            "run put the next one beside them."
        )
    return (
        f"It reads the export of order lines in `{paths}` (from `data/`), as it comes: before each run append to it, "
        "or deliver it again under the same name. For a file of each month, make a pattern of `path` in "
        "`data/segmentation.yaml`, such as `orders_*.csv`."
    )


def _refuse_project(folder: Path) -> None:
    if folder.is_file():
        raise InputError(
            f"{folder} is a file, and a project is a folder. To make one that reads it: "
            f"segment-pipeline init DIR --from {folder}"
        )
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
        (folder / "README.md").write_text(
            README.format(name=starter.name, data=fill(about_data, 120)), encoding="utf-8"
        )
        (folder / "data" / "segmentation.yaml").write_text(starter_text(starter), encoding="utf-8")


def _say_next(say: Say, folder: Path, first: list[str]) -> None:
    say(f"A project is in {folder}: data/segmentation.yaml, workspace.yaml, README.md, .gitignore")
    for line in first:
        say(line)
    say("Next:")
    if folder.resolve() != Path.cwd().resolve():
        say(f"  cd {quote(str(folder))}")
    say("  segment-pipeline features  which of the features last from window to window, and what each adds")
    say("  segment-pipeline run     every month that is over and not yet published")
    say("  segment-pipeline ui      the same in the Dagster UI, with a schedule to switch on")
