"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from segment_pipeline.config.config import setting_docs
from segment_pipeline.publishing.catalogue import dictionary_rows
from tools.reference import PAGES, configuration, data_dictionary

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_generated_one(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`, and commit what it writes"


def test_every_published_column_and_every_key_has_its_row():
    dictionary, settings = data_dictionary(), configuration()
    for row in dictionary_rows():
        assert row["description"].replace("|", "\\|") in dictionary
    for doc in setting_docs():
        assert f"`{doc.key}`" in settings


@pytest.mark.parametrize("name", PAGES)
def test_every_table_has_as_many_cells_in_each_row_as_in_its_head(name):
    cells = 0
    for line in PAGES[name]().splitlines():
        found = line.replace("\\|", "").count("|")
        assert not line.startswith("|") or not cells or found == cells, line
        cells = found if line.startswith("|") else 0
