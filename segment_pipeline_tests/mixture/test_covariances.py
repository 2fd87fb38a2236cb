"""Covariances that have something in common: the M-step is the best of its kind, BIC counts its freedom, spikes stay
spikes, and a chain keeps to it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from segment_pipeline.config.model import ModelSettings
from segment_pipeline.mixture.candidates import (
    CANNOT_WIN,
    adjusted_rand_index,
    fit_candidates,
    heldout_rows,
)
from segment_pipeline.mixture.chain.candidates import fit_memory_candidates
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.covariances import COVARIANCE_TYPES, CovarianceType
from segment_pipeline.mixture.degeneracy import find_degeneracy
from segment_pipeline.mixture.em import Parameters, Prior, Rows, StackedEM, moments_of_labels, spike_guard
from segment_pipeline.mixture.estimator import CONSTRAINTS, GaussianMixtureEM
from segment_pipeline.mixture.gaussian import Hurdle, Mixture, bic
from segment_pipeline.mixture.hurdle import rule_component, with_rule
from segment_pipeline.mixture.search import refitted, search_mixtures
from segment_pipeline.mixture.starts import kmeans_labels
from segment_pipeline.models.selection import choose, examined_in_turn
from segment_pipeline_tests.mixture.test_em import overlapping
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated
from segment_pipeline_tests.shaped_groups import customers_of, groups_of

SKLEARN = {ours: theirs for theirs, ours in CONSTRAINTS.items()}
of_every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def is_of_type(covariances: np.ndarray, covariance_type: CovarianceType) -> bool:
    d = covariances.shape[-1]
    if covariance_type == "tied":
        return np.allclose(covariances, covariances[:1], rtol=1e-12, atol=0.0)
    if covariance_type == "full":
        return True
    diagonal = np.diagonal(covariances, axis1=1, axis2=2)
    even = covariance_type == "diagonal" or np.allclose(diagonal, diagonal[:, :1], rtol=1e-12, atol=0.0)
    return even and np.array_equal(covariances, diagonal[:, :, None] * np.eye(d))


def moved(covariances: np.ndarray, covariance_type: CovarianceType, random: np.random.Generator) -> np.ndarray:
    """Covariances of the same type a little way off."""
    k, d, _ = covariances.shape
    bend = np.eye(d) + 1e-3 * random.normal(size=(1 if covariance_type == "tied" else k, d, d))
    if covariance_type == "diagonal":
        bend = bend * np.eye(d)
    if covariance_type == "spherical":
        bend = (1.0 + 1e-3 * random.normal(size=(k, 1, 1))) * np.eye(d)
    return bend @ covariances @ np.swapaxes(bend, 1, 2)


@of_every_type
@pytest.mark.parametrize("guarded", [True, False])
def test_the_m_step_is_the_highest_posterior_that_its_covariances_can_reach(covariance_type, guarded) -> None:
    """What is expected of the complete data, plus the log prior, against every neighbour of the same type."""
    random = np.random.default_rng(0)
    Z = overlapping(400, 3, 3, 1)
    rows = Rows(Z)
    # heavy, so that a projection of the unconstrained optimum would be seen to be another point
    prior: Prior = replace(spike_guard(np.cov(Z.T), 3, 400, covariance_type), scale=20.0 * np.cov(Z.T))
    if not guarded:
        prior = Prior(np.full(3, 0.3), 2.0, 9.0, 15.0 * np.cov(Z.T))
    em = StackedEM(3, np.full(3, 1e-9), prior, covariance_type=covariance_type)
    moments = moments_of_labels(kmeans_labels(Z, 3, 1, random, 3), 3, rows)
    weights, means, second = em._unfold(moments, rows.total)

    def expected(covariances: np.ndarray, centers: np.ndarray) -> float:
        parameters = Parameters.of(weights, centers[None], covariances[None])
        apart = means[0] - centers
        around = second[0] - means[0][:, :, None] * means[0][:, None, :] + apart[:, :, None] * apart[:, None, :]
        members = rows.total * weights[0]
        fit = members @ (parameters.logdet[0] + np.einsum("kij,kji->k", np.linalg.inv(covariances), around))
        return float(-0.5 * fit + em.log_prior(parameters)[0])

    found = em.mixture(moments[0], rows.total)
    assert found.covariance_type == covariance_type
    assert is_of_type(found.covariances, covariance_type)
    best = expected(found.covariances, found.means)
    for _ in range(60):
        assert expected(moved(found.covariances, covariance_type, random), found.means) <= best + 1e-9
        assert expected(found.covariances, found.means + 1e-3 * random.normal(size=found.means.shape)) <= best + 1e-9


@of_every_type
def test_the_guard_leaves_the_volume_of_covariances_alone(covariance_type) -> None:
    Z = overlapping(300, 2, 2, 0)
    guard = spike_guard(np.cov(Z.T), 3, 300, covariance_type)
    em = StackedEM(2, np.full(2, 1e-9), guard, covariance_type=covariance_type)
    small, large = (
        Parameters.of(np.full((1, 3), 1 / 3), np.zeros((1, 3, 2)), v * np.eye(2)[None, None].repeat(3, 1))
        for v in (1.0, 1e12)
    )
    # of a penalty tr(S / variance) / 2 on each covariance nothing is left at a large variance
    count = 1 if covariance_type == "tied" else 3
    assert em.log_prior(large)[0] == pytest.approx(0.0, abs=1e-9)
    assert em.log_prior(small)[0] == pytest.approx(-0.5 * count * np.trace(guard.scale))


@of_every_type
def test_from_the_same_start_the_likelihood_ends_where_scikit_learns_does(covariance_type) -> None:
    Z = overlapping(500, 3, 3, 5)
    rows, em = Rows(Z), StackedEM(3, np.full(3, 1e-12), None, covariance_type=covariance_type)
    start = moments_of_labels(kmeans_labels(Z, 3, 1, np.random.default_rng(1), 5), 3, rows)
    first = em.mixture(start[0], rows.total)
    kind = SKLEARN[covariance_type]
    precisions = np.linalg.inv(first.covariances)
    if kind == "tied":
        precisions = precisions[0]
    if kind in ("diag", "spherical"):
        precisions = np.diagonal(precisions, axis1=1, axis2=2)
        precisions = precisions if kind == "diag" else precisions[:, 0]
    theirs = GaussianMixture(
        3, covariance_type=kind, weights_init=first.weights, means_init=first.means, precisions_init=precisions,
        reg_covar=0.0, tol=1e-12, max_iter=5000,
    ).fit(Z)  # fmt: skip
    ours = em.mixture(em.converge(start, rows, 1e-12, accelerate=False).moments[0], rows.total)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-4)
    assert ours.log_likelihood(Z).mean() >= theirs.score(Z) - 1e-9
    one_step = em.mixture(em.step(start, rows)[0][0], rows.total)
    once = theirs.set_params(max_iter=1).fit(Z)
    np.testing.assert_allclose(one_step.means, once.means_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        one_step.covariances,
        GaussianMixtureEM.from_mixture(one_step).mixture_.covariances,
        rtol=1e-12,
    )
    np.testing.assert_allclose(GaussianMixtureEM.from_mixture(one_step).covariances_, once.covariances_, rtol=1e-7)


@of_every_type
def test_the_search_is_no_worse_than_the_best_of_five_of_scikit_learns(covariance_type) -> None:
    Z = overlapping(500, 4, 2, 3) + 0.4 * np.random.default_rng(0).normal(size=(500, 2))  # no spike for scikit-learn
    for found in search_mixtures(Z, range(2, 5), covariance_type=covariance_type, random_state=0, n_jobs=1):
        model = GaussianMixture(
            found.n_components, covariance_type=SKLEARN[covariance_type], n_init=5, random_state=0, tol=1e-5
        )
        assert found.bic <= model.fit(Z).bic(Z) + 2.0
        assert is_of_type(found.model.mixture_.covariances, covariance_type)
        assert found.bic == pytest.approx(bic(found.model.mixture_, Z), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    covariance_type=st.sampled_from(COVARIANCE_TYPES), k=st.integers(1, 5), d=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_bic_counts_as_many_parameters_as_mixtures_of_the_type_can_differ_in(covariance_type, k, d, seed) -> None:
    """The dimension of what M-steps return, of which any may come."""
    random = np.random.default_rng(seed)
    em = StackedEM(d, np.full(d, 1e-9), None, covariance_type=covariance_type)

    def one() -> Mixture:
        rows = Rows(random.normal(size=(20 * k, d)))
        return em.mixture(moments_of_labels(random.integers(k, size=(1, rows.n)), k, rows)[0], rows.total)

    found = [one() for _ in range(3 + k * (1 + d + d * d))]
    values = np.array(
        [np.concatenate([mixture.weights, mixture.means.ravel(), mixture.covariances.ravel()]) for mixture in found]
    )
    assert found[0].n_parameters == np.linalg.matrix_rank(values - values[0], tol=1e-8)


@of_every_type
def test_a_rule_beside_the_mixture_counts_its_weight_and_a_gaussian_of_the_other_features(covariance_type) -> None:
    Z = np.random.default_rng(0).normal(size=(400, 3))
    Z[:100, 0] = 4.0
    rule = Hurdle(0, 0, 3.9, 4.0, 4.1)
    rest = search_mixtures(Z[100:], [2], covariance_type=covariance_type, random_state=0)[0].model.mixture_
    mean, covariance = rule_component(rule, Z[:100], np.full(3, 1e-4), None, covariance_type)
    joined = with_rule(rest, rule, 0.25, mean, covariance)
    of_rule = {"full": 3, "tied": 3, "diagonal": 2, "spherical": 1}[covariance_type]
    assert joined.n_parameters == rest.n_parameters + 1 + 2 + of_rule
    assert is_of_type(covariance[None, 1:, 1:], covariance_type)
    assert Mixture.from_plain(joined.to_plain()).covariance_type == covariance_type


def test_on_a_slanted_line_only_a_covariance_that_can_be_slanted_is_a_spike() -> None:
    random = np.random.default_rng(4)
    line = random.normal(size=(300, 1)) * [1.0, 1.0] + 6.0
    Z = np.vstack([random.normal(size=(600, 2)), line])
    floor = np.full(2, 1e-8)
    reasons = {}
    for covariance_type in COVARIANCE_TYPES:
        (found,) = search_mixtures(Z, [2], covariance_type=covariance_type, random_state=0, variance_floor=floor)
        reasons[covariance_type] = find_degeneracy(found.model.mixture_, Z, floor, ["orders", "value"])
        assert found.degenerate == (reasons[covariance_type] is not None)
    assert "orders and value" in reasons.pop("full")
    assert set(reasons.values()) == {None}


@pytest.mark.parametrize("covariance_type", ["full", "diagonal", "spherical"])
def test_members_who_repeat_one_value_are_a_spike_to_every_covariance_that_they_have_for_themselves(
    covariance_type,
) -> None:
    random = np.random.default_rng(1)
    Z = np.vstack([random.normal(size=(600, 2)), np.full((40, 2), 5.0)])
    (sound,) = search_mixtures(Z, [2], covariance_type=covariance_type, random_state=0)
    spike = replace(
        sound.model.mixture_,
        weights=np.array([600, 40]) / 640,
        means=np.array([Z[:600].mean(axis=0), [5.0, 5.0]]),
        covariances=np.array([np.eye(2), 1e-9 * np.eye(2)]),
    )
    reason = find_degeneracy(spike, Z, np.full(2, 1e-12), ["orders", "value"])
    assert "next to no spread" in reason


def test_a_covariance_that_all_share_is_a_spike_where_all_members_repeat_their_component() -> None:
    random = np.random.default_rng(1)
    one = random.normal(size=(600, 1))
    rungs = np.hstack([one, 3.0 * random.integers(0, 2, size=(600, 1))])
    floor = np.full(2, 1e-9)
    rows, em = Rows(rungs), StackedEM(2, floor, None, covariance_type="tied")
    flat = em.mixture(moments_of_labels((rungs[:, 1] > 0).astype(int)[None], 2, rows)[0], rows.total)
    assert "next to no spread along value" in find_degeneracy(flat, rungs, floor, ["orders", "value"])
    # 40 customers of one value beside 600 others are none: they have a share of everybody's width
    Z = np.vstack([random.normal(size=(600, 2)), np.full((40, 2), 7.0)])
    (found,) = search_mixtures(Z, [2], covariance_type="tied", random_state=0)
    assert find_degeneracy(found.model.mixture_, Z, floor, ["orders", "value"]) is None


@of_every_type
@pytest.mark.parametrize("rounded", [True, False])
def test_a_chain_keeps_to_its_type_and_its_bound_never_falls(covariance_type, rounded) -> None:
    panel, _ = simulated(APART, QUIET, 300, 5, seed=2)
    if rounded:
        panel = replace(panel, rows=np.round(panel.rows, 1), rounding_variance=np.full(panel.rows.shape, 0.01 / 12))
    model = MarkovMixture(3, covariance_type=covariance_type, random_state=0, tol=1e-7, variance_floor=1e-4).fit(panel)
    assert np.diff(model.lower_bounds_).min() >= -1e-9
    assert is_of_type(model.mixture_.covariances, covariance_type)
    of_components = model.mixture_.n_parameters
    assert model.n_parameters == of_components - 2 + 4 * 3 + 2 + 3


@of_every_type
def test_a_candidate_is_of_its_type_throughout(covariance_type) -> None:
    Z = overlapping(500, 2, 2, 7)
    (found,) = fit_candidates(Z, [2], variance_floor=np.full(2, 1e-4), seed=0, covariance_types=(covariance_type,))
    assert found.examined is not None
    found = found.examined(0.0, 0.0)
    assert found.mixture.parts is None
    assert found.covariance_type == covariance_type
    assert is_of_type(found.mixture.covariances, covariance_type)
    log_likelihood = float(found.mixture.log_likelihood(Z).sum())
    assert found.aic == pytest.approx(2 * found.mixture.n_parameters - 2 * log_likelihood)
    heldout = heldout_rows(len(Z), 0)
    short = refitted(found.mixture, np.delete(Z, heldout, axis=0), np.full(2, 1e-4))
    assert is_of_type(short.covariances, covariance_type)
    assert found.heldout_log_likelihood == short.log_likelihood(Z[heldout]).mean()


@pytest.mark.parametrize(("truth", "customers"), [("spherical", 300), ("tied", 300), ("diagonal", 600), ("full", 600)])
def test_a_list_finds_the_type_of_known_groups_in_most_draws(truth, customers) -> None:
    right = agree = 0
    for draw in (20, 21, 22):
        labels, Z = customers_of(groups_of(truth, draw), customers, draw)
        floor = np.full(Z.shape[1], 1e-3)
        found = fit_candidates(Z, range(3, 6), variance_floor=floor, seed=draw, covariance_types=COVARIANCE_TYPES)
        chosen = choose(examined_in_turn(found, ModelSettings()), ModelSettings()).candidate
        assert chosen is not None
        right += chosen.covariance_type == truth
        agree += adjusted_rand_index(chosen.mixture.log_joint(Z).argmax(axis=1), labels) / 3
    assert right >= 2
    assert agree > 0.7


def test_a_type_that_cannot_win_is_searched_once_and_never_examined() -> None:
    _, Z = customers_of(groups_of("full", 20), 900, 0)
    floor = np.full(Z.shape[1], 1e-3)
    found = fit_candidates(Z, [3, 4], variance_floor=floor, seed=0, covariance_types=("spherical", "full"))
    alone = fit_candidates(Z, [3, 4], variance_floor=floor, seed=0)
    assert [one.key for one in found] == [("spherical", 3), ("spherical", 4), ("full", 3), ("full", 4)]
    assert min(one.bic for one in found[:2]) > min(one.bic for one in found[2:]) + 2.0 * CANNOT_WIN * len(Z)
    assert np.isnan([one.stability for one in found]).all()
    assert [one.examined is None for one in found] == [True, True, False, False]
    assert [one.bic for one in found[2:]] == [one.bic for one in alone]


def test_with_memory_too_a_type_that_cannot_win_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = replace(APART, covariances=np.array([[[1.0, 0.85], [0.85, 1.0]]] * 3))
    panel, _ = simulated(groups, QUIET, 700, 5, seed=2)
    fitted: list[tuple[str, int]] = []
    fit = MarkovMixture.fit
    monkeypatch.setattr(
        MarkovMixture,
        "fit",
        lambda self, part: fitted.append((self.covariance_type, len(part.rows))) or fit(self, part),
    )
    types: tuple[CovarianceType, ...] = ("diagonal", "tied", "full")
    found = fit_memory_candidates(panel, [2, 3], variance_floor=np.full(2, 1e-3), seed=1, covariance_types=types)
    best = min(found, key=lambda one: one.bic)
    assert best.key == ("tied", 3)
    assert is_of_type(best.mixture.covariances, "tied")
    assert best.memory is not None
    assert best.examined is not None
    settings = ModelSettings(covariance=types)
    asked = [one for one in examined_in_turn(found, settings) if one.examined is None]
    assert [one.key for one in asked] == [("tied", 3)]
    assert asked[0].stability > 0.9
    count = {one: sum(kind == one for kind, _ in fitted) for one in types}
    assert count["diagonal"] < count["tied"]
    # the month after goes on from there, each type from its own
    known = [(one.mixture, one.memory) for one in found if one.memory is not None]
    again = fit_memory_candidates(
        panel, [2, 3], variance_floor=np.full(2, 1e-3), seed=1, covariance_types=types, known=known
    )
    assert [one.key for one in again] == [one.key for one in found]
    for one, before in zip(again, found, strict=True):
        assert one.bic == pytest.approx(before.bic, abs=2.0)


def test_spheres_in_coordinates_of_another_scale_are_no_estimator_of_spheres() -> None:
    mixture = Mixture(np.ones(1), np.zeros((1, 2)), np.diag([1.0, 4.0])[None], covariance_type="spherical")
    with pytest.raises(ValueError, match="not spherical in these coordinates"):
        GaussianMixtureEM.from_mixture(mixture)
