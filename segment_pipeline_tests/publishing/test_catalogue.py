"""The catalogue holds every table that a stage declares, and the names that it leaves to features."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

import segment_pipeline
from segment_pipeline.cli.main import main
from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.customers.contract import ROW_COLUMNS, build_contract
from segment_pipeline.database.engines.writings import LEDGER
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.tables import Table, View
from segment_pipeline.errors import ConfigError
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES, RESERVED_NAMES, TABLES, VIEWS, dictionary_rows
from segment_pipeline.publishing.score_sql import FeatureLimits, Scoring, macro_ddl, score_query
from segment_pipeline_tests.models.test_scoring import random_customers, random_memory, random_model

CONFIG = """\
name: shop
first_month: 2023-03
last_month: 2023-06
source: {{snapshots: {{path: customers.csv, customer_id: id}}}}
features:
  - {{name: visits}}
  - {{name: "{name}"}}
{more}"""


def declared() -> dict[str, Table | View]:
    """Every table and view that stands in a module of the package, by where it stands."""
    return {
        f"{module.name}.{name}": value
        for module in pkgutil.walk_packages(segment_pipeline.__path__, "segment_pipeline.")
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, Table | View)
    }


def test_no_table_or_view_that_is_declared_anywhere_is_missing():
    found = declared()
    assert len(found) > len(TABLES)
    assert {where: value.name for where, value in found.items() if value not in (*TABLES, *VIEWS, *LEDGER)} == {}


def test_every_name_is_given_once():
    names = [relation.name.lower() for relation in (*TABLES, *VIEWS)]
    assert len(set(names)) == len(names)
    for relation in (*TABLES, *VIEWS):
        columns = [column.name.lower() for column in relation.columns]
        assert len(set(columns)) == len(columns), relation.name


def test_what_orders_a_table_and_names_its_month_are_columns_of_it():
    for table in TABLES:
        assert set(table.key) <= set(table.column_names), table.name
    for table in PUBLISHED_TABLES:
        if table.name != "data_dictionary":
            assert table.month_column in table.column_names, table.name


def test_the_dictionary_tells_of_every_published_column_once():
    rows = [(row["table_name"], row["column_name"]) for row in dictionary_rows()]
    assert len(set(rows)) == len(rows)
    assert set(rows) == {
        (relation.name, name)
        for relation in (*PUBLISHED_TABLES, *VIEWS)
        for name in (None, *(column.name for column in relation.columns))
    }


# --- names that a feature cannot have ---------------------------------------------------------------------------------


def file_with(folder: Path, name: str, more: str = "") -> Path:
    file = folder / "segmentation.yaml"
    file.write_text(CONFIG.format(name=name, more=more))
    return file


def refusal(file: Path, name: str) -> str:
    return (
        f"{file}:7: features[1].name: found '{name}'; allowed: a name that is no column of the pipeline's own; "
        "rename it"
    )


any_case = st.sampled_from(sorted(RESERVED_NAMES)).flatmap(
    lambda name: st.tuples(*(st.sampled_from([letter, letter.upper()]) for letter in name)).map("".join)
)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_no_feature_takes_a_name_of_the_pipelines_own(name):
    with pytest.raises(ConfigError, match=re.escape(refusal(Path("x.yaml"), name))):
        parse_config(CONFIG.format(name=name, more=""), Path("x.yaml"), RESERVED_NAMES)


@settings(max_examples=50, deadline=None)
@given(any_case)
def test_upper_and_lower_case_make_no_difference_to_it(name):
    file = Path("conf/segmentation.yaml")
    with pytest.raises(ConfigError) as refused:
        parse_config(CONFIG.format(name=name, more=""), file, RESERVED_NAMES)
    assert str(refused.value) == refusal(file, name)


def test_columns_that_stand_beside_features_are_all_reserved():
    beside = [table for table in TABLES if table.features or table.name == "monthly_assignments"]
    assert len(beside) == 5
    for table in beside:
        assert {name.lower() for name in table.column_names} <= RESERVED_NAMES


def test_the_features_that_order_lines_give_are_free():
    assert RESERVED_NAMES.isdisjoint(ORDER_FEATURES)


def test_the_command_line_refuses_such_a_name_before_anything_runs(tmp_path, capsys):
    file = file_with(tmp_path, "Tier")
    for command in (["check"], ["run"], ["report"], ["export"], ["score-sql", "--dialect", "duckdb"], ["ui"]):
        assert main([*command, "--config", str(file)]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", refusal(file, "Tier") + "\n")
    assert list(tmp_path.iterdir()) == [file]


def test_it_is_told_together_with_what_else_is_wrong(tmp_path, capsys):
    file = file_with(tmp_path, "raw", more="model: {seed: many}\n")
    assert main(["check", "--config", str(file)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == refusal(file, "raw")
    assert second.startswith(f"{file}:8: model.seed: found 'many'")


def test_dagster_refuses_it_when_it_loads_and_when_it_runs(tmp_path):
    from segment_pipeline.definitions import resources

    file = file_with(tmp_path, "copies")
    with pytest.raises(ConfigError, match=re.escape(refusal(file, "copies"))):
        resources(file)["pipeline"].config  # type: ignore[attr-defined]  # noqa: B018 - a property
    environment = {**os.environ, "SEGMENT_PIPELINE_CONFIG": str(file)}
    code = "import segment_pipeline.definitions"
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert loaded.returncode == 1
    assert loaded.stderr.strip().endswith(refusal(file, "copies"))


# --- and any other name will do ---------------------------------------------------------------------------------------


def names_in(sql: str) -> set[str]:
    """Every name that a piece of SQL uses, in lower case."""
    return {node.name.lower() for node in sqlglot.parse_one(sql, read="duckdb").find_all(exp.Identifier)}


def scoring_of(model: SegmentModel) -> Scoring:
    limits = [FeatureLimits(name, "", "", None, None, "keep", None, None) for name in model.space.names]
    return Scoring(date(2023, 1, 1), model, tuple(limits), TierSettings())


def by_macro(model: SegmentModel, X: np.ndarray) -> list[tuple]:  # type: ignore[type-arg]
    with duckdb.connect() as connection:
        columns = ", ".join(f"{identifier(name)} DOUBLE" for name in model.space.names)
        connection.execute(f"CREATE TABLE customers (customer_id VARCHAR, {columns})")
        marks = ", ".join("?" for _ in model.space.names)
        rows = [[f"{i:03d}", *row] for i, row in enumerate(X.tolist())]
        connection.executemany(f"INSERT INTO customers VALUES (?, {marks})", rows)
        for statement in macro_ddl(scoring_of(model)):
            connection.execute(statement)
        return connection.execute("SELECT * FROM score('customers') ORDER BY customer_id").fetchall()


@pytest.mark.parametrize("memory", [None, random_memory(1, 3)], ids=["without memory", "with memory"])
def test_no_name_that_the_scoring_query_uses_inside_is_in_a_features_way(memory):
    plain = replace(random_model(1, k=3, d=2), memory=memory)
    X = random_customers(plain, 2, 20)
    expected = by_macro(plain, X)
    inside = sorted(names_in(score_query(scoring_of(plain), "customers")) - RESERVED_NAMES - set(plain.space.names))
    assert {"z0", "peak", "judged", "first_position"} <= set(inside)
    for first, second in zip(inside, [*inside[1:], inside[0]], strict=True):
        named = replace(plain, space=replace(plain.space, names=(first, second)))
        assert by_macro(named, X) == expected, (first, second)


SHOWN_UNDER_A_LIMIT = """
import resource, sys, duckdb
from segment_pipeline_tests.models.test_scoring import random_model
from segment_pipeline_tests.publishing.test_catalogue import scoring_of
from segment_pipeline.publishing.score_sql import macro_ddl

model = random_model(1, k=8, d=6)
with duckdb.connect() as connection:
    for statement in macro_ddl(scoring_of(model)):
        connection.execute(statement)
    features = ", ".join(f'1.5 AS "{name}"' for name in model.space.names)
    connection.execute(f"CREATE TABLE my_customers AS SELECT 'x' AS customer_id, {features}")
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
    shown = str(connection.sql("FROM score(my_customers)"))  # as print does it: with a LIMIT
    assert "customer_id" in shown and "x" in shown
    for more in ("LIMIT 100000", "ORDER BY entropy LIMIT 3", "USING SAMPLE 5", "WHERE refused IS NULL LIMIT 9000"):
        assert len(connection.execute(f"SELECT * FROM score(my_customers) {more}").fetchall()) == 1, more
"""


@pytest.mark.process
def test_no_way_of_showing_scored_customers_eats_the_machine():
    """Under a LIMIT DuckDB wrote out every expression in terms of the table's columns: one row took 19 GB."""
    done = subprocess.run([sys.executable, "-c", SHOWN_UNDER_A_LIMIT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def config_of(name: str) -> Config:
    return parse_config(CONFIG.format(name=name, more=""), Path("segmentation.yaml"), RESERVED_NAMES)


def test_the_rules_of_the_contract_read_no_column_but_those_that_they_say():
    config = config_of("calls")
    limits = dict.fromkeys(config.feature_names, (0.0, 9.0))
    tree = sqlglot.parse_one(f"SELECT {build_contract(config).reasons_sql(limits)}", read="duckdb")
    read = {column.name for column in tree.find_all(exp.Column)} - {"reason"}  # of the lambda
    assert read == {*ROW_COLUMNS, *config.feature_names}
