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
from segment_pipeline.orchestration.metadata import as_table, is_known, rounded
from segment_pipeline.words import figure


def result(
    check: CheckSpec,
    passed: bool,
    observed: Mapping[str, object],
    limit: Mapping[str, object],
    *,
    blocks: bool = True,
    expectations: Sequence[ExpectationResult] = (),
) -> dg.AssetCheckResult:
    """One check's verdict with what was seen and what was allowed; `advice` in the limit is what to do, in words.

    Its description is its promise or, where it failed, what was found. Its severity follows from its declaration;
    `blocks` False lets a blocking check only warn, this time. Each number, and how long each list is, stands by itself:
    the UI shows it and plots it over the months, while what the lists hold it hides behind a click.
    The single expectations go into the metadata: a check each would cost more than all the rest of the month.
    """
    metadata: dict[str, dg.MetadataValue] = {
        **_singly("observed", observed),
        **_singly("limit", limit),
        **_lists("observed", observed),
        **_lists("limit", limit),
    }
    if expectations:
        metadata["expectations"] = as_table(
            map(vars, expectations), expectation=str, column=str, passed=bool, observed=str
        )
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.ERROR if check.blocking and blocks else dg.AssetCheckSeverity.WARN,
        description=check.description if passed else _what_failed(observed, limit),
        metadata=metadata,
    )


def _singly(prefix: str, values: Mapping[str, object]) -> dict[str, dg.MetadataValue]:
    """Each number, the length of each list, and what is said in a word or a sentence."""
    counted = {name: len(value) if isinstance(value, list | dict) else value for name, value in values.items()}
    return {
        f"{prefix}/{name.replace(' ', '_')}": dg.MetadataValue.text(value)
        if isinstance(value, str)
        else dg.MetadataValue.int(value)
        if isinstance(value, int)
        else dg.MetadataValue.float(rounded(value))
        for name, value in counted.items()
        if isinstance(value, int | float | str) and is_known(value)
    }


def _lists(name: str, values: Mapping[str, object]) -> dict[str, dg.MetadataValue]:
    """What the lists hold; nothing where there is none."""
    lists = {key: value for key, value in values.items() if value and isinstance(value, list | dict)}
    return {name: dg.MetadataValue.json(lists)} if lists else {}


def _what_failed(observed: Mapping[str, object], limit: Mapping[str, object]) -> str:
    """`share 0.1; allowed: share 0.05; what to do.`"""
    # what is wrong stands in words where it can; all other figures, which are within their limits, are for the UI
    problems = observed.get("problems")
    found = _in_words({"problems": problems} if problems else observed)
    allowed = "" if problems else _in_words({name: value for name, value in limit.items() if name != "advice"})
    advice = str(limit.get("advice", ""))
    told = "; ".join(filter(None, [found, allowed and f"allowed: {allowed}", advice]))
    return told if told.endswith((".", "?", "!")) else f"{told}."


def _in_words(values: Mapping[str, object]) -> str:
    return "; ".join(filter(None, (_value_in_words(name.replace("_", " "), value) for name, value in values.items())))


def _value_in_words(name: str, value: object) -> str:
    """A list is in words already."""
    if isinstance(value, list):
        return "; ".join(str(part).removesuffix(".") for part in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {found}" for key, found in value.items())
    return f"{name} {figure(value, 3) if isinstance(value, float) else 'unknown' if value is None else value}"


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
        said = " ".join(f"{found.check_name}: {found.description}" for found in failed)
        told = [
            found._replace(description=f"{found.description} {advice}".strip()) if found in failed else found
            for found in results
        ]
        raise GateClosedError(ContractError(f"{month_key(month)} was not written. {said} {advice}".strip()), told)
