"""The code location as its users see it: names, groups, dependencies and checks are an interface."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from segment_pipeline.config.config import load_config
from segment_pipeline.orchestration.jobs import FRESHNESS_CHECK
from segment_pipeline.sources.assets import source_assets
from segment_pipeline_tests.shop import Shop

REPOSITORY = Path(__file__).parents[2]

# asset | group | kinds | depends on (@-1: the month before) | checks (!: blocks the month)
ASSETS = """
order_lines | sources | | |
raw_customers | customers | duckdb sql | order_lines | amounts_keep_their_value earlier_months_are_as_they_were! \
feeds_cover_the_window feeds_reach_the_end_of_the_month! nothing_is_delivered_twice order_lines_have_dates! \
values_are_known
validated_features | customers | duckdb sql | raw_customers | columns_and_types! customer_ids_unique_and_present! \
enough_customers! raw_equals_accepted_plus_rejected! row_count_close_to_previous_month share_rejected_within_limit! \
source_is_accounted_for! values_within_valid_range!
scaled_matrix | customers | duckdb python | validated_features | features_are_independent!
candidate_models | models | duckdb python | raw_customers scaled_matrix validated_features | has_admissible_candidate
selected_model | models | duckdb python | \
candidate_models raw_customers scaled_matrix selected_model@-1 validated_features | \
champion_is_stable champion_not_degenerate!
monthly_assignments | segments | duckdb sql | \
monthly_assignments@-1 raw_customers selected_model validated_features | every_accepted_customer_assigned! \
probabilities_sum_to_one!
segment_profiles | segments | duckdb sql | monthly_assignments raw_customers selected_model validated_features |
transition_deltas | segments | duckdb sql | \
monthly_assignments raw_customers selected_model validated_features | transitions_reconcile!
drift_alerts | segments | duckdb python | \
candidate_models drift_alerts@-1 monthly_assignments raw_customers segment_profiles selected_model \
validated_features | audiences_change_as_usual
journey_paths | segments | duckdb sql | monthly_assignments segment_profiles selected_model validated_features |
churn_risk | early_warnings | duckdb python | monthly_assignments raw_customers selected_model validated_features |
customer_value | early_warnings | duckdb python | \
churn_risk customer_value@-1 monthly_assignments raw_customers selected_model |
early_warnings | early_warnings | duckdb sql | churn_risk customer_actions customer_value early_warnings@-1 \
monthly_assignments selected_model transition_deltas validated_features |
warning_backtest | early_warnings | duckdb python | \
churn_risk customer_actions customer_value early_warnings monthly_assignments raw_customers selected_model |
movement_reference | movement | duckdb sql | early_warnings monthly_assignments raw_customers selected_model \
transition_deltas validated_features |
segment_forecast | movement | duckdb python | monthly_assignments raw_customers segment_forecast@-1 selected_model \
transition_deltas validated_features |
customer_actions | campaigns | duckdb sql | monthly_assignments selected_model transition_deltas | \
campaigns_are_valid every_action_reaches_somebody every_customer_has_an_action
campaign_lift | campaigns | duckdb python | customer_actions raw_customers | outcomes_can_be_used
model_validation | validation | duckdb python | \
candidate_models churn_risk monthly_assignments raw_customers scaled_matrix selected_model validated_features | \
heldout_gap_is_small next_month_comes_as_expected predicts_what_follows probabilities_are_calibrated \
segments_are_separate stable_over_time
alternative_segmentations | alternatives | duckdb python | churn_risk monthly_assignments raw_customers selected_model \
validated_features | alternatives_can_be_computed
segment_audit | audit | duckdb sql | \
monthly_assignments raw_customers scaled_matrix selected_model validated_features | audit_can_be_made
outlier_groups | audit | duckdb sql | monthly_assignments scaled_matrix validated_features |
published_segments | publishing | duckdb sql | alternative_segmentations campaign_lift candidate_models \
churn_risk customer_actions customer_value drift_alerts early_warnings journey_paths model_validation \
monthly_assignments movement_reference outlier_groups raw_customers scaled_matrix segment_audit segment_forecast \
segment_profiles selected_model transition_deltas validated_features warning_backtest |
segment_report | report | html | published_segments |
"""


def specs() -> list[tuple[dg.AssetSpec, list[dg.AssetCheckSpec]]]:
    from segment_pipeline.definitions import defs

    return [
        (spec, [check for check in asset.check_specs if check.asset_key == spec.key])
        for asset in defs.assets or []
        for spec in asset.specs
    ]


def line(spec: dg.AssetSpec, checks: list[dg.AssetCheckSpec]) -> str:
    """The asset as a line of ASSETS."""
    deps = sorted(
        dep.asset_key.to_user_string() + ("@-1" if dep.partition_mapping == MONTH_BEFORE else "") for dep in spec.deps
    )
    names = sorted(check.name + ("!" if check.blocking else "") for check in checks)
    cells = (spec.key.to_user_string(), spec.group_name, " ".join(sorted(spec.kinds)), " ".join(deps), " ".join(names))
    return " | ".join(cells)


MONTH_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)


def test_the_assets_are_those_that_people_rely_on():
    """A renamed asset breaks the history and whoever depends on it: change this on purpose, with CHANGELOG.md."""
    expected = [" | ".join(cell.strip() for cell in row.split("|")) for row in ASSETS.strip().splitlines()]
    assert sorted(line(spec, checks) for spec, checks in specs()) == sorted(expected)


def test_every_asset_says_what_it_is_who_owns_it_and_what_its_columns_mean():
    for spec, _ in specs():
        name = spec.key.to_user_string()
        assert len(spec.description or "") > 20, name
        if name == "order_lines":  # others make it, and have it
            continue
        assert spec.owners == ["team:customer-analytics"], name
        assert {"dagster/table_name", "dagster/uri"} & set(spec.metadata), name
        if name == "segment_report":  # a page has no columns
            continue
        schema = spec.metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema), name
        assert schema.columns, name
        assert all(column.description and column.type for column in schema.columns), name


def test_every_check_says_what_it_promises():
    for _, checks in specs():
        for check in checks:
            assert (check.description or "").endswith("."), check.name


@pytest.mark.months
def test_what_every_check_of_a_month_found_and_allows_are_numbers_that_the_ui_plots(three_months):
    """Of a figure that so small a shop does not give there is nothing to plot."""
    with dg.DagsterInstance.from_config(str(three_months.folder / "dagster_home")) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "2023-05"}))
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    without = {
        (one.check_name, kind)
        for one in found
        for kind in ("observed/", "limit/")
        if not ("observed/not_computed" in one.metadata and one.metadata["observed/not_computed"].value)
        and not any(name.startswith(kind) and not isinstance(told.value, str) for name, told in one.metadata.items())
    }
    assert len(found) >= 30
    assert without == {("next_month_comes_as_expected", "limit/")}  # only a champion with memory expects anything


def test_all_assets_and_checks_share_the_one_partitions_object():
    from segment_pipeline.orchestration.partitions import monthly_partitions

    for spec, checks in specs():
        assert spec.partitions_def is monthly_partitions, spec.key
        for check in checks:
            assert check.partitions_def is monthly_partitions, check.name


def test_partitions_are_the_closed_months_of_the_users_file():
    from segment_pipeline.orchestration.partitions import monthly_partitions

    assert monthly_partitions.get_partition_keys()[0] == "2023-03"
    assert monthly_partitions.get_partition_keys()[-1] == "2023-12"


def test_every_source_is_an_asset(tmp_path):
    shop = Shop(tmp_path).configure(more="")
    more = "  events:\n    - {feed: visits, path: visits.csv, customer_id: c, occurred_at: t}\nfeatures:"
    shop.config_path.write_text(shop.config_path.read_text().replace("features:", more, 1))
    found = {
        spec.key.to_user_string(): spec for made in source_assets(load_config(shop.config_path)) for spec in made.specs
    }
    assert set(found) == {"order_lines", "events/visits"}
    assert "orders.parquet" in (found["order_lines"].description or "")
    assert "visits.csv" in (found["events/visits"].description or "")


@pytest.mark.parametrize(("published", "late"), [("2023-12", False), ("2023-11", True)])
def test_a_month_is_late_when_it_is_not_published_by_the_tenth_whatever_else_was_run(published, late):
    """A repair of an older month, today, does not make up for it."""
    from segment_pipeline.definitions import defs

    with dg.DagsterInstance.ephemeral() as instance:
        for month in (published, "2023-03"):
            instance.report_runless_asset_event(dg.AssetMaterialization("published_segments", partition=month))
        run = dg.materialize(
            [*(defs.assets or []), *(defs.asset_checks or [])],
            selection=dg.AssetSelection.checks(FRESHNESS_CHECK),
            resources=defs.resources,
            instance=instance,
        )
    (found,) = run.get_asset_check_evaluations()
    assert found.passed is not late


def test_the_job_makes_every_asset_in_one_process():
    from segment_pipeline.definitions import defs

    job = defs.resolve_job_def("monthly_segmentation")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {
        row.partition(" ")[0] for row in ASSETS.strip().splitlines()
    } - {"order_lines"}
    assert FRESHNESS_CHECK not in job.asset_layer.asset_graph.asset_check_keys
    assert job.executor_def is dg.in_process_executor


def test_the_code_location_validates():
    from segment_pipeline.definitions import defs

    dg.Definitions.validate_loadable(defs)
    names = {sensor.name for sensor in defs.sensors or []}
    assert names == {"notify_run_failure", "notify_drift_alerts", "notify_month", "look_for_late_months"}


@pytest.mark.process
def test_loading_the_code_location_imports_nothing_heavy():
    """Every Dagster process loads it: the web server, the daemon, each run."""
    heavy = ("pandas", "numpy", "duckdb", "sklearn", "scipy", "great_expectations", "rich", "pyarrow")
    heavy += ("altair", "jinja2")
    code = f"import sys, segment_pipeline.definitions; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.process
@pytest.mark.parametrize(("engine", "pool"), [("", None), ('engine: {spark: "sc://host:1"}\n', "spark")])
def test_assets_whose_customers_are_elsewhere_say_so_and_share_a_pool(
    tmp_path: Path, engine: str, pool: str | None
) -> None:
    config = Shop(tmp_path).configure(last_month="2023-03", more=engine).config_path
    code = """
import json
from segment_pipeline.definitions import defs
made = [asset for asset in defs.assets if asset.is_executable]
print(json.dumps([[asset.op.pool, [sorted(spec.kinds) for spec in asset.specs]] for asset in made]))
"""
    environment = os.environ | {"SEGMENT_PIPELINE_CONFIG": str(config)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout
    told = json.loads(found.splitlines()[-1])
    assert len(told) > 15
    for in_pool, kinds_of_specs in told:
        assert in_pool == pool
        assert [("spark" in kinds) for kinds in kinds_of_specs] == [pool is not None]


def test_the_shipped_dagster_yaml_loads_and_is_the_one_beside_the_demo(tmp_path):
    shipped = REPOSITORY / "segment_pipeline" / "orchestration" / "dagster.yaml"
    assert shipped.read_bytes() == (REPOSITORY / "data" / "dagster_home" / "dagster.yaml").read_bytes()
    shutil.copyfile(shipped, tmp_path / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 1


def test_the_workspace_names_the_location_as_the_project_does():
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (location,) = (entry["python_module"] for entry in workspace["load_from"])
    assert location["location_name"] == project["code_location_name"]
    assert location["module_name"] == project["code_location_target_module"]
    assert location["working_directory"] == "."


@pytest.mark.process
def test_dagster_finds_the_workspace_without_flags(tmp_path):
    """What `dagster dev` does in a clone, short of opening the ports."""
    shutil.copyfile(REPOSITORY / "workspace.yaml", tmp_path / "workspace.yaml")
    found = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=tmp_path,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Validation successful for code location segment_pipeline" in found.stdout + found.stderr
