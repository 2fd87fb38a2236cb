"""Which months of a table a statement asks for: of the others the engine needs not even know.

A table in Spark is a table for each month. Whatever a condition leaves of them, Spark looks up all that stand under a
view, opens their files and plans for them, so that each statement would cost more with every month that has passed.
"""

import operator
from collections.abc import Callable, Container, Iterator
from datetime import date

from sqlglot import exp

Asked = Callable[[date], bool]
"""Whether a month can be of use."""

_COMPARED: dict[type[exp.Expr], Callable[[date, date], bool]] = {
    exp.EQ: operator.eq,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
}


def months_asked(table: exp.Table, month: str) -> Asked:
    """Which months of a table in a statement can be of any use to it, by what its SELECT and its own JOIN ask of
    every row; all, where they say nothing. month : the column."""
    around = table.parent
    select = None if around is None else around.parent
    if not isinstance(select, exp.Select) or not isinstance(around, exp.From | exp.Join):
        return lambda _: True
    alone = not any(select.args.get(others) for others in ("joins", "laterals"))
    names = {table.alias_or_name, ""} if alone else {table.alias_or_name}
    conditions = [] if select.args.get("where") is None else list(_all_of(select.args["where"].this))
    # a row that only the other side has stays, whatever a RIGHT or FULL JOIN asks of it
    if isinstance(around, exp.Join) and around.side in ("", "LEFT") and around.args.get("on") is not None:
        conditions += _all_of(around.args["on"])
    tests = [test for one in conditions if (test := _test_of(one, month, names)) is not None]
    return lambda one: all(test(one) for test in tests)


def _all_of(condition: exp.Expr) -> Iterator[exp.Expr]:
    """What holds where it does, each by itself."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        yield from _all_of(condition.left)
        yield from _all_of(condition.right)
    else:
        yield condition


def _test_of(condition: exp.Expr, month: str, names: Container[str]) -> Asked | None:
    """A condition as a test of the month; None where it asks something else."""
    column = condition.this
    if not isinstance(column, exp.Column) or column.name != month or column.table not in names:
        return None
    if isinstance(condition, exp.Between):
        low, high = _date_of(condition.args["low"]), _date_of(condition.args["high"])
        return None if low is None or high is None else lambda one: low <= one <= high
    compare = _COMPARED.get(type(condition))
    value = None if compare is None else _date_of(condition.expression)
    return None if compare is None or value is None else lambda one: compare(one, value)


def _date_of(value: exp.Expr) -> date | None:
    """A literal; None for anything else."""
    if isinstance(value, exp.Cast) and value.is_type("date") and isinstance(value.this, exp.Literal):
        return date.fromisoformat(value.this.name)
    return None
