"""The file that SQL consumers read."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import dagster as dg

from segment_pipeline.alternatives.assets import alternative_segmentations
from segment_pipeline.audit.assets import outlier_groups, segment_audit
from segment_pipeline.campaigns.assets import campaign_lift, customer_actions
from segment_pipeline.customers.assets import raw_customers, scaled_matrix, validated_features
from segment_pipeline.database.tables import Table, View
from segment_pipeline.early_warnings.assets import churn_risk, customer_value, early_warnings, warning_backtest
from segment_pipeline.models.assets import candidate_models, selected_model
from segment_pipeline.movement.assets import movement_reference, segment_forecast
from segment_pipeline.orchestration.metadata import column_schema
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.resources import Pipeline, Step
from segment_pipeline.orchestration.settings import location_config
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES, VIEWS
from segment_pipeline.segments.assets import (
    drift_alerts,
    journey_paths,
    monthly_assignments,
    segment_profiles,
    transition_deltas,
)
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS
from segment_pipeline.validation.assets import model_validation


def _published_metadata(relations: Iterable[Table | View]) -> dict[str, Any]:
    """Where the published file lies, and all that stands in it, as relation.column."""
    return {
        "dagster/uri": location_config().published_path.as_uri(),
        "dagster/column_schema": column_schema(
            replace(column, name=f"{relation.name}.{column.name}")
            for relation in relations
            for column in relation.columns
        ),
    }


@monthly_asset(
    "The file for SQL consumers, replaced in one step by a checked copy of every published table.",
    # all that write a published table, in the order of the stages
    deps=[
        raw_customers,
        validated_features,
        scaled_matrix,
        candidate_models,
        selected_model,
        monthly_assignments,
        segment_profiles,
        transition_deltas,
        drift_alerts,
        journey_paths,
        customer_actions,
        campaign_lift,
        churn_risk,
        customer_value,
        early_warnings,
        warning_backtest,
        movement_reference,
        segment_forecast,
        model_validation,
        alternative_segmentations,
        segment_audit,
        outlier_groups,
    ],
    kinds=SQL_KINDS,
    metadata=_published_metadata([*PUBLISHED_TABLES, *VIEWS]),
)
def published_segments(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.database.store import month_rows
    from segment_pipeline.publishing.draft import put_in_place, write_beside
    from segment_pipeline.publishing.publish import refuse_torn, show_in_catalogue

    published = pipeline.config.published_path
    # The row that says "published" is committed first, so that it stands in the file it speaks of.
    with pipeline.step(context) as step:
        refuse_torn(step.connection, step.month)
        step.rows = month_rows(step.connection, MONTHLY_ASSIGNMENTS, step.month)
        told = _digest(step)
    with pipeline.read(context) as connection:
        draft = write_beside(connection, published, pipeline.config.tiers)
    put_in_place(draft, published)
    show_in_catalogue(pipeline.warehouse)
    return step.result(
        {
            "path": dg.MetadataValue.path(str(published)),
            "size_bytes": published.stat().st_size,
            # read by the sensor notify_month, which never opens the warehouse
            "digest": dg.MetadataValue.text(told),
        }
    )


def _digest(step: Step) -> str:
    from segment_pipeline.campaigns.actions_store import without_action
    from segment_pipeline.early_warnings.rules_store import contact_list_told, warning_figures
    from segment_pipeline.movement.reference_store import chance_moved, chance_warned
    from segment_pipeline.publishing.summary import campaign_verdicts, digest
    from segment_pipeline.segments.assignments_store import movement_figures
    from segment_pipeline.segments.drift_store import fired_alerts

    return digest(
        step.config.name,
        step.month,
        customers=step.rows,
        movement=movement_figures(step.connection, step.month),
        chance=chance_moved(step.connection, step.month),
        warned=chance_warned(step.connection, step.month),
        warnings=warning_figures(step.connection, step.month),
        contact_list=contact_list_told(step.connection, step.month),
        without_action=without_action(step.connection, step.month) if step.config.actions else None,
        fired_alerts=len(fired_alerts(step.connection, step.month)),
        campaigns=campaign_verdicts(step.connection, [step.month]),
    )
