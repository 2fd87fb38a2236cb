"""What a failed run says to a person: the error that stopped it, without the machinery around it."""

from dataclasses import dataclass

import dagster as dg

# What the machine, and not this project, is to blame for: a full disk, too little memory, a file that went away.
_OF_THE_MACHINE = {"IOException", "OutOfMemoryException", "MemoryError", "OSError", "PermissionError"}
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
