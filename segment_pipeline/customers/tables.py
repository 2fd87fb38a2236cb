"""Accepted and rejected customers, and the space in which the mixture sees them."""

from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, Column, Table

VALIDATED_FEATURES = Table(
    "validated_features",
    "An accepted customer with its features in original units.",
    (MONTH, CUSTOMER_ID),
    ("month", "customer_id"),
    features=True,
)


PAST_FEATURES = Table(
    "past_features",
    "A customer as the source shows it at the end of a month before the first one, for the memory of the first.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("first_seen", "DATE", "date", "Day of the customer's first order in the source; NULL where unknown."),
        Column("rejected", "BOOLEAN", "", "Whether the row breaks the data contract: it then has no features."),
    ),
    ("month", "customer_id"),
    published=False,
    features=True,
)


REJECTED_CUSTOMERS = Table(
    "rejected_customers",
    "A source row that breaks the data contract, with every reason and its raw values.",
    (
        MONTH,
        Column("customer_id", "VARCHAR", "", "The customer; NULL where the source has none."),
        Column("reasons", "VARCHAR[]", "", "All reason codes, such as missing_customer_id or below_minimum:orders."),
        Column("raw", "JSON", "", "The row's values as they were read: numbers as doubles, the rest as text."),
    ),
    ("month", "customer_id"),
)


FEATURE_LIMITS = Table(
    "feature_limits",
    "Which values of a feature a month accepted, and where its outliers ended: what score.sql does with new customers. "
    "Of a portrait feature, which plays no part in scoring, those that the profiles are made of: others are left out.",
    (
        MONTH,
        Column("feature", "VARCHAR", "", "The feature."),
        Column(
            "use",
            "VARCHAR",
            "",
            "model: segments are made from it; portrait: it only describes them. NULL before there were portraits.",
        ),
        Column("unit", "VARCHAR", "", "The feature's unit."),
        Column("meaning", "VARCHAR", "", "What the feature says of a customer, in a sentence."),
        Column("better", "VARCHAR", "", "higher or lower: which values are good news. NULL where nobody has said so."),
        Column(
            "definition",
            "VARCHAR",
            "",
            "How the user's file has it computed, of a feature of their own; NULL of any other. Under one name it may "
            "not change.",
        ),
        Column("category", "VARCHAR", "", "The category that it is about; NULL of a feature that is about none."),
        Column("lowest", "DOUBLE", "the feature's unit", "Values below it are rejected; NULL when there is no limit."),
        Column("highest", "DOUBLE", "the feature's unit", "Values above it are rejected; NULL when there is no limit."),
        Column("outliers", "VARCHAR", "", "keep, cap or reject: what happened to values beyond the next two."),
        Column(
            "outliers_below",
            "DOUBLE",
            "the feature's unit",
            "Values below it were outliers; NULL where outliers are kept, or the feature did not vary.",
        ),
        Column("outliers_above", "DOUBLE", "the feature's unit", "Values above it were outliers; NULL likewise."),
        Column(
            "window_months",
            "INTEGER",
            "months",
            "How many months of orders, up to the month's end, the figures of a month stand on. NULL where the source "
            "gives ready-made features, and in months of before this column.",
        ),
    ),
    ("month", "feature"),
)


SCALED_MATRIX = Table(
    "scaled_matrix",
    "An accepted customer with its features transformed and standardised over the month (mean 0, SD 1).",
    (MONTH, CUSTOMER_ID),
    ("month", "customer_id"),
    published=False,
    features=True,
)


FEATURE_SPACES = Table(
    "feature_spaces",
    "How the month's features were transformed and standardised, as plain numbers.",
    (MONTH, Column("parameters", "JSON", "", "Transforms, resolutions, centres and scales.")),
    ("month",),
    published=False,
)


FEATURE_DIAGNOSTICS = Table(
    "feature_diagnostics",
    "A feature's distribution in a month: what to know before trusting a mixture on it.",
    (
        MONTH,
        Column("feature", "VARCHAR", "", "The feature."),
        Column("mean", "DOUBLE", "the feature's unit", "Mean over accepted customers."),
        Column("sd", "DOUBLE", "the feature's unit", "Standard deviation over accepted customers."),
        Column("skewness", "DOUBLE", "", "Skewness in original units; 0 is symmetric."),
        Column("skewness_transformed", "DOUBLE", "", "Skewness after the transform; closer to 0 is better."),
        Column("outliers", "BIGINT", "customers", "Customers beyond 3 SD after the transform."),
        Column("outlier_share", "DOUBLE", "0..1", "Share of customers beyond 3 SD; a normal feature has 0.0027."),
        Column("distinct_values", "BIGINT", "", "Number of different values."),
        Column("largest_atom", "DOUBLE", "the feature's unit", "The commonest value."),
        Column("largest_atom_share", "DOUBLE", "0..1", "Share of customers with the commonest value; lower is better."),
        Column("max_correlation", "DOUBLE", "0..1", "Largest absolute correlation with another; near 1 is bad."),
        Column("correlated_with", "VARCHAR", "", "The feature with that correlation."),
        Column("known_from_others", "DOUBLE", "0..1", "R^2 on all other features; near 1 it repeats them."),
        Column(
            "separates",
            "DOUBLE",
            "0..1",
            "Share of its variance between the segments of a quick mixture of all features; higher is better.",
        ),
        Column(
            "persists",
            "DOUBLE",
            "-1..1",
            "Correlation with the same customers' values one window before; higher is better. NULL without one.",
        ),
        Column(
            "predicts",
            "DOUBLE",
            "",
            "What its value one window before adds, beyond the others, to the R^2 of the other features now and of "
            "being there at all, on customers not fitted to; near 0 or below it adds nothing. NULL likewise.",
        ),
        Column(
            "only_grows",
            "BOOLEAN",
            "",
            "It rose alike for nearly everybody since: with time, and not with what customers do. NULL likewise.",
        ),
    ),
    ("month", "feature"),
)


TABLES = (
    VALIDATED_FEATURES,
    PAST_FEATURES,
    REJECTED_CUSTOMERS,
    FEATURE_LIMITS,
    SCALED_MATRIX,
    FEATURE_SPACES,
    FEATURE_DIAGNOSTICS,
)
