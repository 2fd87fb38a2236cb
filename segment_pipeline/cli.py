"""`segment-pipeline`: a thin face over the functions that Dagster runs as well."""

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from segment_pipeline import __version__
from segment_pipeline.config.campaigns import load_campaigns, read_campaigns
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.errors import ConfigError, PipelineError
from segment_pipeline.months import add_months, month_key, month_range, parse_month

if TYPE_CHECKING:
    import dagster as dg
    from rich.console import Console

    from segment_pipeline.quickstart import Request
    from segment_pipeline.run_months import Work

EXIT_FAILED, EXIT_USAGE = 1, 2

USUAL_CONFIG, CONFIG_HERE = Path("data/segmentation.yaml"), Path("segmentation.yaml")
"""Where a project has the user's file, and where a quickstart leaves it."""

SQL_DIALECTS = ("duckdb", "postgres", "snowflake", "bigquery")
"""Those of warehouse.score_sql, which is not imported to show a help page."""

EPILOG = """\
begin with one of:
  segment-pipeline quickstart customers.csv          one CSV, segments within a minute, nothing to set up
  segment-pipeline init my_shop --from orders.csv    a project for every month, from your own data
  segment-pipeline run                               segment what is due, in a folder with data/segmentation.yaml

`segment-pipeline COMMAND --help` has examples and exit codes. Every key of the configuration is explained in the file
itself; tutorial and how-to pages are in docs/.
"""

RUN_EPILOG = """\
examples:
  segment-pipeline run                              every month that is closed and not yet published
  segment-pipeline run --months 2017-05..2017-08    only these, where they are not yet published
  segment-pipeline run --months 2017-05 --force     one month again; if it comes out different, the later
                                                    months that were made from it are named
  segment-pipeline run --quiet                      for cron: nothing is printed unless something is wrong

exit code:
  0 every month asked for is published, 1 one is not, 2 nothing was tried

A run that was stopped or killed takes nothing away: run the same command again to go on.
"""

UI_EPILOG = """\
examples:
  segment-pipeline ui                                    http://127.0.0.1:3000, on data/segmentation.yaml
  segment-pipeline ui --config shop.yaml --port 3001     another configuration, beside it

Switch on the schedule and the sensors under Automation. End it with Ctrl-C: no published month is lost.
"""

CHECK_EPILOG = """\
examples:
  segment-pipeline check                        data/segmentation.yaml
  segment-pipeline check --config shop.yaml     another one

exit code:
  0 a run would accept it, 2 it would not: each line on standard error says where, what was found and what is allowed
"""

EXPORT_EPILOG = """\
examples:
  segment-pipeline export                             everybody of the latest month
  segment-pipeline export --month 2017-12 --delta     what changed from 2017-11 to 2017-12
  segment-pipeline export --format csv --out crm/in   only CSV, into this folder

exit code:
  0 the files are in place, 1 they are not and the folder is as it was, 2 nothing was tried
"""


SCORE_SQL_EPILOG = """\
examples:
  segment-pipeline score-sql --dialect postgres --table shop.customers --out score.sql
  segment-pipeline score-sql --dialect duckdb       print it; `score` in segments.duckdb does the same

The file is one query, with a comment on top that names the columns it expects and what becomes of values that the
pipeline would have rejected. Write it again when the champion was replaced.

exit code:
  0 the query is written, 1 it is not, 2 nothing was tried
"""


REPORT_EPILOG = """\
examples:
  segment-pipeline report                      the latest published month
  segment-pipeline report --month 2017-11      an older month, as it stands in the published file

exit code:
  0 the report is in place, 1 it is not, 2 nothing was tried
"""


QUICKSTART_EPILOG = """\
examples:
  segment-pipeline quickstart customers.csv                                 find out all by itself
  segment-pipeline quickstart customers.csv --features visits,spend,tenure  segment by these
  segment-pipeline quickstart orders.csv --date bought_on --amount total    order lines, with these columns
  segment-pipeline quickstart kunden.csv --sep ';' --decimal ,              written like this

what it leaves in DIR:
  reports/MONTH.html                  the report
  customers_with_probabilities.csv    every customer, with a probability per segment
  segments.duckdb                     the same and all else, for SQL
  segmentation.yaml                   the configuration, to be changed and run again

exit code:
  0 all is there, 1 no trustworthy segments were found, 2 the file or a flag cannot be used
"""


INIT_EPILOG = """\
examples:
  segment-pipeline init my_shop --from orders.csv       order lines: read where they are, every month
  segment-pipeline init my_shop --from customers.csv    customers: one file a month, the first is made from this one
  segment-pipeline init my_shop                         an example to be filled in

exit code:
  0 the project is there, 2 it is not, and nothing was overwritten
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0: done; 1: a month was not published; 2: nothing was tried)."""
    chosen = _parser().parse_args(arguments)
    try:
        if hasattr(chosen, "start"):  # it makes a configuration, and needs none
            return int(chosen.start(chosen))
        if chosen.config is None:
            chosen.config = CONFIG_HERE if CONFIG_HERE.exists() and not USUAL_CONFIG.exists() else USUAL_CONFIG
        config = load_config(chosen.config)
        if not getattr(chosen, "quiet", False):
            for warning in config.remarks:
                print(f"{chosen.config}: {warning}", file=sys.stderr)
        return int(chosen.command(config, chosen))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except PipelineError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, RuntimeError) as error:
        # DuckDB makes the second of Ctrl-C in the middle of a query
        if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
            raise
        print("Stopped. Months already published stay; run the same command again to go on.", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segment-pipeline",
        description="Month after month, who your customers are becoming, as probabilities.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="segment every month that is due and not yet published",
        description="Segment months in order and publish each; the runs stand in the Dagster UI's history.",
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "--months", type=_months, metavar="FROM..TO", help="only these, for example 2017-05..2017-08 or 2017-05"
    )
    run.add_argument("--force", action="store_true", help="run months again that are already published")
    run.add_argument("--quiet", action="store_true", help="print errors only")
    run.set_defaults(command=_run)

    ui = commands.add_parser(
        "ui",
        help="open the Dagster UI on this configuration",
        description="Start the Dagster UI and the daemon that runs its schedule and sensors.",
        epilog=UI_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ui.add_argument("--port", type=int, default=3000, help="port on 127.0.0.1 (default: %(default)s)")
    ui.set_defaults(command=_ui)

    check = commands.add_parser(
        "check",
        help="read the configuration and say what is wrong with it",
        description="Read the configuration and the campaign file. Nothing is run or written, and no source opened.",
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.set_defaults(command=_check)

    export = commands.add_parser(
        "export",
        help="write a published month's customers, or what changed, as files for other systems",
        description="Write Parquet and CSV files and, last, manifest.json with their counts and SHA-256.\n"
        "Only the published file is read, so a run may be at work.",
        epilog=EXPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("--month", type=_month, metavar="MONTH", help="for example 2017-12 (default: the latest)")
    export.add_argument(
        "--out", type=Path, metavar="DIR", help="default: exports/MONTH/full, or delta, beside the published file"
    )
    export.add_argument("--delta", action="store_true", help="only who was added, changed or removed since last month")
    export.add_argument("--format", choices=("parquet", "csv", "both"), default="both", help="default: %(default)s")
    export.set_defaults(command=_export)

    score = commands.add_parser(
        "score-sql",
        help="write the champion as one SQL query, to score customers in your own warehouse",
        description="Write the query that gives each row of a table the segments of the latest published month:\nthe "
        "same probabilities as monthly_assignments, with no Python.",
        epilog=SCORE_SQL_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    score.add_argument("--dialect", choices=SQL_DIALECTS, required=True, help="the engine that will run it")
    score.add_argument(
        "--table",
        default="customers",
        metavar="NAME",
        help="the table with customer_id and the raw features, as it is written there (default: %(default)s)",
    )
    score.add_argument("--out", type=Path, metavar="FILE", help="default: print it")
    score.set_defaults(command=_score_sql)

    report = commands.add_parser(
        "report",
        help="write a published month's report again, as one HTML file",
        description="Write reports/MONTH.html beside the published file; every run does so for its month.\nOnly the "
        "published file is read, so a run may be at work.",
        epilog=REPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("--month", type=_month, metavar="MONTH", help="for example 2017-12 (default: the latest)")
    report.set_defaults(command=_report)

    quickstart = commands.add_parser(
        "quickstart",
        help="a CSV in sixty seconds: segments, report and a configuration to go on with",
        description="Segment the customers of one CSV: one row per customer, or order lines.\nNo question is asked; "
        "each guess is printed with the flag that overrules it.",
        epilog=QUICKSTART_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    quickstart.add_argument("file", type=Path, metavar="FILE.csv", help="customers, or order lines")
    quickstart.add_argument("--out", type=Path, metavar="DIR", help="default: FILE_segments in the current folder")
    _add_guesses(quickstart)
    quickstart.set_defaults(start=_quickstart)

    init = commands.add_parser(
        "init",
        help="a folder for a monthly pipeline on your own data",
        description="Make a project that `segment-pipeline run` and `dagster dev` work with.\nAsks on a terminal, "
        "unless --from is given; nothing that exists is overwritten.",
        epilog=INIT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("folder", type=Path, nargs="?", default=Path(), metavar="DIR", help="default: the current folder")
    init.add_argument("--from", type=Path, dest="file", metavar="FILE", help="a CSV of customers, or of order lines")
    _add_guesses(init)
    init.set_defaults(start=_init)

    for command in (run, export, score, report, ui, check):
        command.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help=f"the user's file (default: {USUAL_CONFIG}; without one, {CONFIG_HERE})",
        )
    return parser


def _add_guesses(command: argparse.ArgumentParser) -> None:
    """The flags that overrule what is found in a file."""
    what = command.add_argument_group("which column is what")
    for flag, meaning in (
        ("--customer-id", "the customer"),
        ("--date", "when an order was placed"),
        ("--amount", "what an order line cost"),
        ("--order-id", "the order that a line belongs to"),
        ("--product-id", "the product of a line"),
    ):
        what.add_argument(flag, metavar="COLUMN", help=meaning)
    what.add_argument(
        "--where", metavar="SQL", help="which order lines count, for example \"status <> 'cancelled'\" (default: all)"
    )
    how = command.add_argument_group("how the file is written")
    how.add_argument("--sep", metavar="CHARACTER", type=_separator, help="what stands between columns")
    how.add_argument("--decimal", choices=(".", ","), metavar="MARK", help="the decimal mark: . or ,")
    how.add_argument("--date-format", metavar="FORMAT", help="for example %%d/%%m/%%Y")
    model = command.add_argument_group("what is made of it")
    model.add_argument("--features", metavar="A,B,C", type=_names, help="what to segment by, and nothing else")
    model.add_argument(
        "--transform",
        metavar="A=log1p",
        action="append",
        default=[],
        type=_transform,
        help="none, log, log1p or logit, for one feature; may be repeated",
    )
    model.add_argument(
        "--resolution",
        metavar="A=1",
        action="append",
        default=[],
        type=_named_number,
        help="the step in which values come, for one feature; may be repeated",
    )
    model.add_argument("--segments", metavar="3..8", type=_range, help="smallest and largest number to try")
    model.add_argument(
        "--hurdle",
        metavar="A=1",
        default="propose",
        type=_hurdle,
        help="a value that is a segment by rule; none for no such rule",
    )
    model.add_argument(
        "--month", metavar="MONTH", type=_month, help="the month the customers are of, for example 2017-12"
    )
    model.add_argument("--window-months", metavar="N", type=int, help="how far back order lines count")
    model.add_argument(
        "--seed", metavar="N", type=int, default=42, help="of every random choice (default: %(default)s)"
    )


def _separator(text: str) -> str:
    character = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(character) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character; for tabs write tab")
    return character


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r}: write FEATURE=VALUE")
    return name.strip(), value.strip()


def _transform(text: str) -> tuple[str, str]:
    name, value = _named(text)
    if value not in ("none", "log", "log1p", "logit"):
        raise argparse.ArgumentTypeError(f"{value!r} is none of none, log, log1p, logit")
    return name, value


def _named_number(text: str) -> tuple[str, float]:
    name, value = _named(text)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number above 0")
    return name, number


def _hurdle(text: str) -> tuple[str, float] | str | None:
    if text in ("none", "propose"):
        return None if text == "none" else "propose"
    name, value = _named(text)
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number") from error


def _range(text: str) -> tuple[int, int]:
    low, dots, high = text.partition("..")
    if not low.isdigit() or not (high.isdigit() if dots else True):
        raise argparse.ArgumentTypeError(f"{text!r}: write 3..8, or 5")
    found = int(low), int(high if dots else low)
    if not 2 <= found[0] <= found[1] <= 50:
        raise argparse.ArgumentTypeError(f"{text!r}: from 2 to 50, the smaller first")
    return found


def _request(chosen: argparse.Namespace, out: Path) -> "Request":
    from segment_pipeline.quickstart import Request

    return Request(
        file=chosen.file,
        out=out,
        customer_id=chosen.customer_id,
        features=chosen.features,
        ordered_at=chosen.date,
        amount=chosen.amount,
        order_id=chosen.order_id,
        product_id=chosen.product_id,
        where=chosen.where,
        month=chosen.month,
        window_months=chosen.window_months,
        transforms=dict(chosen.transform),
        resolutions=dict(chosen.resolution),
        segments=chosen.segments,
        hurdle=chosen.hurdle if chosen.hurdle != "propose" else None,
        no_hurdle=chosen.hurdle is None,
        separator=chosen.sep,
        decimal=chosen.decimal,
        date_format=chosen.date_format,
        seed=chosen.seed,
    )


def _quickstart(chosen: argparse.Namespace) -> int:
    from segment_pipeline.quickstart import quickstart

    return quickstart(_request(chosen, chosen.out or Path(f"{chosen.file.stem}_segments")))


def _init(chosen: argparse.Namespace) -> int:
    from segment_pipeline.project import initialise

    request = _request(chosen, chosen.folder / "data") if chosen.file is not None else None
    return initialise(chosen.folder, request)


def _month(text: str) -> date:
    try:
        return parse_month(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _months(text: str) -> list[date]:
    first, dots, last = text.partition("..")
    try:
        months = month_range(parse_month(first), parse_month(last if dots else first))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    if not months:
        raise argparse.ArgumentTypeError(f"{text} ends before it begins")
    return months


def _run(config: Config, chosen: argparse.Namespace) -> int:
    from rich.console import Console

    from segment_pipeline import run_months
    from segment_pipeline.campaigns.plans_store import months_to_renew
    from segment_pipeline.database.store import RunLock
    from segment_pipeline.orchestration.resources import run_lock_path
    from segment_pipeline.publishing.publish import (
        month_fingerprints,
        months_of_other_settings,
        published_months,
        reading,
    )
    from segment_pipeline.publishing.summary import print_summary, summarise

    # `docker stop` and systemd end a run as Ctrl-C does: it says so, and closes its run in Dagster's history
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_months.enter(config)
    console = Console(stderr=True, quiet=chosen.quiet)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    wanted = _wanted_months(config, chosen.months)
    purpose = f"segment-pipeline run {month_key(wanted[0])}..{month_key(wanted[-1])}"
    with RunLock(run_lock_path(config), config.operation.lock_timeout_minutes * 60, purpose, say):
        work = run_months.plan(config, wanted, force=chosen.force, report=say)
        there = published_months(config.published_path)
        followed = [
            month for month in work.months if (after := add_months(month, 1)) in there and after not in work.months
        ]
        before = month_fingerprints(config.published_path, followed)
        if not work.months:
            say(f"Nothing to do: {_span(wanted)} stand in the published file. To run months again, add --force.")
        if work.assets:
            say(f"{config.published_path.name} is missing or behind the warehouse: it is published again.")
        stale = [
            month
            for month in months_of_other_settings(config.published_path, config.config_hash)
            if month not in work.months
        ]
        if stale:
            say(
                f"{_span(stale)} were made with other settings than {chosen.config} has now. To make them anew: "
                f"segment-pipeline run --config {chosen.config} --months {_span(stale)} --force"
            )
        failed, warned = _run_with_progress(work, console, say)
        now = month_fingerprints(config.published_path, followed)
    changed = [month for month in followed if now.get(month) != before.get(month)]
    if changed:
        outdated = _span([month for month in there if month > changed[0]])
        print(
            f"{_span(changed)} came out different from before. Made from its earlier state, and now to be renewed: "
            f"{outdated}. Run: segment-pipeline run --config {chosen.config} --months {outdated} --force",
            file=sys.stderr,
        )
    if failed is None and config.campaigns is not None:
        with reading(config.published_path) as connection:
            needed = months_to_renew(connection, read_campaigns(config).campaigns)
        for name, months in needed.items():
            print(
                f"Campaign {name} is not in all the months that it needs: {_span(months)} was run without it. "
                f"Run: segment-pipeline run --config {chosen.config} --months {_span(months)} --force",
                file=sys.stderr,
            )
    for text, months in warned.items():
        say(f"Warning, {_span(months)}: {text}")
    if failed is not None:
        print(failed, file=sys.stderr)
        return EXIT_FAILED
    if not chosen.quiet:
        with reading(config.published_path) as connection:
            summary = summarise(config.name, config.published_path, connection, work.months)
        # a pipe or a log has no width of its own, and 80 columns would break the table's names
        print_summary(summary, Console(width=None if sys.stdout.isatty() else 140))
    return 0


def _span(months: Sequence[date]) -> str:
    first, last = month_key(min(months)), month_key(max(months))
    return first if first == last else f"{first}..{last}"


def _wanted_months(config: Config, asked: list[date] | None) -> list[date]:
    from segment_pipeline.run_months import closed_months

    closed = closed_months()
    if not closed:
        raise ConfigError(f"{config.path}: first_month: {month_key(config.first_month)} has not closed yet.")
    outside = [month for month in asked or [] if month not in closed]
    if outside:
        raise ConfigError(
            f"--months: {month_key(outside[0])} is not a closed month of {config.path}, which has "
            f"{month_key(closed[0])} to {month_key(closed[-1])}."
        )
    return asked or closed


def _run_with_progress(
    work: "Work", console: "Console", say: Callable[[str], None]
) -> tuple[str | None, dict[str, list[date]]]:
    """Run the months, with a line for each that is published; returns what to say of the one that failed, if one did,
    and what the checks warn of, with the months in which they do.

    A terminal shows a bar as well while it lasts; a log does not.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from segment_pipeline.run_months import run_months

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    done, started = 0, time.monotonic()
    warned: dict[str, list[date]] = {}
    with Progress(
        *columns, console=console, transient=True, disable=not (console.is_terminal and work.months)
    ) as progress:
        task = progress.add_task("starting", total=len(work.months))

        def listen(event: "dg.DagsterEvent | str") -> None:
            if isinstance(event, str):
                say(event)
            elif event.is_step_start:
                progress.update(task, description=f"{month_key(work.months[done])} {event.step_key}")

        for result in run_months(work, listen):
            for text in result.warned:
                warned.setdefault(text, []).append(result.month)
            if result.error is not None:
                skipped = work.months[done + 1 :]
                untried = f"\n{_span(skipped)} stand on it and were not tried." if skipped else ""
                return f"{month_key(result.month)} failed and was not published. {result.error}{untried}", warned
            done += 1
            progress.advance(task)
            seconds = time.monotonic() - started
            say(f"{month_key(result.month)} published ({done} of {len(work.months)}, {seconds:.0f} s)")
            if result.remark is not None:
                print(f"{month_key(result.month)} has no new report. {result.remark}", file=sys.stderr)
    return None, warned


def _export(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.exports import FORMATS, export_month

    export = export_month(
        config.published_path,
        config.name,
        folder=chosen.out,
        month=chosen.month,
        delta=chosen.delta,
        formats=tuple(FORMATS) if chosen.format == "both" else (chosen.format,),
    )
    for file in export.manifest["files"]:
        print(f"{export.folder / file['name']}: {file['rows']:,} customers, {file['bytes']:,} bytes")
    return 0


def _score_sql(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.publish import months_of_other_settings, reading
    from segment_pipeline.publishing.score_sql import latest_scoring, score_sql

    published = config.published_path
    if not published.exists():
        raise PipelineError(
            f"{published} does not exist: nothing is published yet. Run: segment-pipeline run --config {config.path}"
        )
    with reading(published) as connection:
        scoring = latest_scoring(connection, config.tiers)
    if scoring is None:
        raise PipelineError(
            f"{published} has no month with its limits in feature_limits (it was made by an older version). Run its "
            f"latest month again: segment-pipeline run --config {config.path} --months YYYY-MM --force"
        )
    if scoring.month in months_of_other_settings(published, config.config_hash):
        print(
            f"{month_key(scoring.month)} was made with other settings than {config.path} has now; if `tiers` changed, "
            "the query's tiers are the new ones, and those in monthly_assignments the old ones.",
            file=sys.stderr,
        )
    window = config.source.window_months if config.source.orders is not None else None
    text = score_sql(scoring, chosen.dialect, chosen.table, window)
    if chosen.out is None:
        print(text, end="")
        return 0
    try:
        chosen.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"--out: {chosen.out} cannot be written ({error.strerror}); name another file.") from error
    print(
        f"{chosen.out}: model version {scoring.model.model_version} of {month_key(scoring.month)} as one query on "
        f"{chosen.table}. It expects customer_id, {', '.join(scoring.model.space.names)}; the comment on top says more."
    )
    return 0


def _report(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.publish import published_months, reading
    from segment_pipeline.report.queries import ReportError
    from segment_pipeline.report.report import write_report

    months = published_months(config.published_path)
    if not months:
        raise ReportError(
            f"{config.published_path} is not there yet, or empty: no month is published. "
            f"Run first: segment-pipeline run --config {config.path}"
        )
    with reading(config.published_path) as connection:
        report = write_report(connection, config.name, chosen.month or max(months), config.published_path.parent)
    print(f"{report.path}: {report.size:,} bytes")
    for sentence in report.sentences:
        print(sentence)
    return 0


def _ui(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline import run_months

    home = run_months.enter(config)
    # Our own, whatever workspace.yaml lies in the current folder; the location's name is the one that it has there.
    workspace = home / "workspace.yaml"
    workspace.write_text(
        "load_from:\n  - python_module:\n      module_name: segment_pipeline.definitions\n"
        "      location_name: segment_pipeline\n"
    )
    command = ["dagster", "dev", "--workspace", str(workspace), "--host", "127.0.0.1", "--port", str(chosen.port)]
    # A shell starts what it runs in the background with SIGINT ignored, Dagster takes SIGTERM for SIGINT, and then
    # nothing ended it, nor the four processes below it, but SIGKILL, one by one.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606 - no shell, fixed program


def _check(config: Config, _: argparse.Namespace) -> int:
    if config.alternatives.rules:
        from segment_pipeline.alternatives.alternatives_store import rules_that_fail

        failing = rules_that_fail(config)
        if failing:
            raise ConfigError("\n".join(f"{config.path}: {problem}" for problem in failing))
    campaigns = f"{len(load_campaigns(config))} campaigns, " if config.campaigns is not None else ""
    if config.published_path.exists() and any(action.pair or action.segment is not None for action in config.actions):
        from segment_pipeline.campaigns.actions_store import unknown_segments
        from segment_pipeline.publishing.publish import reading

        with reading(config.published_path) as connection:
            for remark in unknown_segments(connection, config.actions):
                print(f"{config.path}: {remark}", file=sys.stderr)
    print(
        f"{config.path}: fine. {len(config.features)} features, {campaigns}"
        f"first month {month_key(config.first_month)}. The source itself was not looked at; a run does."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
