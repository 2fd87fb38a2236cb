"""The ids of a source's rows as the customers of this pipeline: who is forgotten is not among them, and who was merged
has the id of today.

Every place where the source's rows become customers asks here. Where nobody was ever forgotten or merged, the rows are
read as they are, and nothing is paid for it.
"""

from dataclasses import dataclass, replace
from datetime import date

import duckdb

from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import is_there
from segment_pipeline.sources.expressions import reading_failed
from segment_pipeline.sources.files import Relation
from segment_pipeline.sources.people.tables import FORMER_CUSTOMERS, REMOVED_ROWS

# called as no file calls its own: expressions over a row are not to find two of a name
_FORMER, _DELIVERED, _NOW, _FORGOTTEN = map(
    identifier, ("(former ids)", "(delivered id)", "(id of today)", "(is forgotten)")
)


@dataclass(frozen=True)
class Delivered:
    """The rows of a relation, called `source`, with their customers.

    text : the id as the source has it, as SQL over a row. table : a temporary table with the ids among them that are
    former ones, and what they are now; None where there is none. forgotten : how many of them are nobody's. reversed :
    whether the rows are those that would be left out.
    """

    relation: str
    text: str
    table: str | None = None
    forgotten: int = 0
    reversed: bool = False

    @property
    def customer_id(self) -> str:
        """The customer's id, as SQL over a row of `rows`."""
        return self.text if self.table is None else f"coalesce({_FORMER}.{_NOW}, {self.text})"

    def left_out(self) -> "Delivered | None":
        """The rows that are not among `rows`, under the ids that they have; None where there can be none."""
        return None if self.table is None else replace(self, reversed=True)

    def rows(self, joins: str = "") -> str:
        """What stands behind FROM. joins : more of it, over a row of the source."""
        if self.table is None:
            return f"{self.relation} AS source{joins}"
        kept = f"{_FORMER}.{_DELIVERED} IS NULL OR {_FORMER}.{_NOW} IS NOT NULL"
        return (
            f"{self.relation} AS source{joins} "
            f"LEFT JOIN {self.table} AS {_FORMER} ON {_FORMER}.{_DELIVERED} = {self.text} "
            f"WHERE {f'NOT ({kept})' if self.reversed else kept}"
        )


def delivered(
    connection: duckdb.DuckDBPyConnection, source: Relation, text: str, name: str, *, row_each: bool = False
) -> Delivered:
    """The source's rows with their customers. text : see Delivered. name : what is known of its former ids stays in a
    temporary table that is called after it. row_each : a row is a whole customer, so of a person's ids one counts: that
    of today where it is delivered, else the smallest.

    The ids are read once, if anybody was ever forgotten or merged. Raises SourceError where they cannot be.
    """
    if not _anybody(connection):
        return Delivered(source.sql, text)
    table = identifier(f"former ids of {name}")
    try:
        _find_former(connection, source, text, table)
    except duckdb.Error as error:
        source.refuse_changed()
        raise reading_failed(source, "customers", error) from error
    if row_each:
        connection.execute(f"""
            UPDATE {table} SET {_NOW} = NULL WHERE {_NOW} IN (SELECT {text} FROM {source.sql} AS source)
            OR {_DELIVERED} <> (SELECT min(o.{_DELIVERED}) FROM {table} AS o WHERE o.{_NOW} = {table}.{_NOW})
        """)
    found, forgotten = connection.execute(
        f"SELECT count(*), count(*) FILTER ({_FORGOTTEN}) FROM {table}"
    ).fetchone() or (0, 0)
    return Delivered(source.sql, text, table if found else None, forgotten)


def _find_former(connection: duckdb.DuckDBPyConnection, source: Relation, text: str, table: str) -> None:
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {table} AS
        SELECT d.id AS {_DELIVERED}, f.customer_id AS {_NOW}, f.customer_id IS NULL AS {_FORGOTTEN}
        FROM (SELECT DISTINCT {text} AS id FROM {source.sql} AS source) AS d
        JOIN {FORMER_CUSTOMERS.name} AS f ON f.id_hash = {hashed("d.id")}
    """)


def hashed(customer_id: str, former: str = FORMER_CUSTOMERS.name) -> str:
    """What is kept of an id, as SQL, where FORMER_CUSTOMERS has a row. former : that table, in full where it is of
    another database than the current one."""
    return f"sha256((SELECT min(salt) FROM {former}) || {customer_id})"


def made_anew(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Forget how many rows the month has lost: its customers are made anew, from who is there."""
    connection.execute(f"DELETE FROM {REMOVED_ROWS.name} WHERE month = ?", [month])


def _anybody(connection: duckdb.DuckDBPyConnection) -> bool:
    if not is_there(connection, FORMER_CUSTOMERS.name):  # a source can be looked at without a warehouse
        return False
    return connection.execute(f"SELECT 1 FROM {FORMER_CUSTOMERS.name} LIMIT 1").fetchone() is not None
