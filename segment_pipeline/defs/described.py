"""What every asset says of itself in the UI: its table, its columns, its owner."""

from typing import Any

import dagster as dg

from segment_pipeline.warehouse.tables import Table

# A shared address that the user's Dagster+ or catalogue can resolve; one team owns the whole pipeline.
OWNERS = ["team:customer-analytics"]
KINDS = {"duckdb", "python"}
SQL_KINDS = {"duckdb", "sql"}


def table_metadata(table: Table) -> dict[str, Any]:
    """Table name and column schema, from the table's declaration."""
    return {
        "dagster/table_name": f"warehouse.main.{table.name}",
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(
                    column.name,
                    column.type,
                    description=f"{column.description} [{column.unit}]" if column.unit else column.description,
                )
                for column in table.columns
            ]
        ),
    }
