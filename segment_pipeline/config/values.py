"""What a key of the user's file may hold: the kinds of value, how one is declared, and how one is refused.

Every section of the file is built from these. Nothing here knows which keys there are.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from segment_pipeline.config.yaml_text import KeyPath, show
from segment_pipeline.months import parse_month

COMPONENT_RANGE = "two whole numbers [smallest, largest], 2 <= smallest <= largest <= 50"

CovarianceName = Literal["full", "diagonal", "tied", "spherical"]

COVARIANCES = "full, diagonal, tied, spherical, or a list of these, each once"


def refusal(path: KeyPath, found: str, allowed: str) -> PydanticCustomError:
    return refusals([(path, found, allowed)])


def refusals(problems: Sequence[tuple[KeyPath, str, str]]) -> PydanticCustomError:
    """What a rule over several keys refuses, each with the key that is to be changed."""
    text = "; ".join(
        f"{'.'.join(map(str, path))}: found {found}; allowed: {allowed}" for path, found, allowed in problems
    )
    # pydantic fills {placeholders} of the template: a brace in the user's text must not be taken for one.
    return PydanticCustomError("problems", "{text}", {"text": text, "problems": list(problems)})


def setting(default: Any, unit: str, meaning: str, *, allowed: str | None = None, **constraints: Any) -> Any:
    """A key of the file. `unit` is "" where a unit makes no sense; `default` is ... for a key that must be given."""
    parts = [
        meaning,
        f"Unit: {unit}." if unit else "",
        "" if default is ... else f"Default: {'{}' if isinstance(default, BaseModel) else show(default)}.",
    ]
    return Field(
        default,
        description=" ".join(part for part in parts if part),
        json_schema_extra={"unit": unit, "meaning": meaning, **({"allowed": allowed} if allowed else {})},
        **constraints,
    )


def not_blank(text: str) -> str:
    if not text.strip():
        raise refusal((), "blank text", "text with at least one visible character")
    return text


def followed(file: Path) -> Path:
    """The file itself, or what it leads to if it is a link: a file put in its place would take that of the link,
    and what it led to would go stale."""
    return file.resolve() if file.is_symlink() else file


def one_line(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise refusal(
            (),
            f"{text!a}, which has a control character",
            "one line of ordinary text, an emoji as itself and not as an escape; retype it",
        )
    return text


def _readable_name(text: str) -> str:
    """A name that can stand in a column, a report and a log: anything but control characters."""
    not_blank(text)
    if len(text) > 300:
        raise refusal((), f"a name of {len(text)} characters", "at most 300 characters; shorten it")
    return one_line(text)


def _month(value: object) -> object:
    if value is None or (type(value) is date and value.day == 1):
        return value
    if not isinstance(value, str):
        raise refusal((), show(value), "a month as YYYY-MM, for example 2017-03")
    try:
        month = parse_month(value)
    except ValueError:
        raise refusal((), show(value), "a month as YYYY-MM, for example 2017-03") from None
    if not 1900 <= month.year <= 2199:
        raise refusal((), show(value), "a month from 1900-01 to 2199-12")
    return month


def amount_of_memory(value: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)", value, re.IGNORECASE)
    if not found or float(found[1]) == 0:
        raise refusal((), show(value), "an amount of memory such as 4GB or 512MB")
    return value


def month_placeholder(value: str) -> str:
    for placeholder in re.findall(r"\{\w*\}", value):
        if placeholder != "{month}":
            raise refusal((), f"the placeholder {placeholder}", "{month}, which becomes for example 2017-03")
    return value


def absolute_path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str) or not value.strip():
        return value  # the type check reports it
    directory = (info.context or {}).get("directory", Path())
    one_line(value)
    return Path(os.path.abspath(Path(directory) / os.path.expanduser(value)))


def empty_means_defaults(value: object) -> object:
    """`model:` with every line under it commented out is an empty value in YAML, and means "all defaults"."""
    return {} if value is None else value


def component_range(value: object) -> object:
    if isinstance(value, tuple):
        return value
    if not isinstance(value, list) or len(value) != 2:
        raise refusal((), show(value), COMPONENT_RANGE)
    return tuple(value)


def covariance_types(value: object) -> object:
    names = list(value) if isinstance(value, list | tuple) else [value]
    if not names or any(name not in get_args(CovarianceName) for name in names) or len(set(names)) < len(names):
        raise refusal((), show(value), COVARIANCES)
    return tuple(names) if isinstance(value, list | tuple) else value


def list_as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, AfterValidator(_readable_name)]


Expression = Annotated[str, AfterValidator(not_blank)]


Month = Annotated[date, BeforeValidator(_month)]


Role = Literal["engaged", "casual", "at_risk", "dormant"]


class Settings(BaseModel):
    # Strict: `true` is not a number and "2" is not 2. What a user wrote by mistake must not come to mean something.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def either(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
