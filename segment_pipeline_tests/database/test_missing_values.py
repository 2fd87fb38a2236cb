"""A value that is missing is never taken for one that is there: DuckDB's least and greatest pass over NULL."""

import math
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.database.quoting import clamped, number
from segment_pipeline.database.store import in_memory

PACKAGE = Path(__file__).parents[2] / "segment_pipeline"

DECIDED = {
    "early_warnings/churn_store.py": "who was not there the month before was not engaged then",
    "early_warnings/histories_store.py": "spreads and spend of days that have an order, and so a value",
    "segments/charts_store.py": "measures of an assignment are never missing",
    "segments/soft_moves.py": "under a condition that all three lists are there",
    "models/scoring.py": "posteriors of rows whose features are all there; a prior that is not is the smallest",
    "audit/audit_store.py": "sums over customers, none of them missing",
    "audit/outliers_store.py": "accepted customers have every feature of the model",
    "customers/charts_store.py": "finite values only",
    "sources/folding.py": "coalesced; and of the first order and event the one that there is",
    "segments/changes_store.py": "contributions are all there, or none where a rule decides; no prior is the least",
    "value/buyers_store.py": "spend of days that have a line, and so a value; the silence of somebody who has bought",
    "value/value_store.py": "a sum that is 0 where nothing was spent; bounds are missing where the value itself is",
    "campaigns/actions_store.py": "a hybrid has a second segment",
    "quickstart/lines/documents.py": "counts of lines, of a value and of another that are both there",
}
"""Where least or greatest stands in SQL -> why nothing missing can count as something there."""

numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(numbers, st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_what_is_drawn_in_to_limits_stays_missing_where_it_is(value: float | None, low: float, width: float) -> None:
    with in_memory() as connection:
        connection.execute("CREATE TABLE given AS SELECT CAST(? AS DOUBLE) AS x", [value])
        found = connection.execute(f"SELECT {clamped('x', number(low), number(low + width))} FROM given").fetchall()
    assert found[0][0] == (None if value is None else min(low + width, max(low, value)))


def test_no_number_is_beyond_the_upper_limit_as_duckdb_orders_it() -> None:
    with in_memory() as connection:
        found = connection.execute(f"SELECT {clamped('x', '0E0', '1E0')} FROM (SELECT CAST('nan' AS DOUBLE) AS x)")
        assert not math.isnan(found.fetchall()[0][0])


def test_every_least_and_greatest_is_decided_on() -> None:
    found = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r"\b(least|greatest)\(", line) and "`" not in line and "def " not in line
    }
    assert found - {"database/quoting.py", "config/warning_rules.py"} == set(DECIDED)
