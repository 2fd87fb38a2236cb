"""Feature matrices and candidates, in and out of the warehouse as plain numbers. Champions: see champions.py."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from segment_pipeline.errors import MonthOrderError
from segment_pipeline.months import month_key
from segment_pipeline.segmentation.features import FeatureDiagnostics, FeatureSpace
from segment_pipeline.segmentation.mixture import Candidate, Mixture
from segment_pipeline.segmentation.selection import Choice
from segment_pipeline.warehouse.quoting import identifier
from segment_pipeline.warehouse.scoring import standardised_sql
from segment_pipeline.warehouse.store import month_literal, replace_month
from segment_pipeline.warehouse.tables import (
    CANDIDATE_CHOICES,
    CANDIDATE_MODELS,
    CANDIDATE_PARAMETERS,
    FEATURE_DIAGNOSTICS,
    FEATURE_SPACES,
    SCALED_MATRIX,
    Table,
)

Matrix = NDArray[np.float64]


def feature_matrix(
    connection: duckdb.DuckDBPyConnection, table: str, month: date, names: Sequence[str], sample: int
) -> tuple[NDArray[np.str_], Matrix]:
    """Customer ids (n,) and their features (n, d) from `table`, ordered by customer id.

    Above `sample` customers, the sample that `drawn_sql` draws.
    """
    drawn = drawn_sql(connection, table, month, sample)
    columns = ", ".join(identifier(name) for name in names)
    found = connection.execute(
        f"SELECT customer_id, {columns} FROM {identifier(table)} WHERE month = ? AND {drawn} ORDER BY customer_id",
        [month],
    ).fetchnumpy()
    ids = np.asarray(found.pop("customer_id"))
    matrix = np.column_stack([np.asarray(np.ma.filled(found[name], np.nan), dtype=np.float64) for name in found])
    return ids, matrix


def drawn_sql(connection: duckdb.DuckDBPyConnection, table: str, month: date, sample: int) -> str:
    """Which customer_id belong to a reproducible sample of about `sample` of the month's, as SQL; `true` where there
    are not more than that."""
    total = connection.execute(f"SELECT count(*) FROM {identifier(table)} WHERE month = ?", [month]).fetchone()
    share = min(1.0, sample / max(1, total[0] if total else 1))
    return "true" if share == 1.0 else hashed_below("customer_id", share)


def hashed_below(customer_id: str, share: float) -> str:
    """A condition that draws about this share of the customers, always the same ones."""
    # the first 13 hex digits are 52 bits: exact as a double, and the same on every engine that has md5
    return f"CAST('0x' || left(md5({customer_id}), 13) AS BIGINT) < {int(share * 2**52)}"


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


def write_rows(
    connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: Sequence[Mapping[str, object]]
) -> int:
    """Replace the month of a model-sized table; `rows` lack the month and may lack columns."""
    connection.execute(f"DELETE FROM {identifier(table.name)} WHERE month = ?", [month])
    return insert_rows(connection, table, [{**row, "month": month} for row in rows])


def insert_rows(connection: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> int:
    """Add rows to a model-sized table; all of them have the keys of the first."""
    names = [name for name in table.column_names if rows and name in rows[0]]
    if rows:
        listed, marks = ", ".join(identifier(name) for name in names), ", ".join("?" for _ in names)
        connection.executemany(
            f"INSERT INTO {identifier(table.name)} ({listed}) VALUES ({marks})",
            [[_plain(row[name]) for name in names] for row in rows],
        )
    return len(rows)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
