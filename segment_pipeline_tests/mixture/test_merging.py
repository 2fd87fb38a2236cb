"""Components that describe one skewed or heavy-tailed group are one segment; Gaussian groups stay apart."""

from dataclasses import replace

import numpy as np
import pytest

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Hurdle, Mixture, adjusted_rand_index, fit_candidates, fit_mixture
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.gaussian import summed
from segment_pipeline.mixture.merging import each_alone, entropy_path, merge_components, merge_flickering
from segment_pipeline.mixture.skewed import HeavyTailed, Rows, Skewed, fit_groups
from segment_pipeline_tests.hidden_states import hidden_states, made_from
from segment_pipeline_tests.skewed_groups import skewed_groups, standardised

FLOOR = np.full(3, 1e-3)


def gaussian_groups(n: int, groups: int, apart: float, seed: int) -> Array:
    mixture, random = made_from(groups, apart), np.random.default_rng(seed)
    return np.asarray(mixture.means[random.choice(groups, n, p=mixture.weights)] + random.normal(size=(n, 3)))


@pytest.mark.parametrize(("shape", "components"), [("log-normal", 7), ("t3", 5), ("t5", 4)])
def test_components_of_a_group_that_is_no_gaussian_are_one_segment(shape: str, components: int) -> None:
    truth, X = skewed_groups(2500, shape, seed=77)
    Z = standardised(X)
    mixture = fit_mixture(Z, components, variance_floor=FLOOR)

    merging = merge_components(mixture, Z, FLOOR)

    assert len(merging) == 3
    R = mixture.responsibilities(Z)
    merged = adjusted_rand_index(summed(R, merging).argmax(axis=1), truth)
    # the best that sums of these components can do: each goes to the group that it mostly describes
    home = (R.T @ np.eye(3)[truth]).argmax(axis=1)
    best = tuple(tuple(np.flatnonzero(home == g).tolist()) for g in range(3) if (home == g).any())
    assert merged >= adjusted_rand_index(summed(R, best).argmax(axis=1), truth) - 0.05


@pytest.mark.parametrize(("groups", "apart"), [(4, 1.0), (5, 1.5)])
def test_gaussian_groups_that_overlap_are_not_merged(groups: int, apart: float) -> None:
    """Some of their pairs have a single mode and half of their customers in doubt."""
    Z = standardised(gaussian_groups(4000, groups, apart, seed=78))
    mixture = fit_mixture(Z, groups, variance_floor=FLOOR)

    assert merge_components(mixture, Z, FLOOR) == each_alone(groups)


def test_a_gaussian_group_that_was_cut_in_two_is_whole_again() -> None:
    """Half its customers each, side by side: a candidate with one component too many."""
    Z = standardised(gaussian_groups(4000, 4, 1.0, seed=79))
    mixture = fit_mixture(Z, 5, variance_floor=FLOOR)

    assert len(merge_components(mixture, Z, FLOOR)) == 4


def test_merging_is_the_same_each_time_and_one_component_is_one_segment() -> None:
    _, X = skewed_groups(1500, "t3", seed=80)
    Z = standardised(X)
    mixture = fit_mixture(Z, 4, variance_floor=FLOOR)
    spread = np.full_like(Z, 1e-3)

    assert merge_components(mixture, Z, FLOOR, spread) == merge_components(mixture, Z, FLOOR, spread)
    assert merge_components(Mixture(np.ones(1), np.zeros((1, 3)), np.eye(3)[None]), Z, FLOOR) == ((0,),)


def test_the_entropy_path_merges_first_whose_members_are_least_decided() -> None:
    """Components 0 and 2 share their customers evenly; 1 is sure of nearly all of its own."""
    R = np.repeat([[0.5, 0.0, 0.5], [0.4, 0.1, 0.5], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], 25, axis=0)

    assert list(entropy_path(R)) == [((0, 2), (1,)), ((0, 1, 2),)]


def test_merged_memberships_are_sums() -> None:
    R = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])

    assert summed(R, ((0, 2), (1,))) == pytest.approx(np.array([[0.8, 0.2], [0.75, 0.25]]))


def test_heavy_tails_are_found_with_their_degrees() -> None:
    random = np.random.default_rng(81)
    X = random.standard_t(4, size=(4000, 1)) * np.ones((1, 1))
    found = fit_groups(Rows(X, np.full(1, 1e-6)), np.ones((4000, 1)), HeavyTailed)

    assert found is not None
    (group,) = found.groups
    assert isinstance(group, HeavyTailed)
    assert 3.0 <= group.degrees <= 5.0
    # the density is one: it integrates to 1 over a line that holds next to all of it
    line = np.linspace(-200, 200, 400_001)[:, None]
    assert np.exp(group.log_density(line)).sum() * 1e-3 == pytest.approx(1.0, abs=1e-3)


def test_a_scale_is_found_on_which_a_log_normal_is_a_gaussian() -> None:
    random = np.random.default_rng(82)
    X = np.exp(0.8 * random.normal(size=(4000, 1)))
    found = fit_groups(Rows(X, np.full(1, 1e-6)), np.ones((4000, 1)), Skewed)

    assert found is not None
    x = X[:, 0]
    truth = -0.5 * (np.log(x) / 0.8) ** 2 - np.log(0.8 * np.sqrt(2 * np.pi) * x)
    mean = found.groups[0].log_density(X).mean()
    assert mean == pytest.approx(truth.mean(), abs=0.02)
    assert mean > -0.5 * (np.log(2 * np.pi * x.var()) + 1) + 0.3  # what a Gaussian says of them
    line = np.linspace(-50, 500, 550_001)[:, None]
    assert np.exp(found.groups[0].log_density(line)).sum() * 1e-3 == pytest.approx(1.0, abs=5e-3)


def test_a_group_without_members_is_no_group() -> None:
    Z = np.random.default_rng(83).normal(size=(200, 3))
    memberships = np.column_stack([np.ones(200), np.zeros(200)])

    assert fit_groups(Rows(Z, FLOOR), memberships, Skewed) is None


def two_halves() -> tuple[Mixture, Mixture]:
    """Two components; and the same with the first cut in two that are alike, of 3/4 and 1/4 of it."""
    covariances = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.4, 0.0], [0.0, 0.9]]])
    whole = Mixture(np.array([0.6, 0.4]), np.array([[0.0, 0.0], [1.5, 1.0]]), covariances)
    cut = [0, 1, 0]
    return whole, Mixture(np.array([0.45, 0.4, 0.15]), whole.means[cut], covariances[cut], parts=((0, 2), (1,)))


def test_a_component_cut_in_two_and_merged_is_itself() -> None:
    whole, merged = two_halves()
    Z = np.random.default_rng(84).normal(size=(50, 2))
    prior = np.random.default_rng(85).dirichlet([1.0, 1.0], size=50)

    np.testing.assert_allclose(merged.shares, whole.weights)
    np.testing.assert_allclose(merged.moments.means, whole.means, atol=1e-12)
    np.testing.assert_allclose(merged.moments.covariances, whole.covariances, atol=1e-12)
    for given in (None, prior):
        np.testing.assert_allclose(merged.log_joint(Z, prior=given), whole.log_joint(Z, prior=given), atol=1e-12)
    other = np.array([0.2, 0.8])
    np.testing.assert_allclose(
        merged.with_shares(other).log_likelihood(Z), whole.with_shares(other).log_likelihood(Z), atol=1e-12
    )
    np.testing.assert_allclose(
        merged.unmerged.log_likelihood(Z, prior=merged.of_components(prior)), whole.log_likelihood(Z, prior=prior)
    )
    np.testing.assert_allclose(merged.ordered([1, 0]).log_joint(Z), whole.ordered([1, 0]).log_joint(Z), atol=1e-12)


def test_a_segment_of_two_components_has_their_mean_and_covariance() -> None:
    """Those of a large sample of its customers, to what chance leaves."""
    random = np.random.default_rng(86)
    mixture = Mixture(
        np.array([0.5, 0.3, 0.2]), np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]]), np.tile(np.eye(2), (3, 1, 1))
    )
    part = random.choice(2, 200_000, p=[0.625, 0.375])
    X = mixture.means[part] + random.normal(size=(200_000, 2))

    moments = replace(mixture, parts=((0, 1), (2,))).moments

    np.testing.assert_allclose(moments.means[0], X.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(moments.covariances[0], np.cov(X.T), atol=0.03)


def test_the_memory_of_a_cut_segment_is_that_of_the_whole() -> None:
    whole, merged = two_halves()
    states = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.2, 0.5]])
    memory = Memory(np.array([0.6, 0.4]), np.array([0.5, 0.3, 0.2]), states)

    cut = memory.parted(merged.segment_of, merged.within)

    assert merged.parts is not None
    assert cut.transitions.sum(axis=1) == pytest.approx(1.0)
    back = cut.merged(merged.parts, merged.weights)
    for name in ("new", "before", "transitions"):
        np.testing.assert_allclose(getattr(back, name), getattr(memory, name), atol=1e-12)
    shown = hidden_states(60, 5, 4, 0.1, seed=87).panel
    panel = replace(shown, rows=np.ascontiguousarray(shown.rows[:, :2]))
    known = [MarkovMixture.of(mixture, memory).filter(panel) for mixture in (whole, merged)]
    np.testing.assert_allclose(known[0], known[1], atol=1e-12)


def test_components_between_which_customers_flicker_are_one_segment() -> None:
    """Half of those in 0 and half of those in 2 are in the other a month later; 1 and 3 are left alone."""
    transitions = np.eye(5) * 0.9
    transitions[0, [0, 2]] = transitions[2, [0, 2]] = 0.45
    transitions[:4, 4] = 0.1
    transitions[4, :4], transitions[4, 4] = 0.1, 0.6
    memory = Memory(np.full(4, 0.25), np.full(5, 0.2), transitions)
    weights = np.array([0.4, 0.2, 0.2, 0.2])

    assert merge_flickering(each_alone(4), memory, weights, 0.3) == ((0, 2), (1,), (3,))
    assert memory.merged(((0, 2), (1,), (3,)), weights).transitions[0, 0] == pytest.approx(0.9)
    assert merge_flickering(each_alone(4), memory, weights, 0.0) == each_alone(4)


def test_a_rule_is_a_segment_of_its_own_beside_merged_ones() -> None:
    """A fifth of the customers share one value of the first feature; the others are of three heavy-tailed groups."""
    _, X = skewed_groups(2000, "t3", seed=88)
    X[:400, 0] = -4.0
    Z = standardised(X)
    at = float(Z[0, 0])
    (candidate,) = fit_candidates(Z, [6], variance_floor=FLOOR, seed=1, hurdle=Hurdle(0, 0, at - 1e-9, at, at + 1e-9))
    assert candidate.examined is not None

    merged = candidate.examined(0.3, 0.0)

    assert merged.n_segments < merged.n_components == 6
    assert merged.mixture.parts is not None
    assert merged.mixture.parts[0] == (0,)
    R = merged.mixture.responsibilities(Z)
    np.testing.assert_array_equal(R[:, 0], np.arange(2000) < 400)
    assert merged.smallest_share == pytest.approx(merged.mixture.shares.min())
    assert merged.bic == pytest.approx(candidate.bic)
