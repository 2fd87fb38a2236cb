"""Who is where this month, what the segments look like, who moved, and whether the model still fits."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.models.assets import candidate_models, selected_model
from segment_pipeline.months import add_months
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.metadata import as_list, as_table
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.tables import (
    CUSTOMER_CHANGES,
    DRIFT_ALERTS,
    FEATURE_DRIFT,
    JOURNEY_CONVERSION,
    JOURNEY_PATHS,
    MEMORY_STATES,
    MONTHLY_ASSIGNMENTS,
    SEGMENT_CATEGORIES,
    SEGMENT_DYNAMICS,
    SEGMENT_EXAMPLES,
    SEGMENT_FEATURE_PROFILES,
    SEGMENT_PROFILES,
    SILENCE_DYNAMICS,
    TRANSITION_DELTAS,
    TRANSITION_MATRIX,
)
from segment_pipeline.words import percent

if TYPE_CHECKING:
    from segment_pipeline.models.model import SegmentModel
    from segment_pipeline.segments.profiles_store import Profile

Rows = Sequence[Mapping[str, Any]]

PROBABILITIES_SUM_TO_ONE = CheckSpec(
    "probabilities_sum_to_one", "Every customer's membership probabilities sum to 1 within 1e-9.", blocking=True
)
EVERYBODY_IS_ASSIGNED = CheckSpec(
    "every_accepted_customer_assigned", "As many assignments as accepted customers.", blocking=True
)
AUDIENCES_KEEP_THEIR_SIZE = CheckSpec(
    "audiences_change_as_usual",
    "No segment and no tier has grown or shrunk beyond what its own past months explain.",
    blocking=False,
)
TRANSITIONS_RECONCILE = CheckSpec(
    "transitions_reconcile", "The moves add up to the customers of both months, exactly.", blocking=True
)


@monthly_asset(
    MONTHLY_ASSIGNMENTS,
    beside=[MEMORY_STATES, SEGMENT_DYNAMICS, SILENCE_DYNAMICS, CUSTOMER_CHANGES],
    # Of the source's customers, those of a champion with memory: who is new, and who was there before.
    deps=[raw_customers, selected_model, validated_features],
    follows_itself=True,  # what a champion with memory knew of each customer at the end of the month before
    kinds=SQL_KINDS,
    checks=[PROBABILITIES_SUM_TO_ONE, EVERYBODY_IS_ASSIGNED],
)
def monthly_assignments(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.database.store import month_rows
    from segment_pipeline.models.champions_store import require_champion
    from segment_pipeline.segments.ahead.silence_store import write_silence_dynamics
    from segment_pipeline.segments.assignments_store import assignment_figures, write_assignments
    from segment_pipeline.segments.changes_store import write_changes
    from segment_pipeline.segments.charts_store import certainty_bins
    from segment_pipeline.segments.memory_store import remember
    from segment_pipeline.segments.month_before_store import seen_before

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        remember(step.connection, champion, step.month, step.config.memory.months)
        before = seen_before(step.connection, champion, step.month)
        ahead = write_silence_dynamics(step.connection, step.config, champion, step.month)
        step.rows = write_assignments(step.connection, champion, step.month, step.config.tiers, before, ahead)
        write_changes(step.connection, champion, step.month, seen_before=before is not None)
        figures = assignment_figures(step.connection, step.month)
        step.judge(
            _sums(figures["largest_sum_error"]),
            _nobody_missing(step.rows, month_rows(step.connection, VALIDATED_FEATURES, step.month)),
            advice="A customer could not be scored: please report the month's feature_diagnostics.",
        )
        bins = certainty_bins(step.connection, step.month)
    return step.result({"model_version": champion.model_version, **figures, "certainty": _certainty(bins)})


def _sums(largest_error: float) -> dg.AssetCheckResult:
    observed, limit = {"largest_error": largest_error}, {"largest_error": 1e-9}
    return checks.result(PROBABILITIES_SUM_TO_ONE, largest_error <= 1e-9, observed, limit)


def _nobody_missing(assigned: int, accepted: int) -> dg.AssetCheckResult:
    observed = {"assigned": assigned, "accepted": accepted}
    return checks.result(EVERYBODY_IS_ASSIGNED, assigned == accepted, observed, {"difference": 0})


def _certainty(bins: Rows) -> dg.MarkdownMetadataValue:
    from segment_pipeline.charts import histograms

    return picture(
        histograms(bins, {"max_probability": "largest probability", "entropy": "entropy"}),
        "Customers by their largest probability and by their entropy",
    )


@monthly_asset(
    SEGMENT_PROFILES,
    beside=[SEGMENT_FEATURE_PROFILES, SEGMENT_CATEGORIES, SEGMENT_EXAMPLES],
    # Of the source's customers: what they spent on which category.
    deps=[raw_customers, selected_model, validated_features, monthly_assignments],
    kinds=SQL_KINDS,
)
def segment_profiles(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.models.champions_store import require_champion
    from segment_pipeline.segments.categories_store import write_segment_categories, write_segment_examples
    from segment_pipeline.segments.charts_store import share_history
    from segment_pipeline.segments.profiles_store import index_rows, profile_segments, write_profiles

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        write_segment_categories(step.connection, step.month)
        profiles = profile_segments(step.connection, step.config, champion, step.month)
        step.rows = write_profiles(step.connection, step.month, profiles)
        write_segment_examples(step.connection, step.month)
        history = share_history(step.connection, step.month)
    drawn = _profiles_drawn(index_rows(profiles, step.config), history)
    return step.result({**_sizes(profiles), **_over_months(profiles, history), **drawn})


def _sizes(profiles: "Sequence[Profile]") -> dict[str, Any]:
    return {
        "largest_share": max(profile.share for profile in profiles),
        "smallest_share": min(profile.share for profile in profiles),
        "segments": as_table(
            map(vars, profiles),
            segment_id=int,
            name=str,
            role=str,
            customers=int,
            share=float,
            share_before=float,
            total_spend=float,
            average_spend=float,
            revenue_share=float,
        ),
    }


def _over_months(profiles: "Sequence[Profile]", history: Rows) -> dict[str, Any]:
    from segment_pipeline.charts import sparkline
    from segment_pipeline.segments.charts_store import share_trend

    def line(segment_id: int) -> str:
        return sparkline(share_trend(history, segment_id))

    return {
        "shares_by_month": as_list(f"{p.segment_id}: `{line(p.segment_id)}` {percent(p.share, 1)}" for p in profiles)
    }


def _profiles_drawn(indices: Rows, history: Rows) -> dict[str, Any]:
    from segment_pipeline.charts import profile_heat_map, segment_colours, shares_over_time

    over_time = shares_over_time(history, segment_colours((row["month"], row["segment_id"]) for row in history))
    heat_map = profile_heat_map(indices)
    return {
        "shares_over_time": picture(over_time, "Share of customers in each segment, month by month"),
        "profile_heat_map": picture(
            heat_map, "Each feature's index, 100 for all; blue is good news, brown bad, grey neither"
        ),
    }


@monthly_asset(
    TRANSITION_DELTAS,
    beside=[TRANSITION_MATRIX],
    deps=[raw_customers, validated_features, selected_model, monthly_assignments],
    kinds=SQL_KINDS,
    checks=[TRANSITIONS_RECONCILE],
)
def transition_deltas(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.database.store import month_rows
    from segment_pipeline.models.champions_store import measuring_champion
    from segment_pipeline.segments.assignments_store import movement_figures, reconciliation, write_transitions
    from segment_pipeline.segments.charts_store import month_moves

    with pipeline.step(context) as step:
        champion = measuring_champion(step.connection, step.config, step.month)
        has_previous = month_rows(step.connection, VALIDATED_FEATURES, add_months(step.month, -1)) > 0
        step.rows, moves = write_transitions(step.connection, champion, step.month, has_previous=has_previous)
        gaps = reconciliation(step.connection, step.month) if has_previous else {}
        step.judge(_nobody_lost(gaps), advice="Run the month before again with --force, then this one.")
        figures = movement_figures(step.connection, step.month)
        matrix = month_moves(step.connection, step.month)
    return step.result({"moves": moves, **figures, **_matrix_drawn(matrix, champion)})


def _nobody_lost(gaps: Mapping[str, int]) -> dg.AssetCheckResult:
    """gaps : customers by whom the moves are off, empty in the first month."""
    observed: Mapping[str, object] = gaps or {"month_before": "none: this is the first month"}
    return checks.result(TRANSITIONS_RECONCILE, not any(gaps.values()), observed, {"difference": 0})


def _matrix_drawn(moves: Rows, measuring_champion: "SegmentModel | None") -> dict[str, Any]:
    from segment_pipeline.charts import transition_matrix

    if not moves:
        return {}
    segments = measuring_champion.segments if measuring_champion is not None else ()
    drawn = transition_matrix(moves, {str(segment.segment_id): segment.name for segment in segments})
    return {"transition_matrix": picture(drawn, "Where the customers of each segment went")}


@monthly_asset(
    DRIFT_ALERTS,
    beside=[FEATURE_DRIFT],
    deps=[raw_customers, validated_features, selected_model, candidate_models, monthly_assignments, segment_profiles],
    follows_itself=True,  # last month's alerts say which of this month's are new
    checks=[AUDIENCES_KEEP_THEIR_SIZE],
)
def drift_alerts(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.segments import drift_store
    from segment_pipeline.segments.charts_store import drift_history

    with pipeline.step(context) as step:
        figures = drift_store.base_figures(step.connection, step.config, step.month)
        figures += drift_store.write_feature_drift(step.connection, step.config, step.month)
        sizes, jumped = drift_store.audience_figures(step.connection, step.config, step.month)
        step.judge(_as_usual(len(sizes), jumped))
        figures += sizes
        step.rows = drift_store.write_drift_alerts(step.connection, step.month, figures)
        counts = drift_store.alert_counts(step.connection, step.month)
        fired = drift_store.fired_alerts(step.connection, step.month)
        history = drift_history(step.connection, step.month)
    return step.result(
        {
            **{f"{status}_alerts": counts[status] for status in ("new", "ongoing", "resolved")},
            # read by the drift-alert sensor, which never opens the warehouse
            "fired_alerts": dg.MetadataValue.json(fired),
            # each key is a plot over the months in the UI; of a metric for each segment or feature, the largest
            **{f"drift/{row['metric']}": row["value"] for row in history if row["month"] == step.month},
            "drift_over_months": _drift_drawn(history),
        }
    )


def _as_usual(audiences: int, jumped: Sequence[str]) -> dg.AssetCheckResult:
    """audiences : how many could be judged. jumped : what those are and were that have jumped, in words."""
    observed = {"audiences": audiences, "jumped": len(jumped), "problems": list(jumped)}
    limit = {"jumped": 0, "advice": "Look at segment_events for who came and who went; see docs/how-to/thresholds.md."}
    return checks.result(AUDIENCES_KEEP_THEIR_SIZE, not jumped, observed, limit)


def _drift_drawn(history: Rows) -> dg.MarkdownMetadataValue:
    from segment_pipeline.charts import drift_over_months

    return picture(drift_over_months(history), "Drift metrics over the months, limits dashed")


@monthly_asset(
    JOURNEY_PATHS,
    beside=[JOURNEY_CONVERSION],
    # It reads the five months before as well: that they are there, or were passed over, is what every month's champion
    # has checked.
    deps=[validated_features, selected_model, monthly_assignments, segment_profiles],
    kinds=SQL_KINDS,
)
def journey_paths(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.models.champions_store import require_champion
    from segment_pipeline.segments.journeys_store import common_paths, write_journeys

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        step.rows, conversions = write_journeys(step.connection, champion, step.month)
        common = common_paths(step.connection, step.month)
    shown = as_table(common, path=str, customers=int, share=float)
    return step.result({"conversions": conversions, "paths_of_three_months": shown})
