"""Every statement about customers of two whole months, read for what engines understand otherwise: no engine needed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp, parse_one

from segment_pipeline.database.engines.routing import (
    FROM_FILES,
    SAMPLES,
    _bound,
    _names_files,
    _parsed,
    _tables,
    _target,
)
from segment_pipeline.database.engines.spark import ForeignSqlError
from segment_pipeline.database.engines.spark_sql import to_spark
from segment_pipeline.database.store import Warehouse
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.shop import Shop

pytestmark = [pytest.mark.months]

THEIRS = {table.name for table in TABLES if "customer_id" in table.key} - FROM_FILES


class Kept:
    """A connection that keeps what it is asked, and asks just that."""

    def __init__(self, connection: Any, said: list[str]) -> None:
        self._connection, self._said = connection, said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        if isinstance(statement, str):
            self._said.append(_bound(statement, parameters))
        return self._connection.execute(*([statement] if parameters is None else [statement, parameters]))


@pytest.fixture(scope="module")
def queries(
    tmp_path_factory: pytest.TempPathFactory, shop_orders: Path, materialize: Callable[..., Any]
) -> list[exp.Expr]:
    """What is asked of tables with a row for each customer, in every statement of two months with memory."""
    folder, said, connect = tmp_path_factory.mktemp("statements"), list[str](), Warehouse.connect
    shutil.copyfile(shop_orders, folder / "orders.parquet")
    shop = Shop(folder).configure(last_month="2023-04", memory=True)

    @contextmanager
    def keeping(*given: Any) -> Iterator[Any]:
        with connect(*given) as connection:
            yield Kept(connection, said)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Warehouse, "connect", keeping)
        for month in ("2023-03", "2023-04"):
            materialize(shop, month)
    return list(of_customers(said))


def of_customers(said: list[str]) -> Iterator[exp.Expr]:
    """The queries within the statements that an engine is asked; of a database beside the warehouse, none is."""
    theirs, beside = set(THEIRS), False
    for statement in said:
        if statement.startswith("USE "):
            beside = statement == "USE unchanging"
        words = set(statement.replace('"', " ").replace("(", " ").replace(")", " ").split())
        if beside or words.isdisjoint(theirs):
            continue
        tree = _parsed(statement)
        if _names_files(tree) or theirs.isdisjoint(one.name for one in _tables(tree)):
            continue
        match tree:
            case exp.Create(kind="TABLE") | exp.Insert() if tree.expression is not None:
                name = _target(tree).name
                if name not in SAMPLES and isinstance(tree, exp.Create):
                    theirs.add(name)
                if not theirs.isdisjoint(one.name for one in _tables(tree.expression)):
                    yield tree.expression
            case exp.Delete() | exp.Update():
                values = [one.expression for one in tree.expressions] if isinstance(tree, exp.Update) else []
                where = tree.args.get("where")
                found = exp.select(*values, "1").from_(_target(tree).copy())
                yield found if where is None else found.where(where.this.copy())
            case exp.Describe():
                yield tree.this
            case exp.Query():
                yield tree
            case _:
                assert isinstance(tree, exp.Create | exp.Drop | exp.Comment | exp.Alter), statement


def test_all_of_them_are_seen(queries: list[exp.Expr]) -> None:
    assert len({query.sql() for query in queries}) > 200
    assert len({one.name for query in queries for one in _tables(query)} & THEIRS) > 15


def test_each_can_be_said_in_sparks_words(queries: list[exp.Expr]) -> None:
    refused = {}
    for query in queries:
        try:
            assert to_spark(query)
        except ForeignSqlError as error:
            refused[query.sql("duckdb")] = str(error)
    assert refused == {}


def test_nothing_is_left_that_engines_understand_otherwise(queries: list[exp.Expr]) -> None:
    """Places of lists count from 0 or 1, and from the end or not; whole numbers divided are whole, or not; an order of
    NULLs that is not said is the engine's; a fraction made whole is rounded, or cut off; of all different customers,
    counted beside other figures, Sail sends one message with their ids, and a million are too many for it."""
    wrong = [
        (what, node.sql("spark")) for query in queries for what, node in unlike(parse_one(to_spark(query), "spark"))
    ]
    assert wrong == []


def unlike(tree: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    for node in tree.walk():
        match node:
            case exp.Bracket() if not node.args.get("safe"):  # TRY_ELEMENT_AT counts from 1, here and there
                yield "a place in brackets", node
            case exp.IntDiv():
                yield "a division of whole numbers", node
            case exp.Div() if not is_double(node.this):
                yield "a division of what may be whole", node
            case exp.Ordered() if node.args.get("nulls_first") is None:
                yield "an order that says nothing of NULLs", node
            case exp.Count(this=exp.Distinct()) if node.find(exp.Column).name == "customer_id" and others(node):
                yield "customers counted beside other figures", node
            case exp.Cast() if node.to.this in WHOLE and isinstance(node.this.unnest(), exp.Mul | exp.Div):
                yield "a fraction that is made whole", node


def others(node: exp.Expr) -> bool:
    """Whether its select computes another figure besides, or the same of some alone."""
    select = node.find_ancestor(exp.Select)
    figures = [one for one in select.find_all(exp.AggFunc) if one.find_ancestor(exp.Select) is select]
    return len(figures) > 1 or isinstance(node.parent, exp.Filter)


WHOLE = {exp.DType.INT, exp.DType.BIGINT}


def is_double(node: exp.Expr) -> bool:
    inner = node.unnest()
    if isinstance(inner, exp.Cast):
        return bool(inner.to.this == exp.DType.DOUBLE)
    if isinstance(inner, exp.Add | exp.Sub | exp.Mul):
        return is_double(inner.left) or is_double(inner.right)
    return isinstance(inner, exp.Exp | exp.Sqrt) or (isinstance(inner, exp.Literal) and "e" in inner.name.lower())
