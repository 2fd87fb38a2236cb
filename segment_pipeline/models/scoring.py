"""The champion as plain SQL: membership probabilities of any relation that has its features in original units.

The text is what `monthly_assignments` and `transition_deltas` run, so no customer leaves the database. Densities use
the Cholesky form, sum of squares of L^-1 (z - mu), and log-sum-exp: on real features it agrees with NumPy to 1e-13,
where the polynomial form is off by 3e-9. The SQL is plain enough to transpile.
"""

import math
from collections.abc import Sequence

import numpy as np

from segment_pipeline.config.model import TierSettings
from segment_pipeline.customers.transforms import standardised_sql
from segment_pipeline.database.quoting import literal, number
from segment_pipeline.models.model import SegmentModel


def membership_sql(model: SegmentModel, relation: str) -> str:
    """A query of `relation`'s customer_id with `probabilities` (in the order of the model's segments, summing to 1)
    and `log_likelihood` (nats, per transformed unit; higher is more typical).

    `relation` is a table name or a parenthesised query with customer_id and the model's features.
    """
    probabilities = ", ".join(f"p{k}" for k in range(len(model.segments)))
    return f"""
        SELECT customer_id, [{probabilities}] AS probabilities, log_likelihood
        FROM ({_posterior_sql(model, relation, "customer_id")}) AS posterior
    """


def _posterior_sql(model: SegmentModel, relation: str, carried: str) -> str:
    """A query of the `carried` columns, the probabilities as columns p0, p1, ..., and log_likelihood.

    Columns and not a list, because not every engine reads a number back out of a list as a number.
    """
    components = range(len(model.segments))
    peak = _greatest([f"j{k}" for k in components])
    total = " + ".join(f"e{k}" for k in components)
    z = ", ".join(f"{expression} AS z{j}" for j, expression in enumerate(standardised_sql(model.space)))
    return f"""
        SELECT {carried}, {", ".join(f"e{k} / total AS p{k}" for k in components)},
            peak + ln(total) + {number(model.space.log_jacobian)} AS log_likelihood
        FROM (
            SELECT *, {total} AS total
            FROM (
                SELECT {carried}, peak, {", ".join(f"exp(j{k} - peak) AS e{k}" for k in components)}
                FROM (
                    SELECT *, {peak} AS peak
                    FROM (
                        SELECT {carried}, {", ".join(f"{_ruled_log_joint(model, k)} AS j{k}" for k in components)}
                        FROM (SELECT {carried}, {z} FROM {relation} AS scored_rows) AS standardised
                    ) AS joint
                ) AS peaked
            ) AS exponentials
        ) AS totals
    """


def assignment_sql(
    model: SegmentModel, relation: str, tiers: TierSettings, carried: Sequence[str] = ("customer_id",)
) -> str:
    """A query with the columns of `monthly_assignments`, less `month`, for every row of `relation`.

    `carried` are the columns of `relation` that come first in the result, as they are.
    """
    ids = [segment.segment_id for segment in model.segments]
    columns = [f"p{k}" for k in range(len(ids))]
    largest = _greatest(columns)
    # the first of equals wins, so that a tie has one answer; it is then left out to find the second
    position = "CASE " + " ".join(f"WHEN p{k} = max_probability THEN {k}" for k in range(len(ids))) + " END"
    others = _greatest([f"CASE WHEN first_position = {k} THEN -1E0 ELSE p{k} END" for k in range(len(ids))])
    second = "CASE " + " ".join(
        f"WHEN first_position <> {k} AND p{k} = second_probability THEN {ids[k]}" for k in range(len(ids))
    )
    entropy = " + ".join(f"CASE WHEN p{k} > 0E0 THEN -p{k} * ln(p{k}) ELSE 0E0 END" for k in range(len(ids)))
    names = " ".join(f"WHEN {segment.segment_id} THEN {literal(segment.name)}" for segment in model.segments)
    scale = number(1 / math.log(len(ids))) if len(ids) > 1 else "0E0"
    return f"""
        SELECT {", ".join(carried)}, segment_id, CASE segment_id {names} END AS segment_name, max_probability,
            {second} END AS second_segment_id, second_probability,
            least(1E0, greatest(0E0, ({entropy}) * {scale})) AS entropy,
            second_probability > {number(tiers.is_hybrid)} AS is_hybrid,
            {tier_sql(tiers)} AS tier,
            log_likelihood, log_likelihood < {number(model.atypical_below)} AS is_atypical,
            [{", ".join(str(segment_id) for segment_id in ids)}] AS segment_ids,
            [{", ".join(columns)}] AS probabilities,
            {model.model_version} AS model_version
        FROM (
            SELECT *, {others} AS second_probability,
                CASE first_position {" ".join(f"WHEN {k} THEN {ids[k]}" for k in range(len(ids)))} END AS segment_id
            FROM (
                SELECT *, {position} AS first_position
                FROM (
                    SELECT *, {largest} AS max_probability
                    FROM ({_posterior_sql(model, relation, ", ".join(carried))}) AS posterior
                ) AS measured
            ) AS placed
        ) AS ranked
    """


def tier_sql(tiers: TierSettings) -> str:
    """The tier of a row with max_probability and second_probability: tried in order, so everyone is in exactly one."""
    return (
        f"CASE WHEN max_probability >= {number(tiers.dominant)} THEN 'dominant' "
        f"WHEN second_probability >= {number(tiers.hybrid_second)} "
        f"AND max_probability + second_probability >= {number(tiers.hybrid_pair)} THEN 'hybrid' "
        f"WHEN max_probability < {number(tiers.diffuse)} THEN 'diffuse' ELSE 'leaning' END"
    )


def _ruled_log_joint(model: SegmentModel, k: int) -> str:
    """`_log_joint`, out of reach where the rule of a hurdle segment decides for another."""
    hurdle = model.mixture.hurdle
    if hurdle is None:
        return _log_joint(model, k)
    holds = f"z{hurdle.feature} BETWEEN {number(hurdle.low)} AND {number(hurdle.high)}"
    applies = holds if k == hurdle.component else f"NOT ({holds})"
    return f"CASE WHEN {applies} THEN {_log_joint(model, k)} ELSE {number(-1e300)} END"


def _log_joint(model: SegmentModel, k: int) -> str:
    """log(weight_k) + log N(z; mean_k, covariance_k) as an expression over z0, z1, ..."""
    mixture = model.mixture
    dimensions = mixture.means.shape[1]
    lower = np.linalg.cholesky(mixture.covariances[k])
    whitening = np.linalg.inv(lower)
    constant = (
        math.log(mixture.weights[k]) - 0.5 * dimensions * math.log(2 * math.pi) - float(np.log(np.diag(lower)).sum())
    )
    squares = []
    for i in range(dimensions):
        whitened = " + ".join(
            f"{number(whitening[i, j])} * (z{j} - {number(mixture.means[k, j])})" for j in range(i + 1)
        )
        squares.append(f"({whitened}) * ({whitened})")
    return f"{number(constant)} - 5E-1 * ({' + '.join(squares)})"


def _greatest(expressions: list[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"greatest({', '.join(expressions)})"
