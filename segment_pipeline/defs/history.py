"""Months in order, in one process, on the persistent Dagster instance: what the command line runs.

A loop of in-process runs is the fastest way that still leaves runs, partitions and checks in the UI's history; a daemon
backfill advances one month per 30-second tick.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg

from segment_pipeline.config import Config
from segment_pipeline.defs.settings import CONFIG_VARIABLE
from segment_pipeline.months import month_key, parse_month

PID_TAG = "segment_pipeline/pid"
SHIPPED_INSTANCE = Path(__file__).with_name("dagster.yaml")


@dataclass(frozen=True)
class MonthResult:
    """How a month's run ended. `error` is None when it was published; `expected` when it is the user's to mend."""

    month: date
    error: str | None = None
    expected: bool = True


def enter(config: Config) -> Path:
    """Point this process, and what it starts, at the user's file and its Dagster instance; returns the instance's home.

    Call it before the code location is imported. An instance without a dagster.yaml gets the shipped one.
    """
    os.environ[CONFIG_VARIABLE] = str(config.path)
    home = Path(os.environ.get("DAGSTER_HOME") or config.output_dir / "dagster_home").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(SHIPPED_INSTANCE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def closed_months() -> list[date]:
    """Every month of the user's file that is closed, oldest first."""
    from segment_pipeline.defs.partitions import monthly_partitions

    return [parse_month(key) for key in monthly_partitions.get_partition_keys()]


def run_months(
    months: Sequence[date], listener: Callable[[dg.DagsterEvent], None] | None = None
) -> Iterator[MonthResult]:
    """Materialize each month, oldest first, and stop at the first that fails; later months would stand on it.

    The caller holds the run lock. `listener` is told every event of the runs.
    """
    from segment_pipeline.definitions import defs
    from segment_pipeline.defs.jobs import ProgressHandler, monthly_segmentation

    job = defs.resolve_job_def(monthly_segmentation.name)
    ProgressHandler.listener = listener
    with dg.DagsterInstance.get() as instance:
        _close_orphans(instance, monthly_segmentation.name)
        for month in sorted(months):
            run = job.execute_in_process(
                instance=instance,
                partition_key=month_key(month),
                run_config={"loggers": {"progress": {}}},
                tags={PID_TAG: str(os.getpid())},
                raise_on_error=False,
            )
            result = MonthResult(month) if run.success else _failed(month, run)
            yield result
            if result.error is not None:
                return


def _failed(month: date, run: dg.ExecuteInProcessResult) -> MonthResult:
    """The first failure, as the message of the error that a person can mend, or as what broke."""
    import segment_pipeline.errors as errors

    for event in run.all_events:
        failure = event.step_failure_data if event.is_step_failure else None
        error = failure.error if failure is not None else None
        if error is None and event.is_failure:
            error = getattr(event.event_specific_data, "error", None)
        if error is None:
            continue
        while error.cause is not None:
            error = error.cause
        name = error.cls_name or "Error"
        message = error.message.strip().removeprefix(f"{name}: ")
        message = message.partition(f".{name}: ")[2] or message
        if isinstance(getattr(errors, name, None), type):
            return MonthResult(month, message)
        where = f" in {event.step_key}" if event.step_key else ""
        return MonthResult(month, f"{name}{where}: {message}", expected=False)
    return MonthResult(month, "the run ended without saying why; open it in the Dagster UI", expected=False)


def _close_orphans(instance: dg.DagsterInstance, job_name: str) -> None:
    """Mark runs of the command line whose process was killed: they would stand in the UI as running, and hold the
    queue, for ever."""
    unfinished = dg.RunsFilter(
        job_name=job_name,
        statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED],
    )
    for run in instance.get_runs(filters=unfinished):
        pid = run.tags.get(PID_TAG)
        if pid is not None and not _alive(int(pid)):
            instance.report_run_failed(run, f"The process of this run ({pid}) was ended from outside.")


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
