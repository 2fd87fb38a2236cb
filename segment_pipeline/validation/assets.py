"""Whether to believe it. Nothing here stops a month: a person is told, and decides."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline import words
from segment_pipeline.customers.assets import raw_customers, scaled_matrix, validated_features
from segment_pipeline.early_warnings.assets import churn_risk
from segment_pipeline.models.assets import candidate_models, selected_model
from segment_pipeline.months import parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.metadata import as_table
from segment_pipeline.orchestration.monthly_asset import monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments
from segment_pipeline.validation.tables import MODEL_VALIDATION

if TYPE_CHECKING:
    from segment_pipeline.validation.figures import Figure


def _warns(name: str, description: str) -> CheckSpec:
    return CheckSpec(name, description, blocking=False)


# check -> its metrics, and whether single segments count or the figure of the whole model alone
VALIDATED: Mapping[CheckSpec, tuple[tuple[str, ...], bool]] = {
    _warns("heldout_gap_is_small", "The model fits customers that it has not seen about as well as its own."): (
        ("heldout_gap",),
        False,
    ),
    _warns("stable_over_time", "A fresh fit to this month's customers gives about the same segments."): (
        ("stability_over_time",),
        False,
    ),
    _warns("segments_are_separate", "No two segments overlap so much that they might as well be one."): (
        ("separation",),
        True,
    ),
    _warns(
        "predicts_what_follows",
        "Memberships predict silence and spend better than chance, and no worse than something simpler.",
    ): (("silence_auc", "silence_auc_gain", "spend_r2", "spend_r2_gain"), True),
    _warns(
        "probabilities_are_calibrated",
        "Customers at 0.7 in a segment are its members a month later about 70 % of the time.",
    ): (("calibration_error",), False),
    _warns(
        "next_month_comes_as_expected",
        "With memory: this month came as last month's champion expected, and no simpler forecast is better.",
    ): (("next_log_score_gain", "next_calibration_error", "next_calibration_gap"), True),
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
    "silence_auc_gain_over_features": ("silence_auc_gain", "features"),
    "spend_r2": ("spend_r2", "memberships"),
    "spend_r2_gain_over_kmeans": ("spend_r2_gain", "k-means"),
    "spend_r2_gain_over_recency": ("spend_r2_gain", "recency"),
    "spend_r2_gain_over_features": ("spend_r2_gain", "features"),
    "calibration_error": ("calibration_error", ""),
    "next_log_score_gain_over_mixture": ("next_log_score_gain", "mixture"),
    "next_calibration_error": ("next_calibration_error", ""),
    "hybrid_spend_ratio": ("hybrid_spend_ratio", ""),
    "hybrid_spend_ratio_to_dominant": ("hybrid_spend_ratio", "dominant"),
}


@monthly_asset(
    MODEL_VALIDATION,
    # It reads the months before as well, as they were known at this month's end; churn_risk notes who kept silent.
    deps=[
        raw_customers,
        validated_features,
        scaled_matrix,
        candidate_models,
        selected_model,
        monthly_assignments,
        churn_risk,
    ],
    checks=[*VALIDATED],
)
def model_validation(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.validation.validation import validate
    from segment_pipeline.validation.validation_store import read_evidence, write_validation

    with pipeline.read(context, step_follows=True) as connection:
        evidence = read_evidence(connection, pipeline.config, parse_month(context.partition_key))
    figures = validate(evidence, pipeline.config)
    with pipeline.step(context) as step:
        step.rows = write_validation(step.connection, evidence, figures)
        step.judge(*(_verdict(check, figures) for check in VALIDATED))
    return step.result({"customers_measured": len(evidence.X), **_shown(figures)})


def _verdict(check: CheckSpec, figures: Sequence["Figure"]) -> dg.AssetCheckResult:
    """A check fails where one of its figures breaks its limit; one that could not be computed says why."""
    metrics, in_parts = VALIDATED[check]
    mine = [figure for figure in figures if figure.metric in metrics and (in_parts or not figure.subject)]
    limits = {_place(figure): figure.threshold for figure in mine if figure.threshold is not None}
    return checks.result(
        check,
        all(figure.passed is not False for figure in mine),
        {
            **{_place(figure): figure.value for figure in mine if figure.value is not None},
            "problems": [_broken(figure) for figure in mine if figure.passed is False],
            "not_computed": [figure.sentence for figure in mine if figure.value is None],
        },
        limits,
    )


def _broken(figure: "Figure") -> str:
    """`stability over time 0.363 (limit 0.5): what was found, in words.`"""
    found, limit = ("unknown" if one is None else words.figure(one, 3) for one in (figure.value, figure.threshold))
    return f"{_place(figure).replace('_', ' ')} {found} (limit {limit}): {figure.sentence}"


def _place(figure: "Figure") -> str:
    return f"{figure.metric} {figure.subject}".strip()


def _shown(figures: Sequence["Figure"]) -> dict[str, Any]:
    """The key figures, not a number where one could not be computed, and all of them as a table."""
    values = {(figure.metric, figure.subject): figure.value for figure in figures}
    keys = {key: values.get(place) for key, place in KEY_FIGURES.items()}
    return {
        "figures_failed": sum(figure.passed is False for figure in figures),
        **{key: float("nan") if value is None else value for key, value in keys.items()},
        "figures": as_table(
            map(vars, figures),
            metric=str,
            subject=str,
            value=float,
            low=float,
            high=float,
            threshold=float,
            passed=bool,
            sentence=str,
        ),
    }
