"""SQL of the user's that would do more than read."""

import re
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.database.store import in_memory
from segment_pipeline.database.user_sql import what_it_does_beside_reading

PACKAGE = Path(__file__).parents[2] / "segment_pipeline"

WRITING = {
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone": "a DELETE within a query",
    "WITH a AS (SELECT 1), b AS (INSERT INTO t VALUES (1) RETURNING *) FROM b": "an INSERT within a query",
    "WITH new AS (UPDATE t SET a = 2 RETURNING *) FROM new": "an UPDATE within a query",
    "WITH file AS (COPY t TO 'stolen.csv') SELECT 1": "a COPY within a query",
    "SELECT 1 UNION ALL (WITH gone AS (DELETE FROM t RETURNING a) FROM gone)": "a DELETE within a query",
    "SELECT (WITH gone AS (DELETE FROM t RETURNING a) SELECT count(*) FROM gone)": "a DELETE within a query",
}
READING = (
    "SELECT 1",
    "FROM 'a.csv' SELECT *",
    "VALUES (1), (2)",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r",
    "(SELECT 1) INTERSECT (SELECT 2) ORDER BY 1 LIMIT 1",
    "WITH m AS MATERIALIZED (SELECT 1 AS delete_query_node) SELECT 'DELETE FROM t' FROM m",
    "SELECT a FROM t ASOF JOIN u USING (a) QUALIFY row_number() OVER () = 1",
)


@pytest.mark.parametrize(("sql", "found"), WRITING.items())
def test_what_writes_is_told_at_any_depth(sql: str, found: str) -> None:
    assert what_it_does_beside_reading(sql) == found


@pytest.mark.parametrize("sql", READING)
def test_what_reads_may_be_written_in_any_way(sql: str) -> None:
    assert what_it_does_beside_reading(sql) is None


def test_an_expression_reads_its_row_its_own_parts_and_files() -> None:
    def found(expression: str) -> str | None:
        return what_it_does_beside_reading(f"SELECT ({expression})", names_tables=False)

    assert found("amount > 0 AND customer IN (SELECT id FROM 'staff.csv')") is None
    assert found("(WITH own AS (SELECT 1 AS a) SELECT max(a) FROM own) = source.amount") is None
    assert found("customer IN (SELECT customer_id FROM monthly_assignments)") == "the table monthly_assignments"


def test_nothing_comes_from_the_network_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DuckDB fetches the extension for an address by itself, unless it is told not to."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where nobody has installed one
    with (
        in_memory(extension_directory=str(tmp_path)) as connection,
        pytest.raises(duckdb.Error, match="httpfs"),
    ):
        connection.execute("FROM 'https://127.0.0.1:1/customers.csv'")
    assert not list(tmp_path.iterdir())


def test_no_module_opens_a_database_in_memory_of_its_own() -> None:
    """Or its settings would be DuckDB's: the machine's time zone, the program's variables, the network."""
    modules = [file for file in PACKAGE.rglob("*.py") if re.search(r"duckdb\.connect\(\)", file.read_text())]
    assert modules == []
