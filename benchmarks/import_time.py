"""How long Dagster processes take to load the code location, against the bare `import dagster`."""

import statistics
import subprocess
import sys

REPEATS = 9
TIMED = "import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", TIMED.format(module=module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    modules = ("dagster", "segment_pipeline.definitions")
    for module in modules:
        seconds(module)  # warm the file cache
    pairs = [[seconds(module) for module in modules] for _ in range(REPEATS)]
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(ours / bare for bare, ours in pairs)
    print(f"import dagster                       {bare:.2f} s (median of {REPEATS})")
    print(f"import segment_pipeline.definitions  {ours:.2f} s")
    print(f"ratio, pair by pair                  {ratio:.2f} (bar: at most 1.4)")


if __name__ == "__main__":
    main()
