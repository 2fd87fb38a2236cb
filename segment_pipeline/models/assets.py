"""Stage 2: the month's challengers, and the champion that serves the month."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from segment_pipeline.customers.assets import scaled_matrix, validated_features
from segment_pipeline.errors import ModelError
from segment_pipeline.models.tables import CANDIDATE_MODELS, MODEL_VERSIONS
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


@dg.asset(
    deps=[scaled_matrix, validated_features],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("candidate_models"),
    group_name="mixtures",
    owners=OWNERS,
    kinds=KINDS,
    description=CANDIDATE_MODELS.description,
    metadata=table_metadata(CANDIDATE_MODELS),
)
def candidate_models(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.charts import bic_curve, sparkline
    from segment_pipeline.customers.space_store import read_feature_space
    from segment_pipeline.database.rows import feature_matrix
    from segment_pipeline.models.candidates_store import write_candidates
    from segment_pipeline.models.challengers import fit_challengers
    from segment_pipeline.models.champions_store import previous_champion

    config, month = pipeline.config, parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        champion = previous_champion(connection, config, month)
        space = read_feature_space(connection, month)
        ids, X = feature_matrix(connection, "validated_features", month, space.names, config.model.fit_sample)
    found = fit_challengers(space, X, ids, config, champion)
    candidates, refusals, choice = found.candidates, found.refusals, found.choice
    with pipeline.step(context) as step:
        step.rows = write_candidates(step.connection, month, candidates, refusals, choice)
    admissible = sum(not reasons for reasons in refusals)
    drawn = bic_curve(
        [
            vars(candidate) | {"admissible": not reasons}
            for candidate, reasons in zip(candidates, refusals, strict=True)
        ],
        choice.candidate.n_components if choice.candidate else None,
        choice.elbow,
    )
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "admissible": admissible,
            "chosen_n_components": choice.candidate.n_components if choice.candidate else 0,
            "chosen_bic": choice.candidate.bic if choice.candidate else float("nan"),
            "chosen_stability": choice.candidate.stability if choice.candidate else float("nan"),
            "rationale": dg.MetadataValue.md(choice.rationale),
            "candidates": _as_table(candidates, refusals),
            "bic_by_segments": sparkline([candidate.bic for candidate in candidates]),
            "bic_curve": picture(drawn, "BIC and stability over the number of segments"),
        },
        check_results=[
            checks.result(
                "candidate_models",
                "has_admissible_candidate",
                admissible > 0,
                {"admissible": admissible, "candidates": len(candidates)},
                {"at_least": 1},
            )
        ],
    )


class SelectedModelConfig(dg.Config):
    """What a person may decide for one run of one month."""

    force_refit: bool = False
    reason: str = ""


@dg.asset(
    deps=[
        candidate_models,
        scaled_matrix,
        validated_features,
        # The champion of the month before. This orders a backfill; that the month is there is checked in the code.
        dg.AssetDep(
            "selected_model",
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        ),
    ],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("selected_model"),
    group_name="mixtures",
    owners=OWNERS,
    kinds=KINDS,
    description=f"{MODEL_VERSIONS.description} With segment_lineage and the refit triggers.",
    metadata=table_metadata(MODEL_VERSIONS),
)
def selected_model(context: dg.AssetExecutionContext, config: SelectedModelConfig, pipeline: Pipeline) -> Events:
    from segment_pipeline.models.champion import decide, degeneracy_this_month
    from segment_pipeline.models.champions_store import decision_inputs, stability_at_promotion, write_decision

    if config.force_refit and not config.reason.strip():
        raise ModelError(
            "selected_model: force_refit needs a reason, which will stand in model_versions. "
            'Give it in the run config: {force_refit: true, reason: "new product line"}.'
        )
    settings, month = pipeline.config, parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        inputs = decision_inputs(connection, settings, month)
    decision = decide(inputs, settings, forced=config.reason.strip() if config.force_refit else None)
    champion = decision.champion
    degeneracy = degeneracy_this_month(inputs, decision)
    with pipeline.read(context) as connection:
        stability = stability_at_promotion(connection, champion)
    verdicts = [
        checks.result(
            "selected_model",
            "champion_not_degenerate",
            degeneracy is None,
            {"found": degeneracy or "sound"},
            {"degenerate": False},
            blocks=decision.promoted,  # of one that has served it is news, and not a wrong month
        ),
        checks.result(
            "selected_model",
            "champion_is_stable",
            stability is not None and stability >= settings.model.min_stability,
            {"stability": stability},
            {"at_least": settings.model.min_stability},
        ),
    ]
    try:
        checks.gate(context.partition_key, verdicts, "See candidate_models for the alternatives.")
    except checks.GateClosedError as closed:
        yield from checks.record_failure(closed)
    with pipeline.step(context) as step:
        write_decision(step.connection, settings, month, inputs, decision)
        step.rows = len(champion.segments)
    context.log.info(f"{context.partition_key}: {decision.reason}")
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": len(champion.segments),
            "model_version": champion.model_version,
            "n_components": len(champion.segments),
            "promoted": int(decision.promoted),
            "reason": decision.reason,
            "triggers_fired": sum(trigger.fired for trigger in decision.triggers),
            "segments": dg.MetadataValue.md(
                "\n".join(f"- {s.segment_id}: {s.name} ({s.role or 'no role'})" for s in champion.segments)
            ),
        },
        check_results=verdicts,
    )


def _as_table(candidates: list[Any], refusals: list[Any]) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "n_components": candidate.n_components,
                    "bic": candidate.bic,
                    "icl": candidate.icl,
                    "stability": candidate.stability,
                    "smallest_share": candidate.smallest_share,
                    "refused": "; ".join(reasons),
                }
            )
            for candidate, reasons in zip(candidates, refusals, strict=True)
        ]
    )
