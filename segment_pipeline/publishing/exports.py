"""A month's customers as files for the systems that act on them (reverse ETL): everybody, or what changed.

Read from the published file only, so an export never waits for a run nor keeps one waiting. The same published month
gives the same rows in the same order, and the same bytes of CSV.

CSV is RFC 4180: a header, CRLF, fields quoted where they need it; NULL is an empty field. A value that begins with = or
+ is written as it is. The guards against spreadsheet formulas put a character before it, and the system that loads the
file would then look for a customer who does not exist: open such a file as data, not by a double click.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from segment_pipeline.config.values import followed
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import first_line, month_literal
from segment_pipeline.errors import PipelineError
from segment_pipeline.months import add_months, month_key
from segment_pipeline.publishing.publish import publications, reading

FORMATS = {"parquet": "FORMAT parquet", "csv": "FORMAT csv, HEADER, NEW_LINE '\\r\\n'"}
"""What can be written, and DuckDB's options for it."""

MANIFEST = "manifest.json"

# column -> where it comes from: a = monthly_assignments, p = segment_profiles, r = churn_risk, w = the customer's
# standing early_warnings, c = customer_actions
COLUMNS = {
    "month": "a",
    "customer_id": "a",
    "segment_id": "a",
    "segment_name": "a",
    "role": "p",
    "max_probability": "a",
    "second_segment_id": "a",
    "second_probability": "a",
    "tier": "a",
    "is_hybrid": "a",
    "churn_risk": "r",
    "priority": "w",
    "within_budget": "w",
    "warnings": "w",
    "action_id": "c",
    "what": "c",
    "owner": "c",
    "channel": "c",
    "kpi": "c",
    "campaign": "c",
    "arm": "c",
    "measure_until": "c",
    "model_version": "a",
}
UNCOMPARED = ("month", "customer_id", "model_version")
"""Columns that make no customer changed."""


class ExportError(PipelineError):
    """The export cannot be made; what stood in its folder stands there still."""


@dataclass(frozen=True)
class Export:
    """What was written: `manifest` is the content of manifest.json."""

    folder: Path
    manifest: dict[str, Any]


def export_month(
    published: Path,
    name: str,
    *,
    folder: Path | None = None,
    month: date | None = None,
    delta: bool = False,
    formats: Sequence[str] = tuple(FORMATS),
    spreadsheet: bool = False,
) -> Export:
    """Write a published month's customers, or with `delta` what changed since the month before, and a manifest.

    name : the configuration's, for the manifest. folder : default exports/MONTH/full (or delta) beside the published
    file. month : default the latest. formats : of FORMATS. spreadsheet : CSV as `for_spreadsheet` puts it. A customer
    who was there the month before and is not now has a row `removed` in a delta, with nothing but its id: apply the
    rows by customer_id to last month's full export and
    it holds this month's. Raises ExportError, and PublishError when the published file cannot be read.
    """
    if not published.exists():
        raise ExportError(f"{published} does not exist: no month has been published. Run: segment-pipeline run")
    with reading(published) as connection:
        months = publications(connection)
        if not months:
            raise ExportError(f"{published} holds no month yet. Run: segment-pipeline run")
        month = month or max(months)
        before = add_months(month, -1) if delta else None
        _require(published, months, month, before)
        kind = "delta" if delta else "full"
        folder = (folder or published.parent / "exports" / month_key(month) / kind).absolute()
        query = _delta(month, before) if before is not None else _full(month)
        stem = "customers" if before is None else "changes"
        earlier = _earlier_files(folder, kind)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".export.") as draft_folder:
                drafts = {f"{stem}.{format}": Path(draft_folder) / f"{stem}.{format}" for format in formats}
                connection.execute(f"CREATE TEMP TABLE exported AS {query}")
                for draft in drafts.values():
                    query = "FROM exported"
                    if spreadsheet and draft.suffix == ".csv":
                        query = for_spreadsheet(connection, query)
                    _write(connection, draft, query)
                manifest = {
                    "config": name,
                    "kind": kind,
                    "spreadsheet": spreadsheet,
                    "month": month_key(month),
                    "previous_month": None if before is None else month_key(before),
                    "published_at": f"{months[month].isoformat()}Z",
                    "files": [_described(connection, draft) for draft in drafts.values()],
                }
                draft_manifest = Path(draft_folder) / MANIFEST
                draft_manifest.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                # While the files are replaced there is no manifest: a folder without one is not to be read yet.
                (folder / MANIFEST).unlink(missing_ok=True)
                for leftover in earlier - set(drafts):
                    (folder / leftover).unlink(missing_ok=True)
                for file, draft in drafts.items():
                    os.replace(draft, followed(folder / file))
                os.replace(draft_manifest, folder / MANIFEST)
        except OSError as error:
            raise _cannot_write(folder, error.strerror or str(error)) from error
    return Export(folder, manifest)


def _require(published: Path, months: Collection[date], month: date, before: date | None) -> None:
    """Raise ExportError unless the month, and the one before where it is needed, are published."""
    there = f"{published} holds {', '.join(month_key(known) for known in sorted(months))}"
    if month not in months:
        key = month_key(month)
        raise ExportError(
            f"{key} is not published: {there}. Ask for one of these, or run it first: segment-pipeline run --months "
            f"{key}"
        )
    if before is not None and before not in months:
        raise ExportError(
            f"{month_key(month)} has no delta, for {month_key(before)} is not published: {there}. Export the whole "
            f"month, without --delta."
        )


def _full(month: date) -> str:
    """One row per customer of the month."""
    columns = ", ".join(f"{table}.{column}" for column, table in COLUMNS.items())
    of_month = f"month = {month_literal(month)}"
    return f"""
        SELECT {columns}
        FROM (SELECT * FROM monthly_assignments WHERE {of_month}) AS a
        LEFT JOIN (SELECT * FROM segment_profiles WHERE {of_month}) AS p ON p.segment_id = a.segment_id
        LEFT JOIN (SELECT * FROM churn_risk WHERE {of_month}) AS r ON r.customer_id = a.customer_id
        LEFT JOIN (
            -- both are the customer's, and stand beside each of its warnings
            SELECT customer_id, min(priority) AS priority, bool_or(within_budget) AS within_budget,
                string_agg(warning || ': ' || evidence, '; ' ORDER BY warning) AS warnings
            FROM early_warnings WHERE {of_month} AND status <> 'resolved' GROUP BY customer_id
        ) AS w ON w.customer_id = a.customer_id
        LEFT JOIN (SELECT * FROM customer_actions WHERE {of_month}) AS c ON c.customer_id = a.customer_id
        ORDER BY a.customer_id
    """


def _delta(month: date, before: date) -> str:
    """The rows of a full export that are new or changed, and one for every customer who is not there any more."""
    differs = " OR ".join(f"n.{name} IS DISTINCT FROM b.{name}" for name in COLUMNS if name not in UNCOMPARED)
    values = ", ".join(f"n.{name}" for name in COLUMNS if name not in ("month", "customer_id"))
    return f"""
        SELECT {month_literal(month)} AS month, coalesce(n.customer_id, b.customer_id) AS customer_id,
            CASE WHEN b.customer_id IS NULL THEN 'added' WHEN n.customer_id IS NULL THEN 'removed' ELSE 'changed' END
                AS change,
            {values}
        FROM ({_full(month)}) AS n FULL JOIN ({_full(before)}) AS b ON b.customer_id = n.customer_id
        WHERE n.customer_id IS NULL OR b.customer_id IS NULL OR {differs}
        ORDER BY coalesce(n.customer_id, b.customer_id)
    """


def for_spreadsheet(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """The query, with no text that is a formula to a spreadsheet: what begins as one gets an apostrophe before it, and
    is then not the text that other programs know."""
    columns = connection.execute(f"DESCRIBE {query}").fetchall()
    texts = [identifier(name) for name, kind, *_ in columns if kind == "VARCHAR"]
    harmless = ", ".join(
        f"CASE WHEN regexp_matches({text}, '^[=+@\\t\\r-]') THEN '''' || {text} ELSE {text} END AS {text}"
        for text in texts
    )
    return f"SELECT * REPLACE ({harmless}) FROM ({query})" if texts else query


def _write(connection: duckdb.DuckDBPyConnection, draft: Path, query: str) -> None:
    try:
        connection.execute(f"COPY ({query}) TO {literal(str(draft))} ({FORMATS[draft.suffix[1:]]})")
    except duckdb.IOException as error:
        raise _cannot_write(draft.parent.parent, first_line(error)) from error


def _described(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, Any]:
    """A file's entry in the manifest."""
    found = connection.execute("SELECT count(*) FROM exported").fetchone()
    columns = connection.execute("FROM exported LIMIT 0").description or []
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        "name": file.name,
        "rows": found[0] if found else 0,
        "columns": [column[0] for column in columns],
        "bytes": file.stat().st_size,
        "sha256": digest,
    }


def _earlier_files(folder: Path, kind: str) -> set[str]:
    """The files of the export that this one replaces. Raises ExportError when the folder's manifest is no export's, or
    of an export of another kind."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        named = {file["name"] for file in listed["files"]}
        if listed["kind"] in ("full", "delta") and listed["kind"] != kind:
            raise ExportError(
                f"{folder} holds a {listed['kind']} export, and a {kind} one would replace it. Name another folder "
                "with --out: one folder holds one export."
            )
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise _cannot_write(folder, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError):
        named = set()
    ours = {f"{stem}.{format}" for stem in ("customers", "changes") for format in FORMATS}
    if not named or not named <= ours:
        raise ExportError(
            f"{folder / MANIFEST} is not that of an export, and an export would replace it. Name another folder with "
            f"--out, or move the file away."
        )
    return named


def _cannot_write(folder: Path, why: str) -> ExportError:
    return ExportError(
        f"{folder} cannot be written: {why}. Name with --out a folder in which this user may create files, on a disk "
        f"with space left, and export again."
    )
