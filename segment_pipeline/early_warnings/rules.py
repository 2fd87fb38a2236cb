"""The named early warnings: what they mean, in NumPy. The pipeline states the same rules in SQL; this is their oracle.

Here: which customers each rule names, and about whom the rules can be judged. Not here: status, budget and evidence
(warehouse), and whether the rules are right (backtest.py).

All of them speak of roles (engaged, casual, at_risk, dormant), not of segments: the engaged probability is the sum over
all engaged segments. Movement is measured under one champion, so that no refit looks like it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array, Flags

STANDING = {"engaged": 3, "casual": 2, "at_risk": 1, "dormant": 0}
"""Role -> how high it stands; a move to a lower one is a downgrade."""


@dataclass(frozen=True)
class Thresholds:
    """Probabilities, 0..1; each is exceeded, not reached, by a customer who is warned about.

    decline : fall of the engaged probability within a month, absolute. mixed, severe : what the engaged and the leaving
    (at risk or dormant) probability must both exceed. engaged : from here a customer counts as engaged.
    """

    decline: float = 0.15
    mixed: float = 0.30
    severe: float = 0.40
    engaged: float = 0.30


def movement_warnings(
    R: Array, R_before: Array, roles: Sequence[str | None], thresholds: Thresholds = Thresholds()
) -> dict[str, Flags]:
    """Warnings about what has changed since the month before, both months under one champion.

    R, R_before : (n, k) membership probabilities; NaN rows where a customer was not there, who then has not moved.
    roles : (k,) of the champion's segments.

    declining_engagement : the engaged probability fell by more than `decline`. segment_downgrade : the likeliest
    segment now has a lower role than the likeliest a month ago (the first of two that are equally likely; a segment
    without a role is neither higher nor lower than any).
    """
    there = np.isfinite(R_before[:, 0])
    before = np.where(there[:, None], R_before, R)
    fell = role_probability(before, roles, "engaged") - role_probability(R, roles, "engaged")
    standing = np.array([STANDING[role] if role is not None else np.nan for role in roles])
    lower = standing[R.argmax(axis=1)] < standing[before.argmax(axis=1)]
    return {"declining_engagement": fell > thresholds.decline, "segment_downgrade": lower}


def mixed_warnings(R: Array, roles: Sequence[str | None], thresholds: Thresholds = Thresholds()) -> dict[str, Flags]:
    """Warnings about a customer who is in two minds, under the month's own champion.

    mixed_signal : engaged and leaving (at_risk or dormant) probability both above `mixed`. mixed_signal_severe : both
    above `severe`. R : (n, k).
    """
    lesser = np.minimum(role_probability(R, roles, "engaged"), role_probability(R, roles, "at_risk", "dormant"))
    return {"mixed_signal": lesser > thresholds.mixed, "mixed_signal_severe": lesser > thresholds.severe}


def role_probability(R: Array, roles: Sequence[str | None], *wanted: str) -> Array:
    """(n,) probability, 0..1, of belonging to a segment of one of the wanted roles."""
    return np.asarray(R[:, [k for k, role in enumerate(roles) if role in wanted]].sum(axis=1))


def engaged_in_either(
    R: Array,
    R_before: Array,
    roles: Sequence[str | None],
    thresholds: Thresholds = Thresholds(),
    roles_before: Sequence[str | None] | None = None,
) -> Flags:
    """(n,) whether a customer was engaged (probability above `engaged`) this month or the month before.

    roles, roles_before : of the segments of R and of R_before, which each month's own champion gives; the same if None.

    About these the rules are judged, and among these every ranking that a rule is compared with must choose. An early
    warning speaks of somebody who can still be lost: mixed signals need an engaged probability above the limit now, and
    a fall that matters starts there. Of all customers together, a ranking would win by naming those who left long ago:
    on CDNOW two in three of the whole base keep silent, and a list of them tells nobody anything.
    """
    now = role_probability(R, roles, "engaged")
    before = np.nan_to_num(role_probability(R_before, roles if roles_before is None else roles_before, "engaged"))
    return np.asarray((now > thresholds.engaged) | (before > thresholds.engaged))
