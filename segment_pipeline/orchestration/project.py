"""Whose warehouse it is: two configurations in one folder would write into one another's months."""

from segment_pipeline.config.config import Config
from segment_pipeline.database.store import Connection, WarehouseError
from segment_pipeline.orchestration.tables import PIPELINE_RUNS


def refuse_other_project(connection: Connection, config: Config) -> None:
    """Raises WarehouseError where another configuration has run last."""
    found = connection.execute(
        f"SELECT arg_max(project, sequence) FROM {PIPELINE_RUNS.name} WHERE project IS NOT NULL"
    ).fetchone()
    last = found[0] if found else None
    if config.is_project(last):
        return
    raise WarehouseError(
        f"{config.warehouse_path} holds the months of {last}, and this is {config.project}. Give this one an "
        "output_dir of its own, such as output_dir: "
        f"{config.path.stem}_output; or move warehouse.duckdb and segments.duckdb away, if they are of no use any more."
    )
