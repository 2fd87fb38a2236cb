"""The action matrix: the most specific action for every customer, what it tells of itself, and the audience feed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.campaigns.actions_store import action_gaps, write_actions, write_audience_feed
from segment_pipeline.campaigns.lift import ARMS
from segment_pipeline.config.campaigns import Campaign
from segment_pipeline.config.model import TierSettings
from segment_pipeline.config.stages import Action
from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.campaigns.arms_in_python import arm_of, random_segment_of

MARCH, APRIL = date(2023, 3, 1), date(2023, 4, 1)
ROLES = ["engaged", "casual", "at_risk", "dormant"]
TIERS = ["dominant", "hybrid", "diffuse", "leaning"]
MODEL = SegmentModel(
    7,
    MARCH,
    FeatureSpace(("x",), ("none",), (1.0,), np.zeros(1), np.ones(1), np.ones(1)),
    Mixture(np.full(4, 0.25), np.zeros((4, 1)), np.ones((4, 1, 1))),
    tuple(Segment(i + 1, f"segment {i + 1}", role) for i, role in enumerate(ROLES)),
    -9.0,
)


def action(action_id: str, **conditions) -> Action:
    return Action(
        action_id=action_id, what="w", owner=f"{action_id}'s owner", channel="c", kpi="k", measure_days=30, **conditions
    )


@pytest.fixture
def warehouse():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        yield connection


def assign(connection, month: date, rows) -> None:
    connection.executemany(
        "INSERT INTO monthly_assignments (month, customer_id, segment_id, second_segment_id, tier) "
        "VALUES (?, ?, ?, ?, ?)",
        [[month, *row] for row in rows],
    )


EVERYBODY = [
    (f"{first}-{second}-{tier}", first, second, tier)
    for first in range(1, 5)
    for second in range(1, 5)
    if first != second
    for tier in TIERS
]
MATRIX = [
    action("everybody"),
    action("diffuse", tier="diffuse"),
    action("at risk", role="at_risk"),
    action("engaged and sure", role="engaged", tier="dominant"),
    action("second", segment=2),
    action("between", pair=(2, 1)),
]


def expected(first: int, second: int, tier: str) -> str:
    if tier == "hybrid" and {first, second} == {1, 2}:
        return "between"
    if first == 2:
        return "second"
    if first == 1 and tier == "dominant":
        return "engaged and sure"
    if first == 3:
        return "at risk"
    return "diffuse" if tier == "diffuse" else "everybody"


@pytest.fixture(scope="module")
def assigned():
    """Everybody has a segment in March and April. For `rolled_back`: tables are made once, not for every example."""
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        for month in (MARCH, APRIL):
            assign(connection, month, EVERYBODY)
        yield connection


@contextmanager
def rolled_back(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    finally:
        connection.rollback()


def test_the_most_specific_action_is_taken_wherever_it_stands_in_the_file(warehouse):
    assign(warehouse, MARCH, EVERYBODY)
    for matrix in (MATRIX, MATRIX[::-1]):
        assert write_actions(warehouse, MODEL, MARCH, matrix) == len(EVERYBODY)
        taken = dict(warehouse.execute("SELECT customer_id, action_id FROM customer_actions").fetchall())
        assert taken == {name: expected(first, second, tier) for name, first, second, tier in EVERYBODY}
    assert action_gaps(warehouse, MODEL, MARCH, MATRIX) == (0, [])


def test_an_action_comes_with_its_owner_channel_kpi_and_the_day_until_which_it_is_measured(warehouse):
    assign(warehouse, MARCH, [("c", 4, 1, "leaning")])
    write_actions(warehouse, MODEL, MARCH, MATRIX)
    rows = warehouse.execute(
        "SELECT action_id, owner, channel, kpi, measure_until, arm FROM customer_actions"
    ).fetchall()
    assert rows == [("everybody", "everybody's owner", "c", "k", date(2023, 5, 1), None)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.builds(
            dict,
            segment=st.one_of(st.none(), st.integers(1, 4)),
            role=st.one_of(st.none(), st.sampled_from(ROLES)),
            tier=st.one_of(st.none(), st.sampled_from(TIERS)),
        ),
        max_size=6,
    )
)
def test_with_a_last_resort_no_customer_is_without_an_action_whatever_the_matrix(assigned, conditions):
    unique = {tuple(sorted((key, str(value)) for key, value in one.items())): one for one in conditions}
    matrix = [action(f"a{i}", **one) for i, one in enumerate(unique.values()) if any(one.values())]
    with rolled_back(assigned):
        write_actions(assigned, MODEL, MARCH, [*matrix, action("everybody")])
        assert assigned.execute("SELECT count(*) FROM customer_actions WHERE action_id IS NULL").fetchone() == (0,)


def campaign(name: str, shares: list[float], actions: tuple[str, ...] | None = None) -> Campaign:
    return Campaign(
        campaign=name,
        month=MARCH,
        start=date(2023, 4, 1),
        measure_until=date(2023, 6, 2),
        shares=dict(zip(ARMS, shares, strict=True)),
        actions=actions,
    )


@settings(max_examples=30, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=9).filter(str.strip),
    st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)).filter(lambda parts: parts[1] + parts[2] > 0),
    st.lists(st.sampled_from([each.action_id for each in MATRIX]), unique=True, min_size=1),
)
def test_the_arms_partition_the_customers_of_a_campaign_and_nobody_else_is_in_one(assigned, name, parts, covered):
    shares = [part / sum(parts) for part in parts]
    with rolled_back(assigned):
        for month in (MARCH, APRIL):
            write_actions(assigned, MODEL, month, MATRIX, [campaign(name, shares, tuple(covered))])
        rows = assigned.execute(
            "SELECT month, customer_id, arm, campaign, action_id, segment_id FROM customer_actions"
        ).fetchall()
    own = {customer: expected(*of) for customer, *of in EVERYBODY}
    given_shares = dict(zip(ARMS, shares, strict=True))
    for _, customer, arm, of_campaign, action_id, _ in rows:
        if own[customer] not in covered:
            assert (arm, of_campaign, action_id) == (None, None, own[customer])
            continue
        assert of_campaign == name
        assert arm == arm_of([customer], name, given_shares)[0]
        assert (action_id is None) == (arm == "control")
        assert arm != "matched" or action_id == own[customer]
    assert len({row[1:] for row in rows}) == len(EVERYBODY)  # the same in both months


def test_a_random_action_is_another_one_that_a_customer_of_the_same_tier_would_get(warehouse):
    assign(warehouse, MARCH, EVERYBODY)
    write_actions(warehouse, MODEL, MARCH, MATRIX, [campaign("draw", [0.1, 0.9, 0.0])])
    rows = warehouse.execute(
        "SELECT customer_id, segment_id, second_segment_id, tier, action_id FROM customer_actions "
        "WHERE arm = 'random' ORDER BY 1"
    ).fetchall()
    offered = [
        [s for s in MODEL.segment_ids if expected(s, second, tier) != expected(first, second, tier)]
        for _, first, second, tier, _ in rows
    ]
    drawn = random_segment_of([row[0] for row in rows], "draw", offered)
    assert [row[4] for row in rows] == [expected(int(s), row[2], row[3]) for s, row in zip(drawn, rows, strict=True)]
    assert not any(row[4] == expected(*row[1:4]) for row in rows)


def test_where_all_segments_have_one_action_the_random_arm_gets_it_too(warehouse):
    assign(warehouse, MARCH, EVERYBODY)
    write_actions(warehouse, MODEL, MARCH, MATRIX[:1], [campaign("one", [0.1, 0.9, 0.0])])
    assert warehouse.execute("SELECT DISTINCT action_id FROM customer_actions").fetchall() == [("everybody",)]
    assert warehouse.execute("SELECT count(*) FROM customer_actions").fetchone() == (len(EVERYBODY),)


def test_who_is_left_alone_on_purpose_is_no_gap(warehouse):
    assign(warehouse, MARCH, EVERYBODY)
    write_actions(warehouse, MODEL, MARCH, MATRIX[:1], [campaign("quiet", [0.1, 0.0, 0.9])])
    assert action_gaps(warehouse, MODEL, MARCH, MATRIX[:1])[0] == 0


def test_what_is_missing_is_told_by_the_key_of_the_action(warehouse):
    assign(warehouse, MARCH, EVERYBODY[:4])
    matrix = [action("a", segment=9), action("b", pair=(1, 8)), action("c", role="dormant"), action("d", tier="hybrid")]
    write_actions(warehouse, MODEL, MARCH, matrix)
    without, unreached = action_gaps(warehouse, MODEL, MARCH, matrix)
    assert without == 3
    assert unreached[0] == "actions[0] (a): no segment 9 this month; model version 7 has 1, 2, 3, 4"
    assert unreached[1].startswith("actions[1] (b): no segment 8 this month")
    assert unreached[2] == "actions[2] (c): no customer meets its conditions, or a more specific action takes them all"


def test_without_a_matrix_nobody_has_an_action_and_nothing_is_amiss(warehouse):
    assign(warehouse, MARCH, EVERYBODY)
    write_actions(warehouse, MODEL, MARCH, [])
    assert action_gaps(warehouse, MODEL, MARCH, []) == (0, [])
    assert warehouse.execute("SELECT DISTINCT action_id, owner, measure_until FROM customer_actions").fetchall() == [
        (None, None, None)
    ]


def test_the_feed_turns_last_months_lists_into_this_months(warehouse):
    random = np.random.default_rng(0)
    months = {}
    for month in (MARCH, APRIL):
        chosen = random.choice(60, size=40, replace=False)
        months[month] = {f"c{i}": (int(random.integers(1, 5)), TIERS[int(random.integers(0, 4))]) for i in chosen}
        assign(warehouse, month, [(name, segment, 9, tier) for name, (segment, tier) in months[month].items()])
    write_audience_feed(warehouse, MODEL, APRIL, TierSettings())
    members = {("segment", str(segment), name) for name, (segment, _) in months[MARCH].items()}
    members |= {("tier", tier, name) for name, (_, tier) in months[MARCH].items()}
    feed = warehouse.execute("SELECT audience_type, audience, customer_id, change FROM audience_feed").fetchall()
    members |= {row[:3] for row in feed if row[3] == "entered"}
    members -= {row[:3] for row in feed if row[3] == "left"}
    now = {("segment", str(segment), name) for name, (segment, _) in months[APRIL].items()}
    assert members == now | {("tier", tier, name) for name, (_, tier) in months[APRIL].items()}


def test_a_new_id_after_a_refit_is_marked_as_no_movement(warehouse):
    assign(warehouse, MARCH, [("stayed", 1, 2, "dominant"), ("moved", 1, 2, "dominant")])
    assign(warehouse, APRIL, [("stayed", 5, 2, "dominant"), ("moved", 6, 2, "dominant")])
    warehouse.execute(
        "INSERT INTO transition_deltas (month, customer_id, from_segment_id, to_segment_id, model_version) "
        "VALUES ('2023-04-01', 'stayed', 1, 1, 1), ('2023-04-01', 'moved', 1, 2, 1)"
    )

    def feed() -> list[tuple]:
        write_audience_feed(warehouse, MODEL, APRIL, TierSettings())
        return warehouse.execute("SELECT customer_id, change, by_refit FROM audience_feed ORDER BY ALL").fetchall()

    assert feed() == [
        ("moved", "entered", False),
        ("moved", "left", False),
        ("stayed", "entered", True),
        ("stayed", "left", True),
    ]
    # what the new champion sees in the month before decides, as it does in a customer's journey
    warehouse.execute("UPDATE monthly_assignments SET previous_segment_id = 6 WHERE month = '2023-04-01'")
    assert [by_refit for *_, by_refit in feed()] == [True, True, False, False]
    warehouse.execute("UPDATE monthly_assignments SET previous_segment_id = NULL")
    warehouse.execute("UPDATE transition_deltas SET model_version = NULL, to_segment_id = 5")
    assert all(by_refit for *_, by_refit in feed())


def test_another_tier_that_only_a_new_champion_has_found_is_marked_as_no_movement(warehouse):
    """All are published as dominant by the champion of before. The new one finds no change in `redrawn`, sees `moved`
    as dominant in March too, knows nothing of the March of `unseen`, and measures no change of `of_before`, whom it
    served in March as well."""
    for month, tier, version in ((MARCH, "dominant", 6), (APRIL, "hybrid", 7)):
        for name in ("moved", "of_before", "redrawn", "unseen"):
            warehouse.execute(
                "INSERT INTO monthly_assignments (month, customer_id, segment_id, tier, model_version, probabilities) "
                "VALUES (?, ?, 1, ?, ?, [0.55, 0.4, 0.05, 0.0])",
                [month, name, tier, 7 if name == "of_before" else version],
            )
    for name, changes in (("moved", [-0.35, 0.35, 0.0, 0.0]), ("redrawn", [0.0] * 4), ("of_before", [0.0] * 4)):
        warehouse.execute(
            "INSERT INTO transition_deltas (month, customer_id, model_version, changes) VALUES (?, ?, 7, ?)",
            [APRIL, name, changes],
        )
    write_audience_feed(warehouse, MODEL, APRIL, TierSettings())
    found = warehouse.execute("SELECT DISTINCT customer_id, by_refit FROM audience_feed ORDER BY ALL").fetchall()
    assert found == [("moved", False), ("of_before", False), ("redrawn", True), ("unseen", False)]
