"""The monthly job, and the log that a progress display listens to."""

import logging
from collections.abc import Callable

import dagster as dg

FRESHNESS_CHECK = dg.AssetCheckKey(dg.AssetKey("published_segments"), "freshness_check")

monthly_segmentation = dg.define_asset_job(
    "monthly_segmentation",
    # whether the newest month is late is asked by the daemon, and is no part of a month's run
    selection=dg.AssetSelection.all() - dg.AssetSelection.checks(FRESHNESS_CHECK),
    description="Segment one closed month, from its raw customers to the published file.",
)


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
