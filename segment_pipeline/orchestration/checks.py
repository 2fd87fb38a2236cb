"""Asset checks: the verdict on what one promises, as Dagster shows it, and the gate that a failed one closes.

They are evaluated inside the asset that they belong to, before its transaction commits: a separate check would run
after the wrong rows were written. So a blocking check that fails leaves the month's previous rows as they were. Here:
the machinery. Not here: which checks there are, which is for the stages to say, each beside its asset; and the
partitions, which read the user's file when they are imported, while the command line needs the gate before.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import dagster as dg

from segment_pipeline.errors import ContractError, PipelineError
from segment_pipeline.months import month_key
from segment_pipeline.orchestration.check_types import CheckSpec, ExpectationResult
from segment_pipeline.orchestration.metadata import as_table


def result(
    check: CheckSpec,
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
    metadata: dict[str, dg.MetadataValue] = {
        "observed": dg.MetadataValue.json(dict(observed)),
        "limit": dg.MetadataValue.json(dict(limit)),
    }
    if expectations:
        metadata["expectations"] = as_table(
            map(vars, expectations), expectation=str, column=str, passed=bool, observed=str
        )
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.ERROR if check.blocking and blocks else dg.AssetCheckSeverity.WARN,
        description=check.description,
        metadata=metadata,
    )


class GateClosedError(Exception):
    """Carries the failed checks out of a transaction, which rolls back on the way, and the error that stops the month.

    `monthly_asset` hands both to Dagster, so that the checks stand in the UI.
    """

    def __init__(self, error: PipelineError, results: Sequence[dg.AssetCheckResult]) -> None:
        super().__init__(str(error))
        self.error = error
        self.results = results


def gate(month: date, results: Sequence[dg.AssetCheckResult], advice: str = "") -> None:
    """Raise GateClosedError if one of the results has failed and blocks. `advice` is what to do then, in a sentence."""
    failed = [found for found in results if not found.passed and found.severity == dg.AssetCheckSeverity.ERROR]
    if failed:
        said = "; ".join(
            f"{found.check_name}: found {_text(found, 'observed')}, allowed {_text(found, 'limit')}" for found in failed
        )
        raise GateClosedError(ContractError(f"{month_key(month)} was not written. {said}. {advice}"), results)


def _text(found: dg.AssetCheckResult, key: str) -> str:
    value = found.metadata[key]
    data = value.data if isinstance(value, dg.JsonMetadataValue) else value
    if not isinstance(data, dict):
        return str(data)
    # a list is in words, as in failures.warning_of
    return ", ".join(
        "; ".join(map(str, shown)) if isinstance(shown, list) else f"{name} {shown}" for name, shown in data.items()
    )
