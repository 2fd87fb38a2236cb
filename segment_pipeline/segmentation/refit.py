"""Refit triggers: what must have happened before a challenger may replace the champion.

Here: the measurements, their thresholds, whether they fire. Not here: what follows from it (defs/), and the reasons
to promote that need no measurement (the first month, a user who forces it).
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.months import months_between
from segment_pipeline.segmentation.model import SegmentModel

if TYPE_CHECKING:
    from segment_pipeline.config import RefitSettings

Array = NDArray[np.float64]

_SHIFT_STEPS = 40
_AT_REST = 2e-3
"""Centres follow the month's customers for so many steps, or until none moves by more than this, in SD."""


@dataclass(frozen=True)
class Trigger:
    """One measurement against its threshold; segment_id and feature are None where it is about the whole model."""

    metric: str
    segment_id: int | None
    feature: str | None
    value: float
    threshold: float
    fired: bool


def evaluate_triggers(
    champion: SegmentModel,
    X: Array | None,
    month: date,
    schema: str,
    refit: "RefitSettings",
    challenger_gain: float | None,
    *,
    rule_changed: bool = False,
) -> list[Trigger]:
    """Every trigger of the month, fired or not.

    X : (n, d) this month's customers in original units; may be None when `schema` differs from the champion's, because
    the champion cannot be used on them then. schema : `FeatureSpace.schema` of this month's features. challenger_gain :
    nats per customer by which the best admissible challenger would beat the champion; None when there is none.
    rule_changed : whether the champion has another hurdle than the user's file, or one of the two has none.
    """
    age = months_between(champion.trained_month, month)
    schema_changed = schema != champion.space.schema
    triggers = [
        Trigger("champion_age_months", None, None, float(age), float(refit.max_age_months), age > refit.max_age_months),
        Trigger("feature_schema_changed", None, None, float(schema_changed), 0.0, schema_changed),
    ]
    if rule_changed:
        triggers.append(Trigger("hurdle_changed", None, None, 1.0, 0.0, True))
    if schema_changed:
        return triggers
    if X is None or not len(X):
        raise ValueError("the champion's features are unchanged, so this month's customers are needed to judge it")

    Z = champion.space.transform(X)
    R = champion.mixture.responsibilities(Z)
    if champion.mixture.hurdle is not None:
        # who is under a rule belongs to it for certain, which says nothing of the mixture
        R = R[~champion.mixture.hurdle.holds(Z)]
    certainty = float(R.max(axis=1).mean()) if len(R) else 1.0
    low, high = refit.min_mean_max_probability, refit.max_mean_max_probability
    triggers.append(Trigger("mean_max_probability_low", None, None, certainty, low, certainty < low))
    triggers.append(Trigger("mean_max_probability_high", None, None, certainty, high, certainty > high))

    shifts = component_mean_shifts(champion, Z)
    for k, segment in enumerate(champion.segments):
        for j, feature in enumerate(champion.space.names):
            shift = float(shifts[k, j])
            fired = shift > refit.max_mean_shift
            triggers.append(
                Trigger("component_mean_shift", segment.segment_id, feature, shift, refit.max_mean_shift, fired)
            )
    if challenger_gain is not None:
        gained = challenger_gain > refit.min_gain
        triggers.append(Trigger("challenger_gain", None, None, float(challenger_gain), refit.min_gain, gained))
    return triggers


def component_mean_shifts(champion: SegmentModel, Z: Array) -> Array:
    """(k, d) how far each segment's centre has moved, in the champion's population standard deviations.

    Means and shares follow this month's customers from the champion's own, under the champion's frozen shapes, until
    they rest. Every component stays itself, so nothing of it is noise between two fits; and a segment that has grown
    is not taken for one that has moved. The plain means of the members, the first step of this, fall short: who drifts
    to the border is counted with the neighbour, and a centre planted 1 SD away was measured at 0.53 to 0.92 SD; at
    rest it is 0.94 to 1.04. A segment without members has not moved. Z : (n, d) in the champion's coordinates.
    """
    frozen = champion.mixture
    weights, means = frozen.weights, frozen.means
    for _ in range(_SHIFT_STEPS):
        members = replace(frozen, weights=weights, means=means).responsibilities(Z)
        count = members.sum(axis=0)
        populated = (count >= 1.0)[:, None]
        moved = np.where(populated, members.T @ Z / np.maximum(count, 1.0)[:, None], means)
        step = float(np.abs(moved - means).max())
        means, weights = moved, np.maximum(count, 1.0) / np.maximum(count, 1.0).sum()
        if step < _AT_REST:
            break
    return np.abs(means - frozen.means)
