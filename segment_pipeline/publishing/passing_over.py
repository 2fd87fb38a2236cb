"""A month without an order line that is passed over: nothing is published for it, and the next can go on from it.

The champion serves on, and a champion with memory takes its step without having seen anybody: what it knew of a
customer, a month later. Whatever else the warehouse has of the month goes, so that the month after it finds no
customers before it, as the first month does: nothing is said of movement into it.
"""

from datetime import UTC, date, datetime

import duckdb

from segment_pipeline import __version__
from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import insert_rows
from segment_pipeline.errors import SourceError
from segment_pipeline.models.champions_store import previous_champion
from segment_pipeline.models.tables import CHAMPIONS
from segment_pipeline.months import month_key
from segment_pipeline.orchestration.tables import PIPELINE_RUNS
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.memory_store import remember_nobody
from segment_pipeline.sources.over_time.contents import read_contents, write_contents

PASSED_OVER = "passed_over"
"""What stands in pipeline_runs in place of an asset."""


def pass_over(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> None:
    """Leave the month without customers, and whole. Call it inside a transaction.

    Raises SourceError where it is the first: there is no champion yet.
    """
    champion = previous_champion(connection, config, month)
    if champion is None:
        raise SourceError(
            f"{month_key(month)} has no order line, and it is the first month: there is nothing to go on from. "
            "Set first_month in the configuration to a month with orders, and run again."
        )
    for table in TABLES:
        if table.month_column == "month" and "month" in table.column_names and table is not PIPELINE_RUNS:
            connection.execute(f"DELETE FROM {identifier(table.name)} WHERE month = ?", [month])
    insert_rows(connection, CHAMPIONS, [{"month": month, "model_version": champion.model_version}])
    remember_nobody(connection, champion, month)
    read_contents(connection, config)
    write_contents(connection, config, month)
    (written,) = connection.execute(f"SELECT max(sequence) FROM {PIPELINE_RUNS.name}").fetchone() or (0,)
    record = {
        "run_id": None,
        "month": month,
        "asset": PASSED_OVER,
        "rows": 0,
        "seconds": 0.0,
        "config_hash": config.config_hash,
        "project": config.project,
        "code_version": __version__,
        "finished_at": datetime.now(UTC).replace(tzinfo=None),
        "sequence": written + 1,
    }
    insert_rows(connection, PIPELINE_RUNS, [record])
