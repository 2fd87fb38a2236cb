"""Campaigns without a lift, with a planted one, and with a planted fault: are published lifts right as often as said?

Intervals are 95 %, so they should cover the truth in 95 % of repeats; a lift claimed where there is none is false, and
at most 5 % of campaigns may have one, over all segments of a comparison together. Beside ours, on the same customers:
Wald's interval for conversion; for value Welch's, of the capped and of the plain mean, and the percentile bootstrap;
all corrected by Bonferroni where segments are counted. The arguments are the number of repeats (1000) and the seed (0).
Takes a quarter of an hour.
"""

import gc
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from real_months import print_table
from scipy import stats

from segment_pipeline.campaigns.lift import ALPHA, CAP_QUANTILE, Lift, measure_lift, minimum_detectable_effect
from segment_pipeline.words import percent
from segment_pipeline_tests.campaigns.simulated_campaigns import Campaign, claimed, covers

EVEN = Campaign(6000, {"matched": 0.4, "random": 0.3, "control": 0.3})
LOPSIDED = Campaign(6000, {"matched": 0.8, "random": 0.1, "control": 0.1})
LIFT = {"points": 0.03, "factor": 1.3}
RESAMPLES = 1000
Interval = Callable[[np.ndarray, np.ndarray, float], tuple[float, float]]


def wald(x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[float, float]:
    error = np.sqrt(x.var() / len(x) + y.var() / len(y))
    return _around(x, y, float(stats.norm.isf(alpha / 2) * error))


def welch(x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[float, float]:
    a, b = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if a + b == 0:
        return 0.0, 0.0
    freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    return _around(x, y, float(stats.t.isf(alpha / 2, freedom) * np.sqrt(a + b)))


def _around(x: np.ndarray, y: np.ndarray, half: float) -> tuple[float, float]:
    middle = float(x.mean() - y.mean())
    return middle - half, middle + half


def bootstrap(random: np.random.Generator, x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[float, float]:
    means = _resampled(random, x) - _resampled(random, y)
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _resampled(random: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Means of resamples; zeros are only counted, because most customers are."""
    outcomes = values[values > 0]
    counts = random.binomial(len(values), len(outcomes) / len(values), RESAMPLES)
    sums = np.concatenate([[0.0], np.cumsum(random.choice(outcomes, counts.sum()))]) if len(outcomes) else np.zeros(1)
    return np.diff(sums[np.cumsum([0, *counts])]) / len(values)


def compare(campaign: Campaign, repeats: int, seed: int) -> list[list[object]]:
    """Per method: coverage in the whole campaign and in segments, and the share of comparisons in which it claims a
    lift of the whole, and of any segment."""
    random = np.random.default_rng(seed)
    others: Mapping[str, Mapping[str, Interval]] = {
        "conversion": {"Wald": wald},
        "value": {"Welch, capped": welch, "Welch, plain": welch, "bootstrap, capped": partial(bootstrap, random)},
    }
    covered, claims = defaultdict(list), defaultdict(list)
    for _ in range(repeats):
        arms, segment_ids, converted, values = campaign.drawn(random)
        in_any: dict[tuple[str, str], bool] = defaultdict(bool)
        for row in measure_lift(arms, segment_ids, converted, values, campaign.shares):
            if row.lift is None:
                continue
            whole = row.segment_id is None
            inside = np.ones(len(arms), dtype=bool) if whole else segment_ids == row.segment_id
            truth = campaign.true_lift(row.metric, row.cap)
            found = {"ours": (covers(row, truth), claimed(row))}
            for name, interval in others[row.metric].items():
                capped = values if name == "Welch, plain" else np.minimum(values, row.cap or np.inf)
                figures = converted.astype(float) if row.metric == "conversion" else capped
                target = campaign.true_lift("value") if name == "Welch, plain" else truth
                x, y = figures[inside & (arms == "matched")], figures[inside & (arms == row.against)]
                low, high = interval(x, y, ALPHA)
                corrected = (low, high) if whole else interval(x, y, ALPHA / campaign.segments)
                found[name] = (low <= target <= high, corrected[0] > 0 or corrected[1] < 0)
            for name, (right, claim) in found.items():
                covered[row.metric, name, whole].append(right)
                if whole:
                    claims[row.metric, name].append(claim)
                else:
                    in_any[row.metric + row.against, name] |= claim
        for (comparison, name), claim in in_any.items():
            claims[comparison.removesuffix("random").removesuffix("control"), name, "any"].append(claim)
    return [
        [metric, name, *map(share, (covered[metric, name, True], covered[metric, name, False]))]
        + [share(claims[metric, name]), share(claims[metric, name, "any"])]
        for metric in others
        for name in ("ours", *others[metric])
    ]


def share(found: list[bool]) -> float:
    return float(np.mean(found))


def faults(repeats: int, seed: int) -> list[list[object]]:
    """How often a campaign whose data lost matched customers without an outcome is withheld, and what it would have
    claimed: there is no lift."""
    random = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for lost in (0.0, 0.05, 0.1, 0.2):
        campaign = replace(EVEN, customers=20_000, lost=lost)
        withheld, by_size, misled = [], [], []
        for _ in range(repeats):
            arms, segment_ids, converted, values = campaign.drawn(random)
            row = measure_lift(arms, segment_ids, converted, values, campaign.shares)[0]
            withheld.append(row.verdict.startswith("withheld"))
            by_size.append(abs(np.mean(arms == "matched") - campaign.shares["matched"]) > 0.05)
            x, y = (converted[arms == arm].astype(float) for arm in ("matched", "control"))
            low, high = wald(x, y, ALPHA)
            misled.append(low > 0 or high < 0)
        rows.append([percent(lost), share(withheld), share(by_size), share(misled)])
    return rows


def power(repeats: int, seed: int) -> list[list[object]]:
    """How often a lift of the minimum detectable size is found; 0.8 was asked for."""
    random = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for campaign in (EVEN, LOPSIDED):
        sizes = (
            round(campaign.customers * campaign.shares["matched"]),
            round(campaign.customers * campaign.shares["control"]),
        )
        values = np.concatenate([campaign.drawn(random)[3] for _ in range(50)])
        capped = np.minimum(values, np.quantile(values[values > 0], CAP_QUANTILE))
        usual = float(capped.mean()), float(capped.std())
        points = minimum_detectable_effect(sizes, base_rate=campaign.rate)
        value = minimum_detectable_effect(sizes, base_value=usual)
        assert points is not None
        assert value is not None
        outcome = float(capped[capped > 0].mean())
        for metric, effect, planted in (("conversion", points, points), ("value", value, value / outcome)):
            campaigns = [replace(campaign, points=planted).measured(random) for _ in range(repeats)]
            found = [claimed(row) for lifts in campaigns for row in lifts if is_whole(row, metric)]
            rows.append([metric, f"{sizes[0]} and {sizes[1]}", effect, share(found)])
    return rows


def is_whole(row: Lift, metric: str) -> bool:
    return row.segment_id is None and row.metric == metric and row.against == "control"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    gc.freeze()  # statsmodels' multipletests collects garbage at every call, which takes longer than all the rest
    header = ("metric", "interval", "covers, whole", "covers, segment", "claims, whole", "claims, any segment")
    for arms, campaign in (("40 : 30 : 30", EVEN), ("80 : 10 : 10", LOPSIDED)):
        for lift, planted in (("no lift", campaign), ("+3 points, values x 1.3", replace(campaign, **LIFT))):
            title = f"{campaign.customers} customers, 5 segments, arms {arms}, {lift}, {repeats} repeats"
            print_table(title, header, compare(planted, repeats, seed))
    header = ("matched lost", "withheld", "5 points off", "lift claimed if not withheld")
    print_table(
        "customers without an outcome lost from the matched arm, no lift, 20,000 customers",
        header,
        faults(repeats, seed),
    )
    print_table(
        "power of the minimum detectable effect", ("metric", "customers", "effect", "found"), power(repeats, seed)
    )


if __name__ == "__main__":
    main()
