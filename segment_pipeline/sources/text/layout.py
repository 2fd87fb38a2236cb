"""Text that is laid out for people to read, as delimited text: columns of fixed width, lines within quotation marks,
and remarks below the table.

Here: what a text in UTF-8 looks like from its first and last lines, and its lines as they should be. Not here: bytes
(decoding.py), and the header (headers.py).
"""

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from segment_pipeline.sources.text.headers import LOOKED_AT, RULE, Header, find_header

_TAIL = 1 << 16
_MOST_REMARKS = 20
"""Lines below a table that may be remarks on it."""


@dataclass(frozen=True)
class Layout:
    """The lines of a text as a table has them, with line ends. said : how it was laid out, "" for delimited text.
    below : remarks that are left out."""

    lines: Iterator[str]
    said: str = ""
    below: tuple[str, ...] = ()


def layout_of(path: str) -> Layout | None:
    """How a text that is not simply delimited is laid out; None where it is."""
    with open(path, encoding="utf-8", errors="replace", newline="") as stream:
        first = [line.rstrip("\r\n") for line in islice(stream, LOOKED_AT)]
    header = find_header(first)
    if len(header.names) == 1:
        return _quoted(path, first) or _fixed(path, first)
    remarks, end = _remarks(path, header)
    if not remarks:
        return None
    return Layout(
        _up_to(path, end), below=tuple(line.strip() for line in remarks if line.strip() and not RULE.fullmatch(line))
    )


def _quoted(path: str, first: Sequence[str]) -> Layout | None:
    """Lines each of which is one cell, with separators within."""
    inner = [_only_cell(line) for line in first if line]
    if any(line is None for line in inner) or len(find_header([str(line) for line in inner]).names) < 2:
        return None
    return Layout((f"{_only_cell(line) or ''}\n" for line in _lines(path)), "each line within quotation marks")


def _only_cell(line: str) -> str | None:
    """What a line is within its quotation marks; None where it is not wholly in one pair."""
    cells = next(csv.reader([line]), [])
    return cells[0] if len(cells) == 1 and line.startswith('"') and line.endswith('"') else None


# --- columns of fixed width -------------------------------------------------------------------------------------------


def _fixed(path: str, first: Sequence[str]) -> Layout | None:
    """Columns that begin at the same place in all lines, with blanks between."""
    shown = [line for line in first if line.strip() and not RULE.fullmatch(line)]
    places = _columns(shown)
    if len(shown) < 3 or len(places) < 2:
        return None
    width = places[-1][0]
    lines = (_cut(line, places) for line in _lines(path) if len(line.rstrip()) > width and not RULE.fullmatch(line))
    return Layout(lines, f"{len(places)} columns of fixed width")


def _columns(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Where columns begin and end: between blanks of all lines, and where the first, the header, has a name."""
    if not lines:
        return []
    widest = max(map(len, lines))
    full = [any(place < len(line) and not line[place].isspace() for line in lines) for place in range(widest)] + [False]
    starts = [place for place in range(widest) if full[place] and (place == 0 or not full[place - 1])]
    ends = [place for place in range(1, widest + 1) if not full[place] and full[place - 1]]
    found: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        if found and not lines[0][start:end].strip():
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _cut(line: str, places: Sequence[tuple[int, int]]) -> str:
    cells = io.StringIO()
    beyond = [*(end for _, end in places[:-1]), len(line)]
    begins = [0, *(start for start, _ in places[1:])]
    csv.writer(cells, lineterminator="\n").writerow(
        line[begin:end].strip() for begin, end in zip(begins, beyond, strict=True)
    )
    return cells.getvalue()


# --- remarks below ----------------------------------------------------------------------------------------------------


def _remarks(path: str, header: Header) -> tuple[list[str], int]:
    """The lines below the last row of a table, and where they begin in bytes. They are remarks if a line is empty
    before them, or words, or nothing but a rule: a line that is merely cut off is none, for then more may be missing,
    and one within quotation marks that are not closed in it belongs to a cell of several lines."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
    lines = tail.splitlines(keepends=True)[1 if size > _TAIL else 0 :]
    last = next((i for i in range(len(lines) - 1, -1, -1) if _cells(lines[i], header) >= len(header.names)), None)
    below = [] if last is None else lines[last + 1 :]
    if not any(line.strip() for line in below) or len(below) > _MOST_REMARKS or not all(map(_closed, below)):
        return [], size
    apart = not below[0].strip()
    words = all(_is_said(line) for line in below if line.strip())
    cells = max(_cells(line, header) for line in below)
    if not (apart or words) or cells > (len(header.names) - 1 if apart else len(header.names) / 2):
        return [], size
    return [line.decode("utf-8", "replace") for line in below], size - sum(map(len, below))


def _closed(line: bytes) -> bool:
    """Whether every quotation mark in a line is closed there."""
    return line.count(b'"') % 2 == 0


def _is_said(line: bytes) -> bool:
    """Whether a line is one of several words, or a rule, which is whole without an end."""
    return (b" " in line.strip() and line.endswith(b"\n")) or RULE.fullmatch(
        line.decode("utf-8", "replace")
    ) is not None


def _cells(line: bytes, header: Header) -> int:
    return len(next(csv.reader([line.decode("utf-8", "replace")], delimiter=header.separator), []))


def _up_to(path: str, end: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with open(path, "rb") as stream:
        while end > 0 and (part := stream.read(min(end, 1 << 20))):
            end -= len(part)
            yield decoder.decode(part, final=end == 0)


def _lines(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="replace", newline="") as stream:
        for line in stream:
            yield line.rstrip("\r\n")
