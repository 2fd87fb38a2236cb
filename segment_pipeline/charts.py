"""Charts of the report and of the Dagster UI: plain rows in, SVG text out.

What belongs here: which figure a chart shows and how, one theme, one colour a segment. What does not: where the rows
come from, and what axes and marks are made of (drawing.py).

Text and axes are drawn in `currentColor`, so that a chart takes its ink from the page and is legible on light and dark;
`on_paper` gives it an ink and a ground of its own. Marks carry their figures in words as `aria-label`, which a page
shows on hover.
"""

import colorsys
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

from segment_pipeline.drawing import (
    FONT,
    QUIET,
    Names,
    Numbers,
    Part,
    Plot,
    Shares,
    around,
    chart,
    element,
    grid,
    legend,
    point,
    rect,
    shortened,
    spoken,
    text,
)
from segment_pipeline.months import month_key
from segment_pipeline.words import counted, figure, percent

Rows = Sequence[Mapping[str, Any]]

PALETTE = (
    "#0077cc", "#bb8800", "#dd0033", "#229977", "#cc11aa",
    "#7788ff", "#007733", "#aa88bb", "#556677", "#4444ff",
)  # fmt: skip
"""Ten colours with a contrast of at least 3:1 on white and on the dark ground (#14171c), so their luminance lies in
0.125..0.30, and as far apart as that allows for people with normal sight, protanopia and deuteranopia (Machado et al.
2009; at least 0.09 in OKLab between any two)."""

INK, PAPER = "#1d2430", "#ffffff"
ACCENT, WARN = "#0077cc", "#dd0033"
GOOD, BAD = ("#00508f", "#7fb4e6"), ("#9a4a00", "#e8a860")
"""Good news blue, bad news brown, the two hues that colour-blind people tell apart best: in the ink of a white ground
and in that of a dark one. Whatever says good or bad has its colour from here."""
HEAT = (*BAD, "#f3f1ec", *reversed(GOOD))
NEUTRAL = ("#f3f1ec", "#c3cbd6", "#8796a9")
"""How far from the population, where nobody says which way is good."""
SPARKS = "▁▂▃▄▅▆▇█"


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


WIDE, NARROW = "wide", "narrow"
"""Kinds of a chart of a page: for its own width, and drawn anew for a phone's; the style shows the one that fits.
Without a kind, a chart stands alone, and is wide."""


def bic_curve(candidates: Rows, chosen: tuple[str, int] | None, elbow: tuple[str, int] | None, kind: str = "") -> str:
    """BIC (lower is better) and stability (higher is better) over the number of components, of each type of
    covariances.

    candidates : rows of candidate_models of one month. chosen : covariance_type and n_components that served, or None.
    elbow : likewise, see `models.selection.elbow_of`. kind : "", WIDE or NARROW. Refused candidates are hollow; grey,
    of whom nobody had to ask.
    """
    across_all = 230 if kind == NARROW else 560
    rows = [row for row in candidates if row["bic"] is not None and math.isfinite(row["bic"])]
    best = min(rows, key=lambda row: row["bic"], default=None)
    marked = {"chosen": chosen, "lowest BIC": best and _candidate(best), "elbow": elbow}
    types = [one for one in DASHES if any(row["covariance_type"] == one for row in rows)]
    x = Names([str(k) for k in sorted({row["n_components"] for row in rows})])
    bic = Plot(across_all, 210, x, around([row["bic"] for row in rows], zero=False, margin=0.12))
    bars = Plot(across_all, 70, x, Numbers(0.0, 1.0))
    wide = x.band(across_all) * 0.7 / max(1, len(types))
    curves, points, stability = [], [], []
    for place, of_type in enumerate(types):
        own = sorted((row for row in rows if row["covariance_type"] == of_type), key=lambda row: row["n_components"])
        ends = [(str(row["n_components"]), row["bic"]) for row in own]
        curves.append(bic.line(ends, ACCENT, stroke_dasharray=DASHES[of_type]))
        if len(types) > 1:
            last, height = ends[-1]
            curves.append(text(bic.across(last) + 10, bic.down(height) + 4, of_type, "start"))
        for row in own:
            marks = ", ".join(word for word, key in marked.items() if key == _candidate(row))
            asked = row["stability"] is not None and math.isfinite(row["stability"])
            state = "admissible" if row["admissible"] else "refused" if asked else "not asked"
            state = "chosen" if chosen == _candidate(row) else state
            words = (
                f"{row['n_components']} components{f', {of_type}' if len(types) > 1 else ''}, {state}: "
                f"BIC {row['bic']:,.0f}, stability {_shown(row['stability'], '.2f')}{f' ({marks})' if marks else ''}"
            )
            across, down = bic.across(str(row["n_components"])), bic.down(row["bic"])
            fill = {"chosen": WARN, "admissible": ACCENT, "refused": "transparent", "not asked": QUIET}[state]
            points.append(point(across, down, fill, stroke=ACCENT, stroke_width=2, radius=5.0, words=words))
            points.append(text(across, down + 20, marks, font_weight="bold") if marks else "")
            if asked:
                left, top = across + (place - len(types) / 2) * wide, bars.down(row["stability"])
                grey = QUIET if state == "refused" else fill
                stability.append(rect(left, top, wide - 1, 70 - top, fill=grey, words=words))
    room = 70 if len(types) > 1 else 16
    over = bic.with_axes([*curves, *points], y_title="BIC (lower is better)", right=room)
    told = "number of components" if kind == NARROW else "number of components (hollow: refused, grey: not asked)"
    under = bars.with_axes(stability, x_title=told, y_title="stability", right=room)
    return chart(grid([over, under]), kind)


DASHES = {"full": "none", "tied": "7 3", "diagonal": "2 3", "spherical": "8 3 2 3"}
"""Type of covariances -> how its curve is dashed."""


def _candidate(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["covariance_type"], row["n_components"]


def feature_distributions(bins: Rows, limits: Rows) -> str:
    """Each feature before and after its transform, side by side, with lines at 3 SD from the mean.

    bins : feature, stage ("original" or "standardised"), low, high, customers; low and high in the stage's unit.
    limits : feature, stage, value: where the lines stand.
    """
    plots = []
    for feature, stage in sorted({(row["feature"], row["stage"]) for row in bins}):
        rows, ends = (
            [row for row in some if (row["feature"], row["stage"]) == (feature, stage)] for some in (bins, limits)
        )
        values = [*(row["low"] for row in rows), *(row["high"] for row in rows), *(row["value"] for row in ends)]
        tall = around([row["customers"] for row in rows])
        plot = Plot(250, 80, around(values, zero=False), tall)
        lines = [
            plot.line([(row["value"], 0.0), (row["value"], tall.high)], WARN, stroke_dasharray="4 3") for row in ends
        ]
        plots.append(
            plot.with_axes([*_histogram(plot, rows, f"{feature}, {stage}: "), *lines], title=f"{feature}, {stage}")
        )
    return chart(grid(plots, 2))


def _histogram(plot: Plot, rows: Rows, of: str = "", digits: int = 3) -> Iterator[str]:
    for row in rows:
        ends = " to ".join(figure(row[end], digits) for end in ("low", "high"))
        words = f"{of}{counted(row['customers'])} from {ends}"
        yield plot.bar(
            row["low"], row["high"], 0, row["customers"], fill=ACCENT, stroke=PAPER, stroke_width=0.6, words=words
        )


def profile_heat_map(profiles: Rows) -> str:
    """Segments against the population: index 100 is the mean of all customers, 200 twice and 50 half of it.

    profiles : segment_id, name, feature, mean, unit, index, and better: higher, lower or None.
    """
    cells = []
    for row in profiles:
        index = _shown(row["index"], ".0f")
        words = f"{row['name']}, {row['feature']}: {figure(row['mean'])} {row['unit']}, index {index}".strip()
        name, feature = f"{row['segment_id']} {row['name']}", row["feature"].replace("_", " ")
        cells.append((name, feature, index, heat_of_index(row["index"], row["better"]), words))
    return chart(_table(cells, step=92))


def transition_matrix(moves: Rows, names: Mapping[str, str]) -> str:
    """Where the customers of each state went: shares of the row. moves : rows of transition_matrix of one month."""
    order = {side: states(moves, side) for side in ("from_state", "to_state")}
    cells = []
    for row in sorted(moves, key=lambda row: [states.index(row[side]) for side, states in order.items()]):
        came, went = (_numbered(row[side], names) for side in ("from_state", "to_state"))
        words = f"from {came} to {went}: {counted(row['customers'])}, {percent(row['share'])}"
        cells.append((came, went, percent(row["share"]), heat_of_share(row["share"]), words))
    columns = [_numbered(state, names) for state in order["to_state"]]
    return chart(_table(cells, step=86, columns=columns, x_title="this month", y_title="month before"))


def _table(
    cells: Sequence[tuple[str, str, str, tuple[str, str], str]],
    step: float,
    columns: Sequence[str] = (),
    x_title: str = "",
    y_title: str = "",
) -> Part:
    """Row, column, what stands there, its ground and ink, and the words; rows, and columns that are not given, in their
    order."""
    rows, columns = (
        list(dict.fromkeys(found)) for found in ([cell[0] for cell in cells], columns or [cell[1] for cell in cells])
    )
    tall = 34
    plot = Plot(
        step * len(columns),
        tall * len(rows),
        Names([shortened(name, 24) for name in columns]),
        Names([shortened(name, 42) for name in rows]),
    )
    marks = []
    for row, column, shown, (fill, ink), words in cells:
        x, y = columns.index(column) * step, rows.index(row) * tall
        marks.append(rect(x + 1, y + 1, step - 2, tall - 2, rx=3, fill=fill, words=words))
        marks.append(text(x + step / 2, y + tall / 2 + 4, shown, fill=ink, aria_hidden="true"))
    return plot.with_axes(marks, x_title=x_title, y_title=y_title)


def shares_over_time(shares: Rows, colours: Mapping[int, str], refits: Sequence[date] = ()) -> str:
    """How the customers were divided, month by month; months in which a new model began have a dashed line before them.

    shares : month, segment_id, name, share, customers.
    """
    latest = {row["segment_id"]: f"{row['segment_id']} {row['name']}" for row in shares}
    months = sorted({month_key(row["month"]) for row in shares})
    scale = Names(months)
    plot, wide = Plot(620, 240, scale, Shares(0.0, 1.0)), scale.band(620) * 0.9
    tops, bars = dict.fromkeys(months, 0.0), []
    for row in sorted(shares, key=lambda row: row["segment_id"]):
        month = month_key(row["month"])
        bottom, tops[month] = tops[month], tops[month] + row["share"]
        words = f"{month}, {row['name']}: {percent(row['share'], 1)}, {counted(row['customers'])}"
        upper, lower = plot.down(tops[month]), plot.down(bottom)
        left = plot.across(month) - wide / 2
        colour = colours[row["segment_id"]]
        bars.append(rect(left, upper, wide, lower - upper, fill=colour, stroke=PAPER, stroke_width=0.6, words=words))
    for refit in refits:
        if month_key(refit) in months[1:]:
            edge = plot.across(month_key(refit)) - wide / 1.8
            bars.append(
                element("path", d=f"M{edge:.1f},0V240", stroke="currentColor", stroke_width=1.5, stroke_dasharray="5 3")
            )
    entries = [("square", colours[segment_id], latest[segment_id]) for segment_id in sorted(latest)]
    return chart(grid([plot.with_axes(bars, y_title="share of customers"), legend(entries, 620)]))


def histograms(bins: Rows, titles: Mapping[str, str], kind: str = "") -> str:
    """How sure the memberships are. bins : measure, low, high (0..1), customers; titles : measure -> axis title; kind :
    "", WIDE or NARROW."""
    plots = []
    for measure, title in titles.items():
        rows = [row for row in bins if row["measure"] == measure]
        plot = Plot(260, 120, Numbers(0.0, 1.0), around([row["customers"] for row in rows]))
        plots.append(plot.with_axes(_histogram(plot, rows, digits=2), x_title=title, y_title="customers"))
    return chart(grid(plots, 1 if kind == NARROW else 2, gap=30), kind)


def drift_over_months(figures: Rows, kind: str = "") -> str:
    """Each drift metric over the months with its limit (dashed); a point is red where an alert fired,
    and not wherever the limit is crossed: what a champion was promoted for fires no more.

    figures : month, metric, value, threshold, fired; one row per month and metric. A metric without a value, because
    what it measured is not there any more, has no point. kind : "", WIDE or NARROW.
    """
    known = [
        row
        for row in figures
        if row["value"] is not None and math.isfinite(row["value"]) and math.isfinite(row["threshold"])
    ]
    months = Names(sorted({month_key(row["month"]) for row in known}), unnamed=True)
    plots = []
    for metric in sorted({row["metric"] for row in known}):
        rows = sorted((row for row in known if row["metric"] == metric), key=lambda row: row["month"])
        plot = Plot(
            110 if kind == NARROW else 180,
            90,
            months,
            around([row[one] for row in rows for one in ("value", "threshold")]),
        )
        values, limits = ([(month_key(row["month"]), row[one]) for row in rows] for one in ("value", "threshold"))
        marks = [plot.line(limits, QUIET, stroke_dasharray="4 3"), plot.line(values, ACCENT)]
        for row, (month, value) in zip(rows, values, strict=True):
            words = f"{month}, {metric}: {figure(value, 3)}, limit {figure(row['threshold'], 3)}"
            words += ", an alert fired" if row["fired"] else ""
            colour = WARN if row["fired"] else ACCENT
            marks.append(point(plot.across(month), plot.down(value), colour, radius=3.5, words=words))
        plots.append(plot.with_axes(marks, title=metric.replace("_", " ")))
    return chart(grid(plots, 2 if kind == NARROW else 3), kind)


CHOICES = {
    "precision": ("the warnings", "circle", ACCENT),
    "recency_precision": ("longest silent", "square", "#bb8800"),
    "churn_risk_precision": ("highest churn risk", "diamond", "#229977"),
    "base_rate": ("at random", "cross", QUIET),
}


def backtest(rows: Rows, kind: str = "") -> str:
    """How often warnings came true, with their 95 % interval, beside other ways to choose as many customers.

    rows : the pooled rows (month NULL) of the back-test that have alerts. kind : "", WIDE or NARROW.
    """
    warnings = sorted({row["warning"].replace("_", " ") for row in rows})
    shares = [row[column] for row in rows for column in (*CHOICES, "precision_high") if row[column] is not None]
    limits = around(shares)
    width = 170 if kind == NARROW else 480
    plot = Plot(width, 40 * len(warnings), Shares(limits.low, limits.high), Names(warnings))
    marks = []
    for row in rows:
        warning = row["warning"].replace("_", " ")
        interval = row["precision_low"], row["precision_high"]
        if None not in interval:
            marks.append(plot.line([(end, warning) for end in interval], ACCENT))
        for column, (chosen_by, shape, colour) in CHOICES.items():
            if row[column] is None:
                continue
            words = f"{warning}, {chosen_by}: {percent(row[column], 1)} of {row['alerts']:,} fell silent"
            if column == "precision" and row["precision_low"] is not None:
                words += f", interval {percent(row['precision_low'], 1)} to {percent(row['precision_high'], 1)}"
            marks.append(point(plot.across(row[column]), plot.down(warning), colour, shape=shape, words=words))
    drawn = plot.with_axes(marks, x_title="share who then fell silent")
    chosen = legend([(shape, colour, words) for words, shape, colour in CHOICES.values()], max(width, 300))
    return chart(grid([drawn, chosen]), kind)


def journey_flow(moves: Rows, names: Mapping[str, str], colours: Mapping[int, str], *, narrow: bool = False) -> str:
    """An SVG of last month's states (left) flowing into this month's (right), as thick as they have customers.

    moves : from_state, to_state, customers of one month. names : state -> what it is called. narrow : as wide as a
    phone, its names on the flows and not beside them.
    """
    width, height, bar, gap, label = (360.0, 420.0, 10.0, 14.0, 0.0) if narrow else (860.0, 420.0, 14.0, 10.0, 265.0)
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
        parts.append(f'<path d="{path}" fill="{fill}" fill-opacity="0.38" {spoken(words)}/>')
    lowest = height
    for totals, tops, x, text_x, anchor in (
        (left, starts, x0, x0 + bar + 6 if narrow else x0 - 8, before),
        (right, ends, x1, x1 - 6 if narrow else x1 + bar + 8, after),
    ):
        free = 0.0  # above it stands the name before, on which none may lie
        for state, count in totals.items():
            tall, words = max(1.0, count * scale), f"{_state(state, names)}: {counted(count)}"
            lines = _in_lines(_state(state, names), tall) if narrow else [shortened(_state(state, names), 34)]
            first = max(tops[state] + tall / 2 + 4 - LINE_OF_FLOW / 2 * (len(lines) - 1), free + LINE_OF_FLOW)
            free = first + LINE_OF_FLOW * (len(lines) - 1)
            lowest = max(lowest, free + 6)
            parts.append(
                f'<rect x="{x:.1f}" y="{tops[state]:.1f}" width="{bar:g}" height="{tall:.1f}" rx="2" '
                f'fill="{_state_colour(state, colours)}" {spoken(words)}/>'
            )
            parts += [
                f'<text x="{text_x:.1f}" y="{first + LINE_OF_FLOW * place:.1f}" text-anchor="{anchor}">'
                f"{escape(line)}</text>"
                for place, line in enumerate(lines)
            ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="marks {NARROW if narrow else WIDE}" '
        f'viewBox="0 0 {width:g} {lowest:g}" '
        f'width="{width:g}" height="{lowest:g}" font-family="{FONT}" font-size="12" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


LINE_OF_FLOW = 13.0


def _in_lines(name: str, tall: float, longest: int = 23) -> list[str]:
    """A name in one line or, where the bar is tall enough and it is longer than that, in two."""
    if len(name) <= longest or tall < 2 * LINE_OF_FLOW:
        return [shortened(name, longest)]
    cut = name.rfind(" ", 0, longest + 1)
    if cut < 0:
        return [shortened(name, longest)]
    return [name[:cut], shortened(name[cut + 1 :], longest)]


def states(moves: Rows, side: str) -> list[str]:
    """The states of a transition matrix on that side (from_state or to_state): segments by id, then the others."""
    return sorted({row[side] for row in moves}, key=lambda state: (not state.isdigit(), state.zfill(9)))


def on_paper(drawn: str) -> str:
    """A chart in dark ink on white, for where no page gives it its ink."""
    # in a text both quotes would be escaped, so that these are attributes of the drawing's own
    opened, close, rest = drawn.replace('="currentColor"', f'="{INK}"').partition(">")
    return f'{opened}{close}<rect width="100%" height="100%" fill="{PAPER}"/>{rest}'


def _shown(value: float | None, form: str) -> str:
    return "unknown" if value is None or not math.isfinite(value) else format(value, form)


def _numbered(state: str, names: Mapping[str, str]) -> str:
    """Two segments may have one name: with the id they stay two."""
    return f"{state} {names[state]}" if state in names else state


def _state(state: str, names: Mapping[str, str]) -> str:
    return names.get(state, state)


def _state_colour(state: str, colours: Mapping[int, str]) -> str:
    return colours.get(int(state), QUIET) if state.isdigit() else QUIET


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
