"""How far a feature is from what it was: silent by chance, loud when it moved, however few the customers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segment_pipeline.config.model import DriftSettings
from segment_pipeline.config.source import Feature, ValidRange
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.segments.drift import feature_drift, in_words, largest_shifts, population_stability_index

LIMITS = DriftSettings()
FEATURES = [Feature(name="orders", transform="log1p", resolution=1, valid=ValidRange(min=0)), Feature(name="value")]


def customers(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Order counts with many ones, and a normal value whose mean moves by `shift` SD."""
    random = np.random.default_rng(seed)
    return np.column_stack([1.0 + random.poisson(1.5, n), random.normal(shift, 1.0, n)])


def drift_of(then: np.ndarray, now: np.ndarray) -> dict[str, bool]:
    space = FeatureSpace.fit(FEATURES, then)
    return {row.feature: row.drifted for row in feature_drift(space, then, now, LIMITS.max_psi, LIMITS.max_wasserstein)}


@pytest.mark.parametrize("n", [100, 600, 5000])
def test_chance_alone_is_no_drift_however_few_the_customers(n: int) -> None:
    alarms = sum(any(drift_of(customers(n, seed), customers(n, seed + 1000)).values()) for seed in range(30, 55))
    assert alarms <= 1


@pytest.mark.parametrize("n", [600, 5000])
def test_half_a_deviation_is_drift_of_that_feature_only(n: int) -> None:
    assert drift_of(customers(n, 1), customers(n, 2, shift=0.5)) == {"orders": False, "value": True}


def test_the_limit_of_chance_is_what_it_says() -> None:
    random = np.random.default_rng(5)
    over = 0
    for _ in range(4000):
        index, limit = population_stability_index(random.normal(size=300), random.normal(size=300))
        over += index > limit
    assert over <= 0.004 * 4000  # one in a thousand is meant; the bins' edges are drawn as well


def test_so_is_that_of_the_distance() -> None:
    random, n = np.random.default_rng(6), 300
    space = FeatureSpace.fit(FEATURES[1:], random.normal(size=(n, 1)))
    (row,) = feature_drift(space, random.normal(size=(n, 1)), random.normal(size=(n, 1)), 0.0, 0.0)
    pairs = np.sort(random.normal(size=(20_000, 2, n)) / space.scale[0], axis=2)
    distances = np.abs(pairs[:, 0] - pairs[:, 1]).mean(axis=1)  # of samples of one size
    assert row.wasserstein_limit == pytest.approx(np.quantile(distances, 0.999), rel=0.2)


def test_a_change_of_mean_is_told_in_standard_deviations_with_its_sign() -> None:
    then, now = customers(20_000, 1), customers(20_000, 2, shift=-0.5)
    space = FeatureSpace.fit(FEATURES, then)
    (row,) = (r for r in feature_drift(space, then, now, 0.1, 0.2) if r.feature == "value")
    assert row.mean_change == pytest.approx(-0.5, abs=0.05)
    assert row.wasserstein == pytest.approx(0.5, abs=0.05)  # a mere shift moves every customer by as much


@given(arrays(np.float64, st.integers(2, 60), elements=st.integers(0, 4).map(float)))
@settings(max_examples=60, deadline=None)
def test_a_month_is_never_away_from_itself(values: np.ndarray) -> None:
    index, limit = population_stability_index(values, values)
    assert index == 0.0
    assert limit >= 0.0


def test_the_index_is_that_of_a_calculation_by_hand_with_half_a_customer_more_in_each_bin() -> None:
    then, now = np.repeat([0.0, 1.0], [12, 88]), np.repeat([0.0, 1.0, 2.0], [30, 60, 10])
    # the tenths of `then` end at 0, and at 1 from the second on; nobody was beyond the last
    p, q = (np.array(counts) + 0.5 for counts in ([12, 88, 0], [30, 60, 10]))
    by_hand = sum((after - before) / 101.5 * np.log(after / before) for before, after in zip(p, q, strict=True))
    index, by_chance = population_stability_index(then, now)
    assert index == pytest.approx(by_hand, rel=1e-12)
    assert by_chance == pytest.approx(13.8155 * (1 / 100 + 1 / 100), rel=1e-4)  # chi-squared of 2 degrees, 1 in 1000


def test_a_feature_of_a_single_value_can_be_compared() -> None:
    index, limit = population_stability_index(np.ones(50), np.ones(70))
    assert index < limit
    gone, limit = population_stability_index(np.ones(50), np.full(70, 2.0))
    assert gone > limit


def test_in_words_says_whether_it_changed_and_what_the_model_feels() -> None:
    then, now = customers(3000, 1), customers(3000, 2, shift=0.5)
    orders, value = feature_drift(FeatureSpace.fit(FEATURES, then), then, now, 0.1, 0.2)
    moved = largest_shifts([(1, "orders", 0.1), (1, "value", 0.2), (4, "value", 0.4)])
    assert moved == {"orders": (1, 0.1), "value": (4, 0.4)}
    said = in_words(value, "2017-03", *moved["value"])
    assert said.startswith("value has changed since 2017-03: stability index ")
    assert said.endswith("The centre that moved most in it is that of segment 4, by 0.40 SD.")
    assert in_words(orders, "2017-03", None, None).startswith("orders is much as it was since 2017-03")
