"""Stage 4: where customers go from segment to segment, and whom to worry about."""

import dagster as dg

from segment_pipeline.campaigns.assets import customer_actions
from segment_pipeline.customers.assets import raw_customers
from segment_pipeline.early_warnings.tables import CHURN_RISK, EARLY_WARNINGS, WARNING_BACKTEST_HISTORY
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments, transition_deltas
from segment_pipeline.words import percent, points


@dg.asset(
    # It reads the months before as well, as they were known at this month's end.
    deps=[monthly_assignments, raw_customers],
    partitions_def=monthly_partitions,
    group_name="journeys",
    owners=OWNERS,
    kinds=KINDS,
    description=f"{CHURN_RISK.description} With observed_silence, churn_risk_models and churn_risk_quality.",
    metadata=table_metadata(CHURN_RISK),
)
def churn_risk(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.early_warnings.churn import Refusal
    from segment_pipeline.early_warnings.churn_store import observe_silence, write_churn_risk, write_quality

    with pipeline.step(context) as step:
        observed = observe_silence(step.connection, step.config, step.month)
        step.rows, model = write_churn_risk(step.connection, step.config, step.month)
        quality = write_quality(step.connection, step.config, step.month, observed)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "refused": model.reason if isinstance(model, Refusal) else "no",
            "learned_from_customers": 0 if isinstance(model, Refusal) else model.customers,
            "learned_from_silent": 0 if isinstance(model, Refusal) else model.events,
            "quality": dg.MetadataValue.md(
                "\n".join(
                    f"- {month:%Y-%m}, {inputs}: AUC {found.auc:.3f}, log loss {found.log_loss:.3f}, "
                    f"calibration error {found.calibration_error:.3f}"
                    for month, inputs, found in quality
                )
                or "No month with a churn risk has become known."
            ),
        }
    )


@dg.asset(
    deps=[
        monthly_assignments,
        transition_deltas,
        churn_risk,
        # whom a campaign leaves alone has no place in the queue
        customer_actions,
        # last month's warnings say which of this month's are new
        dg.AssetDep(
            "early_warnings",
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        ),
    ],
    partitions_def=monthly_partitions,
    group_name="journeys",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=EARLY_WARNINGS.description,
    metadata=table_metadata(EARLY_WARNINGS),
)
def early_warnings(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.early_warnings.rules_store import head_of_queue, warning_figures, write_early_warnings
    from segment_pipeline.models.champions_store import previous_champion, require_champion

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        measuring_champion = previous_champion(step.connection, step.config, step.month)
        step.rows = write_early_warnings(
            step.connection, champion, measuring_champion, step.month, step.config.warnings
        )
        figures = warning_figures(step.connection, step.month)
        head = head_of_queue(step.connection, step.month)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            **figures,
            "head_of_queue": dg.MetadataValue.table(
                [
                    dg.TableRecord({**row, "churn_risk": "" if row["churn_risk"] is None else row["churn_risk"]})
                    for row in head
                ],
                schema=dg.TableSchema(
                    [
                        dg.TableColumn("priority", "int"),
                        dg.TableColumn("customer_id"),
                        dg.TableColumn("churn_risk", "float"),
                        dg.TableColumn("within_budget", "bool"),
                        dg.TableColumn("evidence"),
                    ]
                ),
            ),
        }
    )


@dg.asset(
    # It judges the warnings of the months before, whose silence this month has come to know.
    deps=[early_warnings],
    partitions_def=monthly_partitions,
    group_name="journeys",
    owners=OWNERS,
    kinds=KINDS,
    description=WARNING_BACKTEST_HISTORY.description,
    metadata=table_metadata(WARNING_BACKTEST_HISTORY),
)
def warning_backtest(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.early_warnings.churn_store import write_backtest

    with pipeline.step(context) as step:
        rows = write_backtest(step.connection, step.config, step.month)
        step.rows = len(rows)
    pooled = [row for row in rows if row.month is None and row.alerts]
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "months_judged": max((row.months for row in rows if row.month is None), default=0),
            "pooled": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {
                            "judged": row.judged,
                            "warning": row.warning,
                            "alerts": row.alerts,
                            "right": _share(row.precision),
                            "right_95": f"{_share(row.precision_low)} to {_share(row.precision_high)}",
                            "at_random": _share(row.base_rate),
                            "longest_silent": _share(row.recency_precision),
                            "highest_churn_risk": _share(row.churn_risk_precision),
                            "churn_risk_less_silent_95": ""
                            if row.difference_low is None or row.difference_high is None
                            else f"{points(row.difference_low)} to {points(row.difference_high)} points",
                        }
                    )
                    for row in pooled
                ],
                schema=dg.TableSchema(
                    [
                        dg.TableColumn(name, "int" if name == "alerts" else "string")
                        for name in (
                            "judged",
                            "warning",
                            "alerts",
                            "right",
                            "right_95",
                            "at_random",
                            "longest_silent",
                            "highest_churn_risk",
                            "churn_risk_less_silent_95",
                        )
                    ]
                ),
            ),
        }
    )


def _share(value: float | None) -> str:
    return "" if value is None else percent(value, 1)
