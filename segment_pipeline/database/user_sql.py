"""SQL that a user has written: it reads, and nothing else, at any depth of its syntax tree.

DuckDB lets a SELECT delete rows and write files, in a WITH. Whoever writes an expression or a query here describes
customers, and what is published must not depend on how he does.
"""

import atexit
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb

from segment_pipeline.database.store import in_memory

_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""The kinds of query that change nothing; one that DuckDB adds is refused until it stands here."""


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    connection = in_memory(threads=1)
    atexit.register(_parser.cache_clear)  # or it outlives DuckDB's module, which says so
    return connection


def ask_parser(query: str, *parameters: str) -> list[tuple[Any, ...]]:
    """The rows of a query of trees, or of functions. It is asked of a database in memory, for the form of a tree is
    that of a database's storage version: one for the whole process, as to open it takes longer than all its answers."""
    with _parser().cursor() as parser:
        return parser.execute(query, parameters).fetchall()


def syntax_tree(text: str) -> dict[str, Any]:
    """The tree of SQL as DuckDB's parser makes it, with `error` where it is none."""
    tree: dict[str, Any] = json.loads(_serialized(text))
    return tree


@cache
def _serialized(text: str) -> str:
    return str(ask_parser("SELECT json_serialize_sql(?)", text)[0][0])


def text_of(tree: dict[str, Any]) -> str:
    """The SQL of a tree."""
    return str(ask_parser("SELECT json_deserialize_sql(?)", json.dumps(tree))[0][0])


@cache
def what_it_does_beside_reading(text: str, *, names_tables: bool = True) -> str | None:
    """What in the SQL is no reading of what it names, in words; None of SQL that only reads, or that is none.

    names_tables : whether it may name tables, as a query that stands on its own; an expression over a row is run beside
    the pipeline's own tables, and may name files only.
    """
    tree = syntax_tree(text)
    if tree["error"]:
        return None  # whoever runs it says why it is none
    own = {entry["key"].lower() for node in _nodes(tree) for entry in node.get("cte_map", {}).get("map", ())}
    for node in _nodes(tree):
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in _READING:
            return f"{'an' if kind[0] in 'IU' else 'a'} {kind.split('_')[0]} within a query"
        if kind == "BASE_TABLE" and not names_tables and not _is_readable(node["table_name"], own):
            return f"the table {node['table_name']}"
    return None


def _is_readable(table: str, own: set[str]) -> bool:
    """Whether an expression may read it: a file, a part of its own query, or its row."""
    return "." in table or "/" in table or table.lower() in own or table.lower() == "source"


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(below)
