"""Whether to believe it, through real runs: the audit's file, what is wrong with it, and the unusual customers."""

import shutil

import pytest

from segment_pipeline.config.config import parse_config
from segment_pipeline.errors import ConfigError
from segment_pipeline_tests.planted_customers import CONFIG
from segment_pipeline_tests.shop import Shop, query

AUDIT = "audit: {path: 'theirs_{month}.csv', customer_id: who, segment: grade}\n"
SELECTION = ["segment_audit", "outlier_groups", "published_segments"]
MARCH = "month = DATE '2023-03-01'"


@pytest.fixture
def shop_with_grades(three_months, tmp_path):
    """The shop after March to May, with a file of grades for March."""
    shop = Shop(tmp_path)
    shutil.copytree(three_months.folder, shop.folder, dirs_exist_ok=True)
    shop.configure(last_month="2023-05", more=AUDIT)
    rows = query(shop.warehouse, f"SELECT customer_id, orders FROM validated_features WHERE {MARCH}")
    lines = [f"{customer},{'often' if orders > 10 else 'seldom'}" for customer, orders in rows]
    (shop.folder / "theirs_2023-03.csv").write_text("\n".join(["who,grade", *lines]))
    return shop


def check(result):
    (found,) = [row for row in result.get_asset_check_evaluations() if row.check_name == "audit_can_be_made"]
    return found


def test_a_month_publishes_its_audit_and_its_unusual_customers(shop_with_grades, materialize):
    result = materialize(shop_with_grades, "2023-03", selection=SELECTION)
    assert check(result).passed
    ((customers, assigned),) = query(
        shop_with_grades.published,
        f"""SELECT (SELECT sum(customers) FROM segment_audit WHERE {MARCH}),
            (SELECT count(*) FROM monthly_assignments WHERE {MARCH})""",
    )
    assert customers == assigned > 500
    lists = f"SELECT list, count(*) FROM segment_audit_customers WHERE {MARCH} GROUP BY ALL"
    assert dict(query(shop_with_grades.published, lists))["top_revenue"] == 50
    audit = result.asset_materializations_for_node("segment_audit")[0].metadata
    assert "adjusted Rand index" in audit["findings"].value
    groups = result.asset_materializations_for_node("outlier_groups")[0].metadata
    assert groups["chart"].value.startswith("![Unusual customers of 2023-03](data:image/svg+xml;base64,")
    assert groups["recommendations"].records[0].data["recommendation"] in ("keep", "cap", "reject")
    unusual = f"SELECT count(*) FROM outlier_customers WHERE {MARCH}"
    assert query(shop_with_grades.published, unusual) == [(groups["unusual_customers"].value,)]


def test_a_file_that_is_missing_costs_no_month(shop_with_grades, materialize):
    result = materialize(shop_with_grades, "2023-04", selection=SELECTION)
    assert result.success
    found = check(result)
    assert not found.passed
    assert found.severity.name == "WARN"
    assert "theirs_2023-04.csv does not exist" in found.metadata["observed"].data["problems"][0]
    assert query(shop_with_grades.published, "SELECT metric FROM segment_audit_summary") == [("not_made",)]


def test_without_an_audit_in_the_file_the_asset_says_so_and_writes_nothing(shop_with_grades, materialize):
    shop_with_grades.configure(last_month="2023-05")
    result = materialize(shop_with_grades, "2023-03", selection=["segment_audit"])
    found = check(result)
    assert found.passed
    assert "the configuration names no segments" in found.metadata["observed"].data["remarks"][0]
    assert query(shop_with_grades.warehouse, "SELECT count(*) FROM segment_audit_summary") == [(0,)]


@pytest.mark.parametrize(
    ("audit", "message"),
    [
        ("{path: a.csv, segment: s}", "audit.customer_id: found nothing; allowed: the column of the file"),
        ("{customer_id: c, segment: s}", "audit.path: found nothing; allowed: the file with that customer_id"),
        ("{path: a.csv, customer_id: c}", "audit.segment: found nothing"),
        ("{path: 'a_{year}.csv', customer_id: c, segment: s}", "found the placeholder {year}"),
    ],
)
def test_what_is_wrong_with_the_keys_is_told(audit, message):
    text = CONFIG[: CONFIG.index("audit: {")] + f"audit: {audit}\n"
    with pytest.raises(ConfigError) as refused:
        parse_config(text, "segmentation.yaml")
    assert message in str(refused.value)


def test_a_column_of_order_lines_is_no_segment_of_a_customer(tmp_path):
    shop = Shop(tmp_path).configure(more="audit: {segment: grade}")
    with pytest.raises(ConfigError, match=r"audit\.path: found nothing; allowed: with a source of orders, a file"):
        parse_config(shop.config_path.read_text(), shop.config_path)
