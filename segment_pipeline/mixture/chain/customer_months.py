"""What is known of customers over some months: the panel that a model with memory is fitted to and replayed on.

Here: the panel with its customers' names, in original units, and as a space or a fit sees it. Not here: how it is read
(models/panel_store.py), and what a chain makes of it (markov.py).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from segment_pipeline.arrays import Array, Labels, Texts
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import SEEN, Panel
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.resolution import what_the_fit_sees

LEAST_MONTHS = 3
"""With fewer months there is no telling a customer's movement from chance: the month has a mixture without memory."""


@dataclass(frozen=True, eq=False)
class CustomerMonths:
    """The customers of some months, of which the last is the one that is segmented.

    ids : (n,) ascending. panel : theirs, its rows in original units. months_known : how many of its months have
    customers; in the others, which nobody was there to run, everybody is MISSING.
    """

    ids: Texts
    panel: Panel
    months_known: int

    @cached_property
    def last(self) -> Labels:
        """Positions of the customers who were there in the last month, ascending."""
        return np.flatnonzero(self.panel.states[:, -1] == SEEN)

    @cached_property
    def last_rows(self) -> Labels:
        """Positions of their rows of that month."""
        return np.flatnonzero(self.panel.months_of_rows == self.panel.n_months - 1)

    @property
    def last_features(self) -> Array:
        """(m, d) features of those who were there in the last month, in original units."""
        return self.panel.rows[self.last_rows]

    def seen_in(self, space: FeatureSpace) -> Panel:
        """The panel in the coordinates of a space, as scoring sees it: every value as it is."""
        return replace(self.panel, rows=space.transform(self.panel.rows))

    def seen_by_fit(self, space: FeatureSpace, resolution: str) -> Panel:
        """The panel in the coordinates of a space, as `model.resolution` shows it to a fit."""
        of_row = self.ids[self.panel.customers_of_rows]
        rows, rounding_variance = what_the_fit_sees(resolution, space, self.panel.rows, of_row)
        return replace(self.panel, rows=rows, rounding_variance=rounding_variance)

    def prior(self, mixture: Mixture, memory: Memory | None, space: FeatureSpace) -> Array | None:
        """(m, k) what a model in `space` expects of those who are there in the last month from the months before; None
        for one without a memory."""
        if memory is None:
            return None
        expected = MarkovMixture.of(mixture, memory).expect(self.seen_in(space), since=self.panel.n_months - 1)
        return np.asarray(expected[self.last, 0])
