"""What all assets share: one declaration, one gate, one way to show rows; and that each reads as a story."""

import ast
import json
import logging
import os
import time
from collections import Counter
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pytest

import segment_pipeline
from segment_pipeline import __version__
from segment_pipeline.database.engines.spark import RefusedError, SilentError
from segment_pipeline.database.tables import MONTH, Column, Table
from segment_pipeline.errors import PipelineError
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration import monthly_asset as monthly_asset_module
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.failures import tell_once
from segment_pipeline.orchestration.metadata import as_list, as_table
from segment_pipeline.orchestration.monthly_asset import Ahead, monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.orchestration.settings import location_config
from segment_pipeline.orchestration.tables import TABLES as RUN_TABLES
from segment_pipeline_tests.shop import Shop

LONGEST = 25

FIRST, SECOND, THIRD = (Table(name, f"A {name}.", (MONTH,), ("month",)) for name in ("first", "second", "third"))
STOPS = CheckSpec("stops", "It stops the month.", blocking=True)
WARNS = CheckSpec("warns", "It warns.", blocking=False)


def stories() -> dict[str, int]:
    """The lines of each function in the stages' assets.py, its decorator aside; an asset's under its bare name."""
    found = {}
    for path in sorted(Path(segment_pipeline.__file__).parent.glob("*/assets.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                place = node.name if node.decorator_list else f"{path.parent.name}.{node.name}:{node.lineno}"
                found[place] = node.end_lineno - node.lineno + 1
    return found


def test_an_asset_reads_as_a_story():
    """Nor does a function beside one grow instead."""
    from segment_pipeline.definitions import defs

    lines = stories()
    made = {spec.key.to_user_string() for asset in defs.assets or [] if asset.is_executable for spec in asset.specs}
    assert made <= set(lines)
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_every_table_is_filled_by_one_asset_that_says_so():
    from segment_pipeline.definitions import defs
    from segment_pipeline.publishing.catalogue import TABLES
    from segment_pipeline.publishing.tables import TABLES as OF_THE_FILE
    from segment_pipeline.sources.people import tables as people

    filled: Counter[str] = Counter()
    for spec in (spec for asset in defs.assets or [] for spec in asset.specs):
        if "dagster/table_name" in spec.metadata:
            _, _, beside = (spec.description or "").rpartition(" With ")
            words = beside.rstrip(".").replace(" and ", ", ").split(", ")
            filled.update({spec.metadata["dagster/table_name"].removeprefix("warehouse.main."), *words})
    # what a command writes, or every step
    of_no_asset = {table.name for table in (*RUN_TABLES, *OF_THE_FILE, *people.TABLES)}
    assert {table.name: filled[table.name] for table in TABLES if table.name not in of_no_asset} == {
        table.name: 1 for table in TABLES if table.name not in of_no_asset
    }


@pytest.mark.parametrize(
    ("beside", "described"),
    [
        ([], "A first."),
        ([SECOND], "A first. With second."),
        ([SECOND, THIRD], "A first. With second and third."),
        ([SECOND, THIRD, FIRST], "A first. With second, third and first."),
    ],
)
def test_a_description_names_the_tables_beside(beside, described):
    @monthly_asset(FIRST, beside=beside)
    def first() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    assert next(iter(first.specs)).description == described


def test_an_asset_without_a_table_says_what_it_is():
    @monthly_asset("A page.", kinds={"html"}, metadata={"dagster/uri": "file:///page"})
    def page() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    (spec,) = page.specs
    assert (spec.description, spec.metadata["dagster/uri"], spec.kinds) == ("A page.", "file:///page", {"html"})
    assert "dagster/table_name" not in spec.metadata


@pytest.mark.parametrize(
    ("error", "silent", "tries", "passes"),
    [(SilentError, 2, 3, True), (SilentError, 3, 3, False), (RefusedError, 1, 1, False), (PipelineError, 1, 1, False)],
)
def test_a_step_whose_engine_has_gone_is_begun_again_and_no_other(monkeypatch, error, silent, tries, passes):
    monkeypatch.setattr(monthly_asset_module, "PAUSE", 0.0)
    seen = []

    @monthly_asset(FIRST)
    def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        seen.append(context.retry_number)
        if len(seen) <= silent:
            raise error("Spark does not answer at sc://cluster:443.")
        return dg.MaterializeResult(metadata={"rows": 3})

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([first], partition_key="2023-03", instance=instance, raise_on_error=False)
    assert (done.success, len(seen)) == (passes, tries)
    if not passes:
        (failed,) = (event for event in done.all_events if event.is_step_failure)
        assert "does not answer" in failed.step_failure_data.error.cause.message


def judged(stops: bool, *, blocks: bool = True) -> tuple[dg.ExecuteInProcessResult, str | None]:
    """One month of an asset with two checks, of which `warns` fails and `stops` passes as told; and what it died of."""

    @monthly_asset(FIRST, checks=[STOPS, WARNS])
    def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        verdicts = [
            checks.result(STOPS, stops, {"rows": 3}, {"rows": 2}, blocks=blocks),
            checks.result(WARNS, False, {"rows": 3}, {}),
        ]
        checks.gate(date(2023, 3, 1), verdicts, "Do this.")
        return dg.MaterializeResult(check_results=verdicts)

    run = dg.materialize(
        [first], partition_key="2023-03", raise_on_error=False, instance=dg.DagsterInstance.ephemeral()
    )
    errors = [event.step_failure_data.error for event in run.all_events if event.is_step_failure]
    return run, errors[0].cause.message.strip() if errors else None


def test_a_failed_check_says_what_it_found_and_what_to_do_and_gives_its_numbers():
    run, _ = judged(stops=False)
    stops, warns = run.get_asset_check_evaluations()
    assert stops.description == "rows 3; allowed: rows 2. Do this."
    assert warns.description == "rows 3."
    assert (stops.metadata["observed/rows"].value, stops.metadata["limit/rows"].value) == (3, 2)
    assert "observed" not in stops.metadata, "behind a click are only lists"


def test_a_check_counts_its_lists_and_rounds_its_fractions():
    found = checks.result(
        WARNS,
        False,
        {"stability over time": 0.39522218915712715, "spend": 20188.25, "problems": [], "found": "words", "no": None},
        {"stability over time": 0.5, "problems": [], "advice": "see to it"},
    )
    numbers = {name: value.value for name, value in found.metadata.items() if "/" in name}
    assert numbers == {
        "observed/stability_over_time": 0.3952,
        "observed/spend": 20188.0,
        "observed/problems": 0,
        "observed/found": "words",
        "limit/stability_over_time": 0.5,
        "limit/problems": 0,
        "limit/advice": "see to it",
    }
    assert found.description == (
        "stability over time 0.395; spend 20,188; found words; no unknown; allowed: stability over time 0.5; see to it."
    )
    # figures that are within their limits, and those limits, would hide the one that is not
    told = checks.result(
        WARNS, False, {"problems": ["One.", "Is the column free text?"], "rows": 3}, {"problems": [], "rows": 4}
    )
    assert told.description == "One; Is the column free text?"
    assert checks.result(WARNS, True, {"rows": 3}, {}).description == "It warns."


def test_after_a_failed_step_the_log_has_no_red_line_for_each_that_stands_on_it():
    """What a run logs as errors: the failure of the step, and of the run."""

    class Listening(Pipeline):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            tell_once(context.log)

        def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
            pass

    @monthly_asset(FIRST)
    def first(pipeline: Listening) -> dg.MaterializeResult:
        raise ValueError("no")

    @monthly_asset(SECOND, deps=[first])
    def second(pipeline: Listening) -> dg.MaterializeResult:
        return dg.MaterializeResult()

    @monthly_asset(THIRD, deps=[second])
    def third(pipeline: Listening) -> dg.MaterializeResult:
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize(
            [first, second, third],
            partition_key="2023-03",
            raise_on_error=False,
            resources={"pipeline": Listening(config_path="")},
            instance=instance,
        )
        errors = [entry for entry in instance.all_logs(run.run_id) if entry.level >= logging.ERROR]
    assert [entry.dagster_event_type for entry in errors] == [
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.RUN_FAILURE,
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_the_warehouse_stays_open_from_step_to_step_and_not_while_something_is_computed(tmp_path, fails):
    shop = Shop(tmp_path).configure()
    open_after = []

    class Watched(Pipeline):
        tables = RUN_TABLES

    def look() -> None:
        try:  # DuckDB refuses other settings while the file is open in this process
            duckdb.connect(str(shop.warehouse), config={"threads": 7}).close()
            open_after.append(False)
        except duckdb.ConnectionException:
            open_after.append(True)

    @monthly_asset(FIRST)
    def first(context: dg.AssetExecutionContext, pipeline: Watched) -> dg.MaterializeResult:
        look()
        with pipeline.step(context):
            pass
        look()
        return dg.MaterializeResult()

    @monthly_asset(SECOND, deps=[first])
    def second(context: dg.AssetExecutionContext, pipeline: Watched) -> dg.MaterializeResult:
        with pipeline.read(context):
            pass
        look()
        with pipeline.step(context):
            assert not fails
        return dg.MaterializeResult()

    run = dg.materialize(
        [first, second],
        partition_key="2023-03",
        raise_on_error=False,
        resources={"pipeline": Watched(config_path=str(shop.config_path))},
        instance=dg.DagsterInstance.ephemeral(),
    )
    look()
    assert (run.success, open_after) == (not fails, [False, True, False, False])


def test_an_asset_says_by_which_code_and_settings_it_is_made_and_what_can_stop_it():
    @monthly_asset(FIRST, checks=[STOPS])
    def first() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    @monthly_asset(SECOND, checks=[WARNS], follows_itself=True)
    def second() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    (stopped,), (followed,) = first.specs, second.specs
    assert stopped.code_version == followed.code_version == f"{__version__}+{location_config().config_hash}"
    assert "can_stop_the_month" in stopped.tags
    assert "can_stop_the_month" not in followed.tags
    assert ("needs_the_month_before" in stopped.tags, "needs_the_month_before" in followed.tags) == (False, True)
    assert stopped.group_name == "orchestration"  # the folder of this test


def test_figures_are_rounded_and_columns_lead_to_where_they_are_declared_in_the_same_words():
    amount = Column("amount", "DOUBLE", "EUR", "What was paid.")
    paid = Table("paid", "Who paid.", (MONTH, amount, Column("share", "DOUBLE", "", "Of all.")), ("month",))
    spent = Table("spent", "Who spent.", (MONTH, amount, Column("share", "DOUBLE", "", "Of some.")), ("month",))

    @monthly_asset(paid)
    def who_paid() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    @monthly_asset(spent, deps=[who_paid])
    def who_spent() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"share": 0.21498732, "money": 51234.7, "error": 1.23456e-13, "rows": 12})

    run = dg.materialize([who_paid, who_spent], partition_key="2023-03", instance=dg.DagsterInstance.ephemeral())
    (told,) = (made.metadata for made in run.asset_materializations_for_node("who_spent"))
    assert {name: told[name].value for name in ("share", "money", "error", "rows")} == {
        "share": 0.215,
        "money": 51235.0,
        "error": 1.235e-13,
        "rows": 12,
    }
    lineage = told["dagster/column_lineage"].column_lineage.deps_by_column
    assert lineage == {"amount": [dg.TableColumnDep(asset_key=dg.AssetKey("who_paid"), column_name="amount")]}
    (spec,) = who_spent.specs
    assert {one.name: one.tags.get("from") for one in spec.metadata["dagster/column_schema"].columns} == {
        "month": None,
        "amount": "who_paid",
        "share": None,
    }


def verdicts_of(run: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {found.check_name: (found.passed, found.severity.name) for found in run.get_asset_check_evaluations()}


def test_a_closed_gate_shows_every_verdict_and_stops_the_month():
    run, error = judged(stops=False)
    assert verdicts_of(run) == {"stops": (False, "ERROR"), "warns": (False, "WARN")}
    assert error == (
        "segment_pipeline.errors.ContractError: 2023-03 was not written. stops: rows 3; allowed: rows 2. Do this."
    )
    assert not run.asset_materializations_for_node("first")


@pytest.mark.parametrize(("stops", "blocks"), [(True, True), (False, False)])
def test_what_only_warns_lets_the_month_through(stops, blocks):
    run, error = judged(stops=stops, blocks=blocks)
    assert error is None
    assert verdicts_of(run) == {"stops": (stops, "ERROR" if blocks else "WARN"), "warns": (False, "WARN")}
    assert run.asset_materializations_for_node("first")


def test_rows_are_shown_as_a_table_with_its_types():
    shown = as_table(
        [
            {"name": "a", "count": 1, "share": 0.5, "good": True, "more": "is not shown"},
            dict.fromkeys(["name", "count", "share", "good"]),
        ],
        name=str,
        count=int,
        share=float,
        good=bool,
    )
    assert [(column.name, column.type) for column in shown.schema.columns] == [
        ("name", "string"),
        ("count", "int"),
        ("share", "float"),
        ("good", "bool"),
    ]
    assert [dict(record.data) for record in shown.records] == [
        {"name": "a", "count": 1, "share": 0.5, "good": True},
        {"name": "", "count": "", "share": "", "good": ""},
    ]


@pytest.mark.parametrize("unknown", [float("nan"), float("inf"), None])
def test_a_figure_that_is_not_known_leaves_a_table_that_a_browser_can_read(unknown):
    """NaN is no JSON: the UI said "Could not parse record" of every candidate that was not examined."""
    shown = as_table([{"bic": 21170.0, "stability": unknown}], bic=float, stability=float)
    assert json.loads(json.dumps(shown.records[0].data, allow_nan=False)) == {"bic": 21170.0, "stability": ""}
    found = checks.result(WARNS, True, {"gap": unknown, "rows": 3}, {"gap": 0.1})
    assert {name for name in found.metadata if name.startswith("observed/")} == {"observed/rows"}


def test_a_table_may_be_empty_and_may_lack_no_column():
    assert as_table([], name=str).records == []
    with pytest.raises(KeyError, match="share"):
        as_table([{"name": "a"}], name=str, share=float)


def test_sentences_are_shown_as_a_list():
    assert as_list(["One.", "Two."]).value == "- One.\n- Two."
    assert as_list([], otherwise="None.").value == "None."


def test_a_run_says_once_which_of_its_assets_needed_more_memory_than_there_is(tmp_path, capsys):
    path = tmp_path / "segmentation.yaml"
    path.write_text(
        "name: shop\nfirst_month: 2023-03\nsource: {snapshots: {path: x.csv, customer_id: id}}\n"
        "features: [{name: orders}]\noperation: {memory_limit: 60MB, threads: 1}\n"
    )

    @monthly_asset("It sorts more than it can hold, twice.")
    def large(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
        for opened in (pipeline.read, pipeline.aside):
            with opened(context) as connection:
                connection.execute(
                    "CREATE TEMP TABLE t AS SELECT md5(CAST(range AS VARCHAR)) AS x FROM range(2_000_000) ORDER BY x"
                )
        return dg.MaterializeResult()

    @monthly_asset("It needs next to nothing.")
    def small(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
        with pipeline.step(context) as step:
            return step.result({})

    from segment_pipeline.definitions import SegmentPipeline

    given = {"pipeline": SegmentPipeline(config_path=str(path))}
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([large, small], partition_key="2023-03", resources=given, instance=instance).success
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "memory_limit" in line]
    assert "- large: more than operation.memory_limit (60MB) holds" in said


def begun_ahead(shop: Shop, work: Ahead, *, rows: int = 3, reached: bool = True) -> tuple[str, list[str]]:
    """How the third of three assets fared that may begin `work` after the first, and what the second saw before it."""
    seen: list[str] = []

    class Watched(Pipeline):
        tables = RUN_TABLES

    @monthly_asset(FIRST)
    def first(context: dg.AssetExecutionContext, pipeline: Watched) -> dg.MaterializeResult:
        with pipeline.step(context) as step:
            step.rows = rows
        return step.result({})

    @monthly_asset(SECOND, deps=[first])
    def second(context: dg.AssetExecutionContext, pipeline: Watched) -> dg.MaterializeResult:
        seen.append(", ".join(pipeline._begun))
        if not reached:
            raise ValueError("no")
        return dg.MaterializeResult()

    @monthly_asset(THIRD, deps=[second], ahead=(first, work))
    def third(context: dg.AssetExecutionContext, pipeline: Watched) -> dg.MaterializeResult:
        found = pipeline.ahead(context)
        seen.append("nothing begun" if found is None else str(found()))
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [first, second, third],
            partition_key="2023-03",
            instance=instance,
            raise_on_error=False,
            resources={"pipeline": Watched(config_path=str(shop.config_path))},
        )
    died = [event.step_failure_data.error.cause.message.strip() for event in done.all_events if event.is_step_failure]
    return "; ".join(died), seen


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(monthly_asset_module, "_AHEAD", {})


def runs_known(connection, config, month) -> str:
    time.sleep(0.2)
    (rows,) = connection.execute("SELECT sum(rows) FROM pipeline_runs").fetchone()
    return f"{rows} rows in {month}"


def test_what_may_begin_after_an_asset_sees_what_that_has_written_and_waits_for_its_own_turn(tmp_path, two_cores):
    died, seen = begun_ahead(Shop(tmp_path).configure(), runs_known)
    assert (died, seen) == ("", ["third", "3 rows in 2023-03-01"])


def test_what_fails_before_its_turn_fails_the_step_that_wanted_it(tmp_path, two_cores):
    def refuse(connection, config, month):
        raise PipelineError("not today")

    died, seen = begun_ahead(Shop(tmp_path).configure(), refuse)
    assert "not today" in died
    assert seen == ["third"]


def test_a_run_that_fails_before_ends_only_with_what_it_has_begun(tmp_path, two_cores):
    ended = []

    def slow(connection, config, month):
        time.sleep(0.3)
        ended.append(connection.execute("SELECT count(*) FROM pipeline_runs").fetchone())

    died, seen = begun_ahead(Shop(tmp_path).configure(), slow, reached=False)
    assert (died, seen, ended) == ("ValueError: no", ["third"], [(1,)])


@pytest.mark.parametrize("why", ["many", "one core", "one thread"])
def test_where_no_core_is_idle_nothing_is_begun(tmp_path, two_cores, monkeypatch, why):
    shop = Shop(tmp_path).configure(more="operation: {threads: 1}\n" if why == "one thread" else "")
    if why == "one core":
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
    rows = monthly_asset_module.FEW_CUSTOMERS + 1 if why == "many" else 3
    died, seen = begun_ahead(shop, runs_known, rows=rows)
    assert (died, seen) == ("", ["", "nothing begun"])
