"""A table of figures that a page shows is the one that its benchmark wrote."""

import pytest

from tools.figures import PAGES, ROOT, SHOWN, TABLES, with_tables

MEASURED = sorted(path.stem for path in TABLES.iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_was_measured(page):
    text = page.read_text("utf-8")
    assert text == with_tables(text), "run `make docs`, and commit what it writes"


@pytest.mark.parametrize("name", MEASURED)
def test_a_table_is_written_by_a_benchmark_and_shown_somewhere(name):
    script = ROOT / "benchmarks" / f"{name.partition('-')[0]}.py"
    assert "record(" in script.read_text("utf-8")
    assert any(name == found[2] for page in PAGES for found in SHOWN.finditer(page.read_text("utf-8")))


def test_a_figure_that_was_changed_by_hand_is_put_right():
    name = MEASURED[0]
    head = f"<!-- benchmarks/tables/{name}.md: `make docs` copies it; do not edit. -->\n"
    page = f"Before.\n\n{head}\n| wrong |\n\n<!-- End of the table. -->\n\nAfter.\n"
    measured = (TABLES / f"{name}.md").read_text("utf-8")
    assert with_tables(page) == page.replace("| wrong |\n", measured)
    with pytest.raises(FileNotFoundError):
        with_tables(page.replace(name, "never-measured"))
