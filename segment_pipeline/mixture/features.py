"""Feature space: how a customer's raw features become the coordinates in which the mixture lives.

Here: transforms, standardisation, the resolution of each feature, the profile of each feature, and the search for
features that repeat one another. Not here: which rows are fit to be used (customers/), and anything that fits a
mixture. Every transform works row by row with functions that SQL has too, because the warehouse scores customers
without Python.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segment_pipeline.arrays import Array
from segment_pipeline.errors import ModelError
from segment_pipeline.words import figure, percent

if TYPE_CHECKING:
    from segment_pipeline.config.source import Feature


OUTLIER_SD = 3.0
"""Beyond how many standard deviations of the transformed feature a customer counts as an outlier."""

MAX_VARIANCE_INFLATION = 100.0
"""1 / (1 - R^2) of a feature on the others, beyond which they repeat one another (R^2 > 0.99). Measured on ten
month-ends of grocery orders: four honest features stay below 5; log1p spend beside log1p orders and log1p average
order value, an identity only up to the ones added, has 246-291; the exact identity in logs, blurred by rounding the
average to the cent, has more than ten million."""

SHARED_VALUE = 0.02
"""Share of all customers with the same value, up to the resolution, from which that value is an atom that a component
could sit on. Rarer ones are too few for a segment."""

_LOADING_THAT_COUNTS = 0.05
"""Share of the largest loading below which a feature plays no part in a dependence and is left out of its words."""

_CONSTANT_SD = 1e-10
"""Standard deviation, relative to the size of the values, below which a feature is constant up to rounding."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The frozen map from original units to the standardised coordinates of one model.

    names, transforms, resolutions : one entry per feature; transforms are "none", "log", "log1p" or "logit",
        resolutions are in original units (1 order, 1 day, 0.01 currency).
    center, scale : (d,) mean and standard deviation of the transformed feature in the customers it was fitted on.
    delta : (d,) width of one resolution step where customers are densest or share a value, whichever is wider, in
        transformed, standardised units.
    """

    names: tuple[str, ...]
    transforms: tuple[str, ...]
    resolutions: tuple[float, ...]
    center: Array
    scale: Array
    delta: Array

    @classmethod
    def fit(cls, features: "Sequence[Feature]", X: Array) -> "FeatureSpace":
        """Standardise the transformed features of these customers.

        X : (n, d) original units, columns in the order of `features`. A constant feature gets scale 1, so that
        `find_dependence` can name it. Raises ModelError where a value cannot be transformed.
        """
        names = tuple(feature.name for feature in features)
        transforms = tuple(str(feature.transform) for feature in features)
        resolutions = tuple(float(feature.resolution) for feature in features)
        T = _transform_columns(names, transforms, resolutions, np.asarray(X, dtype=np.float64))
        center = T.mean(axis=0)
        scale = T.std(axis=0)
        scale = np.where(scale > _CONSTANT_SD * np.maximum(np.abs(center), 1.0), scale, 1.0)
        delta = np.array(
            [_step_width(X[:, j], T[:, j], transforms[j], resolutions[j]) / scale[j] for j in range(len(names))]
        )
        return cls(names, transforms, resolutions, center, scale, delta)

    def transform(self, X: Array) -> Array:
        """(n, d) original units -> (n, d) standardised coordinates Z. Raises ModelError where that is impossible."""
        return (_transform_columns(self.names, self.transforms, self.resolutions, X) - self.center) / self.scale

    def part(self, chosen: Sequence[int]) -> "FeatureSpace":
        """The same map of some of the features, by their positions, in the order given."""
        places = list(chosen)
        return FeatureSpace(
            tuple(self.names[j] for j in places),
            tuple(self.transforms[j] for j in places),
            tuple(self.resolutions[j] for j in places),
            self.center[places],
            self.scale[places],
            self.delta[places],
        )

    def to_json(self) -> str:
        """Canonical text; `from_json` gives back the same doubles, bit for bit."""
        return json.dumps(
            {
                "names": list(self.names),
                "transforms": list(self.transforms),
                "resolutions": list(self.resolutions),
                "center": self.center.tolist(),
                "scale": self.scale.tolist(),
                "delta": self.delta.tolist(),
            },
            ensure_ascii=False,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> "FeatureSpace":
        """The inverse of `to_json`."""
        content = json.loads(text)
        return cls(
            tuple(content["names"]),
            tuple(content["transforms"]),
            tuple(float(resolution) for resolution in content["resolutions"]),
            np.array(content["center"], dtype=np.float64),
            np.array(content["scale"], dtype=np.float64),
            np.array(content["delta"], dtype=np.float64),
        )

    @property
    def n_features(self) -> int:
        return len(self.names)

    @property
    def log_jacobian(self) -> float:
        """Add it to a log density of Z: the density in transformed, unstandardised units, comparable across models."""
        return -float(np.sum(np.log(self.scale)))

    @property
    def variance_floor(self) -> Array:
        """(d,) variance of a value spread evenly over one resolution step: data cannot support less."""
        return self.delta**2 / 12.0

    @property
    def schema(self) -> str:
        """Canonical text of names, transforms and resolutions; two models with different schemas cannot be compared."""
        rows = zip(self.names, self.transforms, self.resolutions, strict=True)
        return json.dumps([list(row) for row in rows], ensure_ascii=False, separators=(",", ":"))


def step_edges(x: Array, transform: str, resolution: float) -> tuple[Array, Array]:
    """Where the resolution step around each value begins and ends, inside the domain of the transform."""
    low, high = x - resolution / 2, x + resolution / 2
    if transform == "log":
        low = np.maximum(low, x / 2)  # for a value below one step the lower edge would leave the domain
    elif transform == "log1p":
        low = np.maximum(low, (x - 1.0) / 2)
    elif transform == "logit":
        low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    return low, high


@dataclass(frozen=True)
class FeatureDiagnostics:
    """One feature's profile: the columns of the table feature_diagnostics, but the month.

    mean, sd, skewness : original units (skewness has none). skewness_transformed, outliers : after the transform.
    largest_atom : the commonest value, original units. outlier_share, largest_atom_share, max_correlation : 0..1.
    correlated_with : None when there is one feature only.
    """

    feature: str
    mean: float
    sd: float
    skewness: float
    skewness_transformed: float
    outliers: int
    outlier_share: float
    distinct_values: int
    largest_atom: float
    largest_atom_share: float
    max_correlation: float
    correlated_with: str | None


@dataclass(frozen=True)
class Dependence:
    """Features that repeat one another, so that no mixture of full covariances can be trusted on them.

    kind : "constant", "collinear" or "identical customers". combination : in words. drop : the feature to leave out.
    smallest_eigenvalue : of the correlation matrix, 0 = exact.
    """

    kind: str
    combination: str
    drop: str
    smallest_eigenvalue: float


def diagnose_features(space: FeatureSpace, X: Array, Z: Array) -> list[FeatureDiagnostics]:
    """Profile of every feature. X : (n, d) original units; Z : (n, d) the same customers, standardised."""
    n, d = X.shape
    correlation = np.abs(correlations(Z))
    np.fill_diagonal(correlation, -1.0)
    diagnostics = []
    for j, name in enumerate(space.names):
        values, counts = np.unique(X[:, j], return_counts=True)
        deviation = Z[:, j] - Z[:, j].mean()
        outliers = int(np.sum(np.abs(deviation) > OUTLIER_SD * max(float(Z[:, j].std()), np.finfo(float).tiny)))
        partner = int(np.argmax(correlation[j]))
        diagnostics.append(
            FeatureDiagnostics(
                feature=name,
                mean=float(X[:, j].mean()),
                sd=float(X[:, j].std()),
                skewness=skewness(X[:, j]),
                skewness_transformed=skewness(Z[:, j]),
                outliers=outliers,
                outlier_share=outliers / n,
                distinct_values=len(counts),
                largest_atom=float(values[np.argmax(counts)]),
                largest_atom_share=float(counts.max() / n),
                max_correlation=float(correlation[j, partner]) if d > 1 else 0.0,
                correlated_with=space.names[partner] if d > 1 else None,
            )
        )
    return diagnostics


def find_dependence(names: Sequence[str], Z: Array, space: FeatureSpace | None = None) -> Dependence | None:
    """The first reason why no mixture of full covariances can be trusted on these features; None when there is none.

    Z : (n, d) standardised coordinates. space : where Z comes from; with it the combination is worded in transformed
    units, so that log spend = log orders + log average order value reads like that. Looks for customers who are all the
    same, constant features, and an exact or near-exact linear combination (limit `MAX_VARIANCE_INFLATION`). No
    covariance floor cures these.
    """
    sd = Z.std(axis=0)
    constant = sd <= _CONSTANT_SD * np.maximum(np.abs(Z.mean(axis=0)), 1.0)
    if constant.all():
        return Dependence("identical customers", "all customers have the same values in every feature", names[0], 0.0)
    if constant.any():
        flat = [name for name, is_flat in zip(names, constant, strict=True) if is_flat]
        verb = "has" if len(flat) == 1 else "each have"
        return Dependence("constant", f"{' and '.join(flat)} {verb} the same value for every customer", flat[0], 0.0)
    if len(names) < 2:
        return None

    correlation = correlations(Z)
    if variance_inflation(correlation).max() <= MAX_VARIANCE_INFLATION:
        return None
    eigenvalues, vectors = np.linalg.eigh(correlation)
    smallest = max(float(eigenvalues[0]), 0.0)
    loading = vectors[:, 0]
    # Of features that explain one another any could go. The one that moves most in the combination is the sum of the
    # others (log spend = log orders + log average order value), and of equals the one configured last.
    drop = int(np.flatnonzero(np.abs(loading) >= np.abs(loading).max() * (1 - 1e-6))[-1])
    unit = sd if space is None else sd * space.scale
    coefficients = -(loading / unit) / (loading[drop] / unit[drop])
    others = [j for j in range(len(names)) if j != drop and abs(loading[j]) > _LOADING_THAT_COUNTS * abs(loading[drop])]
    combination = _combination_in_words(names, drop, others, coefficients)
    return Dependence("collinear", f"{combination} ({_units(space, [drop, *others])})", names[drop], smallest)


def explain_dependence(dependence: Dependence) -> str:
    """What to tell the user: what was found, why it matters, what to do."""
    if dependence.kind == "identical customers":
        return (
            f"{dependence.combination}, so there are no segments to find. "
            "Check that the source's columns are the right ones and that its rows differ."
        )
    if dependence.kind == "constant":
        return (
            f"{dependence.combination}: it cannot tell customers apart, and a covariance that contains it is singular. "
            f"Remove {dependence.drop} from `features`."
        )
    return (
        f"the features repeat one another: {dependence.combination}; "
        f"the smallest eigenvalue of their correlations is {figure(dependence.smallest_eigenvalue)}. "
        "A mixture would then improve without bound by flattening itself along that combination. "
        f"Remove {dependence.drop} from `features`; it can still be shown in the profiles."
    )


def _combination_in_words(names: Sequence[str], drop: int, others: Sequence[int], coefficients: Array) -> str:
    terms = ""
    for j in others:
        size = abs(coefficients[j])
        factor = "" if abs(size - 1.0) < 0.02 else f"{size:.2f} x "
        sign = "-" if coefficients[j] < 0 else "+"
        joint = f" {sign} " if terms else ("-" if coefficients[j] < 0 else "")
        terms += f"{joint}{factor}{names[j]}"
    return f"{names[drop]} = {terms}"


def _units(space: FeatureSpace | None, involved: Sequence[int]) -> str:
    if space is None:
        return "in standardised units, up to a constant"
    transforms = {space.transforms[j] for j in involved}
    if transforms <= {"log", "log1p"}:
        return "in logs, up to a constant"
    return "up to a constant" if transforms == {"none"} else "after the transforms, up to a constant"


def _transform_columns(
    names: Sequence[str], transforms: Sequence[str], resolutions: Sequence[float], X: Array
) -> Array:
    if X.ndim != 2 or X.shape[1] != len(names):
        raise ValueError(f"expected (n, {len(names)}) values, got {X.shape}")
    columns = [apply_transform(X[:, j], transforms[j], resolutions[j]) for j in range(len(names))]
    T = np.column_stack(columns)
    if not np.isfinite(T).all():
        j = int(np.argmax(~np.isfinite(T).all(axis=0)))
        i = int(np.argmax(~np.isfinite(T[:, j])))
        raise ModelError(
            f"feature {names[j]}: value {X[i, j]:g} cannot be transformed with {transforms[j]}; "
            f"give the feature a valid range that excludes it (valid: {{min: ..., max: ...}})"
        )
    return T


def apply_transform(x: Array, transform: str, resolution: float) -> Array:
    """One feature from original to transformed units; not finite where the transform is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if transform == "none":
            return x
        if transform == "log":
            return np.log(x)
        if transform == "log1p":
            return np.log(1.0 + x)  # not numpy.log1p: the SQL that scores customers has no such function
        if transform == "logit":
            inside = np.clip(x, resolution / 2, 1.0 - resolution / 2)
            return np.log(inside / (1.0 - inside))
    raise ValueError(f"unknown transform {transform!r}")


def _step_width(x: Array, t: Array, transform: str, resolution: float) -> float:
    """Width of one resolution step, in transformed units, where it matters: at the densest value or, if wider, at one
    that many customers share. A log spreads the small counts out, and there a component could sit on a single value
    although customers crowd elsewhere (one order in three months: 6 % of grocery customers, the densest is at 11)."""
    steps, customers = np.unique(np.round(x / resolution), return_counts=True)
    shared = steps[customers >= SHARED_VALUE * len(x)] * resolution
    low, high = step_edges(np.append(shared, _densest_value(x, t)), transform, resolution)
    return float(np.max(apply_transform(high, transform, resolution) - apply_transform(low, transform, resolution)))


def _densest_value(x: Array, t: Array) -> float:
    """The value, in original units, around which most customers lie once transformed."""
    counts, edges = np.histogram(t, bins=30)
    fullest = int(np.argmax(counts))
    inside = (t >= edges[fullest]) & (t <= edges[fullest + 1])
    return float(np.median(x[inside]))


def variance_inflation(correlation: Array) -> Array:
    """(d,) 1 / (1 - R^2) of each feature on the others, from their correlations (d, d); 1 = independent of them."""
    eigenvalues, vectors = np.linalg.eigh(correlation)
    return np.asarray(np.sum(vectors**2 / np.maximum(eigenvalues, np.finfo(float).tiny), axis=1))


def correlations(Z: Array) -> Array:
    """(d, d) of the columns of Z (n, d); 0 for one that is constant."""
    deviation = Z - Z.mean(axis=0)
    sd = np.sqrt(np.mean(deviation**2, axis=0))
    deviation /= np.where(sd > 0, sd, 1.0)
    return np.asarray(deviation.T @ deviation / len(Z))


def skewness(x: Array) -> float:
    """Of (n,) values; 0 = symmetric, above 0 a long tail to the right, and 0 where all are the same."""
    from scipy.stats import skew

    constant = x.var() <= _CONSTANT_SD**2 * max(float(x.mean()) ** 2, 1.0)
    return 0.0 if constant else float(skew(x))


LARGE_ATOM = 0.4
"""Share of customers with one and the same value from which a feature is a rule there rather than a measurement."""


def atom_advice(diagnostics: Sequence[FeatureDiagnostics], *, has_rule: bool = False) -> str:
    """Which features are mostly one value, in a sentence or two; empty where none is. has_rule : whether one value is a
    hurdle segment already, of which there is one at most, and the diagnostics are of the others."""
    shared = [row for row in diagnostics if row.largest_atom_share > LARGE_ATOM]
    atoms = [
        f"{percent(row.largest_atom_share)} of the customers have {row.feature} = {figure(row.largest_atom, 6)}"
        for row in shared
    ]
    if not shared:
        return ""
    largest = max(shared, key=lambda row: row.largest_atom_share)
    said = (
        f"{'; '.join(atoms)}: a value that so many share is a rule of its own rather than a measurement, and segments "
        "will form around it."
    )
    if has_rule:
        return f"Of the customers beside the rule of model.hurdle, {said}"
    return (
        f"{said} As a segment of its own: `model: {{hurdle: {{feature: "
        f"{largest.feature}, value: {largest.largest_atom:.15g}}}}}`."
    )
