"""Whose warehouse it is, for two configurations in one folder would write into one another's months; and what of a
configuration has changed since a month was made with it."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from segment_pipeline.config.config import WITHOUT_RESULT, Config
from segment_pipeline.database.store import Connection, WarehouseError, month_literal
from segment_pipeline.orchestration.tables import PIPELINE_RUNS, RUN_SETTINGS

CHANGES_SHOWN, VALUE_SHOWN = 4, 40
"""Settings, and characters of a value."""

NAMED_BY = {"name", "feed", "action_id", "campaign"}
"""Keys by which a thing in a list is told from the others."""


def refuse_other_project(connection: Connection, config: Config) -> None:
    """Raises WarehouseError where another configuration has run last."""
    found = connection.execute(
        f"SELECT arg_max(project, sequence) FROM {PIPELINE_RUNS.name} WHERE project IS NOT NULL"
    ).fetchone()
    last = found[0] if found else None
    if config.is_project(last):
        return
    raise WarehouseError(
        f"{config.warehouse_path} holds the months of {last}, and this is {config.project}. Give this one an "
        "output_dir of its own, such as output_dir: "
        f"{config.path.stem}_output; or move warehouse.duckdb and segments.duckdb away, if they are of no use any more."
    )


def keep_settings(connection: Connection, config: Config) -> None:
    """Keep what stands behind this configuration's hash, where it is not known yet."""
    connection.execute(
        f"INSERT INTO {RUN_SETTINGS.name} BY NAME SELECT $hash AS config_hash, $settings AS settings "
        f"WHERE NOT EXISTS (FROM {RUN_SETTINGS.name} WHERE config_hash = $hash)",
        {"hash": config.config_hash, "settings": config.settings},
    )


def changed_settings(connection: Connection, config: Config, months: Sequence[date]) -> str | None:
    """The settings that have changed since these months were made, as `model.seed was 42 and is 43`; "" where that was
    by a version that did not keep them, None where no setting that can change a result has."""
    rows = connection.execute(
        f"""
        SELECT DISTINCT settings FROM {RUN_SETTINGS.name} RIGHT JOIN (
            SELECT arg_max(config_hash, sequence) AS config_hash FROM {PIPELINE_RUNS.name}
            WHERE month IN ({", ".join(map(month_literal, months))}) GROUP BY month
        ) USING (config_hash) ORDER BY settings
        """
    ).fetchall()
    now = json.loads(config.settings)
    kept = [_with_result(json.loads(then)) for (then,) in rows if then is not None]
    found = list(dict.fromkeys(change for then in kept for change in _differences("", then, now)))
    if not found and len(kept) == len(rows):
        return None
    more = f"; and {len(found) - CHANGES_SHOWN} more" if len(found) > CHANGES_SHOWN else ""
    return "; ".join(found[:CHANGES_SHOWN]) + more


def _with_result(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as they were kept, without what an older version kept beside them."""
    return {key: value for key, value in settings.items() if key not in WITHOUT_RESULT}


def _differences(key: str, then: Any, now: Any) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted({*then, *now}):
            yield from _differences(f"{key}.{name}".removeprefix("."), then.get(name), now.get(name))
    elif isinstance(then, list) and isinstance(now, list) and (by_name := _named(then, now)) is not None:
        stayed = [name for name in by_name[0] if name in by_name[1]]
        gone, new = ({n: of[n] for n in of if n not in stayed} for of in by_name)
        renamed = {n: next((m for m in new if _nameless(new[m]) == _nameless(gone[n]) != {}), None) for n in gone}
        said = [f"{n} is called {m}" if m else f"{n} dropped" for n, m in renamed.items()]
        said += [f"{n} added" for n in new if n not in renamed.values()]
        # what is fitted and shown stands in this order
        said += ["in another order"] if stayed != [name for name in by_name[1] if name in stayed] else []
        if said:
            yield f"{key}: {', '.join(said)}"
        for name in stayed:
            yield from _differences(f"{key}.{name}", by_name[0][name], by_name[1][name])
    elif isinstance(then, list) and isinstance(now, list):
        for place in range(max(len(then), len(now))):
            before, after = (values[place] if place < len(values) else None for values in (then, now))
            yield from _differences(f"{key}[{place}]", before, after)
    elif then != now:
        yield f"{key} was {_shown(then)} and is {_shown(now)}"


def _named(*lists: list[Any]) -> list[dict[str, Any]] | None:
    """Lists of things with names, or of texts, by these; None of others, such as a range of numbers."""
    found: list[dict[str, Any]] = []
    for values in lists:
        names = [next(map(one.get, NAMED_BY & one.keys()), None) if isinstance(one, dict) else one for one in values]
        found.append({name: one for name, one in zip(names, values, strict=True) if isinstance(name, str)})
        if len(found[-1]) < len(values):
            return None
    return found


def _nameless(one: Any) -> Any:
    """All that a thing of a list is but what it is called."""
    return {key: value for key, value in one.items() if key not in NAMED_BY} if isinstance(one, dict) else {}


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "name" in value:  # of a whole feature its name
        value = value["name"]
    text = "not set" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}..."
