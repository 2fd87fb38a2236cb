"""The search: published reference fits, spikes, samples and polish, the same bits on any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from segment_pipeline.mixture import search as core
from segment_pipeline.mixture.candidates import (
    GaussianMixtureEM,
    Mixture,
    adjusted_rand_index,
    bic,
    find_degeneracy,
    search_mixtures,
)
from segment_pipeline.mixture.starts import merges, splits
from segment_pipeline_tests.mixture.old_faithful import OLD_FAITHFUL


def four_segments(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1])
    centers = np.array([[0.0, 0.0], [4.0, 1.0], [0.0, 5.0], [-4.0, -2.0]])
    return centers[labels] + random.normal(size=(n, 2)) * [1.0, 0.7], labels


def test_old_faithful_reaches_the_published_fit() -> None:
    """mclust 6.0, VVV without prior: BIC -2322.1920 with their sign, log-likelihood -1130.2641, 11 parameters."""
    (found,) = search_mixtures(OLD_FAITHFUL, [2], random_state=0, prior=None)
    assert -found.bic >= -2322.1920 - 0.05
    assert found.model.n_parameters == 11
    assert found.model.score(OLD_FAITHFUL) * 272 == pytest.approx(-1130.2641, abs=0.03)
    assert not found.degenerate


def test_by_default_iris_gets_no_spike() -> None:
    """An unguarded search "beats" the published fit of three components (-580.8) by a spike (-202.8)."""
    X = load_iris().data
    floor = np.full(4, 0.1**2 / 12)
    two, three = search_mixtures(X, [2, 3], random_state=0, variance_floor=floor)
    for found in (two, three):
        assert not found.degenerate
        assert find_degeneracy(found.model.mixture_, X, floor, ("a", "b", "c", "d")) is None
        assert -700 < -found.bic < -560


@pytest.mark.parametrize(("k", "published"), [(2, -574.0178), (3, -580.8396)])
def test_the_guard_against_spikes_costs_a_sound_fit_next_to_nothing(k: int, published: float) -> None:
    """mclust 6.0, VVV without prior; its BIC is the negative of ours. A prior worth 12 customers cost 18 and 35."""
    X = load_iris().data
    (found,) = search_mixtures(X, [k], random_state=0)
    assert not found.degenerate
    assert -found.bic == pytest.approx(published, abs=0.1)


def test_a_component_that_is_thin_and_no_spike_keeps_its_width() -> None:
    """A twentieth of the others' width, and 600 customers: a prior worth 8 customers missed the truth by 41 BIC."""
    random = np.random.default_rng(1)
    X = np.vstack([random.normal(size=(600, 2)) * [1.0, 0.05], random.normal(size=(1400, 2)) + [1.0, 2.0]])
    truth = Mixture(
        np.array([0.3, 0.7]), np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([np.diag([1.0, 0.0025]), np.eye(2)])
    )
    (found,) = search_mixtures(X, [2], random_state=0)
    assert not found.degenerate
    assert found.bic <= bic(truth, X)


def test_without_shunning_spikes_the_highest_likelihood_wins_whatever_it_means() -> None:
    random = np.random.default_rng(0)
    X = np.vstack([random.normal(size=(300, 2)), np.repeat(random.normal(size=(8, 2)), 3, axis=0)])
    plain = {"prior": None, "random_state": 0, "variance_floor": 1e-6}
    (sound,) = search_mixtures(X, [3], **plain)
    (spiky,) = search_mixtures(X, [3], shun_spikes=False, **plain)
    assert spiky.objective >= sound.objective


def test_every_number_of_components_comes_back_in_the_order_asked_for() -> None:
    X, truth = four_segments(1500)
    done: list[int] = []
    found = search_mixtures(X, [5, 4, 2], random_state=1, progress=done.append)
    assert [one.n_components for one in found] == [5, 4, 2]
    assert sorted(done) == [2, 4, 5]
    best = min(found, key=lambda one: one.bic)
    assert best.n_components == 4
    assert isinstance(best.model, GaussianMixtureEM)
    assert best.bic == pytest.approx(best.model.bic(X))
    assert best.converged
    assert best.n_rows == 1500
    assert adjusted_rand_index(best.model.predict(X), truth) > 0.9


@pytest.mark.parametrize("medium", [12_000, 1_000])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(
    medium: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "MEDIUM_ROWS", medium)
    X, _ = four_segments(3000)
    alone = search_mixtures(X, range(2, 6), random_state=3, n_jobs=None)
    threaded = search_mixtures(X, range(2, 6), random_state=3, n_jobs=4)
    for one, other in zip(alone, threaded, strict=True):
        assert one.bic == other.bic
        np.testing.assert_array_equal(one.model.covariances_, other.model.covariances_)


@pytest.mark.parametrize("medium", [12_000, 1_000])
def test_a_search_that_goes_on_from_the_way_of_others_ends_at_the_same_bits(
    medium: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Farther up, from half-way, and on its very end; one for numbers that lie beside the way goes its own."""
    monkeypatch.setattr(core, "MEDIUM_ROWS", medium)
    X, _ = four_segments(3000)
    way = core.Way()
    for wanted, first, last in (([4], 2, 5), ([2, 3], 2, 4), ([6], 2, 6), ([5], 4, 6), ([4], 2, 5)):
        how = {"beside": range(first, last + 1), "random_state": 3, "n_jobs": None}
        for shared, alone in zip(
            search_mixtures(X, wanted, way=way, **how), search_mixtures(X, wanted, **how), strict=True
        ):
            assert (shared.bic, shared.objective) == (alone.bic, alone.objective)
            for one, other in zip(
                (shared.model.mixture_, *shared.alternatives, *shared.neighbours),
                (alone.model.mixture_, *alone.alternatives, *alone.neighbours),
                strict=True,
            ):
                np.testing.assert_array_equal(one.means, other.means)
                np.testing.assert_array_equal(one.covariances, other.covariances)


def test_what_nobody_asks_for_is_not_gone_down_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the neighbour of the smallest, which a closer look starts from."""
    X, _ = four_segments(500)
    down: list[int] = []
    revisit = core.Explorer.revisit
    monkeypatch.setattr(core.Explorer, "revisit", lambda self, k: (down.append(k), revisit(self, k)))
    search_mixtures(X, [5], beside=range(2, 7), random_state=0)
    assert down == [6, 5, 4]


def test_a_sample_is_searched_and_passes_over_all_rows_polish_it() -> None:
    X, _ = four_segments(20_000)
    options = {"random_state": 0, "sample_size": 1500}
    (everyone,) = search_mixtures(X, [4], random_state=0)
    (sampled,) = search_mixtures(X, [4], **options)
    (again,) = search_mixtures(X, [4], **options)
    (polished,) = search_mixtures(X, [4], polish_passes=5, **options)
    np.testing.assert_array_equal(sampled.model.means_, again.model.means_)
    assert (sampled.n_rows, polished.n_rows) == (1500, 20_000)
    assert polished.bic == pytest.approx(polished.model.bic(X))
    best, rough, fine = (one.model.score(X) for one in (everyone, sampled, polished))
    assert rough < fine
    assert best - fine < 0.1 * (best - rough)


def test_last_months_champion_is_one_more_start() -> None:
    X, _ = four_segments(800)
    (plain,) = search_mixtures(X, [4], random_state=0)
    (warm,) = search_mixtures(X, [4], random_state=0, champion=plain.model.mixture_)
    assert warm.objective >= plain.objective - 1e-5
    with pytest.raises(ValueError, match="champion has 2 features"):
        search_mixtures(np.hstack([X, X**2]), [4], champion=plain.model.mixture_)


@given(st.integers(1, 4), st.integers(1, 3), st.floats(0.01, 0.5), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_no_covariance_falls_below_the_floor(k: int, d: int, floor: float, seed: int) -> None:
    Z = np.round(np.random.default_rng(seed).normal(size=(200, d)))
    (found,) = search_mixtures(Z, [k], random_state=seed, variance_floor=np.full(d, floor))
    assert np.linalg.eigvalsh(found.model.covariances_).min() >= floor * (1 - 1e-9)
    assert found.model.weights_.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("neighbours", [splits, merges])
def test_splits_and_merges_keep_mean_and_covariance_of_the_whole(neighbours) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(0)
    roots = random.normal(size=(4, 3, 3))
    mixture = Mixture(random.dirichlet(np.ones(4)), random.normal(size=(4, 3)), roots @ np.swapaxes(roots, 1, 2))
    made = splits(mixture, random) if neighbours is splits else merges(mixture)
    assert {one.n_components for one in made} == {5 if neighbours is splits else 3}
    for one in made:
        for ours, theirs in zip(_moments(one), _moments(mixture), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


def _moments(mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    mean = mixture.weights @ mixture.means
    second = mixture.covariances + mixture.means[:, :, None] * mixture.means[:, None, :]
    return mean, np.tensordot(mixture.weights, second, 1)


@pytest.mark.parametrize(
    ("X", "k", "message"),
    [
        (np.array([[np.nan, 1.0]] * 50), [2], "NaN"),
        (np.zeros((3, 2)), [2], "cannot carry"),
        (np.random.default_rng(0).normal(size=(50, 2)), [0], "at least 1"),
        (np.random.default_rng(0).normal(size=(50, 2)), [], "at least 1"),
        (np.outer(np.arange(50.0), [1.0, 2.0]), [2], "are constant, up to rounding|repeat one another"),
        (np.column_stack([np.arange(50.0), np.ones(50)]), [2], "are constant, up to rounding|repeat one another"),
    ],
)
def test_impossible_input_is_refused(X: np.ndarray, k: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search_mixtures(X, k, random_state=0)
