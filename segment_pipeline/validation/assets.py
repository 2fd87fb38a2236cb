"""Stage 6: whether to believe it. Nothing here stops a month: a person is told, and decides."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.early_warnings.assets import churn_risk
from segment_pipeline.models.assets import candidate_models, selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments
from segment_pipeline.validation.tables import MODEL_VALIDATION

if TYPE_CHECKING:
    from segment_pipeline.validation.figures import Figure

# check -> its metrics, and whether single segments count or the figure of the whole model alone
VALIDATED = {
    "heldout_gap_is_small": (("heldout_gap",), False),
    "stable_over_time": (("stability_over_time",), False),
    "segments_are_separate": (("separation",), True),
    "predicts_what_follows": (("silence_auc", "silence_auc_gain", "spend_r2", "spend_r2_gain"), True),
    "probabilities_are_calibrated": (("calibration_error",), False),
}

# the figures that the UI plots over the months: metadata key -> metric and subject
KEY_FIGURES = {
    "heldout_log_likelihood": ("heldout_log_likelihood", ""),
    "heldout_gap": ("heldout_gap", ""),
    "stability_over_seeds": ("stability_over_seeds", ""),
    "stability_over_time": ("stability_over_time", ""),
    "misclassification": ("misclassification", ""),
    "silence_auc": ("silence_auc", "memberships"),
    "silence_auc_gain_over_kmeans": ("silence_auc_gain", "k-means"),
    "silence_auc_gain_over_recency": ("silence_auc_gain", "recency"),
    "spend_r2": ("spend_r2", "memberships"),
    "spend_r2_gain_over_kmeans": ("spend_r2_gain", "k-means"),
    "spend_r2_gain_over_recency": ("spend_r2_gain", "recency"),
    "calibration_error": ("calibration_error", ""),
    "hybrid_spend_ratio": ("hybrid_spend_ratio", ""),
    "hybrid_spend_ratio_to_dominant": ("hybrid_spend_ratio", "dominant"),
}


@dg.asset(
    # It reads the months before as well, as they were known at this month's end; churn_risk notes who kept silent.
    deps=[raw_customers, validated_features, candidate_models, selected_model, monthly_assignments, churn_risk],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("model_validation"),
    group_name="validation",
    owners=OWNERS,
    kinds=KINDS,
    description=MODEL_VALIDATION.description,
    metadata=table_metadata(MODEL_VALIDATION),
)
def model_validation(
    context: dg.AssetExecutionContext, pipeline: Pipeline
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    from segment_pipeline.validation.validation import validate
    from segment_pipeline.validation.validation_store import read_evidence, write_validation

    with pipeline.read(context) as connection:
        evidence = read_evidence(connection, pipeline.config, parse_month(context.partition_key))
    figures = validate(evidence, pipeline.config)
    with pipeline.step(context) as step:
        step.rows = write_validation(step.connection, evidence, figures)
    found = {(figure.metric, figure.subject): figure.value for figure in figures}
    keys = {key: found.get(place) for key, place in KEY_FIGURES.items()}
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "customers_measured": len(evidence.X),
            "figures_failed": sum(figure.passed is False for figure in figures),
            **{key: float("nan") if value is None else value for key, value in keys.items()},
            "figures": _as_table(figures),
        },
        check_results=[_verdict(name, figures) for name in VALIDATED],
    )


def _verdict(name: str, figures: Sequence["Figure"]) -> dg.AssetCheckResult:
    """A check fails where one of its figures breaks its limit; one that could not be computed says why."""
    metrics, in_parts = VALIDATED[name]
    mine = [figure for figure in figures if figure.metric in metrics and (in_parts or not figure.subject)]
    limits = {_place(figure): figure.threshold for figure in mine if figure.threshold is not None}
    return checks.result(
        "model_validation",
        name,
        all(figure.passed is not False for figure in mine),
        {
            **{_place(figure): figure.value for figure in mine if figure.value is not None},
            "failed": [figure.sentence for figure in mine if figure.passed is False],
            "not_computed": [figure.sentence for figure in mine if figure.value is None],
        },
        limits,
    )


def _place(figure: "Figure") -> str:
    return f"{figure.metric} {figure.subject}".strip()


def _as_table(figures: Sequence["Figure"]) -> dg.MetadataValue:
    """The month's figures as rows; what Dagster's tables cannot hold, an absent number, is left empty."""
    columns = ("metric", "subject", "value", "low", "high", "threshold", "passed", "sentence")
    return dg.MetadataValue.table(
        [
            dg.TableRecord({name: "" if getattr(figure, name) is None else getattr(figure, name) for name in columns})
            for figure in figures
        ],
        schema=dg.TableSchema([dg.TableColumn(name) for name in columns]),
    )
