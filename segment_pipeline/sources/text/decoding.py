"""From the bytes of a file, whatever wrote it, to delimited text in UTF-8 that DuckDB reads.

Here: kind of file, encoding, packing, line ends, workbooks. Not here: where the header is (headers.py), and rows.

What is delimited text in UTF-8 already is read where it lies. Of anything else a draft is kept in a temporary folder
for as long as this process lives and the file is the same. DuckDB's own reader would need an extension from the network
for Windows-1252, its Latin-1 refuses the bytes that Windows-1252 uses, and UTF-16 with the larger byte first becomes
other letters without a word. Nothing here holds a file whole, except a workbook.
"""

import codecs
import csv
import gzip
import io
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import BinaryIO

from segment_pipeline.column_names import hints_of
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.text.headers import LOOKED_AT, find_header

CSV_FILE = re.compile(r"\.(csv|tsv|txt)(\.gz|\.zst)?$", re.IGNORECASE)
PARQUET_FILE = re.compile(r"\.(parquet|parq|pq)$", re.IGNORECASE)
JSON_FILE = re.compile(r"\.(json|jsonl|ndjson)(\.gz)?$", re.IGNORECASE)

_CHUNK = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ENCODINGS = (
    *(("cp1252", "Windows-1252"), ("cp1250", "Windows-1250"), ("cp1254", "Windows-1254"), ("cp1251", "Windows-1251")),
    *(("cp1253", "Windows-1253"), ("cp1255", "Windows-1255"), ("cp1256", "Windows-1256"), ("cp874", "Windows-874")),
    *(("cp932", "Shift-JIS"), ("gb18030", "GB 18030"), ("big5", "Big5"), ("cp949", "EUC-KR"), ("euc_jp", "EUC-JP")),
)
"""Codec, and what it is called: the first of those in which most names of columns mean something."""
_MONEY = re.compile(r"\d\s?(zł|kč|руб|грн|лв)", re.IGNORECASE)
_MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|meta|table|div|style|\?xml)\b", re.IGNORECASE)
_NO_TABLE = {b"%PDF": "a PDF", b"SQLite": "a SQLite database"}
_ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Text:
    """A file as delimited text in UTF-8. path : where that lies. written : its encoding, or its kind."""

    path: str
    written: str


@dataclass(frozen=True)
class _Survey:
    """What is in a file's bytes: whether they are UTF-8, damaged or not, and whether lines end in two ways."""

    utf8: bool
    damaged: bool
    mixed_ends: bool


def kind_of(file: str) -> str:
    """ "parquet", "json" or "text", which a workbook becomes: by its first bytes, and where these do not tell by its
    ending, as of an address. Raises SourceError where it cannot be opened."""
    begins = b"" if "://" in file else _first_bytes(file)
    if begins.startswith(b"PAR1") or PARQUET_FILE.search(file):
        return "parquet"
    return "json" if JSON_FILE.search(file) else "text"


def as_text(file: str) -> Text:
    """The file as delimited text in UTF-8. Raises SourceError where it is none."""
    if "://" in file:
        return Text(file, "UTF-8")
    status = os.stat(file)
    stamp = (status.st_mtime_ns, status.st_size)
    known = _drafts.get(file)
    if known is not None and known[0] == stamp:
        return known[1]
    if known is not None and known[1].path != file:
        Path(known[1].path).unlink(missing_ok=True)
    try:
        found = _decoded(file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{file} is a damaged gzip archive: {error}. Deliver it again.") from error
    except OSError as error:
        raise SourceError(
            f"{file} cannot be put as UTF-8 into {_folder().name}: {error.strerror}. See to its permissions and the "
            "space there, or name another folder with TMPDIR."
        ) from error
    _drafts[file] = (stamp, found)
    return found


_drafts: dict[str, tuple[tuple[int, int], Text]] = {}
"""File -> its stamp, and what was made of it."""

_numbers = count()


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where drafts lie; gone when the process ends."""
    return tempfile.TemporaryDirectory(prefix="segment_pipeline_")


def _draft() -> Path:
    return Path(_folder().name) / f"{next(_numbers)}.csv"


def _first_bytes(file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read(8)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}. See to its permissions.") from error


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """The bytes of the file, unpacked."""
    packed = _first_bytes(file).startswith(_GZIP)
    with gzip.open(file) if packed else open(file, "rb") as stream:
        yield stream  # type: ignore[misc]  # a gzip file has all of it that is used here


def _decoded(file: str) -> Text:
    with _opened(file) as stream:
        begins = stream.read(100_000)
    unmarked = _unmarked_utf16(begins)
    if unmarked is not None:
        return _rewritten(file, (unmarked, "UTF-16"))
    _refuse_no_text(file, begins)
    if begins.startswith(_WORKBOOKS):
        return _sheet(file)
    if begins.startswith(_UTF16):
        return _rewritten(file, ("utf-16", "UTF-16"))
    if begins.startswith(_ZSTD):
        return Text(file, "UTF-8")  # which DuckDB unpacks, and says where it is not
    survey = _survey(file)
    if survey.damaged:
        raise SourceError(
            f"{file} cannot be read: it is UTF-8 with bytes among it that are no letter there, so something has "
            "damaged it. Deliver it again."
        )
    if not survey.utf8:
        return _rewritten(file, _encoding_of(begins), ("latin-1", "Latin-1"))  # which knows every byte
    in_place = CSV_FILE.search(file) or not _first_bytes(file).startswith(_GZIP)
    return Text(file, "UTF-8") if in_place and not survey.mixed_ends else _rewritten(file, ("utf-8-sig", "UTF-8"))


def _unmarked_utf16(begins: bytes) -> str | None:
    """The codec of UTF-16 without its mark, of which every other byte of most letters is naught; None for others."""
    pairs = len(begins) // 2
    for codec, naughts in (("utf-16-le", begins[1::2]), ("utf-16-be", begins[::2])):
        others = begins.count(0) - naughts.count(0)
        if pairs > 10 and naughts.count(0) > 0.5 * pairs and others == 0:
            return codec
    return None


def _encoding_of(begins: bytes) -> tuple[str, str]:
    """The encoding of a text that is no UTF-8. Nearly all of them know nearly all bytes; but in the right one columns
    have names that are words for a customer, an order, a date, and numbers are złoty or roubles. begins : the first of
    the bytes."""
    lines = begins.splitlines()[:LOOKED_AT]
    means = {}
    for codec, called in _ENCODINGS:
        errors = "replace" if (codec, called) == _ENCODINGS[0] else "strict"  # the first has Latin-1 to fall back on
        with suppress(UnicodeDecodeError):
            read = [line.decode(codec, errors) for line in lines]
            words = sum(len(hints_of(name)) for name in find_header(read).names)
            means[codec, called] = words + any(map(_MONEY.search, read))
    return max(means, key=lambda one: means[one])


def _refuse_no_text(file: str, begins: bytes) -> None:
    for magic, kind in _NO_TABLE.items():
        if begins.startswith(magic):
            raise SourceError(f"{file} is {kind}; expected a table. Save it as CSV (in Excel: Save As, CSV UTF-8).")
    if _MARKUP.match(begins):
        raise SourceError(
            f"{file} is a page of HTML or XML, as some programs export it with the ending of a workbook; expected a "
            "table. Open it in a spreadsheet and save it as CSV or xlsx."
        )
    if not begins.strip():
        raise SourceError(f"{file} is empty. Export it with a header and its rows.")
    if b"\0" in begins and not begins.startswith((*_UTF16, *_WORKBOOKS, _ZSTD)):
        raise SourceError(f"{file} is a binary file; expected text. Save it as CSV (UTF-8).")


def _survey(file: str) -> _Survey:
    """One pass over the bytes. Text of another encoding hardly ever has a letter of several bytes as UTF-8 writes them:
    where there are more of these than of bytes that are none, the text was UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    wrong = several = feeds = both = 0
    last = b""
    with _opened(file) as stream:
        while chunk := stream.read(_CHUNK):
            text = decoder.decode(chunk)
            if not text.isascii():
                escaped = len(_ESCAPED.findall(text))
                wrong += escaped
                several += _letters(text) - escaped
            feeds += chunk.count(b"\n")
            both += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
            last = chunk[-1:]
    wrong += len(decoder.getstate()[0])  # a letter that the end of the file cuts off
    return _Survey(wrong == 0, 0 < wrong < several, 0 < both < feeds)


def _letters(text: str) -> int:
    """How many characters are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _rewritten(file: str, *encodings: tuple[str, str]) -> Text:
    """A draft in UTF-8 with one kind of line end, from the first of these encodings that knows all bytes. A file may
    end its lines in one way, and break those in a cell in another: DuckDB stops at the first."""
    draft = _draft()
    for codec, encoding in encodings:
        try:
            with _opened(file) as stream, draft.open("w", encoding="utf-8", newline="") as target:
                lines = io.TextIOWrapper(stream, encoding=codec, newline=None)
                while part := lines.read(_CHUNK):
                    target.write(part)
        except UnicodeDecodeError as error:
            unknown = error
            continue
        return Text(str(draft), encoding)
    raise SourceError(f"{file} begins like {encodings[0][1]} and is not. Save it as CSV (UTF-8).") from unknown


def _sheet(file: str) -> Text:
    """The sheets of a workbook of one header that have the most rows, below one another: one, or one a month."""
    from python_calamine import CalamineError, CalamineWorkbook  # only whoever has a workbook waits for it

    try:
        with _opened(file) as stream:
            book = CalamineWorkbook.from_filelike(io.BytesIO(stream.read()))
        sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except CalamineError as error:
        with _opened(file) as stream:
            if zipfile.is_zipfile(stream):
                raise SourceError(
                    f"{file} is an archive, and no workbook. Unpack it, and name the file in it."
                ) from error
        raise SourceError(f"{file} is no Excel workbook that can be read: {error}. Save it as CSV.") from error
    tables: dict[tuple[str, ...], list[str]] = {}
    for name, its in sheets.items():
        tables.setdefault(_header_of(its), []).append(name)
    header, read = max(tables.items(), key=lambda table: sum(len(sheets[name]) for name in table[1]), default=((), []))
    rows = [row for name in read for row in (_below(sheets[name], header) if name != read[0] else sheets[name])]
    if not rows:
        raise SourceError(f"{file} is a workbook without a row. Export it with a header and its rows.")
    others = " and ".join(repr(name) for name, its in sheets.items() if name not in read and len(its) > 1)
    draft = _draft()
    with draft.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    named = f"sheet{'s' * (len(read) > 1)} {' and '.join(map(repr, read))} of an Excel workbook"
    return Text(str(draft), f"{named}, without {others}" if others else named)


def _header_of(rows: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """What the columns of a sheet are called, in their order."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(rows[:LOOKED_AT])
    return tuple(find_header(lines.getvalue().splitlines(), ",").names)


def _below(rows: Sequence[Sequence[object]], header: Sequence[str]) -> Sequence[Sequence[object]]:
    """The rows of a sheet below its header."""
    above = (place for place, row in enumerate(rows) if tuple(str(_cell(value)) for value in row) == tuple(header))
    return rows[next(above, 0) + 1 :]


def _cell(value: object) -> object:
    """A cell as a file of text would have it: whole numbers without a point, days without a midnight."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(" ", "seconds")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value
