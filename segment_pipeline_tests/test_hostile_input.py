"""Customers as no one should deliver them, through the real assets: rejected with reasons, or the month stops.

What a file may do to its reader is in `sources/test_sources.py`.
"""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import load_config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import SplitCounts, split_customers
from segment_pipeline.customers.tables import FEATURE_LIMITS, REJECTED_CUSTOMERS, VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier, literal
from segment_pipeline.months import parse_month
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline.sources.tables import TABLES as SOURCE_TABLES
from segment_pipeline_tests.shop import Shop, query

MARCH = parse_month("2023-03")
FIRST_TWO = ["raw_customers", "validated_features"]
Rows = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Customers(Shop):
    """A folder whose source are snapshots: one file of customers a month."""

    def features(self, *features: dict[str, Any], **settings: Any) -> "Customers":
        content = {
            "name": "customers",
            "first_month": "2023-03",
            "source": {"snapshots": {"path": "customers_{month}.parquet", "customer_id": "id"}},
            "features": list(features),
            **settings,
        }
        self.config_path.write_text(json.dumps(content, ensure_ascii=False))
        return self

    def deliver(self, rows: Rows, columns: dict[str, str], month: str = "2023-03") -> "Customers":
        path = literal(str(self.folder / f"customers_{month}.parquet"))
        declared = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns.items())
        marks = f"({', '.join('?' for _ in columns)})"
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE customers ({declared})")
            connection.execute(
                f"INSERT INTO customers VALUES {', '.join(marks for _ in rows)}", [x for row in rows for x in row]
            )
            connection.execute(f"COPY customers TO {path} (FORMAT parquet)")
        return self

    def split(self, connection: duckdb.DuckDBPyConnection) -> SplitCounts:
        """The month read and split without Dagster, for what needs many of them."""
        config = load_config(self.config_path)
        load_raw_customers(connection, config, MARCH)
        return split_customers(connection, config, build_contract(config), MARCH)


@pytest.fixture
def snapshots(tmp_path: Path) -> Customers:
    return Customers(tmp_path)


@contextmanager
def in_memory(*features: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse without a file, for `Customers.split`."""
    with duckdb.connect() as connection:
        for table in (*SOURCE_TABLES, VALIDATED_FEATURES, REJECTED_CUSTOMERS, FEATURE_LIMITS):
            for statement in table.ddl(features if table.features else ()):
                connection.execute(statement)
        yield connection


def clean(count: int, seed: int = 1) -> list[tuple[str, float, float]]:
    """Customers with visits and spend against whom nothing can be said."""
    random = np.random.default_rng(seed)
    spend = np.exp(random.normal(3, 0.5, count))
    visits = 1 + random.poisson(3, count)
    return [(f"c{i:05d}", float(visits[i]), round(float(spend[i]), 2)) for i in range(count)]


VISITS = {"name": "visits", "transform": "log1p", "resolution": 1, "valid": {"min": 0, "max": 1000}}
SPEND = {"name": "spend", "transform": "log1p", "valid": {"min": 0}}
AS_NUMBERS = {"id": "VARCHAR", "visits": "DOUBLE", "spend": "DOUBLE"}
AS_TEXT = dict.fromkeys(AS_NUMBERS, "VARCHAR")


def failure(result: Any) -> str:
    """What a failed run told the user: the error that we raised, and not what lies behind it."""
    error = next(event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    while error.cls_name not in ("SourceError", "NoLinesError", "ContractError"):
        error = error.cause
    return error.message.partition(": ")[2].strip()


def fingerprints(path: Path) -> dict[str, list[tuple]]:
    """Of each table of the warehouse, and of each month of its raw customers, the rows as one number."""
    names = [row[0] for row in query(path, "SELECT table_name FROM duckdb_tables()")]
    found = {name: query(path, f"SELECT count(*), bit_xor(hash(t)) FROM {identifier(name)} AS t") for name in names}
    by_month = "SELECT strftime(month, '%Y-%m'), bit_xor(hash(r)) FROM raw_customers AS r GROUP BY 1"
    return found | {f"raw_customers of {month}": [(number,)] for month, number in query(path, by_month)}


# --- sources that are broken leave everything as it was ---------------------------------------------------------------


def breakages(shop: Shop) -> Iterator[tuple[str, str]]:
    """Break the order lines in one way after the other; yields the way and the message that the user must get."""
    whole = shop.orders_path.read_bytes()
    lines = f"FROM read_parquet({literal(str(shop.orders_path))})"

    def rewrite(sql: str) -> None:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE changed AS {sql}")
            connection.execute(f"COPY changed TO {literal(str(shop.orders_path))} (FORMAT parquet)")

    shop.orders_path.unlink()
    yield "gone", r"orders\.parquet does not exist"
    shop.orders_path.touch()
    yield "empty", r"orders\.parquet is empty \(0 bytes\)"
    shop.orders_path.write_bytes(whole[: len(whole) // 2])
    yield "truncated", r"orders\.parquet cannot be read"
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * EXCLUDE amount {lines}")
    yield "column gone", r"orders\.parquet: source\.orders\.amount is 'amount'; expected a column.*Found:.*\"amount\""
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * REPLACE (amount || ' EUR' AS amount) {lines}")
    yield "type changed", r"source\.orders\.amount \(amount\): found VARCHAR; expected a number"
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * {lines} WHERE ordered_at < TIMESTAMP '2023-05-01'")
    yield "late", r"no order line in 2023-0[56]: its lines go from 2023-01-01 to 2023-04-30"
    a_fifth = "CASE WHEN hash(order_id) % 5 = 0 THEN"
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * REPLACE ({a_fifth} NULL ELSE ordered_at END AS ordered_at) {lines}")
    yield "dates gone", r"order_lines_have_dates: undated \d+; future 0; share 0\.\d+; allowed: share 0\.05"
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * REPLACE ({a_fifth} ordered_at + INTERVAL 100 YEARS ELSE ordered_at END AS ordered_at) {lines}")
    yield "dates in the future", r"order_lines_have_dates: undated 0; future \d+; share 0\.\d+"
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * REPLACE (CASE WHEN hash(customer) % 5 = 0 THEN 'NaN'::DOUBLE ELSE amount END AS amount) {lines}")
    yield "amounts of nothing", r"share_rejected_within_limit: rejected share 0\.\d+.*unreadable_amount"
    shop.orders_path.write_bytes(whole)
    rewrite(f"SELECT * {lines} WHERE hash(customer) % 3 = 0")
    yield "customers gone", r"enough_customers: customers \d+; allowed: customers 500"


def test_a_broken_source_is_named_and_every_month_stays_as_it_was(
    three_months: Shop, tmp_path: Path, materialize: Callable[..., Any]
) -> None:
    shutil.copytree(three_months.folder, tmp_path / "shop")
    shop = Shop(tmp_path / "shop")
    published, before = shop.published.read_bytes(), fingerprints(shop.warehouse)
    instance = dg.DagsterInstance.ephemeral()
    for number, (way, message) in enumerate(breakages(shop)):
        month = ("2023-05", "2023-06")[number % 2]  # one that is there, and the next
        result = materialize(shop, month, selection=FIRST_TWO, raise_on_error=False, instance=instance)
        assert not result.success, way
        told = failure(result)
        assert re.search(message, told), (way, told)
        assert len(told) < 1000, way
        after = fingerprints(shop.warehouse)
        if result.asset_materializations_for_node("raw_customers"):
            # what the source shows stands there, beside what the gate let through before
            written = ("raw_customers", f"raw_customers of {month}", "source_parts", "customer_lines", "source_months")
            for table in (*written, "folded_orders", "folded_months", "pipeline_runs"):
                before[table] = after[table]
        assert after == before, way
        assert shop.published.read_bytes() == published


# --- rows that are not customers --------------------------------------------------------------------------------------

DIRTY: list[tuple[object, object, object, list[str], dict[str, object]]] = [
    # id, visits, spend as the source has them -> reasons, and what the raw row shows
    (None, "1", "1", ["missing_customer_id"], {"customer_id": None}),
    ("", "1", "1", ["missing_customer_id"], {"customer_id": ""}),
    (" \t\u200b", "1", "1", ["missing_customer_id"], {"customer_id": " \t\u200b"}),
    ("twice", "1", "1", ["duplicate_customer_id"], {"visits": "1.0"}),
    ("twice", "2", "1", ["duplicate_customer_id"], {"visits": "2.0"}),
    ("no visits", None, "1", ["missing:visits"], {"visits": None}),
    ("text", "many", "1", ["not_a_number:visits"], {"visits": "many"}),
    ("comma", "1", "3,50", ["not_a_number:spend"], {"spend": "3,50"}),
    ("blank", "", "1", ["not_a_number:visits"], {"visits": ""}),
    ("nan", "NaN", "1", ["not_finite:visits"], {"visits": "nan"}),
    ("inf", "1", "-Infinity", ["not_finite:spend"], {"spend": "-inf"}),
    ("overflow", "1", "1e999", ["not_finite:spend"], {"spend": "inf"}),
    ("negative", "-3", "1", ["below_minimum:visits"], {"visits": "-3.0"}),
    ("large", "1001", "1", ["above_maximum:visits"], {"visits": "1001.0"}),
    ("date", "2023-01-01", "1", ["not_a_number:visits"], {"visits": "2023-01-01"}),
    ("all", "x", "-1", ["not_a_number:visits", "below_minimum:spend"], {"visits": "x", "spend": "-1.0"}),
    (None, None, "inf", ["missing_customer_id", "missing:visits", "not_finite:spend"], {"spend": "inf"}),
]


def shown(text: object) -> object:
    """A number as the row of rejected_customers shows it: 1 has become a double."""
    return "1.0" if text == "1" else text


def test_each_bad_row_is_rejected_with_all_reasons_and_its_raw_values(
    snapshots: Customers, materialize: Callable[..., Any]
) -> None:
    good = [(name, str(visits), f" {spend}") for name, visits, spend in clean(600)]
    snapshots.features(VISITS, SPEND).deliver([*good, *(row[:3] for row in DIRTY)], AS_TEXT)
    result = materialize(snapshots, "2023-03", selection=FIRST_TWO)
    rejected = query(snapshots.warehouse, "SELECT customer_id, reasons, raw FROM rejected_customers")
    found = sorted(str((name, reasons, json.loads(raw))) for name, reasons, raw in rejected)
    expected = [
        (name, reasons, {"customer_id": name, "visits": shown(visits), "spend": shown(spend)} | raw)
        for name, visits, spend, reasons, raw in DIRTY
    ]
    assert found == sorted(map(str, expected))
    metadata = result.asset_materializations_for_node("validated_features")[0].metadata
    assert (metadata["accepted"].value, metadata["rejected"].value) == (600, len(DIRTY))
    assert metadata["rejected_by_reason"].value["missing_customer_id"] == 4
    assert query(snapshots.warehouse, "SELECT count(*), min(visits) >= 1 FROM validated_features") == [(600, True)]


IDS = st.sampled_from([None, "", " ", "a", "b", "c", "d", "e;'\"", "😀"])
NUMBERS = st.one_of(
    st.none(),
    st.sampled_from(["nan", "inf", "-inf", "", "x", "1,5", "-1", "0", "1e400", " 7 ", "1001", "1000", "'; --"]),
    st.floats(allow_nan=True, width=64).map(repr),
)


@given(rows=st.lists(st.tuples(IDS, NUMBERS, NUMBERS), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_row_is_ever_lost(snapshots: Customers, rows: list[tuple[str | None, str | None, str | None]]) -> None:
    """raw = accepted + rejected, and a row is rejected exactly if something can be said against it."""
    snapshots.features(VISITS, SPEND).deliver(rows, AS_TEXT)
    with in_memory("visits", "spend") as database:
        split = snapshots.split(database)
        accepted = database.execute("SELECT customer_id, visits, spend FROM validated_features ORDER BY ALL").fetchall()
        listed = database.execute("SELECT len(reasons) > 0 FROM rejected_customers").fetchall()
    assert split.raw == len(rows) == split.accepted + split.rejected

    def is_number(text: str | None, low: float, high: float) -> bool:
        try:
            return text is not None and low <= float(text) <= high and math.isfinite(float(text))
        except ValueError:
            return False

    ids = [name for name, _, _ in rows]
    fit = sorted(
        (name, float(visits or 0), float(spend or 0))
        for name, visits, spend in rows
        if name is not None and name.strip() and ids.count(name) == 1
        and is_number(visits, 0, 1000) and is_number(spend, 0, math.inf)
    )  # fmt: skip
    assert accepted == fit
    assert listed == [(True,)] * (len(rows) - len(fit))


def test_order_lines_that_cannot_be_counted_reject_their_customer(shop: Shop, materialize: Callable[..., Any]) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE lines AS FROM read_parquet({literal(str(shop.orders_path))})")
        connection.execute("UPDATE lines SET amount = 'inf' WHERE customer = 'c00001'")
        connection.execute("UPDATE lines SET order_id = NULL WHERE customer = 'c00002'")
        connection.execute("UPDATE lines SET customer = NULL WHERE customer = 'c00004'")
        connection.execute("UPDATE lines SET amount = -amount WHERE customer = 'c00005'")
        connection.execute(f"COPY lines TO {literal(str(shop.orders_path))} (FORMAT parquet)")
    materialize(shop, "2023-03", selection=FIRST_TWO)
    rejected = query(shop.warehouse, "SELECT customer_id, reasons, raw FROM rejected_customers ORDER BY 1")
    assert [(name, reasons[0]) for name, reasons, _ in rejected] == [
        ("c00001", "unreadable_amount"),
        ("c00002", "missing_order_id"),
        ("c00005", "below_minimum:average_order_value"),
        (None, "missing_customer_id"),
    ]
    assert json.loads(rejected[0][2])["unreadable_amounts"] > 0
    assert json.loads(rejected[1][2])["missing_order_ids"] > 0
    assert float(json.loads(rejected[2][2])["total_spend"]) < 0


# --- the gate ---------------------------------------------------------------------------------------------------------


def checks_of(instance: dg.DagsterInstance, name: str) -> list[dg.AssetCheckEvaluation]:
    """What stands in the instance about a check of validated_features, the latest first."""
    key = dg.AssetCheckKey(dg.AssetKey("validated_features"), name)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    return [record.evaluation for record in records if record.evaluation is not None]


def test_a_failing_gate_leaves_the_month_and_its_verdict_and_stops_what_follows(
    snapshots: Customers, materialize: Callable[..., Any]
) -> None:
    chain = [*FIRST_TWO, "scaled_matrix"]
    instance = dg.DagsterInstance.ephemeral()
    snapshots.features(VISITS, SPEND).deliver(clean(600), AS_NUMBERS)
    materialize(snapshots, "2023-03", selection=chain, instance=instance)
    names = ["validated_features", "rejected_customers", "scaled_matrix", "feature_spaces", "feature_diagnostics"]
    before = {name: query(snapshots.warehouse, f"FROM {name} ORDER BY ALL") for name in names}

    bad = [
        (name, -visits if number % 10 == 0 else visits, spend)
        for number, (name, visits, spend) in enumerate(clean(600, 2))
    ]
    snapshots.deliver(bad, AS_NUMBERS)
    result = materialize(snapshots, "2023-03", selection=chain, instance=instance, raise_on_error=False)
    assert not result.success
    assert not result.asset_materializations_for_node("validated_features")
    assert not result.asset_materializations_for_node("scaled_matrix")
    assert {name: query(snapshots.warehouse, f"FROM {name} ORDER BY ALL") for name in names} == before
    told = failure(result)
    assert told.startswith(
        "2023-03 was not written. share_rejected_within_limit: rejected share 0.1; rejected rows 60; "
        "raw rows 600; allowed: rejected share 0.05."
    )
    assert "Rejected rows by reason: below_minimum:visits 60. Fix the source" in told
    assert "published months are untouched" in told

    failed, passed = checks_of(instance, "share_rejected_within_limit")
    assert (failed.passed, failed.partition, passed.passed, passed.partition) == (False, "2023-03", True, "2023-03")
    observed = {
        name: failed.metadata[f"observed/{name}"].value for name in ("rejected_share", "rejected_rows", "raw_rows")
    }
    assert observed == {"rejected_share": 0.1, "rejected_rows": 60, "raw_rows": 600}
    assert failed.metadata["limit/rejected_share"].value == 0.05
    assert failed.severity == dg.AssetCheckSeverity.ERROR
    # the others stand there too, each with its own verdict
    assert [found.passed for found in checks_of(instance, "raw_equals_accepted_plus_rejected")] == [True, True]
    assert [found.passed for found in checks_of(instance, "enough_customers")] == [True, True]

    snapshots.deliver(clean(600, 3), AS_NUMBERS)
    assert materialize(snapshots, "2023-03", selection=chain, instance=instance).success
    assert query(snapshots.warehouse, "FROM validated_features ORDER BY ALL") != before["validated_features"]


def test_a_first_month_of_features_that_repeat_one_another_leaves_no_matrix(
    snapshots: Customers, materialize: Callable[..., Any]
) -> None:
    snapshots.features(VISITS, {**VISITS, "name": "calls"})
    rows = [(name, visits, visits) for name, visits, _ in clean(600)]
    snapshots.deliver(rows, {"id": "VARCHAR", "visits": "DOUBLE", "calls": "DOUBLE"})
    chain = [*FIRST_TWO, "scaled_matrix"]
    result = materialize(snapshots, "2023-03", selection=chain, raise_on_error=False)
    (error,) = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    assert re.match(r"segment_pipeline\.errors\.ModelError: 2023-03: .*(calls|visits)", error.cause.message)
    (found,) = (row for row in result.get_asset_check_evaluations() if row.check_name == "features_are_independent")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "calls" in found.metadata["observed"].value["problems"][0]
    assert not result.asset_materializations_for_node("scaled_matrix")
    assert query(snapshots.warehouse, "FROM scaled_matrix") == []


def test_too_few_customers_are_said_in_plain_words(snapshots: Customers, materialize: Callable[..., Any]) -> None:
    snapshots.features(VISITS, SPEND).deliver(clean(499), AS_NUMBERS)
    result = materialize(snapshots, "2023-03", selection=FIRST_TWO, raise_on_error=False)
    assert not result.success
    told = failure(result)
    assert told.startswith("2023-03 was not written. enough_customers: customers 499; allowed: customers 500.")
    assert "groups that are chance" in told
    assert "source.window_months" in told
    snapshots.deliver(clean(500), AS_NUMBERS)
    assert materialize(snapshots, "2023-03", selection=FIRST_TWO).success


def test_nothing_but_bad_rows_stops_the_month(snapshots: Customers, materialize: Callable[..., Any]) -> None:
    snapshots.features(VISITS, SPEND).deliver([(None, None, None)] * 3, AS_NUMBERS)
    result = materialize(snapshots, "2023-03", selection=FIRST_TWO, raise_on_error=False)
    assert "share_rejected_within_limit: rejected share 1; rejected rows 3; raw rows 3; allowed: " in failure(result)


# --- names and values are data ----------------------------------------------------------------------------------------

HOSTILE = [
    "o'brien", 'say ""hi""', "a;b", "'; DROP TABLE raw_customers; --", "100 %s %(x)s {0} {name}", "back\\slash", "😀",
    "é" * 300, "SELECT", "a.b", "[0]", "source", "t", "entry", "reason", "peak", "z0", "visits -- not", "$as_of",
    "customers", "row_count",
]  # fmt: skip


def test_hostile_names_of_customers_and_features_are_data_in_every_table(
    snapshots: Customers, materialize: Callable[..., Any]
) -> None:
    random = np.random.default_rng(5)
    values = np.round(np.exp(random.normal(1, 0.6, (600, len(HOSTILE)))), 4)
    ids = [*HOSTILE, "a\nb", "x" * 300, "nul\x00l", "NULL", "#1", *(f"c{i}" for i in range(600 - len(HOSTILE) - 5))]
    rows = [(name, *map(float, value)) for name, value in zip(ids, values, strict=True)]
    bad = [
        (f"bad {number}", *[-1.0 if j == number else 1.0 for j in range(len(HOSTILE))])
        for number in range(len(HOSTILE))
    ]
    columns = {"id": "VARCHAR", **dict.fromkeys(HOSTILE, "DOUBLE")}
    features = [{"name": name, "transform": "log1p", "valid": {"min": 0}, "outliers": "cap"} for name in HOSTILE]
    snapshots.features(*features).deliver([*rows, *bad], columns)

    materialize(snapshots, "2023-03", selection=[*FIRST_TWO, "scaled_matrix"])
    listed = ", ".join(identifier(name) for name in HOSTILE)
    raw = query(snapshots.warehouse, f"SELECT customer_id, {listed} FROM raw_customers")
    assert sorted(raw) == sorted([*rows, *bad])
    accepted = query(snapshots.warehouse, "SELECT customer_id FROM validated_features ORDER BY 1")
    assert accepted == query(snapshots.warehouse, "SELECT customer_id FROM scaled_matrix ORDER BY 1")
    assert {row[0] for row in accepted} == set(ids)
    scaled = np.array(query(snapshots.warehouse, f"SELECT {listed} FROM scaled_matrix"))
    assert np.allclose(scaled.mean(axis=0), 0)
    assert np.allclose(scaled.std(axis=0), 1)
    rejected = query(snapshots.warehouse, "SELECT customer_id, reasons, raw FROM rejected_customers")
    assert {name: reasons for name, reasons, _ in rejected} == {
        f"bad {number}": [f"below_minimum:{name}"] for number, name in enumerate(HOSTILE)
    }
    for name, _, raw_row in rejected:
        number = int(name.removeprefix("bad "))
        assert json.loads(raw_row)[HOSTILE[number]] == "-1.0"


# --- outliers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outliers:
    """Months whose one feature x has outliers, beyond 2.5 standard deviations."""

    snapshots: Customers
    database: duckdb.DuckDBPyConnection

    def split(self, policy: str, transform: str, values: Sequence[float], **feature: Any) -> SplitCounts:
        described = {"name": "x", "transform": transform, "outliers": policy, **feature}
        self.snapshots.features(described, {"name": "y"}, quality={"outlier_sd": 2.5})
        rows = [(f"c{number}", value, number) for number, value in enumerate(values)]
        return self.snapshots.deliver(rows, {"id": "VARCHAR", "x": "DOUBLE", "y": "DOUBLE"}).split(self.database)

    def accepted(self) -> Any:
        """x of the accepted customers, in the order of the values given."""
        return np.array(self.database.execute("SELECT x FROM validated_features ORDER BY y").fetchall()).ravel()


@pytest.fixture
def outliers(snapshots: Customers) -> Iterator[Outliers]:
    with in_memory("x", "y") as database:
        yield Outliers(snapshots, database)


TRANSFORMS: dict[str, tuple[Callable, Callable, dict[str, Any]]] = {
    "none": (lambda x: x, lambda t: t, {}),
    "log": (np.log, np.exp, {"valid": {"min": 0.0001}}),
    "log1p": (np.log1p, np.expm1, {"valid": {"min": 0}}),
    "logit": (
        lambda p: np.log((c := np.clip(p, 0.005, 0.995)) / (1 - c)),
        lambda t: 1 / (1 + np.exp(-t)),
        {"valid": {"min": 0, "max": 1}},
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_outliers_are_kept_capped_or_rejected_by_limits_of_the_month(outliers: Outliers, transform: str) -> None:
    there, back, extra = TRANSFORMS[transform]
    random = np.random.default_rng(3)
    values = back(np.concatenate([random.normal(0, 1, 400), [9, -9, 6, -6]]) * 0.3 + 3)
    t = there(values)
    low, high = back(t.mean() - 2.5 * t.std()), back(t.mean() + 2.5 * t.std())
    outside = (values < low) | (values > high)
    assert 4 <= outside.sum() < 40

    kept = outliers.split("keep", transform, values, **extra)
    assert (kept.accepted, kept.rejected, kept.capped) == (404, 0, 0)
    capped = outliers.split("cap", transform, values, **extra)
    assert (capped.accepted, capped.rejected, capped.capped) == (404, 0, outside.sum())
    assert np.allclose(outliers.accepted(), np.clip(values, low, high), rtol=1e-9)
    assert np.array_equal(outliers.accepted()[~outside], values[~outside])
    limits = "SELECT outliers, outliers_below, outliers_above FROM feature_limits ORDER BY feature"
    kept_limits = outliers.database.execute(limits).fetchall()
    assert kept_limits == [("cap", outliers.accepted().min(), outliers.accepted().max()), ("keep", None, None)]
    rejected = outliers.split("reject", transform, values, **extra)
    assert rejected.reasons == {"outlier:x": outside.sum()}
    assert np.array_equal(outliers.accepted(), values[~outside])


@pytest.mark.parametrize("policy", ["cap", "reject"])
@pytest.mark.parametrize("value", [0.0, 0.1, 3.0, 1e-300, 7e15])
@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_a_constant_feature_has_no_outliers(outliers: Outliers, policy: str, value: float, transform: str) -> None:
    """The month then stops for the constant feature, and not for 700 rounding errors."""
    split = outliers.split(policy, transform, [value] * 700, valid={"min": 0})
    assert (split.accepted, split.capped) == (700, 0)
    assert set(outliers.accepted()) == {value}


@pytest.mark.parametrize("scale", [1e-12, 1e13, 1e150, 1e305])
def test_limits_hold_for_any_magnitude(outliers: Outliers, scale: float) -> None:
    values = np.concatenate([np.linspace(1, 2, 100), [9.0]]) * scale
    assert outliers.split("reject", "none", values).reasons == {"outlier:x": 1}


def test_rows_that_break_a_rule_do_not_move_the_limits(outliers: Outliers) -> None:
    values = [*np.linspace(1, 2, 100), 3.0]
    alone = outliers.split("cap", "log1p", values, valid={"min": 0})
    limit = outliers.accepted().max()
    beside = outliers.split("cap", "log1p", [*values, -5.0, math.nan, math.inf], valid={"min": 0})
    assert (alone.capped, beside.capped, beside.rejected) == (1, 1, 3)
    assert outliers.accepted().max() == limit < 3.0
