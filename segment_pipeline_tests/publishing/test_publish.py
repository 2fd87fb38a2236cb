"""The consumers' file: what goes into it, what stays in it, and what keeps a bad one out."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import cast

import duckdb
import pytest

from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.store import Warehouse, WarehouseError
from segment_pipeline.publishing.agreement import disagreements
from segment_pipeline.publishing.draft import _check, changed_months, published_features, put_in_place, write_beside
from segment_pipeline.publishing.publish import (
    PublishError,
    accept_loss_of,
    known_months,
    lacks_columns,
    lost_months,
    month_fingerprints,
    months_of_other_settings,
    published_months,
    refuse_loss,
    refuse_torn,
    show_in_catalogue,
)
from segment_pipeline_tests.conftest import files_of_at_most
from segment_pipeline_tests.shop import Shop, published_content, query

MARCH, APRIL, MAY = (date(2023, month, 1) for month in (3, 4, 5))


@contextmanager
def warehouse_of(shop: Shop) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(shop.warehouse, lock_timeout=5, memory_limit="1GB").connect() as connection:
        yield connection


def publish(shop: Shop) -> None:
    with warehouse_of(shop) as connection:
        draft = write_beside(connection, shop.published, TierSettings())
    put_in_place(draft, shop.published)


def materialize_by_hand(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """What an asset materialized alone leaves in the run log."""
    connection.execute(
        "INSERT INTO pipeline_runs SELECT * REPLACE ('by hand' AS run_id, "
        "(SELECT max(sequence) + 1 FROM pipeline_runs) AS sequence) "
        "FROM pipeline_runs WHERE month = ? AND asset = 'segment_profiles'",
        [month],
    )


def test_a_file_published_again_says_the_same(copy, three_months):
    before = query(copy.published, "SELECT * FROM pipeline_runs ORDER BY ALL")
    publish(copy)
    assert published_content(copy.published) == published_content(three_months.published)
    assert query(copy.published, "SELECT * FROM pipeline_runs ORDER BY ALL") == before
    assert set(published_months(copy.published)) == {MARCH, APRIL, MAY}


def run_again(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """As a run leaves a month that it has made again: with a row of its own, the last, that says it is published."""
    connection.execute(
        "INSERT INTO pipeline_runs SELECT * REPLACE ('again' AS run_id, "
        "(SELECT max(sequence) + 1 FROM pipeline_runs) AS sequence) "
        "FROM pipeline_runs WHERE month = ? AND asset = 'published_segments'",
        [month],
    )


def changed(shop: Shop) -> set[date] | None:
    with warehouse_of(shop) as connection:
        return changed_months(connection, shop.published, published_features(connection))


def test_only_the_months_that_were_run_since_are_written_again(copy, three_months):
    """Whatever else the warehouse has become, nobody has run it: the file says what it said."""
    assert changed(copy) == set()
    with warehouse_of(copy) as connection:
        connection.execute("UPDATE segment_profiles SET name = 'run again' WHERE month = ?", [APRIL])
        connection.execute("UPDATE segment_profiles SET name = 'not run' WHERE month = ?", [MAY])
        run_again(connection, APRIL)
    assert changed(copy) == {APRIL}
    publish(copy)
    names = "SELECT DISTINCT month, name FROM segment_profiles WHERE name IN ('run again', 'not run')"
    assert query(copy.published, names) == [(APRIL, "run again")]
    for table in ("monthly_assignments", "customer_lines", "validated_features", "data_dictionary"):
        rows = f"SELECT * FROM {table} ORDER BY ALL"
        assert query(copy.published, rows) == query(three_months.published, rows)
    assert changed(copy) == set()


def test_a_file_of_replaced_months_is_the_one_that_is_written_whole(copy, tmp_path):
    with warehouse_of(copy) as connection:
        connection.execute("UPDATE segment_profiles SET name = 'run again' WHERE month <> ?", [MARCH])
        connection.execute("DELETE FROM churn_risk WHERE month = ?", [MAY])
        for month in (MAY, APRIL):
            run_again(connection, month)
    publish(copy)
    replaced = copy.published.rename(tmp_path / "replaced.duckdb")
    publish(copy)
    assert published_content(replaced) == published_content(copy.published)
    both = [query(file, "FROM published_parts ORDER BY ALL") for file in (replaced, copy.published)]
    assert both[0] == both[1] != []


@pytest.mark.parametrize(
    "doubt",
    [
        "INSERT INTO feature_diagnostics SELECT * FROM feature_diagnostics WHERE month = DATE '2023-03-01' LIMIT 1",
        "INSERT INTO people_operations VALUES (1, 'merge', TIMESTAMP '2000-01-01', 1, 1, 9, false)",
        "INSERT INTO people_operations VALUES (1, 'merge', TIMESTAMP '2200-01-01', 1, 1, 9, true)",
    ],
)
def test_all_is_written_anew_where_the_warehouse_may_have_other_rows_of_months_that_nobody_has_run(copy, doubt):
    with warehouse_of(copy) as connection:
        connection.execute("INSERT INTO people_operations VALUES (0, 'merge', TIMESTAMP '2000-01-01', 1, 1, 9, true)")
        connection.execute("UPDATE segment_profiles SET name = 'another' WHERE month = ?", [MARCH])
    assert changed(copy) == set()
    with warehouse_of(copy) as connection:
        connection.execute(doubt)
    assert changed(copy) is None
    publish(copy)
    assert query(copy.published, "SELECT DISTINCT month FROM segment_profiles WHERE name = 'another'") == [(MARCH,)]


@pytest.mark.parametrize(
    "doubt",
    [
        "UPDATE segment_profiles SET name = 'theirs'",
        "COMMENT ON TABLE segment_profiles IS 'theirs'",
        "UPDATE data_dictionary SET description = 'of an older version' WHERE column_name = 'segment_id'",
        "DROP TABLE data_dictionary",
    ],
)
def test_all_is_written_anew_where_somebody_has_written_to_the_file_or_another_version_made_it(
    copy, three_months, doubt
):
    copy.published.chmod(0o644)
    with duckdb.connect(str(copy.published)) as connection:
        connection.execute(doubt)
    assert changed(copy) is None
    publish(copy)
    assert published_content(copy.published) == published_content(three_months.published)
    assert changed(copy) == set()


def test_a_file_does_not_grow_with_what_was_replaced(copy):
    sizes = []
    for _ in range(6):
        with warehouse_of(copy) as connection:
            run_again(connection, APRIL)
        publish(copy)
        sizes.append(copy.published.stat().st_size)
    assert max(sizes) < 2 * sizes[0]


def test_a_file_of_which_more_than_half_is_empty_is_written_anew(copy):
    much = "(SELECT string_agg(md5(CAST(random() AS VARCHAR)), '') FROM range(1_000_000))"
    for change in (
        f"UPDATE segment_profiles SET name = {much} WHERE month = ?",
        "UPDATE segment_profiles SET name = 'a' WHERE month = ?",
    ):
        with warehouse_of(copy) as connection:
            connection.execute(change, [APRIL])
            run_again(connection, APRIL)
        publish(copy)
    half_empty = copy.published.stat().st_size
    assert changed(copy) is None
    publish(copy)
    assert changed(copy) == set()
    assert copy.published.stat().st_size < half_empty


def test_a_file_without_all_its_rows_is_not_published(copy):
    rows = {"segment_profiles": 3, "monthly_assignments": 7}
    with duckdb.connect(str(copy.folder / "draft.duckdb")) as draft:
        draft.execute(f"ATTACH '{copy.published}' AS published (READ_ONLY)")
        for name, count in rows.items():
            draft.execute(f"CREATE TABLE {name} AS FROM published.{name} LIMIT {count}")
    with pytest.raises(PublishError, match="monthly_assignments holds 7 rows, not 8; nothing was published"):
        _check(copy.folder / "draft.duckdb", rows | {"monthly_assignments": 8}, [MARCH])


def test_a_month_that_is_half_made_keeps_the_rows_that_consumers_see(copy, three_months):
    with warehouse_of(copy) as connection:
        connection.execute("UPDATE segment_profiles SET name = 'half-made' WHERE month = ?", [APRIL])
        materialize_by_hand(connection, APRIL)
        assert known_months(connection) == {MARCH: True, APRIL: False, MAY: True}
    publish(copy)
    assert published_content(copy.published) == published_content(three_months.published)


def test_a_month_that_was_never_finished_is_not_published(copy):
    with warehouse_of(copy) as connection:
        connection.execute(
            "INSERT INTO pipeline_runs SELECT * REPLACE (DATE '2023-06-01' AS month) FROM pipeline_runs "
            "WHERE month = ? AND asset <> 'published_segments'",
            [MAY],
        )
        connection.execute(
            "INSERT INTO monthly_assignments SELECT * REPLACE (DATE '2023-06-01' AS month) "
            "FROM monthly_assignments WHERE month = ?",
            [MAY],
        )
    publish(copy)
    assert set(published_months(copy.published)) == {MARCH, APRIL, MAY}
    assert query(copy.published, "SELECT max(month) FROM monthly_assignments") == [(MAY,)]


def test_a_month_whose_tables_tell_of_different_customers_is_unfinished_and_keeps_what_consumers_see(
    copy, three_months
):
    """As a version that went by the clock left it: half of one run, half of another, and written down as published."""
    with warehouse_of(copy) as connection:
        connection.execute("DELETE FROM monthly_assignments WHERE month = ? AND customer_id < 'c00100'", [APRIL])
        assert known_months(connection) == {MARCH: True, APRIL: False, MAY: True}
        with pytest.raises(PublishError, match=r"2023-04 are not of one run.*--months 2023-04 --force"):
            refuse_torn(connection, APRIL)
        refuse_torn(connection, MAY)
    publish(copy)
    assert published_content(copy.published) == published_content(three_months.published)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM customer_actions WHERE month = $1 AND customer_id < 'c00100'", "customer_actions tells of"),
        ("DELETE FROM transition_deltas WHERE month = $1 AND customer_id < 'c00100'", "transition_deltas tells of"),
        ("UPDATE transition_matrix SET customers = customers + 1 WHERE month = $1", "transition_matrix tells of"),
        ("UPDATE segment_profiles SET segment_id = segment_id + 7 WHERE month = $1", "has other segments"),
        ("UPDATE segment_profiles SET customers = customers + 1 WHERE month = $1", "segment_profiles tells of"),
        (
            "INSERT INTO segment_profiles SELECT * REPLACE (99 AS segment_id) FROM segment_profiles "
            "WHERE month = $1 AND segment_id = 1",
            "has other segments",
        ),
        ("DELETE FROM validated_features WHERE month = $1 AND customer_id < 'c00100'", "validated_features tells of"),
    ],
)
def test_each_table_of_a_month_is_compared_with_its_assignments(copy, change, said):
    with warehouse_of(copy) as connection:
        assert disagreements(connection) == {}
        connection.execute(change, [APRIL])
        found = disagreements(connection)
    assert set(found) == {APRIL}
    assert said in found[APRIL]


def test_a_customer_who_stands_twice_is_not_published(copy, three_months):
    with warehouse_of(copy) as connection:
        # and another of the segment not at all, so that the numbers agree
        connection.execute(
            "DELETE FROM monthly_assignments WHERE month = $1 AND customer_id = (SELECT max(a.customer_id) "
            "FROM monthly_assignments AS a JOIN monthly_assignments AS b USING (month, segment_id) WHERE a.month = $1 "
            "AND b.customer_id = (SELECT min(customer_id) FROM monthly_assignments WHERE month = $1))",
            [MAY],
        )
        connection.execute(
            "INSERT INTO monthly_assignments SELECT * FROM monthly_assignments WHERE month = ? "
            "ORDER BY customer_id LIMIT 1",
            [MAY],
        )
        run_again(connection, MAY)
    with pytest.raises(PublishError, match=r"stands twice in 2023-05; nothing was published.*--force"):
        publish(copy)
    assert published_content(copy.published) == published_content(three_months.published)


def test_months_that_the_warehouse_has_lost_are_not_taken_from_consumers(copy, three_months):
    with warehouse_of(copy) as connection:
        connection.execute("DELETE FROM pipeline_runs WHERE month < ?", [MAY])
    with pytest.raises(
        PublishError,
        match=r"has 2023-03\.\.2023-04 as runs have published them of which warehouse.duckdb knows nothing",
    ):
        publish(copy)
    assert published_content(copy.published) == published_content(three_months.published)


def test_one_lost_month_is_named_once(copy):
    with warehouse_of(copy) as connection:
        connection.execute("DELETE FROM pipeline_runs WHERE month = ?", [APRIL])
        assert lost_months(copy.published, connection) == [APRIL]
        with pytest.raises(PublishError, match=r"segments\.duckdb has 2023-04 as runs.*--accept-loss 2023-04;"):
            refuse_loss(copy.published, connection)


def test_the_file_is_kept_under_another_name_where_all_that_is_lost_is_accepted(copy):
    content = copy.published.read_bytes()
    kept = [copy.folder / f"segments.kept_{number}.duckdb" for number in (1, 2)]
    with warehouse_of(copy) as connection:
        accept_loss_of(copy.published, connection, [MARCH, APRIL])  # nothing is lost
        connection.execute("DELETE FROM pipeline_runs WHERE month < ?", [MAY])
        for accepted in ([], [APRIL], [APRIL, MAY]):
            accept_loss_of(copy.published, connection, accepted)
            assert copy.published.exists()
        accept_loss_of(copy.published, connection, [MARCH, APRIL])
        assert (copy.published.exists(), kept[0].read_bytes()) == (False, content)
        copy.published.write_bytes(content)
        accept_loss_of(copy.published, connection, [MARCH, APRIL, MAY])
        assert [file.read_bytes() for file in kept] == [content, content]
        refuse_loss(copy.published, connection)  # there is nothing left to lose


def test_a_forgotten_customer_does_not_come_back_from_the_file_that_consumers_see(copy):
    """Of a half-made month the file lends its rows: not those of a customer who has been forgotten since."""
    with warehouse_of(copy) as connection:
        materialize_by_hand(connection, APRIL)
        connection.execute("INSERT INTO former_customers VALUES (sha256('saltc00007'), 'salt', NULL)")
        connection.execute("INSERT INTO people_operations VALUES (1, 'forget', now(), 1, 1, 9, false)")
    publish(copy)
    of_whom = "SELECT month FROM monthly_assignments WHERE customer_id = '{}' ORDER BY month"
    assert query(copy.published, of_whom.format("c00007")) == [(MARCH,), (MAY,)]
    assert query(copy.published, of_whom.format("c00010")) == [(MARCH,), (APRIL,), (MAY,)]
    (at_large,) = query(copy.published, "SELECT count(*) FROM segment_profiles WHERE month = DATE '2023-04-01'")
    assert at_large > (0,)


@pytest.mark.parametrize("anew", [True, False])
def test_what_does_not_fit_on_the_disk_does_not_stay_there(copy, anew):
    """It had kept the disk full, so that nothing could be written any more."""
    before = copy.published.read_bytes()
    with warehouse_of(copy) as connection:
        run_again(connection, APRIL)
    if anew:
        os.utime(copy.published)
    with files_of_at_most(2_000_000), pytest.raises(WarehouseError, match="cannot be written"):
        publish(copy)
    assert not list(copy.folder.glob(".segments*"))
    assert copy.published.read_bytes() == before
    publish(copy)


def test_what_a_killed_run_left_beside_is_cleared_away(copy):
    before = sorted(copy.folder.iterdir())
    for name in (".segments.duckdb.draft", ".segments.duckdb.draft.wal", ".segments.duckdb.4711"):
        (copy.folder / name).write_bytes(b"left behind" * 1000)
    publish(copy)
    assert sorted(copy.folder.iterdir()) == before


def test_a_file_of_an_older_version_without_some_columns_still_lends_its_months(copy):
    copy.published.chmod(0o644)
    with duckdb.connect(str(copy.published)) as connection:
        connection.execute("DROP VIEW customer_journey")
        connection.execute("ALTER TABLE segment_profiles DROP COLUMN narrative")
    with warehouse_of(copy) as connection:
        materialize_by_hand(connection, APRIL)
    publish(copy)
    found = query(copy.published, "SELECT month, count(narrative) > 0 FROM segment_profiles GROUP BY 1 ORDER BY 1")
    assert found == [(MARCH, True), (APRIL, False), (MAY, True)]


@pytest.mark.process
def test_a_program_that_crashed_with_changes_to_the_file_leaves_no_trace_in_the_next(copy, three_months):
    copy.published.chmod(0o644)
    changes = "CREATE TABLE notes AS SELECT 1 AS x; DELETE FROM monthly_assignments"
    crash = (
        f"import duckdb, os; c = duckdb.connect('{copy.published}'); c.execute('{changes}'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", crash], check=False)
    assert (copy.folder / "segments.duckdb.wal").exists()
    assert set(published_months(copy.published)) == {MARCH, APRIL, MAY}
    publish(copy)
    assert not (copy.folder / "segments.duckdb.wal").exists()
    assert published_content(copy.published) == published_content(three_months.published)


def test_a_file_of_an_older_version_is_told_by_what_it_lacks(copy):
    assert not lacks_columns(copy.published)
    copy.published.chmod(0o644)
    for column in ("rows", "sequence"):  # other tables have rows too
        with duckdb.connect(str(copy.published)) as connection:
            connection.execute(f"ALTER TABLE pipeline_runs DROP COLUMN {column}")
        assert lacks_columns(copy.published)
    assert set(published_months(copy.published)) == {MARCH, APRIL, MAY}  # then by the clock


def test_months_that_were_made_with_other_settings_are_named_whoever_copied_them(copy):
    (used,) = query(copy.published, "SELECT DISTINCT config_hash FROM pipeline_runs")
    with warehouse_of(copy) as connection:
        connection.execute("UPDATE pipeline_runs SET config_hash = 'other' WHERE month = ?", [MARCH])
        connection.execute("UPDATE pipeline_runs SET config_hash = 'other' WHERE asset = 'published_segments'")
    publish(copy)
    assert months_of_other_settings(copy.published, used[0]) == [MARCH]
    assert months_of_other_settings(copy.published, "other") == [APRIL, MAY]


def test_readers_hold_the_file_together_and_nobody_can_write_it(copy):
    umask = os.umask(0)  # a file that is new could be written by everybody
    try:
        publish(copy)
    finally:
        os.umask(umask)
    assert copy.published.stat().st_mode & 0o222 == 0
    with duckdb.connect(str(copy.published), read_only=True):
        assert set(published_months(copy.published)) == {MARCH, APRIL, MAY}


@pytest.mark.parametrize("anew", [False, True])
def test_the_views_and_the_scoring_of_the_latest_month_are_in_the_file_again(copy, three_months, anew):
    if anew:
        copy.published.unlink()
    publish(copy)
    for there in (
        "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1",
        "SELECT function_name, macro_definition FROM duckdb_functions() "
        "WHERE NOT internal AND function_name LIKE 'score%' ORDER BY ALL",
        "SELECT table_name, comment FROM duckdb_tables() ORDER BY 1",
    ):
        found = query(copy.published, there)
        assert found
        assert found == query(three_months.published, there)


def test_no_file_has_no_months(tmp_path):
    assert published_months(tmp_path / "segments.duckdb") == {}
    assert not lacks_columns(tmp_path / "segments.duckdb")
    assert months_of_other_settings(tmp_path / "segments.duckdb", "any") == []


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path):
    (tmp_path / "segments.duckdb").write_bytes(b"")
    with pytest.raises(PublishError, match=r"segments\.duckdb cannot be read .* move it away"):
        published_months(tmp_path / "segments.duckdb")


def test_a_database_that_is_not_ours_is_named(tmp_path):
    duckdb.connect(str(tmp_path / "segments.duckdb")).close()
    with pytest.raises(PublishError, match="cannot be read"):
        published_months(tmp_path / "segments.duckdb")


def test_a_months_fingerprint_changes_with_its_assignments_alone(copy):
    before = month_fingerprints(copy.published, [APRIL, MAY])
    with warehouse_of(copy) as connection:
        connection.execute(
            "UPDATE monthly_assignments SET probabilities = list_reverse(probabilities) "
            "WHERE month = ? AND customer_id = (SELECT min(customer_id) FROM monthly_assignments WHERE month = ?)",
            [MAY, MAY],
        )
        run_again(connection, MAY)
    publish(copy)
    after = month_fingerprints(copy.published, [APRIL, MAY])
    assert before[APRIL] == after[APRIL]
    assert before[MAY] != after[MAY]
    assert month_fingerprints(copy.published, []) == {}


@pytest.mark.parametrize(("choice", "shown"), [({}, [MARCH, MAY]), ({"unfinished": True}, [MARCH, APRIL, MAY])])
def test_readers_of_a_catalogue_see_the_months_whose_runs_have_come_to_their_end(copy, choice, shown):
    class Catalogue:
        months: list[date]

        def publish(self, connection: duckdb.DuckDBPyConnection, months: list[date]) -> None:
            self.months = sorted(months)

    with warehouse_of(copy) as connection:
        materialize_by_hand(connection, APRIL)
    catalogue = Catalogue()
    here = Warehouse(copy.warehouse, lock_timeout=5, memory_limit="1GB")
    show_in_catalogue(cast(Warehouse, SimpleNamespace(engine=catalogue, connect=here.connect)), **choice)
    assert catalogue.months == shown
