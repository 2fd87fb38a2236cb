"""Resolution: what a fit may know of values that were rounded. Two orders are not exactly 2; they stand for a step.

Here: the three ways to tell a fit so, of which `model.resolution` names one. Not here: the floor itself
(`FeatureSpace.variance_floor`), which all three keep, and scoring, which takes every value as it is.

* floor: nothing but the floor. A component may sit on a value that many share, as narrow as the widest step.
* dequantise: every value moves to a place within its own step, drawn by a hash. Honest, but one draw of many.
* spread: every value is all the places within its step at once: a fit sees it with the variance of the step. It is the
  mean of `dequantise` over all draws, to second order: the log density of a component, averaged over the step, is that
  of the value less half the step's variance over the component's. So it is a lower bound of the likelihood too, and
  BIC compares; and there is no draw to depend on.

Measured by benchmarks/resolution.py on nine month-ends of CDNOW and ten of the demo (figures in benchmarks/README.md).
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array
from segment_pipeline.mixture.features import FeatureSpace, apply_transform, step_edges

_PLACES = 16
"""Places within a step over which its variance is taken; 16 give the variance of a uniform step to 0.4 %."""


def what_the_fit_sees(
    resolution: str, space: FeatureSpace, X: Array, customer_ids: Iterable[str]
) -> tuple[Array, Array | None]:
    """The standardised coordinates Z (n, d) that a fit is given and, for "spread", the variance (n, d) of each.

    resolution : "floor", "dequantise" or "spread". X : (n, d) original units.
    """
    if resolution == "floor":
        return space.transform(X), None
    if resolution == "dequantise":
        return space.transform(dequantise(X, customer_ids, space)), None
    if resolution == "spread":
        return space.transform(X), rounding_variance(space, X)
    raise ValueError(f"unknown resolution {resolution!r}; one of floor, dequantise and spread")


def dequantise(X: Array, customer_ids: Iterable[str], space: FeatureSpace) -> Array:
    """(n, d) the values spread over the resolution step that each was rounded to; for fitting only, never for scoring.

    X : (n, d) original units. The place within the step comes from a hash of the customer and the feature's name, and
    not of the month: it is the same wherever and whenever it is computed, and a customer whose values stay stays where
    they were. A step that would leave the domain of the transform ends inside it (`step_edges`).
    """
    ids = _hashed(customer_ids)
    placed = np.empty(X.shape)
    for j, name in enumerate(space.names):
        # 53 bits of the mixed hash, centred in their cell: strictly between 0 and 1
        place = ((_mixed(ids ^ _hashed([name])[0]) >> np.uint64(11)) + 0.5) * 2.0**-53
        low, high = step_edges(X[:, j], space.transforms[j], space.resolutions[j])
        placed[:, j] = low + place * (high - low)
    return placed


def rounding_variance(space: FeatureSpace, X: Array) -> Array:
    """(n, d) mean squared distance between a value and the places within its step, in the coordinates of `space`.

    X : (n, d) original units. One day since the last order is a wide step in logs, thirty days a narrow one.
    """
    places = (np.arange(_PLACES) + 0.5) / _PLACES
    variance = np.empty(X.shape)
    for j, (transform, resolution) in enumerate(zip(space.transforms, space.resolutions, strict=True)):
        values, where = np.unique(X[:, j], return_inverse=True)
        low, high = step_edges(values, transform, resolution)
        within = apply_transform(low[:, None] + places * (high - low)[:, None], transform, resolution)
        distance = within - apply_transform(values, transform, resolution)[:, None]
        variance[:, j] = np.mean(distance**2, axis=1)[where] / space.scale[j] ** 2
    return variance


def _hashed(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64 bits of each text, the same on every machine (Python's own `hash` differs from run to run)."""
    digests = b"".join(hashlib.blake2b(str(text).encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on all of them (the finaliser of splitmix64, Steele et al. 2014); unsigned products wrap."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
