"""The model that serves: a feature space, a mixture and the stable identity of its segments.

Here: the champion as a value, its round trip through JSON, its use on customers in original units. Not here: how it was
found, or where it is kept. A model is plain numbers; nothing is pickled.
"""

import json
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.features import FeatureSpace


@dataclass(frozen=True)
class Segment:
    """What the business sees of a component, or of several that describe one group. role : engaged, casual, at_risk,
    dormant, or None where none applies."""

    segment_id: int
    name: str
    role: str | None


@dataclass(frozen=True, eq=False)
class SegmentModel:
    """One model version. Segment i of the mixture is segments[i]; segments ascend by segment_id.

    trained_month : first day of the closed month whose customers it was fitted on. atypical_below : log-likelihood, in
    transformed units, below which a customer is atypical. memory : how a customer goes on from month to month, in the
    order of `segments`; None for a model that knows nothing of the month before. The mixture's weights are then the
    shares of the segments in trained_month.
    """

    model_version: int
    trained_month: date
    space: FeatureSpace
    mixture: Mixture
    segments: tuple[Segment, ...]
    atypical_below: float
    memory: Memory | None = None

    def __post_init__(self) -> None:
        ids = [segment.segment_id for segment in self.segments]
        if len(ids) != self.mixture.n_segments:
            raise ValueError(f"a mixture of {self.mixture.n_segments} segments but {len(ids)} ids")
        if ids != sorted(set(ids)):
            raise ValueError(f"segment ids must ascend without repetition, got {ids}")
        if self.mixture.n_features != self.space.n_features:
            raise ValueError(f"mixture of {self.mixture.n_features} features in a space of {self.space.n_features}")
        if self.memory is not None and self.memory.n_components != len(ids):
            raise ValueError(f"a memory of {self.memory.n_components} segments for {len(ids)}")

    @property
    def segment_ids(self) -> tuple[int, ...]:
        return tuple(segment.segment_id for segment in self.segments)

    def responsibilities(self, X: Array, *, prior: Array | None = None) -> Array:
        """(n, d) original units -> (n, k) membership probabilities in the order of `segments`; rows sum to 1.

        prior : (n, k) what is known of each customer from the months before; None where nothing is.
        """
        return self.mixture.responsibilities(self.space.transform(X), prior=prior)

    def log_likelihood(self, X: Array, *, prior: Array | None = None) -> Array:
        """(n, d) original units -> (n,) log density in transformed, unstandardised units, nats; higher is more typical.
        Models that were standardised differently compare. prior : as above."""
        return self.mixture.log_likelihood(self.space.transform(X), prior=prior) + self.space.log_jacobian

    def to_json(self) -> str:
        """Canonical text; `from_json` gives back the same doubles, bit for bit."""
        return json.dumps(
            {
                "model_version": self.model_version,
                "trained_month": self.trained_month.isoformat(),
                "space": json.loads(self.space.to_json()),
                "mixture": self.mixture.to_plain(),
                "segments": [
                    {"segment_id": segment.segment_id, "name": segment.name, "role": segment.role}
                    for segment in self.segments
                ],
                "atypical_below": self.atypical_below,
                **({} if self.memory is None else {"memory": self.memory.to_plain()}),
            },
            ensure_ascii=False,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> "SegmentModel":
        """The inverse of `to_json`."""
        content = json.loads(text)
        return cls(
            model_version=int(content["model_version"]),
            trained_month=date.fromisoformat(content["trained_month"]),
            space=FeatureSpace.from_json(json.dumps(content["space"])),
            mixture=Mixture.from_plain(content["mixture"]),
            segments=tuple(
                Segment(int(segment["segment_id"]), segment["name"], segment["role"]) for segment in content["segments"]
            ),
            atypical_below=float(content["atypical_below"]),
            memory=Memory.from_plain(content["memory"]) if "memory" in content else None,
        )


def express_in(mixture: Mixture, old: FeatureSpace, new: FeatureSpace) -> Mixture:
    """The same mixture in the standardised coordinates of another space of the same features and transforms.

    Standardising is affine, so responsibilities do not change. Raises ValueError when the schemas differ.
    """
    if old.schema != new.schema:
        raise ValueError(f"the feature schemas differ: {old.schema} and {new.schema}")
    stretch, shift = old.scale / new.scale, (old.center - new.center) / new.scale
    hurdle = mixture.hurdle
    if hurdle is not None:
        hurdle = hurdle.moved(float(stretch[hurdle.feature]), float(shift[hurdle.feature]))
    return replace(
        mixture,
        means=mixture.means * stretch + shift,
        covariances=mixture.covariances * np.outer(stretch, stretch),
        hurdle=hurdle,
    )
