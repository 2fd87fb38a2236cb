"""Paths, conversions and the journey of a customer, on a warehouse whose every move is written down."""

from datetime import date

import duckdb
import pytest

from segment_pipeline.database.store import prepare
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.journeys_store import write_journeys
from segment_pipeline.segments.tables import CUSTOMER_JOURNEY

JANUARY = date(2023, 1, 1)
ROLES = {1: "engaged", 2: "casual", 3: "dormant", 4: "casual"}

# customer -> its segment in January, February, ...; None is a month without orders, "rejected" a rejected row
MOVES = {
    "up": [2, 2, 1, 1],
    "down": [1, 2, 3, 3],
    "gone": [2, 3, None, None],
    "back": [2, None, None, 2],
    "sideways": [2, 4, 4, 2],
    "late": [None, None, 2, 1],
    "broken": [2, "rejected", 2, 2],
}


@pytest.fixture
def warehouse():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        for index in range(4):
            month = add_months(JANUARY, index)
            for segment_id, role in ROLES.items():
                connection.execute(
                    "INSERT INTO segment_profiles (month, segment_id, name, role) VALUES (?, ?, ?, ?)",
                    [month, segment_id, f"segment {segment_id}", role],
                )
            for customer, moves in MOVES.items():
                now, before = moves[index], moves[index - 1] if index else None
                if now == "rejected":
                    connection.execute(
                        "INSERT INTO rejected_customers (month, customer_id) VALUES (?, ?)", [month, customer]
                    )
                elif now is not None:
                    connection.execute(
                        "INSERT INTO monthly_assignments (month, customer_id, segment_id, segment_name, model_version) "
                        "VALUES (?, ?, ?, ?, 1)",
                        [month, customer, now, f"segment {now}"],
                    )
                    connection.execute(
                        "INSERT INTO transition_deltas (month, customer_id, from_segment_id, to_segment_id) "
                        "VALUES (?, ?, ?, ?)",
                        [month, customer, before if isinstance(before, int) else None, now],
                    )
        yield connection


def paths(connection, months: int) -> dict[tuple[str, ...], int]:
    rows = connection.execute("SELECT path, customers FROM journey_paths WHERE months = ?", [months]).fetchall()
    return {tuple(path): customers for path, customers in rows}


def test_every_path_of_every_length_is_counted_once(warehouse):
    write_journeys(warehouse, date(2023, 4, 1))
    assert paths(warehouse, 4) == {
        ("casual", "casual", "engaged", "engaged"): 1,
        ("engaged", "casual", "dormant", "dormant"): 1,
        ("casual", "dormant", "lapsed", "lapsed"): 1,
        ("casual", "lapsed", "lapsed", "casual"): 1,
        ("casual", "casual", "casual", "casual"): 1,
        ("casual", "rejected", "casual", "casual"): 1,
    }
    assert paths(warehouse, 2) == {
        ("engaged", "engaged"): 1,
        ("dormant", "dormant"): 1,
        ("casual", "casual"): 2,
        ("casual", "engaged"): 1,
    }
    lengths = warehouse.execute("SELECT DISTINCT months FROM journey_paths ORDER BY 1").fetchall()
    assert lengths == [(2,), (3,), (4,)]  # nothing is known before January


def test_shares_are_of_those_who_began_in_the_same_state(warehouse):
    write_journeys(warehouse, date(2023, 4, 1))
    totals = warehouse.execute(
        "SELECT months, from_state, sum(share), sum(customers) FROM journey_paths GROUP BY ALL"
    ).fetchall()
    assert all(share == pytest.approx(1.0) for _, _, share, _ in totals)
    assert ("casual", 5) in {(state, customers) for months, state, _, customers in totals if months == 4}


def test_conversion_answers_whether_casual_customers_become_regulars_or_go_quiet_and_how_soon(warehouse):
    write_journeys(warehouse, date(2023, 4, 1))
    rows = warehouse.execute(
        "SELECT customers, reached_engaged, reached_dormant, lapsed FROM journey_conversion "
        "WHERE from_state = 'casual' AND months_later = 3"
    ).fetchall()
    # up, gone, back, sideways and broken: one became engaged, two were dormant or lapsed once, one is lapsed
    assert rows == [(5, 0.2, 0.4, 0.2)]
    (engaged,) = warehouse.execute(
        "SELECT reached_engaged, reached_dormant FROM journey_conversion "
        "WHERE from_state = 'engaged' AND months_later = 3"
    ).fetchall()
    assert engaged == (None, 1.0)


def test_the_first_month_has_no_paths_and_a_month_made_again_has_the_same(warehouse):
    assert write_journeys(warehouse, JANUARY) == (0, 0)
    once = write_journeys(warehouse, date(2023, 4, 1))
    rows = warehouse.execute("SELECT * FROM journey_paths ORDER BY ALL").fetchall()
    assert write_journeys(warehouse, date(2023, 4, 1)) == once
    assert warehouse.execute("SELECT * FROM journey_paths ORDER BY ALL").fetchall() == rows


def journey(connection, customer: str, *columns: str) -> list[tuple]:
    for statement in CUSTOMER_JOURNEY.ddl():
        connection.execute(statement)
    listed = ", ".join(columns)
    return connection.execute(
        f"SELECT {listed} FROM customer_journey WHERE customer_id = ? ORDER BY month", [customer]
    ).fetchall()


def test_a_journey_tells_where_from_since_when_and_which_way(warehouse):
    columns = ("direction", "previous_different_segment_id", "months_in_segment", "month(changed_at)")
    assert journey(warehouse, "up", *columns) == [
        (None, None, 1, 1),
        (None, None, 2, 1),
        ("up", 2, 1, 3),
        (None, 2, 2, 3),
    ]
    assert journey(warehouse, "down", *columns) == [
        (None, None, 1, 1),
        ("down", 1, 1, 2),
        ("down", 2, 1, 3),
        (None, 2, 2, 3),
    ]
    assert [row[0] for row in journey(warehouse, "sideways", *columns)] == [None, "lateral", None, "lateral"]
    assert journey(warehouse, "back", *columns) == [(None, None, 1, 1), (None, None, 1, 4)]


def test_a_path_over_a_change_of_champion_is_marked(warehouse):
    assert write_journeys(warehouse, date(2023, 4, 1))[0] > 0
    marked = "SELECT DISTINCT months, crosses_refit FROM journey_paths ORDER BY 1"
    assert warehouse.execute(marked).fetchall() == [(2, False), (3, False), (4, False)]
    warehouse.execute("UPDATE monthly_assignments SET model_version = 2 WHERE month >= '2023-03-01'")
    write_journeys(warehouse, date(2023, 4, 1))
    assert warehouse.execute(marked).fetchall() == [(2, False), (3, True), (4, True)]
    later = "SELECT DISTINCT months_later, crosses_refit FROM journey_conversion ORDER BY 1"
    assert warehouse.execute(later).fetchall() == [(1, False), (2, True), (3, True)]
