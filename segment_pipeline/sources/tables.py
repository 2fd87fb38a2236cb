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
        Column("spend", "DECIMAL(38,4)", "currency", "What the customer spent on it, net of refunds, at least 0."),
    ),
    ("month", "customer_id", "category"),
    published=False,
)


_LINES = Column(
    "lines", "BIGINT", "order lines", "How many lines they are; rows, where the source has one per customer."
)
_MONEY = Column(
    "money",
    "DECIMAL(38,4)",
    "currency",
    "What their readable amounts come to, net of refunds; of ready-made customers what these spent. NULL where no "
    "amount can be read, or nothing says what is spent.",
)
_BELOW_ZERO = (
    Column(
        "below_zero",
        "BIGINT",
        "order lines",
        "How many of them have an amount below 0: what came back, or was put right. NULL where nothing says what is "
        "spent.",
    ),
    Column("below_zero_money", "DECIMAL(38,4)", "currency", "What these come to, which is part of the money."),
)
_PART = (
    _LINES,
    Column(
        "orders",
        "BIGINT",
        "orders",
        "Orders that have a line among them; an order may have lines in several parts. NULL of ready-made customers.",
    ),
    Column("customers", "BIGINT", "customers", "Customers who have a line among them; nobody is one."),
    _MONEY,
    Column(
        "without_amount",
        "BIGINT",
        "order lines",
        "How many of them are not in the money, because their amount is missing or no number. NULL where nothing says "
        "what is spent.",
    ),
    *_BELOW_ZERO,
)

SOURCE_PARTS = Table(
    "source_parts",
    "The lines of the source by why they are left out, before the customers are judged.",
    (MONTH, Column("reason", "VARCHAR", "", "Why they are left out; used of those of known customers."), *_PART),
    ("month", "reason"),
    published=False,
)


CUSTOMER_LINES = Table(
    "customer_lines",
    "The lines of the window that a customer's features are made of, and those of them that lie in the month itself.",
    (
        MONTH,
        CUSTOMER_ID,
        _LINES,
        Column("orders", "BIGINT", "orders", "Their orders; NULL of ready-made customers."),
        _MONEY,
        *_BELOW_ZERO,
        Column(
            "month_orders",
            "BIGINT",
            "orders",
            "Orders of the month alone; NULL of ready-made customers, and in months of before there was this column.",
        ),
        Column("month_money", "DECIMAL(38,4)", "currency", "What these come to, net of refunds; NULL likewise."),
        Column("first_seen", "DATE", "date", "Day of the customer's first order in the source; NULL where unknown."),
    ),
    ("month", "customer_id"),
)


SOURCE_RECONCILIATION = Table(
    "source_reconciliation",
    "What became of each line of the source: used, or left out for the first reason that holds of it. The parts of a "
    "month add up to the source as the month has read it, in lines and in money.",
    (
        MONTH,
        Column("place", "INTEGER", "", "0 of what is used; then the order in which the reasons are asked."),
        Column(
            "reason",
            "VARCHAR",
            "",
            "used; forgotten or merged (see `segment-pipeline forget`); before the window, after the month (of other "
            "months); left out by where, undecided by where (it is neither true nor false of them), no readable date, "
            "later than today (when the month was run), no customer (no id, or a blank one), customer repeated "
            "(several rows of one), no readable amount, customer rejected "
            "(see rejected_customers).",
        ),
        Column("is_used", "BOOLEAN", "", "Whether the month's features are made of them."),
        *_PART,
    ),
    ("month", "place"),
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
        Column("amount", "DECIMAL(38,4)", "currency", "What the order lines add up to; NULL of other feeds."),
        Column(
            "fingerprint", "VARCHAR", "", "Changes with any value, not with their order; DuckDB's version before it."
        ),
        Column("definition", "VARCHAR", "", "Hash of what the configuration says of the source: which lines count."),
    ),
    ("month", "feed", "of_month"),
    published=False,
)


FOLDED_ORDERS = Table(
    "folded_orders",
    "An order's lines of one day, folded: what a month reads of the past instead of the lines.",
    (
        Column("of_month", "DATE", "month", "The month in which the day lies."),
        CUSTOMER_ID,
        Column("order_id", "UBIGINT", "", "Stands for the order: a hash of its id; NULL where the lines have none."),
        Column("ordered_at", "TIMESTAMP", "", "The first of the lines."),
        Column("amount", "DECIMAL(38,4)", "currency", "What their readable amounts come to; NULL where none is."),
        Column("products", "BIGINT", "products", "Different products among them."),
        Column("unreadable_amounts", "BIGINT", "order lines", "Lines whose amount is missing or not a finite number."),
        Column("missing_order_ids", "BIGINT", "order lines", "Lines without an order id: all of them, or none."),
        _LINES,
        *_BELOW_ZERO,
    ),
    ("of_month", "customer_id", "order_id", "ordered_at"),
    published=False,
    month_column="of_month",
)


FOLDED_MONTHS = Table(
    "folded_months",
    "What the source held of a month when its lines were folded into folded_orders, which stand while it holds that.",
    tuple(column for column in SOURCE_MONTHS.columns if column is not MONTH),
    ("of_month",),
    published=False,
    month_column="of_month",
)


TABLES = (
    *(RAW_CUSTOMERS, CUSTOMER_CATEGORIES, SOURCE_PARTS, CUSTOMER_LINES, SOURCE_MONTHS, SOURCE_RECONCILIATION),
    *(FOLDED_ORDERS, FOLDED_MONTHS),
    *people.TABLES,
)
