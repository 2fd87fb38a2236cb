"""`segment-pipeline forget` and `merge`: a person leaves, or has another id.

First the warehouse in one transaction, then what is made from it, each file in one step: whatever kills it, nothing is
half, and the same command goes on.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from segment_pipeline.config.config import Config
from segment_pipeline.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from segment_pipeline.database.store import Connection, RunLock
    from segment_pipeline.publishing.people import Operation
    from segment_pipeline.publishing.stores.parts import Store

ELSEWHERE = (
    "Not of this project, and left as they are: backups, exports that were written to other folders, and the source's "
    "own files. What the source delivers of them is left out from now on, and counted."
)

LEFT_IN_STORE = (
    "Their rows may still be in {}; everywhere else `{}` is done. See to that, and give the same command again. The "
    "next `segment-pipeline run` takes the rows out too, but leaves what was deleted in the files there."
)


def forget_command(config: Config, chosen: argparse.Namespace) -> int:
    """Leave no trace of these customers, or say what would go; returns the exit code."""
    from segment_pipeline.publishing.people import forget, leave_source

    ids: Sequence[str] = chosen.customer_ids
    _refuse_blank(ids)

    def whole(connection: "Connection") -> "Operation":
        if leave_source(connection, config, ids):
            print("The source had dropped them before: what it has lost since its months ran is theirs, and no change.")
        return forget(connection, ids)

    def rows_alone(connection: "Connection") -> "Operation":
        return forget(connection, ids)

    with _lock(config, "segment-pipeline forget"):
        if chosen.dry_run:
            print(f"Would go: {_told(_change(config, None, rows_alone))}. Nothing was changed.")
            return 0
        try:
            done = _change(config, "forget", whole)
        except SourceError as error:
            print(f"The source cannot be read, and the next run may find it changed: {error}", file=sys.stderr)
            done = _change(config, "forget", rows_alone)
        print(f"Gone: {_told(done)}. Figures of segments and of all customers stay as they were.")
        _follow(config, "forget", ids)
    print(ELSEWHERE)
    return 0


def merge_command(config: Config, chosen: argparse.Namespace) -> int:
    """Make two ids one person, or say what would change; returns the exit code."""
    from segment_pipeline.publishing.people import merge

    old, new = chosen.old, chosen.new
    _refuse_blank([old, new])
    with _lock(config, "segment-pipeline merge"):
        done = _change(
            config, None if chosen.dry_run else "merge", lambda connection: merge(connection, config, old, new)
        )
        if chosen.dry_run:
            print(f"Would be of {new}: {_told(done)}. Nothing was changed.")
            return 0
        print(f"Now of {new}: {_told(done)}. What the source goes on to deliver as {old} is {new}'s.")
        _follow(config, "merge", [old])
    return 0


def _refuse_blank(ids: Sequence[str]) -> None:
    if not all(one.strip() for one in ids):
        raise ConfigError("Found a blank customer id: name each customer as the source does.")


def _lock(config: Config, purpose: str) -> "RunLock":
    from segment_pipeline.database.store import RunLock
    from segment_pipeline.orchestration.resources import run_lock_path

    return RunLock(run_lock_path(config), config.operation.lock_timeout_minutes * 60, purpose)


def _change(config: Config, kind: str | None, work: Callable[["Connection"], "Operation"]) -> "Operation":
    """Do the work on the warehouse in one transaction, with its row in people_operations; undo it where `kind` is
    None."""
    from segment_pipeline.database.store import prepare
    from segment_pipeline.orchestration.resources import Pipeline
    from segment_pipeline.publishing.catalogue import TABLES
    from segment_pipeline.publishing.people import record

    with Pipeline(config_path=str(config.path)).warehouse.connect() as connection:
        connection.begin()
        prepare(connection, TABLES, config.raw_feature_names)
        done = work(connection)
        if kind is not None:
            record(connection, kind, done)
            connection.commit()  # closing the connection undoes what was not committed
    return done


def _follow(config: Config, kind: str, ids: Sequence[str]) -> None:
    """Let everything that is made from the warehouse follow, and the blocks of its own file."""
    from segment_pipeline.cli.traces import clear_history, clear_kept, renew_files
    from segment_pipeline.orchestration.resources import Pipeline
    from segment_pipeline.publishing.draft import put_in_place, write_beside
    from segment_pipeline.publishing.people import record_end
    from segment_pipeline.publishing.publish import show_in_catalogue
    from segment_pipeline.publishing.stores.filling import stores_of
    from segment_pipeline.run_months import instance_home

    warehouse = Pipeline(config_path=str(config.path)).warehouse
    warehouse.rewrite()
    if config.published_path.exists():
        with warehouse.connect() as connection:
            draft = write_beside(connection, config.published_path, config.tiers)
        put_in_place(draft, config.published_path)
        show_in_catalogue(warehouse, unfinished=True)
        for sentence in renew_files(config, ids):
            print(sentence)
    if kind == "forget":
        with warehouse.connect() as connection:
            for sentence in clear_kept(connection, config.published_path):
                print(sentence)
    for sentence in clear_history(instance_home(config), ids):
        print(sentence)
    if config.published_path.exists():
        _follow_in_stores(stores_of(config), kind)
    with warehouse.transaction() as connection:
        record_end(connection, kind)


def _follow_in_stores(stores: "Sequence[Store]", kind: str) -> None:
    """Fill and clear each that can be had. Raises StoreError: where rows are left, and what takes them out."""
    from segment_pipeline.publishing.stores.filling import fill
    from segment_pipeline.publishing.stores.parts import BROUGHT_LATER, StoreError

    left = []
    for store in stores:
        try:
            fill(store)
            store.clear()
        except StoreError as error:
            left.append(f"{str(error).removesuffix(BROUGHT_LATER).strip()}\n{LEFT_IN_STORE.format(store.place, kind)}")
        else:
            print(f"{store.place}: filled again, and what was replaced is cleared away.")
    if left:
        raise StoreError("\n".join(left))


def _told(done: "Operation") -> str:
    unknown = len(done.ids) - done.known - len(done.before)
    said = [f"{done.rows:,} rows of {done.known:,} customers"]
    if done.rows > done.removed > 0:
        said.append(f"{done.removed:,} of these rows removed, as the other id has its own")
    if unknown:
        said.append(f"{unknown:,} ids of which there was no row, and that are remembered all the same")
    if done.before:
        said.append(f"{len(done.before):,} of whom it was done before")
    return "; ".join(said)
