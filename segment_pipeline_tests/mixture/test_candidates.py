"""The mixture and its search: known truths, published reference fits, spikes that must be refused, repeatability."""

import os
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from segment_pipeline.mixture import candidates
from segment_pipeline.mixture.candidates import (
    Candidate,
    Found,
    Mixture,
    adjusted_rand_index,
    bhattacharyya_distances,
    bic,
    find_degeneracy,
    fit_candidates,
    fit_mixture,
    heldout_rows,
)
from segment_pipeline.mixture.degeneracy import OWN_SCATTER
from segment_pipeline.mixture.estimator import GaussianMixtureEM
from segment_pipeline.mixture.search import refitted
from segment_pipeline.mixture.starts import splits


def random_mixture(k: int, d: int, seed: int) -> Mixture:
    random = np.random.default_rng(seed)
    roots = random.normal(size=(k, d, d)) * 0.5
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(d)
    return Mixture(random.dirichlet(np.full(k, 5.0)), random.normal(size=(k, d)) * 3, covariances)


def sample(mixture: Mixture, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.choice(mixture.n_components, size=n, p=mixture.weights)
    roots = np.linalg.cholesky(mixture.covariances)
    noise = random.normal(size=(n, mixture.n_features))
    return mixture.means[labels] + np.einsum("nij,nj->ni", roots[labels], noise), labels


def examined(found: list[Candidate]) -> list[Candidate]:
    return [one.examined(0.0, 0.0) for one in found if one.examined is not None]


def three_segments(n: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    means = np.array([[-2.0, 0.0], [2.0, 1.0], [0.5, -3.0]])
    covariances = np.array([[[0.5, 0.3], [0.3, 0.6]], [[0.8, -0.2], [-0.2, 0.3]], [[0.4, 0.0], [0.0, 0.4]]])
    return sample(Mixture(np.array([0.5, 0.3, 0.2]), means, covariances), n, seed)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_densities_equal_those_of_scikit_learn(k: int, d: int, seed: int) -> None:
    mixture = random_mixture(k, d, seed)
    Z, _ = sample(mixture, 50, seed)
    estimator = GaussianMixtureEM.from_mixture(mixture).to_sklearn()
    np.testing.assert_allclose(mixture.log_likelihood(Z), estimator.score_samples(Z), atol=1e-9)
    np.testing.assert_allclose(mixture.responsibilities(Z), estimator.predict_proba(Z), atol=1e-9)
    assert bic(mixture, Z) == pytest.approx(estimator.bic(Z))


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 10_000), st.floats(1.0, 1e8))
@settings(max_examples=40, deadline=None)
def test_membership_probabilities_sum_to_one_however_far_away_a_customer_is(
    k: int, d: int, seed: int, distance: float
) -> None:
    mixture = random_mixture(k, d, seed)
    R = mixture.responsibilities(np.random.default_rng(seed).normal(size=(20, d)) * distance)
    assert np.isfinite(R).all()
    assert (R >= 0).all()
    np.testing.assert_allclose(R.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize(("k", "published"), [(2, -574.0178), (3, -580.8396)])
def test_plain_maximum_likelihood_reaches_the_published_fit_of_iris(k: int, published: float) -> None:
    """mclust 6.0, VVV without prior; its BIC is the negative of ours."""
    X = load_iris().data
    floor = np.full(4, 0.1**2 / 12)
    fit = fit_mixture(X, k, prior=False)
    assert -bic(fit, X) >= published - 0.05
    assert find_degeneracy(fit, X, floor, ("a", "b", "c", "d")) is None


def test_a_spike_on_iris_has_the_better_bic_and_is_refused() -> None:
    X = load_iris().data
    floor = np.full(4, 0.1**2 / 12)
    honest = fit_mixture(X, 3, prior=False)
    spike = GaussianMixture(
        3, reg_covar=1e-12, tol=1e-6, max_iter=2000, n_init=1, means_init=[X[:50].mean(0), X[50:].mean(0), X[101]]
    )
    spike.set_params(precisions_init=np.array([np.eye(4) * 10, np.eye(4), np.eye(4) * 1e6])).fit(X)
    spiky = Mixture(spike.weights_, spike.means_, spike.covariances_)
    assert bic(spiky, X) < bic(honest, X)
    assert find_degeneracy(spiky, X, floor, ("a", "b", "c", "d")) is not None
    (candidate,) = fit_candidates(X, [3], variance_floor=floor, seed=0)
    assert not candidate.degenerate
    assert -700 < -candidate.bic < -560


def test_the_three_segments_that_made_the_customers_are_found() -> None:
    Z, truth = three_segments()
    candidates = examined(fit_candidates(Z, [2, 3, 4], variance_floor=np.full(2, 1e-4), seed=1))
    best = min(candidates, key=lambda candidate: candidate.bic)
    assert best.n_components == 3
    assert best.converged
    assert not best.degenerate
    assert best.stability > 0.99
    assert best.smallest_share == pytest.approx(0.2, abs=0.04)
    assert adjusted_rand_index(np.argmax(best.mixture.responsibilities(Z), axis=1), truth) > 0.9
    assert abs(best.train_log_likelihood - best.heldout_log_likelihood) < 0.2
    assert best.heldout_log_likelihood > candidates[0].heldout_log_likelihood


def test_five_components_on_two_segments_disagree_or_overlap() -> None:
    Z, _ = sample(random_mixture(2, 2, 3), 800, 3)
    two, five = examined(fit_candidates(Z, [2, 5], variance_floor=np.full(2, 1e-4), seed=0))
    assert two.bic < five.bic
    assert two.stability > five.stability
    assert two.min_separation > five.min_separation


def test_same_seed_same_bits_and_another_seed_the_same_answer() -> None:
    Z, _ = three_segments()
    first, again = (examined(fit_candidates(Z, [2, 3], variance_floor=np.full(2, 1e-4), seed=5)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.bic == other.bic
        assert one.heldout_log_likelihood == other.heldout_log_likelihood
        np.testing.assert_array_equal(one.mixture.covariances, other.mixture.covariances)
    (different,) = fit_candidates(Z, [3], variance_floor=np.full(2, 1e-4), seed=6)
    assert different.bic == pytest.approx(first[1].bic, abs=0.1)


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, _ = three_segments(600)
    monkeypatch.setattr(candidates, "ONE_THREAD_ROWS", 100)
    (threaded,) = examined(fit_candidates(Z, [3], variance_floor=np.full(2, 1e-4), seed=5))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    (alone,) = examined(fit_candidates(Z, [3], variance_floor=np.full(2, 1e-4), seed=5))
    assert threaded.bic == alone.bic
    np.testing.assert_array_equal(threaded.mixture.means, alone.mixture.means)


def test_it_is_not_beaten_by_many_starts_of_scikit_learn_on_overlapping_segments() -> None:
    Z, _ = sample(random_mixture(6, 3, 11), 1500, 11)
    ours = bic(fit_mixture(Z, 6, prior=False), Z)
    theirs = GaussianMixture(6, n_init=5, tol=1e-6, max_iter=2000, random_state=0).fit(Z).bic(Z)
    assert ours <= theirs + 0.5


def test_convergence_is_within_a_bic_unit_of_a_hundred_times_stricter_tolerance() -> None:
    Z, _ = sample(random_mixture(5, 3, 4), 1000, 4)
    usual, strict = fit_mixture(Z, 5, seed=1), fit_mixture(Z, 5, seed=1, tolerance=1e-9)
    assert abs(bic(usual, Z) - bic(strict, Z)) < 1.0


def test_a_component_on_a_value_that_many_customers_share_is_sound() -> None:
    """Every one-order customer sits on one value; at its true resolution that is a segment and not a spike."""
    random = np.random.default_rng(0)
    orders = np.concatenate([np.zeros(600), random.normal(3, 0.8, 900)])
    Z = np.column_stack([orders, random.normal(size=1500)])
    (candidate,) = fit_candidates(Z, [2], variance_floor=np.array([0.05, 1e-6]), seed=0, names=("orders", "value"))
    assert candidate.mixture.covariances[:, 0, 0].min() == pytest.approx(0.05, rel=0.01)
    assert not candidate.degenerate


def test_a_component_on_repeated_values_of_a_fine_feature_is_degenerate() -> None:
    random = np.random.default_rng(0)
    value = np.concatenate([np.full(60, 1.234), random.normal(0, 1, 1440)])
    Z = np.column_stack([random.normal(size=1500), value])
    spike = Mixture(
        np.array([0.04, 0.96]), np.array([[0.0, 1.234], [0.0, 0.0]]), np.array([np.diag([1.0, 1e-4]), np.eye(2)])
    )
    reason = find_degeneracy(spike, Z, np.full(2, 1e-8), ("orders", "value"))
    assert reason is not None
    told = re.search(r"next to no spread along value: (\S+) of one customer's scatter", reason)
    assert told is not None
    assert float(told[1]) < OWN_SCATTER


def test_a_component_flat_along_a_combination_of_features_is_degenerate() -> None:
    """One-order customers have tenure = days since the last order: a dependence within one component only."""
    random = np.random.default_rng(0)
    days = random.normal(size=500)
    single = np.column_stack([days, days])
    Z = np.vstack([single, random.normal(size=(1000, 2)) + np.array([4, -4])])
    (candidate,) = fit_candidates(Z, [2], variance_floor=np.full(2, 1e-3), seed=0, names=("days", "tenure"))
    assert candidate.degenerate
    assert candidate.degeneracy is not None
    assert "days and tenure" in candidate.degeneracy


def test_a_component_of_a_handful_is_degenerate_and_says_how_many() -> None:
    random = np.random.default_rng(0)
    Z = np.vstack([random.normal(size=(400, 2)), random.normal(size=(6, 2)) * 0.5 + 30])
    (candidate,) = fit_candidates(Z, [2], variance_floor=np.full(2, 1e-4), seed=0)
    assert candidate.degenerate
    assert candidate.degeneracy is not None
    assert "6 effective members" in candidate.degeneracy


def groups(n: int, k: int, seed: int = 0) -> np.ndarray:
    """(n, 2) customers of k groups of different size, in a ring."""
    random = np.random.default_rng(seed)
    labels = random.choice(k, size=n, p=(shares := np.linspace(1.0, 2.0, k)) / shares.sum())
    angles = 2.0 * np.pi * labels / k
    return 5.0 * np.column_stack([np.cos(angles), np.sin(angles)]) + random.normal(size=(n, 2)) * [1.0, 0.6]


@pytest.fixture
def poor_five(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Customers of five groups. The second and third search find of five components a fit that only divides one group
    of the four that they have found: it leaves two groups in one component."""
    X = groups(1500, 5)
    search = candidates.search_mixtures

    def searched(Z: np.ndarray, sizes: list[int], **how: Any) -> list[Found]:
        found = search(Z, sizes, **how)
        if how["random_state"][1] == 0:
            return found
        four = next(one for one in found[0].neighbours if one.n_components == 4)
        ends = [refitted(one, Z, how["variance_floor"]) for one in splits(four, np.random.default_rng(0), 4)]
        poor = max(ends, key=lambda one: bic(one, Z))
        model = GaussianMixtureEM.from_mixture(poor)
        objective = float(poor.log_likelihood(Z).mean())
        return [
            replace(one, bic=bic(poor, Z), model=model, objective=objective) if one.n_components == 5 else one
            for one in found
        ]

    monkeypatch.setattr(candidates, "search_mixtures", searched)
    return X


def test_searches_that_end_apart_look_closer_each_by_itself(
    poor_five: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    Z, sizes = poor_five, [3, 4, 5, 6]
    found = fit_candidates(Z, sizes, variance_floor=np.full(2, 1e-6), seed=0)[2]
    assert np.isnan(found.stability)
    assert found.examined is not None
    with monkeypatch.context() as blind:
        blind.setattr(candidates, "look_closer", lambda Z, known, *_: known)
        apart = found.examined(0.0, 0.0)
    assert apart.stability < 0.9
    assert apart.basin_gap > 10.0
    closer = found.examined(0.0, 0.0)
    assert closer.stability > 0.99
    assert closer.bic == pytest.approx(found.bic, abs=0.5)
    assert closer.examined is None


def test_only_who_is_examined_is_searched_for_again_and_nobody_whom_two_searches_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, list[int]]] = []
    search = candidates.search_mixtures

    def searched(Z: np.ndarray, sizes: list[int], **how: Any) -> list[Found]:
        asked.append((how["random_state"][1], list(sizes)))
        return search(Z, sizes, **how)

    def look_closer(*arguments: Any) -> Found:
        raise AssertionError("both searches had found the same")

    monkeypatch.setattr(candidates, "search_mixtures", searched)
    monkeypatch.setattr(candidates, "look_closer", look_closer)
    Z, _ = three_segments()
    two, three = fit_candidates(Z, [2, 3], variance_floor=np.full(2, 1e-6), seed=0)
    assert np.isnan([two.stability, two.heldout_log_likelihood, three.stability]).all()
    assert three.examined is not None
    found = three.examined(0.0, 0.0)
    assert asked == [(0, [2, 3]), (1, [3])]
    assert found.bic == three.bic
    assert found.stability > 0.99
    assert np.isfinite(found.heldout_log_likelihood)


def test_numbers_about_as_good_as_the_best_are_all_searched_for_again_and_closer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, list[int]]] = []
    closer: list[int] = []
    search, look = candidates.search_mixtures, candidates.look_closer

    def searched(Z: np.ndarray, sizes: list[int], **how: Any) -> list[Found]:
        asked.append((how["random_state"][1], list(sizes)))
        return search(Z, sizes, **how)

    def looked(Z: np.ndarray, known: Found, *how: Any) -> Found:
        closer.append(known.n_components)
        return look(Z, known, *how)

    monkeypatch.setattr(candidates, "search_mixtures", searched)
    monkeypatch.setattr(candidates, "look_closer", looked)
    Z, _ = three_segments()
    alone = {one.n_components: one.bic for one in search(Z, [2, 3, 4, 5], random_state=0)}
    behind = sorted(alone.values())[1] - min(alone.values())
    monkeypatch.setattr(candidates, "NEAR_BIC", behind + 1.0)
    found = fit_candidates(Z, [2, 3, 4, 5], variance_floor=np.full(2, 1e-6), seed=0)
    near = sorted(sorted(alone, key=alone.__getitem__)[:2])
    assert asked == [(0, [2, 3, 4, 5]), (1, near)]
    assert closer == [near[0], near[0], near[1], near[1]]
    assert np.isnan([one.stability for one in found]).all()
    three = next(one for one in found if one.n_components == 3)
    assert three.examined is not None
    assert three.examined(0.0, 0.0).stability > 0.99
    assert len(asked) == 2


def test_last_months_champion_is_one_more_start() -> None:
    Z, _ = three_segments()
    (plain,) = fit_candidates(Z, [3], variance_floor=np.full(2, 1e-4), seed=1)
    (warm,) = fit_candidates(Z, [3], variance_floor=np.full(2, 1e-4), seed=1, champion=plain.mixture)
    assert warm.bic == pytest.approx(plain.bic, abs=0.01)


def test_the_held_out_customers_are_a_fifth_and_always_the_same() -> None:
    rows = heldout_rows(1000, 42)
    assert len(np.unique(rows)) == 200
    np.testing.assert_array_equal(rows, heldout_rows(1000, 42))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_adjusted_rand_index_is_the_one_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    assert adjusted_rand_index(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)


def test_bhattacharyya_distance_of_equal_covariances_is_an_eighth_of_the_squared_distance() -> None:
    mixture = Mixture(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([np.eye(2)] * 2))
    assert bhattacharyya_distances(mixture)[0, 1] == pytest.approx(25 / 8)


@pytest.mark.parametrize(
    ("Z", "k", "message"),
    [
        (np.array([[np.nan, 1.0]] * 50), [2], "NaN"),
        (np.zeros((3, 2)), [2], "cannot carry"),
        (np.zeros((50, 2)), [0], "at least 1"),
        (np.zeros((50, 2)), [2], "are constant, up to rounding|repeat one another"),
        (np.outer(np.arange(50.0), [1.0, 2.0]), [2], "are constant, up to rounding|repeat one another"),
    ],
)
def test_impossible_input_is_refused(Z: np.ndarray, k: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_candidates(Z, k, variance_floor=np.full(2, 1e-4), seed=0)


def test_a_component_whose_members_repeat_themselves_is_degenerate_however_many_they_are():
    """Of a shop of one-time buyers the first order is the last, give or take a day: flat off the axes, and with so many
    members no spike by their scatter."""
    random = np.random.default_rng(5)
    n = 40_000
    once = random.random(n) < 0.945
    last = random.normal(size=n)
    first = np.where(once, last + 0.01 * random.normal(size=n), random.normal(1, 1, n))
    Z = np.column_stack([last, first, random.normal(size=n)])
    found = fit_candidates(Z, [2], variance_floor=np.full(3, 1e-6), seed=1, names=["last", "first", "spend"])
    assert "along a combination of last and first" in str(found[0].degeneracy)
    assert sum(name in str(found[0].degeneracy) for name in ("last", "first", "spend")) == 2
