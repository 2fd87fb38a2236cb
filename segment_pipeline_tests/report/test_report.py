"""The report of a month, made from a published file of a real run: whole, offline, the same again, and never fooled."""

import io
import os
import re
import shutil
import subprocess
from datetime import date
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from segment_pipeline.publishing.summary import print_summary, summarise
from segment_pipeline.report.cards import Card, cards, placed_features
from segment_pipeline.report.queries import ReportError, read_story
from segment_pipeline.report.report import render, write_report
from segment_pipeline.words import percent
from segment_pipeline_tests.report.pages import Page, parse
from segment_pipeline_tests.shop import Shop

MARCH, APRIL, MAY = date(2023, 3, 1), date(2023, 4, 1), date(2023, 5, 1)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}"
QUESTIONS = [
    "How is the base doing?",
    "What really changed?",
    "Who needs us now?",
    "What to do?",
    "Can I believe it?",
]
# as the tables of validation are published, with a figure each
TRUST = """
CREATE OR REPLACE TABLE suitability AS SELECT DATE '2023-05-01' AS month, 1 AS model_version, 'mixture' AS verdict,
    'segments overlap and the probabilities predict silence' AS reason;
CREATE OR REPLACE TABLE suitability_findings AS SELECT DATE '2023-05-01' AS month, 'overlap' AS finding,
    0.31E0 AS value, 0.05E0 AS threshold, true AS holds,
    'A third of the customers lean to a second segment.' AS sentence;
CREATE OR REPLACE TABLE model_validation AS SELECT DATE '2023-05-01' AS month, 1 AS model_version,
    'heldout_gap' AS metric, NULL::VARCHAR AS subject, 0.02E0 AS value, 0.01E0 AS low, 0.03E0 AS high,
    0.1E0 AS threshold, true AS passed, 'It fits customers that it has not seen.' AS sentence;
CREATE OR REPLACE TABLE alternative_segmentations AS SELECT DATE '2023-03-01' AS month, 'kmeans' AS method,
    3 AS segments, 700 AS customers, NULL::DOUBLE AS noise_share, 0.61E0 AS agreement, 0.3E0 AS silhouette,
    0.7E0 AS churn_auc, 0.9E0 AS stability, 'no better' AS verdict;
CREATE OR REPLACE TABLE outlier_groups AS SELECT DATE '2023-05-01' AS month, 1 AS group_id, 'rare' AS kind,
    12 AS customers, 0.017E0 AS share, 0.8E0 AS cohesion, 'keep' AS recommendation, 'They spend most.' AS sentence;
CREATE OR REPLACE TABLE segment_audit_summary AS SELECT DATE '2023-05-01' AS month, 'agreement' AS figure,
    0.42E0 AS value;
"""


@pytest.fixture
def published(three_months: Shop, tmp_path: Path) -> Path:
    """The published file of three months, to write in."""
    path = tmp_path / "segments.duckdb"
    shutil.copyfile(three_months.published, path)
    return path


def page_of(path: Path, month: date, name: str = "shop") -> Page:
    with duckdb.connect(str(path), read_only=True) as connection:
        return parse(render(connection, name, month)[0])


def change(path: Path, sql: str, *parameters: object) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql, list(parameters))


def in_order(page: Page) -> bool:
    """Whether the five questions come first, then what they rest on, the appendix last."""
    titles = [text for level, text in page.headings if level == 2]
    return titles[:5] == QUESTIONS and titles[-1] == "Figures and method"


def test_every_run_leaves_a_report_of_its_month_beside_the_published_file(three_months):
    assert sorted(path.name for path in (three_months.folder / "reports").iterdir()) == [
        "2023-03.html",
        "2023-04.html",
        "2023-05.html",
    ]


def test_the_page_has_every_section_a_card_for_each_segment_and_the_months_figures(published):
    # three months tell no churn risk, and so nobody to contact
    change(
        published,
        "UPDATE early_warnings SET priority = 1, within_budget = true WHERE status <> 'resolved' AND customer_id = "
        "(SELECT min(customer_id) FROM early_warnings WHERE month = ? AND status <> 'resolved')",
        MAY,
    )
    page = page_of(published, MAY)
    assert in_order(page)
    assert "Journeys" in page.text
    with duckdb.connect(str(published), read_only=True) as connection:
        segments = connection.execute("SELECT name, customers FROM current_profiles").fetchall()
        queue = connection.execute(
            "SELECT customer_id FROM early_warnings WHERE month = ? AND priority <= 5 AND status <> 'resolved'", [MAY]
        ).fetchall()
    assert len(page.of_class("card")) == len(segments)
    for name, customers in segments:
        assert name in page.text
        assert f"{customers:,} customers" in page.text
    assert queue
    assert all(customer in page.text for (customer,) in queue)
    assert len(page.of_class("marks")) >= 5
    assert not re.search(r"\b(None|nan|Undefined|inf)\b", page.text)


def test_the_page_is_in_order_for_readers_aloud_and_keyboards(three_months):
    page = page_of(three_months.published, MAY)
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {"header", "nav", "main", "footer"} <= set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    for scroll in page.of_class("scroll"):
        assert scroll["tabindex"] == "0"
        assert scroll["aria-label"]
    assert page.attributes("html")[0]["lang"] == "en"


def test_the_page_asks_for_nothing_and_is_small(three_months):
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        text, _ = render(connection, "shop", MAY)
    page = parse(text)
    assert len(text.encode()) < 500_000
    assert page.tags.count("script") == 1
    assert not page.of_tag_with("script", "src")
    assert all(link.startswith(("#", "data:")) for link in page.links)
    outside = set(re.findall(r"(?:https?:)?//[\w.]+", text))
    assert outside <= {"http://www.w3.org", "//www.w3.org"}  # names of XML's namespaces, which nobody fetches


def test_the_same_file_gives_the_same_bytes_and_later_months_change_nothing(published):
    with duckdb.connect(str(published)) as connection:
        april, _ = render(connection, "shop", APRIL)
        assert render(connection, "shop", APRIL)[0] == april
        for table, column in (
            ("segment_profiles", "month"),
            ("monthly_assignments", "month"),
            ("candidate_models", "month"),
            ("drift_alerts", "month"),
            ("model_versions", "trained_month"),
            ("churn_risk_quality", "observed_in"),
            ("warning_backtest_history", "evaluated_month"),
        ):
            connection.execute(f"DELETE FROM {table} WHERE {column} > ?", [APRIL])
        assert render(connection, "shop", APRIL)[0] == april


def test_the_first_month_says_what_cannot_be_known_yet(three_months):
    page = page_of(three_months.published, MARCH)
    assert "This is the first month" in page.text
    assert in_order(page)
    assert not {"journeys", "movement", "results"} & set(page.ids)


def test_names_are_only_names_whatever_they_contain(published):
    change(published, "UPDATE segment_profiles SET name = ? || segment_id, narrative = ?", HOSTILE, HOSTILE)
    change(
        published, "UPDATE monthly_assignments SET segment_name = ?, customer_id = ? || customer_id", HOSTILE, HOSTILE
    )
    change(published, "UPDATE early_warnings SET customer_id = ? || customer_id, evidence = ?", HOSTILE, HOSTILE)
    change(published, "UPDATE segment_feature_profiles SET feature = ? || feature, unit = ?", HOSTILE, HOSTILE)
    change(published, "UPDATE customer_actions SET action_id = ?, what = ?, owner = ?", HOSTILE, HOSTILE, HOSTILE)
    change(published, "UPDATE model_versions SET reason = ?, rationale = ?", HOSTILE, HOSTILE)
    plain = page_of(published, MARCH)
    page = page_of(published, MAY, name=HOSTILE)
    assert page.tags.count("script") == plain.tags.count("script") == 1
    assert "img" not in page.tags
    assert not page.event_handlers
    assert HOSTILE in page.text
    assert "49" not in re.findall(r"&(\d+)", page.text)
    with duckdb.connect(str(published), read_only=True) as connection:
        text, _ = render(connection, HOSTILE, MAY)
    assert "<script>alert" not in text
    assert "<img" not in text


def test_only_the_pages_own_script_may_run(three_months):
    page = page_of(three_months.published, MAY)
    policy = next(meta for meta in page.attributes("meta") if meta.get("http-equiv"))["content"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_what_was_not_computed_is_not_shown_and_what_was_has_its_figures(published):
    for table in re.findall(r"TABLE (\w+)", TRUST):
        change(published, f"DELETE FROM {table}")
    without = page_of(published, MAY)
    assert not {"validation", "results"} & set(without.ids)
    assert "nobody has judged yet whether such segments suit these customers" in without.text
    change(published, TRUST)
    page = page_of(published, MAY)
    for said in (
        "segments overlap and the probabilities predict silence",
        "A third of the customers lean to a second segment.",
        "It fits customers that it has not seen.",
        "They spend most.",
        "kmeans",
        "0.42",
    ):
        assert said in page.text


def test_a_file_in_which_little_was_computed_still_makes_a_page(published):
    for table in (
        "transition_matrix",
        "early_warnings",
        "customer_actions",
        "drift_alerts",
        "candidate_models",
        "segment_feature_profiles",
        "feature_diagnostics",
        "journey_conversion",
        "journey_paths",
        "churn_risk_models",
        "warning_backtest_history",
        "segment_lineage",
    ):
        change(published, f"DELETE FROM {table}")
    page = page_of(published, MAY)
    assert in_order(page)
    assert "Not known yet: " in page.text
    assert "No action is configured" in page.text
    assert not {"journeys", "warnings", "drift"} & set(page.ids)


def test_a_card_shows_what_its_segment_spends_its_money_on_beside_all_customers(published):
    assert "by category" not in page_of(published, MAY).text, "the source has no categories"
    change(
        published,
        "INSERT INTO segment_categories SELECT month, segment_id, unnest(['(other)', '<b>organic</b>']), "
        "unnest([0.25, 0.75]), unnest([0.5, 0.5]), unnest([50.0, 150.0]), 0.9, 0.6 FROM segment_profiles",
    )
    page = page_of(published, MAY)
    assert "<b>organic</b> 75.0 % 50.0 % 150 90 % 60 % (other) 25.0 % 50.0 % 50 90 % 60 %" in spoken_of(page)
    change(published, "DROP TABLE segment_categories")  # a file from before there was such a table
    assert "by category" not in page_of(published, MAY).text


def test_a_feature_of_a_category_is_shown_as_the_share_of_the_spend_on_it(published):
    """On the card, in the heat map and in its tips: of a log-ratio nobody knows what 0.5 is."""
    change(published, "UPDATE feature_limits SET category = 'organic' WHERE feature = 'products_per_order'")
    change(
        published,
        "INSERT INTO segment_categories SELECT month, segment_id, 'organic', 0.75, 0.25, 300.0, 0.9, 0.6 "
        "FROM segment_profiles",
    )
    with duckdb.connect(str(published), read_only=True) as connection:
        text, _ = render(connection, "shop", MAY)
    page = parse(text)
    assert page.text.count("Together spent 75 % on organic 200 % more than all") == len(page.of_class("card"))
    assert "Together spent 75 % on organic; all customers: 25 %" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert '<th scope="col">spend on organic</th>' in text
    change(published, "UPDATE segment_categories SET share = NULL, index = NULL")  # nobody in it has spent anything
    assert "on organic 200" not in page_of(published, MAY).text
    change(published, "ALTER TABLE feature_limits DROP COLUMN category")  # a file from before it was written down
    assert "spend on organic" not in page_of(published, MAY).text


def test_a_card_says_of_what_months_its_spend_is_even_where_the_file_does_not_tell_how_many(published):
    assert "each in 3 months" in page_of(published, MAY).text
    change(published, "ALTER TABLE feature_limits DROP COLUMN window_months")
    assert "each in the months looked at" in page_of(published, MAY).text


def test_all_who_are_between_two_segments_are_not_called_most_of_them():
    def of_first(*customers: int) -> str:
        return Card({}, None, "", [], [], [{"customers": number} for number in customers], 0, None).of_first_pair

    assert of_first(243) == "all of them"
    assert of_first(41, 20) == "most of them"
    assert of_first(20, 19, 2) == "the largest group"


def test_hybrid_is_the_tier_on_the_card_in_the_table_and_in_the_appendix_and_between_is_another_word(published):
    change(published, "UPDATE monthly_assignments SET is_between = false")
    with duckdb.connect(str(published), read_only=True) as connection:
        hybrids = dict(
            connection.execute(
                "SELECT segment_id, count(*) FROM monthly_assignments WHERE month = ? AND tier = 'hybrid' GROUP BY ALL",
                [MAY],
            ).fetchall()
        )
        flags, shares = connection.execute(
            "SELECT count(*) FILTER (is_hybrid), (SELECT sum(hybrid_share * customers) FROM segment_profiles WHERE "
            "month = $1) FROM monthly_assignments WHERE month = $1",
            [MAY],
        ).fetchone()
        text, _ = render(connection, "shop", MAY)
    assert hybrids
    assert flags == round(shares) == sum(hybrids.values())
    shown = parse(text).text
    assert f"{sum(hybrids.values()):,} hybrid, of two at once" in shown
    assert shown.count("are hybrid, likely of two segments at once: ") == len(hybrids)
    assert "between two segments in" not in shown
    assert "between this segment and another" not in shown
    change(published, "UPDATE monthly_assignments SET is_between = true WHERE tier = 'dominant'")
    assert "lie between this segment and another in what they do." in page_of(published, MAY).text
    assert page_of(published, MAY).text.count("are hybrid, likely") == len(hybrids)


def test_each_customer_on_the_contact_list_has_the_number_of_its_action(published):
    change(published, "DELETE FROM customer_actions")
    change(
        published,
        "INSERT INTO customer_actions BY NAME SELECT month, customer_id, segment_id, 'call' AS action_id, 'Call.' AS "
        "what, 'CRM' AS owner, 'phone' AS channel, 'orders' AS kpi FROM monthly_assignments",
    )
    change(published, "UPDATE early_warnings SET priority = 1, within_budget = true WHERE status <> 'resolved'")
    first = "(SELECT min(customer_id) FROM early_warnings WHERE month = DATE '2023-05-01' AND within_budget)"
    change(published, f"UPDATE customer_actions SET action_id = 'rare', what = 'Visit.' WHERE customer_id = {first}")
    assert numbered(published)[0] == ["Call.", "Visit."]
    told, *others = numbered(published)[1]
    assert told == "2"
    assert set(others) == {"1"}
    change(published, f"UPDATE customer_actions SET action_id = NULL, what = NULL WHERE customer_id = {first}")
    assert numbered(published)[1] == ["none", *others]


def numbered(published: Path) -> tuple[list[str], list[str]]:
    """The actions of the month, and what stands for them beside each of those on the contact list."""
    with duckdb.connect(str(published), read_only=True) as connection:
        text, _ = render(connection, "shop", MAY)
    listed = re.search(r"<ol>(.*?)</ol>", text, re.DOTALL)[1]
    return re.findall(r"<strong>(.*?)</strong>", listed), re.findall(r'<td class="n do">(.*?)</td>', text)


def test_the_contact_list_has_an_action_of_its_own_before_those_of_segments(published):
    change(published, "UPDATE early_warnings SET priority = 1, within_budget = true WHERE status <> 'resolved'")
    assert "on the contact list." not in page_of(published, MAY).text.partition("What to do?")[2]
    change(
        published,
        "UPDATE contact_list_rules SET what = 'Write to them.', owner = 'CRM', channel = 'post', "
        "due = DATE '2023-06-14' WHERE warning = 'any'",
    )
    said = page_of(published, MAY).text.partition("What to do?")[2]
    assert re.match(r" Write to them\. CRM, by post, by 14 June 2023, for the [0-9]+ on the contact list\.", said)


def test_an_action_is_said_to_be_judged_only_where_it_has_a_control_group(published):
    action = "UPDATE customer_actions SET action_id = 'call', owner = 'CRM', channel = 'phone', kpi = 'orders', "
    change(published, f"{action} measure_until = DATE '2023-07-01', arm = NULL")
    assert "; to watch until 1 July 2023: orders." in page_of(published, MAY).text
    change(published, "UPDATE customer_actions SET arm = 'matched'")
    assert "; judged on 1 July 2023 by orders." in page_of(published, MAY).text


def test_whoever_reads_the_first_of_the_list_is_told_where_the_others_are(published):
    change(published, "UPDATE early_warnings SET priority = 1, within_budget = true, status = 'new'")
    page = page_of(published, MAY)
    assert re.search(r"The first 10 of [0-9]+; all: table early_warnings, within_budget\.", page.text)
    assert "is expected to spend in a year" in page.text or "times what" not in page.text


def test_captions_say_no_more_than_is_so_and_name_headings_that_are_there(published):
    change(published, TRUST)
    change(published, "UPDATE candidate_models SET selected = true")
    page = page_of(published, MAY)
    assert "grey: not examined, as the choice was made before it was their turn." in page.text
    assert "red: an alert fired; beyond the limit in blue: none did" in page.text
    assert "those with a figure far beyond what is usual, whom it may know well" in page.text
    named = re.findall("see “([^”]+)”", page.text)
    assert named
    assert set(named) <= {text for _, text in page.headings}


def test_a_card_tells_what_one_of_its_hybrids_buys(published):
    told = "It spends"
    assert told not in page_of(published, MAY).text, "the source has no categories"
    change(
        published,
        "INSERT INTO segment_examples SELECT DISTINCT ON (segment_id) month, segment_id, customer_id, max_probability, "
        "second_segment_id, second_probability, false, 0.31, 'baby & child', 0.72, 0.13, 0.14 "
        "FROM monthly_assignments WHERE month = DATE '2023-05-01' AND tier = 'hybrid' ORDER BY segment_id, customer_id",
    )
    page = page_of(published, MAY)
    assert f"{told} 72 % on baby & child, its segment 13 %, the other 14 %." in page.text
    change(published, "UPDATE segment_examples SET is_between = true")
    assert ": 31 % of the way from what is usual here to what is usual of " in page_of(published, MAY).text
    change(published, "UPDATE segment_examples SET second_segment_share = NULL")  # where nobody is in that segment
    assert f"{told} 72 % on baby & child, its segment 13 %." in page_of(published, MAY).text
    change(published, "DROP TABLE segment_examples")  # a file from before there was such a table
    assert told not in page_of(published, MAY).text


def test_the_example_of_a_segments_hybrids_is_of_the_pair_that_most_of_them_are(published):
    """Two are of the first segment and another, and one, the most divided of all, of that and a third."""
    change(published, "UPDATE monthly_assignments SET tier = 'leaning' WHERE month = DATE '2023-05-01'")
    for place, second in ((1, 3), (2, 2), (3, 2)):
        who = "(SELECT min(customer_id) FROM monthly_assignments WHERE month = DATE '2023-05-01' AND tier = 'leaning')"
        change(
            published,
            f"UPDATE monthly_assignments SET tier = 'hybrid', segment_id = 1, second_segment_id = {second}, "
            f"second_probability = 0.50 - 0.01 * {place} WHERE month = DATE '2023-05-01' AND customer_id = {who}",
        )
    with duckdb.connect(str(published), read_only=True) as connection:
        story = read_story(connection, MAY)
    (card,) = (card for card in cards(story, placed_features(story)) if card.segment["segment_id"] == 1)
    assert [(pair["second_segment_id"], pair["customers"]) for pair in card.pairs] == [(2, 2), (3, 1)]
    assert card.example is not None
    assert (card.example["second_segment_id"], card.example["second_probability"]) == (2, pytest.approx(0.48))


def spoken_of(page: Page) -> str:
    """Its text, a blank between any two cells."""
    return " ".join(" ".join(page.texts).split())


def test_a_file_from_before_movement_had_a_reference_still_makes_a_page(published):
    for table in ("movement_reference", "segment_forecast", "contact_list_rules"):
        change(published, f"DROP TABLE {table}")
    page = page_of(published, MAY)
    assert "changed segment, where what chance alone moves is not known." in page.text
    assert "What is expected next" not in page.text


def test_a_portrait_that_nobody_in_a_segment_has_leaves_the_heat_map_in_order(published):
    of_one = "WHERE feature = 'total_spend' AND segment_id = (SELECT min(segment_id) FROM current_profiles)"
    change(published, f"DELETE FROM segment_feature_profiles {of_one}")
    change(published, "UPDATE segment_feature_profiles SET known_share = 0.83 WHERE feature = 'total_spend'")
    with duckdb.connect(str(published), read_only=True) as connection:
        text, _ = render(connection, "shop", MAY)
    heat = re.search(r"What sets them apart.*?</table>", text, re.DOTALL)[0]
    headings = heat.count('scope="col"')
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', heat, re.DOTALL)
    assert rows
    assert all(row.count("<td") == headings for row in rows)
    assert "known of 83" in parse(text).text


def test_a_file_from_before_shares_of_the_month_before_and_money_tells_what_it_has(published):
    shown = page_of(published, MAY).text
    of_table = {
        "segment_profiles": ("share_before", "total_spend", "revenue_share"),
        "segment_feature_profiles": ("known_share",),
        "monthly_assignments": ("previous_segment_id", "is_between", "position_to_second"),
        "feature_limits": ("use",),
    }
    for table, columns in of_table.items():
        for column in columns:
            change(published, f"ALTER TABLE {table} DROP COLUMN {column}")
    told = page_of(published, MAY).text
    assert "of revenue" in shown
    assert "of revenue" not in told
    # one champion served all months, so the shares of April are what it says of April
    changes = re.findall(r"\S+ points in a month", shown)
    assert changes
    assert re.findall(r"\S+ points in a month", told) == changes


def test_a_file_from_before_segments_had_several_components_tells_as_many_segments(published):
    for table in ("model_versions", "candidate_models"):
        change(published, f"ALTER TABLE {table} DROP COLUMN n_segments")
    with duckdb.connect(str(published), read_only=True) as connection:
        (segments,) = connection.execute("SELECT n_components FROM model_versions WHERE model_version = 1").fetchone()
    assert f"Model 1 has {segments} segments and was fitted" in page_of(published, MAY).text


def test_a_month_is_told_with_the_window_that_it_was_made_with(published):
    """Whatever the configuration says by now: an older month may have been made with another window."""
    assert "customers of the last 3 months" in page_of(published, MAY).text
    change(published, "UPDATE feature_limits SET window_months = 6 WHERE month = ?", APRIL)
    assert "spent in the 6 months to April 2023" in page_of(published, APRIL).text
    assert "spent in the 6 months" not in page_of(published, MAY).text
    change(published, "ALTER TABLE feature_limits DROP COLUMN window_months")  # a file from before it was written down
    page = page_of(published, MAY)
    assert "of the last" not in page.text.partition("What to do?")[0]
    assert in_order(page)


def test_movement_stands_beside_chance_in_the_sentence_the_table_and_the_matrix(three_months):
    page = page_of(three_months.published, MAY)
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        moved, customers, low, high = connection.execute(
            "SELECT observed_customers, customers, round(chance_low * customers), round(chance_high * customers) "
            "FROM movement_reference WHERE month = ? AND measure = 'moved'",
            [MAY],
        ).fetchone()
    assert f"{moved:,} of {customers:,} customers" in page.text
    assert f"chance alone moves {low:,.0f} to {high:,.0f}" in page.text
    assert f"{moved:,} of {customers:,}; by chance alone {low:,.0f} to {high:,.0f}" in page.text


def test_a_month_that_is_not_published_is_named_with_those_that_are(three_months):
    with (
        duckdb.connect(str(three_months.published), read_only=True) as connection,
        pytest.raises(ReportError, match=r"2024-01: it is not in the published file \(2023-03 to 2023-05\)"),
    ):
        render(connection, "shop", date(2024, 1, 1))


def test_a_report_that_cannot_be_written_leaves_nothing_behind(three_months, tmp_path):
    (tmp_path / "reports").write_text("a file where the folder should be")
    with (
        duckdb.connect(str(three_months.published), read_only=True) as connection,
        pytest.raises(ReportError, match="segment-pipeline report --month 2023-05"),
    ):
        write_report(connection, "shop", MAY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


def test_a_report_before_the_first_run_says_what_to_run(commands, shop):
    ended = commands.start("report", "--config", str(shop.config_path)).wait()
    assert ended.code == 1
    assert "segment-pipeline run" in ended.err
    assert "Traceback" not in ended.err


VALUE = """
DROP TABLE IF EXISTS customer_value;
CREATE TABLE customer_value AS SELECT month, customer_id, 12.5E0 AS revenue_at_risk FROM monthly_assignments
"""


def test_revenue_at_risk_stands_beside_who_needs_us_where_the_file_has_it(published):
    urgent = (
        "UPDATE early_warnings SET priority = 1, within_budget = true WHERE status <> 'resolved' AND customer_id = "
        "(SELECT min(customer_id) FROM early_warnings WHERE month = ? AND status <> 'resolved')"
    )
    change(published, urgent, MAY)
    assert "at risk" not in page_of(published, MAY).text.partition("What to do?")[0]
    change(published, VALUE)
    shown = page_of(published, MAY).text.partition("What to do?")[0]
    assert re.search(r"1 customer on this month's contact list, with 12 \w* ?of next year's revenue at risk", shown)


def test_a_feature_that_the_user_calls_bad_when_high_is_bad_news_on_the_card(published):
    change(published, "UPDATE feature_limits SET better = 'lower' WHERE feature = 'orders'")
    with duckdb.connect(str(published), read_only=True) as connection:
        text, _ = render(connection, "shop", MAY)
        index = dict(
            connection.execute(
                "SELECT segment_id, index FROM segment_feature_profiles WHERE month = ? AND feature = 'orders'", [MAY]
            ).fetchall()
        )
    news = {
        int(card): found[1]
        for card, body in re.findall(r'id="segment-(\d+)">(.*?)</article>', text, re.DOTALL)
        if (found := re.search(r'Placed [^<]*</span> <span class="news (\w*)"', body))
    }
    assert news
    assert news == {card: "bad" if index[card] > 100 else "good" for card in news}
    change(published, "ALTER TABLE feature_limits DROP COLUMN better")  # a file from before there was one
    assert in_order(page_of(published, MAY))


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("NOT TESTED: there is no Chromium here, so nobody has opened the report in a browser")
    return found


@pytest.mark.process
def test_it_opens_in_a_browser_without_a_network_a_request_or_an_error(three_months, chromium, tmp_path):
    report = three_months.folder / "reports" / "2023-05.html"
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'browser'}"),
        *(f"--log-net-log={tmp_path / 'net.json'}", "--dump-dom", f"{report.as_uri()}#glossary"),
    ]
    environment = os.environ | {"HOME": str(tmp_path)}
    opened = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert "CONSOLE" not in opened.stderr
    page = parse(opened.stdout)
    assert in_order(page)
    (button,) = (button for button in page.attributes("button") if button.get("id") == "theme")
    assert "hidden" not in button  # the script ran, under the page's own policy
    assert [fold["id"] for fold in page.attributes("details") if "open" in fold] == ["glossary"]
    asked = set(re.findall(r'"url":"https?://([^"/]+)', (tmp_path / "net.json").read_text()))
    # the browser's own calls home, which go nowhere
    assert not {host for host in asked if not host.endswith((".google.com", ".googleapis.com", ".gvt1.com"))}


FRAME = """<iframe id="f" src="{report}" style="width:{width}px;height:844px;border:0"
onload="var d = f.contentDocument;
document.title = [d.documentElement.scrollWidth - d.documentElement.clientWidth,
d.getElementById('appendix').getBoundingClientRect().top / 844,
Math.max(...[...d.querySelectorAll('.short')].map(e => e.getBoundingClientRect().bottom))].join(' ')"></iframe>"""


@pytest.mark.process
def test_it_is_a_few_screens_of_a_phone_or_pages_and_nothing_is_cut_off_sideways(three_months, chromium, tmp_path):
    """Without the appendix, which is folded: at most eight."""
    report = three_months.folder / "reports" / "2023-05.html"
    browser = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"),
        *("--allow-file-access-from-files", "--virtual-time-budget=3000", "--no-pdf-header-footer"),
    ]
    environment = os.environ | {"HOME": str(tmp_path)}

    def opened(*options: str) -> str:
        command = [*browser, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment).stdout

    for width in (320, 390, 1440):
        frame = tmp_path / f"{width}.html"
        frame.write_text(FRAME.format(report=report.as_uri(), width=width))
        sideways, screens, answered = map(
            float, re.search(r"<title>(.*)</title>", opened("--dump-dom", frame.as_uri()))[1].split()
        )
        assert sideways == 0, width
        assert 1 < screens <= (8 if width == 390 else 10), width
        # all five questions have an answer before anybody scrolls
        assert 0 < answered <= 844 or width == 320
    pages = []
    for part in ("", "#print-appendix"):  # which is a file of its own, whole
        opened(f"--print-to-pdf={tmp_path / 'report.pdf'}", f"{report.as_uri()}{part}")
        pages.append(len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes())))
    assert 1 <= pages[0] <= 8
    assert pages[1] > pages[0]  # all of it is unfolded


def test_the_months_whose_churn_risk_is_judged_are_told_whole_and_stay_together_in_print(published):
    """A table is broken between months only, and the oldest month is not cut off."""
    with duckdb.connect(str(published)) as connection:
        connection.execute("DELETE FROM churn_risk_quality")
        connection.execute("""
            INSERT INTO churn_risk_quality BY NAME SELECT CAST(DATE '2022-04-01' + to_months(m.range::INTEGER) AS DATE)
                AS month, i.inputs, DATE '2023-04-01' AS observed_in, 0.8 AS auc, 0.1 AS base_rate
            FROM range(7) AS m, (VALUES ('all'), ('features'), ('history'), ('memberships'), ('x')) AS i (inputs)
        """)
        text, _ = render(connection, "shop", MAY)
    (table,) = re.findall(r'aria-label="Quality of the churn risk">.*?</table>', text, re.DOTALL)
    bodies = [re.findall(r'class="k">([\d-]+)<', body) for body in table.split("<tbody>")[1:]]
    assert bodies == [[f"2022-{number:02}"] * 5 for number in (10, 9, 8, 7, 6)]
    assert re.search(r"@media print.*\btbody\b[^{]*{ break-inside: avoid; }", text, re.DOTALL)


GUESTS = """
INSERT INTO source_reconciliation BY NAME SELECT DATE '2023-05-01' AS month, 7 AS place, 'no customer' AS reason,
    false AS is_used, 1000 AS lines, 400 AS orders, 0 AS customers, 12345.67 AS money, 0 AS without_amount,
    0 AS below_zero;
INSERT INTO rejected_customers VALUES (DATE '2023-05-01', NULL, ['missing_customer_id'], '{}');
"""


def test_what_became_of_the_source_is_a_table_and_a_sentence_of_what_is_left_out(published):
    assert "of the order lines" not in page_of(published, MAY).text
    change(published, GUESTS)
    with duckdb.connect(str(published), read_only=True) as connection:
        lines, money = connection.execute(
            "SELECT lines, money FROM source_reconciliation WHERE month = ? AND is_used", [MAY]
        ).fetchall()[0]
    text = page_of(published, MAY).text
    shares = percent(1000 / (lines + 1000)), percent(12345.67 / (float(money) + 12345.67))
    assert f"{shares[0]} of the order lines and {shares[1]} of the money (12,346) have no customer." in text
    assert "no customer1,000400012,345.67" in text  # the cells of a row
    assert f"used{lines:,}" in text
    change(published, "DROP TABLE source_reconciliation")  # a file from before there was one
    assert "What became of the source" not in page_of(published, MAY).text


def test_orders_of_nobody_are_told_after_a_run_as_lines_and_money_and_are_no_rejected_row(published):
    change(published, GUESTS)
    with duckdb.connect(str(published), read_only=True) as connection:
        summary = summarise("shop", published, connection)
    console = Console(record=True, width=200, file=io.StringIO())
    print_summary(summary, console)
    said = console.export_text()
    told = r"^In 2023-05 1,000 of [\d,]+ order lines \(400 orders, 12,345\.67\) have no customer: they are left out\.$"
    assert re.search(told, said, re.MULTILINE)
    assert "missing_customer_id" not in said
