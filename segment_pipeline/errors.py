"""The errors a user can do something about. Each message says what is wrong, where, and what to do next.

The command line prints them without a traceback; anything else that escapes is a defect of this project.
"""

from datetime import date


class PipelineError(Exception):
    """Base of every error that the user, and not the programmer, can fix."""


class ConfigError(PipelineError):
    """The user's file asks for something impossible; nothing has run."""


class InputError(ConfigError):
    """The file given to quickstart or init, or what is said of it, cannot be used; nothing has run."""


class QuestionError(PipelineError):
    """The file can be read in two ways that give different customers, and only its owner knows which; nothing has
    run. The message names the flag that answers it."""


class SourceError(PipelineError):
    """The customer data cannot be read, or are not what the user's file says; published months are untouched."""


class NoLinesError(SourceError):
    """The month has no order line of its own. latest : the last month before it that has one, where it is the last of
    all; None where there is none, or where later ones have."""

    def __init__(self, message: str, latest: date | None = None) -> None:
        super().__init__(message)
        self.latest = latest


class ContractError(PipelineError):
    """The month's data break the data contract; the month was not written."""


class ModelError(PipelineError):
    """No trustworthy mixture can be had from these customers; the month was not written."""


class NothingFoundError(ModelError):
    """Of all mixtures tried none may serve, or none was to be tried."""


class SearchesDisagreeError(NothingFoundError):
    """The same, and one of them would serve if independent searches agreed on it."""


class MonthOrderError(PipelineError):
    """The month before is missing, so this month has no champion to start from."""


class WarehouseBusyError(PipelineError):
    """Another process kept the warehouse for longer than the configured time."""
