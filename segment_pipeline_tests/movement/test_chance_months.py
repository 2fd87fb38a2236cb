"""Movement beside chance in the real assets, on customers of whom it is known who changes."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.warning_rules import WARNING_RULES
from segment_pipeline.movement.chance import Count
from segment_pipeline.movement.chance_store import FEATURE_GONE, NO_ORDER_LINES
from segment_pipeline_tests.shop import Shop, query, write_parquet

ASSETS = [
    "raw_customers",
    "validated_features",
    "scaled_matrix",
    "candidate_models",
    "selected_model",
    "monthly_assignments",
    "transition_deltas",
    "customer_actions",
    "churn_risk",
    "early_warnings",
    "movement_reference",
]
MONTHS = ("2023-03", "2023-04", "2023-05", "2023-06")
BEGIN = datetime(2022, 10, 1)
CHANGE = datetime(2023, 5, 1)
HABITS = ((5.0, 9.0), (2.0, 30.0))
"""Orders a month, amount of an order: often and little, seldom and much. They overlap, so chance moves customers."""
NO_REFIT = "refit: {max_age_months: 1200}"


def lines_of(changing: float, customers: int = 900, seed: int = 3) -> dict[str, list[object]]:
    """Customers who order at a steady rate, each a little otherwise; a share of them takes the other habit in May.

    How many orders a stretch of days has is Poisson, so that days in random order are as likely as they were.
    """
    random = np.random.default_rng(seed)
    lines: dict[str, list[object]] = {"customer": [], "order_id": [], "ordered_at": [], "amount": [], "product": []}
    for number in range(customers):
        own = np.exp(random.normal(0, (0.35, 0.3)))
        changes = random.random() < changing
        for part, (start, days) in enumerate(((BEGIN, (CHANGE - BEGIN).days), (CHANGE, 61))):
            rate, amount = own * HABITS[(number + (part if changes else 0)) % 2]
            for order in range(random.poisson(rate * days / 30)):
                lines["customer"].append(f"c{number:05d}")
                lines["order_id"].append(f"{number}-{part}-{order}")
                lines["ordered_at"].append(start + timedelta(minutes=int(random.integers(0, days * 24 * 60))))
                lines["amount"].append(round(float(random.gamma(4, amount / 4)), 2))
                lines["product"].append(int(random.integers(0, 50)))
    return lines


FEATURES = """\
features:
  - {name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {min: 0}, meaning: How recently.}
  - {name: orders, unit: orders, transform: log1p, resolution: 1, valid: {min: 1}, meaning: How often.}
  - {name: average_order_value, unit: EUR, transform: log1p, resolution: 0.01, valid: {min: 0}, meaning: How much.}
"""


def run(shop: Shop, materialize, months=MONTHS) -> Shop:
    for month in months:
        materialize(shop, month, selection=ASSETS)
    return shop


def shop_of(folder: Path, changing: float, *, memory: bool) -> Shop:
    shop = Shop(folder).configure(memory=memory, more=NO_REFIT)
    text = shop.config_path.read_text()
    begin, end = text.index("features:"), text.index("model:")
    shop.config_path.write_text(text[:begin] + FEATURES + text[end:])
    write_parquet(lines_of(changing), shop.orders_path)
    return shop


@pytest.fixture(scope="module", params=[False, True], ids=["without memory", "with memory"])
def memory(request) -> bool:
    return request.param


@pytest.fixture(scope="module")
def steady(materialize, tmp_path_factory, memory) -> Shop:
    """Nobody ever changes."""
    return run(shop_of(tmp_path_factory.mktemp("steady"), 0.0, memory=memory), materialize)


@pytest.fixture(scope="module")
def changing(materialize, tmp_path_factory, memory) -> Shop:
    """A third of the customers takes the other habit in May."""
    return run(shop_of(tmp_path_factory.mktemp("changing"), 0.33, memory=memory), materialize)


def copied(shop: Shop, folder: Path) -> Shop:
    for name in ("segmentation.yaml", "orders.parquet", "warehouse.duckdb"):
        shutil.copyfile(shop.folder / name, folder / name)
    return Shop(folder)


def reference(shop: Shop, measure: str) -> list[dict[str, object]]:
    with duckdb.connect(str(shop.warehouse), read_only=True) as connection:
        cursor = connection.execute(
            "SELECT * FROM movement_reference WHERE measure = ? ORDER BY month, warning, from_state, to_state",
            [measure],
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def pooled(rows: list[dict[str, object]]) -> tuple[float, float, float]:
    """Customers who did it, those expected by chance, and the SD of their difference."""
    seen = sum(row["observed_customers"] for row in rows)
    expected = sum(row["expected_by_chance"] * row["customers"] for row in rows)
    variance = sum(((row["chance_high"] - row["chance_low"]) * row["customers"] / 2 / 1.2816) ** 2 for row in rows)
    return seen, expected, variance**0.5


@pytest.mark.months
def test_what_customers_do_who_never_change_is_what_chance_makes(steady):
    moved = reference(steady, "moved")
    assert len(moved) == len(MONTHS) - 1
    assert [row["beside_chance"] for row in moved].count("within") >= 2
    for rows in (moved, reference(steady, "came_back"), reference(steady, "warning"), reference(steady, "base_shift")):
        seen, expected, sd = pooled(rows)
        assert abs(seen - expected) < 2.5 * sd
    # of two segments both rows of one say the same: six of twelve tell something
    all_moves = reference(steady, "transition")
    lapses = [row for row in all_moves if row["to_state"] == "lapsed"]
    transitions = [row["beside_chance"] for row in all_moves if row["to_state"] != "lapsed"]
    assert transitions.count("within") >= 0.5 * len(transitions)
    seen, expected, sd = pooled(lapses)
    assert abs(seen - expected) < 3 * sd


@pytest.mark.months
def test_customers_who_really_move_are_more_than_chance_makes(changing):
    april, *since = reference(changing, "moved")
    seen, expected, sd = pooled([april])
    assert abs(seen - expected) < 2.5 * sd
    seen, expected, sd = pooled(since)
    assert seen > expected + 4 * sd
    assert since[-1]["beside_chance"] == "above"
    assert since[-1]["observed"] > since[-1]["chance_high"] + 0.03


@pytest.mark.months
def test_the_figures_are_those_of_the_tables_that_they_stand_beside(changing):
    moved = query(
        changing.warehouse,
        "SELECT month, count(*) FILTER (from_segment_id <> to_segment_id), count(*), any_value(model_version) "
        "FROM transition_deltas WHERE from_segment_id IS NOT NULL AND to_segment_id IS NOT NULL GROUP BY 1 ORDER BY 1",
    )
    found = [
        (row["month"], row["observed_customers"], row["customers"], row["model_version"])
        for row in reference(changing, "moved")
    ]
    assert found == moved
    shares = query(
        changing.warehouse,
        "SELECT month, from_state, to_state, customers, share FROM transition_matrix WHERE customers > 0 "
        "AND try_cast(from_state AS INTEGER) > 0 AND (try_cast(to_state AS INTEGER) > 0 OR to_state = 'lapsed') "
        "ORDER BY ALL",
    )
    assert shares == [
        (row["month"], row["from_state"], row["to_state"], row["observed_customers"], row["observed"])
        for row in reference(changing, "transition")
        if row["observed_customers"]
    ]
    named = dict(
        query(
            changing.warehouse,
            "SELECT (month, warning), count(DISTINCT customer_id) FROM early_warnings WHERE status <> 'resolved' "
            "GROUP BY ALL",
        )
    )
    warnings = reference(changing, "warning")
    assert len(warnings) == len(WARNING_RULES) * (len(MONTHS) - 1)
    assert {(row["month"], row["warning"]): row["observed_customers"] for row in warnings} == {
        (row["month"], row["warning"]): named.get((row["month"], row["warning"]), 0) for row in warnings
    }


@pytest.mark.months
def test_who_came_back_is_counted_over_two_moves(steady):
    places = query(
        steady.warehouse,
        "SELECT month, customer_id, from_segment_id, to_segment_id FROM transition_deltas WHERE from_segment_id > 0",
    )
    now = {(month.month, customer): (before, after) for month, customer, before, after in places}
    expected = []
    for month in (5, 6):
        again = [
            (then[0], now[month, customer][1])
            for (other, customer), then in now.items()
            if other == month - 1 and None not in then and then[0] != then[1] and now[month, customer][1] is not None
        ]
        expected.append(Count(sum(old == new for old, new in again), len(again)))
    found = reference(steady, "came_back")
    assert [Count(row["observed_customers"], row["customers"]) for row in found] == expected


@pytest.mark.months
def test_the_first_month_has_nothing_to_compare(steady):
    assert query(steady.warehouse, "SELECT count(*) FROM movement_reference WHERE month = '2023-03-01'") == [(0,)]


@pytest.mark.months
def test_a_month_run_again_gives_the_same_bits_and_leaves_nothing_behind(steady, materialize, tmp_path):
    again = copied(steady, tmp_path)
    again.config_path.write_text(again.config_path.read_text() + "operation: {threads: 1}\n")
    materialize(again, "2023-05", selection=["movement_reference"])
    everything = "SELECT * FROM movement_reference ORDER BY ALL"
    assert query(again.warehouse, everything) == query(steady.warehouse, everything)
    tables = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE table_name <> 'pipeline_runs' ORDER BY ALL"
    assert query(again.warehouse, tables) == query(steady.warehouse, tables)


@pytest.mark.months
def test_a_sample_of_the_customers_says_so(changing, materialize, monkeypatch, tmp_path):
    from segment_pipeline.movement import chance_store

    fewer = copied(changing, tmp_path)
    (full,) = (row for row in reference(changing, "moved") if row["month"].month == 6)
    assert 4000 < full["sample"] <= chance_store.COPIES  # several copies of 900 customers
    monkeypatch.setattr(chance_store, "COPIES", 300)
    materialize(fewer, "2023-06", selection=["movement_reference"])
    (sampled,) = (row for row in reference(fewer, "moved") if row["month"].month == 6)
    assert 230 < sampled["sample"] < 350
    assert sampled["chance_high"] - sampled["chance_low"] > full["chance_high"] - full["chance_low"]
    monkeypatch.setattr(chance_store, "LINES", 2000)  # of the 300, some 6,000 lines
    materialize(fewer, "2023-06", selection=["movement_reference"])
    (thinned,) = (row for row in reference(fewer, "moved") if row["month"].month == 6)
    assert 40 < thinned["sample"] < 200


@pytest.mark.months
def test_of_ready_made_rows_chance_is_not_known_and_the_reason_is_said(steady, materialize, tmp_path):
    for month in MONTHS[:2]:
        with duckdb.connect(str(steady.warehouse), read_only=True) as connection:
            connection.execute(
                f"COPY (SELECT customer_id, days_since_last_order, orders, average_order_value FROM raw_customers "
                f"WHERE month = '{month}-01') TO '{tmp_path / f'{month}.csv'}'"
            )
    shop = Shop(tmp_path)
    text = steady.config_path.read_text()
    source = 'source:\n  snapshots: {path: "{month}.csv", customer_id: customer_id}\n'
    shop.config_path.write_text(text[: text.index("source:")] + source + text[text.index("features:") :])
    run(shop, materialize, MONTHS[:2])
    rows = query(
        shop.warehouse,
        "SELECT DISTINCT reason, expected_by_chance, chance_low, chance_high, beside_chance, sample "
        "FROM movement_reference",
    )
    assert rows == [(NO_ORDER_LINES, None, None, None, None, None)]
    (moved,) = reference(shop, "moved")
    assert moved["observed"] == moved["observed_customers"] / moved["customers"]


@pytest.mark.months
def test_where_a_feature_of_the_champion_is_gone_that_is_the_reason(steady, materialize, tmp_path):
    shop = copied(steady, tmp_path)
    with duckdb.connect(str(shop.warehouse)) as connection:
        connection.execute("UPDATE validated_features SET average_order_value = NULL WHERE month = '2023-05-01'")
    materialize(shop, "2023-05", selection=["transition_deltas", "movement_reference"])
    rows = query(
        shop.warehouse, "SELECT DISTINCT reason, model_version FROM movement_reference WHERE month = '2023-05-01'"
    )
    assert rows == [(FEATURE_GONE, None)]
    told = "SELECT DISTINCT measure FROM movement_reference WHERE month = '2023-05-01'"
    assert query(shop.warehouse, told) == [("warning",)]  # that two models differ is no movement
