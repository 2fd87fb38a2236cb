"""Spark Connect servers of a test's own: Sail, in this process, and Apache Spark, in a Java of its own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ENGINES = {
    "sail": "Sail IS NOT INSTALLED: pip install pysail pyspark-client",
    "java": "Apache Spark IS NOT INSTALLED: it takes Java and an environment of its own (.ci/run makes one)",
}
"""What can be started, and what is said where it cannot."""


def is_there(engine: str) -> bool:
    """Whether it can be started here: of the two packages that are called pyspark, only one brings Spark along."""
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        return False
    whole = Path(found.origin).with_name("jars").is_dir()
    return whole and shutil.which("java") is not None if engine == "java" else find_spec("pysail") is not None


def engines() -> list[Any]:
    """The engines as parameters of tests, which are skipped where one is not there."""
    marks = {name: pytest.mark.skipif(not is_there(name), reason=missing) for name, missing in ENGINES.items()}
    return [pytest.param("sail", marks=marks["sail"]), pytest.param("java", marks=[marks["java"], pytest.mark.java])]


@contextmanager
def session(engine: str) -> Iterator[Any]:
    """A session of a server that ends with it."""
    from pyspark.sql import SparkSession

    if engine == "java":
        here = {"spark.connect.grpc.binding.address": "127.0.0.1", "spark.ui.enabled": "false"}
        started = SparkSession.builder.remote("local[2]").config(map=here).getOrCreate()
        started.conf.set("spark.sql.shuffle.partitions", "2")
        started.conf.set("spark.sql.session.timeZone", "UTC")
        yield started
        started.stop()
        return
    with sail() as address:
        started = SparkSession.builder.remote(address).create()
        yield started
        with suppress(Exception):  # the server knows no answer to that
            started.stop()


@contextmanager
def server(engine: str, folder: Path) -> Iterator[str]:
    """The address of a server. folder : where Apache Spark keeps the tables of its catalogue, which lasts as long as
    the server does; Sail has none."""
    if engine == "sail":
        with sail() as address:
            yield address
        return
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": str(folder),
        "spark.sql.shuffle.partitions": "2",
    }
    started = SparkSession.builder.remote("local[2]").config(map=settings).getOrCreate()
    # by this name: with the token that this server asks for, any other is spoken to by TLS
    yield f"sc://localhost:{DefaultChannelBuilder.default_port()}"
    started.stop()


@contextmanager
def sail(port: int = 0) -> Iterator[str]:
    """The address of a Sail server; without a port, of one that is free."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", port)
    server.start(background=True)
    host, port = server.listening_address
    yield f"sc://{host}:{port}"
    server.stop()
