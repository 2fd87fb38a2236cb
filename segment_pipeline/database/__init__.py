"""DuckDB: the file and its transactions, tables as declarations, rows in and out, and quoting. It knows no stage."""
