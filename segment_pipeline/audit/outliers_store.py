"""Unusual customers of a month: who they are, which group they belong to, and each group's figures, set-based."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.audit.outliers import (
    EXTREME,
    FITTED,
    MANY_TINY_ORDERS,
    REPEATED,
    REPEATED_VALUES,
    REPEATS_USUAL,
    FeatureOfGroup,
    Judgement,
    OutlierGroup,
    OutlierPoints,
    PortraitOfGroup,
    group_outliers,
    judge,
    telling_features,
)
from segment_pipeline.audit.tables import OUTLIER_CUSTOMERS, OUTLIER_GROUP_PROFILES, OUTLIER_GROUPS
from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import MONETARY, ORDER_VALUE
from segment_pipeline.customers.space_store import read_feature_space
from segment_pipeline.database.quoting import identifier, literal, number
from segment_pipeline.database.rows import exact_mean, exact_sum, feature_matrix, without, write_rows
from segment_pipeline.database.store import month_literal, month_rows, replace_month
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.models.scoring import membership_sql
from segment_pipeline.segments.profiles_store import feature_units, spend_sql
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS
from segment_pipeline.words import counted

BY_RULE = (REPEATED_VALUES, MANY_TINY_ORDERS)

CHART_ORDINARY = 1000
CHART_OF_GROUP = 120
"""Customers that the chart shows, at most about: ordinary ones, and of each group."""


@dataclass(frozen=True)
class JudgedGroup:
    """A group of the month with what is to be thought of it."""

    group_id: int
    group: OutlierGroup
    judgement: Judgement


def write_outliers(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[JudgedGroup]:
    """Replace the month of the three tables; returns the groups, the largest first. Call it inside a transaction."""
    _find_outliers(connection, config, month)
    mixture = _mixture_of_the_rest(connection, config, month)
    _assign_groups(connection, config, mixture, month)
    replace_month(
        connection,
        OUTLIER_CUSTOMERS,
        month,
        f"SELECT {month_literal(month)} AS month, customer_id, group_id, farthest_feature, z, log_likelihood "
        "FROM outliers JOIN outlier_ids USING (found) ORDER BY customer_id",
    )
    groups = [
        JudgedGroup(number, group, judge(group, config.quality.outlier_sd))
        for number, group in enumerate(_figures(connection, config, month), start=1)
    ]
    write_rows(
        connection,
        OUTLIER_GROUPS,
        month,
        [
            without(found.group, "rule", "distance", "one_extreme_share", "farthest", "features", "portraits")
            | vars(found.judgement)
            | {"group_id": found.group_id}
            for found in groups
        ],
    )
    write_rows(
        connection,
        OUTLIER_GROUP_PROFILES,
        month,
        [
            row | {"group_id": found.group_id}
            for found in groups
            for row in (
                *(without(feature, "policy") for feature in found.group.features),
                *(vars(portrait) | {"z": None} for portrait in found.group.portraits),
            )
        ],
    )
    for table in ("outliers", "outlier_ids"):
        connection.execute(f"DROP TABLE {table}")
    return groups


def outlier_points(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, groups: Sequence[JudgedGroup]
) -> OutlierPoints | None:
    """What the chart shows, from the month's rows; None without unusual customers or with a single feature."""
    names = telling_features([found.group for found in groups])
    if names is None:
        return None
    _, ordinary = feature_matrix(connection, "validated_features", month, names, CHART_ORDINARY)
    columns = ", ".join(f"CAST({identifier(name)} AS DOUBLE)" for name in names)
    shown = connection.execute(
        f"""
        SELECT o.group_id, {columns} FROM outlier_customers AS o
        JOIN validated_features AS f ON f.month = o.month AND f.customer_id = o.customer_id
        WHERE o.month = ?
        QUALIFY row_number() OVER (PARTITION BY o.group_id ORDER BY md5(o.customer_id)) <= {CHART_OF_GROUP}
        ORDER BY o.group_id, o.customer_id
        """,
        [month],
    ).fetchall()
    units = feature_units(config)
    transforms = {feature.name: feature.transform for feature in config.features}
    return OutlierPoints(
        f"Unusual customers of {month:%Y-%m}",
        (_axis(names[0], units), _axis(names[1], units)),
        (transforms[names[0]] in ("log", "log1p"), transforms[names[1]] in ("log", "log1p")),
        ordinary,
        [
            (
                f"{found.group_id}: {found.judgement.kind.replace('_', ' ')}, {counted(found.group.customers)}",
                np.array([row[1:] for row in shown if row[0] == found.group_id], dtype=np.float64),
            )
            for found in groups
        ],
    )


def _axis(name: str, units: dict[str, str]) -> str:
    unit = units[name]
    return name.replace("_", " ") + (f" ({unit})" if unit and unit != name else "")


# --- who is unusual ---------------------------------------------------------------------------------------------------


def _find_outliers(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """Fill `outliers`: customer_id, z0, z1, ..., the farthest feature and its z, and `found`, the group by rule."""
    names = config.model_feature_names
    limit = number(config.quality.outlier_sd)
    columns = ", ".join(f"s.{identifier(name)} AS z{j}" for j, name in enumerate(names))
    beyond = " OR ".join(f"abs(s.{identifier(name)}) > {limit}" for name in names)
    distances = [f"abs(z{j})" for j in range(len(names))]
    farthest = f"greatest({', '.join(distances)})"
    which = " ".join(f"WHEN {distance} = distance THEN {j}" for j, distance in enumerate(distances))
    extreme = number(EXTREME * config.quality.outlier_sd)
    many = " + ".join(f"CAST({distance} > {limit} AS INTEGER)" for distance in distances)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE outliers AS
        WITH money AS (
            SELECT customer_id, {spend_sql(config) or "CAST(NULL AS DOUBLE)"} AS spend FROM validated_features
            WHERE month = {month_literal(month)}
        ),
        unusual AS (
            SELECT s.customer_id, a.log_likelihood, {columns},
                m.spend < (SELECT median(spend) FROM money) AS spends_little
            FROM scaled_matrix AS s
            JOIN monthly_assignments AS a ON a.month = s.month AND a.customer_id = s.customer_id
            JOIN money AS m ON m.customer_id = s.customer_id
            WHERE s.month = {month_literal(month)} AND (a.is_atypical OR {beyond})
        ),
        measured AS (
            SELECT *, {farthest} AS distance,
                count(*) OVER (PARTITION BY {", ".join(f"z{j}" for j in range(len(names)))}) AS copies
            FROM unusual
        ),
        placed AS (SELECT *, CASE {which} END AS farthest FROM measured)
        SELECT *,
            CASE farthest {" ".join(f"WHEN {j} THEN {literal(name)}" for j, name in enumerate(names))} END
                AS farthest_feature,
            CASE farthest {" ".join(f"WHEN {j} THEN z{j}" for j in range(len(names)))} END AS z,
            distance > {extreme} AND {many} = 1 AS one_extreme,
            CASE WHEN copies >= {REPEATED} THEN -1 WHEN {_many_tiny_orders(config)} THEN -2 END AS found
        FROM placed
    """)
    repeated = connection.execute("SELECT count(*) FROM outliers WHERE found = -1").fetchone()
    if repeated and repeated[0] and _repeats_are_usual(connection, config, month):
        connection.execute(
            f"UPDATE outliers SET found = CASE WHEN {_many_tiny_orders(config)} THEN -2 END WHERE found = -1"
        )


def _repeats_are_usual(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> bool:
    columns = ", ".join(identifier(name) for name in config.model_feature_names)
    found = connection.execute(
        f"""
        SELECT sum(copies) FILTER (copies >= {REPEATED}) / sum(copies)
        FROM (SELECT count(*) AS copies FROM validated_features WHERE month = ? GROUP BY {columns})
        """,
        [month],
    ).fetchone()
    return found is not None and (found[0] or 0.0) > REPEATS_USUAL


def _many_tiny_orders(config: Config) -> str:
    """Orders are many, each is worth little, and all together less than what half of the customers spend: who spends
    more is no bot. Where nothing tells what a customer spends, nobody is called one."""
    names = config.model_feature_names
    value = next((name for name in (ORDER_VALUE, MONETARY) if name in names), None)
    if value is None or config.frequency_feature not in names:
        return "false"
    orders, worth = names.index(str(config.frequency_feature)), names.index(value)
    limit = config.quality.outlier_sd
    return f"z{orders} > {number(limit)} AND z{worth} < {number(-limit / 2)} AND spends_little"


# --- which group ------------------------------------------------------------------------------------------------------


def _mixture_of_the_rest(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Mixture | None:
    d = len(config.model_feature_names)
    columns = ", ".join(f"z{j}" for j in range(d))
    found = connection.execute(
        f"SELECT {columns} FROM outliers WHERE found IS NULL ORDER BY md5(customer_id), customer_id LIMIT {FITTED}"
    ).fetchnumpy()
    Z = np.column_stack([np.asarray(found[f"z{j}"], dtype=np.float64) for j in range(d)])
    return group_outliers(Z, read_feature_space(connection, month).variance_floor, config.model.seed)


def _assign_groups(connection: duckdb.DuckDBPyConnection, config: Config, mixture: Mixture | None, month: date) -> None:
    """Every outlier's `found`, and `outlier_ids`: the group_id of each, by size."""
    if mixture is None:
        connection.execute("UPDATE outliers SET found = 0 WHERE found IS NULL")
    else:
        model = SegmentModel(
            0,
            month,
            read_feature_space(connection, month),
            mixture,
            tuple(Segment(k, str(k), None) for k in range(mixture.n_components)),
            atypical_below=-np.inf,
        )
        rest = (
            f"(SELECT f.* FROM validated_features AS f SEMI JOIN outliers AS o "
            f"ON o.customer_id = f.customer_id AND o.found IS NULL WHERE f.month = {month_literal(month)})"
        )
        connection.execute(f"""
            UPDATE outliers SET found = m.component FROM (
                SELECT customer_id, list_position(probabilities, list_max(probabilities)) - 1 AS component
                FROM ({membership_sql(model, rest)})
            ) AS m WHERE m.customer_id = outliers.customer_id
        """)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE outlier_ids AS
        SELECT found, CAST(row_number() OVER (ORDER BY count(*) DESC, found) AS INTEGER) AS group_id
        FROM outliers GROUP BY found
    """)


# --- what the groups are ----------------------------------------------------------------------------------------------


def _figures(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[OutlierGroup]:
    """The groups in the order of their ids."""
    names, units, spend = config.model_feature_names, feature_units(config), spend_sql(config)
    policies = {feature.name: feature.outliers for feature in config.features}
    everyone = month_rows(connection, MONTHLY_ASSIGNMENTS, month)
    portraits = [feature.name for feature in config.portrait_features]
    medians = ", ".join(f"median({identifier(name)})" for name in (*names, *portraits))
    total = exact_sum(spend) if spend is not None else "NULL"
    (population,) = connection.execute(
        f"SELECT {medians}, {total} FROM validated_features WHERE month = ?", [month]
    ).fetchall()
    # half the distance between the 16th and the 84th percentile is one SD of a normal feature, and a stray customer
    # or two in a tight group do not change it
    columns = [
        f"median(f.{identifier(name)}), {exact_mean(f'z{j}')}, "
        f"(quantile_cont(z{j}, 0.84) - quantile_cont(z{j}, 0.16)) / 2"
        for j, name in enumerate(names)
    ]
    columns += [f"median(f.{identifier(name)})" for name in portraits]
    found = connection.execute(f"""
        SELECT i.found, count(*), {total}, median(o.distance), {exact_mean("CAST(o.one_extreme AS DOUBLE)")},
            {", ".join(columns)}
        FROM outliers AS o JOIN outlier_ids AS i ON i.found = o.found
        JOIN validated_features AS f ON f.month = {month_literal(month)} AND f.customer_id = o.customer_id
        GROUP BY i.found, i.group_id ORDER BY i.group_id
    """).fetchall()
    farthest = dict(
        connection.execute("""
            SELECT found, farthest_feature FROM outliers GROUP BY found, farthest_feature
            QUALIFY row_number() OVER (PARTITION BY found ORDER BY count(*) DESC, farthest_feature) = 1
        """).fetchall()
    )
    groups = []
    for code, customers, spent, distance, one_extreme, *rest in found:
        figures = [rest[3 * j : 3 * j + 3] for j in range(len(names))]
        variance = float(np.mean([spread**2 for _, _, spread in figures]))
        groups.append(
            OutlierGroup(
                BY_RULE[-code - 1] if code < 0 else None,
                customers,
                customers / everyone,
                spent / population[-1] if spend is not None and population[-1] else None,
                1.0 - variance,  # of all customers the standardised variance is 1
                distance,
                one_extreme,
                farthest[code],
                [
                    FeatureOfGroup(name, units[name], policies[name], median, population[j], mean)
                    for j, (name, (median, mean, _)) in enumerate(zip(names, figures, strict=True))
                ],
                [
                    PortraitOfGroup(name, units[name], median, usual)
                    for name, median, usual in zip(
                        portraits, rest[3 * len(names) :], population[len(names) : -1], strict=True
                    )
                ],
            )
        )
    return groups
