"""What it takes to look at a large export: time and peak memory of `inspect` and `quickstart`, as fresh processes with
--memory-limit 1GB, on order lines of about 300 MB and 1 GB, in UTF-8, read where they lie, and in Windows-1252, decoded
into a draft. Bar: 1.5 GB at the most, whatever the size.

Against: reading the same lines into pandas, which most first looks begin with. Takes about ten minutes and 3 GB of disk
below the folder for temporary files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

BYTES_A_LINE = 55
SIZES = (300_000_000, 1_000_000_000)
PANDAS = "import sys, pandas; pandas.read_csv(sys.argv[1], encoding=sys.argv[2])"


def write(path: Path, size: int, codec: str) -> None:
    """Order lines of a shop with twenty lines a customer; a letter has one byte in one encoding, two in the other."""
    rows = size // BYTES_A_LINE
    with duckdb.connect() as connection:
        connection.execute(f"""
            COPY (
                SELECT 'c' || lpad(CAST(hash(i // 3) % {rows // 20} AS VARCHAR), 8, '0') AS customer_id,
                    1_000_000 + i // 3 AS order_id,
                    TIMESTAMP '2025-01-01' + to_seconds(CAST(hash(i // 3, 1) % 31_000_000 AS BIGINT)) AS ordered_at,
                    'Größe ' || hash(i, 2) % 500 AS product, round(1 + hash(i, 3) % 20_000 / 100, 2) AS amount
                FROM range({rows}) AS lines(i)
            ) TO '{path}' (FORMAT csv, HEADER)
        """)
    if codec != "utf-8":
        again = path.with_suffix(".part")
        with path.open(encoding="utf-8") as source, again.open("w", encoding=codec) as target:
            while part := source.read(1 << 24):
                target.write(part)
        again.replace(path)


def run(*command: str) -> tuple[float, float, int]:
    """Seconds, peak memory in MB, and the exit code of a process."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - started, used.ru_maxrss / 1000, process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="bytes")
    parser.add_argument("--codecs", nargs="+", default=("utf-8", "cp1252"))
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--commands", nargs="+", default=("inspect", "quickstart", "pandas"))
    chosen = parser.parse_args()
    print(f"{'file':<24}{'command':<12}{'seconds':>9}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as name:
        for size in chosen.sizes:
            for codec in chosen.codecs:
                file = Path(name) / "orders.csv"
                write(file, size, codec)
                cli = ("-m", "segment_pipeline.cli.main")
                asked = (str(file), "--memory-limit", chosen.memory_limit)
                said = {
                    "inspect": (*cli, "inspect", *asked),
                    "quickstart": (*cli, "quickstart", *asked, "--out", f"{name}/out", "--segments", "2..3"),
                    "pandas": ("-c", PANDAS, str(file), codec),
                }
                for what in chosen.commands:
                    seconds, peak, code = run(*said[what])
                    ended = "" if code == 0 else f"  exit code {code}"
                    of = f"{file.stat().st_size / 1e6:,.0f} MB, {codec}"
                    print(f"{of:<24}{what:<12}{seconds:>9.1f}{peak:>9,.0f}{ended}", flush=True)


if __name__ == "__main__":
    main()
