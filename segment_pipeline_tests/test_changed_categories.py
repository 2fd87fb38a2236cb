"""Categories and feeds that come, go and change their names in the middle of a history: no month stops, and what is
told of a month is of what its file says."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from segment_pipeline.errors import ConfigError
from segment_pipeline.months import month_key
from segment_pipeline_tests.conftest import made_once
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

BUILT_IN = [
    {"name": "days_since_last_order", "transform": "log1p", "resolution": 1, "valid": {"min": 0}},
    {"name": "orders", "transform": "log1p", "resolution": 1, "valid": {"min": 1}},
    {"name": "average_order_value", "transform": "log1p", "resolution": 0.01, "valid": {"min": 0}},
]
PRODUCTS = {"products": {"path": "products.csv", "product_id": "sku", "category": "department"}}


def feed(name: str) -> dict[str, Any]:
    return {"events": [{"feed": name, "path": "visits.parquet", "customer_id": "visitor", "occurred_at": "at"}]}


def of_feed(name: str, feed: str, value: str, **more: object) -> dict[str, object]:
    return {
        **{"name": name, "of_events": {"feed": feed, "value": value}, "missing": 0, "transform": "log1p"},
        **{"resolution": 1, "valid": {"min": 0}},
        **more,
    }


# month -> what the source has beside the orders, and the features that come after the built-in ones, from then on
HISTORY: dict[str, tuple[Mapping[str, Any], list[dict[str, Any]]]] = {
    "2023-03": (
        PRODUCTS | feed("site"),
        [{"name": "food_ratio", "spend_ratio": "food"}, of_feed("visits", "site", "count")],
    ),
    "2023-04": ({}, []),  # both gone, with their files' sections
    "2023-05": (  # back, under other names
        PRODUCTS | feed("app"),
        [{"name": "ratio_of_food", "spend_ratio": "food"}, of_feed("app_visits", "app", "count")],
    ),
    "2023-06": (  # another category, and a portrait of what was in the model
        PRODUCTS | feed("app"),
        [
            {"name": "toys_ratio", "spend_ratio": "toys"},
            {"name": "ratio_of_food", "spend_ratio": "food", "use": "portrait"},
            of_feed("pages", "app", "sum(pages)"),
        ],
    ),
    "2023-07": ({}, [{"name": "products_per_order", "transform": "log1p", "resolution": 0.01, "use": "portrait"}]),
}


def configure(shop: Shop, source: Mapping[str, Any], features: list[dict[str, Any]]) -> None:
    orders = {
        **{"path": "orders.parquet", "customer_id": "customer", "order_id": "order_id", "ordered_at": "ordered_at"},
        **{"amount": "amount", "product_id": "product"},
    }
    content = {
        **{"name": "shop", "first_month": "2023-03", "last_month": "2023-12"},
        "source": {"window_months": 3, "orders": orders, **source},
        "features": [*BUILT_IN, *features],
        "model": {"n_components": [2, 4], "seed": 7, "memory": False},
    }
    shop.config_path.write_text(json.dumps(content, indent=1), encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, materialize: Callable[..., Any]) -> Shop:
    """The whole history, run through the real assets, month by month. Read it only."""

    def run(folder: Path) -> None:
        made = Shop(folder)
        write_parquet(order_lines(customers=620, months=7), made.orders_path)
        with duckdb.connect() as connection:
            connection.execute(f"""
                COPY (SELECT range AS sku, ['food', 'toys', 'tools'][1 + range % 3] AS department FROM range(500))
                TO '{folder / "products.csv"}'
            """)
            connection.execute(f"""
                COPY (
                    SELECT customer AS visitor, ordered_at - to_seconds(60 + product) AS at, 1 + product % 7 AS pages
                    FROM '{made.orders_path}' WHERE product % 2 = 0
                ) TO '{folder / "visits.parquet"}' (FORMAT parquet)
            """)
        for month in HISTORY:
            configure(made, *HISTORY[month])
            assert materialize(made, month).success, month

    return Shop(made_once(tmp_path_factory, "changed_categories", run))


CHANGED = [
    "without food_ratio and visits",
    "with ratio_of_food and app_visits",
    "without app_visits, ratio_of_food only as a portrait, with toys_ratio and pages",
    "without toys_ratio and pages",
]


def test_every_month_is_published_and_its_refit_says_what_has_changed(shop):
    months = query(shop.published, "SELECT DISTINCT month FROM monthly_assignments ORDER BY 1")
    assert [month_key(month) for (month,) in months] == list(HISTORY)
    reasons = query(shop.published, "SELECT reason FROM model_versions ORDER BY model_version")
    changed = [f"feature_schema_changed 1 (limit 0): {one}" for one in CHANGED]
    assert [reason for (reason,) in reasons] == ["bootstrap", *changed]


def test_a_month_is_told_by_the_categories_and_feeds_that_its_file_has(shop):
    own = {feature["name"] for _, features in HISTORY.values() for feature in features} - {"products_per_order"}
    told = "SELECT DISTINCT strftime(month, '%Y-%m'), feature FROM segment_feature_profiles WHERE known_share > 0"
    told_of = query(shop.published, told)
    for month, (source, features) in HISTORY.items():
        of_month = {feature for when, feature in told_of if when == month}
        assert of_month & own == {feature["name"] for feature in features} & own, month
        assert ("categories" in of_month) == bool(source), month
    portrayed = query(shop.published, "SELECT DISTINCT strftime(month, '%Y-%m') FROM segment_categories ORDER BY 1")
    assert [month for (month,) in portrayed] == [month for month, (source, _) in HISTORY.items() if source]
    spoken_of = {"2023-04": ("visits", "food"), "2023-06": ("visits", "food"), "2023-07": ("pages", "toys", "visits")}
    for month, name in query(shop.published, "SELECT strftime(month, '%Y-%m'), name FROM segment_profiles"):
        assert not [word for word in spoken_of.get(month, ()) if word in name.lower()], (month, name)


def test_movement_is_measured_where_a_model_has_its_features_in_both_months(shop):
    measured = query(
        shop.published,
        "SELECT strftime(month, '%Y-%m'), max(model_version) FROM transition_deltas GROUP BY 1 ORDER BY 1",
    )
    # June's model needs what May has not, and May's what June has not
    assert measured == [("2023-04", 2), ("2023-05", 2), ("2023-06", None), ("2023-07", 5)]


def test_a_ratio_that_another_joins_is_refused_under_its_name(shop, tmp_path, materialize):
    """All ratios of a file are centred together: one more, though only a portrait, makes another number of each."""
    copy = Shop(tmp_path / "copy")
    shutil.copytree(shop.folder, copy.folder)
    food = {"name": "food_ratio", "spend_ratio": "food"}
    toys = {"name": "toys", "spend_ratio": "toys", "use": "portrait"}
    configure(copy, PRODUCTS, [food, toys])
    said = r"spend_ratio: found the ratio of food beside ratios of toys; in 2023-03 food_ratio was beside none"
    with pytest.raises(ConfigError, match=said):
        materialize(copy, "2023-07", selection="*validated_features")
    configure(copy, PRODUCTS, [food])
    assert materialize(copy, "2023-07", selection="*validated_features").success
