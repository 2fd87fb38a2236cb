"""Forecasts in the real assets: said in one month, judged in the next, published, and the same when run again."""

import pytest

from segment_pipeline_tests.segments.test_remembered_months import give_memory
from segment_pipeline_tests.shop import published_content, query


def test_two_months_that_forecast(copy, materialize):
    model = give_memory(copy)
    results = [materialize(copy, month) for month in ("2023-04", "2023-05")]
    assert all(result.success for result in results)
    said = query(
        copy.published,
        "SELECT month, months_ahead, count(*), sum(share), min(served_by), max(served_by), max(past_forecasts) "
        "FROM segment_forecast GROUP BY ALL ORDER BY ALL",
    )
    assert [(row[0].month, row[1]) for row in said] == [(month, ahead) for month in (4, 5) for ahead in range(1, 7)]
    for _, _, states, total, served_by, same, _ in said:
        assert states == len(model.segments) + 1
        assert total == pytest.approx(1, abs=1e-9)
        assert served_by == same
    assert [row[-1] for row in said] == [1] * 6 + [2] + [1] * 5

    ((known,),) = query(copy.warehouse, "SELECT count(DISTINCT customer_id) FROM raw_customers")
    assert query(copy.published, "SELECT max(known_customers) FROM segment_forecast") == [(known,)]
    judged = query(
        copy.published,
        "SELECT f.share, q.forecast, q.actual, q.error, l.share_now FROM forecast_quality AS q "
        "JOIN segment_forecast AS f ON f.forecast_month = q.month AND f.month = q.made_in AND f.state = q.state "
        "JOIN segment_forecast AS l ON l.month = q.month AND l.months_ahead = 1 AND l.state = q.state",
    )
    assert len(judged) == len(model.segments) + 1
    assert sum(row[2] for row in judged) == pytest.approx(1, abs=1e-9)
    for share, forecast, actual, error, _ in judged:
        assert share == forecast
        assert error == abs(forecast - actual)
    # of newcomers the forecast knew nothing, so it is not judged on the shares of all
    assert any(row[2] != pytest.approx(row[4], abs=1e-6) for row in judged)
    ((coverage, months),) = query(copy.published, "SELECT coverage, months FROM forecast_quality WHERE month IS NULL")
    assert 0 <= coverage <= 1
    assert months == 1

    (told,) = results[1].asset_materializations_for_node("segment_forecast")
    shown = told.metadata["expected"].records
    assert {record.data["months_ahead"] for record in shown} == {1, 3}
    assert [record.data["months"] for record in told.metadata["quality"].records] == [1]

    before = published_content(copy.published)
    assert materialize(copy, "2023-05").success
    assert published_content(copy.published) == before


def test_without_memory_the_tables_are_empty_and_the_asset_says_why(three_months, copy, materialize):
    for table in ("segment_forecast", "forecast_outcomes", "forecast_quality"):
        assert query(three_months.published, f"SELECT count(*) FROM {table}") == [(0,)]
    result = materialize(copy, "2023-05", selection=["segment_forecast"])
    (told,) = result.asset_materializations_for_node("segment_forecast")
    assert "no memory" in told.metadata["not_forecast"].value
