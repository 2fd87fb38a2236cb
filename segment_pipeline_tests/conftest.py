"""Fixtures: a shop with known truth in a folder of its own, and months of it run through the real assets."""

import gc
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from segment_pipeline_tests.commands import Commands, shared_commands
from segment_pipeline_tests.shop import Shop, order_lines, write_parquet
from segment_pipeline_tests.spark import Server, engines, server, session

REPOSITORY = Path(__file__).parents[1]

# The code location reads its partitions from the file that this variable names, at import: it is set before any test
# imports it. The tests' own files use months of the same span.
_LOCATION = Path(tempfile.mkdtemp(prefix="segment_pipeline_tests_"))
Shop(_LOCATION).configure(last_month="2023-12")
os.environ["SEGMENT_PIPELINE_CONFIG"] = str(_LOCATION / "segmentation.yaml")
os.environ.pop("DAGSTER_HOME", None)
os.environ["GX_ANALYTICS_ENABLED"] = "false"

# The client of Spark takes a program without a file for a run of its own doctests, and ends it: the suite's workers are
# such programs.
vars(sys.modules["__main__"]).setdefault("__file__", __file__)

# How long an example takes is the machine's business: a busy one fails no test.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Who asks for the fixture does what the mark says; tests that start processes by themselves are marked by hand.
MARK_OF_FIXTURE = {
    "commands": "process",
    "demo": "demo",
    "finished_demo": "demo",
    "materialize": "months",
    "three_months": "months",
}


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests, and put files with marks first: they take longest, and short ones fill up the end of a run on
    several workers."""
    for item in items:
        for name in MARK_OF_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARK_OF_FIXTURE[name])
    slow = {"process", "demo", "months"}
    marked = {item.path for item in items if slow & {mark.name for mark in item.iter_markers()}}
    items.sort(key=lambda item: item.path not in marked)


def pytest_unconfigure() -> None:
    shutil.rmtree(_LOCATION, ignore_errors=True)
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> None:
    """Garbage is looked for among what a file's own tests make. Dagster, pandas and earlier files leave half a million
    objects, and statsmodels has them searched at every Holm correction: a sixth of the time of months and campaigns."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shop_orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's order lines, written once."""
    path = tmp_path_factory.mktemp("orders") / "orders.parquet"
    write_parquet(order_lines(), path)
    return path


@pytest.fixture
def shop(tmp_path: Path, shop_orders: Path) -> Shop:
    """A fresh folder with the shop's order lines and a configuration of months 2023-03 to 2023-06."""
    shutil.copyfile(shop_orders, tmp_path / "orders.parquet")
    return Shop(tmp_path).configure()


@pytest.fixture(scope="session")
def materialize() -> Callable[..., object]:
    """`materialize(shop, "2023-03", selection=None, run_config=None, raise_on_error=True)`: a real run of one month."""
    import dagster as dg

    from segment_pipeline.definitions import defs, resources

    gc.freeze()  # see quick_collection

    def run(
        shop: Shop,
        month: str,
        *,
        selection: list[str] | None = None,
        run_config: dict[str, object] | None = None,
        raise_on_error: bool = True,
        instance: dg.DagsterInstance | None = None,
    ) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(defs.assets or []),  # type: ignore[arg-type]
            partition_key=month,
            resources=resources(shop.config_path),
            selection=selection,
            run_config=run_config,
            raise_on_error=raise_on_error,
            instance=instance or dg.DagsterInstance.ephemeral(),
        )

    return run


@pytest.fixture(scope="session")
def commands() -> Commands:
    """The command line in processes of its own; see commands.py. A test that asks for it is marked `process`."""
    return shared_commands()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published file of the demo's first two months, beside its warehouse and configuration. Read it only."""

    def run(folder: Path) -> None:
        shutil.copyfile(REPOSITORY / "data" / "segmentation.yaml", folder / "segmentation.yaml")
        ended = shared_commands().run(Shop(folder), "--quiet", "--months", "2017-03..2017-04")
        assert ended.code == 0, ended

    return made_once(tmp_path_factory, "demo", run) / "segments.duckdb"


@pytest.fixture(scope="session")
def finished_demo(request: pytest.FixtureRequest) -> Path:
    """The published file that SEGMENT_PIPELINE_COOKBOOK names, of all the demo's months (.ci/run gives the one that it
    has just made); without it that of the first two."""
    finished = os.environ.get("SEGMENT_PIPELINE_COOKBOOK")
    return Path(finished).resolve() if finished else request.getfixturevalue("demo")


@pytest.fixture(scope="session")
def three_months(tmp_path_factory: pytest.TempPathFactory, shop_orders: Path) -> Shop:
    """The shop with 2023-03 to 2023-05 published by the command line, in a process of its own. Read it only; its
    Dagster instance is for copies, as SQLite writes files beside those that it reads."""

    def run(folder: Path) -> None:
        shutil.copyfile(shop_orders, folder / "orders.parquet")
        shop = Shop(folder).configure(last_month="2023-05")
        ended = shared_commands().run(shop, "--quiet")
        assert ended.code == 0, ended

    return Shop(made_once(tmp_path_factory, "three_months", run))


@pytest.fixture(scope="session", params=engines())
def spark_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of Spark Connect, once for each engine that is one; see spark.py. Let it run: others use it as well."""
    with server(request.param, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def spark(spark_server: Server) -> Iterator[Any]:
    """A session of its."""
    with session(spark_server) as started:
        yield started


@pytest.fixture
def copy(three_months: Shop, tmp_path: Path) -> Shop:
    """`three_months`, to write in."""
    return Shop(shutil.copytree(three_months.folder, tmp_path / "copy"))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file that this process writes gets larger than so many bytes, as if no more fitted on the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, in this test run: the first worker that needs it makes it, the others wait. Many runs
    share what they make where SEGMENT_PIPELINE_MADE_ONCE names a folder for it (benchmarks/mutants.py)."""
    base = Path(os.environ.get("SEGMENT_PIPELINE_MADE_ONCE") or tmp_path_factory.getbasetemp())
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers' own folders stand in it
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a worker that failed has left
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
