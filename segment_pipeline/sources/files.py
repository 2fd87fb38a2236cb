"""From a path, or a table of the engine's catalogue, to something that SQL can select from, the same for a first look
and for every month.

What belongs here: which files a path means, how they are read, and how DuckDB's complaints are put. What does not: how
bytes become text (text/), and what is made of the rows (`sources`).

A reader that guesses must not guess differently once more rows have arrived, and must not leave rows out. So the
guesses of DuckDB's CSV reader that can do either are switched off, and files of one glob are read by column name, under
types that hold the values of all of them; or, where the user's file makes numbers and dates of texts itself, as text,
with no guess at all.
"""

import difflib
import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import duckdb
from duckdb.sqltypes import DuckDBPyType

from segment_pipeline.database.engines.spark import OF_THE_CATALOGUE, EngineError, RefusedError
from segment_pipeline.database.quoting import as_named, identifier, literal, string_list
from segment_pipeline.database.store import reason
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.text.decoding import Text, as_text, kind_of
from segment_pipeline.sources.text.headers import LOOKED_AT, Header, find_header, usable_names

if TYPE_CHECKING:
    from segment_pipeline.database.engines.routing import SparkConnection

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
    other ones. `drafts` are the files that are read instead of those that DuckDB cannot read, by these.
    """

    sql: str
    path: str
    columns: Mapping[str, str]
    incomplete: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    drafts: Mapping[str, str] = field(default_factory=dict)

    def refuse_changed(self) -> None:
        """Raises SourceError if a file is not what it was when it was opened: its rows were then read from both."""
        for file, stamp in self.stamps.items():
            if _stamps([file]) != {file: stamp}:
                raise SourceError(
                    f"{file} was changed while it was read. Wait until it is delivered whole, then run the month again."
                )

    def complaint(self, error: duckdb.Error) -> str:
        """What DuckDB complains of, with the user's files and not with drafts of them."""
        return _complaint(error, self.drafts)

    @property
    def column_list(self) -> str:
        """The columns in words, for errors; a wide file's are cut short."""
        names = list(self.columns)
        more = f" and {len(names) - SHOWN_COLUMNS} more" if len(names) > SHOWN_COLUMNS else ""
        return ", ".join(names[:SHOWN_COLUMNS]) + more


@dataclass(frozen=True)
class Form:
    """How the files of a source are to be read, as the user's file says.

    as_text : every column is text, as it is written. separator : what stands between columns; None where it is to be
    found out. once : of rows that are the same in every column, only one.
    """

    as_text: bool = False
    separator: str | None = None
    once: bool = False


_PRICED_ROWS = 2000
"""Objects of a file by which it is judged where their money lies."""

GUESSED = Form()


@dataclass(frozen=True)
class TextRows:
    """The rows of a file with every value as it is written there.

    sql : a relation of one column for each of `names`, all text. written : the encoding, or the kind of file. header :
    as found in delimited text, None of other files. renamed : name in the file -> name here. draft : what is read
    instead of the file, if not itself. below : remarks below the table, which are not read.
    """

    file: str
    sql: str
    written: str
    names: Sequence[str]
    renamed: Mapping[str, str]
    header: Header | None = None
    draft: str | None = None
    below: Sequence[str] = ()


def open_files(
    connection: duckdb.DuckDBPyConnection,
    path: str | Sequence[str],
    text_columns: Collection[str] = (),
    key: str = "the path under `source` in the configuration",
    form: Form = GUESSED,
) -> Relation:
    """The file, or the files of a glob or of several, as a relation with at least one row. Raises SourceError.

    path : absolute, or a URL that DuckDB can open.
    text_columns : columns, in lower case, that a CSV's reader takes as they stand, such as ids: 007 is not 7.
    key : what errors say is to be fixed where the path is wrong.
    """
    paths = [path] if isinstance(path, str) else list(path)
    files = [file for one in paths for file in _matching_files(one, key)]
    path = ", ".join(paths)
    stamps = _stamps(files)
    asked = (path, frozenset(text_columns), form)
    known = _opened.get(asked)
    if known is not None and known.stamps == stamps and all(map(os.path.exists, known.drafts)):
        return known
    relation = replace(_open(connection, files, path, text_columns, key, form), stamps=stamps)
    if len(stamps) == len(files):  # of what is not on this machine, nobody knows whether it has changed
        _opened[asked] = relation
    return relation


_opened: dict[tuple[str, frozenset[str], Form], Relation] = {}
"""What was asked for, and how it was opened last: to look into the files takes longer than into their stamps."""


def _open(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    path: str,
    text_columns: Collection[str],
    key: str,
    form: Form,
) -> Relation:
    kind = _kind_of_all(files, path, key)
    if form.as_text:
        relation = _texts(connection, files, path, form.separator)
    elif kind == "parquet":
        relation = _parquet(connection, files, path)
    elif kind == "json":
        relation = _json(connection, files, path)
    else:
        relation = _csv(connection, files, path, text_columns, form.separator)
    if form.once:
        relation = replace(relation, sql=f"(SELECT DISTINCT * FROM {relation.sql})")
    try:
        found = connection.execute(f"SELECT 1 FROM {relation.sql} LIMIT 1").fetchone()
    except duckdb.Error as error:
        raise _unreadable(path, error, relation.drafts) from error
    if found is None:
        raise SourceError(f"{path} holds no rows. Deliver the data, then run the month again.")
    return relation


def open_table(connection: duckdb.DuckDBPyConnection, table: str, section: str, *, once: bool = False) -> Relation:
    """A table of the catalogue as a relation with at least one row. section : the key that names it.

    once : of rows that are the same in every column, only one. Raises SourceError, and EngineError where the server
    cannot be reached.
    """
    sql = identifier(OF_THE_CATALOGUE + table)
    try:
        found = describe(connection, sql)
        filled = connection.execute(f"SELECT 1 AS one FROM {sql} LIMIT 1").fetchone()
    except RefusedError as error:
        raise SourceError(
            f"{table} cannot be read: {_nearest(connection, table)}Fix {section}.table. {error}"
        ) from error
    if filled is None:
        raise SourceError(f"{table} holds no rows. Deliver the data, then run the month again.")
    # a map is no value that rows are told apart by
    columns = {as_named(name): kind for name, kind in found if not kind.startswith("MAP")}
    if once:
        sql = f"(SELECT DISTINCT {', '.join(map(identifier, columns))} FROM {sql})"
    return Relation(sql, table, columns)


def _nearest(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """The table that may have been meant, or what there is."""
    try:
        beside = cast("SparkConnection", connection).tables_beside(table)
    except EngineError:
        return ""
    nearest = difflib.get_close_matches(table, beside, 1)
    if nearest:
        return f"did you mean {nearest[0]}? "
    return f"found beside it {', '.join(beside[:SHOWN_COLUMNS])}. " if beside else ""


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


def _unreadable(path: str, error: duckdb.Error, drafts: Mapping[str, str] | None = None) -> SourceError:
    said = _complaint(error, drafts or {})
    return SourceError(f"{path} cannot be read: {said} Deliver the data again, then run the month again.")


def _complaint(error: duckdb.Error, drafts: Mapping[str, str]) -> str:
    said = reason(error)
    for draft, file in drafts.items():
        said = said.replace(draft, file)
    return said


def _kind_of_all(files: Sequence[str], path: str, key: str) -> str:
    """What kind of files they are. Raises SourceError where they are of several."""
    kinds = {kind_of(file) for file in files}
    if len(kinds) > 1:
        endings = sorted({os.path.splitext(file)[1] or "no ending" for file in files})
        raise SourceError(
            f"{path}: found files with {' and '.join(endings)}; expected one kind of file only. Rename or convert the "
            f"data, or fix {key}."
        )
    return kinds.pop()


def _json(connection: duckdb.DuckDBPyConnection, files: Sequence[str], path: str) -> Relation:
    relation = f"read_json({_file_list(files)}, union_by_name = true, sample_size = -1)"
    try:
        return Relation(relation, path, {as_named(name): kind for name, kind in describe(connection, relation)})
    except duckdb.Error as error:
        raise _unreadable(path, error) from error


# --- as text ----------------------------------------------------------------------------------------------------------


def rows_as_text(
    connection: duckdb.DuckDBPyConnection, files: Iterable[str], separator: str | None = None
) -> list[TextRows]:
    """The rows of each file with every value as it is written there. Raises SourceError."""
    readers = {"parquet": _typed_as_text, "json": _json_as_text}
    return [
        readers[kind](connection, file)
        if (kind := kind_of(file)) in readers
        else _delimited_as_text(connection, file, separator)
        for file in files
    ]


def union_of(rows: Sequence[TextRows]) -> str:
    """The rows of all files as a relation, columns by name."""
    return f"({' UNION ALL BY NAME '.join(f'FROM {one.sql}' for one in rows)})"


def _texts(connection: duckdb.DuckDBPyConnection, files: Sequence[str], path: str, separator: str | None) -> Relation:
    rows = rows_as_text(connection, files, separator)
    names = {one.file: {as_named(name) for name in one.names} for one in rows}
    columns = dict.fromkeys((as_named(name) for one in rows for name in one.names), "VARCHAR")
    drafts = {one.draft: one.file for one in rows if one.draft is not None}
    return Relation(union_of(rows), path, columns, _incomplete(names), drafts=drafts)


def _delimited_as_text(connection: duckdb.DuckDBPyConnection, file: str, separator: str | None) -> TextRows:
    text = as_text(file)
    header = _header(connection, text.path, separator)
    names, renamed = usable_names(header.names)
    draft = text.path if text.path != file else None
    return TextRows(file, _delimited(text.path, header, names), text.written, names, renamed, header, draft, text.below)


def _typed_as_text(connection: duckdb.DuckDBPyConnection, file: str) -> TextRows:
    """What lies within an object is a column, as of JSON."""
    relation = f"read_parquet({_file_list([file])})"
    try:
        found = connection.sql(f"FROM {relation}")
    except duckdb.Error as error:
        raise _unreadable(file, error) from error
    leaves = [leaf for name, kind in zip(found.columns, found.types, strict=True) for leaf in _leaves((name,), kind)]
    if all(len(path) == 1 for path in leaves):
        return _named(connection, file, relation, "Parquet")
    values = ", ".join(f"{'.'.join(map(identifier, path))} AS {identifier('.'.join(path))}" for path in leaves)
    return _named(connection, file, f"(SELECT {values} FROM {relation})", "Parquet, objects as columns")


def _json_as_text(connection: duckdb.DuckDBPyConnection, file: str) -> TextRows:
    """Which of its values are dates or numbers is not guessed, for that depends on all of them. What lies within an
    object is a column, user.id; a list stays a text, but for one of objects that alone tell of money, as the items of
    orders without a total: each of these is a row."""
    listed = _file_list([file])
    try:
        found = connection.sql(f"FROM read_json({listed}, sample_size = -1)")
        rows = found.limit(2).fetchall()
    except duckdb.Error as error:
        raise _unreadable(file, error) from error
    kinds = dict(zip(found.columns, found.types, strict=True))
    columns = ", ".join(f"{literal(name)}: 'JSON'" for name in kinds)
    objects = f"read_json({listed}, columns = {{{columns}}})"
    within = [name for name, kind in kinds.items() if _objects_of(kind) is not None] if len(rows) == 1 else []
    if len(within) == 1:  # {"orders": [{...}, {...}]}, as programs answer
        (name,) = within
        kinds = _objects_of(kinds[name]) or {}
        each = f"unnest(CAST({identifier(name)} AS JSON[])) AS each"
        taken = ", ".join(f"json_extract(each, {literal(_path((one,)))}) AS {identifier(one)}" for one in kinds)
        objects = f"(SELECT {taken} FROM (SELECT {each} FROM {objects}))"
    items = _items(connection, objects, kinds)
    if items is not None:
        return _named(connection, file, items[1], f"JSON, a row for each of {items[0]}")
    leaves = [leaf for name, kind in kinds.items() for leaf in _leaves((name,), kind)]
    return _named(connection, file, _texts_at(leaves, objects), "JSON")


def _items(
    connection: duckdb.DuckDBPyConnection, objects: str, kinds: Mapping[str, DuckDBPyType]
) -> tuple[str, str] | None:
    """The list of objects that alone tells of money, and the relation of which each of these is a row; None where there
    is no such list."""
    lists = {name: of for name, kind in kinds.items() if (of := _objects_of(kind)) is not None}
    others = [leaf for name, kind in kinds.items() if name not in lists for leaf in _leaves((name,), kind)]
    if not lists or _tells_of_money(connection, objects, others):
        return None
    for name, of in lists.items():
        items = identifier(name)
        rows = f"(SELECT * REPLACE (unnest(CAST({items} AS JSON[])) AS {items}) FROM {objects})"
        leaves = [(name, *leaf) for one, kind in of.items() for leaf in _leaves((one,), kind)]
        if _tells_of_money(connection, rows, leaves):
            return name, _texts_at([*others, *leaves], rows, name)
    return None


def _texts_at(leaves: Sequence[tuple[str, ...]], objects: str, items: str | None = None) -> str:
    """The texts at these paths, each as a column, of a relation of JSON. items : the list of which each is a row; its
    columns are called by their own names where nothing else is."""
    others = {as_named(".".join(path)) for path in leaves if path[0] != items}

    def called(path: tuple[str, ...]) -> str:
        own = ".".join(path[1:])
        return own if path[0] == items and as_named(own) not in others else ".".join(path)

    values = ", ".join(f"{_at(path)} AS {identifier(called(path))}" for path in leaves)
    return f"(SELECT {values} FROM {objects})"


def _tells_of_money(connection: duckdb.DuckDBPyConnection, objects: str, leaves: Sequence[tuple[str, ...]]) -> bool:
    """Whether what lies at one of these paths are numbers with decimals, in most of the first objects that have it."""
    if not leaves:
        return False
    priced = (f"avg(CAST(regexp_full_match({_at(path)}, '-?\\d+[.]\\d+') AS DOUBLE))" for path in leaves)
    found = connection.execute(f"SELECT {', '.join(priced)} FROM (FROM {objects} LIMIT {_PRICED_ROWS})").fetchone()
    return any((share or 0) > 0.5 for share in found or ())


def _objects_of(kind: DuckDBPyType) -> dict[str, DuckDBPyType] | None:
    """What lies in each of the objects of a list; None of anything else."""
    if kind.id != "list":
        return None
    ((_, each),) = cast("list[tuple[str, DuckDBPyType]]", kind.children)
    return dict(cast("list[tuple[str, DuckDBPyType]]", each.children)) if each.id == "struct" else None


def _leaves(path: tuple[str, ...], kind: DuckDBPyType) -> Iterator[tuple[str, ...]]:
    """The paths to what is no object, below this one."""
    if kind.id != "struct":
        yield path
        return
    for name, below in cast("list[tuple[str, DuckDBPyType]]", kind.children):
        yield from _leaves((*path, name), below)


def _at(path: Sequence[str]) -> str:
    """The text at a path into objects."""
    column, *names = path
    return f"json_extract_string({identifier(column)}, {literal(_path(names))})"


def _path(names: Iterable[str]) -> str:
    """Where a value lies within an object, as JSON paths say it."""
    return "$" + "".join(f'."{name}"' for name in names)


def _named(connection: duckdb.DuckDBPyConnection, file: str, relation: str, written: str) -> TextRows:
    try:
        given = [name for name, _ in describe(connection, relation)]
    except duckdb.Error as error:
        raise _unreadable(file, error) from error
    names, renamed = usable_names(given)
    chosen = ", ".join(
        f"CAST({identifier(old)} AS VARCHAR) AS {identifier(new)}" for old, new in zip(given, names, strict=True)
    )
    return TextRows(file, f"(SELECT {chosen} FROM {relation})", written, names, renamed)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(connection: duckdb.DuckDBPyConnection, files: Sequence[str], path: str) -> Relation:
    # By name, and with types that hold the values of all files: otherwise the first file's types decide, and 2.7 in a
    # later file becomes 3 where the first one holds whole numbers.
    relation = f"read_parquet({_file_list(files)}, union_by_name = true)"
    try:
        columns = describe(connection, relation)
        found = connection.execute(
            # column 0 is the root of a file's schema
            f"SELECT file_name, name FROM parquet_schema({_file_list(files)}) WHERE column_id > 0"
        ).fetchall()
    except duckdb.Error as error:
        raise _unreadable(path, error) from error
    names: dict[str, set[str]] = {}
    for file, name in found:
        names.setdefault(file, set()).add(as_named(name))
    return Relation(relation, path, {as_named(name): kind for name, kind in columns}, _incomplete(names))


def _incomplete(names_by_file: Mapping[str, set[str]]) -> dict[str, str]:
    everywhere = set().union(*names_by_file.values())
    return {
        name: next(file for file, names in names_by_file.items() if name not in names)
        for name in sorted(everywhere)
        if any(name not in names for names in names_by_file.values())
    }


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    path: str,
    text_columns: Collection[str],
    separator: str | None,
) -> Relation:
    texts = {file: as_text(file) for file in files}
    drafts = {text.path: file for file, text in texts.items() if text.path != file}
    read = [text.path for text in texts.values()]
    header = _header(connection, read[0], separator)
    below = _below(connection, texts, header, separator)
    options = {**CSV_OPTIONS, **_marks(header), **below, "delim": literal(header.separator)}
    try:
        found = describe(connection, _read_csv(read, options | CSV_SNIFFING))
        names = {
            file: {as_named(name) for name, _ in describe(connection, _read_csv([text.path], options))}
            for file, text in texts.items()
        }
    except duckdb.Error as error:
        raise _ragged(connection, texts, separator) or _unreadable(path, error, drafts) from error
    types = {name: "VARCHAR" if as_named(name) in text_columns else kind for name, kind in found}
    # With the types said, reading does not look through all rows for them again.
    said = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    relation = _read_csv(read, {**options, "types": f"{{{said}}}"})
    columns = {as_named(name): kind for name, kind in types.items()}
    return Relation(relation, path, columns, _incomplete(names), drafts=drafts)


def _below(
    connection: duckdb.DuckDBPyConnection, texts: Mapping[str, Text], header: Header, separator: str | None
) -> dict[str, str]:
    """Options for a header with lines above it, or of several lines, of which DuckDB makes nothing: rows begin below
    it. Of a glob, all files have to have the same."""
    if header.plain:
        return {}
    first, *others = texts
    other = next((file for file in others if _header(connection, texts[file].path, separator) != header), None)
    if other is not None:
        raise SourceError(
            f"{first} has a header with lines above it, or of several lines, and that of {other} is another. Take the "
            "lines above the headers out of the files, or write `as_text: true` beside the path, then run the month "
            "again."
        )
    names = string_list(re.sub(r"\s+", " ", name).strip() for name in header.names)
    return {"header": "false", **_skipping(header), "names": names, "union_by_name": "false"}


def _skipping(header: Header) -> dict[str, str]:
    """Options to begin below the header, which is one row to DuckDB, however many lines it has."""
    return {"skip": str(len(header.above) + 1 + header.ruled)}


def _marks(header: Header) -> dict[str, str]:
    """Options for what cells are in, and how it is written within them."""
    return {"quote": literal(header.quote), "escape": literal(header.escape)}


def _read_csv(files: Sequence[str], options: Mapping[str, str]) -> str:
    return f"read_csv({_file_list(files)}, {', '.join(f'{name} = {value}' for name, value in options.items())})"


def _header(connection: duckdb.DuckDBPyConnection, file: str, separator: str | None) -> Header:
    """The header, of a compressed file as well."""
    whole_lines = {"header": "false", "auto_detect": "false", "columns": "{'line': 'VARCHAR'}", "delim": "chr(2)"}
    # a line break within a cell may be another one than those between lines, which a strict reader takes for broken
    relation = _read_csv([file], {**whole_lines, "quote": "''", "escape": "''", "strict_mode": "false"})
    try:
        found = connection.execute(f"SELECT line FROM {relation} LIMIT {LOOKED_AT}").fetchall()
    except duckdb.Error as error:
        raise _unreadable(file, error) from error
    return find_header([str(line or "") for (line,) in found], separator)


def _delimited(file: str, header: Header, names: Sequence[str]) -> str:
    """The rows of delimited text below its header, all values as text, by position, as a relation. This needs no guess,
    and so DuckDB names the line of which it cannot make sense."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    delim = literal(header.separator)
    said = {"auto_detect": "false", "union_by_name": "false", "delim": delim, "columns": f"{{{columns}}}"}
    below = {} if header.plain else {"header": "false", **_skipping(header)}
    return _read_csv([file], CSV_OPTIONS | _marks(header) | said | below)


def _ragged(
    connection: duckdb.DuckDBPyConnection, texts: Mapping[str, Text], separator: str | None
) -> SourceError | None:
    """The line that stops DuckDB from making sense of the files: when it has to guess, it does not say which."""
    with connection.cursor() as probe:  # the failure has aborted the transaction of `connection`
        for file, text in texts.items():
            header = _header(probe, text.path, separator)
            rows = _delimited(text.path, header, [f"c{number}" for number in range(len(header.names))])
            try:
                probe.execute(f"SELECT count(COLUMNS(*)) FROM {rows}")
            except duckdb.Error as error:
                said = _complaint(error, {text.path: file})
                return SourceError(f"{file} cannot be read: {said} Fix that line, then run the month again.")
    return None
