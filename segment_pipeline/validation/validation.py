"""Can the champion be believed? One figure a question, each with its limit and its verdict in words.

Here: the questions in their order: does it fit customers that it has not seen, is it stable, are its segments apart
(fit.py), do memberships predict anything, and better than something simpler would, do its probabilities come true, and
are hybrids worth more (prediction.py), does the next month come as a memory expects it (foretold.py). Not here: where
the customers come from (validation_store.py), and other kinds of segments (alternatives to a mixture).

What cannot be computed in a month is a figure without a value that says why: nothing is reported that was not
measured, and every month has every metric.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from segment_pipeline.arrays import Array, Texts
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.resolution import what_the_fit_sees
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.validation.figures import Figure, Missing
from segment_pipeline.validation.fit import Overlap, heldout_fit, separation, stability_over_seeds, stability_over_time
from segment_pipeline.validation.foretold import Foretold, foretold_figures
from segment_pipeline.validation.prediction import (
    Followed,
    Hybrids,
    Outcome,
    calibration,
    hybrid_spend,
    silence_predicted,
    spend_predicted,
)

if TYPE_CHECKING:
    from segment_pipeline.config.config import Config


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the validation of one closed month stands on.

    space : the month's own, in which its candidates were fitted. customer_ids : (n,) and X : (n, d) original units, the
    month's customers or a sample of them. prior : (n, k) what a champion with memory expects of them; None without one.
    memberships : (n, k) of theirs. stability : of the champion when it was promoted, over seeds. foretold : None where
    the champion of the month before has no memory, and expects nothing.
    """

    month: date
    champion: SegmentModel
    space: FeatureSpace
    customer_ids: Texts
    X: Array
    prior: Array | None
    memberships: Array
    stability: float | Missing
    overlap: Overlap | Missing
    followed: Followed | Missing
    silence: Outcome | Missing
    spend: Outcome | Missing
    hybrids: Hybrids | Missing
    foretold: Foretold | Missing | None = None


def validate(evidence: Evidence, config: "Config") -> list[Figure]:
    """Every figure of the month, in the order of METRICS; those of METRICS_OF_MEMORY come before the last of them. Same
    arguments, same bits."""
    limits, seed, champion = config.validation, config.model.seed, evidence.champion
    seen, rounding_variance = what_the_fit_sees(
        config.model.resolution, champion.space, evidence.X, evidence.customer_ids
    )
    with threadpool_limits(limits=1):  # of k-means too: its threads add up in the order in which they end
        return [
            *heldout_fit(
                champion.mixture,
                seen,
                rounding_variance,
                champion.space.variance_floor,
                seed,
                limits.max_heldout_gap,
                prior=evidence.prior,
                log_jacobian=champion.space.log_jacobian - evidence.space.log_jacobian,
            ),
            *stability_over_seeds(evidence.stability, config.model.min_stability),
            *stability_over_time(evidence.overlap, limits.min_stability_over_time),
            *separation(champion, evidence.memberships, limits.max_pair_overlap),
            *silence_predicted(evidence.silence, seed, limits.max_loss_to_simpler),
            *spend_predicted(evidence.spend, seed, limits.max_loss_to_simpler),
            *calibration(evidence.followed, limits.max_calibration_error),
            *foretold_figures(evidence.foretold),
            *hybrid_spend(evidence.hybrids),
        ]
