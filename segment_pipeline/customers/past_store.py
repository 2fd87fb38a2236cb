"""The months before the first one, as far as the source shows them: the memory with which a first month begins.

Here: the same reading and the same rules for rows as in any month; no gate, for nobody is segmented there. Not here:
which months a model is fitted to (models/panel_store.py).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date

import duckdb

from segment_pipeline.config.config import Config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import judge_rows, kept_values
from segment_pipeline.customers.tables import PAST_FEATURES, VALIDATED_FEATURES
from segment_pipeline.database.store import insert_query, month_literal
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.order_lines import is_folded
from segment_pipeline.sources.sources import months_before, read_customers

Transaction = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


def fill_past(begin: Transaction, config: Config, month: date) -> list[date]:
    """In the first month of the warehouse, replace `past_features` by the months before it that a model with memory
    looks back to and the source shows; returns those, ascending. In any other month, and without model.memory, nothing.
    Portraits are left out: no memory needs them, and a past that lacks one goes on.

    begin : opens a transaction, of which each month has one of its own. Raises SourceError where the source cannot be
    read.
    """
    if not config.model.memory:
        return []
    with begin() as connection:
        earlier = f"SELECT 1 FROM {VALIDATED_FEATURES.name} WHERE month < ? LIMIT 1"
        if connection.execute(earlier, [month]).fetchone() is not None:
            return []
        connection.execute(f"DELETE FROM {PAST_FEATURES.name}")
        months = months_before(connection, config, month, config.memory.months - 1)
        folded = is_folded(connection, month)
    filled: list[date] = []
    for past in reversed(months):
        with begin() as connection:
            if not _fill(connection, config.without_portraits(), past, folded=folded):
                break
            filled.append(past)
    return filled[::-1]


def _fill(connection: duckdb.DuckDBPyConnection, config: Config, past: date, *, folded: bool) -> bool:
    """Add the month to `past_features`; whether the source has it. folded : see `read_customers`. Raises SourceError
    where it cannot be read."""
    try:
        read_customers(connection, config, past, folded=folded, accounted=False)
    except SourceError as error:
        if error.__cause__ is not None:  # it cannot be read
            raise
        return False  # an older file may lack what later ones have: the past ends there
    contract = build_contract(config)
    limits = judge_rows(connection, config, contract, "source_customers")
    nothing = ", ".join("NULL" for _ in config.raw_feature_names)
    insert_query(
        connection,
        PAST_FEATURES,
        f"""
        SELECT {month_literal(past)} AS month, customer_id, first_seen, false AS rejected,
            {kept_values(config, contract, limits)}
        FROM judged WHERE len(reasons) = 0
        UNION ALL
        SELECT DISTINCT {month_literal(past)}, customer_id, first_seen, true, {nothing}
        FROM judged WHERE len(reasons) > 0 AND customer_id IS NOT NULL
        ORDER BY customer_id
        """,
        config.raw_feature_names,
    )
    return True
