"""Champions with memory: when one takes over, what it is measured by, and that ids keep their meaning."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from segment_pipeline.mixture.candidates import heldout_rows
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import Decision, decide
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.refit import component_mean_shifts
from segment_pipeline_tests.hidden_states import hidden_states, made_from
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated
from segment_pipeline_tests.remembered_worlds import World, config
from segment_pipeline_tests.simulated_orders import FEATURES, Shoppers

pytestmark = pytest.mark.months  # of simulated customers, one decision after another


NEAR = replace(APART, means=0.6 * APART.means)
"""Segments that overlap: their customers' largest probability is 0.93 on average, from a month alone."""

TWO = """
features: [{name: x}, {name: y}]
model: {n_components: [2, 4]}
"""


def value(decision: Decision, metric: str) -> float | None:
    return next((trigger.value for trigger in decision.triggers if trigger.metric == metric), None)


@pytest.fixture(scope="module")
def quiet() -> World:
    """Five months of customers who hardly move."""
    world = World(simulated(NEAR, QUIET, 700, 5, seed=11, newcomers=0.2)[0], config(TWO))
    for _ in range(5):
        world.month()
    return world


def test_memory_takes_over_with_the_third_month_and_keeps_the_ids(quiet: World) -> None:
    first, second, third, *later = quiet.decisions
    assert (first.promoted, second.promoted, third.promoted) == (True, False, True)
    assert first.champion.memory is None
    assert third.reason.startswith("memory_available ")
    assert third.champion.memory is not None
    assert third.champion.segment_ids == first.champion.segment_ids
    assert {row.relation for row in third.lineage} == {"continued"}
    assert [decision.promoted for decision in later] == [False, False]
    assert {value(decision, "memory_available") for decision in later} == {None}


def test_the_gain_of_memory_is_that_of_customers_whom_it_has_not_seen(quiet: World) -> None:
    inputs, previous = quiet.inputs[2], quiet.decisions[1].champion
    assert inputs.months is not None
    assert inputs.next_log_score is not None
    panel = inputs.months.panel
    unseen = panel.take(heldout_rows(panel.n_customers, quiet.config.model.seed))
    static = previous.log_likelihood(unseen.rows[unseen.known_before]).mean()
    assert value(quiet.decisions[2], "memory_available") == pytest.approx(
        inputs.next_log_score + inputs.space.log_jacobian - static
    )


def test_where_memory_says_nothing_its_candidates_flicker_and_the_champion_without_stays() -> None:
    """Customers who are in any segment next month, wherever they are now."""
    shares = np.append(0.95 * NEAR.weights, 0.05)
    restless = replace(QUIET, new=NEAR.weights, before=shares, transitions=np.tile(shares, (4, 1)))
    lenient = config(TWO, "memory: {min_kept: 0, min_stay: 0}\n")
    world = World(simulated(NEAR, restless, 700, 3, seed=3, newcomers=0.0)[0], lenient)
    decisions = [world.month() for _ in range(3)]
    gain = value(decisions[2], "memory_available")
    assert gain is not None
    assert abs(gain) < 0.05  # three months are fitted better than one, and that is all
    world = World(world.panel, config(TWO))  # with the limit as it is, no candidate with memory is admissible
    decisions = [world.month() for _ in range(3)]
    assert [decision.promoted for decision in decisions] == [True, False, False]
    assert world.inputs[2].challenger_memory is None  # of the month alone there may be one
    assert "None with memory may serve" in world.inputs[2].rationale
    assert "flicker" in world.inputs[2].rationale
    # nor does a first month stop, whose past is long enough for a memory
    third, settings = world.inputs[2], config(TWO)
    assert third.months is not None
    first = fit_challengers(third.space, third.X, map(str, range(len(third.X))), settings, None, third.months)
    assert first.choice.candidate is not None
    assert first.choice.candidate.memory is None


def test_memory_is_no_reason_where_it_predicts_worse(quiet: World) -> None:
    inputs = quiet.inputs[2]
    assert inputs.next_log_score is not None
    worse = decide(replace(inputs, next_log_score=inputs.next_log_score - 5.0), quiet.config)
    (trigger,) = (trigger for trigger in worse.triggers if trigger.metric == "memory_available")
    assert trigger.value < 0
    assert not trigger.fired


def test_the_gain_of_a_challenger_is_the_smaller_of_that_given_the_months_before_and_that_of_the_month_alone(
    quiet: World,
) -> None:
    inputs, previous = quiet.inputs[4], quiet.decisions[3].champion
    assert inputs.months is not None
    assert inputs.challenger is not None
    assert inputs.challenger_memory is not None
    assert previous.memory is not None
    scores, alone = [], []
    for mixture, memory, space in (
        (inputs.challenger, inputs.challenger_memory, inputs.space),
        (previous.mixture, previous.memory, previous.space),
    ):
        panel = inputs.months.seen_in(space)
        model = MarkovMixture.of(mixture, memory)
        lapse = np.full(panel.states.shape, np.nan)
        lapse[:, 1:] = model.predict(panel)[:, :-1, -1]
        last = inputs.months.last
        new = np.isnan(lapse[last, -1])  # a new customer cannot lapse in the month of its first order
        scores.append(
            model.score_months(panel)[last, -1] - np.where(new, 0.0, np.log1p(-lapse[last, -1])) + space.log_jacobian
        )
        shares = model.filter(panel)[last, -1, :-1].mean(axis=0)
        alone.append(replace(mixture, weights=shares).log_likelihood(space.transform(inputs.X)) + space.log_jacobian)
    flattered = inputs.challenger.n_parameters / len(inputs.X)
    given, of_the_month = (float((new - old).mean()) - flattered for new, old in (scores, alone))
    assert given != pytest.approx(of_the_month)
    assert value(quiet.decisions[4], "challenger_gain") == pytest.approx(min(given, of_the_month))
    assert given < 0


def test_certainty_and_shifts_are_of_memberships_with_memory(quiet: World) -> None:
    inputs, previous = quiet.inputs[4], quiet.decisions[3].champion
    assert inputs.months is not None
    assert previous.memory is not None
    R = MarkovMixture.of(previous.mixture, previous.memory).filter(inputs.months.seen_in(previous.space))
    members = R[inputs.months.last, -1, :-1]
    assert value(quiet.decisions[4], "mean_max_probability_low") == pytest.approx(members.max(axis=1).mean())
    np.testing.assert_allclose(previous.responsibilities(inputs.X, prior=inputs.previous_prior), members, atol=1e-9)
    shifts = component_mean_shifts(previous, previous.space.transform(inputs.X), inputs.previous_prior)
    assert shifts.max() < 0.15


def test_a_segment_that_moves_is_measured_as_what_it_is_with_memory(quiet: World) -> None:
    inputs, previous = quiet.inputs[4], quiet.decisions[3].champion
    members = previous.responsibilities(inputs.X, prior=inputs.previous_prior)
    Z = previous.space.transform(inputs.X)
    Z[members.argmax(axis=1) == 0, 0] += 0.6
    shifts = component_mean_shifts(previous, Z, inputs.previous_prior)
    assert shifts[0, 0] == pytest.approx(0.6, abs=0.1)
    assert np.delete(shifts.ravel(), 0).max() < 0.15


def test_the_champion_carries_its_memory_in_the_order_of_its_segments(quiet: World) -> None:
    champion, inputs = quiet.decisions[2].champion, quiet.inputs[2]
    assert champion.memory is not None
    assert inputs.challenger is not None
    assert inputs.challenger_memory is not None
    order = [int(np.abs(inputs.challenger.means - mean).sum(axis=1).argmin()) for mean in champion.mixture.means]
    np.testing.assert_array_equal(champion.memory.transitions, inputs.challenger_memory.ordered(order).transitions)
    likely = champion.log_likelihood(
        inputs.X,
        prior=inputs.months.prior(champion.mixture, champion.memory, champion.space),  # type: ignore[union-attr]
    )
    assert champion.atypical_below == pytest.approx(np.quantile(likely, 0.01))
    again = SegmentModel.from_json(champion.to_json())
    np.testing.assert_array_equal(again.memory.transitions, champion.memory.transitions)  # type: ignore[union-attr]


def test_a_decision_depends_on_its_inputs_alone(quiet: World) -> None:
    for inputs, decision in zip(quiet.inputs, quiet.decisions, strict=True):
        again = decide(replace(inputs), quiet.config)
        assert (again.reason, again.promoted) == (decision.reason, decision.promoted)
        assert again.champion.to_json() == decision.champion.to_json()


def test_a_forced_refit_of_a_quiet_world_keeps_the_ids(quiet: World) -> None:
    again = decide(quiet.inputs[4], quiet.config, forced="yearly review")
    assert again.promoted
    assert again.champion.segment_ids == quiet.decisions[3].champion.segment_ids
    assert {row.relation for row in again.lineage} == {"continued"}


def test_the_champion_stays_in_a_quiet_world_although_it_grows_old() -> None:
    world = World(simulated(NEAR, QUIET, 600, 12, seed=21, newcomers=0.2)[0], config(TWO))
    decisions = [world.month() for _ in range(12)]
    assert decisions[2].champion.memory is not None
    ids = [decision.champion.segment_ids for decision in decisions[2:]]
    assert all(set(before) <= set(now) for before, now in pairwise(ids))
    assert sum(decision.promoted for decision in decisions[3:]) <= 1


def test_memory_that_was_switched_off_leaves_the_champion_that_has_it_usable(quiet: World) -> None:
    inputs = quiet.inputs[4]
    plain = fit_challengers(
        inputs.space, inputs.X, [str(i) for i in range(len(inputs.X))], quiet.config, inputs.previous
    )
    assert plain.choice.candidate is not None
    assert plain.choice.candidate.memory is None
    decision = decide(
        replace(inputs, challenger=plain.choice.candidate.mixture, challenger_memory=None, next_log_score=None),
        quiet.config,
    )
    assert not decision.promoted
    gain = value(decision, "challenger_gain")
    assert gain is not None
    assert gain < -0.3  # it would forget


def shopping(world: World | None, shoppers: Shoppers) -> World:
    """One month more of orders is made and decided."""
    shoppers.month()
    world = world or World(shoppers.panel, config(FEATURES, "model: {n_components: [3, 5]}\n"))
    world.panel = shoppers.panel
    world.month()
    return world


@pytest.fixture(scope="module")
def half_as_often() -> World:
    """Eleven months of 500 customers who keep to their habits, but that in the sixth all begin to order half as often.
    Their features come from orders, not from a mixture, and look back three months."""
    shoppers, world = Shoppers.begin(500, seed=1), None
    for month in range(11):
        if month == 5:
            shoppers.habits[:, 0] -= np.log(2.0)
        world = shopping(world, shoppers)
    assert world is not None
    return world


def test_customers_who_keep_to_their_habits_hardly_move(half_as_often: World) -> None:
    quiet = World(half_as_often.panel.until(5), half_as_often.config)
    moved = []
    for _ in range(5):
        quiet.month()
        if len(quiet.decisions) > 3:  # from the fourth month on a champion with memory measures
            both, whose = quiet.moved()
            moved.append(whose.sum() / both.sum())
    assert max(moved) <= 0.03


def test_where_a_month_shows_mostly_chance_memory_is_not_moved_by_it() -> None:
    """Nobody changes; they only order so seldom that a month says little of them."""
    shoppers = Shoppers.begin(900, seed=5, busy=0.4)
    for _ in range(6):
        shoppers.month()
    mean_moved = {}
    for memory in ("true", "false"):
        world = World(shoppers.panel, config(FEATURES, f"model: {{n_components: [3, 5], memory: {memory}}}\n"))
        moved = []
        for _ in range(6):
            decision = world.month()
            if len(world.decisions) > 3:
                both, whose = world.moved()
                moved.append(whose.sum() / both.sum())
                assert memory == "false" or not any(trigger.fired for trigger in decision.triggers)
        mean_moved[memory] = float(np.mean(moved))
    assert mean_moved["false"] > 0.1
    assert mean_moved["true"] < 0.035


def test_what_was_answered_raises_no_second_alarm_and_costs_no_id(half_as_often: World) -> None:
    decisions = half_as_often.decisions
    event = decisions[5]
    assert event.promoted
    assert "component_mean_shift" in event.reason
    after = [trigger for decision in decisions[6:] for trigger in decision.triggers if trigger.severity is not None]
    assert {trigger.severity for trigger in after} == {"echo"}
    assert len({decision.champion.segment_ids for decision in decisions[2:]}) == 1
    # while the window straddles the event the champion stays, and once it does not, follows once more
    assert [decision.promoted for decision in decisions[6:10]] == [False, False, True, False]
    # a promotion without an alarm says so, beside figures beyond their limit that have not fired
    assert decisions[8].reason.startswith("no alarm, the champion follows what it was promoted for")
    assert decisions[8].reason.count(", an echo") == decisions[8].reason.count("(limit ")
    assert "no alarm" not in event.reason


def test_a_champion_that_follows_its_customers_is_their_old_one_at_a_new_place(half_as_often: World) -> None:
    before, event = half_as_often.decisions[4].champion, half_as_often.decisions[5]
    assert "where this month's customers have taken them" in event.rationale
    np.testing.assert_array_equal(event.champion.memory.transitions, before.memory.transitions)  # type: ignore[union-attr]
    orders = event.champion.space.names.index("orders")
    was, now = (
        model.mixture.means[:, orders] * model.space.scale[orders] + model.space.center[orders]
        for model in (before, event.champion)
    )
    assert (now < was).all()


def test_of_known_hidden_states_few_false_moves_are_left_and_hardly_a_true_one_is_missed() -> None:
    """Four groups that overlap, of whom 3.5 % really move a month; at the true number of segments."""
    shown = hidden_states(1200, 12, 4, 0.035, apart=1.5, seed=4)
    memory = MarkovMixture(4, mixture_init=made_from(4, 1.5)).fit(shown.panel)
    alone = memory.mixture_.responsibilities(shown.panel.rows).reshape(*shown.truth.shape, 4).argmax(axis=2)
    remembered = memory.filter(shown.panel)[:, :, :4].argmax(axis=2)
    assert shown.false_moves(remembered) < shown.false_moves(alone) / 3
    seen = shown.moves_seen(alone)
    assert shown.moves_seen(remembered)[seen].mean() >= 0.97
