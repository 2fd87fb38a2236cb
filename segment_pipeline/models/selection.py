"""Choosing the number of components and the type of their covariances: which candidates may serve, which one does, and
why, in words.

Here: admissibility, the criterion, the elbow, the rationale. Not here: whether a challenger replaces the champion; that
is for the refit triggers (refit.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from segment_pipeline.mixture.candidates import Candidate, CandidateKey
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.degeneracy import repeated
from segment_pipeline.models.advice import merge_advice
from segment_pipeline.words import listed, percent

if TYPE_CHECKING:
    from segment_pipeline.config.model import MemorySettings, ModelSettings

MIN_ELBOW_BEND = 0.1
"""How far below the straight line between the first and the last admissible fit an elbow must dip, as a share of the
whole fall. A straight line has no elbow."""

_NOT_ASKED = "cannot win: others describe the customers better, so there was one search and no other"

BELIEVED_FROM = 3_000
"""Of fewer customers every candidate that may be chosen is searched for again, which takes little time: what is
believed of more was not always so of 500 to 1,200 (benchmarks/README.md, A value that many customers share)."""

_CRITERIA = {"bic": "BIC", "icl": "ICL", "elbow": "the elbow of the BIC curve"}


@dataclass(frozen=True)
class Choice:
    """Which candidate is best, and why.

    candidate : None when none is admissible. minimum : the admissible with the lowest criterion (BIC or ICL). elbow :
    where the BIC curve bends most, of the admissible and of those that nobody asked for; None when it does not bend.
    runner_up : second best of these. rationale : plain words.
    """

    candidate: Candidate | None
    minimum: CandidateKey | None
    elbow: CandidateKey | None
    runner_up: CandidateKey | None
    rationale: str


@dataclass(frozen=True)
class Continuity:
    """What a refit should not break for next to nothing.

    within : candidates whose criterion is worse than the best by at most this count as equal to it. kept : of each
    candidate the share of the customers, 0..1, who would keep their segment id.
    """

    within: float
    kept: Mapping[CandidateKey, float]


def judge(candidate: Candidate, model: "ModelSettings", limits: "MemorySettings | None" = None) -> tuple[str, ...]:
    """Why this candidate may not serve, in words with figures; empty when it may. limits : from which on
    segments of one with memory flicker, or are only passed through; None: none."""
    figures = (candidate.bic, candidate.icl, candidate.smallest_share)
    if not all(math.isfinite(figure) for figure in figures):
        return ("its figures are not finite",)
    passage = _passage(candidate.memory, limits.min_stay) if candidate.memory is not None and limits is not None else []
    reasons = passage
    if candidate.degenerate:
        reasons.append(f"degenerate: {candidate.degeneracy}")
    too_many = f"more than the {model.max_segments} segments the team can act on"
    if math.isnan(candidate.stability):
        if candidate.too_many:
            reasons.append(too_many)
        return tuple(reasons) if reasons and candidate.examined is None else (_NOT_ASKED,)
    if not candidate.converged:
        reasons.append("the fit did not converge")
    if candidate.stability < model.min_stability:
        reasons.append(
            f"independent searches disagree: stability {candidate.stability:.2f}, "
            f"at least {model.min_stability:.2f} needed"
        )
    if candidate.smallest_share < model.min_share:
        reasons.append(
            f"its smallest segment holds {percent(candidate.smallest_share, 2)} of the customers, "
            f"at least {percent(model.min_share, 2)} needed"
        )
    if candidate.n_segments == 1:
        reasons.append("all its components together describe one group")
    if candidate.memory is not None and limits is not None:
        reasons += _flicker(candidate.memory, limits.min_kept)
    if candidate.n_segments > model.max_segments:
        reasons.append(too_many)
    return tuple(reasons)


def _flicker(memory: Memory, least: float) -> list[str]:
    """The two segments between which customers go to and fro most, where that is too much."""
    kept = memory.flicker()
    one, other = (int(k) + 1 for k in np.unravel_index(kept.argmin(), kept.shape))
    if kept.min() >= least:
        return []
    return [
        f"flicker: segments {one} and {other} exchange customers as if by chance; which of the two a customer is in "
        f"says {kept.min():.2f} of where it is a month later (1 = all, 0 = nothing), at least {least:.2f} needed"
    ]


def _passage(memory: Memory, least: float) -> list[str]:
    """The segment that most leave within a month, where that is too many."""
    place = int(memory.stays.argmin())
    stay = float(memory.stays[place])
    if stay >= least:
        return []
    return [
        f"passage: of the customers of segment {place + 1} {percent(stay)} are in it a month later, at least "
        f"{percent(least)} needed; it is an age and no kind of customer"
    ]


def examined_in_turn(
    candidates: Sequence[Candidate],
    model: "ModelSettings",
    within: float = 0.0,
    limits: "MemorySettings | None" = None,
    kept: Callable[[Candidate], float] | None = None,
    customers: int = 0,
) -> list[Candidate]:
    """The candidates, those that may be chosen examined (`Candidate.examined`).

    It takes time, so they are asked in the order of the criterion until one may serve; then only those whose criterion
    is worse by at most `within`, for they may count as its equals, and that keep more customers in their segment than
    the best of all so far. With criterion "elbow" all are asked. Whoever has more segments than may be is not searched
    for again. kept : as in `Continuity`, of any candidate; None where there is nothing to keep, and the first that may
    serve is chosen.

    One with a component whose members repeat one value is believed where independent searches for fewer components
    agree on such a fit, of at least BELIEVED_FROM customers: to more components the spike is, as a rule, worth no less.
    They are made first, for they take less time. It is a rule without proof: of 3,000 and 20,000 simulated customers of
    whom 1 to 50 % have one value, none of 28 that are believed was sound when it was asked; of 500 to 1,200 of whom 2
    to 5 % have one, 11 of 145 were (benchmarks/README.md). What one search alone says is not believed. customers : how
    many the candidates describe; 0 where nothing is to be believed.
    """
    found: dict[CandidateKey, Candidate] = {}
    limit, most = math.inf, -math.inf

    def asked_of(candidate: Candidate) -> Candidate:
        if candidate.key not in found and candidate.examined is not None:
            found[candidate.key] = candidate.examined(
                *((0.0, 0.0) if limits is None else (limits.min_kept, limits.min_stay)), model.max_segments
            )
        return found[candidate.key]

    def known(candidate: Candidate) -> Candidate | None:
        """Of fewer components, where searches agree on what the one search for this has ended on; None: it is asked."""
        value = repeated(candidate.degeneracy)
        if not value or customers < BELIEVED_FROM or model.criterion == "elbow":
            return None
        fewer = (
            one
            for one in sorted(candidates, key=lambda c: c.n_components)
            if one.covariance_type == candidate.covariance_type
            and one.n_components < candidate.n_components
            and one.examined is not None
            and repeated(one.degeneracy) == value
        )
        return next(
            (
                one
                for one in map(asked_of, fewer)
                if repeated(one.degeneracy) == value and one.stability >= model.min_stability
            ),
            None,
        )

    for candidate in sorted(candidates, key=lambda c: (_score(c, model), c.n_components, c.covariance_type)):
        if _score(candidate, model) > limit:
            break
        if candidate.examined is None or (kept is not None and kept(candidate) <= most):
            continue
        if candidate.key not in found and (fewer := known(candidate)) is not None:
            told = (
                f"{candidate.degeneracy}. It was not searched for again: independent searches for "
                f"{fewer.n_components} end on that value"
            )
            found[candidate.key] = replace(candidate, examined=None, degeneracy=told)
            continue
        asked = asked_of(candidate)
        if model.criterion != "elbow" and not judge(asked, model, limits):
            limit = min(limit, _score(asked, model) + within)
            most = most if kept is None else max(most, kept(asked))
    return [found.get(candidate.key, candidate) for candidate in candidates]


def _score(candidate: Candidate, model: "ModelSettings") -> float:
    """Lower is better."""
    return candidate.icl if model.criterion == "icl" else candidate.bic


def choose(
    candidates: Sequence[Candidate],
    model: "ModelSettings",
    names: Sequence[str] | None = None,
    remarks: str = "",
    continuity: Continuity | None = None,
    limits: "MemorySettings | None" = None,
) -> Choice:
    """The best admissible candidate by the configured criterion. `candidates` in any order; lower criterion is better.

    names : of the features; with them the rationale tells which segments nearly coincide. remarks : what else it is to
    tell, of the features for instance (`advice.atom_advice`). continuity : of candidates as good as the best, the one
    that keeps most customers in their segment is taken; None at bootstrap, and not asked with "elbow". With criterion
    "elbow" and no elbow among the admissible, the BIC minimum is taken and the rationale says so; of several types of
    covariances each has a curve, and the elbow with the lowest BIC is taken. limits : as in
    `judge`.
    """
    refusals = {candidate.key: judge(candidate, model, limits) for candidate in candidates}
    admissible = [c for c in candidates if not refusals[c.key]]
    if not admissible:
        return Choice(None, None, None, None, " ".join(filter(None, [_nothing_admissible(refusals, remarks), remarks])))

    by_icl = model.criterion == "icl"

    def order(candidate: Candidate) -> tuple[float, int, str]:
        return _score(candidate, model), candidate.n_components, candidate.covariance_type

    ranked = sorted(admissible, key=order)
    shown = admissible
    if model.criterion != "elbow":
        # whether searches would find these again nobody had to ask; what they are compares them with the best
        shown = [c for c in candidates if refusals[c.key] in ((), (_NOT_ASKED,)) and not c.degenerate]
    elbow = elbow_of({c.key: c.bic for c in shown})
    best = ranked[0]
    if model.criterion == "elbow" and elbow is not None:
        best = next(c for c in admissible if c.key == elbow)
    by = "BIC, for want of an elbow," if model.criterion == "elbow" and elbow is None else _CRITERIA[model.criterion]
    if continuity is not None and model.criterion != "elbow":
        best, equals = _most_continuous(ranked, by_icl, continuity)
        by = equals or by
    runner_up = min((c for c in shown if c is not best), key=order, default=None)
    rationale = _rationale(best, ranked[0], runner_up, elbow, refusals, model, by)
    advice = [merge_advice(best.mixture, names) if names is not None else "", remarks]
    rationale = " ".join(filter(None, [rationale, *advice]))
    return Choice(best, ranked[0].key, elbow, None if runner_up is None else runner_up.key, rationale)


def _most_continuous(ranked: Sequence[Candidate], by_icl: bool, continuity: Continuity) -> tuple[Candidate, str]:
    """Of those as good as the first of `ranked`, the one that keeps most customers; and by what it was chosen, in
    words, where that is another."""
    scores = [c.icl if by_icl else c.bic for c in ranked]
    equal = [c for c, score in zip(ranked, scores, strict=True) if score - scores[0] <= continuity.within]
    best = max(equal, key=lambda c: continuity.kept[c.key])  # the first of equals: the better one
    if best is ranked[0]:
        return best, ""
    several = len({c.covariance_type for c in equal}) > 1
    listed = ", ".join(f"{_named(c.key, several)} keeps {percent(continuity.kept[c.key])}" for c in equal)
    return (
        best,
        f"continuity from the {len(equal)} whose {'ICL' if by_icl else 'BIC'} is within {continuity.within:,.0f} of "
        f"the lowest (of the customers in their segment {listed})",
    )


def elbow_of(scores: Mapping[CandidateKey, float]) -> CandidateKey | None:
    """Of the elbows of each type of covariances (`find_elbow`) the one with the lowest score; None without any."""
    elbows = []
    for covariance_type, keys in groupby(sorted(scores), key=lambda key: key[0]):
        of_type = [k for _, k in keys]
        k = find_elbow(of_type, [scores[covariance_type, k] for k in of_type])
        elbows += [] if k is None else [(covariance_type, k)]
    return min(elbows, key=lambda key: scores[key], default=None)


def find_elbow(n_components: Sequence[int], scores: Sequence[float]) -> int | None:
    """The number of components where a falling curve bends most: the largest distance below the line from its first to
    its lowest point (Satopaa et al. 2011, Kneedle). None when there are fewer than three points up to the minimum, or
    when the bend is below `MIN_ELBOW_BEND`. n_components ascending; lower scores are better."""
    lowest = min(range(len(scores)), key=lambda i: scores[i])
    fall = scores[0] - scores[lowest]
    if lowest < 2 or fall <= 0:
        return None
    span = n_components[lowest] - n_components[0]
    bends = [
        (n_components[i] - n_components[0]) / span * -1.0 + (scores[0] - scores[i]) / fall for i in range(1, lowest)
    ]
    deepest = max(range(len(bends)), key=lambda i: bends[i])
    return n_components[deepest + 1] if bends[deepest] >= MIN_ELBOW_BEND else None


def _rationale(
    best: Candidate,
    lowest: Candidate,
    runner_up: Candidate | None,
    elbow: CandidateKey | None,
    refusals: dict[CandidateKey, tuple[str, ...]],
    model: "ModelSettings",
    by: str,
) -> str:
    """The choice in words, its true reason first. by : what it was chosen by."""
    by_icl = model.criterion == "icl"
    unit = "ICL" if by_icl else "BIC"
    several = _several_types(refusals)

    sentences = [
        f"{_told(best, several)}, chosen by {by} among the {_admissible_count(refusals)} "
        f"admissible of {len(refusals)} candidates: those that are sound, that searches find again, and that a team "
        "can act on. BIC and ICL weigh how well segments describe the customers against how many there are."
    ]
    least = f"{_score(lowest, model):,.0f}; lower is better"
    minimum = f"Among the admissible {unit} is lowest at {_named(lowest.key, several)} ({least})"
    if elbow is None:
        bend = "the BIC curve has no elbow (no number of segments from which more help much less)"
        if model.criterion == "elbow":
            bend += ", so its minimum was taken instead"
    else:
        bend = f"the BIC curve bends most at {_named(elbow, several)}, from where more segments help less"
    sentences.append(f"{minimum}; {bend}.")
    if runner_up is None:
        sentences.append("There is no runner-up.")
    else:
        gap = _score(runner_up, model) - _score(best, model)
        words = f"{abs(gap):,.0f} {unit} {'worse' if gap >= 0 else 'better'}"
        examined = not refusals[runner_up.key]
        told = _told(runner_up, several) if examined else f"{_named(runner_up.key, several)} components"
        sentences.append(f"{'Runner-up' if examined else 'Next, and not examined further'}: {told}, {words}.")
    sentences.append(
        f"Independent searches agree to {best.stability:.2f} (1 = always the same customers together); the smallest "
        f"segment holds {percent(best.smallest_share, 1)} of the customers."
    )
    if math.isnan(best.basin_gap):
        sentences.append("Every search ended in this one solution.")
    else:
        sentences.append(f"The next best different solution of the same size is {best.basin_gap:,.0f} BIC worse.")
    refused = _refused_in_words(refusals)
    return " ".join([*sentences, refused] if refused else sentences)


def _told(candidate: Candidate, several: bool) -> str:
    """How many segments it has, of how many components where these are more, and of what type where there are
    `several`."""
    of_type = f" with {candidate.covariance_type} covariances" if several else ""
    if candidate.n_segments == candidate.n_components:
        return f"{candidate.n_segments} segments{of_type}"
    return (
        f"{candidate.n_segments} segments{of_type} (from {candidate.n_components} components, of which some together "
        "describe one skewed or heavy-tailed group, or exchange customers as if by chance)"
    )


def _named(key: CandidateKey, several: bool) -> str:
    """A candidate in as few words as tell it from the others. several : whether these are of several types."""
    covariance_type, k = key
    return f"{k} {covariance_type}" if several else str(k)


def _several_types(refusals: Mapping[CandidateKey, tuple[str, ...]]) -> bool:
    return len({covariance_type for covariance_type, _ in refusals}) > 1


def _admissible_count(refusals: dict[CandidateKey, tuple[str, ...]]) -> int:
    return sum(not reasons for reasons in refusals.values())


def _refused_in_words(refusals: dict[CandidateKey, tuple[str, ...]]) -> str:
    several = _several_types(refusals)
    refused = [
        f"{_named(key, several)} ({'; '.join(reasons)})"
        for key, reasons in sorted(refusals.items())
        if reasons not in ((), (_NOT_ASKED,))
    ]
    not_asked = [key for key, reasons in refusals.items() if reasons == (_NOT_ASKED,)]
    for covariance_type, keys in groupby(sorted(not_asked), key=lambda key: key[0]):
        of_type = [str(k) for _, k in keys]
        everyone = several and len(of_type) == sum(key[0] == covariance_type for key in refusals)
        named = "all" if everyone else listed(of_type)
        refused.append(f"{named}{f' with {covariance_type} covariances' if several else ''} ({_NOT_ASKED})")
    return f"Refused: {', '.join(refused)}." if refused else ""


def _nothing_admissible(refusals: dict[CandidateKey, tuple[str, ...]], remarks: str) -> str:
    if not refusals:
        return "" if remarks else "There was no candidate to choose from."
    return (
        f"None of the {len(refusals)} candidates can be trusted. {_refused_in_words(refusals)} "
        "Look at the features first (feature_diagnostics: true resolutions, repeated or nearly constant features), "
        "then at the range of model.n_components."
    )
