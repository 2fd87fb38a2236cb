"""Movement beside chance, and what is expected of the segments in the months ahead."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.early_warnings.assets import early_warnings
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.movement.tables import (
    FORECAST_OUTCOMES,
    KNOWN_CUSTOMER_STATES,
    MOVEMENT_REFERENCE,
    SEGMENT_FORECAST,
)
from segment_pipeline.orchestration.metadata import as_table
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments, transition_deltas
from segment_pipeline.words import percent

if TYPE_CHECKING:
    from segment_pipeline.config.config import Config
    from segment_pipeline.database.store import Connection
    from segment_pipeline.models.model import SegmentModel
    from segment_pipeline.movement.chance_store import Chance

Rows = Sequence[Mapping[str, Any]]


def _chance(connection: "Connection", config: "Config", month: date) -> "Chance":
    from segment_pipeline.movement.chance_store import chance_of

    return chance_of(connection, config, month)


@monthly_asset(
    MOVEMENT_REFERENCE,
    # It reads the months before as well, as far back as a memory looks: who was there is drawn from.
    deps=[raw_customers, validated_features, selected_model, monthly_assignments, transition_deltas, early_warnings],
    kinds=SQL_KINDS,
    ahead=(monthly_assignments, _chance),
)
def movement_reference(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.database.rows import write_rows
    from segment_pipeline.movement.chance_store import movement_rows

    config, month, begun = pipeline.config, parse_month(context.partition_key), pipeline.ahead(context)
    # not in the transaction: one can write to one database only, and customers who do not change live in another
    with pipeline.read(context, step_follows=True) as connection:
        chance = _chance(connection, config, month) if begun is None else begun()
        rows = movement_rows(connection, config, month, chance)
    with pipeline.step(context) as step:
        step.rows = write_rows(step.connection, MOVEMENT_REFERENCE, step.month, rows)
    return step.result({"beside_chance": _beside_chance(rows)})


def _beside_chance(rows: Rows) -> dg.TableMetadataValue:
    """Customers who were seen, and how many chance alone makes; the single transitions are in the table."""
    from segment_pipeline.movement.chance import in_words

    shown = [
        {**row, "what": row["warning"] or row["measure"], "told": in_words(row)}
        for row in rows
        if row["measure"] != "transition"
    ]
    return as_table(shown, what=str, told=str, beside_chance=str, sample=int)


@monthly_asset(
    SEGMENT_FORECAST,
    beside=[FORECAST_OUTCOMES, KNOWN_CUSTOMER_STATES],
    deps=[raw_customers, validated_features, selected_model, monthly_assignments, transition_deltas],
    follows_itself=True,  # the forecasts of the months before, whose month has come
)
def segment_forecast(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.models.champions_store import require_champion
    from segment_pipeline.movement.forecast_store import quality, write_forecast
    from segment_pipeline.segments.ahead.silence_store import known_by_silence

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        by_silence = known_by_silence(step.connection, step.config, champion, step.month)
        rows = write_forecast(step.connection, champion, step.month, by_silence)
        step.rows = len(rows)
        came = quality(step.connection)
    return step.result({**_expected(champion, rows), "quality": _quality(came)})


def _expected(champion: "SegmentModel", rows: Rows) -> dict[str, Any]:
    """What is expected one month and three months ahead, and by what; or why nothing is."""
    if champion.memory is None:
        return {"not_forecast": "The champion has no memory: it knows nothing of how customers go on."}
    names = {str(segment.segment_id): segment.name for segment in champion.segments}
    shown = [
        {
            "months_ahead": row["months_ahead"],
            "segment": names.get(row["state"], row["state"]),
            "now": percent(row["share_now"], 1),
            "expected": percent(row["share"], 1),
            "between": f"{percent(row['share_low'], 1)} and {percent(row['share_high'], 1)}",
            "served_by": row["served_by"],
            "past_forecasts": row["past_forecasts"],
        }
        for row in rows
        if row["months_ahead"] in {1, 3}
    ]
    columns = {"months_ahead": int, "segment": str, "now": str, "expected": str, "between": str, "served_by": str}
    return {"expected": as_table(shown, **columns, past_forecasts=int)}


def _quality(pooled: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """How far off the forecasts were whose month has come, in percentage points."""
    errors = ("error", "memory_error", "as_it_is_now_error", "counts_error")
    shown = [
        {
            "months_ahead": row["months_ahead"],
            "months": row["months"],
            "in_the_interval": percent(row["coverage"]),
            **{name: round(100 * row[name], 2) for name in errors},
        }
        for row in pooled
    ]
    return as_table(shown, months_ahead=int, months=int, in_the_interval=str, **dict.fromkeys(errors, float))
