"""Where an id still stands, in whatever a project has written: files of every kind, and a PostgreSQL server.

A table is searched row by row, each with all its columns as text, as compressed pages hide bytes; everything else as
bytes.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb
import psycopg


def traces(folder: Path, *ids: str, but: Collection[Path] = ()) -> list[str]:
    """The files below the folder that hold one of the ids; `but` are the user's own."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in but]
    return [path.name for path in files if _in_bytes(path, ids) or any(rows_in(path, one) for one in ids)]


def left_beside(folder: Path) -> list[Path]:
    """What a writer of DuckDB's files leaves beside them: a log of changes, a draft, pages that went over the disk."""
    return [path for pattern in ("*.wal", ".*.duckdb*", ".duckdb_spill", "*.tmp") for path in folder.rglob(pattern)]


def _in_bytes(path: Path, ids: Collection[str]) -> bool:
    held = path.read_bytes()
    return any(re.search(rb"(?<![0-9.])" + re.escape(one.encode()) + rb"(?![0-9])", held) for one in ids)


def rows_in(file: Path, customer: str) -> dict[str, int]:
    """What in a DuckDB or Parquet file holds the id, in any column, with how many rows do; nothing of other files."""
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            return dict(_counted(connection, connection.execute(_RELATIONS).fetchall(), customer))
    if file.suffix == ".parquet":
        with duckdb.connect() as connection:
            return dict(_counted(connection, [(f"read_parquet('{file}')",)], customer))
    return {}


# tables, and what DuckDB knows of them: comments, the text of views and macros
_RELATIONS = """
    SELECT table_name FROM duckdb_tables() UNION ALL SELECT unnest(['duckdb_tables()', 'duckdb_columns()',
        '(SELECT sql, comment FROM duckdb_views() WHERE NOT internal)',
        '(SELECT macro_definition, comment FROM duckdb_functions() WHERE NOT internal)'])
"""


def _counted(
    connection: duckdb.DuckDBPyConnection, relations: Collection[tuple[str]], customer: str
) -> Iterator[tuple[str, int]]:
    wanted = rf"(^|[^0-9.]){re.escape(customer)}($|[^0-9])"
    for (name,) in relations:
        asked = f"SELECT count(*) FROM {name} AS t WHERE regexp_matches(CAST(t AS VARCHAR), ?)"
        found = connection.execute(asked, [wanted]).fetchone()
        if found and found[0]:
            yield name, found[0]


def traces_in_server(address: str, *ids: str) -> list[str]:
    """The tables of a PostgreSQL database that hold one of the ids in a row, or in the samples of their values that the
    server keeps for its plans."""
    wanted = "|".join(rf"\m{re.escape(one)}\M" for one in ids)
    found = []
    with psycopg.connect(address, autocommit=True) as server:
        tables = server.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        ).fetchall()
        for (table,) in (*tables, ("pg_stats",), ("pg_description",), ("pg_views",)):
            (rows,) = server.execute(f"SELECT count(*) FROM {table} AS t WHERE t::text ~ %s", [wanted]).fetchone()
            if rows:
                found.append(table)
    return found
