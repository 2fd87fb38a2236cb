"""Commands, flags and help pages of `segment-pipeline`. A help page is shown at once: nothing heavy is imported."""

import argparse
import math
import os
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic_core import PydanticCustomError

from segment_pipeline import __version__
from segment_pipeline.cli.commands import (
    check_command,
    explain_command,
    export_command,
    features_command,
    init_command,
    inspect_command,
    quickstart_command,
    report_command,
    score_sql_command,
    ui_command,
)
from segment_pipeline.cli.names import name_command
from segment_pipeline.cli.people import forget_command, merge_command
from segment_pipeline.cli.run import run_command
from segment_pipeline.config.values import amount_of_memory
from segment_pipeline.months import month_range, parse_month
from segment_pipeline.publishing.dialects import DIALECTS

USUAL_CONFIG, CONFIG_HERE = Path("data/segmentation.yaml"), Path("segmentation.yaml")
"""Where a project has the user's file, and where a quickstart leaves it."""


BEGIN = """\
begin with one of:
  segment-pipeline quickstart customers.csv          one CSV, segments within a minute, nothing to set up
  segment-pipeline init my_shop --from orders.csv    a project for every month, from your own data
  segment-pipeline run                               segment what is due, in a folder with data/segmentation.yaml
"""
EPILOG = f"""\
{BEGIN}
`segment-pipeline COMMAND --help` has examples and exit codes. Every key of the configuration is explained in the file
itself; tutorial and how-to pages are in docs/.
"""


RUN_EPILOG = """\
examples:
  segment-pipeline run                              every month that is closed and not yet published
  segment-pipeline run --months 2017-05..2017-08    only these, where they are not yet published
  segment-pipeline run --months 2017-05 --force     one month again; if it comes out different, the later
                                                    months that were made from it are named
  segment-pipeline run --quiet                      for cron: nothing is printed unless something is wrong

exit code:
  0 every month asked for is published, 1 one is not, or stands in segments.duckdb and not in a store that `publish`
  names, 2 nothing was tried, 130 stopped by Ctrl-C

A run that was stopped or killed takes nothing away: run the same command again to go on.
"""


UI_EPILOG = """\
examples:
  segment-pipeline ui                                    http://127.0.0.1:3000, on data/segmentation.yaml
  segment-pipeline ui --config shop.yaml --port 3001     another configuration, beside it

Switch on the schedule and the sensors under Automation. End it with Ctrl-C: no published month is lost.
"""


CHECK_EPILOG = """\
examples:
  segment-pipeline check                        data/segmentation.yaml
  segment-pipeline check --config shop.yaml     another one

exit code:
  0 a run would accept it, 2 it would not: each line on standard error says where, what was found and what is allowed
"""


EXPORT_EPILOG = """\
examples:
  segment-pipeline export                             everybody of the latest month
  segment-pipeline export --month 2017-12 --delta     what changed from 2017-11 to 2017-12
  segment-pipeline export --format csv --out crm/in   only CSV, into this folder

exit code:
  0 the files are in place, 1 they are not and the folder is as it was, 2 nothing was tried
"""


EXPLAIN_EPILOG = """\
examples:
  segment-pipeline explain 730451                    where this customer is now, and what moved it there
  segment-pipeline explain 730451 --month 2017-11    an older month

The same in SQL: customer_months, and all that moved it in customer_changes.

exit code:
  0 the story is told, 1 nothing is known of the customer, 2 nothing was tried
"""


SCORE_SQL_EPILOG = """\
examples:
  segment-pipeline score-sql --dialect postgres --table shop.customers --out score.sql
  segment-pipeline score-sql --dialect duckdb       print it; `score` in segments.duckdb does the same

The file is one query, with a comment on top that names the columns it expects and what becomes of values that the
pipeline would have rejected. Write it again when the champion was replaced.

exit code:
  0 the query is written, 1 it is not, 2 nothing was tried
"""


FEATURES_EPILOG = """\
examples:
  segment-pipeline features                    the last month of data/segmentation.yaml that is over
  segment-pipeline features --month 2017-09    another one

Nothing is written: paste what you like into `features` of the configuration, then  segment-pipeline run --force

exit code:
  0 the table is printed, 1 the source cannot be read, 2 nothing was tried
"""


REPORT_EPILOG = """\
examples:
  segment-pipeline report                      the latest published month
  segment-pipeline report --month 2017-11      an older month, as it stands in the published file

exit code:
  0 the report is in place, 1 it is not, 2 nothing was tried
"""


NAME_EPILOG = """\
examples:
  segment-pipeline name 6 "Weekend families"       what reports, tables and files call segment 6 from the next run on

exit code:
  0 the name stands in the configuration, 1 nothing is published yet, 2 it cannot be written: nothing was changed
"""


FORGET_EPILOG = """\
examples:
  segment-pipeline forget 730451                        every trace of this customer
  segment-pipeline forget ana@example.com ben@example.com
  segment-pipeline forget 730451 --dry-run              how many rows that would be

Forget first, then delete at the source: what the source still holds of them is left out, and no later run takes that
for a change. Stopped or killed, the same command goes on. Close Dagster's UI and daemon before.

exit code:
  0 no trace is left, 1 something is (the message says what), 2 nothing was tried, 130 stopped by Ctrl-C
"""


MERGE_EPILOG = """\
examples:
  segment-pipeline merge 1204 into 730451               whatever there is of 1204 is 730451's
  segment-pipeline merge 1204 into 730451 --dry-run     how many rows that would be

exit code:
  0 they are one customer, 1 they are not (the message says why), 2 nothing was tried, 130 stopped by Ctrl-C
"""


QUICKSTART_EPILOG = """\
examples:
  segment-pipeline quickstart customers.csv                                 find out all by itself
  segment-pipeline quickstart customers.csv --features visits,spend,tenure  segment by these
  segment-pipeline quickstart orders.csv --date bought_on --amount total    order lines, with these columns
  segment-pipeline quickstart kunden.csv --sep ';' --decimal ,              written like this

what it leaves in DIR:
  reports/MONTH.html                  the report
  customers_with_probabilities.csv    every customer, with a probability per segment
  segments.duckdb                     the same and all else, for SQL
  segmentation.yaml                   the configuration, to be changed and run again
  customers_by_rule.csv               instead of these, where no mixture is to be trusted

exit code:
  0 all is there, or groups by rule where no mixture is to be trusted, 1 a question that only you can answer,
  2 the file or a flag cannot be used, 130 stopped by Ctrl-C
"""


INSPECT_EPILOG = """\
examples:
  segment-pipeline inspect orders.csv                         columns, roles, and the flags that change them
  segment-pipeline inspect orders.csv --customer-id buyer     the same, with the customer named
  segment-pipeline inspect 'exports/orders_*.csv'             several files of the same columns

exit code:
  0 it is understood, 1 there is a question that only you can answer, 2 the file or a flag cannot be used
"""


_FILES = "customers, or order lines: delimited text, Excel, Parquet or JSON lines, also gzipped; or a pattern"


INIT_EPILOG = """\
examples:
  segment-pipeline init my_shop --from orders.csv       order lines: read where they are, every month
  segment-pipeline init my_shop --from customers.csv    customers: one file a month, the first is made from this one
  segment-pipeline init my_shop --from orders.csv --products products.csv --events sessions=sessions.csv
                                                        with the products' categories, and who visits how often
  segment-pipeline init my_shop                         an example to be filled in

exit code:
  0 the project is there, 1 there is a question that only you can answer, 2 it is not; nothing was overwritten
"""


def command_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segment-pipeline",
        description="Month after month, who your customers are becoming, as probabilities.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="segment every month that is due and not yet published",
        description="Segment months in order and publish each; the runs stand in the Dagster UI's history.",
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "--months", type=_months, metavar="FROM..TO", help="only these, for example 2017-05..2017-08 or 2017-05"
    )
    run.add_argument("--force", action="store_true", help="run months again that are already published")
    run.add_argument(
        "--accept-loss",
        type=_months,
        metavar="FROM..TO",
        help="let an older warehouse overwrite these months of the published file, which is kept under another name",
    )
    run.add_argument("--quiet", action="store_true", help="print errors only")
    run.set_defaults(command=run_command)

    ui = commands.add_parser(
        "ui",
        help="open the Dagster UI on this configuration",
        description="Start the Dagster UI and the daemon that runs its schedule and sensors.",
        epilog=UI_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ui.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("PORT", "3000"),
        help="port on 127.0.0.1 (default: PORT of the environment, or 3000)",
    )
    ui.set_defaults(command=ui_command)

    check = commands.add_parser(
        "check",
        help="read the configuration and say what is wrong with it",
        description="Read the configuration and the campaign file, and open what they name: the source has to\n"
        "have the columns. Nothing is run or written.",
        epilog=CHECK_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.set_defaults(command=check_command)

    features = commands.add_parser(
        "features",
        help="which features to segment by, measured on your source",
        description="Look at every number that the configured source gives of a customer, and say of each whether it\n"
        "separates segments, lasts, repeats others, and adds to what is known of the next window. Nothing is written.",
        epilog=FEATURES_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    features.add_argument("--month", type=_month, metavar="MONTH", help="for example 2017-12 (default: the last one)")
    features.set_defaults(command=features_command)

    export = commands.add_parser(
        "export",
        help="write a published month's customers, or what changed, as files for other systems",
        description="Write Parquet and CSV files and, last, manifest.json with their counts and SHA-256.\n"
        "Only the published file is read, so a run may be at work.",
        epilog=EXPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("--month", type=_month, metavar="MONTH", help="for example 2017-12 (default: the latest)")
    export.add_argument(
        "--out", type=Path, metavar="DIR", help="default: exports/MONTH/full, or delta, beside the published file"
    )
    export.add_argument("--delta", action="store_true", help="only who was added, changed or removed since last month")
    export.add_argument("--format", choices=("parquet", "csv", "both"), default="both", help="default: %(default)s")
    export.add_argument(
        "--spreadsheet",
        action="store_true",
        help="for a CSV that people open: text that a spreadsheet would run as a formula (=, +, -, @) begins with '",
    )
    export.set_defaults(command=export_command)

    explain = commands.add_parser(
        "explain",
        help="one customer's story: where it is, what moved it, what is expected",
        description="Say why a customer is in its segment: what each feature has contributed since the month before,\n"
        "adding up to the change, and what is expected next. Only the published file is read.",
        epilog=EXPLAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument("customer_id", metavar="CUSTOMER_ID", help="as the source has it")
    explain.add_argument("--month", type=_month, metavar="MONTH", help="for example 2017-12 (default: its latest)")
    explain.set_defaults(command=explain_command)

    score = commands.add_parser(
        "score-sql",
        help="write the champion as one SQL query, to score customers in your own warehouse",
        description="Write the query that gives each row of a table the segments of the latest published month:\nthe "
        "same probabilities as monthly_assignments, with no Python.",
        epilog=SCORE_SQL_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    score.add_argument("--dialect", choices=tuple(DIALECTS), required=True, help="the engine that will run it")
    score.add_argument(
        "--table",
        default="customers",
        metavar="NAME",
        help="the table with customer_id and the raw features, as it is written there (default: %(default)s)",
    )
    score.add_argument("--out", type=Path, metavar="FILE", help="default: print it")
    score.set_defaults(command=score_sql_command)

    report = commands.add_parser(
        "report",
        help="write a published month's report again, as one HTML file",
        description="Write reports/MONTH.html beside the published file; every run does so for its month.\nOnly the "
        "published file is read, so a run may be at work.",
        epilog=REPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("--month", type=_month, metavar="MONTH", help="for example 2017-12 (default: the latest)")
    report.set_defaults(command=report_command)

    name = commands.add_parser(
        "name",
        help="call a segment by a name of your own",
        description="Write the name under `segments` in the configuration; all else there, comments too, stays.",
        epilog=NAME_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    name.add_argument("segment_id", type=int, metavar="SEGMENT_ID", help="as the report and the tables have it")
    name.add_argument("name", metavar="NAME", help="in quotes where it has blanks")
    name.set_defaults(command=name_command)

    forget = commands.add_parser(
        "forget",
        help="leave no trace of customers who ask for it, and let nobody bring them back",
        description="Take customers out of the warehouse, the published file, stores, reports, exports and Dagster's\n"
        "history. Figures of segments and of all customers stay as they were; the rows that are gone are counted\n"
        "beside them.",
        epilog=FORGET_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    forget.add_argument("customer_ids", nargs="+", metavar="CUSTOMER_ID", help="as the source has it")
    forget.set_defaults(command=forget_command)

    merge = commands.add_parser(
        "merge",
        help="say that two ids are the same person",
        description="Give a customer's past to the id that the person has now. In months that have both, the row of\n"
        "the new id stays.",
        epilog=MERGE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    merge.add_argument("old", metavar="OLD", help="the id that is no more")
    merge.add_argument("into", type=str.lower, choices=("into",), metavar="into")
    merge.add_argument("new", metavar="NEW", help="the id that the person has now")
    merge.set_defaults(command=merge_command)
    for command in (forget, merge):
        command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    quickstart = commands.add_parser(
        "quickstart",
        help="a file in sixty seconds: segments, report and a configuration to go on with",
        description="Segment the customers of one file: one row per customer, or order lines.\nEach guess is printed "
        "with the flag that overrules it.",
        epilog=QUICKSTART_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    quickstart.add_argument("files", type=Path, nargs="+", metavar="FILE", help=_FILES)
    quickstart.add_argument("--out", type=Path, metavar="DIR", help="default: FILE_segments in the current folder")
    _add_guesses(quickstart)
    quickstart.set_defaults(start=quickstart_command)

    inspect = commands.add_parser(
        "inspect",
        help="what each column of a file would be taken for, and why",
        description="Read a file as quickstart and init do, and say what they would make of it. Nothing is fitted or "
        "written.",
        epilog=INSPECT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("files", type=Path, nargs="+", metavar="FILE", help=_FILES)
    _add_guesses(inspect)
    inspect.set_defaults(start=inspect_command)

    init = commands.add_parser(
        "init",
        help="a folder for a monthly pipeline on your own data",
        description="Make a project that `segment-pipeline run` and `dagster dev` work with.\nAsks on a terminal, "
        "unless --from is given; nothing that exists is overwritten.",
        epilog=INIT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("folder", type=Path, nargs="?", default=Path(), metavar="DIR", help="default: the current folder")
    init.add_argument(
        "--from", type=Path, action="append", dest="files", metavar="FILE", help=f"{_FILES}; may be repeated"
    )
    beside = init.add_argument_group("what lies beside order lines")
    beside.add_argument("--products", type=Path, metavar="FILE", help="the products' categories, a row each")
    beside.add_argument("--category", metavar="COLUMN", help="which column of that file is the category")
    beside.add_argument(
        "--events",
        type=_named_file,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a feed of events, a row each, such as sessions=sessions.csv; may be repeated",
    )
    _add_guesses(init)
    init.set_defaults(start=init_command)

    for command in (run, export, explain, score, report, ui, check, features, name, forget, merge):
        command.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help=f"the user's file (default: {USUAL_CONFIG}; without one, {CONFIG_HERE})",
        )
    return parser


def _add_guesses(command: argparse.ArgumentParser) -> None:
    """The flags that overrule what is found in a file."""
    what = command.add_argument_group("which column is what")
    for flag, meaning in (
        ("--customer-id", "the customer"),
        ("--date", "when an order was placed"),
        ("--amount", "what an order line cost; also arithmetic: 'Debit - Credit', 'Quantity * Price'"),
        ("--order-id", "the order that a line belongs to"),
        ("--product-id", "the product of a line"),
    ):
        what.add_argument(flag, metavar="COLUMN", help=meaning)
    what.add_argument(
        "--where", metavar="SQL", help="which order lines count, for example \"status <> 'cancelled'\" (default: all)"
    )
    how = command.add_argument_group("how the file is written")
    how.add_argument("--sep", metavar="CHARACTER", type=_separator, help="what stands between columns")
    how.add_argument("--decimal", choices=(".", ","), metavar="MARK", help="the decimal mark: . or ,")
    how.add_argument(
        "--repeats",
        choices=("keep", "once"),
        help="rows that repeat another in every column: count each, or once (default: once where two exports overlap)",
    )
    how.add_argument("--date-format", metavar="FORMAT", type=_date_format, help="for example %%d/%%m/%%Y")
    how.add_argument(
        "--time-zone",
        metavar="ZONE",
        type=_time_zone,
        help="whose local times become of times with an offset, for example Europe/Berlin (default: as they stand)",
    )
    model = command.add_argument_group("what is made of it")
    model.add_argument("--features", metavar="A,B,C", type=_names, help="what to segment by, and nothing else")
    model.add_argument(
        "--transform",
        metavar="A=log1p",
        action="append",
        default=[],
        type=_transform,
        help="none, log, log1p or logit, for one feature; may be repeated",
    )
    model.add_argument(
        "--resolution",
        metavar="A=1",
        action="append",
        default=[],
        type=_named_number,
        help="the step in which values come, for one feature; may be repeated",
    )
    model.add_argument("--segments", metavar="3..8", type=_range, help="smallest and largest number to try")
    model.add_argument(
        "--covariance",
        metavar="A,B",
        type=_covariances,
        help="types of covariances to try, of full, diagonal, tied and spherical (default: full)",
    )
    model.add_argument(
        "--hurdle",
        metavar="A=1",
        default="propose",
        type=_hurdle,
        help="a value that is a segment by rule; none for no such rule",
    )
    model.add_argument(
        "--month", metavar="MONTH", type=_month, help="the month the customers are of, for example 2017-12"
    )
    model.add_argument("--window-months", metavar="N", type=int, help="how far back order lines count")
    model.add_argument(
        "--seed", metavar="N", type=int, default=42, help="of every random choice (default: %(default)s)"
    )
    model.add_argument(
        "--memory-limit",
        metavar="4GB",
        type=_memory,
        help="what DuckDB may use before it spills to disk, now and in each month (default: 4GB)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 1 to 65535, such as 3001")
    return int(text)


def _date_format(text: str) -> str:
    import duckdb

    try:
        duckdb.execute("SELECT try_strptime('', ?)", [text])
    except duckdb.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no way to write dates; write one such as %d/%m/%Y") from error
    return text


def _separator(text: str) -> str:
    character = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(character) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character; for tabs write tab")
    return character


def _time_zone(text: str) -> str:
    try:
        return str(ZoneInfo(text))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time zone; write one such as Europe/Berlin") from error


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r}: write FEATURE=VALUE")
    return name.strip(), value.strip()


def _transform(text: str) -> tuple[str, str]:
    name, value = _named(text)
    if value not in ("none", "log", "log1p", "logit"):
        raise argparse.ArgumentTypeError(f"{value!r} is none of none, log, log1p, logit")
    return name, value


def _named_file(text: str) -> tuple[str, Path]:
    name, file = _named(text)
    return name, Path(file)


def _named_number(text: str) -> tuple[str, float]:
    name, value = _named(text)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number above 0")
    return name, number


def _hurdle(text: str) -> tuple[str, float] | str | None:
    if text in ("none", "propose"):
        return None if text == "none" else "propose"
    name, value = _named(text)
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number") from error


def _covariances(text: str) -> list[str]:
    found = _names(text)
    if not found or len(set(found)) < len(found) or not set(found) <= {"full", "diagonal", "tied", "spherical"}:
        raise argparse.ArgumentTypeError(f"{text!r}: write some of full,diagonal,tied,spherical, each once")
    return found


def _range(text: str) -> tuple[int, int]:
    low, dots, high = text.partition("..")
    if not low.isdigit() or not (high.isdigit() if dots else True):
        raise argparse.ArgumentTypeError(f"{text!r}: write 3..8, or 5")
    found = int(low), int(high if dots else low)
    if not 2 <= found[0] <= found[1] <= 50:
        raise argparse.ArgumentTypeError(f"{text!r}: from 2 to 50, the smaller first")
    return found


def _month(text: str) -> date:
    try:
        return parse_month(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _memory(text: str) -> str:
    try:
        return amount_of_memory(text)
    except PydanticCustomError as error:
        raise argparse.ArgumentTypeError("expected an amount of memory such as 4GB or 512MB") from error


def _months(text: str) -> list[date]:
    first, dots, last = text.partition("..")
    try:
        months = month_range(parse_month(first), parse_month(last if dots else first))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    if not months:
        raise argparse.ArgumentTypeError(f"{text} ends before it begins")
    return months
