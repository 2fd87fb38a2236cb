"""Stage 3: who is where this month, what the segments look like, who moved, and whether the model still fits."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.models.assets import candidate_models, selected_model
from segment_pipeline.months import add_months
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.tables import (
    DRIFT_ALERTS,
    JOURNEY_PATHS,
    MONTHLY_ASSIGNMENTS,
    SEGMENT_PROFILES,
    TRANSITION_DELTAS,
)
from segment_pipeline.words import percent

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


@dg.asset(
    deps=[selected_model, validated_features],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("monthly_assignments"),
    group_name="segments",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=MONTHLY_ASSIGNMENTS.description,
    metadata=table_metadata(MONTHLY_ASSIGNMENTS),
)
def monthly_assignments(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.charts import histograms
    from segment_pipeline.database.store import month_rows
    from segment_pipeline.models.champions_store import require_champion
    from segment_pipeline.segments.assignments_store import assignment_figures, write_assignments
    from segment_pipeline.segments.charts_store import certainty_bins

    try:
        with pipeline.step(context) as step:
            champion = require_champion(step.connection, step.config, step.month)
            step.rows = write_assignments(step.connection, champion, step.month, step.config.tiers)
            figures = assignment_figures(step.connection, step.month)
            bins = certainty_bins(step.connection, step.month)
            accepted = month_rows(step.connection, VALIDATED_FEATURES, step.month)
            verdicts = checks.gate(
                context.partition_key,
                [
                    checks.result(
                        "monthly_assignments",
                        "probabilities_sum_to_one",
                        figures["largest_sum_error"] <= 1e-9,
                        {"largest_error": figures["largest_sum_error"]},
                        {"largest_error": 1e-9},
                    ),
                    checks.result(
                        "monthly_assignments",
                        "every_accepted_customer_assigned",
                        step.rows == accepted,
                        {"assigned": step.rows, "accepted": accepted},
                        {"difference": 0},
                    ),
                ],
                "A customer could not be scored: please report the month's feature_diagnostics.",
            )
    except checks.GateClosedError as closed:
        yield from checks.record_failure(closed)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "model_version": champion.model_version,
            **figures,
            "certainty": picture(
                histograms(bins, {"max_probability": "largest probability", "entropy": "entropy"}),
                "Customers by their largest probability and by their entropy",
            ),
        },
        check_results=verdicts,
    )


@dg.asset(
    deps=[monthly_assignments],
    partitions_def=monthly_partitions,
    group_name="segments",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{SEGMENT_PROFILES.description} With segment_feature_profiles.",
    metadata=table_metadata(SEGMENT_PROFILES),
)
def segment_profiles(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline import charts
    from segment_pipeline.models.champions_store import require_champion
    from segment_pipeline.segments.charts_store import share_history
    from segment_pipeline.segments.profiles_store import index_rows, profile_segments, write_profiles

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        profiles = profile_segments(step.connection, step.config, champion, step.month)
        step.rows = write_profiles(step.connection, step.month, profiles)
        history = share_history(step.connection, step.month)
    colours = charts.segment_colours((row["month"], row["segment_id"]) for row in history)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "largest_share": max(profile.share for profile in profiles),
            "smallest_share": min(profile.share for profile in profiles),
            "segments": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "segment_id": profile.segment_id,
                            "name": profile.name,
                            "role": profile.role or "",
                            "customers": profile.customers,
                            "share": profile.share,
                        }
                    )
                    for profile in profiles
                ]
            ),
            "shares_by_month": dg.MetadataValue.md(
                "\n".join(
                    f"- {profile.segment_id}: `{charts.sparkline(_shares(history, profile.segment_id))}` "
                    f"{percent(profile.share, 1)}"
                    for profile in profiles
                )
            ),
            "shares_over_time": picture(
                charts.shares_over_time(history, colours), "Share of customers in each segment, month by month"
            ),
            "profile_heat_map": picture(
                charts.profile_heat_map(index_rows(profiles)), "Each feature's index, 100 for the population"
            ),
        }
    )


def _shares(history: list[dict[str, Any]], segment_id: int) -> list[float]:
    return [row["share"] for row in history if row["segment_id"] == segment_id]


@dg.asset(
    deps=[monthly_assignments, raw_customers],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("transition_deltas"),
    group_name="segments",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{TRANSITION_DELTAS.description} With transition_matrix.",
    metadata=table_metadata(TRANSITION_DELTAS),
)
def transition_deltas(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.charts import transition_matrix
    from segment_pipeline.database.store import month_rows
    from segment_pipeline.models.champions_store import previous_champion, scores_in
    from segment_pipeline.segments.assignments_store import movement_figures, reconciliation, write_transitions
    from segment_pipeline.segments.charts_store import month_moves

    try:
        with pipeline.step(context) as step:
            previous = previous_champion(step.connection, step.config, step.month)
            measuring_champion = (
                previous if previous is not None and scores_in(step.connection, previous, step.month) else None
            )
            has_previous = month_rows(step.connection, VALIDATED_FEATURES, add_months(step.month, -1)) > 0
            step.rows, moves = write_transitions(
                step.connection, measuring_champion, step.month, has_previous=has_previous
            )
            gaps = reconciliation(step.connection, step.month) if has_previous else {}
            verdicts = checks.gate(
                context.partition_key,
                [
                    checks.result(
                        "transition_deltas",
                        "transitions_reconcile",
                        not any(gaps.values()),
                        gaps or {"month_before": "none: this is the first month"},
                        {"difference": 0},
                    )
                ],
                "Run the month before again with --force, then this one.",
            )
            figures = movement_figures(step.connection, step.month)
            matrix = month_moves(step.connection, step.month)
    except checks.GateClosedError as closed:
        yield from checks.record_failure(closed)
    names = (
        {str(segment.segment_id): segment.name for segment in measuring_champion.segments}
        if measuring_champion is not None
        else {}
    )
    drawn = picture(transition_matrix(matrix, names), "Where the customers of each segment went") if matrix else None
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "moves": moves,
            **figures,
            **({"transition_matrix": drawn} if drawn else {}),
        },
        check_results=verdicts,
    )


@dg.asset(
    deps=[
        selected_model,
        candidate_models,
        monthly_assignments,
        # last month's alerts say which of this month's are new
        dg.AssetDep(
            "drift_alerts",
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        ),
    ],
    partitions_def=monthly_partitions,
    group_name="segments",
    owners=OWNERS,
    kinds=KINDS,
    description=f"{DRIFT_ALERTS.description} With feature_drift.",
    metadata=table_metadata(DRIFT_ALERTS),
)
def drift_alerts(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.charts import drift_over_months
    from segment_pipeline.segments.charts_store import drift_history
    from segment_pipeline.segments.drift_store import (
        alert_counts,
        base_figures,
        fired_alerts,
        write_drift_alerts,
        write_feature_drift,
    )

    with pipeline.step(context) as step:
        figures = base_figures(step.connection, step.config, step.month)
        figures += write_feature_drift(step.connection, step.config, step.month)
        step.rows = write_drift_alerts(step.connection, step.month, figures)
        counts, fired = alert_counts(step.connection, step.month), fired_alerts(step.connection, step.month)
        drift = drift_history(step.connection, step.month)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "new_alerts": counts["new"],
            "ongoing_alerts": counts["ongoing"],
            "resolved_alerts": counts["resolved"],
            # read by the drift-alert sensor, which never opens the warehouse
            "fired_alerts": dg.MetadataValue.json(fired),
            # each key is a plot over the months in the UI; of a metric for each segment or feature, the largest
            **{f"drift/{row['metric']}": row["value"] for row in drift if row["month"] == step.month},
            "drift_over_months": picture(drift_over_months(drift), "Drift metrics over the months, limits dashed"),
        }
    )


@dg.asset(
    # It reads the five months before as well: that they are there is what every month's champion has checked.
    deps=[segment_profiles],
    partitions_def=monthly_partitions,
    group_name="journeys",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{JOURNEY_PATHS.description} With journey_conversion.",
    metadata=table_metadata(JOURNEY_PATHS),
)
def journey_paths(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.segments.journeys_store import write_journeys

    with pipeline.step(context) as step:
        step.rows, conversions = write_journeys(step.connection, step.month)
        common = step.connection.execute(
            "SELECT array_to_string(path, ' > ') AS path, customers, share FROM journey_paths "
            "WHERE month = ? AND months = 3 AND place <= 10 ORDER BY place",
            [step.month],
        ).fetchall()
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "conversions": conversions,
            "paths_of_three_months": dg.MetadataValue.table(
                [dg.TableRecord({"path": path, "customers": count, "share": share}) for path, count, share in common],
                schema=dg.TableSchema(
                    [dg.TableColumn("path"), dg.TableColumn("customers", "int"), dg.TableColumn("share", "float")]
                ),
            ),
        }
    )
