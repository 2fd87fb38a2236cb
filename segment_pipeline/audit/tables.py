"""The company's own segments beside these, and unusual customers as groups."""

from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, SEGMENT_ID, Column, Table

SEGMENT_AUDIT = Table(
    "segment_audit",
    "How many customers with a segment of the company's own lie in a segment of ours: the cross-table.",
    (
        MONTH,
        Column("their_segment", "VARCHAR", "", "The company's own segment, as its file has it."),
        SEGMENT_ID,
        Column("customers", "BIGINT", "customers", "Customers with both; pairs without any have no row."),
        Column("share_of_theirs", "DOUBLE", "0..1", "Share of the customers of their_segment who are in segment_id."),
        Column(
            "share_of_ours",
            "DOUBLE",
            "0..1",
            "Share of the customers of segment_id who have their_segment, of those with any.",
        ),
    ),
    ("month", "their_segment", "segment_id"),
)


SEGMENT_AUDIT_SUMMARY = Table(
    "segment_audit_summary",
    "What the comparison with the company's own segments says, figure by figure.",
    (
        MONTH,
        Column("metric", "VARCHAR", "", "What was measured; see docs/how-to/validation.md."),
        Column("their_segment", "VARCHAR", "", "The company's segment it concerns; NULL for all of them."),
        Column("value", "DOUBLE", "the metric's unit", "The figure."),
        Column("sentence", "VARCHAR", "", "The figure in plain words."),
    ),
    ("month", "metric", "their_segment"),
)


SEGMENT_AUDIT_CUSTOMERS = Table(
    "segment_audit_customers",
    "Customers whose label in the company's own segments is worth a look, and why.",
    (
        MONTH,
        Column("list", "VARCHAR", "", "most_mislabelled (at most 20) or top_revenue (at most 50)."),
        Column("place", "INTEGER", "", "Place in the list: 1 looks most mislabelled, or has the largest total_spend."),
        CUSTOMER_ID,
        Column("their_segment", "VARCHAR", "", "The company's own segment; NULL where it has none."),
        Column("expected_segment", "VARCHAR", "", "The company's segment that customers like this have most often."),
        Column("segment_id", "INTEGER", "", "Our segment with the largest membership probability."),
        Column("label_probability", "DOUBLE", "0..1", "Share of customers like this who have their_segment."),
        Column(
            "typical_probability",
            "DOUBLE",
            "0..1",
            "The same, on average over the customers of their_segment; far above label_probability is suspicious.",
        ),
        Column("expected_probability", "DOUBLE", "0..1", "Share of customers like this who have expected_segment."),
        Column("total_spend", "DOUBLE", "currency", "Spend in the window; NULL where the features do not tell it."),
        Column("reason", "VARCHAR", "", "In plain words, with figures in original units."),
    ),
    ("month", "list", "place"),
)


OUTLIER_GROUPS = Table(
    "outlier_groups",
    "A group of unusual customers: beyond quality.outlier_sd in a transformed feature, or atypical for the champion.",
    (
        MONTH,
        Column("group_id", "INTEGER", "", "1, 2, ... within the month; the largest first. Not stable over months."),
        Column(
            "kind",
            "VARCHAR",
            "",
            "repeated_values, many_tiny_orders, one_extreme_value, coherent, scattered or tail; see "
            "docs/how-to/validation.md.",
        ),
        Column("customers", "BIGINT", "customers", "Its customers."),
        Column("share", "DOUBLE", "0..1", "Share of the month's assigned customers."),
        Column("spend_share", "DOUBLE", "0..1", "Share of the month's spend; NULL where the features do not tell it."),
        Column(
            "cohesion",
            "DOUBLE",
            "at most 1",
            "1 less the group's variance over the population's, mean of the features: 1 is all alike, 0 or less as "
            "spread out as everybody.",
        ),
        Column("recommendation", "VARCHAR", "", "keep, cap or reject: what `outliers` of its feature had better be."),
        Column("sentence", "VARCHAR", "", "Size, profile and recommendation in plain words."),
    ),
    ("month", "group_id"),
)


OUTLIER_GROUP_PROFILES = Table(
    "outlier_group_profiles",
    "A feature of a group of unusual customers beside all customers, in original units.",
    (
        MONTH,
        Column("group_id", "INTEGER", "", "The group; see outlier_groups."),
        Column("feature", "VARCHAR", "", "The feature."),
        Column("unit", "VARCHAR", "", "The feature's unit."),
        Column("median", "DOUBLE", "the feature's unit", "Median of the group."),
        Column("population_median", "DOUBLE", "the feature's unit", "Median of all accepted customers."),
        Column(
            "z",
            "DOUBLE",
            "standard deviations",
            "Mean of the group, transformed, from that of all customers; NULL of a portrait feature.",
        ),
    ),
    ("month", "group_id", "feature"),
)


OUTLIER_CUSTOMERS = Table(
    "outlier_customers",
    "An unusual customer, and the group that it belongs to.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("group_id", "INTEGER", "", "Its group; see outlier_groups."),
        Column("farthest_feature", "VARCHAR", "", "The feature in which it lies farthest from the mean."),
        Column("z", "DOUBLE", "standard deviations", "How far, transformed; negative is below the mean."),
        Column("log_likelihood", "DOUBLE", "nats", "As in monthly_assignments; higher is more typical."),
    ),
    ("month", "customer_id"),
)


TABLES = (
    SEGMENT_AUDIT,
    SEGMENT_AUDIT_SUMMARY,
    SEGMENT_AUDIT_CUSTOMERS,
    OUTLIER_GROUPS,
    OUTLIER_GROUP_PROFILES,
    OUTLIER_CUSTOMERS,
)
