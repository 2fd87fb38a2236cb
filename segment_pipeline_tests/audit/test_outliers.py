"""Unusual customers as groups: planted important ones are kept, planted bots and errors are not."""

from xml.etree import ElementTree

import duckdb
import numpy as np
import pytest

from segment_pipeline.audit.outlier_chart import outlier_chart
from segment_pipeline.audit.outliers_store import outlier_points, write_outliers
from segment_pipeline.config.config import parse_config
from segment_pipeline_tests.planted_customers import CONFIG, MONTH, fill, planted_customers

IMPORTANT, BOTS, ERRORS = 40, 15, 40


@pytest.fixture(scope="module", params=[1, 2, 3])
def month(request):
    """A connection with a month of 6,000 customers, the planted ones among them, and its groups."""
    config = parse_config(CONFIG, "segmentation.yaml")
    drawn = planted_customers(6000, important=IMPORTANT, bots=BOTS, errors=ERRORS, seed=request.param)
    with duckdb.connect() as connection:
        fill(connection, config, drawn)
        yield connection, config, write_outliers(connection, config, MONTH)


def groups_of(month, first: int, count: int) -> dict[tuple[str, str], int]:
    """(kind, recommendation) -> how many of the customers c{first}, ... are in such a group."""
    rows = month[0].execute(
        """
        SELECT g.kind, g.recommendation, count(*)
        FROM outlier_customers JOIN outlier_groups AS g USING (month, group_id)
        WHERE CAST(customer_id[2:] AS INTEGER) BETWEEN ? AND ? GROUP BY ALL
        """,
        [first, first + count - 1],
    )
    return {row[:2]: row[2] for row in rows.fetchall()}


def test_important_customers_are_a_group_of_their_own_and_kept(month):
    assert groups_of(month, 0, IMPORTANT) == {("coherent", "keep"): IMPORTANT}
    (found,) = [found for found in month[2] if found.judgement.kind == "coherent"]
    assert found.group.customers <= 1.1 * IMPORTANT
    assert found.group.cohesion > 0.8
    assert "they may be the most valuable customers" in found.judgement.sentence


def test_bots_of_the_same_values_are_to_be_rejected(month):
    assert groups_of(month, IMPORTANT, BOTS) == {("repeated_values", "reject"): BOTS}


def test_scattered_errors_are_to_be_capped(month):
    found = groups_of(month, IMPORTANT + BOTS, ERRORS)
    assert sum(found.values()) >= 0.95 * ERRORS
    assert sum(count for (_, advice), count in found.items() if advice == "cap") >= 0.8 * ERRORS


def test_most_of_the_unusual_are_the_ordinary_tail_and_kept(month):
    rest = groups_of(month, IMPORTANT + BOTS + ERRORS, 6000)
    assert rest[("tail", "keep")] >= 0.9 * sum(rest.values())


def test_groups_customers_and_profiles_add_up(month):
    ((groups, rows),) = (
        month[0]
        .execute("SELECT (SELECT sum(customers) FROM outlier_groups), (SELECT count(*) FROM outlier_customers)")
        .fetchall()
    )
    assert groups == rows
    ((profiles,),) = month[0].execute("SELECT count(*) FROM outlier_group_profiles").fetchall()
    assert profiles == 4 * len(month[2])


def test_a_month_that_is_run_again_gives_the_same_rows(month):
    connection, config, _ = month
    tables = ("outlier_groups", "outlier_group_profiles", "outlier_customers")
    before = [connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables]
    write_outliers(connection, config, MONTH)
    assert [connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables] == before


def test_very_many_orders_of_next_to_no_value_are_a_bots_only_where_they_are_worth_little_together():
    """The first two place as many orders; together those of the second are worth more than what most spend."""
    config = parse_config(CONFIG, "segmentation.yaml")
    drawn = planted_customers(6000)
    usual = np.median(drawn.X[:, 1] * drawn.X[:, 2])
    drawn.X[0, :3], drawn.X[1, :3] = [1, 500, 0.5 * usual / 500], [1, 500, 2.0 * usual / 500]
    with duckdb.connect() as connection:
        fill(connection, config, drawn)
        groups = write_outliers(connection, config, MONTH)
        (poor,), (rich,) = (groups_of((connection,), one, 1) for one in (0, 1))
    assert poor == ("many_tiny_orders", "reject")
    assert rich[0] != "many_tiny_orders"
    (found,) = [found for found in groups if found.judgement.kind == "many_tiny_orders"]
    assert "spend less than most" in found.judgement.sentence


def test_values_that_everybody_repeats_are_no_bots():
    config = parse_config(CONFIG, "segmentation.yaml")
    drawn = planted_customers(6000, bots=BOTS)
    drawn.X[:] = drawn.X.round(-1) + 1  # so coarse that most customers have a twin
    with duckdb.connect() as connection:
        fill(connection, config, drawn)
        assert "repeated_values" not in {found.judgement.kind for found in write_outliers(connection, config, MONTH)}


def test_a_month_without_unusual_customers_has_no_groups_and_no_chart():
    config = parse_config(CONFIG + "quality: {outlier_sd: 50}\n", "segmentation.yaml")
    with duckdb.connect() as connection:
        fill(connection, config, planted_customers(1000))
        connection.execute("UPDATE monthly_assignments SET is_atypical = false")
        groups = write_outliers(connection, config, MONTH)
        assert groups == []
        assert outlier_points(connection, config, MONTH, groups) is None


def test_the_chart_is_a_small_sound_picture_with_a_shape_for_each_group(month):
    connection, config, groups = month
    points = outlier_points(connection, config, MONTH, groups)
    assert points is not None
    drawn = outlier_chart(points)
    assert len(drawn) < 100_000
    page = ElementTree.fromstring(drawn)
    texts = {text.text for text in page.iter() if text.tag.endswith("text")}
    assert {name for name, _ in points.groups} | set(points.axes) <= texts
    assert len({mark.get("stroke") for mark in page.iter() if mark.get("opacity") == "0.85"}) == len(points.groups)
