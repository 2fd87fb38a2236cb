"""Order lines that are a table of the engine's catalogue: nothing of them is read here, and nothing differs."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.engines.engine import engine_of, looking
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.errors import ConfigError, SourceError
from segment_pipeline.publishing.people import TABLES_OF_PEOPLE, forget, leave_source, merge
from segment_pipeline.sources.categories import largest_categories
from segment_pipeline.sources.files import open_table
from segment_pipeline.sources.order_lines import ORDER_LINES
from segment_pipeline.sources.over_time.contents import read_contents
from segment_pipeline.sources.over_time.copies import find_copies
from segment_pipeline.sources.over_time.values import new_values_in_words
from segment_pipeline.sources.people.tables import REMOVED_ROWS
from segment_pipeline.sources.sources import SourceCounts, check_source, months_before, read_customers
from segment_pipeline.sources.tables import CUSTOMER_LINES
from segment_pipeline_tests.shop import Shop, apart, distance, order_lines, query, write_parquet
from segment_pipeline_tests.spark import Server

pytestmark = [pytest.mark.process]

APRIL = date(2023, 4, 1)
MONTHS = ("2023-03", "2023-04")

HELD = "SELECT feed, month, of_month, lines, customers, amount FROM source_months ORDER BY feed, month, of_month"
"""What the source held, but for fingerprints, which are each engine's own."""


@pytest.fixture(scope="module")
def shops(
    spark_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    shop_orders: Path,
    materialize: Callable[..., Any],
) -> tuple[Shop, Shop]:
    """Two months by DuckDB alone, of a file, and by an engine that has the file as a table."""
    folder = tmp_path_factory.mktemp("shops")
    engine = spark_server.key(folder / "lake", "of_lines")
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
    return shops


@pytest.mark.months
def test_every_published_table_is_that_of_the_file(shops: tuple[Shop, Shop]) -> None:
    far = apart(shops[0].published, shops[1].published)
    assert {table: most for table, most in far.items() if not most <= 1e-9} == {}
    assert len(query(shops[0].published, "SELECT customer_id FROM monthly_assignments")) > 1000


@pytest.mark.months
def test_no_line_comes_here(shops: tuple[Shop, Shop]) -> None:
    assert query(shops[1].warehouse, "SELECT count(*) FROM folded_orders") == [(0,)]
    assert query(shops[1].warehouse, HELD) == query(shops[0].warehouse, HELD)


def test_who_is_forgotten_leaves_what_was_made_of_a_table(
    spark_server: Server, shop_orders: Path, tmp_path: Path, materialize: Callable[..., Any]
) -> None:
    shop = Shop(tmp_path).configure(last_month=MONTHS[0], more=spark_server.key(tmp_path / "lake", "forgetting"))
    shop.config_path.write_text(
        shop.config_path.read_text().replace("path: orders.parquet", f"table: parquet.`{shop_orders}`")
    )
    materialize(shop, MONTHS[0], selection=["raw_customers", "validated_features"])
    config = load_config(shop.config_path)
    held = "SELECT sum(lines), sum(customers) FROM source_months"
    warehouse = Warehouse(shop.warehouse, 60, "2GB", 1, engine_of(config))
    with warehouse.transaction() as connection:
        before = connection.execute("SELECT count(*), min(customer_id) FROM validated_features").fetchall()[0]
        lines = connection.execute(held).fetchall()[0]
        leave_source(connection, config, [before[1]])
        done = forget(connection, [before[1]])
        assert (done.known, done.removed) == (1, done.rows)
        after = connection.execute("SELECT count(*), min(customer_id) FROM validated_features").fetchall()[0]
        assert after[0] == before[0] - 1
        assert after[1] > before[1]
        left = connection.execute(held).fetchall()[0]
    assert left[0] < lines[0]
    assert 0 < lines[1] - left[1] <= 3  # one customer, in each of the months that the lines are of


@pytest.mark.months
def test_two_ids_that_are_one_person_are_merged_as_in_a_warehouse_with_all_its_customers(
    shops: tuple[Shop, Shop],
) -> None:
    """One that is there in both months, and one that has come in the second; nothing of it is kept."""
    seen = []
    for shop in shops:
        config = load_config(shop.config_path)
        warehouse = Warehouse(shop.warehouse, 60, "2GB", 1, engine_of(config))
        with warehouse.connect() as connection:
            connection.begin()
            known = "SELECT customer_id FROM validated_features GROUP BY customer_id HAVING count(*) ="
            (new,), (old,) = (
                connection.execute(f"{known} {months} ORDER BY customer_id LIMIT 1").fetchall()[0] for months in (1, 2)
            )
            done = merge(connection, config, old, new)
            tables = {
                table.name: connection.execute(f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}").fetchall()
                for table in (*TABLES_OF_PEOPLE, REMOVED_ROWS)
            }
            tables["source_months"] = connection.execute(HELD).fetchall()
        seen.append((done, tables))
    (here, tables), (there, tables_there) = seen
    assert here.removed > 0
    assert here.rows > here.removed
    assert there == replace(here, rows=there.rows)  # here, the orders that are kept of files are among them
    far = {
        name: distance([list(row) for row in rows], [list(row) for row in tables_there[name]])
        for name, rows in tables.items()
    }
    assert {name: most for name, most in far.items() if not most <= 1e-9} == {}


# --- what a source can say besides --------------------------------------------------------------------------------


RICH = """\
name: rich
first_month: 2023-03
last_month: 2023-04
source:
  time_zone: Europe/Berlin
  customers: any
  orders:
    {orders}
    repeats: once
    columns: {{net: amount / 1.19}}
    customer_id: customer
    order_id: order_id
    ordered_at: ordered_at
    amount: net
    product_id: product
    where: product <> 7
  products: {{{products}, product_id: id, category: kind}}
  events:
    - {{feed: visits, {visits}, customer_id: visitor, occurred_at: at, where: pages > 1}}
features:
  - {{name: days_since_last_order}}
  - {{name: orders}}
  - {{name: categories}}
  - {{name: distinct_products}}
  - {{name: tenure_days}}
  - {{name: large_lines, of_lines: count(*) FILTER (WHERE net > 12)}}
  - {{name: dearest, of_lines: max(amount), missing: 0}}
  - {{name: usual, of_lines: mean(net), missing: 0}}
  - {{name: mornings, of_lines: count(*) FILTER (WHERE hour(ordered_at) < 12 AND lower(customer) LIKE 'c%')}}
  - {{name: by_product, of_lines: max(net / (product - 5)) FILTER (WHERE product > 5), missing: 0}}
  - {{name: spend_on_toys, spend_share: toys}}
  - {{name: visits, of_events: {{feed: visits, value: count}}}}
  - {{name: pages, of_events: {{feed: visits, value: sum(pages)}}, missing: 0}}
{engine}
"""


@pytest.fixture(scope="module")
def rich(spark_server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Config]:
    """A source with all that it can have, of files, and the same files as tables of an engine's catalogue."""
    folder = tmp_path_factory.mktemp("rich")
    lines = order_lines(customers=200)
    lines = {name: [*values, *values[:50]] for name, values in lines.items()}  # exports that overlap
    lines["ordered_at"] = [one.replace(tzinfo=UTC) for one in lines["ordered_at"]]  # type: ignore[attr-defined]
    kinds = {"id": list(range(500)), "kind": [("toys", "books", None, " ")[id % 4] for id in range(500)]}
    visits = {
        "visitor": [f"c{number % 230:05d}" for number in range(2000)],
        "at": [lines["ordered_at"][number * 7] + timedelta(hours=3) for number in range(2000)],  # type: ignore[operator]
        "pages": [number % 9 for number in range(2000)],
    }
    for name, rows in (("orders", lines), ("products", kinds), ("visits", visits)):
        write_parquet(rows, folder / f"{name}.parquet")
    engine = spark_server.key(folder / "lake", "rich")
    names = ("orders", "products", "visits")
    here = {name: f"path: {name}.parquet" for name in names}
    there = {name: f"table: 'parquet.`{folder}/{name}.parquet`'" for name in names}
    (folder / "here.yaml").write_text(RICH.format(**here, engine=""))
    (folder / "there.yaml").write_text(RICH.format(**there, engine=engine))
    return load_config(folder / "here.yaml"), load_config(folder / "there.yaml")


def read(config: Config) -> tuple[SourceCounts, list[tuple[Any, ...]], list[date]]:
    with looking(config) as connection:
        check_source(connection, config, [APRIL])
        counts = read_customers(connection, config, APRIL)
        rows = connection.execute("SELECT * FROM source_customers ORDER BY customer_id").fetchall()
        return counts, rows, months_before(connection, config, APRIL, 6)


def test_all_that_a_source_can_have_is_the_same_there(rich: tuple[Config, Config]) -> None:
    (counts, rows, months), (counts_there, rows_there, months_there) = map(read, rich)
    # of doubles, whose sum depends on the order of the rows in either engine
    rounded, rounded_there = counts.lost_by_rounding, counts_there.lost_by_rounding
    assert rounded_there == pytest.approx(rounded, rel=1e-9)
    assert (replace(counts_there, lost_by_rounding=rounded), months_there) == (counts, months)
    assert len(rows) > 150
    assert max(distance(list(a), list(b)) for a, b in zip(rows, rows_there, strict=True)) < 1e-9
    assert counts.filled["pages"] + counts.filled["dearest"] > 0


def look(config: Config, *known: str) -> tuple[Any, ...]:
    """What is kept of a month's source, and told of it."""
    orders = config.source.orders
    assert orders is not None
    orders = orders.model_copy(update={"known_values": {name: ["1"] for name in known}})
    config = config.model_copy(update={"source": config.source.model_copy(update={"orders": orders})})
    with looking(config) as connection:
        prepare(connection, [CUSTOMER_LINES], ())
        read_contents(connection, config)
        held = "SELECT feed, of_month, lines, customers, amount, days FROM source_contents ORDER BY feed, of_month"
        return (
            connection.execute(held).fetchall(),
            find_copies(connection, config, APRIL),
            new_values_in_words(connection, config, APRIL),
            largest_categories(connection, config, APRIL, 3),
        )


@pytest.mark.parametrize("known", [[], ["product"], ["product", "order_id"]])
def test_what_is_kept_and_told_of_a_source_is_the_same_there(rich: tuple[Config, Config], known: list[str]) -> None:
    here, there = (look(config, *known) for config in rich)
    assert there == here
    contents, _, new, categories = here
    assert {feed for feed, *_ in contents} == {ORDER_LINES, "visits"}
    assert [one.partition(":")[0] for one in new] == known
    assert categories == ["toys", "books"]


def test_a_path_under_which_nothing_is_is_told_with_its_key(rich: tuple[Config, Config]) -> None:
    with looking(rich[1]) as connection, pytest.raises(SourceError, match=r"Fix source\.orders\.table"):
        open_table(connection, "parquet.`/nowhere.parquet`", "source.orders")


def test_check_says_that_each_month_reads_the_lines_of_a_table_anew(
    rich: tuple[Config, Config], capsys: pytest.CaptureFixture[str]
) -> None:
    for config, told in zip(rich, (False, True), strict=True):
        assert main(["check", "--config", str(config.path)]) == 0
        told_that = f"of closed months of {config.source.orders.table} nothing is kept folded"  # type: ignore[union-attr]
        assert (told_that in capsys.readouterr().err) is told


def test_a_table_that_is_missing_is_said_to_be_and_which_may_be_meant(rich: tuple[Config, Config]) -> None:
    config = rich[1]
    with looking(config) as connection:
        there = connection._connected()  # type: ignore[attr-defined]  # Sail's catalogue is a session's
        there.run("CREATE DATABASE IF NOT EXISTS sales")
        there.run("DROP TABLE IF EXISTS sales.order_lines")
        place = f" USING parquet LOCATION '{config.path.parent}/orders.parquet'"
        there.run(f"CREATE TABLE sales.order_lines{place}")
        with pytest.raises(SourceError, match=r"did you mean sales.order_lines\? Fix source.orders.table"):
            open_table(connection, "sales.orderlines", "source.orders")
        assert "customer" in open_table(connection, "sales.order_lines", "source.orders").columns
        there.run("DROP TABLE sales.order_lines")


def test_an_expression_that_the_table_does_not_know_is_told_with_its_key(rich: tuple[Config, Config]) -> None:
    text = rich[1].path.read_text()
    wrong = rich[1].path.with_name("wrong.yaml")
    for says, said in {
        "customer_id: costumer": r"source.orders.customer_id is 'costumer'.*customer",
        "customer_id: customer ILIKE 'a%'": "source.orders.customer_id.*This SQL runs in DuckDB only",
    }.items():
        wrong.write_text(text.replace("customer_id: customer", says))
        with pytest.raises(SourceError, match=said):
            read(load_config(wrong))


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ("table: a.b.c.d", "a table such as orders"),
        ("table: orders; DROP TABLE orders", "a table such as orders"),
        ("{table: orders, path: orders.parquet}", "one of path and table"),
        ("{table: orders, as_text: true}", "with files only"),
        ("table: shop.orders", r"engine.spark.*source.orders.table is shop.orders"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_asked(tmp_path: Path, orders: str, said: str) -> None:
    keys = yaml.safe_load(orders if orders.startswith("{") else "{" + orders.replace(";", ";") + "}")
    shop = Shop(tmp_path).configure()
    content = yaml.safe_load(shop.config_path.read_text())
    content["source"]["orders"].pop("path")
    content["source"]["orders"] |= keys
    shop.config_path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=said):
        load_config(shop.config_path)
