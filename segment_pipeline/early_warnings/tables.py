"""How likely a customer is to fall silent, whom to worry about, and whether such worries came true."""

from segment_pipeline.config.warning_rules import WARNING_RULES
from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, Column, Table, View

CHURN_RISK = Table(
    "churn_risk",
    "How likely a customer is to fall silent: no order within warnings.horizon_days after the month's end.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("churn_risk", "DOUBLE", "0..1", "Probability of silence, from months whose silence was observed."),
    ),
    ("month", "customer_id"),
)


OBSERVED_SILENCE = Table(
    "observed_silence",
    "Whether a customer of a month then fell silent: no order within warnings.horizon_days after the month's end. A "
    "month is missing here until that time is over.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("silent", "BOOLEAN", "", "Whether there was no order within the horizon."),
        Column("observed_in", "DATE", "month", "The first closed month at whose end the horizon was over."),
    ),
    ("month", "customer_id"),
    month_column="observed_in",
)


ORDER_HISTORIES = Table(
    "order_histories",
    "All that a customer has ordered up to the month's end, also before the window: what the churn risk knows beside "
    "the features. Several orders of one day count as one. NULL where the source no longer has a customer's lines.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("days_since_last_order", "DOUBLE", "days", "Days from the last order to the end of the month."),
        *(
            Column(f"lately_{days}", "DOUBLE", "orders", f"Orders ever, each worth half after every {days} days.")
            for days in (30, 60, 90)
        ),
        Column("log_gap", "DOUBLE", "log days", "Mean logarithm of the days between two orders; NULL of one order."),
        Column("gap_spread", "DOUBLE", "log days", "Standard deviation of these logarithms; NULL of one order."),
        Column("log_spend", "DOUBLE", "log currency", "Mean logarithm of one more than what an order was worth."),
    ),
    ("month", "customer_id"),
    published=False,
)


CHURN_RISK_MODELS = Table(
    "churn_risk_models",
    "From what the churn risk of a month was learned, or why there is none.",
    (
        MONTH,
        Column(
            "months", "DATE[]", "month", "The months that it learned from; their silence was known at this one's end."
        ),
        Column("customers", "BIGINT", "customers", "Customers in them, counted once a month."),
        Column("events", "BIGINT", "customers", "How many of those fell silent."),
        Column("horizon_days", "INTEGER", "days", "How long without an order is silence."),
        Column(
            "by_length",
            "BOOLEAN",
            "",
            "Whether counts of orders were taken in proportion to what the length of the source's history lets them "
            "be, as that would have foretold the known months better. NULL without a risk, and of months of before.",
        ),
        Column("refused", "VARCHAR", "", "Why there is no churn risk this month; NULL when there is."),
    ),
    ("month",),
)


CHURN_RISK_QUALITY = Table(
    "churn_risk_quality",
    "How good the churn risk of a month was, once the silence was known: out of time, for nothing of it was learned.",
    (
        MONTH,
        Column("inputs", "VARCHAR", "", "all (as published), or the part of the inputs that it is compared with."),
        Column(
            "auc", "DOUBLE", "0..1", "0.5 is worthless, 1 ranks every silent customer first; NULL if all were alike."
        ),
        Column("brier", "DOUBLE", "0..1", "Mean squared error of the probability; lower is better."),
        Column("log_loss", "DOUBLE", "nats per customer", "Mean negative log-likelihood; lower is better."),
        Column("base_rate", "DOUBLE", "0..1", "Share that fell silent."),
        Column("mean_probability", "DOUBLE", "0..1", "Mean churn risk; equal to base_rate when calibrated."),
        Column(
            "calibration_error", "DOUBLE", "0..1", "Mean distance of risk and frequency over tenths; lower is better."
        ),
        Column("calibration_slope", "DOUBLE", "", "1 is right, below 1 is too sure; NULL if all were alike."),
        Column("observed_in", "DATE", "month", "The month that measured it."),
    ),
    ("month", "inputs"),
    month_column="observed_in",
)


_BACKTEST_COLUMNS = (
    Column("month", "DATE", "month", "The month of the warnings; NULL for the pooled months (see `months`)."),
    Column("warning", "VARCHAR", "", "The rule, or any."),
    Column("alerts", "BIGINT", "customers", "Warnings on the customers judged, new and ongoing."),
    Column("base_rate", "DOUBLE", "0..1", "Share of the judged that fell silent: the precision of a random choice."),
    Column("precision", "DOUBLE", "0..1", "Share of the warnings that came true; higher is better."),
    Column("precision_low", "DOUBLE", "0..1", "Lower end of its 95 % interval."),
    Column("precision_high", "DOUBLE", "0..1", "Upper end of its 95 % interval."),
    Column("recall", "DOUBLE", "0..1", "Share of the silent that had been warned of; higher is better."),
    Column("lift", "DOUBLE", "times", "Precision over base rate; 1 is no better than chance."),
    Column("recency_precision", "DOUBLE", "0..1", "Precision of as many longest-silent customers: the simplest rival."),
    Column("horizon_days", "INTEGER", "days", "How long without an order is silence."),
    Column("churn_risk_precision", "DOUBLE", "0..1", "Precision of as many customers of the highest churn risk."),
    Column("difference", "DOUBLE", "-1..1", "churn_risk_precision less recency_precision; above 0 is better."),
    Column("difference_low", "DOUBLE", "-1..1", "Lower end of its 95 % interval over customers."),
    Column("difference_high", "DOUBLE", "-1..1", "Upper end of its 95 % interval over customers."),
    Column(
        "revenue_at_risk_precision",
        "DOUBLE",
        "0..1",
        "Precision of as many customers with the highest revenue at risk; NULL where it is not known.",
    ),
    Column(
        "money_lost",
        "DOUBLE",
        "currency",
        "What the warned who fell silent spend in a year at the pace of their last window: a contact in time could "
        "have kept it, so higher is better. NULL where a month of the row does not tell it.",
    ),
    Column("random_money_lost", "DOUBLE", "currency", "The same of as many customers at random."),
    Column("churn_risk_money_lost", "DOUBLE", "currency", "The same of as many of the highest churn risk."),
    Column("revenue_at_risk_money_lost", "DOUBLE", "currency", "The same of as many with the highest revenue at risk."),
    Column("lead_time_days", "DOUBLE", "days", "Median lead of the true warnings over waiting for the whole horizon."),
    Column("churn_risk_lead_time_days", "DOUBLE", "days", "The same for the highest churn risk."),
    Column("recency_lead_time_days", "DOUBLE", "days", "The same for the longest silent."),
    Column(
        "months", "INTEGER", "months", "Months in the row; pooled are those that had a churn risk, or all if none had."
    ),
    Column("eligible", "BIGINT", "customers", "Customers judged, among whom every rival may choose too."),
    Column("alerts_elsewhere", "BIGINT", "customers", "Warnings on other customers, which are not judged here."),
    Column(
        "judged",
        "VARCHAR",
        "",
        "What is judged, among whom: engaged (warnings on customers engaged above warnings.mixed_signal in the month "
        "or the one before), everybody (all warnings, among all customers), within_budget (the list of those to be "
        "contacted, among all who may be).",
    ),
)


WARNING_BACKTEST_HISTORY = Table(
    "warning_backtest_history",
    "The back-test of the warnings as each month knew it; warning_backtest is the latest.",
    (
        *_BACKTEST_COLUMNS,
        Column("evaluated_month", "DATE", "month", "The closed month that judged, by what it knew."),
    ),
    ("evaluated_month", "judged", "month", "warning"),
    month_column="evaluated_month",
)


CONTACT_LIST_RULES = Table(
    "contact_list_rules",
    "Which warnings take part in a month's contact list, and why the others do not: a rule has to be right more often "
    "than a random choice, beyond chance, and no less often than the highest churn risk, as the back-test of the month "
    "before had it.",
    (
        MONTH,
        Column("warning", "VARCHAR", "", "The rule; any: the list as a whole."),
        Column("takes_part", "BOOLEAN", "", "Whether the rule takes part; of any, whether a rule does."),
        Column("sentence", "VARCHAR", "", "Why, with the figures; of any, what the list stands on."),
        Column("what", "VARCHAR", "", "Of any: what is done with everybody on the list; NULL without warnings.action."),
        Column("owner", "VARCHAR", "", "Of any: who sees to it."),
        Column("channel", "VARCHAR", "", "Of any: how the customers are reached."),
        Column("due", "DATE", "day", "Of any: the day until which it is to be done."),
    ),
    ("month", "warning"),
)


HIGH_CHURN_RISK, REVENUE_AT_RISK = "high_churn_risk", "revenue_at_risk"
"""The names under which a customer stands on the contact list, beside the rules that name it: by what is ranked where
nobody knows what it is worth, and where that is known."""

_RULES = sorted([HIGH_CHURN_RISK, REVENUE_AT_RISK, *(rule.name for rule in WARNING_RULES)])

EARLY_WARNINGS = Table(
    "early_warnings",
    "An alert on a customer who still orders, with its evidence, and the contact list: who is on it has a row "
    f"{REVENUE_AT_RISK}, or {HIGH_CHURN_RISK} where no value is known; whom a rule names while there is no churn risk, "
    "only that of the rule.",
    (
        MONTH,
        CUSTOMER_ID,
        Column(
            "warning",
            "VARCHAR",
            "",
            f"{', '.join(_RULES[:-1])} or {_RULES[-1]}: docs/how-to/warnings.md.",
        ),
        Column(
            "status",
            "VARCHAR",
            "",
            "new, ongoing, or resolved: it stood last month and the rule does not name the customer any more, or the "
            "contact list has it no longer. After a "
            "fall or a downgrade that is no recovery, only no further fall; the customer may also have lapsed.",
        ),
        Column("first_month", "DATE", "month", "Since when the warning stands without a break."),
        Column(
            "engaged_probability", "DOUBLE", "0..1", "Probability of engaged segments this month; NULL without any."
        ),
        Column(
            "dormant_probability",
            "DOUBLE",
            "0..1",
            "Probability of at_risk and dormant segments this month; NULL without any.",
        ),
        Column(
            "engaged_change",
            "DOUBLE",
            "-1..1",
            "Change of the engaged probability since the month before; one measuring champion.",
        ),
        Column("churn_risk", "DOUBLE", "0..1", "See the table churn_risk; NULL while it is refused."),
        Column("revenue_at_risk", "DOUBLE", "currency", "See the table customer_value; NULL while it is not known."),
        Column("evidence", "VARCHAR", "", "What was found, in words."),
        Column(
            "priority",
            "INTEGER",
            "",
            "Place of the customer in the queue of all customers, 1 is the most urgent: first the contact list, then "
            "the others, both by revenue at risk, or by churn risk where no value is known. "
            "NULL when resolved, not to be contacted, or while nothing tells who is.",
        ),
        Column(
            "within_budget",
            "BOOLEAN",
            "",
            "Whether to contact the customer: on the contact list, which has warnings.monthly_budget places or, "
            "without, as many as there are customers with a warning; NULL when resolved.",
        ),
        Column(
            "contact_allowed",
            "BOOLEAN",
            "",
            "False of the control arm of a campaign, which is left alone; see customer_actions.",
        ),
    ),
    ("month", "customer_id", "warning"),
)


WARNING_BACKTEST = View(
    "warning_backtest",
    "Whether the warnings came true, month by month and pooled (month NULL: the months with a churn risk), beside ways "
    "to choose as many customers: at random (base_rate), the longest silent, the highest churn risk. `judged` says "
    "among whom: always choose one.",
    _BACKTEST_COLUMNS,
    f"""
    SELECT {", ".join(column.name for column in _BACKTEST_COLUMNS)} FROM warning_backtest_history
    WHERE evaluated_month = (SELECT max(evaluated_month) FROM warning_backtest_history)
    """,
)


TABLES = (
    OBSERVED_SILENCE,
    ORDER_HISTORIES,
    CHURN_RISK,
    CHURN_RISK_MODELS,
    CHURN_RISK_QUALITY,
    EARLY_WARNINGS,
    CONTACT_LIST_RULES,
    WARNING_BACKTEST_HISTORY,
)

VIEWS = (WARNING_BACKTEST,)
