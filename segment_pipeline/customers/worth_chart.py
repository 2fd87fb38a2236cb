"""What each feature is worth, as bars beside one another.

Here: the picture. Not here: the figures (customers/worth.py).
"""

from collections.abc import Sequence

from segment_pipeline.charts import ACCENT
from segment_pipeline.customers.worth import FeatureWorth
from segment_pipeline.drawing import Names, Part, Plot, around, chart, grid, rect, shortened

MEASURES = {
    "separates": "separates segments",
    "persists": "lasts a window",
    "predicts": "adds to what comes",
    "known_from_others": "known from the others",
}
"""The figures that are drawn, and what each bar says; of the last, less is better."""

DECIMALS = {"predicts": 3}
"""Of figures that are small."""


def worth_bars(worth: Sequence[FeatureWorth]) -> str:
    """One row of bars a feature, in the order given; figures that are not known have none."""
    features = Names([shortened(one.feature, 34) for one in worth])
    plots: list[Part] = []
    for name, said in MEASURES.items():
        known = [(place, one.feature, getattr(one, name)) for place, one in enumerate(worth)]
        known = [bar for bar in known if bar[2] is not None]
        if not known:
            continue
        scale = around([value for _, _, value in known])
        plot = Plot(120, 20 * len(worth), scale, features if not plots else Names(features.names, unnamed=True))
        bars = []
        for place, feature, value in known:
            left, right = sorted((plot.across(0.0), plot.across(value)))
            words = f"{feature}, {said}: {value:.{DECIMALS.get(name, 2)}f}"
            bars.append(rect(left, 20 * place + 2, right - left, 16, fill=ACCENT, fill_opacity=0.75, words=words))
        plots.append(plot.with_axes(bars, title=said))
    return chart(grid(plots, len(MEASURES)))
