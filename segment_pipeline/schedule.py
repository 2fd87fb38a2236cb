"""When the daemon asks for a month: once it is closed and its data are there. And from when on it is late."""

import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import date, timedelta

import dagster as dg

from segment_pipeline.errors import PipelineError
from segment_pipeline.months import month_key, parse_month
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
# ended (last_month in the user's file), and each of them would be a new run. This one then skips. Of the ticks that a
# daemon slept over Dagster evaluates the last one only, so each asks for all the months that are due.
@dg.schedule(
    job=monthly_segmentation,
    cron_schedule="0 6 2-31 * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="From the 2nd of the month on, each day at 06:00 UTC until its data are there: segment the month just "
    "closed, once; and before it those that nobody asked for since the last one that is published.",
)
def monthly_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    now = context.scheduled_execution_time
    closed = (now.replace(day=1) - timedelta(days=1)).date().replace(day=1)
    months = [parse_month(key) for key in monthly_partitions.get_partition_keys(current_time=now)]
    published = _published()
    due, why_not = _with_their_data(
        [month for month in months if (month > max(published) if published else month == closed)]
    )
    if due:
        return [dg.RunRequest(run_key=key, partition_key=key) for key in map(month_key, due)]
    if closed not in months:
        why_not = f"{month_key(closed)} lies outside first_month..last_month of the user's file."
    return dg.SkipReason(why_not or f"{month_key(closed)} is published.")


def _published() -> Collection[date]:
    from segment_pipeline.publishing.publish import published_months

    with suppress(PipelineError):  # what cannot be read is for the run to say, and so for who is told of failures
        return published_months(location_config().published_path)
    return ()


def _with_their_data(due: Sequence[date]) -> tuple[Sequence[date], str | None]:
    """The months before the first that has to wait, without those that are passed over; and for what that one waits."""
    from segment_pipeline.database.engines.engine import looking
    from segment_pipeline.sources.over_time.outlook import look_at_source

    config = location_config()
    with suppress(PipelineError), looking(config) as connection:
        outlook = look_at_source(connection, config, [], due)
        passed_over = outlook.empty if config.quality.empty_month == "skip" else ()
        waits, end = outlook.waits or (None, None)
        there = [month for month in due if (waits is None or month < waits) and month not in passed_over]
        return there, None if waits is None else f"{month_key(waits)} waits for its data: {end}."
    return due, None
