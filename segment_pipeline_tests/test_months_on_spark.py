"""Whole months with their customers in a real Spark Connect server, beside the same months by DuckDB alone."""

import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from segment_pipeline.config.config import load_config
from segment_pipeline.database.engines import engine as engine_module
from segment_pipeline.database.engines import spark as spark_module
from segment_pipeline.database.engines.spark import EngineError
from segment_pipeline.database.store import Warehouse
from segment_pipeline.orchestration import monthly_asset as monthly_asset_module
from segment_pipeline.run_months import plan
from segment_pipeline_tests.shop import Shop, published_content, query
from segment_pipeline_tests.spark import engines, sail, server

pytestmark = [pytest.mark.process, pytest.mark.months]

Months = tuple[Shop, Shop]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, shop_orders: Path, materialize: Callable[..., Any]) -> Shop:
    """Two months of the shop by DuckDB alone."""
    return two_months(tmp_path_factory.mktemp("alone"), shop_orders, materialize)


@pytest.fixture(scope="module", params=engines())
def months(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shop_orders: Path,
    alone: Shop,
    materialize: Callable[..., Any],
) -> Iterator[Months]:
    """The same by DuckDB alone, and on Spark: on Sail in folders that are named to it, on Apache Spark in its
    catalogue."""
    folder = tmp_path_factory.mktemp("on_spark")
    with server(request.param, folder / "lake") as address:
        place = {"location": str(folder / "lake")} if request.param == "sail" else {}
        engine = yaml.safe_dump({"engine": {"spark": address, **place}})
        yield alone, two_months(folder, shop_orders, materialize, engine)


def two_months(folder: Path, orders: Path, materialize: Callable[..., Any], engine: str = "") -> Shop:
    shutil.copyfile(orders, folder / "orders.parquet")
    shop = Shop(folder).configure(last_month="2023-04", memory=True, more=engine)
    for month in ("2023-03", "2023-04"):
        materialize(shop, month)
    return shop


def is_on_sail(shop: Shop) -> bool:
    return "location" in yaml.safe_load(shop.config_path.read_text())["engine"]


def distance(one: object, other: object) -> float:
    """0 where they are equal; of numbers, how far they are apart in parts of the larger; infinite otherwise."""
    if isinstance(one, float) and isinstance(other, float):
        return 0.0 if one == other else abs(one - other) / max(1.0, abs(one), abs(other))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(distance, one, other), default=0.0)
    return 0.0 if one == other else math.inf


def test_every_published_table_is_the_same(months: Months) -> None:
    alone, on_spark = (published_content(shop.published) for shop in months)
    assert alone.keys() == on_spark.keys()
    apart = {
        table: max((distance(list(a), list(b)) for a, b in zip(rows, on_spark[table], strict=True)), default=0.0)
        for table, rows in alone.items()
    }
    assert {table: far for table, far in apart.items() if not far <= 1e-9} == {}
    assert len(alone["monthly_assignments"]) > 1000


def test_the_warehouse_itself_holds_no_customer(months: Months) -> None:
    _, on_spark = months
    living = query(on_spark.warehouse, "SELECT table_name FROM engine_tables")
    assert {"raw_customers", "validated_features", "monthly_assignments", "early_warnings"} <= {
        name for (name,) in living
    }
    for (name,) in living:
        assert query(on_spark.warehouse, f"SELECT count(*) FROM {name}") == [(0,)]
    assert query(on_spark.warehouse, "SELECT count(*) FROM segment_profiles")[0][0] > 0


def test_readers_of_the_catalogue_see_what_the_file_says(months: Months) -> None:
    _, on_spark = months
    readable = "SELECT month, sum(rows) FROM engine_readable WHERE table_name = 'monthly_assignments' GROUP BY month"
    said = "SELECT month, count(*) FROM monthly_assignments GROUP BY month"
    assert dict(query(on_spark.warehouse, readable)) == dict(query(on_spark.published, said))
    needed = "SELECT writing FROM engine_writings UNION SELECT writing FROM engine_readable ORDER BY 1"
    begun = query(on_spark.warehouse, "SELECT writing FROM engine_begun ORDER BY 1")
    assert begun == query(on_spark.warehouse, needed)
    assert {name for (name,) in begun} == {
        one.parent.name for one in (on_spark.folder / "lake").rglob("*__*/*.parquet")
    }


def test_a_month_that_is_lost_comes_back_from_the_source(
    months: Months, tmp_path: Path, materialize: Callable[..., Any]
) -> None:
    shop = Shop(shutil.copytree(months[1].folder, tmp_path / "copy"))
    before = published_content(shop.published)
    ((lost,),) = query(
        shop.warehouse,
        "SELECT writing FROM engine_writings WHERE table_name = 'monthly_assignments' AND month = DATE '2023-04-01'",
    )
    lake = months[1].folder / "lake"  # the copy's warehouse is of the same tables
    if is_on_sail(months[1]):
        settings = yaml.safe_load(shop.config_path.read_text())
        settings["engine"]["location"] = str(shop.folder / "lake")
        shop.config_path.write_text(yaml.safe_dump(settings))
        lake = shop.folder / "lake"
    for file in lake.rglob(f"{lost}/*.parquet"):
        file.unlink()
    config, said = load_config(shop.config_path), list[str]()
    with pytest.raises(EngineError, match="--months 2023-04 --force"):
        plan(config, [date(2023, 4, 1)], force=False, report=said.append)
    assert plan(config, [date(2023, 4, 1)], force=True, report=said.append).months == [date(2023, 4, 1)]
    assert said == ["monthly_assignments of 2023-04 is lost in segments, and made anew."]
    materialize(shop, "2023-04")
    after = published_content(shop.published)
    assert after["monthly_assignments"] == before["monthly_assignments"]
    assert {table for table in before if len(after[table]) != len(before[table])} == set()


def test_a_server_that_stops_in_a_month_costs_nothing_that_is_published(
    months: Months, tmp_path: Path, materialize: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_on_sail(months[1]):
        pytest.skip("a catalogue that ends with its server has nothing left to go on with")
    shop = Shop(shutil.copytree(months[1].folder, tmp_path / "copy"))
    with sail() as address:
        settings = yaml.safe_load(shop.config_path.read_text())
        settings["engine"] |= {"spark": address, "location": str(months[1].folder / "lake")}
        settings["last_month"] = "2023-05"
        shop.config_path.write_text(yaml.safe_dump(settings))
        materialize(shop, "2023-05", selection=["raw_customers", "validated_features", "scaled_matrix"])
    before = published_content(shop.published)
    monkeypatch.setattr(spark_module, "PATIENCE", 0.2)
    monkeypatch.setattr(monthly_asset_module, "PAUSE", 0.0)
    failed = materialize(shop, "2023-05", raise_on_error=False)
    assert any("does not answer" in str(event.event_specific_data) for event in failed.all_events)
    assert published_content(shop.published) == before
    monkeypatch.undo()  # a server that has just begun may not answer at once
    with sail(int(address.rpartition(":")[2])):
        materialize(shop, "2023-05")
    assert len(query(shop.published, "SELECT DISTINCT month FROM monthly_assignments")) == 3


class Recorded:
    """A connection that keeps what it is asked, and asks just that."""

    def __init__(self, connection: Any, kept: list[str]) -> None:
        self._connection, self._kept = connection, kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        self._kept.append(str(statement))
        return self._connection.execute(*([statement] if parameters is None else [statement, parameters]))


@dataclass
class Nothing:
    """An engine that leaves everything where it is, and sees what it would be asked."""

    kept: list[str] = field(default_factory=list)

    def over(self, warehouse: Any) -> Any:
        return Recorded(warehouse, self.kept)

    def move_in(self, connection: Any, tables: Any) -> None: ...

    def publish(self, connection: Any, months: Any) -> None: ...


def test_without_an_engine_duckdb_is_asked_what_the_stages_say(
    shop_orders: Path, tmp_path: Path, materialize: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one, the stages say the same, byte for byte: what becomes of it is the seam's affair alone."""
    said: dict[str, list[str]] = {"alone": [], "over": []}
    for name, kept in said.items():
        (tmp_path / name).mkdir()
        shutil.copyfile(shop_orders, tmp_path / name / "orders.parquet")
        shop = Shop(tmp_path / name).configure(last_month="2023-03", memory=True)
        with monkeypatch.context() as patched:
            if name == "over":
                patched.setattr(engine_module, "engine_of", lambda _, kept=kept: Nothing(kept))
            else:
                connect = Warehouse.connect

                @contextmanager
                def recorded(*given: Any, kept: list[str] = kept, connect: Any = connect) -> Iterator[Any]:
                    with connect(*given) as connection:
                        assert type(connection) is duckdb.DuckDBPyConnection
                        yield Recorded(connection, kept)

                patched.setattr(Warehouse, "connect", recorded)
            materialize(shop, "2023-03")
    of_the_run = "|".join([r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", *(str(tmp_path / name) for name in said)])
    alone, over = ([re.sub(of_the_run, "", text) for text in kept] for kept in said.values())
    assert len(alone) > 300
    # what an engine is shown besides stands at the end: which months its readers are to see
    assert over[: len(alone)] == alone
