"""An analyst's eight questions, one query of the cookbook each, on a shop whose every customer-month is known here."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.database.store import prepare
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES, published_views
from segment_pipeline.publishing.customer_months import customer_views

COOKBOOK = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"^## (\d+)\. .+?\n.*?```sql\n(.*?)```", COOKBOOK, re.DOTALL | re.MULTILINE))
MONTHS = [add_months(date(2023, 1, 1), ahead) for ahead in range(8)]
SEGMENTS = {1: ("Regulars", "engaged"), 2: ("Now and then", "casual"), 3: ("Quiet", "dormant")}
HEIGHT = {1: 3, 2: 2, 3: 0}
FEATURES = ("visits", "role")  # the second is called as a column of ours


@dataclass
class Shop:
    """state[customer][i] : segment in month i, or new (not there yet), lapsed. spend : of the month, where there."""

    state: dict[str, list[int | str]] = field(default_factory=dict)
    spend: dict[tuple[str, int], float] = field(default_factory=dict)
    feature: dict[tuple[str, int], float] = field(default_factory=dict)
    second: dict[tuple[str, int], int] = field(default_factory=dict)
    risk: dict[str, float] = field(default_factory=dict)

    def there(self, month: int) -> list[str]:
        return [one for one, states in self.state.items() if isinstance(states[month], int)]

    def window(self, customer: str, month: int) -> float:
        return sum(self.spend.get((customer, one), 0.0) for one in range(month - 2, month + 1))

    def step(self, customer: str, month: int) -> tuple[str, str]:
        """from_state and to_state, as transition_deltas has them."""
        before, now = self.state[customer][month - 1], self.state[customer][month]
        return ("returned" if before == "lapsed" else str(before)), str(now)


@pytest.fixture(scope="module")
def truth() -> Shop:
    random, shop = np.random.default_rng(5), Shop()
    ways = {1: [0.75, 0.15, 0.05, 0.05], 2: [0.15, 0.6, 0.15, 0.1], 3: [0.05, 0.15, 0.6, 0.2]}
    ways["lapsed"] = [0.1, 0, 0, 0.9]
    for number in range(240):
        customer = f"c{number:03d}"
        begins = int(random.integers(1, 6)) if number % 3 == 0 else 0
        states: list[int | str] = ["new"] * begins
        for month in range(begins, len(MONTHS)):
            last = states[-1] if states and states[-1] != "new" else int(random.integers(1, 4))
            found = random.choice(4, p=ways[last])
            states.append(int(found) + 1 if month > begins and found < 3 else "lapsed" if month > begins else last)
            if isinstance(states[-1], int):
                shop.spend[customer, month] = round(float(random.gamma(2, 40 / states[-1])), 2)
                shop.feature[customer, month] = float(random.integers(1, 30))
                shop.second[customer, month] = int(random.choice([k for k in SEGMENTS if k != states[-1]]))
        shop.state[customer] = states
        shop.risk[customer] = round(float(random.random()), 4)
    return shop


@pytest.fixture(scope="module")
def published(truth: Shop):
    """The shop as a published file has it."""
    with duckdb.connect() as connection:
        prepare(connection, PUBLISHED_TABLES, FEATURES)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS customer_value (month DATE, customer_id VARCHAR, expected_spend_3 DOUBLE, "
            "expected_spend_12 DOUBLE, revenue_at_risk DOUBLE)"
        )
        for i, month in enumerate(MONTHS):
            _fill_segments(connection, truth, i, month)
            _fill_customers(connection, truth, i, month)
            if i:
                _fill_moves(connection, truth, i, month)
        _fill_campaign(connection, truth)
        views = [view for view in published_views() if not view.name.startswith("customer_")]
        for view in [*views, *customer_views(FEATURES)]:
            for statement in view.ddl():
                connection.execute(statement)
        yield connection


def _insert(connection, table: str, columns: str, rows: list[list[object]]) -> None:
    if rows:
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _fill_segments(connection, truth: Shop, i: int, month: date) -> None:
    profiles = [[month, k, name, name, role, 1] for k, (name, role) in SEGMENTS.items()]
    _insert(connection, "segment_profiles", "month, segment_id, name, segment_name, role, model_version", profiles)
    means = []
    for k in SEGMENTS:
        values = [truth.feature[one, i] for one in truth.there(i) if truth.state[one][i] == k]
        means += [[month, k, "visits", float(np.mean(values))], [month, k, "role", float(np.mean(values)) * 2]]
    _insert(connection, "segment_feature_profiles", "month, segment_id, feature, mean", means)


def _is_hybrid(customer: str) -> bool:
    return customer.endswith("7")


def _fill_customers(connection, truth: Shop, i: int, month: date) -> None:
    assignments, lines, features, risks, values = [], [], [], [], []
    for one in truth.there(i):
        k, before = truth.state[one][i], truth.state[one][i - 1] if i else "new"
        probability = 0.55 if _is_hybrid(one) else 0.9
        assignments.append(
            [month, one, k, SEGMENTS[k][0], probability, before if isinstance(before, int) else None]
            + [truth.second[one, i], 1 - probability, "hybrid" if _is_hybrid(one) else "dominant", 1]
        )
        lines.append([month, one, truth.window(one, i), truth.spend[one, i]])
        features.append([month, one, truth.feature[one, i], truth.feature[one, i] * 2])
        risks.append([month, one, truth.risk[one]])
        values.append([month, one, truth.risk[one] * 12 * truth.spend[one, i]])
    columns = "segment_id, segment_name, max_probability, previous_segment_id, second_segment_id, second_probability"
    _insert(connection, "monthly_assignments", f"month, customer_id, {columns}, tier, model_version", assignments)
    _insert(connection, "customer_lines", "month, customer_id, money, month_money", lines)
    _insert(connection, "validated_features", "month, customer_id, visits, role", features)
    _insert(connection, "churn_risk", "month, customer_id, churn_risk", risks)
    _insert(connection, "customer_value", "month, customer_id, revenue_at_risk", values)


def _fill_moves(connection, truth: Shop, i: int, month: date) -> None:
    deltas = []
    for one in truth.state:
        before, now = truth.step(one, i)
        if {"lapsed", "returned"} >= {before, now} or now == "new":
            continue
        ids = [int(state) if state.isdigit() else None for state in (before, now)]
        deltas.append([month, one, before, now, *ids, 1])
    columns = "month, customer_id, from_state, to_state, from_segment_id, to_segment_id, model_version"
    _insert(connection, "transition_deltas", columns, deltas)
    connection.execute(f"""
        INSERT INTO transition_matrix BY NAME SELECT month, from_state, to_state, count(*) AS customers,
            count(*) / sum(count(*)) OVER (PARTITION BY from_state) AS share
        FROM transition_deltas WHERE month = DATE '{month}' GROUP BY month, from_state, to_state
    """)


ARMS = ("matched", "random", "control")


def _fill_campaign(connection, truth: Shop) -> None:
    rows = [
        [MONTHS[5], one, truth.state[one][5], "spring", ARMS[int(one[1:]) % 3]]
        + [None if int(one[1:]) % 3 == 2 else f"act_{truth.state[one][5]}"]
        for one in truth.there(5)
    ]
    _insert(connection, "customer_actions", "month, customer_id, segment_id, campaign, arm, action_id", rows)
    counts = Counter((row[2], row[4]) for row in rows)
    lifts = []
    for k in (None, *SEGMENTS):
        sizes = [sum(n for (segment, of), n in counts.items() if of == arm and k in (None, segment)) for arm in ARMS]
        result = [0.30, 0.20, 0.10] if k is None else [0.1 * k + 0.2, 0.1 * k + 0.1, 0.1 * k]
        for against, rate in (("random", result[1]), ("control", result[2])):
            lifts.append(
                [MONTHS[6], "spring", k, "conversion", against, *result, result[0] - rate, *sizes, 0.5, against]
            )
        # planned, and not measured yet
        lifts.append([MONTHS[5], "spring", k, "conversion", "control", *[None] * 4, *sizes, None, "not measured yet"])
    _insert(
        connection,
        "campaign_lift",
        "month, campaign, segment_id, metric, against, matched, random, control, lift, matched_customers, "
        "random_customers, control_customers, sample_ratio_p, verdict",
        lifts,
    )


def answer(connection, number: int, instead_of_1: str = "1") -> list[dict[str, object]]:
    cursor = connection.execute(QUERIES[str(number)].replace("'1'", f"'{instead_of_1}'"))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_shares_of_customers_and_revenue_of_each_segment_by_month(published, truth):
    told = {(row["month"], row["segment_name"]): row for row in answer(published, 16)}
    for i, month in enumerate(MONTHS):
        there = truth.there(i)
        revenue = sum(truth.spend[one, i] for one in there)
        for k, (name, role) in SEGMENTS.items():
            members = [one for one in there if truth.state[one][i] == k]
            row = told.pop((month, name))
            assert (row["role"], row["customers"]) == (role, len(members))
            assert row["percent_of_customers"] == pytest.approx(100 * len(members) / len(there), abs=0.06)
            mine = sum(truth.spend[one, i] for one in members)
            assert float(row["percent_of_revenue"]) == pytest.approx(100 * mine / revenue, abs=0.06)
    assert told == {}


def test_who_fell_from_an_engaged_segment_and_what_they_had_spent(published, truth):
    expected = {
        (MONTHS[i], one): round(truth.window(one, i - 1), 2)
        for i in range(5, 8)
        for one in truth.there(i)
        if truth.state[one][i - 1] == 1 and truth.state[one][i] in (2, 3)
    }
    rows = answer(published, 17)
    assert {(row["month"], row["customer_id"]): float(row["spent_before"]) for row in rows} == expected
    assert len(expected) > 10
    assert [row["spent_before"] for row in rows] == sorted((row["spent_before"] for row in rows), reverse=True)


def test_what_became_of_who_was_new(published, truth):
    expected = defaultdict(list)
    for one, states in truth.state.items():
        begins = states.count("new")
        for later in (1, 3, 6):
            if begins and begins + later < len(MONTHS):
                state = states[begins + later]
                name = SEGMENTS[state][0] if isinstance(state, int) else "lapsed"
                expected[MONTHS[begins], later, name].append(truth.spend.get((one, begins + later), 0))
    told = {(row["new_in"], row["months_later"], row["segment"]): row for row in answer(published, 18)}
    assert told.keys() == expected.keys()
    for key, spent in expected.items():
        assert told[key]["customers"] == len(spent)
        assert told[key]["mean_month_spend"] == pytest.approx(np.mean(spent), abs=0.006)


def test_the_mean_over_a_cohort_is_of_all_who_were_in_it_and_not_of_those_who_stayed(published, truth):
    """The query that comes to mind: nobody has to know that customers leave."""
    rows = published.execute("""
        SELECT first.month, later.month, count(*), avg(later.month_spend) FROM customer_months AS first
        JOIN customer_months AS later ON later.customer_id = first.customer_id AND later.month >= first.month
        WHERE first.movement = 'new' GROUP BY ALL
    """).fetchall()
    told = {(first, later): (count, float(mean)) for first, later, count, mean in rows}
    begun = defaultdict(list)
    for one, states in truth.state.items():
        if states[0] == "new":
            begun[states.count("new")].append(one)
    months = range(len(MONTHS))
    assert told.keys() == {(MONTHS[i], MONTHS[j]) for i in begun for j in months if j >= i}
    for i, members in begun.items():
        for j in range(i, len(MONTHS)):
            count, mean = told[MONTHS[i], MONTHS[j]]
            assert count == len(members)
            assert mean == pytest.approx(np.mean([truth.spend.get((one, j), 0) for one in members]), abs=0.001)


def test_who_left_has_a_row_that_says_so_in_every_later_month(published, truth):
    rows = published.execute("""
        SELECT customer_id, month, movement, previous_segment_id, previous_segment_name, segment_id, window_spend
        FROM customer_months WHERE state = 'lapsed'
    """).fetchall()
    expected = {
        (one, MONTHS[i]): states[i - 1] if isinstance(states[i - 1], int) else None
        for one, states in truth.state.items()
        for i in range(1, len(MONTHS))
        if states[i] == "lapsed"
    }
    assert {(one, month): before for one, month, _, before, *_ in rows} == expected
    assert {(row[2], row[3] is None) for row in rows} == {("lapsed", False), (None, True)}
    assert all(row[4] == (SEGMENTS[row[3]][0] if row[3] else None) for row in rows)
    assert {(row[5], row[6]) for row in rows} == {(None, 0)}
    there = published.execute("SELECT count(*), count(DISTINCT customer_id) FROM customer_now").fetchone()
    assert there == (len(truth.there(len(MONTHS) - 1)),) * 2


def test_who_stands_between_two_segments_and_what_sets_them_apart(published, truth):
    last = len(MONTHS) - 1
    rows = answer(published, 19)
    hybrids = [one for one in truth.there(last) if _is_hybrid(one)]
    assert {(row["customer_id"], row["feature"]) for row in rows} == {(o, f) for o in hybrids for f in FEATURES}
    means = {
        k: np.mean([truth.feature[one, last] for one in truth.there(last) if truth.state[one][last] == k])
        for k in SEGMENTS
    }
    for row in rows:
        one, times = row["customer_id"], 2 if row["feature"] == "role" else 1
        here, there = truth.state[one][last], truth.second[one, last]
        assert (row["segment_name"], row["second_segment_name"]) == (SEGMENTS[here][0], SEGMENTS[there][0])
        assert row["value"] == truth.feature[one, last] * times
        assert row["mean_of_segment"] == pytest.approx(means[here] * times, abs=0.006)
        assert row["mean_of_second"] == pytest.approx(means[there] * times, abs=0.006)


def test_revenue_at_risk_by_segment_and_the_fifty_who_make_up_most_of_it(published, truth):
    last = len(MONTHS) - 1
    risk = {one: truth.risk[one] * 12 * truth.spend[one, last] for one in truth.there(last)}
    fifty = sorted(risk, key=lambda one: (-risk[one], one))[:50]
    rows = answer(published, 20)
    for row in rows:
        members = [one for one in risk if SEGMENTS[truth.state[one][last]][0] == row["segment_name"]]
        assert row["revenue_at_risk"] == pytest.approx(sum(risk[one] for one in members), abs=0.006)
        assert row["who"] == [one for one in fifty if one in members]
        assert row["of_the_fifty"] == len(row["who"])
    assert sum(row["of_the_fifty"] for row in rows) == 50
    totals = [row["revenue_at_risk"] for row in rows]
    assert totals == sorted(totals, reverse=True)


def test_from_where_customers_lapsed_beside_what_no_difference_would_give(published, truth):
    lapsed, there = Counter(), Counter()
    for i in range(5, 8):
        for one in truth.there(i - 1):
            there[truth.state[one][i - 1]] += 1
            lapsed[truth.state[one][i - 1]] += truth.state[one][i] == "lapsed"
    rows = answer(published, 21)
    assert {row["from_name"]: row["lapsed"] for row in rows} == {SEGMENTS[k][0]: n for k, n in lapsed.items()}
    for row in rows:
        (k,) = (k for k, (name, _) in SEGMENTS.items() if name == row["from_name"])
        expected = lapsed.total() * there[k] / there.total()
        assert float(row["if_the_segment_made_no_difference"]) == pytest.approx(expected, abs=0.06)
        assert row["percent_of_segment"] == pytest.approx(100 * lapsed[k] / there[k], abs=0.06)


def test_what_each_action_brought_per_segment_and_arm_and_for_how_many(published, truth):
    counts = Counter((truth.state[one][5], ARMS[int(one[1:]) % 3]) for one in truth.there(5))
    rows = {(row["segment_name"], row["arm"]): row for row in answer(published, 22)}
    assert len(rows) == 4 * 3
    for k, (name, _) in SEGMENTS.items():
        for place, arm in enumerate(ARMS):
            row = rows[name, arm]
            assert row["customers"] == counts[k, arm]
            assert row["actions"] == ("none" if arm == "control" else f"act_{k}")
            assert row["result"] == pytest.approx(0.1 * k + [0.2, 0.1, 0.0][place])
            assert row["lift_against_control"] == (pytest.approx(0.2) if arm == "matched" else None)
            assert row["verdict"] == "control"
    assert rows[None, "matched"]["actions"] == "act_1, act_2, act_3"


def test_one_customer_month_by_month(published, truth):
    one = next(
        one
        for one, states in truth.state.items()
        if states[0] != "new" and len(set(states)) == 4 and states[-1] != "lapsed"
    )
    rows = {row["month"]: row for row in answer(published, 23, instead_of_1=one)}
    states = truth.state[one]
    assert list(rows) == MONTHS
    for i, month in enumerate(MONTHS):
        if states[i] == "lapsed":
            left = states[i - 1] != "lapsed"
            assert (rows[month]["segment_name"], rows[month]["month_spend"]) == ("lapsed", 0)
            assert rows[month]["movement"] == ("lapsed" if left else None)
            continue
        now, before = states[i], states[i - 1] if i else None
        if before is None:
            movement = None
        elif before == "lapsed":
            movement = "returned"
        else:
            moved = "up" if HEIGHT[now] > HEIGHT[before] else "down"
            movement = "stayed" if now == before else f"moved {moved}"
        row = rows[month]
        assert (row["segment_name"], row["movement"]) == (SEGMENTS[now][0], movement)
        assert float(row["month_spend"]) == pytest.approx(truth.spend[one, i], abs=0.006)
        assert float(row["window_spend"]) == pytest.approx(truth.window(one, i), abs=0.006)
        assert row["probability"] == (0.55 if _is_hybrid(one) else 0.9)
        assert row["churn_risk"] == pytest.approx(truth.risk[one], abs=0.0006)


def test_a_feature_that_is_called_as_a_column_of_ours_stands_beside_it(published):
    found = published.execute("SELECT role, feature_role, visits FROM customer_now ORDER BY customer_id").fetchall()
    assert {row[0] for row in found} == {"engaged", "casual", "dormant"}
    assert all(row[1] == 2 * row[2] for row in found)
