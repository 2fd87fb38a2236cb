"""Text that is laid out for people to read, as delimited text: columns of fixed width, lines within quotation marks,
and remarks below the table.

Here: what a text in UTF-8 looks like from its first and last lines, and its lines as they should be. Not here: bytes
(decoding.py), and the header (headers.py).
"""

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from segment_pipeline.column_names import hints_of
from segment_pipeline.sources.text.headers import LOOKED_AT, RULE, Header, find_header
from segment_pipeline.sources.text.sheets import as_delimited, labelled, may_be_labelled

_TAIL = 1 << 16
_SORTED = 0.9
"""Share of neighbours that are in order where labels are sorted."""
_LARGEST_REPORT = 64 << 20
"""Bytes up to which a text may be a report for people, all of which is looked at."""
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
    said = tuple(line.strip() for line in remarks if line.strip() and not RULE.fullmatch(line))
    try:
        outline = _outline(path, end, header)
    except csv.Error:  # a cell of 128 kB: no report for people
        outline = None
    if outline is not None:
        return Layout(outline, "labels of groups in all of their lines", said)
    return Layout(_up_to(path, end), below=said) if remarks else None


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


# --- groups -----------------------------------------------------------------------------------------------------------


def _outline(path: str, end: int, header: Header) -> Iterator[str] | None:
    """The rows with the labels that stand once above their lines in all of these, as reports for people have them;
    None where there are no such labels, or the file is larger than any such report. end : of the table, in bytes."""
    if end > _LARGEST_REPORT:
        return None
    begins = csv.reader(_up_to_lines(path, end), delimiter=header.separator)
    if not may_be_labelled(list(islice(begins, header.lines + LOOKED_AT))[header.lines :]):
        return None
    rows: list[list[object]] = [list(row) for row in csv.reader(_up_to_lines(path, end), delimiter=header.separator)]
    start = next((place for place, row in enumerate(rows) if list(map(str, row)) == list(header.names)), None)
    if start is None:
        return None
    width = len(header.names)
    body = [[*row, *[""] * (width - len(row))] for row in rows[start + 1 :] if any(map(str, row))]
    if not _in_order([str(row[0]) for row in body if row[0] != ""]):
        return None
    found = labelled(body, width)
    if found is None:
        return None
    rows[start][0] = rows[start][0] or _called_in(header.above)
    return as_delimited([*rows[: start + 1], *found], header.separator)


def _called_in(titles: Sequence[str]) -> str:
    """Whose lines a report has, by the titles above it, as in Sales by Customer; "" where they do not say."""
    words = (word for title in titles for word in re.findall(r"\w+", title))
    return next((word for word in words if "customer" in hints_of(word)), "")


def _in_order(labels: Sequence[str]) -> bool:
    """Whether labels are sorted, as those of a report's groups are and what is missing here and there is not: as words,
    or by their length as numbers are."""
    words = [label.casefold().removeprefix("total for ").removeprefix("total ") for label in labels]
    for keys in (words, [(len(word), word) for word in words]):
        rising = sum(one <= other for one, other in pairwise(keys))  # type: ignore[operator]
        if max(rising, len(keys) - 1 - rising) >= _SORTED * (len(keys) - 1):
            return True
    return False


# --- remarks below ----------------------------------------------------------------------------------------------------


def _remarks(path: str, header: Header) -> tuple[list[str], int]:
    """The lines below the last row of a table, and where they begin in bytes. They are remarks if a line is empty
    before them, however many cells they have, or words, or nothing but a rule: a line that is merely cut off is none,
    for then more may be missing, and one within quotation marks that are not closed in it belongs to a cell of several
    lines."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
    lines = tail.splitlines(keepends=True)[1 if size > _TAIL else 0 :]
    last = next((i for i in range(len(lines) - 1, -1, -1) if _cells(lines[i], header) >= len(header.names)), None)
    gaps = (i for i in range(max(1, len(lines) - _MOST_REMARKS), last or 0) if not lines[i].strip())
    gap = next((i for i in gaps if _others(lines[:i], lines[i + 1 :], header)), None)
    last = last if gap is None else gap - 1
    below = [] if last is None else lines[last + 1 :]
    if not any(line.strip() for line in below) or len(below) > _MOST_REMARKS or not all(map(_closed, below)):
        return [], size
    apart = not below[0].strip()
    words = all(_is_said(line) for line in below if line.strip())
    cells = max(_cells(line, header) for line in below)
    if not (apart or (words and cells <= len(header.names) / 2)):
        return [], size
    return [line.decode("utf-8", "replace") for line in below], size - sum(map(len, below))


def _others(rows: Sequence[bytes], below: Sequence[bytes], header: Header) -> bool:
    """Whether none of the lines below a gap is a row: each lacks digits in a column in which the last rows all have
    some."""
    known = [_texts_of(line, header) for line in rows if line.strip()][-_MOST_REMARKS:]
    known = [cells for cells in known if len(cells) == len(header.names)]
    digits = [i for i in range(len(header.names)) if known and all(re.search(r"\d", cells[i]) for cells in known)]
    said = [_texts_of(line, header) for line in below if line.strip()]
    return bool(digits) and not any(
        len(cells) > max(digits) and all(re.search(r"\d", cells[i]) for i in digits) for cells in said
    )


def _closed(line: bytes) -> bool:
    """Whether every quotation mark in a line is closed there."""
    return line.count(b'"') % 2 == 0


def _is_said(line: bytes) -> bool:
    """Whether a line is one of several words, or a rule, which is whole without an end."""
    return (b" " in line.strip() and line.endswith(b"\n")) or RULE.fullmatch(
        line.decode("utf-8", "replace")
    ) is not None


def _cells(line: bytes, header: Header) -> int:
    return len(_texts_of(line, header))


def _texts_of(line: bytes, header: Header) -> list[str]:
    return next(csv.reader([line.decode("utf-8", "replace")], delimiter=header.separator), [])


def _up_to(path: str, end: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with open(path, "rb") as stream:
        while end > 0 and (part := stream.read(min(end, 1 << 20))):
            end -= len(part)
            yield decoder.decode(part, final=end == 0)


def _up_to_lines(path: str, end: int) -> Iterator[str]:
    """The lines up to a place, with their ends."""
    rest = ""
    for part in _up_to(path, end):
        *lines, rest = (rest + part).splitlines(keepends=True) or [""]
        yield from lines
    yield rest


def _lines(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="replace", newline="") as stream:
        for line in stream:
            yield line.rstrip("\r\n")
