"""The published file's own words: what its tables and columns mean, and the macro that scores new customers."""

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

PUBLISHED_PARTS = Table(
    "published_parts",
    "What stands in this file, by table and month: whoever keeps a copy sees from it which months have changed.",
    (
        Column("table_name", "VARCHAR", "", "The table; those that tell of the file itself are not told of."),
        Column("month", "DATE", "month", "The month by whose run the rows were written."),
        Column("rows", "BIGINT", "rows", "How many there are."),
        Column("fingerprint", "VARCHAR", "", "Another number where any value of them is another."),
    ),
    ("table_name", "month"),
)

TABLES = (DATA_DICTIONARY, PUBLISHED_PARTS)

MACRO = "score"

SCORED_TABLE = "scored_table"
"""The macro's parameter: DuckDB puts its value wherever the name stands in the macro, a column's place too."""

PREVIOUS = "previous_probabilities"
"""A column that rows may have which a champion with memory is to score: what was known of the customer the month
before, a list of the probability of each of its segments, ascending, and last of having lapsed. NULL for a new one."""

REFUSED = "refused"
"""The macro's column with the reason why a row is not scored, which is worked out beside the row's features."""
