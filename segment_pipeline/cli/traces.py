"""Where a customer's id stands outside the warehouse and the published file: files of before that were kept, reports,
exports, Dagster's history.

What is made from the published file is made from it again, or removed where it cannot be. In Dagster's history, which
cannot, the id gives way to a word. Only files of the project's output folder and of its Dagster instance are touched.
"""

import html
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import STORAGE_VERSION, in_memory, put_durably
from segment_pipeline.errors import PipelineError
from segment_pipeline.months import month_key, parse_month
from segment_pipeline.publishing.exports import FORMATS, MANIFEST, ExportError, export_month
from segment_pipeline.publishing.publish import beside, current_database, kept_files, published_months, reading
from segment_pipeline.quickstart.folder import CUSTOMERS, SIMPLEST, write_customers
from segment_pipeline.report.report import write_report
from segment_pipeline.sources.people.delivered import hashed
from segment_pipeline.sources.people.tables import FORMER_CUSTOMERS

WORD = "(former customer)"
"""What stands in the place of an id."""

# What Dagster finds its events, runs and ticks by; no id of a customer, even if it looks like one.
_DAGSTERS_OWN = frozenset({"__class__", "tags", "run_id", "step_key", "partition", "path", "pid", "timestamp"})


SETTINGS = "dagster.yaml"

PATIENCE = 10.0
"""Seconds that another program may take to let go of a file of Dagster's."""

_FREE_SPACE = "Free disk space there, and run the same command again."
_CLOSE_DAGSTER = "Close Dagster's UI and daemon, and run the same command again."


class TracesLeftError(PipelineError):
    """A file still holds the id of somebody who is forgotten, and says which."""


def names_of(ids: Collection[str]) -> re.Pattern[str]:
    """Finds these ids where they stand for themselves: not within a longer word, another address or a number. As they
    are, as JSON writes them, HTML, and CSV."""
    written = {form for one in ids for form in (one, json.dumps(one)[1:-1], html.escape(one), one.replace('"', '""'))}
    longest_first = sorted(written, key=lambda form: (-len(form), form))
    return re.compile(rf"(?<![\w@.+-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w@]|[.+-]\w)")


def renew_files(config: Config, ids: Collection[str]) -> Iterator[str]:
    """Make again what tells of these customers of what was made from the published file; says what was done, a sentence
    each. Raises ReportError, ExportError, PublishError."""
    names, published = names_of(ids), config.published_path
    yield from _renew_reports(config, names)
    yield from _renew_exports(config, ids)
    for name in (CUSTOMERS, SIMPLEST):
        file = published.parent / name
        if file.exists() and names.search(file.read_text(encoding="utf-8-sig", errors="replace")):
            if name == CUSTOMERS and published.exists():
                write_customers(published, file)
                yield f"{file} is written again."
            else:
                file.unlink()
                yield f"{file} is removed: nothing is there to make it from."


def clear_kept(connection: duckdb.DuckDBPyConnection, published: Path) -> Iterator[str]:
    """Take everybody who is forgotten out of the published files that `run --accept-loss` has kept, also under ids from
    before they were merged; says of which, a sentence each. connection : to the warehouse."""
    warehouse = identifier(current_database(connection))
    former = f"{warehouse}.main.{FORMER_CUSTOMERS.name}"
    forgotten = f"{hashed('customer_id', former)} IN (SELECT id_hash FROM {former} WHERE customer_id IS NULL)"
    for kept in kept_files(published):
        for leftover in kept.parent.glob(beside(kept, "*").name):
            leftover.unlink()  # a killed process's
        less, draft = beside(kept, "less"), beside(kept, "draft")
        shutil.copyfile(kept, less)
        connection.execute(f"ATTACH {literal(str(less))} AS less")
        tables = connection.execute(
            "SELECT table_name FROM duckdb_columns() SEMI JOIN duckdb_tables() USING (database_name, table_name) "
            "WHERE database_name = 'less' AND column_name = 'customer_id'"
        ).fetchall()
        rows = 0
        for (table,) in tables:
            deleted = connection.execute(f"DELETE FROM less.{identifier(table)} WHERE {forgotten}").fetchone()
            rows += deleted[0] if deleted else 0
        if rows:  # deleted rows stay in blocks of the file, and are not copied
            connection.execute(f"ATTACH {literal(str(draft))} AS draft (STORAGE_VERSION {literal(STORAGE_VERSION)})")
            connection.execute("COPY FROM DATABASE less TO draft")
            connection.execute("DETACH draft")
            draft.chmod(kept.stat().st_mode)
            put_durably(draft, kept)
            yield f"{kept}: {rows:,} rows of customers who are forgotten are gone."
        connection.execute("DETACH less")
        less.unlink()


def clear_history(home: Path, ids: Collection[str]) -> Iterator[str]:
    """Put a word in the place of these ids in Dagster's history; says where, a sentence each.

    Dagster reads the events as before. Raises TracesLeftError where another program holds a file of it.
    """
    names = names_of(ids)
    if not home.is_dir():
        return
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        if file.suffix == ".db":
            changed = _clear_database(file, names)
        elif file.suffix in (".db-wal", ".db-shm", ".db-journal"):
            continue  # of the database beside them
        elif file.name == SETTINGS:
            continue  # no history, and a number in it is nobody's id
        else:
            changed = _clear_text(file, names)
        if changed:
            yield f"{file}: {changed:,} entries no longer name them."
    settings = home / SETTINGS
    if settings.exists() and re.search(
        r"^(storage|run_storage|event_log_storage):", settings.read_text(), re.MULTILINE
    ):
        yield f"{settings} keeps Dagster's history elsewhere as well: that was not looked at."


def _renew_reports(config: Config, names: re.Pattern[str]) -> Iterator[str]:
    folder = config.published_path.parent
    months = published_months(config.published_path)
    for draft in (folder / "reports").glob(".*.html.*"):
        draft.unlink()  # a killed process's
    for page in sorted((folder / "reports").glob("*.html")):
        if not names.search(page.read_text(encoding="utf-8", errors="replace")):
            continue
        month = next((month for month in months if month_key(month) == page.stem), None)
        if month is None:
            page.unlink()
            yield f"{page} is removed: its month is not published."
            continue
        with reading(config.published_path) as connection:
            write_report(connection, config.name, month, folder)
        yield f"{page} is written again."


def _renew_exports(config: Config, ids: Collection[str]) -> Iterator[str]:
    exports = config.published_path.parent / "exports"
    for draft in exports.glob("*/*/.export.*"):
        shutil.rmtree(draft)  # a killed process's
    for folder in sorted(exports.glob("*/*")):
        files = [file for file in sorted(folder.iterdir()) if file.suffix[1:] in FORMATS]
        if not any(_tells(file, ids) for file in files):
            continue
        try:
            export_month(
                config.published_path,
                config.name,
                folder=folder,
                month=parse_month(folder.parent.name),
                delta=folder.name == "delta",
                formats=[file.suffix[1:] for file in files],
                spreadsheet=_for_a_spreadsheet(folder),
            )
            yield f"{folder} is written again."
        except (ExportError, ValueError) as error:
            for file in (folder / MANIFEST, *files):
                file.unlink(missing_ok=True)
            yield f"The files in {folder} are removed: they cannot be made again ({error})."


def _for_a_spreadsheet(export: Path) -> bool:
    try:
        return bool(json.loads((export / MANIFEST).read_text(encoding="utf-8")).get("spreadsheet"))
    except (OSError, ValueError):  # killed before it was written
        return False


def _tells(file: Path, ids: Collection[str]) -> bool:
    """Whether an export has a row about one of them, also as a spreadsheet has them; so has what is no export."""
    read = "read_csv(?, all_varchar = true)" if file.suffix == ".csv" else "read_parquet(?)"
    with in_memory() as connection:
        try:
            found = connection.execute(
                f"SELECT 1 FROM {read} WHERE customer_id IN (SELECT unnest(?)) LIMIT 1",
                [str(file), [*ids, *(f"'{one}" for one in ids)]],
            ).fetchone()
        except duckdb.Error:
            return True
    return found is not None


def _clear_database(file: Path, names: re.Pattern[str]) -> int:
    """Clear the events of a SQLite database, and the pages that held them; returns how many."""
    changed = 0
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            for table, column in _text_columns(connection):
                texts = connection.execute(f"SELECT rowid, {column} FROM {table} WHERE typeof({column}) = 'text'")
                # not by a function in SQL: Ctrl-C in it would be an error of the database's
                for row, text in [(row, text) for row, text in texts if names.search(text)]:
                    cleared = _cleared_text(text, names)
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", [cleared, row])
                    changed += cleared != text
            if changed:
                connection.execute("VACUUM")  # or the freed pages still have it
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        # it is written anew beside itself
        advice = _FREE_SPACE if "disk is full" in str(error) else _CLOSE_DAGSTER
        raise TracesLeftError(f"{file} cannot be cleared: {error}. {advice}") from error
    if busy:
        raise TracesLeftError(f"{file} is in use, and what it held a moment ago is still beside it. {_CLOSE_DAGSTER}")
    return changed


def _text_columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Table and column, quoted, wherever there may be text."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        (identifier(table), identifier(column[1]))
        for (table,) in tables
        for column in connection.execute(f"PRAGMA table_info({identifier(table)})").fetchall()
    ]


def _cleared_text(text: str, names: re.Pattern[str]) -> str:
    """An entry of Dagster's without the ids. What is no JSON, such as a run's id, is what Dagster finds entries by."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.dumps(_cleared(json.loads(text), names))
    except ValueError:
        return names.sub(WORD, text)


def _cleared(value: Any, names: re.Pattern[str]) -> Any:
    """A value of JSON without the ids: of a table that has a row about one of them, without the row."""
    if isinstance(value, str):
        return names.sub(WORD, value)
    if isinstance(value, list):
        return [_cleared(one, names) for one in value if not _is_row_about(one, names)]
    if isinstance(value, dict):
        return {key: one if key in _DAGSTERS_OWN else _cleared(one, names) for key, one in value.items()}
    return value


def _is_row_about(value: Any, names: re.Pattern[str]) -> bool:
    return (
        isinstance(value, dict)
        and value.get("__class__") == "TableRecord"
        and any(isinstance(cell, str) and names.fullmatch(cell) for cell in value["data"].values())
    )


def _clear_text(file: Path, names: re.Pattern[str]) -> int:
    """Clear a log; returns how many places."""
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    cleared, found = names.subn(WORD, text)
    if found:
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.write_text(cleared, encoding="utf-8", errors="surrogateescape")
        os.replace(draft, file)
    return found
