"""The schedule in a real daemon, with its code server, queue and runs in processes of their own. Only their clock is
not the true one: nobody waits for the 2nd of a month."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from segment_pipeline_tests.commands import eventually
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

pytestmark = [pytest.mark.process, pytest.mark.months]

# Python imports it at the start of each process that finds it.
CLOCK = """
import os, time
from datetime import UTC, datetime
import dagster._time as clock

ahead = float(os.environ["SECONDS_AHEAD"])
clock._mockable_get_current_timestamp = lambda: time.time() + ahead
clock._mockable_get_current_datetime = lambda: datetime.fromtimestamp(time.time() + ahead, UTC)
"""


def environment(shop: Shop, at: datetime) -> dict[str, str]:
    """Of processes whose clock stands at that time now."""
    clock = shop.folder / "clock"
    clock.mkdir(exist_ok=True)
    (clock / "sitecustomize.py").write_text(CLOCK)
    return os.environ | {
        "DAGSTER_HOME": str(shop.folder / "dagster_home"),
        "SEGMENT_PIPELINE_CONFIG": str(shop.config_path),
        "SECONDS_AHEAD": str((at - datetime.now(UTC)).total_seconds()),
        "PYTHONPATH": os.pathsep.join([str(clock), *filter(None, sys.path)]),
    }


def switch_on(shop: Shop, at: datetime) -> None:
    command = [sys.executable, "-m", "dagster", "schedule", "start", "monthly_schedule"]
    subprocess.run(
        [*command, "-m", "segment_pipeline.definitions"],
        env=environment(shop, at),
        cwd=shop.folder,
        check=True,
        capture_output=True,
        timeout=180,
    )


@contextmanager
def daemon(shop: Shop, at: datetime) -> Iterator[Path]:
    """`dagster-daemon run`, from that time on; yields its log."""
    log = shop.folder / "daemon.log"
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", "segment_pipeline.definitions"],
            env=environment(shop, at),
            cwd=shop.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def ticks(shop: Shop) -> list[InstigatorTick]:
    """Every tick of the schedule that has come to its end, oldest first."""
    with dg.DagsterInstance.from_config(str(shop.folder / "dagster_home")) as instance:
        (its,) = [one for one in instance.all_instigator_state() if one.name == "monthly_schedule"]
        found = instance.get_ticks(its.instigator_origin_id, its.selector_id)
    return sorted((one for one in found if one.status != TickStatus.STARTED), key=lambda one: one.timestamp)


def scheduled_runs(shop: Shop) -> dict[str, dg.DagsterRunStatus]:
    with dg.DagsterInstance.from_config(str(shop.folder / "dagster_home")) as instance:
        runs = [run for run in instance.get_runs() if "dagster/schedule_name" in run.tags]
    assert len(runs) == len({run.tags["dagster/partition"] for run in runs}), "a month was asked for twice"
    return {run.tags["dagster/partition"]: run.status for run in runs}


def published_months(shop: Shop) -> list[str]:
    found = query(shop.published, "SELECT DISTINCT strftime(month, '%Y-%m') FROM monthly_assignments ORDER BY 1")
    return [month for (month,) in found]


def test_the_month_just_closed_is_run_at_its_tick_and_those_slept_over_when_the_daemon_wakes_and_each_once(copy):
    write_parquet(order_lines(months=8), copy.orders_path)
    copy.configure(last_month="2023-08")
    switch_on(copy, datetime(2023, 6, 30, 12, tzinfo=UTC))

    with daemon(copy, datetime(2023, 7, 2, 5, 59, 30, tzinfo=UTC)) as log:  # awake
        eventually(lambda: scheduled_runs(copy).get("2023-06") == dg.DagsterRunStatus.SUCCESS, timeout=400)
    (at_once,) = ticks(copy)
    assert datetime.fromtimestamp(at_once.timestamp, UTC) == datetime(2023, 7, 2, 6, tzinfo=UTC)
    assert (at_once.status, at_once.run_keys) == (TickStatus.SUCCESS, ["2023-06"]), log.read_text()
    assert published_months(copy)[-1] == "2023-06"

    with daemon(copy, datetime(2023, 9, 3, 9, tzinfo=UTC)) as log:  # after two months
        eventually(lambda: scheduled_runs(copy).get("2023-08") == dg.DagsterRunStatus.SUCCESS, timeout=400)
    _, late = ticks(copy)
    assert (late.status, late.run_keys) == (TickStatus.SUCCESS, ["2023-07", "2023-08"]), log.read_text()
    asked = ["2023-08", "2023-07", "2023-06"]
    assert scheduled_runs(copy) == dict.fromkeys(asked, dg.DagsterRunStatus.SUCCESS)
    assert published_months(copy)[-3:] == asked[::-1]

    with daemon(copy, datetime(2023, 9, 4, 5, 59, 50, tzinfo=UTC)):
        eventually(lambda: len(ticks(copy)) == 3)
    *_, idle = ticks(copy)
    assert datetime.fromtimestamp(idle.timestamp, UTC) == datetime(2023, 9, 4, 6, tzinfo=UTC)
    assert (idle.status, idle.skip_reason) == (TickStatus.SKIPPED, "2023-08 is published.")
    assert set(scheduled_runs(copy)) == set(asked)
