"""Every method on the same customers, with figures whose truth is known."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from segment_pipeline.alternatives.alternatives import (
    NOBODY,
    Customers,
    Observed,
    churn_auc,
    compare,
    latent_classes,
    nestedness,
    quintile_rule,
    ward_hierarchy,
)
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline_tests.mixture.known_structures import (
    categorical_classes,
    nested_groups,
    separated_balls,
    two_moons_with_noise,
)

CENTRES = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 6.0]])
NAMES = ("orders", "average_order_value")


@pytest.fixture(scope="module")
def three_balls():
    random = np.random.default_rng(8)
    truth = np.repeat(np.arange(3), 500)
    Z = CENTRES[truth] + random.normal(size=(1500, 2))
    return Z, truth, Mixture(np.full(3, 1 / 3), CENTRES, np.stack([np.eye(2)] * 3))


@pytest.fixture(scope="module")
def compared(three_balls):
    Z, truth, champion = three_balls
    random = np.random.default_rng(9)
    silent = random.random(1500) < np.array([0.05, 0.3, 0.8])[truth]
    # to the customers of the earlier month the rule applies as it does now
    rule = np.where(truth == 2, NOBODY, truth)
    customers = Customers(Z, 1500, rules={"sides": rule})
    return compare(customers, champion, NAMES, Observed(Z + 0.01, silent, rules={"sides": rule}))


@pytest.mark.parametrize("method", ["k_means", "ward", "dbscan", "hdbscan"])
def test_methods_find_segments_that_are_there(compared, method):
    found = compared.of(method)
    assert found.segments == 3
    assert found.customers == 1500
    assert found.agreement > 0.93
    assert found.silhouette > 0.6
    assert found.stability > 0.93


def test_who_is_in_no_segment_is_the_noise(compared):
    assert compared.of("rule: sides").noise_share == pytest.approx(1 / 3)
    assert compared.of("rule: sides").segments == 2
    assert compared.of("k_means").noise_share == 0


def test_segments_that_fall_silent_at_different_rates_predict_silence(compared):
    # of the rates 5, 30 and 80 %: the AUC of the three groups themselves is 0.84
    for method in ("champion", "k_means", "ward", "hdbscan", "rule: sides"):
        assert compared.of(method).churn_auc == pytest.approx(0.84, abs=0.03), method


def test_the_champion_and_rules_have_no_stability_for_they_were_not_fitted(compared):
    assert compared.of("champion").stability is None
    assert compared.of("rule: sides").stability is None


def test_a_rule_that_cannot_run_has_no_figures_and_a_reason(compared):
    found = compared.of("rfm_quintiles")
    assert (found.segments, found.agreement, found.silhouette, found.churn_auc) == (None, None, None, None)
    assert "alternatives.monetary" in found.verdict


def test_without_answers_there_are_no_latent_classes(compared):
    assert compared.of("latent_classes") is None


def test_without_known_silence_nothing_is_said_of_foresight(three_balls):
    Z, _, champion = three_balls
    found = compare(Customers(Z, 1500), champion, NAMES)
    assert {one.churn_auc for one in found.alternatives} == {None}


def test_the_same_customers_give_the_same_figures(three_balls, compared):
    Z, _, champion = three_balls
    again = compare(Customers(Z, 1500), champion, NAMES)
    for one in again.alternatives:
        assert compared.of(one.method).agreement == one.agreement
        assert compared.of(one.method).stability == one.stability
    assert again.hierarchy == compared.hierarchy


def test_density_finds_moons_and_leaves_out_who_is_anywhere():
    moons = two_moons_with_noise(31)
    champion = Mixture(np.array([0.5, 0.5]), np.array([[-0.5, 0.5], [0.5, -0.5]]), np.stack([np.eye(2)] * 2))
    comparison = compare(Customers(moons.Z, len(moons.Z)), champion, NAMES)
    strays = float(np.mean(moons.truth < 0))
    for method in ("dbscan", "hdbscan"):
        found = comparison.of(method)
        assert found.segments == 2
        assert found.noise_share == pytest.approx(strays, abs=0.04)
        kept = (moons.truth >= 0) & (found.labels != NOBODY)
        assert adjusted_rand_score(moons.truth[kept], found.labels[kept]) > 0.98


def test_the_hierarchy_is_a_tree_that_adds_up_and_names_the_group_of_each_part():
    known = nested_groups(31)
    nodes = ward_hierarchy(known.Z[:1500], len(np.unique(known.truth)), list("abcde")[: known.X.shape[1]])
    by_number = {node.node: node for node in nodes}
    assert nodes[0].parent is None
    assert nodes[0].customers == 1500
    for node in nodes:
        parts = [other for other in nodes if other.parent == node.node]
        assert len(parts) in (0, 2)
        if parts:
            assert sum(part.customers for part in parts) == node.customers
            assert all(part.height <= node.height for part in parts)
    inside = [node for node in nodes if " > " in node.name]
    assert inside
    assert all(node.name.split(" > ")[0] in {other.name for other in by_number.values()} for node in inside)
    assert len({node.name for node in nodes}) == len(nodes)


def test_nestedness_tells_groups_of_segments_from_segments_that_stand_alone():
    nested, balls = nested_groups(31), separated_balls(31)
    assert nestedness(nested.Z, nested.truth) > 2.5  # as they were made
    alone = nestedness(balls.Z, balls.truth)
    assert alone is None or alone < 2


def test_latent_classes_are_found_in_answers_and_their_number_by_bic():
    known = categorical_classes(31)
    found = latent_classes(known.X.astype(np.intp), seed=0)
    assert len(np.unique(found)) == len(np.unique(known.truth))
    assert adjusted_rand_score(known.truth, found) > 0.6


def test_answers_that_do_not_go_together_are_one_class():
    answers = np.random.default_rng(3).integers(0, 3, size=(1500, 4))
    assert len(np.unique(latent_classes(answers, seed=0))) == 1


def test_the_quintile_rule_puts_recent_frequent_big_spenders_on_top():
    grade = np.arange(100.0)
    rfm = np.column_stack([100 - grade, grade, grade])
    bands = quintile_rule(rfm, rfm)
    assert list(np.unique(bands)) == [0, 1, 2, 3, 4]
    assert np.all(np.diff(bands) >= 0)
    assert bands[0] == 0
    assert bands[-1] == 4


def test_customers_with_the_same_values_have_the_same_score():
    rfm = np.column_stack([np.ones(50), np.ones(50), np.arange(50.0)])
    rfm[:, 2] = np.repeat([1.0, 5.0], 25)
    assert len(np.unique(quintile_rule(rfm, rfm)[:25])) == 1


def test_labels_without_meaning_predict_nothing():
    random = np.random.default_rng(2)
    silent = random.random(4000) < 0.3
    assert churn_auc(random.integers(0, 5, size=4000), silent, seed=0) == pytest.approx(0.5, abs=0.03)


def test_few_silent_customers_tell_nothing():
    silent = np.zeros(1000, dtype=bool)
    silent[:29] = True
    assert churn_auc(np.arange(1000) % 3, silent, seed=0) is None
