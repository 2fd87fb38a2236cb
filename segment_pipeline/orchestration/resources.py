"""What the assets are given: the pipeline (user's file, warehouse, run lock) and the notifier.

Nothing heavy is imported at module level: Dagster loads this file in every process that shows the asset graph.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from pydantic import PrivateAttr

from segment_pipeline import __version__
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.tables import Table
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.failures import tell_once
from segment_pipeline.orchestration.tables import PIPELINE_RUNS

if TYPE_CHECKING:
    from segment_pipeline.database.store import Connection, RunLock, Warehouse

WEBHOOK_VARIABLE = "SEGMENT_PIPELINE_WEBHOOK_URL"
# Which process a run is in, so that a run whose process was killed can be told from one that is at work.
PID_TAG = "segment_pipeline/pid"
# Dagster's own: the UI shows it as who has launched a run, and a schedule's or its own runs without it.
LAUNCHED_BY_TAG = "user"


def run_lock_path(config: Config) -> Path:
    """The file whose lock a run holds from its first step to its last."""
    return config.output_dir / ".run.lock"


@dataclass
class Step:
    """One asset's work on one month: an open transaction, the row count to be recorded with it, and what was judged."""

    connection: "Connection"
    config: Config
    month: date
    rows: int = 0
    verdicts: list[dg.AssetCheckResult] = field(default_factory=list)

    def judge(self, *verdicts: dg.AssetCheckResult, advice: str = "") -> None:
        """Keep the verdicts for the month's result; where one that blocks has failed, undo the step and stop the month.

        Call it before the block ends. advice : what to do then, in a sentence. Raises GateClosedError.
        """
        checks.gate(self.month, verdicts, advice)
        self.verdicts += verdicts

    def result(self, told: Mapping[str, Any]) -> dg.MaterializeResult[None]:
        """What the asset has to tell of the month: its rows, where they are, what is given, and its verdicts."""
        engine = self.config.engine
        where = {} if engine.spark is None else {"customers are in": f"the database {engine.database} of Spark"}
        return dg.MaterializeResult(
            metadata={"dagster/partition_row_count": self.rows, **where, **told}, check_results=self.verdicts
        )


class Pipeline(dg.ConfigurableResource):  # type: ignore[type-arg]  # what it provides is itself
    """The user's file and the warehouse that it names; holds the run lock from the first step of a run to its last.

    Which tables a warehouse has, and what names they leave to features, is for the stages to say: definitions.py does.
    """

    config_path: str
    tables: ClassVar[Sequence[Table]] = ()
    reserved_names: ClassVar[frozenset[str]] = frozenset()

    _lock: "RunLock | None" = PrivateAttr(default=None)
    _open: "Connection | None" = PrivateAttr(default=None)
    _timed: tuple[dg.AssetKey | None, float] = PrivateAttr(default=(None, 0.0))
    _spilled: dict[str, None] = PrivateAttr(default_factory=dict)
    _begun: dict[str, "Future[Any]"] = PrivateAttr(default_factory=dict)

    @cached_property
    def config(self) -> Config:
        return load_config(Path(self.config_path), self.reserved_names)

    @cached_property
    def warehouse(self) -> "Warehouse":
        from segment_pipeline.database.engines.engine import engine_of
        from segment_pipeline.database.store import Warehouse

        operation = self.config.operation
        return Warehouse(
            self.config.warehouse_path,
            operation.lock_timeout_minutes * 60,
            operation.memory_limit,
            operation.threads,
            engine_of(self.config),
        )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        from segment_pipeline.database.store import RunLock, prepare
        from segment_pipeline.orchestration.project import keep_settings, refuse_other_project

        log = context.log or logging.getLogger(__name__)
        if context.log:
            tell_once(context.log)
        purpose = f"run {context.run.run_id[:8]}" if context.run else "a run"
        self._lock = RunLock(
            run_lock_path(self.config), self.config.operation.lock_timeout_minutes * 60, purpose, log.warning
        )
        self._lock.__enter__()
        self._timed, self._spilled, self._begun = (None, 0.0), {}, {}
        try:
            if context.run and context.instance and PID_TAG not in context.run.tags:
                context.instance.add_run_tags(context.run.run_id, {PID_TAG: str(os.getpid())})
            with self.warehouse.transaction(log.warning) as connection:
                prepare(connection, self.tables, self.config.raw_feature_names)
                if self.warehouse.engine is not None:
                    self.warehouse.engine.hold()
                    self.warehouse.engine.move_in(connection, self.tables)
                refuse_other_project(connection, self.config)
                keep_settings(connection, self.config)
        except BaseException:  # Dagster tears down only what was set up: nobody else would let go of the lock
            self._leave()
            raise

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        wait(self._begun.values())  # of a step that was not reached: nobody else may write before it has ended
        self._let_go()
        self._leave()
        if self._spilled and context.log:
            context.log.warning(
                f"{', '.join(self._spilled)}: more than operation.memory_limit ({self.config.operation.memory_limit}) "
                "holds, so DuckDB put the rest on disk meanwhile. The result is the same; with a higher limit it takes "
                "less time."
            )

    def _leave(self) -> None:
        """Let go of the engine and, whatever that says, of the lock."""
        try:
            if self.warehouse.engine is not None:
                self.warehouse.engine.close()
        finally:
            if self._lock is not None:
                self._lock.__exit__()

    @contextmanager
    def read(self, context: dg.AssetExecutionContext, *, step_follows: bool = False) -> Iterator["Connection"]:
        """A short connection for reading, so that a long computation after it does not hold the file. step_follows : in
        a moment, so that the file stays open, as between two steps."""
        self._since(context.asset_key)
        try:
            with self.warehouse.connect(context.log.warning) as connection:
                if step_follows:
                    self._open = self._open or self.warehouse.open(context.log.warning)
                yield connection
                self._note_spill(context)
        finally:
            if not step_follows:
                self._let_go()

    @contextmanager
    def aside(self, context: dg.AssetExecutionContext) -> Iterator["Connection"]:
        """A transaction of its own beside the step's: until the end of one, DuckDB keeps what its temporary tables
        held."""
        with self.warehouse.transaction(context.log.warning) as connection:
            yield connection
            self._note_spill(context)

    def begin(
        self, name: str, work: "Callable[[Connection, Config, date], Any]", context: dg.AssetExecutionContext
    ) -> None:
        """Begin for the asset `name` what it may read and compute before its turn (`ahead`), on a connection and in a
        thread of its own; not at all where one core is all that is allowed."""
        if self.config.operation.threads == 1:
            return
        month = parse_month(context.partition_key)

        def beside() -> Any:
            with self.warehouse.connect(context.log.warning) as connection:
                return work(connection, self.config, month)

        pool = ThreadPoolExecutor(1)
        self._begun[name] = pool.submit(beside)
        pool.shutdown(wait=False)

    def ahead(self, context: dg.AssetExecutionContext) -> "Callable[[], Any] | None":
        """What gives the result of what was begun for this asset, or raises what that has; None where nothing was."""
        begun = self._begun.pop(context.asset_key.to_user_string(), None)
        return None if begun is None else begun.result

    @contextmanager
    def step(self, context: dg.AssetExecutionContext) -> Iterator[Step]:
        """One transaction: what the block writes and the row of pipeline_runs about it, or nothing.

        The block sets `step.rows`. The file stays open for the next step, which mostly follows at once: opening and
        closing it costs more than many a step.
        """
        from segment_pipeline.database.rows import insert_rows

        started = self._since(context.asset_key)
        month = parse_month(context.partition_key)
        with self.warehouse.transaction(context.log.warning) as connection:
            self._open = self._open or self.warehouse.open(context.log.warning)
            step = Step(connection, self.config, month)
            yield step
            (written,) = step.connection.execute(
                f"SELECT coalesce(max(sequence), 0) FROM {PIPELINE_RUNS.name}"
            ).fetchone() or (0,)
            record = {
                "run_id": context.run.run_id,
                "month": month,
                "asset": context.asset_key.to_user_string(),
                "rows": step.rows,
                "seconds": time.perf_counter() - started,
                "config_hash": self.config.config_hash,
                "project": self.config.project,
                "code_version": __version__,
                "finished_at": datetime.now(UTC).replace(tzinfo=None),
                "sequence": written + 1,
            }
            insert_rows(connection, PIPELINE_RUNS, [record])
            self._note_spill(context)

    def _note_spill(self, context: dg.AssetExecutionContext) -> None:
        if self.warehouse.has_spilled():
            self._spilled[context.asset_key.to_user_string()] = None

    def _let_go(self) -> None:
        """Close the file, if a step has left it open."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _since(self, asset: dg.AssetKey) -> float:
        """When this asset first asked for the warehouse: most read, then compute at length, then write."""
        if self._timed[0] != asset:
            self._timed = asset, time.perf_counter()
        return self._timed[1]


class Notifier(dg.ConfigurableResource):  # type: ignore[type-arg]  # what it provides is itself
    """Tells people: to the log always, and to a webhook as JSON {"text": ...} where one is configured.

    A webhook that does not answer is logged and forgotten: a message lost must not be a month lost. `timeout_seconds`
    is for all tries together.
    """

    webhook_url: str | None = None
    timeout_seconds: float = 20.0

    def notify(self, text: str, log: logging.Logger, outside: str | None = None) -> None:
        """outside : what the webhook is told, where that is less than the log: what leaves the house carries counts and
        names of the configuration, and no value of anybody's data."""
        from segment_pipeline.orchestration.webhook import NotSentError, send

        log.warning(text)
        if not self.webhook_url:
            return
        if not self.webhook_url.startswith(("https://", "http://")):
            log.error("The webhook in %s is not an http(s) address; nothing was sent.", WEBHOOK_VARIABLE)
            return
        try:
            send(self.webhook_url, text if outside is None else outside, self.timeout_seconds)
            log.info("Sent to the webhook.")
        except NotSentError as error:
            log.error("The webhook did not take the message (%s); it stands in this log only.", error)
