"""How a fit is told that values are rounded: the same each time, within the step, honest, and never in scoring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.source import Feature
from segment_pipeline.mixture.candidates import Mixture, bic, fit_candidates
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.resolution import dequantise, rounding_variance, what_the_fit_sees


def space_of(transform: str, X: np.ndarray, resolution: float = 1.0) -> FeatureSpace:
    limits = {"log": {"min": 0.001}, "log1p": {"min": 0}, "logit": {"min": 0, "max": 1}}.get(transform, {})
    names = [f"feature {j}" for j in range(X.shape[1])]
    return FeatureSpace.fit(
        [Feature(name=name, transform=transform, resolution=resolution, valid=limits) for name in names], X
    )


def counts(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Two counts that one habit explains, both seldom above five: the lattice on which a component likes to sit."""
    random = np.random.default_rng(seed)
    rate = random.lognormal(0.6, 0.7, (n, 1))
    return 1.0 + random.poisson(rate * np.array([1.0, 1.5])), [f"customer {i}" for i in range(n)]


def test_a_customers_place_depends_on_customer_and_feature_and_on_nothing_else() -> None:
    X, ids = counts(500)
    space = space_of("log1p", X)
    placed = dequantise(X, ids, space)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(dequantise(X[order], [ids[i] for i in order], space), placed[order])
    np.testing.assert_allclose(dequantise(X + 7.0, ids, space) - 7.0, placed, atol=1e-12)
    # across features of one customer the places are unrelated, and they fill the step evenly
    places = placed - X
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.15
    assert np.quantile(places, [0.1, 0.5, 0.9]) == pytest.approx([-0.4, 0.0, 0.4], abs=0.05)


def test_the_places_are_the_same_on_every_machine() -> None:
    X = np.array([[1.0, 2.0]])
    space = space_of("log1p", np.array([[1.0, 2.0], [3.0, 5.0]]))
    assert dequantise(X, ["1001"], space)[0].tolist() == [0.7060226893846682, 2.3043384727207465]


@given(
    st.sampled_from(["none", "log", "log1p", "logit"]),
    st.floats(0.01, 2.0),
    st.lists(st.floats(0.001, 0.999), min_size=3, max_size=20, unique=True),
)
@settings(max_examples=80, deadline=None)
def test_every_place_can_be_transformed_and_lies_within_its_step(
    transform: str, resolution: float, values: list[float]
) -> None:
    if transform == "logit":
        resolution = min(resolution, 0.5)
    X = np.array([0.0 if transform == "log1p" else values[0], *values])[:, None]
    space = space_of(transform, X, resolution)
    placed = dequantise(X, [str(i) for i in range(len(X))], space)
    assert np.isfinite(space.transform(placed)).all()
    assert np.all(np.abs(placed - X) <= resolution / 2 + 1e-12)
    variance = rounding_variance(space, X)
    assert np.isfinite(variance).all()
    assert (variance >= 0).all()


def test_the_variance_of_a_step_is_the_twelfth_of_its_square_and_falls_with_the_value_in_logs() -> None:
    X = np.array([[1.0], [2.0], [5.0], [50.0]])
    plain = space_of("none", X)
    np.testing.assert_allclose(rounding_variance(plain, X)[:, 0], 1 / 12 / plain.scale[0] ** 2, rtol=0.005)
    logs = rounding_variance(space_of("log1p", X), X)[:, 0]
    assert (np.diff(logs) < 0).all()
    assert logs[0] / logs[-1] > 100


def test_spread_is_the_mean_over_all_draws_of_the_dequantisation() -> None:
    X, ids = counts(300)
    space = space_of("none", X)
    mixture = Mixture(np.ones(1), np.array([[0.3, -0.2]]), np.array([[[0.9, 0.4], [0.4, 0.7]]]))
    draws = [
        mixture.log_likelihood(space.transform(dequantise(X, [f"{draw} {i}" for i in ids], space))).mean()
        for draw in range(200)
    ]
    Z, rounding_variance = what_the_fit_sees("spread", space, X, ids)
    assert mixture.log_likelihood(Z, rounding_variance).mean() == pytest.approx(np.mean(draws), abs=0.005)


def test_a_fit_to_spread_values_is_the_fit_to_many_draws_at_once() -> None:
    X, ids = counts(1500)
    space = space_of("none", X)
    Z, rounding_variance = what_the_fit_sees("spread", space, X, ids)
    floor = space.variance_floor
    (ours,) = fit_candidates(Z, [2], variance_floor=floor, seed=0, rounding_variance=rounding_variance)
    draws = np.vstack([space.transform(dequantise(X, [f"{draw} {i}" for i in ids], space)) for draw in range(20)])
    (many,) = fit_candidates(draws, [2], variance_floor=floor, seed=0)
    ours_first, many_first = (np.argsort(found.mixture.means[:, 0]) for found in (ours, many))
    np.testing.assert_allclose(many.mixture.means[many_first], ours.mixture.means[ours_first], atol=0.1)
    assert ours.bic == pytest.approx(bic(ours.mixture, Z, rounding_variance))
    assert ours.bic > bic(ours.mixture, Z)  # a lower bound of the likelihood


def test_on_rounded_counts_only_the_floor_alone_keeps_finding_more_segments() -> None:
    X, ids = counts()
    space = space_of("log1p", X)
    lowest = {}
    for resolution in ("floor", "dequantise", "spread"):
        Z, rounding_variance = what_the_fit_sees(resolution, space, X, ids)
        found = fit_candidates(
            Z, range(1, 8), variance_floor=space.variance_floor, seed=1, rounding_variance=rounding_variance
        )
        lowest[resolution] = min(found, key=lambda candidate: candidate.bic).n_components
    assert lowest["spread"] <= lowest["dequantise"] < lowest["floor"]


def test_an_unknown_way_is_refused() -> None:
    X, ids = counts(50)
    with pytest.raises(ValueError, match="one of floor, dequantise and spread"):
        what_the_fit_sees("noise", space_of("log1p", X), X, ids)
