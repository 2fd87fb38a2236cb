"""What was seen of movement, beside chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.early_warnings.assets import early_warnings
from segment_pipeline.models.assets import selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.movement.tables import MOVEMENT_REFERENCE
from segment_pipeline.orchestration.metadata import as_table
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments, transition_deltas

Rows = Sequence[Mapping[str, Any]]


@monthly_asset(
    MOVEMENT_REFERENCE,
    # It reads the months before as well, as far back as a memory looks: who was there is drawn from.
    deps=[raw_customers, validated_features, selected_model, monthly_assignments, transition_deltas, early_warnings],
    group="journeys",
    kinds=SQL_KINDS,
)
def movement_reference(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.database.rows import write_rows
    from segment_pipeline.movement.chance_store import movement_rows

    # not in the transaction: one can write to one database only, and customers who do not change live in another
    with pipeline.read(context) as connection:
        rows = movement_rows(connection, pipeline.config, parse_month(context.partition_key))
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
