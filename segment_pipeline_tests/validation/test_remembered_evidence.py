"""A champion with memory is judged by the memberships that are published, and learns silence from them."""

import shutil
from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.alternatives.alternatives_store import find_alternatives
from segment_pipeline.config.config import load_config
from segment_pipeline.database.rows import feature_matrix
from segment_pipeline.segments.memory_store import expected_memberships, has_seen
from segment_pipeline.validation.figures import METRICS, METRICS_OF_MEMORY
from segment_pipeline.validation.validation_store import read_evidence
from segment_pipeline_tests.segments.test_remembered_months import give_memory
from segment_pipeline_tests.shop import Shop, query

APRIL, MAY = date(2023, 4, 1), date(2023, 5, 1)
ROWS = "SELECT * FROM {} ORDER BY ALL"
JUDGED = ["monthly_assignments", "transition_deltas", "churn_risk", "model_validation"]


@pytest.fixture(scope="module")
def remembered(three_months, tmp_path_factory, materialize):
    """The shop, whose champion has had a memory from April on, with what is judged in May. Read it only."""
    shop = Shop(shutil.copytree(three_months.folder, tmp_path_factory.mktemp("remembered") / "shop"))
    shop.configure(last_month="2023-05", more="warnings: {horizon_days: 30}")
    model = give_memory(shop)
    for month in ("2023-04", "2023-05"):
        assert materialize(shop, month, selection=JUDGED).success
    return shop, model


def test_the_memberships_that_are_judged_are_those_that_are_published(remembered):
    shop, model = remembered
    published = np.array(
        [
            row[0]
            for row in query(
                shop.warehouse,
                "SELECT probabilities FROM monthly_assignments WHERE month = '2023-05-01' ORDER BY customer_id",
            )
        ]
    )
    config = load_config(shop.config_path)
    with duckdb.connect(str(shop.warehouse)) as connection:
        _, X = feature_matrix(connection, "validated_features", MAY, model.space.names, 10**6)
        prior = expected_memberships(connection, model, MAY, 10**6)
        evidence = read_evidence(connection, config, MAY)
        found = find_alternatives(connection, config, MAY)
    np.testing.assert_allclose(model.responsibilities(X, prior=prior), published, atol=1e-9)
    np.testing.assert_allclose(evidence.memberships, published, atol=1e-9)
    assert np.abs(model.responsibilities(X) - published).max() > 0.01
    labels = found.comparison.of("champion").labels
    assert np.array_equal(labels, published.argmax(axis=1))


def test_a_sample_is_expected_to_do_what_its_customers_are(remembered):
    shop, model = remembered
    with duckdb.connect(str(shop.warehouse)) as connection:
        ids, _ = feature_matrix(connection, "validated_features", MAY, model.space.names, 10**6)
        few, _ = feature_matrix(connection, "validated_features", MAY, model.space.names, 100)
        everybody, some = (expected_memberships(connection, model, MAY, sample) for sample in (10**6, 100))
    assert 50 < len(few) < 200
    assert np.array_equal(some, everybody[np.isin(ids, few)])


def test_the_forecast_is_judged_as_it_was_published(remembered):
    shop, _ = remembered
    found = query(
        shop.warehouse,
        """
        SELECT list_append(b.next_probabilities, b.next_lapse_probability), n.probabilities
        FROM monthly_assignments AS b
        LEFT JOIN monthly_assignments AS n ON n.customer_id = b.customer_id AND n.month = '2023-05-01'
        WHERE b.month = '2023-04-01' AND b.customer_id NOT IN (
            SELECT customer_id FROM rejected_customers WHERE month = '2023-05-01'
        ) ORDER BY b.customer_id
        """,
    )
    expected = np.array([row[0] for row in found])
    k = expected.shape[1] - 1
    came = np.array([[0.0] * k + [1.0] if row[1] is None else [*row[1], 0.0] for row in found])
    tenth = np.minimum((expected * 10).astype(int), 9).ravel()
    gaps = np.bincount(tenth, expected.ravel()) - np.bincount(tenth, came.ravel())
    ((error,),) = query(
        shop.warehouse,
        "SELECT value FROM model_validation WHERE month = '2023-05-01' AND metric = 'next_calibration_error'",
    )
    assert error == pytest.approx(np.abs(gaps).sum() / came.size, abs=1e-9)


def test_only_a_champion_that_expected_something_is_judged_by_it(remembered):
    shop, _ = remembered
    for month, metrics in (("2023-03-01", {*METRICS}), ("2023-05-01", {*METRICS, *METRICS_OF_MEMORY})):
        found = query(shop.warehouse, f"SELECT DISTINCT metric FROM model_validation WHERE month = '{month}'")
        assert {metric for (metric,) in found} == metrics


def test_silence_is_learned_from_the_months_that_the_champion_remembers(remembered, materialize):
    shop, model = remembered
    assert query(shop.warehouse, "SELECT months, refused FROM churn_risk_models WHERE month = '2023-05-01'") == [
        ([date(2023, 3, 1), APRIL], None)
    ]
    with duckdb.connect(str(shop.warehouse)) as connection:
        assert [has_seen(connection, model, date(2023, m, 1)) for m in (2, 3, 4, 5)] == [False, True, True, True]
    tables = ("churn_risk", "churn_risk_models", "churn_risk_quality", "model_validation")
    before = [query(shop.warehouse, ROWS.format(table)) for table in tables]
    assert materialize(shop, "2023-05", selection=JUDGED).success
    assert [query(shop.warehouse, ROWS.format(table)) for table in tables] == before
