"""Where customers came from and went, on two months in which every way to come and to go is planted."""

from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.assignments_store import (
    assignment_figures,
    movement_figures,
    reconciliation,
    write_assignments,
    write_transitions,
)

JANUARY, FEBRUARY, MARCH = (date(2023, month, 1) for month in (1, 2, 3))
ONE = np.ones(1)
MODEL = SegmentModel(
    7,
    JANUARY,
    FeatureSpace(("x",), ("none",), (1.0,), np.zeros(1), ONE, ONE),
    Mixture(np.full(3, 1 / 3), np.array([[0.0], [8.0], [16.0]]), np.ones((3, 1, 1))),
    (Segment(1, "Best", "engaged"), Segment(4, "Now and then", "casual"), Segment(5, "Silent", "dormant")),
    -9.0,
)

# customer -> where it is in February and in March: a place in feature space, "rejected", or None as it is not there
CUSTOMERS = {
    "stays": (0.0, 0.0),
    "moves on": (0.0, 8.0),
    "falls": (0.0, 16.0),
    "falls too": (0.0, 16.0),
    "wavers": (0.0, 3.9),
    "lapses": (8.0, None),
    "is refused": (8.0, "rejected"),
    "is accepted again": ("rejected", 8.0),
    "is never accepted": ("rejected", "rejected"),
    "is new": (None, 0.0),
    "is new and refused": (None, "rejected"),
    "was there in January": (None, 16.0),
    "had ordered before": (None, 16.0),
}
FIRST_SEEN = {"is new": MARCH, "is new and refused": MARCH, "had ordered before": date(2023, 2, 28)}


@pytest.fixture
def warehouse():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("x",))
        raw = "INSERT INTO raw_customers (month, customer_id, first_seen) VALUES (?, ?, ?)"
        connection.execute(raw, [JANUARY, "was there in January", None])
        for customer, places in CUSTOMERS.items():
            for month, place in zip((FEBRUARY, MARCH), places, strict=True):
                if place is not None:
                    connection.execute(raw, [month, customer, FIRST_SEEN.get(customer)])
                if place == "rejected":
                    # two rows of it: they are one customer
                    rejected = (
                        "INSERT INTO rejected_customers (month, customer_id) VALUES ($1, $2), ($1, $2), ($1, ' ')"
                    )
                    connection.execute(rejected, [month, customer])
                elif place is not None:
                    accepted = "INSERT INTO validated_features (month, customer_id, x) VALUES (?, ?, ?)"
                    connection.execute(accepted, [month, customer, place])
        for month in (FEBRUARY, MARCH):
            write_assignments(connection, MODEL, month, TierSettings())
        yield connection


def deltas(connection: duckdb.DuckDBPyConnection, *columns: str) -> dict[str, tuple]:
    rows = connection.execute(f"SELECT customer_id, {', '.join(columns)} FROM transition_deltas").fetchall()
    return {row[0]: row[1:] for row in rows}


def test_every_way_to_come_and_to_go_has_its_states(warehouse):
    customers, _ = write_transitions(warehouse, MODEL, MARCH, has_previous=True)
    assert customers == len(CUSTOMERS)
    assert deltas(warehouse, "from_state", "to_state", "from_segment_id", "to_segment_id", "model_version") == {
        "stays": ("1", "1", 1, 1, 7),
        "moves on": ("1", "4", 1, 4, 7),
        "falls": ("1", "5", 1, 5, 7),
        "falls too": ("1", "5", 1, 5, 7),
        "wavers": ("1", "1", 1, 1, 7),
        "lapses": ("4", "lapsed", 4, None, 7),
        "is refused": ("4", "rejected", 4, None, 7),
        "is accepted again": ("rejected", "4", None, 4, 7),
        "is never accepted": ("rejected", "rejected", None, None, 7),
        "is new": ("new", "1", None, 1, 7),
        "is new and refused": ("new", "rejected", None, None, 7),
        "was there in January": ("returned", "5", None, 5, 7),
        "had ordered before": ("returned", "5", None, 5, 7),
    }
    assert movement_figures(warehouse, MARCH) == {
        "stayed": 2,
        "moved": 3,
        "unmeasured": 0,
        "new": 2,
        "returned": 2,
        "lapsed": 1,
    }
    assert set(movement_figures(warehouse, FEBRUARY).values()) == {0}


def test_a_shift_is_half_of_what_the_probabilities_changed(warehouse):
    write_transitions(warehouse, MODEL, MARCH, has_previous=True)
    found = deltas(warehouse, "shift", "engaged_change", "dormant_change", "changes", "segment_ids")
    left = 1 / (1 + np.exp(((8 - 3.9) ** 2 - 3.9**2) / 2))
    for customer, engaged, casual, dormant in (
        ("stays", 0.0, 0.0, 0.0),
        ("moves on", -1.0, 1.0, 0.0),
        ("falls", -1.0, 0.0, 1.0),
        ("wavers", -left, left, 0.0),
    ):
        shift, engaged_change, dormant_change, changes, ids = found[customer]
        assert shift == pytest.approx(max(casual, dormant), abs=1e-9)
        assert (engaged_change, dormant_change) == pytest.approx((engaged, dormant), abs=1e-9)
        assert (changes, ids) == (pytest.approx([engaged, casual, dormant], abs=1e-9), [1, 4, 5])
    assert all(found[customer] == (None,) * 5 for customer in CUSTOMERS if None in CUSTOMERS[customer])


def test_the_matrix_counts_the_moves_and_shares_are_of_where_they_came_from(warehouse):
    write_transitions(warehouse, MODEL, MARCH, has_previous=True)
    rows = warehouse.execute(
        "SELECT from_state, to_state, customers, share, expected FROM transition_matrix"
    ).fetchall()
    assert sorted(rows) == [
        ("1", "1", 2, 0.4, None),
        ("1", "4", 1, 0.2, None),
        ("1", "5", 2, 0.4, None),
        ("4", "lapsed", 1, 0.5, None),
        ("4", "rejected", 1, 0.5, None),
        ("new", "1", 1, 0.5, None),
        ("new", "rejected", 1, 0.5, None),
        ("rejected", "4", 1, 0.5, None),
        ("rejected", "rejected", 1, 0.5, None),
        ("returned", "5", 2, 1.0, None),
    ]


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ("SELECT 1", (0, 0, 0)),
        ("DELETE FROM monthly_assignments WHERE month = DATE '2023-02-01' AND customer_id = 'stays'", (1, 0, 0)),
        (
            "DELETE FROM rejected_customers WHERE month = DATE '2023-02-01' AND customer_id = 'is never accepted'",
            (1, 0, 0),
        ),
        ("DELETE FROM monthly_assignments WHERE month = DATE '2023-03-01' AND segment_id = 5", (0, 4, 0)),
        ("DELETE FROM rejected_customers WHERE month = DATE '2023-03-01' AND customer_id = 'is refused'", (0, 1, 0)),
        ("DELETE FROM transition_deltas WHERE customer_id = 'lapses'", (0, 0, 1)),
        ("UPDATE transition_matrix SET customers = customers + 1 WHERE from_state = 'returned'", (0, 1, 1)),
        ("UPDATE transition_matrix SET customers = customers - 1 WHERE to_state = 'lapsed'", (-1, 0, -1)),
    ],
)
def test_transitions_are_set_beside_the_customers_of_both_months(warehouse, change, differences):
    write_transitions(warehouse, MODEL, MARCH, has_previous=True)
    warehouse.execute(change)
    assert tuple(reconciliation(warehouse, MARCH).values()) == differences


def test_where_no_champion_sees_both_months_the_published_segments_tell_who_is_where(warehouse):
    write_transitions(warehouse, None, MARCH, has_previous=True)
    found = deltas(warehouse, "from_state", "to_state", "shift", "engaged_change", "segment_ids", "model_version")
    assert found["moves on"] == ("1", "4", None, None, None, None)
    assert found["lapses"][:2] == ("4", "lapsed")
    figures = movement_figures(warehouse, MARCH)
    assert (figures["stayed"], figures["moved"], figures["unmeasured"]) == (0, 0, 3)


def test_without_a_month_before_nothing_is_told(warehouse):
    assert write_transitions(warehouse, MODEL, MARCH, has_previous=False) == (0, 0)


def test_the_figures_of_a_month_are_means_over_its_customers(warehouse):
    warehouse.execute(
        "UPDATE monthly_assignments SET is_atypical = customer_id < 'is', "
        "max_probability = CASE WHEN customer_id = 'stays' THEN 0.5 ELSE 1 END, entropy = 0.25, "
        "tier = CASE WHEN customer_id = 'stays' THEN 'hybrid' ELSE 'dominant' END WHERE month = ?",
        [MARCH],
    )
    figures = assignment_figures(warehouse, MARCH)
    assert figures.pop("largest_sum_error") == pytest.approx(0, abs=1e-12)
    assert figures == pytest.approx(
        {
            "mean_max_probability": 1 - 0.5 / 9,
            "mean_entropy": 0.25,
            "hybrid_share": 1 / 9,
            "atypical_share": 3 / 9,
            "dominant_share": 8 / 9,
        }
    )
    warehouse.execute("UPDATE monthly_assignments SET probabilities = [0.5, 0.25, 0] WHERE customer_id = 'falls'")
    assert assignment_figures(warehouse, MARCH)["largest_sum_error"] == 0.25


def test_the_hybrids_of_a_warehouse_of_before_are_those_of_the_tier(warehouse):
    warehouse.execute("UPDATE monthly_assignments SET tier = CASE customer_id WHEN 'stays' THEN 'hybrid' ELSE tier END")
    warehouse.execute("UPDATE monthly_assignments SET is_hybrid = true")
    warehouse.execute("UPDATE segment_profiles SET hybrid_share = 1")
    for table, column in (("monthly_assignments", "is_hybrid"), ("segment_profiles", "hybrid_share")):
        warehouse.execute(f"COMMENT ON COLUMN {table}.{column} IS 'Whether the second probability exceeds 0.25.'")
    prepare(warehouse, TABLES, ("x",))
    assert warehouse.execute("SELECT bool_and(is_hybrid = (tier = 'hybrid')) FROM monthly_assignments").fetchone()[0]
    assert warehouse.execute("SELECT count(*) > 0 FROM monthly_assignments WHERE is_hybrid").fetchone()[0]
    apart = warehouse.execute("""
        SELECT count(*) FROM segment_profiles AS p WHERE hybrid_share IS DISTINCT FROM (
            SELECT avg(CAST(tier = 'hybrid' AS DOUBLE)) FROM monthly_assignments AS a
            WHERE a.month = p.month AND a.segment_id = p.segment_id
        )
    """).fetchone()
    assert apart == (0,)
    # a move that nobody made had no share
    warehouse.execute("INSERT INTO transition_matrix VALUES (?, '1', '2', 0, NULL, 0.1)", [FEBRUARY])
    warehouse.execute("INSERT INTO transition_matrix VALUES (?, '1', '1', 9, 1, 8.9)", [FEBRUARY])
    warehouse.execute("INSERT INTO transition_matrix VALUES (?, '2', '1', 0, NULL, 0.1)", [FEBRUARY])
    warehouse.execute("COMMENT ON COLUMN transition_matrix.share IS 'Of then.'")
    prepare(warehouse, TABLES, ("x",))
    shares = "SELECT from_state || to_state, share FROM transition_matrix WHERE month = ? ORDER BY ALL"
    assert warehouse.execute(shares, [FEBRUARY]).fetchall() == [("11", 1), ("12", 0), ("21", None)]
    # the comments are now those of today: what has one is not touched again
    warehouse.execute("UPDATE monthly_assignments SET is_hybrid = true")
    prepare(warehouse, TABLES, ("x",))
    assert warehouse.execute("SELECT bool_and(is_hybrid) FROM monthly_assignments").fetchone()[0]


def test_a_warehouse_of_before_there_were_positions_goes_on_with_them(warehouse):
    columns = ("position_to_second", "is_between")
    for table in ("monthly_assignments", "segment_examples"):
        for column in columns:
            warehouse.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    prepare(warehouse, TABLES, ("x",))
    write_assignments(warehouse, MODEL, MARCH, TierSettings())
    known = f"SELECT month, bool_and({columns[0]} IS NULL), bool_and({columns[1]} IS NULL) FROM monthly_assignments"
    rows = warehouse.execute(f"{known} GROUP BY month ORDER BY month").fetchall()
    assert rows == [(FEBRUARY, True, True), (MARCH, False, False)]
    wavers = "SELECT position_to_second, is_between FROM monthly_assignments WHERE month = ? AND customer_id = 'wavers'"
    assert warehouse.execute(wavers, [MARCH]).fetchone() == (pytest.approx(3.9 / 8), True)
