"""The months before the first: read from the source as any month, kept apart, and only where it shows them whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.past_store import fill_past
from segment_pipeline.customers.split_store import split_customers
from segment_pipeline.database.store import prepare
from segment_pipeline.errors import SourceError
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.order_lines import is_folded
from segment_pipeline.sources.over_time.contents import write_contents
from segment_pipeline.sources.over_time.folded import fold_months
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline_tests.shop import Shop

MARCH, JUNE = date(2023, 3, 1), date(2023, 6, 1)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def shop_config(shop: Shop, more: str = "") -> Config:
    return parse_config(shop.config_path.read_text() + more, shop.config_path)


def first_month(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, *, folded: bool = False
) -> list[date]:
    """What the first month's asset does, in transactions of these."""
    prepare(connection, TABLES, config.raw_feature_names)
    with transaction(connection) as own:
        if folded:
            fold_months(own, config, month)
        load_raw_customers(own, config, month, folded=folded)
        if folded:
            write_contents(own, config, month)
        split_customers(own, config, build_contract(config), month)
    remembering = config.model_copy(update={"model": config.model.model_copy(update={"memory": True})})
    return fill_past(lambda: transaction(connection), remembering, month)


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    with connection.cursor() as own:
        own.begin()
        yield own
        own.commit()


@pytest.mark.parametrize("folded", [False, True])
def test_the_past_is_what_its_months_would_have_been(
    connection: duckdb.DuckDBPyConnection, shop: Shop, folded: bool
) -> None:
    config = shop_config(shop)
    # orders begin with January: the window of March is the first that is whole
    assert first_month(connection, config, JUNE, folded=folded) == [date(2023, month, 1) for month in (3, 4, 5)]
    assert is_folded(connection, JUNE) == folded
    assert connection.execute("SELECT DISTINCT month FROM raw_customers").fetchall() == [(JUNE,)]
    for month in (3, 4, 5):
        load_raw_customers(connection, config, date(2023, month, 1))
        split_customers(connection, config, build_contract(config), date(2023, month, 1))
    names = ", ".join(config.raw_feature_names)
    differ = connection.execute(f"""
        SELECT count(*) FROM (
            (SELECT month, customer_id, {names} FROM past_features WHERE NOT rejected
            EXCEPT ALL SELECT month, customer_id, {names} FROM validated_features WHERE month < DATE '2023-06-01')
            UNION ALL
            (SELECT month, customer_id, {names} FROM validated_features WHERE month < DATE '2023-06-01'
            EXCEPT ALL SELECT month, customer_id, {names} FROM past_features WHERE NOT rejected)
        )
    """).fetchone()
    assert differ == (0,)
    seen = connection.execute(
        "SELECT count(*) FROM past_features AS p JOIN raw_customers AS r USING (month, customer_id) "
        "WHERE p.first_seen IS DISTINCT FROM r.first_seen"
    ).fetchone()
    assert seen == (0,)


def test_it_goes_back_no_further_than_the_memory(connection: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    assert first_month(connection, shop_config(shop, "memory: {months: 3}\n"), JUNE) == [
        date(2023, 4, 1),
        date(2023, 5, 1),
    ]


def test_a_later_month_leaves_the_past_as_it_is(connection: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    config = shop_config(shop)
    first_month(connection, config, date(2023, 5, 1))
    before = connection.execute("SELECT * FROM past_features ORDER BY ALL").fetchall()
    assert before
    assert first_month(connection, config, JUNE) == []
    assert connection.execute("SELECT * FROM past_features ORDER BY ALL").fetchall() == before


def test_a_run_again_gives_the_same_rows_once(connection: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    config = shop_config(shop)
    first_month(connection, config, JUNE)
    before = connection.execute("SELECT * FROM past_features ORDER BY ALL").fetchall()
    first_month(connection, config, JUNE)
    assert connection.execute("SELECT * FROM past_features ORDER BY ALL").fetchall() == before


def test_rejected_customers_are_known_without_features(connection: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    text = shop.config_path.read_text().replace("resolution: 1, valid: {min: 1}", "resolution: 1, valid: {min: 3}")
    config = parse_config(text, shop.config_path)
    first_month(connection, config, JUNE)
    rejected, with_features, once = connection.execute(
        "SELECT count(*), count(orders), count(DISTINCT (month, customer_id)) FROM past_features WHERE rejected"
    ).fetchone() or (0, 0, 0)
    assert rejected > 0
    assert with_features == 0
    assert once == rejected
    assert connection.execute("SELECT min(orders) FROM past_features WHERE NOT rejected").fetchone() == (3.0,)


SNAPSHOTS = """\
name: shop
first_month: 2023-03
source: {{snapshots: {{path: "{path}", customer_id: id}}}}
features:
  - {{name: visits, resolution: 1}}
  - {{name: spend}}
"""


def snapshots(folder: Path, months: dict[str, str]) -> Config:
    for month, text in months.items():
        (folder / f"customers_{month}.csv").write_text(text)
    path = folder / "segmentation.yaml"
    path.write_text(SNAPSHOTS.format(path="customers_{month}.csv"))
    return parse_config(path.read_text(), path)


GOOD = "id,visits,spend\na,1,2.5\nb,3,4.5\nb,3,4.5\nc,,1\n"


def test_snapshots_go_back_to_the_first_file_that_is_missing(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    config = snapshots(tmp_path, dict.fromkeys(("2022-11", "2023-01", "2023-02", "2023-03"), GOOD))
    assert first_month(connection, config, MARCH) == [date(2023, 1, 1), date(2023, 2, 1)]
    rows = connection.execute("SELECT customer_id, first_seen, rejected, visits FROM past_features ORDER BY ALL")
    assert rows.fetchall() == [(id_, None, id_ != "a", 1.0 if id_ == "a" else None) for id_ in "aabbcc"]


def test_an_older_file_without_the_features_ends_the_past(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    config = snapshots(tmp_path, {"2023-01": "id,visits\na,1\n", "2023-02": GOOD, "2023-03": GOOD})
    assert first_month(connection, config, MARCH) == [date(2023, 2, 1)]
    assert connection.execute("SELECT DISTINCT month FROM past_features").fetchall() == [(date(2023, 2, 1),)]


def test_an_older_file_that_cannot_be_read_is_told(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    config = snapshots(tmp_path, {"2023-02": GOOD, "2023-03": GOOD})
    (tmp_path / "customers_2023-02.csv").write_bytes(b"\xff\xfe\x00\x01\x02id,visits\n\x00\x00")
    with pytest.raises(SourceError, match="2023-02"):
        first_month(connection, config, MARCH)


def test_nobody_knows_how_far_back_the_users_own_sql_can_look(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "customers.sql").write_text("SELECT 'a' AS id, 1 AS visits, 2 AS spend, $as_of AS day")
    path = tmp_path / "segmentation.yaml"
    snapshots_of = SNAPSHOTS.format(path="customers.sql")
    path.write_text(snapshots_of.replace("snapshots: {path:", "query: {file:"))
    assert first_month(connection, parse_config(path.read_text(), path), MARCH) == []


def test_without_a_memory_there_is_no_past(connection: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    prepare(connection, TABLES, shop_config(shop).raw_feature_names)
    assert fill_past(lambda: transaction(connection), shop_config(shop), JUNE) == []
