"""Months of customers in four groups without correlations through all the assets, with several types of covariances to
choose from: the type is found, published and scored, and a champion of another type hands on its ids."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline.arrays import Labels
from segment_pipeline.models.model import SegmentModel
from segment_pipeline_tests.models.test_merged_months import MONTHS, agreement, apart
from segment_pipeline_tests.shaped_groups import FEATURES, customers_of, groups_of
from segment_pipeline_tests.shop import Shop, query

CUSTOMERS = 700

CONFIG = f"""\
name: shaped
first_month: 2023-03
last_month: 2023-06
source: {{snapshots: {{path: "{{month}}.csv", customer_id: id}}}}
features: [{", ".join(f"{{name: f{j}, resolution: 0.001}}" for j in range(FEATURES))}]
quality: {{outlier_sd: 12}}
"""


def write_months(folder: Path) -> list[Labels]:
    """A file for each month; returns the group of each customer, which one in fifty leaves in a month."""
    groups, random = groups_of("diagonal", 4), np.random.default_rng(5)
    truth, truths = customers_of(groups, CUSTOMERS, 0)[0], []
    for month in MONTHS:
        X = groups.means[truth] + random.normal(size=(CUSTOMERS, FEATURES)) * np.sqrt(
            np.diagonal(groups.covariances, axis1=1, axis2=2)[truth]
        )
        lines = [f"c{i:05d},{','.join(f'{x:.3f}' for x in row)}" for i, row in enumerate(X)]
        (folder / f"{month}.csv").write_text("\n".join([f"id,{','.join(f'f{j}' for j in range(FEATURES))}", *lines]))
        truths.append(truth)
        truth = np.where(random.random(CUSTOMERS) < 0.02, random.permutation(truth), truth)
    return truths


@pytest.mark.months
@pytest.mark.parametrize("memory", [False, True])
def test_a_champion_of_one_type_is_followed_by_one_of_another_and_keeps_its_ids(
    tmp_path: Path, materialize: Callable[..., object], memory: bool
) -> None:
    truths = write_months(tmp_path)
    shop = Shop(tmp_path)
    model = f"memory: {str(memory).lower()}, n_components: [4, 5]"
    shop.config_path.write_text(CONFIG + f"model: {{{model}}}\n")
    materialize(shop, MONTHS[0])
    shop.config_path.write_text(CONFIG + f"model: {{{model}, covariance: [full, diagonal, tied, spherical]}}\n")
    for month in MONTHS[1:3]:
        forced = {"selected_model": {"config": {"force_refit": True, "reason": "other covariances"}}}
        materialize(shop, month, **({"run_config": {"ops": forced}} if month == MONTHS[2] else {}))

    versions = query(
        shop.published, "SELECT covariance_type, n_components, parameters FROM model_versions ORDER BY model_version"
    )
    assert [versions[0][0], versions[-1][0]] == ["full", "diagonal"]
    first, last = (SegmentModel.from_json(versions[i][2]) for i in (0, -1))
    assert last.mixture.covariance_type == "diagonal"
    assert (last.memory is not None) == memory
    assert last.segment_ids == first.segment_ids == (1, 2, 3, 4)
    off = last.mixture.covariances * (1.0 - np.eye(FEATURES))
    assert not off.any()
    assert agreement(shop, MONTHS[2], truths[2]) > 0.7
    assert apart(shop, MONTHS[2]) < 1e-9

    page = (tmp_path / "reports" / f"{MONTHS[2]}.html").read_text()
    assert "segments with diagonal covariances and was fitted" in page
    assert '<th scope="col">covariances</th>' in page

    tried = query(
        shop.published,
        "SELECT month, covariance_type, count(*), sum(selected::INT), sum((stability IS NULL)::INT) "
        "FROM candidate_models GROUP BY ALL ORDER BY ALL",
    )
    assert [row[1:3] for row in tried[:5]] == [
        ("full", 2),
        *((one, 2) for one in ("diagonal", "full", "spherical", "tied")),
    ]
    assert all(not admitted for (admitted,) in query(
        shop.published, "SELECT admissible FROM candidate_models WHERE stability IS NULL"
    ))  # fmt: skip
    assert (
        "4 segments with diagonal covariances"
        in query(shop.published, "SELECT rationale FROM model_versions ORDER BY model_version DESC")[0][0]
    )
