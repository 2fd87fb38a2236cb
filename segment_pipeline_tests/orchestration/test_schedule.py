"""The schedule, ticked as the daemon does it."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from segment_pipeline import schedule
from segment_pipeline.config.config import load_config
from segment_pipeline_tests.shop import order_lines, write_parquet


def tick(at: datetime) -> Any:
    from segment_pipeline.definitions import defs

    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    return defs.resolve_schedule_def("monthly_schedule").evaluate_tick(context)


@pytest.mark.parametrize(
    ("at", "month"),
    [
        (datetime(2023, 4, 2, 6, tzinfo=UTC), "2023-03"),
        (datetime(2023, 5, 2, 6, tzinfo=UTC), "2023-04"),
        (datetime(2024, 1, 2, 6, tzinfo=UTC), "2023-12"),
    ],
)
def test_a_tick_asks_for_the_month_just_closed(at, month):
    (request,) = tick(at).run_requests
    assert request.partition_key == month
    assert request.run_key == month  # a second tick for the same month starts nothing
    assert request.job_name in {None, "monthly_segmentation"}


@pytest.mark.parametrize("at", [datetime(2023, 3, 2, 6, tzinfo=UTC), datetime(2024, 2, 2, 6, tzinfo=UTC)])
def test_a_tick_outside_the_users_months_is_skipped(at):
    found = tick(at)
    assert not found.run_requests
    assert "outside first_month..last_month" in found.skip_message


def test_it_ticks_from_the_second_of_the_month_on_at_six_utc_once_it_is_switched_on():
    from segment_pipeline.definitions import defs

    its = defs.resolve_schedule_def("monthly_schedule")
    assert (its.cron_schedule, its.execution_timezone) == ("0 6 2-31 * *", "UTC")
    assert its.default_status == dg.DefaultScheduleStatus.STOPPED
    assert its.job_name == "monthly_segmentation"


def test_a_month_is_asked_for_once_its_data_are_there(shop, monkeypatch):
    monkeypatch.setattr(schedule, "location_config", lambda: load_config(shop.config_path))
    lines = order_lines()
    early = [i for i, at in enumerate(lines["ordered_at"]) if f"{at:%Y-%m-%d}" < "2023-06-20"]
    write_parquet({name: [values[i] for i in early] for name, values in lines.items()}, shop.orders_path)
    waiting = tick(datetime(2023, 7, 2, 6, tzinfo=UTC))
    assert not waiting.run_requests
    assert "2023-06 waits for its data: order lines: none after 2023-06-19, 11 days before" in waiting.skip_message
    write_parquet(lines, shop.orders_path)
    (request,) = tick(datetime(2023, 7, 3, 6, tzinfo=UTC)).run_requests
    assert request.run_key == "2023-06"


def test_a_month_that_is_published_is_not_asked_for(three_months, monkeypatch):
    monkeypatch.setattr(schedule, "location_config", lambda: load_config(three_months.config_path))
    assert "2023-05 is published" in tick(datetime(2023, 6, 15, 6, tzinfo=UTC)).skip_message


def test_months_that_nobody_asked_for_since_the_last_published_one_come_first(three_months, monkeypatch):
    config = load_config(three_months.config_path)
    monkeypatch.setattr(schedule, "location_config", lambda: config)
    monkeypatch.setattr(schedule, "_with_their_data", lambda due: (due, None))  # its source ends in June
    found = tick(datetime(2023, 9, 20, 6, tzinfo=UTC)).run_requests
    assert [one.partition_key for one in found] == ["2023-06", "2023-07", "2023-08"]


def test_months_before_one_that_waits_are_asked_for(copy, monkeypatch):
    monkeypatch.setattr(schedule, "location_config", lambda: load_config(copy.config_path))
    (request,) = tick(datetime(2023, 8, 2, 6, tzinfo=UTC)).run_requests  # of July there is no line yet
    assert request.run_key == "2023-06"
