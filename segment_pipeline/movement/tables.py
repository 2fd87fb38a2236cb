"""What was seen of movement, beside chance."""

from segment_pipeline.database.tables import MONTH, Column, Table

MOVEMENT_REFERENCE = Table(
    "movement_reference",
    "A movement that was seen, beside what customers who do not change would show: the same customers, with the days "
    "between their orders and their baskets put in random order, seen through the same features, champion, memory and "
    "rules. Only orders before the end of the month take part. Nothing in the first month.",
    (
        MONTH,
        Column(
            "model_version",
            "INTEGER",
            "",
            "The champion that measures both months: that of the month before. NULL where it cannot, as a feature is "
            "gone.",
        ),
        Column(
            "measure",
            "VARCHAR",
            "",
            "moved: of who was in a segment in both months, who changed it. came_back: of who moved the month before "
            "and is in a segment now, who is where it had been; no row where the champion was replaced between the two "
            "moves. warning: of the month's customers, whom a rule names. transition: of who was in from_state, who is "
            "in to_state. base_shift: of the customers of moved, how many must have moved for the segments' sizes to "
            "change as they did, half the sum of the absolute changes: what moves everybody alike shows here, what "
            "moves single customers does not.",
        ),
        Column("from_state", "VARCHAR", "", "Segment id as text in the month before; NULL but for a transition."),
        Column("to_state", "VARCHAR", "", "Segment id as text in this month; NULL but for a transition."),
        Column("warning", "VARCHAR", "", "The rule; NULL but for a warning."),
        Column("customers", "BIGINT", "customers", "Of how many the figures are shares."),
        Column("observed_customers", "BIGINT", "customers", "How many of them did it."),
        Column("observed", "DOUBLE", "0..1", "The same as a share of customers."),
        Column("expected_by_chance", "DOUBLE", "0..1", "The share of customers who do not change; NULL with a reason."),
        Column(
            "chance_low",
            "DOUBLE",
            "0..1",
            "Lower end of the interval in which 80 % of such months lie where chance alone is at work, by the number "
            "of customers and that of the sample; times customers, it is how many. NULL with a reason.",
        ),
        Column("chance_high", "DOUBLE", "0..1", "Upper end."),
        Column(
            "beside_chance",
            "VARCHAR",
            "",
            "above, within or below the interval; one in ten is above by chance alone, and one in ten below.",
        ),
        Column(
            "sample",
            "BIGINT",
            "customers",
            "On how many customers in random order that stands, of a sample drawn by hash: of small bases several "
            "copies of each. NULL with a reason.",
        ),
        Column("reason", "VARCHAR", "", "Why chance is not known, in a sentence; NULL where it is."),
    ),
    ("month", "measure", "warning", "from_state", "to_state"),
)

TABLES = (MOVEMENT_REFERENCE,)
