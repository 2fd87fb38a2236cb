"""Whole months with their customers in a real Spark Connect server, beside the same months by DuckDB alone."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from segment_pipeline.database.engines import spark as spark_module
from segment_pipeline_tests.shop import Shop, published_content, query
from segment_pipeline_tests.spark import ENGINES, is_there, sail

pytestmark = [
    pytest.mark.process,
    pytest.mark.months,
    pytest.mark.skipif(not is_there("sail"), reason=ENGINES["sail"]),
]

WITH_ALL = """
engine: {{spark: "{address}", location: "{folder}/lake"}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with sail() as address:
        yield address


@pytest.fixture(scope="module")
def months(
    tmp_path_factory: pytest.TempPathFactory, shop_orders: Path, server: str, materialize: Callable[..., Any]
) -> tuple[Shop, Shop]:
    """Two months of the shop by DuckDB alone, and on Spark."""
    shops = []
    for name in ("alone", "on_spark"):
        folder = tmp_path_factory.mktemp(name)
        shutil.copyfile(shop_orders, folder / "orders.parquet")
        more = WITH_ALL.format(address=server, folder=folder) if name == "on_spark" else ""
        shop = Shop(folder).configure(last_month="2023-04", memory=True, more=more)
        for month in ("2023-03", "2023-04"):
            materialize(shop, month)
        shops.append(shop)
    return shops[0], shops[1]


def distance(one: object, other: object) -> float:
    """0 where they are equal; of numbers, how far they are apart in parts of the larger; infinite otherwise."""
    if isinstance(one, float) and isinstance(other, float):
        return 0.0 if one == other else abs(one - other) / max(1.0, abs(one), abs(other))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(distance, one, other), default=0.0)
    return 0.0 if one == other else math.inf


def test_every_published_table_is_the_same(months: tuple[Shop, Shop]) -> None:
    alone, on_spark = (published_content(shop.published) for shop in months)
    assert alone.keys() == on_spark.keys()
    apart = {
        table: max((distance(list(a), list(b)) for a, b in zip(rows, on_spark[table], strict=True)), default=0.0)
        for table, rows in alone.items()
    }
    assert {table: far for table, far in apart.items() if not far <= 1e-9} == {}
    assert len(alone["monthly_assignments"]) > 1000


def test_the_warehouse_itself_holds_no_customer(months: tuple[Shop, Shop]) -> None:
    _, on_spark = months
    living = query(on_spark.warehouse, "SELECT table_name FROM engine_tables")
    assert {"raw_customers", "validated_features", "monthly_assignments", "early_warnings"} <= {
        name for (name,) in living
    }
    for (name,) in living:
        assert query(on_spark.warehouse, f"SELECT count(*) FROM {name}") == [(0,)]
    assert query(on_spark.warehouse, "SELECT count(*) FROM segment_profiles")[0][0] > 0


def test_readers_of_the_catalogue_see_what_the_file_says(months: tuple[Shop, Shop]) -> None:
    _, on_spark = months
    readable = "SELECT month, sum(rows) FROM engine_readable WHERE table_name = 'monthly_assignments' GROUP BY month"
    said = "SELECT month, count(*) FROM monthly_assignments GROUP BY month"
    assert dict(query(on_spark.warehouse, readable)) == dict(query(on_spark.published, said))
    needed = "SELECT writing FROM engine_writings UNION SELECT writing FROM engine_readable ORDER BY 1"
    begun = query(on_spark.warehouse, "SELECT writing FROM engine_begun ORDER BY 1")
    assert begun == query(on_spark.warehouse, needed)
    assert {name for (name,) in begun} == {one.parent.name for one in (on_spark.folder / "lake").glob("*/*.parquet")}


def test_a_server_that_stops_in_a_month_costs_nothing_that_is_published(
    months: tuple[Shop, Shop], tmp_path: Path, materialize: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(shutil.copytree(months[1].folder, tmp_path / "copy"))
    with sail() as address:
        settings = yaml.safe_load(shop.config_path.read_text())
        settings["engine"] |= {"spark": address, "location": str(months[1].folder / "lake")}
        settings["last_month"] = "2023-05"
        shop.config_path.write_text(yaml.safe_dump(settings))
        materialize(shop, "2023-05", selection=["raw_customers", "validated_features", "scaled_matrix"])
    before = published_content(shop.published)
    monkeypatch.setattr(spark_module, "TRIES", 0)
    failed = materialize(shop, "2023-05", raise_on_error=False)
    assert any("does not answer" in str(event.event_specific_data) for event in failed.all_events)
    assert published_content(shop.published) == before
    monkeypatch.undo()  # a server that has just begun may not answer at once
    with sail(int(address.rpartition(":")[2])):
        materialize(shop, "2023-05")
    assert len(query(shop.published, "SELECT DISTINCT month FROM monthly_assignments")) == 3
