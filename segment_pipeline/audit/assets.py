"""The segments that the company already uses, and the customers who are like nobody else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.audit.tables import (
    OUTLIER_CUSTOMERS,
    OUTLIER_GROUP_PROFILES,
    OUTLIER_GROUPS,
    SEGMENT_AUDIT,
    SEGMENT_AUDIT_CUSTOMERS,
    SEGMENT_AUDIT_SUMMARY,
)
from segment_pipeline.customers.assets import raw_customers, scaled_matrix, validated_features
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.metadata import as_list, as_table
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments

if TYPE_CHECKING:
    from segment_pipeline.audit.audit_store import Audit
    from segment_pipeline.audit.outliers import OutlierPoints
    from segment_pipeline.audit.outliers_store import JudgedGroup

AUDIT_CAN_BE_MADE = CheckSpec(
    "audit_can_be_made",
    "The company's own segments can be read and compared, and belong to customers of the source.",
    blocking=False,
)


@monthly_asset(
    SEGMENT_AUDIT,
    beside=[SEGMENT_AUDIT_SUMMARY, SEGMENT_AUDIT_CUSTOMERS],
    deps=[raw_customers, validated_features, scaled_matrix, selected_model, monthly_assignments],
    kinds=SQL_KINDS,
    checks=[AUDIT_CAN_BE_MADE],
)
def segment_audit(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.audit.audit_store import Audit, audit_segments, write_audit
    from segment_pipeline.models.champions_store import require_champion

    month = parse_month(context.partition_key)
    with pipeline.read(context, step_follows=True) as connection:
        champion = require_champion(connection, pipeline.config, month)
        audit = audit_segments(connection, pipeline.config, champion, month)
    found = audit or Audit(remarks=["the configuration names no segments of the company's own (`audit`)"])
    with pipeline.step(context) as step:
        step.rows = write_audit(step.connection, step.month, audit)
        step.judge(_can_be_made(found))
    for said in (*found.problems, *found.remarks):
        context.log.info(said)  # of problems the check warns
    return step.result(_findings(found))


def _can_be_made(found: "Audit") -> dg.AssetCheckResult:
    observed = {"problems": list(found.problems), "remarks": list(found.remarks)}
    return checks.result(AUDIT_CAN_BE_MADE, not found.problems, observed, {"problems": []})


def _findings(found: "Audit") -> dict[str, Any]:
    mislabelled = [row for row in found.customers if row["list"] == "most_mislabelled"]
    return {
        "findings": as_list((str(row["sentence"]) for row in found.summary), otherwise="No audit."),
        "most_mislabelled": [f"{row['customer_id']}: {row['reason']}" for row in mislabelled],
        **found.figures,
    }


@monthly_asset(
    OUTLIER_GROUPS,
    beside=[OUTLIER_GROUP_PROFILES, OUTLIER_CUSTOMERS],
    deps=[monthly_assignments, scaled_matrix, validated_features],
    kinds=SQL_KINDS,
)
def outlier_groups(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.audit.outliers_store import outlier_points, write_outliers

    with pipeline.step(context) as step:
        groups = write_outliers(step.connection, step.config, step.month)
        step.rows = len(groups)
        points = outlier_points(step.connection, step.config, step.month, groups)
    return step.result({**_recommendations(groups), **_chart(points)})


def _recommendations(groups: "Sequence[JudgedGroup]") -> dict[str, Any]:
    rows = [
        {"group_id": found.group_id, "customers": found.group.customers, **vars(found.judgement)} for found in groups
    ]
    return {
        "unusual_customers": sum(found.group.customers for found in groups),
        "recommendations": as_table(rows, group_id=int, kind=str, customers=int, recommendation=str, sentence=str),
    }


def _chart(points: "OutlierPoints | None") -> dict[str, Any]:
    from segment_pipeline.audit.outlier_chart import outlier_chart

    return {} if points is None else {"chart": picture(outlier_chart(points), points.title)}
