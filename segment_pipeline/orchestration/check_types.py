"""What a check promises and what an expectation behind it found, as values, without Dagster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CheckSpec:
    """What a named outcome promises. `blocking`: a month that breaks it would be published wrong."""

    name: str
    description: str
    blocking: bool


@dataclass(frozen=True)
class ExpectationResult:
    """One expectation as great-expectations judged it, in plain values."""

    expectation: str
    column: str | None
    passed: bool
    observed: str
    arguments: Mapping[str, Any]
