"""Who is forgotten or merged, and what that has taken out of closed months."""

from segment_pipeline.database.tables import MONTH, Column, Table

FORMER_CUSTOMERS = Table(
    "former_customers",
    "An id that the source may still deliver, and that is nobody's here: its customer is forgotten, or has another id.",
    (
        Column("id_hash", "VARCHAR", "", "SHA-256 of the salt and the id, in hex digits: the id itself is nowhere."),
        Column("salt", "VARCHAR", "", "The warehouse's salt, drawn at random once; the same in all rows."),
        Column("customer_id", "VARCHAR", "", "The id that the customer has now; NULL where it is forgotten."),
    ),
    ("id_hash",),
    published=False,
)


REMOVED_ROWS = Table(
    "removed_rows",
    "How many rows a closed month's table has lost to segment-pipeline forget and merge since the month was run: they "
    "still count in the figures of segments and of all customers, which stay as they were.",
    (
        MONTH,
        Column("table_name", "VARCHAR", "", "The table that had them."),
        Column(
            "state",
            "VARCHAR",
            "",
            "Segment id as text where the table has one; to_state where the rows are of movement; NULL elsewhere.",
        ),
        Column("why", "VARCHAR", "", "forgotten, or merged: the customer's other id has a row of its own."),
        Column("rows", "BIGINT", "rows", "How many."),
    ),
    ("month", "table_name", "state", "why"),
)


PEOPLE_OPERATIONS = Table(
    "people_operations",
    "What segment-pipeline forget and merge have done: when, to how many customers. Not to whom.",
    (
        Column("operation", "BIGINT", "", "The how-manieth it is."),
        Column("kind", "VARCHAR", "", "forget or merge."),
        Column("at", "TIMESTAMP", "UTC", "When, by the clock of that machine."),
        Column("customers", "BIGINT", "customers", "Customers it was asked for."),
        Column("known", "BIGINT", "customers", "Those of them of whom the warehouse had rows."),
        Column("rows", "BIGINT", "rows", "Rows of theirs that the warehouse had."),
        Column("finished", "BOOLEAN", "", "Whether files, reports and run history have followed."),
    ),
    ("operation",),
    published=False,
)


TABLES = (FORMER_CUSTOMERS, REMOVED_ROWS, PEOPLE_OPERATIONS)
