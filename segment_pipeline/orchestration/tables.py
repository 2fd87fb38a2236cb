"""What every step of a run leaves behind."""

from segment_pipeline.database.tables import MONTH, Column, Table

PIPELINE_RUNS = Table(
    "pipeline_runs",
    "What ran when: one row per run, month and asset.",
    (
        Column("run_id", "VARCHAR", "", "Dagster's run id."),
        MONTH,
        Column("asset", "VARCHAR", "", "The asset that was materialized."),
        Column("rows", "BIGINT", "rows", "Rows it wrote for the month."),
        Column("seconds", "DOUBLE", "seconds", "How long it took."),
        Column("config_hash", "VARCHAR", "", "Hash of the user's file at that time."),
        Column("project", "VARCHAR", "", "The configuration's name, and its file; NULL in rows of before this column."),
        Column("code_version", "VARCHAR", "", "Version of segment_pipeline."),
        Column("finished_at", "TIMESTAMP", "UTC", "When it finished, by the clock of that machine."),
        Column(
            "sequence",
            "BIGINT",
            "",
            "The how-manieth row this is; what was written after what is told by it, for a clock may be wrong.",
            before="rowid + 1",  # rows are only ever added
        ),
    ),
    ("sequence",),
)

RUN_SETTINGS = Table(
    "run_settings",
    "The settings behind each config_hash of pipeline_runs, so that a change of them is told by its name.",
    (
        Column("config_hash", "VARCHAR", "", "Hash of the user's file."),
        Column("settings", "VARCHAR", "", "Its values that can change a result, as JSON."),
    ),
    ("config_hash",),
    published=False,
)


TABLES = (PIPELINE_RUNS, RUN_SETTINGS)
