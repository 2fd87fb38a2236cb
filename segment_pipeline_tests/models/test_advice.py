"""What the rationale adds for a person: segments that nearly coincide, and values that too many customers share."""

import numpy as np

from segment_pipeline.config.model import ModelSettings
from segment_pipeline.config.source import Feature
from segment_pipeline.mixture.candidates import Candidate, Mixture
from segment_pipeline.mixture.features import FeatureSpace, atom_advice, diagnose_features
from segment_pipeline.models.advice import close_pairs, merge_advice, spoiling_advice
from segment_pipeline.models.selection import choose

NAMES = ("orders", "value")


def three(apart: float) -> Mixture:
    """Two components this many deviations apart in value, and a third far from both."""
    means = np.array([[0.0, 0.0], [0.0, apart], [6.0, 0.0]])
    return Mixture(np.array([0.3, 0.2, 0.5]), means, np.array([np.eye(2)] * 3))


def test_a_close_pair_is_named_by_its_shares_and_what_sets_it_apart() -> None:
    (pair,) = close_pairs(three(1.0), NAMES)
    assert (pair.first, pair.second, pair.apart_in) == (0, 1, "value")
    assert pair.overlap == np.exp(-1 / 8)
    assert pair.share == 0.5
    advice = merge_advice(three(1.0), NAMES)
    for words in ("could be treated as one", "30 % and 20 %", "overlap 0.88", "most in value, by 1.0"):
        assert words in advice


def test_well_separated_segments_need_no_advice() -> None:
    assert merge_advice(three(4.0), NAMES) == ""


def diagnostics(share: float) -> list:
    random = np.random.default_rng(0)
    orders = np.where(np.arange(1000) < 1000 * share, 1.0, 2.0 + random.poisson(6.0, 1000))
    X = np.column_stack([orders, random.normal(50.0, 10.0, 1000)])
    space = FeatureSpace.fit([Feature(name=name) for name in NAMES], X)
    return diagnose_features(space, X, space.transform(X))


def test_a_value_of_more_than_forty_percent_is_told_with_its_share() -> None:
    assert "45 % of the customers have orders = 1:" in atom_advice(diagnostics(0.45))
    assert atom_advice(diagnostics(0.39)) == ""


def test_the_rationale_carries_the_advice_whether_or_not_a_candidate_is_admissible() -> None:
    sound = Candidate(3, three(1.0), 1.0, 1.0, 1.0, -1.0, -1.0, 0.9, 0.2, 0.1, True, False, None, 5.0)
    atoms = atom_advice(diagnostics(0.5))
    chosen = choose([sound], ModelSettings(), NAMES, atoms).rationale
    assert "could be treated as one" in chosen
    assert "orders = 1" in chosen
    refused = choose([], ModelSettings(), NAMES, atoms)
    assert refused.candidate is None
    assert "orders = 1" in refused.rationale


def test_values_that_no_segment_can_be_made_of_are_named_with_feature_value_and_share() -> None:
    random = np.random.default_rng(3)
    price = random.permutation(np.repeat([9.99, 19.99, 49.99], [600, 900, 500]))
    days = np.ceil(random.lognormal(3, 0.8, 2000))
    tenure = np.where(random.random(2000) < 0.9, days, days + random.integers(1, 300, 2000))
    features = [
        Feature(name=name, resolution=step, transform="none")
        for name, step in (("days", 1), ("tenure", 1), ("price", 0.01))
    ]
    X = np.column_stack([days, tenure, price])
    said = spoiling_advice(FeatureSpace.fit(features, X), X)
    assert "45.0 % of the customers have price = 19.99" in said
    assert "days and tenure are equal for " in said
    assert "orders" not in said
    assert spoiling_advice(FeatureSpace.fit(features[:1], X[:, :1]), X[:, :1]) == ""
