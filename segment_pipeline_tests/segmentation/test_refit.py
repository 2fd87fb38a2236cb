"""When a champion is challenged, and that nothing but the customers can move its means."""

from datetime import date

import numpy as np
import pytest

from segment_pipeline.config import Feature, RefitSettings
from segment_pipeline.segmentation.features import FeatureSpace
from segment_pipeline.segmentation.mixture import Mixture
from segment_pipeline.segmentation.model import Segment, SegmentModel
from segment_pipeline.segmentation.refit import Trigger, evaluate_triggers

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
