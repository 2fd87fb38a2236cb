"""Segment profiles of a month: sizes, features in original units, words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import FREQUENCY, ORDER_FEATURES, ORDER_VALUE, better_of
from segment_pipeline.config.source import LOG_RATIO, Feature
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import exact_mean, exact_sum, without, write_rows
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.segments.month_before_store import shares_before
from segment_pipeline.segments.profiles import FeatureFigure, narrative
from segment_pipeline.segments.tables import SEGMENT_CATEGORIES, SEGMENT_FEATURE_PROFILES, SEGMENT_PROFILES

Shares = dict[tuple[int, str], tuple[float, float]]
"""Of a segment and a category: what share of the segment's spend is on it, and of that of all customers, 0..1."""


def feature_units(config: Config) -> dict[str, str]:
    """The unit of every raw feature, "" where nobody says it. Of a feature that the user's file leaves out, it is the
    declared one; money is in the currency of those that the file names."""
    units = {feature.name: feature.unit_told for feature in config.features}
    left_out = [ORDER_FEATURES[name] for name in config.raw_feature_names if name not in units]
    named = (ORDER_FEATURES[name] for name in units if name in ORDER_FEATURES)
    currency = next((units[feature.name] for feature in named if feature.is_money and units[feature.name]), "")
    units |= {feature.name: currency if feature.is_money else feature.unit for feature in left_out}
    return {name: units[name] for name in config.raw_feature_names}


def spend_sql(config: Config) -> str | None:
    """A customer's spend in the window as an expression over validated_features; None where no feature tells it."""
    if config.monetary_feature is not None:
        return identifier(config.monetary_feature)
    if {FREQUENCY, ORDER_VALUE} <= set(config.raw_feature_names):
        return f"{identifier(FREQUENCY)} * {identifier(ORDER_VALUE)}"
    return None


@dataclass(frozen=True)
class FeatureProfile:
    """A feature over one segment's customers (`segment_id` None: over all of the month), in original units."""

    segment_id: int | None
    feature: str
    unit: str
    mean: float
    p10: float
    p50: float
    p90: float
    known_share: float


@dataclass(frozen=True)
class Profile:
    """A segment of the month. hybrid_share is None, and `features` empty, when nobody is in it; share_before where it
    cannot be known, total_spend, average_spend and revenue_share where the source does not tell."""

    segment_id: int
    name: str
    role: str | None
    customers: int
    share: float
    share_before: float | None
    total_spend: float | None
    average_spend: float | None
    revenue_share: float | None
    hybrid_share: float | None
    narrative: str
    model_version: int
    features: tuple[FeatureProfile, ...]
    population: tuple[FeatureProfile, ...]


def profile_segments(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> list[Profile]:
    """Every segment of the champion, also one that nobody is in this month. `segment_categories` are there already,
    where the source has any: narratives tell them."""
    sizes = _sizes(connection, month)
    everyone = sum(size for size, _ in sizes.values())
    before, spend = shares_before(connection, champion, month), _spend(connection, config, month)
    revenue = sum(spend.values())
    features, bought = _feature_profiles(connection, config, month), _shares_of_spend(connection, month)
    population = tuple(row for row in features if row.segment_id is None)
    profiles = []
    for segment in champion.segments:
        customers, hybrid_share = sizes.get(segment.segment_id, (0, None))
        spent = spend.get(segment.segment_id, 0.0) if spend else None
        own = tuple(row for row in features if row.segment_id == segment.segment_id)
        revenue_share = spent / revenue if spent is not None and revenue > 0 else None
        told = _narrative(segment, customers, everyone, revenue_share, own, population, bought, config)
        profiles.append(
            Profile(
                segment.segment_id,
                segment.name,
                segment.role,
                customers,
                customers / everyone,
                before.get(segment.segment_id),
                spent,
                spent / customers if spent is not None and customers else None,
                revenue_share,
                hybrid_share,
                told,
                champion.model_version,
                own,
                population,
            )
        )
    return profiles


def write_profiles(connection: duckdb.DuckDBPyConnection, month: date, profiles: Sequence[Profile]) -> int:
    """Replace the month of segment_profiles and segment_feature_profiles; returns the number of segments."""
    rows = []
    for profile in profiles:
        means = {row.feature: row.mean for row in profile.population}
        for row in profile.features:
            population = means[row.feature]
            rows.append(vars(row) | {"population_mean": population, "index": _index(row, population)})
    write_rows(connection, SEGMENT_FEATURE_PROFILES, month, rows)
    segments = [{**without(profile, "features", "population"), "segment_name": profile.name} for profile in profiles]
    return write_rows(connection, SEGMENT_PROFILES, month, segments)


def index_rows(profiles: Sequence[Profile], config: Config) -> list[dict[str, object]]:
    """segment_id, name, feature, unit, mean, index of every feature of every segment, and which values are better."""
    said = {feature.name: feature.better for feature in config.features if feature.better is not None}
    return [
        {
            "name": profile.name,
            "index": _index(row, population.mean),
            "better": said.get(row.feature, better_of(row.feature)),
            **vars(row),
        }
        for profile in profiles
        for row in profile.features
        for population in profile.population
        if population.feature == row.feature
    ]


def _index(row: FeatureProfile, population: float) -> float | None:
    """Of amounts only: of means below 0 the larger one would have the smaller index, and of two log-ratios none is so
    many times the other."""
    return 100 * row.mean / population if population > 0 and row.mean >= 0 and row.unit != LOG_RATIO else None


def _sizes(connection: duckdb.DuckDBPyConnection, month: date) -> dict[int, tuple[int, float]]:
    rows = connection.execute(
        "SELECT segment_id, count(*), CAST(count(*) FILTER (tier = 'hybrid') AS DOUBLE) / count(*) "
        "FROM monthly_assignments WHERE month = ? GROUP BY segment_id",
        [month],
    ).fetchall()
    return {row[0]: (row[1], row[2]) for row in rows}


def _spend(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> dict[int, float]:
    """What the customers of each segment spent in the window; empty where nothing tells it."""
    spend = spend_sql(config)
    if spend is None:
        return {}
    rows = connection.execute(
        f"""
        SELECT a.segment_id, {exact_sum("spend")}
        FROM monthly_assignments AS a
        JOIN (SELECT month, customer_id, {spend} AS spend FROM validated_features) AS f
            ON f.month = a.month AND f.customer_id = a.customer_id
        WHERE a.month = ? AND spend IS NOT NULL
        GROUP BY a.segment_id
        """,
        [month],
    ).fetchall()
    return dict(rows)


def _feature_profiles(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[FeatureProfile]:
    units = feature_units(config)
    profiles = []
    for feature in config.raw_feature_names:
        column = f"f.{identifier(feature)}"
        rows = connection.execute(
            f"""
            SELECT a.segment_id, {exact_mean(column)},
                quantile_cont({column}, 0.1), quantile_cont({column}, 0.5), quantile_cont({column}, 0.9),
                CAST(count({column}) AS DOUBLE) / count(*)
            FROM monthly_assignments AS a
            JOIN validated_features AS f ON f.month = a.month AND f.customer_id = a.customer_id
            WHERE a.month = ?
            GROUP BY GROUPING SETS ((a.segment_id), ())
            HAVING count({column}) > 0
            ORDER BY a.segment_id
            """,
            [month],
        ).fetchall()
        profiles += [FeatureProfile(row[0], feature, units[feature], *row[1:]) for row in rows]
    return profiles


def _shares_of_spend(connection: duckdb.DuckDBPyConnection, month: date) -> Shares:
    rows = connection.execute(
        f"SELECT segment_id, category, share, population_share FROM {SEGMENT_CATEGORIES.name} WHERE month = ?", [month]
    ).fetchall()
    return {(segment, category): (share, of_all) for segment, category, share, of_all in rows if share is not None}


def _narrative(
    segment: Segment,
    customers: int,
    everyone: int,
    revenue_share: float | None,
    own: Sequence[FeatureProfile],
    population: Sequence[FeatureProfile],
    bought: Shares,
    config: Config,
) -> str:
    if not customers:
        return f"{segment.name}: no customer this month."
    means = {row.feature: row.mean for row in population}

    def figures(features: Sequence[Feature]) -> list[FeatureFigure]:
        categories = {feature.name: feature.category for feature in features}
        found = []
        for row in own:
            category = categories.get(row.feature)
            shares = bought.get((segment.segment_id, category)) if category is not None else None
            if category is not None and shares is not None:
                found.append(FeatureFigure(row.feature, "share", *shares, category))
            # a log-ratio says nothing to a reader, and one of the rarer categories has no share beside it
            elif row.feature in categories and row.unit != LOG_RATIO:
                found.append(FeatureFigure(row.feature, row.unit, row.mean, means[row.feature]))
        return found

    # of whom nothing is known of the spend, a share of it tells nothing
    telling = {config.monetary_feature} if config.monetary_feature is not None else {FREQUENCY, ORDER_VALUE}
    if any(row.known_share < 1 for row in [*own, *population] if row.feature in telling):
        revenue_share = None
    # what nobody configured is not told: most of it repeats the model's own features
    of_model, portraits = figures(config.model_features), figures(config.portrait_features)
    return narrative(segment.name, segment.role, customers, customers / everyone, revenue_share, of_model, portraits)
