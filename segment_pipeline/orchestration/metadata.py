"""What assets say in the UI: of themselves their table and its columns, of a month rows and lists."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.tables import Column, Table
from segment_pipeline.orchestration.settings import location_config


def table_metadata(table: Table) -> dict[str, Any]:
    """Table name and column schema, from the table's declaration and the configured features."""
    columns = [*table.columns, *(_feature_columns() if table.features else ())]
    return {
        "dagster/table_name": f"warehouse.main.{table.name}",
        "dagster/column_schema": column_schema(columns),
    }


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """The columns with their types and descriptions, as the UI shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.type,
                description=f"{column.description} [{column.unit}]" if column.unit else column.description,
            )
            for column in columns
        ]
    )


def as_table(rows: Iterable[Mapping[str, Any]], **columns: type) -> dg.TableMetadataValue:
    """The named columns of some rows, each of one type: str, int, float or bool.

    None is left empty, and a row may have more keys than are shown. Raises KeyError for one that a row lacks.
    """
    return dg.MetadataValue.table(
        [dg.TableRecord({name: "" if row[name] is None else row[name] for name in columns}) for row in rows],
        schema=dg.TableSchema(
            [dg.TableColumn(name, "string" if kind is str else kind.__name__) for name, kind in columns.items()]
        ),
    )


def as_list(sentences: Iterable[str], otherwise: str = "") -> dg.MarkdownMetadataValue:
    """The sentences as a list; `otherwise` is said where there is none."""
    return dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in sentences) or otherwise)


def _feature_columns() -> list[Column]:
    config = location_config()
    configured = {feature.name: feature for feature in config.features}
    return [
        Column(name, "DOUBLE", configured[name].unit, configured[name].meaning)
        if name in configured
        else Column(name, "DOUBLE", "", f"Not in the model: {ORDER_FEATURES[name].in_full}.")
        for name in config.raw_feature_names
    ]
