"""From the bytes of a file, whatever wrote it, to delimited text in UTF-8 that DuckDB reads.

Here: kind of file, encoding, packing, line ends, workbooks. Not here: where the header is (headers.py), and rows.

What is delimited text in UTF-8 already is read where it lies. Of anything else a draft is kept in a temporary folder
for as long as this process lives and the file is the same. DuckDB's own reader would need an extension from the network
for Windows-1252, its Latin-1 refuses the bytes that Windows-1252 uses, and UTF-16 with the larger byte first becomes
other letters without a word. Nothing here holds a file whole, except a workbook.
"""

import codecs
import gzip
import io
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import BinaryIO

from segment_pipeline.column_names import hints_of
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.text import sheets
from segment_pipeline.sources.text.headers import LOOKED_AT, Header, find_header
from segment_pipeline.sources.text.layout import layout_of

CSV_FILE = re.compile(r"\.(csv|tsv|txt)(\.gz|\.zst)?$", re.IGNORECASE)
PARQUET_FILE = re.compile(r"\.(parquet|parq|pq)$", re.IGNORECASE)
JSON_FILE = re.compile(r"\.(json|jsonl|ndjson)(\.gz)?$", re.IGNORECASE)

_CHUNK = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF16, _UTF32 = (b"\xff\xfe", b"\xfe\xff"), (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
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
_OBJECTS = re.compile(rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*\{)')
_CONTROLS = bytes([*range(2, 9), *range(14, 26)])
"""Bytes that no text has; a line break, an end of file and what separates fields in some systems are none of them."""
_NOTHING = "\0\x1a"
"""Characters that programs leave in a text or behind it, and mean nothing by."""
_BY_LINES = "by lines"


@dataclass(frozen=True)
class Text:
    """A file as delimited text in UTF-8. path : where that lies. written : its encoding, or its kind. below : remarks
    below its table, which are left out."""

    path: str
    written: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Survey:
    """What is in a file's bytes: whether they are UTF-8, damaged or not, and whether lines end in two ways. several :
    whether there are letters of UTF-8 beside bytes that are none. nothing : whether some mean nothing."""

    utf8: bool
    damaged: bool
    mixed_ends: bool
    several: bool = False
    nothing: bool = False


def kind_of(file: str) -> str:
    """ "parquet", "json" or "text", which a workbook becomes: by its first bytes, whatever its name, and by that where
    these do not tell, as of an address. Raises SourceError where it cannot be opened."""
    if "://" in file:
        return "parquet" if PARQUET_FILE.search(file) else "json" if JSON_FILE.search(file) else "text"
    begins = _unpacked_begins(file)
    if begins.startswith(b"PAR1") or (PARQUET_FILE.search(file) and _is_binary(begins)):
        return "parquet"
    return "json" if _OBJECTS.match(begins) and not _packed_under_another_name(file) else "text"


def _unpacked_begins(file: str) -> bytes:
    try:
        with _opened(file) as stream:
            return stream.read(4096)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""


def _packed_under_another_name(file: str) -> bool:
    return _first_bytes(file).startswith(_GZIP) and not file.lower().endswith(".gz")


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
        found = _laid_out(_decoded(file))
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
    if begins.startswith(_UTF32):
        return _rewritten(file, ("utf-32", "UTF-32"))
    unmarked = _unmarked_utf16(begins)
    if unmarked is not None:
        return _rewritten(file, (unmarked, "UTF-16"))
    if _MARKUP.match(begins):
        return _page(file)
    _refuse_no_text(file, begins)
    if begins.startswith(_WORKBOOKS):
        return _archive(file) or _workbook(file)
    if begins.startswith(_UTF16):
        return _rewritten(file, ("utf-16", "UTF-16"))
    if begins.startswith(_ZSTD):
        return Text(file, "UTF-8")  # which DuckDB unpacks, and says where it is not
    survey = _survey(file)
    if survey.several and (other := _other_encoding_of_lines(file)) is not None:
        return _rewritten(file, (f"{_BY_LINES} {other[0]}", f"UTF-8, and some lines {other[1]}"))
    if survey.damaged:
        raise SourceError(
            f"{file} cannot be read: it is UTF-8 with bytes among it that are no letter there, so something has "
            "damaged it. Deliver it again."
        )
    if not survey.utf8:
        return _rewritten(file, _encoding_of(begins.splitlines()), ("latin-1", "Latin-1"))  # which knows every byte
    in_place = CSV_FILE.search(file) or not _first_bytes(file).startswith(_GZIP)
    if in_place and not (survey.mixed_ends or survey.nothing or _packed_under_another_name(file)):
        return Text(file, "UTF-8")
    return _rewritten(file, ("utf-8-sig", "UTF-8"))


def _laid_out(text: Text) -> Text:
    """The same, delimited where it was laid out for people."""
    if _first_bytes(text.path).startswith((_GZIP, _ZSTD)):
        return text
    layout = layout_of(text.path)
    if layout is None:
        return text
    draft = _draft()
    _put(draft, layout.lines)
    return Text(str(draft), f"{text.written}, {layout.said}" if layout.said else text.written, layout.below)


def _unmarked_utf16(begins: bytes) -> str | None:
    """The codec of UTF-16 without its mark, of which every other byte of most letters is naught; None for others."""
    pairs = len(begins) // 2
    for codec, naughts in (("utf-16-le", begins[1::2]), ("utf-16-be", begins[::2])):
        others = begins.count(0) - naughts.count(0)
        if pairs > 10 and naughts.count(0) > 0.5 * pairs and others == 0:
            return codec
    return None


def _encoding_of(lines: Sequence[bytes]) -> tuple[str, str]:
    """The encoding of a text that is no UTF-8. Nearly all of them know nearly all bytes; but in the right one columns
    have names that are words for a customer, an order, a date, and numbers are złoty or roubles. lines : its first."""
    lines = lines[:LOOKED_AT]
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
    if not begins.strip():
        raise SourceError(f"{file} is empty. Export it with a header and its rows.")
    if _is_binary(begins) and not begins.startswith((*_UTF16, *_WORKBOOKS, _ZSTD)):
        raise SourceError(f"{file} is a binary file; expected text. Save it as CSV (UTF-8).")


def _is_binary(begins: bytes) -> bool:
    """Whether bytes are no text, in which hardly one is a control character; a text in UTF-8 may have naughts."""
    if 0 in begins:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(begins)
        except UnicodeDecodeError:
            return True
    controls = len(begins) - len(begins.translate(None, _CONTROLS))
    return controls > 0.01 * len(begins) or begins.count(0) > 0.2 * len(begins)


def _survey(file: str) -> _Survey:
    """One pass over the bytes. Text of another encoding hardly ever has a letter of several bytes as UTF-8 writes them:
    where there are more of these than of bytes that are none, the text was UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    wrong = several = feeds = both = nothing = 0
    last = b""
    with _opened(file) as stream:
        while chunk := stream.read(_CHUNK):
            text = decoder.decode(chunk)
            if not text.isascii():
                escaped = len(_ESCAPED.findall(text))
                wrong += escaped
                several += _letters(text) - escaped
            nothing += chunk.count(b"\0") + chunk.count(b"\x1a")
            feeds += chunk.count(b"\n")
            both += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
            last = chunk[-1:]
    wrong += len(decoder.getstate()[0])  # a letter that the end of the file cuts off
    beside = wrong > 0 and several > 0.01 * wrong
    return _Survey(wrong == 0, 0 < wrong < several, 0 < both < feeds, beside, nothing > 0)


def _other_encoding_of_lines(file: str) -> tuple[str, str] | None:
    """The encoding of those lines that are no UTF-8, where others are: two systems have written into one file. None
    where letters of UTF-8 and bytes that are none lie in the same lines, or these are what a cut off letter leaves."""
    leads: set[int] = set()
    wrong = beside = cut = 0
    others: list[bytes] = []
    with _opened(file) as stream:
        begins = stream.readline()
        for line in stream:
            if line.isascii():
                continue
            text = line.decode("utf-8", "surrogateescape")
            escaped = [ord(one) - 0xDC00 for one in _ESCAPED.findall(text)]
            if not escaped:
                leads.update(byte for byte in line if byte >= 0xC2)
            else:
                wrong += len(escaped)
                beside += _letters(text) - len(escaped)
                cut += sum(byte in leads for byte in escaped)
                others += [line] if len(others) < LOOKED_AT else []
    if not leads or beside > 0.1 * wrong or cut > 0.1 * wrong:
        return None
    return _encoding_of([begins, *others])


class _ByLines(codecs.IncrementalDecoder):
    """Each line by UTF-8 where it is that, and else by another encoding."""

    def __init__(self, other: str) -> None:
        super().__init__()
        self._other, self._rest = other, b""

    def decode(self, given: object, final: bool = False) -> str:
        whole = self._rest + bytes(given)  # type: ignore[call-overload]
        ends = len(whole) if final else whole.rfind(b"\n") + 1
        self._rest = whole[ends:]
        return "".join(map(self._line, whole[:ends].splitlines(keepends=True)))

    def _line(self, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return line.decode(self._other, "replace")


def _letters(text: str) -> int:
    """How many characters are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _rewritten(file: str, *encodings: tuple[str, str]) -> Text:
    """A draft in UTF-8 with one kind of line end, from the first of these encodings that knows all bytes. A file may
    end its lines in one way, and break those in a cell in another: DuckDB stops at the first."""
    draft = _draft()
    for codec, encoding in encodings:
        try:
            with _opened(file) as stream:
                _put(draft, _decoded_parts(stream, codec))
        except UnicodeDecodeError as error:
            unknown = error
            continue
        return Text(str(draft), encoding)
    raise SourceError(f"{file} begins like {encodings[0][1]} and is not. Save it as CSV (UTF-8).") from unknown


def _decoded_parts(stream: BinaryIO, codec: str) -> Iterator[str]:
    by_lines = codec.removeprefix(f"{_BY_LINES} ")
    decoder = _ByLines(by_lines) if by_lines != codec else codecs.getincrementaldecoder(codec)()
    ends = io.IncrementalNewlineDecoder(decoder, translate=True)
    while chunk := stream.read(_CHUNK):
        yield ends.decode(chunk)
    yield ends.decode(b"", final=True)


def _put(draft: Path, parts: Iterable[str]) -> None:
    with draft.open("w", encoding="utf-8", newline="") as target:
        for part in parts:
            for one in _NOTHING:
                part = part.replace(one, "")
            target.write(part)


# --- tables within ----------------------------------------------------------------------------------------------------


def _workbook(file: str) -> Text:
    with _opened(file) as stream:
        return _sheets(sheets.workbook(stream, file))


def _page(file: str) -> Text:
    with _opened(file) as stream:
        content = stream.read()
    with suppress(UnicodeDecodeError):
        return _sheets(sheets.page(content.decode("utf-8-sig"), file))
    return _sheets(sheets.page(content.decode("cp1252", "replace"), file))


def _sheets(found: sheets.Sheets) -> Text:
    draft = _draft()
    _put(draft, sheets.as_delimited(found.rows))
    return Text(str(draft), found.said)


def _archive(file: str) -> Text | None:
    """The files of an archive, of one header, below one another; None where it is a workbook, or no archive at all.
    Raises SourceError where they are no texts, or of several headers."""
    with _opened(file) as stream:
        if not zipfile.is_zipfile(stream):
            return None
        with zipfile.ZipFile(stream) as archive:
            if any(re.search(r"(^|/)(workbook\.(xml|bin)|content\.xml)$", name) for name in archive.namelist()):
                return None
            folder = Path(tempfile.mkdtemp(dir=_folder().name))
            members = [_extracted(archive, one, folder) for one in archive.infolist() if _is_delivered(one)]
    return _below_one_another(file, members)


def _is_delivered(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a file that somebody put there, and not one of a system beside it."""
    return not (member.is_dir() or member.filename.startswith("__MACOSX/") or Path(member.filename).name[0] == ".")


def _extracted(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    into = folder / f"{next(_numbers)}_{Path(member.filename).name}"
    with archive.open(member) as source, into.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
    return into


def _below_one_another(file: str, members: Sequence[Path]) -> Text:
    texts = {}
    for path in members:
        with suppress(SourceError):  # which would name a file that nobody knows
            if kind_of(str(path)) == "text":
                texts[path] = as_text(str(path))
    headers = {path: _header_of(text.path) for path, text in texts.items()}
    names = {tuple(header.names) for header in headers.values()}
    if len(texts) < len(members) or len(names) != 1:
        named = ", ".join(repr(path.name.partition("_")[2]) for path in members[:3])
        raise SourceError(
            f"{file} is an archive{f' of {named}, which are no tables of one header' if named else ' without a file'}. "
            "Unpack it, and name the file in it."
        )
    (first, text), *others = texts.items()
    if not others:
        return Text(text.path, f"{text.written}, in an archive")
    draft = _draft()
    with draft.open("wb") as target:
        for path, one in texts.items():
            with _opened(one.path) as source:
                for _ in range(0 if path == first else headers[path].lines):
                    source.readline()
                last = b""
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    last = chunk[-1:]
                target.write(b"\n" if last not in (b"", b"\n") else b"")
    return Text(str(draft), f"{text.written}, {len(texts)} files in an archive")


def _header_of(path: str) -> Header:
    with _opened(path) as stream:
        lines = [stream.readline().decode("utf-8", "replace").rstrip("\r\n") for _ in range(LOOKED_AT)]
    return find_header(lines)
