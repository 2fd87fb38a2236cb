"""Months in order, in one process (with a helper beside it, helper.py), on the persistent Dagster instance: what the
command line runs.

A loop of in-process runs is the fastest way that still leaves runs, partitions and checks in the UI's history; a daemon
backfill advances one month per 30-second tick.
"""

import gc
import getpass
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from glob import has_magic
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import dagster as dg

from segment_pipeline import helper
from segment_pipeline.config.config import Config
from segment_pipeline.customers.expectations import HELPERS_IMPORTS
from segment_pipeline.errors import MonthOrderError, PipelineError, SourceError
from segment_pipeline.months import add_months, month_key, parse_month
from segment_pipeline.orchestration.failures import explain, warning_of
from segment_pipeline.orchestration.resources import LAUNCHED_BY_TAG, PID_TAG, Pipeline
from segment_pipeline.orchestration.settings import CONFIG_VARIABLE

if TYPE_CHECKING:
    from segment_pipeline.database.store import Warehouse

SHIPPED_INSTANCE = Path(__file__).parent / "orchestration" / "dagster.yaml"
# It comes after the month is published, as the stores do: without them the month is whole.
REPORT_ASSET = "segment_report"
# Of the months that have changed, the first few say what has happened.
CHANGES_SHOWN = 6


class InstanceError(PipelineError):
    """Dagster's own settings or run history are damaged; no month is."""


@dataclass(frozen=True)
class Work:
    """The months to be run, oldest first, and which of their assets; None is all of them.

    empty : those of them that are passed over. waits : the first month whose data are not all there, and so is not
    among them, nor is a later one. notes : what a person has to know of the source, in sentences.
    """

    months: Sequence[date]
    assets: Sequence[str] | None = None
    empty: Collection[date] = ()
    waits: date | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class MonthResult:
    """How a month's run ended, in words for a person.

    error : why it was not published; None when it was. warned : the checks that failed and did not stop it, and what
    each found. remark : what went wrong after it was published, with the report. behind : the same, with a store beside
    the published file. passed_over : it has no order line, and nothing is published for it.
    """

    month: date
    error: str | None = None
    warned: Mapping[str, str] = field(default_factory=dict)
    remark: str | None = None
    behind: str | None = None
    passed_over: bool = False


def enter(config: Config) -> Path:
    """Point this process, and what it starts, at the user's file and its Dagster instance; returns the instance's home.

    Call it before the code location is imported. An instance without a dagster.yaml gets the shipped one. Raises
    WarehouseError when the folder cannot be written, InstanceError when DAGSTER_HOME cannot be used.
    """
    from segment_pipeline.database.store import cannot_write

    os.environ[CONFIG_VARIABLE] = str(config.path)
    home = instance_home(config)
    settings = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not settings.exists():
            draft = settings.with_name(f".dagster.yaml.{os.getpid()}")
            shutil.copyfile(SHIPPED_INSTANCE, draft)
            os.replace(draft, settings)  # in one step: a second process that starts now must not read half of it
    except OSError as error:
        if os.environ.get("DAGSTER_HOME"):
            raise InstanceError(
                f"{settings} cannot be written: {error.strerror}. Set DAGSTER_HOME to a folder in which this user may "
                "create files, or take it out of the environment: Dagster's history then lies beside the published "
                "file."
            ) from error
        raise cannot_write(settings, error) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def instance_home(config: Config) -> Path:
    """Where Dagster keeps its settings and history: where the environment says, or beside the published file.

    Dagster takes the path of its settings for a pattern, and in a folder such as `shop [2024]` finds none, telemetry
    and all. A history beside such a folder lies among the user's temporary files; it is the runs', and no month's.
    """
    given = os.environ.get("DAGSTER_HOME")
    home = Path(given or config.output_dir / "dagster_home").absolute()
    if not has_magic(str(home)):
        return home
    if given:
        raise InstanceError(
            f"DAGSTER_HOME is {home}: Dagster reads no settings in a folder with [, ], * or ? in its name. Set it to "
            "one without."
        )
    return Path(tempfile.gettempdir()) / f"segment_pipeline-{os.getuid()}" / sha256(str(home).encode()).hexdigest()[:16]


def closed_months() -> list[date]:
    """Every month of the user's file that is closed, oldest first."""
    from segment_pipeline.orchestration.partitions import monthly_partitions

    return [parse_month(key) for key in monthly_partitions.get_partition_keys()]


def plan(
    config: Config,
    wanted: Sequence[date],
    *,
    force: bool,
    report: Callable[[str], None],
    accepted: Collection[date] = (),
) -> Work:
    """What has to be done for `wanted` to be published. Ask under the run lock: a run before may have done it.
    accepted : months that a newer warehouse has published, and that this one may overwrite.

    The warehouse says whether a month came to its end; so a month that was killed half-way is run again, and a
    published file that is missing, behind the warehouse, or of an older version, is only copied again, as is a store
    that is behind the published file. A published file to which somebody else has written is made again from the
    warehouse. Raises PublishError when the warehouse has lost months, MonthOrderError when a
    month has no finished month before it to stand on, and SourceError where the source is not what it was and
    `source.late_data` is stop.
    """
    from segment_pipeline.database.store import prepare
    from segment_pipeline.orchestration.project import refuse_other_project
    from segment_pipeline.publishing.catalogue import TABLES
    from segment_pipeline.publishing.people import unfinished
    from segment_pipeline.publishing.publish import (
        PUBLISHING_ASSET,
        accept_loss_of,
        is_as_published,
        known_months,
        lacks_columns,
        publications,
        published_months,
        refuse_loss,
    )
    from segment_pipeline.publishing.stores.filling import assets_behind, stores_of

    warehouse = Pipeline(config_path=str(config.path)).warehouse
    with warehouse.transaction(report) as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        refuse_other_project(connection, config)
        if force and warehouse.engine is not None:
            for lost in warehouse.engine.give_up_lost(connection, wanted):
                report(lost)
        accept_loss_of(config.published_path, connection, accepted)
        refuse_loss(config.published_path, connection)
        finished, published = known_months(connection), publications(connection)
        half_done = unfinished(connection)
    due = sorted(month for month in wanted if force or not finished.get(month))
    _refuse_gap(config, due, finished)
    work = _heed_source(config, wanted, due, finished, warehouse, report)
    if half_done:
        left = (
            f"segment-pipeline {' and '.join(half_done)} has not come to its end: it was stopped, or a store could not "
            "be reached. A run only brings stores up to the published file; what was deleted may still lie in their "
            "files, in files of before and in Dagster's history. Run the same command again: it clears these."
        )
        work = replace(work, notes=[*work.notes, left])
    seen = published_months(config.published_path)
    unseen = sorted(month for month in wanted if seen.get(month) != published.get(month))
    is_older = bool(seen) and lacks_columns(config.published_path)
    is_changed = bool(seen) and not is_older and not is_as_published(config.published_path)
    if is_changed:
        changed = (
            f"{config.published_path} is not as it was published: another program has written to it, or copied it "
            "without its time. All of it is published again, as the warehouse has it."
        )
        work = replace(work, notes=[*work.notes, changed])
    if not work.months and (unseen or is_older or is_changed):
        stores = [store.asset for store in stores_of(config)]
        return replace(work, months=(unseen or sorted(seen))[-1:], assets=[PUBLISHING_ASSET, *stores, REPORT_ASSET])
    if not work.months and seen and (behind := assets_behind(config)):
        return replace(work, months=[max(seen)], assets=behind)
    return work


def months_without_report(config: Config, wanted: Collection[date]) -> list[date]:
    """Those of the months that are published, and whose report is missing or of before: it comes after the month, and
    a process that was killed between, or a full disk, leaves the month without."""
    from segment_pipeline.publishing.publish import published_months
    from segment_pipeline.report.report import report_path

    def has_its_own(month: date, since: datetime) -> bool:
        try:
            written = report_path(config.output_dir, month).stat().st_mtime
        except OSError:  # it is not there, or something stands in its folder's place: writing it says what
            return False
        return written >= int(since.replace(tzinfo=UTC).timestamp())  # file systems may keep whole seconds

    there = published_months(config.published_path)
    return sorted(month for month in wanted if month in there and not has_its_own(month, there[month]))


def _heed_source(
    config: Config,
    wanted: Collection[date],
    due: Sequence[date],
    finished: Mapping[date, bool],
    warehouse: "Warehouse",
    report: Callable[[str], None],
) -> Work:
    """What of the months that are due can be done with the source as it is, and what has to be done besides."""
    from segment_pipeline.sources.over_time.outlook import look_at_source

    stand = [month for month, whole in finished.items() if whole and month not in due]
    try:
        with warehouse.connect(report) as connection:
            outlook = look_at_source(connection, config, stand, due)
    except SourceError as error:
        # a month that is run says so itself
        return Work(due, notes=[] if due else [f"The source was not compared with what it was: {error}"])
    notes = []
    stale = [month for month in stand if outlook.changes and month >= min(one.month for one in outlook.changes)]
    renewed = [month for month in stale if month in wanted and config.source.late_data == "renew"]
    if stale:
        notes.append(_of_changes(config, [str(one) for one in outlook.changes], stale, renewed))
    if stale and config.source.late_data == "stop":
        raise SourceError(f"{notes[0]} Nothing was run (source.late_data: stop).")
    months = sorted({*due, *renewed})
    waits, end = outlook.waits or (None, None)
    if waits is not None:
        months = [month for month in months if month < waits]
        notes.append(
            f"{month_key(waits)} waits for its data: {end}. It is run once they are there; if they are, set "
            f"source.feed_ends_early: warn in {config.path}, and run again."
        )
    empty = outlook.empty if config.quality.empty_month == "skip" else ()
    return Work(months, empty=empty, waits=waits, notes=notes)


def _of_changes(config: Config, changes: Sequence[str], stale: Sequence[date], renewed: Sequence[date]) -> str:
    said = f"The source has changed since {_span(stale)} ran: {'; '.join(changes[:CHANGES_SHOWN])}"
    if len(changes) > CHANGES_SHOWN:
        said += f"; and {len(changes) - CHANGES_SHOWN} more"
    left = [month for month in stale if month not in renewed]
    if not left:
        return f"{said}. {_span(renewed)} {'are' if len(renewed) > 1 else 'is'} run again (source.late_data: renew)."
    command = f"segment-pipeline run --config {quote(str(config.path))} --months {_span(left)} --force"
    return f"{said}. To renew what stands on it: {command}"


def _span(months: Sequence[date]) -> str:
    first, last = month_key(min(months)), month_key(max(months))
    return first if first == last else f"{first}..{last}"


def _refuse_gap(config: Config, due: Sequence[date], finished: Mapping[date, bool]) -> None:
    for month in due:
        if add_months(month, -1) in due:
            continue
        stands_on = max((earlier for earlier, whole in finished.items() if whole and earlier < month), default=None)
        first = config.first_month if stands_on is None else add_months(stands_on, 1)
        if first < month:
            span = _span([first, add_months(month, -1)])
            raise MonthOrderError(
                f"{month_key(month)} cannot run: {span} before it is missing or was left half-made. "
                f"Run first: segment-pipeline run --config {quote(str(config.path))} --months {span}"
            )


def run_months(work: Work, listener: Callable[[dg.DagsterEvent | str], None] | None = None) -> Iterator[MonthResult]:
    """Materialize each month, oldest first, and stop at the first that fails; later months would stand on it.

    The caller holds the run lock. `listener` is told every event of the runs, and what they warn of. Raises
    KeyboardInterrupt when a run was interrupted, InstanceError when Dagster cannot keep its history.
    """
    threads = Pipeline(config_path=os.environ[CONFIG_VARIABLE]).config.operation.threads
    several = len(work.months) > 2 and work.assets is None  # for fewer, its imports take longer than it saves
    imports = f"{HELPERS_IMPORTS}; import segment_pipeline.mixture.chain.candidates"
    with helper.at_hand(imports, wanted=several and threads != 1):
        yield from _run(work, listener)


def _run(work: Work, listener: Callable[[dg.DagsterEvent | str], None] | None) -> Iterator[MonthResult]:
    from segment_pipeline.definitions import defs
    from segment_pipeline.orchestration.jobs import ProgressHandler, monthly_segmentation

    job = defs.resolve_job_def(monthly_segmentation.name)
    ProgressHandler.listener = listener
    with _history() as instance, _settled() as settle:
        for month in work.months:
            settle()
            if month in work.empty:
                result = _pass_over(month)
            else:
                run = job.execute_in_process(
                    instance=instance,
                    partition_key=month_key(month),
                    asset_selection=None if work.assets is None else [dg.AssetKey(name) for name in work.assets],
                    run_config={"loggers": {"progress": {}}},
                    tags={PID_TAG: str(os.getpid()), LAUNCHED_BY_TAG: f"{_user()}, command line"},
                    raise_on_error=False,
                )
                result = _result(month, run)
            yield result
            if result.error is not None:
                return


@contextmanager
def _settled() -> Iterator[Callable[[], None]]:
    """What it gives puts all that stands there out of the garbage collector's sight until the end: what Dagster and the
    libraries have made stays, and going through it again and again frees nothing."""
    others = gc.get_freeze_count()

    def settle() -> None:
        gc.collect()
        gc.freeze()

    try:
        yield settle
    finally:
        if not others:  # who has frozen something of his own wants it to stay
            gc.unfreeze()


@contextmanager
def _history() -> Iterator[dg.DagsterInstance]:
    """The persistent instance, rid of runs that stand there as running and whose process is gone."""
    from sqlalchemy.exc import SQLAlchemyError
    from yaml import YAMLError

    from segment_pipeline.run_history import open_instance

    try:
        with open_instance(os.environ["DAGSTER_HOME"]) as instance:
            _close_orphans(instance)
            try:
                yield instance
            except KeyboardInterrupt:
                _close_orphans(instance)  # before its first step a run does not close itself
                raise
    except (dg.DagsterInvalidConfigError, YAMLError, SQLAlchemyError) as error:
        home = os.environ["DAGSTER_HOME"]
        found = " ".join(str(error).split())[:200]  # what follows is the whole schema, or a whole SQL statement
        if "disk is full" in found:  # SQLite's words, which have no class of their own
            raise InstanceError(
                f"Dagster's run history in {home} cannot be written ({found}). Free disk space there, and run again: "
                "every month that was published is whole."
            ) from error
        raise InstanceError(
            f"Dagster's settings or run history in {home} cannot be used: {found}\n"
            f"Fix {home}/dagster.yaml, or see to the disk; or move the folder away and run again: that loses the run "
            f"history, and no month."
        ) from error


def _pass_over(month: date) -> MonthResult:
    from segment_pipeline.publishing.passing_over import pass_over

    pipeline = Pipeline(config_path=os.environ[CONFIG_VARIABLE])
    try:
        with pipeline.warehouse.transaction() as connection:
            pass_over(connection, pipeline.config, month)
    except PipelineError as error:
        return MonthResult(month, str(error))
    return MonthResult(month, passed_over=True)


def _result(month: date, run: dg.ExecuteInProcessResult) -> MonthResult:
    from segment_pipeline.publishing.stores.parts import STORE_NAMES

    said = dict(found for found in map(warning_of, run.all_events) if found is not None)
    if run.success:
        return MonthResult(month, warned=said)
    failures = [failure for failure in map(explain, run.all_events) if failure is not None]
    if failures and failures[0].interrupted:
        raise KeyboardInterrupt
    steps = {failure.step: str(failure) for failure in failures if failure.step is not None}
    if steps and steps.keys() <= {REPORT_ASSET, *STORE_NAMES}:
        behind = [why for step, why in steps.items() if step in STORE_NAMES]
        return MonthResult(month, warned=said, remark=steps.get(REPORT_ASSET), behind="\n".join(behind) or None)
    why = str(failures[0]) if failures else "The run ended without saying why; open it in the Dagster UI."
    return MonthResult(month, why, said)


def _close_orphans(instance: dg.DagsterInstance) -> None:
    """Mark runs whose process was killed: they would stand in the UI as running, and hold its queue, for ever."""
    unfinished = dg.RunsFilter(
        statuses=[
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.CANCELING,
        ],
    )
    for run in instance.get_runs(filters=unfinished):
        pid = run.tags.get(PID_TAG)
        if pid is not None and not _alive(int(pid)):
            instance.report_run_failed(run, f"The process of this run ({pid}) was ended from outside.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # an earlier process had our id: this one has started nothing yet
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
