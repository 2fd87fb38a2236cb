"""Connections that wait their turn, months that are replaced whole, and the lock above them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.database.store import RunLock, Warehouse, WarehouseError, month_rows, prepare, replace_month
from segment_pipeline.errors import WarehouseBusyError
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.tables import RAW_CUSTOMERS
from segment_pipeline_tests.conftest import files_of_at_most

HOLD_FILE = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()"
HOLD_LOCK = """
import sys; from pathlib import Path; from segment_pipeline.database.store import RunLock
with RunLock(Path(sys.argv[1]), 10, "a test"):
    print("ready", flush=True)
    sys.stdin.readline()
"""
MARCH, APRIL = date(2023, 3, 1), date(2023, 4, 1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", lock_timeout=0.3, memory_limit="1GB", threads=1)


@contextmanager
def holder(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `path` until the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.communicate("\n", timeout=30)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_copy_of_the_warehouse_that_does_not_fit_on_the_disk_does_not_stay_there(warehouse):
    """It was a traceback, and what was half written kept the disk full."""
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT md5(CAST(range AS VARCHAR)) AS x FROM range(200_000)")
    with files_of_at_most(1_000_000), pytest.raises(WarehouseError, match=r"draft.*Free disk space") as refused:
        warehouse.rewrite()
    assert "\n" not in str(refused.value)
    assert list(warehouse.path.parent.iterdir()) == [warehouse.path]
    warehouse.rewrite()


def test_it_is_known_whether_what_did_not_fit_into_memory_went_over_the_disk(tmp_path):
    small = Warehouse(tmp_path / "warehouse.duckdb", lock_timeout=0.3, memory_limit="60MB", threads=1)
    with small.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT md5(CAST(range AS VARCHAR)) AS x FROM range(10)")
        assert not small.has_spilled()
        connection.execute("CREATE TABLE u AS SELECT md5(CAST(range AS VARCHAR)) AS x FROM range(2_000_000) ORDER BY x")
        assert small.has_spilled()
    with small.connect():
        assert not small.has_spilled()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_transaction_that_raises_leaves_nothing(warehouse, error):
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")

    def interrupted() -> None:
        with warehouse.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            raise error

    with pytest.raises(error):
        interrupted()
    with warehouse.connect() as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]


@pytest.mark.process
def test_the_file_is_free_again_after_an_error(warehouse):
    with pytest.raises(duckdb.Error), warehouse.connect() as connection:
        connection.execute("SELECT no_such_column")
    with holder(HOLD_FILE, warehouse.path):
        pass


@pytest.mark.process
def test_who_holds_the_file_is_named_while_waiting_and_when_giving_up(warehouse):
    said: list[str] = []
    with (
        holder(HOLD_FILE, warehouse.path) as other,
        pytest.raises(WarehouseBusyError, match=rf"held by process {other.pid} \(python.*Close that program"),
        warehouse.connect(said.append),
    ):
        pass
    assert len(said) == 1
    assert said[0].startswith(f"warehouse.duckdb is held by process {other.pid} (python")


@pytest.mark.process
def test_waiting_ends_as_soon_as_the_file_is_free(warehouse):
    patient = Warehouse(warehouse.path, lock_timeout=30, memory_limit="1GB")
    with holder(HOLD_FILE, warehouse.path) as other:
        said: list[str] = []

        def let_go(text: str) -> None:
            said.append(text)
            other.stdin.write("\n")
            other.stdin.flush()

        started = time.monotonic()
        with patient.connect(let_go) as connection:
            connection.execute("SELECT 1")
    assert said
    assert time.monotonic() - started < 10


def test_a_file_that_is_no_database_is_named_with_what_to_do(warehouse):
    warehouse.path.write_bytes(b"no database" * 1000)
    with pytest.raises(WarehouseError, match=r"warehouse\.duckdb cannot be opened .* backup"), warehouse.connect():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    warehouse = Warehouse(tmp_path / "file" / "warehouse.duckdb", lock_timeout=0.3, memory_limit="1GB")
    with pytest.raises(WarehouseError, match=r"file cannot be written.*output_dir"), warehouse.connect():
        pass


# --- months -----------------------------------------------------------------------------------------------------------


def test_a_month_is_replaced_by_name_and_the_others_stay(warehouse):
    with warehouse.transaction() as connection:
        prepare(connection, TABLES, ("visits",))
        for month, customers in ((MARCH, 3), (APRIL, 2), (MARCH, 4)):
            ids = f"SELECT unnest(range({customers})) AS i"
            rows = f"""
                SELECT CAST(i AS VARCHAR) AS customer_id, 1.5 AS visits, DATE '{month}' AS month, NULL AS first_seen,
                    1 AS copies, 0 AS unreadable_amounts, 0 AS missing_order_ids, NULL AS unreadable_values
                FROM ({ids})
            """
            assert replace_month(connection, RAW_CUSTOMERS, month, rows, ["visits"]) == customers
        assert month_rows(connection, RAW_CUSTOMERS, MARCH) == 4
        assert month_rows(connection, RAW_CUSTOMERS, APRIL) == 2
        assert connection.execute("SELECT DISTINCT visits FROM raw_customers").fetchall() == [(1.5,)]


def test_preparing_again_keeps_the_rows_and_adds_the_features_of_a_changed_file(warehouse):
    with warehouse.transaction() as connection:
        prepare(connection, TABLES, ("visits",))
        connection.execute("INSERT INTO raw_customers (month, customer_id, visits) VALUES (DATE '2023-03-01', 'a', 7)")
    with warehouse.transaction() as connection:
        prepare(connection, TABLES, ("visits", 'minutes "on" the phone'))
        found = connection.execute('SELECT visits, "minutes ""on"" the phone" FROM raw_customers').fetchall()
        assert found == [(7.0, None)]
        assert len(connection.execute("SHOW TABLES").fetchall()) == len(TABLES)


# --- the run lock -----------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_second_run_waits_says_for_whom_and_gives_up(tmp_path):
    said: list[str] = []
    with holder(HOLD_LOCK, tmp_path / "lock") as other:
        with pytest.raises(WarehouseBusyError, match=rf"process {other.pid} \(a test, since \d\d:\d\d UTC\)"):
            RunLock(tmp_path / "lock", 0.3, "mine", said.append).__enter__()
        assert len(said) == 1
        assert f"process {other.pid} (a test" in said[0]
    with RunLock(tmp_path / "lock", 0.3, "mine", said.append):
        assert len(said) == 1


@pytest.mark.process
def test_a_killed_run_keeps_nobody_waiting(tmp_path):
    with holder(HOLD_LOCK, tmp_path / "lock") as other:
        other.kill()
        other.wait()
        assert json.loads((tmp_path / "lock").read_text())["pid"] == other.pid  # its name stands there still
        said: list[str] = []
        with RunLock(tmp_path / "lock", 0.3, "mine", said.append):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        assert said == []


@pytest.mark.process
def test_the_lock_is_free_to_its_own_process_and_kept_until_the_outermost_block_ends(tmp_path):
    path = tmp_path / "lock"
    with RunLock(path, 0.3, "all months"):
        for month in ("2023-03", "2023-04"):
            with RunLock(path, 0.3, month):
                assert json.loads(path.read_text())["purpose"] == "all months"
        with holder_that_must_wait(path) as waiting:
            assert waiting.poll() is None
    with holder(HOLD_LOCK, path):
        pass


@contextmanager
def holder_that_must_wait(path: Path) -> Iterator[subprocess.Popen[str]]:
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert waiting.stdout is not None
    assert waiting.stdout.readline().startswith("Another run is at work: process")
    yield waiting
    waiting.kill()
    waiting.communicate()


def test_a_lock_whose_run_has_ended_names_nobody(tmp_path):
    with RunLock(tmp_path / "lock", 0.3, "mine"):
        pass
    assert (tmp_path / "lock").read_text() == ""


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(WarehouseError, match="lock cannot be written"):
        RunLock(tmp_path / "lock", 0.3, "mine").__enter__()


def test_a_warehouse_of_an_older_version_gets_the_columns_that_it_lacks():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("visits",))
        connection.execute("ALTER TABLE segment_lineage DROP COLUMN margin")
        connection.execute("INSERT INTO segment_lineage (month, segment_id, overlap) VALUES ('2023-01-01', 3, 0.9)")
        prepare(connection, TABLES, ("visits",))
        rows = connection.execute("SELECT segment_id, overlap, margin FROM segment_lineage").fetchall()
        assert rows == [(3, 0.9, None)]


def test_a_month_of_before_the_window_was_written_down_keeps_its_limits_and_says_that_it_is_not_known():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        connection.execute("ALTER TABLE feature_limits DROP COLUMN window_months")
        connection.execute("INSERT INTO feature_limits (month, feature, lowest) VALUES ('2023-01-01', 'orders', 1)")
        prepare(connection, TABLES, ())
        rows = connection.execute("SELECT feature, lowest, window_months FROM feature_limits").fetchall()
        assert rows == [("orders", 1.0, None)]


def test_the_rows_of_an_older_run_log_are_numbered_as_they_were_written_and_not_by_their_clock():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        connection.execute("ALTER TABLE pipeline_runs DROP COLUMN sequence")
        for asset, day in (("first", 9), ("second", 7), ("third", 8)):
            connection.execute(
                "INSERT INTO pipeline_runs (month, asset, finished_at) VALUES ('2023-01-01', ?, make_date(2023, 2, ?))",
                [asset, day],
            )
        prepare(connection, TABLES, ())
        rows = connection.execute("SELECT asset FROM pipeline_runs ORDER BY sequence").fetchall()
        assert rows == [("first",), ("second",), ("third",)]
