"""What has changed in a configuration since a month was made, in words."""

import json
from datetime import date
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.database.rows import insert_rows
from segment_pipeline.database.store import prepare
from segment_pipeline.orchestration.project import changed_settings, keep_settings
from segment_pipeline.orchestration.tables import PIPELINE_RUNS, RUN_SETTINGS
from segment_pipeline.publishing.catalogue import TABLES

FEATURES = {
    "days_since_last_order": "transform: log1p, resolution: 1, valid: {min: 0}",
    "orders": "transform: log1p, resolution: 1, valid: {min: 1}",
    "baby_ratio": "spend_ratio: baby",
    "visits": "of_events: {feed: sessions, value: count}",
    "products_per_order": "use: portrait",
}


def configured(features: dict[str, str], feeds: tuple[str, ...] = ("sessions",), more: str = "") -> Config:
    events = ", ".join(f"{{feed: {feed}, path: {feed}.csv, customer_id: c, occurred_at: t}}" for feed in feeds)
    lines = "\n".join(f"  - {{name: {name}, {said}}}" for name, said in features.items())
    return parse_config(
        "name: shop\nfirst_month: 2023-01\nsource:\n"
        "  orders: {path: o.csv, customer_id: c, order_id: o, ordered_at: t, amount: a, product_id: p, category: k}\n"
        f"  events: [{events}]\nfeatures:\n{lines}\n{more}",
        Path("/shop/segmentation.yaml"),
    )


def said_of(then: Config, now: Config) -> str | None:
    month = date(2023, 1, 1)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, then.raw_feature_names)
        keep_settings(connection, then)
        columns = {column.name: None for column in PIPELINE_RUNS.columns}
        run = columns | {"month": month, "sequence": 1, "config_hash": then.config_hash, "project": then.project}
        insert_rows(connection, PIPELINE_RUNS, [run])
        return changed_settings(connection, now, [month])


def without(*names: str) -> dict[str, str]:
    return {name: said for name, said in FEATURES.items() if name not in names}


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (FEATURES, None),
        (without("visits"), "features: visits dropped"),
        (without("visits") | {"mean_qty": 'of_lines: "avg(a)"'}, "features: visits dropped, mean_qty added"),
        (without("baby_ratio") | {"infant_ratio": "spend_ratio: baby"}, "features: baby_ratio is called infant_ratio"),
        (dict(reversed(FEATURES.items())), "features: in another order"),
        (
            without("baby_ratio") | {"visits": "of_events: {feed: sessions, value: active_days}"},
            "features: baby_ratio dropped; features.visits.of_events.value was count and is active_days",
        ),
    ],
)
def test_features_are_compared_by_name(features: dict[str, str], said: str | None) -> None:
    assert said_of(configured(FEATURES), configured(features)) == said


def test_feeds_and_texts_are_compared_by_what_they_are_called_and_ranges_by_place() -> None:
    then = configured(FEATURES, ("clicks", "sessions"), "model: {n_components: [2, 8]}\n")
    now = configured(
        FEATURES, ("sessions", "calls"), "model: {n_components: [2, 9]}\nalternatives: {categorical: [city]}\n"
    )
    assert said_of(then, now) == (
        "alternatives.categorical: city added; model.n_components[1] was 8 and is 9; "
        "source.events: clicks dropped, calls added"
    )


def test_what_changes_no_result_is_no_change_also_where_an_older_version_kept_it() -> None:
    then = configured(FEATURES, more="last_month: 2023-03\n")
    now = configured(FEATURES, more="last_month: 2023-04\noperation: {threads: 1}\n")
    assert then.config_hash == now.config_hash
    month = date(2023, 1, 1)
    for seed, said in ((42, None), (43, "model.seed was 43 and is 42")):
        kept = json.loads(then.settings) | {"last_month": "2023-03", "name": "shop of before"}
        kept["model"]["seed"] = seed
        with duckdb.connect() as connection:
            prepare(connection, TABLES, then.raw_feature_names)
            insert_rows(connection, RUN_SETTINGS, [{"config_hash": "older", "settings": json.dumps(kept)}])
            columns = {column.name: None for column in PIPELINE_RUNS.columns}
            run = columns | {"month": month, "sequence": 1, "config_hash": "older", "project": then.project}
            insert_rows(connection, PIPELINE_RUNS, [run])
            assert changed_settings(connection, now, [month]) == said
            connection.execute(f"DELETE FROM {RUN_SETTINGS.name}")  # a version that did not keep them
            assert changed_settings(connection, now, [month]) == ""
