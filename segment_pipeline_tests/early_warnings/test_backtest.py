"""That alerts are counted right, that rivals have the same chances, and that intervals are as wide as they say."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.early_warnings.backtest import (
    BacktestRow,
    WarnedMonth,
    backtest,
    difference_interval,
    most_urgent,
)
from segment_pipeline.measures import wilson
from segment_pipeline.months import add_months

MARCH = date(2017, 3, 1)


def flags(text: str) -> np.ndarray:
    return np.array([mark == "x" for mark in text])


def a_month(month: date = MARCH, **changes: object) -> WarnedMonth:
    """Six customers, of whom the last is not eligible; a and b are alerted, a and c keep silent."""
    made = WarnedMonth(
        month,
        np.array(list("abcdef")),
        flags("xxxxx."),
        {"declining": flags("xx...x")},
        np.array([10.0, 20.0, 30.0, 40.0, 5.0, 99.0]),
        np.array([0.9, 0.2, 0.8, 0.3, 0.1, 1.0]),
        flags("x.x..x"),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def pooled(rows: list[BacktestRow]) -> BacktestRow:
    (row,) = [row for row in rows if row.month is None]
    return row


def simulated(seed: int, months: int = 4, n: int = 400) -> list[WarnedMonth]:
    """Customers who return month after month with a lasting propensity, which churn risk knows and recency does not."""
    random = np.random.default_rng(seed)
    lasting = random.random(n)
    made = []
    for i in range(months):
        here = random.random(n) < 0.8
        made.append(
            WarnedMonth(
                add_months(MARCH, i),
                np.array([f"c{j}" for j in range(n)])[here],
                np.ones(here.sum(), dtype=bool),
                {"rule": random.random(here.sum()) < 0.2},
                np.floor(random.random(here.sum()) * 90),
                lasting[here],
                random.random(here.sum()) < lasting[here],
            )
        )
    return made


def test_a_month_is_counted_by_hand() -> None:
    row = backtest([a_month()])[0]
    assert (row.month, row.warning, row.months) == (MARCH, "declining", 1)
    assert (row.alerts, row.alerts_elsewhere, row.eligible) == (2, 1, 5)
    assert (row.base_rate, row.precision, row.recall, row.lift) == (0.4, 0.5, 0.5, 1.25)
    # churn risk names a and c, both silent; the longest silent are d and c
    assert (row.churn_risk_precision, row.recency_precision, row.difference) == (1.0, 0.5, 0.5)
    # a, silent for 10 days, is warned about 80 days before everybody sees it
    assert (row.lead_time_days, row.churn_risk_lead_time_days, row.recency_lead_time_days) == (80.0, 70.0, 60.0)
    assert (row.precision_low, row.precision_high) == pytest.approx(wilson(1, 2))


def test_all_warnings_and_the_contact_list_are_judged_beside_rivals_who_may_choose_whom_they_could() -> None:
    month = a_month(contact_allowed=flags("xxxx.x"), to_contact=flags("x...xx"))
    everybody = backtest([month], judged="everybody")[0]
    assert (everybody.judged, everybody.alerts, everybody.alerts_elsewhere, everybody.eligible) == (
        "everybody",
        3,
        0,
        6,
    )
    # a and f are silent, b is not; churn risk names f, a, c, and so do, of the longest silent, f, d, c two
    assert (everybody.base_rate, everybody.precision) == (0.5, 2 / 3)
    assert (everybody.churn_risk_precision, everybody.recency_precision) == (1.0, 2 / 3)
    listed = backtest([month], judged="within_budget")[0]
    # b is not on the list, and e may not be contacted: neither may a rival's choice be
    assert (listed.judged, listed.alerts, listed.eligible, listed.base_rate) == ("within_budget", 2, 5, 0.6)
    assert (listed.precision, listed.churn_risk_precision, listed.recency_precision) == (1.0, 1.0, 0.5)
    assert backtest([month], judged="engaged") == backtest([a_month()])


def test_nothing_is_said_of_the_longest_silent_where_nobody_knows_how_long_they_were() -> None:
    days = np.array([np.nan, 20.0, 30.0, 40.0, 5.0, 99.0])
    unknown = a_month(days_since_last_order=days)
    row = backtest([unknown])[0]
    assert (row.precision, row.churn_risk_precision) == (0.5, 1.0)
    assert (row.recency_precision, row.difference, row.recency_lead_time_days, row.lead_time_days) == (None,) * 4
    assert row.churn_risk_lead_time_days == 60.0  # of c; how early a was named is not known
    assert pooled(backtest([unknown, a_month(add_months(MARCH, 1))])).recency_precision is None


def test_months_without_labels_count_nowhere() -> None:
    known, unknown = a_month(), a_month(add_months(MARCH, 1), silent=None)
    assert backtest([known, unknown]) == backtest([known])
    assert backtest([unknown]) == []


def test_pooled_rows_add_the_months_up_and_rivals_name_as_many_in_each() -> None:
    second = a_month(add_months(MARCH, 1), alerts={"declining": flags("..x...")})
    row = pooled(backtest([second, a_month()]))
    assert (row.months, row.alerts, row.eligible) == (2, 3, 10)
    assert row.precision == pytest.approx(2 / 3)
    # risk: a, c in March and a in April; recency: d, c and d
    assert (row.churn_risk_precision, row.recency_precision) == pytest.approx((1.0, 1 / 3))


def test_where_churn_risk_was_refused_its_figures_are_empty_and_the_pool_is_of_the_other_months() -> None:
    refused = a_month(churn_risk=None)
    rows = backtest([refused, a_month(add_months(MARCH, 1))])
    assert rows[0].precision == 0.5
    assert rows[0].recency_precision == 0.5
    assert (rows[0].churn_risk_precision, rows[0].difference, rows[0].difference_low) == (None, None, None)
    assert pooled(rows).months == 1
    assert pooled(backtest([refused])).recency_precision == 0.5


def test_a_rule_that_says_nothing_has_a_row_without_figures() -> None:
    rows = backtest([a_month(alerts={"declining": flags("......")}), a_month(add_months(MARCH, 1))])
    assert (rows[0].alerts, rows[0].precision, rows[0].lift, rows[0].difference) == (0, None, None, None)
    assert rows[0].base_rate == 0.4
    assert backtest([a_month(eligible=flags("......"))])[0].base_rate is None
    assert backtest([a_month(silent=flags("......"))])[0].recall is None


@given(
    customers=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30),
    volume=st.integers(0, 35),
    seed=st.integers(0, 1000),
)
def test_a_ranking_names_exactly_the_volume_the_highest_first_and_ties_by_id(
    customers: list[tuple[int, bool]], volume: int, seed: int
) -> None:
    ids = np.array([f"c{i:02d}" for i in range(len(customers))])
    ranking = np.array([float(rank) for rank, _ in customers])
    eligible = np.array([here for _, here in customers])
    chosen = most_urgent(ranking, eligible, volume, ids)
    assert chosen.sum() == min(volume, eligible.sum())
    assert not (chosen & ~eligible).any()
    passed = eligible & ~chosen
    for i in np.flatnonzero(chosen):
        for j in np.flatnonzero(passed):
            assert (-ranking[i], ids[i]) < (-ranking[j], ids[j])
    shuffled = np.random.default_rng(seed).permutation(len(ids))
    again = most_urgent(ranking[shuffled], eligible[shuffled], volume, ids[shuffled])
    assert set(ids[shuffled][again]) == set(ids[chosen])


def test_the_same_choice_differs_by_nothing_for_sure() -> None:
    times = np.array([1.0, 2.0, 0.0, 1.0])
    right = np.array([1.0, 1.0, 0.0, 0.0])
    assert difference_interval(right, times, right, times) == (0.0, 0.0)


def test_the_interval_of_a_difference_is_that_of_a_paired_bootstrap_over_customers() -> None:
    random = np.random.default_rng(1)
    n = 800
    lasting = random.random(n) < 0.5
    chosen, rival = random.binomial(4, 0.3, n).astype(float), random.binomial(4, 0.3, n).astype(float)
    hits, rival_hits = chosen * lasting, rival * lasting
    low, high = difference_interval(hits, chosen, rival_hits, rival)
    drawn = random.multinomial(n, np.full(n, 1 / n), size=4000).astype(float)
    repeats = drawn @ hits / (drawn @ chosen) - drawn @ rival_hits / (drawn @ rival)
    assert (low, high) == pytest.approx(tuple(np.quantile(repeats, [0.025, 0.975])), abs=0.006)


def test_customers_who_return_month_after_month_widen_the_pooled_interval() -> None:
    same = [a_month(add_months(MARCH, i)) for i in range(6)]
    row = pooled(backtest(same))
    assert (row.precision_low, row.precision_high) == pytest.approx(wilson(1, 2))
    months = simulated(0, months=1)
    single = pooled(backtest(months))
    assert (single.precision_low, single.precision_high) == pytest.approx(
        wilson(round((single.precision or 0) * single.alerts), single.alerts)
    )


def test_risk_that_knows_is_told_from_recency_that_does_not() -> None:
    row = pooled(backtest(simulated(1)))
    assert row.difference_low is not None
    assert row.difference_low > 0.2
    assert row.precision_low is not None
    assert row.precision_high is not None
    assert row.base_rate is not None
    assert row.precision_low < row.base_rate < row.precision_high


def test_two_rankings_that_know_nothing_are_seldom_told_apart() -> None:
    apart = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        months = [replace(m, churn_risk=random.random(len(m.customer_ids))) for m in simulated(seed)]
        row = pooled(backtest(months))
        assert row.difference_low is not None
        assert row.difference_high is not None
        apart += not row.difference_low <= 0 <= row.difference_high
    # 5 % of 60 are 3; eight or more have a probability below 1 %
    assert apart < 8


def test_the_order_of_customers_and_months_changes_nothing() -> None:
    months = simulated(2)
    random = np.random.default_rng(0)
    shuffled = []
    for m in months[::-1]:
        order = random.permutation(len(m.customer_ids))
        assert m.churn_risk is not None
        assert m.silent is not None
        shuffled.append(
            WarnedMonth(
                m.month,
                m.customer_ids[order],
                m.eligible[order],
                {name: alerted[order] for name, alerted in m.alerts.items()},
                m.days_since_last_order[order],
                m.churn_risk[order],
                m.silent[order],
            )
        )
    assert backtest(shuffled) == backtest(months)
    assert backtest(months) == backtest(months)
