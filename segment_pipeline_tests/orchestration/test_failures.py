"""What a person reads when a run fails: whose error it is decides."""

from collections.abc import Callable

import dagster as dg
import duckdb
import pytest

from segment_pipeline.errors import SourceError
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


def test_a_warning_rounds_its_figures_and_ends_as_a_sentence_does():
    def warned(observed: dict[str, object], limit: dict[str, object]) -> str | None:
        @dg.asset(check_specs=[dg.AssetCheckSpec("stable", asset="step")])
        def step():
            yield dg.MaterializeResult(
                check_results=[
                    dg.AssetCheckResult(
                        check_name="stable",
                        passed=False,
                        severity=dg.AssetCheckSeverity.WARN,
                        metadata={"observed": observed, "limit": limit},
                    )
                ]
            )

        run = dg.materialize([step], instance=dg.DagsterInstance.ephemeral())
        return next(found for found in map(warning_of, run.all_events) if found)

    assert warned(
        {"stability over time": 0.39522218915712715, "spend": 20188.25, "customers": 12345, "failed": ["It moved."]},
        {"stability over time": 0.5},
    ) == (
        "stable: stability over time 0.395; spend 20,188; customers 12345; It moved; allowed: stability over time 0.5."
    )
    assert warned({"problems": ["One.", "Is the column free text?"]}, {"problems": []}) == (
        "stable: One; Is the column free text?"
    )
