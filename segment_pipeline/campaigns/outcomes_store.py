"""What happened: the user's outcomes, read into a temporary table, and which of them count for no campaign.

An outcome counts for a customer of a campaign when start <= occurred_at < measure_until. Only what had happened by the
end of the month is read, so a month that is run again later finds the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb

from segment_pipeline.config.campaigns import Campaign
from segment_pipeline.config.config import Config
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.config.stages import OutcomesSource
from segment_pipeline.database.quoting import literal
from segment_pipeline.database.store import month_literal
from segment_pipeline.errors import SourceError
from segment_pipeline.months import as_of
from segment_pipeline.sources.expressions import (
    bound,
    columns_of_ids_alone,
    expression_types,
    refuse_unfit_types,
    text_id,
    timestamp,
)
from segment_pipeline.sources.files import Relation, open_files
from segment_pipeline.sources.people.delivered import delivered

USABLE = "customer_id IS NOT NULL AND value >= 0"


@dataclass(frozen=True)
class OutcomeCounts:
    """Of the outcomes before the month's end: `undated` ones have no readable time, `without_customer` no customer id,
    `without_value` no value of 0 or more, `of_unknown_customers` an id that no month of the source knows."""

    outcomes: int
    undated: int
    without_customer: int
    without_value: int
    of_unknown_customers: int

    @property
    def problems(self) -> list[str]:
        """What is wrong with them, by the key of the configuration."""
        found = (
            ("occurred_at", self.undated, "without a readable date"),
            ("customer_id", self.without_customer, "without a customer"),
            ("value", self.without_value, "without a value of 0 or more"),
            ("customer_id", self.of_unknown_customers, "of customers that no month of the source knows"),
        )
        return [f"outcomes.{key}: found {count:,} {what}; they do not count" for key, count, what in found if count]


def open_outcomes(
    connection: duckdb.DuckDBPyConnection, config: Config, outcomes: OutcomesSource
) -> tuple[Relation, dict[str, str], dict[str, str]]:
    """The file, opened, and by key the expressions over it and their types. Raises SourceError."""
    path = resolve_source_path(outcomes.path, config.path.parent)
    given = {key: str(text) for key, text in outcomes.model_dump(exclude={"path"}).items()}
    key = f"outcomes.path ({config.path.name}:{config.line_of('outcomes', 'path')})"
    source = open_files(connection, path, columns_of_ids_alone(given, ("customer_id",)), key)
    expressions = bound(given, source)
    types = expression_types(connection, source, "outcomes", expressions)
    refuse_unfit_types(source, "outcomes", given, types)
    return source, expressions, types


@contextmanager
def outcomes_table(
    connection: duckdb.DuckDBPyConnection, config: Config, outcomes: OutcomesSource, month: date
) -> Iterator[OutcomeCounts]:
    """Fill the temporary table `outcomes` (customer_id, occurred_at, value) for the block, and count what it holds.

    Raises SourceError, naming file, key, found and expected.
    """
    source, expressions, types = open_outcomes(connection, config, outcomes)
    identity = text_id(expressions["customer_id"], types["customer_id"])
    people = delivered(connection, source, identity, "outcomes")
    customer_id = people.customer_id
    occurred_at = timestamp(expressions["occurred_at"], types["occurred_at"], config.source.time_zone)
    try:
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE outcomes AS
            SELECT * FROM (
                SELECT CASE WHEN trim({customer_id}) <> '' THEN {customer_id} END AS customer_id,
                    {occurred_at} AS occurred_at,
                    -- exact, so that a sum does not depend on the order of the rows
                    TRY_CAST(({expressions["value"]}\n) AS DECIMAL(18, 4)) AS value
                FROM {people.rows()}
            )
            WHERE occurred_at < {month_literal(as_of(month))} OR occurred_at IS NULL
            """
        )
    except duckdb.Error as error:
        source.refuse_changed()
        raise SourceError(
            f"{source.path}: reading the outcomes failed: {source.complaint(error)} Deliver the data again, or fix the "
            "expressions under `outcomes`, then run the month again."
        ) from error
    source.refuse_changed()
    try:
        yield _counts(connection, month)
    finally:
        connection.execute("DROP TABLE outcomes")


@dataclass(frozen=True)
class CampaignOutcomes:
    """How many outcomes of a campaign's customers lie `before_start`, `within` it, and `after_end`."""

    campaign: Campaign
    before_start: int
    within: int
    after_end: int

    @property
    def remarks(self) -> list[str]:
        """Which do not count, by the key of the campaign file."""
        name, start, until = self.campaign.campaign, self.campaign.start, self.campaign.measure_until
        found = (
            ("start", self.before_start, f"before {start}"),
            ("measure_until", self.after_end, f"on {until} or later"),
        )
        return [
            f"{key} of campaign {name}: found {count:,} outcomes of its customers {when}; they do not count"
            for key, count, when in found
            if count
        ]


def campaign_outcomes(connection: duckdb.DuckDBPyConnection, campaign: Campaign) -> CampaignOutcomes:
    """What the temporary table holds of the campaign's customers."""
    start, until = (f"DATE {literal(day.isoformat())}" for day in (campaign.start, campaign.measure_until))
    found = connection.execute(
        f"""
        SELECT count(*) FILTER (occurred_at < {start}),
            count(*) FILTER (occurred_at >= {start} AND occurred_at < {until}),
            count(*) FILTER (occurred_at >= {until})
        FROM outcomes SEMI JOIN customer_actions AS a
            ON a.customer_id = outcomes.customer_id AND a.month = ? AND a.campaign = ?
        WHERE {USABLE}
        """,
        [campaign.month, campaign.campaign],
    ).fetchone()
    return CampaignOutcomes(campaign, *(found or (0, 0, 0)))


def _counts(connection: duckdb.DuckDBPyConnection, month: date) -> OutcomeCounts:
    found = connection.execute(
        """
        SELECT count(*), count(*) FILTER (occurred_at IS NULL), count(*) FILTER (customer_id IS NULL),
            count(*) FILTER (value IS NULL OR value < 0),
            count(*) FILTER (customer_id IS NOT NULL AND customer_id NOT IN
                (SELECT customer_id FROM raw_customers WHERE customer_id IS NOT NULL AND month <= ?))
        FROM outcomes
        """,
        [month],
    ).fetchone()
    return OutcomeCounts(*(found or (0,) * 5))
