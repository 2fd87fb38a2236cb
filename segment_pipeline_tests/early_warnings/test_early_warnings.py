"""The named rules at their edges, what becomes of a warning over the months, and the queue of the budget."""

from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.warning_rules import WarningSettings
from segment_pipeline.database.store import prepare
from segment_pipeline.early_warnings.rules_store import warning_figures, write_early_warnings
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.early_warnings.rules_in_numpy import decline_warnings, mixed_warnings, movement_warnings

MARCH, APRIL, MAY = date(2023, 3, 1), date(2023, 4, 1), date(2023, 5, 1)
ONE = np.ones(1)
MODEL = SegmentModel(
    1,
    MARCH,
    FeatureSpace(("x",), ("none",), (1.0,), np.zeros(1), ONE, ONE),
    Mixture(np.full(3, 1 / 3), np.zeros((3, 1)), np.ones((3, 1, 1))),
    (Segment(1, "Best's", "engaged"), Segment(2, "Now and then", "casual"), Segment(3, "Silent", "dormant")),
    -9.0,
)
DEFAULTS = WarningSettings()


@pytest.fixture
def warehouse():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        yield connection


def customer(connection, month: date, name: str, probabilities, change=None, moved=None, risk=None, ahead=None) -> None:
    """One customer's month: probabilities of engaged, casual, dormant; change of engaged; (from, to) segment; ahead :
    the probabilities of next month, that of lapsing last."""
    connection.execute(
        "INSERT INTO monthly_assignments (month, customer_id, segment_id, segment_ids, probabilities, "
        "next_probabilities, next_lapse_probability) VALUES (?, ?, ?, [1, 2, 3], ?, ?, ?)",
        [
            month,
            name,
            1 + int(np.argmax(probabilities)),
            list(probabilities),
            *((None, None) if ahead is None else (list(ahead[:-1]), ahead[-1])),
        ],
    )
    if change is not None or moved is not None:
        before, now = moved or (1, 1)
        connection.execute(
            "INSERT INTO transition_deltas (month, customer_id, from_segment_id, to_segment_id, engaged_change) "
            "VALUES (?, ?, ?, ?, ?)",
            [month, name, before, now, change],
        )
    if risk is not None:
        connection.execute("INSERT INTO churn_risk VALUES (?, ?, ?)", [month, name, risk])


def warnings(connection, month: date, *columns: str) -> list[tuple]:
    listed = ", ".join(columns or ("customer_id", "warning", "status"))
    return connection.execute(
        f"SELECT {listed} FROM early_warnings WHERE month = ? ORDER BY customer_id, warning", [month]
    ).fetchall()


def test_each_rule_warns_beyond_its_threshold_and_not_at_it(warehouse):
    customer(warehouse, APRIL, "fell", (0.6, 0.4, 0.0), change=-0.151)
    customer(warehouse, APRIL, "fell just so", (0.6, 0.4, 0.0), change=-0.15)
    customer(warehouse, APRIL, "mixed", (0.35, 0.34, 0.31))
    customer(warehouse, APRIL, "mixed just so", (0.4, 0.3, 0.3))
    customer(warehouse, APRIL, "severe", (0.48, 0.1, 0.42))
    customer(warehouse, APRIL, "downgraded", (0.1, 0.9, 0.0), change=-0.1, moved=(1, 2))
    customer(warehouse, APRIL, "upgraded", (0.9, 0.1, 0.0), change=0.1, moved=(3, 1))
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    assert warnings(warehouse, APRIL) == [
        ("downgraded", "segment_downgrade", "new"),
        ("fell", "declining_engagement", "new"),
        ("mixed", "mixed_signal", "new"),
        ("severe", "mixed_signal", "new"),
        ("severe", "mixed_signal_severe", "new"),
    ]
    evidence = dict(warnings(warehouse, APRIL, "customer_id || ' ' || warning", "evidence"))
    assert evidence["downgraded segment_downgrade"] == "from Best's to Now and then"
    assert evidence["fell declining_engagement"] == "engaged 15 points less likely than last month"
    assert evidence["severe mixed_signal_severe"] == "engaged 48 %, at risk or dormant 42 %"


def test_who_is_likely_to_decline_is_told_by_a_champion_with_memory_alone(warehouse):
    customer(warehouse, APRIL, "falls", (0.9, 0.1, 0.0), ahead=(0.69, 0.2, 0.05, 0.06))
    customer(warehouse, APRIL, "just so", (0.9, 0.1, 0.0), ahead=(0.75, 0.125, 0.0625, 0.0625))
    customer(warehouse, APRIL, "lapses", (0.0, 0.1, 0.9), ahead=(0.0, 0.1, 0.59, 0.31))
    customer(warehouse, APRIL, "rises", (0.0, 0.1, 0.9), ahead=(0.5, 0.4, 0.05, 0.05))
    customer(warehouse, APRIL, "rose", (0.6, 0.4, 0.0), ahead=(0.6, 0.3, 0.05, 0.05), change=0.4, moved=(2, 1))
    customer(warehouse, APRIL, "sank", (0.1, 0.9, 0.0), ahead=(0.0, 0.6, 0.3, 0.1), change=-0.1, moved=(1, 2))
    customer(warehouse, APRIL, "without memory", (0.9, 0.1, 0.0))
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings(likely_to_decline=0.25))
    assert warnings(warehouse, APRIL, "customer_id", "warning", "evidence") == [
        ("falls", "likely_to_decline", "next month a lower role 25 %, lapsed 6 %"),
        ("lapses", "likely_to_decline", "next month lapsed 31 %"),
        ("sank", "likely_to_decline", "next month a lower role 30 %, lapsed 10 %"),
        ("sank", "segment_downgrade", "from Best's to Now and then"),
    ]


def test_signals_are_not_mixed_where_nobody_is_leaving(warehouse):
    """No segment at risk or dormant: that probability is unknown, and not that of the engaged."""
    segments = (*MODEL.segments[:2], replace(MODEL.segments[2], role="casual"))
    customer(warehouse, APRIL, "engaged", (0.9, 0.1, 0.0))
    assert write_early_warnings(warehouse, replace(MODEL, segments=segments), None, APRIL, DEFAULTS) == 0


def test_a_warning_is_new_then_ongoing_then_resolved_once(warehouse):
    months = [MARCH, APRIL, MAY, add_months(MAY, 1), add_months(MAY, 2)]
    for month, mixed in zip(months, [True, True, False, False, True], strict=True):
        customer(warehouse, month, "c", (0.45, 0.2, 0.35) if mixed else (0.9, 0.1, 0.0))
        write_early_warnings(warehouse, MODEL, MODEL, month, DEFAULTS)
    states = [warnings(warehouse, month, "status", "first_month") for month in months]
    assert states == [
        [("new", MARCH)],
        [("ongoing", MARCH)],
        [("resolved", MARCH)],
        [],
        [("new", months[4])],
    ]


def test_a_customer_who_lapsed_resolves_the_warning_without_figures(warehouse):
    customer(warehouse, MARCH, "c", (0.45, 0.2, 0.35))
    write_early_warnings(warehouse, MODEL, None, MARCH, DEFAULTS)
    customer(warehouse, APRIL, "somebody else", (0.9, 0.1, 0.0))
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    columns = ("status", "engaged_probability", "evidence", "priority", "within_budget")
    assert warnings(warehouse, APRIL, *columns) == [("resolved", None, None, None, None)]


def test_the_budget_keeps_the_riskiest_customers_and_counts_the_others(warehouse):
    for place, risk in enumerate([0.2, 0.9, 0.5, None]):
        customer(warehouse, APRIL, f"c{place}", (0.45, 0.13, 0.42), risk=risk)
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings(monthly_budget=2))
    queue = warnings(warehouse, APRIL, "customer_id", "priority", "within_budget")
    # nothing tells how urgent the last is
    assert sorted(set(queue)) == [("c0", 3, False), ("c1", 1, True), ("c2", 2, True), ("c3", None, False)]
    assert len(queue) == 10  # two warnings each, one place in the queue, and why two are on the list
    figures = warning_figures(warehouse, APRIL)
    assert figures == {"new": 8, "ongoing": 0, "resolved": 0, "to_contact": 2, "left_out": 2, "left_alone": 0}


def test_without_roles_there_is_nothing_to_warn_of(warehouse):
    nameless = replace(MODEL, segments=tuple(replace(segment, role=None) for segment in MODEL.segments))
    customer(warehouse, APRIL, "c", (0.45, 0.13, 0.42), moved=(1, 3))
    assert write_early_warnings(warehouse, nameless, nameless, APRIL, DEFAULTS) == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_rules_in_sql_name_whom_the_rules_in_numpy_name(seed):
    random = np.random.default_rng(seed)
    roles = [segment.role for segment in MODEL.segments]
    now, before = random.dirichlet(np.full(3, 0.6), size=(2, 40))
    ahead = random.dirichlet(np.full(4, 0.6), size=40)
    expected = decline_warnings(now, ahead, roles, R_before=before)
    oracle = {**movement_warnings(now, before, roles), **mixed_warnings(now, roles), **expected}
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        for i, (r, b) in enumerate(zip(now, before, strict=True)):
            moved = (1 + int(b.argmax()), 1 + int(r.argmax()))
            customer(connection, APRIL, f"c{i:02d}", r, float(r[0] - b[0]), moved, ahead=ahead[i])
        write_early_warnings(connection, MODEL, MODEL, APRIL, DEFAULTS)
        found = {(name, rule) for name, rule, _ in warnings(connection, APRIL) if rule in oracle}
    assert found == {(f"c{i:02d}", rule) for rule, flags in oracle.items() for i in np.flatnonzero(flags)}
