"""What the covariances of a mixture have in common: the constraint under which they are fitted.

Here: what it leaves of scatter, and how many free numbers. Not here: the M-step that keeps it (em.py), and which of
them describes customers best (models/selection.py). Whoever scores needs none of this: under every constraint there are
k full matrices.

* full: nothing; every component has a shape of its own.
* diagonal: within a component the features are uncorrelated.
* tied: all components have the same covariance.
* spherical: a component is equally wide in all features, and they are uncorrelated. It depends on the features' scale.
"""

from typing import Literal, get_args

import numpy as np

from segment_pipeline.arrays import Array

CovarianceType = Literal["full", "diagonal", "tied", "spherical"]

COVARIANCE_TYPES: tuple[CovarianceType, ...] = get_args(CovarianceType)


def free_numbers(covariance_type: CovarianceType, k: int, d: int) -> int:
    """Free parameters of k covariances of d features."""
    return {"full": k * d * (d + 1) // 2, "diagonal": k * d, "tied": d * (d + 1) // 2, "spherical": k}[covariance_type]


def pooled(values: Array, covariance_type: CovarianceType) -> Array:
    """(S, k, ., .) of each component -> the same shape, of all of them together where they share one covariance."""
    if covariance_type != "tied":
        return values
    return np.broadcast_to(values.sum(axis=1, keepdims=True), values.shape)


def shaped(scatter: Array, covariance_type: CovarianceType) -> Array:
    """(..., d, d) scatter -> what of it the covariance can follow."""
    if covariance_type in ("full", "tied"):
        return scatter
    d = scatter.shape[-1]
    if covariance_type == "diagonal":
        return np.asarray(scatter * np.eye(d))
    return np.asarray(np.trace(scatter, axis1=-2, axis2=-1)[..., None, None] / d * np.eye(d))
