"""The ten months of the demo with their customers in Spark, beside the same by DuckDB alone: every published table is
compared, and what each cost.

    python benchmarks/demo_on_engines.py sail java

Each engine is a server of its own (segment_pipeline_tests/spark.py says what it takes). The months run as `make run`
runs them, in a process of its own; processor seconds are of that process, and of the server. Against: DuckDB.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from benchmarks.demo_run import CONFIG
from segment_pipeline_tests.shop import apart, published_content
from segment_pipeline_tests.spark import put_demo_on, server

ALLOWED = 1e-9


def run(folder: Path) -> float:
    """All its months; returns the processor seconds."""
    before = os.times()
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(folder / CONFIG.name)]
    subprocess.run([*command, "--quiet"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    print("| engine | CPU s here | CPU s of the server | tables | rows | tables that differ | largest difference |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="demo_on_engines_") as room:
        alone = Path(room) / "duckdb"
        for engine in ("duckdb", *sys.argv[1:]):
            folder = Path(room) / engine
            folder.mkdir()
            with nullcontext() if engine == "duckdb" else server(engine, folder / "server") as running:
                if running is None:
                    shutil.copyfile(CONFIG, folder / CONFIG.name)
                else:
                    put_demo_on(running, folder)
                here, there = run(folder), 0.0 if running is None else running.used()[0]
            far = apart(alone / "segments.duckdb", folder / "segments.duckdb")
            rows = sum(map(len, published_content(folder / "segments.duckdb").values()))
            differ = [f"{table} ({most:.0e})" for table, most in far.items() if not most <= ALLOWED]
            found = [len(far), f"{rows:,}", ", ".join(differ) or "none", f"{max(far.values()):.0e}"]
            print(f"| {' | '.join(map(str, [engine, f'{here:.0f}', f'{there:.0f}', *found]))} |", flush=True)


if __name__ == "__main__":
    main()
