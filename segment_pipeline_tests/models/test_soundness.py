"""A candidate is judged as the champion that it would become: on the same customers, every value as it is."""

import numpy as np
import pytest

from segment_pipeline.mixture.chain.panel import Panel
from segment_pipeline.mixture.degeneracy import degeneracy_on
from segment_pipeline.mixture.em import Rows
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.resolution import what_the_fit_sees
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import decide, degeneracy_this_month
from segment_pipeline_tests.remembered_worlds import World, config

CUSTOMERS = 800

SHOP = """
features:
  - {name: products_per_order, transform: log1p, resolution: 0.05, valid: {min: 0}}
  - {name: value, transform: log1p, resolution: 0.01, valid: {min: 0}}
model: {n_components: [%s], max_segments: 8, min_stability: 0}
"""


def orders(months: int, *, one_product_in: int, apart: float = 0.8) -> Panel:
    """A third buys about one product at a time, in one of the months exactly one; the others buy more."""
    random = np.random.default_rng(0)
    few = np.arange(CUSTOMERS) % 3 == 0
    rows = np.empty((CUSTOMERS, months, 2))
    for month in range(months):
        products = np.exp(np.where(few, 0.2, 0.2 + apart) + 0.35 * random.normal(size=CUSTOMERS)).round(2)
        rows[:, month, 0] = np.where(few & (month == one_product_in), 1.0, products)
        rows[:, month, 1] = np.exp(np.where(few, 3.0, 4.0) + 0.4 * random.normal(size=CUSTOMERS)).round(2)
    customers, when = np.divmod(np.arange(CUSTOMERS * months), months)
    nobody_is_new = np.full(CUSTOMERS, -1)
    return Panel.of(customers, when, rows.reshape(-1, 2), first_months=nobody_is_new, n_months=months)


def test_who_would_fail_as_champion_is_refused_as_candidate_and_the_next_one_serves() -> None:
    """The fit is told of rounding, which doubles the scatter of members who all have one value: it had passed."""
    X, settings = orders(1, one_product_in=0).rows, config(SHOP % "2, 3")
    space = FeatureSpace.fit(settings.features, X)
    found = fit_challengers(space, X, map(str, range(CUSTOMERS)), settings)
    two, three = found.candidates
    Z, rounding_variance = what_the_fit_sees("spread", space, X, [])
    as_the_fit_sees_it = Rows(Z, rounding_variance=rounding_variance)
    assert degeneracy_on(as_the_fit_sees_it, two.mixture, space.variance_floor, space.names) is None
    assert "next to no spread along products_per_order" in found.refusals[0][0]
    assert found.refusals[1] == ()
    assert found.choice.candidate is three


@pytest.mark.parametrize("remember", [True, False])
def test_where_no_candidate_would_pass_the_old_champion_serves_and_the_month_goes_on(remember: bool) -> None:
    world = World(orders(4, one_product_in=3, apart=2.5), config(SHOP % "2, 2"))
    *_, before = (world.month(remember=remember) for _ in range(3))
    decision = world.month(remember=remember, forced="a new assortment")
    assert not decision.promoted
    assert decision.champion is before.champion
    assert decision.reason == "kept although a trigger fired (forced: a new assortment): no candidate is admissible"
    assert "next to no spread along products_per_order" in world.inputs[-1].rationale


@pytest.mark.parametrize("remember", [True, False])
def test_a_champion_that_is_promoted_is_sound(remember: bool) -> None:
    world = World(orders(4, one_product_in=3), config(SHOP % "2, 4"))
    for _ in range(4):
        decision = world.month(remember=remember, forced="every month")
        if decision.promoted:
            assert degeneracy_this_month(world.inputs[-1], decision) is None
        assert (
            decide(world.inputs[-1], world.config, "every month").champion.segment_ids == decision.champion.segment_ids
        )


PLANS = """
features:
  - {name: days, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: visits, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: price, transform: log1p, resolution: 0.01, valid: {min: 0}}
model: {n_components: [2, 4], memory: false}
"""


def test_where_every_candidate_is_a_spike_the_rationale_names_the_feature_the_value_and_the_share() -> None:
    """And what it advises is sound: without the feature candidates may serve, or at least are no spikes."""
    random, settings = np.random.default_rng(2), config(PLANS)
    X = np.column_stack(
        [
            np.ceil(np.exp(3 + 0.8 * random.normal(size=CUSTOMERS))),
            np.round(np.exp(2.5 + 0.5 * random.normal(size=CUSTOMERS))),
            random.permutation(np.repeat([9.99, 19.99, 49.99], [200, 360, 240])),
        ]
    )
    found = fit_challengers(FeatureSpace.fit(settings.features, X), X, map(str, range(CUSTOMERS)), settings)
    assert found.choice.candidate is None
    assert "45.0 % of the customers have price = 19.99" in found.choice.rationale
    assert "Take such a feature out" in found.choice.rationale
    without = FeatureSpace.fit(settings.features[:2], X[:, :2])
    found = fit_challengers(without, X[:, :2], map(str, range(CUSTOMERS)), settings)
    assert not any(candidate.degenerate for candidate in found.candidates)
