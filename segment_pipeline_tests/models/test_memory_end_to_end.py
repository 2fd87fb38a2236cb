"""Months of a shop through the real assets, up to the champion: memory begins where the source allows it."""

from dataclasses import replace
from datetime import date

import duckdb
import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.models.champion import Decision, decide, degeneracy_this_month
from segment_pipeline.models.champions_store import decision_inputs
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.panel_store import read_customer_months
from segment_pipeline_tests.shop import Shop, query

CUSTOMERS = ["raw_customers", "validated_features", "scaled_matrix"]
MODELS = ["candidate_models", "selected_model"]
TABLES = ("past_features", "candidate_models", "candidate_parameters", "model_versions", "refit_triggers", "champions")


def content(shop: Shop) -> dict[str, list[tuple]]:  # type: ignore[type-arg]
    return {table: query(shop.warehouse, f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES}


def champions(shop: Shop) -> list[SegmentModel]:
    return [
        SegmentModel.from_json(text)
        for (text,) in query(shop.warehouse, "SELECT parameters FROM model_versions ORDER BY model_version")
    ]


@pytest.mark.months
def test_a_first_month_with_a_past_begins_with_memory_and_gives_the_same_again(shop, materialize):
    shop.configure(first_month="2023-05", memory=True)
    materialize(shop, "2023-05", selection=CUSTOMERS + MODELS)
    assert [month for (month,) in query(shop.warehouse, "SELECT DISTINCT month FROM past_features ORDER BY 1")] == [
        date(2023, 3, 1),
        date(2023, 4, 1),
    ]
    (champion,) = champions(shop)
    assert champion.memory is not None
    ((customers, score, kept),) = query(
        shop.warehouse,
        "SELECT customers_fitted, next_log_score, min_kept FROM model_versions, candidate_models WHERE selected",
    )
    assert (
        customers
        == query(
            shop.warehouse,
            "SELECT count(DISTINCT customer_id) FROM (SELECT customer_id FROM validated_features UNION ALL "
            "SELECT customer_id FROM past_features WHERE NOT rejected)",
        )[0][0]
    )
    assert score is not None
    assert kept == pytest.approx(champion.memory.flicker().min())
    first = content(shop)
    materialize(shop, "2023-05", selection=CUSTOMERS + MODELS)
    assert content(shop) == first


@pytest.mark.months
def test_without_a_past_memory_comes_with_the_third_month_and_keeps_the_ids(shop, materialize):
    shop.configure(memory=True)
    for month in ("2023-03", "2023-04", "2023-05", "2023-06"):
        materialize(shop, month, selection=CUSTOMERS + MODELS)
    plain, remembering = champions(shop)[0], champions(shop)[-1]
    assert query(shop.warehouse, "SELECT count(*) FROM past_features") == [(0,)]
    assert plain.memory is None
    assert remembering.memory is not None
    assert remembering.trained_month == date(2023, 5, 1)
    assert query(
        shop.warehouse, "SELECT fired FROM refit_triggers WHERE metric = 'memory_available' AND month = '2023-05-01'"
    ) == [(True,)]
    lineage = query(shop.warehouse, "SELECT relation FROM segment_lineage WHERE month = '2023-05-01'")
    assert lineage.count(("continued",)) >= 2
    # the customers of June are judged under a champion that is replayed, and it stays
    assert query(shop.warehouse, "SELECT count(*) FROM champions WHERE month = '2023-06-01' AND model_version = 2") == [
        (1,)
    ]


@pytest.mark.months
def test_a_warehouse_that_began_without_memory_goes_on_with_it(shop, materialize):
    shop.configure()
    for month in ("2023-03", "2023-04"):
        materialize(shop, month, selection=CUSTOMERS + MODELS)
    shop.configure(memory=True)
    materialize(shop, "2023-05", selection=CUSTOMERS + MODELS)
    assert [champion.memory is not None for champion in champions(shop)] == [False, True]


@pytest.mark.months
def test_where_fewer_have_their_months_replayed_a_model_without_memory_is_judged_on_those_it_was_chosen_by(
    shop, materialize
):
    """Of a million customers a first month chose segments that its own check then refused: they were fitted to 250,000,
    and judged again on the 20,000 of whom as many customer-months were read."""
    shop.configure(first_month="2023-05", memory=True, more="memory: {min_stay: 1}")  # none with memory may serve
    text = shop.config_path.read_text().replace("seed: 7,", "seed: 7, fit_sample: 800,")
    shop.config_path.write_text(text)
    materialize(shop, "2023-05", selection=[*CUSTOMERS, "candidate_models"])
    config, month = load_config(shop.config_path), date(2023, 5, 1)
    with duckdb.connect(str(shop.warehouse)) as connection:
        inputs = decision_inputs(connection, config, month)
        (accepted,) = connection.execute("SELECT count(*) FROM validated_features").fetchone()
        replayed = read_customer_months(connection, month, inputs.space.names, 12, config.model.fit_sample)
    assert len(replayed.ids) < accepted / 2
    assert inputs.challenger is not None
    assert inputs.challenger_memory is None
    assert len(inputs.X) == accepted
    # where the champion before has a memory, its months are replayed all the same
    remembering = replace(inputs, months=replayed, X=inputs.X[:100], judged_on=inputs.X)
    spike = replace(inputs.challenger, covariances=inputs.challenger.covariances * 1e-12)
    champion = replace(decide(inputs, config).champion, mixture=spike)
    decision = Decision(champion, True, "", (), ())
    assert degeneracy_this_month(remembering, decision) == degeneracy_this_month(inputs, decision) is not None
