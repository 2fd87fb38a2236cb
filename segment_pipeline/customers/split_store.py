"""The contract applied row by row, inside DuckDB: every raw customer is accepted, or rejected with reasons."""

import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import better_of
from segment_pipeline.config.source import Feature, definition_of_ratio
from segment_pipeline.customers.contract import Contract
from segment_pipeline.customers.tables import FEATURE_LIMITS, REJECTED_CUSTOMERS, VALIDATED_FEATURES
from segment_pipeline.customers.transforms import transform_sql
from segment_pipeline.database.quoting import clamped, identifier, literal, number
from segment_pipeline.database.rows import drawn_sql, write_rows
from segment_pipeline.database.store import month_literal, month_rows, replace_month
from segment_pipeline.errors import ConfigError
from segment_pipeline.months import month_key
from segment_pipeline.sources.people.delivered import made_anew
from segment_pipeline.sources.tables import RAW_CUSTOMERS

if TYPE_CHECKING:
    import pandas as pd

Limits = dict[str, tuple[float, float]]

# An SD below this share of the largest value is rounding: the feature is constant, and a limit would cut it in two.
NO_VARIATION = 1e-12

NEW_IDS = "all segments get new ids and movement into the month is not known"
"""What another name costs where the month no more has the feature that the model before knows."""


@dataclass(frozen=True)
class SplitCounts:
    """Rows of the month: raw = accepted + rejected, or the split is wrong. `reasons` counts rows per reason code,
    `left_out` the accepted ones per rule that a value of a portrait feature breaks."""

    raw: int
    accepted: int
    rejected: int
    capped: int
    reasons: dict[str, int]
    left_out: dict[str, int]


def split_customers(
    connection: duckdb.DuckDBPyConnection, config: Config, contract: Contract, month: date
) -> SplitCounts:
    """Replace the month of `validated_features`, `rejected_customers` and `feature_limits` from `raw_customers`.

    Call it inside a transaction, and roll back if the month does not pass the gate. Raises ConfigError where a feature
    is computed otherwise than in a month before.
    """
    _refuse_redefined(connection, config, month)
    _refuse_centred_anew(connection, config, month)
    names = config.raw_feature_names
    limits = judge_rows(connection, config, contract, f"raw_customers WHERE month = {month_literal(month)}")
    made_with = [
        _limits_row(feature, limits) | {"window_months": config.source.window_of_orders} for feature in config.features
    ]
    write_rows(connection, FEATURE_LIMITS, month, made_with)
    accepted = replace_month(
        connection,
        VALIDATED_FEATURES,
        month,
        f"SELECT month, customer_id, {kept_values(config, contract, limits)} "
        f"FROM judged WHERE len(reasons) = 0 ORDER BY customer_id",
        names,
    )
    values = ", ".join(
        f"{literal(name)}, coalesce(unreadable_values[{literal(name)}], CAST({identifier(name)} AS VARCHAR))"
        for name in names
    )
    if config.source.orders is not None:
        values += ", 'unreadable_amounts', unreadable_amounts, 'missing_order_ids', missing_order_ids"
    rejected = replace_month(
        connection,
        REJECTED_CUSTOMERS,
        month,
        f"SELECT month, customer_id, reasons, json_object('customer_id', customer_id, {values}) AS raw "
        f"FROM judged WHERE len(reasons) > 0 ORDER BY customer_id, raw",
    )
    reasons = connection.execute(
        "SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM judged) GROUP BY reason ORDER BY reason"
    ).fetchall()
    capped = _count_capped(connection, config, contract, limits)
    left_out = _count_left_out(connection, contract, limits)
    connection.execute("DROP TABLE judged")
    made_anew(connection, month)
    raw = month_rows(connection, RAW_CUSTOMERS, month)
    return SplitCounts(raw, accepted, rejected, capped, dict(reasons), left_out)


def _refuse_redefined(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """A feature of the model is one thing in all months: under one name, a model would see two in the months before."""
    known = connection.execute(
        f"SELECT feature, definition, max(month) FROM {FEATURE_LIMITS.name} "
        "WHERE month < ? AND definition IS NOT NULL GROUP BY ALL ORDER BY ALL",
        [month],
    ).fetchall()
    for index, feature in enumerate(config.features):
        for name, definition, when in known:
            if feature.is_own and feature.use == "model" and name == feature.name and definition != feature.definition:
                key = ("features", index, feature.ways[0])
                raise ConfigError(
                    f"{config.path}:{config.line_of(*key)}: {config.label_of(*key)}: found {feature.definition}; in "
                    f"{month_key(when)} {name} was {definition}, and no model can compare the two. Give the new one "
                    f"another name, and keep the old one beside it with use: portrait, for without it {NEW_IDS}; "
                    f"or run all months again from {month_key(config.first_month)} with --force."
                )


def _refuse_centred_anew(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """As `_refuse_redefined`, of ratios: one more in the file, or one less, and each says something else, though its
    own line is as it was."""
    ratios: dict[date, dict[str, str]] = defaultdict(dict)  # feature -> category
    for when, name, category, definition in connection.execute(
        f"SELECT month, feature, category, definition FROM {FEATURE_LIMITS.name} WHERE month < ? ORDER BY ALL", [month]
    ).fetchall():
        if category is not None and definition == definition_of_ratio(category):
            ratios[when][name] = category
    now = {one.spend_ratio for one in config.features if one.spend_ratio is not None}
    for index, feature in enumerate(config.features):
        for when, before in reversed(ratios.items()):
            of = feature.spend_ratio
            if of is None or feature.use != "model" or feature.name not in before or {*before.values()} == now:
                continue
            beside = [", ".join(sorted(names - {of})) or "none" for names in ({*now}, {*before.values()})]
            raise ConfigError(
                f"{config.path}:{config.line_of('features', index, 'spend_ratio')}: "
                f"{config.label_of('features', index, 'spend_ratio')}: found the ratio of {of} beside ratios of "
                f"{beside[0]}; in {month_key(when)} {feature.name} was beside {beside[1]}, and no model can compare "
                "the two, as all ratios of a file are centred together. Run all months again from "
                f"{month_key(config.first_month)} with --force, or give those of the model other names, whereby "
                f"{NEW_IDS}."
            )


def judge_rows(connection: duckdb.DuckDBPyConnection, config: Config, contract: Contract, rows: str) -> Limits:
    """Fill the temporary table `judged` with these rows, which have the columns of `raw_customers`, and their `reasons`
    to be rejected; returns where their outliers end."""
    raw = f"(SELECT *, map_keys(unreadable_values) AS unreadable FROM {rows})"
    limits = _outlier_limits(connection, config, contract, raw)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {contract.reasons_sql(limits)} AS reasons FROM {raw}"
    )
    return limits


def kept_values(config: Config, contract: Contract, limits: Limits) -> str:
    """The feature columns of `judged` as an accepted customer keeps them, as SQL."""
    capped = _capped_features(config, limits)
    unusable = _unusable_portraits(contract, limits)
    columns = []
    for name in config.raw_feature_names:
        kept = column = identifier(name)
        if name in capped:
            low, high = limits[name]
            kept = clamped(column, number(low), number(high))
        if name in unusable:
            kept = f"CASE WHEN {unusable[name]} THEN NULL ELSE {kept} END"
        columns.append(column if kept == column else f"{kept} AS {column}")
    return ", ".join(columns)


def _unusable_portraits(contract: Contract, limits: Limits) -> dict[str, str]:
    """Portrait feature -> a condition: its value breaks a rule, and says nothing. False or NULL otherwise."""
    broken: dict[str, list[str]] = {}
    for rule in contract.portrait_rules_with(limits):
        broken.setdefault(rule.column, []).append(f"({rule.sql})")
    return {name: " OR ".join(rules) for name, rules in broken.items()}


def _outlier_limits(connection: duckdb.DuckDBPyConnection, config: Config, contract: Contract, raw: str) -> Limits:
    """Where a feature with a cap or reject policy ends, in original units: `outlier_sd` SDs of its transform.

    Taken over the rows of the month that break no other rule. A feature that does not vary has no limits.
    """
    limits = {}
    unusable = _unusable_portraits(contract, {})
    for feature in config.features:
        if feature.outliers == "keep":
            continue
        transformed = transform_sql(feature.transform, feature.resolution, identifier(feature.name))
        usable = f"({unusable.get(feature.name, 'false')}) IS NOT TRUE"
        sound = f"(SELECT {transformed} AS t FROM {raw} WHERE len({contract.reasons_sql()}) = 0 AND {usable})"
        found = _mean_and_sd(connection, sound)
        if found is not None:
            mean, reach = found[0], found[1] * config.quality.outlier_sd
            limits[feature.name] = (_untransform(feature, mean - reach), _untransform(feature, mean + reach))
    return limits


def _limits_row(feature: Feature, limits: Limits) -> dict[str, object]:
    below, above = limits.get(feature.name, (None, None))
    return {
        "feature": feature.name,
        "use": feature.use,
        "unit": feature.unit_told,
        "meaning": " ".join(text for text in (feature.meaning, feature.definition) if text),
        "better": feature.better or better_of(feature.name),
        "definition": feature.definition or None,
        "category": feature.category,
        "lowest": feature.valid.min,
        "highest": feature.valid.max,
        "outliers": feature.outliers,
        "outliers_below": below,
        "outliers_above": above,
    }


def _mean_and_sd(connection: duckdb.DuckDBPyConnection, values: str) -> tuple[float, float] | None:
    """Mean and standard deviation of the column t of `values`; None where there is no value, or only one repeated.

    Exact decimal sums of values scaled to (-2, 2) give the same bits in whatever order the threads deliver the rows,
    and hold for any magnitude.
    """
    largest = _number(connection, f"SELECT max(abs(t)) FROM {values}")
    if not largest:
        return None
    scale = math.ldexp(1.0, math.frexp(largest)[1] - 1)
    scaled = f"t / {number(scale)}"
    mean = _number(connection, f"SELECT {_exact_mean(scaled)} FROM {values}") or 0.0
    deviation = f"({scaled} - {number(mean)})"
    variance = _number(connection, f"SELECT {_exact_mean(f'{deviation} * {deviation}')} FROM {values}") or 0.0
    sd = math.sqrt(variance)
    return (mean * scale, sd * scale) if sd > NO_VARIATION else None


def _exact_mean(expression: str) -> str:
    return f"CAST(sum(CAST({expression} AS DECIMAL(38, 26))) AS DOUBLE) / count(t)"


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> float | None:
    found = connection.execute(query).fetchone()
    return found[0] if found else None


def _untransform(feature: Feature, value: float) -> float:
    """The value in original units; beyond what a double holds, the largest one."""
    if feature.transform == "logit":
        return math.exp(min(0.0, value)) / (1 + math.exp(-abs(value)))
    inverse = {"log": math.exp, "log1p": math.expm1, "none": float}[feature.transform]
    try:
        return max(-sys.float_info.max, min(sys.float_info.max, inverse(value)))
    except OverflowError:
        return sys.float_info.max


def _capped_features(config: Config, limits: Limits) -> list[str]:
    return [feature.name for feature in config.features if feature.outliers == "cap" and feature.name in limits]


def _count_capped(connection: duckdb.DuckDBPyConnection, config: Config, contract: Contract, limits: Limits) -> int:
    unusable = _unusable_portraits(contract, limits)
    beyond = [
        f"({identifier(name)} < {number(limits[name][0])} OR {identifier(name)} > {number(limits[name][1])}) "
        f"AND ({unusable.get(name, 'false')}) IS NOT TRUE"
        for name in _capped_features(config, limits)
    ]
    if not beyond:
        return 0
    found = connection.execute(
        f"SELECT count(*) FROM judged WHERE len(reasons) = 0 AND ({' OR '.join(beyond)})"
    ).fetchone()
    return int(found[0]) if found else 0


def _count_left_out(connection: duckdb.DuckDBPyConnection, contract: Contract, limits: Limits) -> dict[str, int]:
    rules = contract.portrait_rules_with(limits)
    if not rules:
        return {}
    counted = ", ".join(f"count(*) FILTER ({rule.sql})" for rule in rules)
    found = connection.execute(f"SELECT {counted} FROM judged WHERE len(reasons) = 0").fetchone() or ()
    return {rule.code: count for rule, count in zip(rules, found, strict=True) if count}


def accepted_frame(connection: duckdb.DuckDBPyConnection, config: Config, month: date, sample: int) -> "pd.DataFrame":
    """The month's accepted customers, id and the model's features, for great-expectations; of more than `sample`, about
    so many, with whoever has no id."""
    columns = ", ".join(identifier(name) for name in config.model_feature_names)
    drawn = drawn_sql(connection, VALIDATED_FEATURES.name, month, sample)
    return connection.execute(
        f"SELECT customer_id, {columns} FROM {VALIDATED_FEATURES.name} WHERE month = ? AND ({drawn}) IS NOT FALSE "
        "ORDER BY customer_id",
        [month],
    ).df()
