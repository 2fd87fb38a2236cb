"""`segment-pipeline features`: which features to segment by, measured on the configured source.

Here: what is read for it, and what is said. Not here: the figures (customers/worth.py), and which features a proposal
takes (quickstart/proposal.py), as quickstart and init take them.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from rich.table import Table as Grid

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.source import Feature
from segment_pipeline.config.starter_file import scalar
from segment_pipeline.customers.worth import FeatureWorth, LaterWindow, feature_worth, only_grows
from segment_pipeline.database.engines.engine import looking
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import PipelineError, SourceError
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.months import add_months, month_key
from segment_pipeline.quickstart.messages import plain_speech, results_console
from segment_pipeline.quickstart.proposal import MAX_MISSING_SHARE, FeatureProposal, Overrides, propose_features
from segment_pipeline.quickstart.request import last_closed_month
from segment_pipeline.sources.sources import numbers_of_source, read_customers
from segment_pipeline.words import percent

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
    after : likewise of the customers of one window before, then and now; empty where the source shows no such month."""

    now: Mapping[str, Array]
    before: Mapping[str, Array]
    after: Mapping[str, Array]


def features_command(config: Config, chosen: argparse.Namespace) -> int:
    """Reads the month and the one a window before it; prints a table with bars, and the lines to paste."""
    closed = last_closed_month()
    month = chosen.month or min(config.last_month or closed, closed)
    with looking(config) as connection:
        customers = read_candidates(connection, config, month)
    _print(config, month, advise(customers, config.model.seed), has_past=bool(customers.before))
    return 0


def read_candidates(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Customers:
    """What the source says of the customers of the month, and of those of one window before. Raises SourceError."""
    names = list(dict.fromkeys([*config.feature_names, *numbers_of_source(connection, config, month)]))
    # every candidate as if it were configured: the costly ones are made too
    added = (Feature(name=name) for name in names if name not in config.feature_names)
    wide = config.model_copy(update={"features": (*config.features, *added)})
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
        return Customers(now, {}, {})
    sides = [
        arrays(
            f"SELECT {', '.join(f'{side}.{identifier(name)}' for name in names)} FROM of_window_before "
            "LEFT JOIN of_month USING (customer_id) ORDER BY customer_id"
        )
        for side in ("of_window_before", "of_month")
    ]
    return Customers(now, *(sides if len(sides[0][names[0]]) else ({}, {})))


def advise(customers: Customers, seed: int) -> list[Advice]:
    """Each candidate, those that a proposal takes first."""
    growing = {name: GROWS for name in customers.before if _grows(customers.before[name], customers.after[name])}
    proposal = propose_features(customers.now, Overrides(), growing)
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


def _print(config: Config, month: date, advice: Sequence[Advice], *, has_past: bool) -> None:
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
    if not has_past:
        say(f"What lasts and what adds cannot be said: the source shows nothing {config.source.window_months} months")
        say("before this month.")
    say("")
    say("To paste into `features`, 4 to 6 that say different things:")
    for one in advice:
        if one.chosen and one.proposal is not None:
            say(f"  - {_as_yaml(one.proposal, config)}")


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


def _as_yaml(one: FeatureProposal, config: Config) -> str:
    """The feature in one line: as it is computed in the configuration, in the space that is proposed."""
    built_in = ORDER_FEATURES.get(one.name)
    configured = next((feature for feature in config.features if feature.name == one.name), None)
    said: dict[str, object] = {"name": one.name}
    if configured is not None:
        said = configured.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude={"use"})
    said |= {"transform": one.transform, "resolution": built_in.resolution if built_in is not None else one.resolution}
    limits = {key: value for key, value in (("min", one.low), ("max", one.high)) if value is not None}
    return scalar(said | ({"valid": limits} if limits else {}))
