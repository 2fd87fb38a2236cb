"""A report that failed, or was removed, costs no month, and is made later as it would have been."""

import os
import shutil


def test_a_report_that_fails_costs_no_month_and_can_be_made_later(commands, copy):
    made = {path.name: path.read_bytes() for path in (copy.folder / "reports").iterdir()}
    shutil.rmtree(copy.folder / "reports")

    ended = commands.run(copy)  # a report that is missing is no reason to run a month again
    assert ended.code == 0, ended.err
    assert "2023-03..2023-05: published, but without a report, which is written now." in ended.err
    assert "Nothing to do" not in ended.err
    assert {path.name: path.read_bytes() for path in (copy.folder / "reports").iterdir()} == made
    (copy.folder / "reports" / "2023-04.html").unlink()  # killed before it was written
    os.utime(copy.folder / "reports" / "2023-05.html", (0, 0))  # and so, with that of an earlier run
    ended = commands.run(copy)
    assert "2023-04..2023-05: published, but without a report" in ended.err
    assert {path.name: path.read_bytes() for path in (copy.folder / "reports").iterdir()} == made
    assert "Nothing to do" in commands.run(copy).err
    shutil.rmtree(copy.folder / "reports")

    (copy.folder / "reports").write_text("in the way")
    ended = commands.run(copy, "--months", "2023-04..2023-05", "--force")
    assert ended.code == 0, ended.err
    assert "2023-05 published (2 of 2" in ended.err
    assert "2023-04 has no new report. The report" in ended.err
    assert "Traceback" not in ended.err

    (copy.folder / "reports").unlink()
    # a month that is published was made with the window of then
    configured = copy.config_path.read_text()
    assert "window_months: 3" in configured
    copy.config_path.write_text(configured.replace("window_months: 3", "window_months: 6"))
    for month in ("2023-04", "2023-05"):
        ended = commands.start("report", "--config", str(copy.config_path), "--month", month).wait()
        assert ended.code == 0, ended.err
        assert ended.out.startswith(str(copy.folder / "reports" / f"{month}.html"))
        assert (copy.folder / "reports" / f"{month}.html").read_bytes() == made[f"{month}.html"]
