"""Where the table begins in a text that a spreadsheet, a shop or a bank has written, what stands between columns, and
what they are called.

What belongs here: the header of delimited text, as plain text. What does not: what the values below it are, and files.

A header may have a line break within quotes, a first line may be `sep=;`, as spreadsheets write it, and above the
header there may be a title or the date of the export.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

DELIMITERS = ",;\t|^\x01\x1f"

LOOKED_AT = 60
"""Lines at the beginning of a file among which its header is looked for."""

RULE = re.compile(r"[-=+|\s]*-{3}[-=+|\s]*")
"""A line under names that separates them from what is below."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.|\\t)"?[\s,;]*', re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """names : of the columns as they are written. above : the lines over them that are none of the table. lines : up
    to the end of the header, those above it among them, and the one of a rule below it where that is `ruled`. quote :
    what a cell may be in. escape : what stands before that within a cell."""

    names: Sequence[str]
    separator: str
    above: Sequence[str] = ()
    lines: int = 1
    ruled: bool = False
    quote: str = '"'
    escape: str = '"'

    @property
    def plain(self) -> bool:
        """Whether the header is the first line as DuckDB has it, and nothing but it."""
        return not self.above and self.lines == 1


def find_header(lines: Sequence[str], separator: str | None = None) -> Header:
    """The header of a text that begins with these lines, without their ends. separator : where it is known.

    The first line is the header, unless it is `sep=` or has hardly a cell where the lines below it have many.
    """
    above = 0
    while above < len(lines) and not lines[above].strip():
        above += 1
    said = _SEPARATOR_LINE.fullmatch(lines[above].strip("\ufeff")) if above < len(lines) else None
    if said is not None:
        separator, above = separator or said.group(1).replace("\\t", "\t"), above + 1
    rest = lines[above:LOOKED_AT]
    chosen = separator or separator_of(rest[0] if rest else "")
    if separator is None and _begins_with_title(rest, chosen):
        chosen = max(DELIMITERS, key=lambda mark: sum(len(row) > 1 for row, *_ in _rows(rest, mark)))
    names, begins, ends = _first_full_row(rest, chosen)
    quote = "'" if len(names) > 1 and all(re.fullmatch(r"\s*'.+'\s*", name) for name in names) else '"'
    if quote == "'":
        names = [name.strip()[1:-1] for name in names]
    slashed = any(re.search(rf'[^\\]\\"(?!\s*({re.escape(chosen)}|$))', line) for line in rest)
    ruled = ends < len(rest) and RULE.fullmatch(rest[ends]) is not None and chosen not in rest[ends]
    return Header(
        _without_empty_end(names, _rows(rest, chosen)),
        chosen,
        tuple(lines[: above + begins]),
        above + ends + ruled,
        ruled,
        quote,
        "\\" if slashed else quote,
    )


def _without_empty_end(names: list[str], rows: Sequence[tuple[list[str], int, int]]) -> list[str]:
    """The names without empty ones behind them that no row below has a cell for."""
    widest = max((len(row) for row, *_ in rows if row != names and row), default=len(names))
    while len(names) > max(widest, 1) and not names[-1].strip():
        names = names[:-1]
    return names


def separator_of(header: str) -> str:
    """The one that a header has most of, outside quotes: whatever the rows hold."""
    bare = re.sub(r'"(?:[^"]|"")*"?', "", header)
    return max(DELIMITERS, key=bare.count)


def _rows(lines: Sequence[str], separator: str) -> list[tuple[list[str], int, int]]:
    """Each row with the lines before it, and those up to its end; a cell may hold line breaks."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator)
    found, begins = [], 0
    with suppress(csv.Error):  # a cell longer than any name is
        for row in reader:
            found.append((row, begins, reader.line_num))
            begins = reader.line_num
    return found


def _filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _begins_with_title(lines: Sequence[str], separator: str) -> bool:
    """Whether the first line cannot be the header of several columns."""
    rows = _rows(lines, separator)
    return bool(rows) and _filled(rows[0][0]) < 2


def _first_full_row(lines: Sequence[str], separator: str) -> tuple[list[str], int, int]:
    """The first row that is as wide as the table and filled; the first of all where that may be it."""
    rows = _rows(lines, separator)
    if not rows:
        return [], 0, 1
    widths = Counter(len(row) for row, *_ in rows[1:] if row)
    usual = max(widths, key=lambda width: (widths[width], width), default=0)
    if usual < 2 or _filled(rows[0][0]) > usual / 2:
        return rows[0]
    return next((one for one in rows if len(one[0]) >= usual and _filled(one[0]) > usual / 2), rows[0])


def usable_names(header: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The header's names as they can be used, each once and on one line, and those that had to be changed, old to
    new."""
    names: list[str] = []
    renamed: dict[str, str] = {}
    taken = {"rowid", "raw_rows"}  # which mean something else in the SQL over these
    for place, given in enumerate(header, 1):
        name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", given).strip()[:100] or f"column_{place}"
        stem, number = name, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        if name != given.strip():
            renamed[f"{given} (column {place})" if given in renamed else given] = name
        names.append(name)
    return names, renamed
