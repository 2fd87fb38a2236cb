"""From the bytes of files that nobody has described to rows of text in DuckDB.

Here: kind of file, encoding, header, separator, and names that can be used. Not here: what the texts of a column mean
(columns.py).

Everything becomes delimited text first, whatever it was, and is read in the way in which the monthly reader does
(sources/files.py). Decoding stays here: of what people export, DuckDB's reader knows UTF-8 only. Windows-1252 needs an
extension from the network, its Latin-1 refuses the bytes that Windows-1252 uses, and UTF-16 with the larger byte first
becomes other letters without a word.
"""

import csv
import glob
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb

from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import in_memory, reason
from segment_pipeline.errors import InputError
from segment_pipeline.publishing.catalogue import RESERVED_NAMES
from segment_pipeline.sources.files import CSV_FILE, PARQUET_FILE, rows_as_text
from segment_pipeline.sources.headers import LOOKED_AT, Header, find_header

_MAGIC = {
    b"%PDF": "a PDF",
    b"SQLite": "a SQLite database",
}
_TYPED = ("Parquet", "JSON")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True)
class CsvText:
    """A file as delimited text. written : its encoding, or its kind. names : of its columns, as they can be used.
    renamed : name in the file -> name here. readable : whether the monthly reader can read such a file."""

    path: Path
    text: str
    written: str
    header: Header
    names: Sequence[str]
    renamed: Mapping[str, str]
    readable: bool

    @property
    def typed(self) -> bool:
        """Whether the file itself says what is a number, a date or text, so that their texts do not."""
        return self.written in _TYPED

    @property
    def plain(self) -> bool:
        """Whether the monthly reader takes the file as it is, under these names and with this separator."""
        as_usual = self.header.separator == find_header(_first_lines(self.text)).separator
        return self.readable and not self.renamed and as_usual


def read_texts(path: Path, more: Sequence[Path], separator: str | None) -> list[CsvText]:
    """The file, or the files of a pattern, and more of them, each as text. separator : None where it is to be found
    out. Raises InputError, also where one has other columns than the first."""
    found = [read_text(one, separator) for given in (path, *more) for one in _files_of(given)]
    first = found[0]
    for other in found[1:]:
        if set(other.names) != set(first.names):
            differing = sorted(set(other.names) ^ set(first.names))
            raise InputError(
                f"{other.path} and {first.path} have not the same columns: only one has {shown(differing[0])}. Give "
                "files of the same columns, or one of them."
            )
    return found


def read_text(path: Path, separator: str | None) -> CsvText:
    """The file as text. separator : None where it is to be found out. Raises InputError."""
    content = _bytes_of(path)
    text, written, readable = _as_text(path, content)
    header = _header(path, text, separator)
    names, renamed = _usable(header.names)
    return CsvText(path, text, written, header, names, renamed, readable)


def load_rows(connection: duckdb.DuckDBPyConnection, files: Sequence[CsvText]) -> None:
    """Fill the temporary table `raw_rows` with all rows as text. Raises InputError where a line is not as the header
    has it."""
    for file in files:
        into = "CREATE OR REPLACE TEMP TABLE raw_rows AS" if file is files[0] else "INSERT INTO raw_rows BY NAME"
        # As UTF-8, under a name that DuckDB cannot take for a pattern.
        with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as folder:
            draft = Path(folder) / "rows.csv"
            draft.write_text(_with_plain_header(file), encoding="utf-8", newline="")
            rows = rows_as_text(str(draft), Header(file.names, file.header.separator), file.names)
            try:
                connection.execute(f"{into} FROM {rows}")
            except duckdb.Error as error:
                found = reason(error).replace(str(draft), str(file.path))
                counted = "" if file.header.plain else " (lines are counted from the header)"
                raise InputError(
                    f"{file.path} cannot be read: {found}{counted} Fix that line, or name the separator with --sep, "
                    "and try again."
                ) from error


def _with_plain_header(file: CsvText) -> str:
    """The text with its header in the first line, and nothing else there. A file may end its lines in one way, and
    break those in a cell in another: DuckDB stops at the first."""
    text = file.text
    if "\r\n" in text and re.search(r"(?<!\r)\n", text) is not None:
        text = text.replace("\r\n", "\n")
    if file.header.plain:
        return text
    end = "\n" if "\n" in text else "\r"
    header = file.header.separator * (len(file.names) - 1) + ("\r\n" if "\r\n" in text else end)
    return header + text.split(end, file.header.lines)[-1]


def _files_of(path: Path) -> list[Path]:
    """The file under this very name, or those that a pattern stands for."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file())
    if not found:
        raise InputError(f"{path} matches no file. Check the pattern, or where you are: {Path.cwd()}")
    return found


def _bytes_of(path: Path) -> bytes:
    """What stands in the file, unpacked. Raises InputError where that is nothing, or cannot be had."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file. Name the file, or all in it: '{path / '*.csv'}'")
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the name, or where you are: {Path.cwd()}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip archive: {error}. Deliver it again, and try again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. See to its permissions, and try again.") from error
    if not content.strip():
        raise InputError(f"{path} is empty. Export the customers with a header and their rows, and try again.")
    return content


def _as_text(path: Path, content: bytes) -> tuple[str, str, bool]:
    """The file as delimited text, how it was written, and whether the monthly reader can read it."""
    if content.startswith(_WORKBOOKS):
        return *_sheet(path, content), False
    if content.startswith(b"PAR1"):
        return _by_duckdb(path, content, "read_parquet"), "Parquet", PARQUET_FILE.search(path.name) is not None
    if re.search(r"\.(json|jsonl|ndjson)(\.gz)?$", path.name, re.IGNORECASE):
        return _by_duckdb(path, content, "read_json"), "JSON", not path.name.lower().endswith(".gz")
    text, encoding = _decoded(path, content)
    return text, encoding, encoding == "UTF-8" and CSV_FILE.search(path.name) is not None


def _by_duckdb(path: Path, content: bytes, reader: str) -> str:
    """What DuckDB reads, as delimited text. Raises InputError where it cannot."""
    with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as folder, in_memory() as connection:
        draft, text = Path(folder) / "rows", Path(folder) / "rows.csv"
        draft.write_bytes(content)
        try:
            connection.execute(f"COPY (FROM {reader}({literal(str(draft))})) TO {literal(str(text))} (HEADER)")
        except duckdb.Error as error:
            raise InputError(f"{path} cannot be read: {reason(error)} Deliver it again.") from error
        return text.read_text(encoding="utf-8")


def _sheet(path: Path, content: bytes) -> tuple[str, str]:
    """The sheet of a workbook with the most rows, as delimited text."""
    from python_calamine import CalamineError, CalamineWorkbook  # only whoever has a workbook waits for it

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except CalamineError as error:
        raise InputError(
            f"{path} is no Excel workbook that can be read: {error}. Save it as CSV, and try again."
        ) from error
    name, rows = max(sheets.items(), key=lambda sheet: len(sheet[1]), default=("", []))
    if not rows:
        raise InputError(f"{path} is a workbook without a row. Export the customers with a header and their rows.")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue(), f"sheet {shown(name)} of an Excel workbook"


def _cell(value: object) -> object:
    """A cell as a file of text would have it: whole numbers without a point, days without a midnight."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(" ", "seconds")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    """The whole text of the file, and in which encoding it was written. Raises InputError where it is no text."""
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            raise InputError(
                f"{path} is {kind}; expected a table. Save it as CSV (in Excel: Save As, CSV UTF-8), and try again."
            )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16"), "UTF-16"
        except UnicodeDecodeError as error:
            raise InputError(f"{path} begins like UTF-16 and is not. Save it as CSV (UTF-8), and try again.") from error
    if b"\0" in content[:100_000]:
        raise InputError(f"{path} is a binary file; expected text. Save it as CSV (UTF-8), and try again.")
    # not all bytes are letters in Windows-1252
    for codec, encoding in (("utf-8-sig", "UTF-8"), ("cp1252", "Windows-1252")):
        with suppress(UnicodeDecodeError):
            return content.decode(codec), encoding
    return content.decode("latin-1"), "Latin-1"  # which knows every byte


def _first_lines(text: str) -> list[str]:
    """The lines among which the header is, as the monthly reader sees them."""
    begins = text[:1_000_000]
    ends = "\n" if "\n" in begins else "\r"
    return [line.rstrip("\r") for line in begins.split(ends, LOOKED_AT)[:LOOKED_AT]]


def _header(path: Path, text: str, separator: str | None) -> Header:
    """The names of the columns, where they stand, and what stands between them."""
    lines = _first_lines(text)
    header = find_header(lines, separator)
    if len(header.names) < 2:
        raise InputError(
            f"{path} has one column, {shown(lines[0][:60])}, as far as can be seen; expected an id and features "
            "beside it. "
            f"Where another character stands between the columns, name it: --sep ';'"
        )
    if sum(_looks_like_a_value(name) for name in header.names) > len(header.names) / 2:
        raise InputError(
            f"{path} has no header: its first line reads {shown(lines[0][:80])}. Put the columns' names into the "
            "first line, "
            f"and try again."
        )
    return header


def _looks_like_a_value(name: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.,:/ -]+", name.strip()) is not None


def _usable(header: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The header's names as they can be used, and those that had to be changed."""
    names: list[str] = []
    renamed: dict[str, str] = {}
    taken: set[str] = set()
    for place, given in enumerate(header, 1):
        name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", given).strip()[:100] or f"column_{place}"
        if name.casefold() in RESERVED_NAMES - {"customer_id"}:
            name = f"{name}_in_file"
        stem, number = name, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        if name != given.strip():
            renamed[f"{given} (column {place})" if given in renamed else given] = name
        names.append(name)
    return names, renamed


def shown(text: str) -> str:
    """A name or value for people, in quotation marks where it is more than a word."""
    return text if re.fullmatch(r"[\w.]+", text) else repr(text)
