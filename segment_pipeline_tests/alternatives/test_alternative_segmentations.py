"""Alternatives and the verdict through the real assets: when they are computed, from what, and what bad input costs."""

from pathlib import Path

import duckdb
import pytest

from segment_pipeline.alternatives.alternatives_store import rules_that_fail
from segment_pipeline.alternatives.methods import METHODS
from segment_pipeline.config.config import load_config
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

ASSET = "alternative_segmentations"
UP_TO_IT = [
    "raw_customers",
    "validated_features",
    "scaled_matrix",
    "candidate_models",
    "selected_model",
    "monthly_assignments",
    "churn_risk",
    ASSET,
]


@pytest.fixture(scope="module")
def grown(tmp_path_factory, materialize) -> Shop:
    """The shop with two months up to the asset: the first has bootstrapped, the second keeps its champion. Each order
    line has a colour, that of its customer's habit on two lines of three, and a postcode of the order's own."""
    folder = tmp_path_factory.mktemp("grown")
    lines = order_lines()
    colours = ("red", "green", "blue")
    numbers = [int(str(customer)[1:]) for customer in lines["customer"]]
    lines["colour"] = [colours[(number if i % 3 else i) % 3] for i, number in enumerate(numbers)]
    lines["shade"] = [colours[number % 3] + "ish" for number in numbers]
    lines["postcode"] = [f"{i:05d}" for i in range(len(numbers))]
    write_parquet(lines, folder / "orders.parquet")
    shop = Shop(folder).configure(
        more="""alternatives:
  rules:
    size: CASE WHEN orders > 12 THEN 'regular' WHEN products_per_order > 8 THEN 'big' ELSE 'occasional' END
    nobody: CASE WHEN orders > 1000000 THEN 'whale' END
    broken: CASE WHEN orders
    missing: loyalty_card
    two: "1) AS VARCHAR) AS value; SELECT CAST((1"
  categorical: [colour, upper(shade), postcode, horoscope]
"""
    )
    materialize(shop, "2023-03", selection=UP_TO_IT)
    materialize(shop, "2023-04", selection=UP_TO_IT)
    return shop


def checked(result):
    (evaluation,) = [found for found in result.get_asset_check_evaluations() if found.check_name.startswith("altern")]
    return evaluation


def test_the_first_month_has_every_method_with_its_figures(grown):
    rows = {
        row[0]: row[1:]
        for row in query(
            grown.warehouse,
            f"SELECT method, segments, customers, noise_share, agreement, verdict FROM {ASSET} "
            "WHERE month = '2023-03-01'",
        )
    }
    assert set(rows) == {*METHODS, "rule: size"}
    (accepted,) = query(grown.warehouse, "SELECT count(*) FROM validated_features WHERE month = '2023-03-01'")
    for method, (segments, customers, noise, agreement, verdict) in rows.items():
        assert segments is not None, method
        assert customers == accepted[0], method
        assert 0 <= noise <= 1, method
        assert -1 <= agreement <= 1, method
        assert verdict.endswith("."), method
    assert rows["champion"][3] == 1
    assert rows["rule: size"][0] == 3


def test_a_text_column_of_order_lines_is_the_customers_commonest(grown):
    """Colour and shade are the habit in the end, so the latent classes are the three habits."""
    found = query(grown.warehouse, f"SELECT segments FROM {ASSET} WHERE method = 'latent_classes'")
    assert found == [(3,)]


def test_a_verdict_and_its_findings_stand_beside_the_champion(grown):
    verdicts = query(grown.warehouse, "SELECT month, model_version, verdict, reason FROM suitability")
    assert len(verdicts) == 1
    assert verdicts[0][1] == 1
    findings = dict(query(grown.warehouse, "SELECT finding, holds FROM suitability_findings"))
    assert len(findings) == 15
    assert not findings["few_customers"]


def test_the_hierarchy_is_whole(grown):
    rows = query(grown.warehouse, "SELECT node, parent, customers FROM segment_hierarchy ORDER BY node")
    whole = rows[0][2]
    assert rows[0][:2] == (1, None)
    parents = {parent for _, parent, _ in rows}
    assert sum(customers for node, _, customers in rows if node not in parents) == whole


def test_a_month_that_keeps_its_champion_has_none_and_says_when_they_were_computed(grown, materialize):
    assert query(grown.warehouse, f"SELECT count(*) FROM {ASSET} WHERE month = '2023-04-01'") == [(0,)]
    result = materialize(grown, "2023-04", selection=[ASSET])
    told = result.asset_materializations_for_node(ASSET)[0].metadata
    assert told["last_computed"].value == "last computed in 2023-03"
    assert told["dagster/partition_row_count"].value == 0


def test_a_rule_that_is_new_in_the_file_does_not_wait_for_the_next_refit(grown, materialize):
    before = grown.config_path.read_text()
    try:
        grown.config_path.write_text(before.replace("    nobody: CASE", "    often: orders > 5\n    nobody: CASE"))
        materialize(grown, "2023-04", selection=[ASSET])
        found = query(
            grown.warehouse, f"SELECT segments FROM {ASSET} WHERE month = '2023-04-01' AND method = 'rule: often'"
        )
        assert found == [(2,)]
    finally:
        grown.config_path.write_text(before)
    materialize(grown, "2023-04", selection=[ASSET])
    assert query(grown.warehouse, f"SELECT count(*) FROM {ASSET} WHERE month = '2023-04-01'") == [(0,)]


def test_check_refuses_rules_that_no_customer_could_follow(grown):
    found = rules_that_fail(load_config(grown.config_path))
    assert [problem.split(": ")[0] for problem in found] == [
        "alternatives.rules.broken",
        "alternatives.rules.missing",
        "alternatives.rules.two",
    ]


def test_on_demand_any_month_has_them_until_it_is_run_again_without(grown, materialize):
    ask = {"ops": {ASSET: {"config": {"on_demand": True}}}}
    result = materialize(grown, "2023-04", selection=[ASSET], run_config=ask)
    told = result.asset_materializations_for_node(ASSET)[0].metadata
    assert told["last_computed"].value == "last computed in 2023-04"
    assert told["verdict"].value
    assert [record.data["method"] for record in told["methods"].records] == [*METHODS, "rule: size"]
    materialize(grown, "2023-04", selection=[ASSET])
    assert query(grown.warehouse, f"SELECT count(*) FROM {ASSET} WHERE month = '2023-04-01'") == [(0,)]


def test_what_cannot_be_used_is_named_and_costs_no_month(grown, materialize):
    result = materialize(grown, "2023-03", selection=[ASSET])
    assert result.success
    check = checked(result)
    assert not check.passed
    problems = {problem.split(": ")[0]: problem for problem in check.metadata["observed"].value["problems"]}
    assert set(problems) == {
        "alternatives.rules.nobody",
        "alternatives.rules.broken",
        "alternatives.rules.missing",
        "alternatives.rules.two",
        "alternatives.categorical[2] (postcode)",
        "alternatives.categorical[3] (horoscope)",
    }
    assert "matches none of the" in problems["alternatives.rules.nobody"]
    assert "loyalty_card" in problems["alternatives.rules.missing"]
    assert "Expected one SQL expression over the features" in problems["alternatives.rules.broken"]
    assert "different values" in problems["alternatives.categorical[2] (postcode)"]
    assert "expected 2 to 50" in problems["alternatives.categorical[2] (postcode)"]
    assert "horoscope" in problems["alternatives.categorical[3] (horoscope)"]


def test_a_month_again_gives_the_same_rows(grown, materialize):
    tables = (ASSET, "segment_hierarchy", "suitability", "suitability_findings")

    def content() -> list[object]:
        return [query(grown.warehouse, f"SELECT * FROM {table} ORDER BY ALL") for table in tables]

    before = content()
    materialize(grown, "2023-03", selection=[ASSET])
    assert content() == before


def test_silence_that_is_known_says_how_well_each_method_predicted_it(grown, materialize):
    with duckdb.connect(str(grown.warehouse)) as connection:
        # half of those with few orders fell silent, as if 2023-03 had been observed by 2023-04
        connection.execute("DELETE FROM observed_silence")
        connection.execute(
            "INSERT INTO observed_silence SELECT month, customer_id, orders < 6 AND md5(customer_id) < '8', "
            "DATE '2023-04-01' FROM validated_features WHERE month = '2023-03-01'"
        )
    ask = {"ops": {ASSET: {"config": {"on_demand": True}}}}
    materialize(grown, "2023-04", selection=[ASSET], run_config=ask)
    found = dict(query(grown.warehouse, f"SELECT method, churn_auc FROM {ASSET} WHERE month = '2023-04-01'"))
    assert all(found[method] > 0.65 for method in ("champion", "k_means", "ward", "rfm_quintiles", "rule: size"))
    assert found["latent_classes"] is None
    of_first = query(grown.warehouse, f"SELECT DISTINCT churn_auc FROM {ASSET} WHERE month = '2023-03-01'")
    assert of_first == [(None,)]  # at the end of 2023-03 nobody knew
    materialize(grown, "2023-04", selection=["churn_risk", ASSET])


SNAPSHOTS = """\
name: clinic
first_month: 2023-03
last_month: 2023-03
source: {{{source}}}
features:
  - {{name: visits, transform: log1p, resolution: 1, valid: {{min: 0}}}}
  - {{name: minutes, transform: log1p, resolution: 0.1, valid: {{min: 0}}}}
model: {{n_components: [2, 3], seed: 3}}
alternatives: {{categorical: [plan, region], monetary: minutes}}
"""


@pytest.mark.parametrize("kind", ["snapshots", "query"])
def test_text_columns_of_ready_made_rows_are_those_of_the_row(tmp_path: Path, materialize, kind):
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.3)")
        connection.execute("SET threads = 1")
        # plan and region go together: two classes
        connection.execute(f"""
            COPY (
                SELECT 'c' || i AS id, CAST(exp(1 + (i % 2) * 1.5 + random()) AS INTEGER) AS visits,
                    round(exp(3 + random() + random() - (i % 2)), 1) AS minutes,
                    CASE WHEN (i % 2 = 0) = (random() < 0.9) THEN 'basic' ELSE 'gold' END AS plan,
                    CASE WHEN random() < 0.1 THEN NULL WHEN (i % 2 = 0) = (random() < 0.9) THEN 'north' ELSE 'south' END
                        AS region
                FROM range(900) AS t(i)
            ) TO '{tmp_path}/rows_2023-03.csv' (HEADER)
        """)
    (tmp_path / "rows.sql").write_text("SELECT * FROM 'rows_2023-03.csv'")
    sources = {
        "snapshots": 'snapshots: {path: "rows_{month}.csv", customer_id: id}',
        "query": "query: {file: rows.sql, customer_id: id}",
    }
    shop = Shop(tmp_path)
    shop.config_path.write_text(SNAPSHOTS.format(source=sources[kind]))
    result = materialize(shop, "2023-03", selection=UP_TO_IT)
    assert checked(result).passed, checked(result).metadata
    found = query(shop.warehouse, f"SELECT segments, agreement FROM {ASSET} WHERE method = 'latent_classes'")
    assert found[0][0] == 2
    assert found[0][1] > 0.2
    unused = query(shop.warehouse, f"SELECT segments, verdict FROM {ASSET} WHERE method = 'rfm_quintiles'")
    assert unused[0][0] is None
    assert "roles.recency" in unused[0][1]
