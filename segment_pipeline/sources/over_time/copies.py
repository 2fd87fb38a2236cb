"""Order lines and events that the source delivers twice: a file under two names in a glob, exports that overlap."""

import filecmp
import os
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import combinations

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline.sources.events import Feed, open_feeds
from segment_pipeline.sources.order_lines import ORDER_LINES, OrderLines, instant, open_order_lines
from segment_pipeline.sources.over_time.contents import NO_AMOUNT, rows_of_month_before
from segment_pipeline.words import percent

ACCEPTED = 0.01
"""Share of a month's lines that may repeat another: somebody buys the same twice and is billed in two equal lines. Of
two exports that overlap by a day, one line in thirty does."""


@dataclass(frozen=True)
class Copies:
    """Lines of a month that repeat another one in every column of the source.

    share : of the month's lines. amount : what they add up to, None of events. files : pairs of files with the same
    content, the copy first.
    """

    feed: str
    lines: int
    share: float
    amount: Decimal | None
    files: Sequence[tuple[str, str]]

    def __str__(self) -> str:
        money = "" if self.amount is None else f", {self.amount:,.2f} in money"
        files = "".join(f"; {os.path.basename(copy)} is {os.path.basename(other)} again" for copy, other in self.files)
        return f"{self.feed}: {self.lines:,} repeat another in every column ({percent(self.share)}{money}){files}"


def copies_in_words(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[str]:
    """What the month has twice: lines or, of ready-made customers, all rows of the month before. Call it when the
    month's contents are kept. Raises SourceError."""
    found = [str(copies) for copies in find_copies(connection, config, month)]
    rows = rows_of_month_before(connection, month, before := add_months(month, -1))
    return [*found, f"all {rows:,} rows are those of {month_key(before)}"] if rows else found


def find_copies(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> list[Copies]:
    """The feeds of which more than a few lines of the month repeat another. Raises SourceError."""
    if config.source.orders is None:
        return []
    with chdir(config.path.parent):
        lines = _copies(connection, open_order_lines(connection, config), month)
        feeds = [_copies(connection, feed, month) for feed in open_feeds(connection, config)]
    return [found for found in (lines, *feeds) if found.share > ACCEPTED]


def _whole_row(feed: OrderLines | Feed) -> str:
    """A hash of all columns of a row, by their names: one of them may be called as the relation is."""
    return f"hash({', '.join(map(identifier, feed.source.columns))})"


def _copies(connection: duckdb.DuckDBPyConnection, feed: OrderLines | Feed, month: date) -> Copies:
    if isinstance(feed, OrderLines):
        name, rows = ORDER_LINES, feed.sql(row=_whole_row(feed))
        counts, at, amount = "is_line", "ordered_at", "amount"
    else:
        name, rows = feed.name, feed.sql(row=_whole_row(feed))
        counts, at, amount = "is_event", "occurred_at", NO_AMOUNT
    try:
        lines, repeated, money = connection.execute(f"""
            SELECT coalesce(sum(times), 0), coalesce(sum(times - 1), 0), sum((times - 1) * amount)
            FROM (
                SELECT count(*) AS times, any_value({amount}) AS amount FROM ({rows})
                WHERE {counts} AND {at} >= {instant(month)} AND {at} < {instant(as_of(month))} GROUP BY row
            )
        """).fetchone() or (0, 0, None)
    except duckdb.Error as error:
        raise feed.failed(error) from error
    files = _equal(list(feed.source.stamps)) if repeated else []
    return Copies(name, int(repeated), repeated / max(1, lines), money if amount == "amount" else None, files)


def _equal(files: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of files with the same bytes, the later name first."""
    filecmp.clear_cache()
    return [
        (other, one)
        for one, other in combinations(files, 2)
        if os.path.getsize(one) == os.path.getsize(other) and filecmp.cmp(one, other, shallow=False)
    ]
