"""The warning rules in NumPy, which the benchmark runs and to which the pipeline's SQL is held.

Movement is measured under one champion, so that no refit looks like it. A threshold is exceeded, not reached.
"""

from collections.abc import Sequence

import numpy as np

from segment_pipeline.arrays import Array, Flags
from segment_pipeline.config.warning_rules import WarningSettings

HEIGHT = {"engaged": 3, "casual": 2, "at_risk": 1, "dormant": 0}
DEFAULTS = WarningSettings()


def movement_warnings(
    R: Array, R_before: Array, roles: Sequence[str | None], settings: WarningSettings = DEFAULTS
) -> dict[str, Flags]:
    """Warnings about what has changed since the month before, both months under one champion.

    R, R_before : (n, k) membership probabilities; NaN rows where a customer was not there, who then has not moved.
    roles : (k,) of the champion's segments. A downgrade is a move of the likeliest segment (the first of two that are
    equally likely) to a lower role; a segment without a role is neither higher nor lower than any.
    """
    there = np.isfinite(R_before[:, 0])
    before = np.where(there[:, None], R_before, R)
    fell = role_probability(before, roles, "engaged") - role_probability(R, roles, "engaged")
    height = np.array([HEIGHT[role] if role is not None else np.nan for role in roles])
    lower = height[R.argmax(axis=1)] < height[before.argmax(axis=1)]
    return {"declining_engagement": fell > settings.declining_engagement, "segment_downgrade": lower}


def mixed_warnings(R: Array, roles: Sequence[str | None], settings: WarningSettings = DEFAULTS) -> dict[str, Flags]:
    """Warnings about a customer who is in two minds, under the month's own champion. R : (n, k)."""
    lesser = np.minimum(role_probability(R, roles, "engaged"), role_probability(R, roles, "at_risk", "dormant"))
    return {
        "mixed_signal": lesser > settings.mixed_signal,
        "mixed_signal_severe": lesser > settings.mixed_signal_severe,
    }


def decline_warnings(
    R: Array,
    ahead: Array,
    roles: Sequence[str | None],
    settings: WarningSettings = DEFAULTS,
    R_before: Array | None = None,
) -> dict[str, Flags]:
    """Warnings about what is expected of next month, under the month's own champion with memory.

    R : (n, k) now. ahead : (n, k + 1) probabilities of the segments next month, and last that of lapsing. A lower role
    is one lower than that of the likeliest segment now; a segment without a role is neither higher nor lower than any.
    R_before : (n, k) the month before, NaN rows where a customer was not there: who has come up is not warned of.
    """
    height = np.array([HEIGHT[role] if role is not None else np.nan for role in roles])
    lower = height[None, :] < height[R.argmax(axis=1)][:, None]
    expected = ahead[:, -1] + np.where(lower, ahead[:, :-1], 0.0).sum(axis=1)
    came_up = np.zeros(len(R), dtype=bool)
    if R_before is not None:
        before = np.where(np.isfinite(R_before[:, :1]), R_before, R)
        came_up = height[R.argmax(axis=1)] > height[before.argmax(axis=1)]
    return {"likely_to_decline": (expected > settings.likely_to_decline) & ~came_up}


def role_probability(R: Array, roles: Sequence[str | None], *wanted: str) -> Array:
    """(n,) probability, 0..1, of belonging to a segment of one of the wanted roles."""
    return np.asarray(R[:, [k for k, role in enumerate(roles) if role in wanted]].sum(axis=1))


def engaged_in_either(
    R: Array,
    R_before: Array,
    roles: Sequence[str | None],
    settings: WarningSettings = DEFAULTS,
    roles_before: Sequence[str | None] | None = None,
) -> Flags:
    """(n,) who counted as engaged this month or the month before, whom `engaged` of the back-test judges.

    roles, roles_before : of the segments of R and of R_before, which each month's own champion gives; the same if None.
    """
    now = role_probability(R, roles, "engaged")
    before = np.nan_to_num(role_probability(R_before, roles if roles_before is None else roles_before, "engaged"))
    return np.asarray((now > settings.engaged_above) | (before > settings.engaged_above))
