"""Candidates and the choice among them, in and out of the warehouse as plain numbers. Champions: champions_store.py."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite

import duckdb

from segment_pipeline.customers.space_store import read_feature_space
from segment_pipeline.database.rows import without, write_rows
from segment_pipeline.errors import MonthOrderError
from segment_pipeline.mixture.candidates import Candidate, Mixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import express_in
from segment_pipeline.models.selection import Choice
from segment_pipeline.models.tables import CANDIDATE_CHOICES, CANDIDATE_MODELS, CANDIDATE_PARAMETERS
from segment_pipeline.months import add_months, month_key


def write_candidates(
    connection: duckdb.DuckDBPyConnection,
    month: date,
    candidates: Sequence[Candidate],
    refusals: Sequence[Sequence[str]],
    choice: Choice,
) -> int:
    """The month's challengers and the choice among them; returns how many there are."""
    chosen = choice.candidate
    covariance_type, n_components = (None, None) if chosen is None else chosen.key
    taken = {"covariance_type": covariance_type, "n_components": n_components, "rationale": choice.rationale}
    write_rows(connection, CANDIDATE_CHOICES, month, [taken])
    write_rows(
        connection,
        CANDIDATE_MODELS,
        month,
        [
            without(candidate, "mixture", "memory", "degeneracy", "basin_gap", "too_many", "examined")
            | {"n_segments": candidate.n_segments if candidate.examined is None else None}
            | {"covariance_type": candidate.covariance_type}
            | {
                name: figure if isfinite(figure := getattr(candidate, name)) else None
                for name in ("stability", "heldout_log_likelihood")
            }
            | {"admissible": not reasons, "selected": chosen is not None and candidate.key == chosen.key}
            | {"reason": "; ".join(reasons) or (choice.rationale if candidate is chosen else None)}
            for candidate, reasons in zip(candidates, refusals, strict=True)
        ],
    )
    return write_rows(
        connection,
        CANDIDATE_PARAMETERS,
        month,
        [
            {
                "covariance_type": candidate.covariance_type,
                "n_components": candidate.n_components,
                "parameters": json.dumps(
                    candidate.mixture.to_plain()
                    | ({} if candidate.memory is None else {"memory": candidate.memory.to_plain()})
                ),
                "refusals": list(reasons),
            }
            for candidate, reasons in zip(candidates, refusals, strict=True)
        ],
    )


@dataclass(frozen=True, eq=False)
class Challenger:
    """The month's choice among its candidates; `mixture` is None when none is admissible, `memory` also of one without,
    and then it has no `next_log_score`."""

    mixture: Mixture | None
    rationale: str
    memory: Memory | None = None
    next_log_score: float | None = None


def candidates_before(
    connection: duckdb.DuckDBPyConnection, month: date, space: FeatureSpace
) -> list[tuple[Mixture, Memory | None]]:
    """The candidates of the month before, in the coordinates of `space`; none where that month had other features."""
    before = add_months(month, -1)
    found = connection.execute(
        f"SELECT parameters FROM {CANDIDATE_PARAMETERS.name} WHERE month = ? ORDER BY covariance_type, n_components",
        [before],
    ).fetchall()
    if not found or (old := read_feature_space(connection, before)).schema != space.schema:
        return []
    known = [json.loads(parameters) for (parameters,) in found]
    return [
        (
            express_in(Mixture.from_plain(plain), old, space),
            Memory.from_plain(plain["memory"]) if "memory" in plain else None,
        )
        for plain in known
    ]


def read_challenger(connection: duckdb.DuckDBPyConnection, month: date) -> Challenger:
    """What candidate_models chose for the month. Raises MonthOrderError where it has not run."""
    found = connection.execute(
        f"""
        SELECT p.parameters, c.rationale, m.next_log_score
        FROM {CANDIDATE_CHOICES.name} AS c
        LEFT JOIN {CANDIDATE_PARAMETERS.name} AS p USING (month, covariance_type, n_components)
        LEFT JOIN {CANDIDATE_MODELS.name} AS m USING (month, covariance_type, n_components)
        WHERE c.month = ?
        """,
        [month],
    ).fetchone()
    if found is None:
        raise MonthOrderError(f"{month_key(month)} has no candidate_models yet; materialize it first.")
    parameters, rationale, next_log_score = found
    if parameters is None:
        return Challenger(None, rationale)
    plain = json.loads(parameters)
    memory = Memory.from_plain(plain["memory"]) if "memory" in plain else None
    return Challenger(Mixture.from_plain(plain), rationale, memory, next_log_score)
