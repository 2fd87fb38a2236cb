"""The run history kept open by the command line: Dagster's own to whoever reads it, while it runs or when killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine, create_engine, event, text

from segment_pipeline.run_history import open_instance
from segment_pipeline.run_months import SHIPPED_INSTANCE, InstanceError, _history

MONTHS = dg.MonthlyPartitionsDefinition("2024-01-01")
MONTH = "2024-02-01"
FIRST, CHECK = dg.AssetKey("first"), dg.AssetCheckKey(dg.AssetKey("first"), "has_rows")


def run(home: Path, second: Callable[[], object] = bool, third: Callable[[], object] = bool) -> str:
    """Run a month of three assets, of which the first has a check and the others call what is given; returns its id."""
    spec = dg.AssetCheckSpec(CHECK.name, asset=FIRST, partitions_def=MONTHS)

    @dg.asset(name="first", partitions_def=MONTHS, check_specs=[spec])
    def seven_rows():
        return dg.MaterializeResult(metadata={"rows": 7}, check_results=[dg.AssetCheckResult(passed=True)])

    @dg.asset(name="second", partitions_def=MONTHS, deps=[seven_rows])
    def calls() -> None:
        second()

    @dg.asset(name="third", partitions_def=MONTHS, deps=[calls])
    def calls_later() -> None:
        third()

    defs = dg.Definitions(
        assets=[seven_rows, calls, calls_later],
        jobs=[dg.define_asset_job("month")],
        executor=dg.in_process_executor,
    )
    with open_instance(str(home)) as instance:
        return defs.resolve_job_def("month").execute_in_process(instance=instance, partition_key=MONTH).run_id


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text(SHIPPED_INSTANCE.read_text())
    return tmp_path


def refuse_unless_the_first_asset_is_there(home: Path) -> None:
    """What Dagster's own instance knows of it: its month, its metadata and its check."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.fetch_materializations(FIRST, limit=5).records
        assert record.partition_key == MONTH
        assert record.asset_materialization.metadata["rows"].value == 7
        (check,) = instance.event_log_storage.get_asset_check_execution_history(CHECK, 5)
        assert (check.partition, check.status.value) == (MONTH, "SUCCEEDED")


def test_afterwards_dagsters_own_instance_has_the_run_and_what_it_told(home):
    run_id = run(home)
    refuse_unless_the_first_asset_is_there(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (record,) = instance.get_run_records()
        assert (record.dagster_run.run_id, record.dagster_run.status) == (run_id, dg.DagsterRunStatus.SUCCESS)
        assert len(instance.all_logs(run_id)) > 10
    assert not list(home.rglob("*-wal"))  # whoever copies the folder has all of it


def test_who_watches_a_run_is_told_while_it_runs(home):
    told = threading.Event()
    with dg.DagsterInstance.from_config(str(home)) as page:

        def watch() -> None:
            refuse_unless_the_first_asset_is_there(home)
            (record,) = page.get_run_records()
            page.watch_event_logs(record.dagster_run.run_id, None, lambda *_: told.set())

        def wait() -> None:
            assert told.wait(timeout=30)

        run(home, second=watch, third=wait)


def test_a_killed_run_leaves_all_that_it_told(home):
    code = f"from pathlib import Path; import {__name__} as tests; tests.run(Path({str(home)!r}), tests.killed)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    refuse_unless_the_first_asset_is_there(home)


def test_of_a_year_of_runs_only_the_last_has_its_file_open(home):
    with open_instance(str(home)) as instance:
        for number in range(12):
            instance.report_engine_event("noted", job_name="month", run_id=f"run-{number}")
        assert [path.name for path in home.rglob("run-*.db-wal")] == ["run-11.db-wal"]
        assert len(list(home.rglob("run-*.db"))) == 12


def test_what_was_last_noted_of_an_asset_is_looked_up_once_until_something_is_noted(home):
    version = "dagster/data_version"
    with open_instance(str(home)) as instance:

        def known() -> tuple[str, str, str]:
            (asset,) = instance.get_asset_records([FIRST])
            (record,) = instance.fetch_materializations(FIRST, limit=1).records
            tags = instance.event_log_storage.get_latest_tags_by_partition(
                FIRST, dg.DagsterEventType.ASSET_MATERIALIZATION, [version], [MONTH]
            )
            last = (asset.asset_entry.last_materialization, record.event_log_entry)
            return *(one.asset_materialization.tags[version] for one in last), tags[MONTH][version]

        asked = []

        def ask(*told: object) -> None:
            asked.append(told[2])

        event.listen(Engine, "before_cursor_execute", ask)
        assert not instance.get_asset_records([FIRST])
        for number in ("1", "2"):
            noted = dg.AssetMaterialization(FIRST, partition=MONTH, tags={version: number})
            instance.report_runless_asset_event(noted)
            assert known() == (number,) * 3
            before = len(asked)
            assert known() == (number,) * 3
            assert len(asked) == before
        event.remove(Engine, "before_cursor_execute", ask)


def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own error where its file may not grow."""
    (tmp_path / "dagster.yaml").write_text(SHIPPED_INSTANCE.read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    full = r"run history in .* cannot be written \(.*disk is full.*\)\. Free disk space there, and run again"
    with create_engine(f"sqlite:///{tmp_path}/events.db").begin() as connection:
        connection.execute(text("PRAGMA max_page_count = 2"))
        connection.execute(text("CREATE TABLE events (body TEXT)"))
        with pytest.raises(InstanceError, match=full) as refused, _history():
            connection.execute(text("INSERT INTO events VALUES (:body)"), {"body": "x" * 100_000})
    assert "dagster.yaml" not in str(refused.value)
    assert "move the folder away" not in str(refused.value)
