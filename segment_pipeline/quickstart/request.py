"""What the user asked of quickstart or init, and the refusals where a file cannot meet it.

Here: the flags as values, held against what is in the file. Not here: what is proposed where nothing was asked
(proposal.py), and how flags are read (cli/arguments.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from segment_pipeline.errors import InputError
from segment_pipeline.months import add_months, month_key
from segment_pipeline.quickstart.proposal import FEWEST_FEATURES, Overrides, Proposal
from segment_pipeline.quickstart.roles import Hints

Given = TypeVar("Given")

FEWEST_CUSTOMERS = 100
"""Below this, a mixture of several features has more numbers than customers to learn them from."""

ENOUGH_CUSTOMERS = 500
"""What `quality.min_customers` asks of a monthly pipeline; with fewer, segments are a first impression."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; None, or empty, is for quickstart to find out.

    file may be a pattern of several files of the same columns; more : others beside it. where : SQL over an order
    line, which counts where it is true. segments : smallest and largest number to try. covariance : types of
    covariances to try. hurdle : "feature=value", or "none" for no segment by rule. memory_limit : what DuckDB may use,
    as in "4GB".
    """

    file: Path
    out: Path
    customer_id: str | None = None
    features: Sequence[str] | None = None
    ordered_at: str | None = None
    amount: str | None = None
    order_id: str | None = None
    product_id: str | None = None
    where: str | None = None
    month: date | None = None
    window_months: int | None = None
    transforms: Mapping[str, str] = field(default_factory=dict)
    resolutions: Mapping[str, float] = field(default_factory=dict)
    segments: tuple[int, int] | None = None
    covariance: Sequence[str] | None = None
    hurdle: tuple[str, float] | None = None
    no_hurdle: bool = False
    separator: str | None = None
    decimal: str | None = None
    date_format: str | None = None
    repeats_once: bool | None = None
    time_zone: str | None = None
    more: Sequence[Path] = ()
    memory_limit: str | None = None
    seed: int = 42

    def hints(self) -> Hints:
        """What was said of the file's columns and how they are written."""
        return Hints(
            self.customer_id,
            self.ordered_at,
            self.amount,
            self.order_id,
            self.product_id,
            self.separator,
            self.decimal,
            self.date_format,
            self.repeats_once,
            self.time_zone,
        )

    def flags(self) -> list[str]:
        """What was said, as arguments of a command line."""
        said = {
            "--customer-id": self.customer_id,
            "--date": self.ordered_at,
            "--amount": self.amount,
            "--order-id": self.order_id,
            "--product-id": self.product_id,
            "--where": self.where,
            "--sep": self.separator,
            "--decimal": self.decimal,
            "--repeats": None if self.repeats_once is None else "once" if self.repeats_once else "keep",
            "--date-format": self.date_format,
            "--time-zone": self.time_zone,
            "--features": ",".join(self.features) if self.features is not None else None,
            "--segments": "..".join(map(str, self.segments)) if self.segments is not None else None,
            "--covariance": ",".join(self.covariance) if self.covariance is not None else None,
            "--hurdle": "none" if self.no_hurdle else f"{self.hurdle[0]}={self.hurdle[1]:g}" if self.hurdle else None,
            "--month": month_key(self.month) if self.month is not None else None,
            "--window-months": str(self.window_months) if self.window_months is not None else None,
            "--memory-limit": self.memory_limit,
            "--seed": str(self.seed) if self.seed != Request.seed else None,
        }
        given = [part for flag, value in said.items() if value is not None for part in (flag, value)]
        for flag, values in (("--transform", self.transforms), ("--resolution", self.resolutions)):
            given += [part for name, value in values.items() for part in (flag, f"{name}={value}")]
        return given

    def overrides(self, names: Sequence[str], resolutions: Mapping[str, float]) -> Overrides:
        """What was said of features, under their names in the file: upper and lower case count as the same.

        names : the features that there are. resolutions : known ones, which those that were asked for overrule. Raises
        InputError for a feature that is not there.
        """
        self._refuse_unknown(names)
        by_name = {name.casefold(): name for name in names}

        def named(given: Mapping[str, Given]) -> dict[str, Given]:
            return {by_name[name.casefold()]: value for name, value in given.items()}

        features = None if self.features is None else [by_name[name.casefold()] for name in self.features]
        return Overrides(features, named(self.transforms), {**resolutions, **named(self.resolutions)})

    def _refuse_unknown(self, names: Sequence[str]) -> None:
        known = {name.casefold() for name in names}
        for flag, asked in (
            ("--features", self.features or ()),
            ("--transform", self.transforms),
            ("--resolution", self.resolutions),
            ("--hurdle", () if self.hurdle is None else (self.hurdle[0],)),
        ):
            unknown = [name for name in asked if name.casefold() not in known]
            if unknown:
                raise InputError(f"{flag} {unknown[0]!r}: no such number of a customer. There are {', '.join(names)}.")


def refuse_where_of_customers(request: Request) -> None:
    """Raises InputError where lines are to be left out of a file of customers."""
    if request.where is not None:
        raise InputError(
            f"--where is for order lines, and {request.file} has one row per customer. Take rows out of the file "
            "itself; or, if these are order lines, name their columns: --date COLUMN --amount COLUMN."
        )


def why_no_mixture(request: Request, customers: int, proposal: Proposal) -> str | None:
    """Why no mixture is to be fitted to so few customers, or to so little of them; None where one may be. Raises
    InputError where there is nothing at all to tell customers apart by."""
    if not proposal.features and not any(left.proposal for left in proposal.left_out):
        raise InputError(
            f"{request.file} has no feature to segment by.{_left_out(proposal)}Add columns that tell customers apart."
        )
    if customers < FEWEST_CUSTOMERS:
        return (
            f"{request.file} has {customers:,} customers; a mixture needs at least {FEWEST_CUSTOMERS}, and "
            f"{ENOUGH_CUSTOMERS} to be trusted. With so few, groups that are found are chance and gone a month later."
        )
    if len(proposal.features) < FEWEST_FEATURES:
        found = "one feature" if proposal.features else "no feature"
        insist = "; or insist on some of these with --features A,B" if proposal.left_out else ""
        return (
            f"{request.file} has {found} to segment by; a mixture needs at least {FEWEST_FEATURES}."
            f"{_left_out(proposal)}Add columns that tell customers apart{insist}."
        )
    return None


def _left_out(proposal: Proposal) -> str:
    """Each column that is left out with its reason, on lines of their own; a space where none is."""
    reasons = "".join(f"\n  {left.name}: {left.reason}" for left in proposal.left_out)
    return f" Left out:{reasons}\n" if reasons else " "


def last_closed_month() -> date:
    """A month that is not over cannot be segmented: which one that is, only the clock knows."""
    return add_months(datetime.now(UTC).date().replace(day=1), -1)


def refuse_open_month(month: date, closed: date) -> None:
    """Raises InputError for a month that is not over. closed : the last one that is."""
    if month > closed:
        raise InputError(f"--month {month_key(month)} is not over yet; the last month that is: {month_key(closed)}.")
