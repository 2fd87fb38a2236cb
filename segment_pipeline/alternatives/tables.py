"""Other ways to segment the same customers, and whether a mixture is right at all."""

from segment_pipeline.database.tables import MODEL_VERSION, MONTH, Column, Table

ALTERNATIVE_SEGMENTATIONS = Table(
    "alternative_segmentations",
    "Another way to segment the month's customers, beside the champion on the same features: at the start, at each "
    "refit, and in months for which it was asked. A figure that was not computed is NULL.",
    (
        MONTH,
        Column(
            "method",
            "VARCHAR",
            "",
            "champion, k_means, ward, dbscan, hdbscan, latent_classes, rfm_quintiles, or rule: and its name.",
        ),
        Column("segments", "INTEGER", "segments", "Segments it finds, noise not counted."),
        Column("customers", "BIGINT", "customers", "Customers it looked at; fewer than the month has is a sample."),
        Column("noise_share", "DOUBLE", "0..1", "Share of them in no segment: noise, or to whom no rule applies."),
        Column(
            "agreement", "DOUBLE", "-1..1", "Adjusted Rand index with the champion's segments; 1 is the same, 0 chance."
        ),
        Column(
            "silhouette", "DOUBLE", "-1..1", "How well its segments are separated, noise left out; higher is better."
        ),
        Column(
            "churn_auc",
            "DOUBLE",
            "0..1",
            "How well its segments predicted silence (warnings.horizon_days) in the latest month of which it is known, "
            "cross-validated; 0.5 is chance. NULL where no silence or no segment of that month's customers was known.",
        ),
        Column(
            "stability",
            "DOUBLE",
            "-1..1",
            "Mean adjusted Rand index between refits on 70 % of the customers; higher is better. NULL for the champion "
            "(see candidate_models) and for rules that are not fitted.",
        ),
        Column("verdict", "VARCHAR", "", "What came of it, in a sentence, or why it was not computed."),
    ),
    ("month", "method"),
)


SEGMENT_HIERARCHY = Table(
    "segment_hierarchy",
    "A group of Ward's hierarchy, the dendrogram of the month's customers, in months with alternative_segmentations.",
    (
        MONTH,
        Column("node", "INTEGER", "", "The group; 1 holds all customers looked at."),
        Column("parent", "INTEGER", "", "The group of which it is a part; NULL for 1."),
        Column(
            "height",
            "DOUBLE",
            "standard deviations, weighted by size",
            "Ward's distance at which its two parts were joined; of a group that is not parted here too.",
        ),
        Column("customers", "BIGINT", "customers", "Customers in it, of those looked at."),
        Column(
            "name",
            "VARCHAR",
            "",
            "From its means; before > the one of the most clearly separate groups that it is in.",
        ),
    ),
    ("month", "node"),
)


SUITABILITY = Table(
    "suitability",
    "Whether a mixture is right for the month's customers at all, in months with alternative_segmentations.",
    (
        MONTH,
        MODEL_VERSION,
        Column(
            "verdict",
            "VARCHAR",
            "",
            "mixture, k_means_would_serve, nested_groups, rules_would_do, density_based, no_segments, latent_classes "
            "or too_few_customers.",
        ),
        Column("reason", "VARCHAR", "", "The verdict in words, with the figures on which it stands."),
    ),
    ("month",),
)


SUITABILITY_FINDINGS = Table(
    "suitability_findings",
    "A finding on which the verdict of suitability stands, or does not.",
    (
        MONTH,
        Column("finding", "VARCHAR", "", "What is claimed, such as k_means_agrees."),
        Column("value", "DOUBLE", "the finding's unit", "The figure; NULL where there was nothing to measure."),
        Column("threshold", "DOUBLE", "the finding's unit", "The limit beyond which the claim holds."),
        Column("holds", "BOOLEAN", "", "Whether the claim holds."),
        Column("sentence", "VARCHAR", "", "The finding in words."),
    ),
    ("month", "finding"),
)


TABLES = (ALTERNATIVE_SEGMENTATIONS, SEGMENT_HIERARCHY, SUITABILITY, SUITABILITY_FINDINGS)
