"""Paths, conversions and the journey of a customer, on a warehouse whose every move is written down."""

from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.gaussian import Mixture
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.customer_months import CUSTOMER_JOURNEY, customer_views
from segment_pipeline.segments.journeys_store import common_paths, write_journeys

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
                        "INSERT INTO monthly_assignments (month, customer_id, segment_id, segment_name, "
                        "previous_segment_id, model_version) VALUES (?, ?, ?, ?, ?, 1)",
                        [month, customer, now, f"segment {now}", before if isinstance(before, int) else None],
                    )
                    connection.execute(
                        "INSERT INTO transition_deltas (month, customer_id, from_segment_id, to_segment_id, "
                        "model_version) VALUES (?, ?, ?, ?, 1)",
                        [month, customer, before if isinstance(before, int) else None, now],
                    )
        yield connection


def champion(version: int = 1, features: tuple[str, ...] = ("x",), means: tuple[float, ...] = (0, 1, 2, 3)):
    """Segments 1 to 4 lie at these places of each feature."""
    d = len(features)
    return SegmentModel(
        version,
        JANUARY,
        FeatureSpace(features, ("none",) * d, (1.0,) * d, np.zeros(d), np.ones(d), np.ones(d)),
        Mixture(np.full(4, 0.25), np.outer(means, np.ones(d)), np.array([0.01 * np.eye(d)] * 4)),
        tuple(Segment(segment_id, f"segment {segment_id}", role) for segment_id, role in ROLES.items()),
        -9.0,
    )


def paths(connection, months: int) -> dict[tuple[str, ...], int]:
    rows = connection.execute("SELECT path, customers FROM journey_paths WHERE months = ?", [months]).fetchall()
    return {tuple(path): customers for path, customers in rows}


def test_every_path_of_every_length_is_counted_once(warehouse):
    write_journeys(warehouse, champion(), date(2023, 4, 1))
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


def test_the_commonest_paths_come_first_and_are_told_in_a_line(warehouse):
    write_journeys(warehouse, champion(), date(2023, 4, 1))
    places = warehouse.execute("SELECT place, path FROM journey_paths WHERE months = 2 ORDER BY place").fetchall()
    assert places == [
        (1, ["casual", "casual"]),
        (2, ["casual", "engaged"]),
        (3, ["dormant", "dormant"]),
        (4, ["engaged", "engaged"]),
    ]
    assert [row["path"] for row in common_paths(warehouse, date(2023, 4, 1))] == [
        "casual > casual > casual",
        "casual > dormant > dormant",
        "casual > engaged > engaged",
        "dormant > lapsed > lapsed",
    ]


def test_shares_are_of_those_who_began_in_the_same_state(warehouse):
    write_journeys(warehouse, champion(), date(2023, 4, 1))
    totals = warehouse.execute(
        "SELECT months, from_state, sum(share), sum(customers) FROM journey_paths GROUP BY ALL"
    ).fetchall()
    assert all(share == pytest.approx(1.0) for _, _, share, _ in totals)
    assert ("casual", 5) in {(state, customers) for months, state, _, customers in totals if months == 4}


def test_conversion_answers_whether_casual_customers_become_regulars_or_go_quiet_and_how_soon(warehouse):
    write_journeys(warehouse, champion(), date(2023, 4, 1))
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
    assert write_journeys(warehouse, champion(), JANUARY) == (0, 0)
    once = write_journeys(warehouse, champion(), date(2023, 4, 1))
    rows = warehouse.execute("SELECT * FROM journey_paths ORDER BY ALL").fetchall()
    assert write_journeys(warehouse, champion(), date(2023, 4, 1)) == once
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


REFIT = date(2023, 3, 1)


def refit_in_march(connection, *, sees_february: bool) -> None:
    """From March on segment 2 has the id 9, by a champion that sees everybody's February as the old one did, but for
    `late`, who is new, and `sideways`, which it would have had in 2 = 9; or that does not see it."""
    connection.execute("UPDATE monthly_assignments SET model_version = 2 WHERE month >= ?", [REFIT])
    connection.execute("UPDATE transition_deltas SET model_version = 2 WHERE month > ?", [REFIT])
    for table in ("monthly_assignments", "segment_profiles"):
        connection.execute(f"UPDATE {table} SET segment_id = 9 WHERE segment_id = 2 AND month >= ?", [REFIT])
    connection.execute(
        "UPDATE monthly_assignments SET previous_segment_id = CASE WHEN ? THEN "
        "CASE WHEN customer_id = 'sideways' OR previous_segment_id = 2 THEN 9 ELSE previous_segment_id END END "
        "WHERE month = ?",
        [sees_february, REFIT],
    )


def test_in_a_month_of_a_refit_a_customer_is_set_beside_where_its_champion_would_have_had_it(warehouse):
    refit_in_march(warehouse, sees_february=True)
    march = {
        customer: journey(warehouse, customer, "segment_id", "previous_segment_id", "moved", "direction")[
            1 if customer == "broken" else -2  # rejected in February
        ]
        for customer in ("up", "down", "sideways", "broken")
    }
    assert march == {
        "up": (1, 9, True, "up"),
        "down": (3, 9, True, "down"),
        "sideways": (4, 9, True, "lateral"),  # as published it was in 4 the month before as well
        "broken": (9, 2, None, None),  # January, as it was published
    }
    everywhere = "SELECT count(*) FROM customer_journey WHERE moved <> (segment_id <> previous_segment_id)"
    assert warehouse.execute(everywhere).fetchone() == (0,)


def test_the_step_of_a_new_champion_is_told_from_what_the_customer_did(warehouse):
    refit_in_march(warehouse, sees_february=True)
    assert {row for one in MOVES for row in journey(warehouse, one, "by_refit")} == {(False,)}  # they moved
    stays = "UPDATE monthly_assignments SET previous_segment_id = segment_id WHERE customer_id = 'up' AND month = ?"
    warehouse.execute(stays, [REFIT])
    told = journey(warehouse, "up", "segment_id", "moved", "by_refit")
    published = [row[0] for row in told]
    assert published[-3] != published[-2]
    assert [row[2] for row in told] == [False] * (len(told) - 2) + [True, False]
    assert told[-2][1] is False


def test_where_a_champion_cannot_see_the_month_before_the_one_of_then_says_who_moved(warehouse):
    refit_in_march(warehouse, sees_february=False)
    columns = ("segment_id", "previous_segment_id", "moved", "direction", "month(changed_at)")
    assert journey(warehouse, "up", *columns)[2] == (1, None, True, "up", 3)
    assert journey(warehouse, "sideways", *columns)[2] == (4, None, False, None, 2)


def test_months_that_no_champion_sees_together_make_nobody_a_mover(warehouse):
    refit_in_march(warehouse, sees_february=False)
    warehouse.execute("UPDATE transition_deltas SET model_version = NULL WHERE month = ?", [REFIT])
    assert journey(warehouse, "down", "previous_segment_id", "moved", "direction")[2] == (None, None, None)


def test_months_of_before_there_was_the_column_are_told_as_then(warehouse):
    told = {customer: journey(warehouse, customer, "*") for customer in MOVES}
    warehouse.execute("UPDATE monthly_assignments SET previous_segment_id = NULL")
    assert {customer: journey(warehouse, customer, "*") for customer in MOVES} == told


def test_a_path_over_months_that_the_champion_cannot_see_is_marked(warehouse):
    assert write_journeys(warehouse, champion(), date(2023, 4, 1))[0] > 0
    marked = "SELECT DISTINCT months, crosses_refit FROM journey_paths ORDER BY 1"
    assert warehouse.execute(marked).fetchall() == [(2, False), (3, False), (4, False)]
    warehouse.execute("UPDATE monthly_assignments SET model_version = 2 WHERE month >= '2023-03-01'")
    write_journeys(warehouse, champion(2), date(2023, 4, 1))
    assert warehouse.execute(marked).fetchall() == [(2, False), (3, True), (4, True)]
    later = "SELECT DISTINCT months_later, crosses_refit FROM journey_conversion ORDER BY 1"
    assert warehouse.execute(later).fetchall() == [(1, False), (2, True), (3, True)]


def test_a_path_over_a_refit_is_that_of_the_champion_that_sees_all_of_it(warehouse):
    """The old champion has called everybody's segment by other ids: the new one has to look for itself."""
    prepare(warehouse, TABLES, ("x",))
    for table in ("validated_features", "past_features"):
        warehouse.execute(f"DELETE FROM {table}")
    warehouse.execute(
        "INSERT INTO validated_features (month, customer_id, x) "
        "SELECT month, customer_id, segment_id - 1 FROM monthly_assignments"
    )
    write_journeys(warehouse, champion(), date(2023, 4, 1))
    told = {months: paths(warehouse, months) for months in (2, 3, 4)}
    warehouse.execute(
        "UPDATE monthly_assignments SET model_version = CASE WHEN month >= '2023-03-01' THEN 2 ELSE 1 END, "
        "segment_id = CASE WHEN month >= '2023-03-01' THEN segment_id ELSE segment_id % 4 + 1 END"
    )
    write_journeys(warehouse, champion(2), date(2023, 4, 1))
    assert {months: paths(warehouse, months) for months in (2, 3, 4)} == told
    assert warehouse.execute("SELECT bool_or(crosses_refit) FROM journey_paths").fetchone() == (False,)


@pytest.mark.parametrize("sees_february", [True, False])
def test_the_wide_row_and_the_journey_tell_of_the_same_movement_in_a_refit_too(warehouse, sees_february):
    refit_in_march(warehouse, sees_february=sees_february)
    for view in (CUSTOMER_JOURNEY, *customer_views()):
        for statement in view.ddl():
            warehouse.execute(statement)
    rows = warehouse.execute("""
        SELECT m.movement, m.previous_segment_id, m.segment_id, moved, direction, j.previous_segment_id
        FROM customer_months AS m JOIN customer_journey AS j USING (month, customer_id) WHERE moved IS NOT NULL
    """).fetchall()
    assert {row[0] for row in rows} >= {"stayed", "moved up", "moved down", "moved sideways"}
    for movement, before, now, moved, direction, told in rows:
        way = {"lateral": "sideways", None: ""}.get(direction, direction)  # no role, no way
        assert movement == (f"moved {way}".strip() if moved else "stayed")
        assert before == told
        assert before is None or moved is (before != now)
