"""Expectation-maximisation for a stack of mixtures at once: the kernel under the estimator and under the search.

Here: the rows as the kernel sees them, E-step, M-step under prior and variance floor. Not here: how steps are repeated
until nothing is left to gain (acceleration.py), where a run starts (starts.py), which run is kept (estimator.py,
search.py).

* The log density of a Gaussian is linear in phi(x) = [1, x_i, x_i x_j], so an E-step is one matrix product and an
  M-step another, for all runs of the stack together. phi is built block by block and never exists for all rows of a
  large matrix.
* The objective is the posterior under a prior of the conjugate family, by default one so weak that only a spike feels
  it (`spike_guard`), maximised subject to Sigma_k >= diag(variance_floor): data cannot support structure finer than
  their own rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.mixture.acceleration import Accelerated
from segment_pipeline.mixture.covariances import CovarianceType, pooled, shaped
from segment_pipeline.mixture.gaussian import LOG_2PI, Mixture

GUARD_VARIANCE = 1e-10
"""Smallest variance, as a share of the feature's own: keeps a covariance invertible when neither prior nor floor is
asked for."""

OWN_SCATTER = 0.25
"""Least scatter of a component's members along any direction, as a multiple of one customer's (`scatter_of_one`).
Members who repeat one value had 0.15 to 0.18 on grocery orders (with a floor too low for them); setosa in iris, tight
but honest, has 0.68."""

GUARD = 0.1
"""Weight of the guard against spikes, in customers, as a multiple of 1 / sqrt(customers). Along one direction of one
component it costs a fit that passes `OWN_SCATTER` at most GUARD^2 / (2 OWN_SCATTER^2) = 0.08 BIC, however many
customers there are."""

_JOINT_NUMBERS = 2**17
_BLOCK_ROWS = 4096
"""Log densities per block, and rows, so that a block and its phi stay in the processor's second-level cache."""

_SHARD_ROWS = 2**18
"""Rows whose statistics are added up before they are added to the total, by whichever thread: fixed, so that the sum
does not depend on the number of threads."""

_KEPT_NUMBERS = 4_000_000
"""phi is kept, not rebuilt in every pass, up to this many numbers (32 MB)."""

_NO_MASS: dict[np.dtype[Any], float] = {np.dtype(np.float64): 1e-270, np.dtype(np.float32): 1e-30}
"""Density, as a share of the highest peak, below which a row's sum of exponentials is taken relative to its largest
term: above the smallest number of a kind."""

_ROUNDING_LIMIT: dict[np.dtype[Any], float] = {np.dtype(np.float64): 1e-7, np.dtype(np.float32): 1e-2}
"""Error of a log density, in nats, above which the E-step leaves phi(x) for the slower whitened product. In single
precision runs are only compared."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Conjugate prior of mean and covariance of a component (normal inverse Wishart).

    mean : (d,). shrinkage : kappa, the weight of the prior mean in customers, 0 for none. degrees_of_freedom : nu; it
    need not be a proper density. scale : (d, d).
    """

    mean: Array
    shrinkage: float
    degrees_of_freedom: float
    scale: Array


def scatter_of_one(covariance: Array, n_components: int) -> Array:
    """(d, d) scatter that one customer of a component of usual size has, var / k^(2/d): the scale of the data-dependent
    prior of Fraley & Raftery (2007). covariance : (d, d) of all customers."""
    return np.asarray(covariance * n_components ** (-2.0 / len(covariance)))


def spike_guard(
    covariance: Array, n_components: int, customers: float, covariance_type: CovarianceType = "full"
) -> Prior:
    """The weakest prior that keeps the likelihood bounded: a penalty tr(S Sigma^-1) / 2 on every covariance, with S as
    small as GUARD / sqrt(customers) of `scatter_of_one` (Ciuperca, Ridolfi & Idier 2003; the rate of Chen & Tan 2009).

    Degrees of freedom of -(d + 2) and a shrinkage of 0 leave means, weights and the volume of covariances alone; of the
    one covariance that k components share, -(d + 1 + k) do. Those
    of Fraley & Raftery, whose prior counts for 2 d + 4 customers in every component, cost sound fits of 150 to 600
    customers 6 to 99 BIC (benchmarks/prior.py).
    """
    d = len(covariance)
    scale = GUARD / np.sqrt(customers) * scatter_of_one(covariance, n_components)
    return Prior(np.zeros(d), 0.0, -(d + 1.0 + (n_components if covariance_type == "tied" else 1.0)), scale)


def members_needed(d: int, covariance_type: CovarianceType = "full") -> int:
    """Effective members below which a component cannot carry a covariance of its own; of variances alone, or a share
    in everybody's covariance, no more than one feature would need."""
    return max(10, 5 * (d + 1)) if covariance_type == "full" else 10


class Rows:
    """Rows as the kernel sees them: centred, in blocks of phi, with weights.

    X : (n, d) of any real dtype and order, not copied. center : (d,) subtracted from every row. diagonal : phi contains
    the squares alone of the products x_i x_j. weights : (n,) non-negative, None for 1 each. rounding_variance : (n, d)
    variance of what each value was rounded from (resolution.py); phi then holds the mean of x_i^2 over it. None for
    values that are exact. single : phi, densities and responsibilities in single precision, for runs that are only
    compared; parameters, and what the blocks of rows add up to, are double.
    """

    def __init__(
        self,
        X: NDArray[Any],
        *,
        center: Array | None = None,
        diagonal: bool = False,
        weights: Array | None = None,
        rounding_variance: Array | None = None,
        block_rows: int | None = None,
        single: bool = False,
    ) -> None:
        self.X = X
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if single else np.float64)
        self.rounding_variance = rounding_variance
        self.n, self.d = X.shape
        self.center = np.zeros(self.d) if center is None else center
        self.diagonal = diagonal
        self.n_statistics = 1 + 2 * self.d if self.diagonal else 1 + self.d + self.d * (self.d + 1) // 2
        self.weights = weights
        self.total = float(self.n) if weights is None else float(weights.sum())
        rows, columns = product_pairs(self.d, self.diagonal)
        self.squares = self.d + 1 + np.flatnonzero(rows == columns)
        keep = self.n * self.n_statistics <= _KEPT_NUMBERS
        self.block_rows = block_rows or _BLOCK_ROWS
        self.kept = self._phi(0, self.n, np.empty((self.n_statistics, self.n), self.dtype)) if keep else None
        self.reach = self._reach()

    def shards(self) -> list[tuple[int, int]]:
        """First and last + 1 of each stretch of rows whose statistics are summed by themselves."""
        return [(start, min(start + _SHARD_ROWS, self.n)) for start in range(0, self.n, _SHARD_ROWS)]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[tuple[Array, Array | None]]:
        """phi (P, b) and weights (b,) of these rows, `size` rows at a time. A block is valid until the next one."""
        space = None if self.kept is not None else np.empty((self.n_statistics, size), self.dtype)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            weights = None if self.weights is None else self.weights[first:last]
            if space is None:
                assert self.kept is not None  # noqa: S101 - one of the two is there
                yield self.kept[:, first:last], weights
            else:
                yield self._phi(first, last, space[:, : last - first]), weights

    def moments(self) -> tuple[Array, Array]:
        """Weighted mean (d,), centred, and covariance (d, d) of all rows, divided by total weight - 1. Where phi
        contains squares alone, its other entries are 0."""
        sums = np.zeros(self.n_statistics)
        for start, stop in self.shards():
            for phi, weights in self.blocks(start, stop, self.block_rows):
                sums += phi.sum(axis=1) if weights is None else phi @ weights
        mean = sums[1 : self.d + 1] / self.total
        second = self.unfold(sums[self.d + 1 :])
        covariance = second - self.total * np.outer(mean, mean)
        if self.diagonal:
            covariance = np.diag(np.diag(covariance))
        # A weight says how often a row counts; weights that sum to next to nothing can only be shares.
        return mean, covariance / (self.total - 1.0 if self.total > 2.0 else self.total * (1.0 - 1.0 / max(self.n, 2)))

    def unfold(self, products: Array) -> Array:
        """(..., P - 1 - d) products x_i x_j -> (..., d, d) symmetric."""
        return unfold_products(products, self.d, self.diagonal)

    def _phi(self, start: int, stop: int, out: Array) -> Array:
        d = self.d
        out[0] = 1.0
        x = out[1 : d + 1]
        np.subtract(self.X[start:stop].T, self.center[:, None], out=x)
        if self.diagonal:
            np.multiply(x, x, out=out[d + 1 :])
        else:
            position = d + 1
            for i in range(d):
                np.multiply(x[i:], x[i], out=out[position : position + d - i])
                position += d - i
        if self.rounding_variance is not None:
            out[self.squares] += self.rounding_variance[start:stop].T
        return out

    def _reach(self) -> Array:
        """(P,) largest absolute value of each entry of phi, or a little more."""
        if self.kept is not None:
            return np.asarray(np.abs(self.kept).max(axis=1), dtype=np.float64)
        largest = np.zeros(self.d)
        for start, stop in self.shards():
            part = self.X[start:stop]
            largest = np.maximum(largest, np.maximum(part.max(axis=0) - self.center, self.center - part.min(axis=0)))
        rows, columns = product_pairs(self.d, self.diagonal)
        reach = np.concatenate([[1.0], largest, largest[rows] * largest[columns]])
        if self.rounding_variance is not None:
            reach[self.squares] += self.rounding_variance.max(axis=0)
        return reach


def product_pairs(d: int, diagonal: bool) -> tuple[Labels, Labels]:
    """Which products x_i x_j stand in phi, in their order: all with i <= j, or the squares only."""
    return (np.arange(d), np.arange(d)) if diagonal else np.triu_indices(d)


def unfold_products(products: Array, d: int, diagonal: bool) -> Array:
    """(..., P - 1 - d) products x_i x_j -> (..., d, d) symmetric."""
    if diagonal:
        return products[..., None] * np.eye(d)
    return products[..., _position_of_pair(d)]


@cache
def _position_of_pair(d: int) -> Labels:
    """(d, d) where x_i x_j stands among the products i <= j."""
    rows, columns = np.triu_indices(d)
    position = np.empty((d, d), dtype=np.intp)
    position[rows, columns] = position[columns, rows] = np.arange(len(rows))
    return position


@dataclass(frozen=True, eq=False)
class Parameters:
    """Parameters of a stack of S runs. weights : (S, k). means : (S, k, d). roots : (S, k, d, d), R R' = precision.
    logdet : (S, k) log determinant of the covariance."""

    weights: Array
    means: Array
    roots: Array
    logdet: Array

    @classmethod
    def of(cls, weights: Array, means: Array, covariances: Array) -> "Parameters":
        """From weights (S, k), means (S, k, d) and positive definite covariances (S, k, d, d)."""
        factors = np.linalg.cholesky(covariances)
        logdet = 2.0 * np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)
        return cls(weights, means, np.swapaxes(np.linalg.inv(factors), -1, -2), logdet)

    @cached_property
    def precisions(self) -> Array:
        """(S, k, d, d) inverse covariances."""
        return self.roots @ np.swapaxes(self.roots, -1, -2)

    def covariances(self) -> Array:
        """(S, k, d, d)."""
        inverse_roots = np.linalg.inv(self.roots)  # precision = R R', so covariance = R^-T R^-1
        covariances = np.swapaxes(inverse_roots, -1, -2) @ inverse_roots
        return np.asarray((covariances + np.swapaxes(covariances, -1, -2)) / 2)


class StackedEM(Accelerated[Rows]):
    """EM for a stack of runs with the same k. A run's state is its expected sufficient statistics, `moments` (k, P):
    for every component the mean over all rows of r, r x_i and r x_i x_j. Parameters follow from them in closed form.

    covariance_type : what the covariances have in common (covariances.py). diagonal : as of the rows; squares are
    enough for diagonal and spherical ones.
    """

    def __init__(
        self,
        d: int,
        floor: Array,
        prior: Prior | None,
        *,
        covariance_type: CovarianceType = "full",
        diagonal: bool = False,
        scatter_of_one: Array | None = None,
    ) -> None:
        self.d = d
        self.scatter_of_one = scatter_of_one
        self.covariance_type = covariance_type
        self.diagonal = diagonal
        self.floor = floor
        self.floor_products = np.outer(np.sqrt(floor), np.sqrt(floor))
        self.log_floor = float(np.sum(np.log(floor)))
        self.prior = prior
        self.rows, self.columns = product_pairs(d, self.diagonal)

    def step(self, moments: Array, rows: Rows, pool: Executor | None = None) -> tuple[Array, Array]:
        """One EM iteration of every run: new moments, and the mean log posterior at the *old* ones."""
        parameters = self.parameters(moments, rows.total)
        moments, log_likelihood = self.expect(parameters, rows, pool)
        return moments, log_likelihood + self.log_prior(parameters) / rows.total

    def expect(self, parameters: Parameters, rows: Rows, pool: Executor | None = None) -> tuple[Array, Array]:
        """The E-step: expected statistics (S, k, P) and mean log-likelihood (S,) under these parameters."""
        S, k = parameters.weights.shape
        top, log_joint = self.log_joint(parameters, rows)
        size = min(rows.block_rows, max(256, _JOINT_NUMBERS // (S * k)))

        def statistics(shard: tuple[int, int]) -> tuple[Array, Array]:
            sums, log_likelihood = np.zeros((S * k, rows.n_statistics)), np.zeros(S)
            space = np.empty((S * k, size), rows.dtype)
            for phi, weights in rows.blocks(*shard, size):
                R = log_joint(phi, space[:, : phi.shape[1]])
                log_mass = _to_responsibilities(R, weights, phi, log_joint)
                log_likelihood += log_mass.sum(axis=1, dtype=np.float64) if weights is None else log_mass @ weights
                sums += R.reshape(S * k, -1) @ phi.T
            return sums, log_likelihood

        sums, log_likelihood = np.zeros((S * k, rows.n_statistics)), np.zeros(S)
        for part_sums, part_likelihood in (map if pool is None else pool.map)(statistics, rows.shards()):
            sums += part_sums
            log_likelihood += part_likelihood
        return sums.reshape(S, k, -1) / rows.total, log_likelihood / rows.total + top

    def log_joint(self, parameters: Parameters, rows: Rows) -> tuple[Array, Callable[[Array, Array | None], Array]]:
        """The highest log peak (S,) of each run, and a function phi (P, b) -> (S, k, b): log of weight times density
        relative to that peak, so that its exponential cannot overflow."""
        weights, means, roots, logdet = parameters.weights, parameters.means, parameters.roots, parameters.logdet
        S, k, d = means.shape
        peaks = np.log(weights) - 0.5 * (d * LOG_2PI + logdet)
        top = peaks.max(axis=1)
        peaks = peaks - top[:, None]
        # log density = constant + linear . x + quadratic . (x_i x_j)
        precisions = parameters.precisions
        linear = (precisions @ means[..., None])[..., 0]
        constant = peaks - 0.5 * np.einsum("ski,ski->sk", linear, means)
        quadratic = -precisions[..., self.rows, self.columns]
        quadratic[..., self.rows == self.columns] *= 0.5
        coefficients = np.concatenate([constant[..., None], linear, quadratic], axis=-1).reshape(S * k, -1)
        if float(np.max(np.abs(coefficients) @ rows.reach)) * np.finfo(rows.dtype).eps < _ROUNDING_LIMIT[rows.dtype]:
            coefficients = coefficients.astype(rows.dtype, copy=False)

            def product(phi: Array, out: Array | None) -> Array:
                return np.matmul(coefficients, phi, out=out).reshape(S, k, -1)

            return top, product

        # Ill-conditioned components: whiten first, then square. Twice the work, and no cancellation.
        factors = np.swapaxes(roots, -1, -2).reshape(S * k * d, d).astype(rows.dtype)
        centers = np.einsum("skij,ski->skj", roots, means)[..., None].astype(rows.dtype)
        peaks = peaks.astype(rows.dtype)

        def whitened(phi: Array, out: Array | None) -> Array:
            deviation = (factors @ phi[1 : d + 1]).reshape(S, k, d, -1)
            deviation -= centers
            joint: Array = peaks[..., None] - 0.5 * np.einsum("skdb,skdb->skb", deviation, deviation)
            if rows.rounding_variance is not None:
                spread = phi[rows.squares] - phi[1 : d + 1] ** 2
                joint -= 0.5 * np.diagonal(precisions, axis1=2, axis2=3) @ spread
            return joint

        return top, whitened

    def has_spike(self, moments: Array, total: float) -> Flags:
        """(S,) whether a component has too few members or, where `scatter_of_one` is known, too little scatter: of what
        its covariance can follow."""
        members = total * moments[..., 0]
        few = members < members_needed(self.d, self.covariance_type)
        if self.scatter_of_one is None:
            return np.asarray(np.any(few, axis=1))
        _, means, second = self._unfold(moments, total)
        scatter = second - means[..., :, None] * means[..., None, :] + np.diag(self.floor)
        scatter = shaped(pooled(members[..., None, None] * scatter, self.covariance_type), self.covariance_type)
        of_one = shaped(self.scatter_of_one + np.diag(self.floor), self.covariance_type)
        whitener = np.linalg.inv(np.linalg.cholesky(of_one))
        own = np.linalg.eigvalsh(whitener @ scatter @ whitener.T)[..., 0]
        return np.asarray(np.any(few | (own < OWN_SCATTER), axis=1))

    def mixture(self, moments: Array, total: float) -> Mixture:
        """The parameters of one run, moments (k, P), whose statistics are means over rows of this total weight."""
        return self.mixture_of(self.parameters(moments[None], total))

    def mixture_of(self, parameters: Parameters) -> Mixture:
        """The first run's parameters as a mixture."""
        weights, means, covariances = parameters.weights[0], parameters.means[0], parameters.covariances()[0]
        return Mixture(weights, means, covariances, covariance_type=self.covariance_type)

    def parameters(self, moments: Array, total: float) -> Parameters:
        """The M-step: the parameters with the highest posterior given these moments (S, k, P)."""
        d = self.d
        weights, means, second = self._unfold(moments, total)
        members = (total * weights)[..., None, None]
        scatter = members * (second - means[..., :, None] * means[..., None, :])
        power = members
        if self.prior is not None:
            prior, kappa = self.prior, self.prior.shrinkage
            offset = means - prior.mean
            scatter = scatter + kappa * members / (kappa + members) * offset[..., :, None] * offset[..., None, :]
            power = members + 1.0  # of the mean's own prior, whose spread is Sigma / kappa
            means = means - offset * (kappa / (kappa + members[..., 0]))
        scatter, power = pooled(scatter, self.covariance_type), pooled(power, self.covariance_type)
        if self.prior is not None:
            scatter = self.prior.scale + scatter
            power = power + self.prior.degrees_of_freedom + d + 1.0
        roots, logdet = self._floored_roots(scatter / power)
        return Parameters(weights / weights.sum(axis=1, keepdims=True), means, roots, logdet)

    def _floored_roots(self, covariances: Array) -> tuple[Array, Array]:
        """Precision roots and log determinants of the likeliest covariances that obey type and floor."""
        if self.covariance_type in ("diagonal", "spherical"):
            variances = np.diagonal(covariances, axis1=-2, axis2=-1)
            if self.covariance_type == "spherical":
                # Both axes share one variance, which must not fall below any of the floors.
                mean = np.maximum(variances.mean(axis=-1, keepdims=True), self.floor.max())
                variances = np.broadcast_to(mean, variances.shape)
            variances = np.maximum(variances, self.floor)
            return np.eye(self.d) / np.sqrt(variances)[..., None, :], np.sum(np.log(variances), axis=-1)
        try:
            np.linalg.cholesky(covariances - np.diag(self.floor))  # so nothing is to be clipped
            factors = np.linalg.cholesky(covariances)  # half of the time of eigenvectors
        except np.linalg.LinAlgError:
            return self._clipped_roots(covariances)
        logdet = 2.0 * np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)
        return np.swapaxes(np.linalg.inv(factors), -1, -2), logdet

    def _clipped_roots(self, covariances: Array) -> tuple[Array, Array]:
        # The likelihood's maximum subject to Sigma >= diag(floor) clips these generalised eigenvalues at 1.
        eigenvalues, vectors = np.linalg.eigh(covariances / self.floor_products)
        eigenvalues = np.maximum(eigenvalues, 1.0)
        roots = vectors / (np.sqrt(eigenvalues)[..., None, :] * np.sqrt(self.floor)[:, None])
        return roots, np.log(eigenvalues).sum(axis=-1) + self.log_floor

    def _unfold(self, moments: Array, total: float) -> tuple[Array, Array, Array]:
        """Weights (S, k), means (S, k, d) and mean products (S, k, d, d) of each component's members."""
        d = self.d
        # An empty component, or one that a jump has carried below 0: a hundredth of a row.
        weights = np.maximum(moments[..., 0], min(1e-2 / total, 1e-5))
        second = unfold_products(moments[..., d + 1 :], d, self.diagonal)
        return weights, moments[..., 1 : d + 1] / weights[..., None], second / weights[..., None, None]

    def log_prior(self, parameters: Parameters) -> Array:
        """(S,) log density of the normal inverse Wishart prior, up to a constant; 0 without a prior."""
        if self.prior is None:
            return np.zeros(len(parameters.weights))
        prior = self.prior
        offset = parameters.means - prior.mean
        whitened = (offset[..., None, :] @ parameters.roots)[..., 0, :]
        of_means = parameters.logdet + prior.shrinkage * np.sum(whitened**2, axis=-1)
        of_covariances = (prior.degrees_of_freedom + self.d + 1.0) * parameters.logdet
        of_covariances = of_covariances + np.sum(parameters.precisions * prior.scale, axis=(-2, -1))
        if self.covariance_type == "tied":
            of_covariances = of_covariances[:, :1]  # the one covariance that all components share
        return np.asarray(-0.5 * (of_means.sum(axis=1) + of_covariances.sum(axis=1)))


def moments_of_labels(labels: Labels, k: int, rows: Rows) -> Array:
    """(S, n) hard labels -> (S, k, P) expected statistics."""
    S = len(labels)
    sums = np.zeros((S * k, rows.n_statistics))
    position = 0
    for start, stop in rows.shards():
        for phi, weights in rows.blocks(start, stop, rows.block_rows):
            part = labels[:, None, position : position + phi.shape[1]]
            membership = (part == np.arange(k)[None, :, None]).astype(np.float64)
            if weights is not None:
                membership *= weights
            sums += membership.reshape(S * k, -1) @ phi.T
            position += phi.shape[1]
    return sums.reshape(S, k, -1) / rows.total


def moments_of_mixtures(mixtures: Sequence[Mixture]) -> Array:
    """(S, k, P) expected statistics that these mixtures imply."""
    rows, columns = np.triu_indices(mixtures[0].n_features)
    moments = []
    for mixture in mixtures:
        second = mixture.covariances + mixture.means[:, :, None] * mixture.means[:, None, :]
        statistics = np.hstack([np.ones((mixture.n_components, 1)), mixture.means, second[:, rows, columns]])
        moments.append(statistics * mixture.weights[:, None])
    return np.array(moments)


def _to_responsibilities(
    joint: Array, weights: Array | None, phi: Array, log_joint: Callable[[Array, Array | None], Array]
) -> Array:
    """Turns joint (S, k, b) in place into responsibilities times row weight; returns the log mass (S, b) of each row.

    The largest term is not subtracted first, which would cost two more sweeps; rows so far out that their sum loses
    digits are done again, with it.
    """
    np.exp(joint, out=joint)
    mass = joint.sum(axis=1)
    least = _NO_MASS[joint.dtype]
    if mass.min() >= least:
        log_mass = np.log(mass)
    else:
        far = np.flatnonzero((mass < least).any(axis=0))
        again = log_joint(phi[:, far], None)
        peak = again.max(axis=1, keepdims=True)
        joint[:, :, far] = np.exp(again - peak)
        mass[:, far] = joint[:, :, far].sum(axis=1)
        log_mass = np.log(mass)
        log_mass[:, far] += peak[:, 0]
    np.reciprocal(mass, out=mass)
    if weights is not None:
        mass *= weights
    joint *= mass[:, None, :]
    return np.asarray(log_mass)
