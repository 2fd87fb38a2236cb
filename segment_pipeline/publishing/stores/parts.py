"""What a store is to hold, told by the published file: each table in parts, a month each, with a fingerprint.

A store keeps the parts that it has. It is behind where the file's are others, whatever has made them so: a month that
is new or was run again, a customer who is forgotten or has another id, a column that a newer version adds.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import ClassVar, Protocol

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.store import month_literal
from segment_pipeline.errors import PipelineError
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES
from segment_pipeline.publishing.draft import COPIED_TABLES, parts_sql
from segment_pipeline.publishing.tables import PUBLISHED_PARTS

STORE_NAMES = frozenset({"published_postgres", "published_parquet"})
"""The assets that fill a store."""


BROUGHT_LATER = "Then run again: what is published stands in segments.duckdb, and is brought here."
"""What to do when a month did not get into a store."""


class StoreError(PipelineError):
    """A store could not be filled, or looked at. It is as it was, and the published file stands."""


@dataclass(frozen=True)
class Part:
    """The rows of a table of one month, by `month_column`; of a table without one, both None, all. `fingerprint` is
    that of the rows, in any order, by DuckDB's hash."""

    table: str
    month_column: str | None
    month: date | None
    rows: int
    fingerprint: str


def by_table(parts: Collection[Part]) -> Iterator[tuple[str, list[Part]]]:
    """The parts of each table, from the first month to the last."""
    ordered = sorted(parts, key=lambda part: (part.table, part.month or date.min))
    for table, its in groupby(ordered, key=lambda part: part.table):
        yield table, list(its)


def condition_of(parts: Sequence[Part]) -> str:
    """Which rows of their table these parts are, in SQL."""
    if parts[0].month_column is None:
        return "true"
    column = identifier(parts[0].month_column)
    months = ", ".join(month_literal(part.month) for part in parts if part.month is not None)
    conditions = [f"{column} IN ({months})"] if months else []
    if any(part.month is None for part in parts):
        conditions.append(f"{column} IS NULL")
    return f"({' OR '.join(conditions)})"


class Store(Protocol):
    """A copy of the published file that others read."""

    asset: ClassVar[str]
    """The asset that fills it."""

    @property
    def config(self) -> Config:
        """What names it."""

    @property
    def place(self) -> str:
        """Where it is, for people: no password."""

    def parts(self) -> set[Part]:
        """What it holds. Raises StoreError."""

    def bring(self, published: duckdb.DuckDBPyConnection, wanted: set[Part]) -> list[str]:
        """Hold what is wanted and nothing else, or go on with what it held: for a reader in one step. Returns what it
        cannot hold, in sentences. Raises StoreError."""

    def clear(self) -> None:
        """Leave nothing of what was replaced, where that would lie about. Raises StoreError."""

    def problems(self) -> list[str]:
        """What keeps it from being filled, in sentences; nothing is written."""


def parts_of(published: duckdb.DuckDBPyConnection) -> set[Part]:
    """Every part of the published file, as the file tells of it, or, where it does not, as it is: what tells of the
    file itself, and all that an older version has made."""
    names = {row[0] for row in published.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    told = COPIED_TABLES if PUBLISHED_PARTS.name in names else ()
    queries = [parts_sql(table) for table in PUBLISHED_TABLES if table.name in names and table not in told]
    if told:
        queries.append(f"SELECT {', '.join(PUBLISHED_PARTS.column_names)} FROM {PUBLISHED_PARTS.name}")
    columns = {table.name: table.month_column for table in PUBLISHED_TABLES if table.month_column in table.column_names}
    rows = published.execute(" UNION ALL ".join(queries)).fetchall()
    return {Part(table, columns.get(table), *found) for table, *found in rows}
