"""What a customer's whole history says, by hand: all orders before the month's end, none after it, and no window."""

from datetime import date, datetime
from math import log

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.database.rows import feature_matrix
from segment_pipeline.database.store import prepare
from segment_pipeline.early_warnings.churn import HISTORY
from segment_pipeline.early_warnings.histories_store import histories_tell, write_histories
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.shop import Shop, write_parquet

MARCH, APRIL = date(2023, 3, 1), date(2023, 4, 1)
ORDERS = [
    # two receipts of one day are one order; the first is long before the window of three months
    ("often", datetime(2022, 1, 1, 9), 10.0),
    ("often", datetime(2022, 1, 1, 18), 20.0),
    ("often", datetime(2022, 1, 11), 50.0),
    ("often", datetime(2023, 3, 2), 0.0),
    ("often", datetime(2023, 4, 1), 999.0),  # after March
    ("once", datetime(2023, 3, 31, 23, 59), 7.0),
]


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path).configure()
    customer, ordered_at, amount = (list(column) for column in zip(*ORDERS, strict=True))
    rest = {"order_id": list(range(len(ORDERS))), "product": [1] * len(ORDERS)}
    write_parquet({"customer": customer, "ordered_at": ordered_at, "amount": amount, **rest}, made.orders_path)
    return made


@pytest.fixture
def warehouse(shop):
    config = load_config(shop.config_path)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        accept(connection, MARCH, "often", "once")
        yield connection, config


def accept(connection, month, *customers):
    for customer in customers:
        connection.execute("INSERT INTO validated_features (month, customer_id) VALUES (?, ?)", [month, customer])


def histories(connection, config, month):
    """(n, h) those of the month's customers by id; None where nothing tells them."""
    if not histories_tell(connection, config, month):
        return None
    return feature_matrix(connection, "order_histories", month, HISTORY, 100)[1]


def test_the_figures_are_those_of_all_orders_before_the_end_of_the_month(warehouse):
    found = histories(*warehouse, MARCH)
    often, once = (dict(zip(HISTORY, row, strict=True)) for row in found)
    silences, gaps = np.array([30.0, 445.0, 455.0]), np.log([10.0, 415.0])
    for days in (30, 60, 90):
        assert often[f"lately_{days}"] == pytest.approx((0.5 ** (silences / days)).sum(), abs=1e-8)
    assert often["days_since_last_order"] == 30
    assert often["log_gap"] == pytest.approx(gaps.mean(), abs=1e-8)
    assert often["gap_spread"] == pytest.approx(gaps.std(), abs=1e-8)
    assert often["log_spend"] == pytest.approx((log(31) + log(51) + log(1)) / 3, abs=1e-8)
    assert (once["days_since_last_order"], once["log_spend"]) == (1, pytest.approx(log(8)))
    assert np.isnan([once["log_gap"], once["gap_spread"]]).all()


def test_a_month_that_lacks_them_or_has_those_of_other_customers_gets_its_own(warehouse):
    connection, config = warehouse
    write_histories(connection, config, MARCH)
    connection.execute("DELETE FROM validated_features WHERE customer_id = 'often'")
    assert histories(connection, config, MARCH).shape == (1, len(HISTORY))
    accept(connection, MARCH, "often")
    assert histories(connection, config, MARCH).shape == (2, len(HISTORY))


def test_of_customers_whose_lines_the_source_has_lost_nothing_is_told(warehouse):
    connection, config = warehouse
    accept(connection, MARCH, "gone")
    assert histories(connection, config, MARCH) is None
    accept(connection, APRIL, "often", "once")
    assert histories(connection, config, APRIL)[0, 0] == 30


def test_what_has_been_noted_stays_when_the_source_forgets(warehouse, shop):
    connection, config = warehouse
    noted = histories(connection, config, MARCH)
    write_parquet(
        {"customer": ["new"], "ordered_at": [datetime(2023, 4, 2)], "amount": [1.0], "order_id": [1], "product": [1]},
        shop.orders_path,
    )
    np.testing.assert_array_equal(histories(connection, config, MARCH), noted)


def test_ready_made_customers_have_no_history(warehouse, tmp_path):
    connection, _ = warehouse
    path = tmp_path / "ready.yaml"
    path.write_text(
        "name: ready\nfirst_month: 2023-03\nsource:\n  snapshots: {path: 'c_{month}.csv', customer_id: id}\n"
        "features:\n  - {name: visits, valid: {min: 0}}\n  - {name: spend, valid: {min: 0}}\n"
    )
    assert histories(connection, load_config(path), MARCH) is None
