"""Customers of four habits with what is planted among them: important ones, bots, errors; and labels, some wrong."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from segment_pipeline.arrays import Array, Flags, Texts
from segment_pipeline.config.config import Config
from segment_pipeline.config.model import TierSettings
from segment_pipeline.customers.space_store import write_feature_space, write_scaled_matrix
from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.assignments_store import write_assignments

MONTH = date(2023, 4, 1)
# of log1p; habits overlap as they do in life
MEANS = np.array([[1.0, 3.0, 3.5, 2.0], [2.5, 1.8, 3.0, 1.5], [4.0, 0.9, 2.6, 1.0], [2.0, 1.5, 4.3, 2.6]])
SPREAD = 0.45
LABEL_OF_HABIT = ("Gold", "Silver", "Lapsed", "Silver")
LABELS = ("Gold", "Lapsed", "Silver")
CONFIG = """\
name: audit
first_month: 2023-04
source: {snapshots: {path: customers.csv, customer_id: id}}
features:
  - {name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: orders, unit: orders, transform: log1p, resolution: 1, valid: {min: 1}}
  - {name: average_order_value, unit: EUR, transform: log1p, valid: {min: 0}}
  - {name: products_per_order, unit: products, transform: log1p, valid: {min: 0}}
audit: {path: theirs.csv, customer_id: who, segment: grade}
"""


@dataclass(frozen=True, eq=False)
class Planted:
    """(n, 4) features in original units; (n,) labels; (n,) whether the label is wrong. The planted customers come
    first: important ones, then bots, then errors, as many as asked for."""

    ids: list[str]
    X: Array
    labels: Texts
    shuffled: Flags


def planted_customers(n: int, *, important: int = 0, bots: int = 0, errors: int = 0, seed: int = 1) -> Planted:
    """Important: often, much, recently, a little different from one another. Bots: 900 orders of 1.00, all the same.
    Errors: one feature multiplied by 400 to 8,000. 5 % of the labels are shuffled."""
    random = np.random.default_rng(seed)
    habit = random.integers(0, len(MEANS), n)
    T = MEANS[habit] + SPREAD * random.normal(size=(n, 4))
    T[:important] = [0.2, 5.2, 6.0, 3.5] + 0.1 * random.normal(size=(important, 4))
    T[important : important + bots] = np.log1p([1, 900, 1, 1])
    wild = np.arange(important + bots, important + bots + errors)
    T[wild, random.integers(0, 4, errors)] += random.uniform(6, 9, errors)
    X = np.maximum(0.0, np.expm1(T))
    X[:, :2] = np.maximum([0, 1], np.round(X[:, :2]))
    labels = np.array(LABEL_OF_HABIT)[habit]
    shuffled = random.random(n) < 0.05
    wrong = (np.searchsorted(LABELS, labels) + random.integers(1, 3, n)) % 3
    labels[shuffled] = np.array(LABELS)[wrong[shuffled]]
    return Planted([f"c{number:08d}" for number in range(n)], X, labels, shuffled)


def fill(connection: duckdb.DuckDBPyConnection, config: Config, drawn: Planted) -> SegmentModel:
    """The month of these customers up to their assignments, under the champion of the true habits."""
    prepare(connection, TABLES, config.feature_names)
    features = dict(zip(config.feature_names, drawn.X.T, strict=True))
    connection.register("drawn", pa.table({"customer_id": drawn.ids, **features}))
    for table in ("validated_features", "raw_customers"):
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT DATE '{MONTH}' AS month, * FROM drawn ORDER BY customer_id"
        )
    connection.unregister("drawn")
    space = FeatureSpace.fit(config.model_features, drawn.X)
    write_feature_space(connection, MONTH, space, [], [])
    write_scaled_matrix(connection, MONTH, space)
    mixture = Mixture(
        np.full(len(MEANS), 1 / len(MEANS)),
        (MEANS - space.center) / space.scale,
        np.array([np.diag((SPREAD / space.scale) ** 2)] * len(MEANS)),
    )
    segments = tuple(Segment(k + 1, f"habit {k + 1}", None) for k in range(len(MEANS)))
    model = SegmentModel(1, MONTH, space, mixture, segments, atypical_below=-7.0)
    write_assignments(connection, model, MONTH, TierSettings())
    return model
