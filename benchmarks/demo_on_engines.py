"""The months of the demo with their customers in Spark, beside the same by DuckDB alone: every published table is
compared, and what each cost.

    python benchmarks/demo_on_engines.py FOLDER sail 2017-03..2017-06
    python benchmarks/demo_on_engines.py FOLDER sail 2017-07..2017-12

Each piece goes on where the last one in the folder ended. The engine is a server of its own
(segment_pipeline_tests/spark.py says what sail and java take); months run as `make run` runs them, in a process of its
own; processor seconds are of that process, and of the server. Against: DuckDB, the same months in the same piece.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.demo_run import CONFIG
from benchmarks.real_months import record
from segment_pipeline_tests.shop import apart, published_content
from segment_pipeline_tests.spark import put_demo_on, server

ALLOWED = 1e-9
NAMES = {"sail": "Sail", "java": "Apache Spark"}
HEADER = (
    *("engine", "months", "DuckDB alone, CPU s", "CPU s here", "CPU s of the server", "tables", "rows"),
    *("tables that differ", "largest difference"),
)


def run(folder: Path, months: str) -> float:
    """Those months; returns the processor seconds."""
    before = os.times()
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(folder / CONFIG.name)]
    subprocess.run([*command, "--quiet", "--months", months], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def piece(folder: Path, engine: str, months: str) -> list[str]:
    """These months by DuckDB and on the engine, and how far all that is published until then is apart."""
    alone, on_engine = folder / f"beside_{engine}", folder / engine
    alone.mkdir(parents=True, exist_ok=True)
    on_engine.mkdir(exist_ok=True)
    shutil.copyfile(CONFIG, alone / CONFIG.name)
    beside = run(alone, months)
    with server(engine, on_engine / "server") as running:
        put_demo_on(running, on_engine)
        begun, _ = running.used()
        here = run(on_engine, months)
        there = running.used()[0] - begun
    published = on_engine / "segments.duckdb"
    far = apart(alone / published.name, published)
    rows = sum(map(len, published_content(published).values()))
    differ = [f"{table} ({most:.0e})" for table, most in far.items() if not most <= ALLOWED]
    costs = [f"{seconds:.0f}" for seconds in (beside, here, there)]
    found = [str(len(far)), f"{rows:,}", ", ".join(differ) or "none", f"{max(far.values()):.0e}"]
    return [NAMES[engine], months.replace("..", " to "), *costs, *found]


def main() -> None:
    folder, engine, months = Path(sys.argv[1]), *sys.argv[2:4]
    kept = folder / "rows.json"
    rows = json.loads(kept.read_text()) if kept.exists() else []
    rows.append(piece(folder, engine, months))
    kept.write_text(json.dumps(rows))
    record("demo_on_engines", "The demo on other engines", HEADER, rows)


if __name__ == "__main__":
    main()
