"""From a path in the user's file to something DuckDB can select from, read the same way every month.

What belongs here: which files a path means, how they are read, and how DuckDB's complaints are put. What does not: what
is made of the rows (`sources`).

A reader that guesses must not guess differently once more rows have arrived, and must not leave rows out. So the
guesses of DuckDB's CSV reader that can do either are switched off, and files of one glob are read by column name, under
types that hold the values of all of them.
"""

import glob
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from segment_pipeline.database.quoting import literal, string_list
from segment_pipeline.database.store import reason
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.headers import LOOKED_AT, Header, find_header

CSV_FILE = re.compile(r"\.(csv|tsv|txt)(\.gz|\.zst)?$", re.IGNORECASE)
PARQUET_FILE = re.compile(r"\.(parquet|parq|pq)$", re.IGNORECASE)

CSV_OPTIONS = {
    "header": "true",
    "skip": "0",
    "comment": "''",  # or customers called #1, #2 are taken for comments, and vanish
    "quote": "'\"'",
    "escape": "'\"'",
    # 01/02/2023 would be a day in January or in February, as the rows that have arrived so far suggest; it stays text
    # until the configuration says which
    "dateformat": "'%Y-%m-%d'",
    "union_by_name": "true",
}
# All rows of all files decide on the types, not the first ones.
CSV_SNIFFING = {"sample_size": "-1", "files_to_sniff": "-1"}

SHOWN_COLUMNS = 40


@dataclass(frozen=True)
class Relation:
    """Something to select from: its SQL, what errors call it, and its columns.

    `columns` maps each column, in lower case as DuckDB compares names, to its DuckDB type; `incomplete` each column
    that only some of a glob's files have to the first file that lacks it. `stamps` tells a local file's contents from
    other ones.
    """

    sql: str
    path: str
    columns: Mapping[str, str]
    incomplete: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def refuse_changed(self) -> None:
        """Raises SourceError if a file is not what it was when it was opened: its rows were then read from both."""
        for file, stamp in self.stamps.items():
            if _stamps([file]) != {file: stamp}:
                raise SourceError(
                    f"{file} was changed while it was read. Wait until it is delivered whole, then run the month again."
                )

    @property
    def column_list(self) -> str:
        """The columns in words, for errors; a wide file's are cut short."""
        names = list(self.columns)
        more = f" and {len(names) - SHOWN_COLUMNS} more" if len(names) > SHOWN_COLUMNS else ""
        return ", ".join(names[:SHOWN_COLUMNS]) + more


def open_files(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    text_columns: Collection[str] = (),
    key: str = "the path under `source` in the configuration",
) -> Relation:
    """The file, or the files of a glob, as a relation with at least one row. Raises SourceError.

    path : absolute, or a URL that DuckDB can open.
    text_columns : columns, in lower case, that a CSV's reader takes as they stand, such as ids: 007 is not 7.
    key : what errors say is to be fixed where the path is wrong.
    """
    files = _matching_files(path, key)
    stamps = _stamps(files)
    if all(CSV_FILE.search(file) for file in files):
        relation = _csv(connection, files, path, text_columns)
    elif all(PARQUET_FILE.search(file) for file in files):
        relation = _parquet(connection, files, path)
    else:
        relation = _other(connection, files, path, key)
    try:
        found = connection.execute(f"SELECT 1 FROM {relation.sql} LIMIT 1").fetchone()
    except duckdb.Error as error:
        raise _unreadable(path, error) from error
    if found is None:
        raise SourceError(f"{path} holds no rows. Deliver the data, then run the month again.")
    return replace(relation, stamps=stamps)


def describe(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[str, str]]:
    """The columns of a relation with their DuckDB types. Raises duckdb.Error."""
    found = connection.execute(f"DESCRIBE SELECT * FROM {relation} AS source").fetchall()
    return [(str(row[0]), str(row[1])) for row in found]


def _matching_files(path: str, key: str) -> list[str]:
    """The files that `path` means, sorted. What exists under its literal name is that, brackets and all."""
    if "://" in path:
        return [path]
    if os.path.isdir(path):
        raise SourceError(
            f"{path} is a folder; expected a file. For all files in it make {os.path.join(path, '*.parquet')} of {key}."
        )
    files = local_files(path)
    if not files:
        wrong = "matches no file" if glob.has_magic(path) else "does not exist"
        raise SourceError(f"{path} {wrong}. Deliver the data, or fix {key}.")
    for file in files:
        if os.path.getsize(file) == 0:
            raise SourceError(f"{file} is empty (0 bytes). Deliver the file again, then run the month again.")
    return files


def local_files(path: str) -> list[str]:
    """What lies on this machine under the path, or under the pattern that it is; sorted."""
    return [path] if os.path.exists(path) else _glob(path)


def _stamps(files: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Time of the last change and size of each file that is there."""
    found = {file: os.stat(file) for file in files if os.path.exists(file)}
    return {file: (status.st_mtime_ns, status.st_size) for file, status in found.items()}


def _glob(path: str) -> list[str]:
    literally = path
    while not os.path.exists(literally):
        literally = os.path.dirname(literally)
    pattern = os.path.join(glob.escape(literally), os.path.relpath(path, literally))
    return sorted(file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file))


def _file_list(files: Iterable[str]) -> str:
    """The files as an SQL list. DuckDB takes a name for a pattern if it can; in a pattern it reads \\ as a folder."""
    return string_list(file if "\\" in file or "://" in file else glob.escape(file) for file in files)


def _unreadable(path: str, error: duckdb.Error) -> SourceError:
    return SourceError(f"{path} cannot be read: {reason(error)} Deliver the data again, then run the month again.")


def _other(connection: duckdb.DuckDBPyConnection, files: Sequence[str], path: str, key: str) -> Relation:
    """A single file of a kind that DuckDB knows by its ending, such as JSON."""
    endings = sorted({os.path.splitext(file)[1] or "no ending" for file in files})
    found = f"files with {' and '.join(endings)}" if len(files) > 1 else f"a file with {endings[0]}"
    try:
        if len(files) == 1 and endings != ["no ending"]:
            columns = describe(connection, literal(files[0]))
            return Relation(literal(files[0]), path, {name.lower(): kind for name, kind in columns})
    except (duckdb.CatalogException, duckdb.BinderException):
        pass  # no kind that DuckDB knows
    except duckdb.Error as error:
        raise _unreadable(path, error) from error
    raise SourceError(
        f"{path}: found {found}; expected .parquet or .csv, and one of them only. Rename or convert the data, or fix "
        f"{key}."
    )


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(connection: duckdb.DuckDBPyConnection, files: Sequence[str], path: str) -> Relation:
    # By name, and with types that hold the values of all files: otherwise the first file's types decide, and 2.7 in a
    # later file becomes 3 where the first one holds whole numbers.
    relation = f"read_parquet({_file_list(files)}, union_by_name = true)"
    try:
        columns = describe(connection, relation)
        found = connection.execute(
            # column 0 is the root of a file's schema
            f"SELECT file_name, lower(name) FROM parquet_schema({_file_list(files)}) WHERE column_id > 0"
        ).fetchall()
    except duckdb.Error as error:
        raise _unreadable(path, error) from error
    names: dict[str, set[str]] = {}
    for file, name in found:
        names.setdefault(file, set()).add(name)
    return Relation(relation, path, {name.lower(): kind for name, kind in columns}, _incomplete(names))


def _incomplete(names_by_file: Mapping[str, set[str]]) -> dict[str, str]:
    everywhere = set().union(*names_by_file.values())
    return {
        name: next(file for file, names in names_by_file.items() if name not in names)
        for name in sorted(everywhere)
        if any(name not in names for names in names_by_file.values())
    }


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], path: str, text_columns: Collection[str]
) -> Relation:
    header = _header(connection, files[0])
    options = {**CSV_OPTIONS, **_below(connection, files, header), "delim": literal(header.separator)}
    try:
        found = describe(connection, _read_csv(files, options | CSV_SNIFFING))
        names = {file: {name.lower() for name, _ in describe(connection, _read_csv([file], options))} for file in files}
    except duckdb.Error as error:
        raise _ragged(connection, files) or _unreadable(path, error) from error
    types = {name: "VARCHAR" if name.lower() in text_columns else kind for name, kind in found}
    # With the types said, reading does not look through all rows for them again.
    said = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    relation = _read_csv(files, {**options, "types": f"{{{said}}}"})
    return Relation(relation, path, {name.lower(): kind for name, kind in types.items()}, _incomplete(names))


def _below(connection: duckdb.DuckDBPyConnection, files: Sequence[str], header: Header) -> dict[str, str]:
    """Options for a header with lines above it, or of several lines, of which DuckDB makes nothing: rows begin below
    it. Of a glob, all files have to have the same."""
    if header.plain:
        return {}
    other = next((file for file in files if _header(connection, file) != header), None)
    if other is not None:
        raise SourceError(
            f"{files[0]} has a header with lines above it, or of several lines, and that of {other} is another. Take "
            "the lines above the headers out of the files, then run the month again."
        )
    names = string_list(re.sub(r"\s+", " ", name).strip() for name in header.names)
    return {"header": "false", **_skipping(header), "names": names, "union_by_name": "false"}


def _skipping(header: Header) -> dict[str, str]:
    """Options to begin below the header. Line breaks in its cells may be others than those between lines, which a
    strict reader takes for the end of the file."""
    return {"skip": str(header.lines), "strict_mode": str(header.one_line).lower()}


def _read_csv(files: Sequence[str], options: Mapping[str, str]) -> str:
    return f"read_csv({_file_list(files)}, {', '.join(f'{name} = {value}' for name, value in options.items())})"


def _header(connection: duckdb.DuckDBPyConnection, file: str) -> Header:
    """The header, of a compressed file as well."""
    whole_lines = {"header": "false", "auto_detect": "false", "columns": "{'line': 'VARCHAR'}", "delim": "chr(1)"}
    # a line break within a cell may be another one than those between lines, which a strict reader takes for broken
    relation = _read_csv([file], {**whole_lines, "quote": "''", "escape": "''", "strict_mode": "false"})
    try:
        found = connection.execute(f"SELECT line FROM {relation} LIMIT {LOOKED_AT}").fetchall()
    except duckdb.Error as error:
        raise _unreadable(file, error) from error
    return find_header([str(line or "") for (line,) in found])


def rows_as_text(file: str, header: Header, names: Sequence[str]) -> str:
    """The rows of a CSV below its header, all values as text, by position, as a relation. This needs no guess, and so
    DuckDB names the line of which it cannot make sense."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    delim = literal(header.separator)
    said = {"auto_detect": "false", "union_by_name": "false", "delim": delim, "columns": f"{{{columns}}}"}
    below = {} if header.plain else {"header": "false", **_skipping(header)}
    return _read_csv([file], CSV_OPTIONS | said | below)


def _ragged(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> SourceError | None:
    """The line that stops DuckDB from making sense of the files: when it has to guess, it does not say which."""
    with connection.cursor() as probe:  # the failure has aborted the transaction of `connection`
        for file in files:
            header = _header(probe, file)
            rows = rows_as_text(file, header, [f"c{number}" for number in range(len(header.names))])
            try:
                probe.execute(f"SELECT count(COLUMNS(*)) FROM {rows}")
            except duckdb.Error as error:
                return SourceError(f"{file} cannot be read: {reason(error)} Fix that line, then run the month again.")
    return None
