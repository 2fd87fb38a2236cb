"""The data contract: what a customer's row has to be before it may be segmented, declared once as rules.

From the same rules come the SQL that says of every row which of them it breaks (`Contract.reasons_sql`), and the
great-expectations suite that gates the month (expectations.py). What belongs here: the rules and their words. What does
not: applying them to a table (split_store.py), and what happens to a month that fails (the assets).

The rules are read against a relation of raw customers with the columns

- `customer_id` VARCHAR, NULL or blank where the source has none,
- one DOUBLE per feature, NULL where the source has none or its text is not a number,
- `unreadable` VARCHAR[], the features whose text is not a number,
- `copies` BIGINT, how many source rows carry this customer id in this month,
- `unreadable_amounts` and `missing_order_ids` BIGINT, order lines of this customer that could not be counted.

A portrait feature has the same rules with another consequence: whether a customer is segmented must not hang on what
segments are only described by, so the value is left out, and the customer stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.source import Feature
from segment_pipeline.database.quoting import identifier, literal, number, visible

Kind = Literal[
    "missing_customer_id",
    "duplicate_customer_id",
    "unreadable_amount",
    "missing_order_id",
    "missing",
    "not_a_number",
    "not_finite",
    "below_minimum",
    "above_maximum",
    "too_large",
    "outlier",
]

ROW_COLUMNS = ("customer_id", "unreadable", "copies", "unreadable_amounts", "missing_order_ids")
"""What the rules read of a row beside its features."""

LARGEST_PORTRAIT = 1e15
"""Means are exact sums of decimals (`exact_mean`), in which ten million customers of this value have room."""


@dataclass(frozen=True)
class Rule:
    """One way in which a row can be unfit. `sql` is true for a row that breaks the rule, and false or NULL otherwise.

    `code` is the reason code that the rejected row carries, `column` the column it is about, `limit` the number that
    the value is compared with, where there is one (in the feature's unit).
    """

    code: str
    kind: Kind
    column: str
    description: str
    sql: str
    limit: float | None = None


@dataclass(frozen=True)
class Contract:
    """All rules of a configuration, in the order in which a row's reasons are listed. features : of the model, whose
    values a row has to have; portraits : those whose values are left out where they break a rule."""

    features: tuple[Feature, ...]
    rules: tuple[Rule, ...]
    portraits: tuple[Feature, ...] = ()

    def rules_with(self, limits: Mapping[str, tuple[float, float]]) -> tuple[Rule, ...]:
        """The rules, and those on outliers. `limits`: feature -> (lowest, highest) value kept, in the feature's unit.

        Only features whose outlier policy is `reject` get such a rule, whatever else `limits` holds.
        """
        return (*self.rules, *(rule for feature in self.features for rule in _outlier_rules(feature, limits)))

    def portrait_rules_with(self, limits: Mapping[str, tuple[float, float]]) -> tuple[Rule, ...]:
        """The rules on values of the portraits; `limits` as above. A value that breaks one is left out."""
        return tuple(
            rule
            for feature in self.portraits
            for rule in (*_feature_rules(feature), _size_rule(feature), *_outlier_rules(feature, limits))
        )

    def reasons_sql(self, limits: Mapping[str, tuple[float, float]] | None = None) -> str:
        """An expression of type VARCHAR[] with the reason codes of all rules that a row breaks; empty: accepted."""
        cases = ", ".join(
            f"CASE WHEN {rule.sql} THEN {literal(rule.code)} END" for rule in self.rules_with(limits or {})
        )
        return f"list_filter([{cases}], lambda reason: reason IS NOT NULL)"


def build_contract(config: Config) -> Contract:
    """The contract of a configuration: rules on the customer id and the order lines, then those of each feature."""
    rules = [*_identity_rules(), *_order_line_rules()]
    for feature in config.model_features:
        rules += _feature_rules(feature)
    return Contract(config.model_features, tuple(rules), config.portrait_features)


def _identity_rules() -> list[Rule]:
    return [
        Rule(
            "missing_customer_id",
            "missing_customer_id",
            "customer_id",
            "The customer id is missing or blank.",
            f"NOT {visible('customer_id')}",
        ),
        Rule(
            "duplicate_customer_id",
            "duplicate_customer_id",
            "customer_id",
            "Several rows of the month carry this customer id; none of them can be trusted.",
            "copies > 1",
        ),
    ]


def _order_line_rules() -> list[Rule]:
    return [
        Rule(
            "unreadable_amount",
            "unreadable_amount",
            "unreadable_amounts",
            "An order line of the customer has an amount that is missing or not a finite number.",
            "unreadable_amounts > 0",
        ),
        Rule(
            "missing_order_id",
            "missing_order_id",
            "missing_order_ids",
            "An order line of the customer has no order id, so its orders cannot be counted.",
            "missing_order_ids > 0",
        ),
    ]


def _feature_rules(feature: Feature) -> list[Rule]:
    name, column = feature.name, identifier(feature.name)
    unreadable = f"list_contains(unreadable, {literal(name)})"
    made_of_amounts = name in ORDER_FEATURES and ORDER_FEATURES[name].is_money
    # a customer without one amount that can be read lacks what is made of them for that reason, and for no second one
    but_for_amounts = " AND coalesce(unreadable_amounts, 0) = 0" if made_of_amounts else ""
    rules = [
        # `unreadable` may be NULL, and then is as good as empty
        Rule(
            f"missing:{name}",
            "missing",
            name,
            f"{name} has no value.",
            f"{column} IS NULL AND ({unreadable}) IS NOT TRUE{but_for_amounts}",
        ),
        Rule(f"not_a_number:{name}", "not_a_number", name, f"{name} holds text that is not a number.", unreadable),
        Rule(f"not_finite:{name}", "not_finite", name, f"{name} is NaN or infinite.", f"NOT isfinite({column})"),
    ]
    # NaN is larger than every number in DuckDB: only a finite value can be too small or too large.
    if feature.valid.min is not None:
        rules.append(
            Rule(
                f"below_minimum:{name}",
                "below_minimum",
                name,
                f"{name} is below {feature.valid.min:g}, which is impossible.",
                f"isfinite({column}) AND {column} < {number(feature.valid.min)}",
                feature.valid.min,
            )
        )
    if feature.valid.max is not None:
        rules.append(
            Rule(
                f"above_maximum:{name}",
                "above_maximum",
                name,
                f"{name} is above {feature.valid.max:g}, which is impossible.",
                f"isfinite({column}) AND {column} > {number(feature.valid.max)}",
                feature.valid.max,
            )
        )
    return rules


def _size_rule(feature: Feature) -> Rule:
    """Of a portrait feature, which need not have a valid range: an error of 1e300 must not stop the month's means."""
    return Rule(
        f"too_large:{feature.name}",
        "too_large",
        feature.name,
        f"{feature.name} is beyond {LARGEST_PORTRAIT:g}, which nothing is that can be averaged.",
        f"isfinite({identifier(feature.name)}) AND abs({identifier(feature.name)}) > {number(LARGEST_PORTRAIT)}",
        LARGEST_PORTRAIT,
    )


def _outlier_rules(feature: Feature, limits: Mapping[str, tuple[float, float]]) -> list[Rule]:
    """One where the policy is to reject, and the month has limits; none otherwise."""
    if feature.outliers != "reject" or feature.name not in limits:
        return []
    column, (lowest, highest) = identifier(feature.name), limits[feature.name]
    return [
        Rule(
            f"outlier:{feature.name}",
            "outlier",
            feature.name,
            f"{feature.name} lies outside {lowest:g} to {highest:g}, further out than quality.outlier_sd allows.",
            f"isfinite({column}) AND ({column} < {number(lowest)} OR {column} > {number(highest)})",
        )
    ]
