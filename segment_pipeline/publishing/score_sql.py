"""The champion as SQL that leaves the warehouse: the macro `score` of the published file, and `score.sql` elsewhere.

Here: what happens to a row that the pipeline would not have accepted, and the same query in other engines' words. Not
here: the scoring itself, which is `scoring.assignment_sql` and nothing else, so that a customer scored in a shop's own
PostgreSQL gets what `monthly_assignments` would have said.
"""

import re
import textwrap
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import TYPE_CHECKING

import duckdb

from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.customers.tables import FEATURE_LIMITS
from segment_pipeline.database.quoting import clamped, identifier, literal, number
from segment_pipeline.errors import PipelineError
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.models.scoring import assignment_sql, prior_sql
from segment_pipeline.models.tables import MODEL_VERSIONS, PRIOR
from segment_pipeline.months import month_key
from segment_pipeline.publishing.dialects import DIALECTS
from segment_pipeline.publishing.tables import MACRO, PREVIOUS, REFUSED, SCORED_TABLE
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS, SEGMENT_PROFILES
from segment_pipeline.words import figure

if TYPE_CHECKING:
    from sqlglot import exp

REMEMBERING = frozenset({"duckdb", "postgres", "spark", "databricks"})
"""Dialects in which rows may have the column PREVIOUS; in the others a champion with memory scores all as new."""

LARGEST = 1e100
"""A feature beyond it is refused as not finite: its square would be infinite, which PostgreSQL and BigQuery refuse for
the whole query."""

_SMALLEST_EXPONENT = -700.0
"""exp() of less is 0 to any purpose; PostgreSQL raises an error where it underflows, from -746 on."""

_AS_QUERY = (
    rf"CASE WHEN regexp_matches({SCORED_TABLE}, '^\s*(\(|(select|with|from|values)\s)', 'i') "
    rf"THEN 'FROM (' || {SCORED_TABLE} || ')' "
    rf"ELSE 'FROM query_table(''' || replace({SCORED_TABLE}, '''', '''''') || ''')' END"
)
"""The macro's parameter, the name of a table or a query, as the text of a query."""

# A query of any rows knows no month before.
SCORED_COLUMNS = tuple(
    column
    for column in MONTHLY_ASSIGNMENTS.columns
    if column.name not in {"month", "customer_id", "previous_segment_id"}
)


@dataclass(frozen=True)
class FeatureLimits:
    """What a row of `feature_limits` says of values: which were accepted, in the feature's unit."""

    feature: str
    unit: str
    meaning: str
    lowest: float | None
    highest: float | None
    outliers: str
    outliers_below: float | None
    outliers_above: float | None


@dataclass(frozen=True, eq=False)
class Scoring:
    """Everything that decides what a customer's row becomes in `month`: the champion with the month's names, the limits
    of its features, in their order, and the tiers."""

    month: date
    model: SegmentModel
    limits: tuple[FeatureLimits, ...]
    tiers: TierSettings


def latest_scoring(connection: duckdb.DuckDBPyConnection, tiers: TierSettings) -> Scoring | None:
    """How the latest month of the published tables was scored; None without a month, or where it was made by a version
    that kept no `feature_limits`."""
    found = connection.execute(
        f"""
        SELECT a.month, v.parameters FROM {MONTHLY_ASSIGNMENTS.name} AS a JOIN {MODEL_VERSIONS.name} AS v
        USING (model_version) ORDER BY a.month DESC LIMIT 1
        """
    ).fetchone()
    if found is None:
        return None
    month, model = found[0], SegmentModel.from_json(found[1])
    columns = ", ".join(identifier(field.name) for field in fields(FeatureLimits))
    rows = connection.execute(f"SELECT {columns} FROM {FEATURE_LIMITS.name} WHERE month = ?", [month]).fetchall()
    limits = {row[0]: FeatureLimits(*row) for row in rows}
    if not set(model.space.names) <= limits.keys():
        return None
    # the user's own names and roles are put on when a month is made, and stand in its profiles
    shown = connection.execute(
        f"SELECT segment_id, name, role FROM {SEGMENT_PROFILES.name} WHERE month = ? ORDER BY segment_id", [month]
    ).fetchall()
    model = replace(model, segments=tuple(Segment(*row) for row in shown))
    return Scoring(month, model, tuple(limits[name] for name in model.space.names), tiers)


def macro_ddl(scoring: Scoring) -> list[str]:
    """The statements that create the table macro `score` in the published file, and say what it does."""
    about = about_scoring(
        scoring,
        "table or query",
        f"SELECT * FROM {MACRO}(my_table) or SELECT * FROM {MACRO}('SELECT ... FROM my_table')",
    )
    return [
        f"CREATE OR REPLACE MACRO {MACRO}({SCORED_TABLE}) AS TABLE {score_query(scoring, _given_rows(scoring))}",
        f"COMMENT ON MACRO TABLE {MACRO} IS {literal(about)}",
    ]


def _given_rows(scoring: Scoring) -> str:
    """The rows of the macro's parameter, which is the name of a table or, as text, a query. Text that is no number is
    NaN, and a column that is missing an error which says so.

    Under a LIMIT DuckDB looks for the table below and writes out every expression in terms of its columns, which here
    takes more memory than there is. It stops looking at a join.
    """
    names = scoring.model.space.names
    expected = f"score needs customer_id and {', '.join(names)}, each as a column of the table or query; there is no "
    absent = [
        f"CAST(error({literal(expected + name)}) AS {kind}) AS {identifier(name)}"
        for name, kind in (("customer_id", "VARCHAR"), *((name, "DOUBLE") for name in names))
    ]
    columns = [identifier(name) for name in names]
    numbers = [
        f"CASE WHEN given.{column} IS NULL THEN NULL "
        f"ELSE coalesce(TRY_CAST(given.{column} AS DOUBLE), CAST('NaN' AS DOUBLE)) END AS {column}"
        for column in columns
    ]
    previous = [PREVIOUS] if scoring.model.memory is not None else []
    absent += [f"CAST(NULL AS DOUBLE[]) AS {name}" for name in previous]
    # where the table has no such column, its name means that of `absent`
    return (
        f"(SELECT {', '.join(['given.customer_id', *numbers, *(f'given.{name}' for name in previous)])} "
        f"FROM (SELECT {', '.join(absent)}) AS absent CROSS JOIN LATERAL "
        f"(SELECT {', '.join(['customer_id', *columns, *previous])} FROM query({_AS_QUERY}) AS found) AS given)"
    )


def about_scoring(scoring: Scoring, takes: str, example: str) -> str:
    """What `score` does, with an example, for who finds it in a database. takes : what it can be given."""
    about = (
        f"The segments of {month_key(scoring.month)} (model version {scoring.model.model_version}) for the rows of any "
        f"{takes} with customer_id and {', '.join(scoring.model.space.names)}: {example}. "
        f"A row that the pipeline would have rejected has NULLs and, in the column {REFUSED}, the reason."
    )
    return about if scoring.model.memory is None else f"{about} {_about_previous(scoring.model)}"


def _about_previous(model: SegmentModel) -> str:
    return (
        f"An optional column {PREVIOUS} says what was known of the customer at the end of the month before: a list of "
        f"{len(model.segments) + 1} probabilities that sum to 1, of the segments "
        f"{', '.join(map(str, model.segment_ids))} and last of having lapsed. Without it, or where it is NULL, a row "
        "is scored as that of a new customer. What it says of the next month is what is expected of all customers of "
        "such memberships: it does not know when the customer last ordered."
    )


def score_query(scoring: Scoring, relation: str, *, remembers: bool = True) -> str:
    """A query of `relation` with customer_id, the columns of `monthly_assignments` but the month, and `refused`.

    It has every row of `relation`. `refused` is the reason code of a row that the pipeline would have rejected, whose
    other columns are then NULL; NULL for all others. remembers : whether a champion with memory takes PREVIOUS into
    account, where `relation` has it; every row is that of a new customer otherwise.
    """
    features = [(limits, identifier(limits.feature)) for limits in scoring.limits]
    given = ", ".join(f"CAST({column} AS DOUBLE) AS {column}" for _, column in features)
    # a refused row goes through the arithmetic as NULLs, on which no engine stumbles, and is blanked out at its end
    accepted = ", ".join(
        f"CASE WHEN {REFUSED} IS NULL THEN {_kept(limits, column)} END AS {column}" for limits, column in features
    )
    memory = scoring.model.memory
    remembers = remembers and memory is not None
    if remembers:
        given += f", CAST({PREVIOUS} AS DOUBLE[]) AS {PRIOR}"
        accepted += f", CASE WHEN {REFUSED} IS NULL THEN {PRIOR} END AS {PRIOR}"
    read = f"(SELECT CAST(customer_id AS VARCHAR) AS customer_id, {given} FROM {relation} AS raw_rows) AS given"
    if remembers:
        # where the relation has no such column, its name means that of `nobody`
        read = f"(SELECT CAST(NULL AS DOUBLE[]) AS {PREVIOUS}) AS nobody CROSS JOIN LATERAL {read}"
    rows = f"""(
        SELECT customer_id, {REFUSED}, {accepted}
        FROM (
            SELECT {"given.*" if remembers else "*"}, {_refused(scoring, remembers)} AS {REFUSED}
            FROM {read}
        ) AS judged
    )"""
    if memory is not None:
        prior = prior_sql(memory, PRIOR, "false") if remembers else f"[{', '.join(map(number, memory.new))}]"
        columns = ", ".join(column for _, column in features)
        rows = f"(SELECT customer_id, {REFUSED}, {columns}, {prior} AS {PRIOR} FROM {rows} AS remembered)"
    shown = ", ".join(
        f"CASE WHEN {REFUSED} IS NULL THEN {column.name} END AS {column.name}" for column in SCORED_COLUMNS
    )
    scored = assignment_sql(scoring.model, rows, scoring.tiers, ("customer_id", REFUSED))
    return f"SELECT customer_id, {shown}, {REFUSED} FROM ({scored}) AS scored"


def _refused(scoring: Scoring, remembers: bool) -> str:
    """The first reason why the pipeline would not have accepted a row, as an expression; NULL where there is none."""
    cases = ["WHEN customer_id IS NULL OR trim(customer_id) = '' THEN 'missing_customer_id'"]
    for limits in scoring.limits:
        name, column = limits.feature, identifier(limits.feature)
        rules = [
            (f"{column} IS NULL", "missing"),
            # NaN is above every number in some engines and beside all of them in others: inside a range in none
            (f"NOT ({column} BETWEEN {number(-LARGEST)} AND {number(LARGEST)})", "not_finite"),
            (_outside(column, limits.lowest, None), "below_minimum"),
            (_outside(column, None, limits.highest), "above_maximum"),
        ]
        if limits.outliers == "reject":
            rules.append((_outside(column, limits.outliers_below, limits.outliers_above), "outlier"))
        cases += [f"WHEN {rule} THEN {literal(f'{code}:{name}')}" for rule, code in rules if rule]
    if remembers:
        cases.append(f"WHEN {_no_probabilities(len(scoring.model.segments) + 1)} THEN 'not_probabilities:{PREVIOUS}'")
    return f"CASE {' '.join(cases)} END"


def _no_probabilities(states: int) -> str:
    """Whether what stands in PRIOR are no probabilities of so many states, as a condition."""
    listed = [f"{PRIOR}[{state + 1}]" for state in range(states)]
    each = " AND ".join(f"{probability} BETWEEN 0E0 AND 1E0" for probability in listed)
    return (
        f"{PRIOR} IS NOT NULL AND CASE WHEN {each} AND {PRIOR}[{states + 1}] IS NULL "
        f"THEN abs({' + '.join(listed)} - 1E0) > 1E-6 ELSE true END"
    )


def _outside(column: str, low: float | None, high: float | None) -> str:
    below = [f"{column} < {number(low)}"] if low is not None else []
    above = [f"{column} > {number(high)}"] if high is not None else []
    return " OR ".join(below + above)


def _kept(limits: FeatureLimits, column: str) -> str:
    """The value that is scored: as it came, or drawn in to the limits where the policy is to cap."""
    if limits.outliers != "cap" or limits.outliers_below is None or limits.outliers_above is None:
        return column
    return clamped(column, number(limits.outliers_below), number(limits.outliers_above))


# --- other engines ----------------------------------------------------------------------------------------------------


def score_sql(scoring: Scoring, dialect: str, table: str, window_months: int | None = None) -> str:
    """A file that scores the rows of `table` in another warehouse, with a head comment that says what it expects.

    dialect : of DIALECTS. table : as it is written there, such as shop.customers. window_months : of a source of order
    lines, whose features have definitions of ours. Raises PipelineError where `table` is not the name of one.
    """
    head = _head(scoring, dialect, table, window_months)
    return f"{head}{translated(scoring, dialect, table)};\n"


def translated(scoring: Scoring, dialect: str, table: str) -> str:
    """The query of `score_sql` alone."""
    import sqlglot
    from sqlglot import exp

    from segment_pipeline.database.engines.spark_sql import to_spark

    remembers = dialect in REMEMBERING
    text = score_query(scoring, SCORED_TABLE, remembers=remembers)
    if dialect in {"spark", "databricks"}:
        query = sqlglot.parse_one(to_spark(text), read=dialect)
    else:
        query = sqlglot.parse_one(text, read="duckdb").transform(_portable, dialect, copy=False)
    (scored,) = (node for node in query.find_all(exp.Table) if node.name == SCORED_TABLE)
    named = _table(table, dialect)
    named.set("alias", scored.args["alias"])
    scored.replace(named)
    return str(query.sql(dialect=dialect, pretty=True))


def _table(table: str, dialect: str) -> "exp.Table":
    import sqlglot
    from sqlglot import exp

    wrong = PipelineError(
        f"--table: found {table!r}; allowed: the name of a table as {DIALECTS[dialect]} writes it, such as "
        "shop.customers. For a query, make a view of it."
    )
    try:
        named = sqlglot.parse_one(table, read=dialect, into=exp.Table)
    except sqlglot.ParseError as error:
        raise wrong from error
    plain = isinstance(named, exp.Table) and isinstance(named.this, exp.Identifier)
    if not plain or any(named.args.get(part) for part in named.args if part not in {"this", "db", "catalog"}):
        raise wrong
    return named


def _portable(node: "exp.Expression", dialect: str) -> "exp.Expression":
    """One node of the query as this engine needs it, where sqlglot cannot know what we do: that no NULL and no zero
    comes where it would guard against one. A number such as 1.5E0 may be a decimal there; it always meets a double, and
    is then read as one."""
    from sqlglot import exp

    if isinstance(node, exp.Div):
        node.set("typed", True)
        node.set("safe", False)
    if isinstance(node, exp.Greatest | exp.Least):
        node.set("ignore_nulls", False)
    if isinstance(node, exp.Exp) and dialect in {"postgres", "redshift"}:
        vanishes = exp.LT(this=node.this.copy(), expression=exp.Literal.number(_SMALLEST_EXPONENT))
        return exp.Case().when(vanishes, exp.Literal.number(0)).else_(node.copy())
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select) and dialect == "postgres":
        # Its planner would put each subquery's expressions into the next, for every p0 the whole way down to the
        # features. OFFSET 0 keeps it from that: 0.06 s for the demo's 2,327 customers, which took more than a minute.
        node.set("this", node.this.offset(0))
    if isinstance(node, exp.DataType) and node.this == exp.DType.ARRAY and dialect == "redshift":
        return exp.DataType(this=exp.DType.SUPER)
    if isinstance(node, exp.Identifier) and node.args.get("quoted") and dialect == "snowflake":
        # a column that was created without quotes has a name in upper case there
        plain = re.fullmatch("[a-z_][a-z0-9_]*", node.name)
        return exp.to_identifier(node.name.upper() if plain else node.name, quoted=True)
    return node


def _head(scoring: Scoring, dialect: str, table: str, window_months: int | None) -> str:
    model = scoring.model
    segments = ", ".join(f"{segment.segment_id} {segment.name}" for segment in model.segments)
    lines = [
        f"Segments of {month_key(scoring.month)} for every row of {table}, in {DIALECTS[dialect]}.",
        "",
        f"Model version {model.model_version}, fitted to the customers of {month_key(model.trained_month)}. It gives",
        "what monthly_assignments would: the same probabilities, to 1e-9. Written by",
        f"segment-pipeline score-sql --dialect {dialect}; write it again after a refit (model_versions says when).",
        "",
        "Expected columns, by these names, all numbers but the first:",
        "  customer_id: not NULL, not blank; that it stands there once, this query does not check",
        *(line for limits in scoring.limits for line in _feature_lines(limits, window_months is not None)),
        *([f"  (as_of: the end of the month; the window: the {window_months} months before it)"] * bool(window_months)),
        *_memory_lines(model, dialect),
        "",
        "Result: one row for each, in no order.",
        *_indented(f"{', '.join(column.name for column in SCORED_COLUMNS)}: as in data_dictionary;"),
        "  probabilities has one entry for each of segment_ids.",
        "  refused: NULL, or why the pipeline would have rejected the row, whose other columns are then NULL:",
        "  missing_customer_id, or missing, not_finite, below_minimum, above_maximum or outlier, with :feature.",
        "  (not_finite is NaN, infinite, or beyond 1e100; of several reasons the first is given.)",
        "",
        f"Segments: {segments}.",
    ]
    return "".join(f"-- {_one_line(line)}".rstrip() + "\n" for line in lines)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="  ", subsequent_indent="  ")


def _memory_lines(model: SegmentModel, dialect: str) -> list[str]:
    """What the query knows of the month before; nothing of a champion without memory."""
    if model.memory is None:
        return []
    if dialect not in REMEMBERING:
        about = "The champion has a memory, of which this file makes no use: every row is scored as a new customer's."
    else:
        about = f"{_about_previous(model)} One that is no such list is refused as not_probabilities."
        if dialect == "spark":
            about = (
                f"{about} (Sail cannot do without the column: CAST(NULL AS ARRAY<DOUBLE>) says that nothing is known.)"
            )
    return _indented(about)


def _feature_lines(limits: FeatureLimits, from_orders: bool) -> list[str]:
    low, high = limits.lowest, limits.highest
    bounds = [f"{low:g} or more" if low is not None else "", f"at most {high:g}" if high is not None else ""]
    allowed = " and ".join(bound for bound in bounds if bound) or "any number"
    words = [f"  {limits.feature}{f' ({limits.unit})' if limits.unit else ''}: {allowed}"]
    if limits.outliers_below is not None and limits.outliers_above is not None:
        what = "taken as the nearer of the two" if limits.outliers == "cap" else "refused"
        span = f"{figure(limits.outliers_below, 6)} to {figure(limits.outliers_above, 6)}"
        words.append(f"    outside {span} it is {what}")
    from_orders = from_orders and limits.feature in ORDER_FEATURES
    definition = ORDER_FEATURES[limits.feature].definition if from_orders else ""
    return words + [f"    {meaning}" for meaning in (limits.meaning, definition) if meaning]


def _one_line(text: str) -> str:
    """Names and meanings are the user's: a line break in one must not end the comment that it stands in."""
    return "".join(character if character.isprintable() else " " for character in text)
