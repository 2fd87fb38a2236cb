"""What a month's source gives."""

from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, Column, Table
from segment_pipeline.sources.people import tables as people

RAW_CUSTOMERS = Table(
    "raw_customers",
    "A customer as the source shows it at the end of the month, before any rule is applied.",
    (
        MONTH,
        Column("customer_id", "VARCHAR", "", "The customer, as the source identifies it; NULL or blank is rejected."),
        Column("first_seen", "DATE", "date", "Day of the customer's first order in the source; NULL where unknown."),
        Column("copies", "BIGINT", "rows", "Source rows with this customer id this month; above 1 is a duplicate."),
        Column(
            "unreadable_amounts", "BIGINT", "order lines", "Order lines whose amount is missing or not a finite number."
        ),
        Column("missing_order_ids", "BIGINT", "order lines", "Order lines without an order id."),
        Column(
            "unreadable_values",
            "MAP(VARCHAR, VARCHAR)",
            "",
            "Features whose source text could not be read as a number, with that text.",
        ),
    ),
    ("month", "customer_id"),
    published=False,
    features=True,
)


CUSTOMER_CATEGORIES = Table(
    "customer_categories",
    "What a customer spent on a category in the window; the ten categories on which most is spent are told apart.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("category", "VARCHAR", "", "The category; (other) for all but the ten, (none) for lines without one."),
        Column("spend", "DECIMAL(38, 4)", "currency", "What the customer spent on it, net of refunds, at least 0."),
    ),
    ("month", "customer_id", "category"),
    published=False,
)


SOURCE_MONTHS = Table(
    "source_months",
    "What the source held of each month when a month that stands on it was run, so that a later change of it is found.",
    (
        MONTH,
        Column("feed", "VARCHAR", "", "order lines, a feed of source.events, or rows: ready-made customers."),
        Column("of_month", "DATE", "month", "The month in which the lines lie; of rows, the month itself."),
        Column("lines", "BIGINT", "rows", "Order lines, events or rows in it."),
        Column("customers", "BIGINT", "customers", "Customers who have one."),
        Column("amount", "DECIMAL(38, 4)", "currency", "What the order lines add up to; NULL of other feeds."),
        Column(
            "fingerprint", "VARCHAR", "", "Changes with any value, not with their order; DuckDB's version before it."
        ),
        Column("definition", "VARCHAR", "", "Hash of what the configuration says of the source: which lines count."),
    ),
    ("month", "feed", "of_month"),
    published=False,
)


TABLES = (RAW_CUSTOMERS, CUSTOMER_CATEGORIES, SOURCE_MONTHS, *people.TABLES)
