"""Movement beside chance: how many customers move, come back and are warned of, and how many would if customers did not
change, that is with each one's own gaps between orders and baskets in random order.

Every month of the demo and of CDNOW through the real pipeline, with memory and without; pooled over the months, those
apart that a champion without memory measures while the panel is too short for one. Observed and expected customers, the
share that chance makes of all, months above and below the interval of 80 %, seconds that the table takes in a month.
Bar: on the demo not fewer move than chance moves. `python chance.py` runs both shops, in some ten minutes;
`python chance.py FOLDER` reads the warehouse of a run that there is.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
from real_months import DEMO, print_table, write_cdnow

from segment_pipeline.cli.main import main as segment_pipeline

POOLED = """
    SELECT CASE WHEN measured.with_memory THEN 'memory' ELSE 'none' END AS memory, coalesce(warning, measure) AS measure,
        count(*) AS months, sum(customers) AS customers, sum(observed_customers) / sum(customers) AS observed,
        sum(expected_by_chance * customers) / sum(customers) AS expected,
        count(*) FILTER (beside_chance = 'above') AS above, count(*) FILTER (beside_chance = 'below') AS below
    FROM movement_reference AS r JOIN (
        SELECT model_version, json_exists(parameters, '$.memory') AS with_memory FROM model_versions
    ) AS measured USING (model_version)
    WHERE measure <> 'transition' AND reason IS NULL GROUP BY ALL ORDER BY memory DESC, measure
"""
SECONDS = "SELECT avg(seconds), max(seconds) FROM pipeline_runs WHERE asset = 'movement_reference'"


def run(folder: Path, text: str, *, memory: bool) -> Path:
    """All months of this configuration; returns the folder."""
    folder.mkdir(exist_ok=True)
    lines = [line for line in text.splitlines() if not line.lstrip(" #").startswith("memory: ")]
    model = next(i for i, line in enumerate(lines) if line.startswith("model:"))
    lines.insert(model + 1, f"  memory: {str(memory).lower()}")
    path = folder / "segmentation.yaml"
    path.write_text("\n".join(lines) + "\n")
    if segment_pipeline(["run", "--config", str(path), "--quiet"]) != 0:
        raise SystemExit(f"{path}: the run failed.")
    return folder


def pooled(title: str, folder: Path) -> None:
    """The table of one run."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(POOLED).fetchall()
        mean, longest = connection.execute(SECONDS).fetchone() or (0.0, 0.0)
    header = ("measured", "measure", "months", "customers", "observed", "by chance", "above", "below")
    print_table(title, header, rows)
    print(f"{mean:.1f} s a month on average, {longest:.1f} at most")


def shops(folder: Path) -> Iterator[tuple[str, str]]:
    yield "demo, March to December 2017", DEMO.read_text()
    yield "CDNOW, July 1997 to March 1998", write_cdnow(folder).read_text() + "model: \n"


def main(given: Sequence[str]) -> None:
    if given:
        pooled(given[0], Path(given[0]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (title, text) in enumerate(shops(folder)):
            for memory in (True, False):
                place = folder / f"{number}{memory}"
                pooled(f"{title}, model.memory: {memory}", run(place, text.replace("path: orders.parquet", f"path: {folder}/orders.parquet"), memory=memory))


if __name__ == "__main__":
    main(sys.argv[1:])
