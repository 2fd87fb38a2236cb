"""The month's candidates with memory: for every number of components a chain fitted to a panel, and what speaks for it.

Here: the starts, which are searches on the pooled months, the fits, and their figures. Not here: the figures of
mixtures without memory (candidates.py), and which candidate serves (models/selection.py).

What concerns the segments of today is judged on the last month: how many there are, shares, separation, degeneracy,
agreement. What concerns the chain is judged on the panel: its posterior, and how well it predicts. The panel does not
tell how many segments there are: customers of one segment differ from one another for good, so that a chain predicts
better with every segment that tells a few of them apart. On the demo and on CDNOW both BIC of the panel and the log
score one month ahead go on improving up to nine segments; BIC of the last month, each customer once, has a minimum
(benchmarks/number_of_segments.py).
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np

from segment_pipeline import helper
from segment_pipeline.arrays import Array, Flags
from segment_pipeline.mixture.candidates import (
    CANNOT_WIN,
    LOOK_ITERATIONS,
    ONE_THREAD_ROWS,
    Candidate,
    CandidateKey,
    agreement,
    heldout_rows,
    with_parts,
)
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import SEEN, Panel
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.degeneracy import find_degeneracy
from segment_pipeline.mixture.estimator import one_blas_thread, thread_count
from segment_pipeline.mixture.gaussian import Mixture, Parts, bhattacharyya_distances, bic, summed
from segment_pipeline.mixture.merging import merge_components, merge_flickering
from segment_pipeline.mixture.search import (
    SAME_BASIN,
    SHORT_ITERATIONS,
    TOLERANCE,
    adjusted_rand_index,
    search_mixtures,
)
from segment_pipeline.mixture.starts import merges, splits

START_ROWS = 12_000
"""The searches on the pooled months see at most so many customer-months: chains only start from what they find, from
splits of the best chain with one segment fewer, and from merges of the best with one more. Without the splits the best
posteriors are missed: on the demo by 600 to 1,000 BIC from seven segments on, in fits that flicker where the better
ones do not; without the merges two of three searches miss its best three segments by 100 BIC."""

SHORT_ROWS = 3_000
"""Of a panel with more customer-months, every start first runs on a sample of customers with so many."""

MERGES = 4
FINALISTS = 3
FINALIST_TOLERANCE = 1e-4
"""So many merges of a larger chain are starts, and so many of the starts run on until they nearly rest: a dozen
iterations do not tell yet which ends highest. With two of them, on more rows, one search in nine missed the demo's best
three segments by 990 BIC."""

RANKING_ITERATIONS = 9
"""And each of them before that with the customers of all starts, on which they are ranked: on a sample noise decides
between optima of the demo that lie 10 to 30 BIC apart. In three of nine searches the best three or four segments were
not among the three starts that the sample put first, and in one of nine among those that this does."""

AFAR = (0.15, 0.2, 0.25)
"""Powers to which densities are raised where a candidate is looked at from afar: the months of a panel whose windows of
half a year overlap tell everything about six times, and the ridges that such certainty raises between optima are then
low. On the demo's first six months 22 of 47 starts come by way of 0.2 to four segments 17 BIC better than those where
most end; without it 1 does. Of 0.1 and of 0.4 none."""

FEW_ROWS = 20_000
"""Of a panel with more customer-months a sample of customers with so many decides which fit is best; that one goes on
with all of them."""


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain and the panel on which it is judged."""

    model: MarkovMixture
    panel: Panel

    @property
    def key(self) -> CandidateKey:
        """Which of the month's candidates it would be."""
        return self.model.mixture_.covariance_type, self.model.n_components

    def degeneracy(self, exact: Panel, floor: Array, names: Sequence[str]) -> str | None:
        """exact : the same customers, every value as it is."""
        return find_degeneracy(self.mixture, exact.rows[self.last], floor, names)

    @cached_property
    def last(self) -> Flags:
        """(N,) which rows of the panel are of the last month."""
        return np.asarray(self.panel.months_of_rows == self.panel.n_months - 1)

    @cached_property
    def expected(self) -> Array:
        """(m, k) what is expected of those who are there in the last month, given the months before it."""
        last = self.panel.n_months - 1
        return np.asarray(self.model.expect(self.panel, last)[self.panel.states[:, last] == SEEN, 0])

    @cached_property
    def memberships(self) -> Array:
        """(m, k) of those who are there in the last month, given the months up to it."""
        spread = self.panel.rounding_variance
        return self.model.mixture_.responsibilities(
            self.panel.rows[self.last], None if spread is None else spread[self.last], prior=self.expected
        )

    @cached_property
    def mixture(self) -> Mixture:
        """The components, with the shares that they have in the last month."""
        shares = self.memberships.mean(axis=0)
        return replace(self.model.mixture_, weights=np.maximum(shares, np.finfo(float).tiny))

    def parts(self, floor: Array, least: float) -> Parts:
        """Which components are one segment of the last month's customers, and of those among whom they flicker."""
        spread = self.panel.rounding_variance
        parts = merge_components(
            self.mixture,
            self.panel.rows[self.last],
            floor,
            None if spread is None else spread[self.last],
            self.memberships,
        )
        return merge_flickering(parts, self.model.memory_, self.mixture.weights, least)

    def memberships_in(self, parts: Parts) -> Array:
        """(m, .) `memberships`, of segments."""
        return summed(self.memberships, parts)

    @property
    def bic_of_the_last_month(self) -> float:
        """Of the components as a mixture of its customers, of whom nothing else is known; lower is better."""
        spread = self.panel.rounding_variance
        return bic(self.mixture, self.panel.rows[self.last], None if spread is None else spread[self.last])

    @property
    def log_likelihood(self) -> float:
        """Mean log density of the features of the last month, given the months before, nats per customer."""
        return self._mean_log_density(self.last, self.expected)

    @property
    def next_log_score(self) -> float:
        """The same of all months of customers of whom there is a month before, nats per customer-month."""
        rows = self.panel.known_before
        return self._mean_log_density(rows, self.model.expect(self.panel)[self.panel.states == SEEN][rows])

    def _mean_log_density(self, rows: Flags, prior: Array) -> float:
        spread = self.panel.rounding_variance
        return float(
            self.model.mixture_.log_likelihood(
                self.panel.rows[rows], None if spread is None else spread[rows], prior=prior
            ).mean()
        )


def fit_memory_candidates(
    panel: Panel,
    n_components: Sequence[int],
    *,
    variance_floor: Array,
    seed: int,
    exact: Panel | None = None,
    champion: tuple[Mixture, Memory] | None = None,
    known: Sequence[tuple[Mixture, Memory]] = (),
    names: Sequence[str] | None = None,
    covariance_types: Sequence[CovarianceType] = ("full",),
) -> list[Candidate]:
    """The best chain for every type of covariances and number of components, in the order given.

    panel : as the fit sees it, the last month being the one that is segmented. exact : the same with every value as it
    is, on which `next_log_score` is measured and degeneracy is judged; None where the two are one. champion : last
    month's, in the coordinates of the panel, one more start for its own kind. known : last month's candidates,
    likewise; where there is one of every size of a type, its first search only goes on from them. variance_floor, seed,
    names, covariance_types : as in `fit_candidates`. There is one search until a candidate is examined
    (`Candidate.examined`): what others cost is spent on those alone that may serve. Same arguments, same bits, whatever
    the number of threads. Raises ValueError where the panel cannot carry so many components.
    """
    names = tuple(names) if names is not None else tuple(f"feature {j + 1}" for j in range(panel.n_features))
    exact = replace(panel, rounding_variance=None) if exact is None else exact
    heldout = heldout_rows(panel.n_customers, seed)
    training = few_customers(panel.take(np.setdiff1d(np.arange(panel.n_customers), heldout)), seed, FEW_ROWS)
    few, few_exact = (few_customers(part, seed, FEW_ROWS) for part in (panel, exact))
    short, both = few_customers(few, seed, SHORT_ROWS), (few, few_exact)
    before = {(mixture.covariance_type, mixture.n_components): (mixture, memory) for mixture, memory in known}

    def fit_each(part: Panel, starts: Sequence[tuple[Mixture, Memory | None]], **how: Any) -> list[Chain]:
        models = helper.each(fitted, part, [(mixture, memory, variance_floor, how) for mixture, memory in starts])
        return [Chain(model, part) for model in models]

    def fit(part: Panel, mixture: Mixture, memory: Memory | None = None, **how: Any) -> Chain:
        return fit_each(part, [(mixture, memory)], **how)[0]

    def each_again(chains: Sequence[Chain], part: Panel, **how: Any) -> list[Chain]:
        return fit_each(part, [(chain.model.mixture_, chain.model.memory_) for chain in chains], **how)

    def again(chain: Chain, part: Panel, **how: Any) -> Chain:
        return each_again([chain], part, **how)[0]

    def best_from(starts: Sequence[Mixture], finalists: int = FINALISTS) -> Chain:
        runs = fit_each(short, [(start, None) for start in starts], max_iter=SHORT_ITERATIONS, accelerate=False)
        runs = each_again(runs, few, max_iter=RANKING_ITERATIONS)
        ahead = sorted(runs, key=posterior, reverse=True)[:finalists]
        return max(each_again(ahead, few, tol=FINALIST_TOLERANCE), key=posterior)

    def from_afar(chains: Sequence[Chain]) -> list[Chain]:
        models = helper.each(seen_from_afar, both, [(chain.model, variance_floor, names) for chain in chains])
        return [Chain(model, few) for model in models]

    def or_the_champion(chain: Chain) -> Chain:
        """It starts one search only: in all of them it would make the searches agree."""
        if champion is None or chain.key != (champion[0].covariance_type, champion[0].n_components):
            return chain
        return max(chain, fit(few, *champion), key=posterior)

    def search(covariance_type: CovarianceType, s: int, wanted: Collection[int]) -> dict[int, Chain]:
        """The best chain that an independent search has found for the numbers of components wanted, which it begins
        with their neighbours: splits of one with fewer, merges of one with more."""
        random = np.random.default_rng((seed, s, 2))
        sizes = [k for k in sorted(n_components) if min(wanted) - 1 <= k <= max(wanted) + 1]
        pooled = search_mixtures(
            few.rows,
            sizes,
            rounding_variance=few.rounding_variance,
            random_state=(seed, s),
            covariance_type=covariance_type,
            variance_floor=variance_floor,
            sample_size=START_ROWS,
            n_jobs=1,
        )
        begun = {found.n_components: [found.model.mixture_, *found.alternatives] for found in pooled}
        ended: dict[int, Chain] = {}
        for k in sizes:
            starts = begun[k] + (splits(ended[k - 1].mixture, random) if k - 1 in ended else [])
            if k in wanted:
                ended[k] = best_from(starts)
            else:
                ended[k] = again(fit(short, starts[0], max_iter=SHORT_ITERATIONS, accelerate=False), few, max_iter=1)
            if s == 0:
                ended[k] = or_the_champion(ended[k])
        for k in sorted(wanted, reverse=True):
            if k + 1 in ended:
                merged = best_from(merges(ended[k + 1].mixture)[:MERGES], finalists=1)
                ended[k] = max(ended[k], merged, key=posterior)
            ended[k] = again(ended[k], few)
        return {k: ended[k] for k in wanted}

    def goes_on(covariance_type: CovarianceType) -> bool:
        return {(covariance_type, k) for k in n_components} <= set(before)

    def first_search(covariance_type: CovarianceType) -> dict[int, Chain]:
        """Where everything is known from the month before, it goes on from there: the months are nearly the same.
        Elsewhere those that may win are looked at from afar before one is asked."""
        if not goes_on(covariance_type):
            begun = search(covariance_type, 0, n_components)
            scores = {k: chain.bic_of_the_last_month for k, chain in begun.items()}
            limit = min(scores.values()) + 2.0 * CANNOT_WIN * few.n_customers
            near = [k for k in begun if scores[k] <= limit]
            return begun | dict(zip(near, from_afar([begun[k] for k in near]), strict=True))
        sizes = n_components[::-1]  # what takes longest first, so that nobody waits for it in the end
        found = fit_each(few, [before[covariance_type, k] for k in sizes])
        return dict(zip(sizes, map(or_the_champion, found), strict=True))

    def candidate(first: Chain) -> Candidate:
        """What the first search says. With all customers it takes a look only; it goes on when it is examined."""
        whole = first if few is panel else again(first, panel, max_iter=LOOK_ITERATIONS)
        found = _candidate(whole, exact, variance_floor, names, [first])
        return replace(found, converged=first.model.converged_, examined=partial(examined, first, whole))

    def examined(first: Chain, whole: Chain, kept: float, stay: float, most: int | None = None) -> Candidate:
        """What further searches make of it: a second and, where the two end apart, seen from afar too, a third. The
        best of them goes on with all customers. What only went on from the month before, and is surpassed now, was no
        search. Segments that customers only pass through are not searched for again: where they are ages, every search
        ends in ages; nor are more than anybody asked for."""
        covariance_type, k = first.key
        went_on = goes_on(covariance_type)

        def anew(s: int) -> Chain:
            return search(covariance_type, s, [k])[k]

        # of a segment of several components no fewer stay than of each
        if whole.model.memory_.stays.min() < stay or (most is not None and k > most):
            found = _candidate(whole, exact, variance_floor, names, [first])
            found = with_parts(found, whole.parts(variance_floor, kept), [first.memberships])
            if found.memory is not None and found.memory.stays.min() < stay:
                return found
            if most is not None and found.n_segments > most and not found.degenerate:
                return replace(found, too_many=True)
        with one_blas_thread():
            begun = helper.aside(seen_from_afar, both, first.model, variance_floor, names) if went_on else None
            other = anew(1)
            chains = [first if begun is None else Chain(begun(), few), other]
            if not agree(*chains):
                chains = from_afar(chains)
            if not agree(*chains):
                chains += from_afar([anew(2)])
                if went_on and posterior(chains[0]) < max(map(posterior, chains[1:])):
                    chains = chains[1:] if agree(*chains[1:]) else [*from_afar([anew(0)]), *chains[1:]]
            chains.sort(key=lambda chain: standing(chain, few_exact, variance_floor, names), reverse=True)
            best = chains[0]
            if few is panel:
                whole = best
            elif best is first:
                whole = again(whole, panel, n_jobs=-1)
            else:
                whole = again(best, panel, n_jobs=-1)
            model, memory = best.model.mixture_, best.model.memory_
            short = helper.aside(fitted, training, model, memory, variance_floor, {"tol": FINALIST_TOLERANCE})
            found = _candidate(whole, exact, variance_floor, names, chains)
            sound = found.converged and not found.degenerate
            parts = whole.parts(variance_floor, kept) if sound else ()
            unseen = Chain(short(), panel.take(heldout))
            ahead = Chain(unseen.model, exact.take(heldout))
            found = replace(
                found,
                panel_bic=whole.model.bic(panel),
                heldout_log_likelihood=unseen.log_likelihood,
                next_log_score=ahead.next_log_score,
            )
            if not sound:
                return found
            memberships = (chain.memberships_in(chain.parts(variance_floor, kept)) for chain in chains)
            return with_parts(found, parts, memberships)

    threads = thread_count(-1) if len(panel.rows) > ONE_THREAD_ROWS else 1
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        firsts = dict(zip(covariance_types, pool.map(first_search, covariance_types), strict=True))
        return list(pool.map(candidate, [firsts[one][k] for one, k in product(covariance_types, n_components)]))


def fitted(
    part: Panel, mixture: Mixture, memory: Memory | None, variance_floor: Array, how: Mapping[str, Any]
) -> MarkovMixture:
    """A chain that sets out from there. how : further parameters of the estimator."""
    model = MarkovMixture(
        mixture.n_components,
        covariance_type=mixture.covariance_type,
        variance_floor=variance_floor,
        mixture_init=mixture,
        memory_init=memory,
        **{"tol": TOLERANCE, **how},
    )
    return model.fit(part)


def seen_from_afar(
    parts: tuple[Panel, Panel], model: MarkovMixture, variance_floor: Array, names: Sequence[str]
) -> MarkovMixture:
    """The best that it and fits become which see less of the months at first, and set out from its components. parts :
    the customers that it is fitted to, as the fit sees them and every value as it is."""
    few, exact = parts
    best = chain = Chain(model, few)
    start = chain.mixture

    def fit(start: Mixture, memory: Memory | None, **how: Any) -> Chain:
        return Chain(fitted(few, start, memory, variance_floor, how), few)

    for tempering in AFAR:
        far = fit(start, None, tol=FINALIST_TOLERANCE, tempering=tempering).model
        near = fit(far.mixture_, far.memory_, tol=FINALIST_TOLERANCE)
        best = max(best, near, key=lambda one: standing(one, exact, variance_floor, names))
        start = far.mixture_
    return model if best is chain else fit(best.model.mixture_, best.model.memory_).model


def standing(chain: Chain, exact: Panel, floor: Array, names: Sequence[str]) -> tuple[bool, float]:
    """A sound fit goes before a degenerate one, whatever their posteriors."""
    return chain.degeneracy(exact, floor, names) is None, posterior(chain)


def agree(one: Chain, other: Chain) -> bool:
    """Whether both put the last month's customers into the same segments."""
    labels = [chain.memberships.argmax(axis=1) for chain in (one, other)]
    return adjusted_rand_index(*labels) >= SAME_BASIN


def posterior(chain: Chain) -> float:
    """Mean log posterior of a fit; higher is better, and comparable on one panel."""
    return float(chain.model.lower_bound_)


def few_customers(panel: Panel, seed: int, most: int) -> Panel:
    """As many customers, drawn at random, as have at most so many customer-months; the panel itself where all do."""
    if len(panel.rows) <= most:
        return panel
    order = np.random.default_rng((seed, panel.n_customers, 1)).permutation(panel.n_customers)
    rows = np.cumsum((panel.states == SEEN).sum(axis=1)[order])
    return panel.take(np.sort(order[rows <= most]))


def _candidate(chain: Chain, exact: Panel, floor: Array, names: Sequence[str], searches: Sequence[Chain]) -> Candidate:
    """Sum up. chain : fitted to the panel. exact : that panel with every value as it is. searches : what independent
    searches have found on the same customers, the best first."""
    model, R = chain.model, chain.memberships
    k, customers, parameters = model.n_components, len(R), chain.mixture.n_parameters
    score = chain.bic_of_the_last_month
    entropy = -float(np.sum(R * np.log(np.maximum(R, np.finfo(float).tiny))))
    best, *others = searches
    labels = [one.memberships.argmax(axis=1) for one in searches]
    apart = [
        one.model.bic(one.panel)
        for one, partition in zip(others, labels[1:], strict=True)
        if adjusted_rand_index(partition, labels[0]) < SAME_BASIN
    ]
    degeneracy = chain.degeneracy(exact, floor, names)
    return Candidate(
        n_components=k,
        mixture=chain.mixture,
        bic=score,
        aic=score + parameters * (2.0 - float(np.log(customers))),
        icl=score + 2.0 * entropy,
        train_log_likelihood=chain.log_likelihood,
        heldout_log_likelihood=float("nan"),
        stability=agreement(labels),
        smallest_share=float(chain.mixture.weights.min()),
        min_separation=float(bhattacharyya_distances(chain.mixture).min()),
        converged=model.converged_,
        degenerate=degeneracy is not None,
        degeneracy=degeneracy,
        basin_gap=max(0.0, min(apart) - best.model.bic(best.panel)) if apart else float("nan"),
        memory=model.memory_,
        min_kept=float(model.memory_.flicker().min()),
    )
