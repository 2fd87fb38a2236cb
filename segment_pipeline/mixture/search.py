"""The search for the best mixture with each number of components: many cheap starts, few full runs.

Here: em-EM (Biernacki, Celeux & Govaert 2003) over subsamples, and what it has found. Not here: EM itself (em.py),
where runs start (starts.py), and what speaks for one number of components or another (candidates.py,
models/selection.py).

Each explorer draws its own subsamples, gives every start a dozen iterations on the small one, takes the best few to the
medium one, and remembers its fits: on the way up the next larger k starts from their splits too, on the way down the
next smaller one from their merges. What the explorers bring back runs to convergence on all rows. k-means starts alone
miss the optimum.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.acceleration import SAME_RUN, Ending
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.degeneracy import degeneracy_on
from segment_pipeline.mixture.em import (
    GUARD_VARIANCE,
    Parameters,
    Prior,
    Rows,
    StackedEM,
    moments_of_labels,
    moments_of_mixtures,
    scatter_of_one,
    spike_guard,
)
from segment_pipeline.mixture.estimator import GaussianMixtureEM, checked_floor, one_blas_thread, thread_count
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.starts import WARD_ROWS, kmeans_labels, merges, splits, ward_labels, ward_tree

TOLERANCE = 1e-5
"""A run has converged when what is still to be gained, in mean log posterior per customer, is estimated to be less."""

SHORT_ITERATIONS = 12
SHORT_ROWS = 2000
"""Every start gets this many plain EM iterations on a subsample of this many rows."""

CLOSER_ROWS = 6000
"""And this many where a search looks closer. On the smaller subsample noise decides which of several starts seem best:
of CDNOW's customers, half of whom are in atoms, two searches of three there missed the best eight components by 280 to
1,000 BIC, though a split of the best seven led to it."""

MEDIUM_ROWS = 12_000
"""Above twice this many rows the finalists first converge on a subsample of this size; with fewer it would cost more
than it saves."""

EXPLORERS = 2
"""Explorers per search of more rows than that, each with its own subsamples, in a thread of its own."""

FINALISTS = 3
SEMIFINAL_ITERATIONS = 36
"""Twice as many of the best starts get a few accelerated iterations, the best of those run to convergence."""

FEW_ROWS = 1000
FINALISTS_OF_FEW = 8
"""Up to so many rows more are followed: it takes a twentieth of a second, and of 178 wines one search in three missed
the best three components by 17 BIC. With more rows it would take nearly twice the time."""

PARENTS = 2
"""How many fits of one k are split or merged into starts of its neighbours."""

FINALIST_SLACK = 10.0
"""How many times the tolerance may be left to gain while it is open which finalist is best; only that one goes on."""

SAME_BASIN = 0.95
"""Adjusted Rand index above which two fits are the same solution."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best mixture that a search has found for one number of components.

    bic : lower is better; from the plain log-likelihood on the rows fitted, without prior. model : fitted, in the
    coordinates of X. objective : mean log posterior per row, higher is better. n_rows : the number of rows it was last
    fitted on. alternatives : where the other full runs ended, best first. neighbours : the best that its explorers have
    come to for one component less and for one more, where they looked for these.
    """

    n_components: int
    bic: float
    model: GaussianMixtureEM
    objective: float
    converged: bool
    degenerate: bool
    n_rows: int
    alternatives: tuple[Mixture, ...]
    neighbours: tuple[Mixture, ...] = ()


@dataclass(frozen=True, eq=False)
class Run:
    """Where one run of EM ended: its moments (k, P), and its mean log posterior on the rows it ran on."""

    moments: Array
    objective: float
    converged: bool


def search_mixtures(
    X: ArrayLike,
    n_components: Iterable[int] = range(2, 11),
    *,
    beside: Iterable[int] = (),
    random_state: int | Sequence[int] | None = None,
    covariance_type: CovarianceType = "full",
    variance_floor: ArrayLike | None = None,
    prior: Literal["conjugate"] | Prior | None = "conjugate",
    rounding_variance: Array | None = None,
    champion: Mixture | None = None,
    tol: float = TOLERANCE,
    finalists: int | None = None,
    shun_spikes: bool = True,
    sample_size: int = 250_000,
    stands_for: float = 1.0,
    polish_passes: int = 0,
    progress: Callable[[int], None] | None = None,
    way: "Way | None" = None,
    n_jobs: int | None = -1,
) -> list[Found]:
    """The best mixture with covariances of this type for every number of components, in the order given.

    X : (n, d) finite numbers. beside : numbers of components that are gone through on the way, for the starts that
    their neighbours have of them, and of which nothing is returned. random_state : non-negative integers; None draws
    them. The same ones give the same bits, whatever n_jobs. covariance_type : see covariances.py. variance_floor : (d,)
    or scalar smallest variance along each feature, None for no floor. prior : as in `GaussianMixtureEM`.
    rounding_variance : (n, d) variance of what each value was rounded from (resolution.py), None for exact values; BIC
    and objective are then of the spread values. champion : last month's mixture in the coordinates of X, one more start
    for its own k. tol : mean log posterior per row that may still be to gain at convergence, nats. finalists : runs per
    subsample that are followed to the end, None for what the rows allow. shun_spikes : sound fits go before those with
    a component that only rounding, prior or floor holds up; False for the highest posterior whatever it means.
    sample_size : with more rows than this, the search sees a sample of this size. stands_for : how many customers each
    row counts for, where X is a sample: prior and BIC are theirs, and what is a spike. polish_passes : EM passes over
    all rows afterwards, when it was a sample. progress : called with each number of components when it is done. way :
    what searches with the same arguments but for other numbers of components have come to on their way up, from where
    this one goes on, to the same bits; None for a search by itself. n_jobs : threads; None for 1, -1 for one per core.

    Raises ValueError where X is not finite, has too few rows, or features that repeat one another.
    """
    wanted = list(n_components)
    data: NDArray[Any] = check_array(X, dtype="numeric", estimator="search_mixtures", input_name="X")
    sampling, *exploring = np.random.SeedSequence(random_state).spawn(1 + EXPLORERS)
    if rounding_variance is not None:
        rounding_variance = np.asarray(rounding_variance, dtype=np.float64)
        if (
            rounding_variance.shape != data.shape
            or not np.isfinite(rounding_variance).all()
            or rounding_variance.min() < 0
        ):
            raise ValueError(f"rounding_variance must be finite, not negative and of the shape of X, {data.shape}")
    if not (prior is None or prior == "conjugate" or isinstance(prior, Prior)):
        raise ValueError(f"prior must be 'conjugate', None or a Prior, got {prior!r}")
    if finalists is None:
        finalists = FINALISTS_OF_FEW if min(len(data), sample_size) <= FEW_ROWS else FINALISTS
    if finalists < 1 or polish_passes < 0 or sample_size < 1:
        raise ValueError("finalists and sample_size must be at least 1, polish_passes at least 0")
    chosen = _sample(len(data), sample_size, np.random.default_rng(sampling))
    sample = np.ascontiguousarray(data[chosen], dtype=np.float64)
    ascending = sorted({*wanted, *beside})
    _check(sample, ascending, champion)
    rows = Rows(
        sample,
        center=sample.mean(axis=0),
        weights=_each(len(sample), stands_for),
        rounding_variance=None if rounding_variance is None else rounding_variance[chosen],
    )
    problem = Problem.of(rows, covariance_type, variance_floor, prior, tol, finalists, shun_spikes)
    polishing = polish_passes and len(data) > sample_size
    everyone = Rows(data, center=rows.center, rounding_variance=rounding_variance) if polishing else None

    with one_blas_thread(), ThreadPoolExecutor(thread_count(n_jobs)) as pool:
        seeds = exploring if problem.is_large else exploring[:1]
        way = way or Way()
        if not way.leads_to(ascending):
            way.explorers = list(pool.map(lambda seed: Explorer(problem, np.random.default_rng(seed)), seeds))
        for k in ascending[len(way.explored) :]:
            start = champion if champion is not None and champion.n_components == k else None
            list(pool.map(lambda chain, k=k, start=start: chain.explore(k, start), way.explorers))
        chains = [one.at(ascending) for one in way.explorers]
        settling: dict[int, Future[Found]] = {}
        found: dict[int, Found] = {}

        def collect(k: int) -> None:
            found[k] = settling.pop(k).result()
            if everyone is not None:
                found[k] = _polish(problem, found[k], everyone, polish_passes, pool)
            if progress is not None:
                progress(k)

        # as far down as somebody asks for, and for what they have for a neighbour
        for k in [k for k in reversed(ascending) if k >= min(wanted, default=k) - 1]:
            list(pool.map(lambda chain, k=k: chain.revisit(k), chains))
            if k not in wanted:
                continue
            runs = [run for chain in chains for run in chain.ended[k]]
            settling[k] = pool.submit(_settle, problem, k, runs, chains[0].few)  # while the next k is revisited
            for settled in [k for k, task in settling.items() if task.done()]:
                collect(settled)
        for k in list(settling):
            collect(k)

    def neighbours(k: int) -> tuple[Mixture, ...]:
        best = (one for chain in chains for size in (k - 1, k + 1) for one in chain.best_mixtures(size)[:1])
        return tuple(_moved(one, rows.center) for one in best)

    return [replace(found[k], neighbours=neighbours(k)) for k in wanted]


def look_closer(
    X: Array,
    known: Found,
    random_state: int | Sequence[int],
    variance_floor: Array,
    rounding_variance: Array | None,
    stands_for: float = 1.0,
) -> Found:
    """What one search finds for a number of components when it looks again, at more rows, from all the splits and
    merges of what it has found for the neighbours; never worse than what it has.

    known : what it has. Other arguments as of `search_mixtures`, with its defaults. It costs a twentieth to a sixth of
    the search.
    """
    weights = _each(len(X), stands_for)
    rows = Rows(X, center=X.mean(axis=0), weights=weights, rounding_variance=rounding_variance)
    mine, k = known.model.mixture_, known.n_components
    problem = Problem.of(rows, mine.covariance_type, variance_floor, "conjugate", TOLERANCE, FINALISTS, True)
    explorer = Explorer(problem, np.random.default_rng(random_state), CLOSER_ROWS)
    explorer.look_closer(k, [_moved(one, -rows.center) for one in known.neighbours])
    had = Run(moments_of_mixtures([_moved(mine, -rows.center)])[0], known.objective, known.converged)
    found = _settle(problem, k, [had, *explorer.ended.get(k, [])], explorer.few)
    better = (found.degenerate, -found.objective) < (known.degenerate, -known.objective)
    return replace(found, neighbours=known.neighbours) if better else known


@dataclass(frozen=True, eq=False)
class Problem:
    """What all runs of a search share. rows : those fitted. exact : the same, every value as it is, on which spikes are
    told. covariance : theirs. prior : for any k, or the word for one that depends on it."""

    rows: Rows
    exact: Rows
    covariance: Array
    covariance_type: CovarianceType
    floor: Array
    prior: Literal["conjugate"] | Prior | None
    tolerance: float
    finalists: int
    shun_spikes: bool

    @classmethod
    def of(
        cls,
        rows: Rows,
        covariance_type: CovarianceType,
        variance_floor: ArrayLike | None,
        prior: Literal["conjugate"] | Prior | None,
        tolerance: float,
        finalists: int,
        shun_spikes: bool,
    ) -> "Problem":
        _, covariance = rows.moments()
        if isinstance(prior, Prior):
            prior = replace(prior, mean=prior.mean - rows.center)
        floor = checked_floor(variance_floor, covariance)
        exact = rows if rows.rounding_variance is None else Rows(rows.X, center=rows.center, weights=rows.weights)
        return cls(rows, exact, covariance, covariance_type, floor, prior, tolerance, finalists, shun_spikes)

    @property
    def is_large(self) -> bool:
        """Whether the finalists converge on fewer rows first."""
        return bool(self.rows.n > 2 * MEDIUM_ROWS)

    @property
    def fits_single(self) -> bool:
        """Whether squares of all values are numbers of single precision, and not 0."""
        return bool(self.rows.reach.max() < 1e30 and np.diag(self.covariance).min() > 1e-30)

    def em(self, k: int) -> StackedEM:
        """EM for k components."""
        prior = self.prior
        if prior == "conjugate":
            prior = spike_guard(self.covariance, k, self.rows.total, self.covariance_type)
        return StackedEM(
            self.rows.d,
            self.floor,
            prior,
            covariance_type=self.covariance_type,
            scatter_of_one=scatter_of_one(self.covariance, k),
        )

    def best(self, em: StackedEM, moments: Array, objectives: Array, rows: Rows, count: int) -> Labels:
        """Which of these runs go on: the best ones that differ. One that is falling into a spike has the better
        likelihood and is worth nothing, so it comes last."""
        spiky = em.has_spike(moments, rows.total) & self.shun_spikes
        chosen: list[int] = []
        for run in np.lexsort((-objectives, spiky)):
            if len(chosen) < count and all(abs(objectives[run] - objectives[other]) > SAME_RUN for other in chosen):
                chosen.append(int(run))
        return np.array(sorted(chosen), dtype=np.intp)

    def ranked(self, em: StackedEM, runs: Sequence[Run], rows: Rows) -> list[Run]:
        """The runs, the best first: sound before spiky, then by posterior."""
        spiky = em.has_spike(np.stack([run.moments for run in runs]), rows.total) & self.shun_spikes
        return [runs[i] for i in np.lexsort((np.array([-run.objective for run in runs]), spiky))]


@dataclass(eq=False)
class Way:
    """How far some searches of one problem have come, on the way up: their explorers, before any went down again."""

    explorers: "list[Explorer]" = field(default_factory=list)

    @property
    def explored(self) -> list[int]:
        """The numbers of components, ascending."""
        return list(self.explorers[0].ended) if self.explorers else []

    def leads_to(self, n_components: Sequence[int]) -> bool:
        """Whether a search for these would have gone it, or goes on from its end."""
        explored = self.explored
        shared = min(len(explored), len(n_components))
        return bool(explored) and explored[:shared] == list(n_components[:shared])


class Explorer:
    """One chain of fits, up and down the numbers of components: a random stream, subsamples and a memory of its own.

    few : the rows of the short runs, in single precision; with it in jumps too, searches of customers who overlap
    ended in worse optima. medium : those of all that follows.
    """

    def __init__(self, problem: Problem, random: np.random.Generator, short_rows: int = SHORT_ROWS) -> None:
        self.problem, self.random = problem, random
        order = random.permutation(problem.rows.n)
        self.few = _subset(problem.rows, order[:short_rows], problem.fits_single)
        self.medium = _subset(problem.rows, order[:MEDIUM_ROWS]) if problem.is_large else problem.rows
        Z = self.few.X - problem.rows.center
        self.scaled = Z / np.sqrt(np.diag(problem.covariance))
        factor = np.linalg.cholesky(problem.covariance + np.diag(problem.floor))
        self.whitened = np.ascontiguousarray(np.linalg.solve(factor, Z.T).T)
        self.tree = ward_tree(self.whitened[:WARD_ROWS])
        self.ended: dict[int, list[Run]] = {}

    def explore(self, k: int, champion: Mixture | None) -> None:
        """On the way up: many starts for this number of components."""
        self._follow(k, self._starts(k, champion), self.problem.finalists)

    def at(self, n_components: Iterable[int]) -> "Explorer":
        """As it was when it had explored these, the first of all that it has: what it finds from there on is told to
        nobody else."""
        there = copy(self)
        there.ended = {k: self.ended[k] for k in n_components}
        return there

    def revisit(self, k: int) -> None:
        """On the way down: what the next larger k has found, with two components merged. It fixes a k whose own starts
        all ended in the same poor solution."""
        merged = [one for larger in self.best_mixtures(k + 1) for one in merges(larger)]
        if merged:
            self._follow(k, moments_of_mixtures(merged), finalists=1)

    def look_closer(self, k: int, neighbours: Sequence[Mixture]) -> None:
        """From every split of these mixtures that have one component less, and the merges of those with one more."""
        starts = [
            one for smaller in neighbours if smaller.n_components == k - 1 for one in splits(smaller, self.random, k)
        ]
        starts += [one for larger in neighbours if larger.n_components == k + 1 for one in merges(larger)]
        if starts:
            self._follow(k, moments_of_mixtures(starts), self.problem.finalists)

    def _follow(self, k: int, moments: Array, finalists: int) -> None:
        """Short runs from all these starts on the small subsample; the best go on, on the medium one, to their end."""
        problem, em = self.problem, self.problem.em(k)
        for _ in range(SHORT_ITERATIONS):
            moments, objectives = em.step(moments, self.few)
        moments = moments[problem.best(em, moments, objectives, self.few, 2 * finalists)]
        semifinal = em.converge(moments, self.medium, problem.tolerance, max_iterations=SEMIFINAL_ITERATIONS)
        chosen = problem.best(em, semifinal.moments, semifinal.objectives, self.medium, finalists)
        final = em.converge(semifinal.moments[chosen], self.medium, FINALIST_SLACK * problem.tolerance)
        self.ended[k] = problem.ranked(em, [*self.ended.get(k, []), *_runs(final)], self.medium)

    def best_mixtures(self, k: int) -> list[Mixture]:
        """What it has come to for this number of components, the best first; centred."""
        if k not in self.ended:
            return []
        em = self.problem.em(k)
        return [em.mixture(run.moments, self.medium.total) for run in self.ended[k][:PARENTS]]

    def _starts(self, k: int, champion: Mixture | None) -> Array:
        """(starts, k, P) expected statistics on the small subsample, from which the short runs set out."""
        labels = [
            kmeans_labels(self.scaled, k, 2, self.random, rounds=6),
            kmeans_labels(self.whitened, k, 3, self.random, rounds=6),
            kmeans_labels(self.whitened, k, 2, self.random, rounds=0),
            ward_labels(self.whitened, self.whitened[:WARD_ROWS], self.tree, k),
        ]
        moments = [moments_of_labels(np.concatenate(labels), k, self.few)]
        for parent in self.best_mixtures(k - 1):
            moments.append(moments_of_mixtures(splits(parent, self.random)))
        if champion is not None:
            moments.append(moments_of_mixtures([_moved(champion, -self.problem.rows.center)]))
        return np.concatenate(moments)


def _settle(problem: Problem, k: int, runs: list[Run], few: Rows) -> Found:
    """The best of what the explorers brought back, converged on all rows."""
    rows, em = problem.rows, problem.em(k)
    if problem.is_large:
        contenders = np.stack([run.moments for run in _distinct(problem, em, runs, few)])
        runs = _runs(em.converge(contenders, rows, FINALIST_SLACK * problem.tolerance))
    runs = problem.ranked(em, runs, rows)
    mixtures = [em.mixture(run.moments, rows.total) for run in runs]
    names = [""] * rows.d
    sound = (i for i, one in enumerate(mixtures) if degeneracy_on(problem.exact, one, problem.floor, names) is None)
    first_sound = next(sound, None)
    best = first_sound if first_sound is not None and problem.shun_spikes else 0
    (winner,) = _runs(em.converge(runs[best].moments[None], rows, problem.tolerance))
    return _found(
        em,
        em.parameters(winner.moments[None], rows.total),
        rows,
        converged=winner.converged,
        degenerate=best != first_sound,
        alternatives=tuple(_moved(mixture, rows.center) for i, mixture in enumerate(mixtures) if i != best),
    )


def refitted(mixture: Mixture, Z: Array, variance_floor: Array, rounding_variance: Array | None = None) -> Mixture:
    """The mixture that EM makes of this one on other rows Z (n, d); arguments as of `search_mixtures`."""
    return gone_on(mixture, Z, variance_floor, rounding_variance)[0]


def gone_on(
    mixture: Mixture,
    Z: Array,
    variance_floor: Array,
    rounding_variance: Array | None = None,
    most: int = 1200,
    n_jobs: int | None = 1,
) -> tuple[Mixture, bool]:
    """`refitted` after at most so many E-steps, and whether it has converged."""
    rows = Rows(Z, center=Z.mean(axis=0), rounding_variance=rounding_variance)
    problem = Problem.of(rows, mixture.covariance_type, variance_floor, "conjugate", TOLERANCE, 1, True)
    em = problem.em(mixture.n_components)
    start = moments_of_mixtures([_moved(mixture, -rows.center)])
    with ThreadPoolExecutor(thread_count(n_jobs)) as pool:
        ending = em.converge(start, rows, TOLERANCE, max_iterations=most, pool=pool)
    return _moved(em.mixture(ending.moments[0], rows.total), rows.center), bool(ending.converged[0])


def _polish(problem: Problem, found: Found, everyone: Rows, passes: int, pool: Executor) -> Found:
    """A few EM passes over all rows, for a model found on a sample of them."""
    em = problem.em(found.n_components)
    parameters = _parameters(_moved(found.model.mixture_, -everyone.center))
    for _ in range(passes):
        moments, _ = em.expect(parameters, everyone, pool)
        parameters = em.parameters(moments, everyone.total)
    return _found(em, parameters, everyone, found.converged, found.degenerate, found.alternatives, pool)


def _found(
    em: StackedEM,
    parameters: Parameters,
    rows: Rows,
    converged: bool,
    degenerate: bool,
    alternatives: tuple[Mixture, ...],
    pool: Executor | None = None,
) -> Found:
    """What there is to say of one run's parameters on these rows."""
    _, (log_likelihood,) = em.expect(parameters, rows, pool)
    objective = float(log_likelihood + em.log_prior(parameters)[0] / rows.total)
    mixture = _moved(em.mixture_of(parameters), rows.center)
    prior = None if em.prior is None else replace(em.prior, mean=em.prior.mean + rows.center)
    model = GaussianMixtureEM.from_mixture(mixture, prior=prior, variance_floor=em.floor)
    model.converged_, model.lower_bound_ = converged, objective
    bic = model.n_parameters * float(np.log(rows.total)) - 2.0 * rows.total * float(log_likelihood)
    return Found(mixture.n_components, bic, model, objective, converged, degenerate, rows.n, alternatives)


def _distinct(problem: Problem, em: StackedEM, runs: Sequence[Run], rows: Rows) -> list[Run]:
    """The runs that are different solutions, judged by the partitions of a few rows, as they rank on those."""
    kept: list[Run] = []
    partitions: list[Labels] = []
    for run in problem.ranked(em, runs, problem.rows):
        labels = em.mixture(run.moments, rows.total).log_joint(rows.X - rows.center).argmax(axis=1)
        if all(adjusted_rand_index(labels, other) < SAME_BASIN for other in partitions):
            kept.append(run)
            partitions.append(labels)
    return kept


def _runs(ending: Ending) -> list[Run]:
    outcomes = zip(ending.moments, ending.objectives, ending.converged, strict=True)
    return [Run(moments, float(objective), bool(converged)) for moments, objective, converged in outcomes]


def _subset(rows: Rows, chosen: Labels, single: bool = False) -> Rows:
    """These rows in their old order, in single precision where asked for; otherwise the same object when they are
    all."""
    if len(chosen) == rows.n and not single:
        return rows
    chosen = np.sort(chosen)
    return Rows(
        rows.X[chosen],
        center=rows.center,
        rounding_variance=None if rows.rounding_variance is None else rows.rounding_variance[chosen],
        single=single,
    )


def _each(n: int, weight: float) -> Array | None:
    return None if weight == 1.0 else np.full(n, weight)


def _parameters(mixture: Mixture) -> Parameters:
    return Parameters.of(mixture.weights[None], mixture.means[None], mixture.covariances[None])


def _moved(mixture: Mixture, by: Array) -> Mixture:
    return replace(mixture, means=mixture.means + by)


def _sample(n: int, size: int, random: np.random.Generator) -> slice | Labels:
    """Which of n rows are fitted: all, or that many at random, in their old order."""
    if n <= size:
        return slice(None)
    return np.sort(random.choice(n, size=size, replace=False, shuffle=False))


def _check(X: Array, n_components: Sequence[int], champion: Mixture | None) -> None:
    n, d = X.shape
    if not n_components or min(n_components) < 1:
        raise ValueError(f"every number of components must be at least 1, got {list(n_components)}")
    if n <= max(n_components) + d:
        raise ValueError(f"{n} rows cannot carry {max(n_components)} components in {d} dimensions")
    spread = X.std(axis=0)
    constant = spread <= 1e-10 * np.maximum(np.abs(X.mean(axis=0)), np.finfo(float).tiny)
    if constant.any() or np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(X, rowvar=False)))[0] <= GUARD_VARIANCE:
        flat = np.flatnonzero(constant).tolist()
        found = f"features {flat} are constant" if flat else "the features repeat one another"
        raise ValueError(f"{found}, up to rounding, so no covariance can be trusted. Drop one, or center X.")
    if champion is not None and not all(np.isfinite(part).all() for part in (champion.means, champion.covariances)):
        raise ValueError("the champion's parameters are not finite: do not pass it")
    if champion is not None and champion.n_features != d:
        raise ValueError(f"the champion has {champion.n_features} features, X has {d}: do not pass it")


def adjusted_rand_index(a: Labels, b: Labels) -> float:
    """Agreement of two partitions corrected for chance, 1 = identical, about 0 = unrelated (Hubert & Arabie 1985).

    scikit-learn's takes seven times as long, 0.1 seconds for a million customers, and a search asks a hundred times.
    """
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(table, (a, b), 1.0)
    pairs = float(np.sum(table * (table - 1))) / 2
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    pairs_a, pairs_b = float(np.sum(rows * (rows - 1))) / 2, float(np.sum(columns * (columns - 1))) / 2
    expected = pairs_a * pairs_b / (len(a) * (len(a) - 1) / 2)
    largest = (pairs_a + pairs_b) / 2
    return 1.0 if largest == expected else (pairs - expected) / (largest - expected)
