"""The published tables in a PostgreSQL schema. Readers never wait, and see a publication whole or not at all.

A month is deleted and copied anew in the transaction in which everything else of a publication changes: whoever reads
goes on with what was there. What would lock readers out is done only where it has to be, and not for long: a table or a
column that is missing, in a transaction of its own; a view or the function that has changed, at the end. Nothing is
dropped, so that what others have made on top of it, and whom they let in, stays.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import pyarrow as pa
from pyarrow import csv

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import first_line
from segment_pipeline.orchestration.tables import PIPELINE_RUNS
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES
from segment_pipeline.publishing.stores.parts import BROUGHT_LATER, Part, StoreError, by_table, condition_of
from segment_pipeline.publishing.stores.postgres_sql import (
    columns_of,
    definitions_of,
    type_of,
    value_of,
)

if TYPE_CHECKING:
    import psycopg

PATIENCE = 10
"""Seconds for the server to answer, and for other sessions to let go of a table."""

BATCH = 50_000
"""Rows that are on their way to the server at a time."""

STORE_PARTS, STORE_DEFINITIONS, STORE_DELETED = "store_parts", "store_definitions", "store_deleted"
_OWN = (
    f"CREATE TABLE IF NOT EXISTS {STORE_PARTS} "
    '("table" text, month_column text, month date, rows bigint, fingerprint text); '
    f"COMMENT ON TABLE {STORE_PARTS} IS "
    "'What is published here, by table and month: how many rows, and their fingerprint.'; "
    f"CREATE TABLE IF NOT EXISTS {STORE_DEFINITIONS} (name text PRIMARY KEY, digest text); "
    f"COMMENT ON TABLE {STORE_DEFINITIONS} IS 'Which text the comments, the views and the function here have.'"
)
_OWN_DELETED = (
    f'CREATE TABLE {STORE_DELETED} ("table" text PRIMARY KEY); '
    f"COMMENT ON TABLE {STORE_DELETED} IS "
    "'The tables whose files may still have rows that were deleted: they are written anew after forget and merge.'"
)


@dataclass(frozen=True)
class PostgresStore:
    """The schema `publish.schema` of the database `publish.postgres`."""

    config: Config
    asset: ClassVar[str] = "published_postgres"

    @property
    def schema(self) -> str:
        return self.config.publish.postgres_schema

    @property
    def place(self) -> str:
        about = self._address()
        host = about.get("host") or about.get("hostaddr") or "this machine"
        return f"schema {self.schema} of PostgreSQL database {about.get('dbname', '')} on {host}"

    def parts(self) -> set[Part]:
        with self._connected() as server, self._transaction(server):
            return _held(server)

    def bring(self, published: duckdb.DuckDBPyConnection, wanted: set[Part]) -> list[str]:
        tables = columns_of(published)
        definitions, left_out = definitions_of(published, self.config.tiers)
        with self._connected() as server:
            with self._transaction(server):
                self._refuse_other(server)
                self._make_what_is_missing(server, tables)
            with self._transaction(server):
                # two that fill at once would each delete what the other has not committed; readers read on
                server.execute(f"LOCK TABLE {STORE_PARTS} IN SHARE ROW EXCLUSIVE MODE")
                held = _held(server)
                for table, parts in by_table(held - wanted):
                    _delete(server, table, parts)
                for table, parts in by_table(wanted - held):
                    _copy(server, published, table, tables[table], parts)
                return left_out + _define(server, definitions)

    def clear(self) -> None:
        with self._connected() as server:
            schema = identifier(self.schema)
            tables = server.execute(
                f'SELECT "table" FROM {schema}.{STORE_DELETED} '
                'WHERE "table" IN (SELECT tablename FROM pg_tables WHERE schemaname = %s) ORDER BY 1',
                [self.schema],
            ).fetchall()
            # who reads meanwhile waits, and so must not wait behind us for somebody who never ends
            server.execute(f"SET lock_timeout = '{PATIENCE}s'")
            for (table,) in tables:
                # What is deleted lies in the table's files until these are written anew, as a plain VACUUM frees their
                # pages and overwrites none; and in the samples that the server keeps of columns.
                server.execute(f"VACUUM (FULL, ANALYZE) {schema}.{identifier(table)}")
                server.execute(f'DELETE FROM {schema}.{STORE_DELETED} WHERE "table" = %s', [table])
            server.execute("RESET lock_timeout")  # a pooler hands the session to others

    def problems(self) -> list[str]:
        try:
            with self._connected() as server, self._transaction(server):
                self._refuse_other(server)
                return self._missing_rights(server)
        except StoreError as error:
            return [str(error)]

    def _missing_rights(self, server: "psycopg.Connection") -> list[str]:
        schema, user = identifier(self.schema), identifier(_one(server, "SELECT current_user"))
        if _one(server, f"SELECT to_regnamespace({literal(schema)}) IS NOT NULL"):
            said, right = "may not create tables in it", f"has_schema_privilege({literal(self.schema)}, 'CREATE')"
            remedy = f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {user}"
        else:
            said, right = "may not make it", "has_database_privilege(current_database(), 'CREATE')"
            remedy = f"CREATE SCHEMA {schema} AUTHORIZATION {user}"
        if _one(server, f"SELECT {right}"):
            return []
        return [f"{self.place}: {user} {said}. Its owner can help: {remedy};"]

    def _refuse_other(self, server: "psycopg.Connection") -> None:
        """Raise StoreError where the months of another project are in the schema."""
        if not _one(server, f"SELECT to_regclass({literal(PIPELINE_RUNS.name)}) IS NOT NULL"):
            return
        last = _one(server, f"SELECT project FROM {PIPELINE_RUNS.name} ORDER BY sequence DESC NULLS LAST LIMIT 1")
        if not self.config.is_project(last):
            raise StoreError(
                f"{self.place} holds the months of {last}, and this is {self.config.project}. Give this one a schema "
                "of its own: publish.schema"
            )

    def _make_what_is_missing(self, server: "psycopg.Connection", tables: Mapping[str, Mapping[str, str]]) -> None:
        there: dict[str, set[str]] = {}
        for table, column in server.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s", [self.schema]
        ):
            there.setdefault(table, set()).add(column)
        months = {table.name: table.month_column for table in PUBLISHED_TABLES}
        if not _one(server, f"SELECT to_regnamespace({literal(identifier(self.schema))}) IS NOT NULL"):
            server.execute(f"CREATE SCHEMA {identifier(self.schema)}")
        if STORE_DEFINITIONS not in there:
            server.execute(_OWN)
        if STORE_DELETED not in there:
            server.execute(_OWN_DELETED)
            # an older version has not written down which of its tables have lost rows
            _note_deleted(server, [name for name in months if name in there])
        for name, columns in tables.items():
            lacking = {column: kind for column, kind in columns.items() if column not in there.get(name, ())}
            if name not in there:
                server.execute(f"CREATE TABLE {identifier(name)} ({_declared(lacking)})")
                if months[name] in columns:
                    # small, and enough to find a month, whose rows lie together
                    server.execute(f"CREATE INDEX ON {identifier(name)} USING brin ({identifier(months[name])})")
            elif lacking:
                server.execute(f"ALTER TABLE {identifier(name)} {_declared(lacking, 'ADD COLUMN ')}")

    def _address(self) -> dict[str, Any]:
        """The server, as libpq's keywords. Raises StoreError, without a word of the address: it may have a password."""
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError as error:
            raise StoreError(
                f"publish.postgres needs psycopg ({error}): pip install 'psycopg[binary]', and run again."
            ) from error
        given = self.config.publish.postgres or ""
        if given.startswith("$"):
            found = os.environ.get(given[1:])
            if not found:
                raise StoreError(
                    f"publish.postgres is {given}, and the environment has no such variable. Set it to "
                    "postgresql://USER@HOST:PORT/DATABASE, and run again."
                )
            given = found
        try:
            return dict(conninfo_to_dict(given))
        except psycopg.Error:
            raise StoreError(
                "publish.postgres is no address that PostgreSQL understands. Write "
                "postgresql://USER@HOST:PORT/DATABASE, with %40 for an @ in a name or a password, and so on."
            ) from None

    @contextmanager
    def _connected(self) -> Iterator["psycopg.Connection"]:
        """A session in which each statement is by itself, but in a transaction. Raises StoreError."""
        address = self._address()
        import psycopg

        settings = {"connect_timeout": PATIENCE, "application_name": "segment_pipeline", "client_encoding": "UTF8"}
        try:
            # no prepared statements: a pooler between hands the session to others after each transaction
            with psycopg.connect(**(settings | address), autocommit=True, prepare_threshold=None) as server:
                yield server
        except psycopg.Error as error:
            raise StoreError(f"{self.place}: {_told(error, address)}") from None

    @contextmanager
    def _transaction(self, server: "psycopg.Connection") -> Iterator[None]:
        """A transaction in the schema: all of it, or nothing."""
        with server.transaction():
            server.execute(
                "SELECT set_config('search_path', %s, true), set_config('lock_timeout', %s, true)",
                [identifier(self.schema), f"{PATIENCE}s"],
            )
            yield


def _one(server: "psycopg.Connection", query: str) -> Any:
    found = server.execute(query).fetchone()
    return found[0] if found else None


def _held(server: "psycopg.Connection") -> set[Part]:
    if not _one(server, f"SELECT to_regclass('{STORE_PARTS}') IS NOT NULL"):
        return set()
    return {Part(*row) for row in server.execute(f"TABLE {STORE_PARTS}").fetchall()}


def _declared(columns: Mapping[str, str], before: str = "") -> str:
    return ", ".join(f"{before}{identifier(name)} {type_of(kind)}" for name, kind in columns.items())


def _delete(server: "psycopg.Connection", table: str, parts: Sequence[Part]) -> None:
    server.execute(f"DELETE FROM {identifier(table)} WHERE {condition_of(parts)}")
    _note_deleted(server, [table])
    server.cursor().executemany(
        f'DELETE FROM {STORE_PARTS} WHERE "table" = %s AND month IS NOT DISTINCT FROM %s',
        [(table, part.month) for part in parts],
    )


def _note_deleted(server: "psycopg.Connection", tables: Sequence[str]) -> None:
    server.execute(f"INSERT INTO {STORE_DELETED} SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", [list(tables)])


def _copy(
    server: "psycopg.Connection",
    published: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, str],
    parts: Sequence[Part],
) -> None:
    """Copy parts of a table as CSV: PostgreSQL reads each value as the type that its column has, where binary rows
    would have to be of that type to the byte."""
    values = ", ".join(f"{value_of(name, kind)} AS {identifier(name)}" for name, kind in columns.items())
    rows = published.sql(f"SELECT {values} FROM {identifier(table)} WHERE {condition_of(parts)}")
    named = ", ".join(map(identifier, columns))
    with server.cursor() as cursor:
        with cursor.copy(f"COPY {identifier(table)} ({named}) FROM STDIN (FORMAT csv)") as copy:
            for text in _ahead(map(_as_csv, rows.to_arrow_reader(BATCH))):
                copy.write(text)
        expected = sum(part.rows for part in parts)
        if cursor.rowcount != expected:
            raise StoreError(f"{table}: {cursor.rowcount} rows of {expected} have arrived. Run again.")
        cursor.executemany(f"INSERT INTO {STORE_PARTS} VALUES (%s, %s, %s, %s, %s)", [astuple(part) for part in parts])


def _as_csv(batch: pa.RecordBatch) -> memoryview:
    text = pa.BufferOutputStream()
    csv.write_csv(batch, text, csv.WriteOptions(include_header=False))
    return memoryview(text.getvalue())


def _ahead(texts: Iterator[memoryview]) -> Iterator[memoryview]:
    """The same, each made while the server takes the one before it."""
    with ThreadPoolExecutor(1) as maker:
        following = maker.submit(next, texts, None)
        while (text := following.result()) is not None:
            following = maker.submit(next, texts, None)
            yield text


def _define(server: "psycopg.Connection", definitions: Mapping[str, str]) -> list[str]:
    """Run those of the statements whose text has changed; returns what the server does not take of them, in sentences.
    A view may come before the one that it is built on."""
    known = dict(server.execute(f"SELECT name, digest FROM {STORE_DEFINITIONS}").fetchall())
    digests = {name: sha256(text.encode()).hexdigest() for name, text in definitions.items()}
    left, before = {name: "" for name in definitions if known.get(name) != digests[name]}, None
    while left and len(left) != before:
        before = len(left)
        left = {name: why for name in left if (why := _refusal(server, definitions[name])) is not None}
    server.cursor().executemany(
        f"INSERT INTO {STORE_DEFINITIONS} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET digest = excluded.digest",
        [(name, digest) for name, digest in digests.items() if known.get(name) != digest and name not in left],
    )
    return [f"{name} is left as it was there; PostgreSQL says: {why}." for name, why in left.items()]


def _refusal(server: "psycopg.Connection", statements: str) -> str | None:
    """Run the statements, all or none; returns why the server does not take them, None where it does."""
    import psycopg

    try:
        with server.transaction():
            server.execute(statements)
    except (psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.DataError) as error:
        return first_line(error)
    return None


_UNREACHED = (
    "See whether the server is up, can be reached from here, and knows the database, the user and the password. That "
    "can stand in the variable that publish.postgres names, in PGPASSWORD or in ~/.pgpass. "
)
_RIGHTS = "`segment-pipeline check` says which right is missing. "
_ADVICE = {
    "42501": _RIGHTS,  # insufficient privilege
    "3F000": _RIGHTS,  # a schema that the user may not look into is none
    "55P03": f"Another session has kept a table locked for {PATIENCE} seconds: pg_stat_activity says which. ",
    "53100": "Make room on the server's disk. ",
}
"""What to do, by PostgreSQL's code of the error; one that has none did not come from a server."""


def _told(error: "psycopg.Error", address: Mapping[str, Any]) -> str:
    """The error and what to do, without the password and without the rows that it is about."""
    said = first_line(error)
    if address.get("password"):
        said = said.replace(address["password"], "***")
    advice = _UNREACHED if error.sqlstate is None else _ADVICE.get(error.sqlstate, "")
    return f"{said}. {advice}{BROUGHT_LATER}"
