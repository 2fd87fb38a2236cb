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
from segment_pipeline.sources.over_time.contents import shift_contents
from segment_pipeline.sources.people.delivered import hashed
from segment_pipeline.sources.people.tables import FORMER_CUSTOMERS, PEOPLE_OPERATIONS, REMOVED_ROWS
from segment_pipeline.sources.tables import RAW_CUSTOMERS

TABLES_OF_PEOPLE = tuple(
    table for table in TABLES if "customer_id" in table.column_names and table is not FORMER_CUSTOMERS
)
"""Every table with a row about a customer; each has a month, too."""

PEOPLE = "people"
"""The temporary table with the ids that an operation is about."""

FORGOTTEN, MERGED = "forgotten", "merged"


class PeopleError(PipelineError):
    """What was asked for cannot be done to these customers; nothing was changed."""


@dataclass(frozen=True)
class Operation:
    """What an operation did. ids : of whom files may tell, also those that the people asked for have now. customers :
    asked for. known : those of them with rows. rows : theirs, of which `removed` are gone. former : ids that were
    forgotten or merged before."""

    ids: Sequence[str]
    customers: int
    known: int
    rows: int
    removed: int
    former: Sequence[str] = ()


def forget(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> Operation:
    """Take all rows of these customers out of the warehouse, and remember salted hashes of their ids. Call it inside a
    transaction, when `shift_contents` has taken them from what closed months stand on.

    An id that was merged stands for the person, whose id of today is forgotten with it; and so are the person's others.
    """
    asked = list(dict.fromkeys(ids))
    former = name_people(connection, asked)
    known, rows = _count(connection)
    removed = 0
    for table in TABLES_OF_PEOPLE:
        theirs = f"customer_id IN (SELECT customer_id FROM {PEOPLE})"
        removed += _remove(connection, table, theirs, FORGOTTEN)
    connection.execute(
        f"UPDATE {FORMER_CUSTOMERS.name} SET customer_id = NULL WHERE customer_id IN (SELECT customer_id FROM {PEOPLE})"
    )
    _remember(connection, f"SELECT customer_id, NULL FROM {PEOPLE}")
    everybody = [row[0] for row in connection.execute(f"SELECT customer_id FROM {PEOPLE} ORDER BY 1").fetchall()]
    return Operation(everybody, len(asked), known, rows, removed, former)


def merge(connection: duckdb.DuckDBPyConnection, config: Config, old: str, new: str) -> Operation:
    """Make what the warehouse has of `old` that of `new`, and remember that the source may go on to say `old`. Call it
    inside a transaction.

    In a month in which `new` is a customer already, or has a row of the same kind, that row stays and the one of `old`
    goes: it counts among `removed_rows`. Raises PeopleError where one of them is forgotten or merged already, and
    SourceError.
    """
    if old == new:
        raise PeopleError(f"{old} and {new} are the same id: there is nothing to merge.")
    for one in name_people(connection, [old, new]):
        raise PeopleError(
            f"{one} was forgotten or merged before, and is no customer any more: nothing was merged. Name the id that "
            "the person has now."
        )
    shift_contents(connection, config, PEOPLE, -1)
    name_people(connection, [old])
    known, rows = _count(connection)
    removed = sum(_hand_over(connection, table, old, new) for table in TABLES_OF_PEOPLE)
    connection.execute(f"UPDATE {FORMER_CUSTOMERS.name} SET customer_id = ? WHERE customer_id = ?", [new, old])
    _remember(connection, f"SELECT customer_id, {literal(new)} FROM {PEOPLE}")
    name_people(connection, [new])
    shift_contents(connection, config, PEOPLE, 1)
    return Operation([old], 1, known, rows, removed)


def name_people(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> list[str]:
    """Fill PEOPLE with the ids and those that these people have now; returns the ids that are former ones already."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {PEOPLE} (customer_id VARCHAR)")
    connection.execute(f"INSERT INTO {PEOPLE} SELECT DISTINCT unnest(?)", [list(ids)])
    found = connection.execute(f"""
        SELECT p.customer_id, f.customer_id FROM {PEOPLE} AS p
        JOIN {FORMER_CUSTOMERS.name} AS f ON f.id_hash = {hashed("p.customer_id")} ORDER BY 1
    """).fetchall()
    now = sorted({now for _, now in found if now is not None} - set(ids))
    if now:
        connection.execute(f"INSERT INTO {PEOPLE} SELECT unnest(?)", [now])
    return [former for former, _ in found]


def record(connection: duckdb.DuckDBPyConnection, kind: str, done: Operation) -> None:
    """Write down that it was done: when, and to how many; not to whom."""
    (before,) = connection.execute(f"SELECT coalesce(max(operation), 0) FROM {PEOPLE_OPERATIONS.name}").fetchone() or (
        0,
    )
    row = {
        "operation": before + 1,
        "kind": kind,
        "at": datetime.now(UTC).replace(tzinfo=None),
        "customers": done.customers,
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
        for table in TABLES_OF_PEOPLE
    )
    found = connection.execute(f"SELECT count(DISTINCT customer_id), count(*) FROM ({theirs})").fetchone()
    return found or (0, 0)


def _remove(connection: duckdb.DuckDBPyConnection, table: Table, condition: str, why: str) -> int:
    """Delete these rows of a table, and count them beside its months; returns how many."""
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


def _hand_over(connection: duckdb.DuckDBPyConnection, table: Table, old: str, new: str) -> int:
    """Give the rows of `old` to `new`, but for those that go; returns how many these are."""
    name, of_old = identifier(table.name), f"customer_id = {literal(old)}"
    taken = " UNION ALL ".join(
        f"SELECT month FROM {identifier(other)} WHERE customer_id = {literal(new)}"
        for other in dict.fromkeys((RAW_CUSTOMERS.name, table.name))
    )
    removed = _remove(connection, table, f"{of_old} AND month IN ({taken})", MERGED)
    connection.execute(f"UPDATE {name} SET customer_id = {literal(new)} WHERE {of_old}")
    return removed


def _remember(connection: duckdb.DuckDBPyConnection, people: str) -> None:
    """Keep the hashes of ids. people : a query of the id and of what it is now, NULL where it is nobody."""
    salt = connection.execute(f"SELECT min(salt) FROM {FORMER_CUSTOMERS.name}").fetchone()
    kept = salt[0] if salt and salt[0] is not None else secrets.token_hex(16)
    connection.execute(
        f"""
        INSERT INTO {FORMER_CUSTOMERS.name} (id_hash, salt, customer_id)
        SELECT sha256($salt || p.id), $salt, p.now FROM ({people}) AS p(id, now)
        ANTI JOIN {FORMER_CUSTOMERS.name} AS f ON f.id_hash = sha256($salt || p.id)
        """,
        {"salt": kept},
    )
