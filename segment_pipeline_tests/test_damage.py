"""What other programs, other people and machines do to a project: told in words, and what was published stays."""

import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from segment_pipeline_tests.commands import Commands
from segment_pipeline_tests.shop import Shop, published_content, query


def test_a_link_to_the_published_file_goes_on_leading_to_it(commands: Commands, copy: Shop, tmp_path: Path) -> None:
    elsewhere = tmp_path / "bi" / "live.duckdb"
    elsewhere.parent.mkdir()
    copy.published.rename(elsewhere)
    copy.published.symlink_to(elsewhere)
    copy.configure(last_month="2023-06")
    assert commands.run(copy, "--quiet").code == 0
    assert copy.published.is_symlink()
    assert query(elsewhere, "SELECT count(DISTINCT month) FROM monthly_assignments") == [(4,)]
    assert [file.name for file in elsewhere.parent.iterdir()] == ["live.duckdb"]


def test_a_link_to_a_report_goes_on_leading_to_it(commands: Commands, copy: Shop, tmp_path: Path) -> None:
    report = copy.folder / "reports" / "2023-05.html"
    report.unlink()
    report.symlink_to(tmp_path / "shown.html")
    assert commands.start("report", "--config", str(copy.config_path)).wait().code == 0
    assert report.is_symlink()
    assert "</html>" in (tmp_path / "shown.html").read_text()


def test_a_column_of_another_type_in_the_warehouse_is_refused_by_name(commands: Commands, copy: Shop) -> None:
    """It had been published, with zeros."""
    before = copy.published.read_bytes()
    with duckdb.connect(str(copy.warehouse)) as connection:
        connection.execute("ALTER TABLE monthly_assignments ALTER COLUMN max_probability TYPE INTEGER")
    ended = commands.run(copy, "--quiet", "--force", "--months", "2023-05")
    assert ended.code == 1
    assert "monthly_assignments.max_probability as INTEGER, and it was made as DOUBLE" in ended.err
    assert "Traceback" not in ended.err
    assert copy.published.read_bytes() == before


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "with a log of changes beside it"])
def test_whoever_writes_to_the_published_file_is_told_of_where_nothing_is_due(
    commands: Commands, copy: Shop, three_months: Shop, closed: bool
) -> None:
    copy.published.chmod(0o644)
    with duckdb.connect(str(copy.published)) as connection:
        connection.execute("UPDATE monthly_assignments SET max_probability = 0.99 WHERE month = DATE '2023-03-01'")
        if not closed:  # as a program leaves it that crashes
            shutil.copy(f"{copy.published}.wal", copy.folder / "log")
    if not closed:
        shutil.copy2(three_months.published, copy.published)
        shutil.copy(copy.folder / "log", f"{copy.published}.wal")
    ended = commands.run(copy, "--quiet")
    assert ended.code == 0
    assert f"{copy.published} is not as it was published: another program has written to it" in ended.err
    assert published_content(copy.published) == published_content(three_months.published)
    assert "is not as it was published" not in commands.run(copy, "--quiet").err


def test_a_warehouse_that_is_damaged_in_its_middle_says_so(commands: Commands, copy: Shop) -> None:
    before = copy.published.read_bytes()
    os.truncate(copy.warehouse, copy.warehouse.stat().st_size - 300_000)
    ended = commands.run(copy, "--quiet", "--force", "--months", "2023-05")
    assert ended.code == 1
    assert "put a backup in its place" in ended.err
    assert "defect" not in ended.err
    assert copy.published.read_bytes() == before


@pytest.mark.parametrize("home", ["/proc/nowhere", "shop [2024]"])
def test_a_dagster_home_that_cannot_serve_is_blamed_by_its_name(
    commands: Commands, copy: Shop, home: str, tmp_path: Path
) -> None:
    environment = {"DAGSTER_HOME": str(tmp_path / home)}
    ended = commands.run(copy, "--force", environment=environment)
    assert ended.code != 0
    assert "DAGSTER_HOME" in ended.err
    assert "output_dir" not in ended.err


def test_a_project_in_a_folder_with_brackets_has_dagsters_settings_all_the_same(commands: Commands, copy: Shop) -> None:
    """Dagster takes its settings' path for a pattern, finds none, and runs with its own: telemetry and all."""
    folder = copy.folder.rename(copy.folder.with_name("shop [2024]"))
    moved = Shop(folder)
    name = sha256(str(folder / "dagster_home").encode()).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"segment_pipeline-{os.getuid()}" / name
    try:
        ended = commands.run(moved, "--quiet", "--force", "--months", "2023-05")
        assert (ended.code, ended.err) == (0, "")
        assert "telemetry" in (home / "dagster.yaml").read_text()
        assert (home / "history").is_dir()
    finally:
        shutil.rmtree(home, ignore_errors=True)
