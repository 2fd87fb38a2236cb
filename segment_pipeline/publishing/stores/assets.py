"""The stores beside the published file, an asset each: retried by itself, and no month is lost where it fails."""

import time
from typing import TYPE_CHECKING

import dagster as dg

from segment_pipeline.orchestration.monthly_asset import monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.orchestration.settings import location_config
from segment_pipeline.publishing.assets import published_segments

if TYPE_CHECKING:
    from segment_pipeline.publishing.stores.parts import Store

_SETTINGS = location_config().publish


@monthly_asset(
    "The published tables, views and the function score in PostgreSQL: all months, as the published file has them.",
    deps=[published_segments],
    kinds={"postgres", "sql"},
    metadata={"dagster/table_name": f"{_SETTINGS.postgres_schema}.monthly_assignments"},
)
def published_postgres(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.publishing.stores.postgres import PostgresStore

    return _filled(context, PostgresStore(pipeline.config))


@monthly_asset(
    "The published tables as Parquet, a folder for each table and month: all months, as the published file has them.",
    deps=[published_segments],
    kinds={"parquet", "sql"},
    metadata={"dagster/uri": _SETTINGS.parquet.as_uri()} if _SETTINGS.parquet else None,
)
def published_parquet(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.publishing.stores.parquet import ParquetStore

    return _filled(context, ParquetStore(pipeline.config))


def _filled(context: dg.AssetExecutionContext, store: "Store") -> dg.MaterializeResult[None]:
    from segment_pipeline.publishing.stores.filling import fill

    started = time.perf_counter()
    new, left_out = fill(store)
    for sentence in left_out:
        context.log.warning(sentence)
    seconds = time.perf_counter() - started
    return dg.MaterializeResult(metadata={"place": store.place, "seconds": seconds, "left_out": left_out, **new})


STORE_ASSETS = [
    asset
    for asset, named in ((published_postgres, _SETTINGS.postgres), (published_parquet, _SETTINGS.parquet))
    if named is not None
]
"""Of the stores that the user's file names."""
