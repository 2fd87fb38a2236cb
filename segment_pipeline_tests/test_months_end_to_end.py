"""Months through the real assets: what a run leaves behind, and that it leaves it again."""

from segment_pipeline_tests.shop import query


def test_three_months_are_published(three_months):
    rows = query(
        three_months.published,
        "SELECT month, count(*), count(DISTINCT segment_id) FROM monthly_assignments GROUP BY 1 ORDER BY 1",
    )
    assert [f"{row[0]:%Y-%m}" for row in rows] == ["2023-03", "2023-04", "2023-05"]
    assert all(row[1] > 500 and row[2] >= 2 for row in rows)


def test_one_month_through_materialize(shop, materialize):
    result = materialize(shop, "2023-03")
    assert result.success
