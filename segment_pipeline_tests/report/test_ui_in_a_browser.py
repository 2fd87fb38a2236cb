"""The Dagster UI of a real instance in a real browser: the asset graph, and the figures and the chart of one asset."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from segment_pipeline_tests.commands import eventually
from segment_pipeline_tests.shop import Shop

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("NOT TESTED: there is no Chromium here, so nobody has looked at the assets in the UI")
    return found


@pytest.fixture(scope="module")
def ui(three_months: Shop, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the UI on a copy of the three months."""
    folder = tmp_path_factory.mktemp("ui") / "shop"
    shutil.copytree(three_months.folder, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["segment_pipeline.cli", "ui", "--config", str(Shop(folder).config_path), "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answers(address), timeout=180)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=90)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/server_info", timeout=5).close()  # noqa: S310 - our own server
    except (urllib.error.URLError, OSError):
        return False
    return True


def look_at(chromium: str, address: str, home: Path, expected: str) -> str:
    """The page once its script has drawn `expected`, which it may do late on a busy machine."""
    shown = ""
    for budget in (8_000, 30_000, 90_000):
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,2000"),
            *(f"--user-data-dir={home}", f"--virtual-time-budget={budget}", "--dump-dom", address),
        ]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        if expected in shown:
            break
    return shown


def test_the_asset_graph_shows_every_stage_and_the_report_after_the_published_file(ui, chromium, tmp_path):
    shown = look_at(chromium, f"{ui}/asset-groups", tmp_path, "publishing")
    for group in ("sources", "customers", "models", "segments", "campaigns", "early_warnings", "publishing", "report"):
        assert group in shown
    location = "__repository__@segment_pipeline"
    page = f"{ui}/locations/{location}/asset-groups/report/lineage"
    shown = look_at(chromium, page, tmp_path, "segment_report")
    assert "published_segments" in shown
    assert "segment_report" in shown


def test_the_source_shows_what_a_month_found_in_it(ui, chromium, tmp_path):
    shown = look_at(chromium, f"{ui}/assets/order_lines?view=overview", tmp_path, "customers</")
    assert "External Asset" in shown
    assert "orders.parquet" in shown
    assert "lines" in shown


def test_a_column_says_from_which_asset_it_comes(ui, chromium, tmp_path):
    shown = look_at(chromium, f"{ui}/assets/validated_features?view=overview", tmp_path, "from: raw_customers")
    assert "from: raw_customers" in shown


def test_a_check_shows_its_numbers_and_plots_them(ui, chromium, tmp_path):
    page = f"{ui}/assets/validated_features?view=checks&checkDetail=enough_customers"
    shown = look_at(chromium, page, tmp_path, "limit/customers")
    assert "observed/customers" in shown
    assert "Plots are automatically generated" not in shown


def test_a_run_says_who_has_launched_it(ui, chromium, tmp_path):
    shown = look_at(chromium, f"{ui}/runs", tmp_path, "command line")
    assert "Manually launched" not in shown


def test_the_reports_are_a_link_that_a_browser_follows(ui, chromium, tmp_path):
    shown = look_at(chromium, f"{ui}/assets/segment_report?view=overview", tmp_path, 'href="http://127.0.0.1:')
    address = re.search(r'href="(http://127\.0\.0\.1:\d+/)"', shown)
    assert address is not None
    page = look_at(chromium, f"{address[1]}2023-05.html", tmp_path, "</html>")
    assert "May 2023" in page


def test_an_asset_shows_its_figures_inline_and_its_chart_behind_a_click(ui, chromium, tmp_path):
    page = f"{ui}/assets/candidate_models?partition=2023-05&view=partitions"
    shown = look_at(chromium, page, tmp_path, "bic_curve")
    assert "chosen_n_components" in shown
    assert re.search(r"[▁▂▃▄▅▆▇█]{3}", shown)
    assert "[Show Markdown]" in shown[shown.index("bic_curve") :][:2000]


def test_the_report_is_named_with_its_sentences(ui, chromium, tmp_path):
    page = f"{ui}/assets/segment_report?partition=2023-05&view=partitions"
    shown = look_at(chromium, page, tmp_path, "2023-05.html")
    assert "reports/2023-05.html" in shown
    assert re.search(r"[0-9,]+ customers .* in [0-9]+ segments\.", shown)
