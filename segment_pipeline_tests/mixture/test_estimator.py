"""The estimator: scikit-learn's conventions, the mathematics of EM, and the public behaviours of its own mixtures."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from segment_pipeline.mixture import em
from segment_pipeline.mixture.candidates import GaussianMixtureEM, Prior

TYPES = ["full", "tied", "diag", "spherical"]


def segments(n: int = 400, seed: int = 0, apart: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Three spherical segments in three features, and which one each row is from."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, size=n, p=[0.5, 0.3, 0.2])
    centers = apart * np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, -1.0, 1.0]])
    return centers[labels] + random.normal(size=(n, 3)), labels


@parametrize_with_checks([GaussianMixtureEM()])
def test_scikit_learns_own_checks_pass(estimator, check) -> None:  # type: ignore[no-untyped-def]
    check(estimator)


@given(
    st.sampled_from(TYPES),
    st.integers(1, 5),
    st.integers(0, 1000),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 0.5]),
)
@settings(max_examples=40, deadline=None)
def test_em_never_lowers_the_posterior(
    covariance_type: str, k: int, seed: int, prior: bool, accelerate: bool, floor: float | None
) -> None:
    X, _ = segments(150, seed, apart=1.0)
    model = GaussianMixtureEM(
        k,
        covariance_type=covariance_type,
        prior="conjugate" if prior else None,
        accelerate=accelerate,
        variance_floor=floor,
        random_state=seed,
        max_iter=60,
        tol=0.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X)
    assert (np.diff(model.lower_bounds_) >= -1e-10 * np.abs(model.lower_bounds_[1:])).all()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("prior", ["conjugate", None])
def test_a_weight_of_two_is_the_row_twice(covariance_type: str, prior: str | None) -> None:
    X, _ = segments(120)
    weights = np.random.default_rng(1).integers(0, 4, size=len(X))
    start = {"weights_init": [0.4, 0.6], "means_init": X[:2]}
    model = GaussianMixtureEM(2, covariance_type=covariance_type, prior=prior, tol=1e-9, **start)
    weighted = clone(model).fit(X, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, atol=1e-7)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, atol=1e-7)
    assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, abs=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_scikit_learn_gives_the_same_probabilities(covariance_type: str) -> None:
    X, _ = segments()
    frame = pd.DataFrame(X * [1.0, 10.0, 0.1] + 5.0, columns=["orders", "days", "value"])
    model = GaussianMixtureEM(3, covariance_type=covariance_type, random_state=0).fit(frame)
    theirs = model.to_sklearn()
    assert isinstance(theirs, GaussianMixture)
    np.testing.assert_allclose(model.predict_proba(frame), theirs.predict_proba(frame), atol=1e-9)
    np.testing.assert_allclose(model.score_samples(frame), theirs.score_samples(frame), atol=1e-9)
    np.testing.assert_array_equal(model.predict(frame), theirs.predict(frame))
    np.testing.assert_array_equal(theirs.feature_names_in_, model.feature_names_in_)
    assert model.bic(frame) == pytest.approx(theirs.bic(frame))
    assert model.aic(frame) == pytest.approx(theirs.aic(frame))
    assert model.covariances_.shape == theirs.covariances_.shape


@pytest.mark.parametrize("covariance_type", TYPES)
def test_plain_maximum_likelihood_is_the_one_of_scikit_learn(covariance_type: str) -> None:
    X, _ = segments()
    ours = GaussianMixtureEM(3, covariance_type=covariance_type, prior=None, tol=1e-10, random_state=0).fit(X)
    theirs = GaussianMixture(
        3, covariance_type=covariance_type, tol=1e-10, reg_covar=0, max_iter=1000, means_init=ours.means_
    ).fit(X)
    assert ours.score(X) == pytest.approx(theirs.score(X), abs=1e-7)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, atol=1e-3)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_well_separated_segments_are_recovered(covariance_type: str) -> None:
    X, truth = segments(500, apart=10.0)
    model = GaussianMixtureEM(3, covariance_type=covariance_type, n_init=3, random_state=0)
    assert adjusted_rand_score(truth, model.fit_predict(X)) > 0.99
    assert model.converged_
    assert model.n_iter_ >= 1
    assert model.lower_bounds_[-1] == model.lower_bound_


def test_one_component_is_the_sample_mean_and_covariance() -> None:
    X, _ = segments()
    model = GaussianMixtureEM(1, prior=None).fit(X)
    np.testing.assert_allclose(model.means_[0], X.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(model.covariances_[0], np.cov(X, rowvar=False, bias=True), atol=1e-12)
    spherical = GaussianMixtureEM(1, prior=None, covariance_type="spherical").fit(X)
    assert spherical.covariances_[0] == pytest.approx(X.var(axis=0).mean())


def test_a_prior_of_ones_own_pulls_towards_its_mean() -> None:
    X, _ = segments()
    prior = Prior(np.full(3, 100.0), 1e6, 5.0, np.eye(3))
    np.testing.assert_allclose(GaussianMixtureEM(1, prior=prior).fit(X).means_[0], 100.0, rtol=1e-2)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_variances_do_not_fall_below_the_floor(covariance_type: str) -> None:
    random = np.random.default_rng(0)
    X = np.round(random.normal(size=(300, 2)))
    floor = np.array([0.2, 0.5])
    model = GaussianMixtureEM(3, covariance_type=covariance_type, variance_floor=floor, random_state=0).fit(X)
    excess = np.linalg.eigvalsh(model.mixture_.covariances - np.diag(floor))
    assert excess.min() >= -1e-9


def test_it_starts_from_given_parameters() -> None:
    X, _ = segments()
    fitted = GaussianMixtureEM(3, random_state=0, tol=1e-9).fit(X)
    again = GaussianMixtureEM(
        3,
        weights_init=fitted.weights_,
        means_init=fitted.means_,
        covariances_init=fitted.covariances_,
        tol=1e-6,
    ).fit(X)
    assert again.n_iter_ <= 6
    np.testing.assert_allclose(again.means_, fitted.means_, atol=1e-3)
    assert (again.predict(X) == fitted.predict(X)).all()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"weights_init": [0.5, 0.7]}, "'weights' should be positive and sum to 1"),
        ({"weights_init": [1.0]}, r"'weights' should have the shape of \(2,\)"),
        ({"means_init": np.zeros((3, 3))}, r"'means' should have the shape of \(2, 3\)"),
        ({"covariances_init": -np.array([np.eye(3)] * 2)}, "'covariances' should be symmetric, positive-definite"),
        ({"n_components": 0}, "n_components must be an integer of at least 1"),
        ({"tol": -1.0}, "tol must be"),
        ({"covariance_type": "round"}, "covariance_type must be one of"),
        ({"prior": "flat"}, "prior must be"),
        ({"variance_floor": -1.0}, "variance_floor must be"),
    ],
)
def test_impossible_parameters_are_refused(start: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixtureEM(**{"n_components": 2, **start}).fit(segments()[0])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[np.nan, 1.0]] * 50), "NaN"),
        (np.array([[np.inf, 1.0]] * 50), "infinity"),
        (np.zeros((1, 2)), "minimum of 2 is required"),
        (np.random.default_rng(0).normal(size=(2, 2)), "n_samples >= n_components"),
        (np.column_stack([np.arange(50.0), np.ones(50)]), r"features \[1\] have the same value in every row"),
        (np.arange(50.0), "Expected 2D array"),
    ],
)
def test_impossible_input_says_what_to_change(X: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixtureEM(3).fit(X)


def test_features_that_repeat_one_another_are_fitted_with_a_warning() -> None:
    x = np.random.default_rng(0).normal(size=(60, 1))
    with pytest.warns(UserWarning, match="repeat one another"):
        model = GaussianMixtureEM(1).fit(np.hstack([x, x]))
    assert np.isfinite(model.score_samples(np.hstack([x, x]))).all()
    floored = GaussianMixtureEM(1, variance_floor=0.1).fit(np.hstack([x, np.ones((60, 1))]))
    assert floored.covariances_[0, 1, 1] == pytest.approx(0.1, rel=0.01)


def test_the_layout_and_the_dtype_of_the_input_do_not_matter(tmp_path: Path) -> None:
    X = np.round(10 * segments()[0])
    expected = GaussianMixtureEM(3, random_state=0).fit(X)
    np.save(tmp_path / "rows.npy", X)
    for same in (
        X.astype(int),
        X.astype(np.float32),
        np.asfortranarray(X),
        np.load(tmp_path / "rows.npy", mmap_mode="r"),
        X.tolist(),
    ):
        model = GaussianMixtureEM(3, random_state=0).fit(same)
        np.testing.assert_allclose(model.means_, expected.means_, atol=1e-9)
        assert model.means_.dtype == np.float64
        np.testing.assert_allclose(model.predict_proba(same), expected.predict_proba(X), atol=1e-9)


def test_chunks_and_threads_do_not_change_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = segments(1000)
    expected = GaussianMixtureEM(3, random_state=0).fit(X)
    monkeypatch.setattr(em, "_KEPT_NUMBERS", 0)
    monkeypatch.setattr(em, "_SHARD_ROWS", 300)
    one = GaussianMixtureEM(3, random_state=0, chunk_rows=70).fit(X)
    two = GaussianMixtureEM(3, random_state=0, chunk_rows=70, n_jobs=2).fit(X)
    np.testing.assert_allclose(one.means_, expected.means_, atol=1e-9)
    np.testing.assert_array_equal(one.covariances_, two.covariances_)


def test_the_same_seed_gives_the_same_bits() -> None:
    X, _ = segments(apart=1.0)
    first, again = (GaussianMixtureEM(4, n_init=3, random_state=7).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.covariances_, again.covariances_)


def test_more_starts_are_never_worse() -> None:
    X, _ = segments(apart=1.5)
    few, many = (GaussianMixtureEM(5, n_init=n, random_state=3, tol=1e-8).fit(X).lower_bound_ for n in (1, 8))
    assert many >= few - 1e-6


def test_a_run_that_was_cut_short_says_so() -> None:
    X, _ = segments(apart=1.0)
    with pytest.warns(ConvergenceWarning, match="Increase max_iter"):
        model = GaussianMixtureEM(5, random_state=0, max_iter=4, tol=1e-12).fit(X)
    assert not model.converged_
    assert model.n_iter_ == 4


def test_score_is_the_mean_of_the_row_scores_and_the_criteria_follow_from_it() -> None:
    X, _ = segments()
    model = GaussianMixtureEM(2, random_state=0).fit(X)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())
    assert model.aic(X) == pytest.approx(-2 * model.score(X) * len(X) + 2 * model.n_parameters)
    assert model.bic(X) == pytest.approx(-2 * model.score(X) * len(X) + model.n_parameters * np.log(len(X)))


@pytest.mark.parametrize(("covariance_type", "count"), [("full", 29), ("tied", 17), ("diag", 20), ("spherical", 14)])
def test_free_parameters_are_counted_as_in_scikit_learn(covariance_type: str, count: int) -> None:
    X, _ = segments()
    model = GaussianMixtureEM(3, covariance_type=covariance_type, random_state=0).fit(X)
    assert model.n_parameters == count


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_sample_has_the_moments_of_the_mixture(covariance_type: str) -> None:
    X, _ = segments()
    model = GaussianMixtureEM(2, covariance_type=covariance_type, random_state=0).fit(X)
    drawn, labels = model.sample(20_000)
    assert drawn.shape == (20_000, 3)
    for k in range(2):
        mine = drawn[labels == k]
        np.testing.assert_allclose(mine.mean(axis=0), model.means_[k], atol=0.15)
        np.testing.assert_allclose(np.cov(mine, rowvar=False), model.mixture_.covariances[k], atol=0.4)
    with pytest.raises(ValueError, match="needs at least 1"):
        model.sample(0)
    with pytest.raises(NotFittedError):
        GaussianMixtureEM().sample()


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_units_and_origin_do_not_change_memberships(scale: float, offset: float) -> None:
    X, _ = segments()
    expected = GaussianMixtureEM(3, random_state=0, tol=1e-9).fit(X).predict_proba(X)
    moved = (X + offset) * scale
    actual = GaussianMixtureEM(3, random_state=0, tol=1e-9).fit(moved).predict_proba(moved)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_rows_far_away_and_components_far_apart_keep_their_digits() -> None:
    random = np.random.default_rng(0)
    X = np.vstack([random.normal(size=(200, 2)), 1e3 + 0.1 * random.normal(size=(200, 2)), [[-3e3, 2e3]] * 30])
    X[400:] += random.normal(size=(30, 2))
    model = GaussianMixtureEM(3, random_state=0, prior=None, n_init=2).fit(X)
    assert sorted(np.round(430 * model.weights_).astype(int)) == [30, 200, 200]
    fine = model.covariances_[model.weights_.argsort()][1:, 0, 0].min()
    assert fine == pytest.approx(1e-2, rel=0.25)
    far = model.predict_proba(np.array([[1e9, -1e9]]))
    assert np.isfinite(far).all()


def test_weights_in_another_unit_change_nothing_without_a_prior_and_too_small_ones_are_told():
    random = np.random.default_rng(0)
    X = np.vstack([random.normal(0, 1, (300, 2)), random.normal(4, 1, (400, 2))])
    plain = GaussianMixtureEM(2, prior=None, random_state=0).fit(X)
    for weight in (1.0, 0.01, 1e-5):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            scaled = GaussianMixtureEM(2, prior=None, random_state=0).fit(X, sample_weight=np.full(700, weight))
        assert abs(scaled.score(X) - plain.score(X)) < 1e-4
        assert any("Scale the weights" in str(one.message) for one in told) == (weight * 700 < 2)


def test_what_seems_converged_has_little_left_to_gain():
    random = np.random.default_rng(1)
    left = []
    for seed in range(6):
        means = random.normal(0, 1, (3, 3))
        X = means[random.integers(0, 3, 2000)] + random.normal(size=(2000, 3)) * random.uniform(0.5, 1.5, 3)
        first = GaussianMixtureEM(4, random_state=seed).fit(X)
        start = {"weights_init": first.weights_, "means_init": first.means_, "covariances_init": first.covariances_}
        further = GaussianMixtureEM(4, tol=1e-12, max_iter=6000, **start).fit(X)
        left.append(further.lower_bound_ - first.lower_bound_)
    assert np.median(left) < 1e-5
