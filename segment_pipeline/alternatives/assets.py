"""What else would segment these customers, and whether a mixture is right for them at all."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.alternatives.tables import (
    ALTERNATIVE_SEGMENTATIONS,
    SEGMENT_HIERARCHY,
    SUITABILITY,
    SUITABILITY_FINDINGS,
)
from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.early_warnings.assets import churn_risk
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import month_key, parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.metadata import as_table
from segment_pipeline.orchestration.monthly_asset import monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments

if TYPE_CHECKING:
    from segment_pipeline.alternatives.alternatives_store import Found

ALTERNATIVES_CAN_BE_COMPUTED = CheckSpec(
    "alternatives_can_be_computed",
    "The rules and the categorical columns under alternatives can be used; those that cannot are left out.",
    blocking=False,
)


class AlternativesConfig(dg.Config):
    """What a person may ask for in one run of one month."""

    on_demand: bool = False


@monthly_asset(
    ALTERNATIVE_SEGMENTATIONS,
    beside=[SEGMENT_HIERARCHY, SUITABILITY, SUITABILITY_FINDINGS],
    # churn_risk: it labels the customers whose silence is known by now, with which the methods' foresight is measured
    deps=[raw_customers, validated_features, selected_model, monthly_assignments, churn_risk],
    checks=[ALTERNATIVES_CAN_BE_COMPUTED],
)
def alternative_segmentations(
    context: dg.AssetExecutionContext, config: AlternativesConfig, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    from segment_pipeline.alternatives import alternatives_store as store

    month = parse_month(context.partition_key)
    with pipeline.read(context, step_follows=True) as connection:
        wanted = config.on_demand or store.is_due(connection, pipeline.config, month)
        found = store.find_alternatives(connection, pipeline.config, month) if wanted else None
    problems = list(found.problems) if found is not None else []
    with pipeline.step(context) as step:
        step.rows = store.write_alternatives(step.connection, month, found)
        last = store.last_computed(step.connection, month)
        step.judge(checks.result(ALTERNATIVES_CAN_BE_COMPUTED, not problems, {"problems": problems}, {"problems": []}))
    for problem in problems:
        context.log.info(problem)  # the check warns
    computed = "never" if last is None else f"last computed in {month_key(last)}"
    return step.result({"last_computed": computed, **(_shown(found) if found is not None else {})})


def _shown(found: "Found") -> dict[str, Any]:
    return {
        "verdict": found.suitability.verdict,
        "reason": dg.MetadataValue.md(found.suitability.reason),
        "methods": as_table(
            map(vars, found.comparison.alternatives),
            method=str,
            segments=int,
            customers=int,
            noise_share=float,
            agreement=float,
            silhouette=float,
            stability=float,
            churn_auc=float,
            verdict=str,
        ),
    }
