"""Who is told what: a failed run, fired drift alerts, and a digest of every month that was published.

None opens the warehouse: a sensor that reads it would block the run that writes it.
"""

from collections.abc import Callable

import dagster as dg

from segment_pipeline.orchestration.failures import explain
from segment_pipeline.orchestration.jobs import monthly_segmentation
from segment_pipeline.orchestration.resources import PID_TAG, Notifier

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
    failure = next((found for found in failures if found), None)
    month = run.tags.get("dagster/partition", "no month")
    told = f"Segmentation of {month} failed; the published file is whole."
    kind = failure.kind if failure else "It was ended from outside."
    outside = f"{told} {kind} Why stands in the log of run {run.run_id[:8]}."
    notifier.notify(f"{told} {failure or context.failure_event.message}", context.log, outside)
    return None


@dg.sensor(
    minimum_interval_seconds=60,
    description="Tells the notifier about the fired drift alerts of each month that was materialized.",
)
def notify_drift_alerts(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    return _tell_months(context, notifier, "drift_alerts", _drift_alerts_of)


@dg.sensor(
    minimum_interval_seconds=60,
    description="Tells the notifier about each month that was published: customers, movement, warnings, actions.",
)
def notify_month(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    return _tell_months(context, notifier, "published_segments", _digest_of)


def _drift_alerts_of(month: dg.AssetMaterialization) -> str | None:
    fired = month.metadata.get("fired_alerts")
    if not isinstance(fired, dg.JsonMetadataValue) or not fired.data:
        return None
    lines = "\n".join(f"- {line}" for line in list(fired.data))
    return f"Drift alerts of {month.partition}:\n{lines}"


def _digest_of(month: dg.AssetMaterialization) -> str | None:
    text = month.metadata.get("digest")
    return text.value if isinstance(text, dg.TextMetadataValue) else None


def _tell_months(
    context: dg.SensorEvaluationContext,
    notifier: Notifier,
    asset: str,
    text_of: Callable[[dg.AssetMaterialization], str | None],
) -> dg.SkipReason:
    """Tell what `text_of` has to say of each month of the asset that was materialized since the last tick."""
    key = dg.AssetKey(asset)
    if context.cursor is None:
        # The first tick starts from here: what happened before the sensor was switched on is nobody's news.
        newest = context.instance.fetch_materializations(key, limit=1)
        context.update_cursor(newest.cursor if newest.cursor and newest.records else BEFORE_ANY_EVENT)
        return dg.SkipReason("Watching from now on.")
    cursor = None if context.cursor == BEFORE_ANY_EVENT else context.cursor
    found = context.instance.fetch_materializations(key, limit=MONTHS_A_TICK, cursor=cursor, ascending=True)
    materialized = (record.asset_materialization for record in found.records)
    news = [text for month in materialized if month is not None and (text := text_of(month))]
    if news:
        # One message, however many months: a slow webhook must not cost the tick its 60 seconds, for a tick that times
        # out forgets how far it came and tells everything again.
        notifier.notify("\n\n".join(news), context.log)
    if found.records and found.cursor:
        context.update_cursor(found.cursor)
    return dg.SkipReason(f"{len(found.records)} month(s) looked at; this sensor starts no runs.")
