"""The stores that a configuration names, looked at and filled from the published file."""

from segment_pipeline.config.config import Config
from segment_pipeline.publishing.publish import reading
from segment_pipeline.publishing.stores.parquet import ParquetStore
from segment_pipeline.publishing.stores.parts import Part, Store, StoreError, parts_of
from segment_pipeline.publishing.stores.postgres import PostgresStore


def stores_of(config: Config) -> list[Store]:
    """One for each key of `publish` that is given."""
    stores: list[Store] = []
    if config.publish.postgres is not None:
        stores.append(PostgresStore(config))
    if config.publish.parquet is not None:
        stores.append(ParquetStore(config))
    return stores


def fill(store: Store) -> tuple[dict[str, int], list[str]]:
    """Bring the store up to the published file. Returns how many parts and rows are new in it, and what it cannot
    hold, in sentences. Raises StoreError, PublishError."""
    with reading(store.config.published_path) as published:
        wanted = parts_of(published)
        new = wanted - store.parts()
        left_out = store.bring(published, wanted)
    return {"parts": len(new), "rows": sum(part.rows for part in new)}, left_out


def assets_behind(config: Config) -> list[str]:
    """The assets of the stores that do not have what the published file has, or cannot be asked: these will say why."""
    stores = stores_of(config)
    if not stores or not config.published_path.exists():
        return []
    with reading(config.published_path) as published:
        wanted = parts_of(published)
    return [store.asset for store in stores if _is_behind(store, wanted)]


def _is_behind(store: Store, wanted: set[Part]) -> bool:
    try:
        return store.parts() != wanted
    except StoreError:
        return True
