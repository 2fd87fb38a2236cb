"""What else could describe the month's customers, each beside the champion: other methods, and rules of thumb.

Here: k-means, Ward's hierarchy, DBSCAN, HDBSCAN, latent classes, the quintile rule and the user's own rules, on the
same customers in the same coordinates, with the same figures. The clustering is scikit-learn's, SciPy's and StepMix's.
Not here: what follows from the figures (suitability.py), and where customers, columns and rules come from
(alternatives_store.py).

Every method sees at most a sample. All randomness is seeded, and BLAS keeps to one thread: same arguments, same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from threadpoolctl import threadpool_limits

from segment_pipeline.alternatives.methods import METHODS
from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.measures import k_means
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.naming import name_segments
from segment_pipeline.words import Kind, percent

NOBODY = -1
"""The label of customers whom a method leaves out: noise, or in no rule."""

PAIRWISE_ROWS = 2000
"""Ward's hierarchy and the silhouettes see at most this many customers, for they need the distance of every pair; so do
latent classes, whose EM is slow."""

NEIGHBOURS = 10
"""Customers around a customer that make a place dense; for DBSCAN and HDBSCAN, which count the customer too."""

EMPTIER = 10.0
"""DBSCAN's noise: places that are so many times emptier than the median customer's. On simulated customers of whom a
known 2 to 28 % were strewn anywhere it found that share to within 3 points, and 0.5 to 1.6 % in Gaussian segments."""

SMALLEST_REGION = 0.03
"""Share of the customers that HDBSCAN calls a region; fewer are noise."""

REFITS, REFIT_SHARE = 3, 0.7
"""Stability: the method again on so many subsamples of this share, each pair compared on the customers they share."""

MAX_CODES = 10
"""A feature with at most this many different values counts as codes and not as a quantity."""

MAX_CLASSES = 8
CLASS_STARTS, CLASS_STEPS, CLASS_TOLERANCE = 2, 200, 1e-5
"""Latent classes: starts, steps of EM, and the mean log-likelihood that a step must gain, nats per customer. StepMix's
own 1e-10 takes ten times as long for the same classes."""

FOLDS = 5
MIN_EVENTS = 30
"""Silent customers, and others, below which no predictive power is given."""

AGREES, RESEMBLES = 0.9, 0.5
"""Adjusted Rand index from which segments are the champion's, or resemble them."""

BANDS = 5
"""Quintiles of recency, frequency and spend, and groups of their sum."""


@dataclass(frozen=True, eq=False)
class Customers:
    """The customers that the methods look at: all of a month, or a sample.

    Z : (n, d) in the champion's coordinates. total : how many there are in the month. rfm : (n, 3) days since the last
    order, number of orders, spend; None where the source lacks one. rules : (n,) of each of the user's own rules, and
    categories : (n,) of each text column; codes from 0, NOBODY where no rule applies. prior : (n, k) what a champion
    with memory expects of them from the months before; None of one without.
    """

    Z: Array
    total: int
    rfm: Array | None = None
    rules: Mapping[str, Labels] = field(default_factory=dict)
    categories: Mapping[str, Labels] = field(default_factory=dict)
    prior: Array | None = None


@dataclass(frozen=True, eq=False)
class Observed:
    """Customers of an earlier month whose silence is known by now, as they were then.

    Z : (m, d) in the champion's coordinates. silent : (m,). rfm, rules, prior : as of `Customers`, with the same codes.
    """

    Z: Array
    silent: Flags
    rfm: Array | None = None
    rules: Mapping[str, Labels] = field(default_factory=dict)
    prior: Array | None = None


@dataclass(frozen=True, eq=False)
class Alternative:
    """One method. labels : (customers,) of the rows it looked at, NOBODY for noise; None where it could not run.

    segments : groups without noise. noise_share : 0..1. agreement : adjusted Rand index with the champion's segments,
    1 = the same, 0 = by chance. silhouette : -1..1, higher is better separated, noise left out. stability : mean
    adjusted Rand index between refits on subsamples. churn_auc : 0.5 = predicts nothing. verdict : one sentence.
    A figure that was not computed is None.
    """

    method: str
    segments: int | None
    customers: int
    noise_share: float | None
    agreement: float | None
    silhouette: float | None
    stability: float | None
    churn_auc: float | None
    verdict: str
    labels: Labels | None


@dataclass(frozen=True)
class Node:
    """A group of Ward's hierarchy. node 1 holds everybody; parent is None for it alone. height : Ward's distance at
    which its two parts were joined, standard deviations weighted by size. name : with that of the group it is in."""

    node: int
    parent: int | None
    height: float
    customers: int
    name: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every method, Ward's hierarchy, and what suitability.py needs of both.

    categorical_columns, columns : how many of features and text columns are codes or text, of how many.
    """

    alternatives: tuple[Alternative, ...]
    hierarchy: tuple[Node, ...]
    categorical_columns: int
    columns: int

    def of(self, method: str) -> Alternative | None:
        """The method of that name, None where it has no row."""
        return next((one for one in self.alternatives if one.method == method), None)


def compare(
    customers: Customers,
    champion: Mixture,
    names: Sequence[str],
    observed: Observed | None = None,
    *,
    seed: int = 42,
    kinds: Mapping[str, Kind] | None = None,
) -> Comparison:
    """Every method on these customers. champion : in their coordinates. names : of the features. kinds : of those that
    the file declares, for the words of the hierarchy."""
    import sklearn.cluster  # noqa: F401 - only the threads of what is loaded by now are limited

    with threadpool_limits(limits=1, user_api="blas"), threadpool_limits(limits=1, user_api="openmp"):
        return _Bench(customers, champion, names, observed, seed).compare(kinds or {})


def coded_features(Z: Array) -> list[int]:
    """Positions of the features with so few different values that they are codes rather than quantities."""
    return [j for j in range(Z.shape[1]) if len(np.unique(Z[:, j])) <= MAX_CODES]


def quintile_rule(rfm: Array, reference: Array) -> Labels:
    """(n,) 0..4 by the classic rule: a score of 1 to 5 each for recency, frequency and spend by quintiles, added up,
    and the sums 3 to 15 cut into five bands of equal width (after Hughes 1994, who keeps the 125 cells).

    rfm, reference : (n, 3), (m, 3) days since the last order, orders, spend; the quintiles are those of `reference`.
    Customers with the same value have the same score.
    """
    total = np.zeros(len(rfm), dtype=np.intp)
    for j, sign in enumerate((-1.0, 1.0, 1.0)):
        limits = np.quantile(sign * reference[:, j], np.arange(1, BANDS) / BANDS)
        total += np.searchsorted(limits, sign * rfm[:, j], side="left")
    return np.asarray(total * BANDS // (3 * (BANDS - 1) + 1))


class _Bench:
    """The customers laid out once, and each method measured on them in the same way."""

    def __init__(
        self, customers: Customers, champion: Mixture, names: Sequence[str], observed: Observed | None, seed: int
    ) -> None:
        self.customers, self.champion, self.names, self.observed, self.seed = customers, champion, names, observed, seed
        self.Z = np.ascontiguousarray(customers.Z)
        self.n, self.k = len(self.Z), champion.n_segments
        self.champion_labels = champion.log_joint(self.Z, prior=customers.prior).argmax(axis=1)
        self.few = np.sort(np.random.default_rng((seed, 1)).permutation(self.n)[:PAIRWISE_ROWS])
        self.distances = _distances(self.Z[self.few])

    def compare(self, kinds: Mapping[str, Kind]) -> Comparison:
        codes = coded_features(self.Z)
        ways: Mapping[str, Callable[[str], Alternative]] = {
            "champion": self._champion,
            "k_means": lambda name: self._measured(name, lambda rows: k_means(self.Z[rows], self.k, self.seed)),
            "ward": self._ward,
            "dbscan": lambda name: self._measured(name, lambda rows: _dbscan(self.Z[rows])),
            "hdbscan": lambda name: self._measured(name, lambda rows: _hdbscan(self.Z[rows])),
            "latent_classes": lambda name: self._latent_classes(name, codes),
            "rfm_quintiles": self._quintiles,
        }
        answered = bool(self.customers.categories) or len(codes) > 1
        found = {name: ways[name](name) for name in METHODS if name != "latent_classes" or answered}
        rules = (self._rule(name, labels) for name, labels in self.customers.rules.items())
        return Comparison(
            (*found.values(), *rules),
            ward_hierarchy(self.Z[self.few], found["ward"].segments or 1, self.names, kinds),
            len(codes) + len(self.customers.categories),
            self.Z.shape[1] + len(self.customers.categories),
        )

    def _champion(self, name: str) -> Alternative:
        predicted = None
        if self.observed is not None:
            predicted = self.champion.log_joint(self.observed.Z, prior=self.observed.prior).argmax(axis=1)
        return self._row(name, self.champion_labels, np.arange(self.n), None, predicted)

    def _ward(self, name: str) -> Alternative:
        def partition(rows: Labels) -> Labels:
            from scipy.cluster.hierarchy import fcluster, ward

            return np.asarray(fcluster(ward(self.Z[rows]), self.k, criterion="maxclust") - 1, dtype=np.intp)

        return self._measured(name, partition, self.few)

    def _measured(self, method: str, partition: Callable[[Labels], Labels], rows: Labels | None = None) -> Alternative:
        """`partition` : labels of the customers at these positions, from nothing but them."""
        rows = np.arange(self.n) if rows is None else rows
        labels = partition(rows)
        return self._row(method, labels, rows, self._stability(partition, rows), self._nearest(labels, rows))

    def _latent_classes(self, name: str, codes: Sequence[int]) -> Alternative:
        columns = [np.unique(self.Z[:, j], return_inverse=True)[1] for j in codes]
        answers = np.column_stack([*columns, *self.customers.categories.values()])
        labels = latent_classes(answers[self.few], self.seed)
        classes = len(np.unique(labels))

        def partition(rows: Labels) -> Labels:
            return latent_classes(answers[rows], self.seed, classes)

        return self._row(name, labels, self.few, self._stability(partition, self.few))

    def _quintiles(self, name: str) -> Alternative:
        rfm = self.customers.rfm
        if rfm is None:
            return _not_run(
                name,
                "Not computed: it needs days since the last order, orders and spend; name them under roles.recency, "
                "roles.frequency and alternatives.monetary.",
            )
        predicted = None
        if self.observed is not None and self.observed.rfm is not None:
            predicted = quintile_rule(self.observed.rfm, rfm)
        stability = self._stability(lambda rows: quintile_rule(rfm[rows], rfm[rows]), np.arange(self.n))
        return self._row(name, quintile_rule(rfm, rfm), np.arange(self.n), stability, predicted)

    def _rule(self, name: str, labels: Labels) -> Alternative:
        predicted = self.observed.rules.get(name) if self.observed is not None else None
        return self._row(f"rule: {name}", labels, np.arange(self.n), None, predicted)

    def _row(
        self, method: str, labels: Labels, rows: Labels, stability: float | None, predicted: Labels | None = None
    ) -> Alternative:
        """The figures of a partition of the customers at `rows`. predicted : its labels of the observed customers."""
        groups = len(np.unique(labels[labels != NOBODY]))
        agreement = _agreement(labels, self.champion_labels[rows])
        noise = float(np.mean(labels == NOBODY))
        return Alternative(
            method,
            groups,
            len(rows),
            noise,
            agreement,
            self._silhouette(labels, rows),
            stability,
            None
            if predicted is None or self.observed is None
            else churn_auc(predicted, self.observed.silent, self.seed),
            _in_words(method, groups, self.k, noise, agreement),
            labels,
        )

    def _silhouette(self, labels: Labels, rows: Labels) -> float | None:
        from sklearn.metrics import silhouette_score

        among = labels if len(rows) == len(self.few) else labels[self.few]
        kept = np.flatnonzero(among != NOBODY)
        groups = len(np.unique(among[kept]))
        if not 2 <= groups < len(kept):
            return None
        return float(silhouette_score(self.distances[np.ix_(kept, kept)], among[kept], metric="precomputed"))

    def _stability(self, partition: Callable[[Labels], Labels], rows: Labels) -> float:
        random = np.random.default_rng((self.seed, 2))
        size = int(REFIT_SHARE * len(rows))
        drawn = [np.sort(random.permutation(rows)[:size]) for _ in range(REFITS)]
        found = [partition(sample) for sample in drawn]
        indices = []
        for a, b in combinations(range(REFITS), 2):
            _, here, there = np.intersect1d(drawn[a], drawn[b], assume_unique=True, return_indices=True)
            indices.append(_agreement(found[a][here], found[b][there]))
        return float(np.mean(indices))

    def _nearest(self, labels: Labels, rows: Labels) -> Labels | None:
        """The observed customers under a method that knows its own only: each with the most similar one's label."""
        if self.observed is None:
            return None
        from scipy.spatial import cKDTree

        return np.asarray(labels[cKDTree(self.Z[rows]).query(self.observed.Z)[1]])


@dataclass(frozen=True, eq=False)
class _Group:
    """A group on the way down Ward's hierarchy. id : SciPy's, larger = joined later. rows : positions, ascending."""

    id: int
    parent: int | None
    height: float
    rows: Labels

    def holds(self, other: "_Group") -> bool:
        """Whether the other, of the same hierarchy, is this group or a part of it."""
        return len(other.rows) <= len(self.rows) and bool(np.isin(other.rows[:1], self.rows).all())


def ward_hierarchy(
    Z: Array, leaves: int, names: Sequence[str], kinds: Mapping[str, Kind] | None = None
) -> tuple[Node, ...]:
    """Ward's hierarchy (1963) of the rows of Z, cut into so many leaves, from the whole down.

    A leaf that lies in one of the most clearly separate groups has that group's name before its own.
    """
    from scipy.cluster.hierarchy import to_tree, ward

    root, every = to_tree(ward(Z), rd=True)

    def group(node: int, parent: int | None) -> _Group:
        return _Group(node, parent, float(every[node].dist), np.sort(every[node].pre_order()).astype(np.intp))

    found = [group(root.id, None)]
    cuts = [list(found)]
    while len(cuts[-1]) < leaves:
        # what was joined last is parted first, as a cut from above would do
        parted = max(cuts[-1], key=lambda one: one.id)
        parts = [group(every[parted.id].left.id, parted.id), group(every[parted.id].right.id, parted.id)]
        found += parts
        cuts.append([one for one in cuts[-1] if one is not parted] + parts)
    return _nodes(found, _top_groups(Z, cuts), Z, names, kinds)


def _nodes(
    found: Sequence[_Group],
    top: Sequence[_Group],
    Z: Array,
    names: Sequence[str],
    kinds: Mapping[str, Kind] | None,
) -> tuple[Node, ...]:
    number = {group.id: i + 1 for i, group in enumerate(found)}
    means = np.stack([Z[group.rows].mean(axis=0) - Z.mean(axis=0) for group in found]) / Z.std(axis=0)
    own = ["All customers", *name_segments(means[1:], names, [None] * (len(found) - 1), kinds=kinds)]
    called = {group.id: own[i] for i, group in enumerate(found)}
    nodes = []
    for group in found:
        above = next((one for one in top if one.id != group.id and one.holds(group)), None)
        nodes.append(
            Node(
                number[group.id],
                None if group.parent is None else number[group.parent],
                group.height,
                len(group.rows),
                called[group.id] if above is None else f"{called[above.id]} > {called[group.id]}",
            )
        )
    return tuple(nodes)


def latent_classes(answers: Labels, seed: int, classes: int | None = None) -> Labels:
    """(n,) the likeliest of the latent classes (Lazarsfeld & Henry 1968; StepMix). answers : (n, c) codes from 0.

    classes : None for the number of lowest BIC, counting up until it rises, up to MAX_CLASSES.
    """
    # customers with the same answers are one row with their number as its weight: the likelihood is the same
    patterns, place, weight = np.unique(answers, axis=0, return_inverse=True, return_counts=True)
    best, lowest = np.zeros(len(answers), dtype=np.intp), np.inf
    for k in range(1, MAX_CLASSES + 1) if classes is None else [classes]:
        if k > len(patterns):
            break
        labels, log_likelihood = _fit_classes(patterns, weight.astype(np.float64), k, seed)
        parameters = k - 1 + k * int((answers.max(axis=0)).sum())
        bic = -2.0 * log_likelihood + parameters * np.log(len(answers))
        if bic >= lowest:
            break
        best, lowest = labels[place.ravel()], bic
    return best


def churn_auc(labels: Labels, silent: Flags, seed: int) -> float | None:
    """Area under the curve of later silence predicted from the label alone: each fifth of the customers by the share of
    silent ones among the others with that label. None with too few silent customers, or too few others."""
    from sklearn.metrics import roc_auc_score

    if min(silent.sum(), (~silent).sum()) < MIN_EVENTS:
        return None
    fold = np.random.default_rng((seed, 3)).permutation(len(silent)) % FOLDS
    group = np.unique(labels, return_inverse=True)[1]
    rate = np.empty(len(silent))
    for f in range(FOLDS):
        taught = fold != f
        count = np.bincount(group[taught], minlength=group.max() + 1)
        among = np.bincount(group[taught], weights=silent[taught], minlength=group.max() + 1)
        rate[~taught] = ((among + silent[taught].mean()) / (count + 1.0))[group[~taught]]
    return float(roc_auc_score(silent, rate))


def _distances(Z: Array) -> Array:
    from scipy.spatial.distance import pdist, squareform

    return np.asarray(squareform(pdist(Z)))


def _agreement(one: Labels, other: Labels) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, other))


def _dbscan(Z: Array) -> Labels:
    """Its radius is the median customer's distance to the tenth neighbour, made larger until a place that is EMPTIER
    times emptier counts as dense just so."""
    from scipy.spatial import cKDTree
    from sklearn.cluster import DBSCAN

    distance = cKDTree(Z).query(Z, k=min(NEIGHBOURS + 1, len(Z)))[0][:, -1]
    radius = float(np.median(distance)) * EMPTIER ** (1.0 / Z.shape[1])
    # where most customers share their values with ten others, any radius will do that keeps different values apart
    return np.asarray(DBSCAN(eps=max(radius, 1e-9), min_samples=NEIGHBOURS + 1).fit_predict(Z), dtype=np.intp)


def _hdbscan(Z: Array) -> Labels:
    from sklearn.cluster import HDBSCAN

    smallest = max(NEIGHBOURS, int(SMALLEST_REGION * len(Z)))
    return np.asarray(
        HDBSCAN(min_cluster_size=smallest, min_samples=NEIGHBOURS + 1, algorithm="kd_tree", copy=True).fit_predict(Z),
        dtype=np.intp,
    )


def _fit_classes(patterns: Labels, weight: Array, k: int, seed: int) -> tuple[Labels, float]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from stepmix import StepMix

    model = StepMix(
        k,
        measurement="categorical",
        n_init=CLASS_STARTS if k > 1 else 1,
        abs_tol=CLASS_TOLERANCE,
        max_iter=CLASS_STEPS,
        random_state=seed,
        progress_bar=0,
        verbose=0,
    )
    with warnings.catch_warnings():
        # of classes too many, which the BIC then refuses
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(patterns, sample_weight=weight)
    log_likelihood = float(model.score(patterns, sample_weight=weight)) * float(weight.sum())
    return np.asarray(model.predict(patterns), dtype=np.intp), log_likelihood


def nestedness(Z: Array, segments: Labels) -> float | None:
    """How many times farther apart groups of segments are than the segments within them, at the cut of the centres'
    tree (average linkage) where that is largest; None where no cut has two groups of several segments.

    Z : (n, d). segments : (n,) labels, each with some rows. The distance is of the nearest two segments of different
    groups, over that of the farthest two of one group, in the spread of a segment.
    """
    from scipy.cluster.hierarchy import average, cut_tree
    from scipy.spatial.distance import pdist

    centres = _in_spreads(Z, [np.flatnonzero(segments == segment) for segment in np.unique(segments)])
    if len(centres) < 4:
        return None
    distance, tree = _distances(centres), average(pdist(centres))
    ratios = [_apart(distance, cut_tree(tree, cut).ravel()) for cut in range(2, len(centres) - 1)]
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def _top_groups(Z: Array, cuts: Sequence[Sequence[_Group]]) -> Sequence[_Group]:
    """Of the cuts of a hierarchy, the last of which has the leaves, the one whose groups are most clearly apart; ()
    where no cut has two groups with parts."""
    leaves = cuts[-1]
    distance = _distances(_in_spreads(Z, [leaf.rows for leaf in leaves]))
    best: tuple[float, Sequence[_Group]] = (0.0, ())
    for cut in cuts[1:-1]:
        ratio = _apart(distance, np.array([next(i for i, one in enumerate(cut) if one.holds(leaf)) for leaf in leaves]))
        if ratio is not None and ratio > best[0]:
            best = ratio, cut
    return best[1]


def _apart(distance: Array, group: Labels) -> float | None:
    """Smallest distance between groups over the largest within one; None without two groups with parts."""
    if np.sum(np.bincount(group) > 1) < 2:
        return None
    same = group[:, None] == group[None]
    return float(distance[~same].min() / max(distance[same].max(), np.finfo(float).tiny))


def _in_spreads(Z: Array, parts: Sequence[Labels]) -> Array:
    """(k, d) the parts' centres in coordinates in which the customers of a part have standard deviation 1 on average.

    Standardising has shrunk the features in which groups lie far apart, and with them the distances that are sought.
    """
    centres = np.stack([Z[rows].mean(axis=0) for rows in parts])
    within = np.zeros((Z.shape[1], Z.shape[1]))
    for rows, centre in zip(parts, centres, strict=True):
        within += (Z[rows] - centre).T @ (Z[rows] - centre)
    values, vectors = np.linalg.eigh(within / len(Z))
    return np.asarray(centres @ (vectors / np.sqrt(np.maximum(values, 1e-9))))


def _not_run(method: str, reason: str) -> Alternative:
    return Alternative(method, None, 0, None, None, None, None, None, reason, None)


def _in_words(method: str, groups: int, champions: int, noise: float, agreement: float) -> str:
    if groups == 0:
        return f"It finds no dense region: {percent(noise)} of the customers are noise."
    held = f"It leaves out {percent(noise)} of the customers. " if noise >= 0.005 else ""
    if groups == 1:
        return f"{held}It finds one segment only."
    counted = f"{groups} segments"
    if method == "champion":
        return f"The champion's {counted}, by each customer's likeliest."
    if agreement >= AGREES:
        return f"{held}Its {counted} are the champion's all but for a few customers (agreement {agreement:.2f})."
    if agreement >= RESEMBLES:
        return f"{held}Its {counted} resemble the champion's {champions} (agreement {agreement:.2f})."
    return f"{held}Its {counted} are others than the champion's {champions} (agreement {agreement:.2f})."
