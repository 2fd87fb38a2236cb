"""The user's source in the asset graph: made by others, and seen by each month that reads it."""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from segment_pipeline.config.config import Config
from segment_pipeline.months import month_key
from segment_pipeline.orchestration.partitions import monthly_partitions

if TYPE_CHECKING:
    import duckdb


def source_assets(config: Config) -> list[dg.AssetsDefinition]:
    """What the user's file names as its source: order lines or ready-made customers, and each feed of events."""
    source = config.source
    places = [
        (
            source.orders and (source.orders.table or ", ".join(source.orders.path)),
            "The order lines that all features are computed from",
        ),
        (source.snapshots and source.snapshots.path, "The ready-made features of each month"),
        (source.query and source.query.file, "The customers and features that the user's own SQL returns"),
    ]
    return [
        *(_made_by_others(_key(config), f"{what}: {place}.") for place, what in places if place is not None),
        *(
            _made_by_others(_key(config, feed.feed), f"A feed of dated events: {feed.table or feed.path}.")
            for feed in source.events
        ),
    ]


def observations(connection: "duckdb.DuckDBPyConnection", config: Config, month: date) -> list[dg.AssetObservation]:
    """What a month found in each of them, once `write_contents` has kept it. Its data version stands for all that the
    month stands on, so that Dagster, too, knows which months a change of the source has left behind."""
    from segment_pipeline.sources.over_time.contents import contents_of

    return [
        dg.AssetObservation(
            _key(config, found.feed),
            partition=month_key(month),
            metadata={
                "lines": found.lines,
                "customers": found.customers,
                **({} if found.amount is None else {"amount": float(found.amount)}),
            },
            tags={"dagster/data_version": found.version},
        )
        for found in contents_of(connection, month)
    ]


def _key(config: Config, feed: str = "") -> dg.AssetKey:
    if feed in {one.feed for one in config.source.events}:
        return dg.AssetKey(["events", feed])
    kinds = {"order_lines": "orders", "customer_snapshots": "snapshots", "customer_query": "query"}
    return dg.AssetKey(next(key for key, kind in kinds.items() if getattr(config.source, kind) is not None))


def _made_by_others(key: dg.AssetKey, description: str) -> dg.AssetsDefinition:
    spec = dg.AssetSpec(key, description=description, group_name="sources", partitions_def=monthly_partitions)
    return dg.AssetsDefinition(specs=[spec])
