"""Stage 5: what to do with whom."""

from collections.abc import Iterator

import dagster as dg

from segment_pipeline.defs import checks
from segment_pipeline.defs.assets.segments import monthly_assignments, transition_deltas
from segment_pipeline.defs.described import OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.defs.partitions import monthly_partitions
from segment_pipeline.defs.resources import Pipeline
from segment_pipeline.warehouse.tables import CUSTOMER_ACTIONS

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


@dg.asset(
    deps=[monthly_assignments, transition_deltas],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("customer_actions"),
    group_name="actions",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{CUSTOMER_ACTIONS.description} With audience_feed.",
    metadata=table_metadata(CUSTOMER_ACTIONS),
)
def customer_actions(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.warehouse.actions import action_gaps, write_actions, write_audience_feed
    from segment_pipeline.warehouse.champions import require_champion

    with pipeline.step(context) as step:
        actions = step.config.actions
        champion = require_champion(step.connection, step.config, step.month)
        step.rows = write_actions(step.connection, champion, step.month, actions)
        changes = write_audience_feed(step.connection, step.month)
        without, unreached = action_gaps(step.connection, champion, step.month, actions)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "audience_changes": changes,
            "customers_without_action": without,
        },
        check_results=[
            checks.result(
                "customer_actions",
                "every_customer_has_an_action",
                without == 0,
                {"customers_without": without, "actions": len(actions)},
                {"customers_without": 0, "advice": "end the list of actions with one without conditions"},
            ),
            checks.result(
                "customer_actions", "every_action_reaches_somebody", not unreached, {"unreached": unreached}, {}
            ),
        ],
    )
