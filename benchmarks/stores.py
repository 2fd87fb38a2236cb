"""The stores beside the published file: the demo's months, and a month of 1 million customers, into PostgreSQL and
Parquet; and a PostgreSQL store that is killed 50 times while it is filled.

Run as `stores.py FILE`, the demo's segments.duckdb with its segmentation.yaml beside it. The million are the last
month's customers again and again, under ids of their own. Beside PostgreSQL stands COPY of the same rows from CSV files
that lie ready, into tables without an index; beside Parquet one COPY of each table. PostgreSQL is started for the
purpose, as the tests start it.
"""

import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import duckdb
import psycopg

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.publishing.draft import tell_parts
from segment_pipeline.publishing.stores.filling import fill, stores_of
from segment_pipeline.publishing.stores.parts import parts_of
from segment_pipeline.publishing.stores.postgres_sql import columns_of, type_of, value_of
from segment_pipeline_tests.postgres import binaries, server

CUSTOMERS, KILLS = 1_000_000, 50


def project(folder: Path, demo: Path, address: str) -> Config:
    """A copy of the demo's project that names both stores."""
    folder.mkdir()
    shutil.copyfile(demo, folder / "segments.duckdb")
    settings = demo.with_name("segmentation.yaml").read_text().replace("\npublish:", "\n#publish:")
    (folder / "segmentation.yaml").write_text(f'{settings}\npublish: {{postgres: "{address}", parquet: lake}}\n')
    return load_config(folder / "segmentation.yaml")


def grow(published: Path) -> None:
    """Leave the last month alone, with a million customers."""
    published.chmod(0o644)
    with duckdb.connect(str(published)) as connection:
        month, before = connection.execute("SELECT max(month), count(*) FROM current_assignments").fetchone() or (0, 1)
        for (table,) in connection.execute(
            "SELECT table_name FROM duckdb_columns() WHERE column_name = 'customer_id' "
            "AND table_name IN (SELECT table_name FROM duckdb_tables())"
        ).fetchall():
            connection.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE grown AS
                SELECT t.* REPLACE (t.customer_id || '-' || n.range AS customer_id)
                FROM (SELECT * FROM {table} WHERE month = ?) AS t CROSS JOIN range({-(-CUSTOMERS // before)}) AS n
            """,
                [month],
            )
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} FROM grown")
        tell_parts(connection)


def seconds_to_fill(config: Config) -> list[tuple[float, int]]:
    """Seconds and rows of filling each store."""
    found = []
    for store in stores_of(config):
        started = time.perf_counter()
        new, _ = fill(store)
        found.append((time.perf_counter() - started, new["rows"]))
    return found


def copies(published: Path, address: str, folder: Path) -> tuple[float, float]:
    """Seconds to COPY the same rows from CSV that lies ready, and to write each table as Parquet."""
    folder.mkdir()
    of_csv = of_parquet = 0.0
    with duckdb.connect(str(published), read_only=True) as file, psycopg.connect(address) as there:
        for table, columns in columns_of(file).items():
            values = ", ".join(f'{value_of(name, kind)} AS "{name}"' for name, kind in columns.items())
            file.execute(f"COPY (SELECT {values} FROM {table}) TO '{folder}/{table}.csv' (HEADER false)")
            started = time.perf_counter()
            file.execute(f"COPY {table} TO '{folder}/{table}.parquet' (COMPRESSION zstd)")
            of_parquet += time.perf_counter() - started
            declared = ", ".join(f'"{name}" {type_of(kind)}' for name, kind in columns.items())
            there.execute(f"CREATE TABLE {table} ({declared})")
            started = time.perf_counter()
            with (
                (folder / f"{table}.csv").open("rb") as content,
                there.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy,
            ):
                while block := content.read(1 << 20):
                    copy.write(block)
            of_csv += time.perf_counter() - started
        started = time.perf_counter()
        there.commit()
        of_csv += time.perf_counter() - started
    shutil.rmtree(folder)
    return of_csv, of_parquet


def double(published: Path) -> None:
    published.chmod(0o644)
    with duckdb.connect(str(published)) as connection:
        connection.execute(
            "INSERT INTO monthly_assignments SELECT * REPLACE (customer_id || '-2' AS customer_id) "
            "FROM monthly_assignments"
        )
        tell_parts(connection)


def kill(config: Config, address: str, moments: Iterable[float]) -> tuple[int, int]:
    """Kill a process that fills the store, at each of the moments; returns how many were killed at work, and how many
    of these left anything but the publication before or the one after."""
    store, killed, torn = stores_of(config)[0], 0, 0
    with duckdb.connect(str(config.published_path), read_only=True) as file:
        whole = {frozenset(store.parts()), frozenset(parts_of(file))}
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([fill.__module__])
    for moment in moments:
        process = processes.Process(target=fill, args=(store,))
        process.start()
        process.join(moment)
        process.kill()
        process.join()
        killed += process.exitcode != 0
        parts = store.parts()
        with psycopg.connect(address, options="-c search_path=segments") as there:
            rows = dict(there.execute("SELECT month, count(*) FROM monthly_assignments GROUP BY 1").fetchall())
        told = {part.month: part.rows for part in parts if part.table == "monthly_assignments"}
        torn += frozenset(parts) not in whole or rows != told
    return killed, torn


def main(demo: Path) -> None:
    with server(binaries()) as postgres, tempfile.TemporaryDirectory() as temporary:  # type: ignore[arg-type]
        folder = Path(temporary)
        for name in ("demo", "million"):
            postgres.run(f"CREATE DATABASE {name}")
            address = f"postgresql://tests@/{name}?host={postgres.folder}"
            config = project(folder / name, demo, address)
            if name == "million":
                grow(config.published_path)
            (of_postgres, rows), (of_parquet, _) = seconds_to_fill(config)
            csv, parquet = copies(config.published_path, address, folder / "copies")
            print(
                f"{name}: {rows:,} rows. PostgreSQL {of_postgres:.1f} s, {of_postgres / csv:.1f} times COPY of CSV. "
                f"Parquet {of_parquet:.1f} s, {of_parquet / parquet:.1f} times COPY."
            )
            if name == "demo":
                double(config.published_path)
                moments = random.Random(1)  # noqa: S311 - a seed, not a secret
                killed, torn = kill(config, address, [moments.uniform(0, of_postgres / 4) for _ in range(KILLS)])
                print(f"{killed} of {KILLS} fillings killed at work, {torn} left half a publication.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/segments.duckdb").absolute())
