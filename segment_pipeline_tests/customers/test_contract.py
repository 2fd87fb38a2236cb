"""The contract's rules as SQL, each evaluated by DuckDB on rows that break it and rows that do not."""

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.database.quoting import VISIBLE_CHARACTER, identifier, literal

HOSTILE_NAMES = [
    "order count",
    'a "quoted" name',
    "it's",
    "'; DROP TABLE customers; --",
    '"; DROP TABLE customers; --',
    "emoji 🛒👩‍👩‍👧",
    "Größe",
    "x" * 300,
    "reason",
    "copies > 1",
    "select",
    "*",
    "a:b",
    "$month {month} %s \\",
    "[0]",
]
NAN, INF = float("nan"), float("inf")


def config_with(*features: dict[str, Any]) -> Config:
    content = {
        "name": "test",
        "first_month": "2017-03",
        "source": {"snapshots": {"path": "customers.csv", "customer_id": "id"}},
        "features": list(features),
    }
    return parse_config(json.dumps(content, ensure_ascii=False), Path("segmentation.yaml"))


def reasons(
    config: Config,
    values: dict[str, float | None],
    *,
    customer_id: str | None = "c1",
    unreadable: list[str] | None = None,
    copies: int = 1,
    unreadable_amounts: int | None = 0,
    missing_order_ids: int | None = 0,
    limits: dict[str, tuple[float, float]] | None = None,
) -> list[str]:
    """The reason codes of one row, as DuckDB computes them."""
    with duckdb.connect() as connection:
        columns = ", ".join(f"{identifier(name)} DOUBLE" for name in config.feature_names)
        connection.execute(
            f"CREATE TABLE customers (customer_id VARCHAR, unreadable VARCHAR[], copies BIGINT, "
            f"unreadable_amounts BIGINT, missing_order_ids BIGINT, {columns})"
        )
        row = [customer_id, [] if unreadable is None else unreadable, copies, unreadable_amounts, missing_order_ids]
        row += [values[name] for name in config.feature_names]
        connection.execute(f"INSERT INTO customers VALUES ({', '.join('?' * len(row))})", row)
        found = connection.execute(f"SELECT {build_contract(config).reasons_sql(limits)} FROM customers").fetchall()
    assert len(found) == 1
    return found[0][0]


ORDERS = config_with({"name": "orders", "transform": "log1p", "valid": {"min": 1, "max": 100}})


def test_a_sound_row_has_no_reasons() -> None:
    assert reasons(ORDERS, {"orders": 3.0}) == []


@pytest.mark.parametrize("limit", [1.0, 100.0])
def test_both_limits_are_valid_values(limit: float) -> None:
    assert reasons(ORDERS, {"orders": limit}) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "missing:orders"),
        (NAN, "not_finite:orders"),
        (INF, "not_finite:orders"),
        (-INF, "not_finite:orders"),
        (0.999, "below_minimum:orders"),
        (-1e308, "below_minimum:orders"),
        (100.001, "above_maximum:orders"),
        (1e308, "above_maximum:orders"),
    ],
)
def test_a_value_out_of_order_gives_exactly_one_reason(value: float | None, code: str) -> None:
    assert reasons(ORDERS, {"orders": value}) == [code]


def test_text_that_is_no_number_is_not_called_missing() -> None:
    assert reasons(ORDERS, {"orders": None}, unreadable=["orders"]) == ["not_a_number:orders"]


def test_a_row_without_a_list_of_unreadable_features_is_judged_as_if_it_were_empty() -> None:
    with duckdb.connect() as connection:
        query = (
            f"SELECT {build_contract(ORDERS).reasons_sql()} FROM (SELECT 'c' AS customer_id, 1 AS copies, "
            "0 AS unreadable_amounts, 0 AS missing_order_ids, CAST(NULL AS VARCHAR[]) AS unreadable, "
            "CAST(NULL AS DOUBLE) AS orders)"
        )
        assert connection.execute(query).fetchall() == [(["missing:orders"],)]


@pytest.mark.parametrize("blank", [None, "", " ", "   ", "\t\n", "\u00a0", "\u3000 \u2003", "\u200b", "\ufeff", "\x00"])
def test_an_id_without_a_visible_character_is_missing(blank: str | None) -> None:
    assert reasons(ORDERS, {"orders": 2.0}, customer_id=blank) == ["missing_customer_id"]


@pytest.mark.parametrize(
    "customer_id", ["0", " 7 ", "'; DROP TABLE customers; --", "🛒", "é", "中", "x" * 300, "\u200ba"]
)
def test_any_visible_id_is_an_id(customer_id: str) -> None:
    assert reasons(ORDERS, {"orders": 2.0}, customer_id=customer_id) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=40))
def test_duckdb_and_python_agree_on_what_is_blank(texts: list[str]) -> None:
    with duckdb.connect() as connection:
        query = f"SELECT regexp_matches(text, {literal(VISIBLE_CHARACTER)}) FROM (SELECT unnest(?) AS text)"
        found = [row[0] for row in connection.execute(query, [texts]).fetchall()]
    assert found == [re.search(VISIBLE_CHARACTER, text) is not None for text in texts]


def test_a_customer_that_comes_twice_is_a_duplicate() -> None:
    assert reasons(ORDERS, {"orders": 2.0}, copies=2) == ["duplicate_customer_id"]


def test_order_lines_that_cannot_be_counted_reject_their_customer() -> None:
    assert reasons(ORDERS, {"orders": 2.0}, unreadable_amounts=1) == ["unreadable_amount"]
    assert reasons(ORDERS, {"orders": 2.0}, missing_order_ids=4) == ["missing_order_id"]
    assert reasons(ORDERS, {"orders": 2.0}, unreadable_amounts=None, missing_order_ids=None) == []


def test_a_row_carries_all_its_reasons_in_the_order_of_the_rules() -> None:
    config = config_with({"name": "b", "valid": {"min": 0}}, {"name": "a", "valid": {"max": 0}}, {"name": "c"})
    found = reasons(
        config,
        {"b": -1.0, "a": 1.0, "c": None},
        customer_id="  ",
        copies=3,
        unreadable_amounts=1,
        missing_order_ids=1,
        unreadable=["c"],
    )
    assert found == [
        "missing_customer_id",
        "duplicate_customer_id",
        "unreadable_amount",
        "missing_order_id",
        "below_minimum:b",
        "above_maximum:a",
        "not_a_number:c",
    ]


def test_a_feature_without_a_valid_range_takes_every_finite_number() -> None:
    free = config_with({"name": "balance"})
    assert reasons(free, {"balance": -1e308}) == []
    assert reasons(free, {"balance": NAN}) == ["not_finite:balance"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_feature_name_is_data_whatever_it_holds(name: str) -> None:
    config = config_with({"name": name, "valid": {"min": 0, "max": 10}, "outliers": "reject"})
    assert reasons(config, {name: 5.0}) == []
    assert reasons(config, {name: -1.0}) == [f"below_minimum:{name}"]
    assert reasons(config, {name: 11.0}) == [f"above_maximum:{name}"]
    assert reasons(config, {name: NAN}) == [f"not_finite:{name}"]
    assert reasons(config, {name: None}) == [f"missing:{name}"]
    assert reasons(config, {name: None}, unreadable=[name]) == [f"not_a_number:{name}"]
    assert reasons(config, {name: 9.0}, limits={name: (1.0, 8.0)}) == [f"outlier:{name}"]


def test_all_hostile_features_live_in_one_table() -> None:
    config = config_with(*({"name": name, "valid": {"min": 0}} for name in HOSTILE_NAMES))
    values: dict[str, float | None] = dict.fromkeys(HOSTILE_NAMES, 1.0)
    assert reasons(config, values) == []
    assert reasons(config, {**values, "it's": -1.0, "*": NAN}) == ["below_minimum:it's", "not_finite:*"]


def test_only_the_reject_policy_makes_an_outlier_a_reason() -> None:
    limits = {"orders": (2.0, 50.0)}
    for policy, expected in (("keep", []), ("cap", []), ("reject", ["outlier:orders"])):
        config = config_with({"name": "orders", "outliers": policy})
        assert reasons(config, {"orders": 51.0}, limits=limits) == expected
        assert reasons(config, {"orders": 1.0}, limits=limits) == expected
        assert reasons(config, {"orders": 50.0}, limits=limits) == []


def test_an_infinite_value_is_not_also_an_outlier() -> None:
    config = config_with({"name": "orders", "outliers": "reject"})
    assert reasons(config, {"orders": INF}, limits={"orders": (0.0, 1.0)}) == ["not_finite:orders"]


def test_a_limit_that_is_no_number_never_becomes_sql() -> None:
    config = config_with({"name": "orders", "outliers": "reject"})
    with pytest.raises(ValueError, match="nan"):
        build_contract(config).reasons_sql({"orders": (NAN, 1.0)})


def test_limits_are_compared_to_the_last_bit() -> None:
    limit = 0.1 + 0.2  # 0.30000000000000004
    config = config_with({"name": "share", "valid": {"max": limit}})
    assert reasons(config, {"share": limit}) == []
    assert reasons(config, {"share": 0.30000000000000010}) == ["above_maximum:share"]


def test_every_rule_has_its_own_code_and_says_what_it_is_about() -> None:
    config = config_with(*({"name": name, "valid": {"min": 0, "max": 1}} for name in HOSTILE_NAMES))
    rules = build_contract(config).rules_with({})
    assert len({rule.code for rule in rules}) == len(rules)
    assert all(rule.description.endswith(".") for rule in rules)


@settings(max_examples=40, deadline=None)
@given(
    value=st.one_of(st.none(), st.floats()),
    unreadable=st.booleans(),
    customer_id=st.one_of(st.none(), st.sampled_from(["", "  ", "c1", "\u200b"])),
    copies=st.integers(1, 3),
)
def test_a_row_is_accepted_exactly_when_a_person_would_accept_it(
    value: float | None, unreadable: bool, customer_id: str | None, copies: int
) -> None:
    found = reasons(
        ORDERS,
        {"orders": None if unreadable else value},
        unreadable=["orders"] if unreadable else [],
        customer_id=customer_id,
        copies=copies,
    )
    sound = customer_id == "c1" and copies == 1 and not unreadable and value is not None and 1 <= value <= 100
    assert (found == []) == sound
