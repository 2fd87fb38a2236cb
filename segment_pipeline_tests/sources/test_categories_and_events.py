"""What customers buy and how engaged they are, from a file of products and feeds of events beside the orders."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.errors import ConfigError, SourceError
from segment_pipeline.months import parse_month
from segment_pipeline.sources.own_features import check_own_features
from segment_pipeline.sources.sources import months_before
from segment_pipeline.words import percent
from segment_pipeline_tests.shop import Shop, query
from segment_pipeline_tests.source_files import COLUMNS, MARCH, ORDERS, configured, load, write

KINDS = ("organic", "cleaning", "books", "toys")
PRODUCTS = {"sku": "VARCHAR", "department": "VARCHAR"}
SESSIONS = {"visitor": "VARCHAR", "started": "TIMESTAMP", "pages": "INTEGER", "seconds": "DOUBLE", "bot": "BOOLEAN"}
START, END = pd.Timestamp("2023-01-01"), pd.Timestamp("2023-04-01")

FIVE_KINDS: list[dict[str, object]] = [
    {"name": "days_since_last_order"},
    {"name": "orders"},
    {"name": "total_spend"},
    {"name": "organic_share", "spend_share": "organic"},
    {"name": "organic_ratio", "spend_ratio": "organic"},
    {"name": "books_ratio", "spend_ratio": "books"},
    {"name": "categories"},
    {"name": "category_concentration"},
    {"name": "visits", "of_events": {"feed": "sessions", "value": "count"}},
    {"name": "days_since_visit", "of_events": {"feed": "sessions", "value": "days_since_last"}, "missing": 91},
    {"name": "visiting_days", "of_events": {"feed": "sessions", "value": "active_days"}},
    {"name": "pages_a_visit", "of_events": {"feed": "sessions", "value": "mean(pages)"}},
    {
        "name": "night_minutes",
        "of_events": {"feed": "sessions", "value": "sum(seconds) FILTER (hour(occurred_at) < 6) / 60"},
    },
    {"name": "night_share", "of_lines": "count(*) FILTER (WHERE hour(ordered_at) < 6) / count(*)"},
    {"name": "organic_lines", "of_lines": "count(*) FILTER (WHERE category = 'organic')"},
]


def order_lines(random: np.random.Generator) -> list[tuple[object, ...]]:
    when = pd.Timestamp("2022-11-01") + pd.to_timedelta(random.integers(0, 160 * 86400, 4000), unit="s")
    return [
        (
            f"c{random.integers(70)}",
            f"o{number // 3}",
            str(at),
            float(random.integers(100, 9000)) / 100,
            f"p{random.integers(45)}",
        )
        for number, at in enumerate(when)
    ]


def sessions(random: np.random.Generator) -> list[tuple[object, ...]]:
    """Of most customers, of some who never order, of nobody, and of robots; before, in and after the window."""
    when = pd.Timestamp("2022-11-01") + pd.to_timedelta(random.integers(0, 160 * 86400, 3000), unit="s")
    return [
        (
            None if random.random() < 0.02 else f"c{random.integers(20, 90)}",
            str(at),
            int(random.integers(1, 30)),
            float(random.lognormal(3, 2)),
            bool(random.random() < 0.1),
        )
        for at in when
    ]


def three_files(folder: Path, features: Sequence[dict[str, object]] = FIVE_KINDS, **changed: object) -> Config:
    """Orders, products and sessions, and a configuration that reads them."""
    random = np.random.default_rng(11)
    write(folder / "orders.parquet", order_lines(random), COLUMNS)
    # p40 to p44 are in no category
    write(folder / "products.csv", [(f"p{number}", KINDS[number % 4]) for number in range(40)], PRODUCTS)
    write(folder / "sessions.parquet", sessions(random), SESSIONS)
    feed = {"feed": "sessions", "path": "sessions.parquet", "customer_id": "visitor", "occurred_at": "started"}
    source = {
        "orders": {**ORDERS, "path": "orders.parquet"},
        "products": {"path": "products.csv", "product_id": "sku", "category": "department"},
        "events": [{**feed, "where": "NOT bot"}],
    }
    content = {"name": "t", "first_month": "2023-03", "last_month": "2023-03", "source": source | changed}
    path = folder / "segmentation.yaml"
    path.write_text(json.dumps(content | {"features": list(features)}, indent=1), encoding="utf-8")
    return load_config(path)


def by_pandas(folder: Path) -> pd.DataFrame:
    """The features of all who have an order in the window, or a session, computed without the pipeline."""
    lines = pd.read_parquet(folder / "orders.parquet")
    lines = lines[(lines["bought"] >= START) & (lines["bought"] < END)]
    lines = lines.merge(pd.read_csv(folder / "products.csv"), left_on="item", right_on="sku", how="left")
    visits = pd.read_parquet(folder / "sessions.parquet")
    visits = visits[(visits["started"] >= START) & (visits["started"] < END) & ~visits["bot"]].dropna(subset="visitor")
    found = {}
    for customer in sorted({*lines["customer"], *visits["visitor"]}):
        own, seen = lines[lines["customer"] == customer], visits[visits["visitor"] == customer]
        of_kind = own.groupby(own["department"].fillna("(none)"))["paid"].sum()
        logs = {
            name: np.log(of_kind.reindex(kinds).sum() + 0.5 * own["paid"].sum() / own["basket"].nunique())
            for name, kinds in {
                "organic": ["organic"],
                "books": ["books"],
                "rest": ["cleaning", "toys", "(none)"],
            }.items()
            if len(own)
        }
        night = seen[seen["started"].dt.hour < 6]
        found[customer] = {
            "days_since_last_order": (END - own.groupby("basket")["bought"].min().max().normalize()).days
            if len(own)
            else np.nan,
            "orders": own["basket"].nunique(),
            "total_spend": own["paid"].sum(),
            "organic_share": of_kind.get("organic", 0.0) / own["paid"].sum() if len(own) else np.nan,
            "organic_ratio": logs["organic"] - np.mean(list(logs.values())) if len(own) else np.nan,
            "books_ratio": logs["books"] - np.mean(list(logs.values())) if len(own) else np.nan,
            "categories": own["department"].nunique(),
            "category_concentration": ((of_kind / of_kind.sum()) ** 2).sum() if len(own) else np.nan,
            "visits": len(seen),
            "days_since_visit": (END - seen["started"].max().normalize()).days if len(seen) else 91,
            "visiting_days": seen["started"].dt.normalize().nunique(),
            "pages_a_visit": seen["pages"].mean(),
            "night_minutes": night["seconds"].sum() / 60 if len(night) else np.nan,
            "night_share": (own["bought"].dt.hour < 6).mean(),
            "organic_lines": (own["department"] == "organic").sum(),
        }
    return pd.DataFrame.from_dict(found, orient="index").astype(float)


@pytest.mark.parametrize("customers", ["orders", "any"])
def test_five_kinds_of_behaviour_from_three_files_are_what_pandas_computes(tmp_path: Path, customers: str) -> None:
    config = three_files(tmp_path, customers=customers)
    check_own_features(config)
    counts, rows = load(config)
    found = pd.DataFrame(rows).set_index("customer_id")
    expected = by_pandas(tmp_path)
    if customers == "orders":
        expected = expected[expected["orders"] > 0]
    names = list(config.feature_names)
    assert sorted(found.index) == sorted(expected.index)
    np.testing.assert_allclose(
        found[names].astype(float).to_numpy(), expected.loc[found.index, names].to_numpy(), rtol=1e-9, atol=1e-9
    )
    # some order and never come, some come and never order
    assert 0 < (expected["visits"] == 0).sum() < len(expected)
    assert ((expected["orders"] == 0).sum() > 0) == (customers == "any")
    assert counts.events["sessions"].silent_customers == (expected["visits"] == 0).sum()
    assert counts.filled == {"days_since_visit": (expected["visits"] == 0).sum()}
    assert counts.uncategorised is not None
    assert counts.uncategorised > 0


def test_who_comes_and_never_ordered_is_known_since_the_first_event(tmp_path: Path) -> None:
    _, rows = load(three_files(tmp_path, customers="any"))
    visits = pd.read_parquet(tmp_path / "sessions.parquet")
    visits = visits[(visits["started"] < END) & ~visits["bot"]]
    lines = pd.read_parquet(tmp_path / "orders.parquet")
    first = pd.concat(
        [visits.set_index("visitor")["started"], lines[lines["bought"] < END].set_index("customer")["bought"]]
    )
    since = first.groupby(level=0).min().dt.date
    assert {row["customer_id"]: row["first_seen"] for row in rows} == {
        row["customer_id"]: since[row["customer_id"]] for row in rows
    }


def test_a_late_feed_stops_the_month_and_nobody_is_taken_for_silent(tmp_path: Path) -> None:
    config = three_files(tmp_path)
    write(tmp_path / "sessions.parquet", [("c1", "2023-02-27 10:00:00", 1, 1.0, False)], SESSIONS)
    with pytest.raises(SourceError, match=r"sessions\.parquet has no event in 2023-03"):
        load(config)


def test_a_feed_of_which_nothing_is_asked_changes_nobody(tmp_path: Path) -> None:
    config = three_files(tmp_path, [{"name": "orders"}, {"name": "total_spend"}])
    counts, rows = load(config)
    _, without = load(three_files(tmp_path, [{"name": "orders"}, {"name": "total_spend"}], events=[]))
    assert rows
    assert rows == without
    assert 0 < counts.events["sessions"].silent_customers < len(rows)


@pytest.mark.parametrize("customers", ["orders", "any"])
def test_a_feed_of_other_ids_is_told_with_examples_of_both(tmp_path: Path, customers: str) -> None:
    visits = {"name": "visits", "of_events": {"feed": "sessions", "value": "count"}}
    config = three_files(tmp_path, [{"name": "orders"}, visits], customers=customers)
    strangers = [(f"visitor-{number}", "2023-03-05 10:00:00", 3, 1.0, False) for number in range(60)]
    write(tmp_path / "sessions.parquet", strangers, SESSIONS)
    with pytest.raises(SourceError, match=r"none of the 60 customers .* such as 'visitor-0' there and 'c0' in the ord"):
        load(config)
    write(tmp_path / "sessions.parquet", [*strangers, ("c1", "2023-03-05 10:00:00", 3, 1.0, False)], SESSIONS)
    counts, _ = load(config)
    assert counts.events["sessions"].in_window == 61


def test_who_has_events_alone_has_spent_nothing(tmp_path: Path) -> None:
    config = three_files(tmp_path, customers="any")
    _, rows = load(config)
    spent = query(config.warehouse_path, "SELECT customer_id, orders, money, month_money FROM customer_lines")
    nobody = {row["customer_id"] for row in rows if row["orders"] == 0}
    assert nobody
    assert {row["customer_id"] for row in rows} == {customer for customer, *_ in spent}
    assert {(orders, money, of_month) for customer, orders, money, of_month in spent if customer in nobody} == {
        (0, 0, 0)
    }


def test_check_says_which_features_reject_who_has_no_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three_files(tmp_path, customers="any")
    assert main(["check", "--config", str(tmp_path / "segmentation.yaml")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in said if "`missing`" in line] == [
        *("days_since_last_order", "organic_share", "organic_ratio", "books_ratio", "category_concentration"),
    ]


def test_a_product_of_two_categories_and_a_category_that_nobody_bought_are_told(tmp_path: Path) -> None:
    config = three_files(tmp_path, [{"name": "orders"}, {"name": "s", "spend_share": "organik"}])
    with pytest.raises(
        SourceError, match=r"yaml:\d+: features\[1\]\.spend_share: found organik.*did you mean organic\?"
    ):
        load(config)
    write(tmp_path / "products.csv", [("p1", "books"), ("p1", "toys")], PRODUCTS)
    with pytest.raises(SourceError, match="the product p1 has several categories, such as books and toys"):
        load(config)


@pytest.mark.parametrize("of_products", ["TINYINT", "INTEGER", "UBIGINT", "HUGEINT", "DOUBLE", "VARCHAR"])
@pytest.mark.parametrize("of_lines", ["INTEGER", "BIGINT", "DOUBLE", "VARCHAR"])
def test_products_are_found_whatever_types_their_ids_have(tmp_path: Path, of_lines: str, of_products: str) -> None:
    bought = [("a", "o1", "2023-01-05", 3.0, 7), ("a", "o2", "2023-02-05", 1.0, 12), ("b", "o1", "2023-03-05", 2.0, 99)]
    write(tmp_path / "o.parquet", [*bought, ("b", "o2", "2023-03-06", 2.0, None)], COLUMNS | {"item": of_lines})
    products = [(7, "books"), (12, "toys"), (None, "cups")]
    write(tmp_path / "p.parquet", products, {"sku": of_products, "department": "VARCHAR"})
    config = configured(
        tmp_path,
        ["orders", "categories", "category_concentration"],
        orders={**ORDERS, "path": "o.parquet"},
        products={"path": "p.parquet", "product_id": "sku", "category": "department"},
    )
    counts, rows = load(config)
    assert [(row["customer_id"], row["categories"]) for row in rows] == [("a", 2), ("b", 0)]
    assert rows[0]["category_concentration"] == pytest.approx((3 / 4) ** 2 + (1 / 4) ** 2, abs=1e-12)
    assert counts.uncategorised == 2  # a product that is in no file, and no product


@pytest.mark.parametrize("of_products", ["INTEGER", "BIGINT", "VARCHAR"])
@pytest.mark.parametrize("lines_in", ["o.csv", "o.parquet"])
def test_ids_of_lines_that_are_text_are_compared_as_text(tmp_path: Path, lines_in: str, of_products: str) -> None:
    items = ["7", "12", " 12", "007", "SHIPPING"]
    bought = [(f"c{i}", "o1", "2023-03-05", 1.0, item) for i, item in enumerate(items)]
    write(tmp_path / lines_in, bought, COLUMNS | {"item": "VARCHAR"})
    write(tmp_path / "p.parquet", [(7, "books"), (12, "toys")], {"sku": of_products, "department": "VARCHAR"})
    config = configured(
        tmp_path,
        ["orders", "categories"],
        orders={**ORDERS, "path": lines_in},
        products={"path": "p.parquet", "product_id": "sku", "category": "department"},
    )
    counts, rows = load(config)
    assert [row["categories"] for row in rows] == [1, 1, 0, 0, 0]
    assert counts.uncategorised == 3


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (
            {"of_events": {"feed": "session", "value": "count"}},
            "feed: found 'session'; allowed: a feed of source.events: sessions (did you mean sessions?)",
        ),
        ({"of_events": {"feed": "sessions", "value": "sum(page)"}}, "value: found the unknown column 'page'"),
        ({"of_events": {"feed": "sessions", "value": "pages"}}, "value: found pages outside of an aggregate"),
        ({"of_events": {"feed": "sessions", "value": "sum(amount)"}}, "value: found the unknown column 'amount'"),
        ({"spend_share": "organic", "of_lines": "count(*)"}, "found of_lines beside spend_share"),
        ({"of_lines": "count(*)", "missing": -1, "valid": {"min": 0}}, "missing: found -1"),
    ],
)
def test_what_is_no_feature_of_events_is_told(
    tmp_path: Path, feature: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    three_files(tmp_path)
    path = tmp_path / "segmentation.yaml"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(content | {"features": [{"name": "orders"}, {"name": "v", **feature}]}, indent=1), encoding="utf-8"
    )
    assert main(["check", "--config", str(path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"customers": "any", "events": []}, "customers: found any; allowed: orders"),
        ({"events": [{"feed": "a", "path": "a.csv", "customer_id": "c", "occurred_at": "t"}] * 2}, "again"),
        ({"orders": {**ORDERS, "path": "o.parquet", "category": "item"}}, "products beside orders.category"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(tmp_path: Path, source: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        three_files(tmp_path, [{"name": "orders"}], **source)


def test_the_past_begins_where_every_feed_does(tmp_path: Path) -> None:
    config = three_files(tmp_path, window_months=1)
    with duckdb.connect() as connection:
        assert months_before(connection, config, MARCH, 4) == [
            parse_month(key) for key in ("2022-11", "2022-12", "2023-01", "2023-02")
        ]
        write(
            tmp_path / "sessions.parquet",
            [("c1", day, 1, 1.0, False) for day in ("2023-01-02", "2023-02-05")],
            SESSIONS,
        )
        assert months_before(connection, config, MARCH, 4) == [parse_month("2023-02")]


FROM_SOURCE_TO_PROFILES = [
    *("raw_customers", "validated_features", "scaled_matrix", "candidate_models", "selected_model"),
    *("monthly_assignments", "segment_profiles"),
]


@pytest.mark.parametrize("begins", ["2023-01-20", "2023-02-03"])
def test_a_feed_that_begins_inside_the_window_warns(
    shop: Shop, materialize: Callable[..., dg.ExecuteInProcessResult], begins: str
) -> None:
    """In the next months it would rise for everybody. Within the window's first month it may be the first event."""
    people = sorted(set(pd.read_parquet(shop.orders_path)["customer"]))[:50]
    seen = [(who, str(day.date())) for who in people for day in pd.date_range(begins, "2023-03-31")]
    write(shop.config_path.parent / "visits.parquet", seen, {"who": "VARCHAR", "at": "TIMESTAMP"})
    text = shop.config_path.read_text(encoding="utf-8")
    feed = "  events: [{feed: visits, path: visits.parquet, customer_id: who, occurred_at: at}]\nfeatures:"
    shop.config_path.write_text(text.replace("features:", feed, 1), encoding="utf-8")
    run = materialize(shop, "2023-03", selection=["raw_customers"])
    (found,) = [one for one in run.get_asset_check_evaluations() if one.check_name == "feeds_cover_the_window"]
    assert found.passed == (begins < "2023-02-01")
    assert found.severity.name == "WARN"


def test_every_segment_shows_what_it_spends_its_money_on(shop: Shop, materialize: Callable[..., object]) -> None:
    """Whether or not a category is in the model; beside what all customers do, and against pandas."""
    text = shop.config_path.read_text(encoding="utf-8")
    category = "    product_id: product\n    category: \"'k' || product % 12\"\n"
    shop.config_path.write_text(text.replace("    product_id: product\n", category), encoding="utf-8")
    lines = pd.read_parquet(shop.orders_path)
    refunded = (lines["product"] % 12 == 3) & (lines.index % 5 == 0)
    lines.assign(amount=lines["amount"].where(~refunded, -lines["amount"])).to_parquet(shop.orders_path)
    materialize(shop, "2023-03", selection=FROM_SOURCE_TO_PROFILES)
    rows = query(
        shop.warehouse,
        """
        SELECT segment_id, category, share, population_share, index, buyers, population_buyers FROM segment_categories
        """,
    )
    lines = pd.read_parquet(shop.orders_path)
    lines = lines[lines["ordered_at"] < "2023-04-01"].assign(kind="k" + (lines["product"] % 12).astype(str))
    # what was spent, net of refunds and at least 0: who only sent back has bought nothing
    lines = lines.groupby(["customer", "kind"], as_index=False)["amount"].sum()
    lines = lines[lines["amount"] > 0]
    kept = lines.groupby("kind")["amount"].sum().nlargest(10).index
    lines["kind"] = lines["kind"].where(lines["kind"].isin(kept), "(other)")
    segment = dict(query(shop.warehouse, "SELECT customer_id, segment_id FROM monthly_assignments"))
    lines = lines.assign(segment=lines["customer"].map(segment)).dropna(subset="segment")
    of_all = lines.groupby("kind")["amount"].sum() / lines["amount"].sum()
    assert len(rows) == len(set(segment.values())) * 11
    for segment_id, kind, share, population_share, index, buyers, population_buyers in rows:
        own = lines[lines["segment"] == segment_id]
        bought = own[own["kind"] == kind]
        assert share == pytest.approx(bought["amount"].sum() / own["amount"].sum(), abs=1e-9)
        assert population_share == pytest.approx(of_all[kind], abs=1e-9)
        assert index == pytest.approx(100 * share / population_share)
        members = sum(one == segment_id for one in segment.values())
        assert buyers == pytest.approx(bought["customer"].nunique() / members, abs=1e-9)
        assert population_buyers == pytest.approx(
            lines[lines["kind"] == kind]["customer"].nunique() / len(segment), abs=1e-9
        )
    shares = lines.pivot_table(index="customer", columns="kind", values="amount", aggfunc="sum", fill_value=0.0)
    spent = shares.sum(axis=1)
    shares = shares.div(spent, axis=0).drop(columns="(other)")
    beyond = {(segment_id, kind): share for segment_id, kind, share, *_ in rows}
    hybrids = query(
        shop.warehouse,
        "SELECT segment_id, customer_id, second_segment_id, is_between FROM monthly_assignments "
        "WHERE tier = 'hybrid' OR is_between",
    )
    expected = {}
    for segment_id in {one for one, *_ in hybrids}:
        mine = [row for row in hybrids if row[0] == segment_id]
        mine = [row for row in mine if row[3]] or mine
        of_second = Counter(second for *_, second, _ in mine)
        commonest = min(of_second, key=lambda second: (-of_second[second], second))
        of = [customer for _, customer, second, _ in mine if second == commonest]
        of = [customer for customer in of if 2 * spent[customer] >= spent[of].mean()]
        told = shares.loc[of] - pd.Series({kind: beyond[segment_id, kind] for kind in shares})
        customer, kind = told.stack().idxmax()
        expected[segment_id] = (customer, kind, shares.loc[customer, kind])
    found = query(
        shop.warehouse, "SELECT segment_id, customer_id, category, share, segment_share FROM segment_examples"
    )
    assert expected, "nobody stands between two segments"
    assert {segment_id: (customer, kind) for segment_id, customer, kind, *_ in found} == {
        segment_id: (customer, kind) for segment_id, (customer, kind, _) in expected.items()
    }
    for segment_id, _, kind, share, segment_share in found:
        assert share == pytest.approx(expected[segment_id][2], abs=1e-9)
        assert segment_share == beyond[segment_id, kind]


def test_a_feature_of_a_category_is_told_as_the_share_of_the_spend_that_is_on_it(
    shop: Shop, materialize: Callable[..., object]
) -> None:
    """A log-ratio of 0.5 says nothing to anybody: half of the spend is organic. Every third customer buys organic."""
    text = shop.config_path.read_text(encoding="utf-8")
    category = (
        "CASE WHEN CAST(substr(customer, 2) AS INTEGER) % 3 = 0 AND product % 2 = 0 THEN 'organic' ELSE 'other' END"
    )
    text = text.replace("    product_id: product\n", f'    product_id: product\n    category: "{category}"\n')
    taste = "  - {name: organic_ratio, spend_ratio: organic, use: portrait}\nmodel:"
    shop.config_path.write_text(text.replace("model:", taste), encoding="utf-8")
    materialize(shop, "2023-03", selection=FROM_SOURCE_TO_PROFILES)
    shares = query(
        shop.warehouse,
        "SELECT narrative, c.share, c.population_share FROM segment_profiles JOIN segment_categories AS c "
        "USING (month, segment_id) WHERE c.category = 'organic'",
    )
    assert min(share for _, share, _ in shares) < 0.1 < 0.35 < max(share for _, share, _ in shares)
    for narrative, share, of_all in shares:
        assert f"spent {percent(share)} on organic (all customers: {percent(of_all)})" in narrative
        assert "ratio" not in narrative
    told = query(shop.warehouse, "SELECT DISTINCT category, unit FROM feature_limits WHERE feature = 'organic_ratio'")
    assert told == [("organic", "log-ratio")]
    indices = query(
        shop.warehouse, "SELECT DISTINCT index FROM segment_feature_profiles WHERE feature = 'organic_ratio'"
    )
    assert indices == [(None,)]
