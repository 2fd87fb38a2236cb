"""Features that change in the middle of a history, of order lines and of snapshots, with memory and without.

What was changed is said, no month stops, and no figure sets one model's month beside another's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.champions_store import require_champion
from segment_pipeline.models.naming import speaks_of
from segment_pipeline.models.refit import features_changed_in_words
from segment_pipeline.months import add_months, month_key, parse_month
from segment_pipeline.report.briefing import brief
from segment_pipeline.report.queries import read_story
from segment_pipeline_tests.conftest import made_once
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

FEATURES = {
    "days_since_last_order": "unit: days, transform: log1p, resolution: 1, valid: {min: 0}",
    "orders": "unit: orders, transform: log1p, resolution: 1, valid: {min: 1}",
    "average_order_value": "unit: EUR, transform: log1p, resolution: 0.01, valid: {min: 0}",
    "products_per_order": "unit: items, transform: log1p, resolution: 0.01, valid: {min: 1}",
    "days_between_orders": "unit: days, transform: log1p, resolution: 0.01, valid: {min: 0}",
}
RECENCY, ORDERS, VALUE, PRODUCTS, GAP = FEATURES
IN_PLAIN_EUROS = {VALUE: "unit: EUR, transform: none, resolution: 0.01, valid: {min: 0}"}
IN_DOLLARS = {VALUE: FEATURES[VALUE].replace("EUR", "USD")}
PORTRAYED = {PRODUCTS: f"{FEATURES[PRODUCTS]}, use: portrait"}

# month -> the features from then on, and what is written of some of them in place of FEATURES. A snapshot has the
# columns of its month's features and no other.
HISTORY: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
    "2023-03": ((RECENCY, ORDERS, VALUE, PRODUCTS), {}),
    "2023-05": ((RECENCY, ORDERS, VALUE), IN_DOLLARS),  # dropped; another unit by itself is no other model
    "2023-06": ((RECENCY, ORDERS, GAP, PRODUCTS), PORTRAYED),  # swapped, and a portrait added
    "2023-07": ((RECENCY, ORDERS, GAP, VALUE, PRODUCTS), PORTRAYED | IN_PLAIN_EUROS),  # added
    "2023-08": ((RECENCY, ORDERS, VALUE, PRODUCTS, GAP), {}),  # portrait to model, and another transform
    "2023-09": ((RECENCY, ORDERS, VALUE, PRODUCTS), PORTRAYED),  # model to portrait, and one dropped
}
MONTHS = [f"2023-{month:02}" for month in range(3, 13)]
CHANGED = {
    "2023-05": "without products_per_order",
    "2023-06": "without average_order_value, with days_between_orders",
    "2023-07": "with average_order_value",
    "2023-08": "with products_per_order, average_order_value by log1p, before by none",
    "2023-09": "without days_between_orders, products_per_order only as a portrait",
}
"""What the file has changed in the features of the model, as the reason of the refit says it."""

KINDS = [("orders", False), ("orders", True), ("snapshots", False), ("snapshots", True)]


def features_of(month: str) -> tuple[Sequence[str], Mapping[str, str]]:
    return HISTORY[max(since for since in HISTORY if since <= month)]


def configure(shop: Shop, kind: str, memory: bool, month: str) -> None:
    """The user's file as it stands when this month runs."""
    names, written = features_of(month)
    lines = "".join(f"  - {{name: {name}, {written.get(name, FEATURES[name])}}}\n" for name in names)
    text = shop.configure(last_month="2023-12", memory=memory).config_path.read_text()
    text = re.sub(r"features:\n.*?(?=^model:)", f"features:\n{lines}", text, flags=re.DOTALL | re.MULTILINE)
    if kind == "snapshots":
        source = 'source: {snapshots: {path: "{month}.parquet", customer_id: customer}}\n'
        text = re.sub(r"source:\n.*?(?=^features:)", source, text, flags=re.DOTALL | re.MULTILINE)
    shop.config_path.write_text(text)


def deliver_snapshots(shop: Shop) -> None:
    """A file a month, with what the order lines of its window say of the features of the month."""
    for month in MONTHS:
        end = add_months(parse_month(month), 1)
        columns = {
            RECENCY: f"date_diff('day', CAST(max(ordered_at) AS DATE), DATE '{end}')",
            ORDERS: "count(*)",
            VALUE: "sum(amount) / count(*)",
            PRODUCTS: "sum(products) / count(*)",
            GAP: f"date_diff('day', CAST(min(ordered_at) AS DATE), DATE '{end}') / count(*)",
        }
        listed = ", ".join(f"{columns[name]} AS {name}" for name in features_of(month)[0])
        with duckdb.connect() as connection:
            connection.execute(f"""
                COPY (
                    SELECT customer, {listed} FROM (
                        SELECT customer, min(ordered_at) AS ordered_at, sum(amount) AS amount,
                            count(DISTINCT product) AS products
                        FROM '{shop.orders_path}'
                        WHERE ordered_at >= DATE '{add_months(end, -3)}' AND ordered_at < DATE '{end}'
                        GROUP BY customer, order_id
                    ) GROUP BY customer ORDER BY customer
                ) TO '{shop.folder / f"{month}.parquet"}' (FORMAT parquet)
            """)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}{', memory' if kind[1] else ''}")
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, materialize: Callable[..., object]
) -> Shop:
    """The whole history, run through the real assets, month by month. Read it only."""
    kind, memory = request.param

    def run(folder: Path) -> None:
        made = Shop(folder)
        write_parquet(order_lines(customers=620, months=12), made.orders_path)
        if kind == "snapshots":
            deliver_snapshots(made)
        for month in MONTHS:
            configure(made, kind, memory, month)
            materialize(made, month)

    return Shop(made_once(tmp_path_factory, f"changed_{kind}_{memory}", run))


def test_every_month_is_published_and_three_more_after_the_last_change(shop):
    months = query(shop.published, "SELECT DISTINCT month FROM monthly_assignments ORDER BY 1")
    assert [month_key(month) for (month,) in months] == MONTHS
    assert sum(month > max(HISTORY) for month in MONTHS) == 3


def test_a_refit_says_what_has_changed_in_the_features(shop):
    reasons = query(shop.published, "SELECT trained_month, reason FROM model_versions")
    told = {
        month_key(month): reason.partition("feature_schema_changed 1 (limit 0): ")[2]
        for month, reason in reasons
        if "feature_schema_changed" in reason
    }
    assert told == CHANGED


def test_names_speak_of_the_features_of_their_model_alone(shop):
    names = query(shop.published, "SELECT month, name FROM segment_profiles")
    for month, name in names:
        written, own = features_of(month_key(month))
        in_model = [feature for feature in written if "portrait" not in own.get(feature, "")]
        assert not [feature for feature in FEATURES if feature not in in_model and speaks_of(name, feature)], month


def test_movement_is_measured_by_one_model_or_is_not_known(shop):
    rows = query(
        shop.published,
        """
        SELECT strftime(month, '%Y-%m'), any_value(model_version), count(DISTINCT model_version),
            avg(CAST(from_segment_id <> to_segment_id AS INTEGER)), bool_and(shift IS NULL),
            bool_and(list_contains(segment_ids, from_segment_id) AND list_contains(segment_ids, to_segment_id))
        FROM transition_deltas WHERE from_segment_id IS NOT NULL AND to_segment_id IS NOT NULL
        GROUP BY month ORDER BY month
        """,
    )
    for month, version, versions, moved, no_shift, of_that_model in rows:
        if version is None:
            assert no_shift
            continue
        assert versions == 1
        assert of_that_model
        assert moved < 0.5, month
    unknown = [month for month, version, *_ in rows if version is None]
    from_orders = not (shop.folder / "2023-03.parquet").exists()
    # it lacks a feature of the model before, and the month before it one of its own
    assert unknown == ([] if from_orders else ["2023-06"])
    # what was not measured is not beside chance either
    seen = query(
        shop.published, "SELECT DISTINCT strftime(month, '%Y-%m') FROM movement_reference WHERE measure = 'moved'"
    )
    assert sorted(month for (month,) in seen) == [month for month, version, *_ in rows if version is not None]


def test_the_month_before_is_the_one_that_this_months_champion_sees(shop):
    """The published macro would say the same of the customers of the month before, without a memory."""
    shares = query(
        shop.published,
        "SELECT month, sum(share_before), count(share_before), count(*), max(abs(share - share_before)) "
        "FROM segment_profiles GROUP BY month ORDER BY month",
    )
    assert shares[0][1] is None
    for month, total, known, segments, change in shares[1:]:
        if total is None:
            continue
        assert known == segments
        assert total == pytest.approx(1.0)
        assert change < 0.2, month  # a model's step is larger
    config = load_config(shop.config_path)
    with duckdb.connect(str(shop.warehouse), read_only=True) as connection:
        for month, total, *_ in shares[1:]:
            champion = require_champion(connection, config, month)
            before = add_months(month, -1)
            names = ", ".join(f'"{name}"' for name in champion.space.names)
            try:
                rows = connection.execute(
                    f"SELECT customer_id, {names} FROM validated_features WHERE month = ? ORDER BY customer_id",
                    [before],
                ).fetchall()
            except duckdb.BinderException:
                rows = [("", None)]
            complete = all(value is not None for row in rows for value in row)
            assert complete == (total is not None), month
            if not complete or champion.memory is not None:
                continue
            R = champion.responsibilities(np.array([row[1:] for row in rows]))
            ids = [champion.segment_ids[k] for k in R.argmax(axis=1)]
            expected = {segment_id: ids.count(segment_id) / len(ids) for segment_id in champion.segment_ids}
            told = connection.execute(
                "SELECT segment_id, share_before FROM segment_profiles WHERE month = ?", [month]
            ).fetchall()
            assert dict(told) == pytest.approx(expected)
            seen = connection.execute(
                "SELECT customer_id, previous_segment_id FROM monthly_assignments WHERE month = ?", [month]
            ).fetchall()
            of_customers = dict(zip([row[0] for row in rows], ids, strict=True))
            assert dict(seen) == {customer: of_customers.get(customer) for customer, _ in seen}


def test_no_journey_contradicts_itself(shop):
    rows = query(
        shop.published,
        """
        SELECT count(*) FILTER (moved AND segment_id = previous_segment_id),
            count(*) FILTER (NOT moved AND segment_id <> previous_segment_id),
            count(*) FILTER (direction IS NOT NULL AND moved IS NOT TRUE),
            count(*) FILTER (moved)
        FROM customer_journey WHERE previous_month = month - INTERVAL 1 MONTH
        """,
    )
    assert rows[0][:3] == (0, 0, 0)
    assert rows[0][3] > 0


def test_events_add_up_to_what_moved_and_to_what_each_segment_has_gained(shop):
    """By one model in every month: that which measures the movement, and where it served both months, what they say."""
    gained_and_lost = """
        SELECT month, segment_id, sum(change) AS change FROM (
            SELECT month, segment_id, CASE event WHEN 'left' THEN -1 ELSE 1 END AS change FROM segment_events
            WHERE event <> 'forecast'
            UNION ALL SELECT month, from_segment_id, -1 FROM segment_events WHERE event = 'moved'
        ) GROUP BY ALL HAVING sum(change) <> 0
    """
    of_moves = """
        SELECT month, state AS segment_id, sum(change) AS change FROM (
            SELECT month, to_segment_id AS state, 1 AS change FROM transition_deltas WHERE model_version IS NOT NULL
            UNION ALL SELECT month, from_segment_id, -1 FROM transition_deltas WHERE model_version IS NOT NULL
        ) WHERE state IS NOT NULL GROUP BY ALL HAVING sum(change) <> 0
    """
    measured = "(SELECT DISTINCT month FROM transition_deltas WHERE model_version IS NOT NULL)"
    assert query(
        shop.published, f"SELECT * FROM ({gained_and_lost}) SEMI JOIN {measured} USING (month) ORDER BY ALL"
    ) == (query(shop.published, f"SELECT * FROM ({of_moves}) ORDER BY ALL"))
    off, months = query(
        shop.published,
        f"""
        SELECT count(*) FILTER (n.customers - b.customers <> coalesce(e.change, 0)), count(DISTINCT n.month)
        FROM segment_profiles AS n
        JOIN segment_profiles AS b ON b.month = n.month - INTERVAL 1 MONTH AND b.segment_id = n.segment_id
            AND b.model_version = n.model_version
        LEFT JOIN ({gained_and_lost}) AS e ON e.month = n.month AND e.segment_id = n.segment_id
        """,
    )[0]
    assert (off, months >= 3) == (0, True)


def test_an_event_is_told_once_and_by_name(shop):
    found = query(
        shop.published,
        """
        SELECT count(*) - count(DISTINCT (month, customer_id, event = 'forecast')),
            count(*) FILTER (segment_name IS NULL OR from_segment_id IS NOT NULL AND from_segment_name IS NULL),
            count(*) FILTER ((event IN ('entered', 'left')) <> (reason IS NOT NULL)),
            count(*) FILTER (probability IS NOT NULL AND probability NOT BETWEEN 0 AND 1 + 1e-9)
        FROM segment_events
        """,
    )
    assert found == [(0, 0, 0, 0)]
    forecast = "SELECT month, customer_id, segment_id FROM segment_events WHERE event = 'forecast' ORDER BY ALL"
    expected = "SELECT month, customer_id, next_segment_id FROM customer_months WHERE next_segment_id <> segment_id"
    assert query(shop.published, forecast) == query(shop.published, f"{expected} ORDER BY ALL")
    # the segment is the customer's own wherever this month's champion measures
    assert query(
        shop.published,
        """
        SELECT count(*) FILTER (e.segment_id <> a.segment_id OR e.probability <> a.max_probability)
        FROM segment_events AS e JOIN monthly_assignments AS a USING (month, customer_id)
        JOIN (SELECT month, max(model_version) AS measured FROM transition_deltas GROUP BY month) USING (month)
        WHERE event IN ('entered', 'moved') AND measured = model_version
        """,
    ) == [(0,)]


def test_every_report_tells_shares_and_movement_or_why_not(shop):
    with duckdb.connect(str(shop.published), read_only=True) as connection:
        for month in MONTHS[1:]:
            story = read_story(connection, parse_month(month))
            changed = brief(story).changed
            told = " ".join([changed.said, *changed.more])
            known = story["segments"][0]["change"] is not None
            assert ("argest change" in told or "No segment's share changed." in told) == known, told
            assert ("cannot be compared with the month before" in told) == (not known), told
            assert ("as no model sees both months" in told) == (story["measured_by"] is None), told
            refit = story["champion"]["trained_month"] == parse_month(month)
            assert ("A new model began" in told) == refit, told


def test_portraits_stand_in_the_profiles_and_never_in_a_model(shop):
    shown = query(
        shop.published,
        "SELECT DISTINCT strftime(month, '%Y-%m') FROM segment_feature_profiles WHERE feature = 'products_per_order' "
        "AND known_share = 1 ORDER BY 1",
    )
    from_orders = not (shop.folder / "2023-03.parquet").exists()
    assert [month for (month,) in shown] == [month for month in MONTHS if from_orders or month != "2023-05"]
    fitted = query(
        shop.published,
        "SELECT DISTINCT strftime(month, '%Y-%m') FROM feature_diagnostics WHERE feature = 'products_per_order' "
        "ORDER BY 1",
    )
    assert [month for (month,) in fitted] == ["2023-03", "2023-04", "2023-08"]


def test_where_a_feature_of_ones_own_becomes_a_portrait_the_new_champion_measures_both_months(tmp_path, materialize):
    made = Shop(tmp_path)
    write_parquet(order_lines(customers=620, months=5), made.orders_path)
    own = (
        "  - {name: lines_per_order, of_lines: count(*) / count(DISTINCT order_id), "
        "transform: log1p, valid: {min: 1}}\n"
    )
    for month in ("2023-03", "2023-04", "2023-05"):
        configure(made, "orders", False, "2023-05")
        text = made.config_path.read_text()
        feature = own if month < "2023-05" else own.replace("{name:", "{use: portrait, name:")
        made.config_path.write_text(text.replace("model: {", f"{feature}model: {{", 1))
        assert materialize(made, month, selection="*movement_reference").success
    measured = "SELECT DISTINCT month, model_version FROM transition_deltas ORDER BY 1"
    assert [version for _, version in query(made.warehouse, measured)] == [1, 2]
    beside = (
        "SELECT count(*), count(reason) FROM movement_reference WHERE month = DATE '2023-05-01' AND measure = 'moved'"
    )
    assert query(made.warehouse, beside) == [(1, 0)]
    assert query(made.warehouse, "SELECT max(model_version) FROM champions") == [(2,)]


def test_what_has_changed_is_said_in_words():
    def space(**features: tuple[str, float]) -> FeatureSpace:
        names = tuple(features)
        return FeatureSpace(
            names,
            tuple(transform for transform, _ in features.values()),
            tuple(step for _, step in features.values()),
            np.array([0.0] * len(names)),
            np.array([1.0] * len(names)),
            np.array([0.1] * len(names)),
        )

    old = space(visits=("log1p", 1.0), spend=("log1p", 0.01))
    assert features_changed_in_words(old, space(visits=("none", 1.0), spend=("log1p", 1.0))) == (
        "visits by none, before by log1p, spend in steps of 1, before of 0.01"
    )
    assert features_changed_in_words(old, space(spend=("log1p", 0.01), visits=("log1p", 1.0))) == "in another order"
    assert features_changed_in_words(old, space(visits=("log1p", 1.0), pages=("log1p", 1.0)), ["spend"]) == (
        "spend only as a portrait, with pages"
    )
