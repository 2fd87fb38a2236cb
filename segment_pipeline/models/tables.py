"""Candidates, champions and what became of the segments at a promotion."""

from segment_pipeline.database.tables import MODEL_VERSION, MONTH, Column, Table

PRIOR = "prior_probabilities"
"""The column of a relation that a model with memory scores: how likely each of its k segments is for the customer
before this month's features are known, DOUBLE[] of k or more entries, those of the segments first."""

SILENCE = '"(silence)"'
"""The column of such a relation with the position of the customer's silence among those that are told apart, from 0;
NULL where it is not known when the customer last ordered. Quoted, as no feature can be called so."""

COVARIANCE_TYPE = Column(
    "covariance_type",
    "VARCHAR",
    "",
    "What the components' covariances have in common: full (nothing), diagonal (no correlation within a component), "
    "tied (all are the same) or spherical (equal width in all features).",
    before="'full'",
)


CANDIDATE_MODELS = Table(
    "candidate_models",
    "A mixture fitted to the month for one type of covariances and number of components: the challengers. One with "
    "memory is fitted to a panel of months, and judged on the last: bic, aic and icl say how well it describes that "
    "month's customers, each once.",
    (
        MONTH,
        COVARIANCE_TYPE,
        Column("n_components", "INTEGER", "components", "Number of Gaussian components."),
        Column(
            "n_segments",
            "INTEGER",
            "segments",
            "Segments that they make: those that together describe one skewed or heavy-tailed group are one, and those "
            "that exchange customers as if by chance. NULL where nobody asked, for a better candidate may serve.",
        ),
        Column("bic", "DOUBLE", "", "Bayesian information criterion; lower is better."),
        Column("aic", "DOUBLE", "", "Akaike information criterion; lower is better."),
        Column("icl", "DOUBLE", "", "Integrated completed likelihood, BIC plus twice the entropy; lower is better."),
        Column(
            "train_log_likelihood", "DOUBLE", "nats per customer", "Mean log-likelihood of its rows; higher is better."
        ),
        Column(
            "heldout_log_likelihood",
            "DOUBLE",
            "nats per customer",
            "Mean log-likelihood of the 20 % of customers that a fit on the other 80 % did not see; higher is better. "
            "Of more than 50,000 customers without memory, measured on so many. NULL where it was not examined, or not "
            "searched for again.",
        ),
        Column(
            "stability",
            "DOUBLE",
            "-1..1",
            "Mean adjusted Rand index between independent searches with different seeds; higher is better. NULL where "
            "it cannot win, as others describe the customers better, so that there was one search, and where it was "
            "not searched for again for what `reason` says.",
        ),
        Column("smallest_share", "DOUBLE", "0..1", "Weight of the smallest segment."),
        Column(
            "min_separation", "DOUBLE", "", "Smallest Bhattacharyya distance between two segments; higher is better."
        ),
        Column("converged", "BOOLEAN", "", "Whether EM reached its tolerance."),
        Column("degenerate", "BOOLEAN", "", "Whether a component is a spike or too small; never selected."),
        Column(
            "panel_bic",
            "DOUBLE",
            "",
            "BIC of all the panel's months and the way between them; lower is better, but it falls with every segment "
            "that tells customers apart who differ for good, so it does not choose. NULL without memory, and where "
            "there was one search.",
        ),
        Column(
            "next_log_score",
            "DOUBLE",
            "nats per customer and month",
            "Mean log density of a month's features given the months before, of the 20 % of customers that a fit on "
            "the other 80 % did not see; higher is better. NULL without memory, and where there was one search.",
        ),
        Column(
            "min_kept",
            "DOUBLE",
            "0..1",
            "How much a customer's segment, of the two that exchange most, says of its segment a month later: 1 all, 0 "
            "nothing: they exchange them as if by chance; 1 where no two exchange 5 % of their customers both ways. "
            "NULL without memory.",
        ),
        Column(
            "admissible",
            "BOOLEAN",
            "",
            "Whether every condition for selection holds. FALSE as well where stability is NULL: nobody had to ask, "
            "as `reason` says.",
        ),
        Column("selected", "BOOLEAN", "", "Whether this candidate is the month's choice (the challenger)."),
        Column("reason", "VARCHAR", "", "Why it is the choice, or may not serve; NULL of others that may."),
    ),
    ("month", "covariance_type", "n_components"),
)


CANDIDATE_PARAMETERS = Table(
    "candidate_parameters",
    "The candidates' parameters as plain numbers; what selected_model promotes from.",
    (
        MONTH,
        COVARIANCE_TYPE,
        Column("n_components", "INTEGER", "components", "Number of Gaussian components."),
        Column(
            "parameters",
            "JSON",
            "",
            "Weights, means, covariances, parts and memory in the month's standardised units.",
        ),
        Column("refusals", "VARCHAR[]", "", "Why the candidate is not admissible; empty when it is."),
    ),
    ("month", "covariance_type", "n_components"),
    published=False,
)


CANDIDATE_CHOICES = Table(
    "candidate_choices",
    "Which candidate the month would choose, and why.",
    (
        MONTH,
        COVARIANCE_TYPE,
        Column("n_components", "INTEGER", "components", "The choice; NULL when no candidate is admissible."),
        Column("rationale", "VARCHAR", "", "The choice in words."),
    ),
    ("month",),
    published=False,
)


MODEL_VERSIONS = Table(
    "model_versions",
    "A champion: the mixture that serves from its training month until the next promotion.",
    (
        Column("model_version", "INTEGER", "", "1 for the first champion, then 2, 3, ..."),
        Column("trained_month", "DATE", "month", "The month to whose customers it was fitted; its first in service."),
        Column("n_components", "INTEGER", "components", "Number of Gaussian components."),
        Column(
            "n_segments",
            "INTEGER",
            "segments",
            "Segments that they make; NULL in versions of before this was told, which have a segment a component.",
        ),
        COVARIANCE_TYPE,
        Column("reason", "VARCHAR", "", "Why it was promoted: bootstrap, what fired, or the user's reason."),
        Column("rationale", "VARCHAR", "", "Why this number of components, in words."),
        Column("customers_fitted", "BIGINT", "customers", "How many customers it was fitted to."),
        Column("seed", "BIGINT", "", "Seed of the search."),
        Column("feature_schema", "VARCHAR", "", "Features, transforms and resolutions that it was fitted with."),
        Column(
            "parameters",
            "JSON",
            "",
            "The whole model as plain numbers: transforms, weights, means, covariances, memory.",
        ),
    ),
    ("model_version",),
    month_column="trained_month",
)


CHAMPIONS = Table(
    "champions",
    "Which model version serves a month.",
    (MONTH, MODEL_VERSION),
    ("month",),
    published=False,
)


SEGMENT_LINEAGE = Table(
    "segment_lineage",
    "What became of each segment at a promotion: a row for each segment of the new champion with each old one that it "
    "carries on (continued), that went into it (merged) or of which it is a piece (split); one for each that is born, "
    "and for each old one that is retired.",
    (
        MONTH,
        MODEL_VERSION,
        Column("segment_id", "INTEGER", "", "Segment of the new champion; NULL when the old segment was retired."),
        Column("previous_segment_id", "INTEGER", "", "Segment of the old champion; NULL when newly born."),
        Column("relation", "VARCHAR", "", "continued, split, merged, born or retired."),
        Column(
            "overlap",
            "DOUBLE",
            "0..1",
            "Soft-Jaccard overlap on the same customers; 1 is the same segment. Of one that is born or retired, with "
            "the nearest; NULL where the two models were not compared: of the first one, and where the month lacks a "
            "feature of the one before.",
        ),
        Column(
            "margin",
            "DOUBLE",
            "-1..1",
            "By how much the overlap beats the next best choice of either side, below 0 where that is better; NULL "
            "without a link.",
        ),
        Column(
            "kept",
            "DOUBLE",
            "0..1",
            "Share of the old segment's members, as probabilities count them, that the new one holds; NULL without a "
            "link.",
        ),
        Column(
            "wasserstein",
            "DOUBLE",
            "standard deviations",
            "Wasserstein-2 distance of the two Gaussians, a second opinion: 0 is the same; NULL where not comparable.",
        ),
    ),
    ("month", "segment_id", "previous_segment_id"),
)


REFIT_TRIGGERS = Table(
    "refit_triggers",
    "The figures on which a month's refit decision stands, measured under the month before's champion.",
    (
        MONTH,
        Column("metric", "VARCHAR", "", "What was measured."),
        Column("segment_id", "INTEGER", "", "The segment it concerns; NULL for the whole base."),
        Column("feature", "VARCHAR", "", "The feature it concerns; NULL where none."),
        Column("value", "DOUBLE", "the metric's unit", "The figure."),
        Column("threshold", "DOUBLE", "the metric's unit", "The configured limit."),
        Column("hard_threshold", "DOUBLE", "the metric's unit", "The limit beyond which one month is enough."),
        Column("fired", "BOOLEAN", "", "Whether the limit was crossed."),
        Column(
            "severity",
            "VARCHAR",
            "",
            "soft or hard. echo has not fired: beyond its threshold, it may be what the champion was promoted for, as "
            "the features still look back before that; once they do not, the champion follows it, which is no alarm. "
            "NULL while quiet.",
        ),
        Column("months_fired", "INTEGER", "months", "Months in a row, this one included, under this champion."),
    ),
    ("month", "metric", "segment_id", "feature"),
    published=False,
)


TABLES = (
    CANDIDATE_MODELS,
    CANDIDATE_PARAMETERS,
    CANDIDATE_CHOICES,
    MODEL_VERSIONS,
    CHAMPIONS,
    SEGMENT_LINEAGE,
    REFIT_TRIGGERS,
)
