"""What a segment's card shows: who they are, what sets them apart for better or worse, and who is of two at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segment_pipeline import charts
from segment_pipeline.config.order_features import MONETARY, better_of
from segment_pipeline.database.rows import Row
from segment_pipeline.report.queries import Story
from segment_pipeline.report.shown import figure, percent
from segment_pipeline.words import ROLE_WORDS, capitalised, deed, is_share

APART = 3
"""Features that a card shows, those that set the segment apart most."""

AS_ALL = 0.05
"""Relative difference from all customers below which a feature is neither good nor bad news."""


@dataclass(frozen=True)
class Apart:
    """A feature that sets a segment apart: what its average customer did, how far that lies from all customers, and
    what news that is: good, bad, or "" where nobody says which way is good."""

    did: str
    beside_all: str
    news: str


@dataclass(frozen=True)
class Card:
    """A segment of the month. at_risk : what it is likely to lose of the next year's revenue; None where that is not
    known. who : its narrative, two sentences. pairs : with which segments its hybrids share, the commonest first.
    between : how many lie between it and another segment by what they do. example : one of these or those, whom its
    purchases tell apart where categories are known (with a `category`, its share of what the customer spent, and of
    what the two segments did); None without any."""

    segment: Row
    at_risk: float | None
    who: str
    apart: Sequence[Apart]
    actions: Sequence[Row]
    pairs: Sequence[Row]
    between: int
    example: Row | None

    @property
    def of_first_pair(self) -> str:
        """How many of the hybrids are so with the first of `pairs`, in words."""
        first, everybody = self.pairs[0]["customers"], sum(pair["customers"] for pair in self.pairs)
        if first == everybody:
            return "all of them"
        return "most of them" if 2 * first > everybody else "the largest group"


def cards(story: Story, features: dict[int, list[Row]]) -> list[Card]:
    """The cards of the month, the largest segment first. features : of `placed_features`."""
    found = []
    risks = {r["segment_id"]: r["revenue_at_risk"] for r in story["money_of_segments"] if r["month"] == story["month"]}
    for segment in story["segments"]:
        mine = {
            name: [row for row in story[name] if row["segment_id"] == segment["segment_id"]]
            for name in ("actions", "hybrids", "between", "examples", "samples")
        }
        # the card's heading says name and role already
        role = "" if segment["role"] is None else f", {ROLE_WORDS[segment['role']]}"
        who = segment["narrative"].removeprefix(f"{segment['name']}{role}: ")
        hybrids = (row for row in mine["samples"] if row["kind"] == "hybrid")
        example = next(iter(mine["examples"]), None) or next(hybrids, None)
        apart = _apart(features[segment["segment_id"]])
        at_risk = risks.get(segment["segment_id"])
        between = sum(row["customers"] for row in mine["between"])
        found.append(
            Card(segment, at_risk, capitalised(who), apart, mine["actions"], mine["hybrids"], between, example)
        )
    return found


def placed_features(story: Story) -> dict[int, list[Row]]:
    """The features of each segment, the model's first: with what its average customer did, what all did, the colour of
    its index, and where on a bar of 0..100 %, which all segments share, its customers lie. One that is about a category
    is told, and compared, as the share of the spend that is on it."""
    spans = _spans(story["features"])
    bought = {(row["segment_id"], row["category"]): row for row in story["categories"]}
    order = {name: place for place, name in enumerate(story["model_features"])}
    found: dict[int, list[Row]] = {row["segment_id"]: [] for row in story["segments"]}
    for row in sorted(story["features"], key=lambda row: (order.get(row["feature"], 99), row["feature"])):
        better = story["better"].get(row["feature"], better_of(row["feature"]))
        category = story["category_of"].get(row["feature"], "")
        told = _told(row, category, bought.get((row["segment_id"], category)))
        ground, ink = charts.heat_of_index(told["index"], better)
        place = spans[row["feature"]]
        found.setdefault(row["segment_id"], []).append(
            row
            | told
            | {"ground": ground, "ink": ink, "better": better, "in_model": row["feature"] in order}
            | {f"{name}_at": place(row[name]) for name in ("p10", "p50", "p90", "population_mean")}
        )
    return found


def _told(row: Row, category: str, bought: Row | None) -> Row:
    """What the segment's average customer did, what all did, and the index of the one to the other; of a category what
    its customers together did. bought : the row of
    `segment_categories` where the feature is about a category that is told apart."""
    if bought is not None and bought["share"] is not None:
        did, of_all = deed(row["feature"], bought["share"], "share", category), percent(bought["population_share"])
        return {"did": capitalised(did), "of_all": of_all, "index": bought["index"], "of_one": False}
    show = percent if is_share(row["feature"], row["unit"]) else figure
    did = capitalised(deed(row["feature"], row["mean"], row["unit"]))
    return {"did": did, "of_all": show(row["population_mean"]), "index": row["index"], "of_one": True}


def _apart(features: Sequence[Row]) -> list[Apart]:
    """Those of the model first, as portraits mostly repeat them; what they spend stands on the card anyway."""
    told = [row for row in features if row["index"] and row["feature"] != MONETARY]
    told.sort(key=lambda row: (not row["in_model"], -abs(math.log(row["index"] / 100))))
    # a share and a ratio of one category are told by the same figure
    once = {row["did"]: row for row in reversed(told)}
    return [_beside_all(row) for row in told if row is once[row["did"]]][:APART]


def _beside_all(row: Row) -> Apart:
    difference = row["index"] / 100 - 1
    if abs(difference) < AS_ALL:
        return Apart(row["did"], "as all customers", "")
    higher = difference > 0
    beside = f"{percent(abs(difference))} {'more' if higher else 'less'} than all"
    news = "" if row["better"] is None else "good" if (row["better"] == "higher") == higher else "bad"
    return Apart(row["did"], beside, news)


def _spans(features: Sequence[Row]) -> dict[str, Any]:
    """For each feature, a function from its values to 0..100 % of a bar that all segments share.

    Features that are never negative are drawn on a log1p scale: most have a few very large values.
    """
    spans = {}
    for feature in {row["feature"] for row in features}:
        values = [
            row[name]
            for row in features
            if row["feature"] == feature
            for name in ("p10", "p50", "p90", "population_mean")
            if row[name] is not None
        ]
        bend = math.log1p if values and min(values) >= 0 else float
        low, high = (bend(min(values)), bend(max(values))) if values else (0.0, 1.0)

        def place(value: float | None, bend: Any = bend, low: float = low, width: float = high - low) -> float | None:
            return None if value is None else round(100 * (bend(value) - low) / (width or 1.0), 1)

        spans[feature] = place
    return spans
