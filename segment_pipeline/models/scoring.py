"""The champion as plain SQL: membership probabilities of any relation that has its features in original units.

The text is what `monthly_assignments` and `transition_deltas` run, so no customer leaves the database. Densities use
the Cholesky form, sum of squares of L^-1 (z - mu), and log-sum-exp: on real features it agrees with NumPy to 1e-13,
where the polynomial form is off by 3e-9. The SQL is plain enough to transpile.

A model with memory weighs its densities with what was known of each customer before: a column of the relation, PRIOR,
takes the place of the mixture's weights (`prior_sql` says what stands in it).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.config.model import TierSettings
from segment_pipeline.customers.transforms import standardised_sql
from segment_pipeline.database.quoting import clamped, literal, number
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.gaussian import Line, line_between
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.tables import PRIOR, SILENCE

SMALLEST_PRIOR = "1E-300"
"""What an impossible segment counts as, so that its logarithm is finite."""

OUT_OF_REACH = -1e300
"""Log density of a component for which, by the rule of another, a row is not."""

BEYOND_CHANCE = 1.645
"""Standard deviations from its segment's centre along a line, within which 19 of 20 of its customers lie: who is to be
between two segments lies beyond it from both."""

_NO_MEMORY = (
    "CAST(NULL AS DOUBLE[]) AS month_only_probabilities, CAST(NULL AS DOUBLE[]) AS next_probabilities, "
    "CAST(NULL AS DOUBLE) AS next_lapse_probability"
)


def prior_sql(memory: Memory, before: str, known: str, *, begins: bool = False) -> str:
    """What is known of a customer before a month's features are, as an expression: DOUBLE[] of k + 1, `lapsed` last.

    before : an expression of the same of the month before, all that was known then; NULL for who has none. known : a
    condition: who has none was a customer already, and had lapsed; where it does not hold, the customer is new. begins
    : in the panel's first month, before which nothing is known of anybody.
    """
    k = memory.n_components
    unseen = memory.before if begins else memory.transitions[k]
    new = [*memory.new.tolist(), 0.0]
    states = [f"{before}[{a + 1}]" for a in range(k + 1)]
    listed = ", ".join(
        f"CASE WHEN {before} IS NOT NULL THEN {_ahead(memory.transitions, states, b)} "
        f"WHEN {known} THEN {number(unseen[b])} ELSE {number(new[b])} END"
        for b in range(k + 1)
    )
    return f"[{listed}]"


def _ahead(transitions: Array, states: Sequence[str], to: int) -> str:
    """The probability of a state a month later. states : expressions of the probabilities of the first of the states,
    in their order; the others have none."""
    return " + ".join(f"{state} * {number(transitions[a, to])}" for a, state in enumerate(states))


def membership_sql(model: SegmentModel, relation: str, carried: Sequence[str] = ("customer_id",)) -> str:
    """A query of `relation`'s customer_id with `probabilities` (in the order of the model's segments, summing to 1)
    and `log_likelihood` (nats, per transformed unit; higher is more typical).

    `relation` is a table name or a parenthesised query with customer_id and the model's features and, where the model
    has a memory, PRIOR. `carried` are its columns that come first in the result, as they are.
    """
    probabilities = ", ".join(f"p{k}" for k in range(len(model.segments)))
    listed = ", ".join(carried)
    return f"""
        SELECT {listed}, [{probabilities}] AS probabilities, log_likelihood
        FROM ({_posterior_sql(model, relation, listed)}) AS posterior
    """


def _posterior_sql(model: SegmentModel, relation: str, carried: str, shown: Sequence[str] = ()) -> str:
    """A query of the `carried` columns, the probabilities as columns p0, p1, ..., and log_likelihood. Of a model with
    memory also m0, m1, ...: the probabilities under the mixture's weights. shown : further columns of the result, as
    "expression AS y0" over those of `relation`.

    Columns and not a list, because not every engine reads a number back out of a list as a number.
    """
    if model.memory is not None:
        return _posterior_with_memory_sql(model, relation, carried, shown)
    components = range(len(model.segments))
    peak = _greatest([f"j{k}" for k in components])
    total = " + ".join(f"e{k}" for k in components)
    densities = _densities_sql(model, relation, carried, "j", model.mixture.weights, shown)
    carried = ", ".join([carried, *map(_alias, shown)])
    return f"""
        SELECT {carried}, {", ".join(f"e{k} / total AS p{k}" for k in components)},
            peak + ln(total) + {number(model.space.log_jacobian)} AS log_likelihood
        FROM (
            SELECT *, {total} AS total
            FROM (
                SELECT {carried}, peak, {", ".join(f"exp(j{k} - peak) AS e{k}" for k in components)}
                FROM (
                    SELECT *, {peak} AS peak
                    FROM ({densities}) AS joint
                ) AS peaked
            ) AS exponentials
        ) AS totals
    """


def _posterior_with_memory_sql(model: SegmentModel, relation: str, carried: str, shown: Sequence[str]) -> str:
    components = range(len(model.segments))

    def each(expression: str) -> str:
        return ", ".join(expression.format(k=k) for k in components)

    # read back from a list, a number is none in every engine
    q = [f"greatest({SMALLEST_PRIOR}, CAST({PRIOR}[{k + 1}] AS DOUBLE)) AS q{k}" for k in components]
    of_month = ", ".join(f"g{k} + {number(math.log(model.mixture.shares[k]))} AS h{k}" for k in components)
    densities = _densities_sql(model, relation, carried, "g", model.mixture.within, [*q, *shown])
    carried = ", ".join([carried, *map(_alias, shown)])
    total, month_total, known = (" + ".join(f"{letter}{k}" for k in components) for letter in "efq")
    return f"""
        SELECT {carried}, {each("e{k} / total AS p{k}")}, {each("f{k} / month_total AS m{k}")},
            peak + ln(total) - ln(known) + {number(model.space.log_jacobian)} AS log_likelihood
        FROM (
            SELECT *, {total} AS total, {month_total} AS month_total
            FROM (
                SELECT {carried}, known, peak, {each("exp(j{k} - peak) AS e{k}")},
                    {each("exp(h{k} - month_peak) AS f{k}")}
                FROM (
                    SELECT *, {_greatest([f"j{k}" for k in components])} AS peak,
                        {_greatest([f"h{k}" for k in components])} AS month_peak
                    FROM (
                        SELECT {carried}, {known} AS known, {each("g{k} + ln(q{k}) AS j{k}")}, {of_month}
                        FROM ({densities}) AS densities
                    ) AS joint
                ) AS peaked
            ) AS exponentials
        ) AS totals
    """


def _densities_sql(
    model: SegmentModel, relation: str, carried: str, letter: str, weights: Array, known: Sequence[str] = ()
) -> str:
    """A query of the `carried` columns and, for each segment, the log of the sum of its components' weights (k,) times
    densities, as columns of this letter; where a rule decides for another segment, out of reach. known : further
    columns of the result, as "expression AS q0" over those of `relation`."""
    parts = model.mixture.parts
    if parts is None:
        return components_sql(model, relation, carried, letter, weights, known)
    kept = ", ".join([carried, *map(_alias, known)])
    sums = ", ".join(f"{_log_sum([f'c{k}' for k in part])} AS {letter}{segment}" for segment, part in enumerate(parts))
    return f"SELECT {kept}, {sums} FROM ({components_sql(model, relation, carried, 'c', weights, known)}) AS components"


def components_sql(
    model: SegmentModel, relation: str, carried: str, letter: str, weights: Array, known: Sequence[str] = ()
) -> str:
    """A query of the `carried` columns and, for each component, the log of its weight (k,) times its density; far below
    every other where a rule decides for another segment. letter, known : as in `_densities_sql`."""
    z = [f"{expression} AS z{j}" for j, expression in enumerate(standardised_sql(model.space))]
    standardised = f"(SELECT {', '.join([carried, *known, *z])} FROM {relation} AS scored_rows) AS standardised"
    densities = ", ".join(
        f"{_ruled(model, k, _log_density(model, k, math.log(weights[k])))} AS {letter}{k}"
        for k in range(model.mixture.n_components)
    )
    return f"SELECT {', '.join([carried, *map(_alias, known)])}, {densities} FROM {standardised}"


def _alias(column: str) -> str:
    return column.rpartition(" ")[2]


def _log_sum(logarithms: Sequence[str]) -> str:
    """The logarithm of the sum of what these are the logarithms of."""
    if len(logarithms) == 1:
        return logarithms[0]
    peak = _greatest(list(logarithms))
    return f"{peak} + ln({' + '.join(f'exp({one} - {peak})' for one in logarithms)})"


def assignment_sql(
    model: SegmentModel,
    relation: str,
    tiers: TierSettings,
    carried: Sequence[str] = ("customer_id",),
    by_silence: Array | None = None,
) -> str:
    """A query with the columns of `monthly_assignments`, less `month`, for every row of `relation`.

    `relation` and `carried` are as in `membership_sql`. by_silence : (w, k + 1, k + 1) the transitions of each silence
    (`Memory.by_silence`); `relation` then has the column SILENCE. Without them, and of whom it is NULL, the next month
    is as the model's memory has it for all customers of such memberships.
    """
    kept = [*carried, SILENCE] if by_silence is not None else carried
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
    along, between = _between_sql(model, tiers.is_between)
    tier = tier_sql(tiers)
    y = [f"{expression} AS y{j}" for j, expression in enumerate(standardised_sql(model.space))]
    return f"""
        SELECT {", ".join(carried)}, segment_id, CASE segment_id {names} END AS segment_name, max_probability,
            second_segment_id, second_probability,
            least(1E0, greatest(0E0, ({entropy}) * {scale})) AS entropy,
            {tier} = 'hybrid' AS is_hybrid, {tier} AS tier,
            {clamped("along", "0E0", "1E0")} AS position_to_second,
            {between} AS is_between,
            log_likelihood, log_likelihood < {number(model.atypical_below)} AS is_atypical,
            [{", ".join(str(segment_id) for segment_id in ids)}] AS segment_ids,
            [{", ".join(columns)}] AS probabilities,
            {_explained_sql(model, by_silence)},
            {model.model_version} AS model_version
        FROM (
            SELECT *, {along} AS along
            FROM (
                SELECT *, {second} END AS second_segment_id
                FROM (
                    SELECT *, {others} AS second_probability,
                        CASE first_position {" ".join(f"WHEN {k} THEN {ids[k]}" for k in range(len(ids)))} END
                            AS segment_id
                    FROM (
                        SELECT *, {position} AS first_position
                        FROM (
                            SELECT *, {largest} AS max_probability
                            FROM ({_posterior_sql(model, relation, ", ".join(kept), y)}) AS posterior
                        ) AS measured
                    ) AS placed
                ) AS ranked
            ) AS seconded
        ) AS located
    """


def _between_sql(model: SegmentModel, nearest: float) -> tuple[str, str]:
    """Where on the line from its segment's centre to its second's a customer lies, and whether that is between them, as
    expressions over both ids, the standardised features y0, y1, ... and, for the other, `along`, which is the first.

    nearest : to either centre, as a part of the line. Beside a segment by rule nobody is between.
    """
    along: dict[int, str] = {}
    between: dict[int, str] = {}
    for one, other, line in _lines(model):
        terms = " + ".join(f"{number(weight)} * y{j}" for j, weight in enumerate(line.weights) if weight != 0.0)
        along[one] = f"{along.get(one, '')} WHEN {other} THEN {number(line.offset)} + {terms}"
        low, high = max(nearest, BEYOND_CHANCE * line.spread), 1 - max(nearest, BEYOND_CHANCE * line.other_spread)
        if low < high:
            inside = f"along BETWEEN {number(low)} AND {number(high)}"
            between[one] = f"{between.get(one, '')} WHEN {other} THEN {inside}"
    return _of_pair(along, "CAST(NULL AS DOUBLE)"), _of_pair(between, "false")


def _of_pair(cases: Mapping[int, str], otherwise: str) -> str:
    """What is said of a segment and its second. cases : of each segment, those of the second."""
    inner = " ".join(
        f"WHEN {one} THEN CASE second_segment_id {case} ELSE {otherwise} END" for one, case in cases.items()
    )
    return f"CASE segment_id {inner} ELSE {otherwise} END" if cases else otherwise


def _lines(model: SegmentModel) -> Iterator[tuple[int, int, Line]]:
    """The line from each segment to each other, with both ids; none where a rule makes one, or both have one centre."""
    mixture, ids = model.mixture.moments, model.segment_ids
    found = [k for k in range(len(ids)) if mixture.hurdle is None or mixture.hurdle.component != k]
    for a, b in permutations(found, 2):
        if not np.array_equal(mixture.means[a], mixture.means[b]):
            yield ids[a], ids[b], line_between(mixture, a, b)


def _explained_sql(model: SegmentModel, by_silence: Array | None) -> str:
    """What the month alone would say, and what is expected of the next one, from the columns of `_posterior_sql`."""
    memory = model.memory
    if memory is None:
        return _NO_MEMORY
    states = [f"p{k}" for k in range(memory.n_components)]

    def next_month(to: int) -> str:
        whoever = _ahead(memory.transitions, states, to)
        cases = "".join(
            f"WHEN {silence} THEN {_ahead(transitions, states, to)} "
            for silence, transitions in enumerate(by_silence if by_silence is not None else ())
        )
        return f"CASE {SILENCE} {cases}ELSE {whoever} END" if cases else whoever

    *segments, lapsed = (next_month(b) for b in range(memory.n_components + 1))
    month_only = ", ".join(f"m{k}" for k in range(memory.n_components))
    return (
        f"[{month_only}] AS month_only_probabilities, [{', '.join(segments)}] AS next_probabilities, "
        f"{lapsed} AS next_lapse_probability"
    )


def tier_sql(tiers: TierSettings) -> str:
    """The tier of a row with max_probability and second_probability: tried in order, so everyone is in exactly one."""
    return (
        f"CASE WHEN max_probability >= {number(tiers.dominant)} THEN 'dominant' "
        f"WHEN second_probability >= {number(tiers.hybrid_second)} "
        f"AND max_probability + second_probability >= {number(tiers.hybrid_pair)} THEN 'hybrid' "
        f"WHEN max_probability < {number(tiers.diffuse)} THEN 'diffuse' ELSE 'leaning' END"
    )


def _ruled(model: SegmentModel, k: int, log_joint: str) -> str:
    """`log_joint` of component k, out of reach where the rule of a hurdle segment decides for another."""
    hurdle = model.mixture.hurdle
    if hurdle is None:
        return log_joint
    holds = f"z{hurdle.feature} BETWEEN {number(hurdle.low)} AND {number(hurdle.high)}"
    applies = holds if k == hurdle.component else f"NOT ({holds})"
    return f"CASE WHEN {applies} THEN {log_joint} ELSE {number(OUT_OF_REACH)} END"


def _log_density(model: SegmentModel, k: int, log_weight: float) -> str:
    """log_weight + log N(z; mean_k, covariance_k) as an expression over z0, z1, ..."""
    mixture = model.mixture
    dimensions = mixture.means.shape[1]
    lower = np.linalg.cholesky(mixture.covariances[k])
    whitening = np.linalg.inv(lower)
    constant = log_weight - 0.5 * dimensions * math.log(2 * math.pi) - float(np.log(np.diag(lower)).sum())
    squares = []
    for i in range(dimensions):
        whitened = " + ".join(
            f"{number(whitening[i, j])} * (z{j} - {number(mixture.means[k, j])})"
            for j in range(i + 1)
            if whitening[i, j] != 0.0
        )
        squares.append(f"({whitened}) * ({whitened})")
    return f"{number(constant)} - 5E-1 * ({' + '.join(squares)})"


def _greatest(expressions: list[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"greatest({', '.join(expressions)})"
