"""Tables of customers in a real Spark Connect server, all others in the warehouse, and one connection over both."""

import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from unittest.mock import Mock

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.database.engines import routing as routing_module
from segment_pipeline.database.engines import spark as spark_module
from segment_pipeline.database.engines.engine import SparkEngine, problems_of
from segment_pipeline.database.engines.spark import EngineError, RefusedError, Session, Sessions, SilentError, Spark
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import (
    Warehouse,
    WarehouseError,
    in_memory,
    insert_query,
    month_literal,
    prepare,
    replace_month,
)
from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, Column, Table
from segment_pipeline.errors import PipelineError
from segment_pipeline_tests.shop import Shop
from segment_pipeline_tests.spark import ENGINES, is_there
from segment_pipeline_tests.spark import server as spark_server

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not is_there("sail"), reason=ENGINES["sail"]),
]

PEOPLE = Table(
    "people",
    "A customer.",
    (MONTH, CUSTOMER_ID, Column("chances", "DOUBLE[]", "", "Two."), Column("spend", "DECIMAL(38, 4)", "", "Money.")),
    ("month", "customer_id"),
)
TOTALS = Table(
    "totals",
    "A month.",
    (MONTH, Column("customers", "BIGINT", "", "How many."), Column("spend", "DOUBLE", "", "")),
    ("month",),
)
MAY, JUNE = date(2023, 5, 1), date(2023, 6, 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_server("sail", tmp_path_factory.mktemp("sail")) as running:
        yield running.address


def test_a_catalogue_that_ends_with_a_session_is_found_before_anything_is_moved(server: str, tmp_path: Path) -> None:
    alone = Warehouse(tmp_path / "warehouse.duckdb", 5, "1GB", 1)
    with alone.transaction() as connection:
        prepare(connection, [PEOPLE, TOTALS], ())
        connection.execute("INSERT INTO people VALUES (DATE '2023-05-01', 'c1', [0.5, 0.5], 1)")
    engine = SparkEngine(Spark(server, "segments", "parquet", None))
    assert "Set engine.location" in engine.problems()[0]
    with (
        pytest.raises(EngineError, match=r"Set engine\.location"),
        Warehouse(alone.path, 5, "1GB", 1, engine).transaction() as connection,
    ):
        engine.move_in(connection, [PEOPLE, TOTALS])
    with alone.connect() as connection:
        assert connection.execute("SELECT customer_id FROM people").fetchall() == [("c1",)]


def test_a_session_that_is_held_is_used_again_but_not_with_a_server_that_was_started_anew(tmp_path: Path) -> None:
    with spark_server("sail", tmp_path / "server") as running:
        sessions = Sessions(Spark(running.address, "segments", "parquet", str(tmp_path / "lake")))
        passing = sessions.take()
        sessions.leave(passing)
        sessions.hold()
        first = sessions.take()
        assert first is not passing
        first.run("CREATE TEMPORARY VIEW known AS SELECT 2 AS two")
        beside = sessions.take()
        assert beside is not first
        sessions.leave(beside)
        sessions.leave(first)
        again = sessions.take()
        assert again is first
        assert again.fetch("SELECT two FROM known").to_pylist() == [{"two": 2}]
        sessions.leave(again)
    with spark_server("sail", tmp_path / "server", int(running.address.rpartition(":")[2])):
        anew = sessions.take()
        assert anew not in {first, beside}
        assert anew.shown == {}
        with pytest.raises(RefusedError):
            anew.fetch("SELECT two FROM known")
        sessions.leave(anew)
        sessions.close()


class SilentSession:
    """One of a server that hangs."""

    def __init__(self, asked: list["SilentSession"]) -> None:
        self.asked, self.answers = asked, threading.Event()

    def fetch(self, _: str) -> None:
        self.asked.append(self)
        self.answers.wait(60)


def test_a_kept_session_that_does_not_answer_is_soon_given_up_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_module, "PATIENCE", 0.2)
    fresh = Mock()
    monkeypatch.setattr(Spark, "session", lambda _: fresh)
    sessions = Sessions(Spark("sc://nowhere:1", "segments", None, None))
    sessions.hold()
    asked: list[SilentSession] = []
    kept = [SilentSession(asked) for _ in range(3)]
    for one in kept:
        sessions.leave(one)  # type: ignore[arg-type]
    assert sessions.take() is fresh
    assert asked == kept[-1:]
    kept[-1].answers.set()


@pytest.fixture
def warehouse(server: str, tmp_path: Path) -> Warehouse:
    spark = Spark(server, "segments", "parquet", str(tmp_path / "lake"))
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", 5, "1GB", 1, SparkEngine(spark))
    with warehouse.transaction() as connection:
        prepare(connection, [PEOPLE, TOTALS], ())
        warehouse.engine.move_in(connection, [PEOPLE, TOTALS])
    return warehouse


def rows(month: date, *people: tuple[str | None, float]) -> str:
    listed = ", ".join(f"({'NULL' if who is None else literal(who)}, {spend})" for who, spend in people)
    return (
        f"SELECT {month_literal(month)} AS month, customer_id, [0.25E0, 0.75E0] AS chances, spend "
        f"FROM (VALUES {listed}) AS v(customer_id, spend)"
    )


def held(warehouse: Warehouse, columns: str = "month, customer_id, spend") -> list[tuple]:  # type: ignore[type-arg]
    with warehouse.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM people ORDER BY ALL").fetchall()


def folders(tmp_path: Path) -> list[str]:
    """The writings that have files."""
    return sorted(one.name for one in (tmp_path / "lake").glob("*__*") if any(one.rglob("*.parquet")))


def test_a_warehouse_without_an_engine_gives_duckdbs_own_connection(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "warehouse.duckdb", 5, "1GB", 1).connect() as connection:
        assert type(connection) is duckdb.DuckDBPyConnection


def test_customers_lie_in_the_lake_and_their_sums_in_the_warehouse(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.transaction() as connection:
        assert replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1.5), ("b", 2))) == 2
        assert (
            insert_query(
                connection,
                TOTALS,
                "SELECT month, count(*) AS customers, CAST(sum(spend) AS DOUBLE) AS spend FROM people GROUP BY month",
            )
            == 1
        )
    assert len(folders(tmp_path)) == 1
    with duckdb.connect(str(warehouse.path)) as alone:
        assert alone.execute("SELECT count(*) FROM people").fetchall() == [(0,)]
        assert alone.execute("FROM totals").fetchall() == [(MAY, 2, 3.5)]
    assert held(warehouse, "customer_id, chances") == [("a", [0.25, 0.75]), ("b", [0.25, 0.75])]


def test_how_many_rows_a_month_has_is_known_here(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1.5), ("b", 2)))
        replace_month(connection, PEOPLE, JUNE, rows(JUNE, ("a", 1)))
    of_may = "SELECT count(*) FROM people WHERE month = ?"
    with warehouse.connect() as connection:
        assert connection.execute(f"{of_may} AND spend > ?", [MAY, 1.7]).fetchall() == [(1,)]
        monkeypatch.setattr(Session, "fetch", None)
        assert connection.execute(of_may, [MAY]).fetchall() == [(2,)]
        assert connection.execute(of_may, [date(2023, 7, 1)]).fetchall() == [(0,)]
        with pytest.raises(TypeError):
            connection.execute("SELECT count(spend) FROM people WHERE month = ?", [MAY])


def test_a_statement_about_a_month_is_shown_that_month_alone(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name in it by itself, and what has been written since."""
    done: list[str] = []
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, text: done.append(text) or run(self, text))
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1.5), ("b", 2)))
        replace_month(connection, PEOPLE, JUNE, rows(JUNE, ("a", 1)))
        two = connection.execute(
            "SELECT people.customer_id, people.spend, j.spend FROM people LEFT JOIN people AS j "
            "ON j.customer_id = people.customer_id AND j.month = ? WHERE people.month = ? ORDER BY ALL",
            [JUNE, MAY],
        ).fetchall()
        assert two == [("a", 1.5, 1.0), ("b", 2.0, None)]
        views = [text for text in done if "VIEW `people__of_" in text]
        assert [text.count("UNION ALL") for text in views] == [0, 0]
        replace_month(connection, PEOPLE, JUNE, rows(JUNE, ("a", 7)))
        of_june = connection.execute("SELECT spend FROM people WHERE month = ?", [JUNE]).fetchall()
        assert of_june == [(7.0,)]
        assert connection.execute("SELECT count(spend) FROM people").fetchall() == [(3,)]
        assert connection.execute("SELECT count(spend) FROM people WHERE month > ?", [JUNE]).fetchall() == [(0,)]


def test_both_are_asked_together_and_parameters_are_values(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("it's", 1), ("b", 2)))
        connection.execute("INSERT INTO totals VALUES (?, 2, 4)", [MAY])
        found = connection.execute(
            "SELECT p.customer_id, t.spend FROM people AS p JOIN totals AS t ON t.month = p.month "
            "WHERE p.month = ? AND p.customer_id = ?",
            [MAY, "it's"],
        ).fetchall()
        named = connection.execute(
            "WITH those AS (SELECT * FROM people WHERE spend > $least) SELECT customer_id FROM those", {"least": 1}
        ).fetchall()
        connection.execute("CREATE OR REPLACE TEMP TABLE rich AS SELECT customer_id FROM people WHERE spend > 1")
        assert connection.execute("SELECT count(*) FROM rich").fetchone() == (1,)
        connection.register("given", pa.table({"customer_id": ["b", "z"]}))
        both = connection.execute(
            "SELECT g.customer_id FROM given AS g JOIN rich AS r ON r.customer_id = g.customer_id"
        )
        assert both.fetchall() == [("b",)]
    assert found == [("it's", 4.0)]
    assert named == [("b",)]


def test_a_month_that_is_written_again_is_there_once_and_what_it_was_is_dropped(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    for spend in (1, 7):
        with warehouse.transaction() as connection:
            replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", spend)))
            replace_month(connection, PEOPLE, JUNE, rows(JUNE, ("a", 3)))
        with warehouse.connect() as connection:
            warehouse.engine.publish(connection, [MAY, JUNE])
    assert [float(row[2]) for row in held(warehouse)] == [7, 3]
    assert len(folders(tmp_path)) == 2


def test_a_transaction_that_fails_changes_nothing_and_leaves_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1)))
    before = folders(tmp_path)
    with warehouse.connect() as connection:
        connection.begin()
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 9)))
        connection.execute("CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM people")
        assert connection.execute("SELECT spend FROM kept").fetchall()[0][0] == 9
    assert held(warehouse) == [(MAY, "a", 1)]
    assert folders(tmp_path) == before


def test_who_goes_is_gone_from_the_files_and_who_has_no_id_stays(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1), ("b", 2), (None, 3)))
        replace_month(connection, PEOPLE, JUNE, rows(JUNE, ("c", 4)))
        connection.execute("CREATE TEMP TABLE gone AS SELECT 'a' AS customer_id")
        deleted = connection.execute("DELETE FROM people WHERE customer_id IN (SELECT customer_id FROM gone)")
        assert deleted.fetchone() == (1,)
        connection.execute("UPDATE people SET customer_id = 'd' WHERE customer_id = 'c'")
    with warehouse.connect() as connection:
        warehouse.engine.publish(connection, [MAY, JUNE])
    assert held(warehouse, "customer_id, spend") == [("b", 2), ("d", 4), (None, 3)]
    found = duckdb.sql(
        f"SELECT customer_id FROM read_parquet('{tmp_path}/lake/people__*/*.parquet') ORDER BY ALL"
    ).fetchall()
    assert found == [("b",), ("d",), (None,)]


def test_what_a_killed_run_left_is_dropped_with_the_next_publishing(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1)))
    killed = warehouse.engine.over(duckdb.connect(str(warehouse.path)))
    killed.begin()
    replace_month(killed, PEOPLE, JUNE, rows(JUNE, ("a", 2)))
    killed._home.close()  # type: ignore[attr-defined]  # and nobody says goodbye to the server
    assert len(folders(tmp_path)) == 2
    with warehouse.connect() as connection:
        warehouse.engine.publish(connection, [MAY])
    assert len(folders(tmp_path)) == 1
    assert held(warehouse) == [(MAY, "a", 1)]


def test_a_warehouse_that_had_its_customers_itself_takes_them_along(server: str, tmp_path: Path) -> None:
    path, spark = tmp_path / "warehouse.duckdb", Spark(server, "segments", "parquet", str(tmp_path / "lake"))
    with Warehouse(path, 5, "1GB", 1).transaction() as connection:
        prepare(connection, [PEOPLE, TOTALS], ())
        for month in (MAY, JUNE):
            replace_month(connection, PEOPLE, month, rows(month, ("a", 1), ("b", 2)))
    moved = Warehouse(path, 5, "1GB", 1, SparkEngine(spark))
    with moved.transaction() as connection:
        moved.engine.move_in(connection, [PEOPLE, TOTALS])
    assert len(held(moved)) == 4
    with moved.transaction() as connection:
        moved.engine.move_in(connection, [PEOPLE, TOTALS])
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1)))
    assert len(held(moved)) == 3


def test_more_rows_than_one_message_takes_are_sent_in_portions(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing_module, "PORTION", 50)
    people = [(f"c{number}", number) for number in range(40)]
    with warehouse.transaction() as connection:
        assert replace_month(connection, PEOPLE, MAY, rows(MAY, *people)) == 40
    assert {(who, int(spend)) for _, who, spend in held(warehouse)} == set(people)
    assert [one.partition("__")[0] for one in folders(tmp_path)] == ["people"]  # nothing of how they were sent


def test_without_its_engine_a_warehouse_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    alone = Warehouse(warehouse.path, 5, "1GB", 1)
    with alone.connect() as connection, pytest.raises(WarehouseError, match=r"engine\.spark"):
        prepare(connection, [PEOPLE, TOTALS], ())
    shop = Shop(tmp_path / "shop")
    shop.warehouse.parent.mkdir(parents=True)
    config = load_config(shop.configure().config_path)
    assert problems_of(config) == []
    shutil.copyfile(warehouse.path, config.warehouse_path)
    (said,) = problems_of(config)
    assert "put engine.spark back" in said


def test_a_table_that_is_missing_is_said_to_be(warehouse: Warehouse, tmp_path: Path) -> None:
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1)))
    (lost,) = folders(tmp_path)
    for file in (tmp_path / "lake" / lost).iterdir():
        file.unlink()
    (tmp_path / "lake" / lost).rmdir()
    with pytest.raises(
        EngineError, match=rf"{lost}, and 1 were written\. Put it back from a backup|a table is missing .*{lost}"
    ):
        held(warehouse)


def lose(folder: Path, rows: int) -> None:
    """Take rows out of a writing, as who clears away files there does."""
    (file,) = folder.glob("*.parquet")
    kept = duckdb.sql(f"FROM read_parquet({literal(str(file))}) LIMIT {rows}").to_arrow_table()
    pq.write_table(kept, file)


def test_rows_that_are_lost_are_told_and_the_month_is_made_anew(warehouse: Warehouse, tmp_path: Path) -> None:
    for month in (MAY, JUNE):
        with warehouse.transaction() as connection:
            replace_month(connection, PEOPLE, month, rows(month, ("a", 1), ("b", 2)))
        with warehouse.connect() as connection:
            warehouse.engine.publish(connection, [month])
    with duckdb.connect(str(warehouse.path)) as alone:
        named = dict(alone.execute("SELECT month, writing FROM engine_writings").fetchall())
    lose(tmp_path / "lake" / named[MAY], 1)
    next_run = Warehouse(warehouse.path, 5, "1GB", 1, replace(warehouse.engine, counted=set()))
    with pytest.raises(EngineError, match=r"of 2023-05 has 1 rows in .*2 were written.*--months 2023-05..2023-06"):
        held(next_run)
    with next_run.transaction() as connection:
        assert next_run.engine.give_up_lost(connection, [JUNE]) == []
        assert next_run.engine.give_up_lost(connection, [MAY]) == [
            "people of 2023-05 is lost in segments, and made anew."
        ]
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1), ("b", 2)))
    assert len(held(next_run)) == 4
    shutil.rmtree(tmp_path / "lake" / named[JUNE])
    next_run = Warehouse(warehouse.path, 5, "1GB", 1, replace(warehouse.engine, counted=set()))
    with pytest.raises(EngineError, match=r"(0 rows in|a table is missing)"):
        held(next_run)
    with next_run.transaction() as connection:
        assert len(next_run.engine.give_up_lost(connection, [MAY, JUNE])) == 1
    with next_run.connect() as connection:
        next_run.engine.publish(connection, [MAY])
    assert held(next_run, "month, customer_id") == [(MAY, "a"), (MAY, "b")]
    assert len([name for name in folders(tmp_path) if name.startswith("people")]) == 1


def test_tables_and_queries_are_described_as_the_warehouse_does(warehouse: Warehouse) -> None:
    values = "chances, customer_id || 'x' AS id, spend > 0 AS buys, CAST(month AS TIMESTAMP) AS at"
    asked = ("people", f"SELECT month, {values} FROM people")
    with warehouse.connect() as connection:
        there = [[row[:2] for row in connection.execute(f"DESCRIBE {one}").fetchall()] for one in asked]
    with in_memory() as connection:
        prepare(connection, [PEOPLE], [])
        here = [[row[:2] for row in connection.execute(f"DESCRIBE {one}").fetchall()] for one in asked]
    assert there == here


def test_a_part_of_a_with_that_is_named_often_is_computed_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted through the parts that name it, and with a column of no type, which no table can have."""
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1), ("b", 2)))
    query = """
        WITH own AS (SELECT customer_id AS id, spend, NULL AS nothing FROM people WHERE spend > 0),
        twice AS (SELECT * FROM own UNION ALL SELECT o.id, spend + 1, NULL FROM own AS o)
        SELECT t.id, t.spend, coalesce(t.nothing, 7) AS seven, count(*) AS rows
        FROM twice AS t JOIN twice AS u ON u.id = t.id JOIN own ON own.id = t.id GROUP BY ALL ORDER BY ALL
    """
    saved: list[str] = []
    save = Session.save
    monkeypatch.setattr(Session, "save", lambda self, name, text: saved.append(name) or save(self, name, text))
    with warehouse.connect() as connection:
        there = connection.execute(query).fetchall()
        described = [row[0] for row in connection.execute(f"DESCRIBE {query}").fetchall()]
    assert [name.partition("__")[0] for name in saved] == ["own"]
    assert described == ["id", "spend", "seven", "rows"]
    with in_memory() as connection:
        prepare(connection, [PEOPLE], [])
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1), ("b", 2)))
        assert there == connection.execute(query).fetchall()
    assert len(there) == 4


def test_what_is_whole_is_counted_once_in_a_process(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written, or as it is first read by another."""
    asked: list[str] = []
    fetch = Session.fetch
    monkeypatch.setattr(Session, "fetch", lambda self, text: asked.append(text) or fetch(self, text))
    with warehouse.transaction() as connection:
        replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", 1)))
    counted = "SELECT 'people__"
    assert held(warehouse) == held(warehouse) == [(MAY, "a", 1)]
    assert len([text for text in asked if text.startswith("SELECT `month`, count(*)")]) == 1
    assert [text for text in asked if text.startswith(counted)] == []
    warehouse.engine.counted.clear()
    assert held(warehouse) == held(warehouse) == [(MAY, "a", 1)]
    assert len([text for text in asked if text.startswith(counted)]) == 1


def test_a_database_is_of_one_warehouse_whatever_its_project_is_called(warehouse: Warehouse, tmp_path: Path) -> None:
    renamed = SparkEngine(warehouse.engine.spark, "renamed (other.yaml)")
    with warehouse.connect() as connection:
        assert renamed.problems(connection) == []
    alike = warehouse.engine
    (said,) = alike.problems()
    assert re.search(
        r"has the segments of a project without a name, warehouse \w{12}, and this is a project without a name without "
        r"a warehouse yet. Set engine\.database",
        said,
    )
    before = sorted((tmp_path / "lake").rglob("*"))
    with Warehouse(tmp_path / "other.duckdb", 5, "1GB", 1, alike).connect() as connection:
        prepare(connection, [PEOPLE, TOTALS], ())
        with pytest.raises(EngineError, match=r"Set engine\.database"):
            alike.move_in(connection, [PEOPLE, TOTALS])
        assert len(alike.problems(connection)) == 1
    assert sorted((tmp_path / "lake").rglob("*")) == before
    with Warehouse(tmp_path / "other.duckdb", 5, "1GB", 1).connect() as connection:
        prepare(connection, [PEOPLE, TOTALS], ())  # nothing has moved, so it may do without an engine


def test_a_database_of_an_earlier_version_is_taken_over_once_by_the_project_of_its_name(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """Which kept the project's name alone there, and no id in the warehouse."""
    spark, called = warehouse.engine.spark, "shop (segmentation.yaml)"
    with closing(spark.session()) as session:
        session.run(spark.found_again("segment_pipeline_project"))
        session.save("segment_pipeline_project", f"SELECT '{called}' AS project")
    with duckdb.connect(str(warehouse.path)) as alone:
        alone.execute("DROP TABLE engine_identity")
    with warehouse.connect() as connection, pytest.raises(EngineError, match=r"has the segments of shop"):
        warehouse.engine.move_in(connection, [PEOPLE, TOTALS])
    engine = SparkEngine(spark, called, called.__eq__)
    assert engine.problems() == []
    for _ in range(2):
        with Warehouse(warehouse.path, 5, "1GB", 1, engine).transaction() as connection:
            engine.move_in(connection, [PEOPLE, TOTALS])
    with (
        Warehouse(tmp_path / "other.duckdb", 5, "1GB", 1, engine).connect() as connection,
        pytest.raises(EngineError, match=r"has the segments of shop \(segmentation\.yaml\), warehouse"),
    ):
        engine.move_in(connection, [PEOPLE, TOTALS])


@pytest.mark.parametrize("table_format", ["delta", "iceberg"])
def test_tables_in_other_formats(server: str, tmp_path: Path, table_format: str) -> None:
    engine = SparkEngine(Spark(server, f"of_{table_format}", table_format, str(tmp_path / "lake")))
    assert engine.problems() == []
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", 5, "1GB", 1, engine)
    with warehouse.transaction() as connection:
        prepare(connection, [PEOPLE, TOTALS], ())
        engine.move_in(connection, [PEOPLE, TOTALS])
        for spend in (1, 7):
            replace_month(connection, PEOPLE, MAY, rows(MAY, ("a", spend), ("b", 2)))
    with warehouse.transaction() as connection:
        connection.execute("DELETE FROM people WHERE customer_id = 'b'")
    with warehouse.connect() as connection:
        engine.publish(connection, [MAY])
    assert held(warehouse, "month, customer_id, chances, spend") == [(MAY, "a", [0.25, 0.75], 7)]


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_module, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spark = Spark(f"sc://127.0.0.1:{silent.getsockname()[1]}", "segments", "parquet", None)
        (said,) = SparkEngine(spark).problems()
    assert "does not answer at" in said
    assert "for 0.5 seconds" in said


def test_a_statement_that_takes_too_long_is_given_up_here_and_there(tmp_path: Path) -> None:
    with spark_server("sail", tmp_path) as running:
        spark = Spark(running.address, "segments", "parquet", str(tmp_path / "lake"))
        with closing(spark.session()) as session:
            session._spark = replace(spark, minutes=0.03)
            with pytest.raises(EngineError, match=r"in 0\.03 minutes.*engine\.statement_minutes.*range"):
                session.run("SELECT count(*) FROM range(100000000000) WHERE id % 7 = 3")
            session._spark = spark
            assert session.run("SELECT 1 AS one").to_pylist() == [{"one": 1}]
            busy, _ = running.used()
            time.sleep(2)
            assert running.used()[0] - busy < 0.1


def test_a_server_that_hangs_in_the_middle_of_a_statement_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"QUIET": 1.0, "SIGN_OF_LIFE": 1.0, "TRIES": 1, "LONGEST_PAUSE": 100}.items():
        monkeypatch.setattr(spark_module, name, seconds)
    with spark_server("sail", tmp_path) as running:
        with closing(Spark(running.address, "segments", "parquet", str(tmp_path / "lake")).session()) as session:
            threading.Timer(0.5, os.kill, [running.pid, signal.SIGSTOP]).start()
            begun = time.perf_counter()
            with pytest.raises(SilentError, match="does not answer"):
                session.run("SELECT count(*) FROM range(100000000000) WHERE id % 7 = 3")
            monkeypatch.setattr(spark_module, "PATIENCE", 0.5)
        assert time.perf_counter() - begun < 30


def test_a_server_that_is_not_there_is_named_without_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_module, "PATIENCE", 0.2)
    monkeypatch.setenv("SERVER", "sc://127.0.0.1:1/;token=secret")
    for address in ("$SERVER", "sc://127.0.0.1:1/;token=secret"):
        (said,) = SparkEngine(Spark(address, "segments", "parquet", None)).problems()
        assert "does not answer" in said
        assert "secret" not in said
    (said,) = SparkEngine(Spark("$NO_SUCH", "segments", "parquet", None)).problems()
    assert "$NO_SUCH" in said


def test_sql_that_only_duckdb_understands_is_refused(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection, pytest.raises(PipelineError, match="LOG"):
        connection.execute("SELECT log(spend) FROM people").fetchall()
