"""One connection over two engines: a statement runs where its tables are.

Tables with a row for each customer live in Spark, all others in the warehouse. Whoever has a connection says what he
always says, in DuckDB's SQL; what names customers is translated and asked of Spark, with the model-sized tables that it
names beside it, and comes home as Arrow only where somebody fetches it or it goes into a table of the warehouse. All
that a transaction writes stands once the warehouse commits it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb
from sqlglot import ParseError, TokenType, exp, parse_one, tokenize

from segment_pipeline.database.engines.pruning import Asked, months_asked
from segment_pipeline.database.engines.spark import (
    OF_THE_CATALOGUE,
    PORTION,
    EngineError,
    RefusedError,
    Session,
    Sessions,
)
from segment_pipeline.database.engines.spark_sql import AsWritten, to_spark
from segment_pipeline.database.engines.writings import Writing, Writings
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import in_memory, month_literal
from segment_pipeline.database.tables import Table
from segment_pipeline.months import month_key

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = frozenset(
    {"outliers", "panel_rows", "panel_customers", "sampled_customers", "fingerprinted_rows", "order_lines"}
)
"""Temporary tables that hold a sample of customers, or the few unusual ones: they come home. So do the ready-made ones,
which came from here, for what only DuckDB computes of them."""

FROM_FILES = frozenset({"folded_orders"})
"""Tables that this machine makes of the source's files: they stay with these."""

OFTEN = 4
"""How many times a part of a WITH may be named, counted through the parts that name it, before it is worth a table."""

Parameters = Sequence[object] | Mapping[str, object] | None


class SparkConnection:
    """What this house uses of a connection to DuckDB; see the module."""

    def __init__(self, warehouse: duckdb.DuckDBPyConnection, sessions: Sessions, counted: set[str]) -> None:
        """counted : the writings that need not be counted, for they have been; those that are, are added."""
        self._home, self._sessions, self._spark, self._counted = warehouse, sessions, sessions.spark, counted
        (self._database,) = warehouse.execute("SELECT current_database()").fetchone() or ("",)
        self._current = self._database
        self._session: Session | None = None
        self._answers = in_memory()
        self._temporary: dict[str, str] = {}
        self._foreign: dict[str, str] = {}
        self._sent: dict[str, list[str]] = {}
        self._written: list[str] = []
        self._fetched: list[str] = []
        self._in_transaction = False
        self._writings = Writings(warehouse, self._database)
        self._theirs = self._writings.living_there()

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._home, verb)

    def execute(self, statement: Any, parameters: Parameters = None) -> duckdb.DuckDBPyConnection:
        """As DuckDB's own: what is returned can be fetched from. Raises EngineError."""
        self._let_go()
        if not isinstance(statement, str) or not self._may_name_theirs(statement):
            return self._at_home(statement, parameters)
        tree = _parsed(_bound(statement, parameters))
        if not self._names_theirs(tree):
            return self._at_home(statement, parameters)
        match tree:
            case exp.Describe():
                return self._described(tree.this)
            case exp.Query():
                return self._selected(tree)
            case exp.Create(kind="TABLE") if tree.args.get("properties") and tree.this.name not in SAMPLES:
                return self._created(tree)
            case exp.Drop():
                return self._dropped(_tables(tree)[0].name)
            case exp.Insert() if self._is_theirs(_target(tree)):
                return self._inserted(tree)
            case exp.Delete() | exp.Update() if self._is_theirs(_target(tree)):
                return self._changed(tree)
        return self._with_fetched(tree)

    def begin(self) -> None:
        self._home.begin()
        self._in_transaction = True

    def commit(self) -> None:
        self._home.commit()
        self._in_transaction = False

    def close(self) -> None:
        """Closing rolls back, and what was written and not committed goes with it."""
        try:
            if self._written:
                if self._in_transaction:
                    self._home.rollback()
                self._drop([name for name in self._writings.unneeded() if name in self._written])
        finally:
            if self._session is not None:
                self._sessions.leave(self._session)
            self._answers.close()
            self._home.close()

    @property
    def identity(self) -> str:
        """By what the engine's database knows this warehouse."""
        return self._writings.identity()

    @property
    def is_new_there(self) -> bool:
        """Whether no table of this warehouse lives in Spark yet."""
        return not self._theirs

    def move_in(self, tables: Iterable[Table]) -> None:
        """Let those of the tables that have a row for each customer live in Spark, with what the warehouse has of them.
        Call it inside a transaction."""
        if self.is_new_there:  # before the first of them leaves the warehouse
            self._spark.try_out()
        for table in tables:
            stays = "customer_id" not in table.key or table.name in FROM_FILES
            if stays or table.name in self._theirs:
                continue
            name = identifier(table.name)
            there = self._home.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall()
            self._writings.settle(table)
            self._theirs[table.name] = table.month_column
            if there:
                self._upload("rows_from_home", f"SELECT * FROM {name}")
                self._append(table.name, "SELECT * FROM rows_from_home", list(self._columns(table.name)))
                self._home.execute(f"DELETE FROM {name}")

    def publish(self, months: Iterable[date]) -> None:
        """Let the readers of the catalogue see these months as they are now, and drop what nobody needs any more."""
        self._home.begin()
        self._writings.publish(months)
        self._home.commit()
        for table in self._writings.living_there(published=True):
            writings = self._writings.of(table, readable=True)
            for writing in writings:
                self._find(writing.name)
            self._do(f"CREATE OR REPLACE VIEW {self._spark.place(table)} AS {self._rows_of(table, writings)}")
        self._drop(self._writings.unneeded())

    def tables_beside(self, table: str) -> list[str]:
        """The tables of the catalogue in the same place as one that may not be there, as they are called in full."""
        place = table.rpartition(".")[0]
        found = self._do(f"SHOW TABLES{f' IN {place}' if place else ''}").to_pylist()
        return sorted(f"{place}{'.' if place else ''}{one['tableName']}" for one in found if not one["isTemporary"])

    def give_up_lost(self, months: Iterable[date]) -> list[str]:
        """Take out of the tables what of these months is missing, or has lost rows; returns what that was, in words.
        Call it inside a transaction."""
        said, asked = [], set(months)
        for table in self._theirs:
            there = {one.name: one for readable in (True, False) for one in self._writings.of(table, readable=readable)}
            for one in there.values():
                if one.month in asked and self._rows_found(one) != one.rows:
                    self._writings.give_up(one.name)
                    said.append(f"{table} of {month_key(one.month)} is lost in {self._spark.database}, and made anew.")
        return said

    def _rows_found(self, writing: Writing) -> int | None:
        """How many rows it has there; None where it is not there, and then nothing is left of it."""
        try:
            self._find(writing.name)
            return self._rows_there([writing])[writing.name]
        except RefusedError:
            self._do(self._spark.unnamed(writing.name))
            self._writings.forget([writing.name])
            return None

    # where a statement belongs

    def _may_name_theirs(self, statement: str) -> bool:
        words = set(re.findall(r"\w+", statement))
        return (
            not words.isdisjoint(self._theirs)
            or any(name in statement for name in self._temporary)
            or OF_THE_CATALOGUE in statement
        )

    def _is_theirs(self, table: exp.Table) -> bool:
        if (table.name in self._temporary or table.name.startswith(OF_THE_CATALOGUE)) and not table.db:
            return True
        return table.name in self._theirs and (table.catalog or self._current) == self._database

    def _names_theirs(self, tree: exp.Expr) -> bool:
        return any(map(self._is_theirs, _tables(tree)))

    def _at_home(self, statement: Any, parameters: Parameters) -> duckdb.DuckDBPyConnection:
        done = self._home.execute(statement) if parameters is None else self._home.execute(statement, parameters)
        if isinstance(statement, str) and statement.startswith("USE "):
            (self._current,) = self._home.execute("SELECT current_database()").fetchone() or ("",)
        return done

    def _with_fetched(self, tree: exp.Expr) -> duckdb.DuckDBPyConnection:
        """A statement of the warehouse's, with what it asks of customers fetched for it."""
        for query in list(self._queries_for_spark(tree)):
            name = f"fetched_{len(self._fetched)}"
            rows = self._ask(self._translated(query))
            self._home.complete()
            self._home.register(name, rows)
            self._fetched.append(name)
            query.replace(exp.select("*").from_(name) if not isinstance(query, exp.Table) else exp.to_table(name))
        return self._home.execute(tree.sql(AsWritten))

    def _queries_for_spark(self, node: exp.Expr) -> Iterator[exp.Expr]:
        """The largest queries in a tree that name customers and no file: files lie on this machine."""
        is_query = isinstance(node, exp.Query) and not isinstance(node, exp.Subquery)
        if is_query and self._names_theirs(node) and not _names_files(node) and not _leans_on_others(node):
            yield node
            return
        for child in node.iter_expressions():
            yield from self._queries_for_spark(child)

    def _let_go(self) -> None:
        if self._fetched:
            self._home.complete()  # of a statement whose result nobody has fetched
        while self._fetched:
            self._home.unregister(self._fetched.pop())

    # statements

    def _described(self, query: exp.Expr) -> duckdb.DuckDBPyConnection:
        rows = query if isinstance(query, exp.Query) else exp.select("*").from_(query)
        shape = self._connected().shape(self._as_it_stands(rows.copy()))
        if not shape.column_names:  # what Sail makes of a path under which nothing is
            raise RefusedError("No table is there: what it names has no columns.")
        self._answer(shape)
        return self._answers.execute("DESCRIBE FROM answer")

    def _selected(self, query: exp.Query) -> duckdb.DuckDBPyConnection:
        if _names_files(query):
            return self._with_fetched(query)
        rows = self._rows_known(query)
        return self._answer(self._ask(self._translated(query))) if rows is None else self._count(rows)

    def _rows_known(self, query: exp.Query) -> int | None:
        """How many rows a month of a table has, where that is all that is asked: what was written is known here, and
        that nothing of it is lost is seen where rows are read. None for anything else."""
        (table, *others), where = _tables(query), query.args.get("where")
        if others or where is None or table.name not in self._theirs or table.alias:
            return None
        month = _only_month(where.this, self._theirs[table.name])
        if month is None or query != exp.select("count(*)").from_(table.copy()).where(where.this.copy()):
            return None
        return sum(one.rows for one in self._writings.of(table.name) if one.month == month)

    def _created(self, tree: exp.Create) -> duckdb.DuckDBPyConnection:
        name, query = tree.this.name, tree.expression
        if _names_files(query):
            return self._with_fetched(tree)
        self._dropped(name)
        self._make_temporary(name, self._translated(query))
        return self._count(0)

    def _make_temporary(self, name: str, asked: str, columns: Mapping[str, str] | None = None) -> None:
        """columns : what the view makes of each, where it is not the table as it stands."""
        self._temporary[name] = self._write(name, asked)
        self._connected().shown.pop(name, None)
        place = self._spark.place(self._temporary[name])
        shown = "*" if columns is None else ", ".join(f"{value} AS {one}" for one, value in columns.items())
        self._do(f"CREATE OR REPLACE TEMPORARY VIEW {_name(name)} AS SELECT {shown} FROM {place}")

    def _dropped(self, name: str) -> duckdb.DuckDBPyConnection:
        if name in self._temporary:
            self._drop([self._temporary.pop(name)])
        return self._count(0)

    def _inserted(self, tree: exp.Insert) -> duckdb.DuckDBPyConnection:
        table, query = _target(tree).name, tree.expression
        if self._names_theirs(query):
            asked = self._translated(query)
        else:
            self._upload("rows_from_home", query.sql(AsWritten))
            asked = "SELECT * FROM rows_from_home"
        names = [column.name for column in tree.this.expressions] if isinstance(tree.this, exp.Schema) else None
        if names is None and not tree.args.get("by_name"):
            names = list(self._columns(table))
        return self._count(self._append(table, asked, names))

    def _changed(self, tree: exp.Delete | exp.Update) -> duckdb.DuckDBPyConnection:
        table, where = _target(tree).name, tree.args.get("where")
        condition = exp.true() if where is None else where.this
        if table in self._temporary:
            return self._changed_temporary(table, tree, condition)
        month = _only_month(condition, self._theirs[table])
        if month is not None and isinstance(tree, exp.Delete):
            return self._count(self._writings.remove(table, month))
        values = {one.this.name: one.expression for one in tree.expressions} if isinstance(tree, exp.Update) else None
        return self._count(self._rewrite(table, condition, values))

    def _changed_temporary(
        self, table: str, tree: exp.Delete | exp.Update, condition: exp.Expr
    ) -> duckdb.DuckDBPyConnection:
        """Write the table anew, as it is once it is changed."""
        columns = self._connected().shape(f"SELECT * FROM {_name(table)}").column_names
        found = exp.select(*(exp.column(name, quoted=True) for name in columns)).from_(table)
        if isinstance(tree, exp.Delete):
            query = found.where(exp.not_(exp.func("coalesce", condition, exp.false())))
        else:
            values = {one.this.name: one.expression for one in tree.expressions}
            query = exp.select(
                *(
                    exp.Case()
                    .when(condition.copy(), values[name])
                    .else_(exp.column(name, quoted=True))
                    .as_(name, quoted=True)
                    if name in values
                    else exp.column(name, quoted=True)
                    for name in columns
                )
            ).from_(table)
        before = self._temporary[table]
        self._make_temporary(table, self._translated(query))
        self._drop([before])
        return self._count(0)

    def _rewrite(self, table: str, condition: exp.Expr, values: Mapping[str, exp.Expr] | None) -> int:
        """Delete the rows that meet the condition or, where there are values, give them these; returns how many. Each
        month that has any is written anew."""
        month = self._theirs[table]
        columns = self._columns(table)
        found = exp.select(month, "count(*) AS rows").from_(table).where(condition.copy()).group_by(month)
        touched = dict(zip(*(column.to_pylist() for column in self._ask(self._translated(found)).columns), strict=True))
        there: dict[date, int] = {}
        for writing in self._writings.of(table):
            there[writing.month] = there.get(writing.month, 0) + writing.rows
        for one, rows in touched.items():
            of_month = f"{month} = {month_literal(one)}"
            stays = exp.select(*map(identifier, columns)).from_(table).where(of_month)
            kept = stays.where(
                # in brackets, without which Apache Spark reads no `x IN (...) IS NULL`
                exp.or_(exp.not_(condition.copy()), exp.Is(this=exp.paren(condition.copy()), expression=exp.null()))
            )
            asked = [] if rows == there[one] else [self._translated(kept)]
            if values is not None:
                changed = [
                    values.get(name, exp.column(name, quoted=True)).copy().as_(name, quoted=True) for name in columns
                ]
                asked.append(
                    self._translated(exp.select(*changed).from_(table).where(of_month).where(condition.copy()))
                )
            new = [writing for rows_of in asked for writing in self._written_as(table, rows_of, list(columns))]
            self._writings.remove(table, one)
            self._writings.add(table, new)
        return sum(touched.values())

    # Spark

    def _ask(self, query: str) -> "pa.Table":
        return self._connected().fetch(query)

    def _do(self, statement: str) -> "pa.Table":
        return self._connected().run(statement)

    def _connected(self) -> Session:
        if self._session is None:
            self._session = self._sessions.take()
        return self._session

    def _answer(self, rows: "pa.Table") -> duckdb.DuckDBPyConnection:
        self._answers.complete()  # a fetchone before leaves its statement open
        self._answers.register("answer", rows)
        return self._answers.execute("FROM answer")

    def _count(self, rows: int) -> duckdb.DuckDBPyConnection:
        """What DuckDB returns of a statement that changes rows."""
        return self._answers.execute("SELECT ?", [rows])

    def _translated(self, query: exp.Expr) -> str:
        """The query in Spark's SQL, with every table that it names there."""
        query = query.copy()
        self._write_parts(query)
        return self._as_it_stands(query)

    def _write_parts(self, query: exp.Expr) -> None:
        """Make a part of the query's WITH that is named more than OFTEN a table there: DuckDB computes it once, and
        Spark wherever it is named."""
        around = query.args.get("with_")
        times = _times_named(query)
        for part in list(around.expressions) if around is not None and not around.recursive else []:
            if times[part.alias] <= OFTEN or part.args["alias"].columns or not self._names_theirs(part.this):
                continue
            before = [one.copy() for one in around.expressions[: around.expressions.index(part)]]
            asked = exp.select("*").from_(part.this.copy().subquery("part"))
            asked.set("with_", exp.With(expressions=before) if before else None)
            name = f"{part.alias}__part_{len(self._temporary)}"
            self._write_part(name, self._as_it_stands(asked))
            named = [one for one in query.find_all(exp.Table) if one.name == part.alias and not one.db]
            part.pop()
            for one in named:
                if not one.alias:
                    one.set("alias", exp.TableAlias(this=exp.to_identifier(part.alias)))
                one.set("this", exp.to_identifier(name))
            times = _times_named(query)
        if around is not None and not around.expressions:
            query.set("with_", None)

    def _write_part(self, name: str, asked: str) -> None:
        """Columns that are NULL and of no type, which no format of tables has, are the view's alone."""
        shape = self._connected().shape(asked).schema
        columns = {_name(one.name): "NULL" if str(one.type) == "null" else _name(one.name) for one in shape}
        written = ", ".join(one for one, value in columns.items() if value != "NULL")
        self._make_temporary(name, f"SELECT {written} FROM ({asked})", columns)

    def _as_it_stands(self, query: exp.Expr) -> str:
        for table in _tables(query):
            if table.name.startswith(OF_THE_CATALOGUE):
                table.set("this", exp.to_identifier(self._view_of(table.name), quoted=True))
            elif not self._is_theirs(table):
                place = ".".join(identifier(part.name) for part in table.parts)
                self._upload(table.name, f"SELECT * FROM {place}")
            elif table.name not in self._temporary:
                view = self._show(table.name, months_asked(table, self._theirs[table.name]))
                if view != table.name and not table.alias:
                    table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
                table.set("this", exp.to_identifier(view))
            table.set("db", None)
            table.set("catalog", None)
        return to_spark(query)

    def _view_of(self, name: str) -> str:
        """The view by which statements name somebody's table of the catalogue."""
        if name not in self._foreign:
            view = f"foreign_{len(self._foreign)}"
            place = name.removeprefix(OF_THE_CATALOGUE)
            self._do(f"CREATE OR REPLACE TEMPORARY VIEW {view} AS SELECT * FROM {place}")
            self._foreign[name] = view
        return self._foreign[name]

    def _upload(self, name: str, query: str) -> None:
        self._home.complete()
        rows = self._home.sql(query).to_arrow_table()
        self._connected().shown.pop(name, None)
        portions = math.ceil(rows.nbytes / PORTION)
        if portions <= 1:
            self._connected().upload(name, rows)
            return
        # a view of rows that were sent is sent on with each statement, so those of many become tables
        self._drop(self._sent.pop(name, []))
        each, tables = math.ceil(rows.num_rows / portions), self._sent.setdefault(name, [])
        for place in range(portions):
            self._connected().upload("portion", rows.slice(place * each, each))
            tables.append(self._write(name, "SELECT * FROM portion"))
        listed = " UNION ALL ".join(f"SELECT * FROM {self._spark.place(table)}" for table in tables)
        self._do(f"CREATE OR REPLACE TEMPORARY VIEW {_name(name)} AS {listed}")

    def _show(self, table: str, asked: Asked) -> str:
        """Make the months of the table that are asked for, as they are now, a temporary view; returns its name. Spark
        looks up every table under a view, whatever a condition leaves of them, so a month costs no more with a past."""
        writings, shown = self._writings.of(table), self._connected().shown
        these = [one for one in writings if asked(one.month)]
        view = table
        if len(these) < len(writings):
            months = " ".join(sorted({month_key(one.month) for one in these}))
            view = f"{table}__of_{sha256(months.encode()).hexdigest()[:8]}"
        if shown.get(view) == these:
            return view
        try:
            for writing in these:
                self._find(writing.name)
            self._refuse_lost_rows(table, these, writings)
            self._do(f"CREATE OR REPLACE TEMPORARY VIEW {_name(view)} AS {self._rows_of(table, these)}")
        except RefusedError as error:
            months = ", ".join(sorted({month_key(one.month) for one in these}))
            raise EngineError(
                f"{table} cannot be read: of its months, {months}, a table is missing in {self._spark.database}. "
                f"{_how_to_repair(these, writings)} {error}"
            ) from error
        shown[view] = these
        return view

    def _refuse_lost_rows(self, table: str, these: Sequence[Writing], writings: Sequence[Writing]) -> None:
        """Raise EngineError where one of these has not the rows that were written: a file of it that is gone gives
        fewer, without a word of the engine's. Each is counted once, for nothing changes a writing. writings : all of
        the table."""
        unknown = [one for one in these if one.name not in self._counted]
        there = self._rows_there(unknown)
        lost = [one for one in unknown if there.get(one.name, 0) != one.rows]
        if lost:
            one = lost[0]
            raise EngineError(
                f"{table} of {month_key(one.month)} has {there.get(one.name, 0):,} rows in "
                f"{self._spark.database}.{one.name}, and {one.rows:,} were written. {_how_to_repair(lost, writings)}"
            )
        self._counted.update(there)

    def _rows_there(self, writings: Sequence[Writing]) -> dict[str, int]:
        if not writings:
            return {}
        counts = (
            f"SELECT '{one.name}' AS name, count(*) AS rows FROM {self._spark.place(one.name)}" for one in writings
        )
        found = self._ask(" UNION ALL ".join(counts))
        return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def _find(self, writing: str) -> None:
        """Tell the catalogue of a writing that it may have forgotten, where it keeps none beyond a session."""
        found = self._connected().found
        if self._spark.location is not None and writing not in found:
            self._do(self._spark.found_again(writing))
            found.add(writing)

    def _rows_of(self, table: str, writings: Sequence[Writing]) -> str:
        columns = self._columns(table)
        parts = []
        for one in writings:
            values = {
                name: _name(name) if name in one.columns else f"CAST(NULL AS {columns[name]})" for name in columns
            }
            listed = ", ".join(f"{value} AS {_name(name)}" for name, value in values.items())
            parts.append(f"SELECT {listed} FROM {self._spark.place(one.name)}")
        nobody = ", ".join(f"CAST(NULL AS {kind}) AS {_name(name)}" for name, kind in columns.items())
        return " UNION ALL ".join(parts) or f"SELECT {nobody} WHERE false"

    def _append(self, table: str, asked: str, names: Sequence[str] | None) -> int:
        return self._writings.add(table, self._written_as(table, asked, names))

    def _written_as(self, table: str, asked: str, names: Sequence[str] | None) -> list[Writing]:
        """Write rows of a table; returns what they are, by month. names : their columns in order; None for by name."""
        columns, month = self._columns(table), self._theirs[table]
        if names is None:
            found = self._connected().shape(asked).column_names
            declared = {name.lower(): name for name in columns}
            names = [declared[name.lower()] for name in found]
        said = f"({asked}) AS found({', '.join(map(_name, names))})"
        cast = ", ".join(f"CAST({_name(name)} AS {columns[name]}) AS {_name(name)}" for name in names)
        name = self._write(table, f"SELECT {cast} FROM {said}")
        counted = self._ask(f"SELECT {_name(month)}, count(*) FROM {self._spark.place(name)} GROUP BY 1")
        months = dict(sorted(zip(*(column.to_pylist() for column in counted.columns), strict=True)))
        if len(months) == 1:
            self._counted.add(name)
            return [Writing(of, name, names, rows) for of, rows in months.items()]
        rows_of = f"SELECT * FROM {self._spark.place(name)} WHERE {_name(month)} = "
        parts = [
            Writing(of, self._write(table, rows_of + month_literal(of)), names, rows) for of, rows in months.items()
        ]
        self._drop([name])
        return parts

    def _write(self, table: str, asked: str) -> str:
        plain = re.sub(r"\W", "_", table)
        name = f"{plain}__{uuid4().hex[:12]}"
        self._writings.begin(name)
        self._written.append(name)
        self._connected().save(name, asked)
        self._connected().found.add(name)
        return name

    def _drop(self, writings: Sequence[str]) -> None:
        for name in writings:
            self._find(name)
            self._connected().drop(name)
            self._connected().found.discard(name)
        if writings:
            self._writings.forget(writings)

    def _columns(self, table: str) -> dict[str, str]:
        """The columns of a table, and their types as Spark has them."""
        found = self._home.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND database_name = ? "
            "AND schema_name = 'main' ORDER BY column_index",
            [table, self._database],
        ).fetchall()
        return {name: _spark_type(kind) for name, kind in found}


def _how_to_repair(lost: Sequence[Writing], writings: Sequence[Writing]) -> str:
    """What to do where some of a table's writings are lost."""
    first, last = (month_key(month) for month in (min(one.month for one in lost), max(one.month for one in writings)))
    span = first if first == last else f"{first}..{last}"
    return (
        "Put it back from a backup of that database, and run again. Without one, the source makes these months anew: "
        f"segment-pipeline run --months {span} --force"
    )


def _name(name: str) -> str:
    """A name, quoted as Spark does."""
    return "`" + name.replace("`", "``") + "`"


def _bound(statement: str, parameters: Parameters) -> str:
    """The statement with its parameters in it, as values."""
    if not parameters:
        return statement
    listed = iter(() if isinstance(parameters, Mapping) else parameters)
    parts, done, tokens = [], 0, tokenize(statement, read="duckdb")
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.token_type is TokenType.PLACEHOLDER:
            value, end = next(listed), token.end
        elif token.token_type is TokenType.PARAMETER and after is not None and isinstance(parameters, Mapping):
            value, end = parameters[after.text], after.end
        else:
            continue
        parts += [statement[done : token.start], _value(value)]
        done = end + 1
    return "".join([*parts, statement[done:]])


def _parsed(statement: str) -> exp.Expr:
    try:
        return parse_one(statement, read=AsWritten)
    except ParseError as error:
        raise EngineError(f"This SQL is DuckDB's alone, and Spark cannot be asked it ({error}): {statement}") from error


def _value(value: object) -> str:
    if type(value) is date:
        return month_literal(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return str(exp.convert(value).sql("duckdb"))


def _spark_type(kind: str) -> str:
    """A type of DuckDB's, as Spark calls it."""
    told = {"JSON": "STRING", "HUGEINT": "DECIMAL(38, 0)", "TIMESTAMP": "TIMESTAMP_NTZ"}
    return told.get(kind) or str(exp.DataType.build(kind, dialect="duckdb").sql("spark"))


def _target(tree: exp.Expr) -> exp.Table:
    """The table that a statement writes."""
    return tree.this.this if isinstance(tree.this, exp.Schema) else tree.this


def _tables(tree: exp.Expr) -> list[exp.Table]:
    """The tables that a statement names, without those of its own WITH, and functions."""
    own = {one.alias for one in tree.find_all(exp.CTE)}
    named = [one for one in tree.find_all(exp.Table) if isinstance(one.this, exp.Identifier)]
    return [one for one in named if one.name not in own]


def _names_files(tree: exp.Expr) -> bool:
    return any(
        one.name in FROM_FILES
        or (not isinstance(one.this, exp.Identifier) and one.sql("duckdb").lower().startswith("read_"))
        for one in tree.find_all(exp.Table)
    )


def _leans_on_others(query: exp.Expr) -> bool:
    """Whether it names a part of a WITH that stands around it."""
    own = {one.alias for one in query.find_all(exp.CTE)}
    around = {one.alias for one in query.root().find_all(exp.CTE)} - own
    return any(one.name in around for one in query.find_all(exp.Table))


def _times_named(query: exp.Expr) -> Counter[str]:
    """How many times an engine that puts each part of a WITH where it is named computes it."""
    parts = {} if (around := query.args.get("with_")) is None else {one.alias: one.this for one in around.expressions}
    body = query.copy()
    body.set("with_", None)
    times: Counter[str] = Counter()

    def count(node: exp.Expr, weight: int) -> None:
        for one in node.find_all(exp.Table):
            if one.name in parts and not one.db:
                times[one.name] += weight

    count(body, 1)
    for name, part in reversed(parts.items()):  # a part is named by those after it alone
        count(part, times[name])
    return times


def _only_month(condition: exp.Expr, month: str) -> date | None:
    """The month, where the condition is that it is this one."""
    if isinstance(condition, exp.EQ) and condition.this.name == month and isinstance(condition.expression, exp.Cast):
        return date.fromisoformat(condition.expression.this.name)
    return None
