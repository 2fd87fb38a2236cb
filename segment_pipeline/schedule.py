"""When the daemon asks for a month: once it is closed and its data are there. And from when on it is late."""

import warnings
from contextlib import suppress
from datetime import date, timedelta

import dagster as dg

from segment_pipeline.errors import PipelineError
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration.jobs import monthly_segmentation
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.settings import location_config
from segment_pipeline.publishing.assets import published_segments

LATE_FROM = "0 6 10 * *"
"""The 10th, 06:00 UTC: from then on the month that closed last has to be published."""

# FreshnessPolicy, which is to follow these, asks when an asset was last materialized, whatever the month: a repair of
# last spring would hide that this month is missing. These ask for the month.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.SupersessionWarning)
    freshness_checks = dg.build_time_partition_freshness_checks(
        assets=[published_segments], deadline_cron=LATE_FROM, severity=dg.AssetCheckSeverity.WARN
    )
    freshness_sensor = dg.build_sensor_for_freshness_checks(
        freshness_checks=freshness_checks, minimum_interval_seconds=3600, name="look_for_late_months"
    )


# Dagster's own schedule for a partitioned job asks for the last partition again each month once the partitions have
# ended (last_month in the user's file), and each of them would be a new run. This one then skips.
@dg.schedule(
    job=monthly_segmentation,
    cron_schedule="0 6 2-31 * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="From the 2nd of the month on, each day at 06:00 UTC until its data are there: segment the month just "
    "closed, once.",
)
def monthly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    closed = context.scheduled_execution_time.replace(day=1) - timedelta(days=1)
    key = f"{closed:%Y-%m}"
    if key not in monthly_partitions.get_partition_keys(current_time=context.scheduled_execution_time):
        return dg.SkipReason(f"{key} lies outside first_month..last_month of the user's file.")
    why_not = _why_not(parse_month(key))
    return dg.SkipReason(f"{key} {why_not}") if why_not else dg.RunRequest(run_key=key, partition_key=key)


def _why_not(month: date) -> str | None:
    """Why there is nothing to run, or not yet. What cannot be read is for the run to say, and so for who is told of
    failures."""
    from segment_pipeline.database.store import in_memory
    from segment_pipeline.publishing.publish import published_months
    from segment_pipeline.sources.over_time.outlook import look_at_source

    config = location_config()
    with suppress(PipelineError), in_memory() as connection:
        if month in published_months(config.published_path):
            return "is published."
        waits = look_at_source(connection, config, [], [month]).waits
        return f"waits for its data: {waits[1]}." if waits is not None else None
    return None
