"""Fixtures: a shop with known truth in a folder of its own, and months of it run through the real assets."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segment_pipeline_tests.shop import Shop, order_lines, write_parquet

# The code location reads its partitions from the file that this variable names, at import: it is set before any test
# imports it. The tests' own files use months of the same span.
_LOCATION = Path(tempfile.mkdtemp(prefix="segment_pipeline_tests_"))
Shop(_LOCATION).configure(last_month="2023-12")
os.environ["SEGMENT_PIPELINE_CONFIG"] = str(_LOCATION / "segmentation.yaml")
os.environ.pop("DAGSTER_HOME", None)
os.environ["GX_ANALYTICS_ENABLED"] = "false"


def pytest_unconfigure() -> None:
    shutil.rmtree(_LOCATION, ignore_errors=True)


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
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published file of the demo's first two months, beside its warehouse and configuration. Read it only."""
    import subprocess
    import sys

    shipped = Path(__file__).parents[1] / "data" / "segmentation.yaml"
    folder = tmp_path_factory.mktemp("demo")
    shutil.copyfile(shipped, folder / shipped.name)
    command = [
        sys.executable,
        "-m",
        "segment_pipeline.cli.main",
        "run",
        "--config",
        str(folder / shipped.name),
        "--quiet",
    ]
    subprocess.run([*command, "--months", "2017-03..2017-04"], check=True, timeout=600)
    return folder / "segments.duckdb"


@pytest.fixture(scope="session")
def three_months(tmp_path_factory: pytest.TempPathFactory, shop_orders: Path) -> Shop:
    """The shop with 2023-03 to 2023-05 published by the command line, in a process of its own. Read it only."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("three_months")
    shutil.copyfile(shop_orders, folder / "orders.parquet")
    shop = Shop(folder).configure(last_month="2023-05")
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(shop.config_path), "--quiet"]
    subprocess.run(command, check=True, timeout=600)
    return shop
