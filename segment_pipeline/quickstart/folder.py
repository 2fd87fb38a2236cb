"""The folder that a quickstart leaves: whose it is, and which files are put into it.

Here: what is in the way of writing, and the files for people and for the monthly pipeline. Not here: what stands in the
configuration (starter.py), and what the pipeline publishes.
"""

import csv
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import duckdb
import numpy as np

from segment_pipeline.config.starter_file import starter_text
from segment_pipeline.customers.simplest import SimplestSegments
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.errors import InputError
from segment_pipeline.publishing.exports import for_spreadsheet
from segment_pipeline.publishing.publish import reading
from segment_pipeline.quickstart.plan import Plan, put_customers
from segment_pipeline.quickstart.request import Request

CONFIGURATION, CUSTOMERS = "segmentation.yaml", "customers_with_probabilities.csv"
SIMPLEST = "customers_by_rule.csv"
"""Customers in groups by rule, where no mixture is to be trusted."""

_LEFT_BY_QUICKSTART = (
    "warehouse.duckdb",
    "warehouse.duckdb.wal",
    "segments.duckdb",
    CUSTOMERS,
    SIMPLEST,
)
_FOLDERS_LEFT_BY_QUICKSTART = ("dagster_home", "reports")
_MARK = "# Made by segment-pipeline quickstart. Fingerprint of what follows: "


def refuse_foreign_folder(out: Path) -> None:
    """Raises InputError unless `out` is new, empty, or what a quickstart left and nobody has changed since."""
    try:
        if not out.exists() or not any(out.iterdir()):
            return
    except NotADirectoryError:
        raise InputError(f"{out} is a file. Name a folder with --out.") from None
    except OSError as error:
        raise InputError(f"{out} cannot be read: {error.strerror}. Name another folder with --out.") from error
    file = out / CONFIGURATION
    try:
        first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        first, rest = "", ""
    if not first.startswith(_MARK):
        raise InputError(f"{out} has files in it that quickstart did not make. Name another folder with --out.")
    if first != _MARK + _fingerprint(rest):
        raise InputError(
            f"{file} was changed since quickstart wrote it, and would be overwritten. To use it: segment-pipeline run "
            f"--config {quote(str(file))}. To start over, name another folder with --out."
        )


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def start_over(plan: Plan, request: Request) -> Path:
    """The folder with nothing in it but the configuration of the plan, which is returned, and what that reads."""
    out = request.out
    body = starter_text(plan.starter)
    file = out / CONFIGURATION
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        _clear(out)
        # first, as it says whose folder this is: whoever is stopped before the rest is there may start over
        file.write_text(f"{_MARK}{_fingerprint(body)}\n{body}", encoding="utf-8")
        put_customers(plan, request, out)
    return file


def _clear(out: Path) -> None:
    """Take away what an earlier quickstart left, so that this one starts from nothing."""
    for name in _LEFT_BY_QUICKSTART:
        (out / name).unlink(missing_ok=True)
    for name in _FOLDERS_LEFT_BY_QUICKSTART:
        shutil.rmtree(out / name, ignore_errors=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Whatever keeps us from writing there, in one sentence."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(
            f"{out} cannot be written: {why}. Name with --out a folder in which you may create files."
        ) from error


def write_customers(published: Path, file: Path) -> None:
    """Every customer of the published month with a probability per segment, as CSV that a spreadsheet may open."""
    with reading(published) as connection:
        ids = [row[0] for row in connection.execute("SELECT segment_id FROM current_profiles ORDER BY 1").fetchall()]
        each = ", ".join(
            f"probabilities[list_position(segment_ids, {segment_id})] AS {identifier(f'probability_{segment_id}')}"
            for segment_id in ids
        )
        query = (
            f"SELECT customer_id, segment_id, segment_name, max_probability, {each}, second_segment_id, "
            "second_probability, tier, is_hybrid FROM current_assignments ORDER BY customer_id"
        )
        connection.execute(f"COPY ({for_spreadsheet(connection, query)}) TO {literal(str(file))} (FORMAT csv, HEADER)")


def _harmless(text: str) -> str:
    """The text as `for_spreadsheet` puts it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write_simplest(plan: Plan, found: SimplestSegments, file: Path) -> None:
    """Every customer with its group and the figures that decide it, as CSV."""
    ids = np.array([_harmless(one) for one in plan.ids.tolist()], dtype=np.str_)
    columns = {"customer_id": ids, "segment": np.array([*found.names, ""])[found.labels]}
    columns |= {cut.feature: plan.values[cut.feature] for cut in found.cuts}
    with file.open("w", encoding="utf-8", newline="") as target:
        rows = csv.writer(target)
        rows.writerow(columns)
        rows.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
