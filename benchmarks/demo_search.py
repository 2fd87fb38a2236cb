"""Processor time of the search in the ten months of the demo, with memory, and of the whole run.

Against: the same of another version, whose checkout is named: `python demo_search.py FOLDER`. Both are run by this
Python, one after the other. Ten minutes on two cores.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from real_months import print_table

HERE = Path(__file__).parent.parent

RUN = """
import importlib, sys, time
try:
    challengers = importlib.import_module("segment_pipeline.models.challengers")
    main = importlib.import_module("segment_pipeline.cli.main").main
except ModuleNotFoundError:  # as version 0.1 had it
    challengers = importlib.import_module("segment_pipeline.segmentation.challengers")
    main = importlib.import_module("segment_pipeline.cli").main
fit, spent = challengers.fit_challengers, []

def timed(*arguments, **options):
    before = time.process_time()
    found = fit(*arguments, **options)
    spent.append(time.process_time() - before)
    return found

challengers.fit_challengers = timed
main(["run", "--config", sys.argv[1], "--quiet"])
print("seconds", sum(spent), max(spent), time.process_time())
"""


def measured(version: Path) -> list[float]:
    """Seconds of processor time: in the search, in its longest month, and of the process."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "segmentation.yaml"
        shutil.copyfile(version / "data" / config.name, config)
        command = [sys.executable, "-c", RUN, str(config)]
        run = subprocess.run(command, check=True, env={"PYTHONPATH": str(version)}, capture_output=True, text=True)
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("seconds ")]
    return [float(part) for part in line.split()[1:]]


def main() -> None:
    versions = [HERE, *map(Path, sys.argv[1:])]
    rows = [[str(version), *measured(version)] for version in versions]
    print_table("the demo's ten months, s of processor", ("version", "search", "its longest month", "all"), rows)
    for version, seconds, *_ in rows[1:]:
        print(f"search: {rows[0][1] / seconds:.2f} times that of {version} (bar: 1)")


if __name__ == "__main__":
    main()
