"""When a champion is challenged, and that nothing but the customers can move its means."""

from datetime import date

import numpy as np
import pytest

from segment_pipeline.config.model import RefitSettings
from segment_pipeline.config.source import Feature
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.models.refit import CERTAIN_GAIN, Trigger, calls_for_refit, evaluate_triggers

SETTINGS = RefitSettings()
MARCH = date(2017, 3, 1)


def customers(n: int = 2000, seed: int = 0, drift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    far = random.random(n) < 0.4
    x = np.where(far, 4.0 + drift, 0.0) + random.normal(size=n)
    return np.column_stack([x, random.normal(size=n)])


def champion(separation: float = 4.0) -> SegmentModel:
    X = customers()
    space = FeatureSpace.fit([Feature(name="orders"), Feature(name="value")], X)
    means = (np.array([[0.0, 0.0], [separation, 0.0]]) - space.center) / space.scale
    covariances = np.array([np.diag(1 / space.scale**2)] * 2)
    mixture = Mixture(np.array([0.6, 0.4]), means, covariances)
    return SegmentModel(1, MARCH, space, mixture, (Segment(1, "a", None), Segment(5, "b", None)), -20.0)


def triggers(
    model: SegmentModel, X: np.ndarray | None, month: date = date(2017, 4, 1), **kwargs: object
) -> list[Trigger]:
    arguments = {"schema": model.space.schema, "refit": SETTINGS, "challenger_gain": None, **kwargs}
    return evaluate_triggers(model, X, month, **arguments)  # type: ignore[arg-type]


def fired(rows: list[Trigger]) -> set[tuple[str, int | None, str | None]]:
    return {(row.metric, row.segment_id, row.feature) for row in rows if row.fired}


def test_a_quiet_month_fires_nothing_and_reports_every_measurement() -> None:
    rows = triggers(champion(), customers(seed=1), challenger_gain=0.01)
    assert fired(rows) == set()
    assert {row.metric for row in rows} == {
        "champion_age_months",
        "feature_schema_changed",
        "mean_max_probability_low",
        "mean_max_probability_high",
        "component_mean_shift",
        "challenger_gain",
    }
    assert sum(row.metric == "component_mean_shift" for row in rows) == 4


@pytest.mark.parametrize("seed", range(5))
def test_sampling_noise_alone_never_fires_the_mean_shift(seed: int) -> None:
    rows = triggers(champion(), customers(500, seed=seed + 10))
    assert max(row.value for row in rows if row.metric == "component_mean_shift") < 0.15


def test_a_segment_that_moves_fires_for_that_segment_and_feature() -> None:
    never_too_sure = RefitSettings(max_mean_max_probability=1.0)
    rows = triggers(champion(), customers(seed=1, drift=2.0), refit=never_too_sure)
    assert fired(rows) == {("component_mean_shift", 5, "orders")}


def test_a_champion_is_challenged_only_when_older_than_the_limit() -> None:
    X = customers(seed=1)
    assert fired(triggers(champion(), X, date(2017, 6, 1))) == set()
    assert fired(triggers(champion(), X, date(2017, 7, 1))) == {("champion_age_months", None, None)}


def test_an_old_champion_than_which_nothing_is_better_raises_no_alarm() -> None:
    X = customers(seed=1)
    old = date(2017, 7, 1)
    assert fired(triggers(champion(), X, old, challenger_gain=-0.01)) == set()
    assert fired(triggers(champion(), X, old, challenger_gain=0.01)) == {("champion_age_months", None, None)}


def test_vague_and_overconfident_champions_are_challenged() -> None:
    X = customers(seed=1)
    vague = champion(separation=0.3)
    assert ("mean_max_probability_low", None, None) in fired(
        triggers(vague, X, refit=RefitSettings(min_mean_max_probability=0.7))
    )
    assert ("mean_max_probability_high", None, None) in fired(
        triggers(champion(), X, refit=RefitSettings(max_mean_max_probability=0.9))
    )


def test_a_changed_schema_needs_no_customers_and_gives_only_what_can_still_be_said() -> None:
    rows = triggers(champion(), None, schema="something else")
    assert [(row.metric, row.fired) for row in rows] == [
        ("champion_age_months", False),
        ("feature_schema_changed", True),
    ]


def test_an_unchanged_schema_without_customers_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="customers are needed"):
        triggers(champion(), None)


def test_a_challenger_must_gain_more_than_the_margin() -> None:
    X = customers(seed=1)
    assert fired(triggers(champion(), X, challenger_gain=0.05)) == set()
    assert fired(triggers(champion(), X, challenger_gain=0.06)) == {("challenger_gain", None, None)}


def test_a_segment_without_members_has_not_moved() -> None:
    X = customers(seed=1)
    X = X[X[:, 0] < -0.5]
    rows = triggers(champion(separation=40.0), X)
    assert all(row.value == 0.0 for row in rows if row.metric == "component_mean_shift" and row.segment_id == 5)


SHIFT = ("component_mean_shift", 5, "orders")


def drifted(shift: float, fired_before: dict | None = None, month: date = date(2017, 6, 1)) -> list[Trigger]:
    """The signal of segment 5 in orders, whose centre is `shift` SD away; the champion is three months old."""
    model = champion()
    X = customers(20_000, seed=1, drift=shift * model.space.scale[0])
    rows = triggers(model, X, month, refit=RefitSettings(max_mean_max_probability=1.0), fired_before=fired_before)
    return [row for row in rows if row.subject == SHIFT or row.metric == "champion_age_months"]


def test_a_large_shift_calls_for_a_refit_at_once() -> None:
    rows = drifted(0.6)
    assert [(row.severity, row.months_fired) for row in rows if row.fired] == [("hard", 1)]
    assert [row.subject for row in calls_for_refit(rows, SETTINGS)] == [SHIFT]


def test_a_smaller_shift_has_to_last() -> None:
    first = drifted(0.42)
    assert [(row.severity, row.months_fired) for row in first if row.fired] == [("soft", 1)]
    assert calls_for_refit(first, SETTINGS) == []
    second = drifted(0.42, {SHIFT: 1})
    assert [(row.severity, row.months_fired) for row in second if row.fired] == [("soft", 2)]
    assert [row.subject for row in calls_for_refit(second, SETTINGS)] == [SHIFT]


def test_a_signal_that_pauses_starts_over() -> None:
    quiet = drifted(0.1, {SHIFT: 1})
    assert [row.months_fired for row in quiet if row.subject == SHIFT] == [0]


def test_another_segments_or_features_signal_does_not_count_as_lasting() -> None:
    rows = drifted(0.42, {("component_mean_shift", 1, "orders"): 1, ("component_mean_shift", 5, "value"): 4})
    assert [row.months_fired for row in rows if row.subject == SHIFT] == [1]


def test_a_young_champion_is_replaced_for_hard_signals_only() -> None:
    young = date(2017, 5, 1)  # trained in March: two months old
    assert calls_for_refit(drifted(0.42, {SHIFT: 1}, young), SETTINGS) == []
    assert calls_for_refit(drifted(0.6, month=young), SETTINGS)
    assert calls_for_refit(drifted(0.42, {SHIFT: 1}, young), RefitSettings(cooldown_months=0))


def test_a_gain_has_to_last_unless_it_is_twice_the_margin() -> None:
    X = customers(seed=1)
    assert [r.severity for r in triggers(champion(), X, challenger_gain=0.06) if r.fired] == ["soft"]
    assert [r.severity for r in triggers(champion(), X, challenger_gain=0.11) if r.fired] == ["hard"]


def test_a_gain_within_its_own_error_is_none() -> None:
    X = customers(seed=1)
    assert fired(triggers(champion(), X, challenger_gain=0.06, gain_error=0.025)) == set()
    (row,) = (
        r for r in triggers(champion(), X, challenger_gain=0.06, gain_error=0.025) if r.metric == "challenger_gain"
    )
    assert row.threshold == pytest.approx(CERTAIN_GAIN * 0.025)  # what is published is the limit that was applied


def test_the_second_limit_follows_the_first_when_left_out() -> None:
    assert RefitSettings(max_mean_shift=1.0).mean_shift_limits == (0.7, 1.0)
    assert RefitSettings(min_gain=0.2).gain_limits == (0.2, 0.4)
    assert RefitSettings(lasting_mean_shift=0.2, max_gain=0.3).mean_shift_limits == (0.2, 0.5)
