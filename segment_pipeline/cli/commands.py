"""The other commands, each a few lines over the function that does it."""

import argparse
import os
import re
import signal
import socket
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from segment_pipeline.config.campaigns import load_campaigns
from segment_pipeline.config.config import Config
from segment_pipeline.config.source import rejected_without_orders
from segment_pipeline.errors import ConfigError, PipelineError, SourceError
from segment_pipeline.months import month_key, month_range

if TYPE_CHECKING:
    from segment_pipeline.quickstart.request import Request


EXIT_FAILED, EXIT_USAGE = 1, 2
EXIT_STOPPED = 130  # as a shell has it of Ctrl-C, so that a script can tell it from a failure


def _request(chosen: argparse.Namespace, out: Path) -> "Request":
    from segment_pipeline.quickstart.request import Request

    return Request(
        file=chosen.files[0],
        more=chosen.files[1:],
        out=out,
        customer_id=chosen.customer_id,
        features=chosen.features,
        ordered_at=chosen.date,
        amount=chosen.amount,
        order_id=chosen.order_id,
        product_id=chosen.product_id,
        where=chosen.where,
        month=chosen.month,
        window_months=chosen.window_months,
        transforms=dict(chosen.transform),
        resolutions=dict(chosen.resolution),
        segments=chosen.segments,
        covariance=chosen.covariance,
        hurdle=chosen.hurdle if chosen.hurdle != "propose" else None,
        no_hurdle=chosen.hurdle is None,
        separator=chosen.sep,
        decimal=chosen.decimal,
        date_format=chosen.date_format,
        repeats_once=None if chosen.repeats is None else chosen.repeats == "once",
        time_zone=chosen.time_zone,
        memory_limit=chosen.memory_limit,
        seed=chosen.seed,
    )


def quickstart_command(chosen: argparse.Namespace) -> int:
    from segment_pipeline.quickstart.command import quickstart

    # without what a pattern, or a packed file, has in its name: no folder begins with a point, or is called .csv
    unpacked = re.sub(r"(\.\w+)?\.(gz|zst)$", "", chosen.files[0].name) or chosen.files[0].name
    name = re.sub(r"[*?\[\]]", "", re.sub(r"\.\w*$", "", unpacked)).strip("_-. ")
    name = name or chosen.files[0].parent.name.strip(". ") or "customers"  # of exports/*.csv, where they lie
    return quickstart(_request(chosen, chosen.out or Path(f"{name}_segments")))


def inspect_command(chosen: argparse.Namespace) -> int:
    from segment_pipeline.quickstart.command import inspect

    return inspect(_request(chosen, Path()))


def init_command(chosen: argparse.Namespace) -> int:
    from segment_pipeline.quickstart.project import Beside, initialise

    request = _request(chosen, chosen.folder / "data") if chosen.files is not None else None
    return initialise(chosen.folder, request, Beside(chosen.products, chosen.category, chosen.events))


def features_command(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.cli.features import features_command

    return features_command(config, chosen)


def export_command(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.exports import FORMATS, export_month

    export = export_month(
        config.published_path,
        config.name,
        folder=chosen.out,
        month=chosen.month,
        delta=chosen.delta,
        formats=tuple(FORMATS) if chosen.format == "both" else (chosen.format,),
        spreadsheet=chosen.spreadsheet,
    )
    for file in export.manifest["files"]:
        print(f"{export.folder / file['name']}: {file['rows']:,} customers, {file['bytes']:,} bytes")
    return 0


def explain_command(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.explain import explain
    from segment_pipeline.publishing.publish import reading

    _require_published(config)
    with reading(config.published_path) as connection:
        for line in explain(connection, chosen.customer_id, chosen.month):
            print(line)
    return 0


def _require_published(config: Config) -> None:
    if not config.published_path.exists():
        raise PipelineError(
            f"{config.published_path} does not exist: nothing is published yet. "
            f"Run: segment-pipeline run --config {quote(str(config.path))}"
        )


def score_sql_command(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.publish import months_of_other_settings, reading
    from segment_pipeline.publishing.score_sql import latest_scoring, score_sql

    published = config.published_path
    _require_published(config)
    with reading(published) as connection:
        scoring = latest_scoring(connection, config.tiers)
    if scoring is None:
        raise PipelineError(
            f"{published} has no month with its limits in feature_limits (it was made by an older version). Run its "
            f"latest month again: segment-pipeline run --config {quote(str(config.path))} --months YYYY-MM --force"
        )
    if scoring.month in months_of_other_settings(published, config.config_hash):
        print(
            f"{month_key(scoring.month)} was made with other settings than {config.path} has now; if `tiers` changed, "
            "the query's tiers are the new ones, and those in monthly_assignments the old ones.",
            file=sys.stderr,
        )
    window = config.source.window_months if config.source.orders is not None else None
    text = score_sql(scoring, chosen.dialect, chosen.table, window)
    if chosen.out is None:
        print(text, end="")
        return 0
    try:
        chosen.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"--out: {chosen.out} cannot be written ({error.strerror}); name another file.") from error
    print(
        f"{chosen.out}: model version {scoring.model.model_version} of {month_key(scoring.month)} as one query on "
        f"{chosen.table}. It expects customer_id, {', '.join(scoring.model.space.names)}; the comment on top says more."
    )
    return 0


def report_command(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline.publishing.publish import published_months, reading
    from segment_pipeline.report.queries import ReportError
    from segment_pipeline.report.report import write_report

    months = published_months(config.published_path)
    if not months:
        raise ReportError(
            f"{config.published_path} is not there yet, or empty: no month is published. "
            f"Run first: segment-pipeline run --config {quote(str(config.path))}"
        )
    with reading(config.published_path) as connection:
        month, folder = chosen.month or max(months), config.published_path.parent
        report = write_report(connection, config.name, month, folder)
    print(f"{report.path}: {report.size:,} bytes")
    for sentence in report.sentences:
        print(sentence)
    return 0


def ui_command(config: Config, chosen: argparse.Namespace) -> int:
    from segment_pipeline import run_months
    from segment_pipeline.cli.reports_server import serve_reports
    from segment_pipeline.orchestration.settings import REPORTS_VARIABLE

    _refuse_taken(chosen.port)
    home = run_months.enter(config)
    # Our own, whatever workspace.yaml lies in the current folder; the location's name is the one that it has there.
    workspace = home / "workspace.yaml"
    workspace.write_text(
        "load_from:\n  - python_module:\n      module_name: segment_pipeline.definitions\n"
        "      location_name: segment_pipeline\n"
    )
    if not os.environ.get(REPORTS_VARIABLE):
        os.environ[REPORTS_VARIABLE] = serve_reports(config.published_path.parent / "reports", chosen.port + 1)
    # `dagster dev` advises a tool that is not among this project's, and says of itself that it is superseded by it
    quiet = ["-W", "ignore:Function `dev_command`:FutureWarning"]
    command = ["dagster", "dev", "--workspace", str(workspace), "--host", "127.0.0.1", "--port", str(chosen.port)]
    # A shell starts what it runs in the background with SIGINT ignored, Dagster takes SIGTERM for SIGINT, and then
    # nothing ended it, nor the four processes below it, but SIGKILL, one by one.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *quiet, "-m", *command])  # noqa: S606 - no shell, fixed program


def _refuse_taken(port: int) -> None:
    """Raises PipelineError where something answers on the port: Dagster would say so in the middle of a traceback."""
    with socket.socket() as there:
        if there.connect_ex(("127.0.0.1", port)) == 0:
            raise PipelineError(
                f"Port {port} is taken, perhaps by another Dagster UI: look at http://127.0.0.1:{port}, or name "
                f"another: segment-pipeline ui --port {min(port + 10, 65_535)}"
            )


def check_command(config: Config, _: argparse.Namespace) -> int:
    _open_what_is_named(config)
    if config.alternatives.rules:
        from segment_pipeline.alternatives.alternatives_store import rules_that_fail

        failing = rules_that_fail(config)
        if failing:
            raise ConfigError("\n".join(f"{config.path}: {problem}" for problem in failing))
    from segment_pipeline.database.engines.engine import problems_of
    from segment_pipeline.publishing.stores.filling import stores_of

    missing = [problem for store in stores_of(config) for problem in store.problems()]
    missing += problems_of(config)
    if missing:
        raise ConfigError("\n".join(f"{config.path}: {problem}" for problem in missing))
    for name in rejected_without_orders(config.features, config.source):
        print(
            f"{config.path}: {name} has no value for customers who have events and no order (source.customers: any): "
            "they are rejected unless its `missing` says what stands for it.",
            file=sys.stderr,
        )
    if config.source.orders is not None and config.source.orders.table is not None:
        print(
            f"{config.path}: source.orders.table: of closed months of {config.source.orders.table} nothing is kept "
            "folded, as it is of files: each month reads all of its lines up to then. A large one is best partitioned "
            f"by the day or month of {config.source.orders.ordered_at}.",
            file=sys.stderr,
        )
    campaigns = f"{len(load_campaigns(config))} campaigns, " if config.campaigns is not None else ""
    if config.published_path.exists() and (config.actions or config.segments):
        from segment_pipeline.campaigns.actions_store import unknown_segments
        from segment_pipeline.publishing.publish import reading

        with reading(config.published_path) as connection:
            for remark in unknown_segments(connection, config.actions, config.segments):
                print(f"{config.path}: {remark}", file=sys.stderr)
    print(
        f"{config.path}: fine. {len(config.features)} features, {campaigns}"
        f"first month {month_key(config.first_month)}. The source opens, and has the columns that are named; its rows "
        "were not read."
    )
    return 0


def _open_what_is_named(config: Config) -> None:
    """Every file that the configuration names, and the columns and expressions over it. Raises ConfigError."""
    from segment_pipeline.audit.audit_store import check_labels
    from segment_pipeline.campaigns.outcomes_store import open_outcomes
    from segment_pipeline.database.engines.engine import looking
    from segment_pipeline.quickstart.request import last_closed_month
    from segment_pipeline.sources.sources import check_source

    months = month_range(config.first_month, max(config.first_month, last_closed_month()))
    with looking(config) as connection:
        try:
            check_source(connection, config, months)
            check_labels(connection, config, months)
            if config.outcomes is not None:
                open_outcomes(connection, config, config.outcomes)
        except SourceError as error:
            raise ConfigError(str(error)) from error
