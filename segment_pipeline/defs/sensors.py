"""Who is told when something needs a person: a failed run, and new drift alerts.

Neither opens the warehouse: a sensor that reads it would block the run that writes it.
"""

import logging

import dagster as dg

from segment_pipeline.defs.jobs import monthly_segmentation
from segment_pipeline.defs.resources import Notifier

BEFORE_ANY_EVENT = "none"


@dg.run_failure_sensor(
    monitored_jobs=[monthly_segmentation], description="Tells the notifier which month failed and why."
)
def notify_run_failure(context: dg.RunFailureSensorContext, notifier: Notifier) -> None:
    month = context.dagster_run.tags.get("dagster/partition", "no month")
    notifier.notify(
        f"Segmentation of {month} failed; the published file is as it was. {context.failure_event.message}",
        _logger(context),
    )


@dg.sensor(
    minimum_interval_seconds=60,
    description="Tells the notifier about the fired drift alerts of each month that was materialized.",
)
def notify_drift_alerts(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    key = dg.AssetKey("drift_alerts")
    if context.cursor is None:
        # The first tick starts from here: what happened before the sensor was switched on is nobody's news.
        newest = context.instance.fetch_materializations(key, limit=1)
        context.update_cursor(newest.cursor if newest.cursor and newest.records else BEFORE_ANY_EVENT)
        return dg.SkipReason("Watching from now on.")
    cursor = None if context.cursor == BEFORE_ANY_EVENT else context.cursor
    found = context.instance.fetch_materializations(key, limit=100, cursor=cursor, ascending=True)
    for record in found.records:
        materialization = record.asset_materialization
        fired = materialization.metadata.get("fired_alerts") if materialization is not None else None
        if materialization is None or not isinstance(fired, dg.JsonMetadataValue) or not fired.data:
            continue
        lines = "\n".join(f"- {line}" for line in list(fired.data))
        notifier.notify(f"Drift alerts of {materialization.partition}:\n{lines}", _logger(context))
    if found.records and found.cursor:
        context.update_cursor(found.cursor)
    return dg.SkipReason(f"{len(found.records)} month(s) looked at; this sensor starts no runs.")


def _logger(context: dg.SensorEvaluationContext | dg.RunFailureSensorContext) -> logging.Logger:
    return context.log
