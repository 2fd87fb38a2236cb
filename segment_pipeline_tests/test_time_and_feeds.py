"""What time does to a project: clocks that are wrong, history that changes, feeds that end early, months without an
order. Real processes and real files of a small shop."""

import signal
from collections.abc import Callable

import duckdb

from segment_pipeline_tests.shop import order_lines, published_content, query, write_parquet

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
    assert "behind the warehouse or of an older version: it is published again" in ended.err
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
    assert "of an older version: it is published again" in ended.err
    assert published_content(copy.published) == published_content(three_months.published)
    assert query(copy.published, "SELECT count(*) = max(sequence) FROM pipeline_runs") == [(True,)]
    assert "Nothing to do" in commands.run(copy).err
