"""Movement beside chance: how many customers move, come back and are warned of, and how many would if customers did not
change, that is with each one's own gaps between orders and baskets in random order.

Every month of the demo and of CDNOW through the real pipeline, with memory and without; pooled over the months, those
apart that a champion without memory measures while the panel is too short for one. Observed and expected customers, the
share that chance makes of all, months above and below the interval of 80 %, seconds that the table takes in a month.
Bar: on the demo not fewer move than chance moves. `python chance.py` runs both shops, in some ten minutes;
`python chance.py FOLDER` reads the warehouse of a run that there is.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
from real_months import DEMO, print_table, write_cdnow

from segment_pipeline.cli.main import main as segment_pipeline

MEMORY = re.compile(r"#?memory: (true|false)")
"""The switch, as a configuration has it."""

POOLED = """
    SELECT CASE WHEN with_memory THEN 'memory' ELSE 'none' END AS memory, coalesce(warning, measure) AS measure,
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
    """All months of this configuration, in a folder of their own; returns it."""
    folder.mkdir()
    path = folder / "segmentation.yaml"
    path.write_text(MEMORY.sub(f"memory: {str(memory).lower()}", text))
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
    """What is said of a shop, and its configuration, which may lie anywhere."""
    yield "demo, March to December 2017", DEMO.read_text()
    cdnow = write_cdnow(folder).read_text().replace("orders.parquet", str(folder / "orders.parquet"))
    yield "CDNOW, July 1997 to March 1998", f"{cdnow}model:\n  memory: false\n"


def main(given: Sequence[str]) -> None:
    if given:
        pooled(given[0], Path(given[0]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (title, text) in enumerate(shops(folder)):
            for memory in (True, False):
                ran = run(folder / f"{number} {memory}", text, memory=memory)
                pooled(f"{title}, model.memory: {str(memory).lower()}", ran)


if __name__ == "__main__":
    main(sys.argv[1:])
