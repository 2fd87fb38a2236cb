"""A month without an order line that is passed over: whole, empty, and what the next one goes on from."""

from datetime import date

import pytest

from segment_pipeline.config.config import load_config
from segment_pipeline.database.quoting import identifier
from segment_pipeline.errors import SourceError
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.publishing.passing_over import PASSED_OVER, pass_over
from segment_pipeline.publishing.publish import known_months
from segment_pipeline_tests.publishing.test_publish import APRIL, MARCH, MAY, warehouse_of

JUNE = date(2023, 6, 1)
RUNS = "SELECT * FROM pipeline_runs WHERE asset <> 'passed_over' ORDER BY ALL"


def rows_of(connection, month: date) -> dict[str, int]:
    """Table -> rows of the month, of those that have any."""
    found = {}
    for table in TABLES:
        if table.month_column == "month" and "month" in table.column_names:
            sql = f"SELECT count(*) FROM {identifier(table.name)} WHERE month = ?"
            found[table.name] = connection.execute(sql, [month]).fetchone()[0]
    return {table: rows for table, rows in found.items() if rows}


def test_a_month_that_is_passed_over_has_its_champion_and_nobody(copy):
    config = load_config(copy.config_path)
    with warehouse_of(copy) as connection:
        before, april = connection.execute(RUNS).fetchall(), rows_of(connection, APRIL)
        (last,) = connection.execute("SELECT max(sequence) FROM pipeline_runs").fetchone()
        (serving,) = connection.execute("SELECT model_version FROM champions WHERE month = ?", [APRIL]).fetchone()
        pass_over(connection, config, MAY)  # which has been run, with customers
        assert known_months(connection) == {MARCH: True, APRIL: True, MAY: True}
        assert set(rows_of(connection, MAY)) == {"champions", "pipeline_runs", "source_months"}
        assert connection.execute("SELECT model_version FROM champions WHERE month = ?", [MAY]).fetchall() == [
            (serving,)
        ]
        assert rows_of(connection, APRIL) == april
        assert connection.execute(RUNS).fetchall() == before
        written = connection.execute(
            "SELECT month, rows, seconds, sequence, run_id, config_hash FROM pipeline_runs WHERE asset = ?",
            [PASSED_OVER],
        )
        assert written.fetchall() == [(MAY, 0, 0.0, last + 1, None, config.config_hash)]


def test_the_month_after_the_last_one_can_be_passed_over_and_the_next_goes_on_from_it(copy):
    config = load_config(copy.config_path)
    with warehouse_of(copy) as connection:
        for month in (JUNE, date(2023, 7, 1)):
            pass_over(connection, config, month)
        assert known_months(connection)[date(2023, 7, 1)]


def test_the_first_month_cannot_be_passed_over(copy):
    with warehouse_of(copy) as connection, pytest.raises(SourceError, match="2023-03 has no order line, and it is the"):
        pass_over(connection, load_config(copy.config_path), MARCH)
