"""How good the data must be, which mixtures are tried, when a champion is replaced, what its segments are called."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    model_validator,
)

from segment_pipeline.config.order_features import FREQUENCY, RECENCY
from segment_pipeline.config.values import (
    COMPONENT_RANGE,
    COVARIANCES,
    CovarianceName,
    Name,
    Role,
    Settings,
    component_range,
    covariance_types,
    refusal,
    setting,
)
from segment_pipeline.config.yaml_text import show


class QualitySettings(Settings):
    """When a month's data are too bad to be segmented."""

    max_rejected_share: float = setting(
        0.05, "share of raw rows, 0..1", "The month stops when a larger share of its rows is rejected.", ge=0, le=1
    )
    max_row_count_change: float = setting(
        0.5,
        "relative change, 0.5 is 50 %",
        "The month warns when its rows differ more from the month before.",
        gt=0,
        le=4,  # a per cent sign that is meant would switch the warning off without a word
        allowed="a share, above 0 and at most 4: 0.5 is 50 %",
    )
    min_customers: int = setting(
        500,
        "customers",
        "The month stops with fewer accepted customers; a mixture cannot be trusted there.",
        ge=2,
        le=1_000_000_000,
    )
    empty_month: Literal["stop", "skip"] = setting(
        "stop",
        "",
        "What happens in a month without an order line, though the source goes on after it: the run stops, or passes "
        "the month over.",
    )
    outlier_sd: float = setting(
        3.0, "standard deviations", "Beyond this, in the transformed feature, a value counts as an outlier.", gt=0
    )


class HurdleSettings(Settings):
    """A value that very many customers share, as a segment by rule. The mixture then describes the others."""

    feature: str = setting(..., "", "Feature of this file whose value makes the rule.")
    value: float = setting(..., "the feature's unit", "Customers with this value are the segment.")


class ModelSettings(Settings):
    """Which mixtures are tried, and which of them may serve."""

    n_components: Annotated[tuple[int, int], BeforeValidator(component_range)] = setting(
        (2, 10),
        "components",
        "Smallest and largest number of components that is tried.",
        allowed=COMPONENT_RANGE,
    )
    covariance: Annotated[CovarianceName | tuple[CovarianceName, ...], BeforeValidator(covariance_types)] = setting(
        "full",
        "",
        "What covariances have in common: nothing (full), no correlation within a component (diagonal), all are the "
        "same (tied), equal width in all features (spherical). Of a list, the criterion chooses.",
        allowed=COVARIANCES,
    )
    resolution: Literal["floor", "dequantise", "spread"] = setting(
        "spread",
        "",
        "How a fit is told that values are rounded: by a floor under the variances alone, by a reproducible place "
        "within each value's step, or by the variance of that step.",
    )
    hurdle: HurdleSettings | None = setting(
        None,
        "",
        "One value as a segment by rule, where more than 40 % of the customers share it; none when left out.",
    )
    criterion: Literal["bic", "icl", "elbow"] = setting("bic", "", "What chooses among the admissible candidates.")
    max_segments: int = setting(8, "segments", "As many as the team can act on; never more are chosen.", ge=2, le=50)
    memory: bool = setting(
        True, "", "Whether memberships take into account where a customer was the month before; see `memory`."
    )
    seed: int = setting(42, "", "Seed of every random choice; same seed, same result.", ge=0, le=2**32 - 1)
    min_stability: float = setting(
        0.8, "mean adjusted Rand index, at most 1", "Independent searches must agree at least this much.", ge=0, le=1
    )
    min_share: float = setting(
        0.02, "share of customers, 0..1", "A candidate with a smaller component is refused.", ge=0, lt=0.5
    )
    fit_sample: int = setting(
        250_000,
        "customers",
        "With more customers, the fit uses a reproducible sample of this size; all are scored. Without memory, "
        "searches see 50,000 of them, and what they find goes on with all.",
        ge=100,
        le=1_000_000_000,
    )

    @property
    def covariance_types(self) -> tuple[CovarianceName, ...]:
        """Those that are tried, in the order of the file."""
        return self.covariance if isinstance(self.covariance, tuple) else (self.covariance,)

    @model_validator(mode="after")
    def _some_candidate_is_possible(self) -> "ModelSettings":
        low, high = self.n_components
        if not 2 <= low <= high <= 50:
            raise refusal(
                ("n_components",),
                show(self.n_components),
                COMPONENT_RANGE,
            )
        if self.max_segments < low:
            raise refusal(("max_segments",), show(self.max_segments), f"{low} (the smallest of n_components) or more")
        if self.min_share * low > 1:
            raise refusal(
                ("min_share",),
                show(self.min_share),
                f"at most {round(1 / low, 3)}: {low} components share 1 among them",
            )
        return self


class MemorySettings(Settings):
    """How far back the mixture with memory looks, and when two of its segments might as well be one."""

    months: int = setting(12, "months", "Month-ends that a mixture with memory is fitted to, at most.", ge=3, le=60)
    min_kept: float = setting(
        0.3,
        "0..1, 1 is all",
        "Of two segments, how much a customer's one must say of its one a month later; candidates below are refused.",
        ge=0,
        le=1,
    )
    min_stay: float = setting(
        0.1,
        "0..1",
        "The share of a segment's customers who must be in it a month later; candidates below are refused: what nearly "
        "everybody leaves at once is an age, such as two months since the last order, and no kind of customer.",
        ge=0,
        le=1,
    )


class RefitSettings(Settings):
    """When the champion is challenged."""

    min_mean_max_probability: float = setting(
        0.6,
        "probability, 0..1",
        "Below this mean of the customers' largest probability, as published, segments are too vague.",
        ge=0,
        le=1,
    )
    max_mean_max_probability: float = setting(
        0.98,
        "probability, 0..1",
        "Above this mean of the customers' largest probability by the month alone, segments are too sure.",
        ge=0,
        le=1,
    )
    max_mean_shift: float = setting(
        0.5,
        "standard deviations",
        "A component's mean that has moved further, measured under the champion, calls for a refit at once.",
        gt=0,
    )
    lasting_mean_shift: float | None = setting(
        None,
        "standard deviations",
        "A component's mean that has moved further, for lasting_months in a row, calls for a refit; "
        "0.7 of max_mean_shift when left out.",
        gt=0,
    )
    max_age_months: int = setting(
        3, "months", "A champion older than this gives way to a challenger that fits no worse.", ge=0, le=1200
    )
    min_gain: float = setting(
        0.05,
        "nats per customer",
        "A challenger whose log-likelihood, less its optimism, is better by more than this for lasting_months is "
        "promoted.",
        ge=0,
    )
    max_gain: float | None = setting(
        None,
        "nats per customer",
        "A challenger that is better by more than this is promoted at once; twice min_gain when left out.",
        ge=0,
    )
    lasting_months: int = setting(
        2, "months", "How many months in a row a soft signal has to fire before it calls for a refit.", ge=1, le=120
    )
    cooldown_months: int = setting(
        2,
        "months",
        "A champion not older than this is not replaced for soft signals, however long they have lasted.",
        ge=0,
        le=120,
    )
    equal_within: float = setting(
        0.01,
        "nats per customer",
        "Candidates that fit worse than the best by at most this count as equal; of them, the challenger is the one "
        "that keeps most customers in their segment.",
        ge=0,
    )

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> "RefitSettings":
        if self.min_mean_max_probability >= self.max_mean_max_probability:
            raise refusal(
                ("min_mean_max_probability",),
                show(self.min_mean_max_probability),
                f"a number below max_mean_max_probability ({show(self.max_mean_max_probability)})",
            )
        for lasting, at_once in (("lasting_mean_shift", "max_mean_shift"), ("min_gain", "max_gain")):
            soft, hard = getattr(self, lasting), getattr(self, at_once)
            if soft is not None and hard is not None and soft > hard:
                raise refusal((lasting,), show(soft), f"at most {at_once} ({show(hard)})")
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


class DriftSettings(Settings):
    """How far a feature's distribution may be from that of the customers to whom the champion was fitted, and an
    audience's size from what its own past months lead one to expect.

    An alert, never a refit. With few customers chance alone exceeds these limits, and the limit of chance counts."""

    max_psi: float = setting(0.1, "population stability index", "Above it a feature's distribution has changed.", gt=0)
    max_wasserstein: float = setting(
        0.2, "standard deviations", "Wasserstein distance above which a feature's distribution has changed.", gt=0
    )
    max_audience_change: float = setting(
        0.2,
        "relative change, 0.2 is 20 %",
        "A segment or tier that has grown or shrunk by more than this, beside how it changes as a rule, has jumped.",
        gt=0,
        le=1,
        allowed="a share, above 0 and at most 1: 0.2 is 20 %",
    )


class AlignmentSettings(Settings):
    """When a new component inherits the id of an old segment."""

    survival: float = setting(
        0.7,
        "share of its members, 0..1",
        "At least this share of an old segment's members lies in its partner: the segment continues.",
        gt=0,
        le=1,
    )
    split: float = setting(
        0.3,
        "overlap, 0..1",
        "At least this overlap with an old segment that did not continue: a part of it.",
        gt=0,
        le=1,
    )
    min_margin: float = setting(
        0.1, "overlap, 0..1", "The best match must beat the second best by this; otherwise the id is new.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> "AlignmentSettings":
        if self.split >= self.survival:
            raise refusal(("split",), show(self.split), f"a number below survival ({show(self.survival)})")
        return self


class TierSettings(Settings):
    """Tiers are tried in the order dominant, hybrid, diffuse; the rest is leaning."""

    dominant: float = setting(0.80, "probability, 0..1", "Largest probability at or above this: dominant.", gt=0, le=1)
    hybrid_second: float = setting(
        0.30, "probability, 0..0.5", "Second largest at or above this, and hybrid_pair: hybrid.", gt=0, le=0.5
    )
    hybrid_pair: float = setting(
        0.75, "probability, 0..1", "The two largest together at or above this, and hybrid_second: hybrid.", gt=0, le=1
    )
    diffuse: float = setting(0.50, "probability, 0..1", "Largest probability below this: diffuse.", gt=0, le=1)
    is_between: float = setting(
        0.25,
        "part of the line, 0..0.5",
        "At least so far from the centres of both segments sets the flag is_between, whatever the probabilities.",
        gt=0,
        lt=0.5,
    )

    @model_validator(mode="before")
    @classmethod
    def _hybrid_has_one_meaning(cls, given: Any) -> Any:
        """Files of before may have `is_hybrid`, which was another limit for what is the tier now: it is passed over."""
        return {key: one for key, one in given.items() if key != "is_hybrid"} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _every_tier_is_possible(self) -> "TierSettings":
        if self.diffuse >= self.dominant:
            raise refusal(
                ("diffuse",),
                show(self.diffuse),
                f"a number below dominant ({show(self.dominant)}); leaning lies between",
            )
        # The two largest together are below 2 * dominant for whoever is not dominant.
        if self.dominant <= 0.5 and 2 * self.dominant <= self.hybrid_pair:
            raise refusal(
                ("hybrid_pair",),
                show(self.hybrid_pair),
                f"a number below {show(2 * self.dominant)} (twice dominant), or no customer can be hybrid",
            )
        if self.dominant <= self.hybrid_second:
            raise refusal(
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
            raise refusal((key,), show(found), allowed)
        return self


class RoleSettings(Settings):
    """The features that give segments their roles (engaged, casual, at_risk, dormant)."""

    recency: str = setting(RECENCY, "", "Feature whose small values mean a recent customer.")
    frequency: str = setting(FREQUENCY, "", "Feature whose large values mean a frequent customer.")


class SegmentOverride(Settings):
    """What the user calls a segment, in place of the name and role from its profile."""

    name: Name | None = setting(None, "", "Name of the segment; from its profile when left out.")
    role: Role | None = setting(None, "", "Role of the segment; from its recency and frequency when left out.")
