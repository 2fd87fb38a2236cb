"""Feature matrices and candidates, in and out of the warehouse as plain numbers. Champions: see champions.py."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import write_rows
from segment_pipeline.database.store import month_literal, replace_month
from segment_pipeline.database.tables import (
    CANDIDATE_CHOICES,
    CANDIDATE_MODELS,
    CANDIDATE_PARAMETERS,
    FEATURE_DIAGNOSTICS,
    FEATURE_SPACES,
    SCALED_MATRIX,
)
from segment_pipeline.errors import MonthOrderError
from segment_pipeline.mixture.candidates import Candidate, Mixture
from segment_pipeline.mixture.features import FeatureDiagnostics, FeatureSpace
from segment_pipeline.months import month_key
from segment_pipeline.segmentation.selection import Choice
from segment_pipeline.warehouse.scoring import standardised_sql


def write_feature_space(
    connection: duckdb.DuckDBPyConnection, month: date, space: FeatureSpace, diagnostics: Sequence[FeatureDiagnostics]
) -> None:
    """The month's transform and the portrait of each feature."""
    write_rows(connection, FEATURE_SPACES, month, [{"parameters": space.to_json()}])
    write_rows(connection, FEATURE_DIAGNOSTICS, month, [vars(row) for row in diagnostics])


def read_feature_space(connection: duckdb.DuckDBPyConnection, month: date) -> FeatureSpace:
    """The transform with which the month's scaled matrix was made."""
    found = connection.execute(f"SELECT parameters FROM {FEATURE_SPACES.name} WHERE month = ?", [month]).fetchone()
    if found is None:
        raise MonthOrderError(f"{month_key(month)} has no scaled_matrix yet; materialize it first.")
    return FeatureSpace.from_json(found[0])


def write_candidates(
    connection: duckdb.DuckDBPyConnection,
    month: date,
    candidates: Sequence[Candidate],
    refusals: Sequence[Sequence[str]],
    choice: Choice,
) -> int:
    """The month's challengers and the choice among them; returns how many there are."""
    chosen = choice.candidate.n_components if choice.candidate is not None else None
    figures = [name for name in CANDIDATE_MODELS.column_names if name not in {"month", "admissible", "selected"}]
    write_rows(connection, CANDIDATE_CHOICES, month, [{"n_components": chosen, "rationale": choice.rationale}])
    write_rows(
        connection,
        CANDIDATE_MODELS,
        month,
        [
            {name: getattr(candidate, name) for name in figures}
            | {"admissible": not reasons, "selected": candidate.n_components == chosen}
            for candidate, reasons in zip(candidates, refusals, strict=True)
        ],
    )
    return write_rows(
        connection,
        CANDIDATE_PARAMETERS,
        month,
        [
            {
                "n_components": candidate.n_components,
                "parameters": json.dumps(candidate.mixture.to_plain()),
                "refusals": list(reasons),
            }
            for candidate, reasons in zip(candidates, refusals, strict=True)
        ],
    )


@dataclass(frozen=True, eq=False)
class Challenger:
    """The month's choice among its candidates; `mixture` is None when none is admissible."""

    mixture: Mixture | None
    rationale: str


def read_challenger(connection: duckdb.DuckDBPyConnection, month: date) -> Challenger:
    """What candidate_models chose for the month. Raises MonthOrderError where it has not run."""
    found = connection.execute(
        f"""
        SELECT p.parameters, c.rationale
        FROM {CANDIDATE_CHOICES.name} AS c
        LEFT JOIN {CANDIDATE_PARAMETERS.name} AS p ON p.month = c.month AND p.n_components = c.n_components
        WHERE c.month = ?
        """,
        [month],
    ).fetchone()
    if found is None:
        raise MonthOrderError(f"{month_key(month)} has no candidate_models yet; materialize it first.")
    parameters, rationale = found
    return Challenger(Mixture.from_plain(json.loads(parameters)) if parameters is not None else None, rationale)


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
    )
