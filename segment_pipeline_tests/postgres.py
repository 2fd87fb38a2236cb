"""A PostgreSQL server of a test's own: in a folder that is deleted, on a socket in it, run by nobody."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MISSING = (
    "PostgreSQL IS NOT INSTALLED, so score.sql was NOT run in it. Debian: apt-get install postgresql (.ci/run does so)."
)


def binaries() -> Path | None:
    """Where initdb, pg_ctl and psql are; None where there is no server. Debian keeps them off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(debian[-1]) if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@dataclass(frozen=True)
class Postgres:
    """A running server; `folder` is readable to it."""

    folder: Path
    programs: Path

    def run(self, *commands: str) -> str:
        """Run SQL or psql's own commands, one after the other; what they print, or the error that stopped them."""
        psql = [str(self.programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder)]
        each = [part for command in commands for part in ("-c", command)]
        done = subprocess.run(
            [*psql, "-U", "tests", "-d", "postgres", *each], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_file(self, path: Path, output: Path) -> None:
        """Run a file with one query, as a user would, and write its rows as CSV."""
        psql = [str(self.programs / "psql"), "-X", "-q", "--csv", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder)]
        with output.open("w") as out:
            subprocess.run(
                [*psql, "-U", "tests", "-d", "postgres", "-f", str(path)], stdout=out, check=True, timeout=60
            )


@contextmanager
def server(programs: Path) -> Iterator[Postgres]:
    """A server from initdb to its end. It refuses to be run by root, who then hands it to the user nobody."""
    folder = Path(tempfile.mkdtemp(prefix="segment_pg_", dir="/tmp"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        as_user = ["runuser", "-u", "nobody", "--"]

    def call(program: str, arguments: Sequence[str]) -> None:
        subprocess.run(
            [*as_user, str(programs / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            timeout=120,
        )

    data = str(folder / "data")
    started = False
    try:
        call("initdb", ["-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", ["-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"])
        started = True
        yield Postgres(folder, programs)
    finally:
        if started:
            call("pg_ctl", ["-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder, ignore_errors=True)
