"""Who is told when something needs a person: a failed run, and new drift alerts.

Neither opens the warehouse: a sensor that reads it would block the run that writes it.
"""

import dagster as dg

from segment_pipeline.defs.failures import explain
from segment_pipeline.defs.jobs import monthly_segmentation
from segment_pipeline.defs.resources import PID_TAG, Notifier

BEFORE_ANY_EVENT = "none"
MONTHS_A_TICK = 100


# Runs of the command line belong to no code location, so all are looked at, and other projects' are left alone.
@dg.run_failure_sensor(
    monitor_all_code_locations=True, description="Tells the notifier which month failed or was killed, and why."
)
def notify_run_failure(context: dg.RunFailureSensorContext, notifier: Notifier) -> dg.SkipReason | None:
    run = context.dagster_run
    if run.job_name != monthly_segmentation.name and PID_TAG not in run.tags:
        return dg.SkipReason(f"{run.job_name} is no run of this pipeline.")
    failures = [explain(event) for event in [*context.get_step_failure_events(), context.failure_event]]
    why = next((str(found) for found in failures if found), context.failure_event.message)
    month = run.tags.get("dagster/partition", "no month")
    notifier.notify(f"Segmentation of {month} failed; the published file is whole. {why}", context.log)
    return None


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
    found = context.instance.fetch_materializations(key, limit=MONTHS_A_TICK, cursor=cursor, ascending=True)
    news = []
    for record in found.records:
        materialization = record.asset_materialization
        fired = materialization.metadata.get("fired_alerts") if materialization is not None else None
        if materialization is not None and isinstance(fired, dg.JsonMetadataValue) and fired.data:
            lines = "\n".join(f"- {line}" for line in list(fired.data))
            news.append(f"Drift alerts of {materialization.partition}:\n{lines}")
    if news:
        # One message, however many months: a slow webhook must not cost the tick its 60 seconds, for a tick that times
        # out forgets how far it came and tells everything again.
        notifier.notify("\n".join(news), context.log)
    if found.records and found.cursor:
        context.update_cursor(found.cursor)
    return dg.SkipReason(f"{len(found.records)} month(s) looked at; this sensor starts no runs.")
