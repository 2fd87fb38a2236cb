"""BG/NBD and Gamma-Gamma: the published fit, the figures of lifetimes, and customers of known truth."""

import itertools

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from segment_pipeline.value import buyers
from segment_pipeline.value.buyers import PurchaseModel, SpendModel, fit_purchases, fit_spend

WEEKS = 13.0


@pytest.fixture(scope="module")
def cdnow():
    """Repeats, recency and age in weeks of the 2,357 customers of the paper."""
    datasets = pytest.importorskip("lifetimes.datasets")
    found = datasets.load_cdnow_summary()
    return tuple(found[name].to_numpy(float) for name in ("frequency", "recency", "T"))


def simulated(truth: PurchaseModel, customers: int, weeks: float, ahead: float, seed: int):
    """Repeats, recency, age and the purchases of the weeks ahead of customers who do exactly as the model says."""
    random = np.random.default_rng(seed)
    rates = random.gamma(truth.r, 1 / truth.alpha, customers)
    leaving = random.beta(truth.a, truth.b, customers)
    age = random.uniform(weeks / 2, weeks, customers)
    repeats, recency, later = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    for i in range(customers):
        at = 0.0
        while (at := at + random.exponential(1 / rates[i])) < age[i] + ahead:
            if at < age[i]:
                repeats[i], recency[i] = repeats[i] + 1, at
            else:
                later[i] += 1
            if random.random() < leaving[i]:
                break
    return repeats, recency, age, later


def test_the_published_fit_of_cdnow_is_found(cdnow):
    found = fit_purchases(*cdnow)
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=1e-3)


def test_purchases_and_their_worth_are_those_of_lifetimes(cdnow):
    lifetimes = pytest.importorskip("lifetimes")
    repeats, recency, age = cdnow
    ours = fit_purchases(repeats, recency, age)
    theirs = lifetimes.BetaGeoFitter().fit(repeats, recency, age)
    expected = theirs.conditional_expected_number_of_purchases_up_to_time(WEEKS, repeats, recency, age)
    found = ours.if_alive(repeats, age, WEEKS) / (1 + ours.lost_odds(repeats, recency, age))
    np.testing.assert_allclose(found, expected, atol=2e-4)

    spent = pytest.importorskip("lifetimes.datasets").load_cdnow_summary_data_with_monetary_value()
    purchases, mean = (spent[spent["frequency"] > 0][name].to_numpy(float) for name in ("frequency", "monetary_value"))
    gamma = lifetimes.GammaGammaFitter().fit(purchases, mean)
    worth = gamma.conditional_expected_average_profit(purchases, mean)
    np.testing.assert_allclose(fit_spend(purchases, mean).expected(purchases, mean), worth, rtol=1e-4)


def test_who_does_as_the_model_says_is_forecast_without_bias():
    truth = PurchaseModel(0.6, 4.0, 0.8, 3.0)
    repeats, recency, age, later = simulated(truth, 8000, 60.0, WEEKS, seed=3)
    found = fit_purchases(repeats, recency, age)
    expected = found.if_alive(repeats, age, WEEKS) / (1 + found.lost_odds(repeats, recency, age))
    assert expected.sum() / later.sum() == pytest.approx(1.0, abs=0.04)
    # and of who has been silent for long as much as of who has just bought
    longest = np.argsort(recency - age)
    for some in np.array_split(longest, 4)[1:]:
        assert expected[some].mean() == pytest.approx(later[some].mean(), abs=4 * later[some].std() / len(some) ** 0.5)


def test_where_nobody_is_lost_and_many_buy_often_expectations_stay_finite():
    model = PurchaseModel(1.4, 1.4, 0.001, 150_000.0)
    repeats, age = np.array([0.0, 400.0, 4000.0]), np.array([1.0, 52.0, 520.0])
    expected = model.if_alive(repeats, age, WEEKS)
    # at a Poisson rate that is known for sure: (r + x) / (alpha + age) a week
    np.testing.assert_allclose(expected, (1.4 + repeats) / (1.4 + age) * WEEKS, rtol=1e-3)
    lost = model.lost_odds(repeats, np.array([0.0, 1.0, 1.0]), age)
    assert lost[0] == 0.0
    assert np.isfinite(lost).all()
    assert lost[2] > 1e100
    assert PurchaseModel(1.0, 1.0, 1.0, 2.0).if_alive(np.array([3.0]), np.array([5.0]), 4.0) == pytest.approx(
        PurchaseModel(1.0, 1.0, 1.0 + 1e-6, 2.0).if_alive(np.array([3.0]), np.array([5.0]), 4.0), rel=1e-5
    )


def test_what_is_expected_can_be_whatever_the_parameters() -> None:
    """Where everybody is lost at once the transformed series is 0 times infinity, and the written one is none; where
    neither gives a figure that can be, none is given."""
    repeats, unknown, asked = np.array([0.0, 1.0, 3.0, 10.0, 50.0]), 0, 0
    logs = [-4.0, 0.0, 3.0, 8.0]
    for r, alpha, a, b in itertools.product([-2.0, 0.0, 3.0], [0.0, 3.0], logs, logs):
        model = PurchaseModel(*np.exp([r, alpha, a, b]))
        for weeks in (4.0, WEEKS):
            found = model.if_alive(repeats, np.full(5, 12.0), weeks)
            known = found[np.isfinite(found)]
            assert (known >= -1e-9).all()
            assert (known <= ((model.r + repeats) / (model.alpha + 12.0) * weeks * 1.001)[np.isfinite(found)]).all()
            unknown, asked = unknown + len(found) - len(known), asked + len(found)
    assert unknown < asked / 100


def test_a_purchase_is_worth_between_ones_own_and_everybodys():
    model = SpendModel(6.0, 4.0, 15.0)
    everybody = 6.0 * 15.0 / 3.0
    once, often = model.expected(np.array([1.0, 100.0]), np.array([90.0, 90.0]))
    assert everybody < once < often < 90.0


def test_the_fit_is_the_same_to_the_last_bit(cdnow):
    assert fit_purchases(*cdnow) == fit_purchases(*cdnow)


def test_the_slopes_of_the_likelihoods_are_those_of_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """At any parameters, of customers with and without repeats."""
    seen = []
    monkeypatch.setattr(buyers, "_most_likely", lambda surprise, start: seen.append(surprise) or np.ones(len(start)))
    rng = np.random.default_rng(7)
    repeats = rng.poisson(2.0, 200).astype(float)
    age = rng.integers(30, 400, 200) / 7.0
    buyers.fit_purchases(repeats, np.where(repeats > 0, rng.random(200) * age, 0.0), age)
    buyers.fit_spend(repeats + 1.0, rng.lognormal(3.0, 1.0, 200))
    for surprise, parameters in zip(seen, (4, 3), strict=True):
        for logs in rng.normal(0.0, 1.0, (5, parameters)):
            found = approx_fprime(logs, lambda at, surprise=surprise: surprise(at)[0], 1e-7)
            np.testing.assert_allclose(surprise(logs)[1], found, rtol=1e-4, atol=1e-5)
