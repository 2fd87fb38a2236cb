"""Arms that stay, lifts that are right as often as they say, and silence where the data cannot speak."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from segment_pipeline.campaigns.lift import (
    ARMS,
    Lift,
    arm_limits,
    measure_lift,
    minimum_detectable_effect,
    sample_ratio,
)
from segment_pipeline_tests.campaigns.arms_in_python import arm_of, random_segment_of
from segment_pipeline_tests.campaigns.simulated_campaigns import Campaign, claimed, covers

SHARES = {"matched": 0.6, "random": 0.2, "control": 0.2}
IDS = [f"customer {i}" for i in range(20_000)]
REPEATS = 400


def campaign_of(sizes: dict[str, tuple[int, int]], value: float = 10.0) -> tuple[np.ndarray, ...]:
    """One segment with, per arm, so many customers of whom so many convert, each for the same value."""
    arms = np.concatenate([np.full(n, arm) for arm, (n, _) in sizes.items()])
    converted = np.concatenate([np.arange(n) < outcomes for n, outcomes in sizes.values()])
    return arms, np.full(len(arms), 3), converted, converted * value


def row_of(rows: list[Lift], segment_id: int | None, metric: str, against: str) -> Lift:
    return next(row for row in rows if (row.segment_id, row.metric, row.against) == (segment_id, metric, against))


# --- arms


def test_a_customer_keeps_the_arm_of_a_campaign_whoever_else_takes_part() -> None:
    arms = arm_of(IDS, "spring", SHARES)
    assert list(arm_of(IDS[::-1], "spring", SHARES)) == list(arms[::-1])
    assert arm_of(IDS[7:8], "spring", SHARES)[0] == arms[7]


def test_the_arms_of_a_customer_never_change_between_versions() -> None:
    assert list(arm_of(["1", "2", "3", "ünï", ""], "spring", SHARES)) == [
        *("random", "matched", "random", "matched", "matched"),
    ]


@pytest.mark.parametrize("campaign", ["spring", "autumn", "o'brien: 50 % 🙂", ""])
def test_arms_get_their_shares_of_the_customers(campaign: str) -> None:
    arms = arm_of(IDS, campaign, SHARES)
    assert not sample_ratio({arm: int((arms == arm).sum()) for arm in ARMS}, SHARES).faulty


def test_the_arms_of_two_campaigns_are_independent() -> None:
    spring, autumn = arm_of(IDS, "spring", SHARES), arm_of(IDS, "autumn", SHARES)
    table = [[int(((spring == a) & (autumn == b)).sum()) for b in ARMS] for a in ARMS]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_the_random_arm_draws_every_segment_alike_and_independently_of_its_arm() -> None:
    drawn = random_segment_of(IDS, "spring", [[9, 2, 4]] * len(IDS))
    arms = arm_of(IDS, "spring", SHARES)
    table = [[int(((drawn == segment) & (arms == arm)).sum()) for segment in (2, 4, 9)] for arm in ARMS]
    assert stats.chi2_contingency(table).pvalue > 0.001
    assert stats.chisquare(np.sum(table, axis=0)).pvalue > 0.001
    assert list(drawn) == list(random_segment_of(IDS, "spring", [[2, 4, 9, 9]] * len(IDS)))
    narrow = random_segment_of(IDS, "spring", [[2, 4] if i % 2 else [9] for i in range(len(IDS))])
    assert set(narrow[::2]) == {9}
    assert stats.chisquare(np.unique(narrow[1::2], return_counts=True)[1]).pvalue > 0.001


def test_an_arm_without_a_share_gets_nobody() -> None:
    assert set(arm_of(IDS, "spring", {"matched": 0.9, "random": 0.1, "control": 0.0})) == {"matched", "random"}
    assert set(arm_of(IDS, "spring", {"matched": 0.0, "random": 0.0, "control": 1.0})) == {"control"}


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda parts: sum(parts) > 1e-6))
@example([0.625, 1e-07, 2.3e-309])  # adds up to more than 1 by rounding
def test_whatever_the_shares_the_limits_rise_and_the_last_takes_all(parts: list[float]) -> None:
    shares = {arm: part / sum(parts) for arm, part in zip(ARMS, parts, strict=True)}
    limits = [limit for _, limit in arm_limits(shares)]
    assert limits == sorted(limits)
    assert limits[-1] == 2**52


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"matched": 0.6, "random": 0.2, "control": 0.3}, "shares: .* must add up to 1, not 1.1"),
        ({"matched": 0.6, "random": 0.6, "control": -0.2}, "shares.control: .* not -0.2"),
        ({"matched": 0.6, "random": float("nan"), "control": 0.4}, "shares.random"),
        ({"matched": 0.6, "holdout": 0.4}, "shares: needs matched, random, control"),
        ({}, "got nothing"),
    ],
)
def test_shares_that_cannot_be_are_refused_by_name(shares: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        arm_of(["1"], "spring", shares)
    with pytest.raises(ValueError, match=said):
        sample_ratio({}, shares)


# --- the sample ratio


def test_the_sample_ratio_is_chi_squares() -> None:
    found = sample_ratio({"matched": 640, "random": 180, "control": 180}, SHARES)
    assert found.p_value == pytest.approx(stats.chi2.sf(1600 / 600 + 400 / 200 + 400 / 200, 2))
    assert found.expected == pytest.approx({"matched": 600, "random": 200, "control": 200})


def test_few_customers_do_not_cry_wolf() -> None:
    """Chi-square gives p = 0.0003 here; two or more of 20 where each has 1 % happen once in sixty times."""
    found = sample_ratio({"matched": 18, "random": 2, "control": 0}, {"matched": 0.98, "random": 0.01, "control": 0.01})
    assert 0.01 < found.p_value < 0.1


def test_customers_in_an_arm_without_a_share_are_a_fault() -> None:
    assert sample_ratio({"matched": 9, "random": 9, "control": 1}, {"matched": 0.5, "random": 0.5, "control": 0}).faulty


def test_nobody_is_no_fault() -> None:
    assert sample_ratio({}, SHARES).p_value == 1.0
    assert sample_ratio({"control": 8}, {"matched": 0, "random": 0, "control": 1}).p_value == 1.0


def test_a_fault_withholds_every_lift_and_says_why() -> None:
    campaign = campaign_of({"matched": (600, 60), "random": (200, 10), "control": (120, 6)})
    rows = measure_lift(*campaign, SHARES)
    assert len(rows) == 8
    for row in rows:
        assert row.verdict.startswith("withheld: the arms of the campaign do not have the sizes they were given")
        assert "control 120 of 184.0 expected" in row.verdict
        assert row.sample_ratio_p < 0.001
        assert row.control_customers == 120
        figures = (row.matched, row.random, row.control, row.lift, row.lift_low, row.lift_high, row.p_value)
        assert set(figures) == {None}


def test_a_fault_in_one_segment_withholds_it_and_the_whole_and_leaves_the_others() -> None:
    random = np.random.default_rng(0)
    arms, segment_ids, converted, values = Campaign(20_000, SHARES).drawn(random)
    kept = ~((segment_ids == 2) & (arms == "control") & (random.random(len(arms)) < 0.3))
    rows = measure_lift(arms[kept], segment_ids[kept], converted[kept], values[kept], SHARES)
    withheld = {row.segment_id for row in rows if row.verdict.startswith("withheld: the arms of segment 2")}
    assert withheld == {None, 2}
    assert all(row.lift is not None for row in rows if row.segment_id not in withheld)


# --- the lift


def test_rows_are_the_whole_then_the_segments_each_metric_against_both_arms() -> None:
    rows = Campaign(3000, SHARES, segments=2).measured(np.random.default_rng(1))
    assert [(row.segment_id, row.metric, row.against) for row in rows] == [
        (segment, metric, against)
        for segment in (None, 1, 2)
        for metric in ("conversion", "value")
        for against in ("random", "control")
    ]
    for row in rows:
        other = row.random if row.against == "random" else row.control
        assert row.lift == pytest.approx(row.matched - other)
        assert row.lift_low < row.lift < row.lift_high
        assert (row.cap is None) == (row.metric == "conversion")


def test_everybody_assigned_counts_in_the_arm_assigned() -> None:
    rows = measure_lift(*campaign_of({"matched": (600, 90), "random": (200, 20), "control": (200, 10)}), SHARES)
    row = row_of(rows, None, "conversion", "control")
    assert (row.matched, row.random, row.control) == pytest.approx((0.15, 0.10, 0.05))
    assert (row.matched_customers, row.random_customers, row.control_customers) == (600, 200, 200)
    assert row.verdict.startswith("higher: 15.0 % against 5.0 % of control, +10.0 points (95 % interval +5.")


def test_a_lift_may_be_negative_and_is_said_so() -> None:
    rows = measure_lift(*campaign_of({"matched": (600, 12), "random": (200, 30), "control": (200, 4)}), SHARES)
    assert row_of(rows, None, "conversion", "random").verdict.startswith("lower: 2.0 % against 15.0 % of random")
    assert row_of(rows, None, "conversion", "control").verdict.startswith("no clear difference: ")


@given(st.integers(2, 400), st.integers(2, 400), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_intervals_are_newcombes_and_those_of_equal_values_the_same(n: int, m: int, a: float, b: float) -> None:
    x, y = round(a * n), round(b * m)
    shares = {"matched": n / (n + m), "random": 0.0, "control": m / (n + m)}
    rows = measure_lift(*campaign_of({"matched": (n, x), "control": (m, y)}, value=7.0), shares)
    assert {row.against for row in rows} == {"control"}
    conversion, value = row_of(rows, None, "conversion", "control"), row_of(rows, None, "value", "control")
    if x + y in (0, n + m):
        assert conversion.verdict.startswith("too few")
        return
    expected = confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff")
    assert (conversion.lift_low, conversion.lift_high) == pytest.approx(expected, abs=1e-12)
    assert (value.lift_low, value.lift_high) == pytest.approx(np.multiply(expected, 7.0), abs=1e-9)


def test_the_p_value_is_that_at_which_the_interval_reaches_zero() -> None:
    rows = measure_lift(*campaign_of({"matched": (600, 90), "random": (200, 20), "control": (200, 14)}), SHARES)
    for against, outcomes in (("random", 20), ("control", 14)):
        for metric in ("conversion", "value"):
            p_value = row_of(rows, None, metric, against).p_value
            low, _ = confint_proportions_2indep(90, 600, outcomes, 200, method="newcomb", alpha=p_value)
            assert low == pytest.approx(0.0, abs=1e-9)


def test_where_few_outcomes_are_expected_fishers_exact_test_decides() -> None:
    shares = {"matched": 0.5, "random": 0.0, "control": 0.5}
    rows = measure_lift(*campaign_of({"matched": (60, 5), "control": (60, 0)}), shares)
    row = row_of(rows, None, "conversion", "control")
    assert row.p_value == pytest.approx(stats.fisher_exact([[5, 55], [0, 60]]).pvalue)
    assert row.lift_low > 0
    assert row.verdict.startswith("no clear difference: ")
    assert row.verdict.endswith("the exact test does not confirm the interval")


def test_p_values_of_segments_are_holms_and_a_lone_interval_among_many_is_no_lift() -> None:
    drawn = [
        campaign_of({"matched": (300, 36 if s == 1 else 15), "random": (100, 5), "control": (100, 5)}) for s in range(8)
    ]
    arms, _, converted, values = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    rows = measure_lift(arms, np.repeat(np.arange(8), 500), converted, values, SHARES)
    row = row_of(rows, 1, "conversion", "control")
    assert row.lift_low > 0
    assert row.p_value < 0.05
    assert row.adjusted_p == pytest.approx(8 * row.p_value)
    assert row.verdict.startswith("no clear difference: ")
    assert row.verdict.endswith("among 8 segments one such interval is no surprise (Holm)")
    whole = row_of(rows, None, "conversion", "control")
    assert whole.adjusted_p == whole.p_value


def test_one_enormous_order_counts_as_the_cap_and_decides_nothing() -> None:
    arms, segment_ids, converted, values = campaign_of(
        {"matched": (600, 60), "random": (200, 20), "control": (200, 20)}
    )
    values[0] = 1e6
    row = row_of(measure_lift(arms, segment_ids, converted, values, SHARES, cap=50.0), None, "value", "control")
    assert row.cap == 50.0
    assert row.lift == pytest.approx(40 / 600)
    assert row.verdict.startswith("no clear difference: ")
    assert "values capped at 50.00" in row.verdict


def test_the_cap_is_the_99th_percentile_of_positive_values_over_all_arms_unless_declared() -> None:
    campaign = Campaign(5000, SHARES).drawn(np.random.default_rng(2))
    caps = {row.cap for row in measure_lift(*campaign, SHARES) if row.metric == "value"}
    assert caps == {float(np.quantile(campaign[3][campaign[3] > 0], 0.99))}


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"matched": (3, 1), "random": (1, 0), "control": (0, 0)}, "no customers in control"),
        ({"matched": (3, 1), "random": (0, 0), "control": (1, 1)}, "1 customer in control"),
        ({"matched": (6, 0), "random": (2, 0), "control": (2, 0)}, "no outcome in either arm"),
        ({"matched": (6, 6), "random": (2, 2), "control": (2, 2)}, "every customer has the same conversion"),
        ({"matched": (0, 0), "random": (0, 0), "control": (0, 0)}, "no customers in matched"),
    ],
)
def test_too_few_customers_or_outcomes_are_said_and_nothing_breaks(sizes: dict, said: str) -> None:
    row = row_of(measure_lift(*campaign_of(sizes), SHARES), None, "conversion", "control")
    assert row.verdict.startswith("too few: ")
    assert said in row.verdict
    assert row.lift is None
    assert row.p_value is None


@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
@settings(deadline=None, max_examples=60)
def test_any_campaign_gets_a_verdict_in_every_row(seed: int, customers: int, rate: float) -> None:
    for row in Campaign(customers, SHARES, segments=4, rate=rate).measured(np.random.default_rng(seed)):
        assert row.verdict.startswith(("higher", "lower", "no clear difference", "too few", "withheld"))
        if row.lift is not None:
            assert row.lift_low <= row.lift <= row.lift_high
            assert 0 <= row.p_value <= row.adjusted_p <= 1


@pytest.mark.parametrize(
    ("column", "bad", "said"),
    [
        (0, np.array(["matched", "holdout"]), "arms: 'holdout'"),
        (1, np.array([1, 2, 3]), "one row per customer"),
        (3, np.array([1.0, -1.0]), "values: every value"),
        (3, np.array([np.nan, 1.0]), "values: every value"),
        (2, np.array([True, False]), "values: a customer without an outcome"),
    ],
)
def test_impossible_customers_are_refused_by_name(column: int, bad: np.ndarray, said: str) -> None:
    columns = [np.array(["matched", "control"]), np.array([1, 1]), np.array([True, True]), np.array([1.0, 2.0])]
    columns[column] = bad
    with pytest.raises(ValueError, match=said):
        measure_lift(*columns, SHARES)


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="cap: "):
        measure_lift(*campaign_of({"matched": (6, 1)}), SHARES, cap=0.0)


# --- right as often as it says (benchmarks/campaign_coverage.py has the alternatives)


def noise(share: float, repeats: int = REPEATS) -> float:
    """Four standard errors of a share over the repeats: a sound program fails one test in 30,000."""
    return 4 * np.sqrt(share * (1 - share) / repeats)


@pytest.mark.parametrize(
    ("control", "planted"),
    [(0.1, {}), (0.3, {"points": 0.03, "factor": 1.3})],
    ids=["no lift, small arms", "a lift"],
)
def test_intervals_cover_the_truth_and_no_lift_is_claimed_where_there_is_none(control: float, planted: dict) -> None:
    shares = {"matched": 1 - 2 * control, "random": control, "control": control}
    campaign, random = Campaign(4000, shares, **planted), np.random.default_rng(5)
    repeats = [campaign.measured(random) for _ in range(REPEATS)]
    for metric in ("conversion", "value"):
        rows = [row for rows in repeats for row in rows if (row.metric, row.against) == (metric, "control")]
        measured = [row for row in rows if row.lift is not None]
        for whole in (True, False):
            right = [
                covers(row, campaign.true_lift(metric, row.cap))
                for row in measured
                if (row.segment_id is None) == whole
            ]
            assert np.mean(right) >= 0.95 - noise(0.95)
        if not planted:
            claims = np.array([claimed(row) for row in rows]).reshape(REPEATS, -1)
            assert claims[:, 0].mean() <= 0.05 + noise(0.05)
            assert claims[:, 1:].any(axis=1).mean() <= 0.05 + noise(0.05)


def test_lost_customers_are_caught_and_an_intact_campaign_is_not_withheld() -> None:
    random = np.random.default_rng(6)
    for lost, at_least, at_most in ((0.0, 0.0, 0.02), (0.1, 0.95, 1.0)):
        campaign = Campaign(20_000, {"matched": 0.4, "random": 0.3, "control": 0.3}, lost=lost)
        withheld = [campaign.measured(random)[0].verdict.startswith("withheld") for _ in range(60)]
        assert at_least <= np.mean(withheld) <= at_most


# --- before it starts


@pytest.mark.parametrize("sizes", [(2000, 2000), (4000, 800)])
def test_a_lift_of_the_detectable_size_is_found_four_times_in_five(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(7)
    effect = minimum_detectable_effect(sizes, base_rate=0.05)
    assert effect is not None
    shares = {"matched": sizes[0] / sum(sizes), "random": 0.0, "control": sizes[1] / sum(sizes)}
    campaign = Campaign(sum(sizes), shares, segments=1, points=effect)
    found = np.mean([claimed(campaign.measured(random)[0]) for _ in range(REPEATS)])
    assert 0.7 < found < 0.9


def test_a_value_of_the_detectable_size_is_found_about_as_often() -> None:
    random = np.random.default_rng(8)
    usual, sizes = Campaign(4000, {"matched": 0.5, "random": 0.0, "control": 0.5}, segments=1), (2000, 2000)
    values = np.concatenate([usual.drawn(random)[3] for _ in range(50)])
    values = np.minimum(values, np.quantile(values[values > 0], 0.99))
    effect = minimum_detectable_effect(sizes, base_value=(float(values.mean()), float(values.std())))
    assert effect is not None
    planted = replace(usual, points=effect / float(values[values > 0].mean()))
    found = np.mean([claimed(planted.measured(random)[1]) for _ in range(REPEATS)])
    assert 0.7 < found < 0.9


def test_a_detectable_value_is_in_the_unit_of_the_values() -> None:
    share = minimum_detectable_effect(500, base_rate=0.04)
    assert share is not None
    for price in (0.01, 7.0, 1e6):
        of_one_price = (0.04 * price, price * (0.04 * 0.96) ** 0.5)
        assert minimum_detectable_effect(500, base_value=of_one_price) == pytest.approx(share * price)


def test_a_segment_among_many_can_detect_less() -> None:
    assert minimum_detectable_effect(500, base_rate=0.05, alpha=0.05 / 8) > minimum_detectable_effect(
        500, base_rate=0.05
    )


def test_what_no_lift_could_show_is_none() -> None:
    assert minimum_detectable_effect(2, base_rate=0.5) is None
    assert minimum_detectable_effect((1, 1000), base_rate=0.5) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"base_rate": 0.1, "base_value": (1.0, 1.0)},
        {"base_rate": 1.0},
        {"base_value": (1.0, -1.0)},
        {"base_value": (0.0, 1.0)},
        {"base_rate": 0.1, "alpha": 0.9},
    ],
)
def test_a_detectable_effect_of_nonsense_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        minimum_detectable_effect(100, **arguments)
