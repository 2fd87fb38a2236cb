"""The Gaussian mixture of this project: the public face of its estimator, its search, and the month's candidates.

Here: `fit_candidates`, which searches and says of every number of components what speaks for and against it, and asks
independent searches of those that may serve. The parts stand in modules of their own: the mixture as a value
(gaussian.py), EM (em.py), starts (starts.py), the estimator (estimator.py), the search (search.py), spikes
(degeneracy.py). Not here: which candidate serves, what components mean, and their identity over time (models/).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from typing import Protocol, TypedDict

import numpy as np

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.degeneracy import find_degeneracy
from segment_pipeline.mixture.em import Prior
from segment_pipeline.mixture.estimator import GaussianMixtureEM, one_blas_thread, thread_count
from segment_pipeline.mixture.gaussian import Hurdle, Mixture, Parts, bhattacharyya_distances, bic, summed
from segment_pipeline.mixture.hurdle import rule_component, with_rule
from segment_pipeline.mixture.merging import merge_components
from segment_pipeline.mixture.search import (
    FINALISTS_OF_FEW,
    SAME_BASIN,
    TOLERANCE,
    Found,
    Way,
    adjusted_rand_index,
    gone_on,
    look_closer,
    refitted,
    search_mixtures,
)

__all__ = [
    "Candidate",
    "Found",
    "GaussianMixtureEM",
    "Hurdle",
    "Mixture",
    "Prior",
    "adjusted_rand_index",
    "bhattacharyya_distances",
    "bic",
    "find_degeneracy",
    "fit_candidates",
    "fit_mixture",
    "heldout_rows",
    "search_mixtures",
]


STABILITY_SEARCHES = 3
"""Independent searches at most whose partitions are compared; the best of them gives the candidate."""

SAME_BIC = 2.0
"""Independent searches whose fits differ by more have not all found the best."""

CANNOT_WIN = 0.03
"""Nats per customer by which a fit may be behind the best before another search: twice what searches that end apart
differ by on the demo."""

NEAR = 0.001
NEAR_BIC = 10.0
"""So many nats per customer, or so much BIC, behind the best number of components another may still be better: one
search misses as much. Where there are several, they are searched for again, and closer, before one is examined."""

SEARCH_ROWS = 50_000
"""Of more customers the searches see a sample of so many; what they find goes on with everybody."""

LOOK_ITERATIONS = 3
"""A candidate that nobody has asked for yet goes on with everybody for so many passes, one cycle of SQUAREM: its
figures are then near enough to say who is to be asked."""

HELDOUT_SHARE = 0.2

ONE_THREAD_ROWS = 20_000
"""Up to this many rows a search stays in one thread: two would wait for the interpreter's lock more than they compute
(measured: 0 to 10 % less time, for 25 to 35 % more work)."""


CandidateKey = tuple[CovarianceType, int]
"""Type of the covariances, and number of components."""


class Examine(Protocol):
    """Of `Candidate.examined`."""

    def __call__(self, kept: float, stay: float, most: int | None = None) -> "Candidate": ...


@dataclass(frozen=True)
class Candidate:
    """The best mixture found for one number of components and type of covariances, and what speaks for and against it.

    bic, aic, icl : lower is better; from the plain log-likelihood, without prior. train_log_likelihood,
    heldout_log_likelihood : mean nats per customer, of Z, higher is better; held out = fitted on 80 %, from where the
    mixture stands, and measured on the rest; NaN until it is examined. stability : mean adjusted Rand index between
    independent searches, 1 = the same partition each time; NaN where there was one search only.
    smallest_share : smallest weight, 0..1. min_separation : smallest Bhattacharyya distance between two components, 0 =
    the same component twice; infinite for a single component. basin_gap : BIC of the second best distinct solution
    minus this one's, >= 0; NaN when every run ended in the same solution. degeneracy : why the fit is a spike and not a
    segment, None for a sound one.

    memory : of a candidate that has one, fitted to a panel of months. Weights are the shares in the last month, on
    which bic, aic, icl, shares, separation, stability and degeneracy are judged too, each customer once; the
    log-likelihoods are of that month given those before. Until it is examined, panel_bic and next_log_score are None.
    panel_bic : of all months and the chain, with the number of
    customers; it falls with every segment that tells customers apart who differ for good, and chooses nothing.
    next_log_score : mean log
    density of a month's features given the months before it, nats per customer-month, of the fifth of the customers
    that a fit on the others has not seen; higher is better. min_kept : of the two segments between which customers
    flicker most, what `Memory.flicker` says, 0..1. None without memory.

    too_many : whether it has more segments than who examined it asked for, and was therefore not searched for again.

    examined : gives the same candidate as it may serve; None for one that it has given. Those components are then one
    segment that describe one group, and those between which customers flicker more than its first argument allows
    (`memory.min_kept`); share, separation, stability and min_kept are of the segments. It is searched for again, for so
    far one search knows it; one with memory not where fewer of a segment's customers stay than the second argument
    (`memory.min_stay`), and none where it has more segments than the third (None: any number of them): its stability is
    NaN then. One whose searches end apart is searched for a third time and, without memory, looked for more closely, so
    that it may be another and better fit. It takes some tenths of a second to seconds, which need not be spent on
    candidates that cannot serve.
    """

    n_components: int
    mixture: Mixture
    bic: float
    aic: float
    icl: float
    train_log_likelihood: float
    heldout_log_likelihood: float
    stability: float
    smallest_share: float
    min_separation: float
    converged: bool
    degenerate: bool
    degeneracy: str | None
    basin_gap: float
    memory: Memory | None = None
    panel_bic: float | None = None
    next_log_score: float | None = None
    min_kept: float | None = None
    too_many: bool = False
    examined: "Examine | None" = None

    @property
    def covariance_type(self) -> CovarianceType:
        """What its covariances have in common."""
        return self.mixture.covariance_type

    @property
    def key(self) -> CandidateKey:
        """Which of a month's candidates it is."""
        return self.covariance_type, self.n_components

    @property
    def n_segments(self) -> int:
        """As many as components, where these have not been merged."""
        return self.n_components if self.mixture.parts is None else len(self.mixture.parts)


def fit_candidates(
    Z: Array,
    n_components: Sequence[int],
    *,
    variance_floor: Array,
    seed: int,
    champion: Mixture | None = None,
    names: Sequence[str] | None = None,
    rounding_variance: Array | None = None,
    hurdle: Hurdle | None = None,
    exact: Array | None = None,
    covariance_types: Sequence[CovarianceType] = ("full",),
    stands_for: float | None = None,
) -> list[Candidate]:
    """The best mixture for every type of covariances and number of components, in the order given.

    Z : (n, d) standardised coordinates. variance_floor : (d,) smallest variance along each feature. champion : last
    month's mixture expressed in the coordinates of Z, one more start for its own kind. names : of the features, for the
    words of degeneracy. rounding_variance : (n, d) variance of what each value was rounded
    from, which the fit and its figures then take into account. hurdle : a rule that makes the first component of every
    candidate; stability, separation and degeneracy are then those of the others, for a rule always agrees with itself.
    exact : (m, d) the customers whom a candidate would serve, every value as it is, on which degeneracy is judged; None
    where they are Z. covariance_types : those that cannot win are not examined. There is one search until a candidate
    is examined (`Candidate.examined`): what others cost is spent on those alone that may serve. stands_for : as of
    `search_mixtures`, all rows being searched among. None: of more than SEARCH_ROWS customers a sample is, by which
    agreement, parts and the held-out log-likelihood are judged; those that are neither near the best nor examined then
    have the figures of LOOK_ITERATIONS with everybody. Same arguments, same bits, whatever the number of threads.
    """
    Z = np.ascontiguousarray(Z, dtype=np.float64)
    exact = Z if exact is None else exact
    names = tuple(names) if names is not None else tuple(f"feature {j + 1}" for j in range(Z.shape[1]))
    if hurdle is not None:
        left = ~hurdle.holds(Z)
        rest = fit_candidates(
            Z[left],
            [k - 1 for k in n_components],
            variance_floor=variance_floor,
            seed=seed,
            champion=None if champion is None else champion.without_hurdle,
            names=names,
            rounding_variance=None if rounding_variance is None else rounding_variance[left],
            exact=exact[~hurdle.holds(exact)],
            covariance_types=covariance_types,
            stands_for=stands_for,
        )
        return _beside_the_rule(rest, Z, rounding_variance, hurdle, variance_floor, seed)
    among = partial(
        fit_candidates,
        variance_floor=variance_floor,
        seed=seed,
        names=names,
        exact=exact,
        covariance_types=covariance_types,
    )
    if stands_for is None and len(Z) > SEARCH_ROWS and np.isfinite(Z).all():
        drawn = np.sort(np.random.default_rng((seed, len(Z), 1)).permutation(len(Z))[:SEARCH_ROWS])
        few = among(
            Z[drawn],
            n_components,
            champion=champion,
            rounding_variance=None if rounding_variance is None else rounding_variance[drawn],
            stands_for=len(Z) / SEARCH_ROWS,
        )
        everybody = partial(among, Z, rounding_variance=rounding_variance, stands_for=1.0)

        def spike_in(mixture: Mixture) -> str | None:
            return find_degeneracy(mixture, exact, variance_floor, names)

        return _with_everybody(few, Z, rounding_variance, variance_floor, spike_in, everybody)
    stands_for = 1.0 if stands_for is None else stands_for
    heldout = heldout_rows(len(Z), seed)
    threads = -1 if len(Z) > ONE_THREAD_ROWS else 1
    ways: defaultdict[tuple[CovarianceType, int, int | None], Way] = defaultdict(Way)

    def search(
        covariance_type: CovarianceType, s: int, wanted: Sequence[int], finalists: int | None = None
    ) -> list[Found]:
        """What an independent search finds for the numbers of components wanted, with their neighbours on the way."""
        # The champion starts one search only: in all of them it would make the searches agree.
        known = champion if s == 0 and champion is not None and champion.covariance_type == covariance_type else None
        return search_mixtures(
            Z,
            wanted,
            beside=[k for k in n_components if k <= max(wanted) + 1],
            rounding_variance=rounding_variance,
            random_state=(seed, s),
            covariance_type=covariance_type,
            variance_floor=variance_floor,
            champion=known,
            finalists=finalists,
            stands_for=stands_for,
            sample_size=len(Z),  # whoever read Z has sampled it already
            way=ways[covariance_type, s, finalists],
            n_jobs=threads,
        )

    def summed_up(searches: Sequence[Found]) -> Candidate:
        return _candidate(Z, rounding_variance, exact, variance_floor, names, searches)

    def closer(searches: Sequence[Found]) -> list[Found]:
        """Each search looks by itself."""
        seeds = ((seed, s, one.n_components) for s, one in enumerate(searches))
        return [
            look_closer(Z, one, its_seed, variance_floor, rounding_variance, stands_for)
            for one, its_seed in zip(searches, seeds, strict=True)
        ]

    def merged(mixture: Mixture) -> Parts:
        return merge_components(mixture, Z, variance_floor, rounding_variance, stands_for=stands_for)

    def examined(searches: Sequence[Found], kept: float, stay: float, most: int | None = None) -> Candidate:
        """What further searches make of it: a second and, where they end apart, a third and a closer look of each."""
        covariance_type, k = searches[0].model.mixture_.covariance_type, searches[0].n_components
        with one_blas_thread():
            if most is not None and k > most:
                candidate = summed_up(searches)
                parts = merged(candidate.mixture)
                if len(parts) > most and not candidate.degenerate:
                    return replace(with_parts(candidate, parts, ()), stability=float("nan"), too_many=True)
            while len(searches) < STABILITY_SEARCHES and not _agree(searches, Z, rounding_variance):
                searches = [*searches, *search(covariance_type, len(searches), [k])]
            if not _agree(searches, Z, rounding_variance):
                searches = closer(searches)
            candidate = summed_up(searches)
            training = np.setdiff1d(np.arange(len(Z)), heldout)
            seen, unseen = (None if rounding_variance is None else rounding_variance[i] for i in (training, heldout))
            short = refitted(candidate.mixture, Z[training], variance_floor, seen)
            likelihood = float(short.log_likelihood(Z[heldout], unseen).mean())
            candidate = replace(candidate, heldout_log_likelihood=likelihood)
            if candidate.degenerate or not candidate.converged:
                return candidate  # no merging mends it
            parts = merged(candidate.mixture)

            def in_segments(one: Mixture) -> Array:
                of_one = parts if one is candidate.mixture else merged(one)
                return summed(one.responsibilities(Z, rounding_variance), of_one)

            return with_parts(candidate, parts, (in_segments(found.model.mixture_) for found in searches))

    with one_blas_thread():
        firsts = [search(one, 0, n_components) for one in covariance_types]
        customers = len(Z) * stands_for
        can_win = _can_win(firsts, customers)
        candidates = []
        for covariance_type, found in zip(covariance_types, firsts, strict=True):
            known = {one.n_components: [one] for one in found}
            near = _near_the_best(found, customers) if covariance_type in can_win else []
            more = FINALISTS_OF_FEW if threads == 1 else None
            for second in search(covariance_type, 1, near, more) if len(near) > 1 else []:
                known[second.n_components] = closer([*known[second.n_components], second])
            for searches in known.values():
                ask = partial(examined, searches) if covariance_type in can_win else None
                candidates.append(replace(summed_up(searches), stability=float("nan"), examined=ask))
        return candidates


def _with_everybody(
    found: Sequence[Candidate],
    Z: Array,
    rounding_variance: Array | None,
    floor: Array,
    spike_in: Callable[[Mixture], str | None],
    everybody: Callable[..., list[Candidate]],
) -> list[Candidate]:
    """Candidates for all rows of Z from those for some of them. spike_in : `find_degeneracy` of who would be served.
    everybody : `fit_candidates` among all."""

    def on_all(candidate: Candidate, **how: int) -> tuple[Candidate, bool]:
        """The candidate as it goes on with everybody, and whether it has come to an end. how : as of `gone_on`."""
        components, ended = gone_on(candidate.mixture.unmerged, Z, floor, rounding_variance, **how)
        degeneracy = spike_in(components)
        mixture = replace(components, parts=candidate.mixture.parts)
        there = replace(
            candidate,
            mixture=mixture,
            **_criteria(components, Z, rounding_variance),
            smallest_share=float(mixture.shares.min()),
            min_separation=float(bhattacharyya_distances(mixture).min()),
            degenerate=degeneracy is not None,
            degeneracy=degeneracy,
            basin_gap=candidate.basin_gap * len(Z) / SEARCH_ROWS,  # of as many parameters: their likelihoods alone
        )
        return there, ended

    def examined(ask: Examine, kept: float, stay: float, most: int | None = None) -> Candidate:
        few = ask(kept, stay, most)
        with one_blas_thread():
            if few.too_many:
                return on_all(few, most=LOOK_ITERATIONS)[0]
            whole, ended = on_all(few, n_jobs=-1)
        if few.degenerate or not whole.degenerate:
            return replace(whole, converged=whole.converged and ended)
        # what is best of a sample may be no more than a saddle of everybody's, on the way to a value that many share
        near = [one.n_components for one in found if abs(one.n_components - few.n_components) < 2]
        of_type = everybody(n_components=sorted(set(near)), covariance_types=(few.covariance_type,))
        again = next(one for one in of_type if one.n_components == few.n_components)
        return again if again.examined is None else again.examined(kept, stay, most)

    def looked_at(candidate: Candidate) -> Candidate:
        return on_all(candidate, most=LOOK_ITERATIONS)[0]

    def asking(candidate: Candidate, looked: Candidate) -> Candidate:
        ask = candidate.examined
        return replace(looked, examined=None if ask is None else partial(examined, ask))

    with one_blas_thread(), ThreadPoolExecutor(thread_count(-1)) as pool:
        looks = list(pool.map(looked_at, found))
        # of those among which the next passes may still decide, none is judged by a look
        best = min((one.bic for one in looks if not one.degenerate), default=np.inf)
        limit = best + max(NEAR_BIC, 2.0 * NEAR * len(Z))
        near = [not one.degenerate and one.bic <= limit for one in looks]
        ends = pool.map(lambda one: on_all(one)[0], (one for one, is_near in zip(found, near, strict=True) if is_near))
        looks = [next(ends) if is_near else look for look, is_near in zip(looks, near, strict=True)]
        return [asking(one, look) for one, look in zip(found, looks, strict=True)]


def _near_the_best(found: Sequence[Found], customers: float) -> list[int]:
    """The numbers of components whose fits may be as good as the best that is sound, as far as one search can tell."""
    sound = {one.n_components: one.bic for one in found if not one.degenerate}
    limit = min(sound.values(), default=0.0) + max(NEAR_BIC, 2.0 * NEAR * customers)
    return [k for k, score in sound.items() if score <= limit]


def _agree(searches: Sequence[Found], Z: Array, rounding_variance: Array | None) -> bool:
    """Whether searches, more than one, have found fits as good as each other that put customers into the same segments,
    or nothing that is sound."""
    scores = [found.bic for found in searches if not found.degenerate]
    if len(searches) == 1 or 0 < len(scores) < len(searches):
        return False
    if not scores or max(scores) - min(scores) > SAME_BIC:
        return not scores
    first, *others = [found.model.mixture_.log_joint(Z, rounding_variance).argmax(axis=1) for found in searches]
    return all(adjusted_rand_index(first, other) >= SAME_BASIN for other in others)


def _can_win(firsts: Sequence[Sequence[Found]], customers: float) -> list[CovarianceType]:
    """The types of covariances that may still be best, after one search for each."""
    # a sound fit goes before a degenerate one
    best = [min(first, key=lambda found: (found.degenerate, found.bic)) for first in firsts]
    leader = min(best, key=lambda found: (found.degenerate, found.bic))
    limit = leader.bic + 2.0 * CANNOT_WIN * customers
    near = [found for found in best if found.degenerate == leader.degenerate and found.bic <= limit]
    return [found.model.mixture_.covariance_type for found in near]


def _beside_the_rule(
    rest: Sequence[Candidate], Z: Array, rounding_variance: Array | None, hurdle: Hurdle, floor: Array, seed: int
) -> list[Candidate]:
    """Candidates for everybody from those for the rows that the rule leaves."""
    under = hurdle.holds(Z)
    share = float(under.mean())
    members, their_spread = Z[under], None if rounding_variance is None else rounding_variance[under]
    heldout = heldout_rows(len(members), seed)
    training = np.setdiff1d(np.arange(len(members)), heldout)

    @cache
    def of_rule(covariance_type: CovarianceType) -> tuple[tuple[Array, Array], float]:
        """Mean and covariance of the rule's component, and its log-likelihood of members that it has not seen."""
        spread, unseen_spread = (None if their_spread is None else their_spread[rows] for rows in (training, heldout))
        mean, covariance = rule_component(hurdle, members[training], floor, spread, covariance_type)
        alone = Mixture(np.ones(1), mean[None], covariance[None])
        unseen = float(alone.log_likelihood(members[heldout], unseen_spread).mean())
        return rule_component(hurdle, members, floor, their_spread, covariance_type), unseen

    def beside(candidate: Candidate) -> Candidate:
        component, unseen = of_rule(candidate.covariance_type)
        mixture = with_rule(candidate.mixture, hurdle, share, *component)
        log_likelihood = float(mixture.log_likelihood(Z, rounding_variance).sum())
        score = mixture.n_parameters * float(np.log(len(Z))) - 2.0 * log_likelihood
        examined = candidate.examined
        return replace(
            candidate,
            n_components=mixture.n_components,
            mixture=mixture,
            bic=score,
            aic=2.0 * mixture.n_parameters - 2.0 * log_likelihood,
            icl=score + candidate.icl - candidate.bic,  # a rule leaves nobody in doubt
            train_log_likelihood=log_likelihood / len(Z),
            heldout_log_likelihood=float(
                share * (unseen + np.log(share)) + (1.0 - share) * (candidate.heldout_log_likelihood + np.log1p(-share))
            ),
            smallest_share=float(mixture.shares.min()),
            examined=None
            if examined is None
            else lambda kept, stay, most=None: beside(examined(kept, stay, most if most is None else most - 1)),
        )

    return [beside(candidate) for candidate in rest]


def fit_mixture(
    Z: Array,
    n_components: int,
    *,
    seed: int = 0,
    prior: bool = True,
    variance_floor: Array | None = None,
    tolerance: float = TOLERANCE,
) -> Mixture:
    """One search for one number of components; without prior and floor it is plain maximum likelihood.

    Z : (n, d). variance_floor : (d,), None for no floor.
    """
    (found,) = search_mixtures(
        Z,
        [n_components],
        beside=range(max(1, n_components - 2), n_components),
        random_state=seed,
        variance_floor=variance_floor,
        prior="conjugate" if prior else None,
        tol=tolerance,
    )
    return found.model.mixture_


def heldout_rows(n: int, seed: int) -> Labels:
    """Ascending indices of the fifth of n rows on which `fit_candidates` measures the held-out log-likelihood."""
    order = np.random.default_rng((seed, n)).permutation(n)
    return np.sort(order[: max(1, int(n * HELDOUT_SHARE))])


def _candidate(
    Z: Array,
    rounding_variance: Array | None,
    exact: Array,
    floor: Array,
    names: Sequence[str],
    searches: Sequence[Found],
) -> Candidate:
    """Sum up what the independent searches for one k have found."""
    reasons = [find_degeneracy(found.model.mixture_, exact, floor, names) for found in searches]
    # A sound fit goes before a degenerate one, whatever their posteriors.
    chosen = min(range(len(searches)), key=lambda s: (reasons[s] is not None, -searches[s].objective))
    best = searches[chosen]
    mixture = best.model.mixture_

    partitions = [found.model.mixture_.log_joint(Z, rounding_variance).argmax(axis=1) for found in searches]
    criteria = _criteria(mixture, Z, rounding_variance)
    ends = [found.model.mixture_ for found in searches if found is not best]
    ends += [end for found in searches for end in found.alternatives]
    others = [
        bic(end, Z, rounding_variance)
        for end in ends
        if adjusted_rand_index(end.log_joint(Z, rounding_variance).argmax(axis=1), partitions[chosen]) < SAME_BASIN
    ]
    return Candidate(
        n_components=mixture.n_components,
        mixture=mixture,
        **criteria,
        heldout_log_likelihood=float("nan"),
        stability=agreement(partitions),
        smallest_share=float(mixture.weights.min()),
        min_separation=float(bhattacharyya_distances(mixture).min()),
        converged=best.converged,
        degenerate=reasons[chosen] is not None,
        degeneracy=reasons[chosen],
        basin_gap=max(0.0, min(others) - criteria["bic"]) if others else float("nan"),
    )


class _Criteria(TypedDict):
    bic: float
    aic: float
    icl: float
    train_log_likelihood: float


def _criteria(mixture: Mixture, Z: Array, rounding_variance: Array | None) -> _Criteria:
    """What the likelihood of the rows says of a mixture's components, by the names that a candidate has for it."""
    R = mixture.responsibilities(Z, rounding_variance)
    entropy = -float(np.sum(R * np.log(np.maximum(R, np.finfo(float).tiny))))
    log_likelihood = float(mixture.log_likelihood(Z, rounding_variance).sum())
    score = mixture.n_parameters * float(np.log(len(Z))) - 2.0 * log_likelihood
    return {
        "bic": score,
        "aic": 2.0 * mixture.n_parameters - 2.0 * log_likelihood,
        "icl": score + 2.0 * entropy,
        "train_log_likelihood": log_likelihood / len(Z),
    }


def agreement(partitions: Sequence[Labels]) -> float:
    """Mean adjusted Rand index of each two of these partitions (n,) of the same rows; 1 = the same, NaN of one."""
    found = [adjusted_rand_index(a, b) for a, b in combinations(partitions, 2)]
    return float(np.mean(found)) if found else float("nan")


def with_parts(candidate: Candidate, parts: Parts, memberships: Iterable[Array]) -> Candidate:
    """The candidate with these parts as segments; itself where each component is one. memberships : (n, m) of the same
    rows in the segments that each independent search has found, not asked for where nothing is merged."""
    if len(parts) == candidate.n_components:
        return candidate
    mixture = replace(candidate.mixture, parts=parts)
    memory = None if candidate.memory is None else candidate.memory.merged(parts, mixture.weights)
    return replace(
        candidate,
        mixture=mixture,
        memory=memory,
        stability=agreement([found.argmax(axis=1) for found in memberships]),
        smallest_share=float(mixture.shares.min()),
        min_separation=float(bhattacharyya_distances(mixture).min()),
        min_kept=None if memory is None else float(memory.flicker().min()),
    )
