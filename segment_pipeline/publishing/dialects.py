"""What score.sql can be written for. Here: names only, light enough for a help page. Not here: how (score_sql.py)."""

DIALECTS = {
    "duckdb": "DuckDB",
    "postgres": "PostgreSQL",
    "snowflake": "Snowflake",
    "bigquery": "BigQuery",
    "spark": "Spark",
    "databricks": "Databricks",
    "redshift": "Redshift",
}
"""sqlglot's name of the dialect, which the command line takes, and people's."""
