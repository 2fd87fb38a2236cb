"""The report of a month: one HTML file that a marketer opens, offline, and a printer takes.

Everything in it comes from the published file, and the same file gives the same bytes. Charts are SVG drawn here, with
a few lines of script for hovering: a quarter of a megabyte, where Vega's own offline bundle alone is 0.9 MB
(benchmarks/report.py). What belongs here: the words, and putting the page together. Rows: queries.py; drawing:
charts.py.
"""

import base64
import hashlib
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from segment_pipeline import charts, words
from segment_pipeline.config.order_features import MONETARY
from segment_pipeline.config.values import followed
from segment_pipeline.database.rows import Row
from segment_pipeline.mixture.candidates import CandidateKey
from segment_pipeline.models.selection import elbow_of
from segment_pipeline.months import add_months, as_of, month_key, months_between
from segment_pipeline.movement.chance import chance_in_words, in_words
from segment_pipeline.report.queries import ReportError, Story, read_story
from segment_pipeline.segments.charts_store import share_trend

HERE = Path(__file__).parent
TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
MISSING = "–"
_PER_CENT = re.compile(r"(?<=\d) %")
_REFUSED = re.compile(r" Refused: (.*?\))\.(?= [A-Z]|$)")


@dataclass(frozen=True)
class Report:
    """A report in place: where, how large (bytes), how long it took (seconds), and its first five sentences."""

    path: Path
    size: int
    seconds: float
    sentences: Sequence[str]


def report_path(folder: Path, month: date) -> Path:
    """Where the report of `month` lies, under the folder of the published file."""
    return folder / "reports" / f"{month_key(month)}.html"


def write_report(connection: duckdb.DuckDBPyConnection, name: str, month: date, folder: Path) -> Report:
    """Render the month and put it in place in one step; a reader never sees half a page. Raises ReportError."""
    started = time.perf_counter()
    page, sentences = render(connection, name, month)
    path = followed(report_path(folder, month))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(page, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ReportError(
            f"The report {path} cannot be written ({error.strerror or error}). The month itself is published. See to "
            f"the folder, then run: segment-pipeline report --month {month_key(month)}"
        ) from error
    return Report(path, len(page.encode()), time.perf_counter() - started, sentences)


def render(connection: duckdb.DuckDBPyConnection, name: str, month: date) -> tuple[str, list[str]]:
    """The page of `month` as text, and its five sentences. `connection` leads to the published file.

    Raises ReportError when the month is not in it.
    """
    import jinja2

    story = read_story(connection, month)
    sentences = five_sentences(story)
    script = (HERE / SCRIPT).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[[Any], str]] = {
        "whole": whole,
        "percent": percent,
        "points": points,
        "figure": figure,
        "fixed": fixed,
        "spoken": spoken,
        "month_key": month_key,
        "month_name": month_name,
    }
    environment.filters |= filters
    page = environment.get_template(TEMPLATE).render(
        story,
        name=name,
        sentences=sentences,
        verdict=next((row["verdict"] for row in story["suitability"]), None),
        style=_believed((HERE / STYLE).read_text(encoding="utf-8")),
        script=_believed(script),
        # only the script of this page runs, whatever a name may contain
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **_drawings(story),
        **_derived(story),
    )
    return page, sentences


_SEEN = {
    "moved": "changed segment",
    "came_back": "of those who moved the month before, are back where they had been",
    "base_shift": "must have moved for the sizes of the segments to change as they did (what moves everybody alike)",
}
"""The movements of `movement_reference` that the page tells in a line each."""


def five_sentences(story: Story) -> list[str]:
    """The month for who reads nothing else: who, what changed, who moved, whom to contact, whether to trust."""
    return [_who(story), _what_changed(story), _who_moved(story), _whom_to_contact(story), _whether_to_trust(story)]


def _who(story: Story) -> str:
    segments, base = story["segments"], story["base"]
    largest, revenue = segments[0], segments[0].get("revenue_share")
    spent = "" if revenue is None else f" of them and {percent(revenue)} of what was spent"
    return (
        f"In {month_name(story['month'])}, {whole(base['customers'])} customers stood in {len(segments)} segments; the "
        f"largest, {largest['name']}, held {percent(largest['share'])}{spent}, and "
        f"{percent(base['hybrid_share'])} of all customers leaned to a second segment as well."
    )


def _what_changed(story: Story) -> str:
    changed = [row for row in story["segments"] if row["change"] is not None]
    if not changed and len(story["months"]) > 1:
        return "Shares cannot be compared with the month before: it lacks a feature of the model that serves now."
    if not changed:
        return "Shares have no month before to be compared with: these segments are new."
    up, down = max(changed, key=lambda row: row["change"]), min(changed, key=lambda row: row["change"])
    if up["change"] < 0.0005 and down["change"] > -0.0005:
        return "No segment's share changed since the month before."
    grew, shrank = points(up["change"]).lstrip("+"), points(-down["change"]).lstrip("+")
    refit = story["champion"] is not None and story["champion"]["trained_month"] == story["month"]
    return (
        f"{up['name']} grew most, by {grew} points to {percent(up['share'])}; {down['name']} shrank most, by {shrank} "
        f"points to {percent(down['share'])}{', both months as the new model sees them' if refit else ''}."
    )


def _who_moved(story: Story) -> str:
    moved = story["movement"]
    if moved is None:
        return "Who moved is known from the second month on."
    both = moved["moved"] + moved["stayed"]
    share = f" ({percent(moved['moved'] / both)})" if both else ""
    said = f"{whole(moved['moved'])} of {whole(both)} customers{share} changed segment, where "
    said += chance_in_words(story["chance"])
    if moved["unmeasured"]:
        said = "Who changed segment is not known, as no model sees both months: their features differ"
    new, returned, lapsed = (whole(moved[name]) for name in ("new", "returned", "lapsed"))
    return f"{said}; {new} were new, {returned} came back and {lapsed} lapsed."


def _whom_to_contact(story: Story) -> str:
    warned = story["warned"]
    if not warned["new"] and not warned["ongoing"]:
        return "No customer needs attention."
    said = (
        f"{whole(warned['to_contact'])} customers need attention ({whole(warned['new'])} new warnings, "
        f"{whole(warned['ongoing'])} ongoing)"
    )
    if story["list_stands_on"] is not None:
        said += f", {story['list_stands_on']}"
    if warned["left_out"]:
        said += f" ({whole(warned['left_out'])} with a warning are not among them)"
    judged = story["contact_list"]
    if judged is None:
        return f"{said}; whether such a list comes true is not known yet."
    said += (
        f"; of those to be contacted in the past {percent(judged['precision'], 1)} fell silent, where a random choice "
        f"would have had {percent(judged['base_rate'], 1)}"
    )
    if judged["churn_risk_precision"] is not None:
        said += f" and as many customers of the highest churn risk {percent(judged['churn_risk_precision'], 1)}"
    return f"{said}."


def _whether_to_trust(story: Story) -> str:
    champion, alerts = story["champion"], [row for row in story["alerts"] if row["fired"]]
    served = months_between(champion["trained_month"], story["month"]) + 1
    said = (
        f"Model {champion['model_version']} of {month_name(champion['trained_month'])} served for its "
        f"{_ordinal(served)} month"
    )
    if alerts and served > 1:
        said += f", with {len(alerts)} {'alert' if len(alerts) == 1 else 'alerts'} that it may no longer fit"
    elif alerts:
        said += f", for which {len(alerts)} {'alert' if len(alerts) == 1 else 'alerts'} called"
    verdict = next((row["verdict"] for row in story["suitability"]), None)
    if verdict:
        said += f"; the verdict on its use here: {spoken(verdict)}"
    held = [row for row in story["model_validation"] if row["passed"] is not None]
    broken = [row for row in held if not row["passed"]]
    if not broken:
        return f"{said}."
    named = ", ".join(spoken(metric) for metric in dict.fromkeys(row["metric"] for row in broken))
    breaks = "breaks its limit" if len(broken) == 1 else "break their limit"
    return f"{said}; {len(broken)} of {len(held)} validation figures {breaks}: {named}."


def _drawings(story: Story) -> dict[str, Any]:
    """Every chart of the page as SVG; None where there is nothing to draw."""
    colours = charts.segment_colours((row["month"], row["segment_id"]) for row in story["history"])
    names = segment_names(story["history"])
    candidates, champion = story["candidates"], story["champion"]
    judged = [row for row in story["backtest"] if row["alerts"]]
    trends = {
        row["segment_id"]: charts.sparkline_svg(
            share_trend(story["history"], row["segment_id"]), colours[row["segment_id"]]
        )
        for row in story["segments"]
    }
    drawn = {
        "bic_chart": charts.svg(
            charts.bic_curve(
                candidates,
                (champion["covariance_type"], champion["n_components"]) if champion else None,
                elbow_among(candidates),
            )
        )
        if candidates
        else None,
        "shares_chart": charts.svg(
            charts.shares_over_time(
                story["history"],
                colours,
                [version["trained_month"] for version in story["versions"]],
                legend=False,
            )
        ),
        "certainty_chart": charts.svg(
            charts.histograms(
                story["certainty"],
                {"max_probability": "largest probability", "entropy": "uncertainty (0 certain, 1 all alike)"},
            )
        ),
        "flow_chart": charts.journey_flow(story["moves"], names, colours) or None,
        "drift_chart": charts.svg(charts.drift_over_months(story["drift"])) if story["drift"] else None,
        "backtest_chart": charts.svg(charts.backtest(judged)) if judged else None,
    }
    return {
        "colours": colours,
        "names": names,
        "trends": {segment_id: _believed(trend) for segment_id, trend in trends.items()},
        **{name: None if text is None else _believed(text) for name, text in drawn.items()},
    }


def _derived(story: Story) -> dict[str, Any]:
    """What the template lays out and no table holds."""
    matrix = {(row["from_state"], row["to_state"]): row for row in story["moves"]}
    by_segment: dict[int, list[Row]] = {row["segment_id"]: [] for row in story["segments"]}
    spans = _spans(story["features"])
    rationale = story["champion"]["rationale"] or "" if story["champion"] else ""
    order = {name: place for place, name in enumerate(story["model_features"])}
    ranked = sorted(story["features"], key=lambda row: (order.get(row["feature"], 99), row["feature"]))
    for row in ranked:
        ground, ink = charts.heat_of_index(row["index"])
        place = spans[row["feature"]]
        by_segment.setdefault(row["segment_id"], []).append(
            row
            | {"ground": ground, "ink": ink, "in_model": row["feature"] in order}
            | {f"{name}_at": place(row[name]) for name in ("p10", "p50", "p90", "population_mean")}
        )
    return {
        # the card's heading says name and role already
        "profiled": {
            row["segment_id"]: row["narrative"].removeprefix(f"{row['name']}, {spoken(row['role'])}: ")
            for row in story["segments"]
        },
        "features_of": by_segment,
        "cell_of": {(row["segment_id"], row["feature"]): row for rows in by_segment.values() for row in rows},
        "feature_names": list(dict.fromkeys(row["feature"] for row in ranked)),
        "money": next((row["unit"] for row in ranked if row["feature"] == MONETARY), ""),
        "from_states": charts.states(story["moves"], "from_state") if story["moves"] else [],
        "to_states": charts.states(story["moves"], "to_state") if story["moves"] else [],
        "matrix": matrix,
        "beside": {
            (row["from_state"], row["to_state"]): row for row in story["chance"] if row["measure"] == "transition"
        },
        "chance_told": [
            *((_SEEN[row["measure"]], row) for row in story["chance"] if row["measure"] in _SEEN),
            *((f"warned: {spoken(row['warning'])}", row) for row in story["chance"] if row["measure"] == "warning"),
        ],
        "in_words": in_words,
        "chance_moved": chance_in_words(story["chance"]),
        "forecast_as_now": any(row["served_by"] != "memory" for row in story["forecast"]),
        "heat_of_share": charts.heat_of_share,
        "next_month": as_of(story["month"]),
        "month_before": add_months(story["month"], -1),
        "elbow": elbow_among(story["candidates"]),
        "several_types": len({row["covariance_type"] for row in [*story["candidates"], *story["challengers"]]}) > 1,
        # the refused ones, with their reasons, are for those who ask
        "rationale": _REFUSED.sub("", rationale),
        "refused": next(iter(_REFUSED.findall(rationale)), ""),
    }


def elbow_among(candidates: Sequence[Mapping[str, Any]]) -> CandidateKey | None:
    """Where the BIC curve of the admissible candidates bends most; None when it does not."""
    admissible = [row for row in candidates if row["admissible"]]
    return elbow_of({(row["covariance_type"], row["n_components"]): row["bic"] for row in admissible})


def segment_names(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The name of every segment there has been, by its id as text: the latest, and with the id where two share it."""
    names = {str(row["segment_id"]): row["name"] for row in history}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {key: f"{name} ({key})" if name in shared else name for key, name in names.items()}


def _spans(features: Sequence[Row]) -> dict[str, Any]:
    """For each feature, a function from its values to 0..100 % of a bar that all segments share.

    Features that are never negative are drawn on a log1p scale: most have a few very large values.
    """
    spans = {}
    for feature in {row["feature"] for row in features}:
        values = [
            row[name]
            for row in features
            if row["feature"] == feature
            for name in ("p10", "p50", "p90", "population_mean")
            if row[name] is not None
        ]
        bend = math.log1p if values and min(values) >= 0 else float
        low, high = (bend(min(values)), bend(max(values))) if values else (0.0, 1.0)

        def place(value: float | None, bend: Any = bend, low: float = low, width: float = high - low) -> float | None:
            return None if value is None else round(100 * (bend(value) - low) / (width or 1.0), 1)

        spans[feature] = place
    return spans


def _believed(text: str) -> Any:
    """Text that goes into the page as it is: our own files, and SVG whose names were escaped when it was drawn."""
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704 - see the docstring; a test draws segments called <script>


def _unbroken(value: Any) -> Any:
    """Text of the tables and of our own with no line ending between a figure and its per cent sign; else the value."""
    return _PER_CENT.sub("\N{NO-BREAK SPACE}%", value) if type(value) is str else value


def whole(value: Any) -> str:
    """1234.0 -> 1,234"""
    return MISSING if _unknown(value) else f"{value:,.0f}"


def percent(value: Any, digits: int = 0) -> str:
    """0.256 -> 26 %"""
    return MISSING if _unknown(value) else words.percent(value, digits)


def points(value: Any) -> str:
    """A change of a share, in percentage points: 0.05 -> +5.0"""
    return MISSING if _unknown(value) else _with_minus(words.points(value))


def figure(value: Any) -> str:
    """A number in as many digits as a reader needs; text, yes or no as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if _unknown(value):
        return MISSING
    return _with_minus(words.figure(value, 3))


def fixed(value: Any, digits: int = 2) -> str:
    """A number in a column of its kind: 0.9 -> 0.90"""
    return MISSING if _unknown(value) else _with_minus(f"{value:,.{digits}f}")


def spoken(value: str) -> str:
    """days_since_last_order -> days since last order"""
    return str(value).replace("_", " ")


def month_name(month: date) -> str:
    """December 2017"""
    return f"{month:%B} {month.year}"


def _with_minus(text: str) -> str:
    """With the minus that is as wide as a plus."""
    return text.replace("-", "−")


def _unknown(value: Any) -> bool:
    return not isinstance(value, int | float) or not math.isfinite(value)


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
