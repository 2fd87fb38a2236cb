"""Stage 6b: the segments that the company already uses, and the customers who are like nobody else."""

from collections.abc import Iterator

import dagster as dg

from segment_pipeline.audit.tables import OUTLIER_GROUPS, SEGMENT_AUDIT
from segment_pipeline.customers.assets import raw_customers, scaled_matrix, validated_features
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.pictures import markdown_of
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


@dg.asset(
    deps=[raw_customers, validated_features, scaled_matrix, selected_model, monthly_assignments],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("segment_audit"),
    group_name="validation",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{SEGMENT_AUDIT.description} With segment_audit_summary and segment_audit_customers.",
    metadata=table_metadata(SEGMENT_AUDIT),
)
def segment_audit(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.audit.audit_store import Audit, audit_segments, write_audit
    from segment_pipeline.models.champions_store import require_champion

    month = parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        champion = require_champion(connection, pipeline.config, month)
        audit = audit_segments(connection, pipeline.config, champion, month)
    with pipeline.step(context) as step:
        step.rows = write_audit(step.connection, step.month, audit)
    found = audit or Audit(remarks=["the configuration names no segments of the company's own (`audit`)"])
    for problem in found.problems:
        context.log.info(problem)  # the check warns
    for remark in found.remarks:
        context.log.info(remark)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "findings": dg.MetadataValue.md("\n".join(f"- {row['sentence']}" for row in found.summary) or "No audit."),
            "most_mislabelled": [
                f"{row['customer_id']}: {row['reason']}" for row in found.customers if row["list"] == "most_mislabelled"
            ],
            **found.figures,
        },
        check_results=[
            checks.result(
                "segment_audit",
                "audit_can_be_made",
                not found.problems,
                {"problems": list(found.problems), "remarks": list(found.remarks)},
                {"problems": []},
            )
        ],
    )


@dg.asset(
    deps=[monthly_assignments, scaled_matrix, validated_features],
    partitions_def=monthly_partitions,
    group_name="validation",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{OUTLIER_GROUPS.description} With outlier_group_profiles and outlier_customers.",
    metadata=table_metadata(OUTLIER_GROUPS),
)
def outlier_groups(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.audit.outlier_chart import outlier_chart
    from segment_pipeline.audit.outliers_store import outlier_points, write_outliers

    with pipeline.step(context) as step:
        groups = write_outliers(step.connection, step.config, step.month)
        step.rows = len(groups)
        points = outlier_points(step.connection, step.config, step.month, groups)
    picture = {} if points is None else {"chart": markdown_of(outlier_chart(points), points.title)}
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "unusual_customers": sum(found.group.customers for found in groups),
            "recommendations": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "group_id": found.group_id,
                            "kind": found.judgement.kind,
                            "customers": found.group.customers,
                            "recommendation": found.judgement.recommendation,
                            "sentence": found.judgement.sentence,
                        }
                    )
                    for found in groups
                ]
            ),
            **picture,
        }
    )
