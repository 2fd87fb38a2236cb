"""`segment-pipeline features`, on made-up shops whose truth is known."""

import json
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaml

from segment_pipeline.cli.features import advise, read_candidates
from segment_pipeline.cli.main import main
from segment_pipeline.config.config import load_config
from segment_pipeline_tests.shop import Shop, order_lines, write_parquet


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("shop")).configure()
    write_parquet(order_lines(), shop.orders_path)
    return shop


def test_every_candidate_is_judged_and_the_lines_to_paste_are_features(shop: Shop, capsys: pytest.CaptureFixture[str]):
    before = {file.name for file in shop.folder.iterdir()}
    assert main(["features", "--config", str(shop.config_path), "--month", "2023-06"]) == 0
    said = capsys.readouterr().out
    assert {file.name for file in shop.folder.iterdir()} == before
    for name in ("days_since_last_order", "orders", "total_spend", "distinct_products", "tenure_days"):
        assert name in said
    assert "tenure_days is not: it rose alike for everybody since one window before" in said
    pasted = yaml.safe_load("\n".join(line for line in said.splitlines() if line.startswith("  - {")))
    text = yaml.safe_load(shop.config_path.read_text())
    text["features"] = pasted
    again = shop.folder / "again.yaml"
    again.write_text(json.dumps(text))
    assert load_config(again).feature_names == tuple(one["name"] for one in pasted)
    assert 2 <= len(pasted) <= 6


def test_a_feature_of_ones_own_is_pasted_as_it_is_computed(shop: Shop, capsys: pytest.CaptureFixture[str]):
    text = yaml.safe_load(shop.config_path.read_text())
    own = {"name": "big_share", "of_lines": "count(*) FILTER (WHERE amount > 10) / count(*)", "unit": "share"}
    text["features"] = [*text["features"][:2], own]
    file = shop.folder / "own.yaml"
    file.write_text(json.dumps(text))
    assert main(["features", "--config", str(file), "--month", "2023-06"]) == 0
    said = capsys.readouterr().out
    pasted = yaml.safe_load("\n".join(line for line in said.splitlines() if line.startswith("  - {")))
    (found,) = (one for one in pasted if one["name"] == "big_share")
    assert (found["of_lines"], found["unit"]) == (own["of_lines"], own["unit"])


def test_what_is_said_of_each_is_what_the_shop_was_made_with(shop: Shop):
    """Habits are rates of orders: these last and separate. Who has been there the whole time says nothing."""
    config = load_config(shop.config_path)
    with duckdb.connect() as connection:
        customers = read_candidates(connection, config, date(2023, 6, 1))
    advice = {one.name: one for one in advise(customers, 0)}
    assert set(advice) >= {"orders", "total_spend", "tenure_days", "days_between_orders"}
    orders = advice["orders"].worth
    assert orders is not None
    assert orders.persists is not None
    assert orders.separates is not None
    assert orders.persists > 0.7
    assert orders.separates > 0.5
    assert not advice["tenure_days"].chosen
    assert not advice["total_spend"].chosen or advice["total_spend"].worth.known_from_others < 0.95


def test_without_an_earlier_window_what_lasts_is_not_said(shop: Shop, capsys: pytest.CaptureFixture[str]):
    assert main(["features", "--config", str(shop.config_path), "--month", "2023-03"]) == 0
    said = capsys.readouterr().out
    assert "What lasts and what adds cannot be said" in said


def snapshots(folder: Path, months: int) -> Path:
    random = np.random.default_rng(3)
    n = 600
    habit = random.lognormal(2.0, 1.0, n)
    for month in range(1, months + 1):
        rows = ["id,visits,spend,noise,city"]
        rows += [
            f"c{i},{random.poisson(habit[i])},{habit[i] * random.lognormal(2, 0.3):.2f},{random.normal():.3f},Rome"
            for i in range(n)
        ]
        (folder / f"customers_2024-{month:02d}.csv").write_text("\n".join(rows))
    file = folder / "segmentation.yaml"
    file.write_text(
        "name: snapshots\nfirst_month: 2024-01\nlast_month: 2024-04\n"
        "source: {snapshots: {path: 'customers_{month}.csv', customer_id: id}}\n"
        "features:\n  - {name: visits, transform: log1p, resolution: 1, valid: {min: 0}}\n"
        "  - {name: spend, transform: log1p, valid: {min: 0}}\n"
    )
    return file


def test_columns_of_numbers_that_no_feature_has_are_candidates_and_noise_does_not_last(tmp_path: Path):
    config = load_config(snapshots(tmp_path, 4))
    with duckdb.connect() as connection:
        customers = read_candidates(connection, config, date(2024, 4, 1))
    advice = {one.name: one for one in advise(customers, 0)}
    assert set(advice) == {"visits", "spend", "noise"}
    lasts = {name: one.worth.persists for name, one in advice.items() if one.worth is not None}
    assert lasts["visits"] > 0.6
    assert abs(lasts["noise"]) < 0.15
    assert not advice["noise"].chosen
    assert advice["noise"].words.startswith("it does not last: its correlation with the same customers one window")
    assert [name for name, one in advice.items() if one.chosen] == ["visits", "spend"]


def test_what_feeds_and_categories_can_say_is_looked_at_with_lines_to_paste(
    shop: Shop, capsys: pytest.CaptureFixture[str]
):
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            COPY (
                -- every third customer comes every day, and only these
                SELECT DISTINCT customer AS who, CAST(ordered_at AS DATE) + INTERVAL (day) DAY AS at
                FROM '{shop.orders_path}', range(8) AS days (day)
                WHERE day = 0 OR right(customer, 1) IN ('0', '3', '6')
            ) TO '{shop.folder / "clicks.parquet"}'
            """
        )
    text = yaml.safe_load(shop.config_path.read_text())
    text["source"]["orders"]["category"] = "CASE product % 9 WHEN 0 THEN 'Fruit & veg' ELSE 'k' || product % 9 END"
    text["source"]["events"] = [{"feed": "clicks", "path": "clicks.parquet", "customer_id": "who", "occurred_at": "at"}]
    text["features"].append({"name": "k1_share", "spend_share": "k1", "use": "portrait"})
    text["features"].append({"name": "visits", "of_events": {"feed": "clicks", "value": "count"}, "use": "portrait"})
    file = shop.folder / "wide.yaml"
    file.write_text(json.dumps(text))
    config = load_config(file)
    with duckdb.connect() as connection:
        customers = read_candidates(connection, config, date(2023, 6, 1))
    added = {one.name: one for one in customers.features if one not in config.features and one.is_own}
    assert {"days_since_clicks", "active_days_of_clicks"} <= set(added)
    assert "clicks" not in added  # the user's own visits are it
    ratios = {one.spend_ratio for one in added.values()} - {None}
    assert len(ratios) == 5
    assert main(["features", "--config", str(file), "--month", "2023-06"]) == 0
    said = capsys.readouterr().out
    pasted = yaml.safe_load("\n".join(line for line in said.splitlines() if line.startswith("  - {")))
    assert {one["of_events"]["value"] for one in pasted if "of_events" in one} >= {"days_since_last", "active_days"}
    shares = {one.get("spend_share", one.get("spend_ratio")) for one in pasted} - {None}
    assert shares >= ratios - {"k1"}
    taken = {one["name"] for one in pasted}
    text["features"] = [*pasted, *(one for one in text["features"] if one["name"] not in taken)]
    file.write_text(json.dumps(text))
    assert main(["check", "--config", str(file)]) == 0


def test_where_no_month_is_asked_for_it_is_the_last_one_with_order_lines(
    shop: Shop, capsys: pytest.CaptureFixture[str]
):
    assert main(["features", "--config", str(shop.config_path)]) == 0
    assert "2023-06" in capsys.readouterr().out
    text = yaml.safe_load(shop.config_path.read_text())
    file = shop.folder / "later.yaml"
    file.write_text(json.dumps({**text, "last_month": "2023-09"}))
    assert main(["features", "--config", str(file)]) == 1
    assert "has no order line in 2023-09" in capsys.readouterr().err


def test_a_month_that_the_source_does_not_show_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]):
    assert main(["features", "--config", str(shop.config_path), "--month", "2022-06"]) == 1
    assert "has no order line in 2022-06: its lines go from 2023-01-01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("customer_id: customer", "customer_id: custommer", "source.orders.customer_id is 'custommer'"),
        ("path: orders.parquet", "path: elsewhere.parquet", "elsewhere.parquet"),
        ("amount: amount", "amount: ordered_at", "expected a number"),
    ],
)
def test_check_opens_the_source(shop: Shop, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str):
    file = shop.folder / "wrong.yaml"
    text = shop.config_path.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert main(["check", "--config", str(file)]) == 2
    assert said in capsys.readouterr().err
    assert main(["check", "--config", str(shop.config_path)]) == 0


def test_check_opens_the_latest_snapshot_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = snapshots(tmp_path, 2)
    assert main(["check", "--config", str(file)]) == 0
    (tmp_path / "customers_2024-03.csv").write_text("id,visits\nc1,3\n")
    assert main(["check", "--config", str(file)]) == 2
    assert "column spend is missing" in capsys.readouterr().err
    for month in (1, 2, 3):
        (tmp_path / f"customers_2024-{month:02d}.csv").unlink()
    assert main(["check", "--config", str(file)]) == 2
    assert "customers_2024-01.csv" in capsys.readouterr().err
