"""`segment-pipeline features`: which features to segment by, measured on the configured source.

Here: what is read for it, and what is said. Not here: the figures (customers/worth.py), and which features a proposal
takes (quickstart/proposal.py), as quickstart and init take them.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from rich.table import Table as Grid

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.source import Feature, OfEvents
from segment_pipeline.config.starter_file import scalar
from segment_pipeline.customers.worth import (
    FEWEST_CUSTOMERS,
    FeatureWorth,
    LaterWindow,
    correlation,
    feature_worth,
    only_grows,
)
from segment_pipeline.database.engines.engine import looking
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import NoLinesError, PipelineError, SourceError
from segment_pipeline.mixture.features import FeatureSpace, apply_transform
from segment_pipeline.months import add_months, month_key
from segment_pipeline.quickstart.messages import plain_speech, results_console
from segment_pipeline.quickstart.proposal import (
    FEWEST_FEATURES,
    MAX_MISSING_SHARE,
    FeatureProposal,
    Overrides,
    propose_feature,
    propose_features,
    roles_by_name,
    unfit,
)
from segment_pipeline.quickstart.request import last_closed_month
from segment_pipeline.sources.categories import KEPT, largest_categories
from segment_pipeline.sources.sources import numbers_of_source, read_customers
from segment_pipeline.words import percent

LEAST_LASTING = 0.3
"""Correlation with the same customers' values one window before, from which a feature is proposed: below it less than a
tenth of what tells customers apart in one window still does in the next, and they move by chance."""

MOST_CATEGORIES = 5
"""Categories without a feature that are looked at, those on which most is spent."""

BAR_WIDTH = 8
"""Characters of a full bar."""

GROWS = "it rose alike for everybody since one window before: with time, and not with what customers do"


@dataclass(frozen=True)
class Advice:
    """What is said of one candidate. chosen : among those that a proposal takes. words : why, or why not. proposal :
    what it would be as a feature, None where it cannot be one. atom : share of customers with its commonest value."""

    name: str
    chosen: bool
    words: str
    proposal: FeatureProposal | None
    atom: float
    worth: FeatureWorth | None


@dataclass(frozen=True)
class Customers:
    """Everything that could be a feature. now : name -> (n,) values of a month, NaN where there is no number. before,
    after : likewise of the customers of one window before, then and now; empty where the source shows no such month.
    features : how each is computed, the user's own and those that are not in the file."""

    now: Mapping[str, Array]
    before: Mapping[str, Array]
    after: Mapping[str, Array]
    features: Sequence[Feature] = ()


def features_command(config: Config, chosen: argparse.Namespace) -> int:
    """Reads the month, where none is asked for the last one that is over and has order lines, and the one a window
    before it; prints a table with bars, and the lines to paste."""
    closed = last_closed_month()
    month = chosen.month or min(config.last_month or closed, closed)
    with looking(config) as connection:
        try:
            customers = read_candidates(connection, config, month)
        except NoLinesError as error:
            if chosen.month is not None or config.last_month is not None or error.latest is None:
                raise
            month = error.latest  # data that end before the clock's month: nobody has said which month to look at
            customers = read_candidates(connection, config, month)
    _print(config, month, advise(customers, config.model.seed), customers)
    return 0


def read_candidates(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Customers:
    """What the source says of the customers of the month, and of those of one window before. Raises SourceError."""
    # every candidate as if it were configured: the costly ones are made too
    added = [Feature(name=name) for name in numbers_of_source(connection, config, month)]
    with chdir(config.path.parent):
        added += _of_feeds(config) + _of_categories(config, largest_categories(connection, config, month, KEPT))
    candidates: dict[str, Feature] = {}
    for one in (*config.features, *added):
        candidates.setdefault(one.name.casefold(), one)
    wide = config.model_copy(update={"features": tuple(candidates.values())})
    names = list(wide.feature_names)
    columns = ", ".join(identifier(name) for name in names)

    def read(of: date, table: str) -> None:
        read_customers(connection, wide, of)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT customer_id, {columns} FROM source_customers "
            "WHERE trim(coalesce(customer_id, '')) <> '' QUALIFY count(*) OVER (PARTITION BY customer_id) = 1"
        )

    def arrays(query: str) -> dict[str, Array]:
        found = connection.execute(query).fetchnumpy()
        return {name: np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), np.nan) for name in names}

    read(month, "of_month")
    now = arrays(f"SELECT {columns} FROM of_month ORDER BY customer_id")
    if not len(now[names[0]]):
        raise PipelineError(
            f"{config.path}: the source has no customer in {month_key(month)}. Name another month: --month YYYY-MM"
        )
    try:
        read(add_months(month, -config.source.window_months), "of_window_before")
    except SourceError:
        return Customers(now, {}, {}, wide.features)
    sides = [
        arrays(
            f"SELECT {', '.join(f'{side}.{identifier(name)}' for name in names)} FROM of_window_before "
            "LEFT JOIN of_month USING (customer_id) ORDER BY customer_id"
        )
        for side in ("of_window_before", "of_month")
    ]
    before, after = sides if len(sides[0][names[0]]) else ({}, {})
    return Customers(now, before, after, wide.features)


def _of_feeds(config: Config) -> list[Feature]:
    """What every feed can say of a customer, and no feature says yet."""
    said = {(one.of_events.feed, one.of_events.value) for one in config.features if one.of_events is not None}
    return [
        Feature(name=name, unit=unit, of_events=OfEvents(feed=one.feed, value=way))
        for one in config.source.events
        for name, unit, way in (
            (one.feed, one.feed, "count"),
            (f"days_since_{one.feed}", "days", "days_since_last"),
            (f"active_days_of_{one.feed}", "days", "active_days"),
        )
        if (one.feed, way) not in said
    ]


def _of_categories(config: Config, largest: Sequence[str]) -> list[Feature]:
    """Ratios of the largest categories that have none: of the two ways to say it the one to fit a mixture to."""
    ratios = {one.spend_ratio for one in config.features}
    said = [category for category in largest if category not in ratios][:MOST_CATEGORIES]
    names = (re.sub(r"\W+", "_", category).strip("_").lower() for category in said)
    return [Feature(name=f"{name}_ratio", spend_ratio=category) for name, category in zip(names, said, strict=True)]


def advise(customers: Customers, seed: int) -> list[Advice]:
    """Each candidate, those that a proposal takes first."""
    unwanted = _shares_beside_ratios(customers.features) | _what_does_not_last(customers)
    unwanted |= {name: GROWS for name in customers.before if _grows(customers.before[name], customers.after[name])}

    def beside_one_another(features: Sequence[FeatureProposal]) -> Sequence[FeatureWorth]:
        return _worth(features, [one.name for one in features], customers, seed)

    worth_of = beside_one_another if customers.before else None
    proposal = propose_features(customers.now, Overrides(), unwanted, worth_of)
    left = {one.name: one for one in proposal.left_out}
    taken = {one.name: one for one in proposal.features}
    candidates = [*taken.values(), *(one.proposal for one in left.values() if one.proposal is not None)]
    worth = {one.feature: one for one in _worth(candidates, list(taken), customers, seed)}
    return [
        Advice(
            name,
            name in taken,
            taken[name].why if name in taken else left[name].reason,
            taken.get(name) or left[name].proposal,
            _largest_atom(customers.now[name]),
            worth.get(name),
        )
        for name in [*taken, *left]
    ]


def _shares_beside_ratios(features: Sequence[Feature]) -> dict[str, str]:
    ratios = {one.spend_ratio: one.name for one in features}
    return {
        one.name: f"{ratios[one.spend_share]} says the same in a shape that a mixture can be fitted to; show it as a "
        "portrait"
        for one in features
        if one.spend_share is not None and one.spend_share in ratios
    }


def _what_does_not_last(customers: Customers) -> dict[str, str]:
    """But recency and frequency, which give segments their roles, and as many as are needed at all."""
    lasting = {name: lasts for name in customers.before if (lasts := _lasting(name, customers)) is not None}
    needed = {name for name in roles_by_name(list(customers.now)) if name is not None}
    for name in sorted(lasting, key=lambda name: -lasting[name]):
        if len(needed) < FEWEST_FEATURES:
            needed.add(name)
    return {
        name: "it does not last: its correlation with the same customers one window before is "
        f"{round(lasts, 2) + 0.0:.2f}, and from {LEAST_LASTING} on it is proposed"
        for name, lasts in lasting.items()
        if lasts < LEAST_LASTING and name not in needed
    }


def _lasting(name: str, customers: Customers) -> float | None:
    """The correlation of a feature with itself one window before, as the mixture sees it; None where it is none."""
    if unfit(customers.now[name]) is not None:
        return None
    feature = propose_feature(name, customers.now[name])
    sides = [np.array(side[name]) for side in (customers.before, customers.after)]
    for side in sides:
        with np.errstate(invalid="ignore"):
            side[
                (side < (-np.inf if feature.low is None else feature.low))
                | (side > (np.inf if feature.high is None else feature.high))
            ] = np.nan
    known = np.isfinite(sides[0]) & np.isfinite(sides[1])
    if known.sum() < FEWEST_CUSTOMERS:
        return None
    before, after = (apply_transform(side[known], feature.transform, feature.resolution) for side in sides)
    return correlation(before, after)


def _grows(before: Array, after: Array) -> bool:
    known = np.isfinite(before) & np.isfinite(after)
    return bool(known.any()) and only_grows(before[known], after[known])


def _largest_atom(values: Array) -> float:
    _, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return float(counts.max() / len(values)) if len(counts) else 0.0


def _worth(
    candidates: Sequence[FeatureProposal], taken: Sequence[str], customers: Customers, seed: int
) -> list[FeatureWorth]:
    """Of those that nearly every customer has, beside those taken."""

    def known(columns: Mapping[str, Array]) -> Array:
        inside = []
        for one in common:
            values, low, high = columns[one.name], one.low, one.high
            with np.errstate(invalid="ignore"):
                fits = (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
            inside.append(np.where(fits & np.isfinite(values), values, np.nan))
        return np.column_stack(inside)

    common = [one for one in candidates if np.isfinite(customers.now[one.name]).mean() >= 1.0 - MAX_MISSING_SHARE]
    if len(taken) < 2 or len(common) < 2:
        return []
    X = known(customers.now)
    X = X[np.isfinite(X).all(axis=1)]
    space = FeatureSpace.fit(common, X)  # type: ignore[arg-type]  # has what it reads: name, transform, resolution
    earlier = None
    if customers.before:
        before, after = known(customers.before), known(customers.after)
        there = np.isfinite(before).all(axis=1)
        after[~np.isfinite(after).all(axis=1)] = np.nan
        earlier = LaterWindow(before[there], after[there])
    return feature_worth(space, X, seed, earlier, taken)


# --- what is said -----------------------------------------------------------------------------------------------------


def _print(config: Config, month: date, advice: Sequence[Advice], customers: Customers) -> None:
    console = results_console()
    say = plain_speech(console)
    say(f"{config.path}, {month_key(month)}: what could be a feature, and what it is worth beside those proposed (*)")
    console.print(_grid(advice))
    say("")
    for one in advice:
        if not one.chosen:
            say(f"  {one.name} is not: {one.words}")
    say("")
    say("separates: share of its variance between the segments of a quick mixture. lasts: correlation with the same")
    say("customers one window before. adds: to the R^2 of what they do next, beyond the others; the bar is full at the")
    say("most that any adds. repeats: R^2 on the others. one value: share of customers with its commonest value.")
    if not customers.before:
        say(f"What lasts and what adds cannot be said: the source shows nothing {config.source.window_months} months")
        say("before this month.")
    say("")
    say("To paste into `features` in place of yours (other portraits may stay), 4 to 6 that say different things:")
    for one in advice:
        if one.chosen and one.proposal is not None:
            say(f"  - {_as_yaml(one.proposal, config, customers.features)}")
    chosen, shown = {one.name for one in advice if one.chosen}, {one.spend_share for one in config.features}
    new = [one for one in customers.features if one.is_own and one not in config.features]
    left = [one for one in new if one.name not in chosen and (one.category is None or one.category not in shown)]
    if left:
        say("")
        say("Not in your file, and of use as a portrait:")
        for feature in left:
            say(f"  - {_as_portrait(feature)}")


def _grid(advice: Sequence[Advice]) -> Grid:
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("")
    grid.add_column("candidate")
    grid.add_column("transform")
    for title in ("skewness", "after", "one value", "repeats"):
        grid.add_column(title, justify="right")
    for title in ("separates", "lasts"):
        grid.add_column(title)
    grid.add_column("adds")
    most = max((one.worth.predicts or 0.0 for one in advice if one.worth is not None), default=0.0)
    for one in advice:
        shape, worth = one.proposal, one.worth
        figures = (
            ("", "", "")
            if shape is None
            else (shape.transform, _number(shape.skewness), _number(shape.skewness_transformed))
        )
        repeats, adds = ("", "") if worth is None else (f"{worth.known_from_others:.2f}", _added(worth.predicts, most))
        bars = ("", "") if worth is None else (_bar(worth.separates), _bar(worth.persists))
        grid.add_row("*" if one.chosen else "", one.name, *figures, percent(one.atom), repeats, *bars, adds)
    return grid


def _number(value: float) -> str:
    return f"{value:.1f}"


def _added(value: float | None, most: float) -> str:
    """A bar that is full at the most that any adds, and the figure."""
    return "" if value is None else f"{_drawn(value / most if most > 0 else 0.0)} {value:+.3f}"


def _bar(value: float | None) -> str:
    """A bar that is full at 1, and the figure."""
    return "" if value is None else f"{_drawn(value)} {value:.2f}"


def _drawn(part: float) -> str:
    """A bar of BAR_WIDTH characters; nothing of it below 0."""
    eighths = round(max(0.0, min(1.0, part)) * BAR_WIDTH * 8)
    bar = "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")
    return f"{bar:<{BAR_WIDTH}}"


def _as_portrait(feature: Feature) -> str:
    """A feature that is not in the file, to be shown; of a category the share, which people read."""
    said = feature.model_dump(mode="json", exclude_unset=True)
    if feature.spend_ratio is not None:
        said = {"name": f"{feature.name.removesuffix('_ratio')}_share", "spend_share": feature.spend_ratio}
    return scalar(said | {"use": "portrait"})


def _as_yaml(one: FeatureProposal, config: Config, candidates: Sequence[Feature]) -> str:
    """The feature in one line: as it is computed, in the space that is proposed."""
    built_in = ORDER_FEATURES.get(one.name)
    said: dict[str, object] = {"name": one.name}
    feature = next((feature for feature in candidates if feature.name == one.name), None)
    if feature is not None:
        said = feature.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude={"use"})
        if feature in config.features and feature.transform == one.transform and "valid" in said:
            return scalar(said | {"resolution": feature.resolution})
    said |= {"transform": one.transform, "resolution": built_in.resolution if built_in is not None else one.resolution}
    limits = {key: value for key, value in (("min", one.low), ("max", one.high)) if value is not None}
    return scalar(said | ({"valid": limits} if limits else {}))
