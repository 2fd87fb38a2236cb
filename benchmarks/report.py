"""What drawing adds to a month: the report and the pictures in the UI, imports not counted.

    python benchmarks/report.py FOLDER [MONTH]     # a folder with warehouse.duckdb and segments.duckdb, such as data/

Named alternative: the same charts as interactive pages with Vega in them, as `vegalite_to_html(bundle=True)` writes
them: they take no time here, 0.9 MB each, and have to be drawn whenever they are opened. CPU seconds stand beside the
elapsed ones, for a machine that has other things to do.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair  # noqa: F401 - imports are not counted
import duckdb
import jinja2  # noqa: F401
import vl_convert

from segment_pipeline import charts
from segment_pipeline.config.order_features import better_of
from segment_pipeline.customers.charts_store import feature_bins
from segment_pipeline.months import month_key, parse_month
from segment_pipeline.report import queries
from segment_pipeline.report.report import elbow_among, render, segment_names

LIMIT_SECONDS, LIMIT_OF_REPORT, LIMIT_BYTES, REPEATS = 3.0, 1.5, 500_000, 5


def main(folder: Path, month_text: str | None) -> None:
    with duckdb.connect(str(folder / "segments.duckdb"), read_only=True) as connection:
        (latest,) = connection.execute("SELECT max(month) FROM segment_profiles").fetchone() or (None,)
        month = parse_month(month_text) if month_text else latest
        first, (page, _) = timed(lambda: render(connection, "benchmark", month))
        again = median(lambda: render(connection, "benchmark", month))
        story = queries.read_story(connection, month)
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        bins, limits = feature_bins(connection, month, story["model_features"])
    drawn = pictures(story, bins, limits)
    png_time = median(lambda: [charts.png(chart) for chart in drawn.values()])
    sizes = [len(charts.png(chart)) for chart in drawn.values()]
    vega = [chart for chart in drawn.values() if not isinstance(chart, str)]
    svg_time = median(lambda: [charts.svg(chart) for chart in vega])
    bundle_time, bundle = timed(vl_convert.javascript_bundle)
    pages = [chart.to_dict() for chart in vega]
    html_time = median(lambda: [vl_convert.vegalite_to_html(page, bundle=True) for page in pages])
    html_bytes = [len(vl_convert.vegalite_to_html(page, bundle=True)) for page in pages]

    size, ratio = len(page.encode()), len(bundle) / len(page.encode())
    print(f"{month_key(month)}: report {size:,} bytes; first {first} (starts V8), then {again}")
    print(f"{len(drawn)} pictures for the UI: {png_time}, largest {max(sizes):,} bytes")
    print(f"{len(vega)} charts as SVG: {svg_time}; as pages with Vega: {html_time}, {sum(html_bytes):,} bytes")
    print(f"Vega's offline bundle: {len(bundle):,} bytes, {ratio:.1f} times the report; made in {bundle_time}")
    print(f"first month of a run: {first + png_time}; each later one: {again + png_time}; at most {LIMIT_SECONDS} s")
    assert size <= LIMIT_BYTES
    assert first.cpu <= LIMIT_OF_REPORT
    assert max(sizes) < charts.MAX_PNG_BYTES
    assert (first + png_time).cpu <= LIMIT_SECONDS


def pictures(story: queries.Story, bins: list[queries.Row], limits: list[queries.Row]) -> dict[str, Any]:
    """What the assets draw in a month."""
    colours = charts.segment_colours((row["month"], row["segment_id"]) for row in story["history"])
    names = segment_names(story["history"])
    features = [
        row | {"name": names[str(row["segment_id"])], "better": better_of(row["feature"])} for row in story["features"]
    ]
    return {
        "bic": charts.bic_curve(story["challengers"], None, elbow_among(story["challengers"])),
        "features": charts.feature_distributions(bins, limits),
        "certainty": charts.histograms(story["certainty"], {"max_probability": "largest", "entropy": "entropy"}),
        "shares": charts.shares_over_time(story["history"], colours),
        "heat map": charts.profile_heat_map(features),
        "matrix": charts.transition_matrix(story["moves"], names),
        "drift": charts.drift_over_months(story["drift"]),
    }


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
