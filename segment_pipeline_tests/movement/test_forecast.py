"""Forecasts of shares on worlds whose truth is known: a chain as it is, months that all share, a champion that errs."""

import itertools

import numpy as np
import pytest

from segment_pipeline.arrays import Array
from segment_pipeline.movement.forecast import (
    MONTHS_AHEAD,
    UNSEEN_FORECASTS,
    Forecast,
    KnownCustomers,
    PastForecasts,
    counted_steps,
    forecasts,
)

STEPS = np.array(
    [[0.90, 0.04, 0.02, 0.04], [0.02, 0.92, 0.02, 0.04], [0.05, 0.05, 0.80, 0.10], [0.10, 0.05, 0.05, 0.80]]
)
START = np.array([700.0, 600.0, 400.0, 300.0])


def known(counts: Array, transitions: Array = STEPS, fitted: int = 1) -> KnownCustomers:
    """counts : (T, k + 1) of the same customers in every month."""
    months = len(counts)
    sums = np.broadcast_to(counts, (months, *counts.shape)).copy()
    sums[np.tril_indices(months, -1)] = np.nan
    return KnownCustomers(sums, counts @ transitions, transitions, fitted)


def expected_counts(months: int) -> Array:
    """Customers of whom exactly as many move as the chain says."""
    return np.array([START @ np.linalg.matrix_power(STEPS, t) for t in range(months)])


def drawn_counts(months: int, shock: float, seed: int) -> Array:
    """Customers who move by chance, in months that shake the odds of all of them alike."""
    random, counts = np.random.default_rng(seed), [START.astype(int)]
    for _ in range(1, months):
        steps = STEPS * np.where(np.eye(4) > 0, 1.0, np.exp(shock * random.normal(size=(4, 4))))
        steps /= steps.sum(axis=1, keepdims=True)
        counts.append(sum(random.multinomial(n, row) for n, row in zip(counts[-1], steps, strict=True)))
    return np.array(counts, dtype=float)


def width(forecast: Forecast) -> Array:
    return forecast.high - forecast.low


def test_a_forecast_is_the_matrix_applied_month_by_month():
    counts = expected_counts(8)
    found = forecasts(known(counts))
    assert [forecast.ahead for forecast in found] == list(range(1, MONTHS_AHEAD + 1))
    shares = counts[-1] / START.sum()
    for forecast in found:
        shares = shares @ STEPS
        assert forecast.served_by == "memory"
        np.testing.assert_allclose(forecast.share, shares, atol=1e-12)
        np.testing.assert_allclose(forecast.as_it_is_now, counts[-1] / START.sum(), atol=1e-12)


def test_what_is_expected_of_each_customer_is_the_first_step_and_is_judged_as_it_was_said():
    """Nobody can lapse next month, which the matrix does not know: it is off in every month, what is said is not."""
    cannot = STEPS.copy()
    cannot[:3, :3] /= cannot[:3, :3].sum(axis=1, keepdims=True)
    cannot[:3, 3] = 0.0
    counts = np.array([START @ np.linalg.matrix_power(cannot, t) for t in range(8)])
    by_matrix = known(counts)
    told = KnownCustomers(by_matrix.sums, counts @ cannot, STEPS, 1)
    for forecast in forecasts(told):
        expected = counts[-1] @ cannot @ np.linalg.matrix_power(STEPS, forecast.ahead - 1) / START.sum()
        np.testing.assert_allclose(forecast.by_memory, expected, atol=1e-12)
    assert forecasts(told)[0].judged.memory_error == pytest.approx(0.0, abs=1e-12)
    assert forecasts(by_matrix)[0].judged.memory_error > 0.01


@pytest.mark.parametrize("shock", [0.0, 0.5])
@pytest.mark.parametrize("ahead", [1, 3])
def test_intervals_hold_four_outcomes_of_five_whether_months_have_something_in_common_or_not(shock, ahead):
    inside, inside_chance = [], []
    for seed in range(300):
        counts = drawn_counts(12 + ahead, shock, seed)
        today = known(counts[:12])
        forecast, came = forecasts(today)[ahead - 1], counts[-1] / START.sum()
        inside.append((forecast.low <= came) & (came <= forecast.high))
        inside_chance.append(np.abs(came - forecast.by_memory) <= 1.28 * today.chance(11, ahead))
    assert 0.72 < np.mean(inside) < 0.88
    if shock:  # the reason for all this: chance alone knows nothing of what months have in common
        assert np.mean(inside_chance) < 0.55


@pytest.mark.parametrize("seed", range(5))
def test_shares_sum_to_1_and_lie_in_their_intervals(seed):
    for forecast in forecasts(known(drawn_counts(9, 0.5, seed))):
        for shares in (forecast.share, forecast.by_memory, forecast.as_it_is_now):
            assert shares.sum() == pytest.approx(1, abs=1e-12)
        assert (forecast.low >= 0).all()
        assert (forecast.high <= 1).all()
        assert (forecast.low <= forecast.share).all()
        assert (forecast.share <= forecast.high).all()


def test_where_nothing_changes_and_the_memory_expects_change_it_stays_as_it_is_now():
    for forecast in forecasts(known(np.tile(START, (9, 1)))):
        assert forecast.served_by == "as it is now"
        np.testing.assert_array_equal(forecast.share, START / START.sum())
        np.testing.assert_allclose(width(forecast), 0.0)  # it never was off
        assert np.abs(forecast.by_memory - forecast.share).max() > 0.01


def test_a_first_month_says_as_it_is_now_and_that_all_that_moves_may_move_one_way():
    for forecast in forecasts(known(START[None])):
        assert (forecast.served_by, forecast.judged) == ("as it is now", None)
        np.testing.assert_array_equal(forecast.share, START / START.sum())
        came = START @ np.linalg.matrix_power(STEPS, forecast.ahead) / START.sum()
        assert (forecast.low <= came).all()
        assert (came <= forecast.high).all()


def test_a_horizon_without_a_past_is_judged_by_the_longest_that_has_one_and_is_wider():
    found = forecasts(known(drawn_counts(4, 0.5, seed=1)))
    assert [forecast.judged.ahead for forecast in found] == [1, 2, 3, 3, 3, 3]
    assert [len(forecast.judged.chance) for forecast in found] == [3, 2, 1, 1, 1, 1]
    for before, after in itertools.pairwise(found[2:]):
        assert (width(after) > width(before)).all()


def test_few_past_forecasts_make_a_wider_interval():
    widths = {
        months: np.mean([width(forecasts(known(drawn_counts(months, 0.5, seed)))[0]).mean() for seed in range(60)])
        for months in (2, 4, 12)
    }
    assert widths[2] > widths[4] > widths[12]


def test_errors_in_months_of_the_fit_are_taken_for_larger_until_there_are_enough_others():
    counts = drawn_counts(10, 0.5, seed=3)
    for ahead in (1, 2):
        plain = PastForecasts.of(known(counts, fitted=1), ahead)
        fitted = 12 - ahead - UNSEEN_FORECASTS  # one forecast too few has been made since
        some = PastForecasts.of(known(counts, fitted=fitted), ahead)
        enough = PastForecasts.of(known(counts, fitted=fitted - 1), ahead)
        # of n months of movement the fit saw, a month within is off by 1 - 1/n of the variance, one beyond by 1 + 1/n
        n = fitted - 1
        factor = np.where(np.arange(10 - ahead) < fitted - ahead, np.sqrt((n + 1) / (n - 1)), 1.0)
        np.testing.assert_allclose(some.by_memory, plain.by_memory * factor[:, None])
        np.testing.assert_array_equal(some.as_it_is_now, plain.as_it_is_now)
        np.testing.assert_array_equal(enough.by_memory, plain.by_memory[-UNSEEN_FORECASTS:])


def test_a_champion_that_fits_its_own_months_only_is_found_out_by_those_after_it():
    """The world stands still from the fit on: memory was right for six months, and is wrong for three."""
    moving = expected_counts(6)
    known_world = known(np.concatenate([moving, np.tile(moving[-1], (3, 1))]), fitted=6)
    found = forecasts(known_world)
    assert {forecast.served_by for forecast in found} == {"as it is now"}
    # of six months ahead only months of the fit were forecast, where the memory was right: they do not speak for it
    assert found[5].judged.serves == "memory"


def test_one_of_both_serves_all_months_ahead_also_where_they_would_choose_differently():
    disagree = 0
    for seed in range(20):
        found = forecasts(known(drawn_counts(12, 0.6, seed)))
        assert {forecast.served_by for forecast in found} == {found[0].judged.serves}
        for forecast in found:
            served = forecast.by_memory if forecast.served_by == "memory" else forecast.as_it_is_now
            np.testing.assert_array_equal(forecast.share, served)
        disagree += len({forecast.judged.serves for forecast in found}) > 1
    assert disagree > 0


def test_a_state_that_nobody_was_in_is_left_by_nobody():
    steps = counted_steps(np.array([[8.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]]))
    np.testing.assert_allclose(steps, [[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.25, 0.0, 0.75]])
