"""Spark Connect servers of a test's own, each a process beside it: Sail, and Apache Spark in a Java.

Both are asked by the client that users have. Apache Spark's own Python is not used: a session of its that ends, ends a
server that Python has started.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
APACHE_SPARK = Path(os.environ.get("SPARK_HOME", "no SPARK_HOME")).resolve()
"""Where it stands. A month takes minutes there, so it is asked only where somebody says where, as .ci/run does."""

ENGINES = {
    "sail": "Sail IS NOT INSTALLED: pip install pysail pyspark-client",
    "java": "Apache Spark IS NOT INSTALLED: it takes Java, and SPARK_HOME (.ci/run fetches it)",
}
"""What can be started, and what is said where it cannot."""

BEGIN_WITHIN = 300.0
"""Seconds in which a server begins; Apache Spark takes ten where it has the machine to itself."""


class Server(NamedTuple):
    """Which engine it is, where, and its process."""

    engine: str
    address: str
    pid: int
    folder: Path

    def key(self, folder: Path, database: str = "segments") -> str:
        """What a user's file says of it. folder : for the tables, where the catalogue keeps none beyond a session."""
        place = {"location": str(folder)} if self.engine == "sail" else {}
        return yaml.safe_dump({"engine": {"spark": self.address, "database": database, **place}})

    def tables(self, folder: Path, database: str = "segments") -> Path:
        """Where the files of the tables are, then."""
        return folder if self.engine == "sail" else self.folder / "tables" / f"{database}.db"

    def used(self) -> tuple[float, float]:
        """Processor seconds so far, and the most memory held since the last call in MB (Linux)."""
        ticks = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        told = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"), int(told["VmHWM"].split()[0]) / 1024


def is_there(engine: str) -> bool:
    """Whether it can be started here."""
    if find_spec("pyspark") is None:
        return False
    if engine == "java":
        return (APACHE_SPARK / "jars").is_dir() and shutil.which("java") is not None
    return find_spec("pysail") is not None


def engines() -> list[Any]:
    """The engines as parameters of tests, which are skipped where one is not there."""
    marks = {name: pytest.mark.skipif(not is_there(name), reason=missing) for name, missing in ENGINES.items()}
    return [pytest.param("sail", marks=marks["sail"]), pytest.param("java", marks=[marks["java"], pytest.mark.java])]


@contextmanager
def session(server: Server) -> Iterator[Any]:
    """A session of the server's."""
    from pyspark.sql import SparkSession

    started = SparkSession.builder.remote(server.address).create()
    started.conf.set("spark.sql.session.timeZone", "UTC")
    yield started
    with suppress(Exception):  # Sail knows no answer to that
        started.stop()


def put_demo_on(server: Server, folder: Path) -> None:
    """The demo's configuration in the folder, with its customers there."""
    text = (REPOSITORY / "data" / "segmentation.yaml").read_text()
    on_it = text.replace("\nengine:\n", f"\n{server.key(folder / 'lake', 'demo')}")
    (folder / "segmentation.yaml").write_text(on_it)


@contextmanager
def server(engine: str, folder: Path, port: int | None = None, **environment: str) -> Iterator[Server]:
    """A server from its beginning to its end.

    folder : where it may write: what it says, and Apache Spark its tables and its catalogue, for one server at a time;
    Sail's ends with a session. port : a free one, unless it is to be where another has been.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    command = {"sail": _sail, "java": _apache_spark}[engine](folder, port)
    said = folder / "server.txt"
    with said.open("a") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, env=os.environ | environment
        )
    try:
        _wait_for(process, port, said)
        yield Server(engine, f"sc://127.0.0.1:{port}", process.pid, folder)
    finally:
        process.kill()  # one that was stopped hears nothing else
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, said: Path) -> None:
    for _ in range(int(BEGIN_WITHIN / 0.1)):
        assert process.poll() is None, said.read_text()[-2000:]
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(said.read_text()[-2000:])


def _sail(_: Path, port: int) -> Sequence[str]:
    return [str(Path(sys.executable).with_name("sail")), "spark", "server", "--port", str(port)]


def _apache_spark(folder: Path, port: int) -> Sequence[str]:
    settings = {
        "spark.master": "local[2]",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # it lives for minutes
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.warehouse.dir": folder / "tables",
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder / 'catalogue'};create=true",
        "spark.hadoop.datanucleus.schema.autoCreateAll": "true",
        "spark.hadoop.hive.metastore.schema.verification": "false",
    }
    told = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    serve = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    return ["env", f"SPARK_HOME={APACHE_SPARK}", str(APACHE_SPARK / "bin" / "spark-submit"), *serve, *told]
