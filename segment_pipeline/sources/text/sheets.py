"""Cells in rows, as workbooks and pages of HTML have them, as the rows of one table.

Here: which of the tables of a workbook is meant, cells that stand for those below them too, and cells as text. Not
here: bytes, and what stands above a header (headers.py), which a draft keeps.

A person who lays out a sheet merges cells, writes a customer once above the lines, hides a sheet, sets a small table
above the large one. A program sees cells that are empty.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from html.parser import HTMLParser
from typing import BinaryIO

from segment_pipeline.errors import SourceError
from segment_pipeline.sources.text.headers import LOOKED_AT, find_header

Row = list[object]

_OUTLINED = 0.95
"""Share of a column's texts that have to be different for one to stand for the lines below it."""
_UNLABELLED = 0.2
"""Share of a column's cells that have to be empty for the same."""
_AT_ONCE = 10_000
"""Rows that are written at once."""
_UNCOMPUTED = re.compile(rb"<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")


@dataclass(frozen=True)
class Sheets:
    """A table as rows of cells, what is above its header among them. said : where it lies, and what was left out."""

    rows: Sequence[Row]
    said: str


def workbook(stream: BinaryIO, file: str) -> Sheets:
    """The tables of a workbook of one header that have the most rows, below one another: one, or one a month. Raises
    SourceError."""
    from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum  # only who has one waits for it

    content = io.BytesIO(stream.read())
    try:
        book = CalamineWorkbook.from_filelike(content)
        hidden = {one.name for one in book.sheets_metadata if one.visible != SheetVisibleEnum.Visible}
        sheets = {name: _cells(book, name) for name in book.sheet_names}
    except CalamineError as error:
        raise SourceError(f"{file} is no Excel workbook that can be read: {error}. Save it as CSV.") from error
    _refuse_uncomputed(content, file, sum(len(rows) for rows in sheets.values()))
    seen = {name: rows for name, rows in sheets.items() if name not in hidden}
    rows, names, others = _largest(seen if any(len(rows) > 1 for rows in seen.values()) else sheets)
    if not rows:
        raise SourceError(f"{file} is a workbook without a row. Export it with a header and its rows.")
    others += [f"{name!r}, which is hidden" for name in sheets if name in hidden and name not in names]
    named = f"sheet{'s' * (len(names) > 1)} {' and '.join(map(repr, names))} of an Excel workbook"
    return Sheets(rows, f"{named}, without {' and '.join(others)}" if others else named)


def page(text: str, file: str) -> Sheets:
    """The largest table of a page of HTML, or of XML as spreadsheets write it. Raises SourceError where there is none
    of several rows."""
    reader = _Tables()
    reader.feed(text)
    tables = {f"table {place}": rows for place, rows in enumerate(reader.tables, 1)}
    if not any(len(rows) > 1 for rows in tables.values()):
        raise SourceError(
            f"{file} is a page of HTML or XML without a table, as some programs export it with the ending of a "
            "workbook. Open it in a spreadsheet and save it as CSV or xlsx."
        )
    return Sheets(_largest(tables)[0], "a page of HTML or XML")


def as_delimited(rows: Sequence[Row], separator: str = ",") -> Iterator[str]:
    """The rows as delimited text, in parts."""
    for start in range(0, len(rows), _AT_ONCE):
        lines = io.StringIO()
        some = rows[start : start + _AT_ONCE]
        csv.writer(lines, delimiter=separator, lineterminator="\n").writerows(
            [_cell(value) for value in row] for row in some
        )
        yield lines.getvalue()


def _cells(book: object, name: str) -> list[Row]:
    """The rows of a sheet, from its first cell on; what a merged cell says, all of its rows say. Across columns it is
    a title."""
    sheet = book.get_sheet_by_name(name)  # type: ignore[attr-defined]
    rows: list[Row] = sheet.to_python(skip_empty_area=False)
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        if bottom > top and left == right:
            for below in rows[top + 1 : bottom + 1]:
                below[left] = rows[top][left]
    return rows


def _refuse_uncomputed(content: BinaryIO, file: str, rows: int) -> None:
    """Raises SourceError where many formulas have no value, as a program leaves them that does not calculate."""
    if not zipfile.is_zipfile(content):
        return
    with zipfile.ZipFile(content) as parts:
        names = [name for name in parts.namelist() if re.search(r"worksheets/\w+\.xml$", name)]
        without = sum(len(_UNCOMPUTED.findall(parts.read(name))) for name in names)
    if without > 0.5 * rows:
        raise SourceError(
            f"{file} has {without:,} formulas whose values were never computed, so its cells are empty. Open it in a "
            "spreadsheet and save it."
        )


# --- tables -----------------------------------------------------------------------------------------------------------


def _largest(sheets: dict[str, list[Row]]) -> tuple[list[Row], list[str], list[str]]:
    """The tables of one header that have the most rows, with what is above the first; the sheets on which they lie, and
    what the others are."""
    parts = [(name, rows) for name, of in sheets.items() for rows in _tables_of(of)]
    tables: dict[tuple[str, ...], list[int]] = {}
    for place, (_, rows) in enumerate(parts):
        tables.setdefault(_header_of(rows), []).append(place)
    header, read = max(tables.items(), key=lambda table: sum(len(parts[one][1]) for one in table[1]), default=((), []))
    rows = [row for place in read for row in (_below(parts[place][1], header) if place != read[0] else parts[place][1])]
    names = list(dict.fromkeys(parts[place][0] for place in read))
    others = (
        repr(name) if name not in names else f"the table of {', '.join(_header_of(rows)[:2])}"
        for place, (name, rows) in enumerate(parts)
        if place not in read and len(rows) > 1
    )
    return _labelled(rows, header), names, list(dict.fromkeys(others))


def _tables_of(rows: list[Row]) -> list[list[Row]]:
    """The tables that lie below one another in a sheet: another begins after an empty row, with a row of names over
    rows that are not all names. Empty rows within a table are none."""
    found: list[list[Row]] = [[]]
    after_gap = False
    for place, row in enumerate(rows):
        if not any(map(_filled, row)):
            after_gap = True
            continue
        if after_gap and _begins_table(row, rows[place + 1 : place + 2]) and _is_table(found[-1]):
            found.append([])
        after_gap = False
        found[-1].append(row)
    return [_trimmed(table) for table in found if table]


def _is_table(rows: list[Row]) -> bool:
    """Whether rows are more than a title."""
    return sum(sum(map(_filled, row)) > 1 for row in rows) > 1


def _trimmed(table: list[Row]) -> list[Row]:
    """Without columns on the left and the right that are empty in all rows."""
    used = sorted({place for row in table for place, value in enumerate(row) if _filled(value)})
    return [row[used[0] : used[-1] + 1] for row in table]


def _begins_table(row: Row, below: Sequence[Row]) -> bool:
    names = [place for place, value in enumerate(row) if _filled(value)]
    if len(names) < 2 or any(not isinstance(row[place], str) or _number_like(str(row[place])) for place in names):
        return False
    return any(place < len(one) and _number_like(str(_cell(one[place]))) for one in below for place in names)


def _number_like(text: str) -> bool:
    return re.fullmatch(r"[^\w]*\d[\d.,:/ -]*[^\w]*", text.strip()) is not None


def _header_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """What the columns of a table are called, in their order."""
    lines = "".join(as_delimited(rows[:LOOKED_AT]))
    return tuple(find_header(lines.splitlines(), ",").names)


def _below(rows: Sequence[Row], header: Sequence[str]) -> Sequence[Row]:
    """The rows of a table below its header."""
    return rows[_place_of(rows, header) + 1 :]


def _place_of(rows: Sequence[Row], header: Sequence[str]) -> int:
    above = (place for place, row in enumerate(rows) if tuple(str(_cell(value)) for value in row) == tuple(header))
    return next(above, 0)


def _labelled(rows: list[Row], header: Sequence[str]) -> list[Row]:
    start = _place_of(rows, header) + 1
    found = labelled(rows[start:], len(header))
    return rows if found is None else [*rows[:start], *found]


def may_be_labelled(rows: Sequence[Sequence[object]]) -> bool:
    """Whether the first rows of a table may begin with a label that stands for those below it too."""
    firsts = [row[0] if row else "" for row in rows]
    return bool(firsts) and _filled(firsts[0]) and sum(not _filled(one) for one in firsts) >= _UNLABELLED * len(firsts)


def labelled(body: list[Row], width: int) -> list[Row] | None:
    """The rows of a table with the labels that stand once above their lines, as a customer in the first line of a
    block, in all of these; rows of nothing but such a label are none. None where there are no labels."""
    found = False
    for place in range(min(2, width)):
        texts = [row[place] for row in body if _filled(row[place])]
        empty = len(body) - len(texts)
        outlined = len(texts) > 1 and len(set(map(str, texts))) >= _OUTLINED * len(texts)
        if not outlined or empty < _UNLABELLED * len(body) or not _filled(body[0][place]):
            break
        found = True
        alone = [sum(map(_filled, row)) == 1 and _filled(row[place]) for row in body]
        label: object = ""
        for row in body:
            label = row[place] if _filled(row[place]) else label
            row[place] = label
        body = [row for row, is_label in zip(body, alone, strict=True) if not is_label]
    return body if found else None


def _filled(value: object) -> bool:
    return value is not None and str(value).strip() != ""


def _cell(value: object) -> object:
    """A cell as a file of text would have it: whole numbers without a point, days without a midnight."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time.min else value.isoformat(" ", "seconds")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, timedelta) else value


# --- pages ------------------------------------------------------------------------------------------------------------


class _Tables(HTMLParser):
    """The tables of a page, tr and td of HTML as well as Row and Cell of XML, as rows of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[Row]] = []
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        tag = tag.rpartition(":")[2]
        if tag in ("table", "worksheet"):
            self.tables.append([])
        elif tag in ("tr", "row"):
            self.tables = self.tables or [[]]
            self.tables[-1].append([])
        elif tag in ("td", "th", "cell") and self.tables and self.tables[-1]:
            said = dict(attrs)
            row = self.tables[-1][-1]
            row += [""] * (int(said.get("ss:index") or 0) - 1 - len(row))
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        if tag.rpartition(":")[2] in ("td", "th", "cell") and self._text is not None:
            self.tables[-1][-1].append(" ".join("".join(self._text).split()))
            self._text = None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)
