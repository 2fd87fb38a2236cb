"""The monthly job, its schedule, and the log that a progress display listens to."""

import logging
from collections.abc import Callable
from datetime import timedelta

import dagster as dg

from segment_pipeline.orchestration.partitions import monthly_partitions

monthly_segmentation = dg.define_asset_job(
    "monthly_segmentation",
    selection=dg.AssetSelection.all(),
    description="Segment one closed month, from its raw customers to the published file.",
)


# Dagster's own schedule for a partitioned job asks for the last partition again each month once the partitions have
# ended (last_month in the user's file), and each of them would be a new run. This one then skips.
@dg.schedule(
    job=monthly_segmentation,
    cron_schedule="0 6 2 * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="On the 2nd of the month at 06:00 UTC, segment the month just closed.",
)
def monthly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    closed = context.scheduled_execution_time.replace(day=1) - timedelta(days=1)
    key = f"{closed:%Y-%m}"
    if key not in monthly_partitions.get_partition_keys(current_time=context.scheduled_execution_time):
        return dg.SkipReason(f"{key} lies outside first_month..last_month of the user's file.")
    return dg.RunRequest(run_key=key, partition_key=key)


Listener = Callable[[dg.DagsterEvent | str], None]


class ProgressHandler(logging.Handler):
    """Hands the events of a run, and what it warns of, to whoever listens in this process; nobody does in the UI."""

    listener: Listener | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if ProgressHandler.listener is None:
            return
        event = getattr(record, "dagster_event", None)
        if event is not None:
            ProgressHandler.listener(event)
        elif record.levelno == logging.WARNING:  # errors come back as the run's failure; Dagster logs its own besides
            # Dagster puts the run's id and the step before the text; a person at a terminal knows them
            ProgressHandler.listener(getattr(record, "dagster_meta", {}).get("orig_message") or record.getMessage())


@dg.logger
def progress(_: dg.InitLoggerContext) -> logging.Logger:
    """For the command line: events and warnings go to its progress display and nowhere else."""
    logger = logging.Logger("segment_pipeline.progress", logging.DEBUG)
    logger.addHandler(ProgressHandler())
    return logger
