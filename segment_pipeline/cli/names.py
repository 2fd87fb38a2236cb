"""`segment-pipeline name`: what the user calls a segment, written once into their file."""

import argparse
import json
import os
from datetime import date
from pathlib import Path
from shlex import quote

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.config.values import followed
from segment_pipeline.config.yaml_text import with_value
from segment_pipeline.errors import ConfigError, PipelineError
from segment_pipeline.months import month_key


def name_command(config: Config, chosen: argparse.Namespace) -> int:
    """Write `segments: {ID: {name: NAME}}`, everything else in the file as it was; returns the exit code."""
    month, latest = _latest(config)
    if chosen.segment_id not in latest:
        there = "; ".join(f"{segment_id} {name}" for segment_id, name in latest.items())
        raise ConfigError(f"SEGMENT_ID: found {chosen.segment_id}; allowed: a segment of the latest month: {there}")
    other = next((one for one, name in latest.items() if name == chosen.name and one != chosen.segment_id), None)
    if other is not None:
        raise ConfigError(f"NAME: found {chosen.name}, as segment {other} is called; allowed: a name of its own")
    key = ("segments", chosen.segment_id, "name")
    text = config.path.read_bytes().decode("utf-8-sig")
    # a text in JSON is one in YAML
    written = with_value(text, key, json.dumps(chosen.name, ensure_ascii=False))
    _refuse_other_changes(config, written, chosen.segment_id, chosen.name)
    _put_in_place(config.path, written)
    again = f"segment-pipeline run --config {quote(str(config.path))} --months {month_key(month)} --force"
    print(
        f"{config.path}: segment {chosen.segment_id}, {latest[chosen.segment_id]}, is called {chosen.name} from the "
        f"next month on. To have it in the month that is published last: {again}"
    )
    return 0


def _latest(config: Config) -> tuple[date, dict[int, str]]:
    """The latest published month, and its segments' names. Raises PipelineError while nothing is published."""
    from segment_pipeline.publishing.publish import published_months, reading

    months = published_months(config.published_path)
    if not months:
        raise PipelineError(
            f"{config.published_path} has no month yet, and so no segment to give a name to. "
            f"Run first: segment-pipeline run --config {quote(str(config.path))}"
        )
    with reading(config.published_path) as connection:
        rows = connection.execute("SELECT segment_id, name FROM current_profiles ORDER BY segment_id").fetchall()
    return max(months), dict(rows)


def _refuse_other_changes(config: Config, written: str, segment_id: int, name: str) -> None:
    """Raises ConfigError where the new text is no valid file, or says anything else than the old one and this name."""
    new = parse_config(written, config.path)
    wanted = config.model_dump()
    wanted["segments"].setdefault(segment_id, {"role": None})["name"] = name
    if new.model_dump() != wanted:
        raise ConfigError(
            f"{config.path}: found segments written in a way that only you can change; write under segments:  "
            f"{segment_id}: {{name: {json.dumps(name, ensure_ascii=False)}}}"
        )


def _put_in_place(path: Path, text: str) -> None:
    """In one step, so that nobody reads half of it; a link stays one, and the file keeps its mode."""
    path = followed(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(text.encode())
        draft.chmod(path.stat().st_mode)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); see to the folder, and try again.") from error
