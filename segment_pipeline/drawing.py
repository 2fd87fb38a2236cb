"""What charts are made of, as SVG text: scales, a plot with its axes, marks, legends, and parts put together.

A small kit of its own: a chart by Vega costs a tenth of a CPU second, and a month has twelve. Everything is drawn in
`currentColor`, so that a page gives it its ink. Marks carry their figures in words as `aria-label`, which a page shows
on hover; axes are hidden from readers aloud, for the page says the same in words.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
FONT_SIZE, LINE = 11, 16
LETTER = 6.4
"""How wide a letter is on average, in the widest of the usual fonts: labels have room in all of them."""
"""Pixels: of the text, of one letter (a little more than most need), and from line to line."""
QUIET = "#8a94a3"


@dataclass(frozen=True)
class Part:
    """A piece of a chart, drawn from its own corner."""

    width: float
    height: float
    svg: str


@dataclass(frozen=True)
class Numbers:
    """A scale from low..high to pixels. bent : what is drawn to scale instead of the numbers, as a logarithm."""

    low: float
    high: float
    bent: Callable[[float], float] = float
    ticks: Sequence[float] | None = None

    def at(self, value: float, pixels: float) -> float:
        low, high = self.bent(self.low), self.bent(self.high)
        return (self.bent(value) - low) / ((high - low) or 1.0) * pixels

    def marks(self, pixels: float) -> list[tuple[float, str]]:
        """Where an axis of that length has its ticks, and what it writes there."""
        values = self.ticks if self.ticks is not None else round_numbers(self.low, self.high, pixels / 40)
        return [
            (self.at(value, pixels), f"{value:,.10g}".replace("-", "\N{MINUS SIGN}"))
            for value in values
            if self.low <= value <= self.high
        ]


@dataclass(frozen=True)
class Shares(Numbers):
    """Numbers that an axis writes as percent."""

    def marks(self, pixels: float) -> list[tuple[float, str]]:
        values = round_numbers(100 * self.low, 100 * self.high, pixels / 40)
        return [(self.at(value / 100, pixels), f"{value:.10g} %") for value in values]


@dataclass(frozen=True)
class Names:
    """A scale of names side by side, each in the middle of a band of its own."""

    names: Sequence[str]
    unnamed: bool = False

    def band(self, pixels: float) -> float:
        return pixels / max(1, len(self.names))

    def at(self, name: str, pixels: float) -> float:
        return (self.names.index(name) + 0.5) * self.band(pixels)

    def marks(self, pixels: float) -> list[tuple[float, str]]:
        """The name of each band or, where they are narrower than a line, of every second, third, ..."""
        if self.unnamed or not self.names:
            return []
        band = self.band(pixels)
        places = range(0, len(self.names), math.ceil(LINE / band))
        return [((place + 0.5) * band, self.names[place]) for place in places]


Scale = Numbers | Names


def around(values: Iterable[float], *, zero: bool = True, margin: float = 0.0) -> Numbers:
    """The numbers from the least to the largest value, to round ones beyond; margin : a share of them at both ends."""
    known = [*values, *([0.0] if zero else [])]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low == high:
        low, high = (low, low + 1.0) if zero else (low - 0.5, high + 0.5)
    low, high = low - margin * (high - low), high + margin * (high - low)
    step = _step(low, high, 5)
    return Numbers(math.floor(low / step) * step, math.ceil(high / step) * step)


def round_numbers(low: float, high: float, about: float) -> list[float]:
    """About so many multiples of 1, 2 or 5 times a power of ten, from low to high."""
    step = _step(low, high, about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{place * step:.10g}") for place in range(first, last + 1)]


def _step(low: float, high: float, about: float) -> float:
    rough = ((high - low) or 1.0) / max(1.0, about)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)


@dataclass(frozen=True)
class Plot:
    """A rectangle between two axes: x from left to right, y from the bottom up; names of y from the top down."""

    width: float
    height: float
    x: Scale
    y: Scale

    def across(self, value: float | str) -> float:
        return self.x.at(value, self.width)  # type: ignore[arg-type]  # a name where the scale has names

    def down(self, value: float | str) -> float:
        if isinstance(self.y, Names):
            return self.y.at(str(value), self.height)
        return self.height - self.y.at(float(value), self.height)

    def bar(self, low: float, high: float, bottom: float, top: float, **attributes: object) -> str:
        """A rectangle between values of x and of y, in pixels of the plot."""
        left, right, upper, lower = self.across(low), self.across(high), self.down(top), self.down(bottom)
        return rect(left, upper, right - left, lower - upper, **attributes)

    def line(self, points: Iterable[tuple[float | str, float | str]], stroke: str, **attributes: object) -> str:
        """Through the points, in their order."""
        path = "L".join(f"{self.across(x):.1f},{self.down(y):.1f}" for x, y in points)
        return element("path", d=f"M{path}", fill="none", stroke=stroke, stroke_width=2, **attributes) if path else ""

    def with_axes(
        self, marks: Iterable[str], *, x_title: str = "", y_title: str = "", title: str = "", right: float = 16
    ) -> Part:
        """The plot with what is drawn in it, axes at its left and below it, and room for their texts."""
        across, down = self.x.marks(self.width), self.y.marks(self.height)
        slanted = sum(len(name) + 2 for _, name in across) * LETTER > self.width
        left = max((len(name) for _, name in down), default=0) * LETTER + 10 + (LINE if y_title else 0)
        top = LINE + 4 if title else 6
        below = (_slant(across) if slanted else LINE + 4 if across else 4) + (LINE if x_title else 0)
        axes = []
        for place, name in across:
            if isinstance(self.x, Numbers):
                axes.append(_grid(place, 0, place, self.height))
            turned = {"transform": f"rotate(-45 {place:.1f} {self.height + 12:.1f})"} if slanted else {}
            axes.append(text(place, self.height + 14, name, "end" if slanted else "middle", **turned))
        for place, name in down:
            y = place if isinstance(self.y, Names) else self.height - place
            if isinstance(self.y, Numbers):
                axes.append(_grid(0, y, self.width, y))
            axes.append(text(-6, y + 4, name, "end"))
        if x_title:
            axes.append(text(self.width / 2, self.height + below - 4, x_title))
        if y_title:
            x, y = 12 - left, self.height / 2
            axes.append(text(x, y, y_title, transform=f"rotate(-90 {x:.1f} {y:.1f})"))
        if title:
            axes.append(text((self.width + right - left) / 2, -6, title, font_weight="bold"))
        drawn = f'<g aria-hidden="true">{"".join(axes)}</g>{"".join(marks)}'
        return Part(left + self.width + right, top + self.height + below, moved(drawn, left, top))


def element(tag: str, **attributes: object) -> str:
    """An element with these attributes; `words` is what it shows, as it is said on hover and read aloud."""
    words = attributes.pop("words", None)
    return f"<{tag}{_written(attributes)}{f' {spoken(str(words))}' if words is not None else ''}/>"


def spoken(words: str) -> str:
    return f'role="graphics-symbol" aria-label="{escape(words, quote=True)}"'


def rect(x: float, y: float, width: float, height: float, **attributes: object) -> str:
    return element("rect", x=x, y=y, width=width, height=max(0.0, height), **attributes)


def text(x: float, y: float, words: str, anchor: str = "middle", **attributes: object) -> str:
    return f"<text{_written({'x': x, 'y': y, 'text-anchor': anchor} | attributes)}>{escape(words)}</text>"


SHAPES = {
    "circle": "M{r},0A{r},{r} 0 1 1 -{r},0A{r},{r} 0 1 1 {r},0Z",
    "square": "M-{r},-{r}H{r}V{r}H-{r}Z",
    "diamond": "M0,-{r}L{r},0L0,{r}L-{r},0Z",
    "cross": "M-{r},-{r}L{r},{r}M-{r},{r}L{r},-{r}",
    "triangle-up": "M0,-{r}L{r},{r}H-{r}Z",
    "triangle-down": "M0,{r}L{r},-{r}H-{r}Z",
    "triangle-left": "M-{r},0L{r},-{r}V{r}Z",
    "triangle-right": "M{r},0L-{r},-{r}V{r}Z",
}


def point(x: float, y: float, colour: str, *, shape: str = "circle", radius: float = 4.5, **attributes: object) -> str:
    given = {"fill": colour, "stroke": colour, "stroke_width": 2 if shape == "cross" else 1} | attributes
    path = SHAPES[shape].replace("{r}", f"{radius:g}")
    return element("path", d=path, transform=f"translate({x:.1f} {y:.1f})", **given)


def legend(entries: Iterable[tuple[str, str, str]], width: float) -> Part:
    """(shape, colour, words) side by side, in as many lines as they need."""
    x, y, drawn = 0.0, 12.0, []
    for shape, colour, words in entries:
        takes = 30 + len(words) * LETTER
        if x and x + takes > width:
            x, y = 0.0, y + LINE
        drawn.append(point(x + 6, y - 4, colour, shape=shape) + text(x + 16, y, words, "start"))
        x += takes
    return Part(width, y + 6 if drawn else 0, f'<g aria-hidden="true">{"".join(drawn)}</g>' if drawn else "")


def moved(svg: str, x: float, y: float) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">{svg}</g>'


def grid(parts: Sequence[Part], columns: int = 1, gap: float = 12) -> Part:
    """From left to right and then down. Right and lower edges are in line, as those of plots are whatever labels they
    have."""
    rows = [parts[at : at + columns] for at in range(0, len(parts), columns)]
    widths = [max(part.width for part in parts[at::columns]) for at in range(min(columns, len(parts)))]
    drawn, bottom = [], -gap
    for row in rows:
        right, bottom = -gap, bottom + gap + max(part.height for part in row)
        for part, width in zip(row, widths, strict=False):
            right += gap + width
            drawn.append(moved(part.svg, right - part.width, bottom - part.height))
    return Part(max(0.0, sum(widths) + gap * (len(widths) - 1)), max(0.0, bottom), "".join(drawn))


def chart(part: Part, kind: str = "") -> str:
    """The whole as SVG text, transparent, in the page's ink. kind : a class for the page's style."""
    width, height = math.ceil(part.width), math.ceil(part.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{f"marks {kind}".strip()}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="{FONT}" font-size="{FONT_SIZE}" fill="currentColor">'
        f"{part.svg}</svg>"
    )


def shortened(words: str, longest: int) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return element("path", d=f"M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}", stroke="currentColor", stroke_opacity=0.12)


def _slant(names: Iterable[tuple[float, str]]) -> float:
    """How far down names reach that are written at an angle."""
    return max((len(name) for _, name in names), default=0) * LETTER * 0.71 + 16


def _written(attributes: Mapping[str, object]) -> str:
    texts = {
        name: f"{round(value, 2):g}" if isinstance(value, float) else str(value) for name, value in attributes.items()
    }
    return "".join(f' {name.replace("_", "-")}="{escape(value)}"' for name, value in texts.items())
