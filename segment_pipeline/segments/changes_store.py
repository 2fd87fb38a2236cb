"""Why a customer is in its segment: the change of the segment's log-odds since the month before, split exactly.

The log-odds of a segment are ln(sum of its components' weight times density) less the same sum of all others. Both
months are those of this month's champion, so a refit is no reason. The split has two steps, and both are exact:

- The change of a logarithm of a sum is the sum of the changes of the logarithms of its terms, each weighted with the
  logarithmic mean of the term over that of the sum: L(x, y) = (x - y) / (ln x - ln y) (Montgomery 1937; Ang 2004).
- A term's logarithm is a quadratic form of the features, and of that the change is the gradient at the midpoint times
  the change of the features: what integrated gradients along the straight line give (Sundararajan, Taly & Yan 2017),
  and Aumann and Shapley's value (1974). Where the champion has a memory, what the months before expect of the segment
  is one more summand.
"""

from collections.abc import Callable
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.customers.transforms import standardised_sql
from segment_pipeline.database.quoting import literal, number
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.scoring import OUT_OF_REACH, SMALLEST_PRIOR, components_sql
from segment_pipeline.models.tables import PRIOR
from segment_pipeline.months import add_months
from segment_pipeline.segments.memory_store import customers_of, scored_rows
from segment_pipeline.segments.tables import CUSTOMER_CHANGES, MONTHLY_ASSIGNMENTS

THE_MONTHS_BEFORE = "the months before"
"""The reason that is no feature: what a champion with memory expected of the customer before the month began."""

NO_REASON = "1E-12"
"""Log-odds up to which a contribution is what is left of rounding, which differs from engine to engine."""

_ALIKE = 1e-3
"""Difference of two logarithms below which their logarithmic mean is taken from its series, exact to 1e-14 there."""


def write_changes(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, *, seen_before: bool) -> int:
    """Replace the month of `customer_changes`, after its assignments; returns the rows.

    seen_before : whether `model`, which serves the month, can see the month before; no rows otherwise, nor where the
    densities have no two segments to choose between.
    """
    empty = f"SELECT * FROM {CUSTOMER_CHANGES.name} LIMIT 0"
    if not seen_before or len({model.mixture.segment_of[c] for c in _components(model)}) < 2:
        return replace_month(connection, CUSTOMER_CHANGES, month, empty)
    before = add_months(month, -1)
    # a champion that has just been promoted has looked at the months before with what is known today
    until = month if model.trained_month == month else before
    now = scored_rows(connection, model, customers_of(month))
    then = scored_rows(connection, model, customers_of(before), until)
    segments = f"SELECT customer_id, segment_id FROM {MONTHLY_ASSIGNMENTS.name} WHERE month = {month_literal(month)}"
    query = f"""
        SELECT {month_literal(month)} AS month, changes.*, {model.model_version} AS model_version
        FROM ({changes_sql(model, now, then, segments)}) AS changes ORDER BY customer_id
    """
    return replace_month(connection, CUSTOMER_CHANGES, month, query)


def changes_sql(model: SegmentModel, now: str, before: str, segments: str) -> str:
    """A query with the columns of `customer_changes`, less month and model_version, of the customers in all three.

    now, before : relations as `membership_sql` takes them. segments : a query of customer_id and segment_id, of which
    the log-odds are.
    """
    reasons = [*model.space.names, *([THE_MONTHS_BEFORE] if model.memory is not None else [])]
    parts = range(len(reasons))
    listed = f"[{', '.join(map(literal, reasons))}]"
    largest = f"greatest({', '.join(f'abs(part{j})' for j in parts)})"
    others = ", ".join(f"CASE WHEN first = {j} THEN -1E0 ELSE abs(part{j}) END" for j in parts)

    def chosen(place: str, values: Callable[[int], str]) -> str:
        return f"CASE {place} {' '.join(f'WHEN {j} THEN {values(j)}' for j in parts)} END"

    def name(j: int) -> str:
        return literal(reasons[j])

    def value(j: int) -> str:
        return f"part{j}"

    hurdle = model.mixture.hurdle
    of_rule = literal(model.space.names[hurdle.feature]) if hurdle is not None else "NULL"
    return f"""
        SELECT customer_id, segment_id, log_odds, change_of_log_odds,
            CASE WHEN by_rule THEN {of_rule} ELSE {chosen("first", name)} END AS reason_1,
            {chosen("first", value)} AS contribution_1,
            {chosen("second", name)} AS reason_2, {chosen("second", value)} AS contribution_2, {listed} AS reasons,
            CASE WHEN NOT by_rule THEN [{", ".join(map(value, parts))}] END AS contributions
        FROM (
            SELECT *, CASE {
        " ".join(
            f"WHEN first <> {j} AND abs(part{j}) > {NO_REASON} AND abs(part{j}) = next_largest THEN {j}" for j in parts
        )
    } END AS second
            FROM (
                SELECT *, greatest({others}, 0E0) AS next_largest
                FROM (
                    SELECT *, CASE {
        " ".join(f"WHEN abs(part{j}) > {NO_REASON} AND abs(part{j}) = {largest} THEN {j}" for j in parts)
    } END AS first
                    FROM ({_parts_sql(model, now, before, segments)}) AS parts
                ) AS headed
            ) AS measured
        ) AS ranked
    """


def _components(model: SegmentModel) -> list[int]:
    """The components that the densities choose between: all but that of a rule."""
    hurdle = model.mixture.hurdle
    return [c for c in range(model.mixture.n_components) if hurdle is None or c != hurdle.component]


def _parts_sql(model: SegmentModel, now: str, before: str, segments: str) -> str:
    """A query of customer_id, segment_id, by_rule (whether a rule decides in one of the months), log_odds,
    change_of_log_odds, and what each reason contributes: part0, part1, ...; all NULL where a rule decides."""
    components = _components(model)
    reasons = range(model.space.n_features + (model.memory is not None))
    own = {c: f"segment_id = {model.segment_ids[model.mixture.segment_of[c]]}" for c in components}
    # of each segment's own, and of all others: the log of their sum in both months
    peaks = ", ".join(
        "greatest("
        + ", ".join(f"CASE WHEN {told}({own[c]}) THEN {month}{c} ELSE -1E300 END" for c in components)
        + f") AS {month}{side}_peak"
        for month in "nb"
        for side, told in _SIDES.items()
    )
    sums = ", ".join(
        f"{month}{side}_peak + ln(greatest({SMALLEST_PRIOR}, "  # where a rule decides there is nothing to sum
        + " + ".join(
            f"CASE WHEN {told}({own[c]}) THEN exp({month}{c} - {month}{side}_peak) ELSE 0E0 END" for c in components
        )
        + f")) AS {month}{side}"
        for month in "nb"
        for side, told in _SIDES.items()
    )
    weights = ", ".join(
        f"CASE WHEN {own[c]} THEN {_share_of_mean(c, 'own')} ELSE -({_share_of_mean(c, 'rest')}) END AS w{c}"
        for c in components
    )
    parts = ", ".join(
        f"CASE WHEN NOT by_rule THEN {' + '.join(f'w{c} * g{c}_{j}' for c in components)} END AS part{j}"
        for j in reasons
    )
    return f"""
        SELECT customer_id, segment_id, by_rule, CASE WHEN NOT by_rule THEN nown - nrest END AS log_odds,
            CASE WHEN NOT by_rule THEN (nown - bown) - (nrest - brest) END AS change_of_log_odds, {parts}
        FROM (
            SELECT *, {weights}
            FROM (
                SELECT *, {sums}
                FROM (SELECT *, {peaks} FROM ({_terms_sql(model, now, before, segments)}) AS terms) AS peaked
            ) AS summed
        ) AS weighted
    """


_SIDES = {"own": "", "rest": "NOT "}


def _share_of_mean(c: int, side: str) -> str:
    """The logarithmic mean over both months of a component's term, over that of the sum in which it stands."""
    own, of_sum = f"abs(n{c} - b{c})", f"abs(n{side} - b{side})"
    peak = f"exp(greatest(n{c}, b{c}) - greatest(n{side}, b{side}))"
    return f"{peak} * ({_mean_below_peak(own)}) / ({_mean_below_peak(of_sum)})"


def _mean_below_peak(difference: str) -> str:
    """L(x, y) / max(x, y) = (1 - exp(-u)) / u, of the difference u of their logarithms, 0 or more."""
    u = difference
    return (
        f"CASE WHEN {u} < {number(_ALIKE)} THEN 1E0 - {u} * (5E-1 - {u} * ({number(1 / 6)} - {u} * {number(1 / 24)})) "
        f"ELSE (1E0 - exp(-{u})) / {u} END"
    )


def _terms_sql(model: SegmentModel, now: str, before: str, segments: str) -> str:
    """A query of customer_id, segment_id, by_rule and, of each component c, the logarithm of its term in both months
    (n0, b0, ...) and what each reason contributes to its change (g0_0, ...)."""
    d, mixture, components = model.space.n_features, model.mixture, _components(model)
    of_month = {month: f"({_month_sql(model, rows)})" for month, rows in (("n", now), ("b", before))}
    steps = ", ".join(f"n.t{j} - b.t{j} AS step{j}, (n.t{j} + b.t{j}) * 5E-1 AS mid{j}" for j in range(d))
    logs = ", ".join(f"{month}.c{c} AS {month}{c}" for c in components for month in "nb")
    columns = [f"-step{j} * ({_pull(model, c, j)}) AS g{c}_{j}" for c in components for j in range(d)]
    rule = "false"
    if mixture.hurdle is not None:
        h = mixture.hurdle.component
        rule = f"n.c{h} > {number(OUT_OF_REACH)} OR b.c{h} > {number(OUT_OF_REACH)}"
    prior = ""
    if model.memory is not None:
        prior = "".join(f", n.r{s} - b.r{s} AS prior{s}" for s in range(mixture.n_segments))
        columns += [f"prior{mixture.segment_of[c]} AS g{c}_{d}" for c in components]
    return f"""
        SELECT *, {", ".join(columns)}
        FROM (
            SELECT s.customer_id, s.segment_id, {rule} AS by_rule, {steps}, {logs}{prior}
            FROM ({segments}) AS s JOIN {of_month["n"]} AS n ON n.customer_id = s.customer_id
            JOIN {of_month["b"]} AS b ON b.customer_id = s.customer_id
        ) AS both_months
    """


def _pull(model: SegmentModel, c: int, j: int) -> str:
    """How fast the logarithm of component c's density falls along feature j, at the midpoint."""
    precision, mean = np.linalg.inv(model.mixture.covariances[c])[j], model.mixture.means[c]
    return " + ".join(f"{number(precision[i])} * (mid{i} - {number(mean[i])})" for i in range(len(mean)))


def _month_sql(model: SegmentModel, rows: str) -> str:
    """A query of customer_id, the standardised features (t0, ...), the logarithm of each component's term (c0, ...)
    and, of a champion with memory, of what was expected of each segment (r0, ...)."""
    mixture, components = model.mixture, range(model.mixture.n_components)
    features = [f"{expression} AS t{j}" for j, expression in enumerate(standardised_sql(model.space))]
    if model.memory is None:
        return components_sql(model, rows, "customer_id", "c", mixture.weights, features)
    segments = range(mixture.n_segments)
    expected = [f"ln(greatest({SMALLEST_PRIOR}, CAST({PRIOR}[{s + 1}] AS DOUBLE))) AS r{s}" for s in segments]
    densities = components_sql(model, rows, "customer_id", "d", mixture.within, [*features, *expected])
    kept = ", ".join([*(f"t{j}" for j in range(len(features))), *(f"r{s}" for s in segments)])
    terms = ", ".join(f"d{c} + r{mixture.segment_of[c]} AS c{c}" for c in components)
    return f"SELECT customer_id, {kept}, {terms} FROM ({densities}) AS densities"
