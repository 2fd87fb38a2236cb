"""What was seen beside what chance makes: counts of both, the interval, and the words."""

from dataclasses import replace

import numpy as np
import pytest

from segment_pipeline.movement.chance import (
    BASE_SHIFT,
    CAME_BACK,
    DOWNGRADE,
    MOVED,
    NOBODY,
    Count,
    Movement,
    Subject,
    base_shift,
    in_words,
    reference_rows,
)

SEGMENTS = ("1", "2", "3")


def movement(moves: dict[tuple[str, str], int], came_back: Count | None = None, warned: int = 0) -> Movement:
    customers = sum(count for (_, now), count in moves.items() if now in SEGMENTS)
    return Movement(moves, SEGMENTS, came_back, {"rule": warned}, customers)


SEEN = movement(
    {
        ("1", "1"): 60,
        ("1", "2"): 30,
        ("1", "lapsed"): 10,
        ("2", "2"): 90,
        ("2", "1"): 10,
        ("new", "2"): 7,
        ("2", "rejected"): 3,
    },
    came_back=Count(5, 20),
    warned=4,
)


def rows_of(observed: Movement, chance: Movement | str, seed: int = 0) -> dict[Subject, dict[str, object]]:
    rows = reference_rows(observed, chance, (seed,))
    return {Subject(*(row[name] for name in Subject._fields)): row for row in rows}


def test_what_is_a_share_of_whom():
    counts = SEEN.counts()
    assert counts[MOVED] == Count(40, 190)
    assert counts[CAME_BACK] == Count(5, 20)
    assert counts[Subject("warning", warning="rule")] == Count(4, 197)
    assert counts[Subject("transition", "1", "2")] == Count(30, 100)
    assert counts[Subject("transition", "2", "3")] == Count(0, 103)
    assert counts[Subject("transition", "1", "lapsed")] == Count(10, 100)
    assert counts[BASE_SHIFT] == Count(20, 190)
    assert not any(subject.from_state == "3" for subject in counts)  # nobody was there


def test_sizes_that_stay_need_nobody_to_move():
    assert base_shift(np.array([[5.0, 20.0], [20.0, 7.0]])) == 0
    assert base_shift(np.array([[5.0, 20.0, 3.0], [1.0, 7.0, 0.0], [0.0, 0.0, 9.0]])) == 22


def test_without_chance_what_was_seen_stands_beside_the_reason():
    for row in rows_of(SEEN, "Because.").values():
        assert row["observed"] == row["observed_customers"] / row["customers"]
        assert row["reason"] == "Because."
        assert {row[name] for name in ("expected_by_chance", "chance_low", "chance_high", "beside_chance")} == {None}


def test_where_the_sample_has_nobody_that_is_the_reason():
    found = rows_of(SEEN, movement({("2", "2"): 500, ("2", "1"): 50}))
    assert found[Subject("transition", "1", "2")]["reason"] == NOBODY
    assert found[CAME_BACK]["reason"] == NOBODY
    assert found[MOVED]["reason"] is None


def test_the_same_seed_gives_the_same_rows_whatever_others_there_are():
    rows = rows_of(SEEN, SEEN, 3)
    assert rows == rows_of(SEEN, SEEN, 3)
    more = replace(SEEN, warned={"another": 9, **SEEN.warned})
    assert rows.items() <= rows_of(more, more, 3).items()


def test_one_event_has_one_range_by_chance_whether_it_is_told_as_a_move_or_as_a_warning():
    """With one move downwards the warning of a downgrade is that move; with several, what they are together."""
    moves = {("1", "1"): 800, ("1", "2"): 100, ("1", "3"): 60, ("2", "2"): 400, ("2", "1"): 90, ("2", "3"): 40}
    named = {"segment_downgrade": 100}
    one = replace(movement(moves), warned=named, downwards=[("1", "2")])
    chance = replace(movement({**moves, ("1", "2"): 70}), warned={"segment_downgrade": 70}, downwards=[("1", "2")])
    rows = rows_of(one, chance)
    move, warning = rows[Subject("transition", "1", "2")], rows[DOWNGRADE]
    assert in_words(move).partition(";")[2] == in_words(warning).partition(";")[2]
    assert warning["customers"] == one.customers
    assert warning["beside_chance"] == move["beside_chance"] == "above"
    assert warning["sample"] == move["sample"]
    # all three ways down: chance expects what it expects of each
    ways = [("1", "2"), ("1", "3"), ("2", "3")]
    rows = rows_of(replace(one, warned={"segment_downgrade": 200}, downwards=ways), chance)
    told = [rows[Subject("transition", *way)] for way in ways]
    together = sum(row["expected_by_chance"] * row["customers"] for row in told)
    assert rows[DOWNGRADE]["expected_by_chance"] * one.customers == pytest.approx(together)
    assert rows[DOWNGRADE]["sample"] == 930 + 530
    # where the rule names others than those who moved, it has a range of its own
    rows = rows_of(replace(one, warned={"segment_downgrade": 99}), chance)
    assert rows[DOWNGRADE]["sample"] == chance.customers


@pytest.mark.parametrize(("rate", "sample"), [(0.4, 5000), (0.08, 5000), (0.08, 400), (0.01, 1000)])
def test_where_chance_alone_is_at_work_four_months_of_five_lie_in_the_interval(rate, sample):
    """Both the month and the sample are drawn at the same rates; the base's shift covers as much."""
    random = np.random.default_rng(5)
    months, customers = 300, 1200
    flat = np.array([[1 - rate, rate], [rate, 1 - rate]]).ravel() / 2

    def drawn(n: int) -> Movement:
        counts = random.multinomial(n, flat)
        moves = dict(zip([("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")], map(int, counts), strict=True))
        return Movement(moves, ("1", "2"), None, {}, n)

    found = [rows_of(drawn(customers), drawn(sample), seed) for seed in range(months)]
    for subject in (MOVED, BASE_SHIFT, Subject("transition", "1", "2")):
        beside = [rows[subject]["beside_chance"] for rows in found]
        assert beside.count("within") / months > 0.75
        assert beside.count("above") / months < 0.16
    expected = np.mean([rows[MOVED]["expected_by_chance"] for rows in found])
    assert expected == pytest.approx(rate, rel=0.05)


def test_the_interval_is_as_wide_as_the_month_and_the_sample_make_it():
    """80 % of a normal: 1.28 SD either way, with the variance p (1 - p) (1 / customers + 1 / sample)."""
    seen = movement({("1", "1"): 1800, ("1", "2"): 200})
    row = rows_of(seen, movement({("1", "1"): 4500, ("1", "2"): 500}))[MOVED]
    sd = np.sqrt(0.1 * 0.9 * (1 / 2000 + 1 / 5000))
    assert row["expected_by_chance"] == 0.1
    assert row["chance_low"] == pytest.approx(0.1 - 1.2816 * sd, abs=0.0006)
    assert row["chance_high"] == pytest.approx(0.1 + 1.2816 * sd, abs=0.0006)
    assert (row["beside_chance"], row["sample"]) == ("within", 5000)


@pytest.mark.parametrize(("moved", "beside"), [(300, "above"), (200, "within"), (100, "below")])
def test_more_or_fewer_than_chance_makes_is_said(moved, beside):
    seen = movement({("1", "1"): 2000 - moved, ("1", "2"): moved})
    assert rows_of(seen, movement({("1", "1"): 4500, ("1", "2"): 500}))[MOVED]["beside_chance"] == beside


def test_words():
    row = {"observed_customers": 196, "customers": 2284, "chance_low": 0.0745, "chance_high": 0.0832, "reason": None}
    assert in_words(row) == "196 of 2,284; by chance alone 170 to 190"
    assert in_words({**row, "reason": "Nobody knows."}) == "196 of 2,284. Nobody knows."
