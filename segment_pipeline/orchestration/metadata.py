"""What assets say in the UI: of themselves their table and its columns, of a month rows and lists."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.database.tables import MONTH, Column, Table
from segment_pipeline.orchestration.settings import location_config

DIGITS = 4
"""Of a fraction, as the UI shows it; the tables have it whole."""


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


def column_lineage(about: Mapping[str, Any], deps: Iterable[dg.AssetsDefinition]) -> dict[str, dg.MetadataValue]:
    """Where the columns of an asset come from, as far as declarations tell: those that an asset it stands on declares
    in the same words; of the published file, which calls them relation.column, those of the relation's own asset.
    about : metadata with the asset's own columns. The month, which all have, is left out."""
    declared = {spec.key: _columns(spec.metadata) for dep in deps for spec in dep.specs}
    found: dict[str, list[dg.TableColumnDep]] = {}
    for name, column in _columns(about).items():
        relation, _, last = name.rpartition(".")
        for key, columns in declared.items():
            if last != MONTH.name and relation in ("", key.to_user_string()) and _same(columns.get(last), column):
                found.setdefault(name, []).append(dg.TableColumnDep(asset_key=key, column_name=last))
    known = dg.TableColumnLineage(found)
    return {"dagster/column_lineage": dg.MetadataValue.column_lineage(known)} if found else {}


def with_sources(about: Mapping[str, Any], lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The asset's metadata, each column tagged with the assets that it comes from: only Dagster+ draws the lineage
    itself, and every UI shows the tags of a column."""
    if not lineage:
        return dict(about)
    sources = lineage["dagster/column_lineage"].column_lineage.deps_by_column
    tags = {
        name: {"from": ", ".join(dep.asset_key.to_user_string() for dep in found)} for name, found in sources.items()
    }
    columns = [
        dg.TableColumn(name, column.type, column.description, tags=tags.get(name))
        for name, column in _columns(about).items()
    ]
    return {**about, "dagster/column_schema": dg.TableSchema(columns)}


def _same(one: dg.TableColumn | None, other: dg.TableColumn) -> bool:
    return one is not None and (one.type, one.description) == (other.type, other.description)


def _columns(metadata: Mapping[str, Any]) -> dict[str, dg.TableColumn]:
    schema: dg.TableSchema | None = metadata.get("dagster/column_schema")
    return {column.name: column for column in schema.columns} if schema else {}


def as_table(rows: Iterable[Mapping[str, Any]], **columns: type) -> dg.TableMetadataValue:
    """The named columns of some rows, each of one type: str, int, float or bool.

    What is not known is left empty, and a row may have more keys than are shown. Raises KeyError for one that a row
    lacks.
    """
    return dg.MetadataValue.table(
        [dg.TableRecord({name: rounded(row[name]) if is_known(row[name]) else "" for name in columns}) for row in rows],
        schema=dg.TableSchema(
            [dg.TableColumn(name, "string" if kind is str else kind.__name__) for name, kind in columns.items()]
        ),
    )


def is_known(value: Any) -> bool:
    """Whether there is something to show. NaN and infinity are no JSON: a browser cannot read a row that has one."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def rounded(value: Any) -> Any:
    """A fraction with four digits that tell something, as 0.2346 or 21.53; what is none as it is."""
    if not isinstance(value, float) or not math.isfinite(value) or value == 0:
        return value
    return round(value, max(0, DIGITS - 1 - math.floor(math.log10(abs(value)))))


def as_list(sentences: Iterable[str], otherwise: str = "") -> dg.MarkdownMetadataValue:
    """The sentences as a list; `otherwise` is said where there is none."""
    return dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in sentences) or otherwise)


def _feature_columns() -> list[Column]:
    config = location_config()
    configured = {feature.name: feature for feature in config.features}
    return [
        Column(name, "DOUBLE", configured[name].unit_told, configured[name].meaning)
        if name in configured
        else Column(name, "DOUBLE", "", f"Not in the model: {ORDER_FEATURES[name].in_full}.")
        for name in config.raw_feature_names
    ]
