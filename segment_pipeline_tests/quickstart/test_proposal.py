"""What is proposed from the numbers alone: steps, transforms, and which columns are worth it."""

import numpy as np
import pytest

from segment_pipeline.quickstart.proposal import (
    MOST_FEATURES,
    Overrides,
    propose_feature,
    propose_features,
    propose_resolution,
    propose_transform,
    unfit,
    what_it_stands_for,
)


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.fixture
def customers(random):
    """2,000 customers: spend is orders times average order value, up to the cent; a third have one order."""
    n = 2000
    orders = 1.0 + random.poisson(np.exp(random.normal(0.6, 0.9, n)))
    average = np.round(np.exp(random.normal(3.5, 0.6, n)), 2)
    return {
        "row": np.arange(1.0, n + 1),
        "recency_days": np.ceil(np.exp(random.normal(3, 0.8, n))),
        "orders": orders,
        "average_order_value": average,
        "total_spend": np.round(orders * average, 2),
        "country_code": np.full(n, 49.0),
        "newsletter": (random.random(n) < 0.3) * 1.0,
    }


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1, 2, 3, 17, 25], 1.0),
        ([1.5, 2.0, 19.5, 33.1], 0.1),
        ([9.99, 12.5, 100.0, 3.01], 0.01),
        ([21000, 35000, 120000, 48000], 1000.0),
        ([0.125, 0.5, 0.375], 0.001),
    ],
)
def test_the_resolution_is_the_step_in_which_values_come(values, step):
    assert propose_resolution(np.array(values, dtype=float)) == step


def test_values_without_a_step_get_a_fine_one(random):
    step = propose_resolution(np.exp(random.normal(0, 1, 5000)))
    assert 1e-4 <= step <= 1e-2


def test_one_odd_value_in_a_thousand_does_not_change_the_step(random):
    values = np.round(random.uniform(1, 500, 5000))
    values[7] = 3.14159
    assert propose_resolution(values) == 1.0


def test_the_transform_is_the_plainest_that_straightens(random):
    assert propose_transform(random.normal(50, 5, 3000), 0.01)[0] == "none"
    assert propose_transform(np.round(np.exp(random.normal(4, 1, 3000)), 2), 0.01)[0] == "log1p"
    assert propose_transform(np.round(random.beta(1, 12, 3000), 2), 0.01)[0] == "logit"
    assert propose_transform(np.exp(random.normal(-4, 1, 3000)), 1e-5)[0] in ("logit", "log")


def test_negative_values_keep_their_meaning_where_they_are_many_and_are_refused_where_they_are_few(random):
    balance = random.normal(10, 50, 2000)
    assert propose_feature("balance", balance).low is None
    orders = 1.0 + random.poisson(3, 2000)
    orders[:5] = -1
    proposed = propose_feature("orders", orders)
    assert (proposed.low, proposed.outside) == (0.0, 5)


def test_what_cannot_tell_customers_apart_is_left_out_with_the_reason(customers):
    proposal = propose_features(customers)
    reasons = {left.name: left.reason for left in proposal.left_out}
    assert "id" in reasons["row"]
    assert reasons["country_code"] == "it is 49 for every customer"
    assert "yes or no" in reasons["newsletter"]
    assert "orders" in reasons["total_spend"]
    assert "average_order_value" in reasons["total_spend"]
    assert [one.name for one in proposal.features] == ["recency_days", "orders", "average_order_value"]
    assert (proposal.recency, proposal.frequency) == ("recency_days", "orders")


def test_columns_that_are_empty_mostly_missing_or_mostly_one_value_are_unfit(random):
    values = random.normal(0, 1, 1000)
    assert unfit(np.full(1000, np.nan)) == "it is empty"
    assert "no number" in unfit(np.where(random.random(1000) < 0.3, np.nan, values))
    assert "says nothing of most" in unfit(np.where(random.random(1000) < 0.8, 0.0, values))
    assert unfit(values) is None


def test_a_value_that_half_of_the_customers_share_becomes_a_segment_by_rule(customers, random):
    customers["orders"] = np.where(random.random(2000) < 0.5, 1.0, 2.0 + random.poisson(4, 2000))
    proposal = propose_features({name: customers[name] for name in ("recency_days", "orders", "average_order_value")})
    assert proposal.hurdle == ("orders", 1.0)
    assert "orders = 1" in proposal.remarks[0]


def test_of_many_features_those_that_add_most_are_taken_and_recency_and_frequency_first(customers, random):
    columns = {name: customers[name] for name in ("recency_days", "orders", "average_order_value")}
    for number in range(8):
        columns[f"score_{number}"] = random.normal(0, 1, 2000)
    columns["echo"] = columns["score_0"] + 0.5 * random.normal(0, 1, 2000)
    proposal = propose_features(columns)
    names = [one.name for one in proposal.features]
    assert len(names) == MOST_FEATURES
    assert {"recency_days", "orders", "average_order_value"} <= set(names)
    assert not {"echo", "score_0"} <= set(names)


def test_features_that_the_user_names_are_taken_whatever_speaks_against_them(customers):
    proposal = propose_features(customers, Overrides(("orders", "newsletter"), {"orders": "none"}, {"newsletter": 1.0}))
    assert proposal.features[0].transform == "none"
    assert [one.name for one in proposal.features] == ["orders", "newsletter"]
    assert {left.reason for left in proposal.left_out} == {"not among --features"}


def test_missing_numbers_that_would_reject_too_many_together_cost_a_feature(customers, random):
    columns = {name: customers[name].copy() for name in ("recency_days", "orders", "average_order_value")}
    for name in columns:
        columns[name][random.random(2000) < 0.03] = np.nan
    proposal = propose_features(columns)
    assert len(proposal.features) == 2
    assert 0 < proposal.rejected <= 0.07
    assert "rejected" in proposal.left_out[0].reason


def test_the_same_numbers_give_the_same_proposal(customers):
    assert propose_features(customers) == propose_features(customers)


@pytest.mark.parametrize(
    ("name", "low", "high", "reason"),
    [
        ("PLZ", 1067, 99998, "postcode"),
        ("zipCode", 501, 99950, "postcode"),
        ("tel", 3012345, 99912345, "phone"),
        ("year_of_birth", 1930, 2005, "year"),
        ("geo_lat", 47, 55, "coordinate"),
        ("branch", 1000, 9999, "codes: whole numbers of 4 digits"),
        ("orders_last_year", 0, 40, None),
        ("phone_calls", 0, 40, None),
        ("flat_rate", 5, 80, None),
        ("income", 12000, 98765, None),
        ("visited", 0, 9999, None),
    ],
)
def test_numbers_that_name_something_are_told_from_those_that_measure(random, name, low, high, reason):
    values = random.integers(low, high, 1500).astype(float)
    found = what_it_stands_for(name, values)
    assert (found is None) == (reason is None)
    assert reason is None or reason in found


def test_a_postcode_is_left_out_unless_the_user_asks_for_it(customers, random):
    columns = {"PLZ": random.integers(10115, 99998, 2000).astype(float), **customers}
    left = {one.name: one.reason for one in propose_features(columns).left_out}
    assert "postcode" in left["PLZ"]
    asked = propose_features(columns, Overrides(("orders", "PLZ")))
    assert {one.name for one in asked.features} == {"orders", "PLZ"}


def test_a_skewness_of_nothing_has_no_sign(random):
    values = random.normal(0, 1, 4000)
    values = np.concatenate([values, -values + 1e-4])
    assert "-0.0" not in propose_transform(values, 0.01)[1]
    assert "-0.0" not in propose_transform(np.exp(np.concatenate([values, -values - 1e-3])), 1e-6)[1]
