"""The gate: great-expectations looks at the accepted customers of a month, as a second pair of eyes after the SQL.

The contract's SQL has judged every row by then; of a large month this is a look at a sample of LOOKED_AT customers.

What belongs here: the suite that the contract's rules imply, and its results as outcomes a person would name. What does
not: the rules themselves (`contract`), and what a failed outcome does to the month (the assets).

great-expectations is imported inside the function that validates (it takes seconds), with its analytics off.
"""

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any

from segment_pipeline import helper
from segment_pipeline.config.config import Config
from segment_pipeline.config.source import Feature
from segment_pipeline.customers.contract import Contract, Kind
from segment_pipeline.database.quoting import VISIBLE_CHARACTER
from segment_pipeline.orchestration.check_types import CheckSpec, ExpectationResult

if TYPE_CHECKING:
    import pandas as pd

LARGEST_DOUBLE = 1.7976931348623157e308
FEATURE_TYPE, CUSTOMER_ID_TYPE = "float64", "str"

LOOKED_AT = 200_000
"""Customers of whom a month is looked at, about: what stands for more is the same SQL again and again, and each of a
million would take 200 MB."""

HELPERS_IMPORTS = (
    "from segment_pipeline.customers.expectations import import_great_expectations; import_great_expectations(); "
    "import segment_pipeline.customers.worth"
)
"""What a helper begins with that is to look at a month: seconds, which pass while Dagster is imported here."""

UNSEEN_KINDS: frozenset[Kind] = frozenset({"unreadable_amount", "missing_order_id", "outlier"})
"""Rules that leave no trace in accepted rows: they are about order lines, or about limits of the month itself."""


CHECK_SPECS: tuple[CheckSpec, ...] = (
    CheckSpec("columns_and_types", "Every feature of the model is there, as a number.", blocking=True),
    CheckSpec(
        "customer_ids_unique_and_present", "Every accepted customer has an id, and no two have the same.", blocking=True
    ),
    CheckSpec(
        "values_within_valid_range", "Every accepted value is finite and in the feature's valid range.", blocking=True
    ),
    CheckSpec(
        "share_rejected_within_limit", "Not more rows are rejected than quality.max_rejected_share.", blocking=True
    ),
    CheckSpec(
        "row_count_close_to_previous_month", "The number of customers did not jump since last month.", blocking=False
    ),
    CheckSpec("enough_customers", "There are at least quality.min_customers accepted customers.", blocking=True),
)
"""The outcomes of `validate_month`, in its order."""


@dataclass(frozen=True)
class CheckOutcome:
    """What became of one check in a month. `observed` and `limit` are small and JSON-ready; compare them key by key."""

    check: CheckSpec
    passed: bool
    observed: Mapping[str, Any]
    limit: Mapping[str, Any]
    expectations: tuple[ExpectationResult, ...] = ()


class ExpectationRaisedError(RuntimeError):
    """An expectation could not be evaluated: a defect of this project or of great-expectations, not of the data."""


@dataclass(frozen=True)
class Expected:
    """An expectation before great-expectations is loaded: its class, its arguments, and the rules it stands for."""

    check: str
    expectation: str
    arguments: Mapping[str, Any]
    codes: tuple[str, ...] = ()

    @property
    def column(self) -> str | None:
        return self.arguments.get("column")


@dataclass
class _Judged:
    """An expectation with great-expectations' verdict."""

    expected: Expected
    passed: bool
    result: Mapping[str, Any] = field(default_factory=dict)


def expected_types(contract: Contract) -> list[Expected]:
    """The columns that the contract's rules speak of, and their types."""
    columns = {"customer_id": CUSTOMER_ID_TYPE, **dict.fromkeys((f.name for f in contract.features), FEATURE_TYPE)}
    codes = {rule.column: (rule.code,) for rule in contract.rules if rule.kind == "not_a_number"}
    check = "columns_and_types"
    return [
        Expected(check, "ExpectTableColumnsToMatchSet", {"column_set": list(columns), "exact_match": False}),
        *(
            Expected(check, "ExpectColumnValuesToBeOfType", {"column": column, "type_": kind}, codes.get(column, ()))
            for column, kind in columns.items()
        ),
    ]


def expected_values(contract: Contract) -> list[Expected]:
    """What the contract's rules imply for accepted rows, rule by rule; a feature's limits are one expectation."""
    ids, values = "customer_ids_unique_and_present", "values_within_valid_range"
    found: list[Expected] = []
    limits: dict[str, dict[str, Any]] = {}
    limit_codes: dict[str, tuple[str, ...]] = {}
    for rule in contract.rules:
        column = {"column": rule.column}
        if rule.kind == "missing_customer_id":
            found.append(Expected(ids, "ExpectColumnValuesToNotBeNull", column, (rule.code,)))
            found.append(
                Expected(ids, "ExpectColumnValuesToMatchRegex", {**column, "regex": VISIBLE_CHARACTER}, (rule.code,))
            )
        elif rule.kind == "duplicate_customer_id":
            found.append(Expected(ids, "ExpectColumnValuesToBeUnique", column, (rule.code,)))
        elif rule.kind == "missing":
            found.append(Expected(values, "ExpectColumnValuesToNotBeNull", column, (rule.code,)))
        elif rule.kind in ("not_finite", "below_minimum", "above_maximum"):
            between = limits.setdefault(
                rule.column, {**column, "min_value": -LARGEST_DOUBLE, "max_value": LARGEST_DOUBLE}
            )
            if rule.kind != "not_finite":
                between["min_value" if rule.kind == "below_minimum" else "max_value"] = rule.limit
            limit_codes[rule.column] = (*limit_codes.get(rule.column, ()), rule.code)
    return found + [
        Expected(values, "ExpectColumnValuesToBeBetween", between, limit_codes[column])
        for column, between in limits.items()
    ]


def validate_month(
    frame: "pd.DataFrame",
    contract: Contract,
    *,
    customers: int,
    raw_rows: int,
    rejected_rows: int,
    previous_rows: int | None,
    config: Config,
) -> list[CheckOutcome]:
    """Judge a month's accepted customers; one outcome per `CHECK_SPECS`, in that order.

    frame : one row per accepted customer, or of a sample that has all rows of a customer or none, with `customer_id`
        (str) and a float64 column per feature, original units; a column `month` or others may stand beside them.
    customers : how many accepted customers there are.
    raw_rows, rejected_rows : rows of the month before the split, and those of them that were rejected.
    previous_rows : accepted customers of the month before, None when there is none.

    Raises ExpectationRaisedError when an expectation could not be evaluated. Data that break an expectation, a column
    that is missing or of a wrong type among them, are an outcome with `passed` False and never an exception.
    """
    frame = _with_text_ids(frame)
    share = rejected_rows / raw_rows if raw_rows else 0.0
    types = expected_types(contract)
    unsound = [found.column for found in types if found.column is not None and not _is_of_type(frame, found)]
    values = [expected for expected in expected_values(contract) if expected.column not in unsound]
    figures = _one_row_frame(customers=customers, rejected_share=share)
    of_rows = helper.aside(judge, frame, [*_present(types, frame), *values])
    of_counts = helper.aside(judge, figures, [*_expected_counts(previous_rows, config), *_expected_share(config)])
    judged = [*of_rows(), *of_counts()]
    seen = {"customers": customers, "looked_at": len(frame)}
    observed_and_limit: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "columns_and_types": _types_in_words(frame, unsound, contract),
        "customer_ids_unique_and_present": _ids_in_numbers(judged, seen, unsound),
        "values_within_valid_range": _values_in_words(judged, contract.features, seen, unsound),
        "share_rejected_within_limit": (
            {"rejected_share": share, "rejected_rows": rejected_rows, "raw_rows": raw_rows},
            {"rejected_share": config.quality.max_rejected_share},
        ),
        "row_count_close_to_previous_month": (
            {
                "customers": customers,
                "previous_customers": previous_rows,
                "relative_change": (customers - previous_rows) / previous_rows if previous_rows else None,
            },
            {"relative_change": config.quality.max_row_count_change},
        ),
        "enough_customers": ({"customers": customers}, {"customers": config.quality.min_customers}),
    }
    # What could not be looked at is not in order: the ids and values of a column that is missing or of a wrong type.
    unseen = {
        "customer_ids_unique_and_present": "customer_id" in unsound,
        "values_within_valid_range": any(name in unsound for name in config.model_feature_names),
    }
    return [
        _outcome(
            spec,
            [found for found in judged if found.expected.check == spec.name],
            *observed_and_limit[spec.name],
            unseen,
        )
        for spec in CHECK_SPECS
    ]


def _outcome(
    spec: CheckSpec,
    judged: Sequence[_Judged],
    observed: dict[str, Any],
    limit: dict[str, Any],
    unseen: Mapping[str, bool],
) -> CheckOutcome:
    return CheckOutcome(
        check=spec,
        passed=all(found.passed for found in judged) and not unseen.get(spec.name, False),
        observed=observed,
        limit=limit,
        expectations=tuple(
            ExpectationResult(
                found.expected.expectation,
                found.expected.column,
                found.passed,
                _result_in_words(found.result),
                found.expected.arguments,
            )
            for found in judged
        ),
    )


# --- what the month as a whole has to be ------------------------------------------------------------------------------


def _expected_counts(previous_rows: int | None, config: Config) -> list[Expected]:
    def expected(check: str, **limits: int) -> Expected:
        return Expected(check, "ExpectColumnValuesToBeBetween", {"column": "customers", **limits})

    found = [expected("enough_customers", min_value=config.quality.min_customers)]
    if previous_rows:
        change = config.quality.max_row_count_change
        # 1e-9: a change of exactly the limit passes, whatever the rounding of the product
        least = max(0, math.ceil(previous_rows * (1 - change) - 1e-9))
        most = math.floor(previous_rows * (1 + change) + 1e-9)
        found.append(expected("row_count_close_to_previous_month", min_value=least, max_value=most))
    return found


def _expected_share(config: Config) -> list[Expected]:
    between = {"column": "rejected_share", "min_value": 0.0, "max_value": config.quality.max_rejected_share}
    return [Expected("share_rejected_within_limit", "ExpectColumnValuesToBeBetween", between)]


def _is_of_type(frame: "pd.DataFrame", expected: Expected) -> bool:
    column = expected.arguments["column"]
    return column in frame.columns and str(frame[column].dtype) == expected.arguments["type_"]


def _present(expected: Sequence[Expected], frame: "pd.DataFrame") -> list[Expected]:
    """Without those on absent columns, which would raise; the expectation on the set of columns reports these."""
    return [found for found in expected if found.column is None or found.column in frame.columns]


def _with_text_ids(frame: "pd.DataFrame") -> "pd.DataFrame":
    """DuckDB hands over text as `str`, but as `object` where there is not a single value; that is no wrong type."""
    import pandas as pd

    if "customer_id" not in frame.columns or frame["customer_id"].dtype != object:
        return frame
    is_text = pd.api.types.infer_dtype(frame["customer_id"], skipna=True) in ("string", "empty")
    return frame.astype({"customer_id": CUSTOMER_ID_TYPE}) if is_text else frame


def _one_row_frame(**values: float) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({name: [value] for name, value in values.items()})


# --- great-expectations -----------------------------------------------------------------------------------------------


_alone = RLock()
"""What is imported, and what great-expectations counts as its current context, is of the whole process."""


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Meanwhile, to whoever imports it, the package is not installed."""
    there = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}
    sys.modules[package] = None  # type: ignore[assignment]  # what makes an import of it fail
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(there)


def import_great_expectations() -> tuple[Any, Any]:
    """The package and its expectations: it takes seconds, the first time in a process."""
    with _alone:
        return _import_great_expectations()


@cache
def _import_great_expectations() -> tuple[Any, Any]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import by the versions that phone home
    with _hidden("pyspark"):  # it would be imported, for no use of ours: seconds, warnings, at worst an exit
        import great_expectations as gx
        import great_expectations.expectations as gxe
    return gx, gxe


def judge(frame: "pd.DataFrame", expected: Sequence[Expected]) -> list[_Judged]:
    """The verdict on each expectation, in the order given. Raises ExpectationRaisedError."""
    if not expected:
        return []
    with _alone:
        return _judge(frame, expected)


def _judge(frame: "pd.DataFrame", expected: Sequence[Expected]) -> list[_Judged]:
    gx, gxe = import_great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("month").add_dataframe_asset("customers")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(
        "contract",
        expectations=[
            getattr(gxe, wanted.expectation)(**wanted.arguments, meta={"position": position})
            for position, wanted in enumerate(expected)
        ],
    )
    # Not in the suite's order: an expectation that raised comes first.
    results = {found.expectation_config.meta["position"]: found for found in batch.validate(suite).results}
    judged = []
    for position, wanted in enumerate(expected):
        found = results[position]
        raised = _raised(found.exception_info)
        if raised is not None:
            where = f" on {wanted.column!r}" if wanted.column is not None else ""
            raise ExpectationRaisedError(
                f"{wanted.expectation}{where} could not be evaluated: {raised}. The data are not to blame; "
                "report it with this message and the versions of great-expectations and pandas."
            )
        judged.append(_Judged(wanted, bool(found.success), dict(found.result)))
    return judged


def _raised(exception_info: Mapping[str, Any] | None) -> str | None:
    """What an expectation raised, if it did. great-expectations nests one entry per metric, or has a flat one."""
    if not exception_info:
        return None
    entries = [exception_info] if "raised_exception" in exception_info else list(exception_info.values())
    messages = [str(entry["exception_message"]) for entry in entries if entry["raised_exception"]]
    return messages[0] if messages else None


# --- in words ---------------------------------------------------------------------------------------------------------


def _types_in_words(
    frame: "pd.DataFrame", unsound: Sequence[str], contract: Contract
) -> tuple[dict[str, Any], dict[str, Any]]:
    missing = [column for column in unsound if column not in frame.columns]
    wrong = {column: str(frame[column].dtype) for column in unsound if column in frame.columns}
    limit = {"customer_id": CUSTOMER_ID_TYPE, **{feature.name: FEATURE_TYPE for feature in contract.features}}
    return {"missing_columns": missing, "wrong_types": wrong}, {"missing_columns": [], "wrong_types": {}, **limit}


def _ids_in_numbers(
    judged: Sequence[_Judged], seen: Mapping[str, int], unsound: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    words = {
        "ExpectColumnValuesToNotBeNull": "missing",
        "ExpectColumnValuesToMatchRegex": "blank",
        "ExpectColumnValuesToBeUnique": "duplicated",
    }
    observed: dict[str, Any] = dict(seen)
    for found in judged:
        if found.expected.check == "customer_ids_unique_and_present":
            observed[words[found.expected.expectation]] = _unexpected_count(found)
    if "customer_id" in unsound:
        observed["not_evaluated"] = "customer_id"
    return observed, {"missing": 0, "blank": 0, "duplicated": 0}


def _values_in_words(
    judged: Sequence[_Judged], features: Sequence[Feature], seen: Mapping[str, int], unsound: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    about_values = [found for found in judged if found.expected.check == "values_within_valid_range"]
    features_outside: dict[str, str] = {}  # below its own key: a feature may be called anything, also "customers"
    for feature in features:
        failed = [found for found in about_values if found.expected.column == feature.name and not found.passed]
        if feature.name in unsound:
            features_outside[feature.name] = "not evaluated, see columns_and_types"
        elif failed:
            features_outside[feature.name] = "; ".join(_result_in_words(found.result) for found in failed)
    observed = {
        **seen,
        "values_outside": sum(_unexpected_count(found) for found in about_values),
        "features_outside": features_outside,
    }
    return observed, {"values_outside": 0, **{feature.name: _range_in_words(feature) for feature in features}}


def _unexpected_count(found: _Judged) -> int:
    return int(found.result.get("unexpected_count", 0))


def _result_in_words(result: Mapping[str, Any]) -> str:
    """What great-expectations saw: `3 of 2300 values, such as -1.0, inf`, or the observed value."""
    if "observed_value" in result:
        return str(result["observed_value"])
    examples = dict.fromkeys(str(value) for value in result.get("partial_unexpected_list", ()))
    such_as = f", such as {', '.join(list(examples)[:3])}" if examples else ""
    return f"{result.get('unexpected_count', 0)} of {result.get('element_count', 0)} values{such_as}"


def _range_in_words(feature: Feature) -> str:
    low, high = feature.valid.min, feature.valid.max
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"{low:g} or more"
    return f"at most {high:g}" if high is not None else "any finite number"
