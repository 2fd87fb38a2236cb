"""The champions of all month-ends of two real shops without memory, decided month after month as the pipeline does, and
whether each of them is what a user may expect: sound, stable, with customers who have a second segment, at least as
telling as k-means.

For each month: the challenger chosen, the champion that serves (with default settings a new one is promoted when a
trigger fires), and what its membership probabilities know of the next 90 days' silence, against labels of
scikit-learn's k-means with the same k. Takes some three minutes on two cores.
"""

import sys
from dataclasses import dataclass

import numpy as np
from real_months import MonthEnd, cdnow, demo, kmeans_labels, record, silence_auc

from segment_pipeline.config.config import Config
from segment_pipeline.config.model import HurdleSettings
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import DecisionInputs, decide, degeneracy_this_month
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.refit import Subject

SECOND = 0.25
"""Probability of the second segment from which on a customer has one."""

HEADER = (
    "month", "customers", "admissible", "lowest BIC at", "chosen", "champion of", "k", "sound",
    "stability", "second > 0.25", "max prob", "AUC", "k-means", "kept", "ids",
)  # fmt: skip


@dataclass
class Bars:
    """How many months meet each bar of the project, of how many."""

    months: int = 0
    sound: int = 0
    inner_optimum: int = 0
    admissible: int = 0
    stable: int = 0
    two: int = 0
    observed: int = 0
    telling: int = 0

    def __str__(self) -> str:
        return (
            f"champion sound {self.sound}/{self.months}; an admissible candidate {self.admissible}/{self.months}; "
            f"BIC lowest inside the range tried {self.inner_optimum}/{self.months};\nstability >= 0.8 "
            f"{self.stable}/{self.months}; second above 0.25 of 5-45 % {self.two}/{self.months}; AUC at least k-means' "
            f"{self.telling}/{self.observed}"
        )


def follow(name: str, title: str, config: Config, ends: list[MonthEnd]) -> None:
    rows, bars = [], Bars()
    champion: SegmentModel | None = None
    fired: dict[Subject, int] = {}
    stability, next_id, before = float("nan"), 1, None
    for end in ends:
        space = FeatureSpace.fit(config.model_features, end.X)
        found = fit_challengers(space, end.X, end.ids, config, champion)
        candidates, choice = found.candidates, found.choice
        names = config.model_feature_names
        inputs = DecisionInputs(
            month=end.month,
            space=space,
            X=end.X,
            X_previous=end.X if champion is not None else None,
            recency=end.X[:, names.index("days_since_last_order")],
            frequency=end.X[:, names.index("orders")],
            challenger=choice.candidate.mixture if choice.candidate is not None else None,
            rationale=choice.rationale,
            previous=champion,
            next_version=1 if champion is None else champion.model_version + 1,
            next_segment_id=next_id,
            fired_before=fired,
        )
        decision = decide(inputs, config)
        # what fired in the month of a promotion was about the champion before
        fired = {} if decision.promoted else {one.subject: one.months_fired for one in decision.triggers if one.fired}
        champion = decision.champion
        next_id = max(next_id, *(segment_id + 1 for segment_id in champion.segment_ids))
        if decision.promoted and choice.candidate is not None:
            stability = choice.candidate.stability
        R = champion.responsibilities(end.X)
        two = float(np.mean(np.sort(R, axis=1)[:, -2] > SECOND))
        auc = against = None
        if end.silent is not None:
            auc = silence_auc(R[:, 1:], end.silent)
            labels = kmeans_labels(space.transform(end.X), R.shape[1])
            against = silence_auc(labels[:, 1:], end.silent)
        kept = None
        if before is not None:
            _, i, j = np.intersect1d(before[0], end.ids, assume_unique=True, return_indices=True)
            segments = np.asarray(champion.segment_ids)[R.argmax(axis=1)]
            kept = float(np.mean(before[1][i] == segments[j]))
        before = (end.ids, np.asarray(champion.segment_ids)[R.argmax(axis=1)])
        sound = degeneracy_this_month(inputs, decision) is None
        lowest = min(candidates, key=lambda c: np.inf if c.degenerate else c.bic).n_components
        admissible = [c.n_components for c, why in zip(candidates, found.refusals, strict=True) if not why]
        first, last = config.model.n_components
        bars.months += 1
        bars.sound += sound
        bars.admissible += bool(admissible)
        bars.inner_optimum += first < lowest < last
        bars.stable += stability >= config.model.min_stability
        bars.two += 0.05 <= two <= 0.45
        if auc is not None and against is not None:
            bars.observed += 1
            bars.telling += auc >= against
        rows.append(
            [
                f"{end.month:%Y-%m}",
                len(end.X),
                ",".join(map(str, admissible)),
                lowest,
                choice.candidate.n_components if choice.candidate is not None else None,
                f"{champion.trained_month:%Y-%m}",
                R.shape[1],
                "yes" if sound else "no",
                stability,
                two,
                float(R.max(axis=1).mean()),
                auc,
                against,
                kept,
                ",".join(map(str, champion.segment_ids)),
            ]
        )
    record(f"real_data-{name}", title, HEADER, rows)
    print(bars)


def main() -> None:
    print("lowest BIC at: of all sound candidates; kept: share of last month's customers with the same segment, across")
    print(
        "refits too; second > 0.25: the probability of the second segment; AUC: of 90 days' silence, five-fold, "
        "logistic regression."
    )
    chosen = sys.argv[1:]
    for title, shop in (("CDNOW", cdnow), ("demo", demo)):
        if title.lower() in chosen or not chosen:
            follow(title, title, *shop())
    if "hurdle" in chosen or not chosen:
        config, ends = cdnow()
        one_order = config.model.model_copy(update={"hurdle": HurdleSettings(feature="orders", value=1.0)})
        follow("hurdle", "CDNOW, one order a hurdle segment", config.model_copy(update={"model": one_order}), ends)


if __name__ == "__main__":
    main()
