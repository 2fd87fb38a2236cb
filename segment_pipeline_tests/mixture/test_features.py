"""Feature space, its resolution, and the gate against features that repeat one another."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.source import Feature
from segment_pipeline.errors import ModelError
from segment_pipeline.mixture.features import (
    FeatureSpace,
    diagnose_features,
    explain_dependence,
    find_dependence,
)


def feature(name: str, transform: str = "none", resolution: float = 0.01) -> Feature:
    limits = {"log": {"min": 0.001}, "log1p": {"min": 0}, "logit": {"min": 0, "max": 1}}.get(transform, {})
    return Feature(name=name, transform=transform, resolution=resolution, valid=limits)


def shop_customers(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orders, average order value in cents, total spend: the identity that breaks the textbook recipe."""
    random = np.random.default_rng(seed)
    orders = 1.0 + random.geometric(0.15, n)
    value = np.round(np.exp(random.normal(3.3, 0.6, n)), 2)
    return orders, value, np.round(orders * value, 2)


@given(
    st.sampled_from(["none", "log", "log1p", "logit"]),
    st.lists(st.floats(0.01, 0.99), min_size=5, max_size=30, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_standardised_features_have_mean_zero_and_deviation_one(transform: str, values: list[float]) -> None:
    X = np.array(values)[:, None]
    Z = FeatureSpace.fit([feature("share", transform)], X).transform(X)
    assert abs(Z.mean()) < 1e-8
    assert np.std(X) < 1e-6 or abs(Z.std() - 1.0) < 1e-8


def test_the_log_jacobian_makes_densities_of_differently_scaled_spaces_comparable() -> None:
    x = np.random.default_rng(0).lognormal(3, 1, (500, 1))
    wide, narrow = FeatureSpace.fit([feature("v", "log")], x), FeatureSpace.fit([feature("v", "log")], x[:100] ** 0.5)

    def density(space: FeatureSpace) -> float:
        """Log density at x = 20 of the normal law log x ~ N(3, 1), computed in this space's coordinates."""
        center, scale = (3 - space.center[0]) / space.scale[0], 1 / space.scale[0]
        z = space.transform(np.array([[20.0]]))[0, 0]
        return -0.5 * ((z - center) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi)) + space.log_jacobian

    assert density(wide) == pytest.approx(density(narrow), abs=1e-12)


def test_the_resolution_of_a_count_is_one_step_where_customers_share_a_value() -> None:
    orders = np.repeat([1.0, 2.0, 3.0, 20.0, 21.0, 22.0], [300, 100, 100, 200, 200, 100])[:, None]
    space = FeatureSpace.fit([feature("orders", "log1p", 1)], orders)
    assert space.delta[0] * space.scale[0] == pytest.approx(np.log(2.5 / 1.5))
    assert space.variance_floor[0] == pytest.approx(space.delta[0] ** 2 / 12)


def test_a_value_that_hardly_anyone_has_does_not_widen_the_resolution() -> None:
    random = np.random.default_rng(1)
    orders = np.append(np.round(random.normal(40, 4, 999)), 1.0)[:, None]
    space = FeatureSpace.fit([feature("orders", "log1p", 1)], orders)
    assert space.delta[0] * space.scale[0] < 1.5 / 30


def test_a_value_that_cannot_be_transformed_is_refused_with_feature_and_value() -> None:
    with pytest.raises(ModelError, match=r"spend: value -3 .* log"):
        FeatureSpace.fit([feature("spend", "log")], np.array([[1.0], [-3.0]]))


def test_the_schema_names_everything_that_makes_two_models_comparable() -> None:
    features = [feature("orders", "log1p", 1), feature('a "quoted" 🛒', "none")]
    space = FeatureSpace.fit(features, np.random.default_rng(0).uniform(1, 9, (50, 2)))
    assert json.loads(space.schema) == [["orders", "log1p", 1.0], ['a "quoted" 🛒', "none", features[1].resolution]]
    other = FeatureSpace.fit([features[0], feature('a "quoted" 🛒', "log")], np.ones((50, 2)))
    assert space.schema != other.schema


def test_log_spend_beside_log_orders_and_log_average_order_value_is_found() -> None:
    orders, value, spend = shop_customers()
    X = np.column_stack([orders, value, spend])
    space = FeatureSpace.fit([feature(n, "log") for n in ("orders", "average_order_value", "total_spend")], X)
    dependence = find_dependence(space.names, space.transform(X), space)
    assert dependence is not None
    assert (dependence.kind, dependence.drop) == ("collinear", "total_spend")
    assert dependence.combination.startswith("total_spend = orders + average_order_value (in logs")
    assert dependence.smallest_eigenvalue < 1e-4
    assert "Remove total_spend" in explain_dependence(dependence)


def test_the_same_identity_is_found_through_log1p_where_it_only_nearly_holds() -> None:
    orders, value, spend = shop_customers()
    X = np.column_stack([orders, value, spend])
    space = FeatureSpace.fit([feature(n, "log1p") for n in ("orders", "average_order_value", "total_spend")], X)
    dependence = find_dependence(space.names, space.transform(X), space)
    assert dependence is not None
    assert dependence.drop == "total_spend"


def test_strongly_correlated_features_are_not_a_dependence() -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=2000)
    Z = np.column_stack([first, 0.95 * first + 0.31 * random.normal(size=2000), random.normal(size=2000)])
    assert find_dependence(("a", "b", "c"), Z) is None


@given(st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_dropping_what_is_named_cures_any_single_exact_dependence(d: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    Z = random.normal(size=(400, d))
    Z = np.column_stack([Z, Z @ random.uniform(0.5, 2.0, d) * random.choice([-1.0, 1.0])])
    names = [f"f{j}" for j in range(d + 1)]
    dependence = find_dependence(names, Z)
    assert dependence is not None
    left = [j for j, name in enumerate(names) if name != dependence.drop]
    assert find_dependence([names[j] for j in left], Z[:, left]) is None


def test_constant_features_and_identical_customers_are_told_apart() -> None:
    X = np.column_stack([np.random.default_rng(0).normal(size=200), np.full(200, 0.1)])
    space = FeatureSpace.fit([feature("a"), feature("flat")], X)
    dependence = find_dependence(space.names, space.transform(X), space)
    assert dependence is not None
    assert (dependence.kind, dependence.drop) == ("constant", "flat")
    same = find_dependence(("a", "flat"), np.zeros((200, 2)))
    assert same is not None
    assert same.kind == "identical customers"
    assert "no segments to find" in explain_dependence(same)


def test_diagnostics_count_outliers_atoms_and_the_closest_feature() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=1000)
    a[:5] = 50.0
    b = 0.9 * a + random.normal(size=1000)
    c = np.where(np.arange(1000) < 400, 1.0, random.uniform(2, 3, 1000))
    X = np.column_stack([a, b, c])
    space = FeatureSpace.fit([feature("a"), feature("b"), feature("c")], X)
    first, second, third = diagnose_features(space, X, space.transform(X))
    assert (first.outliers, first.outlier_share) == (5, 0.005)
    assert first.correlated_with == "b"
    assert second.correlated_with == "a"
    assert third.largest_atom_share == 0.4
    assert third.distinct_values == 601
