"""What a person reads when a run fails: whose error it is decides."""

from collections.abc import Callable

import dagster as dg
import duckdb
import pytest

from segment_pipeline.errors import SourceError
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.checks import result
from segment_pipeline.orchestration.failures import Failure, explain, warning_of


def failure_of(fail: Callable[[], None]) -> Failure:
    """The failure of a real run whose only step calls `fail`."""

    @dg.asset
    def step() -> None:
        fail()

    run = dg.materialize([step], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    return next(found for found in map(explain, run.all_events) if found)


def of_the_users_data() -> None:
    try:
        raise duckdb.BinderException('Referenced column "amount" not found')
    except duckdb.Error as error:
        raise SourceError("orders.csv has no column `amount`.\nMend source.orders.amount.") from error


def of_the_machine() -> None:
    raise duckdb.IOException("IO Error: Could not write file: No space left on device")


def of_the_program() -> None:
    raise KeyError("month")


def by_the_user() -> None:
    raise RuntimeError("Query interrupted")  # DuckDB's word for Ctrl-C


def test_an_error_of_ours_is_told_in_its_own_words():
    assert str(failure_of(of_the_users_data)) == "orders.csv has no column `amount`.\nMend source.orders.amount."


def test_an_error_of_the_machine_says_what_to_see_to():
    said = str(failure_of(of_the_machine))
    assert said.startswith("IOException in step: IO Error: Could not write file: No space left on device.")
    assert "disk space" in said
    assert "defect" not in said


def test_anything_else_is_called_a_defect_and_says_where_its_traceback_is():
    said = str(failure_of(of_the_program))
    assert said.startswith("KeyError in step: 'month'")
    assert "This is a defect of segment_pipeline" in said


@pytest.mark.parametrize(("fail", "stopped"), [(by_the_user, True), (of_the_program, False)])
def test_being_stopped_is_no_error(fail, stopped):
    assert failure_of(fail).interrupted == stopped


def test_a_warning_is_a_check_that_failed_and_did_not_stop_the_month():
    warns = CheckSpec("stable", "It is stable.", blocking=False)

    @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="step") for name in ("stable", "stops")])
    def step():
        stops = CheckSpec("stops", "It stops.", blocking=True)
        yield dg.MaterializeResult(
            check_results=[result(warns, False, {"moved": 3}, {"moved": 2}), result(stops, False, {"moved": 3}, {})]
        )

    run = dg.materialize([step], instance=dg.DagsterInstance.ephemeral())
    found = [said for said in map(warning_of, run.all_events) if said]
    assert found == [("stable", "moved 3; allowed: moved 2.")]
