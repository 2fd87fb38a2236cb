"""The mixture with memory against the truth: enumeration of every path, simulated chains, and its own promises."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.chain.forward_backward import _shares as shares_of
from segment_pipeline.mixture.chain.forward_backward import forward_pass
from segment_pipeline.mixture.chain.markov import MarkovMixture, starting_memory
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import BEFORE, LAPSED, MISSING, SEEN, Panel
from segment_pipeline.mixture.gaussian import Mixture

APART = Mixture(
    np.array([0.5, 0.3, 0.2]),
    np.array([[-3.0, 0.0], [3.0, 1.0], [0.0, 4.0]]),
    np.array([np.eye(2), 0.5 * np.eye(2), [[1.0, 0.6], [0.6, 1.0]]]),
)
QUIET = Memory(
    np.array([0.6, 0.3, 0.1]),
    np.array([0.3, 0.3, 0.2, 0.2]),
    np.array([[0.90, 0.04, 0.02, 0.04], [0.02, 0.92, 0.02, 0.04], [0.05, 0.05, 0.80, 0.10], [0.10, 0.05, 0.05, 0.80]]),
)


def simulated(
    mixture: Mixture, memory: Memory, n: int, months: int, seed: int, *, newcomers: float = 0.3, missing: float = 0.05
) -> tuple[Panel, Array]:
    """A panel drawn from the model, and the true states (n, T), -1 before a customer has begun."""
    random = np.random.default_rng(seed)
    k = mixture.n_components
    first = np.where(random.random(n) < newcomers, random.integers(0, months, n), -1)
    truth = np.full((n, months), -1)
    for t in range(months):
        before = truth[:, t - 1] if t else np.full(n, -1)
        shares = np.where((before >= 0)[:, None], memory.transitions[before], 0.0)
        shares[first == t] = np.append(memory.new, 0.0)
        if t == 0:
            shares[first < 0] = memory.before
        began = shares.any(axis=1)
        drawn = (shares.cumsum(axis=1) < random.random(n)[:, None] * shares.sum(axis=1)[:, None]).sum(axis=1)
        truth[began, t] = drawn[began]
    states = np.where(truth < 0, BEFORE, np.where(truth == k, LAPSED, SEEN)).astype(np.int8)
    states[(states == SEEN) & (random.random((n, months)) < missing)] = MISSING
    of_rows = truth[states == SEEN]
    roots = np.linalg.cholesky(mixture.covariances)
    rows = mixture.means[of_rows] + np.einsum("nij,nj->ni", roots[of_rows], random.normal(size=(len(of_rows), 2)))
    return Panel(states, rows, first >= 0), truth


def enumerated(mixture: Mixture, memory: Memory, panel: Panel, customer: int) -> tuple[Array, Array, Array]:
    """Filtered and smoothed memberships (m, k + 1), and log densities (m,) of each month given those before, of one
    customer's m months, by adding up every path."""
    k = mixture.n_components
    states = panel.states[customer]
    begins = int((states != BEFORE).argmax())
    position = int((panel.states[:customer] == SEEN).sum())
    shown = []
    for state in states[begins:]:
        if state == SEEN:
            density = np.exp(mixture.log_joint(panel.rows[position : position + 1])[0]) / mixture.weights
            shown.append(np.append(density, 0.0))
            position += 1
        else:
            shown.append(np.append(np.zeros(k), 1.0) if state == LAPSED else np.ones(k + 1))
    start = np.append(memory.new, 0.0) if panel.is_new[customer] else memory.before
    if begins and not panel.is_new[customer]:  # it had lapsed and is back, and may be rejected in that month
        start = memory.transitions[k] / (1.0 - memory.transitions[k, k] * (states[begins] == SEEN))

    def masses(months: int) -> dict[tuple[int, ...], float]:
        found = {}
        for path in itertools.product(range(k + 1), repeat=months):
            mass = start[path[0]] * shown[0][path[0]]
            for t in range(1, months):
                mass *= memory.transitions[path[t - 1], path[t]] * shown[t][path[t]]
            found[path] = mass
        return found

    def at(months: int, t: int) -> Array:
        sums = np.zeros(k + 1)
        for path, mass in masses(months).items():
            sums[path[t]] += mass
        return sums

    m = len(shown)
    totals = [1.0, *(float(at(t, 0).sum()) for t in range(1, m + 1))]
    filtered = np.array([at(t + 1, t) / totals[t + 1] for t in range(m)])
    smoothed = np.array([at(m, t) / totals[m] for t in range(m)])
    return filtered, smoothed, np.log(np.array(totals[1:]) / np.array(totals[:-1]))


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_memberships_and_densities_equal_those_of_every_path_added_up(seed: int, k: int, months: int) -> None:
    random = np.random.default_rng(seed)
    roots = random.normal(size=(k, 2, 2)) * 0.5 + np.eye(2)
    mixture = Mixture(
        np.full(k, 1 / k), random.normal(size=(k, 2)) * 2, roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(2)
    )
    memory = Memory(*(random.dirichlet(np.ones(size)) for size in (k, k + 1)), random.dirichlet(np.ones(k + 1), k + 1))
    panel, _ = simulated(mixture, memory, 12, months, seed, newcomers=0.5, missing=0.3)
    if not len(panel.rows):
        return
    model = MarkovMixture.of(mixture, memory)
    filtered, smoothed, scores = model.filter(panel), model.smooth(panel), model.score_months(panel)
    for customer in np.flatnonzero((panel.states != BEFORE).any(axis=1)):
        began = panel.states[customer] != BEFORE
        expected = enumerated(mixture, memory, panel, customer)
        np.testing.assert_allclose(filtered[customer, began], expected[0], atol=1e-9)
        np.testing.assert_allclose(smoothed[customer, began], expected[1], atol=1e-9)
        known = panel.states[customer, began] != MISSING
        np.testing.assert_allclose(scores[customer, began][known], expected[2][known], atol=1e-9)
        assert np.isnan(filtered[customer, ~began]).all()
        assert np.isnan(scores[customer, began][~known]).all()


def test_a_fit_finds_the_chain_that_made_the_panel() -> None:
    panel, _ = simulated(APART, QUIET, 3000, 10, seed=1)
    model = MarkovMixture(3, random_state=0).fit(panel)
    order = [int(np.linalg.norm(model.mixture_.means - mean, axis=1).argmin()) for mean in APART.means]
    assert sorted(order) == [0, 1, 2]
    memory, mixture = model.memory_.ordered(order), model.mixture_.ordered(order)
    np.testing.assert_allclose(memory.transitions, QUIET.transitions, atol=0.02)
    np.testing.assert_allclose(memory.before, QUIET.before, atol=0.04)
    np.testing.assert_allclose(memory.new, QUIET.new, atol=0.06)
    np.testing.assert_allclose(mixture.means, APART.means, atol=0.1)
    np.testing.assert_allclose(mixture.covariances, APART.covariances, atol=0.1)


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("prior", ["conjugate", None])
def test_the_bound_never_falls_and_converges(accelerate: bool, prior: str | None) -> None:
    panel, _ = simulated(APART, QUIET, 300, 6, seed=2)
    model = MarkovMixture(4, random_state=0, accelerate=accelerate, prior=prior, tol=1e-7).fit(panel)
    assert np.diff(model.lower_bounds_).min() >= -1e-9
    assert model.converged_


def test_the_chance_of_a_return_is_not_taken_from_those_alone_who_returned() -> None:
    # who had lapsed before the panel and never came back is in none
    rare = Memory(QUIET.new, np.array([0.2, 0.2, 0.1, 0.5]), QUIET.transitions.copy())
    rare.transitions[3] = [0.12, 0.06, 0.02, 0.8]
    everybody, _ = simulated(APART, rare, 6000, 6, seed=8, missing=0.0)
    seen = everybody.states == SEEN
    there = seen.any(axis=1)
    customers, months = np.nonzero(seen[there])
    begins = np.where(everybody.is_new, (everybody.states != BEFORE).argmax(axis=1), -1)[there]
    panel = Panel.of(customers, months, everybody.rows, first_months=begins, n_months=6)
    assert (~panel.is_new & (panel.states[:, 0] == BEFORE)).sum() > 500
    fitted = MarkovMixture(3, mixture_init=APART, memory_init=rare).fit(panel).memory_
    np.testing.assert_allclose(fitted.transitions[3], rare.transitions[3], atol=0.03)
    np.testing.assert_allclose(fitted.transitions[:3], rare.transitions[:3], atol=0.03)


def test_without_priors_the_bound_is_the_likelihood_and_no_start_near_the_truth_beats_it() -> None:
    panel, _ = simulated(APART, QUIET, 800, 8, seed=3)
    fitted = MarkovMixture(3, mixture_init=APART, memory_init=QUIET, prior=None, transition_prior=0.0, tol=1e-9).fit(
        panel
    )
    assert fitted.score(panel) > MarkovMixture.of(APART, QUIET).score(panel)
    assert fitted.lower_bound_ * len(panel.rows) == pytest.approx(fitted.score(panel) * panel.n_customers, rel=1e-6)


def test_the_same_bits_for_any_number_of_threads() -> None:
    panel, _ = simulated(APART, QUIET, 9000, 4, seed=4)  # three chunks
    fits = [MarkovMixture(3, mixture_init=APART, n_jobs=jobs, max_iter=9).fit(panel) for jobs in (None, 2)]
    np.testing.assert_array_equal(fits[0].mixture_.means, fits[1].mixture_.means)
    np.testing.assert_array_equal(fits[0].memory_.transitions, fits[1].memory_.transitions)


def test_a_customer_is_filtered_alike_alone_and_among_thousands() -> None:
    panel, _ = simulated(APART, QUIET, 5000, 5, seed=5)  # two chunks
    model = MarkovMixture.of(APART, QUIET)
    chosen = np.array([0, 4095, 4096, 4999])
    np.testing.assert_allclose(model.filter(panel)[chosen], model.filter(panel.take(chosen)), atol=1e-12)


def test_a_later_month_never_changes_what_was_said_before() -> None:
    panel, _ = simulated(APART, QUIET, 400, 7, seed=6)
    model = MarkovMixture.of(APART, QUIET)
    np.testing.assert_allclose(model.filter(panel)[:, :4], model.filter(panel.until(4)), atol=1e-12)


def test_memory_tells_movement_from_noise() -> None:
    near = Mixture(APART.weights, APART.means * 0.4, APART.covariances)
    panel, truth = simulated(near, QUIET, 3000, 8, seed=7, missing=0.0)
    seen = panel.states == SEEN
    labels = np.where(seen, MarkovMixture.of(near, QUIET).filter(panel)[:, :, :3].argmax(axis=2), -1)
    alone = np.full(labels.shape, -1)
    alone[seen] = near.log_joint(panel.rows).argmax(axis=1)
    both = seen[:, 1:] & seen[:, :-1]
    stayed = both & (truth[:, 1:] == truth[:, :-1])

    def false_moves(found: np.ndarray) -> float:
        return float((found[:, 1:] != found[:, :-1])[stayed].mean())

    assert false_moves(labels) < false_moves(alone) / 2


def test_what_is_predicted_is_the_filter_times_the_matrix() -> None:
    panel, _ = simulated(APART, QUIET, 200, 5, seed=8)
    model = MarkovMixture.of(APART, QUIET)
    ahead = model.predict(panel, 3)
    expected = model.filter(panel) @ np.linalg.matrix_power(QUIET.transitions, 3)
    np.testing.assert_allclose(ahead, expected, atol=1e-12)
    began = panel.states != BEFORE
    np.testing.assert_allclose(ahead[began].sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(panel, 0), model.filter(panel))


def test_bic_counts_customers_and_not_their_months() -> None:
    panel, _ = simulated(APART, QUIET, 500, 6, seed=9)
    model = MarkovMixture.of(APART, QUIET)
    log_likelihood = np.nansum(model.score_months(panel))
    # 3 means of 2, 3 covariances of 3; 4 rows of 4 that sum to 1; 3 and 4 shares that sum to 1
    assert model.n_parameters == 6 + 9 + 12 + 2 + 3
    assert model.bic(panel) == pytest.approx(32 * np.log(500) - 2 * log_likelihood)


@pytest.mark.parametrize("hidden", ["one month", "a customer's months", "all but two months"])
def test_months_may_be_missing_anywhere(hidden: str) -> None:
    panel, _ = simulated(APART, QUIET, 600, 6, seed=10, newcomers=0.0, missing=0.0)
    states = panel.states.copy()
    gone = np.zeros(states.shape, dtype=bool)
    if hidden == "one month":
        gone[:, 3] = True
    elif hidden == "a customer's months":
        gone[:50] = True
    else:
        gone[:, 2:] = True
    left = Panel(np.where(gone, MISSING, states).astype(np.int8), panel.rows[~gone[states == SEEN]], panel.is_new)
    model = MarkovMixture(3, mixture_init=APART).fit(left)
    memberships = model.filter(left)
    assert np.isfinite(memberships).all()
    np.testing.assert_allclose(memberships.sum(axis=2), 1.0, atol=1e-9)
    assert np.isnan(model.score_months(left)[gone]).all()


def test_a_panel_of_one_month_is_a_mixture() -> None:
    panel, _ = simulated(APART, QUIET, 900, 1, seed=11, newcomers=0.0, missing=0.0)
    model = MarkovMixture(3, mixture_init=APART).fit(panel)
    seen = panel.states[:, 0] == SEEN
    inside = model.memory_.before[:3] / model.memory_.before[:3].sum()
    same = Mixture(inside, model.mixture_.means, model.mixture_.covariances).responsibilities(panel.rows)
    np.testing.assert_allclose(model.filter(panel)[seen, 0, :3], same, atol=1e-9)


def test_tempering_weakens_the_evidence_of_a_fit_and_nothing_that_is_scored() -> None:
    panel, _ = simulated(APART, QUIET, 1000, 6, seed=12)
    plain, tempered = (
        MarkovMixture(3, mixture_init=APART, tempering=power, tol=1e-8).fit(panel) for power in (1.0, 1 / 3)
    )
    assert plain.score(panel) > tempered.score(panel)
    scored = MarkovMixture.of(tempered.mixture_, tempered.memory_)
    assert scored.converged_
    assert scored.score(panel) == tempered.score(panel)


def test_flicker_is_how_little_a_month_says_of_the_one_before() -> None:
    memory = Memory(
        np.full(3, 1 / 3),
        np.full(4, 1 / 4),
        np.array([[0.35, 0.62, 0.03, 0], [0.24, 0.73, 0.03, 0], [0.01, 0.01, 0.98, 0], [0.0, 0.0, 0.0, 1.0]]),
    )
    kept = memory.flicker()
    assert kept[0, 1] == kept[1, 0] == pytest.approx(0.11)
    assert kept[0, 2] == 1.0
    np.testing.assert_array_equal(np.diag(kept), 1.0)
    # nobody leaves the pair: 1 less the shares that go over
    pair = Memory(np.full(2, 0.5), np.full(3, 1 / 3), np.array([[0.6, 0.4, 0], [0.3, 0.7, 0], [0, 0, 1.0]]))
    assert pair.flicker()[0, 1] == pytest.approx(1 - 0.4 - 0.3)


def test_customers_who_age_together_do_not_flicker() -> None:
    # from their last order on everybody goes the same way, wherever it began
    ageing = np.array([[0.0, 0.0, 0.98, 0.02], [0.0, 0.0, 0.97, 0.03], [0.0, 0.0, 0.1, 0.9], [0.05, 0.0, 0.0, 0.95]])
    assert Memory(np.full(3, 1 / 3), np.full(4, 1 / 4), ageing).flicker().min() == 1.0
    # a month that says nothing of the next: all pairs do
    nothing = np.tile([0.3, 0.25, 0.2, 0.15, 0.1], (5, 1))
    assert (
        Memory(np.full(4, 1 / 4), np.full(5, 1 / 5), nothing).flicker().max(initial=0.0, where=~np.eye(4, dtype=bool))
        == 0.0
    )


def test_a_memory_survives_text_and_another_order() -> None:
    same = Memory.from_plain(QUIET.to_plain())
    np.testing.assert_array_equal(same.transitions, QUIET.transitions)
    panel, _ = simulated(APART, QUIET, 100, 4, seed=13)
    order = [2, 0, 1]
    other = MarkovMixture.of(APART.ordered(order), QUIET.ordered(order))
    expected = MarkovMixture.of(APART, QUIET).filter(panel)[:, :, [*order, 3]]
    np.testing.assert_allclose(other.filter(panel), expected, atol=1e-12)


def test_what_cannot_be_fitted_is_refused_in_words() -> None:
    panel, _ = simulated(APART, QUIET, 50, 3, seed=14)
    with pytest.raises(ValueError, match="tempering must be above 0 and at most 1, got 0"):
        MarkovMixture(2, tempering=0.0).fit(panel)
    with pytest.raises(ValueError, match="transition_prior must be 0 or more"):
        MarkovMixture(2, transition_prior=-1.0).fit(panel)
    with pytest.raises(ValueError, match="mixture_init has 3 components, n_components is 2"):
        MarkovMixture(2, mixture_init=APART).fit(panel)
    with pytest.raises(ValueError, match="n_components must be at least 1"):
        MarkovMixture(0).fit(panel)
    with pytest.raises(ValueError, match="customer-months cannot carry"):
        MarkovMixture(3).fit(panel.take(np.array([0])).until(1))
    narrow = Panel(panel.states, panel.rows[:, :1], panel.is_new)
    with pytest.raises(ValueError, match="the panel has 1 features, the model 2"):
        MarkovMixture.of(APART, QUIET).filter(narrow)


def test_a_start_without_memory_is_a_chain() -> None:
    memory = starting_memory(APART.weights)
    for rows in (memory.new, memory.before, memory.transitions):
        np.testing.assert_allclose(rows.sum(axis=-1), 1.0)
    assert (memory.transitions > 0).all()


def test_what_is_expected_of_the_last_months_needs_no_other() -> None:
    panel, _ = simulated(APART, QUIET, 60, 5, seed=3)
    model = MarkovMixture.of(APART, QUIET)
    np.testing.assert_array_equal(model.expect(panel, since=3), model.expect(panel)[:, 3:])


def test_of_a_stretch_of_customers_whom_nobody_saw_nothing_is_learnt() -> None:
    states = np.array([[MISSING, MISSING, LAPSED]], dtype=np.int8)
    (chunk,) = Panel(states, np.empty((0, 2)), np.array([False])).chunks()
    found = forward_pass(chunk, np.empty((3, 0)), QUIET)
    np.testing.assert_allclose(found.log_likelihood[:2], 0.0, atol=1e-12)
    np.testing.assert_allclose(found.forward[0, :, 0], QUIET.before)
    np.testing.assert_allclose(found.forward[2, :, 0], [0.0, 0.0, 0.0, 1.0])


def test_a_state_that_nobody_was_in_goes_anywhere_alike() -> None:
    assert shares_of(np.array([[1.0, 3.0], [0.0, 0.0]])).tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_a_segment_of_two_components_is_remembered_as_both_together() -> None:
    panel, _ = simulated(APART, QUIET, 60, 5, seed=4)
    merged = replace(APART, parts=((0,), (1, 2)))
    memory = QUIET.merged(merged.parts, APART.weights)
    of_segments = MarkovMixture.of(merged, memory).filter(panel)
    of_components = MarkovMixture.of(APART, memory.parted(merged.segment_of, merged.within)).filter(panel)
    both = np.stack([of_components[..., 0], of_components[..., 1:3].sum(axis=-1), of_components[..., 3]], axis=-1)
    np.testing.assert_allclose(of_segments, both, atol=1e-12)
