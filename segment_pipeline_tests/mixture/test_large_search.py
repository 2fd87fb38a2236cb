"""Of very many customers a sample is searched among, and what is found goes on with everybody."""

import os

import numpy as np
import pytest

from segment_pipeline.arrays import Array
from segment_pipeline.mixture import candidates
from segment_pipeline.mixture.candidates import Candidate, Hurdle, bic, fit_candidates, search_mixtures
from segment_pipeline.mixture.chain.candidates import fit_memory_candidates
from segment_pipeline_tests.mixture.test_candidates import three_segments
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated

ROWS, FEW, VARIANCE_FLOOR = 12_000, 3_000, np.full(2, 1e-4)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "SEARCH_ROWS", FEW)


def found_in(Z: Array, sizes: list[int], **how: object) -> list[Candidate]:
    return fit_candidates(Z, sizes, variance_floor=VARIANCE_FLOOR, seed=1, **how)  # type: ignore[arg-type]


def examined(found: list[Candidate]) -> list[Candidate]:
    return [one.examined(0.0, 0.0) for one in found if one.examined is not None]


@pytest.mark.usefixtures("few")
def test_what_is_found_among_few_is_everybodys_when_it_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, _ = three_segments(ROWS)
    asked = found_in(Z, [2, 3, 4])
    served = examined(asked)
    monkeypatch.setattr(candidates, "SEARCH_ROWS", ROWS)
    for look, one, whole in zip(asked, served, examined(found_in(Z, [2, 3, 4])), strict=True):
        assert one.bic == pytest.approx(bic(one.mixture, Z), abs=1e-6)
        assert one.bic <= look.bic + 1e-6
        assert one.bic <= whole.bic + 5.0  # the search among all of them
        assert look.bic == pytest.approx(whole.bic, abs=50.0)  # near enough to say who is to be asked
        assert one.converged
    assert served[1].stability > 0.95
    assert np.allclose(served[1].mixture.weights.sum(), 1.0)


def test_a_row_that_stands_for_ten_is_ten_rows() -> None:
    """The guard against spikes is one customer's scatter: ten times the customers feel a tenth of it."""
    Z, _ = three_segments(200)
    (ten,) = search_mixtures(Z, [3], random_state=0, variance_floor=VARIANCE_FLOOR, stands_for=10.0)
    (repeated,) = search_mixtures(np.repeat(Z, 10, axis=0), [3], random_state=1, variance_floor=VARIANCE_FLOOR)
    (plain,) = search_mixtures(Z, [3], random_state=0, variance_floor=VARIANCE_FLOOR)
    covariances = [np.sort(one.model.covariances_, axis=0) for one in (ten, repeated, plain)]
    assert ten.bic == pytest.approx(repeated.bic, abs=1e-3)
    assert np.abs(covariances[0] - covariances[1]).max() < 1e-6
    assert np.abs(covariances[2] - covariances[1]).max() > 1e-4


@pytest.mark.usefixtures("few")
def test_same_bits_whatever_the_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, _ = three_segments(ROWS)
    many = examined(found_in(Z, [2, 3]))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    for one, other in zip(many, examined(found_in(Z, [2, 3])), strict=True):
        assert one.bic == other.bic
        np.testing.assert_array_equal(one.mixture.means, other.mixture.means)


@pytest.mark.usefixtures("few")
def test_beside_a_rule_everybody_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, _ = three_segments(ROWS)
    Z[: ROWS // 5, 0] = 9.0
    (one,) = examined(found_in(Z, [4], hurdle=Hurdle(0, 0, low=8.9, value=9.0, high=9.1)))
    assert one.mixture.weights[0] == pytest.approx(0.2)
    assert one.n_components == 4
    monkeypatch.setattr(candidates, "SEARCH_ROWS", ROWS)
    (whole,) = examined(found_in(Z, [4], hurdle=Hurdle(0, 0, low=8.9, value=9.0, high=9.1)))
    assert one.bic == pytest.approx(whole.bic, abs=5.0)


@pytest.mark.parametrize("rows", [FEW, ROWS])
@pytest.mark.usefixtures("few")
def test_more_segments_than_asked_for_are_not_searched_for_again(rows: int) -> None:
    Z, _ = three_segments(rows)
    (three,) = found_in(Z, [3])
    assert three.examined is not None
    once, again = three.examined(0.0, 0.0, 2), three.examined(0.0, 0.0, 3)
    assert np.isnan(once.stability)
    assert (once.n_segments, once.examined) == (3, None)
    assert again.stability > 0.95


def test_nor_are_they_with_memory() -> None:
    panel = simulated(APART, QUIET, 300, 5, seed=3)[0]
    (three,) = fit_memory_candidates(panel, [3], variance_floor=VARIANCE_FLOOR, seed=1)
    assert three.examined is not None
    once, again = three.examined(0.0, 0.0, 2), three.examined(0.0, 0.0, 3)
    assert np.isnan(once.stability)
    assert (once.n_segments, once.examined) == (3, None)
    assert again.stability > 0.95


@pytest.mark.parametrize(("draw", "share", "k"), [(100, 0.3, 4), (103, 0.3, 5), (104, 0.1, 4)])
def test_what_slides_into_a_spike_with_everybody_is_searched_for_among_all(
    draw: int, share: float, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skewed customers of whom many have one value: the best of a sample was a saddle on the way to it."""
    random = np.random.default_rng(draw)
    kind = random.choice(3, 25_000, p=[0.5, 0.3, 0.2])
    means = random.normal(0, 3, (3, 2))
    Z = means[kind] + np.stack([random.gamma(2.0 + kind, 1.0, 25_000), random.standard_t(4, 25_000)], axis=1)
    Z[random.random(25_000) < share, 0] = 0.0
    served = []
    for rows in (5_000, 25_000):
        monkeypatch.setattr(candidates, "SEARCH_ROWS", rows)
        found = fit_candidates(Z, range(2, 6), variance_floor=np.full(2, 1e-5), seed=1)
        (one,) = (one.examined(0.0, 0.0, 8) for one in found if one.n_components == k and one.examined is not None)
        served.append(one)
    few, whole = served
    assert (few.degenerate, whole.degenerate) == (False, False)
    assert few.bic == pytest.approx(whole.bic, abs=1.0)


@pytest.mark.usefixtures("few")
def test_those_near_the_best_are_not_judged_by_a_look() -> None:
    """Two kinds that hardly differ, and one that does: three components are next to as good as two."""
    random = np.random.default_rng(2)
    Z = random.normal(size=(ROWS, 2))
    Z[: ROWS // 3] += [4.0, 0.0]
    found = found_in(Z, [2, 3, 4])
    best = min(one.bic for one in found)
    for look, one in zip(found, examined(found), strict=True):
        if look.bic <= best + 2.0 * candidates.NEAR * ROWS:
            assert one.bic == pytest.approx(look.bic, abs=0.5)


@pytest.mark.usefixtures("few")
def test_a_gap_is_told_before_anything_is_searched() -> None:
    Z, _ = three_segments(ROWS)
    Z[-1, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        found_in(Z, [2])
