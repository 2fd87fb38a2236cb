"""Ctrl-C, whatever is at work: one sentence, exit code 130, files that are whole, and the same command goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from segment_pipeline_tests.commands import Commands
from segment_pipeline_tests.shop import Shop, published_content, query
from segment_pipeline_tests.traces import left_beside, rows_in

STOPPED = "Stopped. What was published is whole; run the same command again to go on.\n"


def content(path: Path) -> dict[str, list[tuple]]:  # type: ignore[type-arg]
    """What is published, without the log of what was tried."""
    if not path.exists():
        return {}
    return {table: rows for table, rows in published_content(path).items() if table != "people_operations"}


def stopped_and_given_again(
    commands: Commands, published: Path, command: list[str], moment: str
) -> tuple[object, object]:
    """What is published after Ctrl-C at that moment, and after the same command once more."""
    ended = commands.start(*command, moment=moment, sends=signal.SIGINT).wait()
    assert (ended.code, ended.err) == (130, STOPPED)
    left = content(published)
    again = commands.start(*command).wait()
    assert again.code == 0, again
    return left, content(published)


@pytest.mark.parametrize("moment", ["before scaled_matrix", "after monthly_assignments", "draft is on disk"])
def test_a_run_that_is_stopped_goes_on(commands: Commands, copy: Shop, three_months: Shop, moment: str) -> None:
    command = ["run", "--config", str(copy.config_path), "--quiet", "--force", "--months", "2023-05"]
    left, after = stopped_and_given_again(commands, copy.published, command, moment)
    assert left == after == content(three_months.published)
    assert content(copy.warehouse) == content(three_months.warehouse)


@pytest.mark.parametrize(
    "moment", ["rows are taken out", "warehouse is rewritten", "draft is full", "history is searched"]
)
def test_forget_that_is_stopped_goes_on(commands: Commands, copy: Shop, three_months: Shop, moment: str) -> None:
    command = ["forget", "c00001", "--config", str(copy.config_path)]
    left, after = stopped_and_given_again(commands, copy.published, command, moment)
    before = content(three_months.published)
    assert before != after
    assert left == (after if moment == "history is searched" else before)
    for file in (copy.warehouse, copy.published):
        assert rows_in(file, "c00001") == {}
    assert left_beside(copy.folder) == []


@pytest.mark.parametrize("moment", ["customers are put", "after monthly_assignments"])
def test_a_quickstart_that_is_stopped_may_start_over(
    commands: Commands, three_months: Shop, tmp_path: Path, moment: str
) -> None:
    """It had taken its own folder for somebody else's, where it was stopped before all was there."""
    file, out = tmp_path / "customers.csv", tmp_path / "out"
    customers = "SELECT customer_id, days_since_last_order AS recency_days, orders, average_order_value"
    with duckdb.connect(str(three_months.warehouse), read_only=True) as connection:
        connection.execute(f"COPY ({customers} FROM raw_customers WHERE month = '2023-05-01') TO '{file}' (HEADER)")
    command = ["quickstart", str(file), "--out", str(out), "--segments", "2..4"]
    left, _ = stopped_and_given_again(commands, out / "segments.duckdb", command, moment)
    assert left == {}
    assert query(out / "segments.duckdb", "SELECT count(*) > 600 FROM current_assignments") == [(True,)]


def interrupted(process: subprocess.Popen[str]) -> str:
    """What a process says when Ctrl-C is pressed, and again as a person would: Python drops one that falls into a
    callback, such as that of a weak reference."""
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            continue
    return process.communicate()[1]


@pytest.mark.process
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.6])
def test_ctrl_c_in_the_first_second_is_no_traceback(copy: Shop, seconds: float) -> None:
    begin = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background processes ignore it
print('here', file=sys.stderr)
import segment_pipeline.cli.__main__ as m
sys.exit(m.begin())
"""
    command = [sys.executable, "-c", begin, "run", "--config", str(copy.config_path), "--force"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "here\n"
        time.sleep(seconds)
        said = interrupted(process)
    assert process.returncode in (130, -signal.SIGINT), said
    assert "Traceback" not in said
    assert said.count("Stopped") == said.count("\n") == 1


@pytest.mark.process
@pytest.mark.parametrize("module", ["segment_pipeline.cli.main", "segment_pipeline.quickstart.folder"])
def test_ctrl_c_that_a_library_turns_into_an_error_of_its_own_is_still_ctrl_c(module: str, tmp_path: Path) -> None:
    """As C extensions do while they are imported; before the command line is there, and in the middle of a command."""
    begin = f"""
import os, signal, sys
class Library:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("cannot be initialized") from None
sys.meta_path.insert(0, Library())
signal.signal(signal.SIGINT, signal.default_int_handler)
import segment_pipeline.cli.__main__ as m
sys.exit(m.begin())
"""
    file = tmp_path / "customers.csv"
    file.write_text("customer_id,orders\n1,2\n")
    command = [sys.executable, "-c", begin, "quickstart", str(file), "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (130, 1)
    assert ended.stderr.startswith("Stopped")
