"""The Gaussian mixture with memory as an estimator: one fit for one number of components, on a panel of months.

Here: parameters, input checks, starts, what is known of a fitted chain: filtered, smoothed and predicted memberships,
and how well it predicts. Not here: the recursions (forward_backward.py), and the search that starts it (search.py).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.chain.forward_backward import MemoryEM, Pass, forward_pass, log_densities
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import BEFORE, MISSING, Chunk, Panel
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.em import Parameters, Prior, StackedEM, spike_guard
from segment_pipeline.mixture.estimator import checked_floor, own_threads
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.search import search_mixtures

START_STAY = 0.5
"""Share of the customers who stay in their state, where a fit begins without a memory; the others go to each segment by
its weight."""

START_LAPSE = 0.05
"""Share of the customers of any segment who lapse, and of the lapsed who return, where a fit begins without one."""


class MarkovMixture(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Gaussian mixture with a transition matrix between its segments and the observed state `lapsed`: a hidden Markov
    model fitted by forward-backward EM to the highest posterior.

    Parameters ---------- n_components : int, at least 1. tol : what may seem still to be gained at convergence, in mean
    log posterior per customer-month, nats. max_iter : passes over the panel, at least 1. random_state : of the search
    for a start; unused with `mixture_init`. covariance_type : see covariances.py. prior : of the components, as in
    GaussianMixtureEM. variance_floor : (d,) or scalar smallest variance along each feature, or None. transition_prior :
    pseudo-customers for each cell of the transition matrix and of the beginnings, 0 or more. tempering : power, above 0
    and at most 1, to which densities are raised in the fit, for months whose windows overlap; 1 for none. What is
    predicted and scored is never tempered. accelerate : SQUAREM instead of plain EM. keep_components : only the memory
    is fitted, the components stay those of `mixture_init`. mixture_init, memory_init : start here. Without a mixture
    the best of a search on the pooled months; without a memory everybody stays with probability `START_STAY`. n_jobs :
    threads for a pass; None for 1, -1 for one per core. The result does not depend on it.

    Attributes
    ----------
    mixture_ : the components; weights as of new customers. memory_ : the transition matrix and the two beginnings.
    converged_, n_iter_ : whether it met `tol`, and the passes it took. lower_bound_ : mean log posterior per
    customer-month, up to a constant; lower_bounds_ : the same on the way, which never falls. n_features_in_.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        tol: float = 1e-6,
        max_iter: int = 1200,
        random_state: Any = None,
        covariance_type: CovarianceType = "full",
        prior: Prior | Literal["conjugate"] | None = "conjugate",
        variance_floor: ArrayLike | None = None,
        transition_prior: float = 1.0,
        tempering: float = 1.0,
        accelerate: bool = True,
        keep_components: bool = False,
        mixture_init: Mixture | None = None,
        memory_init: Memory | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.covariance_type = covariance_type
        self.prior = prior
        self.variance_floor = variance_floor
        self.transition_prior = transition_prior
        self.tempering = tempering
        self.accelerate = accelerate
        self.keep_components = keep_components
        self.mixture_init = mixture_init
        self.memory_init = memory_init
        self.n_jobs = n_jobs

    def fit(self, panel: Panel, y: object = None) -> "MarkovMixture":
        """Fit to a panel; y is ignored. Raises ValueError where parameters or panel cannot be used."""
        self._check(panel)
        rows = panel.for_passes
        centered = panel.rows - rows.center
        covariance = np.cov(centered, rowvar=False).reshape(panel.n_features, panel.n_features)
        floor = checked_floor(self.variance_floor, covariance)
        prior = self.prior
        if prior == "conjugate":
            prior = spike_guard(covariance, self.n_components, rows.total, self.covariance_type)
        elif isinstance(prior, Prior):
            prior = replace(prior, mean=prior.mean - rows.center)
        em = MemoryEM(
            self.n_components,
            panel.n_features,
            floor,
            prior,
            covariance_type=self.covariance_type,
            transition_prior=self.transition_prior,
            tempering=self.tempering,
            keep_components=self.keep_components,
        )
        mixture = self.mixture_init or self._found(panel)
        memory = self.memory_init or starting_memory(mixture.weights)
        with own_threads(self.n_jobs) as pool:
            start = em.start(mixture, memory, rows)
            ending = em.converge(
                start, rows, self.tol, max_iterations=self.max_iter, accelerate=self.accelerate, pool=pool
            )
        self.mixture_, self.memory_ = em.mixture(ending.moments[0], rows)
        self.converged_, self.n_iter_ = bool(ending.converged[0]), int(ending.passes[0])
        self.lower_bound_ = float(ending.objectives[0])
        self.lower_bounds_ = ending.history[:, 0].tolist()
        self.n_features_in_ = panel.n_features
        return self

    @classmethod
    def of(cls, mixture: Mixture, memory: Memory, **parameters: Any) -> "MarkovMixture":
        """A fitted estimator with these parameters, which counts as converged."""
        model = cls(mixture.n_segments, **parameters)
        model.mixture_, model.memory_ = mixture, memory
        model.converged_, model.n_iter_, model.lower_bound_, model.lower_bounds_ = True, 0, float("nan"), []
        model.n_features_in_ = mixture.n_features
        return model

    @property
    def n_parameters(self) -> int:
        """Free parameters: of the components, k (k + 1) transitions from segments, k from `lapsed`, k - 1 and k of the
        two beginnings."""
        check_is_fitted(self, "mixture_")
        k = self.n_components
        return self.mixture_.n_parameters - (k - 1) + (k + 1) * k + (k - 1) + k

    def filter(self, panel: Panel) -> Array:
        """(n, T, k + 1) probabilities of the states given the months up to each, `lapsed` last; NaN before a customer
        has begun. A later month never changes them."""
        return self._through(panel, lambda chunk, found: found.forward)

    def predict(self, panel: Panel, months: int = 1) -> Array:
        """(n, T, k + 1) probabilities of the states so many months after each month; NaN before a customer has
        begun."""
        memberships = self.filter(panel)
        return self.memory_.ahead(memberships.reshape(-1, self.n_components + 1), months).reshape(memberships.shape)

    def expect(self, panel: Panel, since: int = 0) -> Array:
        """(n, T - since, k) probabilities of the segments before a month is seen, given the months before it and that
        the customer is there; NaN before a customer has begun. since : the first month that is asked for."""
        k, memory = self.n_components, self.memory_

        def expected(chunk: Chunk, found: Pass) -> Array:
            out = np.ones((len(chunk.months) - since, k, chunk.size))
            for t, (month, ahead) in enumerate(zip(chunk.months[since:], out, strict=True), since):
                if t:
                    np.matmul(memory.transitions[:, :k].T, found.forward[t - 1], out=ahead)
                ahead[:, month.new] = memory.new[:, None]
                ahead[:, month.old] = memory.before[:k, None]
                ahead[:, month.back] = memory.returning[:, None]
            return np.asarray(out / np.maximum(out.sum(axis=1, keepdims=True), np.finfo(float).tiny))

        return self._through(panel, expected)

    def smooth(self, panel: Panel) -> Array:
        """(n, T, k + 1) probabilities of the states given all months; NaN before a customer has begun."""

        def smoothed(chunk: Chunk, found: Pass) -> Array:
            out, backward = found.forward.copy(), np.ones((self.n_components + 1, chunk.size))
            for t in range(len(chunk.months) - 1, 0, -1):
                backward = self.memory_.transitions @ (backward * found.emissions[t] / found.scales[t])
                out[t - 1] *= backward
            return out

        return self._through(panel, smoothed)

    def score_months(self, panel: Panel) -> Array:
        """(n, T) log predictive density of what each customer showed in a month given the months before, nats: of the
        features, or of having lapsed; NaN where nothing was shown. Higher is better."""

        def shown(chunk: Chunk, found: Pass) -> Array:
            return found.log_likelihood[:, None, :]

        scores = self._through(panel, shown)[:, :, 0]
        return np.where(panel.states == MISSING, np.nan, scores)

    def score(self, panel: Panel, y: object = None) -> float:
        """Mean log-likelihood per customer, nats; higher is better."""
        return float(np.nansum(self.score_months(panel)) / panel.n_customers)

    def bic(self, panel: Panel) -> float:
        """Bayesian information criterion; lower is better. It counts customers and not customer-months: months of one
        customer whose windows overlap are no new evidence."""
        n = panel.n_customers
        return -2.0 * n * self.score(panel) + self.n_parameters * float(np.log(n))

    def _through(self, panel: Panel, wanted: Callable[[Chunk, Pass], Array]) -> Array:
        """(n, t, .) what `wanted` (t, ., c) takes of the last t months from the filter's pass over each chunk; NaN
        before a customer has begun."""
        check_is_fitted(self, "mixture_")
        if panel.n_features != self.n_features_in_:
            raise ValueError(f"the panel has {panel.n_features} features, the model {self.n_features_in_}")
        d = panel.n_features
        em = StackedEM(d, np.full(d, np.finfo(float).tiny), None)
        rows = panel.for_passes
        mixture = self.mixture_
        densities = Parameters.of(mixture.within[None], (mixture.means - rows.center)[None], mixture.covariances[None])
        parts = []
        for build in rows.chunks():
            chunk, chunk_rows = build()
            _, joint = log_densities(em, densities, chunk_rows)
            if mixture.parts is not None:
                joint = np.stack([np.logaddexp.reduce(joint[list(part)], axis=0) for part in mixture.parts])
            part = wanted(chunk, forward_pass(chunk, joint, self.memory_))
            parts.append(np.moveaxis(part, 2, 0))
        out = np.concatenate(parts)
        out[panel.states[:, panel.n_months - out.shape[1] :] == BEFORE] = np.nan
        return out

    def _found(self, panel: Panel) -> Mixture:
        """The best mixture of the pooled months."""
        found = search_mixtures(
            panel.rows,
            range(max(1, self.n_components - 2), self.n_components + 1),
            random_state=self.random_state,
            covariance_type=self.covariance_type,
            variance_floor=self.variance_floor,
            rounding_variance=panel.rounding_variance,
            n_jobs=self.n_jobs,
        )
        return found[-1].model.mixture_

    def _check(self, panel: Panel) -> None:
        k, d = self.n_components, panel.n_features
        if not 0 < self.tempering <= 1:
            raise ValueError(f"tempering must be above 0 and at most 1, got {self.tempering}")
        if self.transition_prior < 0:
            raise ValueError(f"transition_prior must be 0 or more, got {self.transition_prior}")
        if k < 1:
            raise ValueError(f"n_components must be at least 1, got {k}")
        if len(panel.rows) <= k + d:
            raise ValueError(f"{len(panel.rows)} customer-months cannot carry {k} components in {d} dimensions")
        for name, given in (("mixture_init", self.mixture_init), ("memory_init", self.memory_init)):
            if given is not None and given.n_components != k:
                raise ValueError(f"{name} has {given.n_components} components, n_components is {k}")
        if self.keep_components and self.mixture_init is None:
            raise ValueError("keep_components needs mixture_init: the components to keep")
        if self.mixture_init is not None and self.mixture_init.hurdle is not None:
            raise ValueError("mixture_init has a hurdle; give the mixture without_hurdle")


def starting_memory(weights: Array) -> Memory:
    """A memory to begin a fit with, for segments of these weights (k,)."""
    k = len(weights)
    shares = weights / weights.sum()
    inside = (1.0 - START_LAPSE) * (START_STAY * np.eye(k) + (1.0 - START_STAY) * shares)
    transitions = np.zeros((k + 1, k + 1))
    transitions[:k, :k], transitions[:k, k] = inside, START_LAPSE
    transitions[k, :k], transitions[k, k] = START_LAPSE * shares, 1.0 - START_LAPSE
    return Memory(shares, np.append((1.0 - START_LAPSE) * shares, START_LAPSE), transitions)
