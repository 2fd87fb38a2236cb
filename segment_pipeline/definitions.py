"""The code location: the assets of the stages, the jobs and sensors, with the resources of the user's file.

What it loads decides how long every Dagster process takes to start, so `orchestration/` and the stages' `assets.py`
import DuckDB, NumPy, scikit-learn and great-expectations inside the functions that use them.
"""

import os
from pathlib import Path

import dagster as dg

from segment_pipeline.alternatives import assets as alternatives
from segment_pipeline.audit import assets as audit
from segment_pipeline.campaigns import assets as campaigns
from segment_pipeline.config.config import load_config
from segment_pipeline.customers import assets as customers
from segment_pipeline.early_warnings import assets as early_warnings
from segment_pipeline.models import assets as models
from segment_pipeline.movement import assets as movement
from segment_pipeline.orchestration.jobs import monthly_segmentation, progress
from segment_pipeline.orchestration.resources import WEBHOOK_VARIABLE, Notifier, Pipeline
from segment_pipeline.orchestration.sensors import notify_drift_alerts, notify_month, notify_run_failure
from segment_pipeline.orchestration.settings import config_path
from segment_pipeline.publishing import assets as publishing
from segment_pipeline.publishing.catalogue import RESERVED_NAMES, TABLES
from segment_pipeline.publishing.stores.assets import STORE_ASSETS
from segment_pipeline.report import assets as report
from segment_pipeline.schedule import freshness_checks, freshness_sensor, monthly_schedule
from segment_pipeline.segments import assets as segments
from segment_pipeline.validation import assets as validation


class SegmentPipeline(Pipeline):
    """The pipeline with the tables of all stages."""

    tables = TABLES
    reserved_names = RESERVED_NAMES


def resources(config_path: Path) -> dict[str, object]:
    """The resources of a code location that serves this user's file."""
    return {
        "pipeline": SegmentPipeline(config_path=str(config_path)),
        # by name: whoever knows such an address can write to the channel behind it, and the UI shows what stands here
        "notifier": Notifier(webhook_url=dg.EnvVar(WEBHOOK_VARIABLE) if os.environ.get(WEBHOOK_VARIABLE) else None),
    }


# The stages have read it for its months and its place; whether its features fit beside their columns, only all tell.
load_config(config_path(), RESERVED_NAMES)

defs = dg.Definitions(
    assets=[
        *dg.load_assets_from_modules(
            [
                customers,
                models,
                segments,
                campaigns,
                early_warnings,
                movement,
                audit,
                validation,
                alternatives,
                publishing,
                report,
            ]
        ),
        *STORE_ASSETS,
    ],
    asset_checks=freshness_checks,
    jobs=[monthly_segmentation],
    schedules=[monthly_schedule],
    sensors=[notify_drift_alerts, notify_month, notify_run_failure, freshness_sensor],
    resources=resources(config_path()),
    loggers={"console": dg.colored_console_logger, "progress": progress},
    # One process a run: DuckDB has one writer, and a process per step would cost 90 CPU seconds a month in imports.
    executor=dg.in_process_executor,
)
