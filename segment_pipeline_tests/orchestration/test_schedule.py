"""The schedule, ticked as the daemon does it."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest


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


def test_it_ticks_on_the_second_of_the_month_at_six_utc_once_it_is_switched_on():
    from segment_pipeline.definitions import defs

    schedule = defs.resolve_schedule_def("monthly_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 2 * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.job_name == "monthly_segmentation"
