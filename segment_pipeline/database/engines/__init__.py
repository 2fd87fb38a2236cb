"""Other engines than DuckDB, in which the customers of a month may live; the rest of the house does not notice."""
