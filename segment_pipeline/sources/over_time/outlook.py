"""What the source says of the months before any is run: which have changed, which has to wait, which are empty."""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.months import as_of
from segment_pipeline.sources.order_lines import ORDER_LINES
from segment_pipeline.sources.over_time.contents import Change, changes, line_days, read_contents
from segment_pipeline.sources.over_time.rhythm import FeedEnd, feed_end


@dataclass(frozen=True)
class Outlook:
    """changes : of months that have run. waits : the first month to be run whose feed ends early, if one does, and how;
    later ones have to wait as well. empty : those, of either kind, without an order line, and none is to come."""

    changes: Sequence[Change] = ()
    waits: tuple[date, FeedEnd] | None = None
    empty: frozenset[date] = field(default_factory=frozenset)


def look_at_source(
    connection: duckdb.DuckDBPyConnection, config: Config, run: Collection[date], due: Sequence[date]
) -> Outlook:
    """run : months that have run and are not to be. due : those to be run, ascending. Raises SourceError."""
    read_contents(connection, config, run)
    ends = {month: [end for end in ends_of(connection, month) if not end.goes_on] for month in due}
    waits = next(((month, early[0]) for month, early in ends.items() if early), None)
    days = line_days(connection).get(ORDER_LINES)
    empty = [month for month in (*run, *due) if days is not None and not ends.get(month) and not _has_line(days, month)]
    return Outlook(
        changes(connection, config, run),
        waits if config.source.feed_ends_early == "wait" else None,
        frozenset(empty),
    )


def ends_of(connection: duckdb.DuckDBPyConnection, month: date) -> list[FeedEnd]:
    """The feeds of `source_contents` that end early in the month."""
    return [end for feed, days in line_days(connection).items() if (end := feed_end(feed, days, month))]


def _has_line(days: Sequence[date], month: date) -> bool:
    return bisect_left(days, month) < bisect_left(days, as_of(month))
