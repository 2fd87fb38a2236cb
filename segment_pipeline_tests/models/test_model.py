"""The model as a value: exact round trip, the same probabilities in any coordinates."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.source import Feature
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel, express_in

FEATURES = [
    Feature(name="orders", transform="log1p", resolution=1, valid={"min": 0}),
    Feature(name="value", transform="log", resolution=0.01, valid={"min": 0.01}),
]


def customers(n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.column_stack([1.0 + random.poisson(6, n), random.lognormal(3, 0.7, n)])


def model(seed: int = 0, name: str = "Frequent", k: int = 3) -> SegmentModel:
    random = np.random.default_rng(seed)
    roots = random.normal(size=(k, 2, 2)) + 2 * np.eye(2)
    mixture = Mixture(random.dirichlet(np.ones(k) * 4), random.normal(size=(k, 2)), roots @ np.swapaxes(roots, 1, 2))
    segments = tuple(Segment(3 * i + 1, f"{name} {i}", "engaged" if i else None) for i in range(k))
    space = FeatureSpace.fit(FEATURES, customers(300, seed))
    return SegmentModel(7, date(2017, 3, 1), space, mixture, segments, atypical_below=-9.25)


@given(st.integers(0, 10_000), st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_json_gives_back_every_double_and_every_name(seed: int, name: str) -> None:
    before = model(seed, name)
    after = SegmentModel.from_json(before.to_json())
    assert after.to_json() == before.to_json()
    assert after.segments == before.segments
    assert (after.model_version, after.trained_month, after.atypical_below) == (7, date(2017, 3, 1), -9.25)
    X = customers(20, seed + 1)
    np.testing.assert_array_equal(after.responsibilities(X), before.responsibilities(X))
    np.testing.assert_array_equal(after.log_likelihood(X), before.log_likelihood(X))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_expressing_a_mixture_in_another_months_coordinates_changes_no_probability(seed: int) -> None:
    old, X = model(seed), customers(50, seed + 1)
    space = FeatureSpace.fit(FEATURES, customers(200, seed + 2))
    moved = express_in(old.mixture, old.space, space)
    np.testing.assert_allclose(moved.responsibilities(space.transform(X)), old.responsibilities(X), atol=1e-10)
    np.testing.assert_allclose(
        moved.log_likelihood(space.transform(X)) + space.log_jacobian, old.log_likelihood(X), atol=1e-9
    )


def test_a_model_whose_segments_have_several_components_is_the_same_read_back_and_in_other_coordinates() -> None:
    plain = model(3, k=4)
    merged = replace(plain, mixture=replace(plain.mixture, parts=((0, 2), (1,), (3,))), segments=plain.segments[:3])
    X = customers(40, 4)

    back = SegmentModel.from_json(merged.to_json())
    assert back.mixture.parts == ((0, 2), (1,), (3,))
    np.testing.assert_array_equal(back.responsibilities(X), merged.responsibilities(X))
    space = FeatureSpace.fit(FEATURES, customers(200, 5))
    moved = express_in(merged.mixture, merged.space, space)
    np.testing.assert_allclose(moved.responsibilities(space.transform(X)), merged.responsibilities(X), atol=1e-10)
    assert "parts" not in plain.to_json()  # a model of an earlier version has none, and opens


def test_a_mixture_cannot_be_expressed_in_other_features() -> None:
    old = model()
    other = FeatureSpace.fit([FEATURES[0], Feature(name="other")], customers(100, 0))
    with pytest.raises(ValueError, match="schemas differ"):
        express_in(old.mixture, old.space, other)


def test_segments_must_be_as_many_as_components_and_ascend() -> None:
    sound = model()
    for segments in (sound.segments[:2], sound.segments[::-1], (sound.segments[0],) * 3):
        with pytest.raises(ValueError, match="segment"):
            SegmentModel(1, date(2017, 3, 1), sound.space, sound.mixture, segments, 0.0)
