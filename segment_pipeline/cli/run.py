"""`segment-pipeline run`: the months that are due, with progress, a summary and an exit code."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from shlex import quote
from typing import TYPE_CHECKING

from segment_pipeline.cli.commands import EXIT_FAILED
from segment_pipeline.config.campaigns import read_campaigns
from segment_pipeline.config.config import Config
from segment_pipeline.errors import ConfigError
from segment_pipeline.months import add_months, month_key
from segment_pipeline.words import agreeing

if TYPE_CHECKING:
    import dagster as dg
    from rich.console import Console

    from segment_pipeline.run_months import Work


def run_command(config: Config, chosen: argparse.Namespace) -> int:
    """Run the months that are due and say what came of it; returns the exit code."""
    from rich.console import Console

    from segment_pipeline import run_months
    from segment_pipeline.database.store import RunLock
    from segment_pipeline.orchestration.resources import run_lock_path
    from segment_pipeline.publishing.publish import month_fingerprints, published_months
    from segment_pipeline.sources.own_features import check_own_features

    check_own_features(config)
    # `docker stop` and systemd end a run as Ctrl-C does: it says so, and closes its run in Dagster's history
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_months.enter(config)
    console = Console(stderr=True, quiet=chosen.quiet)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    wanted = _wanted_months(config, chosen.months)
    purpose = f"segment-pipeline run {month_key(wanted[0])}..{month_key(wanted[-1])}"
    with RunLock(run_lock_path(config), config.operation.lock_timeout_minutes * 60, purpose, say):
        accepted = chosen.accept_loss or ()
        work = run_months.plan(config, wanted, force=chosen.force, report=say, accepted=accepted)
        there = published_months(config.published_path)
        followed = _followed_by_older_work(work, there)
        before = month_fingerprints(config.published_path, followed)
        bare = [month for month in run_months.months_without_report(config, wanted) if month not in work.months]
        _say_what_is_due(config, chosen, wanted, work, bare, say)
        failed, behind, warned = _run_with_progress(work, console, say)
        if bare:
            _write_reports(bare)
        now = month_fingerprints(config.published_path, followed)
    for note in work.notes:
        print(note, file=sys.stderr)
    _warn_of_outdated(chosen, there, [month for month in followed if now.get(month) != before.get(month)])
    if failed is None:
        _warn_of_campaigns_without_months(config, chosen)
    if failed is None and not chosen.quiet and config.published_path.exists():
        _print_summary(config, work)
    for check, found in warned.items():
        say(_warning(check, found))
    for said in (behind, failed):
        if said is not None:
            print(said, file=sys.stderr)
    return 0 if behind is None and failed is None else EXIT_FAILED


def _warning(check: str, found: Mapping[date, str]) -> str:
    """All that a check warns of in a line: the months, and what it found in the last of them."""
    last = max(found)
    as_of_last = f"{month_key(last)}: " if len(set(found.values())) > 1 else ""
    return f"Warning, {_spans(sorted(found))}: {check}: {as_of_last}{found[last]}"


def _followed_by_older_work(work: "Work", there: Collection[date]) -> list[date]:
    """The months to run after which a published one stands that is not run again: it was made from their earlier
    state."""
    return [month for month in work.months if (after := add_months(month, 1)) in there and after not in work.months]


def _say_what_is_due(
    config: Config,
    chosen: argparse.Namespace,
    wanted: Sequence[date],
    work: "Work",
    bare: Sequence[date],
    say: Callable[[str], None],
) -> None:
    from segment_pipeline.orchestration.project import changed_settings
    from segment_pipeline.orchestration.resources import Pipeline
    from segment_pipeline.publishing.publish import PUBLISHING_ASSET, months_of_other_settings

    stand = [month for month in wanted if work.waits is None or month < work.waits]
    if bare:
        say(f"{_spans(bare)}: published, but without a report, which is written now.")
    elif not work.months and stand:
        verb = agreeing(len(stand), "stands", "stand")
        say(f"Nothing to do: {_span(stand)} {verb} in the published file. To run months again, add --force.")
    if work.assets and PUBLISHING_ASSET in work.assets:
        name = config.published_path.name
        say(f"{name} is missing, behind the warehouse, of an older version or changed: it is published again.")
    elif work.assets:
        say(f"Behind {config.published_path.name}, and to be filled again: {', '.join(work.assets)}.")
    others = months_of_other_settings(config.published_path, config.config_hash)
    stale = [month for month in others if month not in work.months or work.assets]
    if stale:
        with Pipeline(config_path=str(config.path)).warehouse.connect(say) as connection:
            changed = changed_settings(connection, config, stale)
        if changed is not None:
            were = agreeing(len(stale), "was", "were")
            say(
                f"{_span(stale)} {were} made with other settings than {chosen.config} has now"
                f"{f' ({changed})' if changed else ''}. To rebuild {agreeing(len(stale), 'it', 'them')}: "
                f"segment-pipeline run --config {quote(str(chosen.config))} --months {_span(stale)} --force"
            )


def _write_reports(months: Sequence[date]) -> None:
    """Write the reports of published months; of one that cannot be written, say so."""
    from segment_pipeline.run_months import REPORT_ASSET, Work, run_months

    for result in run_months(Work(months, assets=[REPORT_ASSET])):
        if result.remark is not None:
            _say_no_report(result.month, result.remark)


def _say_no_report(month: date, remark: str) -> None:
    print(f"{month_key(month)} has no new report. {remark}", file=sys.stderr)


def _warn_of_outdated(chosen: argparse.Namespace, there: Collection[date], changed: Sequence[date]) -> None:
    """The published months after the first that came out different stand on what is no longer there."""
    if changed:
        outdated = _span([month for month in there if month > changed[0]])
        print(
            f"{_span(changed)} came out different from before. Made from its earlier state, and now to be renewed: "
            f"{outdated}. Run: segment-pipeline run --config {quote(str(chosen.config))} --months {outdated} --force",
            file=sys.stderr,
        )


def _warn_of_campaigns_without_months(config: Config, chosen: argparse.Namespace) -> None:
    from segment_pipeline.campaigns.plans_store import months_to_renew
    from segment_pipeline.publishing.publish import reading

    if config.campaigns is None:
        return
    with reading(config.published_path) as connection:
        needed = months_to_renew(connection, read_campaigns(config).campaigns)
    for name, months in needed.items():
        print(
            f"Campaign {name} is not in all the months that it needs: {_span(months)} "
            f"{agreeing(len(months), 'was', 'were')} run without it. "
            f"Run: segment-pipeline run --config {quote(str(chosen.config))} --months {_span(months)} --force",
            file=sys.stderr,
        )


def _print_summary(config: Config, work: "Work") -> None:
    from rich.console import Console

    from segment_pipeline.publishing.publish import reading
    from segment_pipeline.publishing.summary import print_summary, summarise

    with reading(config.published_path) as connection:
        summary = summarise(config.name, config.published_path, connection, work.months)
    # a pipe or a log has no width of its own, and 80 columns would break the table's names
    print_summary(summary, Console(width=None if sys.stdout.isatty() else 140))


def _span(months: Sequence[date]) -> str:
    first, last = month_key(min(months)), month_key(max(months))
    return first if first == last else f"{first}..{last}"


def _spans(months: Sequence[date]) -> str:
    """Months, ascending, those without a gap together: 2017-04..2017-06, 2017-12."""
    stretches: list[list[date]] = []
    for month in months:
        if stretches and month == add_months(stretches[-1][-1], 1):
            stretches[-1].append(month)
        else:
            stretches.append([month])
    return ", ".join(map(_span, stretches))


def _wanted_months(config: Config, asked: list[date] | None) -> list[date]:
    from segment_pipeline.run_months import closed_months

    closed = closed_months()
    if not closed:
        raise ConfigError(f"{config.path}: first_month: {month_key(config.first_month)} has not closed yet.")
    outside = [month for month in asked or [] if month not in closed]
    if outside:
        asked_for, has = month_key(outside[0]), f"{month_key(closed[0])} to {month_key(closed[-1])}"
        over = outside[0] < datetime.now(UTC).date().replace(day=1)
        if over and config.last_month is not None and outside[0] > config.last_month:
            raise ConfigError(f"--months: {asked_for} is excluded by last_month of {config.path}, which has {has}.")
        raise ConfigError(f"--months: {asked_for} is not a closed month of {config.path}, which has {has}.")
    return asked or closed


def _run_with_progress(
    work: "Work", console: "Console", say: Callable[[str], None]
) -> tuple[str | None, str | None, dict[str, dict[date, str]]]:
    """Run the months, with a line for each that is published; returns what to say of the one that failed, if one did,
    of the stores that lack the last one, and of each check that warns what it found in which month.

    A terminal shows a bar as well while it lasts; a log does not.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from segment_pipeline.run_months import run_months

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    done, started = 0, time.monotonic()
    warned: dict[str, dict[date, str]] = {}
    behind = None
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
            for check, found in result.warned.items():
                warned.setdefault(check, {})[result.month] = found
            if result.error is not None:
                skipped = work.months[done + 1 :]
                verbs = agreeing(len(skipped), "stands on it and was", "stand on it and were")
                untried = f"\n{_span(skipped)} {verbs} not tried." if skipped else ""
                said = f"{month_key(result.month)} failed and was not published. {result.error}{untried}"
                return said, behind, warned
            done += 1
            behind = behind if result.passed_over else result.behind
            progress.advance(task)
            seconds = time.monotonic() - started
            how = "passed over, as it has no order line" if result.passed_over else "published"
            say(f"{month_key(result.month)} {how} ({done} of {len(work.months)}, {seconds:.0f} s)")
            if result.remark is not None:
                _say_no_report(result.month, result.remark)
    return None, behind, warned
