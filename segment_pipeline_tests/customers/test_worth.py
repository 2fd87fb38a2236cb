"""What features are worth, on customers whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from segment_pipeline.customers.worth import LaterWindow, feature_worth, only_grows
from segment_pipeline.mixture.features import FeatureSpace

NAMES = ("group", "repeat", "noise", "habit", "tenure")


@pytest.fixture(scope="module")
def windows():
    """2,000 customers of two groups in two windows: `group` tells them apart, `repeat` nearly repeats it, `noise` is
    drawn anew, `habit` stays with the customer, `tenure` grows by 90 for everybody. A sixth of the second group goes,
    and who goes had a small habit."""
    random = np.random.default_rng(1)
    n = 2_000
    group = (np.arange(n) % 2) * 6.0
    habit = random.normal(size=n)
    tenure = random.uniform(0, 1000, n)

    def window(grown: float) -> np.ndarray:
        seen = group + random.normal(size=n)
        return np.column_stack(
            [
                seen,
                seen + 0.1 * random.normal(size=n),
                random.normal(size=n),
                habit + 0.2 * random.normal(size=n),
                tenure + grown,
            ]
        )

    before, after = window(0.0), window(90.0)
    after[habit < -1.0] = np.nan
    return before, after


@pytest.fixture(scope="module")
def worth(windows):
    before, after = windows
    X = after[np.isfinite(after).all(axis=1)]
    features = [SimpleNamespace(name=name, transform="none", resolution=0.001) for name in NAMES]
    space = FeatureSpace.fit(features, X)
    return {one.feature: one for one in feature_worth(space, X, 0, LaterWindow(before, after))}


def test_what_tells_segments_apart_is_separated_by_them_and_noise_is_not(worth):
    assert worth["group"].separates > 0.8
    assert worth["noise"].separates < 0.05


def test_what_repeats_another_is_known_from_it(worth):
    assert worth["repeat"].known_from_others > 0.99
    assert worth["noise"].known_from_others < 0.02


def test_what_stays_with_a_customer_lasts(worth):
    assert worth["habit"].persists == pytest.approx(1 / 1.04, abs=0.05)
    assert abs(worth["noise"].persists) < 0.06


def test_what_says_who_goes_adds_and_what_another_says_adds_nothing(worth):
    assert worth["habit"].predicts > 0.05
    assert worth["repeat"].predicts < 0.05
    assert abs(worth["noise"].predicts) < 0.01


def test_only_what_rises_alike_for_everybody_grows_with_time(worth):
    assert [name for name in NAMES if worth[name].only_grows] == ["tenure"]
    random = np.random.default_rng(0)
    before = random.uniform(0, 100, 500)
    assert not only_grows(before, before)
    assert not only_grows(before, before - 90.0)
    assert not only_grows(before, before + random.uniform(0, 180, 500))


def test_without_an_earlier_window_nothing_is_said_of_what_lasts(windows):
    _, after = windows
    X = after[np.isfinite(after).all(axis=1)][:, [0, 2]]
    space = FeatureSpace.fit([SimpleNamespace(name=n, transform="none", resolution=0.001) for n in ("a", "b")], X)
    for one in feature_worth(space, X, 0):
        assert (one.persists, one.predicts, one.only_grows) == (None, None, None)
        assert one.separates is not None


def test_candidates_are_judged_beside_those_that_are_chosen(windows):
    """`repeat` is known from `group`; beside `noise` alone it is not."""
    _, after = windows
    X = after[np.isfinite(after).all(axis=1)][:, :3]
    space = FeatureSpace.fit([SimpleNamespace(name=n, transform="none", resolution=0.001) for n in NAMES[:3]], X)
    beside_group = feature_worth(space, X, 0, beside=["group", "noise"])[1]
    beside_noise = feature_worth(space, X, 0, beside=["noise"])[1]
    assert beside_group.known_from_others > 0.99
    assert beside_noise.known_from_others < 0.01
