"""One customer's story on the command line says what the published file says, and where there is none, why."""

import os
import re
import subprocess
import sys

import duckdb
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline_tests.shop import query


def told(capsys, shop, *arguments: str) -> tuple[int, str, str]:
    code = main(["explain", *arguments, "--config", str(shop.config_path)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_story_of_a_customer_who_moved_names_all_that_moved_it(three_months, capsys):
    ((customer, name, before, change),) = query(
        three_months.published,
        "SELECT customer_id, segment_name, previous_segment_name, change_of_log_odds FROM customer_months "
        "WHERE month = '2023-05-01' AND movement LIKE 'moved%' ORDER BY change_of_log_odds DESC LIMIT 1",
    )
    code, story, _ = told(capsys, three_months, customer)
    assert code == 0
    assert story.startswith(f"{customer} in 2023-05\n")
    assert f"Segment: {name} (" in story
    assert f"from {before}." in story
    *parts, total = [float(number) for number in re.findall(r"^ +([+-]\d+\.\d\d)  ", story, re.MULTILINE)]
    assert len(parts) == 4
    assert sum(parts) == pytest.approx(total, abs=0.005 * (len(parts) + 1))
    assert total == pytest.approx(change, abs=0.006)
    assert re.search(r"orders: \d+ to \d+", story)


@pytest.mark.process
def test_a_reader_who_has_read_enough_is_no_traceback(three_months):
    ((customer,),) = query(three_months.published, "SELECT min(customer_id) FROM customer_now")
    command = [sys.executable, "-m", "segment_pipeline.cli", "explain", customer, "--config"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*command, str(three_months.config_path)], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_month_is_told_as_it_was_and_the_first_has_no_reasons(three_months, capsys):
    ((customer,),) = query(
        three_months.published, "SELECT min(customer_id) FROM customer_months WHERE month = '2023-03-01'"
    )
    code, story, _ = told(capsys, three_months, customer, "--month", "2023-03")
    assert (code, story.splitlines()[0]) == (0, f"{customer} in 2023-03")
    assert "What moved it: not known" in story


def test_who_is_not_there_is_said_to_be_nobody_or_to_be_there_in_other_months(three_months, capsys):
    code, story, said = told(capsys, three_months, "nobody")
    assert (code, story) == (1, "")
    assert "nobody stands in no published month" in said
    ((gone,),) = query(
        three_months.published,
        "SELECT min(customer_id) FROM transition_deltas WHERE month = '2023-05-01' AND to_state = 'lapsed'",
    )
    code, story, said = told(capsys, three_months, gone, "--month", "2023-05")
    assert (code, story) == (1, "")
    assert f"{gone} has no segment in 2023-05: no order in its window" in said
    code, story, _ = told(capsys, three_months, gone)
    assert (code, story.splitlines()[0]) == (0, f"{gone} in 2023-04")
    assert "Not there any more: in 2023-05 no order in the window, or rejected." in story


def test_who_has_not_moved_is_in_a_segment_since_the_model_that_made_it(copy, capsys):
    stayed = "SELECT customer_id FROM customer_journey WHERE month = '2023-05-01' AND changed_at = '2023-03-01'"
    (customer,) = query(copy.published, f"{stayed} ORDER BY 1 LIMIT 1")[0]
    assert "There since 2023-03, stayed this month." in told(capsys, copy, customer)[1]
    copy.published.chmod(0o644)
    with duckdb.connect(str(copy.published)) as connection:
        connection.execute("UPDATE monthly_assignments SET segment_id = 90 WHERE month < '2023-05-01'")
    since = r"There since 2023-05, when a new model made its segments; it has not moved since 2023-0[34], stayed this"
    assert re.search(since, told(capsys, copy, customer)[1])


def test_what_is_expected_says_until_when(copy, capsys):
    (customer,) = query(copy.published, "SELECT min(customer_id) FROM customer_now")[0]
    copy.published.chmod(0o644)
    with duckdb.connect(str(copy.published)) as connection:
        connection.execute("INSERT INTO churn_risk VALUES ('2023-05-01', ?, 0.25)", [customer])
        connection.execute("UPDATE monthly_assignments SET next_lapse_probability = 0.125")
    said = told(capsys, copy, customer)[1]
    assert (
        "no order left in the window next month with 12.5 %; no order in the 90 days after the month with 25.0 %"
        in said
    )
