"""The simplest segmentation that holds of any customers: each of one or two features cut in two where it halves them.

Here: where features are cut, and what the groups are called. Not here: when a mixture is not to be trusted
(models/selection.py), and what is said of the groups. It claims nothing: groups that are cut, not found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.words import capitalised, traits_of

MOST_CUTS = 2
"""Four groups are as many as a rule of thumb should make."""

NEARLY_ALL = 0.9
"""Share of the customers of whom a cut has to know the number: a finer rule is not worth those who fall out of it."""


@dataclass(frozen=True)
class Cut:
    """Customers below a value of a feature, in original units, and those from it on; and what both are called."""

    feature: str
    value: float
    below: str
    above: str

    def holds(self, values: Array) -> Flags:
        """(n,) who lies at or above it. values : (n,)."""
        return np.asarray(values >= self.value)


@dataclass(frozen=True)
class SimplestSegments:
    """Groups by rule, the largest first. names : (k,). sizes : (k,) customers. labels : (n,) the group of each
    customer; -1 for who lacks a number. cuts : the rules. sql : the rules as one expression over the features."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    labels: Labels
    cuts: tuple[Cut, ...]
    sql: str


def simplest_segments(columns: Mapping[str, Array], features: Sequence[str]) -> SimplestSegments | None:
    """Groups of these customers; None where no feature takes more than one value.

    columns : name -> (n,) values, NaN where there is no number. features : those to choose from, the better first.
    """
    cuts, known = _that_know_nearly_all([one for name in features if (one := _halved(name, columns[name]))], columns)
    if not cuts:
        return None
    code = sum(cut.holds(columns[cut.feature]).astype(np.intp) << place for place, cut in enumerate(cuts))
    code = np.where(known, code, -1)
    found, counts = np.unique(code[known], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    called = {int(one): _name(int(one), cuts) for one in found}
    labels = np.full(len(code), -1, dtype=np.intp)
    for place, one in enumerate(found[order]):
        labels[code == one] = place
    names = tuple(called[int(one)] for one in found[order])
    return SimplestSegments(
        names, tuple(int(count) for count in counts[order]), labels, tuple(cuts), _sql(called, cuts)
    )


def _that_know_nearly_all(possible: Sequence[Cut], columns: Mapping[str, Array]) -> tuple[list[Cut], Flags]:
    """The cuts to make, and (n,) of which customers they know all numbers: the fullest column at most loses few."""
    of_cut = {cut.feature: np.isfinite(columns[cut.feature]) for cut in possible}
    most = max((of.sum() for of in of_cut.values()), default=0)
    cuts: list[Cut] = []
    known = np.zeros(0, dtype=bool)
    for cut in sorted(possible, key=lambda one: of_cut[one.feature].sum() < NEARLY_ALL * most):
        left = of_cut[cut.feature] if not cuts else known & of_cut[cut.feature]
        if len(cuts) < MOST_CUTS and (not cuts or left.sum() >= NEARLY_ALL * known.sum()):
            cuts, known = [*cuts, cut], left
    return cuts, known


def _halved(name: str, values: Array) -> Cut | None:
    """The feature cut where the two sides are most alike in size."""
    known = np.sort(values[np.isfinite(values)])
    starts = np.flatnonzero(np.diff(known) > 0) + 1  # where a new value begins: so many lie below it
    if not len(starts):
        return None
    start = starts[np.argmin(np.abs(starts - len(known) / 2))]
    value = _shortest_between(float(known[start - 1]), float(known[start]))
    _, low, high, _ = traits_of(name)
    return Cut(name, value, low, high)


def _shortest_between(below: float, at: float) -> float:
    """The number with the fewest digits that is above the one and at most the other."""
    rounded = (float(f"{at:.{digits}g}") for digits in range(1, 17))
    return next((value for value in rounded if below < value <= at), at)


def _name(code: int, cuts: Sequence[Cut]) -> str:
    return capitalised(", ".join(cut.above if code >> place & 1 else cut.below for place, cut in enumerate(cuts)))


def _sql(called: Mapping[int, str], cuts: Sequence[Cut]) -> str:
    def rule(code: int) -> str:
        return " AND ".join(_condition(code >> place & 1, cut) for place, cut in enumerate(cuts))

    return f"CASE {' '.join(f'WHEN {rule(code)} THEN {literal(name)}' for code, name in called.items())} END"


def _condition(above: int, cut: Cut) -> str:
    return f"{identifier(cut.feature)} {'>=' if above else '<'} {cut.value!r}"
