"""Candidates with memory on panels of known truth."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from segment_pipeline import helper
from segment_pipeline.mixture.candidates import Candidate, adjusted_rand_index, heldout_rows
from segment_pipeline.mixture.chain import candidates
from segment_pipeline.mixture.chain.candidates import Chain, few_customers, fit_memory_candidates
from segment_pipeline.mixture.chain.markov import MarkovMixture, starting_memory
from segment_pipeline.mixture.chain.panel import SEEN, Panel
from segment_pipeline.mixture.gaussian import Mixture, bic
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated

FLOOR = np.full(2, 1e-4)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated(APART, QUIET, 900, 6, seed=1)[0]


def examined(panel: Panel, sizes: Sequence[int], **how: Any) -> list[Candidate]:
    """All candidates of a panel as they may serve."""
    found = [one.examined for one in fit_memory_candidates(panel, sizes, variance_floor=FLOOR, **how)]
    return [ask(0.0, 0.0) for ask in found if ask is not None]


def test_the_segments_and_the_chain_that_made_the_panel_are_found(panel: Panel) -> None:
    candidates = examined(panel, [2, 3, 4], seed=1)
    assert [candidate.n_components for candidate in candidates] == [2, 3, 4]
    best = min(candidates, key=lambda candidate: candidate.bic)
    assert best.n_components == 3
    assert best.converged
    assert not best.degenerate
    assert best.stability > 0.99
    assert best.memory is not None
    order = [int(np.linalg.norm(best.mixture.means - mean, axis=1).argmin()) for mean in APART.means]
    np.testing.assert_allclose(best.memory.ordered(order).transitions, QUIET.transitions, atol=0.05)
    assert best.min_kept == best.memory.flicker().min()
    assert best.min_kept > 0.8


def test_its_figures_are_those_of_the_chain(panel: Panel) -> None:
    (found,) = examined(panel, [3], seed=1)
    assert found.memory is not None
    model = MarkovMixture.of(found.mixture, found.memory)
    assert found.panel_bic == pytest.approx(model.bic(panel))
    there = panel.states[:, -1] == SEEN
    last = model.filter(panel)[there, -1, :3]
    np.testing.assert_allclose(found.mixture.weights, last.mean(axis=0))
    assert found.smallest_share == pytest.approx(last.mean(axis=0).min())
    # density of the last month's features given the months before and that the customer is there, by hand
    before = model.filter(panel)[there, -2]
    begun = ~np.isnan(before[:, 0])
    prior = np.where(begun[:, None], np.nan_to_num(before) @ found.memory.transitions[:, :3], found.memory.new)
    prior /= prior.sum(axis=1, keepdims=True)
    rows = panel.rows[panel.months_of_rows == panel.n_months - 1]
    assert found.bic == pytest.approx(bic(found.mixture, rows))
    densities = np.exp(found.mixture.log_joint(rows)) / found.mixture.weights
    assert found.train_log_likelihood == pytest.approx(np.log((prior * densities).sum(axis=1)).mean())


def test_customers_who_differ_for_good_make_no_segments() -> None:
    """Their own offsets stay from month to month: the panel sees ever more segments, a month alone the three."""
    panel = simulated(APART, QUIET, 800, 8, seed=4)[0]
    offsets = np.random.default_rng(5).normal(0.0, 0.4, (panel.n_customers, panel.n_features))
    lasting = replace(panel, rows=panel.rows + offsets[panel.customers_of_rows])
    found = examined(lasting, range(2, 7), seed=1)
    assert min(found, key=lambda c: c.bic).n_components == 3
    assert min(found, key=lambda c: c.panel_bic or 0.0).n_components > 3
    scores = [candidate.next_log_score or 0.0 for candidate in found]
    assert max(scores[2:]) > scores[1]


def test_the_next_month_is_predicted_for_customers_that_the_fit_has_not_seen(panel: Panel) -> None:
    (found,) = examined(panel, [3], seed=1)
    unseen = panel.take(heldout_rows(panel.n_customers, 1))
    truth = Chain(MarkovMixture.of(APART, QUIET), unseen).next_log_score
    static = APART.log_likelihood(unseen.rows[unseen.known_before]).mean()
    assert found.next_log_score is not None
    assert truth - 0.05 < found.next_log_score <= truth + 0.01
    assert found.next_log_score > static + 0.5
    # what a fit has seen does not depend on them
    others = panel.take(np.setdiff1d(np.arange(panel.n_customers), heldout_rows(panel.n_customers, 1)))
    assert len(others.rows) + len(unseen.rows) == len(panel.rows)


def test_it_is_told_of_values_as_they_are(panel: Panel) -> None:
    """Rounding is for the fit alone: what is predicted is the value that will be seen."""
    (plain,) = examined(panel, [3], seed=1)
    spread = replace(panel, rounding_variance=np.full(panel.rows.shape, 0.02))
    (found,) = examined(spread, [3], seed=1)
    assert plain.next_log_score is not None
    assert found.next_log_score == pytest.approx(plain.next_log_score, abs=0.01)
    assert found.heldout_log_likelihood < plain.heldout_log_likelihood - 0.01


def test_same_arguments_same_bits_whatever_the_number_of_threads(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    for rows in (0, 10**9):  # as many threads as there are cores, and one
        monkeypatch.setattr(candidates, "ONE_THREAD_ROWS", rows)
        threads.append(examined(panel, [2, 3], seed=5))
    for one, other in zip(*threads, strict=True):
        assert one.memory is not None
        assert other.memory is not None
        assert (one.bic, one.next_log_score) == (other.bic, other.next_log_score)
        np.testing.assert_array_equal(one.mixture.covariances, other.mixture.covariances)
        np.testing.assert_array_equal(one.memory.transitions, other.memory.transitions)


def test_last_months_champion_is_one_more_start(panel: Panel) -> None:
    (plain,) = examined(panel, [3], seed=1)
    (warm,) = examined(panel, [3], seed=1, champion=(APART, QUIET))
    assert warm.bic == pytest.approx(plain.bic, abs=0.5)


def test_the_first_search_goes_on_from_last_months_candidates_and_the_others_begin_anew(panel: Panel) -> None:
    """Of the month before they know five months of six."""
    sizes = [2, 3, 4]
    before = fit_memory_candidates(panel.until(5), sizes, variance_floor=FLOOR, seed=1)
    known = [(candidate.mixture, candidate.memory) for candidate in before if candidate.memory is not None]
    cold = examined(panel, sizes, seed=1)
    warm, again = (examined(panel, sizes, seed=1, known=known[::order]) for order in (1, -1))
    for one, other, same in zip(cold, warm, again, strict=True):
        assert one.panel_bic is not None
        assert other.panel_bic is not None
        assert other.panel_bic <= one.panel_bic + 2.0
        assert same.panel_bic == other.panel_bic
    assert warm[1].stability > 0.99


def test_what_goes_on_from_the_month_before_and_is_surpassed_was_no_search(panel: Panel) -> None:
    """Last month's three are two, one of them twice: no step of EM tells the twins apart."""
    sizes = [2, 3, 4]
    before = fit_memory_candidates(panel, sizes, variance_floor=FLOOR, seed=1)
    two = before[0].mixture
    twins = Mixture(
        two.weights[[0, 1, 1]] / [1.0, 2.0, 2.0],
        two.means[[0, 1, 1]],
        two.covariances[[0, 1, 1]],
        parts=((0,), (1, 2)),
    )
    known = [(one.mixture, one.memory) for one in before if one.memory is not None]
    known[1] = (twins.unmerged, known[0][1].parted(twins.segment_of, twins.within))
    went_on = fit_memory_candidates(panel, sizes, variance_floor=FLOOR, seed=1, known=known)[1]
    assert went_on.examined is not None
    anew = went_on.examined(0.0, 0.0)
    assert anew.bic == pytest.approx(before[1].bic, abs=2.0)
    assert went_on.bic > anew.bic + 10.0
    assert anew.stability > 0.99


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The sizes of every search for starts, as they happen."""
    asked: list[list[int]] = []
    search = candidates.search_mixtures
    monkeypatch.setattr(
        candidates,
        "search_mixtures",
        lambda rows, sizes, **how: asked.append(list(sizes)) or search(rows, sizes, **how),
    )
    return asked


def test_only_who_is_examined_is_searched_for_again(panel: Panel, searches: list[list[int]]) -> None:
    two, three, seven = fit_memory_candidates(panel, [2, 3, 7], variance_floor=FLOOR, seed=1)
    assert searches == [[2, 3, 7]]
    assert np.isnan([two.stability, three.stability, seven.heldout_log_likelihood]).all()
    assert three.next_log_score is three.panel_bic is None
    assert three.examined is not None
    found = three.examined(0.0, 0.0)
    assert searches[1:] == [[2, 3]]
    assert found.examined is None
    assert found.bic <= three.bic + 0.5
    assert found.stability > 0.99
    assert np.isfinite([found.heldout_log_likelihood, found.next_log_score, found.panel_bic]).all()


def test_a_third_search_only_looks_where_two_end_apart(
    panel: Panel, searches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (agreed,) = examined(panel, [3], seed=1)
    assert searches == [[3]] * 2
    searches.clear()
    monkeypatch.setattr(candidates, "SAME_BASIN", 1.1)  # more than any two agree
    (apart,) = examined(panel, [3], seed=1)
    assert searches == [[3]] * 3
    assert apart.bic == pytest.approx(agreed.bic, abs=0.5)


@pytest.mark.parametrize(("afar", "more"), [(candidates.AFAR, 1), ((), 2)])
def test_who_is_stuck_between_segments_is_led_out_by_a_look_from_afar(
    panel: Panel, searches: list[list[int]], monkeypatch: pytest.MonkeyPatch, afar: tuple[float, ...], more: int
) -> None:
    """One component for two groups, and two for one: EM stays there, and other searches have to tell."""
    stuck = Mixture(
        np.array([0.8, 0.1, 0.1]),
        np.array([[-0.75, 0.375], [-0.716, 3.284], [0.716, 4.716]]),
        np.array([[[9.25, 1.406], [1.406, 1.047]], *[[[0.488, 0.088], [0.088, 0.488]]] * 2]),
    )
    monkeypatch.setattr(candidates, "AFAR", afar)
    known = [(stuck, starting_memory(stuck.weights))]
    (went_on,) = fit_memory_candidates(panel, [3], variance_floor=FLOOR, seed=1, known=known)
    assert not searches
    assert went_on.examined is not None
    found = went_on.examined(0.0, 0.0)
    assert found.bic < went_on.bic - 100.0
    assert found.stability > 0.99
    assert len(searches) == more


def test_a_large_panel_is_searched_on_a_sample_and_fitted_whole(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = examined(panel, [3], seed=1)
    monkeypatch.setattr(candidates, "FEW_ROWS", 1500)
    few = few_customers(panel, 1, 1500)
    assert 1450 < len(few.rows) <= 1500
    (found,) = examined(panel, [3], seed=1)
    assert found.bic == pytest.approx(whole.bic, abs=1.0)
    agree = [MarkovMixture.of(one.mixture, one.memory).filter(panel)[:, -1] for one in (whole, found) if one.memory]
    there = panel.states[:, -1] == SEEN
    labels = [one[there].argmax(axis=1) for one in agree]
    assert adjusted_rand_index(*labels) > 0.99


def test_a_component_that_next_to_nobody_is_in_this_month_is_degenerate(panel: Panel) -> None:
    """Whatever it was in the months before."""
    last = panel.months_of_rows == panel.n_months - 1
    rows = panel.rows.copy()
    away = np.random.default_rng(0).normal(size=rows.shape) * 0.5 + 20.0
    moved = ~last & (panel.customers_of_rows < 200)
    rows[moved] = away[moved]
    (found,) = fit_memory_candidates(replace(panel, rows=rows), [4], variance_floor=FLOOR, seed=1)
    assert found.degenerate
    assert found.degeneracy is not None
    assert "effective members" in found.degeneracy
    assert found.smallest_share < 0.01


def test_where_customers_only_pass_through_there_is_one_search() -> None:
    """From the first segment to the second and to the third, and then round again."""
    ageing = np.zeros((4, 4))
    ageing[[0, 1, 2, 3], [1, 2, 0, 3]] = 1.0
    clock = replace(QUIET, transitions=ageing)
    panel = simulated(APART, clock, 400, 4, seed=2, newcomers=0.0)[0]
    (three,) = fit_memory_candidates(panel, [3], variance_floor=FLOOR, seed=1)
    assert three.examined is not None
    passed, asked = three.examined(0.0, 0.5), three.examined(0.0, 0.0)
    assert passed.memory is not None
    assert passed.memory.stays.max() < 0.1
    assert np.isnan(passed.stability)
    assert asked.stability > 0.99


@pytest.mark.process
def test_a_helper_changes_no_bit(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    alone = examined(panel, [2, 3], seed=1)
    calls: list[object] = []
    compute = helper.Helper.compute
    monkeypatch.setattr(helper.Helper, "compute", lambda *call: (calls.append(call), compute(*call))[1])
    with helper.at_hand("import segment_pipeline.mixture.chain.candidates"):
        helped = examined(panel, [2, 3], seed=1)
    assert calls
    for one, other in zip(alone, helped, strict=True):
        figures = ("bic", "panel_bic", "stability", "heldout_log_likelihood", "next_log_score")
        assert [getattr(one, name) for name in figures] == [getattr(other, name) for name in figures]
        np.testing.assert_array_equal(one.mixture.covariances, other.mixture.covariances)
        assert one.memory is not None
        assert other.memory is not None
        np.testing.assert_array_equal(one.memory.transitions, other.memory.transitions)
