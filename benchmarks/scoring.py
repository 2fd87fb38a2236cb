"""Membership probabilities of 1 million customers, table to table: generated SQL against scikit-learn and pandas."""

import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import duckdb
import numpy as np

from segment_pipeline.config.model import TierSettings
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.estimator import GaussianMixtureEM
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.models.scoring import assignment_sql

CUSTOMERS, FEATURES, COMPONENTS, REPEATS = 1_000_000, 6, 6, 5
NAMES = tuple(f"feature_{j}" for j in range(FEATURES))


def a_model() -> SegmentModel:
    random = np.random.default_rng(1)
    roots = random.normal(size=(COMPONENTS, FEATURES, FEATURES)) * 0.4
    space = FeatureSpace(
        NAMES,
        ("log1p",) * FEATURES,
        (0.01,) * FEATURES,
        np.full(FEATURES, 2.0),
        np.ones(FEATURES),
        np.full(FEATURES, 0.01),
    )
    mixture = Mixture(
        np.full(COMPONENTS, 1 / COMPONENTS),
        random.normal(size=(COMPONENTS, FEATURES)),
        roots @ np.swapaxes(roots, 1, 2) + np.eye(FEATURES) * 0.3,
    )
    segments = tuple(Segment(k + 1, f"segment {k + 1}", None) for k in range(COMPONENTS))
    return SegmentModel(1, date(2023, 1, 1), space, mixture, segments, atypical_below=-20.0)


def by_sql(connection: duckdb.DuckDBPyConnection, model: SegmentModel) -> float:
    start = time.perf_counter()
    connection.execute(f"CREATE OR REPLACE TABLE assigned AS {assignment_sql(model, 'customers', TierSettings())}")
    return time.perf_counter() - start


def by_sklearn(connection: duckdb.DuckDBPyConnection, model: SegmentModel) -> float:
    estimator = GaussianMixtureEM.from_mixture(model.mixture).to_sklearn()
    start = time.perf_counter()
    frame = connection.execute("SELECT * FROM customers").df()
    Z = (np.log1p(frame[list(NAMES)].to_numpy()) - model.space.center) / model.space.scale
    scored = frame[["customer_id"]].copy()
    probabilities = estimator.predict_proba(Z)
    scored["segment_id"] = probabilities.argmax(axis=1) + 1
    scored["probabilities"] = list(probabilities)
    connection.execute("CREATE OR REPLACE TABLE assigned_by_sklearn AS SELECT * FROM scored")
    return time.perf_counter() - start


def main() -> None:
    model = a_model()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "score.duckdb")) as connection:
        columns = ", ".join(f"exp(2 + 3 * random()) AS {name}" for name in NAMES)
        connection.execute(
            f"CREATE TABLE customers AS SELECT CAST(range AS VARCHAR) AS customer_id, {columns} FROM range({CUSTOMERS})"
        )
        pairs = [(by_sql(connection, model), by_sklearn(connection, model)) for _ in range(REPEATS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"generated SQL, all columns of monthly_assignments  {ours:.2f} s (median of {REPEATS})")
    print(f"scikit-learn through pandas, probabilities only    {theirs:.2f} s")
    print(f"ratio, pair by pair                                {statistics.median(a / b for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
