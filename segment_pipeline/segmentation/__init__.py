"""The statistics: arrays in, values out. Nothing here knows of Dagster, DuckDB, pandas or a file."""
