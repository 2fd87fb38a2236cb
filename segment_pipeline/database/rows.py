"""Rows in and out of the database: checked writes of model-sized tables, and reproducible samples of customers."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array, Texts
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.tables import Table

Row = dict[str, Any]


def feature_matrix(
    connection: duckdb.DuckDBPyConnection, table: str, month: date, names: Sequence[str], sample: int
) -> tuple[Texts, Array]:
    """Customer ids (n,) and their features (n, d) from `table`, ordered by customer id.

    Above `sample` customers, the sample that `drawn_sql` draws.
    """
    drawn = drawn_sql(connection, table, month, sample)
    columns = ", ".join(identifier(name) for name in names)
    found = connection.execute(
        f"SELECT customer_id, {columns} FROM {identifier(table)} WHERE month = ? AND {drawn} ORDER BY customer_id",
        [month],
    ).fetchnumpy()
    ids = np.asarray(found.pop("customer_id"))
    matrix = np.column_stack([np.asarray(np.ma.filled(found[name], np.nan), dtype=np.float64) for name in found])
    return ids, matrix


def drawn_sql(connection: duckdb.DuckDBPyConnection, table: str, month: date, sample: int) -> str:
    """Which customer_id belong to a reproducible sample of about `sample` of the month's, as SQL; `true` where there
    are not more than that."""
    total = connection.execute(f"SELECT count(*) FROM {identifier(table)} WHERE month = ?", [month]).fetchone()
    share = min(1.0, sample / max(1, total[0] if total else 1))
    return "true" if share == 1.0 else hashed_below("customer_id", share)


def hashed_below(customer_id: str, share: float) -> str:
    """A condition that draws about this share of the customers, always the same ones."""
    # the first 13 hex digits are 52 bits: exact as a double, and the same on every engine that has md5
    return f"CAST('0x' || left(md5({customer_id}), 13) AS BIGINT) < {int(share * 2**52)}"


def write_rows(
    connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: Sequence[Mapping[str, object]]
) -> int:
    """Replace the month of a model-sized table; returns the rows. They have all its columns but the month, or
    UnfitRowsError is raised, and nothing is touched."""
    for row in rows:
        table.require_fit(["month", *row])
    connection.execute(f"DELETE FROM {identifier(table.name)} WHERE month = ?", [month])
    return insert_rows(connection, table, [{**row, "month": month} for row in rows])


def insert_rows(connection: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> int:
    """Add rows to a model-sized table; returns how many. Raises UnfitRowsError unless each has its columns exactly."""
    for row in rows:
        table.require_fit(row)
    if rows:
        names = table.column_names
        # A statement with each value in it takes a third of a millisecond a row to be read; one with a list for each
        # column does not grow. Cast, as the values would otherwise agree on a type of their own.
        lists = ", ".join(f"unnest(CAST(? AS {column.type}[]))" for column in table.columns)
        connection.execute(
            f"INSERT INTO {identifier(table.name)} ({', '.join(map(identifier, names))}) SELECT {lists}",
            [[_plain(row[name]) for row in rows] for name in names],
        )
    return len(rows)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def without(record: object, *fields: str) -> Row:
    """A dataclass's fields as a row, less those, all of which it has, that its table does not take."""
    row = dict(vars(record))
    for field in fields:
        del row[field]
    return row


def exact_mean(expression: str) -> str:
    """Mean of a double over rows, the same bits in whatever order the threads deliver them (absolute error 5e-10)."""
    return f"CAST(sum(CAST({expression} AS DECIMAL(38, 9))) AS DOUBLE) / nullif(count({expression}), 0)"


def exact_sum(expression: str) -> str:
    """Sum of a double over rows, the same bits in whatever order the threads deliver them (absolute error 5e-5 a row:
    for money)."""
    return f"CAST(sum(CAST({expression} AS DECIMAL(38, 4))) AS DOUBLE)"


def read_rows(connection: duckdb.DuckDBPyConnection, query: str, *parameters: object) -> list[Row]:
    found = connection.execute(query, list(parameters))
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def is_there(connection: duckdb.DuckDBPyConnection, table: str, column: str | None = None) -> bool:
    """Whether the database has the table, and the column where one is named; a file that was published by an earlier
    version lacks later ones."""
    found = connection.execute(
        "SELECT 1 FROM duckdb_columns() WHERE table_name = $1 AND column_name = coalesce($2, column_name)",
        [table, column],
    ).fetchone()
    return found is not None


def read_columns(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, NDArray[np.generic]]:
    """The columns of a query by name; NULL is masked."""
    return dict(connection.execute(query).fetchnumpy())
