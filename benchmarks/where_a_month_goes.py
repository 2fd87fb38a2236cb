"""Where a month's CPU seconds go, by kind of work: the demo's first months, as `segment-pipeline run` does them.

    PYTHONPATH=CHECKOUT python benchmarks/where_a_month_goes.py     # of another version, the named alternative
    python benchmarks/where_a_month_goes.py 2017-03..2017-12        # these months in one run, by step

In one run a helper takes part (helper.py). What it spends is told when it has ended, and so stands apart; the first
thread's seconds are what the run takes on a quiet machine, where that waits for nobody.

A clock of the process's own CPU time, its threads and what it starts along with it, asks every two milliseconds what
the innermost part of the program is that has a kind. Seconds that pass on the wall tell little on a machine that has
other things to do; CPU seconds there are up to a third more than on a quiet one.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from segment_pipeline.cli.main import main as segment_pipeline

CONFIG = Path(__file__).parents[1] / "data" / "segmentation.yaml"
MONTHS = {"2017-03": "first", "2017-04": "no refit", "2017-05": "refit"}
"""Month -> what it is; the first imports, and starts what a process starts once."""
EVERY_SECONDS = 0.002
IMPORTS, REST = "imports", "everything else"
KINDS = {
    "/segment_pipeline/charts.py": "pictures",
    "_chart.py": "pictures",
    "/segment_pipeline/report/": "report",
    "/segment_pipeline/sources/": "sources",
    "/segment_pipeline/customers/expectations.py": "great-expectations",
    "/segment_pipeline/customers/": "features",
    "/segment_pipeline/models/": "search",
    "/segment_pipeline/segments/": "scoring and segments",
    "/segment_pipeline/movement/": "movement",
    "/segment_pipeline/validation/": "validation",
    "/segment_pipeline/early_warnings/": "warnings and value",
    "/segment_pipeline/value/": "warnings and value",
    "/segment_pipeline/campaigns/": "campaigns, audit, alternatives",
    "/segment_pipeline/audit/": "campaigns, audit, alternatives",
    "/segment_pipeline/alternatives/": "campaigns, audit, alternatives",
    "/segment_pipeline/publishing/": "publishing",
    "/segment_pipeline/orchestration/": "transactions and checks",
    "/site-packages/dagster": "Dagster's own",
    "": REST,
}
"""Part of a file's path -> kind of what is done there, and in whatever it calls that has none; the first that fits."""


class Clock:
    """CPU seconds by kind."""

    def __init__(self, kind: Callable[[FrameType | None], str]) -> None:
        self.kind, self.spent = kind, Counter[str]()
        self._at = cpu_seconds()
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)

    def take(self) -> Counter[str]:
        """What was spent since it was last asked."""
        taken, self.spent = self.spent, Counter()
        return taken

    def _note(self, _: int, frame: FrameType | None) -> None:
        now = cpu_seconds()
        self.spent[self.kind(frame)] += now - self._at
        self._at = now


def cpu_seconds() -> float:
    return sum(os.times()[:4])


def _kind(frame: FrameType | None) -> str:
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    if any(file.startswith("<frozen importlib") for file in files):
        return IMPORTS
    found = (next(kind for part, kind in KINDS.items() if part in file) for file in files)
    return next((kind for kind in found if kind != REST), REST)


def _step(frame: FrameType | None) -> str:
    """The asset at work, or what else."""
    if _kind(frame) == IMPORTS:
        return IMPORTS
    kind = REST
    while frame is not None:  # the outermost is the step
        if Path(frame.f_code.co_filename).name == "assets.py":
            kind = frame.f_code.co_name
        frame = frame.f_back
    return kind


def by_step(months: str) -> None:
    clock = Clock(_step)
    with tempfile.TemporaryDirectory() as folder:
        config = shutil.copyfile(CONFIG, Path(folder) / CONFIG.name)
        if segment_pipeline(["run", "--config", str(config), "--months", months, "--quiet"]) != 0:
            sys.exit(f"{months} failed.")
    signal.setitimer(signal.ITIMER_PROF, 0)
    spent, helper = clock.take(), sum(os.times()[2:4])
    spent[REST] -= helper
    print(f"| step | CPU s in {months} | share |\n|---|---|---|")
    for step, seconds in spent.most_common():
        print(f"| {step} | {seconds:.1f} | {seconds / spent.total():.0%} |")
    print(f"| together | {spent.total():.1f}; the first thread {time.thread_time():.1f}, a helper {helper:.1f} | |")


def main() -> None:
    if len(sys.argv) > 1:
        by_step(sys.argv[1])
        return
    clock = Clock(_kind)
    spent = {}
    with tempfile.TemporaryDirectory() as folder:
        config = shutil.copyfile(CONFIG, Path(folder) / CONFIG.name)
        for month in MONTHS:
            if segment_pipeline(["run", "--config", str(config), "--months", month, "--quiet"]) != 0:
                sys.exit(f"{month} failed.")
            spent[month] = clock.take()
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(f"| CPU seconds | {' | '.join(f'{month}, {what}' for month, what in MONTHS.items())} |")
    print("|---" * (len(MONTHS) + 1) + "|")
    for kind in (IMPORTS, *dict.fromkeys(KINDS.values())):
        print(f"| {kind} | {' | '.join(f'{month[kind]:.2f}' for month in spent.values())} |")
    print(f"| together | {' | '.join(f'{month.total():.1f}' for month in spent.values())} |")


if __name__ == "__main__":
    main()
