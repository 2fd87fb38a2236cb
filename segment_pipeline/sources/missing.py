"""What a feature is of a customer who has no value of it, where the user's file says so."""

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.database.quoting import identifier, literal, number


def fill_missing(connection: duckdb.DuckDBPyConnection, config: Config) -> dict[str, int]:
    """Put the `missing` of each feature that has one in the place of what is not there in `source_customers`; returns
    how many customers got it, by feature. Text that is no number is there, and stays for the contract to reject."""
    given = {one.name: one.missing for one in config.features if one.missing is not None}
    if not given:
        return {}
    absent = {
        name: f"{identifier(name)} IS NULL AND NOT map_contains(unreadable_values, {literal(name)})" for name in given
    }
    counts = ", ".join(f"count(*) FILTER ({condition})" for condition in absent.values())
    found = connection.execute(f"SELECT {counts} FROM source_customers").fetchone() or ()
    filled = ", ".join(
        f"{identifier(name)} = CASE WHEN {absent[name]} THEN {number(value)} ELSE {identifier(name)} END"
        for name, value in given.items()
    )
    connection.execute(f"UPDATE source_customers SET {filled} WHERE {' OR '.join(absent.values())}")
    return dict(zip(given, found, strict=True))
