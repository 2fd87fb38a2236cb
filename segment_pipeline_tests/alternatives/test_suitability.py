"""The verdict names what the data were made for, and says why with figures."""

from functools import cache

import numpy as np
import pytest

from segment_pipeline.alternatives.alternatives import Comparison, Customers, compare
from segment_pipeline.alternatives.suitability import Suitability, _thresholds, judge_suitability
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.challengers import fit_challengers, nothing_to_describe
from segment_pipeline_tests.mixture.known_structures import KINDS, Known, champion_of, overlapping_gaussians
from segment_pipeline_tests.remembered_worlds import config
from segment_pipeline_tests.simulated_customers import FEATURES

SEEDS = (41, 42, 43)
"""None of them was looked at when the thresholds were chosen (0 to 13 were)."""


def customers_of(known: Known, total: int | None = None) -> Customers:
    columns = range(0 if known.categories is None else known.categories.shape[1])
    return Customers(
        known.Z,
        len(known.Z) if total is None else total,
        rules=known.rules,
        categories={f"answer {j}": known.categories[:, j] for j in columns},
    )


@cache
def judged(kind: str, seed: int) -> tuple[Mixture, Comparison, Suitability]:
    known = KINDS[kind](seed)
    champion, customers = champion_of(known), customers_of(known)
    comparison = compare(customers, champion, [f"feature {j}" for j in range(known.X.shape[1])])
    return champion, comparison, judge_suitability(customers, champion, comparison)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_data_made_for_an_alternative_get_its_verdict(kind, seed):
    _, _, suitability = judged(kind, seed)
    assert suitability.verdict == kind, suitability.reason


@pytest.mark.parametrize(("seed", "n", "d"), [(41, 2000, 3), (42, 900, 2), (43, 3000, 5)])
@pytest.mark.parametrize("shape", ["uniform", "one Gaussian"])
def test_customers_without_any_structure_have_no_segments(shape, seed, n, d):
    random = np.random.default_rng((seed, 7))
    X = random.uniform(size=(n, d)) if shape == "uniform" else random.normal(size=(n, d))
    known = Known(X, np.zeros(n, dtype=np.intp))
    champion, customers = champion_of(known), customers_of(known)
    suitability = judge_suitability(customers, champion, compare(customers, champion, list("abcde")[:d]))
    assert suitability.verdict == "no_segments", suitability.findings
    assert "No segments here" in suitability.reason
    told = {"uniform": "At the borders between segments", "one Gaussian": "that of a single Gaussian"}
    assert told[shape] in suitability.reason


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", ["any day of the year", "skewed counts"])
def test_one_crowd_that_is_no_gaussian_has_no_segments(shape, seed):
    """BIC against one Gaussian said seven segments: features are cut to pieces where they are level or skewed."""
    random = np.random.default_rng((seed, 9))
    X = random.normal(size=(2000, 2))
    if shape == "any day of the year":
        X[:, 0] = random.integers(1, 366, 2000)
    else:
        X = np.log1p(1 + random.poisson(np.exp(0.5 + 0.8 * X)))
    known = Known(X, np.zeros(2000, dtype=np.intp))
    champion, customers = champion_of(known), customers_of(known)
    suitability = judge_suitability(customers, champion, compare(customers, champion, ["a", "b"]))
    assert suitability.verdict == "no_segments", suitability.findings
    gain = next(one for one in suitability.findings if one.finding == "one_crowd_suffices")
    assert gain.holds
    worse = f"{-gain.value:.2f} nats worse" if gain.value < 0 else f"{gain.value:.2f} nats better"
    assert f"{worse} than one crowd" in gain.sentence


def test_a_mixture_of_groups_is_better_than_one_crowd_by_the_figure_in_the_reason():
    _, _, suitability = judged("mixture", SEEDS[0])
    gain = next(one for one in suitability.findings if one.finding == "one_crowd_suffices")
    assert gain.value > gain.threshold > 0
    assert f"it has not seen {gain.value:.2f} nats better than one crowd" in suitability.reason


def test_the_reason_tells_the_figures_of_the_findings_that_hold():
    _, comparison, suitability = judged("k_means_would_serve", SEEDS[0])
    findings = {finding.finding: finding for finding in suitability.findings}
    assert findings["k_means_agrees"].holds
    assert findings["k_means_agrees"].value == comparison.of("k_means").agreement
    assert findings["nobody_is_in_doubt"].sentence in suitability.reason
    assert findings["k_means_agrees"].sentence in suitability.reason


def test_a_finding_without_anything_to_measure_has_no_figure_and_does_not_hold():
    _, _, suitability = judged("mixture", SEEDS[0])
    findings = {finding.finding: finding for finding in suitability.findings}
    assert findings["classes_in_the_answers"].value is None
    assert not findings["classes_in_the_answers"].holds


def test_fewer_than_500_customers_are_too_few_whatever_their_structure():
    known = overlapping_gaussians(SEEDS[0])
    few = Known(known.X[:499], known.truth[:499])
    champion, customers = champion_of(few, most=4), customers_of(few)
    comparison = compare(customers, champion, [f"feature {j}" for j in range(few.X.shape[1])])
    suitability = judge_suitability(customers, champion, comparison)
    assert suitability.verdict == "too_few_customers"
    assert "499" in suitability.reason


def test_a_sample_of_a_large_month_is_not_too_few():
    known = overlapping_gaussians(SEEDS[0])
    few = Known(known.X[:499], known.truth[:499])
    champion, customers = champion_of(few, most=4), customers_of(few, total=1_000_000)
    comparison = compare(customers, champion, [f"feature {j}" for j in range(few.X.shape[1])])
    assert judge_suitability(customers, champion, comparison).verdict != "too_few_customers"


def test_outliers_that_dominate_point_to_dbscan():
    random = np.random.default_rng(4)
    balls = np.repeat([[0.0, 0.0, 0.0], [9.0, 0.0, 2.0], [0.0, 9.0, -3.0]], 700, axis=0) + random.normal(size=(2100, 3))
    known = Known(np.vstack([balls, random.uniform(-8, 16, size=(600, 3))]), np.zeros(2700, dtype=np.intp))
    champion, customers = champion_of(known), customers_of(known)
    suitability = judge_suitability(customers, champion, compare(customers, champion, list("abc")))
    findings = {finding.finding: finding for finding in suitability.findings}
    assert findings["outliers_dominate"].value == pytest.approx(600 / 2700, abs=0.04)
    assert suitability.verdict == "density_based"


def test_a_users_rule_that_gives_the_segments_would_do():
    known = KINDS["mixture"](SEEDS[1])
    champion = champion_of(known)
    labels = champion.log_joint(known.Z).argmax(axis=1)
    customers = Customers(known.Z, len(known.Z), rules={"house": labels})
    comparison = compare(customers, champion, [f"feature {j}" for j in range(known.X.shape[1])])
    suitability = judge_suitability(customers, champion, comparison)
    assert suitability.verdict == "rules_would_do"
    assert "rule: house" in suitability.reason


def test_features_of_two_values_each_leave_nothing_to_describe():
    Z = np.random.default_rng(0).integers(0, 2, size=(1000, 3)).astype(float)
    assert "no feature (a, b, c) takes more than two values" in (nothing_to_describe(["a", "b", "c"], Z) or "")
    Z[0, 1] = 2.0
    assert nothing_to_describe(["a", "b", "c"], Z) is None


def test_a_month_of_such_features_gets_no_fit_and_is_told_why():
    settings = config(FEATURES)
    X = np.random.default_rng(0).integers(0, 2, size=(1000, 3)).astype(float)
    space = FeatureSpace.fit(settings.features, X)
    found = fit_challengers(space, X, [str(i) for i in range(1000)], settings)
    assert found.candidates == []
    assert "no feature (x, y, z) takes more than two values" in found.choice.rationale


@pytest.mark.parametrize(
    ("segments", "said"), [(2, "1 threshold on single features gives"), (3, "2 thresholds on single features give ")]
)
def test_one_threshold_is_one(segments, said):
    Z = np.random.default_rng(0).normal(size=(300, 2))
    labels = np.minimum((Z[:, 0] > 0) + (Z[:, 0] > 1), segments - 1)
    assert _thresholds(Z, labels, segments)[0].sentence.startswith(said)
