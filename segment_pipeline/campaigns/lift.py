"""Did it work? Three arms of a campaign, and what the matched action changed against the other two.

Here: where each arm ends, whether the arms have the sizes they were given, lifts with intervals and verdicts, and what
a campaign can detect before it starts. Not here: the SQL that puts customers into arms (plans_store.py), which of them
take part, and the joining of outcomes. What is expected of those: an outcome counts for a customer of the campaign when
start <= occurred_at < measure_until; `converted` is whether one counts, `value` is the sum of those that count, 0
without one. Everybody assigned counts in the arm assigned, whether the action reached them or not (intention to
treat): who could be reached is not random, the arm is.

Intervals are Newcombe's (1998): the Wilson intervals of two proportions, put together. Values get the same, by
`_wilson` with a unit. Welch's interval, the usual choice, fails here: values are skewed and mostly zero, the control
arm is the small one, and an arm of 120 customers of whom few ordered looks certain to spend little. Measured where
there is no lift, 960 customers against 120, 5 % of them converting (benchmarks/campaign_coverage.py): of intervals that
should miss zero in 5 %, Welch's does in 16 %, the percentile bootstrap's in 16 %, this one in 3 %.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array, Flags, Texts
from segment_pipeline.words import figure, percent, points

Arm = Literal["matched", "random", "control"]
Metric = Literal["conversion", "value"]

ARMS: tuple[Arm, ...] = ("matched", "random", "control")
"""matched: the action of the customer's own segment; random: another action, of a segment drawn at random; control: no
contact."""

PLACES = 2**52
"""A hash is one of so many places: 13 hex digits, exact as a double and the same on every engine that has md5."""

SAMPLE_RATIO_FAULT = 0.001
"""Below this p value the arms do not have the sizes they were given, and every lift is withheld."""

MIN_EXPECTED = 5.0
"""Where fewer are expected, the approximations behind chi-square and Newcombe give way to exact tests."""

ALPHA = 0.05
CAP_QUANTILE = 0.99


@dataclass(frozen=True)
class SampleRatio:
    """p_value : 0..1, how likely a split at least so far from the shares is by chance; 1 where there is nothing to
    compare. expected : customers that each arm should have. observed : those it has."""

    p_value: float
    expected: Mapping[Arm, float]
    observed: Mapping[Arm, int]

    @property
    def faulty(self) -> bool:
        return self.p_value < SAMPLE_RATIO_FAULT


@dataclass(frozen=True)
class Lift:
    """What the matched action changed for one metric, in one segment, against one other arm.

    segment_id : None for the whole campaign. metric : "conversion" (share of customers with an outcome, 0..1) or
    "value" (mean value per customer assigned, in the currency of the outcomes, capped at `cap`). against : the arm
    that `lift` = matched - that arm compares with. matched, random, control : the metric in each arm, None without
    customers. lift_low, lift_high : 95 % interval of the lift, not corrected for the number of segments. p_value : of
    no difference, 0..1. adjusted_p : after Holm's correction over the segments of a metric and comparison; of the
    whole campaign, p_value itself. sample_ratio_p : the smaller of the segment's and the campaign's. cap : None for
    conversion. verdict : in words, and begins with "higher", "lower", "no clear difference", "too few" or "withheld".
    Withheld rows have neither metrics nor lift; rows with too few have no lift.
    """

    segment_id: int | None
    metric: Metric
    against: Arm
    matched: float | None
    random: float | None
    control: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    p_value: float | None
    adjusted_p: float | None
    matched_customers: int
    random_customers: int
    control_customers: int
    cap: float | None
    sample_ratio_p: float
    verdict: str


def segment_salt(campaign: str) -> str:
    """The second salt, without which the random arm would see only some of the segments."""
    return f"{campaign}/segment"


def arm_limits(shares: Mapping[Arm, float]) -> list[tuple[Arm, int]]:
    """Each arm that has a share, and the place (of PLACES) below which its customers are, in the order of ARMS.

    shares : of all three arms, 0..1, summing to 1; ValueError otherwise. Changed shares move customers between arms:
    they are fixed once a campaign has begun.
    """
    _check(shares)
    given = [arm for arm in ARMS if shares[arm] > 0]
    return list(zip(given, _limits([shares[arm] for arm in given]), strict=True))


def sample_ratio(counts: Mapping[Arm, int], shares: Mapping[Arm, float]) -> SampleRatio:
    """Whether the arms have the sizes that `shares` gave them: chi-square goodness of fit.

    Where an arm should have fewer than MIN_EXPECTED customers, chi-square cries wolf (two customers in an arm that
    should have 0.2 of 20 pass for p = 0.0003), so an exact binomial test of each arm is used, the smallest p times
    their number. Customers in an arm without a share are a fault whatever their number.
    """
    from scipy import stats

    _check(shares)
    observed = {arm: int(counts.get(arm, 0)) for arm in ARMS}
    total = sum(observed.values())
    expected = {arm: total * shares[arm] for arm in ARMS}
    given = [arm for arm in ARMS if shares[arm] > 0]
    if any(observed[arm] for arm in ARMS if arm not in given):
        return SampleRatio(0.0, expected, observed)
    if total == 0 or len(given) == 1:
        return SampleRatio(1.0, expected, observed)
    if min(expected[arm] for arm in given) >= MIN_EXPECTED:
        # the shares may be off 1 by rounding, and chisquare insists on equal sums
        scale = total / math.fsum(expected[arm] for arm in given)
        found = stats.chisquare([observed[arm] for arm in given], [expected[arm] * scale for arm in given])
        return SampleRatio(float(found.pvalue), expected, observed)
    tests = [float(stats.binomtest(observed[arm], total, shares[arm]).pvalue) for arm in given]
    return SampleRatio(min(1.0, len(tests) * min(tests)), expected, observed)


def measure_lift(
    arms: Texts,
    segment_ids: NDArray[np.int64],
    converted: Flags,
    values: Array,
    shares: Mapping[Arm, float],
    cap: float | None = None,
) -> list[Lift]:
    """The lift of a campaign: the whole first, then each segment; both metrics; against random, then control.

    arms, segment_ids, converted, values : (n,), one row per customer assigned; `segment_ids` as of the assignment, the
    customer's own in every arm; `values` 0 or more, 0 where not converted. cap : values above count as the cap, which
    keeps one order from deciding; None: the 99th percentile of positive values over all arms, which lets no arm set its
    own. The lift of a capped value understates one that comes from the largest orders. An arm without a share is not
    compared with. A fault of the sample ratio in the whole campaign withholds everything; one in a segment withholds
    the segment and the whole. ValueError on lengths that differ, an unknown arm, or impossible values.
    """
    _check(shares)
    _check_customers(arms, segment_ids, converted, values)
    positive = values[values > 0]
    if cap is None and positive.size:
        cap = float(np.quantile(positive, CAP_QUANTILE))
    if cap is not None and not cap > 0:
        raise ValueError(f"cap: values above it count as the cap, so it must be above 0, not {cap}")
    measured: dict[Metric, Array] = {
        "conversion": converted.astype(np.float64),
        "value": values if cap is None else np.minimum(values, cap),
    }
    groups: list[tuple[int | None, Flags]] = [(None, np.ones(len(arms), dtype=bool))]
    groups += [(int(segment), segment_ids == segment) for segment in np.unique(segment_ids)]
    members = [[group & (arms == arm) for arm in ARMS] for _, group in groups]
    ratios = [
        sample_ratio({arm: int(rows.sum()) for arm, rows in zip(ARMS, inside, strict=True)}, shares)
        for inside in members
    ]
    faults = [_fault(i, groups, ratios) for i in range(len(groups))]

    lifts: list[list[Lift]] = []  # one list per family: a metric and a comparison
    for metric, figures in measured.items():
        parts = [[figures[rows] for rows in inside] for inside in members]
        for against in (arm for arm in ARMS[1:] if shares[arm] > 0):
            family = [
                _compare(segment, metric, against, part, cap, min(ratio.p_value, ratios[0].p_value), fault)
                for (segment, _), part, ratio, fault in zip(groups, parts, ratios, faults, strict=True)
            ]
            lifts.append(_judged(family))
    return [family[i] for i in range(len(groups)) for family in lifts]


def minimum_detectable_effect(
    customers_per_arm: int | tuple[int, int],
    *,
    base_rate: float | None = None,
    base_value: tuple[float, float] | None = None,
    alpha: float = ALPHA,
    power: float = 0.8,
) -> float | None:
    """The smallest lift that a campaign of this size finds with probability `power`; to be asked before it starts.

    customers_per_arm : of both arms, or (matched, other). Exactly one of base_rate : the other arm's conversion, 0..1,
    for a lift of conversion in absolute share (0.02: from 5 % to 7 %); base_value : mean and standard deviation of the
    capped value per customer without the action, those who spend nothing included, for a lift of the mean in the same
    unit. alpha : of a two-sided test; for the lift of one of m segments give ALPHA / m, which is what Holm's correction
    asks of the first. Returns None where not even a conversion of 100 % would be found, or an arm has fewer than two
    customers.

    The value's is that of a share in the unit of `_value_interval`: whoever spends more varies more. With the standard
    deviation alone, as for a t test, a lift of the size promised was found in 44 to 73 % of repeats instead of 80 %.
    It supposes that more customers spend (found in 77 to 83 %); where as many spend more it is found in 62 to 70 %.
    """
    from scipy.optimize import brentq
    from statsmodels.stats.proportion import power_proportions_2indep

    if not (0 < alpha < 1 and alpha < power < 1):
        raise ValueError(f"alpha and power are probabilities, alpha the smaller, not {alpha} and {power}")
    matched, other = customers_per_arm if isinstance(customers_per_arm, tuple) else (customers_per_arm,) * 2
    share, unit = _base_share(base_rate, base_value)
    if min(matched, other) < 2:
        return None

    def surplus(lift: float) -> float:
        found = power_proportions_2indep(lift, share, matched, other / matched, alpha, return_results=False)
        return float(found) - power

    largest = (1 - share) * (1 - 1e-9)
    smallest = largest * 1e-9
    return unit * float(brentq(surplus, smallest, largest)) if surplus(largest) > 0 else None


def _base_share(base_rate: float | None, base_value: tuple[float, float] | None) -> tuple[float, float]:
    """What is usual, as a share 0..1 of a unit; of conversion the unit is 1."""
    if base_rate is not None and base_value is None:
        if not 0 <= base_rate < 1:
            raise ValueError(f"base_rate: a conversion that can rise is 0 or more and below 1, not {base_rate}")
        return base_rate, 1.0
    if base_value is None or base_rate is not None:
        raise ValueError("give either base_rate, for conversion, or base_value, for value")
    mean, sd = base_value
    if not (math.isfinite(mean) and math.isfinite(sd) and mean > 0 and sd > 0):
        raise ValueError(f"base_value: mean and standard deviation are above 0, not {mean} and {sd}")
    unit = (sd * sd + mean * mean) / mean
    return mean / unit, unit


class _Estimate(NamedTuple):
    """matched - other, its 95 % interval, and the p value of no difference."""

    matched: float
    other: float
    low: float
    high: float
    p_value: float


def _compare(
    segment_id: int | None,
    metric: Metric,
    against: Arm,
    parts: Sequence[Array],
    cap: float | None,
    sample_ratio_p: float,
    fault: str | None,
) -> tuple[Lift, _Estimate | None]:
    """One comparison and its estimate, None where there is none and the row says why; `parts` are the figures of each
    arm's customers."""
    means = [float(part.mean()) if len(part) and not fault else None for part in parts]
    x, y = parts[0], parts[ARMS.index(against)]
    reason = fault or _too_few(x, y, metric, against)
    row = Lift(
        segment_id=segment_id,
        metric=metric,
        against=against,
        matched=means[0],
        random=means[1],
        control=means[2],
        lift=None,
        lift_low=None,
        lift_high=None,
        p_value=None,
        adjusted_p=None,
        matched_customers=len(parts[0]),
        random_customers=len(parts[1]),
        control_customers=len(parts[2]),
        cap=cap if metric == "value" else None,
        sample_ratio_p=sample_ratio_p,
        verdict=reason or "",
    )
    if reason:
        return row, None
    low, high, p_value = _conversion_interval(x, y) if metric == "conversion" else _value_interval(x, y)
    return row, _Estimate(float(x.mean()), float(y.mean()), low, high, p_value)


def _too_few(x: Array, y: Array, metric: Metric, against: Arm) -> str | None:
    """Why two arms cannot be compared, None where they can."""
    for arm, part in (("matched", x), (against, y)):
        if len(part) < 2:
            customers = "1 customer" if len(part) else "no customers"
            return f"too few: {customers} in {arm}, at least 2 in each arm are needed"
    if min(x.min(), y.min()) == max(x.max(), y.max()):
        what = f"every customer has the same {metric}" if x.any() else "no outcome in either arm"
        return f"too few: {what}, so nothing can be compared"
    return None


def _conversion_interval(x: Array, y: Array) -> tuple[float, float, float]:
    """Newcombe's interval of the difference of two shares, and the p value of none."""
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep

    (a, n), (b, m) = (int(x.sum()), len(x)), (int(y.sum()), len(y))
    low, high = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff", alpha=ALPHA)
    pooled = (a + b) / (n + m)
    if min(pooled, 1 - pooled) * min(n, m) >= MIN_EXPECTED:
        p_value = _newcombe_p((a / n, n, 1.0), (b / m, m, 1.0))
    else:  # at one expected outcome, alpha 0.01 was measured as 0.013: after Holm's correction, more than 5 %
        p_value = float(fisher_exact([[a, n - a], [b, m - b]]).pvalue)
    return float(low), float(high), p_value


def _value_interval(x: Array, y: Array) -> tuple[float, float, float]:
    """Newcombe's interval carried to values, and the p value of no difference.

    The variance of a share is mean * (1 - mean); that of values with many zeros is mean * (unit - mean), where unit is
    the sum of squares over the sum. In that unit the mean is a share, and Wilson's interval applies: its upper end
    allows for outcomes that a small arm happened not to see. unit : that of both arms together, or the arm's own where
    it is greater: a small arm has rarely seen its own large values. Where all outcomes have one value it is Newcombe's.
    """
    from scipy.special import ndtri

    both = float(x @ x + y @ y) / float(x.sum() + y.sum())
    units = [max(both, float(part @ part) / float(part.sum())) if part.any() else both for part in (x, y)]
    first, second = (float(x.mean()), len(x), units[0]), (float(y.mean()), len(y), units[1])
    low, high = _newcombe(first, second, -float(ndtri(ALPHA / 2)))
    return low, high, _newcombe_p(first, second)


Measured = tuple[float, int, float]
"""mean, customers, unit: of one arm."""


def _wilson(arm: Measured, z: float) -> tuple[float, float]:
    """Wilson's interval of a mean that is a share of `unit`; z in standard errors, up to 38, where statsmodels, which
    asks for the tail's probability instead, has left the doubles."""
    mean, customers, unit = arm
    share, spread = mean / unit, z * z / customers
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(max(share * (1 - share), 0.0) * spread + spread * spread / 4) / (1 + spread)
    return unit * (centre - half), unit * (centre + half)


def _newcombe(first: Measured, second: Measured, z: float) -> tuple[float, float]:
    """The interval of first - second from the Wilson intervals of both (Newcombe 1998, method 10)."""
    (low, high), (other_low, other_high) = _wilson(first, z), _wilson(second, z)
    difference = first[0] - second[0]
    return (
        difference - math.hypot(first[0] - low, other_high - second[0]),
        difference + math.hypot(second[0] - other_low, high - first[0]),
    )


def _newcombe_p(first: Measured, second: Measured) -> float:
    """The p value at which the interval just reaches zero, so that the two never contradict each other."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    if first[0] == second[0]:
        return 1.0
    end, sign = (0, 1.0) if first[0] > second[0] else (1, -1.0)

    def distance(z: float) -> float:
        return sign * _newcombe(first, second, z)[end]

    farthest = 38.0  # beyond it the normal tail is 0 as a double
    return 0.0 if distance(farthest) > 0 else float(2 * ndtr(-brentq(distance, 0.0, farthest)))


def _judged(family: Sequence[tuple[Lift, _Estimate | None]]) -> list[Lift]:
    """The rows with lifts, corrected p values and verdicts: the whole campaign by itself, the segments by Holm."""
    from statsmodels.stats.multitest import multipletests

    tested = [found.p_value for row, found in family if row.segment_id is not None and found is not None]
    corrected = iter(multipletests(tested, alpha=ALPHA, method="holm")[1] if tested else [])
    judged = []
    for row, found in family:
        if found is None:
            judged.append(row)
            continue
        whole = row.segment_id is None
        adjusted = found.p_value if whole else float(next(corrected))
        judged.append(
            replace(
                row,
                lift=found.matched - found.other,
                lift_low=found.low,
                lift_high=found.high,
                p_value=found.p_value,
                adjusted_p=adjusted,
                verdict=_verdict(row, found, adjusted, 1 if whole else len(tested)),
            )
        )
    return judged


def _verdict(row: Lift, found: _Estimate, adjusted: float, tests: int) -> str:
    """What was found, in words: a lift is claimed only where both the interval and the corrected p value say so."""
    lift = found.matched - found.other
    if row.metric == "conversion":
        figures = (
            f"{percent(found.matched, 1)} against {percent(found.other, 1)} of {row.against}, {points(lift)} points "
            f"(95 % interval {points(found.low)} to {points(found.high)})"
        )
    else:
        figures = (
            f"{found.matched:.2f} against {found.other:.2f} of {row.against} per customer, {lift:+.2f} "
            f"(95 % interval {found.low:+.2f} to {found.high:+.2f}; values capped at {row.cap:.2f})"
        )
    apart = found.low > 0 or found.high < 0
    if apart and adjusted < ALPHA:
        return f"{'higher' if lift > 0 else 'lower'}: {figures}"
    if apart and found.p_value < ALPHA:
        return f"no clear difference: {figures}; among {tests} segments one such interval is no surprise (Holm)"
    if apart:
        return f"no clear difference: {figures}; with so few outcomes the exact test does not confirm the interval"
    return f"no clear difference: {figures}"


def _fault(index: int, groups: Sequence[tuple[int | None, Flags]], ratios: Sequence[SampleRatio]) -> str | None:
    """Why the group's lift is withheld, None where it is not."""
    if ratios[0].faulty:
        return _withheld("the campaign", ratios[0])
    if ratios[index].faulty:
        return _withheld(f"segment {groups[index][0]}", ratios[index])
    if index == 0:
        faulty = [i for i, ratio in enumerate(ratios) if ratio.faulty]
        return _withheld(f"segment {groups[faulty[0]][0]}", ratios[faulty[0]]) if faulty else None
    return None


def _withheld(where: str, ratio: SampleRatio) -> str:
    sizes = ", ".join(f"{arm} {ratio.observed[arm]:,} of {ratio.expected[arm]:,.1f} expected" for arm in ARMS)
    chance = f"p value {figure(ratio.p_value, 1)}"
    return (
        f"withheld: the arms of {where} do not have the sizes they were given ({sizes}; {chance}), so "
        "they are not comparable; look for customers lost, added or moved after the assignment"
    )


def _limits(shares: Sequence[float]) -> list[int]:
    """The places below which each share ends; whole numbers, so that no engine's rounding moves a customer."""
    inner = [min(PLACES, round(math.fsum(shares[: i + 1]) * PLACES)) for i in range(len(shares) - 1)]
    return [*inner, PLACES]


def _check(shares: Mapping[Arm, float]) -> None:
    if set(shares) != set(ARMS):
        raise ValueError(f"shares: needs {', '.join(ARMS)} and nothing else, got {', '.join(shares) or 'nothing'}")
    for arm, share in shares.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise ValueError(f"shares.{arm}: a share is between 0 and 1, not {share}")
    total = math.fsum(shares.values())
    if abs(total - 1) > 1e-9:
        raise ValueError(f"shares: {', '.join(ARMS)} must add up to 1, not {total:g}")


def _check_customers(arms: Texts, segment_ids: NDArray[np.int64], converted: Flags, values: Array) -> None:
    lengths = {"arms": len(arms), "segment_ids": len(segment_ids), "converted": len(converted), "values": len(values)}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"one row per customer is needed in each, got {lengths}")
    unknown = sorted(set(np.unique(arms).tolist()) - set(ARMS))
    if unknown:
        raise ValueError(f"arms: {', '.join(map(repr, unknown))} is not one of {', '.join(ARMS)}")
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError("values: every value must be a number, 0 or more")
    if np.any((values > 0) & ~converted):
        raise ValueError("values: a customer without an outcome has the value 0")
