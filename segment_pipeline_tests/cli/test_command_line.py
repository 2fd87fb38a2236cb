"""What the command line says, where it says it, and with which exit code."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
import requests

from segment_pipeline_tests.commands import Finished, eventually
from segment_pipeline_tests.shop import published_content


def assert_refused(ended: Finished, code: int, *parts: str) -> None:
    """It ended with `code` and a message with these parts, not with a traceback."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert ended.out == ""
    for part in parts:
        assert part in ended.err


# --- what it prints ---------------------------------------------------------------------------------------------------


def test_a_log_gets_one_line_for_each_month_and_then_the_summary(commands, copy):
    ended = commands.run(copy, "--force", "--months", "2023-04..2023-05")
    assert ended.code == 0
    assert re.fullmatch(r"2023-04 published \(1 of 2, \d+ s\)\n2023-05 published \(2 of 2, \d+ s\)\n", ended.err)
    for shown in (
        r"^shop: 3 months published, 2023-03 to 2023-05\.$",
        r"^In 2023-05: [\d,]+ customers in \d segments\.$",
        r"^id +segment +role +customers +share +vs month before",
        r"^\d+ +\S.* +\d+ +\d+\.\d % +[+-]\d+\.\d points",
        r"^Moved: \d+ changed segment \(chance alone moves \d+ to \d+\), \d+ stayed; \d+ new, \d+ returned, \d+ lap",
        r"^Warnings: \d+ new, \d+ ongoing( \(.* \(chance alone \d+ to \d+\)\))?; \d+ customers to contact .*\.$",
        r"^Hybrid customers spend (about as much as|\d+ % (more|less) than) customers of a single segment .* interval",
        r"^Rejected: nobody\.$",
        r"^Model 1, from 2023-03: \d segments; bootstrap\.$",
        r"^Alerts in 2023-05: none\.$|^Alert \(",
        rf"^Published: {re.escape(str(copy.published))}$",
    ):
        assert re.search(shown, ended.out, re.MULTILINE), shown


def test_a_terminal_sees_the_step_at_work_and_keeps_the_lines(commands, copy):
    ours, theirs = pty.openpty()
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.extend(iter(lambda: read_or_nothing(ours), b"")), daemon=True)
    reader.start()
    terminal = os.ttyname(theirs)
    environment = {"TERM": "xterm", "COLUMNS": "100"}
    run = commands.start(
        *("run", "--config", str(copy.config_path), "--months", "2023-05", "--force"),
        environment=environment,
        err=Path(terminal),
    )
    assert run.wait().code == 0
    os.close(theirs)
    reader.join(timeout=5)
    text = b"".join(seen).decode()
    assert "2023-05 candidate_models" in text
    (line,) = screen(text)
    assert re.fullmatch(r"2023-05 published \(1 of 1, \d+ s\)", line)  # the bar is gone, the line stays


def read_or_nothing(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that the other end was closed
        return b""


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end: carriage returns, line feeds, cursor up and erase line done."""
    lines, row, column = [""], 0, 0
    for control, plain in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)", text):
        if control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif control.endswith("A"):
            row -= int(control[2:-1] or 1)
        elif control.endswith("K"):
            lines[row] = ""
        elif plain:
            lines[row] = lines[row].ljust(column)[:column] + plain + lines[row][column + len(plain) :]
            column += len(plain)
    return [line.rstrip() for line in lines if line.strip()]


def test_quiet_prints_nothing_when_all_is_well(commands, copy):
    assert commands.run(copy, "--quiet") == Finished(0, "", "")
    copy.published.unlink()
    assert commands.run(copy, "--quiet") == Finished(0, "", "")


def test_when_there_is_nothing_to_do_it_says_so_and_shows_the_summary(commands, copy):
    ended = commands.run(copy)
    assert ended.code == 0
    assert ended.err == (
        "Nothing to do: 2023-03..2023-05 stand in the published file. To run months again, add --force.\n"
    )
    assert "shop: 3 months published" in ended.out


def test_help_teaches_the_usual_commands(commands):
    ended = commands.start("run", "--help").wait()
    assert ended.code == 0
    for taught in ("--months 2017-05..2017-08", "--force", "--quiet", "--config FILE", "exit code", "cron"):
        assert taught in ended.out


@pytest.mark.process
def test_the_console_script_is_installed():
    script = Path(sys.executable).with_name("segment-pipeline")
    found = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("segment-pipeline ")


def test_check_says_that_a_file_is_fine_and_writes_nothing(commands, shop):
    before = sorted(shop.folder.iterdir())
    ended = commands.start("check", "--config", str(shop.config_path)).wait()
    assert ended.code == 0
    assert ended.out.startswith(f"{shop.config_path}: fine. 4 features, first month 2023-03.")
    assert sorted(shop.folder.iterdir()) == before


def test_export_writes_the_latest_month_beside_the_published_file_and_says_what(commands, copy):
    copy.warehouse.unlink()  # whoever holds it, an export does not ask for it
    command = ("export", "--config", str(copy.config_path))
    ended = commands.start(*command).wait()
    assert (ended.code, ended.err) == (0, "")
    folder = copy.folder / "exports" / "2023-05" / "full"
    assert re.fullmatch(
        rf"{folder}/customers\.parquet: \d+ customers, [\d,]+ bytes\n{folder}/customers\.csv: \d+ customers, .*\n",
        ended.out,
    )
    out = copy.folder / "crm"
    ended = commands.start(*command, "--month", "2023-04", "--delta", "--format", "csv", "--out", str(out)).wait()
    assert (ended.code, ended.err) == (0, "")
    assert {path.name for path in out.iterdir()} == {"changes.csv", "manifest.json"}


def test_an_export_that_cannot_be_is_refused(commands, three_months):
    command = ("export", "--config", str(three_months.config_path))
    assert_refused(commands.start(*command, "--month", "2024-01").wait(), 1, "2024-01 is not published", "2023-05")
    assert_refused(commands.start(*command, "--month", "2023-03", "--delta").wait(), 1, "2023-02 is not published")
    assert_refused(commands.start(*command, "--month", "May").wait(), 2, "--month", "'May' is not a month")
    assert_refused(commands.start(*command, "--format", "xlsx").wait(), 2, "--format", "xlsx", "parquet", "csv", "both")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.process
def test_the_ui_ends_with_all_that_it_started_even_in_the_background(shop, sent):
    """A shell without job control starts background processes with SIGINT ignored."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "ui", "--config", str(shop.config_path)]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        eventually(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 180)
        assert len(session_of(process.pid)) > 2
        process.send_signal(sent)
        process.wait(90)
        eventually(lambda: not session_of(process.pid), 60)
    finally:
        if session_of(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def session_of(leader: int) -> list[int]:
    """The processes at work in the session that `leader` began."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except FileNotFoundError:  # it has just ended
            continue
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def test_ui_starts_dagster_on_the_users_file_under_the_known_location_name(shop, monkeypatch):
    from segment_pipeline.cli.main import main

    started: list[list[str]] = []

    def replace_this_process(program: str, command: list[str]) -> None:
        started.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", replace_this_process)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "environ", os.environ | {"SEGMENT_PIPELINE_REPORTS_URL": "http://reports.example/"})
    monkeypatch.chdir(shop.folder)
    with pytest.raises(SystemExit):
        main(["ui", "--config", str(shop.config_path), "--port", "3456"])
    workspace = shop.folder / "dagster_home" / "workspace.yaml"
    assert started[0][1:6] == ["-W", "ignore:Function `dev_command`:FutureWarning", "-m", "dagster", "dev"]
    assert started[0][6:] == ["--workspace", str(workspace), "--host", "127.0.0.1", "--port", "3456"]
    assert "location_name: segment_pipeline\n" in workspace.read_text()
    assert os.environ["SEGMENT_PIPELINE_CONFIG"] == str(shop.config_path)
    assert os.environ["DAGSTER_HOME"] == str(shop.folder / "dagster_home")


def test_the_reports_are_served_for_as_long_as_the_process_lives_however_it_ends(tmp_path):
    (tmp_path / "2023-05.html").write_text("<p>The report.</p>")
    code = (
        "import sys, time; from pathlib import Path; from segment_pipeline.cli.reports_server import serve_reports; "
        f"print(serve_reports(Path({str(tmp_path)!r}), 0), flush=True); time.sleep(120)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert requests.get(f"{address}2023-05.html", timeout=10).text == "<p>The report.</p>"
        assert "2023-05.html" in requests.get(address, timeout=10).text
        process.kill()

    def is_gone() -> bool:
        try:
            requests.get(address, timeout=10)
        except requests.RequestException:
            return True
        return False

    eventually(is_gone, 30)


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_without_a_command_it_shows_the_three_ways_to_begin(commands):
    ended = commands.start().wait()
    assert_refused(ended, 2, "segment-pipeline quickstart customers.csv", "segment-pipeline init my_shop", " run ")
    assert "required: COMMAND" not in ended.err


def test_a_port_that_is_taken_or_none_is_refused(commands, shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ui = ("ui", "--config", str(shop.config_path))
        assert_refused(commands.start(*ui, "--port", str(port)).wait(), 1, f"Port {port} is taken", "--port ")
    assert_refused(commands.start(*ui, "--port", "99999").wait(), 2, "--port", "'99999' is no port")
    assert_refused(commands.start(*ui, environment={"PORT": "http"}).wait(), 2, "--port", "'http' is no port")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("%q", "'%q' is no way to write dates"),
        ("%d/%m/%Y", "--date-format '%d/%m/%Y': no column of"),
        ("dates", "--date-format 'dates': no column of"),
        # it fits the second column, and which is meant nobody said
        ("%d.%m.%Y", "day of {file}, which tells when an order was placed, is not written so (such as '2024-01-01')"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "quickstart", "init"])
def test_a_date_format_that_does_not_fit_is_refused_and_no_other_is_read(commands, tmp_path, command, written, said):
    file = tmp_path / "orders.csv"
    days = [date(2024, 1, 1) + timedelta(days=number % 150) for number in range(900)]
    rows = [
        f"c{number % 90},o{number},{day},{day + timedelta(days=3):%d.%m.%Y},{number % 40 + 5}.5"
        for number, day in enumerate(days)
    ]
    file.write_text("\n".join(["customer,order,day,paid,total", *rows]))
    place = {"inspect": [str(file)], "quickstart": [str(file), "--out", str(tmp_path / "out")]}
    arguments = place.get(command, [str(tmp_path / "project"), "--from", str(file)])
    ended = commands.start(command, *arguments, "--date-format", written).wait()
    assert_refused(ended, 2, said.format(file=file))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders.csv"]


@pytest.mark.parametrize(
    ("months", "said"),
    [
        ("2023-4", "'2023-4' is not a month; write it as YYYY-MM"),
        ("march", "'march' is not a month"),
        ("2023-13", "2023-13: month must be in 1..12"),
        ("2023-05..2023-04", "2023-05..2023-04 ends before it begins"),
        ("2023-05..", "'' is not a month"),
        ("2023-01", "2023-01 is not a closed month of"),
        ("2023-05..2023-06", "2023-06 is excluded by last_month of"),
    ],
)
def test_months_that_cannot_be_meant_are_refused(commands, three_months, months, said):
    assert_refused(commands.run(three_months, "--months", months), 2, "--months", said)


def test_months_outside_the_users_file_are_refused_with_those_it_has(commands, three_months):
    ended = commands.run(three_months, "--months", "2024-01")
    assert_refused(ended, 2, str(three_months.config_path), "2023-03 to 2023-05")


def test_a_wrong_key_is_refused_with_file_and_line(commands, three_months, shop):
    shop.config_path.write_text("name: shop\nfirst_mont: 2023-03\n")
    assert_refused(commands.run(shop), 2, f"{shop.config_path}:2: first_mont: found an unknown key")
    assert_refused(
        commands.start("check", "--config", str(shop.config_path)).wait(), 2, f"{shop.config_path}:2: first_mont"
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("outcomes: {path: gone.csv, customer_id: c, occurred_at: t, value: v}", "gone.csv does not exist"),
        ("outcomes: {path: orders.parquet, customer_id: customer, occurred_at: nosuch, value: amount}", "nosuch"),
        ("audit: {path: gone.csv, customer_id: c, segment: s}", "audit: "),
        ("audit: {path: orders.parquet, customer_id: customer, segment: nosuch}", "audit.segment: column nosuch is"),
    ],
)
def test_check_opens_every_file_that_is_named(commands, shop, more, said):
    shop.configure(more=more)
    ended = commands.start("check", "--config", str(shop.config_path)).wait()
    assert ended.code == 2
    assert said in ended.err


def test_check_knows_the_segments_that_are_published(commands, copy):
    copy.configure(last_month="2023-05", more="segments: {1: {name: Regulars}, 77: {name: Nobody}}")
    ended = commands.start("check", "--config", str(copy.config_path)).wait()
    assert ended.code == 0
    assert "segments.77: found segment 77; 2023-05 has " in ended.err
    assert "segments.1:" not in ended.err


def test_check_reads_the_campaign_file_as_well(commands, shop):
    shop.configure(more="campaigns: {file: campaigns.yaml}")
    campaigns = shop.folder / "campaigns.yaml"
    campaigns.write_text("- campaign: spring\n  mont: 2023-03\n")
    ended = commands.start("check", "--config", str(shop.config_path)).wait()
    assert_refused(ended, 2, f"{campaigns}:2: [0].mont: found an unknown key")


def test_a_month_whose_month_before_is_missing_is_refused_with_the_command_that_fills_the_gap(commands, copy):
    copy.configure(last_month="2023-06")
    killed = commands.run(copy, "--force", "--months", "2023-04", moment="after monthly_assignments")
    assert killed.code == -signal.SIGKILL
    before = published_content(copy.published)
    ended = commands.run(copy, "--months", "2023-05", "--force")
    assert_refused(
        ended,
        1,
        "2023-05 cannot run: 2023-04 before it is missing or was left half-made",
        f"segment-pipeline run --config {copy.config_path} --months 2023-04",
    )
    assert published_content(copy.published) == before


def test_a_month_that_fails_stops_the_run_and_names_what_was_not_tried(commands, copy):
    copy.orders_path.unlink()
    before = published_content(copy.published)
    ended = commands.run(copy, "--force", "--months", "2023-04..2023-05")
    assert_refused(ended, 1, "2023-04 failed and was not published", "orders.parquet", "2023-05 stands on it")
    assert "defect" not in ended.err
    assert "Dependencies for step" not in ended.err  # Dagster's own words are for the UI
    assert published_content(copy.published) == before


@pytest.mark.parametrize("output_dir", ["orders.parquet", "/proc/nowhere", "/sys/kernel"])
def test_a_folder_that_cannot_be_written_is_named(commands, shop, output_dir):
    shop.configure(more=f"output_dir: {output_dir}")
    assert_refused(commands.run(shop), 1, output_dir, "cannot be written", "output_dir")


def test_a_published_file_that_is_damaged_is_named_and_heals_when_moved_away(commands, copy, three_months):
    copy.published.chmod(0o644)
    copy.published.write_bytes(copy.published.read_bytes()[:8000])
    assert_refused(commands.run(copy), 1, str(copy.published), "cannot be read", "move it away")
    copy.published.unlink()
    assert commands.run(copy, "--quiet") == Finished(0, "", "")
    assert published_content(copy.published) == published_content(three_months.published)


def test_a_warehouse_that_is_no_database_is_named_and_consumers_keep_their_file(commands, copy, three_months):
    copy.warehouse.write_text("once upon a time\n" * 1000)
    assert_refused(commands.run(copy, "--force"), 1, str(copy.warehouse), "cannot be opened", "backup")
    assert published_content(copy.published) == published_content(three_months.published)


@pytest.mark.parametrize(
    ("file", "content"),
    [("dagster.yaml", "telemetry: ["), ("dagster.yaml", "no_such_setting: 1"), ("history/runs.db", "junk" * 9999)],
)
def test_a_damaged_dagster_instance_is_named(commands, copy, file, content):
    (copy.folder / "dagster_home" / file).write_text(content)
    ended = commands.run(copy, "--force", "--months", "2023-05")
    assert_refused(ended, 1, str(copy.folder / "dagster_home"), "move the folder away")


# --- who stops it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_its_run_is_closed(commands, copy, three_months, number):
    run = commands.start("run", "--config", str(copy.config_path), "--force")
    run.says("2023-03 published")
    with dg.DagsterInstance.from_config(str(copy.folder / "dagster_home")) as instance:
        at_work = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"dagster/partition": "2023-04"})
        eventually(lambda: instance.get_runs(filters=at_work))
    os.kill(run.pid, number)
    ended = run.wait()
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "Stopped. What was published is whole; run the same command again to go on."
    assert published_content(copy.published) == published_content(three_months.published)
    with dg.DagsterInstance.from_config(str(copy.folder / "dagster_home")) as instance:
        assert instance.get_runs(limit=1)[0].status == dg.DagsterRunStatus.FAILURE


def test_an_error_raised_from_another_is_told_in_our_words(commands, copy):
    """DuckDB's own error, from which ours was raised, would read as a defect of this project."""
    copy.orders_path.write_bytes(copy.orders_path.read_bytes()[:5000])
    ended = commands.run(copy, "--force", "--months", "2023-03")
    assert_refused(ended, 1, "orders.parquet", "cannot be read")
    assert "defect" not in ended.err


def test_changed_settings_are_noticed_and_change_nothing_by_themselves(commands, copy, three_months):
    copy.configure(last_month="2023-05", more="tiers: {dominant: 0.9}")
    ended = commands.run(copy)
    assert ended.code == 0
    assert "2023-03..2023-05 were made with other settings" in ended.err
    assert f"than {copy.config_path} has now (tiers.dominant was 0.8 and is 0.9). To rebuild them" in ended.err
    assert "--months 2023-03..2023-05 --force" in ended.err
    copy.configure(last_month="2023-04")  # what changes no result is no other setting
    ended = commands.run(copy)
    assert (ended.code, "other settings" in ended.err) == (0, False), ended.err
    assert published_content(copy.published) == published_content(three_months.published)


@pytest.mark.process
def test_python_runs_it_as_a_module_too():
    command = [sys.executable, "-m", "segment_pipeline.cli", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.startswith("segment-pipeline ")
