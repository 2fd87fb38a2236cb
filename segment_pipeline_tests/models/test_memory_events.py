"""What a champion with memory makes of something that really happens: in its month, and with the right ids.

Months before an event describe customers who are no more; a champion that only followed its panel would go on
describing them.
"""

import numpy as np
import pytest

from segment_pipeline_tests.simulated_customers import (
    History,
    id_of,
    merge,
    migration,
    never_for_age,
    new_behaviour,
    split,
)

pytestmark = pytest.mark.months  # of simulated customers, one decision after another


@pytest.fixture(scope="module")
def past() -> History:
    """Four quiet months, of which the last is under a champion with memory."""
    history = History.begin(1500, 0, range(3, 7), memory=True)
    history.config = never_for_age(history.config)
    for _ in range(4):
        history.month()
    assert history.months[-1].decision.champion.memory is not None
    assert len(history.months[-1].decision.champion.segments) == 4
    return history


def test_the_first_champion_with_memory_keeps_the_ids_of_the_one_without(past: History) -> None:
    assert {month.decision.champion.segment_ids for month in past.months} == {(1, 2, 3, 4)}


def test_a_segment_that_falls_apart_is_two_in_its_month(past: History) -> None:
    history = past.branch()
    source = id_of(past.months[-1].decision.champion, past.base.centres[0])
    month = history.month(split(0, np.array([0.0, 0.0, 1.8])))
    assert month.decision.promoted
    assert "segments that this month has by itself" in month.decision.rationale
    halves = {row.segment_id for row in month.decision.lineage if row.relation == "split"}
    assert {row.previous_segment_id for row in month.decision.lineage if row.relation == "split"} == {source}
    assert halves == {id_of(month.decision.champion, history.base.centres[i]) for i in (0, 4)}
    assert set(month.decision.champion.segment_ids) == {1, 2, 3, 4} - {source} | halves


def test_two_segments_that_become_one_habit_are_one_in_their_month(past: History) -> None:
    history = past.branch()
    month = history.month(merge(0, 2))
    assert month.decision.promoted
    assert len(month.decision.champion.segments) == 3
    assert "merged" in month.changes


def test_a_fifth_who_go_over_to_another_segment_are_seen_by_the_next_month(past: History) -> None:
    history = past.branch()
    champion = past.months[-1].decision.champion
    source, target = (id_of(champion, past.base.centres[i]) for i in (0, 1))
    before = history.labels(champion)[:, 1]
    history.month(migration(0, 1, 0.2))
    history.month()
    assert not any(month.decision.promoted for month in history.months[4:])
    now = history.labels(champion)[:, 1]
    gone = float(np.mean(now[before == source] == target))
    quiet = float(np.mean(np.diff(past.labels(champion), axis=1) != 0))
    assert quiet < 0.03
    assert 0.12 < gone < 0.23


def test_most_who_go_over_to_another_segment_cost_neither_of_the_two_its_id(past: History) -> None:
    month = past.branch().month(migration(0, 1, 0.6))
    assert month.decision.champion.segment_ids == (1, 2, 3, 4)
    assert month.changes == set()


def test_what_an_eighth_of_all_begin_to_do_is_a_segment_within_three_months(past: History) -> None:
    history = past.branch()
    centre = np.array([-2.8, 3.0, -2.0])
    history.month(new_behaviour(0.12, centre))
    while id_of(history.months[-1].decision.champion, centre) in (1, 2, 3, 4):
        assert len(history.months) < 7
        history.month()
    champion = history.months[-1].decision.champion
    there = history.labels(champion)[:, 1] == id_of(champion, centre)
    theirs = history.months[-1].truth == 4
    assert there[theirs].mean() > 0.9
    assert theirs[there].mean() > 0.9
    assert {1, 2, 3, 4} <= set(champion.segment_ids)
