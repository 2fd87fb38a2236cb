"""The month's challengers, and the champion that serves the month."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.customers.assets import raw_customers, scaled_matrix, validated_features
from segment_pipeline.errors import ModelError
from segment_pipeline.models.tables import (
    CANDIDATE_CHOICES,
    CANDIDATE_MODELS,
    CANDIDATE_PARAMETERS,
    CHAMPIONS,
    MODEL_VERSIONS,
    REFIT_TRIGGERS,
    SEGMENT_LINEAGE,
)
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.metadata import as_list, as_table
from segment_pipeline.orchestration.monthly_asset import monthly_asset
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline

if TYPE_CHECKING:
    from segment_pipeline.models.challengers import Challengers
    from segment_pipeline.models.champion import Decision

HAS_ADMISSIBLE_CANDIDATE = CheckSpec("has_admissible_candidate", "At least one challenger could serve.", blocking=False)
CHAMPION_NOT_DEGENERATE = CheckSpec(
    "champion_not_degenerate",
    "On this month's customers the champion's components are segments, not spikes.",
    blocking=True,
)
CHAMPION_IS_STABLE = CheckSpec(
    "champion_is_stable",
    "The champion's stability, when it was promoted, reaches model.min_stability, where it is known.",
    blocking=False,
)


@monthly_asset(
    CANDIDATE_MODELS,
    beside=[CANDIDATE_PARAMETERS, CANDIDATE_CHOICES],
    deps=[raw_customers, scaled_matrix, validated_features],
    checks=[HAS_ADMISSIBLE_CANDIDATE],
)
def candidate_models(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.customers.space_store import read_feature_space
    from segment_pipeline.database.rows import feature_matrix
    from segment_pipeline.models.candidates_store import candidates_before, write_candidates
    from segment_pipeline.models.challengers import fit_challengers
    from segment_pipeline.models.champions_store import previous_champion
    from segment_pipeline.models.panel_store import read_customer_months

    config, month = pipeline.config, parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        champion = previous_champion(connection, config, month)
        space = read_feature_space(connection, month)
        known = candidates_before(connection, month, space)
        ids, X = feature_matrix(connection, "validated_features", month, space.names, config.model.fit_sample)
        months = (
            read_customer_months(connection, month, space.names, config.memory.months, config.model.fit_sample)
            if config.model.memory
            else None
        )
    found = fit_challengers(space, X, ids, config, champion, months, known)
    with pipeline.step(context) as step:
        step.rows = write_candidates(step.connection, month, found.candidates, found.refusals, found.choice)
        step.judge(_any_admissible(found))
    return step.result({**_choice_figures(found), **_candidates_shown(found)})


def _admissible(found: "Challengers") -> int:
    return sum(not reasons for reasons in found.refusals)


def _any_admissible(found: "Challengers") -> dg.AssetCheckResult:
    admissible = _admissible(found)
    observed = {"admissible": admissible, "candidates": len(found.candidates)}
    return checks.result(HAS_ADMISSIBLE_CANDIDATE, admissible > 0, observed, {"admissible at least": 1})


def _choice_figures(found: "Challengers") -> dict[str, Any]:
    chosen = found.choice.candidate
    return {
        "admissible": _admissible(found),
        "chosen_covariance_type": chosen.covariance_type if chosen else "",
        "chosen_n_components": chosen.n_components if chosen else 0,
        "chosen_n_segments": chosen.n_segments if chosen else 0,
        "chosen_bic": chosen.bic if chosen else float("nan"),
        "chosen_stability": chosen.stability if chosen else float("nan"),
        "rationale": dg.MetadataValue.md(found.choice.rationale),
    }


def _candidates_shown(found: "Challengers") -> dict[str, Any]:
    from segment_pipeline.charts import bic_curve, sparkline

    rows, chosen = _candidate_rows(found), found.choice.candidate
    curve = bic_curve(rows, chosen.key if chosen else None, found.choice.elbow)
    return {
        "candidates": as_table(
            rows,
            covariance_type=str,
            n_components=int,
            n_segments=int,
            bic=float,
            icl=float,
            stability=float,
            smallest_share=float,
            refused=str,
        ),
        "bic_by_segments": sparkline(
            [one.bic for one in found.candidates if chosen is None or one.key[0] == chosen.key[0]]
        ),
        "bic_curve": picture(curve, "BIC and stability over the number of segments"),
    }


def _candidate_rows(found: "Challengers") -> list[dict[str, Any]]:
    return [
        vars(candidate)
        | {"covariance_type": candidate.covariance_type, "n_segments": candidate.n_segments}
        | {"admissible": not reasons, "refused": "; ".join(reasons)}
        for candidate, reasons in zip(found.candidates, found.refusals, strict=True)
    ]


class SelectedModelConfig(dg.Config):
    """What a person may decide for one run of one month."""

    force_refit: bool = False
    reason: str = ""

    def forced(self) -> str | None:
        """Why there shall be a refit; None when nobody asked. Raises ModelError for one without a reason."""
        if self.force_refit and not self.reason.strip():
            raise ModelError(
                "selected_model: force_refit needs a reason, which will stand in model_versions. "
                'Give it in the run config: {force_refit: true, reason: "new product line"}.'
            )
        return self.reason.strip() if self.force_refit else None


@monthly_asset(
    MODEL_VERSIONS,
    beside=[CHAMPIONS, SEGMENT_LINEAGE, REFIT_TRIGGERS],
    deps=[candidate_models, raw_customers, scaled_matrix, validated_features],
    # The champion of the month before. This orders a backfill; that the month is there is checked in the code.
    follows_itself=True,
    checks=[CHAMPION_NOT_DEGENERATE, CHAMPION_IS_STABLE],
)
def selected_model(
    context: dg.AssetExecutionContext, config: SelectedModelConfig, pipeline: Pipeline
) -> dg.MaterializeResult[None]:
    from segment_pipeline.models.champion import decide, degeneracy_this_month
    from segment_pipeline.models.champions_store import decision_inputs, stability_at_promotion, write_decision

    forced, month = config.forced(), parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        inputs = decision_inputs(connection, pipeline.config, month)
    decision = decide(inputs, pipeline.config, forced)
    degeneracy = degeneracy_this_month(inputs, decision)
    with pipeline.step(context) as step:
        write_decision(step.connection, step.config, month, inputs, decision)
        stability = stability_at_promotion(step.connection, decision.champion)
        step.judge(
            _not_degenerate(degeneracy, decision),
            _is_stable(stability, step.config.model.min_stability),
            advice="See candidate_models for the alternatives.",
        )
        step.rows = len(decision.champion.segments)
    context.log.info(f"{context.partition_key}: {decision.reason}")
    return step.result(_decision_figures(decision))


def _not_degenerate(degeneracy: str | None, decision: "Decision") -> dg.AssetCheckResult:
    """It blocks a champion that is promoted; of one that has served it is news, and not a wrong month."""
    return checks.result(
        CHAMPION_NOT_DEGENERATE,
        degeneracy is None,
        {"problems": [degeneracy] if degeneracy else []},
        {"problems": []},
        blocks=decision.promoted,
    )


def _is_stable(stability: float | None, least: float) -> dg.AssetCheckResult:
    passed = stability is None or stability >= least
    return checks.result(CHAMPION_IS_STABLE, passed, {"stability": stability}, {"stability at least": least})


def _decision_figures(decision: "Decision") -> dict[str, Any]:
    champion = decision.champion
    return {
        "model_version": champion.model_version,
        "covariance_type": champion.mixture.covariance_type,
        "n_components": champion.mixture.n_components,
        "n_segments": len(champion.segments),
        "promoted": int(decision.promoted),
        "reason": decision.reason,
        "triggers_fired": sum(trigger.fired for trigger in decision.triggers),
        "segments": as_list(f"{s.segment_id}: {s.name} ({s.role or 'no role'})" for s in champion.segments),
    }
