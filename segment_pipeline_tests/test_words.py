"""That figures and per cents are told one way: by the words, in what is published, in the report, on the terminal."""

import ast
import io
import re
from datetime import date
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

import segment_pipeline
from segment_pipeline import words
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.publishing.summary import print_summary, summarise
from segment_pipeline.report import shown
from segment_pipeline.report.report import render
from segment_pipeline.words import agreeing, counted, figure, percent, points
from segment_pipeline_tests.report.pages import parse

CROWDED = re.compile(r"\d%")
"""A figure and its per cent sign without the space between."""

EXPONENT = re.compile(r"\d[eE][-+]\d")


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (0, 2, "0"),
        (1240.4, 2, "1,240"),
        (84.0, 2, "84"),
        (12.54, 2, "12.5"),
        (99.97, 2, "100"),
        (0.0312, 2, "0.031"),
        (0.5, 2, "0.5"),
        (-0.0312, 2, "-0.031"),
        (8.27e-07, 2, "under 0.0001"),
        (-8.27e-07, 3, "over -0.0001"),
        (0.12345, 3, "0.123"),
        (1.2345, 3, "1.23"),
        (999.96, 3, "1,000"),
        (1234567.0, 6, "1,234,567"),
        (123.456, 6, "123.456"),
        (0.00031, 1, "0.0003"),
        (float("nan"), 2, "unknown"),
        (float("inf"), 2, "unknown"),
    ],
)
def test_a_figure_has_the_digits_that_a_reader_needs(value, digits, said):
    assert figure(value, digits) == said


@pytest.mark.parametrize(
    ("share", "decimals", "said"),
    [
        (0.215, 1, "21.5 %"),
        (0.0, 0, "0 %"),
        (1.0, 0, "100 %"),
        (0.01, 0, "1 %"),
        (0.99, 0, "99 %"),
        (0.0004, 1, "under 0.1 %"),
        (0.9996, 1, "over 99.9 %"),
        (0.011, 2, "1.10 %"),
        (1.5, 0, "150 %"),
    ],
)
def test_a_share_is_told_in_per_cent_and_as_all_or_nothing_only_where_it_is(share, decimals, said):
    assert percent(share, decimals) == said


def test_nothing_has_no_sign_wherever_it_is_rounded_to():
    assert words.points(-0.0001) == "+0.0"
    assert (shown.fixed(-0.001), shown.fixed(-0.01)) == ("0.00", "−0.01")
    assert shown.change(99_999, 100_000) == "+0.0 %"


def test_a_difference_of_likelihood_is_better_or_worse_and_has_no_sign():
    assert (words.better(0.146, 2), words.better(-0.17, 2)) == ("0.15 nats better", "0.17 nats worse")


def test_what_a_customer_did_is_all_in_the_past_tense():
    deeds = {word for one in ORDER_FEATURES.values() for word in (one.words.deed, one.words.deed_of_one)}
    assert {deed.split()[0] for deed in deeds} == {"last", "first", "placed", "spent", "bought", "ordered", "has"}
    assert words.deed("organic_share", 0.5, "", "organic") == "together spent 50 % on organic"


def test_points_have_a_sign_and_one_thing_is_one():
    assert (points(0.05), points(-0.0264)) == ("+5.0", "-2.6")
    assert (counted(1), counted(1234), counted(1, "segment")) == ("1 customer", "1,234 customers", "1 segment")


def test_no_module_but_words_formats_shares_or_significant_digits():
    package = Path(segment_pipeline.__file__).parent
    own = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FormattedValue)
        and node.format_spec is not None
        and re.search(r"\.\d[eg]$|\.\d%$", ast.unparse(node.format_spec).strip("f'\""))
    ]
    assert own == []


def test_all_text_that_is_published_says_per_cent_one_way(three_months):
    read = 0
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        for relation, column in connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND data_type = 'VARCHAR'"
        ).fetchall():
            for (text,) in connection.execute(f'SELECT DISTINCT "{column}" FROM "{relation}"').fetchall():
                assert not CROWDED.search(text or ""), f"{relation}.{column}: {text}"
                read += " %" in (text or "")
    assert read > 5


@pytest.mark.parametrize(("number", "said"), [(0, "stand"), (1, "stands"), (2, "stand")])
def test_a_verb_agrees_with_how_many_there_are(number, said):
    assert agreeing(number, "stands", "stand") == said


def test_the_report_and_the_summary_say_per_cent_one_way_and_no_figure_with_an_exponent(three_months):
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        html, _ = render(connection, "shop", date(2023, 5, 1))
        terminal = io.StringIO()
        print_summary(summarise("shop", three_months.published, connection), Console(file=terminal, width=200))
    page = parse(html)
    spoken = [
        attributes.get(name) or ""
        for tag in page.tags
        for attributes in page.attributes(tag)
        for name in ("aria-label", "data-tip", "alt", "title")
    ]
    for text in (page.text, *spoken, terminal.getvalue()):
        assert not CROWDED.search(text), text
        assert not EXPONENT.search(text), text
    assert re.search(r"\d\N{NO-BREAK SPACE}%", html)
    assert " %" in terminal.getvalue()
