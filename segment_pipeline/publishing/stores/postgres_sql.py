"""The published file in PostgreSQL's words: types, values, views, comments and the function `score`. No server here."""

import duckdb
import sqlglot
from sqlglot import exp

from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.publishing.score_sql import SCORED_COLUMNS, Scoring, about_scoring, latest_scoring, translated
from segment_pipeline.publishing.stores.parts import StoreError
from segment_pipeline.publishing.tables import MACRO, REFUSED, SCORED_TABLE

LONGEST_NAME = 63

_TYPES = {
    "BOOLEAN": "boolean",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "numeric(39)",
    "DOUBLE": "double precision",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "JSON": "jsonb",
}
"""Of DuckDB's types, those that have a like one."""


def type_of(kind: str) -> str:
    """The type of PostgreSQL for one of DuckDB's: text, where there is none that means the same."""
    if kind.endswith("[]"):
        return f"{type_of(kind[:-2])}[]"
    if kind.startswith("DECIMAL"):
        return kind.replace("DECIMAL", "numeric")
    return "jsonb" if kind.startswith(("MAP", "STRUCT")) else _TYPES.get(kind, "text")


def value_of(column: str, kind: str) -> str:
    """The column, as DuckDB's SQL, so that its text in a CSV is what PostgreSQL reads for that type."""
    name = identifier(column)
    if kind.startswith(("MAP", "STRUCT")):
        return f"CAST(to_json({name}) AS VARCHAR)"
    if kind in {"VARCHAR[]", "JSON[]"}:
        escaped = r"""'"' || replace(replace(CAST(e AS VARCHAR), '\', '\\'), '"', '\"') || '"'"""
        return f"'{{' || array_to_string([coalesce({escaped}, 'NULL') FOR e IN {name}], ',') || '}}'"
    if kind.endswith("[]"):
        return f"translate(CAST({name} AS VARCHAR), '[]', '{{}}')"
    return name if kind in _TYPES and kind not in {"HUGEINT", "JSON"} else f"CAST({name} AS VARCHAR)"


def columns_of(published: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The columns of every table of the published file, with DuckDB's types. Raises StoreError where PostgreSQL would
    cut a name off, and so take two for one."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in published.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE table_name IN (SELECT table_name FROM duckdb_tables()) ORDER BY table_name, column_index"
    ).fetchall():
        if len(column.encode()) > LONGEST_NAME:
            raise StoreError(f"{table}.{column}: PostgreSQL has names of at most {LONGEST_NAME} bytes. Shorten it.")
        found.setdefault(table, {})[column] = kind
    return found


def definitions_of(published: duckdb.DuckDBPyConnection, tiers: TierSettings) -> tuple[dict[str, str], list[str]]:
    """By relation, the statements that say what it is, and of a view and the function `score` those that make it; and
    of the views that cannot be put in PostgreSQL's words, why."""
    views, left_out = _views(published)
    comments = _comments(published)
    tables = {row[0] for row in published.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    found = {table: comments[table] for table in sorted(tables)}
    found |= {view: f"{statement}; {comments[view]}" for view, statement in views.items()}
    scoring = latest_scoring(published, tiers)
    return (found if scoring is None else found | {MACRO: _function(scoring)}), left_out


def _views(published: duckdb.DuckDBPyConnection) -> tuple[dict[str, str], list[str]]:
    statements, left_out = {}, []
    for name, sql in published.execute(
        "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
    ).fetchall():
        view = sqlglot.parse_one(sql, read="duckdb").transform(_portable, copy=False)
        view.set("replace", True)
        try:
            statements[name] = view.sql("postgres", unsupported_level=sqlglot.ErrorLevel.RAISE)
        except sqlglot.UnsupportedError as error:
            left_out.append(f"The view {name} is not there: {error}")
    return statements, left_out


_SPANS = {"to_years": 0, "to_months": 1, "to_weeks": 2, "to_days": 3}
"""DuckDB's functions that make a span of time, and the place of the unit among the arguments of make_interval."""


def _portable(node: exp.Expression) -> exp.Expression:
    """One node of a view as DuckDB keeps it, where sqlglot leaves it as it is."""
    if isinstance(node, exp.ArrayMax):
        return exp.maybe_parse(f"(SELECT max(one) FROM unnest({node.this.sql('postgres')}) AS one)", dialect="postgres")
    if isinstance(node, exp.ArgMax):
        what, by = (part.sql("postgres") for part in (node.this, node.expression))
        first = f"(array_agg({what} ORDER BY {by} DESC) FILTER (WHERE {what} IS NOT NULL AND {by} IS NOT NULL))[1]"
        return exp.maybe_parse(first, dialect="postgres")
    name = node.name.lower() if isinstance(node, exp.Anonymous) else ""
    if name == "list_position":
        node.set("this", "ARRAY_POSITION")  # the node itself, so that what stands in it is looked at as well
    place = _SPANS.get(name)
    if place is None:
        return node
    before = [exp.Literal.number(0) for _ in range(place)]
    return exp.Anonymous(this="MAKE_INTERVAL", expressions=[*before, *node.expressions])


def _comments(published: duckdb.DuckDBPyConnection) -> dict[str, str]:
    statements: dict[str, list[str]] = {}
    for kind, name, comment in published.execute(
        "SELECT 'TABLE', table_name, comment FROM duckdb_tables() WHERE NOT internal "
        "UNION ALL SELECT 'VIEW', view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY 2"
    ).fetchall():
        statements[name] = [f"COMMENT ON {kind} {identifier(name)} IS {literal(comment or '')}"]
    for name, column, comment in published.execute(
        "SELECT table_name, column_name, comment FROM duckdb_columns() "
        "WHERE NOT internal AND comment IS NOT NULL ORDER BY table_name, column_index"
    ).fetchall():
        statements[name].append(f"COMMENT ON COLUMN {identifier(name)}.{identifier(column)} IS {literal(comment)}")
    return {name: "; ".join(each) for name, each in statements.items()}


def _function(scoring: Scoring) -> str:
    """The statements that make `score`, which takes a table or a view, or its name as text."""
    types = {
        "customer_id": "text",
        **{column.name: type_of(column.type) for column in SCORED_COLUMNS},
        REFUSED: "text",
    }
    shown = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in types.items())
    query = f"SELECT {shown} FROM ({translated(scoring, 'postgres', SCORED_TABLE)}) AS scored"
    body = f"BEGIN RETURN QUERY EXECUTE replace({literal(query)}, '{SCORED_TABLE} AS', $1 || ' AS'); END"
    returned = ", ".join(f"{name} {kind}" for name, kind in types.items())
    about = about_scoring(scoring, "table or view, given by its name,", f"SELECT * FROM {MACRO}('my_table')")
    return (
        f"CREATE OR REPLACE FUNCTION {MACRO}(regclass) RETURNS TABLE ({returned}) LANGUAGE plpgsql STABLE "
        f"AS {literal(body)}; COMMENT ON FUNCTION {MACRO}(regclass) IS {literal(about)}"
    )
