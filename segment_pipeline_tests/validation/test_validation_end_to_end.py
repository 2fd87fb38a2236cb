"""The validation of real months: every metric in every month, its checks in Dagster, and no look ahead."""

import shutil
from datetime import date, datetime

import duckdb
import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.validation.figures import METRICS
from segment_pipeline.validation.prediction import Outcome
from segment_pipeline.validation.validation import validate
from segment_pipeline.validation.validation_store import read_evidence, write_validation
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

# With a horizon of a month the second month knows who kept silent after the first.
MORE = "warnings: {horizon_days: 30}"
ROWS = "SELECT * FROM model_validation ORDER BY ALL"


@pytest.fixture(scope="module")
def lines() -> dict[str, list[object]]:
    return order_lines(customers=750, months=5, seed=3)


@pytest.fixture(scope="module")
def validated(tmp_path_factory, lines, materialize):
    """Two months of the shop, and Dagster's results of the second."""
    return two_months(tmp_path_factory.mktemp("validated"), lines, materialize)


def two_months(folder, lines, materialize):
    shop = Shop(folder).configure(last_month="2023-04", more=MORE)
    write_parquet(lines, shop.orders_path)
    assert materialize(shop, "2023-03", selection="*model_validation").success
    return shop, materialize(shop, "2023-04", selection="*model_validation")


def test_every_month_has_every_metric_and_the_second_knows_them_all(validated) -> None:
    shop, _ = validated
    for month in ("2023-03-01", "2023-04-01"):
        found = query(shop.warehouse, f"SELECT DISTINCT metric FROM model_validation WHERE month = '{month}'")
        assert {metric for (metric,) in found} == set(METRICS)
    absent = "SELECT month, metric, sentence FROM model_validation WHERE value IS NULL ORDER BY ALL"
    first = {metric: sentence for month, metric, sentence in query(shop.warehouse, absent) if month.month == 3}
    assert [row for row in query(shop.warehouse, absent) if row[0] > date(2023, 3, 1)] == []
    not_over = "Not computed: 30 days after the end of 2023-03 were not over when this month closed."
    assert first["silence_auc"] == not_over
    for name in ("spend_r2", "calibration_error"):
        assert first[name].startswith("Not computed: this is the first month")
    itself = "Not computed: the champion is itself the fresh fit to this month's customers."
    assert first["stability_over_time"] == itself


def test_a_verdict_stands_where_there_is_a_limit_and_a_value_and_nowhere_else(validated) -> None:
    shop, _ = validated
    assert query(
        shop.warehouse,
        "SELECT count(*) FROM model_validation WHERE (passed IS NULL) <> (threshold IS NULL OR value IS NULL)",
    ) == [(0,)]
    assert query(shop.warehouse, "SELECT count(*) FROM model_validation WHERE NOT value BETWEEN low AND high") == [(0,)]


def test_a_likelihood_means_the_same_here_as_among_the_candidates(validated) -> None:
    """In the first month the champion is the chosen candidate."""
    shop, _ = validated
    for metric in ("heldout_log_likelihood", "train_log_likelihood"):
        (found,) = query(
            shop.warehouse,
            f"SELECT v.value, c.{metric} FROM model_validation AS v JOIN candidate_models AS c USING (month) "
            f"WHERE v.month = '2023-03-01' AND v.metric = '{metric}' AND c.selected",
        )
        assert found[0] == pytest.approx(found[1], abs=0.05)


def test_what_customers_spent_afterwards_is_that_of_the_source(validated) -> None:
    """Who spent more in April had another membership in March: the figure rests on the customers of March."""
    shop, _ = validated
    (sentence,) = query(
        shop.warehouse, "SELECT sentence FROM model_validation WHERE metric = 'spend_r2' AND subject = 'memberships'"
    )[0]
    (customers,) = query(shop.warehouse, "SELECT count(*) FROM monthly_assignments WHERE month = '2023-03-01'")[0]
    assert f"what {customers:,} customers spent in the month after 2023-03" in sentence
    explained = dict(query(shop.warehouse, "SELECT subject, value FROM model_validation WHERE metric = 'spend_r2'"))
    assert explained["memberships"] > 0.2  # habits persist: regulars go on spending


def test_the_ratio_of_hybrids_is_that_of_their_spend(validated) -> None:
    shop, _ = validated
    for subject, others in (("", "tier <> 'hybrid'"), ("dominant", "tier = 'dominant'")):
        (expected,) = query(
            shop.warehouse,
            f"""
            SELECT avg(total_spend) FILTER (tier = 'hybrid') / avg(total_spend) FILTER ({others})
            FROM monthly_assignments JOIN raw_customers USING (month, customer_id) WHERE month = '2023-04-01'
            """,
        )[0]
        found = query(
            shop.warehouse,
            "SELECT value FROM model_validation WHERE metric = 'hybrid_spend_ratio' AND month = '2023-04-01' "
            f"AND subject = '{subject}'",
        )
        assert found[0][0] == pytest.approx(expected)


def test_the_checks_stand_in_dagster_and_only_warn(validated) -> None:
    _, result = validated
    found = {
        check.check_name: check
        for check in result.get_asset_check_evaluations()
        if check.asset_key.to_user_string() == "model_validation"
    }
    assert set(found) == {
        "heldout_gap_is_small",
        "stable_over_time",
        "segments_are_separate",
        "predicts_what_follows",
        "next_month_comes_as_expected",
        "probabilities_are_calibrated",
    }
    assert all(check.severity.value == "WARN" for check in found.values())
    gap = found["heldout_gap_is_small"].metadata
    assert gap["limit/heldout_gap"].value == 0.1
    assert {"observed/heldout_gap", "observed/problems", "observed/not_computed"} <= set(gap)
    predicted = {name.removeprefix("observed/") for name in found["predicts_what_follows"].metadata}
    assert {"silence_auc_memberships", "silence_auc_k-means", "spend_r2_gain_recency"} <= predicted
    (event,) = result.asset_materializations_for_node("model_validation")
    assert event.metadata["customers_measured"].value > 500
    assert 0 < event.metadata["silence_auc"].value <= 1
    assert len(event.metadata["figures"].records) == event.metadata["dagster/partition_row_count"].value


def test_no_figure_sees_past_the_end_of_its_month(validated, lines, tmp_path, materialize) -> None:
    """The same months from a file that ends with April."""
    known = [at < datetime(2023, 5, 1) for at in lines["ordered_at"]]
    truncated = {
        name: [value for value, kept in zip(values, known, strict=True) if kept] for name, values in lines.items()
    }
    assert len(truncated["customer"]) < len(lines["customer"])
    shop, _ = two_months(tmp_path, truncated, materialize)
    assert query(shop.warehouse, ROWS) == query(validated[0].warehouse, ROWS)


def test_of_a_sample_every_figure_says_so(validated, tmp_path) -> None:
    shop, month = validated[0], date(2023, 4, 1)
    config = load_config(shop.config_path)
    few = config.model_copy(update={"validation": config.validation.model_copy(update={"sample": 500})})
    with duckdb.connect(shutil.copy(shop.warehouse, tmp_path)) as connection:
        evidence = read_evidence(connection, few, month)
        figures = validate(evidence, few)
        write_validation(connection, evidence, figures)
        sentences = connection.execute("SELECT sentence FROM model_validation WHERE month = ?", [month]).fetchall()
    assert 400 < len(evidence.X) < 600
    for part in (evidence.silence, evidence.spend):
        assert isinstance(part, Outcome)
        assert 400 < len(part.happened) < 600
    total = len(query(shop.warehouse, "SELECT 1 FROM monthly_assignments WHERE month = '2023-04-01'"))
    note = f"Measured on a sample of about {len(evidence.X):,} of {total:,} customers."
    assert len(sentences) == len(figures)
    # of so few customers too few are hybrid, and what was not computed was measured on nobody
    without = [sentence for (sentence,) in sentences if not sentence.endswith(note)]
    assert all(sentence.startswith("Not computed: ") and "hybrid customers" in sentence for sentence in without)
    assert len(without) <= 2
