"""Stage 5: what to do with whom, and whether it worked."""

from collections.abc import Iterator

import dagster as dg

from segment_pipeline.campaigns.tables import CAMPAIGN_LIFT, CUSTOMER_ACTIONS
from segment_pipeline.customers.assets import raw_customers
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments, transition_deltas

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


@dg.asset(
    deps=[selected_model, monthly_assignments, transition_deltas],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("customer_actions"),
    group_name="actions",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{CUSTOMER_ACTIONS.description} With audience_feed and campaign_plans.",
    metadata=table_metadata(CUSTOMER_ACTIONS),
)
def customer_actions(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.campaigns.actions_store import action_gaps, write_actions, write_audience_feed
    from segment_pipeline.campaigns.plans_store import known_campaigns, write_plans
    from segment_pipeline.models.champions_store import require_champion

    with pipeline.step(context) as step:
        actions = step.config.actions
        known = known_campaigns(step.connection, step.config, step.month)
        running = [campaign for campaign in known.campaigns if campaign.runs_in(step.month)]
        write_plans(step.connection, step.month, running)
        champion = require_champion(step.connection, step.config, step.month)
        step.rows = write_actions(step.connection, champion, step.month, actions, running)
        changes = write_audience_feed(step.connection, step.month)
        without, unreached = action_gaps(step.connection, champion, step.month, actions)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "audience_changes": changes,
            "customers_without_action": without,
            "campaigns": [campaign.campaign for campaign in running],
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
            checks.result(
                "customer_actions",
                "campaigns_are_valid",
                not known.problems,
                {"problems": known.problems, "campaigns": len(known.campaigns)},
                {
                    "problems": [],
                    "advice": "fix the file and run this month again with --force before anybody is contacted",
                },
            ),
        ],
    )


@dg.asset(
    # It also reads the arms of the month in which a campaign began: the champion has checked that no month is missing.
    deps=[raw_customers, customer_actions],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("campaign_lift"),
    group_name="actions",
    owners=OWNERS,
    kinds=KINDS,
    description=CAMPAIGN_LIFT.description,
    metadata=table_metadata(CAMPAIGN_LIFT),
)
def campaign_lift(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.campaigns.lift_store import measured_campaigns
    from segment_pipeline.campaigns.plans_store import known_campaigns
    from segment_pipeline.database.rows import write_rows

    month = parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        known = known_campaigns(connection, pipeline.config, month)
        found = measured_campaigns(connection, pipeline.config, known, month)
    with pipeline.step(context) as step:
        step.rows = write_rows(step.connection, CAMPAIGN_LIFT, step.month, found.rows)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "verdicts": found.verdicts,
            **{f"outcomes/{name}": count for name, count in found.figures.items()},
        },
        check_results=[
            checks.result(
                "campaign_lift",
                "outcomes_can_be_used",
                not found.problems,
                {"problems": found.problems, "not_counted": found.not_counted, **found.figures},
                {"problems": []},
            )
        ],
    )
