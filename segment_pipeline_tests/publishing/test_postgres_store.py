"""The published tables in a real PostgreSQL: what is there, who may read it, and what becomes of it when it fails."""

import json
import math
import random
import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psycopg
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import load_config
from segment_pipeline.publishing.stores.filling import assets_behind, fill, stores_of
from segment_pipeline.publishing.stores.parts import StoreError, parts_of
from segment_pipeline.publishing.stores.postgres import PostgresStore
from segment_pipeline_tests.postgres import MISSING, binaries, server
from segment_pipeline_tests.publishing.stores import changed, doubled, killed_filling, naming, without_month
from segment_pipeline_tests.traces import traces_in_server

pytestmark = [pytest.mark.skipif(binaries() is None, reason=MISSING), pytest.mark.process]

MAY = "2023-05-01"
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "stores.md"


@pytest.fixture(scope="module")
def postgres():
    with server(binaries()) as running:
        yield running


@pytest.fixture
def database(postgres):
    """The address of an empty database."""
    postgres.run("DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop")
    yield f"postgresql://tests@/shop?host={postgres.folder}"
    postgres.run("DROP DATABASE shop WITH (FORCE)")


@contextmanager
def session(address, **options):
    with psycopg.connect(address, autocommit=True, options="-c search_path=segments", **options) as connection:
        yield connection


def ask(address, sql):
    with session(address) as connection:
        return connection.execute(sql).fetchall()


def filled(shop, address):
    """The store, filled from the shop's file."""
    (store,) = stores_of(naming(shop, f'{{postgres: "{address}"}}'))
    assert fill(store)[1] == []
    return store


def comparable(value):
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    return [comparable(one) for one in value] if isinstance(value, list) else value


def content(rows, parse=()):
    """Rows in a settled order; the columns at these places are JSON as text."""
    return sorted(
        (
            [comparable(json.loads(value) if i in parse and value else value) for i, value in enumerate(row)]
            for row in rows
        ),
        key=repr,
    )


def assert_same(published, address):
    """Every table and view is there with the rows that the file has."""
    with duckdb.connect(str(published), read_only=True) as connection, session(address) as there:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM duckdb_tables() UNION ALL "
                "SELECT view_name FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
        ]
        assert len(names) > 45
        for name in names:
            described = connection.execute(f"DESCRIBE {name}").fetchall()
            parse = [place for place, column in enumerate(described) if column[1] == "JSON"]
            columns = ", ".join(f'"{column[0]}"' for column in described)
            expected = content(connection.execute(f"SELECT {columns} FROM {name}").fetchall(), parse)
            found = content(there.execute(f"SELECT {columns} FROM {name}").fetchall())
            assert len(found) == len(expected), name
            if name == "forecast_quality":  # means, whose last digit depends on the order of the rows
                continue
            assert found == expected, name


def test_every_table_and_view_is_there_with_its_words_and_what_is_the_same_is_not_sent_again(copy, database):
    store = filled(copy, database)
    assert_same(copy.published, database)
    assert ask(
        database, "SELECT obj_description('membership'::regclass), col_description('membership'::regclass, 6)"
    ) == [
        (
            "One row per month, customer and segment: the probabilities of monthly_assignments, unnested.",
            "Membership probability; over a customer's segments they sum to 1. Unit: 0..1.",
        )
    ]
    ((about,),) = ask(database, "SELECT obj_description('score(regclass)'::regprocedure)")
    assert "any table or view, given by its name, with customer_id" in about  # and no query, as in DuckDB
    tables = "SELECT relname, n_tup_ins, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
    before = ask(database, f"SELECT pg_stat_force_next_flush(); {tables}") and ask(database, tables)
    assert fill(store) == ({"parts": 0, "rows": 0}, [])
    assert ask(database, tables) == before
    assert assets_behind(store.config) == []


def test_values_arrive_as_they_are(copy, database):
    strange = ['a "quoted" id', "back\\slash, {brace}", "line\nbreak", "", "NULL", "Ümlaut ’ 😀", "\\N"]
    with changed(copy.published) as connection:
        for number, text in enumerate(strange):
            connection.execute(
                "UPDATE monthly_assignments SET segment_name = ?, tier = ?, entropy = ?, probabilities = ? WHERE "
                "month = ? AND customer_id = (SELECT customer_id FROM monthly_assignments WHERE month = ? "
                "ORDER BY customer_id OFFSET ? LIMIT 1)",
                [
                    text,
                    None if number else text,
                    [math.nan, math.inf, -math.inf, 5e-324, 0.1 + 0.2][number % 5],
                    [[], None, [None, 1.5], [math.nan, 1e-300]][number % 4],
                    MAY,
                    MAY,
                    number,
                ],
            )
        connection.execute(
            "INSERT INTO rejected_customers BY NAME (SELECT DATE '2023-05-01' AS month, 'x' AS customer_id, "
            "? AS reasons, ? AS raw)",
            [[*strange, None], json.dumps({"text": strange, "none": None})],
        )
    filled(copy, database)
    assert_same(copy.published, database)


def test_a_connection_that_is_never_reopened_sees_the_new_month_through_its_own_view(
    copy, postgres, database, three_months
):
    without_month(copy.published, MAY)
    filled(copy, database)
    with session(database) as owner:
        owner.execute("CREATE ROLE analyst LOGIN; GRANT USAGE ON SCHEMA segments TO analyst")
        owner.execute("GRANT SELECT ON monthly_assignments TO analyst; CREATE SCHEMA analyst AUTHORIZATION analyst")
    try:
        with session(database.replace("tests@", "analyst@")) as bi:
            bi.execute("CREATE VIEW analyst.sizes AS SELECT month, count(*) FROM monthly_assignments GROUP BY 1")
            assert len(bi.execute("TABLE analyst.sizes").fetchall()) == 2
            copy.published.unlink()
            copy.published.write_bytes(three_months.published.read_bytes())
            filled(copy, database)
            assert len(bi.execute("TABLE analyst.sizes").fetchall()) == 3
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                bi.execute("TABLE churn_risk")
    finally:
        postgres.run("\\c shop", "DROP OWNED BY analyst", "DROP ROLE analyst")


def test_a_column_that_comes_later_is_added_and_what_is_no_more_goes(copy, database):
    filled(copy, database)
    with changed(copy.published) as connection:
        connection.execute("ALTER TABLE segment_profiles ADD COLUMN \"Own Words\" VARCHAR DEFAULT 'said'")
        connection.execute("CREATE VIEW z_all AS SELECT month FROM segment_profiles")
        connection.execute("CREATE VIEW a_latest AS SELECT max(month) AS month FROM z_all")
    filled(copy, database)
    assert ask(database, 'SELECT DISTINCT "Own Words" FROM segment_profiles') == [("said",)]
    assert str(ask(database, "TABLE a_latest")[0][0]) == MAY
    without_month(copy.published, MAY)
    filled(copy, database)
    assert str(ask(database, "TABLE a_latest")[0][0]) == "2023-04-01"


def test_the_function_score_says_what_monthly_assignments_says(copy, database):
    filled(copy, database)
    names = ("days_since_last_order", "orders", "average_order_value", "products_per_order")
    with duckdb.connect(str(copy.warehouse), read_only=True) as connection:
        rows = connection.execute(
            f"SELECT customer_id, {', '.join(names)} FROM validated_features WHERE month = '{MAY}'"
        ).fetchall()
    with session(database) as there:
        columns = ", ".join(f"{name} double precision" for name in names)
        there.execute(f'CREATE TABLE public."My Customers" (customer_id text, {columns})')
        there.cursor().executemany('INSERT INTO public."My Customers" VALUES (%s, %s, %s, %s, %s)', rows)
        there.execute("INSERT INTO public.\"My Customers\" VALUES ('nobody', NULL, 1, 1, 1)")
        differing = there.execute(
            f"""
            SELECT s.customer_id, s.refused FROM score('public."My Customers"') AS s
            FULL JOIN (SELECT * FROM monthly_assignments WHERE month = '{MAY}') AS a USING (customer_id)
            WHERE (abs(s.max_probability - a.max_probability) < 1e-9 AND s.segment_id = a.segment_id
                AND s.segment_name = a.segment_name AND s.tier = a.tier) IS NOT TRUE
            """
        ).fetchall()
    assert differing == [("nobody", "missing:days_since_last_order")]
    assert len(rows) > 500


def test_readers_are_never_kept_waiting_and_never_see_half_a_month(copy, database):
    store = filled(copy, database)
    whole = copy.published.read_bytes()
    sizes, problems, ended = set(), [], threading.Event()

    def read():
        with session(database) as reader:
            reader.execute("SET statement_timeout = '3s'")
            while not ended.is_set():
                try:
                    # one statement is one moment, as the server sees it
                    found = reader.execute(
                        "SELECT a.customers, p.customers FROM (SELECT month, count(*) AS customers FROM "
                        "monthly_assignments GROUP BY 1) AS a FULL JOIN (SELECT month, sum(customers) AS customers "
                        "FROM segment_profiles GROUP BY 1) AS p USING (month) ORDER BY month"
                    ).fetchall()
                except psycopg.Error as error:
                    problems.append(str(error))
                    return
                sizes.add(tuple(int(one) for one, _ in found))
                problems.extend(row for row in found if row[0] != row[1])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(3):
        doubled(copy.published)
        fill(store)
        copy.published.unlink()
        copy.published.write_bytes(whole)
        fill(store)
    ended.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert len(sizes) == 2


def test_what_is_killed_leaves_the_months_as_they_were_and_the_next_brings_all(copy, database):
    store = filled(copy, database)
    before = store.parts()
    doubled(copy.published)
    with duckdb.connect(str(copy.published), read_only=True) as connection:
        after = parts_of(connection)
    assert before != after
    moments = random.Random(5)  # noqa: S311 - a seed, not a secret
    killed = 0
    for _ in range(5):
        killed += killed_filling(copy, moments.uniform(0, 0.6)) != 0
        found = store.parts()
        assert found in (before, after)
        counted = ask(database, "SELECT month, count(*) FROM monthly_assignments GROUP BY 1")
        assert dict(counted) == {part.month: part.rows for part in found if part.table == "monthly_assignments"}
    assert killed
    fill(store)
    assert store.parts() == after
    assert_same(copy.published, database)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://ana:s3cret%40x@127.0.0.1:1/shop", r"database shop on 127\.0\.0\.1: .*refused.* See whether the"),
        ("postgresql://ana:s3cret%40x@nowhere.invalid/shop", r"on nowhere\.invalid: .* See whether the server is up"),
        ("postgresql://ana:s3cret%@127.0.0.1/shop", "is no address that PostgreSQL understands"),
        ("$NO_SUCH_ADDRESS", "publish.postgres is .NO_SUCH_ADDRESS, and the environment has no such variable"),
    ],
)
def test_a_server_that_cannot_be_had_is_told_in_words_without_the_password(copy, address, said):
    config = naming(copy, f'{{postgres: "{address}"}}')
    with pytest.raises(StoreError, match=said) as told:
        fill(PostgresStore(config))
    assert "s3cret" not in f"{told.value}{told.value.__cause__}{config!r}"
    assert config.config_hash == naming(copy, "{parquet: elsewhere}").config_hash
    assert assets_behind(naming(copy, f'{{postgres: "{address}"}}')) == ["published_postgres"]


def test_a_wrong_password_is_told_without_it_and_the_right_one_comes_from_the_environment(
    copy, postgres, database, monkeypatch, capsys
):
    hba = postgres.folder / "data" / "pg_hba.conf"
    hba.write_text(f"local all locked scram-sha-256\n{hba.read_text()}")
    postgres.run("CREATE ROLE locked LOGIN PASSWORD 'right'", "GRANT CREATE ON DATABASE shop TO locked")
    postgres.run("SELECT pg_reload_conf()")
    address = database.replace("tests@", "locked:wr0ng@")
    with pytest.raises(StoreError, match=r"password authentication failed.* the password\. That can") as told:
        fill(PostgresStore(naming(copy, f'{{postgres: "{address}"}}')))
    assert "wr0ng" not in str(told.value)
    assert main(["check", "--config", str(copy.config_path)]) == 2
    said = capsys.readouterr().err
    assert "password authentication failed" in said
    assert "wr0ng" not in said
    monkeypatch.setenv("SHOP_DATABASE", address.replace("wr0ng", "right"))
    (store,) = stores_of(naming(copy, "{postgres: $SHOP_DATABASE}"))
    assert store.problems() == []
    fill(store)
    assert "right" not in store.place


def test_the_roles_of_the_guide_are_enough_and_check_says_which_right_is_missing(copy, database):
    (roles,) = re.findall(r"```postgresql\n(CREATE ROLE segments_publisher.*?)```", GUIDE.read_text(), re.DOTALL)
    with session(database) as owner:
        owner.execute("CREATE ROLE nobody_in_particular LOGIN")
        poor = database.replace("tests@", "nobody_in_particular@")
        (problem,) = PostgresStore(naming(copy, f'{{postgres: "{poor}"}}')).problems()
        assert 'CREATE SCHEMA "segments" AUTHORIZATION "nobody_in_particular";' in problem
        owner.execute(roles)
        (problem,) = PostgresStore(naming(copy, f'{{postgres: "{poor}"}}')).problems()
        assert 'GRANT CREATE, USAGE ON SCHEMA "segments" TO "nobody_in_particular";' in problem
        with pytest.raises(StoreError, match="`segment-pipeline check` says which right is missing"):
            fill(PostgresStore(naming(copy, f'{{postgres: "{poor}"}}')))
    try:
        filled(copy, database.replace("tests@", "segments_publisher@"))
        with session(database) as owner:
            owner.execute("CREATE ROLE ana LOGIN; GRANT segments_reader TO ana")
        with session(database.replace("tests@", "ana@")) as reader:
            assert reader.execute("SELECT count(*) FROM current_assignments").fetchone()[0] > 500
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("DELETE FROM monthly_assignments")
    finally:
        with session(database) as owner:
            for role in ("segments_publisher", "segments_reader", "ana", "nobody_in_particular"):
                owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_another_project_is_not_written_over(copy, database):
    filled(copy, database)
    text = copy.config_path.read_text().replace("name: shop", "name: other")
    other = copy.folder / "other.yaml"
    other.write_text(text)
    with pytest.raises(StoreError, match=r"holds the months of shop \(segmentation.yaml\).*publish.schema"):
        fill(PostgresStore(load_config(other)))


FILES = "SELECT relname, pg_relation_filepath(oid) FROM pg_class WHERE relnamespace = 'segments'::regnamespace"


def files_with(postgres, address, *ids):
    """The relations whose files hold one of the ids, in rows that are there or in what was deleted."""
    with session(address) as server:
        server.execute("CHECKPOINT")
        relations = server.execute(
            "SELECT oid::regclass::text, pg_relation_filepath(oid) FROM pg_class WHERE pg_relation_filepath(oid) <> ''"
        ).fetchall()
    held = {name: (postgres.folder / "data" / path).read_bytes() for name, path in relations}
    return {name for name, content in held.items() if any(one.encode() in content for one in ids)}


def test_who_is_forgotten_or_merged_leaves_no_trace_there(copy, postgres, database):
    store = filled(copy, database)
    with session(database) as server:
        server.execute("ANALYZE")  # as the server does by itself, sooner or later
    gone, old, new = (row[0] for row in ask(database, "SELECT customer_id FROM current_assignments ORDER BY 1 LIMIT 3"))
    assert "pg_stats" in traces_in_server(database, gone)
    assert "monthly_assignments" in files_with(postgres, database, gone)
    with session(database) as server:
        server.execute("DROP TABLE store_deleted")  # as an older version has left it
    config = ["--config", str(copy.config_path)]
    assert main(["forget", gone, *config]) == 0
    files = dict(ask(database, FILES))
    assert main(["merge", old, "into", new, *config]) == 0
    assert files_with(postgres, database, gone, old) <= {"pg_statistic"}  # a catalogue, its administrator's
    rewritten = {name for name, file in ask(database, FILES) if file != files[name]}
    assert "monthly_assignments" in rewritten
    assert not rewritten & {"segment_parameters", "store_parts"}  # which have lost nothing
    assert assets_behind(store.config) == []
    assert_same(copy.published, database)
    assert traces_in_server(database, gone, old) == []
    assert "segments.monthly_assignments" in traces_in_server(database, new)  # it would be found
    assert ask(database, "TABLE store_deleted") == []
    dead = "SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname = 'monthly_assignments'"
    deadline = time.monotonic() + 10
    while ask(database, dead) != [(0,)]:  # the server's own statistics come late
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_who_is_forgotten_while_the_server_is_away_is_taken_out_later_and_that_is_said(
    commands, copy, database, capsys
):
    filled(copy, database)
    (gone,) = ask(database, "SELECT min(customer_id) FROM current_assignments")[0]
    forget = ["forget", gone, "--config", str(copy.config_path)]
    naming(copy, '{postgres: "postgresql://tests@127.0.0.1:1/shop", parquet: lake}')
    assert main(forget) == 1
    said = capsys.readouterr()
    assert "lake: filled again" in said.out  # the other store need not wait
    assert re.search(r"rows may still be in schema segments .*`forget` is done\. .*the same command again", said.err)
    assert "brought here" not in said.err
    naming(copy, f'{{postgres: "{database}", parquet: lake}}')
    ended = commands.run(copy)
    assert "a store could not be reached. A run only brings stores up to the published file" in ended.err
    assert traces_in_server(database, gone) == []
    assert main(forget) == 0
    assert ask(database, "TABLE store_deleted") == []
    assert "has not come to its end" not in commands.run(copy).err


def test_a_run_publishes_although_a_store_is_away_and_the_next_brings_it_what_it_lacks(commands, copy, database):
    naming(copy, '{postgres: "postgresql://tests@127.0.0.1:1/shop", parquet: lake}')
    away = commands.run(copy, "--force", "--months", "2023-05")
    assert away.code == 1
    assert "2023-05 published" in away.err
    assert re.search(r"database shop on 127\.0\.0\.1: .* is published stands in segments\.duckdb", away.err)
    config = naming(copy, f'{{postgres: "{database}", parquet: lake}}')
    assert assets_behind(config) == ["published_postgres"]
    behind = commands.run(copy)  # every month is published
    assert behind.code == 0
    assert "Behind segments.duckdb, and to be filled again: published_postgres." in behind.err
    assert_same(copy.published, database)
    again = commands.run(copy)
    assert again.code == 0
    assert "Nothing to do" in again.err
