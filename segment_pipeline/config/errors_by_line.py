"""What is wrong with the user's file, as a line, a key, what was found and what is allowed.

The words come from the declared types and limits, so that they cannot differ from what is checked; the reference of
all keys is made from the same declarations.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from segment_pipeline.config.yaml_text import KeyPath, LocatedYaml, Problem, YamlProblemsError, load_located, show
from segment_pipeline.errors import ConfigError


def text_of(path: Path, allowed: str) -> str:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: found no such file; allowed: {allowed}") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: found a file that cannot be read ({error.strerror}); allowed: a readable text file."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: found bytes that are not UTF-8; allowed: UTF-8 text; save it as such."
        ) from error


def locate(text: str, path: Path) -> LocatedYaml:
    try:
        return load_located(text)
    except YamlProblemsError as error:
        raise ConfigError(error_report(path, error.problems)) from error


def problems_of(error: ValidationError, located: LocatedYaml, root: type[BaseModel]) -> list[Problem]:
    """What pydantic found, by line. `root` : the model of the file, or of each item where the file is a list."""
    problems = [problem for detail in error.errors() for problem in _explain(detail, located, root)]
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)


def error_report(path: Path, problems: Sequence[Problem]) -> str:
    return "\n".join(f"{path}:{problem}" for problem in problems)


def _explain(detail: ErrorDetails, located: LocatedYaml, root: type[BaseModel]) -> Iterator[Problem]:
    """One of pydantic's errors in the user's words."""
    path: KeyPath = tuple(step for step in detail["loc"] if step != "[key]")
    if detail["type"] == "problems":
        for below, found, allowed in detail["ctx"]["problems"]:
            yield problem_at(located, (*path, *below), found, allowed)
        return
    field = _field_at(path, root)
    allowed = _allowed(field) if field else "text as a key"
    if detail["type"] == "extra_forbidden":
        keys = _keys_of(path[:-1], root)
        yield problem_at(located, path, "an unknown key", f"{', '.join(keys)}{_suggestion(str(path[-1]), keys, root)}")
    elif detail["type"] == "missing":
        yield problem_at(located, path, "nothing", f"{allowed}; add the key, it has no default")
    elif detail["type"] == "model_type":
        yield problem_at(
            located, path, show(detail["input"]), f"a mapping with the keys {', '.join(_keys_of(path, root))}"
        )
    elif detail["type"] == "invalid_key":
        yield problem_at(located, path, f"{show(detail['input'])} as a key", f"{', '.join(_keys_of(path[:-1], root))}")
    elif "[key]" in detail["loc"]:
        yield problem_at(located, path, f"{show(detail['input'])} as a key", allowed)
    else:
        hint = "; numbers stand without quotes, and YAML reads 1e-3 as text: write 0.001"
        is_text_for_number = detail["type"] in ("float_type", "int_type") and isinstance(detail["input"], str)
        yield problem_at(located, path, show(detail["input"]), allowed + (hint if is_text_for_number else ""))


def problem_at(located: LocatedYaml, path: KeyPath, found: str, allowed: str) -> Problem:
    return Problem(located.line_of(path), located.label_of(path), found, allowed)


def _suggestion(key: str, allowed: Sequence[str], root: type[BaseModel]) -> str:
    elsewhere = [doc.key for doc in docs_of(root, "") if doc.key.rpartition(".")[2] == key]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}, elsewhere in the file?"
    nearest = difflib.get_close_matches(key.lower(), allowed, 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


@dataclass(frozen=True)
class SettingDoc:
    """One key of the file, for a reference page. `default` is None for a required key, too."""

    key: str
    required: bool
    default: Any
    unit: str
    allowed: str
    meaning: str


def docs_of(model: type[BaseModel], prefix: str) -> Iterator[SettingDoc]:
    for name, field in _fields_by_key(model).items():
        inner, repeated = _model_in(field.annotation)
        if inner is not None:
            yield from docs_of(inner, f"{prefix}{name}{repeated}.")
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        required = field.is_required()
        yield SettingDoc(
            f"{prefix}{name}",
            required,
            None if required else field.get_default(call_default_factory=True),
            str(extra["unit"]),
            _allowed(field),
            str(extra["meaning"]),
        )


def _fields_by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by their keys in the file, which a word of pydantic's own keeps from being their names."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The settings below a field, and how their keys continue: "" for one, "[]" in a list, ".<id>" in a mapping."""
    kind = _without_none(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, ""
    for origin, mark in ((tuple, "[]"), (dict, ".<id>")):
        if get_origin(kind) is origin:
            inner = [part for part in get_args(kind) if isinstance(part, type) and issubclass(part, BaseModel)]
            if inner:
                return inner[0], mark
    return None, ""


def _field_at(path: KeyPath, root: type[BaseModel]) -> FieldInfo | None:
    """The field that `path` leads to, or the innermost one on the way (list items and ids belong to their field)."""
    model: type[BaseModel] | None = root
    field: FieldInfo | None = None
    for step in path:
        if model is None or not isinstance(step, str) or step not in _fields_by_key(model):
            continue
        field = _fields_by_key(model)[step]
        model = _model_in(field.annotation)[0]
    return field


def _keys_of(path: KeyPath, root: type[BaseModel]) -> list[str]:
    """The keys that the mapping at `path` may have."""
    field = _field_at(path, root)
    model = _model_in(field.annotation)[0] if field else root
    return list(_fields_by_key(model)) if model else []


def _allowed(field: FieldInfo) -> str:
    """In words, what a field may hold; from its type and limits, so that the words cannot differ from the check."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if "allowed" in extra:
        return str(extra["allowed"])
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        return f"{noun}{_range_in_words(field.metadata)}"
    if kind is bool:
        return "true or false"
    model = _model_in(kind)[0]
    if model is not None:
        return f"a mapping with the keys {', '.join(_fields_by_key(model))}"
    return "text (in quotes where YAML reads a number, a date or true/false)"


def _range_in_words(metadata: Sequence[Any]) -> str:
    limits = {
        name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = f"{show(limits['ge'])} or more" if "ge" in limits else f"above {show(limits['gt'])}" if "gt" in limits else ""
    high = (
        f"at most {show(limits['le'])}" if "le" in limits else f"below {show(limits['lt'])}" if "lt" in limits else ""
    )
    return f", {' and '.join(part for part in (low, high) if part)}" if low or high else ""


def _without_none(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kinds = [part for part in get_args(annotation) if part is not type(None)]
        return _without_none(kinds[0])
    return annotation
