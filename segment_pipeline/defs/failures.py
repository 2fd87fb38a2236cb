"""What a failed run says to a person: the error that stopped it, without the machinery around it."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from segment_pipeline.errors import PipelineError

# What the machine, and not this project, is to blame for: a full disk, too little memory, a file that went away.
_OF_THE_MACHINE = {"IOException", "OutOfMemoryException", "MemoryError", "OSError", "PermissionError"}
_INTERRUPTIONS = {"DagsterExecutionInterruptedError", "InterruptException", "KeyboardInterrupt"}


@dataclass(frozen=True)
class Failure:
    """The error that stopped a step or a run: its class, its message, and the step (None: none had begun)."""

    error: str
    message: str
    step: str | None

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped the run: Ctrl-C, or a signal to end."""
        # the second is what DuckDB makes of Ctrl-C in the middle of a query
        return self.error in _INTERRUPTIONS or (self.error, self.message) == ("RuntimeError", "Query interrupted")

    def __str__(self) -> str:
        where = f" in {self.step}" if self.step else ""
        if self.error in {kind.__name__ for kind in _kinds(PipelineError)}:
            return self.message
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
    ours = {kind.__name__ for kind in _kinds(PipelineError)}
    while error.cause is not None and error.cls_name not in ours:
        error = error.cause
    name = error.cls_name or "Error"
    text = error.message.strip()
    return Failure(name, text.partition(f"{name}: ")[2] or text, event.step_key)


def _kinds(kind: type[PipelineError]) -> Iterator[type[PipelineError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)
