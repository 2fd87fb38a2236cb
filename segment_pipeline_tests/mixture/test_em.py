"""The EM kernel: monotone, exact, the same through either product and however the rows are cut into blocks."""

import numpy as np
import pytest

from segment_pipeline.mixture import em as core
from segment_pipeline.mixture.covariances import COVARIANCE_TYPES, CovarianceType
from segment_pipeline.mixture.em import Rows, StackedEM, moments_of_labels, spike_guard
from segment_pipeline.mixture.starts import kmeans_labels


def overlapping(n: int, k: int, d: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    roots = random.normal(size=(k, d, d)) * 0.5
    labels = random.integers(k, size=n)
    return random.normal(size=(k, d))[labels] * 1.5 + np.einsum("nij,nj->ni", roots[labels], random.normal(size=(n, d)))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_an_accelerated_cycle_never_lowers_the_posterior_of_any_run(covariance_type: CovarianceType) -> None:
    Z = overlapping(700, 4, 3, 2)
    rows = Rows(Z)
    em = StackedEM(
        3,
        np.full(3, 1e-3),
        spike_guard(np.cov(Z, rowvar=False), 4, len(Z)),
        covariance_type=covariance_type,
    )
    moments = moments_of_labels(kmeans_labels(Z, 4, 3, np.random.default_rng(0), rounds=0), 4, rows)
    before = em.step(moments, rows)[1]
    for _ in range(15):
        moments = em.converge(moments, rows, 0.0, max_iterations=3).moments
        after = em.step(moments, rows)[1]
        assert (after >= before - 1e-12).all()
        before = after


def test_acceleration_reaches_on_a_flat_likelihood_what_plain_em_needs_ten_times_the_passes_for() -> None:
    Z = overlapping(600, 2, 2, 1)
    rows, em = Rows(Z), StackedEM(2, np.full(2, 1e-6), None)
    moments = moments_of_labels(kmeans_labels(Z, 5, 1, np.random.default_rng(0), rounds=5), 5, rows)
    quick = em.converge(moments, rows, 0.0, max_iterations=120).objectives[0]
    slow = em.converge(moments, rows, 0.0, max_iterations=120, accelerate=False).objectives[0]
    slower = em.converge(moments, rows, 0.0, max_iterations=600, accelerate=False).objectives[0]
    assert slow < slower
    assert quick >= slower - 1e-4


def test_the_quick_product_and_the_whitened_one_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    Z = overlapping(500, 3, 2, 0)
    rows, em = Rows(Z), StackedEM(2, np.full(2, 1e-6), None)
    moments = moments_of_labels(kmeans_labels(Z, 3, 2, np.random.default_rng(0), 5), 3, rows)
    quick = em.step(moments, rows)
    monkeypatch.setattr(core, "_ROUNDING_LIMIT", dict.fromkeys(core._ROUNDING_LIMIT, 0.0))
    whitened = em.step(moments, rows)
    np.testing.assert_allclose(quick[0], whitened[0], atol=1e-11)
    np.testing.assert_allclose(quick[1], whitened[1], atol=1e-11)


@pytest.mark.parametrize("limit", [1e-2, 0.0])
def test_in_single_precision_a_run_comes_close_enough_to_be_compared(
    limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    Z = overlapping(500, 3, 2, 0)
    em = StackedEM(2, np.full(2, 1e-6), None)
    moments = moments_of_labels(kmeans_labels(Z, 3, 2, np.random.default_rng(0), 5), 3, Rows(Z))
    double = em.step(moments, Rows(Z))
    monkeypatch.setattr(core, "_ROUNDING_LIMIT", dict.fromkeys(core._ROUNDING_LIMIT, limit))
    single = em.step(moments, Rows(Z, single=True))
    np.testing.assert_allclose(single[0], double[0], atol=1e-4)
    np.testing.assert_allclose(single[1], double[1], atol=1e-4)


def test_covariances_above_the_floor_have_the_same_roots_without_looking_for_what_to_clip() -> None:
    random = np.random.default_rng(5)
    factors = random.normal(size=(2, 3, 4, 4))
    covariances = factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(4)
    em = StackedEM(4, np.full(4, 0.05), None)
    roots, logdet = em._floored_roots(covariances)
    clipped, its_logdet = em._clipped_roots(covariances)
    np.testing.assert_allclose(roots @ np.swapaxes(roots, -1, -2), clipped @ np.swapaxes(clipped, -1, -2), rtol=1e-9)
    np.testing.assert_allclose(logdet, its_logdet, rtol=1e-9)


@pytest.mark.parametrize(("offset", "taken"), [(0.0, "product"), (1e5, "whitened")])
def test_the_quick_product_is_taken_unless_it_would_lose_digits(offset: float, taken: str) -> None:
    rows, em = Rows(overlapping(500, 3, 2, 0) + offset), StackedEM(2, np.full(2, 1e-6), None)
    parameters = core.Parameters.of(np.ones((1, 1)), np.full((1, 1, 2), offset), np.eye(2)[None, None])
    assert em.log_joint(parameters, rows)[1].__name__ == taken


def test_a_row_too_far_out_for_the_quick_exponential_gets_its_exact_membership() -> None:
    Z = np.vstack([overlapping(300, 2, 2, 0), [[400.0, 380.0]]])
    rows, em = Rows(Z), StackedEM(2, np.full(2, 1e-6), None)
    parameters = core.Parameters.of(
        np.array([[0.5, 0.5]]), np.array([[[0.0, 0.0], [1.0, 1.0]]]), np.array([[np.eye(2), np.eye(2)]])
    )
    moments, log_likelihood = em.expect(parameters, rows)
    exact = core.Mixture(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([np.eye(2)] * 2))
    assert log_likelihood[0] == pytest.approx(exact.log_likelihood(Z).mean(), rel=1e-12)
    np.testing.assert_allclose(moments[0, :, 0], exact.responsibilities(Z).mean(axis=0), atol=1e-12)


def test_blocks_built_on_the_fly_give_what_kept_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    Z = overlapping(1000, 3, 4, 3)
    weights = np.random.default_rng(0).random(1000)
    em = StackedEM(4, np.full(4, 1e-6), None)
    kept = Rows(Z, weights=weights)
    monkeypatch.setattr(core, "_KEPT_NUMBERS", 0)
    streamed = Rows(Z, weights=weights, block_rows=64)
    assert kept.kept is not None
    assert streamed.kept is None
    moments = moments_of_labels(kmeans_labels(Z, 3, 2, np.random.default_rng(0), 5), 3, kept)
    np.testing.assert_allclose(
        moments_of_labels(kmeans_labels(Z, 3, 2, np.random.default_rng(0), 5), 3, streamed), moments
    )
    for ours, theirs in zip(em.step(moments, kept), em.step(moments, streamed), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
