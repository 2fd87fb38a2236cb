"""The picture of a month's unusual customers: two features, everybody in grey, each group in a colour and a shape."""

import math

import numpy as np

from segment_pipeline.audit.outliers import OutlierPoints
from segment_pipeline.drawing import QUIET, SHAPES, Numbers, Plot, around, chart, element, grid, legend, point

# Middle tones: each keeps a contrast of 3 or more on white as well as on near-black.
COLOURS = ("#d9621e", "#2f86d1", "#1f9668", "#c2489c", "#8467d7", "#a87f0a", "#0e93a3", "#d13f4f")


def outlier_chart(points: OutlierPoints) -> str:
    """The chart as SVG text."""
    everybody = np.concatenate([points.ordinary, *(values for _, values in points.groups)])
    scales = (_scale(everybody[:, i].tolist(), logarithmic) for i, logarithmic in enumerate(points.logarithmic))
    plot = Plot(560, 340, *scales)
    crowd = "".join(f"M{plot.across(x):.0f},{plot.down(y):.0f}h0" for x, y in points.ordinary.tolist())
    marks = [element("path", d=crowd, stroke=QUIET, stroke_width=3.5, stroke_linecap="round", stroke_opacity=0.35)]
    entries = []
    for place, (name, values) in enumerate(points.groups):
        # more groups than colours: the last ones share, and are told apart by number
        colour, shape = COLOURS[place % len(COLOURS)], list(SHAPES)[place % len(SHAPES)]
        entries.append((shape, colour, name))
        marks += [
            point(plot.across(x), plot.down(y), colour, shape=shape, radius=3.0, opacity=0.85)
            for x, y in values.tolist()
        ]
    x_title, y_title = points.axes
    title = f"{points.title} (grey: a sample of all customers)"
    drawn = plot.with_axes(marks, x_title=x_title, y_title=y_title, title=title)
    return chart(grid([drawn, legend(entries, 560)]))


def _scale(values: list[float], logarithmic: bool) -> Numbers:
    if not logarithmic:
        return around(values, zero=False)
    return Numbers(min(values), max(values), _symmetric_logarithm, _logarithmic_ticks(max(values)))


def _symmetric_logarithm(value: float) -> float:
    """It has 0 and what is below, too."""
    return math.copysign(math.log1p(abs(value)), value)


def _logarithmic_ticks(largest: float) -> list[float]:
    """0, 1, 3, 10, 30, ... up to the largest value."""
    return [0, *(step * 10**power for power in range(13) for step in (1, 3) if step * 10**power <= largest)]
