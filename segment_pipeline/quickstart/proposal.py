"""What to segment by, from the numbers themselves: which columns are worth it, and in which space a mixture sees them.

Here: proposals with their reasons, from arrays. Not here: how a file is read (csv_table.py), and what
becomes of the proposals (plan.py). A proposal is where a person starts from; every one of them can be overruled.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from segment_pipeline.arrays import Array, Flags
from segment_pipeline.column_names import (
    COORDINATE,
    FREQUENCY,
    GROWS,
    MEASURE,
    MONEY,
    PHONE,
    POSTAL,
    RATIO,
    RECENCY,
    YEAR,
    hints_of,
)
from segment_pipeline.customers.worth import (
    SEARCHED_COMPONENTS,
    FeatureWorth,
    explained,
    feature_worth,
    why_none_is_sound,
)
from segment_pipeline.mixture.features import (
    LARGE_ATOM,
    SHARED_VALUE,
    FeatureDiagnostics,
    FeatureSpace,
    apply_transform,
    correlations,
    diagnose_features,
    find_dependence,
    skewness,
    variance_inflation,
)
from segment_pipeline.words import figure, percent

MOST_FEATURES = 6
"""Beyond six a covariance has more numbers than a month can support, and nobody can keep the profiles in mind."""

FEWEST_FEATURES = 2
"""With one feature a segment is a range of it, which needs no mixture."""

MAX_MISSING_SHARE = 0.05
"""Share of customers without a number from which a column is left out: each of them is rejected, and a month stops when
more than `quality.max_rejected_share` (the same) are."""

MOSTLY_ONE_VALUE = 0.6
"""Share of customers with one value from which a column is a yes or no, and says nothing of most customers. From
`LARGE_ATOM` up to here that value is proposed as a segment by rule instead."""

MAX_REDUNDANCY = 0.9
"""R^2 of a feature on the others from which it is left out: a variance inflation of 10, the usual rule of thumb
(Marquardt 1970). The gate that refuses a fit stands at 0.99; what lies between can be fitted, and then two features
have the weight that one should have."""

FEW_OUTSIDE = 0.01
"""Share of customers with an impossible value (a negative number of orders) up to which they are rejected; where more
are negative, negative values are taken to have a meaning."""

ENOUGH_LIKE_NORMAL = 0.5
"""Skewness, in absolute value, up to which a feature needs no transform."""

PLAINER_BY = 0.25
"""A transform is passed over for a plainer one whose skewness is larger by no more than this."""

STEPS_OF_A_CONTINUOUS_FEATURE = 1000
"""Where no step is to be seen, it is taken to be the middle 98 % of the values over this, rounded down to a power of
ten."""

_MOST_DECIMALS = 6
_ON_THE_STEPS = 0.999
"""Share of the values that have to lie on the steps of a resolution."""

FEWEST_DIGITS_OF_A_CODE = 4


@dataclass(frozen=True)
class FeatureProposal:
    """One feature as it would stand in the user's file.

    transform : "none", "log", "log1p" or "logit". resolution, low, high : original units; low and high are the valid
    range, None for no limit. skewness, skewness_transformed : before and after; 0 = symmetric. outside : customers
    beyond the valid range. why : the reason for the transform, in words.
    """

    name: str
    transform: str
    resolution: float
    low: float | None
    high: float | None
    skewness: float
    skewness_transformed: float
    outside: int
    why: str


@dataclass(frozen=True)
class LeftOut:
    """A column that is not proposed, and why. proposal : what it would be as a feature; None where it cannot be one."""

    name: str
    reason: str
    proposal: FeatureProposal | None = None


@dataclass(frozen=True)
class Overrides:
    """What the user has decided: the features (None: to be chosen), and for single ones transform and resolution."""

    features: Sequence[str] | None = None
    transforms: Mapping[str, str] = field(default_factory=dict)
    resolutions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """Features to segment by, in the order of the columns, and all others with the reason against them.

    hurdle : (feature, value), one value that so many share that it should be a segment by rule; None where none is.
    recency, frequency : the features that give segments their roles; None where none looks like it. remarks : what a
    person should know, one sentence each. rejected : share of customers, 0..1, without a number in some feature or
    with an impossible one.
    """

    features: tuple[FeatureProposal, ...]
    left_out: tuple[LeftOut, ...]
    hurdle: tuple[str, float] | None
    recency: str | None
    frequency: str | None
    remarks: tuple[str, ...]
    rejected: float


def propose_features(
    columns: Mapping[str, Array],
    overrides: Overrides | None = None,
    unwanted: Mapping[str, str] | None = None,
    worth: Callable[[Sequence[FeatureProposal]], Sequence[FeatureWorth]] | None = None,
) -> Proposal:
    """The 2 to 6 columns worth segmenting by.

    columns : name -> (n,) values, NaN where there is no number; the same customers in all of them. unwanted : columns
    of which something speaks against them that their values do not show, with the reason. worth : of features beside
    one another, where an earlier window tells what lasts: of too many those are taken that separate and last.
    """
    unwanted = unwanted or {}
    overrides = overrides or Overrides()
    proposals: dict[str, FeatureProposal] = {}
    left_out: dict[str, LeftOut] = {}
    wanted = list(columns) if overrides.features is None else list(overrides.features)
    for name, values in columns.items():
        if name not in wanted:
            left_out[name] = LeftOut(name, "not among --features", _proposed_or_none(name, values, overrides))
            continue
        forced = overrides.features is not None
        reason = unfit(values, forced=forced) or (
            None if forced else unwanted.get(name) or what_it_stands_for(name, values)
        )
        if reason is None:
            proposals[name] = propose_feature(
                name, values, overrides.transforms.get(name), overrides.resolutions.get(name)
            )
        else:
            left_out[name] = LeftOut(name, reason, _proposed_or_none(name, values, overrides))
    if overrides.features is None:
        for too_many in (_repetitions, partial(_beyond_the_most, worth=worth), _too_often_missing_together):
            for dropped in too_many(proposals, columns):
                left_out[dropped.name] = dropped
                del proposals[dropped.name]
    chosen = tuple(proposals.values())
    hurdle = _hurdle(_diagnostics(chosen, columns))
    return _proposal(chosen, [left_out[name] for name in columns if name in left_out], hurdle, columns)


def _proposal(
    features: Sequence[FeatureProposal],
    left_out: Sequence[LeftOut],
    hurdle: tuple[str, float] | None,
    columns: Mapping[str, Array],
) -> Proposal:
    """The proposal of these features and this rule, with what follows from them."""
    recency, frequency = roles_by_name([one.name for one in features])
    return Proposal(
        features=tuple(features),
        left_out=tuple(left_out),
        hurdle=hurdle,
        recency=recency,
        frequency=frequency,
        remarks=tuple(_remarks(features, hurdle, _diagnostics(features, columns))),
        rejected=1.0 - float(_usable(features, columns).mean()) if features else 0.0,
    )


def features_to_cut(proposal: Proposal) -> list[str]:
    """By which features customers are grouped where no mixture is to be trusted, the better first: recency, frequency
    and money, the other proposed ones, then those that were left out and are numbers all the same."""
    names = [one.name for one in proposal.features]
    return list(dict.fromkeys([*_named_first(names), *names, *(one.name for one in proposal.left_out if one.proposal)]))


def without_what_spoils(
    proposal: Proposal,
    columns: Mapping[str, Array],
    seed: int,
    hurdle: tuple[str, float] | None = None,
    segments: tuple[int, int] | None = None,
    searches: int = 1,
) -> Proposal:
    """The proposal without the feature that leaves no mixture sound: one of few values to the cent, or one that repeats
    another for nearly everybody. Where too few would be left, a value that many share becomes a segment by rule; where
    nothing helps all stays, and the month says why it came to nothing.

    seed : of the quick mixtures that tell. hurdle : the user's own rule, which stays. segments : how many, fewest and
    most, where the user has said it. searches : with more than one, independent ones have to agree as well.
    """
    components = SEARCHED_COMPONENTS if segments is None else range(segments[0], segments[1] + 1)

    def why_not(features: Sequence[FeatureProposal], rule: tuple[str, float] | None) -> str | None:
        X = np.column_stack([columns[one.name][_usable(features, columns)] for one in features])
        return why_none_is_sound(_space(features, columns)[0], X, seed, hurdle or rule, components, searches)

    features, rule = list(proposal.features), proposal.hurdle
    reason = why_not(features, rule) if len(features) >= FEWEST_FEATURES else None
    if reason is None:
        return proposal
    named = _named_first([one.name for one in features])
    # first what the reason speaks of, of these not recency, frequency and money, but what many have the same of
    suspects = sorted(
        _diagnostics(features, columns),
        key=lambda row: (
            re.search(rf"\b{re.escape(row.feature)}\b", reason) is None,
            row.feature in named,
            -row.largest_atom_share,
        ),
    )
    for suspect in suspects:
        spoiler = next(one for one in features if one.name == suspect.feature)
        kept = [one for one in features if one is not spoiler]
        own = None if rule is not None and rule[0] == spoiler.name else rule
        ruled = hurdle is not None and hurdle[0] == spoiler.name
        if len(kept) >= FEWEST_FEATURES and not ruled and why_not(kept, own) is None:
            left = LeftOut(spoiler.name, _spoiling_in_words(suspect, reason), spoiler)
            return _proposal(kept, [*proposal.left_out, left], own, columns)
    for suspect in suspects if rule is None and hurdle is None else ():
        own = (suspect.feature, suspect.largest_atom)
        if suspect.largest_atom_share >= SHARED_VALUE and why_not(features, own) is None:
            return _proposal(features, proposal.left_out, own, columns)
    return proposal


def _spoiling_in_words(commonest: FeatureDiagnostics, reason: str) -> str:
    """Why a feature is left out that spoils every fit. reason : what is unsound of the simplest mixture with it."""
    share = commonest.largest_atom_share
    if share < SHARED_VALUE:
        return f"with it no mixture is sound: {reason}"
    value = figure(commonest.largest_atom, 6)
    return f"{percent(share, 1)} of the customers have {value}, and with it no mixture is sound, without it one is"


def worth_of(proposal: Proposal, columns: Mapping[str, Array], seed: int) -> list[FeatureWorth]:
    """What each proposed feature is worth beside the others, in their order; none where they cannot be compared."""
    rows = _usable(proposal.features, columns)
    X = np.column_stack([columns[one.name][rows] for one in proposal.features])
    space, Z = _space(proposal.features, columns)
    if len(Z) <= len(proposal.features) or find_dependence(space.names, Z, space) is not None:
        return []
    return feature_worth(space, X, seed)


def unfit(values: Array, *, forced: bool = False) -> str | None:
    """Why a column of these (n,) values cannot be a feature, or should not; None when it can. forced : the user asks
    for it, and only what makes it impossible counts."""
    known = values[np.isfinite(values)]
    missing = 1.0 - len(known) / max(1, len(values))
    if not len(known):
        return "it is empty"
    if np.ptp(known) == 0:
        return f"it is {figure(known[0], 6)} for every customer"
    if forced:
        return None
    if missing > MAX_MISSING_SHARE:
        return f"{percent(missing)} of the customers have no number there"
    found, counts = np.unique(known, return_counts=True)
    if len(found) == 2:
        return f"it has two values only ({figure(found[0], 6)} and {figure(found[1], 6)}): a yes or no"
    if looks_like_an_id(known):
        return "its values look like an id: whole numbers, nearly each of them once, one after the other"
    largest = counts.max() / len(values)
    if largest > MOSTLY_ONE_VALUE:
        value = found[int(np.argmax(counts))]
        return f"{percent(largest)} of the customers have {figure(value, 6)}: it says nothing of most of them"
    return None


def looks_like_an_id(known: Array) -> bool:
    """Whether (n,) numbers count something up rather than measure it."""
    whole = bool(np.all(known == np.round(known)))
    distinct = len(np.unique(known))
    return whole and distinct >= 0.99 * len(known) >= 20 and float(np.ptp(known)) < 2.0 * len(known)


def what_it_stands_for(name: str, values: Array) -> str | None:
    """Why numbers are names of something, of which neither a sum nor a mean means anything; None when they measure.

    values : (n,), NaN where there is no number. A name alone is not enough: orders_last_year counts orders.
    """
    known = values[np.isfinite(values)]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    if GROWS.search(words):
        return (
            "it only grows with time: a model on it is out of date every month, and what it says of new and old fades"
        )
    if COORDINATE.search(words) and np.abs(known).max() <= 180:
        return "it is a coordinate: a place, and no amount of anything"
    if not np.all(known == np.round(known)):
        return None
    typical = float(np.median(known))
    if POSTAL.search(words) and typical >= 100:
        return "it is a postcode: a name for a place, and no amount of anything"
    if PHONE.search(words) and typical >= 10_000:
        return "it is a phone number, and no amount of anything"
    if YEAR.search(words) and known.min() >= 1800 and known.max() <= 2200:
        return "it is a year: a point in time; how long ago it is could be a feature"
    once_each = len(np.unique(known)) >= 0.99 * len(known) >= 20
    if once_each and typical >= 10 ** (FEWEST_DIGITS_OF_A_CODE - 1) and {"id"} == hints_of(name) - {"person"}:
        return "it is called an id, and different for every customer"
    digits = int(np.log10(typical)) + 1 if typical >= 1 else 0
    same_width = 10 ** (digits - 1) <= known.min() and known.max() < 10**digits
    measured = any(pattern.search(name) for pattern in (RECENCY, FREQUENCY, RATIO, MONEY, MEASURE))
    if digits >= FEWEST_DIGITS_OF_A_CODE and same_width and not measured and propose_resolution(known) == 1.0:
        return f"its values look like codes: whole numbers of {digits} digits, every one"
    return None


def propose_feature(
    name: str, values: Array, transform: str | None = None, resolution: float | None = None
) -> FeatureProposal:
    """Transform, resolution and valid range of one column; the first two where they are not given.

    values : (n,), NaN where there is no number; at least two different ones.
    """
    known = values[np.isfinite(values)]
    step = propose_resolution(known) if resolution is None else resolution
    floor = 0.0 if 0 < np.mean(known < 0) <= FEW_OUTSIDE else None
    inside = known if floor is None else known[known >= 0]
    before = skewness(inside)
    if transform is None:
        transform, why = propose_transform(inside, step)
    else:
        why = "as asked"
    low, high = _valid_range(inside, transform, step)
    usable = known[(known >= (-np.inf if low is None else low)) & (known <= (np.inf if high is None else high))]
    after = skewness(apply_transform(usable, transform, step)) if len(usable) else before
    return FeatureProposal(name, transform, step, low, high, before, after, len(known) - len(usable), why)


def propose_resolution(known: Array) -> float:
    """The step in which finite values come: the largest power of ten of which nearly all are multiples (prices in
    cents: 0.01; orders: 1; incomes in thousands: 1000)."""
    largest = float(np.max(np.abs(known)))
    top = int(np.floor(np.log10(largest))) if largest > 0 else 0
    for exponent in range(top, -_MOST_DECIMALS - 1, -1):
        if exponent > 0 and exponent >= top:
            continue  # a step as large as the values themselves leaves two or three of them: not a measurement
        steps = known / 10.0**exponent
        # beyond a twentieth of a step any number would be near to one
        near = np.minimum(1e-6 * np.maximum(1.0, np.abs(steps)), 0.05)
        if np.mean(np.abs(steps - np.round(steps)) <= near) >= _ON_THE_STEPS:
            return float(10.0**exponent) if exponent >= 0 else float(f"1e{exponent}")
    low, high = np.quantile(known, [0.01, 0.99])
    width = float(high - low) or float(np.ptp(known))
    exponent = int(np.floor(np.log10(width / STEPS_OF_A_CONTINUOUS_FEATURE)))
    return float(f"1e{exponent}")


def propose_transform(known: Array, resolution: float) -> tuple[str, str]:
    """The plainest transform after which finite values are least skewed, and why in words.

    none, where that will do; logit for shares between 0 and 1; log1p for counts and money, log for values so small that
    one more changes them.
    """
    skew = {"none": skewness(known)}
    low, high = float(known.min()), float(known.max())
    if low >= 0 and high <= 1 and resolution < 1:
        skew["logit"] = skewness(apply_transform(known, "logit", resolution))
    elif low >= 0:
        skew["log1p"] = skewness(apply_transform(known, "log1p", resolution))
    if low > 0 and "logit" not in skew and np.median(known) < 1:
        skew["log"] = skewness(apply_transform(known, "log", resolution))
    if abs(skew["none"]) <= ENOUGH_LIKE_NORMAL:
        return "none", f"skewness {_skewness(skew['none'])}"
    best = min(abs(value) for value in skew.values())
    chosen = next(
        name for name in ("none", "logit", "log1p", "log") if name in skew and abs(skew[name]) <= best + PLAINER_BY
    )
    if chosen == "none":
        return "none", f"skewness {_skewness(skew['none'])}, and no transform lowers it"
    return chosen, f"skewness {_skewness(skew['none'])}, after it {_skewness(skew[chosen])}"


def _valid_range(known: Array, transform: str, step: float) -> tuple[float | None, float | None]:
    """What the values can be at all: nothing below zero where nothing is, nothing outside a transform's domain."""
    low = 0.0 if known.min() >= 0 else None
    if transform == "logit":
        return 0.0, 1.0
    if transform == "log":
        positive = known[known > 0]
        # well below the least that is there: a later month's may be smaller
        return float(f"1e{int(np.floor(np.log10(positive.min()))) - 1}") if len(positive) else step, None
    if transform == "log1p":
        return 0.0, None
    return low, None


def _proposed_or_none(name: str, values: Array, overrides: Overrides) -> FeatureProposal | None:
    known = values[np.isfinite(values)]
    if not len(known) or np.ptp(known) == 0:
        return None
    return propose_feature(name, values, overrides.transforms.get(name), overrides.resolutions.get(name))


# --- features beside one another --------------------------------------------------------------------------------------


def _repetitions(proposals: Mapping[str, FeatureProposal], columns: Mapping[str, Array]) -> list[LeftOut]:
    """Features that the others give already, one after the other until none is left."""
    features = list(proposals.values())
    if len(features) < FEWEST_FEATURES:
        return []
    everything, dropped = _filled_space(features, columns), []
    kept = list(range(len(features)))
    while len(kept) > 1:
        space, Z = everything[0].part(kept), everything[1][:, kept]
        if len(Z) <= len(kept):
            break
        found = find_dependence(space.names, Z, space)
        if found is not None:
            name, reason = found.drop, f"it repeats others: {found.combination}"
        else:
            correlation = correlations(Z)
            redundancy = 1.0 - 1.0 / variance_inflation(correlation)
            if redundancy.max() <= MAX_REDUNDANCY:
                break
            j = len(kept) - 1 - int(np.argmax(redundancy[::-1]))  # of equals, the one further right in the file
            partner = int(np.argmax(np.abs(correlation[j]) * (np.arange(len(kept)) != j)))
            roles = roles_by_name(space.names)
            if space.names[j] in roles and space.names[partner] not in roles:
                j, partner = partner, j  # recency and frequency give segments their roles: what repeats them goes
            name = space.names[j]
            reason = (
                f"{percent(redundancy[j])} of its variance is known from the others, {space.names[partner]} most of all"
            )
        kept.remove(everything[0].names.index(name))
        dropped.append(LeftOut(name, reason, proposals[name]))
    return dropped


def _beyond_the_most(
    proposals: Mapping[str, FeatureProposal],
    columns: Mapping[str, Array],
    worth: Callable[[Sequence[FeatureProposal]], Sequence[FeatureWorth]] | None = None,
) -> list[LeftOut]:
    """Features past the most that a mixture should have: those that add least to the ones taken before.

    What a customer's recency, frequency and money are called is taken first; then the feature of which the taken ones
    know least, less what many customers share of it, times what it separates and lasts, where that is known.
    """
    if len(proposals) <= MOST_FEATURES:
        return []
    space, Z = _filled_space(list(proposals.values()), columns)
    atoms = {row.feature: row.largest_atom_share for row in _diagnostics(list(proposals.values()), columns)}
    names = list(space.names)
    measured = {one.feature: one for one in (worth(list(proposals.values())) if worth is not None else ())}
    # money is not taken for its name where its worth is known: orders of any worth are made by chance in some shops
    taken = _named_first(names) if not measured else [name for name in roles_by_name(names) if name is not None]

    def known(name: str) -> float:
        return explained(Z, names.index(name), [names.index(one) for one in taken if one != name])

    def adds(name: str) -> float:
        own = measured.get(name)
        told = [one for one in (own.persists, own.separates) if one is not None] if own is not None else []
        return (1 - known(name)) * (1 - atoms[name]) * (float(np.mean(told)) if told else 1.0)

    while len(taken) < MOST_FEATURES:
        taken.append(max((name for name in names if name not in taken), key=adds))
    return [
        LeftOut(name, _beyond_in_words(known(name), atoms[name], measured.get(name)), proposals[name])
        for name in names
        if name not in taken
    ]


def _beyond_in_words(known: float, atom: float, worth: FeatureWorth | None) -> str:
    """Why others were taken before a feature, which by itself has nothing against it."""
    said = [f"{percent(known)} of its variance is known from them", f"{percent(atom)} of the customers share one value"]
    lasts, separates = (None, None) if worth is None else (worth.persists, worth.separates)
    said += [f"it lasts {lasts:.2f}"] if lasts is not None else []
    said += [f"beside all that last it separates {separates:.2f}"] if separates is not None else []
    return f"{MOST_FEATURES} features are enough, and by all of this together they say more: {', '.join(said)}"


def _too_often_missing_together(
    proposals: Mapping[str, FeatureProposal], columns: Mapping[str, Array]
) -> list[LeftOut]:
    """Features to do without so that no more than the accepted share of customers is rejected by all together."""
    kept, dropped = dict(proposals), []
    while len(kept) > FEWEST_FEATURES and 1.0 - _usable(list(kept.values()), columns).mean() > MAX_MISSING_SHARE:
        missing = {name: 1.0 - float(_usable([one], columns).mean()) for name, one in kept.items()}
        name = max(kept, key=lambda candidate: missing[candidate])
        reason = (
            f"{percent(missing[name])} of the customers have no possible number there, and with the other features' "
            f"more than {percent(MAX_MISSING_SHARE)} would be rejected"
        )
        dropped.append(LeftOut(name, reason, kept.pop(name)))
    return dropped


def _named_first(names: Sequence[str]) -> list[str]:
    recency, frequency = roles_by_name(names)
    money = next((name for name in names if MONEY.search(name) and name not in (recency, frequency)), None)
    return [name for name in (recency, frequency, money) if name is not None]


def roles_by_name(names: Sequence[str]) -> tuple[str | None, str | None]:
    """Which features are recency and frequency, by what they are called."""
    recency = next((name for name in names if RECENCY.search(name)), None)
    frequency = next(
        (name for name in names if FREQUENCY.search(name) and not RATIO.search(name) and name != recency), None
    )
    return recency, frequency


def _usable(features: Sequence[FeatureProposal], columns: Mapping[str, Array]) -> Flags:
    """(n,) customers with a possible number in every one of these features."""
    rows = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for one in features:
        values = columns[one.name]
        rows &= np.isfinite(values)
        with np.errstate(invalid="ignore"):
            rows &= (values >= (-np.inf if one.low is None else one.low)) & (
                values <= (np.inf if one.high is None else one.high)
            )
    return rows


def _space(features: Sequence[FeatureProposal], columns: Mapping[str, Array]) -> tuple[FeatureSpace, Array]:
    rows = _usable(features, columns)
    X = np.column_stack([columns[one.name][rows] for one in features])
    if not len(X):
        return FeatureSpace((), (), (), np.empty(0), np.empty(0), np.empty(0)), X
    space = FeatureSpace.fit(features, X)  # type: ignore[arg-type]  # has what it reads: name, transform, resolution
    return space, space.transform(X)


def _filled_space(features: Sequence[FeatureProposal], columns: Mapping[str, Array]) -> tuple[FeatureSpace, Array]:
    """The same of all customers, at the median of a feature where they have no possible number: of many columns with
    gaps hardly anybody has a number in each."""
    filled = []
    for one in features:
        values, usable = columns[one.name], _usable([one], columns)
        filled.append(np.where(usable, values, np.median(values[usable])))
    space = FeatureSpace.fit(features, np.column_stack(filled))  # type: ignore[arg-type]  # as in `_space`
    return space, space.transform(np.column_stack(filled))


def _diagnostics(features: Sequence[FeatureProposal], columns: Mapping[str, Array]) -> list[FeatureDiagnostics]:
    rows = _usable(features, columns) if features else np.zeros(0, dtype=bool)
    if not rows.any():
        return []
    X = np.column_stack([columns[one.name][rows] for one in features])
    space, Z = _space(features, columns)
    return diagnose_features(space, X, Z)


# --- what to say ------------------------------------------------------------------------------------------------------


def _hurdle(diagnostics: Sequence[FeatureDiagnostics]) -> tuple[str, float] | None:
    shared = [row for row in diagnostics if row.largest_atom_share > LARGE_ATOM]
    if not shared:
        return None
    largest = max(shared, key=lambda row: row.largest_atom_share)
    return largest.feature, largest.largest_atom


def _remarks(
    features: Sequence[FeatureProposal],
    hurdle: tuple[str, float] | None,
    diagnostics: Sequence[FeatureDiagnostics],
) -> list[str]:
    found = []
    if hurdle is not None:
        share = next(row.largest_atom_share for row in diagnostics if row.feature == hurdle[0])
        found.append(
            f"{percent(share)} of the customers have {hurdle[0]} = {figure(hurdle[1], 6)}: they are a segment by "
            "rule, and "
            f"the mixture describes the others"
        )
    found += [
        f"{one.outside:,} customers have an impossible {one.name} (below {figure(one.low, 6)}) and are rejected"
        if one.low is not None
        else f"{one.outside:,} customers have an impossible {one.name} and are rejected"
        for one in features
        if one.outside
    ]
    return found


def without_hurdle(proposal: Proposal) -> Proposal:
    """The same, with no value made a segment by rule."""
    return replace(proposal, hurdle=None, remarks=tuple(_remarks(proposal.features, None, [])))


def _skewness(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # adding zero takes the sign from -0.0
