"""What moved a customer: whatever the model and the customer, the contributions are all of the change, and no more."""

from dataclasses import replace
from itertools import permutations

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.database.quoting import identifier
from segment_pipeline.mixture.candidates import Hurdle
from segment_pipeline.models.tables import PRIOR
from segment_pipeline.segments.changes_store import THE_MONTHS_BEFORE, changes_sql
from segment_pipeline_tests.models.test_scoring import merged, random_customers, random_memory, random_model


def changes(model, X_now, X_before, priors=None):
    """The rows of customers 0, 1, ..., each spoken of in the segment that is likeliest now, and that segment's place.
    priors : what was expected of them, now and before."""
    own = model.responsibilities(X_now, prior=None if priors is None else priors[0]).argmax(axis=1)
    with duckdb.connect() as connection:
        columns = ", ".join(f"{identifier(name)} DOUBLE" for name in model.space.names)
        marks = ", ".join("?" for _ in range(model.space.n_features + 2))
        for month, (table, X) in enumerate((("now", X_now), ("before", X_before))):
            connection.execute(f'CREATE TABLE "{table}" (customer_id VARCHAR, {PRIOR} DOUBLE[], {columns})')
            prior = [None] * len(X) if priors is None else priors[month].tolist()
            connection.executemany(
                f'INSERT INTO "{table}" VALUES ({marks})',
                [[f"{i:06d}", prior[i], *row] for i, row in enumerate(X.tolist())],
            )
        connection.execute("CREATE TABLE own (customer_id VARCHAR, segment_id INTEGER)")
        ids = [[f"{i:06d}", model.segment_ids[k]] for i, k in enumerate(own.tolist())]
        connection.executemany("INSERT INTO own VALUES (?, ?)", ids)
        cursor = connection.execute(f"{changes_sql(model, 'now', 'before', 'FROM own')} ORDER BY customer_id")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()], own


def log_odds(model, X, own, prior=None):
    """By NumPy, in logarithms: (n,) of each customer's `own` segment."""
    joint = model.mixture.log_joint(model.space.transform(X), prior=prior)
    mine = joint[np.arange(len(X)), own]
    joint[np.arange(len(X)), own] = -np.inf
    return mine - np.logaddexp.reduce(joint, axis=1)


def expectations(seed, n, k):
    random = np.random.default_rng(seed)
    return [random.dirichlet(np.ones(k), size=n) for _ in range(2)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(2, 7),
    d=st.integers(1, 6),
    remembers=st.booleans(),
    is_merged=st.booleans(),
)
def test_contributions_add_up_to_the_change_of_log_odds(seed, k, d, remembers, is_merged):
    model = random_model(seed, k, d)
    if is_merged and k > 2:
        model = merged(model, (tuple(range(0, k, 2)), tuple(range(1, k, 2))))
    m = len(model.segments)
    model = replace(model, memory=random_memory(seed, m) if remembers else None)
    X_now, X_before = random_customers(model, seed + 1, 30), random_customers(model, seed + 2, 30)
    X_before[:5] = X_now[:5]  # of whom nothing has changed
    priors = expectations(seed, 30, m) if remembers else None
    rows, own = changes(model, X_now, X_before, priors)
    now, before = (None, None) if priors is None else priors
    expected = log_odds(model, X_now, own, now)
    # a density of a thousand nats is exact to 1e-12 of itself
    tolerance = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose([row["log_odds"] for row in rows], expected, **tolerance)
    change = expected - log_odds(model, X_before, own, before)
    np.testing.assert_allclose([row["change_of_log_odds"] for row in rows], change, **tolerance)
    np.testing.assert_allclose(
        [sum(row["contributions"]) for row in rows], [row["change_of_log_odds"] for row in rows], **tolerance
    )
    for row in rows:
        assert row["reasons"] == [*model.space.names, *([THE_MONTHS_BEFORE] if remembers else [])]
        order = sorted(zip(row["reasons"], row["contributions"], strict=True), key=lambda part: -abs(part[1]))
        told = [(row["reason_1"], row["contribution_1"]), (row["reason_2"], row["contribution_2"])]
        assert told == [part if part[1] else (None, None) for part in [*order, (None, 0.0)][:2]]


def test_of_two_segments_the_parts_are_the_values_of_shapley():
    """Of two Gaussians log-odds are a quadratic form, of which the midpoint's gradient gives what the mean over all
    orders gives, in which the features may change one after the other."""
    model = random_model(8, 2, 4)
    X_now, X_before = random_customers(model, 9, 20), random_customers(model, 10, 20)
    rows, own = changes(model, X_now, X_before)
    orders = list(permutations(range(4)))
    shapley = np.zeros((20, 4))
    for order in orders:
        X = X_before.copy()
        for j in order:
            was = log_odds(model, X, own)
            X[:, j] = X_now[:, j]
            shapley[:, j] += (log_odds(model, X, own) - was) / len(orders)
    np.testing.assert_allclose([row["contributions"] for row in rows], shapley, rtol=1e-9, atol=1e-9)


def test_where_a_rule_decides_it_is_the_reason_and_there_is_no_figure():
    model = random_model(11, 3, 2, ["t0", "own"])
    X_now, X_before = random_customers(model, 12, 200), random_customers(model, 13, 200)
    rule = Hurdle(1, 1, -0.5, 0.0, 0.5)
    model = replace(model, mixture=replace(model.mixture, hurdle=rule))
    rows, own = changes(model, X_now, X_before)
    holds = rule.holds(model.space.transform(X_now)) | rule.holds(model.space.transform(X_before))
    assert 0 < holds.sum() < 200
    for row, by_rule in zip(rows, holds, strict=True):
        assert (row["change_of_log_odds"] is None) is (row["contributions"] is None) is bool(by_rule)
        if by_rule:
            assert (row["reason_1"], row["contribution_1"], row["reason_2"]) == ("own", None, None)
    change = log_odds(model, X_now[~holds], own[~holds]) - log_odds(model, X_before[~holds], own[~holds])
    told = [sum(row["contributions"]) for row, by_rule in zip(rows, holds, strict=True) if not by_rule]
    np.testing.assert_allclose(told, change, rtol=1e-9, atol=1e-9)


def test_a_customer_far_from_every_segment_has_figures_as_well():
    model = merged(random_model(14, 4, 2), ((0, 3), (1, 2)))
    near = model.space.center.copy()
    model = replace(model, space=replace(model.space, transforms=("none", "none")))
    far = np.array([[1e4, -1e4], [near[0], near[1]], [3e3, 0.0]])
    rows, own = changes(model, far, far[::-1].copy())
    change = log_odds(model, far, own) - log_odds(model, far[::-1], own)
    np.testing.assert_allclose([sum(row["contributions"]) for row in rows], change, rtol=1e-9, atol=1e-9)


@pytest.mark.months
def test_every_month_of_the_warehouse_says_of_the_odds_what_its_probabilities_say(copy):
    """The month before as the champion remembers it; where a probability is not too near 1 to be told from it."""
    with duckdb.connect(str(copy.warehouse), read_only=True) as connection:
        months = connection.execute("SELECT month, count(*) FROM customer_changes GROUP BY 1 ORDER BY 1").fetchall()
        off = connection.execute("""
            SELECT max(abs(list_sum(contributions) - change_of_log_odds)),
                max(abs(ln(p / (1 - p)) - log_odds)) FILTER (p < 0.999),
                count(*) FILTER (p < 0.999)
            FROM customer_changes AS c JOIN (
                SELECT month, customer_id, max_probability AS p FROM monthly_assignments
            ) USING (month, customer_id)
        """).fetchone()
    assert [f"{month:%Y-%m}" for month, _ in months] == ["2023-04", "2023-05"]
    assert off[0] < 1e-9
    assert off[1] < 1e-9
    assert off[2] > 20
