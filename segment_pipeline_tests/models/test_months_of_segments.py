"""Identity over many months: nothing happens where nothing happened, and what happened is found in its month.

Simulated customers with known segments; every decision is `champion.decide`'s. A larger version, with more seeds, is
benchmarks/alignment.py.
"""

import numpy as np
import pytest

from segment_pipeline.segments.drift import feature_drift
from segment_pipeline_tests.simulated_customers import (
    Event,
    History,
    drift,
    four_segments,
    id_of,
    merge,
    migration,
    never_for_age,
    segment_of,
    split,
)

CUSTOMERS, SEED = 1500, 3

pytestmark = pytest.mark.months


@pytest.fixture(scope="module")
def past() -> History:
    """A bootstrap and one quiet month, whose champion only the customers can have challenged."""
    history = History.begin(CUSTOMERS, SEED, range(3, 6))
    history.config = never_for_age(history.config)
    history.month()
    assert not history.month().decision.promoted
    return history


def test_three_years_of_stationary_customers_bring_no_refit_and_hardly_an_alert() -> None:
    history = History.begin(900, 11, range(4, 6))
    history.config = never_for_age(history.config)
    months = [history.month() for _ in range(37)]
    assert [month.number for month in months if month.decision.promoted] == [0]
    alerted = [month for month in months if any(trigger.fired for trigger in month.decision.triggers)]
    assert len(alerted) <= 1
    space, first = months[0].decision.champion.space, months[0]
    limits = history.config.drift
    for month in months[1:]:
        drifts = feature_drift(space, first.X, month.X, limits.max_psi, limits.max_wasserstein)
        assert not any(drift.drifted for drift in drifts)


def test_routine_refits_of_stationary_customers_change_no_id() -> None:
    history = History.begin(900, 12, range(4, 6))
    months = [history.month(forced="yearly review" if number == 8 else None) for number in range(9)]
    assert [month.number for month in months if month.decision.promoted] == [0, 4, 8]
    for month in months[1:]:
        assert month.changes == set()
        assert month.decision.champion.segment_ids == months[0].decision.champion.segment_ids


def test_a_champion_that_is_only_old_gives_way_to_none_that_fits_worse() -> None:
    history = History.begin(900, 12, range(4, 6))
    kept = [month.decision for month in (history.month() for _ in range(9)) if not month.decision.promoted]
    old = [decision for decision in kept if "its time has come" in decision.reason]
    assert old
    for decision in old:
        values = {trigger.metric: trigger for trigger in decision.triggers}
        assert values["champion_age_months"].value > values["champion_age_months"].threshold
        assert values["challenger_gain"].value <= 0
        assert not values["champion_age_months"].fired  # nobody is alarmed by what nothing better can replace


@pytest.mark.parametrize(("segment", "feature", "sign"), [(0, 0, -1), (1, 1, -1), (2, 2, 1)])
def test_a_drift_of_one_deviation_is_found_in_its_month_for_its_segment_and_feature(
    past: History, segment: int, feature: int, sign: int
) -> None:
    # away from the neighbours: one that drifts into its neighbour is merged with it, and rightly
    history = past.branch()
    champion = past.months[-1].decision.champion
    drifting = id_of(champion, history.base.centres[segment])
    shift = np.zeros(3)
    shift[feature] = sign * champion.space.scale[feature]
    month = history.month(drift(segment, shift))
    found = {
        (trigger.segment_id, trigger.feature): trigger.value
        for trigger in month.decision.triggers
        if trigger.metric == "component_mean_shift" and trigger.fired
    }
    assert set(found) == {(drifting, champion.space.names[feature])}
    assert found[drifting, champion.space.names[feature]] == pytest.approx(1.0, abs=0.15)
    assert month.decision.promoted
    assert month.changes == set()  # it has moved and is still the same segment


@pytest.mark.parametrize("segment", range(4))
def test_a_drift_of_half_a_deviation_is_measured_as_what_it_is(past: History, segment: int) -> None:
    history = past.branch()
    champion = past.months[-1].decision.champion
    drifting = id_of(champion, history.base.centres[segment])
    month = history.month(drift(segment, np.array([0.0, 0.0, 0.5 * champion.space.scale[2]])))
    values = {
        trigger.segment_id: trigger.value
        for trigger in month.decision.triggers
        if trigger.metric == "component_mean_shift" and trigger.feature == "z"
    }
    assert values[drifting] == pytest.approx(0.5, abs=0.1)
    assert max(value for segment_id, value in values.items() if segment_id != drifting) < 0.25
    assert any(trigger.fired and trigger.segment_id == drifting for trigger in month.decision.triggers)
    if not month.decision.promoted:  # soft: it has to last, and the champion, two months old, to be older
        assert "months in a row" in month.decision.reason
        assert history.month().decision.promoted


@pytest.mark.parametrize(
    ("event", "relation", "gone"),
    [
        (split(0, np.array([0.0, 0.0, 1.8])), "split", 0),
        (merge(0, 2), "merged", 2),
    ],
)
def test_a_split_and_a_merge_are_found_in_their_month_and_touch_no_other_segment(
    past: History, event: Event, relation: str, gone: int
) -> None:
    history = past.branch()
    before = past.months[-1].decision.champion
    centres = history.base.centres
    month = history.month(event)
    assert month.decision.promoted
    assert month.changes == {relation}
    touched = {id_of(before, centres[segment]) for segment in (0, gone)}
    rows = [row for row in month.decision.lineage if row.relation == relation]
    assert {row.previous_segment_id for row in rows} <= touched
    untouched = set(before.segment_ids) - touched
    assert untouched <= set(month.decision.champion.segment_ids)


def test_a_real_migration_is_movement_under_the_frozen_champion_and_never_a_change_of_names(past: History) -> None:
    history = past.branch()
    before, old = past.months[-1], past.months[-1].decision.champion
    source, target = (id_of(old, history.base.centres[segment]) for segment in (0, 1))
    month = history.month(migration(0, 1, 0.6), forced="to see what a refit makes of it")

    left = segment_of(old, before.X) == source
    moved = np.mean(segment_of(old, month.X)[left] == target)
    assert 0.5 < moved < 0.7

    assert month.decision.promoted
    assert month.changes == set()
    assert month.decision.champion.segment_ids == old.segment_ids
    # the new model says of the same customers what the old one says
    assert np.mean(segment_of(month.decision.champion, month.X) == segment_of(old, month.X)) > 0.9
    assert not any(t.fired for t in month.decision.triggers if t.metric == "component_mean_shift")


def test_the_simulated_segments_overlap_as_real_ones_do() -> None:
    base = four_segments(2000, 0)
    nearest = np.argmin(np.sum((base.X[:, None, :] - base.centres) ** 2, axis=2), axis=1)
    assert 0.85 < np.mean(nearest == base.segment) < 0.97
