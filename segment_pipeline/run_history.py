"""Dagster's instance while months run in this process, its history kept open.

Dagster's SQLite storages open their file for every single thing they note or look up, prepare its statement anew, and
close the file: three CPU seconds a month. Here each file is opened once, which leaves a quarter of that, and nothing is
looked up twice. Files, tables and events are Dagster's own, each event is committed before the next, and the UI reads
them meanwhile; what it notes itself of an asset, the next run sees.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import dagster as dg
from dagster import AssetKey, AssetRecordsFilter
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.base import AssetRecord
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event


def open_instance(home: str) -> dg.DagsterInstance:
    """The persistent instance of this home, to be closed. One that keeps no SQLite files is as Dagster makes it."""
    ref = InstanceRef.from_dir(home)
    data = ref.storage_data
    if data and data.class_name == DagsterSqliteStorage.__name__:
        ref = ref._replace(storage_data=ConfigurableClassData(__name__, OpenStorage.__name__, data.config_yaml))
    return dg.DagsterInstance.from_ref(ref)


class OpenRuns(SqliteRunStorage):
    """Which runs there are."""

    _engine: Engine | None = None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        self._engine = self._engine or _engine(self._conn_string)
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        super().dispose()


class OpenEventLog(SqliteEventLogStorage):
    """What happened in them: a file for all, and one for each run, of which only the last stays open."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, Engine] = {}
        self._told: defaultdict[AssetKey, dict[str, Any]] = defaultdict(dict)
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard not in self._engines:
                self._close(self._engines.keys() - {INDEX_SHARD_NAME})
                engine = _engine(self.conn_string_for_shard(shard))
                self._initdb(engine)
                self._engines[shard] = engine
            with self._engines[shard].begin() as connection:
                yield connection

    @cached_property
    def supports_asset_checks(self) -> bool:
        """Dagster looks into the file's schema for it before each check that it notes."""
        return bool(super().supports_asset_checks)

    # Each step asks of every asset that it stands on, and each check of its own, what is the last that was noted of it:
    # the same answers, until something is noted.

    def get_asset_records(self, asset_keys: Sequence[AssetKey] | None = None) -> Sequence[AssetRecord]:
        if asset_keys is None:
            return super().get_asset_records()
        unknown = [key for key in asset_keys if "record" not in self._told[key]]
        asked = super().get_asset_records(unknown) if unknown else []
        found = {record.asset_entry.asset_key: record for record in asked}
        for key in unknown:
            self._told[key]["record"] = found.get(key)
        records = (self._told[key]["record"] for key in asset_keys)
        return [record for record in records if record is not None]

    def get_latest_tags_by_partition(self, asset_key: AssetKey, *which: Any, **named: Any) -> Any:
        return self._once(asset_key, super().get_latest_tags_by_partition, asset_key, *which, **named)

    def fetch_materializations(self, records_filter: AssetKey | AssetRecordsFilter, *which: Any, **named: Any) -> Any:
        key = records_filter.asset_key if isinstance(records_filter, AssetRecordsFilter) else records_filter
        return self._once(key, super().fetch_materializations, records_filter, *which, **named)

    def _once(self, key: AssetKey, ask: Callable[..., Any], *which: Any, **named: Any) -> Any:
        question = f"{ask.__name__} {which} {named}"
        if question not in self._told[key]:
            self._told[key][question] = ask(*which, **named)
        return self._told[key][question]

    def store_event(self, event: EventLogEntry) -> None:
        super().store_event(event)
        about = event.dagster_event.asset_key if event.dagster_event else None
        if about is not None:
            self._told.pop(about, None)
        # the UI watches this file; what is new stands in the log beside it, as long as it is open
        os.utime(self.path_for_shard(event.run_id))

    def dispose(self) -> None:
        self._close(set(self._engines))
        super().dispose()

    def _close(self, shards: set[str]) -> None:
        for shard in shards:
            self._engines.pop(shard).dispose()


class OpenStorage(DagsterSqliteStorage):
    """Both of them, and Dagster's own for schedules, which no run writes."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = OpenRuns(self._run_storage._conn_string)
        self._event_log_storage = OpenEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "OpenStorage":
        return cls(inst_data=inst_data, **config_value)


def _engine(url: str) -> Engine:
    """It keeps its connection, and the statements that it has prepared."""
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    # A killed process loses nothing by this. A machine that loses power may lose the last events: history, no month.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
    return engine
