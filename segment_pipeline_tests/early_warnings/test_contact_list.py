"""Who is on the contact list: by revenue at risk or churn risk, and by the rules whose own back-test has earned it."""

import shutil
from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import load_config
from segment_pipeline.config.warning_rules import WARNING_RULES, WarningSettings
from segment_pipeline.database.rows import insert_rows
from segment_pipeline.database.store import prepare
from segment_pipeline.early_warnings.backtest import BacktestRow, backtest, most_urgent
from segment_pipeline.early_warnings.churn_store import write_backtest
from segment_pipeline.early_warnings.contact_list import WHOLE, standings
from segment_pipeline.early_warnings.rules_store import (
    contact_list_told,
    head_of_queue,
    standings_of,
    warning_figures,
    write_early_warnings,
)
from segment_pipeline.early_warnings.tables import WARNING_BACKTEST_HISTORY
from segment_pipeline.models.champions_store import previous_champion, require_champion
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.early_warnings.test_early_warnings import DEFAULTS, MODEL, customer, warnings
from segment_pipeline_tests.shop import Shop, order_lines, query, write_parquet

MARCH, APRIL, MAY = date(2023, 3, 1), date(2023, 4, 1), date(2023, 5, 1)
RULE = "segment_downgrade"
JUDGED = BacktestRow(
    judged="everybody",
    month=None,
    warning=RULE,
    months=3,
    alerts=500,
    alerts_elsewhere=0,
    eligible=6000,
    base_rate=0.25,
    precision=0.375,
    precision_low=0.3125,
    precision_high=0.4375,
    recall=0.1,
    lift=1.5,
    churn_risk_precision=0.375,
    recency_precision=0.3,
    difference=None,
    difference_low=None,
    difference_high=None,
    lead_time_days=None,
    churn_risk_lead_time_days=None,
    recency_lead_time_days=None,
    horizon_days=90,
)


@pytest.fixture
def warehouse():
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        yield connection


def standing(**changes: object):
    row = replace(JUDGED, **changes)  # type: ignore[arg-type]
    found, whole = standings([RULE], {RULE: row}, ranked=True)
    assert whole.takes_part == found.takes_part
    return found


def known(connection, month: date, **changes: object) -> None:
    """What `month` knew of the rule's past warnings."""
    row = replace(JUDGED, **changes)  # type: ignore[arg-type]
    insert_rows(connection, WARNING_BACKTEST_HISTORY, [{**vars(row), "evaluated_month": month}])


def on_the_list(connection, month: date) -> list[tuple]:
    rows = warnings(connection, month, "priority", "customer_id", "warning", "within_budget")
    return sorted(row[:3] for row in rows if row[3])


def test_a_rule_takes_part_only_above_chance_and_not_below_churn_risk():
    assert standing().takes_part
    assert not standing(precision_low=0.25).takes_part
    assert standing(precision_low=0.25 + 2**-20).takes_part
    assert not standing(churn_risk_precision=0.375 + 2**-20).takes_part
    assert not standing(precision=0.2, precision_low=0.26).takes_part
    # what has not been compared is not in its favour; without a churn risk there is only chance to be better than
    assert not standing(churn_risk_precision=None).takes_part
    unranked, _ = standings([RULE], {RULE: replace(JUDGED, churn_risk_precision=None)}, ranked=False)
    assert unranked.takes_part
    assert unranked.sentence.endswith("of as many customers at random 25.0 %.")
    assert not standing(alerts=0, precision=None, precision_low=None, churn_risk_precision=None).takes_part


def test_each_standing_says_why():
    assert standing().sentence == (
        "Of 500 warnings 37.5 % came true (95 % interval: 31.2 % or more), of as many customers at random 25.0 %, of "
        "as many of the highest churn risk 37.5 %."
    )
    assert standing(precision_low=0.2).sentence.endswith("at random 25.0 %: that may be chance.")
    assert standing(precision=0.2, precision_low=0.1).sentence.endswith("at random 25.0 %: no better than chance.")
    assert standing(precision=0.25, precision_low=0.1).sentence.endswith("at random 25.0 %: that may be chance.")
    assert standing(churn_risk_precision=None).sentence.endswith("of the highest churn risk it is not known yet.")
    assert standing(alerts=0).sentence == "In the 3 months that are judged it has warned of nobody."
    assert standing(base_rate=None).sentence == "None of its warnings has been judged yet."
    assert standing(alerts=0, months=0, precision=None).sentence == "None of its warnings has been judged yet."
    assert standing(churn_risk_precision=0.5).sentence.endswith("but the list is better without it.")
    (never, _) = standings([RULE], {}, ranked=True)
    assert (never.takes_part, never.sentence) == (False, "None of its warnings has been judged yet.")


@pytest.mark.parametrize(
    ("proven", "ranked", "said"),
    [
        (False, True, "by churn risk alone: no warning has proven to find more"),
        (True, True, "first those of whom segment downgrade warns, ranked by churn risk"),
        (True, False, "those of whom segment downgrade warns; there is no churn risk yet"),
        (False, False, "there is no churn risk yet, and no warning has proven to be worth a call"),
    ],
)
def test_the_list_says_what_it_stands_on(proven: bool, ranked: bool, said: str):
    whole = standings([RULE], {RULE: JUDGED} if proven else {}, ranked=ranked)[-1]
    assert (whole.warning, whole.takes_part, whole.sentence) == (WHOLE, proven, said)


def four_customers(connection, month: date, risks=(0.2, 0.9, 0.5, 0.4)) -> None:
    """c0 is downgraded, c1 and c2 are riskier, c3 has mixed signals."""
    customer(connection, month, "c0", (0.1, 0.9, 0.0), moved=(1, 2), risk=risks[0])
    customer(connection, month, "c1", (0.9, 0.1, 0.0), risk=risks[1])
    customer(connection, month, "c2", (0.9, 0.1, 0.0), risk=risks[2])
    customer(connection, month, "c3", (0.35, 0.3, 0.35), risk=risks[3])


def test_where_no_rule_has_proven_itself_the_list_is_churn_risk_alone_and_says_so(warehouse):
    four_customers(warehouse, APRIL)
    known(warehouse, MARCH, precision_low=0.25)
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    # as many places as customers with a warning
    assert on_the_list(warehouse, APRIL) == [(1, "c1", "high_churn_risk"), (2, "c2", "high_churn_risk")]
    assert contact_list_told(warehouse, APRIL) == "by churn risk alone: no warning has proven to find more"
    assert not any(found.takes_part for found in standings_of(warehouse, APRIL))
    evidence = dict(warnings(warehouse, APRIL, "customer_id || ' ' || warning", "evidence"))
    assert evidence["c1 high_churn_risk"] == "churn risk 90 %"
    assert evidence.keys() == {"c0 segment_downgrade", "c1 high_churn_risk", "c2 high_churn_risk", "c3 mixed_signal"}


def test_where_it_is_known_what_customers_are_worth_the_list_goes_by_revenue_at_risk(warehouse):
    four_customers(warehouse, APRIL)
    for name, expected, at_risk in (("c1", 10.0, 9.0), ("c2", 1000.0, 500.0), ("c3", 80.004, 32.0016)):
        warehouse.execute(
            "INSERT INTO customer_value (month, customer_id, expected_spend_12, revenue_at_risk) VALUES (?, ?, ?, ?)",
            [APRIL, name, expected, at_risk],
        )
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings(monthly_budget=3))
    # c1 is the riskiest, and has least to lose
    assert [row[:2] for row in on_the_list(warehouse, APRIL) if row[2] == "revenue_at_risk"] == [
        (1, "c2"),
        (2, "c3"),
        (3, "c1"),
    ]
    assert contact_list_told(warehouse, APRIL) == "by revenue at risk alone: no warning has proven to find more"
    evidence = dict(warnings(warehouse, APRIL, "customer_id || ' ' || warning", "evidence"))
    assert evidence["c2 revenue_at_risk"] == "500 at risk: churn risk 50 % of 1000 expected in a year"
    assert evidence["c3 revenue_at_risk"] == "32.00 at risk: churn risk 40 % of 80.00 expected in a year"
    assert dict(warnings(warehouse, APRIL, "customer_id", "revenue_at_risk"))["c2"] == 500.0
    # of whom nobody knows what they are worth comes after them, by churn risk
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings(monthly_budget=4))
    assert (4, "c0", "high_churn_risk") in on_the_list(warehouse, APRIL)


def test_a_rule_that_has_proven_itself_puts_its_customers_on_the_list(warehouse):
    four_customers(warehouse, APRIL)
    known(warehouse, MARCH)
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    # the list is ranked by churn risk, whoever put a customer on it
    assert on_the_list(warehouse, APRIL) == [
        (1, "c1", "high_churn_risk"),
        (2, "c0", "high_churn_risk"),
        (2, "c0", "segment_downgrade"),
    ]
    told = {found.warning: found.takes_part for found in standings_of(warehouse, APRIL)}
    assert told == {**{rule.name: rule.name == RULE for rule in WARNING_RULES}, WHOLE: True}
    # what was known a month earlier, or of other questions, counts for nothing
    write_early_warnings(warehouse, MODEL, MODEL, MAY, DEFAULTS)
    assert not standings_of(warehouse, MAY)[-1].takes_part


def test_without_a_churn_risk_only_a_proven_rule_makes_a_list(warehouse):
    four_customers(warehouse, APRIL, risks=(None,) * 4)
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings(monthly_budget=3))
    assert on_the_list(warehouse, APRIL) == []
    assert contact_list_told(warehouse, APRIL).startswith("there is no churn risk yet, and no warning")
    known(warehouse, MARCH, churn_risk_precision=None)
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings(monthly_budget=3))
    assert on_the_list(warehouse, APRIL) == [(1, "c0", "segment_downgrade")]


def test_whom_a_campaign_leaves_alone_costs_nobody_a_place(warehouse):
    """The riskiest of all is a control: warned of, and not on the list, which is as long as it would be without."""
    four_customers(warehouse, APRIL, risks=(0.2, 0.9, 0.5, 0.4))
    customer(warehouse, APRIL, "control", (0.35, 0.3, 0.35), risk=0.99)
    for name, arm in (("control", "control"), ("c1", "treatment")):
        warehouse.execute("INSERT INTO customer_actions (month, customer_id, arm) VALUES (?, ?, ?)", [APRIL, name, arm])
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    assert [row[:2] for row in on_the_list(warehouse, APRIL)] == [(1, "c1"), (2, "c2")]
    columns = ("customer_id", "priority", "within_budget", "contact_allowed")
    assert ("control", None, False, False) in warnings(warehouse, APRIL, *columns)
    # c0 and c3 are warned of and not on the list
    figures = warning_figures(warehouse, APRIL)
    assert figures == {"new": 3, "ongoing": 0, "resolved": 0, "to_contact": 2, "left_out": 2, "left_alone": 1}


def test_the_head_of_the_queue_tells_all_that_speaks_for_a_customer(warehouse):
    for month in (APRIL, MAY):
        four_customers(warehouse, month)
        write_early_warnings(warehouse, MODEL, MODEL, month, WarningSettings(monthly_budget=3))
    assert head_of_queue(warehouse, APRIL, places=3) == [
        {
            "priority": place,
            "customer_id": customer_id,
            "churn_risk": risk,
            "revenue_at_risk": None,
            "within_budget": True,
            "evidence": evidence,
        }
        for place, customer_id, risk, evidence in (
            (1, "c1", 0.9, "high_churn_risk: churn risk 90 %"),
            (2, "c2", 0.5, "high_churn_risk: churn risk 50 %"),
            (
                3,
                "c3",
                0.4,
                "high_churn_risk: churn risk 40 %; mixed_signal: engaged 35 %, at risk or dormant 35 %",
            ),
        )
    ]
    assert [row["within_budget"] for row in head_of_queue(warehouse, APRIL)] == [True, True, True, False]
    # a month later they are the same warnings, and each is counted once
    figures = warning_figures(warehouse, MAY)
    assert figures == {"new": 0, "ongoing": 2, "resolved": 0, "to_contact": 3, "left_out": 1, "left_alone": 0}


def test_a_file_of_before_there_were_standings_tells_nothing(warehouse):
    warehouse.execute("DROP TABLE contact_list_rules")
    assert (standings_of(warehouse, APRIL), contact_list_told(warehouse, APRIL)) == ([], None)


def test_the_list_as_a_whole_has_an_action_with_an_owner_and_a_day_where_the_file_says_it(warehouse):
    doing = {"what": "Write to them.", "owner": "CRM", "channel": "post", "within_days": 14}
    four_customers(warehouse, APRIL, (0.2, 0.9, 0.5, 0.4))
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, WarningSettings.model_validate({"action": doing}))
    *rules, whole = standings_of(warehouse, APRIL)
    assert (whole.what, whole.owner, whole.channel, whole.due) == ("Write to them.", "CRM", "post", date(2023, 5, 15))
    assert {rule.what for rule in rules} == {None}
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    assert standings_of(warehouse, APRIL)[-1].what is None
    for column in ("what", "owner", "channel", "due"):  # a file of before there was such an action
        warehouse.execute(f"ALTER TABLE contact_list_rules DROP COLUMN {column}")
    assert standings_of(warehouse, APRIL)[-1].warning == "any"


def test_who_leaves_the_list_is_resolved_once(warehouse):
    for month, risks in ((MARCH, (0.2, 0.9, 0.5, 0.4)), (APRIL, (0.2, 0.1, 0.5, 0.6)), (MAY, (0.2, 0.1, 0.5, 0.6))):
        four_customers(warehouse, month, risks)
        write_early_warnings(warehouse, MODEL, MODEL, month, DEFAULTS)
    states = [
        {row[0]: row[2] for row in warnings(warehouse, month) if row[1] == "high_churn_risk"}
        for month in (MARCH, APRIL, MAY)
    ]
    assert states == [
        {"c1": "new", "c2": "new"},
        {"c1": "resolved", "c2": "ongoing", "c3": "new"},
        {"c2": "ongoing", "c3": "ongoing"},
    ]


def test_who_stays_on_the_list_is_neither_resolved_nor_new_when_a_rule_names_it_as_well_or_no_longer(warehouse):
    """c0 and c1 have a place in all three months; in April a proven rule puts c0 there, else its risk does."""
    known(warehouse, MARCH)
    for month, moved in ((MARCH, None), (APRIL, (1, 2)), (MAY, None)):
        customer(warehouse, month, "c0", (0.1, 0.9, 0.0), moved=moved, risk=0.8)
        customer(warehouse, month, "c1", (0.9, 0.1, 0.0), risk=0.9)
        write_early_warnings(warehouse, MODEL, MODEL, month, WarningSettings(monthly_budget=2))
        assert {row[1] for row in on_the_list(warehouse, month)} == {"c0", "c1"}
    assert standings_of(warehouse, APRIL)[-1].takes_part
    states = [
        {row[0]: row[2] for row in warnings(warehouse, month) if row[1] == "high_churn_risk"}
        for month in (MARCH, APRIL, MAY)
    ]
    assert states == [{"c0": "new", "c1": "new"}, *([{"c0": "ongoing", "c1": "ongoing"}] * 2)]


def test_the_list_is_judged_as_it_was_and_not_only_the_warned_on_it():
    from segment_pipeline_tests.early_warnings.test_backtest import a_month, flags

    month = a_month(alerts={WHOLE: flags("xx...."), "declining": flags("xx....")}, to_contact=flags("x.x..."))
    whole, rule = (row for row in backtest([month], judged="within_budget") if row.month is not None)
    assert (whole.alerts, whole.precision, rule.alerts) == (2, 1.0, 1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.one_of(st.none(), st.integers(1, 30)))
def test_the_list_in_sql_is_the_list_in_numpy(seed: int, proven: bool, budget: int | None):
    random = np.random.default_rng(seed)
    ids = np.array([f"c{i:02d}" for i in range(30)])
    downgraded, risk = random.random(30) < 0.3, np.round(random.random(30), 1)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        for name, fell, chance in zip(ids, downgraded, risk, strict=True):
            customer(connection, APRIL, name, (0.1, 0.9, 0.0), moved=(1, 2) if fell else None, risk=float(chance))
        if proven:
            known(connection, MARCH)
        write_early_warnings(connection, MODEL, MODEL, APRIL, WarningSettings(monthly_budget=budget))
        found = sorted({row[:2] for row in on_the_list(connection, APRIL)})
    places = min(downgraded.sum() if budget is None else budget, 30)
    chosen = most_urgent(risk + 10 * (downgraded & proven), np.ones(30, dtype=bool), places, ids)
    assert {name for _, name in found} == set(ids[chosen])
    # of equal risk, those first whom a rule names that has proven itself
    order = sorted((-risk[i], not (downgraded & proven)[i], ids[i]) for i in np.flatnonzero(chosen))
    assert [name for _, name in found] == [name for _, _, name in order]


@pytest.fixture(scope="module")
def judged(commands, tmp_path_factory) -> Shop:
    """Three months with a horizon of one, so that March is judged when April closes."""
    more = "warnings: {horizon_days: 30, monthly_budget: 40}\n"
    shop = Shop(tmp_path_factory.mktemp("listed")).configure(last_month="2023-05", more=more)
    write_parquet(order_lines(customers=900, months=6, seed=5), shop.orders_path)
    assert commands.run(shop, "--quiet").code == 0
    return shop


def test_a_planted_rule_takes_part_when_it_is_right_and_not_when_it_is_chance(judged: Shop, tmp_path):
    """Warnings of March planted with known truth, judged by the real back-test: nine in ten of one rule's come true;
    the other's are drawn by lot."""
    shop = Shop(shutil.copytree(judged.folder, tmp_path / "copy"))
    config = load_config(shop.config_path)
    random = np.random.default_rng(11)
    with duckdb.connect(str(shop.warehouse)) as connection:
        labels = connection.execute(
            "SELECT customer_id, silent FROM observed_silence WHERE month = ? ORDER BY customer_id", [MARCH]
        ).fetchall()
        chance_right = np.array([silent for _, silent in labels])
        right = random.random(len(labels)) < np.where(chance_right, 0.45, 0.05 * chance_right.mean())
        lot = random.random(len(labels)) < 0.3
        # a churn risk that knows nothing is what it has to be better than
        connection.executemany(
            "INSERT INTO churn_risk (month, customer_id, churn_risk) VALUES (?, ?, ?)",
            [[MARCH, customer, risk] for (customer, _), risk in zip(labels, random.random(len(labels)), strict=True)],
        )
        connection.execute("DELETE FROM early_warnings WHERE month = ?", [MARCH])
        for rule, named in (("mixed_signal", right), ("declining_engagement", lot)):
            connection.executemany(
                "INSERT INTO early_warnings (month, customer_id, warning, status) VALUES (?, ?, ?, 'new')",
                [[MARCH, labels[i][0], rule] for i in np.flatnonzero(named)],
            )
        write_backtest(connection, config, APRIL)
        champion = require_champion(connection, config, MAY)
        write_early_warnings(connection, champion, previous_champion(connection, config, MAY), MAY, config.warnings)
        told = {found.warning: found for found in standings_of(connection, MAY)}
    assert told["mixed_signal"].takes_part
    assert not told["declining_engagement"].takes_part
    assert told["declining_engagement"].sentence.endswith("no better than chance.")
    assert told[WHOLE].sentence == "first those of whom mixed signal warns, ranked by revenue at risk"


def test_on_the_shop_the_list_is_revenue_at_risk_alone_and_the_summary_says_so(judged: Shop, commands):
    on_it = query(
        judged.published, "SELECT DISTINCT customer_id FROM early_warnings WHERE month = '2023-05-01' AND within_budget"
    )
    most_at_risk = query(
        judged.published,
        "SELECT customer_id FROM customer_value WHERE month = '2023-05-01' "
        "ORDER BY revenue_at_risk DESC, customer_id LIMIT 40",
    )
    standing_rules = query(judged.published, "SELECT warning FROM contact_list_rules WHERE takes_part")
    assert standing_rules == []
    assert sorted(on_it) == sorted(most_at_risk)
    said = commands.run(judged).out
    assert "40 customers to contact (by revenue at risk alone: no warning has proven to find more)" in said
    assert "Money: these customers are expected to spend " in said
    (first,) = query(
        judged.published, "SELECT sentence FROM contact_list_rules WHERE month = '2023-03-01' AND warning = 'any'"
    )
    assert first[0].startswith("there is no churn risk yet")


def test_the_month_before_is_all_that_is_looked_at(warehouse):
    """A verdict of the same month, or a later one, is not known yet when the list is made."""
    four_customers(warehouse, APRIL)
    known(warehouse, APRIL)
    known(warehouse, add_months(APRIL, 1))
    write_early_warnings(warehouse, MODEL, MODEL, APRIL, DEFAULTS)
    assert not standings_of(warehouse, APRIL)[-1].takes_part
