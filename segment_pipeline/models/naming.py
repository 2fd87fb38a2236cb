"""Names and roles of a new champion's segments, from their figures beside the population's."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, count

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.words import (
    RARE_CUSTOMERS,
    ROLE_NOUNS,
    ROLE_NOUNS_OF_ONE_ORDER,
    Kind,
    all_traits_of,
    capitalised,
    traits_of,
)

DORMANT_SILENCE = 1.0
"""Mean days since the last order, in standard deviations above the population: from here a segment is dormant."""


AT_RISK_SILENCE = 0.5
"""From here (below dormant) a segment is falling silent: at risk if it was frequent enough to lose."""


AT_RISK_FREQUENCY = -0.75
"""Mean orders, in standard deviations: a segment below this was never frequent enough to be at risk of anything."""


ENGAGED_SILENCE = -0.25
"""At most this silent, and at least `ENGAGED_FREQUENCY`, is engaged."""


ENGAGED_FREQUENCY = 0.25


NOTABLE = 0.3
"""Distance of a segment's mean from the population's, in standard deviations, from which a name may mention it."""


NOTABLE_BESIDE_NAMESAKES = NOTABLE / 2
"""The same where others have the same noun and the segment lies beyond them: so that not one alone is told apart."""


MARKED = 1.0
"""Distance from which the name says "very"."""


def assign_roles(recency_z: Array | None, frequency_z: Array | None) -> list[str | None]:
    """The role of each segment from its silence and frequency; the first rule that fits decides, every segment has one.

    recency_z : (k,) mean of days since the last order, standardised against the population; high = long silent.
    frequency_z : (k,) mean of orders, likewise; high = frequent. None = the feature does not exist; without both there
    are no roles.
    """
    if recency_z is None or frequency_z is None:
        present = recency_z if recency_z is not None else frequency_z
        return [None] * (0 if present is None else len(present))
    return [_role(float(silence), float(orders)) for silence, orders in zip(recency_z, frequency_z, strict=True)]


def name_segments(
    z_means: Array,
    names: Sequence[str],
    roles: Sequence[str | None],
    taken: Collection[str] = (),
    said_by_role: Collection[str] = (),
    kinds: Mapping[str, Kind] | None = None,
    ordered_once: Sequence[bool] = (),
    frequency: Array | None = None,
) -> list[str]:
    """A readable name for each segment, such as "Loyal regulars, big baskets", or "Frequent, big baskets" where there
    are no roles; no two alike and none in `taken`.

    z_means : (k, d) how far each segment's means lie from the population's, in its standard deviations
    (`shown_standing`). said_by_role : features that a role already speaks of, as who is a loyal regular is recent and
    frequent. A role names a segment with the most notable feature that it does not speak of itself; without
    one the two most notable features do. Where that is not unique more features follow, then a number. kinds : of the
    features that the file declares (`kind_of`), for the words. ordered_once : whether most of a segment's customers
    have (`mostly_once`), () of none, and frequency : (k,) as for `assign_roles`, which change what a role is called.
    """
    used = {name.casefold() for name in taken}
    result = []
    traits = [traits_of(feature, (kinds or {}).get(feature)) for feature in names]
    often = np.zeros(len(roles)) if frequency is None else frequency
    nouns = list(map(_noun, roles, ordered_once or [False] * len(roles), often))
    for k, (means, noun) in enumerate(zip(z_means, nouns, strict=True)):
        namesakes = z_means[[j for j, other in enumerate(nouns) if noun is not None and other == noun and j != k]]
        beyond = np.sign(means) * (means - namesakes) > 0
        own = beyond.all(axis=0) if len(namesakes) else np.zeros(len(means), dtype=bool)
        least = np.where(own, NOTABLE_BESIDE_NAMESAKES, NOTABLE)
        options = _name_options(means, names, traits, noun, said_by_role, least)
        name = next(option for option in options if option.casefold() not in used)
        used.add(name.casefold())
        result.append(name)
    return result


def shown_standing(space: FeatureSpace, X: Array, R: Array) -> Array:
    """(k, d) how far the mean that profiles show of each segment lies from that of all customers, in standard
    deviations after the transform: so a name never says low where the figure beside it is high. 0 where the segment's
    median lies on the other side: what is not true of most of its customers is no name for them.

    X : (n, d) original units. R : (n, k) probabilities; a segment's customers are those who are likeliest in it, where
    there is any.
    """
    members = (R.argmax(axis=1)[:, None] == np.arange(R.shape[1])).astype(float)
    weights = np.where(members.any(axis=0), members, R)
    means, of_all = weights.T @ X / weights.sum(axis=0)[:, None], X.mean(axis=0)
    middles = np.array([np.median(X[mine > 0], axis=0) for mine in weights.T])
    standing = np.asarray(space.transform(means) - space.transform(of_all[None]))
    return np.where((means - of_all) * (middles - of_all) > 0, standing, 0.0)


def mostly_once(frequency: Array | None, R: Array) -> list[bool]:
    """Whether most of each segment's customers have done it once at most. frequency : (n,) how often, in original
    units; NaN where it is not known, None without such a feature. What is no count of times says nothing of once."""
    segments = R.shape[1]
    if frequency is None:
        return [False] * segments
    known, labels = np.isfinite(frequency), R.argmax(axis=1)
    if not (frequency[known] == np.round(frequency[known])).all():
        return [False] * segments
    mine = [frequency[known & (labels == k)] for k in range(segments)]
    return [bool(len(times) and np.median(times) <= 1) for times in mine]


def calls_regular(name: str) -> bool:
    """Whether a name that `name_segments` gave calls them what nobody is who has ordered once."""
    return name.startswith((ROLE_NOUNS["engaged"], ROLE_NOUNS["at_risk"]))


def told_apart(names: Sequence[str], fixed: Collection[int]) -> list[str]:
    """The names, no two alike: those at the positions `fixed` stay, of others one that is taken gets a number."""
    used = {names[k].casefold() for k in fixed}
    result = []
    for k, name in enumerate(names):
        if k not in fixed:
            options = chain([name], (f"{name} {number}" for number in count(2)))
            name = next(option for option in options if option.casefold() not in used)
            used.add(name.casefold())
        result.append(name)
    return result


def speaks_of(name: str, feature: str) -> bool:
    """Whether a name that `name_segments` gave says something of the feature."""
    traits = "|".join(re.escape(trait.casefold()) for trait in all_traits_of(feature))
    return re.search(rf"(^|, )({traits})($|, | \(| \d)", name.casefold()) is not None


def _role(silence: float, orders: float) -> str:
    if silence >= DORMANT_SILENCE:
        return "dormant"
    if silence >= AT_RISK_SILENCE and orders >= AT_RISK_FREQUENCY:
        return "at_risk"
    if silence <= ENGAGED_SILENCE and orders >= ENGAGED_FREQUENCY:
        return "engaged"
    return "casual"


def _noun(role: str | None, once: bool, frequency: float) -> str | None:
    """What a segment's role is called. once : whether most of it have ordered once; frequency : as for the role."""
    if role is None:
        return None
    if once:
        return ROLE_NOUNS_OF_ONE_ORDER[role]
    return RARE_CUSTOMERS if role == "casual" and frequency <= -MARKED else ROLE_NOUNS[role]


def _name_options(
    means: Array,
    names: Sequence[str],
    traits: Sequence[tuple[str, str, str, str]],
    noun: str | None,
    said_by_role: Collection[str],
    least: Array,
) -> Iterator[str]:
    """Names for one segment, the best first, without end. noun : what its role is called. least : (d,) distance of a
    mean from the population's from which it may be mentioned."""
    notable = [j for j in np.argsort(-np.abs(means), kind="stable") if abs(means[j]) >= least[j]]
    if noun is not None:
        notable.sort(key=lambda j: names[j] in said_by_role)  # the role's own come last
    said = [_trait(traits[j], float(means[j])) for j in notable]
    shortest = 2
    if noun is not None:
        said = [noun, *said]
        shortest = 2 if notable and names[notable[0]] not in said_by_role else 1
    short = capitalised(", ".join(said[:shortest]) or "average customers")
    yield short
    if len(said) > shortest:
        yield capitalised(", ".join(said[: shortest + 1]))
    for number in count(2):
        yield f"{short} {number}"


def _trait(traits: tuple[str, str, str, str], mean: float) -> str:
    if abs(mean) >= MARKED:
        return traits[3 if mean > 0 else 0]
    return traits[2 if mean > 0 else 1]
