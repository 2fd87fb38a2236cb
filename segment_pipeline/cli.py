"""`segment-pipeline`: a thin face over the functions that Dagster runs as well."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from segment_pipeline import __version__
from segment_pipeline.config import Config, load_config
from segment_pipeline.errors import ConfigError, PipelineError
from segment_pipeline.months import month_key, month_range, parse_month

if TYPE_CHECKING:
    import dagster as dg
    from rich.console import Console

EXIT_FAILED, EXIT_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0: done; 1: a month was not published; 2: nothing was tried)."""
    chosen = _parser().parse_args(arguments)
    try:
        config = load_config(chosen.config)
        for warning in config.warnings:
            print(f"{chosen.config}: {warning}", file=sys.stderr)
        return int(chosen.command(config, chosen))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except PipelineError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("Stopped. Months already published stay; run the same command again to go on.", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segment-pipeline",
        description="Month after month, who your customers are becoming, as probabilities.",
        epilog="Start with: segment-pipeline run --config data/segmentation.yaml",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="segment every month that is due and not yet published",
        description="Segment months in order and publish each; the runs stand in the Dagster UI's history.",
        epilog="Exit code: 0 when every month asked for is published, 1 when one is not, 2 when nothing was tried.",
    )
    run.add_argument(
        "--months", type=_months, metavar="FROM..TO", help="only these, for example 2017-05..2017-08 or 2017-05"
    )
    run.add_argument("--force", action="store_true", help="run months again that are already published")
    run.add_argument("--quiet", action="store_true", help="print errors only")
    run.set_defaults(command=_run)

    ui = commands.add_parser(
        "ui", help="open the Dagster UI on this configuration", description="Start the Dagster UI and daemon."
    )
    ui.add_argument("--port", type=int, default=3000, help="port on 127.0.0.1 (default: %(default)s)")
    ui.set_defaults(command=_ui)

    check = commands.add_parser(
        "check", help="read the configuration and say what is wrong with it", description="Nothing is run or written."
    )
    check.set_defaults(command=_check)

    for command in (run, ui, check):
        command.add_argument(
            "--config",
            type=Path,
            default=Path("data/segmentation.yaml"),
            metavar="FILE",
            help="the user's file (default: %(default)s)",
        )
    return parser


def _months(text: str) -> list[date]:
    first, _, last = text.partition("..")
    try:
        months = month_range(parse_month(first), parse_month(last or first))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not months:
        raise argparse.ArgumentTypeError(f"{text} ends before it begins")
    return months


def _run(config: Config, chosen: argparse.Namespace) -> int:
    from rich.console import Console

    from segment_pipeline.defs import history
    from segment_pipeline.defs.resources import run_lock_path
    from segment_pipeline.report.summary import print_summary, summarise
    from segment_pipeline.warehouse.publish import published_months
    from segment_pipeline.warehouse.store import RunLock

    history.enter(config)
    console = Console(stderr=True, quiet=chosen.quiet)
    wanted = _wanted_months(config, chosen.months)
    purpose = f"segment-pipeline run {month_key(wanted[0])}..{month_key(wanted[-1])}"
    with RunLock(
        run_lock_path(config),
        config.operation.lock_timeout_minutes * 60,
        purpose,
        lambda text: print(text, file=sys.stderr, flush=True),
    ):
        # asked under the lock: a run that we waited for may have published them meanwhile
        there = published_months(config.published_path)
        months = [month for month in wanted if chosen.force or month not in there]
        if not months:
            console.print(f"All {len(wanted)} months are published. To run them again, add --force.", highlight=False)
        failed = _run_with_progress(months, console)
    if failed is not None:
        print(f"\n{failed}", file=sys.stderr)
    if published_months(config.published_path) and not chosen.quiet:
        print_summary(summarise(config.name, config.published_path), Console())
    return EXIT_FAILED if failed is not None else 0


def _wanted_months(config: Config, asked: list[date] | None) -> list[date]:
    from segment_pipeline.defs.history import closed_months

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


def _run_with_progress(months: Sequence[date], console: "Console") -> str | None:
    """Run the months under a progress display; returns what to say about the one that failed, if one did."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from segment_pipeline.defs.history import run_months

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=console.quiet or not months) as progress:
        task = progress.add_task("starting", total=len(months))
        current = iter(sorted(months))
        month = next(current, None)

        def listen(event: "dg.DagsterEvent") -> None:
            if event.is_step_start and month is not None:
                progress.update(task, description=f"{month_key(month)} {event.step_key}")

        for result in run_months(months, listen) if months else ():
            if result.error is not None:
                hint = (
                    "" if result.expected else "\nThis is a defect of segment_pipeline; its traceback stands in the UI."
                )
                return f"{month_key(result.month)} failed and was not published. {result.error}{hint}"
            month = next(current, None)
            progress.advance(task)
    return None


def _ui(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.defs import history

    home = history.enter(config)
    workspace = Path("workspace.yaml")
    if not workspace.exists():
        workspace = home / "workspace.yaml"
        workspace.write_text(
            "load_from:\n  - python_module:\n      module_name: segment_pipeline.definitions\n"
            "      location_name: segment_pipeline\n"
        )
    command = ["dagster", "dev", "--workspace", str(workspace), "--host", "127.0.0.1", "--port", str(chosen.port)]
    os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606 - no shell, fixed program


def _check(config: Config, _: argparse.Namespace) -> int:
    print(f"{config.path}: fine. {len(config.features)} features, first month {month_key(config.first_month)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
