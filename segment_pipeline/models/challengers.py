"""The month's challengers: what the fit is told of the customers, the candidates it finds, and the choice among them.

Here: one month, from features in original units to a choice. Not here: the search (mixture/candidates.py), and whether
the choice replaces the champion (champion.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from segment_pipeline import helper
from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Candidate, Hurdle, Mixture, fit_candidates
from segment_pipeline.mixture.chain.candidates import FEW_ROWS, few_customers, fit_memory_candidates
from segment_pipeline.mixture.chain.customer_months import LEAST_MONTHS, CustomerMonths
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.features import (
    FeatureSpace,
    atom_advice,
    diagnose_features,
    explain_dependence,
    find_dependence,
)
from segment_pipeline.mixture.hurdle import hurdle_in, too_few_for
from segment_pipeline.mixture.resolution import what_the_fit_sees
from segment_pipeline.models.advice import spoiling_advice
from segment_pipeline.models.alignment import kept_share
from segment_pipeline.models.model import SegmentModel, express_in
from segment_pipeline.models.selection import Choice, Continuity, choose, examined_in_turn, judge

if TYPE_CHECKING:
    from segment_pipeline.config.config import Config


HELPED_ROWS = 100_000
"""Customer-months from which on the candidates with memory take so long that one month is worth a helper."""


@dataclass(frozen=True, eq=False)
class Challengers:
    """candidates : one per type of covariances and number of components; empty when the features allow no fit, which
    the choice then explains. refusals : why each may not serve, empty for one that may."""

    candidates: list[Candidate]
    refusals: list[tuple[str, ...]]
    choice: Choice


def fit_challengers(
    space: FeatureSpace,
    X: Array,
    customer_ids: Iterable[str],
    config: "Config",
    champion: SegmentModel | None = None,
    months: CustomerMonths | None = None,
    known: Sequence[tuple[Mixture, Memory | None]] = (),
) -> Challengers:
    """Fit and judge the candidates of one month.

    X : (n, d) original units, in the order of customer_ids. champion : who served the month before; its mixture is one
    more start, where the features are still the same. months : the customers' months up to this one, to which
    candidates with memory are fitted where there are enough; None for candidates without. Where none of those may serve
    and the champion has no memory either, there are candidates without. known : the candidates of the
    month before, in the coordinates of `space`; those with memory go on from there. Same arguments, same bits.
    """
    many = months is not None and len(months.panel.rows) > HELPED_ROWS
    wanted = many and config.operation.threads != 1
    with helper.at_hand("import segment_pipeline.mixture.chain.candidates", wanted=wanted):
        return _fit_challengers(space, X, customer_ids, config, champion, months, known)


def _fit_challengers(
    space: FeatureSpace,
    X: Array,
    customer_ids: Iterable[str],
    config: "Config",
    champion: SegmentModel | None,
    months: CustomerMonths | None,
    known: Sequence[tuple[Mixture, Memory | None]],
) -> Challengers:
    settings = config.model
    Z = space.transform(X)
    hurdle = None if settings.hurdle is None else hurdle_in(space, settings.hurdle.feature, settings.hurdle.value)
    obstacle = _obstacle(space, Z, hurdle, settings.n_components[1])
    remembers = hurdle is None and months is not None and months.months_known >= LEAST_MONTHS
    candidates = []
    first, last = settings.n_components
    if obstacle is None and remembers and months is not None:
        candidates = fit_memory_candidates(
            months.seen_by_fit(space, settings.resolution),
            range(first, last + 1),
            variance_floor=space.variance_floor,
            seed=settings.seed,
            exact=months.seen_in(space),
            champion=_memory_in_this_space(champion, space),
            known=[
                (mixture.unmerged, memory.parted(mixture.segment_of, mixture.within))
                for mixture, memory in known
                if memory is not None
            ],
            names=space.names,
            covariance_types=settings.covariance_types,
        )
    elif obstacle is None:
        seen, rounding_variance = what_the_fit_sees(settings.resolution, space, X, customer_ids)
        candidates = fit_candidates(
            seen,
            range(first, last + 1),
            variance_floor=space.variance_floor,
            seed=settings.seed,
            champion=_in_this_space(champion, space),
            names=space.names,
            rounding_variance=rounding_variance,
            hurdle=hurdle,
            exact=space.transform(X if months is None else months.last_features),
            covariance_types=settings.covariance_types,
        )
    left = np.ones(len(Z), dtype=bool) if hurdle is None else ~hurdle.holds(Z)
    atoms = atom_advice(diagnose_features(space, X[left], Z[left]), has_rule=hurdle is not None) if left.any() else ""
    spoilt = spoiling_advice(space, X[left]) if candidates and all(one.degenerate for one in candidates) else ""
    remarks = " ".join(filter(None, [obstacle, spoilt or atoms]))  # a rule for the value may fail in the same way
    limits = config.memory
    kept = _kept(Z, X, config, champion if champion is not None and champion.space.names == space.names else None)
    within = _equal_within(X, config)
    candidates = examined_in_turn(candidates, settings, within if kept else 0.0, limits, kept, int(left.sum()))
    continuity = Continuity(within, {one.key: kept(one) for one in candidates}) if kept else None
    choice = choose(candidates, settings, space.names, remarks, continuity, limits)
    if choice.candidate is None and remembers and not _remembers_in(champion, space):
        # the next month would have no model, or go on with one that nothing can replace
        alone = fit_challengers(space, X, customer_ids, config, champion, known=known)
        told = f"None with memory may serve: {choice.rationale} Of the month alone: {alone.choice.rationale}"
        return replace(alone, choice=replace(alone.choice, rationale=told))
    return Challengers(candidates, [judge(candidate, settings, limits) for candidate in candidates], choice)


def _remembers_in(champion: SegmentModel | None, space: FeatureSpace) -> bool:
    """Whether there is a champion with memory that may go on in this space."""
    return champion is not None and champion.memory is not None and champion.space.names == space.names


def months_own_challenger(
    space: FeatureSpace, months: CustomerMonths, config: "Config"
) -> tuple[Mixture, Memory] | None:
    """The segments that the last month has by itself, with what the months up to it say of how customers move between
    them; None where the month allows none, or where they flicker or are only passed through.

    After something has happened to the customers, chains fitted to the months before it describe what is gone.
    """
    choice = fit_challengers(space, months.last_features, months.ids[months.last], config).choice
    if choice.candidate is None or choice.candidate.mixture.hurdle is not None:
        return None
    mixture = choice.candidate.mixture
    model = MarkovMixture(
        mixture.n_components,
        covariance_type=mixture.covariance_type,
        variance_floor=space.variance_floor,
        keep_components=True,
        mixture_init=mixture.unmerged,
        n_jobs=-1,
    ).fit(few_customers(months.seen_by_fit(space, config.model.resolution), config.model.seed, FEW_ROWS))
    memory = model.memory_ if mixture.parts is None else model.memory_.merged(mixture.parts, mixture.weights)
    lasts = memory.flicker().min() >= config.memory.min_kept and memory.stays.min() >= config.memory.min_stay
    return (mixture, memory) if lasts else None


def _obstacle(space: FeatureSpace, Z: Array, hurdle: Hurdle | None, most: int) -> str | None:
    """What forbids a fit. Features that repeat one another stop a bootstrap before this; later the champion goes on
    serving, without challengers."""
    nothing = nothing_to_describe(space.names, Z)
    if nothing is not None:
        return f"There was no fit: {nothing}"
    if hurdle is None:
        dependence = find_dependence(space.names, Z, space)
        if dependence is not None:
            return f"There was no fit. {_sentence(explain_dependence(dependence))}"
        return _too_few_rows(len(Z), len(space.names), most)
    rest = Z[~hurdle.holds(Z)]
    few = too_few_for(hurdle, Z) or _too_few_rows(len(rest), len(space.names), most - 1)
    if few is not None:
        return few
    dependence = find_dependence(space.names, rest, space)
    if dependence is None:
        return None
    return f"Among the customers beside the rule of model.hurdle: {_sentence(explain_dependence(dependence))}"


def _too_few_rows(rows: int, features: int, most: int) -> str | None:
    if rows > most + features:
        return None
    return f"{rows} customers cannot carry {most} segments. Lower the largest number of model.n_components."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _kept(Z: Array, X: Array, config: "Config", champion: SegmentModel | None) -> Callable[[Candidate], float] | None:
    """What share of the customers, Z in the coordinates of a candidate and X in original units, would keep their
    segment id under it; None without a champion. Asked of every candidate, so of at most FEW_ROWS of them, drawn at
    random: the share is then known to a third of a point."""
    if champion is None:
        return None
    drawn = np.random.default_rng((config.model.seed, len(Z), 2)).permutation(len(Z))
    few = np.sort(drawn[:FEW_ROWS])
    old, segment_ids = champion.responsibilities(X[few]), champion.segment_ids
    return lambda one: kept_share(old, one.mixture.responsibilities(Z[few]), segment_ids, config.alignment)


def _equal_within(X: Array, config: "Config") -> float:
    """Information criteria count twice the log-likelihood."""
    return 2.0 * len(X) * config.refit.equal_within


def _in_this_space(champion: SegmentModel | None, space: FeatureSpace) -> Mixture | None:
    if champion is None or champion.space.schema != space.schema:
        return None
    return express_in(champion.mixture.unmerged, champion.space, space)


def _memory_in_this_space(champion: SegmentModel | None, space: FeatureSpace) -> tuple[Mixture, Memory] | None:
    mixture = _in_this_space(champion, space)
    if champion is None or champion.memory is None or mixture is None:
        return None
    return mixture, champion.memory.parted(champion.mixture.segment_of, champion.mixture.within)


def nothing_to_describe(names: Sequence[str], Z: Array) -> str | None:
    """Why no mixture can describe these customers, in words; None where one may. Z : (n, d), names : (d,)."""
    if any(len(np.unique(Z[:, j])) > 2 for j in range(Z.shape[1])):
        return None
    return (
        f"no feature ({', '.join(names)}) takes more than two values, and no mixture of Gaussians describes yes and "
        "no. Add features that are quantities; for answers alone, latent classes (the package stepmix) are the method."
    )
