"""The asset graph tells the truth: an asset depends on those whose tables its SQL reads, and on no others.

Two months run through the real assets, the second so that looks at the month before are seen too. The shop has what the
demo's file leaves out (an audit, a campaign, outcomes): what is not configured is not read. Every statement is parsed;
one that cannot be is a failure, not a gap.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import duckdb
import pytest
import sqlglot
from sqlglot import exp

from segment_pipeline.database.engines.spark_sql import AsWritten, ForeignSqlError, to_spark
from segment_pipeline.definitions import SegmentPipeline, defs, resources
from segment_pipeline.orchestration.resources import Step
from segment_pipeline.orchestration.tables import TABLES as OF_EVERY_STEP
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.people.tables import TABLES as PEOPLE
from segment_pipeline_tests.shop import HABITS, Shop, write_parquet

MONTHS = ("2023-03", "2023-04")
WAREHOUSE = "warehouse"
CATALOGUE = {table.name for table in TABLES}
OF_CUSTOMERS = {table.name for table in TABLES if "customer_id" in table.column_names}
SILENT = {"description", "unregister", "extract_statements", "begin", "commit"}
"""What a connection does without running a statement that names a table."""
MACHINERY = {table.name for table in (*OF_EVERY_STEP, *PEOPLE)}  # of every step; of whoever reads the source

# (asset, table) -> why it may be read without a dependency, which would be a circle: the table is of a later asset.
LOOKS_BACK = {
    ("scaled_matrix", "champions"): "dependent features stop only a month before which there was no champion",
    ("candidate_models", "champions"): "the challengers start from the champion of the month before",
    ("candidate_models", "model_versions"): "the same: what it is",
    (
        "early_warnings",
        "warning_backtest_history",
    ): "what the month before knew of its rules decides who is on the list",
}
# (asset, dependency) -> what it is for, where no table is read.
WITHOUT_A_TABLE = {
    ("segment_report", "published_segments"): "the report reads the published file",
    ("alternative_segmentations", "raw_customers"): "the same",
    ("alternative_segmentations", "monthly_assignments"): "only a champion with memory knows the months before",
    ("selected_model", "raw_customers"): "only of models with memory are months replayed; two months give none",
    ("monthly_assignments", "raw_customers"): "only a champion with memory asks who is new; two months give none",
    **{
        ("segment_forecast", other): "only a champion with memory forecasts; two months give none"
        for other in ("raw_customers", "transition_deltas", "validated_features")
    },
}

AT_HOME = {
    "movement_reference": "a sample's months are made once more, in a database of DuckDB's beside the warehouse",
    "published_segments": "the published file is DuckDB's",
}
"""Assets whose statements about customers are asked of DuckDB, whichever engine has the customers."""

EVERYTHING = """\
warnings: {horizon_days: 30, monthly_budget: 40}
actions:
  - {action_id: first, segment: 1, what: w, owner: the first, channel: app, kpi: k, measure_days: 30}
  - {action_id: rest, what: w, owner: the rest, channel: e-mail, kpi: k, measure_days: 30}
campaigns: {file: campaigns.yaml}
outcomes: {path: orders.parquet, customer_id: customer, occurred_at: ordered_at, value: amount}
audit: {path: habits.parquet, customer_id: customer, segment: habit}
alternatives: {rules: {many: "CASE WHEN orders > 10 THEN 'many' ELSE 'few' END"}}
"""
SPRING = """\
- campaign: spring
  month: 2023-03
  start: 2023-04-03
  measure_until: 2023-04-25
  shares: {matched: 0.5, random: 0.2, control: 0.3}
"""


@dataclass
class Heard:
    """What one asset did: the warehouse's tables that it read and wrote, and the relations that it made for itself."""

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    about_customers: dict[str, exp.Expression] = field(default_factory=dict)
    made_of_customers: set[str] = field(default_factory=set)

    def note(self, statement: exp.Expression, database: str) -> None:
        """The tables of a statement; a name without a database is of the one given."""
        targets = targets_of(statement)
        self._note_customers(statement, targets)
        for table in statement.find_all(exp.Table):
            # a table function is no name, and a common table expression is the statement's own
            if not isinstance(table.this, exp.Identifier) or is_common(table):
                continue
            if (table.catalog or database) != WAREHOUSE or table.name in self.own | MACHINERY:
                continue
            if isinstance(statement, exp.Create) and any(table is target for target in targets):
                assert table.name not in CATALOGUE, f"{table.name} is made twice: {statement.sql('duckdb')}"
                self.own.add(table.name)
                continue
            if isinstance(statement, exp.Drop) and table.name not in CATALOGUE:
                continue  # its own, made while another database was in use
            assert table.name in CATALOGUE, f"{table.name} is no table of the catalogue: {statement.sql('duckdb')}"
            (self.written if any(table is target for target in targets) else self.read).add(table.name)

    def _note_customers(self, statement: exp.Expression, targets: list[exp.Table]) -> None:
        """Keep the query of a statement about customers, and know what it makes for more about them."""
        query = statement if isinstance(statement, exp.Query) else statement.args.get("expression")
        if not isinstance(query, exp.Query) or any(query.find_all(exp.ReadParquet)):  # files lie on this machine
            return
        if {table.name for table in query.find_all(exp.Table)} & (OF_CUSTOMERS | self.made_of_customers):
            self.about_customers[query.sql("duckdb")] = query
            self.made_of_customers |= {table.name for table in targets} - CATALOGUE


def targets_of(statement: exp.Expression) -> list[exp.Table]:
    """The tables that a statement makes, changes or drops."""
    if isinstance(statement, exp.Drop):
        return list(statement.find_all(exp.Table))
    if not isinstance(statement, (exp.Insert, exp.Delete, exp.Update, exp.Create)):
        return []
    named = statement.this.this if isinstance(statement.this, exp.Schema) else statement.this
    return [named] if isinstance(named, exp.Table) else []


def is_common(table: exp.Table) -> bool:
    """Whether the name is that of a common table expression that can be seen from where it stands: `WITH a AS (SELECT *
    FROM a)` reads the table a, and only what follows reads the expression."""
    inside: exp.Expression = table
    while not table.db and inside.parent is not None:
        expressions = list(getattr(inside.parent, "ctes", []))
        if isinstance(inside.parent, exp.With):
            expressions = inside.parent.expressions[: inside.index]
        elif inside.arg_key == "with_":
            expressions = []
        if table.name in {common.alias for common in expressions}:
            return True
        inside = inside.parent
    return False


class Listening:
    """A connection that tells what each statement reads and writes before it runs it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, heard: Heard) -> None:
        self._connection, self._heard, self._database = connection, heard, WAREHOUSE

    def __getattr__(self, name: str) -> Any:
        assert name in SILENT, f"{name} of a connection is not listened to"
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> duckdb.DuckDBPyConnection:
        self._hear(sql)
        return self._connection.execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> duckdb.DuckDBPyConnection:
        self._hear(sql)
        return self._connection.executemany(sql, *values)

    def register(self, name: str, rows: object) -> duckdb.DuckDBPyConnection:
        self._heard.own.add(name)
        return self._connection.register(name, rows)

    def _hear(self, sql: str) -> None:
        if sql.startswith("COMMENT ON"):  # reads nothing, and sqlglot does not know that on a macro
            return
        for statement in sqlglot.parse(sql, dialect=AsWritten):
            assert statement is not None, sql
            assert not isinstance(statement, exp.Command), f"sqlglot does not understand: {sql}"
            if isinstance(statement, exp.Use):
                self._database = statement.this.name
            else:
                self._heard.note(statement, self._database)


class ListeningPipeline(SegmentPipeline):
    """The pipeline, whose connections tell what each asset reads and writes."""

    heard: ClassVar[dict[str, Heard]] = defaultdict(Heard)

    @contextmanager
    def read(
        self, context: dg.AssetExecutionContext, *, step_follows: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        with super().read(context, step_follows=step_follows) as connection:
            yield self._listening(context, connection)

    @contextmanager
    def aside(self, context: dg.AssetExecutionContext) -> Iterator[duckdb.DuckDBPyConnection]:
        with super().aside(context) as connection:
            yield self._listening(context, connection)

    @contextmanager
    def step(self, context: dg.AssetExecutionContext) -> Iterator[Step]:
        with super().step(context) as step:
            step.connection = self._listening(context, step.connection)
            yield step

    def begin(self, name: str, work: Callable[..., Any], context: dg.AssetExecutionContext) -> None:
        def heard(connection: duckdb.DuckDBPyConnection, *rest: Any) -> Any:
            return work(Listening(connection, self.heard[name]), *rest)

        super().begin(name, heard, context)

    def _listening(self, context: dg.AssetExecutionContext, connection: duckdb.DuckDBPyConnection) -> Any:
        return Listening(connection, self.heard[context.asset_key.to_user_string()])


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory, shop_orders: Path) -> Mapping[str, Heard]:
    """Asset -> what it read and wrote in two months."""
    shop = Shop(tmp_path_factory.mktemp("lineage")).configure(memory=True, more=EVERYTHING)
    shutil.copyfile(shop_orders, shop.orders_path)
    habits = {f"c{number:05d}": list(HABITS)[number % 3] for number in range(700)}
    write_parquet({"customer": list(habits), "habit": list(habits.values())}, shop.folder / "habits.parquet")
    (shop.folder / "campaigns.yaml").write_text(SPRING)
    listening = {"pipeline": ListeningPipeline(config_path=str(shop.config_path))}
    for month in MONTHS:
        dg.materialize(
            list(defs.assets or []),  # type: ignore[arg-type]
            partition_key=month,
            resources=resources(shop.config_path) | listening,
            instance=dg.DagsterInstance.ephemeral(),
        )
    return dict(ListeningPipeline.heard)


@pytest.fixture(scope="module")
def deps() -> Mapping[str, set[str]]:
    """Asset -> the assets that it depends on; itself where it looks at its own month before. The source, which others
    make, has no tables here."""
    specs = [spec for asset in defs.assets or [] if asset.is_executable for spec in asset.specs]
    made = {spec.key for spec in specs}
    return {
        spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps if dep.asset_key in made}
        for spec in specs
    }


@pytest.mark.months
@pytest.mark.months
def test_every_table_has_one_writer(heard):
    writers = defaultdict(list)
    for asset, what in heard.items():
        for table in what.written:
            writers[table].append(asset)
    assert {table: assets for table, assets in writers.items() if len(assets) > 1} == {}
    assert CATALOGUE - MACHINERY - set(writers) == {"data_dictionary", "published_parts"}  # of the published file


@pytest.mark.months
@pytest.mark.months
def test_what_an_asset_reads_is_written_by_itself_or_by_what_it_depends_on(heard, deps):
    undeclared = {
        (asset, table)
        for asset, what in heard.items()
        for table in what.read
        if not any(table in heard[other].written for other in {asset, *deps[asset]} & heard.keys())
    }
    assert undeclared == set(LOOKS_BACK)


@pytest.mark.months
@pytest.mark.months
def test_an_asset_reads_from_everything_that_it_depends_on(heard, deps):
    needless = {
        (asset, other)
        for asset, others in deps.items()
        for other in others
        if not (asset in heard and other in heard and heard[asset].read & heard[other].written)
    }
    assert needless == set(WITHOUT_A_TABLE)


@pytest.mark.parametrize(
    ("sql", "read", "written"),
    [
        ("SELECT * FROM churn_risk AS r JOIN early_warnings USING (customer_id)", "churn_risk early_warnings", ""),
        ("INSERT INTO churn_risk BY NAME SELECT * FROM champions", "champions", "churn_risk"),
        ("WITH champions AS (SELECT * FROM churn_risk) SELECT * FROM champions", "churn_risk", ""),
        ("WITH champions AS (SELECT * FROM champions) SELECT * FROM champions", "champions", ""),
        ("SELECT (WITH a AS (SELECT 1) SELECT * FROM a), * FROM warehouse.main.champions", "champions", ""),
        ("DELETE FROM churn_risk WHERE month IN (SELECT month FROM champions)", "champions", "churn_risk"),
        ("CREATE TEMP TABLE mine AS SELECT * FROM champions; SELECT * FROM mine", "champions", ""),
        ("SELECT * FROM draft.main.champions, read_parquet('champions'), range(3)", "", ""),
        ("USE draft; SELECT * FROM champions, warehouse.main.churn_risk", "churn_risk", ""),
    ],
)
def test_tables_are_told_from_what_only_looks_like_them(sql, read, written):
    found = Heard()
    Listening(None, found)._hear(sql)
    assert (found.read, found.written) == (set(read.split()), set(written.split()))


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM nowhere", "VACUUM churn_risk", "SELECT * FROM (", "MERGE INTO champions"]
)
def test_what_is_not_understood_is_no_gap(sql):
    with pytest.raises((AssertionError, sqlglot.ParseError)):
        Listening(None, Heard())._hear(sql)


@pytest.mark.months
def test_statements_about_customers_say_the_same_on_another_engine(heard):
    refused = {}
    for asset, what in heard.items():
        for query in what.about_customers.values() if asset not in AT_HOME else ():
            for mark in list(query.find_all(exp.Placeholder, exp.Parameter)):
                mark.replace(exp.Null())
            try:
                to_spark(query)
            except ForeignSqlError as error:
                refused[asset, str(error)] = query
    assert refused == {}
