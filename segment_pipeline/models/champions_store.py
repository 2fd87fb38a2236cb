"""Champions in and out of the warehouse: who serves a month, what its decision stands on, what it decided."""

from datetime import date
from math import isfinite
from shlex import quote

import duckdb
import numpy as np

from segment_pipeline.arrays import Array, Texts
from segment_pipeline.config.config import Config
from segment_pipeline.customers.space_store import read_feature_space
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import feature_matrix, insert_rows, write_rows
from segment_pipeline.errors import MonthOrderError
from segment_pipeline.mixture.chain.customer_months import CustomerMonths
from segment_pipeline.models.candidates_store import read_challenger
from segment_pipeline.models.champion import FOLLOWED, OWN, Decision, DecisionInputs, with_overrides
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.panel_store import read_customer_months
from segment_pipeline.models.refit import Subject, answers_an_event
from segment_pipeline.models.tables import CHAMPIONS, MODEL_VERSIONS, REFIT_TRIGGERS, SEGMENT_LINEAGE
from segment_pipeline.months import add_months, month_key, month_range


def require_champion(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> SegmentModel:
    """The champion that serves `month`, with the user's names. Raises MonthOrderError where none was selected."""
    champion = _read(connection, month)
    if champion is None:
        raise MonthOrderError(f"{month_key(month)} has no selected_model yet; materialize it first.")
    return with_overrides(champion, config)


def previous_champion(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> SegmentModel | None:
    """The champion of the month before; None at bootstrap, which is the configuration's first month.

    A gap is not bootstrap: it raises MonthOrderError, naming the months that are missing and the command that fills
    them.
    """
    earlier = connection.execute(f"SELECT max(month) FROM {CHAMPIONS.name} WHERE month < ?", [month]).fetchone()
    latest = earlier[0] if earlier else None
    if latest is None and month <= config.first_month:
        return None
    first = config.first_month if latest is None else add_months(latest, 1)
    missing = month_range(first, add_months(month, -1))
    if missing:
        span = month_key(missing[0]) + (f"..{month_key(missing[-1])}" if len(missing) > 1 else "")
        raise MonthOrderError(
            f"{month_key(month)} cannot run: {span} is missing, so there is no champion of the month before and no "
            f"movement to measure. Run first: segment-pipeline run --config {quote(str(config.path))} --months {span}"
        )
    return _read(connection, add_months(month, -1))


def measuring_champion(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> SegmentModel | None:
    """The champion with which `month` and the month before it are both measured, so that a refit is never movement: who
    serves `month`, as everything else that is told of it, or, where the month before lacks a feature of it, who served
    that. With the user's names and roles.

    None in the first month, and where neither can see both: nothing is known of movement then.
    """
    before = previous_champion(connection, config, month)
    if before is None:
        return None
    both = (add_months(month, -1), month)
    for champion in (_read(connection, month), before):
        if champion is not None and all(scores_in(connection, champion, one) for one in both):
            return with_overrides(champion, config)
    return None


def stability_at_promotion(connection: duckdb.DuckDBPyConnection, champion: SegmentModel) -> float | None:
    """The stability (-1..1) with which the champion was chosen; None where its month was run again since, and of one
    that is not the month's challenger, though it may have as many components: it follows the customers."""
    found = connection.execute(
        f"""
        SELECT c.stability FROM candidate_models AS c
        JOIN {MODEL_VERSIONS.name} AS v ON v.trained_month = c.month
            AND v.covariance_type = c.covariance_type AND v.n_components = c.n_components
        WHERE v.model_version = ? AND c.selected AND coalesce(v.rationale, '') NOT IN (?, ?)
        """,
        [champion.model_version, FOLLOWED, OWN],
    ).fetchone()
    return found[0] if found else None


def is_fresh_fit(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date) -> bool:
    """Whether the champion is what candidate_models chose for `month`, and not one that follows the customers."""
    return bool(
        connection.execute(
            f"""
            SELECT count(*) FROM {MODEL_VERSIONS.name}
            WHERE model_version = ? AND trained_month = ? AND coalesce(rationale, '') NOT IN (?, ?)
            """,
            [champion.model_version, month, FOLLOWED, OWN],
        ).fetchall()[0][0]
    )


def fired_before(
    connection: duckdb.DuckDBPyConnection, previous: SegmentModel | None, month: date
) -> dict[Subject, int]:
    """For how many months in a row each trigger had fired up to the month before, whose champion is `previous`.

    In the month of its promotion triggers were about the champion before it, so they count for nothing.
    """
    before = add_months(month, -1)
    if previous is None or previous.trained_month == before:
        return {}
    found = connection.execute(
        f"SELECT metric, segment_id, feature, months_fired FROM {REFIT_TRIGGERS.name} "
        "WHERE month = ? AND months_fired > 0",
        [before],
    ).fetchall()
    return {(metric, segment_id, feature): months for metric, segment_id, feature, months in found}


def has_answered(connection: duckdb.DuckDBPyConnection, champion: SegmentModel | None) -> bool:
    """Whether the champion was promoted for something that had happened to the customers."""
    if champion is None:
        return False
    found = connection.execute(
        f"SELECT DISTINCT metric FROM {REFIT_TRIGGERS.name} WHERE month = ? AND fired", [champion.trained_month]
    ).fetchall()
    return answers_an_event([metric for (metric,) in found])


def scores_in(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date) -> bool:
    """Whether every feature of `model` is there, for every accepted customer of the month."""
    columns = {row[0].lower() for row in connection.execute(f"DESCRIBE {VALIDATED_FEATURES.name}").fetchall()}
    if not {name.lower() for name in model.space.names} <= columns:
        return False
    gaps = " OR ".join(f"{identifier(name)} IS NULL" for name in model.space.names)
    found = connection.execute(
        f"SELECT count(*) FROM {VALIDATED_FEATURES.name} WHERE month = ? AND ({gaps})", [month]
    ).fetchone()
    return found is not None and found[0] == 0


def decision_inputs(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> DecisionInputs:
    """Everything that the month's decision stands on. Raises MonthOrderError at a gap."""
    previous = previous_champion(connection, config, month)
    challenger = read_challenger(connection, month)
    space = read_feature_space(connection, month)
    remembered = previous is not None and previous.memory is not None

    def months_of(names: tuple[str, ...]) -> CustomerMonths | None:
        if challenger.memory is None and not remembered:
            return None
        return read_customer_months(connection, month, names, config.memory.months, config.model.fit_sample)

    def sample(names: tuple[str, ...]) -> tuple[Texts, Array]:
        return feature_matrix(connection, VALIDATED_FEATURES.name, month, names, config.model.fit_sample)

    months = months_of(space.names)

    def values(names: tuple[str, ...]) -> Array:
        ids, X = sample(names)
        # of very many customers fewer are replayed over their months
        return X if months is None else X[np.isin(ids.astype(str), months.ids[months.last])]

    names_before = previous.space.names if previous is not None and scores_in(connection, previous, month) else None
    version, segment_id = _highest_ids(connection, month)
    return DecisionInputs(
        month=month,
        space=space,
        X=values(space.names),
        judged_on=None if months is None or challenger.memory is not None else sample(space.names)[1],
        previous_judged_on=None if months is None or names_before is None or remembered else sample(names_before)[1],
        X_previous=None if names_before is None else values(names_before),
        recency=values((config.recency_feature,))[:, 0] if config.recency_feature is not None else None,
        frequency=values((config.frequency_feature,))[:, 0] if config.frequency_feature is not None else None,
        challenger=challenger.mixture,
        rationale=challenger.rationale,
        previous=previous,
        next_version=version + 1,
        next_segment_id=segment_id + 1,
        fired_before=fired_before(connection, previous, month),
        challenger_memory=challenger.memory,
        next_log_score=challenger.next_log_score,
        months=months,
        answered=has_answered(connection, previous),
        months_previous=months if names_before == space.names else months_of(names_before) if names_before else None,
    )


def write_decision(
    connection: duckdb.DuckDBPyConnection, config: Config, month: date, inputs: DecisionInputs, decision: Decision
) -> None:
    """The month's champion, the figures behind the decision and, at a promotion, the new version and its lineage.

    A month that is run again first takes back what it promoted before.
    """
    champion = decision.champion
    connection.execute(f"DELETE FROM {MODEL_VERSIONS.name} WHERE trained_month = ?", [month])
    write_rows(connection, CHAMPIONS, month, [{"model_version": champion.model_version}])
    write_rows(
        connection, REFIT_TRIGGERS, month, [{**vars(trigger), "fired": trigger.fired} for trigger in decision.triggers]
    )
    write_rows(
        connection,
        SEGMENT_LINEAGE,
        month,
        [
            {
                "model_version": champion.model_version,
                "segment_id": row.segment_id,
                "previous_segment_id": row.previous_segment_id,
                "relation": row.relation,
                "overlap": row.overlap,
                "margin": row.margin if isfinite(row.margin) else None,
                "kept": row.kept,
                "wasserstein": row.wasserstein,
            }
            for row in decision.lineage
        ],
    )
    if decision.promoted:
        version = {
            "model_version": champion.model_version,
            "trained_month": month,
            "n_components": champion.mixture.n_components,
            "n_segments": len(champion.segments),
            "covariance_type": champion.mixture.covariance_type,
            "reason": decision.reason,
            "rationale": decision.rationale,
            "customers_fitted": (
                len(inputs.X) if inputs.challenger_memory is None or inputs.months is None else len(inputs.months.ids)
            ),
            "seed": config.model.seed,
            "feature_schema": champion.space.schema,
            "parameters": champion.to_json(),
        }
        insert_rows(connection, MODEL_VERSIONS, [version])


def _read(connection: duckdb.DuckDBPyConnection, month: date) -> SegmentModel | None:
    found = connection.execute(
        f"SELECT v.parameters FROM {CHAMPIONS.name} AS c JOIN {MODEL_VERSIONS.name} AS v USING (model_version) "
        "WHERE c.month = ?",
        [month],
    ).fetchone()
    return SegmentModel.from_json(found[0]) if found else None


def _highest_ids(connection: duckdb.DuckDBPyConnection, month: date) -> tuple[int, int]:
    """The highest model version and segment id given out so far: what comes next is never one of them.

    A month that is run again gets the numbers that it had, so that it gives the same rows.
    """
    version = connection.execute(
        f"""
        SELECT coalesce(
            (SELECT model_version - 1 FROM {MODEL_VERSIONS.name} WHERE trained_month = $month),
            (SELECT max(model_version) FROM {MODEL_VERSIONS.name}), 0)
        """,
        {"month": month},
    ).fetchone()
    segment = connection.execute(
        f"SELECT coalesce(max(segment_id), 0) FROM {SEGMENT_LINEAGE.name} WHERE month < ?", [month]
    ).fetchone()
    return (int(version[0]) if version else 0, int(segment[0]) if segment else 0)
