"""The pictures of README.md and docs/: the demo's last month as SVG files, drawn with the report's own charts.

`make pictures` runs it: `python -m tools.doc_pictures PUBLISHED.duckdb DIR`. Dark ink on white, for
GitHub shows a picture on light and dark pages and gives it no ink of its own.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from segment_pipeline import charts
from segment_pipeline.config.order_features import better_of
from segment_pipeline.report.queries import read_story
from segment_pipeline.report.report import elbow_among, segment_names


def main(arguments: Sequence[str]) -> int:
    """Write every picture; returns the exit code."""
    if len(arguments) != 2:
        print("usage: python -m tools.doc_pictures PUBLISHED.duckdb DIR", file=sys.stderr)
        return 2
    published, folder = map(Path, arguments)
    if not published.exists():
        print(f"{published} does not exist: the pictures are those of the demo. Run first: make run", file=sys.stderr)
        return 1
    for name, text in pictures(published).items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {len(text.encode()):,} bytes")
    return 0


def pictures(published: Path) -> dict[str, str]:
    """File name -> SVG text, of the latest month in `published`."""
    with duckdb.connect(str(published), read_only=True) as connection:
        latest = connection.execute("SELECT month FROM segment_profiles ORDER BY month DESC").fetchall()[0][0]
        story = read_story(connection, latest)
    history, candidates, champion = story["history"], story["candidates"], story["champion"]
    colours = charts.segment_colours((row["month"], row["segment_id"]) for row in history)
    refits = [version["trained_month"] for version in story["versions"]]
    names = {row["segment_id"]: row["name"] for row in story["segments"]}
    features = [
        row | {"name": names[row["segment_id"]], "better": better_of(row["feature"])} for row in story["features"]
    ]
    drawn = {
        "segment-shares": charts.shares_over_time(history, colours, refits),
        "segment-profiles": charts.profile_heat_map(features),
        "number-of-segments": charts.bic_curve(
            candidates, (champion["covariance_type"], champion["n_components"]), elbow_among(candidates)
        ),
        "journeys": charts.journey_flow(story["moves"], segment_names(history), colours),
        "warnings-judged": charts.backtest([row for row in story["backtest"] if row["alerts"]]),
    }
    return {f"{name}.svg": charts.on_paper(chart) for name, chart in drawn.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
