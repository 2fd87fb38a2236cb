"""Charts of the report and of the Dagster UI: plain rows in, an Altair chart (or, for the journeys, SVG text) out.

What belongs here: how a figure is drawn, one theme, one colour a segment. What does not: where the rows come from.
Altair and vl-convert are imported inside the functions, for whoever only loads the code location draws nothing.

Text and axes are drawn in `currentColor`, so that an SVG takes its ink from the page and is legible on light and dark;
a PNG has a white ground of its own. Marks carry their figures in words as `aria-label`, which a page shows on hover.
"""

import colorsys
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from html import escape
from typing import TYPE_CHECKING, Any

from segment_pipeline.months import month_key
from segment_pipeline.words import counted, figure, percent

if TYPE_CHECKING:
    import altair as alt

Rows = Sequence[Mapping[str, Any]]

PALETTE = (
    "#0077cc", "#bb8800", "#dd0033", "#229977", "#cc11aa",
    "#7788ff", "#007733", "#aa88bb", "#556677", "#4444ff",
)  # fmt: skip
"""Ten colours with a contrast of at least 3:1 on white and on the dark ground (#14171c), so their luminance lies in
0.125..0.30, and as far apart as that allows for people with normal sight, protanopia and deuteranopia (Machado et al.
2009; at least 0.09 in OKLab between any two)."""

INK, PAPER, QUIET = "#1d2430", "#ffffff", "#8a94a3"
ACCENT, WARN = "#0077cc", "#dd0033"
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""What vl-convert measures texts with, so that a browser that draws them cuts none off."""
HEAT = ("#9a4a00", "#e8a860", "#f3f1ec", "#7fb4e6", "#00508f")
"""Bad news brown, good news blue: the two hues that colour-blind people tell apart best."""
NEUTRAL = ("#f3f1ec", "#c3cbd6", "#8796a9")
"""How far from the population, where nobody says which way is good."""
SPARKS = "▁▂▃▄▅▆▇█"
PER_CENT = "format(100 * datum.value, '.1~f') + ' %'"
"""A share on an axis, as `words.percent` has it in sentences."""
MAX_PNG_BYTES = 100_000
_CLIP = re.compile(r"(?<=id=\")clip\d+(?=\")|(?<=url\(#)clip\d+(?=\))")


def segment_colours(history: Iterable[tuple[date, int]]) -> dict[int, str]:
    """A colour of its own for each segment id of (month, segment_id), in the order in which they appear: charts show
    all months, so a colour is never given twice, and no later month changes one."""
    colours, free = {}, _colours()
    for _, segment_id in sorted(set(history)):
        if segment_id not in colours:
            colours[segment_id] = next(free)
    return colours


def _colours() -> Iterator[str]:
    """The palette, and then without end others that stand out as well; nobody tells so many apart by colour alone, and
    every chart labels in words too. A golden section from hue to hue, in three steps of luminance."""
    given = set(PALETTE)
    yield from PALETTE
    for n in itertools.count():
        shades = (colorsys.hls_to_rgb(n * (5**0.5 - 1) / 2 % 1, lightness / 200, 0.7) for lightness in range(20, 200))
        shade = next(shade for shade in shades if _luminance(shade) >= 0.13 + 0.07 * (n % 3))
        colour = "#" + "".join(f"{round(255 * channel):02x}" for channel in shade)
        if colour not in given:
            given.add(colour)
            yield colour


def sparkline(values: Sequence[float | None]) -> str:
    """Values as a line of block characters, lowest to highest, for where only text shows; a gap is a blank."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low, width = min(known), (max(known) - min(known)) or 1.0
    return "".join(
        SPARKS[round((value - low) / width * (len(SPARKS) - 1))] if value is not None and math.isfinite(value) else " "
        for value in values
    )


def sparkline_svg(values: Sequence[float], colour: str) -> str:
    """A trend without axes, 120 x 28; its figures belong into the text beside it: it is hidden from readers aloud."""
    if not values:
        return ""
    width, height, inset = 120.0, 28.0, 3.0
    low, span = min(values), (max(values) - min(values)) or 1.0
    step = (width - 2 * inset) / max(1, len(values) - 1)
    points = [
        (inset + i * step, height - inset - (value - low) / span * (height - 2 * inset))
        for i, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return (
        f'<svg class="spark" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">'
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/></svg>'
    )


def heat_of_index(index: float | None, better: str | None = None) -> tuple[str, str]:
    """Ground and ink of a cell whose index is 100 for the population; 25 and below, and 400 and above, are full.

    better : higher, lower, or None: which values are good news (blue) and which bad (brown); of None only how far it
    lies from the population is shown.
    """
    if index is None:
        return _blend(HEAT, 2.0)
    ratio = max(-2.0, min(2.0, math.log2(index / 100))) if index > 0 else -2.0
    if better is None:
        return _blend(NEUTRAL, abs(ratio))
    return _blend(HEAT, 2.0 + (ratio if better == "higher" else -ratio))


def heat_of_share(share: float) -> tuple[str, str]:
    """Ground and ink of a cell with a share, 0..1; 0.8 and above are full."""
    return _blend(HEAT, 2.0 + 2.0 * min(1.0, share / 0.8))


def ink_on(colour: str) -> str:
    """Black or white, whichever is the more legible on it: where both have the same contrast (WCAG 2) they part."""
    return "#ffffff" if _luminance([channel / 255 for channel in _channels(colour)]) < 0.179 else "#000000"


def _blend(scale: Sequence[str], place: float) -> tuple[str, str]:
    """The colour at `place` (0 to its length less 1) of a scale, and the ink that is legible on it."""
    lower = min(int(place), len(scale) - 2)
    pair = _channels(scale[lower]), _channels(scale[lower + 1])
    mixed = "#" + "".join(f"{round(a + (b - a) * (place - lower)):02x}" for a, b in zip(*pair, strict=True))
    return mixed, ink_on(mixed)


def _channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _luminance(colour: Sequence[float]) -> float:
    """Of red, green and blue, each 0..1 (WCAG 2): 0 is black, 1 white."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def bic_curve(candidates: Rows, chosen: tuple[str, int] | None, elbow: tuple[str, int] | None) -> "alt.VConcatChart":
    """BIC (lower is better) and stability (higher is better) over the number of components, of each type of
    covariances.

    candidates : rows of candidate_models of one month. chosen : covariance_type and n_components that served, or None.
    elbow : likewise, see `models.selection.elbow_of`. Refused candidates are hollow; grey, of whom nobody had to ask.
    """
    import altair as alt

    names = ("covariance_type", "n_components", "bic", "stability", "admissible")
    rows = [
        {name: row[name] for name in names}
        for row in candidates
        if row["bic"] is not None and math.isfinite(row["bic"])
    ]
    admissible = [row for row in rows if row["admissible"]]
    best = min(admissible, key=lambda row: row["bic"], default=None)
    lowest = None if best is None else (best["covariance_type"], best["n_components"])
    several = len({row["covariance_type"] for row in rows}) > 1
    for row in rows:
        key = row["covariance_type"], row["n_components"]
        marks = {"chosen": chosen, "lowest BIC": lowest, "elbow": elbow}
        row["mark"] = ", ".join(word for word, marked in marks.items() if marked == key)
        row["state"] = "chosen" if key == chosen else ("admissible" if row["admissible"] else "refused")
        if row["state"] == "refused" and (row["stability"] is None or math.isnan(row["stability"])):
            row["state"] = "not asked"
        kind = f"{row['n_components']} components" + (f", {row['covariance_type']}" if several else "")
        row["words"] = f"{kind}, {row['state']}: BIC {row['bic']:,.0f}, stability {_shown(row['stability'], '.2f')}" + (
            f" ({row['mark']})" if row["mark"] else ""
        )
    x = alt.X("n_components:O", title="number of components", axis=alt.Axis(labelAngle=0))
    states = ["chosen", "admissible", "refused", "not asked"]
    state = alt.Scale(domain=states, range=[WARN, ACCENT, "transparent", QUIET])
    base = alt.Chart(alt.Data(values=rows), width=560, height=210)
    scale = alt.Scale(zero=False, padding=24)
    y = alt.Y("bic:Q", title="BIC (lower is better)", scale=scale, axis=alt.Axis(format=",.0f"))
    types = ["full", "tied", "diagonal", "spherical"]
    by_type = {"strokeDash": alt.StrokeDash("covariance_type:N", title="covariances", sort=types)} if several else {}
    beside = {"xOffset": alt.XOffset("covariance_type:N", sort=types)} if several else {}
    line = base.mark_line(color=ACCENT, strokeWidth=2, aria=False).encode(x=x, y=y, **by_type)
    points = base.mark_point(filled=True, size=110, stroke=ACCENT, strokeWidth=2, opacity=1).encode(
        x=x, y=y, fill=alt.Fill("state:N", scale=state, title=None), description="words:N"
    )
    label = base.mark_text(dy=18, fontWeight="bold", color=alt.ExprRef("ink"), aria=False)
    labels = label.encode(x=x, y=y, text="mark:N")
    stability = (
        alt.Chart(alt.Data(values=rows), width=560, height=70)
        .mark_bar(size=6 if several else 22, cornerRadiusEnd=3)
        .encode(
            x=x,
            y=alt.Y(
                "stability:Q",
                title="stability",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(values=[0, 0.5, 1]),
            ),
            color=alt.Color(
                "state:N",
                scale=alt.Scale(domain=["chosen", "admissible", "refused"], range=[WARN, ACCENT, QUIET]),
                legend=None,
            ),
            description="words:N",
            **beside,
        )
    )
    return alt.vconcat(line + points + labels, stability, spacing=14).resolve_scale(color="independent")


def feature_distributions(bins: Rows, limits: Rows) -> "alt.FacetChart":
    """Each feature before and after its transform, side by side, with lines at 3 SD from the mean.

    bins : feature, stage ("original" or "standardised"), low, high, customers; low and high in the stage's unit.
    limits : feature, stage, value: where the lines stand.
    """
    import altair as alt

    rows: list[dict[str, Any]] = [
        dict(row)
        | {
            "words": f"{row['feature']}, {row['stage']}: {counted(row['customers'])} from "
            f"{figure(row['low'], 3)} to {figure(row['high'], 3)}"
        }
        for row in bins
    ]
    rows += [{**row, "limit": row["value"]} for row in limits]
    base = alt.Chart(width=250, height=90)
    bars = (
        base.mark_bar(color=ACCENT, opacity=0.75)
        .encode(
            x=alt.X("low:Q", bin="binned", title=None),
            x2="high:Q",
            y=alt.Y("customers:Q", title="customers"),
            description="words:N",
        )
        .transform_filter("isValid(datum.customers)")
    )
    lines = (
        base.mark_rule(color=WARN, strokeDash=[4, 3], aria=False)
        .encode(x="limit:Q")
        .transform_filter("isValid(datum.limit)")
    )
    return (
        alt.layer(bars, lines, data=alt.Data(values=rows))
        .facet(
            row=alt.Row("feature:N", title=None, header=alt.Header(labelAngle=0, labelAlign="left", labelLimit=150)),
            column=alt.Column("stage:N", title=None),
        )
        .resolve_scale(x="independent", y="independent")
    )


def profile_heat_map(profiles: Rows) -> "alt.LayerChart":
    """Segments against the population: index 100 is the mean of all customers, 200 twice and 50 half of it.

    profiles : segment_id, name, feature, mean, unit, index, and better: higher, lower or None.
    """
    import altair as alt

    rows = []
    for row in profiles:
        fill, ink = heat_of_index(row["index"], row["better"])
        index = _shown(row["index"], ".0f")
        words = f"{row['name']}, {row['feature']}: {figure(row['mean'])} {row['unit']}, index {index}"
        rows.append(
            {
                "segment": f"{row['segment_id']} {row['name']}",
                "feature": row["feature"].replace("_", " "),
                "fill": fill,
                "ink": ink,
                "shown": index,
                "words": words.strip(),
            }
        )
    base = alt.Chart(alt.Data(values=rows), width=alt.Step(92), height=alt.Step(34)).encode(
        x=alt.X("feature:N", title=None, axis=alt.Axis(orient="top", labelAngle=-20)),
        y=alt.Y("segment:N", title=None, axis=alt.Axis(labelLimit=260)),
    )
    cells = base.mark_rect(cornerRadius=3).encode(color=alt.Color("fill:N", scale=None), description="words:N")
    return cells + base.mark_text(aria=False).encode(text="shown:N", color=alt.Color("ink:N", scale=None))


def transition_matrix(moves: Rows, names: Mapping[str, str]) -> "alt.LayerChart":
    """Where the customers of each state went: shares of the row. moves : rows of transition_matrix of one month."""
    import altair as alt

    rows = []
    for row in moves:
        came, went = (_numbered(row[side], names) for side in ("from_state", "to_state"))
        fill, ink = heat_of_share(row["share"])
        words = f"from {came} to {went}: {counted(row['customers'])}, {percent(row['share'])}"
        cell = {"from": came, "to": went, "shown": percent(row["share"]), "fill": fill, "ink": ink, "words": words}
        rows.append(cell)
    order = {side: [_numbered(state, names) for state in states(moves, side)] for side in ("from_state", "to_state")}
    base = alt.Chart(alt.Data(values=rows), width=alt.Step(86), height=alt.Step(34)).encode(
        x=alt.X(
            "to:N",
            sort=order["to_state"],
            title="this month",
            axis=alt.Axis(orient="top", labelAngle=-20, labelLimit=150),
        ),
        y=alt.Y("from:N", sort=order["from_state"], title="month before", axis=alt.Axis(labelLimit=240)),
    )
    cells = base.mark_rect(cornerRadius=3).encode(color=alt.Color("fill:N", scale=None), description="words:N")
    return cells + base.mark_text(aria=False).encode(text="shown:N", color=alt.Color("ink:N", scale=None))


def shares_over_time(
    shares: Rows, colours: Mapping[int, str], refits: Sequence[date] = (), *, legend: bool = True
) -> "alt.LayerChart":
    """How the customers were divided, month by month; months in which a new model began have a dashed line before them.

    shares : month, segment_id, name, share, customers. legend : False where the page names the colours itself.
    """
    import altair as alt

    rows = [
        {
            "month": month_key(row["month"]),
            "segment": str(row["segment_id"]),
            "share": row["share"],
            "words": f"{month_key(row['month'])}, {row['name']}: {percent(row['share'], 1)}, "
            f"{counted(row['customers'])}",
        }
        for row in shares
    ]
    latest = {str(row["segment_id"]): f"{row['segment_id']} {row['name']}" for row in shares}
    ids = sorted(latest, key=int)
    months = sorted({row["month"] for row in rows})
    x = alt.X("month:O", title=None, axis=alt.Axis(labelAngle=0 if len(months) <= 12 else -45, labelOverlap=True))
    bars = (
        alt.Chart(alt.Data(values=rows), width=620, height=240)
        .mark_bar(stroke=PAPER, strokeWidth=0.6)
        .encode(
            x=x,
            y=alt.Y(
                "share:Q",
                title="share of customers",
                axis=alt.Axis(labelExpr=PER_CENT),
                stack="zero",
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "segment:N",
                title=None,
                scale=alt.Scale(domain=ids, range=[colours[int(i)] for i in ids]),
                legend=alt.Legend(
                    orient="bottom",
                    columns=2,
                    labelLimit=300,
                    symbolType="square",
                    # a segment's name is data: it goes into the expression as a JSON text, never as code
                    labelExpr=f"({json.dumps(latest)})[datum.label]",
                )
                if legend
                else None,
            ),
            order=alt.Order("segment:N"),
            description="words:N",
        )
    )
    begun = [{"month": month_key(month)} for month in refits if month_key(month) in months[1:]]
    rules = (
        alt.Chart(alt.Data(values=begun))
        .mark_rule(color=alt.ExprRef("ink"), strokeDash=[5, 3], strokeWidth=1.5, aria=False)
        .encode(x=alt.X("month:O", bandPosition=0))
    )
    return bars + rules if begun else alt.layer(bars)


def histograms(bins: Rows, titles: Mapping[str, str]) -> "alt.HConcatChart":
    """How sure the memberships are. bins : measure, low, high (0..1), customers; titles : measure -> axis title."""
    import altair as alt

    charts = []
    for measure, title in titles.items():
        rows = [
            dict(row) | {"words": f"{counted(row['customers'])} from {row['low']:.2f} to {row['high']:.2f}"}
            for row in bins
            if row["measure"] == measure
        ]
        charts.append(
            alt.Chart(alt.Data(values=rows), width=260, height=120)
            .mark_bar(color=ACCENT, stroke=PAPER, strokeWidth=0.6)
            .encode(
                x=alt.X("low:Q", bin="binned", title=title, scale=alt.Scale(domain=[0, 1])),
                x2="high:Q",
                y=alt.Y("customers:Q", title="customers"),
                description="words:N",
            )
        )
    return alt.hconcat(*charts, spacing=30)


def drift_over_months(figures: Rows) -> "alt.FacetChart":
    """Each drift metric over the months with its limit (dashed); a red point is a limit crossed.

    figures : month, metric, value, threshold, fired; one row per month and metric. A metric without a value, because
    what it measured is not there any more, has no point.
    """
    import altair as alt

    rows = [
        {
            "month": month_key(row["month"]),
            "metric": row["metric"].replace("_", " "),
            "value": row["value"],
            "threshold": row["threshold"],
            "fired": bool(row["fired"]),
            "words": f"{month_key(row['month'])}, {row['metric']}: {figure(row['value'], 3)}, "
            f"limit {figure(row['threshold'], 3)}" + (", crossed" if row["fired"] else ""),
        }
        for row in figures
        if row["value"] is not None and math.isfinite(row["value"]) and math.isfinite(row["threshold"])
    ]
    base = alt.Chart(width=180, height=90).encode(
        x=alt.X("month:O", title=None, axis=alt.Axis(labels=False, ticks=False))
    )
    line = base.mark_line(color=ACCENT, aria=False).encode(y=alt.Y("value:Q", title=None))
    limit = base.mark_line(color=QUIET, strokeDash=[4, 3], aria=False).encode(y="threshold:Q")
    points = base.mark_point(filled=True, size=50, opacity=1).encode(
        y="value:Q",
        color=alt.Color("fired:N", scale=alt.Scale(domain=[False, True], range=[ACCENT, WARN]), legend=None),
        description="words:N",
    )
    return (
        alt.layer(limit, line, points, data=alt.Data(values=rows))
        .facet(alt.Facet("metric:N", title=None), columns=3)
        .resolve_scale(y="independent")
    )


CHOICES = {
    "precision": ("the warnings", "circle", ACCENT),
    "recency_precision": ("longest silent", "square", "#bb8800"),
    "churn_risk_precision": ("highest churn risk", "diamond", "#229977"),
    "base_rate": ("at random", "cross", QUIET),
}


def backtest(rows: Rows) -> "alt.LayerChart":
    """How often warnings came true, with their 95 % interval, beside other ways to choose as many customers.

    rows : the pooled rows (month NULL) of the back-test that have alerts.
    """
    import altair as alt

    points, intervals = [], []
    for row in rows:
        warning = row["warning"].replace("_", " ")
        intervals.append({"warning": warning, "low": row["precision_low"], "high": row["precision_high"]})
        for column, (chosen_by, _, _) in CHOICES.items():
            if row[column] is not None:
                words = f"{warning}, {chosen_by}: {percent(row[column], 1)} of {row['alerts']:,} fell silent"
                if column == "precision" and row["precision_low"] is not None:
                    words += f", interval {percent(row['precision_low'], 1)} to {percent(row['precision_high'], 1)}"
                points.append({"warning": warning, "by": chosen_by, "value": row[column], "words": words})
    names = [name for name, _, _ in CHOICES.values()]
    y, axis = alt.Y("warning:N", title=None, axis=alt.Axis(labelLimit=200)), alt.Axis(labelExpr=PER_CENT, tickCount=6)
    bars = (
        alt.Chart(alt.Data(values=intervals), width=480, height=alt.Step(40))
        .mark_rule(color=ACCENT, strokeWidth=2, aria=False)
        .encode(x=alt.X("low:Q", title="share who then fell silent", axis=axis), x2="high:Q", y=y)
    )
    dots = (
        alt.Chart(alt.Data(values=points))
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            x="value:Q",
            y=y,
            color=alt.Color(
                "by:N",
                title=None,
                scale=alt.Scale(domain=names, range=[colour for _, _, colour in CHOICES.values()]),
                legend=alt.Legend(orient="bottom"),
            ),
            shape=alt.Shape(
                "by:N", title=None, scale=alt.Scale(domain=names, range=[shape for _, shape, _ in CHOICES.values()])
            ),
            description="words:N",
        )
    )
    return bars + dots


def journey_flow(moves: Rows, names: Mapping[str, str], colours: Mapping[int, str], *, narrow: bool = False) -> str:
    """An SVG of last month's states (left) flowing into this month's (right), as thick as they have customers.

    moves : from_state, to_state, customers of one month. names : state -> what it is called. narrow : as wide as a
    phone, its names on the flows and not beside them.
    """
    width, height, bar, gap, label = (360.0, 420.0, 10.0, 14.0, 0.0) if narrow else (760.0, 420.0, 14.0, 10.0, 215.0)
    left, right = _totals(moves, "from_state"), _totals(moves, "to_state")
    everyone = sum(left.values())
    if not everyone:
        return ""
    scale = (height - 24 - gap * max(len(left), len(right))) / everyone
    x0, x1 = label, width - label - bar
    parts = []
    starts, ends = _stack(left, scale, gap), _stack(right, scale, gap)
    before, after = ("start", "end") if narrow else ("end", "start")
    for title, x, anchor in (
        ("month before", x0 if narrow else x0 + bar, before),
        ("this month", x1 + bar if narrow else x1, after),
    ):
        parts.append(f'<text x="{x:g}" y="12" text-anchor="{anchor}" class="quiet">{title}</text>')
    offsets, arrivals = dict(starts), dict(ends)
    order = {state: place for place, state in enumerate(right)}
    for move in sorted(moves, key=lambda row: (list(left).index(row["from_state"]), order[row["to_state"]])):
        thick = move["customers"] * scale
        a, b = offsets[move["from_state"]], arrivals[move["to_state"]]
        offsets[move["from_state"]] += thick
        arrivals[move["to_state"]] += thick
        start, middle, c, d = x0 + bar, (x0 + bar + x1) / 2, a + thick, b + thick
        path = (
            f"M{start:.1f},{a:.1f}C{middle:.1f},{a:.1f} {middle:.1f},{b:.1f} {x1:.1f},{b:.1f}"
            f"V{d:.1f}C{middle:.1f},{d:.1f} {middle:.1f},{c:.1f} {start:.1f},{c:.1f}Z"
        )
        words = (
            f"from {_state(move['from_state'], names)} to {_state(move['to_state'], names)}: "
            f"{counted(move['customers'])}"
        )
        fill = _state_colour(move["from_state"], colours)
        parts.append(f'<path d="{path}" fill="{fill}" fill-opacity="0.38" {_spoken(words)}/>')
    for totals, tops, x, text_x, anchor in (
        (left, starts, x0, x0 + bar + 6 if narrow else x0 - 8, before),
        (right, ends, x1, x1 - 6 if narrow else x1 + bar + 8, after),
    ):
        for state, count in totals.items():
            tall, words = max(1.0, count * scale), f"{_state(state, names)}: {counted(count)}"
            parts.append(
                f'<rect x="{x:.1f}" y="{tops[state]:.1f}" width="{bar:g}" height="{tall:.1f}" rx="2" '
                f'fill="{_state_colour(state, colours)}" {_spoken(words)}/>'
                f'<text x="{text_x:.1f}" y="{tops[state] + tall / 2 + 4:.1f}" text-anchor="{anchor}">'
                f"{escape(_shortened(_state(state, names), 24 if narrow else 34))}</text>"
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="marks {"narrow" if narrow else "wide"}" '
        f'viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="{FONT}" font-size="12" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


def states(moves: Rows, side: str) -> list[str]:
    """The states of a transition matrix on that side (from_state or to_state): segments by id, then the others."""
    return sorted({row[side] for row in moves}, key=lambda state: (not state.isdigit(), state.zfill(9)))


def svg(chart: "alt.TopLevelMixin") -> str:
    """The chart as SVG text for a page: transparent, in the page's ink, scaled by the page."""
    return _drawn(chart, ink="currentColor", ground="transparent")


def paper_svg(chart: "alt.TopLevelMixin | str") -> str:
    """The chart (or the journeys' SVG text) as SVG text in dark ink on white, for where no page gives it its ink."""
    if not isinstance(chart, str):
        return _drawn(chart, ink=INK, ground=PAPER)
    opened, close, rest = chart.partition(">")
    # in a text both quotes would be escaped, so that this is the drawing's own attribute
    opened = opened.replace('fill="currentColor"', f'fill="{INK}"')
    return f'{opened}{close}<rect width="100%" height="100%" fill="{PAPER}"/>{rest}'


def _drawn(chart: "alt.TopLevelMixin", ink: str, ground: str) -> str:
    import vl_convert

    drawn = str(vl_convert.vegalite_to_svg(_spec(chart, ink=ink, ground=ground)))
    # Vega numbers clip paths through the life of the process: the same chart must give the same text, and two charts on
    # one page must not share an id
    numbers = {found: str(place) for place, found in enumerate(dict.fromkeys(_CLIP.findall(drawn)))}
    own = hashlib.sha256(_CLIP.sub("clip", drawn).encode()).hexdigest()[:8]
    return _CLIP.sub(lambda found: f"clip-{own}-{numbers[found.group()]}", drawn)


def png(chart: "alt.TopLevelMixin | str", scale: float = 1.25) -> bytes:
    """The chart (or SVG text) as a picture on white, below 100 kB: coarser, where finer would be larger."""
    import vl_convert

    drawn = paper_svg(chart)
    picture = bytes(vl_convert.svg_to_png(drawn, scale=scale))
    while len(picture) >= MAX_PNG_BYTES and scale > 0.4:
        scale *= 0.8
        picture = bytes(vl_convert.svg_to_png(drawn, scale=scale))
    return picture


def _spec(chart: "alt.TopLevelMixin", ink: str, ground: str) -> dict[str, Any]:
    """The chart's Vega-Lite under the one theme."""
    spec = chart.to_dict(validate=False)
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
    spec["background"] = ground
    spec["config"] = {
        "font": FONT,
        "view": {"stroke": None},
        "text": {"color": ink, "fontSize": 11},
        # what they say stands in the page's own words: only marks are spoken
        "axis": text | {"gridColor": ink, "gridOpacity": 0.12, "domain": False, "tickColor": QUIET, "aria": False},
        "legend": text | {"aria": False},
        "header": text | {"labelFontWeight": "bold"},
    }
    spec["params"] = [{"name": "ink", "value": ink}, *spec.get("params", ())]
    return dict(spec)


def _shown(value: float | None, form: str) -> str:
    return "unknown" if value is None or not math.isfinite(value) else format(value, form)


def _numbered(state: str, names: Mapping[str, str]) -> str:
    """Two segments may have one name: with the id they stay two."""
    return f"{state} {names[state]}" if state in names else state


def _state(state: str, names: Mapping[str, str]) -> str:
    return names.get(state, state)


def _state_colour(state: str, colours: Mapping[int, str]) -> str:
    return colours.get(int(state), QUIET) if state.isdigit() else QUIET


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _spoken(words: str) -> str:
    return f'role="graphics-symbol" aria-label="{escape(words, quote=True)}"'


def _totals(moves: Rows, side: str) -> dict[str, int]:
    """Customers of each state on that side, in the order of `states`."""
    found = states(moves, side)
    return {state: sum(row["customers"] for row in moves if row[side] == state) for state in found}


def _stack(totals: Mapping[str, int], scale: float, gap: float) -> dict[str, float]:
    """Where each state's bar begins, from the top."""
    tops, y = {}, 22.0
    for state, count in totals.items():
        tops[state] = y
        y += count * scale + gap
    return tops
