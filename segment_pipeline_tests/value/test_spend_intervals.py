"""The interval around a forecast of spend, and the choice among methods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.value.forecast import BINS, FEWEST, best_of, fit_intervals


def covered(found, forecast, came) -> float:
    place = np.searchsorted(found.upper, forecast)
    reach = forecast + found.offset
    return float(((came >= found.low[place] * reach) & (came <= found.high[place] * reach)).mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.7), st.booleans())
def test_four_in_five_further_customers_lie_in_it(seed: int, silent: float, returns: bool):
    """Whether nobody or most spend nothing, whether some send back more than they buy."""
    random = np.random.default_rng(seed)
    forecast = random.gamma(0.7, 100.0, 12_000)
    came = np.where(random.random(12_000) < silent, 0.0, forecast * random.lognormal(0.0, 0.5, 12_000))
    came = np.where(returns & (random.random(12_000) < 0.05), -20.0, came)
    found = fit_intervals(forecast[:6000], came[:6000])
    assert found is not None
    assert 0.76 <= covered(found, forecast[6000:], came[6000:]) <= 0.84
    if not returns:
        assert found.low.min() >= 0.0


def test_where_nearly_all_spend_nothing_the_interval_is_nothing_and_holds_them():
    forecast = np.linspace(0.0, 1.0, 1000)
    came = np.where(np.arange(1000) % 10 == 0, 50.0, 0.0)
    found = fit_intervals(forecast, came)
    assert found is not None
    assert found.high.max() == 0.0
    assert covered(found, forecast, came) == 0.9


def test_too_few_say_nothing_and_forecasts_of_nothing_are_forecasts():
    assert fit_intervals(np.ones(FEWEST - 1), np.ones(FEWEST - 1)) is None
    found = fit_intervals(np.zeros(FEWEST), np.arange(FEWEST, dtype=float))
    assert found is not None
    assert (len(found.upper), len(found.low), found.offset) == (BINS - 1, BINS, 1.0)


def test_the_nearest_serves_and_before_anything_is_known_the_simplest():
    errors = {"bg_nbd": 2.0, "own_window": 3.0, "chain": 1.0, "blend": 2.0}
    assert best_of(errors, list(errors)) == "chain"
    # of a champion without memory there is no chain; of equals the first
    assert best_of(errors, ["own_window", "blend", "bg_nbd"]) == "bg_nbd"
    assert best_of({}, list(errors)) == "own_window"


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_it_does_not_depend_on_the_currency(scale: float):
    random = np.random.default_rng(0)
    forecast, came = random.gamma(1.0, 5.0, 2000), random.gamma(1.0, 5.0, 2000)
    one, other = fit_intervals(forecast, came), fit_intervals(scale * forecast, scale * came)
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.high, other.high)
    np.testing.assert_allclose(one.low, other.low)
