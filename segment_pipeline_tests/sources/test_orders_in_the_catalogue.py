"""Order lines that are a table of the engine's catalogue: nothing of them is read here, and nothing differs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from segment_pipeline_tests.shop import Shop, published_content, query
from segment_pipeline_tests.spark import engines, server
from segment_pipeline_tests.test_months_on_spark import distance

pytestmark = [pytest.mark.process, pytest.mark.months]

MONTHS = ("2023-03", "2023-04")


@pytest.fixture(scope="module", params=engines())
def shops(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shop_orders: Path,
    materialize: Callable[..., Any],
) -> Iterator[tuple[Shop, Shop]]:
    """Two months by DuckDB alone, of a file, and by an engine that has the file as a table."""
    folder = tmp_path_factory.mktemp("shops")
    with server(request.param, folder / "lake") as address:
        place = {"location": str(folder / "lake")} if request.param == "sail" else {}
        engine = yaml.safe_dump({"engine": {"spark": address, "database": "of_lines", **place}})
        shops = (Shop(folder / "here"), Shop(folder / "there"))
        for shop, more in zip(shops, ("", engine), strict=True):
            shop.folder.mkdir()
            shutil.copyfile(shop_orders, shop.orders_path)
            shop.configure(last_month=MONTHS[-1], memory=True, more=more)
        of_the_file = shops[1].config_path.read_text()
        # Sail's catalogue ends with a session, so the table is named by its file, as Spark does too
        lines = of_the_file.replace("path: orders.parquet", f"table: parquet.`{shops[1].orders_path}`")
        shops[1].config_path.write_text(lines)
        for shop in shops:
            for month in MONTHS:
                materialize(shop, month)
        yield shops


def test_every_published_table_is_that_of_the_file(shops: tuple[Shop, Shop]) -> None:
    here, there = (published_content(shop.published) for shop in shops)
    assert here.keys() == there.keys()
    apart = {
        table: max((distance(list(a), list(b)) for a, b in zip(rows, there[table], strict=True)), default=0.0)
        for table, rows in here.items()
    }
    assert {table: far for table, far in apart.items() if not far <= 1e-9} == {}
    assert len(here["monthly_assignments"]) > 1000


def test_no_line_comes_here(shops: tuple[Shop, Shop]) -> None:
    assert query(shops[1].warehouse, "SELECT count(*) FROM folded_orders") == [(0,)]
    held = "SELECT feed, month, of_month, lines, customers, amount FROM source_months ORDER BY ALL"
    assert query(shops[1].warehouse, held) == query(shops[0].warehouse, held)
