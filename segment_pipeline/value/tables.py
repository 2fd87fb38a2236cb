"""What customers are expected to spend, what each method said of it, and how near it came."""

from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, SEGMENT_ID, Column, Table
from segment_pipeline.value.methods import HORIZONS, METHODS

_METHODS = ", ".join(f"{name} ({words})" for name, words in METHODS.items())

SPEND_FORECASTS = Table(
    "spend_forecasts",
    "What each method said, at the end of a month, that a customer would spend: the material of the back-test. Who "
    "has lapsed or never bought anything has no row; NULL where a method had nothing to say, as the chain of a model "
    "without memory.",
    (
        MONTH,
        CUSTOMER_ID,
        *(
            Column(f"{method}_{horizon}", "DOUBLE", "currency", f"Spend in the next {horizon} months, by {words}.")
            for method, words in METHODS.items()
            for horizon in HORIZONS
        ),
    ),
    ("month", "customer_id"),
    published=False,
)


OBSERVED_SPEND = Table(
    "observed_spend",
    "What a customer of a month then spent, net of returns. A month is missing here until that time is over.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("horizon_months", "INTEGER", "months", "How many months after the end of the month."),
        Column("spend", "DOUBLE", "currency", "What the customer spent in them; below 0 where more came back."),
        Column("observed_in", "DATE", "month", "The first closed month at whose end these months were over."),
    ),
    ("month", "customer_id", "horizon_months"),
    published=False,
    month_column="observed_in",
)


def _of_horizon(horizon: int) -> tuple[Column, ...]:
    told = f"what the customer is expected to spend in the {horizon} months after the month's end, net of returns"
    return (
        Column(
            f"expected_spend_{horizon}",
            "DOUBLE",
            "currency",
            f"{told[0].upper()}{told[1:]}. Right in all; of whom little is expected it is too little as a rule: "
            "segment_value_quality says by how much.",
        ),
        Column(
            f"expected_spend_{horizon}_low",
            "DOUBLE",
            "currency",
            "Lower end of its 80 % interval: of customers of whom as much was expected in earlier months, four in five "
            "came to lie in it. NULL until such months are over.",
        ),
        Column(f"expected_spend_{horizon}_high", "DOUBLE", "currency", "Upper end of it."),
    )


CUSTOMER_VALUE = Table(
    "customer_value",
    "What a customer is expected to spend, by the method that came nearest in the months that are over, and what of it "
    "is at risk. Of the customers with a segment: who has lapsed has no row, nor has who never bought anything. Empty "
    "where the source has no order lines.",
    (
        MONTH,
        CUSTOMER_ID,
        *(column for horizon in HORIZONS for column in _of_horizon(horizon)),
        Column("method", "VARCHAR", "", f"By what the next 3 months were forecast: {_METHODS}."),
        Column(
            "method_12", "VARCHAR", "", "The same of the next 12 months: that of 3 until forecasts of 12 are judged."
        ),
        Column(
            "revenue_at_risk",
            "DOUBLE",
            "currency",
            "churn_risk times expected_spend_12: what is likely to be lost. NULL while there is no churn risk.",
        ),
    ),
    ("month", "customer_id"),
)


CUSTOMER_VALUE_QUALITY = Table(
    "customer_value_quality",
    "How near each method came to what the customers of a month then spent: out of time, for nothing of it was known.",
    (
        Column("month", "DATE", "month", "The month whose forecasts are judged."),
        Column("horizon_months", "INTEGER", "months", "How far ahead they looked."),
        Column("method", "VARCHAR", "", f"{_METHODS}."),
        Column("customers", "BIGINT", "customers", "Customers of whom something was forecast."),
        Column("mean_spend", "DOUBLE", "currency", "What they then spent, on average."),
        Column("mean_absolute_error", "DOUBLE", "currency", "Mean distance from what was spent; lower is better."),
        Column(
            "bias",
            "DOUBLE",
            "share of spend",
            "All that was forecast over all that was spent, less 1; above 0 is too much. NULL if nothing was spent.",
        ),
        Column(
            "coverage",
            "DOUBLE",
            "0..1",
            "Share of the customers that came to lie in the 80 % interval; 0.8 is right. NULL of methods that did not "
            "serve, and without an interval.",
        ),
        Column("is_served", "BOOLEAN", "", "Whether customer_value had this method in that month."),
        Column("observed_in", "DATE", "month", "The month that measured it."),
    ),
    ("month", "horizon_months", "method"),
    month_column="observed_in",
)


SEGMENT_VALUE_QUALITY = Table(
    "segment_value_quality",
    "How near what was served for the customers of a segment came to what they then spent: segment_value, judged. What "
    "is right in all can be too little for a segment of small customers and too much for one of large ones. Months "
    "that were judged before this was told have no rows.",
    (
        Column("month", "DATE", "month", "The month whose forecasts are judged."),
        Column("horizon_months", "INTEGER", "months", "How far ahead they looked."),
        Column("segment_id", "INTEGER", "", "The segment to which the customers were assigned in it."),
        Column("customers", "BIGINT", "customers", "Customers of whom something was forecast."),
        Column("mean_expected", "DOUBLE", "currency", "What they were expected to spend, on average."),
        Column("mean_spend", "DOUBLE", "currency", "What they then spent, on average."),
        Column("mean_absolute_error", "DOUBLE", "currency", "Mean distance from what was spent; lower is better."),
        Column(
            "bias",
            "DOUBLE",
            "share of spend",
            "All that was expected over all that was spent, less 1; above 0 is too much. NULL if nothing was spent.",
        ),
        Column("observed_in", "DATE", "month", "The month that measured it."),
    ),
    ("month", "horizon_months", "segment_id"),
    month_column="observed_in",
)


SEGMENT_VALUE = Table(
    "segment_value",
    "The money of a segment in a month, over the customers assigned to it; what they spent in the window stands in "
    "segment_profiles. Empty where the source has no order lines.",
    (
        MONTH,
        SEGMENT_ID,
        Column("customers", "BIGINT", "customers", "Customers assigned to it."),
        Column("month_revenue", "DOUBLE", "currency", "What they spent in the month, net of returns."),
        Column("month_revenue_share", "DOUBLE", "share", "Share of what all spent in it; NULL if that is not above 0."),
        Column("expected_spend_3", "DOUBLE", "currency", "What they are expected to spend in the next 3 months."),
        Column("expected_spend_12", "DOUBLE", "currency", "The same of 12 months."),
        Column("revenue_at_risk", "DOUBLE", "currency", "What of it is likely to be lost; NULL without a churn risk."),
    ),
    ("month", "segment_id"),
)


TABLES = (SPEND_FORECASTS, OBSERVED_SPEND, CUSTOMER_VALUE, CUSTOMER_VALUE_QUALITY, SEGMENT_VALUE, SEGMENT_VALUE_QUALITY)
