"""A feature's transform and standardisation as SQL; equal to mixture/features.py, which does it in NumPy."""

from segment_pipeline.database.quoting import clamped, identifier, number
from segment_pipeline.mixture.features import FeatureSpace


def transform_sql(transform: str, resolution: float, column: str) -> str:
    """The feature's transform as an expression over a quoted column; the same as FeatureSpace's, row by row."""
    if transform == "none":
        return column
    if transform == "log":
        return f"ln({column})"
    if transform == "log1p":
        return f"ln(1E0 + {column})"
    if transform == "logit":
        inside = f"({clamped(column, number(resolution / 2), number(1 - resolution / 2))})"
        return f"ln({inside} / (1E0 - {inside}))"
    raise ValueError(f"no SQL for the transform {transform!r}")


def standardised_sql(space: FeatureSpace) -> list[str]:
    """Each feature of the space, transformed and standardised, as an expression over its quoted column."""
    return [
        f"({transform_sql(transform, resolution, identifier(name))} - {number(center)}) / {number(scale)}"
        for name, transform, resolution, center, scale in zip(
            space.names, space.transforms, space.resolutions, space.center, space.scale, strict=True
        )
    ]
