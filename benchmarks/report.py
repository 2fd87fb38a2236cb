"""What drawing adds to a month: the report and the pictures in the UI, imports not counted.

    python benchmarks/report.py FOLDER [MONTH]     # a folder with warehouse.duckdb and segments.duckdb, such as data/

Named alternative: the same months of drift by Altair, to the specification that a browser or a renderer would then have
to draw. CPU seconds stand beside the elapsed ones, for a machine that has other things to do.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import duckdb
import jinja2  # noqa: F401 - imports are not counted

from segment_pipeline import charts
from segment_pipeline.config.order_features import better_of
from segment_pipeline.customers.charts_store import feature_bins
from segment_pipeline.months import month_key, parse_month
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.report import queries
from segment_pipeline.report.report import elbow_among, render, segment_names

LIMIT_SECONDS, LIMIT_BYTES, LIMIT_OF_PICTURE, REPEATS = 0.5, 500_000, 100_000, 5


def main(folder: Path, month_text: str | None) -> None:
    with duckdb.connect(str(folder / "segments.duckdb"), read_only=True) as connection:
        (latest,) = connection.execute("SELECT max(month) FROM segment_profiles").fetchone() or (None,)
        month = parse_month(month_text) if month_text else latest
        first, (page, _) = timed(lambda: render(connection, "benchmark", month))
        again = median(lambda: render(connection, "benchmark", month))
        story = queries.read_story(connection, month)
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        bins, limits = feature_bins(connection, month, story["model_features"])
    drawing = median(lambda: pictures(story, bins, limits))
    sizes = [len(text) for text in pictures(story, bins, limits).values()]
    drift = median(lambda: charts.drift_over_months(story["drift"]))
    by_altair = median(lambda: of_altair(story["drift"]))

    size = len(page.encode())
    print(f"{month_key(month)}: report {size:,} bytes; first {first}, then {again}")
    print(f"{len(sizes)} pictures for the UI: {drawing}, largest {max(sizes):,} bytes")
    print(f"drift: {drift}; the specification alone by Altair: {by_altair}")
    print(f"a month: {again + drawing}; at most {LIMIT_SECONDS} s of CPU")
    assert size <= LIMIT_BYTES
    assert max(sizes) < LIMIT_OF_PICTURE
    assert (again + drawing).cpu <= LIMIT_SECONDS


def of_altair(drift: list[queries.Row]) -> dict[str, Any]:
    rows = [row | {"month": month_key(row["month"])} for row in drift]
    line = alt.Chart(width=180, height=90).mark_line(point=True).encode(x="month:O", y="value:Q")
    limit = alt.Chart().mark_line(strokeDash=[4, 3]).encode(x="month:O", y="threshold:Q")
    return dict(alt.layer(line, limit, data=alt.Data(values=rows)).facet("metric:N", columns=3).to_dict())


def pictures(story: queries.Story, bins: list[queries.Row], limits: list[queries.Row]) -> dict[str, str]:
    """What the assets draw in a month, as it stands in their metadata."""
    colours = charts.segment_colours((row["month"], row["segment_id"]) for row in story["history"])
    names = segment_names(story["history"])
    features = [
        row | {"name": names[str(row["segment_id"])], "better": better_of(row["feature"])} for row in story["features"]
    ]
    drawn = {
        "bic": charts.bic_curve(story["challengers"], None, elbow_among(story["challengers"])),
        "features": charts.feature_distributions(bins, limits),
        "certainty": charts.histograms(story["certainty"], {"max_probability": "largest", "entropy": "entropy"}),
        "shares": charts.shares_over_time(story["history"], colours),
        "heat map": charts.profile_heat_map(features),
        "matrix": charts.transition_matrix(story["moves"], names),
        "drift": charts.drift_over_months(story["drift"]),
    }
    return {name: picture(chart, name).value for name, chart in drawn.items()}


@dataclass(frozen=True, order=True)
class Time:
    """Elapsed and CPU seconds of a piece of work, all threads."""

    elapsed: float
    cpu: float

    def __add__(self, other: "Time") -> "Time":
        return Time(self.elapsed + other.elapsed, self.cpu + other.cpu)

    def __str__(self) -> str:
        return f"{self.elapsed:.2f} s ({self.cpu:.2f} s of CPU)"


def timed(work: Callable[[], Any]) -> tuple[Time, Any]:
    elapsed, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Time(time.perf_counter() - elapsed, time.process_time() - cpu), result


def median(work: Callable[[], Any]) -> Time:
    return sorted(timed(work)[0] for _ in range(REPEATS))[REPEATS // 2]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
