"""Whole months with their customers in a real Spark Connect server, beside the same months by DuckDB alone."""

import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

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
from segment_pipeline_tests.commands import Commands
from segment_pipeline_tests.shop import Shop, apart, published_content, query
from segment_pipeline_tests.spark import Server, put_demo_on, server

pytestmark = [pytest.mark.process, pytest.mark.months]


class Months(NamedTuple):
    """The same months by DuckDB alone, and on Spark; the server, and where the files of its tables are."""

    alone: Shop
    on_spark: Shop
    server: Server
    lake: Path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, shop_orders: Path, materialize: Callable[..., Any]) -> Shop:
    """Two months of the shop by DuckDB alone."""
    return two_months(tmp_path_factory.mktemp("alone"), shop_orders, materialize)


@pytest.fixture(scope="module")
def months(
    spark_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    shop_orders: Path,
    alone: Shop,
    materialize: Callable[..., Any],
) -> Months:
    """On Sail in folders that are named to it, on Apache Spark in its catalogue."""
    folder = tmp_path_factory.mktemp("on_spark")
    lake = folder / "lake"
    on_spark = two_months(folder, shop_orders, materialize, spark_server.key(lake))
    return Months(alone, on_spark, spark_server, spark_server.tables(lake))


def two_months(folder: Path, orders: Path, materialize: Callable[..., Any], engine: str = "") -> Shop:
    shutil.copyfile(orders, folder / "orders.parquet")
    shop = Shop(folder).configure(last_month="2023-04", memory=True, more=engine)
    for month in ("2023-03", "2023-04"):
        materialize(shop, month)
    return shop


def test_every_published_table_is_the_same(months: Months) -> None:
    far = apart(months.alone.published, months.on_spark.published)
    assert {table: most for table, most in far.items() if not most <= 1e-9} == {}
    assert len(query(months.alone.published, "SELECT customer_id FROM monthly_assignments")) > 1000


def test_the_warehouse_itself_holds_no_customer(months: Months) -> None:
    on_spark = months.on_spark
    living = query(on_spark.warehouse, "SELECT table_name FROM engine_tables")
    assert {"raw_customers", "validated_features", "monthly_assignments", "early_warnings"} <= {
        name for (name,) in living
    }
    for (name,) in living:
        assert query(on_spark.warehouse, f"SELECT count(*) FROM {name}") == [(0,)]
    assert query(on_spark.warehouse, "SELECT count(*) FROM segment_profiles")[0][0] > 0


def test_readers_of_the_catalogue_see_what_the_file_says(months: Months) -> None:
    on_spark = months.on_spark
    readable = "SELECT month, sum(rows) FROM engine_readable WHERE table_name = 'monthly_assignments' GROUP BY month"
    said = "SELECT month, count(*) FROM monthly_assignments GROUP BY month"
    assert dict(query(on_spark.warehouse, readable)) == dict(query(on_spark.published, said))
    needed = "SELECT writing FROM engine_writings UNION SELECT writing FROM engine_readable ORDER BY 1"
    begun = query(on_spark.warehouse, "SELECT writing FROM engine_begun ORDER BY 1")
    assert begun == query(on_spark.warehouse, needed)
    assert {name for (name,) in begun} == {one.parent.name for one in months.lake.rglob("*__*/*.parquet")}


@pytest.mark.parametrize("how", ["is killed", "hangs"])
def test_a_server_that_goes_in_the_middle_of_a_statement_costs_nothing_that_is_published(
    months: Months, tmp_path: Path, materialize: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Apache Spark's catalogue has one server at a time, so that of all tests is one that only hangs, and goes on."""
    if how == "is killed" and months.server.engine == "java":
        pytest.skip("a second server cannot open the catalogue of the first")
    shop = Shop(shutil.copytree(months.on_spark.folder, tmp_path / "copy"))
    with server("sail", tmp_path / "server") if how == "is killed" else nullcontext(months.server) as running:
        settings = yaml.safe_load(shop.config_path.read_text()) | yaml.safe_load(running.key(months.lake))
        shop.config_path.write_text(yaml.safe_dump(settings | {"last_month": "2023-05"}))
        before = published_content(shop.published)
        with monkeypatch.context() as patched:
            go_at(patched, 5, lambda: os.kill(running.pid, signal.SIGKILL if how == "is killed" else signal.SIGSTOP))
            try:
                failed = materialize(shop, "2023-05", raise_on_error=False)
            finally:
                if how == "hangs":
                    os.kill(running.pid, signal.SIGCONT)
        assert any("does not answer" in str(event.event_specific_data) for event in failed.all_events)
        assert published_content(shop.published) == before
        assert query(shop.warehouse, "SELECT asset FROM pipeline_runs WHERE month = DATE '2023-05-01'") == [
            ("raw_customers",)
        ]
        if how == "hangs":
            made = materialize(shop, "2023-05")
            where = [
                event.materialization.metadata.get("customers are in")
                for event in made.get_asset_materialization_events()
            ]
            assert {one.value for one in where if one is not None} == {"the database segments of Spark"}
            assert where.count(None) == 1  # the report, which is made of the published file
    if how == "is killed":
        with server("sail", tmp_path / "server", int(running.address.rpartition(":")[2])):
            materialize(shop, "2023-05")
    assert len(query(shop.published, "SELECT DISTINCT month FROM monthly_assignments")) == 3


def go_at(patched: pytest.MonkeyPatch, table: int, go: Callable[[], None]) -> None:
    """Let it happen while the server writes a table, after so many; and let the patience of all concerned be short."""
    for name, seconds in {"PATIENCE": 2.0, "QUIET": 1.0, "SIGN_OF_LIFE": 1.0, "TRIES": 1, "LONGEST_PAUSE": 100}.items():
        patched.setattr(spark_module, name, seconds)
    patched.setattr(monthly_asset_module, "PAUSE", 0.0)
    save, saved = spark_module.Session.save, list[str]()

    def save_and_go(session: spark_module.Session, name: str, rows: str) -> None:
        saved.append(name)
        if len(saved) == table:
            threading.Timer(0.05, go).start()
        save(session, name, rows)

    patched.setattr(spark_module.Session, "save", save_and_go)


def test_a_month_that_is_lost_comes_back_from_the_source(
    months: Months, tmp_path: Path, materialize: Callable[..., Any]
) -> None:
    shop = Shop(shutil.copytree(months.on_spark.folder, tmp_path / "copy"))
    before = published_content(shop.published)
    ((lost,),) = query(
        shop.warehouse,
        "SELECT writing FROM engine_writings WHERE table_name = 'monthly_assignments' AND month = DATE '2023-04-01'",
    )
    lake = months.lake  # the copy's warehouse is of the same tables
    if months.server.engine == "sail":
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


@pytest.mark.demo
def test_the_demo_is_that_of_duckdb(
    finished_demo: Path, spark_server: Server, tmp_path: Path, commands: Commands
) -> None:
    """All ten months, refits among them, after `make run` with SEGMENT_PIPELINE_COOKBOOK=data/segments.duckdb: five
    minutes on Sail, half an hour on Apache Spark. Else the first two."""
    put_demo_on(spark_server, tmp_path)
    (first, last) = query(finished_demo, "SELECT min(month), max(month) FROM monthly_assignments")[0]
    ended = commands.run(Shop(tmp_path), "--quiet", "--months", f"{first:%Y-%m}..{last:%Y-%m}")
    assert ended.code == 0, ended
    far = apart(finished_demo, tmp_path / "segments.duckdb")
    assert {table: most for table, most in far.items() if not most <= 1e-9} == {}


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

    def hold(self) -> None: ...

    def close(self) -> None: ...


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
