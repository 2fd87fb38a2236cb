"""From the bytes of a CSV that nobody has described to rows of text in DuckDB.

Here: encoding, header, separator, and names that can be used. Not here: what the texts of a column mean (columns.py).

Everything is read as text, and DuckDB does the parsing, in the way in which the monthly reader does (sources/files.py).
Decoding stays here: of what people export, DuckDB's reader knows UTF-8 only. Windows-1252 needs an extension from the
network, its Latin-1 refuses the bytes that Windows-1252 uses, and UTF-16 with the larger byte first becomes other
letters without a word.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from segment_pipeline.database.store import reason
from segment_pipeline.errors import InputError
from segment_pipeline.publishing.catalogue import RESERVED_NAMES
from segment_pipeline.sources.files import names_in, rows_as_text, separator_of

_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
    b"SQLite": "a SQLite database",
}


@dataclass(frozen=True)
class CsvText:
    """A file as text. names : of its columns, as they can be used. renamed : name in the file -> name here."""

    path: Path
    text: str
    encoding: str
    separator: str
    names: Sequence[str]
    renamed: Mapping[str, str]

    @property
    def plain(self) -> bool:
        """Whether the monthly reader takes the file as it is."""
        as_usual = self.separator == separator_of(_first_line(self.text))
        return self.encoding == "UTF-8" and not self.renamed and as_usual


def read_text(path: Path, separator: str | None) -> CsvText:
    """The file as text. separator : None where it is to be found out. Raises InputError."""
    text, encoding = _decoded(path, _bytes_of(path))
    header, separator = _header(path, text, separator)
    names, renamed = _usable(header)
    return CsvText(path, text, encoding, separator, names, renamed)


def load_rows(connection: duckdb.DuckDBPyConnection, file: CsvText) -> None:
    """Fill the temporary table `raw_rows` with all rows as text. Raises InputError where a line is not as the header
    has it."""
    # As UTF-8, under a name that DuckDB cannot take for a pattern.
    with tempfile.TemporaryDirectory(prefix="segment_pipeline_") as folder:
        draft = Path(folder) / "rows.csv"
        draft.write_text(file.text, encoding="utf-8", newline="")
        rows = rows_as_text(str(draft), file.separator, file.names)
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE raw_rows AS FROM {rows}")
        except duckdb.Error as error:
            found = reason(error).replace(str(draft), str(file.path))
            raise InputError(
                f"{file.path} cannot be read: {found} Fix that line, or name the separator with --sep, and try again."
            ) from error


def _bytes_of(path: Path) -> bytes:
    """What stands in the file. Raises InputError where that is nothing, or cannot be had."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a CSV file. Name the file.")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the name, or where you are: {Path.cwd()}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. See to its permissions, and try again.") from error
    if not content.strip():
        raise InputError(f"{path} is empty. Export the customers with a header and their rows, and try again.")
    return content


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    """The whole text of the file, and in which encoding it was written. Raises InputError where it is no text."""
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            raise InputError(
                f"{path} is {kind}; expected text. Save it as CSV (in Excel: Save As, CSV UTF-8), and try again."
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


def _first_line(text: str) -> str:
    return text.partition("\n" if "\n" in text else "\r")[0].rstrip("\r")


def _header(path: Path, text: str, separator: str | None) -> tuple[list[str], str]:
    """The names in the first line, and what stands between them."""
    line = _first_line(text)
    separator = separator or separator_of(line)
    names = names_in(line, separator)
    if len(names) < 2:
        raise InputError(
            f"{path} has one column, {shown(line[:60])}, as far as can be seen; expected an id and features "
            "beside it. "
            f"Where another character stands between the columns, name it: --sep ';'"
        )
    if sum(_looks_like_a_value(name) for name in names) > len(names) / 2:
        raise InputError(
            f"{path} has no header: its first line reads {shown(line[:80])}. Put the columns' names into the "
            "first line, "
            f"and try again."
        )
    return names, separator


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
