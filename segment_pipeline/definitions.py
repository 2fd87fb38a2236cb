"""The code location: the assets, jobs and sensors of defs/, with the resources of the user's file. Nothing else.

What it loads decides how long every Dagster process takes to start, so the modules under defs/ import DuckDB, NumPy,
scikit-learn and great-expectations inside the functions that use them.
"""

import dagster as dg

from segment_pipeline.defs.assets import (
    actions,
    alternatives,
    audit,
    customers,
    journeys,
    mixtures,
    publishing,
    report,
    segments,
    trust,
)
from segment_pipeline.defs.jobs import monthly_schedule, monthly_segmentation, progress
from segment_pipeline.defs.resources import resources
from segment_pipeline.defs.sensors import notify_drift_alerts, notify_month, notify_run_failure
from segment_pipeline.defs.settings import config_path

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [customers, mixtures, segments, journeys, actions, trust, alternatives, audit, publishing, report]
    ),
    jobs=[monthly_segmentation],
    schedules=[monthly_schedule],
    sensors=[notify_drift_alerts, notify_month, notify_run_failure],
    resources=resources(config_path()),
    loggers={"console": dg.colored_console_logger, "progress": progress},
    # One process a run: DuckDB has one writer, and a process per step would cost 90 CPU seconds a month in imports.
    executor=dg.in_process_executor,
)
