"""That churn risk finds what is there, says when nothing can be learned, and never looks past its date."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.early_warnings.churn import (
    HISTORY,
    ChurnRisk,
    CustomerMonth,
    Refusal,
    fit_churn_risk,
    forecast_quality,
    observed_before,
)
from segment_pipeline.months import add_months, as_of

JANUARY = date(2020, 1, 1)
SCORED = date(2020, 8, 1)


def customers(month: date, n: int = 3000, seed: int = 0, told: float = 1.5, fallen: float = 0.0) -> CustomerMonth:
    """Silence follows the first feature with slope `told` and the fall of the first membership with `fallen`."""
    random = np.random.default_rng([seed, month.month])
    Z = random.normal(size=(n, 2))
    R, before = random.dirichlet([1.0, 1.0, 1.0], size=(2, n))
    before[: n // 10] = np.nan
    fall = np.nan_to_num(before[:, 0] - R[:, 0])
    log_odds = told * Z[:, 0] + fallen * fall - 0.5
    silent = random.random(n) < 1 / (1 + np.exp(-log_odds))
    ids = np.array([f"c{i:05d}" for i in range(n)])
    return CustomerMonth(month, ids, Z, R, before, silent)


def training(**kwargs: float) -> list[CustomerMonth]:
    return [customers(add_months(JANUARY, i), **kwargs) for i in range(4)]  # type: ignore[arg-type]


def fitted(months: list[CustomerMonth], scored: date = SCORED, **kwargs: object) -> ChurnRisk:
    model = fit_churn_risk(months, scored, **kwargs)  # type: ignore[arg-type]
    assert isinstance(model, ChurnRisk)
    return model


def labels_of(month: CustomerMonth) -> np.ndarray:
    assert month.silent is not None
    return month.silent


def test_a_planted_dependence_is_found_and_its_probabilities_are_calibrated() -> None:
    now = customers(SCORED, n=20_000)
    predicted = fitted(training()).predict(now)
    quality = forecast_quality(predicted, labels_of(now))
    truth = 1 / (1 + np.exp(-(1.5 * now.Z[:, 0] - 0.5)))
    assert np.abs(predicted - truth).mean() < 0.03
    assert quality.auc > 0.8
    assert quality.calibration_error < 0.02
    assert quality.calibration_slope == pytest.approx(1.0, abs=0.1)
    assert quality.mean_probability == pytest.approx(quality.base_rate, abs=0.02)


def test_silence_that_follows_the_shift_alone_is_found_by_the_shifts_alone() -> None:
    months, now = training(told=0.0, fallen=3.0), customers(SCORED, told=0.0, fallen=3.0)
    with_shifts = fitted(months, groups=("shifts",)).predict(now)
    without = fitted(months, groups=("features",)).predict(now)
    assert forecast_quality(with_shifts, labels_of(now)).auc > 0.7
    assert forecast_quality(without, labels_of(now)).auc == pytest.approx(0.5, abs=0.04)


def test_a_product_of_features_is_found() -> None:
    def crossed(month: date) -> CustomerMonth:
        made = customers(month, told=0.0)
        return replace(made, silent=made.Z[:, 0] * made.Z[:, 1] > 0)

    now = crossed(SCORED)
    model = fitted([crossed(m.month) for m in training()])
    assert forecast_quality(model.predict(now), labels_of(now)).auc > 0.95


def test_pure_noise_is_predicted_no_better_than_by_chance() -> None:
    now = customers(SCORED, n=20_000, told=0.0)
    predicted = fitted(training(told=0.0)).predict(now)
    assert forecast_quality(predicted, labels_of(now)).auc == pytest.approx(0.5, abs=0.03)
    assert predicted.std() < 0.05


def test_customers_who_were_not_there_a_month_ago_have_a_risk_too() -> None:
    model = fitted(training())
    now = customers(SCORED)
    new = replace(now, R_before=np.full_like(now.R, np.nan))
    predicted = model.predict(new)
    assert np.isfinite(predicted).all()
    assert ((predicted >= 0) & (predicted <= 1)).all()


def test_a_segment_that_had_no_members_to_learn_from_puts_nobody_beyond_doubt() -> None:
    def nearly_absent(m: CustomerMonth) -> CustomerMonth:
        rest = m.R[:, :2] / m.R[:, :2].sum(axis=1, keepdims=True)
        R = np.column_stack([rest, 1e-10 * m.R[:, 2]])
        return replace(m, R=R, R_before=R)

    model = fitted([nearly_absent(m) for m in training()])
    now = customers(SCORED)
    arrived = np.tile([0.0, 0.0, 1.0], (len(now.R), 1))
    predicted = model.predict(replace(now, R=arrived, R_before=arrived))
    assert forecast_quality(predicted, labels_of(now)).calibration_error < 0.1


def test_too_few_months_and_too_few_events_are_refused_with_the_figures() -> None:
    one = fit_churn_risk(training()[:1], SCORED)
    assert isinstance(one, Refusal)
    assert "2020-08" in one.reason
    assert "1 month had been observed by then, and 2 are needed" in one.reason

    quiet = [replace(m, silent=np.arange(len(m.customer_ids)) < 20) for m in training()]
    few = fit_churn_risk(quiet, SCORED)
    assert isinstance(few, Refusal)
    assert "80 customers kept silent in them, and 100 are needed" in few.reason

    lost = [replace(m, silent=np.arange(len(m.customer_ids)) >= 20) for m in training()]
    none_left = fit_churn_risk(lost, SCORED)
    assert isinstance(none_left, Refusal)
    assert "80 customers ordered again in them" in none_left.reason

    nothing = fit_churn_risk([], SCORED)
    assert isinstance(nothing, Refusal)
    assert "0 months" in nothing.reason


def test_months_without_labels_teach_nothing() -> None:
    months = training()
    unknown = replace(customers(add_months(JANUARY, -1), seed=9), silent=None)
    now = customers(SCORED)
    assert np.array_equal(fitted([*months, unknown]).predict(now), fitted(months).predict(now))
    assert isinstance(fit_churn_risk([months[0], replace(months[1], silent=None)], SCORED), Refusal)


def test_a_month_whose_horizon_was_not_over_is_never_learned_from() -> None:
    late = customers(add_months(SCORED, -2))
    with pytest.raises(ValueError, match="2020-06 cannot teach 2020-08"):
        fit_churn_risk([*training(), late], SCORED)
    with pytest.raises(ValueError, match="cannot teach"):
        fit_churn_risk([*training(), replace(late, silent=None)], SCORED)


def test_what_happens_after_a_month_changes_nothing_about_its_risks() -> None:
    def risks(every_month: list[CustomerMonth]) -> np.ndarray:
        known = [m for m in every_month if observed_before(m.month, SCORED, 90)]
        now = next(m for m in every_month if m.month == SCORED)
        return fitted(known).predict(now)

    months = [customers(add_months(JANUARY, i)) for i in range(12)]
    other_future = [
        m
        if observed_before(m.month, SCORED, 90)
        else replace(m, silent=~labels_of(m))
        if m.month <= SCORED
        else customers(m.month, n=50, seed=7, told=-3.0)
        for m in months
    ]
    assert np.array_equal(risks(months), risks(other_future))
    assert np.array_equal(risks(months), risks([replace(m, silent=None) if m.month == SCORED else m for m in months]))
    assert not np.array_equal(
        risks(months), risks([replace(m, silent=~labels_of(m)) if m.month == JANUARY else m for m in months])
    )


def test_the_same_months_give_the_same_bits_in_any_order() -> None:
    now = customers(SCORED)
    first = fitted(training()).predict(now)
    assert np.array_equal(first, fitted(training()).predict(now))
    assert np.array_equal(first, fitted(training()[::-1]).predict(now))


def test_a_sample_of_many_customers_is_drawn_the_same_each_time_and_says_about_the_same() -> None:
    now = customers(SCORED)
    whole = fitted(training())
    sampled = fitted(training(), max_rows=6000)
    assert np.array_equal(sampled.predict(now), fitted(training(), max_rows=6000).predict(now))
    assert 0 < np.abs(sampled.predict(now) - whole.predict(now)).mean() < 0.03
    assert sampled.events == whole.events


@given(
    month=st.dates(date(2015, 1, 1), date(2030, 1, 1)).map(lambda day: day.replace(day=1)),
    later=st.integers(-3, 8),
    horizon=st.integers(1, 200),
)
def test_a_label_is_known_when_the_horizon_has_passed_and_not_a_day_sooner(
    month: date, later: int, horizon: int
) -> None:
    scored = add_months(month, later)
    assert observed_before(month, scored, horizon) == ((as_of(scored) - as_of(month)).days >= horizon)


def test_ninety_days_take_three_months_or_four() -> None:
    assert observed_before(date(1997, 7, 1), date(1997, 10, 1), 90)
    # from 1 February to 1 May there are 89 days
    assert not observed_before(date(1998, 1, 1), date(1998, 4, 1), 90)
    assert as_of(date(1998, 4, 1)) - as_of(date(1998, 1, 1)) == timedelta(days=89)


def test_a_month_seen_through_another_champion_is_refused() -> None:
    now = customers(SCORED)
    with pytest.raises(ValueError, match="score all months with one champion"):
        fitted(training()).predict(replace(now, R=now.R[:, :2], R_before=now.R_before[:, :2]))
    with pytest.raises(ValueError, match="not of one champion"):
        replace(now, R_before=now.R_before[:, :2])
    with pytest.raises(ValueError, match="not finite"):
        replace(now, Z=np.full_like(now.Z, np.nan))
    with pytest.raises(ValueError, match="3000 customers but 2 rows of history"):
        replace(now, history=np.zeros((2, len(HISTORY))))
    with pytest.raises(ValueError, match="history holds values that are not finite"):
        replace(now, history=np.full((3000, len(HISTORY)), np.nan))


def with_history(month: CustomerMonth, seed: int = 3) -> CustomerMonth:
    """Who is silent for longer than twice the own gap keeps silent; of those who ordered once, half do."""
    random = np.random.default_rng([seed, month.month.month])
    n = len(month.customer_ids)
    gap, silence = random.uniform(3, 100, size=(2, n))
    once = random.random(n) < 0.3
    lately = 0.5 ** (silence[:, None] / np.array([30.0, 60.0, 90.0]))
    unknown = [np.where(once, np.nan, column) for column in (np.log(gap), np.full(n, 0.2))]
    history = np.column_stack([silence, lately, *unknown, random.normal(size=n)])
    silent = np.where(once, random.random(n) < 0.5, silence > 2 * gap)
    return replace(month, history=history, silent=silent)


def test_silence_against_the_own_gap_is_found_in_the_history() -> None:
    months, now = [with_history(m) for m in training(told=0.0)], with_history(customers(SCORED, n=10_000, told=0.0))
    predicted = fitted(months, groups=("history",)).predict(now)
    known = ~np.isnan(now.history[:, HISTORY.index("log_gap")])  # type: ignore[index]
    assert forecast_quality(predicted[known], labels_of(now)[known]).auc > 0.95
    assert np.abs(predicted[~known] - 0.5).mean() < 0.1
    assert forecast_quality(fitted(months).predict(now), labels_of(now)).calibration_error < 0.05


def test_ready_made_customers_are_predicted_from_what_there_is() -> None:
    months, now = training(), customers(SCORED)
    told = fitted(months, groups=("memberships", "shifts", "features")).predict(now)
    assert np.array_equal(fitted(months).predict(now), told)


def test_the_figures_of_a_forecast_are_those_of_the_textbook() -> None:
    p, silent = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    quality = forecast_quality(p, silent)
    # of the four pairs one is the wrong way round
    assert quality.auc == pytest.approx(3 / 4)
    assert quality.brier == pytest.approx((0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4)
    assert quality.log_loss == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    # a tie is half a pair
    assert forecast_quality(np.array([0.5, 0.5]), np.array([False, True])).auc == 0.5
    # all say 0.5 and three in four keep silent
    assert forecast_quality(np.full(400, 0.5), np.arange(400) % 4 != 0).calibration_error == pytest.approx(0.25)


@pytest.mark.parametrize("all_silent", [False, True])
def test_where_all_did_the_same_a_forecast_has_no_auc_and_no_slope(all_silent: bool) -> None:
    quality = forecast_quality(np.array([0.2, 0.6]), np.array([all_silent] * 2))
    assert np.isnan([quality.auc, quality.calibration_slope]).all()
    said = np.array([0.2, 0.6]) if all_silent else np.array([0.8, 0.4])
    assert quality.log_loss == pytest.approx(-np.log(said).mean())
    assert quality.brier == pytest.approx(np.mean((1 - said) ** 2))


def test_a_forecast_that_tells_all_apart_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    p = np.linspace(0.1, 0.9, 200)
    assert forecast_quality(p, p > 0.5).calibration_slope > 100
    assert not recwarn.list


def test_the_fit_is_a_ridge_on_standardised_inputs() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    months, now = training(), customers(SCORED)
    scaler = StandardScaler().fit(np.vstack([m.R for m in months]))
    theirs = LogisticRegression(C=1.0, tol=1e-12, max_iter=1000).fit(
        scaler.transform(np.vstack([m.R for m in months])), np.concatenate([labels_of(m) for m in months])
    )
    ours = fitted(months, groups=("memberships",)).predict(now)
    assert ours == pytest.approx(theirs.predict_proba(scaler.transform(now.R))[:, 1], abs=1e-6)


def of_so_many_days(month: date, days: int, *, n: int = 4000, by_counts: bool = False) -> CustomerMonth:
    """Customers who order at steady rates of their own, of whom the source has so many days of orders.

    Who orders seldom keeps silent or, `by_counts`, who has few orders lately among those that are known.
    """
    random = np.random.default_rng([days, month.month])
    rate = random.gamma(1.2, 1 / 25, n) + 1 / 200
    ago = [np.sort(random.uniform(0, days, count)) for count in 1 + random.poisson(rate * days)]
    history = np.full((n, len(HISTORY)), np.nan)
    history[:, 0], history[:, 6] = [one[0] for one in ago], 1.0
    history[:, 1:4] = [[np.sum(0.5 ** (one / half)) for half in (30, 60, 90)] for one in ago]
    silent = random.random(n) < (0.8 / (1 + history[:, 3]) ** 1.5 if by_counts else np.exp(-rate * 90))
    nothing = np.ones((n, 1))
    return CustomerMonth(month, np.arange(n).astype(str), nothing, nothing, nothing, silent, history, days)


def growing(**kwargs: bool) -> list[CustomerMonth]:
    return [of_so_many_days(add_months(JANUARY, i), 90 + 30 * i, **kwargs) for i in range(4)]


def test_a_short_history_that_grows_is_no_reason_to_take_risk_for_lower() -> None:
    """Nobody changes, only more orders are known: what was learned of a short history tells too little of a longer."""
    now = of_so_many_days(SCORED, 300)
    model, as_counted = fitted(growing()), fitted([replace(month, history_days=None) for month in growing()])
    assert (model.by_length, as_counted.by_length) == (True, False)
    told, without = (forecast_quality(one.predict(now), labels_of(now)) for one in (model, as_counted))
    assert without.mean_probability < 0.75 * without.base_rate
    assert told.mean_probability == pytest.approx(told.base_rate, rel=0.2)
    assert told.log_loss < without.log_loss


def test_counts_stay_as_they_are_where_that_foretells_better_and_where_the_history_is_long() -> None:
    assert not fitted(growing(by_counts=True)).by_length
    long = [of_so_many_days(add_months(JANUARY, i), 700 + 30 * i, n=1000) for i in range(4)]
    assert not fitted(long, min_events=10).by_length


def test_the_order_in_which_something_was_added_up_decides_no_rank() -> None:
    """Two customers of whom the model says the same stood before one another on one engine, and not on another: the
    last digit of a sum."""
    random = np.random.default_rng(0)
    probability = random.choice([0.05, 0.2, 0.4, 0.41], 400)
    silent = random.random(400) < probability
    elsewhere = probability * (1.0 + random.choice([-1e-16, 0.0, 2e-16, 1e-15], 400))
    here, there = forecast_quality(probability, silent), forecast_quality(elsewhere, silent)
    assert here.auc == there.auc
    assert here.calibration_error == pytest.approx(there.calibration_error, rel=1e-12)
