"""What a person wants to know after a run: a summary of the published file for a terminal, a digest for a channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from segment_pipeline.database.rows import Row, is_there
from segment_pipeline.early_warnings.rules_store import contact_list_told, warning_figures
from segment_pipeline.months import month_key
from segment_pipeline.movement.reference_store import chance_moved, chance_warned
from segment_pipeline.segments.assignments_store import movement_figures
from segment_pipeline.segments.charts_store import share_history
from segment_pipeline.sources.reconciliation import OUTSIDE, USED, Part, account_in_words, part, read_account
from segment_pipeline.value.methods import METHODS
from segment_pipeline.value.tables import CUSTOMER_VALUE
from segment_pipeline.value.value_store import money_of, segments_money
from segment_pipeline.words import counted, figure, listed, percent, points


@dataclass(frozen=True)
class Summary:
    """A published month, the last that was run, and how it came about. months : all that are published."""

    name: str
    months: Sequence[date]
    month: date
    customers: int
    segments: Sequence[Row]
    money: Row | None
    money_of_segments: Sequence[Row]
    moved: Mapping[str, int]
    chance: str
    account: Sequence[Part]
    rejected: Sequence[tuple[date, int, str]]
    refits: Sequence[tuple[date, int, int, str]]
    warnings: dict[str, int]
    warned: str
    contact_list: str | None
    hybrids: str | None
    alerts: Sequence[tuple[str, str, int | None, str | None, float, float]]
    campaigns: Sequence[str]
    published: Path


def summarise(name: str, published: Path, connection: duckdb.DuckDBPyConnection, ran: Sequence[date] = ()) -> Summary:
    """Read the published file, to which `connection` leads; it has at least one month. ran : the months of the run, of
    which the last is told, and of all the campaigns; the last published one where none was run."""

    def rows(query: str, *given: Any) -> list[tuple[Any, ...]]:
        return connection.execute(query, given).fetchall()

    months = [row[0] for row in rows("SELECT DISTINCT month FROM monthly_assignments ORDER BY month")]
    last = max((month for month in ran if month in months), default=months[-1])
    segments = [row for row in share_history(connection, last) if row["month"] == last]
    account = read_account(connection, last)
    is_valued = is_there(connection, CUSTOMER_VALUE.name)  # a file of before has no such table
    # the orders of nobody are lines that are left out, and no customer who was rejected
    somebody = "NOT list_contains(reasons, 'missing_customer_id')" if part(account, USED).orders is not None else "true"
    return Summary(
        name=name,
        months=months,
        month=last,
        customers=rows("SELECT count(*) FROM monthly_assignments WHERE month = ?", last)[0][0],
        segments=sorted(segments, key=lambda row: (-row["share"], row["segment_id"])),
        money=money_of(connection, last) if is_valued else None,
        money_of_segments=segments_money(connection, last) if is_valued else [],
        moved=movement_figures(connection, last),
        chance=chance_moved(connection, last),
        account=account,
        rejected=rows(
            f"""
            SELECT month, count(DISTINCT row_number), string_agg(DISTINCT reason, ', ' ORDER BY reason) FROM (
                SELECT month, row_number() OVER () AS row_number, unnest(reasons) AS reason FROM rejected_customers
                WHERE {somebody}
            ) GROUP BY month ORDER BY month
            """
        ),
        refits=rows(
            "SELECT trained_month, model_version, coalesce(n_segments, n_components), reason FROM model_versions "
            "ORDER BY 1"
        ),
        warnings=warning_figures(connection, last),
        warned=chance_warned(connection, last),
        contact_list=contact_list_told(connection, last),
        hybrids=rows(
            # against customers of a single segment where there are enough, or against all others
            "SELECT max_by(sentence, subject) FROM model_validation WHERE metric = 'hybrid_spend_ratio' "
            "AND value IS NOT NULL AND month = ?",
            last,
        )[0][0],
        alerts=rows(
            """
            SELECT status, metric, segment_id, feature, value, threshold FROM drift_alerts
            WHERE month = ? AND fired ORDER BY metric, segment_id, feature
            """,
            last,
        ),
        campaigns=campaign_verdicts(connection, ran or months[-1:]),
        published=published,
    )


def campaign_verdicts(connection: duckdb.DuckDBPyConnection, months: Sequence[date]) -> list[str]:
    """What `campaign_lift` says of each whole campaign in these months, a line for every metric and comparison."""
    rows = connection.execute(
        "SELECT month, campaign, metric, against, verdict FROM campaign_lift "
        f"WHERE segment_id IS NULL AND month IN ({', '.join('?' for _ in months)}) ORDER BY ALL",
        list(months),
    ).fetchall()
    return [
        f"Campaign {campaign}, {metric} against {against}, {month_key(month)}: {verdict}."
        for month, campaign, metric, against, verdict in rows
    ]


def print_summary(summary: Summary, console: Console) -> None:
    """Months, customers, segments, movement, warnings, rejections, refits, alerts, campaigns, and where the file is."""
    told = month_key(summary.month)

    def say(text: str) -> None:
        # names are data: brackets in them are not markup; a path is not broken into lines
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say("")
    first, last = month_key(summary.months[0]), month_key(summary.months[-1])
    span = first if first == last else f"{first} to {last}"
    say(f"{summary.name}: {counted(len(summary.months), 'month')} published, {span}.")
    say(f"In {told}: {counted(summary.customers)} in {counted(len(summary.segments), 'segment')}.")
    # a file of before, and one whose source knows no money, tell none
    money = (
        ["of revenue", "spent each"] if any(row.get("revenue_share") is not None for row in summary.segments) else []
    )
    columns = ("id", "segment", "role", "customers", "share", "vs month before", *money)
    table = Table(*columns, box=None, pad_edge=False)
    for row in summary.segments:
        against = "" if row["change"] is None else f"{points(row['change'])} points"
        role, share = (row["role"] or "").replace("_", " "), percent(row["share"], 1)
        cells = [str(row["segment_id"]), row["name"], role, f"{row['customers']:,}", share, against]
        if row["customers"] and row.get("revenue_share") is not None:
            cells += [percent(row["revenue_share"], 1), figure(row["total_spend"] / row["customers"], 3)]
        table.add_row(*(_escaped(cell) for cell in cells))
    console.print(table)
    if summary.money is not None:
        say(_money_line(summary.money, summary.money_of_segments))
    if sum(summary.moved.values()):
        say(_moved_line(summary.moved, summary.chance, f", {summary.moved['stayed']:,} stayed"))
    say(_warnings_line(summary.warnings, summary.warned, summary.contact_list))
    if summary.hybrids is not None:
        say(summary.hybrids)
    for sentence in account_in_words([one for one in summary.account if one.reason not in OUTSIDE])[1:]:
        say(f"In {told} {sentence}.")
    if summary.rejected:
        for month, rows, reasons in summary.rejected:
            say(f"Rejected in {month_key(month)}: {counted(rows, 'row')} ({reasons}); see rejected_customers.")
    else:
        say("Rejected: nobody.")
    for trained, version, segments, reason in summary.refits:
        say(f"Model {version}, from {month_key(trained)}: {counted(segments, 'segment')}; {reason}.")
    if summary.alerts:
        for status, metric, about_segment, feature, value, threshold in summary.alerts:
            about = "" if about_segment is None else f", segment {about_segment}"
            about += f", {feature}" if feature else ""
            say(f"Alert ({status}): {metric}{about} is {figure(value, 3)}, limit {figure(threshold, 3)}.")
    else:
        say(f"Alerts in {told}: none.")
    for line in summary.campaigns:
        say(line)
    say(f"Published: {summary.published}")


def digest(
    name: str,
    month: date,
    customers: int,
    movement: Mapping[str, int],
    chance: str,
    warnings: Mapping[str, int],
    contact_list: str | None,
    without_action: int | None,
    fired_alerts: int,
    campaigns: Sequence[str] = (),
    warned: str = "",
) -> str:
    """A month in a few lines, for the notifier: no customer is named in it.

    movement : as of `movement_figures`; all 0 in the first month, of which nothing is said.
    chance : what chance alone moves, in words.
    warnings : as of `warning_figures`. contact_list : what the list stands on. without_action : None where no actions
    are configured. campaigns : what `campaign_verdicts` says of the month. warned : each rule's warnings beside chance.
    """
    lines = [f"{name} {month_key(month)} is published: {customers:,} customers."]
    if any(movement.values()):
        lines.append(_moved_line(movement, chance))
    lines.append(_warnings_line(warnings, warned, contact_list))
    if without_action is not None:
        lines.append(f"Customers without an action: {without_action:,}.")
    lines.append(f"Drift alerts fired: {fired_alerts}.")
    lines += campaigns
    return "\n".join(lines)


def _money_line(money: Row, segments: Sequence[Row]) -> str:
    """money, segments : as of `money_of` and `segments_money`."""
    expected = [f"{money[f'expected_spend_{months}']:,.0f} in the next {months} months" for months in (3, 12)]
    said = f"Money: these customers are expected to spend {' and '.join(expected)} ({METHODS[money['method']]})"
    if money["revenue_at_risk"] is None:
        return f"{said}."
    most = sorted(segments, key=lambda row: -(row["revenue_at_risk"] or 0.0))
    told = listed([f"{row['revenue_at_risk'] or 0.0:,.0f} in segment {row['segment_id']}" for row in most])
    return f"{said}; {money['revenue_at_risk']:,.0f} of that is at risk, {told}."


def _moved_line(moved: Mapping[str, int], chance: str, stayed: str = "") -> str:
    """moved : as of `movement_figures`. chance : what chance alone moves, in words. stayed : who did not, in words."""
    segments = f"{moved['moved']:,} changed segment ({chance}){stayed}"
    if moved["unmeasured"]:
        segments = (
            f"not known of the {moved['unmeasured']:,} who were there in both months, as no model sees both: their "
            "features differ"
        )
    return f"Moved: {segments}; {moved['new']:,} new, {moved['returned']:,} returned, {moved['lapsed']:,} lapsed."


def _warnings_line(warnings: Mapping[str, int], warned: str, contact_list: str | None) -> str:
    """warned : each rule's warnings beside chance, "" where that is not known. contact_list : what the list stands on;
    None in a file from before lists said so."""
    left_out = f", {warnings['left_out']:,} with a warning are not among them" if warnings["left_out"] else ""
    left_alone = f", {warnings['left_alone']:,} left alone by a campaign" if warnings["left_alone"] else ""
    stands_on = "" if contact_list is None else f" ({contact_list})"
    return (
        f"Warnings: {warnings['new']:,} new, {warnings['ongoing']:,} ongoing{f' ({warned})' if warned else ''}; "
        f"{warnings['to_contact']:,} customers to contact{stands_on}{left_out}{left_alone}."
    )


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
