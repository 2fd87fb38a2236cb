"""The Gaussian mixture as a scikit-learn estimator: one fit for one number of components.

Here: parameters, input checks, starts from k-means or from given parameters, what is known of a fitted mixture. Not
here: the arithmetic of EM (em.py), and the search over starts and numbers of components (search.py).

The public conventions of scikit-learn are followed; none of its private classes is inherited from, because they change
between minor versions (they did in 1.9).
"""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.em import (
    GUARD_VARIANCE,
    Parameters,
    Prior,
    Rows,
    StackedEM,
    moments_of_labels,
    scatter_of_one,
    spike_guard,
)
from segment_pipeline.mixture.gaussian import Mixture, logsumexp, precision_factors
from segment_pipeline.mixture.starts import kmeans_labels, nearest_centers
from segment_pipeline.words import figure

CONSTRAINTS: dict[str, CovarianceType] = {
    "full": "full",
    "tied": "tied",
    "diag": "diagonal",
    "spherical": "spherical",
}
"""scikit-learn's name of each covariance type, and the one it has here."""

KMEANS_ROWS = 20_000
"""k-means starts on at most this many rows."""

KMEANS_ROUNDS = 10

FEWEST_ROWS = 2.0
"""Weights that sum to less are taken for shares that somebody forgot to scale."""

FEW_ROWS = 2_000

SCORED_ROWS = 65_536
"""Rows scored at once, so that temporary memory does not grow with the rows."""


class GaussianMixtureEM(DensityMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Gaussian mixture fitted by accelerated EM to the highest posterior, in float64, on one pass of chunks at a time.

    Parameters
    ----------
    n_components : int, at least 1.
    covariance_type : "full", "tied", "diag" or "spherical", as in scikit-learn.
    tol : what may seem still to be gained at convergence, in mean log posterior per row; nats, at least 0. It is an
        estimate from the last steps, and a plateau can hide more; scikit-learn's default of 1e-3, on the last step
        alone, stops hundreds of BIC units short on flat likelihoods.
    max_iter : E-steps before a run that still improves is called not converged; at least 1.
    n_init : k-means starts, of which the best is kept. Ignored when the means are given.
    random_state : int, RandomState or None.
    prior : "conjugate" for one of the data's own scale, so weak that only a spike feels it (`em.spike_guard`), a
        `Prior` in the units of X, or None for maximum likelihood.
    variance_floor : (d,) or scalar smallest variance along each feature, in the units of X squared, or None.
        Covariances obey Sigma_k >= diag(variance_floor).
    accelerate : SQUAREM (Varadhan & Roland 2008) instead of plain EM; never lowers the posterior either.
    weights_init, means_init, covariances_init : start here; shapes as of the fitted attributes. What is not given comes
        from k-means.
    chunk_rows : rows per block of a pass, None for what suits the processor's cache.
    n_jobs : threads for a pass; None for 1, -1 for one per core. The result does not depend on it.

    Attributes
    ----------
    weights_ : (n_components,) sum 1. means_ : (n_components, n_features).
    covariances_ : full (n_components, n_features, n_features), tied (n_features, n_features), diag (n_components,
        n_features), spherical (n_components,).
    converged_ : whether the best run met `tol`. n_iter_ : its E-steps.
    lower_bound_ : its mean log posterior per row (without prior: log-likelihood), up to a constant; higher is better.
    lower_bounds_ : the same after every iteration (every accelerated cycle of three E-steps); never falls.
    n_features_in_, feature_names_in_ : as in scikit-learn.
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: Literal["full", "tied", "diag", "spherical"] = "full",
        tol: float = 1e-6,
        max_iter: int = 1200,
        n_init: int = 1,
        random_state: Any = None,
        prior: Prior | Literal["conjugate"] | None = "conjugate",
        variance_floor: ArrayLike | None = None,
        accelerate: bool = True,
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        covariances_init: ArrayLike | None = None,
        chunk_rows: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state
        self.prior = prior
        self.variance_floor = variance_floor
        self.accelerate = accelerate
        self.weights_init = weights_init
        self.means_init = means_init
        self.covariances_init = covariances_init
        self.chunk_rows = chunk_rows
        self.n_jobs = n_jobs

    @classmethod
    def from_mixture(cls, mixture: Mixture, **parameters: Any) -> "GaussianMixtureEM":
        """A fitted estimator with the parameters of this mixture, which counts as converged. Raises ValueError for a
        mixture with a hurdle, and where its covariances are not of its type: spheres in coordinates of another
        scale."""
        if mixture.hurdle is not None:
            raise ValueError("a mixture with a hurdle segment is no Gaussian mixture; convert without_hurdle instead")
        of_type: Any = next(name for name, one in CONSTRAINTS.items() if one == mixture.covariance_type)
        model = cls(mixture.n_components, covariance_type=of_type, **parameters)
        model._keep(mixture)
        if not np.allclose(model.mixture_.covariances, mixture.covariances, rtol=1e-9, atol=0.0):
            raise ValueError(f"the mixture's covariances are not {mixture.covariance_type} in these coordinates")
        model.n_features_in_ = mixture.n_features
        model.converged_, model.n_iter_ = True, 0
        model.lower_bound_, model.lower_bounds_ = float("nan"), []
        return model

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> "GaussianMixtureEM":
        """Fit to X (n, d); sample_weight (n,) non-negative: a weight of 2 is the row twice. y is ignored."""
        X = self._checked(X, fitting=True)
        weights = _checked_weights(sample_weight, len(X))
        self._check_parameters(X)
        with own_threads(self.n_jobs) as pool:
            rows, covariance, floor, prior = self._prepare(X, weights)
            em = StackedEM(
                rows.d,
                floor,
                prior,
                covariance_type=CONSTRAINTS[self.covariance_type],
                diagonal=rows.diagonal,
                scatter_of_one=scatter_of_one(covariance, self.n_components),
            )
            moments = self._starts(rows, em)
            ending = em.converge(
                moments, rows, self.tol, max_iterations=self.max_iter, accelerate=self.accelerate, pool=pool
            )
        best = int(np.argmax(ending.objectives))
        self.converged_ = bool(ending.converged[best])
        self.n_iter_ = int(ending.passes[best])
        self.lower_bound_ = float(ending.objectives[best])
        self.lower_bounds_ = ending.history[:, best].tolist()
        mixture = em.mixture(ending.moments[best], rows.total)
        self._keep(replace(mixture, means=mixture.means + rows.center))
        if not self.converged_:
            warnings.warn(
                f"the best of {len(moments)} runs still improved after {self.n_iter_} E-steps. Increase max_iter or "
                "tol, or look for degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def fit_predict(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Labels:
        """`fit`, then `predict` on the same rows."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def predict(self, X: ArrayLike) -> Labels:
        """(n, d) -> (n,) index of the likeliest component."""
        X = self._checked(X)
        return self._in_chunks(X, np.empty(len(X), dtype=np.intp), lambda part: self.mixture_.log_joint(part).argmax(1))

    def predict_proba(self, X: ArrayLike) -> Array:
        """(n, d) -> (n, n_components) membership probabilities; rows sum to 1."""
        X = self._checked(X)
        return self._in_chunks(X, np.empty((len(X), self.n_components)), self.mixture_.responsibilities)

    def score_samples(self, X: ArrayLike) -> Array:
        """(n, d) -> (n,) log density of each row, nats; higher is more typical."""
        X = self._checked(X)
        return self._in_chunks(X, np.empty(len(X)), lambda part: logsumexp(self.mixture_.log_joint(part)))

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Mean log density per row, nats; higher is better. y is ignored."""
        return float(self.score_samples(X).mean())

    def bic(self, X: ArrayLike) -> float:
        """Bayesian information criterion of the plain likelihood on X; lower is better (Schwarz 1978)."""
        scores = self.score_samples(X)
        return -2.0 * float(scores.sum()) + self.n_parameters * float(np.log(len(scores)))

    def aic(self, X: ArrayLike) -> float:
        """Akaike information criterion of the plain likelihood on X; lower is better."""
        return -2.0 * float(self.score_samples(X).sum()) + 2.0 * self.n_parameters

    def sample(self, n_samples: int = 1) -> tuple[Array, Labels]:
        """Rows (n_samples, d) drawn from the mixture, ordered by component, and the component (n_samples,) of each."""
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. sample() needs at least 1.")
        random = check_random_state(self.random_state)
        mixture = self.mixture_
        labels = np.repeat(np.arange(self.n_components), random.multinomial(n_samples, mixture.weights))
        X = random.standard_normal((n_samples, mixture.n_features))
        for k, factor in enumerate(np.linalg.cholesky(mixture.covariances)):
            X[labels == k] = mixture.means[k] + X[labels == k] @ factor.T
        return X, labels

    @property
    def mixture_(self) -> Mixture:
        """The same mixture as a value with full covariances."""
        check_is_fitted(self, "covariances_")
        constraint = CONSTRAINTS[self.covariance_type]
        covariances = _as_full(self.covariances_, constraint, self.means_.shape)
        return Mixture(self.weights_, self.means_, covariances, covariance_type=constraint)

    @property
    def n_parameters(self) -> int:
        """Free parameters: weights, means and what the covariance type leaves free."""
        return self.mixture_.n_parameters

    def to_sklearn(self) -> GaussianMixture:
        """A fitted scikit-learn estimator with the same probabilities, to 1e-9 on data near their own scale.

        With "diag" and "spherical" scikit-learn subtracts large squares: a mean of 10,000 SD costs it seven digits."""
        check_is_fitted(self)
        estimator = GaussianMixture(
            self.n_components, covariance_type=self.covariance_type, tol=self.tol, max_iter=self.max_iter
        )
        estimator.weights_, estimator.means_ = self.weights_.copy(), self.means_.copy()
        estimator.covariances_ = np.copy(self.covariances_)
        if self.covariance_type in ("full", "tied"):
            stacked = self.covariances_ if self.covariance_type == "full" else self.covariances_[None]
            # scikit-learn's factor is upper triangular with precision = factor @ factor.T: the transpose of ours.
            factors = np.swapaxes(precision_factors(stacked), 1, 2).copy()
            precisions = factors @ np.swapaxes(factors, 1, 2)
            tied = self.covariance_type == "tied"
            estimator.precisions_cholesky_, estimator.precisions_ = (
                (factors[0], precisions[0]) if tied else (factors, precisions)
            )
        else:
            estimator.precisions_ = 1.0 / self.covariances_
            estimator.precisions_cholesky_ = np.sqrt(estimator.precisions_)
        for name in ("n_features_in_", "feature_names_in_", "converged_", "n_iter_", "lower_bound_", "lower_bounds_"):
            if hasattr(self, name):
                setattr(estimator, name, getattr(self, name))
        return estimator

    def _keep(self, mixture: Mixture) -> None:
        self.weights_, self.means_ = mixture.weights, mixture.means
        covariances = mixture.covariances
        if self.covariance_type == "tied":
            self.covariances_ = covariances[0]
        elif self.covariance_type == "full":
            self.covariances_ = covariances
        else:
            variances = np.diagonal(covariances, axis1=1, axis2=2).copy()
            self.covariances_ = variances if self.covariance_type == "diag" else variances[:, 0].copy()

    def _checked(self, X: ArrayLike, *, fitting: bool = False) -> NDArray[Any]:
        """X as an array of the dtype it came in: a chunk at a time becomes float64, never the whole."""
        if not fitting:
            check_is_fitted(self)
        return np.asarray(
            validate_data(self, X, reset=fitting, dtype="numeric", ensure_min_samples=2 if fitting else 1)
        )

    def _check_parameters(self, X: NDArray[Any]) -> None:
        for name in ("n_components", "max_iter", "n_init", "chunk_rows"):
            value = getattr(self, name)
            if name == "chunk_rows" and value is None:
                continue
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        if not isinstance(self.tol, Real) or not self.tol >= 0:
            raise ValueError(f"tol must be a number of at least 0, got {self.tol!r}")
        if self.covariance_type not in CONSTRAINTS:
            raise ValueError(f"covariance_type must be one of {tuple(CONSTRAINTS)}, got {self.covariance_type!r}")
        if not (self.prior is None or isinstance(self.prior, Prior) or self.prior == "conjugate"):
            raise ValueError(f"prior must be 'conjugate', None or a Prior, got {self.prior!r}")
        if len(X) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got "
                f"n_components = {self.n_components}, n_samples = {len(X)}. Ask for fewer components."
            )

    def _prepare(self, X: NDArray[Any], weights: Array | None) -> tuple[Rows, Array, Array, Prior | None]:
        """The rows centred on their mean, their covariance, and floor and prior in those coordinates."""
        rows = Rows(
            X,
            center=_weighted_mean(X, weights),
            diagonal=self.covariance_type in ("diag", "spherical"),
            weights=weights,
            block_rows=self.chunk_rows,
        )
        _, covariance = rows.moments()
        floor = checked_floor(self.variance_floor, covariance)
        warn_of_dependence(covariance, floor)
        prior = self.prior
        if prior == "conjugate":
            prior = spike_guard(covariance, self.n_components, rows.total, CONSTRAINTS[self.covariance_type])
        elif prior is not None:
            prior = replace(prior, mean=prior.mean - rows.center)
        return rows, covariance, floor, prior

    def _starts(self, rows: Rows, em: StackedEM) -> Array:
        """(starts, k, P) expected statistics from which EM sets out."""
        weights, means, covariances = self._given_start(rows)
        moments = self._kmeans_moments(rows, means)
        if weights is None and means is None and covariances is None:
            return moments
        found = em.parameters(moments, rows.total)
        start = Parameters.of(
            found.weights if weights is None else np.broadcast_to(weights, found.weights.shape),
            found.means if means is None else np.broadcast_to(means, found.means.shape),
            found.covariances() if covariances is None else np.broadcast_to(covariances, found.roots.shape),
        )
        return em.expect(start, rows)[0]

    def _given_start(self, rows: Rows) -> tuple[Array | None, Array | None, Array | None]:
        """Weights (k,), centred means (k, d) and full covariances (k, d, d) to start from, None where not given."""
        k, d = self.n_components, rows.d
        shapes = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}
        weights = _checked_start("weights", self.weights_init, (k,))
        means = _checked_start("means", self.means_init, (k, d))
        covariances = _checked_start("covariances", self.covariances_init, shapes[self.covariance_type])
        if weights is not None and (weights.min() <= 0 or not np.isclose(weights.sum(), 1.0)):
            raise ValueError(f"The parameter 'weights' should be positive and sum to 1, but got {weights}")
        if covariances is not None:
            covariances = _as_full(covariances, CONSTRAINTS[self.covariance_type], (k, d))
            symmetric = np.allclose(covariances, np.swapaxes(covariances, 1, 2))
            if not symmetric or np.linalg.eigvalsh(covariances).min() <= 0:
                raise ValueError("The parameter 'covariances' should be symmetric, positive-definite")
        return weights, None if means is None else means - rows.center, covariances

    def _kmeans_moments(self, rows: Rows, means: Array | None) -> Array:
        """Statistics of `n_init` k-means partitions, or of the one whose centres are the given (centred) means."""
        random = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        chosen: Any = slice(None)
        if rows.n > KMEANS_ROWS:
            chosen = np.sort(random.choice(rows.n, size=KMEANS_ROWS, replace=False))
        few = Rows(
            rows.X[chosen],
            center=rows.center,
            diagonal=rows.diagonal,
            weights=None if rows.weights is None else rows.weights[chosen],
        )
        Z = few.X - rows.center
        scale = np.where(np.ptp(Z, axis=0) > 0, Z.std(axis=0), 1.0)
        if means is not None:
            labels = nearest_centers(Z / scale, (means / scale)[None])
        else:
            labels = kmeans_labels(Z / scale, self.n_components, self.n_init, random, KMEANS_ROUNDS, few.weights)
        return moments_of_labels(labels, self.n_components, few)

    @staticmethod
    def _in_chunks(X: NDArray[Any], out: NDArray[Any], score: Any) -> NDArray[Any]:
        # To limit BLAS takes longer than to score a few rows.
        with one_blas_thread() if len(X) > FEW_ROWS else nullcontext():
            for start in range(0, len(X), SCORED_ROWS):
                part = np.asarray(X[start : start + SCORED_ROWS], dtype=np.float64)
                out[start : start + SCORED_ROWS] = score(part)
        return out


def checked_floor(variance_floor: ArrayLike | None, covariance: Array) -> Array:
    """(d,) smallest variance along each feature, never below the guard that keeps covariances invertible.

    Raises ValueError where nothing would: a constant feature and no floor for it.
    """
    variances = np.diag(covariance)
    if variance_floor is None:
        floor = np.zeros(len(variances))
    else:
        floor = np.broadcast_to(np.asarray(variance_floor, dtype=np.float64), variances.shape)
        if not (np.isfinite(floor).all() and (floor >= 0).all()):
            raise ValueError(f"variance_floor must be non-negative and finite, got {variance_floor}")
    floor = np.maximum(floor, GUARD_VARIANCE * variances)
    if not (floor > 0).all():
        raise ValueError(
            f"features {np.flatnonzero(floor <= 0).tolist()} have the same value in every row. Drop them, or set "
            "variance_floor to the variance that their resolution supports."
        )
    return floor


def warn_of_dependence(covariance: Array, floor: Array) -> None:
    """Say so where only floor and guard keep the covariance of all rows invertible."""
    rounding_variance = np.sqrt(np.maximum(np.diag(covariance), floor))
    smallest = float(np.linalg.eigvalsh(covariance / np.outer(rounding_variance, rounding_variance))[0])
    if smallest <= GUARD_VARIANCE:
        warnings.warn(
            "the features repeat one another, or there are too few distinct rows for them: the smallest eigenvalue of "
            f"their correlations is {figure(max(smallest, 0.0))}, and densities hinge on variance_floor. "
            "Drop a feature, or choose the diag or spherical type.",
            UserWarning,
            stacklevel=4,  # where fit was called
        )


def _checked_weights(sample_weight: ArrayLike | None, n: int) -> Array | None:
    if sample_weight is None:
        return None
    weights = np.asarray(check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"))
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}!")
    if weights.min() < 0:
        raise ValueError("Negative values in sample_weight: a weight says how often a row counts")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    if weights.sum() < FEWEST_ROWS <= n:
        warnings.warn(
            f"sample_weight sums to {figure(weights.sum(), 3)}: a weight says how often a row counts, so this is "
            "hardly a row, and the prior outweighs it. Scale the weights to sum to the number of rows.",
            UserWarning,
            stacklevel=3,
        )
    return weights


def _checked_start(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    if value is None:
        return None
    array = np.asarray(check_array(value, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name=name))
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
    return array


def _as_full(covariances: Array, covariance_type: CovarianceType, shape: tuple[int, ...]) -> Array:
    """(k, d, d) covariances from scikit-learn's shape for this type; shape : (k, d)."""
    k, d = shape
    if covariance_type == "full":
        return covariances
    if covariance_type == "tied":
        return np.broadcast_to(covariances, (k, d, d))
    variances = covariances if covariance_type == "diagonal" else np.broadcast_to(covariances[:, None], (k, d))
    return variances[:, :, None] * np.eye(d)


def _weighted_mean(X: NDArray[Any], weights: Array | None) -> Array:
    if weights is None:
        return np.asarray(X.mean(axis=0, dtype=np.float64))
    sums = np.zeros(X.shape[1])
    for start in range(0, len(X), SCORED_ROWS):
        sums += weights[start : start + SCORED_ROWS] @ X[start : start + SCORED_ROWS].astype(np.float64)
    return np.asarray(sums / weights.sum())


@contextmanager
def own_threads(n_jobs: int | None) -> Iterator[ThreadPoolExecutor | None]:
    """Threads for NumPy's own work, with BLAS kept to one each so that they do not fight; None for a single one."""
    threads = thread_count(n_jobs)
    with one_blas_thread():
        if threads == 1:
            yield None
            return
        with ThreadPoolExecutor(threads) as pool:
            yield pool


@cache
def _libraries() -> ThreadpoolController:
    """The threaded libraries of this process. To look for them takes longer than to fit a few thousand rows."""
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Where BLAS uses a single thread per call."""
    limits: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limits


def thread_count(n_jobs: int | None) -> int:
    """joblib's convention: None is 1, -1 is one per core, -2 all cores but one."""
    if n_jobs is None:
        return 1
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning; give a number of threads, or -1 for one per core")
    return n_jobs if n_jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + n_jobs)
