"""A file of many numbers a customer: reading them as numbers in one query, beside the same with the texts that stand
for no value as a list for NOT IN, which DuckDB joins with; and the whole first look at 266 columns.

1,500 customers, amounts with two decimals. CPU seconds, one thread.
"""

import csv
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.quickstart.columns import MISSING, bare_sql, known_sql, number_sql
from segment_pipeline.quickstart.plan import explore
from segment_pipeline.quickstart.request import Request

CUSTOMERS, MOST, COMPARED = 1500, 266, (20, 40, 80)


def known_by_list(name: str) -> str:
    """As `known_sql`, with NOT IN."""
    missing = ", ".join(map(literal, MISSING))
    return f"CASE WHEN lower({bare_sql(name)}) NOT IN ({missing}) THEN {bare_sql(name)} END"


def main() -> None:
    random = np.random.default_rng(0)
    columns = {f"spend_{i}": np.round(np.exp(random.normal(3, 1, CUSTOMERS)), 2) for i in range(MOST)}
    with tempfile.TemporaryDirectory() as name, duckdb.connect(config={"threads": 1}) as connection:
        path = Path(name) / "wide.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["customer_id", *columns])
            rows.writerows([f"c{i}", *row] for i, row in enumerate(zip(*columns.values(), strict=True)))
        connection.execute(
            f"CREATE TABLE raw_rows AS FROM read_csv({literal(str(path))}, all_varchar = true, header = true)"
        )
        print(f"{'columns':>7} {'NOT IN (s)':>10} {'now (s)':>8} {'ratio':>6}")
        for many in COMPARED:
            taken = []
            for known in (known_by_list, known_sql):
                numbers = (f"{number_sql(known(one), '.')} AS {identifier(one)}" for one in list(columns)[:many])
                began = time.process_time()
                connection.execute(f"SELECT {', '.join(numbers)} FROM raw_rows").fetchnumpy()
                taken.append(time.process_time() - began)
            print(f"{many:>7} {taken[0]:>10.2f} {taken[1]:>8.2f} {taken[0] / taken[1]:>6.0f}", flush=True)
        began = time.process_time()
        with duckdb.connect(config={"threads": 1}) as fresh:
            plan = explore(fresh, Request(path, Path(name) / "out"))
        chosen = ", ".join(one.name for one in plan.proposal.features)
        print(f"first look at {MOST} columns: {time.process_time() - began:.1f} s; chosen: {chosen}")


if __name__ == "__main__":
    main()
