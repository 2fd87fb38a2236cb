"""One declaration is all that a feature of orders needs: declared here, it is followed through every room."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.config import Config, load_config, parse_config
from segment_pipeline.config.order_features import CURRENCY, ORDER_FEATURES, OrderFeature, Words
from segment_pipeline.config.source import OrdersSource
from segment_pipeline.config.starter_file import starter_text
from segment_pipeline.database.store import prepare
from segment_pipeline.errors import ConfigError
from segment_pipeline.models.naming import name_segments
from segment_pipeline.publishing.catalogue import RESERVED_NAMES, TABLES
from segment_pipeline.publishing.score_sql import latest_scoring, score_sql
from segment_pipeline.quickstart.command import Request, explore
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline.words import deed
from segment_pipeline_tests.shop import FIRST_MONTH, Shop, order_lines, query
from tools.reference import configuration

WEEKEND_ORDERS = OrderFeature(
    name="weekend_orders",
    over="orders",
    sql="count(*) FILTER (isodow(ordered_at) >= 6)",
    unit="weekend orders",
    resolution=1.0,
    definition="orders of the window on a Saturday or Sunday",
    meaning="How many orders the customer placed at weekends.",
    words=Words(
        traits=("hardly at weekends", "seldom at weekends", "often at weekends", "mostly at weekends"),
        deed="ordered at {} weekends",
        deed_of_one="ordered at {} weekend",
    ),
)
EVENING_SPEND = OrderFeature(
    name="evening_spend",
    over="lines",
    sql="coalesce(sum(amount) FILTER (hour(ordered_at) >= 18), 0)",
    unit=CURRENCY,
    resolution=0.01,
    definition="sum of the amounts after six o'clock",
    meaning="How much the customer spent in the evening.",
    words=Words(
        traits=("no evenings", "few evenings", "many evenings", "all evenings"),
        deed="spent {} in the evening",
        deed_of_one="spent {} in the evening",
    ),
)
PRODUCTS_EVER = OrderFeature(
    name="products_ever",
    over="history",
    sql="count(DISTINCT product_id)",
    unit="products",
    resolution=1.0,
    definition="different products until as_of",
    meaning="How many different products the customer ever bought.",
    words=Words(
        traits=("hardly curious", "little curious", "curious", "very curious"),
        deed="ever bought {} products",
        deed_of_one="ever bought {} product",
    ),
    needs=("product_id",),
    costly=True,
)
FROM_SOURCE_TO_PROFILES = [
    *("raw_customers", "validated_features", "scaled_matrix", "candidate_models", "selected_model"),
    *("monthly_assignments", "segment_profiles"),
]
IN_THE_MODEL = """\
  - {name: weekend_orders, unit: weekend orders, transform: log1p, resolution: 1, valid: {min: 0}, meaning: Weekends.}
model:"""


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> tuple[OrderFeature, ...]:
    """Three more features, one over each relation; there is nothing else to do to have them."""
    more = (WEEKEND_ORDERS, EVENING_SPEND, PRODUCTS_EVER)
    for feature in more:
        monkeypatch.setitem(ORDER_FEATURES, feature.name, feature)
    return more


def with_weekends(shop: Shop) -> Config:
    text = shop.config_path.read_text(encoding="utf-8").replace("model:", IN_THE_MODEL)
    shop.config_path.write_text(text, encoding="utf-8")
    return load_config(shop.config_path)


def loaded(config: Config, *names: str) -> dict[str, tuple[object, ...]]:
    """customer -> values of these columns of the first month's raw_customers."""
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        load_raw_customers(connection, config, FIRST_MONTH)
        rows = connection.execute(f"SELECT customer_id, {', '.join(names)} FROM raw_customers").fetchall()
    return {customer: tuple(values) for customer, *values in rows}


def test_what_is_not_declared_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="found 'weekend_orders'; allowed: with a source of orders"):
        with_weekends(shop)


def test_what_a_declared_feature_needs_of_the_source_is_asked_for(shop: Shop, declared: object) -> None:
    text = shop.config_path.read_text(encoding="utf-8").replace("    product_id: product\n", "")
    text = text.replace("products_per_order", "products_ever")
    with pytest.raises(ConfigError, match=r"found products_ever without source\.orders\.product_id; .*product_id: <"):
        parse_config(text, shop.config_path)
    config = parse_config(text.replace("products_ever", "weekend_orders"), shop.config_path)
    assert set(loaded(config, "products_ever", "products_per_order").values()) == {(None, None)}


def test_the_features_are_computed_from_the_order_lines(shop: Shop, declared: object) -> None:
    """Beside a count by hand; the costly one only where it is named."""
    config = with_weekends(shop)
    lines = list(zip(*order_lines().values(), strict=True))
    when: dict[tuple[object, object], datetime] = {}
    evening: Counter[str] = Counter()
    ever: dict[str, set[object]] = {}
    for customer, order, at, amount, product in lines:
        if at < datetime(2023, 4, 1):  # the window is the first three months, which is all there is until then
            when[customer, order] = at
            evening[customer] += round(100 * amount) * (at.hour >= 18)
            ever.setdefault(customer, set()).add(product)
    weekend = Counter(customer for (customer, _), at in when.items() if at.isoweekday() >= 6)
    expected = {customer: (float(weekend[customer]), evening[customer] / 100) for customer in ever}
    assert loaded(config, "weekend_orders", "evening_spend") == expected
    assert set(loaded(config, "products_ever").values()) == {(None,)}
    text = config.path.read_text(encoding="utf-8").replace("weekend_orders", "products_ever")
    named = parse_config(text, config.path)
    assert loaded(named, "products_ever") == {customer: (float(len(products)),) for customer, products in ever.items()}


def test_the_month_validates_models_and_describes_them(
    shop: Shop, declared: object, materialize: Callable[..., object]
) -> None:
    config = with_weekends(shop)
    assert config.raw_feature_names[-3:] == ("weekend_orders", "evening_spend", "products_ever")
    materialize(shop, "2023-03", selection=FROM_SOURCE_TO_PROFILES)
    raw, valid = (
        query(shop.warehouse, f"SELECT customer_id, weekend_orders, evening_spend FROM {table} ORDER BY 1")
        for table in ("raw_customers", "validated_features")
    )
    assert raw == valid
    units = query(shop.warehouse, "SELECT DISTINCT feature, unit FROM segment_feature_profiles")
    assert {("weekend_orders", "weekend orders"), ("evening_spend", "EUR"), ("total_spend", "EUR")} <= set(units)
    told = " ".join(row[0] for row in query(shop.warehouse, "SELECT narrative FROM segment_profiles"))
    assert re.search(r"ordered at [\d.]+ weekends?", told)
    with duckdb.connect(str(shop.warehouse), read_only=True) as connection:
        scoring = latest_scoring(connection, config.tiers)
    assert scoring is not None
    assert f"--     {WEEKEND_ORDERS.definition}\n" in score_sql(scoring, "duckdb", "customers", window_months=3)


def test_people_speak_of_it_as_declared(declared: object) -> None:
    means = np.array([[1.2, 0.0], [0.5, 0.0], [-0.5, 0.0], [-1.2, 0.0]])
    names = name_segments(means, ("weekend_orders", "orders"), [None] * 4)
    assert names == ["Mostly at weekends", "Often at weekends", "Seldom at weekends", "Hardly at weekends"]
    assert deed("weekend_orders", 3.0, "days") == "ordered at 3 weekends"
    assert deed("weekend_orders", 1.0, "days") == "ordered at 1 weekend"
    assert deed("evening_spend", 1234.5, "EUR") == "spent 1,234 EUR in the evening"


def test_quickstart_proposes_it(tmp_path: Path, declared: object) -> None:
    path, asked = tmp_path / "orders.csv", ["weekend_orders", "evening_spend"]
    lines = zip(*order_lines(customers=150).values(), strict=True)
    rows = "".join(f"{customer},{order},{at},${amount:.2f},{item}\n" for customer, order, at, amount, item in lines)
    path.write_text(f"customer_id,order_id,order_date,amount,product_id\n{rows}", encoding="utf-8")
    with duckdb.connect() as connection:
        starter = explore(connection, Request(path, tmp_path / "out", features=asked)).starter
    assert {one.name: (one.unit, one.meaning, one.resolution) for one in starter.features} == {
        "weekend_orders": ("weekend orders", WEEKEND_ORDERS.meaning, 1.0),
        "evening_spend": ("USD", EVENING_SPEND.meaning, 0.01),
    }
    config = parse_config(starter_text(starter), tmp_path / "out" / "segmentation.yaml")
    assert config.feature_names == tuple(asked)
    others = {left if isinstance(left, str) else left.name for left, _ in starter.left_out}
    assert others == {
        name for name, feature in ORDER_FEATURES.items() if not (feature.costly or feature.lacks({"product_id"}))
    } - set(asked)


def test_the_reference_lists_it(declared: tuple[OrderFeature, ...]) -> None:
    page = configuration()
    for feature in declared:
        assert f"| `{feature.name}` | {feature.definition}" in page
    assert "different products until as_of; needs source.orders.product_id; computed only where it is named" in page


# --- what holds of every declaration ----------------------------------------------------------------------------------


def test_no_two_features_are_spoken_of_alike() -> None:
    said = [text for feature in ORDER_FEATURES.values() for text in (*feature.words.traits, feature.words.deed)]
    assert [text for text, count in Counter(said).items() if count > 1] == []


@pytest.mark.parametrize("feature", ORDER_FEATURES.values(), ids=list(ORDER_FEATURES))
def test_a_declaration_is_whole(feature: OrderFeature) -> None:
    assert feature.name.casefold() not in RESERVED_NAMES
    assert [text.count("{}") for text in (feature.words.deed, feature.words.deed_of_one)] == [1, 1]
    optional = {key for key, field in OrdersSource.model_fields.items() if not field.is_required()}
    assert set(feature.needs) <= optional
