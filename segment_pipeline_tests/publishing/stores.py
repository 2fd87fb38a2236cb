"""What the tests of the stores have in common: a configuration that names one, and files to publish in it."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.publishing.draft import tell_parts
from segment_pipeline_tests.shop import Shop

FILLING = """\
import sys
from pathlib import Path
from segment_pipeline.config.config import load_config
from segment_pipeline.publishing.stores.filling import fill, stores_of
(store,) = stores_of(load_config(Path(sys.argv[1])))
print("ready", flush=True)
fill(store)
"""


def naming(shop: Shop, publish: str) -> Config:
    """The shop's configuration, with these keys of `publish`."""
    text = shop.config_path.read_text().partition("publish:")[0]
    shop.config_path.write_text(f"{text}publish: {publish}\n")
    return load_config(shop.config_path)


@contextmanager
def changed(published: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published file, to be changed as the next publication would."""
    draft = published.with_name("draft.duckdb")
    shutil.copyfile(published, draft)
    with duckdb.connect(str(draft)) as connection:
        yield connection
        tell_parts(connection)
    draft.replace(published)


def without_month(published: Path, month: str) -> None:
    """Let the file be that of before the month."""
    with changed(published) as connection:
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE column_name IN ('month', 'evaluated_month') "
            "AND table_name IN (SELECT table_name FROM duckdb_tables())"
        ).fetchall():
            connection.execute(f"DELETE FROM {table} WHERE {column} = '{month}'")


def doubled(published: Path) -> None:
    """Let the file have each customer of each month twice, under two ids, and say so in the segments' profiles."""
    with changed(published) as connection:
        connection.execute(
            "INSERT INTO monthly_assignments SELECT * REPLACE (customer_id || ' again' AS customer_id) "
            "FROM monthly_assignments"
        )
        connection.execute("UPDATE segment_profiles SET customers = 2 * customers")


def killed_filling(shop: Shop, after: float) -> int:
    """Fill the shop's store in a process that is killed so many seconds after it has begun; returns how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", FILLING, str(shop.config_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    return process.returncode
