"""Refit triggers: what must have happened before a challenger may replace the champion.

Here: the measurements, their thresholds, whether they fire. Not here: what follows from it (defs/), and the reasons
to promote that need no measurement (the first month, a user who forces it).
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.months import months_between
from segment_pipeline.segmentation.model import SegmentModel

if TYPE_CHECKING:
    from segment_pipeline.config import RefitSettings

Array = NDArray[np.float64]


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
) -> list[Trigger]:
    """Every trigger of the month, fired or not.

    X : (n, d) this month's customers in original units; may be None when `schema` differs from the champion's, because
    the champion cannot be used on them then. schema : `FeatureSpace.schema` of this month's features. challenger_gain :
    nats per customer by which the best admissible challenger would beat the champion; None when there is none.
    """
    age = months_between(champion.trained_month, month)
    schema_changed = schema != champion.space.schema
    triggers = [
        Trigger("champion_age_months", None, None, float(age), float(refit.max_age_months), age > refit.max_age_months),
        Trigger("feature_schema_changed", None, None, float(schema_changed), 0.0, schema_changed),
    ]
    if schema_changed:
        return triggers
    if X is None or not len(X):
        raise ValueError("the champion's features are unchanged, so this month's customers are needed to judge it")

    Z = champion.space.transform(X)
    R = champion.mixture.responsibilities(Z)
    certainty = float(R.max(axis=1).mean())
    low, high = refit.min_mean_max_probability, refit.max_mean_max_probability
    triggers.append(Trigger("mean_max_probability_low", None, None, certainty, low, certainty < low))
    triggers.append(Trigger("mean_max_probability_high", None, None, certainty, high, certainty > high))

    shifts = component_mean_shifts(champion, Z, R)
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


def component_mean_shifts(champion: SegmentModel, Z: Array, R: Array) -> Array:
    """(k, d) how far the members of each segment have moved, in the champion's population standard deviations.

    Both means are under the same champion, so nothing of it is noise between two fits. A segment without members has
    not moved. Z : (n, d) in the champion's coordinates; R : (n, k) its responsibilities.
    """
    members = R.sum(axis=0)[:, None]
    means = R.T @ Z / np.maximum(members, np.finfo(float).tiny)
    return np.where(members >= 1.0, np.abs(means - champion.mixture.means), 0.0)
