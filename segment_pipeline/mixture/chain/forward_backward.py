"""Expectation-maximisation for a mixture with memory: the forward-backward recursions, for many customers at once.

Here: a pass over a panel under given parameters (Baum et al. 1970; scaled as in Rabiner 1989), and the EM step made of
it. Components are updated exactly as in a mixture without memory (em.py): same prior, floor and rounding. Not here: the
estimator (markov.py), and what a state means (memory.py, panel.py).

* The recursions run over months and not over customers: in each month all customers of a chunk take one matrix product.
* Windows of successive months overlap, so a customer's evidence is counted more than once. `tempering` below 1 raises
  every density to that power, in the fit only.
* The state of a run is one array (k + 1, P + k + 4): of each state its moments (0 for `lapsed`), its row of expected
  transitions, and how many customers begin there: new, there before the panel, and back from having lapsed before it;
  all per row of the panel. The last say where customers return to, and not how many do: who never returned is unseen.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from segment_pipeline.arrays import Array, Flags
from segment_pipeline.mixture.acceleration import Accelerated
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import Chunk, PanelRows
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.mixture.em import Parameters, Prior, Rows, StackedEM
from segment_pipeline.mixture.gaussian import Mixture

_LEAST = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Pass:
    """A chunk under given parameters. forward : (T, k + 1, c) probabilities of the states given the months up to each,
    0 for customers who have not begun. emissions : (T, k + 1, c) relative densities of what was observed. scales : (T,
    c) of each month given those before, in the units of `emissions`; 1 for who has not begun. log_likelihood : (T, c)
    log of the probability density of a month given those before it, nats."""

    forward: Array
    emissions: Array
    scales: Array
    log_likelihood: Array


class Space:
    """Arrays that a thread fills again and again: to have such from the system anew for every pass took longer than all
    that is computed in them."""

    def __init__(self) -> None:
        self._mine = threading.local()

    def empty(self, name: str, *shape: int) -> Array:
        """An array of this shape with anything in it, valid until the thread asks for the same name again."""
        size = math.prod(shape)
        kept: Array | None = getattr(self._mine, name, None)
        if kept is None or len(kept) < size:
            kept = np.empty(size)
            setattr(self._mine, name, kept)
        return kept[:size].reshape(shape)


def forward_pass(
    chunk: Chunk, joint: Array, memory: Memory, tempering: float = 1.0, space: Space | None = None
) -> Pass:
    """The filter. joint : (k, r) log densities of the chunk's rows under each component; it is overwritten. space :
    whose arrays the pass lies in; None for arrays of its own."""
    space = space or Space()
    k, states, T = memory.n_components, memory.n_components + 1, len(chunk.months)
    if tempering != 1.0:
        joint *= tempering
    peak = joint.max(axis=0)
    joint -= peak
    np.exp(joint, out=joint)
    if not joint.shape[1]:
        joint = np.zeros((k, 1))  # nobody is seen in any month, and to nobody's place one can point
    forward, emissions = (space.empty(name, T, states, chunk.size) for name in ("forward", "emissions"))
    scales, log_likelihood = (space.empty(name, T, chunk.size) for name in ("scales", "log_likelihood"))
    step = np.ascontiguousarray(memory.transitions.T)
    begin_new, begin_back = np.append(memory.new, 0.0)[:, None], memory.transitions[k][:, None]
    for t, month in enumerate(chunk.months):
        emission = emissions[t]
        joint.take(month.place, axis=1, out=emission[:k], mode="clip")  # twice as fast as to assign to month.seen
        emission[:, month.unseen] = 0.0
        emission[k, month.seen] = 0.0
        emission[k, month.lapsed] = 1.0
        emission[:, month.missing] = 1.0
        ahead = np.matmul(step, forward[t - 1], out=forward[t]) if t else forward[t]
        if not t:
            ahead.fill(0.0)
            ahead[:, month.old] = memory.before[:, None]
        ahead[:, month.new] = begin_new
        if len(month.back):
            ahead[:, month.back] = begin_back
            # that they have come back says nothing, for otherwise they would not be in the panel
            returning = begin_back[:k].sum() + begin_back[k] * emission[k, month.back]
        ahead *= emission
        np.maximum(ahead.sum(axis=0), _LEAST, out=scales[t])
        scales[t, month.before] = 1.0
        ahead /= scales[t]
        np.log(scales[t], out=log_likelihood[t])
        log_likelihood[t, month.seen] += peak[month.rows]
        if len(month.back):
            log_likelihood[t, month.back] -= np.log(returning)
    return Pass(forward, emissions, scales, log_likelihood)


class MemoryEM(Accelerated[PanelRows]):
    """EM for one run of a mixture with memory with k components.

    prior, floor, covariance_type : of the components, as in StackedEM. transition_prior : pseudo-customers for each
    cell of the transition matrix and of both beginnings (a Dirichlet prior of 1 more), 0 or more. keep_components : the
    steps move the memory only, the components stay those of the start.
    """

    def __init__(
        self,
        k: int,
        d: int,
        floor: Array,
        prior: Prior | None,
        *,
        covariance_type: CovarianceType = "full",
        transition_prior: float,
        tempering: float,
        keep_components: bool = False,
    ) -> None:
        self.k = k
        self.keep_components = keep_components
        self.kept: Parameters | None = None
        self.gaussians = StackedEM(d, floor, prior, covariance_type=covariance_type)
        self.n_statistics = 1 + d + d * (d + 1) // 2
        self.transition_prior = transition_prior
        self.tempering = tempering
        self.space = Space()

    def start(self, mixture: Mixture, memory: Memory, rows: PanelRows) -> Array:
        """The state (1, k + 1, .) after an E-step under these parameters; the mixture in the coordinates of rows."""
        centered = Parameters.of(mixture.weights[None], (mixture.means - rows.center)[None], mixture.covariances[None])
        self.kept = centered if self.keep_components else None
        return self._expect(centered, memory, rows, None)[0]

    def step(self, moments: Array, rows: PanelRows, pool: Executor | None = None) -> tuple[Array, Array]:
        parameters, memory = self.parameters(moments, rows.total)
        moments, log_likelihood = self._expect(parameters, memory, rows, pool)
        log_prior = float(self.gaussians.log_prior(parameters)[0]) + self._log_prior(memory)
        return moments, np.array([(log_likelihood + log_prior) / rows.total])

    def has_spike(self, moments: Array, total: float) -> Flags:
        return self.gaussians.has_spike(moments[:, : self.k, : self.n_statistics], total)

    def parameters(self, moments: Array, total: float) -> tuple[Parameters, Memory]:
        """The M-step, for a state (1, k + 1, .)."""
        k, P, states = self.k, self.n_statistics, self.k + 1
        # Of evidence that counts for less there are fewer customers, beside the prior.
        parameters = self.kept or self.gaussians.parameters(moments[:, :k, :P], total * self.tempering)
        counts = np.maximum(moments[0, :, P:] * total, 0.0) + self.transition_prior
        new, before, back = counts[:k, states], counts[:, states + 1], counts[:k, states + 2] - self.transition_prior
        transitions = _shares(counts[:, :states])
        return_rate = transitions[k, :k].sum()
        transitions[k, :k] = return_rate * _shares(counts[k, :k] + back)
        return parameters, Memory(_shares(new), _shares(before), transitions)

    def mixture(self, moments: Array, rows: PanelRows) -> tuple[Mixture, Memory]:
        """What a state (k + 1, .) stands for, in the coordinates of the panel."""
        parameters, memory = self.parameters(moments[None], rows.total)
        mixture = self.gaussians.mixture_of(parameters)
        return replace(mixture, means=mixture.means + rows.center), memory

    def _log_prior(self, memory: Memory) -> float:
        if not self.transition_prior:
            return 0.0
        logs = (np.log(memory.transitions).sum(), np.log(memory.new).sum(), np.log(memory.before).sum())
        return self.transition_prior * float(sum(logs))

    def _expect(
        self, parameters: Parameters, memory: Memory, rows: PanelRows, pool: Executor | None
    ) -> tuple[Array, float]:
        densities = Parameters(np.ones_like(parameters.weights), parameters.means, parameters.roots, parameters.logdet)

        def statistics(build: Callable[[], tuple[Chunk, Rows]]) -> tuple[Array, float]:
            chunk, chunk_rows = build()
            return self._chunk_statistics(chunk, chunk_rows, densities, memory)

        moments, log_likelihood = np.zeros((self.k + 1, self.n_statistics + self.k + 4)), 0.0
        for part, part_likelihood in (map if pool is None else pool.map)(statistics, rows.chunks()):
            moments += part
            log_likelihood += part_likelihood
        moments[:, self.n_statistics : self.n_statistics + self.k + 1] *= memory.transitions
        return moments[None] / rows.total, log_likelihood

    def _chunk_statistics(self, chunk: Chunk, rows: Rows, densities: Parameters, memory: Memory) -> tuple[Array, float]:
        k, P = self.k, self.n_statistics
        phi, joint = log_densities(self.gaussians, densities, rows, self.space.empty("joint", k, rows.n))
        found = forward_pass(chunk, joint, memory, self.tempering, self.space)
        sums = np.zeros((k + 1, P + k + 4))
        backward, now = (self.space.empty(name, k + 1, chunk.size) for name in ("backward", "now"))
        backward.fill(1.0)
        R = joint
        for t in range(len(chunk.months) - 1, -1, -1):
            month = chunk.months[t]
            np.multiply(found.forward[t], backward, out=now)
            R[:, month.rows] = now[:k].take(month.seen, axis=1)  # a third of the time of now[:k, month.seen]
            for column, begins in ((-3, month.new), (-2, month.old), (-1, month.back)):
                if len(begins):
                    sums[:, column] += now[:, begins].sum(axis=1)
            if t:
                backward *= found.emissions[t]
                backward /= found.scales[t]
                sums[:, P : P + k + 1] += (backward @ found.forward[t - 1].T).T
                backward, now = np.matmul(memory.transitions, backward, out=now), backward
        sums[:k, :P] = R @ phi.T
        return sums, float(found.log_likelihood.sum())


def log_densities(em: StackedEM, densities: Parameters, rows: Rows, out: Array | None = None) -> tuple[Array, Array]:
    """phi (P, r) of all rows, and their log densities (k, r) under parameters (1, k, .) of weight 1. out : (k, r) where
    these may be written."""
    top, log_joint = em.log_joint(densities, rows)
    ((phi, _),) = rows.blocks(0, rows.n, max(rows.n, 1))
    joint = log_joint(phi, out)[0]
    joint += top[0]
    return phi, joint


def _shares(counts: Array) -> Array:
    """Rows that sum to 1; a row without counts is even."""
    sums = counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.where(sums > 0, counts / np.where(sums > 0, sums, 1.0), 1.0 / counts.shape[-1]))
