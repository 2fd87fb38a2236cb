"""The published file's own words: what its tables and columns mean."""

from segment_pipeline.database.tables import Column, Table

DATA_DICTIONARY = Table(
    "data_dictionary",
    "Every published table, view and column: what it means and its unit.",
    (
        Column("table_name", "VARCHAR", "", "The table or view."),
        Column("column_name", "VARCHAR", "", "The column; NULL for the row that describes the table itself."),
        Column("type", "VARCHAR", "", "DuckDB type; TABLE or VIEW for the table itself."),
        Column("unit", "VARCHAR", "", "Unit or range; NULL where there is none."),
        Column("description", "VARCHAR", "", "What one value means."),
    ),
    ("table_name", "column_name"),
)


TABLES = (DATA_DICTIONARY,)
