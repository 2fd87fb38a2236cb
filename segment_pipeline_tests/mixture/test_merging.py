"""Components that describe one skewed or heavy-tailed group are one segment; Gaussian groups stay apart."""

import numpy as np
import pytest

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Mixture, adjusted_rand_index, fit_mixture
from segment_pipeline.mixture.merging import entropy_path, merge_components, merged_columns, unmerged
from segment_pipeline.mixture.skewed import HeavyTailed, Rows, Skewed, fit_groups
from segment_pipeline_tests.hidden_states import made_from
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
    merged = adjusted_rand_index(merged_columns(R, merging).argmax(axis=1), truth)
    # the best that sums of these components can do: each goes to the group that it mostly describes
    home = (R.T @ np.eye(3)[truth]).argmax(axis=1)
    best = tuple(tuple(np.flatnonzero(home == g).tolist()) for g in range(3) if (home == g).any())
    assert merged >= adjusted_rand_index(merged_columns(R, best).argmax(axis=1), truth) - 0.05


@pytest.mark.parametrize(("groups", "apart"), [(4, 1.0), (5, 1.5)])
def test_gaussian_groups_that_overlap_are_not_merged(groups: int, apart: float) -> None:
    """Some of their pairs have a single mode and half of their customers in doubt."""
    Z = standardised(gaussian_groups(4000, groups, apart, seed=78))
    mixture = fit_mixture(Z, groups, variance_floor=FLOOR)

    assert merge_components(mixture, Z, FLOOR) == unmerged(groups)


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

    assert merged_columns(R, ((0, 2), (1,))) == pytest.approx(np.array([[0.8, 0.2], [0.75, 0.25]]))


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
