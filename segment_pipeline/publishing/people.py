"""A person's rows in every table of the warehouse: taken out, or given to the id that the person has now.

What was said of a closed month stands: figures of segments and of all customers are not touched, and how many rows a
table has lost is kept beside them (`removed_rows`), so that tables that are compared still agree. Which tables hold
customers follows from their declarations.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.rows import insert_rows
from segment_pipeline.database.tables import Table
from segment_pipeline.errors import PipelineError
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.over_time.contents import read_contents, settle_departure, shift_contents
from segment_pipeline.sources.people.delivered import hashed
from segment_pipeline.sources.people.tables import FORMER_CUSTOMERS, PEOPLE_OPERATIONS, REMOVED_ROWS
from segment_pipeline.sources.reconciliation import count_as_former
from segment_pipeline.sources.tables import CUSTOMER_LINES, FOLDED_ORDERS, RAW_CUSTOMERS

TABLES_OF_PEOPLE = tuple(table for table in TABLES if {"month", "customer_id"} <= set(table.column_names))
"""Every table with a row about a customer of a month."""

PEOPLE = "people"
"""The temporary table with the ids that an operation is about."""

FORGOTTEN, MERGED = "forgotten", "merged"


class PeopleError(PipelineError):
    """What was asked for cannot be done to these customers; nothing was changed."""


@dataclass(frozen=True)
class Operation:
    """What was done. ids : of which nothing is to be left. known : how many of them have rows. rows : how many, of
    which `removed` are gone. before : ids of which it was done before."""

    ids: Sequence[str]
    known: int
    rows: int
    removed: int
    before: Sequence[str] = ()


def forget(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> Operation:
    """Take all rows of these customers out of the warehouse, and remember salted hashes of their ids: those that were
    merged with them as well. Call it inside a transaction, after `leave_source`. Raises PeopleError where one has
    another id now.
    """
    former = name_people(connection, ids)
    for old, now in former.items():
        if now is not None:
            raise PeopleError(
                f"{old} has been {now} since they were merged; nothing was forgotten. Name {now} instead."
            )
    known, rows = _count(connection)
    removed = sum(
        _remove(connection, table, f"customer_id IN (SELECT customer_id FROM {PEOPLE})", FORGOTTEN)
        for table in TABLES_OF_PEOPLE
    )
    (folded,) = connection.execute(
        f"DELETE FROM {FOLDED_ORDERS.name} WHERE customer_id IN (SELECT customer_id FROM {PEOPLE})"
    ).fetchone() or (0,)
    connection.execute(
        f"UPDATE {FORMER_CUSTOMERS.name} SET customer_id = NULL WHERE customer_id IN (SELECT customer_id FROM {PEOPLE})"
    )
    _remember(connection, None)
    return Operation(list(dict.fromkeys(ids)), known, rows, removed + folded, list(former))


def leave_source(connection: duckdb.DuckDBPyConnection, config: Config, ids: Sequence[str]) -> bool:
    """Take what the source holds of these customers from what closed months stand on, so that their going is no change
    of the source; returns whether they had gone before, and that is settled. Call it before they are forgotten, inside
    the transaction. Raises SourceError."""
    name_people(connection, ids)
    shift_contents(connection, config, PEOPLE, -1)
    return settle_departure(connection, config, PEOPLE)


def merge(connection: duckdb.DuckDBPyConnection, config: Config, old: str, new: str) -> Operation:
    """Make what the warehouse has of `old` that of `new`, and remember that the source may go on to say `old`. Call it
    inside a transaction.

    In a month in which `new` is a customer already, or has a row of the same kind, that row stays and the one of `old`
    goes: it counts among `removed_rows`. Raises PeopleError where one of them is forgotten, or merged with a third, and
    SourceError.
    """
    if old == new:
        raise PeopleError(f"{old} and {new} are the same id; name the id that is no more, and that of today.")
    former = name_people(connection, [old, new])
    if former == {old: new}:
        return Operation([old], 0, 0, 0, [old])
    if former:
        one, now = next(iter(former.items()))
        raise PeopleError(
            f"{one} {'is forgotten' if now is None else f'has been {now} since they were merged'}; nothing was merged."
        )
    _leave_source_for(connection, config, old, new)
    name_people(connection, [old])
    known, rows = _count(connection)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE taken AS
        SELECT DISTINCT month FROM {RAW_CUSTOMERS.name} WHERE customer_id = {literal(new)}
    """)
    removed = sum(_hand_over(connection, table, old, new, "FROM taken") for table in TABLES_OF_PEOPLE)
    for table in (FOLDED_ORDERS, FORMER_CUSTOMERS):
        connection.execute(f"UPDATE {table.name} SET customer_id = ? WHERE customer_id = ?", [new, old])
    _remember(connection, new)
    name_people(connection, [new])
    shift_contents(connection, config, PEOPLE, 1)
    return Operation([old], known, rows, removed)


def name_people(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, str | None]:
    """Fill PEOPLE with the ids; returns which are nobody's already, with what they are now, None where forgotten."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {PEOPLE} AS SELECT DISTINCT unnest(?) AS customer_id", [list(ids)]
    )
    found = connection.execute(f"""
        SELECT p.customer_id, f.customer_id FROM {PEOPLE} AS p
        JOIN {FORMER_CUSTOMERS.name} AS f ON f.id_hash = {hashed("p.customer_id")} ORDER BY 1
    """).fetchall()
    return dict(found)


def record(connection: duckdb.DuckDBPyConnection, kind: str, done: Operation) -> None:
    """Write down that it was done: when, and to how many; not to whom."""
    before = connection.execute(f"SELECT count(*) FROM {PEOPLE_OPERATIONS.name}").fetchone()
    row = {
        "operation": 1 + (before[0] if before else 0),
        "kind": kind,
        "at": datetime.now(UTC).replace(tzinfo=None),
        "customers": len(done.ids),
        "known": done.known,
        "rows": done.rows,
        "finished": False,
    }
    insert_rows(connection, PEOPLE_OPERATIONS, [row])


def record_end(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Write down that the files have followed; an operation that was killed is finished by the next of its kind."""
    connection.execute(f"UPDATE {PEOPLE_OPERATIONS.name} SET finished = true WHERE kind = ?", [kind])


def unfinished(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The kinds of operations that were begun and have not come to their end."""
    found = connection.execute(
        f"SELECT DISTINCT kind FROM {PEOPLE_OPERATIONS.name} WHERE NOT finished ORDER BY kind"
    ).fetchall()
    return [row[0] for row in found]


def _count(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many of PEOPLE have rows, and how many rows."""
    theirs = " UNION ALL ".join(
        f"SELECT customer_id FROM {identifier(table.name)} SEMI JOIN {PEOPLE} USING (customer_id)"
        for table in (*TABLES_OF_PEOPLE, FOLDED_ORDERS)
    )
    found = connection.execute(f"SELECT count(DISTINCT customer_id), count(*) FROM ({theirs})").fetchone()
    return found or (0, 0)


def _leave_source_for(connection: duckdb.DuckDBPyConnection, config: Config, old: str, new: str) -> None:
    """Take what the source holds of both from what closed months stand on. A source that knows `old` no more, and in
    those months knew no `new`, has given its lines to `new` already."""
    name_people(connection, [old])
    read_contents(connection, config, among=PEOPLE)
    delivered = connection.execute("SELECT 1 FROM source_contents").fetchone()
    known = connection.execute(f"SELECT 1 FROM {RAW_CUSTOMERS.name} WHERE customer_id = ?", [new]).fetchone()
    name_people(connection, [new] if delivered is None and known is None else [old, new])
    shift_contents(connection, config, PEOPLE, -1, old if delivered is None and known is None else None)


def _remove(connection: duckdb.DuckDBPyConnection, table: Table, condition: str, why: str) -> int:
    """Delete these rows of a table, and count them beside its months; returns how many."""
    if table is CUSTOMER_LINES:
        count_as_former(connection, condition)
    name = identifier(table.name)
    state = next((column for column in ("to_state", "segment_id") if column in table.column_names), "NULL")
    connection.execute(f"""
        MERGE INTO {REMOVED_ROWS.name} AS r USING (
            SELECT month, {literal(table.name)} AS table_name, CAST({state} AS VARCHAR) AS state,
                {literal(why)} AS why, count(*) AS rows
            FROM {name} WHERE {condition} GROUP BY ALL
        ) AS n ON r.month = n.month AND r.table_name = n.table_name AND r.state IS NOT DISTINCT FROM n.state
            AND r.why = n.why
        WHEN MATCHED THEN UPDATE SET rows = r.rows + n.rows
        WHEN NOT MATCHED THEN INSERT (month, table_name, state, why, rows)
            VALUES (n.month, n.table_name, n.state, n.why, n.rows)
    """)
    deleted = connection.execute(f"DELETE FROM {name} WHERE {condition}").fetchone()
    return int(deleted[0]) if deleted else 0


def _hand_over(connection: duckdb.DuckDBPyConnection, table: Table, old: str, new: str, taken: str) -> int:
    """Give the rows of `old` to `new`, but for those of months that are `taken`, as SQL, and of which `new` has a row;
    returns how many these are."""
    name, of_old = identifier(table.name), f"customer_id = {literal(old)}"
    has_row = f"SELECT month FROM {name} WHERE customer_id = {literal(new)}"
    removed = _remove(connection, table, f"{of_old} AND (month IN ({has_row}) OR month IN ({taken}))", MERGED)
    connection.execute(f"UPDATE {name} SET customer_id = {literal(new)} WHERE {of_old}")
    return removed


def _remember(connection: duckdb.DuckDBPyConnection, now: str | None) -> None:
    """Keep the hashes of PEOPLE. now : the id that they have; None where they are nobody."""
    (salt,) = connection.execute(f"SELECT min(salt) FROM {FORMER_CUSTOMERS.name}").fetchone() or (None,)
    connection.execute(
        f"""
        INSERT INTO {FORMER_CUSTOMERS.name} (id_hash, salt, customer_id)
        SELECT sha256($salt || p.customer_id), $salt, $now FROM {PEOPLE} AS p
        ANTI JOIN {FORMER_CUSTOMERS.name} AS f ON f.id_hash = sha256($salt || p.customer_id)
        """,
        {"salt": salt or secrets.token_hex(16), "now": now},
    )
