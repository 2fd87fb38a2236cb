"""The Gaussian mixture: its densities, and the search for the best one with a given number of components.

Here: expectation-maximisation, its starts, what a finished search says about itself. Not here: which number of
components to serve (selection.py), what the components mean (profiles.py), and their identity over time (alignment.py).

How the search works, and why:

* The log density of a Gaussian is linear in phi(x) = [1, x_i, x_i x_j], so an E-step is one matrix product and an
  M-step another. All starts of a search run stacked in the same product.
* em-EM (Biernacki, Celeux & Govaert 2003): many cheap starts, a dozen iterations on a fixed subsample; the best few run
  to convergence on all rows. k-means starts alone miss the optimum.
* The last stretch is accelerated with SQUAREM (Varadhan & Roland 2008) on the expected sufficient statistics. A jump
  that does not improve on the plain EM step is discarded, so the objective never falls.
* The objective is the posterior under the conjugate prior of Fraley & Raftery (2007), maximised subject to
  Sigma_k >= diag(variance_floor): data cannot support structure finer than their own rounding.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

TOLERANCE = 1e-6
"""A run has converged when what is still to be gained, in mean log posterior per customer, is estimated to be less."""

MAX_CYCLES = 400
"""Accelerated cycles (three E-steps each) after which a run that still improves is called not converged."""

SHORT_ITERATIONS = 12
SHORT_ROWS = 2000
"""Every start gets this many plain EM iterations on a fixed subsample of this many rows."""

SEMIFINALISTS = 6
SEMIFINAL_CYCLES = 6
FINALISTS = 3
"""The best starts get a few accelerated cycles, the best of those run to convergence. On ten months of grocery orders
two finalists instead of three changed neither time nor mean stability beyond noise."""

STABILITY_SEARCHES = 3
"""Independent full searches whose partitions are compared; the best of them gives the candidate."""

HELDOUT_SHARE = 0.2

MEDIUM_ROWS = 12_000
"""Above this many rows the finalists first converge on a fixed subsample of this size; one polishes on all rows."""

SAME_BASIN = 0.95
"""Adjusted Rand index above which two fits are the same solution."""

ATOM_SHARE = 0.02
"""A component may be as narrow as one resolution step of a feature only where at least this share of all customers has
that value."""

OWN_SCATTER = 0.25
"""Least scatter of a component's members along any direction, as a multiple of what the prior adds there. Members who
repeat one value had 0.15 to 0.18 on grocery orders (with a floor too low for them); setosa in iris, tight but honest,
has 0.68."""

_SAME_RUN = 1e-5
"""Two runs whose mean log posteriors differ by less are on their way to the same solution."""

_CATCH_UP = 10.0
"""A run is given up when even this many times what it seems still to gain would leave it behind the leader."""

_AT_FLOOR = 1e-3
"""How far above the floor, relatively, a variance still counts as held up by it."""

_GUARD_VARIANCE = 1e-10
"""Keeps a covariance invertible when neither prior nor floor is asked for."""

_CHUNK = 4096
"""Rows per block of the E-step, so that a block stays in the processor's cache."""

_ROUNDING_LIMIT = 1e-7
"""Error of a log density, in nats, above which the E-step leaves phi(x) for the slower whitened product."""

_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture with full covariances.

    weights : (k,) positive, sum 1. means : (k, d). covariances : (k, d, d) symmetric positive definite.
    """

    weights: Array
    means: Array
    covariances: Array

    @property
    def n_components(self) -> int:
        return len(self.weights)

    @property
    def n_features(self) -> int:
        return int(self.means.shape[1])

    @property
    def n_parameters(self) -> int:
        """Free parameters: k - 1 weights, k d means, k d (d + 1) / 2 covariances."""
        k, d = self.means.shape
        return k - 1 + k * d + k * d * (d + 1) // 2

    def log_joint(self, Z: Array, spread: Array | None = None) -> Array:
        """(n, d) -> (n, k): log of weight times density, nats. The whitened product, exact to rounding.

        spread : (n, d) variance of what each value was rounded from; the log densities are then means over it. For
        fitting only: see resolution.py.
        """
        precision_factors = _precision_factors(self.covariances)
        logdet = 2.0 * np.sum(np.log(np.diagonal(precision_factors, axis1=1, axis2=2)), axis=1)
        constant = np.log(self.weights) + 0.5 * (logdet - self.n_features * _LOG_2PI)
        joint = np.empty((len(Z), self.n_components))
        for k, factor in enumerate(precision_factors):
            whitened = (Z - self.means[k]) @ factor.T
            joint[:, k] = constant[k] - 0.5 * np.einsum("ij,ij->i", whitened, whitened)
            if spread is not None:
                joint[:, k] -= 0.5 * (spread @ np.sum(factor**2, axis=0))
        return joint

    def log_likelihood(self, Z: Array, spread: Array | None = None) -> Array:
        """(n, d) -> (n,): log density of each row, nats; higher is more typical."""
        return _logsumexp(self.log_joint(Z, spread))

    def responsibilities(self, Z: Array, spread: Array | None = None) -> Array:
        """(n, d) -> (n, k): membership probability of each component; rows sum to 1."""
        joint = self.log_joint(Z, spread)
        joint -= joint.max(axis=1, keepdims=True)
        np.exp(joint, out=joint)
        joint /= joint.sum(axis=1, keepdims=True)
        return joint

    def ordered(self, order: Sequence[int]) -> "Mixture":
        """The same mixture with its components in another order."""
        index = np.asarray(order, dtype=np.intp)
        return Mixture(self.weights[index], self.means[index], self.covariances[index])

    def to_sklearn(self) -> "GaussianMixture":
        """A fitted scikit-learn estimator with the same probabilities."""
        from sklearn.mixture import GaussianMixture

        estimator = GaussianMixture(self.n_components, covariance_type="full")
        estimator.weights_ = self.weights.copy()
        estimator.means_ = self.means.copy()
        estimator.covariances_ = self.covariances.copy()
        # scikit-learn's factor is upper triangular with precision = factor @ factor.T: the transpose of ours.
        estimator.precisions_cholesky_ = np.swapaxes(_precision_factors(self.covariances), 1, 2).copy()
        estimator.precisions_ = estimator.precisions_cholesky_ @ np.swapaxes(estimator.precisions_cholesky_, 1, 2)
        estimator.n_features_in_ = self.n_features
        estimator.converged_ = True
        return estimator


@dataclass(frozen=True)
class Candidate:
    """The best mixture found for one number of components, and what speaks for and against it.

    bic, aic, icl : lower is better; from the plain log-likelihood, without prior. train_log_likelihood,
    heldout_log_likelihood : mean nats per customer, of Z, higher is better; held out = fitted on 80 %, measured on the
    rest. stability : mean adjusted Rand index between independent full searches, 1 = the same partition each time.
    smallest_share : smallest weight, 0..1. min_separation : smallest Bhattacharyya distance between two components,
    0 = the same component twice; infinite for a single component. basin_gap : BIC of the second best distinct solution
    minus this one's, >= 0; NaN when every run ended in the same solution. degeneracy : why the fit is a spike and not a
    segment, None for a sound one.
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


@dataclass(frozen=True, eq=False)
class Prior:
    """Conjugate prior of mean and covariance of a component (normal inverse Wishart).

    mean : (d,). shrinkage : kappa, the weight of the prior mean in customers. degrees_of_freedom : nu. scale : (d, d).
    """

    mean: Array
    shrinkage: float
    degrees_of_freedom: float
    scale: Array


def fraley_raftery_prior(Z: Array, n_components: int) -> Prior:
    """The data-dependent default of Fraley & Raftery (2007): kappa 0.01, nu d + 2, Lambda var / k^(2/d)."""
    d = Z.shape[1]
    covariance = np.cov(Z, rowvar=False).reshape(d, d)
    return Prior(Z.mean(axis=0), 0.01, d + 2.0, covariance / n_components ** (2.0 / d))


def fit_candidates(
    Z: Array,
    n_components: Sequence[int],
    *,
    variance_floor: Array,
    seed: int,
    champion: Mixture | None = None,
    progress: Callable[[int], None] | None = None,
    names: Sequence[str] | None = None,
    spread: Array | None = None,
) -> list[Candidate]:
    """The best mixture for every number of components, in the order given.

    Z : (n, d) standardised coordinates. variance_floor : (d,) smallest variance along each feature. champion : last
    month's mixture expressed in the coordinates of Z, one more start. progress : called with each number of components
    when it is done. names : of the features, for the wording of degeneracy. spread : (n, d) variance of what each value
    was rounded from, which the fit and its figures then take into account. Same arguments, same bits, whatever the
    number of threads.
    """
    Z = np.ascontiguousarray(Z, dtype=np.float64)
    _check_input(Z, n_components, champion)
    names = tuple(names) if names is not None else tuple(f"feature {j + 1}" for j in range(Z.shape[1]))
    heldout = heldout_rows(len(Z), seed)
    training = np.setdiff1d(np.arange(len(Z)), heldout)
    searches = [Search(Z, variance_floor, seed=(seed, s), spread=spread) for s in range(STABILITY_SEARCHES)]
    short_search = Search(
        Z[training],
        variance_floor,
        seed=(seed, STABILITY_SEARCHES),
        semifinalists=3,
        finalists=1,
        spread=None if spread is None else spread[training],
    )

    found = []
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for k in n_components:
            # The champion starts one search only: in all of them it would make the searches agree.
            tasks = [
                pool.submit(search.run, k, champion if s == 0 and champion and champion.n_components == k else None)
                for s, search in enumerate([*searches, short_search])
            ]
            *full, short = [task.result() for task in tasks]
            found.append(_candidate(Z, spread, variance_floor, names, full, short[0].mixture, heldout))
            if progress is not None:
                progress(k)
    return found


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
    Z = np.ascontiguousarray(Z, dtype=np.float64)
    _check_input(Z, [n_components], None)
    floor = np.zeros(Z.shape[1]) if variance_floor is None else variance_floor
    search = Search(Z, floor, seed=(seed,), use_prior=prior, tolerance=tolerance)
    with threadpool_limits(limits=1, user_api="blas"):
        for k in range(max(1, n_components - 2), n_components):
            search.run(k)  # the fits with fewer components are split into starts of the next
        return search.run(n_components)[0].mixture


def heldout_rows(n: int, seed: int) -> NDArray[np.intp]:
    """Ascending indices of the fifth of n rows on which `fit_candidates` measures the held-out log-likelihood."""
    order = np.random.default_rng((seed, n)).permutation(n)
    return np.sort(order[: max(1, int(n * HELDOUT_SHARE))])


def bic(mixture: Mixture, Z: Array, spread: Array | None = None) -> float:
    """Bayesian information criterion, -2 log-likelihood + parameters x log n; lower is better (Schwarz 1978)."""
    return -2.0 * float(mixture.log_likelihood(Z, spread).sum()) + mixture.n_parameters * float(np.log(len(Z)))


def adjusted_rand_index(a: Labels, b: Labels) -> float:
    """Agreement of two partitions corrected for chance, 1 = identical, about 0 = unrelated (Hubert & Arabie 1985)."""
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(table, (a, b), 1.0)
    pairs = float(np.sum(table * (table - 1))) / 2
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    pairs_a, pairs_b = float(np.sum(rows * (rows - 1))) / 2, float(np.sum(columns * (columns - 1))) / 2
    expected = pairs_a * pairs_b / (len(a) * (len(a) - 1) / 2)
    largest = (pairs_a + pairs_b) / 2
    return 1.0 if largest == expected else (pairs - expected) / (largest - expected)


def bhattacharyya_distances(mixture: Mixture) -> Array:
    """(k, k) distances between components, 0 = identical, larger = better separated; the diagonal is infinite."""
    k = mixture.n_components
    distances = np.full((k, k), np.inf)
    logdets = np.linalg.slogdet(mixture.covariances)[1]
    for a, b in combinations(range(k), 2):
        middle = (mixture.covariances[a] + mixture.covariances[b]) / 2
        difference = mixture.means[a] - mixture.means[b]
        mahalanobis = float(difference @ np.linalg.solve(middle, difference))
        shape = float(np.linalg.slogdet(middle)[1]) - (logdets[a] + logdets[b]) / 2
        distances[a, b] = distances[b, a] = mahalanobis / 8 + shape / 2
    return distances


def find_degeneracy(mixture: Mixture, Z: Array, variance_floor: Array, names: Sequence[str]) -> str | None:
    """Why this fit is a spike rather than a set of segments, in words with figures; None when it is sound.

    Degenerate is: not finite; a component with too few effective members to carry its own covariance; a covariance that
    only the prior holds up; one at the resolution floor along a combination of features, or along one feature whose
    value there few customers share. A component on a real atom (every one-order customer) is sound.
    """
    parameters = (mixture.weights, mixture.means, mixture.covariances)
    if not all(np.isfinite(values).all() for values in parameters):
        return "the fit is not finite"
    R = mixture.responsibilities(Z)
    if not np.isfinite(R).all():
        return "the membership probabilities are not finite"
    d = mixture.n_features
    floor = np.maximum(variance_floor, _GUARD_VARIANCE)
    needed = _members_needed(d)
    members = R.sum(axis=0)
    prior = fraley_raftery_prior(Z, mixture.n_components)
    for k in range(mixture.n_components):
        where = f"component {k + 1} of {mixture.n_components}"
        if members[k] < needed:
            return f"{where} has {members[k]:.0f} effective members, fewer than the {needed} its covariance needs"
        reason = _flat_at_floor(mixture, k, Z, floor, names) or _held_up_by_prior(R[:, k], Z, floor, prior.scale, names)
        if reason:
            return f"{where} {reason}"
    return None


def _members_needed(d: int) -> int:
    return max(10, 5 * (d + 1))


def _flat_at_floor(mixture: Mixture, k: int, Z: Array, floor: Array, names: Sequence[str]) -> str | None:
    in_floors = mixture.covariances[k] / np.sqrt(np.outer(floor, floor))
    eigenvalues, vectors = np.linalg.eigh(in_floors)
    flat = vectors[:, eigenvalues <= 1.0 + _AT_FLOOR]
    # Several flat directions span a subspace whose basis is arbitrary: judge the subspace by its projections.
    along = np.sum(flat**2, axis=1)
    single = np.flatnonzero(along > 0.9).tolist()
    if flat.shape[1] > len(single):
        involved = " and ".join(names[j] for j in np.flatnonzero(along > 0.05).tolist())
        return f"is flat along a combination of {involved}: among its members they repeat one another"
    for j in single:
        half_step = np.sqrt(12.0 * floor[j]) / 2
        share = float(np.mean(np.abs(Z[:, j] - mixture.means[k, j]) <= half_step))
        if share < ATOM_SHARE:
            return (
                f"is as narrow as one resolution step of {names[j]}, where only {share:.1%} of the customers lie "
                f"(at least {ATOM_SHARE:.0%} for a value shared by many)"
            )
    return None


def _held_up_by_prior(r: Array, Z: Array, floor: Array, scale: Array, names: Sequence[str]) -> str | None:
    """The members' own scatter is next to nothing beside what the prior adds, about one customer's worth: a spike."""
    mean = r @ Z / r.sum()
    scatter = (Z - mean).T @ ((Z - mean) * r[:, None]) + np.diag(floor) * r.sum()
    factor = np.linalg.cholesky(scale)
    eigenvalues, vectors = np.linalg.eigh(np.linalg.solve(factor, np.linalg.solve(factor, scatter).T))
    if eigenvalues[0] >= OWN_SCATTER:
        return None
    direction = np.abs(np.linalg.solve(factor.T, vectors[:, 0]))
    involved = " and ".join(names[j] for j in np.flatnonzero(direction > 0.3 * direction.max()).tolist())
    return (
        f"has next to no spread along {involved}: {eigenvalues[0]:.2g} of the scatter that the prior alone adds. "
        "Its members repeat one value; if that is rounding, give the feature its true resolution"
    )


@dataclass(frozen=True, eq=False)
class Fit:
    """Where one run of EM ended. objective : mean log posterior per customer. labels : (n,) likeliest component."""

    mixture: Mixture
    objective: float
    converged: bool
    labels: Labels


class Search:
    """One independent em-EM search: its own random stream, its own subsample, its own memory of smaller fits."""

    def __init__(
        self,
        Z: Array,
        variance_floor: Array,
        *,
        seed: tuple[int, ...],
        semifinalists: int = SEMIFINALISTS,
        finalists: int = FINALISTS,
        use_prior: bool = True,
        tolerance: float = TOLERANCE,
        spread: Array | None = None,
    ) -> None:
        self.Z = Z
        self.spread = spread
        self.floor = np.maximum(variance_floor, _GUARD_VARIANCE)
        self.semifinalists = semifinalists
        self.finalists = finalists
        self.use_prior = use_prior
        self.tolerance = tolerance
        self.random = np.random.default_rng(seed)
        n = len(Z)
        order = self.random.permutation(n)
        self.phi = _phi(Z, spread)
        self.few = np.ascontiguousarray(Z[np.sort(order[:SHORT_ROWS])])
        self.phi_few = self._phi_of(order[:SHORT_ROWS])
        self.phi_medium = self._phi_of(order[:MEDIUM_ROWS])
        deviation = self.few - self.few.mean(axis=0)
        factor = np.linalg.cholesky(deviation.T @ deviation / len(self.few) + np.diag(self.floor))
        self.few_whitened = np.ascontiguousarray(np.linalg.solve(factor, deviation.T).T)
        self.previous: dict[int, list[Mixture]] = {}

    def run(self, n_components: int, champion: Mixture | None = None) -> list[Fit]:
        """The finalists for this number of components, the best first: sound before degenerate, then by posterior."""
        k, d = n_components, self.Z.shape[1]
        prior = fraley_raftery_prior(self.Z, k) if self.use_prior else None
        em = _StackedEM(d, self.floor, prior)

        moments = self._starts(k, em, champion)
        for _ in range(SHORT_ITERATIONS):
            moments, objectives = em.step(moments, self.phi_few)
        medium = self.phi_medium.shape[1]
        moments = moments[_best(objectives, em.has_spike(moments, self.phi_few.shape[1]), self.semifinalists)]
        moments, objectives, _ = em.converge(moments, self.phi_medium, self.tolerance, max_cycles=SEMIFINAL_CYCLES)
        moments = moments[_best(objectives, em.has_spike(moments, medium), self.finalists)]
        if self.phi_medium is not self.phi:
            moments, objectives, _ = em.converge(moments, self.phi_medium, 10 * self.tolerance)
            moments = moments[_best(objectives, em.has_spike(moments, medium), 1)]
        moments, objectives, converged = em.converge(moments, self.phi, self.tolerance)

        fits = []
        for s in np.argsort(-objectives, kind="stable"):
            mixture = em.mixture(moments[s], len(self.Z))
            labels = np.argmax(mixture.log_joint(self.Z, self.spread), axis=1)
            fits.append(Fit(mixture, float(objectives[s]), bool(converged[s]), labels))
        fits.sort(key=lambda fit: find_degeneracy(fit.mixture, self.Z, self.floor, [""] * d) is not None)
        self.previous[k] = [fit.mixture for fit in fits[:2]]
        return fits

    def _phi_of(self, rows: NDArray[np.intp]) -> Array:
        """phi of these rows, in ascending order; of all of them the one that is there."""
        if len(rows) == len(self.Z):
            return self.phi
        rows = np.sort(rows)
        return _phi(self.Z[rows], None if self.spread is None else self.spread[rows])

    def _starts(self, k: int, em: "_StackedEM", champion: Mixture | None) -> Array:
        """(starts, k, P) expected statistics on the subsample, from which the short runs set out."""
        hard = [
            _kmeans_labels(self.few, k, 3, self.random, rounds=6),
            _kmeans_labels(self.few_whitened, k, 3, self.random, rounds=6),
            _kmeans_labels(self.few_whitened, k, 2, self.random, rounds=0),
        ]
        moments = [_moments_of_labels(labels, k, self.phi_few) for labels in hard]
        for parent in self.previous.get(k - 1, []):
            moments.append(_moments_of_mixtures(_splits(parent, self.random)))
        if champion is not None:
            moments.append(_moments_of_mixtures([champion]))
        return np.concatenate(moments)


class _StackedEM:
    """EM for a stack of runs with the same k. A run's state is its expected sufficient statistics, `moments` (k, P):
    for every component the mean over all rows of r, r x_i and r x_i x_j. Parameters follow from them in closed form."""

    def __init__(self, d: int, floor: Array, prior: Prior | None) -> None:
        self.d = d
        self.floor = np.diag(floor)
        self.root_floor = np.sqrt(floor)
        self.log_floor = float(np.sum(np.log(floor)))
        self.prior = prior
        if prior is not None:
            self.prior_whitener = np.linalg.inv(np.linalg.cholesky(prior.scale))
        self.rows, self.columns = np.triu_indices(d)

    def step(self, moments: Array, phi: Array) -> tuple[Array, Array]:
        """One EM iteration of every run: new moments, and the mean log posterior at the *old* ones."""
        weights, means, roots, logdet = self._parameters(moments, phi.shape[1])
        S, k, P = moments.shape
        d = self.d
        # roots R with R R' = precision; log density = constant + linear . x + quadratic . (x_i x_j)
        precisions = roots @ np.swapaxes(roots, -1, -2)
        linear = np.einsum("skij,skj->ski", precisions, means)
        constant = np.log(weights) - 0.5 * (d * _LOG_2PI + logdet + np.einsum("ski,ski->sk", linear, means))
        quadratic = -precisions[..., self.rows, self.columns]
        quadratic[..., self.rows == self.columns] *= 0.5
        coefficients = np.concatenate([constant[..., None], linear, quadratic], axis=-1).reshape(S * k, P)

        reach = np.abs(phi).max(axis=1)
        precise = float(np.max(np.abs(coefficients) @ reach)) * np.finfo(float).eps < _ROUNDING_LIMIT
        total = np.zeros((S * k, P))
        log_likelihood = np.zeros(S)
        for start in range(0, phi.shape[1], _CHUNK):
            block = phi[:, start : start + _CHUNK]
            if precise:
                joint = (coefficients @ block).reshape(S, k, -1)
            else:
                joint = _whitened_log_joint(weights, means, roots, logdet, block[1 : d + 1])
                spread = block[d + 1 :][self.rows == self.columns] - block[1 : d + 1] ** 2
                joint -= 0.5 * np.diagonal(precisions, axis1=2, axis2=3) @ spread
            peak = joint.max(axis=1, keepdims=True)
            joint -= peak
            np.exp(joint, out=joint)
            mass = joint.sum(axis=1, keepdims=True)
            joint /= mass
            log_likelihood += (np.log(mass) + peak).sum(axis=(1, 2))
            total += joint.reshape(S * k, -1) @ block.T
        n = phi.shape[1]
        objective = log_likelihood / n
        if self.prior is not None:
            objective = objective + self._log_prior(means, precisions, logdet) / n
        return total.reshape(S, k, P) / n, objective

    def converge(
        self, moments: Array, phi: Array, tolerance: float, max_cycles: int = MAX_CYCLES
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """SQUAREM until what is left to gain is below the tolerance. Returns moments, objectives and who converged."""
        final, objectives = moments.copy(), np.full(len(moments), -np.inf)
        converged = np.zeros(len(moments), dtype=bool)
        active = np.arange(len(moments))
        for _ in range(max_cycles):
            first, objective_0 = self.step(moments, phi)
            second, objective_1 = self.step(first, phi)
            velocity = first - moments
            bend = second - first - velocity
            stretch = np.sqrt(np.sum(velocity**2, axis=(1, 2)) / np.maximum(np.sum(bend**2, axis=(1, 2)), 1e-300))
            stretch = np.clip(stretch, 1.0, 1e3)[:, None, None]
            jump = moments + 2.0 * stretch * velocity + stretch**2 * bend
            beyond, objective_2 = self.step(jump, phi)
            accepted = objective_2 >= objective_1
            # A linearly converging run still has about stretch times its last gain before it.
            done = (objective_1 - objective_0) * stretch[:, 0, 0] < tolerance
            done &= ~accepted | (objective_2 - objective_1 < tolerance)
            moments = np.where(accepted[:, None, None], beyond, second)
            final[active], objectives[active] = moments, np.where(accepted, objective_2, objective_1)
            converged[active[done]] = True
            leader = int(np.argmax(objectives))
            if not self.has_spike(final[leader : leader + 1], phi.shape[1])[0]:
                # Waiting for a run that cannot catch up with a sound leader would cost half of the time.
                to_gain = (objective_1 - objective_0) * stretch[:, 0, 0]
                done |= objectives[active] + _CATCH_UP * to_gain < objectives[leader] - _SAME_RUN
            active, moments = active[~done], moments[~done]
            if not len(active):
                break
        return final, objectives, converged

    def has_spike(self, moments: Array, n: int) -> NDArray[np.bool_]:
        """(S,) whether a component has too few members, or no scatter of its own (see `find_degeneracy`)."""
        members = n * moments[..., 0]
        few = members < _members_needed(self.d)
        if self.prior is None:
            return np.any(few, axis=1)
        _, means, second = self._unfold(moments, n)
        scatter = members[..., None, None] * (second - means[..., :, None] * means[..., None, :] + self.floor)
        whitened = self.prior_whitener @ scatter @ self.prior_whitener.T
        return np.any(few | (np.linalg.eigvalsh(whitened)[..., 0] < OWN_SCATTER), axis=1)

    def mixture(self, moments: Array, n: int) -> Mixture:
        """The parameters of one run, moments (k, P), whose statistics are means over n rows."""
        weights, means, roots, _ = self._parameters(moments[None], n)
        inverse_roots = np.linalg.inv(roots[0])  # precision = R R', so covariance = R^-T R^-1
        covariances = np.swapaxes(inverse_roots, 1, 2) @ inverse_roots
        return Mixture(weights[0], means[0], (covariances + np.swapaxes(covariances, 1, 2)) / 2)

    def _parameters(self, moments: Array, n: int) -> tuple[Array, Array, Array, Array]:
        """The M-step: weights (S, k), means (S, k, d), precision roots (S, k, d, d), log determinants (S, k)."""
        d = self.d
        weights, means, second = self._unfold(moments, n)
        covariances = second - means[..., :, None] * means[..., None, :]
        if self.prior is not None:
            prior, kappa = self.prior, self.prior.shrinkage
            members = (n * weights)[..., None, None]
            offset = means - prior.mean
            pull = kappa * members / (kappa + members) * offset[..., :, None] * offset[..., None, :]
            covariances = (prior.scale + members * covariances + pull) / (members + prior.degrees_of_freedom + d + 2)
            means = means - offset * (kappa / (kappa + members[..., 0]))
        in_floors = covariances / (self.root_floor[:, None] * self.root_floor)
        # The likelihood's maximum subject to Sigma >= diag(floor) clips these generalised eigenvalues at 1.
        eigenvalues, vectors = np.linalg.eigh(in_floors)
        eigenvalues = np.maximum(eigenvalues, 1.0)
        roots = vectors / np.sqrt(eigenvalues)[..., None, :] / self.root_floor[:, None]
        logdet = np.sum(np.log(eigenvalues), axis=-1) + self.log_floor
        return weights / weights.sum(axis=1, keepdims=True), means, roots, logdet

    def _unfold(self, moments: Array, n: int) -> tuple[Array, Array, Array]:
        """Weights (S, k), means (S, k, d) and mean products (S, k, d, d) of each component's members."""
        d = self.d
        weights = np.maximum(moments[..., 0], 1e-2 / n)  # an empty component, or one a jump has carried below nothing
        second = np.empty((*weights.shape, d, d))
        second[..., self.rows, self.columns] = moments[..., d + 1 :]
        second[..., self.columns, self.rows] = moments[..., d + 1 :]
        return weights, moments[..., 1 : d + 1] / weights[..., None], second / weights[..., None, None]

    def _log_prior(self, means: Array, precisions: Array, logdet: Array) -> Array:
        """(S,) log density of the normal inverse Wishart prior, up to a constant."""
        prior = self.prior
        assert prior is not None  # noqa: S101 - callers ask only with a prior
        offset = means - prior.mean
        distance = np.einsum("ski,skij,skj->sk", offset, precisions, offset)
        trace = np.einsum("skij,ji->sk", precisions, prior.scale)
        power = prior.degrees_of_freedom + self.d + 2.0
        return -0.5 * np.sum(power * logdet + trace + prior.shrinkage * distance, axis=1)


def _candidate(
    Z: Array,
    spread: Array | None,
    floor: Array,
    names: Sequence[str],
    searches: Sequence[list[Fit]],
    short: Mixture,
    heldout: NDArray[np.intp],
) -> Candidate:
    """Sum up what the independent searches for one k have found."""
    # Each search puts its soundest fit first; between searches too a sound fit goes before a degenerate one.
    firsts = [fits[0] for fits in searches]
    reasons = [find_degeneracy(fit.mixture, Z, floor, names) for fit in firsts]
    chosen = min(range(len(firsts)), key=lambda s: (reasons[s] is not None, -firsts[s].objective))
    best, mixture = firsts[chosen], firsts[chosen].mixture

    log_likelihood = float(mixture.log_likelihood(Z, spread).sum())
    R = mixture.responsibilities(Z, spread)
    entropy = -float(np.sum(R * np.log(np.maximum(R, np.finfo(float).tiny))))
    score = mixture.n_parameters * float(np.log(len(Z))) - 2.0 * log_likelihood
    others = [
        bic(fit.mixture, Z, spread)
        for fits in searches
        for fit in fits
        if fit is not best and adjusted_rand_index(fit.labels, best.labels) < SAME_BASIN
    ]
    return Candidate(
        n_components=mixture.n_components,
        mixture=mixture,
        bic=score,
        aic=2.0 * mixture.n_parameters - 2.0 * log_likelihood,
        icl=score + 2.0 * entropy,
        train_log_likelihood=log_likelihood / len(Z),
        heldout_log_likelihood=float(
            short.log_likelihood(Z[heldout], None if spread is None else spread[heldout]).mean()
        ),
        stability=float(np.mean([adjusted_rand_index(a.labels, b.labels) for a, b in combinations(firsts, 2)])),
        smallest_share=float(mixture.weights.min()),
        min_separation=float(bhattacharyya_distances(mixture).min()),
        converged=best.converged,
        degenerate=reasons[chosen] is not None,
        degeneracy=reasons[chosen],
        basin_gap=max(0.0, min(others) - score) if others else float("nan"),
    )


def _check_input(Z: Array, n_components: Sequence[int], champion: Mixture | None) -> None:
    if Z.ndim != 2 or not Z.size:
        raise ValueError(f"Z must be a filled (n, d) array, got shape {Z.shape}")
    if not np.isfinite(Z).all():
        raise ValueError("Z contains NaN or infinity; reject such rows before the fit")
    if not n_components or min(n_components) < 1:
        raise ValueError(f"every number of components must be at least 1, got {list(n_components)}")
    if len(Z) <= max(n_components) + Z.shape[1]:
        raise ValueError(f"{len(Z)} rows cannot carry {max(n_components)} components in {Z.shape[1]} dimensions")
    spread = np.linalg.eigvalsh(np.cov(Z, rowvar=False).reshape(Z.shape[1], Z.shape[1]))
    if spread[0] <= 1e-10 * max(spread[-1], _GUARD_VARIANCE):
        raise ValueError("the features repeat one another or are constant; let find_dependence name the one to drop")
    if champion is not None and champion.n_features != Z.shape[1]:
        raise ValueError(f"the champion has {champion.n_features} features, Z has {Z.shape[1]}: do not pass it")


def _best(objectives: Array, has_spike: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Which runs go on, the best ones that differ. One that is falling into a spike has the better likelihood and is
    worth nothing, so it comes last."""
    chosen: list[int] = []
    for run in np.lexsort((-objectives, has_spike)):
        if len(chosen) < count and all(abs(objectives[run] - objectives[other]) > _SAME_RUN for other in chosen):
            chosen.append(int(run))
    return np.array(sorted(chosen), dtype=np.intp)


def _phi(Z: Array, spread: Array | None = None) -> Array:
    """(n, d) -> (P, n): rows 1, x_i, x_i x_j for i <= j; of spread values their mean, x_i^2 plus the variance."""
    rows, columns = np.triu_indices(Z.shape[1])
    products = Z.T[rows] * Z.T[columns]
    if spread is not None:
        products[rows == columns] += spread.T
    return np.ascontiguousarray(np.vstack([np.ones(len(Z)), Z.T, products]))


def _moments_of_labels(labels: Labels, k: int, phi: Array) -> Array:
    """(S, n) hard labels -> (S, k, P) expected statistics."""
    membership = (labels[:, None, :] == np.arange(k)[None, :, None]).astype(np.float64)
    S, _, n = membership.shape
    return (membership.reshape(S * k, n) @ phi.T).reshape(S, k, -1) / n


def _moments_of_mixtures(mixtures: Sequence[Mixture]) -> Array:
    """(S, k, P) expected statistics that these mixtures imply."""
    rows, columns = np.triu_indices(mixtures[0].n_features)
    moments = []
    for mixture in mixtures:
        second = mixture.covariances + mixture.means[:, :, None] * mixture.means[:, None, :]
        statistics = np.hstack([np.ones((mixture.n_components, 1)), mixture.means, second[:, rows, columns]])
        moments.append(statistics * mixture.weights[:, None])
    return np.array(moments)


def _splits(mixture: Mixture, random: np.random.Generator) -> list[Mixture]:
    """Up to four mixtures with one component more: one with much spread is cut in two across its longest axis."""
    eigenvalues, vectors = np.linalg.eigh(mixture.covariances)
    spread = mixture.weights * eigenvalues[:, -1]
    chosen = random.choice(len(spread), size=min(4, len(spread)), replace=False, p=spread / spread.sum())
    result = []
    for j in np.sort(chosen):
        shift = 0.8 * np.sqrt(eigenvalues[j, -1]) * vectors[j, :, -1]
        narrowed = mixture.covariances[j] - np.outer(shift, shift)  # the two halves together keep the old covariance
        keep = np.arange(mixture.n_components) != j
        halves = (mixture.weights[j] / 2, mixture.weights[j] / 2)
        result.append(
            Mixture(
                np.concatenate([mixture.weights[keep], halves]),
                np.vstack([mixture.means[keep], mixture.means[j] - shift, mixture.means[j] + shift]),
                np.concatenate([mixture.covariances[keep], [narrowed, narrowed]]),
            )
        )
    return result


def _kmeans_labels(X: Array, k: int, runs: int, random: np.random.Generator, rounds: int) -> Labels:
    """(runs, n) labels: k-means++ seeds (Arthur & Vassilvitskii 2007), then Lloyd's rounds; with 0 rounds, centres
    drawn at random and customers given to the nearest."""
    n, d = X.shape
    squares = np.einsum("ij,ij->i", X, X)
    centres = np.empty((runs, k, d))
    if rounds == 0:
        for s in range(runs):
            centres[s] = X[random.choice(n, size=k, replace=False)]
    else:
        centres[:, 0] = X[random.integers(n, size=runs)]
        nearest = np.full((runs, n), np.inf)
        for j in range(1, k):
            distance = squares - 2.0 * centres[:, j - 1] @ X.T + np.sum(centres[:, j - 1] ** 2, axis=1)[:, None]
            nearest = np.minimum(nearest, np.maximum(distance, 0.0))
            cumulated = np.cumsum(nearest, axis=1)
            draws = random.random(runs) * cumulated[:, -1]
            picks = [min(int(np.searchsorted(cumulated[s], draws[s])), n - 1) for s in range(runs)]
            centres[:, j] = X[picks]
    labels = _nearest_centres(X, centres)
    for _ in range(rounds):
        membership = (labels[:, None, :] == np.arange(k)[None, :, None]).astype(np.float64)
        sizes = membership.sum(axis=2)[..., None]
        sums = (membership.reshape(runs * k, n) @ X).reshape(runs, k, d)
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1.0), centres)
        labels = _nearest_centres(X, centres)
    return labels


def _nearest_centres(X: Array, centres: Array) -> Labels:
    runs, k, d = centres.shape
    closeness = (centres.reshape(runs * k, d) @ X.T).reshape(runs, k, -1) - 0.5 * np.sum(centres**2, axis=2)[..., None]
    return np.argmax(closeness, axis=1)


def _whitened_log_joint(weights: Array, means: Array, roots: Array, logdet: Array, X: Array) -> Array:
    """(S, k, n) log of weight times density; X : (d, n). Precise also for ill-conditioned components."""
    S, k, d = means.shape
    factors = np.swapaxes(roots, -1, -2).reshape(S * k * d, d)
    whitened = (factors @ X).reshape(S, k, d, -1)
    whitened -= np.einsum("skij,ski->skj", roots, means)[..., None]
    np.square(whitened, out=whitened)
    constant = np.log(weights) - 0.5 * (logdet + d * _LOG_2PI)
    return constant[..., None] - 0.5 * whitened.sum(axis=2)


def _precision_factors(covariances: Array) -> Array:
    """(k, d, d) lower triangular factors F with F' F = precision: the inverse Cholesky factor of each covariance."""
    return np.tril(np.linalg.inv(np.linalg.cholesky(covariances)))


def _logsumexp(joint: Array) -> Array:
    peak = joint.max(axis=1)
    return peak + np.log(np.sum(np.exp(joint - peak[:, None]), axis=1))
