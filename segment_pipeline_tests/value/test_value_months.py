"""Customer value over real months of a shop with a memory: what is said, from what, when, and what comes of it."""

import io
import shutil
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest
from rich.console import Console

from segment_pipeline.config.config import load_config, parse_config
from segment_pipeline.database.store import prepare
from segment_pipeline.months import add_months, as_of
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.people import TABLES_OF_PEOPLE
from segment_pipeline.publishing.summary import print_summary, summarise
from segment_pipeline.sources.tables import FOLDED_MONTHS
from segment_pipeline.value.buyers import fit_purchases, fit_spend
from segment_pipeline.value.tables import TABLES as VALUE_TABLES
from segment_pipeline.value.value_store import money_of, quality_of, write_value
from segment_pipeline.words import figure, percent
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

MARCH, JUNE, JULY = date(2023, 3, 1), date(2023, 6, 1), date(2023, 7, 1)
MORE = "warnings: {horizon_days: 30, monthly_budget: 40}\n"
RISKS = "churn_risk"


@pytest.fixture(scope="module")
def shop(commands, tmp_path_factory) -> Shop:
    """March to July; some of the lines are returns."""
    shop = Shop(tmp_path_factory.mktemp("valued")).configure(last_month="2023-07", memory=True, more=MORE)
    lines = order_lines(customers=600, months=8, seed=4)
    random = np.random.default_rng(4)
    lines["amount"] = [-amount if random.random() < 0.03 else amount for amount in lines["amount"]]
    write_parquet(lines, shop.orders_path)
    assert commands.run(shop, "--quiet").code == 0
    return shop


@pytest.fixture
def copy(shop: Shop, tmp_path: Path) -> Shop:
    return Shop(shutil.copytree(shop.folder, tmp_path / "copy"))


def content(shop: Shop) -> dict[str, list[tuple]]:
    return {table.name: query(shop.warehouse, f"SELECT * FROM {table.name} ORDER BY ALL") for table in VALUE_TABLES}


def written_again(shop: Shop, month: date) -> int:
    config = load_config(shop.config_path)
    with duckdb.connect(str(shop.warehouse)) as connection:
        return write_value(connection, config, month, RISKS)


def test_what_bg_nbd_says_in_sql_is_what_it_says_in_numpy(shop: Shop):
    rows = query(
        shop.warehouse,
        f"""
        WITH days AS (
            SELECT customer, CAST(ordered_at AS DATE) AS day,
                CAST(sum(CAST(amount AS DECIMAL(18, 4))) AS DOUBLE) AS spend
            FROM '{shop.orders_path}' WHERE ordered_at < '{as_of(JULY)}' GROUP BY ALL
        ),
        pasts AS (
            SELECT customer, count(*) FILTER (spend > 0) - 1 AS repeats, sum(spend) AS net,
                date_diff('day', min(day) FILTER (spend > 0), max(day) FILTER (spend > 0)) / 7 AS recency,
                date_diff('day', min(day) FILTER (spend > 0), DATE '{as_of(JULY)}') / 7 AS age,
                sum(greatest(spend, 0)) AS spent
            FROM days GROUP BY customer HAVING repeats >= 0
        )
        SELECT repeats, recency, age, spent, net, f.bg_nbd_3, f.bg_nbd_12 FROM pasts
        LEFT JOIN spend_forecasts AS f ON f.month = '{JULY}' AND f.customer_id = customer ORDER BY customer
        """,
    )
    repeats, recency, age, spent, net, three, twelve = np.array(rows, dtype=np.float64).T
    purchases, worth = fit_purchases(repeats, recency, age), fit_spend(repeats + 1, spent / (repeats + 1))
    there = np.isfinite(three)
    assert 0 < there.sum() < len(there)  # who has lapsed is learned from, and not forecast
    each = worth.expected(repeats + 1, spent / (repeats + 1)) * net.sum() / spent.sum()
    for months, found in ((3, three), (12, twelve)):
        weeks = (add_months(as_of(JULY), months) - as_of(JULY)).days / 7
        alive = 1 + purchases.lost_odds(repeats, recency, age)
        expected = purchases.if_alive(repeats, age, weeks) / alive * each
        # the fit ends a little elsewhere where the sums of its inputs differ in the last bits
        np.testing.assert_allclose(found[there], expected[there], rtol=2e-5)


def test_the_own_window_is_what_was_spent_in_it_and_the_blend_lies_between_at_the_others_level(shop: Shop):
    rows = query(
        shop.warehouse,
        f"""
        SELECT f.own_window_3, f.own_window_12, greatest(r.total_spend, 0), f.bg_nbd_3, f.blend_3
        FROM spend_forecasts AS f JOIN raw_customers AS r USING (month, customer_id) WHERE month = '{JULY}'
        """,
    )
    own, own_year, spend, bought, blend = np.array(rows).T
    np.testing.assert_allclose(own, spend, atol=1e-9)
    np.testing.assert_allclose(own_year, 4 * spend, atol=1e-9)
    assert blend.sum() == pytest.approx(bought.sum(), rel=1e-6)
    np.testing.assert_allclose(blend, (bought + own * bought.sum() / own.sum()) / 2, rtol=1e-6, atol=1e-3)


def test_what_came_is_what_the_lines_say_and_is_known_when_it_is_over(shop: Shop):
    months = query(shop.warehouse, "SELECT DISTINCT month, horizon_months, observed_in FROM observed_spend ORDER BY 1")
    assert months == [(MARCH, 3, JUNE), (add_months(MARCH, 1), 3, JULY)]
    wrong = query(
        shop.warehouse,
        f"""
        SELECT s.customer_id, s.spend, o.spend FROM observed_spend AS s
        LEFT JOIN (
            SELECT customer, sum(amount) AS spend FROM '{shop.orders_path}'
            WHERE ordered_at >= '2023-04-01' AND ordered_at < '2023-07-01' GROUP BY customer
        ) AS o ON o.customer = s.customer_id
        WHERE s.month = '{MARCH}' AND abs(s.spend - coalesce(o.spend, 0)) > 1e-6
        """,
    )
    assert wrong == []


def test_before_anything_is_judged_the_own_window_serves_without_an_interval(shop: Shop):
    told = "SELECT method, method_12, count(*), count(expected_spend_3_low), count(expected_spend_12_high)"
    for month, customers in query(
        shop.warehouse, "SELECT month, count(*) FROM monthly_assignments GROUP BY 1 ORDER BY 1"
    ):
        ((method, longer, rows, known, known_12),) = query(
            shop.published, f"{told} FROM customer_value WHERE month = '{month}' GROUP BY ALL"
        )
        # forecasts of a year are not judged in five months: they go the way of those of a quarter, and say no interval
        assert (rows, known_12, longer) == (customers, 0, method)
        assert known == (rows if month >= JUNE else 0)
        if month < JUNE:
            assert method == "own_window"


def test_the_method_that_came_nearest_serves_and_its_interval_holds_what_is_expected(shop: Shop):
    with duckdb.connect(str(shop.warehouse), read_only=True) as connection:
        quality = {row["method"]: row for row in quality_of(connection, JULY)}
        errors = dict(
            connection.execute(
                "SELECT 'bg_nbd', avg(abs(f.bg_nbd_3 - s.spend)) FROM spend_forecasts AS f "
                "JOIN observed_spend AS s USING (month, customer_id) UNION ALL "
                "SELECT 'own_window', avg(abs(f.own_window_3 - s.spend)) FROM spend_forecasts AS f "
                "JOIN observed_spend AS s USING (month, customer_id)"
            ).fetchall()
        )
    for method, error in errors.items():
        assert quality[method]["mean_absolute_error"] == pytest.approx(error, rel=1e-6)
    compared = [row for row in quality.values() if row["months"] == 2]
    nearest = min(compared, key=lambda row: row["mean_absolute_error"])["method"]
    assert query(shop.published, f"SELECT DISTINCT method FROM customer_value WHERE month = '{JULY}'") == [(nearest,)]
    outside = (
        f"SELECT 1 FROM customer_value WHERE month = '{JULY}' "
        "AND NOT expected_spend_3 BETWEEN expected_spend_3_low AND expected_spend_3_high"
    )
    assert query(shop.published, outside) == []


def test_revenue_at_risk_is_the_churn_risk_of_a_year_and_segments_are_their_customers(shop: Shop):
    wrong = query(
        shop.published,
        """
        SELECT v.* FROM customer_value AS v LEFT JOIN churn_risk AS r USING (month, customer_id)
        WHERE v.revenue_at_risk IS DISTINCT FROM r.churn_risk * v.expected_spend_12
        """,
    )
    assert wrong == []
    assert query(shop.published, f"SELECT count(revenue_at_risk) > 0 FROM customer_value WHERE month = '{JULY}'") == [
        (True,)
    ]
    ((month_revenue, share, expected, at_risk),) = query(
        shop.published,
        "SELECT sum(month_revenue), sum(month_revenue_share), sum(expected_spend_12), sum(revenue_at_risk) "
        f"FROM segment_value WHERE month = '{JULY}'",
    )
    ((spent,),) = query(
        shop.published,
        f"SELECT sum(amount) FROM '{shop.orders_path}' JOIN monthly_assignments ON customer_id = customer "
        f"WHERE month = '{JULY}' AND ordered_at >= '{JULY}' AND ordered_at < '{as_of(JULY)}'",
    )
    assert (month_revenue, share) == (pytest.approx(spent), pytest.approx(1.0))
    with duckdb.connect(str(shop.published), read_only=True) as connection:
        money = money_of(connection, JULY)
    assert money is not None
    assert (money["expected_spend_12"], money["revenue_at_risk"]) == (pytest.approx(expected), pytest.approx(at_risk))


def test_what_was_served_is_judged_by_segment_and_adds_up_to_what_is_said_of_all(shop: Shop):
    found = query(
        shop.published,
        "SELECT segment_id, customers, mean_expected, mean_spend, mean_absolute_error, bias, observed_in "
        f"FROM segment_value_quality WHERE month = '{MARCH}' ORDER BY segment_id",
    )
    lines = query(
        shop.published,
        f"""
        SELECT a.segment_id, count(*), avg(v.expected_spend_3), avg(coalesce(o.spend, 0)),
            avg(abs(v.expected_spend_3 - coalesce(o.spend, 0))), sum(v.expected_spend_3) / sum(o.spend) - 1
        FROM customer_value AS v JOIN monthly_assignments AS a USING (month, customer_id)
        LEFT JOIN (
            SELECT customer, sum(amount) AS spend FROM '{shop.orders_path}'
            WHERE ordered_at >= '2023-04-01' AND ordered_at < '2023-07-01' GROUP BY customer
        ) AS o ON o.customer = a.customer_id
        WHERE month = '{MARCH}' GROUP BY a.segment_id ORDER BY a.segment_id
        """,
    )
    assert len(found) == len(lines) > 1
    for row, expected in zip(found, lines, strict=True):
        assert row[-1] == JUNE
        assert row[:2] == expected[:2]
        assert row[2:-1] == pytest.approx(expected[2:], rel=1e-6)
    ((customers, bias),) = query(
        shop.published, f"SELECT customers, bias FROM customer_value_quality WHERE month = '{MARCH}' AND is_served"
    )
    assert sum(row[1] for row in found) == customers
    expected, came = (sum(row[1] * row[column] for row in found) for column in (2, 3))
    assert expected / came - 1 == pytest.approx(bias, rel=1e-6)


def test_after_a_run_the_money_is_told_and_of_a_file_of_before_there_was_any_nothing_is(copy: Shop):
    copy.published.chmod(0o644)
    with duckdb.connect(str(copy.published)) as connection:
        summary = summarise("shop", copy.published, connection)
        assert summary.money is not None
        assert sum(row["revenue_at_risk"] for row in summary.money_of_segments) == pytest.approx(
            summary.money["revenue_at_risk"]
        )
        console = Console(record=True, width=400, file=io.StringIO())
        print_summary(summary, console)
        assert f" {summary.money['revenue_at_risk']:,.0f} of that is at risk, " in console.export_text(clear=False)
        ((name, share, each),) = connection.execute(
            "SELECT name, revenue_share, total_spend / customers FROM current_profiles ORDER BY share DESC LIMIT 1"
        ).fetchall()
        told = next(line for line in console.export_text(clear=False).splitlines() if name in line)
        assert told.rstrip().endswith(figure(each, 3))
        assert f" {percent(share, 1)} " in told
        for table in ("customer_value", "segment_value"):
            connection.execute(f"DROP TABLE {table}")
        assert summarise("shop", copy.published, connection).money is None


def test_a_month_that_is_made_again_and_an_older_warehouse_come_to_the_same_bits(copy: Shop):
    before = content(copy)
    written_again(copy, JULY)
    assert content(copy) == before
    # as a version without customer value has left it
    with duckdb.connect(str(copy.warehouse)) as connection:
        for table in VALUE_TABLES:
            connection.execute(f"DROP TABLE {table.name}")
        prepare(connection, TABLES, load_config(copy.config_path).raw_feature_names)
    written_again(copy, JULY)
    assert content(copy) == before


def test_nothing_after_a_month_has_a_part_in_what_is_said_of_it(copy: Shop):
    before = [rows for rows in content(copy)["customer_value"] if rows[0] <= JUNE]
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM '{copy.orders_path}' WHERE ordered_at < '{as_of(JUNE)}') TO '{copy.orders_path}.cut' "
            "(FORMAT parquet)"
        )
    Path(f"{copy.orders_path}.cut").replace(copy.orders_path)
    with duckdb.connect(str(copy.warehouse)) as connection:
        for table in VALUE_TABLES:
            connection.execute(f"DELETE FROM {table.name}")
    written_again(copy, JUNE)
    assert content(copy)["customer_value"] == before


def test_a_shop_whose_orders_are_worth_nothing_has_no_value(copy: Shop):
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * REPLACE (0.0 AS amount) FROM '{copy.orders_path}') TO '{copy.orders_path}.free' "
            "(FORMAT parquet)"
        )
    Path(f"{copy.orders_path}.free").replace(copy.orders_path)
    with duckdb.connect(str(copy.warehouse)) as connection:
        for table in (*VALUE_TABLES, FOLDED_MONTHS):  # the lines have changed, and are folded anew
            connection.execute(f"DELETE FROM {table.name}")
    assert written_again(copy, JULY) == 0
    with duckdb.connect(str(copy.warehouse)) as connection:
        assert money_of(connection, JULY) is None


def test_a_shop_without_order_lines_has_no_value():
    config = parse_config(
        "name: s\nfirst_month: 2023-03\nsource: {snapshots: {path: 's.csv', customer_id: id}}\n"
        "features: [{name: visits}, {name: spend}]\n",
        Path("segmentation.yaml"),
    )
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        assert write_value(connection, config, MARCH, RISKS) == 0
        assert money_of(connection, MARCH) is None


def test_whoever_is_forgotten_or_merged_is_so_in_these_tables():
    assert {"customer_value", "spend_forecasts", "observed_spend"} <= {table.name for table in TABLES_OF_PEOPLE}
