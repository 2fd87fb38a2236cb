"""What a run says to a person: the error that stopped it, and the checks that failed, without the machinery around."""

import logging
import re
from dataclasses import dataclass

import dagster as dg

# What the machine, and not this project, is to blame for: a full disk, too little memory, a file that went away.
_OF_THE_MACHINE = {"IOException", "OutOfMemoryException", "MemoryError", "OSError", "PermissionError"}
_KINDS = {
    "SourceError": "The source cannot be read, or is not what the configuration says",
    "NoLinesError": "The month has no order line of its own",
    "ContractError": "The month's data break a check that stops it",
    "ModelError": "No model that can be trusted",
    "MonthOrderError": "The month before is missing",
    "ConfigError": "The configuration cannot be used",
    "WarehouseBusyError": "The warehouse is held by another process",
    "WarehouseError": "The warehouse cannot be used",
    "PublishError": "The published file cannot be replaced",
    "StoreError": "The month is published, and a store beside the published file cannot be filled",
}
_NOT_REACHED = re.compile(r"Dependencies for step \S+ (failed|were not executed): .*Not executing\.$")
_INTERRUPTIONS = {"DagsterExecutionInterruptedError", "InterruptException", "KeyboardInterrupt"}


@dataclass(frozen=True)
class Failure:
    """The error that stopped a step or a run: its class, its message, and the step (None: none had begun).

    `ours` are the errors of this package, whose messages are written for people.
    """

    error: str
    message: str
    step: str | None
    ours: bool

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped the run: Ctrl-C, or a signal to end."""
        # the second is what DuckDB makes of Ctrl-C in the middle of a query
        return self.error in _INTERRUPTIONS or (self.error, self.message) == ("RuntimeError", "Query interrupted")

    @property
    def kind(self) -> str:
        """What failed, in a sentence that holds nothing of anybody's data, as the message may."""
        if self.step is None:
            return "It ended before its first step."
        return f"{_KINDS.get(self.error, 'An error')} in {self.step}."

    def __str__(self) -> str:
        if self.ours:
            return self.message
        where = f" in {self.step}" if self.step else ""
        if self.error in _OF_THE_MACHINE:
            return (
                f"{self.error}{where}: {self.message}. See to disk space, memory and file permissions, and run again."
            )
        return (
            f"{self.error}{where}: {self.message}\n"
            f"This is a defect of segment_pipeline; its traceback stands in the UI (segment-pipeline ui)."
        )


def explain(event: dg.DagsterEvent) -> Failure | None:
    """What went wrong, if `event` is the failure of a step or of a run; else None."""
    if event.is_step_failure:
        error = event.step_failure_data.error
    elif event.is_failure:
        error = getattr(event.event_specific_data, "error", None)
    else:
        return None
    if error is None:
        return None
    # Ours speaks to a person, also where it was raised from somebody else's; otherwise the innermost is the cause.
    while error.cause is not None and not error.message.startswith("segment_pipeline."):
        error = error.cause
    name = error.cls_name or "Error"
    text = error.message.strip()
    return Failure(
        name, text.partition(f"{name}: ")[2] or text, event.step_key, ours=text.startswith("segment_pipeline.")
    )


def tell_once(log: dg.DagsterLogManager) -> None:
    """Keep out of a run's log the red line that Dagster writes for each step that a failed one takes with it: the
    failure stands among twenty of them, and the graph shows what was not reached."""
    # With dagster >=1.13,<1.14 each step's logger is made anew over these; a filter on the logger itself is lost.
    below = log._dagster_handler
    for place in (*below._handlers, *below._loggers):
        place.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return _NOT_REACHED.search(record.getMessage()) is None


def warning_of(event: dg.DagsterEvent) -> tuple[str, str] | None:
    """The name of a check that failed and did not stop the month, and what it found, if `event` is its; else None."""
    found = event.event_specific_data
    if not isinstance(found, dg.AssetCheckEvaluation) or found.passed or found.severity != dg.AssetCheckSeverity.WARN:
        return None
    return found.check_name, found.description or ""
