"""Whether to believe the model."""

from segment_pipeline.database.tables import MONTH, Column, Table

MODEL_VALIDATION = Table(
    "model_validation",
    "A figure that says whether to believe the month's model, with its limit and verdict; every month has them all, "
    "those of the next month (next_) where the champion of the month before had a memory.",
    (
        MONTH,
        Column(
            "model_version",
            "INTEGER",
            "",
            "The model that the figure judges: the month's champion; of the next_ figures, which judge a forecast, "
            "that of the month before.",
        ),
        Column(
            "metric",
            "VARCHAR",
            "",
            "What was measured; see docs/how-to/validation.md. calibration_error leaves out memberships below 0.05.",
        ),
        Column(
            "subject",
            "VARCHAR",
            "",
            "Of what: empty for the whole model, a segment id, a pair of them such as 3-7, a method (memberships, "
            "k-means, recency, features) or forecast (memory, mixture, as last month), a range of probabilities such "
            "as 0.7-0.8, or dominant: hybrids against customers of a single segment instead of all others.",
        ),
        Column("value", "DOUBLE", "the metric's unit", "The figure; NULL where it could not be computed."),
        Column("low", "DOUBLE", "the metric's unit", "Lower end of its 95 % interval; NULL where there is none."),
        Column("high", "DOUBLE", "the metric's unit", "Upper end of its 95 % interval; NULL where there is none."),
        Column("threshold", "DOUBLE", "the metric's unit", "The limit; NULL where there is none."),
        Column(
            "passed",
            "BOOLEAN",
            "",
            "Whether the figure keeps to its limit: a gain unless its whole interval lies below it, silence_auc and "
            "spend_r2 if their whole interval lies above it. NULL without a limit or a value.",
        ),
        Column("sentence", "VARCHAR", "", "What was found, in words; or why it could not be computed."),
    ),
    ("month", "metric", "subject"),
)


TABLES = (MODEL_VALIDATION,)
