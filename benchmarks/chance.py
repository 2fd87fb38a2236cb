"""Movement beside chance: how many customers move, come back and are warned of, and how many would if customers did not
change, that is with each one's own gaps between orders and baskets in random order.

Every month of the demo and of CDNOW through the real pipeline, with memory and without; pooled over the months, of the
runs with memory those that a champion with memory measured. Observed and expected customers, the share that chance
makes of all, months above and below the interval of 80 %, seconds that the table takes in a month. Bar: on the demo not
fewer move than chance moves. `python chance.py` runs both shops, in some twenty minutes; `python chance.py CDNOW=FOLDER
"demo alone=FOLDER" ...` reads the warehouses of runs that there are.
"""

import sys
from pathlib import Path

import duckdb
from real_months import record, shops

from segment_pipeline.config.config import load_config

POOLED = """
    SELECT CASE WHEN with_memory THEN 'memory' ELSE 'none' END AS memory, coalesce(warning, measure) AS measure,
        count(*) AS months, sum(customers) AS customers, sum(observed_customers) / sum(customers) AS observed,
        sum(expected_by_chance * customers) / sum(customers) AS expected,
        count(*) FILTER (beside_chance = 'above') AS above, count(*) FILTER (beside_chance = 'below') AS below
    FROM movement_reference AS r JOIN (
        SELECT model_version, json_exists(parameters, '$.memory') AS with_memory FROM model_versions
    ) AS measured USING (model_version)
    WHERE measure <> 'transition' AND reason IS NULL GROUP BY ALL HAVING sum(observed_customers) > 0
    ORDER BY memory DESC, measure
"""
SECONDS = "SELECT avg(seconds), max(seconds) FROM pipeline_runs WHERE asset = 'movement_reference'"


def pooled(title: str, folder: Path) -> list[list[object]]:
    """The rows of one run."""
    memory = "memory" if load_config(folder / "segmentation.yaml").model.memory else "none"
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(POOLED).fetchall()
        mean, longest = connection.execute(SECONDS).fetchone() or (0.0, 0.0)
    print(f"{title}: {mean:.1f} s a month on average, {longest:.1f} at most")
    return [[title.removesuffix(" alone"), *row] for row in rows if row[0] == memory]


def main() -> None:
    rows = [row for title, ran in shops(sys.argv[1:], alone=True) for row in pooled(title, ran)]
    header = ("", "measured by", "measure", "months", "customers", "observed", "by chance", "above", "below")
    record("chance", "Movement beside chance, pooled over the months", header, rows)


if __name__ == "__main__":
    main()
