"""The published tables as Parquet by month: what is in the folder, for which readers, and when things fail."""

import hashlib
import json
import random
import threading
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import load_config
from segment_pipeline.publishing.stores.filling import assets_behind, fill, stores_of
from segment_pipeline.publishing.stores.parts import StoreError, parts_of
from segment_pipeline_tests.publishing.stores import changed, doubled, killed_filling, naming, without_month
from segment_pipeline_tests.shop import query
from segment_pipeline_tests.traces import traces

MAY = "2023-05-01"


def filled(shop):
    (store,) = stores_of(naming(shop, "{parquet: lake}"))
    assert fill(store)[1] == []
    return store


def files(shop):
    lake = shop.folder / "lake" / "current"
    return {str(path.relative_to(lake)): path.stat().st_ino for path in lake.rglob("*.parquet")}


def assert_same(shop):
    """Every table with rows is there, with the rows that the file has."""
    lake = shop.folder / "lake" / "current"
    found = 0
    with duckdb.connect(str(shop.published), read_only=True) as connection:
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            expected = connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            assert (lake / name).exists() is bool(expected)
            if expected:
                columns = ", ".join(f'"{column[0]}"' for column in connection.execute(f"DESCRIBE {name}").fetchall())
                files = f"read_parquet('{lake / name}/**/*.parquet')"
                there = connection.execute(f"SELECT {columns} FROM {files} ORDER BY ALL").fetchall()
                assert there == expected, name
                found += 1
    assert found > 30


def test_every_table_is_there_by_month_and_readers_of_files_find_it(copy):
    filled(copy)
    assert_same(copy)
    folder = copy.folder / "lake" / "current" / "monthly_assignments"
    assert sorted(path.name for path in folder.iterdir()) == [f"month=2023-0{month}-01" for month in (3, 4, 5)]
    frame = pd.read_parquet(folder)
    counted = query(copy.published, "SELECT month, count(*) FROM monthly_assignments GROUP BY 1")
    assert dict(frame.month.value_counts()) == {month.isoformat(): rows for month, rows in counted}
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    assert sorted(manifest["months"]) == ["2023-03", "2023-04", "2023-05"]
    assert {entry["file"] for entry in manifest["files"]} == files(copy).keys()
    for entry in manifest["files"]:
        assert hashlib.sha256((folder.parent / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]


def test_files_that_have_not_changed_are_the_same_files(copy, three_months):
    without_month(copy.published, MAY)
    store = filled(copy)
    before = files(copy)
    assert fill(store)[0] == {"parts": 0, "rows": 0}
    assert files(copy) == before
    copy.published.unlink()
    copy.published.write_bytes(three_months.published.read_bytes())
    fill(store)
    after = files(copy)
    assert (
        after["monthly_assignments/month=2023-04-01/data.parquet"]
        == (before["monthly_assignments/month=2023-04-01/data.parquet"])
    )
    assert "monthly_assignments/month=2023-05-01/data.parquet" in after.keys() - before.keys()
    assert_same(copy)


def test_a_file_that_is_lost_and_a_column_that_comes_later_are_written(copy):
    store = filled(copy)
    lost = copy.folder / "lake" / "current" / "segment_profiles" / f"month={MAY}" / "data.parquet"
    lost.unlink()
    assert assets_behind(store.config) == ["published_parquet"]
    assert fill(store)[0]["parts"] == 1
    with changed(copy.published) as connection:
        connection.execute('ALTER TABLE segment_profiles ADD COLUMN "Own Words" VARCHAR')
    assert fill(store)[0]["parts"] == 3 + 3  # with what the file says of them
    assert_same(copy)


def test_readers_see_whole_publications(copy):
    store = filled(copy)
    whole = copy.published.read_bytes()
    sizes, ended = set(), threading.Event()
    problems: list[str] = []

    def read():
        pattern = f"{copy.folder}/lake/current/monthly_assignments/*/*.parquet"
        with duckdb.connect() as connection:
            while not ended.is_set():
                try:
                    found = connection.execute(f"SELECT month, count(*) FROM '{pattern}' GROUP BY 1").fetchall()
                except duckdb.Error as error:
                    problems.append(str(error))
                    return
                sizes.update(found)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        doubled(copy.published)
        fill(store)
        copy.published.unlink()
        copy.published.write_bytes(whole)
        fill(store)
    ended.set()
    reader.join()
    assert problems == []
    counted = query(copy.published, "SELECT month, count(*) FROM monthly_assignments GROUP BY 1")
    assert sizes <= {(month, times * rows) for month, rows in counted for times in (1, 2)}


@pytest.mark.process
def test_what_is_killed_leaves_the_publication_as_it_was_and_the_next_is_whole(copy):
    store = filled(copy)
    before = store.parts()
    doubled(copy.published)
    with duckdb.connect(str(copy.published), read_only=True) as connection:
        after = parts_of(connection)
    moments = random.Random(6)  # noqa: S311 - a seed, not a secret
    for _ in range(5):
        killed_filling(copy, moments.uniform(0, 0.6))
        assert store.parts() in (before, after)
        assert {entry["file"] for entry in store._manifest()["files"]} == files(copy).keys()
    fill(store)
    assert store.parts() == after
    assert_same(copy)
    assert len(list((copy.folder / "lake").iterdir())) == 2  # the publication, and what leads to it


def test_who_is_forgotten_or_merged_leaves_no_trace_there(copy):
    store = filled(copy)
    ids = [row[0] for row in query(copy.published, "SELECT customer_id FROM current_assignments ORDER BY 1 LIMIT 3")]
    gone, old, new = ids
    lake = copy.folder / "lake"
    assert len(traces(lake, gone)) > 5
    config = ["--config", str(copy.config_path)]
    assert main(["forget", gone, *config]) == 0
    assert main(["merge", old, "into", new, *config]) == 0
    assert assets_behind(store.config) == []
    assert_same(copy)
    assert traces(copy.folder, gone, old, but={copy.config_path, copy.orders_path}) == []
    assert len(traces(lake, new)) > 5  # they would be found


def test_a_folder_of_others_is_not_written_to_nor_is_one_that_cannot_be(copy, capsys):
    lake = copy.folder / "lake"
    lake.mkdir()
    (lake / "photo.jpg").touch()
    with pytest.raises(StoreError, match=r"has files of others in it, such as photo\.jpg.*publish\.parquet"):
        filled(copy)
    assert main(["check", "--config", str(copy.config_path)]) == 2
    assert "photo.jpg" in capsys.readouterr().err
    (lake / "photo.jpg").unlink()
    filled(copy)
    other = copy.folder / "other.yaml"
    other.write_text(copy.config_path.read_text().replace("name: shop", "name: other"))
    (store,) = stores_of(load_config(other))
    with pytest.raises(StoreError, match=r"holds the months of shop \(segmentation\.yaml\)"):
        fill(store)
    (file,) = stores_of(naming(copy, "{parquet: orders.parquet/lake}"))
    assert "orders.parquet: publish.parquet" in file.problems()[0]
    with pytest.raises(StoreError, match=r"cannot be filled.*Then run again"):
        fill(file)
    assert Path(file.place).parent.is_file()
