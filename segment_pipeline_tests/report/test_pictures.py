"""The pictures in the assets' metadata: there, small, and one key a plot."""

import base64
import shutil
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import pytest

from segment_pipeline_tests.shop import Shop

PICTURES = {
    "scaled_matrix": {"distributions", "worth"},
    "candidate_models": {"bic_curve"},
    "monthly_assignments": {"certainty"},
    "segment_profiles": {"shares_over_time", "profile_heat_map"},
    "transition_deltas": {"transition_matrix"},
    "drift_alerts": {"drift_over_months"},
}
"""Asset -> the keys of its metadata that hold a picture."""


@pytest.fixture(scope="module")
def metadata(three_months: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each asset said of 2023-05, from the instance that the command line left."""
    home = shutil.copytree(three_months.folder / "dagster_home", tmp_path_factory.mktemp("pictures") / "home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        events = {
            asset: instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=["2023-05"]), limit=1
            ).records[0]
            for asset in PICTURES
        }
    return {asset: dict(event.asset_materialization.metadata) for asset, event in events.items()}


def test_each_asset_has_its_picture_as_a_small_svg_with_words_beside_it(metadata):
    for asset, keys in PICTURES.items():
        for key in keys:
            words, _, data = metadata[asset][key].value.partition("](data:image/svg+xml;base64,")
            picture = base64.b64decode(data.removesuffix(")"))
            assert len(words) > 20, key
            assert len(picture) < 100_000, key
            page = ElementTree.fromstring(picture)
            assert int(page.get("width", "")) > 300, key
            assert int(page.get("height", "")) > 80, key


def test_what_stands_inline_is_short_enough_for_the_ui(metadata):
    for asset, values in metadata.items():
        for key, value in values.items():
            if isinstance(value, dg.MarkdownMetadataValue) and key not in PICTURES[asset] | {"rationale"}:
                assert len(value.value) < 1000, (asset, key)


def test_drift_metrics_are_numbers_under_keys_that_stay(metadata):
    drift = {key: value.value for key, value in metadata["drift_alerts"].items() if key.startswith("drift/")}
    assert {"drift/component_mean_shift", "drift/customers_change", "drift/mean_max_probability_low"} <= set(drift)
    assert all(isinstance(value, float) for value in drift.values())
