"""The cookbook's queries are run as they stand: a reader may copy any of them.

`SEGMENT_PIPELINE_COOKBOOK` names a finished demo of all its months (`.ci/run` gives the one that it has just made);
without it they run on the demo's first two months, where what needs a longer history is empty.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "cookbook.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n.*?```sql\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE))
LONG_HISTORY = {title for title in RECIPES if title.startswith(("11. ", "18. "))}
# The demo has none: publishing/test_questions.py has.
CAMPAIGN = {title for title in RECIPES if title.startswith("22. ")}


def rows_of(finished_demo, title):
    with duckdb.connect(str(finished_demo), read_only=True) as connection:
        cursor = connection.execute(RECIPES[title])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_there_are_twenty_three_recipes_each_with_one_query_and_what_to_read_from_it():
    assert len(RECIPES) == TEXT.count("```sql") == TEXT.count("\n## ") == 23
    for part in TEXT.split("\n## ")[1:]:
        assert len(part.rpartition("```")[2].strip()) > 60, part.splitlines()[0]


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_answers_its_question(finished_demo, title):
    rows = rows_of(finished_demo, title)
    if "SEGMENT_PIPELINE_COOKBOOK" not in os.environ:
        assert bool(rows) is (title not in LONG_HISTORY | CAMPAIGN)
        return
    assert bool(rows) is (title not in CAMPAIGN)
    for column in rows[0] if rows else ():
        assert any(row[column] is not None for row in rows), f"{column} is NULL in every row"


SHOWN = """
import json, resource, sys, duckdb

with duckdb.connect(sys.argv[1], read_only=True, config={"memory_limit": "1GB"}) as connection:
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), used + (4 << 30)))
    for query in json.load(sys.stdin):
        assert "│" in str(connection.sql(query.strip().rstrip(";"))), query
"""


@pytest.mark.process
def test_every_recipe_can_be_printed_as_a_person_does_it(finished_demo):
    """Which puts a LIMIT on it, and makes other plans."""
    command = [sys.executable, "-c", SHOWN, str(finished_demo)]
    told = json.dumps(list(RECIPES.values()))
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def recipe(finished_demo, number):
    return rows_of(finished_demo, next(title for title in RECIPES if title.startswith(f"{number}. ")))


def test_the_shares_of_a_month_are_all_of_it(finished_demo):
    months = {}
    for row in recipe(finished_demo, 1):
        months.setdefault(row["month"], []).append(row["percent"])
    assert all(sum(percents) == pytest.approx(100, abs=0.5) for percents in months.values())


def test_where_customers_went_is_all_of_where_they_were(finished_demo):
    states = {}
    for row in recipe(finished_demo, 14):
        states.setdefault(row["from_state"], []).append(row["percent"])
    assert all(sum(percents) == pytest.approx(100, abs=0.5) for percents in states.values())


def test_a_new_customer_is_scored_and_an_impossible_one_refused(finished_demo):
    ann, bob, eve = recipe(finished_demo, 15)
    assert ann["refused"] is None
    assert bob["segment_id"] != ann["segment_id"]
    assert (eve["refused"], eve["segment_id"], eve["probability"]) == ("below_minimum:orders", None, None)
