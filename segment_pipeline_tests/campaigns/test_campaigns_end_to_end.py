"""Did it work? Campaigns through real runs: arms, outcomes of known lift, and all that can be wrong with both."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.campaigns import load_campaigns
from segment_pipeline.config.config import load_config
from segment_pipeline.early_warnings.rules_store import warning_figures
from segment_pipeline.errors import ConfigError
from segment_pipeline.publishing.exports import export_month
from segment_pipeline.publishing.publish import reading
from segment_pipeline_tests.campaigns.arms_in_python import arm_of, random_segment_of
from segment_pipeline_tests.shop import Shop, query, write_parquet

SHARES = {"matched": 0.5, "random": 0.2, "control": 0.3}
RATES = {"matched": 0.6, "random": 0.3, "control": 0.3}
START, UNTIL = datetime(2023, 4, 3), datetime(2023, 5, 20)
SPRING = """\
- campaign: spring
  month: 2023-03
  start: 2023-04-03
  measure_until: 2023-05-20
  shares: {matched: 0.5, random: 0.2, control: 0.3}
"""
MORE = """\
actions:
  - {action_id: first, segment: 1, what: w, owner: the first, channel: app, kpi: k, measure_days: 30}
  - {action_id: second, segment: 2, what: w, owner: the second, channel: post, kpi: k, measure_days: 30}
  - {action_id: rest, what: w, owner: the rest, channel: e-mail, kpi: k, measure_days: 30}
warnings: {monthly_budget: 40}
campaigns: {file: campaigns.yaml}
"""
OUTCOMES = "outcomes: {path: outcomes.parquet, customer_id: who, occurred_at: moment, value: value}\n"
MARCH, APRIL, MAY = (f"month = DATE '2023-0{number}-01'" for number in (3, 4, 5))
AFTER_ASSIGNMENT = ["customer_actions", "campaign_lift", "published_segments"]
JUNE_BEFORE_IT = ["raw_customers", "validated_features", "scaled_matrix", "candidate_models", "selected_model"]
JUNE_BEFORE_IT += ["monthly_assignments", "segment_profiles", "transition_deltas"]


def write_outcomes(path: Path, extra: list[tuple[str, datetime, float]] = []) -> None:  # noqa: B006 - only read
    """Every customer: in 20 % an order before the campaign, then one within it at the rate of the arm."""
    random = np.random.default_rng(5)
    ids = [f"c{number:05d}" for number in range(700)]
    rows = list(extra)
    for customer, arm in zip(ids, arm_of(ids, "spring", SHARES), strict=True):
        if random.random() < 0.2:
            rows.append((customer, datetime(2023, 3, 1) + timedelta(days=int(random.integers(0, 30))), 10.0))
        if random.random() < RATES[str(arm)]:
            rows.append((customer, START + timedelta(days=int(random.integers(0, 47))), 20.0))
    write_parquet({"who": [r[0] for r in rows], "moment": [r[1] for r in rows], "value": [r[2] for r in rows]}, path)


@pytest.fixture(scope="module")
def spring(tmp_path_factory, three_months, materialize):
    """The shop after March to May with the campaign `spring`, and the results of the runs. Read it only. What does not
    depend on actions and campaigns is that of `three_months`, but for a churn risk of April, so that it has a list."""
    shop = Shop(shutil.copytree(three_months.folder, tmp_path_factory.mktemp("spring") / "shop"))
    shop.configure(last_month="2023-06", more=MORE + OUTCOMES)
    (shop.folder / "campaigns.yaml").write_text(SPRING)
    edges = [
        ("nobody", START, 5.0),
        ("c00001", START - timedelta(microseconds=1), 5.0),
        ("c00001", UNTIL, 5.0),
        ("c00001", UNTIL - timedelta(microseconds=1), 5.0),
    ]
    write_outcomes(shop.folder / "outcomes.parquet", edges)
    with duckdb.connect(str(shop.warehouse)) as connection:
        connection.execute(
            "INSERT INTO churn_risk SELECT month, customer_id, CAST(right(customer_id, 3) AS DOUBLE) / 1000 "
            f"FROM monthly_assignments WHERE {APRIL}"
        )
    selection = ["early_warnings", "warning_backtest", *AFTER_ASSIGNMENT]
    months = ("2023-03", "2023-04", "2023-05")
    return shop, {month: materialize(shop, month, selection=selection) for month in months}


@pytest.fixture
def after_march(spring, tmp_path):
    """A copy of that shop, to be changed; March stands in it, with the months after it."""
    return Shop(shutil.copytree(spring[0].folder, tmp_path / "shop"))


@pytest.fixture(scope="module")
def june(spring, tmp_path_factory, materialize):
    """That shop with June's customers in their segments, but for what depends on campaigns. Read it only."""
    shop = Shop(shutil.copytree(spring[0].folder, tmp_path_factory.mktemp("june") / "shop"))
    assert materialize(shop, "2023-06", selection=JUNE_BEFORE_IT).success
    return shop


@pytest.fixture
def in_june(june, tmp_path):
    """A copy of that, to be changed."""
    return Shop(shutil.copytree(june.folder, tmp_path / "shop"))


def check(result, name: str):
    return next(found for found in result.get_asset_check_evaluations() if found.check_name == name)


# --- arms -------------------------------------------------------------------------------------------------------------


def test_every_customer_of_the_month_is_in_the_arm_that_its_hash_gives(spring):
    shop, _ = spring
    rows = query(shop.published, f"SELECT customer_id, arm, campaign FROM customer_actions WHERE {MARCH}")
    assert len(rows) > 500
    assert [row[1] for row in rows] == list(arm_of([row[0] for row in rows], "spring", SHARES))
    assert {row[2] for row in rows} == {"spring"}
    assert query(shop.published, f"SELECT count(*) FROM monthly_assignments WHERE {MARCH}") == [(len(rows),)]


def test_arms_stay_while_the_campaign_runs_and_are_gone_when_it_ends(spring):
    shop, _ = spring
    moved = """
        SELECT count(*), count(*) FILTER (a.arm <> b.arm) FROM customer_actions AS a JOIN customer_actions AS b
        ON a.customer_id = b.customer_id AND a.month = DATE '2023-03-01' AND b.month = DATE '2023-04-01'
    """
    ((both, changed),) = query(shop.published, moved)
    assert both > 500
    assert changed == 0
    assert query(shop.published, f"SELECT DISTINCT arm, campaign FROM customer_actions WHERE {MAY}") == [(None, None)]


def test_control_is_left_alone_and_that_is_no_gap_in_the_matrix(spring):
    shop, results = spring
    sql = (
        f"SELECT DISTINCT action_id, owner, channel, kpi, measure_until FROM customer_actions WHERE {MARCH} AND arm = "
    )
    assert query(shop.published, sql + "'control'") == [(None,) * 5]
    assert check(results["2023-03"], "every_customer_has_an_action").passed
    assert check(results["2023-03"], "campaigns_are_valid").passed


def test_whom_a_campaign_leaves_alone_stands_on_no_contact_list(spring, tmp_path):
    shop, _ = spring
    warned = f"""
        SELECT count(DISTINCT customer_id) FILTER (w.contact_allowed <> (arm <> 'control')),
            count(DISTINCT customer_id) FILTER (arm = 'control' AND (within_budget OR priority IS NOT NULL)),
            count(DISTINCT customer_id) FILTER (arm = 'control'), count(DISTINCT customer_id) FILTER (within_budget),
            max(priority) FILTER (within_budget)
        FROM early_warnings AS w JOIN customer_actions AS c USING (month, customer_id)
        WHERE w.{APRIL} AND status <> 'resolved'
    """
    ((wrong, contacted, control, on_the_list, last),) = query(shop.published, warned)
    assert (wrong, contacted) == (0, 0)
    assert control > 0
    assert on_the_list == last == 40  # the next in the queue have taken the places

    export = export_month(shop.published, "shop", folder=tmp_path / "crm", month=date(2023, 4, 1), formats=["parquet"])
    file = f"{export.folder}/customers.parquet"
    told = f"SELECT count(*) FROM '{file}' WHERE arm = 'control' AND (within_budget OR priority IS NOT NULL)"
    assert query(shop.published, told) == [(0,)]
    with reading(shop.published) as connection:
        figures = warning_figures(connection, date(2023, 4, 1))
    assert (figures["to_contact"], figures["left_alone"]) == (40, control)


def test_matched_gets_the_action_of_its_segment_and_random_another_of_a_drawn_one(spring):
    shop, _ = spring
    of_segment = {1: ("first", "app"), 2: ("second", "post")}
    rest = ("rest", "e-mail")
    sql = f"""
        SELECT customer_id, arm, segment_id, action_id, channel FROM customer_actions
        WHERE {MARCH} AND arm <> 'control'
    """
    rows = query(shop.published, sql)
    ids = [row[0] for row in query(shop.published, f"SELECT segment_id FROM segment_profiles WHERE {MARCH}")]
    own = [of_segment.get(row[2], rest) for row in rows]
    offered = [[i for i in ids if of_segment.get(i, rest) != matched] for matched in own]
    drawn = random_segment_of([row[0] for row in rows], "spring", offered)
    for (_, arm, _, action, channel), matched, other in zip(rows, own, drawn, strict=True):
        assert (action, channel) == (matched if arm == "matched" else of_segment.get(int(other), rest))
        assert arm == "matched" or (action, channel) != matched
    assert sum(row[1] == "random" for row in rows) > 50


# --- lift -------------------------------------------------------------------------------------------------------------


def test_the_planted_lift_is_found_in_the_month_in_which_the_campaign_ends(spring):
    shop, _ = spring
    sql = f"""
        SELECT metric, against, matched, control, lift, lift_low, lift_high, minimum_detectable_effect, verdict
        FROM campaign_lift WHERE {MAY} AND segment_id IS NULL
    """
    rows = {row[:2]: row[2:] for row in query(shop.published, sql)}
    assert set(rows) == {(metric, arm) for metric in ("conversion", "value") for arm in ("random", "control")}
    for (metric, _), (matched, control, lift, low, high, planned, verdict) in rows.items():
        unit = 1 if metric == "conversion" else 20
        assert low <= 0.3 * unit <= high
        assert low > 0
        assert lift == pytest.approx(0.3 * unit, abs=0.15 * unit)
        assert matched > control
        assert planned is None
        assert verdict.startswith("higher: ")


def test_only_what_happened_within_the_campaign_counts(spring):
    shop, results = spring
    counted = f"""
        SELECT round(sum(matched * matched_customers)) FROM campaign_lift
        WHERE {MAY} AND segment_id IS NULL AND metric = 'conversion' AND against = 'control'
    """
    outcomes = f"""
        SELECT count(DISTINCT who) FROM '{shop.folder}/outcomes.parquet' JOIN customer_actions AS a ON who = customer_id
        WHERE {MARCH} AND arm = 'matched' AND moment >= DATE '2023-04-03' AND moment < DATE '2023-05-20'
    """
    assert query(shop.published, counted) == query(shop.published, outcomes)
    found = check(results["2023-05"], "outcomes_can_be_used")
    assert not found.passed
    assert found.severity.name == "WARN"
    observed = found.metadata["observed"].data
    seen = "SELECT customer_id FROM raw_customers"
    not_seen = f"SELECT count(*) FROM '{shop.folder}/outcomes.parquet' WHERE who NOT IN ({seen})"
    ((unknown,),) = query(shop.warehouse, not_seen)
    assert unknown >= 1
    assert observed["problems"] == [
        f"outcomes.customer_id: found {unknown} of customers that no month of the source knows; they do not count"
    ]
    assert found.metadata["observed/before_start"].value > 50
    assert found.metadata["observed/after_end"].value == 1
    assert observed["not_counted"][0].startswith("start of campaign spring: ")
    assert observed["not_counted"][1].startswith("measure_until of campaign spring: found 1 outcomes of its customers")
    metadata = results["2023-05"].asset_materializations_for_node("campaign_lift")[0].metadata
    assert metadata["outcomes/of_unknown_customers"].value == unknown


def test_the_digest_of_the_month_tells_the_verdict(spring):
    _, results = spring
    (published,) = results["2023-05"].asset_materializations_for_node("published_segments")
    lines = published.metadata["digest"].value.splitlines()
    assert sum(line.startswith("Campaign spring, ") for line in lines) == 4
    assert any(line.startswith("Campaign spring, conversion against control, 2023-05: higher: ") for line in lines)


def test_segments_are_those_of_the_month_in_which_the_campaign_began(spring):
    shop, _ = spring
    measured = f"""
        SELECT segment_id, matched_customers + random_customers + control_customers FROM campaign_lift
        WHERE {MAY} AND metric = 'value' AND against = 'random' AND segment_id IS NOT NULL ORDER BY 1
    """
    began = f"SELECT segment_id, count(*) FROM customer_actions WHERE {MARCH} GROUP BY 1 ORDER BY 1"
    assert query(shop.published, measured) == query(shop.published, began)


def test_before_it_starts_a_campaign_says_how_small_an_effect_it_can_find(spring):
    shop, _ = spring
    sql = f"""
        SELECT metric, against, minimum_detectable_effect, lift, verdict FROM campaign_lift WHERE {MARCH}
        ORDER BY metric, against
    """
    rows = query(shop.published, sql)
    assert [row[:2] for row in rows] == [(m, a) for m in ("conversion", "value") for a in ("control", "random")]
    for metric, _, effect, lift, verdict in rows:
        assert 0.02 < effect / (1 if metric == "conversion" else 10) < 0.3
        assert lift is None
        assert verdict.startswith("not measured yet; ")
    assert query(shop.published, f"SELECT count(*) FROM campaign_lift WHERE {APRIL}") == [(0,)]


def test_without_outcomes_the_verdict_says_so_and_nothing_fails(after_march, materialize):
    after_march.configure(more=MORE)
    without_verdict(after_march)
    for month, start in (("2023-03", "not measured yet; "), ("2023-05", "not measured: ")):
        result = materialize(after_march, month, selection=AFTER_ASSIGNMENT)
        assert check(result, "outcomes_can_be_used").passed
        sql = f"SELECT DISTINCT verdict FROM campaign_lift WHERE month = DATE '{month}-01'"
        ((verdict,),) = query(after_march.published, sql)
        assert verdict.startswith(start)
        assert verdict.endswith("the configuration names no outcomes")


def test_arms_that_lost_customers_withhold_the_lift(after_march, materialize):
    with duckdb.connect(str(after_march.warehouse)) as connection:
        connection.execute(
            f"DELETE FROM customer_actions WHERE {MARCH} AND arm = 'matched' AND CAST(customer_id[2:] AS INT) % 3 = 0"
        )
    assert materialize(after_march, "2023-05", selection=AFTER_ASSIGNMENT).success
    rows = query(after_march.published, f"SELECT lift, sample_ratio_p, verdict FROM campaign_lift WHERE {MAY}")
    assert {row[0] for row in rows} == {None}
    assert max(row[1] for row in rows) < 0.001
    assert all(row[2].startswith("withheld: the arms of the campaign do not have the sizes") for row in rows)


def test_a_campaign_that_came_too_late_for_its_month_is_told_to_be_so(after_march, materialize):
    (after_march.folder / "campaigns.yaml").write_text(SPRING.replace("spring", "forgotten"))
    assert materialize(after_march, "2023-05", selection=AFTER_ASSIGNMENT).success
    ((verdict,),) = query(after_march.published, f"SELECT DISTINCT verdict FROM campaign_lift WHERE {MAY}")
    assert verdict.startswith("not measured: no customer has an arm in 2023-03")
    assert verdict.endswith("To have them: segment-pipeline run --months 2023-03..2023-05 --force")


def test_a_campaign_that_begins_in_a_published_month_names_the_months_that_it_needs(commands, after_march):
    (after_march.folder / "campaigns.yaml").write_text(SPRING.replace("spring", "late"))
    run = commands.run(after_march, "--force", "--quiet", "--months", "2023-03")
    assert run.code == 0, run
    assert "Campaign late is not in all the months that it needs: 2023-04..2023-05 were run without it. " in run.err
    assert f"--config {after_march.config_path} --months 2023-04..2023-05 --force" in run.err
    followed = commands.run(after_march, "--force", "--quiet", "--months", "2023-04..2023-05")
    assert followed.code == 0, followed
    assert "Campaign late" not in followed.err


# --- what can be wrong ------------------------------------------------------------------------------------------------

AGAIN = SPRING.replace("campaign: spring", "campaign: again")
BAD_FILES = {
    "shares": (
        SPRING.replace("0.3}", "0.2}"),
        "5: [0].shares: found 0.5 + 0.2 + 0.2 = 0.9; allowed: matched, random and",
    ),
    "share": (
        SPRING.replace("0.5,", "1.5,"),
        "5: [0].shares.matched: found 1.5; allowed: a number, above 0 and below 1",
    ),
    "action": (
        SPRING + "  actions: [first, thrid]\n",
        "6: [0].actions[1]: found 'thrid'; allowed: an action_id of the",
    ),
    "dates": (
        SPRING.replace("2023-05-20", "2023-04-03"),
        "4: [0].measure_until: found 2023-04-03; allowed: a date after",
    ),
    "start": (
        SPRING.replace("2023-04-03", "2023-03-31"),
        "3: [0].start: found 2023-03-31; allowed: 2023-04-01 or later",
    ),
    "no date": (SPRING.replace("2023-04-03", "soon"), "3: [0].start: found 'soon'; allowed: a date as YYYY-MM-DD"),
    "month": (
        SPRING.replace("2023-03", "2022-12"),
        "2: [0].month: found 2022-12; allowed: a month of the segmentation",
    ),
    "name": (
        SPRING + AGAIN.replace("again", "Spring"),
        "6: [1].campaign: found 'Spring' again (also [0]); allowed: each",
    ),
    "overlap": (
        SPRING.replace("2023-03", "2023-04").replace("2023-04-03", "2023-05-03") + AGAIN,
        "2: [0].month: found 'first' in 2023-04, as in [1] (again); allowed: one campaign at a time for an action",
    ),
    "hour": (
        SPRING.replace("2023-04-03", "2023-04-03 10:00:00"),
        "3: [0].start: found 2023-04-03 10:00:00; allowed: a ",
    ),
    "no actions": (SPRING + "  actions: []\n", "6: [0].actions: found []; allowed: a list of action_ids"),
    "unknown key": (SPRING + "  cap: 3\n", "6: [0].cap: found an unknown key; allowed: campaign, month, start"),
    "missing key": (SPRING.replace("campaign: spring\n  ", ""), "1: [0].campaign: found nothing; allowed: text"),
    "no list": ("spring: 1\n", "1: found a mapping; allowed: a list of campaigns, each with campaign, month"),
    "no YAML": ("- [", "found text that is not YAML"),
    "nothing there": (None, "found no such file; allowed: the path of a list of campaigns"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_what_is_wrong_with_a_campaign_file_is_told_by_line_and_key(tmp_path, case):
    text, message = BAD_FILES[case]
    config = load_config(Shop(tmp_path).configure(more=MORE).config_path)
    path = tmp_path / "campaigns.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_campaigns(config)
    told = str(refused.value).splitlines()
    assert any(line.startswith(str(path)) and message in line for line in told), told


def test_campaigns_without_an_action_matrix_are_refused(tmp_path):
    config = load_config(Shop(tmp_path).configure(more="campaigns: {file: campaigns.yaml}").config_path)
    (tmp_path / "campaigns.yaml").write_text(SPRING)
    with pytest.raises(
        ConfigError, match=r"1: \[0\]: found a campaign without a single action; allowed: campaigns beside"
    ):
        load_campaigns(config)


def test_no_campaigns_are_no_mistake(tmp_path):
    shop = Shop(tmp_path).configure()
    assert load_campaigns(load_config(shop.config_path)) == ()
    (tmp_path / "campaigns.yaml").write_text("# none yet\n")
    assert load_campaigns(load_config(shop.configure(more=MORE).config_path)) == ()


@pytest.mark.parametrize("case", ["shares", "action", "dates", "overlap", "nothing there"])
def test_a_bad_campaign_file_costs_no_month_and_no_customer_an_arm(after_march, materialize, case):
    text, message = BAD_FILES[case]
    path = after_march.folder / "campaigns.yaml"
    path.unlink() if text is None else path.write_text(text)
    drawn = f"SELECT customer_id, campaign, arm, action_id FROM customer_actions WHERE {MARCH} ORDER BY 1"
    before = query(after_march.published, drawn)
    result = materialize(after_march, "2023-03", selection=AFTER_ASSIGNMENT)
    assert result.success
    found = check(result, "campaigns_are_valid")
    assert not found.passed
    assert found.severity.name == "WARN"
    assert any(message in line for line in found.metadata["observed"].data["problems"])
    assert query(after_march.published, drawn) == before
    assert len(before) > 500


def test_a_mistake_in_one_campaign_leaves_the_others_as_they_are(after_march, materialize):
    faulty = SPRING.replace("campaign: spring", "campaign: faulty").replace("0.3}", "0.2}")
    (after_march.folder / "campaigns.yaml").write_text(faulty + "  actions: [rest]\n" + AGAIN + "  actions: [second]\n")
    result = materialize(after_march, "2023-04", selection=AFTER_ASSIGNMENT)
    found = check(result, "campaigns_are_valid")
    assert not found.passed
    (problem, kept) = found.metadata["observed"].data["problems"]
    assert "[0].shares: found 0.5 + 0.2 + 0.2 = 0.9" in problem
    assert kept == "until then campaign spring goes on as it was when it was last read"
    # spring runs since March and is not in the file any more: who wrote that it ends, and who mistyped?
    campaigns = f"SELECT DISTINCT campaign FROM customer_actions WHERE {APRIL} ORDER BY 1"
    assert query(after_march.published, campaigns) == [("spring",)]
    (after_march.folder / "campaigns.yaml").write_text(AGAIN + "  actions: [second]\n")
    assert check(materialize(after_march, "2023-04", selection=AFTER_ASSIGNMENT), "campaigns_are_valid").passed
    assert query(after_march.published, campaigns) == [("again",), (None,)]


def test_a_new_campaign_is_drawn_beside_one_with_a_mistake(after_march, materialize):
    faulty = SPRING.replace("campaign: spring", "campaign: faulty").replace("0.3}", "0.2}")
    with duckdb.connect(str(after_march.warehouse)) as connection:
        connection.execute("DELETE FROM campaign_plans")  # as if spring had never been
    (after_march.folder / "campaigns.yaml").write_text(faulty + AGAIN + "  actions: [second]\n")
    assert not check(materialize(after_march, "2023-04", selection=AFTER_ASSIGNMENT), "campaigns_are_valid").passed
    sql = f"SELECT DISTINCT campaign, segment_id FROM customer_actions WHERE {APRIL} AND campaign IS NOT NULL"
    assert query(after_march.published, sql) == [("again", 2)]


def test_a_month_first_run_with_a_broken_file_goes_on_with_the_campaign_that_runs(after_march, materialize):
    drawn = f"SELECT customer_id, arm, action_id FROM customer_actions WHERE {APRIL} ORDER BY 1"
    before = query(after_march.published, drawn)
    with duckdb.connect(str(after_march.warehouse)) as connection:
        for table in ("customer_actions", "campaign_plans"):
            connection.execute(f"DELETE FROM {table} WHERE month >= DATE '2023-04-01'")
    (after_march.folder / "campaigns.yaml").write_text("- [")
    assert not check(materialize(after_march, "2023-04", selection=AFTER_ASSIGNMENT), "campaigns_are_valid").passed
    assert query(after_march.published, drawn) == before


def test_shares_changed_after_the_start_move_nobody_and_are_told(after_march, materialize):
    measured = f"SELECT sample_ratio_p, lift FROM campaign_lift WHERE {MAY} ORDER BY ALL"
    drawn = f"SELECT customer_id, arm FROM customer_actions WHERE {APRIL} ORDER BY 1"
    before = query(after_march.published, measured), query(after_march.published, drawn)
    (after_march.folder / "campaigns.yaml").write_text(SPRING.replace("0.5,", "0.6,").replace("0.3}", "0.2}"))
    april = materialize(after_march, "2023-04", selection=AFTER_ASSIGNMENT)
    (problem,) = check(april, "campaigns_are_valid").metadata["observed"].data["problems"]
    assert problem == (
        "shares of campaign spring: found matched 0.6, random 0.2, control 0.2; its arms were drawn with matched 0.5, "
        "random 0.2, control 0.3, and stay as they are"
    )
    assert materialize(after_march, "2023-05", selection=AFTER_ASSIGNMENT).success
    assert (query(after_march.published, measured), query(after_march.published, drawn)) == before
    verdicts = query(after_march.published, f"SELECT DISTINCT verdict FROM campaign_lift WHERE {MAY}")
    assert all("the shares in the campaign file were changed since" in verdict for (verdict,) in verdicts)
    assert not any("withheld" in verdict for (verdict,) in verdicts)


def without_verdict(shop: Shop) -> None:
    """As if May had not been run: what it measured is gone."""
    with duckdb.connect(str(shop.warehouse)) as connection:
        connection.execute(f"DELETE FROM campaign_lift WHERE {MAY}")


VERDICTS = "SELECT month, sample_ratio_p IS NOT NULL, lift FROM campaign_lift WHERE {} ORDER BY ALL"


@pytest.mark.parametrize("broken", ["campaigns", "outcomes"])
def test_a_run_with_a_broken_file_takes_no_verdict_away(after_march, materialize, broken):
    published = query(after_march.published, f"SELECT * FROM campaign_lift WHERE {MAY} ORDER BY ALL")
    if broken == "campaigns":
        (after_march.folder / "campaigns.yaml").write_text("- [")
    else:
        (after_march.folder / "outcomes.parquet").unlink()
    result = materialize(after_march, "2023-05", selection=AFTER_ASSIGNMENT)
    assert result.success
    assert not check(result, f"{broken}_are_valid" if broken == "campaigns" else "outcomes_can_be_used").passed
    assert query(after_march.published, f"SELECT * FROM campaign_lift WHERE {MAY} ORDER BY ALL") == published


@pytest.mark.parametrize("why", ["unreadable", "file broken", "too late"])
def test_what_could_not_be_measured_when_it_ended_is_measured_by_a_later_month(in_june, materialize, why):
    without_verdict(in_june)
    outcomes, campaigns = in_june.folder / "outcomes.parquet", in_june.folder / "campaigns.yaml"
    content = outcomes.read_bytes()
    if why == "unreadable":
        outcomes.unlink()
    elif why == "too late":
        write_parquet({"who": ["c00001"], "moment": [START - timedelta(days=9)], "value": [1.0]}, outcomes)
    else:
        campaigns.write_text("- [")
        with duckdb.connect(str(in_june.warehouse)) as connection:
            connection.execute("DELETE FROM campaign_plans")
    assert materialize(in_june, "2023-05", selection=AFTER_ASSIGNMENT).success
    assert not any(row[1] for row in query(in_june.published, VERDICTS.format(MAY)))
    outcomes.write_bytes(content)
    campaigns.write_text(SPRING)
    assert materialize(in_june, "2023-06", selection=AFTER_ASSIGNMENT).success
    june = "month = DATE '2023-06-01'"
    measured = query(in_june.published, VERDICTS.format(f"{june} AND segment_id IS NULL"))
    assert len(measured) == 4
    assert all(done and lift > 0 for _, done, lift in measured)


def test_a_campaign_that_has_been_measured_is_not_measured_again(in_june, materialize):
    assert materialize(in_june, "2023-06", selection=AFTER_ASSIGNMENT).success
    assert query(in_june.published, "SELECT count(*) FROM campaign_lift WHERE month = DATE '2023-06-01'") == [(0,)]


def test_the_command_line_says_what_the_checks_warn_of(commands, after_march):
    after_march.configure(more=MORE.replace("segment: 2", "pair: [1, 99]") + OUTCOMES)
    (after_march.folder / "campaigns.yaml").write_text(SPRING.replace("0.3}", "0.2}"))
    run = commands.run(after_march, "--force", "--months", "2023-03")
    assert run.code == 0, run
    assert "Warning, 2023-03: every_action_reaches_somebody: actions[1] (second): no segment 99 this month; " in run.err
    assert "Warning, 2023-03: campaigns_are_valid: " in run.err
    assert ": [0].shares: found 0.5 + 0.2 + 0.2 = 0.9; allowed: " in run.err
    assert "before anybody is contacted" in run.err
    (after_march.folder / "campaigns.yaml").write_text(SPRING)
    checked = commands.start("check", "--config", str(after_march.config_path)).wait()
    assert checked.code == 0
    assert "actions[1].pair (second): found segment 99; 2023-05 has 1, 2" in checked.err


def test_a_run_tells_what_came_of_the_campaigns_of_its_months_even_when_they_are_not_the_last(commands, after_march):
    run = commands.run(after_march, "--force", "--months", "2023-03")
    assert run.code == 0, run
    assert "Campaign spring, conversion against control, 2023-03: not measured yet; " in run.out
    run = commands.run(after_march, "--force", "--months", "2023-04..2023-05")
    assert run.code == 0, run
    assert "Campaign spring, conversion against control, 2023-05: higher: " in run.out
    assert "before 2023-04-03" not in run.err + run.out  # outcomes of other times are no fault, and no news
    assert "2023-03" not in "".join(line for line in run.out.splitlines() if line.startswith("Campaign"))


def test_two_campaigns_may_run_at_once_for_different_actions(after_march, materialize):
    files = SPRING + "  actions: [first]\n" + AGAIN + "  actions: [second]\n"
    (after_march.folder / "campaigns.yaml").write_text(files)
    assert check(materialize(after_march, "2023-03", selection=AFTER_ASSIGNMENT), "campaigns_are_valid").passed
    sql = f"SELECT DISTINCT segment_id, campaign FROM customer_actions WHERE {MARCH} AND segment_id <= 3 ORDER BY 1"
    found = dict(query(after_march.published, sql))
    assert (found[1], found[2], found.get(3)) == ("spring", "again", None)


BAD_OUTCOMES = {
    "missing": (
        "path: none.parquet, customer_id: who, occurred_at: moment, value: value",
        "none.parquet does not exist. Deliver the data, or fix outcomes.path (segmentation.yaml:26).",
    ),
    "column": (
        "path: outcomes.parquet, customer_id: whom, occurred_at: moment, value: value",
        "outcomes.customer_id is 'whom'",
    ),
    "type": (
        "path: outcomes.parquet, customer_id: who, occurred_at: value, value: value",
        "outcomes.occurred_at (value): found",
    ),
    "no value": ("path: outcomes.parquet, customer_id: who, occurred_at: moment, value: -value", "outcomes.value: "),
    "no date": (
        "path: outcomes.parquet, customer_id: who, occurred_at: CAST(NULL AS DATE), value: value",
        "outcomes.occurred_at: ",
    ),
    "anonymous": (
        "path: outcomes.parquet, customer_id: \"' '\", occurred_at: moment, value: value",
        "outcomes.customer_id: ",
    ),
    "another time": (
        "path: outcomes.parquet, customer_id: who, occurred_at: moment - INTERVAL 1 YEAR, value: value",
        "campaign spring: no outcome of its customers lies between start and measure_until",
    ),
}


@pytest.mark.parametrize("case", BAD_OUTCOMES)
def test_outcomes_that_cannot_be_used_are_told_by_their_key_and_cost_no_month(after_march, materialize, case):
    outcomes, message = BAD_OUTCOMES[case]
    after_march.configure(more=f"{MORE}outcomes: {{{outcomes}}}\n")
    without_verdict(after_march)
    result = materialize(after_march, "2023-05", selection=["campaign_lift"])
    assert result.success
    found = check(result, "outcomes_can_be_used")
    assert not found.passed
    told = found.metadata["observed"].data["problems"]
    assert any(message in line for line in told), told
    assert query(after_march.warehouse, f"SELECT DISTINCT lift IS NULL FROM campaign_lift WHERE {MAY}") == [(True,)]
