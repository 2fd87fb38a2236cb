"""Groups that are skewed or heavy-tailed: what a number of them would make of the customers, as a second opinion.

Here: mixtures of two kinds of group, neither a Gaussian, fitted by EM from given memberships. They decide how many
groups the components of a Gaussian mixture stand for (merging.py), and serve nobody. Not here: the Gaussian mixture
(em.py).

* heavy-tailed: Student's t with degrees of freedom of its own (Peel & McLachlan 2000). One parameter more.
* skewed: a Gaussian, had some features been measured on another scale: asinh((x - position) / width), the unbounded
  family of Johnson (1949), of which the log-normal is a limit. Two parameters more for every feature that asks for it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.gaussian import LOG_2PI, logsumexp

_STEPS, _AT_REST = 30, 1e-4
"""EM makes at most so many steps, fewer when the mean log-likelihood rises by less."""

_SCALE_STEPS = (0, 1, 3, 5, 7, 10)
"""Steps in which skewed groups look for better scales; in between they keep what they have."""

_ANYWHERE, _NEARBY = (
    np.array([(at, log_width) for at in places for log_width in widths]).T
    for places, widths in (
        ((-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0), (-3.0, -2.0, -1.0, 0.0, 1.0)),
        ((-0.2, -0.1, 0.0, 0.1, 0.2), (-0.4, -0.2, 0.0, 0.2, 0.4)),
    )
)
"""Where scales are looked for: around the mean, and later around what was found, in standard deviations; and so much
wider, in logarithms."""

_DEGREES = np.array([1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 200.0])

_BINS = 200
"""Scales are sought on the means of so many equal parts of the rows, feature by feature."""

_NARROWEST = 0.05
"""A scale bends over at least this share of a group's standard deviation: narrower, it would be a spike."""


class Rows:
    """Customers in standardised coordinates, Z (n, d), and the least variance along each feature, floor (d,)."""

    def __init__(self, Z: Array, floor: Array) -> None:
        self.Z, self.floor = Z, floor

    @cached_property
    def bins(self) -> list[tuple[Labels, Array]]:
        """Of each feature, in which of _BINS equal parts each row is, and the mean of each part."""
        found = []
        for x in self.Z.T:
            rank = np.empty(len(x), dtype=np.intp)
            rank[np.argsort(x, kind="stable")] = np.arange(len(x))
            parts = min(_BINS, len(x))
            part = rank * parts // len(x)
            found.append((part, np.asarray(np.bincount(part, x) / np.bincount(part))))
        return found


class Group(ABC):
    """One group, which follows its members until EM is at rest."""

    extra_parameters: int
    """Beyond those of a Gaussian."""

    @abstractmethod
    def follow(self, rows: Rows, members: Array, step: int) -> Array:
        """Become what describes the rows best, each counted as `members` (n,) says, or come closer to it; the rows are
        the same in every step. Returns their log density (n,)."""

    @abstractmethod
    def log_density(self, Z: Array) -> Array:
        """(n, d) -> (n,) nats."""


class HeavyTailed(Group):
    """Student's t of 1.5 to 200 degrees of freedom; the latter is nearly a Gaussian."""

    extra_parameters = 1
    degrees = 8.0
    mean: Array
    scatter: Array
    squares: Array
    """Of the rows that it follows."""

    def follow(self, rows: Rows, members: Array, step: int) -> Array:
        Z = rows.Z
        if step == 0:
            self.mean, self.scatter = _moments(Z, members, members, rows.floor)
            self.squares = _squares(Z, self.mean, self.scatter)
        weights = members * (self.degrees + Z.shape[1]) / (self.degrees + self.squares)
        self.mean, self.scatter = _moments(Z, weights, members, rows.floor)
        self.squares = _squares(Z, self.mean, self.scatter)
        nearest = int(np.argmin(np.abs(_DEGREES - self.degrees)))
        beside = _DEGREES[max(0, nearest - 1) : nearest + 2].tolist()
        densities = {nu: self._log_density(self.squares, nu) for nu in beside}
        self.degrees = max(densities, key=lambda nu: float(members @ densities[nu]))
        return densities[self.degrees]

    def log_density(self, Z: Array) -> Array:
        return self._log_density(_squares(Z, self.mean, self.scatter), self.degrees)

    def _log_density(self, squares: Array, nu: float) -> Array:
        d = len(self.mean)
        constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - d / 2 * np.log(nu * np.pi)
        return np.asarray(constant - np.linalg.slogdet(self.scatter)[1] / 2 - (nu + d) / 2 * np.log1p(squares / nu))


class Skewed(Group):
    """A Gaussian in features of which some are on a scale of their own."""

    def __init__(self) -> None:
        self.scales: dict[int, Array] = {}
        """Position and log width, of every feature."""
        self.bent: tuple[int, ...] = ()
        """The features whose scales are worth their parameters."""
        self.mean = self.covariance = np.empty(0)
        self.seen: tuple[Array, Array]
        """The rows that it follows, on its scales."""

    @property
    def extra_parameters(self) -> int:  # type: ignore[override]
        return 2 * len(self.bent)

    def follow(self, rows: Rows, members: Array, step: int) -> Array:
        if step in _SCALE_STEPS:
            self._look_for_scales(rows, members)
            self.seen = self._on_scales(rows.Z)
        Y, log_slope = self.seen
        self.mean, self.covariance = _moments(Y, members, members, np.zeros(Y.shape[1]))
        return self._log_density(Y, log_slope)

    def log_density(self, Z: Array) -> Array:
        return self._log_density(*self._on_scales(Z))

    def _log_density(self, Y: Array, log_slope: Array) -> Array:
        logdet = np.linalg.slogdet(self.covariance)[1]
        return np.asarray(log_slope - 0.5 * (_squares(Y, self.mean, self.covariance) + logdet + Y.shape[1] * LOG_2PI))

    def _look_for_scales(self, rows: Rows, members: Array) -> None:
        gains = {}
        for j, (part, means) in enumerate(rows.bins):
            counted = np.asarray(np.bincount(part, members, minlength=len(means)), dtype=np.float64)
            self.scales[j], gains[j] = _best_scale(means, counted, rows.floor[j], self.scales.get(j))
        self.bent = tuple(j for j, gain in gains.items() if gain > np.log(len(rows.Z)))  # as BIC weighs two parameters

    def _on_scales(self, Z: Array) -> tuple[Array, Array]:
        """The rows as the group sees them, and the log of how much denser they are there."""
        Y, log_slope = Z.copy(), np.zeros(len(Z))
        for j in self.bent:
            position, log_width = self.scales[j]
            u = (Z[:, j] - position) * np.exp(-log_width)
            Y[:, j] = np.arcsinh(u)
            log_slope -= log_width + 0.5 * np.log1p(u * u)
        return Y, log_slope


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of one kind and their shares (m,) of the customers."""

    groups: Sequence[Group]
    shares: Array

    def log_joint(self, Z: Array) -> Array:
        """(n, d) -> (n, m): log of share times density, nats."""
        return np.column_stack([group.log_density(Z) for group in self.groups]) + np.log(self.shares)

    def memberships(self, Z: Array) -> Array:
        """(n, d) -> (n, m); rows sum to 1."""
        joint = self.log_joint(Z)
        return np.asarray(np.exp(joint - logsumexp(joint)[:, None]))

    def bic(self, Z: Array, customers: float) -> float:
        """Of so many customers, of whom the rows Z (n, d) are a fair sample; lower is better."""
        m, d = len(self.groups), Z.shape[1]
        parameters = m - 1 + sum(d + d * (d + 1) // 2 + group.extra_parameters for group in self.groups)
        return float(parameters * np.log(customers) - 2.0 * customers * logsumexp(self.log_joint(Z)).mean())


KINDS: tuple[type[Group], ...] = (HeavyTailed, Skewed)


def fit_groups(rows: Rows, memberships: Array, kind: type[Group]) -> Groups | None:
    """Groups of one kind, by EM (Dempster et al. 1977) from these memberships (n, m), whose rows sum to 1; None where
    one of them runs empty."""
    found = Groups([kind() for _ in range(memberships.shape[1])], memberships.mean(axis=0))
    before = -np.inf
    for step in range(_STEPS):
        if memberships.sum(axis=0).min() <= rows.Z.shape[1] + 1:
            return None
        found = Groups(found.groups, memberships.mean(axis=0))
        pairs = zip(found.groups, memberships.T, strict=True)
        densities = [group.follow(rows, members, step) for group, members in pairs]
        joint = np.column_stack(densities) + np.log(found.shares)
        likely = logsumexp(joint)
        if step > _SCALE_STEPS[-1] and likely.mean() - before < _AT_REST:
            break
        before = float(likely.mean())
        memberships = np.exp(joint - likely[:, None])
    return found


def _best_scale(x: Array, counted: Array, floor: float, start: Array | None) -> tuple[Array, float]:
    """Position and log width of the scale on which values x, each counted so often, are most like a Gaussian, and by
    how many nats in all they are likelier so than as they are. start : where to look, None for anywhere."""
    count = counted.sum()
    mean = counted @ x / count
    spread = np.sqrt(max(counted @ (x - mean) ** 2 / count, floor))
    narrowest = max(_NARROWEST * spread, np.sqrt(floor))
    at, log_width = _ANYWHERE if start is None else _NEARBY
    if start is None:
        start = np.array([mean, np.log(spread)])
    position = start[0] + spread * at
    log_width = np.maximum(start[1] + log_width, np.log(narrowest))
    u = (x - position[:, None]) * np.exp(-log_width)[:, None]
    y = np.arcsinh(u)
    variance = np.maximum(y**2 @ counted / count - (y @ counted / count) ** 2, 1e-12)
    unlikeliness = 0.5 * np.log(variance) + np.log1p(u * u) @ counted / (2.0 * count) + log_width
    best = int(unlikeliness.argmin())
    return np.array([position[best], log_width[best]]), float((np.log(spread) - unlikeliness[best]) * count)


def _moments(Z: Array, weights: Array, members: Array, floor: Array) -> tuple[Array, Array]:
    """The weighted mean (d,), and the weighted scatter (d, d) per member."""
    mean = weights @ Z / weights.sum()
    centered = Z - mean
    return mean, (centered * weights[:, None]).T @ centered / members.sum() + np.diag(floor + 1e-12)


def _squares(Z: Array, mean: Array, covariance: Array) -> Array:
    """(n,) squared Mahalanobis distances."""
    whitened = (Z - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    return np.asarray(np.einsum("ij,ij->i", whitened, whitened))
