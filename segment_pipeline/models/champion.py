"""Champion and challenger: who serves this month, and why.

The decision is a pure function of the month's customers, its challenger and last month's champion, so that a backfill
makes the same decisions as the live schedule did. The champion stays unless a trigger fires; a challenger that takes
over is matched with the old segments on the same customers, so that ids keep their meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import GAP
from segment_pipeline.errors import ModelError
from segment_pipeline.mixture.candidates import Mixture, find_degeneracy, heldout_rows
from segment_pipeline.mixture.chain.customer_months import CustomerMonths
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.hurdle import hurdle_in
from segment_pipeline.models.alignment import Lineage, align
from segment_pipeline.models.challengers import months_own_challenger
from segment_pipeline.models.model import Segment, SegmentModel, express_in
from segment_pipeline.models.naming import (
    assign_roles,
    calls_regular,
    mostly_once,
    name_segments,
    shown_standing,
    speaks_of,
    told_apart,
)
from segment_pipeline.models.refit import (
    EVENTS,
    Subject,
    Trigger,
    calls_for_refit,
    evaluate_triggers,
    features_changed_in_words,
    moved_with_customers,
)
from segment_pipeline.months import month_key, months_between
from segment_pipeline.words import figure, kind_of

ATYPICAL_QUANTILE = 0.01
"""Customers less likely than this share of those a champion was fitted to are atypical."""


@dataclass(frozen=True, eq=False)
class DecisionInputs:
    """What a month's decision stands on.

    X : (n, d) the month's customers in original units, in the order that the challenger was fitted on. X_previous : the
    same customers with the features of the previous champion; None when the month does not have those any more.
    recency, frequency : (n,) the features that give roles, in original units; None where the source has no such thing.
    challenger : in the coordinates of `space`; None when no candidate is admissible, which `rationale` then explains.
    challenger_memory : of a challenger that has one. next_log_score : how well it predicts customers that it has not
    seen, as in `Candidate`. months, months_previous : the customers' months up to this one,
    with the features of this month and of the previous champion; their last month's customers are those of X and
    X_previous, in that order. None where neither the challenger nor the previous champion has a memory.
    next_version, next_segment_id : greater than any given out before this month. fired_before : months in a row for
    which each trigger had fired up to the month before, under `previous`. answered : whether `previous` was promoted
    for something that had happened to the customers. judged_on, previous_judged_on : (m, d) the customers that models
    without memory are fitted to, with the features of X and X_previous: of very many, fewer have their months
    replayed, and whether a component is a spike depends on how many there are. None where they are the same.
    """

    month: date
    space: FeatureSpace
    X: Array
    X_previous: Array | None
    recency: Array | None
    frequency: Array | None
    challenger: Mixture | None
    rationale: str
    previous: SegmentModel | None
    next_version: int
    next_segment_id: int
    fired_before: Mapping[Subject, int] = field(default_factory=dict)
    challenger_memory: Memory | None = None
    next_log_score: float | None = None
    months: CustomerMonths | None = None
    months_previous: CustomerMonths | None = None
    answered: bool = False
    judged_on: Array | None = None
    previous_judged_on: Array | None = None

    @cached_property
    def challenger_prior(self) -> Array | None:
        """(n, k) what the challenger expects of the customers of X from the months before; None without memory."""
        if self.challenger is None or self.months is None:
            return None
        return self.months.prior(self.challenger, self.challenger_memory, self.space)

    @cached_property
    def previous_prior(self) -> Array | None:
        """(n, k) the same of the previous champion and X_previous."""
        if self.previous is None or self.months_previous is None:
            return None
        return self.months_previous.prior(self.previous.mixture, self.previous.memory, self.previous.space)


FOLLOWED = "The segments of the champion before, where this month's customers have taken them."
OWN = (
    "Something has happened to the customers, and the months before it describe them no longer: these are the segments "
    "that this month has by itself, with what the months up to it say of how customers move."
)


@dataclass(frozen=True, eq=False)
class Decision:
    """The champion of the month; `promoted` when it is new. `reason` says why it is new, or why the old one stays,
    `rationale` why the segments of a new one are these."""

    champion: SegmentModel
    promoted: bool
    reason: str
    triggers: tuple[Trigger, ...]
    lineage: tuple[Lineage, ...]
    rationale: str = ""


def decide(inputs: DecisionInputs, config: Config, forced: str | None = None) -> Decision:
    """Keep last month's champion, or promote the challenger.

    forced : the user's reason for a refit, None when nobody asked. Raises ModelError at bootstrap when no candidate is
    admissible, and when a refit that cannot be avoided (the features changed) has no admissible candidate.
    """
    echoing = _months_of_echo(inputs, config)
    triggers = _triggers(inputs, config, echoes=echoing is not None)
    if any(t.metric in EVENTS and (t.fired or (t.severity == "echo" and echoing == 0)) for t in triggers):
        inputs = _best_answer(inputs, config, fresh=echoing is None)
        triggers = _triggers(inputs, config, echoes=echoing is not None)
    calling = calls_for_refit(triggers, config.refit) if triggers else []
    if echoing == 0:
        calling += [trigger for trigger in triggers if trigger.severity == "echo"]
    if inputs.previous is not None and not calling and forced is None:
        return Decision(inputs.previous, False, _why_kept(triggers, config), triggers, ())
    reason = "bootstrap" if inputs.previous is None else _in_words(calling)
    if calling and not any(trigger.fired for trigger in calling):
        reason = f"no alarm, the champion follows what it was promoted for, now that all of it is seen: {reason}"
    if inputs.previous is not None and inputs.previous.space.schema != inputs.space.schema:
        portraits = [feature.name for feature in config.portrait_features]
        reason += f": {features_changed_in_words(inputs.previous.space, inputs.space, portraits)}"
    if forced is not None:
        reason = f"forced: {forced}"
    if inputs.challenger is None:
        if inputs.previous is None or inputs.X_previous is None:
            raise ModelError(
                f"{month_key(inputs.month)} has no model to serve it ({reason}), and no candidate is admissible. "
                f"{inputs.rationale} Each candidate with its figures stands in candidate_models."
            )
        stays = f"kept although a trigger fired ({reason}): no candidate is admissible"
        return Decision(inputs.previous, False, stays, triggers, ())
    champion, lineage = _promote(inputs, inputs.challenger, config)
    return Decision(champion, True, reason, triggers, lineage, inputs.rationale)


def degeneracy_this_month(inputs: DecisionInputs, decision: Decision) -> str | None:
    """Why the champion's components are no segments of this month's customers, of as many as its candidates are judged
    on; None when they are, or when the month does not have the features to tell."""
    champion = decision.champion
    X = inputs.X if decision.promoted else inputs.X_previous
    if champion.memory is None:
        alone = inputs.judged_on if decision.promoted else inputs.previous_judged_on
        X = X if alone is None else alone
    if X is None:
        return None
    return _degeneracy(champion.mixture, champion.space, X)


def _degeneracy(mixture: Mixture, space: FeatureSpace, X: Array) -> str | None:
    return find_degeneracy(mixture, space.transform(X), space.variance_floor, space.names)


def with_overrides(model: SegmentModel, config: Config) -> SegmentModel:
    """The model with the user's own names and roles, which win; a segment that had such a name before gets another.
    They are put on when a model is used and never stored, so that taking one out of the file brings the pipeline's own
    back."""
    own = [config.segments.get(segment_id) for segment_id in model.segment_ids]
    names = [one.name if one is not None else None for one in own]
    named = told_apart(
        [name or segment.name for name, segment in zip(names, model.segments, strict=True)],
        [k for k, name in enumerate(names) if name],
    )
    roles = [(None if one is None else one.role) or s.role for one, s in zip(own, model.segments, strict=True)]
    return replace(model, segments=tuple(map(Segment, model.segment_ids, named, roles)))


def _months_of_echo(inputs: DecisionInputs, config: Config) -> int | None:
    """For how many months more what has happened to the customers may only be what a champion with memory has answered;
    None where that is not so.

    In the month of an event only its last days are in the window of the features, and in the months after it more and
    more: every figure goes on moving, although nothing else happens. When the window has left the event behind, once
    more the champion follows.
    """
    if inputs.previous is None or inputs.previous.memory is None or not inputs.answered:
        return None
    left = config.source.window_months - months_between(inputs.previous.trained_month, inputs.month)
    return left if left >= 0 else None


def _best_answer(inputs: DecisionInputs, config: Config, *, fresh: bool) -> DecisionInputs:
    """What describes the month best after something has happened to the customers of a champion with memory: the
    challenger, the champion as its customers have taken it, or the segments that the month has by itself; the last not
    where the event is not `fresh` and has only passed through the window: who has answered it follows, and stays
    itself.

    The challenger is fitted to months of which most were before the event, and lies in between. Each counts its gain
    less what its parameters cost by BIC, so that of two that describe the month as well the one with fewer segments
    serves.
    """
    previous, X, months = inputs.previous, inputs.X_previous, inputs.months
    if previous is None or previous.memory is None or X is None or months is None:
        return inputs
    if previous.space.schema != inputs.space.schema:
        return inputs
    moved = moved_with_customers(previous.mixture, previous.space.transform(X), inputs.previous_prior)
    others = [(express_in(moved, previous.space, inputs.space), previous.memory, FOLLOWED)]
    own = months_own_challenger(inputs.space, months, config) if fresh else None
    if own is not None:
        others.append((*own, OWN))
    answers = [
        replace(inputs, challenger=mixture, challenger_memory=memory, next_log_score=None, rationale=rationale)
        for mixture, memory, rationale in others
        if _degeneracy(mixture, inputs.space, inputs.X) is None
    ]

    def worth(answer: DecisionInputs) -> float:
        gain, _ = _challenger_gain(answer, previous)
        if gain is None or answer.challenger is None:
            return -np.inf
        n = len(answer.X)
        return gain + answer.challenger.n_parameters * (1.0 - 0.5 * float(np.log(n))) / n

    return max([inputs, *answers], key=worth)


def _why_kept(triggers: Sequence[Trigger], config: Config) -> str:
    echoes = [trigger for trigger in triggers if trigger.severity == "echo"]
    if echoes:
        return (
            f"kept: {_in_words(echoes)}: it may be what the champion was promoted for, as the features still look back "
            "before it"
        )
    soft = [trigger for trigger in triggers if trigger.fired]
    if not soft and any(t.metric == "champion_age_months" and t.value > t.threshold for t in triggers):
        return "kept: its time has come, but no admissible challenger describes this month's customers enough better"
    if not soft:
        return "kept: no trigger fired"
    return (
        f"kept: {_in_words(soft)} has to last for {config.refit.lasting_months} months in a row, and the champion to "
        f"be older than {config.refit.cooldown_months}"
    )


def _triggers(inputs: DecisionInputs, config: Config, *, echoes: bool) -> tuple[Trigger, ...]:
    if inputs.previous is None:
        return ()
    gain, error = _challenger_gain(inputs, inputs.previous)
    return tuple(
        evaluate_triggers(
            inputs.previous,
            inputs.X_previous,
            inputs.month,
            inputs.space.schema,
            config.refit,
            gain,
            gain_error=error,
            rule_changed=_rule_changed(inputs.previous, config),
            memory_gain=_memory_gain(inputs, inputs.previous, config.model.seed),
            prior=inputs.previous_prior,
            fired_before=inputs.fired_before,
            echoes=echoes,
        )
    )


def _rule_changed(champion: SegmentModel, config: Config) -> bool:
    """Whether the user's hurdle is another than the champion's."""
    asked, has = config.model.hurdle, champion.mixture.hurdle
    if asked is None or has is None:
        return (asked is None) != (has is None)
    if asked.feature not in champion.space.names:
        return True
    wanted = hurdle_in(champion.space, asked.feature, asked.value)
    return wanted.feature != has.feature or abs(wanted.value - has.value) > 1e-6


def _challenger_gain(inputs: DecisionInputs, previous: SegmentModel) -> tuple[float | None, float]:
    """Nats per customer by which the challenger would beat the champion on customers that neither has seen, None when
    there is no challenger; and its standard error (that of a mean of paired differences: Vuong 1989).

    The champion was fitted to an earlier month, so its figure on this month is honest as it stands. The challenger was
    fitted to these very customers, which flatters it by one nat per parameter over the whole base (Akaike 1974): that
    is taken off; of one with memory it is all taken off this one month, for months of a customer whose windows overlap
    are hardly new evidence. Both are measured on all customers, pair by pair; on a held-out fifth of 650 stationary
    customers the difference was off by 0.08 from noise alone, more than the margin.

    With memory a challenger has to describe the month better in two ways, and the smaller gain counts: given what the
    two make of the months before, and alone, with the shares that each sees in the month. The first by itself goes to
    whoever has more segments, as customers of one segment differ for good; the second is blind to who moves where.
    """
    if inputs.challenger is None or inputs.X_previous is None or previous.space.schema != inputs.space.schema:
        return None, 0.0
    mine = _log_densities(inputs.challenger, inputs.space, inputs.X, inputs.challenger_prior)
    its = _log_densities(previous.mixture, previous.space, inputs.X_previous, inputs.previous_prior)
    differences = [challenger - champion for challenger, champion in zip(mine, its, strict=False)]
    difference = min(differences, key=np.mean)
    gain = float(difference.mean()) - inputs.challenger.n_parameters / len(inputs.X)
    return gain, float(difference.std() / np.sqrt(len(difference)))


def _log_densities(mixture: Mixture, space: FeatureSpace, X: Array, prior: Array | None) -> list[Array]:
    """(n,) of the month's customers in transformed, unstandardised units: given what is expected of them and, where
    that is more than the mixture's own weights, alone with the shares that the month has."""
    Z = space.transform(X)
    given = mixture.log_likelihood(Z, prior=prior) + space.log_jacobian
    if prior is None:
        return [given]
    shares = np.maximum(mixture.responsibilities(Z, prior=prior).mean(axis=0), np.finfo(float).tiny)
    return [given, mixture.with_shares(shares).log_likelihood(Z) + space.log_jacobian]


def _memory_gain(inputs: DecisionInputs, previous: SegmentModel, seed: int) -> float | None:
    """Nats per customer-month by which a challenger with memory predicts the months of customers whom it has not seen
    better than a champion without memory does; None where they cannot be compared."""
    if previous.memory is not None or inputs.next_log_score is None or inputs.months is None:
        return None
    if previous.space.schema != inputs.space.schema:
        return None
    panel = inputs.months.seen_in(previous.space)
    unseen = panel.take(heldout_rows(panel.n_customers, seed))
    static = previous.mixture.log_likelihood(unseen.rows[unseen.known_before]).mean() + previous.space.log_jacobian
    return float(inputs.next_log_score + inputs.space.log_jacobian - static)


def _promote(inputs: DecisionInputs, challenger: Mixture, config: Config) -> tuple[SegmentModel, tuple[Lineage, ...]]:
    Z = inputs.space.transform(inputs.X)
    new = challenger.responsibilities(Z, prior=inputs.challenger_prior)
    if inputs.previous is not None and inputs.X_previous is not None:
        comparable = inputs.previous.space.schema == inputs.space.schema
        # By what the month alone says: with its memory each would hold on to who has just moved.
        alignment = align(
            inputs.previous.responsibilities(inputs.X_previous),
            challenger.responsibilities(Z),
            inputs.previous.segment_ids,
            inputs.next_segment_id,
            config.alignment,
            express_in(inputs.previous.mixture, inputs.previous.space, inputs.space) if comparable else None,
            challenger if comparable else None,
        )
        ids, lineage = alignment.segment_ids, alignment.lineage
    else:
        ids = tuple(range(inputs.next_segment_id, inputs.next_segment_id + challenger.n_segments))
        retired = inputs.previous.segment_ids if inputs.previous is not None else ()
        lineage = (
            *(Lineage(segment_id, None, "born") for segment_id in ids),
            *(Lineage(None, segment_id, "retired") for segment_id in retired),
        )
    order = sorted(range(len(ids)), key=lambda k: ids[k])
    ordered = challenger.ordered(order)
    model = SegmentModel(
        inputs.next_version,
        inputs.month,
        inputs.space,
        ordered,
        _segments(inputs, [ids[k] for k in order], new[:, order], _name_of_rule(ordered, config), config),
        atypical_below=0.0,
        memory=None if inputs.challenger_memory is None else inputs.challenger_memory.ordered(order),
    )
    prior = None if inputs.challenger_prior is None else inputs.challenger_prior[:, order]
    likely = model.log_likelihood(inputs.X, prior=prior)
    return replace(model, atypical_below=float(np.quantile(likely, ATYPICAL_QUANTILE))), lineage


def _name_of_rule(mixture: Mixture, config: Config) -> dict[int, str]:
    """Position and name of the hurdle segment, where there is one."""
    if mixture.hurdle is None or config.model.hurdle is None:
        return {}
    feature, value = config.model.hurdle.feature, config.model.hurdle.value
    return {
        int(mixture.segment_of[mixture.hurdle.component]): f"{feature.replace('_', ' ').capitalize()} exactly {value:g}"
    }


def _segments(
    inputs: DecisionInputs, ids: Sequence[int], R: Array, given_names: dict[int, str], config: Config
) -> tuple[Segment, ...]:
    """Who continues keeps its name and role; who is new gets them from its members' means, as does the name that speaks
    of a feature which the model has no more, or of regulars where most have ordered once. A given name wins."""
    known = {s.segment_id: s for s in inputs.previous.segments} if inputs.previous is not None else {}
    weights = R / R.sum(axis=0)
    frequency = _standing(inputs.frequency, weights)
    roles = assign_roles(_standing(inputs.recency, weights), frequency)
    roles = roles or [None] * len(ids)
    gone = set(inputs.previous.space.names) - set(inputs.space.names) if inputs.previous is not None else set()
    once = mostly_once(inputs.frequency, R)
    of_once = {segment_id for segment_id, mostly in zip(ids, once, strict=True) if mostly}
    outdated = {
        s.segment_id: s
        for s in known.values()
        if any(speaks_of(s.name, feature) for feature in gone) or (s.segment_id in of_once and calls_regular(s.name))
    }
    roles = [outdated[i].role if i in outdated else role for i, role in zip(ids, roles, strict=True)]
    known = {segment_id: known[segment_id] for segment_id in known.keys() - outdated.keys()}
    # A segment that was a rule, and is one no more, is called after what it is now.
    if inputs.previous is not None and inputs.previous.mixture.hurdle is not None:
        before = inputs.previous.mixture
        known.pop(inputs.previous.segment_ids[before.segment_of[inputs.previous.mixture.hurdle.component]], None)
    fresh = [k for k, segment_id in enumerate(ids) if segment_id not in known or k in given_names]
    names = name_segments(
        shown_standing(inputs.space, inputs.X, R)[fresh],
        inputs.space.names,
        [roles[k] for k in fresh],
        [*given_names.values(), *(known[i].name for k, i in enumerate(ids) if i in known and k not in given_names)],
        (config.roles.recency, config.roles.frequency, GAP),
        {feature.name: kind_of(feature) for feature in config.features},
        [once[k] for k in fresh],
        None if frequency is None else frequency[fresh],
    )
    named = dict(zip(fresh, names, strict=True)) | given_names
    return tuple(
        Segment(segment_id, named[k], roles[k]) if k in named else known[segment_id] for k, segment_id in enumerate(ids)
    )


def _standing(values: Array | None, weights: Array) -> Array | None:
    """(k,) each segment's mean of log(1 + value), in standard deviations from the population's; of those whose value is
    known, as it may be missing of a feature that is no part of the model."""
    known = np.isfinite(values) if values is not None else np.zeros(0, dtype=bool)
    if values is None or not known.any() or values[known].min() <= -1:
        return None
    logged, told = np.log1p(values[known]), weights[known]
    spread = logged.std()
    if not spread > 0 or told.sum(axis=0).min() <= 0:
        return None
    return np.asarray((told.T @ logged / told.sum(axis=0) - logged.mean()) / spread)


def _in_words(fired: Sequence[Trigger]) -> str:
    return "; ".join(
        trigger.metric
        + (f" of segment {trigger.segment_id} in {trigger.feature}" if trigger.segment_id is not None else "")
        + f" {figure(trigger.value, 3)} (limit {figure(trigger.threshold, 3)})"
        + (f" for {trigger.months_fired} months" if trigger.severity == "soft" and trigger.months_fired > 1 else "")
        + (", an echo" if trigger.severity == "echo" else "")
        for trigger in fired
    )
