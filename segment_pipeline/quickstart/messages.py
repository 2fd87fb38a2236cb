"""What quickstart and init say: of the plan, of the segments that came out, and of a month that came to nothing.

Here: words and tables for a terminal. Not here: refusals of a file, which stand where they are found.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from shlex import quote

import duckdb
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from segment_pipeline.config.config import Config
from segment_pipeline.config.starter_file import scalar
from segment_pipeline.customers.simplest import SimplestSegments
from segment_pipeline.customers.worth import FeatureWorth
from segment_pipeline.errors import NothingFoundError, SearchesDisagreeError
from segment_pipeline.publishing.publish import reading
from segment_pipeline.quickstart.columns import Column
from segment_pipeline.quickstart.csv_table import Table
from segment_pipeline.quickstart.plan import Plan
from segment_pipeline.quickstart.proposal import LeftOut
from segment_pipeline.quickstart.request import ENOUGH_CUSTOMERS, Request
from segment_pipeline.sources.reconciliation import OF_REJECTED, REASONS, USED, Part, read_account
from segment_pipeline.words import counted, figure, percent

Say = Callable[[str], None]

MOST_NAMED = 4
"""Columns that are named where they are left out for the same reason."""


@dataclass(frozen=True)
class Outcome:
    """What a quickstart left: the configuration that it ran, and the customers with their probabilities."""

    config: Config
    month: date
    customers_file: Path
    report: Path | None


@dataclass(frozen=True)
class SegmentLine:
    """A segment in the closing table; means are of the features, in original units."""

    segment_id: int
    name: str
    customers: int
    share: float
    means: tuple[float | None, ...]


IN_WORDS = {
    "raw_customers": "reading the customers",
    "validated_features": "checking every customer",
    "scaled_matrix": "scaling the features",
    "candidate_models": "fitting segments",
    "selected_model": "choosing the number of segments",
    "monthly_assignments": "assigning every customer",
    "segment_report": "writing the report",
    "published_segments": "publishing",
}
"""What a step does, for somebody who does not know the assets; the others go by under their own names."""


def results_console() -> Console:
    """Where results are printed. A pipe or a log has no width of its own, and 80 columns would break a table."""
    return Console(width=None if sys.stdout.isatty() else 140)


def plain_speech(console: Console) -> Say:
    """Prints a line as it is: names are data, and brackets in them are not markup."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say


@contextmanager
def progress_line() -> Iterator[Say]:
    """Shows what is being done, on a terminal only; a log wants the results."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda text: progress.update(task, description=text)


def print_plan(plan: Plan, console: Console) -> None:
    """What was found and decided, a line each, with the flag that overrules it."""
    say = plain_speech(console)
    say(str(plan.table.path))
    for guess in plan.guesses:
        say(f"  {guess}")
    say("")
    say("Segmented by  (--features A,B,C, --transform A=log1p, --resolution A=1)")
    widest = max((len(one.name) for one in plan.proposal.features), default=0)
    worth = {one.feature: _worth_in_words(one) for one in plan.worth}
    for one in plan.proposal.features:
        why = "; ".join(filter(None, [one.why, worth.get(one.name)]))
        say(f"  {one.name:<{widest}}  {one.transform}, in steps of {scalar(one.resolution)}  ({why})")
    if plan.proposal.left_out:
        say("Left out  (--features takes one in)")
        for reason, names in _by_reason(plan.proposal.left_out).items():
            say(f"  {', '.join(names)}: {reason}")
    remarks = _remarks(plan)
    if remarks:
        say("To know")
        for remark in remarks:
            say(f"  {remark}")
    say("")


def print_once_more(why: NothingFoundError, plan: Plan, console: Console) -> None:
    """That a first month has come to nothing, and with which features it is tried again."""
    say = plain_speech(console)
    say(str(why).partition("\nNext: ")[0].rstrip())
    say("")
    say("Once more, without what keeps searches from agreeing:")
    print_plan(plan, console)


def _by_reason(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    """reason -> the columns that are left out for it; of many the first few, and how many more."""
    found: dict[str, list[str]] = {}
    for left in left_out:
        found.setdefault(left.reason, []).append(left.name)
    return {
        reason: names if len(names) <= MOST_NAMED else [*names[:MOST_NAMED], f"and {len(names) - MOST_NAMED:,} more"]
        for reason, names in found.items()
    }


def _worth_in_words(one: FeatureWorth) -> str:
    known = f"{percent(one.known_from_others)} of it is known from the others"
    return known if one.separates is None else f"{percent(one.separates)} of it lies between segments, {known}"


def print_table(table: Table, warnings: Sequence[str], console: Console) -> None:
    """What the file and each of its columns would be taken for, with the flag that overrules it."""
    say = plain_speech(console)
    say(str(table.path))
    for guess in table.guesses:
        say(f"  {guess}")
    say("")
    grid = Grid(box=None, pad_edge=False)
    for name, justify in (("column", "left"), ("taken for", "left"), ("values", "left"), ("filled", "right")):
        grid.add_column(name, justify="right" if justify == "right" else "left")
    grid.add_column("different", justify="right")
    grid.add_column("such as")
    roles = {choice.column: choice.role for choice in table.roles.choices}
    for column in table.columns.values():
        filled, kind = percent(column.known / table.rows, 1), _KINDS[column.kind]
        role = roles.get(column.name) or _without_role(table, column)
        cells = (column.name, role, kind, filled, f"{column.distinct:,}", column.example[:40])
        grid.add_row(*map(_escaped, cells))
    console.print(grid)
    for warning in warnings:
        say(f"  {warning}")


_KINDS = {"number": "numbers", "date": "dates", "text": "words", "empty": "none"}


def _without_role(table: Table, column: Column) -> str:
    """What is made of a column that has no role: of customers, numbers and dates may become features."""
    return "feature" if table.orders is None and column.kind in ("number", "date") else ""


def _remarks(plan: Plan) -> list[str]:
    found = list(plan.proposal.remarks)
    if plan.proposal.hurdle is not None:
        found[0] += "  (--hurdle none)"
    found += plan.warnings
    found += [
        f"{column.name}: {column.unreadable:,} values are not readable, such as "
        f"{', '.join(map(repr, column.samples))}; "
        f"these {'lines' if plan.table.orders else 'customers'} are rejected where the column is used"
        for column in plan.table.columns.values()
        if column.unreadable and column.samples and _is_used(plan.table, column)
    ]
    if plan.proposal.rejected > 0:
        told_already = any("rejected" in remark for remark in found)
        found.append(
            f"{percent(plan.proposal.rejected, 1)} of the customers lack a number and are rejected, with the reason"
            + (": these are all of them, those above among them" if told_already else "")
        )
    if plan.table.repeated_rows:
        found.append(f"{plan.table.repeated_rows:,} rows repeat a customer; all rows of these customers are rejected")
    if plan.customers < ENOUGH_CUSTOMERS and plan.obstacle is None:
        found.append(
            f"{plan.customers:,} customers are few: take these segments for a first impression, from "
            f"{ENOUGH_CUSTOMERS} "
            f"on they can be trusted"
        )
    return found


def _is_used(table: Table, column: Column) -> bool:
    """Whether what cannot be read in a column is missing anywhere; of lines their date is told elsewhere."""
    return table.orders is None or column.name in (table.orders.amount, table.orders.quantity)


def print_outcome(outcome: Outcome, plan: Plan, request: Request, console: Console) -> None:
    """The segments, where the files are, and what to do next."""
    features = [one.name for one in plan.proposal.features]
    lines, account = segment_lines(outcome.config.published_path, features)
    console.print(_segments_table(lines, features))
    say = plain_speech(console)
    for sentence in _judged(account):
        say(sentence)
    fit = suitability(outcome.config.published_path)
    if fit is not None:
        say("")
        say(f"Suitability    {fit[0].replace('_', ' ')}: {fit[1]}")
    say("")
    shown = os.path.relpath(outcome.config.path)
    if outcome.report is not None:
        say(f"Report         {os.path.relpath(outcome.report)}")
    say(f"Customers      {os.path.relpath(outcome.customers_file)}   (a probability per segment)")
    say(f"SQL            {os.path.relpath(outcome.config.published_path)}   (DuckDB)")
    say(f"Configuration  {shown}   (all of the above, to be changed)")
    say("")
    say(f"Next: change the features in {shown}, then  segment-pipeline run --config {quote(shown)} --force")
    say(f"      what lasts, and what each adds        segment-pipeline features --config {quote(shown)}")
    say(f"      see the run                           segment-pipeline ui --config {quote(shown)}")
    files = [part for file in (request.file, *request.more) for part in ("--from", os.path.relpath(file))]
    again = " ".join(map(quote, [*files, *request.flags()]))
    say(f"      every month from now on               segment-pipeline init my_project {again}")


def _judged(account: Sequence[Part]) -> list[str]:
    """What the data contract has left out of the lines, or rows, that the plan has spoken of, a sentence each."""
    rows = sum(one.lines for one in account)
    judged = [one for one in account if one.reason in OF_REJECTED or (one.orders is None and one.reason != USED)]
    found = [f"{one.told(rows)} {REASONS[one.reason]}: left out" for one in judged]
    return found + (["Each of these customers, with the reason, is in the table rejected_customers."] if found else [])


def _segments_table(lines: Sequence[SegmentLine], features: Sequence[str]) -> Grid:
    grid = Grid(box=None, pad_edge=False)
    for name in ("id", "segment"):
        grid.add_column(name)
    for name in ("customers", "share", *features):
        grid.add_column(_escaped(name.replace("_", " ")), justify="right")
    for line in lines:
        means = ("" if mean is None else figure(mean) for mean in line.means)
        grid.add_row(str(line.segment_id), _escaped(line.name), f"{line.customers:,}", percent(line.share, 1), *means)
    return grid


def segment_lines(published: Path, features: Sequence[str]) -> tuple[list[SegmentLine], list[Part]]:
    """The segments of the published month, the largest first, and what became of the lines of the file."""
    with reading(published) as connection:
        found = connection.execute(
            "SELECT segment_id, name, customers, share FROM current_profiles ORDER BY share DESC, segment_id"
        ).fetchall()
        figures = connection.execute(
            "SELECT segment_id, feature, mean FROM segment_feature_profiles "
            "WHERE month = (SELECT max(month) FROM segment_profiles)"
        ).fetchall()
        (month,) = connection.execute("SELECT max(month) FROM segment_profiles").fetchone() or (None,)
        account = read_account(connection, month)
    means = {(segment_id, feature): mean for segment_id, feature, mean in figures}
    lines = [
        SegmentLine(segment_id, name, customers, share, tuple(means.get((segment_id, feature)) for feature in features))
        for segment_id, name, customers, share in found
    ]
    return lines, account


def suitability(published: Path) -> tuple[str, str] | None:
    """Whether a mixture is right for the published month: verdict and reason; None where that was not judged."""
    with reading(published) as connection:
        found = connection.execute("SELECT verdict, reason FROM suitability ORDER BY month DESC LIMIT 1").fetchone()
    return None if found is None else (found[0], found[1])


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def print_simplest(plan: Plan, found: SimplestSegments, why: str, file: Path, console: Console) -> None:
    """The groups that were cut where none could be found, and why."""
    say = plain_speech(console)
    say(why)
    say("")
    cuts = " and ".join(f"{cut.feature} at {figure(cut.value)}" for cut in found.cuts)
    say("What can be said all the same: groups by rule, cut where it halves the customers, and not found; nothing says")
    say(f"that customers form such groups, and there are no probabilities. Cut: {cuts}.")
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("segment by rule")
    for title in ("customers", "share", *(cut.feature.replace("_", " ") for cut in found.cuts)):
        grid.add_column(_escaped(title), justify="right")
    for place, (name, customers) in enumerate(zip(found.names, found.sizes, strict=True)):
        of_group = found.labels == place
        means = (figure(float(plan.values[cut.feature][of_group].mean())) for cut in found.cuts)
        grid.add_row(_escaped(name), f"{customers:,}", percent(customers / sum(found.sizes), 1), *means)
    console.print(grid)
    without = len(found.labels) - sum(found.sizes)
    if without:
        say(f"{counted(without)} without such a number {'is' if without == 1 else 'are'} in no group.")
    say("")
    say(f"Customers      {os.path.relpath(file)}   (each with its segment by rule)")
    say(f"As SQL         {found.sql}")


# --- a month that came to nothing -------------------------------------------------------------------------------------


def why_nothing(config: Config, month: date) -> NothingFoundError | None:
    """Why no number of segments may serve: the commonest reasons, and every candidate on a line; None where it was
    something else that stopped the month."""
    if not config.warehouse_path.exists():
        return None
    with duckdb.connect(str(config.warehouse_path), read_only=True) as connection:
        tried = connection.execute(
            "SELECT covariance_type, n_components, bic, stability, smallest_share, refusals "
            "FROM candidate_models JOIN candidate_parameters USING (month, covariance_type, n_components) "
            "WHERE month = ? ORDER BY covariance_type, n_components",
            [month],
        ).fetchall()
    if not tried or not all(refusals for *_, refusals in tried):
        return None
    unsound = next((reason for *_, refusals in tried for reason in refusals if reason.startswith("degenerate")), None)
    why_not = [list(dict.fromkeys(map(_in_short, refusals))) for *_, refusals in tried]
    counted = Counter(words for reasons in why_not for words in reasons)
    commonest = ", ".join(f"{words} ({count})" for words, count in counted.most_common())
    several = len({covariance_type for covariance_type, *_ in tried}) > 1
    lines = [
        f"{n:>8}  {bic:>12,.0f}  {'' if stability is None else format(stability, '.2f'):>9}  "
        f"{percent(smallest, 1):>8}  {f'{covariance_type} covariances: ' if several else ''}{', '.join(reasons)}"
        for (covariance_type, n, bic, stability, smallest, _), reasons in zip(tried, why_not, strict=True)
    ]
    table = "\n".join([f"{'segments':>8}  {'BIC':>12}  {'stability':>9}  {'smallest':>8}  why not", *lines])
    why = (
        "No trustworthy mixture was found, and nothing was published.\n"
        f"Why: of {len(tried)} {'mixtures' if several else 'numbers of segments'} tried, none may serve; "
        f"{commonest}.\n\n"
        f"{table}\n{'' if unsound is None else f'{unsound}.{chr(10)}'}\n{next_after_nothing(config)}"
    )
    unsettled = any(all(reason.startswith(_DISAGREE) for reason in refusals) for *_, refusals in tried)
    return SearchesDisagreeError(why) if unsettled else NothingFoundError(why)


def _in_short(refusal: str) -> str:
    """What to say of a refusal (models/selection.py) where there are many."""
    return next((words for begins, words in _REFUSALS.items() if refusal.startswith(begins)), refusal.split(":")[0])


_DISAGREE = "independent searches disagree"
_REFUSALS = {
    _DISAGREE: "independent searches disagree",
    "its smallest segment": "the smallest segment is too small",
    "degenerate": "a segment is a single value or a handful of customers",
    "the fit did not converge": "the fit did not converge",
    "more than the": "more segments than a team can act on",
    "flicker": "two segments exchange customers as if by chance",
    "passage": "nearly all leave a segment within a month",
    "its figures": "its figures are not finite",
    "cannot win": "cannot win",
}
"""How a refusal begins, and what to say of it; one that is not here is told up to its colon."""


def next_after_nothing(config: Config) -> str:
    return (
        "Next: other features (--features A,B,C), or more customers. The "
        f"configuration is in {os.path.relpath(config.path)}: change it, then  segment-pipeline run --config "
        f"{quote(os.path.relpath(config.path))}"
    )
