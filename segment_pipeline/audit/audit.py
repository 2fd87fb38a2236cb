"""The segments that a company already uses, beside ours: agreement, labels that look wrong, and why, in words.

Here: what the cross-table says, which labels can be compared at all, and the reason for one customer. Not here: where
labels come from and who the customers are (the warehouse).

How likely a label is for a customer is asked of the customers like it: sum_k P(segment k | customer) P(label | segment
k), the second factor from the summed memberships of all labelled customers but this one. A label looks wrong where that
is far below what it is, on average, for the customers who carry it: per label, as in confident learning (Northcutt,
Jiang & Chuang 2021), so that a rare label is not suspicious for being rare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array
from segment_pipeline.words import counted, deed, figure, percent

MISLABELLED_BELOW = 0.5
"""A label looks wrong when it is less than half as likely for the customer as for the label's customers on average, and
another label is likelier than this."""

MOST_LABELS = 200
FEWEST_CUSTOMERS = 5
"""With more labels, or fewer customers a label on average, the column is an id or free text and not a segment."""

MAPS_FROM = 0.8
"""Share of a company's segment in one of ours from which the one is said to be the other."""

TELLING = 0.5
"""By how many standard deviations a feature must speak for the expected label rather than the given one to be told."""


@dataclass(frozen=True, eq=False)
class CrossTable:
    """Labels against segments, over the customers with both.

    counts : (l, k) customers with label and segment. memberships : (l, k) summed membership probabilities of the
    customers with the label. Rows are in the order of `labels`, columns in that of `segment_ids`.
    """

    labels: tuple[str, ...]
    segment_ids: tuple[int, ...]
    counts: NDArray[np.int64]
    memberships: Array

    @property
    def label_given_segment(self) -> Array:
        """(l, k) share of a segment's members who have the label; columns sum to 1, or are 0 in an empty segment."""
        totals = self.memberships.sum(axis=0)
        return self.memberships / np.where(totals > 0, totals, 1.0)

    def label_probabilities(self, memberships: Array) -> Array:
        """(n, k) membership probabilities -> (n, l) how likely each label is for such customers."""
        return memberships @ self.label_given_segment.T


@dataclass(frozen=True)
class LabelledCustomer:
    """A customer with all that its reason is made of.

    label : None without one. label_probability, typical_probability : of its own label, for it and on average over the
    label's customers, 0..1. z : (d,) standardised features; values : the same in original units.
    """

    label: str | None
    label_probability: float | None
    typical_probability: float | None
    expected: str
    expected_probability: float
    values: Sequence[float]
    z: Sequence[float]


@dataclass(frozen=True)
class LabelProfile:
    """The customers of one label: (d,) medians in original units, and the same standardised."""

    medians: Sequence[float]
    z: Sequence[float]


def refusal(customers_by_label: Sequence[int]) -> str | None:
    """Why these labels cannot be compared with anything; None when they can. One number of customers per label."""
    labels, customers = len(customers_by_label), sum(customers_by_label)
    if customers == 0:
        return "no customer of this month has a label; are the ids those of the source?"
    if labels == 1:
        return f"all {counted(customers)} have the same label, so there is nothing to compare; expected two or more"
    if labels > MOST_LABELS or customers < FEWEST_CUSTOMERS * labels:
        return (
            f"found {labels:,} labels for {counted(customers)}; expected at most {MOST_LABELS}, with "
            f"{FEWEST_CUSTOMERS} customers each on average. Is the column an id or free text?"
        )
    return None


def agreement_of(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Of the partitions of a cross-table: the adjusted Rand index (over pairs of customers: 1 is the same, 0 as good as
    chance), and the normalised mutual information (what one tells of the other: 0 nothing, 1 all)."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    # scikit-learn asks for the labels of the customers: the table's rows and columns, as often as they were counted
    rows, columns = (np.repeat(place, counts.ravel()) for place in np.indices(counts.shape).reshape(2, -1))
    return float(adjusted_rand_score(rows, columns)), float(normalized_mutual_info_score(rows, columns))


def summary(
    table: CrossTable, segment_names: Sequence[str], suspicious: int
) -> list[tuple[str, str | None, float, str]]:
    """(metric, label or None, value, sentence) of the comparison. suspicious : labels that look wrong, customers."""
    agreement, shared = agreement_of(table.counts)
    customers = int(table.counts.sum())
    rows: list[tuple[str, str | None, float, str]] = [
        (
            "adjusted_rand_index",
            None,
            agreement,
            f"The company's segments and ours {_agree(agreement)} (adjusted Rand index {agreement:.2f}: 1 is the same "
            "grouping, 0 is chance).",
        ),
        (
            "normalised_mutual_information",
            None,
            shared,
            f"To know one segment tells {percent(shared)} of what there is to know of the other.",
        ),
        (
            "looks_mislabelled",
            None,
            suspicious,
            f"{counted(suspicious)} of {customers:,} ({percent(suspicious / customers)}) have a label that is less "
            "than half as likely for such customers as it usually is.",
        ),
    ]
    in_main = table.counts.max(axis=1) / table.counts.sum(axis=1)
    main = table.counts.argmax(axis=1)
    mapped = int((in_main >= MAPS_FROM).sum())
    rows.append(
        (
            "labels_with_one_segment",
            None,
            mapped,
            f"{mapped} of the company's {len(table.labels)} segments lie in one of ours with {percent(MAPS_FROM)} of "
            "their customers or more.",
        )
    )
    for label, counts, share, k in zip(table.labels, table.counts, in_main, main, strict=True):
        said = f"{percent(float(share))} of {label} lie in segment {table.segment_ids[k]} ({segment_names[k]}), "
        rows.append(("largest_share_in_one_segment", label, float(share), f"{said}{_what_it_is(counts, table)}."))
    return rows


def _what_it_is(counts: NDArray[np.int64], table: CrossTable) -> str:
    """One of our segments, a few of them together, or neither; counts (k,) of the label's customers in each."""
    order = np.argsort(-counts, kind="stable")
    together = np.cumsum(counts[order]) / counts.sum()
    needed = int(np.searchsorted(together, MAPS_FROM)) + 1
    if needed == 1:
        return "so it is that segment"
    if needed <= len(counts) / 2:
        ids = ", ".join(str(table.segment_ids[k]) for k in sorted(order[:needed]))
        return f"so it is no single segment of ours; {percent(float(together[needed - 1]))} lie in {ids} together"
    return "so it is no single segment of ours"


def looks_wrong(customer: LabelledCustomer) -> bool:
    """Whether the label is unlikely for the customer, by its own standard, and another one is likelier."""
    if customer.label is None or customer.label_probability is None or customer.typical_probability is None:
        return False
    unlikely = customer.label_probability < MISLABELLED_BELOW * customer.typical_probability
    likely = customer.expected_probability > MISLABELLED_BELOW  # where no label is likely, none is wrong
    return unlikely and likely and customer.expected != customer.label


def reason(
    customer: LabelledCustomer, names: Sequence[str], units: Sequence[str], profiles: dict[str, LabelProfile]
) -> str:
    """Why the label looks right or wrong, with figures in original units. names, units : of the features."""
    likely = percent(customer.expected_probability)
    if customer.label is None:
        return f"no label; {likely} of customers like this are labelled {customer.expected}"
    own = percent(customer.label_probability or 0.0)
    if customer.expected == customer.label:
        return f"labelled {customer.label}, as are {own} of customers like this"
    if not looks_wrong(customer):
        return (
            f"labelled {customer.label}, as are {own} of customers like this; {customer.expected} is commoner among "
            f"them ({likely})"
        )
    theirs, expected = profiles[customer.label], profiles[customer.expected]
    z = np.asarray(customer.z)
    speaks = np.abs(z - np.asarray(theirs.z)) - np.abs(z - np.asarray(expected.z))
    told = [
        f"{deed(names[j], customer.values[j], units[j])} ({customer.label}: {figure(theirs.medians[j])})"
        for j in np.argsort(-speaks, kind="stable")[:2]
        if speaks[j] >= TELLING
    ]
    but = f"but {' and '.join(told)}; " if told else "but "
    return f"labelled {customer.label}, {but}{likely} of customers like this are labelled {customer.expected}"


def _agree(agreement: float) -> str:
    if agreement >= 0.65:
        return "are largely the same"
    if agreement >= 0.3:
        return "agree in good part"
    return "agree a little" if agreement >= 0.1 else "have next to nothing in common"
