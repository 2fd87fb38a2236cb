"""The statements about customers of one real month, on DuckDB and in Spark's SQL: the same rows, others, or refused.

Run as `engines.py FOLDER MONTH sail java`, in a copy of a finished project (the month is run again, with --force) and
with one engine or both (segment_pipeline_tests/spark.py says what each takes). While DuckDB makes the month, each
statement of the warehouse's that names a table with customers keeps what its tables hold and what it gives, as Parquet.
Then each is translated, run on the engine with the same tables, and compared cell by cell, in whatever order the rows
come. Statements that read files, or what is folded of
files, are the source's; those of a database beside the warehouse stay with DuckDB.
"""

import datetime
import math
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import duckdb
from sqlglot import TokenType, exp, parse_one, tokenize

from benchmarks.demo_on_engines import NAMES
from benchmarks.real_months import record
from segment_pipeline.cli.main import main
from segment_pipeline.database.engines.routing import FROM_FILES
from segment_pipeline.database.engines.spark_sql import AsWritten, ForeignSqlError, to_spark
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline_tests.spark import server, session

QUERY = re.compile(
    r"\s*(INSERT\s+INTO\s+\S+\s+(BY\s+NAME\s+)?|CREATE\s+(OR\s+REPLACE\s+)?(TEMP\s+)?TABLE\s+\S+\s+AS\s+)?"
    r"(?P<query>(SELECT|WITH|FROM)\b.*)",
    re.IGNORECASE | re.DOTALL,
)
WRITTEN = re.compile(
    r"\s*(?:INSERT INTO|DELETE FROM|UPDATE|CREATE .*?(?:TABLE|VIEW)|ALTER TABLE|DROP TABLE)\s+\"?(\w+)"
)
OUTCOMES = ("equal", "different", "refused by us", "refused there")
connect = duckdb.connect


@dataclass(frozen=True)
class Kept:
    """A statement, the Parquet files of its tables, and that of its rows."""

    query: str
    tables: dict[str, Path]
    rows: Path


class Recording:
    """A connection to the warehouse that keeps what is asked of it."""

    kept: ClassVar[list[Kept]] = []
    of_files: ClassVar[Counter[str]] = Counter()
    _versions: ClassVar[Counter[str]] = Counter()
    _folder = Path(tempfile.mkdtemp(prefix="engines_"))

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: Any = None) -> duckdb.DuckDBPyConnection:
        found = QUERY.fullmatch(sql)
        if found is not None and self._connection.execute("SELECT current_database()").fetchone() == ("warehouse",):
            self._keep(bound(found["query"], parameters))
        written = WRITTEN.match(sql)
        if written is not None:
            self._versions[written[1]] += 1
        return self._connection.execute(sql) if parameters is None else self._connection.execute(sql, parameters)

    def _keep(self, query: str) -> None:
        tree = parse_one(query, read=AsWritten)
        own = {one.alias for one in tree.find_all(exp.CTE)}
        named = {one.name for one in tree.find_all(exp.Table) if isinstance(one.this, exp.Identifier)} - own
        if any(name.startswith("duckdb_") for name in named):
            return
        if any(tree.find_all(exp.ReadParquet)) or named & FROM_FILES:
            self.of_files[query] += 1
            return
        if not any("customer_id" in self._columns(name) for name in named):
            return
        tables = {name: self._saved(f"{name}.{self._versions[name]}", f"FROM {identifier(name)}") for name in named}
        if query not in {one.query for one in self.kept}:
            self.kept.append(Kept(query, tables, self._saved(f"rows.{len(self.kept)}", query)))

    def _columns(self, table: str) -> Sequence[str]:
        return [row[0] for row in self._connection.execute(f"DESCRIBE {identifier(table)}").fetchall()]

    def _saved(self, name: str, query: str) -> Path:
        path = self._folder / f"{name}.parquet"
        if not path.exists():
            columns = self._connection.execute(f"DESCRIBE {query}").fetchall()
            places = [f"c{place}" for place in range(len(columns))]
            names = places if name.startswith("rows.") else [identifier(column[0]) for column in columns]
            # Parquet has no such wide number
            values = ", ".join(
                f"CAST({place} AS {'DECIMAL(38, 0)' if column[1] == 'HUGEINT' else column[1]}) AS {shown}"
                for place, column, shown in zip(places, columns, names, strict=True)
            )
            rows = f"SELECT {values} FROM ({query}) AS asked({', '.join(places)})"
            self._connection.execute(f"COPY ({rows}) TO {literal(str(path))}")
        return path


def bound(query: str, parameters: Any) -> str:
    """The query with its parameters in it."""
    listed = iter(parameters if isinstance(parameters, list) else [])
    parts, done, tokens = [], 0, tokenize(query, read="duckdb")
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.token_type is TokenType.PLACEHOLDER:
            value, end = next(listed), token.end
        elif token.token_type is TokenType.PARAMETER and after is not None:
            value = parameters[after.text] if isinstance(parameters, dict) else parameters[int(after.text) - 1]
            end = after.end
        else:
            continue
        shown = f"DATE '{value}'" if isinstance(value, datetime.date) else exp.convert(value).sql("duckdb")
        parts += [query[done : token.start], shown]
        done = end + 1
    return "".join([*parts, query[done:]])


def difference(one: Any, other: Any) -> float:
    """Of two values: 0 for the same, the difference of two numbers in parts of the larger or of 1, infinite else."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(difference, one, other), default=0.0)
    if isinstance(one, dict) and isinstance(other, dict):
        return difference(list(one.values()), list(other.values()))
    numbers = (int, float, Decimal)
    if isinstance(one, numbers) and isinstance(other, numbers) and isinstance(one, bool) is isinstance(other, bool):
        one, other = float(one), float(other)
        both_none = math.isnan(one) and math.isnan(other)
        return 0.0 if one == other or both_none else abs(one - other) / max(1.0, abs(one), abs(other))
    return 0.0 if one == other else math.inf


def order(value: Any) -> str:
    """What rows are sorted by: numbers only as far as no engine's rounding reaches."""
    if isinstance(value, list | tuple):
        return str([order(one) for one in value])
    return f"{float(value):.6f}" if isinstance(value, int | float | Decimal) else str(value)


def rows_of(table: Any) -> list[tuple[Any, ...]]:
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=order)


def compared(spark: Any, kept: Kept) -> tuple[str, float]:
    """What becomes of a statement, and the largest difference where the rows are the same."""
    try:
        query = to_spark(kept.query)
    except ForeignSqlError as error:
        return f"refused by us: {str(error)[:120]}", 0.0
    for name, path in kept.tables.items():
        spark.read.parquet(str(path)).createOrReplaceTempView(name)
    try:
        found = rows_of(spark.sql(query).toArrow())
    except Exception as error:  # noqa: BLE001 - whatever the engine says
        return f"refused there: {' '.join(str(error).split())[:120]}", 0.0
    expected = rows_of(duckdb.sql(f"FROM {literal(str(kept.rows))}").to_arrow_table())
    largest = difference([list(row) for row in expected], [list(row) for row in found])
    return ("equal", largest) if largest < 1e-9 else ("different", 0.0)


def on(engine: str) -> list[object]:
    """The row of an engine: what became of each statement there."""
    outcomes: Counter[str] = Counter()
    largest = 0.0
    with tempfile.TemporaryDirectory() as room, server(engine, Path(room)) as running, session(running) as spark:
        for kept in Recording.kept:
            outcome, apart = compared(spark, kept)
            if outcome != "equal":
                print(f"{outcome}\n    {' '.join(kept.query.split())[:200]}", file=sys.stderr)
            outcomes[outcome.partition(":")[0]] += 1
            largest = max(largest, apart)
        used, _ = running.used()
    figures = [outcomes[one] for one in OUTCOMES]
    return [NAMES[engine], len(Recording.kept), *figures, f"{largest:.0e}", f"{used:.0f}"]


def run() -> None:
    folder, month, *engines = sys.argv[1:]
    # what is kept of a statement is numbered, and is that of no other: nothing is begun ahead, in threads
    Pipeline.begin = lambda *_: None  # type: ignore[method-assign]
    duckdb.connect = lambda *given, **settings: (
        Recording(connect(*given, **settings))
        if given and str(given[0]).endswith("warehouse.duckdb")
        else connect(*given, **settings)
    )
    assert main(["run", "--config", f"{folder}/segmentation.yaml", "--months", month, "--force"]) == 0
    duckdb.connect = connect
    header = ("engine", "statements", *OUTCOMES, "largest difference", "CPU s of the server")
    title = f"Statements about customers of {month}, and {len(Recording.of_files)} that read files, the source's"
    rows: list[list[object]] = []
    for engine in engines:
        rows.append(on(engine))
        record("engines", title, header, rows)


if __name__ == "__main__":
    run()
