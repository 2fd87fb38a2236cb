"""The published tables as Parquet, one folder a table and month, for what reads files: DuckDB, pandas, Spark.

A publication is a folder of its own, with links to the files that have not changed, and `current` leads to it: readers
who go through `current` see all of it from one moment to the next.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.database.store import first_line, put_durably
from segment_pipeline.months import month_key
from segment_pipeline.publishing.publish import publications
from segment_pipeline.publishing.stores.parts import Part, StoreError, by_table, condition_of

CURRENT, MANIFEST = "current", "manifest.json"


@dataclass(frozen=True)
class ParquetStore:
    """The folder `publish.parquet`."""

    config: Config
    asset: ClassVar[str] = "published_parquet"

    @property
    def folder(self) -> Path:
        return self.config.publish.parquet or self.config.output_dir / "parquet"

    @property
    def place(self) -> str:
        return str(self.folder)

    def parts(self) -> set[Part]:
        return set(self._held())

    def bring(self, published: duckdb.DuckDBPyConnection, wanted: set[Part]) -> list[str]:
        self._refuse_other()
        held, current = self._held(), self.folder / CURRENT
        try:
            if held.keys() == wanted:
                self._clear_away()
                return []
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self.folder / ".draft"
            shutil.rmtree(draft, ignore_errors=True)  # a killed process's
            entries = []
            for part in (part for _, parts in by_table(wanted) for part in parts):
                file = draft / _path_of(part)
                file.parent.mkdir(parents=True, exist_ok=True)
                if part in held:
                    os.link(current / _path_of(part), file)
                    entries.append(held[part])
                else:
                    entries.append(_write(published, part, file))
            self._describe(published, draft / MANIFEST, entries)
            self._show(draft)
        except (OSError, duckdb.IOException) as error:
            raise StoreError(
                f"{self.folder} cannot be filled ({first_line(error)}). It takes a folder in which this user may "
                "write, with room, on a file system that has links. Then run again: what is published stands in "
                "segments.duckdb, and is brought here."
            ) from error
        return []

    def clear(self) -> None:
        """Nothing of what was replaced is there: the folders of earlier publications go with them."""

    def problems(self) -> list[str]:
        try:
            self._refuse_other()
        except StoreError as error:
            return [str(error)]
        there = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            return [f"{self.folder} cannot be made or written to, because of {there}: publish.parquet."]
        return []

    def _manifest(self) -> dict[str, Any]:
        """What the last publication says of itself; empty where there is none. Raises StoreError."""
        file = self.folder / CURRENT / MANIFEST
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} cannot be read ({error}). Move {self.folder} away, and run again.") from error

    def _held(self) -> dict[Part, dict[str, Any]]:
        """The parts that are there, with their entries in the manifest."""
        found = {}
        for entry in self._manifest().get("files", ()):
            month = entry["month"] and date.fromisoformat(entry["month"])
            part = Part(entry["table"], entry["month_column"], month, entry["rows"], entry["fingerprint"])
            if (self.folder / CURRENT / entry["file"]).is_file():  # a lost one is written again
                found[part] = entry
        return found

    def _refuse_other(self) -> None:
        """Raise StoreError where something else is in the folder."""
        last = self._manifest().get("project")
        if not self.config.is_project(last):
            raise StoreError(
                f"{self.folder} holds the months of {last}, and this is {self.config.project}. Give this one a folder "
                "of its own: publish.parquet"
            )
        ours = {CURRENT, ".draft"}
        if last is None and self.folder.is_dir():
            others = sorted(path.name for path in self.folder.iterdir() if path.name not in ours)
            if any(not name.isdecimal() for name in others):
                raise StoreError(
                    f"{self.folder} has files of others in it, such as {others[0]}. Name a folder that is empty or not "
                    "there: publish.parquet"
                )

    def _describe(self, published: duckdb.DuckDBPyConnection, file: Path, entries: list[dict[str, Any]]) -> None:
        runs = publications(published)
        content = {
            "project": self.config.project,
            "months": {month_key(month): f"{at.isoformat()}Z" for month, at in sorted(runs.items())},
            "files": entries,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _show(self, draft: Path) -> None:
        """Let `current` lead to the draft, in one step."""
        numbers = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        shown = self.folder / str(max(numbers, default=0) + 1)
        os.replace(draft, shown)
        link = self.folder / f".{CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(shown.name)
        put_durably(link, self.folder / CURRENT)
        self._clear_away()

    def _clear_away(self) -> None:
        """Remove the publications to which `current` does not lead, of which a killed process may have left one."""
        shown = (self.folder / CURRENT).resolve().name
        for path in self.folder.iterdir():
            if path.name.isdecimal() and path.name != shown:
                shutil.rmtree(path)


def _path_of(part: Part) -> str:
    """Where a part's file is in a publication, hive style: the values of a month are its folder's name."""
    if part.month_column is None:
        return f"{part.table}/data.parquet"
    month = "__HIVE_DEFAULT_PARTITION__" if part.month is None else part.month.isoformat()
    return f"{part.table}/{part.month_column}={month}/data.parquet"


def _write(published: duckdb.DuckDBPyConnection, part: Part, file: Path) -> dict[str, Any]:
    """Write a part; returns its entry in the manifest."""
    columns = "*" if part.month_column is None else f"* EXCLUDE ({identifier(part.month_column)})"
    published.execute(
        f"COPY (SELECT {columns} FROM {identifier(part.table)} WHERE {condition_of([part])}) TO {literal(str(file))} "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    with file.open("rb") as content:
        os.fsync(content.fileno())
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"file": _path_of(part), **asdict(part), "month": part.month and part.month.isoformat(), "sha256": digest}
