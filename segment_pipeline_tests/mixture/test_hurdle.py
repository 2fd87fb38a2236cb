"""One value that half of the customers share, as a segment by rule, and a mixture for the others."""

import warnings
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline.config.config import parse_config
from segment_pipeline.config.model import HurdleSettings, ModelSettings, RefitSettings
from segment_pipeline.config.source import Feature
from segment_pipeline.mixture.candidates import bhattacharyya_distances, bic, find_degeneracy, fit_candidates
from segment_pipeline.mixture.estimator import GaussianMixtureEM
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.hurdle import hurdle_in
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import DecisionInputs, decide
from segment_pipeline.models.model import Segment, SegmentModel, express_in
from segment_pipeline.models.refit import component_mean_shifts, evaluate_triggers
from segment_pipeline.months import add_months

FEATURES = [
    Feature(name="orders", transform="log1p", resolution=1, valid={"min": 1}),
    Feature(name="value", transform="log1p", resolution=0.01, valid={"min": 0}),
]
CONFIG = """
name: shop
first_month: 2020-01
source: {snapshots: {path: "{month}.csv", customer_id: id}}
features: [{name: orders}, {name: value}]
"""
SETTINGS = ModelSettings(n_components=(2, 4), hurdle=HurdleSettings(feature="orders", value=1.0))


def shop(n: int = 3000, seed: int = 0) -> np.ndarray:
    """Half ordered once; of the others most order 4 times at 20, the rest 15 times at 80."""
    random = np.random.default_rng(seed)
    kind = random.choice(3, size=n, p=[0.5, 0.3, 0.2])
    orders = np.where(kind == 0, 1, 2 + random.poisson(np.array([0.0, 2.0, 13.0])[kind]))
    value = np.exp(np.log(np.array([30.0, 20.0, 80.0])[kind]) + 0.3 * random.normal(size=n))
    return np.column_stack([orders.astype(float), value.round(2)])


def challengers(X: np.ndarray, settings: ModelSettings = SETTINGS, champion=None):
    space = FeatureSpace.fit(FEATURES, X)
    config = parse_config(CONFIG, Path("segmentation.yaml")).model_copy(update={"model": settings})
    return space, fit_challengers(space, X, [f"c{i}" for i in range(len(X))], config, champion)


def test_who_has_the_value_belongs_to_the_rule_for_certain_and_nobody_else_does() -> None:
    X = shop()
    space, found = challengers(X)
    best = found.choice.candidate
    assert best is not None
    assert best.n_components == 3
    R = best.mixture.responsibilities(space.transform(X))
    np.testing.assert_array_equal(R[:, 0], (X[:, 0] == 1).astype(float))
    np.testing.assert_allclose(R.sum(axis=1), 1.0, atol=1e-12)
    assert best.mixture.weights[0] == pytest.approx(np.mean(X[:, 0] == 1))
    # the others are told apart as they were made
    large, small = X[:, 0] >= 10, (X[:, 0] > 1) & (X[:, 1] < 40)
    partition = R.argmax(axis=1)
    shares = [np.bincount(partition[group], minlength=3) / group.sum() for group in (large, small)]
    assert {int(share.argmax()) for share in shares} == {1, 2}
    assert min(share.max() for share in shares) > 0.98


def test_its_figures_are_those_of_the_joined_mixture() -> None:
    X = shop()
    space = FeatureSpace.fit(FEATURES, X)
    Z = space.transform(X)
    found = fit_candidates(
        Z, [2, 3], variance_floor=space.variance_floor, seed=1, hurdle=hurdle_in(space, "orders", 1.0)
    )
    examined = [one.examined(0.0, 0.0) for one in found if one.examined is not None]
    for candidate in [*found, *examined]:
        n, k = len(Z), candidate.n_components
        # weights, and in two dimensions 5 for each Gaussian; the one behind the rule has mean and variance of value
        assert candidate.mixture.n_parameters == (k - 1) + 5 * (k - 1) + 2
        total = candidate.mixture.log_likelihood(Z).sum()
        assert candidate.bic == pytest.approx(candidate.mixture.n_parameters * np.log(n) - 2 * total)
        assert candidate.bic == pytest.approx(bic(candidate.mixture, Z))
        assert candidate.train_log_likelihood == pytest.approx(total / n)
        assert not candidate.degenerate
    for candidate in examined:
        assert candidate.heldout_log_likelihood == pytest.approx(candidate.train_log_likelihood, abs=0.1)
    two, three = found
    assert two.icl == pytest.approx(two.bic)  # the rule and one component: nobody is in doubt
    assert three.icl > three.bic
    assert np.isinf(bhattacharyya_distances(three.mixture)[0]).all()


def test_a_rule_does_not_flatter_the_stability_of_the_others() -> None:
    """Half of the customers are under the rule, and the rest have one shape: splits of it are arbitrary."""
    random = np.random.default_rng(3)
    X = np.column_stack([np.where(random.random(1500) < 0.5, 1.0, np.exp(random.normal(3.0, 0.5, 1500)))])
    X = np.column_stack([np.maximum(X[:, 0].round(), 1.0), np.exp(random.normal(3.0, 0.4, 1500)).round(2)])
    space = FeatureSpace.fit(FEATURES, X)
    rule = hurdle_in(space, "orders", 1.0)
    Z = space.transform(X)
    joined = fit_candidates(Z, [5], variance_floor=space.variance_floor, seed=0, hurdle=rule)[0]
    alone = fit_candidates(Z[~rule.holds(Z)], [4], variance_floor=space.variance_floor, seed=0)[0]
    assert joined.examined is not None
    assert alone.examined is not None
    assert joined.examined(0.0, 0.0).stability == alone.examined(0.0, 0.0).stability


def test_the_rule_survives_another_order_another_space_and_the_text_of_the_model() -> None:
    X = shop()
    space, found = challengers(X)
    mixture = found.choice.candidate.mixture
    R = mixture.responsibilities(space.transform(X))
    order = [2, 0, 1]
    np.testing.assert_array_equal(mixture.ordered(order).responsibilities(space.transform(X)), R[:, order])
    other = FeatureSpace.fit(FEATURES, X[::3])
    np.testing.assert_allclose(express_in(mixture, space, other).responsibilities(other.transform(X)), R, atol=1e-9)
    same = type(mixture).from_plain(mixture.to_plain())
    np.testing.assert_array_equal(same.responsibilities(space.transform(X)), R)
    with pytest.raises(ValueError, match="without_hurdle"):
        GaussianMixtureEM.from_mixture(mixture)


def test_a_champion_with_a_rule_is_judged_by_its_other_components() -> None:
    X = shop()
    space, found = challengers(X)
    mixture = found.choice.candidate.mixture
    Z = space.transform(X)
    assert find_degeneracy(mixture, Z, space.variance_floor, space.names) is None
    everyone_once = space.transform(np.column_stack([np.ones(500), X[:500, 1]]))
    assert "nobody is left" in find_degeneracy(mixture, everyone_once, space.variance_floor, space.names)


@pytest.mark.parametrize(
    ("value", "words"), [(2500.0, "applies to 0 of 3000 customers"), (1.0, "too few are left for a mixture")]
)
def test_a_rule_without_enough_customers_on_both_sides_makes_no_candidates_and_says_so(
    value: float, words: str
) -> None:
    X = shop()
    if value == 1.0:
        X[:, 0] = np.where(np.arange(len(X)) < 20, 5.0, 1.0)
    _, found = challengers(X, replace_hurdle(value))
    assert found.candidates == []
    assert found.choice.candidate is None
    assert words in found.choice.rationale


def test_where_a_value_is_shared_by_many_the_rationale_tells_how_to_make_it_a_rule() -> None:
    X = shop()
    _, without = challengers(X, SETTINGS.model_copy(update={"hurdle": None}))
    assert "`model: {hurdle: {feature: orders, value: 1}}`" in without.choice.rationale
    _, ruled = challengers(X)
    assert "hurdle" not in ruled.choice.rationale


def test_in_the_feature_of_the_rule_others_keep_their_distance() -> None:
    """Two orders are next to the step of one order and outside it."""
    space = FeatureSpace.fit(FEATURES, shop())
    rule = hurdle_in(space, "orders", 1.0)
    at = space.transform(np.array([[1.0, 9.0], [2.0, 9.0]]))
    assert rule.holds(at).tolist() == [True, False]
    assert replace(rule, component=2).holds(at).tolist() == [True, False]


def replace_hurdle(value: float) -> ModelSettings:
    return SETTINGS.model_copy(update={"hurdle": HurdleSettings(feature="orders", value=value)})


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("resolution", ["floor", "dequantise", "spread"])
def test_a_share_of_nothing_or_of_everything_can_be_a_rule(value: float, resolution: str) -> None:
    random = np.random.default_rng(4)
    X = shop(1500)
    share = np.where(X[:, 0] == 1, value, random.beta(2, 4, len(X)).round(2))
    features = [Feature(name="share", transform="logit", resolution=0.01, valid={"min": 0, "max": 1}), FEATURES[1]]
    X = np.column_stack([share, X[:, 1]])
    space = FeatureSpace.fit(features, X)
    rule = HurdleSettings(feature="share", value=value)
    settings = ModelSettings(n_components=(2, 3), hurdle=rule, resolution=resolution)
    config = parse_config(CONFIG, Path("segmentation.yaml")).model_copy(update={"model": settings})
    found = fit_challengers(space, X, [str(i) for i in range(len(X))], config)
    assert found.choice.candidate is not None, found.choice.rationale
    R = found.choice.candidate.mixture.responsibilities(space.transform(X))
    np.testing.assert_array_equal(R[:, 0], (share == value).astype(float))


def test_a_rule_that_stands_still_has_not_moved_and_does_not_make_the_others_look_certain() -> None:
    X = shop()
    X[X[:, 0] == 1, 1] = 30.0  # their other feature says nothing either
    space, found = challengers(X)
    mixture = found.choice.candidate.mixture
    segments = tuple(Segment(i + 1, f"segment {i + 1}", None) for i in range(mixture.n_components))
    champion = SegmentModel(1, date(2020, 1, 1), space, mixture, segments, -9.0)
    assert component_mean_shifts(champion, space.transform(X))[0].max() == pytest.approx(0.0, abs=1e-6)
    triggers = evaluate_triggers(champion, X, date(2020, 2, 1), space.schema, RefitSettings(), 0.0)
    certainty = next(t.value for t in triggers if t.metric == "mean_max_probability_high")
    left = mixture.responsibilities(space.transform(X))[X[:, 0] > 1]
    assert certainty == pytest.approx(left.max(axis=1).mean())


def test_a_rule_added_or_taken_out_brings_a_refit_and_true_names() -> None:
    X = shop()
    refit = RefitSettings(max_mean_max_probability=1.0)  # segments as far apart as these are certain
    asked = parse_config(CONFIG, Path("segmentation.yaml")).model_copy(update={"model": SETTINGS, "refit": refit})
    plain = asked.model_copy(update={"model": SETTINGS.model_copy(update={"hurdle": None})})
    decisions = []
    for config in (plain, asked, asked, plain):
        previous = decisions[-1].champion if decisions else None
        space = FeatureSpace.fit(FEATURES, X)
        choice = fit_challengers(space, X, [f"c{i}" for i in range(len(X))], config, previous).choice
        inputs = DecisionInputs(
            month=add_months(date(2020, 1, 1), len(decisions)),
            space=space,
            X=X,
            X_previous=X if previous else None,
            recency=None,
            frequency=None,
            challenger=choice.candidate.mixture,
            rationale=choice.rationale,
            previous=previous,
            next_version=len(decisions) + 1,
            next_segment_id=1 + 10 * len(decisions),
        )
        decisions.append(decide(inputs, config))
    assert [decision.promoted for decision in decisions] == [True, True, False, True]
    assert "hurdle_changed" in decisions[1].reason
    named = [[s.name for s in decision.champion.segments] for decision in decisions]
    assert ["Orders exactly 1" in names for names in named] == [False, True, True, False]


def test_features_that_repeat_one_another_under_the_rule_alone_are_no_trouble() -> None:
    """With one order, the days since the last are the days since the first."""
    X = shop()
    random = np.random.default_rng(5)
    last = random.integers(1, 80, len(X)).astype(float)
    X = np.column_stack([X[:, 0], last, last + np.where(X[:, 0] == 1, 0, random.integers(1, 200, len(X)))])
    features = [FEATURES[0], *(Feature(name=n, transform="log1p", resolution=1, valid={"min": 0}) for n in ("a", "b"))]
    space = FeatureSpace.fit(features, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_candidates(
            space.transform(X),
            [2, 3],
            variance_floor=space.variance_floor,
            seed=1,
            hurdle=hurdle_in(space, "orders", 1.0),
        )
    assert all(np.isfinite(candidate.bic) for candidate in found)
