"""The report of a month: one HTML file that a marketer opens, offline, and a printer takes.

Everything in it comes from the published file, and the same file gives the same bytes. Charts are SVG, with a few lines
of script for hovering: a fifth of a megabyte (benchmarks/report.py). It is a briefing of a few pages, with all figures
and the method folded into an appendix that is printed where it is unfolded. What belongs here: putting the page
together. Rows: queries.py; the first screen's words: briefing.py; a segment's card: cards.py; drawing: charts.py.
"""

import base64
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from segment_pipeline import charts, words
from segment_pipeline.config.order_features import ORDER_VALUE
from segment_pipeline.config.values import followed
from segment_pipeline.database.rows import Row
from segment_pipeline.mixture.candidates import CandidateKey
from segment_pipeline.models.selection import elbow_of
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline.movement.chance import in_words
from segment_pipeline.report.briefing import (
    brief,
    finding_of_moves,
    finding_of_shares,
    headline_figures,
    left_out_of_window,
    money_of,
    period_of,
)
from segment_pipeline.report.cards import cards, placed_features
from segment_pipeline.report.queries import ReportError, Story, read_story
from segment_pipeline.report.shown import day_name, figure, fixed, month_name, percent, points, spoken, whole
from segment_pipeline.segments.charts_store import share_trend

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
BAR_MONTHS = 12
"""Months whose shares stand above one another as bars."""
_PER_CENT = re.compile(r"(?<=\d) %")
_REFUSED = re.compile(r" Refused: (.*?\))\.(?= [A-Z]|$)")


@dataclass(frozen=True)
class Report:
    """A report in place: where, how large (bytes), how long it took (seconds), and a sentence for each answer."""

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
    """The page of `month` as text, and its five answers, a sentence each. `connection` leads to the published file.

    Raises ReportError when the month is not in it.
    """
    story = read_story(connection, month)
    briefing = brief(story)
    script = (HERE / SCRIPT).read_text(encoding="utf-8")
    page = _template().render(
        story,
        name=name,
        briefing=briefing,
        headline_figures=headline_figures(story),
        good=charts.GOOD,
        bad=charts.BAD,
        style=_believed((HERE / STYLE).read_text(encoding="utf-8")),
        script=_believed(script),
        # only the script of this page runs, whatever a name may contain
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **_drawings(story),
        **_derived(story),
    )
    return page, briefing.sentences


@cache
def _template() -> "jinja2.Template":
    """To compile it takes as long as to draw a page."""
    import jinja2

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
        "counted": words.counted,
        "capitalised": words.capitalised,
        "percent": percent,
        "points": points,
        "figure": figure,
        "fixed": fixed,
        "spoken": spoken,
        "month_key": month_key,
        "month_name": month_name,
        "day_name": day_name,
    }
    environment.filters |= filters
    return environment.get_template(TEMPLATE)


_SEEN = {
    "moved": "changed segment",
    "came_back": "of those who moved the month before, are back where they had been",
    "base_shift": "must have moved for the sizes of the segments to change as they did (what moves everybody alike)",
}
"""The movements of `movement_reference` that the page tells in a line each."""


def _drawings(story: Story) -> dict[str, Any]:
    """Every chart of the page as SVG; None where there is nothing to draw."""
    colours = charts.segment_colours((row["month"], row["segment_id"]) for row in story["history"])
    names = segment_names(story["history"])
    candidates, champion = story["candidates"], story["champion"]
    chosen = (champion["covariance_type"], champion["n_components"]) if champion else None
    judged = [row for row in story["backtest"] if row["alerts"]]
    trends = {
        row["segment_id"]: charts.sparkline_svg(
            share_trend(story["history"], row["segment_id"]), colours[row["segment_id"]]
        )
        for row in story["segments"]
    }
    drawn = {
        "bic_chart": _for_both(lambda kind: charts.bic_curve(candidates, chosen, elbow_among(candidates), kind))
        if candidates
        else None,
        "certainty_chart": _for_both(
            lambda kind: charts.histograms(
                story["certainty"],
                {"max_probability": "largest probability", "entropy": "uncertainty (0 certain, 1 all alike)"},
                kind,
            )
        ),
        "flow_chart": _for_both(
            lambda kind: charts.journey_flow(story["moves"], names, colours, narrow=kind == charts.NARROW)
        ),
        "drift_chart": _for_both(lambda kind: charts.drift_over_months(story["drift"], kind))
        if story["drift"]
        else None,
        "backtest_chart": _for_both(lambda kind: charts.backtest(judged, kind)) if judged else None,
    }
    return {
        "colours": colours,
        "inks": {segment_id: charts.ink_on(colour) for segment_id, colour in colours.items()},
        "names": names,
        "trends": {segment_id: _believed(trend) for segment_id, trend in trends.items()},
        **{name: _believed(text) if text else None for name, text in drawn.items()},
    }


def _for_both(draw: Callable[[str], str]) -> str:
    """A chart for the width of a page and for that of a phone: the style shows the one that fits."""
    return "".join(map(draw, (charts.WIDE, charts.NARROW)))


def _derived(story: Story) -> dict[str, Any]:
    """What the template lays out and no table holds."""
    features = placed_features(story)
    rationale = story["champion"]["rationale"] or "" if story["champion"] else ""
    shown = story["months"][-BAR_MONTHS:]
    of_months = {month: [row for row in story["history"] if row["month"] == month] for month in reversed(shown)}
    names, served = segment_names(story["history"]), _served(story["segments"])
    earlier = [rows for rows in of_months.values() if _served(rows) != served]
    return {
        "money": money_of(story),
        "period": period_of(story),
        "cards": cards(story, features),
        "bars": of_months,
        # a bar carries the names of its segments where none above it has the same
        "named": set({_served(rows): month for month, rows in reversed(of_months.items())}.values()),
        "others_until": next((month for month, rows in of_months.items() if _served(rows) != served), None),
        "others": {
            row["segment_id"]: row for rows in of_months.values() for row in rows if row["segment_id"] not in served
        }.values(),
        "continued": [
            row for row in story["segments"] if row["segment_id"] in frozenset().union(*map(_served, earlier))
        ],
        "number_of_action": {
            row["action_id"]: number
            for number, row in enumerate((row for row in story["actions"] if row["segment_id"] is None), 1)
        },
        "shares_found": finding_of_shares(story),
        "moves_found": finding_of_moves(story, names) if story["moves"] else "",
        "left_out": left_out_of_window(story["account"]),
        "features_of": features,
        "cell_of": {(row["segment_id"], row["feature"]): row for rows in features.values() for row in rows},
        "order_value": ORDER_VALUE,
        "labels": {feature: f"spend on {category}" for feature, category in story["category_of"].items()},
        "feature_names": list(dict.fromkeys(row["feature"] for rows in features.values() for row in rows)),
        "from_states": charts.states(story["moves"], "from_state") if story["moves"] else [],
        "to_states": charts.states(story["moves"], "to_state") if story["moves"] else [],
        "matrix": {(row["from_state"], row["to_state"]): row for row in story["moves"]},
        "beside": {
            (row["from_state"], row["to_state"]): row for row in story["chance"] if row["measure"] == "transition"
        },
        "chance_told": [
            *((_SEEN[row["measure"]], row) for row in story["chance"] if row["measure"] in _SEEN),
            *((f"warned: {spoken(row['warning'])}", row) for row in story["chance"] if row["measure"] == "warning"),
        ],
        "in_words": in_words,
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


def _served(rows: Sequence[Row]) -> frozenset[int]:
    return frozenset(row["segment_id"] for row in rows)


def elbow_among(candidates: Sequence[Mapping[str, Any]]) -> CandidateKey | None:
    """Where the BIC curve of the admissible candidates bends most; None when it does not."""
    admissible = [row for row in candidates if row["admissible"]]
    return elbow_of({(row["covariance_type"], row["n_components"]): row["bic"] for row in admissible})


def segment_names(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The name of every segment there has been, by its id as text: the latest, and with the id where two of a month
    share it."""
    names = {str(row["segment_id"]): row["name"] for row in history}
    of_months = Counter((row["month"], row["name"]) for row in history)
    shared = {name for (_, name), count in of_months.items() if count > 1}
    return {key: f"{name} ({key})" if name in shared else name for key, name in names.items()}


def _believed(text: str) -> Any:
    """Text that goes into the page as it is: our own files, and SVG whose names were escaped when it was drawn."""
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704 - see the docstring; a test draws segments called <script>


def _unbroken(value: Any) -> Any:
    """Text of the tables and of our own with no line ending between a figure and its per cent sign; else the value."""
    return _PER_CENT.sub("\N{NO-BREAK SPACE}%", value) if type(value) is str else value
