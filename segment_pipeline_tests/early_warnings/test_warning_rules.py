"""What each named warning means, at its limits."""

import numpy as np
import pytest

from segment_pipeline.config.warning_rules import WarningSettings
from segment_pipeline_tests.early_warnings.rules_in_numpy import (
    engaged_in_either,
    mixed_warnings,
    movement_warnings,
    role_probability,
)

ROLES = ("engaged", "casual", "at_risk", "dormant")
NOBODY = [np.nan] * 4


def moved(before: list[float], now: list[float], roles: tuple[str | None, ...] = ROLES) -> set[str]:
    found = movement_warnings(np.array([now]), np.array([before]), roles)
    return {name for name, flags in found.items() if flags[0]}


def torn(now: list[float], roles: tuple[str | None, ...] = ROLES) -> set[str]:
    return {name for name, flags in mixed_warnings(np.array([now]), roles).items() if flags[0]}


def test_engagement_declines_when_it_falls_by_more_than_the_limit_in_absolute_terms() -> None:
    assert moved([0.75, 0.25, 0, 0], [0.5, 0.5, 0, 0]) == {"declining_engagement"}
    assert moved([0.625, 0.375, 0, 0], [0.5, 0.5, 0, 0]) == set()
    exactly = WarningSettings(declining_engagement=0.25)
    fell = movement_warnings(np.array([[0.5, 0.5, 0, 0]]), np.array([[0.75, 0.25, 0, 0]]), ROLES, exactly)
    assert not fell["declining_engagement"][0]


def test_moving_between_two_engaged_segments_is_no_decline() -> None:
    assert moved([0.9, 0.1, 0, 0], [0.1, 0.9, 0, 0], ("engaged", "engaged", "casual", "dormant")) == set()


@pytest.mark.parametrize(("before", "now", "warned"), [(0, 1, True), (1, 2, True), (2, 3, True), (2, 1, False)])
def test_a_downgrade_is_a_move_of_the_likeliest_segment_to_a_lower_role(before: int, now: int, warned: bool) -> None:
    assert ("segment_downgrade" in moved(list(np.eye(4)[before]), list(np.eye(4)[now]))) == warned


def test_segments_without_a_role_are_neither_higher_nor_lower() -> None:
    roles = ("engaged", None, "at_risk", "dormant")
    assert "segment_downgrade" not in moved([1, 0, 0, 0], [0, 1, 0, 0], roles)
    assert "segment_downgrade" not in moved([0, 1, 0, 0], [0, 0, 0, 1], roles)
    assert torn([0.5, 0.5, 0, 0], (None, None, None, None)) == set()


def test_who_was_not_there_a_month_ago_has_not_moved() -> None:
    assert moved(NOBODY, [0, 0, 0, 1]) == set()


def test_signals_are_mixed_when_engaged_and_leaving_both_exceed_the_limit() -> None:
    assert torn([0.35, 0.30, 0.20, 0.15]) == {"mixed_signal"}
    assert torn([0.45, 0.10, 0.20, 0.25]) == {"mixed_signal", "mixed_signal_severe"}
    assert torn([0.30, 0.0, 0.70, 0.0]) == set()
    assert torn([0.40, 0.0, 0.60, 0.0]) == {"mixed_signal"}
    assert torn([0.60, 0.40, 0.0, 0.0]) == set()


def test_rules_are_judged_on_who_was_engaged_in_either_month() -> None:
    R = np.array([[0.4, 0.6, 0, 0], [0.1, 0.9, 0, 0], [0.1, 0.9, 0, 0], [0.3, 0.7, 0, 0]])
    before = np.array([NOBODY, [0.5, 0.5, 0, 0], NOBODY, [0.3, 0.7, 0, 0]])
    assert engaged_in_either(R, before, ROLES).tolist() == [True, True, False, False]
    lower = WarningSettings(mixed_signal=0.05)
    assert engaged_in_either(R, before, ROLES, lower).tolist() == [True, True, True, True]


def test_a_role_that_no_segment_has_is_improbable() -> None:
    assert role_probability(np.array([[0.5, 0.5]]), ("casual", "casual"), "engaged").tolist() == [0.0]
