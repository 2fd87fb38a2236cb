"""A refit after a feature has gone: who continues keeps id and role, and no name speaks of the feature any more."""

import numpy as np
import pytest

from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import Decision, DecisionInputs, decide
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.naming import speaks_of
from segment_pipeline.months import add_months
from segment_pipeline_tests.remembered_worlds import FIRST, config
from segment_pipeline_tests.simulated_customers import History


@pytest.fixture(scope="module")
def before() -> tuple[SegmentModel, np.ndarray]:
    """A champion of x, y and z, and the customers of its month."""
    history = History.begin(1500, 3, range(4, 5))
    return history.month().decision.champion, history.base.X


def refit(before: tuple[SegmentModel, np.ndarray], features: str, *, comparable: bool = True) -> Decision:
    """A month later, with other features of the same customers; `comparable` where it still has the old ones."""
    previous, X = before
    settings = config(features, "model: {n_components: [4, 4], memory: false}\n")
    own = X[:, [previous.space.names.index(name) for name in settings.model_feature_names]]
    space = FeatureSpace.fit(settings.model_features, own)
    choice = fit_challengers(space, own, [str(i) for i in range(len(X))], settings, previous).choice
    assert choice.candidate is not None, choice.rationale
    inputs = DecisionInputs(
        month=add_months(FIRST, 1),
        space=space,
        X=own,
        X_previous=X if comparable else None,
        recency=None,
        frequency=None,
        challenger=choice.candidate.mixture,
        rationale=choice.rationale,
        previous=previous,
        next_version=2,
        next_segment_id=1 + max(previous.segment_ids),
    )
    return decide(inputs, settings)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ("features: [{name: x}, {name: y}]\n", "without z"),
        ("features: [{name: x}, {name: y}, {name: z, use: portrait}]\n", "z only as a portrait"),
    ],
)
def test_who_continues_keeps_its_id_and_a_name_that_speaks_of_what_is_gone_is_given_anew(before, features, told):
    decision = refit(before, features)
    assert decision.promoted
    assert decision.reason.endswith(f"feature_schema_changed 1 (limit 0): {told}")
    old = {segment.segment_id: segment for segment in before[0].segments}
    continued = [segment for segment in decision.champion.segments if segment.segment_id in old]
    assert len(continued) >= 3
    assert any(speaks_of(old[segment.segment_id].name, "z") for segment in continued)
    for segment in decision.champion.segments:
        assert not speaks_of(segment.name, "z")
    for segment in continued:
        was = old[segment.segment_id]
        assert segment.role == was.role
        assert (segment.name == was.name) == (not speaks_of(was.name, "z"))
    assert len({segment.name for segment in decision.champion.segments}) == len(decision.champion.segments)


def test_a_month_that_lacks_a_feature_compares_nothing_and_gives_new_ids(before):
    old = set(before[0].segment_ids)
    decision = refit(before, "features: [{name: x}, {name: y}]\n", comparable=False)
    assert not old & set(decision.champion.segment_ids)
    assert {row.relation for row in decision.lineage} == {"born", "retired"}
    assert {row.previous_segment_id for row in decision.lineage} - {None} == old
    assert {row.overlap for row in decision.lineage} == {None}  # 0 would say that they have been compared


def test_a_feature_more_changes_no_name(before):
    previous, X = before
    fewer = refit(before, "features: [{name: x}, {name: y}]\n").champion
    settings = config("features: [{name: x}, {name: y}, {name: z}]\n", "model: {n_components: [4, 4], memory: false}\n")
    choice = fit_challengers(previous.space, X, [str(i) for i in range(len(X))], settings, fewer).choice
    inputs = DecisionInputs(
        month=add_months(FIRST, 2),
        space=previous.space,
        X=X,
        X_previous=X[:, :2],
        recency=None,
        frequency=None,
        challenger=choice.candidate.mixture,
        rationale=choice.rationale,
        previous=fewer,
        next_version=3,
        next_segment_id=1 + max(fewer.segment_ids),
    )
    decision = decide(inputs, settings)
    assert decision.reason.endswith("with z")
    old = {segment.segment_id: segment for segment in fewer.segments}
    kept = [segment for segment in decision.champion.segments if segment.segment_id in old]
    assert kept
    assert all(segment == old[segment.segment_id] for segment in kept)
