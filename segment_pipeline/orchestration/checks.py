"""The asset checks: what each promises, and whether it stops the month.

They are evaluated inside the asset that they belong to, before its transaction commits: a separate check would run
after the wrong rows were written. So a blocking check that fails leaves the month's previous rows as they were.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from segment_pipeline.customers.expectations import CHECK_SPECS
from segment_pipeline.errors import ContractError
from segment_pipeline.orchestration.check_types import CheckSpec, ExpectationResult
from segment_pipeline.orchestration.partitions import monthly_partitions

# The one reason for the narrow dagster pin in pyproject.toml; here, because only this module uses the preview.
warnings.filterwarnings(
    "ignore", category=dg.PreviewWarning, message="Specifying a partitions_def on an AssetCheckSpec"
)

CHECKS: Mapping[str, tuple[CheckSpec, ...]] = {
    "raw_customers": (
        CheckSpec(
            "order_lines_have_dates",
            "Few order lines have an unreadable or future date, and so are in no month.",
            True,
        ),
    ),
    "validated_features": (
        *CHECK_SPECS,
        CheckSpec("raw_equals_accepted_plus_rejected", "No row was lost: raw = accepted + rejected.", True),
    ),
    "scaled_matrix": (CheckSpec("features_are_independent", "No feature is constant or repeats the others.", True),),
    "candidate_models": (CheckSpec("has_admissible_candidate", "At least one challenger could serve.", False),),
    "selected_model": (
        CheckSpec(
            "champion_not_degenerate",
            "On this month's customers the champion's components are segments, not spikes.",
            True,
        ),
        CheckSpec(
            "champion_is_stable", "The champion's stability, when it was promoted, reaches model.min_stability.", False
        ),
    ),
    "monthly_assignments": (
        CheckSpec("probabilities_sum_to_one", "Every customer's membership probabilities sum to 1 within 1e-9.", True),
        CheckSpec("every_accepted_customer_assigned", "As many assignments as accepted customers.", True),
    ),
    "customer_actions": (
        CheckSpec("every_customer_has_an_action", "No customer falls through the action matrix.", False),
        CheckSpec(
            "every_action_reaches_somebody",
            "No action asks for what no customer of the month is; one for everybody may, for it stands by.",
            False,
        ),
        CheckSpec(
            "campaigns_are_valid",
            "Every campaign of the file can be used; else it is left out, or goes on as it was if it runs already.",
            False,
        ),
    ),
    "campaign_lift": (
        CheckSpec(
            "outcomes_can_be_used",
            "The outcomes can be read, are of customers of the source, and some fall into each campaign measured.",
            False,
        ),
    ),
    "segment_audit": (
        CheckSpec(
            "audit_can_be_made",
            "The company's own segments can be read and compared, and belong to customers of the source.",
            False,
        ),
    ),
    "alternative_segmentations": (
        CheckSpec(
            "alternatives_can_be_computed",
            "The rules and the categorical columns under alternatives can be used; those that cannot are left out.",
            False,
        ),
    ),
    "transition_deltas": (
        CheckSpec("transitions_reconcile", "The moves add up to the customers of both months, exactly.", True),
    ),
    "model_validation": (
        CheckSpec(
            "heldout_gap_is_small", "The model fits customers that it has not seen about as well as its own.", False
        ),
        CheckSpec("stable_over_time", "A fresh fit to this month's customers gives about the same segments.", False),
        CheckSpec("segments_are_separate", "No two segments overlap so much that they might as well be one.", False),
        CheckSpec(
            "predicts_what_follows",
            "Memberships predict silence and spend better than chance, and no worse than something simpler.",
            False,
        ),
        CheckSpec(
            "probabilities_are_calibrated",
            "Customers at 0.7 in a segment are its members a month later about 70 % of the time.",
            False,
        ),
    ),
}


def specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The Dagster specs of an asset's checks."""
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=asset,
            description=check.description,
            blocking=check.blocking,
            # without it Dagster would show the last month's result for every month
            partitions_def=monthly_partitions,
        )
        for check in CHECKS[asset]
    ]


def result(
    asset: str,
    name: str,
    passed: bool,
    observed: Mapping[str, object],
    limit: Mapping[str, object],
    *,
    blocks: bool = True,
    expectations: Sequence[ExpectationResult] = (),
) -> dg.AssetCheckResult:
    """One check's verdict with what was seen and what was allowed.

    Its severity follows from its declaration; `blocks` False lets a blocking check only warn, this time. The single
    expectations behind it go into its metadata: a check each would cost more than all the rest of the month.
    """
    check = next(check for check in CHECKS[asset] if check.name == name)
    blocking = check.blocking and blocks
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description=check.description,
        metadata={"observed": _plain(observed), "limit": _plain(limit), **_as_table(expectations)},
    )


class GateClosedError(Exception):
    """Carries the failed checks out of a transaction, which rolls back on the way."""

    def __init__(self, results: Sequence[dg.AssetCheckResult], message: str) -> None:
        super().__init__(message)
        self.results = list(results)


def gate(month: str, results: Sequence[dg.AssetCheckResult], advice: str) -> list[dg.AssetCheckResult]:
    """The results, if no blocking one failed. Raises GateClosedError: call it before the transaction commits."""
    failed = [found for found in results if not found.passed and found.severity == dg.AssetCheckSeverity.ERROR]
    if failed:
        said = "; ".join(
            f"{found.check_name}: found {_text(found, 'observed')}, allowed {_text(found, 'limit')}" for found in failed
        )
        raise GateClosedError(results, f"{month} was not written. {said}. {advice}")
    return list(results)


def record_failure(closed: GateClosedError) -> Iterator[dg.AssetCheckResult]:
    """Yield every result, so that the failed ones stand in the UI, then raise ContractError to stop the month."""
    yield from closed.results
    raise ContractError(str(closed)) from None


def _as_table(expectations: Sequence[ExpectationResult]) -> dict[str, dg.MetadataValue]:
    if not expectations:
        return {}
    rows = [
        dg.TableRecord(
            {
                "expectation": found.expectation,
                "column": found.column or "",
                "passed": found.passed,
                "observed": found.observed,
            }
        )
        for found in expectations
    ]
    return {"expectations": dg.MetadataValue.table(rows)}


def _plain(values: Mapping[str, object]) -> dg.JsonMetadataValue:
    return dg.MetadataValue.json(dict(values))


def _text(found: dg.AssetCheckResult, key: str) -> str:
    value = found.metadata[key]
    data = value.data if isinstance(value, dg.JsonMetadataValue) else value
    return ", ".join(f"{name} {shown}" for name, shown in data.items()) if isinstance(data, dict) else str(data)
