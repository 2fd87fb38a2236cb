"""Panels of simulated customers, decided month by month as the assets do; no Dagster, no files."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from segment_pipeline.arrays import Flags, Labels
from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.mixture.chain.customer_months import CustomerMonths
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.panel import BEFORE, SEEN, Panel
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import Decision, DecisionInputs, decide
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.refit import Subject, answers_an_event
from segment_pipeline.months import add_months

FIRST = date(2020, 1, 1)

CONFIG = """
name: simulated
first_month: 2020-01
source: {snapshots: {path: "{month}.csv", customer_id: id}}
"""


def config(features: str, more: str = "") -> Config:
    return parse_config(CONFIG + features + more, Path("simulated.yaml"))


class World:
    """A panel of known customers and the decisions of its months so far. The panel may grow in between."""

    def __init__(self, panel: Panel, settings: Config, decisions: Sequence[Decision] = ()) -> None:
        self.panel, self.config = panel, settings
        self.decisions = list(decisions)
        self.inputs: list[DecisionInputs] = []

    def months(self, count: int) -> CustomerMonths:
        """The last months, as many as memory holds, of the first `count`."""
        part = _between(self.panel, max(0, count - self.config.memory.months), count)
        part = part.take((part.states == SEEN).any(axis=1))
        ids = np.array([f"c{i:05d}" for i in range(part.n_customers)])
        return CustomerMonths(ids, part, part.n_months)

    def month(self, *, remember: bool = True, forced: str | None = None) -> Decision:
        """One month more is decided. remember : whether the fit is given the months before."""
        number = len(self.decisions) + 1
        months = self.months(number)
        X = months.last_features
        space = FeatureSpace.fit(self.config.model_features, X)
        previous = self.decisions[-1].champion if self.decisions else None
        given = months if remember and self.config.model.memory else None
        choice = fit_challengers(space, X, months.ids[months.last], self.config, previous, given).choice
        chosen = choice.candidate
        self.inputs.append(
            DecisionInputs(
                month=add_months(FIRST, number - 1),
                space=space,
                X=X,
                X_previous=X if previous is not None else None,
                recency=None,
                frequency=None,
                challenger=None if chosen is None else chosen.mixture,
                rationale=choice.rationale,
                previous=previous,
                next_version=number,
                next_segment_id=1
                + max((i for decided in self.decisions for i in decided.champion.segment_ids), default=0),
                challenger_memory=None if chosen is None else chosen.memory,
                next_log_score=None if chosen is None else chosen.next_log_score,
                fired_before=self._fired_before(),
                months=given,
                months_previous=given if previous is not None else None,
                answered=self._answered(),
            )
        )
        self.decisions.append(decide(self.inputs[-1], self.config, forced))
        return self.decisions[-1]

    def labels(self, model: SegmentModel, count: int) -> Labels:
        """(n, 2) id of the segment of every customer in the last two of the first `count` months, -1 where nobody was
        there, under a model that has been taken over the months before its promotion and served since."""
        promoted = (model.trained_month.year - FIRST.year) * 12 + model.trained_month.month
        part = _between(self.panel, max(0, promoted - self.config.memory.months), count)
        Z = model.space.transform(part.rows)
        R = np.full((*part.states.shape, len(model.segments)), -1.0)
        if model.memory is None:
            R[part.states == SEEN] = model.mixture.responsibilities(Z)
        else:
            filtered = MarkovMixture.of(model.mixture, model.memory).filter(Panel(part.states, Z, part.is_new))[
                :, :, :-1
            ]
            R[part.states == SEEN] = filtered[part.states == SEEN]
        ids = np.asarray(model.segment_ids)[R.argmax(axis=2)]
        return np.where(part.states == SEEN, ids, -1)[:, -2:]

    def moved(self) -> tuple[Flags, Flags]:
        """(n,) who was there in the last month and in the one before; and whose segment is another, both months under
        the champion of the month before, as movement is measured."""
        before, now = self.labels(self.decisions[-2].champion, len(self.decisions)).T
        both = (before >= 0) & (now >= 0)
        return both, both & (before != now)

    def _answered(self) -> bool:
        promotions = [decision for decision in self.decisions if decision.promoted]
        return bool(promotions) and answers_an_event([t.metric for t in promotions[-1].triggers if t.fired])

    def _fired_before(self) -> dict[Subject, int]:
        if not self.decisions or self.decisions[-1].promoted:
            return {}
        return {trigger.subject: trigger.months_fired for trigger in self.decisions[-1].triggers if trigger.fired}


def _between(panel: Panel, first: int, last: int) -> Panel:
    """The months from `first` until before `last`."""
    part = panel.until(last)
    if not first:
        return part
    keep = part.months_of_rows >= first
    return Panel(part.states[:, first:], part.rows[keep], part.is_new & (part.states[:, first - 1] == BEFORE))
