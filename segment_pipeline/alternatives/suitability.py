"""Is a mixture right here at all? Named findings, each with its figure and its threshold, and one verdict from them.

Here: what the findings are and which verdict follows. Not here: the methods that are compared (alternatives.py), and
the figures on a champion's soundness. The verdict advises; it stops nothing. Only features that no mixture can describe
stop a month, before any fit (models/challengers.py).
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from segment_pipeline.alternatives.alternatives import AGREES, NOBODY, Alternative, Comparison, Customers, nestedness
from segment_pipeline.alternatives.crowd import gain_over_one_crowd
from segment_pipeline.arrays import Array, Labels
from segment_pipeline.mixture.gaussian import Mixture, bic
from segment_pipeline.words import better, counted, percent

FEW = 500
"""Customers below which a mixture of full covariances has too many parameters for its data."""

MOSTLY = 0.5
"""Share of columns that are codes or text, above which the data are mostly categorical."""

STRAYS = 0.10
"""Share of customers in nearly empty places, above which outliers dominate; Gaussian segments have at most 0.02."""

GAUSSIAN_REGIONS = 0.9
"""Agreement with which one Gaussian to each dense region must tell the regions apart. Two moons have 0.6, round,
elongated and nested segments 0.98 to 1."""

THRESHOLDS_SUFFICE = 0.9
"""Agreement with which a table of as many thresholds as segments must give the champion's segments."""

NO_CENTRE = -0.85
"""Mean excess kurtosis within segments, below which they are filled evenly up to their limits instead of crowding
around a centre: 0 is Gaussian, -1.2 uniform. Cut boxes have -0.90 to -1.19, pieces of two moons -0.59 to -0.77."""

BORDER = 0.05
"""Share of a feature's range, around a threshold, that counts as the border between segments."""

CUT_THROUGH = 0.55
"""Customers at the borders, against as many as an even spread would put there, from which they are no gaps. Uniform
data have 0.76 to 1.04, boxes with gaps between them 0.24 to 0.34."""

CERTAIN_GAIN = 3.0
"""Standard errors by which a mixture has to foretell unseen customers better than one crowd."""

NESTED = 2.0
"""How many times farther apart than their parts groups of segments must be. Simulated nested groups have 4 to 7, round
and overlapping segments at most 1.3."""

CLEAR = 0.9
"""Mean largest membership probability from which segments are clear enough to speak of groups of them."""


@dataclass(frozen=True)
class Finding:
    """A claim with its figure. holds : whether the figure is beyond the threshold, so that the claim is true. value is
    None where there was nothing to measure; then the claim does not hold."""

    finding: str
    value: float | None
    threshold: float
    holds: bool
    sentence: str


@dataclass(frozen=True)
class Suitability:
    """verdict : too_few_customers, latent_classes, no_segments, density_based, rules_would_do, nested_groups,
    k_means_would_serve or mixture; the first that its findings give. reason : the findings that it stands on, in
    words."""

    verdict: str
    reason: str
    findings: tuple[Finding, ...]


VERDICTS: tuple[tuple[str, tuple[tuple[str, ...], ...], str], ...] = (
    ("too_few_customers", (("few_customers",),), "The data are too few for a mixture."),
    ("latent_classes", (("mostly_categorical", "classes_in_the_answers"),), "Latent classes fit these data better."),
    (
        "no_segments",
        (("segments_have_no_centre", "thresholds_cut_through"), ("one_gaussian_suffices",)),
        "No segments here: whatever is drawn cuts one crowd into pieces.",
    ),
    (
        "rules_would_do",
        (("a_rule_gives_the_segments",), ("thresholds_give_the_segments", "segments_have_no_centre")),
        "Rules would do.",
    ),
    # after the rules, for what they cut may be evenly spread in each part
    ("no_segments", (("one_crowd_suffices",),), "No segments here: one crowd, bent in its features, does as well."),
    (
        "density_based",
        (("regions_are_not_gaussian",), ("outliers_dominate",)),
        "Look at DBSCAN and HDBSCAN before a mixture.",
    ),
    ("nested_groups", (("groups_are_nested", "segments_are_clear"),), "A hierarchy says more than flat segments."),
    (
        "k_means_would_serve",
        (("nobody_is_in_doubt", "k_means_agrees"),),
        "k-means would serve as well.",
    ),
)
"""In this order: a verdict, sets of findings of which one must hold as a whole, and what it advises. Where none holds a
mixture is right."""


def judge_suitability(
    customers: Customers, champion: Mixture, comparison: Comparison, *, too_sure: float = 0.98
) -> Suitability:
    """The findings and the verdict. too_sure : mean largest probability from which memberships say no more than labels
    (refit.max_mean_max_probability)."""
    with threadpool_limits(limits=1, user_api="blas"):
        findings = _findings(customers, champion, comparison, too_sure)
    true = {finding.finding: finding for finding in findings if finding.holds}
    for verdict, alternatives, advice in VERDICTS:
        for needed in alternatives:
            if all(name in true for name in needed):
                told = " ".join(true[name].sentence for name in needed)
                return Suitability(verdict, f"{advice} {told}", findings)
    by_name = {finding.finding: finding for finding in findings}
    named = ("one_crowd_suffices", "nobody_is_in_doubt", "k_means_agrees")
    told = " ".join(by_name[name].sentence for name in named)
    return Suitability("mixture", f"A mixture is right here. {told}", findings)


def _findings(customers: Customers, champion: Mixture, comparison: Comparison, too_sure: float) -> tuple[Finding, ...]:
    joint = champion.responsibilities(customers.Z, prior=customers.prior)
    labels = joint.argmax(axis=1).astype(np.intp)
    return (
        _few(customers.total),
        _categorical(comparison),
        _classes(comparison.of("latent_classes")),
        _regions(customers.Z, comparison.of("hdbscan")),
        _outliers(comparison.of("dbscan")),
        _rules(comparison),
        *_thresholds(customers.Z, labels, champion.n_segments),
        _centres(customers.Z, labels),
        _one_gaussian(customers.Z, champion),
        _one_crowd(customers.Z, champion),
        _nested(customers.Z, labels),
        *_certainty(customers.Z, champion, joint, too_sure),
        _k_means(comparison.of("k_means")),
    )


def _few(total: int) -> Finding:
    return Finding("few_customers", float(total), float(FEW), total < FEW, f"There are {total:,} customers.")


def _categorical(comparison: Comparison) -> Finding:
    share = comparison.categorical_columns / comparison.columns
    return Finding(
        "mostly_categorical",
        share,
        MOSTLY,
        share > MOSTLY,
        f"{comparison.categorical_columns} of {comparison.columns} columns are codes or text rather than quantities.",
    )


def _classes(found: Alternative | None) -> Finding:
    """More than one class, by BIC against the model in which the answers are independent."""
    if found is None or found.segments is None:
        return Finding("classes_in_the_answers", None, 2.0, False, "No columns were there to find latent classes in.")
    return Finding(
        "classes_in_the_answers",
        float(found.segments),
        2.0,
        found.segments >= 2,
        f"The answers go together in {found.segments} latent class{'' if found.segments == 1 else 'es'}.",
    )


def _regions(Z: Array, hdbscan: Alternative | None) -> Finding:
    """Whether Gaussians could tell the dense regions apart: the quadratic discriminant of the regions themselves."""
    name = "regions_are_not_gaussian"
    if hdbscan is None or hdbscan.labels is None or (hdbscan.segments or 0) < 2:
        return Finding(name, None, GAUSSIAN_REGIONS, False, "There are no two dense regions clear of one another.")
    dense = hdbscan.labels != NOBODY
    agreement = _told_apart(Z[dense], hdbscan.labels[dense])
    return Finding(
        name,
        agreement,
        GAUSSIAN_REGIONS,
        agreement < GAUSSIAN_REGIONS,
        f"There are {hdbscan.segments} dense regions, and one Gaussian to each tells them apart with agreement "
        f"{agreement:.2f}.",
    )


def _told_apart(Z: Array, regions: Labels) -> float:
    from sklearn.metrics import adjusted_rand_score

    members = [Z[regions == region] for region in np.unique(regions)]
    d = Z.shape[1]
    # a trace of the whole's variance, for a region that is flat along a feature
    least = 1e-6 * Z.var(axis=0).max() * np.eye(d)
    gaussians = Mixture(
        np.array([len(part) / len(Z) for part in members]),
        np.stack([part.mean(axis=0) for part in members]),
        np.stack([np.cov(part.T, bias=True).reshape(d, d) + least for part in members]),
    )
    return float(adjusted_rand_score(regions, gaussians.log_joint(Z).argmax(axis=1)))


def _outliers(dbscan: Alternative | None) -> Finding:
    share = None if dbscan is None else dbscan.noise_share
    if share is None:
        return Finding("outliers_dominate", None, STRAYS, False, "DBSCAN did not run.")
    sentence = f"{percent(share, 1)} of the customers are in nearly empty places."
    return Finding("outliers_dominate", share, STRAYS, share > STRAYS, sentence)


def _rules(comparison: Comparison) -> Finding:
    name = "a_rule_gives_the_segments"
    rules = [
        (one.agreement, one.method)
        for one in comparison.alternatives
        if one.agreement is not None and (one.method == "rfm_quintiles" or one.method.startswith("rule: "))
    ]
    if not rules:
        return Finding(name, None, AGREES, False, "No rule was there to compare with.")
    agreement, best = max(rules)
    return Finding(
        name,
        agreement,
        AGREES,
        agreement >= AGREES,
        f"Of the rules, {best} comes nearest to the champion's segments, with agreement {agreement:.2f}.",
    )


def _thresholds(Z: Array, labels: Labels, segments: int) -> tuple[Finding, Finding]:
    """Whether a table of thresholds gives the segments, and whether it cuts through customers or between them."""
    from sklearn.metrics import adjusted_rand_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=max(2, segments), random_state=0).fit(Z, labels)
    agreement = float(adjusted_rand_score(labels, tree.predict(Z)))
    at_border, expected = 0, 0.0
    parts = tree.tree_
    on_path = tree.decision_path(Z).tocsc()
    for node in np.flatnonzero(parts.feature >= 0):
        values = Z[on_path.indices[on_path.indptr[node] : on_path.indptr[node + 1]], parts.feature[node]]
        border = np.ptp(values) * BORDER
        near = np.clip(parts.threshold[node] + np.array([-0.5, 0.5]) * border, values.min(), values.max())
        at_border += int(np.sum((values > near[0]) & (values < near[1])))
        expected += len(values) * float(near[1] - near[0]) / float(np.ptp(values))
    density = at_border / expected if expected else None
    return (
        Finding(
            "thresholds_give_the_segments",
            agreement,
            THRESHOLDS_SUFFICE,
            agreement >= THRESHOLDS_SUFFICE,
            f"{counted(segments - 1, 'threshold')} on single features {'gives' if segments == 2 else 'give'} the "
            f"champion's segments with agreement {agreement:.2f}.",
        ),
        Finding(
            "thresholds_cut_through",
            density,
            CUT_THROUGH,
            density is not None and density >= CUT_THROUGH,
            "No threshold on a single feature divides the customers."
            if density is None
            else f"At the borders between segments stand {density:.2f} times as many customers as an even spread would "
            "put there: 0 is a gap, 1 or more is none.",
        ),
    )


def _centres(Z: Array, labels: Labels) -> Finding:
    """Excess kurtosis within segments, mean over features and customers; a feature flat in a segment does not count."""
    from scipy.stats import kurtosis

    summed, counted = 0.0, 0
    for segment in np.unique(labels):
        members = Z[labels == segment]
        varied = members.var(axis=0) > 1e-9
        summed += len(members) * float(kurtosis(members[:, varied]).sum())
        counted += len(members) * int(varied.sum())
    if not counted:
        return Finding("segments_have_no_centre", None, NO_CENTRE, False, "No segment varies in any feature.")
    mean = summed / counted
    return Finding(
        "segments_have_no_centre",
        mean,
        NO_CENTRE,
        mean <= NO_CENTRE,
        f"Within segments the features' excess kurtosis is {mean:.2f}, where 0 crowds around a centre and -1.2 is "
        "spread evenly between limits.",
    )


def _one_gaussian(Z: Array, champion: Mixture) -> Finding:
    """By how much the champion's BIC is above that of one Gaussian for all customers; below 0 segments are needed."""
    d = Z.shape[1]
    # a trace of the whole's variance, for a feature that is flat
    covariance = np.cov(Z.T, bias=True).reshape(d, d) + 1e-6 * Z.var(axis=0).max() * np.eye(d)
    one = Mixture(np.ones(1), Z.mean(axis=0)[None], covariance[None])
    excess = bic(champion, Z) - bic(one, Z)
    said = f"{abs(excess):,.0f} {'above' if excess >= 0 else 'below'}"
    return Finding(
        "one_gaussian_suffices",
        excess,
        0.0,
        excess >= 0.0,
        f"The champion's BIC is {said} that of a single Gaussian for all customers (lower is better).",
    )


def _one_crowd(Z: Array, champion: Mixture) -> Finding:
    """By how much the champion foretells unseen customers better than one crowd; where that may be chance it need not
    be segments. Judged beside a hurdle's rule, which one crowd has not."""
    name = "one_crowd_suffices"
    if champion.hurdle is not None:
        Z, champion = Z[~champion.hurdle.holds(Z)], champion.without_hurdle
    found = gain_over_one_crowd(Z, champion) if len(Z) >= FEW else None
    if found is None:
        return Finding(name, None, 0.0, False, "One crowd was not there to compare with.")
    gain, certain = found[0], CERTAIN_GAIN * found[1]
    return Finding(
        name,
        gain,
        certain,
        gain <= certain,
        f"It foretells each customer that it has not seen {better(gain, 2)} than one crowd, whose features are spread "
        f"in any way with one peak; up to {certain:.2f} better may be chance.",
    )


def _nested(Z: Array, labels: Labels) -> Finding:
    ratio = nestedness(Z, labels)
    if ratio is None:
        return Finding("groups_are_nested", None, NESTED, False, "There are no two groups of several segments.")
    return Finding(
        "groups_are_nested",
        ratio,
        NESTED,
        ratio >= NESTED,
        f"Segments lie in groups that are {ratio:.1f} times as far from one another as the segments of a group.",
    )


def _certainty(Z: Array, champion: Mixture, joint: Array, too_sure: float) -> tuple[Finding, Finding]:
    """Among the customers beside a hurdle's rule: who is under it belongs to it for certain, whatever the mixture."""
    left = joint if champion.hurdle is None else joint[~champion.hurdle.holds(Z)]
    certainty = float(left.max(axis=1).mean()) if len(left) else 1.0
    sentence = f"Customers' largest membership probability is {certainty:.2f} on average."
    return (
        Finding("segments_are_clear", certainty, CLEAR, certainty >= CLEAR, sentence),
        Finding("nobody_is_in_doubt", certainty, too_sure, certainty >= too_sure, sentence),
    )


def _k_means(found: Alternative | None) -> Finding:
    agreement = None if found is None else found.agreement
    if agreement is None:
        return Finding("k_means_agrees", None, AGREES, False, "k-means did not run.")
    return Finding(
        "k_means_agrees",
        agreement,
        AGREES,
        agreement >= AGREES,
        f"k-means with as many segments agrees with the champion's to {agreement:.2f}.",
    )
