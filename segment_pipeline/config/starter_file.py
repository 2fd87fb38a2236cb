"""The text of a `segmentation.yaml` to start from: what was found in somebody's data, and every other key explained.

Here: how such a file reads. Not here: what is proposed in it (quickstart/), and which keys there are
(config.py, from which the explanations come).
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from segment_pipeline.config.config import setting_docs
from segment_pipeline.config.errors_by_line import SettingDoc
from segment_pipeline.config.yaml_text import show
from segment_pipeline.months import month_key

SECTIONS = {
    "quality": "When a month's data are too bad to be segmented.",
    "model": "Which mixtures are tried every month, and which of them may serve.",
    "refit": "When the champion, the mixture that serves, is challenged by the month's best candidate.",
    "drift": "When a feature's distribution counts as changed. Tells, and never refits by itself.",
    "alignment": "When a new component inherits the id of an old segment.",
    "tiers": "How sure a customer's segment is. Tried in this order: dominant, hybrid, diffuse; the rest is leaning.",
    "roles": "Which features say how recent and how frequent a customer is; segments get their roles from these two.",
    "warnings": "Which customers are worth a warning, and how many of them your team can contact.",
    "validation": "From where on a figure of model_validation speaks against the model. Nothing here stops a month.",
    "alternatives": "What the champion is compared with, at the start and at each refit.",
    "operation": "How the pipeline uses this machine; nothing here changes a result.",
}
"""Sections of thresholds with what each is about; a section that is not listed here is shown under its own name."""

_WRITTEN_ELSEWHERE = {"name", "first_month", "last_month", "output_dir", "source", "features"}
_LISTS = {
    "segments": "Your own words for a segment, by its segment_id: {3: {name: Weekend families, role: engaged}}",
    "actions": "What to do with whom: [{action_id: win_back, role: dormant, what: ..., owner: ..., channel: ..., "
    "kpi: ..., measure_days: 60}]",
    "campaigns": "A file of campaigns whose lift is measured: {file: campaigns.yaml}",
    "outcomes": "What campaigns are judged by: {path: outcomes.csv, customer_id: ..., occurred_at: ..., value: ...}",
    "audit": "The segments that your company already uses: {path: segments.csv, customer_id: ..., segment: ...}",
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS_OF_YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@dataclass(frozen=True)
class StarterFeature:
    """A feature as it stands in the file. low, high : the valid range, None for no limit. note : a comment on it.
    more : further keys, such as how it is computed."""

    name: str
    unit: str
    meaning: str
    transform: str
    resolution: float
    low: float | None
    high: float | None
    note: str = ""
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Starter:
    """What there is to say. source : the keys under `source`. left_out : features that are shown as comments, with the
    reason; a name alone where it cannot be one. settings : "section" -> "key" -> value as YAML, those that differ from
    their defaults. heading : comment lines at the top."""

    name: str
    first_month: date
    last_month: date | None
    source: Mapping[str, object]
    features: Sequence[StarterFeature]
    left_out: Sequence[tuple[StarterFeature | str, str]] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    heading: Sequence[str] = ()
    month_note: str = ""
    source_note: str = ""


def starter_text(starter: Starter) -> str:
    """The whole file; `parse_config` takes it."""
    return "\n".join(_lines(starter)) + "\n"


def scalar(value: object) -> str:
    """A value as YAML, on one line, that reads back as the same."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(key)}: {scalar(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else repr(value)
    return str(value)


def _lines(starter: Starter) -> Iterator[str]:
    for line in starter.heading:
        yield from _comment(line)
    yield ""
    yield f"name: {scalar(starter.name)}"
    yield f"first_month: {month_key(starter.first_month)}" + (
        f"   # {starter.month_note}" if starter.month_note else ""
    )
    if starter.last_month is not None:
        yield (
            f"last_month: {month_key(starter.last_month)}    # remove this line to go on, as soon as newer data are "
            "there"
        )
    yield "#output_dir: .            # where warehouse.duckdb, segments.duckdb and reports/ go; relative to this file"
    yield ""
    yield from _comment(
        "Where the customers come from: exactly one of orders, snapshots and query. " + starter.source_note
    )
    yield "source:"
    yield from _mapping(starter.source, "  ")
    yield ""
    yield from _comment(
        "What the segments are about: 4 to 6 features that say different things. Each has a transform (none, log, "
        "log1p, logit), a resolution (the step in which values come), a valid range (customers outside are rejected) "
        "and outliers: keep (default), cap or reject."
    )
    yield "features:"
    for feature in starter.features:
        yield from _feature(feature, "  ")
    if starter.left_out:
        yield ""
        yield from _comment("Left out; remove the # to take one in.", "  ")
        for left, reason in starter.left_out:
            yield from _comment(f"{left if isinstance(left, str) else left.name}: {reason}.", "  ")
            if not isinstance(left, str):
                yield from (f"  # {line[2:]}" for line in _feature(left, "  "))
    yield ""
    yield from _comment(
        "Every key below that starts with # and no blank stands at its default: remove the # to change it."
    )
    yield from _settings(starter.settings)


def _mapping(values: Mapping[str, object], indent: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{scalar(key)}:"
            yield from _mapping(value, indent + "  ")
        else:
            yield f"{indent}{scalar(key)}: {scalar(value)}"


def _feature(feature: StarterFeature, indent: str) -> Iterator[str]:
    limits = [
        f"{key}: {scalar(value)}" for key, value in (("min", feature.low), ("max", feature.high)) if value is not None
    ]
    yield f"{indent}- name: {scalar(feature.name)}"
    if feature.unit:
        yield f"{indent}  unit: {scalar(feature.unit)}"
    yield f"{indent}  meaning: {scalar(feature.meaning)}"
    yield f"{indent}  transform: {feature.transform}" + (f"   # {feature.note}" if feature.note else "")
    yield f"{indent}  resolution: {scalar(feature.resolution)}"
    if limits:
        yield f"{indent}  valid: {{{', '.join(limits)}}}"
    for key, value in feature.more.items():
        yield f"{indent}  {key}: {scalar(value)}"


def _settings(given: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    docs: dict[str, list[SettingDoc]] = {}
    for doc in setting_docs():
        section = re.split(r"[.\[]", doc.key, maxsplit=1)[0]
        if section not in _WRITTEN_ELSEWHERE:
            docs.setdefault(section, []).append(doc)
    for section, keys in docs.items():
        yield ""
        if section in _LISTS:
            yield from _comment(_LISTS[section])
            continue
        yield from _comment(SECTIONS.get(section, ""))
        yield f"{section}:"
        shown: set[str] = set()
        for doc in keys:
            name, _, below = doc.key.removeprefix(f"{section}.").partition(".")
            if name in shown:
                continue
            shown.add(name)
            meaning = doc.meaning if not below else "A mapping; see the documentation."
            if name in given.get(section, {}):
                yield f"  {name}: {given[section][name]}   # {meaning}"
            elif below:
                yield f"  #{name}: null   # {meaning}"
            else:
                unit = f" ({doc.unit})" if doc.unit else ""
                default = list(doc.default) if isinstance(doc.default, tuple) else doc.default
                yield f"  #{name}: {'null' if default is None else show(default)}   # {meaning.rstrip('.')}{unit}."


def _comment(text: str, indent: str = "") -> Iterator[str]:
    if text:
        yield from textwrap.wrap(
            text, 118, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
        )
