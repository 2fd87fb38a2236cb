"""Whether a feed reaches the end of a month, by its own rhythm: the longest silence that it has had.

Days in, a verdict out.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from segment_pipeline.months import as_of

# A holiday beside a weekend is no end of a feed.
_MORE_THAN_EVER = 1
# Of fewer days with a line nobody knows how long the silences are.
_FEWEST_DAYS = 3


@dataclass(frozen=True)
class FeedEnd:
    """A feed that is silent before the end of a month for longer than it ever was, or since before the month.

    last : its last day with a line before the month's end. silent : the days after it until the month ends. longest :
    the most days in a row without a line until then. goes_on : there are lines after the month, so that nothing more is
    to be waited for.
    """

    feed: str
    last: date
    silent: int
    longest: int
    goes_on: bool

    def __str__(self) -> str:
        what = "end there" if not self.goes_on else "go on only after it"
        return (
            f"{self.feed}: none after {self.last}, {_days(self.silent)} before the month ends, and they {what}; the "
            f"longest silence before that was {_days(self.longest)}"
        )


def feed_end(feed: str, days: Sequence[date], month: date) -> FeedEnd | None:
    """Whether a feed ends early in a month, given the days on which it has a line, ascending; None where it does not,
    or where too little is known of it."""
    end = as_of(month)
    until = days[: bisect_left(days, end)]
    if len(until) < _FEWEST_DAYS:
        return None
    silent = (end - until[-1]).days - 1
    longest = max((later - earlier).days - 1 for earlier, later in pairwise(until))
    goes_on = len(until) < len(days)
    # a month without a line at the end of all is not there yet, however long the feed was silent before
    if silent <= longest + _MORE_THAN_EVER and (goes_on or until[-1] >= month):
        return None
    return FeedEnd(feed, until[-1], silent, longest, goes_on)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"
