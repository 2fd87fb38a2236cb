"""What is printed where a file cannot be read at once: whoever does what it says gets on, and is not sent in a circle.

Each message is taken by its words: the flags in it are read as a shell would read them, what only the owner knows
(COLUMN, FORMAT) is put in, and the command is run again with them.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segment_pipeline.cli.main import main
from segment_pipeline_tests.quickstart.reading import HEADER, Rows, as_csv, shop

ROWS = shop(customers=60, orders=600)
_FLAG = re.compile(r"""--[a-z-]+ (?:'(?:[^']|'"'"')*'|"(?:[^"\\]|\\.)*"|[^\s;,()]+)""")


@dataclass(frozen=True)
class Puzzle:
    """A file that cannot be read at once. said : flags that were given. knows : what its owner knows. ways : how many
    ways out there are; none where the file itself has to be changed."""

    text: str
    said: Sequence[str] = ()
    knows: Mapping[str, str] = field(default_factory=dict)
    ways: int = 1


def orders(day: Callable[[datetime], object], name: str = "order_date", separator: str = ",") -> str:
    rows = [[who, order, day(at), total] for who, order, at, total in ROWS]
    return as_csv([*HEADER[:2], name, "total"], rows, separator)


def with_columns(header: Sequence[str], of: Callable[[int, Rows], Sequence[object]]) -> str:
    return as_csv(header, [of(i, row) for i, row in enumerate(ROWS)])


def odd(at: datetime) -> str:
    return f"{at:%A %d %b %Y %H.%M:%S}"


def on_two_sides(i: int, row: Rows) -> Sequence[object]:
    return [row[0], row[2], *(("", row[3]) if i % 3 else (row[3], ""))]


def of_order(i: int, row: Rows) -> Sequence[object]:
    _, _, at, total = ROWS[i - i % 2]
    return [ROWS[i - i % 2][0], f"O{i // 2}", at, total, f"P{i % 7}", row[3]]


PUZZLES: dict[str, Puzzle] = {
    "seconds under a strange name": Puzzle(orders(lambda at: int(at.replace(tzinfo=UTC).timestamp()), "X7")),
    "serial days under a strange name": Puzzle(orders(lambda at: (at - datetime(1899, 12, 30)).days, "X7")),
    "few days without signs": Puzzle(orders(lambda at: f"2024{at.month:02}01", "X7")),
    "an unknown separator": Puzzle(orders(str, separator="~")),
    "an unknown format": Puzzle(orders(odd), knows={"FORMAT": "%A %d %b %Y %H.%M:%S"}),
    "an unknown format of a column that was named": Puzzle(
        orders(odd, "X7"), ("--date", "X7"), {"FORMAT": "%A %d %b %Y %H.%M:%S"}
    ),
    "day first beside month first": Puzzle(
        orders(lambda at: f"{at:{('%d/%m/%Y', '%m/%d/%Y')[at.second % 2]}}"), ways=0
    ),
    "a customer without a name": Puzzle(with_columns(["X1", *HEADER[1:]], lambda _, row: row), knows={"COLUMN": "X1"}),
    "two customers": Puzzle(
        with_columns(["customer", "client", *HEADER[1:]], lambda i, row: [row[0], f"K{i % 50}", *row[1:]]), ways=2
    ),
    "debits and credits": Puzzle(with_columns(["customer_id", "date", "debit", "credit"], on_two_sides), ways=3),
    "two currencies": Puzzle(with_columns([*HEADER, "currency"], lambda i, row: [*row, "EUR" if i % 3 else "USD"])),
    "an amount of the order on each line": Puzzle(
        with_columns([*HEADER, "sku", "line_sum"], of_order), knows={"COLUMN": "line_sum"}
    ),
    "both decimal marks": Puzzle(
        with_columns(HEADER, lambda i, row: [*row[:3], f"{row[3]:.2f}".replace(".", "," if i % 2 else ".")]), ways=0
    ),
    "another decimal mark than in the rest": Puzzle(
        with_columns(
            ["customer_id", "order_id", "order_date", "x", "y", "total"],
            lambda i, row: [*row[:3], f"{i / 7:.4f}", f"{i / 9:.4f}", f"{row[3]:.2f}".replace(".", ",")],
        )
    ),
}


def run(path: Path, flags: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["inspect", str(path), *flags])
    return code, " ".join(capsys.readouterr().err.split("\n"))


def ways_out(message: str, knows: Mapping[str, str]) -> list[list[str]]:
    """The flags of each way that a message offers."""
    ways = []
    if message.startswith("--"):  # what was said, once more
        message = message.partition(": ")[2]
    for part in re.split(r"  (?=[A-Za-z])|,? or(?= --)", message):
        flags = [flag for found in _FLAG.findall(part) for flag in shlex.split(found.rstrip(".:"))]
        if flags:
            ways.append([knows.get(flag, flag) for flag in flags])
    return ways


@pytest.mark.parametrize("name", PUZZLES)
def test_whoever_does_what_is_printed_gets_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    puzzle = PUZZLES[name]
    path = tmp_path / "orders.csv"
    path.write_text(puzzle.text)
    code, message = run(path, puzzle.said, capsys)
    if puzzle.ways == 1 and code == 0:
        return  # no question at all is as good
    assert code != 0
    ways = [way for way in ways_out(message, puzzle.knows) if not {"COLUMN", "FORMAT"} & set(way)]
    assert len(ways) >= puzzle.ways, message
    for way in ways:
        code, again = run(path, [*puzzle.said, *way], capsys)
        assert code == 0, f"{message}\n{way}\n{again}"


@pytest.mark.parametrize("given", ["%m/%d/%Y", "%Y%m%d"])
def test_a_format_that_is_wrong_is_told_and_may_be_left_out_as_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(orders(lambda at: f"{at:%d/%m/%Y}"))
    code, message = run(path, ["--date-format", given], capsys)
    assert code != 0
    assert "Leave the flag out" in message
    assert run(path, [], capsys)[0] == 0


@pytest.mark.parametrize("said", ["%d.%m.%Y", "%Y-%m-%d"])
def test_of_dates_in_two_forms_either_may_be_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(orders(lambda at: f"{at:{('%Y-%m-%d', '%d.%m.%Y')[at.second % 2]}}"))
    assert run(path, ["--date-format", said], capsys)[0] == 0
