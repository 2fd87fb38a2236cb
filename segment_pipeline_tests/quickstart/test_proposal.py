"""What is proposed from the numbers alone: steps, transforms, and which columns are worth it."""

import numpy as np
import pytest

from segment_pipeline.customers.worth import FeatureWorth
from segment_pipeline.quickstart.proposal import (
    MOST_FEATURES,
    Overrides,
    propose_feature,
    propose_features,
    propose_resolution,
    propose_transform,
    unfit,
    what_it_stands_for,
    without_what_spoils,
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
        ([3 + part / 7 for part in range(1, 7)] * 3, 1e-4),  # means of a few: no step, and none of a millionth
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


def test_of_too_many_features_those_that_last_and_separate_are_taken(customers, random):
    """A feature of which the others say nothing may be noise: what it lasts and separates speaks, and is told."""
    columns = {name: customers[name] for name in ("recency_days", "orders", "average_order_value")}
    columns |= {f"score_{number}": random.normal(0, 1, 2000) for number in range(6)}

    def worth(features):
        lasting = {"score_2": 0.9, "score_5": 0.8, "average_order_value": 0.05}
        return [FeatureWorth(one.name, 0, 0.1, lasting.get(one.name, 0.4), 0, None) for one in features]

    proposal = propose_features(columns, worth=worth)
    names = [one.name for one in proposal.features]
    assert {"recency_days", "orders", "score_2", "score_5"} <= set(names)
    assert len(names) == MOST_FEATURES
    (money,) = (one for one in proposal.left_out if one.name == "average_order_value")
    assert "it lasts 0.05, beside all that last it separates 0.10" in money.reason


def test_a_limit_leaves_room_below_the_least_value(random):
    """The least of ten categories is 0.1, and an eleventh may come."""
    concentration = np.round(random.uniform(0.1, 1.0, 2000), 3)
    assert propose_feature("concentration", concentration, "log").low == 0.01


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


@pytest.fixture
def crowd(random):
    """3,000 customers of one kind, by days and visits."""
    z = random.normal(size=(3000, 2))
    return {
        "days_since_last_order": np.ceil(np.exp(3 + 0.8 * z[:, 0])),
        "visits": np.round(np.exp(2.5 + 0.5 * z[:, 1])),
    }


def sound(columns, **kwargs):
    return without_what_spoils(propose_features(columns, **kwargs), columns, seed=42)


def test_a_feature_with_a_few_zeros_that_spoils_every_mixture_is_left_out_and_named_with_them(crowd, random):
    online = np.round(1 / (1 + np.exp(-random.normal(0, 0.5, 3000))), 3)
    online[random.permutation(3000)[:117]] = 0
    columns = {**crowd, "share_online": online}
    proposal = sound(columns)
    assert [one.name for one in proposal.features] == ["days_since_last_order", "visits"]
    assert {one.name: one.reason for one in proposal.left_out} == {
        "share_online": "3.9 % of the customers have 0, and with it no mixture is sound, without it one is"
    }
    assert proposal.hurdle is None


def test_a_sound_proposal_stays_as_it_is(crowd):
    assert sound(crowd) == propose_features(crowd)


def test_prices_of_three_plans_carry_no_component(crowd, random):
    columns = {**crowd, "price": random.choice([9.99, 19.99, 49.99], 3000, p=[0.3, 0.39, 0.31])}
    proposal = sound(columns)
    assert [one.name for one in proposal.features] == ["days_since_last_order", "visits"]
    assert "of the customers have 19.99" in proposal.left_out[0].reason


def test_where_too_few_features_would_be_left_the_value_is_a_segment_by_rule(crowd, random):
    online = np.round(1 / (1 + np.exp(-random.normal(0, 0.5, 3000))), 3)
    online[random.permutation(3000)[:300]] = 0
    proposal = sound({"visits": crowd["visits"], "share_online": online})
    assert [one.name for one in proposal.features] == ["visits", "share_online"]
    assert proposal.hurdle == ("share_online", 0.0)
    assert "10 % of the customers have share_online = 0: they are a segment by rule" in proposal.remarks[0]


def test_features_that_are_equal_for_nearly_all_customers_are_never_both_chosen(random):
    """Of a shop of one-time buyers: what one order cost is all that was spent."""
    days, average = np.ceil(random.uniform(0, 365, 3000)), np.round(np.exp(random.normal(3.5, 0.6, 3000)), 2)
    orders = np.where(random.random(3000) < 0.055, random.integers(3, 9, 3000), 1)
    columns = {"days_since_last": days, "total_spend": np.round(orders * average, 2), "average_order_value": average}
    assert len(propose_features(columns).features) == 3
    proposal = sound(columns)
    assert len(proposal.features) == 2
    (left,) = proposal.left_out
    assert left.name in ("total_spend", "average_order_value")
    assert "total_spend and average_order_value" in left.reason


def test_many_columns_with_gaps_leave_a_proposal(random):
    """Of 150 columns with 4 % gaps each nobody has a number in all."""
    columns = {f"score_{i}": np.where(random.random(800) < 0.04, np.nan, random.normal(size=800)) for i in range(150)}
    columns["echo"] = columns["score_0"] + 0.01 * random.normal(size=800)
    proposal = propose_features(columns)
    assert 2 <= len(proposal.features) <= MOST_FEATURES
    reasons = {one.name: one.reason for one in proposal.left_out}
    assert {"score_0", "echo"} & {name for name, reason in reasons.items() if reason.startswith("it repeats others")}
