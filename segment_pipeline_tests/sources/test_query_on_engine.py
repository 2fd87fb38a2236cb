"""SQL of the user's own over tables of the engine's catalogue, beside the same by DuckDB over the file."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.engines.spark import EngineError
from segment_pipeline.errors import ConfigError, SourceError
from segment_pipeline.sources.sources import check_source, read_customers
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet
from segment_pipeline_tests.spark import Server

pytestmark = [pytest.mark.process]

APRIL = date(2023, 4, 1)
CONFIG = """\
name: lake
first_month: 2023-03
last_month: 2023-04
source: {{query: {{file: customers.sql, runs_on: {runs_on}}}}}
features:
  - {{name: orders, transform: log1p, resolution: 1, valid: {{min: 1}}}}
  - {{name: value, transform: log1p, valid: {{min: 0}}}}
{more}
"""
FOLDED = """
SELECT customer AS customer_id, count(DISTINCT order_id) AS orders,
    CAST(sum(CAST(amount AS DECIMAL(18, 4))) AS DOUBLE) / count(DISTINCT order_id) AS value
FROM {relation} WHERE ordered_at >= $window_start AND ordered_at < $AS_OF
GROUP BY customer
"""


@pytest.fixture(scope="module")
def lake(spark_server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a file of order lines, and a server that can open it."""
    folder = tmp_path_factory.mktemp("lake")
    write_parquet(order_lines(), folder / "orders.parquet")
    return folder, spark_server.address


def configured(folder: Path, runs_on: str, sql: str, more: str = "") -> Config:
    folder.mkdir()
    (folder / "customers.sql").write_text(sql)
    (folder / "segmentation.yaml").write_text(CONFIG.format(runs_on=runs_on, more=more))
    return load_config(folder / "segmentation.yaml")


def read(config: Config) -> list[Any]:
    with duckdb.connect() as connection:
        counts = read_customers(connection, config, APRIL)
        found = connection.execute("FROM source_customers ORDER BY customer_id").fetchall()
    assert counts.rows == len(found)
    return found


def test_order_lines_of_the_catalogue_are_folded_there(lake: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = lake
    file = folder / "orders.parquet"
    here = configured(tmp_path / "here", "duckdb", FOLDED.format(relation=f"'{file}'"))
    more = f'engine: {{spark: "{address}"}}'
    # Sail's catalogue ends with a session, so the statement names the file, as Spark does
    there = configured(tmp_path / "there", "engine", FOLDED.format(relation=f"parquet.`{file}`"), more)
    expected, found = read(here), read(there)
    assert len(expected) > 500
    assert [row[:-2] for row in found] == [row[:-2] for row in expected]
    assert [row[-2:] for row in found] == [pytest.approx(row[-2:], rel=1e-12) for row in expected]
    assert there.config_hash == here.config_hash
    with duckdb.connect() as connection:
        check_source(connection, there, [APRIL])


def test_a_month_of_it_is_what_duckdb_makes_of_the_file(
    lake: tuple[Path, str], tmp_path: Path, materialize: Callable[..., Any]
) -> None:
    folder, address = lake
    file = folder / "orders.parquet"
    engine = f'engine: {{spark: "{address}", database: month, location: {tmp_path}/tables}}'
    configured(tmp_path / "here", "duckdb", FOLDED.format(relation=f"'{file}'"))
    configured(tmp_path / "there", "engine", FOLDED.format(relation=f"parquet.`{file}`"), engine)
    shops = [Shop(tmp_path / name) for name in ("here", "there")]
    for shop in shops:
        materialize(shop, "2023-03", selection=["raw_customers", "validated_features"])
    held = "SELECT month, feed, of_month, lines, customers FROM source_months"
    here, there = (query(shop.warehouse, held) for shop in shops)
    assert here == there
    reconciled = (query(shop.warehouse, "FROM source_reconciliation ORDER BY ALL") for shop in shops)
    assert next(reconciled) == next(reconciled)


def test_what_is_no_reading_query_is_refused(lake: tuple[Path, str], tmp_path: Path) -> None:
    _, address = lake
    more = f'engine: {{spark: "{address}"}}'
    for number, (sql, said) in enumerate(
        {
            "DROP TABLE orders": "one query that only reads",
            "SELECT 1 AS customer_id; SELECT 2": "one query that only reads",
            "SELECT $today AS customer_id": r"\$today; expected one of \$as_of",
            "SELECT (": "not to be read as Spark's SQL",
        }.items()
    ):
        with pytest.raises(SourceError, match=said):
            read(configured(tmp_path / str(number), "engine", sql, more))
    missing = configured(tmp_path / "missing", "engine", "SELECT * FROM no_such_table", more)
    with pytest.raises(EngineError, match="no_such_table"):
        read(missing)


def test_an_engine_that_is_not_named_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.spark.*source\.query\.runs_on is engine"):
        configured(tmp_path / "there", "engine", "SELECT 1")
