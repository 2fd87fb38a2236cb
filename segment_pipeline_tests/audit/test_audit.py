"""Agreement, refusals and reasons of the audit; groups of unusual customers and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest

from segment_pipeline.audit.audit import (
    CrossTable,
    LabelledCustomer,
    LabelProfile,
    agreement_of,
    looks_wrong,
    reason,
    refusal,
    summary,
)
from segment_pipeline.audit.outliers import FeatureOfGroup, OutlierGroup, judge
from segment_pipeline.words import deed, percent


@pytest.mark.parametrize(
    ("counts", "rand", "information"),
    [
        ([[10, 0], [0, 5]], 1.0, 1.0),
        ([[0, 10], [5, 0]], 1.0, 1.0),
        ([[7]], 1.0, 1.0),
        ([[3, 3]], 0.0, 0.0),
        ([[2, 0, 0], [0, 1, 1]], 4 / 7, 0.8),
        ([[2, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], 4 / 7, 0.8),
    ],
    ids=["same", "renamed", "one", "one against two", "one divided", "empty rows and columns"],
)
def test_agreement_of_a_cross_table_is_that_of_its_customers(counts, rand, information):
    assert agreement_of(np.array(counts)) == pytest.approx((rand, information), abs=1e-12)


@pytest.mark.parametrize(
    ("customers", "said"),
    [
        ([], "no customer of this month has a label"),
        ([300], "all 300 customers have the same label"),
        ([1] * 300, "found 300 labels for 300 customers"),
        ([2] * 50, "found 50 labels for 100 customers"),
    ],
)
def test_labels_that_are_no_segments_are_refused_with_what_was_found(customers, said):
    assert said in (refusal(customers) or "")


def test_labels_of_a_few_customers_each_are_segments():
    assert refusal([20, 5, 300]) is None


def test_a_label_that_is_several_of_ours_together_is_told_so():
    table = CrossTable(("gold", "rest"), (1, 2, 4, 7), np.array([[40, 58, 2, 0], [10, 5, 200, 180]]), np.ones((2, 4)))
    said = {label: sentence for metric, label, _, sentence in summary(table, list("ABCD"), 0) if label}
    assert said["gold"].endswith("so it is no single segment of ours; 98 % lie in 1, 2 together.")
    alone = CrossTable(("gold", "rest"), (1, 2), np.array([[95, 5], [5, 95]]), np.ones((2, 2)))
    said = {label: sentence for metric, label, _, sentence in summary(alone, list("AB"), 0) if label}
    assert said["gold"].endswith("so it is that segment.")


def test_a_label_is_wrong_only_where_another_is_likely():
    unsure = LabelledCustomer("Gold", 0.1, 0.8, "Lapsed", 0.44, [84], [2.2])
    assert not looks_wrong(unsure)
    assert looks_wrong(replace(unsure, expected_probability=0.6))


def test_a_reason_tells_the_figures_that_speak_against_the_label():
    customer = LabelledCustomer("Gold", 0.01, 0.8, "Lapsed", 0.93, [84, 1, 20], [2.2, -1.5, 0.0])
    profiles = {
        "Gold": LabelProfile([12, 9, 21], [-0.5, 1.0, 0.0]),
        "Lapsed": LabelProfile([80, 1, 19], [2.1, -1.5, 0.0]),
    }
    names, units = ("days_since_last_order", "orders", "average_order_value"), ("days", "orders", "EUR")
    assert reason(customer, names, units, profiles) == (
        "labelled Gold, but last ordered 84 days ago (Gold: 12) and placed 1 order (Gold: 9); "
        "93 % of customers like this are labelled Lapsed"
    )


def test_figures_are_told_as_people_say_them():
    assert deed("orders", 1, "orders") == "placed 1 order"
    assert deed("average_order_value", 1234.5, "EUR") == "spent 1,234 EUR an order"
    assert deed("visits_per_week", 2.25, "visits") == "has visits per week 2.2 visits"
    assert [percent(share) for share in (0.0, 0.004, 0.5, 0.996, 1.0)] == [
        "0 %",
        "under 1 %",
        "50 %",
        "over 99 %",
        "100 %",
    ]


@pytest.mark.parametrize(
    ("figures", "policy", "kind", "recommendation"),
    [
        ({"cohesion": 0.9, "spend_share": 0.2}, "keep", "coherent", "keep"),
        ({"rule": "repeated_values", "cohesion": 1.0}, "keep", "repeated_values", "reject"),
        ({"rule": "repeated_values", "cohesion": 1.0}, "cap", "repeated_values", "cap"),
        ({"distance": 7.0, "one_extreme_share": 0.9}, "keep", "one_extreme_value", "cap"),
        ({"distance": 7.0}, "reject", "scattered", "reject"),
        ({"distance": 3.2}, "keep", "tail", "keep"),
    ],
)
def test_a_group_is_judged_by_its_figures_and_the_policy_of_its_feature(figures, policy, kind, recommendation):
    features = [FeatureOfGroup("orders", "orders", policy, 40.0, 3.0, 4.0)]
    given = {"rule": None, "spend_share": 0.01, "cohesion": 0.1, "distance": 3.1, "one_extreme_share": 0.0} | figures
    group = OutlierGroup(customers=50, share=0.01, farthest="orders", features=features, **given)
    judgement = judge(group, 3.0)
    assert (judgement.kind, judgement.recommendation) == (kind, recommendation)
    assert judgement.sentence.startswith("50 customers, 1 % of all, ")
    assert "orders 40 (all customers: 3)" in judgement.sentence
