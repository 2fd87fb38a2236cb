"""Champions with memory: when one takes over, what it is measured by, and that ids keep their meaning."""

from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.mixture.candidates import heldout_rows
from segment_pipeline.mixture.chain.customer_months import CustomerMonths
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.panel import SEEN, Panel
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import Decision, DecisionInputs, decide
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.refit import component_mean_shifts
from segment_pipeline.months import add_months
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated

pytestmark = pytest.mark.months  # of simulated customers, one decision after another


FIRST = date(2020, 1, 1)
NEAR = replace(APART, means=0.6 * APART.means)
"""Segments that overlap: their customers' largest probability is 0.93 on average, from a month alone."""

CONFIG = """
name: simulated
first_month: 2020-01
source: {snapshots: {path: "{month}.csv", customer_id: id}}
features: [{name: x}, {name: y}]
model: {n_components: [2, 4], memory: true}
"""


def config(more: str = "") -> Config:
    return parse_config(CONFIG + more, Path("simulated.yaml"))


class World:
    """A panel of known segments, decided month by month as the assets do."""

    def __init__(self, panel: Panel, settings: Config | None = None) -> None:
        self.panel, self.config = panel, settings or config()
        self.decisions: list[Decision] = []
        self.inputs: list[DecisionInputs] = []

    def months(self, count: int) -> CustomerMonths:
        first = max(0, count - self.config.memory.months)
        part = self.panel.until(count)
        part = part.take((part.states == SEEN).any(axis=1))
        if first:
            keep = part.months_of_rows >= first
            part = Panel(part.states[:, first:], part.rows[keep], part.is_new & (part.states[:, first - 1] == 0))
            part = part.take((part.states == SEEN).any(axis=1))
        ids = np.array([f"c{i:05d}" for i in range(part.n_customers)])
        return CustomerMonths(ids, part, part.n_months)

    def month(self, *, remember: bool = True, forced: str | None = None) -> Decision:
        number = len(self.decisions) + 1
        months = self.months(number)
        X = months.last_features
        space = FeatureSpace.fit(self.config.features, X)
        previous = self.decisions[-1].champion if self.decisions else None
        given = months if remember else None
        choice = fit_challengers(space, X, months.ids[months.last], self.config, previous, given).choice
        chosen = choice.candidate
        self.inputs.append(
            DecisionInputs(
                month=add_months(FIRST, number - 1),
                space=space,
                X=X,
                X_previous=X if previous is not None else None,
                recency=None,
                frequency=None,
                challenger=None if chosen is None else chosen.mixture,
                rationale=choice.rationale,
                previous=previous,
                next_version=number,
                next_segment_id=1
                + max((i for decided in self.decisions for i in decided.champion.segment_ids), default=0),
                challenger_memory=None if chosen is None else chosen.memory,
                next_log_score=None if chosen is None else chosen.next_log_score,
                months=given,
                months_previous=given if previous is not None else None,
            )
        )
        self.decisions.append(decide(self.inputs[-1], self.config, forced))
        return self.decisions[-1]


def value(decision: Decision, metric: str) -> float | None:
    return next((trigger.value for trigger in decision.triggers if trigger.metric == metric), None)


@pytest.fixture(scope="module")
def quiet() -> World:
    """Five months of customers who hardly move."""
    world = World(simulated(NEAR, QUIET, 700, 5, seed=11, newcomers=0.2)[0])
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
    lenient = config("memory: {min_kept: 0}\n")
    world = World(simulated(NEAR, restless, 700, 3, seed=3, newcomers=0.0)[0], lenient)
    decisions = [world.month() for _ in range(3)]
    gain = value(decisions[2], "memory_available")
    assert gain is not None
    assert abs(gain) < 0.05  # three months are fitted better than one, and that is all
    world = World(world.panel)  # with the limit as it is, no candidate with memory is admissible
    decisions = [world.month() for _ in range(3)]
    assert [decision.promoted for decision in decisions] == [True, False, False]
    assert world.inputs[2].challenger is None
    assert "flicker" in world.inputs[2].rationale


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
    world = World(simulated(NEAR, QUIET, 600, 12, seed=21, newcomers=0.2)[0])
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
