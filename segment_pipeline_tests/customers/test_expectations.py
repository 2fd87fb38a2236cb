"""The gate: every outcome passes on good data, and fails on bad data with what was observed and what is allowed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.customers import expectations
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.expectations import (
    CHECK_SPECS,
    UNSEEN_KINDS,
    CheckOutcome,
    ExpectationRaisedError,
    Expected,
    expected_types,
    expected_values,
    validate_month,
)
from segment_pipeline.customers.split_store import accepted_frame
from segment_pipeline.database.store import month_literal, prepare
from segment_pipeline.publishing.catalogue import TABLES

FEATURES = [
    {"name": "orders", "transform": "log1p", "valid": {"min": 1}},
    {"name": "share", "valid": {"min": 0, "max": 1}},
    {"name": 'emoji 🛒 "; DROP TABLE', "valid": {"max": 0}},
    {"name": "$customers {x}.y" + "x" * 280},
]


def config_with(features: list[dict[str, Any]] = FEATURES, **quality: float) -> Config:
    content = {
        "name": "test",
        "first_month": "2017-03",
        "source": {"snapshots": {"path": "customers.csv", "customer_id": "id"}},
        "features": features,
        "quality": quality,
    }
    return parse_config(json.dumps(content, ensure_ascii=False), Path("segmentation.yaml"))


def good_month(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "month": pd.Timestamp("2017-03-01"),
            "customer_id": [f"c{i}" for i in range(rows)],
            "orders": rng.integers(1, 20, rows).astype(float),
            "share": rng.random(rows),
            'emoji 🛒 "; DROP TABLE': -rng.random(rows),
            "$customers {x}.y" + "x" * 280: rng.normal(size=rows),
        }
    )


def judge(
    frame: pd.DataFrame,
    config: Config | None = None,
    *,
    raw_rows: int = 610,
    rejected_rows: int = 10,
    previous_rows: int | None = 550,
    customers: int | None = None,
) -> dict[str, CheckOutcome]:
    config = config or config_with()
    outcomes = validate_month(
        frame,
        build_contract(config),
        customers=len(frame) if customers is None else customers,
        raw_rows=raw_rows,
        rejected_rows=rejected_rows,
        previous_rows=previous_rows,
        config=config,
    )
    assert [outcome.check for outcome in outcomes] == list(CHECK_SPECS)
    json.dumps([[outcome.observed, outcome.limit] for outcome in outcomes], allow_nan=False)
    return {outcome.check.name: outcome for outcome in outcomes}


def failed(outcomes: dict[str, CheckOutcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if not outcome.passed]


def with_values(**cells: tuple[int, Any]) -> pd.DataFrame:
    frame = good_month()
    for column, (row, value) in cells.items():
        frame.loc[row, column] = value
    return frame


def test_a_good_month_passes_every_check() -> None:
    outcomes = judge(good_month())
    assert failed(outcomes) == []
    assert all(outcome.expectations for outcome in outcomes.values())
    assert outcomes["values_within_valid_range"].limit["share"] == "0 to 1"
    assert outcomes["values_within_valid_range"].limit["orders"] == "1 or more"


def test_a_month_read_from_duckdb_passes_too() -> None:
    import duckdb

    frame = good_month()
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        assert failed(judge(connection.execute("SELECT * FROM frame").df())) == []


@pytest.mark.parametrize(
    ("value", "seen"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (0.0, "0.0"), (-5.0, "-5.0")]
)
def test_a_value_out_of_range_is_found_and_shown(value: float, seen: str) -> None:
    outcomes = judge(with_values(orders=(3, value)))
    assert failed(outcomes) == ["values_within_valid_range"]
    observed = outcomes["values_within_valid_range"].observed
    assert observed["values_outside"] == 1
    assert observed["features_outside"] == {"orders": f"1 of 600 values, such as {seen}"}


def test_the_upper_limit_holds_for_hostile_names_too() -> None:
    outcomes = judge(with_values(**{'emoji 🛒 "; DROP TABLE': (0, 0.5)}))
    assert failed(outcomes) == ["values_within_valid_range"]
    assert outcomes["values_within_valid_range"].limit['emoji 🛒 "; DROP TABLE'] == "at most 0"


@pytest.mark.parametrize(
    ("customer_id", "observed"),
    [(None, {"missing": 1}), ("  ", {"blank": 1}), ("\u200b", {"blank": 1}), ("c5", {"duplicated": 2})],
)
def test_ids_have_to_be_there_and_be_unique(customer_id: str | None, observed: dict[str, int]) -> None:
    outcomes = judge(with_values(customer_id=(0, customer_id)))
    assert failed(outcomes) == ["customer_ids_unique_and_present"]
    found = outcomes["customer_ids_unique_and_present"]
    assert found.observed == {"customers": 600, "looked_at": 600, "missing": 0, "blank": 0, "duplicated": 0, **observed}
    assert found.limit == {"missing": 0, "blank": 0, "duplicated": 0}


def test_a_missing_column_is_a_failed_check_and_no_crash() -> None:
    outcomes = judge(good_month().drop(columns="share"))
    assert failed(outcomes) == ["columns_and_types", "values_within_valid_range"]
    assert outcomes["columns_and_types"].observed == {"missing_columns": ["share"], "wrong_types": {}}
    outside = outcomes["values_within_valid_range"].observed["features_outside"]
    assert outside == {"share": "not evaluated, see columns_and_types"}


def test_a_missing_customer_id_column_is_a_failed_check_and_no_crash() -> None:
    outcomes = judge(good_month().drop(columns="customer_id"))
    assert failed(outcomes) == ["columns_and_types", "customer_ids_unique_and_present"]


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("orders", lambda column: column.astype(str)),
        ("orders", lambda column: column.astype(object)),
        ("orders", lambda column: column.astype("int64")),
        ("customer_id", lambda column: pd.Series(range(len(column)))),
    ],
)
def test_a_wrong_type_is_a_failed_check_and_no_crash(column: str, change: Callable[[pd.Series], pd.Series]) -> None:
    frame = good_month()
    frame[column] = change(frame[column])
    outcomes = judge(frame)
    assert "columns_and_types" in failed(outcomes)
    assert outcomes["columns_and_types"].observed["wrong_types"] == {column: str(frame[column].dtype)}


def test_further_columns_do_no_harm() -> None:
    assert failed(judge(good_month().assign(total_spend=np.inf))) == []


@pytest.mark.parametrize(("rejected", "passes"), [(0, True), (50, True), (51, False), (1000, False)])
def test_the_share_rejected_has_a_limit(rejected: int, passes: bool) -> None:
    outcomes = judge(good_month(), raw_rows=1000, rejected_rows=rejected)
    found = outcomes["share_rejected_within_limit"]
    assert found.passed == passes
    assert found.observed == {"rejected_share": rejected / 1000, "rejected_rows": rejected, "raw_rows": 1000}
    assert found.limit == {"rejected_share": 0.05}


@pytest.mark.parametrize(("previous", "passes"), [(400, True), (399, False), (600, True), (1200, True), (1201, False)])
def test_the_number_of_customers_may_not_jump(previous: int, passes: bool) -> None:
    found = judge(good_month(), previous_rows=previous)["row_count_close_to_previous_month"]
    assert found.passed == passes
    assert found.observed["relative_change"] == (600 - previous) / previous
    assert found.limit == {"relative_change": 0.5}


@pytest.mark.parametrize("previous", [None, 0])
def test_the_first_month_has_nothing_to_be_close_to(previous: int | None) -> None:
    found = judge(good_month(), previous_rows=previous)["row_count_close_to_previous_month"]
    assert found.passed
    assert found.observed["relative_change"] is None


def test_too_few_customers_stop_the_month() -> None:
    found = judge(good_month(499), previous_rows=None)["enough_customers"]
    assert not found.passed
    assert (found.observed, found.limit) == ({"customers": 499}, {"customers": 500})
    assert judge(good_month(499), config_with(min_customers=499), previous_rows=None)["enough_customers"].passed


def test_a_month_without_a_single_customer_fails_for_that_reason_only() -> None:
    empty = good_month()[:0].astype({"customer_id": object})
    assert failed(judge(empty, raw_rows=0, rejected_rows=0, previous_rows=None)) == ["enough_customers"]


def test_of_a_sample_the_month_is_judged_by_its_customers_and_says_how_many_were_looked_at() -> None:
    outcomes = judge(with_values(orders=(3, -1.0)), raw_rows=10_010, previous_rows=9_000, customers=10_000)
    assert failed(outcomes) == ["values_within_valid_range"]
    for name in ("customer_ids_unique_and_present", "values_within_valid_range"):
        observed = outcomes[name].observed
        assert (observed["customers"], observed["looked_at"]) == (10_000, 600)
    assert outcomes["enough_customers"].observed == {"customers": 10_000}


def test_only_the_comparison_with_last_month_lets_the_month_through() -> None:
    outcomes = judge(good_month())
    warning = [name for name, outcome in outcomes.items() if not outcome.check.blocking]
    assert warning == ["row_count_close_to_previous_month"]


def test_a_feature_may_be_called_like_a_key_of_the_outcome() -> None:
    config = config_with([{"name": "customers", "valid": {"min": 0}}, {"name": "values_outside"}])
    frame = pd.DataFrame({"customer_id": ["a", "b"], "customers": [1.0, -1.0], "values_outside": [1.0, 2.0]})
    observed = judge(frame, config)["values_within_valid_range"].observed
    assert (observed["customers"], observed["values_outside"]) == (2, 1)
    assert list(observed["features_outside"]) == ["customers"]


def test_every_rule_of_the_contract_is_an_expectation_or_leaves_no_trace() -> None:
    contract = build_contract(config_with())
    covered = {code for expected in (*expected_types(contract), *expected_values(contract)) for code in expected.codes}
    assert covered == {rule.code for rule in contract.rules if rule.kind not in UNSEEN_KINDS}


def test_an_expectation_that_raised_is_an_error_and_not_a_data_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(contract: object) -> list[Expected]:
        return [
            Expected("values_within_valid_range", "ExpectColumnValuesToMatchRegex", {"column": "orders", "regex": "("})
        ]

    monkeypatch.setattr(expectations, "expected_values", broken)
    with pytest.raises(
        ExpectationRaisedError, match=r"ExpectColumnValuesToMatchRegex on 'orders' could not be evaluated"
    ):
        judge(good_month())


def test_upstream_still_calls_an_expectation_that_raised_a_failure() -> None:
    """Why `exception_info` is read at all. When this fails, great-expectations raises by itself: simplify `_judge`."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    batch = gx.get_context(mode="ephemeral").data_sources.pandas_default.read_dataframe(good_month())
    result = batch.validate(gxe.ExpectColumnValuesToNotBeNull(column="no such column"))
    assert result.success is False


QUIET_RUN = """
import socket, sys

def refuse(*arguments, **options):
    raise AssertionError(f"a connection was attempted: {arguments[1:]}")

socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse

import pandas as pd
from pathlib import Path
from segment_pipeline.config.config import parse_config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.expectations import validate_month

config = parse_config('''
name: test
first_month: 2017-03
source: {snapshots: {path: x.csv, customer_id: id}}
features: [{name: orders, valid: {min: 1}}]
''', Path("segmentation.yaml"))
assert "great_expectations" not in sys.modules, "imported too early"
frame = pd.DataFrame({"customer_id": ["a", "a", None], "orders": [1.0, -1.0, float("inf")]})
outcomes = validate_month(
    frame, build_contract(config), customers=3, raw_rows=3, rejected_rows=0, previous_rows=None, config=config
)
assert [outcome.passed for outcome in outcomes] == [True, False, False, True, True, False]
"""


TWO_AT_ONCE = """
import sys, types
from threading import Thread
import pandas as pd
from segment_pipeline import helper
from segment_pipeline.customers.expectations import Expected, judge

engine = sys.modules["pyspark"] = types.ModuleType("pyspark")
frame = pd.DataFrame({"orders": [1.0, 2.0]})
wanted = [Expected("values", "ExpectColumnValuesToNotBeNull", {"column": "orders"})]
found = []
beside = helper.Helper("pass")
helper._helper = beside
beside._process.kill()
asked = [helper.aside(judge, frame, wanted) for _ in range(2)]
threads = [Thread(target=lambda one=one: found.append(one()[0].passed)) for one in asked]
for thread in threads: thread.start()
for thread in threads: thread.join()
beside.close()
assert found == [True, True], found
assert sys.modules["pyspark"] is engine
"""


@pytest.mark.process
def test_without_the_helper_that_was_killed_two_judgements_at_once_are_made_here_and_pyspark_is_as_before() -> None:
    subprocess.run([sys.executable, "-c", TWO_AT_ONCE], check=True, timeout=120)


@pytest.mark.process
def test_nothing_is_printed_nothing_is_left_behind_and_nobody_is_called(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home)}
    environment.pop("GX_ANALYTICS_ENABLED", None)
    done = subprocess.run(
        [sys.executable, "-c", QUIET_RUN], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]


@pytest.mark.process
def test_the_gate_loads_great_expectations_only_when_it_validates() -> None:
    code = (
        "import sys; from segment_pipeline.customers import contract, expectations;"
        "print(sorted({'great_expectations', 'pandas', 'numpy', 'duckdb', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_of_a_large_month_a_sample_is_looked_at_with_all_copies_of_an_id_and_whoever_has_none() -> None:
    import duckdb

    config, month = config_with(), date(2023, 6, 1)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        connection.execute(f"""
            INSERT INTO validated_features BY NAME
            SELECT {month_literal(month)} AS month, 'c' || range // 2 AS customer_id FROM range(8000)
            UNION ALL SELECT {month_literal(month)}, NULL
        """)
        frame = accepted_frame(connection, config, month, 2000)
        assert list(frame.columns) == ["customer_id", *config.model_feature_names]
        assert 1800 < len(frame) < 2200
        assert frame["customer_id"].isna().sum() == 1
        assert set(frame["customer_id"].dropna().value_counts()) == {2}
        assert len(accepted_frame(connection, config, month, 8001)) == 8001
