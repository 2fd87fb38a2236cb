"""What time does to a project: clocks that are wrong, history that changes, feeds that end early, months without an
order. Real processes and real files of a small shop."""

import shutil
import signal
from collections.abc import Callable

import duckdb
import pytest

from segment_pipeline_tests.shop import Shop, order_lines, published_content, query, write_parquet

Lines = dict[str, list[object]]


def kept(lines: Lines, keep: Callable[[str, str], bool]) -> Lines:
    """The lines of which `keep`, given the customer and the time as text, is true."""
    chosen = [
        i for i, (who, at) in enumerate(zip(lines["customer"], lines["ordered_at"], strict=True)) if keep(who, str(at))
    ]
    return {name: [values[i] for i in chosen] for name, values in lines.items()}


# --- a clock that is wrong --------------------------------------------------------------------------------------------


def test_a_month_killed_half_way_is_run_again_however_wrong_the_clock_was(commands, copy, three_months):
    """The run before was made by a clock two days ahead, so that all that the killed one wrote seems to be older."""
    write_parquet(kept(order_lines(), lambda who, _: who >= "c00030"), copy.orders_path)
    assert commands.run(copy, "--quiet", "--force", "--months", "2023-05", days_ahead=2).code == 0
    whole = published_content(copy.published)
    write_parquet(kept(order_lines(), lambda who, _: who >= "c00060"), copy.orders_path)
    killed = commands.run(copy, "--quiet", "--force", "--months", "2023-05", moment="after monthly_assignments")
    assert killed.code == -signal.SIGKILL
    assert commands.run(copy, "--quiet", "--force", "--months", "2023-04").code == 0  # publishes, and not half a month
    may = "SELECT * FROM monthly_assignments WHERE month = '2023-05-01' ORDER BY ALL"
    assert query(copy.published, may) == [row for row in whole["monthly_assignments"] if f"{row[0]:%Y-%m}" == "2023-05"]
    resumed = commands.run(copy)
    assert resumed.code == 0
    assert "2023-05 published" in resumed.err
    assert query(copy.published, may) == query(copy.warehouse, may)
    assert query(copy.published, f"SELECT min(customer_id) >= 'c00060' FROM ({may})") == [(True,)]


def test_a_file_behind_the_warehouse_is_published_again_however_wrong_the_clock_was(commands, copy):
    """Published in the past, by the clock: the latest time of a publication stays what it was."""
    write_parquet(kept(order_lines(), lambda who, _: who >= "c00030"), copy.orders_path)
    killed = commands.run(copy, "--quiet", "--force", "--months", "2023-05", moment="draft is on disk", days_ahead=-2)
    assert killed.code == -signal.SIGKILL
    ended = commands.run(copy)
    assert ended.code == 0
    assert "behind the warehouse, of an older version or changed: it is published again" in ended.err
    ours = "SELECT * FROM monthly_assignments ORDER BY ALL"
    assert query(copy.published, ours) == query(copy.warehouse, ours)


def test_a_project_of_a_version_that_went_by_the_clock_goes_on(commands, copy, three_months):
    """Its run log has no sequence, nor has its published file, and the clock was put back between two months."""
    copy.published.chmod(0o644)
    for path in (copy.warehouse, copy.published):
        with duckdb.connect(str(path)) as connection:
            connection.execute("ALTER TABLE pipeline_runs DROP COLUMN sequence")
            connection.execute(
                "UPDATE pipeline_runs SET finished_at = finished_at - INTERVAL 2 DAY WHERE month = '2023-05-01'"
            )
    ended = commands.run(copy)
    assert ended.code == 0
    assert "of an older version or changed: it is published again" in ended.err
    assert published_content(copy.published) == published_content(three_months.published)
    assert query(copy.published, "SELECT count(*) = max(sequence) FROM pipeline_runs") == [(True,)]
    assert "Nothing to do" in commands.run(copy).err


# --- history that changes ---------------------------------------------------------------------------------------------


def with_source_key(shop: Shop, line: str) -> Shop:
    """The shop, with one more key under `source`."""
    text = shop.config_path.read_text()
    shop.config_path.write_text(text.replace("  window_months: 3\n", f"  window_months: 3\n  {line}\n"))
    return shop


def with_late_lines(lines: Lines, month: str) -> tuple[Lines, int]:
    """The lines, and every fourth of a month again as another order; how many these are."""
    late = [i for i, at in enumerate(lines["ordered_at"]) if str(at).startswith(month) and i % 4 == 0]
    more = {name: [*values, *(values[i] for i in late)] for name, values in lines.items()}
    more["order_id"][-len(late) :] = [f"late-{i}" for i in late]
    return more, len(late)


def test_lines_that_come_late_are_told_until_what_stands_on_them_is_renewed(commands, copy):
    lines, late = with_late_lines(order_lines(), "2023-04")
    write_parquet(lines, copy.orders_path)
    noticed = commands.run(copy, "--quiet")
    assert noticed.code == 0
    assert f"changed since 2023-04..2023-05 ran: order lines of 2023-04: +{late:,} (+0 cust" in noticed.err
    command = f"segment-pipeline run --config {copy.config_path} --months 2023-04..2023-05 --force"
    assert command in noticed.err
    assert "Nothing to do" in commands.run(copy).err

    copy.configure(last_month="2023-06")  # a month that takes the late lines in does not make it good
    followed = commands.run(copy)
    assert followed.code == 0
    assert command in followed.err
    assert "Warning, 2023-06: earlier_months_are_as_they_were: order lines of 2023-04: +" in followed.err
    alert = "SELECT value, fired, status FROM drift_alerts WHERE metric = 'changed_months'"
    assert query(copy.published, alert) == [(1.0, True, "new")]
    assert "Alert (new): changed_months is 1, limit 0." in followed.out

    renewed = commands.run(copy, "--force", "--months", "2023-04..2023-06")
    assert renewed.code == 0
    assert "has changed" not in renewed.err
    assert query(copy.published, alert) == []
    assert commands.run(copy, "--quiet").err == ""


def test_with_late_data_renew_a_changed_month_and_all_later_ones_run_again(commands, copy, shop_orders):
    with_source_key(copy, "late_data: renew")
    assert "Nothing to do" in commands.run(copy).err  # the key alone changes no result
    lines, _ = with_late_lines(order_lines(), "2023-04")
    write_parquet(lines, copy.orders_path)
    renewed = commands.run(copy)
    assert renewed.code == 0
    assert "2023-04..2023-05 are run again (source.late_data: renew)" in renewed.err
    published = [line for line in renewed.err.splitlines() if " published (" in line]
    assert [line[:7] for line in published] == ["2023-04", "2023-05"]
    assert commands.run(copy, "--quiet").err == ""
    shutil.copyfile(shop_orders, copy.orders_path)  # and the lines go again
    assert "order lines of 2023-04: -" in commands.run(copy).err


def test_with_late_data_stop_nothing_is_written_until_somebody_decides(commands, copy, three_months):
    with_source_key(copy.configure(last_month="2023-06"), "late_data: stop")
    lines = order_lines()
    first = next(i for i, at in enumerate(lines["ordered_at"]) if str(at).startswith("2023-01"))
    lines["amount"][first] += 1.0  # one amount of one line, before the first month
    write_parquet(lines, copy.orders_path)
    stopped = commands.run(copy)
    assert stopped.code == 1
    assert "order lines of 2023-01: +0 (+0 customers, +1.00 in money)" in stopped.err
    assert "Nothing was run (source.late_data: stop)" in stopped.err
    assert published_content(copy.published) == published_content(three_months.published)
    assert published_content(copy.warehouse) == published_content(three_months.warehouse)


def test_a_source_that_cannot_be_read_is_told_where_there_is_nothing_to_do(commands, copy):
    copy.orders_path.unlink()
    ended = commands.run(copy)
    assert ended.code == 0
    assert "The source was not compared with what it was" in ended.err
    assert "orders.parquet does not exist" in ended.err


# --- feeds that end early ---------------------------------------------------------------------------------------------


def test_a_month_whose_feed_ends_early_waits_and_later_ones_too_and_runs_once_the_rest_is_there(
    commands, copy, shop_orders
):
    write_parquet(kept(order_lines(), lambda _, at: at < "2023-05-27"), copy.orders_path)
    copy.configure(first_month="2023-04", last_month="2023-06")
    for path in (copy.warehouse, copy.published):
        path.unlink()
    waiting = commands.run(copy)
    assert waiting.code == 0
    assert "2023-04 published (1 of 1" in waiting.err
    said = "2023-05 waits for its data: order lines: none after 2023-05-26, 5 days before the month ends"
    assert said in waiting.err
    assert "source.feed_ends_early: warn" in waiting.err
    again = commands.run(copy)
    assert (again.code, said in again.err) == (0, True)
    assert "Nothing to do: 2023-04 stands" in again.err

    shutil.copyfile(shop_orders, copy.orders_path)
    rest = commands.run(copy)
    assert rest.code == 0
    assert "2023-06 published (2 of 2" in rest.err
    assert "waits" not in rest.err


def test_a_month_whose_feed_ends_early_runs_with_a_warning_where_that_is_wanted(commands, copy, materialize):
    write_parquet(kept(order_lines(), lambda _, at: at < "2023-06-14"), copy.orders_path)
    copy.configure(last_month="2023-06")
    by_hand = materialize(copy, "2023-06", raise_on_error=False)  # as the UI and the schedule do
    assert not by_hand.success
    assert "none after 2023-06-13, 17 days before the month ends" in str(by_hand.all_events)
    with_source_key(copy, "feed_ends_early: warn")
    ended = commands.run(copy)
    assert ended.code == 0
    assert "2023-06 published" in ended.err
    assert "Warning, 2023-06: feeds_reach_the_end_of_the_month: order lines: none after 2023-06-13" in ended.err


# --- a month without an order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [False, True])
def test_a_month_in_which_the_shop_was_closed_is_passed_over_where_that_is_wanted(commands, shop, memory):
    write_parquet(kept(order_lines(), lambda _, at: not at.startswith("2023-05")), shop.orders_path)
    warnings = "warnings: {horizon_days: 30}"
    shop.configure(memory=memory, more=warnings)
    stopped = commands.run(shop)
    assert stopped.code == 1
    assert "has no order line in 2023-05" in stopped.err
    assert "quality.empty_month: skip" in stopped.err
    shop.configure(memory=memory, more=f"{warnings}\nquality: {{empty_month: skip}}")
    ended = commands.run(shop)
    assert ended.code == 0, ended
    assert "2023-05 passed over, as it has no order line (1 of 2" in ended.err
    assert "2023-06 published (2 of 2" in ended.err
    months = "SELECT DISTINCT strftime(month, '%Y-%m') FROM {} ORDER BY 1"
    there = [("2023-03",), ("2023-04",), ("2023-06",)]
    assert query(shop.published, months.format("monthly_assignments")) == there
    # nothing is known of movement from one side of the gap to the other
    assert query(shop.published, months.format("transition_deltas")) == [("2023-04",)]
    assert query(shop.published, months.format("journey_paths")) == [("2023-04",)]
    # of April it would say that everybody fell silent
    assert query(shop.published, months.format("observed_silence")) == [("2023-03",)]
    assert "Nothing to do" in commands.run(shop).err
    before = published_content(shop.published)
    assert commands.run(shop, "--force", "--quiet").code == 0
    assert published_content(shop.published) == before


def test_the_first_month_cannot_be_passed_over_and_nothing_runs_after_it(commands, shop):
    write_parquet(kept(order_lines(), lambda _, at: not at.startswith("2023-03")), shop.orders_path)
    shop.configure(more="quality: {empty_month: skip}")
    stopped = commands.run(shop)
    assert stopped.code == 1
    assert "2023-03 has no order line, and it is the first month" in stopped.err
    assert "2023-04..2023-06 stand on it and were not tried" in stopped.err
    assert not shop.published.exists()
