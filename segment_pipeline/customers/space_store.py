"""The month's feature space: written, read, and applied to every accepted customer."""

from collections.abc import Sequence
from datetime import date

import duckdb

from segment_pipeline.customers.tables import FEATURE_DIAGNOSTICS, FEATURE_SPACES, SCALED_MATRIX
from segment_pipeline.customers.transforms import standardised_sql
from segment_pipeline.customers.worth import FeatureWorth
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import write_rows
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.errors import MonthOrderError
from segment_pipeline.mixture.features import FeatureDiagnostics, FeatureSpace
from segment_pipeline.months import month_key


def write_feature_space(
    connection: duckdb.DuckDBPyConnection,
    month: date,
    space: FeatureSpace,
    diagnostics: Sequence[FeatureDiagnostics],
    worth: Sequence[FeatureWorth],
) -> None:
    """The month's transform, and of each feature its profile and what it is worth."""
    write_rows(connection, FEATURE_SPACES, month, [{"parameters": space.to_json()}])
    rows = [vars(row) | vars(of) for row, of in zip(diagnostics, worth, strict=True)]
    write_rows(connection, FEATURE_DIAGNOSTICS, month, rows)


def read_feature_space(connection: duckdb.DuckDBPyConnection, month: date) -> FeatureSpace:
    """The transform with which the month's scaled matrix was made."""
    found = connection.execute(f"SELECT parameters FROM {FEATURE_SPACES.name} WHERE month = ?", [month]).fetchone()
    if found is None:
        raise MonthOrderError(f"{month_key(month)} has no scaled_matrix yet; materialize it first.")
    return FeatureSpace.from_json(found[0])


def write_scaled_matrix(connection: duckdb.DuckDBPyConnection, month: date, space: FeatureSpace) -> int:
    """Transformed, standardised features of every accepted customer; returns how many."""
    columns = ", ".join(
        f"{expression} AS {identifier(name)}"
        for name, expression in zip(space.names, standardised_sql(space), strict=True)
    )
    return replace_month(
        connection,
        SCALED_MATRIX,
        month,
        f"SELECT month, customer_id, {columns} FROM validated_features "
        f"WHERE month = {month_literal(month)} ORDER BY customer_id",
        space.names,
    )


def is_bootstrap(connection: duckdb.DuckDBPyConnection, month: date) -> bool:
    """Whether no month before this one has a champion."""
    # by its bare name: the table belongs to a stage above this one
    found = connection.execute("SELECT count(*) FROM champions WHERE month < ?", [month]).fetchone()
    return found is None or found[0] == 0
