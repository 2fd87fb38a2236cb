"""Groups by rule, for any customers."""

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.customers.simplest import simplest_segments

values = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(float("nan")))


@given(st.lists(st.tuples(values, values), min_size=1, max_size=60))
def test_every_customer_with_numbers_is_in_one_group_and_the_sql_says_which(rows):
    columns = {"spend": np.array([a for a, _ in rows]), "o'clock visits": np.array([b for _, b in rows])}
    found = simplest_segments(columns, list(columns))
    if found is None:
        assert all(len(np.unique(one[np.isfinite(one)])) < 2 for one in columns.values())
        return
    known = np.all([np.isfinite(columns[cut.feature]) for cut in found.cuts], axis=0)
    assert ((found.labels >= 0) == known).all()
    assert sum(found.sizes) == known.sum()
    assert list(found.sizes) == sorted(found.sizes, reverse=True)
    assert len(set(found.names)) == len(found.names)
    with duckdb.connect() as connection:
        connection.execute('CREATE TABLE customers (place INTEGER, "spend" DOUBLE, "o\'clock visits" DOUBLE)')
        connection.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)",
            [[i, a, b] for i, (a, b) in enumerate(rows) if known[i]] or [[0, 0, 0]],
        )
        said = dict(connection.execute(f"SELECT place, {found.sql} FROM customers").fetchall())
    for i in np.flatnonzero(known):
        assert said[int(i)] == found.names[found.labels[i]]


def test_each_feature_is_cut_where_it_halves_the_customers():
    orders = np.repeat([1.0, 2.0, 3.0, 4.0], [50, 10, 30, 10])
    found = simplest_segments({"orders": orders}, ["orders"])
    assert found is not None
    assert found.cuts[0].value == 2.0
    assert found.sizes == (50, 50)
    assert set(found.names) == {"Infrequent", "Frequent"}


@pytest.mark.parametrize("same", [[3.0] * 5, [float("nan")] * 5])
def test_where_nothing_differs_there_are_no_groups(same):
    assert simplest_segments({"spend": np.array(same)}, ["spend"]) is None


def test_a_column_of_a_few_customers_loses_nobody_else():
    """A sheet with a month a column: most cells are blank, the total is not."""
    rng = np.random.default_rng(4)
    months = {f"Sep-{year}": np.where(rng.random(300) < 0.25, rng.lognormal(3, 1, 300), np.nan) for year in (24, 25)}
    columns = months | {"Grand Total": rng.lognormal(5, 1, 300)}
    found = simplest_segments(columns, [*months, "Grand Total"])
    assert found is not None
    assert [cut.feature for cut in found.cuts] == ["Grand Total"]
    assert sum(found.sizes) == 300
