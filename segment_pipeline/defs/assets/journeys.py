"""Stage 4: where customers go from segment to segment, and whom to worry about."""

import dagster as dg

from segment_pipeline.defs.assets.segments import monthly_assignments, segment_profiles, transition_deltas
from segment_pipeline.defs.described import OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.defs.partitions import monthly_partitions
from segment_pipeline.defs.resources import Pipeline
from segment_pipeline.warehouse.tables import EARLY_WARNINGS, JOURNEY_PATHS


@dg.asset(
    # It reads the five months before as well: that they are there is what every month's champion has checked.
    deps=[segment_profiles],
    partitions_def=monthly_partitions,
    group_name="journeys",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{JOURNEY_PATHS.description} With journey_conversion.",
    metadata=table_metadata(JOURNEY_PATHS),
)
def journey_paths(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.warehouse.journeys import write_journeys

    with pipeline.step(context) as step:
        step.rows, conversions = write_journeys(step.connection, step.month)
        common = step.connection.execute(
            "SELECT array_to_string(path, ' > ') AS path, customers, share FROM journey_paths "
            "WHERE month = ? AND months = 3 AND place <= 10 ORDER BY place",
            [step.month],
        ).fetchall()
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "conversions": conversions,
            "paths_of_three_months": dg.MetadataValue.table(
                [dg.TableRecord({"path": path, "customers": count, "share": share}) for path, count, share in common],
                schema=dg.TableSchema(
                    [dg.TableColumn("path"), dg.TableColumn("customers", "int"), dg.TableColumn("share", "float")]
                ),
            ),
        }
    )


@dg.asset(
    deps=[
        monthly_assignments,
        transition_deltas,
        # last month's warnings say which of this month's are new
        dg.AssetDep(
            "early_warnings",
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        ),
    ],
    partitions_def=monthly_partitions,
    group_name="journeys",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=EARLY_WARNINGS.description,
    metadata=table_metadata(EARLY_WARNINGS),
)
def early_warnings(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
    from segment_pipeline.warehouse.champions import previous_champion, require_champion
    from segment_pipeline.warehouse.early_warnings import warning_figures, write_early_warnings

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        ruler = previous_champion(step.connection, step.config, step.month)
        step.rows = write_early_warnings(step.connection, champion, ruler, step.month, step.config.warnings)
        figures = warning_figures(step.connection, step.month)
    return dg.MaterializeResult(metadata={"dagster/partition_row_count": step.rows, **figures})
