"""DuckDB's SQL in Spark's words: the same rows on Apache Spark, Databricks and Sail, or an error that says why not.

sqlglot knows the grammars of both and takes many things for the same that are not. So nothing is translated that does
not stand here: what means the same is listed, what means something else is put in other words, and everything besides
is refused. The other words are those that all of these engines understand alike, measured with benchmarks/engines.py.

Left to the engines: how a double is written as text (1.0E-4 for 0.0001), an order of rows that nobody asked for, and
what DuckDB computes where they stop. Sail alone lets integers overflow without a word.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from itertools import pairwise
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.spark import Spark
from sqlglot.generators.spark import SparkGenerator

from segment_pipeline.database.engines.spark import ForeignSqlError

BLANKS = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""What DuckDB's trim takes away."""


class AsWritten(DuckDB):  # type: ignore[misc]  # sqlglot has no types for mypy here
    """DuckDB's grammar, with the numbers in brackets as they are written: sqlglot counts some of them from 0, and makes
    path[-1] path[-2]."""

    INDEX_OFFSET = 0


class _InPlace(Spark):  # type: ignore[misc]
    """Spark's grammar, with every WITH where it stands: on top, two of one name would be one."""

    class Generator(SparkGenerator):  # type: ignore[misc]
        EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()


def to_spark(query: str | exp.Query) -> str:
    """A query of DuckDB's, or what AsWritten has made of one, as one of Spark's, with the same columns and rows. Raises
    ForeignSqlError."""
    try:
        tree = sqlglot.parse_one(query, read=AsWritten) if isinstance(query, str) else query.copy()
    except sqlglot.ParseError as error:
        raise ForeignSqlError(f"Not to be read as DuckDB's SQL: {error}") from error
    for one in list(tree.find_all(exp.Anonymous)):
        if one.name.lower() == "mean" and len(one.expressions) == 1:  # which sqlglot takes for no aggregate
            one.replace(exp.Avg(this=one.expressions[0]))
    for select in tree.find_all(exp.Select):
        _name_all(select)
    # what stands within first, so that what is made of it is complete, and not looked at again
    for node in reversed(list(tree.walk())):
        rewritten = _in_other_words(node)
        if rewritten is node:
            continue
        if node is tree:
            tree = rewritten
        else:
            node.replace(rewritten)
    try:
        return str(tree.sql(_InPlace, unsupported_level=sqlglot.ErrorLevel.RAISE))
    except sqlglot.UnsupportedError as error:
        raise ForeignSqlError(f"Spark has no words for it: {error}") from error


def reading_query(text: str, dates: Mapping[str, date]) -> str:
    """SQL that is Spark's own already, with these dates in the place of $name. Raises ForeignSqlError unless it is one
    query that only reads, and names no other."""
    try:
        trees, tokens = sqlglot.parse(text, read="spark"), sqlglot.tokenize(text, read="spark")
    except (sqlglot.ParseError, sqlglot.TokenError) as error:
        raise ForeignSqlError(f"not to be read as Spark's SQL: {error}.") from error
    (tree, *others) = trees
    if others or not isinstance(tree, exp.Query) or tree.find(exp.DML, exp.DDL, exp.Command):
        raise ForeignSqlError("found something else than one query that only reads.")
    parts, done = [], 0
    for token, after in pairwise(tokens):
        if token.token_type is not sqlglot.TokenType.PARAMETER or token.text != "$":
            continue
        found = dates.get(after.text.lower())
        if found is None:
            allowed = ", ".join(f"${name}" for name in dates)
            raise ForeignSqlError(f"found the parameter ${after.text}; expected one of {allowed}.")
        parts += [text[done : token.start], f"DATE '{found.isoformat()}'"]
        done = after.end + 1
    return "".join([*parts, text[done:]])


def _in_other_words(node: exp.Expression) -> exp.Expression:
    rewrite = _FUNCTIONS.get(node.name.lower()) if isinstance(node, exp.Anonymous) else _REWRITES.get(type(node))
    if rewrite is not None:
        return rewrite(node)
    if type(node) not in _THE_SAME:
        raise _refused(node, "nobody has looked at what Spark makes of it")
    return node


def _refused(node: exp.Expression, why: str) -> ForeignSqlError:
    shown = " ".join(node.sql(AsWritten).split())[:200]
    return ForeignSqlError(f"This SQL runs in DuckDB only: {why}. Put it in other words: {shown}")


_THE_SAME = frozenset(
    {
        *(exp.Select, exp.From, exp.Where, exp.Having, exp.Limit, exp.Offset, exp.Order, exp.Subquery, exp.With),
        *(exp.CTE, exp.Values, exp.Tuple, exp.Identifier, exp.TableAlias, exp.Column, exp.Alias, exp.Var, exp.Qualify),
        *(exp.Except, exp.Intersect, exp.GroupingSets, exp.Paren, exp.Exists),
        *(exp.Literal, exp.Boolean, exp.Null, exp.DataType, exp.DataTypeParam, exp.Array, exp.Struct, exp.PropertyEQ),
        *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.Is),
        *(exp.NullSafeEQ, exp.NullSafeNEQ, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least),
        *(exp.Mul, exp.Neg, exp.Mod, exp.Abs, exp.Exp, exp.Sqrt, exp.Pow, exp.Floor, exp.DPipe, exp.MD5, exp.Left),
        *(exp.Right, exp.Year, exp.Month, exp.Day, exp.Sum, exp.Min, exp.Max, exp.AnyValue, exp.LogicalAnd),
        *(exp.LogicalOr, exp.StddevSamp, exp.Filter, exp.Window, exp.RowNumber, exp.DenseRank, exp.Lag, exp.Lead),
        *(exp.Transform, exp.ArrayFilter, exp.ArrayAppend, exp.ArrayMax, exp.MapKeys, exp.Dot, exp.JSONKeyValue),
        *(exp.Interval, exp.ToDays, exp.SHA2, exp.BitwiseOrAgg),
    }
)
"""What both mean the same by, NULL and NaN included, or what one of the rewrites around it looks after."""


# --- what is the same as long as nobody asks for more -----------------------------------------------------------------


def _only(*refused: str) -> Callable[[exp.Expression], exp.Expression]:
    """The node as it is, unless it has one of these additions."""

    def checked(node: exp.Expression) -> exp.Expression:
        for addition in refused:
            if node.args.get(addition):
                raise _refused(node, f"{addition.strip('_')} is not understood by every engine")
        return node

    return checked


def _lateral(node: exp.Expression) -> exp.Expression:
    if not isinstance(node.this, exp.Subquery):
        raise _refused(node, "a function that makes rows is the engine's business")
    return node


def _join(node: exp.Expression) -> exp.Expression:
    if node.args.get("method") or node.args.get("kind") in {"ASOF", "POSITIONAL"}:
        raise _refused(node, "such a join is DuckDB's own")
    select = node.parent
    if node.args.get("using") and node.args.get("kind") not in {"SEMI", "ANTI"} and isinstance(select, exp.Select):
        stars = [one for one in select.selects if one.is_star]
        if any(isinstance(one, exp.Column) for one in stars):
            raise _refused(node, "of a table that is joined USING a column, t.* lacks that column in Sail; say ON")
        if stars:
            raise _refused(node, "the columns of * come in another order where tables are joined USING one; say ON")
    for one in list(node.args["on"].find_all(exp.NullSafeEQ)) if node.args.get("on") is not None else []:
        one.replace(_equal_or_both_null(one))
    return node


def _equal_or_both_null(node: exp.Expression) -> exp.Expression:
    """Joined on IS NOT DISTINCT FROM, Sail compares every row with every other; on two equations it looks rows up."""
    sides = node.this, node.expression
    if not all(isinstance(side, exp.Column) for side in sides):
        return node
    text = [_call("coalesce", _cast_to(side.copy(), "STRING"), exp.Literal.string("")) for side in sides]
    is_null = [exp.Paren(this=exp.Is(this=side.copy(), expression=exp.Null())) for side in sides]
    equations = (exp.EQ(this=one, expression=other) for one, other in (text, is_null))
    return exp.Paren(this=exp.and_(*equations))


def _table(node: exp.Expression) -> exp.Expression:
    if not isinstance(node.this, exp.Identifier):
        raise _refused(node, "a function that makes rows, such as one that reads a file, is the engine's business")
    return _only("pivots", "sample", "version")(node)


def _in(node: exp.Expression) -> exp.Expression:
    if node.args.get("query") and isinstance(node.parent, exp.Not) and node.find_ancestor(exp.Where) is None:
        raise _refused(node, "NOT IN of a query, outside of WHERE, is not NULL in Spark where it is in DuckDB")
    return node


def _lambda(node: exp.Expression) -> exp.Expression:
    if len(node.expressions) != 1:
        raise _refused(node, "DuckDB counts the places of a list from 1, Spark from 0")
    return node


def _window_rows(node: exp.Expression) -> exp.Expression:
    if str(node.args.get("kind")).upper() != "ROWS":
        raise _refused(node, "a window over a range of values has its own rules in each engine")
    return node


def _listed(node: exp.Expression) -> exp.Expression:
    if not isinstance(node.this, exp.Order):
        raise _refused(node, "an order of what is put together has to be said")
    return node


def _pattern(node: exp.Expression) -> exp.Expression:
    """A regular expression that is one class of characters: RE2, Java and Rust differ in what is beyond."""
    pattern = node.expression
    one_class = r"\[\^?([^\[\]\\&~]|\\x[0-9a-f]{2})+\]"
    if node.args.get("flag") or not pattern.is_string or not re.fullmatch(one_class, pattern.name):
        raise _refused(node, "regular expressions are not the same everywhere")
    return node


def _like(node: exp.Expression) -> exp.Expression:
    """A pattern of plain text and %: what _ stands for is not the same of every letter, and to Spark \\ says that what
    follows is meant."""
    pattern = node.expression
    if not pattern.is_string or "_" in pattern.name or "\\" in pattern.name or isinstance(node.parent, exp.Escape):
        raise _refused(node, "a pattern of LIKE has to be written, of text and %")
    return node


def _in_case(others: str) -> Callable[[exp.Expression], exp.Expression]:
    """The text in lower or upper case. others : a pattern of the letters of which engines may make others, or several:
    one ends the statement."""

    def checked(node: exp.Expression) -> exp.Expression:
        found = _call("regexp_like", _cast_to(node.this.copy(), "STRING"), exp.Literal.string(others))
        return _stop_unless(exp.not_(found), node, "lower and upper are known of Latin and Cyrillic letters")

    return checked


def _of_moment(node: exp.Expression) -> exp.Expression:
    return type(node)(this=_cast_to(node.this, "TIMESTAMP_NTZ"))


def _day_of_week(node: exp.Expression) -> exp.Expression:
    """DuckDB counts from Sunday and 0."""
    day = _call("dayofweek", _cast_to(node.this, "DATE"))
    return exp.Paren(this=exp.Sub(this=day, expression=exp.Literal.number(1)))


def _iso_day_of_week(node: exp.Expression) -> exp.Expression:
    """From Monday and 1; Spark's weekday, from 0."""
    day = _call("weekday", _cast_to(node.this, "DATE"))
    return exp.Paren(this=exp.Add(this=day, expression=exp.Literal.number(1)))


def _unnest(node: exp.Expression) -> exp.Expression:
    select = node.find_ancestor(exp.Select)
    beside = [] if select is None else [one for one in select.find_all(exp.Explode) if one.parent_select is select]
    if len(beside) > 1:
        raise _refused(node, "two lists unnested side by side are all their pairs in Sail")
    return _only("expressions")(node)


# --- other words ------------------------------------------------------------------------------------------------------


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _cast_to(expression: exp.Expression, kind: str) -> exp.Expression:
    return exp.Cast(this=expression, to=exp.DataType.build(kind, dialect="spark"))


def _double(expression: exp.Expression) -> exp.Expression:
    """The expression as a double: Spark computes with decimals where DuckDB does not."""
    return expression if _is_double(expression) else _cast_to(expression, "DOUBLE")


def _is_double(expression: exp.Expression) -> bool:
    inner = expression.unnest()
    if isinstance(inner, exp.Cast):
        return bool(inner.to.this == exp.DType.DOUBLE)
    if isinstance(inner, exp.Literal):
        return not inner.is_string and "e" in inner.name.lower()
    if isinstance(inner, exp.Add | exp.Sub | exp.Mul):
        return _is_double(inner.left) or _is_double(inner.right)
    return isinstance(inner, exp.Exp | exp.Sqrt)


def _name_all(select: exp.Expression) -> None:
    """GROUP BY ALL and ORDER BY ALL, which Sail does not know, as the columns or their places."""
    group, order = select.args.get("group"), select.args.get("order")
    ordered = order is not None and [one for one in order.expressions if one.this.name.upper() == "ALL"]
    if not ordered and (group is None or not group.args.get("all")):
        return
    shown = [one.unalias() for one in select.selects]
    if select.is_star:
        raise _refused(select, "which columns * has is not written in the statement")
    if group is not None and group.args.get("all"):
        keys = [
            one.copy() for one in shown if not one.find(exp.AggFunc, exp.Window) and not isinstance(one, exp.Literal)
        ]
        select.set("group", exp.Group(expressions=keys) if keys else None)
    if ordered:
        places = [exp.Literal.number(place + 1) for place in range(len(shown))]
        select.set("order", exp.Order(expressions=[exp.Ordered(this=one, nulls_first=False) for one in places]))


def _division(node: exp.Expression) -> exp.Expression:
    """By zero DuckDB gives infinity, and of zero no number; Spark stops, at times before it asks whether it is zero."""
    left, right, zero = _double(node.this), node.expression, exp.Literal.number(0)
    is_safe = _is_never_zero(right)
    by = right if is_safe else exp.Nullif(this=right.copy(), expression=zero.copy())
    divided = exp.Div(this=left, expression=by, typed=True, safe=False)
    if is_safe:
        return divided
    infinity = _cast_to(exp.Literal.string("Infinity"), "DOUBLE")
    product = exp.Mul(this=_alone(left), expression=infinity)
    return exp.Case().when(exp.EQ(this=_alone(right), expression=zero), product).else_(divided)


def _is_never_zero(expression: exp.Expression) -> bool:
    """By what is written."""
    inner = expression.unnest()
    if isinstance(inner, exp.Nullif):
        return isinstance(inner.expression, exp.Literal) and inner.expression.name == "0"
    if isinstance(inner, exp.Neg):
        return _is_never_zero(inner.this)
    return isinstance(inner, exp.Literal) and not inner.is_string and float(inner.name) != 0


def _sum_of_days(node: exp.Expression) -> exp.Expression:
    """DuckDB's date plus an interval is a moment, Spark's a date."""
    left, right = node.this, node.expression
    if isinstance(left, exp.Interval | exp.ToDays):
        raise _refused(node, "an interval has to stand behind what it is added to")
    if isinstance(right, exp.Interval):
        return type(node)(this=_cast_to(left, "TIMESTAMP_NTZ"), expression=right)
    if isinstance(right, exp.ToDays):
        return type(node)(this=_cast_to(left, "TIMESTAMP_NTZ"), expression=_call("make_dt_interval", right.this))
    return node


def _cast(node: exp.Expression) -> exp.Expression:
    inner, to = node.this, node.to
    if to.this == exp.DType.TIMESTAMPTZ and isinstance(node.parent, exp.Anonymous) and node.parent.name == "timezone":
        return node  # see _local_time
    if not _is_known_type(to):
        raise _refused(node, "the type has no like one")
    if to.this not in {exp.DType.INT, exp.DType.BIGINT}:
        return node
    if isinstance(inner, exp.DPipe) and inner.left.is_string and inner.left.name == "0x":
        digits = _cast_to(inner.right, "STRING")  # of another kind of text, to Sail
        return _cast_to(_call("conv", digits, exp.Literal.number(16), exp.Literal.number(10)), "BIGINT")
    if _is_whole(inner):
        return node
    # DuckDB rounds a fraction, to the even one, and Spark cuts it off
    whole = exp.EQ(this=_cast_to(node.copy(), "DOUBLE"), expression=_cast_to(inner.copy(), "DOUBLE"))
    return _stop_unless(whole, node, f"a fraction was to become {to.sql()}: round it")


def _stop_unless(condition: exp.Expression, then: exp.Expression, why: str) -> exp.Expression:
    """The expression where a condition holds, NULL where that is NULL, and the end of the statement otherwise."""
    stop = _call("raise_error", exp.Literal.string(why))
    return exp.Case().when(condition, then).when(exp.not_(condition), stop)


_TYPES = frozenset(
    exp.DType[name]
    for name in ("DOUBLE", "INT", "BIGINT", "TEXT", "VARCHAR", "DATE", "TIMESTAMPNTZ", "BOOLEAN", "DECIMAL")
)


def _is_known_type(kind: exp.Expression) -> bool:
    if kind.this in {exp.DType.ARRAY, exp.DType.LIST, exp.DType.MAP}:
        return all(_is_known_type(one) for one in kind.expressions)
    return kind.this in _TYPES


_PLAIN = {
    exp.DType.DOUBLE: r" *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *",
    exp.DType.TIMESTAMPNTZ: r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?)?",
    exp.DType.DATE: r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
"""Texts that every engine takes for the same number or time; there are more, and each engine has its own."""


def _try_cast(node: exp.Expression) -> exp.Expression:
    """NULL where it cannot be, in both. Of a text that is neither plainly such a value nor plainly none, one engine may
    make a value and another NULL: it ends the statement."""
    inner, kind = node.this, node.to.this
    if kind == exp.DType.DECIMAL or (isinstance(inner, exp.Cast) and inner.to.this == exp.DType.TIMESTAMPNTZ):
        return node
    if kind not in _PLAIN:
        raise _refused(node, "what is no such value is another in each engine")
    text = _cast_to(inner.copy(), "STRING")

    def like(pattern: str) -> exp.Expression:
        return _call("regexp_like", text.copy(), exp.Literal.string(f"^({pattern})$"))

    stop = _call(
        "raise_error", exp.Literal.string(f"this text is plainly neither {kind.value} nor none: say what it is")
    )
    unclear = exp.and_(like(".*[0-9].*"), exp.not_(like(_PLAIN[kind])))
    return exp.Case().when(unclear, stop).else_(node)


def _local_time(node: exp.Expression) -> exp.Expression:
    """What the clocks of a zone show at a moment. Sessions are in UTC, so that a moment without its zone is UTC."""
    zone, moment = node.expressions
    inner = moment.this if isinstance(moment, exp.Cast) and moment.to.this == exp.DType.TIMESTAMPTZ else moment
    return _cast_to(_call("from_utc_timestamp", inner.copy(), zone), "TIMESTAMP_NTZ")


def _first_of_month(node: exp.Expression) -> exp.Expression:
    if str(node.args["unit"]).upper() != "MONTH":
        raise _refused(node, "moments are cut off to months only")
    first = _call("trunc", _cast_to(node.this, "DATE"), exp.Literal.string("MM"))
    return _cast_to(first, "TIMESTAMP_NTZ")


def _hash(node: exp.Expression) -> exp.Expression:
    """Another number than DuckDB's, as good for telling values apart; Spark's passes over NULL, wherever it stands. As
    a decimal, of which there is room for the sum of as many as there are rows."""
    told = [part for one in node.expressions for part in (exp.Is(this=_alone(one), expression=exp.Null()), one)]
    return _cast_to(_call("xxhash64", *told), "DECIMAL(38, 0)")


def _shifted(node: exp.Expression) -> exp.Expression:
    return _call("shiftleft", node.this, node.expression)


def _distinct(node: exp.Expression) -> exp.Expression:
    """What is counted: a row of several values counts in DuckDB whatever is NULL in it, and not in Spark."""
    values = node.expressions
    if len(values) == 1 and isinstance(values[0], exp.Tuple):
        node = exp.Distinct(expressions=[_call("struct", *values[0].expressions)])
    return _only("on")(node)


def _is_whole(expression: exp.Expression) -> bool:
    """Whether it is a whole number, or true or false, by what is written; a sum that is made one is of whole numbers,
    and only too wide in DuckDB."""
    inner = expression.unnest()
    if isinstance(inner, exp.Coalesce):
        return all(map(_is_whole, [inner.this, *inner.expressions]))
    if isinstance(inner, exp.Filter | exp.Window):
        return _is_whole(inner.this)
    if isinstance(inner, exp.Literal):
        return not inner.is_string and inner.is_int
    return isinstance(inner, _WHOLE)


_WHOLE = (
    *(exp.Predicate, exp.And, exp.Or, exp.Not, exp.Sum, exp.Count, exp.Round, exp.Floor, exp.Null, exp.RowNumber),
    *(exp.Day, exp.Month, exp.Year),
)


def _logarithm(node: exp.Expression) -> exp.Expression:
    """Spark's ln of 0 and less is NULL, DuckDB's none."""
    return _stop_unless(exp.GT(this=_alone(node.this), expression=exp.Literal.number(0)), node, "ln of 0 or less")


def _alone(expression: exp.Expression) -> exp.Expression:
    """A copy that binds tighter than what it is put into."""
    copied = expression.copy()
    return exp.Paren(this=copied) if isinstance(copied, exp.Binary) else copied


def _days_between(node: exp.Expression) -> exp.Expression:
    """DuckDB counts the borders of days, months and years between two moments; Spark, how often a whole one fits."""
    unit, last, first = str(node.args["unit"]).upper(), node.this, node.expression
    if unit == "DAY":
        return _call("datediff", _cast_to(last, "DATE"), _cast_to(first, "DATE"))
    if unit not in {"MONTH", "YEAR"}:
        raise _refused(node, "between two moments only days, months and years are counted")

    def counted(moment: exp.Expression) -> exp.Expression:
        years = _call("year", moment.copy())
        if unit == "YEAR":
            return years
        months = exp.Mul(this=years, expression=exp.Literal.number(12))
        return exp.Paren(this=exp.Add(this=months, expression=_call("month", moment.copy())))

    return exp.Paren(this=exp.Sub(this=counted(last), expression=counted(first)))


def _element(node: exp.Expression) -> exp.Expression:
    """What stands at a place of a list or map, NULL where there is none; the places count from 1."""
    (at,) = node.expressions
    if not isinstance(at, exp.Slice):
        return _call("try_element_at", node.this, at if isinstance(at.unnest(), _WRITTEN) else _cast_to(at, "INT"))
    first, last = at.this, at.expression
    if not all(isinstance(one, exp.Literal) and one.is_int for one in (first, last)):
        raise _refused(node, "both ends of a part of a list have to be numbers")
    return _call("slice", node.this, first, exp.Literal.number(int(last.name) - int(first.name) + 1))


_WRITTEN = (exp.Literal, exp.Neg)
"""A place or a key that is written; a place that is computed may be of a type that Spark takes for none."""


def _contains(node: exp.Expression) -> exp.Expression:
    """Spark says NULL, and not false, where a list without the value has a NULL."""
    return _holds(node.this, node.expression)


def _holds(values: exp.Expression, value: exp.Expression) -> exp.Expression:
    place = _call("array_position", values, value)
    return exp.Paren(this=exp.GT(this=place, expression=exp.Literal.number(0)))


def _of_known(node: exp.Expression) -> exp.Expression:
    """An aggregate that passes over rows without a value, as any_value does in DuckDB, and arg_max and arg_min do."""
    aggregate = node.this if isinstance(node, exp.IgnoreNulls) else node
    known = exp.Not(this=exp.Is(this=_alone(aggregate.this), expression=exp.Null()))
    around = node.parent
    if isinstance(around, exp.Filter):
        around.expression.set("this", exp.And(this=exp.Paren(this=around.expression.this), expression=known))
        return aggregate
    return exp.Filter(this=aggregate.copy(), expression=exp.Where(this=known))


def _ignoring(node: exp.Expression) -> exp.Expression:
    return _of_known(node) if isinstance(node.this, exp.AnyValue) else node


def _trim(node: exp.Expression) -> exp.Expression:
    if any(value for name, value in node.args.items() if name != "this"):
        raise _refused(node, "trim is known here without further words")
    return exp.Trim(this=node.this, expression=exp.Literal.string(BLANKS), position="BOTH")


def _json(node: exp.Expression) -> exp.Expression:
    """Sail leaves keys without a value out of an object, and of a map it does not; so each is written by itself."""
    pairs = []
    for pair in node.expressions:
        one = _call("to_json", _call("map", pair.this, pair.expression))
        inside = exp.Literal.string("^.(.*).$"), exp.Literal.number(1)
        pairs.append(_call("regexp_extract", one, *inside))
    listed = _call("concat_ws", exp.Literal.string(","), *pairs)
    return _call("concat", exp.Literal.string("{"), listed, exp.Literal.string("}"))


def _empty_map(node: exp.Expression) -> exp.Expression:
    if not isinstance(node.this, exp.Struct) or node.this.expressions:
        raise _refused(node, "a map is known here while it is empty")
    return _call("map")


def _quantile(node: exp.Expression) -> exp.Expression:
    if not isinstance(node.expression, exp.Literal):
        raise _refused(node, "a quantile has to be one number")
    return _call("percentile", _double(node.this), _cast_to(node.expression, "DOUBLE"))


def _median(node: exp.Expression) -> exp.Expression:
    return _call("percentile", _double(node.this), _cast_to(exp.Literal.number("0.5"), "DOUBLE"))


def _mean(node: exp.Expression) -> exp.Expression:
    return exp.Avg(this=_double(node.this))


def _is_finite(node: exp.Expression) -> exp.Expression:
    """NaN is above every number, in all of these engines; and every moment of theirs is finite."""
    (value,) = node.expressions
    if isinstance(value, exp.Cast) and value.to.this == exp.DType.TIMESTAMPNTZ:
        return exp.Case().when(exp.not_(exp.Is(this=value, expression=exp.Null())), exp.true())
    infinity = _cast_to(exp.Literal.string("Infinity"), "DOUBLE")
    return exp.Paren(this=exp.LT(this=_call("abs", _double(value)), expression=infinity))


def _list_sum(node: exp.Expression) -> exp.Expression:
    """NULLs are passed over, and the sum of nothing is NULL."""
    (values,) = node.expressions
    total = "aggregate(filter(a, e -> e IS NOT NULL), CAST(NULL AS DOUBLE), (s, e) -> coalesce(s, 0E0) + e)"
    summed = sqlglot.parse_one(total, read="spark")
    next(one for one in summed.find_all(exp.Column) if one.name == "a").replace(values)
    return summed


def _place(node: exp.Expression) -> exp.Expression:
    return exp.Nullif(this=_call("array_position", *node.expressions), expression=exp.Literal.number(0))


_REWRITES: dict[type[exp.Expression], Callable[[exp.Expression], exp.Expression]] = {
    exp.Add: _sum_of_days,
    exp.ArgMax: _of_known,
    exp.ArgMin: _of_known,
    exp.ArrayContains: _contains,
    exp.Avg: _mean,
    exp.Bracket: _element,
    exp.Cast: _cast,
    exp.Count: _only("expressions"),
    exp.DateDiff: _days_between,
    exp.DayOfWeek: _day_of_week,
    exp.DayOfWeekIso: _iso_day_of_week,
    exp.Distinct: _distinct,
    exp.BitwiseLeftShift: _shifted,
    exp.Div: _division,
    exp.Explode: _unnest,
    exp.Group: _only("cube", "rollup", "totals"),
    exp.GroupConcat: _listed,
    exp.Hour: _of_moment,
    exp.IgnoreNulls: _ignoring,
    exp.In: _in,
    exp.JSONObject: _json,
    exp.Join: _join,
    exp.Lambda: _lambda,
    exp.Lateral: _lateral,
    exp.Length: lambda node: _call("array_size", node.this),
    exp.Like: _like,
    exp.Ln: _logarithm,
    exp.Lower: _in_case(r"[^\x00-įı-ſЀ-џ]"),
    exp.Median: _median,
    exp.Minute: _of_moment,
    exp.Ordered: _only("with_fill"),
    exp.PercentileCont: _quantile,
    exp.RegexpLike: _pattern,
    exp.Round: _only("decimals"),
    exp.Slice: lambda node: node,
    exp.Star: _only("replace", "rename"),
    exp.Sub: _sum_of_days,
    exp.Table: _table,
    exp.TimestampTrunc: _first_of_month,
    exp.ToMap: _empty_map,
    exp.Trim: _trim,
    exp.TryCast: _try_cast,
    exp.Union: _only("by_name"),
    exp.Upper: _in_case(r"[^\x00-Þà-ňŊ-ſЀ-џ]"),
    exp.WindowSpec: _window_rows,
}
_FUNCTIONS: dict[str, Callable[[exp.Expression], exp.Expression]] = {
    "count_star": lambda _: exp.Count(this=exp.Star()),
    "isfinite": _is_finite,
    "hash": _hash,
    "list_position": _place,
    "list_sum": _list_sum,
    "map_contains": lambda node: _holds(_call("map_keys", node.expressions[0]), node.expressions[1]),
    "timezone": _local_time,
}
