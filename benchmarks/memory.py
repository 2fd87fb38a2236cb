"""Memory: a Gaussian mixture with a transition matrix (MarkovMixture) against mixtures that know nothing of the month
before, on month-ends of two real shops, out of time: fitted to the first months, judged on the others.

Rivals with the same number of segments: the mixture of the pooled months alone, the same with "as last month" for a
forecast, and with a transition matrix counted from its memberships. Nats: mean log density of the features of a
customer who was there one month (three months, windows not overlapping) before, given memberships of then; higher is
better. The last rival knows no segments: a customer's own last features, plus noise as wide as features change.

Of four and five segments, besides: every judged month against every rival (bars: demo at least 0.3 nats above the best
of them in each month; CDNOW above the best over all months, in none more than 0.02 below); whether what is expected of
the next month comes, lapsing included (calibration error at most 0.03 and 0.05, no tenth with 50 forecasts off by more
than 0.15), by the chain alone and, as it is published, by silence: by the moves in the months before of customers who
last ordered as long ago; who lapses, foretold by these two, by the rate of all, and by that of those who can lapse, who
have no order that the next window holds as well, each of the months before; and what can be observed: next month's
lapse and number of orders, together and each alone, predicted by a distribution for each segment, learned from the
fitted months, which memberships mix (demo: better log score with memory; CDNOW: not worse).

`python memory.py` prints the tables; `python memory.py hmmlearn` compares speed and likelihood with hmmlearn's
GaussianHMM from the same starts (pip install hmmlearn). A minute on two cores without it.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from real_months import MonthEnd, cdnow, demo, record
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.config.config import Config
from segment_pipeline.mixture.chain.markov import MarkovMixture, starting_memory
from segment_pipeline.mixture.chain.panel import LAPSED, SEEN, Panel
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.mixture.resolution import rounding_variance
from segment_pipeline.mixture.search import search_mixtures
from segment_pipeline.months import add_months, as_of

LEAST = 1e-4
"""No forecast is taken for less: a rival that is certain and wrong would be judged by that alone."""

JUDGED_SIZES = (4, 5)
FEWEST = 50
MOST_ORDERS = 30
STEPS = 200
"""Of EM for the distributions of what follows: their log score has settled by then."""


@dataclass(frozen=True, eq=False)
class Shop:
    """A panel of all months, how many of them are fitted, and the features' smallest variances. orders_next : (n, T)
    orders in the month after, NaN of who was not there and where it is not known. silence : (n, T) whole months since
    that of the last order, -1 of who was not there; of `silences`."""

    panel: Panel
    fitted: int
    floor: Array
    orders_next: Array
    silence: Labels
    silences: int


def shop_of(config: Config, ends: Sequence[MonthEnd], fitted: int) -> Shop:
    """The month-ends as a panel, in the space of those that are fitted."""
    ids = np.unique(np.concatenate([end.ids for end in ends]))
    space = FeatureSpace.fit(config.model_features, np.concatenate([end.X for end in ends[:fitted]]))
    customers = np.concatenate([np.searchsorted(ids, end.ids) for end in ends])
    months = np.concatenate([np.full(len(end.ids), t) for t, end in enumerate(ends)])
    X = np.concatenate([end.X for end in ends])
    tenure = np.concatenate([end.aside[:, end.aside_names.index("tenure_days")] for end in ends])
    day_after = np.concatenate([np.full(len(end.ids), np.datetime64(as_of(end.month))) for end in ends])
    first_month = (day_after - tenure.astype("timedelta64[D]")).astype("datetime64[M]")
    begun = np.zeros(len(ids), dtype=int)
    begun[customers] = (first_month - np.datetime64(ends[0].month, "M")).astype(int)
    panel = Panel.of(
        customers,
        months,
        space.transform(X),
        first_months=begun,
        n_months=len(ends),
        rounding_variance=rounding_variance(space, X),
    )
    orders_next = np.full(panel.states.shape, np.nan)
    for t, end in enumerate(ends):
        if end.orders_next is not None:
            orders_next[np.searchsorted(ids, end.ids), t] = end.orders_next
    window = config.source.window_months
    silence = np.full(panel.states.shape, -1)
    for t, end in enumerate(ends):
        days = end.X[:, config.model_feature_names.index("days_since_last_order")]
        longest = [(as_of(end.month) - add_months(end.month, -months)).days for months in range(window)]
        silence[np.searchsorted(ids, end.ids), t] = np.searchsorted(longest, days)
    return Shop(panel, fitted, space.variance_floor, orders_next, silence, window)


@dataclass(frozen=True, eq=False)
class Told:
    """What a model says. log_densities : (n, T, k), NaN where a customer was not seen. memberships : (n, T, k) of those
    seen, given the months so far. step : (k, k) the way on; None for a model whose forecast is always `static` (k,)."""

    log_densities: Array
    memberships: Array
    step: Array | None
    static: Array

    def ahead(self, memberships: Array, months: int) -> Array:
        """(m, k) -> (m, k) memberships so many months later, of those who are then there."""
        if self.step is None:
            return np.tile(self.static, (len(memberships), 1))
        return np.asarray(memberships @ np.linalg.matrix_power(self.step, months))


def memoryless(shop: Shop, mixture: Mixture) -> dict[str, Told]:
    """The three rivals that a mixture gives."""
    panel, k = shop.panel, mixture.n_components
    seen = panel.states == SEEN
    densities = np.full((*panel.states.shape, k), np.nan)
    densities[seen] = mixture.log_joint(panel.rows) - np.log(mixture.weights)
    memberships = np.exp(densities + np.log(mixture.weights))
    memberships /= memberships.sum(axis=2, keepdims=True)
    counts = np.ones((k, k))
    for t in range(1, shop.fitted):
        both = seen[:, t] & seen[:, t - 1]
        counts += memberships[both, t - 1].T @ memberships[both, t]
    steps = {
        "mixture": None,
        "as last month": np.eye(k),
        "counted matrix": counts / counts.sum(axis=1, keepdims=True),
    }
    return {name: Told(densities, memberships, step, mixture.weights) for name, step in steps.items()}


def with_memory(shop: Shop, model: MarkovMixture) -> Told:
    """What the fitted chain says of those who are there."""
    panel, k = shop.panel, model.n_components
    seen = panel.states == SEEN
    densities = np.full((*panel.states.shape, k), np.nan)
    densities[seen] = model.mixture_.log_joint(panel.rows) - np.log(model.mixture_.weights)
    inside = model.memory_.transitions[:k, :k]
    memberships = model.filter(panel)[:, :, :k]
    return Told(densities, memberships, inside / inside.sum(axis=1, keepdims=True), model.memory_.new)


def nats(told: Told, seen: Array, t: int, months: int) -> float:
    both = seen[:, t] & seen[:, t - months]
    ahead = np.clip(told.ahead(told.memberships[both, t - months], months), LEAST, 1.0)
    return float(logsumexp(np.log(ahead) + told.log_densities[both, t], axis=1).mean())


def own_features(shop: Shop, months: int) -> float:
    """The same of the customer's own last features plus noise."""
    panel = shop.panel
    features = np.full((*panel.states.shape, panel.n_features), np.nan)
    features[panel.states == SEEN] = panel.rows

    def changes(first: int, last: int) -> Array:
        both = [features[:, t] - features[:, t - months] for t in range(first, last)]
        found = np.concatenate(both)
        return found[~np.isnan(found[:, 0])]

    noise = changes(months, shop.fitted)
    judged = changes(shop.fitted, panel.n_months)
    return float(multivariate_normal(noise.mean(axis=0), np.cov(noise, rowvar=False)).logpdf(judged).mean())


def by_month(told: Told, shop: Shop) -> Array:
    """Nats one month ahead, judged month by judged month."""
    seen = shop.panel.states == SEEN
    return np.array([nats(told, seen, t, 1) for t in range(shop.fitted, shop.panel.n_months)])


Expected = Sequence[Array]
"""Of each judged month, (n, k + 1) what was expected of the customers of the month before, lapsing last."""


def by_chain(shop: Shop, model: MarkovMixture) -> Expected:
    seen, filtered = shop.panel.states == SEEN, model.filter(shop.panel)
    judged = range(shop.fitted, shop.panel.n_months)
    return [model.memory_.ahead(filtered[seen[:, t - 1], t - 1]) for t in judged]


def by_silence(shop: Shop, model: MarkovMixture) -> Expected:
    """As it is published (segments/ahead): by the moves of all months before."""
    seen, filtered = shop.panel.states == SEEN, model.filter(shop.panel)
    moves = [moves_by_silence(shop, model, filtered, t) for t in range(1, shop.panel.n_months)]
    expected = []
    for t in range(shop.fitted, shop.panel.n_months):
        transitions = model.memory_.by_silence(np.sum(moves[: t - 1], axis=0))
        there = seen[:, t - 1]
        of_each = transitions[shop.silence[there, t - 1]]
        expected.append(np.einsum("na,nab->nb", filtered[there, t - 1], of_each))
    return expected


def moves_by_silence(shop: Shop, model: MarkovMixture, filtered: Array, t: int) -> Array:
    """(w, k, k + 1) customers of each silence expected to have gone from a segment to a state by month t."""
    k, transitions = model.n_components, model.memory_.transitions
    states = shop.panel.states
    moves = np.zeros((shop.silences, k, k + 1))
    for silence in range(shop.silences):
        there = (states[:, t - 1] == SEEN) & (shop.silence[:, t - 1] == silence)
        stays, lapses = there & (states[:, t] == SEEN), there & (states[:, t] == LAPSED)
        before, now = filtered[stays, t - 1, :k], filtered[stays, t, :k]
        moves[silence, :, :k] = transitions[:k, :k] * (before.T @ (now / (before @ transitions[:k, :k])))
        of_lapsed = filtered[lapses, t - 1, :k] * transitions[:k, k]
        moves[silence, :, k] = (of_lapsed / of_lapsed.sum(axis=1, keepdims=True)).sum(axis=0)
    return moves


def lapses_foretold(shop: Shop, chain: Expected, silence: Expected) -> list[list[object]]:
    """What foretells who lapses, with its Brier score (lower is better) and its log score, nats (higher is better)."""
    states, seen = shop.panel.states, shop.panel.states == SEEN
    lapsed = seen[:, :-1] & (states[:, 1:] == LAPSED)
    known = lapsed | (seen[:, :-1] & seen[:, 1:])
    can = known & (shop.silence[:, :-1] == shop.silences - 1)
    told: dict[str, list[Array]] = {}
    came = []
    for place, t in enumerate(range(shop.fitted, shop.panel.n_months)):
        judged, past = known[:, t - 1], np.s_[:, : t - 1]
        came.append(lapsed[judged, t - 1])
        of_there = judged[seen[:, t - 1]]
        rate, rate_of_who_can = (lapsed[past].sum() / among[past].sum() for among in (known, can))
        for name, expected in (
            ("rate of all", np.full(judged.sum(), rate)),
            ("the chain", chain[place][of_there, -1]),
            ("rate of those who can", np.where(can[judged, t - 1], rate_of_who_can, 0.0)),
            ("by silence", silence[place][of_there, -1]),
        ):
            told.setdefault(name, []).append(expected)
    outcome = np.concatenate(came)
    return [[name, *_brier_and_log(np.concatenate(expected), outcome)] for name, expected in told.items()]


def _brier_and_log(expected: Array, outcome: Flags) -> tuple[float, float]:
    likely = np.clip(np.where(outcome, expected, 1.0 - expected), LEAST, 1.0)
    return float(((expected - outcome) ** 2).mean()), float(np.log(likely).mean())


def calibration(shop: Shop, model: MarkovMixture, expected_of: Expected) -> list[float]:
    """How far what is expected of the next month, lapsing included, is off: the mean distance over tenths of the range
    of probability, and the largest of a tenth with 50 forecasts, over all judged months; and in the worst of them."""
    seen, filtered = shop.panel.states == SEEN, model.filter(shop.panel)
    months = []
    for t, of_month in zip(range(shop.fitted, shop.panel.n_months), expected_of, strict=True):
        there = seen[:, t - 1]
        expected, came = of_month.ravel(), filtered[there, t].ravel()
        tenth = np.minimum((expected * 10).astype(int), 9)
        months.append([np.bincount(tenth, values, 10) for values in (np.ones(len(tenth)), expected, came)])
    pooled, *each = (off(*sums) for sums in [np.sum(months, axis=0), *months])
    return [*pooled, *np.max(each, axis=0).tolist()]


def off(n: Array, expected: Array, came: Array) -> tuple[float, float]:
    """Each (10,), summed over a tenth: the mean distance, and the largest of a tenth with enough forecasts."""
    gaps = np.abs(expected - came)
    return float(gaps.sum() / n.sum()), float((gaps[n >= FEWEST] / n[n >= FEWEST]).max())


def observables(shop: Shop) -> dict[str, Array]:
    """(n, T) of who is there: whether the customer lapses next month, how many orders it places then, at most
    MOST_ORDERS, and both in one; -1 where that is not known."""
    seen = shop.panel.states == SEEN
    lapse = np.full(seen.shape, -1)
    lapse[:, :-1] = np.where(seen[:, :-1], shop.panel.states[:, 1:] == LAPSED, -1)
    orders = np.full(seen.shape, -1)
    told = seen & np.isfinite(shop.orders_next)
    orders[told] = np.minimum(shop.orders_next[told], MOST_ORDERS)
    both = np.where((lapse < 0) | (orders < 0), -1, np.where(lapse == 1, 0, orders + 1))
    return {"both": both, "lapse": lapse, "orders": orders}


def predictive(told: Told, outcome: Array, shop: Shop) -> float:
    """Mean log score, nats, of the outcomes that follow from the last fitted month on, as the memberships mix a
    distribution for each segment: that of highest likelihood in the months before (EM, memberships fixed)."""
    known = outcome >= 0
    known[:, shop.fitted - 1 :] = False
    R, y = told.memberships[known], outcome[known]
    q = np.full((R.shape[1], outcome.max() + 1), 1 / (outcome.max() + 1))
    for _ in range(STEPS):
        joint = R * q[:, y].T
        joint /= joint.sum(axis=1, keepdims=True)
        q = np.stack([np.bincount(y, part, q.shape[1]) for part in joint.T]) + 1 / q.shape[1]
        q /= q.sum(axis=1, keepdims=True)
    judged = outcome >= 0
    judged[:, : shop.fitted - 1] = False
    return float(np.log((told.memberships[judged] * q[:, outcome[judged]].T).sum(axis=1)).mean())


def row(name: str, k: int, told: Told, shop: Shop) -> list[object]:
    seen = shop.panel.states == SEEN
    judged = range(shop.fitted, shop.panel.n_months)
    labels = np.where(seen, np.nan_to_num(told.memberships, nan=-1.0).argmax(axis=2), -1)
    moved, back, stay, off = [], [], [], []
    for t in judged:
        both = seen[:, t] & seen[:, t - 1]
        moved.append((labels[both, t] != labels[both, t - 1]).mean())
        sure = both & (np.nan_to_num(told.memberships[:, t - 1]).max(axis=1) >= 0.9)
        stay.append((labels[sure, t] == labels[sure, t - 1]).mean())
        again = both & seen[:, t - 2] & (labels[:, t - 1] != labels[:, t - 2])
        back.append((labels[again, t] == labels[again, t - 2]).mean())
        expected = told.ahead(told.memberships[both, t - 1], 1).ravel()
        came = told.memberships[both, t].ravel()
        tenth = np.minimum((expected * 10).astype(int), 9)
        gaps = np.bincount(tenth, expected, 10) - np.bincount(tenth, came, 10)
        off.append(np.abs(gaps).sum() / len(expected))
    far = [t for t in judged if t >= 3]
    return [
        k,
        name,
        float(np.mean([nats(told, seen, t, 1) for t in judged])),
        float(np.mean([nats(told, seen, t, 3) for t in far])),
        *(float(np.mean(found)) for found in (moved, back, stay, off)),
    ]


def judge(table: str, title: str, shop: Shop, sizes: Sequence[int]) -> None:
    train = shop.panel.until(shop.fitted)
    found = search_mixtures(
        train.rows,
        range(2, max(sizes) + 1),
        random_state=0,
        variance_floor=shop.floor,
        rounding_variance=train.rounding_variance,
    )
    rows, months, followed, near, lapses = [], [], [], [], []
    for k in sizes:
        mixture = found[k - 2].model.mixture_
        rivals = memoryless(shop, mixture)
        told = {**rivals}
        for name, power in (("with memory", 1.0), ("with memory, tempered 1/3", 1 / 3)):
            fitted = MarkovMixture(k, variance_floor=shop.floor, mixture_init=mixture, tempering=power).fit(train)
            told[name] = with_memory(shop, fitted)
            if k in JUDGED_SIZES and power == 1.0:
                months.append(beside_rivals(shop, k, told[name], rivals))
                ways = {"chain": by_chain(shop, fitted), "by silence": by_silence(shop, fitted)}
                near += [[k, way, *calibration(shop, fitted, expected)] for way, expected in ways.items()]
                lapses += [[k, *told_so] for told_so in lapses_foretold(shop, *ways.values())]
                followed.append([k, *predicted(shop, rivals["mixture"], told[name])])
        rows += [row(name, k, one, shop) for name, one in told.items()]
    header = ("k", "model", "1 month", "3 months", "moved", "back", "0.9 stays", "calibration error")
    record(f"memory-{table}", f"{title}: {shop.panel.n_customers} customers, {shop.fitted} months fitted", header, rows)
    of_months = [f"month {t + 1}" for t in range(shop.fitted, shop.panel.n_months)]
    record(
        f"memory-{table}-months",
        f"{title}: nats above the best rival, one month ahead",
        ("k", "pooled", *of_months),
        months,
    )
    header = ("k", "expected", "calibration error", "worst tenth", "worst month", "its worst tenth")
    record(f"memory-{table}-expected", f"{title}: whether what is expected of the next month comes", header, near)
    header = ("k", "foretold by", "Brier score", "log score")
    record(f"memory-{table}-lapses", f"{title}: who lapses next month", header, lapses)
    outcomes = [f"{outcome}: {how}" for outcome in observables(shop) for how in ("alone", "memory")]
    record(f"memory-{table}-outcomes", f"{title}: what comes of memberships; log scores", ("k", *outcomes), followed)
    print(f"own last features plus noise: {own_features(shop, 1):.3f} one month, {own_features(shop, 3):.3f} three")


def beside_rivals(shop: Shop, k: int, told: Told, rivals: dict[str, Told]) -> list[object]:
    """The gain over the best rival of all judged months together, and over the best of each month."""
    own = by_month(told, shop)
    others = np.array([by_month(rival, shop) for rival in rivals.values()])
    return [k, own.mean() - others.mean(axis=1).max(), *(own - others.max(axis=0)).tolist()]


def predicted(shop: Shop, without: Told, told: Told) -> list[float]:
    return [predictive(one, outcome, shop) for outcome in observables(shop).values() for one in (without, told)]


def beside_hmmlearn(customers: int = 2000, months: int = 12, k: int = 4, d: int = 5) -> None:
    """Complete panels, no prior, the same start: seconds of both, and log-likelihood per customer."""
    from hmmlearn.hmm import GaussianHMM

    random = np.random.default_rng(0)
    roots = random.normal(size=(k, d, d)) * 0.3 + 0.6 * np.eye(d)
    means = random.normal(size=(k, d))
    states = np.empty((customers, months), dtype=int)
    states[:, 0] = random.integers(0, k, customers)
    for t in range(1, months):
        moves = random.random(customers) < 0.1
        states[:, t] = np.where(moves, random.integers(0, k, customers), states[:, t - 1])
    X = means[states.ravel()] + np.einsum("nij,nj->ni", roots[states.ravel()], random.normal(size=(states.size, d)))
    panel = Panel(np.full(states.shape, SEEN, dtype=np.int8), X, np.zeros(customers, dtype=bool))
    start = Mixture(np.full(k, 1 / k), means + random.normal(size=means.shape) * 0.5, np.tile(np.cov(X.T), (k, 1, 1)))
    memory = starting_memory(start.weights)

    began = time.perf_counter()
    ours = MarkovMixture(k, prior=None, transition_prior=0.0, mixture_init=start, tol=1e-7).fit(panel)
    our_seconds = time.perf_counter() - began

    theirs = GaussianHMM(k, covariance_type="full", covars_prior=0, covars_weight=0, min_covar=0, init_params="")
    theirs.n_iter, theirs.tol = 100, 1e-2
    inside = memory.transitions[:k, :k]
    theirs.startprob_, theirs.transmat_ = start.weights, inside / inside.sum(axis=1, keepdims=True)
    theirs.means_, theirs.covars_ = start.means, start.covariances
    began = time.perf_counter()
    theirs.fit(X, [months] * customers)
    their_seconds = time.perf_counter() - began
    print(f"{customers} customers x {months} months x {d} features, k = {k}")
    print(f"MarkovMixture {our_seconds:.2f} s, {ours.score(panel):.6f} nats a customer")
    print(f"hmmlearn      {their_seconds:.2f} s, {theirs.score(X, [months] * customers) / customers:.6f}")
    print(f"ratio         {their_seconds / our_seconds:.0f}")


def main() -> None:
    if "hmmlearn" in sys.argv[1:]:
        beside_hmmlearn()
        return
    judge("demo", "demo, March to December 2017", shop_of(*demo(), fitted=6), (3, 4, 5, 6))
    judge("cdnow", "CDNOW, July 1997 to March 1998", shop_of(*cdnow(), fitted=5), (3, 4, 5, 6))


if __name__ == "__main__":
    main()
