"""The company's own segments, from its file or column to the audit's rows. What they mean is audit.py's.

Per customer everything is set-based: labels, how likely each is, and who is worth a look. Python sees the cross-table
and the seventy customers of the two lists.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.audit.audit import (
    MISLABELLED_BELOW,
    CrossTable,
    LabelledCustomer,
    LabelProfile,
    looks_wrong,
    reason,
    refusal,
    summary,
)
from segment_pipeline.audit.tables import SEGMENT_AUDIT, SEGMENT_AUDIT_CUSTOMERS, SEGMENT_AUDIT_SUMMARY
from segment_pipeline.config.config import Config
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.config.stages import AuditSource
from segment_pipeline.customers.space_store import read_feature_space
from segment_pipeline.database.quoting import as_named, identifier, number
from segment_pipeline.database.rows import Row, exact_mean, hashed_below, write_rows
from segment_pipeline.database.store import month_literal
from segment_pipeline.database.store import reason as complaint
from segment_pipeline.errors import SourceError
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import month_key
from segment_pipeline.segments.profiles_store import feature_units, spend_sql
from segment_pipeline.sources.expressions import text_id
from segment_pipeline.sources.files import Relation, local_files, open_files
from segment_pipeline.sources.people.delivered import delivered
from segment_pipeline.sources.ready_made import ready_made_rows
from segment_pipeline.words import counted

MOST_MISLABELLED = 20
TOP_REVENUE = 50

PROFILED = 100_000
"""With more labelled customers, medians of a label are taken of a reproducible sample of about this many."""

CANDIDATES = 200
"""How many of the least likely labels are looked at for those where another label is likelier."""


@dataclass(frozen=True)
class Audit:
    """The rows of the three tables, what the user should fix, and what is worth knowing but no fault."""

    cross_table: Sequence[Row] = ()
    summary: Sequence[Row] = ()
    customers: Sequence[Row] = ()
    problems: Sequence[str] = ()
    remarks: Sequence[str] = ()
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _LabelCounts:
    """What became of the labels: customers of the month with one (`matched`) and without; rows without a customer;
    customers without a label in their row, with several, with the same one again; of no month, and of another one."""

    matched: int
    without_label: int
    anonymous: int
    blank: int
    conflicting: int
    repeated: int
    unknown: int
    not_this_month: int

    @property
    def problems(self) -> list[str]:
        found = (
            ("customer_id", self.anonymous, "in rows without a customer id; such rows do not count"),
            ("customer_id", self.unknown, "unknown to every month up to this one; they do not count"),
            ("customer_id", self.conflicting, "with several segments; they do not count. Keep one row for each"),
            ("segment", self.blank, "whose segment is missing"),
        )
        return [f"audit.{key}: found {counted(count)} {what}" for key, count, what in found if count]

    @property
    def remarks(self) -> list[str]:
        found = (
            (self.not_this_month, "of earlier months with a label, who are not in this one"),
            (self.without_label, "of this month without a label"),
            (self.repeated, "in several rows, with the same segment"),
        )
        return [f"{counted(count)} {what}" for count, what in found if count]

    @property
    def rows(self) -> list[Row]:
        unknown = f"{counted(self.unknown)} with a label are unknown to every month up to this one."
        return [
            _summary_row("customers_matched", self.matched, f"{counted(self.matched)} of this month have a label."),
            _summary_row("customers_without_label", self.without_label, f"{counted(self.without_label)} have none."),
            _summary_row("customers_unknown", self.unknown, unknown),
        ]


def audit_segments(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> Audit | None:
    """The month's audit; None where the configuration names none.

    Call it outside of a transaction: labels that cannot be read would abort it, and they cost no month.
    """
    if config.audit is None:
        return None
    try:
        _load_labels(connection, config, config.audit, month)
    except SourceError as error:
        # the message names files of this machine, so it stands in the check and not in what is published
        return Audit(summary=[_not_made()], problems=[str(error)])
    counts = _label_counts(connection, month)
    by_label = connection.execute("SELECT count(*) FROM audited GROUP BY label ORDER BY label").fetchall()
    refused = refusal([row[0] for row in by_label])
    if refused is not None:
        problem = f"audit.segment ({config.audit.segment}): {refused}"
        return Audit(summary=[*counts.rows, _not_made()], problems=[*counts.problems, problem], remarks=counts.remarks)
    table = _cross_table(connection, champion)
    suspicious = _rate_labels(connection, table)
    names = [segment.name for segment in champion.segments]
    said = summary(table, names, suspicious)
    rows = [_summary_row(metric, value, text, label) for metric, label, value, text in said]
    spend = spend_sql(config)
    remarks = counts.remarks
    if spend is None:
        remarks.append("no list of the top 50 by revenue: no feature is total_spend, or orders and average_order_value")
    return Audit(
        _cross_rows(table),
        [*rows, *counts.rows],
        _customer_rows(connection, config, table, month, spend),
        counts.problems,
        remarks,
        {metric: value for metric, label, value, _ in said if label is None},
    )


def write_audit(connection: duckdb.DuckDBPyConnection, month: date, audit: Audit | None) -> int:
    """Replace the month of the three tables; returns the rows of the cross-table."""
    found = audit or Audit()
    write_rows(connection, SEGMENT_AUDIT_SUMMARY, month, found.summary)
    write_rows(connection, SEGMENT_AUDIT_CUSTOMERS, month, found.customers)
    return write_rows(connection, SEGMENT_AUDIT, month, found.cross_table)


# --- the labels -------------------------------------------------------------------------------------------------------


def _load_labels(connection: duckdb.DuckDBPyConnection, config: Config, audit: AuditSource, month: date) -> None:
    """Fill `audit_labels` (customer_id, label, ...), one row a customer, and `audited`: those of them in the month."""
    with _label_rows(connection, config, audit, month) as (source, customer_id):
        who, label = (
            f"nullif(trim({text_id(identifier(column), source.columns[as_named(column)])}), '')"
            for column in (customer_id, audit.segment)
        )
        people = delivered(connection, source, who, "labels")
        try:
            connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE audit_labels AS
                SELECT customer_id, min(label) AS label, count(*) AS copies,
                    coalesce(min(label) <> max(label), false) AS conflicting
                FROM (SELECT {people.customer_id} AS customer_id, {label} AS label FROM {people.rows()})
                GROUP BY customer_id
            """)
        except duckdb.Error as error:
            source.refuse_changed()
            raise SourceError(
                f"{source.path}: reading the audit's segments failed: {complaint(error)} Deliver the data again, then "
                "run the month again."
            ) from error
        source.refuse_changed()
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE audited AS
        SELECT a.customer_id, l.label, a.segment_id, a.probabilities
        FROM monthly_assignments AS a
        JOIN audit_labels AS l ON l.customer_id = a.customer_id AND l.label IS NOT NULL AND NOT l.conflicting
        WHERE a.month = {month_literal(month)}
    """)


@contextmanager
def _label_rows(
    connection: duckdb.DuckDBPyConnection, config: Config, audit: AuditSource, month: date
) -> Iterator[tuple[Relation, str]]:
    """The rows with the labels, and the column of their customers."""
    if audit.path is None or audit.customer_id is None:
        with ready_made_rows(connection, config, month, {as_named(audit.segment)}) as (source, customer_id):
            _refuse_missing(source, "audit.segment", audit.segment)
            yield source, customer_id
        return
    columns = {as_named(audit.customer_id), as_named(audit.segment)}
    try:
        source = open_files(connection, _labels_path(config, audit.path, month), columns)
    except SourceError as error:
        raise SourceError(f"audit: {error}") from error
    for key, column in (("customer_id", audit.customer_id), ("segment", audit.segment)):
        _refuse_missing(source, f"audit.{key}", column)
    yield source, audit.customer_id


def _labels_path(config: Config, path: str, month: date) -> str:
    return resolve_source_path(path.replace("{month}", month_key(month)), config.path.parent)


def check_labels(connection: duckdb.DuckDBPyConnection, config: Config, months: Sequence[date]) -> None:
    """Open the company's own segments as a run would, of the latest of these months whose file is there. Raises
    SourceError."""
    audit = config.audit
    if audit is None or audit.path is None:
        return  # a column of the source, which is opened as such
    path = audit.path
    there = [one for one in months if local_files(_labels_path(config, path, one))]
    with _label_rows(connection, config, audit, max(there, default=min(months))):
        pass


def _refuse_missing(source: Relation, key: str, column: str) -> None:
    if as_named(column) not in source.columns:
        raise SourceError(
            f"{source.path}: {key}: column {column} is missing; found {source.column_list}. Fix the file, or the name "
            "in the configuration."
        )
    if as_named(column) in source.incomplete:
        raise SourceError(
            f"{source.incomplete[as_named(column)]}: {key}: column {column} is missing; other files of {source.path} "
            "have it. Deliver that file again."
        )


def _label_counts(connection: duckdb.DuckDBPyConnection, month: date) -> _LabelCounts:
    found = connection.execute(
        """
        WITH assigned AS (SELECT customer_id FROM monthly_assignments WHERE month = $month),
        others AS (SELECT customer_id FROM audit_labels ANTI JOIN assigned USING (customer_id)
            WHERE customer_id IS NOT NULL),
        unknown AS (
            SELECT customer_id FROM others
            ANTI JOIN (SELECT customer_id FROM raw_customers WHERE month <= $month) USING (customer_id)
        )
        SELECT (SELECT count(*) FROM audited), (SELECT count(*) FROM assigned) - (SELECT count(*) FROM audited),
            coalesce(sum(copies) FILTER (customer_id IS NULL), 0),
            count(*) FILTER (customer_id IS NOT NULL AND label IS NULL),
            count(*) FILTER (customer_id IS NOT NULL AND conflicting),
            count(*) FILTER (customer_id IS NOT NULL AND copies > 1 AND NOT conflicting),
            (SELECT count(*) FROM unknown), (SELECT count(*) FROM others) - (SELECT count(*) FROM unknown)
        FROM audit_labels
        """,
        {"month": month},
    ).fetchone()
    return _LabelCounts(*(int(count) for count in found or (0,) * 8))


# --- the comparison ---------------------------------------------------------------------------------------------------


def _cross_table(connection: duckdb.DuckDBPyConnection, champion: SegmentModel) -> CrossTable:
    ids = champion.segment_ids
    # decimals: a sum that does not depend on the order of the threads
    sums = ", ".join(f"CAST(sum(CAST(probabilities[{k + 1}] AS DECIMAL(38, 9))) AS DOUBLE)" for k in range(len(ids)))
    found = connection.execute(
        f"SELECT label, segment_id, count(*), {sums} FROM audited GROUP BY label, segment_id ORDER BY label, segment_id"
    ).fetchall()
    labels = tuple(dict.fromkeys(str(row[0]) for row in found))
    place = {label: row for row, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(ids)), dtype=np.int64)
    memberships = np.zeros(counts.shape)
    for label, segment_id, customers, *sums_of_row in found:
        counts[place[label], ids.index(segment_id)] = customers
        memberships[place[label]] += sums_of_row
    return CrossTable(labels, ids, counts, memberships)


def _rate_labels(connection: duckdb.DuckDBPyConnection, table: CrossTable) -> int:
    """Fill `rated_labels` (customer_id, label, probability, typical); returns how many labels look wrong.

    A customer's own membership is taken out of the sums, so that a label does not speak for itself.
    """
    k = range(len(table.segment_ids))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE audit_memberships (label VARCHAR, {', '.join(f'm{j} DOUBLE' for j in k)})"
    )
    connection.executemany(
        f"INSERT INTO audit_memberships VALUES (?{', ?' * len(k)})",
        [[label, *row] for label, row in zip(table.labels, table.memberships.tolist(), strict=True)],
    )
    totals = table.memberships.sum(axis=0)
    terms = " + ".join(f"p{j} * greatest(0E0, m{j} - p{j}) / greatest({number(totals[j])} - p{j}, 1E-9)" for j in k)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE rated_labels AS
        WITH rated AS (
            SELECT customer_id, label, {terms} AS probability
            FROM (SELECT customer_id, label, {", ".join(f"probabilities[{j + 1}] AS p{j}" for j in k)} FROM audited)
            JOIN audit_memberships USING (label)
        ),
        usual AS (SELECT label, {exact_mean("probability")} AS typical FROM rated GROUP BY label)
        SELECT customer_id, label, probability, typical FROM rated JOIN usual USING (label)
    """)
    found = connection.execute(f"SELECT count(*) FROM rated_labels WHERE {_SUSPICIOUS}").fetchone()
    return int(found[0]) if found else 0


_SUSPICIOUS = f"probability < {number(MISLABELLED_BELOW)} * typical"


def _cross_rows(table: CrossTable) -> list[Row]:
    theirs, ours = table.counts.sum(axis=1), table.counts.sum(axis=0)
    return [
        {
            "their_segment": table.labels[i],
            "segment_id": table.segment_ids[k],
            "customers": int(table.counts[i, k]),
            "share_of_theirs": float(table.counts[i, k] / theirs[i]),
            "share_of_ours": float(table.counts[i, k] / ours[k]),
        }
        for i, k in np.argwhere(table.counts > 0)
    ]


# --- the customers worth a look ---------------------------------------------------------------------------------------


def _customer_rows(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    table: CrossTable,
    month: date,
    spend: str | None,
) -> list[Row]:
    names = config.model_feature_names
    raw = ", ".join(f"{identifier(name)} AS x{j}" for j, name in enumerate(names))
    columns = ", ".join(f"f.x{j}, s.{identifier(name)} AS z{j}" for j, name in enumerate(names))
    of_month = f"month = {month_literal(month)}"
    # the few are found first and numbered then: a window over everybody would sort everybody
    top_revenue = f"""
        SELECT 'top_revenue', row_number() OVER (ORDER BY spend DESC NULLS LAST, customer_id), customer_id
        FROM (SELECT customer_id, {spend} AS spend FROM validated_features WHERE {of_month}
              ORDER BY spend DESC NULLS LAST, customer_id LIMIT {TOP_REVENUE})
    """
    cursor = connection.execute(f"""
        WITH chosen (list, place, customer_id) AS (
            SELECT 'most_mislabelled', row_number() OVER (ORDER BY unlikely, customer_id), customer_id
            FROM (SELECT customer_id, probability / typical AS unlikely FROM rated_labels WHERE {_SUSPICIOUS}
                  ORDER BY unlikely, customer_id LIMIT {CANDIDATES})
            {f"UNION ALL {top_revenue}" if spend is not None else ""}
        )
        SELECT c.list, c.customer_id, r.label, r.probability, r.typical, a.segment_id, a.probabilities,
            f.spend AS total_spend, {columns}
        FROM chosen AS c
        JOIN monthly_assignments AS a ON a.{of_month} AND a.customer_id = c.customer_id
        JOIN (
            -- under names of ours, since a feature may be called anything
            SELECT customer_id, CAST({spend or "NULL"} AS DOUBLE) AS spend, {raw}
            FROM validated_features WHERE {of_month}
        ) AS f ON f.customer_id = c.customer_id
        JOIN scaled_matrix AS s ON s.{of_month} AND s.customer_id = c.customer_id
        LEFT JOIN rated_labels AS r ON r.customer_id = c.customer_id
        ORDER BY c.list, c.place
    """)
    header = [column[0] for column in cursor.description or []]
    found = [dict(zip(header, row, strict=True)) for row in cursor.fetchall()]
    profiles = _label_profiles(connection, names, month)
    units = [feature_units(config)[name] for name in names]
    rows: list[Row] = []
    places = {"most_mislabelled": 0, "top_revenue": 0}
    for row in found:
        likely = table.label_probabilities(np.asarray([row["probabilities"]]))[0]
        customer = LabelledCustomer(
            row["label"],
            row["probability"],
            row["typical"],
            table.labels[int(likely.argmax())],
            float(likely.max()),
            [row[f"x{j}"] for j in range(len(names))],
            [row[f"z{j}"] for j in range(len(names))],
        )
        listed = row["list"]
        if listed == "most_mislabelled" and (places[listed] == MOST_MISLABELLED or not looks_wrong(customer)):
            continue
        places[listed] += 1
        rows.append(
            {
                "list": listed,
                "place": places[listed],
                "customer_id": row["customer_id"],
                "their_segment": customer.label,
                "expected_segment": customer.expected,
                "segment_id": row["segment_id"],
                "label_probability": customer.label_probability,
                "typical_probability": customer.typical_probability,
                "expected_probability": customer.expected_probability,
                "total_spend": row["total_spend"],
                "reason": reason(customer, names, units, profiles),
            }
        )
    return rows


def _label_profiles(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], month: date
) -> dict[str, LabelProfile]:
    """What the customers of each label are like; of very many, about `PROFILED` by their hashed id."""
    space = read_feature_space(connection, month)
    labelled = connection.execute("SELECT count(*) FROM audited").fetchone()
    share = min(1.0, PROFILED / max(1, labelled[0] if labelled else 1))
    drawn = "true" if share == 1.0 else hashed_below("customer_id", share)
    medians = ", ".join(f"median(f.{identifier(name)})" for name in names)
    found = connection.execute(f"""
        SELECT l.label, {medians} FROM (SELECT customer_id, label FROM audited WHERE {drawn}) AS l
        JOIN validated_features AS f ON f.month = {month_literal(month)} AND f.customer_id = l.customer_id
        GROUP BY l.label
    """).fetchall()
    z = space.transform(np.array([row[1:] for row in found], dtype=np.float64))
    return {row[0]: LabelProfile(row[1:], z_row) for row, z_row in zip(found, z.tolist(), strict=True)}


def _summary_row(metric: str, value: float | None, sentence: str, label: str | None = None) -> Row:
    return {"metric": metric, "their_segment": label, "value": value, "sentence": sentence}


def _not_made() -> Row:
    return _summary_row("not_made", None, "No comparison this month; the check audit_can_be_made says why.")
