"""One figure of a month's validation, with its interval, its limit and its verdict in words."""

from dataclasses import dataclass

METRICS = (
    "heldout_log_likelihood",
    "train_log_likelihood",
    "heldout_gap",
    "stability_over_seeds",
    "stability_over_time",
    "separation",
    "misclassification",
    "silence_auc",
    "silence_auc_gain",
    "spend_r2",
    "spend_r2_gain",
    "calibration_error",
    "calibrated_share",
    "hybrid_spend_ratio",
)
"""Every month has at least one row of each."""

METRICS_OF_MEMORY = ("next_log_score", "next_log_score_gain", "next_calibration_error", "next_calibration_gap")
"""A month after one whose champion had a memory has them as well."""


@dataclass(frozen=True)
class Figure:
    """One figure of a month. subject : "" for the whole model, a segment id, a pair "3-7", a method, or a range of
    probabilities. value : None where it could not be computed. low, high : 95 % interval, None where there is none.
    passed : None where there is no threshold, or no value. sentence : what was found, in words, or why nothing was."""

    metric: str
    subject: str
    value: float | None
    sentence: str
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    passed: bool | None = None


@dataclass(frozen=True)
class Missing:
    """Why something cannot be known in a month, as a sentence."""

    reason: str

    def of(self, *metrics: str) -> list[Figure]:
        """A figure without a value for each of these metrics."""
        return [Figure(metric, "", None, f"Not computed: {self.reason}") for metric in metrics]
