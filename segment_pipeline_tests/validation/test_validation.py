"""The figures of a month's validation, on customers of whom the truth is known."""

import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline.config.config import parse_config
from segment_pipeline.mixture.candidates import Hurdle, Mixture, fit_mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.validation.figures import METRICS, Figure, Missing
from segment_pipeline.validation.fit import (
    Overlap,
    heldout_fit,
    separation,
    stability_over_seeds,
    stability_over_time,
)
from segment_pipeline.validation.prediction import (
    Followed,
    Hybrids,
    Outcome,
    calibration,
    hybrid_spend,
    log_odds,
    ratio_of_means,
    silence_power,
    silence_predicted,
    spend_power,
    spend_predicted,
)
from segment_pipeline.validation.validation import Evidence, validate

MONTH = date(2023, 5, 1)
UNKNOWN = Missing("nobody knows.")
CONFIG = """
name: simulated
first_month: 2020-01
source: {snapshots: {path: "{month}.csv", customer_id: id}}
features: [{name: x}, {name: y}]
"""


def the(figures: list[Figure], metric: str, subject: str = "") -> Figure:
    (found,) = [figure for figure in figures if (figure.metric, figure.subject) == (metric, subject)]
    return found


def a_champion(means: list[list[float]], variance: float = 1.0) -> SegmentModel:
    """Round segments of equal size in a space that leaves the features x and y as they are; ids 3, 4, 5, ..."""
    k = len(means)
    space = FeatureSpace(("x", "y"), ("none", "none"), (0.01, 0.01), np.zeros(2), np.ones(2), np.full(2, 1e-4))
    mixture = Mixture(np.full(k, 1 / k), np.array(means), np.broadcast_to(variance * np.eye(2), (k, 2, 2)).copy())
    segments = tuple(Segment(3 + i, f"name {3 + i}", None) for i in range(k))
    return SegmentModel(1, MONTH, space, mixture, segments, atypical_below=-20.0)


# --- does it fit? -----------------------------------------------------------------------------------------------------


def gap_of(mixture: Mixture, Z: np.ndarray, seed: int = 0) -> Figure:
    return the(heldout_fit(mixture, Z, None, np.full(Z.shape[1], 1e-4), seed, max_gap=0.1), "heldout_gap")


def test_a_model_with_too_many_segments_for_its_customers_has_a_large_gap_and_one_with_enough_a_small_one():
    Z = np.random.default_rng(1).normal(size=(4000, 3))
    few, some = Z[:250], Z[:500]
    overfitted, modest, enough = (
        [gap_of(mixture, rows, seed) for seed in range(5)]
        for rows, mixture in ((few, fit_mixture(few, 8)), (some, fit_mixture(some, 2)), (Z, fit_mixture(Z, 8)))
    )
    mean_gaps = [np.mean([gap.value for gap in gaps]) for gaps in (overfitted, modest, enough)]
    assert mean_gaps[0] > 0.1 > mean_gaps[1] > mean_gaps[2] > 0
    failed = [gap for gap in overfitted if not gap.passed]
    assert len(failed) >= 3
    assert all("too many segments for so few customers" in gap.sentence for gap in failed)
    assert all(gap.passed for gap in enough)


def test_the_sentence_of_the_gap_gives_the_raw_difference_and_what_was_taken_off():
    figures = heldout_fit(
        fit_mixture(Z := np.random.default_rng(3).normal(size=(500, 2)), 2), Z, None, np.full(2, 1e-4), 0, 0.1
    )
    raw = the(figures, "train_log_likelihood").value - the(figures, "heldout_log_likelihood").value
    gap = the(figures, "heldout_gap")
    assert abs(raw - gap.value) > 0.01  # chance is more than the gap here, so that to tell both matters
    for words in (
        f"that it has seen {raw:.3f} nats better than one that it has not",
        f"By chance it would be {raw - gap.value:.3f} nats better",
        f"Having seen them makes it {gap.value:.3f} nats better",
    ):
        assert words in gap.sentence


def test_the_gap_is_that_of_theory_and_does_not_depend_on_who_was_left_out():
    """A Gaussian of p parameters owes p / n nats to having seen its n customers (Akaike 1974): 9 / 400 here. The plain
    difference of the two likelihoods has a standard deviation of 0.14 over these splits."""
    random = np.random.default_rng(2)
    gaps = []
    for seed in range(60):
        Z = random.normal(size=(500, 3))
        fitted = Mixture(np.ones(1), Z.mean(axis=0)[None], np.cov(Z.T)[None])
        gaps.append(gap_of(fitted, Z, seed).value)
    assert np.mean(gaps) == pytest.approx(9 / 400, abs=0.006)
    assert np.std(gaps) < 0.03


def test_likelihoods_are_those_of_the_customers_that_each_names():
    Z = np.random.default_rng(3).normal(size=(5000, 2))
    figures = heldout_fit(fit_mixture(Z, 1), Z, None, np.full(2, 1e-4), 0, 0.1, log_jacobian=-2.0)
    entropy = -(1 + math.log(2 * math.pi)) - 2.0  # mean log density of a standard Gaussian in the plane
    for metric, customers in (("heldout_log_likelihood", "1,000"), ("train_log_likelihood", "4,000")):
        found = the(figures, metric)
        assert found.low < entropy < found.high
        assert customers in found.sentence


def test_with_a_memory_customers_are_as_likely_as_what_is_expected_of_them_makes_them():
    """Nine in ten are where they were expected: two Gaussians that overlap, of which the champion knows one poorly."""
    random = np.random.default_rng(5)
    segment = random.integers(2, size=6000)
    Z = random.normal(size=(6000, 2)) + segment[:, None] * 2.0
    as_expected = random.random(6000) < 0.9
    prior = np.where((segment[:, None] == np.arange(2)) == as_expected[:, None], 0.9, 0.1)
    shifted = Mixture(np.full(2, 0.5), np.array([[0.4, 0.4], [2.0, 2.0]]), np.array([np.eye(2)] * 2))
    true = replace(shifted, means=np.array([[0.0, 0.0], [2.0, 2.0]]))
    figures = heldout_fit(shifted, Z, None, np.full(2, 1e-4), 0, 0.1, prior=prior)
    for metric in ("heldout_log_likelihood", "train_log_likelihood"):
        assert the(figures, metric).low < true.log_likelihood(Z, prior=prior).mean() < the(figures, metric).high
    assert abs(the(figures, "heldout_gap").value) < 0.02
    assert the(figures, "train_log_likelihood").value > true.log_likelihood(Z).mean() + 0.2


def test_a_segment_by_rule_is_fitted_again_as_one():
    random = np.random.default_rng(4)
    Z = random.normal(size=(1000, 2))
    Z[:400, 0] = -3.0
    hurdle = Hurdle(0, 0, -3.05, -3.0, -2.95)
    mixture = Mixture(
        np.array([0.4, 0.6]),
        np.array([[-3.0, 0.0], [0.0, 0.0]]),
        np.array([np.diag([0.001, 1.0]), np.eye(2)]),
        hurdle,
    )
    assert gap_of(mixture, Z).passed
    nobody = heldout_fit(mixture, Z[400:], None, np.full(2, 1e-4), 0, 0.1)
    assert [figure.value for figure in nobody] == [None] * 3
    assert "applies to 0 of 480 customers" in nobody[0].sentence


# --- is it stable? ----------------------------------------------------------------------------------------------------


def test_the_same_segments_in_another_order_are_stable_and_a_random_division_is_not():
    R = np.random.default_rng(5).dirichlet([0.2] * 4, size=2000)
    same = stability_over_time(Overlap(R, R[:, [2, 0, 3, 1]], (1, 2, 5, 9)), 0.5)
    assert [figure.subject for figure in same] == ["", "1", "2", "5", "9"]
    assert all(figure.value == pytest.approx(1.0) and figure.passed for figure in same)
    other = the(stability_over_time(Overlap(R, np.roll(R, 1, axis=0), (1, 2, 5, 9)), 0.5), "stability_over_time")
    assert not other.passed
    assert "gives other segments" in other.sentence


def test_a_segment_without_a_counterpart_says_so():
    R = np.repeat(np.eye(3), [50, 30, 20], axis=0)
    merged = np.column_stack([R[:, 0] + R[:, 1], R[:, 2]])
    figures = stability_over_time(Overlap(R, merged, (1, 2, 3)), 0.5)
    assert the(figures, "stability_over_time", "1").value == pytest.approx(50 / 80)
    assert "no counterpart" in the(figures, "stability_over_time", "2").sentence
    assert the(figures, "stability_over_time").value == pytest.approx(0.5 * 50 / 80 + 0.2)


def test_stability_over_seeds_is_held_against_its_limit():
    assert stability_over_seeds(0.93, 0.8)[0].passed
    assert not stability_over_seeds(0.7, 0.8)[0].passed


# --- are the segments different? --------------------------------------------------------------------------------------


def test_of_two_segments_that_nearly_coincide_a_merge_is_suggested_and_of_others_not():
    champion = a_champion([[0.0, 0.0], [1.2, 0.3], [6.0, 0.0]])
    random = np.random.default_rng(6)
    truth = random.integers(0, 3, 6000)
    X = champion.mixture.means[truth] + random.normal(size=(6000, 2))
    figures = separation(champion, champion.responsibilities(X), 0.6)
    close = the(figures, "separation", "3-4")
    assert close.value == pytest.approx((1.2**2 + 0.3**2) / 8)
    assert not close.passed
    assert "Segments 3 (name 3) and 4 (name 4) overlap by 0.83" in close.sentence
    assert "differ most in x, by 1.2 standard deviations" in close.sentence
    assert "Consider merging them" in close.sentence
    for pair in ("3-5", "4-5"):
        assert the(figures, "separation", pair).passed
        assert "merging" not in the(figures, "separation", pair).sentence
    likeliest = champion.responsibilities(X).argmax(axis=1)
    wrong = float(np.mean(likeliest != truth))
    assert the(figures, "misclassification").value == pytest.approx(wrong, abs=0.02)
    either = likeliest < 2
    assert the(figures, "misclassification", "3-4").value == pytest.approx(
        float(np.mean((likeliest != truth)[either & (truth < 2)]) * np.mean(truth[either] < 2)), abs=0.02
    )


def test_a_segment_by_rule_is_told_apart_without_doubt_and_empty_segments_divide_nothing():
    champion = a_champion([[0.0, 0.0], [4.0, 0.0], [8.0, 0.0]])
    champion = replace(champion, mixture=replace(champion.mixture, hurdle=Hurdle(0, 0, -0.1, 0.0, 0.1)))
    figures = separation(champion, np.tile([1.0, 0.0, 0.0], (10, 1)), 0.6)
    assert the(figures, "separation", "3-4").value is None
    assert "a rule tells them apart" in the(figures, "separation", "3-4").sentence
    assert the(figures, "separation", "4-5").passed
    assert the(figures, "misclassification", "4-5").value is None


# --- do they predict anything? ----------------------------------------------------------------------------------------


def habits(n: int = 3000, seed: int = 7) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Features and memberships of two overlapping habits, which the first feature tells apart and the second, which has
    the larger spread and so rules k-means, does not."""
    random = np.random.default_rng(seed)
    habit = random.random(n) < 0.5
    Z = np.column_stack([habit * 2.0 + random.normal(size=n), 6 * random.normal(size=n)])
    p = 1 / (1 + np.exp(-2 * (Z[:, 0] - 1)))
    return Z, np.column_stack([1 - p, p]), random


def test_memberships_that_know_more_than_kmeans_and_recency_are_found_to():
    Z, R, random = habits()
    silent = random.random(len(R)) < 0.1 + 0.5 * R[:, 1]
    figures = silence_predicted(Outcome(MONTH, Z, R, random.exponential(30, len(R)), silent), 0, 0.01)
    own = the(figures, "silence_auc", "memberships")
    assert own.passed
    assert own.low > 0.6
    for rival in ("k-means", "recency"):
        assert abs(the(figures, "silence_auc", rival).value - 0.5) < 0.05
        gain = the(figures, "silence_auc_gain", rival)
        assert gain.value == pytest.approx(own.value - the(figures, "silence_auc", rival).value)
        assert gain.passed
        assert gain.low > 0
        assert "Memberships predict more" in gain.sentence


def test_where_recency_alone_knows_more_it_is_said_that_it_would_do():
    Z, R, random = habits()
    recency = random.exponential(30, len(R))
    silent = random.random(len(R)) < 1 / (1 + np.exp(-(np.log1p(recency) - 3.5) * 2))
    figures = silence_predicted(Outcome(MONTH, Z, R, recency, silent), 0, 0.01)
    gain = the(figures, "silence_auc_gain", "recency")
    assert not gain.passed
    assert "for this purpose recency would do" in gain.sentence
    assert not the(figures, "silence_auc", "memberships").passed


def test_spend_is_explained_as_far_as_it_was_planted():
    Z, R, random = habits(20_000)
    planted = 0.3 * log_odds(R)[:, 1]
    noise = float(planted.std())  # half of the variance
    spend = np.expm1(8 + planted + noise * random.normal(size=len(R)))
    figures = spend_predicted(Outcome(MONTH, Z, R, None, spend), 0, 0.01)
    own = the(figures, "spend_r2", "memberships")
    assert own.low < 0.5 < own.high
    assert {figure.subject for figure in figures} == {"memberships", "k-means", "features"}


def test_what_segments_leave_out_of_the_features_is_told_and_is_no_failure():
    """Silence goes by the second feature, of which the memberships know nothing."""
    Z, R, random = habits()
    silent = random.random(len(R)) < 1 / (1 + np.exp(-0.3 * Z[:, 1]))
    figures = silence_predicted(Outcome(MONTH, Z, R, None, silent), 0, 0.01)
    gain = the(figures, "silence_auc_gain", "features")
    assert the(figures, "silence_auc", "features").value > 0.8
    assert gain.value == pytest.approx(
        the(figures, "silence_auc", "memberships").value - the(figures, "silence_auc", "features").value
    )
    assert gain.high < -0.01
    assert (gain.threshold, gain.passed) == (None, None)
    assert gain.sentence.endswith("segments are for acting and explaining, features for predicting.")


def test_memberships_that_say_all_that_there_is_to_say_lose_nothing_against_the_features():
    Z, R, random = habits()
    silent = random.random(len(R)) < 0.1 + 0.5 * R[:, 1]
    gain = the(silence_predicted(Outcome(MONTH, Z, R, None, silent), 0, 0.01), "silence_auc_gain", "features")
    assert abs(gain.value) < 0.01


def test_differences_among_tiny_memberships_predict_too():
    """Silence goes by the odds of a segment that is hardly anybody's likeliest: on the scale of probabilities it all
    but vanishes beside the doubt between the two others."""
    random = np.random.default_rng(15)
    rare = 10 ** random.uniform(-3, -1, 4000)
    first = random.uniform(0.0, 1.0, 4000) * (1 - rare)
    R = np.column_stack([first, 1 - rare - first, rare])
    silent = random.random(4000) < 1 / (1 + np.exp(-1.5 * (np.log10(rare) + 2)))
    figures = silence_predicted(Outcome(MONTH, random.normal(size=(4000, 2)), R, None, silent), 0, 0.01)
    known = silence_power(np.log(rare)[:, None], silent, 0)
    assert the(figures, "silence_auc", "memberships").value == pytest.approx(known.value, abs=0.005)


def test_memberships_of_0_and_1_have_finite_log_odds():
    R = np.array([[0.0, 1.0], [0.5, 0.5]])
    assert log_odds(R) == pytest.approx(np.array([[-6.907, 6.907], [0.0, 0.0]]), abs=0.001)


@pytest.mark.parametrize("kind", ["auc", "r2"])
def test_the_errors_of_both_powers_are_their_spread_over_repeats(kind):
    values, errors = [], []
    for seed in range(50):
        random = np.random.default_rng(seed)
        x = random.normal(size=(500, 1))
        if kind == "auc":
            found = silence_power(x, random.random(500) < 1 / (1 + np.exp(2 - x[:, 0])), 0)
        else:
            found = spend_power(x, np.exp(x[:, 0] + random.normal(size=500)), 0)
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


def test_too_few_silent_customers_are_a_reason_and_no_figure():
    Z, R, _ = habits(500)
    silent = np.arange(500) < 24
    figures = silence_predicted(Outcome(MONTH, Z, R, None, silent), 0, 0.01)
    assert [figure.value for figure in figures] == [None, None]
    assert "24 of 500 customers of 2023-05 kept silent; at least 25 of either kind are needed" in figures[0].sentence


# --- do the probabilities come true? ----------------------------------------------------------------------------------


def drawn(random: np.random.Generator, R: np.ndarray) -> np.ndarray:
    """A segment for each customer, drawn by its probabilities."""
    return (R.cumsum(axis=1) > random.random((len(R), 1))).argmax(axis=1)


def test_probabilities_that_come_true_are_found_calibrated():
    random = np.random.default_rng(8)
    R = random.dirichlet([0.5, 0.3, 0.4], size=5000)
    figures = calibration(Followed(R, drawn(random, R), (1, 2, 3)), 0.1)
    assert all(figure.passed for figure in figures if figure.metric == "calibration_error")
    assert the(figures, "calibration_error").value < 0.03
    assert "can be read as a forecast" in the(figures, "calibration_error").sentence
    for figure in figures:
        if figure.metric == "calibrated_share":
            low, high = map(float, figure.subject.split("-"))
            assert figure.low < high
            assert figure.high > low


def test_certainty_that_comes_true_in_six_cases_of_ten_is_found_out():
    random = np.random.default_rng(9)
    R = np.tile([0.9, 0.1], (4000, 1))
    figures = calibration(Followed(R, (random.random(4000) < 0.4).astype(np.intp), (1, 2)), 0.1)
    whole = the(figures, "calibration_error")
    assert not whole.passed
    assert whole.value == pytest.approx(0.3, abs=0.02)
    share = the(figures, "calibrated_share", "0.9-1.0")
    assert share.low < 0.6 < share.high
    assert f"{100 * share.value:.0f} % were in that segment a month later" in whole.sentence


def test_below_the_alarm_memberships_are_no_forecast_where_one_tenth_does_not_come_true():
    random = np.random.default_rng(14)
    R = np.vstack([random.dirichlet([2.0, 2.0], size=5000), np.tile([0.96, 0.04], (700, 1))])
    now = drawn(random, R)
    now[5000:] = random.random(700) > 0.63
    whole = the(calibration(Followed(R, now, (1, 2)), 0.2), "calibration_error")
    assert whole.passed
    assert whole.value < 0.1
    assert "forecast" not in whole.sentence
    assert "a membership says where a customer is, not where it will be" in whole.sentence
    assert "Memberships of 0.05 or more" in whole.sentence


# --- are hybrids worth more? ------------------------------------------------------------------------------------------


def test_the_interval_of_the_ratio_holds_the_truth_in_95_of_100_repeats():
    random = np.random.default_rng(10)
    held = 0
    for _ in range(1000):
        x, y = 1.2 * random.lognormal(0.0, 0.9, 300), random.lognormal(0.0, 0.9, 900)
        _, low, high = ratio_of_means(x, y)
        held += low <= 1.2 <= high
    assert 0.925 <= held / 1000 <= 0.975


@pytest.mark.parametrize(
    ("planted", "verdict"),
    [
        (0.9, r"Hybrid customers spend \d+ % less than .* \(95 % interval: \d+ % less to \d+ % less\)\.$"),
        (1.5, r"Hybrid customers spend \d+ % more than .* \(95 % interval: \d+ % more to \d+ % more\)\.$"),
    ],
)
def test_what_hybrids_spend_is_told_with_its_interval(planted, verdict):
    random = np.random.default_rng(11)
    is_hybrid = np.arange(20_000) % 4 == 0
    spend = random.gamma(4, 10, 20_000) * np.where(is_hybrid, planted, 1.0)
    found = the(hybrid_spend(Hybrids(spend, is_hybrid, ~is_hybrid)), "hybrid_spend_ratio")
    assert found.low < planted < found.high
    assert found.passed is None
    assert re.search(verdict, found.sentence), found.sentence


def test_a_difference_that_few_customers_cannot_show_is_not_told_as_one():
    random = np.random.default_rng(12)
    few = np.arange(200) % 4 == 0
    found = the(hybrid_spend(Hybrids(random.lognormal(3, 1, 200), few, ~few)), "hybrid_spend_ratio")
    assert found.low < 1 < found.high
    assert "spend about as much as" in found.sentence
    none = np.zeros(200, dtype=bool)
    nobody = the(hybrid_spend(Hybrids(random.lognormal(3, 1, 200), none, ~none)), "hybrid_spend_ratio")
    assert nobody.value is None
    assert "0 hybrid customers and 200 others" in nobody.sentence


def test_hybrids_are_compared_with_all_others_and_with_those_of_a_single_segment():
    random = np.random.default_rng(16)
    kind = np.arange(20_000) % 4  # hybrid, single, single, in between
    spend = random.gamma(4, 10, 20_000) * np.array([1.5, 1.0, 1.0, 2.5])[kind]
    everybody, single = hybrid_spend(Hybrids(spend, kind == 0, (kind == 1) | (kind == 2)))
    assert (everybody.subject, single.subject) == ("", "dominant")
    assert everybody.low < 1.0 < everybody.high
    assert single.low < 1.5 < single.high
    assert "as all others (" in everybody.sentence
    assert "than customers of a single segment (tier dominant) (" in single.sentence
    _, nobody = hybrid_spend(Hybrids(spend, kind == 0, np.zeros(20_000, dtype=bool)))
    assert (nobody.subject, nobody.value) == ("dominant", None)
    assert nobody.sentence.startswith("Not computed: 5,000 hybrid customers and 0 of a single segment")


# --- all together -----------------------------------------------------------------------------------------------------


def test_a_month_of_which_little_is_known_has_every_metric_and_says_why():
    champion = a_champion([[0.0, 0.0], [4.0, 0.0]])
    X = np.random.default_rng(13).normal(size=(400, 2)) * 3
    ids = np.array([f"c{i}" for i in range(400)])
    memberships = champion.responsibilities(X)
    unknown = (UNKNOWN,) * 6
    evidence = Evidence(MONTH, champion, champion.space, ids, X, None, memberships, *unknown)
    config = parse_config(CONFIG, Path("simulated.yaml"))
    figures = validate(evidence, config)
    assert tuple(dict.fromkeys(figure.metric for figure in figures if figure.value is None)) == (
        "stability_over_seeds",
        "stability_over_time",
        "silence_auc",
        "silence_auc_gain",
        "spend_r2",
        "spend_r2_gain",
        "calibration_error",
        "calibrated_share",
        "hybrid_spend_ratio",
    )
    assert {figure.metric for figure in figures} == set(METRICS)
    for figure in figures:
        assert (figure.value is None) == figure.sentence.startswith("Not computed: ")
        assert figure.value is not None or figure.passed is None
    assert validate(evidence, config) == figures
