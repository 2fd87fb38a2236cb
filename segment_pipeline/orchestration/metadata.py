"""What every asset says of itself in the UI: its table, its columns, its owner."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.tables import Column, Table, View
from segment_pipeline.orchestration.settings import location_config

# One team owns the whole pipeline; Dagster wants an address or a team.
OWNERS = ["team:customer-analytics"]
KINDS = {"duckdb", "python"}
SQL_KINDS = {"duckdb", "sql"}


def table_metadata(table: Table) -> dict[str, Any]:
    """Table name and column schema, from the table's declaration and the configured features."""
    columns = [*table.columns, *(_feature_columns() if table.features else ())]
    return {
        "dagster/table_name": f"warehouse.main.{table.name}",
        "dagster/column_schema": dg.TableSchema(columns=[_column(column.name, column) for column in columns]),
    }


def published_metadata(relations: Iterable[Table | View]) -> dict[str, Any]:
    """Where the published file lies, and all that stands in it, as relation.column."""
    columns = [
        _column(f"{relation.name}.{column.name}", column) for relation in relations for column in relation.columns
    ]
    return {
        "dagster/uri": location_config().published_path.as_uri(),
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def _feature_columns() -> list[Column]:
    config = location_config()
    configured = {feature.name: feature for feature in config.features}
    return [
        Column(name, "DOUBLE", configured[name].unit, configured[name].meaning)
        if name in configured
        else Column(name, "DOUBLE", "", f"Not in the model: {ORDER_FEATURES[name].in_full}.")
        for name in config.raw_feature_names
    ]


def _column(name: str, column: Column) -> dg.TableColumn:
    description = f"{column.description} [{column.unit}]" if column.unit else column.description
    return dg.TableColumn(name, column.type, description=description)
