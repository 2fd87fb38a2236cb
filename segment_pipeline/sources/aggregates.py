"""Features of the user's own: an aggregate expression over the rows of a customer, read as a syntax tree.

DuckDB's parser gives the tree, so what is allowed is what DuckDB understands, and nothing is guessed from text. What
belongs here: what such an expression may be, in words for the user, and how it gets the same bits on every run. What
does not: which rows a customer has (order_lines.py, events.py), and what becomes of a value (customers/contract.py).

A sum of doubles depends on the order in which the threads deliver the rows. So `sum` and `avg` over a floating-point
value are taken over decimals of DECIMALS places, which are added exactly; a value that does not fit into them, such as
NaN, makes the customer's result NULL. Aggregates that cannot be had exactly are refused.
"""

import copy
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import duckdb

from segment_pipeline.config.values import either
from segment_pipeline.config.yaml_text import show
from segment_pipeline.database.engines.spark import RefusedError
from segment_pipeline.database.quoting import as_named
from segment_pipeline.database.store import reason
from segment_pipeline.database.user_sql import ask_parser, syntax_tree, text_of
from segment_pipeline.sources.expressions import NUMERIC_TYPES

Node = dict[str, Any]

DECIMALS = 12
DIGITS = 32
"""Of a value, before and after the point: six less than a sum has, so that a million of the largest still fit."""

AS_OF = "as_of"
"""The day after the month, as a date: the one name that may stand outside of an aggregate."""

SUMS = ("sum", "avg", "mean")
AGGREGATES = (
    *("count", "count_star", "count_if", "countif", *SUMS, "min", "max", "median", "mad"),
    *("quantile", "quantile_cont", "quantile_disc", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"),
)
"""Those whose result does not depend on the order of rows."""
ALLOWED_AGGREGATES = "count, count_if, sum, avg, min, max, median, quantile_cont, mad, bool_and, bool_or"

MACROS = (
    *("nullif", "if", "split_part", "date_add", "days_in_month"),
    *("list_sum", "list_avg", "list_min", "list_max", "list_count", "list_median"),
)
"""The ones of DuckDB's macros that are no more than short for an expression over a row; a list has its order."""

DIVISIONS = ("/", "//", "%", "mod", "fdiv", "fmod")
ARITHMETIC = ("+", "-", "*", *DIVISIONS)

EXACT_SUM = f"""
    CASE WHEN count(CASE WHEN TRY_CAST(x AS DECIMAL({DIGITS}, {DECIMALS})) IS NULL THEN x END) = 0
    THEN CAST(sum(TRY_CAST(x AS DECIMAL({DIGITS}, {DECIMALS}))) AS DOUBLE) END
"""
"""NULL where one of them has no place there. Not by two counts, which Sail calls alike and stops at."""
EXACT_MEAN = f"({EXACT_SUM}) / nullif(count(x), 0)"


class UnfitError(Exception):
    """An expression that cannot be a feature: what was found, and what is allowed instead."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"found {found}; allowed: {allowed}")
        self.found, self.allowed = found, allowed


@dataclass(frozen=True)
class Names:
    """What an expression may name. settled : columns that the pipeline has given a name and a type, with the key that
    each needs and lacks ("" where it is there). others : the source's own columns. Both in lower case."""

    settled: Mapping[str, str]
    others: Collection[str]

    def refuse(self, name: str) -> None:
        """Raises UnfitError unless the name is one of them."""
        if self.settled.get(name):
            raise UnfitError(
                f"{name} without {self.settled[name]}", f"this name with {self.settled[name]}; add the key"
            )
        if name in self.settled or name in self.others:
            return
        known = [*(one for one, lacking in self.settled.items() if not lacking), *self.others]
        nearest = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise UnfitError(f"the unknown column {show(name)}", f"the columns {either(known)}{hint}")


def named_columns(texts: Sequence[str]) -> set[str]:
    """The columns that sound expressions name, in lower case; those that are none are passed over."""
    return {name for text in texts for name in _named_columns(text)}


@cache
def _named_columns(text: str) -> frozenset[str]:
    with suppress(UnfitError):
        return frozenset(_column(node) for node in _nodes(parsed(text)) if node["class"] == "COLUMN_REF")
    return frozenset()


def refuse_unfit(text: str, names: Names) -> None:
    """Raises UnfitError unless the text is one aggregate expression over these columns whose value depends on nothing
    but a customer's rows. Whether it is a number, only the rows' types can say: `refuse_no_number`."""
    _Reader(_kinds_of_functions(), names).read(parsed(text))


def refuse_no_number(connection: duckdb.DuckDBPyConnection, text: str, rows: str) -> None:
    """Raises UnfitError unless a sound expression is a number over this relation."""
    kind = _type_of(connection, settled(connection, text, rows, date(2000, 1, 1)), rows, text)
    if not NUMERIC_TYPES.match(kind) or kind == "BOOLEAN":
        hint = ": write CAST(... AS INTEGER)" if kind == "BOOLEAN" else ""
        raise UnfitError(f"{show(text)}, which gives {kind}", f"an aggregate expression that gives a number{hint}")


def settled(connection: duckdb.DuckDBPyConnection, text: str, rows: str, end: date) -> str:
    """A sound expression as it is run over the relation `rows`: `as_of` a date, sums exact, and what is divided without
    a remainder by 0, which DuckDB takes for the end of the statement, NULL.

    Raises UnfitError where DuckDB cannot make sense of it over these rows.
    """
    day = _parsed_sql(f"CAST('{end.isoformat()}' AS DATE)")

    def settle(node: Node) -> Node:
        if node["class"] == "COLUMN_REF" and _column(node) == AS_OF:
            return copy.deepcopy(day)
        if node["class"] != "FUNCTION":
            return node
        arguments = [one["expression"] for one in node["arguments"]]
        name = node["function_name"].lower()
        if name in ("//", "%", "mod") and len(arguments) == 2:
            node["arguments"][1]["expression"] = _filled("nullif(x, 0)", arguments[1])
        if name in SUMS and arguments and _type_of(connection, _sql(arguments[0]), rows) in ("DOUBLE", "FLOAT"):
            return _filled(EXACT_SUM if name == "sum" else EXACT_MEAN, arguments[0], node)
        return node

    return _sql(_rebuilt(parsed(text), settle))


def parsed(text: str) -> Node:
    """The syntax tree of the text as one expression. Raises UnfitError."""
    one = "one SQL expression, an aggregate over a customer's rows"
    # the newline ends a comment in the text
    tree = syntax_tree(f"SELECT ({text}\n)")
    if tree["error"] and tree["error_type"] == "not implemented":
        raise UnfitError(f"a second statement in {show(text)}", one)
    if tree["error"]:
        raise UnfitError(f"{show(text)}, which is no SQL ({tree['error_message']})", one)
    if len(tree["statements"]) != 1:
        raise UnfitError(f"a second statement in {show(text)}", one)
    node = tree["statements"][0]["node"]
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1:
        raise UnfitError(f"several values in {show(text)}", one)
    clauses = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    if node["from_table"]["type"] != "EMPTY" or any(node.get(key) for key in clauses):
        raise UnfitError(f"more than an expression in {show(text)}", one)
    expression: Node = node["select_list"][0]
    if expression["class"] == "FUNCTION" and expression["function_name"] == "row":
        raise UnfitError(f"several values in {show(text)}", one)
    return expression


@dataclass
class _Reader:
    """Reads a tree from the top. functions : name -> aggregate, scalar, macro, or unsteady."""

    functions: Mapping[str, str]
    names: Names

    def read(self, tree: Node) -> None:
        self._read(tree, within=None)
        if not any(self._is_aggregate(node) for node in _nodes(tree)):
            raise UnfitError("no aggregate", "an aggregate over a customer's rows, such as count(*) or sum(amount)")

    def _is_aggregate(self, node: Node) -> bool:
        return node["class"] == "FUNCTION" and self.functions.get(node["function_name"].lower()) == "aggregate"

    def _read(self, node: Node, within: str | None) -> None:
        """within : the aggregate in which the node stands."""
        {
            "COLUMN_REF": self._read_column,
            "FUNCTION": self._read_function,
            "WINDOW": _refuse("a window function", "an aggregate; there is one row for each customer"),
            "SUBQUERY": _refuse("a subquery", "an aggregate over the customer's own rows"),
            "PARAMETER": _refuse("a parameter", "the name as_of, without a sign, for the day after the month"),
            "STAR": _refuse("*", "the names of columns; * stands in count(*) only"),
            "LAMBDA": _refuse("a lambda", "an expression without one"),
        }.get(node["class"], lambda *_: None)(node, within)
        inside = node["function_name"] if self._is_aggregate(node) else within
        for child in _children(node):
            self._read(child, inside)

    def _read_column(self, node: Node, within: str | None) -> None:
        name = _column(node)
        if name != AS_OF and self.functions.get(name) == "unsteady" and name not in self.names.others:
            raise UnfitError(f"{name}, which differs from run to run", "as_of, the day after the month")
        self.names.refuse(name)
        if within is None and name != AS_OF:
            raise UnfitError(
                f"{name} outside of an aggregate", f"it within one, such as sum({name}) or max({name}); or as_of alone"
            )

    def _read_function(self, node: Node, within: str | None) -> None:
        name = node["function_name"].lower()
        kind = self.functions.get(name)
        if kind is None:
            known = [*AGGREGATES, *(one for one, of in self.functions.items() if of == "scalar")]
            nearest = difflib.get_close_matches(name, known, 1)
            raise UnfitError(
                f"the unknown function {name}",
                f"DuckDB's functions{f'; did you mean {nearest[0]}?' if nearest else ''}",
            )
        if kind == "unsteady":
            raise UnfitError(f"{name}(), which differs from run to run", "what depends on a customer's rows only")
        if kind == "aggregate" and name not in AGGREGATES:
            raise UnfitError(f"{name}, which is none of the aggregates of a feature", ALLOWED_AGGREGATES)
        if kind == "aggregate" and within is not None:
            found = f"{_written(name)} within {_written(within)}"
            raise UnfitError(found, "an aggregate of a row's values, and no other within it")
        if kind == "macro" and name not in MACROS:
            raise UnfitError(f"the macro {name}", f"DuckDB's functions, and of its macros {', '.join(MACROS)}")
        if name in DIVISIONS and len(node["arguments"]) == 2 and _is_zero(node["arguments"][1]["expression"]):
            raise UnfitError("a division by 0", "a divisor that can be something else")


def _refuse(found: str, allowed: str) -> Any:
    def refuse(_node: Node, _within: str | None) -> None:
        raise UnfitError(found, allowed)

    return refuse


def _written(name: str) -> str:
    """An aggregate as the user has written it: the parser calls count(*) something else."""
    return "count(*)" if name == "count_star" else name


def _is_zero(node: Node) -> bool:
    """Whether a divisor is 0, or no number, whatever the rows are: as 0, NULL and 1 - 1."""
    known = all(
        one["class"] == "CONSTANT" or (one["class"] == "FUNCTION" and one["function_name"] in ARITHMETIC)
        for one in _nodes(node)
    )
    if not known:
        return False
    with suppress(duckdb.Error):
        return bool(ask_parser(f"SELECT coalesce(CAST({_sql(node)} AS DOUBLE) = 0, true)")[0][0])
    return False


@cache
def _kinds_of_functions() -> dict[str, str]:
    """Of a name that several functions share, date_diff for instance, those that take the time zone of the session may
    differ between sessions; here it is always the source's. So a name is unsteady where all of them are."""
    found = ask_parser("""
        SELECT lower(function_name), CASE WHEN bool_or(function_type = 'aggregate') THEN 'aggregate'
            WHEN bool_and(stability <> 'CONSISTENT') THEN 'unsteady'
            WHEN bool_or(function_type = 'scalar') THEN 'scalar' ELSE 'macro' END
        FROM duckdb_functions() WHERE function_type IN ('aggregate', 'scalar', 'macro') GROUP BY 1
    """)
    return dict(found)


def _column(node: Node) -> str:
    """A column's name in lower case; of a field of a structure, the column's."""
    return as_named(str(node["column_names"][0]))


def _children(value: Any) -> Iterator[Node]:
    """The expressions right below a node."""
    for below in value.values() if isinstance(value, dict) else value:
        if isinstance(below, dict) and "class" in below and below["class"] != "TYPE":
            yield below
        elif isinstance(below, (dict, list)):
            yield from _children(below)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in _children(node):
        yield from _nodes(child)


def _rebuilt(node: Any, change: Any) -> Any:
    """The tree with every node put through `change`, those below first."""
    if isinstance(node, list):
        return [_rebuilt(one, change) for one in node]
    if not isinstance(node, dict):
        return node
    whole = {key: _rebuilt(value, change) for key, value in node.items()}
    return change(whole) if "class" in whole and whole["class"] != "TYPE" else whole


def _filled(template: str, x: Node, of: Node | None = None) -> Node:
    """The template's tree with an expression for x; its aggregates are taken over the rows that those of `of` are."""

    def fill(node: Node) -> Node:
        if node["class"] == "COLUMN_REF":
            return copy.deepcopy(x)
        if of is not None and node["class"] == "FUNCTION" and node["function_name"] in ("sum", "count"):
            return node | {"filter": copy.deepcopy(of["filter"]), "distinct": of["distinct"]}
        return node

    filled: Node = _rebuilt(_parsed_sql(template), fill)
    return filled


def _parsed_sql(sql: str) -> Node:
    return parsed(sql) | {"alias": ""}


def _sql(expression: Node) -> str:
    """The text of a tree."""
    statement = syntax_tree("SELECT 1")
    statement["statements"][0]["node"]["select_list"] = [expression | {"alias": ""}]
    return text_of(statement).removeprefix("SELECT ")


def _type_of(connection: duckdb.DuckDBPyConnection, expression: str, rows: str, written: str = "") -> str:
    """written : what the user has written, where the expression was made of that."""
    try:
        return str(connection.execute(f"DESCRIBE SELECT {expression} FROM {rows} AS source").fetchall()[0][1])
    except duckdb.Error as error:
        raise UnfitError(
            f"{show(written or expression)}, of which DuckDB says: {reason(error)}", "what DuckDB can compute"
        ) from error
    except RefusedError as error:
        raise UnfitError(
            f"{show(written or expression)}; {error}", "what DuckDB and the engine understand alike"
        ) from error
