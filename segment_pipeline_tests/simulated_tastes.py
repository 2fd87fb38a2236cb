"""Customers who differ in nothing but what they buy: as often as one another, for as much money, of other categories.

Each has a kind, and its own tastes around those of the kind; some have two kinds, and each of their orders is of one.
What a month shows of them is what the pipeline's SQL makes of their order lines.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.models.scoring import assignment_sql
from segment_pipeline.months import parse_month
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.sources import load_raw_customers

CATEGORIES = np.array(["organic", "cleaning", "books", "toys", "groceries"])
KINDS = 4
"""Each kind prefers one of the first four categories; the last is nobody's."""

FAVOURITE = 0.6
"""Share of the lines of a kind that are of its category; the others are spread evenly."""

OWN_TASTE = 60.0
"""Concentration of a Dirichlet around the kind: the larger, the more alike are its customers."""

TWO_KINDS = 0.12
"""Share of the customers who are of two kinds."""

LINES_AN_ORDER = 3.0

CONFIG = """
name: tastes
first_month: 2023-03
source: {orders: {path: orders.parquet, customer_id: customer, order_id: order_no, ordered_at: at, amount: amount,
                  category: category}}
model: {memory: false}
features:
"""
FEATURES = {
    "without": (
        "  - {name: days_since_last_order, transform: log1p, resolution: 1, valid: {min: 0}}\n"
        "  - {name: orders, transform: log1p, resolution: 1, valid: {min: 1}}\n"
        "  - {name: average_order_value, transform: log1p, resolution: 0.01, valid: {min: 0}}\n"
    ),
    "shares": "".join(f"  - {{name: {name}_share, spend_share: {name}}}\n" for name in CATEGORIES[:KINDS]),
    # told apart as finely as an order is a part of a customer's ten, and a hundred times as finely as the whole
    **{
        f"logit of shares, steps of {step}": "".join(
            f"  - {{name: {name}_share, spend_share: {name}, transform: logit, resolution: {step}, "
            "valid: {min: 0, max: 1}}\n"
            for name in CATEGORIES[:KINDS]
        )
        for step in (0.1, 0.01)
    },
    "ratios": "".join(f"  - {{name: {name}_ratio, spend_ratio: {name}}}\n" for name in CATEGORIES[:KINDS]),
}
"""What a mixture is fitted to, by what it is called."""


@dataclass(frozen=True, eq=False)
class Tastes:
    """n customers. kind, other : (n,) their kinds, the same twice but for those of two. lines : of all of them."""

    kind: Labels
    other: Labels
    lines: pa.Table

    @property
    def of_two(self) -> Flags:
        return self.kind != self.other


def customers_of_tastes(n: int, seed: int, orders: float = 8.0) -> Tastes:
    """orders : how many they place in the three months up to March 2023, on average, beside the first."""
    random = np.random.default_rng(seed)
    kind = random.integers(KINDS, size=n)
    other = np.where(random.random(n) < TWO_KINDS, (kind + random.integers(1, KINDS, size=n)) % KINDS, kind)
    own = [np.cumsum(own_tastes(random, of), axis=1) for of in (kind, other)]
    of_order = np.repeat(np.arange(n), 1 + random.poisson(orders, n))
    second = random.random(len(of_order)) < 0.5
    minutes = random.integers(0, 90 * 24 * 60, len(of_order))
    of_line = np.repeat(np.arange(len(of_order)), 1 + random.poisson(LINES_AN_ORDER - 1, len(of_order)))
    who = of_order[of_line]
    thresholds = np.where(second[of_line, None], own[1][who], own[0][who])
    category = np.minimum((random.random(len(who))[:, None] > thresholds).sum(axis=1), len(CATEGORIES) - 1)
    lines = {
        "customer": who,
        "order_no": of_line,
        "at": np.datetime64("2023-01-01T00:00:00") + (60 * minutes[of_line]).astype("timedelta64[s]"),
        "amount": np.round(random.gamma(4.0, 2.5, len(who)) + 0.01, 2),
        "category": CATEGORIES[category],
    }
    return Tastes(kind, other, pa.table({name: pa.array(values) for name, values in lines.items()}))


def own_tastes(random: np.random.Generator, kind: Labels | int) -> Array:
    """(..., categories) of customers of these kinds, drawn around those of the kind: shares of their lines."""
    tastes = np.full((KINDS, len(CATEGORIES)), (1 - FAVOURITE) / (len(CATEGORIES) - 1))
    np.fill_diagonal(tastes, FAVOURITE)
    drawn = random.gamma(OWN_TASTE * tastes[kind])
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Assigned:
    """What the month says of n customers. memberships : (n, k). between : (n,) the flag is_between."""

    memberships: Array
    between: Flags


def assigned(tastes: Tastes, features: str, folder: Path) -> Assigned | str:
    """What the month that these customers make would publish of them, or why it would not: from order lines to
    assignments by the pipeline's own steps. features : a key of FEATURES."""
    config, X = seen_of(tastes, features, folder)
    space = FeatureSpace.fit(config.features, X)
    choice = fit_challengers(space, X, np.arange(len(X)).astype(str), config, None, None).choice
    if choice.candidate is None:
        return choice.rationale
    mixture = choice.candidate.mixture
    segments = tuple(Segment(k + 1, f"segment {k + 1}", None) for k in range(mixture.n_segments))
    model = SegmentModel(1, parse_month("2023-03"), space, mixture, segments, atypical_below=-1e300)
    columns = {"customer_id": pa.array(np.arange(len(X)))} | {
        name: pa.array(X[:, j]) for j, name in enumerate(config.feature_names)
    }
    with duckdb.connect() as connection:
        connection.register("customers", pa.table(columns))
        found = connection.execute(
            f"SELECT is_between FROM ({assignment_sql(model, 'customers', config.tiers)}) ORDER BY customer_id"
        ).fetchnumpy()
    return Assigned(model.responsibilities(X), np.asarray(found["is_between"], dtype=bool))


def seen_of(tastes: Tastes, features: str, folder: Path) -> tuple[Config, Array]:
    """The configuration, and (n, d) what the pipeline's SQL makes of the customers' lines, in its features."""
    pq.write_table(tastes.lines, folder / "orders.parquet")
    config = parse_config(CONFIG + FEATURES[features], folder / "segmentation.yaml")
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        load_raw_customers(connection, config, parse_month("2023-03"))
        names = ", ".join(config.feature_names)
        found = connection.execute(
            f"SELECT {names} FROM raw_customers ORDER BY CAST(customer_id AS INTEGER)"
        ).fetchnumpy()
    return config, np.column_stack([np.asarray(found[name], dtype=np.float64) for name in config.feature_names])


@dataclass(frozen=True)
class Found:
    """What segments say of the kinds. agreement : adjusted Rand index with the kinds of who has one. right_two : share
    of those of two kinds whose two likeliest segments are of these two. second, second_of_one : share of those of two
    kinds, and of one, whose second probability is above 0.25. between, between_of_one : likewise with is_between;
    between_right_two : of those of two kinds, with it and the right two."""

    segments: int
    agreement: float
    right_two: float
    second: float
    second_of_one: float
    between: float
    between_right_two: float
    between_of_one: float


def found_kinds(tastes: Tastes, found: Assigned) -> Found:
    from sklearn.metrics import adjusted_rand_score

    one, two = ~tastes.of_two, tastes.of_two
    labels, k = found.memberships.argmax(axis=1), found.memberships.shape[1]
    counts = np.array([np.bincount(tastes.kind[one & (labels == j)], minlength=KINDS) for j in range(k)])
    kind_of = counts.argmax(axis=1)
    ranked = kind_of[np.argsort(-found.memberships, axis=1)]
    pairs = np.sort(ranked[:, :2], axis=1) == np.sort(np.column_stack([tastes.kind, tastes.other]), axis=1)
    right_two = pairs.all(axis=1)
    has_second = np.sort(found.memberships, axis=1)[:, -2] > 0.25
    return Found(
        k,
        float(adjusted_rand_score(tastes.kind[one], labels[one])),
        float(right_two[two].mean()),
        float(has_second[two].mean()),
        float(has_second[one].mean()),
        float(found.between[two].mean()),
        float((found.between & right_two)[two].mean()),
        float(found.between[one].mean()),
    )
