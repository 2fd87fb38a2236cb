"""Refit triggers: what must have happened before a challenger may replace the champion.

A hard signal is enough by itself. A soft one has to last: a stationary business crosses a soft limit once in a while by
noise, and hardly ever twice running. An echo is neither: what a champion with memory has answered goes on in the
figures for as long as the features look back before it. Here: the measurements, their limits, which of them call for a
refit. Not here: what follows from it (champion.py), and the reasons to promote that need no measurement (the first
month, a user who forces it).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import months_between
from segment_pipeline.words import figure, listed

if TYPE_CHECKING:
    from segment_pipeline.config.model import RefitSettings


CERTAIN_GAIN = 3.0
"""Standard errors that a gain has to exceed. Among 600 stationary customers the error is 0.02 nats, and the usual limit
of 0.05 was crossed in one or two of 36 months."""

_SHIFT_STEPS = 40
_AT_REST = 2e-3
"""Centres follow the month's customers for so many steps, or until none moves by more than this, in SD."""


EVENTS = (
    "mean_max_probability_low",
    "mean_max_probability_high",
    "component_mean_shift",
    "challenger_gain",
)
"""The signals of something that has happened to the customers."""


Subject = tuple[str, int | None, str | None]
"""What is watched: metric, segment_id and feature; the latter two None where it is about the whole model."""


@dataclass(frozen=True)
class Trigger:
    """One measurement against its limits.

    threshold : beyond it the signal has fired. hard_threshold : beyond it one month is enough for a refit; equal to
    `threshold` where every signal is hard. severity : echo where it is beyond the threshold, and may only be what the
    champion has answered; None while quiet. months_fired : months in a row, this one included, in which it has fired
    under the present champion; 0 while quiet.
    """

    metric: str
    segment_id: int | None
    feature: str | None
    value: float
    threshold: float
    hard_threshold: float
    severity: Literal["soft", "hard", "echo"] | None
    months_fired: int

    @property
    def fired(self) -> bool:
        return self.severity in ("soft", "hard")

    @property
    def subject(self) -> Subject:
        return self.metric, self.segment_id, self.feature


def evaluate_triggers(
    champion: SegmentModel,
    X: Array | None,
    month: date,
    schema: str,
    refit: "RefitSettings",
    challenger_gain: float | None,
    *,
    gain_error: float = 0.0,
    rule_changed: bool = False,
    memory_gain: float | None = None,
    prior: Array | None = None,
    fired_before: Mapping[Subject, int] | None = None,
    echoes: bool = False,
) -> list[Trigger]:
    """Every trigger of the month, fired or not.

    X : (n, d) this month's customers in original units; may be None when `schema` differs from the champion's, because
    the champion cannot be used on them then. schema : `FeatureSpace.schema` of this month's features. challenger_gain :
    nats per customer by which the best admissible challenger would beat the champion; None when there is none.
    gain_error : its standard error; in a small base a gain has to exceed CERTAIN_GAIN of them, whatever the limits.
    rule_changed : whether the champion has another hurdle than the user's file, or one of the two has none.
    memory_gain : nats per customer-month by which a challenger with memory predicts a month better than a champion that
    has none; None where that is not the case. prior : (n, k) what a champion with memory expects of these customers.
    fired_before : months in a row for which each signal had fired up to the month before, under this same champion.
    echoes : whether what has happened to the customers may only be what the champion has answered.
    """
    streaks = fired_before or {}

    def measured(
        metric: str,
        value: float,
        threshold: float,
        hard_threshold: float | None = None,
        segment_id: int | None = None,
        feature: str | None = None,
        *,
        below: bool = False,
    ) -> Trigger:
        hard_threshold = threshold if hard_threshold is None else hard_threshold
        sign = -1.0 if below else 1.0
        severity: Literal["soft", "hard", "echo"] | None = None
        if sign * value > sign * threshold:
            severity = "hard" if sign * value > sign * hard_threshold else "soft"
        if severity is not None and echoes and metric in EVENTS:
            severity = "echo"
        fired = severity in ("soft", "hard")
        months = streaks.get((metric, segment_id, feature), 0) + 1 if fired else 0
        return Trigger(metric, segment_id, feature, value, threshold, hard_threshold, severity, months)

    age = measured(
        "champion_age_months", float(months_between(champion.trained_month, month)), float(refit.max_age_months)
    )
    schema_changed = schema != champion.space.schema
    triggers = [age, measured("feature_schema_changed", float(schema_changed), 0.0)]
    if rule_changed:
        triggers.append(measured("hurdle_changed", 1.0, 0.0))
    if schema_changed:
        return triggers
    if X is None or not len(X):
        raise ValueError("the champion's features are unchanged, so this month's customers are needed to judge it")

    Z = champion.space.transform(X)
    alone = _certainty(champion, Z, None)
    certainty = alone if prior is None else _certainty(champion, Z, prior)
    triggers.append(measured("mean_max_probability_low", certainty, refit.min_mean_max_probability, below=True))
    # Who remembers is rightly sure; that segments are spikes shows in what a month alone says.
    triggers.append(measured("mean_max_probability_high", alone, refit.max_mean_max_probability))

    shifts = component_mean_shifts(champion, Z, prior)
    triggers += [
        measured(
            "component_mean_shift",
            float(shifts[k, j]),
            *refit.mean_shift_limits,
            segment.segment_id,
            feature,
        )
        for k, segment in enumerate(champion.segments)
        for j, feature in enumerate(champion.space.names)
    ]
    if memory_gain is not None:
        triggers.append(measured("memory_available", memory_gain, 0.0))
    if challenger_gain is not None:
        lasting, at_once = (max(limit, CERTAIN_GAIN * gain_error) for limit in refit.gain_limits)
        gain = measured("challenger_gain", challenger_gain, lasting, at_once)
        triggers.append(gain)
        if not _worth_a_new_champion(champion, gain):
            triggers[0] = replace(age, severity=None, months_fired=0)
    return triggers


def _worth_a_new_champion(champion: SegmentModel, gain: Trigger) -> bool:
    """Whether a challenger is better enough to follow a champion against whom nothing but its age speaks. A refit for
    its own sake would cost segments their ids: in the demo's ninth month three segments, none dormant, for five.

    A champion with memory stays unless the gain is beyond its limit: customers of a segment differ from one another for
    good, a little of which some other partition always tells. Of simulated shops in which nothing happened one lost two
    of three ids for 0.035 nats.
    """
    return gain.value > 0.0 if champion.memory is None else gain.fired


def _certainty(champion: SegmentModel, Z: Array, prior: Array | None) -> float:
    """Mean of the customers' largest probability."""
    R = champion.mixture.responsibilities(Z, prior=prior)
    if champion.mixture.hurdle is not None:
        # who is under a rule belongs to it for certain, which says nothing of the mixture
        R = R[~champion.mixture.hurdle.holds(Z)]
    return float(R.max(axis=1).mean()) if len(R) else 1.0


def calls_for_refit(triggers: Sequence[Trigger], refit: "RefitSettings") -> list[Trigger]:
    """Those of a month's triggers that suffice for a refit: hard ones; and soft ones that have lasted, once the
    champion has served longer than the cooldown."""
    age = next(trigger.value for trigger in triggers if trigger.metric == "champion_age_months")
    return [
        trigger
        for trigger in triggers
        if trigger.severity == "hard"
        or (trigger.severity == "soft" and trigger.months_fired >= refit.lasting_months and age > refit.cooldown_months)
    ]


def features_changed_in_words(old: FeatureSpace, new: FeatureSpace, portraits: Collection[str] = ()) -> str:
    """What the user's file has changed in the features of the model. portraits : those that are in the file, and not in
    the model."""
    dropped = [name for name in old.names if name not in new.names]
    seen = dict(zip(old.names, zip(old.transforms, old.resolutions, strict=True), strict=True))
    told = []
    if gone := [name for name in dropped if name not in portraits]:
        told.append(f"without {listed(gone)}")
    if shown := [name for name in dropped if name in portraits]:
        told.append(f"{listed(shown)} only as a portrait")
    if added := [name for name in new.names if name not in seen]:
        told.append(f"with {listed(added)}")
    for name, transform, step in zip(new.names, new.transforms, new.resolutions, strict=True):
        before, step_before = seen.get(name, (transform, step))
        if transform != before:
            told.append(f"{name} by {transform}, before by {before}")
        if step != step_before:
            told.append(f"{name} in steps of {figure(step, 6)}, before of {figure(step_before, 6)}")
    return ", ".join(told) or "in another order"


def answers_an_event(fired: Collection[str]) -> bool:
    """Whether a champion that was promoted when these metrics fired answers something that has happened. What memory
    adds to a champion without it is no event, though it describes the customers better."""
    return "memory_available" not in fired and any(metric in EVENTS for metric in fired)


def component_mean_shifts(champion: SegmentModel, Z: Array, prior: Array | None = None) -> Array:
    """(k, d) how far each segment's centre has moved, in the champion's population standard deviations. Arguments as
    of `moved_with_customers`."""
    return np.abs(moved_with_customers(champion.mixture, Z, prior).moments.means - champion.mixture.moments.means)


def moved_with_customers(frozen: Mixture, Z: Array, prior: Array | None = None) -> Mixture:
    """The mixture at the place where this month's customers have taken it.

    Means and shares follow this month's customers from the champion's own, under the champion's frozen shapes, until
    they rest. Every component stays itself, so nothing of it is noise between two fits; and a segment that has grown
    is not taken for one that has moved. The plain means of the members, the first step of this, fall short: who drifts
    to the border is counted with the neighbour, and a centre planted 1 SD away was measured at 0.53 to 0.92 SD; at
    rest it is 0.94 to 1.04. A segment without members has not moved. frozen : of the champion. Z : (n, d) in its
    coordinates. prior : (n, k) what is expected of each customer from the months before, which then stands in place of
    the shares.
    """
    if prior is not None:
        prior = frozen.of_components(prior)
    weights, means = frozen.weights, frozen.means
    for _ in range(_SHIFT_STEPS):
        members = replace(frozen.unmerged, weights=weights, means=means).responsibilities(Z, prior=prior)
        count = members.sum(axis=0)
        populated = (count >= 1.0)[:, None]
        moved = np.where(populated, members.T @ Z / np.maximum(count, 1.0)[:, None], means)
        step = float(np.abs(moved - means).max())
        means, weights = moved, np.maximum(count, 1.0) / np.maximum(count, 1.0).sum()
        if step < _AT_REST:
            break
    return replace(frozen, weights=weights, means=means)
