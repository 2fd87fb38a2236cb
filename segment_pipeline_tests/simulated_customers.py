"""Simulated customers of known segments over many months, and the champion's decisions on them; no Dagster, no files.

Customers persist: each has a segment and a place in it, of which a part is new every month, as in life. What happens to
them is written down as an event in a month: a drift, a split, a merge, a migration.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.config.config import Config
from segment_pipeline.mixture.chain.panel import SEEN, Panel
from segment_pipeline.models.champion import Decision
from segment_pipeline.models.model import SegmentModel
from segment_pipeline_tests.remembered_worlds import World, config

PERSISTENCE = 0.7
"""Correlation of a customer's place within the segment from one month to the next."""

FEATURES = "features: [{name: x}, {name: y}, {name: z}]\n"


@dataclass(frozen=True, eq=False)
class Base:
    """The customers of one month. segment (n,) of each; place (n, d) within it, standard normal; centres (k, d) and
    spreads (k,) of the segments."""

    segment: Labels
    place: Array
    centres: Array
    spreads: Array

    @property
    def X(self) -> Array:  # noqa: N802 - the name of the mathematics
        return self.centres[self.segment] + self.spreads[self.segment, None] * self.place

    def a_month_later(self, random: np.random.Generator) -> "Base":
        new = np.sqrt(1 - PERSISTENCE**2) * random.normal(size=self.place.shape)
        return replace(self, place=PERSISTENCE * self.place + new)


Event = Callable[[Base, np.random.Generator], Base]


def four_segments(n: int, seed: int) -> Base:
    """Segments of 35, 30, 20 and 15 % that overlap: customers' largest membership probability is about 0.9."""
    random = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0, 0.0], [3.2, 0.5, 0.0], [0.5, 3.4, 0.8], [3.4, 3.6, -0.5]])
    segment = random.choice(4, size=n, p=[0.35, 0.30, 0.20, 0.15])
    return Base(segment, random.normal(size=(n, 3)), centres, np.array([1.0, 0.9, 1.0, 0.8]))


def drift(segment: int, shift: Array) -> Event:
    """The centre of a segment moves, in original units."""

    def happen(base: Base, _: np.random.Generator) -> Base:
        centres = base.centres.copy()
        centres[segment] += shift
        return replace(base, centres=centres)

    return happen


def split(segment: int, apart: Array) -> Event:
    """Half of a segment's customers move this way, the other half the opposite way."""

    def happen(base: Base, random: np.random.Generator) -> Base:
        moved = base.segment.copy()
        members = np.flatnonzero(base.segment == segment)
        moved[random.permutation(members)[: len(members) // 2]] = len(base.centres)
        centres = np.vstack([base.centres, base.centres[segment] - apart])
        centres[segment] += apart
        return replace(base, segment=moved, centres=centres, spreads=np.append(base.spreads, base.spreads[segment]))

    return happen


def merge(one: int, other: int) -> Event:
    """Two segments become one habit, half way between them."""

    def happen(base: Base, _: np.random.Generator) -> Base:
        centres = base.centres.copy()
        centres[one] = (centres[one] + centres[other]) / 2
        return replace(base, segment=np.where(base.segment == other, one, base.segment), centres=centres)

    return happen


def migration(source: int, target: int, share: float) -> Event:
    """A share of one segment's customers take on the habit of another."""

    def happen(base: Base, random: np.random.Generator) -> Base:
        moved = base.segment.copy()
        members = np.flatnonzero(base.segment == source)
        moved[random.permutation(members)[: round(share * len(members))]] = target
        return replace(base, segment=moved)

    return happen


def new_behaviour(share: float, centre: Array) -> Event:
    """A share of all customers, whatever they were, begin something that nobody did before; centre : (d,)."""

    def happen(base: Base, random: np.random.Generator) -> Base:
        moved = base.segment.copy()
        n = len(moved)
        moved[random.permutation(n)[: round(share * n)]] = len(base.centres)
        return replace(
            base, segment=moved, centres=np.vstack([base.centres, centre]), spreads=np.append(base.spreads, 1.0)
        )

    return happen


@dataclass(frozen=True, eq=False)
class Month:
    """One month as it was decided, the bootstrap is number 0. truth : (n,) the customers' real segments."""

    number: int
    X: Array
    truth: Labels
    decision: Decision

    @property
    def changes(self) -> set[str]:
        """What the lineage of a promotion says beyond "continued"."""
        return {row.relation for row in self.decision.lineage} - {"continued"}


@dataclass
class History:
    """Months in order, each decided by `champion.decide` from the champion of the month before."""

    config: Config
    base: Base
    random: np.random.Generator
    months: list[Month] = field(default_factory=list)

    @classmethod
    def begin(
        cls, n: int = 3000, seed: int = 0, n_components: range = range(2, 8), *, memory: bool = False
    ) -> "History":
        """A history without months yet; the same arguments, the same customers for ever."""
        tried = f"[{n_components[0]}, {n_components[-1]}]"
        model = f"model: {{n_components: {tried}, memory: {str(memory).lower()}}}\n"
        return cls(config(FEATURES, model), four_segments(n, seed), np.random.default_rng((seed, 1)))

    def branch(self) -> "History":
        """Another future of the same past."""
        return replace(self, random=deepcopy(self.random), months=list(self.months))

    def month(self, event: Event | None = None, forced: str | None = None) -> Month:
        """One month more. `event` happens at its start; `forced` is a user's reason for a refit."""
        if self.months:
            self.base = self.base.a_month_later(self.random)
        if event is not None:
            self.base = event(self.base, self.random)
        decision = self._world(self.base.X).month(forced=forced)
        self.months.append(Month(len(self.months), self.base.X, self.base.segment, decision))
        return self.months[-1]

    def labels(self, model: SegmentModel) -> Labels:
        """(n, 2) id of every customer's segment in the last two months, under a model that has served since its
        promotion; with its memory, where it has one."""
        return self._world().labels(model, len(self.months))

    def _world(self, *later: Array) -> World:
        months = [past.X for past in self.months]
        return World(_panel([*months, *later]), self.config, [past.decision for past in self.months])


def _panel(months: list[Array]) -> Panel:
    """Of customers who were there before the first of these months, (n, d) each, and are in every one."""
    X = np.stack(months, axis=1)
    n, count, d = X.shape
    return Panel(np.full((n, count), SEEN, dtype=np.int8), X.reshape(-1, d), np.zeros(n, dtype=bool))


def never_for_age(settings: Config) -> Config:
    """The same configuration, but a champion is never too old: only the customers can have it challenged."""
    return settings.model_copy(update={"refit": settings.refit.model_copy(update={"max_age_months": 1200})})


def id_of(model: SegmentModel, centre: Array) -> int:
    """Id of the model's segment whose mean is nearest to a real segment's centre."""
    means = model.mixture.means * model.space.scale + model.space.center
    return model.segment_ids[int(np.argmin(np.sum((means - centre) ** 2, axis=1)))]


def segment_of(model: SegmentModel, X: Array) -> Labels:
    """(n,) id of the likeliest segment of each customer."""
    return np.asarray(model.segment_ids)[np.argmax(model.responsibilities(X), axis=1)]
