"""Stage 6a: what else would segment these customers, and whether a mixture is right for them at all."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from segment_pipeline.alternatives.tables import ALTERNATIVE_SEGMENTATIONS
from segment_pipeline.customers.assets import validated_features
from segment_pipeline.early_warnings.assets import churn_risk
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import month_key, parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.resources import Pipeline

if TYPE_CHECKING:
    from segment_pipeline.alternatives.alternatives import Alternative

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


class AlternativesConfig(dg.Config):
    """What a person may ask for in one run of one month."""

    on_demand: bool = False


@dg.asset(
    # churn_risk: it labels the customers whose silence is known by now, with which the methods' foresight is measured
    deps=[validated_features, selected_model, churn_risk],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("alternative_segmentations"),
    group_name="validation",
    owners=OWNERS,
    kinds=KINDS,
    description=f"{ALTERNATIVE_SEGMENTATIONS.description} With segment_hierarchy, suitability and "
    "suitability_findings.",
    metadata=table_metadata(ALTERNATIVE_SEGMENTATIONS),
)
def alternative_segmentations(
    context: dg.AssetExecutionContext, config: AlternativesConfig, pipeline: Pipeline
) -> Events:
    from segment_pipeline.alternatives.alternatives_store import (
        find_alternatives,
        is_due,
        last_computed,
        write_alternatives,
    )

    month = parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        wanted = config.on_demand or is_due(connection, pipeline.config, month)
        found = find_alternatives(connection, pipeline.config, month) if wanted else None
    with pipeline.step(context) as step:
        step.rows = write_alternatives(step.connection, month, found)
        last = last_computed(step.connection, month)
    problems = list(found.problems) if found is not None else []
    for problem in problems:
        context.log.info(problem)  # the check warns
    told: dict[str, dg.MetadataValue | str] = {
        "last_computed": "never" if last is None else f"last computed in {month_key(last)}"
    }
    if found is not None:
        told["verdict"] = found.suitability.verdict
        told["reason"] = dg.MetadataValue.md(found.suitability.reason)
        told["methods"] = _methods(found.comparison.alternatives)
    yield dg.MaterializeResult(
        metadata={"dagster/partition_row_count": step.rows, **told},
        check_results=[
            checks.result(
                "alternative_segmentations",
                "alternatives_can_be_computed",
                not problems,
                {"problems": problems},
                {"problems": []},
            )
        ],
    )


def _methods(alternatives: "Sequence[Alternative]") -> dg.MetadataValue:
    """The methods as a table; a figure that was not computed is empty."""
    figures = ("segments", "customers", "noise_share", "agreement", "silhouette", "stability", "churn_auc")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {"method": one.method, **{name: getattr(one, name) for name in figures}, "verdict": one.verdict}
            )
            for one in alternatives
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("method"),
                *(dg.TableColumn(name, "int" if name in figures[:2] else "float") for name in figures),
                dg.TableColumn("verdict"),
            ]
        ),
    )
