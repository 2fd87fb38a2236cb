"""What the monthly assets have in common, said once: each is a table that it fills, what it stands on, and a story.

The story is a function of one month that reads, computes, writes in one transaction and returns what it has to tell.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.database.engines.spark import SilentError
from segment_pipeline.database.tables import Table
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.checks import GateClosedError
from segment_pipeline.orchestration.metadata import column_lineage, is_known, rounded, table_metadata, with_sources
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.settings import location_config, made_by

if TYPE_CHECKING:
    from segment_pipeline.config.config import Config
    from segment_pipeline.database.store import Connection
    from segment_pipeline.orchestration.resources import Pipeline

# The one reason for the narrow dagster pin in pyproject.toml; here, because only this module uses the preview.
warnings.filterwarnings(
    "ignore", category=dg.PreviewWarning, message="Specifying a partitions_def on an AssetCheckSpec"
)

# One team owns the whole pipeline; Dagster wants an address or a team.
OWNERS = ["team:customer-analytics"]
KINDS = frozenset({"duckdb", "python"})
SQL_KINDS = frozenset({"duckdb", "sql"})
ENGINE = location_config().engine
ENGINE_KINDS = frozenset() if ENGINE.spark is None else frozenset({"spark"})
POOL = None if ENGINE.spark is None else "spark"
"""One for all projects of a Dagster that share a cluster: its limit is set there."""
RETRIES, PAUSE = 2, 60.0
"""How often a step is begun again whose server has gone, and after how many seconds: a cluster starts anew at times. A
step is one transaction, so nothing of the first try is there. Of all other failures none goes away by itself."""
MONTH_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

FEW_CUSTOMERS = 200_000
"""With more of them DuckDB keeps all cores busy by itself, and two such works at once would only hold more memory."""

Story = Callable[..., dg.MaterializeResult[None]]
Ahead = Callable[["Connection", "Config", date], Any]
_AHEAD: dict[str, dict[str, Ahead]] = {}
"""Asset -> what is begun once it has committed, by the asset that wants it."""

Events = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]


def monthly_asset(
    makes: Table | str,
    *,
    deps: Sequence[dg.AssetsDefinition] = (),
    beside: Sequence[Table] = (),
    checks: Sequence[CheckSpec] = (),
    kinds: AbstractSet[str] = KINDS,
    follows_itself: bool = False,
    metadata: Mapping[str, Any] | None = None,
    ahead: tuple[dg.AssetsDefinition, Ahead] | None = None,
) -> Callable[[Story], dg.AssetsDefinition]:
    """An asset with a partition for each closed month, called as the function below is, in the group of its room.

    makes : the table that it fills; of an asset that is no table, what it is, in a sentence. beside : the tables that
    it fills along with that one. checks : what it judges before it commits (`Step.judge`). follows_itself : it reads
    what it made of the month before, so a backfill goes month by month. metadata : besides the table's own.
    ahead : an asset before it, and what may be read and computed as soon as that has committed, beside the steps in
    between (`Pipeline.ahead`).
    """
    description, about = (makes, {}) if isinstance(makes, str) else (_description(makes, beside), table_metadata(makes))
    about = {**about, **(metadata or {})}
    lineage = column_lineage(about, deps)

    def asset_of(story: Story) -> dg.AssetsDefinition:
        name = story.__name__
        if ahead is not None:
            _AHEAD.setdefault(ahead[0].key.to_user_string(), {})[name] = ahead[1]
        return dg.asset(
            deps=[*deps, *([dg.AssetDep(name, partition_mapping=MONTH_BEFORE)] if follows_itself else [])],
            partitions_def=monthly_partitions,
            check_specs=[_check_spec(name, check) for check in checks],
            group_name=Path(story.__code__.co_filename).parent.name,
            owners=OWNERS,
            kinds={*kinds, *ENGINE_KINDS},
            pool=POOL,
            tags={tag: "" for tag, has_it in _tags(checks, follows_itself) if has_it},
            code_version=made_by(),
            description=description,
            metadata=with_sources(about, lineage),
        )(_events_of(story, lineage))

    return asset_of


def _tags(checks: Sequence[CheckSpec], follows_itself: bool) -> Iterator[tuple[str, bool]]:
    """What the UI can be asked for, as `tag:can_stop_the_month`."""
    yield "can_stop_the_month", any(check.blocking for check in checks)
    yield "needs_the_month_before", follows_itself


def _events_of(story: Story, lineage: Mapping[str, Any]) -> Callable[..., Events]:
    """What Dagster is told: the month's result or, at a closed gate, every check's, and then the error."""

    @wraps(story)
    def events(*arguments: Any, **named: Any) -> Events:
        try:
            result = story(*arguments, **named)
            if story.__name__ in _AHEAD:
                _begin_what_waits(story.__name__, result, *arguments, **named)
            told = {name: rounded(value) for name, value in (result.metadata or {}).items() if is_known(value)}
            yield result._replace(metadata={**told, **lineage})
        except GateClosedError as closed:
            yield from closed.results
            raise closed.error from None
        except SilentError as gone:
            context: dg.AssetExecutionContext = named.get("context") or arguments[0]
            if context.retry_number >= RETRIES:
                raise
            raise dg.RetryRequested(RETRIES, PAUSE) from gone

    return events


def _begin_what_waits(
    asset: str, result: dg.MaterializeResult[None], context: dg.AssetExecutionContext, pipeline: "Pipeline"
) -> None:
    """What other assets of the run may begin once this one has committed, where a core is idle."""
    rows = (result.metadata or {}).get("dagster/partition_row_count")
    busy = not isinstance(rows, int) or rows > FEW_CUSTOMERS or (os.cpu_count() or 1) < 2
    if busy or ENGINE.spark is not None:
        return
    in_this_run = {node.name for node in context.job_def.nodes}
    for name, work in _AHEAD[asset].items():
        if name in in_this_run:
            pipeline.begin(name, work, context)


def _check_spec(asset: str, check: CheckSpec) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        check.name,
        asset=asset,
        description=check.description,
        blocking=check.blocking,
        # without it Dagster would show the last month's result for every month
        partitions_def=monthly_partitions,
    )


def _description(table: Table, beside: Sequence[Table]) -> str:
    """`A table. With b, c and d.`"""
    if not beside:
        return table.description
    *others, last = (other.name for other in beside)
    return f"{table.description} With {' and '.join(filter(None, [', '.join(others), last]))}."
