"""The sections of the stages that follow the segments: actions, campaigns, validation, audit, publish, operation.

That of the warnings stands beside their rules, in warning_rules.py.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    model_validator,
)

from segment_pipeline.config.order_features import MONETARY
from segment_pipeline.config.source import SourcePath
from segment_pipeline.config.values import (
    Expression,
    Name,
    Role,
    Settings,
    absolute_path,
    amount_of_memory,
    empty_means_defaults,
    list_as_tuple,
    month_placeholder,
    refusal,
    setting,
)
from segment_pipeline.config.yaml_text import show


def _pair_of_segments(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Action(Settings):
    """What to do with the customers to whom all given conditions apply; the most specific action wins."""

    action_id: Name = setting(..., "", "Name of the action in the tables; each once.")
    pair: Annotated[tuple[int, int] | None, BeforeValidator(_pair_of_segments)] = setting(
        None, "", "Customers of the tier hybrid between these two segments, in any order.", allowed="two segment ids"
    )
    segment: int | None = setting(None, "", "Customers of this segment.", ge=0, le=2**31 - 1)
    role: Role | None = setting(None, "", "Customers of segments with this role.")
    tier: Literal["dominant", "hybrid", "diffuse", "leaning"] | None = setting(
        None, "", "Customers of this tier; with none of the four, everybody."
    )
    what: Name = setting(..., "", "What is done, in a sentence.")
    owner: Name = setting(..., "", "Who sees to it.")
    channel: Name = setting(..., "", "How the customer is reached.")
    kpi: Name = setting(..., "", "The figure by which it is judged.")
    measure_days: int = setting(..., "days", "How long after the month's end the figure is measured.", ge=1, le=730)

    @model_validator(mode="after")
    def _pair_is_two(self) -> "Action":
        if self.pair is not None and (self.pair[0] == self.pair[1] or min(self.pair) < 0):
            raise refusal(("pair",), show(list(self.pair)), "the ids of two different segments")
        if self.pair is not None and self.tier not in (None, "hybrid"):
            raise refusal(("tier",), show(self.tier), "hybrid, or nothing: a pair is of hybrid customers")
        return self

    @property
    def conditions(self) -> tuple[frozenset[int] | None, int | None, str | None, str | None]:
        """Pair, segment, role and tier, None where it does not ask; the order in which they count as specific."""
        return (frozenset(self.pair) if self.pair else None, self.segment, self.role, self.tier)


class CampaignsFile(Settings):
    """Where the campaigns stand: in a file of their own, so that a mistake in it costs no month."""

    file: Expression = setting(..., "", "The file with the list of campaigns, relative to this file.")


class OutcomesSource(Settings):
    """What campaigns are judged by, one row per outcome. Every value but `path` is a SQL expression over the row."""

    path: SourcePath = setting(
        ..., "", "Parquet, CSV or a glob, relative to this file; package:NAME/path for a file in an installed package."
    )
    customer_id: Expression = setting(..., "", "The customer, as the source identifies it.")
    occurred_at: Expression = setting(..., "", "When it happened; a date or a timestamp.")
    value: Expression = setting(
        ..., "currency", "What it was worth, 0 or more; '1', in quotes, where only its happening counts."
    )


class ValidationSettings(Settings):
    """From where on a figure of model_validation speaks against the model. None of them stops a month."""

    sample: int = setting(
        50_000,
        "customers",
        "With more customers, the figures are those of a reproducible sample of this size.",
        ge=1_000,
        le=1_000_000_000,
    )
    max_heldout_gap: float = setting(
        0.1,
        "nats per customer",
        "By how much less likely customers may be that a fit has not seen; 0.1 is a parameter for ten customers.",
        gt=0,
    )
    min_stability_over_time: float = setting(
        0.5, "overlap, 0..1", "A fresh fit must overlap the champion's segments by this, on average.", ge=0, le=1
    )
    max_pair_overlap: float = setting(
        0.6,
        "overlap, 0..1",
        "Segments whose densities overlap by more might as well be one; honest neighbours have 0.4 to 0.57.",
        gt=0,
        lt=1,
    )
    max_loss_to_simpler: float = setting(
        0.01,
        "AUC, or share of variance, 0..1",
        "How much less than k-means labels, or recency alone, memberships may predict; less than this nobody notices.",
        ge=0,
        lt=1,
    )
    max_calibration_error: float = setting(
        0.2,
        "probability, 0..1",
        "How far memberships may be from what comes true a month later, on average; at 0.2, 0.7 means 0.5 to 0.9.",
        gt=0,
        lt=1,
    )


class AuditSource(Settings):
    """The segments that the company already uses: a file of their own, or a column of ready-made customers."""

    path: Annotated[SourcePath, AfterValidator(month_placeholder)] | None = setting(
        None,
        "",
        "Parquet, CSV or a glob, relative to this file; {month} becomes 2017-03 and so on; package:NAME/path. Without "
        "it, `segment` is a column of source.snapshots or source.query.",
        allowed="text: the path of a file",
    )
    customer_id: Name | None = setting(None, "", "The column of that file that holds the customer.")
    segment: Name = setting(..., "", "The column that holds the company's segment.")

    @model_validator(mode="after")
    def _file_and_its_customers(self) -> "AuditSource":
        if self.path is not None and self.customer_id is None:
            raise refusal(("customer_id",), "nothing", "the column of the file that holds the customer")
        if self.path is None and self.customer_id is not None:
            raise refusal(("path",), "nothing", "the file with that customer_id; or leave out both")
        return self


class AlternativeSettings(Settings):
    """What the champion is compared with, at the start and at each refit: other methods, and rules of your own."""

    sample: int = setting(
        5000,
        "customers",
        "With more customers, the methods look at a reproducible sample of this size.",
        ge=500,
        le=50_000,
    )
    rules: Annotated[dict[Name, Expression], BeforeValidator(empty_means_defaults)] = setting(
        {},
        "",
        "Segments by rules of your own: a name, and a SQL expression over the features that gives the segment.",
        allowed="names, each with a SQL expression such as CASE WHEN orders > 10 THEN 'vip' ELSE 'other' END",
    )
    categorical: Annotated[tuple[Expression, ...], BeforeValidator(list_as_tuple)] = setting(
        (),
        "",
        "Columns of the source, or SQL expressions over its rows, that are text; latent classes are sought in them.",
        allowed="a list of columns or SQL expressions of the source",
    )
    monetary: Name | None = setting(
        None,
        "",
        f"Feature that says what a customer spends, for the quintile rule; {MONETARY} of order lines.",
    )


ADDRESS = "postgresql://USER@HOST:PORT/DATABASE, or $NAME for the environment variable that has it"


def _address(value: object) -> object:
    """The address of a server. What was found is not repeated: it may have a password."""
    if isinstance(value, dict | list) or (
        isinstance(value, str) and not re.match(r"postgres(ql)?://|\$[A-Za-z_]\w*$", value)
    ):
        raise refusal((), "something else", ADDRESS)
    return value


class PublishSettings(Settings):
    """Stores that are filled from the published file, each as soon as a month stands in it. Nothing here changes a
    result."""

    postgres: Annotated[str | None, BeforeValidator(_address)] = setting(
        None,
        "",
        "A PostgreSQL database that is to have every published table and view; none when left out. A password is best "
        "kept out of this file: in the variable, in PGPASSWORD or in ~/.pgpass.",
        allowed=ADDRESS,
        repr=False,
    )
    # pydantic has a use of its own for the key's name
    postgres_schema: Name = setting("segments", "", "The schema there, made where it is missing.", alias="schema")
    parquet: Annotated[Path | None, BeforeValidator(absolute_path)] = setting(
        None,
        "",
        "A folder that is to have every published table as Parquet by month, relative to this file; none when left "
        "out.",
        allowed="text: the path of a folder",
    )


def _spark_address(value: object) -> object:
    """The address of a Spark Connect server. What was found is not repeated: it may have a token."""
    if isinstance(value, dict | list) or (
        isinstance(value, str) and not re.match(r"sc://[^\s/;:]+(:\d+)?(/;\S*)?$|\$[A-Za-z_]\w*$", value)
    ):
        raise refusal((), "something else", SPARK_ADDRESS)
    return value


def _server_folder(value: str | None) -> str | None:
    """A place as the server has it: a relative one would be counted from wherever that was started."""
    if value is not None and not re.match(r"/|[A-Za-z][\w+.-]*:/", value):
        raise refusal((), show(value), "a URL such as s3://bucket/segments, or a path that begins with /")
    return value


SPARK_ADDRESS = "sc://HOST:PORT, or $NAME for the environment variable that has it"


class EngineSettings(Settings):
    """Where the customers are worked on, if not by DuckDB on this machine. Nothing here changes a result."""

    spark: Annotated[str | None, BeforeValidator(_spark_address)] = setting(
        None,
        "",
        "The Spark Connect server; DuckDB on this machine when left out. A token is best kept out of this file: in the "
        "variable.",
        allowed=SPARK_ADDRESS,
        repr=False,
    )
    database: str = setting(
        "segments",
        "",
        "The database (schema) there for the tables, made where it is missing; or CATALOG.SCHEMA.",
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$",
        allowed="a name such as segments, or catalog.segments",
    )
    table_format: Literal["parquet", "delta", "iceberg"] | None = setting(
        None,
        "",
        "Their format. When left out, what the catalogue makes by itself, such as Delta on Databricks; and Parquet "
        "where location says where they lie.",
        alias="format",
    )
    location: Annotated[Expression | None, AfterValidator(_server_folder)] = setting(
        None,
        "",
        "Where their files lie, as a URL or a whole path that the server can open; where its catalogue says when left "
        "out. A server whose catalogue ends with a session, such as Sail by itself, needs it.",
    )
    statement_minutes: float = setting(
        60.0,
        "minutes",
        "How long one statement may take there before the month stops with it.",
        gt=0,
        le=10_080,
    )


class OperationSettings(Settings):
    """How the pipeline uses the machine. Nothing here changes a result."""

    lock_timeout_minutes: float = setting(
        30.0, "minutes", "How long a run waits for another process that holds the warehouse.", ge=0, le=10_080
    )
    memory_limit: Annotated[str, AfterValidator(amount_of_memory)] = setting(
        "4GB", "bytes with GB or MB", "What DuckDB may use before it spills to disk."
    )
    threads: int | None = setting(
        None,
        "threads",
        "How many threads DuckDB uses; every core when left out. With 1, nothing else uses a second core.",
        ge=1,
        le=4096,
    )
