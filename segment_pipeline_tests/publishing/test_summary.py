"""What the command line says after a run: of the month that was run, beside all that are published."""

import io
from dataclasses import replace
from datetime import date

import duckdb
import pytest
from rich.console import Console

from segment_pipeline.publishing.summary import Summary, print_summary, summarise
from segment_pipeline_tests.shop import Shop, query

MARCH, APRIL, MAY = (date(2023, month, 1) for month in (3, 4, 5))


def said(summary: Summary) -> str:
    terminal = io.StringIO()
    print_summary(summary, Console(file=terminal, width=200))
    return terminal.getvalue()


@pytest.mark.parametrize(
    ("ran", "told"),
    [
        ((), MAY),  # nothing to do
        ((MARCH, APRIL), APRIL),  # earlier months, again
        ((APRIL, date(2023, 6, 1)), APRIL),  # one that was passed over has nothing to tell
    ],
)
def test_it_is_of_the_last_month_that_was_run(three_months: Shop, ran: tuple[date, ...], told: date) -> None:
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        text = said(summarise("shop", three_months.published, connection, ran))
    ((customers, segments),) = query(
        three_months.published,
        f"SELECT sum(customers), count(*) FROM segment_profiles WHERE month = DATE '{told}'",
    )
    assert "shop: 3 months published, 2023-03 to 2023-05.\n" in text
    assert f"In {told:%Y-%m}: {customers:,} customers in {segments} segments.\n" in text
    assert f"Alerts in {told:%Y-%m}: none." in text or "Alert (" in text


def test_one_of_anything_is_not_told_as_several(three_months: Shop) -> None:
    with duckdb.connect(str(three_months.published), read_only=True) as connection:
        summary = summarise("shop", three_months.published, connection)
    text = said(replace(summary, months=[MARCH], month=MARCH, customers=1, segments=summary.segments[:1]))
    assert "shop: 1 month published, 2023-03.\n" in text
    assert "In 2023-03: 1 customer in 1 segment.\n" in text
