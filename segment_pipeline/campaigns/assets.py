"""What to do with whom, and whether it worked."""

from typing import TYPE_CHECKING

import dagster as dg

from segment_pipeline.campaigns.tables import AUDIENCE_FEED, CAMPAIGN_LIFT, CAMPAIGN_PLANS, CUSTOMER_ACTIONS
from segment_pipeline.customers.assets import raw_customers
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments, transition_deltas

if TYPE_CHECKING:
    from segment_pipeline.campaigns.lift_store import Measured
    from segment_pipeline.campaigns.plans_store import KnownCampaigns

EVERYBODY_HAS_AN_ACTION = CheckSpec(
    "every_customer_has_an_action", "No customer falls through the action matrix.", blocking=False
)
EVERY_ACTION_REACHES_SOMEBODY = CheckSpec(
    "every_action_reaches_somebody",
    "No action asks for what no customer of the month is; one for everybody may, for it stands by.",
    blocking=False,
)
CAMPAIGNS_ARE_VALID = CheckSpec(
    "campaigns_are_valid",
    "Every campaign of the file can be used; else it is left out, or goes on as it was if it runs already.",
    blocking=False,
)
OUTCOMES_CAN_BE_USED = CheckSpec(
    "outcomes_can_be_used",
    "The outcomes can be read, are of customers of the source, and some fall into each campaign measured.",
    blocking=False,
)


@monthly_asset(
    CUSTOMER_ACTIONS,
    beside=[AUDIENCE_FEED, CAMPAIGN_PLANS],
    deps=[selected_model, monthly_assignments, transition_deltas],
    kinds=SQL_KINDS,
    checks=[EVERYBODY_HAS_AN_ACTION, EVERY_ACTION_REACHES_SOMEBODY, CAMPAIGNS_ARE_VALID],
)
def customer_actions(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
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
        changes = write_audience_feed(step.connection, champion, step.month, step.config.tiers)
        without, unreached = action_gaps(step.connection, champion, step.month, actions)
        step.judge(
            _nobody_without(without, len(actions)),
            checks.result(EVERY_ACTION_REACHES_SOMEBODY, not unreached, {"unreached": unreached}, {"unreached": []}),
            _campaigns_valid(known),
        )
    names = [campaign.campaign for campaign in running]
    return step.result({"audience_changes": changes, "customers_without_action": without, "campaigns": names})


def _nobody_without(without: int, actions: int) -> dg.AssetCheckResult:
    return checks.result(
        EVERYBODY_HAS_AN_ACTION,
        without == 0,
        {"customers_without": without, "actions": actions},
        {"customers_without": 0, "advice": "end the list of actions with one without conditions"},
    )


def _campaigns_valid(known: "KnownCampaigns") -> dg.AssetCheckResult:
    return checks.result(
        CAMPAIGNS_ARE_VALID,
        not known.problems,
        {"problems": known.problems, "campaigns": len(known.campaigns)},
        {"problems": [], "advice": "fix the file and run this month again with --force before anybody is contacted"},
    )


@monthly_asset(
    CAMPAIGN_LIFT,
    # It also reads the arms of the month in which a campaign began: the champion has checked that no month is missing.
    deps=[raw_customers, customer_actions],
    checks=[OUTCOMES_CAN_BE_USED],
)
def campaign_lift(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.campaigns.lift_store import measured_campaigns
    from segment_pipeline.campaigns.plans_store import known_campaigns
    from segment_pipeline.database.rows import write_rows

    month = parse_month(context.partition_key)
    with pipeline.read(context, step_follows=True) as connection:
        known = known_campaigns(connection, pipeline.config, month)
        found = measured_campaigns(connection, pipeline.config, known, month)
    with pipeline.step(context) as step:
        step.rows = write_rows(step.connection, CAMPAIGN_LIFT, step.month, found.rows)
        step.judge(_outcomes_usable(found))
    outcomes = {f"outcomes/{name}": count for name, count in found.figures.items()}
    return step.result({"verdicts": found.verdicts, **outcomes})


def _outcomes_usable(found: "Measured") -> dg.AssetCheckResult:
    observed = {"problems": found.problems, "not_counted": found.not_counted, **found.figures}
    return checks.result(OUTCOMES_CAN_BE_USED, not found.problems, observed, {"problems": []})
