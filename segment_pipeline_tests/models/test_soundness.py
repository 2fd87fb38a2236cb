"""A candidate is judged as the champion that it would become: on the same customers, every value as it is."""

from collections.abc import Callable

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


def billed_on_the_first(months: int = 4, window: int = 6) -> tuple[Panel, str]:
    """900 subscribers of a year, each at one of three prices, all billed on the 1st: next to everybody's last order is
    as long ago, and orders count the months since the first. Month-ends of June to September."""
    random = np.random.default_rng(0)
    begun = np.where(random.random(900) < 0.44, 0, random.integers(1, 12, 900))
    ended = begun + random.geometric(0.04, 900) - 1
    price = random.choice([9.99, 19.99, 49.99], 900, p=[0.49, 0.37, 0.14])
    now = np.arange(window - 1, window - 1 + months)
    last = np.minimum(now, ended[:, None])
    invoices = last - np.maximum(begun[:, None], now - window + 1) + 1
    there = (invoices > 0) & (begun[:, None] <= now)
    firsts = (np.datetime64("2025-01") + np.arange(13)).astype("datetime64[D]")
    days = (firsts[now + 1] - firsts[last]).astype(float)
    customers, when = np.nonzero(there)
    rows = np.column_stack([days[there], invoices[there], price[customers]])
    features = "days_since_last_order: 1, orders: 1, average_order_value: 0.01"
    return Panel.of(customers, when, rows, first_months=begun - window + 1, n_months=months), features


def four_kinds_of_buyers(customers: int = 600, months: int = 3, window: int = 3) -> tuple[Panel, str]:
    """Who buys often and cheaply, now and then, or hardly ever. Of those with one order products per order
    are a whole number; of 47,000 such customers a refit once chose what its own check then refused."""
    random = np.random.default_rng(0)
    kinds = random.choice(4, customers, p=[0.35, 0.25, 0.25, 0.15])
    keen, level = random.random((2, customers, 1))
    many = months + window - 1
    often = np.select([kinds == 0, kinds == 1], [4 + 4 * keen[:, 0], 1.2 + 1.5 * keen[:, 0]], 1.0).astype(int)
    buys = random.random((customers, many)) < np.array([1.0, 1.0, 0.6, 0.22])[kinds, None]
    counts = often[:, None] * buys
    ids = np.repeat(np.tile(np.arange(customers)[:, None], many), counts.ravel())
    month = np.repeat(np.tile(np.arange(many), customers), counts.ravel())
    lines = random.integers(1, 5, len(ids))
    base = np.array([3.2, 4.4, 3.3, 4.1])[kinds[ids]] + 0.75 * (level[ids, 0] - 0.5)
    noise = np.exp(1.5 * (random.random((len(ids), 4)) - 0.5)) * (np.arange(4) < lines[:, None])
    value = np.exp(base) * noise.sum(axis=1) / (1 + kinds[ids] % 2)
    day = 30.0 * month + random.integers(0, 29, len(ids))
    rows, seen = [], np.zeros((customers, months), dtype=bool)
    for end in range(window, window + months):
        inside = (month < end) & (month >= end - window)
        orders, spent, bought = (
            np.bincount(ids[inside], weights, customers) for weights in (None, value[inside], lines[inside])
        )
        latest = np.zeros(customers)
        np.maximum.at(latest, ids[inside], day[inside])
        seen[:, end - window] = orders > 0
        each = np.maximum(orders, 1)
        rows.append(np.column_stack([30.0 * end - latest, orders, (spent / each).round(2), (bought / each).round(2)]))
    first = np.full(customers, many)
    np.minimum.at(first, ids, month)
    who, when = np.nonzero(seen)
    features = "days_since_last_order: 1, orders: 1, average_order_value: 0.01, products_per_order: 0.01"
    return Panel.of(who, when, np.array(rows)[when, who], first_months=first - window + 1, n_months=months), features


@pytest.mark.parametrize("remember", [True, False])
@pytest.mark.parametrize("made", [billed_on_the_first, four_kinds_of_buyers])
def test_every_month_of_a_shop_of_atoms_has_a_sound_champion(
    made: Callable[[], tuple[Panel, str]], remember: bool
) -> None:
    """Both shops came to a month that was not published, though the champion of the month before could serve."""
    panel, features = made()
    declared = "".join(
        f"  - {{name: {name}, transform: log1p, resolution: {resolution}, valid: {{min: 0}}}}\n"
        for name, resolution in (one.split(": ") for one in features.split(", "))
    )
    world = World(panel, config(f"features:\n{declared}model: {{n_components: [2, 6], min_stability: 0}}\n"))
    for month in range(panel.n_months):
        decision = world.month(remember=remember, forced="every month" if month else None)
        if decision.promoted:
            assert degeneracy_this_month(world.inputs[-1], decision) is None
        else:
            assert decision.champion is world.decisions[-2].champion
    assert len(world.decisions) == panel.n_months


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
