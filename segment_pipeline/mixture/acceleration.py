"""Steps of EM, repeated until nothing is left to gain.

Here: SQUAREM (Varadhan & Roland 2008) on expected sufficient statistics, for a stack of runs at once, and when a run
has converged. A jump that does not improve on the plain EM step is discarded, so the objective never falls. Not here:
what a step is (em.py, forward_backward.py).
"""

from abc import ABC, abstractmethod
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels

SAME_RUN = 1e-5
"""Two runs whose mean log posteriors differ by less are on their way to the same solution."""

_QUIET = 2
"""A run has converged when it seems to have nothing left to gain so many times in a row."""

_CATCH_UP = 30.0
"""A run is given up when even this many times what it seems still to gain would leave it behind the leader."""

_FIRST_STRETCH = 4.0
_LAST_STRETCH = 1e3
"""How far a jump of SQUAREM may go at first, and at most, in steps of EM."""


class Weighted(Protocol):
    """Rows that know their total weight."""

    total: float


Data = TypeVar("Data", bound=Weighted)


@dataclass(frozen=True, eq=False)
class Ending:
    """Where a stack of runs ended. moments : (S, k, P). objectives : (S,) mean log posterior. converged : (S,).
    history : (iterations, S) objectives on the way; a run that has stopped keeps its last. passes : (S,) E-steps."""

    moments: Array
    objectives: Array
    converged: Flags
    history: Array
    passes: Labels


class Accelerated(ABC, Generic[Data]):
    """An EM algorithm whose state is a stack (S, ., .) of expected sufficient statistics, one of each run."""

    @abstractmethod
    def step(self, moments: Array, rows: Data, pool: Executor | None = None) -> tuple[Array, Array]:
        """One EM iteration of every run: new moments, and the mean log posterior (S,) at the *old* ones."""

    @abstractmethod
    def has_spike(self, moments: Array, total: float) -> Flags:
        """(S,) whether a run is falling into a solution that is worth nothing, however good its likelihood."""

    def converge(
        self,
        moments: Array,
        rows: Data,
        tolerance: float,
        *,
        max_iterations: int = 1200,
        accelerate: bool = True,
        pool: Executor | None = None,
    ) -> Ending:
        """SQUAREM, or plain EM, until what a run seems still to gain is below the tolerance `_QUIET` times in a row, at
        most `max_iterations` E-steps. It is an estimate from the last steps: a plateau can hide more."""
        S = len(moments)
        final, objectives = moments.copy(), np.full(S, -np.inf)
        converged, passes = np.zeros(S, dtype=bool), np.zeros(S, dtype=np.intp)
        active, limits = np.arange(S), np.full(S, _FIRST_STRETCH)
        gain, quiet = np.full(S, np.inf), np.zeros(S, dtype=np.intp)
        history: list[Array] = []
        used = 0
        while len(active) and used < max_iterations:
            if accelerate and max_iterations - used >= 3:
                moments, objective, to_gain, still, limits = self._squarem_cycle(moments, limits, rows, tolerance, pool)
                spent = 3
            else:
                moments, objective = self.step(moments, rows, pool)
                before, gain = gain, objective - objectives[active]
                # What a geometric series of gains still has before it (Aitken).
                with np.errstate(invalid="ignore", divide="ignore"):
                    rate = np.where(np.isfinite(before) & (before > 0), np.clip(gain / before, 0.0, 0.999), 0.0)
                to_gain = gain / (1.0 - rate)
                still = to_gain < tolerance
                spent = 1
            quiet = np.where(still, quiet + 1, 0)
            done = quiet >= _QUIET
            used += spent
            passes[active] += spent
            final[active], objectives[active] = moments, objective
            converged[active[done]] = True
            history.append(objectives.copy())
            leader = int(np.argmax(objectives))
            # Waiting for a run that cannot catch up with a sound leader would cost half of the time.
            behind = objective + _CATCH_UP * to_gain < objectives[leader] - SAME_RUN
            if behind.any() and not self.has_spike(final[leader : leader + 1], rows.total)[0]:
                done |= behind
            active, moments, limits = active[~done], moments[~done], limits[~done]
            gain, quiet = gain[~done], quiet[~done]
        return Ending(final, objectives, converged, np.array(history), passes)

    def _squarem_cycle(
        self, moments: Array, limits: Array, rows: Data, tolerance: float, pool: Executor | None
    ) -> tuple[Array, Array, Array, Flags, Array]:
        """Two EM steps, a jump along their bend, and an EM step from where it lands: new moments, objectives, what
        each run seems still to gain, which have nothing left, and how far each may jump next."""
        first, objective_0 = self.step(moments, rows, pool)
        second, objective_1 = self.step(first, rows, pool)
        velocity = first - moments
        bend = second - first - velocity
        stretch = np.sqrt(np.sum(velocity**2, axis=(1, 2)) / np.maximum(np.sum(bend**2, axis=(1, 2)), 1e-300))
        stretch = np.clip(stretch, 1.0, _LAST_STRETCH)
        jump = np.minimum(stretch, limits)[:, None, None]
        beyond, objective_2 = self.step(moments + 2.0 * jump * velocity + jump**2 * bend, rows, pool)
        accepted = objective_2 >= objective_1
        # A linearly converging run still has about stretch times its last gain before it.
        to_gain = (objective_1 - objective_0) * stretch
        done = (to_gain < tolerance) & (~accepted | (objective_2 - objective_1 < tolerance))
        # On flat likelihoods nearly every jump of full length overshoots: learn the length that does not.
        reached = np.minimum(stretch, limits)
        limits = np.where(accepted, np.where(stretch >= limits, 4.0 * limits, limits), np.maximum(reached / 4.0, 1.0))
        moments = np.where(accepted[:, None, None], beyond, second)
        return moments, np.where(accepted, objective_2, objective_1), to_gain, done, limits
