"""The pipeline in use: killed, started twice, read while it writes. Real processes, real files, real signals."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from segment_pipeline_tests.commands import Commands, Started, eventually
from segment_pipeline_tests.shop import Shop, order_lines, published_content, query, write_parquet

REPOSITORY = Path(__file__).parents[1]
Months = dict[date, dict[str, list[tuple[Any, ...]]]]

# Two shops are killed side by side, one at the left moments, one at the right. "before" an asset's commit its rows are
# written and its transaction is open; after "published_segments" the warehouse says published, and the file does not.
MOMENTS = (
    ("before raw_customers", "after raw_customers"),
    ("before validated_features", "after scaled_matrix"),
    ("before candidate_models", "after selected_model"),
    ("before monthly_assignments", "after segment_profiles"),
    ("before drift_alerts", "after transition_deltas"),
    ("before published_segments", "after published_segments"),
    ("draft is full", "draft is complete"),
    ("draft is checked", "draft is on disk"),
    ("file is replaced", "file is replaced"),
)


def months_of(path: Path) -> Months:
    """What the published file says of each month, table by table; empty when there is no file."""
    if not path.exists():
        return {}
    found: Months = {}
    with duckdb.connect(str(path), read_only=True) as connection:
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE column_name IN ('month', 'trained_month') "
            "AND table_name IN (SELECT table_name FROM duckdb_tables()) "
            "AND table_name NOT IN ('pipeline_runs', 'published_parts')"
        ).fetchall():
            for (month,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
                found.setdefault(month, {})[table] = connection.execute(
                    f"SELECT * FROM {table} WHERE {column} = ? ORDER BY ALL", [month]
                ).fetchall()
    return found


def assert_whole(published: Path, expected: Months) -> int:
    """Each month in the file is all there, and as expected; returns how many there are."""
    found = months_of(published)
    for month, tables in found.items():
        assert tables == expected[month]
    return len(found)


def run_statuses(shop: Shop) -> list[dg.DagsterRunStatus]:
    with dg.DagsterInstance.from_config(str(shop.folder / "dagster_home")) as instance:
        return [run.status for run in instance.get_runs()]


def holds_the_lock(shop: Shop, pid: int) -> bool:
    """Whether the process has written its name into the run lock."""
    lock = shop.folder / ".run.lock"
    text = lock.read_text() if lock.exists() else ""
    return bool(text) and json.loads(text)["pid"] == pid


def start(commands: Commands, shop: Shop, *arguments: str, moment: str | None = None, days_ahead: float = 0) -> Started:
    command = "run", "--config", str(shop.config_path), *arguments
    return commands.start(*command, moment=moment, days_ahead=days_ahead)


@contextmanager
def script(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has said `ready`; it is told to end, and waited for, when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        if process.poll() is None:
            process.communicate(timeout=30)


# --- killed -----------------------------------------------------------------------------------------------------------


def test_a_run_killed_at_any_step_leaves_whole_months_and_the_next_completes_them(
    commands, tmp_path, shop_orders, three_months
):
    shops = [Shop(tmp_path / side) for side in ("left", "right")]
    for shop in shops:
        shop.folder.mkdir()
        shutil.copyfile(shop_orders, shop.orders_path)
        shop.configure(last_month="2023-05")
    expected = months_of(three_months.published)
    for moments in MOMENTS:
        runs = [start(commands, shop, "--quiet", moment=moment) for shop, moment in zip(shops, moments, strict=True)]
        assert [run.wait().code for run in runs] == [-signal.SIGKILL] * 2, moments
        for shop in shops:
            assert_whole(shop.published, expected)

    for run in [start(commands, shop) for shop in shops]:
        completed = run.wait()
        assert completed.code == 0
        assert "Another run" not in completed.err  # nobody waits for the dead
    for shop in shops:
        assert published_content(shop.published) == published_content(three_months.published)
        assert published_content(shop.warehouse) == published_content(three_months.warehouse)
        assert not list(shop.folder.glob(".segments.duckdb.*"))  # what the killed runs had begun to write
        statuses = run_statuses(shop)
        assert statuses.count(dg.DagsterRunStatus.FAILURE) == len(MOMENTS)
        assert not set(statuses) - {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}


def test_runs_killed_while_they_replace_months_take_nothing_from_consumers(commands, copy, three_months):
    expected = months_of(three_months.published)
    moments = random.Random(20230301)  # noqa: S311 - a seed, not a secret
    for days_ahead in (2, -2, 0):  # and the clock is put back and forth between them
        run = start(commands, copy, "--quiet", "--force", days_ahead=days_ahead)
        eventually(lambda pid=run.pid: holds_the_lock(copy, pid))
        time.sleep(moments.uniform(0, 5))
        run.kill()
        assert run.wait().code == -signal.SIGKILL
        assert assert_whole(copy.published, expected) == 3
    assert commands.run(copy, "--quiet").code == 0  # without --force: what was left half-made is due
    assert published_content(copy.published) == published_content(three_months.published)
    assert published_content(copy.warehouse) == published_content(three_months.warehouse)
    assert set(run_statuses(copy)) == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}


# --- two at once ------------------------------------------------------------------------------------------------------


def assert_one_waited_for_the_other(first: Started, second: Started) -> None:
    ends = first.wait(), second.wait()
    assert [end.code for end in ends] == [0, 0], ends
    waited = [end.err for end in ends if "Another run is at work" in end.err]
    assert len(waited) == 1
    other = first if waited[0] == ends[1].err else second
    assert f"process {other.pid} (segment-pipeline run" in waited[0]


def test_two_first_runs_at_once_both_end_well(commands, shop, three_months):
    shop.configure(last_month="2023-04")
    assert_one_waited_for_the_other(start(commands, shop), start(commands, shop))
    expected = {month: tables for month, tables in months_of(three_months.published).items() if month.month < 5}
    assert months_of(shop.published) == expected
    # no month was run twice
    assert query(shop.published, "SELECT count(*) = count(DISTINCT (month, asset)) FROM pipeline_runs") == [(True,)]


def test_two_runs_of_different_months_both_end_well(commands, copy, three_months):
    first, second = (start(commands, copy, "--force", "--months", month) for month in ("2023-04", "2023-05"))
    assert_one_waited_for_the_other(first, second)
    assert published_content(copy.published) == published_content(three_months.published)


def test_a_run_of_the_ui_and_one_of_the_command_line_wait_for_each_other(commands, copy, three_months):
    environment = os.environ | {
        "SEGMENT_PIPELINE_CONFIG": str(copy.config_path),
        "DAGSTER_HOME": str(copy.folder / "dagster_home"),
    }
    launch = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "segment_pipeline.definitions"]
    of_the_ui = subprocess.Popen(
        [*launch, "--select", "*", "--partition", "2023-04"],
        env=environment,
        cwd=copy.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually(lambda: holds_the_lock(copy, of_the_ui.pid))
    waiting = start(commands, copy, "--force", "--months", "2023-05")
    said = waiting.says("Another run is at work")
    assert f"process {of_the_ui.pid} (run " in said
    log, _ = of_the_ui.communicate(timeout=60)
    assert of_the_ui.returncode == 0, log
    assert waiting.wait().code == 0
    assert published_content(copy.published) == published_content(three_months.published)
    assert set(run_statuses(copy)) == {dg.DagsterRunStatus.SUCCESS}


def test_who_waits_for_a_run_that_is_killed_goes_on_at_once(commands, copy, three_months):
    killed = start(commands, copy, "--force")
    eventually(lambda: holds_the_lock(copy, killed.pid))
    waiting = start(commands, copy, "--force", "--months", "2023-05")
    waiting.says(f"process {killed.pid}")
    killed.kill()
    assert killed.wait().code == -signal.SIGKILL
    assert waiting.wait().code == 0
    assert commands.run(copy, "--quiet").code == 0
    assert published_content(copy.published) == published_content(three_months.published)


def test_a_run_that_has_waited_long_enough_gives_up_and_says_for_whom(commands, copy):
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write(sys.argv[2]); f.flush()"
    )
    holder = json.dumps({"pid": 4711, "purpose": "run 01234567", "since": "06:00 UTC"})
    configure_patience(copy, minutes=0.005)
    with script(f"{hold}; print('ready', flush=True); sys.stdin.read()", copy.folder / ".run.lock", holder):
        ended = commands.run(copy, "--force")
    assert ended.code == 1
    assert "Another run, process 4711 (run 01234567, since 06:00 UTC), has not ended within 0.005 minutes" in ended.err
    assert "operation.lock_timeout_minutes" in ended.err
    assert "Traceback" not in ended.err


def configure_patience(shop: Shop, minutes: float) -> None:
    shop.configure(last_month="2023-05", more=f"operation: {{lock_timeout_minutes: {minutes}}}")


# --- others have the files open ---------------------------------------------------------------------------------------

OPEN = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "r")
if sys.argv[2] == "w": connection.execute("CREATE TABLE notes AS SELECT 1; DELETE FROM monthly_assignments")
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_program_that_holds_the_warehouse_is_named_and_waited_for(commands, copy):
    with script(OPEN, copy.warehouse, "r") as holder:
        run = start(commands, copy, "--force", "--months", "2023-05")
        said = run.says("warehouse.duckdb is held by")
        assert f"process {holder.pid} (python" in said
        assert "waiting for it, at most 30 minutes" in said
    assert run.wait().code == 0


def test_a_program_that_keeps_the_warehouse_too_long_is_named(commands, copy):
    configure_patience(copy, minutes=0.005)
    with script(OPEN, copy.warehouse, "r") as holder:
        ended = commands.run(copy, "--force")
    assert ended.code == 1
    assert f"warehouse.duckdb has been held by process {holder.pid} (python" in ended.err
    assert "Close that program" in ended.err
    assert "Traceback" not in ended.err


READ_ALL_THE_TIME = """
import json, sys, threading, time, duckdb
path, seen, stop = sys.argv[1], {"held": set(), "new": set()}, threading.Event()
ask = "SELECT month, count(*), sum(max_probability), count(DISTINCT model_version) FROM monthly_assignments GROUP BY 1"
def look(connection, name):
    rows = connection.execute(ask).fetchall()
    profiles = connection.execute("SELECT month, sum(customers) FROM segment_profiles GROUP BY 1").fetchall()
    assert sorted(profiles) == sorted((row[0], row[1]) for row in rows), (profiles, rows)
    seen[name].add(tuple(sorted((str(row[0]), row[1], round(row[2], 6), row[3]) for row in rows)))
held = duckdb.connect(path, read_only=True)
look(held, "held")
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("ready", flush=True)
reads = 0
while not stop.is_set():
    look(held, "held")
    held.close()
    with duckdb.connect(path, read_only=True) as connection:
        look(connection, "new")
    held = duckdb.connect(path, read_only=True)
    for _ in range(5):
        look(held, "held")
        time.sleep(0.02)
    reads += 7
print(json.dumps({"reads": reads} | {name: sorted(states) for name, states in seen.items()}))
"""

HOLD_AND_READ = """
import sys, threading, time, duckdb
held, stop, states = duckdb.connect(sys.argv[1], read_only=True), threading.Event(), set()
ask = "SELECT month, count(*), sum(entropy) FROM monthly_assignments GROUP BY 1 ORDER BY 1"
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("ready", flush=True)
while not stop.is_set():
    states.add(str(held.execute(ask).fetchall()))
    time.sleep(0.05)
print(len(states))
"""


def test_readers_of_the_published_file_and_a_run_do_not_notice_each_other(commands, copy):
    copy.configure(last_month="2023-06")
    with script(READ_ALL_THE_TIME, copy.published) as busy, script(HOLD_AND_READ, copy.published) as patient:
        run = start(commands, copy, "--force", "--months", "2023-05..2023-06").wait()
        held_states, _ = patient.communicate(timeout=30)
        found, _ = busy.communicate(timeout=30)
    assert run.code == 0
    assert "held by" not in run.err
    assert (busy.returncode, patient.returncode) == (0, 0)
    assert held_states == "1\n"  # who keeps the file open goes on reading the state that it opened
    report = json.loads(found)
    assert report["reads"] > 100
    states = {tuple(month[0] for month in state) for state in report["new"]}
    before = ("2023-03-01", "2023-04-01", "2023-05-01")
    assert states <= {before, (*before, "2023-06-01")}
    assert len(report["new"]) <= 2  # two states of the file, and no other


def test_a_program_that_opened_the_published_file_for_writing_does_not_stop_a_run(commands, copy, three_months):
    copy.published.chmod(0o644)
    with script(OPEN, copy.published, "w"):
        run = commands.run(copy, "--force", "--months", "2023-05")
        assert run.code == 0, run
        assert published_content(copy.published) == published_content(three_months.published)
    assert published_content(copy.published) == published_content(three_months.published)


def test_consumers_cannot_open_the_published_file_for_writing_by_mistake(three_months):
    assert three_months.published.stat().st_mode & 0o222 == 0


# --- files that are gone ----------------------------------------------------------------------------------------------


def test_a_published_file_that_is_missing_is_copied_again_and_no_month_is_run(commands, copy, three_months):
    copy.published.unlink()
    assert commands.run(copy).code == 0
    assert published_content(copy.published) == published_content(three_months.published)
    before = query(three_months.published, "SELECT count(*) FROM pipeline_runs")[0][0]
    assert query(copy.published, "SELECT count(*) FROM pipeline_runs") == [(before + 1,)]


def test_a_month_that_was_killed_on_its_way_into_the_published_file_gets_there_with_the_next_run(
    commands, copy, three_months
):
    lines = order_lines(seed=2)
    write_parquet(lines, copy.orders_path)
    killed = commands.run(copy, "--force", "--months", "2023-05", moment="draft is on disk")
    assert killed.code == -signal.SIGKILL
    assert published_content(copy.published) == published_content(three_months.published)
    assert commands.run(copy, "--quiet").code == 0
    ours = "SELECT * FROM monthly_assignments ORDER BY ALL"
    assert query(copy.published, ours) == query(copy.warehouse, ours) != query(three_months.published, ours)
    assert not list(copy.folder.glob(".segments.duckdb.*"))


def test_a_warehouse_that_is_missing_does_not_cost_consumers_their_months(commands, copy, three_months, materialize):
    copy.warehouse.unlink()
    refused = commands.run(copy, "--force")
    assert refused.code == 1
    assert "has 2023-03..2023-05 as runs have published them of which warehouse.duckdb knows nothing" in refused.err
    assert "--accept-loss 2023-03..2023-05" in refused.err
    assert not materialize(copy, "2023-03", raise_on_error=False).success  # nor does the UI take them
    assert published_content(copy.published) == published_content(three_months.published)


def test_a_backup_does_not_overwrite_what_a_newer_warehouse_has_published(commands, copy, three_months, tmp_path):
    backup = copy.warehouse.read_bytes()
    write_parquet(order_lines(seed=2), copy.orders_path)
    assert commands.run(copy, "--quiet", "--force", "--months", "2023-05").code == 0
    newer = published_content(copy.published)
    copy.warehouse.write_bytes(backup)
    for arguments in ([], ["--force", "--months", "2023-05"], ["--accept-loss", "2023-04"]):
        refused = commands.run(copy, *arguments)
        assert refused.code == 1
        assert "--accept-loss 2023-05;" in refused.err
        assert published_content(copy.published) == newer
    assert commands.run(copy, "--quiet", "--accept-loss", "2023-05").code == 0
    assert published_content(copy.folder / "segments.kept_1.duckdb") == newer
    ours = "SELECT * FROM monthly_assignments ORDER BY ALL"
    assert query(copy.published, ours) == query(three_months.published, ours)


def test_a_second_configuration_in_the_folder_is_refused_and_a_renamed_one_goes_on(commands, copy, three_months):
    text = copy.config_path.read_text()
    other = copy.folder / "other.yaml"
    other.write_text(text.replace("name: shop", "name: other"))
    refused = commands.start("run", "--config", str(other), "--force").wait()
    assert refused.code == 1
    assert "holds the months of shop (segmentation.yaml), and this is other (other.yaml)" in refused.err
    assert published_content(copy.published) == published_content(three_months.published)
    other.write_text(other.read_text() + "output_dir: other_output\n")
    assert commands.start("run", "--config", str(other), "--quiet", "--months", "2023-03").wait().code == 0
    copy.config_path.write_text(text.replace("name: shop", "name: renamed"))
    assert commands.run(copy, "--quiet", "--force", "--months", "2023-05").code == 0


# --- a month that comes out different ---------------------------------------------------------------------------------


def test_who_renews_a_month_is_told_which_later_months_stand_on_the_old_one(commands, copy):
    lines = order_lines()
    late = [i for i, at in enumerate(lines["ordered_at"]) if f"{at:%Y-%m}" == "2023-04" and i % 4 == 0]
    more = {name: [*values, *(values[i] for i in late)] for name, values in lines.items()}
    more["order_id"][-len(late) :] = [f"late-{i}" for i in late]
    write_parquet(more, copy.orders_path)
    renewed = commands.run(copy, "--quiet", "--force", "--months", "2023-04")
    assert renewed.code == 0
    assert "2023-04 came out different from before" in renewed.err
    assert f"segment-pipeline run --config {copy.config_path} --months 2023-05 --force" in renewed.err
    followed = commands.run(copy, "--quiet", "--force", "--months", "2023-05")
    assert (followed.code, followed.out, followed.err) == (0, "", "")


# --- other clients ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def duckdb_1_5() -> Path:
    """The folder of a DuckDB 1.5, for PYTHONPATH."""
    folder = REPOSITORY / ".cache" / "duckdb-1.5"
    assert (folder / "ready").exists(), "DuckDB 1.5 is not here: `make test` installs it, once"
    return folder


READ_EVERYTHING = """
import sys, duckdb
print(duckdb.__version__)
connection = duckdb.connect(sys.argv[1], read_only=True)
found = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'").fetchall()
for (name,) in sorted(found):
    print(name, len(connection.execute(f'SELECT * FROM "{name}"').fetchall()))
"""


@pytest.mark.process
@pytest.mark.network
def test_duckdb_1_5_reads_every_table_and_view(three_months, duckdb_1_5):
    found = subprocess.run(
        [sys.executable, "-c", READ_EVERYTHING, str(three_months.published)],
        env=os.environ | {"PYTHONPATH": str(duckdb_1_5)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert found[0].startswith("1.5.")
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        relations = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
        ).fetchall()
        ours = [f"{name} {len(connection.execute(f'FROM {name}').fetchall())}" for (name,) in relations]
    assert found[1:] == ours
    assert len(ours) > 15


SCORE_A_CUSTOMER = """
import resource, sys, duckdb
connection = duckdb.connect()
connection.execute(f"ATTACH '{sys.argv[1]}' AS segments (READ_ONLY)")
connection.execute(
    "CREATE TABLE mine AS SELECT 'ann' AS customer_id, 4 AS days_since_last_order, 22 AS orders, "
    "31.5 AS average_order_value, 9.2 AS products_per_order"
)
print(duckdb.__version__)
print(connection.execute("SELECT * FROM segments.score(mine)").fetchall())
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), used + (4 << 30)))
assert "ann" in str(connection.sql("SELECT * FROM segments.score(mine)"))  # with a LIMIT, as print shows it
"""


@pytest.mark.process
@pytest.mark.network
def test_duckdb_1_5_scores_a_customer_with_the_macro_of_the_file(three_months, duckdb_1_5):
    command = [sys.executable, "-c", SCORE_A_CUSTOMER, str(three_months.published)]
    oldest = os.environ | {"PYTHONPATH": str(duckdb_1_5)}
    old, ours = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
        for environment in (oldest, os.environ)
    )
    assert (old[0][:4], ours[0][:2]) == ("1.5.", "2.")
    assert old[1] == ours[1]
    assert "'ann'" in ours[1]


# --- what is published ------------------------------------------------------------------------------------------------


def test_the_run_log_has_one_row_for_each_asset_and_month(three_months, copy):
    from segment_pipeline.definitions import defs

    assets = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    assets.remove("segment_report")  # it reads the file in which this log is published
    rows = query(three_months.published, "SELECT asset, month, run_id, rows, seconds, config_hash FROM pipeline_runs")
    assert sorted((row[0], f"{row[1]:%Y-%m}") for row in rows) == sorted(
        (asset, month) for asset in assets for month in ("2023-03", "2023-04", "2023-05")
    )
    assert len({row[2] for row in rows}) == 3
    assert all(row[3] >= 0 and row[4] > 0 and row[5] for row in rows)
    # whole steps, as Dagster has them, and not only their last transaction: most of this one comes before it
    shares = []
    with dg.DagsterInstance.from_config(str(copy.folder / "dagster_home")) as instance:
        for _, _, run_id, _, seconds, _ in (row for row in rows if row[0] == "candidate_models"):
            (step,) = instance.get_run_step_stats(run_id, ["candidate_models"])
            shares.append(seconds / (step.end_time - step.start_time))
    assert 0.5 < max(shares) < 1.1, shares


def test_the_data_dictionary_is_what_stands_in_the_file(three_months):
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        relations = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
        actual = {
            (name, column[0]): column[1]
            for name in relations
            for column in connection.execute(f'DESCRIBE "{name}"').fetchall()
        }
        described = connection.execute(
            "SELECT table_name, column_name, type FROM data_dictionary WHERE column_name IS NOT NULL"
        ).fetchall()
        tables = connection.execute("SELECT table_name FROM data_dictionary WHERE column_name IS NULL").fetchall()
        without_comment = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal "
            "AND coalesce(comment, '') = ''"
        ).fetchall()
    assert {(name, column): type_ for name, column, type_ in described} == actual
    assert sorted(row[0] for row in tables) == sorted(relations)
    assert without_comment == []
