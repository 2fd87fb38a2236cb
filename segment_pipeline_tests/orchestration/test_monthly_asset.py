"""What all assets share: one declaration, one gate, one way to show rows; and that each reads as a story."""

import ast
from collections import Counter
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

import segment_pipeline
from segment_pipeline.database.tables import MONTH, Table
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.metadata import as_list, as_table
from segment_pipeline.orchestration.monthly_asset import monthly_asset

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
    assert {spec.key.to_user_string() for asset in defs.assets or [] for spec in asset.specs} <= set(lines)
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_every_table_is_filled_by_one_asset_that_says_so():
    from segment_pipeline.definitions import defs
    from segment_pipeline.orchestration.tables import PIPELINE_RUNS
    from segment_pipeline.publishing.catalogue import TABLES
    from segment_pipeline.publishing.tables import DATA_DICTIONARY
    from segment_pipeline.sources.people import tables as people

    filled: Counter[str] = Counter()
    for spec in (spec for asset in defs.assets or [] for spec in asset.specs):
        if "dagster/table_name" in spec.metadata:
            _, _, beside = (spec.description or "").rpartition(" With ")
            words = beside.rstrip(".").replace(" and ", ", ").split(", ")
            filled.update({spec.metadata["dagster/table_name"].removeprefix("warehouse.main."), *words})
    # what a command writes, or every step
    of_no_asset = {PIPELINE_RUNS.name, DATA_DICTIONARY.name, *(table.name for table in people.TABLES)}
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


def verdicts_of(run: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {found.check_name: (found.passed, found.severity.name) for found in run.get_asset_check_evaluations()}


def test_a_closed_gate_shows_every_verdict_and_stops_the_month():
    run, error = judged(stops=False)
    assert verdicts_of(run) == {"stops": (False, "ERROR"), "warns": (False, "WARN")}
    assert error == (
        "segment_pipeline.errors.ContractError: 2023-03 was not written. stops: found rows 3, allowed rows 2. Do this."
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


def test_a_table_may_be_empty_and_may_lack_no_column():
    assert as_table([], name=str).records == []
    with pytest.raises(KeyError, match="share"):
        as_table([{"name": "a"}], name=str, share=float)


def test_sentences_are_shown_as_a_list():
    assert as_list(["One.", "Two."]).value == "- One.\n- Two."
    assert as_list([], otherwise="None.").value == "None."
