"""What each feature is worth, as bars beside one another.

Here: the picture. Not here: the figures (customers/worth.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segment_pipeline.charts import ACCENT
from segment_pipeline.customers.worth import FeatureWorth

if TYPE_CHECKING:
    import altair as alt

MEASURES = {
    "separates": "separates segments",
    "persists": "lasts a window",
    "predicts": "adds to what comes",
    "known_from_others": "known from the others",
}
"""The figures that are drawn, and what each bar says; of the last, less is better."""


def worth_bars(worth: Sequence[FeatureWorth]) -> "alt.Chart":
    """One row of bars a feature, in the order given; figures that are not known have none."""
    import altair as alt

    rows = [
        {"feature": one.feature, "measure": said, "value": value, "words": f"{one.feature}, {said}: {value:.2f}"}
        for one in worth
        for name, said in MEASURES.items()
        if (value := getattr(one, name)) is not None
    ]
    there = [said for said in MEASURES.values() if any(row["measure"] == said for row in rows)]
    return (
        alt.Chart(alt.Data(values=rows), width=110, height=alt.Step(20))
        .mark_bar(color=ACCENT, opacity=0.75)
        .encode(
            x=alt.X("value:Q", title=None),
            y=alt.Y("feature:N", title=None, sort=[one.feature for one in worth], axis=alt.Axis(labelLimit=200)),
            column=alt.Column("measure:N", title=None, sort=there),
            description="words:N",
        )
        .resolve_scale(x="independent")
    )
